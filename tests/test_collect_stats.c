// The numbers of a file of step records, against a file whose numbers are known.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "collect/data.h"
#include "record/store.h"

static char root[64], path[96];
static mla_err err;

#define EDIT(n)                                                                         \
    "Thought: because of " #n "\nAction: Edit Script\nAction Input: {\"script_name\": "   \
    "\"train.py\"}\n<<<<<<< SEARCH\na\n=======\nb" #n "\n>>>>>>> REPLACE"

typedef struct {
    const char *task, *trajectory, *text, *idea;
    int index;
    mla_action_kind kind;
    mla_outcome outcome;
    double gain, reward;
    unsigned flags;
    size_t n_prompt, n_action;       // 0: none
    bool final;
} row;

// Ten steps; of task a: look, edit 1, edit 2, edit 1 again from the same state, final; of task b:
// edit 1, which is another there, a failed one, one that hurt, one that is flagged, one unread.
#define OUTCOME(o) MLA_OUTCOME_##o
#define AN_EDIT MLA_ACTION_EDIT_SCRIPT
static const row rows[] = {
    {"a", "a-0", "look", NULL, 0, MLA_ACTION_LIST_FILES, OUTCOME(OK), NAN, 0.5, 0, 10, 1, false},
    {"a", "a-0", EDIT(1), "x", 1, AN_EDIT, OUTCOME(OK), 0.5, 0.8, 0, 10, 2, false},
    {"a", "a-1", EDIT(2), "x+y", 0, AN_EDIT, OUTCOME(OK), 0, 0.5, 0, 10, 3, false},
    {"a", "a-1", EDIT(1), "y", 1, AN_EDIT, OUTCOME(OK), 0.1, 0.6, 0, 10, 4, false},
    {"a", "a-1", "end", NULL, 2, MLA_ACTION_FINAL_ANSWER, OUTCOME(OK), NAN, 0.5, 0, 10, 5, true},
    {"b", "b-0", EDIT(1), "x", 0, AN_EDIT, OUTCOME(OK), 0.2, 0.7, 0, 10, 6, false},
    {"b", "b-0", EDIT(3), NULL, 1, AN_EDIT, OUTCOME(SCRIPT_ERROR), NAN, 0, 0, 10, 7, false},
    {"b", "b-0", EDIT(4), NULL, 2, AN_EDIT, OUTCOME(OK), -0.5, 0.1, 0, 10, 8, false},
    {"b", "b-0", EDIT(5), NULL, 3, AN_EDIT, OUTCOME(OK), 0.3, 0.7, MLA_FLAG_READ_OUTSIDE, 10, 9,
     false},
    {"b", "b-0", "hm", NULL, 4, MLA_ACTION_NONE, OUTCOME(INVALID_ACTION), NAN, 0, 0, 10, 100,
     true},
};

static mla_step step_of(const row *r) {
    mla_step s;
    mla_step_init(&s);
    s.task = mla_strdup(r->task), s.trajectory = mla_strdup(r->trajectory);
    s.actor = mla_strdup("expert"), s.text = mla_strdup(r->text), s.idea = mla_strdup(r->idea);
    s.index = r->index, s.kind = r->kind, s.outcome = r->outcome;
    s.reward.gain = r->gain, s.reward.reward = r->reward, s.flags = r->flags, s.final = r->final;
    s.prompt_ids = MLA_NEW_ARRAY(int32_t, r->n_prompt), s.n_prompt = r->n_prompt;
    s.action_ids = MLA_NEW_ARRAY(int32_t, r->n_action), s.n_action = r->n_action;
    snprintf(s.state.commit, sizeof s.state.commit, "%040d", r->index);
    return s;
}

static int set_up(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mlagent-test-stats-%d", (int)getpid());
    snprintf(path, sizeof path, "%s/steps.jsonl", root);
    if (mla_fs_mkdirs(root, &err) < 0) return -1;
    mla_lines *lines = mla_lines_open(path, &err);
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        mla_step s = step_of(&rows[i]);
        if (mla_store_append(lines, &s, &err) < 0) return -1;
        mla_step_clear(&s);
    }
    mla_lines_close(lines);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    return mla_fs_remove_tree(root, &err);
}

static json_t *stats_of(mla_keep keep) {
    mla_dataset_options o = mla_dataset_options_default();
    o.keep = keep, o.margin = 0.05;
    json_t *stats = mla_data_stats(path, &o, &err);
    if (!stats) fail_msg("%s", err.text);
    return stats;
}

// The number at "key.key.key"; keys hold no dots.
static double at(const json_t *o, const char *keys) {
    char *copy = mla_strdup(keys), *key = copy;
    for (char *dot; (dot = strchr(key, '.')) != NULL; key = dot + 1) {
        *dot = '\0';
        o = json_object_get(o, key);
    }
    double value = mla_json_get_number(o, key, -12345);
    free(copy);
    return value;
}

static void what_is_there_is_counted(void **state) {
    (void)state;
    json_t *s = stats_of(MLA_KEEP_NOT_HURT);
    static const struct {
        const char *keys;
        double value;
    } known[] = {
        {"steps", 10}, {"trajectories", 3}, {"ended", 2},
        {"length.min", 3}, {"length.max", 5}, {"length.median", 3},
        {"tasks.a.steps", 5}, {"tasks.a.trajectories", 2}, {"tasks.a.edits", 3},
        {"tasks.a.valid", 5}, {"tasks.a.improved", 2}, {"tasks.a.gain_mean", 0.2},
        {"tasks.b.valid", 3}, {"tasks.b.edits", 4}, {"tasks.b.reward_mean", 0.3},
        {"actions.Edit Script", 7}, {"actions.none", 1}, {"outcomes.script error", 1},
        {"flags.read_outside", 1}, {"flags.copied_sample", 0},
        {"gain.n", 6}, {"gain.min", -0.5}, {"gain.median", 0.1}, {"gain.p95", 0.5},
        {"gain.improved", 4}, {"gain.unchanged", 1}, {"gain.hurt", 1}, {"gain.mean", 0.1},
        {"reward.n", 10}, {"reward.max", 0.8},
        {"diversity.edits", 7}, {"diversity.distinct_edits", 6}, {"diversity.ideas_covered", 3},
        {"diversity.repeated", 1},
        {"tokens.prompt.max", 10}, {"tokens.action.median", 5}, {"tokens.action.p95", 100},
        {"tokens.sample.max", 110},
    };
    for (size_t i = 0; i < MLA_COUNT(known); i++) {
        double got = at(s, known[i].keys);
        if (fabs(got - known[i].value) > 1e-12) fail_msg("%s: %g", known[i].keys, got);
    }
    json_decref(s);
}

static void entropy_is_over_actions_of_a_task(void **state) {
    (void)state;
    json_t *s = stats_of(MLA_KEEP_VALID);
    // Task a: an edit twice, three others once, of five; task b: five different ones.
    double a = -0.4 * log(0.4) - 3 * 0.2 * log(0.2), b = log(5);
    assert_true(fabs(at(s, "diversity.entropy_actions") - (a + b) / 2) < 1e-12);
    double kinds = -0.7 * log(0.7) - 3 * 0.1 * log(0.1);
    assert_true(fabs(at(s, "diversity.entropy_kinds") - kinds) < 1e-12);
    json_decref(s);
}

static void each_filter_says_what_it_leaves_out(void **state) {
    (void)state;
    static const struct {
        mla_keep keep;
        double kept, hurt;
    } known[] = {{MLA_KEEP_VALID, 7, 0}, {MLA_KEEP_NOT_HURT, 6, 1}, {MLA_KEEP_IMPROVED, 5, 2}};
    for (size_t i = 0; i < MLA_COUNT(known); i++) {
        json_t *s = stats_of(known[i].keep);
        assert_true(at(s, "filters.kept") == known[i].kept);
        assert_true(at(s, "filters.left_out.gain too small") == known[i].hurt);
        assert_true(at(s, "filters.left_out.flagged") == 1);
        assert_true(at(s, "filters.left_out.not done") == 1);
        assert_true(at(s, "filters.left_out.no action") == 1);
        json_decref(s);
    }
}

static void a_bad_file_is_said(void **state) {
    (void)state;
    const mla_dataset_options o = mla_dataset_options_default();
    char *other = mla_fs_join(root, "other.jsonl");
    assert_null(mla_data_stats(other, &o, &err));
    assert_non_null(strstr(err.text, "is not there"));
    assert_int_equal(mla_fs_write(other, "{}\n", 3, &err), 0);
    assert_null(mla_data_stats(other, &o, &err));
    assert_non_null(strstr(err.text, "other.jsonl: line 1: "));
    free(other);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_there_is_counted),
        cmocka_unit_test(entropy_is_over_actions_of_a_task),
        cmocka_unit_test(each_filter_says_what_it_leaves_out),
        cmocka_unit_test(a_bad_file_is_said),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
