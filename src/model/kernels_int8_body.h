// The part of kernels_body.h that computes in whole numbers: products of int8 weights with rows
// that are quantised as they come, and the way back to floats. Included there.
//
// DOT4(acc, a, b) adds the products of four bytes to each lane of 32 bits; S8_BIAS is what its `a`
// bytes have too much: 128 where the instruction takes them unsigned, else 0.

#define KI KERNEL static inline __attribute__((always_inline))

typedef int8_t vb __attribute__((vector_size(VW)));

#define BYTE_OF(x, at) ((vi)((vu)(x) << (24 - 8 * (at))) >> 24)

#ifndef DOT4
#define S8_BIAS 0

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

// ---- rows to whole numbers -------------------------------------------------------------------

#define CHUNK 64 // elements whose largest is found at once

// An element's rank: its magnitude, then its place, the first being the highest. Never 0.
KI vi ranks_of(const mla__bf16 *x, size_t at, size_t n) {
    int32_t lanes[VW];
    for (int i = 0; i < VW; i++) lanes[i] = i;
    vi place, half = (vi)((vu)get_halves(x + at, n - at) >> 16);
    memcpy(&place, lanes, sizeof place);
    place += (int32_t)at;
    vi rank = (half & 0x7FFF) << 16 | (0xFFFF - place);
    return rank & (place < (int32_t)n);
}

// The highest rank below a limit in the chunk at `at`; 0: none.
KERNEL static int32_t chunk_top(const mla__bf16 *x, size_t at, size_t n, int32_t limit) {
    vi top = {0};
    const size_t end = n - at < CHUNK ? n : at + CHUNK;
    for (size_t i = at; i < end; i += VW) {
        vi rank = ranks_of(x, i, n);
        rank &= rank < limit;
        vi more = rank > top;
        top = (rank & more) | (top & ~more);
    }
    int32_t lanes[VW], best = 0;
    memcpy(lanes, &top, sizeof top);
    for (int i = 0; i < VW; i++) best = lanes[i] > best ? lanes[i] : best;
    return best;
}

// The highest ranks of the row in their order, [MLA__WIDE + 1]; 0 beyond the row's end.
KERNEL static void row_tops(const mla__bf16 *x, size_t n, int32_t *tops) {
    int32_t chunks[MLA__LONGEST / CHUNK];
    const size_t n_chunks = (n + CHUNK - 1) / CHUNK;
    for (size_t i = 0; i < n_chunks; i++) chunks[i] = chunk_top(x, i * CHUNK, n, INT32_MAX);
    for (int t = 0; t <= MLA__WIDE; t++) {
        size_t best = 0;
        for (size_t i = 1; i < n_chunks; i++) best = chunks[i] > chunks[best] ? i : best;
        tops[t] = chunks[best];
        chunks[best] = chunk_top(x, best * CHUNK, n, tops[t]);
    }
}

KI float rank_size(int32_t rank) {
    const uint32_t bits = (uint32_t)rank & 0x7FFF0000u;
    float size;
    memcpy(&size, &bits, sizeof size);
    return size;
}

#define ROUND 12582912.0f // 1.5 * 2^23: adding it leaves the integer in the low bits

KERNEL static void quantise(const mla__bf16 *x, size_t n, uint8_t *a, mla__row_s8 *row) {
    int32_t tops[MLA__WIDE + 1];
    row_tops(x, n, tops);
    const float most = rank_size(tops[0]) / 1048576.0f;
    float rest = rank_size(tops[MLA__WIDE]);
    row->n_wide = 0;
    while (row->n_wide < MLA__WIDE && rank_size(tops[row->n_wide]) > rest * 1.25f) row->n_wide++;
    rest = rank_size(tops[row->n_wide]) / 127.0f;
    row->scale = rest > most ? rest : most;
    const float by = row->scale > 1e-30f ? 1.0f / row->scale : 0;
    for (size_t i = 0; i < n; i += VW) {
        vi q = (vi)((vu)(get_halves(x + i, n - i) * by + ROUND) - 0x4B400000u);
        vb bytes = __builtin_convertvector(q + S8_BIAS, vb);
        memcpy(a + i, &bytes, n - i < VW ? n - i : VW);
    }
    for (int t = 0; t < row->n_wide; t++) {
        const int32_t at = 0xFFFF - (tops[t] & 0xFFFF);
        const float size = by > 0 ? rank_size(tops[t]) * by + ROUND - ROUND : 0;
        row->index[t] = at;
        row->value[t] = x[at] >> 15 ? -(int32_t)size : (int32_t)size;
        a[at] = S8_BIAS;
    }
}

// All of a panel, also where y wants less of it.
KI void add_wide(const mla__finish_s8 *f, vi *c) {
    for (int t = 0; t < f->row->n_wide; t++) {
        const size_t at = (size_t)f->row->index[t];
        const int8_t *b = f->b + at / 4 * 4 * MLA__PANEL;
        const int32_t value = f->row->value[t], left = 24 - 8 * (int32_t)(at % 4);
#pragma GCC unroll 16
        for (int v = 0; v < MLA__PANEL / VW; v++) {
            vi bv;
            memcpy(&bv, b + v * 4 * VW, sizeof bv);
            c[v] += ((vi)((vu)bv << left) >> 24) * value;
        }
    }
}

KERNEL static void finish_s8(const mla__finish_s8 *f) {
    vi c[MLA__PANEL / VW];
#pragma GCC unroll 16
    for (int v = 0; v < MLA__PANEL / VW; v++) {
        vi offset;
        memcpy(&c[v], f->c + v * VW, sizeof c[v]);
        memcpy(&offset, f->offset + v * VW, sizeof offset);
        c[v] -= offset;
    }
    add_wide(f, c);
    for (size_t i = 0; i < f->n; i += VW) {
        vf y = __builtin_convertvector(c[i / VW], vf) * (load(f->scale + i) * f->row->scale);
        if (f->half)
            put_halves((mla__bf16 *)f->y + i, y, f->n - i);
        else
            store_n((float *)f->y + i, y, f->n - i);
    }
}

#undef CHUNK
#undef ROUND
