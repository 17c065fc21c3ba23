// The arithmetic of evaluation on numbers worked out by hand.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "eval/internal.h"

static void close_to(double a, double b) {
    if (!(fabs(a - b) < 1e-12)) fail_msg("%.17g is not %.17g", a, b);
}

static void mean_and_interval(void **unused) {
    (void)unused;
    const double v[] = {1, 2, 4, 5};
    close_to(mla__mean(v, 4), 3);
    close_to(mla__sem(v, 4), sqrt(10.0 / 3 / 4));     // deviations 4, 1, 1, 4
    assert_true(isnan(mla__mean(v, 0)));
    assert_true(isnan(mla__sem(v, 1)));
    close_to(mla__sem(v, 2), 0.5);
}

static void best_follows_the_direction(void **unused) {
    (void)unused;
    const double v[] = {0.5, 0.9, 0.2};
    close_to(mla__best(v, 3, 1), 0.9);
    close_to(mla__best(v, 3, -1), 0.2);
    assert_true(isnan(mla__best(v, 0, 1)));
}

static mla_task task = {.name = (char *)"toy", .direction = 1, .init = {0.5, 0.6},
                        .best = {0.9, 1.0}};

static void gain_is_a_share_of_the_way(void **unused) {
    (void)unused;
    close_to(mla__gain(&task, 0.8), 0.5);
    close_to(mla__gain(&task, 0.5), -0.25);
    const mla_task error = {.direction = -1, .init = {30, 20}, .best = {12, 10}};
    close_to(mla__gain(&error, 15), 0.5);
    close_to(mla__gain(&error, 25), -0.5);
}

static mla_step scored(mla_outcome outcome, double public_half, double private_half) {
    mla_step step;
    mla_step_init(&step);
    step.outcome = outcome;
    step.reward.score_after = public_half;
    step.score_private = private_half;
    return step;
}

static void the_public_half_chooses(void **unused) {
    (void)unused;
    const mla_step steps[] = {
        scored(MLA_OUTCOME_OK, 0.7, 0.65),
        scored(MLA_OUTCOME_OK, 0.8, 0.62),              // best in public
        scored(MLA_OUTCOME_OK, 0.6, 0.99),              // best in private: must not be chosen
        scored(MLA_OUTCOME_SCRIPT_ERROR, NAN, NAN),
        scored(MLA_OUTCOME_OK, 0.8, 0.9),               // no better in public than the second
        scored(MLA_OUTCOME_OK, NAN, NAN),               // an undo
    };
    mla_trajectory t = {.task = &task, .steps = steps, .n_steps = MLA_COUNT(steps)};
    close_to(mla__trajectory_score(&t), 0.62);
    t.n_steps = 1;
    close_to(mla__trajectory_score(&t), 0.65);
}

static void the_starter_stands_where_nothing_is_better(void **unused) {
    (void)unused;
    const mla_step steps[] = {
        scored(MLA_OUTCOME_SCRIPT_ERROR, NAN, NAN),
        scored(MLA_OUTCOME_OK, 0.5, 0.7),               // as good in public: the starter it is
        scored(MLA_OUTCOME_OK, 0.4, 0.8),
    };
    mla_trajectory t = {.task = &task, .steps = steps, .n_steps = 3};
    close_to(mla__trajectory_score(&t), 0.6);
    t.n_steps = 1;
    close_to(mla__trajectory_score(&t), 0.6);
    const mla_task lower = {.direction = -1, .init = {0.5, 0.6}, .best = {0.1, 0.1}};
    t = (mla_trajectory){.task = &lower, .steps = steps, .n_steps = 3};
    close_to(mla__trajectory_score(&t), 0.8);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_and_interval),
        cmocka_unit_test(best_follows_the_direction),
        cmocka_unit_test(gain_is_a_share_of_the_way),
        cmocka_unit_test(the_public_half_chooses),
        cmocka_unit_test(the_starter_stands_where_nothing_is_better),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
