// What a file of step records holds, in numbers. A step at a time is read, so that the file may be
// larger than memory.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "collect/dataset.h"
#include "record/store.h"

typedef struct {
    double *items;                 // [len], owned
    size_t len, cap;
} values;

typedef struct {
    char *name;                    // owned
    size_t steps, trajectories, edits, valid, improved;
    values gains, rewards;
} task_count;

// An action of a task, without its wording.
typedef struct {
    size_t task;
    uint64_t key;
} deed;

typedef struct {
    const mla_dataset_options *options;
    task_count *tasks;             // [n_tasks], owned
    size_t n_tasks, tasks_cap;
    deed *deeds;                   // [n_deeds], owned: of each step
    size_t n_deeds, deeds_cap;
    size_t actions[MLA_ACTION_COUNT + 1], outcomes[MLA_OUTCOME_COUNT], flags[MLA_FLAG_COUNT];
    size_t reasons[MLA__REASON_COUNT + 1];
    values prompts, replies, samples, lengths;   // tokens; steps of a trajectory
    mla__seen trajectories, edits, ideas, acts;  // acts: a state and what was done there
    size_t repeated, final;
} counting;

static void add(values *v, double value) {
    MLA_GROW(v->items, v->cap, v->len + 1);
    v->items[v->len++] = value;
}

static int by_size(const void *a, const void *b) {
    const double *p = a, *q = b;
    return (*p > *q) - (*p < *q);
}

// ---- counting ----------------------------------------------------------------------------------

static size_t task_of(counting *c, const char *name) {
    size_t at = 0;
    while (at < c->n_tasks && strcmp(c->tasks[at].name, name)) at++;
    if (at == c->n_tasks) {
        MLA_GROW(c->tasks, c->tasks_cap, ++c->n_tasks);
        c->tasks[at] = (task_count){.name = mla_strdup(name)};
    }
    return at;
}

static void count_trajectory(counting *c, task_count *t, const mla_step *step) {
    t->trajectories += mla__seen_add(&c->trajectories, mla_rng_hash(step->trajectory));
    c->final += step->final;
    if (step->final) add(&c->lengths, step->index + 1);
}

// Ids joined by '+', as the experts write them.
static void count_ideas(counting *c, size_t task, const char *ideas) {
    while (ideas && *ideas) {
        size_t n = strcspn(ideas, "+");
        char *id = mla_strndup(ideas, n);
        mla__seen_add(&c->ideas, mla_rng_derive(mla_rng_hash(id), task, 0, 0));
        free(id);
        ideas += n + (ideas[n] == '+');
    }
}

static void count_deed(counting *c, size_t task, const mla_step *step) {
    char *key = mla__step_key(step);
    uint64_t hash = mla_rng_derive(mla_rng_hash(key), task, 0, 0);
    MLA_GROW(c->deeds, c->deeds_cap, c->n_deeds + 1);
    c->deeds[c->n_deeds++] = (deed){.task = task, .key = hash};
    if (mla_action_is_edit(step->kind)) mla__seen_add(&c->edits, hash);
    if (*step->state.commit) {
        uint64_t state = mla_rng_hash(step->state.commit);
        c->repeated += !mla__seen_add(&c->acts, mla_rng_derive(hash, state, 0, 0));
    }
    free(key);
}

static void count_scores(task_count *t, const mla_step *step) {
    mla_outcome_class class = mla_outcome_class_of(step->outcome);
    t->steps++;
    t->edits += mla_action_is_edit(step->kind);
    t->valid += class == MLA_CLASS_DONE || class == MLA_CLASS_CORNER;
    t->improved += step->reward.gain > 0;
    if (isfinite(step->reward.gain)) add(&t->gains, step->reward.gain);
    if (isfinite(step->reward.reward)) add(&t->rewards, step->reward.reward);
}

static void count_tokens(counting *c, const mla_step *step) {
    if (step->prompt_ids) add(&c->prompts, (double)step->n_prompt);
    if (step->action_ids) add(&c->replies, (double)step->n_action);
    if (step->prompt_ids && step->action_ids) {
        add(&c->samples, (double)(step->n_prompt + step->n_action));
    }
}

static int count_step(void *ctx, json_t *object, mla_err *err) {
    counting *c = ctx;
    mla_step step;
    if (mla_step_from_json(&step, object, err) < 0) return -1;
    size_t task = task_of(c, step.task);
    c->actions[step.kind == MLA_ACTION_NONE ? MLA_ACTION_COUNT : (int)step.kind]++;
    c->outcomes[step.outcome]++;
    for (int i = 0; i < MLA_FLAG_COUNT; i++) c->flags[i] += step.flags >> i & 1;
    c->reasons[mla__step_reason(&step, c->options)]++;
    count_trajectory(c, &c->tasks[task], &step);
    count_scores(&c->tasks[task], &step);
    count_tokens(c, &step);
    count_ideas(c, task, step.idea);
    count_deed(c, task, &step);
    mla_step_clear(&step);
    return 0;
}

static void counting_clear(counting *c) {
    for (size_t i = 0; i < c->n_tasks; i++) {
        free(c->tasks[i].name);
        free(c->tasks[i].gains.items);
        free(c->tasks[i].rewards.items);
    }
    free(c->tasks);
    free(c->deeds);
    free(c->prompts.items);
    free(c->replies.items);
    free(c->samples.items);
    free(c->lengths.items);
    mla__seen_clear(&c->trajectories);
    mla__seen_clear(&c->edits);
    mla__seen_clear(&c->ideas);
    mla__seen_clear(&c->acts);
}

// ---- in numbers --------------------------------------------------------------------------------

static void set_count(json_t *o, const char *key, size_t n) {
    json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void set_number(json_t *o, const char *key, double value) {
    json_object_set_new(o, key, mla_json_number(value));
}

static double mean_of(const values *v) {
    double sum = 0;
    for (size_t i = 0; i < v->len; i++) sum += v->items[i];
    return v->len ? sum / (double)v->len : NAN;
}

// The least value that a share of them does not exceed (nearest rank).
static double rank_of(const values *v, double share) {
    size_t rank = (size_t)ceil(share * (double)v->len);
    return v->items[rank ? rank - 1 : 0];
}

// Sorts; null when there are none.
static json_t *spread_of(values *v) {
    if (!v->len) return json_null();
    json_t *o = json_object();
    qsort(v->items, v->len, sizeof *v->items, by_size);
    set_count(o, "n", v->len);
    set_number(o, "mean", mean_of(v));
    set_number(o, "min", v->items[0]);
    set_number(o, "median", rank_of(v, 0.5));
    set_number(o, "p95", rank_of(v, 0.95));
    set_number(o, "max", v->items[v->len - 1]);
    return o;
}

static json_t *tasks_json(const counting *c) {
    json_t *all = json_object();
    for (size_t i = 0; i < c->n_tasks; i++) {
        const task_count *t = &c->tasks[i];
        json_t *o = json_object();
        set_count(o, "trajectories", t->trajectories);
        set_count(o, "steps", t->steps);
        set_count(o, "edits", t->edits);
        set_count(o, "valid", t->valid);
        set_count(o, "improved", t->improved);
        set_number(o, "gain_mean", mean_of(&t->gains));
        set_number(o, "reward_mean", mean_of(&t->rewards));
        json_object_set_new(all, t->name, o);
    }
    return all;
}

static json_t *actions_json(const counting *c) {
    json_t *o = json_object();
    for (int i = 0; i <= MLA_ACTION_COUNT; i++) {
        mla_action_kind kind = i < MLA_ACTION_COUNT ? (mla_action_kind)i : MLA_ACTION_NONE;
        set_count(o, mla_action_name(kind), c->actions[i]);
    }
    return o;
}

static json_t *outcomes_json(const counting *c) {
    json_t *o = json_object();
    for (int i = 0; i < MLA_OUTCOME_COUNT; i++) {
        set_count(o, mla_outcome_name((mla_outcome)i), c->outcomes[i]);
    }
    return o;
}

static json_t *flags_json(const counting *c) {
    json_t *o = json_object();
    for (int i = 0; i < MLA_FLAG_COUNT; i++) set_count(o, mla_flag_name(i), c->flags[i]);
    return o;
}

static json_t *gains_json(const counting *c) {
    values all = {0};
    size_t improved = 0, hurt = 0;
    for (size_t t = 0; t < c->n_tasks; t++) {
        const values *gains = &c->tasks[t].gains;
        for (size_t i = 0; i < gains->len; i++) {
            add(&all, gains->items[i]);
            improved += gains->items[i] > 0;
            hurt += gains->items[i] < 0;
        }
    }
    json_t *o = spread_of(&all);
    if (all.len) {
        set_count(o, "improved", improved);
        set_count(o, "unchanged", all.len - improved - hurt);
        set_count(o, "hurt", hurt);
    }
    free(all.items);
    return o;
}

static json_t *rewards_json(const counting *c) {
    values all = {0};
    for (size_t t = 0; t < c->n_tasks; t++) {
        const values *rewards = &c->tasks[t].rewards;
        for (size_t i = 0; i < rewards->len; i++) add(&all, rewards->items[i]);
    }
    json_t *o = spread_of(&all);
    free(all.items);
    return o;
}

static int by_deed(const void *a, const void *b) {
    const deed *p = a, *q = b;
    if (p->task != q->task) return p->task < q->task ? -1 : 1;
    return (p->key > q->key) - (p->key < q->key);
}

// H = -sum p ln p over the actions of a task, mean over the tasks, nats. Sorts.
static double action_entropy(counting *c) {
    double sum = 0;
    if (c->n_deeds) qsort(c->deeds, c->n_deeds, sizeof *c->deeds, by_deed);
    for (size_t from = 0, to; from < c->n_deeds; from = to) {
        for (to = from + 1; to < c->n_deeds && !by_deed(&c->deeds[from], &c->deeds[to]);) to++;
        double p = (double)(to - from) / (double)c->tasks[c->deeds[from].task].steps;
        sum -= p * log(p);
    }
    return c->n_tasks ? sum / (double)c->n_tasks : NAN;
}

static double kind_entropy(const counting *c) {
    double sum = 0;
    for (int i = 0; i <= MLA_ACTION_COUNT; i++) {
        double p = (double)c->actions[i] / (double)c->n_deeds;
        if (c->actions[i]) sum -= p * log(p);
    }
    return c->n_deeds ? sum : NAN;
}

static json_t *diversity_json(counting *c) {
    json_t *o = json_object();
    size_t edits = 0;
    for (size_t t = 0; t < c->n_tasks; t++) edits += c->tasks[t].edits;
    set_count(o, "edits", edits);
    set_count(o, "distinct_edits", c->edits.len);
    set_count(o, "ideas_covered", c->ideas.len);
    set_number(o, "entropy_kinds", kind_entropy(c));
    set_number(o, "entropy_actions", action_entropy(c));
    set_count(o, "repeated", c->repeated);
    return o;
}

static json_t *tokens_json(counting *c) {
    json_t *o = json_object();
    json_object_set_new(o, "prompt", spread_of(&c->prompts));
    json_object_set_new(o, "action", spread_of(&c->replies));
    json_object_set_new(o, "sample", spread_of(&c->samples));
    return o;
}

static json_t *filters_json(const counting *c) {
    json_t *o = json_object(), *left = json_object();
    json_object_set_new(o, "keep", json_string(mla_keep_name(c->options->keep)));
    set_number(o, "margin", c->options->margin);
    set_count(o, "kept", c->reasons[MLA__LEARN]);
    for (int r = 0; r < MLA__REASON_COUNT; r++) {
        set_count(left, mla__reason_name((mla__reason)r), c->reasons[r]);
    }
    json_object_set_new(o, "left_out", left);
    return o;
}

json_t *mla_data_stats(const char *path, const mla_dataset_options *options, mla_err *err) {
    counting c = {.options = options};
    json_t *o = NULL;
    if (!mla_fs_exists(path)) {
        mla_err_set(err, "%s: is not there; make it with `mlagent collect`", path);
    } else if (mla_lines_read(path, count_step, &c, err) == 0) {
        o = json_object();
        json_object_set_new(o, "file", json_string(path));
        set_count(o, "steps", c.n_deeds);
        set_count(o, "trajectories", c.trajectories.len);
        set_count(o, "ended", c.final);
        json_object_set_new(o, "length", spread_of(&c.lengths));
        json_object_set_new(o, "tasks", tasks_json(&c));
        json_object_set_new(o, "actions", actions_json(&c));
        json_object_set_new(o, "outcomes", outcomes_json(&c));
        json_object_set_new(o, "flags", flags_json(&c));
        json_object_set_new(o, "gain", gains_json(&c));
        json_object_set_new(o, "reward", rewards_json(&c));
        json_object_set_new(o, "diversity", diversity_json(&c));
        json_object_set_new(o, "tokens", tokens_json(&c));
        json_object_set_new(o, "filters", filters_json(&c));
    }
    counting_clear(&c);
    return o;
}
