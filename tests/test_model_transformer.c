// The whole model: logits, gradients and AdamW steps against PyTorch's vectors, and what must hold
// whatever the numbers are: accumulation, segment trees, the head's gradients, bf16 near fp32.
#include "model_fixture.h"

#define DIR "tests/vectors/model_tiny/"
#define TOKENS 21

static const struct {
    const char *name;
    const mla_model_config *config;
    bool with_gradients;
} cases[] = {
    {"llama_tied", &llama_tied, true},
    {"llama_untied", &llama_untied, false},
    {"qwen2_tied", &qwen2_tied, false},
    {"qwen2_untied", &qwen2_untied, true},
};

static char *file_of(size_t at) {
    return mla_format(DIR "%s.bin", cases[at].name);
}

// Mean loss of one sequence, its gradients accumulated times `weight`.
static double sequence_loss(mla_model *m, mla_activations *acts, const int32_t *ids, int n,
                            float weight, bool backward) {
    const mla_segment whole = {0, n, -1};
    const mla_token_batch batch = {ids, n, &whole, 1};
    int *rows = MLA_NEW_ARRAY(int, (size_t)n);
    float *logprob = MLA_NEW_ARRAY(float, (size_t)n), *d = MLA_NEW_ARRAY(float, (size_t)n);
    double loss = 0;
    mla_transformer_forward(m, &batch, acts, backward);
    for (int i = 0; i < n; i++) rows[i] = i;
    const mla_head_rows at = {rows, ids + 1, n - 1, 1.0f};
    mla_head_forward(m, acts, &at, logprob, NULL);
    for (int i = 0; i < n - 1; i++) {
        loss -= (double)logprob[i] / (n - 1);
        d[i] = -weight / (float)(n - 1);
    }
    if (backward) {
        mla_head_backward(m, acts, &at, d, NULL);
        mla_transformer_backward(m, &batch, acts);
    }
    free(rows);
    free(logprob);
    free(d);
    return loss;
}

static float *copy_grads(mla_model *m) {
    float *out = MLA_NEW_ARRAY(float, m->n_master);
    memcpy(out, m->grad, m->n_master * sizeof *out);
    return out;
}

static void test_logits(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_model *m = formula_model(cases[i].config, MLA_COMPUTE_F32);
        mla_activations *acts = mla_activations_create(m);
        int32_t ids[TOKENS];
        static float logits[TOKENS * VOCAB];
        fill_ids(ids, TOKENS);
        const mla_segment whole = {0, TOKENS, -1};
        const mla_token_batch batch = {ids, TOKENS, &whole, 1};
        mla_head_logits(m, mla_transformer_forward(m, &batch, acts, false), TOKENS, logits);
        char *file = file_of(i);
        float *want = vector_read(file, "logits", TOKENS, VOCAB);
        assert_close(cases[i].name, logits, want, TOKENS * VOCAB, 1e-4);
        free(want);
        free(file);
        mla_activations_free(acts);
        mla_model_free(m);
    }
}

static void compare_params(mla_model *m, const char *file, const char *prefix, bool grads,
                           double limit) {
    for (size_t i = 0; i < mla_model_params(m); i++) {
        const mla_param *p = mla_model_param(m, i);
        char *name = mla_format("%s:%s", prefix, p->name);
        float *want = vector_read(file, name, p->rows, p->cols);
        assert_close(name, grads ? p->grad : p->data, want, p->rows * p->cols, limit);
        free(want);
        free(name);
    }
}

static void test_gradients_and_steps(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        if (!cases[i].with_gradients) continue;
        mla_model *m = formula_model(cases[i].config, MLA_COMPUTE_F32);
        mla_activations *acts = mla_activations_create(m);
        int32_t ids[TOKENS];
        fill_ids(ids, TOKENS);
        char *file = file_of(i);
        float *losses = vector_read(file, "losses", 1, 5),
              *norms = vector_read(file, "norms", 1, 5);
        sequence_loss(m, acts, ids, TOKENS, 1, true);
        compare_params(m, file, "grad", true, 2e-5);
        mla_model_zero_grad(m);
        mla_adamw_options options = mla_adamw_options_default();
        options.eps = 1e-5f;
        options.weight_decay = 0.1f;
        mla_adamw *opt = mla_adamw_create(m, &options);
        for (int step = 0; step < 5; step++) {
            double loss = sequence_loss(m, acts, ids, TOKENS, 1, true);
            assert_true(fabs(loss - (double)losses[step]) < 1e-4);
            double norm = mla_adamw_step(opt, 1e-3);
            assert_true(fabs(norm - (double)norms[step]) < 1e-3 * norm);
        }
        compare_params(m, file, "after", false, 1e-5);
        mla_adamw_free(opt);
        free(losses);
        free(norms);
        free(file);
        mla_activations_free(acts);
        mla_model_free(m);
    }
}

// Eight sequences at once, and one after the other: the same gradients.
static void test_accumulation(void **state) {
    (void)state;
    enum { LEN = 13, COUNT = 8, ALL = LEN * COUNT };
    mla_model *m = formula_model(&qwen2_untied, MLA_COMPUTE_F32);
    mla_activations *acts = mla_activations_create(m);
    int32_t ids[ALL], targets[ALL];
    mla_segment segments[COUNT];
    int rows[ALL], n = 0;
    float logprob[ALL], d[ALL];
    for (int i = 0; i < ALL; i++) ids[i] = (i * i + 3 * i) % VOCAB;
    for (int s = 0; s < COUNT; s++) {
        segments[s] = (mla_segment){s * LEN, LEN, -1};
        sequence_loss(m, acts, ids + s * LEN, LEN, 1, true);
        for (int i = 0; i < LEN - 1; i++) {
            rows[n] = s * LEN + i;
            targets[n] = ids[s * LEN + i + 1];
            d[n++] = -1.0f / (LEN - 1);
        }
    }
    float *one_by_one = copy_grads(m);
    mla_model_zero_grad(m);
    const mla_token_batch batch = {ids, ALL, segments, COUNT};
    const mla_head_rows at = {rows, targets, n, 1.0f};
    mla_transformer_forward(m, &batch, acts, true);
    mla_head_forward(m, acts, &at, logprob, NULL);
    mla_head_backward(m, acts, &at, d, NULL);
    mla_transformer_backward(m, &batch, acts);
    assert_true(relative_gap(m->grad, one_by_one, m->n_master) < 1e-5);
    free(one_by_one);
    mla_activations_free(acts);
    mla_model_free(m);
}

// ---- segment trees ---------------------------------------------------------------------------

enum { STEM = 75, BRANCH = 9, BRANCHES = 4, TWIG = 70 };

// A tree: a stem, four branches from its end, and a twig on the third branch. Loss on everything
// but the stem; `shared` or as separate sequences. Log-probabilities come out in the same order.
static int tree_loss(mla_model *m, mla_activations *acts, bool shared, float *logprob) {
    static int32_t ids[2 * (STEM + BRANCH * BRANCHES + TWIG) + 4 * STEM], targets[256];
    int32_t stem[STEM], branch[BRANCHES][BRANCH], twig[TWIG];
    mla_segment segments[16];
    int rows[256], n = 0, count = 0, at = 0;
    float d[256];
    for (int i = 0; i < STEM; i++) stem[i] = (i * 7 + 5) % VOCAB;
    for (int b = 0; b < BRANCHES; b++)
        for (int i = 0; i < BRANCH; i++) branch[b][i] = (i * 11 + b * 17 + 1) % VOCAB;
    for (int i = 0; i < TWIG; i++) twig[i] = (i * 13 + 2) % VOCAB;
#define PUT(from, len, parent_)                                                                    \
    do {                                                                                           \
        memcpy(ids + at, from, (len) * sizeof *ids);                                               \
        segments[count] = (mla_segment){at, len, parent_};                                         \
        count++;                                                                                   \
        at += (len);                                                                               \
    } while (0)
#define LOSS(row, target)                                                                          \
    do {                                                                                           \
        rows[n] = row;                                                                             \
        targets[n] = target;                                                                       \
        d[n] = 0.1f + 0.01f * (float)(n % 7);                                                      \
        n++;                                                                                       \
    } while (0)
    if (shared) PUT(stem, STEM, -1);
    for (int b = 0; b < BRANCHES; b++) {
        if (!shared) PUT(stem, STEM, -1);
        int last = shared ? STEM - 1 : at - 1, start = at, mine;
        PUT(branch[b], BRANCH, shared ? 0 : count - 1);
        mine = count - 1;
        LOSS(last, branch[b][0]);
        for (int i = 0; i < BRANCH - 1; i++) LOSS(start + i, branch[b][i + 1]);
        if (b != 2) continue;
        LOSS(start + BRANCH - 1, twig[0]);
        start = at;
        PUT(twig, TWIG, mine);
        for (int i = 0; i < TWIG - 1; i++) LOSS(start + i, twig[i + 1]);
    }
    const mla_token_batch batch = {ids, at, segments, count};
    const mla_head_rows head = {rows, targets, n, 0.8f};
    mla_transformer_forward(m, &batch, acts, true);
    mla_head_forward(m, acts, &head, logprob, NULL);
    mla_head_backward(m, acts, &head, d, d);
    mla_transformer_backward(m, &batch, acts);
    return n;
}

static void test_segment_tree(void **state) {
    (void)state;
    const mla_model_config *configs[] = {&llama_tied, &qwen2_untied, &llama_untied};
    for (size_t i = 0; i < MLA_COUNT(configs); i++)
        for (int bf16 = 0; bf16 <= (mla_compute_best() == MLA_COMPUTE_BF16); bf16++) {
            mla_model *m = formula_model(configs[i], bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32);
            mla_activations *acts = mla_activations_create(m);
            float apart[256], shared[256];
            int n = tree_loss(m, acts, false, apart);
            float *want = copy_grads(m);
            mla_model_zero_grad(m);
            assert_int_equal(tree_loss(m, acts, true, shared), n);
            assert_memory_equal(apart, shared, (size_t)n * sizeof *apart);
            double gap = relative_gap(m->grad, want, m->n_master);
            if (gap > (bf16 ? 1e-2 : 1e-5))
                fail_msg("tree gradients differ by %g (bf16 %d)", gap, bf16);
            free(want);
            mla_activations_free(acts);
            mla_model_free(m);
        }
}

// The same bits every time.
static void test_repeats(void **state) {
    (void)state;
    mla_model *m = formula_model(&llama_tied, mla_compute_best());
    mla_activations *acts = mla_activations_create(m);
    float logprob[256];
    tree_loss(m, acts, true, logprob);
    float *first = copy_grads(m);
    for (int again = 0; again < 5; again++) {
        mla_model_zero_grad(m);
        tree_loss(m, acts, true, logprob);
        assert_memory_equal(first, m->grad, m->n_master * sizeof *first);
    }
    free(first);
    mla_activations_free(acts);
    mla_model_free(m);
}

// ---- head ------------------------------------------------------------------------------------

enum { ROWS = 5 };

static double head_value(mla_model *m, mla_activations *acts, const mla_head_rows *at,
                         const float *d_logprob, const float *d_entropy) {
    float logprob[ROWS], entropy[ROWS];
    double sum = 0;
    mla_head_forward(m, acts, at, logprob, entropy);
    for (int i = 0; i < at->n; i++)
        sum +=
            (double)d_logprob[i] * (double)logprob[i] + (double)d_entropy[i] * (double)entropy[i];
    return sum;
}

static double head_slope(mla_model *m, mla_activations *acts, const mla_head_rows *at,
                         const float *d_logprob, const float *d_entropy, float *x, bool weights) {
    float kept = *x, a = kept + 0.01f, b = kept - 0.01f;
    *x = a;
    if (weights) mla_model_refresh(m);
    double up = head_value(m, acts, at, d_logprob, d_entropy);
    *x = b;
    if (weights) mla_model_refresh(m);
    double down = head_value(m, acts, at, d_logprob, d_entropy);
    *x = kept;
    return (up - down) / ((double)a - (double)b);
}

// In one pass over the logits what takes two otherwise, over more rows than are computed at a time.
static void test_head_learns_to_the_same_bits(void **state) {
    (void)state;
    enum { MANY = 300 };
    for (int compute = MLA_COMPUTE_F32; compute <= (int)mla_compute_best(); compute++) {
        mla_model *m = formula_model(&qwen2_untied, (mla_compute)compute);
        mla_activations *acts = mla_activations_create(m);
        int32_t ids[MANY];
        int rows[MANY];
        float d[MANY], twice[MANY], once[MANY];
        fill_ids(ids, MANY);
        for (int i = 0; i < MANY; i++) rows[i] = i, d[i] = -0.01f * (float)(i % 7);
        const mla_segment whole = {0, MANY, -1};
        const mla_token_batch batch = {ids, MANY, &whole, 1};
        const mla_head_rows at = {rows, ids, MANY, 0.7f};
        mla_transformer_forward(m, &batch, acts, true);
        mla_head_forward(m, acts, &at, twice, NULL);
        mla_head_backward(m, acts, &at, d, NULL);
        mla_transformer_backward(m, &batch, acts);
        float *want = copy_grads(m);
        mla_model_zero_grad(m);
        mla_transformer_forward(m, &batch, acts, true);
        mla_head_learn(m, acts, &at, d, once);
        mla_transformer_backward(m, &batch, acts);
        assert_memory_equal(once, twice, sizeof once);
        assert_memory_equal(want, m->grad, m->n_master * sizeof *want);
        free(want);
        mla_activations_free(acts);
        mla_model_free(m);
    }
}

static void test_head(void **state) {
    (void)state;
    mla_model *m = formula_model(&qwen2_untied, MLA_COMPUTE_F32);
    mla_activations *acts = mla_activations_create(m);
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS);
    const mla_segment whole = {0, TOKENS, -1};
    const mla_token_batch batch = {ids, TOKENS, &whole, 1};
    // A row may repeat.
    const int rows[ROWS] = {3, 7, 7, 20, 0};
    const int32_t targets[ROWS] = {1, 2, 96, 0, 50};
    const float d_logprob[ROWS] = {1, -0.5f, 2, 0, 0.3f}, d_entropy[ROWS] = {0.2f, 1, 0, -1, 0.5f};
    const mla_head_rows at = {rows, targets, ROWS, 0.7f};
    mla_transformer_forward(m, &batch, acts, true);
    mla_head_backward(m, acts, &at, d_logprob, d_entropy);
    for (int r = 0; r < TOKENS; r++)
        for (int d = 0; d < m->config.dim; d += 5) {
            float *x = &acts->hidden[r * m->config.dim + d];
            double want = head_slope(m, acts, &at, d_logprob, d_entropy, x, false);
            double got = (double)acts->d_hidden[r * m->config.dim + d];
            if (fabs(got - want) > 2e-3) fail_msg("d_hidden %d %d: %g, wanted %g", r, d, got, want);
        }
    mla_param *w = mla_model_param(m, mla_model_params(m) - 1);
    assert_string_equal(w->name, "lm_head.weight");
    for (size_t i = 0; i < w->rows * w->cols; i += 61) {
        double want = head_slope(m, acts, &at, d_logprob, d_entropy, &w->data[i], true);
        if (fabs((double)w->grad[i] - want) > 2e-3)
            fail_msg("head weight %zu: %g, wanted %g", i, (double)w->grad[i], want);
    }
    mla_activations_free(acts);
    mla_model_free(m);
}

// ---- bf16 ------------------------------------------------------------------------------------

static void test_bf16_near_f32(void **state) {
    (void)state;
    if (mla_compute_best() != MLA_COMPUTE_BF16) skip();
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        float *grads[2], logprob[2][256];
        size_t n = 0;
        int count = 0;
        for (int bf16 = 0; bf16 < 2; bf16++) {
            mla_model *m =
                formula_model(cases[i].config, bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32);
            mla_activations *acts = mla_activations_create(m);
            count = tree_loss(m, acts, true, logprob[bf16]);
            grads[bf16] = copy_grads(m);
            n = m->n_master;
            mla_activations_free(acts);
            mla_model_free(m);
        }
        double dot = 0, a = 0, b = 0;
        for (size_t k = 0; k < n; k++) {
            dot += (double)grads[0][k] * (double)grads[1][k];
            a += (double)grads[0][k] * (double)grads[0][k];
            b += (double)grads[1][k] * (double)grads[1][k];
        }
        assert_close("log-probabilities", logprob[1], logprob[0], (size_t)count, 0.15);
        if (dot / sqrt(a * b) < 0.998) fail_msg("%s: cosine %g", cases[i].name, dot / sqrt(a * b));
        free(grads[0]);
        free(grads[1]);
    }
}

static void test_freeze(void **state) {
    (void)state;
    mla_model *m = formula_model(&qwen2_untied, mla_compute_best());
    mla_model *frozen = mla_model_freeze(m, m->options.compute);
    assert_int_equal(mla_model_params(frozen), 0);
    int32_t ids[TOKENS];
    fill_ids(ids, TOKENS);
    mla_activations *a = mla_activations_create(m), *b = mla_activations_create(frozen);
    double before = sequence_loss(m, a, ids, TOKENS, 1, false);
    assert_true(before == sequence_loss(frozen, b, ids, TOKENS, 1, false));
    mla_model_param(m, 3)->data[5] += 1;
    mla_model_refresh(m);
    assert_true(before != sequence_loss(m, a, ids, TOKENS, 1, false));
    assert_true(before == sequence_loss(frozen, b, ids, TOKENS, 1, false));
    mla_activations_free(a);
    mla_activations_free(b);
    mla_model_free(frozen);
    mla_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits),        cmocka_unit_test(test_gradients_and_steps),
        cmocka_unit_test(test_accumulation),  cmocka_unit_test(test_segment_tree),
        cmocka_unit_test(test_repeats),       cmocka_unit_test(test_head),
        cmocka_unit_test(test_head_learns_to_the_same_bits),
        cmocka_unit_test(test_bf16_near_f32), cmocka_unit_test(test_freeze),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
