// Shared by the weight files' readers and the writer; nobody else includes it.
#ifndef MLA_MODEL_WEIGHTS_INTERNAL_H
#define MLA_MODEL_WEIGHTS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "model/weights.h"

// ---- quant.c: element types ------------------------------------------------------------------

// A storage type. Elements come in blocks of `block` values that take `bytes` bytes.
typedef struct mla__dtype {
    const char *name;
    uint32_t ggml;                                   // its number in GGUF
    size_t block, bytes;
    void (*read)(const uint8_t *src, float *dst, size_t blocks);
    void (*write)(const float *src, uint8_t *dst, size_t blocks);   // NULL: is only read
    float most;                                      // largest magnitude that can be written
} mla__dtype;

const mla__dtype *mla__dtype_by_ggml(uint32_t number);       // NULL: unknown
const mla__dtype *mla__dtype_by_name(const char *name);      // "F32", "F16", "BF16", ...
uint16_t mla__bf16_round(float value);                       // to nearest, ties to even
uint16_t mla__f16_round(float value);                        // the same

// ---- weights.c: the open file ----------------------------------------------------------------

typedef struct mla__mapping {
    const uint8_t *data;
    size_t size;
} mla__mapping;

// What is added to a tensor's values as they are read: scale b a.
typedef struct mla__delta {
    size_t rank;
    float scale;
    float *a, *b;              // [rank, cols], [rows, rank]
} mla__delta;

typedef struct mla__tensor {
    char *name;                // Hugging Face's
    const mla__dtype *type;
    size_t rows, cols;         // a vector has rows == 1
    bool is_vector;
    const uint8_t *data;       // [rows, cols] in blocks, inside a mapping, length checked
    int permuted_heads;        // > 0: rows are in GGUF's interleaved order within so many heads
    mla__delta *deltas;        // [n_deltas], owned
    size_t n_deltas, cap_deltas;
} mla__tensor;

struct mla_weights {
    char *path;
    mla_model_config config;
    mla__mapping *maps;
    size_t n_maps, cap_maps;
    mla__tensor *tensors;      // sorted by name once open
    size_t n_tensors, cap_tensors;
    mla_vocab vocab;           // points to the arrays below
    char **tokens;
    uint8_t *special, *types;
    char **merges;
    char *pre, *chat_template;
    char format[32];
};

// ---- the tensors of an architecture ----------------------------------------------------------

typedef struct mla__shape {
    char name[96];             // Hugging Face's
    size_t rows, cols;         // a vector has rows == 1
} mla__shape;

size_t mla__shape_count(const mla_model_config *config);
// Embedding, layers, last norm, and the head of an untied model.
mla__shape mla__shape_at(const mla_model_config *config, size_t at);

// Maps a whole file read-only; a file shorter than `min_size` is an error.
MLA_MUST_USE int mla__weights_map(mla_weights *weights, const char *path, size_t min_size,
                                  mla__mapping *out, mla_err *err);
// Adds a tensor whose bytes are [offset, offset + its size) of the mapping, checked here.
// `dims` are outermost first, `name` is taken over.
MLA_MUST_USE int mla__weights_add(mla_weights *weights, const mla__mapping *map, const char *path,
                                  char *name, const mla__dtype *type, const uint64_t *dims,
                                  size_t n_dims, uint64_t offset, mla_err *err);
const mla__tensor *mla__weights_find(const mla_weights *weights, const char *name);
// The tensors of one safetensors file that is no whole model.
mla_weights *mla__weights_open_tensors(const char *path, mla_err *err);
// `name` is there; takes over what `delta` points to.
void mla__weights_add_delta(mla_weights *weights, const char *name, mla__delta delta);
// Names from a hostile file must not break the one line of a message.
void mla__weights_one_line(mla_err *err);
// One row in Hugging Face's order; false when a value of it is not finite.
bool mla__row_read(const mla__tensor *tensor, size_t row, float *out);
const uint8_t *mla__row_bytes(const mla__tensor *tensor, size_t row);       // as it is stored
int mla__row_bad(const mla_weights *weights, const mla__tensor *tensor, size_t row, mla_err *err);
// Writes a tensor's rows to `fd` as `type`. `heads` > 0: in GGUF's interleaved order within so many
// heads. Values that are not finite, or that the type cannot hold, are errors.
MLA_MUST_USE int mla__rows_write(const mla_weights *weights, const mla__tensor *tensor,
                                 const mla__dtype *type, int heads, int fd, mla_err *err);
// Room for a vocabulary of empty strings; the readers put their own in.
void mla__weights_alloc_vocab(mla_weights *weights, size_t n, size_t n_merges);

#define MLA__PRE_UNKNOWN "of tokenizer.json"    // a pre-tokenizer that has no name here

// What the readers fill: config, tensors and vocabulary. weights.c checks that they fit together.
MLA_MUST_USE int mla__gguf_open(mla_weights *weights, mla_err *err);
MLA_MUST_USE int mla__hf_open(mla_weights *weights, mla_err *err);          // a folder
MLA_MUST_USE int mla__hf_vocab(mla_weights *weights, mla_err *err);         // its tokenizer.json
// GGUF's name of a tensor with Hugging Face's name; caller frees.
char *mla__gguf_name(const char *name);
MLA_MUST_USE int mla__safetensors_open(mla_weights *weights, const char *path, mla_err *err);
// Tensors without data are taken from `source` by their names.
MLA_MUST_USE int mla__safetensors_write(const char *path, const mla_model_config *config,
                                        const mla_tensor_out *tensors, size_t n, bool as_f32,
                                        const mla_weights *source, mla_err *err);

// The shortest decimal that reads back as the same float; whole numbers without a point.
json_t *mla__short_number(float value);

typedef struct mla__special_ids {
    int32_t bos, eos, pad;     // -1: none
} mla__special_ids;

// mla_weights_save, for tensors that may lack data.
MLA_MUST_USE int mla__hf_write(const char *dir, const mla_model_config *config,
                               const mla_tensor_out *tensors, size_t n, bool as_f32,
                               mla__special_ids ids, const mla_weights *source, mla_err *err);
// `config` is that of the output: its head may be tied where the source's is not.
MLA_MUST_USE int mla__gguf_write(const mla_weights *weights, const mla_model_config *config,
                                 const char *path, mla_weights_to to, const char *model_name,
                                 mla_err *err);

#endif
