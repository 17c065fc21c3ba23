// What adapters add to the linears, forward and back. Products with a low rank are too thin for the
// library's blocks, so they go through the tile product of our own: a row's bits do not depend on
// the batch, in any compute type. A product's tiles are added to y while they are in the cache; no
// matrix of the adapter's output is ever made. Only the weights' gradients, sums over all rows, are
// the library's.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/internal.h"

enum { WHOLE = 16, ROWS = 48, COLS = 128 }; // elements of a tile along k; rows, columns of a task

static size_t lanes_of(const mla_model *m, size_t elements) {
    return mla__is_half(m->options.compute) ? elements / 2 : elements;
}

// ---- packing ---------------------------------------------------------------------------------

static void gather(const float *from, size_t step, float by, int n, float *out) {
    for (int j = 0; j < n; j++) out[j] = by * from[(size_t)j * step];
}

void *mla__low_pack(const mla_model *m, void *to, const float *from, size_t row, size_t col,
                    float by, int k, int cols) {
    const size_t depth = mla__round_up((size_t)k, WHOLE), ld = mla__round_up((size_t)cols, WHOLE);
    if (!to) to = mla_alloc_aligned(depth * ld * mla__element(m->options.compute));
    if (!mla__is_half(m->options.compute)) {
        for (int i = 0; i < k; i++)
            gather(from + (size_t)i * row, col, by, cols, (float *)to + (size_t)i * ld);
        return to;
    }
    float *line = MLA_NEW_ARRAY(float, ld);
    mla__bf16 *half = MLA_NEW_ARRAY(mla__bf16, ld), *pairs = to;
    for (size_t i = 0; i < (size_t)k; i++) {
        gather(from + i * row, col, by, cols, line);
        m->kernels->to_bf16(line, half, ld);
        for (size_t j = 0; j < ld; j++) pairs[(i / 2 * ld + j) * 2 + i % 2] = half[j];
    }
    free(line);
    free(half);
    return to;
}

// ---- dropout ---------------------------------------------------------------------------------

typedef struct drop { // what is kept is a function of the seed, the row and the column
    uint64_t seed;
    uint32_t below; // of 65536: dropped
    float scale;    // of what is kept
} drop;

static bool drop_of(const mla_model *m, const mla__work *w, size_t adapter, int layer,
                    mla__which which, drop *out) {
    const mla__adapter *a = m->adapters[adapter];
    if (!w->dropout || !a->trainable) return false;
    out->below = (uint32_t)(a->options.dropout * 65536.0f + 0.5f);
    out->scale = 65536.0f / (float)(65536 - out->below);
    out->seed = mla_rng_derive(w->dropout, adapter, (uint64_t)layer, which);
    return out->below > 0;
}

// Columns [at, at + n) of a row; at % 4 == 0: a mixed word (splitmix64's end) serves four.
static void drop_row(const drop *d, size_t row, size_t at, size_t n, float *x) {
    const uint64_t base = d->seed + row * UINT64_C(0xD1B54A32D192ED03);
    for (size_t i = 0; i < n; i += 4) {
        uint64_t z = base + ((at + i) / 4 + 1) * UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
        for (size_t j = i; j < i + 4 && j < n; j++, z >>= 16)
            x[j] = (z & 0xFFFF) < d->below ? 0 : x[j] * d->scale;
    }
}

// x [n, in] with what the mask drops.
static void *dropped(const mla_model *m, mla__work *w, const drop *d, const void *x, size_t n,
                     size_t in) {
    const size_t row = in * mla__element(m->options.compute);
    char *out = mla__arena_take(&w->low_x, mla__round_up(n, MLA__ROWS) * row);
#pragma omp parallel for schedule(static) if (n * in > MLA__PARALLEL)
    for (size_t i = 0; i < n; i++)
        for (size_t at = 0; at < in; at += COLS) {
            const size_t len = in - at < COLS ? in - at : COLS;
            float part[COLS];
            if (mla__is_half(m->options.compute)) {
                m->kernels->from_bf16((const mla__bf16 *)x + i * in + at, part, len);
                drop_row(d, i, at, len, part);
                m->kernels->to_bf16(part, (mla__bf16 *)(void *)out + i * in + at, len);
            } else {
                memcpy(part, (const float *)x + i * in + at, len * sizeof *part);
                drop_row(d, i, at, len, part);
                memcpy((float *)(void *)out + i * in + at, part, len * sizeof *part);
            }
        }
    return out;
}

// ---- products --------------------------------------------------------------------------------

typedef struct product {  // y [n, cols] = x [n, k] times the packed matrix, or added to y
    const void *x;        // compute type, rows ldx apart
    const void *packed;   // [k, cols], from mla__low_pack
    void *y;              // floats if `y_f32`, else compute type; rows ldy apart
    size_t ldx, ldy;
    int k, cols;
    bool y_f32, add;
    const drop *mask;     // on what is added; or NULL
} product;

static void finish_row(const mla_model *m, const product *p, size_t row, size_t at, float *sum,
                       size_t n) {
    const size_t to = row * p->ldy + at;
    if (p->mask) drop_row(p->mask, row, at, n, sum);
    if (p->y_f32 || !mla__is_half(m->options.compute)) {
        float *y = (float *)p->y + to;
        if (p->add) m->kernels->add(y, sum, n);
        else memcpy(y, sum, n * sizeof *y);
        return;
    }
    mla__bf16 *y = (mla__bf16 *)p->y + to;
    float old[COLS];
    if (p->add) {
        m->kernels->from_bf16(y, old, n);
        m->kernels->add(sum, old, n);
    }
    m->kernels->to_bf16(sum, y, n);
}

static void run_tile(const mla_model *m, const product *p, size_t row, size_t col, size_t rows,
                     size_t cols) {
    float sums[ROWS * COLS];
    const size_t element = mla__element(m->options.compute);
    const mla__tile t = {.a = (const char *)p->x + row * p->ldx * element,
                         .b = (const uint32_t *)p->packed + col,
                         .c = sums,
                         .lda = (int)lanes_of(m, p->ldx),
                         .ldb = (int)mla__round_up((size_t)p->cols, WHOLE),
                         .ldc = COLS,
                         .rows = (int)rows,
                         .k = (int)lanes_of(m, mla__round_up((size_t)p->k, WHOLE)),
                         .cols = (int)mla__round_up(cols, WHOLE)};
    if (mla__is_half(m->options.compute)) m->kernels->tile_bf16(&t);
    else m->kernels->tile_f32(&t);
    for (size_t i = 0; i < rows; i++) finish_row(m, p, row + i, col, sums + i * COLS, cols);
}

// x again where tiles would read beyond its rows, or between its lanes.
static const void *in_whole_tiles(const mla_model *m, mla__arena *arena, const product *p,
                                  size_t n) {
    const size_t element = mla__element(m->options.compute), k = (size_t)p->k;
    if (k % WHOLE == 0 && p->ldx % 2 == 0 && (uintptr_t)p->x % 4 == 0) return p->x;
    const size_t ld = mla__round_up(k, WHOLE);
    char *out = mla__arena_take(arena, n * ld * element);
    for (size_t i = 0; i < n; i++) {
        memcpy(out + i * ld * element, (const char *)p->x + i * p->ldx * element, k * element);
        memset(out + (i * ld + k) * element, 0, (ld - k) * element);
    }
    return out;
}

static void run_product(const mla_model *m, mla__work *w, product p, size_t n) {
    const void *x = in_whole_tiles(m, &w->low_padded, &p, n);
    if (x != p.x) p.ldx = mla__round_up((size_t)p.k, WHOLE);
    p.x = x;
    const size_t all = (size_t)p.cols, wide = (all + COLS - 1) / COLS;
    const size_t tasks = (n + ROWS - 1) / ROWS * wide;
#pragma omp parallel for schedule(static) if (n * all * (size_t)p.k > (size_t)16 * MLA__PARALLEL)
    for (size_t task = 0; task < tasks; task++) {
        const size_t row = task / wide * ROWS, col = task % wide * COLS;
        run_tile(m, &p, row, col, n - row < ROWS ? n - row : ROWS,
                 all - col < COLS ? all - col : COLS);
    }
}

static void *columns(const mla_model *m, const void *x, size_t at) {
    return (char *)(uintptr_t)x + at * mla__element(m->options.compute);
}

// [n, inner] in an arena: A x, or what flows back to it.
static void *take_inner(const mla_model *m, mla__arena *arena, const mla__low_rank *r, size_t n) {
    return mla__arena_take(arena, mla__round_up(n, MLA__ROWS) * (size_t)r->inner *
                                      mla__element(m->options.compute));
}

static void *go_down(const mla_model *m, mla__work *w, const mla__low_rank *r, const void *x,
                     size_t n) {
    const product down = {.x = x, .ldx = (size_t)r->in, .packed = r->down, .k = r->in,
                          .cols = r->inner, .y = take_inner(m, &w->low_t, r, n),
                          .ldy = (size_t)r->inner};
    run_product(m, w, down, n);
    return down.y;
}

// ---- forward ---------------------------------------------------------------------------------

static const mla__low_rank *active(const mla_model *m, size_t adapter, int layer,
                                   mla__which which) {
    const mla__adapter *a = m->adapters[adapter];
    if (m->apart || (m->reference && a->trainable)) return NULL;
    return mla__adapter_part(a, layer, which);
}

static void forward_one(const mla_model *m, mla__work *w, const mla__low_rank *r, const void *x,
                        void *y, bool y_f32, size_t n) {
    const size_t element = y_f32 ? sizeof(float) : mla__element(m->options.compute);
    const int padded = r->inner / r->n_parts;
    const void *t = go_down(m, w, r, x, n);
    for (int i = 0; i < r->n_parts; i++) {
        const mla__low_part *part = &r->parts[i];
        const product up = {.x = columns(m, t, (size_t)(i * padded)), .ldx = (size_t)r->inner,
                            .packed = part->up, .k = padded, .cols = part->out,
                            .y = (char *)y + (size_t)part->at * element, .ldy = (size_t)r->out,
                            .y_f32 = y_f32, .add = true};
        run_product(m, w, up, n);
    }
}

void mla__low_forward(const mla_model *m, mla__work *work, int layer, mla__which which,
                      const void *x, void *y, bool y_f32, size_t n) {
    for (size_t i = 0; i < m->n_adapters; i++) {
        const mla__low_rank *r = active(m, i, layer, which);
        drop d;
        if (!r) continue;
        bool drops = drop_of(m, work, i, layer, which, &d);
        forward_one(m, work, r, drops ? dropped(m, work, &d, x, n, (size_t)r->in) : x, y, y_f32, n);
    }
}

// ---- back ------------------------------------------------------------------------------------

// [n, inner]: dy (scale B), each part from its own columns.
static void *go_back_up(const mla_model *m, mla__work *w, const mla__low_rank *r, const void *dy,
                        size_t n) {
    const int padded = r->inner / r->n_parts;
    void *dt = take_inner(m, &w->low_dt, r, n);
    for (int i = 0; i < r->n_parts; i++) {
        const mla__low_part *part = &r->parts[i];
        const product back = {.x = columns(m, dy, (size_t)part->at), .ldx = (size_t)r->out,
                              .packed = part->back_up, .k = part->out, .cols = padded,
                              .y = columns(m, dt, (size_t)(i * padded)),
                              .ldy = (size_t)r->inner};
        run_product(m, w, back, n);
    }
    return dt;
}

// dB += scale dy^T (A x). One product for all parts: of its blocks, those on the diagonal are used.
static void add_db(const mla_model *m, mla__work *w, const mla__adapter *a, const mla__low_rank *r,
                   void *dy, void *t, size_t n) {
    const size_t inner = (size_t)r->inner, padded = (size_t)a->padded;
    const size_t rank = (size_t)a->options.rank, bytes = (size_t)r->out * inner * sizeof(float);
    float *dw = mla__arena_take(&w->low_dw, bytes);
    memset(dw, 0, bytes);
    mla__gemm_back_weight(m->gemm, dy, t, dw, n, r->out, r->inner);
    for (int i = 0; i < r->n_parts; i++) {
        const mla__low_part *part = &r->parts[i];
        for (int o = 0; o < part->out; o++) {
            const float *from = dw + (size_t)(part->at + o) * inner + (size_t)i * padded;
            float *to = part->db + (size_t)o * rank;
            for (size_t j = 0; j < rank; j++) to[j] += a->scale * from[j];
        }
    }
}

static void backward_one(const mla_model *m, mla__work *w, size_t adapter, int layer,
                         mla__which which, void *dy, void *x, float *dx, size_t n) {
    const mla__adapter *a = m->adapters[adapter];
    const mla__low_rank *r = active(m, adapter, layer, which);
    drop d;
    if (!r) return;
    const bool drops = drop_of(m, w, adapter, layer, which, &d);
    void *dt = go_back_up(m, w, r, dy, n);
    if (a->trainable) {
        void *seen = drops ? dropped(m, w, &d, x, n, (size_t)r->in) : x;
        add_db(m, w, a, r, dy, go_down(m, w, r, seen, n), n);
        mla__gemm_back_weight(m->gemm, dt, seen, r->da, n, r->inner, r->in);
    }
    const product down = {.x = dt, .ldx = (size_t)r->inner, .packed = r->back_down, .k = r->inner,
                          .cols = r->in, .y = dx, .ldy = (size_t)r->in, .y_f32 = true, .add = true,
                          .mask = drops ? &d : NULL};
    run_product(m, w, down, n);
}

void mla__low_backward(const mla_model *m, mla__work *work, int layer, mla__which which, void *dy,
                       void *x, float *dx, size_t n) {
    for (size_t i = 0; i < m->n_adapters; i++)
        backward_one(m, work, i, layer, which, dy, x, dx, n);
}
