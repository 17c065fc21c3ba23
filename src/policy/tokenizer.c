// The tokenizer: text to ids and back. Special tokens go in and out only by their ids.
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/mem.h"
#include "policy/tokenizer_internal.h"

void mla_ids_push(mla_ids *ids, int32_t id) {
    if (ids->len == ids->cap) MLA_GROW(ids->data, ids->cap, ids->len + 1);
    ids->data[ids->len++] = id;
}

void mla_ids_append(mla_ids *ids, const int32_t *more, size_t n) {
    if (!n) return;
    MLA_GROW(ids->data, ids->cap, ids->len + n);
    memcpy(ids->data + ids->len, more, n * sizeof *more);
    ids->len += n;
}

void mla_ids_clear(mla_ids *ids) {
    free(ids->data);
    *ids = (mla_ids){0};
}

// ---- life ------------------------------------------------------------------------------------

static int read_pre(const mla_vocab *vocab, mla__pre *out, mla_err *err) {
    if (!vocab->n || !vocab->n_merges)
        return mla_err_set(err, "the model comes without a byte-level BPE vocabulary (its "
                           "tokenizer is '%s'); use a GGUF file or a folder with tokenizer.json",
                           vocab->pre);
    if (!strcmp(vocab->pre, "smollm")) *out = MLA__PRE_SMOLLM;
    else if (!strcmp(vocab->pre, "qwen2")) *out = MLA__PRE_QWEN2;
    else return mla_err_set(err, "the model's pre-tokenizer '%s' is not known; smollm and qwen2 "
                            "are: choose a model of these", vocab->pre);
    return 0;
}

static void copy_merges(mla_tokenizer *tok) {
    size_t n = 0;
    for (size_t i = 0; i < tok->bpe.pair_slots; i++) {
        const mla__merge *merge = &tok->bpe.by_pair[i];
        if (merge->rank >= 0) tok->merges[merge->rank] = *merge;
    }
    // A repeated merge leaves a hole, which closes here.
    for (size_t i = 0; i < tok->n_merges; i++)
        if (tok->merges[i].merged >= 0) tok->merges[n++] = tok->merges[i];
    tok->n_merges = n;
}

mla_tokenizer *mla_tokenizer_create(const mla_vocab *vocab, mla_err *err) {
    mla__pre pre = MLA__PRE_SMOLLM;
    if (read_pre(vocab, &pre, err) < 0) return NULL;
    mla_tokenizer *tok = MLA_NEW(mla_tokenizer);
    tok->pre = pre;
    tok->eos = vocab->eos >= 0 && (size_t)vocab->eos < vocab->n ? vocab->eos : -1;
    tok->special = MLA_NEW_ARRAY(uint8_t, vocab->n);
    memcpy(tok->special, vocab->special, vocab->n);
    if (mla__bpe_init(&tok->bpe, vocab, err) < 0) {
        mla_tokenizer_free(tok);
        return NULL;
    }
    tok->n_merges = vocab->n_merges;
    tok->merges = MLA_NEW_ARRAY(mla__merge, tok->n_merges);
    for (size_t i = 0; i < tok->n_merges; i++) tok->merges[i].merged = -1;
    copy_merges(tok);
    return tok;
}

void mla_tokenizer_free(mla_tokenizer *tok) {
    if (!tok) return;
    mla__bpe_clear(&tok->bpe);
    free(tok->special);
    free(tok->merges);
    free(tok);
}

size_t mla_tokenizer_vocab(const mla_tokenizer *tok) {
    return tok->bpe.n;
}

int32_t mla_tokenizer_eos(const mla_tokenizer *tok) {
    return tok->eos;
}

int32_t mla_tokenizer_special(const mla_tokenizer *tok, const char *text) {
    int32_t id = mla__bpe_find(&tok->bpe, text, strlen(text));
    return id >= 0 && tok->special[id] ? id : -1;
}

// ---- encode, decode --------------------------------------------------------------------------

static void encode_valid(const mla_tokenizer *tok, const char *text, size_t len, mla_ids *out) {
    mla__bpe_scratch scratch;
    size_t end;
    mla__bpe_scratch_init(&scratch, len);
    for (size_t at = 0; at < len; at = end) {
        end = mla__pretok_end(tok->pre, text, at, len);
        MLA_ASSERT(end > at && end <= len);
        mla__bpe_word(&tok->bpe, &scratch, text + at, end - at, out);
    }
    mla__bpe_scratch_clear(&scratch);
}

void mla_tokenizer_encode(const mla_tokenizer *tok, const char *text, size_t len, mla_ids *out) {
    char *valid = mla_utf8_repair(text, len, &len);
    if (tok->pre == MLA__PRE_QWEN2) {
        size_t composed_len;
        char *composed = mla__nfc(valid, len, &composed_len);
        if (composed) {
            free(valid);
            valid = composed;
            len = composed_len;
        }
    }
    encode_valid(tok, valid, len, out);
    free(valid);
}

const char *mla_tokenizer_bytes(const mla_tokenizer *tok, int32_t id, size_t *len) {
    const bool known = id >= 0 && (size_t)id < tok->bpe.n;
    *len = known ? tok->bpe.raw[id].len : 0;
    return known ? tok->bpe.raw[id].data : "";
}

char *mla_tokenizer_decode(const mla_tokenizer *tok, const int32_t *ids, size_t n,
                           size_t *out_len) {
    mla_buf bytes;
    mla_buf_init(&bytes, SIZE_MAX / 4);
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= tok->bpe.n || tok->special[ids[i]]) continue;
        mla_buf_append(&bytes, tok->bpe.raw[ids[i]].data, tok->bpe.raw[ids[i]].len);
    }
    char *text = mla_utf8_repair(mla_buf_text(&bytes), bytes.len, out_len);
    mla_buf_clear(&bytes);
    return text;
}
