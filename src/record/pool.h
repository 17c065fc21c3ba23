// The pool of states that the expert visited, from which step-wise RL samples: J = E_{s ~ pool}.
// A pool state is a recorded state plus the steps that led to it (the prompt is rendered from them
// anew for the policy at hand).
#ifndef MLA_RECORD_POOL_H
#define MLA_RECORD_POOL_H

#include "base/rng.h"
#include "record/step.h"

typedef struct mla_pool_state {
    const char *task;              // borrowed from the steps
    mla_state state;
    const mla_step *history;       // [n_history], the steps before it, oldest first; borrowed
    size_t n_history;
} mla_pool_state;

typedef struct mla_pool mla_pool;

// Takes the steps of whole trajectories in order. Each step whose action was asked for is a state;
// only trajectories of the named tasks are used (n_tasks 0: all). Takes over `steps`.
mla_pool *mla_pool_create_take(mla_steps *steps, const char *const *tasks, size_t n_tasks);
void mla_pool_free(mla_pool *pool);
// Makes one task of those with the same family, for sampling: task tasks[i] is of families[i]
// [n_tasks]; all tasks of the pool must be among them.
void mla_pool_group(mla_pool *pool, const char *const *tasks, const char *const *families,
                    size_t n_tasks);
size_t mla_pool_size(const mla_pool *pool);
mla_pool_state mla_pool_at(const mla_pool *pool, size_t at);
// A task (or family of tasks) uniformly, then one of its states uniformly.
mla_pool_state mla_pool_sample(const mla_pool *pool, mla_rng *rng);

#endif
