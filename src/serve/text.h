// Text from token ids as they are sampled: whole characters only, cut before a stop string, and
// never showing the beginning of what may yet become one. And the choice that it belongs to.
#ifndef MLA_SERVE_TEXT_H
#define MLA_SERVE_TEXT_H

#include <stdbool.h>

#include "base/buf.h"
#include "policy/engine.h"

typedef struct mla_text {
    const mla_tokenizer *tok;       // borrowed
    char *const *stop;              // [n_stop], borrowed; none is empty
    size_t n_stop;
    mla_ids pending;                // ids of which the last character may be cut
    size_t taken;                   // bytes of their text that are in `text`
    mla_buf text;                   // UTF-8
    size_t safe;                    // bytes of `text` that stay, whatever comes
    bool stopped;                   // a stop string came; `text` ends before it
} mla_text;

void mla_text_init(mla_text *text, const mla_tokenizer *tok, char *const *stop, size_t n_stop);
void mla_text_clear(mla_text *text);
void mla_text_push(mla_text *text, int32_t id);     // nothing once stopped
void mla_text_end(mla_text *text);                  // nothing more comes: all of it is safe

// ---- one sampled reply -----------------------------------------------------------------------

typedef enum { MLA_FINISH_NONE, MLA_FINISH_STOP, MLA_FINISH_LENGTH } mla_finish;

typedef struct mla_choice {
    mla_text text;
    mla_ids ids;                    // all that were sampled up to the finish
    float *logprobs;                // [ids.len], nats
    size_t *starts;                 // [ids.len], bytes of text before the token's own
    mla_likely *likely;             // [ids.len, n_likely], of each token's place, likeliest first
    size_t n_likely;                // 0: not asked for
    size_t cap_logprobs, cap_starts, cap_likely;
    mla_finish finish;
} mla_choice;

void mla_choice_init(mla_choice *choice, const mla_tokenizer *tok, char *const *stop,
                     size_t n_stop);
void mla_choice_clear(mla_choice *choice);
// Takes the next token. A finished choice stays as it is.
void mla_choice_push(mla_choice *choice, const mla_token *token);
// The sample is over: it ended by itself (a token that ends it), or was cut at its length.
void mla_choice_end(mla_choice *choice, bool ended);
// How many of the first tokens have a part in the text that is safe. The token that ended a sample
// and the tokens of a stop string have none.
size_t mla_choice_shown(const mla_choice *choice);

#endif
