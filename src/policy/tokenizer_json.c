// Writes a tokenizer as Hugging Face has it: tokenizer.json and tokenizer_config.json. What is
// special and what only fills the table is kept apart; fillers are left out.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "policy/tokenizer_internal.h"

static const char CHATML[] =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
    "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}"
    "{% endif %}";

// A token's text in the vocabulary; caller frees.
static char *printed(const mla_tokenizer *tok, int32_t id) {
    const mla__bytes *raw = &tok->bpe.raw[id];
    if (tok->special[id]) return mla_strdup(raw->data);
    char *text = mla_alloc(2 * raw->len + 1, 1);
    mla__bpe_print(raw->data, raw->len, text);
    return text;
}

static json_t *vocab_json(const mla_tokenizer *tok) {
    json_t *vocab = json_object();
    for (size_t id = 0; id < tok->bpe.n; id++) {
        if (tok->special[id] == 2) continue;
        char *text = printed(tok, (int32_t)id);
        if (!json_object_get(vocab, text))
            json_object_set_new(vocab, text, json_integer((json_int_t)id));
        free(text);
    }
    return vocab;
}

static json_t *merges_json(const mla_tokenizer *tok) {
    json_t *merges = json_array();
    for (size_t i = 0; i < tok->n_merges; i++) {
        char *left = printed(tok, tok->merges[i].left), *right = printed(tok, tok->merges[i].right);
        char *text = mla_format("%s %s", left, right);
        json_array_append_new(merges, json_string(text));
        free(text);
        free(right);
        free(left);
    }
    return merges;
}

static json_t *added_json(const mla_tokenizer *tok) {
    json_t *added = json_array();
    for (size_t id = 0; id < tok->bpe.n; id++) {
        if (tok->special[id] != 1) continue;
        json_array_append_new(
            added, json_pack("{s:I,s:s,s:b,s:b,s:b,s:b,s:b}", "id", (json_int_t)id, "content",
                             tok->bpe.raw[id].data, "single_word", 0, "lstrip", 0, "rstrip", 0,
                             "normalized", 0, "special", 1));
    }
    return added;
}

static json_t *byte_level(bool use_regex) {
    return json_pack("{s:s,s:b,s:b,s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", use_regex);
}

static json_t *pre_json(mla__pre pre) {
    json_t *first = pre == MLA__PRE_SMOLLM
        ? json_pack("{s:s,s:b}", "type", "Digits", "individual_digits", 1)
        : json_pack("{s:s,s:{s:s},s:s,s:b}", "type", "Split", "pattern", "Regex",
                    MLA_PRE_QWEN2_SPLIT, "behavior", "Isolated", "invert", 0);
    return json_pack("{s:s,s:[o,o]}", "type", "Sequence", "pretokenizers", first,
                     byte_level(pre == MLA__PRE_SMOLLM));
}

static json_t *tokenizer_json(const mla_tokenizer *tok) {
    json_t *normalizer = tok->pre == MLA__PRE_QWEN2 ? json_pack("{s:s}", "type", "NFC")
                                                    : json_null();
    json_t *model = json_pack("{s:s,s:n,s:n,s:n,s:n,s:b,s:b,s:b,s:o,s:o}", "type", "BPE",
                              "dropout", "unk_token", "continuing_subword_prefix",
                              "end_of_word_suffix", "fuse_unk", 0, "byte_fallback", 0,
                              "ignore_merges", 0, "vocab", vocab_json(tok), "merges",
                              merges_json(tok));
    json_t *json = json_pack("{s:s,s:n,s:n,s:o,s:o,s:o,s:n,s:o,s:o}", "version", "1.0",
                             "truncation", "padding", "added_tokens", added_json(tok),
                             "normalizer", normalizer, "pre_tokenizer", pre_json(tok->pre),
                             "post_processor", "decoder", byte_level(true), "model", model);
    MLA_ASSERT(json);
    return json;
}

static json_t *config_json(const mla_tokenizer *tok) {
    json_t *json = json_pack("{s:s,s:b,s:b,s:s}", "tokenizer_class", "PreTrainedTokenizerFast",
                             "clean_up_tokenization_spaces", 0, "add_prefix_space", 0,
                             "chat_template", CHATML);
    MLA_ASSERT(json);
    if (tok->eos >= 0) {
        char *eos = printed(tok, tok->eos);
        json_object_set_new(json, "eos_token", json_string(eos));
        json_object_set_new(json, "pad_token", json_string(eos));
        free(eos);
    }
    return json;
}

static int write_json(const char *dir, const char *name, json_t *take, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    int rc = mla_json_write_file(path, take, err);
    json_decref(take);
    free(path);
    return rc;
}

int mla_tokenizer_save(const mla_tokenizer *tok, const char *dir, mla_err *err) {
    if (mla_fs_mkdirs(dir, err) < 0) return -1;
    if (write_json(dir, "tokenizer.json", tokenizer_json(tok), err) < 0) return -1;
    return write_json(dir, "tokenizer_config.json", config_json(tok), err);
}
