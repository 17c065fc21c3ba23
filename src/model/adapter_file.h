// Adapters on disk: PEFT's folders, opened and checked against a model's shape, and written. Knows
// weight files only; what an adapter computes is in adapter.c and low_rank.c.
#ifndef MLA_MODEL_ADAPTER_FILE_H
#define MLA_MODEL_ADAPTER_FILE_H

#include "model/adapter.h"

typedef struct mla__adapter_file {
    char *path;                    // of the tensors
    mla_weights *tensors;          // only its table of tensors is filled
    mla_adapter_options options;   // base is owned
    int layers;                    // how many it adapts
} mla__adapter_file;

// Opens; what is no plain LoRA over linear layers gives one line.
MLA_MUST_USE int mla__adapter_file_open(mla__adapter_file *out, const char *dir, mla_err *err);
void mla__adapter_file_close(mla__adapter_file *file);
// Whether the tensors are those of an adapter for a model of this shape.
MLA_MUST_USE int mla__adapter_file_check(const mla__adapter_file *file,
                                         const mla_model_config *config, mla_err *err);
// `which` 'A': out [rank, in]; 'B': out [out, rank], of a file that was checked.
MLA_MUST_USE int mla__adapter_file_read(const mla__adapter_file *file,
                                        const mla_model_config *config, int layer,
                                        mla_target target, char which, float *out, mla_err *err);
// Into the folder `dir`, which is there.
MLA_MUST_USE int mla__adapter_file_write(const char *dir, const mla_adapter_options *options,
                                         const mla_tensor_out *tensors, size_t n, bool as_f32,
                                         mla_err *err);

// PEFT's name of a tensor; caller frees.
char *mla__adapter_tensor(int layer, mla_target target, char which);
void mla__target_shape(const mla_model_config *config, mla_target target, int *out, int *in);

#endif
