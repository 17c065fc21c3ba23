// PEFT's adapter folders. adapter_config.json has many keys that turn plain LoRA into something
// else; those that this program does not know must be off, so that a kind of adapter that comes up
// one day is refused and not computed wrongly. The names of the tensors say what is adapted.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/adapter_file.h"
#include "model/weights_internal.h"

enum { MAX_CONFIG = 1 << 20, MAX_LAYERS = 1 << 12 };

#define PREFIX "base_model.model.model.layers."
#define CONFIG_FILE "adapter_config.json"
#define TENSOR_FILE "adapter_model.safetensors"

static const char *const modules[] = {
#define MODULE(id, module, name) module "." name,
    MLA_TARGETS(MODULE)
#undef MODULE
};

// ---- options ---------------------------------------------------------------------------------

mla_adapter_options mla_adapter_options_default(void) {
    return (mla_adapter_options){.rank = 16, .alpha = 32, .targets = MLA_TARGETS_ALL};
}

float mla_adapter_scale(const mla_adapter_options *options) {
    const float rank = (float)options->rank;
    return options->alpha / (options->rslora ? sqrtf(rank) : rank);
}

const char *mla_target_name(mla_target target) {
#define NAME(id, module, name) name,
    static const char *const names[] = {MLA_TARGETS(NAME)};
#undef NAME
    return names[target];
}

static int target_of(const char *name, size_t len) {
    for (int t = 0; t < MLA_TARGET_COUNT; t++) {
        const char *known = mla_target_name((mla_target)t);
        if (strlen(known) == len && strncmp(known, name, len) == 0) return t;
    }
    return -1;
}

int mla_targets_parse(unsigned *out, const char *text) {
    *out = strcmp(text, "all") == 0 ? MLA_TARGETS_ALL : 0;
    for (const char *at = *out ? "" : text; *at;) {
        at += strspn(at, " ,");
        size_t len = strcspn(at, " ,");
        int target = target_of(at, len);
        if (len && target < 0) return -1;
        if (len) *out |= 1u << target;
        at += len;
    }
    return *out ? 0 : -1;
}

char *mla_targets_text(unsigned targets) {
    if (targets == MLA_TARGETS_ALL) return mla_strdup("all");
    mla_buf text;
    mla_buf_init(&text, 256);
    for (int t = 0; t < MLA_TARGET_COUNT; t++)
        if (targets >> t & 1)
            mla_buf_printf(&text, "%s%s", text.len ? "," : "", mla_target_name((mla_target)t));
    return mla_buf_take(&text);
}

void mla__target_shape(const mla_model_config *config, mla_target target, int *out, int *in) {
    const int q = config->heads * config->head_dim, kv = config->kv_heads * config->head_dim;
    const int outs[] = {q, kv, kv, config->dim, config->hidden, config->hidden, config->dim};
    *out = outs[target];
    *in = target == MLA_TARGET_O ? q : target == MLA_TARGET_DOWN ? config->hidden : config->dim;
}

char *mla__adapter_tensor(int layer, mla_target target, char which) {
    return mla_format(PREFIX "%d.%s.lora_%c.weight", layer, modules[target], which);
}

bool mla_adapter_is_folder(const char *path) {
    char *config = mla_fs_join(path, CONFIG_FILE);
    bool is = mla_fs_is_dir(path) && mla_fs_exists(config);
    free(config);
    return is;
}

// ---- adapter_config.json ---------------------------------------------------------------------

static bool is_off(const json_t *value) {
    if (json_is_string(value))
        return !*json_string_value(value) || !strcmp(json_string_value(value), "none");
    if (json_is_array(value)) return !json_array_size(value);
    if (json_is_object(value)) return !json_object_size(value);
    return json_is_null(value) || json_is_false(value);
}

// Read here, or without a say in what a saved adapter computes.
static bool is_known(const char *key) {
    static const char *const known[] = {
        "peft_type", "r", "lora_alpha", "use_rslora", "lora_dropout", "base_model_name_or_path",
        "init_lora_weights", "target_modules", "exclude_modules", "layers_pattern", "task_type",
        "auto_mapping", "peft_version", "revision", "inference_mode", "megatron_core",
        "megatron_config", "loftq_config", "eva_config", "qalora_group_size", "runtime_config"};
    for (size_t i = 0; i < MLA_COUNT(known); i++)
        if (!strcmp(key, known[i])) return true;
    return false;
}

static int check_kind(const char *path, const json_t *json, mla_err *err) {
    const char *type = mla_json_get_text(json, "peft_type", "none"), *key;
    if (strcmp(type, "LORA") != 0)
        return mla_err_set(err, "%s: an adapter of the type '%.60s'; only LORA is known: merge it "
                           "into its base with PEFT", path, type);
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)json, key, value)
        if (!is_known(key) && !is_off(value))
            return mla_err_set(err, "%s: '%.60s' is set, which is more than plain LoRA on linear "
                               "layers: merge the adapter into its base with PEFT", path, key);
    // Some beginnings change the base's weights too.
    static const char *const fine[] = {"", "gaussian", "eva", "orthogonal"};
    const char *init = mla_json_get_text(json, "init_lora_weights", "");
    for (size_t i = 0; i < MLA_COUNT(fine); i++)
        if (!strcmp(init, fine[i])) return 0;
    return mla_err_set(err, "%s: 'init_lora_weights' is '%.60s', which changes the base as well: "
                       "convert the adapter to plain LoRA with PEFT", path, init);
}

static int read_config(const char *path, const json_t *json, mla_adapter_options *o,
                       mla_err *err) {
    if (check_kind(path, json, err)) return -1;
    const long long rank = mla_json_get_int(json, "r", 0);
    const double alpha = mla_json_get_number(json, "lora_alpha", 8);
    const double dropout = mla_json_get_number(json, "lora_dropout", 0);
    if (rank < 1 || rank > MLA_RANK_MAX)
        return mla_err_set(err, "%s: 'r' is no whole number from 1 to %d", path, MLA_RANK_MAX);
    if (!isfinite((float)alpha))
        return mla_err_set(err, "%s: 'lora_alpha' is no finite number", path);
    if (!(dropout >= 0 && dropout < 1))
        return mla_err_set(err, "%s: 'lora_dropout' is not from 0 to below 1", path);
    *o = (mla_adapter_options){.rank = (int)rank, .alpha = (float)alpha,
                               .rslora = mla_json_get_bool(json, "use_rslora", false),
                               .dropout = (float)dropout};
    o->base = mla_strdup(mla_json_get_text(json, "base_model_name_or_path", NULL));
    return 0;
}

// ---- the tensors -----------------------------------------------------------------------------

// Takes "<layer>.<module>.lora_<A or B>.weight" apart.
static bool parse_name(const char *name, int *layer, mla_target *target, char *which) {
    if (strncmp(name, PREFIX, strlen(PREFIX)) != 0) return false;
    char *rest;
    const char *digits = name + strlen(PREFIX);
    const unsigned long number = strtoul(digits, &rest, 10);
    if (*digits < '0' || *digits > '9' || number >= MAX_LAYERS || *rest++ != '.') return false;
    *layer = (int)number;
    for (int t = 0; t < MLA_TARGET_COUNT; t++) {
        const size_t len = strlen(modules[t]);
        if (strncmp(rest, modules[t], len) != 0) continue;
        *target = (mla_target)t;
        *which = !strcmp(rest + len, ".lora_A.weight") ? 'A' : 'B';
        return *which == 'A' || !strcmp(rest + len, ".lora_B.weight");
    }
    return false;
}

static int read_names(mla__adapter_file *file, mla_err *err) {
    for (size_t i = 0; i < file->tensors->n_tensors; i++) {
        int layer;
        mla_target target;
        char which;
        const char *name = file->tensors->tensors[i].name;
        if (!parse_name(name, &layer, &target, &which))
            return mla_err_set(err, "%s: tensor '%.120s' is not of LoRA on a linear layer of a "
                               "block: merge the adapter into its base with PEFT", file->path,
                               name);
        file->options.targets |= 1u << target;
        if (layer >= file->layers) file->layers = layer + 1;
    }
    if (file->options.targets) return 0;
    return mla_err_set(err, "%s: there are no tensors in it", file->path);
}

static int open_config(mla__adapter_file *file, const char *path, mla_err *err) {
    json_t *json = mla_json_read_file(path, MAX_CONFIG, err);
    int rc = -1;
    if (json && !json_is_object(json)) mla_err_set(err, "%s: is no JSON object", path);
    else if (json) rc = read_config(path, json, &file->options, err);
    json_decref(json);
    return rc;
}

int mla__adapter_file_open(mla__adapter_file *out, const char *dir, mla_err *err) {
    *out = (mla__adapter_file){.path = mla_fs_join(dir, TENSOR_FILE)};
    char *config = mla_fs_join(dir, CONFIG_FILE);
    int rc = 0;
    if (!mla_fs_exists(config))
        rc = mla_err_set(err, "%s: no " CONFIG_FILE "; name the folder of a LoRA adapter", dir);
    if (rc == 0) rc = open_config(out, config, err);
    if (rc == 0 && !mla_fs_exists(out->path))
        rc = mla_err_set(err, "%s: no " TENSOR_FILE "; save the adapter as safetensors", dir);
    if (rc == 0 && !(out->tensors = mla__weights_open_tensors(out->path, err))) rc = -1;
    if (rc == 0) rc = read_names(out, err);
    free(config);
    if (rc == 0) return 0;
    mla__weights_one_line(err);
    mla__adapter_file_close(out);
    return -1;
}

void mla__adapter_file_close(mla__adapter_file *file) {
    mla_weights_close(file->tensors);
    free((void *)(uintptr_t)file->options.base);
    free(file->path);
    *file = (mla__adapter_file){0};
}

static int check_tensor(const mla__adapter_file *file, const char *name, size_t rows, size_t cols,
                        mla_err *err) {
    const mla__tensor *t = mla__weights_find(file->tensors, name);
    if (!t)
        return mla_err_set(err, "%s: no tensor '%s'; an adapter has to have the same layers in "
                           "each block of its base: merge it with PEFT", file->path, name);
    if (t->rows == rows && t->cols == cols && !t->is_vector) return 0;
    return mla_err_set(err, "%s: tensor '%s' is %zu x %zu where this model needs %zu x %zu: the "
                       "adapter was made for another base", file->path, name, t->rows, t->cols,
                       rows, cols);
}

static int check_target(const mla__adapter_file *file, const mla_model_config *config, int layer,
                        mla_target target, mla_err *err) {
    int out, in;
    mla__target_shape(config, target, &out, &in);
    const size_t rank = (size_t)file->options.rank;
    char *a = mla__adapter_tensor(layer, target, 'A'), *b = mla__adapter_tensor(layer, target, 'B');
    int rc = check_tensor(file, a, rank, (size_t)in, err);
    if (rc == 0) rc = check_tensor(file, b, (size_t)out, rank, err);
    free(a);
    free(b);
    return rc;
}

int mla__adapter_file_check(const mla__adapter_file *file, const mla_model_config *config,
                            mla_err *err) {
    if (file->layers != config->layers)
        return mla_err_set(err, "%s: adapts %d layers of a model that has %d: the adapter was made "
                           "for another base", file->path, file->layers, config->layers);
    for (int layer = 0; layer < config->layers; layer++)
        for (int t = 0; t < MLA_TARGET_COUNT; t++)
            if (file->options.targets >> t & 1 &&
                check_target(file, config, layer, (mla_target)t, err))
                return -1;
    return 0;
}

int mla__adapter_file_read(const mla__adapter_file *file, const mla_model_config *config, int layer,
                           mla_target target, char which, float *out, mla_err *err) {
    int rows, cols;
    mla__target_shape(config, target, &rows, &cols);
    if (which == 'A') rows = file->options.rank;
    else cols = file->options.rank;
    char *name = mla__adapter_tensor(layer, target, which);
    int rc = mla_weights_read(file->tensors, name, out, (size_t)rows, (size_t)cols, err);
    free(name);
    return rc;
}

int mla_adapter_describe(const char *dir, mla_adapter_info *out, mla_err *err) {
    mla__adapter_file file;
    mla_weights_share shares[MLA_WEIGHTS_TYPES];
    if (mla__adapter_file_open(&file, dir, err)) return -1;
    *out = (mla_adapter_info){.options = file.options, .layers = file.layers};
    const size_t n = mla_weights_shares(file.tensors, shares);
    out->type = shares[0].type;
    for (size_t i = 0; i < n; i++) {
        out->parameters += shares[i].values;
        out->bytes += shares[i].bytes;
    }
    snprintf(out->base, sizeof out->base, "%s", file.options.base ? file.options.base : "");
    out->options.base = NULL;
    mla__adapter_file_close(&file);
    return 0;
}

// ---- weights that are read as merged ---------------------------------------------------------

static int add_delta(mla_weights *weights, const mla__adapter_file *file, int layer,
                     mla_target target, mla_err *err) {
    int out, in;
    mla__target_shape(&weights->config, target, &out, &in);
    const size_t rank = (size_t)file->options.rank;
    mla__delta d = {.rank = rank, .scale = mla_adapter_scale(&file->options),
                    .a = MLA_NEW_ARRAY(float, rank * (size_t)in),
                    .b = MLA_NEW_ARRAY(float, rank * (size_t)out)};
    int rc = mla__adapter_file_read(file, &weights->config, layer, target, 'A', d.a, err);
    if (rc == 0)
        rc = mla__adapter_file_read(file, &weights->config, layer, target, 'B', d.b, err);
    char *name = mla_format("model.layers.%d.%s.weight", layer, modules[target]);
    mla__weights_add_delta(weights, name, d);
    free(name);
    return rc;
}

int mla_weights_adapt(mla_weights *weights, const char *dir, mla_err *err) {
    mla__adapter_file file;
    if (mla__adapter_file_open(&file, dir, err)) return -1;
    int rc = mla__adapter_file_check(&file, &weights->config, err);
    for (int layer = 0; layer < weights->config.layers && rc == 0; layer++)
        for (int t = 0; t < MLA_TARGET_COUNT && rc == 0; t++)
            if (file.options.targets >> t & 1)
                rc = add_delta(weights, &file, layer, (mla_target)t, err);
    mla__adapter_file_close(&file);
    return rc;
}

// ---- writing ---------------------------------------------------------------------------------

static json_t *config_json(const mla_adapter_options *o) {
    json_t *targets = json_array();
    for (int t = 0; t < MLA_TARGET_COUNT; t++)
        if (o->targets >> t & 1)
            json_array_append_new(targets, json_string(mla_target_name((mla_target)t)));
    json_t *base = o->base ? mla_json_text(o->base, strlen(o->base)) : json_null();
    json_t *json = json_pack(
        "{s:s,s:s,s:o,s:i,s:o,s:o,s:b,s:o,s:s,s:b,s:b,s:b,s:n,s:{},s:{},s:b}", "peft_type", "LORA",
        "task_type", "CAUSAL_LM", "base_model_name_or_path", base, "r", o->rank, "lora_alpha",
        mla__short_number(o->alpha), "lora_dropout", mla__short_number(o->dropout), "use_rslora",
        o->rslora, "target_modules", targets, "bias", "none", "fan_in_fan_out", false,
        "inference_mode", true, "init_lora_weights", true, "modules_to_save", "rank_pattern",
        "alpha_pattern", "use_dora", false);
    MLA_ASSERT(json);
    return json;
}

int mla__adapter_file_write(const char *dir, const mla_adapter_options *options,
                            const mla_tensor_out *tensors, size_t n, bool as_f32, mla_err *err) {
    const mla_model_config none = {0};
    char *config = mla_fs_join(dir, CONFIG_FILE), *path = mla_fs_join(dir, TENSOR_FILE);
    json_t *json = config_json(options);
    int rc = mla_json_write_file(config, json, err);
    if (rc == 0) rc = mla__safetensors_write(path, &none, tensors, n, as_f32, NULL, err);
    json_decref(json);
    free(config);
    free(path);
    return rc;
}
