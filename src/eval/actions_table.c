// What the actions from the fixed states come to, for each model: a row a task and one a split.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "eval/internal.h"
#include "record/store.h"

// --- the actions of one model on one task or split ----------------------------------------------

typedef struct {
    const mla_step **items;        // [len], owned array of borrowed steps, state by state
    size_t len;
} group;

// The part of a name that tells the state: "state-003" of "state-003-2".
static size_t state_length(const mla_step *step) {
    const char *dash = strrchr(step->trajectory, '-');
    return dash ? (size_t)(dash - step->trajectory) : strlen(step->trajectory);
}

static bool same_state(const mla_step *a, const mla_step *b) {
    size_t n = state_length(a);
    return n == state_length(b) && !strncmp(a->trajectory, b->trajectory, n);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const mla_step *const *)a)->trajectory,
                  (*(const mla_step *const *)b)->trajectory);
}

// Those of `task`, or of all tasks of a split (task NULL); a kill may have left some twice.
static group pick(const mla_steps *all, const mla_task *const *tasks, size_t n_tasks,
                  const mla_task *task, bool held_out) {
    group g = {.items = MLA_NEW_ARRAY(const mla_step *, all->len)};
    for (size_t i = 0; i < all->len; i++) {
        const mla_step *step = &all->items[i];
        size_t t = 0;
        while (t < n_tasks && strcmp(tasks[t]->name, step->task)) t++;
        if (t == n_tasks || tasks[t]->held_out != held_out || (task && tasks[t] != task)) continue;
        g.items[g.len++] = step;
    }
    if (g.len) qsort(g.items, g.len, sizeof *g.items, by_name);
    size_t kept = 0;
    for (size_t i = 0; i < g.len; i++) {
        if (kept && !strcmp(g.items[i]->trajectory, g.items[kept - 1]->trajectory)) continue;
        g.items[kept++] = g.items[i];
    }
    g.len = kept;
    return g;
}

// --- numbers ------------------------------------------------------------------------------------

static double mean_or_nan(double sum, size_t n) {
    return n ? sum / (double)n : NAN;
}

static size_t count_distinct(const mla_step *const *steps, size_t n) {
    char **keys = MLA_NEW_ARRAY(char *, n);
    size_t distinct = 0;
    for (size_t i = 0; i < n; i++) {
        keys[i] = mla_agent_action_key(steps[i]);
        size_t j = 0;
        while (strcmp(keys[j], keys[i])) j++;
        distinct += j == i;
    }
    for (size_t i = 0; i < n; i++) free(keys[i]);
    free(keys);
    return distinct;
}

typedef struct {
    double *reward, *distinct;     // [n], owned: mean reward, share of different actions
    size_t n;
} states;

static states by_states(const group *g) {
    states s = {.reward = MLA_NEW_ARRAY(double, g->len), .distinct = MLA_NEW_ARRAY(double, g->len)};
    for (size_t from = 0, to; from < g->len; from = to) {
        double sum = 0;
        for (to = from; to < g->len && same_state(g->items[from], g->items[to]); to++) {
            sum += g->items[to]->reward.reward;
        }
        size_t n = to - from;
        s.reward[s.n] = sum / (double)n;
        s.distinct[s.n++] = (double)count_distinct(g->items + from, n) / (double)n;
    }
    return s;
}

static void set_number(json_t *row, const char *key, double value) {
    json_object_set_new(row, key, mla_json_number(value));
}

static void set_shares(json_t *row, const group *g) {
    size_t valid = 0, edits = 0, improved = 0, flagged = 0, gains = 0, tokens = 0;
    double gain = 0, surprise = 0;
    for (size_t i = 0; i < g->len; i++) {
        const mla_step *step = g->items[i];
        mla_outcome_class class = mla_outcome_class_of(step->outcome);
        valid += class == MLA_CLASS_DONE || class == MLA_CLASS_CORNER;
        edits += mla_action_is_edit(step->kind);
        improved += step->reward.gain > 0;
        flagged += step->flags != 0;
        if (isfinite(step->reward.gain)) gain += step->reward.gain, gains++;
        for (size_t t = 0; t < step->n_action; t++) surprise -= step->logprobs[t];
        tokens += step->n_action;
    }
    set_number(row, "valid_rate", mean_or_nan((double)valid, g->len));
    set_number(row, "edit_share", mean_or_nan((double)edits, g->len));
    set_number(row, "improved_share", mean_or_nan((double)improved, g->len));
    set_number(row, "flagged_share", mean_or_nan((double)flagged, g->len));
    set_number(row, "gain_mean", mean_or_nan(gain, gains));
    set_number(row, "entropy", mean_or_nan(surprise, tokens));
    set_number(row, "tokens_mean", mean_or_nan((double)tokens, g->len));
}

static void set_states(json_t *row, const group *g) {
    states s = by_states(g);
    json_object_set_new(row, "states", json_integer((json_int_t)s.n));
    json_object_set_new(row, "actions", json_integer((json_int_t)g->len));
    set_number(row, "reward_mean", mla__mean(s.reward, s.n));
    set_number(row, "reward_sem", mla__sem(s.reward, s.n));
    set_number(row, "distinct_share", mla__mean(s.distinct, s.n));
    free(s.reward);
    free(s.distinct);
}

// How many of the task's ideas the edits come to; a task without ideas has no such number.
static int set_ideas(json_t *row, const group *g, const mla_task *task, mla_err *err) {
    char *path = mla_fs_join(task->dir, "ideas.yaml");
    bool any = mla_fs_exists(path);
    free(path);
    if (!any) return 0;
    mla_ideas ideas;
    if (mla_ideas_load(&ideas, task, err) < 0) return -1;
    bool *covered = MLA_NEW_ARRAY(bool, ideas.len);
    size_t n = 0;
    for (size_t i = 0; i < g->len; i++) {
        if (!mla_action_is_edit(g->items[i]->kind)) continue;
        char *key = mla_agent_action_key(g->items[i]);
        long at = mla__nearest_idea(&ideas, key);
        if (at >= 0 && !covered[at]) covered[at] = true, n++;
        free(key);
    }
    json_object_set_new(row, "ideas", json_integer((json_int_t)ideas.len));
    json_object_set_new(row, "ideas_covered", json_integer((json_int_t)n));
    free(covered);
    mla_ideas_clear(&ideas);
    return 0;
}

// --- the table ----------------------------------------------------------------------------------

static int add_row(json_t *rows, const mla_steps *all, const mla_task *const *tasks,
                   size_t n_tasks, const char *model, const mla_task *task, bool held_out,
                   mla_err *err) {
    group g = pick(all, tasks, n_tasks, task, held_out);
    int rc = 0;
    if (g.len) {
        json_t *row = json_object();
        json_object_set_new(row, "model", json_string(model));
        json_object_set_new(row, "task", task ? json_string(task->name) : json_null());
        json_object_set_new(row, "split", json_string(held_out ? "held-out" : "train"));
        set_states(row, &g);
        set_shares(row, &g);
        if (task) rc = set_ideas(row, &g, task, err);
        json_array_append_new(rows, row);
    }
    free(g.items);
    return rc;
}

static int add_model(json_t *rows, const mla_run *run, const char *model,
                     const mla_task *const *tasks, size_t n_tasks, mla_err *err) {
    char *relative = mla_format("eval/%s/actions.jsonl", model);
    char *path = mla_run_path(run, relative);
    mla_steps all = {0};
    int rc = mla_store_read(path, &all, err);
    for (int held_out = 0; held_out < 2 && rc == 0; held_out++) {
        rc = add_row(rows, &all, tasks, n_tasks, model, NULL, held_out, err);
        for (size_t i = 0; i < n_tasks && rc == 0; i++) {
            if (tasks[i]->held_out != held_out) continue;
            rc = add_row(rows, &all, tasks, n_tasks, model, tasks[i], held_out, err);
        }
    }
    mla_steps_clear(&all);
    free(relative);
    free(path);
    return rc;
}

int mla_eval_actions_table(mla_run *run, const mla_task *const *tasks, size_t n_tasks,
                           mla_err *err) {
    char **models;
    size_t n;
    if (mla__models_list(run, &models, &n, err) < 0) return -1;
    json_t *rows = json_array();
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        rc = add_model(rows, run, models[i], tasks, n_tasks, err);
    }
    mla_fs_names_free(models, n);
    char *path = mla_run_path(run, "eval/actions.json");
    json_t *table = json_pack("{s:O}", "rows", rows);
    if (rc == 0 && json_array_size(rows)) rc = mla_json_write_file(path, table, err);
    json_decref(table);
    json_decref(rows);
    free(path);
    return rc;
}
