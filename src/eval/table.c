// The table of an evaluation: one row for each model and task, as JSON. It leaves out how a
// trajectory becomes a score (stats.c) and how a table is shown (print.c).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "eval/internal.h"

// The pipeline's models in its order; others follow by name.
static const char *const model_order[] = {"untrained", "sft", "rl"};

// --- a row --------------------------------------------------------------------------------------

typedef struct {
    size_t steps, valid, improved, flagged;
    double *scores, *gains;      // [n], owned
    size_t n;
} tally;

static int add_trajectory(tally *t, const mla_trajectory *trajectory, mla_err *err) {
    double score = mla__trajectory_score(trajectory);
    if (!isfinite(score)) {
        return mla_err_set(err, "trajectory %s has no private score for its best state; it was not "
                           "made for evaluation", trajectory->steps->trajectory);
    }
    t->scores[t->n] = score;
    t->gains[t->n++] = mla__gain(trajectory->task, score);
    for (size_t i = 0; i < trajectory->n_steps; i++) {
        const mla_step *step = &trajectory->steps[i];
        mla_outcome_class class = mla_outcome_class_of(step->outcome);
        t->valid += class == MLA_CLASS_DONE || class == MLA_CLASS_CORNER;
        t->improved += step->reward.gain > 0;
        t->flagged += step->flags != 0;
    }
    t->steps += trajectory->n_steps;
    return 0;
}

static int count(tally *t, const mla_trajectories *all, const mla_task *task, mla_err *err) {
    *t = (tally){.scores = MLA_NEW_ARRAY(double, all->len + 1),
                 .gains = MLA_NEW_ARRAY(double, all->len + 1)};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < all->len; i++) {
        if (all->items[i].task == task) rc = add_trajectory(t, &all->items[i], err);
    }
    return rc;
}

static void tally_clear(tally *t) {
    free(t->scores);
    free(t->gains);
}

static void set_number(json_t *row, const char *key, double value) {
    json_object_set_new(row, key, mla_json_number(value));
}

static json_t *row_json(const tally *t, const char *model, const mla_task *task) {
    json_t *row = json_object();
    json_object_set_new(row, "model", json_string(model));
    json_object_set_new(row, "task", json_string(task->name));
    json_object_set_new(row, "split", json_string(task->held_out ? "held-out" : "train"));
    json_object_set_new(row, "metric", json_string(mla_metric_name(task->metric)));
    json_object_set_new(row, "direction", json_integer(task->direction));
    json_object_set_new(row, "trajectories", json_integer((json_int_t)t->n));
    json_object_set_new(row, "steps", json_integer((json_int_t)t->steps));
    set_number(row, "valid_rate", (double)t->valid / (double)t->steps);
    set_number(row, "improved_share", (double)t->improved / (double)t->steps);
    set_number(row, "flagged_share", (double)t->flagged / (double)t->steps);
    set_number(row, "score_init", task->init.private_half);
    set_number(row, "score_best_reference", task->best.private_half);
    set_number(row, "score_avg", mla__mean(t->scores, t->n));
    set_number(row, "score_best", mla__best(t->scores, t->n, task->direction));
    set_number(row, "gain_avg", mla__mean(t->gains, t->n));
    set_number(row, "gain_best", mla__best(t->gains, t->n, 1));
    set_number(row, "gain_sem", mla__sem(t->gains, t->n));
    return row;
}

// --- the table ----------------------------------------------------------------------------------

static int add_model(json_t *rows, const mla_run *run, const char *model,
                     const mla_task *const *tasks, size_t n_tasks, mla_err *err) {
    char *relative = mla_format("eval/%s/steps.jsonl", model);
    char *path = mla_run_path(run, relative);
    mla_trajectories all;
    int rc = mla_trajectories_read(&all, path, tasks, n_tasks, err);
    for (size_t i = 0; rc == 0 && i < n_tasks; i++) {
        tally t;
        rc = count(&t, &all, tasks[i], err);
        if (rc < 0) mla_err_wrap(err, "%s", path);
        else if (t.n) json_array_append_new(rows, row_json(&t, model, tasks[i]));
        tally_clear(&t);
    }
    mla_trajectories_clear(&all);
    free(relative);
    free(path);
    return rc;
}

static size_t order_of(const char *model) {
    size_t i = 0;
    while (i < MLA_COUNT(model_order) && strcmp(model, model_order[i])) i++;
    return i;
}

static int by_order(const void *a, const void *b) {
    const char *p = *(char *const *)a, *q = *(char *const *)b;
    size_t i = order_of(p), j = order_of(q);
    return i == j ? strcmp(p, q) : i < j ? -1 : 1;
}

int mla__models_list(const mla_run *run, char ***names, size_t *n, mla_err *err) {
    char *dir = mla_fs_join(mla_run_dir(run), "eval"), **all = NULL;
    size_t found = 0, kept = 0;
    int rc = mla_fs_is_dir(dir) ? mla_fs_list(dir, &all, &found, err) : 0;
    for (size_t i = 0; rc == 0 && i < found; i++) {
        char *folder = mla_fs_join(dir, all[i]);
        if (mla_fs_is_dir(folder)) all[kept++] = all[i];
        else free(all[i]);
        free(folder);
    }
    if (kept) qsort(all, kept, sizeof *all, by_order);
    *names = all;
    *n = kept;
    return rc;
}

static int add_models(json_t *rows, const mla_run *run, const mla_task *const *tasks,
                      size_t n_tasks, mla_err *err) {
    char **names;
    size_t n;
    int rc = mla__models_list(run, &names, &n, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        rc = add_model(rows, run, names[i], tasks, n_tasks, err);
    }
    mla_fs_names_free(names, n);
    return rc;
}

int mla_eval_table(mla_run *run, const mla_task *const *tasks, size_t n_tasks, const char *note,
                   mla_err *err) {
    json_t *rows = json_array(), *table = json_object();
    int rc = add_models(rows, run, tasks, n_tasks, err);
    char *actions = mla_run_path(run, "eval/actions.json");
    if (rc == 0 && !json_array_size(rows) && !mla_fs_exists(actions)) {
        rc = mla_err_set(err, "%s/eval: no whole trajectory of any model; evaluate first",
                         mla_run_dir(run));
    }
    free(actions);
    json_object_set_new(table, "note", json_string(note ? note : ""));
    json_object_set_new(table, "rows", rows);
    char *path = mla_run_path(run, "eval/table.json");
    if (rc == 0) rc = mla_json_write_file(path, table, err);
    free(path);
    json_decref(table);
    return rc;
}
