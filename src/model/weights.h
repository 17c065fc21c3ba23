// Weight files: a GGUF file or a Hugging Face folder, opened read-only and memory-mapped; tensors
// come out as fp32 under Hugging Face's names and layout (GGUF's permuted Q and K rows of Llama
// models are put back). Also the vocabulary, which GGUF keeps in the same file; and the writers of
// both formats.
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
    // What the program has no use for itself, but a converted file must say.
    const uint8_t *types;           // [n], GGUF's: 1 normal, 3 control, 4 user-defined, 5 unused
    int32_t bos, pad;               // -1 when the file names none
    bool add_bos;                   // other programs put `bos` before a text
    const char *chat_template;      // Jinja; NULL when the file has none
} mla_vocab;

typedef struct mla_weights mla_weights;

// One clear line for a missing, truncated or foreign file, an unknown architecture or type.
mla_weights *mla_weights_open(const char *path, mla_err *err);
void mla_weights_close(mla_weights *weights);
const mla_model_config *mla_weights_config(const mla_weights *weights);
const mla_vocab *mla_weights_vocab(const mla_weights *weights);
// Turns end with the special token `text` instead of the one that the file names: base models end
// texts with <|endoftext|>, ChatML ends turns with <|im_end|>, and not every file settles which.
MLA_MUST_USE int mla_weights_set_eos(mla_weights *weights, const char *text, mla_err *err);
bool mla_weights_has(const mla_weights *weights, const char *name);
// Dequantises the tensor called `name` into out [rows, cols]; the shape must match. A value that is
// no finite number is an error.
MLA_MUST_USE int mla_weights_read(const mla_weights *weights, const char *name, float *out,
                                  size_t rows, size_t cols, mla_err *err);

// ---- what is in the file ---------------------------------------------------------------------

// Tensors of one storage type, and the bytes they take.
typedef struct mla_weights_share {
    const char *type;               // "F32", "Q4_0", ...; a static string
    size_t tensors;
    uint64_t values, bytes;
} mla_weights_share;

enum { MLA_WEIGHTS_TYPES = 11 };    // how many storage types there are
// Fills `out` with the types that occur, the largest share first; returns their number.
size_t mla_weights_shares(const mla_weights *weights, mla_weights_share out[MLA_WEIGHTS_TYPES]);
// The storage type of the tensor called `name`; NULL when there is none.
const char *mla_weights_type(const mla_weights *weights, const char *name);
const char *mla_weights_format(const mla_weights *weights);   // "GGUF v3", "Hugging Face folder"
// The file has a head of its own that holds, bit for bit, the embedding.
bool mla_weights_head_repeats_embedding(const mla_weights *weights);

// ---- writing ---------------------------------------------------------------------------------

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

// Formats of mla_weights_convert: name on the command line, storage type of the matrices.
#define MLA_WEIGHTS_FORMATS(X) \
    X(HF, "hf", "BF16")        \
    X(BF16, "bf16", "BF16")    \
    X(F16, "f16", "F16")       \
    X(Q8_0, "q8_0", "Q8_0")    \
    X(Q4_0, "q4_0", "Q4_0")

#define MLA_WEIGHTS_FORMAT(id, name, type) MLA_TO_##id,
typedef enum { MLA_WEIGHTS_FORMATS(MLA_WEIGHTS_FORMAT) MLA_TO_COUNT } mla_weights_to;
#undef MLA_WEIGHTS_FORMAT

mla_weights_to mla_weights_to_parse(const char *name);        // MLA_TO_COUNT: unknown
// Writes the weights in another format. MLA_TO_HF: config.json, generation_config.json and
// model.safetensors into the folder `out` (the tokenizer's files are the tokenizer's business);
// else a GGUF file at `out`, vocabulary included, under a temporary name until it is whole. Norms
// and biases become fp32 in GGUF. A head that repeats the embedding is left out and the model
// called tied; another head stays. One row is in memory at a time for each thread.
MLA_MUST_USE int mla_weights_convert(const mla_weights *weights, const char *out,
                                     mla_weights_to to, const char *model_name, mla_err *err);

#endif
