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

#endif
