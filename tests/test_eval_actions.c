// Models compared action by action: which states are fixed, that all models meet the same ones and
// draws, that a stopped evaluation goes on, and every number of the table from hand-made records.
// Needs the task Python and the default model's vocabulary (scripts/setup).
#include <math.h>
#include <unistd.h>

#include "base/json.h"
#include "collect/collect.h"
#include "eval/internal.h"
#include "record/store.h"
#include "tiny_policy.h"
#include "toy_task.h"

// ---- numbers, by hand --------------------------------------------------------------------------

static mla_task up = {.name = (char *)"up", .direction = 1, .dir = (char *)"/nowhere"};
static mla_task down = {.name = (char *)"down", .direction = -1, .held_out = true,
                        .dir = (char *)"/nowhere"};
static const mla_task *const hand_tasks[] = {&up, &down};

typedef struct {
    const char *task, *name, *edit;    // edit NULL: a final answer
    mla_outcome outcome;
    double reward;
    float logprob;                     // of each of its two tokens
} fact;

static void append(mla_lines *lines, const fact *f, mla_err *err) {
    mla_step step;
    mla_step_init(&step);
    step.task = mla_strdup(f->task);
    step.trajectory = mla_strdup(f->name);
    step.actor = mla_strdup("policy");
    step.text = f->edit ? mla_format("Thought: because.\nAction: Edit Script\nAction Input: "
                                     "{\"script_name\": \"train.py\"}\n%s", f->edit)
                        : mla_strdup("Action: Final Answer\nAction Input: "
                                     "{\"final_answer\": \"\"}");
    step.feedback = mla_strdup("");
    memset(step.state.commit, 'a', 40);
    step.state_after = step.state;
    step.kind = f->edit ? MLA_ACTION_EDIT_SCRIPT : MLA_ACTION_FINAL_ANSWER;
    step.outcome = f->outcome;
    step.reward.reward = f->reward;
    step.reward.gain = f->edit && f->outcome == MLA_OUTCOME_OK ? f->reward - 0.5 : NAN;
    step.prompt_ids = MLA_NEW_ARRAY(int32_t, 1);
    step.n_prompt = 1;
    step.action_ids = MLA_NEW_ARRAY(int32_t, 2);
    step.logprobs = MLA_NEW_ARRAY(float, 2);
    step.logprobs[0] = step.logprobs[1] = f->logprob;
    step.n_action = 2;
    step.ended = true;
    assert_int_equal(mla_store_append(lines, &step, err), 0);
    mla_step_clear(&step);
}

#define BLOCKS(from, to) "<<<<<<< SEARCH\n" from "\n=======\n" to "\n>>>>>>> REPLACE"

static const fact facts[] = {
    {"up", "state-000-0", BLOCKS("K = 2", "K = 4"), MLA_OUTCOME_OK, 0.9, -1},
    {"up", "state-000-1", BLOCKS("K = 2", "K = 4"), MLA_OUTCOME_OK, 0.9, -1},
    {"up", "state-000-2", BLOCKS("K = 2", "K = 5"), MLA_OUTCOME_SCRIPT_ERROR, 0, -2},
    {"up", "state-001-0", NULL, MLA_OUTCOME_OK, 0.5, 0},
    {"up", "state-001-0", NULL, MLA_OUTCOME_OK, 0.5, -4},      // written again after a kill
    {"up", "state-001-1", BLOCKS("K = 2", "K = 0"), MLA_OUTCOME_OK, 0.1, 0},
    {"down", "state-002-0", BLOCKS("a", "b"), MLA_OUTCOME_EDIT_FAILED, 0, -3},
};

static void is_number(const json_t *row, const char *key, double expected) {
    double got = mla_json_get_number(row, key, NAN);
    bool same = isnan(expected) ? isnan(got) : fabs(got - expected) < 1e-6;
    if (!same) fail_msg("%s is %.17g, not %.17g", key, got, expected);
}

static void a_row_has_the_exact_numbers(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    mla_err err = {0};
    mla_run *run = mla_run_open(f.root, &err);
    char *path = mla_run_path(run, "eval/sft/actions.jsonl");
    mla_lines *lines = mla_lines_open(path, &err);
    assert_non_null(lines);
    for (size_t i = 0; i < MLA_COUNT(facts); i++) append(lines, &facts[i], &err);
    mla_lines_close(lines);
    free(path);
    assert_int_equal(mla_eval_actions_table(run, hand_tasks, 2, &err), 0);
    path = mla_run_path(run, "eval/actions.json");
    json_t *table = mla_json_read_file(path, 1 << 20, &err), *rows = json_object_get(table, "rows");
    assert_int_equal(json_array_size(rows), 4);          // of each split: all its tasks, and each
    const json_t *all = json_array_get(rows, 0), *held_out = json_array_get(rows, 2);
    assert_true(json_is_null(json_object_get(all, "task")));
    assert_string_equal(mla_json_get_text(json_array_get(rows, 1), "task", "?"), "up");
    is_number(all, "states", 2);
    is_number(all, "actions", 5);
    is_number(all, "valid_rate", 4.0 / 5);
    is_number(all, "edit_share", 4.0 / 5);
    is_number(all, "improved_share", 2.0 / 5);
    is_number(all, "gain_mean", (0.4 + 0.4 - 0.4) / 3);
    is_number(all, "reward_mean", (0.6 + 0.3) / 2);
    is_number(all, "reward_sem", 0.15);
    is_number(all, "distinct_share", (2.0 / 3 + 1) / 2);
    double first = mla_json_get_number(all, "entropy", NAN);
    assert_true(fabs(first - 4.0 / 5) < 1e-6 || fabs(first - 8.0 / 5) < 1e-6);
    assert_string_equal(mla_json_get_text(held_out, "split", "?"), "held-out");
    is_number(held_out, "valid_rate", 0);
    is_number(held_out, "gain_mean", NAN);
    is_number(held_out, "reward_sem", NAN);
    json_decref(table);
    free(path);
    mla_run_close(run);
    fixture_end(&f);
}

static void an_edit_comes_to_an_idea(void **state) {
    (void)state;
    mla_idea items[] = {
        {.blocks = (char *)BLOCKS("model = Ridge()", "model = Lasso(alpha=0.1)")},
        {.blocks = (char *)BLOCKS("model = Ridge()", "model = RandomForest(n_estimators=200)")},
        {.blocks = (char *)BLOCKS("x = a\ny = b", "x = a")},         // brings nothing in
    };
    const mla_ideas ideas = {.items = items, .len = MLA_COUNT(items)};
    assert_int_equal(mla__nearest_idea(&ideas, items[0].blocks), 0);
    assert_int_equal(mla__nearest_idea(&ideas, BLOCKS("clf = Ridge()\nz = 1",
        "clf = RandomForest(n_estimators=300)\nz = 1")), 1);
    assert_int_equal(mla__nearest_idea(&ideas, BLOCKS("a", "b c d e f")), -1);
    assert_int_equal(mla__nearest_idea(&ideas, items[2].blocks), -1);
    assert_int_equal(mla__nearest_idea(&ideas, "no blocks"), -1);
}

// ---- the real thing ----------------------------------------------------------------------------

typedef struct {
    fixture place;
    mla_task *task;
    const mla_task *tasks[1];
    mla_env *env;
    mla_agent *agent;
    mla_run *run;
    mla_policy *policy;
    mla_err err;
} world;

static int open_world(void **state) {
    world *w = MLA_NEW(world);
    *state = w;
    fixture_begin(&w->place);
    toy_write(&w->place);
    char *python = toy_python(), *states = mla_fs_join(w->place.root, "states.git");
    char *model = mla_fs_join(w->place.root, "model");
    mla_env_options o = mla_env_options_default();
    o.python = python, o.home = w->place.home, o.states_path = states, o.private_scores = true;
    const mla_reward_options reward = mla_reward_options_default();
    w->task = mla_task_load(w->place.dir, w->place.home, true, &w->err);
    w->tasks[0] = w->task;
    w->env = w->task ? mla_env_create(&o, &w->err) : NULL;
    w->agent = w->env ? mla_agent_create(w->env, &reward) : NULL;
    w->run = w->agent ? mla_run_open(w->place.root, &w->err) : NULL;
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = MLA_COMPUTE_F32;
    if (w->run && tiny_policy_write(model, 5) == 0) {
        w->policy = mla_policy_open(model, &wanted, &w->err);
    }
    free(python), free(states), free(model);
    if (!w->policy) fprintf(stderr, "%s\n", w->err.text);
    return w->policy ? 0 : -1;
}

static int close_world(void **state) {
    world *w = *state;
    mla_policy_free(w->policy);
    mla_run_close(w->run);
    mla_agent_free(w->agent);
    mla_env_free(w->env);
    mla_task_free(w->task);
    fixture_end(&w->place);
    free(w);
    return 0;
}

static mla_eval_options few(void) {
    mla_eval_options o = mla_eval_options_default();
    o.states = 3, o.state_samples = 2, o.max_new = 8;
    return o;
}

static char *text_of(world *w, const char *name) {
    char *path = mla_run_path(w->run, name);
    mla_buf text;
    assert_int_equal(mla_fs_read(path, 1 << 24, &text, &w->err), 0);
    free(path);
    return mla_buf_take(&text);
}

static void act(world *w, const char *model, const mla_eval_options *o) {
    if (mla_eval_actions(w->run, w->agent, w->policy, model, w->tasks, 1, o, &w->err) < 0) {
        fail_msg("%s", w->err.text);
    }
}

static mla_steps steps_of(world *w, const char *name) {
    char *path = mla_run_path(w->run, name);
    mla_steps steps = {0};
    assert_int_equal(mla_store_read(path, &steps, &w->err), 0);
    free(path);
    return steps;
}

// No trajectory at all: a task's start is its only state.
static void without_trajectories_the_start_is_acted_from(void **state) {
    world *w = *state;
    const mla_eval_options o = few();
    act(w, "untrained", &o);
    mla_steps steps = steps_of(w, "eval/untrained/actions.jsonl");
    assert_int_equal(steps.len, 2);
    for (size_t i = 0; i < steps.len; i++) {
        assert_int_equal(steps.items[i].index, 0);
        assert_int_equal(steps.items[i].n_action, 8);
        assert_false(steps.items[i].ended);              // a random policy was cut
        assert_int_equal(steps.items[i].outcome, MLA_OUTCOME_INVALID_ACTION);
    }
    assert_string_equal(steps.items[1].trajectory, "state-000-1");
    mla_steps_clear(&steps);
}

static void collect(world *w) {
    mla_collect_options o = mla_collect_options_default();
    o.trajectories = 4, o.ideas_kept = 3;
    assert_int_equal(mla_collect_run(w->run, w->agent, w->policy, w->tasks, 1, &o, &w->err), 0);
}

static const char *trajectory_of(const mla_steps *all, const mla_step *like) {
    for (size_t i = 0; i < all->len; i++) {
        const mla_step *step = &all->items[i];
        bool same = step->index == like->index && !strcmp(step->state.commit, like->state.commit) &&
                    step->seed == like->seed;
        if (same) return step->trajectory;
    }
    return "none";
}

// Only states of trajectories that are held back are chosen; they are chosen once, and each model
// meets them with the same draws.
static void states_are_fixed_and_not_learned_from(void **state) {
    world *w = *state;
    collect(w);
    mla_steps expert = steps_of(w, "expert/steps.jsonl");
    char *path = mla_run_path(w->run, "sft/validation.jsonl");
    mla_lines *lines = mla_lines_open(path, &w->err);
    assert_int_equal(mla_store_append(lines, &expert.items[expert.len - 1], &w->err), 0);
    mla_lines_close(lines);
    const mla_eval_options o = few();
    act(w, "sft", &o);
    mla_steps chosen = steps_of(w, "eval/states.jsonl");
    const char *held_back = expert.items[expert.len - 1].trajectory;
    size_t states = 0;
    for (size_t i = 0; i < chosen.len; i++) {
        assert_string_equal(trajectory_of(&expert, &chosen.items[i]), held_back);
        states += chosen.items[i].final;
    }
    assert_in_range(states, 1, 3);
    remove(path);                                        // the choice stands all the same
    act(w, "rl", &o);
    char *one = text_of(w, "eval/sft/actions.jsonl");
    mla_steps a = steps_of(w, "eval/sft/actions.jsonl"), b = steps_of(w, "eval/rl/actions.jsonl");
    assert_int_equal(a.len, 2 * states);
    assert_int_equal(b.len, a.len);
    for (size_t i = 0; i < a.len; i++) {
        assert_string_equal(a.items[i].text, b.items[i].text);
        assert_string_equal(a.items[i].state.commit, b.items[i].state.commit);
    }
    act(w, "sft", &o);                                   // nothing is left to do
    char *again = text_of(w, "eval/sft/actions.jsonl");
    assert_string_equal(one, again);
    free(one), free(again), free(path);
    mla_steps_clear(&a);
    mla_steps_clear(&b);
    mla_steps_clear(&chosen);
    mla_steps_clear(&expert);
}

// A kill left the first action of the last state only.
static void a_stopped_evaluation_goes_on(void **state) {
    world *w = *state;
    collect(w);
    const mla_eval_options o = few();
    act(w, "sft", &o);
    char *whole = text_of(w, "eval/sft/actions.jsonl");
    char *last = strrchr(whole, '\n');
    *last = 0;
    last = strrchr(whole, '\n');
    last[1] = 0;
    char *path = mla_run_path(w->run, "eval/sft/actions.jsonl");
    assert_int_equal(mla_fs_write(path, whole, strlen(whole), &w->err), 0);
    act(w, "sft", &o);
    mla_steps steps = steps_of(w, "eval/sft/actions.jsonl");
    assert_int_equal(mla_eval_actions_table(w->run, w->tasks, 1, &w->err), 0);
    char *table_path = mla_run_path(w->run, "eval/actions.json");
    json_t *table = mla_json_read_file(table_path, 1 << 20, &w->err);
    const json_t *all = json_array_get(json_object_get(table, "rows"), 0);
    is_number(all, "actions", 2 * mla_json_get_number(all, "states", 0));
    is_number(json_array_get(json_object_get(table, "rows"), 1), "ideas", 6);
    assert_int_equal(steps.len, 1 + mla_json_get_int(all, "actions", 0));
    json_decref(table);
    mla_steps_clear(&steps);
    free(whole), free(path), free(table_path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_the_exact_numbers),
        cmocka_unit_test(an_edit_comes_to_an_idea),
        cmocka_unit_test_setup_teardown(without_trajectories_the_start_is_acted_from, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(states_are_fixed_and_not_learned_from, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(a_stopped_evaluation_goes_on, open_world, close_world),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
