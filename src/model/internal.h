// What the files of this room share: weights packed for oneDNN, pages of keys and values, the
// attention over them, and the model's own structure. Nothing here is for other rooms.
//
// "Compute type" below is bf16 or float, by the model's mla_compute (where weights are int8: bf16).
// Rows of a batch are stored in buffers rounded up to MLA__ROWS, because products run over whole
// blocks of rows.
#ifndef MLA_MODEL_INTERNAL_H
#define MLA_MODEL_INTERNAL_H

#include "model/adapter.h"
#include "model/kernels.h"

#define MLA__ROWS 16
#define MLA__HEAD_MAX 256   // ceiling of head_dim
#define MLA__PARALLEL 32768 // elements of a row operation that are worth waking threads for
#define MLA__GROUP_MAX 32   // ceiling of query heads to one key head

static inline size_t mla__round_up(size_t n, size_t to) {
    return (n + to - 1) / to * to;
}

// Whether the compute type is bf16.
static inline bool mla__is_half(mla_compute compute) {
    return compute != MLA_COMPUTE_F32;
}

static inline size_t mla__element(mla_compute compute) {
    return mla__is_half(compute) ? sizeof(mla__bf16) : sizeof(float);
}

// ---- gemm.c, gemm_int8.c: matrix products ----------------------------------------------------

typedef struct mla__gemm mla__gemm;     // oneDNN's engine and its primitives, by shape
typedef struct mla__packed mla__packed; // one weight in oneDNN's layout for y = x w^T

mla__gemm *mla__gemm_create(mla_compute compute);
void mla__gemm_free(mla__gemm *gemm);
// Memory that is good until the next call.
void *mla__gemm_scratch(mla__gemm *gemm, size_t bytes);
mla__packed *mla__packed_create(mla__gemm *gemm, int out, int in);
// w [out, in] in the compute type, floats for int8.
void mla__packed_fill(mla__gemm *gemm, mla__packed *packed, const void *w);
mla__packed *mla__packed_copy(mla__gemm *gemm, const mla__packed *packed);
void mla__packed_free(mla__packed *packed);
// Whether single rows of w can be had back, and one of them: x [in].
bool mla__packed_has_rows(const mla__packed *packed);
void mla__packed_row(const mla__packed *packed, int row, float *x);

// y [n, out] = x [n, in] w^T. A row's bits do not depend on n nor on where in x it stands. Rows of
// x and y up to the next multiple of MLA__ROWS are read and written.
void mla__gemm_forward(mla__gemm *gemm, const mla__packed *w, const void *x, void *y, bool y_f32,
                       size_t n);
// dx [n, in] = dy [n, out] w; dx as above.
void mla__gemm_back_input(mla__gemm *gemm, const void *dy, const void *w /* [out, in] */, void *dx,
                          bool dx_f32, size_t n, int out, int in);
// dw [out, in] += dy^T [out, n] x [n, in]; rows of both from n up to the multiple are zeroed here.
void mla__gemm_back_weight(mla__gemm *gemm, void *dy, void *x, float *dw, size_t n, int out,
                           int in);

// ---- ops.c: rows of a batch, in parallel -----------------------------------------------------

// Head size padded so that tiles are whole.
static inline int mla__padded_head(const mla_model_config *config) {
    return (int)mla__round_up((size_t)config->head_dim, 16);
}

// x [n, cols] floats to the compute type.
void mla__ops_to_compute(const mla__kernels *k, mla_compute compute, const float *x, void *y,
                         size_t n, size_t cols);
// y [n, cols] (compute type, or float when `as_f32`) = norm of x [n, cols].
void mla__ops_norm(const mla__kernels *k, mla_compute compute, bool as_f32, const float *x,
                   const float *w, float eps, void *y, size_t n, size_t cols);
// dx [n, cols] and dw [cols], which may be NULL, are added to.
void mla__ops_norm_back(const mla__kernels *k, const float *x, const float *w, float eps,
                        const float *dy, float *dx, float *dw, size_t n, size_t cols);
// gate_up [n, 2 * cols]: gate, then up, in each row; y [n, cols].
void mla__ops_swiglu(const mla__kernels *k, mla_compute compute, const void *gate_up, void *y,
                     size_t n, size_t cols);
// gate_up becomes its own gradient.
void mla__ops_swiglu_back(const mla__kernels *k, mla_compute compute, void *gate_up,
                          const float *dy /* [n, cols] */, size_t n, size_t cols);
void mla__ops_add(const mla__kernels *k, float *y, const float *x, size_t n);

// The same in plain loops and double precision: the oracles of the tests.
void mla__naive_norm(const float *x, const float *w, double eps, size_t n, double *y);
void mla__naive_swiglu(const float *gate, const float *up, size_t n, double *y);
void mla__naive_rope(const float *x, double theta, int position, int dim, double *y);
// One query at the last of n positions; q [dim], k and v [n, dim].
void mla__naive_attention(const float *q, const float *k, const float *v, int n, int dim,
                          double *y);

// ---- kv.c: pages -----------------------------------------------------------------------------

// In a page, for each layer and each key head: keys [head / E, PAGE] lanes of E elements along the
// head, then values [PAGE / E, head] lanes of E elements along positions; E = 1 for fp32, 2 for
// bf16. Pages begin at multiples of PAGE in a sequence, so a child copies its parent's last, partly
// filled page and shares the others.
typedef struct mla__seq {
    int *pages;
    size_t n_pages, cap;
    int length;
    bool open;
} mla__seq;

struct mla_kv {
    const mla_model *model;
    uint64_t version;
    size_t page_bytes, max_pages;
    void **pages; // [n_pages], NULL until first used
    int *refs;    // [n_pages], owners; 0: free
    size_t n_pages, cap_pages, cap_refs;
    size_t n_used; // pages with owners
    mla__seq *seqs;
    size_t n_seqs, cap_seqs;
    struct mla__work *work; // of passes that end in this cache
};

typedef struct mla__tail { // the filled part of a parent's last page, also in its child's
    int from, to, slots;   // page, page, positions; slots == 0: none
} mla__tail;

mla_kv *mla__kv_create(const mla_model *model, size_t max_pages);
// As mla_kv_open, but leaves the copying of the tail to the caller.
int mla__kv_fork(mla_kv *kv, int parent, mla__tail *tail);
// Takes pages for n more positions; all or nothing (-1).
int mla__kv_reserve(mla_kv *kv, int seq, int n);
size_t mla__kv_pages_missing(const mla_kv *kv, int seq, int n);
size_t mla__kv_pages_left(const mla_kv *kv);
void mla__kv_copy_tail(mla_kv *kv, const mla__tail *tail, int layer);
void *mla__kv_keys(const mla_kv *kv, int page, int layer, int head);
void *mla__kv_values(const mla_kv *kv, int page, int layer, int head);

// Memory that grows to what was asked for and stays; its content is not kept.
typedef struct mla__arena {
    void *data;
    size_t bytes;
} mla__arena;

void *mla__arena_take(mla__arena *arena, size_t bytes);

// ---- attention.c -----------------------------------------------------------------------------

// Rows [row, row + n) of a batch are positions [pos, pos + n) of a sequence.
typedef struct mla__span {
    int row, n, pos;
    const int *pages; // [ceil((pos + n) / PAGE)]
} mla__span;

typedef struct mla__attention {
    const mla_model *model;
    const mla_kv *kv;
    int layer;
    const mla__span *spans;
    int n_spans;
    int rows;
    struct mla__arena *arena; // scratch that lives from call to call
} mla__attention;

// out [rows, heads * head_dim] from q of the same shape (both compute type);
// lse [rows, heads] for the backward pass, or NULL.
void mla__attention_forward(const mla__attention *a, const void *q, void *out, float *lse);

// Where a page's slots come from: token[page * PAGE + slot], or -1.
// dqkv [rows, (heads + 2 kv_heads) * head_dim] is overwritten.
void mla__attention_backward(const mla__attention *a, const int *token, const void *q,
                             const void *out, const float *lse, const float *d_out, float *dqkv);

// ---- model.c ---------------------------------------------------------------------------------

typedef struct mla__linear { // y = x w^T, w [out, in]; several of the file's tensors in one
    int out, in;
    mla__packed *packed; // NULL for an embedding that is not the head
    void *plain;         // [out, in] compute type; NULL when neither training nor an embedding
                         // whose rows `packed` does not have
    bool owns_plain;
    float *master, *grad; // [out, in] or NULL
} mla__linear;

typedef struct mla__vector {
    float *data, *grad; // grad NULL when not trainable; data NULL when absent
} mla__vector;

typedef struct mla__layer {
    mla__vector norm1, norm2, qkv_bias;
    mla__linear qkv, o, gate_up, down;
} mla__layer;

typedef enum { MLA__QKV, MLA__O, MLA__GATE_UP, MLA__DOWN, MLA__LINEARS } mla__which;

static inline mla__linear *mla__linear_of(mla__layer *layer, mla__which which) {
    mla__linear *const all[] = {&layer->qkv, &layer->o, &layer->gate_up, &layer->down};
    return all[which];
}

typedef struct mla__adapter mla__adapter;
typedef struct mla__work mla__work;

struct mla_model {
    mla_model_config config;
    mla_model_options options;
    const mla__kernels *kernels;
    mla__gemm *gemm;
    uint64_t version;
    int32_t eos;
    float *master, *grad; // [n_master]; frozen models keep only their vectors in `master`
    size_t n_master;
    mla_param *params; // [n_params], also of a frozen model (data NULL but for vectors)
    size_t n_params;
    mla__linear embed, head; // a tied head shares `plain`, `master` and `grad` with `embed`
    mla__vector norm;
    mla__layer *layers;
    float *cosine, *sine; // [max_context, head_dim / 2]
    mla__adapter **adapters; // [n_adapters]
    size_t n_adapters, cap_adapters;
    bool reference;     // trainable adapters are left out
    mla__linear *apart; // [layers * LINEARS] without adapters, while these are merged; else NULL
};

// w [out, in] in fp32 into the linear; model.c.
void mla__linear_set(mla_model *m, mla__linear *l, const float *w);
// The way back; -1 where the weights are only there in a form that cannot be read.
int mla__linear_get(const mla_model *m, const mla__linear *l, float *w);
void mla__linear_free(mla__linear *l);

// ---- adapter.c -------------------------------------------------------------------------------

typedef struct mla__low_part { // of one of the linear's tensors: columns [at, at + out) of y
    int at, out;
    float *b, *db; // [out, rank]
    void *up;      // packed: scale B^T, [inner of the part, out]
    void *back_up; // scale B, [out, inner of the part]
} mla__low_part;

// What an adapter adds to one linear: y += scale B A x. The A of its parts lie one below the other
// and one product serves them all. `inner`: parts * padded rank.
typedef struct mla__low_rank {
    int in, out, inner, n_parts;
    mla__low_part parts[3];
    float *a, *da;   // [inner, in]; rows from the rank to the padded rank are zero
    void *down;      // packed: A^T, [in, inner]
    void *back_down; // A, [inner, in]
} mla__low_rank;

struct mla__adapter {
    mla_adapter_options options; // base is owned
    bool trainable;
    float scale;
    int padded;            // rank, in whole tiles
    float *master, *grad;  // [n_master]; grad NULL when frozen
    size_t n_master;
    mla_param *params;     // [n_params], PEFT's names
    size_t n_params;
    mla__low_rank *parts;  // [layers * LINEARS]
};

// NULL when the adapter has nothing there.
mla__low_rank *mla__adapter_part(const mla__adapter *a, int layer, mla__which which);
void mla__adapter_pack(const mla_model *m, mla__adapter *a);
void mla__adapters_free(mla_model *m);
// Copies of all adapters, frozen.
void mla__adapters_copy(mla_model *to, const mla_model *from);

// ---- low_rank.c ------------------------------------------------------------------------------

// A matrix [k, cols] for the products below: element (i, j) is by * from[i * row + j * col].
void *mla__low_pack(const mla_model *m, void *to, const float *from, size_t row, size_t col,
                    float by, int k, int cols);
// y [n, out] of the linear (floats if `y_f32`, else compute type) += what the adapters add for x
// [n, in].
void mla__low_forward(const mla_model *m, mla__work *work, int layer, mla__which which,
                      const void *x, void *y, bool y_f32, size_t n);
// dx [n, in] += what flows back through the adapters from dy [n, out]; the gradients of trainable
// ones are added to. Rows of x and dy from n to the next multiple of ROWS are zeroed.
void mla__low_backward(const mla_model *m, mla__work *work, int layer, mla__which which, void *dy,
                       void *x, float *dx, size_t n);

// ---- transformer.c ---------------------------------------------------------------------------

// Scratch of one pass through the layers; buffers of [cap, ...] rows.
struct mla__work {
    size_t cap;
    float *x, *mid; // [cap, dim]: the residual stream, before and after attention
    void *h;        // [cap, dim] compute type
    float *qkv;     // [cap, qkv]
    void *q, *attn; // [cap, heads * head_dim] compute type
    void *gate_up;  // [cap, 2 * hidden] compute type
    void *act;      // [cap, hidden] compute type
    mla__span *spans;
    size_t cap_spans, cap_span_of;
    int n_spans;
    int *span_of; // [rows]
    mla__arena attention;
    uint64_t dropout; // seed of the adapters' masks; 0: nothing is dropped
    mla__arena low_t, low_dt, low_x, low_dw, low_padded; // of low_rank.c
};

mla__work *mla__work_create(void);
void mla__work_free(mla__work *work);
// The layer's forward pass once more, from its x in `saved`, to the same bits: the rest there.
void mla__layer_again(mla_activations *acts, int layer);

typedef struct mla__saved { // what a layer's backward pass needs; [cap_rows, ...]
    float *x, *mid;         // [, dim]
    void *q, *attn;         // [, heads * head_dim] compute type
    float *lse;             // [, heads]
    void *gate_up;          // [, 2 * hidden] compute type
} mla__saved;

typedef struct mla__back { // scratch of the backward pass
    size_t cap;
    float *dx;   // [cap, dim]: gradient of the residual stream; at the end, of the embeddings
    void *dx16;  // the same in the compute type
    float *dh;   // [cap, max(dim, heads * head_dim)]
    float *wide; // [cap, max(hidden, qkv)]
    void *dqkv;  // [cap, qkv] compute type
} mla__back;

struct mla_activations {
    const mla_model *model;
    mla_kv *kv;
    int n; // rows of the last forward
    bool kept, grad_started;
    bool recompute;           // of `saved` each layer has its own x only
    uint64_t dropout;
    size_t cap_rows, cap_saved;
    mla__saved *saved;        // [layers]
    float *last;              // [cap_rows, dim] before the last norm
    float *hidden, *d_hidden; // [cap_rows, dim]
    mla__tail *tails;
    size_t cap_tails, cap_tokens;
    int n_tails;
    int *token; // as mla__attention_backward takes it
    mla__back *back;
};

void mla__back_free(mla__back *back);

#endif
