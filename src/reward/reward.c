// The agentic-ML reward (arXiv 2505.23723). It leaves out how the facts come about: env.
#include "reward/reward.h"

#include <math.h>

mla_reward_options mla_reward_options_default(void) {
    return (mla_reward_options){.alpha = 4.0};
}

// An edit that ran: how much of the way from the starter to the reference this one step went.
static void score_edit(const mla_reward_options *options, const mla_reward_facts *facts,
                       mla_reward_parts *parts) {
    MLA_ASSERT(isfinite(facts->score_after));
    MLA_ASSERT(facts->direction == 1 || facts->direction == -1);
    MLA_ASSERT(facts->score_best != facts->score_init);
    double before = isnan(facts->score_before) ? facts->score_init : facts->score_before;
    double way = fabs(facts->score_best - facts->score_init);
    parts->score_before = before;
    parts->gain = facts->direction * (facts->score_after - before) / way;
    parts->reward = 1.0 / (1.0 + exp(-options->alpha * parts->gain));
}

mla_reward_parts mla_reward_score(const mla_reward_options *options,
                                  const mla_reward_facts *facts) {
    mla_reward_parts parts = {NAN, NAN, facts->score_before, facts->score_after};
    switch (mla_outcome_class_of(facts->outcome)) {
    case MLA_CLASS_FAILED:
        parts.reward = 0.0;
        break;
    case MLA_CLASS_CORNER:
        parts.reward = 0.5;
        break;
    case MLA_CLASS_DONE:
        parts.reward = 0.5;
        if (facts->is_edit) score_edit(options, facts, &parts);
        break;
    case MLA_CLASS_NONE:
        break;
    }
    return parts;
}
