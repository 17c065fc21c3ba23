// A tiny random policy on disk with the real vocabulary: small enough that whole training runs fit
// in a test. The vocabulary comes from the default model, which ./test fetches.
#ifndef MLA_TESTS_TINY_POLICY_H
#define MLA_TESTS_TINY_POLICY_H

#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "policy/policy.h"

static inline char *default_model(void) {
    char *home = mla_home();
    char *path = mla_fs_join(home, "models/smollm2-135m-instruct.gguf");
    free(home);
    return path;
}

// Writes the folder `dir`; 0, or -1 with the message printed.
static inline int tiny_policy_write(const char *dir, uint64_t seed) {
    mla_err err = {{0}};
    char *path = default_model();
    mla_weights *weights = mla_weights_open(path, &err);
    free(path);
    int rc = weights ? mla_fs_mkdirs(dir, &err) : -1;
    if (rc == 0) {
        mla_model_config c = *mla_weights_config(weights);
        c.dim = 32, c.layers = 2, c.heads = 4, c.kv_heads = 2, c.head_dim = 16, c.hidden = 64;
        c.max_context = 2048;
        const mla_model_options options = {.compute = MLA_COMPUTE_F32, .trainable = true};
        mla_model *model = mla_model_random(&c, &options, seed);
        mla_tokenizer *tok = mla_tokenizer_create(mla_weights_vocab(weights), &err);
        rc = tok && mla_model_save(model, dir, true, &err) == 0 ? mla_tokenizer_save(tok, dir, &err)
                                                               : -1;
        mla_tokenizer_free(tok);
        mla_model_free(model);
    }
    mla_weights_close(weights);
    if (rc < 0) fprintf(stderr, "tiny policy: %s\n", err.text);
    return rc;
}

#endif
