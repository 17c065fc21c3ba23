// The agentic-ML reward (arXiv 2505.23723) and its variants. It leaves out how the facts come
// about: env.
#include "reward/reward.h"

#include <math.h>
#include <string.h>

static const char *const names[MLA_REWARD_FORM_COUNT] = {
#define X(id, name, meaning) [MLA_REWARD_##id] = name,
    MLA_REWARD_FORM_MAP(X)
#undef X
};

const char *mla_reward_form_name(mla_reward_form form) {
    MLA_ASSERT((unsigned)form < MLA_REWARD_FORM_COUNT);
    return names[form];
}

int mla_reward_form_parse(const char *name) {
    for (int i = 0; i < MLA_REWARD_FORM_COUNT; i++)
        if (!strcmp(name, names[i])) return i;
    return -1;
}

mla_reward_options mla_reward_options_default(void) {
    return (mla_reward_options){.alpha = 4.0, .form = MLA_REWARD_PAPER};
}

static double sigmoid(double x) {
    return 1.0 / (1.0 + exp(-x));
}

// The score that strict measures from: the best so far, and never below the starter, so that the
// starter's score cannot be lost and sold a second time.
static double bar_of(const mla_reward_facts *facts) {
    double best = facts->best_before, init = facts->score_init;
    return isnan(best) || facts->direction * (best - init) < 0 ? init : best;
}

static double score_gain(const mla_reward_options *options, const mla_reward_facts *facts,
                         double gain, double way) {
    switch (options->form) {
    case MLA_REWARD_NO_SCALING: return sigmoid(options->alpha * gain * way);
    case MLA_REWARD_BINARY: return gain > 0;
    case MLA_REWARD_STRICT: {
        double beyond = facts->direction * (facts->score_after - bar_of(facts)) / way;
        return beyond > 0 ? tanh(options->alpha * beyond / 2) : 0;   // 2 sigmoid(x) - 1
    }
    default: return sigmoid(options->alpha * gain);
    }
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
    parts->reward = score_gain(options, facts, parts->gain, way);
}

// What a valid action that is no edit is worth.
static double worth_of_looking(mla_reward_form form) {
    return form == MLA_REWARD_BINARY || form == MLA_REWARD_STRICT ? 0 : 0.5;
}

static double worth_of_corner_case(mla_reward_form form) {
    return form == MLA_REWARD_NO_CORNER_CASE ? 0 : worth_of_looking(form);
}

mla_reward_parts mla_reward_score(const mla_reward_options *options,
                                  const mla_reward_facts *facts) {
    mla_reward_parts parts = {NAN, NAN, facts->score_before, facts->score_after};
    switch (mla_outcome_class_of(facts->outcome)) {
    case MLA_CLASS_FAILED:
        parts.reward = 0.0;
        break;
    case MLA_CLASS_CORNER:
        parts.reward = worth_of_corner_case(options->form);
        break;
    case MLA_CLASS_DONE:
        parts.reward = worth_of_looking(options->form);
        if (facts->is_edit) score_edit(options, facts, &parts);
        break;
    case MLA_CLASS_NONE:
        break;
    }
    return parts;
}
