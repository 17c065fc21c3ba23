// Which steps the data set takes: the filters, the mix, and what is held back.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "collect/dataset.h"

static mla_step edit_of(double gain) {
    mla_step s;
    mla_step_init(&s);
    s.text = (char *)"x";
    s.kind = MLA_ACTION_EDIT_SCRIPT;
    s.outcome = MLA_OUTCOME_OK;
    s.reward.reward = 0.5;
    s.reward.gain = gain;
    return s;
}

static void the_filters_say_why(void **state) {
    (void)state;
    mla_dataset_options o = mla_dataset_options_default();
    mla_step s = edit_of(0.2);
    assert_int_equal(mla__step_reason(&s, &o), MLA__LEARN);
    s.flags = MLA_FLAG_READ_OUTSIDE;
    assert_int_equal(mla__step_reason(&s, &o), MLA__FLAGGED);
    s.flags = 0, s.outcome = MLA_OUTCOME_TIME_OUT;
    assert_int_equal(mla__step_reason(&s, &o), MLA__FAILED);
    s.outcome = MLA_OUTCOME_SANDBOX_FAILED, s.reward.reward = NAN;
    assert_int_equal(mla__step_reason(&s, &o), MLA__UNJUDGED);
    s.kind = MLA_ACTION_NONE;
    assert_int_equal(mla__step_reason(&s, &o), MLA__UNREAD);
    s = edit_of(0.2), s.text = NULL;
    assert_int_equal(mla__step_reason(&s, &o), MLA__UNREAD);
}

// Which of the gains -1, -0.05, 0, 0.05, 0.06 are kept, as a text of 0 and 1.
static const char *kept(mla_keep keep) {
    static char text[6];
    static const double gains[] = {-1, -0.05, 0, 0.05, 0.06};
    mla_dataset_options o = mla_dataset_options_default();
    o.keep = keep, o.margin = 0.05;
    for (size_t i = 0; i < MLA_COUNT(gains); i++) {
        const mla_step s = edit_of(gains[i]);
        text[i] = mla__step_reason(&s, &o) == MLA__LEARN ? '1' : '0';
    }
    return text;
}

static void what_is_kept_is_a_setting(void **state) {
    (void)state;
    assert_string_equal(kept(MLA_KEEP_VALID), "11111");
    assert_string_equal(kept(MLA_KEEP_NOT_HURT), "01111");
    assert_string_equal(kept(MLA_KEEP_IMPROVED), "00001");
    // What is no edit has no gain and is not asked for one.
    mla_dataset_options o = mla_dataset_options_default();
    mla_step look = edit_of(NAN);
    look.kind = MLA_ACTION_LIST_FILES, o.keep = MLA_KEEP_IMPROVED;
    assert_int_equal(mla__step_reason(&look, &o), MLA__LEARN);
    assert_int_equal(mla_keep_parse("improved"), MLA_KEEP_IMPROVED);
    assert_int_equal(mla_keep_parse("better"), -1);
}

// Candidates of `n` trajectories of 3 steps; step k of trajectory i starts from script 100 for
// k = 0 (all begin alike), else from one of its own.
typedef struct {
    mla_step steps[300];
    mla_trajectory trajectories[100];
    char names[100][8];
    mla__candidates all;
} made;

static made *make(size_t n, size_t tasks) {
    made *m = MLA_NEW(made);
    for (size_t i = 0; i < n; i++) {
        snprintf(m->names[i], sizeof m->names[i], "t-%zu", i);
        m->trajectories[i] = (mla_trajectory){.steps = &m->steps[3 * i], .n_steps = 3};
        for (size_t k = 0; k < 3; k++) {
            static const mla_action_kind kinds[] = {MLA_ACTION_LIST_FILES, MLA_ACTION_EDIT_SCRIPT,
                                                    MLA_ACTION_FINAL_ANSWER};
            m->steps[3 * i + k] = edit_of(0);
            m->steps[3 * i + k].kind = kinds[k];
            m->steps[3 * i + k].trajectory = m->names[i];
            mla__candidates *all = &m->all;
            MLA_GROW(all->items, all->cap, all->len + 1);
            all->items[all->len++] = (mla__candidate){
                .step = {&m->trajectories[i], k}, .task = i * tasks / n, .state = 1000 + 3 * i + k,
                .script = k ? 1000 + i : 100, .key = mla_format("%zu", i), .draw = i};
        }
    }
    return m;
}

static void unmake(made *m) {
    mla__candidates_clear(&m->all);
    free(m);
}

static void whole_trajectories_are_held_back(void **state) {
    (void)state;
    made *m = make(40, 2);
    size_t dropped = mla__hold_back(&m->all, 0.2, 7);
    size_t held[2] = {0};
    for (size_t i = 0; i < m->all.len; i++) {
        const mla__candidate *c = &m->all.items[i];
        held[c->task] += c->held_back;
        if (c->held_back) assert_int_not_equal(c->script, 100);    // all begin in the same script
        if (i && c[-1].step.trajectory == c->step.trajectory) {
            assert_int_equal(c->held_back, c[-1].held_back);
        }
    }
    // A fifth of each task's 20 trajectories, without their first steps.
    assert_int_equal(dropped, 8);
    assert_int_equal(held[0], 8);
    assert_int_equal(held[1], 8);
    unmake(m);
}

// The second steps of all but two trajectories start from one script; only what goes its own way is
// held back, though more was asked for.
static void what_has_nothing_of_its_own_is_trained_on(void **state) {
    (void)state;
    made *m = make(20, 1);
    for (size_t i = 0; i < 20; i++) {
        if (i == 4 || i == 9) continue;
        m->all.items[3 * i + 1].script = m->all.items[3 * i + 2].script = 200;
    }
    assert_int_equal(mla__hold_back(&m->all, 0.5, 7), 2);
    for (size_t i = 0; i < m->all.len; i++) {
        uint64_t script = m->all.items[i].script;
        assert_int_equal(m->all.items[i].held_back, script == 1004 || script == 1009);
    }
    unmake(m);
}

// Two trajectories that share their scripts with each other only are held back together.
static void companions_are_held_back_together(void **state) {
    (void)state;
    made *m = make(20, 1);
    for (size_t i = 0; i < 20; i++) {
        m->all.items[3 * i + 1].script = m->all.items[3 * i + 2].script = 1000 + i / 2;
    }
    m->all.items[0].script = 99;       // the first has a step of its own besides
    mla__hold_back(&m->all, 0.1, 7);
    size_t held = 0;
    for (size_t i = 0; i < m->all.len; i++) {
        held += m->all.items[i].held_back;
        if (m->all.items[i].script == 1000) assert_true(m->all.items[i].held_back);
    }
    assert_int_equal(held, 5);
    unmake(m);
}

static void a_single_trajectory_is_trained_on(void **state) {
    (void)state;
    made *m = make(1, 1);
    assert_int_equal(mla__hold_back(&m->all, 0.9, 7), 0);
    for (size_t i = 0; i < 3; i++) assert_false(m->all.items[i].held_back);
    unmake(m);
    m = make(3, 1);
    mla__hold_back(&m->all, 0.01, 7);                  // at least one
    size_t held = 0;
    for (size_t i = 0; i < m->all.len; i++) held += m->all.items[i].held_back;
    assert_int_equal(held, 2);
    unmake(m);
}

// How many of each sort are taken until a task is used up.
static void take(const mla_mix *mix, size_t counts[MLA__SORTS]) {
    made *m = make(60, 1);
    mla__task_shelf *shelves = mla__shelves_create(&m->all, 1, false);
    mla__shelf *s;
    while ((s = mla__shelves_pick(&shelves[0], mix)) != NULL) s->next++, s->taken++;
    for (int i = 0; i < MLA__SORTS; i++) counts[i] = shelves[0].sorts[i].taken;
    mla__shelves_free(shelves, 1);
    unmake(m);
}

static void the_mix_is_a_setting(void **state) {
    (void)state;
    size_t counts[MLA__SORTS];
    take(&(mla_mix){.edits = 0.6, .finals = 0.3, .looks = 0.1}, counts);
    assert_int_equal(counts[MLA__EDITS], 60);
    assert_in_range(counts[MLA__FINALS], 29, 31);
    assert_in_range(counts[MLA__LOOKS], 9, 11);
    assert_int_equal(counts[MLA__UNDOS], 0);
    // Shares need not add up to 1.
    take(&(mla_mix){.edits = 0.2, .looks = 0.1}, counts);
    assert_int_equal(counts[MLA__EDITS], 60);
    assert_in_range(counts[MLA__LOOKS], 29, 31);
    assert_int_equal(counts[MLA__FINALS], 0);
}

static void distinct_actions_come_first(void **state) {
    (void)state;
    made *m = make(4, 1);
    // Two states; in the first one three edits of which two are equal, in the second one edit.
    static const char *const keys[] = {"a", "a", "b", "c"};
    for (size_t i = 0; i < 4; i++) {
        mla__candidate *c = &m->all.items[3 * i + 1];
        free(c->key);
        c->key = mla_strdup(keys[i]);
        c->state = i < 3 ? 5 : 6;
    }
    mla__task_shelf *shelves = mla__shelves_create(&m->all, 1, false);
    const mla__shelf *edits = &shelves[0].sorts[MLA__EDITS];
    assert_int_equal(edits->len, 4);
    assert_string_not_equal(edits->items[0]->key, edits->items[1]->key);
    assert_string_equal(edits->items[2]->key, "c");     // its state has fewer different ones
    assert_string_equal(edits->items[3]->key, "a");     // the repetition comes last
    assert_int_equal(edits->items[3]->rank, 1);
    // One way to show a state, whoever came there.
    assert_ptr_equal(edits->items[0]->way.trajectory, edits->items[1]->way.trajectory);
    mla__shelves_free(shelves, 1);
    unmake(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_filters_say_why),
        cmocka_unit_test(what_is_kept_is_a_setting),
        cmocka_unit_test(whole_trajectories_are_held_back),
        cmocka_unit_test(what_has_nothing_of_its_own_is_trained_on),
        cmocka_unit_test(companions_are_held_back_together),
        cmocka_unit_test(a_single_trajectory_is_trained_on),
        cmocka_unit_test(the_mix_is_a_setting),
        cmocka_unit_test(distinct_actions_come_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
