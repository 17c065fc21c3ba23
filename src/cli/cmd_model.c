// `mlagent model`: list and fetch the models known by name, say what a model file is, convert one,
// merge one with an adapter.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/catalog.h"
#include "cli/cli.h"
#include "cli/model_info.h"
#include "model/adapter.h"
#include "policy/tokenizer.h"

#define CONFIG_MAX ((size_t)8 << 20)
#define USAGE                                                                               \
    "mlagent model list | fetch NAME... | info MODEL | convert IN OUT --to FORMAT | "       \
    "merge MODEL ADAPTER OUT"

// ---- list, fetch -----------------------------------------------------------------------------

static char *package_of(const mla_model_source *s) {
    return s->parts ? mla_format("%s1..%d==%s", s->package, s->parts, s->version)
                    : mla_format("%s==%s", s->package, s->version);
}

static void list_one(const mla_model_source *s, const char *home, json_t *all) {
    char *path = mla_catalog_path(home, s->name), *package = package_of(s);
    bool present = mla_fs_size(path) == (int64_t)s->bytes;
    if (all)
        json_array_append_new(all, json_pack("{s:s, s:s, s:I, s:s, s:b, s:o}", "name", s->name,
                                             "package", package, "bytes", (json_int_t)s->bytes,
                                             "sha256", s->sha256, "present", present, "path",
                                             mla_json_text(path, strlen(path))));
    else
        printf("%-28s %7.1f MB  %-36s %s\n", s->name, (double)s->bytes / 1e6, package,
               present ? path : "not here: mlagent model fetch");
    free(package);
    free(path);
}

static int list(const mla_options *o, const char *home, mla_err *err) {
    (void)err;
    size_t n;
    const mla_model_source *sources = mla_catalog(&n);
    json_t *all = o->json ? json_array() : NULL;
    for (size_t i = 0; i < n; i++) list_one(&sources[i], home, all);
    if (all) {
        char *line = mla_json_line(all);
        puts(line);
        free(line);
        json_decref(all);
    }
    return 1;
}

// The venv that scripts/setup makes has pip; another Python may have it.
static char *python_of(const mla_options *o, const char *home) {
    char *venv = mla_fs_join(home, "venv/bin/python");
    if (!o->python && mla_fs_exists(venv)) return venv;
    free(venv);
    return mla_strdup(o->python ? o->python : "python3");
}

static int fetch(const mla_options *o, const char *home, mla_err *err) {
    char *python = python_of(o, home);
    int rc = 1;
    for (int i = 1; i < o->n_rest && rc == 1; i++) {
        const mla_model_source *s = mla_catalog_find(o->rest[i]);
        rc = s ? mla_catalog_fetch(s, home, python, err)
               : mla_err_set(err, "model '%s' is not known; `mlagent model list` shows those that "
                             "are", o->rest[i]);
        if (rc != 1) continue;
        char *path = mla_catalog_path(home, s->name);
        puts(path);
        free(path);
    }
    free(python);
    return rc;
}

// ---- info ------------------------------------------------------------------------------------

static int info(const mla_options *o, const char *home, mla_err *err) {
    (void)home;
    char *path = mla_options_model(o, o->rest[1]);
    if (mla_adapter_is_folder(path)) {
        int printed = mla_adapter_info_print(path, o->json, err);
        free(path);
        return printed < 0 ? -1 : 1;
    }
    mla_weights *weights = mla_weights_open(path, err);
    int rc = weights ? 1 : -1;
    if (weights && o->eos && mla_weights_set_eos(weights, o->eos, err) < 0) rc = -1;
    if (rc > 0) mla_model_info_print(weights, path, o->json);
    mla_weights_close(weights);
    free(path);
    return rc;
}

// ---- convert ---------------------------------------------------------------------------------

// A folder's tokenizer goes along as it is.
static int copy_tokenizer(const char *from, const char *to, mla_err *err) {
    static const char *const files[] = {"tokenizer.json", "tokenizer_config.json", "merges.txt",
                                        "vocab.json", "added_tokens.json",
                                        "special_tokens_map.json", "chat_template.jinja"};
    int rc = 0;
    for (size_t i = 0; i < MLA_COUNT(files) && rc == 0; i++) {
        char *source = mla_fs_join(from, files[i]), *copy = mla_fs_join(to, files[i]);
        if (mla_fs_exists(source)) rc = mla_fs_copy_file(source, copy, err);
        free(source);
        free(copy);
    }
    return rc;
}

static int make_tokenizer(const mla_vocab *vocab, const char *dir, mla_err *err) {
    mla_tokenizer *tok = mla_tokenizer_create(vocab, err);
    int rc = tok ? mla_tokenizer_save(tok, dir, err) : -1;
    mla_tokenizer_free(tok);
    return rc;
}

static void set_token(json_t *config, const char *key, const mla_vocab *vocab, int32_t id) {
    if (id >= 0 && (size_t)id < vocab->n)
        json_object_set_new(config, key, mla_json_text(vocab->tokens[id],
                                                       strlen(vocab->tokens[id])));
}

// What the vocabulary says has the last word in tokenizer_config.json.
static int settle_tokenizer(const mla_vocab *vocab, const char *dir, mla_err *err) {
    char *path = mla_fs_join(dir, "tokenizer_config.json");
    json_t *config = mla_fs_exists(path) ? mla_json_read_file(path, CONFIG_MAX, err)
                                         : json_object();
    int rc = config ? 0 : -1;
    if (config) {
        set_token(config, "eos_token", vocab, vocab->eos);
        set_token(config, "bos_token", vocab, vocab->bos);
        set_token(config, "pad_token", vocab, vocab->pad);
        if (vocab->chat_template)
            json_object_set_new(config, "chat_template",
                                mla_json_text(vocab->chat_template, strlen(vocab->chat_template)));
        rc = mla_json_write_file(path, config, err);
    }
    json_decref(config);
    free(path);
    return rc;
}

static int convert_to_folder(const mla_weights *weights, const char *in, const char *out,
                             mla_err *err) {
    char *tmp = mla_format("%s.tmp", out);
    int rc = mla_fs_remove_tree(tmp, err);
    if (rc == 0) rc = mla_weights_convert(weights, tmp, MLA_TO_HF, "", err);
    if (rc == 0)
        rc = mla_fs_is_dir(in) ? copy_tokenizer(in, tmp, err)
                               : make_tokenizer(mla_weights_vocab(weights), tmp, err);
    if (rc == 0) rc = settle_tokenizer(mla_weights_vocab(weights), tmp, err);
    if (rc == 0) rc = mla_fs_replace_dir(tmp, out, err);
    if (rc < 0) (void)!mla_fs_remove_tree(tmp, NULL);
    free(tmp);
    return rc;
}

// What is there is replaced only by wish, and only if it is a model.
static int check_out(const mla_options *o, const char *out, mla_err *err) {
    if (!mla_fs_exists(out)) return 0;
    if (!o->force) return mla_err_set(err, "%s: is there already; --force replaces it", out);
    char *config = mla_fs_join(out, "config.json");
    bool other = mla_fs_is_dir(out) && !mla_fs_exists(config);
    free(config);
    return other ? mla_err_set(err, "%s: is a folder but no model; name another place", out) : 0;
}

// The file's name without folders and ".gguf". Caller frees.
static char *model_name(const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash && slash[1] ? slash + 1 : path;
    const char *end = strstr(base, ".gguf");
    return mla_strndup(base, end ? (size_t)(end - base) : strlen(base));
}

static int convert_open(const mla_options *o, mla_weights *weights, const char *in,
                        const char *out, mla_weights_to to, mla_err *err) {
    if (o->eos && mla_weights_set_eos(weights, o->eos, err) < 0) return -1;
    if (to == MLA_TO_HF) return convert_to_folder(weights, in, out, err);
    if (mla_fs_is_dir(out))
        return mla_err_set(err, "%s: is a folder where a GGUF file is to be written", out);
    char *name = model_name(in);
    int rc = mla_weights_convert(weights, out, to, name, err);
    free(name);
    return rc;
}

// With an adapter, or NULL.
static int write_out(const mla_options *o, const char *adapter, const char *out, const char *format,
                     mla_err *err) {
    mla_weights_to to = mla_weights_to_parse(format);
    if (to == MLA_TO_COUNT)
        return mla_err_set(err, "--to takes hf, bf16, f16, q8_0 or q4_0");
    if (check_out(o, out, err) < 0) return -1;
    char *in = mla_options_model(o, o->rest[1]);
    mla_weights *weights = mla_weights_open(in, err);
    int rc = weights ? 0 : -1;
    if (weights && adapter) rc = mla_weights_adapt(weights, adapter, err);
    if (rc == 0) rc = convert_open(o, weights, in, out, to, err);
    mla_weights_close(weights);
    free(in);
    if (rc == 0) puts(out);
    return rc < 0 ? rc : 1;
}

static int convert(const mla_options *o, const char *home, mla_err *err) {
    (void)home;
    return write_out(o, NULL, o->rest[2], o->to ? o->to : "", err);
}

static int merge(const mla_options *o, const char *home, mla_err *err) {
    (void)home;
    return write_out(o, o->rest[2], o->rest[3], o->to ? o->to : "hf", err);
}

// ---- the command -----------------------------------------------------------------------------

int mla_cmd_model(int argc, char **argv) {
    static const struct {
        const char *name;
        int least, most;                       // operands
        int (*run)(const mla_options *, const char *home, mla_err *);   // 1, 0 stopped, -1
    } actions[] = {{"list", 0, 0, list}, {"fetch", 1, 99, fetch}, {"info", 1, 1, info},
                   {"convert", 2, 2, convert}, {"merge", 3, 3, merge}};
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    for (size_t i = 0; i < MLA_COUNT(actions); i++) {
        if (o.n_rest < 1 || strcmp(o.rest[0], actions[i].name) != 0) continue;
        if (o.n_rest - 1 < actions[i].least || o.n_rest - 1 > actions[i].most) break;
        mla_err err = {0};
        char *home = mla_options_home(&o);
        int rc = actions[i].run(&o, home, &err);
        free(home);
        return rc < 0 ? mla_fail(&err) : rc ? MLA_EXIT_OK : MLA_EXIT_STOPPED;
    }
    fputs("mlagent: usage: " USAGE "\n", stderr);
    return MLA_EXIT_USAGE;
}
