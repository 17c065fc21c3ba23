// What a client asks for: the body of an OpenAI request, or a line of `mlagent generate --jsonl`,
// read into one struct, everything checked. And from there to token ids.
#ifndef MLA_SERVE_REQUEST_H
#define MLA_SERVE_REQUEST_H

#include <jansson.h>
#include <stdbool.h>

#include "policy/policy.h"

typedef enum {
    MLA_ASK_CHAT,           // messages
    MLA_ASK_COMPLETION,     // prompt: text, texts, ids or lists of ids, continued as they stand
    MLA_ASK_EMBEDDING,      // input: text, texts, ids or lists of ids
    MLA_ASK_LINE            // messages, or prompt: what a user says; max_new, id
} mla_ask_kind;

#define MLA_ASK_INPUTS 2048     // prompts or texts of one request at most
#define MLA_ASK_SAMPLES 128     // samples of one request at most, n times its prompts
#define MLA_ASK_STOPS 16        // stop strings at most
#define MLA_ASK_LIKELY 20       // likely tokens beside a sampled one at most
#define MLA_ASK_LISTED 256      // samples times logged tokens a place, so that replies stay small

typedef struct mla_message {
    const char *role;           // borrowed from a table
    char *text;
} mla_message;

typedef struct mla_input {      // a prompt, or a text to embed: text, or ids
    char *text;                 // NULL: ids
    mla_ids ids;
} mla_input;

typedef struct mla_ask {
    mla_ask_kind kind;
    char *model;                // NULL for a line
    mla_message *messages;      // [n_messages]; of chat
    size_t n_messages;
    mla_input *inputs;          // [n_inputs]; of everything else
    size_t n_inputs;
    char **stop;                // [n_stop]
    size_t n_stop;
    int n;                      // samples of each prompt
    int max_new;                // 0: as many as fit
    float temperature, top_p, min_p;
    int top_k;
    uint64_t seed;
    bool has_seed, has_temperature;
    bool stream, include_usage;
    bool logprobs;
    int top_logprobs;           // with each token so many of the likeliest; 0: no lists
    bool base64;                // vectors as base64, not as numbers
    int dimensions;             // 0: not asked for
    json_t *id;                 // of a line; or NULL
} mla_ask;

// Why a request is refused, as OpenAI's error object says it.
typedef struct mla_fault {
    int status;                 // of HTTP
    char message[512];
    const char *type, *param, *code;    // literals; param and code may be NULL
} mla_fault;

// Sets the fault; returns -1.
int mla_fault_set(mla_fault *fault, int status, const char *param, const char *code,
                  const char *fmt, ...) __attribute__((format(printf, 5, 6)));

// Cleared by the caller in any case. The body is untrusted.
MLA_MUST_USE int mla_ask_read(mla_ask *out, mla_ask_kind kind, const char *body, size_t len,
                              mla_fault *fault);
void mla_ask_clear(mla_ask *ask);

// ---- prompt.c --------------------------------------------------------------------------------

size_t mla_ask_prompts(const mla_ask *ask);     // how many: of chat always one
// Appends prompt `at` to `ids`. -1 when it has an id that the vocabulary lacks, or with the new
// tokens asked for does not fit the context.
MLA_MUST_USE int mla_ask_encode(const mla_ask *ask, mla_policy *policy, size_t at, mla_ids *ids,
                                mla_fault *fault);
// Tokens that end a sample beside the end of turn; returns how many there are.
size_t mla_ask_stop_ids(const mla_policy *policy, int32_t out[2]);
// How prompt `at` is sampled; borrows ids and stop ids.
mla_prompt_request mla_ask_request(const mla_ask *ask, mla_policy *policy, size_t at,
                                   const mla_ids *ids, const int32_t *stop, size_t n_stop);

#endif
