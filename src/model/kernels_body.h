// The hot loops themselves, written once over vectors of VW floats; included by kernels_*.c, each
// of which has defined for its instruction set:
//   KERNEL (a target attribute), VW, MADD(a, b, c) = a * b + c, VMAX, VMIN, VSQRT, TABLE and
//   TABLE_NAME, ROWS_MAX, NV_WIDE, NV_NARROW (the block of registers of the tile product), and,
//   where the instruction set has them, PAIR_MADD (products of two bf16), DOT4 with S8_BIAS
//   (products of four bytes), VROUND and VSCALEF (to the nearest integer; a * 2^b), MAX_OF (a
//   vector's largest), RECIPROCAL_14, HALVES (floats to bf16), TILE_BF16 (a tile product of its
//   own) with FEW_ROWS.
// A vector's tail goes through the same vector code on a zero-padded copy, so that a result does
// not depend on where in a row an element stands. Sums are taken in a fixed order.
#include <math.h>
#include <string.h>

#include "model/kernels.h"

#define KI KERNEL static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(VW * 4)));
typedef uint32_t vu __attribute__((vector_size(VW * 4)));
typedef int32_t vi __attribute__((vector_size(VW * 4)));
typedef uint16_t vh __attribute__((vector_size(VW * 2)));

KI vf splat(float x) {
    return x - (vf){0};
}

KI vf load(const float *x) {
    vf v;
    memcpy(&v, x, sizeof v);
    return v;
}

KI void store(float *y, vf v) {
    memcpy(y, &v, sizeof v);
}

KI vf load_n(const float *x, size_t n) {
    if (__builtin_expect(n >= VW, 1)) return load(x);
    float t[VW] = {0};
    memcpy(t, x, n * sizeof *x);
    return load(t);
}

KI void store_n(float *y, vf v, size_t n) {
    if (__builtin_expect(n >= VW, 1)) {
        store(y, v);
        return;
    }
    float t[VW];
    store(t, v);
    memcpy(y, t, n * sizeof *y);
}

KI float sum_of(vf v) {
    float t[VW];
    store(t, v);
    for (int half = VW / 2; half; half /= 2)
        for (int i = 0; i < half; i++) t[i] += t[i + half];
    return t[0];
}

#ifndef MAX_OF
#define MAX_OF(v) max_of(v)
KI float max_of(vf v) {
    float t[VW], m;
    store(t, v);
    m = t[0];
    for (int i = 1; i < VW; i++) m = t[i] > m ? t[i] : m;
    return m;
}
#endif

// e^x to about one unit in the last place, by 2^n times a polynomial (Cody and Waite's reduction);
// results below 2^-126 come out as about 1.2e-38.
KI vf exp_of(vf x) {
    x = VMAX(splat(-87.33654f), x);
    x = VMIN(splat(88.72f), x);
#ifdef VSCALEF
    vf z = VROUND(x * 1.44269504f);
#else
    const float round = 12582912.0f; // 1.5 * 2^23: adding it leaves the integer in the low bits
    vf z = MADD(x, splat(1.44269504f), splat(round));
    vu n = (vu)z - 0x4B400000u;
    z = z - splat(round);
#endif
    vf r = MADD(z, splat(-0.693359375f), x);
    r = MADD(z, splat(2.12194440e-4f), r);
    vf p = splat(1.9875691500e-4f);
    p = MADD(p, r, splat(1.3981999507e-3f));
    p = MADD(p, r, splat(8.3334519073e-3f));
    p = MADD(p, r, splat(4.1665795894e-2f));
    p = MADD(p, r, splat(1.6666665459e-1f));
    p = MADD(p, r, splat(5.0000001201e-1f));
    p = MADD(p, r * r, r + 1.0f);
#ifdef VSCALEF
    return VSCALEF(p, z);
#else
    // In two steps: n may be 128, which is no exponent of a float.
    vu half = (vu)((vi)n >> 1);
    return p * (vf)((half + 127u) << 23) * (vf)((n - half + 127u) << 23);
#endif
}

// 2^x for x up to about 0, to 2e-7 of itself; exactly 1 of 0, and 0 below 2^-126. Its polynomial is
// the best of degree 5 on [-1/2, 1/2] that is 1 at 0.
KI vf exp2_of(vf x) {
#ifdef VSCALEF
    vf n = VROUND(x), r = x - n;
#else
    const float round = 12582912.0f;
    vi some = x >= splat(-126.0f);
    x = VMAX(splat(-126.0f), x);
    vf shifted = x + round, r = x - (shifted - round);
#endif
    vf p = MADD(splat(1.32647264e-3f), r, splat(9.671512697e-3f));
    p = MADD(p, r, splat(5.550733746e-2f));
    p = MADD(p, r, splat(2.402224208e-1f));
    p = MADD(p, r, splat(6.931469776e-1f));
    p = MADD(p, r, splat(1.0f));
#ifdef VSCALEF
    return VSCALEF(p, n);
#else
    return (vf)((vi)(p * (vf)(((vu)shifted - 0x4B400000u + 127u) << 23)) & some);
#endif
}

// ---- tile products ---------------------------------------------------------------------------

#define LOWER(x) ((vf)((x) << 16)) // the bf16 elements of a lane as floats
#define UPPER(x) ((vf)((x)&0xFFFF0000u))
#ifndef PAIR_MADD
#define PAIR_MADD(acc, a, b) MADD(LOWER(a), LOWER(b), MADD(UPPER(a), UPPER(b), acc))
#endif
#define LANE_MADD(pairs, acc, a, b) ((pairs) ? PAIR_MADD(acc, a, b) : MADD((vf)(a), (vf)(b), acc))

KI void tile_block(const mla__tile *t, int row, int col, bool pairs, const int nr, const int nv) {
    const uint32_t *a = (const uint32_t *)t->a + (size_t)row * (size_t)t->lda;
    const uint32_t *b = (const uint32_t *)t->b + col;
    float *c = t->c + (size_t)row * (size_t)t->ldc + col;
    const size_t lda = (size_t)t->lda, ldb = (size_t)t->ldb, ldc = (size_t)t->ldc;
    vf acc[ROWS_MAX][NV_WIDE];
#pragma GCC unroll 8
    for (int r = 0; r < nr; r++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++)
            acc[r][v] = t->scale ? load(c + (size_t)r * ldc + v * VW) * t->scale[row + r]
                        : t->add ? load(c + (size_t)r * ldc + v * VW)
                                 : splat(0);
    for (int k = 0; k < t->k; k++) {
        vu bv[NV_WIDE];
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) memcpy(&bv[v], b + v * VW, sizeof bv[v]);
#pragma GCC unroll 8
        for (int r = 0; r < nr; r++) {
            vu av = a[(size_t)r * lda] - (vu){0};
#pragma GCC unroll 8
            for (int v = 0; v < nv; v++) acc[r][v] = LANE_MADD(pairs, acc[r][v], av, bv[v]);
        }
        a++;
        b += ldb;
    }
#pragma GCC unroll 8
    for (int r = 0; r < nr; r++)
#pragma GCC unroll 8
        for (int v = 0; v < nv; v++) store(c + (size_t)r * ldc + v * VW, acc[r][v]);
}

KI void tile_panel(const mla__tile *t, int col, bool pairs, const int nv) {
    int row = 0;
    for (; row + ROWS_MAX <= t->rows; row += ROWS_MAX) tile_block(t, row, col, pairs, ROWS_MAX, nv);
    switch (t->rows - row) {
#if ROWS_MAX > 5
    case 5: tile_block(t, row, col, pairs, 5, nv); break;
    case 4: tile_block(t, row, col, pairs, 4, nv); break;
    case 3: tile_block(t, row, col, pairs, 3, nv); break;
    case 2: tile_block(t, row, col, pairs, 2, nv); break;
#endif
    case 1: tile_block(t, row, col, pairs, 1, nv); break;
    default: break;
    }
}

KI void tile_any(const mla__tile *t, bool pairs) {
    int col = 0;
    for (; col + NV_WIDE * VW <= t->cols; col += NV_WIDE * VW) tile_panel(t, col, pairs, NV_WIDE);
    for (; col + NV_NARROW * VW <= t->cols; col += NV_NARROW * VW)
        tile_panel(t, col, pairs, NV_NARROW);
}

KERNEL static void tile_f32(const mla__tile *t) {
    tile_any(t, false);
}

#ifndef TILE_BF16
#define TILE_BF16 tile_bf16
#define FEW_ROWS 4
KERNEL static void tile_bf16(const mla__tile *t) {
    tile_any(t, true);
}
#endif

// ---- conversions -----------------------------------------------------------------------------

// Round to nearest even; a NaN stays one.
#ifdef HALVES
KI vu bf16_of(vf x) {
    return __builtin_convertvector(HALVES(x), vu);
}
#else
KI vu bf16_of(vf x) {
    vu u = (vu)x;
    vu rounded = u + 0x7FFFu + ((u >> 16) & 1u);
    vu nan = (vu)(x != x);
    return ((rounded & ~nan) | ((u | 0x400000u) & nan)) >> 16;
}
#define HALVES(x) __builtin_convertvector(bf16_of(x), vh)
#endif

KI void put_halves(mla__bf16 *y, vf x, size_t n) {
    vh h = HALVES(x);
    if (__builtin_expect(n >= VW, 1))
        memcpy(y, &h, sizeof h);
    else
        memcpy(y, &h, n * sizeof *y);
}

KI vf get_halves(const mla__bf16 *x, size_t n) {
    vh h = {0};
    if (__builtin_expect(n >= VW, 1))
        memcpy(&h, x, sizeof h);
    else
        memcpy(&h, x, n * sizeof *x);
    return (vf)(__builtin_convertvector(h, vu) << 16);
}

// Elements from `at` on, n of them left, of floats or, if `half`, of bf16.
KI vf get(const void *x, size_t at, size_t n, bool half) {
    return half ? get_halves((const mla__bf16 *)x + at, n) : load_n((const float *)x + at, n);
}

KI void put(void *y, size_t at, vf v, size_t n, bool half) {
    if (half)
        put_halves((mla__bf16 *)y + at, v, n);
    else
        store_n((float *)y + at, v, n);
}

KERNEL static void to_bf16(const float *x, mla__bf16 *y, size_t n) {
    for (size_t i = 0; i < n; i += VW) put_halves(y + i, load_n(x + i, n - i), n - i);
}

KERNEL static void from_bf16(const mla__bf16 *x, float *y, size_t n) {
    for (size_t i = 0; i < n; i += VW) store_n(y + i, get_halves(x + i, n - i), n - i);
}

#include "model/kernels_int8_body.h"

// ---- rows ------------------------------------------------------------------------------------

KERNEL static void add(float *y, const float *x, size_t n) {
    for (size_t i = 0; i < n; i += VW)
        store_n(y + i, load_n(y + i, n - i) + load_n(x + i, n - i), n - i);
}

KERNEL static void scale(float *y, float by, size_t n) {
    for (size_t i = 0; i < n; i += VW) store_n(y + i, load_n(y + i, n - i) * by, n - i);
}

KERNEL static float dot(const float *x, const float *y, size_t n) {
    vf acc = splat(0);
    for (size_t i = 0; i < n; i += VW) acc = MADD(load_n(x + i, n - i), load_n(y + i, n - i), acc);
    return sum_of(acc);
}

KERNEL static double norm2(const float *x, size_t n) {
    double total = 0;
    for (size_t at = 0; at < n; at += 4096) {
        size_t len = n - at < 4096 ? n - at : 4096;
        total += (double)dot(x + at, x + at, len);
    }
    return total;
}

KI void norm_any(const float *x, const float *w, float eps, size_t n, void *y, bool half) {
    float r = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (size_t i = 0; i < n; i += VW)
        put(y, i, load_n(x + i, n - i) * r * load_n(w + i, n - i), n - i, half);
}

KERNEL static void norm(const float *x, const float *w, float eps, size_t n, void *y, bool half) {
    if (half)
        norm_any(x, w, eps, n, y, true);
    else
        norm_any(x, w, eps, n, y, false);
}

// With r = 1 / rms: y = x r w, dx = r (w dy - x r^2 mean(w dy x)), dw = dy x r.
KERNEL static void norm_back(const float *x, const float *w, float eps, const float *dy, size_t n,
                             float *dx, float *dw) {
    float r = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    vf acc = splat(0);
    for (size_t i = 0; i < n; i += VW) {
        vf xd = load_n(x + i, n - i) * load_n(dy + i, n - i);
        acc = MADD(xd, load_n(w + i, n - i), acc);
        store_n(dw + i, load_n(dw + i, n - i) + xd * r, n - i);
    }
    float mean = sum_of(acc) / (float)n * r * r;
    for (size_t i = 0; i < n; i += VW) {
        vf wd = load_n(w + i, n - i) * load_n(dy + i, n - i);
        vf d = (wd - load_n(x + i, n - i) * mean) * r;
        store_n(dx + i, load_n(dx + i, n - i) + d, n - i);
    }
}

#ifdef RECIPROCAL_14 // to 14 bits; a step of Newton's method makes them 28
KI vf reciprocal(vf x) {
    vf y = RECIPROCAL_14(x);
    return y * (2.0f - x * y);
}
#define RECIPROCAL(x) reciprocal(x)
#else
#define RECIPROCAL(x) (1.0f / (x))
#endif

KI void swiglu_any(const void *gate, const void *up, size_t n, void *y, bool half) {
    for (size_t i = 0; i < n; i += VW) {
        vf g = get(gate, i, n - i, half);
        put(y, i, g * RECIPROCAL(1.0f + exp_of(-g)) * get(up, i, n - i, half), n - i, half);
    }
}

KERNEL static void swiglu(const void *gate, const void *up, size_t n, void *y, bool half) {
    if (half)
        swiglu_any(gate, up, n, y, true);
    else
        swiglu_any(gate, up, n, y, false);
}

KI void swiglu_back_any(void *gate, void *up, const float *dy, size_t n, bool half) {
    for (size_t i = 0; i < n; i += VW) {
        vf g = get(gate, i, n - i, half), u = get(up, i, n - i, half), d = load_n(dy + i, n - i);
        vf s = RECIPROCAL(1.0f + exp_of(-g));
        put(up, i, d * g * s, n - i, half);
        put(gate, i, d * u * s * (1.0f + g * (1.0f - s)), n - i, half);
    }
}

KERNEL static void swiglu_back(void *gate, void *up, const float *dy, size_t n, bool half) {
    if (half)
        swiglu_back_any(gate, up, dy, n, true);
    else
        swiglu_back_any(gate, up, dy, n, false);
}

// The two halves of each of `heads` heads of `dim` are the parts of dim / 2 complex numbers.
KERNEL static void rope(float *x, int heads, int dim, const float *cosine, const float *sine,
                        float sign) {
    const size_t half = (size_t)dim / 2;
    for (float *end = x + (size_t)(heads * dim); x < end; x += dim)
        for (size_t i = 0; i < half; i += VW) {
            const size_t left = half - i;
            vf a = load_n(x + i, left), b = load_n(x + half + i, left);
            vf c = load_n(cosine + i, left), s = load_n(sine + i, left) * sign;
            store_n(x + i, a * c - b * s, left);
            store_n(x + half + i, b * c + a * s, left);
        }
}

KERNEL static void lse(const float *x, size_t n, float inv_t, float *out, float *mean) {
    vf top = splat(-INFINITY), sum = splat(0), dotted = splat(0);
    size_t whole = n / VW * VW;
    for (size_t i = 0; i < whole; i += VW) top = VMAX(top, load(x + i));
    float m = MAX_OF(top);
    for (size_t i = whole; i < n; i++) m = x[i] > m ? x[i] : m;
    for (size_t i = 0; i < whole; i += VW) {
        vf z = (load(x + i) - m) * inv_t, e = exp_of(z);
        sum += e;
        dotted = MADD(e, z, dotted);
    }
    float s = sum_of(sum), d = sum_of(dotted);
    if (whole < n) {
        float e[VW], z[VW];
        vf zt = (load_n(x + whole, n - whole) - m) * inv_t;
        store(z, zt);
        store(e, exp_of(zt));
        for (size_t i = 0; i < n - whole; i++) {
            s += e[i];
            d += e[i] * z[i];
        }
    }
    *out = m * inv_t + logf(s);
    *mean = m * inv_t + d / s;
}

KERNEL static void lse_back(float *x, size_t n, float inv_t, float lse_, float entropy, float a,
                            float b) {
    for (size_t i = 0; i < n; i += VW) {
        vf logp = load_n(x + i, n - i) * inv_t - lse_;
        vf p = exp_of(logp);
        store_n(x + i, p * (a + b * (logp + entropy)) * -inv_t, n - i);
    }
}

// ---- attention's elementwise parts -----------------------------------------------------------

#define HIDDEN (-1e30f) // a score whose power of two is 0, whatever is taken from it

// The largest score that the row may see, in powers of two; hides the others.
KI float softmax_top(const mla__softmax *a, int row) {
    float *s = a->s + (size_t)row * MLA__PAGE;
    for (int i = a->seen[row] > a->first ? a->seen[row] - a->first : 0; i < MLA__PAGE; i++)
        s[i] = HIDDEN;
    vf top = load(s);
    for (int i = VW; i < MLA__PAGE; i += VW) top = VMAX(top, load(s + i));
    return MAX_OF(top) * (a->scale * MLA__LOG2E);
}

KI void softmax_row(const mla__softmax *a, int row, float top, float keep, bool half) {
    const size_t at = (size_t)row * MLA__PAGE;
    const vf by = splat(a->scale * MLA__LOG2E), from = splat(-top);
    float *sum_at = a->sum + (size_t)row * MLA__LANES;
    vf sum = load(sum_at) * keep;
#pragma GCC unroll 16
    for (size_t i = 0; i < MLA__PAGE; i += VW) {
        vf e = exp2_of(MADD(load(a->s + at + i), by, from));
        sum += e;
        put(half ? (void *)a->half : (void *)a->s, at + i, e, VW, half);
    }
    store(sum_at, sum);
}

// As many rows at a time as a vector holds, so that what is one number a row fills one, too.
KI void softmax_rows(const mla__softmax *a, int row, int n, bool half) {
    float top[VW] = {0}, keep[VW];
    for (int r = 0; r < n; r++) top[r] = softmax_top(a, row + r);
    const size_t count = (size_t)n;
    vf old = load_n(a->max + row, count), now = VMAX(load(top), old);
    store(keep, exp2_of(old - now));
    store(top, now);
    store_n(a->max + row, now, count);
    memcpy(a->keep + row, keep, count * sizeof *keep);
    for (int r = 0; r < n; r++) softmax_row(a, row + r, top[r], keep[r], half);
}

KERNEL static void softmax(const mla__softmax *a) {
    for (int row = 0; row < a->rows; row += VW) {
        const int left = a->rows - row, n = left < VW ? left : VW;
        if (a->half)
            softmax_rows(a, row, n, true);
        else
            softmax_rows(a, row, n, false);
    }
}

KI void hide_queries(const mla__prob_grad *a, int key) {
    const int hidden = key + a->first < a->tokens ? key + a->first : a->tokens;
    float *s = a->s + (size_t)key * (size_t)a->cols;
    for (int at = 0; at < a->cols; at += a->tokens)
        for (int t = at; t < at + hidden; t++) s[t] = HIDDEN;
}

KI vf prob_of(const mla__prob_grad *a, size_t at, int col) {
    return exp2_of(MADD(load(a->s + at), splat(a->scale * MLA__LOG2E), -load(a->lse + col)));
}

KI vf prob_grad_of(const mla__prob_grad *a, vf p, size_t at, int col) {
    return p * (load(a->dp + at) - load(a->dot + col)) * a->scale;
}

// Two keys at a time: their gradients' pairs are one more of the layouts that are wanted.
KI void prob_grad_keys(const mla__prob_grad *a, int key, bool half) {
    const size_t at = (size_t)key * (size_t)a->cols, next = at + (size_t)a->cols;
    for (int col = 0; col < a->cols; col += VW) {
        const size_t i = at + (size_t)col, j = next + (size_t)col;
        vf p = prob_of(a, i, col), q = prob_of(a, j, col);
        vf dp = prob_grad_of(a, p, i, col), dq = prob_grad_of(a, q, j, col);
        put(half ? (void *)a->p_half : (void *)a->s, i, p, VW, half);
        put(half ? (void *)a->p_half : (void *)a->s, j, q, VW, half);
        put(half ? (void *)a->ds_half : (void *)a->dp, i, dp, VW, half);
        put(half ? (void *)a->ds_half : (void *)a->dp, j, dq, VW, half);
        if (!half) continue;
        vu pair = bf16_of(dp) | bf16_of(dq) << 16;
        memcpy(a->ds_pairs + at / 2 + (size_t)col, &pair, sizeof pair);
    }
}

KERNEL static void prob_grad(const mla__prob_grad *a) {
    for (int key = 0; key < MLA__PAGE; key += 2) {
        hide_queries(a, key);
        hide_queries(a, key + 1);
        if (a->p_half)
            prob_grad_keys(a, key, true);
        else
            prob_grad_keys(a, key, false);
    }
}

// ---- optimiser -------------------------------------------------------------------------------

KERNEL static void adam(float *p, float *g, float *m, float *v, size_t n, const mla__adam *how) {
    float step = how->lr / how->bias1, inv = 1.0f / sqrtf(how->bias2);
    for (size_t i = 0; i < n; i += VW) {
        size_t left = n - i;
        vf grad = load_n(g + i, left) * how->clip, w = load_n(p + i, left);
        vf m1 = load_n(m + i, left) * how->beta1 + grad * (1.0f - how->beta1);
        vf v1 = load_n(v + i, left) * how->beta2 + grad * grad * (1.0f - how->beta2);
        w = w - w * how->decay;
        w = w - m1 * step / (VSQRT(v1) * inv + how->eps);
        store_n(m + i, m1, left);
        store_n(v + i, v1, left);
        store_n(p + i, w, left);
        store_n(g + i, splat(0), left);
    }
}

const mla__kernels TABLE = {
    .name = TABLE_NAME,
    .tile_f32 = tile_f32,
    .tile_bf16 = TILE_BF16,
    .few_rows = FEW_ROWS,
    .tile_s8 = tile_s8,
    .s8_bias = S8_BIAS,
    .finish_s8 = finish_s8,
    .quantise = quantise,
    .softmax = softmax,
    .prob_grad = prob_grad,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .add = add,
    .scale = scale,
    .dot = dot,
    .norm2 = norm2,
    .norm = norm,
    .norm_back = norm_back,
    .swiglu = swiglu,
    .swiglu_back = swiglu_back,
    .rope = rope,
    .lse = lse,
    .lse_back = lse_back,
    .adam = adam,
};
