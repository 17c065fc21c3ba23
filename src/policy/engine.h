// One scheduler for everything that is sampled. Sequences join the batch as they are submitted and
// leave it as they end (continuous batching); prompts share the keys and values of what their
// beginnings have in common, kept in a radix tree over the KV cache's pages; under its memory
// ceiling the engine forgets what nothing uses, least recently used first. One thread drives it.
//
// What is sampled for a request depends on the weights and the request alone: not on what else is
// in the batch, on the order of submission, or on what the prefix cache holds.
#ifndef MLA_POLICY_ENGINE_H
#define MLA_POLICY_ENGINE_H

#include "policy/policy.h"

typedef struct mla_engine mla_engine;

typedef struct mla_engine_stats {
    uint64_t requests, cancelled;
    uint64_t prompt_tokens;       // asked for
    uint64_t cached_tokens;       // of these, found in the prefix cache
    uint64_t new_tokens;          // sampled
    uint64_t evicted_pages;       // of the prefix cache, to make room
    uint64_t preempted;           // sequences that gave their pages up, to go on later
    size_t running, waiting;      // sequences in the batch; prompts not read to their end
    size_t pages_used, pages_total;
} mla_engine_stats;

typedef struct mla_likely {
    int32_t id;
    float logprob;                // nats, as mla_sample has them
} mla_likely;

typedef struct mla_token {        // one that was sampled
    int32_t id;
    float logprob;
    const mla_likely *likely;     // [n_likely] at its place, likeliest first; borrowed for the call
    size_t n_likely;
    size_t cached;                // tokens of its request's prompt that the prefix cache knew
} mla_token;

// Called for each sampled token, before the sink of the whole sample.
typedef void (*mla_token_sink)(void *ctx, size_t request, int sample, const mla_token *token);

// Borrows the policy. kv_bytes is the ceiling of the KV cache.
mla_engine *mla_engine_create(mla_policy *policy, size_t kv_bytes);
void mla_engine_free(mla_engine *engine);

// Takes a request into the queue; `request` is copied, `number` is what the sinks are told as its
// request. Writes a handle to cancel it by. -1 when it can never be served: a prompt that is
// empty or too long for the context, or for the KV cache. Sinks may submit and cancel; each may be
// NULL.
MLA_MUST_USE int mla_engine_submit(mla_engine *engine, const mla_prompt_request *request,
                                   size_t number, mla_token_sink on_token, mla_sample_sink on_end,
                                   void *ctx, uint64_t *handle, mla_err *err);
// Drops what is left of a request; its sinks are not called again. Unknown handles are ignored.
void mla_engine_cancel(mla_engine *engine, uint64_t handle);
// The same for one of its samples: the others go on. What was computed for it stays in the prefix
// cache, as if it had ended by itself.
void mla_engine_cancel_sample(mla_engine *engine, uint64_t handle, int sample);
// One round: prefills a chunk of what waits, or decodes one token of every running sequence; the
// two take turns. What was sampled with older weights stays, and goes on with the new ones.
// 1: there is more to do, 0: idle, -1.
MLA_MUST_USE int mla_engine_step(mla_engine *engine, mla_err *err);
mla_engine_stats mla_engine_get_stats(const mla_engine *engine);
// Forgets all prefixes. Weights that changed since the last step do the same by themselves.
void mla_engine_forget(mla_engine *engine);

#endif
