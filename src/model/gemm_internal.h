// What gemm.c and gemm_int8.c share: packed weights and oneDNN's primitives. The rest of the room
// sees model/internal.h.
#ifndef MLA_MODEL_GEMM_INTERNAL_H
#define MLA_MODEL_GEMM_INTERNAL_H

#include <oneapi/dnnl/dnnl.h>

#include "base/mem.h"
#include "model/internal.h"

#define MLA__BLOCK_SIZES 6  // of rows, for oneDNN
#define MLA__PAIR_CHUNK 32  // elements of a panel that oneDNN keeps together; pairs along k

#define MLA__DNNL(call)                                                                            \
    do {                                                                                           \
        dnnl_status_t status_ = (call);                                                            \
        if (status_ != dnnl_success)                                                               \
            mla_panic(__FILE__, __LINE__, "oneDNN status %d: %s", (int)status_, #call);            \
    } while (0)

typedef enum { MLA__FORWARD, MLA__BACK_INPUT, MLA__BACK_WEIGHT } mla__product_kind;

typedef struct mla__product { // one primitive with the memory objects it runs on
    mla__product_kind kind;
    int m, k, n;
    bool dst_f32;
    dnnl_primitive_t primitive;
    dnnl_memory_t src, weights, dst;
} mla__product;

typedef struct mla__probed { // what was found out about a shape of weights
    int out, in;
    bool usable[MLA__BLOCK_SIZES];
    bool few; // our tile product sums as oneDNN does: few rows need no whole block
} mla__probed;

struct mla__gemm {
    mla_compute compute;
    const mla__kernels *kernels;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    mla__product *products;
    size_t n_products, cap_products;
    mla__probed *shapes;
    size_t n_shapes, cap_shapes;
    mla__arena scratch;
    mla__arena rows, sums; // of int8 products: quantised rows, whole-number results
};

struct mla__packed {
    int out, in;
    size_t shape; // index into the probed shapes
    // Where the layout is known: output channels in panels of so many, which follow one another;
    // in each, elements along k in groups of four bytes: [in / G, panel, G]. 0: not known.
    int panel;
    dnnl_memory_desc_t desc;
    dnnl_memory_t memory; // NULL for int8
    void *data;
    size_t bytes;
    // int8 only: w = data * scale; offset is what the rows' bias adds to a sum.
    bool by_blocks;  // oneDNN multiplies them too
    int padded;      // columns with the zeros that fill the last group
    float *scale;    // [out rounded up to PANEL]
    int32_t *offset; // [out rounded up to PANEL]
};

// `packed` is the layout of the weights for FORWARD, NULL otherwise.
mla__product *mla__product_find(mla__gemm *gemm, mla__product_kind kind, int m, int k, int n,
                                bool dst_f32, const dnnl_memory_desc_t *packed);
void mla__product_run(mla__gemm *gemm, mla__product *p, const void *src, dnnl_memory_t weights,
                      void *dst);
dnnl_memory_desc_t mla__plain_desc(int rows, int cols, dnnl_data_type_t type,
                                   dnnl_format_tag_t tag);
// NULL where oneDNN has no such product.
dnnl_primitive_desc_t mla__matmul_desc(const mla__gemm *gemm, const dnnl_memory_desc_t *src,
                                       const dnnl_memory_desc_t *weights,
                                       const dnnl_memory_desc_t *dst, bool accumulate);
// Zeroed memory for weights, in large pages where the system has them; free().
void *mla__weights_alloc(size_t bytes);

// gemm_int8.c: what mla__packed_* and mla__gemm_forward do for int8. w [out, in] are floats.
mla__packed *mla__int8_create(mla__gemm *gemm, int out, int in);
void mla__int8_fill(mla__gemm *gemm, mla__packed *packed, const float *w);
void mla__int8_copy(const mla__packed *from, mla__packed *to);
void mla__int8_row(const mla__packed *packed, int row, float *x);
void mla__int8_forward(mla__gemm *gemm, const mla__packed *w, const mla__bf16 *x, void *y,
                       bool y_f32, size_t n);

#endif
