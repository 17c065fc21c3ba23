// The ideas of all tasks, and which of each pool are followed: every distinct text is embedded
// once, the variants of a task share a pool, and the choice is written down (expert/ideas.json)
// so that a restarted run makes no other. It leaves out the choice itself (diverse.c) and where
// vectors come from (embed.c).
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "collect/internal.h"

#define FILE_MAX ((size_t)64 << 20)
#define KEY_MAX ((size_t)256 << 20)

void mla__book_init(mla__book *book, const mla_task *const *tasks, size_t n_tasks) {
    *book = (mla__book){.tasks = tasks, .n_tasks = n_tasks};
    book->ideas = MLA_NEW_ARRAY(mla_ideas, n_tasks);
    book->chosen = MLA_NEW_ARRAY(mla_expert_ideas, n_tasks);
    book->diversity = MLA_NEW_ARRAY(mla_diversity, n_tasks);
    book->pool_of = MLA_NEW_ARRAY(size_t, n_tasks);
    book->pools = MLA_NEW_ARRAY(mla__pool, n_tasks);
}

void mla__book_clear(mla__book *book) {
    for (size_t t = 0; t < book->n_tasks; t++) {
        mla_ideas_clear(&book->ideas[t]);
        free((size_t *)book->chosen[t].chosen);
        free(book->pools[t].ideas);
        free(book->pools[t].map);
    }
    free(book->ideas);
    free(book->chosen);
    free(book->diversity);
    free(book->pool_of);
    free(book->pools);
}

int mla__book_load(mla__book *book, mla_err *err) {
    for (size_t t = 0; t < book->n_tasks; t++) {
        const mla_task *task = book->tasks[t];
        if (mla_ideas_load(&book->ideas[t], task, err) < 0) {
            return mla_err_wrap(err, "task %s cannot be collected without ideas (--ideas-from "
                                "asks a model for some)", task->name);
        }
        if (!book->ideas[t].len) {
            return mla_err_set(err, "%s/ideas.yaml has no ideas; the expert needs at least one",
                               task->dir);
        }
    }
    return 0;
}

// --- pools --------------------------------------------------------------------------------------

static int by_idea(const void *a, const void *b) {
    const mla_idea *x = *(const mla_idea *const *)a, *y = *(const mla_idea *const *)b;
    int order = strcmp(x->id, y->id);
    return order ? order : strcmp(x->text, y->text);
}

static void gather(mla__pool *pool, const mla__book *book, size_t number) {
    size_t all = 0, n = 0;
    for (size_t t = 0; t < book->n_tasks; t++) {
        if (book->pool_of[t] == number) all += book->ideas[t].len;
    }
    pool->ideas = MLA_NEW_ARRAY(const mla_idea *, all);
    for (size_t t = 0; t < book->n_tasks; t++) {
        if (book->pool_of[t] != number) continue;
        pool->tasks++;
        for (size_t i = 0; i < book->ideas[t].len; i++) {
            pool->ideas[n++] = &book->ideas[t].items[i];
        }
    }
    qsort(pool->ideas, n, sizeof *pool->ideas, by_idea);
    for (size_t i = 0; i < n; i++) {
        if (i && !by_idea(&pool->ideas[i], &pool->ideas[pool->len - 1])) continue;
        pool->ideas[pool->len++] = pool->ideas[i];
    }
}

static void find_pools(mla__book *book) {
    for (size_t t = 0; t < book->n_tasks; t++) {
        size_t p = 0;
        while (p < book->n_pools &&
               strcmp(book->tasks[book->pools[p].first]->family, book->tasks[t]->family)) {
            p++;
        }
        if (p == book->n_pools) book->pools[book->n_pools++].first = t;
        book->pool_of[t] = p;
    }
    for (size_t p = 0; p < book->n_pools; p++) gather(&book->pools[p], book, p);
}

static size_t count_kept(const mla__book *book, size_t t, const mla_collect_options *options) {
    size_t n = book->ideas[t].len;
    return (size_t)options->ideas_kept < n ? (size_t)options->ideas_kept : n;
}

// --- choosing -----------------------------------------------------------------------------------

typedef struct {
    const char **texts;            // [n], each once, sorted; borrowed
    float *vectors;                // [n, dim]
    size_t n, dim;
} texts_read;

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void list_texts(texts_read *out, const mla__book *book) {
    size_t all = 0, n = 0;
    for (size_t p = 0; p < book->n_pools; p++) all += book->pools[p].len;
    out->texts = MLA_NEW_ARRAY(const char *, all);
    for (size_t p = 0; p < book->n_pools; p++) {
        for (size_t i = 0; i < book->pools[p].len; i++) {
            out->texts[n++] = book->pools[p].ideas[i]->text;
        }
    }
    qsort(out->texts, n, sizeof *out->texts, by_text);
    for (size_t i = 0; i < n; i++) {
        if (i && !strcmp(out->texts[i], out->texts[out->n - 1])) continue;
        out->texts[out->n++] = out->texts[i];
    }
}

static int read_texts(texts_read *out, const mla__book *book, const mla__embedder *by,
                      mla_err *err) {
    mla_progress bar;
    list_texts(out, book);
    mla_progress_begin(&bar, "collect", "ideas", (double)out->n, 0);
    int rc = mla__embed(by, out->texts, out->n, &out->vectors, &out->dim, &bar, err);
    mla_progress_end(&bar);
    return rc;
}

static void copy_vector(float *out, const texts_read *all, const char *text) {
    const char **at = bsearch(&text, all->texts, all->n, sizeof *all->texts, by_text);
    MLA_ASSERT(at);
    memcpy(out, all->vectors + (size_t)(at - all->texts) * all->dim, all->dim * sizeof *out);
}

// Of some ideas, their mean taken off: [ideas, dim], owned.
static float *vectors_of_task(const texts_read *all, const mla_ideas *ideas) {
    float *out = MLA_NEW_ARRAY(float, ideas->len * all->dim);
    for (size_t i = 0; i < ideas->len; i++) {
        copy_vector(out + i * all->dim, all, ideas->items[i].text);
    }
    mla__embed_centre(out, ideas->len, all->dim);
    return out;
}

static void map_pool(mla__pool *pool, const texts_read *all) {
    float *vectors = MLA_NEW_ARRAY(float, pool->len * all->dim);
    for (size_t i = 0; i < pool->len; i++) {
        copy_vector(vectors + i * all->dim, all, pool->ideas[i]->text);
    }
    mla__embed_centre(vectors, pool->len, all->dim);
    pool->map = MLA_NEW_ARRAY(float, 2 * pool->len);
    pool->mapped = mla_diverse_map(vectors, pool->len, all->dim, pool->map);
    free(vectors);
}

static void take_choice(mla__book *book, size_t t, size_t *chosen, size_t k) {
    book->chosen[t] = (mla_expert_ideas){
        .task = book->tasks[t], .ideas = &book->ideas[t], .chosen = chosen, .n_chosen = k};
}

static void choose(mla__book *book, size_t t, const float *vectors, size_t dim,
                   const mla_collect_options *options) {
    size_t k = count_kept(book, t, options), *chosen = MLA_NEW_ARRAY(size_t, k);
    uint64_t seed = mla_rng_derive(options->seed, mla_rng_hash(book->tasks[t]->name), 0, 1);
    mla_diverse_choose(vectors, book->ideas[t].len, dim, k, options->ideas, seed, chosen,
                       &book->diversity[t]);
    take_choice(book, t, chosen, k);
}

static void tell(const mla__book *book, size_t number, const mla_collect_options *options) {
    const mla__pool *pool = &book->pools[number];
    double share = 1.0 / (double)pool->tasks;
    mla_diversity mean = {0};
    for (size_t t = 0; t < book->n_tasks; t++) {
        const mla_diversity *d = &book->diversity[t];
        if (book->pool_of[t] != number) continue;
        mean.mean_distance += share * d->mean_distance;
        mean.min_distance += share * d->min_distance;
        mean.random_mean_distance += share * d->random_mean_distance;
        mean.random_min_distance += share * d->random_min_distance;
    }
    char *more = pool->tasks > 1 ? mla_format(" and %zu of its kin", pool->tasks - 1)
                                 : mla_strdup("");
    mla_info("%s%s: %zu of %zu ideas kept (%s): cosine distance %.3f on average, %.3f at least; "
             "by chance %.3f and %.3f", book->tasks[pool->first]->name, more,
             book->chosen[pool->first].n_chosen, book->ideas[pool->first].len,
             mla_idea_choice_name(options->ideas), mean.mean_distance, mean.min_distance,
             mean.random_mean_distance, mean.random_min_distance);
    if (book->ideas[pool->first].len < (size_t)options->ideas_kept) {
        mla_info("%s: its pool has %zu ideas and %d are to be kept: all of them are",
                 book->tasks[pool->first]->name, book->ideas[pool->first].len,
                 options->ideas_kept);
    }
    free(more);
}

static void choose_all(mla__book *book, const texts_read *all,
                       const mla_collect_options *options) {
    for (size_t t = 0; t < book->n_tasks; t++) {
        float *vectors = vectors_of_task(all, &book->ideas[t]);
        choose(book, t, vectors, all->dim, options);
        free(vectors);
    }
    for (size_t p = 0; p < book->n_pools; p++) {
        map_pool(&book->pools[p], all);
        tell(book, p, options);
    }
}

// --- expert/ideas.json --------------------------------------------------------------------------

// What the choice depends on.
static void key_of(const mla__book *book, const mla__embedder *by,
                   const mla_collect_options *options, char key[65]) {
    mla_buf text;
    mla_buf_init(&text, KEY_MAX);
    mla_buf_printf(&text, "1 %s %d %llu %s\n", mla_idea_choice_name(options->ideas),
                   options->ideas_kept, (unsigned long long)options->seed,
                   by->endpoint ? options->endpoint.embedding_model : "");
    for (size_t t = 0; t < book->n_tasks; t++) {
        const mla_ideas *ideas = &book->ideas[t];
        mla_buf_printf(&text, "%s %s\n", book->tasks[t]->name, book->tasks[t]->family);
        for (size_t i = 0; i < ideas->len; i++) {
            mla_buf_printf(&text, "%s %s\n", ideas->items[i].id, ideas->items[i].text);
        }
    }
    mla_sha256(mla_buf_text(&text), text.len, key);
    mla_buf_clear(&text);
}

static json_t *task_json(const mla__book *book, size_t t) {
    const mla_expert_ideas *e = &book->chosen[t];
    const mla_diversity *d = &book->diversity[t];
    json_t *ids = json_array(), *row = json_object();
    for (size_t i = 0; i < e->n_chosen; i++) {
        json_array_append_new(ids, json_string(e->ideas->items[e->chosen[i]].id));
    }
    json_object_set_new(row, "task", json_string(e->task->name));
    json_object_set_new(row, "pool", json_integer((json_int_t)e->ideas->len));
    json_object_set_new(row, "map", json_integer((json_int_t)book->pool_of[t]));
    json_object_set_new(row, "chosen", ids);
    json_object_set_new(row, "mean_distance", mla_json_number(d->mean_distance));
    json_object_set_new(row, "min_distance", mla_json_number(d->min_distance));
    json_object_set_new(row, "random_mean_distance", mla_json_number(d->random_mean_distance));
    json_object_set_new(row, "random_min_distance", mla_json_number(d->random_min_distance));
    return row;
}

static json_t *map_json(const mla__pool *pool) {
    json_t *rows = json_array();
    for (size_t i = 0; i < pool->len; i++) {
        const mla_idea *idea = pool->ideas[i];
        json_t *row = json_object();
        json_object_set_new(row, "id", json_string(idea->id));
        json_object_set_new(row, "family", mla_json_text(idea->family, strlen(idea->family)));
        json_object_set_new(row, "text", mla_json_text(idea->text, strlen(idea->text)));
        json_object_set_new(row, "x", mla_json_number(pool->map[2 * i]));
        json_object_set_new(row, "y", mla_json_number(pool->map[2 * i + 1]));
        json_array_append_new(rows, row);
    }
    json_t *map = json_object();
    json_object_set_new(map, "variance", mla_json_number(pool->mapped));
    json_object_set_new(map, "ideas", rows);
    return map;
}

static int write_choice(const mla__book *book, const char *path, const char *key,
                        const mla_collect_options *options, mla_err *err) {
    json_t *rows = json_array(), *maps = json_array(), *whole = json_object();
    for (size_t t = 0; t < book->n_tasks; t++) json_array_append_new(rows, task_json(book, t));
    for (size_t p = 0; p < book->n_pools; p++) {
        json_array_append_new(maps, map_json(&book->pools[p]));
    }
    json_object_set_new(whole, "key", json_string(key));
    json_object_set_new(whole, "choice", json_string(mla_idea_choice_name(options->ideas)));
    json_object_set_new(whole, "tasks", rows);
    json_object_set_new(whole, "maps", maps);
    int rc = mla_json_write_file(path, whole, err);
    json_decref(whole);
    return rc;
}

static size_t find_idea(const mla_ideas *ideas, const char *id) {
    size_t i = 0;
    while (i < ideas->len && strcmp(ideas->items[i].id, id)) i++;
    return i;
}

static bool take_row(mla__book *book, size_t t, const json_t *row, size_t k) {
    const json_t *ids = json_object_get(row, "chosen");
    if (json_array_size(ids) != k) return false;
    size_t *chosen = MLA_NEW_ARRAY(size_t, k);
    take_choice(book, t, chosen, k);
    for (size_t i = 0; i < k; i++) {
        const char *id = json_string_value(json_array_get(ids, i));
        chosen[i] = id ? find_idea(&book->ideas[t], id) : book->ideas[t].len;
        if (chosen[i] == book->ideas[t].len) return false;
    }
    return true;
}

// The choice of an earlier run with the same ideas and settings.
static bool take_earlier(mla__book *book, const char *path, const char *key,
                         const mla_collect_options *options) {
    mla_err ignored;
    json_t *whole = mla_fs_exists(path) ? mla_json_read_file(path, FILE_MAX, &ignored) : NULL;
    const json_t *rows = json_object_get(whole, "tasks");
    bool same = whole && !strcmp(mla_json_get_text(whole, "key", ""), key) &&
                json_array_size(rows) == book->n_tasks;
    for (size_t t = 0; same && t < book->n_tasks; t++) {
        same = take_row(book, t, json_array_get(rows, t), count_kept(book, t, options));
    }
    json_decref(whole);
    for (size_t t = 0; !same && t < book->n_tasks; t++) {
        free((size_t *)book->chosen[t].chosen);
        book->chosen[t] = (mla_expert_ideas){.task = NULL};
    }
    return same;
}

static int choose_anew(mla__book *book, const char *path, const char *key, const mla__embedder *by,
                       const mla_collect_options *options, mla_err *err) {
    texts_read all = {.n = 0};
    int rc = read_texts(&all, book, by, err);
    if (rc == 0) {
        choose_all(book, &all, options);
        rc = write_choice(book, path, key, options, err);
    }
    free(all.texts);
    free(all.vectors);
    return rc;
}

int mla__book_choose(mla__book *book, mla_run *run, const mla__embedder *by,
                     const mla_collect_options *options, mla_err *err) {
    char key[65], *path = mla_run_path(run, "expert/ideas.json");
    find_pools(book);
    key_of(book, by, options, key);
    int rc = take_earlier(book, path, key, options) ? 0
             : choose_anew(book, path, key, by, options, err);
    if (rc < 0 && mla_stop_wanted()) rc = 0;
    free(path);
    return rc;
}
