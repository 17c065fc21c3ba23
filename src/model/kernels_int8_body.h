// The part of kernels_body.h that computes in whole numbers: products of int8 weights with rows
// that are quantised as they come, and the way back to floats. Included there.
//
// DOT4(acc, a, b) adds the products of four bytes to each lane of 32 bits; S8_BIAS is what its `a`
// bytes have too much: 128 where the instruction takes them unsigned, else 0.

typedef int8_t vb __attribute__((vector_size(VW)));

#ifndef DOT4
#define S8_BIAS 0
#define BYTE_OF(x, at) ((vi)((vu)(x) << (24 - 8 * (at))) >> 24)

KI vi DOT4(vi acc, vi a, vi b) {
#pragma GCC unroll 4
    for (int at = 0; at < 4; at++) acc += BYTE_OF(a, at) * BYTE_OF(b, at);
    return acc;
}
#endif

KI void s8_block(const mla__tile_s8 *t, int row, int col, const int nr, const int nv) {
    const uint8_t *a = t->a + (size_t)row * (size_t)t->k;
    const int8_t *b = t->b + (size_t)col * 4;
    int32_t *c = t->c + (size_t)row * MLA__PANEL + col;
    vi acc[ROWS_MAX][MLA__PANEL / VW];
#pragma GCC unroll 8
    for (int r = 0; r < nr; r++)
#pragma GCC unroll 16
        for (int v = 0; v < nv; v++) acc[r][v] = (vi){0};
    for (int k = 0; k < t->k; k += 4, a += 4, b += 4 * MLA__PANEL) {
        vi bv[MLA__PANEL / VW];
#pragma GCC unroll 16
        for (int v = 0; v < nv; v++) memcpy(&bv[v], b + v * 4 * VW, sizeof bv[v]);
#pragma GCC unroll 8
        for (int r = 0; r < nr; r++) {
            int32_t quad;
            memcpy(&quad, a + (size_t)r * (size_t)t->k, sizeof quad);
            vi av = quad - (vi){0};
#pragma GCC unroll 16
            for (int v = 0; v < nv; v++) acc[r][v] = DOT4(acc[r][v], av, bv[v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < nr; r++)
#pragma GCC unroll 16
        for (int v = 0; v < nv; v++)
            memcpy(c + (size_t)r * MLA__PANEL + v * VW, &acc[r][v], sizeof acc[r][v]);
}

// A single row takes the panel's whole width at once: it waits for memory, which is read in order.
KERNEL static void tile_s8(const mla__tile_s8 *t) {
    int row = 0;
    for (; row + ROWS_MAX <= t->rows; row += ROWS_MAX)
        for (int col = 0; col < MLA__PANEL; col += NV_WIDE * VW)
            s8_block(t, row, col, ROWS_MAX, NV_WIDE);
    for (; row + 2 <= t->rows; row += 2)
        for (int col = 0; col < MLA__PANEL; col += NV_WIDE * VW)
            s8_block(t, row, col, 2, NV_WIDE);
    if (row < t->rows) s8_block(t, row, 0, 1, MLA__PANEL / VW);
}

KERNEL static float quantise(const mla__bf16 *x, size_t n, uint8_t *a) {
    const float round = 12582912.0f; // 1.5 * 2^23: adding it leaves the integer in the low bits
    vf top = splat(0), nan = splat(0);
    for (size_t i = 0; i < n; i += VW) {
        vf v = get_halves(x + i, n - i);
        top = VMAX(top, (vf)((vu)v & 0x7FFFFFFFu));
        nan += v * 0.0f;
    }
    const float most = max_of(top), by = most > 1e-30f ? 127.0f / most : 0;
    for (size_t i = 0; i < n; i += VW) {
        vf v = get_halves(x + i, n - i) * by + round;
        vb bytes = __builtin_convertvector((vi)((vu)v - 0x4B400000u) + S8_BIAS, vb);
        memcpy(a + i, &bytes, n - i < VW ? n - i : VW);
    }
    return most / 127.0f + sum_of(nan);
}

KERNEL static void rescale(const mla__rescale *r) {
    for (size_t i = 0; i < r->n; i += VW) {
        vi c, offset;
        memcpy(&c, r->c + i, sizeof c);
        memcpy(&offset, r->offset + i, sizeof offset);
        vf y = __builtin_convertvector(c - offset, vf) * (load(r->scale + i) * r->by);
        if (r->half)
            put_halves((mla__bf16 *)r->y + i, y, r->n - i);
        else
            store_n((float *)r->y + i, y, r->n - i);
    }
}
