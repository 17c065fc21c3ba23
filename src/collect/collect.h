// Expert experience: ideas and their diversity, the scripted expert, collection through the real
// environment. The data set made of it is collect/data.h.
#ifndef MLA_COLLECT_COLLECT_H
#define MLA_COLLECT_COLLECT_H

#include "agent/agent.h"
#include "record/run.h"

// ---- ideas (collect/diverse.c) -----------------------------------------------------------------

typedef struct mla_diversity {
    double mean_distance, min_distance;   // cosine distances among the chosen
    double random_mean_distance;          // the same for random choices of as many, for comparison
} mla_diversity;

// Chooses k of n unit vectors far apart: a seeded start, then always the one whose nearest chosen
// one is farthest (Gonzalez, 1985). vectors [n, dim]; chosen [k] receives indices. k <= n.
void mla_diverse_choose(const float *vectors, size_t n, size_t dim, size_t k, uint64_t seed,
                        size_t *chosen, mla_diversity *out);

// ---- the scripted expert (collect/expert.c) ----------------------------------------------------

// What it may follow in one trajectory: 1 to 3 of the diverse ideas of the task.
typedef struct mla_expert mla_expert;
// One memory for each of n_episodes; `ideas` [n_tasks] with their chosen indices; all borrowed.
typedef struct mla_expert_ideas {
    const mla_task *task;
    const mla_ideas *ideas;
    const size_t *chosen;
    size_t n_chosen;
} mla_expert_ideas;
mla_expert *mla_expert_create(const mla_expert_ideas *tasks, size_t n_tasks, size_t n_episodes);
void mla_expert_free(mla_expert *expert);
mla_actor mla_expert_actor(mla_expert *expert);

// ---- the stage (collect/collect.c) -------------------------------------------------------------

typedef struct mla_collect_options {
    int trajectories;          // per task
    int ideas_kept;            // the most diverse ones of each task's pool; default 10
    int max_steps;             // per trajectory; default 15
    int at_once;               // trajectories running at a time
    uint64_t seed;
} mla_collect_options;
mla_collect_options mla_collect_options_default(void);

// Writes expert/ideas.json and expert/steps.jsonl (whole trajectories as they end). Resumes: what
// is there is kept, what is missing is made.
MLA_MUST_USE int mla_collect_run(mla_run *run, mla_agent *agent, mla_policy *embedder,
                                 const mla_task *const *tasks, size_t n_tasks,
                                 const mla_collect_options *options, mla_err *err);

#endif
