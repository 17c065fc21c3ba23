// The reward's variants: each one's numbers by hand, and policies that do no work, simulated
// against an honest one: the paper's form pays them, strict does not (docs/reward.md).
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "reward/reward.h"

#define INIT 0.60
#define BEST 0.80
#define STEPS 15

static double reward_of(mla_reward_form form, const mla_reward_facts *facts) {
    const mla_reward_options options = {.alpha = 4.0, .form = form};
    return mla_reward_score(&options, facts).reward;
}

static mla_reward_facts edit_of(double before, double best, double after) {
    return (mla_reward_facts){.outcome = MLA_OUTCOME_OK, .is_edit = true, .direction = 1,
                              .score_before = before, .best_before = best, .score_after = after,
                              .score_init = INIT, .score_best = BEST};
}

// In the order of the table: an edit up by 0.05 of a way of 0.2, the same down, no change, a look,
// a time-out, a script error.
static void test_numbers(void **state) {
    (void)state;
    static const double want[MLA_REWARD_FORM_COUNT][6] = {
        {0.7310585786300049, 0.2689414213699951, 0.5, 0.5, 0.5, 0},
        {0.5498339973124780, 0.4501660026875220, 0.5, 0.5, 0.5, 0},
        {1, 0, 0, 0, 0, 0},
        {0.7310585786300049, 0.2689414213699951, 0.5, 0.5, 0, 0},
        {0.4621171572600098, 0, 0, 0, 0, 0},
    };
    mla_reward_facts facts[6] = {edit_of(0.70, 0.70, 0.75), edit_of(0.75, 0.75, 0.70),
                                 edit_of(0.70, 0.70, 0.70)};
    facts[3] = facts[4] = facts[5] = facts[2];
    facts[3].is_edit = false;
    facts[4].outcome = MLA_OUTCOME_TIME_OUT;
    facts[5].outcome = MLA_OUTCOME_SCRIPT_ERROR;
    for (int form = 0; form < MLA_REWARD_FORM_COUNT; form++) {
        for (int i = 0; i < 6; i++) {
            double got = reward_of((mla_reward_form)form, &facts[i]);
            if (fabs(got - want[form][i]) > 1e-12) {
                fail_msg("%s, case %d: %.16g", mla_reward_form_name((mla_reward_form)form), i, got);
            }
        }
        facts[0].outcome = MLA_OUTCOME_SANDBOX_FAILED;
        assert_true(isnan(reward_of((mla_reward_form)form, &facts[0])));
        facts[0].outcome = MLA_OUTCOME_OK;
    }
}

static void test_names(void **state) {
    (void)state;
    for (int i = 0; i < MLA_REWARD_FORM_COUNT; i++) {
        assert_int_equal(mla_reward_form_parse(mla_reward_form_name((mla_reward_form)i)), i);
    }
    assert_int_equal(mla_reward_form_parse("Paper"), -1);
    assert_int_equal(mla_reward_form_parse(""), -1);
    assert_int_equal(mla_reward_options_default().form, MLA_REWARD_PAPER);
}

// To spoil and restore pays nothing: the bar is the best so far, and the starter at least.
static void test_strict_measures_from_the_best(void **state) {
    (void)state;
    mla_reward_facts restore = edit_of(0.65, 0.75, 0.75), beyond = edit_of(0.65, 0.75, 0.80);
    assert_true(reward_of(MLA_REWARD_STRICT, &restore) == 0);
    assert_true(fabs(reward_of(MLA_REWARD_STRICT, &beyond) - tanh(0.5)) < 1e-12);
    mla_reward_facts below = edit_of(0.50, 0.50, 0.60), first = edit_of(NAN, NAN, 0.65);
    assert_true(reward_of(MLA_REWARD_STRICT, &below) == 0);
    assert_true(fabs(reward_of(MLA_REWARD_STRICT, &first) - tanh(0.5)) < 1e-12);
    mla_reward_facts lower = {.outcome = MLA_OUTCOME_OK, .is_edit = true, .direction = -1,
                              .score_before = 0.9, .best_before = 0.9, .score_after = 0.6,
                              .score_init = 1.0, .score_best = 0.4};
    assert_true(fabs(reward_of(MLA_REWARD_STRICT, &lower) - tanh(1.0)) < 1e-12);
}

// ---- policies --------------------------------------------------------------------------------

typedef mla_reward_facts (*policy)(int step, double score, double best);

static mla_reward_facts look_on(int step, double score, double best) {
    (void)step;
    mla_reward_facts facts = edit_of(score, best, NAN);
    facts.is_edit = false;
    return facts;
}

static mla_reward_facts change_nothing(int step, double score, double best) {
    (void)step;
    return edit_of(score, best, score);
}

static mla_reward_facts run_out(int step, double score, double best) {
    mla_reward_facts facts = edit_of(score, best, NAN);
    facts.outcome = step % 2 ? MLA_OUTCOME_TIME_OUT : MLA_OUTCOME_OUT_OF_MEMORY;
    return facts;
}

// Down to the starter and back up to where it was, for ever.
static mla_reward_facts go_round(int step, double score, double best) {
    return edit_of(score, best, step % 2 ? INIT + 0.05 : INIT);
}

// Improves by a little once in five steps; breaks the script once; else loses a little.
static mla_reward_facts work(int step, double score, double best) {
    if (step % 5 == 0) return edit_of(score, best, best + 0.01);
    mla_reward_facts facts = edit_of(score, best, score - 0.002);
    if (step % 5 == 3) facts.outcome = MLA_OUTCOME_SCRIPT_ERROR;
    return facts;
}

// Mean reward of the steps of one trajectory from a state at `score`.
static double mean_reward(mla_reward_form form, policy act, double score) {
    double sum = 0, best = score;
    for (int i = 0; i < STEPS; i++) {
        mla_reward_facts facts = act(i, score, best);
        sum += reward_of(form, &facts);
        bool scored = facts.outcome == MLA_OUTCOME_OK && !isnan(facts.score_after);
        if (scored) score = facts.score_after;
        if (scored && score > best) best = score;
    }
    return sum / STEPS;
}

static void test_strict_pays_work_only(void **state) {
    (void)state;
    static const policy idle[] = {look_on, change_nothing, run_out};
    for (double start = INIT; start <= 0.9; start += 0.05) {
        double honest = mean_reward(MLA_REWARD_STRICT, work, start);
        assert_true(honest > 0);
        for (size_t i = 0; i < MLA_COUNT(idle); i++) {
            assert_true(mean_reward(MLA_REWARD_STRICT, idle[i], start) == 0);
        }
    }
    double once = mean_reward(MLA_REWARD_STRICT, go_round, INIT);
    assert_true(fabs(once - tanh(0.5) / STEPS) < 1e-12);   // the first way up, and no other
}

// The hole that strict is there for; were it closed, strict would have no use.
static void test_paper_pays_idleness(void **state) {
    (void)state;
    double honest = mean_reward(MLA_REWARD_PAPER, work, 0.7);
    assert_true(honest < 0.5);
    assert_true(mean_reward(MLA_REWARD_PAPER, look_on, 0.7) == 0.5);
    assert_true(mean_reward(MLA_REWARD_PAPER, change_nothing, 0.7) == 0.5);
    assert_true(mean_reward(MLA_REWARD_PAPER, run_out, 0.7) == 0.5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_strict_measures_from_the_best),
        cmocka_unit_test(test_strict_pays_work_only),
        cmocka_unit_test(test_paper_pays_idleness),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
