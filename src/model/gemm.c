// Matrix products by oneDNN: weights in oneDNN's own layout for the forward direction, plain ones
// for the backward, primitives cached by shape. Knows nothing of layers.
//
// Rows are fed in blocks of a few fixed sizes, so that any batch needs few primitives. A library
// may sum in another order for another block size; then a row's bits would depend on the batch it
// is in. So each weight shape is probed once: a block size is used only if its rows come out with
// the bits of the smallest block's, wherever in the block they stand.
#include <oneapi/dnnl/dnnl.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"

#define OK(call)                                                                                   \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        if (status_ != dnnl_success)                                                               \
            mla_panic(__FILE__, __LINE__, "oneDNN status %d: %s", (int)status_, #call);            \
    } while (0)

typedef enum { FORWARD, BACK_INPUT, BACK_WEIGHT } product_kind;

typedef struct product { // one primitive with the memory objects it runs on
    product_kind kind;
    int m, k, n;
    bool dst_f32;
    dnnl_primitive_t primitive;
    dnnl_memory_t src, weights, dst;
} product;

static const int block_sizes[] = {256, 64, 16, 1};

typedef struct probed_shape {
    int out, in;
    bool usable[MLA_COUNT(block_sizes)];
} probed_shape;

struct mla__gemm {
    mla_compute compute;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    product *products;
    size_t n_products, cap_products;
    probed_shape *shapes;
    size_t n_shapes, cap_shapes;
    mla__arena scratch;
};

struct mla__packed {
    int out, in;
    size_t shape; // index into the probed shapes
    dnnl_memory_desc_t desc;
    dnnl_memory_t memory;
    void *data;
    size_t bytes;
};

static dnnl_data_type_t type_of(const mla__gemm *gemm) {
    return gemm->compute == MLA_COMPUTE_BF16 ? dnnl_bf16 : dnnl_f32;
}

mla__gemm *mla__gemm_create(mla_compute compute) {
    mla__gemm *gemm = MLA_NEW(mla__gemm);
    gemm->compute = compute;
    OK(dnnl_engine_create(&gemm->engine, dnnl_cpu, 0));
    OK(dnnl_stream_create(&gemm->stream, gemm->engine, dnnl_stream_default_flags));
    return gemm;
}

void mla__gemm_free(mla__gemm *gemm) {
    if (!gemm) return;
    for (size_t i = 0; i < gemm->n_products; i++) {
        product *p = &gemm->products[i];
        dnnl_memory_destroy(p->src);
        dnnl_memory_destroy(p->weights);
        dnnl_memory_destroy(p->dst);
        dnnl_primitive_destroy(p->primitive);
    }
    free(gemm->products);
    free(gemm->shapes);
    free(gemm->scratch.data);
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

static dnnl_memory_desc_t plain_desc(int rows, int cols, dnnl_data_type_t type,
                                     dnnl_format_tag_t tag) {
    dnnl_memory_desc_t desc;
    dnnl_dims_t dims = {rows, cols};
    OK(dnnl_memory_desc_init_by_tag(&desc, 2, dims, type, tag));
    return desc;
}

static dnnl_primitive_desc_t matmul(const mla__gemm *gemm, const dnnl_memory_desc_t *src,
                                    const dnnl_memory_desc_t *weights,
                                    const dnnl_memory_desc_t *dst, bool accumulate) {
    dnnl_matmul_desc_t desc;
    dnnl_primitive_attr_t attr;
    dnnl_post_ops_t post;
    dnnl_primitive_desc_t out;
    OK(dnnl_matmul_desc_init(&desc, src, weights, NULL, dst));
    OK(dnnl_primitive_attr_create(&attr));
    OK(dnnl_post_ops_create(&post));
    if (accumulate) OK(dnnl_post_ops_append_sum(post, 1.0f));
    OK(dnnl_primitive_attr_set_post_ops(attr, post));
    OK(dnnl_primitive_desc_create(&out, &desc, attr, gemm->engine, NULL));
    OK(dnnl_post_ops_destroy(post));
    OK(dnnl_primitive_attr_destroy(attr));
    return out;
}

// `packed` is the layout of the weights for FORWARD, NULL otherwise.
static product *find_product(mla__gemm *gemm, product_kind kind, int m, int k, int n, bool dst_f32,
                             const dnnl_memory_desc_t *packed) {
    for (size_t i = 0; i < gemm->n_products; i++) {
        product *p = &gemm->products[i];
        if (p->kind == kind && p->m == m && p->k == k && p->n == n && p->dst_f32 == dst_f32)
            return p;
    }
    MLA_GROW(gemm->products, gemm->cap_products, gemm->n_products + 1);
    product *p = &gemm->products[gemm->n_products++];
    *p = (product){.kind = kind, .m = m, .k = k, .n = n, .dst_f32 = dst_f32};
    dnnl_data_type_t type = type_of(gemm);
    dnnl_memory_desc_t src = plain_desc(m, k, type, kind == BACK_WEIGHT ? dnnl_ba : dnnl_ab);
    dnnl_memory_desc_t weights = packed ? *packed : plain_desc(k, n, type, dnnl_ab);
    dnnl_memory_desc_t dst = plain_desc(m, n, dst_f32 ? dnnl_f32 : type, dnnl_ab);
    dnnl_primitive_desc_t desc = matmul(gemm, &src, &weights, &dst, kind == BACK_WEIGHT);
    OK(dnnl_primitive_create(&p->primitive, desc));
    OK(dnnl_primitive_desc_destroy(desc));
    OK(dnnl_memory_create(&p->src, &src, gemm->engine, DNNL_MEMORY_NONE));
    OK(dnnl_memory_create(&p->weights, &weights, gemm->engine, DNNL_MEMORY_NONE));
    OK(dnnl_memory_create(&p->dst, &dst, gemm->engine, DNNL_MEMORY_NONE));
    return p;
}

static void run_product(mla__gemm *gemm, product *p, const void *src, dnnl_memory_t weights,
                        void *dst) {
    OK(dnnl_memory_set_data_handle(p->src, (void *)(uintptr_t)src));
    OK(dnnl_memory_set_data_handle(p->dst, dst));
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, p->src}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, p->dst}};
    OK(dnnl_primitive_execute(p->primitive, gemm->stream, (int)MLA_COUNT(args), args));
    OK(dnnl_stream_wait(gemm->stream));
}

// ---- packed weights --------------------------------------------------------------------------

static void forward_block(mla__gemm *gemm, const mla__packed *w, const void *x, void *y, bool y_f32,
                          int rows) {
    product *p = find_product(gemm, FORWARD, rows, w->in, w->out, y_f32, &w->desc);
    run_product(gemm, p, x, w->memory, y);
}

// Seven different rows in turn stand at every place of a block; equal rows must have equal results.
static bool block_repeats(mla__gemm *gemm, const mla__packed *w, const unsigned char *x, float *y,
                          const float *want, int rows) {
    forward_block(gemm, w, x, y, true, rows);
    for (int i = 0; i < rows; i++) {
        const float *row = want + (size_t)(i % 7) * (size_t)w->out;
        if (memcmp(y + (size_t)i * (size_t)w->out, row, (size_t)w->out * sizeof *y)) return false;
    }
    return true;
}

static void probe_shape(mla__gemm *gemm, mla__packed *w, probed_shape *shape) {
    const size_t most = 256, element = mla__element(gemm->compute), in = (size_t)w->in;
    unsigned char *x = mla_alloc_aligned(most * in * element);
    float *y = mla_alloc_aligned(most * (size_t)w->out * sizeof *y);
    float *want = mla_alloc_aligned(MLA__ROWS * (size_t)w->out * sizeof *want);
    for (size_t i = 0; i < most * in; i++) {
        size_t row = i / in % 7, col = i % in;
        float value = (float)((row * 37 + col * 101 + row * col * 13) % 251) / 251.0f - 0.5f;
        if (gemm->compute == MLA_COMPUTE_BF16) {
            uint32_t bits;
            memcpy(&bits, &value, sizeof bits);
            ((mla__bf16 *)(void *)x)[i] = (mla__bf16)(bits >> 16);
        } else {
            ((float *)(void *)x)[i] = value;
        }
    }
    forward_block(gemm, w, x, want, true, MLA__ROWS);
    for (size_t i = 0; i < MLA_COUNT(block_sizes); i++)
        shape->usable[i] = block_repeats(gemm, w, x, y, want, block_sizes[i]);
    // Should equal rows differ within the smallest block, only single rows are left.
    if (!shape->usable[2])
        for (size_t i = 0; i < MLA_COUNT(block_sizes); i++) shape->usable[i] = block_sizes[i] == 1;
    free(x);
    free(y);
    free(want);
}

static size_t find_shape(mla__gemm *gemm, mla__packed *w) {
    for (size_t i = 0; i < gemm->n_shapes; i++)
        if (gemm->shapes[i].out == w->out && gemm->shapes[i].in == w->in) return i;
    MLA_GROW(gemm->shapes, gemm->cap_shapes, gemm->n_shapes + 1);
    probed_shape *shape = &gemm->shapes[gemm->n_shapes];
    *shape = (probed_shape){.out = w->out, .in = w->in};
    probe_shape(gemm, w, shape);
    return gemm->n_shapes++;
}

static mla__packed *packed_of(mla__gemm *gemm, const dnnl_memory_desc_t *desc, int out, int in) {
    mla__packed *w = MLA_NEW(mla__packed);
    w->out = out;
    w->in = in;
    w->shape = SIZE_MAX;
    w->desc = *desc;
    w->bytes = dnnl_memory_desc_get_size(desc);
    w->data = mla_alloc_aligned(w->bytes);
    OK(dnnl_memory_create(&w->memory, &w->desc, gemm->engine, w->data));
    return w;
}

mla__packed *mla__packed_create(mla__gemm *gemm, int out, int in) {
    dnnl_data_type_t type = type_of(gemm);
    dnnl_memory_desc_t src = plain_desc(MLA__ROWS, in, type, dnnl_ab);
    dnnl_memory_desc_t any = plain_desc(in, out, type, dnnl_format_tag_any);
    dnnl_memory_desc_t dst = plain_desc(MLA__ROWS, out, dnnl_f32, dnnl_ab);
    dnnl_primitive_desc_t desc = matmul(gemm, &src, &any, &dst, false);
    mla__packed *w =
        packed_of(gemm, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0), out, in);
    OK(dnnl_primitive_desc_destroy(desc));
    return w;
}

void mla__packed_fill(mla__gemm *gemm, mla__packed *packed, const void *w) {
    dnnl_memory_desc_t plain = plain_desc(packed->in, packed->out, type_of(gemm), dnnl_ba);
    dnnl_memory_t from;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    OK(dnnl_memory_create(&from, &plain, gemm->engine, (void *)(uintptr_t)w));
    OK(dnnl_reorder_primitive_desc_create(&desc, &plain, gemm->engine, &packed->desc, gemm->engine,
                                          NULL));
    OK(dnnl_primitive_create(&reorder, desc));
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, packed->memory}};
    OK(dnnl_primitive_execute(reorder, gemm->stream, (int)MLA_COUNT(args), args));
    OK(dnnl_stream_wait(gemm->stream));
    OK(dnnl_primitive_destroy(reorder));
    OK(dnnl_primitive_desc_destroy(desc));
    OK(dnnl_memory_destroy(from));
    if (packed->shape == SIZE_MAX) packed->shape = find_shape(gemm, packed);
}

mla__packed *mla__packed_copy(mla__gemm *gemm, const mla__packed *packed) {
    mla__packed *w = packed_of(gemm, &packed->desc, packed->out, packed->in);
    memcpy(w->data, packed->data, packed->bytes);
    w->shape = find_shape(gemm, w);
    return w;
}

void mla__packed_free(mla__packed *packed) {
    if (!packed) return;
    dnnl_memory_destroy(packed->memory);
    free(packed->data);
    free(packed);
}

// ---- products --------------------------------------------------------------------------------

void mla__gemm_forward(mla__gemm *gemm, const mla__packed *w, const void *x, void *y, bool y_f32,
                       size_t n) {
    const probed_shape *shape = &gemm->shapes[w->shape];
    size_t x_row = (size_t)w->in * mla__element(gemm->compute);
    size_t y_row = (size_t)w->out * (y_f32 ? sizeof(float) : mla__element(gemm->compute));
    size_t rows = mla__round_up(n, MLA__ROWS), at = 0;
    for (size_t i = 0; i < MLA_COUNT(block_sizes); i++) {
        size_t block = (size_t)block_sizes[i];
        if (!shape->usable[i]) continue;
        for (; at + block <= rows; at += block)
            forward_block(gemm, w, (const char *)x + at * x_row, (char *)y + at * y_row, y_f32,
                          (int)block);
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
        product *p = find_product(gemm, BACK_INPUT, (int)block, out, in, dx_f32, NULL);
        OK(dnnl_memory_set_data_handle(p->weights, (void *)(uintptr_t)w));
        run_product(gemm, p, (const char *)dy + at * dy_row, p->weights, (char *)dx + at * dx_row);
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
        product *p = find_product(gemm, BACK_WEIGHT, out, (int)block, in, true, NULL);
        OK(dnnl_memory_set_data_handle(p->weights, (char *)x + at * x_row));
        run_product(gemm, p, (char *)dy + at * dy_row, p->weights, dw);
    }
}
