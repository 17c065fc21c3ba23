// `mlagent tasks noise`: how far chance alone moves a score. Seeds: the script is run again with
// every seed that it sets moved (tasks_noise.py), and another seed of the global generators. Rows:
// its submission is scored on rows drawn with replacement.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "cli/tasks.h"
#include "task/score.h"

#define SEEDS 10
#define RESAMPLES 200
#define TOO_NOISY 0.05    // of |m_best - m_init|
#define SEED_STEP 1000    // added to each seed that a script sets, so that two that differ still do

typedef struct measuring {
    const mla_options *options;
    mla_trial trial;
    mla_task *task;
    mla_answers *answers;     // the task's
    mla_buf *kept;            // [splits]: submissions as they came; NULL while none is wanted
} measuring;

typedef struct noise {
    mla_halves seeds, rows;   // standard deviations
} noise;

// --- seeds in a script --------------------------------------------------------------------------

// The Python text has one home, tasks_noise.py; the assembler puts it into the program.
__asm__(".pushsection .rodata\n"
        ".global mla__noise_py\n"
        "mla__noise_py:\n"
        ".incbin \"src/cli/tasks_noise.py\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char mla__noise_py[];

// The script with every seed moved. JSON's texts are Python's. Caller frees.
static char *move_seeds(const mla_task *task, const char *script, long by) {
    json_t *text = mla_json_text(script, strlen(script));
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);
    MLA_ASSERT(quoted);
    char *out = mla_format("%s\n\n_move_seeds(%ld)\ndel _move_seeds\n"
                           "exec(compile(%s.encode(), '%s', 'exec', dont_inherit=True))\n",
                           mla__noise_py, by, quoted, task->script);
    free(quoted);
    json_decref(text);
    return out;
}

// --- measuring ----------------------------------------------------------------------------------

// The environment's worker calls it while we wait for that worker.
static void keep(void *self, size_t split, const char *csv, size_t len) {
    const measuring *m = self;
    if (!m->kept) return;
    mla_buf_reset(&m->kept[split]);
    mla_buf_append(&m->kept[split], csv, len);
}

// Standard deviation over the finite ones of values, n - 1 in the denominator.
static double deviation(const double *values, size_t n) {
    double sum = 0, squares = 0, count = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(values[i])) continue;
        sum += values[i];
        count++;
    }
    for (size_t i = 0; i < n; i++) {
        if (isfinite(values[i])) squares += (values[i] - sum / count) * (values[i] - sum / count);
    }
    return count > 1 ? sqrt(squares / (count - 1)) : NAN;
}

static mla_halves deviation_halves(const mla_halves *scores, size_t n) {
    double *values = MLA_NEW_ARRAY(double, n);
    mla_halves sd;
    for (size_t i = 0; i < n; i++) values[i] = scores[i].public_half;
    sd.public_half = deviation(values, n);
    for (size_t i = 0; i < n; i++) values[i] = scores[i].private_half;
    sd.private_half = deviation(values, n);
    free(values);
    return sd;
}

// 1 where the script fails, with what it came to in `err`.
static int run_once(measuring *m, const char *script, uint64_t seed, mla_halves *out,
                    mla_err *err) {
    mla_facts facts;
    mla_env_seed(m->trial.env, seed);
    int rc = mla_trial_run(&m->trial, m->task, script, &facts, err);
    if (rc < 0) return -1;
    char *fault = mla_facts_fault(&facts);
    if (fault) mla_err_set(err, "%s", fault);
    rc = fault ? 1 : 0;
    *out = (mla_halves){facts.score_after, facts.score_private};
    free(fault);
    mla_facts_clear(&facts);
    return rc;
}

// kept [splits]. The mean over splits of resample i's scores, then the deviation over i.
static int measure_rows(const measuring *m, const mla_buf *kept, mla_halves *sd, mla_err *err) {
    mla_halves *sums = MLA_NEW_ARRAY(mla_halves, RESAMPLES);
    mla_halves *one = MLA_NEW_ARRAY(mla_halves, RESAMPLES);
    const size_t splits = (size_t)m->task->splits;
    int rc = 0;
    for (size_t s = 0; s < splits && rc == 0; s++) {
        rc = mla_score_resamples(m->answers, s, mla_buf_text(&kept[s]), kept[s].len,
                                 mla_rng_derive(1, s, 0, 0), one, RESAMPLES, err);
        for (size_t i = 0; i < RESAMPLES && rc == 0; i++) {
            sums[i].public_half += one[i].public_half / (double)splits;
            sums[i].private_half += one[i].private_half / (double)splits;
        }
    }
    *sd = deviation_halves(sums, RESAMPLES);
    free(one);
    free(sums);
    return rc;
}

static mla_buf *bufs_new(size_t n) {
    mla_buf *bufs = MLA_NEW_ARRAY(mla_buf, n);
    for (size_t i = 0; i < n; i++) mla_buf_init(&bufs[i], (size_t)64 << 20);
    return bufs;
}

static void bufs_free(mla_buf *bufs, size_t n) {
    for (size_t i = 0; i < n; i++) mla_buf_clear(&bufs[i]);
    free(bufs);
}

// As run_once.
static int measure_script(measuring *m, const char *script, noise *out, mla_err *err) {
    mla_halves scores[SEEDS], first;
    mla_buf *kept = bufs_new((size_t)m->task->splits);
    m->kept = kept;
    int rc = run_once(m, script, 0, &first, err);
    m->kept = NULL;
    if (rc == 0) rc = measure_rows(m, kept, &out->rows, err);
    for (int i = 0; i < SEEDS && rc == 0; i++) {
        if (mla_stop_wanted()) rc = mla_err_set(err, "stopped");
        char *moved = move_seeds(m->task, script, SEED_STEP * (i + 1));
        if (rc == 0) rc = run_once(m, moved, mla_rng_derive(1, (uint64_t)i, 0, 0), &scores[i], err);
        free(moved);
    }
    if (rc == 0) out->seeds = deviation_halves(scores, SEEDS);
    bufs_free(kept, (size_t)m->task->splits);
    return rc;
}

// --- the result ---------------------------------------------------------------------------------

static mla_halves share_of(const mla_task *task, mla_halves sd) {
    return (mla_halves){sd.public_half / fabs(task->best.public_half - task->init.public_half),
                        sd.private_half / fabs(task->best.private_half - task->init.private_half)};
}

static bool too_noisy(mla_halves share) {
    return !(share.public_half < TOO_NOISY && share.private_half < TOO_NOISY);
}

static json_t *halves_json(mla_halves h) {
    return json_pack("{s:o, s:o}", "public", mla_json_number(h.public_half), "private",
                     mla_json_number(h.private_half));
}

// 1 when it is flagged.
static int print(const measuring *m, const char *what, const noise *n) {
    mla_halves seeds = share_of(m->task, n->seeds), rows = share_of(m->task, n->rows);
    bool flagged = too_noisy(seeds);
    if (m->options->json) {
        mla_tasks_print_line(json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:b}", "task",
                                       m->task->name, "script", what, "seeds_sd",
                                       halves_json(n->seeds), "seeds_share", halves_json(seeds),
                                       "rows_sd", halves_json(n->rows), "rows_share",
                                       halves_json(rows), "flagged", flagged));
        return flagged;
    }
    printf("%-18s %-9s %10.4g %6.2f%% %10.4g %6.2f%% %10.4g %6.1f%% %10.4g %6.1f%%%s\n",
           m->task->name, what, n->seeds.public_half, 100 * seeds.public_half,
           n->seeds.private_half, 100 * seeds.private_half, n->rows.public_half,
           100 * rows.public_half, n->rows.private_half, 100 * rows.private_half,
           flagged ? "  5% or more" : "");
    fflush(stdout);
    return flagged;
}

// 1: its script fails, so nothing can be said of it.
static int print_fault(const measuring *m, const char *what, const char *fault) {
    if (m->options->json) {
        mla_tasks_print_line(json_pack("{s:s, s:s, s:o, s:b}", "task", m->task->name, "script",
                                       what, "fault", mla_json_text(fault, strlen(fault)),
                                       "flagged", true));
    } else {
        printf("%-18s %-9s %s\n", m->task->name, what, fault);
        fflush(stdout);
    }
    return 1;
}

// 1 when it is flagged.
static int measure_one(measuring *m, bool reference, mla_err *err) {
    noise n;
    mla_err why = {{0}};
    const char *what = reference ? "reference" : "starter";
    char *script = reference ? mla_trial_reference(m->task, err) : mla_trial_starter(m->task, err);
    if (!script) return -1;
    int rc = measure_script(m, script, &n, &why);
    free(script);
    if (rc < 0) return mla_err_set(err, "%s", why.text);
    return rc > 0 ? print_fault(m, what, why.text) : print(m, what, &n);
}

// How many of the two scripts are flagged, or -1.
static int measure_task(measuring *m, const char *name, mla_err *err) {
    m->task = mla_trial_task(&m->trial, m->options, name, err);
    m->answers = m->task ? mla_answers_load(m->task, err) : NULL;
    if (!m->answers) return -1;
    int flagged = measure_one(m, false, err);
    if (flagged >= 0 && mla_trial_has_reference(m->task)) {
        int more = measure_one(m, true, err);
        flagged = more < 0 ? -1 : flagged + more;
    }
    mla_answers_free(m->answers);
    return flagged;
}

static int measure_all(measuring *m, char **names, size_t n, mla_err *err) {
    int flagged = 0, rc = 0;
    if (!m->options->json) {
        printf("%-28s   %-37s   %s\n", "", "sd over 10 seeds", "sd over rows");
        printf("%-18s %-9s %10s %7s %10s %7s %10s %7s %10s %7s\n", "task", "script", "public",
               "share", "private", "share", "public", "share", "private", "share");
    }
    for (size_t i = 0; i < n && rc >= 0 && !mla_stop_wanted(); i++) {
        rc = measure_task(m, names[i], err);
        if (rc > 0) flagged += rc;
    }
    return rc < 0 && !mla_stop_wanted() ? -1 : flagged;
}

int mla_tasks_noise(const mla_options *o, mla_err *err) {
    measuring m = {.options = o};
    const mla_submission_tap tap = {keep, &m};
    char **names;
    size_t n;
    if (mla_tasks_named(o, &names, &n, err) < 0) return -1;
    int rc = mla_trial_open(&m.trial, o, &tap, err);
    if (rc == 0) {
        rc = measure_all(&m, names, n, err);
        mla_trial_close(&m.trial);
    }
    mla_fs_names_free(names, n);
    return rc;
}
