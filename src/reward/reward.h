// The paper's reward: facts to one number. Pure: no files, no clock, no tokenizer.
#ifndef MLA_REWARD_REWARD_H
#define MLA_REWARD_REWARD_H

#include "record/step.h"

typedef struct mla_reward_options {
    double alpha;      // steepness of the sigmoid; not in any copy of the paper at hand: ours, 4
} mla_reward_options;

mla_reward_options mla_reward_options_default(void);

// What is judged. All scores are of the public half.
typedef struct mla_reward_facts {
    mla_outcome outcome;
    bool is_edit;
    double score_before;   // of the newest ancestor that ran; NaN: none, m_init stands in
    double score_after;    // NaN when nothing was scored
    int direction;         // +1 higher is better, -1 lower
    double score_init;     // m_init
    double score_best;     // m_best
} mla_reward_facts;

// R = 0 when the action is invalid or its run failed; 0.5 when it is valid and not an edit, or a
// corner case that is not the model's fault; else sigmoid(alpha * direction * (m_after - m_before)
// / |m_best - m_init|). NaN when our own machinery failed. (arXiv 2505.23723, section on the
// agentic ML reward.)
mla_reward_parts mla_reward_score(const mla_reward_options *options, const mla_reward_facts *facts);

#endif
