// Small vocabularies and the corpus of vectors/policy_tokenizer, for tests and benches.
#ifndef MLA_TESTS_TOKENIZER_FIXTURE_H
#define MLA_TESTS_TOKENIZER_FIXTURE_H

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/weights.h"

#define VECTORS "tests/vectors/policy_tokenizer/"

// A vocabulary as tools/vectors_tokenizer.py counts it: bytes in the order of GPT-2's alphabet,
// what the merges make, then the special tokens.
typedef struct small_vocab {
    mla_vocab vocab;
    char **tokens, **merges;
    uint8_t *special;
    size_t cap_tokens, cap_merges;
    mla_buf text;
} small_vocab;

static inline void small_vocab_add(small_vocab *v, char *take) {
    MLA_GROW(v->tokens, v->cap_tokens, v->vocab.n + 1);
    v->tokens[v->vocab.n++] = take;
}

static inline void small_vocab_bytes(small_vocab *v) {
    static const int runs[][2] = {{33, 127}, {161, 173}, {174, 256}, {256, 256 + 68}};
    for (size_t r = 0; r < MLA_COUNT(runs); r++) {
        for (int point = runs[r][0]; point < runs[r][1]; point++) {
            char two[3] = {(char)(0xc0 | point >> 6), (char)(0x80 | (point & 63)), 0};
            char one[2] = {(char)point, 0};
            small_vocab_add(v, mla_strdup(point < 128 ? one : two));
        }
    }
}

static inline bool small_vocab_has(const small_vocab *v, const char *token) {
    for (size_t i = 0; i < v->vocab.n; i++)
        if (!strcmp(v->tokens[i], token)) return true;
    return false;
}

// 0, or -1 when the file cannot be read.
static inline int small_vocab_read(small_vocab *v, const char *pre, mla_err *err) {
    *v = (small_vocab){0};
    char *path = mla_format(VECTORS "%s.merges", pre);
    int rc = mla_fs_read(path, 1 << 24, &v->text, err);
    free(path);
    if (rc < 0) return rc;
    small_vocab_bytes(v);
    for (char *line = v->text.data, *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = 0;
        MLA_GROW(v->merges, v->cap_merges, v->vocab.n_merges + 1);
        v->merges[v->vocab.n_merges++] = line;
        char *space = strchr(line, ' ');
        char *made = mla_format("%.*s%s", (int)(space - line), line, space + 1);
        if (small_vocab_has(v, made)) free(made);
        else small_vocab_add(v, made);
    }
    size_t ordinary = v->vocab.n;
    small_vocab_add(v, mla_strdup("<|endoftext|>"));
    small_vocab_add(v, mla_strdup("<|im_start|>"));
    small_vocab_add(v, mla_strdup("<|im_end|>"));
    small_vocab_add(v, mla_strdup("[PAD]"));
    v->special = MLA_NEW_ARRAY(uint8_t, v->vocab.n);
    memset(v->special + ordinary, 1, 3);
    v->special[ordinary + 3] = 2;
    v->vocab.eos = (int32_t)ordinary + 2;
    v->vocab.tokens = (const char *const *)v->tokens;
    v->vocab.merges = (const char *const *)v->merges;
    v->vocab.special = v->special;
    v->vocab.pre = pre;
    return 0;
}

static inline void small_vocab_clear(small_vocab *v) {
    for (size_t i = 0; i < v->vocab.n; i++) free(v->tokens[i]);
    free(v->tokens);
    free(v->merges);
    free(v->special);
    mla_buf_clear(&v->text);
}

#endif
