// `mlagent tasks vary`: variants of training tasks, each a task of its own. A seed's script is run
// on one of a few subsets of the task's data; what fails, is like another, or has too little left
// to gain is passed over for the next seed.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/vary.h"

#define ATTEMPTS 12              // seeds for one variant
#define LEFT_MIN 0.2             // of the distance from the task's own starter to the reference
#define WORSE_MAX 1.5            // so many such distances it may start below that starter
#define FAST_SECONDS 1.0         // of a fast variant's starter
#define STARTER_USED 0.5         // of limits.seconds, as `tasks check` has it

typedef enum { FITS, FAILED, SLOW, SOLVED, HOPELESS, TWIN, NO_SCRIPT, VERDICTS } verdict;
static const char *const verdict_names[VERDICTS] = {
    "fit", "failed", "too slow", "too good", "too bad", "like another", "no script"};

typedef struct varying {
    const mla_options *options;
    mla_trial *trial;
    const char *home, *out;
    mla_task *task;              // what is varied
    mla_varying *scripts;
    mla_subsets subsets;
    uint64_t *prints;            // [n_prints] of the variants that there are
    size_t n_prints, cap_prints;
    double *seconds;             // [made] of the starters
    size_t made, kept, ideas;    // kept: were there before
    size_t verdicts[VERDICTS];
} varying;

// --- one variant --------------------------------------------------------------------------------

static char *apply(const char *script, const char *blocks) {
    const mla_edit_request request = {.name = "train.py", .script = script};
    char *text;
    mla_err ignored;
    if (mla_editor_read(&request, blocks, &text, &ignored) == 0) return text;
    free(text);
    return NULL;
}

static bool is_twin(const varying *v, uint64_t print) {
    for (size_t i = 0; i < v->n_prints; i++) {
        if (v->prints[i] == print) return true;
    }
    return false;
}

static void add_print(varying *v, uint64_t print) {
    MLA_GROW(v->prints, v->cap_prints, v->n_prints + 1);
    v->prints[v->n_prints++] = print;
}

// How far below the reference a score is, in distances from the task's own starter to it.
static double left(double score, double init, double best) {
    return (best - score) / (best - init);
}

static verdict judge(const varying *v, const mla_subset *subset, const mla_facts *facts) {
    const mla_halves *a = &subset->init, *b = &subset->best;
    if (facts->outcome != MLA_OUTCOME_OK || isnan(facts->score_after)) return FAILED;
    double open = left(facts->score_after, a->public_half, b->public_half);
    double hidden = left(facts->score_private, a->private_half, b->private_half);
    double seconds = facts->cost.run_seconds / v->task->splits;
    bool slow = seconds > STARTER_USED * v->task->limits.seconds;
    if (slow || (v->options->fast && seconds > FAST_SECONDS)) return SLOW;
    if (open < LEFT_MIN || hidden < LEFT_MIN) return SOLVED;
    return open > 1 + WORSE_MAX || hidden > 1 + WORSE_MAX ? HOPELESS : FITS;
}

static int copy_env(const varying *v, const char *dir, const char *script, mla_err *err) {
    char **names, *env = mla_fs_join(dir, "env");
    size_t n = 0;
    int rc = mla_fs_mkdirs(env, err);
    if (rc == 0) rc = mla_fs_list(v->task->env_dir, &names, &n, err);
    for (size_t i = 0; i < n && rc == 0; i++) {
        char *from = mla_fs_join(v->task->env_dir, names[i]), *to = mla_fs_join(env, names[i]);
        if (strcmp(names[i], v->task->script) == 0) rc = mla_fs_write(to, script, strlen(script),
                                                                      err);
        else if (!mla_fs_is_dir(from)) rc = mla_fs_copy_file(from, to, err);
        free(from);
        free(to);
    }
    if (n) mla_fs_names_free(names, n);
    free(env);
    return rc;
}

static int write_text(const char *dir, const char *name, char *text, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    int rc = text ? mla_fs_write(path, text, strlen(text), err) : -1;
    free(path);
    free(text);
    return rc;
}

// The folder, whole or not at all, then the data: one without its data is made anew.
static int write_folder(const varying *v, const mla_subset *subset, const mla_variant *variant,
                        const char *name, mla_halves init, mla_err *err) {
    char *dir = mla_fs_join(v->out, name), *making = mla_format("%s/.%s.making", v->out, name);
    char *reference = mla_fs_join(v->task->dir, "reference.py");
    char *copy = mla_fs_join(making, "reference.py");
    char *recipe = mla_format("%s; %zu rows to learn from", variant->recipe, subset->train_rows);
    char *seed = mla_seed_text(v->options);
    int rc = mla_fs_remove_tree(making, err);
    if (rc == 0) rc = copy_env(v, making, variant->script, err);
    if (rc == 0) rc = mla_fs_copy_file(reference, copy, err);
    if (rc == 0) rc = write_text(making, "ideas.yaml", mla_variant_ideas_yaml(variant), err);
    if (rc == 0) rc = write_text(making, "task.yaml",
                                 mla_variant_task_yaml(v->task, name, seed, recipe, init,
                                                       subset->best, err), err);
    if (rc == 0) rc = mla_fs_replace_dir(making, dir, err);
    if (rc == 0) rc = mla_subset_share(subset->task, name, v->home, dir, err);
    char *all[] = {dir, making, reference, copy, recipe, seed};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
    return rc;
}

// One seed: FITS when the variant was written, else why it was not; -1 on error.
static int try_seed(varying *v, const char *name, uint64_t seed, const mla_subset *subset,
                    mla_err *err) {
    mla_variant variant;
    if (!mla_variant_make(&variant, v->scripts, seed, true)) return NO_SCRIPT;
    int result = is_twin(v, variant.print) ? TWIN : FITS;
    if (result == FITS) {
        mla_facts facts;
        int rc = mla_trial_run(v->trial, subset->task, variant.script, &facts, err);
        result = rc < 0 ? -1 : (int)judge(v, subset, &facts);
        const mla_halves init = {facts.score_after, facts.score_private};
        if (result == FITS) rc = write_folder(v, subset, &variant, name, init, err);
        if (rc < 0) result = -1;
        if (result == FITS) {
            add_print(v, variant.print);
            v->seconds[v->made++] = facts.cost.run_seconds / v->task->splits;
            v->ideas += variant.ideas.len;
        }
        mla_facts_clear(&facts);
    }
    mla_variant_clear(&variant);
    return result;
}

static int make_one(varying *v, const char *name, uint64_t number, mla_err *err) {
    uint64_t seed = mla_rng_derive(v->options->seed, mla_rng_hash(v->task->name), number,
                                   v->options->fast);
    for (uint64_t a = 0; a < ATTEMPTS && !mla_stop_wanted(); a++) {
        const mla_subset *subset = mla_subsets_get(&v->subsets, number, err);
        int result = subset ? try_seed(v, name, mla_rng_derive(seed, a, 0, 0), subset, err) : -1;
        if (result < 0) return -1;
        v->verdicts[result]++;
        if (result == FITS) return 0;
    }
    if (!mla_stop_wanted()) mla_warn("%s: no seed of %d gave a variant; left out", name, ATTEMPTS);
    return 0;
}

// --- those that are there -----------------------------------------------------------------------

// Data lies by name under the home: no other folder may have a variant of this name.
static int check_owner(const varying *v, const char *name, const char *dir, mla_err *err) {
    char *owner = mla_subset_owner(name, v->home);
    int rc = 0;
    if (owner && strcmp(owner, dir) && mla_fs_is_dir(owner)) {
        rc = mla_err_set(err, "%s: the data of this name is that of %s; remove it there, with "
                         "--clear, or vary with another --home", name, owner);
    }
    free(owner);
    return rc;
}

// 1: the variant is there, made with this seed; 0: it is not; -1: another one has its name.
static int was_made(varying *v, const char *name, const char *dir, mla_err *err) {
    if (check_owner(v, name, dir, err) < 0) return -1;
    if (!mla_fs_exists(dir)) return 0;
    mla_err why;
    mla_task *task = mla_task_load(dir, v->home, true, &why);
    char *seed = mla_seed_text(v->options), *script = task ? mla_trial_starter(task, &why) : NULL;
    int rc = script != NULL;
    if (task && (!task->variant || strcmp(task->variant->of, v->task->name) ||
                 strcmp(task->variant->seed, seed))) {
        rc = mla_err_set(err, "%s: is there and was not made with --seed %s; mlagent tasks vary "
                         "--clear %s removes variants", dir, seed, v->task->name);
    }
    if (rc > 0) add_print(v, mla_variant_print(script));
    free(script);
    free(seed);
    mla_task_free(task);
    return rc;
}

static int make_all(varying *v, size_t count, mla_err *err) {
    mla_progress bar;
    mla_progress_begin(&bar, "vary", "variants", (double)count, 0);
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0 && !mla_stop_wanted(); i++) {
        char *name = mla_format("%s-%c%04zu", v->task->name, v->options->fast ? 'f' : 'v', i);
        char *dir = mla_fs_join(v->out, name);
        rc = was_made(v, name, dir, err);
        v->kept += rc > 0;
        rc = rc == 0 ? make_one(v, name, i, err) : rc < 0 ? -1 : 0;
        mla_progress_set(&bar, (double)i + 1, "%s", v->task->name);
        free(dir);
        free(name);
    }
    mla_progress_end(&bar);
    return rc;
}

// --- what is said -------------------------------------------------------------------------------

static int by_size(const void *a, const void *b) {
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void print_result(const varying *v) {
    double median = NAN;
    if (v->made) {
        qsort(v->seconds, v->made, sizeof *v->seconds, by_size);
        median = v->seconds[v->made / 2];
    }
    if (v->options->json) {
        json_t *passed = json_object();
        for (int i = FITS + 1; i < VERDICTS; i++) {
            json_object_set_new(passed, verdict_names[i], json_integer((json_int_t)v->verdicts[i]));
        }
        mla_tasks_print_line(json_pack(
            "{s:s, s:I, s:I, s:o, s:o, s:o}", "task", v->task->name, "made", (json_int_t)v->made,
            "kept", (json_int_t)v->kept, "ideas_mean",
            mla_json_number(v->made ? (double)v->ideas / (double)v->made : NAN), "median_seconds",
            mla_json_number(median), "passed_over", passed));
        return;
    }
    printf("%s: %zu variants made, %zu were there", v->task->name, v->made, v->kept);
    if (v->made) {
        printf("; %.0f ideas each, starter %.2f s (median)", (double)v->ideas / (double)v->made,
               median);
    }
    for (int i = FITS + 1, said = 0; i < VERDICTS; i++) {
        if (!v->verdicts[i]) continue;
        printf("%s %zu %s", said++ ? "," : "; passed over:", v->verdicts[i], verdict_names[i]);
    }
    puts("");
    fflush(stdout);
}

// How many scripts so many seeds give that differ in more than blanks, quotes and comments.
static int by_print(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void count_scripts(varying *v, size_t count) {
    mla_progress bar;
    mla_progress_begin(&bar, "vary", "seeds", (double)count, 0);
    for (size_t i = 0; i < count && !mla_stop_wanted(); i++) {
        mla_variant variant;
        uint64_t seed = mla_rng_derive(v->options->seed, mla_rng_hash(v->task->name), i, 0);
        mla_progress_set(&bar, (double)i + 1, "%s", v->task->name);
        if (!mla_variant_make(&variant, v->scripts, mla_rng_derive(seed, 0, 0, 0), false)) continue;
        add_print(v, variant.print);
        mla_variant_clear(&variant);
    }
    mla_progress_end(&bar);
    size_t distinct = 0;
    if (v->n_prints) qsort(v->prints, v->n_prints, sizeof *v->prints, by_print);
    for (size_t i = 0; i < v->n_prints; i++) distinct += !i || v->prints[i] != v->prints[i - 1];
    if (v->options->json) {
        mla_tasks_print_line(json_pack("{s:s, s:I, s:I, s:I}", "task", v->task->name, "seeds",
                                       (json_int_t)count, "scripts", (json_int_t)v->n_prints,
                                       "distinct", (json_int_t)distinct));
    } else {
        printf("%s: %zu seeds give %zu scripts, %zu of them distinct\n", v->task->name, count,
               v->n_prints, distinct);
    }
}

// --- the command --------------------------------------------------------------------------------

static int vary_task(varying *v, size_t count, mla_err *err) {
    v->scripts = mla_varying_create(v->task, apply, err);
    if (!v->scripts) return -1;
    if (v->options->dry_run) {
        count_scripts(v, count);
        return 0;
    }
    if (!v->trial->home && mla_trial_open(v->trial, v->options, NULL, err) < 0) return -1;
    v->seconds = MLA_NEW_ARRAY(double, count);
    mla_subsets_init(&v->subsets, v->options, v->trial, v->task, v->home);
    int rc = make_all(v, count, err);
    if (rc == 0) print_result(v);
    return rc;
}

static int vary_one(const mla_options *o, mla_trial *trial, const char *home, const char *name,
                    const char *out, mla_err *err) {
    varying v = {.options = o, .trial = trial, .home = home, .out = out};
    char *dir = mla_options_task(o, name, err);
    v.task = dir ? mla_task_load(dir, home, !o->dry_run, err) : NULL;
    int rc = v.task ? vary_task(&v, (size_t)(o->count ? o->count : VARY_COUNT), err) : -1;
    // Subset tasks stay: the environment may know them until the trial is closed.
    mla_subsets_clear(&v.subsets);
    mla_varying_free(v.scripts);
    mla_task_free(v.task);
    free(v.prints);
    free(v.seconds);
    free(dir);
    return rc;
}

static int vary_all(const mla_options *o, char **names, size_t n, mla_err *err) {
    char *home = mla_options_home(o);
    char *given = o->output ? mla_strdup(o->output) : mla_options_variants(o), *out = NULL;
    mla_trial trial = {.home = NULL};
    int rc = mla_fs_mkdirs(given, err);
    if (rc == 0 && !(out = realpath(given, NULL))) rc = mla_err_set(err, "%s: not found", given);
    for (size_t i = 0; i < n && rc == 0 && !mla_stop_wanted(); i++) {
        rc = vary_one(o, &trial, home, names[i], out, err);
    }
    if (trial.home) mla_trial_close(&trial);
    free(given);
    free(out);
    free(home);
    return rc;
}

int mla_tasks_vary(const mla_options *o, mla_err *err) {
    char **names;
    size_t n;
    if (o->clear) return mla_variants_clear(o, err);
    if (mla_tasks_named(o, &names, &n, err) < 0) return -1;
    int rc = vary_all(o, names, n, err);
    mla_fs_names_free(names, n);
    return rc;
}
