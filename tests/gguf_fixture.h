// Writes small GGUF files, good and bad, for tests.
#ifndef MLA_TESTS_GGUF_FIXTURE_H
#define MLA_TESTS_GGUF_FIXTURE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

typedef struct gguf_tensor {
    const char *name;
    uint64_t dims[2];          // innermost first, as GGUF has them; dims[1] 0: a vector
    uint32_t type;
    uint64_t offset;           // from the start of the data; UINT64_MAX: where the last one ended
} gguf_tensor;

// The header grows in `head`, the values in `data`; gguf_finish puts them together.
typedef struct gguf_file {
    mla_buf head, infos, data;
    uint64_t n_keys, n_tensors;
    uint32_t version;
} gguf_file;

static inline void put_u32(mla_buf *buf, uint32_t value) { mla_buf_append(buf, &value, 4); }
static inline void put_u64(mla_buf *buf, uint64_t value) { mla_buf_append(buf, &value, 8); }

static inline void put_text(mla_buf *buf, const char *text) {
    put_u64(buf, strlen(text));
    mla_buf_puts(buf, text);
}

static inline void gguf_begin(gguf_file *f) {
    *f = (gguf_file){.version = 3};
    mla_buf_init(&f->head, 1 << 24);
    mla_buf_init(&f->infos, 1 << 24);
    mla_buf_init(&f->data, 1 << 24);
}

static inline void gguf_key(gguf_file *f, const char *key, uint32_t type) {
    put_text(&f->head, key);
    put_u32(&f->head, type);
    f->n_keys++;
}

static inline void gguf_u32(gguf_file *f, const char *key, uint32_t value) {
    gguf_key(f, key, 4);
    put_u32(&f->head, value);
}

static inline void gguf_f32(gguf_file *f, const char *key, float value) {
    gguf_key(f, key, 6);
    mla_buf_append(&f->head, &value, 4);
}

static inline void gguf_text(gguf_file *f, const char *key, const char *value) {
    gguf_key(f, key, 8);
    put_text(&f->head, value);
}

static inline void gguf_texts(gguf_file *f, const char *key, const char *const *values, size_t n) {
    gguf_key(f, key, 9);
    put_u32(&f->head, 8);
    put_u64(&f->head, n);
    for (size_t i = 0; i < n; i++) put_text(&f->head, values[i]);
}

static inline void gguf_ints(gguf_file *f, const char *key, const int32_t *values, size_t n) {
    gguf_key(f, key, 9);
    put_u32(&f->head, 5);
    put_u64(&f->head, n);
    mla_buf_append(&f->head, values, 4 * n);
}

static inline void gguf_info(gguf_file *f, const gguf_tensor *t) {
    put_text(&f->infos, t->name);
    put_u32(&f->infos, t->dims[1] ? 2 : 1);
    put_u64(&f->infos, t->dims[0]);
    if (t->dims[1]) put_u64(&f->infos, t->dims[1]);
    put_u32(&f->infos, t->type);
    put_u64(&f->infos, t->offset == UINT64_MAX ? f->data.len : t->offset);
    f->n_tensors++;
}

// An F32 tensor whose values count on from `first`.
static inline void gguf_counting(gguf_file *f, const char *name, uint64_t rows, uint64_t cols,
                                 float first) {
    gguf_info(f, &(gguf_tensor){name, {cols, rows == 1 ? 0 : rows}, 0, UINT64_MAX});
    for (uint64_t i = 0; i < rows * cols; i++) {
        float value = first + (float)i;
        mla_buf_append(&f->data, &value, 4);
    }
    while (f->data.len % 32) mla_buf_append(&f->data, "", 1);
}

// The whole file into `out`, which is initialised here; the parts are freed.
static inline void gguf_finish(gguf_file *f, mla_buf *out) {
    mla_buf_init(out, 1 << 26);
    mla_buf_puts(out, "GGUF");
    put_u32(out, f->version);
    put_u64(out, f->n_tensors);
    put_u64(out, f->n_keys);
    if (f->head.len) mla_buf_append(out, f->head.data, f->head.len);
    if (f->infos.len) mla_buf_append(out, f->infos.data, f->infos.len);
    while (out->len % 32) mla_buf_append(out, "", 1);
    if (f->data.len) mla_buf_append(out, f->data.data, f->data.len);
    mla_buf_clear(&f->head);
    mla_buf_clear(&f->infos);
    mla_buf_clear(&f->data);
}

// ---- a whole tiny model: 8 tokens, width 8, one layer, 2 heads over 1, hidden width 6 ---------

static inline void gguf_tiny_keys(gguf_file *f, const char *arch) {
    static const struct { const char *key; uint32_t value; } ints[] = {
        {"block_count", 1}, {"embedding_length", 8}, {"feed_forward_length", 6},
        {"attention.head_count", 2}, {"attention.head_count_kv", 1}, {"context_length", 64},
    };
    static const char *const tokens[] = {"<s>", "a", "b", "ab", "<u>", "c", "d", "[PAD7]"};
    static const char *const merges[] = {"a b"};
    static const int32_t types[] = {3, 1, 1, 1, 4, 1, 1, 5};
    char key[64];
    gguf_text(f, "general.architecture", arch);
    for (size_t i = 0; i < MLA_COUNT(ints); i++) {
        snprintf(key, sizeof key, "%s.%s", arch, ints[i].key);
        gguf_u32(f, key, ints[i].value);
    }
    snprintf(key, sizeof key, "%s.rope.freq_base", arch);
    gguf_f32(f, key, 5000);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", arch);
    gguf_f32(f, key, 1e-5f);
    gguf_text(f, "tokenizer.ggml.model", "gpt2");
    gguf_text(f, "tokenizer.ggml.pre", "smollm");
    gguf_texts(f, "tokenizer.ggml.tokens", tokens, MLA_COUNT(tokens));
    gguf_ints(f, "tokenizer.ggml.token_type", types, MLA_COUNT(types));
    gguf_texts(f, "tokenizer.ggml.merges", merges, MLA_COUNT(merges));
    gguf_u32(f, "tokenizer.ggml.eos_token_id", 4);
}

// All tensors of the tiny model but the head; `but` (or NULL) is left out.
static inline void gguf_tiny_tensors(gguf_file *f, bool biases, const char *but) {
    static const struct { const char *name; uint64_t rows, cols; } tensors[] = {
        {"token_embd.weight", 8, 8},          {"output_norm.weight", 1, 8},
        {"blk.0.attn_norm.weight", 1, 8},     {"blk.0.ffn_norm.weight", 1, 8},
        {"blk.0.attn_q.weight", 8, 8},        {"blk.0.attn_k.weight", 4, 8},
        {"blk.0.attn_v.weight", 4, 8},        {"blk.0.attn_output.weight", 8, 8},
        {"blk.0.ffn_gate.weight", 6, 8},      {"blk.0.ffn_up.weight", 6, 8},
        {"blk.0.ffn_down.weight", 8, 6},      {"blk.0.attn_q.bias", 1, 8},
        {"blk.0.attn_k.bias", 1, 4},          {"blk.0.attn_v.bias", 1, 4},
    };
    for (size_t i = 0; i < MLA_COUNT(tensors) - (biases ? 0 : 3); i++)
        if (!but || strcmp(tensors[i].name, but) != 0)
            gguf_counting(f, tensors[i].name, tensors[i].rows, tensors[i].cols, 100 * (float)i);
}

#endif
