// int8 weights: every product against whole-number loops, bit for bit, and within the bounds of its
// roundings against floats; rows and sequences that do not feel their company; a real model near
// its fp32 self. Also bf16's products of few rows, which share their layout with these.
#include "base/fs.h"
#include "model/gemm_internal.h"
#include "model_fixture.h"

// Those that may run here, the best last.
static size_t kernel_tables(const mla__kernels *out[6]) {
    const mla__kernels *const all[] = {
        &mla__kernels_portable,
#if defined(__x86_64__)
        &mla__kernels_avx2, &mla__kernels_avx512, &mla__kernels_avx512_vnni,
        &mla__kernels_avx512_bf16, &mla__kernels_amx,
#endif
    };
    size_t n = 0;
    do
        out[n] = all[n];
    while (out[n++] != mla__kernels_best());
    return n;
}

#define EACH_TABLE(k)                                                                              \
    const mla__kernels *tables_[6];                                                                \
    size_t n_tables_ = kernel_tables(tables_);                                                     \
    for (size_t i_ = 0; i_ < n_tables_; i_++)                                                      \
        for (const mla__kernels *k = tables_[i_]; k; k = NULL)

static float widen(mla__bf16 x) {
    uint32_t bits = (uint32_t)x << 16;
    float out;
    memcpy(&out, &bits, sizeof out);
    return out;
}

static void fill_halves(mla__bf16 *x, size_t n, uint64_t seed) {
    float *f = MLA_NEW_ARRAY(float, n);
    fill_noise(f, n, seed);
    mla__kernels_portable.to_bf16(f, x, n);
    free(f);
}

static float by_size(const float *x, int n, bool *taken) {
    int best = -1;
    for (int i = 0; i < n; i++)
        if (!taken[i] && (best < 0 || fabsf(x[i]) > fabsf(x[best]))) best = i;
    taken[best] = true;
    return fabsf(x[best]);
}

// q [n] whole numbers and their scale, as the definition says; without `wide` all are bytes.
static float naive_quantise(const float *x, int n, bool wide, int32_t *q) {
    bool *taken = MLA_NEW_ARRAY(bool, (size_t)n);
    float size[MLA__WIDE + 1];
    int t = 0;
    for (int i = 0; i <= MLA__WIDE; i++) size[i] = by_size(x, n, taken);
    while (wide && t < MLA__WIDE && size[t] > size[MLA__WIDE] * 1.25f) t++;
    const float scale = fmaxf(size[t] / 127.0f, wide ? size[0] / 1048576.0f : 0);
    // A channel's weights are multiplied with 127 / largest, activations with 1 / scale.
    const float by = scale > 0 ? (wide ? 1.0f / scale : 127.0f / size[0]) : 0;
    for (int i = 0; i < n; i++) q[i] = (int32_t)nearbyintf(x[i] * by);
    free(taken);
    return scale;
}

// ---- products --------------------------------------------------------------------------------

enum { IN = 100, OUT = 200, ROWS = 300, CAP = 304 };

typedef struct product_case {
    float w[OUT * IN];
    mla__bf16 x[CAP * IN];
    int32_t wq[OUT * IN], xq[ROWS * IN];
    float w_scale[OUT], x_scale[ROWS];
    float want[ROWS * OUT], y[CAP * OUT];
    mla__bf16 half[CAP * OUT];
} product_case;

static product_case *make_case(void) {
    product_case *c = MLA_NEW(product_case);
    fill_noise(c->w, OUT * IN, 1);
    fill_halves(c->x, ROWS * IN, 2);
    // A row of zeros, one of a single value, one with outliers, one with a very large one.
    memset(c->x + 3 * IN, 0, 2 * IN * sizeof *c->x);
    c->x[4 * IN + 7] = 0x4780;
    for (int i = 0; i < 12; i++) c->x[5 * IN + 99 - 7 * i] = (mla__bf16)(0x4280 + 0x8010 * (i % 2));
    c->x[6 * IN + 50] = 0xCB80;
    for (int o = 0; o < OUT; o++)
        c->w_scale[o] = naive_quantise(c->w + o * IN, IN, false, c->wq + o * IN);
    for (int r = 0; r < ROWS; r++) {
        float row[IN];
        for (int i = 0; i < IN; i++) row[i] = widen(c->x[r * IN + i]);
        c->x_scale[r] = naive_quantise(row, IN, true, c->xq + r * IN);
        for (int o = 0; o < OUT; o++) {
            int32_t sum = 0;
            for (int i = 0; i < IN; i++) sum += c->xq[r * IN + i] * c->wq[o * IN + i];
            c->want[r * OUT + o] = (float)sum * (c->w_scale[o] * c->x_scale[r]);
        }
    }
    return c;
}

static void check_product(product_case *c, mla__gemm *gemm, const mla__packed *w, int from, int n) {
    const float *want = c->want + from * OUT;
    memset(c->y, 0x7F, sizeof c->y);
    mla__gemm_forward(gemm, w, c->x + from * IN, c->y, true, (size_t)n);
    for (int i = 0; i < n * OUT; i++)
        if (c->y[i] != want[i])
            fail_msg("%s: %d rows from %d: y[%d, %d] is %.9g, not %.9g", gemm->kernels->name, n,
                     from, i / OUT, i % OUT, (double)c->y[i], (double)want[i]);
    mla__gemm_forward(gemm, w, c->x + from * IN, c->half, false, (size_t)n);
    for (int i = 0; i < n * OUT; i++) {
        mla__bf16 rounded;
        mla__kernels_portable.to_bf16(&want[i], &rounded, 1);
        assert_int_equal(c->half[i], rounded);
    }
}

// Whatever the instruction set, and with oneDNN's blocks or without.
static void test_products_are_exact(void **state) {
    (void)state;
    static const int counts[] = {1, 2, 3, 5, 6, 7, 16, 21, 33, 70, 300};
    product_case *c = make_case();
    EACH_TABLE(k) for (int own = 0; own <= 1; own++) {
        mla__gemm *gemm = mla__gemm_create(MLA_COMPUTE_INT8);
        gemm->kernels = k;
        mla__packed *w = mla__packed_create(gemm, OUT, IN);
        mla__packed_fill(gemm, w, c->w);
        if (own) w->by_blocks = false;
        for (size_t i = 0; i < MLA_COUNT(counts); i++) check_product(c, gemm, w, 0, counts[i]);
        check_product(c, gemm, w, 41, 1);
        check_product(c, gemm, w, 13, 40);
        mla__packed *copy = mla__packed_copy(gemm, w);
        check_product(c, gemm, copy, 0, 9);
        mla__packed_free(copy);
        mla__packed_free(w);
        mla__gemm_free(gemm);
    }
    free(c);
}

// No further from the product of floats than half a step of each factor allows.
static void test_products_are_near_floats(void **state) {
    (void)state;
    product_case *c = make_case();
    for (int r = 0; r < ROWS; r++)
        for (int o = 0; o < OUT; o++) {
            double sum = 0, bound = 1e-6;
            const double dw = (double)c->w_scale[o] * 0.5001, dx = (double)c->x_scale[r] * 0.5001;
            for (int i = 0; i < IN; i++) {
                double x = (double)widen(c->x[r * IN + i]), w = (double)c->w[o * IN + i];
                sum += x * w;
                bound += fabs(x) * dw + fabs(w) * dx + dw * dx;
            }
            assert_true(fabs((double)c->want[r * OUT + o] - sum) <= bound);
        }
    free(c);
}

static void test_rows_come_back(void **state) {
    (void)state;
    product_case *c = make_case();
    mla__gemm *gemm = mla__gemm_create(MLA_COMPUTE_INT8);
    mla__packed *w = mla__packed_create(gemm, OUT, IN);
    float row[IN];
    mla__packed_fill(gemm, w, c->w);
    assert_true(mla__packed_has_rows(w));
    for (int o = 0; o < OUT; o++) {
        mla__packed_row(w, o, row);
        for (int i = 0; i < IN; i++)
            assert_true(row[i] == (float)c->wq[o * IN + i] * c->w_scale[o]);
    }
    mla__packed_free(w);
    mla__gemm_free(gemm);
    free(c);
}

// A NaN or an infinity among the activations must not come out as a number.
static void test_what_is_not_finite_stays_so(void **state) {
    (void)state;
    mla__bf16 x[37];
    uint8_t a[37];
    mla__row_s8 row;
    const mla__bf16 bad[] = {0x7FC0, 0x7F80, 0xFF80};
    EACH_TABLE(k) for (size_t i = 0; i < MLA_COUNT(bad); i++) for (int at = 0; at < 37; at += 9) {
        fill_halves(x, 37, 3);
        k->quantise(x, 37, a, &row);
        assert_true(isfinite(row.scale));
        x[at] = bad[i];
        k->quantise(x, 37, a, &row);
        assert_false(isfinite(row.scale));
    }
}

// ---- few rows in bf16 ------------------------------------------------------------------------

// One sum as AMX makes it, of pairs [k] of a and b.
static float amx_sum(const mla__bf16 *a, const mla__bf16 *b, int stride, int pairs, float c) {
    for (int k = 0; k < pairs; k += 16) {
        float even = 0, odd = 0;
        for (int i = k; i < k + 16; i++) {
            even = fmaf(widen(a[2 * i]), widen(b[2 * i * stride]), even);
            odd = fmaf(widen(a[2 * i + 1]), widen(b[2 * i * stride + 1]), odd);
        }
        c += even + odd;
    }
    return c;
}

// The bits of AMX's tiles are the same for any number of rows, also where the last are few.
static void test_amx_sums(void **state) {
    (void)state;
    enum { WIDE = 128, PAIRS = 48, MANY = 53 };
    static mla__bf16 a[MANY * PAIRS * 2], b[PAIRS * WIDE * 2];
    static float c[MANY * WIDE];
    const mla__kernels *k = mla__kernels_best();
    if (strcmp(k->name, "amx") != 0) skip();
    fill_halves(a, MLA_COUNT(a), 4);
    fill_halves(b, MLA_COUNT(b), 5);
    for (int rows = 1; rows <= MANY; rows++)
        for (int cols = 80; cols <= WIDE; cols += WIDE - 80) {
            const mla__tile t = {.a = a, .b = b, .c = c, .lda = PAIRS, .ldb = WIDE, .ldc = WIDE,
                                 .rows = rows, .k = PAIRS, .cols = cols};
            memset(c, 1, sizeof c);
            k->tile_bf16(&t);
            for (int r = 0; r < rows; r++)
                for (int col = 0; col < cols; col++)
                    assert_true(c[r * WIDE + col] ==
                                amx_sum(a + r * PAIRS * 2, b + 2 * col, WIDE, PAIRS, 0));
        }
}

// A row's bits are those it has in a large batch, for every number of rows up to that.
static void test_few_rows_are_many(void **state) {
    (void)state;
    enum { K = 96, N = 192, MANY = 80 };
    if (mla_compute_best() != MLA_COMPUTE_BF16) skip();
    static mla__bf16 w[N * K], x[MANY * K], half[MANY * N], want_half[MANY * N];
    static float want[MANY * N], y[MANY * N], row[K];
    fill_halves(w, MLA_COUNT(w), 6);
    fill_halves(x, MLA_COUNT(x), 7);
    mla__gemm *gemm = mla__gemm_create(MLA_COMPUTE_BF16);
    mla__packed *packed = mla__packed_create(gemm, N, K);
    mla__packed_fill(gemm, packed, w);
    mla__gemm_forward(gemm, packed, x, want, true, MANY);
    mla__gemm_forward(gemm, packed, x, want_half, false, MANY);
    for (size_t n = 1; n <= 20; n++) {
        const size_t at = MANY - mla__round_up(n, MLA__ROWS);
        mla__gemm_forward(gemm, packed, x + at * K, y, true, n);
        mla__gemm_forward(gemm, packed, x + at * K, half, false, n);
        assert_memory_equal(y, want + at * N, n * N * sizeof *y);
        assert_memory_equal(half, want_half + at * N, n * N * sizeof *half);
    }
    for (int o = 0; mla__packed_has_rows(packed) && o < N; o++) {
        mla__packed_row(packed, o, row);
        for (int i = 0; i < K; i++) assert_true(row[i] == widen(w[o * K + i]));
    }
    mla__packed_free(packed);
    mla__gemm_free(gemm);
}

// ---- models ----------------------------------------------------------------------------------

// Wide enough for whole panels, so that bf16's embedding is read from its head.
static const mla_model_config wide = {.arch = MLA_ARCH_QWEN2, .vocab = 128, .dim = 64, .layers = 2,
                                      .heads = 4, .kv_heads = 2, .head_dim = 16, .hidden = 192,
                                      .max_context = 512, .rope_theta = 10000, .norm_eps = 1e-5f,
                                      .tied = true};
static const mla_model_config *const configs[] = {&llama_tied, &llama_untied, &qwen2_tied,
                                                  &qwen2_untied, &wide};

static mla_model *random_model(const mla_model_config *config, mla_compute compute) {
    const mla_model_options options = {.compute = compute, .trainable = false};
    return mla_model_random(config, &options, 3);
}

enum { PROMPT = 150, NEW = 12, ALL = PROMPT + NEW, WIDEST = 64 };

static void extend(const mla_model *m, mla_kv *kv, const mla_extend *items, int n, float *hidden) {
    mla_err err;
    if (mla_transformer_extend(m, kv, items, n, hidden, &err)) fail_msg("%s", err.text);
}

// In chunks, alone and beside others, decoded one by one: the bits of one pass over everything.
static void check_company(const mla_model *m) {
    const size_t dim = (size_t)m->config.dim;
    int32_t ids[ALL];
    float hidden[8 * WIDEST];
    fill_ids(ids, ALL);
    const mla_segment whole = {0, ALL, -1};
    const mla_token_batch batch = {ids, ALL, &whole, 1};
    mla_activations *acts = mla_activations_create(m);
    const float *want = mla_transformer_forward(m, &batch, acts, false);
    mla_kv *kv = mla_kv_create(m, 1 << 23);
    int seq = mla_kv_open(kv, -1);
    for (int at = 0, chunk = 37; at < PROMPT; at += chunk) {
        if (chunk > PROMPT - at) chunk = PROMPT - at;
        extend(m, kv, &(mla_extend){seq, ids + at, chunk}, 1, hidden);
        assert_memory_equal(hidden, want + (size_t)(at + chunk - 1) * dim, dim * sizeof *hidden);
    }
    mla_extend items[8];
    for (int i = 0; i < 8; i++) items[i] = (mla_extend){mla_kv_open(kv, seq), NULL, 1};
    for (int at = PROMPT; at < ALL; at++) {
        const int company = 1 + (at - PROMPT) % 8; // the first sequence is always there
        for (int i = 0; i < company; i++) items[i].ids = &ids[i ? at - i : at];
        extend(m, kv, items, company, hidden);
        assert_memory_equal(hidden, want + (size_t)at * dim, dim * sizeof *hidden);
    }
    mla_kv_free(kv);
    mla_activations_free(acts);
}

static void test_company(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(configs); i++)
        for (int int8 = 0; int8 <= 1; int8++) {
            mla_model *m = random_model(configs[i], int8 ? MLA_COMPUTE_INT8 : mla_compute_best());
            check_company(m);
            mla_model_free(m);
        }
}

static void test_near_fp32(void **state) {
    (void)state;
    int32_t ids[ALL];
    float got[ALL], want[ALL], frozen[ALL];
    fill_ids(ids, ALL);
    for (size_t i = 0; i < MLA_COUNT(configs); i++) {
        mla_model *m = random_model(configs[i], MLA_COMPUTE_F32);
        mla_model *int8 = random_model(configs[i], MLA_COMPUTE_INT8);
        mla_model *copy = mla_model_freeze(int8, MLA_COMPUTE_INT8);
        next_logprobs(m, ids, ALL, want);
        next_logprobs(int8, ids, ALL, got);
        next_logprobs(copy, ids, ALL, frozen);
        assert_close("int8's log-probabilities", got, want, ALL - 1, 0.02);
        assert_memory_equal(got, frozen, (ALL - 1) * sizeof *got);
        assert_int_equal(mla_model_get_compute(copy), MLA_COMPUTE_INT8);
        mla_model_free(copy);
        mla_model_free(int8);
        mla_model_free(m);
    }
}

// The weights of a model as they stand, rounded: what loading them in int8 gives.
static void test_frozen_from_training(void **state) {
    (void)state;
    int32_t ids[ALL];
    float got[ALL], want[ALL];
    fill_ids(ids, ALL);
    for (size_t i = 0; i < MLA_COUNT(configs); i++)
        for (int trainable = 0; trainable <= 1; trainable++) {
            const mla_model_options options = {.compute = MLA_COMPUTE_F32, .trainable = trainable,
                                               .adaptable = !trainable};
            mla_model *m = mla_model_random(configs[i], &options, 3);
            mla_model *int8 = random_model(configs[i], MLA_COMPUTE_INT8);
            mla_model *copy = mla_model_freeze(m, MLA_COMPUTE_INT8);
            next_logprobs(int8, ids, ALL, want);
            next_logprobs(copy, ids, ALL, got);
            assert_memory_equal(got, want, (ALL - 1) * sizeof *got);
            mla_model_free(copy);
            mla_model_free(int8);
            mla_model_free(m);
        }
}

static void test_training_is_refused(void **state) {
    (void)state;
    char dir[] = "/tmp/mla-int8-XXXXXX";
    mla_model_options options = {.compute = MLA_COMPUTE_F32, .trainable = true};
    mla_err err;
    assert_non_null(mkdtemp(dir));
    mla_model *m = mla_model_random(&wide, &options, 3);
    assert_int_equal(mla_model_save(m, dir, true, &err), 0);
    mla_model_free(m);
    options.compute = MLA_COMPUTE_INT8;
    assert_null(mla_model_load(dir, &options, &err));
    assert_non_null(strstr(err.text, "trained"));
    options.trainable = false;
    m = mla_model_load(dir, &options, &err);
    if (!m) fail_msg("%s", err.text);
    mla_model *same = random_model(&wide, MLA_COMPUTE_INT8);
    int32_t ids[ALL];
    float got[ALL], want[ALL];
    fill_ids(ids, ALL);
    next_logprobs(m, ids, ALL, got);
    next_logprobs(same, ids, ALL, want);
    assert_memory_equal(got, want, (ALL - 1) * sizeof *got);
    assert_int_equal(mla_model_save(m, dir, true, &err), -1);
    mla_model_free(same);
    mla_model_free(m);
    assert_int_equal(mla_fs_remove_tree(dir, &err), 0);
}

// ---- the default model -----------------------------------------------------------------------

static mla_model *load_default(mla_compute compute) {
    char *home = mla_home(), *path = mla_fs_join(home, "models/smollm2-135m-instruct.gguf");
    const mla_model_options options = {.compute = compute, .trainable = false};
    mla_model *m = NULL;
    mla_err err;
    if (mla_fs_exists(path)) {
        m = mla_model_load(path, &options, &err);
        if (!m) fail_msg("%s", err.text);
    } else {
        print_message("%s is not there\n", path);
    }
    free(path);
    free(home);
    return m;
}

// Log-probabilities against transformers' in fp32. So few positions move with a processor's
// roundings: 0.07 to 0.11 were seen.
static void test_default_model(void **state) {
    (void)state;
    enum { N = 34 };
    const char *file = "tests/vectors/model_smollm2/smollm2.bin";
    mla_model *m = load_default(MLA_COMPUTE_INT8);
    if (!m) skip();
    float *wanted = vector_read(file, "ids", 1, N), *want = vector_read(file, "logprobs", 1, N - 1);
    int32_t ids[N];
    float got[N];
    double mean = 0;
    for (int i = 0; i < N; i++) ids[i] = (int32_t)wanted[i];
    next_logprobs(m, ids, N, got);
    for (int i = 0; i < N - 1; i++) mean += fabs((double)got[i] - (double)want[i]) / (N - 1);
    print_message("int8 against fp32: %.3f nats in the mean\n", mean);
    assert_true(mean < 0.15);
    free(wanted);
    free(want);
    mla_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_are_exact),
        cmocka_unit_test(test_products_are_near_floats),
        cmocka_unit_test(test_rows_come_back),
        cmocka_unit_test(test_what_is_not_finite_stays_so),
        cmocka_unit_test(test_amx_sums),
        cmocka_unit_test(test_few_rows_are_many),
        cmocka_unit_test(test_company),
        cmocka_unit_test(test_near_fp32),
        cmocka_unit_test(test_frozen_from_training),
        cmocka_unit_test(test_training_is_refused),
        cmocka_unit_test(test_default_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
