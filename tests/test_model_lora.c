// Adapters: values and gradients against PEFT's (vectors/model_lora, made by tools/vectors_lora.py)
// and against finite differences, one adapter over another, training, dropout, merging.
#include "lora_fixture.h"

#define TOKENS 21

static const struct {
    const char *name;
    const mla_model_config *config;
    mla_adapter_options options;
} cases[] = {
    {"llama_tied", &llama_tied,
     {.rank = 4, .alpha = 8, .targets = MLA_TARGETS_ALL, .base = "tiny/llama_tied"}},
    {"qwen2_untied", &qwen2_untied,
     {.rank = 6, .alpha = 9, .rslora = true, .base = "tiny/qwen2_untied",
      .targets = 1u << MLA_TARGET_Q | 1u << MLA_TARGET_V | 1u << MLA_TARGET_UP |
                 1u << MLA_TARGET_DOWN}},
};

// ---- PEFT's values ---------------------------------------------------------------------------

static void check_options(const mla_adapter_options *got, const mla_adapter_options *want) {
    assert_int_equal(got->rank, want->rank);
    assert_true(got->alpha == want->alpha && got->dropout == want->dropout);
    assert_int_equal(got->rslora, want->rslora);
    assert_int_equal(got->targets, want->targets);
    assert_string_equal(got->base, want->base);
}

static void values_and_gradients_are_those_of_peft(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        char *file = mla_format(LORA_VECTORS "%s.bin", cases[i].name);
        char *dir = mla_format(LORA_VECTORS "%s", cases[i].name);
        mla_model *m = adaptable_model(cases[i].config, MLA_COMPUTE_F32);
        mla_err err = {{0}};
        if (mla_adapter_load(m, dir, true, &err) != 0) fail_msg("%s", err.text);
        check_options(mla_adapter_get_options(m, 0), &cases[i].options);
        mla_activations *acts = mla_activations_create(m);
        int32_t ids[TOKENS];
        static float logits[TOKENS * VOCAB];
        fill_ids(ids, TOKENS);
        const mla_segment whole = {0, TOKENS, -1};
        const mla_token_batch batch = {ids, TOKENS, &whole, 1};
        mla_head_logits(m, mla_transformer_forward(m, &batch, acts, true), TOKENS, logits);
        float *want = vector_read(file, "logits", TOKENS, VOCAB);
        assert_close(cases[i].name, logits, want, TOKENS * VOCAB, 1e-4);
        free(want);
        next_loss_back(m, acts, &batch);
        for (size_t k = 0; k < mla_model_params(m); k++) {
            const mla_param *p = mla_model_param(m, k);
            char *name = mla_format("grad:%s", p->name);
            want = vector_read(file, name, p->rows, p->cols);
            assert_close(name, p->grad, want, p->rows * p->cols, 2e-5);
            assert_true(relative_gap(p->grad, want, p->rows * p->cols) < 1e-3);
            free(want);
            free(name);
        }
        mla_activations_free(acts);
        mla_model_free(m);
        free(file);
        free(dir);
    }
}

// ---- finite differences ----------------------------------------------------------------------

static double tree_value(mla_model *m, mla_activations *acts, bool backward) {
    float logprob[TREE_MAX], weight[TREE_MAX];
    const int n = tree_run(m, acts, true, backward, logprob, weight);
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)weight[i] * (double)logprob[i];
    return sum;
}

// The slope of the tree's value along `way` [n] from x, by differences of the fourth order.
static double slope_along(mla_model *m, mla_activations *acts, float *x, const float *way, size_t n,
                          double step, bool refresh) {
    static const struct { double at, weight; } points[] = {
        {2, -1 / 12.0}, {1, 8 / 12.0}, {-1, -8 / 12.0}, {-2, 1 / 12.0}};
    float *kept = MLA_NEW_ARRAY(float, n);
    double slope = 0;
    memcpy(kept, x, n * sizeof *x);
    for (size_t p = 0; p < MLA_COUNT(points); p++) {
        for (size_t i = 0; i < n; i++)
            x[i] = (float)((double)kept[i] + points[p].at * step * (double)way[i]);
        if (refresh) mla_model_refresh(m);
        slope += points[p].weight * tree_value(m, acts, true) / step;
    }
    memcpy(x, kept, n * sizeof *x);
    if (refresh) mla_model_refresh(m);
    free(kept);
    return slope;
}

// A random way, and the steepest single element.
static void check_slopes(const char *name, mla_model *m, mla_activations *acts, float *x,
                         const float *grad, size_t n, bool refresh) {
    float *way = MLA_NEW_ARRAY(float, n);
    for (int kind = 0; kind < 2; kind++) {
        double want = 0, length = 0;
        size_t top = 0;
        for (size_t i = 0; i < n; i++) top = fabsf(grad[i]) > fabsf(grad[top]) ? i : top;
        fill_noise(way, n, mla_rng_hash(name));
        for (size_t i = 0; i < n; i++) {
            if (kind) way[i] = i == top;
            want += (double)grad[i] * (double)way[i];
            length += (double)way[i] * (double)way[i];
        }
        const double got = slope_along(m, acts, x, way, n, 0.02 / sqrt(length), refresh);
        if (fabs(got - want) > 2e-3 * (fabs(want) + 0.05 * sqrt(length)))
            fail_msg("%s, %s: slope %g, gradient says %g", name, kind ? "one" : "all", got, want);
    }
    free(way);
}

// The gradient with respect to the embeddings is what reaches the bottom of the network.
static void check_input(mla_model *m, mla_activations *acts, const float *dx, const int32_t *ids,
                        int n) {
    const size_t dim = (size_t)m->config.dim, all = (size_t)m->config.vocab * dim;
    float *grad = MLA_NEW_ARRAY(float, all);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < dim; k++)
            grad[(size_t)ids[i] * dim + k] += dx[(size_t)i * dim + k];
    check_slopes("input", m, acts, m->embed.plain, grad, all, false);
    free(grad);
}

static void check_gradients(mla_model *m, uint64_t dropout) {
    mla_activations *acts = mla_activations_create(m);
    mla_activations_dropout(acts, dropout);
    mla_model_zero_grad(m);
    tree_value(m, acts, true);
    int32_t ids[TREE_MAX];
    const int n = tree_ids(ids);
    float *dx = MLA_NEW_ARRAY(float, (size_t)n * (size_t)m->config.dim);
    memcpy(dx, acts->back->dx, (size_t)n * (size_t)m->config.dim * sizeof *dx);
    float **grads = MLA_NEW_ARRAY(float *, mla_model_params(m));
    for (size_t i = 0; i < mla_model_params(m); i++) {
        const mla_param *p = mla_model_param(m, i);
        grads[i] = MLA_NEW_ARRAY(float, p->rows * p->cols);
        memcpy(grads[i], p->grad, p->rows * p->cols * sizeof *p->grad);
    }
    for (size_t i = 0; i < mla_model_params(m); i++) {
        mla_param *p = mla_model_param(m, i);
        check_slopes(p->name, m, acts, p->data, grads[i], p->rows * p->cols, true);
        free(grads[i]);
    }
    check_input(m, acts, dx, ids, n);
    free(grads);
    free(dx);
    mla_activations_free(acts);
}

// Two adapters with values everywhere: a frozen one of all targets, a trainable one over it.
static mla_model *stacked_model(const mla_model_config *config, mla_compute compute,
                                const mla_adapter_options *upper) {
    mla_model *m = adaptable_model(config, compute);
    add_adapter(m, &(mla_adapter_options){.rank = 5, .alpha = 7, .targets = MLA_TARGETS_ALL}, 3);
    mla_adapter_freeze(m, 0);
    add_adapter(m, upper, 4);
    return m;
}

static void gradients_are_slopes(void **state) {
    (void)state;
    // The untied embedding is not the head: it can be moved alone.
    const mla_adapter_options all = {.rank = 3, .alpha = 6, .rslora = true,
                                     .targets = MLA_TARGETS_ALL};
    const mla_adapter_options wide = {.rank = 20, .alpha = 30,
                                      .targets = 1u << MLA_TARGET_K | 1u << MLA_TARGET_GATE};
    mla_model *m = stacked_model(&qwen2_untied, MLA_COMPUTE_F32, &all);
    check_gradients(m, 0);
    mla_model_free(m);
    m = stacked_model(&llama_untied, MLA_COMPUTE_F32, &wide);
    check_gradients(m, 0);
    mla_model_free(m);
}

static void gradients_go_through_dropout(void **state) {
    (void)state;
    const mla_adapter_options o = {.rank = 3, .alpha = 6, .dropout = 0.3f,
                                   .targets = MLA_TARGETS_ALL};
    mla_model *m = stacked_model(&qwen2_untied, MLA_COMPUTE_F32, &o);
    check_gradients(m, 12345);
    mla_model_free(m);
}

static void bf16_gradients_are_near(void **state) {
    (void)state;
    if (mla_compute_best() != MLA_COMPUTE_BF16) skip();
    const mla_adapter_options o = {.rank = 8, .alpha = 16, .dropout = 0.1f,
                                   .targets = MLA_TARGETS_ALL};
    mla_model *f = stacked_model(&llama_tied, MLA_COMPUTE_F32, &o);
    mla_model *b = stacked_model(&llama_tied, MLA_COMPUTE_BF16, &o);
    mla_model *both[] = {f, b};
    for (int i = 0; i < 2; i++) {
        mla_activations *acts = mla_activations_create(both[i]);
        mla_activations_dropout(acts, 9);
        tree_value(both[i], acts, true);
        mla_activations_free(acts);
    }
    double dot = 0, ff = 0, bb = 0;
    for (size_t i = 0; i < mla_model_params(f); i++) {
        const mla_param *p = mla_model_param(f, i), *q = mla_model_param(b, i);
        for (size_t k = 0; k < p->rows * p->cols; k++) {
            dot += (double)p->grad[k] * (double)q->grad[k];
            ff += (double)p->grad[k] * (double)p->grad[k];
            bb += (double)q->grad[k] * (double)q->grad[k];
        }
    }
    if (dot / sqrt(ff * bb) < 0.998) fail_msg("cosine %g", dot / sqrt(ff * bb));
    assert_true(fabs(sqrt(bb / ff) - 1) < 0.05);
    mla_model_free(f);
    mla_model_free(b);
}

// ---- one row, one result ---------------------------------------------------------------------

static const mla_compute computes[] = {MLA_COMPUTE_F32, MLA_COMPUTE_BF16, MLA_COMPUTE_INT8};

// Token by token, by chunks beside another sequence, and all at once.
static void a_row_does_not_depend_on_the_batch(void **state) {
    (void)state;
    enum { N = 90, CHUNK = 37 };
    for (size_t i = 0; i < MLA_COUNT(computes); i++) {
        if (computes[i] == MLA_COMPUTE_BF16 && mla_compute_best() != MLA_COMPUTE_BF16) continue;
        const mla_adapter_options o = {.rank = 5, .alpha = 9, .targets = MLA_TARGETS_ALL};
        mla_model *m = frozen_with_adapter(&qwen2_untied, computes[i], &o);
        const size_t dim = (size_t)m->config.dim;
        int32_t ids[N], other[CHUNK];
        fill_ids(ids, N);
        for (int k = 0; k < CHUNK; k++) other[k] = (k * 5 + 1) % VOCAB;
        const mla_segment whole = {0, N, -1};
        const mla_token_batch batch = {ids, N, &whole, 1};
        mla_activations *acts = mla_activations_create(m);
        const float *all = mla_transformer_forward(m, &batch, acts, false);
        mla_kv *kv = mla_kv_create(m, (size_t)1 << 24);
        float hidden[2 * 64];
        mla_err err;
        int one = mla_kv_open(kv, -1), many = mla_kv_open(kv, -1), beside = mla_kv_open(kv, -1);
        for (int t = 0; t < N; t++) {
            const mla_extend item = {one, ids + t, 1};
            assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), 0);
            assert_memory_equal(hidden, all + (size_t)t * dim, dim * sizeof *hidden);
        }
        for (int t = 0; t < N; t += CHUNK) {
            const int n = N - t < CHUNK ? N - t : CHUNK;
            const mla_extend items[] = {{beside, other, CHUNK - 3}, {many, ids + t, n}};
            assert_int_equal(mla_transformer_extend(m, kv, items, 2, hidden, &err), 0);
            assert_memory_equal(hidden + dim, all + (size_t)(t + n - 1) * dim,
                                dim * sizeof *hidden);
        }
        mla_kv_free(kv);
        mla_activations_free(acts);
        mla_model_free(m);
    }
}

static void shared_segments_have_the_bits_of_separate_ones(void **state) {
    (void)state;
    const mla_adapter_options o = {.rank = 8, .alpha = 16, .targets = MLA_TARGETS_ALL};
    for (int bf16 = 0; bf16 <= (mla_compute_best() == MLA_COMPUTE_BF16); bf16++) {
        mla_model *m = stacked_model(&qwen2_untied, bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32, &o);
        mla_activations *acts = mla_activations_create(m);
        float apart[TREE_MAX], shared[TREE_MAX], weight[TREE_MAX];
        const int n = tree_run(m, acts, false, true, apart, weight);
        float *want = copy_gradients(m);
        mla_model_zero_grad(m);
        assert_int_equal(tree_run(m, acts, true, true, shared, weight), n);
        assert_memory_equal(apart, shared, (size_t)n * sizeof *apart);
        float *got = copy_gradients(m);
        assert_true(relative_gap(got, want, count_values(m)) < (bf16 ? 1e-2 : 1e-5));
        free(want);
        free(got);
        mla_activations_free(acts);
        mla_model_free(m);
    }
}

// ---- the reference ---------------------------------------------------------------------------

static void a_new_adapter_changes_no_bit(void **state) {
    (void)state;
    const mla_adapter_options o = mla_adapter_options_default();
    for (int bf16 = 0; bf16 <= (mla_compute_best() == MLA_COMPUTE_BF16); bf16++) {
        const mla_compute compute = bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32;
        const mla_adapter_options lower = {.rank = 5, .alpha = 9, .targets = MLA_TARGETS_ALL};
        mla_model *m = frozen_with_adapter(&llama_tied, compute, &lower);
        mla_model *two = stacked_model(&llama_tied, compute, &o);   // the same lower adapter
        float before[TOKENS], fresh[TOKENS], reference[TOKENS], moved[TOKENS];
        int32_t ids[TOKENS];
        mla_err err;
        fill_ids(ids, TOKENS);
        next_logprobs(m, ids, TOKENS, before);
        const uint64_t version = mla_model_version(m);
        assert_int_equal(mla_adapter_add(m, &o, 1, &err), 1);
        assert_true(mla_model_version(m) > version);
        next_logprobs(m, ids, TOKENS, fresh);
        assert_memory_equal(before, fresh, (TOKENS - 1) * sizeof *before);
        // Both ways there: the upper one moved, and left out.
        next_logprobs(two, ids, TOKENS, moved);
        assert_true(largest_gap(before, moved, TOKENS - 1) > 1e-3);
        mla_model_reference(two, true);
        next_logprobs(two, ids, TOKENS, reference);
        mla_model_reference(two, false);
        next_logprobs(two, ids, TOKENS, fresh);
        assert_memory_equal(moved, fresh, (TOKENS - 1) * sizeof *moved);
        mla_model *lone = adaptable_model(&llama_tied, compute);
        add_adapter(lone, &(mla_adapter_options){.rank = 5, .alpha = 7,
                                                 .targets = MLA_TARGETS_ALL}, 3);
        next_logprobs(lone, ids, TOKENS, fresh);
        assert_memory_equal(reference, fresh, (TOKENS - 1) * sizeof *fresh);
        mla_model_free(lone);
        mla_model_free(two);
        mla_model_free(m);
    }
}

static void a_cache_knows_the_reference_from_the_policy(void **state) {
    (void)state;
    const mla_adapter_options o = {.rank = 4, .alpha = 8, .targets = MLA_TARGETS_ALL};
    mla_model *m = stacked_model(&llama_tied, MLA_COMPUTE_F32, &o);
    mla_kv *kv = mla_kv_create(m, (size_t)1 << 22);
    const int32_t ids[] = {1, 2, 3};
    const mla_extend item = {mla_kv_open(kv, -1), ids, 3};
    float hidden[64];
    mla_err err;
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), 0);
    mla_model_reference(m, true);
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), -1);
    mla_model_reference(m, false);
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), 0);
    mla_model_refresh(m);
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), -1);
    mla_kv_free(kv);
    mla_model_free(m);
}

// ---- training --------------------------------------------------------------------------------

static void training_lowers_the_loss_and_leaves_the_base(void **state) {
    (void)state;
    mla_adapter_options o = mla_adapter_options_default();
    o.dropout = 0.05f;
    mla_model *m = stacked_model(&qwen2_untied, mla_compute_best(), &o);
    for (size_t i = 1; i < mla_model_params(m); i += 2) {
        mla_param *b = mla_model_param(m, i);
        assert_true(strstr(b->name, "lora_B.weight"));
        memset(b->data, 0, b->rows * b->cols * sizeof *b->data);
    }
    mla_model_refresh(m);
    const mla__adapter *lower = m->adapters[0];
    float *kept = MLA_NEW_ARRAY(float, lower->n_master), base[TOKENS], after[TOKENS];
    memcpy(kept, lower->master, lower->n_master * sizeof *kept);
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS);
    next_logprobs(m, ids, TOKENS, base);
    const mla_adamw_options how = mla_adamw_options_default();
    mla_adamw *opt = mla_adamw_create(m, &how);
    mla_activations *acts = mla_activations_create(m);
    const mla_segment whole = {0, TOKENS, -1};
    const mla_token_batch batch = {ids, TOKENS, &whole, 1};
    double first = 0, last = 0;
    for (int step = 0; step < 12; step++) {
        mla_activations_dropout(acts, mla_rng_derive(1, (uint64_t)step, 0, 0));
        mla_transformer_forward(m, &batch, acts, true);
        last = next_loss_back(m, acts, &batch);
        if (!step) first = last;
        assert_true(mla_adamw_step(opt, 5e-3) > 0);
    }
    if (!(last < 0.8 * first)) fail_msg("loss %g, then %g", first, last);
    assert_memory_equal(kept, lower->master, lower->n_master * sizeof *kept);
    mla_model_reference(m, true);
    next_logprobs(m, ids, TOKENS, after);
    assert_memory_equal(base, after, (TOKENS - 1) * sizeof *base);
    mla_model_reference(m, false);
    next_logprobs(m, ids, TOKENS, after);
    assert_true(largest_gap(base, after, TOKENS - 1) > 0.05);
    mla_activations_free(acts);
    mla_adamw_free(opt);
    mla_model_free(m);
    free(kept);
}

static double two_steps(mla_model *m, mla_adamw *opt, int from) {
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS);
    mla_activations *acts = mla_activations_create(m);
    const mla_segment whole = {0, TOKENS, -1};
    const mla_token_batch batch = {ids, TOKENS, &whole, 1};
    double loss = 0;
    for (int step = from; step < from + 2; step++) {
        mla_activations_dropout(acts, mla_rng_derive(7, (uint64_t)step, 0, 0));
        mla_transformer_forward(m, &batch, acts, true);
        loss = next_loss_back(m, acts, &batch);
        mla_adamw_step(opt, 1e-2);
    }
    mla_activations_free(acts);
    return loss;
}

// Adapter and optimiser from disk go on to the same bits.
static void a_run_goes_on_from_its_checkpoint(void **state) {
    (void)state;
    const mla_adapter_options o = {.rank = 4, .alpha = 8, .dropout = 0.1f, .rslora = true,
                                   .targets = MLA_TARGETS_ALL, .base = "some/base"};
    const mla_adamw_options how = mla_adamw_options_default();
    mla_err err = {{0}};
    mla_model *a = adaptable_model(&llama_tied, MLA_COMPUTE_F32);
    mla_model *b = adaptable_model(&llama_tied, MLA_COMPUTE_F32);
    assert_int_equal(mla_adapter_add(a, &o, 1, &err), 0);
    mla_adamw *opt = mla_adamw_create(a, &how);
    two_steps(a, opt, 0);
    char *dir = scratch_dir("adapter"), *state_file = scratch_dir("moments");
    assert_int_equal(mla_adapter_save(a, 0, dir, true, &err), 0);
    assert_int_equal(mla_adamw_save(opt, state_file, &err), 0);
    const double want = two_steps(a, opt, 2);
    if (mla_adapter_load(b, dir, true, &err) != 0) fail_msg("%s", err.text);
    check_options(mla_adapter_get_options(b, 0), &o);
    mla_adamw *again = mla_adamw_create(b, &how);
    if (mla_adamw_load(again, state_file, &err) != 0) fail_msg("%s", err.text);
    assert_true(two_steps(b, again, 2) == want);
    for (size_t i = 0; i < mla_model_params(a); i++) {
        const mla_param *p = mla_model_param(a, i), *q = mla_model_param(b, i);
        assert_memory_equal(p->data, q->data, p->rows * p->cols * sizeof *p->data);
    }
    mla_adamw_free(opt);
    mla_adamw_free(again);
    mla_model_free(a);
    mla_model_free(b);
    remove_scratch(dir);
    remove_scratch(state_file);
}

static void a_new_adapter_is_as_peft_makes_one(void **state) {
    (void)state;
    const mla_adapter_options o = {.rank = 16, .alpha = 32, .targets = MLA_TARGETS_ALL};
    mla_model *m = adaptable_model(&llama_tied, MLA_COMPUTE_F32);
    mla_err err;
    assert_int_equal(mla_adapter_add(m, &o, 5, &err), 0);
    assert_int_equal(mla_model_params(m), 2 * 7 * 2);
    assert_string_equal(mla_model_param(m, 0)->name,
                        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
    size_t n = 0;
    for (size_t i = 0; i < mla_model_params(m); i++) {
        const mla_param *p = mla_model_param(m, i);
        double top = 0, sum = 0, squares = 0, bound = 1 / sqrt((double)p->cols);
        for (size_t k = 0; k < p->rows * p->cols; k++) {
            top = fmax(top, fabs((double)p->data[k]));
            sum += (double)p->data[k];
            squares += (double)p->data[k] * (double)p->data[k];
        }
        const double count = (double)(p->rows * p->cols);
        n += p->rows * p->cols;
        if (i % 2) {
            assert_true(top == 0);
            continue;
        }
        assert_true(top <= bound && top > 0.95 * bound);
        assert_true(fabs(sum / count) < 0.1 * bound);
        assert_true(fabs(squares / count / (bound * bound / 3) - 1) < 0.15);
    }
    assert_int_equal(n, mla_footprint_lora_params(&llama_tied, 16));
    mla_model_free(m);
}

// ---- dropout ---------------------------------------------------------------------------------

// Over many masks the mean is what no mask gives; scoring has none.
static void dropout_keeps_the_mean(void **state) {
    (void)state;
    enum { MASKS = 400, N = 5 };
    const mla_adapter_options o = {.rank = 4, .alpha = 8, .dropout = 0.25f,
                                   .targets = 1u << MLA_TARGET_DOWN};
    mla_model *m = adaptable_model(&llama_untied, MLA_COMPUTE_F32);
    add_adapter(m, &o, 4);
    const size_t all = N * (size_t)m->config.dim;
    float plain[N * 64], first[N * 64];
    double mean[N * 64] = {0}, spread = 0;
    int32_t ids[N];
    fill_ids(ids, N);
    const mla_segment whole = {0, N, -1};
    const mla_token_batch batch = {ids, N, &whole, 1};
    mla_activations *acts = mla_activations_create(m);
    mla_activations_dropout(acts, 1);
    mla_transformer_forward(m, &batch, acts, false);
    memcpy(plain, acts->last, all * sizeof *plain);
    for (uint64_t mask = 1; mask <= MASKS; mask++) {
        mla_activations_dropout(acts, mask);
        mla_transformer_forward(m, &batch, acts, true);
        if (mask == 1) memcpy(first, acts->last, all * sizeof *first);
        for (size_t i = 0; i < all; i++) {
            mean[i] += (double)acts->last[i] / MASKS;
            spread = fmax(spread, fabs((double)acts->last[i] - (double)plain[i]));
        }
    }
    for (size_t i = 0; i < all; i++)
        if (fabs(mean[i] - (double)plain[i]) > 0.1 * spread)
            fail_msg("mean %g, without a mask %g, spread %g", mean[i], (double)plain[i], spread);
    assert_true(spread > 0);
    mla_activations_dropout(acts, 1);
    mla_transformer_forward(m, &batch, acts, true);
    assert_memory_equal(first, acts->last, all * sizeof *first);
    mla_activations_dropout(acts, 0);
    mla_transformer_forward(m, &batch, acts, true);
    assert_memory_equal(plain, acts->last, all * sizeof *plain);
    mla_activations_free(acts);
    mla_model_free(m);
}

// ---- copies and merging ----------------------------------------------------------------------

static void a_frozen_copy_speaks_alike(void **state) {
    (void)state;
    const mla_adapter_options o = {.rank = 4, .alpha = 8, .targets = MLA_TARGETS_ALL};
    mla_model *m = stacked_model(&qwen2_tied, mla_compute_best(), &o);
    mla_model *copy = mla_model_freeze(m, m->options.compute);
    int32_t ids[TOKENS];
    float want[TOKENS], got[TOKENS];
    fill_ids(ids, TOKENS);
    next_logprobs(m, ids, TOKENS, want);
    next_logprobs(copy, ids, TOKENS, got);
    assert_memory_equal(want, got, (TOKENS - 1) * sizeof *want);
    assert_int_equal(mla_adapter_count(copy), 2);
    assert_int_equal(mla_model_params(copy), 0);
    mla_model_free(copy);
    mla_model_free(m);
}

// ---- recomputation -----------------------------------------------------------------------------

static float *tree_gradients(mla_model *m, bool recompute) {
    mla_activations *acts = mla_activations_create(m);
    float logprob[TREE_MAX], weight[TREE_MAX];
    mla_activations_recompute(acts, recompute);
    mla_activations_dropout(acts, 7);
    mla_model_zero_grad(m);
    tree_run(m, acts, true, true, logprob, weight);
    mla_activations_free(acts);
    return copy_gradients(m);
}

static void same_gradients(mla_model *m) {
    float *kept = tree_gradients(m, false), *again = tree_gradients(m, true);
    size_t n = count_values(m), differ = 0;
    for (size_t i = 0; i < n; i++) differ += kept[i] != 0;
    assert_true(differ > n / 2);
    assert_memory_equal(kept, again, n * sizeof *kept);
    free(kept);
    free(again);
    mla_model_free(m);
}

static void recomputing_changes_no_bit(void **state) {
    (void)state;
    const mla_adapter_options o = {.rank = 4, .alpha = 8, .dropout = 0.2f,
                                   .targets = MLA_TARGETS_ALL};
    for (int compute = MLA_COMPUTE_F32; compute <= (int)mla_compute_best(); compute++) {
        same_gradients(formula_model(&llama_tied, (mla_compute)compute));
        mla_model *m = adaptable_model(&qwen2_untied, (mla_compute)compute);
        add_adapter(m, &o, 1);
        same_gradients(m);
    }
}

static void merging_speaks_alike_and_can_be_undone(void **state) {
    (void)state;
    for (int bf16 = 0; bf16 <= (mla_compute_best() == MLA_COMPUTE_BF16); bf16++) {
        const mla_adapter_options o = {.rank = 4, .alpha = 8, .targets = MLA_TARGETS_ALL};
        mla_model *m =
            stacked_model(&qwen2_untied, bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32, &o);
        int32_t ids[TOKENS];
        float before[TOKENS], merged[TOKENS], after[TOKENS], base[TOKENS];
        mla_err err;
        fill_ids(ids, TOKENS);
        next_logprobs(m, ids, TOKENS, before);
        mla_model *bare = adaptable_model(&qwen2_untied, bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32);
        next_logprobs(bare, ids, TOKENS, base);
        assert_true(largest_gap(before, base, TOKENS - 1) > 0.3);
        const uint64_t version = mla_model_version(m);
        assert_int_equal(mla_model_merge(m, &err), 0);
        assert_true(mla_model_version(m) > version);
        next_logprobs(m, ids, TOKENS, merged);
        assert_close("merged", merged, before, TOKENS - 1, bf16 ? 0.15 : 1e-4);
        mla_model_unmerge(m);
        next_logprobs(m, ids, TOKENS, after);
        assert_memory_equal(before, after, (TOKENS - 1) * sizeof *before);
        assert_int_equal(mla_model_merge(m, &err), 0);   // freed as it is
        mla_model_free(bare);
        mla_model_free(m);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_gradients_are_those_of_peft),
        cmocka_unit_test(gradients_are_slopes),
        cmocka_unit_test(gradients_go_through_dropout),
        cmocka_unit_test(bf16_gradients_are_near),
        cmocka_unit_test(a_row_does_not_depend_on_the_batch),
        cmocka_unit_test(shared_segments_have_the_bits_of_separate_ones),
        cmocka_unit_test(a_new_adapter_changes_no_bit),
        cmocka_unit_test(a_cache_knows_the_reference_from_the_policy),
        cmocka_unit_test(training_lowers_the_loss_and_leaves_the_base),
        cmocka_unit_test(a_run_goes_on_from_its_checkpoint),
        cmocka_unit_test(a_new_adapter_is_as_peft_makes_one),
        cmocka_unit_test(dropout_keeps_the_mean),
        cmocka_unit_test(a_frozen_copy_speaks_alike),
        cmocka_unit_test(recomputing_changes_no_bit),
        cmocka_unit_test(merging_speaks_alike_and_can_be_undone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
