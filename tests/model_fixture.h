// What the tests of the model share: tiny models whose weights come from the formula that
// tools/vectors_model.py has too, and the vectors that script wrote.
#ifndef MLA_TESTS_MODEL_FIXTURE_H
#define MLA_TESTS_MODEL_FIXTURE_H

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
#include "base/rng.h"
#include "model/internal.h"

#define VOCAB 97

static const mla_model_config llama_tied = {.arch = MLA_ARCH_LLAMA,
                                            .vocab = VOCAB,
                                            .dim = 32,
                                            .layers = 2,
                                            .heads = 4,
                                            .kv_heads = 2,
                                            .head_dim = 8,
                                            .hidden = 48,
                                            .max_context = 512,
                                            .rope_theta = 10000,
                                            .norm_eps = 1e-5f,
                                            .tied = true};
static const mla_model_config llama_untied = {.arch = MLA_ARCH_LLAMA,
                                              .vocab = VOCAB,
                                              .dim = 64,
                                              .layers = 1,
                                              .heads = 4,
                                              .kv_heads = 1,
                                              .head_dim = 16,
                                              .hidden = 80,
                                              .max_context = 512,
                                              .rope_theta = 10000,
                                              .norm_eps = 1e-5f};
static const mla_model_config qwen2_tied = {.arch = MLA_ARCH_QWEN2,
                                            .vocab = VOCAB,
                                            .dim = 48,
                                            .layers = 2,
                                            .heads = 3,
                                            .kv_heads = 3,
                                            .head_dim = 16,
                                            .hidden = 64,
                                            .max_context = 512,
                                            .rope_theta = 10000,
                                            .norm_eps = 1e-5f,
                                            .tied = true};
static const mla_model_config qwen2_untied = {.arch = MLA_ARCH_QWEN2,
                                              .vocab = VOCAB,
                                              .dim = 32,
                                              .layers = 2,
                                              .heads = 4,
                                              .kv_heads = 2,
                                              .head_dim = 8,
                                              .hidden = 40,
                                              .max_context = 512,
                                              .rope_theta = 10000,
                                              .norm_eps = 1e-5f};

static inline void formula(const char *name, float *out, size_t n) {
    uint32_t h = 2166136261u;
    for (const char *p = name; *p; p++) h = (h ^ (uint8_t)*p) * 16777619u;
    const double centre = strstr(name, "norm") ? 1 : 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t u = ((uint32_t)i + h) * 2654435761u;
        u ^= u >> 15;
        u *= 2246822519u;
        u ^= u >> 13;
        out[i] = (float)((u / 4294967296.0 - 0.5) * 0.5 + centre);
    }
}

static inline mla_model *formula_model(const mla_model_config *config, mla_compute compute) {
    const mla_model_options options = {.compute = compute, .trainable = true};
    mla_model *m = mla_model_random(config, &options, 1);
    for (size_t i = 0; i < mla_model_params(m); i++) {
        mla_param *p = mla_model_param(m, i);
        formula(p->name, p->data, p->rows * p->cols);
    }
    mla_model_refresh(m);
    return m;
}

static inline void fill_ids(int32_t *ids, int n) {
    for (int i = 0; i < n; i++) ids[i] = (i * 31 + 7) % VOCAB;
}

static inline void fill_noise(float *x, size_t n, uint64_t seed) {
    mla_rng rng;
    mla_rng_init(&rng, seed);
    for (size_t i = 0; i < n; i++) x[i] = (float)mla_rng_normal(&rng);
}

// The record called `name` of a vector file, whose shape must be as given. Caller frees.
static inline float *vector_read(const char *file, const char *name, size_t rows, size_t cols) {
    FILE *f = fopen(file, "rb");
    if (!f) fail_msg("%s: cannot be read; run the tests from the repository's root", file);
    uint32_t len, shape[2];
    while (fread(&len, 4, 1, f) == 1) {
        char have[256] = {0};
        assert_true(len < sizeof have && fread(have, 1, len, f) == len);
        assert_int_equal(fread(shape, 4, 2, f), 2);
        size_t n = (size_t)shape[0] * shape[1];
        if (strcmp(have, name) == 0) {
            assert_int_equal(shape[0], rows);
            assert_int_equal(shape[1], cols);
            float *out = MLA_NEW_ARRAY(float, n);
            assert_int_equal(fread(out, 4, n, f), n);
            fclose(f);
            return out;
        }
        fseek(f, (long)(n * 4), SEEK_CUR);
    }
    fail_msg("%s: has no record %s", file, name);
    return NULL;
}

// Log-probabilities of a sequence's own next tokens, by the training forward. logprob [n - 1].
static inline void next_logprobs(const mla_model *m, const int32_t *ids, int n, float *logprob) {
    const mla_segment whole = {0, n, -1};
    const mla_token_batch batch = {ids, n, &whole, 1};
    int *rows = MLA_NEW_ARRAY(int, (size_t)n);
    for (int i = 0; i < n; i++) rows[i] = i;
    const mla_head_rows at = {rows, ids + 1, n - 1, 1.0f};
    mla_activations *acts = mla_activations_create(m);
    mla_transformer_forward(m, &batch, acts, false);
    mla_head_forward(m, acts, &at, logprob, NULL);
    mla_activations_free(acts);
    free(rows);
}

static inline double largest_gap(const float *a, const float *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double gap = fabs((double)a[i] - (double)b[i]);
        if (isnan(gap)) return gap;
        if (gap > most) most = gap;
    }
    return most;
}

static inline void assert_close(const char *what, const float *got, const float *want, size_t n,
                                double limit) {
    double gap = largest_gap(got, want, n);
    if (!(gap <= limit)) fail_msg("%s: largest difference %g, allowed %g", what, gap, limit);
}

// The largest difference, relative to the largest value wanted.
static inline double relative_gap(const float *got, const float *want, size_t n) {
    double top = 1e-20;
    for (size_t i = 0; i < n; i++) top = fmax(top, fabs((double)want[i]));
    return largest_gap(got, want, n) / top;
}

#endif
