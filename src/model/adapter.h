// LoRA adapters (Hu et al., 2021): y = W x + s B (A x), W frozen, A [rank, in], B [out, rank], on
// any of the seven linear layers of every block. A model carries a short list of them, each frozen
// or trainable, and adds them in order: reinforcement learning trains a second one over the frozen
// one of fine-tuning. Files are PEFT's folders: adapter_config.json, adapter_model.safetensors.
// Leaves out what is not plain LoRA (DoRA, ranks that differ, modules to save).
#ifndef MLA_MODEL_ADAPTER_H
#define MLA_MODEL_ADAPTER_H

#include "model/model.h"

// What can be adapted: the module that it is in, its name there.
#define MLA_TARGETS(X)                                                                             \
    X(Q, "self_attn", "q_proj")                                                                    \
    X(K, "self_attn", "k_proj")                                                                    \
    X(V, "self_attn", "v_proj")                                                                    \
    X(O, "self_attn", "o_proj")                                                                    \
    X(GATE, "mlp", "gate_proj")                                                                    \
    X(UP, "mlp", "up_proj")                                                                        \
    X(DOWN, "mlp", "down_proj")

#define MLA_TARGET(id, module, name) MLA_TARGET_##id,
typedef enum { MLA_TARGETS(MLA_TARGET) MLA_TARGET_COUNT } mla_target;
#undef MLA_TARGET
#define MLA_TARGETS_ALL ((1u << MLA_TARGET_COUNT) - 1)

enum { MLA_RANK_MAX = 1024 };

typedef struct mla_adapter_options {
    int rank;
    float alpha;
    bool rslora;         // s = alpha / sqrt(rank) (Kalajdzievski, 2023); else alpha / rank
    float dropout;       // share of the adapter's input that is dropped in training, below 1
    unsigned targets;    // 1u << mla_target, one bit for each
    const char *base;    // base_model_name_or_path of the file; NULL: not said. Copied
} mla_adapter_options;
mla_adapter_options mla_adapter_options_default(void);   // rank 16, alpha 32, all targets
float mla_adapter_scale(const mla_adapter_options *options);
const char *mla_target_name(mla_target target);          // "q_proj"
// A set of targets: "all", or names with commas between. -1 when one is not known or none is there.
MLA_MUST_USE int mla_targets_parse(unsigned *out, const char *text);
char *mla_targets_text(unsigned targets);                // as parsed; caller frees

// ---- on a model ------------------------------------------------------------------------------
// These change what the model computes, so they raise its version; they come before its optimiser
// and activations are made. Adapters are numbered from 0 in the order in which they came.

// A new trainable one: B is zero, so that it changes nothing yet; A is uniform within
// +-1 / sqrt(in), as PEFT draws it, from the seed. Its number, or -1. The model must be adaptable.
int mla_adapter_add(mla_model *model, const mla_adapter_options *options, uint64_t seed,
                    mla_err *err);
// From a folder, ours or PEFT's. Its number, or -1 with one line that says what does not fit.
int mla_adapter_load(mla_model *model, const char *dir, bool trainable, mla_err *err);
// As a PEFT folder, fp32 or bf16, written under a temporary name and renamed.
MLA_MUST_USE int mla_adapter_save(const mla_model *model, int at, const char *dir, bool as_f32,
                                  mla_err *err);
// It is not trained any more; its parameters leave the model's list.
void mla_adapter_freeze(mla_model *model, int at);
int mla_adapter_count(const mla_model *model);
const mla_adapter_options *mla_adapter_get_options(const mla_model *model, int at);   // borrowed

// While `on`, the trainable adapters are left out: the model is the one that they start from, the
// reference of a KL penalty. Caches made before are good again when it is off.
void mla_model_reference(mla_model *model, bool on);
// Adds all adapters, as they stand, to the weights themselves, for sampling without their products;
// the weights without them are kept beside. Not for int8, nor for fp32 that is not adaptable.
MLA_MUST_USE int mla_model_merge(mla_model *model, mla_err *err);
// Back to the very bits of before.
void mla_model_unmerge(mla_model *model);

// ---- on files --------------------------------------------------------------------------------

typedef struct mla_adapter_info {
    mla_adapter_options options;  // base: NULL
    char base[256];               // "": not said
    int layers;
    uint64_t parameters, bytes;
    const char *type;             // "F32", "F16" or "BF16"; a static string
} mla_adapter_info;

bool mla_adapter_is_folder(const char *path);
MLA_MUST_USE int mla_adapter_describe(const char *dir, mla_adapter_info *out, mla_err *err);
// From now on the weights are read as if merged with the adapter: w + s B A, in fp32.
MLA_MUST_USE int mla_weights_adapt(mla_weights *weights, const char *dir, mla_err *err);

#endif
