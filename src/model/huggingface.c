// Hugging Face model folders: config.json read and written, the safetensors files found. The
// vocabulary is in hf_vocab.c. Leaves out: pickled weights, RoPE scaling, sliding windows.
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/weights_internal.h"

enum { MAX_CONFIG = 1 << 20, MAX_INDEX = 64 << 20 };

static int get_int(const json_t *json, const char *key, long long otherwise) {
    long long value = mla_json_get_int(json, key, otherwise);
    return value < 0 || value > INT_MAX ? 0 : (int)value;
}

// Newer configurations keep RoPE's settings in "rope_parameters", older ones beside the others,
// with "rope_scaling" for what departs from the plain kind.
static int read_rope(const char *path, const json_t *json, mla_model_config *c, mla_err *err) {
    const json_t *nested = json_object_get(json, "rope_parameters");
    const json_t *scaling = json_object_get(json, "rope_scaling");
    const json_t *kind = json_is_object(nested) ? nested : scaling;
    const char *type = mla_json_get_text(kind, "rope_type", mla_json_get_text(kind, "type", ""));
    c->rope_theta = (float)mla_json_get_number(json, "rope_theta", 10000);
    if (json_is_object(nested))
        c->rope_theta = (float)mla_json_get_number(nested, "rope_theta", c->rope_theta);
    if (!*type || !strcmp(type, "default")) return 0;
    return mla_err_set(err, "%s: RoPE scaling ('%s') is not supported; choose a model without it",
                       path, type);
}

// What would make this program compute another network than the folder means.
static int refuse_variants(const char *path, const json_t *json, mla_err *err) {
    static const char *const flags[] = {"attention_bias", "mlp_bias", "use_sliding_window"};
    for (size_t i = 0; i < MLA_COUNT(flags); i++)
        if (mla_json_get_bool(json, flags[i], false))
            return mla_err_set(err, "%s: '%s' is not supported; choose another model", path,
                               flags[i]);
    const char *act = mla_json_get_text(json, "hidden_act", "silu");
    if (strcmp(act, "silu") != 0)
        return mla_err_set(err, "%s: the activation '%s' is not supported, only silu; choose "
                           "another model", path, act);
    return 0;
}

static int read_config(const char *path, const json_t *json, mla_model_config *c, mla_err *err) {
    const char *type = mla_json_get_text(json, "model_type", "");
    if (!strcmp(type, "llama")) {
        c->arch = MLA_ARCH_LLAMA;
    } else if (!strcmp(type, "qwen2")) {
        c->arch = MLA_ARCH_QWEN2;
    } else {
        return mla_err_set(err, "%s: architecture '%.60s' is not known; llama and qwen2 are: "
                           "choose a model of these", path, type);
    }
    c->vocab = get_int(json, "vocab_size", 0);
    c->dim = get_int(json, "hidden_size", 0);
    c->layers = get_int(json, "num_hidden_layers", 0);
    c->heads = get_int(json, "num_attention_heads", 0);
    c->kv_heads = get_int(json, "num_key_value_heads", c->heads);
    c->head_dim = get_int(json, "head_dim", c->heads > 0 ? c->dim / c->heads : 0);
    c->hidden = get_int(json, "intermediate_size", 0);
    c->max_context = get_int(json, "max_position_embeddings", 0);
    c->norm_eps = (float)mla_json_get_number(json, "rms_norm_eps", 1e-6);
    c->tied = mla_json_get_bool(json, "tie_word_embeddings", false);
    if (read_rope(path, json, c, err) < 0) return -1;
    return refuse_variants(path, json, err);
}

// ---- the safetensors files -------------------------------------------------------------------

static int open_named(mla_weights *weights, const char *name, mla_err *err) {
    char *path = mla_fs_join(weights->path, name);
    int rc = mla__safetensors_open(weights, path, err);
    free(path);
    return rc;
}

// Opens each file that the index's map names, once; names with a slash could lead elsewhere.
static int open_shards(mla_weights *weights, const char *path, mla_err *err) {
    json_t *index = mla_json_read_file(path, MAX_INDEX, err);
    if (!index) return -1;
    json_t *seen = json_object(), *file;
    const char *tensor;
    int rc = 0;
    json_object_foreach(json_object_get(index, "weight_map"), tensor, file) {
        const char *name = json_string_value(file);
        if (rc < 0 || (name && json_object_get(seen, name))) continue;
        if (!name || !*name || strchr(name, '/')) {
            rc = mla_err_set(err, "%s: tensor '%s' is in no file of this folder; the index is "
                             "damaged", path, tensor);
            continue;
        }
        json_object_set_new(seen, name, json_true());
        rc = open_named(weights, name, err);
    }
    json_decref(seen);
    json_decref(index);
    return rc;
}

static int open_tensors(mla_weights *weights, mla_err *err) {
    char *single = mla_fs_join(weights->path, "model.safetensors");
    char *index = mla_fs_join(weights->path, "model.safetensors.index.json");
    int rc;
    if (mla_fs_exists(single)) {
        rc = open_named(weights, "model.safetensors", err);
    } else if (mla_fs_exists(index)) {
        rc = open_shards(weights, index, err);
    } else {
        rc = mla_err_set(err, "%s: neither model.safetensors nor its index is there; name a folder "
                         "with safetensors weights, or a GGUF file", weights->path);
    }
    free(single);
    free(index);
    return rc;
}

int mla__hf_open(mla_weights *weights, mla_err *err) {
    char *path = mla_fs_join(weights->path, "config.json");
    json_t *json = NULL;
    int rc = -1;
    if (!mla_fs_exists(path))
        mla_err_set(err, "%s: no config.json; name a Hugging Face model folder or a GGUF file",
                    weights->path);
    else if ((json = mla_json_read_file(path, MAX_CONFIG, err)))
        rc = read_config(path, json, &weights->config, err);
    if (rc == 0) rc = open_tensors(weights, err);
    snprintf(weights->format, sizeof weights->format, "Hugging Face folder");
    json_decref(json);
    free(path);
    return rc;
}

// ---- writing ---------------------------------------------------------------------------------

// The shortest decimal that reads back as the same float: 1e-05, not 9.99999974e-06.
static json_t *short_real(float value) {
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return json_real(strtod(text, NULL));
}

json_t *mla__short_number(float value) {
    const bool whole = value == floorf(value) && fabsf(value) < 1e6f;
    return whole ? json_integer((json_int_t)value) : short_real(value);
}

static void set_id(json_t *json, const char *key, int32_t id) {
    if (id >= 0) json_object_set_new(json, key, json_integer(id));
}

static json_t *config_json(const mla_model_config *c, bool as_f32, mla__special_ids ids) {
    bool qwen = c->arch == MLA_ARCH_QWEN2;
    json_t *json = json_pack(
        "{s:[s],s:s,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:s,s:b,s:s,s:f,s:b}",
        "architectures", qwen ? "Qwen2ForCausalLM" : "LlamaForCausalLM",
        "model_type", qwen ? "qwen2" : "llama", "vocab_size", c->vocab, "hidden_size", c->dim,
        "intermediate_size", c->hidden, "num_hidden_layers", c->layers,
        "num_attention_heads", c->heads, "num_key_value_heads", c->kv_heads,
        "head_dim", c->head_dim, "max_position_embeddings", c->max_context,
        "hidden_act", "silu", "tie_word_embeddings", c->tied,
        "torch_dtype", as_f32 ? "float32" : "bfloat16", "attention_dropout", 0.0,
        "use_cache", true);
    MLA_ASSERT(json);
    json_object_set_new(json, "rms_norm_eps", short_real(c->norm_eps));
    json_object_set_new(json, "rope_theta", short_real(c->rope_theta));
    json_t *rope = json_pack("{s:s,s:o}", "rope_type", "default", "rope_theta",
                             short_real(c->rope_theta));
    json_object_set_new(json, "rope_parameters", rope);
    if (qwen) json_object_set_new(json, "use_sliding_window", json_false());
    set_id(json, "bos_token_id", ids.bos);
    set_id(json, "eos_token_id", ids.eos);
    return json;
}

static int write_json(const char *dir, const char *name, json_t *take, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    int rc = mla_json_write_file(path, take, err);
    json_decref(take);
    free(path);
    return rc;
}

int mla__hf_write(const char *dir, const mla_model_config *config, const mla_tensor_out *tensors,
                  size_t n, bool as_f32, mla__special_ids ids, const mla_weights *source,
                  mla_err *err) {
    if (mla_fs_mkdirs(dir, err) < 0) return -1;
    char *path = mla_fs_join(dir, "model.safetensors");
    int rc = mla__safetensors_write(path, config, tensors, n, as_f32, source, err);
    free(path);
    if (rc == 0) rc = write_json(dir, "config.json", config_json(config, as_f32, ids), err);
    if (rc < 0) return rc;
    json_t *generation = json_object();
    set_id(generation, "bos_token_id", ids.bos);
    set_id(generation, "eos_token_id", ids.eos);
    set_id(generation, "pad_token_id", ids.pad);
    return write_json(dir, "generation_config.json", generation, err);
}

int mla_weights_save(const char *dir, const mla_model_config *config,
                     const mla_tensor_out *tensors, size_t n, bool as_f32, int32_t eos,
                     mla_err *err) {
    const mla__special_ids ids = {.bos = -1, .eos = eos, .pad = eos};
    return mla__hf_write(dir, config, tensors, n, as_f32, ids, NULL, err);
}
