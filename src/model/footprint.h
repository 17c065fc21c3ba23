// How much memory a model takes in each use, by its shape alone: what the code of this room
// allocates, without allocating it.
#ifndef MLA_MODEL_FOOTPRINT_H
#define MLA_MODEL_FOOTPRINT_H

#include <stdint.h>

#include "model/model.h"

typedef enum { MLA_USE_SAMPLE, MLA_USE_LORA, MLA_USE_FULL } mla_use;

// Bytes.
typedef struct mla_footprint {
    uint64_t weights;        // as they are computed with, rotation angles included
    uint64_t optimiser;      // master values, gradients and moments of what is trained
    uint64_t cache;          // keys and values
    uint64_t work;           // buffers of a pass, and what its way back needs
    uint64_t total;
} mla_footprint;

// For sequences of `tokens` tokens in all: sampled, or learned from in one pass. `rank` is LoRA's,
// on all linear layers; `recompute` as mla_activations_recompute.
mla_footprint mla_footprint_of(const mla_model_config *config, mla_compute compute, mla_use use,
                               int tokens, int rank, bool recompute);
// Parameters of the model; of LoRA adapters of a rank.
uint64_t mla_footprint_params(const mla_model_config *config);
uint64_t mla_footprint_lora_params(const mla_model_config *config, int rank);

#endif
