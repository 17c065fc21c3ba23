// Every operator, of each instruction set that may be used here, against naive double precision:
// values directly, gradients by central differences of the naive version.
#include "model_fixture.h"

static size_t kernel_tables(const mla__kernels *out[6]) {
    size_t n = 0;
    const mla__kernels *best = mla__kernels_best();
    out[n++] = &mla__kernels_portable;
#if defined(__x86_64__)
    if (best != &mla__kernels_portable) out[n++] = &mla__kernels_avx2;
    if (mla_compute_best() == MLA_COMPUTE_BF16) out[n++] = &mla__kernels_avx512;
    if (best == &mla__kernels_amx) out[n++] = &mla__kernels_avx512_bf16;
    if (best == &mla__kernels_amx || best == &mla__kernels_avx512_bf16) out[n++] = best;
#endif
    return n;
}

#define EACH_TABLE(k)                                                                              \
    const mla__kernels *tables_[6];                                                                \
    size_t n_tables_ = kernel_tables(tables_);                                                     \
    for (size_t i_ = 0; i_ < n_tables_; i_++)                                                      \
        for (const mla__kernels *k = tables_[i_]; k; k = NULL)

static void close_to(const char *what, const char *table, double got, double want, double limit) {
    if (!(fabs(got - want) <= limit * (1 + fabs(want))))
        fail_msg("%s (%s): %.9g, wanted %.9g", what, table, got, want);
}

#define N 37 // no whole number of vectors of any width

static void test_norm(void **state) {
    (void)state;
    float x[N], w[N], dy[N], y[N], dx[N], dw[N];
    double want[N], up[N], down[N];
    fill_noise(x, N, 1);
    fill_noise(w, N, 2);
    fill_noise(dy, N, 3);
    EACH_TABLE(k) {
        k->norm(x, w, 1e-5f, N, y, false);
        mla__naive_norm(x, w, (double)1e-5f, N, want);
        for (int i = 0; i < N; i++) close_to("norm", k->name, (double)y[i], want[i], 1e-6);
        memset(dx, 0, sizeof dx);
        memset(dw, 0, sizeof dw);
        k->norm_back(x, w, 1e-5f, dy, N, dx, dw);
        for (int i = 0; i < N; i++) {
            float at = x[i], h = 1e-3f, a = at + h, b = at - h;
            double numeric = 0;
            x[i] = a;
            mla__naive_norm(x, w, (double)1e-5f, N, up);
            x[i] = b;
            mla__naive_norm(x, w, (double)1e-5f, N, down);
            x[i] = at;
            for (int j = 0; j < N; j++)
                numeric += (double)dy[j] * (up[j] - down[j]) / ((double)a - (double)b);
            close_to("norm dx", k->name, (double)dx[i], numeric, 2e-5);
            close_to("norm dw", k->name, (double)dw[i], (double)dy[i] * want[i] / (double)w[i],
                     1e-5);
        }
    }
}

// In bf16 what the floats make of the same numbers, rounded.
static void test_halves(void **state) {
    (void)state;
    float noise[3 * N], x[N], u[N], w[N], wanted[N], dg[N], du[N];
    mla__bf16 xh[N], uh[N], yh[N], rounded[N];
    fill_noise(noise, 3 * N, 18);
    memcpy(w, noise + 2 * N, sizeof w);
    EACH_TABLE(k) {
        k->to_bf16(noise, xh, N);
        k->to_bf16(noise + N, uh, N);
        k->from_bf16(xh, x, N);
        k->from_bf16(uh, u, N);
        k->norm(x, w, 1e-5f, N, wanted, false);
        k->to_bf16(wanted, rounded, N);
        k->norm(x, w, 1e-5f, N, yh, true);
        assert_memory_equal(yh, rounded, sizeof yh);
        k->swiglu(x, u, N, wanted, false);
        k->to_bf16(wanted, rounded, N);
        k->swiglu(xh, uh, N, yh, true);
        assert_memory_equal(yh, rounded, sizeof yh);
        memcpy(dg, x, sizeof dg);
        memcpy(du, u, sizeof du);
        k->swiglu_back(dg, du, w, N, false);
        k->swiglu_back(xh, uh, w, N, true);
        k->to_bf16(dg, rounded, N);
        assert_memory_equal(xh, rounded, sizeof xh);
        k->to_bf16(du, rounded, N);
        assert_memory_equal(uh, rounded, sizeof uh);
    }
}

static void test_swiglu(void **state) {
    (void)state;
    float g[N], u[N], dy[N], y[N], dg[N], du[N];
    double want[N], up, down;
    fill_noise(g, N, 4);
    fill_noise(u, N, 5);
    fill_noise(dy, N, 6);
    g[0] = 90;
    g[1] = -90;
    EACH_TABLE(k) {
        k->swiglu(g, u, N, y, false);
        mla__naive_swiglu(g, u, N, want);
        memcpy(dg, g, sizeof dg);
        memcpy(du, u, sizeof du);
        k->swiglu_back(dg, du, dy, N, false);
        for (int i = 0; i < N; i++) {
            close_to("swiglu", k->name, (double)y[i], want[i], 1e-6);
            float a = g[i] + 1e-2f, b = g[i] - 1e-2f, one = 1;
            mla__naive_swiglu(&a, &u[i], 1, &up);
            mla__naive_swiglu(&b, &u[i], 1, &down);
            close_to("swiglu d_gate", k->name, (double)dg[i],
                     (double)dy[i] * (up - down) / ((double)a - (double)b), 5e-5);
            mla__naive_swiglu(&g[i], &one, 1, &up);
            close_to("swiglu d_up", k->name, (double)du[i], (double)dy[i] * up, 1e-6);
        }
    }
}

static void test_rope(void **state) {
    (void)state;
    enum { DIM = 20, ROPED = 3 };
    float x[ROPED * DIM], y[ROPED * DIM], c[DIM / 2], s[DIM / 2];
    double want[DIM];
    fill_noise(x, ROPED * DIM, 7);
    for (int pos = 0; pos < 300; pos += 99) {
        for (int i = 0; i < DIM / 2; i++) {
            double angle = pos * pow(10000, -2.0 * i / DIM);
            c[i] = (float)cos(angle);
            s[i] = (float)sin(angle);
        }
        EACH_TABLE(k) {
            memcpy(y, x, sizeof y);
            k->rope(y, ROPED, DIM, c, s, 1);
            for (int h = 0; h < ROPED; h++) {
                mla__naive_rope(x + h * DIM, 10000, pos, DIM, want);
                for (int i = 0; i < DIM; i++)
                    close_to("rope", k->name, (double)y[h * DIM + i], want[i], 1e-6);
            }
            // A rotation's gradient is the rotation back.
            k->rope(y, ROPED, DIM, c, s, -1);
            for (int i = 0; i < ROPED * DIM; i++)
                close_to("rope back", k->name, (double)y[i], (double)x[i], 1e-6);
        }
    }
}

static void test_exponentials(void **state) {
    (void)state;
    float x[N], d[N];
    fill_noise(x, N, 8);
    for (int i = 0; i < N; i++) x[i] *= 5;
    EACH_TABLE(k) {
        float lse, mean;
        double sum = 0, dotted = 0, entropy = 0, inv_t = 1 / 0.7;
        k->lse(x, N, (float)inv_t, &lse, &mean);
        for (int i = 0; i < N; i++) sum += exp((double)x[i] * inv_t);
        for (int i = 0; i < N; i++) {
            double p = exp((double)x[i] * inv_t) / sum;
            dotted += p * (double)x[i] * inv_t;
            entropy -= p * log(p);
        }
        close_to("lse", k->name, (double)lse, log(sum), 1e-6);
        close_to("mean", k->name, (double)mean, dotted, 1e-6);
        close_to("entropy", k->name, (double)lse - (double)mean, entropy, 1e-5);
        memcpy(d, x, sizeof d);
        k->lse_back(d, N, (float)inv_t, lse, lse - mean, 0.3f, -0.2f);
        for (int i = 0; i < N; i++) {
            double p = exp((double)x[i] * inv_t) / sum;
            double want = -inv_t * p * (0.3 - 0.2 * (log(p) + entropy));
            close_to("lse_back", k->name, (double)d[i], want, 1e-5);
        }
    }
}

static void test_bf16(void **state) {
    (void)state;
    const float from[] = {1.0f, 1.00390625f, 1.01171875f, -3.0f, 65504.0f, 1e-30f, INFINITY};
    // Ties go to the even neighbour: 1.00390625 down, 1.01171875 up.
    const float want[] = {1.0f, 1.0f, 1.015625f, -3.0f, 65536.0f, 1e-30f, INFINITY};
    EACH_TABLE(k) {
        mla__bf16 h[MLA_COUNT(from)];
        float back[MLA_COUNT(from)];
        k->to_bf16(from, h, MLA_COUNT(from));
        k->from_bf16(h, back, MLA_COUNT(from));
        for (size_t i = 0; i < MLA_COUNT(from); i++)
            if (isinf(want[i]))
                assert_true(isinf(back[i]));
            else
                close_to("bf16", k->name, (double)back[i] / (double)want[i], 1, 1.0 / 512);
        assert_true(back[1] == want[1] && back[2] == want[2]);
        float nan = NAN;
        k->to_bf16(&nan, h, 1);
        k->from_bf16(h, back, 1);
        assert_true(isnan(back[0]));
    }
}

static void test_tiles(void **state) {
    (void)state;
    enum { ROWS = 61, K = 24, COLS = 80 };
    float a[ROWS * 2 * K], b[2 * K * COLS], c[ROWS * COLS], scale[ROWS];
    fill_noise(a, ROWS * 2 * K, 9);
    fill_noise(b, 2 * K * COLS, 10);
    fill_noise(scale, ROWS, 11);
    EACH_TABLE(k) for (int bf16 = 0; bf16 <= (k->tile_bf16 ? 1 : 0); bf16++) {
        mla__bf16 ah[ROWS * 2 * K], bh[2 * K * COLS];
        const int len = bf16 ? 2 * K : K; // elements of a row
        // In bf16 the elements of a pair lie side by side: [k / 2][col][2].
        k->to_bf16(a, ah, (size_t)(ROWS * 2 * K));
        k->to_bf16(b, bh, (size_t)(2 * K * COLS));
        for (int i = 0; i < ROWS * COLS; i++) c[i] = 1;
        const mla__tile t = {.a = bf16 ? (void *)ah : (void *)a,
                             .b = bf16 ? (void *)bh : (void *)b,
                             .c = c,
                             .scale = scale,
                             .lda = K,
                             .ldb = COLS,
                             .ldc = COLS,
                             .rows = ROWS,
                             .k = K,
                             .cols = COLS};
        (bf16 ? k->tile_bf16 : k->tile_f32)(&t);
        for (int r = 0; r < ROWS; r++)
            for (int col = 0; col < COLS; col++) {
                double want = (double)scale[r];
                for (int i = 0; i < len; i++) {
                    float x, y;
                    if (bf16) {
                        k->from_bf16(&ah[r * len + i], &x, 1);
                        k->from_bf16(&bh[(i / 2 * COLS + col) * 2 + i % 2], &y, 1);
                    } else {
                        x = a[r * K + i];
                        y = b[i * COLS + col];
                    }
                    want += (double)x * (double)y;
                }
                close_to("tile", k->name, (double)c[r * COLS + col], want, 5e-6);
            }
    }
}

static void test_adam(void **state) {
    (void)state;
    float p[N], g[N], m[N], v[N], p0[N], g0[N], m0[N], v0[N];
    fill_noise(p0, N, 12);
    fill_noise(g0, N, 13);
    fill_noise(m0, N, 14);
    fill_noise(v0, N, 15);
    EACH_TABLE(k) {
        memcpy(p, p0, sizeof p);
        memcpy(g, g0, sizeof g);
        memcpy(m, m0, sizeof m);
        for (int i = 0; i < N; i++) v[i] = v0[i] * v0[i];
        const mla__adam how = {.lr = 0.01f,
                               .beta1 = 0.9f,
                               .beta2 = 0.99f,
                               .eps = 1e-3f,
                               .decay = 0.002f,
                               .clip = 0.5f,
                               .bias1 = 0.19f,
                               .bias2 = 0.02f};
        k->adam(p, g, m, v, N, &how);
        for (int i = 0; i < N; i++) {
            double grad = (double)g0[i] * 0.5, want = (double)p0[i] * (1 - 0.002);
            double mm = 0.9 * (double)m0[i] + 0.1 * grad;
            double vv = 0.99 * (double)v0[i] * (double)v0[i] + 0.01 * grad * grad;
            want -= 0.01 * (mm / 0.19) / (sqrt(vv / 0.02) + 1e-3);
            close_to("adam", k->name, (double)p[i], want, 1e-6);
            assert_true(g[i] == 0);
        }
    }
}

// ---- attention -------------------------------------------------------------------------------

enum { T = 150, HEADS = 4, KV = 2, DIM = 8, WIDTH = HEADS * DIM, QKV = WIDTH + 2 * KV * DIM };

typedef struct attention_case {
    mla_model *model;
    mla_kv *kv;
    mla__span span;
    mla__attention a;
    mla__arena arena;
    int token[4 * MLA__PAGE];
    float qkv[T * QKV], q[T * WIDTH], out[T * WIDTH], lse[T * HEADS];
} attention_case;

static void place(attention_case *c) {
    for (int t = 0; t < T; t++) {
        memcpy(c->q + t * WIDTH, c->qkv + t * QKV, WIDTH * sizeof(float));
        int page = c->span.pages[t / MLA__PAGE], slot = t % MLA__PAGE;
        c->token[page * MLA__PAGE + slot] = t;
        for (int h = 0; h < KV; h++)
            for (int d = 0; d < DIM; d++) {
                float *k = mla__kv_keys(c->kv, page, 0, h), *v = mla__kv_values(c->kv, page, 0, h);
                k[d * MLA__PAGE + slot] = c->qkv[t * QKV + WIDTH + h * DIM + d];
                v[slot * 16 + d] = c->qkv[t * QKV + WIDTH + (KV + h) * DIM + d];
            }
    }
}

// sum of w * attention(qkv), naively.
static double naive_sum(const float *qkv, const float *w) {
    static float k[T * DIM], v[T * DIM];
    double total = 0, y[DIM];
    for (int h = 0; h < HEADS; h++) {
        for (int t = 0; t < T; t++) {
            memcpy(k + t * DIM, qkv + t * QKV + WIDTH + h / 2 * DIM, sizeof y / 2);
            memcpy(v + t * DIM, qkv + t * QKV + WIDTH + (KV + h / 2) * DIM, sizeof y / 2);
        }
        for (int t = 0; t < T; t++) {
            mla__naive_attention(qkv + t * QKV + h * DIM, k, v, t + 1, DIM, y);
            for (int d = 0; d < DIM; d++) total += y[d] * (double)w[t * WIDTH + h * DIM + d];
        }
    }
    return total;
}

static void test_attention(void **state) {
    (void)state;
    attention_case *c = MLA_NEW(attention_case);
    c->model = formula_model(&llama_tied, MLA_COMPUTE_F32);
    c->kv = mla__kv_create(c->model, SIZE_MAX);
    int seq = mla_kv_open(c->kv, -1);
    assert_int_equal(mla__kv_reserve(c->kv, seq, T), 0);
    c->span = (mla__span){0, T, 0, c->kv->seqs[seq].pages};
    c->a = (mla__attention){.model = c->model,
                            .kv = c->kv,
                            .spans = &c->span,
                            .n_spans = 1,
                            .rows = T,
                            .arena = &c->arena};
    for (size_t i = 0; i < MLA_COUNT(c->token); i++) c->token[i] = -1;
    fill_noise(c->qkv, T * QKV, 16);
    float *w = MLA_NEW_ARRAY(float, T *WIDTH), *d = MLA_NEW_ARRAY(float, T *QKV);
    fill_noise(w, T * WIDTH, 17);
    place(c);
    mla__attention_forward(&c->a, c->q, c->out, c->lse);
    double sum = 0;
    for (int i = 0; i < T * WIDTH; i++) sum += (double)c->out[i] * (double)w[i];
    close_to("attention", "best", sum, naive_sum(c->qkv, w), 1e-4);
    mla__attention_backward(&c->a, c->token, c->q, c->out, c->lse, w, d);
    for (int i = 0; i < T * QKV; i += 83) {
        float at = c->qkv[i], a = at + 1e-2f, b = at - 1e-2f;
        c->qkv[i] = a;
        double up = naive_sum(c->qkv, w);
        c->qkv[i] = b;
        double numeric = (up - naive_sum(c->qkv, w)) / ((double)a - (double)b);
        c->qkv[i] = at;
        close_to("attention's gradient", "best", (double)d[i], numeric, 2e-4);
    }
    free(w);
    free(d);
    mla_kv_free(c->kv);
    mla_model_free(c->model);
    free(c->arena.data);
    free(c);
}

// ---- products --------------------------------------------------------------------------------

static void test_products(void **state) {
    (void)state;
    enum { ROWS = 87, IN = 24, OUT = 40, CAP = 96 };
    static float x[CAP * IN], w[OUT * IN], y[CAP * OUT], alone[16 * OUT], dx[CAP * IN],
        dw[OUT * IN];
    mla__gemm *gemm = mla__gemm_create(MLA_COMPUTE_F32);
    fill_noise(x, ROWS * IN, 18);
    fill_noise(w, OUT * IN, 19);
    mla__packed *packed = mla__packed_create(gemm, OUT, IN);
    mla__packed_fill(gemm, packed, w);
    mla__gemm_forward(gemm, packed, x, y, true, ROWS);
    for (int r = 0; r < ROWS; r++) {
        for (int o = 0; o < OUT; o++) {
            double want = 0;
            for (int i = 0; i < IN; i++) want += (double)x[r * IN + i] * (double)w[o * IN + i];
            close_to("y = x w'", "oneDNN", (double)y[r * OUT + o], want, 1e-5);
        }
        float one[16 * IN] = {0};
        memcpy(one, x + r * IN, IN * sizeof *one);
        mla__gemm_forward(gemm, packed, one, alone, true, 1);
        assert_memory_equal(alone, y + r * OUT, OUT * sizeof *y);
    }
    mla__gemm_back_input(gemm, y, w, dx, true, ROWS, OUT, IN);
    mla__gemm_back_weight(gemm, y, x, dw, ROWS, OUT, IN);
    mla__gemm_back_weight(gemm, y, x, dw, ROWS, OUT, IN);
    for (int i = 0; i < IN; i++) {
        double want = 0, twice = 0;
        for (int o = 0; o < OUT; o++) want += (double)y[5 * OUT + o] * (double)w[o * IN + i];
        for (int r = 0; r < ROWS; r++) twice += 2 * (double)y[r * OUT + 3] * (double)x[r * IN + i];
        close_to("dx = dy w", "oneDNN", (double)dx[5 * IN + i], want, 1e-5);
        close_to("dw += dy' x", "oneDNN", (double)dw[3 * IN + i], twice, 1e-5);
    }
    mla__packed_free(packed);
    mla__gemm_free(gemm);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_norm),     cmocka_unit_test(test_swiglu),
        cmocka_unit_test(test_halves),
        cmocka_unit_test(test_rope),     cmocka_unit_test(test_exponentials),
        cmocka_unit_test(test_bf16),     cmocka_unit_test(test_tiles),
        cmocka_unit_test(test_adam),     cmocka_unit_test(test_attention),
        cmocka_unit_test(test_products),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
