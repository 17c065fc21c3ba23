// How good is a policy: n trajectories a task, scored on the private half, with intervals.
#ifndef MLA_EVAL_EVAL_H
#define MLA_EVAL_EVAL_H

#include <stdio.h>

#include "agent/agent.h"
#include "record/run.h"

typedef struct mla_eval_options {
    int trajectories;          // per task
    int max_steps;             // per trajectory
    float temperature;
    int max_new;               // tokens of a reply
    mla_prompt_options prompt;
    uint64_t seed;
} mla_eval_options;
mla_eval_options mla_eval_options_default(void);

// Evaluates one policy under the name `model` ("untrained", "sft", "rl") and writes
// eval/<model>/steps.jsonl; resumes. The agent's environment must give private scores.
MLA_MUST_USE int mla_eval_run(mla_run *run, mla_agent *agent, mla_policy *policy, const char *model,
                              const mla_task *const *tasks, size_t n_tasks,
                              const mla_eval_options *options, mla_err *err);

// Valid rate: the share of steps whose outcome is of the class done or corner, that is, which did
// what they say or failed by no fault of the model. Improved share: that of steps with a reward
// above 0.5.
//
// Reads eval/*/steps.jsonl and writes eval/table.json (docs/formats.md). A trajectory's score is
// the private score of the state that its public score chose as best; where nothing ran well it is
// the starter's. Gain: direction * (score - m_init) / |m_best - m_init|, all of the private half.
MLA_MUST_USE int mla_eval_table(mla_run *run, const mla_task *const *tasks, size_t n_tasks,
                                const char *note, mla_err *err);

// Prints eval/table.json as text for a terminal, with means over the tasks of each split.
MLA_MUST_USE int mla_eval_print(const mla_run *run, FILE *out, mla_err *err);

#endif
