// The head: hidden states to logits, and log-probabilities with their gradients. Only chosen rows
// are computed, some at a time, and the backward pass computes their logits again: no [n, vocab]
// matrix is kept. Logits and everything after them are fp32.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"

#define CHUNK 256

typedef struct head_chunk { // CHUNK rows at work
    void *x;                // [CHUNK, dim] compute type
    float *logits;          // [CHUNK, vocab]
    void *d_logits;         // [CHUNK, vocab] compute type
    float *dh;              // [CHUNK, dim]
} head_chunk;

// All in the model's scratch; the backward parts only if asked for.
static head_chunk chunk_of(const mla_model *m, size_t rows, bool backward) {
    const size_t vocab = (size_t)m->config.vocab, dim = (size_t)m->config.dim;
    rows = mla__round_up(rows < CHUNK ? rows : CHUNK, MLA__ROWS);
    const size_t x = mla__round_up(rows * dim * sizeof(float), 64);
    const size_t logits = mla__round_up(rows * vocab * sizeof(float), 64);
    char *at = mla__gemm_scratch(m->gemm, 2 * x + (backward ? 2 : 1) * logits);
    head_chunk c = {.x = at, .dh = (float *)(void *)(at + x)};
    c.logits = (float *)(void *)(at + 2 * x);
    c.d_logits = backward ? at + 2 * x + logits : NULL;
    return c;
}

static void chunk_logits(const mla_model *m, const head_chunk *c, const float *hidden,
                         const int *rows, size_t n) {
    const size_t dim = (size_t)m->config.dim;
    for (size_t i = 0; i < n; i++)
        memcpy(c->dh + i * dim, hidden + (size_t)rows[i] * dim, dim * sizeof *hidden);
    mla__ops_to_compute(m->kernels, m->options.compute, c->dh, c->x, n, dim);
    mla__gemm_forward(m->gemm, m->head.packed, c->x, c->logits, true, n);
}

void mla_head_logits(const mla_model *model, const float *hidden, int n, float *logits) {
    const size_t dim = (size_t)model->config.dim, vocab = (size_t)model->config.vocab;
    for (size_t at = 0; at < (size_t)n; at += CHUNK) {
        size_t len = (size_t)n - at < CHUNK ? (size_t)n - at : CHUNK;
        head_chunk c = chunk_of(model, len, false);
        mla__ops_to_compute(model->kernels, model->options.compute, hidden + at * dim, c.x, len,
                            dim);
        mla__gemm_forward(model->gemm, model->head.packed, c.x, c.logits, true, len);
        memcpy(logits + at * vocab, c.logits, len * vocab * sizeof *logits);
    }
}

void mla_head_forward(const mla_model *model, mla_activations *acts, const mla_head_rows *at,
                      float *logprob, float *entropy) {
    const size_t vocab = (size_t)model->config.vocab;
    const float inv_t = 1.0f / at->temperature;
    MLA_ASSERT(at->temperature > 0);
    for (int first = 0; first < at->n; first += CHUNK) {
        int n = at->n - first < CHUNK ? at->n - first : CHUNK;
        head_chunk c = chunk_of(model, (size_t)n, false);
        chunk_logits(model, &c, acts->hidden, at->rows + first, (size_t)n);
#pragma omp parallel for schedule(static)
        for (int i = 0; i < n; i++) {
            const float *row = c.logits + (size_t)i * vocab;
            float lse, mean;
            model->kernels->lse(row, vocab, inv_t, &lse, &mean);
            logprob[first + i] = row[at->targets[first + i]] * inv_t - lse;
            if (entropy) entropy[first + i] = lse - mean;
        }
    }
}

// d(log p_target)/dz_k = (1{k = target} - p_k) / T; d(entropy)/dz_k = -p_k (log p_k + entropy) / T.
// Returns log p_target.
static float row_backward(const mla_model *m, float *row, int32_t target, float inv_t,
                          float d_logprob, float d_entropy, void *out) {
    const size_t vocab = (size_t)m->config.vocab;
    float lse, mean;
    m->kernels->lse(row, vocab, inv_t, &lse, &mean);
    const float logprob = row[target] * inv_t - lse;
    m->kernels->lse_back(row, vocab, inv_t, lse, lse - mean, d_logprob, d_entropy);
    row[target] += d_logprob * inv_t;
    if (mla__is_half(m->options.compute))
        m->kernels->to_bf16(row, out, vocab);
    else
        memcpy(out, row, vocab * sizeof *row);
    return logprob;
}

static void chunk_backward(mla_model *m, mla_activations *acts, const mla_head_rows *at, int first,
                           int n, const float *d_logprob, const float *d_entropy,
                           float *logprob) {
    const size_t vocab = (size_t)m->config.vocab, dim = (size_t)m->config.dim;
    const size_t row_bytes = vocab * mla__element(m->options.compute);
    head_chunk c = chunk_of(m, (size_t)n, true);
    chunk_logits(m, &c, acts->hidden, at->rows + first, (size_t)n);
#pragma omp parallel for schedule(static)
    for (int i = 0; i < n; i++) {
        float got = row_backward(m, c.logits + (size_t)i * vocab, at->targets[first + i],
                                 1.0f / at->temperature, d_logprob[first + i],
                                 d_entropy ? d_entropy[first + i] : 0,
                                 (char *)c.d_logits + (size_t)i * row_bytes);
        if (logprob) logprob[first + i] = got;
    }
    if (m->head.grad)
        mla__gemm_back_weight(m->gemm, c.d_logits, c.x, m->head.grad, (size_t)n, (int)vocab,
                              (int)dim);
    mla__gemm_back_input(m->gemm, c.d_logits, m->head.plain, c.dh, true, (size_t)n, (int)vocab,
                         (int)dim);
    for (int i = 0; i < n; i++)
        m->kernels->add(acts->d_hidden + (size_t)at->rows[first + i] * dim, c.dh + (size_t)i * dim,
                        dim);
}

static void backward(mla_model *model, mla_activations *acts, const mla_head_rows *at,
                     const float *d_logprob, const float *d_entropy, float *logprob) {
    MLA_ASSERT(mla_model_params(model) && acts->kept && at->temperature > 0);
    if (!acts->grad_started)
        memset(acts->d_hidden, 0,
               (size_t)acts->n * (size_t)model->config.dim * sizeof *acts->d_hidden);
    acts->grad_started = true;
    for (int first = 0; first < at->n; first += CHUNK)
        chunk_backward(model, acts, at, first, at->n - first < CHUNK ? at->n - first : CHUNK,
                       d_logprob, d_entropy, logprob);
}

void mla_head_backward(mla_model *model, mla_activations *acts, const mla_head_rows *at,
                       const float *d_logprob, const float *d_entropy) {
    backward(model, acts, at, d_logprob, d_entropy, NULL);
}

void mla_head_learn(mla_model *model, mla_activations *acts, const mla_head_rows *at,
                    const float *d_logprob, float *logprob) {
    backward(model, acts, at, d_logprob, NULL, logprob);
}
