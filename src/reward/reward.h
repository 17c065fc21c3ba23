// The reward: facts to one number, in the paper's form or a named variant (docs/reward.md). Pure:
// no files, no clock, no tokenizer.
#ifndef MLA_REWARD_REWARD_H
#define MLA_REWARD_REWARD_H

#include "record/step.h"

// X(id, name, what differs from the paper's form)
#define MLA_REWARD_FORM_MAP(X)                                                                  \
    X(PAPER, "paper", "the paper's: 0, 0.5 or the sigmoid of the scaled gain")                  \
    X(NO_SCALING, "no_scaling", "the difference of scores is not divided by |m_best - m_init|") \
    X(BINARY, "binary", "1 for an edit that improved the score, else 0")                        \
    X(NO_CORNER_CASE, "no_corner_case", "time-outs and out of memory are 0, not 0.5")           \
    X(STRICT, "strict", "above 0 only for an edit that beats the best score so far")

typedef enum mla_reward_form {
#define X(id, name, meaning) MLA_REWARD_##id,
    MLA_REWARD_FORM_MAP(X)
#undef X
    MLA_REWARD_FORM_COUNT
} mla_reward_form;

const char *mla_reward_form_name(mla_reward_form form);
int mla_reward_form_parse(const char *name);   // the enum, or -1

typedef struct mla_reward_options {
    double alpha;      // steepness of the sigmoid; not in any copy of the paper at hand: ours, 4
    mla_reward_form form;
} mla_reward_options;

mla_reward_options mla_reward_options_default(void);

// What is judged. All scores are of the public half.
typedef struct mla_reward_facts {
    mla_outcome outcome;
    bool is_edit;
    double score_before;   // of the newest ancestor that ran; NaN: none, m_init stands in
    double score_after;    // NaN when nothing was scored
    double best_before;    // best of all ancestors that ran; NaN: none; read by strict only
    int direction;         // +1 higher is better, -1 lower
    double score_init;     // m_init
    double score_best;     // m_best
} mla_reward_facts;

// The paper's form: R = 0 when the action is invalid or its run failed; 0.5 when it is valid and
// not an edit, or a corner case that is not the model's fault; else sigmoid(alpha * direction *
// (m_after - m_before) / |m_best - m_init|). (arXiv 2505.23723, section on the agentic ML reward.)
// Every form: from 0 to 1, and NaN when our own machinery failed.
mla_reward_parts mla_reward_score(const mla_reward_options *options, const mla_reward_facts *facts);

#endif
