// Files of whole trajectories: reading, mending and filling them. It leaves out who acts.
#include "agent/trajectories.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "record/store.h"

// --- reading ------------------------------------------------------------------------------------

static int by_place(const void *a, const void *b) {
    const mla_step *p = a, *q = b;
    int order = strcmp(p->task, q->task);
    if (!order) order = strcmp(p->trajectory, q->trajectory);
    return order ? order : (p->index > q->index) - (p->index < q->index);
}

static const mla_task *find_task(const char *name, const mla_task *const *tasks, size_t n_tasks) {
    for (size_t i = 0; i < n_tasks; i++) {
        if (!strcmp(tasks[i]->name, name)) return tasks[i];
    }
    return NULL;
}

static int check_tasks(const mla_steps *steps, const char *path, const mla_task *const *tasks,
                       size_t n_tasks, mla_err *err) {
    for (size_t i = 0; i < steps->len; i++) {
        const mla_step *step = &steps->items[i];
        if (find_task(step->task, tasks, n_tasks)) continue;
        return mla_err_set(err, "%s: trajectory %s is of task %s, which is not a task of this run; "
                           "add the task, or use another run folder", path, step->trajectory,
                           step->task);
    }
    return 0;
}

static bool is_whole(const mla_step *steps, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (steps[i].index != (int)i || steps[i].final != (i + 1 == n)) return false;
    }
    return true;
}

// Behind the last step of the trajectory that begins at `from`.
static size_t end_of(const mla_steps *steps, size_t from) {
    size_t to = from + 1;
    while (to < steps->len && !strcmp(steps->items[from].trajectory, steps->items[to].trajectory)) {
        to++;
    }
    return to;
}

static void list_trajectories(mla_trajectories *all, const mla_task *const *tasks, size_t n_tasks) {
    const mla_steps *steps = &all->steps;
    size_t cap = 0;
    for (size_t from = 0, to; from < steps->len; from = to) {
        const mla_step *first = &steps->items[from];
        to = end_of(steps, from);
        if (!is_whole(first, to - from)) {
            all->torn++;
            continue;
        }
        MLA_GROW(all->items, cap, all->len + 1);
        all->items[all->len++] = (mla_trajectory){
            .task = find_task(first->task, tasks, n_tasks), .steps = first, .n_steps = to - from};
    }
}

int mla_trajectories_read(mla_trajectories *out, const char *path, const mla_task *const *tasks,
                          size_t n_tasks, mla_err *err) {
    *out = (mla_trajectories){0};
    if (mla_store_read(path, &out->steps, err) < 0 ||
        check_tasks(&out->steps, path, tasks, n_tasks, err) < 0) {
        mla_trajectories_clear(out);
        return -1;
    }
    if (out->steps.len) qsort(out->steps.items, out->steps.len, sizeof(mla_step), by_place);
    list_trajectories(out, tasks, n_tasks);
    return 0;
}

// The steps of one trajectory, [from, to), of which those up to the first lost state stay.
static size_t keep_steps(mla_trajectories *all, size_t from, size_t to, size_t kept, mla_env *env) {
    mla_step *steps = all->steps.items;
    bool lost = false;
    for (size_t i = from; i < to; i++) {
        lost = lost || !mla_env_has(env, &steps[i].state_after);
        if (lost) mla_step_clear(&steps[i]);
        else steps[kept++] = steps[i];
    }
    return kept;
}

size_t mla_trajectories_drop_lost(mla_trajectories *all, mla_env *env,
                                  const mla_task *const *tasks, size_t n_tasks) {
    size_t kept = 0, n = all->steps.len;
    for (size_t from = 0, to; from < n; from = to) {
        to = end_of(&all->steps, from);
        kept = keep_steps(all, from, to, kept, env);
    }
    all->steps.len = kept;
    free(all->items);
    all->items = NULL;
    all->len = all->torn = 0;
    list_trajectories(all, tasks, n_tasks);
    return n - kept;
}

void mla_trajectories_clear(mla_trajectories *all) {
    mla_steps_clear(&all->steps);
    free(all->items);
    *all = (mla_trajectories){0};
}

bool mla_trajectories_has(const mla_trajectories *all, const char *name) {
    for (size_t i = 0; i < all->len; i++) {
        if (!strcmp(all->items[i].steps->trajectory, name)) return true;
    }
    return false;
}

// --- mending ------------------------------------------------------------------------------------

static int append_steps(mla_lines *lines, const mla_step *steps, size_t n, mla_err *err) {
    for (size_t i = 0; i < n; i++) {
        if (mla_store_append(lines, &steps[i], err) < 0) return -1;
    }
    return 0;
}

static int write_whole(const mla_trajectories *all, const char *path, mla_err *err) {
    mla_lines *lines = mla_lines_open(path, err);
    int rc = lines ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < all->len; i++) {
        rc = append_steps(lines, all->items[i].steps, all->items[i].n_steps, err);
    }
    mla_lines_close(lines);
    return rc;
}

// Writes the file anew without the trajectories that a killed run left unfinished, or whose states
// went with a power cut.
static int mend(const mla_trajectories *all, const char *path, mla_err *err) {
    char *aside = mla_format("%s.new", path);
    remove(aside);
    int rc = write_whole(all, aside, err);
    if (rc == 0 && rename(aside, path) < 0) {
        rc = mla_err_set(err, "%s: cannot be replaced by its whole trajectories: %s", path,
                         strerror(errno));
    }
    free(aside);
    if (rc == 0) mla_info("%s: %zu unfinished trajectories dropped", path, all->torn);
    return rc;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// --- filling ------------------------------------------------------------------------------------

typedef struct {
    const mla_fill *fill;
    mla_lines *lines;
    mla_progress bar;
    double done;             // trajectories, a step being its share of one
} filling;

static int check_private(const mla_episode *episode, mla_err *err) {
    for (size_t i = 0; i < episode->steps.len; i++) {
        const mla_step *step = &episode->steps.items[i];
        if (isfinite(step->reward.score_after) && isnan(step->score_private)) {
            return mla_err_set(err, "trajectory %s has no private scores; the environment must be "
                               "made with private_scores for this", episode->trajectory);
        }
    }
    return 0;
}

static void show(filling *f, const mla_episode *episode) {
    size_t n = episode->steps.len;
    const mla_step *last = &episode->steps.items[n - 1];
    int steps = episode->done ? episode->max_steps - (int)n + 1 : 1;
    f->done += (double)steps / episode->max_steps;
    mla_progress_set(&f->bar, f->done, "%s, step %zu: %s", episode->task->name, n,
                     mla_outcome_name(last->outcome));
}

// Whole trajectories only: one that is not done when the program stops leaves nothing.
static int store(void *ctx, mla_episode *episode, mla_err *err) {
    filling *f = ctx;
    show(f, episode);
    if (!episode->done) return 0;
    if (f->fill->private_scores && check_private(episode, err) < 0) return -1;
    if (append_steps(f->lines, episode->steps.items, episode->steps.len, err) < 0) return -1;
    mla_steps_clear(&episode->steps);
    return 0;
}

// The `i`-th of all: task by task, or by turns.
static mla_episode make_episode(const mla_fill *fill, const mla_task *const *tasks, size_t n_tasks,
                                size_t i) {
    size_t each = (size_t)fill->trajectories;
    const mla_task *task = tasks[fill->by_task ? i / each : i % n_tasks];
    size_t number = fill->by_task ? i % each : i / n_tasks;
    return (mla_episode){
        .task = task,
        .trajectory = mla_format("%s%s-%0*zu", fill->prefix, task->name, fill->digits, number),
        .seed = mla_rng_derive(fill->seed, mla_rng_hash(task->name), number, 0),
        .max_steps = fill->max_steps,
        .max_seconds = fill->max_seconds,
    };
}

static mla_episode *numbered_episodes(const mla_fill *fill, const mla_task *const *tasks,
                                      size_t n_tasks, size_t *n) {
    *n = n_tasks * (size_t)fill->trajectories;
    mla_episode *episodes = MLA_NEW_ARRAY(mla_episode, *n);
    for (size_t i = 0; i < *n; i++) episodes[i] = make_episode(fill, tasks, n_tasks, i);
    return episodes;
}

// Those of a task lie together.
static mla_episode *like_episodes(const mla_fill *fill, size_t *n) {
    const mla_trajectories *like = fill->like;
    mla_episode *episodes = MLA_NEW_ARRAY(mla_episode, like->len);
    int of_task = 0;
    *n = 0;
    for (size_t i = 0; i < like->len; i++) {
        const mla_trajectory *t = &like->items[i];
        of_task = i && like->items[i - 1].task == t->task ? of_task + 1 : 0;
        if (of_task >= fill->trajectories) continue;
        int steps = (int)t->n_steps < fill->max_steps ? (int)t->n_steps : fill->max_steps;
        episodes[(*n)++] = (mla_episode){
            .task = t->task, .trajectory = mla_strdup(t->steps->trajectory), .max_steps = steps,
            .seed = mla_rng_derive(fill->seed, mla_rng_hash(t->steps->trajectory), 0, 0),
            .max_seconds = fill->max_seconds};
    }
    return episodes;
}

// The names that are there and whole, sorted, borrowed.
static const char **whole_names(const mla_trajectories *have) {
    const char **names = MLA_NEW_ARRAY(const char *, have->len + 1);
    for (size_t i = 0; i < have->len; i++) names[i] = have->items[i].steps->trajectory;
    if (have->len) qsort(names, have->len, sizeof *names, by_name);
    return names;
}

// Of all episodes those that are not there yet: [*n] of *all.
static mla_episode *missing_episodes(const mla_fill *fill, const mla_trajectories *have,
                                     const mla_task *const *tasks, size_t n_tasks, size_t *n,
                                     size_t *all) {
    mla_episode *episodes = fill->like ? like_episodes(fill, all)
                                       : numbered_episodes(fill, tasks, n_tasks, all);
    const char **names = whole_names(have);
    *n = 0;
    for (size_t i = 0; i < *all; i++) {
        if (bsearch(&episodes[i].trajectory, names, have->len, sizeof *names, by_name)) {
            mla_episode_clear(&episodes[i]);
        } else {
            episodes[(*n)++] = episodes[i];
        }
    }
    free(names);
    return episodes;
}

static int run_missing(const mla_fill *fill, mla_agent *agent, const mla_actor *actor,
                       mla_episode *episodes, size_t n, size_t have, mla_err *err) {
    filling f = {.fill = fill, .done = (double)have, .lines = mla_lines_open(fill->path, err)};
    if (!f.lines) return -1;
    mla_progress_begin(&f.bar, fill->stage, "trajectories", (double)(have + n), (double)have);
    int rc = mla_agent_run(agent, actor, episodes, n, (size_t)fill->at_once, store, &f, err);
    mla_progress_end(&f.bar);
    mla_lines_close(f.lines);
    return rc;
}

int mla_trajectories_fill(const mla_fill *fill, mla_agent *agent, const mla_actor *actor,
                          const mla_task *const *tasks, size_t n_tasks, mla_err *err) {
    MLA_ASSERT(fill->trajectories > 0 && fill->max_steps > 0 && fill->at_once > 0);
    mla_trajectories have;
    if (mla_trajectories_read(&have, fill->path, tasks, n_tasks, err) < 0) return -1;
    mla_trajectories_drop_lost(&have, mla_agent_env(agent), tasks, n_tasks);
    size_t n, all;
    mla_episode *episodes = missing_episodes(fill, &have, tasks, n_tasks, &n, &all);
    size_t kept = all - n;
    int rc = have.torn ? mend(&have, fill->path, err) : 0;
    mla_trajectories_clear(&have);
    if (rc == 0 && n) rc = run_missing(fill, agent, actor, episodes, n, kept, err);
    for (size_t i = 0; i < n; i++) mla_episode_clear(&episodes[i]);
    free(episodes);
    return rc;
}
