// `mlagent tasks new`, `solve` and `env` as a person runs them, on a script and data of one's own,
// with a tiny policy that knows nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/json.h"
#include "base/proc.h"
#include "env/action.h"
#include "net/server.h"
#include "record/store.h"
#include "tiny_policy.h"
#include "toy_task.h"

static char root[64];            // home/, mine/ (the person's folder), model/, and outputs

// y is x > 50; the script splits at K.
static const char script[] =
    "import csv\n"
    "K = 20\n"
    "with open('submission.csv', 'w') as out:\n"
    "    out.write('id,y\\n')\n"
    "    for r in csv.DictReader(open('data/test.csv')):\n"
    "        out.write('%s,%d\\n' % (r['id'], int(float(r['x']) > K)))\n";

static char *in_root(const char *name) {
    return mla_fs_join(root, name);
}

static char *text_of(const char *name) {
    mla_err err = {0};
    mla_buf text;
    char *path = in_root(name);
    if (mla_fs_read(path, 1 << 24, &text, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return mla_buf_take(&text);
}

// `mlagent WORDS` as a shell line, with this home and interpreter. Caller frees.
static char *command_of(const char *words) {
    char *self = mla_fs_self_dir(), *python = toy_python();
    char *line = mla_format("cd %s && exec %s/../mlagent %s --home home --python %s", root, self,
                            words, python);
    free(self);
    free(python);
    return line;
}

static mla_buf run(const char *words, int status) {
    mla_err err = {0};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 22);
    char *line = command_of(words);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, line, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 200, &out, &result, &err), 0);
    if (result.exit_code != status) {
        fail_msg("%s: exit %d: %s", words, result.exit_code, mla_buf_text(&out));
    }
    free(line);
    return out;
}

// Runs it; its output must hold `what`.
static void expect(const char *words, int status, const char *what) {
    mla_buf out = run(words, status);
    if (!strstr(mla_buf_text(&out), what)) {
        fail_msg("%s: no \"%s\" in: %s", words, what, mla_buf_text(&out));
    }
    mla_buf_clear(&out);
}

static void write_data(const char *name) {
    mla_buf text;
    mla_buf_init(&text, 1 << 16);
    mla_buf_puts(&text, "x,y\n");
    for (int x = 0; x < 120; x++) mla_buf_printf(&text, "%d,%d\n", x, x > 50);
    fixture_write(root, name, mla_buf_text(&text));
    mla_buf_clear(&text);
}

static int open_group(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mlagent-solve-XXXXXX");
    if (!mkdtemp(root)) return -1;
    write_data("mine/train.csv");
    fixture_write(root, "mine/train.py", script);
    char *model = in_root("model");
    int rc = tiny_policy_write(model, 7);
    free(model);
    if (rc == 0) expect("tasks new mine --target y --metric accuracy", 0, "task mine: ");
    return rc;
}

static int close_group(void **state) {
    (void)state;
    mla_err err;
    return mla_fs_remove_tree(root, &err);
}

// --- steps --------------------------------------------------------------------------------------

static mla_steps steps_of(const char *output) {
    mla_err err = {0};
    mla_steps steps = {0};
    char *path = mla_format("%s/%s/steps.jsonl", root, output);
    if (mla_store_read(path, &steps, &err) < 0) fail_msg("%s", err.text);
    free(path);
    return steps;
}

static void assert_same_steps(const mla_steps *a, const mla_steps *b) {
    assert_int_equal(a->len, b->len);
    for (size_t i = 0; i < a->len; i++) {
        const mla_step *x = &a->items[i], *y = &b->items[i];
        assert_string_equal(x->trajectory, y->trajectory);
        assert_int_equal(x->index, y->index);
        assert_int_equal(x->outcome, y->outcome);
        assert_int_equal(x->n_action, y->n_action);
        assert_memory_equal(x->action_ids, y->action_ids, x->n_action * sizeof *x->action_ids);
    }
}

// --- making a task ------------------------------------------------------------------------------

static void a_task_is_made_and_measured(void **state) {
    (void)state;
    expect("tasks list", 0, "mine               train     accuracy        higher");
    expect("tasks show mine", 0, "Predict the column y");
    char *yaml = text_of("home/tasks/mine/task.yaml"), *kept = text_of("mine/train.py");
    assert_string_equal(kept, script);
    // K = 20 puts the 30 rows from 21 to 50 on the wrong side: a quarter of them all.
    char *at = strstr(yaml, "baseline:\n  public: ");
    assert_non_null(at);
    assert_float_equal(strtod(at + strlen("baseline:\n  public: "), NULL), 0.75, 0.11);
    char *staging = in_root("home/staging");
    char **names;
    size_t n;
    mla_err err;
    assert_int_equal(mla_fs_list(staging, &names, &n, &err), 0);
    assert_int_equal(n, 0);
    mla_fs_names_free(names, n);
    free(staging);
    free(yaml);
    free(kept);
}

static void scripts_that_will_not_do_make_no_task(void **state) {
    (void)state;
    static const struct {
        const char *script, *words;
    } cases[] = {
        {"print('done')\n", "wrote no submission.csv"},
        {"open('train.csv')\n", "fails in the sandbox: FileNotFoundError"},
        {"open('submission.csv', 'w').write('id\\n1\\n')\n", "bad submission"},
        {"while True: pass\n", "ran longer than 2 s"},
    };
    write_data("bad/train.csv");
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        fixture_write(root, "bad/train.py", cases[i].script);
        expect("tasks new bad --target y --metric accuracy --seconds 2", 1, cases[i].words);
        char *made = in_root("home/tasks/bad"), *data = in_root("home/data/bad");
        assert_false(mla_fs_exists(made));
        assert_false(mla_fs_exists(data));
        free(made);
        free(data);
    }
    expect("tasks new bad --target z --metric accuracy", 1, "has no column 'z'; it has: 'x', 'y'");
    expect("tasks new bad --target y --metric speed", 1, "'speed' is not one of accuracy, auc");
    expect("tasks new bad --target y", 2, "usage");
    expect("tasks new nowhere --target y --metric auc", 1, "nowhere: is not there");
    expect("tasks new mine --target y --metric accuracy", 1, "is there already");
}

static void a_csv_alone_gets_a_starter(void **state) {
    (void)state;
    expect("tasks new mine/train.csv --target y --metric log_loss --name alone", 0,
           "train.py now: log_loss");
}

// --- solving ------------------------------------------------------------------------------------

static void nothing_better_leaves_the_script_as_it_is(void **state) {
    (void)state;
    mla_buf out = run("solve mine --model ./model --trajectories 2 --steps 3 --max-new 20 "
                      "--output none --json --quiet", 0);
    size_t lines = 0;
    for (const char *at = mla_buf_text(&out); *at; lines++) {
        mla_err err = {0};
        size_t n = strcspn(at, "\n");
        json_t *o = mla_json_parse(at, n, "line", &err);
        if (!o) fail_msg("%s in: %.*s", err.text, (int)n, at);
        assert_string_equal(mla_json_get_text(o, "event", ""),
                            lines == 0 ? "start" : lines == 7 ? "end" : "step");
        assert_int_equal(json_is_array(json_object_get(o, "flags")), lines > 0 && lines < 7);
        if (lines == 7) assert_false(mla_json_get_bool(o, "improved", true));
        json_decref(o);
        at += n + (at[n] == '\n');
    }
    assert_int_equal(lines, 8);
    mla_buf_clear(&out);
    char *best = text_of("none/best.py"), *diff = text_of("none/best.diff");
    assert_string_equal(best, script);
    assert_string_equal(diff, "");
    mla_steps steps = steps_of("none");
    assert_int_equal(steps.len, 6);
    for (size_t i = 0; i < 6; i++) assert_int_equal(steps.items[i].index, i % 3);
    // The same command has nothing more to do; with more attempts it goes on.
    expect("solve mine --model ./model --trajectories 2 --steps 3 --max-new 20 --output none", 0,
           "nothing beat the starting script");
    expect("solve mine --model ./model --trajectories 3 --steps 3 --max-new 20 --output none", 0,
           "going on after 6 steps");
    mla_steps more = steps_of("none");
    assert_int_equal(more.len, 9);
    more.len = 6;
    assert_same_steps(&steps, &more);
    more.len = 9;
    mla_steps_clear(&steps);
    mla_steps_clear(&more);
    free(best);
    free(diff);
}

// Starts it, waits for `wait_for` lines, interrupts; all its output.
static mla_buf interrupt(const char *words, int wait_for, int *status) {
    mla_err err = {0};
    mla_proc_spawned child;
    mla_buf out;
    mla_buf_init(&out, 1 << 22);
    char *line = command_of(words), piece[4096];
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, line, NULL};
    assert_int_equal(mla_proc_spawn(&child, argv, NULL, NULL, -1, &err), 0);
    ssize_t got;
    bool sent = false;
    while ((got = read(child.out, piece, sizeof piece)) > 0) {
        mla_buf_append(&out, piece, (size_t)got);
        int lines = 0;
        for (size_t i = 0; i < out.len; i++) lines += out.data[i] == '\n';
        if (lines >= wait_for && !sent) sent = kill(child.pid, SIGINT) == 0;
    }
    assert_int_equal(waitpid(child.pid, status, 0), child.pid);
    close(child.in);
    close(child.out);
    close(child.err);
    free(line);
    return out;
}

static void a_stopped_run_goes_on_as_if_it_had_not_been(void **state) {
    (void)state;
    static const char words[] = "solve mine --model ./model --trajectories 2 --steps 20 "
                                "--max-new 30 --json --quiet --output ";
    char *stop = mla_format("%sstopped", words), *whole = mla_format("%swhole", words);
    int status;
    mla_buf out = interrupt(stop, 4, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 130);
    assert_non_null(strstr(mla_buf_text(&out), "\"why\":\"stopped\""));
    mla_buf_clear(&out);
    mla_steps before = steps_of("stopped");
    assert_in_range(before.len, 3, 39);
    char *best = text_of("stopped/best.py");
    assert_string_equal(best, script);
    out = run(stop, 0);
    mla_buf_clear(&out);
    out = run(whole, 0);
    mla_buf_clear(&out);
    mla_steps a = steps_of("stopped"), b = steps_of("whole");
    assert_true(a.len > before.len);
    assert_same_steps(&a, &b);
    mla_steps_clear(&before);
    mla_steps_clear(&a);
    mla_steps_clear(&b);
    free(best);
    free(stop);
    free(whole);
}

// Takes an edit of `from` to `to` in the output's environment into its steps.jsonl, with a private
// score as given, as the next step of attempt 1.
static void add_edit(mla_agent *agent, const mla_task *task, mla_state *at, mla_steps *history,
                     const char *blocks, double private_score, bool final) {
    mla_err err = {0};
    mla_action edit = {.kind = MLA_ACTION_EDIT_SCRIPT, .inputs = {(char *)"train.py"},
                       .blocks = (char *)blocks, .thought = (char *)"a better place"};
    mla_reply reply = {.text = mla_action_format(&edit)};
    const mla_view view = {.task = task, .state = *at, .history = history->items,
                           .n_history = history->len, .steps_left = 1};
    size_t tag;
    mla_step step;
    assert_int_equal(mla_agent_submit(agent, &view, "policy", "solve-mine-0000", &reply, 0, &err),
                     0);
    assert_int_equal(mla_agent_collect(agent, 100, &tag, &step, &err), 1);
    assert_int_equal(step.outcome, MLA_OUTCOME_OK);
    step.score_private = private_score;
    step.final = final;
    *at = step.state_after;
    mla_steps_push_take(history, &step);
}

static void make_steps(const char *output) {
    mla_err err = {0};
    char *home = in_root("home"), *dir = in_root("home/tasks/mine"), *python = toy_python();
    char *states = mla_format("%s/%s/states.git", root, output);
    mla_task *task = mla_task_load(dir, home, true, &err);
    assert_non_null(task);
    mla_env_options options = mla_env_options_default();
    options.workers = 1, options.home = home, options.python = python;
    options.states_path = states;
    mla_env *env = mla_env_create(&options, &err);
    if (!env) fail_msg("%s", err.text);
    const mla_reward_options reward = mla_reward_options_default();
    mla_agent *agent = mla_agent_create(env, &reward);
    mla_state at;
    mla_steps steps = {0};
    assert_int_equal(mla_env_begin(env, task, &at, &err), 0);
    add_edit(agent, task, &at, &steps,
             "<<<<<<< SEARCH\nK = 20\n=======\nK = 50\n>>>>>>> REPLACE\n", 0.1, false);
    add_edit(agent, task, &at, &steps,
             "<<<<<<< SEARCH\nK = 50\n=======\nK = 40\n>>>>>>> REPLACE\n", 0.9, true);
    char *path = mla_format("%s/%s/steps.jsonl", root, output);
    mla_lines *lines = mla_lines_open(path, &err);
    for (size_t i = 0; i < steps.len; i++) {
        assert_int_equal(mla_store_append(lines, &steps.items[i], &err), 0);
    }
    mla_lines_close(lines);
    mla_steps_clear(&steps);
    mla_agent_free(agent);
    mla_env_free(env);
    mla_task_free(task);
    char *all[] = {path, states, python, dir, home};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

static void the_best_is_chosen_by_the_public_half_alone(void **state) {
    (void)state;
    expect("solve mine --model ./model --trajectories 1 --steps 1 --max-new 5 --output best", 0,
           "nothing beat");
    char *made = in_root("best/steps.jsonl");
    assert_int_equal(remove(made), 0);
    make_steps("best");
    // Its private score is the worse one, and it is the earlier one of the attempt.
    expect("solve mine --model ./model --trajectories 1 --steps 2 --max-new 5 --output best", 0,
           "attempt 1 step 1");
    char *best = text_of("best/best.py"), *diff = text_of("best/best.diff");
    assert_non_null(strstr(best, "\nK = 50\n"));
    assert_non_null(strstr(diff, "--- a/train.py\n+++ b/train.py\n"));
    assert_non_null(strstr(diff, "\n-K = 20\n+K = 50\n"));
    char *mine = text_of("mine/train.py"), *page = text_of("best/report.html");
    assert_string_equal(mine, script);
    assert_non_null(strstr(page, "of all attempts"));
    assert_non_null(strstr(page, "solve-mine-0000"));
    // What another attempt starts from with --from-best is that script.
    expect("solve mine --model ./model --trajectories 2 --steps 2 --max-new 5 --output best "
           "--from-best", 0, "attempt 1 step 1");
    mla_steps steps = steps_of("best");
    assert_int_equal(steps.len, 4);
    assert_string_equal(steps.items[2].trajectory, "solve-mine-0001");
    assert_string_equal(steps.items[2].state.commit, steps.items[0].state_after.commit);
    mla_steps_clear(&steps);
    char *all[] = {made, best, diff, mine, page};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

static void time_ends_a_run_and_the_same_command_goes_on(void **state) {
    (void)state;
    expect("solve mine --model ./model --trajectories 1 --steps 30 --max-new 10 --output timed "
           "--minutes 0.01", 0, "time is up");
    mla_steps steps = steps_of("timed");
    assert_in_range(steps.len, 1, 29);
    mla_steps_clear(&steps);
    expect("solve mine --model ./model --trajectories 1 --steps 30 --max-new 10 --output timed", 0,
           "done after 30 steps");
}

static void what_is_not_there_is_said(void **state) {
    (void)state;
    expect("solve mine", 2, "usage");
    expect("solve mine --model ./model --steps 0", 2, "--steps");
    expect("solve nothing --model ./model", 1, "there is no task \"nothing\"");
    expect("solve ./bad --model ./model", 1, "holds no task.yaml; make a task of it with");
    expect("solve mine --model absent", 1, "models/absent.gguf: no such model");
    expect("solve mine --model ./model --editor magic", 1, "not none, policy or endpoint");
    expect("solve mine --model ./model --editor endpoint", 1, "--editor-url");
    expect("solve mine --model ./model --actions Fly", 1, "Fly");
    fixture_write(root, "used/thesis.txt", "mine\n");
    expect("solve mine --model ./model --output used", 1, "holds other files (thesis.txt)");
    char *kept = text_of("used/thesis.txt");
    assert_string_equal(kept, "mine\n");
    free(kept);
    expect("solve home/tasks/alone --model ./model --output none", 1, "another script");
    fixture_write(root, "home/tasks/alone/env/train.py", "import absent\n");
    expect("solve home/tasks/alone --model ./model --output broken", 1,
           "task alone: train.py fails as it is, before any edit: script error: ModuleNotFound");
}

// --- an endpoint --------------------------------------------------------------------------------

typedef struct {
    atomic_int calls, bad;
} service;

// Says the same edit each time: the better split first, then one that does not apply.
static void on_chat(void *ctx, mla_http_call *call) {
    service *s = ctx;
    mla_err err;
    const mla_buf *body = mla_http_call_body(call);
    json_t *asked = mla_json_parse(mla_buf_text(body), body->len, "body", &err);
    const json_t *user = json_array_get(json_object_get(asked, "messages"), 1);
    const char *words = mla_json_get_text(user, "content", "");
    if (!strstr(words, "# Task mine") || strcmp(mla_json_get_text(asked, "model", ""), "big")) {
        s->bad++;
    }
    s->calls++;
    json_decref(asked);
    json_t *o = json_pack("{s:[{s:s, s:{s:s, s:s}}]}", "choices", "finish_reason", "stop",
                          "message", "role", "assistant", "content",
                          "Thought: \x1b[2Jfifty\nAction: Edit Script\n"
                          "Action Input: {\"script_name\": \"train.py\"}\n"
                          "<<<<<<< SEARCH\nK = 20\n=======\nK = 50\n>>>>>>> REPLACE\n");
    mla_http_call_reply_take(call, 200, "application/json", mla_json_line(o));
    json_decref(o);
}

static char *error_body(void *ctx, int status, const char *message) {
    (void)ctx;
    return mla_format("{\"error\": \"%d %s\"}", status, message);
}

static void a_service_improves_the_script(void **state) {
    (void)state;
    static const mla_http_route routes[] = {
        {"POST", "/v1/chat/completions", false, "application/json", on_chat}};
    service s = {0};
    mla_err err;
    const mla_http_server_options options = {
        .host = "127.0.0.1", .port = 0, .body_max = 1 << 20, .max_connections = 8,
        .idle_seconds = 20, .routes = routes, .n_routes = 1, .ctx = &s, .error_body = error_body};
    mla_http_server *server = mla_http_server_start(&options, &err);
    if (!server) fail_msg("%s", err.text);
    char *words = mla_format("solve mine --model big --endpoint http://127.0.0.1:%d/v1 "
                             "--trajectories 1 --steps 2 --output served",
                             mla_http_server_port(server));
    mla_buf out = run(words, 0);
    assert_non_null(strstr(mla_buf_text(&out), "1 *"));
    assert_non_null(strstr(mla_buf_text(&out), "edit failed"));
    assert_non_null(strstr(mla_buf_text(&out), "?[2Jfifty"));
    assert_int_equal(s.calls, 2);
    assert_int_equal(s.bad, 0);
    char *best = text_of("served/best.py"), *mine = text_of("mine/train.py");
    assert_non_null(strstr(best, "\nK = 50\n"));
    assert_string_equal(mine, script);
    expect("solve mine --model big --endpoint nowhere --output lost", 1, "is no http address");
    mla_http_server_free(server);
    mla_buf_clear(&out);
    char *all[] = {words, best, mine};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

// --- by hand ------------------------------------------------------------------------------------

static void expect_walk(const char *typed, const char *words, const char *what) {
    mla_err err = {0};
    mla_proc_result result;
    mla_buf out;
    mla_buf_init(&out, 1 << 20);
    char *self = mla_fs_self_dir(), *python = toy_python();
    char *text = mla_format("cd %s && %s/../mlagent env mine %s --home home --python %s <<'END'\n"
                            "%sEND\n", root, self, words, python, typed);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, text, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 100, &out, &result, &err), 0);
    assert_int_equal(result.exit_code, 0);
    if (!strstr(mla_buf_text(&out), what)) fail_msg("no \"%s\": %s", what, mla_buf_text(&out));
    mla_buf_clear(&out);
    char *all[] = {self, python, text};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

static void a_person_walks_a_task(void **state) {
    (void)state;
    expect_walk("help\n", "", "undo");
    expect_walk("\n\nrun\n", "", "outcome: ok");
    expect_walk("undo\n", "", "action failed");
    expect_walk("edit\n<<<<<<< SEARCH\nK = 20\n=======\nK = 50\n>>>>>>> REPLACE\n.\nundo\nscript\n",
                "", "K = 20");
    expect_walk("nonsense\n", "", "\"nonsense\" is no command");
    expect_walk("copy train.py b.py\n", "--actions default", "invalid action");
    expect_walk("ask raise K\n", "--model ./model --editor policy", "outcome:");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_is_made_and_measured),
        cmocka_unit_test(scripts_that_will_not_do_make_no_task),
        cmocka_unit_test(a_csv_alone_gets_a_starter),
        cmocka_unit_test(nothing_better_leaves_the_script_as_it_is),
        cmocka_unit_test(a_stopped_run_goes_on_as_if_it_had_not_been),
        cmocka_unit_test(the_best_is_chosen_by_the_public_half_alone),
        cmocka_unit_test(time_ends_a_run_and_the_same_command_goes_on),
        cmocka_unit_test(what_is_not_there_is_said),
        cmocka_unit_test(a_service_improves_the_script),
        cmocka_unit_test(a_person_walks_a_task),
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
