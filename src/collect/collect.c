// The collection stage: the ideas of each task are embedded, the most diverse ones kept, and the
// scripted expert follows them through the real environment. It leaves out the choice (diverse.c),
// the expert (expert.c) and the file of trajectories (trajectories.c).
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "collect/collect.h"
#include "agent/trajectories.h"

mla_collect_options mla_collect_options_default(void) {
    return (mla_collect_options){
        .trajectories = 40, .ideas_kept = 10, .max_steps = 15, .at_once = 4, .seed = 1};
}

typedef struct {
    const char *text;              // borrowed from the ideas
    float *vector;                 // [dim], owned
} embedding;

// The ideas of all tasks and which of them were chosen.
typedef struct {
    const mla_task *const *tasks;
    size_t n_tasks;
    mla_ideas *ideas;              // [n_tasks], owned
    mla_expert_ideas *chosen;      // [n_tasks]; their arrays are owned
    mla_diversity *diversity;      // [n_tasks]
    embedding *embeddings;         // [n_embeddings], owned: of each text once, for the variants
    size_t n_embeddings, cap;      // of a task share most of theirs
} idea_book;

static void book_clear(idea_book *book) {
    for (size_t t = 0; t < book->n_tasks; t++) {
        mla_ideas_clear(&book->ideas[t]);
        free((size_t *)book->chosen[t].chosen);
    }
    for (size_t i = 0; i < book->n_embeddings; i++) free(book->embeddings[i].vector);
    free(book->embeddings);
    free(book->ideas);
    free(book->chosen);
    free(book->diversity);
}

static int book_load(idea_book *book, const mla_task *const *tasks, size_t n_tasks, mla_err *err) {
    *book = (idea_book){.tasks = tasks, .n_tasks = n_tasks};
    book->ideas = MLA_NEW_ARRAY(mla_ideas, n_tasks);
    book->chosen = MLA_NEW_ARRAY(mla_expert_ideas, n_tasks);
    book->diversity = MLA_NEW_ARRAY(mla_diversity, n_tasks);
    for (size_t t = 0; t < n_tasks; t++) {
        if (mla_ideas_load(&book->ideas[t], tasks[t], err) < 0) {
            return mla_err_wrap(err, "task %s cannot be collected without ideas", tasks[t]->name);
        }
        if (!book->ideas[t].len) {
            return mla_err_set(err, "%s/ideas.yaml has no ideas; the expert needs at least one",
                               tasks[t]->dir);
        }
    }
    return 0;
}

// --- choosing -----------------------------------------------------------------------------------

// A model's hidden states share a large common part, beside which all texts look alike; without the
// pool's mean the cosines tell ideas apart better (SmolLM2 on three tasks: of 170 ideas 78 have
// their nearest one in their own family, 67 otherwise; the ten chosen are of 5.2 families, 4.8
// otherwise). The pool's mean distance is then a little above 1. vectors [n, dim], unit length
// before and after.
static void centre(float *vectors, size_t n, size_t dim) {
    for (size_t d = 0; d < dim; d++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++) mean += vectors[i * dim + d];
        for (size_t i = 0; i < n; i++) vectors[i * dim + d] -= (float)(mean / (double)n);
    }
    for (size_t i = 0; i < n; i++) {
        float *v = vectors + i * dim;   // [dim]
        double square = 0;
        for (size_t d = 0; d < dim; d++) square += (double)v[d] * v[d];
        double scale = square > 0 ? 1 / sqrt(square) : 0;
        for (size_t d = 0; d < dim; d++) v[d] = (float)(v[d] * scale);
    }
}

static size_t embedding_size(mla_policy *embedder) {
    return (size_t)mla_model_get_config(mla_policy_model(embedder))->dim;
}

// out [dim]
static void embed(idea_book *book, mla_policy *embedder, const char *text, float *out, size_t dim) {
    size_t at = 0;
    while (at < book->n_embeddings && strcmp(book->embeddings[at].text, text)) at++;
    if (at == book->n_embeddings) {
        MLA_GROW(book->embeddings, book->cap, ++book->n_embeddings);
        book->embeddings[at] = (embedding){.text = text, .vector = MLA_NEW_ARRAY(float, dim)};
        mla_policy_embed(embedder, text, book->embeddings[at].vector);
    }
    memcpy(out, book->embeddings[at].vector, dim * sizeof *out);
}

static void choose(idea_book *book, size_t t, mla_policy *embedder,
                   const mla_collect_options *options, mla_progress *bar) {
    const mla_ideas *ideas = &book->ideas[t];
    size_t n = ideas->len, dim = embedding_size(embedder);
    size_t k = (size_t)options->ideas_kept < n ? (size_t)options->ideas_kept : n;
    float *vectors = MLA_NEW_ARRAY(float, n * dim);
    for (size_t i = 0; i < n && !mla_stop_wanted(); i++) {
        embed(book, embedder, ideas->items[i].text, vectors + i * dim, dim);
        mla_progress_set(bar, bar->done + 1, "%s", book->tasks[t]->name);
    }
    centre(vectors, n, dim);
    size_t *chosen = MLA_NEW_ARRAY(size_t, k);
    uint64_t seed = mla_rng_derive(options->seed, mla_rng_hash(book->tasks[t]->name), 0, 1);
    mla_diverse_choose(vectors, n, dim, k, seed, chosen, &book->diversity[t]);
    free(vectors);
    book->chosen[t] = (mla_expert_ideas){
        .task = book->tasks[t], .ideas = ideas, .chosen = chosen, .n_chosen = k};
    if (n <= (size_t)options->ideas_kept) {
        mla_info("%s: its pool has %zu ideas and %d are to be kept: all of them are",
                 book->tasks[t]->name, n, options->ideas_kept);
    }
}

static void choose_all(idea_book *book, mla_policy *embedder, const mla_collect_options *options) {
    size_t all = 0;
    for (size_t t = 0; t < book->n_tasks; t++) all += book->ideas[t].len;
    mla_progress bar;
    mla_progress_begin(&bar, "collect", "ideas", (double)all, 0);
    for (size_t t = 0; t < book->n_tasks && !mla_stop_wanted(); t++) {
        choose(book, t, embedder, options, &bar);
    }
    mla_progress_end(&bar);
}

static json_t *task_json(const idea_book *book, size_t t) {
    const mla_expert_ideas *e = &book->chosen[t];
    json_t *ids = json_array();
    for (size_t i = 0; i < e->n_chosen; i++) {
        json_array_append_new(ids, json_string(e->ideas->items[e->chosen[i]].id));
    }
    const mla_diversity *d = &book->diversity[t];
    json_t *row = json_object();
    json_object_set_new(row, "task", json_string(e->task->name));
    json_object_set_new(row, "pool", json_integer((json_int_t)e->ideas->len));
    json_object_set_new(row, "chosen", ids);
    json_object_set_new(row, "mean_distance", mla_json_number(d->mean_distance));
    json_object_set_new(row, "min_distance", mla_json_number(d->min_distance));
    json_object_set_new(row, "random_mean_distance", mla_json_number(d->random_mean_distance));
    return row;
}

static int write_ideas(const idea_book *book, mla_run *run, mla_err *err) {
    json_t *rows = json_array();
    for (size_t t = 0; t < book->n_tasks; t++) json_array_append_new(rows, task_json(book, t));
    json_t *whole = json_object();
    json_object_set_new(whole, "tasks", rows);
    char *path = mla_run_path(run, "expert/ideas.json");
    int rc = mla_json_write_file(path, whole, err);
    free(path);
    json_decref(whole);
    return rc;
}

// --- the stage ----------------------------------------------------------------------------------

static int follow(const idea_book *book, mla_run *run, mla_agent *agent,
                  const mla_collect_options *options, mla_err *err) {
    mla_expert *expert = mla_expert_create(book->chosen, book->n_tasks,
                                           book->n_tasks * (size_t)options->trajectories);
    mla_actor actor = mla_expert_actor(expert);
    char *path = mla_run_path(run, "expert/steps.jsonl");
    // By turns, so that a run that is stopped early has something of every task.
    const mla_fill fill = {
        .path = path, .stage = "collect", .prefix = "", .digits = 4,
        .trajectories = options->trajectories, .max_steps = options->max_steps,
        .at_once = options->at_once, .seed = options->seed};
    int rc = mla_trajectories_fill(&fill, agent, &actor, book->tasks, book->n_tasks, err);
    free(path);
    mla_expert_free(expert);
    return rc;
}

static int check_options(const mla_collect_options *o, size_t n_tasks, mla_err *err) {
    if (!n_tasks) return mla_err_set(err, "collect: no task to collect from");
    if (o->trajectories < 1 || o->ideas_kept < 1 || o->max_steps < 1 || o->at_once < 1) {
        return mla_err_set(err, "collect: trajectories (%d), ideas kept (%d), steps (%d) and "
                           "trajectories at once (%d) must each be at least 1", o->trajectories,
                           o->ideas_kept, o->max_steps, o->at_once);
    }
    return 0;
}

int mla_collect_run(mla_run *run, mla_agent *agent, mla_policy *embedder,
                    const mla_task *const *tasks, size_t n_tasks,
                    const mla_collect_options *options, mla_err *err) {
    if (check_options(options, n_tasks, err) < 0) return -1;
    idea_book book;
    int rc = book_load(&book, tasks, n_tasks, err);
    if (rc == 0) choose_all(&book, embedder, options);
    if (rc == 0 && !mla_stop_wanted()) rc = write_ideas(&book, run, err);
    if (rc == 0 && !mla_stop_wanted()) rc = follow(&book, run, agent, options, err);
    book_clear(&book);
    return rc;
}
