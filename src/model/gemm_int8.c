// Matrix products with int8 weights, for sampling: a scale for each output channel, and for each
// row of activations one that is found as the row comes. The few largest activations of a row are
// wider whole numbers, since a model's outliers would else leave the others no precision. Sums are
// whole numbers and exact, so a row's bits are the same in whichever product, block or company it
// is computed. Rows come in bf16 and leave as floats or bf16.
//
// Weights lie once, in panels, in the order that oneDNN's blocked layout of bytes has too: it
// multiplies blocks of rows where it can take the panels as they are, our own product the others.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/gemm_internal.h"

#define GROUP 64            // columns are filled up with zeros to whole groups, as oneDNN's are
#define SUMS (256u << 10)   // whole-number results at once: what the caches hold
#define ROWS_AT_ONCE 24     // of our own product, for each panel
#define FEW 6               // rows that are not worth a block of oneDNN's

static const size_t block_sizes[] = {256, 64, 32, MLA__ROWS};

// ---- weights ---------------------------------------------------------------------------------

// Whether oneDNN multiplies weights in this layout with generated code; else it is not used.
static bool takes_panels(const mla__gemm *gemm, const mla__packed *w) {
    if (gemm->kernels->s8_bias != 128) return false;
    dnnl_memory_desc_t src = mla__plain_desc(MLA__ROWS, w->padded, dnnl_u8, dnnl_ab);
    dnnl_memory_desc_t dst = mla__plain_desc(MLA__ROWS, w->out, dnnl_s32, dnnl_ab);
    dnnl_primitive_desc_t desc = mla__matmul_desc(gemm, &src, &w->desc, &dst, false);
    if (!desc) return false;
    const char *name;
    MLA__DNNL(dnnl_primitive_desc_query(desc, dnnl_query_impl_info_str, 0, &name));
    bool good = strstr(name, "brg") != NULL;
    MLA__DNNL(dnnl_primitive_desc_destroy(desc));
    return good;
}

mla__packed *mla__int8_create(mla__gemm *gemm, int out, int in) {
    mla__packed *w = MLA_NEW(mla__packed);
    const size_t rows = mla__round_up((size_t)out, MLA__PANEL);
    w->out = out;
    w->in = in;
    w->panel = MLA__PANEL;
    w->padded = (int)mla__round_up((size_t)in, GROUP);
    w->bytes = rows * (size_t)w->padded;
    w->data = mla__weights_alloc(w->bytes);
    w->scale = mla_alloc_aligned(rows * sizeof *w->scale);
    w->offset = mla_alloc_aligned(rows * sizeof *w->offset);
    w->desc = mla__plain_desc(w->padded, out, dnnl_s8, dnnl_BA16a64b4a);
    w->by_blocks = takes_panels(gemm, w);
    return w;
}

// The bytes of one output channel: every group of four columns, PANEL groups apart.
static int8_t *channel_of(const mla__packed *w, size_t row) {
    const size_t at = row % MLA__PANEL;
    return (int8_t *)w->data + (row - at) * (size_t)w->padded + 4 * at;
}

static size_t place_of(size_t column) {
    return column / 4 * 4 * MLA__PANEL + column % 4;
}

static void fill_channel(mla__packed *w, size_t row, const float *x, int bias) {
    const float round = 12582912.0f; // 1.5 * 2^23: adding it leaves a rounded integer
    int8_t *to = channel_of(w, row);
    int32_t sum = 0;
    float most = 0;
    for (int i = 0; i < w->in; i++) most = fabsf(x[i]) > most ? fabsf(x[i]) : most;
    const float by = most > 1e-30f ? 127.0f / most : 0;
    for (int i = 0; i < w->in; i++) {
        int8_t q = (int8_t)(x[i] * by + round - round);
        to[place_of((size_t)i)] = q;
        sum += q;
    }
    w->scale[row] = most / 127.0f;
    w->offset[row] = sum * bias;
}

void mla__int8_fill(mla__gemm *gemm, mla__packed *packed, const float *w) {
    const size_t in = (size_t)packed->in;
#pragma omp parallel for schedule(static)
    for (int row = 0; row < packed->out; row++)
        fill_channel(packed, (size_t)row, w + (size_t)row * in, gemm->kernels->s8_bias);
}

void mla__int8_copy(const mla__packed *from, mla__packed *to) {
    const size_t rows = mla__round_up((size_t)from->out, MLA__PANEL);
    memcpy(to->scale, from->scale, rows * sizeof *to->scale);
    memcpy(to->offset, from->offset, rows * sizeof *to->offset);
}

void mla__int8_row(const mla__packed *packed, int row, float *x) {
    const int8_t *from = channel_of(packed, (size_t)row);
    for (int i = 0; i < packed->in; i++)
        x[i] = (float)from[place_of((size_t)i)] * packed->scale[row];
}

// ---- products --------------------------------------------------------------------------------

typedef struct whole { // one product at work
    mla__gemm *gemm;
    const mla__packed *w;
    const uint8_t *a;        // [n, padded]
    const mla__row_s8 *rows; // [n]
    void *y;                 // [n, out] floats or bf16
    bool y_f32;
} whole;

static size_t panels_of(const whole *p) {
    return mla__round_up((size_t)p->w->out, MLA__PANEL) / MLA__PANEL;
}

static const int8_t *panel_at(const whole *p, size_t panel) {
    return (const int8_t *)p->w->data + panel * MLA__PANEL * (size_t)p->w->padded;
}

// A panel's part of one row of y, from its sums.
static void finish(const whole *p, size_t row, size_t panel, const int32_t *c) {
    const size_t first = panel * MLA__PANEL, left = (size_t)p->w->out - first;
    const size_t at = row * (size_t)p->w->out + first;
    const mla__finish_s8 f = {.row = &p->rows[row],
                              .c = c,
                              .b = panel_at(p, panel),
                              .offset = p->w->offset + first,
                              .scale = p->w->scale + first,
                              .y = p->y_f32 ? (void *)((float *)p->y + at)
                                            : (void *)((mla__bf16 *)p->y + at),
                              .half = !p->y_f32,
                              .n = left < MLA__PANEL ? left : MLA__PANEL};
    p->gemm->kernels->finish_s8(&f);
}

static void panel_rows(const whole *p, size_t panel, size_t row, size_t n) {
    int32_t c[ROWS_AT_ONCE * MLA__PANEL];
    const size_t padded = (size_t)p->w->padded;
    for (size_t end = row + n, len; row < end; row += len) {
        len = end - row < ROWS_AT_ONCE ? end - row : ROWS_AT_ONCE;
        const mla__tile_s8 t = {.a = p->a + row * padded,
                                .b = panel_at(p, panel),
                                .c = c,
                                .rows = (int)len,
                                .k = (int)padded};
        p->gemm->kernels->tile_s8(&t);
        for (size_t r = 0; r < len; r++) finish(p, row + r, panel, c + r * MLA__PANEL);
    }
}

static void own_product(const whole *p, size_t row, size_t n) {
    const size_t panels = panels_of(p);
#pragma omp parallel for schedule(dynamic)
    for (size_t panel = 0; panel < panels; panel++) panel_rows(p, panel, row, n);
}

// Rows [row, row + block) by oneDNN, of which `n` are wanted; panels [panel, end).
static void slice_product(const whole *p, size_t row, size_t block, size_t n, size_t panel,
                          size_t end) {
    const size_t first = panel * MLA__PANEL, left = (size_t)p->w->out - first;
    const size_t out = left < (end - panel) * MLA__PANEL ? left : (end - panel) * MLA__PANEL;
    const int padded = p->w->padded;
    // A panel's vectors may read beyond the last row's end.
    int32_t *sums = mla__arena_take(&p->gemm->sums, (block * out + MLA__PANEL) * sizeof *sums);
    const dnnl_memory_desc_t desc = mla__plain_desc(padded, (int)out, dnnl_s8, dnnl_BA16a64b4a);
    mla__product *product =
        mla__product_find(p->gemm, MLA__FORWARD, (int)block, padded, (int)out, true, &desc);
    MLA__DNNL(dnnl_memory_set_data_handle(product->weights,
                                          (void *)(uintptr_t)panel_at(p, panel)));
    mla__product_run(p->gemm, product, p->a + row * (size_t)padded, product->weights, sums);
#pragma omp parallel for schedule(static) if (n * out > MLA__PARALLEL)
    for (size_t at = panel; at < end; at++)
        for (size_t r = 0; r < n; r++)
            finish(p, row + r, at, sums + r * out + (at - panel) * MLA__PANEL);
}

static void block_product(const whole *p, size_t row, size_t block, size_t n) {
    const size_t panels = panels_of(p), slice = SUMS / (block * MLA__PANEL);
    for (size_t at = 0; at < panels; at += slice)
        slice_product(p, row, block, n, at, panels - at < slice ? panels : at + slice);
}

static void quantise_rows(mla__gemm *gemm, const mla__packed *w, const mla__bf16 *x, size_t n,
                          uint8_t *a, mla__row_s8 *rows) {
    const size_t in = (size_t)w->in, padded = (size_t)w->padded;
#pragma omp parallel for schedule(static) if (n * in > MLA__PARALLEL)
    for (size_t i = 0; i < n; i++)
        gemm->kernels->quantise(x + i * in, in, a + i * padded, &rows[i]);
}

static size_t next_block(size_t rows) {
    for (size_t i = 0; i + 1 < MLA_COUNT(block_sizes); i++)
        if (block_sizes[i] <= rows) return block_sizes[i];
    return MLA__ROWS;
}

void mla__int8_forward(mla__gemm *gemm, const mla__packed *w, const mla__bf16 *x, void *y,
                       bool y_f32, size_t n) {
    const size_t whole_rows = mla__round_up(n, MLA__ROWS);
    const size_t bytes = whole_rows * (size_t)w->padded; // a multiple of 64
    uint8_t *a = mla__arena_take(&gemm->rows, bytes + n * sizeof(mla__row_s8));
    mla__row_s8 *rows = (mla__row_s8 *)(void *)(a + bytes);
    quantise_rows(gemm, w, x, n, a, rows);
    const whole p = {.gemm = gemm, .w = w, .a = a, .rows = rows, .y = y, .y_f32 = y_f32};
    for (size_t at = 0, block; at < n; at += block) {
        const size_t left = n - at;
        if (!w->by_blocks || left <= FEW) {
            own_product(&p, at, left);
            return;
        }
        block = next_block(mla__round_up(left, MLA__ROWS));
        block_product(&p, at, block, block < left ? block : left);
    }
}
