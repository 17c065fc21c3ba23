// Log-probabilities kept while sampling against those that the training forward computes for the
// same tokens, on the real models: SmolLM2 and Qwen2.5-Coder-0.5B, in fp32 and in bf16. Needs their
// files, which `mlagent model fetch` fetches; fails without them.
#include "policy/policy.h"
#include "real_fixture.h"

enum { REQUESTS = 2, SAMPLES = 4, NEW = 64 };

typedef struct limits {
    double median, p99, most;      // nats
} limits;

static const limits fp32 = {1e-3, 1e-3, 1e-3}, bf16 = {2e-3, 3e-2, INFINITY};

static mla_policy *open_policy(const char *name, mla_compute compute) {
    char *path = real_path(name);
    if (!path) fail_msg("%s is needed", name);
    mla_policy_options options = mla_policy_options_default();
    options.compute = compute;
    options.trainable = false;
    mla_err err;
    mla_policy *policy = mla_policy_open(path, &options, &err);
    if (!policy) fail_msg("%s", err.text);
    free(path);
    return policy;
}

static void keep(void *ctx, size_t request, int k, mla_sample *take) {
    ((mla_sample *)ctx)[request * SAMPLES + (size_t)k] = *take;
    *take = (mla_sample){0};
}

// Appends |difference| of each token of the request's samples to `gaps`; how many.
static size_t compare(mla_policy *policy, const mla_prompt_request *r, mla_sample *samples,
                      double *gaps) {
    mla_group group;
    mla_group_init(&group, r->ids, r->n);
    for (int k = 0; k < SAMPLES; k++) mla_group_add(&group, samples[k].ids, samples[k].n);
    size_t n = (size_t)group.n_rows, at = 0;
    float *logprob = MLA_NEW_ARRAY(float, n);
    mla_policy_score(policy, &group, r->temperature, logprob);
    for (int k = 0; k < SAMPLES; k++)
        for (size_t i = 0; i < samples[k].n; i++, at++)
            gaps[at] = fabs((double)logprob[at] - (double)samples[k].logprobs[i]);
    assert_int_equal(at, n);
    free(logprob);
    mla_group_clear(&group);
    return n;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void assert_gaps(const char *name, double *gaps, size_t n, limits limit) {
    qsort(gaps, n, sizeof *gaps, by_size);
    double median = gaps[n / 2], p99 = gaps[n * 99 / 100], most = gaps[n - 1];
    print_message("%s: sampling to training, %zu tokens: median %.3g, 99th percentile %.3g, most "
                  "%.3g nats\n", name, n, median, p99, most);
    assert_true(n >= 100);
    if (!(median <= limit.median && p99 <= limit.p99 && most <= limit.most))
        fail_msg("%s: allowed %g, %g, %g", name, limit.median, limit.p99, limit.most);
}

// Samples from two prompts at once, at two temperatures, and scores what came.
static void check(const char *name, const char *file, mla_compute compute, limits limit) {
    mla_policy *policy = open_policy(name, compute);
    real_prompt p = real_prompt_read(file);
    mla_prompt_request requests[REQUESTS] = {
        {.ids = p.ids, .n = p.n, .samples = SAMPLES, .max_new = NEW, .temperature = 1, .seed = 1},
        {.ids = p.ids, .n = p.n / 2, .samples = SAMPLES, .max_new = NEW, .temperature = 0.7f,
         .seed = 2},
    };
    mla_sample samples[REQUESTS * SAMPLES] = {{0}};
    double gaps[REQUESTS * SAMPLES * NEW];
    mla_err err;
    if (mla_policy_generate(policy, requests, REQUESTS, keep, samples, &err) < 0)
        fail_msg("%s", err.text);
    size_t n = 0;
    for (size_t r = 0; r < REQUESTS; r++)
        n += compare(policy, &requests[r], samples + r * SAMPLES, gaps + n);
    assert_gaps(name, gaps, n, limit);
    for (size_t i = 0; i < MLA_COUNT(samples); i++) mla_sample_clear(&samples[i]);
    real_prompt_clear(&p);
    mla_policy_free(policy);
}

static void smollm2_in_fp32(void **state) {
    (void)state;
    check("smollm2-135m-instruct", REAL_VECTORS "smollm2.bin", MLA_COMPUTE_F32, fp32);
}

static void smollm2_in_bf16(void **state) {
    (void)state;
    check("smollm2-135m-instruct", REAL_VECTORS "smollm2.bin", mla_compute_best(), bf16);
}

static void qwen05_in_fp32(void **state) {
    (void)state;
    check("qwen2.5-coder-0.5b-instruct", REAL_VECTORS "qwen05.bin", MLA_COMPUTE_F32, fp32);
}

static void qwen05_in_bf16(void **state) {
    (void)state;
    check("qwen2.5-coder-0.5b-instruct", REAL_VECTORS "qwen05.bin", mla_compute_best(), bf16);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(smollm2_in_fp32),
        cmocka_unit_test(smollm2_in_bf16),
        cmocka_unit_test(qwen05_in_fp32),
        cmocka_unit_test(qwen05_in_bf16),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
