// The fixed states on which models are compared action by action: chosen once, evenly over the
// tasks of each split, and kept in eval/states.jsonl with all that a prompt needs of them.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "eval/internal.h"
#include "record/pool.h"
#include "record/store.h"

// Where states come from, the first file that has some of a task: the expert's, those of the
// fine-tuned model on what no expert worked on; else the task's start.
static const char *const sources[] = {"expert/steps.jsonl", "eval/sft/steps.jsonl",
                                      "eval/untrained/steps.jsonl"};

typedef struct {
    mla_run *run;
    mla_env *env;
    mla_pool *pools[MLA_COUNT(sources)];
    mla_steps held_back;           // samples of the validation part
    mla_lines *out;
    size_t written;
    uint64_t seed;
} choice;

// The state's own step stands behind its history (record/pool.h: histories lie in one array).
static const mla_step *step_of(const mla_pool_state *s) {
    return s->history + s->n_history;
}

static bool learned_from(const choice *c, const mla_step *step) {
    if (!c->held_back.len) return false;
    for (size_t i = 0; i < c->held_back.len; i++) {
        if (!strcmp(c->held_back.items[i].trajectory, step->trajectory)) return false;
    }
    return true;
}

// A prefix of a trajectory, as one of its own; the last step is the state's, and its action is of
// no account.
static int write_state(choice *c, const mla_step *steps, size_t n, mla_err *err) {
    char name[32];
    snprintf(name, sizeof name, "state-%03zu", c->written++);
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        mla_step copy;
        mla_step_copy(&copy, &steps[i]);
        free(copy.trajectory);
        copy.trajectory = mla_strdup(name);
        copy.final = i + 1 == n;
        rc = mla_store_append(c->out, &copy, err);
        mla_step_clear(&copy);
    }
    return rc;
}

static int write_start(choice *c, const mla_task *task, mla_err *err) {
    mla_step step;
    mla_step_init(&step);
    step.task = mla_strdup(task->name);
    step.trajectory = mla_strdup("start");
    step.actor = mla_strdup("start");
    step.text = mla_strdup("");
    int rc = mla_env_begin(c->env, task, &step.state, err);
    step.state_after = step.state;
    if (rc == 0) rc = write_state(c, &step, 1, err);
    mla_step_clear(&step);
    return rc;
}

// Up to `wanted` states of a task out of a pool, by lot; how many, or -1.
static int write_some(choice *c, const mla_pool *pool, const mla_task *task, size_t wanted,
                      mla_err *err) {
    size_t *found = MLA_NEW_ARRAY(size_t, mla_pool_size(pool)), n = 0;
    for (size_t i = 0; i < mla_pool_size(pool); i++) {
        mla_pool_state s = mla_pool_at(pool, i);
        if (!strcmp(s.task, task->name) && !learned_from(c, step_of(&s))) found[n++] = i;
    }
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(c->seed, mla_rng_hash(task->name), 0, 5));
    mla_rng_shuffle(&rng, found, n);
    if (n > wanted) n = wanted;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        mla_pool_state s = mla_pool_at(pool, found[i]);
        rc = write_state(c, s.history, s.n_history + 1, err);
    }
    free(found);
    return rc < 0 ? -1 : (int)n;
}

static int write_task(choice *c, const mla_task *task, size_t wanted, mla_err *err) {
    for (size_t i = 0; i < MLA_COUNT(sources); i++) {
        int n = write_some(c, c->pools[i], task, wanted, err);
        if (n) return n < 0 ? -1 : 0;
    }
    return write_start(c, task, err);
}

static int write_split(choice *c, const mla_task *const *tasks, size_t n_tasks, bool held_out,
                       size_t wanted, mla_err *err) {
    size_t n = 0, at = 0;
    for (size_t i = 0; i < n_tasks; i++) n += tasks[i]->held_out == held_out;
    int rc = 0;
    for (size_t i = 0; i < n_tasks && rc == 0; i++) {
        if (tasks[i]->held_out != held_out) continue;
        size_t share = wanted * (at + 1) / n - wanted * at / n;
        at++;
        if (share) rc = write_task(c, tasks[i], share, err);
    }
    return rc;
}

static int open_pools(choice *c, mla_err *err) {
    int rc = 0;
    for (size_t i = 0; i < MLA_COUNT(sources) && rc == 0; i++) {
        char *path = mla_run_path(c->run, sources[i]);
        mla_steps steps = {0};
        rc = mla_store_read(path, &steps, err);
        c->pools[i] = mla_pool_create_take(&steps, NULL, 0);
        free(path);
    }
    char *path = mla_run_path(c->run, "sft/validation.jsonl");
    if (rc == 0) rc = mla_store_read(path, &c->held_back, err);
    free(path);
    return rc;
}

static int choose(choice *c, const char *path, const mla_task *const *tasks, size_t n_tasks,
                  const mla_eval_options *options, mla_err *err) {
    char *aside = mla_format("%s.new", path);
    remove(aside);
    int rc = open_pools(c, err);
    c->out = rc == 0 ? mla_lines_open(aside, err) : NULL;
    if (!c->out) rc = -1;
    for (int held_out = 0; held_out < 2 && rc == 0; held_out++) {
        rc = write_split(c, tasks, n_tasks, held_out, (size_t)options->states, err);
    }
    mla_lines_close(c->out);
    if (rc == 0 && rename(aside, path) < 0) {
        rc = mla_err_set(err, "%s: cannot be written: %s", path, strerror(errno));
    }
    for (size_t i = 0; i < MLA_COUNT(sources); i++) mla_pool_free(c->pools[i]);
    mla_steps_clear(&c->held_back);
    free(aside);
    return rc;
}

int mla__states_read(mla_trajectories *out, mla_run *run, mla_env *env,
                     const mla_task *const *tasks, size_t n_tasks, const mla_eval_options *options,
                     mla_err *err) {
    char *path = mla_run_path(run, "eval/states.jsonl");
    choice c = {.run = run, .env = env, .seed = options->seed};
    int rc = mla_fs_exists(path) ? 0 : choose(&c, path, tasks, n_tasks, options, err);
    if (rc == 0) rc = mla_trajectories_read(out, path, tasks, n_tasks, err);
    free(path);
    return rc;
}
