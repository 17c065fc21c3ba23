// What the files of the eval room share: a trajectory in numbers, and numbers in numbers.
#ifndef MLA_EVAL_INTERNAL_H
#define MLA_EVAL_INTERNAL_H

#include "agent/trajectories.h"
#include "eval/eval.h"

// --- stats.c ------------------------------------------------------------------------------------

double mla__mean(const double *values, size_t n);             // NaN when n is 0
double mla__sem(const double *values, size_t n);              // of the mean; NaN when n is below 2
double mla__best(const double *values, size_t n, int direction);   // NaN when n is 0

// The private score of the state that the public score chose; the starter's where no run was better
// than it.
double mla__trajectory_score(const mla_trajectory *trajectory);
// direction * (score - m_init) / |m_best - m_init|, of the private half.
double mla__gain(const mla_task *task, double score);

// --- table.c ------------------------------------------------------------------------------------

// The models of a run that have an evaluation folder, the pipeline's first, in its order. The
// caller frees with mla_fs_names_free.
MLA_MUST_USE int mla__models_list(const mla_run *run, char ***names, size_t *n, mla_err *err);

// --- states.c -----------------------------------------------------------------------------------

// The fixed states of a run, chosen if they are not yet: each is the last step of a trajectory.
MLA_MUST_USE int mla__states_read(mla_trajectories *out, mla_run *run, mla_env *env,
                                  const mla_task *const *tasks, size_t n_tasks,
                                  const mla_eval_options *options, mla_err *err);

// --- variety.c ----------------------------------------------------------------------------------

// The idea that an edit comes nearest to, by the words that its blocks bring in: the one with the
// largest Jaccard index, if that is at least a half; else -1.
long mla__nearest_idea(const mla_ideas *ideas, const char *blocks);

#endif
