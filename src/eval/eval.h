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
    int states;                // of each split, fixed ones for mla_eval_actions; 0: none
    int state_samples;         // actions from each
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

// ---- action by action, on fixed states (eval/{states,actions,actions_table}.c) ----------------

// Samples `state_samples` actions from each of the run's fixed states (eval/states.jsonl; chosen at
// the first call, evenly over the tasks: states that the expert visited and that were not learned
// from, else states that the fine-tuned model came to, else the task's start) and writes
// eval/<model>/actions.jsonl; resumes. Every model meets the same states and draws.
MLA_MUST_USE int mla_eval_actions(mla_run *run, mla_agent *agent, mla_policy *policy,
                                  const char *model, const mla_task *const *tasks, size_t n_tasks,
                                  const mla_eval_options *options, mla_err *err);

// Reads eval/*/actions.jsonl and writes eval/actions.json (docs/formats.md), if there are any.
MLA_MUST_USE int mla_eval_actions_table(mla_run *run, const mla_task *const *tasks, size_t n_tasks,
                                        mla_err *err);

// Prints eval/table.json, with means over the tasks of each split, and eval/actions.json where
// there is one, as text for a terminal.
MLA_MUST_USE int mla_eval_print(const mla_run *run, FILE *out, mla_err *err);

#endif
