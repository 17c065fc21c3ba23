// Memory by shape. With e bytes an element of the compute type (bf16 and int8 2, fp32 4), p bytes
// an element of packed weights (int8 1, else e), M the matrices of the layers, V = vocab x dim, N
// the norms and biases, and the other names of the shape:
//
//   weights, frozen     p (M + V) + 4 N: packed matrices, the head among them; and the embedding,
//                       e V, unless it is the head and the packed rows can be had back: with int8,
//                       and with bf16 in whole panels
//   weights, trainable  packed: e (M + V); plain for the way back, in bf16 only, where the master
//                       values do not serve: e (M + V), and e V for a head of its own
//   weights, LoRA       as frozen, the embedding plain, and for the way back plain ones: e M, and
//                       e V for a head of its own
//   scales of int8      8 an output channel
//   angles              4 context head_dim          cosine and sine
//   optimiser           16 a trained value: master, gradient, two moments; of adapters also 2 e,
//                       packed for either direction, of a rank in whole tiles
//   cache               2 e layers kv_heads head_dim a token, in whole pages
//   work                the buffers of transformer.c's work_grow; on the way back also those of
//                       grow_saved, grow_rows, backward.c's back_of, head.c's chunk_of and the
//                       attention's backward_create, which grow with the threads
//
// Left out, being small beside these: the scratch of oneDNN and of the forward attention, lists of
// pages.
#include "model/footprint.h"

#include <omp.h>

#include "model/internal.h"

enum { PREFILL = 512, HEAD_ROWS = 256 };   // rows of a prompt's chunk; of the head's

typedef struct sizes {
    uint64_t dim, hidden, width, qkv, layers, vocab, heads, e;
    uint64_t matrices, vectors, embedding;     // values: M, N, V
    uint64_t channels, p;
    bool tied, rows_packed;
} sizes;

static sizes sizes_of(const mla_model_config *c, mla_compute compute) {
    sizes s = {.dim = (uint64_t)c->dim, .hidden = (uint64_t)c->hidden,
               .width = (uint64_t)c->heads * (uint64_t)c->head_dim,
               .layers = (uint64_t)c->layers, .vocab = (uint64_t)c->vocab,
               .heads = (uint64_t)c->heads, .e = mla__element(compute), .tied = c->tied};
    s.qkv = s.width + 2 * (uint64_t)c->kv_heads * (uint64_t)c->head_dim;
    uint64_t bias = c->arch == MLA_ARCH_QWEN2 ? s.qkv : 0;
    s.matrices = s.layers * (s.dim * s.qkv + s.width * s.dim + 3 * s.dim * s.hidden);
    s.vectors = s.layers * (2 * s.dim + bias) + s.dim;
    s.embedding = s.vocab * s.dim;
    s.channels = s.layers * (s.qkv + 2 * s.dim + 2 * s.hidden) + s.vocab;
    s.p = compute == MLA_COMPUTE_INT8 ? 1 : s.e;
    s.rows_packed = compute == MLA_COMPUTE_INT8 ||
                    (compute == MLA_COMPUTE_BF16 && !(s.dim % 32 || s.vocab % MLA__PANEL));
    return s;
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t weights_of(const sizes *s, mla_compute compute, mla_use use) {
    uint64_t packed = s->p * (s->matrices + s->embedding), embedding = s->e * s->embedding;
    uint64_t back = s->e * s->matrices + (s->tied ? 0 : embedding);
    if (use == MLA_USE_FULL) return packed + (compute == MLA_COMPUTE_F32 ? 0 : embedding + back);
    if (use == MLA_USE_LORA) return packed + embedding + back + 4 * s->vectors;
    uint64_t rows = s->tied && s->rows_packed ? 0 : embedding;
    uint64_t scales = compute == MLA_COMPUTE_INT8 ? 8 * s->channels : 0;
    return packed + rows + scales + 4 * s->vectors;
}

static uint64_t cache_of(const mla_model_config *c, const sizes *s, uint64_t tokens) {
    uint64_t slots = mla__round_up(tokens, MLA__PAGE);
    return slots * 2 * s->layers * (uint64_t)c->kv_heads * (uint64_t)mla__padded_head(c) * s->e;
}

static uint64_t pass_of(const sizes *s, uint64_t rows) {
    return rows * (8 * s->dim + s->e * s->dim + 4 * s->qkv + s->e * (2 * s->width + 3 * s->hidden));
}

// A token's queries, keys and their gradients in the attention's way back.
static uint64_t attention_of(const mla_model_config *c, const sizes *s) {
    uint64_t padded = (uint64_t)mla__padded_head(c), threads = (uint64_t)omp_get_max_threads();
    return padded * (s->heads * (4 * s->e + 4 * threads) + 8 * (uint64_t)c->kv_heads);
}

static uint64_t way_back_of(const mla_model_config *c, const sizes *s, uint64_t rows,
                            bool recompute) {
    uint64_t inputs = 4 * s->dim;
    uint64_t rest = 4 * s->dim + s->e * (2 * s->width + 2 * s->hidden) + 4 * s->heads;
    uint64_t saved = s->layers * inputs + (recompute ? 1 : s->layers) * rest;
    uint64_t back = (4 + s->e) * s->dim + 4 * larger(s->dim, s->width) +
                    4 * larger(s->hidden, s->qkv) + s->e * s->qkv;
    uint64_t head = 8 * HEAD_ROWS * (s->dim + s->vocab);
    return rows * (saved + 3 * 4 * s->dim + back + attention_of(c, s)) + head;
}

// Rows by rank and rank by columns, for each of the seven matrices of a layer.
uint64_t mla_footprint_lora_params(const mla_model_config *config, int rank) {
    const sizes s = sizes_of(config, MLA_COMPUTE_F32);
    uint64_t kv = (s.qkv - s.width) / 2;
    uint64_t ends = (s.width + s.dim) + 2 * (kv + s.dim) + (s.dim + s.width) +
                    3 * (s.hidden + s.dim);
    return (uint64_t)rank * s.layers * ends;
}

uint64_t mla_footprint_params(const mla_model_config *config) {
    const sizes s = sizes_of(config, MLA_COMPUTE_F32);
    return s.matrices + s.vectors + (s.tied ? 1 : 2) * s.embedding;
}

static uint64_t optimiser_of(const mla_model_config *c, const sizes *s, mla_use use, int rank) {
    if (use == MLA_USE_SAMPLE) return 0;
    if (use == MLA_USE_FULL) return 16 * mla_footprint_params(c);
    const int padded = (int)mla__round_up((size_t)rank, 16);
    return 16 * mla_footprint_lora_params(c, rank) +
           2 * s->e * mla_footprint_lora_params(c, padded);
}

mla_footprint mla_footprint_of(const mla_model_config *config, mla_compute compute, mla_use use,
                               int tokens, int rank, bool recompute) {
    const sizes s = sizes_of(config, compute);
    const bool learns = use != MLA_USE_SAMPLE;
    const uint64_t rows = mla__round_up((size_t)tokens, MLA__ROWS);
    mla_footprint f = {.weights = weights_of(&s, compute, use),
                       .optimiser = optimiser_of(config, &s, use, rank),
                       .cache = cache_of(config, &s, rows)};
    f.weights += 4 * (uint64_t)config->max_context * (uint64_t)config->head_dim;
    f.work = pass_of(&s, learns || rows < PREFILL ? rows : PREFILL);
    if (learns) f.work += way_back_of(config, &s, rows, recompute);
    f.total = f.weights + f.optimiser + f.cache + f.work;
    return f;
}
