// What the tests of adapters share: tiny models that can carry them, a tree of segments with a loss
// on all but its stem, scratch folders.
#ifndef MLA_TESTS_LORA_FIXTURE_H
#define MLA_TESTS_LORA_FIXTURE_H

#include <unistd.h>

#include "base/fs.h"
#include "model/footprint.h"
#include "model_fixture.h"

#define LORA_VECTORS "tests/vectors/model_lora/"
#define TREE_MAX 512

// A path that no other test has; nothing is there. Caller frees, by remove_scratch.
static inline char *scratch_dir(const char *name) {
    char *path = mla_format("/tmp/mla-lora-%d-%s", (int)getpid(), name);
    mla_err err;
    assert_int_equal(mla_fs_remove_tree(path, &err), 0);
    return path;
}

static inline void remove_scratch(char *path) {
    mla_err err;
    assert_int_equal(mla_fs_remove_tree(path, &err), 0);
    free(path);
}

// The formula's weights as a Hugging Face folder. Caller frees the path.
static inline char *formula_folder(const mla_model_config *config, const char *name) {
    char *dir = scratch_dir(name);
    mla_model *m = formula_model(config, MLA_COMPUTE_F32);
    mla_err err;
    if (mla_model_save(m, dir, true, &err)) fail_msg("%s", err.text);
    mla_model_free(m);
    return dir;
}

static inline mla_model *open_formula(const mla_model_config *config, mla_compute compute,
                                      bool adaptable) {
    char *dir = formula_folder(config, "base");
    const mla_model_options options = {.compute = compute, .adaptable = adaptable};
    mla_err err;
    mla_model *m = mla_model_load(dir, &options, &err);
    if (!m) fail_msg("%s", err.text);
    remove_scratch(dir);
    return m;
}

static inline mla_model *adaptable_model(const mla_model_config *config, mla_compute compute) {
    return open_formula(config, compute, true);
}

// A trainable adapter with values everywhere, as large as those of a trained one.
static inline void add_adapter(mla_model *m, const mla_adapter_options *options, uint64_t seed) {
    mla_err err;
    const size_t before = mla_model_params(m);
    if (mla_adapter_add(m, options, seed, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = before; i < mla_model_params(m); i++) {
        mla_param *p = mla_model_param(m, i);
        fill_noise(p->data, p->rows * p->cols, mla_rng_derive(seed, mla_rng_hash(p->name), 0, 0));
        for (size_t k = 0; k < p->rows * p->cols; k++) p->data[k] *= 0.1f;
    }
    mla_model_refresh(m);
}

// A model for sampling with an adapter from a file.
static inline mla_model *frozen_with_adapter(const mla_model_config *config, mla_compute compute,
                                             const mla_adapter_options *options) {
    char *dir = scratch_dir("lower");
    mla_err err;
    mla_model *from = adaptable_model(config, MLA_COMPUTE_F32);
    add_adapter(from, options, 3);
    if (mla_adapter_save(from, 0, dir, true, &err)) fail_msg("%s", err.text);
    mla_model_free(from);
    mla_model *m = open_formula(config, compute, compute != MLA_COMPUTE_INT8);
    if (mla_adapter_load(m, dir, false, &err) != 0) fail_msg("%s", err.text);
    remove_scratch(dir);
    return m;
}

static inline size_t count_values(mla_model *m) {
    size_t n = 0;
    for (size_t i = 0; i < mla_model_params(m); i++)
        n += mla_model_param(m, i)->rows * mla_model_param(m, i)->cols;
    return n;
}

// All gradients in a row. Caller frees.
static inline float *copy_gradients(mla_model *m) {
    float *out = MLA_NEW_ARRAY(float, count_values(m)), *to = out;
    for (size_t i = 0; i < mla_model_params(m); i++) {
        const mla_param *p = mla_model_param(m, i);
        memcpy(to, p->grad, p->rows * p->cols * sizeof *to);
        to += p->rows * p->cols;
    }
    return out;
}

// Mean loss of a batch of one sequence after its forward pass, and the way back.
static inline double next_loss_back(mla_model *m, mla_activations *acts,
                                    const mla_token_batch *batch) {
    const int n = batch->n - 1;
    int rows[TREE_MAX];
    float logprob[TREE_MAX], d[TREE_MAX];
    double loss = 0;
    for (int i = 0; i < n; i++) {
        rows[i] = i;
        d[i] = -1.0f / (float)n;
    }
    const mla_head_rows at = {rows, batch->ids + 1, n, 1.0f};
    mla_head_forward(m, acts, &at, logprob, NULL);
    for (int i = 0; i < n; i++) loss -= (double)logprob[i] / n;
    mla_head_backward(m, acts, &at, d, NULL);
    mla_transformer_backward(m, batch, acts);
    return loss;
}

// ---- a tree ----------------------------------------------------------------------------------

enum { STEM = 70, BRANCH = 9, BRANCHES = 3 };

static inline void tree_part(int branch, int32_t *out) {
    const int n = branch < 0 ? STEM : BRANCH;
    for (int i = 0; i < n; i++) out[i] = (i * 7 + branch * 17 + 40) % VOCAB;
}

// The tokens of the shared layout: the stem, then the branches.
static inline int tree_ids(int32_t *ids) {
    for (int b = -1; b < BRANCHES; b++) tree_part(b, ids + (b < 0 ? 0 : STEM + b * BRANCH));
    return STEM + BRANCHES * BRANCH;
}

// Forward, and perhaps back, over a stem with branches, shared or as separate sequences. Weights
// and log-probabilities of the branches' tokens come out in the same order; returns their number.
static inline int tree_run(mla_model *m, mla_activations *acts, bool shared, bool backward,
                           float *logprob, float *weight) {
    int32_t ids[TREE_MAX], targets[TREE_MAX];
    mla_segment segments[2 * BRANCHES];
    int rows[TREE_MAX], n = 0, count = 0, at = 0;
    for (int b = 0; b < BRANCHES; b++) {
        if (!b || !shared) {
            tree_part(-1, ids + at);
            segments[count++] = (mla_segment){at, STEM, -1};
            at += STEM;
        }
        tree_part(b, ids + at);
        for (int i = 0; i < BRANCH; i++, n++) {
            rows[n] = i ? at + i - 1 : shared ? STEM - 1 : at - 1;
            targets[n] = ids[at + i];
            weight[n] = 0.1f + 0.01f * (float)(n % 7);
        }
        segments[count] = (mla_segment){at, BRANCH, shared ? 0 : count - 1};
        count++;
        at += BRANCH;
    }
    const mla_token_batch batch = {ids, at, segments, count};
    const mla_head_rows head = {rows, targets, n, 0.8f};
    mla_transformer_forward(m, &batch, acts, backward);
    mla_head_forward(m, acts, &head, logprob, NULL);
    if (!backward) return n;
    mla_head_backward(m, acts, &head, weight, NULL);
    mla_transformer_backward(m, &batch, acts);
    return n;
}

#endif
