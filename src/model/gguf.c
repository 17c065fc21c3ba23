// Reads GGUF files, versions 2 and 3 (little-endian): metadata to a configuration and a vocabulary,
// tensors under Hugging Face's names. Nothing in the file is trusted: each length is checked
// against what is left. Leaves out: split files, metadata arrays other than the vocabulary's.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/weights_internal.h"

enum { MAX_KEYS = 4096, MAX_TENSORS = 65536, MAX_DIMS = 4, MAX_NAME = 512 };
// Bytes that a metadata entry and a tensor's description take at least: no more are made room for
// than the file can hold.
enum { MIN_KEY = 8 + 4 + 1, MIN_INFO = 8 + 4 + 8 + 4 + 8 };
enum { TYPE_BOOL = 7, TYPE_STRING = 8, TYPE_ARRAY = 9, TYPE_INT32 = 5, TYPE_FLOAT32 = 6 };

typedef struct cursor {
    const uint8_t *start, *at, *end;
    bool bad;                        // something reached beyond the end
} cursor;

typedef struct entry {
    const char *key;                 // [key_len], in the file
    size_t key_len;
    uint32_t type, item_type;        // item_type for arrays
    uint64_t count;                  // of an array's items; a string's bytes
    const uint8_t *data;
} entry;

typedef struct reader {
    mla_weights *weights;
    const char *path;
    cursor in;
    entry *entries;
    size_t n_entries;
    const char *arch;                // "llama" or "qwen2"
} reader;

static const uint8_t *take(cursor *in, uint64_t bytes) {
    if (in->bad || bytes > (uint64_t)(in->end - in->at)) {
        in->bad = true;
        return NULL;
    }
    const uint8_t *at = in->at;
    in->at += bytes;
    return at;
}

static uint64_t load(const uint8_t *src, size_t bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++) value |= (uint64_t)src[i] << 8 * i;
    return value;
}

static uint64_t take_int(cursor *in, size_t bytes) {
    const uint8_t *at = take(in, bytes);
    return at ? load(at, bytes) : 0;
}

static const char *take_string(cursor *in, uint64_t *len) {
    *len = take_int(in, 8);
    return (const char *)take(in, *len);
}

// Bytes of a scalar type; 0 for strings, arrays and unknown ones.
static size_t scalar_size(uint32_t type) {
    static const uint8_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < MLA_COUNT(sizes) ? sizes[type] : 0;
}

static int cut_off(const reader *r, mla_err *err) {
    return mla_err_set(err, "%s: the GGUF header ends beyond the end of the file; "
                       "the file is cut off or damaged: fetch it again", r->path);
}

// ---- metadata --------------------------------------------------------------------------------

static int take_array(reader *r, entry *e, mla_err *err) {
    e->item_type = (uint32_t)take_int(&r->in, 4);
    e->count = take_int(&r->in, 8);
    e->data = r->in.at;
    size_t size = scalar_size(e->item_type);
    uint64_t bytes, skipped;
    if (size) {
        if (__builtin_mul_overflow(e->count, size, &bytes)) return cut_off(r, err);
        take(&r->in, bytes);
    } else if (e->item_type == TYPE_STRING) {
        for (uint64_t i = 0; i < e->count && !r->in.bad; i++) take_string(&r->in, &skipped);
    } else if (!r->in.bad) {
        return mla_err_set(err, "%s: metadata '%.*s' is an array of type %" PRIu32 ", which is not "
                           "known; the file is damaged or too new", r->path, (int)e->key_len,
                           e->key, e->item_type);
    }
    return 0;
}

static int take_entry(reader *r, entry *e, mla_err *err) {
    uint64_t key_len;
    e->key = take_string(&r->in, &key_len);
    if (r->in.bad) return cut_off(r, err);
    if (key_len > MAX_NAME)
        return mla_err_set(err, "%s: a metadata key of %" PRIu64 " bytes; the file is damaged",
                           r->path, key_len);
    e->key_len = (size_t)key_len;
    e->type = (uint32_t)take_int(&r->in, 4);
    size_t size = scalar_size(e->type);
    if (size) {
        e->data = take(&r->in, size);
    } else if (e->type == TYPE_STRING) {
        e->data = (const uint8_t *)take_string(&r->in, &e->count);
    } else if (e->type == TYPE_ARRAY) {
        if (take_array(r, e, err)) return -1;
    } else if (!r->in.bad) {
        return mla_err_set(err, "%s: metadata '%.*s' has type %" PRIu32 ", which is not known; "
                           "the file is damaged or too new", r->path, (int)e->key_len, e->key,
                           e->type);
    }
    return r->in.bad ? cut_off(r, err) : 0;
}

static const entry *find(const reader *r, const char *key) {
    for (size_t i = 0; i < r->n_entries; i++)
        if (r->entries[i].key_len == strlen(key) &&
            !memcmp(r->entries[i].key, key, r->entries[i].key_len))
            return &r->entries[i];
    return NULL;
}

// The key with "%s" filled by the architecture's name.
static const entry *find_arch(const reader *r, const char *suffix) {
    char key[128];
    snprintf(key, sizeof key, "%s.%s", r->arch, suffix);
    return find(r, key);
}

static long long as_int(const entry *e, long long otherwise) {
    if (!e || e->type == TYPE_FLOAT32 || e->type > 11 || !scalar_size(e->type)) return otherwise;
    uint64_t value = load(e->data, scalar_size(e->type));
    if (e->type == TYPE_INT32) return (int32_t)value;
    return value > INT32_MAX ? otherwise : (long long)value;
}

static float as_float(const entry *e, float otherwise) {
    if (!e || e->type != TYPE_FLOAT32) return otherwise;
    uint32_t bits = (uint32_t)load(e->data, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool is_text(const entry *e, const char *text) {
    return e && e->type == TYPE_STRING && e->count == strlen(text) &&
           !memcmp(e->data, text, strlen(text));
}

// Text for a message: a string's first bytes, what cannot be printed as '?'.
static const char *shown(const entry *e, char out[64]) {
    size_t n = e && e->type == TYPE_STRING ? (e->count < 63 ? (size_t)e->count : 63) : 0;
    for (size_t i = 0; i < n; i++)
        out[i] = e->data[i] >= 32 && e->data[i] < 127 ? (char)e->data[i] : '?';
    out[n] = 0;
    return out;
}

static int take_metadata(reader *r, uint64_t n, mla_err *err) {
    if (n > MAX_KEYS)
        return mla_err_set(err, "%s: %" PRIu64 " metadata keys, more than %d; the file is damaged",
                           r->path, n, MAX_KEYS);
    if (n > (uint64_t)(r->in.end - r->in.at) / MIN_KEY) return cut_off(r, err);
    r->entries = MLA_NEW_ARRAY(entry, n + 1);
    for (uint64_t i = 0; i < n; i++) {
        if (take_entry(r, &r->entries[i], err)) return -1;
        r->n_entries = (size_t)i + 1;
    }
    return 0;
}

// ---- configuration ---------------------------------------------------------------------------

static int read_arch(reader *r, mla_err *err) {
    const entry *e = find(r, "general.architecture");
    char text[64];
    if (is_text(e, "llama")) {
        r->arch = "llama";
        r->weights->config.arch = MLA_ARCH_LLAMA;
    } else if (is_text(e, "qwen2")) {
        r->arch = "qwen2";
        r->weights->config.arch = MLA_ARCH_QWEN2;
    } else {
        return mla_err_set(err, "%s: architecture '%s' is not known; llama and qwen2 are: choose a "
                           "model of these", r->path, shown(e, text));
    }
    return 0;
}

// What would make this program compute another network than the file means.
static int refuse_variants(const reader *r, mla_err *err) {
    const entry *scaling = find_arch(r, "rope.scaling.type");
    if (scaling && !is_text(scaling, "none") && !is_text(scaling, ""))
        return mla_err_set(err, "%s: RoPE scaling is not supported; choose a model without it",
                           r->path);
    if (as_int(find_arch(r, "expert_count"), 0) > 0)
        return mla_err_set(err, "%s: mixtures of experts are not supported; choose a dense model",
                           r->path);
    if (as_int(find(r, "split.count"), 1) > 1)
        return mla_err_set(err, "%s: one part of a split GGUF file; merge the parts first",
                           r->path);
    return 0;
}

static int read_config(reader *r, mla_err *err) {
    mla_model_config *c = &r->weights->config;
    if (read_arch(r, err) || refuse_variants(r, err)) return -1;
    c->layers = (int)as_int(find_arch(r, "block_count"), 0);
    c->dim = (int)as_int(find_arch(r, "embedding_length"), 0);
    c->hidden = (int)as_int(find_arch(r, "feed_forward_length"), 0);
    c->heads = (int)as_int(find_arch(r, "attention.head_count"), 0);
    c->kv_heads = (int)as_int(find_arch(r, "attention.head_count_kv"), c->heads);
    c->max_context = (int)as_int(find_arch(r, "context_length"), 0);
    int even = c->heads > 0 ? c->dim / c->heads : 0;
    c->head_dim = (int)as_int(find_arch(r, "attention.key_length"), even);
    c->rope_theta = as_float(find_arch(r, "rope.freq_base"), 10000.0f);
    c->norm_eps = as_float(find_arch(r, "attention.layer_norm_rms_epsilon"), 0);
    long long turned = as_int(find_arch(r, "rope.dimension_count"), c->head_dim);
    long long values = as_int(find_arch(r, "attention.value_length"), c->head_dim);
    if (turned == c->head_dim && values == c->head_dim) return 0;
    return mla_err_set(err, "%s: heads of width %d with %lld rotated and %lld value dimensions are "
                       "not supported; choose another model", r->path, c->head_dim, turned, values);
}

// ---- vocabulary ------------------------------------------------------------------------------

static int take_text(reader *r, cursor *in, char **out, mla_err *err) {
    uint64_t len;
    const char *text = take_string(in, &len);
    if (!text || memchr(text, 0, (size_t)len))
        return mla_err_set(err, "%s: a token or merge holds a zero byte; the file is damaged",
                           r->path);
    *out = mla_strndup(text, (size_t)len);
    return 0;
}

static bool is_array(const entry *e, uint32_t item_type) {
    return e && e->type == TYPE_ARRAY && e->item_type == item_type;
}

static int read_strings(reader *r, const entry *e, char **out, mla_err *err) {
    cursor in = {e->data, e->data, r->in.end, false};
    for (uint64_t i = 0; i < e->count; i++)
        if (take_text(r, &in, &out[i], err)) return -1;
    return 0;
}

// Token types: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte.
static int read_types(reader *r, const entry *types, mla_err *err) {
    if (!is_array(types, TYPE_INT32) || types->count != r->weights->vocab.n)
        return mla_err_set(err, "%s: the token types do not fit the tokens; the file is damaged",
                           r->path);
    for (uint64_t i = 0; i < types->count; i++) {
        uint64_t type = load(types->data + 4 * i, 4);
        r->weights->special[i] = type == 5 ? 2 : type != 1 && type != 6;
        r->weights->types[i] = type < 7 ? (uint8_t)type : 0;
    }
    return 0;
}

static int read_vocab(reader *r, mla_err *err) {
    const entry *tokens = find(r, "tokenizer.ggml.tokens");
    const entry *merges = find(r, "tokenizer.ggml.merges");
    const entry *model = find(r, "tokenizer.ggml.model"), *pre = find(r, "tokenizer.ggml.pre");
    char text[64];
    if (!is_array(tokens, TYPE_STRING)) return 0;    // weights alone; the tokenizer will say so
    if (merges && !is_array(merges, TYPE_STRING))
        return mla_err_set(err, "%s: the merges are not text; the file is damaged", r->path);
    if (is_text(model, "gpt2") && (!merges || !merges->count))
        return mla_err_set(err, "%s: the vocabulary has no merges; the file is damaged or was "
                           "converted wrongly: convert the model again", r->path);
    mla_weights *w = r->weights;
    mla__weights_alloc_vocab(w, (size_t)tokens->count, merges ? (size_t)merges->count : 0);
    if (read_strings(r, tokens, w->tokens, err)) return -1;
    if (merges && read_strings(r, merges, w->merges, err)) return -1;
    if (read_types(r, find(r, "tokenizer.ggml.token_type"), err)) return -1;
    w->pre = mla_strdup(shown(is_text(model, "gpt2") ? pre : model, text));
    w->vocab.eos = (int32_t)as_int(find(r, "tokenizer.ggml.eos_token_id"), -1);
    w->vocab.bos = (int32_t)as_int(find(r, "tokenizer.ggml.bos_token_id"), -1);
    w->vocab.pad = (int32_t)as_int(find(r, "tokenizer.ggml.padding_token_id"), -1);
    w->vocab.add_bos = as_int(find(r, "tokenizer.ggml.add_bos_token"), 0) != 0;
    const entry *chat = find(r, "tokenizer.chat_template");
    if (chat && chat->type == TYPE_STRING && !memchr(chat->data, 0, (size_t)chat->count))
        w->chat_template = mla_strndup((const char *)chat->data, (size_t)chat->count);
    return 0;
}

// ---- tensors ---------------------------------------------------------------------------------

typedef struct renaming {
    const char *gguf, *hf;
} renaming;

static const renaming whole[] = {
    {"token_embd.weight", "model.embed_tokens.weight"},
    {"output_norm.weight", "model.norm.weight"},
    {"output.weight", "lm_head.weight"},
};
static const renaming parts[] = {                // of a layer, up to "weight" or "bias"
    {"attn_norm.", "input_layernorm."}, {"ffn_norm.", "post_attention_layernorm."},
    {"attn_q.", "self_attn.q_proj."},   {"attn_k.", "self_attn.k_proj."},
    {"attn_v.", "self_attn.v_proj."},   {"attn_output.", "self_attn.o_proj."},
    {"ffn_gate.", "mlp.gate_proj."},    {"ffn_up.", "mlp.up_proj."},
    {"ffn_down.", "mlp.down_proj."},
};

char *mla__gguf_name(const char *name) {
    int layer = 0, used = 0;
    for (size_t i = 0; i < MLA_COUNT(whole); i++)
        if (!strcmp(name, whole[i].hf)) return mla_strdup(whole[i].gguf);
    if (sscanf(name, "model.layers.%6d.%n", &layer, &used) == 1 && used > 0)
        for (size_t i = 0; i < MLA_COUNT(parts); i++)
            if (!strncmp(name + used, parts[i].hf, strlen(parts[i].hf)))
                return mla_format("blk.%d.%s%s", layer, parts[i].gguf,
                                  name + used + strlen(parts[i].hf));
    return mla_strdup(name);
}

// Hugging Face's name of a GGUF tensor; an unknown one keeps its own. Caller frees.
static char *hf_name(const char *name, size_t len) {
    char *own = mla_strndup(name, len);
    char *out = NULL;
    int layer = 0, used = 0;
    for (size_t i = 0; i < MLA_COUNT(whole); i++)
        if (!strcmp(own, whole[i].gguf)) out = mla_strdup(whole[i].hf);
    if (!out && sscanf(own, "blk.%6d.%n", &layer, &used) == 1 && used > 0 && layer >= 0) {
        const char *rest = own + used;
        for (size_t i = 0; i < MLA_COUNT(parts) && !out; i++)
            if (!strncmp(rest, parts[i].gguf, strlen(parts[i].gguf)))
                out = mla_format("model.layers.%d.%s%s", layer, parts[i].hf,
                                 rest + strlen(parts[i].gguf));
        if (!out) out = mla_format("model.layers.%d.%s", layer, rest);
    }
    if (!out) return own;
    free(own);
    return out;
}

typedef struct tensor_info {
    const char *name;                // [name_len], in the file
    uint64_t name_len, dims[MAX_DIMS], offset;
    uint32_t n_dims, type;
} tensor_info;

static int take_info(reader *r, tensor_info *info, mla_err *err) {
    info->name = take_string(&r->in, &info->name_len);
    info->n_dims = (uint32_t)take_int(&r->in, 4);
    if (r->in.bad) return cut_off(r, err);
    if (info->name_len > MAX_NAME || info->n_dims < 1 || info->n_dims > MAX_DIMS)
        return mla_err_set(err, "%s: a tensor with a name of %" PRIu64 " bytes and %" PRIu32
                           " dimensions; the file is damaged", r->path, info->name_len,
                           info->n_dims);
    for (uint32_t i = info->n_dims; i-- > 0;) info->dims[i] = take_int(&r->in, 8);
    info->type = (uint32_t)take_int(&r->in, 4);
    info->offset = take_int(&r->in, 8);
    return r->in.bad ? cut_off(r, err) : 0;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static int add_tensor(reader *r, const tensor_info *info, uint64_t base, mla_err *err) {
    char *name = hf_name(info->name, (size_t)info->name_len);
    const mla__dtype *type = mla__dtype_by_ggml(info->type);
    uint64_t offset;
    if (!type || __builtin_add_overflow(base, info->offset, &offset)) {
        mla_err_set(err, type ? "%s: tensor '%s' ends beyond the end of the file"
                              : "%s: tensor '%s' has an element type (%" PRIu32 ") that is not "
                                "known; use F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, "
                                "Q5_K or Q6_K", r->path, name, info->type);
        free(name);
        return -1;
    }
    const mla__mapping *map = &r->weights->maps[0];
    if (mla__weights_add(r->weights, map, r->path, name, type, info->dims, info->n_dims, offset,
                         err))
        return -1;
    mla__tensor *added = &r->weights->tensors[r->weights->n_tensors - 1];
    const mla_model_config *c = &r->weights->config;
    if (c->arch != MLA_ARCH_LLAMA) return 0;
    int heads = ends_with(added->name, ".self_attn.q_proj.weight") ? c->heads
              : ends_with(added->name, ".self_attn.k_proj.weight") ? c->kv_heads : 0;
    // Other row counts are refused later, when tensors are checked against the configuration.
    if (heads > 0 && added->rows == (size_t)heads * (size_t)c->head_dim)
        added->permuted_heads = heads;
    return 0;
}

static int read_tensors(reader *r, uint64_t n, mla_err *err) {
    if (n > MAX_TENSORS)
        return mla_err_set(err, "%s: %" PRIu64 " tensors, more than %d; the file is damaged",
                           r->path, n, MAX_TENSORS);
    if (n > (uint64_t)(r->in.end - r->in.at) / MIN_INFO) return cut_off(r, err);
    tensor_info *infos = MLA_NEW_ARRAY(tensor_info, n + 1);
    int failed = 0;
    for (uint64_t i = 0; i < n && !failed; i++) failed = take_info(r, &infos[i], err);
    long long align = as_int(find(r, "general.alignment"), 32);
    if (!failed && (align < 1 || align > 1 << 20 || (align & (align - 1))))
        failed = mla_err_set(err, "%s: alignment %lld is no power of two; the file is damaged",
                             r->path, align);
    if (!failed) {
        uint64_t header = (uint64_t)(r->in.at - r->in.start), step = (uint64_t)align;
        uint64_t base = (header + step - 1) / step * step;
        for (uint64_t i = 0; i < n && !failed; i++) failed = add_tensor(r, &infos[i], base, err);
    }
    free(infos);
    return failed;
}

static void finish_config(mla_weights *weights) {
    bool head = false;
    for (size_t i = 0; i < weights->n_tensors; i++) {
        const mla__tensor *tensor = &weights->tensors[i];
        if (!strcmp(tensor->name, "lm_head.weight")) head = true;
        // The embedding has the last word on the vocabulary's size: some files pad it.
        if (!strcmp(tensor->name, "model.embed_tokens.weight"))
            weights->config.vocab = (int)tensor->rows;
    }
    weights->config.tied = !head;
}

static int read_all(reader *r, mla_err *err) {
    if (memcmp(take(&r->in, 4), "GGUF", 4))
        return mla_err_set(err, "%s: not a GGUF file; name a .gguf file or a Hugging Face folder",
                           r->path);
    uint64_t version = take_int(&r->in, 4);
    if (version != 2 && version != 3)
        return mla_err_set(err, "%s: GGUF version %" PRIu64 " (or big-endian); versions 2 and 3, "
                           "little-endian, are known: convert the model again", r->path, version);
    snprintf(r->weights->format, sizeof r->weights->format, "GGUF v%d", (int)version);
    uint64_t n_tensors = take_int(&r->in, 8), n_entries = take_int(&r->in, 8);
    if (take_metadata(r, n_entries, err) || read_config(r, err) || read_vocab(r, err) ||
        read_tensors(r, n_tensors, err))
        return -1;
    finish_config(r->weights);
    return 0;
}

int mla__gguf_open(mla_weights *weights, mla_err *err) {
    mla__mapping map;
    if (mla__weights_map(weights, weights->path, 24, &map, err)) return -1;
    reader r = {.weights = weights, .path = weights->path,
                .in = {map.data, map.data, map.data + map.size, false}};
    int failed = read_all(&r, err);
    free(r.entries);
    return failed;
}
