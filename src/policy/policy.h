// A model that speaks: chat template, batched sampling with log-probabilities, scoring, embedding.
#ifndef MLA_POLICY_POLICY_H
#define MLA_POLICY_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "model/model.h"
#include "policy/tokenizer.h"

typedef struct mla_policy_options {
    mla_compute compute;
    bool trainable;
    bool adaptable;           // as mla_model_options: for who adds an adapter to train
    size_t kv_bytes;          // ceiling of the KV cache
    const char *adapter;      // a LoRA adapter's folder, laid over the weights as it is, or NULL
} mla_policy_options;
mla_policy_options mla_policy_options_default(void);

typedef struct mla_policy mla_policy;

mla_policy *mla_policy_open(const char *path, const mla_policy_options *options, mla_err *err);
// A frozen copy of the weights as they stand (the reference model, or one that samples in int8);
// shares the tokenizer. `compute` as for mla_model_freeze.
mla_policy *mla_policy_freeze(const mla_policy *policy, mla_compute compute);
void mla_policy_free(mla_policy *policy);
mla_model *mla_policy_model(mla_policy *policy);
const mla_tokenizer *mla_policy_tokenizer(const mla_policy *policy);
// A checkpoint as a Hugging Face folder, written to a temporary name and renamed.
MLA_MUST_USE int mla_policy_save(const mla_policy *policy, const char *dir, bool as_f32,
                                 mla_err *err);

// ---- ChatML (policy/chat.c) --------------------------------------------------------------------
// <|im_start|>role\n text <|im_end|>\n ; the markers are special tokens, the text never is.
void mla_chat_turn(const mla_policy *policy, mla_ids *ids, const char *role, const char *text);
void mla_chat_open_reply(const mla_policy *policy, mla_ids *ids);   // <|im_start|>assistant\n
int32_t mla_chat_end_of_turn(const mla_policy *policy);  // <|im_end|>, trained and sampled

// ---- sampling (policy/generate.c) ---------------------------------------------------------------

typedef struct mla_prompt_request {
    const int32_t *ids;       // [n], the prompt; its samples share one prefill
    size_t n;
    int samples;
    int max_new;              // tokens of a sample at most, end-of-turn included
    float temperature;        // 0: greedy
    int top_k;                // the k likeliest tokens only; 0: all
    float top_p;              // the likeliest tokens that make up this share; 0 or 1: all
    float min_p;              // tokens at least this share of the likeliest one's; 0: all
    const int32_t *stop;      // [n_stop], tokens that end a sample beside the end of turn; NULL
    size_t n_stop;
    int n_likely;             // with each token, so many of the likeliest ones; see mla_token
    uint64_t seed;            // sample k draws from mla_rng_derive(seed, k, 0, 0)
} mla_prompt_request;

typedef struct mla_sample {
    int32_t *ids;             // [n], owned; with the end-of-turn token if it came
    float *logprobs;          // [n], owned; nats, of softmax(logits / temperature), untruncated
    size_t n;
    bool ended;               // false: cut at max_new
} mla_sample;
void mla_sample_clear(mla_sample *sample);

// Called as each sample ends, in no fixed order; takes over the sample.
typedef void (*mla_sample_sink)(void *ctx, size_t request, int sample, mla_sample *take);
// Samples all requests in one batch; sequences leave as they end. What is sampled does not depend
// on what else is in the batch. Stops early (returning 0) when mla_stop_wanted().
MLA_MUST_USE int mla_policy_generate(mla_policy *policy, const mla_prompt_request *requests,
                                     size_t n, mla_sample_sink sink, void *ctx, mla_err *err);

// ---- scoring (policy/score.c) -------------------------------------------------------------------

// A state and the actions taken from it, laid out as one token batch in which the state's tokens
// occur once. The head's rows are the action tokens, action by action: row i predicts target i.
typedef struct mla_group {
    mla_ids ids;
    mla_segment *segments;    // [n_segments], owned
    int n_segments;
    int state;                // segment of the state that actions are added to
    int *rows;                // [n_rows], owned
    int32_t *targets;         // [n_rows], owned
    int *action_of;           // [n_rows], owned: which action the row belongs to
    int n_rows;
} mla_group;

void mla_group_init(mla_group *group, const int32_t *prompt, size_t n_prompt);
// Another state in the same batch, which the next actions belong to; neither sees the other.
void mla_group_state(mla_group *group, const int32_t *prompt, size_t n_prompt);
void mla_group_add(mla_group *group, const int32_t *action, size_t n_action);
void mla_group_clear(mla_group *group);
mla_token_batch mla_group_batch(const mla_group *group);               // borrows
mla_head_rows mla_group_head(const mla_group *group, float temperature);  // borrows
// Log-probabilities of every action token, by the training forward. logprob [n_rows].
void mla_policy_score(mla_policy *policy, const mla_group *group, float temperature,
                      float *logprob);

// ---- embedding (policy/embed.c) -----------------------------------------------------------------
// The mean of the final hidden states over a text's tokens, scaled to length 1: [dim].

// Of a text as it is; what is beyond the model's context is left out.
void mla_policy_embed(mla_policy *policy, const char *text, float *out);

// The same of 1 to max_context token ids (copied), in pieces between which others may use the
// policy. Holds the keys and values of what it has read.
typedef struct mla_embedding mla_embedding;
mla_embedding *mla_embedding_create(mla_policy *policy, const int32_t *ids, size_t n);
void mla_embedding_free(mla_embedding *embedding);
// Reads a piece. 1: there is more, 0: that was all, and `out` is written, -1: the weights changed.
MLA_MUST_USE int mla_embedding_step(mla_embedding *embedding, float *out, mla_err *err);

#endif
