// Fuzzes the tokenizer: any bytes encode and decode again, by both pre-tokenizers, and special
// tokens never come out; any bytes as tokens and merges are refused or make a tokenizer that can be
// saved. libFuzzer, by `make fuzz` (in the repository root, where its vocabulary is).
#include <stdio.h>
#include <unistd.h>

#include "base/json.h"
#include "policy/tokenizer_internal.h"
#include "tokenizer_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static mla_tokenizer *small(const char *pre) {
    small_vocab v;
    mla_err err;
    MLA_ASSERT(small_vocab_read(&v, pre, &err) == 0);
    mla_tokenizer *tok = mla_tokenizer_create(&v.vocab, &err);
    MLA_ASSERT(tok);
    small_vocab_clear(&v);
    return tok;
}

static void round_trip(const mla_tokenizer *tok, bool normalized, const char *text, size_t size) {
    mla_ids ids = {0}, again = {0};
    size_t len, back_len;
    char *valid = mla_utf8_repair(text, size, &len);
    mla_tokenizer_encode(tok, text, size, &ids);
    for (size_t i = 0; i < ids.len; i++) MLA_ASSERT(ids.data[i] < mla_tokenizer_eos(tok) - 2);
    char *back = mla_tokenizer_decode(tok, ids.data, ids.len, &back_len);
    if (!normalized) MLA_ASSERT(back_len == len && !memcmp(back, valid, len));
    mla_tokenizer_encode(tok, back, back_len, &again);
    MLA_ASSERT(again.len == ids.len);
    for (size_t i = 0; i < ids.len; i++) MLA_ASSERT(again.data[i] == ids.data[i]);
    free(back);
    free(valid);
    mla_ids_clear(&ids);
    mla_ids_clear(&again);
}

// The first 16 lines are tokens, each special by its first byte; what follows are merges.
static void foreign_vocab(const char *text, size_t size) {
    enum { MOST = 64, TOKENS = 16 };
    const char *lines[MOST];
    uint8_t special[TOKENS] = {0};
    size_t n = 0;
    char *copy = mla_strndup(text, size);
    for (char *at = copy; at && n < MOST; n++) {
        lines[n] = at;
        at = strchr(at, '\n');
        if (at) *at++ = 0;
    }
    for (size_t i = 0; i < n && i < TOKENS; i++) special[i] = (uint8_t)lines[i][0] % 8 == 7;
    if (n > TOKENS) {
        mla_vocab vocab = {lines, special, TOKENS, lines + TOKENS, n - TOKENS, "qwen2", 3};
        mla_err err = {0};
        mla_tokenizer *tok = mla_tokenizer_create(&vocab, &err);
        MLA_ASSERT(tok || *err.text);
        mla_ids ids = {0};
        if (tok) mla_tokenizer_encode(tok, text, size, &ids);
        if (tok) MLA_ASSERT(mla_tokenizer_save(tok, "/dev/shm/mla-fuzz-tokenizer", &err) == 0);
        mla_ids_clear(&ids);
        mla_tokenizer_free(tok);
    }
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static mla_tokenizer *smollm, *qwen2;
    if (!smollm) smollm = small("smollm");
    if (!qwen2) qwen2 = small("qwen2");
    round_trip(smollm, false, (const char *)data, size);
    round_trip(qwen2, true, (const char *)data, size);
    foreign_vocab((const char *)data, size);
    return 0;
}
