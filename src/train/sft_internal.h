// What the files of fine-tuning share: its data, the plan of its steps, validation, and what is
// said before it starts.
#ifndef MLA_TRAIN_SFT_INTERNAL_H
#define MLA_TRAIN_SFT_INTERNAL_H

#include "train/internal.h"

// ---- data (train/sft_data.c) -----------------------------------------------------------------

// A state and the samples that begin with it; its tokens are computed once for all of them.
typedef struct mla__sft_state {
    size_t first, n;           // samples [first, first + n)
    int tokens;                // through the network
    int targets;               // with a loss
} mla__sft_state;

typedef struct mla__sft_data {
    mla_steps samples;         // what is trained on, then what is held back
    int *lines;                // [samples.len], where they stand in their file, from 1
    mla__sft_state *states;    // [n_states]
    size_t n_states, n_train;  // those from n_train on are held back
    size_t left_out;           // samples that were too long
    size_t cap_lines, cap_states;
} mla__sft_data;

// Reads sft/steps.jsonl and sft/validation.jsonl. Ids that the model does not have are an error.
MLA_MUST_USE int mla__sft_data_read(mla__sft_data *out, const mla_run *run,
                                    const mla_model_config *config, const mla_sft_options *options,
                                    mla_err *err);
void mla__sft_data_clear(mla__sft_data *data);

// Several states as one batch, none of which sees another.
typedef struct mla__sft_pack {
    mla_group group;           // its action k is sample samples[k]
    size_t *samples;           // [n_samples], owned
    size_t n_samples;
} mla__sft_pack;

// Packs as many of states[0 .. n) as fit `tokens`, at least one; returns how many.
size_t mla__sft_pack_make(mla__sft_pack *out, const mla__sft_data *data, const size_t *states,
                          size_t n, int tokens);
void mla__sft_pack_clear(mla__sft_pack *pack);

// Which states are learned in which step. Epochs are shuffled anew, each by its own seed, and a
// step takes states until it has `batch` samples or the epoch ends: all a function of data and
// options, so that a resumed run goes on with the same ones.
typedef struct mla__sft_plan {
    size_t *order;             // [epochs * n_train] states
    size_t *begin;             // [steps + 1] in order
    int *epoch_end;            // [epochs] steps that are done when an epoch is
    int steps, epochs;
    double step_targets;       // tokens with a loss in a step, on the average
} mla__sft_plan;

void mla__sft_plan_make(mla__sft_plan *out, const mla__sft_data *data,
                        const mla_sft_options *options);
void mla__sft_plan_clear(mla__sft_plan *plan);
// Tokens of the largest pass of training or validation.
int mla__sft_plan_largest(const mla__sft_plan *plan, const mla__sft_data *data, int tokens);

// ---- will it fit? (train/sft_memory.c) ---------------------------------------------------------

// Bytes that fine-tuning takes, with passes of `tokens` tokens.
uint64_t mla__sft_memory(const mla_model_config *config, const mla_sft_options *options,
                         int tokens);
// 0, or -1 when that is more than `available`, with what would fit. `longest`: tokens of the
// longest state with its samples.
MLA_MUST_USE int mla__sft_memory_check(const mla_model_config *config,
                                       const mla_sft_options *options, int tokens, int longest,
                                       uint64_t available, mla_err *err);

// ---- validation (train/sft_validate.c) -------------------------------------------------------

// NaN where it was not measured.
typedef struct mla__sft_score {
    double loss;               // mean over the action tokens of the held-back samples, nats
    double accuracy;           // share of valid actions, sampled greedily in held-back states
} mla__sft_score;

// With the weights as they stand, without dropout. 1, 0 when stopped on the way, -1.
MLA_MUST_USE int mla__sft_validate(mla__sft_score *out, const mla__sft_data *data,
                                   const mla_sft_options *options, mla_policy *policy,
                                   mla_activations *acts, mla_err *err);
// A reply in the state of `sample` counts as valid when it can be read as an action that is
// offered, and an edit's blocks fit the script that the prompt shows, and there is something to
// take back for an undo. Nothing is run: what a script then does is evaluation's business.
bool mla__sft_reply_valid(const mla_policy *policy, const mla_step *sample, mla_action_set offered,
                          const char *reply);

// ---- what becomes the result (train/sft_result.c) --------------------------------------------

typedef struct mla__sft_result {
    mla_sft_keep keep;
    bool lora;
    int patience;
    mla__sft_score best;       // of the validation after best_step steps; 0: there was none yet
    int best_step;
    int stale;                 // validations since
    char *kept;                // sft/best: those weights, unless the last ones are kept
    char *model, *adapter;     // sft/model, sft/adapter
} mla__sft_result;

void mla__sft_result_init(mla__sft_result *result, const mla_run *run,
                          const mla_sft_options *options);
void mla__sft_result_clear(mla__sft_result *result);
json_t *mla__sft_result_to_json(const mla__sft_result *result);
void mla__sft_result_from_json(mla__sft_result *result, const json_t *state);
// A validation's score. 1: the best so far, and the policy's weights are kept if need be; 0; -1.
MLA_MUST_USE int mla__sft_result_offer(mla__sft_result *result, const mla__sft_score *score,
                                       int step, mla_policy *policy, mla_err *err);
bool mla__sft_result_given_up(const mla__sft_result *result);
// Writes sft/model, of LoRA sft/adapter too, from the policy as it stands or what was kept. May be
// done again after a kill.
MLA_MUST_USE int mla__sft_result_write(const mla__sft_result *result, mla_policy *policy,
                                       const char *base, mla_err *err);
// Removes what was kept.
MLA_MUST_USE int mla__sft_result_tidy(const mla__sft_result *result, mla_err *err);

#endif
