// Action by action: a policy acts from each of the fixed states, several times. Far cheaper than
// whole trajectories, and the same question for every model. It leaves out the numbers made of
// that: actions_table.c.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "eval/internal.h"
#include "record/store.h"

#define AT_ONCE 4              // states whose actions are sampled side by side

typedef struct {
    mla_agent *agent;
    mla_policy *policy;
    const mla_eval_options *options;
    const mla_trajectories *states;
    mla_lines *out;
    size_t *todo, n_todo;      // places in `states`
} acting;

static void name_action(char name[64], const mla_trajectory *state, int sample) {
    snprintf(name, 64, "%s-%d", state->steps->trajectory, sample);
}

static bool has(const mla_steps *done, const char *name) {
    for (size_t i = 0; i < done->len; i++) {
        if (!strcmp(done->items[i].trajectory, name)) return true;
    }
    return false;
}

// A state whose last action is there has them all: they are written in order.
static void list_todo(acting *a, const mla_steps *done) {
    a->todo = MLA_NEW_ARRAY(size_t, a->states->len);
    for (size_t i = 0; i < a->states->len; i++) {
        char name[64];
        name_action(name, &a->states->items[i], a->options->state_samples - 1);
        if (!has(done, name)) a->todo[a->n_todo++] = i;
    }
}

static mla_branch branch_of(const acting *a, size_t at) {
    const mla_trajectory *t = &a->states->items[at];
    size_t n_history = t->n_steps - 1;
    int left = a->options->max_steps - (int)n_history;
    return (mla_branch){
        .task = t->task, .state = t->steps[n_history].state, .history = t->steps,
        .n_history = n_history, .steps_left = left > 1 ? left : 1,
        .seed = mla_rng_derive(a->options->seed, mla_rng_hash(t->steps->trajectory), 0, 6)};
}

static int write_actions(acting *a, size_t at, mla_branch *branch, mla_err *err) {
    int rc = 0;
    for (int k = 0; k < a->options->state_samples && rc == 0; k++) {
        mla_step *step = &branch->steps[k];
        if (!step->n_action) {
            return mla_err_set(err, "eval: the environment failed on an action from %s; try "
                               "`mlagent env --check`, then go on with the same command",
                               a->states->items[at].steps->trajectory);
        }
        char name[64];
        name_action(name, &a->states->items[at], k);
        free(step->trajectory);
        step->trajectory = mla_strdup(name);
        rc = mla_store_append(a->out, step, err);
    }
    return rc;
}

// Some states side by side. 1, 0 when stopped, -1.
static int act_from(acting *a, const size_t *places, size_t n, mla_err *err) {
    mla_branch branches[AT_ONCE];
    for (size_t i = 0; i < n; i++) branches[i] = branch_of(a, places[i]);
    const mla_branch_options how = {
        .samples = a->options->state_samples, .temperature = a->options->temperature,
        .max_new = a->options->max_new, .prompt = a->options->prompt, .name = "eval"};
    mla_branch_times times;
    int rc = mla_agent_branch(a->agent, a->policy, &how, branches, n, &times, err);
    for (size_t i = 0; i < n && rc == 1; i++) {
        if (write_actions(a, places[i], &branches[i], err) < 0) rc = -1;
    }
    for (size_t i = 0; i < n; i++) mla_branch_clear(&branches[i], a->options->state_samples);
    return rc;
}

static int act_from_all(acting *a, mla_err *err) {
    mla_progress bar;
    size_t before = a->states->len - a->n_todo;
    mla_progress_begin(&bar, "eval", "states", (double)a->states->len, (double)before);
    int rc = 1;
    for (size_t from = 0; from < a->n_todo && rc == 1; from += AT_ONCE) {
        size_t n = a->n_todo - from < AT_ONCE ? a->n_todo - from : AT_ONCE;
        rc = act_from(a, a->todo + from, n, err);
        mla_progress_set(&bar, (double)(before + from + n), "actions");
    }
    mla_progress_end(&bar);
    return rc < 0 ? -1 : 0;
}

int mla_eval_actions(mla_run *run, mla_agent *agent, mla_policy *policy, const char *model,
                     const mla_task *const *tasks, size_t n_tasks, const mla_eval_options *options,
                     mla_err *err) {
    mla_trajectories states;
    if (mla__states_read(&states, run, mla_agent_env(agent), tasks, n_tasks, options, err) < 0) {
        return -1;
    }
    char *relative = mla_format("eval/%s/actions.jsonl", model);
    char *path = mla_run_path(run, relative);
    acting a = {.agent = agent, .policy = policy, .options = options, .states = &states};
    mla_steps done = {0};
    int rc = mla_store_read(path, &done, err);
    if (rc == 0) list_todo(&a, &done);
    a.out = rc == 0 ? mla_lines_open(path, err) : NULL;
    if (a.out) rc = act_from_all(&a, err);
    else rc = -1;
    mla_lines_close(a.out);
    mla_steps_clear(&done);
    mla_trajectories_clear(&states);
    free(a.todo);
    free(path);
    free(relative);
    return rc;
}
