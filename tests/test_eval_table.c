// The evaluation table from hand-made step records: every number of a row, the order of the rows,
// what is refused, and the printed form.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "eval/eval.h"
#include "record/store.h"

static mla_task up = {.name = (char *)"up", .metric = MLA_METRIC_ACCURACY, .direction = 1,
                      .init = {0.5, 0.6}, .best = {0.9, 1.0}};
static mla_task down = {.name = (char *)"down", .metric = MLA_METRIC_MAE, .direction = -1,
                        .held_out = true, .init = {30, 20}, .best = {10, 10}};
static const mla_task *const tasks[] = {&up, &down};

typedef struct {
    char dir[64];
    mla_run *run;
    mla_err err;
} place;

static int make_place(void **state) {
    place *p = MLA_NEW(place);
    snprintf(p->dir, sizeof p->dir, "/tmp/mla-eval-XXXXXX");
    assert_non_null(mkdtemp(p->dir));
    p->run = mla_run_open(p->dir, &p->err);
    assert_non_null(p->run);
    *state = p;
    return 0;
}

static int remove_place(void **state) {
    place *p = *state;
    mla_run_close(p->run);
    assert_int_equal(mla_fs_remove_tree(p->dir, &p->err), 0);
    free(p);
    return 0;
}

typedef struct {
    mla_outcome outcome;
    double reward, public_half, private_half;
    unsigned flags;
} fact;

static void record(place *p, const char *model, const char *task, int number, const fact *facts,
                   size_t n, bool whole) {
    char *relative = mla_format("eval/%s/steps.jsonl", model);
    char *path = mla_run_path(p->run, relative);
    mla_lines *lines = mla_lines_open(path, &p->err);
    assert_non_null(lines);
    for (size_t i = n; i-- > 0;) {          // the order in the file does not matter
        mla_step step;
        mla_step_init(&step);
        step.task = mla_strdup(task);
        step.trajectory = mla_format("%s-%s-%02d", model, task, number);
        step.actor = mla_strdup("policy");
        step.text = mla_strdup("Action: x");
        step.feedback = mla_strdup("");
        memset(step.state.commit, 'a', 40);
        step.state_after = step.state;
        step.index = (int)i;
        step.kind = MLA_ACTION_EDIT_SCRIPT;
        step.outcome = facts[i].outcome;
        step.reward.reward = facts[i].reward;
        step.reward.gain = isfinite(facts[i].public_half) ? facts[i].reward - 0.5 : NAN;
        step.flags = facts[i].flags;
        step.reward.score_after = facts[i].public_half;
        step.score_private = facts[i].private_half;
        step.final = whole && i + 1 == n;
        if (mla_store_append(lines, &step, &p->err) < 0) fail_msg("%s", p->err.text);
        mla_step_clear(&step);
    }
    mla_lines_close(lines);
    free(path);
    free(relative);
}

static const fact good[] = {
    {MLA_OUTCOME_OK, 0.5, NAN, NAN, 0},
    {MLA_OUTCOME_OK, 0.8, 0.7, 0.8, 0},
    {MLA_OUTCOME_SCRIPT_ERROR, 0, NAN, NAN, MLA_FLAG_READ_OUTSIDE},
    {MLA_OUTCOME_TIME_OUT, 0.5, NAN, NAN, 0},
};
static const fact poor[] = {
    {MLA_OUTCOME_INVALID_ACTION, 0, NAN, NAN, 0},
    {MLA_OUTCOME_SANDBOX_FAILED, NAN, NAN, NAN, 0},
};
static const fact error[] = {{MLA_OUTCOME_OK, 0.9, 20, 15, 0}};

static json_t *read_table(place *p) {
    char *path = mla_run_path(p->run, "eval/table.json");
    json_t *table = mla_json_read_file(path, 1 << 20, &p->err);
    assert_non_null(table);
    free(path);
    return table;
}

static void is_number(const json_t *row, const char *key, double expected) {
    double got = mla_json_get_number(row, key, NAN);
    bool same = isnan(expected) ? isnan(got) : fabs(got - expected) < 1e-12;
    if (!same) fail_msg("%s is %.17g, not %.17g", key, got, expected);
}

static void is_text(const json_t *row, const char *key, const char *expected) {
    assert_string_equal(mla_json_get_text(row, key, "absent"), expected);
}

static void a_row_has_the_exact_numbers(void **state) {
    place *p = *state;
    record(p, "sft", "up", 0, good, 4, true);
    record(p, "sft", "up", 1, poor, 2, true);
    record(p, "sft", "up", 2, error, 1, false);      // not whole: does not count
    assert_int_equal(mla_eval_table(p->run, tasks, 2, "a note", &p->err), 0);
    json_t *table = read_table(p);
    is_text(table, "note", "a note");
    json_t *rows = json_object_get(table, "rows");
    assert_int_equal(json_array_size(rows), 1);
    const json_t *row = json_array_get(rows, 0);
    is_text(row, "model", "sft");
    is_text(row, "task", "up");
    is_text(row, "split", "train");
    is_text(row, "metric", "accuracy");
    is_number(row, "direction", 1);
    is_number(row, "trajectories", 2);
    is_number(row, "steps", 6);
    is_number(row, "valid_rate", 3.0 / 6);
    is_number(row, "improved_share", 1.0 / 6);
    is_number(row, "flagged_share", 1.0 / 6);
    is_number(row, "score_init", 0.6);
    is_number(row, "score_best_reference", 1.0);
    is_number(row, "score_avg", 0.7);                // 0.8 and the starter's 0.6
    is_number(row, "score_best", 0.8);
    is_number(row, "gain_avg", 0.25);
    is_number(row, "gain_best", 0.5);
    is_number(row, "gain_sem", 0.25);
    json_decref(table);
}

static void rows_follow_the_pipeline(void **state) {
    place *p = *state;
    const char *models[] = {"rl", "another", "untrained", "sft"};
    for (int i = 0; i < 4; i++) {
        record(p, models[i], "down", 0, error, 1, true);
        record(p, models[i], "up", 0, good, 4, true);
    }
    assert_int_equal(mla_eval_table(p->run, tasks, 2, NULL, &p->err), 0);
    json_t *table = read_table(p);
    json_t *rows = json_object_get(table, "rows");
    const char *expected[] = {"untrained", "sft", "rl", "another"};
    assert_int_equal(json_array_size(rows), 8);
    for (int i = 0; i < 8; i++) {
        const json_t *row = json_array_get(rows, (size_t)i);
        is_text(row, "model", expected[i / 2]);
        is_text(row, "task", i % 2 ? "down" : "up");
        is_text(row, "split", i % 2 ? "held-out" : "train");
        is_number(row, "direction", i % 2 ? -1 : 1);
        is_number(row, "gain_avg", 0.5);
        is_number(row, "gain_sem", NAN);
    }
    is_number(json_array_get(rows, 1), "score_best", 15);
    json_decref(table);
}

static char *printed(place *p) {
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    if (mla_eval_print(p->run, out, &p->err) < 0) fail_msg("%s", p->err.text);
    fclose(out);
    return text;
}

static void prints_aligned_lines(void **state) {
    place *p = *state;
    record(p, "sft", "up", 0, good, 4, true);
    record(p, "sft", "up", 1, poor, 2, true);
    mla_task second = up;
    second.name = (char *)"second";
    const mla_task *const three[] = {&up, &second, &down};
    record(p, "sft", "second", 0, good, 4, true);
    record(p, "sft", "down", 0, error, 1, true);
    assert_int_equal(mla_eval_table(p->run, three, 3, "these are few", &p->err), 0);
    char *text = printed(p);
    // Headings, three rows, the mean of the two training tasks, the note.
    const char *expected =
        "model  task             split     metric    runs  valid  improved  starter  average  best"
        "  reference             gain  best gain  flagged\n"
        "sft    up               train     accuracy     2    50%       17%      0.6      0.7   0.8"
        "          1  +0.250 +- 0.250     +0.500      17%\n"
        "sft    second           train     accuracy     1    75%       25%      0.6      0.8   0.8"
        "          1           +0.500     +0.500      25%\n"
        "sft    down             held-out  mae          1   100%      100%       20       15    15"
        "         10           +0.500     +0.500       0%\n"
        "sft    mean of 2 tasks  train                       62%       21%"
        "                                              +0.375     +0.500      21%\n"
        "these are few\n";
    assert_string_equal(text, expected);
    free(text);
}

static void says_what_is_wrong(void **state) {
    place *p = *state;
    assert_int_equal(mla_eval_table(p->run, tasks, 2, "", &p->err), -1);
    assert_non_null(strstr(p->err.text, "evaluate first"));
    assert_int_equal(mla_eval_print(p->run, stdout, &p->err), -1);
    assert_non_null(strstr(p->err.text, "no evaluation to print"));

    record(p, "sft", "gone", 3, good, 4, true);
    assert_int_equal(mla_eval_table(p->run, tasks, 2, "", &p->err), -1);
    assert_non_null(strstr(p->err.text, "eval/sft/steps.jsonl"));
    assert_non_null(strstr(p->err.text, "sft-gone-03"));
    assert_non_null(strstr(p->err.text, "task gone"));
}

static void wants_private_scores(void **state) {
    place *p = *state;
    const fact blind[] = {{MLA_OUTCOME_OK, 0.9, 0.8, NAN, 0}};
    record(p, "sft", "up", 0, blind, 1, true);
    assert_int_equal(mla_eval_table(p->run, tasks, 2, "", &p->err), -1);
    assert_non_null(strstr(p->err.text, "sft-up-00"));
    assert_non_null(strstr(p->err.text, "no private score"));
}

int main(void) {
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_row_has_the_exact_numbers),
        IN_PLACE(rows_follow_the_pipeline),
        IN_PLACE(prints_aligned_lines),
        IN_PLACE(says_what_is_wrong),
        IN_PLACE(wants_private_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
