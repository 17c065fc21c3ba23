// The reward, for every outcome x edit or not x direction, and at its edges.
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "reward/reward.h"

static const mla_reward_options four = {.alpha = 4.0};

static mla_reward_facts facts_of(mla_outcome outcome, bool is_edit, int direction) {
    return (mla_reward_facts){
        .outcome = outcome, .is_edit = is_edit, .direction = direction,
        .score_before = 0.70, .score_after = 0.75, .score_init = 0.60, .score_best = 0.80,
    };
}

// What the paper says of each outcome, written out by hand: [not an edit, edit up, edit down].
// The edit moves the score by +0.05 of a way of 0.2, so the gain is 0.25 up and -0.25 down.
static void test_every_outcome(void **state) {
    (void)state;
    static const struct {
        mla_outcome outcome;
        double plain, up, down;
    } table[] = {
        {MLA_OUTCOME_OK, 0.5, 0.73105857863000487925, 0.26894142136999512075},
        {MLA_OUTCOME_INVALID_ACTION, 0, 0, 0},
        {MLA_OUTCOME_ACTION_FAILED, 0, 0, 0},
        {MLA_OUTCOME_EDIT_FAILED, 0, 0, 0},
        {MLA_OUTCOME_SCRIPT_ERROR, 0, 0, 0},
        {MLA_OUTCOME_NO_SUBMISSION, 0, 0, 0},
        {MLA_OUTCOME_BAD_SUBMISSION, 0, 0, 0},
        {MLA_OUTCOME_TIME_OUT, 0.5, 0.5, 0.5},
        {MLA_OUTCOME_OUT_OF_MEMORY, 0.5, 0.5, 0.5},
        {MLA_OUTCOME_KILLED, 0, 0, 0},
        {MLA_OUTCOME_EDITOR_FAILED, NAN, NAN, NAN},
        {MLA_OUTCOME_SANDBOX_FAILED, NAN, NAN, NAN},
    };
    assert_int_equal(MLA_COUNT(table), MLA_OUTCOME_COUNT);
    for (size_t i = 0; i < MLA_COUNT(table); i++) {
        assert_int_equal(table[i].outcome, i);
        for (int edit = 0; edit < 2; edit++) {
            for (int direction = -1; direction <= 1; direction += 2) {
                mla_reward_facts facts = facts_of(table[i].outcome, edit, direction);
                double want = !edit ? table[i].plain : direction > 0 ? table[i].up : table[i].down;
                double got = mla_reward_score(&four, &facts).reward;
                if (isnan(want)) assert_true(isnan(got));
                else assert_true(fabs(got - want) < 1e-12);
            }
        }
    }
}

static void test_gain_and_parts(void **state) {
    (void)state;
    mla_reward_facts facts = facts_of(MLA_OUTCOME_OK, true, 1);
    mla_reward_parts parts = mla_reward_score(&four, &facts);
    assert_true(fabs(parts.gain - 0.25) < 1e-12);
    assert_true(parts.score_before == 0.70 && parts.score_after == 0.75);
    facts.is_edit = false;
    parts = mla_reward_score(&four, &facts);
    assert_true(isnan(parts.gain));
    assert_true(parts.score_after == 0.75);
}

// An error metric: from 0.9 to 0.6, where the starter has 1.0 and the reference 0.4.
static void test_lower_is_better(void **state) {
    (void)state;
    mla_reward_facts facts = {.outcome = MLA_OUTCOME_OK, .is_edit = true, .direction = -1,
                              .score_before = 0.9, .score_after = 0.6, .score_init = 1.0,
                              .score_best = 0.4};
    mla_reward_parts parts = mla_reward_score(&four, &facts);
    assert_true(fabs(parts.gain - 0.5) < 1e-12);
    assert_true(fabs(parts.reward - 0.88079707797788243) < 1e-12);
}

static void test_first_run_is_measured_from_the_starter(void **state) {
    (void)state;
    mla_reward_facts facts = facts_of(MLA_OUTCOME_OK, true, 1);
    facts.score_before = NAN;
    mla_reward_parts parts = mla_reward_score(&four, &facts);
    assert_true(parts.score_before == 0.60);
    assert_true(fabs(parts.gain - 0.75) < 1e-12);
}

// To break and repair a script earns the 0.5 of no change: the score before is still the old one.
static void test_break_and_repair_earns_nothing(void **state) {
    (void)state;
    mla_reward_facts facts = facts_of(MLA_OUTCOME_OK, true, 1);
    facts.score_after = facts.score_before;
    assert_true(mla_reward_score(&four, &facts).reward == 0.5);
}

static void test_extremes_stay_in_range(void **state) {
    (void)state;
    mla_reward_facts facts = facts_of(MLA_OUTCOME_OK, true, 1);
    facts.score_after = 1e300;
    assert_true(mla_reward_score(&four, &facts).reward == 1.0);
    facts.score_after = -1e300;
    assert_true(mla_reward_score(&four, &facts).reward == 0.0);
    facts.direction = -1;
    assert_true(mla_reward_score(&four, &facts).reward == 1.0);
}

static void test_alpha_is_the_steepness(void **state) {
    (void)state;
    assert_true(mla_reward_options_default().alpha == 4.0);
    mla_reward_facts facts = facts_of(MLA_OUTCOME_OK, true, 1);
    mla_reward_options flat = {.alpha = 0}, steep = {.alpha = 40};
    assert_true(mla_reward_score(&flat, &facts).reward == 0.5);
    assert_true(fabs(mla_reward_score(&steep, &facts).reward - 0.99995460213129761) < 1e-12);
}

static int signal_of(const mla_reward_facts *facts) {
    pid_t pid = fork();
    if (pid == 0) {
        close(STDERR_FILENO);
        signal(SIGABRT, SIG_DFL);
        mla_reward_score(&four, facts);
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

// An edit that ran has a score, and a task has a way from starter to reference: else a bug of ours.
static void test_broken_promises_abort(void **state) {
    (void)state;
    mla_reward_facts facts = facts_of(MLA_OUTCOME_OK, true, 1);
    assert_int_equal(signal_of(&facts), 0);
    facts.score_after = NAN;
    assert_int_equal(signal_of(&facts), SIGABRT);
    facts = facts_of(MLA_OUTCOME_OK, true, 0);
    assert_int_equal(signal_of(&facts), SIGABRT);
    facts = facts_of(MLA_OUTCOME_OK, true, 1);
    facts.score_best = facts.score_init;
    assert_int_equal(signal_of(&facts), SIGABRT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_outcome),
        cmocka_unit_test(test_gain_and_parts),
        cmocka_unit_test(test_lower_is_better),
        cmocka_unit_test(test_first_run_is_measured_from_the_starter),
        cmocka_unit_test(test_break_and_repair_earns_nothing),
        cmocka_unit_test(test_extremes_stay_in_range),
        cmocka_unit_test(test_alpha_is_the_steepness),
        cmocka_unit_test(test_broken_promises_abort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
