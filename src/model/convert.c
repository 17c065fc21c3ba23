// Weights into another format: a Hugging Face folder from here, GGUF by gguf_write.c.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/weights_internal.h"

mla_weights_to mla_weights_to_parse(const char *name) {
#define NAME(id, text, type) text,
    static const char *const names[] = {MLA_WEIGHTS_FORMATS(NAME)};
#undef NAME
    for (size_t i = 0; i < MLA_COUNT(names); i++)
        if (!strcmp(name, names[i])) return (mla_weights_to)i;
    return MLA_TO_COUNT;
}

static int write_folder(const mla_weights *weights, const mla_model_config *config,
                        const char *dir, mla_err *err) {
    size_t n = mla__shape_count(config);
    mla__shape *shapes = MLA_NEW_ARRAY(mla__shape, n);
    mla_tensor_out *tensors = MLA_NEW_ARRAY(mla_tensor_out, n);
    for (size_t i = 0; i < n; i++) {
        shapes[i] = mla__shape_at(config, i);
        tensors[i] = (mla_tensor_out){.name = shapes[i].name, .rows = shapes[i].rows,
                                      .cols = shapes[i].cols, .is_vector = shapes[i].rows == 1};
    }
    const mla_vocab *vocab = &weights->vocab;
    const mla__special_ids ids = {.bos = vocab->bos, .eos = vocab->eos,
                                  .pad = vocab->pad >= 0 ? vocab->pad : vocab->eos};
    int rc = mla__hf_write(dir, config, tensors, n, false, ids, weights, err);
    free(tensors);
    free(shapes);
    return rc;
}

int mla_weights_convert(const mla_weights *weights, const char *out, mla_weights_to to,
                        const char *model_name, mla_err *err) {
    MLA_ASSERT(to < MLA_TO_COUNT);
    mla_model_config config = weights->config;
    if (mla_weights_head_repeats_embedding(weights)) config.tied = true;
    return to == MLA_TO_HF ? write_folder(weights, &config, out, err)
                           : mla__gguf_write(weights, &config, out, to, model_name, err);
}
