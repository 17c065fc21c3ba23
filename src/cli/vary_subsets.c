// The subsets of a task's data for its variants: drawn, checked as `tasks check` does, and measured
// with the task's own starter and reference. What was measured is kept under
// <home>/subsets.
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/vary.h"
#include "task/check.h"

#define DRAWS 5                  // for one subset
#define OTHERS 2                 // subsets that are asked for in the place of a bad one
#define DISTANCE_MIN 0.25        // from starter to reference, of that on all the data
#define REFERENCE_USED 0.8       // of limits.seconds, as `tasks check` has it
#define ROWS_LEAST 100.0
#define ROWS_MOST 2000.0
#define FAST_ROWS_LEAST 50.0
#define FAST_ROWS_MOST 300.0
#define FAST_HALF_ROWS 150

char *mla_seed_text(const mla_options *o) {
    return mla_format("%llu", (unsigned long long)o->seed);
}

void mla_subsets_init(mla_subsets *out, const mla_options *options, mla_trial *trial,
                      const mla_task *task, const char *home) {
    *out = (mla_subsets){.options = options, .trial = trial, .task = task, .home = home};
}

void mla_subsets_clear(mla_subsets *s) {
    for (size_t i = 0; i < MLA_SUBSETS_MAX; i++) free(s->items[i].name);
    *s = (mla_subsets){.options = NULL};
}

// --- drawing ------------------------------------------------------------------------------------

// Few rows as often as many: their number is drawn by its logarithm. A draw that was too few for a
// fast variant is followed by one of twice as many.
static mla_subset_options draw(const mla_subsets *s, size_t at, uint64_t attempt) {
    mla_rng rng;
    bool fast = s->options->fast;
    mla_rng_init(&rng, mla_rng_derive(s->options->seed, mla_rng_hash(s->task->name), at,
                                      2 * attempt + fast + 100));
    double more = fast ? (double)(1u << attempt) : 1;
    double least = fast ? FAST_ROWS_LEAST * more : ROWS_LEAST;
    double most = fast ? FAST_ROWS_MOST * more : ROWS_MOST;
    double rows = least * pow(most / least, mla_rng_uniform(&rng));
    return (mla_subset_options){.train_rows = (size_t)rows, .seed = mla_rng_u64(&rng),
                                .half_rows = fast ? (size_t)(FAST_HALF_ROWS * more) : 0};
}

static int count_rows(const mla_task *task, size_t *out, mla_err *err) {
    mla_buf text = {0};
    char *path = mla_fs_join(task->data_dir, "train.csv");
    int rc = mla_fs_read(path, (size_t)1 << 28, &text, err);
    size_t lines = 0;
    for (size_t i = 0; i < text.len; i++) lines += text.data[i] == '\n';
    *out = lines ? lines - 1 : 0;
    mla_buf_clear(&text);
    free(path);
    return rc;
}

// --- measuring ----------------------------------------------------------------------------------

// Runs one of the task's own scripts; false, and `score` as it was, when it does not end well.
static int run(const mla_subsets *s, mla_task *task, char *script, mla_halves *score, bool *good,
               mla_err *err) {
    mla_facts facts;
    if (!script) return -1;
    int rc = mla_trial_run(s->trial, task, script, &facts, err);
    double seconds = facts.cost.run_seconds / task->splits;
    *good = rc == 0 && facts.outcome == MLA_OUTCOME_OK && !isnan(facts.score_after) &&
            seconds < REFERENCE_USED * task->limits.seconds;
    if (*good) *score = (mla_halves){facts.score_after, facts.score_private};
    char *fault = rc == 0 ? mla_facts_fault(&facts) : NULL;
    if (fault) mla_debug("%s: a subset: %s", task->name, fault);
    free(fault);
    mla_facts_clear(&facts);
    free(script);
    return rc;
}

static bool clear_distance(const mla_task *task, mla_halves init, mla_halves best) {
    double open = task->direction * (best.public_half - init.public_half);
    double hidden = task->direction * (best.private_half - init.private_half);
    double wide = fabs(task->best.public_half - task->init.public_half);
    double wide_hidden = fabs(task->best.private_half - task->init.private_half);
    return open >= DISTANCE_MIN * wide && hidden >= DISTANCE_MIN * wide_hidden;
}

static int check_data(const mla_task *task, bool *good, mla_err *err) {
    mla_findings findings = {0};
    int rc = mla_task_check(task, &findings, err);
    *good = findings.len == 0;
    for (size_t i = 0; i < findings.len; i++) {
        mla_debug("%s: a subset: %s: %s", task->name, findings.items[i].check,
                  findings.items[i].text);
    }
    mla_findings_clear(&findings);
    return rc;
}

// Whether variants may have this data; fills in its scores.
static int measure(const mla_subsets *s, mla_subset *subset, bool *good, mla_err *err) {
    mla_task *task = subset->task;
    int rc = check_data(task, good, err);
    if (rc == 0 && *good) {
        rc = run(s, task, mla_trial_starter(task, err), &subset->init, good, err);
    }
    if (rc == 0 && *good) {
        rc = run(s, task, mla_trial_reference(task, err), &subset->best, good, err);
    }
    bool measured = rc == 0 && *good;
    *good = measured && clear_distance(task, subset->init, subset->best);
    if (measured && !*good) {
        mla_debug("%s: a subset of %zu rows: the starter scores %g, the reference %g", task->name,
                  subset->train_rows, subset->init.public_half, subset->best.public_half);
    }
    return rc;
}

// --- keeping ------------------------------------------------------------------------------------

static json_t *halves_json(mla_halves h) {
    return json_pack("{s:o, s:o}", "public", mla_json_number(h.public_half), "private",
                     mla_json_number(h.private_half));
}

static mla_halves halves_from(const json_t *o) {
    return (mla_halves){mla_json_get_number(o, "public", NAN),
                        mla_json_get_number(o, "private", NAN)};
}

// Where it is written what a subset is of, and its scores.
static char *note_path(const char *home, const char *name) {
    return mla_format("%s/subsets/%s.json", home, name);
}

static int keep(const mla_subsets *s, const mla_subset *subset, mla_err *err) {
    char *folder = mla_fs_join(s->home, "subsets"), *path = note_path(s->home, subset->name);
    json_t *o = json_pack("{s:s, s:s, s:I, s:o, s:o}", "task", s->task->name, "of",
                          s->task->data_version, "train_rows", (json_int_t)subset->train_rows,
                          "baseline", halves_json(subset->init), "reference",
                          halves_json(subset->best));
    int rc = mla_fs_mkdirs(folder, err);
    if (rc == 0) rc = mla_json_write_file(path, o, err);
    json_decref(o);
    free(folder);
    free(path);
    return rc;
}

// Whether a former run left this subset, of the data as it is.
static bool was_kept(const mla_subsets *s, mla_subset *subset) {
    mla_err ignored;
    char *path = note_path(s->home, subset->name);
    json_t *o = mla_fs_exists(path) ? mla_json_read_file(path, 1 << 16, &ignored) : NULL;
    bool same = o && !strcmp(mla_json_get_text(o, "of", ""), s->task->data_version);
    subset->train_rows = (size_t)mla_json_get_int(o, "train_rows", 0);
    subset->init = halves_from(json_object_get(o, "baseline"));
    subset->best = halves_from(json_object_get(o, "reference"));
    json_decref(o);
    free(path);
    return same && !isnan(subset->best.public_half);
}

static int load(const mla_subsets *s, mla_subset *subset, mla_err *err) {
    mla_task *task = mla_task_load_on(s->task->dir, s->home, subset->name, err);
    subset->task = mla_trial_adopt(s->trial, task);
    return subset->task ? 0 : -1;
}

static int make(const mla_subsets *s, mla_subset *subset, size_t at, mla_err *err) {
    bool good = false;
    char *note = note_path(s->home, subset->name);
    int rc = mla_fs_remove_tree(note, err);
    free(note);
    for (uint64_t a = 0; a < DRAWS && rc == 0 && !good && !mla_stop_wanted(); a++) {
        const mla_subset_options options = draw(s, at, a);
        mla_err why;
        if (mla_subset_make(s->task, s->home, subset->name, &options, &why) < 0) {
            mla_debug("%s: a subset: %s", s->task->name, why.text);
            continue;
        }
        rc = load(s, subset, err);
        if (rc == 0) rc = count_rows(subset->task, &subset->train_rows, err);
        if (rc == 0) rc = measure(s, subset, &good, err);
    }
    subset->bad = !good;
    if (rc == 0 && good) rc = keep(s, subset, err);
    return rc;
}

static int open_subset(mla_subsets *s, size_t at, mla_err *err) {
    mla_subset *subset = &s->items[at];
    if (subset->name) return 0;
    subset->name = mla_format("subset-%s-%c%llu-%zu", s->task->name, s->options->fast ? 'f' : 'v',
                              (unsigned long long)s->options->seed, at);
    if (was_kept(s, subset) && load(s, subset, err) == 0) return 0;
    return make(s, subset, at, err);
}

const mla_subset *mla_subsets_get(mla_subsets *s, uint64_t number, mla_err *err) {
    uint64_t open = 2 + number / 16;
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(s->options->seed, mla_rng_hash(s->task->name), number, 50));
    size_t at = (size_t)mla_rng_below(&rng, open < MLA_SUBSETS_MAX ? open : MLA_SUBSETS_MAX);
    for (size_t i = 0; i < OTHERS && !mla_stop_wanted(); i++) {
        mla_subset *subset = &s->items[(at + i) % MLA_SUBSETS_MAX];
        if (open_subset(s, (at + i) % MLA_SUBSETS_MAX, err) < 0) return NULL;
        if (!subset->bad) return subset;
    }
    mla_err_set(err, "%s: on no subset of its data is the reference clearly better than the "
                "starter%s", s->task->name, mla_stop_wanted() ? " (stopped)" : "");
    return NULL;
}

// --- clearing -----------------------------------------------------------------------------------

static bool is_wanted(const mla_options *o, const char *task) {
    for (int i = 1; i < o->n_rest; i++) {
        if (strcmp(o->rest[i], task) == 0) return true;
    }
    return o->n_rest <= 1;
}

static int clear_variant(const char *dir, const mla_task *task, const char *home, mla_err *err) {
    int rc = mla_fs_remove_tree(dir, err);
    return rc == 0 ? mla_subset_forget(task->name, home, err) : rc;
}

static int clear_variants(const mla_options *o, const char *out, const char *home, size_t *gone,
                          mla_err *err) {
    char **names;
    size_t n;
    if (mla_task_list(out, &names, &n, err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < n && rc == 0 && !mla_stop_wanted(); i++) {
        char *dir = mla_fs_join(out, names[i]);
        mla_err ignored;
        mla_task *task = mla_task_load(dir, home, false, &ignored);
        if (*names[i] == '.') rc = mla_fs_remove_tree(dir, err);         // was being made
        if (task && task->variant && is_wanted(o, task->family)) {
            rc = clear_variant(dir, task, home, err);
            ++*gone;
        }
        mla_task_free(task);
        free(dir);
    }
    mla_fs_names_free(names, n);
    return rc;
}

static int clear_subset(const char *home, const char *name, mla_err *err) {
    char *path = note_path(home, name);
    int rc = mla_subset_forget(name, home, err);
    if (rc == 0) rc = mla_fs_remove_tree(path, err);
    free(path);
    return rc;
}

// By their data: one that was cut short has no note.
static int clear_subsets(const mla_options *o, const char *home, mla_err *err) {
    char **names, *data = mla_fs_join(home, "data");
    size_t n;
    int rc = mla_fs_is_dir(data) ? mla_fs_list(data, &names, &n, err) : 1;
    free(data);
    if (rc) return rc < 0 ? -1 : 0;
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *task = strncmp(names[i], "subset-", 7) ? NULL : mla_strdup(names[i] + 7);
        char *end = task ? strrchr(task, '-') : NULL;          // -f1-0
        if (end) *end = '\0';
        end = end ? strrchr(task, '-') : NULL;
        if (end) *end = '\0';
        if (end && is_wanted(o, task)) rc = clear_subset(home, names[i], err);
        free(task);
    }
    mla_fs_names_free(names, n);
    return rc;
}

int mla_variants_clear(const mla_options *o, mla_err *err) {
    char *home = mla_options_home(o);
    char *out = o->output ? mla_strdup(o->output) : mla_options_variants(o);
    size_t gone = 0;
    int rc = mla_fs_is_dir(out) ? clear_variants(o, out, home, &gone, err) : 0;
    if (rc == 0 && !mla_stop_wanted()) rc = clear_subsets(o, home, err);
    if (rc == 0) printf("%zu variants removed\n", gone);
    free(out);
    free(home);
    return rc;
}
