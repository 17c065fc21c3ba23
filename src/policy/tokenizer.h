// Byte-level BPE, equal to Hugging Face's tokenizers for the pre-tokenizers smollm and qwen2.
#ifndef MLA_POLICY_TOKENIZER_H
#define MLA_POLICY_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "model/weights.h"

// A growing array of token ids, owned.
typedef struct mla_ids {
    int32_t *data;
    size_t len, cap;
} mla_ids;

void mla_ids_push(mla_ids *ids, int32_t id);
void mla_ids_append(mla_ids *ids, const int32_t *more, size_t n);
void mla_ids_clear(mla_ids *ids);

typedef struct mla_tokenizer mla_tokenizer;

mla_tokenizer *mla_tokenizer_create(const mla_vocab *vocab, mla_err *err);   // copies what it needs
void mla_tokenizer_free(mla_tokenizer *tok);
size_t mla_tokenizer_vocab(const mla_tokenizer *tok);
int32_t mla_tokenizer_eos(const mla_tokenizer *tok);
// The id of a special token by its text, or -1.
int32_t mla_tokenizer_special(const mla_tokenizer *tok, const char *text);
// Appends the ids of `text`. Special tokens in it are plain text: untrusted text cannot speak for
// the program. Invalid bytes become U+FFFD first. Thread-safe.
void mla_tokenizer_encode(const mla_tokenizer *tok, const char *text, size_t len, mla_ids *out);
// The text of ids; special tokens are left out, bytes of a cut character become U+FFFD. Caller
// frees; `out_len` may be NULL.
char *mla_tokenizer_decode(const mla_tokenizer *tok, const int32_t *ids, size_t n, size_t *out_len);
// The bytes of one token, which may be a part of a character; of a special token its text.
// Borrowed; for an id that the vocabulary lacks there are none.
const char *mla_tokenizer_bytes(const mla_tokenizer *tok, int32_t id, size_t *len);
// Writes tokenizer.json and tokenizer_config.json (with the ChatML template) as Hugging Face has
// them, into a checkpoint folder.
MLA_MUST_USE int mla_tokenizer_save(const mla_tokenizer *tok, const char *dir, mla_err *err);

#endif
