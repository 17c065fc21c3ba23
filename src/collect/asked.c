// Ideas asked of a language model: it is shown the task and the starter script and asked for more
// until there are enough that differ in words and in what they mean. It leaves out what is read in
// an answer (answers.c) and the answers' file, which is the ledger's: a restarted run puts the same
// questions and gets the same answers from it.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "collect/internal.h"
#include "env/env.h"
#include "record/store.h"

#define A_TIME 20              // ideas that one question asks for
#define KNOWN_MAX 60           // that it lists as known
#define DRY_MAX 4              // answers in a row without anything new
#define QUESTIONS_A_HUNDRED 40 // at most, for each hundred ideas
#define MEAN_OF 5              // texts before their mean is worth taking off
#define ALIKE 0.05             // cosine distance below which two ideas are one: by SmolLM2 "300
                               // trees" and "500 trees" are 0.03 apart, flags for two ages 0.08
#define QUESTION_MAX ((size_t)256 << 10)
#define TOKENS 3000            // of an answer, unless endpoint.max_new is more

typedef struct {
    const mla_task *task;
    char *script;              // the starter's, owned
    mla_ideas *pool;
    char **normal;             // [pool->len], owned
    float *vectors;            // [pool->len, dim]
    double *sum;               // [dim], of all vectors that were seen
    size_t dim, seen, twice, unusable;
} asking;

static void asking_clear(asking *a) {
    for (size_t i = 0; a->normal && i < a->pool->len; i++) free(a->normal[i]);
    free(a->normal);
    free(a->vectors);
    free(a->sum);
    free(a->script);
}

// --- the question -------------------------------------------------------------------------------

static const char system_text[] =
    "You are an experienced machine-learning engineer who gives short, concrete ideas.";

static char *question_text(const asking *a, bool edits) {
    mla_buf out;
    mla_buf_init(&out, QUESTION_MAX);
    mla_buf_printf(&out, "# Task %s\n%s\nScore: %s, %s is better; %.6g at the start.\n# %s\n%s\n",
                   a->task->name, a->task->description, mla_metric_name(a->task->metric),
                   a->task->direction > 0 ? "higher" : "lower", a->task->init.public_half,
                   a->task->script, a->script);
    size_t n = a->pool->len, from = n > KNOWN_MAX ? n - KNOWN_MAX : 0;
    if (n) mla_buf_puts(&out, "# Known ideas\n");
    for (size_t i = from; i < n; i++) mla_buf_printf(&out, "- %s\n", a->pool->items[i].text);
    mla_buf_printf(&out, "# Now\nGive %d %sideas that may make the score better: features, "
                   "preprocessing, models, hyper-parameters, validation, ensembles, the data, the "
                   "training. Only numpy, pandas and scikit-learn may be used. Reply with a JSON "
                   "list of objects {\"idea\": what to do, in one sentence, \"why\": one sentence",
                   A_TIME, n ? "other " : "");
    mla_buf_puts(&out, edits ? ", \"edit\": \"<<<<<<< SEARCH\\nwhole lines of the script\\n"
                               "=======\\nnew lines\\n>>>>>>> REPLACE\"} and nothing else.\n"
                             : "} and nothing else.\n");
    return mla_buf_take(&out);
}

static int put_question(const asking *a, const mla_endpoint *endpoint,
                        const mla_collect_options *options, size_t number, bool edits,
                        mla_answer *answer, mla_err *err) {
    char *user = question_text(a, edits);
    uint64_t seed = mla_rng_derive(options->seed, mla_rng_hash(a->task->name), number, 2);
    int room = options->endpoint.max_new > TOKENS ? options->endpoint.max_new : TOKENS;
    const mla_question question = {.system = system_text, .user = user, .seed = &seed,
                                   .temperature = options->endpoint.temperature,
                                   .max_tokens = room, .purpose = "ideas"};
    int rc = mla_endpoint_ask(endpoint, &question, answer, err);
    free(user);
    return rc;
}

// --- what is new --------------------------------------------------------------------------------

static bool said_before(const asking *a, const char *normal) {
    for (size_t i = 0; i < a->pool->len; i++) {
        if (!strcmp(a->normal[i], normal)) return true;
    }
    return false;
}

static double distance(const asking *a, const float *x, const float *y) {
    double dot = 0, xx = 0, yy = 0;
    for (size_t d = 0; d < a->dim; d++) {
        double mean = a->seen >= MEAN_OF ? a->sum[d] / (double)a->seen : 0;
        dot += (x[d] - mean) * (y[d] - mean);
        xx += (x[d] - mean) * (x[d] - mean);
        yy += (y[d] - mean) * (y[d] - mean);
    }
    return xx > 0 && yy > 0 ? 1 - dot / sqrt(xx * yy) : 0;
}

static bool means_the_same(const asking *a, const float *vector) {
    for (size_t i = 0; i < a->pool->len; i++) {
        if (distance(a, vector, a->vectors + i * a->dim) < ALIKE) return true;
    }
    return false;
}

// Takes the text and what belongs to it out of `idea`.
static void accept(asking *a, mla_idea *idea, char *normal, const float *vector) {
    mla_ideas *pool = a->pool;
    size_t n = pool->len;
    pool->items = mla_realloc(pool->items, n + 1, sizeof *pool->items);
    a->normal = mla_realloc(a->normal, n + 1, sizeof *a->normal);
    a->vectors = mla_realloc(a->vectors, (n + 1) * a->dim, sizeof *a->vectors);
    pool->items[n] = *idea;
    pool->items[n].id = mla_format("asked-%03zu", n + 1);
    pool->items[n].family = mla_strdup("asked");
    *idea = (mla_idea){.id = NULL};
    a->normal[n] = normal;
    memcpy(a->vectors + n * a->dim, vector, a->dim * sizeof *vector);
    pool->len++;
}

// Whether the edit fits the starter script; one that does not is dropped.
static bool check_edit(const asking *a, mla_idea *idea) {
    const mla_edit_request request = {.name = a->task->script, .script = a->script,
                                      .instruction = ""};
    mla_err ignored;
    char *text = NULL;
    bool fits = strstr(idea->blocks, "<<<<<<<") &&
                mla_editor_read(&request, idea->blocks, &text, &ignored) == 0;
    free(text);
    if (!fits) idea->blocks[0] = '\0';
    return fits;
}

static void see(asking *a, const float *vector, size_t dim) {
    if (!a->sum) a->sum = MLA_NEW_ARRAY(double, dim);
    a->dim = dim;
    a->seen++;
    for (size_t d = 0; d < dim; d++) a->sum[d] += vector[d];
}

static int take_new(asking *a, mla_ideas *said, const mla__embedder *by, bool edits,
                    mla_err *err) {
    for (size_t i = 0; i < said->len; i++) {
        mla_idea *idea = &said->items[i];
        float *vector;
        size_t dim;
        if (!check_edit(a, idea) && edits) {
            a->unusable++;
            continue;
        }
        char *normal = mla__answer_normalise(idea->text);
        if (said_before(a, normal)) {
            a->twice++;
            free(normal);
            continue;
        }
        if (mla__embed(by, (const char *const *)&idea->text, 1, &vector, &dim, NULL, err) < 0) {
            free(normal);
            return -1;
        }
        see(a, vector, dim);
        bool same = means_the_same(a, vector);
        a->twice += same;
        if (same) free(normal);
        else accept(a, idea, normal, vector);
        free(vector);
    }
    return 0;
}

// --- a task -------------------------------------------------------------------------------------

static int ask_once(asking *a, const mla_endpoint *endpoint, const mla__embedder *by,
                    const mla_collect_options *options, size_t number, bool edits, mla_err *err) {
    mla_answer answer;
    mla_ideas said = {.len = 0};
    if (put_question(a, endpoint, options, number, edits, &answer, err) < 0) return -1;
    mla__answer_read(&said, answer.text);
    free(answer.text);
    int rc = take_new(a, &said, by, edits, err);
    mla_ideas_clear(&said);
    return rc;
}

static int enough(const asking *a, size_t questions, size_t wanted,
                  const mla_collect_options *options, bool edits, mla_err *err) {
    size_t n = a->pool->len;
    if (n < wanted && n < (size_t)options->ideas_kept) {
        return mla_err_set(err, "task %s: %zu answers held %zu distinct ideas%s, and %d are to be "
                           "kept (%zu were said twice, %zu had no edit that fits); take another "
                           "model, a higher endpoint.temperature%s", a->task->name, questions, n,
                           edits ? " with an edit that fits" : "", options->ideas_kept, a->twice,
                           a->unusable,
                           edits ? ", or collect.expert: endpoint, which needs no edits" : "");
    }
    mla_info("%s: %zu distinct ideas in %zu answers; %zu were said twice%s", a->task->name, n,
             questions, a->twice, n < wanted ? ", nothing new came any more" : "");
    return 0;
}

static int ask_for(asking *a, const mla_endpoint *endpoint, const mla__embedder *by,
                   const mla_collect_options *options, bool edits, mla_progress *bar,
                   mla_err *err) {
    size_t wanted = (size_t)options->ideas_asked, dry = 0, number = 0;
    size_t most = DRY_MAX + wanted * QUESTIONS_A_HUNDRED / 100;
    double done = bar->done;
    for (; a->pool->len < wanted && dry < DRY_MAX && number < most; number++) {
        size_t before = a->pool->len;
        if (mla_stop_wanted()) return 0;
        if (ask_once(a, endpoint, by, options, number, edits, err) < 0) {
            return mla_stop_wanted() ? 0
                   : mla_err_wrap(err, "asking for the ideas of task %s", a->task->name);
        }
        dry = a->pool->len == before ? dry + 1 : 0;
        size_t counted = a->pool->len < wanted ? a->pool->len : wanted;
        mla_progress_set(bar, done + (double)counted, "%s", a->task->name);
    }
    return enough(a, number, wanted, options, edits, err);
}

static void forget_last(mla_ideas *ideas) {
    mla_idea *last = &ideas->items[--ideas->len];
    free(last->id);
    free(last->family);
    free(last->text);
    free(last->why);
    free(last->blocks);
}

static char *starter_of(mla_agent *agent, const mla_task *task, mla_err *err) {
    mla_state start;
    mla_env *env = mla_agent_env(agent);
    if (mla_env_begin(env, task, &start, err) < 0) return NULL;
    return mla_env_script(env, task, &start, err);
}

// --- all tasks ----------------------------------------------------------------------------------

static int write_task(mla_lines *lines, const mla_task *task, const mla_ideas *ideas,
                      mla_err *err) {
    for (size_t i = 0; i < ideas->len; i++) {
        const mla_idea *idea = &ideas->items[i];
        json_t *row = json_object();
        json_object_set_new(row, "task", json_string(task->name));
        json_object_set_new(row, "id", json_string(idea->id));
        json_object_set_new(row, "text", mla_json_text(idea->text, strlen(idea->text)));
        json_object_set_new(row, "why", mla_json_text(idea->why, strlen(idea->why)));
        json_object_set_new(row, "edit", mla_json_text(idea->blocks, strlen(idea->blocks)));
        if (mla_lines_append_take(lines, row, err) < 0) return -1;
    }
    return 0;
}

static int write_asked(const mla__book *book, mla_run *run, mla_err *err) {
    char *path = mla_run_path(run, "expert/asked.jsonl");
    remove(path);
    mla_lines *lines = mla_lines_open(path, err);
    int rc = lines ? 0 : -1;
    for (size_t t = 0; rc == 0 && t < book->n_tasks; t++) {
        rc = write_task(lines, book->tasks[t], &book->ideas[t], err);
    }
    mla_lines_close(lines);
    free(path);
    return rc;
}

static size_t count_families(const mla__book *book) {
    size_t n = 0;
    for (size_t t = 0; t < book->n_tasks; t++) {
        size_t kin = 0;
        while (strcmp(book->tasks[kin]->family, book->tasks[t]->family)) kin++;
        n += kin == t;
    }
    return n;
}

// A variant takes what its kin was asked for, with the edits that fit its own script. False: it has
// no kin before it.
static bool take_from_kin(asking *a, const mla__book *book, size_t t, bool edits) {
    size_t kin = 0;
    while (strcmp(book->tasks[kin]->family, a->task->family)) kin++;
    if (kin == t) return false;
    const mla_ideas *from = &book->ideas[kin];
    a->pool->items = MLA_NEW_ARRAY(mla_idea, from->len + 1);
    for (size_t i = 0; i < from->len; i++) {
        const mla_idea *idea = &from->items[i];
        mla_idea copy = {.id = mla_strdup(idea->id), .family = mla_strdup(idea->family),
                         .text = mla_strdup(idea->text), .why = mla_strdup(idea->why),
                         .blocks = mla_strdup(idea->blocks)};
        bool fits = check_edit(a, &copy);
        a->pool->items[a->pool->len++] = copy;
        if (!fits && edits) forget_last(a->pool);
    }
    return true;
}

static int ask_task(asking *a, const mla__book *book, size_t t, const mla_endpoint *endpoint,
                    const mla__embedder *by, const mla_collect_options *options, bool edits,
                    mla_progress *bar, mla_err *err) {
    if (!take_from_kin(a, book, t, edits)) {
        return ask_for(a, endpoint, by, options, edits, bar, err);
    }
    if (a->pool->len) return 0;
    return mla_err_set(err, "task %s: none of the edits that %s was given fits it", a->task->name,
                       a->task->family);
}

int mla__ideas_ask(mla__book *book, mla_run *run, const mla_endpoint *endpoint,
                   const mla__embedder *by, mla_agent *agent, const mla_collect_options *options,
                   bool edits, mla_err *err) {
    mla_progress bar;
    int rc = 0;
    mla_progress_begin(&bar, "collect", "ideas asked for",
                       (double)options->ideas_asked * (double)count_families(book), 0);
    for (size_t t = 0; rc == 0 && t < book->n_tasks && !mla_stop_wanted(); t++) {
        asking a = {.task = book->tasks[t], .pool = &book->ideas[t]};
        a.script = starter_of(agent, a.task, err);
        rc = a.script ? ask_task(&a, book, t, endpoint, by, options, edits, &bar, err) : -1;
        asking_clear(&a);
    }
    mla_progress_end(&bar);
    return rc == 0 && !mla_stop_wanted() ? write_asked(book, run, err) : rc;
}
