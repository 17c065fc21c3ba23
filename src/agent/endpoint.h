// An OpenAI-compatible endpoint that is asked a system text and a user text and answers in words,
// or gives vectors for texts. What may pass by itself (429, 5xx, a host that hangs, an answer that
// is none) is tried again, later and later; the key goes into no message and no record.
#ifndef MLA_AGENT_ENDPOINT_H
#define MLA_AGENT_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/ledger.h"
#include "base/err.h"

typedef struct mla_endpoint_options {
    const char *who;           // in messages: "the editor"
    const char *key;           // of the setting with the address, in messages: "editor.url"
    const char *url, *model;   // the base, such as http://127.0.0.1:8080/v1; the model's name there
    const char *key_env;       // the environment variable with the bearer key, if there is one
    double seconds;            // of one attempt
    int attempts;
    mla_ledger *ledger;        // borrowed; NULL: nothing is counted or kept
} mla_endpoint_options;

typedef struct mla_endpoint mla_endpoint;        // for several threads at once

// -1: the address is none. Texts are copied.
MLA_MUST_USE int mla_endpoint_create(mla_endpoint **out, const mla_endpoint_options *options,
                                     mla_err *err);
void mla_endpoint_free(mla_endpoint *endpoint);

typedef struct mla_question {
    const char *system, *user;
    double temperature;
    int max_tokens;            // of the answer
    const uint64_t *seed;      // sent when there is one; its lower 31 bits
    const char *purpose;       // for the ledger; NULL: "step"
} mla_question;

typedef struct mla_answer {
    char *text;                // owned
    bool cut;                  // at max_tokens
} mla_answer;

MLA_MUST_USE int mla_endpoint_ask(const mla_endpoint *endpoint, const mla_question *question,
                                  mla_answer *out, mla_err *why);

// The vectors of n texts, as /embeddings gives them: out [n, *dim], caller frees.
MLA_MUST_USE int mla_endpoint_embed(const mla_endpoint *endpoint, const char *const *texts,
                                    size_t n, float **out, size_t *dim, mla_err *why);

// The name of the only model that the endpoint lists; caller frees. NULL: it lists none or several.
char *mla_endpoint_only_model(const mla_endpoint *endpoint, mla_err *why);

#endif
