// A policy's life: opening, freezing, saving. What it does is in generate.c, score.c, embed.c.
#include <stdlib.h>

#include "base/fs.h"
#include "base/mem.h"
#include "model/adapter.h"
#include "policy/internal.h"

mla_policy_options mla_policy_options_default(void) {
    return (mla_policy_options){.compute = mla_compute_best(), .trainable = false,
                                .kv_bytes = (size_t)1 << 30};
}

static void voice_release(mla_voice *voice) {
    if (!voice || --voice->owners > 0) return;
    mla_tokenizer_free(voice->tok);
    free(voice);
}

static mla_voice *voice_create(const mla_vocab *vocab, const char *path, mla_err *err) {
    mla_voice *voice = MLA_NEW(mla_voice);
    voice->owners = 1;
    voice->tok = mla_tokenizer_create(vocab, err);
    if (!voice->tok) {
        voice_release(voice);
        return NULL;
    }
    voice->im_start = mla_tokenizer_special(voice->tok, "<|im_start|>");
    voice->im_end = mla_tokenizer_special(voice->tok, "<|im_end|>");
    if (voice->im_start < 0 || voice->im_end < 0) {
        mla_err_set(err, "%s: the vocabulary has no <|im_start|> and <|im_end|>; "
                    "use a model with the ChatML template", path);
        voice_release(voice);
        return NULL;
    }
    return voice;
}

mla_policy *mla_policy_open(const char *path, const mla_policy_options *options, mla_err *err) {
    mla_weights *weights = mla_weights_open(path, err);
    if (!weights) return NULL;
    mla_policy *policy = MLA_NEW(mla_policy);
    policy->kv_bytes = options->kv_bytes;
    policy->voice = voice_create(mla_weights_vocab(weights), path, err);
    const mla_model_options wanted = {.compute = options->compute, .trainable = options->trainable,
                                      .adaptable = options->adaptable};
    if (policy->voice) policy->model = mla_model_from_weights(weights, &wanted, err);
    mla_weights_close(weights);
    if (policy->model && options->adapter &&
        mla_adapter_load(policy->model, options->adapter, false, err) < 0) {
        mla_policy_free(policy);
        return NULL;
    }
    if (!policy->model) {
        mla_policy_free(policy);
        return NULL;
    }
    return policy;
}

mla_policy *mla_policy_freeze(const mla_policy *policy, mla_compute compute) {
    mla_policy *copy = MLA_NEW(mla_policy);
    copy->kv_bytes = policy->kv_bytes;
    copy->voice = policy->voice;
    copy->voice->owners++;
    copy->model = mla_model_freeze(policy->model, compute);
    return copy;
}

void mla_policy_free(mla_policy *policy) {
    if (!policy) return;
    mla_engine_free(policy->engine);
    mla_activations_free(policy->acts);
    mla_model_free(policy->model);
    voice_release(policy->voice);
    free(policy);
}

mla_model *mla_policy_model(mla_policy *policy) {
    return policy->model;
}

const mla_tokenizer *mla_policy_tokenizer(const mla_policy *policy) {
    return policy->voice->tok;
}

int mla_policy_save(const mla_policy *policy, const char *dir, bool as_f32, mla_err *err) {
    char *tmp = mla_format("%s.tmp", dir);
    int rc = mla_fs_remove_tree(tmp, err);
    if (rc == 0) rc = mla_fs_mkdirs(tmp, err);
    if (rc == 0) rc = mla_model_save(policy->model, tmp, as_f32, err);
    if (rc == 0) rc = mla_tokenizer_save(policy->voice->tok, tmp, err);
    if (rc == 0) rc = mla_fs_replace_dir(tmp, dir, err);
    free(tmp);
    return rc;
}
