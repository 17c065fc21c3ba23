// The pure parts of training: advantages, whitening, the PPO loss and its gradients.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "train/train.h"

static void gae_with_gamma_and_lambda_1_is_reward_minus_value(void **state) {
    (void)state;
    const float value[4] = {0.1f, -0.2f, 0.7f, 0.4f};
    float advantage[4], returns[4];
    mla_advantage_gae(0.9, value, 4, 1, 1, advantage, returns);
    for (int t = 0; t < 4; t++) {
        assert_float_equal(advantage[t], 0.9 - value[t], 1e-6);
        assert_float_equal(returns[t], 0.9, 1e-6);
    }
}

// Against the definition, summed the other way round: A_t = sum_k (gamma lambda)^k delta_{t+k}.
static void gae_is_its_definition(void **state) {
    (void)state;
    const double gamma = 0.95, lambda = 0.8, reward = 0.3;
    const float value[5] = {0.5f, 0.25f, -1.0f, 2.0f, 0.125f};
    float advantage[5], returns[5];
    mla_advantage_gae(reward, value, 5, gamma, lambda, advantage, returns);
    for (int t = 0; t < 5; t++) {
        double expected = 0;
        for (int k = t; k < 5; k++) {
            double r = k == 4 ? reward : 0, next = k == 4 ? 0 : value[k + 1];
            expected += pow(gamma * lambda, k - t) * (r + gamma * next - value[k]);
        }
        assert_float_equal(advantage[t], expected, 1e-6);
        assert_float_equal(returns[t], expected + value[t], 1e-6);
    }
}

static void whitening_gives_mean_0_and_deviation_1(void **state) {
    (void)state;
    float a[6] = {1, 2, 3, 4, 5, 9};
    mla_advantage_whiten(a, 6);
    double mean = 0, var = 0;
    for (int i = 0; i < 6; i++) mean += a[i] / 6.0;
    for (int i = 0; i < 6; i++) var += (a[i] - mean) * (a[i] - mean) / 5.0;
    assert_float_equal(mean, 0, 1e-6);
    assert_float_equal(var, 1, 1e-5);
    float same[3] = {0.5f, 0.5f, 0.5f};
    mla_advantage_whiten(same, 3);
    for (int i = 0; i < 3; i++) assert_float_equal(same[i], 0, 1e-7);
}

enum { N = 64 };

typedef struct {
    float logprob[N], old[N], ref[N], entropy[N], advantage[N], correction[N];
} arrays;

static arrays make_arrays(uint64_t seed) {
    arrays a;
    mla_rng rng;
    mla_rng_init(&rng, seed);
    for (int i = 0; i < N; i++) {
        a.logprob[i] = (float)(-3 * mla_rng_uniform(&rng) - 0.05);
        a.old[i] = a.logprob[i] + (float)(0.4 * mla_rng_normal(&rng));
        a.ref[i] = a.logprob[i] + (float)(0.3 * mla_rng_normal(&rng));
        a.entropy[i] = (float)mla_rng_uniform(&rng);
        a.advantage[i] = (float)mla_rng_normal(&rng);
        a.correction[i] = (float)(0.5 + mla_rng_uniform(&rng));
    }
    return a;
}

static const mla_ppo_options options = {
    .clip_low = 0.2, .clip_high = 0.28, .kl_coef = 0.05, .entropy_coef = 0.01};

static double loss_of(const arrays *a, mla_ppo_stats *stats) {
    float d_logprob[N], d_entropy[N];
    const mla_ppo_tokens t = {a->logprob, a->old, a->ref, a->entropy, a->advantage, a->correction,
                              N};
    *stats = (mla_ppo_stats){0};
    mla_ppo_loss(&options, &t, 1.0 / N, d_logprob, d_entropy, stats);
    return (stats->policy_loss + options.kl_coef * stats->kl -
            options.entropy_coef * stats->entropy) / N;
}

// The loss is the formula, token by token, with the clipped branch taken where it is the smaller.
static void loss_is_its_formula(void **state) {
    (void)state;
    arrays a = make_arrays(7);
    mla_ppo_stats stats;
    double expected = 0, clipped = 0;
    for (int i = 0; i < N; i++) {
        double rho = exp((double)a.logprob[i] - a.old[i]), A = a.advantage[i];
        double bounded = rho < 0.8 ? 0.8 : rho > 1.28 ? 1.28 : rho;
        double d = (double)a.ref[i] - a.logprob[i];
        double surrogate = (double)a.correction[i] * fmin(rho * A, bounded * A);
        expected += (-surrogate + 0.05 * (exp(d) - d - 1) - 0.01 * a.entropy[i]) / N;
        clipped += (A > 0 && rho > 1.28) || (A < 0 && rho < 0.8);
    }
    assert_float_equal(loss_of(&a, &stats), expected, 1e-9);
    assert_float_equal(stats.clipped, clipped, 0);
    assert_true(clipped > 0 && clipped < N);
    assert_int_equal(stats.tokens, N);
}

static void gradients_are_finite_differences(void **state) {
    (void)state;
    arrays a = make_arrays(11);
    float d_logprob[N], d_entropy[N];
    mla_ppo_stats stats = {0};
    const mla_ppo_tokens t = {a.logprob, a.old, a.ref, a.entropy, a.advantage, a.correction, N};
    mla_ppo_loss(&options, &t, 1.0 / N, d_logprob, d_entropy, &stats);
    const float h = 1e-3f;
    for (int i = 0; i < N; i++) {
        double rho = exp((double)a.logprob[i] - a.old[i]);
        if (fabs(rho - 0.8) < 0.01 || fabs(rho - 1.28) < 0.01) continue;   // at a kink
        arrays up = a, down = a;
        up.logprob[i] += h;
        down.logprob[i] -= h;
        double slope = (loss_of(&up, &stats) - loss_of(&down, &stats)) /
                       ((double)up.logprob[i] - down.logprob[i]);
        assert_float_equal(d_logprob[i], slope, 2e-6);
        assert_float_equal(d_entropy[i], -0.01 / N, 1e-9);
    }
}

static void on_policy_the_ratio_is_1_and_the_gradient_is_minus_the_advantage(void **state) {
    (void)state;
    arrays a = make_arrays(13);
    const mla_ppo_options plain = {.clip_low = 0.2, .clip_high = 0.2};
    float d_logprob[N], d_entropy[N];
    mla_ppo_stats stats = {0};
    const mla_ppo_tokens t = {a.logprob, a.logprob, a.logprob, a.entropy, a.advantage, NULL, N};
    mla_ppo_loss(&plain, &t, 1, d_logprob, d_entropy, &stats);
    for (int i = 0; i < N; i++) assert_float_equal(d_logprob[i], -a.advantage[i], 1e-6);
    assert_float_equal(stats.ratio_max, 1, 0);
    assert_float_equal(stats.clipped, 0, 0);
    assert_float_equal(stats.kl, 0, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gae_with_gamma_and_lambda_1_is_reward_minus_value),
        cmocka_unit_test(gae_is_its_definition),
        cmocka_unit_test(whitening_gives_mean_0_and_deviation_1),
        cmocka_unit_test(loss_is_its_formula),
        cmocka_unit_test(gradients_are_finite_differences),
        cmocka_unit_test(on_policy_the_ratio_is_1_and_the_gradient_is_minus_the_advantage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
