// Collection, data set and evaluation from end to end on a toy task, with the real sandbox and a
// tiny random policy: what is written, that a run resumes and is a function of its seed, and what
// is refused. Needs the task Python and the default model's vocabulary (scripts/setup); without
// them it is skipped.
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "collect/collect.h"
#include "collect/data.h"
#include "agent/trajectories.h"
#include "eval/eval.h"
#include "record/store.h"
#include "tiny_policy.h"
#include "toy_task.h"

typedef struct {
    fixture f;
    char *states, *cache, *model, *run_dir;
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

static void open_env(stage *s, bool private_scores) {
    char *python = toy_python();
    mla_env_options o = mla_env_options_default();
    o.python = python;
    o.home = s->f.home;
    o.states_path = s->states;
    o.cache_path = s->cache;
    o.private_scores = private_scores;
    mla_reward_options reward = mla_reward_options_default();
    s->env = mla_env_create(&o, &s->err);
    if (!s->env) fail_msg("%s", s->err.text);
    s->agent = mla_agent_create(s->env, &reward);
    free(python);
}

static void close_env(stage *s) {
    mla_agent_free(s->agent);
    mla_env_free(s->env);
}

static void open_run(stage *s, const char *name) {
    mla_run_close(s->run);
    free(s->run_dir);
    s->run_dir = mla_fs_join(s->f.root, name);
    s->run = mla_run_open(s->run_dir, &s->err);
    if (!s->run) fail_msg("%s", s->err.text);
}

static int setup(void **state) {
    stage *s = MLA_NEW(stage);
    fixture_begin(&s->f);
    toy_write(&s->f);
    s->states = mla_fs_join(s->f.root, "states.git");
    s->cache = mla_fs_join(s->f.root, "exec.sqlite");
    s->model = mla_fs_join(s->f.root, "model");
    s->task = mla_task_load(s->f.dir, s->f.home, true, &s->err);
    if (!s->task) fail_msg("%s", s->err.text);
    s->tasks[0] = s->task;
    if (tiny_policy_write(s->model, 1) < 0) return -1;
    mla_policy_options o = mla_policy_options_default();
    s->policy = mla_policy_open(s->model, &o, &s->err);
    if (!s->policy) fail_msg("%s", s->err.text);
    open_env(s, true);
    *state = s;
    return 0;
}

static int teardown(void **state) {
    stage *s = *state;
    close_env(s);
    mla_run_close(s->run);
    mla_policy_free(s->policy);
    mla_task_free(s->task);
    fixture_end(&s->f);
    free(s->states);
    free(s->cache);
    free(s->model);
    free(s->run_dir);
    free(s);
    return 0;
}

// --- helpers ------------------------------------------------------------------------------------

static char *read_text(stage *s, const char *relative) {
    char *path = mla_run_path(s->run, relative);
    mla_buf text;
    OK(mla_fs_read(path, 64 << 20, &text, &s->err));
    free(path);
    return mla_buf_take(&text);
}

static void write_text(stage *s, const char *relative, const char *text, size_t len) {
    char *path = mla_run_path(s->run, relative);
    OK(mla_fs_write(path, text, len, &s->err));
    free(path);
}

static mla_trajectories read_all(stage *s, const char *relative) {
    mla_trajectories all;
    char *path = mla_run_path(s->run, relative);
    OK(mla_trajectories_read(&all, path, s->tasks, 1, &s->err));
    free(path);
    return all;
}

static mla_collect_options few(int trajectories) {
    mla_collect_options o = mla_collect_options_default();
    o.trajectories = trajectories;
    o.ideas_kept = 4;
    return o;
}

// What does not depend on time: all replies, outcomes and scores.
static char *gist(const mla_trajectories *all) {
    mla_buf out;
    mla_buf_init(&out, 64 << 20);
    for (size_t i = 0; i < all->len; i++) {
        for (size_t k = 0; k < all->items[i].n_steps; k++) {
            const mla_step *step = &all->items[i].steps[k];
            mla_buf_printf(&out, "%s %d %d %g %s\n%s\n", step->trajectory, step->index,
                           step->outcome, step->reward.score_after, step->idea ? step->idea : "-",
                           step->text);
        }
    }
    return mla_buf_take(&out);
}

// --- collection ---------------------------------------------------------------------------------

static void writes_the_chosen_ideas(void **state) {
    stage *s = *state;
    open_run(s, "ideas");
    mla_collect_options o = few(1);
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    char *path = mla_run_path(s->run, "expert/ideas.json");
    json_t *book = mla_json_read_file(path, 1 << 20, &s->err);
    assert_non_null(book);
    const json_t *row = json_array_get(json_object_get(book, "tasks"), 0);
    assert_string_equal(mla_json_get_text(row, "task", ""), "toy");
    assert_int_equal(mla_json_get_int(row, "pool", 0), 6);
    assert_int_equal(json_array_size(json_object_get(row, "chosen")), 4);
    double mean = mla_json_get_number(row, "mean_distance", NAN);
    assert_true(mla_json_get_number(row, "min_distance", NAN) <= mean);
    assert_true(mla_json_get_number(row, "random_mean_distance", NAN) < mean);
    json_decref(book);
    free(path);
    // More than there are: all of them.
    o.ideas_kept = 50;
    open_run(s, "all-ideas");
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    char *text = read_text(s, "expert/ideas.json");
    const char *const ids[] = {"four", "six", "zero", "half", "two-more", "broken"};
    for (size_t i = 0; i < MLA_COUNT(ids); i++) assert_non_null(strstr(text, ids[i]));
    free(text);
}

static void steps_are_whole_and_lead_on(void **state) {
    stage *s = *state;
    open_run(s, "main");
    mla_collect_options o = few(12);
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    mla_trajectories all = read_all(s, "expert/steps.jsonl");
    assert_int_equal(all.len, 12);
    assert_int_equal(all.torn, 0);
    size_t undone = 0, helped = 0;
    for (size_t i = 0; i < all.len; i++) {
        const mla_trajectory *t = &all.items[i];
        char name[32];
        snprintf(name, sizeof name, "toy-%04zu", i);
        assert_string_equal(t->steps->trajectory, name);
        assert_int_equal(t->steps[t->n_steps - 1].kind, MLA_ACTION_FINAL_ANSWER);
        for (size_t k = 0; k < t->n_steps; k++) {
            const mla_step *step = &t->steps[k];
            assert_string_equal(step->actor, "expert");
            assert_null(step->action_ids);
            if (k) assert_string_equal(step->state.commit, t->steps[k - 1].state_after.commit);
            assert_int_not_equal(step->outcome, MLA_OUTCOME_INVALID_ACTION);
            helped += step->reward.reward > 0.5;
            if (step->kind != MLA_ACTION_UNDO_EDIT) continue;
            undone++;
            assert_int_equal(step->outcome, MLA_OUTCOME_OK);
            // What is undone had hurt or failed.
            assert_true(t->steps[k - 1].reward.reward < 0.5);
        }
    }
    assert_true(undone > 0 && helped > 0);
    mla_trajectories_clear(&all);
}

static void resumes_what_was_cut_off(void **state) {
    stage *s = *state;
    mla_trajectories all = read_all(s, "expert/steps.jsonl");
    char *whole = gist(&all), *text = read_text(s, "expert/steps.jsonl");
    mla_trajectories_clear(&all);
    // Nothing to do: the file stays as it is.
    mla_collect_options o = few(12);
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    char *again = read_text(s, "expert/steps.jsonl");
    assert_string_equal(again, text);
    free(again);
    // Killed in the middle of a line, in the middle of a trajectory.
    size_t cut = strlen(text) * 3 / 5;
    while (strstr(text + cut, "\"final\":true") == NULL) cut--;
    write_text(s, "expert/steps.jsonl", text, cut);
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    all = read_all(s, "expert/steps.jsonl");
    assert_int_equal(all.torn, 0);
    char *mended = gist(&all);
    assert_string_equal(mended, whole);
    mla_trajectories_clear(&all);
    // Another folder, another number side by side: the same trajectories.
    open_run(s, "other");
    o.at_once = 1;
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    all = read_all(s, "expert/steps.jsonl");
    char *other = gist(&all);
    assert_string_equal(other, whole);
    mla_trajectories_clear(&all);
    // Another seed: others.
    open_run(s, "seed");
    o.seed++;
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    all = read_all(s, "expert/steps.jsonl");
    char *seeded = gist(&all);
    assert_string_not_equal(seeded, whole);
    mla_trajectories_clear(&all);
    free(whole);
    free(text);
    free(mended);
    free(other);
    free(seeded);
}

// A state is gone from states.git, as after a power cut: all that came through it is done again.
static void redoes_what_a_power_cut_took(void **state) {
    stage *s = *state;
    open_run(s, "main");
    mla_trajectories all = read_all(s, "expert/steps.jsonl");
    char *whole = gist(&all);
    const char *lost = all.items[3].steps[all.items[3].n_steps - 1].state_after.commit;
    char *object = mla_format("%s/objects/%.2s/%s", s->states, lost, lost + 2);
    mla_trajectories_clear(&all);
    close_env(s);
    assert_int_equal(remove(object), 0);
    open_env(s, true);
    mla_collect_options o = few(12);
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    all = read_all(s, "expert/steps.jsonl");
    char *again = gist(&all);
    assert_string_equal(again, whole);
    for (size_t i = 0; i < all.steps.len; i++) {
        assert_true(mla_env_has(s->env, &all.steps.items[i].state_after));
    }
    mla_trajectories_clear(&all);
    free(object);
    free(whole);
    free(again);
}

// --- the data set -------------------------------------------------------------------------------

static void check_sample(stage *s, const mla_step *step) {
    const mla_tokenizer *tok = mla_policy_tokenizer(s->policy);
    assert_int_not_equal(step->kind, MLA_ACTION_NONE);
    assert_int_equal(step->outcome, MLA_OUTCOME_OK);
    assert_int_equal(step->flags, 0);
    if (step->kind == MLA_ACTION_EDIT_SCRIPT) assert_true(step->reward.reward >= 0.45);
    assert_null(step->logprobs);
    assert_true(step->ended);
    assert_int_equal(step->action_ids[step->n_action - 1], mla_chat_end_of_turn(s->policy));
    char *text = mla_tokenizer_decode(tok, step->action_ids, step->n_action, NULL);
    assert_string_equal(text, step->text);
    free(text);
    // The prompt shows the step's own state, by one of the ways that lead there.
    char *script = mla_env_script(s->env, s->task, &step->state, &s->err);
    char *prompt = mla_tokenizer_decode(tok, step->prompt_ids, step->n_prompt, NULL);
    assert_non_null(strstr(prompt, script));
    assert_non_null(strstr(prompt, "Steps left: "));
    free(script);
    free(prompt);
}

// Nothing held back.
static mla_dataset_options all_of_it(void) {
    mla_dataset_options o = mla_dataset_options_default();
    o.val_share = 0;
    return o;
}

static void the_data_set_is_what_is_worth_learning(void **state) {
    stage *s = *state;
    open_run(s, "main");
    mla_dataset_options o = all_of_it();
    OK(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &o, &s->err));
    mla_trajectories expert = read_all(s, "expert/steps.jsonl");
    size_t good = 0;
    for (size_t i = 0; i < expert.steps.len; i++) {
        const mla_step *step = &expert.steps.items[i];
        good += step->kind == MLA_ACTION_EDIT_SCRIPT && step->outcome == MLA_OUTCOME_OK &&
                step->reward.reward >= 0.45 && !step->flags;
    }
    mla_steps samples;
    char *path = mla_run_path(s->run, "sft/steps.jsonl");
    OK(mla_store_read(path, &samples, &s->err));
    free(path);
    size_t counts[MLA_ACTION_COUNT] = {0};
    for (size_t i = 0; i < samples.len; i++) {
        check_sample(s, &samples.items[i]);
        counts[samples.items[i].kind]++;
    }
    assert_int_equal(counts[MLA_ACTION_EDIT_SCRIPT], good);       // all of them without a ceiling
    double edits = (double)good / (double)samples.len;
    if (edits < 0.6) fail_msg("edits are %.2f of the samples", edits);
    assert_true(counts[MLA_ACTION_UNDO_EDIT] > 0 && counts[MLA_ACTION_FINAL_ANSWER] > 0);
    mla_steps_clear(&samples);
    mla_trajectories_clear(&expert);
}

// The same trajectories with every second edit flagged: those are not learned from.
static void the_data_set_has_nothing_flagged(void **state) {
    stage *s = *state;
    open_run(s, "main");
    mla_trajectories expert = read_all(s, "expert/steps.jsonl");
    open_run(s, "flagged");
    char *path = mla_run_path(s->run, "expert/steps.jsonl");
    mla_lines *lines = mla_lines_open(path, &s->err);
    size_t edits = 0, good = 0;
    for (size_t i = 0; i < expert.steps.len; i++) {
        mla_step *step = &expert.steps.items[i];
        bool edit = step->kind == MLA_ACTION_EDIT_SCRIPT && step->outcome == MLA_OUTCOME_OK &&
                    step->reward.reward >= 0.45 && !step->flags;
        if (edit && edits++ % 2) step->flags = MLA_FLAG_READ_OUTSIDE;
        good += edit && !step->flags;
        OK(mla_store_append(lines, step, &s->err));
    }
    mla_lines_close(lines);
    mla_trajectories_clear(&expert);
    free(path);
    assert_true(good > 0 && good < edits);
    mla_dataset_options o = all_of_it();
    OK(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &o, &s->err));
    mla_steps samples;
    path = mla_run_path(s->run, "sft/steps.jsonl");
    OK(mla_store_read(path, &samples, &s->err));
    size_t learned = 0;
    for (size_t i = 0; i < samples.len; i++) {
        assert_int_equal(samples.items[i].flags, 0);
        learned += samples.items[i].kind == MLA_ACTION_EDIT_SCRIPT;
    }
    assert_int_equal(learned, good);
    mla_steps_clear(&samples);
    free(path);
}

static bool same_prompt(const mla_step *a, const mla_step *b) {
    return a->n_prompt == b->n_prompt &&
           memcmp(a->prompt_ids, b->prompt_ids, a->n_prompt * sizeof *a->prompt_ids) == 0;
}

// Edits that differ in their state or their blocks.
static size_t distinct_edits(const mla_steps *samples) {
    size_t n = 0;
    for (size_t i = 0; i < samples->len; i++) {
        const mla_step *a = &samples->items[i];
        bool is_new = a->kind == MLA_ACTION_EDIT_SCRIPT;
        for (size_t j = 0; j < i && is_new; j++) {
            const mla_step *b = &samples->items[j];
            is_new = b->kind != a->kind || !same_prompt(a, b) ||
                     strcmp(strstr(a->text, "<<<"), strstr(b->text, "<<<")) != 0;
        }
        n += is_new;
    }
    return n;
}

static void the_data_set_keeps_its_ceilings(void **state) {
    stage *s = *state;
    char *first = read_text(s, "sft/steps.jsonl");
    mla_dataset_options o = all_of_it();
    OK(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &o, &s->err));
    char *again = read_text(s, "sft/steps.jsonl");
    assert_string_equal(again, first);           // a function of the steps and the seed
    free(again);
    free(first);
    mla_steps samples;
    char *path = mla_run_path(s->run, "sft/steps.jsonl");
    OK(mla_store_read(path, &samples, &s->err));
    size_t there = distinct_edits(&samples);
    mla_steps_clear(&samples);
    o.max_tokens = 4000;
    OK(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &o, &s->err));
    OK(mla_store_read(path, &samples, &s->err));
    size_t tokens = 0, edits = 0;
    for (size_t i = 0; i < samples.len; i++) {
        const mla_step *at = &samples.items[i], *before = at - 1;
        // The samples of a state stand together, and its tokens count once.
        tokens += at->n_action + (i && same_prompt(before, at) ? 0 : at->n_prompt);
        edits += samples.items[i].kind == MLA_ACTION_EDIT_SCRIPT;
    }
    if (tokens > 4000 || tokens <= 2800) fail_msg("%zu tokens", tokens);
    // Every distinct edit comes before any is repeated.
    assert_int_equal(distinct_edits(&samples), edits < there ? edits : there);
    assert_true(edits > 0);
    mla_steps_clear(&samples);
    free(path);
    o.max_sample_tokens = 10;
    assert_int_equal(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &o, &s->err), -1);
    assert_non_null(strstr(s->err.text, "max_sample_tokens"));
}

static bool shares_a_trajectory(const mla_steps *samples, const mla_step *with) {
    for (size_t i = 0; i < samples->len; i++) {
        if (strcmp(samples->items[i].trajectory, with->trajectory) == 0) return true;
    }
    return false;
}

static bool shares_a_script(stage *s, const mla_steps *samples, const mla_step *with) {
    char *script = mla_env_script(s->env, s->task, &with->state, &s->err);
    bool found = false;
    for (size_t i = 0; i < samples->len && !found; i++) {
        char *other = mla_env_script(s->env, s->task, &samples->items[i].state, &s->err);
        found = strcmp(script, other) == 0;
        free(other);
    }
    free(script);
    return found;
}

static void what_is_held_back_is_not_trained_on(void **state) {
    stage *s = *state;
    open_run(s, "held");
    mla_collect_options few_ways = few(6);
    few_ways.ideas_kept = 6;
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &few_ways, &s->err));
    mla_dataset_options o = mla_dataset_options_default();
    o.val_share = 0.34;
    OK(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &o, &s->err));
    mla_steps train, held;
    char *path = mla_run_path(s->run, "sft/steps.jsonl");
    char *held_path = mla_run_path(s->run, "sft/validation.jsonl");
    OK(mla_store_read(path, &train, &s->err));
    OK(mla_store_read(held_path, &held, &s->err));
    assert_true(train.len > 0 && held.len > 0);
    for (size_t i = 0; i < held.len; i++) {
        check_sample(s, &held.items[i]);
        assert_false(shares_a_trajectory(&train, &held.items[i]));
        assert_false(shares_a_script(s, &train, &held.items[i]));
    }
    char *counts = read_text(s, "sft/data.json");
    json_t *o_counts = mla_json_parse(counts, strlen(counts), "data.json", &s->err);
    const json_t *left = json_object_get(o_counts, "left_out");
    long long sum = (long long)(train.len + held.len);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)left, key, value) sum += json_integer_value(value);
    assert_int_equal(sum, mla_json_get_int(o_counts, "steps", 0));   // nothing is lost unsaid
    assert_true(mla_json_get_int(left, "held back, but of a trained script", 0) > 0);
    json_decref(o_counts);
    free(counts);
    mla_steps_clear(&train);
    mla_steps_clear(&held);
    // Nothing is held back any more: the file of an earlier build does not stay.
    o.val_share = 0;
    OK(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &o, &s->err));
    assert_false(mla_fs_exists(held_path));
    free(path);
    free(held_path);
}

// --- evaluation ---------------------------------------------------------------------------------

static void evaluates_and_resumes(void **state) {
    stage *s = *state;
    mla_eval_options o = mla_eval_options_default();
    o.trajectories = 3;
    o.max_steps = 2;
    o.max_new = 6;
    OK(mla_eval_run(s->run, s->agent, s->policy, "untrained", s->tasks, 1, &o, &s->err));
    OK(mla_eval_run(s->run, s->agent, s->policy, "sft", s->tasks, 1, &o, &s->err));
    mla_trajectories a = read_all(s, "eval/untrained/steps.jsonl");
    mla_trajectories b = read_all(s, "eval/sft/steps.jsonl");
    assert_int_equal(a.len, 3);
    assert_string_equal(a.items[2].steps->trajectory, "untrained-toy-02");
    for (size_t i = 0; i < a.len; i++) {
        assert_int_equal(a.items[i].n_steps, 2);
        // The same model under two names draws the same: the seeds do not depend on the name.
        assert_string_equal(a.items[i].steps[1].text, b.items[i].steps[1].text);
    }
    assert_string_not_equal(a.items[0].steps[0].text, a.items[1].steps[0].text);
    mla_trajectories_clear(&a);
    mla_trajectories_clear(&b);
    char *before = read_text(s, "eval/sft/steps.jsonl");
    OK(mla_eval_run(s->run, s->agent, s->policy, "sft", s->tasks, 1, &o, &s->err));
    char *after = read_text(s, "eval/sft/steps.jsonl");
    assert_string_equal(before, after);
    free(before);
    free(after);
    OK(mla_eval_table(s->run, s->tasks, 1, "", &s->err));
    char *table = read_text(s, "eval/table.json");
    assert_non_null(strstr(table, "\"sft\""));
    free(table);
}

// The expert in the policy's place: its records have the scores of both halves, so its gain is
// known.
static void private_scores_reach_the_table(void **state) {
    stage *s = *state;
    open_run(s, "private");
    mla_collect_options o = few(12);
    o.ideas_kept = 6;
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    char *text = read_text(s, "expert/steps.jsonl");
    write_text(s, "eval/expert/steps.jsonl", text, strlen(text));
    free(text);
    OK(mla_eval_table(s->run, s->tasks, 1, "", &s->err));
    char *path = mla_run_path(s->run, "eval/table.json");
    json_t *table = mla_json_read_file(path, 1 << 20, &s->err);
    const json_t *row = json_array_get(json_object_get(table, "rows"), 0);
    // The best of the public half, 1, has 0.75 in the private one.
    assert_true(fabs(mla_json_get_number(row, "score_best", 0) - 0.75) < 1e-12);
    assert_true(fabs(mla_json_get_number(row, "gain_best", 0) - 0.5) < 1e-12);
    json_decref(table);
    free(path);
}

static void evaluation_wants_private_scores(void **state) {
    stage *s = *state;
    open_run(s, "blind");
    close_env(s);
    open_env(s, false);
    mla_expert_ideas book = {.task = s->task};
    mla_ideas ideas;
    OK(mla_ideas_load(&ideas, s->task, &s->err));
    const size_t chosen[] = {0, 3};
    book.ideas = &ideas;
    book.chosen = chosen;
    book.n_chosen = 2;
    mla_expert *expert = mla_expert_create(&book, 1, 1);
    mla_actor actor = mla_expert_actor(expert);
    char *path = mla_run_path(s->run, "eval/x/steps.jsonl");
    const mla_fill fill = {.path = path, .stage = "eval", .prefix = "x-", .digits = 2,
                           .trajectories = 1, .max_steps = 15, .at_once = 1,
                           .private_scores = true, .seed = 1};
    assert_int_equal(mla_trajectories_fill(&fill, s->agent, &actor, s->tasks, 1, &s->err), -1);
    assert_non_null(strstr(s->err.text, "private_scores"));
    free(path);
    mla_expert_free(expert);
    mla_ideas_clear(&ideas);
}

// --- what is refused ----------------------------------------------------------------------------

static void says_what_is_wrong(void **state) {
    stage *s = *state;
    open_run(s, "errors");
    mla_dataset_options data = mla_dataset_options_default();
    assert_int_equal(mla_dataset_build(s->run, s->env, s->policy, s->tasks, 1, &data, &s->err), -1);
    assert_non_null(strstr(s->err.text, "collect first"));

    mla_task other = *s->task;
    other.name = (char *)"other";
    const mla_task *const others[] = {&other};
    mla_collect_options o = few(1);
    OK(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err));
    assert_int_equal(mla_dataset_build(s->run, s->env, s->policy, others, 1, &data, &s->err), -1);
    assert_non_null(strstr(s->err.text, "expert/steps.jsonl"));
    assert_non_null(strstr(s->err.text, "toy-0000"));

    o.trajectories = 0;
    assert_int_equal(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err), -1);
    assert_non_null(strstr(s->err.text, "trajectories (0)"));
    o.trajectories = 1;
    char *ideas = mla_fs_join(s->f.dir, "ideas.yaml");
    assert_int_equal(unlink(ideas), 0);
    assert_int_equal(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err), -1);
    assert_non_null(strstr(s->err.text, "ideas.yaml"));
    assert_non_null(strstr(s->err.text, "toy"));
    free(ideas);
    char *broken = with(train_py, "K = 2", "K = LIMIT");
    fixture_write(s->f.dir, "env/train.py", broken);
    assert_int_equal(mla_collect_run(s->run, s->agent, s->policy, s->tasks, 1, &o, &s->err), -1);
    static const char words[] = "task toy: train.py fails as it is, before any edit: script error: "
                                "NameError: name 'LIMIT' is not defined; mend /";
    assert_non_null(strstr(s->err.text, words));
    free(broken);

    mla_eval_options e = mla_eval_options_default();
    int rc = mla_eval_run(s->run, s->agent, s->policy, "../x", s->tasks, 1, &e, &s->err);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(s->err.text, "../x"));
}

int main(void) {
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
        cmocka_unit_test(writes_the_chosen_ideas),
        cmocka_unit_test(steps_are_whole_and_lead_on),
        cmocka_unit_test(resumes_what_was_cut_off),
        cmocka_unit_test(redoes_what_a_power_cut_took),
        cmocka_unit_test(the_data_set_is_what_is_worth_learning),
        cmocka_unit_test(the_data_set_has_nothing_flagged),
        cmocka_unit_test(the_data_set_keeps_its_ceilings),
        cmocka_unit_test(what_is_held_back_is_not_trained_on),
        cmocka_unit_test(evaluates_and_resumes),
        cmocka_unit_test(private_scores_reach_the_table),
        cmocka_unit_test(evaluation_wants_private_scores),
        cmocka_unit_test(says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
