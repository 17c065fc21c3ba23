// The vocabulary of a Hugging Face folder: tokenizer.json's byte-level BPE, the end-of-turn token
// and its kin, the chat template. Which pre-tokenizer it is, is told from its parts; other kinds
// get a name that no tokenizer of ours has, so that the tokenizer refuses them. Leaves out:
// merges.txt and vocab.json.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "model/weights_internal.h"

enum { MAX_TOKENIZER = 256 << 20, MAX_SMALL = 8 << 20, MAX_ID = 1 << 24 };
enum { NORMAL = 1, CONTROL = 3, USER_DEFINED = 4, UNUSED = 5 };   // GGUF's kinds of tokens

static int damaged(const char *path, const char *what, mla_err *err) {
    return mla_err_set(err, "%s: %s; the file is damaged or of an unknown kind", path, what);
}

// ---- tokens and merges -----------------------------------------------------------------------

static bool good_id(const json_t *id) {
    return json_is_integer(id) && json_integer_value(id) >= 0 && json_integer_value(id) < MAX_ID;
}

// One more than the largest id, or -1.
static long long table_size(const json_t *vocab, const json_t *added) {
    long long size = 0;
    const char *token;
    json_t *id, *item;
    size_t i;
    json_object_foreach((json_t *)vocab, token, id) {
        if (!good_id(id)) return -1;
        if (json_integer_value(id) >= size) size = json_integer_value(id) + 1;
    }
    json_array_foreach(added, i, item) {
        id = json_object_get(item, "id");
        if (!good_id(id)) return -1;
        if (json_integer_value(id) >= size) size = json_integer_value(id) + 1;
    }
    return size;
}

static int put_token(mla_weights *w, const char *path, json_int_t id, const char *token,
                     mla_err *err) {
    if (!token) return damaged(path, "a token is not text", err);
    if (!w->tokens[id]) w->tokens[id] = mla_strdup(token);
    if (strcmp(w->tokens[id], token) != 0) return damaged(path, "two tokens share an id", err);
    return 0;
}

static int read_tokens(mla_weights *w, const char *path, const json_t *vocab, const json_t *added,
                       mla_err *err) {
    const char *token;
    json_t *id, *item;
    size_t i;
    json_object_foreach((json_t *)vocab, token, id) {
        if (put_token(w, path, json_integer_value(id), token, err) < 0) return -1;
    }
    json_array_foreach(added, i, item) {
        json_int_t at = json_integer_value(json_object_get(item, "id"));
        if (put_token(w, path, at, mla_json_get_text(item, "content", NULL), err) < 0) return -1;
        w->special[at] = 1;
        w->types[at] = mla_json_get_bool(item, "special", true) ? CONTROL : USER_DEFINED;
    }
    for (i = 0; i < w->vocab.n; i++) {
        if (!w->tokens[i]) w->special[i] = 2;
        if (!w->types[i]) w->types[i] = w->tokens[i] ? NORMAL : UNUSED;
    }
    return 0;
}

// A merge is "left right" or, in newer files, ["left", "right"].
static int read_merges(mla_weights *w, const char *path, const json_t *merges, mla_err *err) {
    json_t *item;
    size_t i;
    json_array_foreach(merges, i, item) {
        const char *left = json_string_value(json_array_get(item, 0));
        const char *right = json_string_value(json_array_get(item, 1));
        if (json_is_string(item)) w->merges[i] = mla_strdup(json_string_value(item));
        else if (left && right) w->merges[i] = mla_format("%s %s", left, right);
        else return damaged(path, "a merge is neither text nor a pair", err);
    }
    return 0;
}

// ---- which pre-tokenizer ---------------------------------------------------------------------

static bool is_type(const json_t *object, const char *type) {
    return !strcmp(mla_json_get_text(object, "type", ""), type);
}

static bool is_byte_level(const json_t *part, bool use_regex) {
    return is_type(part, "ByteLevel") && !mla_json_get_bool(part, "add_prefix_space", true) &&
           mla_json_get_bool(part, "use_regex", true) == use_regex;
}

static const char *pre_name(const json_t *tokenizer) {
    const json_t *normalizer = json_object_get(tokenizer, "normalizer");
    const json_t *pre = json_object_get(tokenizer, "pre_tokenizer");
    const json_t *parts = json_object_get(pre, "pretokenizers");
    const json_t *first = json_array_get(parts, 0), *second = json_array_get(parts, 1);
    const char *pattern = mla_json_get_text(json_object_get(first, "pattern"), "Regex", "");
    if (is_type(pre, "Sequence") && json_array_size(parts) == 2) {
        if ((!normalizer || json_is_null(normalizer)) && is_type(first, "Digits") &&
            mla_json_get_bool(first, "individual_digits", false) && is_byte_level(second, true))
            return "smollm";
        if (is_type(normalizer, "NFC") && is_type(first, "Split") &&
            !strcmp(pattern, MLA_PRE_QWEN2_SPLIT) &&
            !strcmp(mla_json_get_text(first, "behavior", ""), "Isolated") &&
            !mla_json_get_bool(first, "invert", false) && is_byte_level(second, false))
            return "qwen2";
    }
    return MLA__PRE_UNKNOWN;
}

// ---- the end-of-turn token -------------------------------------------------------------------

static json_t *read_optional(const mla_weights *w, const char *name) {
    char *path = mla_fs_join(w->path, name);
    json_t *json = mla_fs_exists(path) ? mla_json_read_file(path, MAX_SMALL, NULL) : NULL;
    free(path);
    return json;
}

// An id may be a list; its first is the end of a turn.
static int32_t id_of(const json_t *json, const char *key) {
    const json_t *id = json_object_get(json, key);
    if (json_is_array(id)) id = json_array_get(id, 0);
    return good_id(id) ? (int32_t)json_integer_value(id) : -1;
}

static int32_t id_by_text(const mla_weights *w, const json_t *json, const char *key) {
    const json_t *token = json_object_get(json, key);
    const char *text = json_is_object(token) ? mla_json_get_text(token, "content", NULL)
                                             : json_string_value(token);
    for (size_t i = 0; text && i < w->vocab.n; i++)
        if (w->special[i] == 1 && !strcmp(w->tokens[i], text)) return (int32_t)i;
    return -1;
}

// The tokenizer's configuration has the first word: its token is what the chat template writes.
static void find_ids(mla_weights *w) {
    static const char *const files[] = {"tokenizer_config.json", "generation_config.json",
                                        "config.json"};
    for (size_t i = 0; i < MLA_COUNT(files); i++) {
        json_t *json = read_optional(w, files[i]);
        const struct { int32_t *id; const char *text, *number; } all[] = {
            {&w->vocab.eos, "eos_token", "eos_token_id"},
            {&w->vocab.bos, "bos_token", "bos_token_id"},
            {&w->vocab.pad, "pad_token", "pad_token_id"},
        };
        for (size_t k = 0; k < MLA_COUNT(all); k++)
            if (*all[k].id < 0)
                *all[k].id = i == 0 ? id_by_text(w, json, all[k].text) : id_of(json, all[k].number);
        if (i == 0) {
            w->vocab.add_bos = mla_json_get_bool(json, "add_bos_token", false);
            w->chat_template = mla_strdup(mla_json_get_text(json, "chat_template", NULL));
        }
        json_decref(json);
    }
}

// Newer folders keep the template in a file of its own.
static void find_template(mla_weights *w) {
    char *path = mla_fs_join(w->path, "chat_template.jinja");
    mla_buf text;
    if (mla_fs_exists(path) && mla_fs_read(path, MAX_SMALL, &text, NULL) == 0) {
        free(w->chat_template);
        w->chat_template = mla_buf_take(&text);
        mla_buf_clear(&text);
    }
    free(path);
}

static int read_tokenizer(mla_weights *w, const char *path, const json_t *json, mla_err *err) {
    const json_t *model = json_object_get(json, "model"), *vocab = json_object_get(model, "vocab");
    const json_t *merges = json_object_get(model, "merges");
    const json_t *added = json_object_get(json, "added_tokens");
    if (is_type(model, "BPE") && (!json_is_object(vocab) || !json_is_array(merges)))
        return damaged(path, "a BPE vocabulary without tokens or merges", err);
    if (!json_is_object(vocab) || !json_is_array(merges)) {
        w->pre = mla_strdup(MLA__PRE_UNKNOWN);
        return 0;
    }
    long long n = table_size(vocab, added);
    if (n < 0) return damaged(path, "a token's id is no sane number", err);
    if (n > w->config.vocab)
        return mla_err_set(err, "%s: %lld tokens for an embedding of %d; the file is damaged or of "
                           "another model", path, n, w->config.vocab);
    mla__weights_alloc_vocab(w, (size_t)n, json_array_size(merges));
    if (read_tokens(w, path, vocab, added, err) < 0 || read_merges(w, path, merges, err) < 0)
        return -1;
    w->pre = mla_strdup(pre_name(json));
    return 0;
}

int mla__hf_vocab(mla_weights *weights, mla_err *err) {
    char *path = mla_fs_join(weights->path, "tokenizer.json");
    int rc = 0;
    if (mla_fs_exists(path)) {
        json_t *json = mla_json_read_file(path, MAX_TOKENIZER, err);
        rc = json ? read_tokenizer(weights, path, json, err) : -1;
        json_decref(json);
    }
    if (rc == 0) {
        find_ids(weights);
        find_template(weights);
    }
    free(path);
    return rc;
}
