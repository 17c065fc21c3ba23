// The layers, backward, in the reverse order of transformer.c. What is cheap (norms, the gate) is
// computed again from what the forward pass kept.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"

static void free_buffers(mla__back *b) {
    free(b->dx);
    free(b->dx16);
    free(b->dh);
    free(b->wide);
    free(b->dqkv);
}

void mla__back_free(mla__back *back) {
    if (!back) return;
    free_buffers(back);
    free(back);
}

static size_t larger(size_t a, size_t b) {
    return a > b ? a : b;
}

static mla__back *back_of(mla_activations *acts) {
    if (!acts->back) acts->back = MLA_NEW(mla__back);
    mla__back *b = acts->back;
    if (b->cap >= (size_t)acts->n) return b;
    const mla_model_config *c = &acts->model->config;
    const size_t cap = b->cap = mla__round_up((size_t)acts->n, MLA__ROWS);
    const size_t dim = (size_t)c->dim, width = (size_t)(c->heads * c->head_dim);
    const size_t qkv = width + 2 * (size_t)(c->kv_heads * c->head_dim);
    const size_t element = mla__element(acts->model->options.compute);
    free_buffers(b);
    b->dx = mla_alloc_aligned(cap * dim * sizeof(float));
    b->dx16 = mla_alloc_aligned(cap * dim * element);
    b->dh = mla_alloc_aligned(cap * larger(dim, width) * sizeof(float));
    b->wide = mla_alloc_aligned(cap * larger((size_t)c->hidden, qkv) * sizeof(float));
    b->dqkv = mla_alloc_aligned(cap * qkv * element);
    return b;
}

// ---- one layer -------------------------------------------------------------------------------

static void to_compute(const mla_model *m, const float *x, void *y, size_t n, size_t cols) {
    mla__ops_to_compute(m->kernels, m->options.compute, x, y, n, cols);
}

// Of y = x w^T, given dy: dw += dy^T x where w is trained, dx = dy w; the same of its adapters.
static void linear_back(const mla_model *m, mla__work *w, int layer, mla__which which, void *dy,
                        void *x, float *dx, size_t n) {
    const mla__linear *l = mla__linear_of(&m->layers[layer], which);
    if (l->grad) mla__gemm_back_weight(m->gemm, dy, x, l->grad, n, l->out, l->in);
    mla__gemm_back_input(m->gemm, dy, l->plain, dx, true, n, l->out, l->in);
    mla__low_backward(m, w, layer, which, dy, x, dx, n);
}

// Of h = norm(x), given dh: its own gradients, and dx is added to.
static void norm_back(const mla_model *m, const mla__vector *norm, const float *x, const float *dh,
                      float *dx, size_t n) {
    mla__ops_norm_back(m->kernels, x, norm->data, m->config.norm_eps, dh, dx, norm->grad, n,
                       (size_t)m->config.dim);
}

static void *norm_again(const mla_model *m, const mla__vector *norm, const float *x, void *h,
                        size_t n) {
    mla__ops_norm(m->kernels, m->options.compute, false, x, norm->data, m->config.norm_eps, h, n,
                  (size_t)m->config.dim);
    return h;
}

static void feed_back(const mla_model *m, mla__work *w, mla__back *b, int layer, mla__saved *s,
                      size_t n) {
    const mla__layer *l = &m->layers[layer];
    const size_t hidden = (size_t)m->config.hidden;
    to_compute(m, b->dx, b->dx16, n, (size_t)m->config.dim);
    mla__ops_swiglu(m->kernels, m->options.compute, s->gate_up, w->act, n, hidden);
    linear_back(m, w, layer, MLA__DOWN, b->dx16, w->act, b->wide, n);
    mla__ops_swiglu_back(m->kernels, m->options.compute, s->gate_up, b->wide, n, hidden);
    linear_back(m, w, layer, MLA__GATE_UP, s->gate_up, norm_again(m, &l->norm2, s->mid, w->h, n),
                b->dh, n);
    norm_back(m, &l->norm2, s->mid, b->dh, b->dx, n);
}

static void rope_back(const mla_model *m, const mla__work *w, float *dqkv, int n) {
    const mla_model_config *c = &m->config;
    const size_t half = (size_t)c->head_dim / 2, stride = (size_t)m->layers[0].qkv.out;
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        const mla__span *span = &w->spans[w->span_of[i]];
        size_t pos = (size_t)(span->pos + i - span->row);
        m->kernels->rope(dqkv + (size_t)i * stride, c->heads + c->kv_heads, c->head_dim,
                         m->cosine + pos * half, m->sine + pos * half, -1);
    }
}

// grad [cols] += the sum of the rows of dy, each column in the order of the rows.
static void bias_back(const mla_model *m, const float *dy, size_t n, size_t cols, float *grad) {
    const size_t part = 64;
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < cols; at += part)
        for (size_t i = 0; i < n; i++)
            m->kernels->add(grad + at, dy + i * cols + at, cols - at < part ? cols - at : part);
}

static void attend_back(const mla_model *m, const mla_activations *acts, mla__back *b, int layer,
                        mla__saved *s) {
    const mla__layer *l = &m->layers[layer];
    mla__work *w = acts->kv->work;
    const size_t n = (size_t)acts->n, qkv = (size_t)l->qkv.out;
    to_compute(m, b->dx, b->dx16, n, (size_t)m->config.dim);
    linear_back(m, w, layer, MLA__O, b->dx16, s->attn, b->dh, n);
    const mla__attention a = {.model = m,
                              .kv = acts->kv,
                              .layer = layer,
                              .spans = w->spans,
                              .n_spans = w->n_spans,
                              .rows = acts->n,
                              .arena = &w->attention};
    mla__attention_backward(&a, acts->token, s->q, s->attn, s->lse, b->dh, b->wide);
    rope_back(m, w, b->wide, acts->n);
    if (l->qkv_bias.grad) bias_back(m, b->wide, n, qkv, l->qkv_bias.grad);
    to_compute(m, b->wide, b->dqkv, n, qkv);
    linear_back(m, w, layer, MLA__QKV, b->dqkv, norm_again(m, &l->norm1, s->x, w->h, n), b->dh, n);
    norm_back(m, &l->norm1, s->x, b->dh, b->dx, n);
}

// Tokens repeat, so threads share columns and not rows.
static void embed_back(const mla_model *m, const int32_t *ids, size_t n, const float *dx) {
    const size_t dim = (size_t)m->config.dim, part = 64;
#pragma omp parallel for schedule(static)
    for (size_t at = 0; at < dim; at += part)
        for (size_t i = 0; i < n; i++)
            m->kernels->add(m->embed.grad + (size_t)ids[i] * dim + at, dx + i * dim + at,
                            dim - at < part ? dim - at : part);
}

void mla_transformer_backward(mla_model *model, const mla_token_batch *batch,
                              mla_activations *acts) {
    MLA_ASSERT(acts->model == model && acts->n == batch->n && mla_model_params(model));
    MLA_ASSERT(!model->reference && !model->apart);
    MLA_ASSERT(acts->kept && acts->kv->version == model->version);
    if (!acts->grad_started) return;
    mla__back *b = back_of(acts);
    const size_t n = (size_t)acts->n;
    memset(b->dx, 0, n * (size_t)model->config.dim * sizeof *b->dx);
    norm_back(model, &model->norm, acts->last, acts->d_hidden, b->dx, n);
    for (int last = model->config.layers - 1, i = last; i >= 0; i--) {
        if (acts->recompute && i < last) mla__layer_again(acts, i);
        feed_back(model, acts->kv->work, b, i, &acts->saved[i], n);
        attend_back(model, acts, b, i, &acts->saved[i]);
    }
    if (model->embed.grad) embed_back(model, batch->ids, n, b->dx);
    acts->kept = false; // the gates were overwritten on the way
}
