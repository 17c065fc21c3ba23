// The step record: the spine. Every stage reads or writes it; on disk it is one JSON object a line
// (docs/formats.md). Sampled token ids are the truth of a policy's action and its text a view of
// them; for actors that speak text the ids are absent and the text is the truth.
#ifndef MLA_RECORD_STEP_H
#define MLA_RECORD_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/json.h"
#include "record/action.h"
#include "record/flag.h"
#include "record/outcome.h"

#define MLA_OID_HEX 41             // a git object id in hex, with the NUL
#define MLA_STEP_VERSION 1

// Where an action starts from: a commit in states.git and what is known of it. All scores are of
// the public half.
typedef struct mla_state {
    char commit[MLA_OID_HEX];
    char undo[MLA_OID_HEX];        // the state that Undo goes back to; "" when there is none
    double score;                  // of the newest ancestor that ran; NaN when none did
    double best;                   // best so far on this line; NaN when none ran
} mla_state;

typedef struct mla_cost {
    double run_seconds;            // wall time of the script (as first run, when cached)
    double generate_seconds;
    double peak_mb;                // peak resident memory of the script
    int prompt_tokens, action_tokens;
    bool cached;                   // the run's result came from the run cache
} mla_cost;

typedef struct mla_reward_parts {  // how a reward came about; NaN where it does not apply
    double reward;                 // NaN: no reward, the sample is dropped
    double gain;                   // direction * (m_after - m_before) / |m_best - m_init|
    double score_before, score_after;
} mla_reward_parts;

typedef struct mla_step {
    char *task, *trajectory, *actor;   // owned; actor: "expert", "policy", ...
    int index;                     // step number in its trajectory, from 0
    uint64_t seed;
    mla_state state;               // before the action
    mla_state state_after;
    int32_t *prompt_ids;           // [n_prompt], owned; NULL for actors that speak text
    size_t n_prompt;
    int32_t *action_ids;           // [n_action], owned; as sampled, end-of-turn token included
    float *logprobs;               // [n_action], owned; nats, under the untruncated distribution
    size_t n_action;
    bool ended;                    // the end-of-turn token was sampled (false: cut at the limit)
    char *text;                    // the action as text, owned
    char *edit;                    // the blocks that an Edit Script (AI) came to, owned, or NULL
    mla_action_kind kind;
    mla_outcome outcome;
    char *error_type;              // exception's type or the submission's fault; may be NULL
    char *feedback;                // what the environment answered, owned
    mla_reward_parts reward;
    double score_private;          // NaN but in evaluation records: never reaches agent or reward
    mla_cost cost;
    unsigned flags;                // of mla_flag; what a run's text, words and submission look like
    bool final;                    // the trajectory ends here
    char *idea;                    // ids of the ideas an expert followed, or NULL
} mla_step;

void mla_step_init(mla_step *step);          // numbers that are not known are NaN
void mla_step_clear(mla_step *step);
void mla_step_copy(mla_step *to, const mla_step *from);   // deep; `to` is overwritten, not cleared
json_t *mla_step_to_json(const mla_step *step);           // caller owns
json_t *mla_flag_to_json(unsigned flags);                 // the list of their names; caller owns
MLA_MUST_USE int mla_step_from_json(mla_step *step, const json_t *object, mla_err *err);

// A growing array of steps, owned.
typedef struct mla_steps {
    mla_step *items;
    size_t len, cap;
} mla_steps;

mla_step *mla_steps_push_take(mla_steps *steps, mla_step *step);  // moves; returns its new place
void mla_steps_clear(mla_steps *steps);

#endif
