// One iteration's experience: s ~ pool, a ~ policy(. | s), each action executed and judged. It
// leaves out how that is done side by side: agent/branch.c.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "train/internal.h"

static const mla_task *find_task(const mla_task *const *tasks, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(tasks[i]->name, name) == 0) return tasks[i];
    }
    return NULL;
}

// The states of an iteration depend on its number alone.
static int draw_state(mla_branch *out, const mla_pool *pool, const mla_task *const *tasks,
                      size_t n_tasks, const mla_rl_options *options, uint64_t iteration,
                      uint64_t at, mla_err *err) {
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(options->seed, iteration, at, 3));
    mla_pool_state from = mla_pool_sample(pool, &rng);
    const mla_task *task = find_task(tasks, n_tasks, from.task);
    if (!task) return mla_err_set(err, "pool: a state of task %s, which is not loaded", from.task);
    int left = options->max_steps - (int)from.n_history;
    *out = (mla_branch){.task = task, .state = from.state, .history = from.history,
                        .n_history = from.n_history, .steps_left = left > 1 ? left : 1,
                        .seed = mla_rng_u64(&rng)};
    return 0;
}

static void count_run(mla_rollout *out, const mla_cost *cost) {
    out->runs += cost->cached || cost->run_seconds > 0;
    out->cached += cost->cached;
    *(cost->cached ? &out->saved_seconds : &out->execute_seconds) += cost->run_seconds;
}

// Keeps a state's samples with a reward; those that are learned from come first.
static void close_ranks(mla_rollout *out, mla_rollout_state *s, const mla_rl_options *options) {
    mla_step *steps = s->branch.steps;
    mla_step *aside = MLA_NEW_ARRAY(mla_step, (size_t)options->samples);
    for (int k = 0; k < options->samples; k++) {
        count_run(out, &steps[k].cost);
        if (!steps[k].n_action || !isfinite(steps[k].reward.reward)) {
            out->dropped++;
            mla_step_clear(&steps[k]);
        } else if (steps[k].flags && options->drop_flagged) {
            aside[s->n_steps++ - s->n_learned] = steps[k];
        } else {
            steps[s->n_learned++] = steps[k];
            s->n_steps++;
        }
    }
    int screened = s->n_steps - s->n_learned;
    memcpy(steps + s->n_learned, aside, (size_t)screened * sizeof *aside);
    out->screened += screened;
    free(aside);
}

static int act(mla_rollout *out, mla_agent *agent, mla_policy *policy, mla_branch *branches,
               const mla_rl_options *options, int iteration, mla_err *err) {
    char name[32];
    snprintf(name, sizeof name, "rl-%d", iteration);
    const mla_branch_options how = {.samples = options->samples, .max_new = options->max_new,
                                    .temperature = options->temperature,
                                    .prompt = options->prompt, .name = name};
    mla_branch_times times;
    int rc = mla_agent_branch(agent, policy, &how, branches, (size_t)out->n_states, &times, err);
    out->generate_seconds = times.generate_seconds;
    out->wait_seconds = times.wait_seconds;
    for (int i = 0; i < out->n_states; i++) {
        out->states[i].branch = branches[i];
        if (branches[i].steps) close_ranks(out, &out->states[i], options);
    }
    return rc;
}

int mla__rollout_make(mla_rollout *out, mla_agent *agent, mla_policy *policy, const mla_pool *pool,
                      const mla_task *const *tasks, size_t n_tasks, const mla_rl_options *options,
                      int iteration, mla_err *err) {
    size_t n = (size_t)options->states;
    *out =
        (mla_rollout){.states = MLA_NEW_ARRAY(mla_rollout_state, n), .n_states = options->states};
    mla_branch *branches = MLA_NEW_ARRAY(mla_branch, n);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = draw_state(&branches[i], pool, tasks, n_tasks, options, (uint64_t)iteration, i, err);
    }
    if (rc == 0) rc = act(out, agent, policy, branches, options, iteration, err);
    free(branches);
    return rc;
}

void mla__rollout_clear(mla_rollout *rollout) {
    for (int i = 0; i < rollout->n_states; i++) {
        mla_rollout_state *s = &rollout->states[i];
        mla_branch_clear(&s->branch, s->n_steps);
    }
    free(rollout->states);
    *rollout = (mla_rollout){0};
}
