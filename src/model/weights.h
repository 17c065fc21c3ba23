// Weight files: a GGUF file or a Hugging Face folder, opened read-only and memory-mapped; tensors
// come out as fp32 under Hugging Face's names and layout (GGUF's permuted Q and K rows of Llama
// models are put back). Also the vocabulary, which GGUF keeps in the same file.
#ifndef MLA_MODEL_WEIGHTS_H
#define MLA_MODEL_WEIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

typedef enum { MLA_ARCH_LLAMA, MLA_ARCH_QWEN2 } mla_arch;

typedef struct mla_model_config {
    mla_arch arch;             // QWEN2 has biases on Q, K and V
    int vocab, dim, layers, heads, kv_heads, head_dim, hidden, max_context;
    float rope_theta, norm_eps;
    bool tied;                 // the head is the embedding
} mla_model_config;

// The pattern by which Qwen2's tokenizer.json splits text; what makes `pre` "qwen2" there.
#define MLA_PRE_QWEN2_SPLIT                                                                  \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|"                     \
    " ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

// A byte-level BPE vocabulary as the file has it. Borrowed from the weights.
typedef struct mla_vocab {
    const char *const *tokens;      // [n], GPT-2's printable byte alphabet, UTF-8
    const uint8_t *special;         // [n], 1 for control and user-defined special tokens, 2 for
                                    // entries that only fill the table; 0 for ordinary tokens
    size_t n;
    const char *const *merges;      // [n_merges], "left right", best first
    size_t n_merges;
    const char *pre;                // "smollm", "qwen2", or what else the file says
    int32_t eos;                    // the end-of-turn token; -1 when the file names none
} mla_vocab;

typedef struct mla_weights mla_weights;

// One clear line for a missing, truncated or foreign file, an unknown architecture or type.
mla_weights *mla_weights_open(const char *path, mla_err *err);
void mla_weights_close(mla_weights *weights);
const mla_model_config *mla_weights_config(const mla_weights *weights);
const mla_vocab *mla_weights_vocab(const mla_weights *weights);
bool mla_weights_has(const mla_weights *weights, const char *name);
// Dequantises the tensor called `name` into out [rows, cols]; the shape must match.
MLA_MUST_USE int mla_weights_read(const mla_weights *weights, const char *name, float *out,
                                  size_t rows, size_t cols, mla_err *err);

// A tensor to be written. `data` [rows, cols]; a vector has is_vector set and rows == 1.
typedef struct mla_tensor_out {
    const char *name;
    const float *data;
    size_t rows, cols;
    bool is_vector;
} mla_tensor_out;

// Writes config.json, generation_config.json and model.safetensors (bf16 or f32) into `dir`.
MLA_MUST_USE int mla_weights_save(const char *dir, const mla_model_config *config,
                                  const mla_tensor_out *tensors, size_t n, bool as_f32,
                                  int32_t eos, mla_err *err);

#endif
