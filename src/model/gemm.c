// Matrix products by oneDNN: weights in oneDNN's own layout for the forward direction, plain ones
// for the backward, primitives cached by shape. Knows nothing of layers. int8 is in gemm_int8.c.
//
// Rows are fed in blocks of a few fixed sizes, so that any batch needs few primitives. A library
// may sum in another order for another block size; then a row's bits would depend on the batch it
// is in. So each weight shape is probed once: a block size is used only if its rows come out with
// the bits of the smallest block's, wherever in the block they stand.
//
// A few rows in a block of 16 would be mostly arithmetic on padding. Where the layout of the packed
// weights is understood, and our own product turns out to have oneDNN's bits too, a few rows go
// through that one, which reads the weights once, in the order in which they lie.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/gemm_internal.h"

static const int block_sizes[MLA__BLOCK_SIZES] = {1024, 256, 64, 32, MLA__ROWS, 1};

// A head is as wide as its vocabulary; 1024 rows of it would be more memory than the model.
#define LARGE_OUT 32768

static dnnl_data_type_t type_of(const mla__gemm *gemm) {
    return gemm->compute == MLA_COMPUTE_BF16 ? dnnl_bf16 : dnnl_f32;
}

mla__gemm *mla__gemm_create(mla_compute compute) {
    mla__gemm *gemm = MLA_NEW(mla__gemm);
    gemm->compute = compute;
    gemm->kernels = mla__kernels_best();
    MLA__DNNL(dnnl_engine_create(&gemm->engine, dnnl_cpu, 0));
    MLA__DNNL(dnnl_stream_create(&gemm->stream, gemm->engine, dnnl_stream_default_flags));
    return gemm;
}

void mla__gemm_free(mla__gemm *gemm) {
    if (!gemm) return;
    for (size_t i = 0; i < gemm->n_products; i++) {
        mla__product *p = &gemm->products[i];
        dnnl_memory_destroy(p->src);
        dnnl_memory_destroy(p->weights);
        dnnl_memory_destroy(p->dst);
        dnnl_primitive_destroy(p->primitive);
    }
    free(gemm->products);
    free(gemm->shapes);
    free(gemm->scratch.data);
    free(gemm->rows.data);
    free(gemm->sums.data);
    dnnl_stream_destroy(gemm->stream);
    dnnl_engine_destroy(gemm->engine);
    free(gemm);
}

void *mla__arena_take(mla__arena *arena, size_t bytes) {
    if (bytes > arena->bytes) {
        free(arena->data);
        arena->data = mla_alloc_aligned(bytes);
        arena->bytes = bytes;
    }
    return arena->data;
}

void *mla__gemm_scratch(mla__gemm *gemm, size_t bytes) {
    return mla__arena_take(&gemm->scratch, bytes);
}

// ---- primitives ------------------------------------------------------------------------------

dnnl_memory_desc_t mla__plain_desc(int rows, int cols, dnnl_data_type_t type,
                                   dnnl_format_tag_t tag) {
    dnnl_memory_desc_t desc;
    dnnl_dims_t dims = {rows, cols};
    MLA__DNNL(dnnl_memory_desc_init_by_tag(&desc, 2, dims, type, tag));
    return desc;
}

dnnl_primitive_desc_t mla__matmul_desc(const mla__gemm *gemm, const dnnl_memory_desc_t *src,
                                       const dnnl_memory_desc_t *weights,
                                       const dnnl_memory_desc_t *dst, bool accumulate) {
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t post;
    dnnl_primitive_desc_t out = NULL;
    MLA__DNNL(dnnl_matmul_desc_init(&desc, src, weights, NULL, dst));
    MLA__DNNL(dnnl_primitive_attr_create(&attr));
    MLA__DNNL(dnnl_post_ops_create(&post));
    if (accumulate) MLA__DNNL(dnnl_post_ops_append_sum(post, 1.0f));
    MLA__DNNL(dnnl_primitive_attr_set_post_ops(attr, post));
    if (dnnl_primitive_desc_create(&out, &desc, attr, gemm->engine, NULL)) out = NULL;
    MLA__DNNL(dnnl_post_ops_destroy(post));
    MLA__DNNL(dnnl_primitive_attr_destroy(attr));
    return out;
}

static mla__product *add_product(mla__gemm *gemm, mla__product key,
                                 const dnnl_memory_desc_t *packed) {
    MLA_GROW(gemm->products, gemm->cap_products, gemm->n_products + 1);
    mla__product *p = &gemm->products[gemm->n_products++];
    *p = key;
    const bool whole = gemm->compute == MLA_COMPUTE_INT8, back = key.kind == MLA__BACK_WEIGHT;
    const dnnl_data_type_t type = type_of(gemm);
    const dnnl_data_type_t dst_type = whole ? dnnl_s32 : key.dst_f32 ? dnnl_f32 : type;
    dnnl_memory_desc_t src =
        mla__plain_desc(key.m, key.k, whole ? dnnl_u8 : type, back ? dnnl_ba : dnnl_ab);
    dnnl_memory_desc_t weights = packed ? *packed : mla__plain_desc(key.k, key.n, type, dnnl_ab);
    dnnl_memory_desc_t dst = mla__plain_desc(key.m, key.n, dst_type, dnnl_ab);
    dnnl_primitive_desc_t desc = mla__matmul_desc(gemm, &src, &weights, &dst, back);
    MLA_ASSERT(desc);
    MLA__DNNL(dnnl_primitive_create(&p->primitive, desc));
    MLA__DNNL(dnnl_primitive_desc_destroy(desc));
    MLA__DNNL(dnnl_memory_create(&p->src, &src, gemm->engine, DNNL_MEMORY_NONE));
    MLA__DNNL(dnnl_memory_create(&p->weights, &weights, gemm->engine, DNNL_MEMORY_NONE));
    MLA__DNNL(dnnl_memory_create(&p->dst, &dst, gemm->engine, DNNL_MEMORY_NONE));
    return p;
}

mla__product *mla__product_find(mla__gemm *gemm, mla__product_kind kind, int m, int k, int n,
                                bool dst_f32, const dnnl_memory_desc_t *packed) {
    for (size_t i = 0; i < gemm->n_products; i++) {
        mla__product *p = &gemm->products[i];
        if (p->kind == kind && p->m == m && p->k == k && p->n == n && p->dst_f32 == dst_f32)
            return p;
    }
    const mla__product key = {.kind = kind, .m = m, .k = k, .n = n, .dst_f32 = dst_f32};
    return add_product(gemm, key, packed);
}

void mla__product_run(mla__gemm *gemm, mla__product *p, const void *src, dnnl_memory_t weights,
                      void *dst) {
    MLA__DNNL(dnnl_memory_set_data_handle(p->src, (void *)(uintptr_t)src));
    MLA__DNNL(dnnl_memory_set_data_handle(p->dst, dst));
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, p->src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, p->dst}};
    MLA__DNNL(dnnl_primitive_execute(p->primitive, gemm->stream, (int)MLA_COUNT(args), args));
    MLA__DNNL(dnnl_stream_wait(gemm->stream));
}

// ---- probing a shape of weights --------------------------------------------------------------

static void forward_block(mla__gemm *gemm, const mla__packed *w, const void *x, void *y, bool y_f32,
                          int rows) {
    mla__product *p =
        mla__product_find(gemm, MLA__FORWARD, rows, w->in, w->out, y_f32, &w->desc);
    mla__product_run(gemm, p, x, w->memory, y);
}

// y [n, out] = x [n, in] w^T panel by panel, n <= MLA__FEW.
static void forward_few(const mla__gemm *gemm, const mla__packed *w, const void *x, void *y,
                        bool y_f32, int n) {
    const int panels = w->out / w->panel, lanes = w->in / 2;
#pragma omp parallel for schedule(dynamic)
    for (int p = 0; p < panels; p++) {
        float sums[MLA__FEW * MLA__PANEL];
        const size_t first = (size_t)p * (size_t)w->panel;
        float *c = y_f32 ? (float *)y + first : sums;
        const mla__tile t = {.a = x,
                             .b = (const mla__bf16 *)w->data + first * (size_t)w->in,
                             .c = c,
                             .lda = lanes,
                             .ldb = w->panel,
                             .ldc = y_f32 ? w->out : w->panel,
                             .rows = n,
                             .k = lanes,
                             .cols = w->panel};
        gemm->kernels->tile_bf16(&t);
        for (int r = 0; r < n && !y_f32; r++)
            gemm->kernels->to_bf16(sums + r * w->panel,
                                   (mla__bf16 *)y + (size_t)r * (size_t)w->out + first,
                                   (size_t)w->panel);
    }
}

typedef struct probe {
    size_t most;      // rows of the largest block to try
    unsigned char *x; // [most, in] compute type: seven different rows in turn
    float *y;         // [most, out]
    float *want;      // [ROWS, out]: what a block of the smallest size makes of them
    mla__bf16 *half;  // [ROWS, out]: the same in bf16
} probe;

// Rows of every block must have the bits of `want`, wherever they stand.
static bool block_repeats(mla__gemm *gemm, const mla__packed *w, const probe *p, int rows) {
    forward_block(gemm, w, p->x, p->y, true, rows);
    for (int i = 0; i < rows; i++) {
        const float *row = p->want + (size_t)(i % 7) * (size_t)w->out;
        if (memcmp(p->y + (size_t)i * (size_t)w->out, row, (size_t)w->out * sizeof *row))
            return false;
    }
    return true;
}

static bool few_repeats(mla__gemm *gemm, const mla__packed *w, const probe *p) {
    const size_t out = (size_t)w->out, row = (size_t)w->in * sizeof(mla__bf16);
    mla__bf16 *half = (mla__bf16 *)(void *)p->y;
    for (int n = 1; n <= gemm->kernels->few_rows; n++)
        for (int at = 0; at + n <= MLA__ROWS; at += n) {
            forward_few(gemm, w, p->x + (size_t)at * row, p->y, true, n);
            if (memcmp(p->y, p->want + (size_t)at * out, (size_t)n * out * sizeof *p->y))
                return false;
            forward_few(gemm, w, p->x + (size_t)at * row, half, false, n);
            if (memcmp(half, p->half + (size_t)at * out, (size_t)n * out * sizeof *half))
                return false;
        }
    return true;
}

static bool few_usable(mla__gemm *gemm, const mla__packed *w, const probe *p) {
    if (!w->panel) return false;
    forward_block(gemm, w, p->x, p->half, false, MLA__ROWS);
    return few_repeats(gemm, w, p);
}

static probe probe_create(const mla__gemm *gemm, const mla__packed *w) {
    const size_t in = (size_t)w->in, out = (size_t)w->out;
    const size_t most = out <= LARGE_OUT ? 1024 : 256;
    probe p = {.most = most,
               .x = mla_alloc_aligned(most * in * mla__element(gemm->compute)),
               .y = mla_alloc_aligned(most * out * sizeof(float)),
               .want = mla_alloc_aligned(MLA__ROWS * out * sizeof(float)),
               .half = mla_alloc_aligned(MLA__ROWS * out * sizeof(mla__bf16))};
    for (size_t i = 0; i < most * in; i++) {
        size_t row = i / in % 7, col = i % in;
        float value = (float)((row * 37 + col * 101 + row * col * 13) % 251) / 251.0f - 0.5f;
        if (gemm->compute == MLA_COMPUTE_BF16) {
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            ((mla__bf16 *)(void *)p.x)[i] = (mla__bf16)(bits >> 16);
        } else {
            ((float *)(void *)p.x)[i] = value;
        }
    }
    return p;
}

static void probe_shape(mla__gemm *gemm, const mla__packed *w, mla__probed *shape) {
    const int smallest = MLA__BLOCK_SIZES - 2; // but for single rows
    probe p = probe_create(gemm, w);
    forward_block(gemm, w, p.x, p.want, true, MLA__ROWS);
    for (int i = 0; i < MLA__BLOCK_SIZES; i++)
        shape->usable[i] = (size_t)block_sizes[i] <= p.most &&
                           block_repeats(gemm, w, &p, block_sizes[i]);
    shape->few = few_usable(gemm, w, &p);
    // Should equal rows differ within the smallest block, only single rows are left.
    if (!shape->usable[smallest]) {
        for (int i = 0; i < MLA__BLOCK_SIZES; i++) shape->usable[i] = block_sizes[i] == 1;
        shape->few = false;
    }
    free(p.x);
    free(p.y);
    free(p.want);
    free(p.half);
}

static size_t find_shape(mla__gemm *gemm, const mla__packed *w) {
    for (size_t i = 0; i < gemm->n_shapes; i++)
        if (gemm->shapes[i].out == w->out && gemm->shapes[i].in == w->in) return i;
    MLA_GROW(gemm->shapes, gemm->cap_shapes, gemm->n_shapes + 1);
    mla__probed *shape = &gemm->shapes[gemm->n_shapes];
    *shape = (mla__probed){.out = w->out, .in = w->in};
    probe_shape(gemm, w, shape);
    return gemm->n_shapes++;
}

// ---- packed weights --------------------------------------------------------------------------

void *mla__weights_alloc(size_t bytes) {
    const size_t large = (size_t)2 << 20;
    void *data = NULL;
    if (bytes < 2 * large || posix_memalign(&data, large, bytes)) return mla_alloc_aligned(bytes);
    madvise(data, bytes / large * large, MADV_HUGEPAGE);
    memset(data, 0, bytes);
    return data;
}

// The width of the panels if bf16 weights lie in [panels][k / 2][panel][2], else 0.
static int panel_of(const dnnl_memory_desc_t *desc, int out, int in) {
    const dnnl_blocking_desc_t *b = &desc->format_desc.blocking;
    if (desc->data_type != dnnl_bf16 || desc->format_kind != dnnl_blocked) return 0;
    if (b->inner_nblks != 3 || b->inner_blks[0] != 16 || b->inner_blks[2] != 2) return 0;
    if (b->inner_idxs[0] != 0 || b->inner_idxs[1] != 1 || b->inner_idxs[2] != 0) return 0;
    const int panel = (int)b->inner_blks[1];
    if (panel != MLA__PANEL || in % 32 || out % panel) return 0;
    if (b->strides[0] != 32 * panel || b->strides[1] != (dnnl_dim_t)in * panel) return 0;
    return desc->extra.flags == dnnl_memory_extra_flag_none ? panel : 0;
}

static mla__packed *packed_of(mla__gemm *gemm, const dnnl_memory_desc_t *desc, int out, int in) {
    mla__packed *w = MLA_NEW(mla__packed);
    w->out = out;
    w->in = in;
    w->shape = SIZE_MAX;
    w->desc = *desc;
    w->panel = panel_of(desc, out, in);
    w->bytes = dnnl_memory_desc_get_size(desc);
    w->data = mla__weights_alloc(w->bytes);
    MLA__DNNL(dnnl_memory_create(&w->memory, &w->desc, gemm->engine, w->data));
    return w;
}

mla__packed *mla__packed_create(mla__gemm *gemm, int out, int in) {
    if (gemm->compute == MLA_COMPUTE_INT8) return mla__int8_create(gemm, out, in);
    dnnl_data_type_t type = type_of(gemm);
    dnnl_memory_desc_t src = mla__plain_desc(MLA__ROWS, in, type, dnnl_ab);
    dnnl_memory_desc_t any = mla__plain_desc(in, out, type, dnnl_format_tag_any);
    dnnl_memory_desc_t dst = mla__plain_desc(MLA__ROWS, out, dnnl_f32, dnnl_ab);
    dnnl_primitive_desc_t desc = mla__matmul_desc(gemm, &src, &any, &dst, false);
    MLA_ASSERT(desc);
    mla__packed *w =
        packed_of(gemm, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0), out, in);
    MLA__DNNL(dnnl_primitive_desc_destroy(desc));
    return w;
}

void mla__packed_fill(mla__gemm *gemm, mla__packed *packed, const void *w) {
    if (gemm->compute == MLA_COMPUTE_INT8) {
        mla__int8_fill(gemm, packed, w);
        return;
    }
    dnnl_memory_desc_t plain = mla__plain_desc(packed->in, packed->out, type_of(gemm), dnnl_ba);
    dnnl_memory_t from;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    MLA__DNNL(dnnl_memory_create(&from, &plain, gemm->engine, (void *)(uintptr_t)w));
    MLA__DNNL(dnnl_reorder_primitive_desc_create(&desc, &plain, gemm->engine, &packed->desc,
                                                 gemm->engine, NULL));
    MLA__DNNL(dnnl_primitive_create(&reorder, desc));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, packed->memory}};
    MLA__DNNL(dnnl_primitive_execute(reorder, gemm->stream, (int)MLA_COUNT(args), args));
    MLA__DNNL(dnnl_stream_wait(gemm->stream));
    MLA__DNNL(dnnl_primitive_destroy(reorder));
    MLA__DNNL(dnnl_primitive_desc_destroy(desc));
    MLA__DNNL(dnnl_memory_destroy(from));
    if (packed->shape == SIZE_MAX) packed->shape = find_shape(gemm, packed);
}

mla__packed *mla__packed_copy(mla__gemm *gemm, const mla__packed *packed) {
    mla__packed *w;
    if (gemm->compute == MLA_COMPUTE_INT8)
        w = mla__int8_create(gemm, packed->out, packed->in);
    else
        w = packed_of(gemm, &packed->desc, packed->out, packed->in);
    memcpy(w->data, packed->data, packed->bytes);
    if (gemm->compute == MLA_COMPUTE_INT8)
        mla__int8_copy(packed, w);
    else
        w->shape = find_shape(gemm, w);
    return w;
}

void mla__packed_free(mla__packed *packed) {
    if (!packed) return;
    if (packed->memory) dnnl_memory_destroy(packed->memory);
    free(packed->data);
    free(packed->scale);
    free(packed->offset);
    free(packed);
}

bool mla__packed_has_rows(const mla__packed *packed) {
    return packed->panel != 0;
}

void mla__packed_row(const mla__packed *packed, int row, float *x) {
    MLA_ASSERT(packed->panel && row >= 0 && row < packed->out);
    if (packed->scale) {
        mla__int8_row(packed, row, x);
        return;
    }
    const size_t panel = (size_t)packed->panel, at = (size_t)row % panel;
    const mla__bf16 *from = (const mla__bf16 *)packed->data +
                            ((size_t)row - at) * (size_t)packed->in + 2 * at;
    for (int k = 0; k < packed->in; k++) {
        uint32_t bits = (uint32_t)from[(size_t)(k / 2) * 2 * panel + (size_t)(k % 2)] << 16;
        memcpy(&x[k], &bits, sizeof bits);
    }
}

// ---- products --------------------------------------------------------------------------------

// The largest block that does not pass the rows, which are whole blocks of the smallest size.
static int next_block(const mla__probed *shape, size_t rows) {
    for (int i = 0; i < MLA__BLOCK_SIZES - 1; i++)
        if (shape->usable[i] && (size_t)block_sizes[i] <= rows) return block_sizes[i];
    return 1;
}

void mla__gemm_forward(mla__gemm *gemm, const mla__packed *w, const void *x, void *y, bool y_f32,
                       size_t n) {
    if (gemm->compute == MLA_COMPUTE_INT8) {
        mla__int8_forward(gemm, w, x, y, y_f32, n);
        return;
    }
    const mla__probed *shape = &gemm->shapes[w->shape];
    const size_t x_row = (size_t)w->in * mla__element(gemm->compute);
    const size_t y_row = (size_t)w->out * (y_f32 ? sizeof(float) : mla__element(gemm->compute));
    for (size_t at = 0, block; at < n; at += block) {
        const void *from = (const char *)x + at * x_row;
        void *to = (char *)y + at * y_row;
        const size_t left = n - at;
        if (shape->few && left <= (size_t)gemm->kernels->few_rows) {
            forward_few(gemm, w, from, to, y_f32, (int)left);
            return;
        }
        block = (size_t)next_block(shape, mla__round_up(left, MLA__ROWS));
        forward_block(gemm, w, from, to, y_f32, (int)block);
    }
}

// Blocks for the backward products: any size does, few sizes make few primitives.
static size_t back_block(size_t rows) {
    return rows >= 1024 ? 1024 : rows >= 256 ? 256 : rows >= 64 ? 64 : MLA__ROWS;
}

void mla__gemm_back_input(mla__gemm *gemm, const void *dy, const void *w, void *dx, bool dx_f32,
                          size_t n, int out, int in) {
    size_t element = mla__element(gemm->compute);
    size_t dy_row = (size_t)out * element, dx_row = (size_t)in * (dx_f32 ? sizeof(float) : element);
    size_t rows = mla__round_up(n, MLA__ROWS);
    for (size_t at = 0, block; at < rows; at += block) {
        block = back_block(rows - at);
        mla__product *p =
            mla__product_find(gemm, MLA__BACK_INPUT, (int)block, out, in, dx_f32, NULL);
        MLA__DNNL(dnnl_memory_set_data_handle(p->weights, (void *)(uintptr_t)w));
        mla__product_run(gemm, p, (const char *)dy + at * dy_row, p->weights,
                         (char *)dx + at * dx_row);
    }
}

void mla__gemm_back_weight(mla__gemm *gemm, void *dy, void *x, float *dw, size_t n, int out,
                           int in) {
    size_t element = mla__element(gemm->compute);
    size_t dy_row = (size_t)out * element, x_row = (size_t)in * element;
    size_t rows = mla__round_up(n, MLA__ROWS);
    memset((char *)dy + n * dy_row, 0, (rows - n) * dy_row);
    memset((char *)x + n * x_row, 0, (rows - n) * x_row);
    for (size_t at = 0, block; at < rows; at += block) {
        block = back_block(rows - at);
        mla__product *p =
            mla__product_find(gemm, MLA__BACK_WEIGHT, out, (int)block, in, true, NULL);
        MLA__DNNL(dnnl_memory_set_data_handle(p->weights, (char *)x + at * x_row));
        mla__product_run(gemm, p, (char *)dy + at * dy_row, p->weights, dw);
    }
}
