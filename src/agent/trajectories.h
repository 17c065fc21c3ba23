// Files of whole trajectories (expert/steps.jsonl, eval/<model>/steps.jsonl): read and sorted, and
// filled with those that are missing. A trajectory is whole when its steps are all there and only
// the last one is final.
#ifndef MLA_AGENT_TRAJECTORIES_H
#define MLA_AGENT_TRAJECTORIES_H

#include "agent/agent.h"

typedef struct mla_trajectory {
    const mla_task *task;
    const mla_step *steps;     // [n_steps], in order; borrowed from the file's steps
    size_t n_steps;
} mla_trajectory;

typedef struct mla_trajectories {
    mla_steps steps;           // sorted by task, trajectory and index; owned
    mla_trajectory *items;     // [len], owned; whole ones only
    size_t len;
    size_t torn;               // trajectories that are not whole
} mla_trajectories;

// Reads a file (an absent one has none). A step of a task that is not among `tasks` is an error.
MLA_MUST_USE int mla_trajectories_read(mla_trajectories *out, const char *path,
                                       const mla_task *const *tasks, size_t n_tasks, mla_err *err);
// Drops each step whose state a power cut took, and those behind it; how many. Steps lie in order.
size_t mla_trajectories_drop_lost(mla_trajectories *all, mla_env *env,
                                  const mla_task *const *tasks, size_t n_tasks);
void mla_trajectories_clear(mla_trajectories *all);
// Whether a trajectory of that name is there and whole.
bool mla_trajectories_has(const mla_trajectories *all, const char *name);

typedef struct mla_fill {
    const char *path;          // the file
    const char *stage;         // for the progress bar
    const char *prefix;        // names are "<prefix><task>-<number>"
    int digits;                // of the number
    int trajectories;          // per task, numbered from 0
    int max_steps;
    double max_seconds;        // of a trajectory's generating and running; 0: no limit
    const mla_trajectories *like;   // borrowed; one for each of these, by its name and as long as
                                    // it is, `trajectories` per task at most; NULL: as numbered
    int at_once;
    bool by_task;              // one task after the other; else all tasks by turns
    bool private_scores;       // a scored step without a private score is an error
    uint64_t seed;             // a trajectory's own depends on it, the task and the number only
} mla_fill;

// Runs the trajectories that the file lacks and appends each, whole, when it ends. Returns 0 early
// when mla_stop_wanted().
MLA_MUST_USE int mla_trajectories_fill(const mla_fill *fill, mla_agent *agent,
                                       const mla_actor *actor, const mla_task *const *tasks,
                                       size_t n_tasks, mla_err *err);

#endif
