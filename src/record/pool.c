// The pool of states that the expert visited: sorts steps into trajectories, keeps one state of a
// kind and samples. It leaves out the workspace of a state: env restores that from its commit.
#include "record/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

typedef struct task_range {
    size_t from, to;            // its states in pool->states
} task_range;

struct mla_pool {
    mla_steps steps;            // owned; whole trajectories, each contiguous and in order
    mla_pool_state *states;     // states of one task, or family, are contiguous
    size_t n_states;
    task_range *tasks;          // [n_tasks], or families
    size_t n_tasks, cap_tasks;
};

// Where a step stands: the `group`-th trajectory, its `at`-th step.
typedef struct place {
    size_t group, at;
    mla_step *step;
} place;

typedef struct open_group {
    const char *trajectory;
    size_t next;                // the index its next step must have
} open_group;

static bool wanted(const char *task, const char *const *tasks, size_t n_tasks) {
    for (size_t i = 0; i < n_tasks; i++) {
        if (!strcmp(task, tasks[i])) return true;
    }
    return n_tasks == 0;
}

// The newest group of a trajectory, or `n`. Steps come mostly in order, so the newest come first.
static size_t find_group(const open_group *groups, size_t n, const char *trajectory) {
    for (size_t i = n; i-- > 0;) {
        if (!strcmp(groups[i].trajectory, trajectory)) return i;
    }
    return n;
}

static int by_place(const void *a, const void *b) {
    const place *p = a, *q = b;
    if (p->group != q->group) return p->group < q->group ? -1 : 1;
    return (p->at > q->at) - (p->at < q->at);
}

// Trajectories that were written side by side are told apart. A step 0 begins a trajectory, also
// one of a known name (a run that was killed and began it again); a step that does not continue
// its trajectory has no history to render, and is left out.
static size_t place_steps(mla_steps *steps, const char *const *tasks, size_t n_tasks,
                          place *places) {
    open_group *groups = NULL;
    size_t n_groups = 0, cap = 0, n = 0;
    for (size_t i = 0; i < steps->len; i++) {
        mla_step *step = &steps->items[i];
        if (!wanted(step->task, tasks, n_tasks)) continue;
        size_t g = step->index == 0 ? n_groups : find_group(groups, n_groups, step->trajectory);
        if (g == n_groups) {
            if (step->index != 0) continue;
            MLA_GROW(groups, cap, n_groups + 1);
            groups[n_groups++] = (open_group){.trajectory = step->trajectory};
        }
        if ((size_t)step->index != groups[g].next) continue;
        places[n++] = (place){.group = g, .at = groups[g].next++, .step = step};
    }
    free(groups);
    qsort(places, n, sizeof *places, by_place);
    return n;
}

static void sort_steps(mla_pool *pool, mla_steps *steps, const char *const *tasks, size_t n_tasks) {
    place *places = MLA_NEW_ARRAY(place, steps->len);
    size_t n = place_steps(steps, tasks, n_tasks, places);
    for (size_t i = 0; i < n; i++) mla_steps_push_take(&pool->steps, places[i].step);
    free(places);
    mla_steps_clear(steps);
}

static const char *last_feedback(const mla_pool_state *s) {
    const char *feedback = s->n_history ? s->history[s->n_history - 1].feedback : NULL;
    return feedback ? feedback : "";
}

static int compare_kind(const mla_pool_state *p, const mla_pool_state *q) {
    int order = strcmp(p->task, q->task);
    if (!order) order = strcmp(p->state.commit, q->state.commit);
    if (!order) order = strcmp(last_feedback(p), last_feedback(q));
    return order;
}

// By trajectory, then step; by place where a name stands twice. Not by place alone: trajectories
// are recorded as they end, which the machine's load decides, and equal seeds must draw equal
// states. A state is the end of its history, and all histories lie in one array.
static int compare_step(const mla_pool_state *p, const mla_pool_state *q) {
    const mla_step *x = p->history + p->n_history, *y = q->history + q->n_history;
    int order = strcmp(x->trajectory, y->trajectory);
    if (!order) order = (x->index > y->index) - (x->index < y->index);
    return order ? order : (x > y) - (x < y);
}

// By kind, and the one that is kept before its equals.
static int by_kind(const void *a, const void *b) {
    int order = compare_kind(a, b);
    return order ? order : compare_step(a, b);
}

static int by_task(const void *a, const void *b) {
    const mla_pool_state *p = a, *q = b;
    int order = strcmp(p->task, q->task);
    return order ? order : compare_step(p, q);
}

static void list_states(mla_pool *pool) {
    pool->states = MLA_NEW_ARRAY(mla_pool_state, pool->steps.len);
    for (size_t i = 0; i < pool->steps.len; i++) {
        const mla_step *step = &pool->steps.items[i];
        pool->states[pool->n_states++] = (mla_pool_state){
            .task = step->task,
            .state = step->state,
            .history = step - step->index,
            .n_history = (size_t)step->index,
        };
    }
}

// All trajectories of a task begin in one state: without this the starts would be most of the pool.
static void drop_equal_states(mla_pool *pool) {
    qsort(pool->states, pool->n_states, sizeof *pool->states, by_kind);
    size_t kept = 0;
    for (size_t i = 0; i < pool->n_states; i++) {
        if (kept && compare_kind(&pool->states[kept - 1], &pool->states[i]) == 0) continue;
        pool->states[kept++] = pool->states[i];
    }
    pool->n_states = kept;
    qsort(pool->states, kept, sizeof *pool->states, by_task);
}

static void list_tasks(mla_pool *pool) {
    for (size_t i = 0; i < pool->n_states; i++) {
        if (i == 0 || strcmp(pool->states[i - 1].task, pool->states[i].task) != 0) {
            MLA_GROW(pool->tasks, pool->cap_tasks, pool->n_tasks + 1);
            pool->tasks[pool->n_tasks++] = (task_range){.from = i};
        }
        pool->tasks[pool->n_tasks - 1].to = i + 1;
    }
}

mla_pool *mla_pool_create_take(mla_steps *steps, const char *const *tasks, size_t n_tasks) {
    mla_pool *pool = MLA_NEW(mla_pool);
    sort_steps(pool, steps, tasks, n_tasks);
    list_states(pool);
    drop_equal_states(pool);
    list_tasks(pool);
    return pool;
}

typedef struct grouped {
    const char *family;
    mla_pool_state state;
} grouped;

static const char *family_of(const char *task, const char *const *tasks,
                             const char *const *families, size_t n_tasks) {
    size_t i = 0;
    while (i < n_tasks && strcmp(tasks[i], task)) i++;
    MLA_ASSERT(i < n_tasks);
    return families[i];
}

static int by_family(const void *a, const void *b) {
    const grouped *p = a, *q = b;
    int order = strcmp(p->family, q->family);
    return order ? order : by_task(&p->state, &q->state);
}

void mla_pool_group(mla_pool *pool, const char *const *tasks, const char *const *families,
                    size_t n_tasks) {
    grouped *all = MLA_NEW_ARRAY(grouped, pool->n_states + 1);
    for (size_t i = 0; i < pool->n_states; i++) {
        all[i].state = pool->states[i];
        all[i].family = i && pool->states[i].task == pool->states[i - 1].task
                            ? all[i - 1].family
                            : family_of(pool->states[i].task, tasks, families, n_tasks);
    }
    qsort(all, pool->n_states, sizeof *all, by_family);
    pool->n_tasks = 0;
    for (size_t i = 0; i < pool->n_states; i++) {
        pool->states[i] = all[i].state;
        if (i == 0 || strcmp(all[i - 1].family, all[i].family) != 0) {
            MLA_GROW(pool->tasks, pool->cap_tasks, pool->n_tasks + 1);
            pool->tasks[pool->n_tasks++] = (task_range){.from = i};
        }
        pool->tasks[pool->n_tasks - 1].to = i + 1;
    }
    free(all);
}

void mla_pool_free(mla_pool *pool) {
    if (!pool) return;
    mla_steps_clear(&pool->steps);
    free(pool->states);
    free(pool->tasks);
    free(pool);
}

size_t mla_pool_size(const mla_pool *pool) {
    return pool->n_states;
}

mla_pool_state mla_pool_at(const mla_pool *pool, size_t at) {
    MLA_ASSERT(at < pool->n_states);
    return pool->states[at];
}

mla_pool_state mla_pool_sample(const mla_pool *pool, mla_rng *rng) {
    MLA_ASSERT(pool->n_tasks > 0);
    const task_range *task = &pool->tasks[mla_rng_below(rng, pool->n_tasks)];
    return pool->states[task->from + mla_rng_below(rng, task->to - task->from)];
}
