// Reads a run folder for the report. Step files can be large (an RL run keeps every sample), so
// they are read a step at a time and only what is shown is kept.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "record/store.h"
#include "report/internal.h"

#define JSON_MAX_BYTES ((size_t)64 << 20)
#define CONFIG_MAX_BYTES ((size_t)1 << 20)

static int read_json(json_t **out, const char *dir, const char *name, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    int rc = 0;
    *out = NULL;
    if (mla_fs_exists(path)) {
        *out = mla_json_read_file(path, JSON_MAX_BYTES, err);
        if (*out && !json_is_object(*out)) rc = mla_err_set(err, "%s: not a JSON object", path);
        if (!*out) rc = -1;
    }
    free(path);
    return rc;
}

static int keep_line(void *ctx, json_t *object, mla_err *err) {
    (void)err;
    json_array_append(ctx, object);
    return 0;
}

static int read_metrics(json_t **out, const char *dir, const char *name, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    *out = json_array();
    int rc = mla_lines_read(path, keep_line, *out, err);
    free(path);
    return rc;
}

static int read_steps(const char *dir, const char *name,
                      int (*each)(void *ctx, json_t *object, mla_err *), void *ctx, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    int rc = mla_lines_read(path, each, ctx, err);
    free(path);
    return rc;
}

static int read_config(char **out, const char *dir, mla_err *err) {
    char *path = mla_fs_join(dir, "config.yaml");
    mla_buf text;
    int rc = 0;
    if (mla_fs_exists(path)) {
        rc = mla_fs_read(path, CONFIG_MAX_BYTES, &text, err);
        if (rc == 0) *out = mla_buf_take(&text);
    }
    free(path);
    return rc;
}

// ---- what the expert did ------------------------------------------------------------------------

static mla__expert_task *expert_task(mla__folder *folder, const char *task) {
    for (size_t i = 0; i < folder->n_expert; i++) {
        if (!strcmp(folder->expert[i].task, task)) return &folder->expert[i];
    }
    MLA_GROW(folder->expert, folder->cap_expert, folder->n_expert + 1);
    mla__expert_task *row = &folder->expert[folder->n_expert++];
    *row = (mla__expert_task){.task = mla_strdup(task), .best_gain = NAN};
    return row;
}

static int count_expert_step(void *ctx, json_t *object, mla_err *err) {
    mla_step step;
    if (mla_step_from_json(&step, object, err) < 0) return -1;
    mla__expert_task *row = expert_task(ctx, step.task);
    mla_outcome_class class_of = mla_outcome_class_of(step.outcome);
    row->trajectories += step.index == 0;
    row->steps++;
    row->valid += class_of == MLA_CLASS_DONE || class_of == MLA_CLASS_CORNER;
    row->edits += mla_action_is_edit(step.kind);
    row->improved += step.reward.gain > 0;
    row->best_gain = fmax(row->best_gain, step.reward.gain);    // fmax leaves NaN out
    mla_step_clear(&step);
    return 0;
}

// ---- the best edit that RL found for each task --------------------------------------------------

static int keep_best_edit(void *ctx, json_t *object, mla_err *err) {
    mla__folder *folder = ctx;
    mla_step step;
    if (mla_step_from_json(&step, object, err) < 0) return -1;
    mla_step *held = NULL;
    for (size_t i = 0; i < folder->best.len && !held; i++) {
        if (!strcmp(folder->best.items[i].task, step.task)) held = &folder->best.items[i];
    }
    if (step.reward.gain > 0 && !held) {
        mla_steps_push_take(&folder->best, &step);
    } else if (step.reward.gain > 0 && step.reward.gain > held->reward.gain) {
        mla_step_clear(held);
        *held = step;
        mla_step_init(&step);
    }
    mla_step_clear(&step);
    return 0;
}

static int by_gain(const void *a, const void *b) {
    double x = ((const mla_step *)a)->reward.gain, y = ((const mla_step *)b)->reward.gain;
    return (x < y) - (x > y);
}

// ---- the trajectory to read ---------------------------------------------------------------------

typedef struct chooser {
    mla_steps current, best;
    double best_gain;
} chooser;

// How far the best state of a trajectory is from its beginning, in the reward's unit. A step's gain
// is proportional to its change of score, which gives the unit without knowing the task.
static double gain_of(const mla_steps *steps) {
    double unit = 0, from = NAN, most = -INFINITY;
    for (size_t i = 0; i < steps->len; i++) {
        const mla_reward_parts *r = &steps->items[i].reward;
        double change = r->score_after - r->score_before;
        if (isnan(from)) from = r->score_before;
        if (unit == 0 && isfinite(r->gain) && change != 0) unit = r->gain / change;
    }
    for (size_t i = 0; i < steps->len; i++) {
        double gain = (steps->items[i].reward.score_after - from) * unit;
        if (gain > most) most = gain;
    }
    return most;
}

static void judge_current(chooser *c) {
    double gain = gain_of(&c->current);
    if (c->current.len && (!c->best.len || gain > c->best_gain)) {
        mla_steps_clear(&c->best);
        c->best = c->current;
        c->best_gain = gain;
        c->current = (mla_steps){0};
    }
    mla_steps_clear(&c->current);
}

static int take_step(void *ctx, json_t *object, mla_err *err) {
    chooser *c = ctx;
    mla_step step;
    if (mla_step_from_json(&step, object, err) < 0) return -1;
    if (step.index == 0 || (c->current.len &&
                            strcmp(c->current.items[0].trajectory, step.trajectory) != 0)) {
        judge_current(c);
    }
    mla_steps_push_take(&c->current, &step);
    return 0;
}

// The best of the most trained model there is.
static int choose_trajectory(mla__folder *folder, const char *dir, mla_err *err) {
    static const struct {
        const char *from, *file;
    } sources[] = {{"rl", "eval/rl/steps.jsonl"},
                   {"sft", "eval/sft/steps.jsonl"},
                   {"expert", "expert/steps.jsonl"},
                   {"solve", "steps.jsonl"}};
    for (size_t i = 0; i < MLA_COUNT(sources) && !folder->shown_from; i++) {
        chooser c = {.best_gain = -INFINITY};
        int rc = read_steps(dir, sources[i].file, take_step, &c, err);
        judge_current(&c);
        if (rc < 0) {
            mla_steps_clear(&c.best);
            return -1;
        }
        if (!c.best.len) continue;
        folder->shown = c.best;
        folder->shown_from = sources[i].from;
    }
    return 0;
}

static char *last_component(const char *dir) {
    char *real = realpath(dir, NULL);
    const char *slash = real ? strrchr(real, '/') : NULL;
    char *name = mla_strdup(slash && slash[1] ? slash + 1 : dir);
    free(real);
    return name;
}

static int read_all(mla__folder *out, const char *dir, mla_err *err) {
    if (read_config(&out->config, dir, err) < 0) return -1;
    if (read_json(&out->stages, dir, "stages.json", err) < 0) return -1;
    if (read_json(&out->ideas, dir, "expert/ideas.json", err) < 0) return -1;
    if (read_json(&out->table, dir, "eval/table.json", err) < 0) return -1;
    if (read_json(&out->actions, dir, "eval/actions.json", err) < 0) return -1;
    if (read_metrics(&out->sft, dir, "sft/metrics.jsonl", err) < 0) return -1;
    if (read_metrics(&out->rl, dir, "rl/metrics.jsonl", err) < 0) return -1;
    if (read_steps(dir, "expert/steps.jsonl", count_expert_step, out, err) < 0) return -1;
    if (read_steps(dir, "rl/steps.jsonl", keep_best_edit, out, err) < 0) return -1;
    if (out->best.len) qsort(out->best.items, out->best.len, sizeof *out->best.items, by_gain);
    return choose_trajectory(out, dir, err);
}

int mla__report_read(mla__folder *out, const char *run_dir, mla_err *err) {
    *out = (mla__folder){0};
    if (!mla_fs_is_dir(run_dir)) return mla_err_set(err, "%s: no such run folder", run_dir);
    out->name = last_component(run_dir);
    if (read_all(out, run_dir, err) == 0) return 0;
    mla__folder_clear(out);
    return -1;
}

void mla__folder_clear(mla__folder *folder) {
    for (size_t i = 0; i < folder->n_expert; i++) free(folder->expert[i].task);
    free(folder->expert);
    free(folder->name);
    free(folder->config);
    json_decref(folder->stages);
    json_decref(folder->ideas);
    json_decref(folder->table);
    json_decref(folder->actions);
    json_decref(folder->sft);
    json_decref(folder->rl);
    mla_steps_clear(&folder->best);
    mla_steps_clear(&folder->shown);
    *folder = (mla__folder){0};
}
