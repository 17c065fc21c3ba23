// An OpenAI-compatible endpoint that is asked a system text and a user text and answers in words.
// Private to the room.
#ifndef MLA_AGENT_ENDPOINT_H
#define MLA_AGENT_ENDPOINT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

typedef struct mla__endpoint_options {
    const char *who;           // in messages: "the editor"
    const char *key;           // of the setting with the address, in messages: "editor.url"
    const char *url, *model;   // the base, such as http://127.0.0.1:8080/v1; the model's name there
    const char *key_env;       // the environment variable with the bearer key, if there is one
    double seconds;            // of one attempt
    int attempts;
} mla__endpoint_options;

typedef struct mla__endpoint mla__endpoint;      // for several threads at once

// -1: the address is none. Texts are copied.
MLA_MUST_USE int mla__endpoint_create(mla__endpoint **out, const mla__endpoint_options *options,
                                      mla_err *err);
void mla__endpoint_free(mla__endpoint *endpoint);

typedef struct mla__question {
    const char *system, *user;
    double temperature;
    int max_tokens;            // of the answer
    const uint64_t *seed;      // sent when there is one; its lower 31 bits
} mla__question;

typedef struct mla__answer {
    char *text;                // owned
    bool cut;                  // at max_tokens
} mla__answer;

MLA_MUST_USE int mla__endpoint_ask(const mla__endpoint *endpoint, const mla__question *question,
                                   mla__answer *out, mla_err *why);

#endif
