// `mlagent tasks new`: a task from a person's script and data. Everything is tried in a home of its
// own first; what the user has is touched only when the script has run and its scores are known.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "env/env.h"
#include "task/new.h"
#include "task/prepare.h"
#include "task/trial.h"

#define TRY_SECONDS 600.0     // of the first run, when no limit is given
#define LEAST_SECONDS 20.0    // of the limit that is made of it
#define MEMORY_MB 4096

typedef struct making {
    const mla_options *options;
    mla_new_task task;
    mla_new_facts facts;
    char *name, *home, *python;
    mla_trial trial;
    char *dir, *trial_home;   // in its folder: the task and a home
    mla_halves init, best;
    double seconds;           // of the script's run
} making;

// --- the script's scores ------------------------------------------------------------------------

// The last line that a failing script wrote, which names the exception.
static char *last_words(const mla_facts *facts) {
    const char *text = facts->err && *facts->err ? facts->err : facts->out ? facts->out : "";
    size_t end = strlen(text);
    while (end && strchr(" \r\n\t", text[end - 1])) end--;
    size_t from = end;
    while (from && text[from - 1] != '\n') from--;
    return mla_format("%.*s", (int)(end - from > 300 ? 300 : end - from), text + from);
}

static int explain(const making *m, const mla_facts *facts, mla_err *err) {
    const char *script = m->task.script;
    char *words = last_words(facts);
    switch (facts->outcome) {
    case MLA_OUTCOME_NO_SUBMISSION:
        mla_err_set(err, "%s ran, but wrote no submission.csv. It must write one, with the columns "
                    "%s and %s, a row for each row of data/test.csv", script, m->task.id,
                    m->task.target);
        break;
    case MLA_OUTCOME_TIME_OUT:
        mla_err_set(err, "%s ran longer than %g s; allow more with --seconds", script,
                    m->task.seconds);
        break;
    case MLA_OUTCOME_OUT_OF_MEMORY:
        mla_err_set(err, "%s took more than %d MB; allow more with --memory-mb", script,
                    m->task.memory_mb);
        break;
    case MLA_OUTCOME_SCRIPT_ERROR:
        mla_err_set(err, "%s fails in the sandbox: %s (it must read data/train.csv and "
                    "data/test.csv, and write submission.csv with %s and %s)", script, words,
                    m->task.id, m->task.target);
        break;
    default:
        mla_err_set(err, "%s: %s: %.400s", script, mla_outcome_name(facts->outcome),
                    facts->error_type ? facts->error_type : words);
    }
    free(words);
    return -1;
}

static int run_script(making *m, mla_env *env, const mla_task *task, mla_err *err) {
    mla_facts facts;
    int rc = mla_env_try(env, task, &facts, err);
    if (rc == 0 && facts.outcome != MLA_OUTCOME_OK) rc = explain(m, &facts, err);
    m->init = (mla_halves){facts.score_after, facts.score_private};
    m->seconds = facts.cost.run_seconds;
    mla_facts_clear(&facts);
    return rc;
}

static int measure(making *m, mla_err *err) {
    mla_task *task = mla_task_load(m->dir, m->trial_home, true, err);
    if (!task) return -1;
    char *states = mla_fs_join(m->trial.dir, "states.git");
    mla_env_options options = mla_env_options_default();
    options.workers = 1;
    options.home = m->trial_home;
    options.python = m->python;
    options.states_path = states;
    options.private_scores = true;
    options.allow_weaker_sandbox = m->options->allow_weaker_sandbox;
    mla_env *env = mla_env_create(&options, err);
    int rc = env ? run_script(m, env, task, err) : -1;
    mla_env_free(env);
    mla_task_free(task);
    free(states);
    return rc;
}

// --- the task -----------------------------------------------------------------------------------

static int choose_reference(making *m, mla_err *err) {
    double given = m->options->best;
    int direction = mla_metric_direction(m->task.metric);
    m->best = isnan(given) ? mla_new_task_reference(m->task.metric, m->init)
                           : (mla_halves){given, given};
    if (direction * (m->best.public_half - m->init.public_half) > 0 &&
        direction * (m->best.private_half - m->init.private_half) > 0) {
        return 0;
    }
    if (isnan(given)) {
        return mla_err_set(err, "%s already scores as well as can be (%s %.6g): there is nothing "
                           "to improve", m->task.script, mla_metric_name(m->task.metric),
                           m->init.public_half);
    }
    return mla_err_set(err, "--best %g is not better than the script's own score, %.6g on one half "
                       "of the hidden rows and %.6g on the other", given, m->init.public_half,
                       m->init.private_half);
}

// Limits of a run: as given, or four times what the script takes.
static void choose_limit(making *m) {
    if (m->options->seconds > 0) return;
    m->task.seconds = fmax(LEAST_SECONDS, ceil(4 * m->seconds));
}

static int try_it(making *m, mla_err *err) {
    if (mla_new_task_write(&m->task, m->dir, &m->facts, err) < 0) return -1;
    if (mla_task_prepare(m->dir, m->trial_home, m->python, err) < 0) return -1;
    if (measure(m, err) < 0 || choose_reference(m, err) < 0) return -1;
    choose_limit(m);
    return mla_new_task_describe(&m->task, m->dir, m->init, m->best, err);
}

static int install(const making *m, const char *to, mla_err *err) {
    char *root = mla_options_own_tasks(m->options);
    int rc = mla_fs_mkdirs(root, err);
    if (rc == 0) rc = mla_fs_replace_dir(m->dir, to, err);
    if (rc == 0 && mla_task_prepare(to, m->home, m->python, err) < 0) rc = -1;
    free(root);
    return rc;
}

static void print_made(const making *m, const char *to) {
    printf("task %s: %s\n", m->name, to);
    if (m->facts.test_rows) {
        printf("rows: %zu to learn from, the %zu of test.csv hidden\n", m->facts.rows,
               m->facts.test_rows);
    } else {
        printf("rows: %zu, a third of them hidden\n", m->facts.rows);
    }
    if (m->facts.unused_test) puts("test.csv has no target and is not used");
    if (m->facts.made_id) printf("a column %s was added\n", m->task.id);
    printf("%s now: %s %.6g (public half), %.6g (private half), in %.1f s; limit %g s\n",
           m->task.script, mla_metric_name(m->task.metric), m->init.public_half,
           m->init.private_half, m->seconds, m->task.seconds);
    printf("reference: %.6g%s\n", m->best.public_half,
           isnan(m->options->best) ? ", half the way to perfect (--best sets another)" : "");
    printf("next: mlagent solve %s --model MODEL\n", m->name);
}

// Tasks of one name would share their data: a name that is in use is not taken. --force replaces a
// task of one's own.
static int check_free(const making *m, const char *to, mla_err *err) {
    char *version = mla_format("%s/versions/%s.json", m->home, m->name);
    bool taken = mla_fs_exists(to), foreign = !taken && mla_fs_exists(version);
    free(version);
    if (foreign) {
        return mla_err_set(err, "another task %s has its data in %s; choose another name with "
                           "--name", m->name, m->home);
    }
    if (!taken || m->options->force) return 0;
    return mla_err_set(err, "%s is there already; choose another name with --name, or replace it "
                       "with --force", to);
}

static int begin_trial(making *m, mla_err *err) {
    if (mla_trial_begin(&m->trial, m->home, err) < 0) return -1;
    m->dir = mla_fs_join(m->trial.dir, m->name);
    m->trial_home = mla_fs_join(m->trial.dir, "home");
    return mla_fs_mkdirs(m->trial_home, err);
}

static int check_python(const making *m, mla_err *err) {
    if (!strchr(m->python, '/') || mla_fs_exists(m->python)) return 0;
    return mla_err_set(err, "no interpreter at %s: run ./demo or scripts/setup, or name one with "
                       "--python", m->python);
}

static int make(making *m, mla_err *err) {
    char *root = mla_options_own_tasks(m->options), *to = mla_fs_join(root, m->name);
    int rc = check_python(m, err);
    if (rc == 0) rc = check_free(m, to, err);
    if (rc == 0) rc = begin_trial(m, err);
    if (rc == 0) rc = try_it(m, err);
    if (rc == 0) rc = install(m, to, err);
    if (rc == 0) print_made(m, to);
    mla_trial_end(&m->trial);
    free(root);
    free(to);
    return rc;
}

int mla_task_make(const mla_options *o, mla_err *err) {
    if (!o->target || !o->metric) {
        return mla_err_set(err, "tasks new needs --target COLUMN and --metric NAME");
    }
    making m = {.options = o, .home = mla_options_home(o), .trial.lock = -1};
    m.task = (mla_new_task){.source = o->rest[1], .script = o->script, .target = o->target,
                            .id = o->id, .seconds = o->seconds > 0 ? o->seconds : TRY_SECONDS,
                            .memory_mb = o->memory_mb ? o->memory_mb : MEMORY_MB};
    m.name = o->name ? mla_strdup(o->name) : mla_new_task_name(o->rest[1]);
    m.python = o->python ? mla_strdup(o->python) : mla_fs_join(m.home, "venv/bin/python");
    int rc = mla_metric_read(o->metric, &m.task.metric, err);
    if (rc < 0) mla_err_wrap(err, "--metric");
    if (rc == 0) rc = make(&m, err);
    char *all[] = {m.name, m.home, m.python, m.dir, m.trial_home};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
    return rc;
}
