// The pool of states: which steps become states, with which history, and how it samples.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "record/pool.h"

static void push(mla_steps *steps, const char *task, const char *trajectory, int index, int commit,
                 const char *feedback) {
    mla_step step;
    mla_step_init(&step);
    step.task = mla_strdup(task);
    step.trajectory = mla_strdup(trajectory);
    step.actor = mla_strdup("expert");
    step.index = index;
    snprintf(step.state.commit, sizeof step.state.commit, "%040x", (unsigned)commit);
    step.feedback = mla_strdup(feedback);
    mla_steps_push_take(steps, &step);
}

static bool stands_at(const mla_pool_state *s, const char *task, int commit, size_t n_history) {
    char hex[MLA_OID_HEX];
    snprintf(hex, sizeof hex, "%040x", (unsigned)commit);
    return !strcmp(s->task, task) && !strcmp(s->state.commit, hex) && s->n_history == n_history;
}

static size_t count(const mla_pool *pool, const char *task, int commit, size_t n_history) {
    size_t n = 0;
    for (size_t i = 0; i < mla_pool_size(pool); i++) {
        mla_pool_state s = mla_pool_at(pool, i);
        n += stands_at(&s, task, commit, n_history);
    }
    return n;
}

static void test_states_and_histories(void **state) {
    (void)state;
    mla_steps steps = {0};
    push(&steps, "a", "t1", 0, 1, "f0");
    push(&steps, "a", "t1", 1, 2, "f1");
    push(&steps, "a", "t1", 2, 3, "done");      // the state before the Final Answer is one too
    push(&steps, "b", "t2", 0, 9, "g0");
    mla_pool *pool = mla_pool_create_take(&steps, NULL, 0);
    assert_null(steps.items);
    assert_int_equal(mla_pool_size(pool), 4);
    assert_int_equal(count(pool, "a", 1, 0), 1);
    assert_int_equal(count(pool, "a", 2, 1), 1);
    assert_int_equal(count(pool, "a", 3, 2), 1);
    assert_int_equal(count(pool, "b", 9, 0), 1);
    mla_pool_state last = mla_pool_at(pool, 2);
    assert_true(stands_at(&last, "a", 3, 2));
    assert_string_equal(last.history[0].feedback, "f0");
    assert_string_equal(last.history[1].feedback, "f1");
    mla_pool_free(pool);
}

// One starting state for all trajectories of a task; equal files after other feedback are another.
static void test_equal_states_are_one(void **state) {
    (void)state;
    mla_steps steps = {0};
    for (int t = 0; t < 5; t++) {
        char name[16];
        snprintf(name, sizeof name, "t%d", t);
        push(&steps, "a", name, 0, 1, t % 2 ? "odd" : "even");
        push(&steps, "a", name, 1, 1, "next");
    }
    push(&steps, "b", "u", 0, 1, "even");
    mla_pool *pool = mla_pool_create_take(&steps, NULL, 0);
    assert_int_equal(mla_pool_size(pool), 4);
    assert_int_equal(count(pool, "a", 1, 0), 1);
    assert_int_equal(count(pool, "a", 1, 1), 2);
    assert_int_equal(count(pool, "b", 1, 0), 1);
    mla_pool_state first = mla_pool_at(pool, 1);
    assert_string_equal(first.history[0].trajectory, "t0");
    mla_pool_free(pool);
}

// Workers write side by side; a killed run leaves a trajectory that is begun again under its name.
static void test_trajectories_are_told_apart(void **state) {
    (void)state;
    mla_steps steps = {0};
    push(&steps, "a", "t1", 0, 1, "x0");
    push(&steps, "a", "t2", 0, 1, "y0");
    push(&steps, "a", "t1", 1, 2, "x1");
    push(&steps, "a", "t2", 1, 3, "y1");
    push(&steps, "a", "t1", 0, 1, "x0 again");
    push(&steps, "a", "t1", 1, 4, "x1 again");
    push(&steps, "a", "t3", 4, 7, "no beginning");
    push(&steps, "a", "t2", 3, 8, "a gap before it");
    mla_pool *pool = mla_pool_create_take(&steps, NULL, 0);
    assert_int_equal(mla_pool_size(pool), 4);
    for (size_t i = 0; i < mla_pool_size(pool); i++) {
        mla_pool_state s = mla_pool_at(pool, i);
        for (size_t k = 0; k < s.n_history; k++) {
            assert_int_equal(s.history[k].index, k);
            assert_string_equal(s.history[k].trajectory, s.history[s.n_history].trajectory);
        }
    }
    mla_pool_state again = mla_pool_at(pool, 2);
    assert_true(stands_at(&again, "a", 4, 1));
    assert_string_equal(again.history[0].feedback, "x0 again");
    mla_pool_free(pool);
}

// Trajectories are recorded as they end: what is drawn must not depend on which was quicker.
static void test_the_order_of_recording_is_no_matter(void **state) {
    (void)state;
    mla_pool *pools[2];
    for (int turn = 0; turn < 2; turn++) {
        mla_steps steps = {0};
        for (int i = 0; i < 6; i++) {
            int t = turn ? 5 - i : i;
            char name[16];
            snprintf(name, sizeof name, "t%d", t);
            push(&steps, t % 2 ? "a" : "b", name, 0, 1, name);
            push(&steps, t % 2 ? "a" : "b", name, 1, 1 + t / 4, "next");
        }
        pools[turn] = mla_pool_create_take(&steps, NULL, 0);
    }
    assert_int_equal(mla_pool_size(pools[0]), mla_pool_size(pools[1]));
    for (size_t i = 0; i < mla_pool_size(pools[0]); i++) {
        mla_pool_state p = mla_pool_at(pools[0], i), q = mla_pool_at(pools[1], i);
        assert_string_equal(p.history[p.n_history].trajectory, q.history[q.n_history].trajectory);
        assert_int_equal(p.n_history, q.n_history);
    }
    mla_pool_free(pools[0]);
    mla_pool_free(pools[1]);
}

static void test_only_named_tasks(void **state) {
    (void)state;
    mla_steps steps = {0};
    push(&steps, "a", "t1", 0, 1, "");
    push(&steps, "b", "t2", 0, 1, "");
    push(&steps, "c", "t3", 0, 1, "");
    const char *tasks[] = {"c", "a"};
    mla_pool *pool = mla_pool_create_take(&steps, tasks, 2);
    assert_int_equal(mla_pool_size(pool), 2);
    assert_int_equal(count(pool, "b", 1, 0), 0);
    mla_pool_free(pool);
    pool = mla_pool_create_take(&steps, tasks, 2);
    assert_int_equal(mla_pool_size(pool), 0);
    mla_pool_free(pool);
    mla_pool_free(NULL);
}

// A task with 1 state is drawn as often as one with 9, and equal seeds draw equal states.
static void test_sampling(void **state) {
    (void)state;
    mla_steps steps = {0};
    push(&steps, "small", "t1", 0, 1, "");
    for (int i = 0; i < 9; i++) push(&steps, "large", "t2", i, i, "");
    mla_pool *pool = mla_pool_create_take(&steps, NULL, 0);
    mla_rng rng, same;
    mla_rng_init(&rng, 5);
    mla_rng_init(&same, 5);
    int small = 0, seen[9] = {0};
    for (int i = 0; i < 10000; i++) {
        mla_pool_state s = mla_pool_sample(pool, &rng), twin = mla_pool_sample(pool, &same);
        assert_ptr_equal(s.history, twin.history);
        assert_int_equal(s.n_history, twin.n_history);
        if (!strcmp(s.task, "small")) small++;
        else seen[s.n_history]++;
    }
    assert_in_range(small, 4750, 5250);
    for (int i = 0; i < 9; i++) assert_in_range(seen[i], 450, 670);
    mla_pool_free(pool);
}

// Nine variants of one task are drawn together as often as another task is.
static void test_families(void **state) {
    (void)state;
    mla_steps steps = {0};
    const char *names[10] = {"alone"}, *families[10] = {"alone"};
    char variants[9][16];
    push(&steps, "alone", "t0", 0, 1, "");
    for (int i = 0; i < 9; i++) {
        snprintf(variants[i], sizeof variants[i], "z-v%d", i);
        push(&steps, variants[i], variants[i], 0, 2 + i, "");
        names[i + 1] = variants[i];
        families[i + 1] = "z";
    }
    mla_pool *pool = mla_pool_create_take(&steps, NULL, 0);
    mla_pool_group(pool, names, families, 10);
    assert_int_equal(mla_pool_size(pool), 10);
    mla_rng rng;
    mla_rng_init(&rng, 5);
    int alone = 0, last = 0;
    for (int i = 0; i < 10000; i++) {
        mla_pool_state s = mla_pool_sample(pool, &rng);
        alone += !strcmp(s.task, "alone");
        last += !strcmp(s.task, "z-v8");
    }
    assert_in_range(alone, 4750, 5250);
    assert_in_range(last, 450, 670);
    mla_pool_free(pool);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_and_histories),
        cmocka_unit_test(test_equal_states_are_one),
        cmocka_unit_test(test_trajectories_are_told_apart),
        cmocka_unit_test(test_the_order_of_recording_is_no_matter),
        cmocka_unit_test(test_only_named_tasks),
        cmocka_unit_test(test_sampling),
        cmocka_unit_test(test_families),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
