// Cancelling what was submitted: what waits is not begun, what runs is ended, nothing comes back,
// and the environment goes on. The runs here sleep for longer than a test may take.
#include "env_fixture.h"

static void submit_sleep(const toy *t, size_t tag, int k, int seconds) {
    mla_err err = {{0}};
    char *reply = mla_format("Action: Edit Script\nAction Input: train.py\n<<<<<<< SEARCH\nK = 2\n"
                             "=======\nK = %d\nimport time\ntime.sleep(%d)\n>>>>>>> REPLACE", k,
                             seconds);
    if (mla_env_submit(t->env, t->task, &t->start, reply, tag, &err) < 0) fail_msg("%s", err.text);
    free(reply);
}

static int setup_patient(void **state) {
    if (setup(state) < 0) return -1;
    toy *t = *state;
    t->task->limits.seconds = 3000;
    return 0;
}

// Until a run is under way: its worker has taken it from the queue and the script sleeps.
static void wait_a_moment(void) {
    struct timespec moment = {0, 300000000};
    nanosleep(&moment, NULL);
}

static void test_all(void **state) {
    toy *t = *state;
    for (int i = 0; i < 5; i++) submit_sleep(t, (size_t)i, i + 10, 2000);
    wait_a_moment();
    assert_int_equal(mla_env_cancel(t->env, NULL), 5);
    assert_int_equal(mla_env_outstanding(t->env), 0);
    size_t tag = 99;
    mla_facts facts;
    mla_err err = {{0}};
    assert_int_equal(mla_env_collect(t->env, 0, &tag, &facts, &err), 0);
    assert_int_equal(mla_env_cancel(t->env, NULL), 0);
    mla_env_stats stats = mla_env_stats_get(t->env);
    assert_int_equal(stats.steps, 0);
    assert_int_equal(stats.workers_replaced, 0);
    mla_facts next = edit(t, &t->start, "K = 2", "K = 4");
    expect(&next, MLA_OUTCOME_OK, "Score");
    mla_facts_clear(&next);
}

static void test_one(void **state) {
    toy *t = *state;
    size_t first = 7, second = 8, none = 1234, tag;
    submit_sleep(t, first, 4, 2000);
    submit_sleep(t, second, 5, 2000);
    submit_sleep(t, 9, 6, 0);
    assert_int_equal(mla_env_cancel(t->env, &second), 1);     // it waited
    assert_int_equal(mla_env_cancel(t->env, &none), 0);
    wait_a_moment();
    assert_int_equal(mla_env_cancel(t->env, &first), 1);      // it ran
    mla_facts facts;
    mla_err err = {{0}};
    assert_int_equal(mla_env_outstanding(t->env), 1);
    assert_int_equal(mla_env_collect(t->env, 30, &tag, &facts, &err), 1);
    assert_int_equal(tag, 9);
    expect(&facts, MLA_OUTCOME_OK, "Score");
    mla_facts_clear(&facts);
    submit_sleep(t, 9, 6, 0);
    while (mla_env_stats_get(t->env).cache_hits == 0) wait_a_moment();
    tag = 9;
    assert_int_equal(mla_env_cancel(t->env, &tag), 1);        // it was done
    assert_int_equal(mla_env_outstanding(t->env), 0);
}

// Two that need the same run: one runs, the other waits for its result.
static void test_twins(void **state) {
    toy *t = *state;
    mla_env_free(t->env);
    t->env = open_env(t, false, 2);
    submit_sleep(t, 1, 4, 2000);
    submit_sleep(t, 2, 4, 2000);
    wait_a_moment();
    assert_int_equal(mla_env_cancel(t->env, NULL), 2);
    assert_int_equal(mla_env_stats_get(t->env).runs, 0);
}

static void test_freed_at_work(void **state) {
    toy *t = *state;
    for (int i = 0; i < 3; i++) submit_sleep(t, 0, i, 2000);
    wait_a_moment();                               // teardown frees it with a run under way
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_one, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_twins, setup_patient, teardown),
        cmocka_unit_test_setup_teardown(test_freed_at_work, setup_patient, teardown),
    };
    return run_with_env(tests);
}
