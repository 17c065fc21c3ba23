// Numbers in, numbers and gradients out: the transformer (Llama and Qwen2 architectures), its KV
// cache and its optimiser. Knows no text. The operators behind it are in model/internal.h.
//
// Shapes are row-major, written beside each pointer. One token batch holds any number of segments,
// so that a state's tokens go through the network once for all the actions sampled from it.
#ifndef MLA_MODEL_MODEL_H
#define MLA_MODEL_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/weights.h"

// ---- weights ---------------------------------------------------------------------------------

// In what the products are computed; norms, softmax and logits are fp32 in all. INT8 is for
// sampling, on any processor, and cannot be trained: weights with a scale for each output channel,
// activations with one for each row, found at run time; all else, the KV cache too, as in bf16.
typedef enum { MLA_COMPUTE_F32, MLA_COMPUTE_BF16, MLA_COMPUTE_INT8 } mla_compute;

// The best to train in: bf16 where the processor has AVX-512 (fp32 accumulation), else fp32.
mla_compute mla_compute_best(void);

typedef struct mla_model_options {
    mla_compute compute;
    bool trainable;        // keep fp32 master weights and gradients; else packed weights only
    bool adaptable;        // not trained itself, but keeps what the way back to trainable adapters
                           // needs (model/adapter.h)
} mla_model_options;

typedef struct mla_model mla_model;

// One named parameter of a trainable model, or of a trainable adapter. Names are Hugging Face's or
// PEFT's.
typedef struct mla_param {
    const char *name;
    float *data;           // [rows, cols], fp32 master
    float *grad;           // [rows, cols], accumulated by backward, zeroed by the optimiser
    size_t rows, cols;     // a vector has rows == 1
} mla_param;

// From a GGUF file or a Hugging Face folder. NULL on error.
mla_model *mla_model_load(const char *path, const mla_model_options *options, mla_err *err);
// The same from weights that are already open (borrowed for the call).
mla_model *mla_model_from_weights(const mla_weights *weights, const mla_model_options *options,
                                  mla_err *err);
// Random weights, for tests: normal, standard deviation 0.02 (norms 1).
mla_model *mla_model_random(const mla_model_config *config, const mla_model_options *options,
                            uint64_t seed);
// A copy for sampling or as the reference model: packed weights only, not trainable. `compute` is
// the model's own, or INT8: then its weights as they stand are rounded.
mla_model *mla_model_freeze(const mla_model *model, mla_compute compute);
void mla_model_free(mla_model *model);

const mla_model_config *mla_model_get_config(const mla_model *model);   // borrowed
mla_compute mla_model_get_compute(const mla_model *model);
// What is trained: all of a trainable model, else what trainable adapters have.
size_t mla_model_params(const mla_model *model);
mla_param *mla_model_param(mla_model *model, size_t at);
// To be called after these parameters changed: packs them anew and raises the version, which makes
// every KV cache of the model refuse to go on.
void mla_model_refresh(mla_model *model);
uint64_t mla_model_version(const mla_model *model);
void mla_model_zero_grad(mla_model *model);
// Hugging Face folder: config.json and model.safetensors (bf16 rounded from the masters, or fp32).
MLA_MUST_USE int mla_model_save(const mla_model *model, const char *dir, bool as_f32, mla_err *err);

// ---- training: forward, head, backward -------------------------------------------------------

// Tokens [start, start + len) of a batch. They attend causally to themselves and to all tokens of
// `parent` (an earlier segment, or -1) and of its ancestors; positions go on from the parent's end.
typedef struct mla_segment {
    int start, len, parent;
} mla_segment;

typedef struct mla_token_batch {
    const int32_t *ids;              // [n]
    int n;
    const mla_segment *segments;     // [n_segments], in order, covering [0, n)
    int n_segments;
} mla_token_batch;

typedef struct mla_activations mla_activations;   // everything a backward pass needs; grows
mla_activations *mla_activations_create(const mla_model *model);
void mla_activations_free(mla_activations *acts);
// The masks of the trainable adapters' dropout in forward passes that keep, until it is set again.
// 0, as at first: nothing is dropped.
void mla_activations_dropout(mla_activations *acts, uint64_t seed);
// Gradient checkpointing (Chen et al., 2016): of each layer only its input is kept; the way back
// computes the rest again, to the same bits, for a quarter more time. Before the first forward.
void mla_activations_recompute(mla_activations *acts, bool on);

// Final hidden states (after the last norm), [n, dim] fp32, borrowed until the next forward.
// `keep` false: nothing is kept for a backward pass.
const float *mla_transformer_forward(const mla_model *model, const mla_token_batch *batch,
                                     mla_activations *acts, bool keep);

// Log-probabilities of targets under softmax(logits / temperature), and the entropy (nats), at
// chosen rows of the last forward; rows may repeat (all actions of a state start from its last
// token). The head is computed here only.
typedef struct mla_head_rows {
    const int *rows;                 // [n], indices into the batch
    const int32_t *targets;          // [n]
    int n;
    float temperature;               // > 0
} mla_head_rows;

void mla_head_forward(const mla_model *model, mla_activations *acts, const mla_head_rows *at,
                      float *logprob /* [n] */, float *entropy /* [n] or NULL */);
// Accumulates the gradients of sum_i d_logprob[i] * logprob[i] + d_entropy[i] * entropy[i] into the
// head's weights and into the hidden states' gradient, which the first call after a forward zeroes.
void mla_head_backward(mla_model *model, mla_activations *acts, const mla_head_rows *at,
                       const float *d_logprob /* [n] */, const float *d_entropy /* [n] or NULL */);
// Forward and backward at once, for a loss whose gradient does not depend on the log-probabilities,
// as that of fine-tuning: the logits are computed once, not twice. Writes logprob, to the bits of
// mla_head_forward.
void mla_head_learn(mla_model *model, mla_activations *acts, const mla_head_rows *at,
                    const float *d_logprob /* [n] */, float *logprob /* [n] */);
// Through the whole network, from the hidden states' gradient; accumulates into every param's grad.
void mla_transformer_backward(mla_model *model, const mla_token_batch *batch,
                              mla_activations *acts);

// ---- sampling: the KV cache ------------------------------------------------------------------

// A pool of sequences; a sequence may continue another one, whose keys and values it shares.
// It belongs to one version of one model's weights.
typedef struct mla_kv mla_kv;
mla_kv *mla_kv_create(const mla_model *model, size_t max_bytes);
void mla_kv_free(mla_kv *kv);
void mla_kv_reset(mla_kv *kv);                      // forgets all sequences; binds to the version
// A new sequence that continues `parent` as it stands (or is empty: -1); both may go on. Returns
// its handle, or -1 when the memory ceiling is reached.
int mla_kv_open(mla_kv *kv, int parent);
void mla_kv_close(mla_kv *kv, int seq);             // memory goes back when no child needs it
int mla_kv_length(const mla_kv *kv, int seq);       // tokens, ancestors included

// Pages, for who keeps the beginnings of sequences beyond their end: a page holds the keys and
// values of MLA_KV_PAGE positions, beginning at a multiple of it. They mean the same only after the
// same tokens in all pages before. A page lives as long as a sequence or a retain owns it.
enum { MLA_KV_PAGE = 64 };
size_t mla_kv_pages_total(const mla_kv *kv);        // the memory ceiling
size_t mla_kv_pages_used(const mla_kv *kv);
size_t mla_kv_pages_wanted(const mla_kv *kv, int seq, int n);  // to append n tokens to it
int mla_kv_page(const mla_kv *kv, int seq, size_t at);         // the sequence's at-th page
int mla_kv_owners(const mla_kv *kv, int page);
void mla_kv_retain(mla_kv *kv, int page);
void mla_kv_release(mla_kv *kv, int page);
// A new sequence that begins with these n pages, all of them full. Needs no memory.
int mla_kv_open_pages(mla_kv *kv, const int *pages, size_t n);

typedef struct mla_extend {
    int seq;
    const int32_t *ids;              // [n]
    int n;
} mla_extend;

// Appends tokens to sequences (a prompt's chunk, or one token each when decoding) and writes the
// final hidden state of each item's last token to hidden [n_items, dim]. A row's result does not
// depend on the other items. -1 when the memory ceiling is reached (nothing is appended) or the
// weights have changed since the cache was bound.
MLA_MUST_USE int mla_transformer_extend(const mla_model *model, mla_kv *kv, const mla_extend *items,
                                        int n_items, float *hidden, mla_err *err);
// The same for one item, with the hidden states of all its tokens: hidden [item->n, dim].
MLA_MUST_USE int mla_transformer_read(const mla_model *model, mla_kv *kv, const mla_extend *item,
                                      float *hidden, mla_err *err);
// logits [n, vocab] fp32 of hidden states [n, dim].
void mla_head_logits(const mla_model *model, const float *hidden, int n, float *logits);

// ---- optimiser -------------------------------------------------------------------------------

typedef struct mla_adamw_options {
    float beta1, beta2, eps, weight_decay;   // decay is decoupled and skips vectors (norms, biases)
    float clip_norm;                         // global gradient norm ceiling; 0: none
} mla_adamw_options;
mla_adamw_options mla_adamw_options_default(void);     // 0.9, 0.999, 1e-8, 0, 1

typedef struct mla_adamw mla_adamw;
mla_adamw *mla_adamw_create(mla_model *model, const mla_adamw_options *options);
void mla_adamw_free(mla_adamw *opt);
// One step on the gradients as they stand (Loshchilov and Hutter, 2019), then zeroes them and
// refreshes the model. Returns the gradient norm before clipping; when it is not finite nothing is
// changed but the gradients, which are zeroed.
double mla_adamw_step(mla_adamw *opt, double lr);
MLA_MUST_USE int mla_adamw_save(const mla_adamw *opt, const char *path, mla_err *err);
MLA_MUST_USE int mla_adamw_load(mla_adamw *opt, const char *path, mla_err *err);

#endif
