// Writes GGUF files, version 3: all metadata that llama.cpp asks for, the vocabulary, the tensors.
// Llama's Q and K rows go out in GGUF's interleaved order. Leaves out: split files, big-endian.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/weights_internal.h"

enum { TYPE_UINT32 = 4, TYPE_INT32 = 5, TYPE_FLOAT32 = 6, TYPE_BOOL = 7, TYPE_STRING = 8,
       TYPE_ARRAY = 9 };
enum { ALIGNMENT = 32, TOKEN_NORMAL = 1, TOKEN_UNUSED = 5 };
#define HEADER_MAX ((size_t)1 << 30)

typedef struct writer {
    const mla_weights *weights;
    const mla_model_config *config;  // of the output
    const char *arch, *name;
    const mla__dtype *type;          // of the matrices
    mla_buf keys, infos;
    uint64_t n_keys, n_tensors, data_bytes;
} writer;

// ---- metadata --------------------------------------------------------------------------------

static void put_int(mla_buf *buf, uint64_t value, size_t bytes) {
    uint8_t little[8];
    for (size_t i = 0; i < bytes; i++) little[i] = (uint8_t)(value >> 8 * i);
    mla_buf_append(buf, little, bytes);
}

static void put_string(mla_buf *buf, const char *text) {
    put_int(buf, strlen(text), 8);
    mla_buf_puts(buf, text);
}

static void put_key(writer *w, const char *key, uint32_t type) {
    put_string(&w->keys, key);
    put_int(&w->keys, type, 4);
    w->n_keys++;
}

static void put_text(writer *w, const char *key, const char *value) {
    put_key(w, key, TYPE_STRING);
    put_string(&w->keys, value);
}

static void put_u32(writer *w, const char *key, uint32_t value) {
    put_key(w, key, TYPE_UINT32);
    put_int(&w->keys, value, 4);
}

static void put_id(writer *w, const char *key, int32_t id) {
    if (id >= 0) put_u32(w, key, (uint32_t)id);
}

static void put_arch_u32(writer *w, const char *suffix, int value) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", w->arch, suffix);
    put_u32(w, key, (uint32_t)value);
}

static void put_arch_f32(writer *w, const char *suffix, float value) {
    char key[96];
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    snprintf(key, sizeof key, "%s.%s", w->arch, suffix);
    put_key(w, key, TYPE_FLOAT32);
    put_int(&w->keys, bits, 4);
}

static void put_array(writer *w, const char *key, uint32_t type, size_t n) {
    put_key(w, key, TYPE_ARRAY);
    put_int(&w->keys, type, 4);
    put_int(&w->keys, n, 8);
}

// llama.cpp's number of a file whose matrices are mostly of one type.
static uint32_t file_type(const mla__dtype *type) {
    static const struct { const char *name; uint32_t number; } all[] = {
        {"F16", 1}, {"Q4_0", 2}, {"Q8_0", 7}, {"BF16", 32},
    };
    for (size_t i = 0; i < MLA_COUNT(all); i++)
        if (!strcmp(type->name, all[i].name)) return all[i].number;
    return 0;                        // fp32
}

static void put_model(writer *w) {
    const mla_model_config *c = w->config;
    put_text(w, "general.architecture", w->arch);
    put_text(w, "general.type", "model");
    put_text(w, "general.name", w->name);
    put_u32(w, "general.file_type", file_type(w->type));
    put_u32(w, "general.quantization_version", 2);
    put_u32(w, "general.alignment", ALIGNMENT);
    put_arch_u32(w, "block_count", c->layers);
    put_arch_u32(w, "context_length", c->max_context);
    put_arch_u32(w, "embedding_length", c->dim);
    put_arch_u32(w, "feed_forward_length", c->hidden);
    put_arch_u32(w, "attention.head_count", c->heads);
    put_arch_u32(w, "attention.head_count_kv", c->kv_heads);
    put_arch_u32(w, "attention.key_length", c->head_dim);
    put_arch_u32(w, "attention.value_length", c->head_dim);
    put_arch_u32(w, "rope.dimension_count", c->head_dim);
    put_arch_u32(w, "vocab_size", c->vocab);
    put_arch_f32(w, "rope.freq_base", c->rope_theta);
    put_arch_f32(w, "attention.layer_norm_rms_epsilon", c->norm_eps);
}

// llama.cpp wants a token for each row of the embedding, and no two of the same text.
static void put_tokens(writer *w) {
    const mla_vocab *v = &w->weights->vocab;
    const size_t n = (size_t)w->config->vocab;
    put_array(w, "tokenizer.ggml.tokens", TYPE_STRING, n);
    for (size_t i = 0; i < n; i++) {
        char filler[32];
        snprintf(filler, sizeof filler, "[PAD%zu]", i);
        put_string(&w->keys, i < v->n && *v->tokens[i] ? v->tokens[i] : filler);
    }
    put_array(w, "tokenizer.ggml.token_type", TYPE_INT32, n);
    for (size_t i = 0; i < n; i++) {
        uint32_t type = i < v->n && *v->tokens[i] ? v->types[i] : TOKEN_UNUSED;
        put_int(&w->keys, type ? type : TOKEN_NORMAL, 4);
    }
}

static void put_vocab(writer *w) {
    const mla_vocab *v = &w->weights->vocab;
    put_text(w, "tokenizer.ggml.model", "gpt2");
    put_text(w, "tokenizer.ggml.pre", v->pre);
    put_tokens(w);
    put_array(w, "tokenizer.ggml.merges", TYPE_STRING, v->n_merges);
    for (size_t i = 0; i < v->n_merges; i++) put_string(&w->keys, v->merges[i]);
    put_id(w, "tokenizer.ggml.bos_token_id", v->bos);
    put_id(w, "tokenizer.ggml.eos_token_id", v->eos);
    put_id(w, "tokenizer.ggml.padding_token_id", v->pad);
    put_key(w, "tokenizer.ggml.add_bos_token", TYPE_BOOL);
    put_int(&w->keys, v->add_bos, 1);
    if (v->chat_template) put_text(w, "tokenizer.chat_template", v->chat_template);
}

// ---- tensors ---------------------------------------------------------------------------------

// Norms and biases stay fp32. The embedding and the head suffer most from four bits, and rows that
// are no whole number of blocks cannot be quantised.
static const mla__dtype *type_of(const writer *w, const mla__shape *shape) {
    bool outer = !strncmp(shape->name, "lm_head.", 8) || !strncmp(shape->name, "model.embed", 11);
    if (shape->rows == 1) return mla__dtype_by_name("F32");
    if (shape->cols % w->type->block) return mla__dtype_by_name("F16");
    return outer && w->type->bytes < w->type->block ? mla__dtype_by_name("Q8_0") : w->type;
}

static uint64_t padded(uint64_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static uint64_t bytes_of(const writer *w, const mla__shape *shape) {
    const mla__dtype *type = type_of(w, shape);
    return (uint64_t)shape->rows * (shape->cols / type->block * type->bytes);
}

static void put_infos(writer *w) {
    for (size_t i = 0; i < mla__shape_count(w->config); i++) {
        mla__shape shape = mla__shape_at(w->config, i);
        char *name = mla__gguf_name(shape.name);
        put_string(&w->infos, name);
        put_int(&w->infos, shape.rows == 1 ? 1 : 2, 4);
        put_int(&w->infos, shape.cols, 8);
        if (shape.rows > 1) put_int(&w->infos, shape.rows, 8);
        put_int(&w->infos, type_of(w, &shape)->ggml, 4);
        put_int(&w->infos, w->data_bytes, 8);
        w->data_bytes += padded(bytes_of(w, &shape));
        w->n_tensors++;
        free(name);
    }
}

static int write_padding(int fd, uint64_t bytes, mla_err *err) {
    static const char zeroes[ALIGNMENT] = {0};
    return mla_fs_write_all(fd, zeroes, (size_t)(padded(bytes) - bytes), err);
}

static int write_header(writer *w, int fd, mla_err *err) {
    mla_buf head;
    mla_buf_init(&head, HEADER_MAX);
    mla_buf_puts(&head, "GGUF");
    put_int(&head, 3, 4);
    put_int(&head, w->n_tensors, 8);
    put_int(&head, w->n_keys, 8);
    size_t length = head.len + w->keys.len + w->infos.len;
    int rc = mla_fs_write_all(fd, head.data, head.len, err);
    if (rc == 0) rc = mla_fs_write_all(fd, w->keys.data, w->keys.len, err);
    if (rc == 0) rc = mla_fs_write_all(fd, w->infos.data, w->infos.len, err);
    if (rc == 0) rc = write_padding(fd, length, err);
    mla_buf_clear(&head);
    return rc;
}

static int heads_of(const writer *w, const char *name) {
    if (w->config->arch != MLA_ARCH_LLAMA) return 0;
    return strstr(name, ".q_proj.weight") ? w->config->heads
         : strstr(name, ".k_proj.weight") ? w->config->kv_heads : 0;
}

static int write_all(writer *w, int fd, mla_err *err) {
    int rc = write_header(w, fd, err);
    for (size_t i = 0; i < mla__shape_count(w->config) && rc == 0; i++) {
        mla__shape shape = mla__shape_at(w->config, i);
        const mla__tensor *tensor = mla__weights_find(w->weights, shape.name);
        rc = mla__rows_write(w->weights, tensor, type_of(w, &shape), heads_of(w, shape.name), fd,
                             err);
        if (rc == 0) rc = write_padding(fd, bytes_of(w, &shape), err);
    }
    if (rc == 0 && fsync(fd) < 0) rc = mla_err_set(err, "cannot sync: %s", strerror(errno));
    return rc;
}

// ---- the file --------------------------------------------------------------------------------

static int check_vocab(const mla_weights *weights, mla_err *err) {
    const mla_vocab *v = &weights->vocab;
    if (v->n && v->n_merges && strcmp(v->pre, MLA__PRE_UNKNOWN) != 0) return 0;
    return mla_err_set(err, "%s: its vocabulary is no byte-level BPE whose pre-tokenizer is known "
                       "(smollm and qwen2 are), so a GGUF file of it would be read wrongly; "
                       "convert to hf", weights->path);
}

static int write_file(writer *w, const char *path, mla_err *err) {
    char *tmp = mla_format("%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc = fd < 0 ? mla_err_set(err, "%s: cannot create: %s", tmp, strerror(errno)) : 0;
    if (rc == 0 && (rc = write_all(w, fd, err)) < 0) mla_err_wrap(err, "%s", tmp);
    if (fd >= 0 && close(fd) < 0 && rc == 0)
        rc = mla_err_set(err, "%s: cannot close: %s", tmp, strerror(errno));
    if (rc == 0 && rename(tmp, path) < 0)
        rc = mla_err_set(err, "%s: cannot rename to it: %s", path, strerror(errno));
    if (rc < 0 && fd >= 0) unlink(tmp);
    free(tmp);
    return rc;
}

int mla__gguf_write(const mla_weights *weights, const mla_model_config *config, const char *path,
                    mla_weights_to to, const char *model_name, mla_err *err) {
#define TYPE(id, name, type) type,
    static const char *const types[] = {MLA_WEIGHTS_FORMATS(TYPE)};
#undef TYPE
    if (check_vocab(weights, err) < 0) return -1;
    writer w = {.weights = weights, .config = config, .name = model_name,
                .arch = config->arch == MLA_ARCH_QWEN2 ? "qwen2" : "llama",
                .type = mla__dtype_by_name(types[to])};
    mla_buf_init(&w.keys, HEADER_MAX);
    mla_buf_init(&w.infos, HEADER_MAX);
    put_model(&w);
    put_vocab(&w);
    put_infos(&w);
    MLA_ASSERT(!w.keys.truncated && !w.infos.truncated);
    int rc = write_file(&w, path, err);
    mla_buf_clear(&w.keys);
    mla_buf_clear(&w.infos);
    return rc;
}
