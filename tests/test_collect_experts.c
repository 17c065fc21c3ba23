// Collection by the other experts, through the real sandbox: an endpoint (scripted, then our own
// service with a tiny model) that runs into its budget and goes on, recorded trajectories played
// again, ideas asked of a model; and collection killed at any moment, which loses and doubles
// nothing. Needs the task Python and the default model's vocabulary (scripts/setup); without them
// it is skipped.
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chat_fixture.h"
#include "serve_fixture.h"

#include "agent/trajectories.h"
#include "base/log.h"
#include "collect/internal.h"
#include "record/store.h"
#include "toy_task.h"

typedef struct {
    fixture f;
    char *model, *run_dir;
    mla_task *task;
    const mla_task *tasks[1];
    mla_policy *policy;
    mla_env *env;
    mla_agent *agent;
    mla_run *run;
    mla_err err;
} stage;

#define OK(call) \
    do { if ((call) < 0) fail_msg("%s", s->err.text); } while (0)

static void close_run(stage *s) {
    mla_agent_free(s->agent);
    mla_env_free(s->env);
    mla_run_close(s->run);
    free(s->run_dir);
    s->agent = NULL;
    s->env = NULL;
    s->run = NULL;
    s->run_dir = NULL;
}

// A run folder with an environment of its own.
static void open_run(stage *s, const char *name) {
    close_run(s);
    s->run_dir = mla_fs_join(s->f.root, name);
    s->run = mla_run_open(s->run_dir, &s->err);
    if (!s->run) fail_msg("%s", s->err.text);
    char *python = toy_python(), *states = mla_run_path(s->run, "states.git");
    char *cache = mla_run_path(s->run, "exec.sqlite");
    mla_env_options o = mla_env_options_default();
    mla_reward_options reward = mla_reward_options_default();
    o.python = python;
    o.home = s->f.home;
    o.states_path = states;
    o.cache_path = cache;
    o.workers = 1;
    s->env = mla_env_create(&o, &s->err);
    if (!s->env) fail_msg("%s", s->err.text);
    s->agent = mla_agent_create(s->env, &reward);
    free(python);
    free(states);
    free(cache);
}

static int setup(void **state) {
    stage *s = MLA_NEW(stage);
    fixture_begin(&s->f);
    toy_write(&s->f);
    s->model = mla_fs_join(s->f.root, "model");
    s->task = mla_task_load(s->f.dir, s->f.home, true, &s->err);
    if (!s->task) fail_msg("%s", s->err.text);
    s->tasks[0] = s->task;
    if (tiny_policy_write(s->model, 1) < 0) return -1;
    mla_policy_options o = mla_policy_options_default();
    s->policy = mla_policy_open(s->model, &o, &s->err);
    if (!s->policy) fail_msg("%s", s->err.text);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    stage *s = *state;
    close_run(s);
    mla_policy_free(s->policy);
    mla_task_free(s->task);
    fixture_end(&s->f);
    free(s->model);
    free(s);
    return 0;
}

// --- helpers ------------------------------------------------------------------------------------

static mla_collect_options few(int trajectories) {
    mla_collect_options o = mla_collect_options_default();
    o.trajectories = trajectories;
    o.ideas_kept = 4;
    return o;
}

static mla_collect_options by_endpoint(int trajectories, const char *url) {
    mla_collect_options o = few(trajectories);
    o.expert = MLA_EXPERT_ENDPOINT;
    o.max_steps = 4;
    o.endpoint.attempts = 1;
    o.endpoint.max_new = 60;
    snprintf(o.endpoint.url, sizeof o.endpoint.url, "%s", url);
    return o;
}

static int collect(stage *s, const mla_collect_options *o) {
    return mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, o, &s->err);
}

static mla_trajectories read_all(stage *s) {
    mla_trajectories all;
    char *path = mla_run_path(s->run, "expert/steps.jsonl");
    OK(mla_trajectories_read(&all, path, s->tasks, 1, &s->err));
    free(path);
    return all;
}

static char *read_file(stage *s, const char *name) {
    char *path = mla_run_path(s->run, name);
    mla_buf text;
    OK(mla_fs_read(path, 64 << 20, &text, &s->err));
    free(path);
    return mla_buf_take(&text);
}

// What does not depend on time: all replies, ideas, outcomes and scores.
static char *gist(const mla_trajectories *all) {
    mla_buf out;
    mla_buf_init(&out, 64 << 20);
    for (size_t i = 0; i < all->steps.len; i++) {
        const mla_step *step = &all->steps.items[i];
        mla_buf_printf(&out, "%s %d %d %g %s\n%s\n", step->trajectory, step->index, step->outcome,
                       step->reward.score_after, step->idea ? step->idea : "-", step->text);
    }
    return mla_buf_take(&out);
}

// --- an endpoint --------------------------------------------------------------------------------

// An engineer that reads what it is shown: raises K, is content, ends.
static char *engineer(void *ctx, const json_t *asked) {
    (void)ctx;
    const json_t *turns = json_object_get(asked, "messages");
    const char *user = mla_json_get_text(json_array_get(turns, 1), "content", "");
    bool told = strstr(user, " to follow") && strstr(user, "Now reply with one action.");
    if (!told) return mla_strdup("nobody tells me what to try");
    if (strstr(user, "1. Edit Script")) {
        return mla_strdup("Thought: Done.\nAction: Final Answer\nAction Input: "
                          "{\"final_answer\": \"K is four now.\"}");
    }
    return mla_strdup("Thought: I raise K.\nAction: Edit Script\nAction Input: {\"script_name\": "
                      "\"train.py\"}\n<<<<<<< SEARCH\nK = 2\n=======\nK = 4\n>>>>>>> REPLACE");
}

static void an_endpoint_is_an_expert(void **state) {
    stage *s = *state;
    open_run(s, "endpoint");
    chat_server server = {.answer = engineer};
    chat_start(&server, NULL);
    mla_collect_options o = by_endpoint(6, server.url);
    OK(collect(s, &o));
    mla_trajectories all = read_all(s);
    assert_int_equal(all.len, 6);
    bool several = false;
    for (size_t i = 0; i < all.len; i++) {
        const mla_step *step = all.items[i].steps;
        assert_int_equal(all.items[i].n_steps, 2);
        assert_string_equal(step->actor, "expert");
        assert_int_equal(step->outcome, MLA_OUTCOME_OK);
        assert_true(step->reward.score_after == 1);
        // The ideas of a trajectory are the same at each step, 1 to 3 of those that are kept.
        assert_string_equal(step[0].idea, step[1].idea);
        several |= strchr(step->idea, '+') != NULL;
        assert_int_equal(step[1].kind, MLA_ACTION_FINAL_ANSWER);
    }
    assert_true(several);
    assert_int_equal(server.calls, 12);
    // The model's name was asked for, and each request carries it.
    assert_string_equal(mla_json_get_text(json_array_get(server.asked, 0), "model", ""),
                        "the-only-one");
    mla_trajectories_clear(&all);
    chat_stop(&server);
}

static void the_budget_ends_it_and_more_goes_on(void **state) {
    stage *s = *state;
    open_run(s, "endpoint");
    mla_trajectories all = read_all(s);
    char *whole = gist(&all);
    mla_trajectories_clear(&all);
    open_run(s, "budget");
    chat_server server = {.answer = engineer};
    chat_start(&server, NULL);
    mla_collect_options o = by_endpoint(6, server.url);
    o.endpoint.limits.budget_tokens = 400;      // a call claims several hundred and takes 15
    int calls = 0, rounds = 0;
    for (; collect(s, &o) < 0; rounds++) {
        assert_non_null(strstr(s->err.text, "budget"));
        assert_true(rounds < 100);
        assert_true(server.calls * 15 <= o.endpoint.limits.budget_tokens);
        calls = server.calls;
        o.endpoint.limits.budget_tokens += 50;
    }
    assert_true(rounds > 1 && calls > 0);
    assert_int_equal(server.calls, 12);         // none was asked twice
    all = read_all(s);
    char *again = gist(&all);
    assert_string_equal(again, whole);
    mla_trajectories_clear(&all);
    free(again);
    free(whole);
    chat_stop(&server);
}

// Garbage is the agent's failure, told to it and recorded; a service that fails is the world's.
static void garbage_is_an_invalid_action(void **state) {
    stage *s = *state;
    open_run(s, "garbage");
    static const chat_reply script[] = {{.content = "\xF0\x9F\xA4\xB7 I cannot.", .tokens_in = 5,
                                         .tokens_out = 5}};
    chat_server server = {.script = script, .n_script = 1};
    chat_start(&server, NULL);
    mla_collect_options o = by_endpoint(2, server.url);
    OK(collect(s, &o));
    mla_trajectories all = read_all(s);
    assert_int_equal(all.len, 2);
    assert_int_equal(all.steps.len, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(all.steps.items[i].outcome, MLA_OUTCOME_INVALID_ACTION);
    }
    mla_trajectories_clear(&all);
    chat_stop(&server);
    o.trajectories = 3;
    assert_int_equal(collect(s, &o), -1);
    assert_non_null(strstr(s->err.text, "is the service running there?"));
}

static void our_own_service_is_an_endpoint(void **state) {
    stage *s = *state;
    serve_fixture f = {.policy = s->policy};
    serve_start(&f, 8, NULL);
    open_run(s, "serve");
    char *url = mla_format("%s/v1/", f.base);
    mla_collect_options o = by_endpoint(3, url);
    o.endpoint.max_new = 12;
    o.endpoint.max_prompt = 1200;
    snprintf(o.endpoint.embedding_model, sizeof o.endpoint.embedding_model, "tiny");
    OK(collect(s, &o));
    mla_trajectories all = read_all(s);
    assert_int_equal(all.len, 3);
    assert_int_equal(all.steps.len, 12);
    char *calls = read_file(s, "expert/calls.jsonl"), *ideas = read_file(s, "expert/ideas.json");
    assert_non_null(strstr(calls, "\"purpose\":\"embedding\""));
    assert_non_null(strstr(calls, "\"estimated\":false"));
    // The same model embeds the same, through the service or not.
    open_run(s, "no-serve");
    mla_collect_options plain = few(1);
    OK(collect(s, &plain));
    char *own = read_file(s, "expert/ideas.json");
    const char *a = strstr(ideas, "\"chosen\""), *b = strstr(own, "\"chosen\"");
    assert_int_equal(strcspn(a, "]"), strcspn(b, "]"));
    assert_memory_equal(a, b, strcspn(a, "]"));
    mla_trajectories_clear(&all);
    free(own);
    free(ideas);
    free(calls);
    free(url);
    serve_stop(&f);
}

// --- replay -------------------------------------------------------------------------------------

static void what_was_recorded_is_done_again(void **state) {
    stage *s = *state;
    open_run(s, "scripted");
    mla_collect_options o = few(5);
    OK(collect(s, &o));
    mla_trajectories all = read_all(s);
    char *before = gist(&all), *file = mla_run_path(s->run, "expert/steps.jsonl");
    mla_trajectories_clear(&all);
    open_run(s, "replay");
    o.expert = MLA_EXPERT_REPLAY;
    o.trajectories = 100;                       // as many as there are
    snprintf(o.replay, sizeof o.replay, "%s", file);
    OK(collect(s, &o));
    all = read_all(s);
    char *after = gist(&all);
    assert_string_equal(after, before);
    for (size_t i = 0; i < all.steps.len; i++) {
        assert_string_equal(all.steps.items[i].actor, "replay");
        assert_true(mla_env_has(s->env, &all.steps.items[i].state_after));
    }
    mla_trajectories_clear(&all);
    // Again: all are there. Fewer: the first ones.
    OK(collect(s, &o));
    open_run(s, "replay-some");
    o.trajectories = 2;
    o.max_steps = 2;
    OK(collect(s, &o));
    all = read_all(s);
    assert_int_equal(all.len, 2);
    for (size_t i = 0; i < all.len; i++) {
        assert_true(all.items[i].n_steps <= 2);
        assert_true(all.items[i].steps[all.items[i].n_steps - 1].final);
    }
    mla_trajectories_clear(&all);
    snprintf(o.replay, sizeof o.replay, "nowhere.jsonl");
    assert_int_equal(collect(s, &o), -1);
    assert_non_null(strstr(s->err.text, "nowhere.jsonl"));
    free(before);
    free(after);
    free(file);
}

// --- limits -------------------------------------------------------------------------------------

// No time at all: the first step is the last.
static void a_trajectory_ends_when_its_time_is_up(void **state) {
    stage *s = *state;
    open_run(s, "minutes");
    mla_collect_options o = few(8);
    o.max_minutes = 1e-9;
    OK(collect(s, &o));
    mla_trajectories all = read_all(s);
    assert_int_equal(all.len, 8);
    for (size_t i = 0; i < all.len; i++) {
        const mla_trajectory *t = &all.items[i];
        // A look takes no time; then it ends with whatever takes some.
        for (size_t k = 0; k + 1 < t->n_steps; k++) {
            assert_true(t->steps[k].cost.run_seconds + t->steps[k].cost.generate_seconds < 1e-7);
        }
        assert_true(t->n_steps < 4);
    }
    mla_trajectories_clear(&all);
}

// --- ideas of a model ---------------------------------------------------------------------------

typedef struct {
    int n;
} inventor;

// Each answer in another form, each idea once more in other spelling, some twice.
static char *invent(void *ctx, const json_t *asked) {
    static const char *const words[] = {"scaling", "forests", "bins", "logarithms", "boosting",
                                        "stacking", "dropping", "squares", "medians", "folds",
                                        "clusters", "weights", "ranks", "kernels", "trees"};
    inventor *v = ctx;
    (void)asked;
    mla_buf out;
    mla_buf_init(&out, 1 << 16);
    int form = v->n % 4;
    if (form == 0) mla_buf_puts(&out, "Sure! Here are some:\n```json\n[");
    for (int i = 0; i < 5; i++, v->n++) {
        char *text = mla_format("Try %s with %s on column %d", words[v->n * 7 % 15],
                                words[v->n * 4 % 15], v->n);
        if (form == 0) {
            mla_buf_printf(&out, "%s{\"idea\": \"%s.\", \"why\": \"It may help.\", \"edit\": "
                           "\"<<<<<<< SEARCH\\nK = 2\\n=======\\nK = %d\\n>>>>>>> REPLACE\"}",
                           i ? ", " : "", text, v->n + 3);
        } else if (form == 1) {
            mla_buf_printf(&out, "%d. **%s** because it may help.\n", i + 1, text);
        } else if (form == 2) {
            mla_buf_printf(&out, "{\"idea\": \"%s\", \"why\": \"x\"}\n", text);
        } else {
            mla_buf_printf(&out, "- %s!\n- %s\n", text, text);
        }
        free(text);
    }
    if (form == 0) mla_buf_puts(&out, "]\n```\n");
    return mla_buf_take(&out);
}

static void ideas_are_asked_for_until_there_are_enough(void **state) {
    stage *s = *state;
    open_run(s, "asked");
    inventor v = {.n = 0};
    chat_server server = {.answer = invent, .ctx = &v};
    chat_start(&server, NULL);
    mla_collect_options o = few(1);
    o.ideas_asked = 12;
    snprintf(o.ideas_from, sizeof o.ideas_from, "%s", server.url);
    o.expert = MLA_EXPERT_ENDPOINT;
    o.max_steps = 2;
    snprintf(o.endpoint.url, sizeof o.endpoint.url, "http://127.0.0.1:1/v1");
    snprintf(o.endpoint.model, sizeof o.endpoint.model, "m");
    o.endpoint.attempts = 1;
    // The expert is nowhere, the ideas are there.
    assert_int_equal(collect(s, &o), -1);
    assert_non_null(strstr(s->err.text, "127.0.0.1:1"));
    int asked = server.calls;
    assert_true(asked >= 3);
    char *ideas = read_file(s, "expert/ideas.json"), *list = read_file(s, "expert/asked.jsonl");
    json_t *book = mla_json_parse(ideas, strlen(ideas), "ideas", &s->err);
    const json_t *row = json_array_get(json_object_get(book, "tasks"), 0);
    long long pool = mla_json_get_int(row, "pool", 0);
    assert_true(pool >= 12);
    assert_int_equal(json_array_size(json_object_get(row, "chosen")), 4);
    json_decref(book);
    assert_non_null(strstr(list, "K = 3"));
    // The user is shown what it has said: the second question lists the first idea.
    const json_t *second = json_object_get(json_array_get(server.asked, 1), "messages");
    assert_non_null(strstr(mla_json_get_text(json_array_get(second, 1), "content", ""),
                           "on column 0"));
    // A restart asks for nothing again and comes to the same ideas.
    chat_stop(&server);
    assert_int_equal(collect(s, &o), -1);
    char *again = read_file(s, "expert/asked.jsonl");
    assert_string_equal(again, list);
    free(again);
    free(ideas);
    free(list);
}

static void ideas_without_edits_are_of_no_use_to_the_scripted_expert(void **state) {
    stage *s = *state;
    open_run(s, "asked-scripted");
    static const chat_reply script[] = {
        {.content = "1. Do something with the columns\n2. Do another thing with the rows",
         .tokens_in = 5, .tokens_out = 5}};
    chat_server server = {.script = script, .n_script = 1};
    chat_start(&server, NULL);
    mla_collect_options o = few(1);
    o.endpoint.attempts = 1;
    snprintf(o.ideas_from, sizeof o.ideas_from, "%s", server.url);
    assert_int_equal(collect(s, &o), -1);
    assert_non_null(strstr(s->err.text, "0 distinct ideas with an edit that fits"));
    assert_non_null(strstr(s->err.text, "task toy"));
    assert_int_equal(server.calls, 4);          // then nothing new is expected any more
    chat_stop(&server);
}

static void expect_ideas(const char *answer, size_t n, const char *first, const char *why) {
    mla_ideas ideas = {.len = 0};
    mla__answer_read(&ideas, answer);
    if (ideas.len != n) fail_msg("%zu ideas in: %s", ideas.len, answer);
    if (n) assert_string_equal(ideas.items[0].text, first);
    if (n) assert_string_equal(ideas.items[0].why, why);
    mla_ideas_clear(&ideas);
}

static void answers_are_read_in_any_form(void **state) {
    (void)state;
    expect_ideas("", 0, NULL, NULL);
    expect_ideas("I have no idea, sorry.", 0, NULL, NULL);
    expect_ideas("{\"ideas\": [{\"title\": \"Drop a column\", \"rationale\": \"noise\"}, "
                 "{\"title\": \"Add a column\"}]}", 2, "Drop a column", "noise");
    expect_ideas("[\"Drop one column\", \"Keep one column\"]", 2, "Drop one column", "");
    // Cut in the middle: what is whole counts. A line break inside of a string is forgiven.
    expect_ideas("[{\"idea\": \"Use more\ntrees\", \"why\": \"a \\\"b\\\"\"}, {\"idea\": \"Use l",
                 1, "Use more trees", "a \"b");
    expect_ideas("1) First thing to do\n   2. Second thing to do. Reason: none\n\n* third thing",
                 3, "First thing to do", "");
    expect_ideas("### 3. **Scale the features** because trees do not need it", 1,
                 "Scale the features", "trees do not need it");
    expect_ideas("[[[[{\"idea\": 7}]]]] {\"idea\": \"x\"}", 0, NULL, NULL);
    char *normal = mla__answer_normalise("  **Use** a Random-Forest (500 trees)! ");
    assert_string_equal(normal, "random forest 500 trees");
    free(normal);
    normal = mla__answer_normalise("We could try to use a random forest of 500 trees");
    assert_string_equal(normal, "random forest 500 trees");
    free(normal);
    normal = mla__answer_normalise("the Theatre of adders");
    assert_string_equal(normal, "theatre adders");
    free(normal);
}

// --- killed -------------------------------------------------------------------------------------

// Collects in a child, which is killed when the file of steps has grown to `bytes`; true when the
// child came to its end by itself.
static bool collect_in_a_child(const char *program, const stage *s, const char *name,
                               int64_t bytes) {
    char *dir = mla_fs_join(s->f.root, name), *steps = mla_fs_join(dir, "expert/steps.jsonl");
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        execl(program, program, "child", s->f.root, s->f.dir, s->f.home, s->model, dir,
              (char *)NULL);
        _exit(9);
    }
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (mla_fs_size(steps) >= bytes) {
            kill(child, SIGKILL);
            waitpid(child, &status, 0);
            break;
        }
        usleep(500);
    }
    if (WIFEXITED(status)) assert_int_equal(WEXITSTATUS(status), 0);
    free(dir);
    free(steps);
    return WIFEXITED(status);
}

// The child's side.
static int be_child(char **argv) {
    stage s = {.f = {.dir = argv[3], .home = argv[4]}, .model = argv[5]};
    snprintf(s.f.root, sizeof s.f.root, "%s", argv[2]);
    mla_log_set_level(MLA_LOG_WARN);
    s.task = mla_task_load(s.f.dir, s.f.home, true, &s.err);
    s.tasks[0] = s.task;
    mla_policy_options o = mla_policy_options_default();
    s.policy = mla_policy_open(s.model, &o, &s.err);
    if (!s.task || !s.policy) return 2;
    open_run(&s, strrchr(argv[6], '/') + 1);
    mla_collect_options options = few(10);
    int rc = collect(&s, &options);
    if (rc < 0) fprintf(stderr, "%s\n", s.err.text);
    close_run(&s);
    mla_policy_free(s.policy);
    mla_task_free(s.task);
    return rc < 0 ? 3 : 0;
}

static const char *self;

static void killed_at_any_moment_nothing_is_lost_or_doubled(void **state) {
    stage *s = *state;
    open_run(s, "uninterrupted");
    mla_collect_options o = few(10);
    OK(collect(s, &o));
    mla_trajectories all = read_all(s);
    char *whole = gist(&all), *file = mla_run_path(s->run, "expert/steps.jsonl");
    int64_t size = mla_fs_size(file), at = 0;
    mla_trajectories_clear(&all);
    close_run(s);
    int kills = 0;
    // As soon as it has begun, then each time a quarter of the file further.
    while (!collect_in_a_child(self, s, "killed", at)) {
        kills++;
        at += size / 4;
        assert_true(kills < 40);
    }
    assert_true(kills >= 3);
    open_run(s, "killed");
    all = read_all(s);
    assert_int_equal(all.len, 10);
    assert_int_equal(all.torn, 0);
    char *mended = gist(&all);
    assert_string_equal(mended, whole);
    mla_trajectories_clear(&all);
    free(mended);
    free(whole);
    free(file);
}

int main(int argc, char **argv) {
    if (argc == 7 && !strcmp(argv[1], "child")) return be_child(argv);
    self = argv[0];
    char *python = toy_python(), *model = default_model();
    bool ready = mla_fs_exists(python) && mla_fs_exists(model);
    free(python);
    free(model);
    if (!ready) {
        printf("skipped: no task Python or no default model; run scripts/setup\n");
        return 0;
    }
    mla_log_set_level(MLA_LOG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_endpoint_is_an_expert),
        cmocka_unit_test(the_budget_ends_it_and_more_goes_on),
        cmocka_unit_test(garbage_is_an_invalid_action),
        cmocka_unit_test(our_own_service_is_an_endpoint),
        cmocka_unit_test(what_was_recorded_is_done_again),
        cmocka_unit_test(a_trajectory_ends_when_its_time_is_up),
        cmocka_unit_test(ideas_are_asked_for_until_there_are_enough),
        cmocka_unit_test(ideas_without_edits_are_of_no_use_to_the_scripted_expert),
        cmocka_unit_test(answers_are_read_in_any_form),
        cmocka_unit_test(killed_at_any_moment_nothing_is_lost_or_doubled),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
