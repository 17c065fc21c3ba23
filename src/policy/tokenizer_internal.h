// What the tokenizer's files share; the rest of the room uses policy/tokenizer.h.
#ifndef MLA_POLICY_TOKENIZER_INTERNAL_H
#define MLA_POLICY_TOKENIZER_INTERNAL_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "policy/tokenizer.h"

// ---- unicode_table.c: sorted ranges of code points beyond ASCII -------------------------------

typedef struct mla__range {
    uint32_t first, last;
} mla__range;

extern const mla__range mla__letters[], mla__numbers[], mla__late_digits[], mla__late_marks[];
extern const size_t mla__letters_n, mla__numbers_n, mla__late_digits_n, mla__late_marks_n;
// What NFC may change, or change beside a neighbour; before any other point text can be cut.
extern const mla__range mla__composing[];
extern const size_t mla__composing_n;

// ---- pretok.c --------------------------------------------------------------------------------

typedef enum { MLA__PRE_SMOLLM, MLA__PRE_QWEN2 } mla__pre;

bool mla__in_ranges(const mla__range *ranges, size_t n, uint32_t point);
// The code point at `at` of valid UTF-8; `*next` is where the following one starts.
uint32_t mla__utf8_point(const char *text, size_t at, size_t *next);
// The end of the pre-token that starts at `at` < len; `text` is valid UTF-8 (NFC for Qwen2).
size_t mla__pretok_end(mla__pre pre, const char *text, size_t at, size_t len);

// ---- normalize.c -----------------------------------------------------------------------------

// NFC of valid UTF-8. Caller frees; NULL when the text is in NFC as it stands.
char *mla__nfc(const char *text, size_t len, size_t *out_len);

// ---- bpe.c -----------------------------------------------------------------------------------

typedef struct mla__bytes {
    const char *data;              // [len], NUL-terminated, may hold NULs
    size_t len;
} mla__bytes;

// A token in the table of texts. `key` is the text itself up to 8 bytes, its hash beyond.
typedef struct mla__text_slot {
    uint64_t key;
    uint32_t len;
    int32_t id;                    // -1: empty
} mla__text_slot;

// left right -> merged, the lower rank first.
typedef struct mla__merge {
    int32_t left, right, merged, rank;
} mla__merge;

typedef struct mla__bpe {
    size_t n;
    mla__bytes *raw;               // [n], the tokens' bytes; a special token's are its text
    char *raw_block;
    int32_t byte_id[256];          // -1: the vocabulary lacks the byte
    mla__text_slot *by_text;       // [text_slots], open addressing
    size_t text_slots;
    mla__merge *by_pair;           // [pair_slots], open addressing, rank -1: empty
    size_t pair_slots;
    // [n], whether merging a token's own bytes gives just the token; found out at first use.
    _Atomic uint8_t *whole;
} mla__bpe;

// What one call of encode keeps from word to word: memory, and where words came before in its text.
typedef struct mla__bpe_scratch {
    struct mla__symbol *symbols;
    struct mla__candidate *heap;
    size_t cap_symbols, cap_heap;
    struct mla__seen *seen;        // [seen_slots], the last word of each slot
    size_t seen_slots;
} mla__bpe_scratch;

MLA_MUST_USE int mla__bpe_init(mla__bpe *bpe, const mla_vocab *vocab, mla_err *err);
void mla__bpe_clear(mla__bpe *bpe);
int32_t mla__bpe_find(const mla__bpe *bpe, const char *bytes, size_t len);   // -1: none
// For a text of `text_len` bytes.
void mla__bpe_scratch_init(mla__bpe_scratch *scratch, size_t text_len);
// Appends the ids of a word. All words of one scratch lie in one text and go to one `out`, to which
// nothing else is written.
void mla__bpe_word(const mla__bpe *bpe, mla__bpe_scratch *scratch, const char *word, size_t len,
                   mla_ids *out);
void mla__bpe_scratch_clear(mla__bpe_scratch *scratch);
// Bytes in GPT-2's printable alphabet; `out` has room for 2 * len + 1.
void mla__bpe_print(const char *bytes, size_t len, char *out);

struct mla_tokenizer {
    mla__bpe bpe;
    mla__pre pre;
    uint8_t *special;              // [n], as in mla_vocab
    mla__merge *merges;            // [n_merges], best first
    size_t n_merges;
    int32_t eos;
};

#endif
