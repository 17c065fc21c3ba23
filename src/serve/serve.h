// The service: one model behind OpenAI's HTTP API (chat completions, completions, embeddings,
// models), with health and Prometheus metrics. Many clients share one engine.
#ifndef MLA_SERVE_SERVE_H
#define MLA_SERVE_SERVE_H

#include "policy/policy.h"

typedef struct mla_serve_options {
    const char *host;           // where to listen
    int port;                   // 0: any free one
    const char *key;            // bearer key that clients must have; NULL: none
    const char *model;          // the model's name in requests and replies; copied
    size_t kv_bytes;            // ceiling of the KV cache
    size_t live_max;            // requests that wait or run at a time; beyond: 429
    size_t body_max;            // bytes of a request's body; beyond: 413
    uint64_t seed;              // of requests that give none
} mla_serve_options;
mla_serve_options mla_serve_options_default(void);   // 127.0.0.1:8080, 1 GiB, 64, 4 MiB

typedef struct mla_service mla_service;

// Listens when it returns. Borrows the policy, which nothing else may use until mla_serve_free but
// to encode and decode text.
mla_service *mla_serve_start(mla_policy *policy, const mla_serve_options *options, mla_err *err);
int mla_serve_port(const mla_service *service);
// Takes nothing new, finishes what it has, closes.
void mla_serve_free(mla_service *service);

#endif
