// `mlagent tasks check`: a task's files are looked at, then its starter and its reference run as an
// agent's script would, and what they scored is held against task.yaml.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/tasks.h"
#include "task/check.h"

#define AGREE 0.01        // of |m_best - m_init|: another machine's arithmetic moves a score a bit
#define STARTER_USED 0.5  // of limits.seconds: a machine half as fast can run it too, and what an
                          // agent makes of it may take longer
#define REFERENCE_USED 0.8
#define MEMORY_USED 0.75

typedef struct checking {
    const mla_options *options;
    mla_trial trial;
    mla_task *task;           // the one at hand
    mla_findings findings;
    mla_measured_pair measured;
} checking;

// --- the scripts --------------------------------------------------------------------------------

static void check_cost(checking *c, const char *file, double share, const mla_measured *m) {
    const mla_limits *limits = &c->task->limits;
    bool timed = !(c->options->seconds > 0);    // else the machine is not one to be judged by
    if (timed && m->seconds > share * limits->seconds) {
        mla_findings_add(&c->findings, "limits", "%s: a run took %.1f s, more than %g%% of the %g "
                         "that limits.seconds allows; make it faster or allow more", file,
                         m->seconds, 100 * share, limits->seconds);
    }
    if (m->peak_mb > MEMORY_USED * limits->memory_mb) {
        mla_findings_add(&c->findings, "limits", "%s: a run took %.0f MB of the %d that "
                         "limits.memory_mb allows; make it smaller or raise the limit", file,
                         m->peak_mb, limits->memory_mb);
    }
}

static void check_half(checking *c, const char *file, const char *key, const char *half,
                       double measured, double said, double distance) {
    if (fabs(measured - said) <= AGREE * distance) return;
    mla_findings_add(&c->findings, "score", "%s: scores %.9g on the %s half, but task.yaml says "
                     "%s.%s: %.9g; write what was measured", file, measured, half, key, half, said);
}

static void check_score(checking *c, const char *file, const char *key, const mla_measured *m,
                        mla_halves said) {
    const mla_halves *a = &c->task->init, *b = &c->task->best;
    check_half(c, file, key, "public", m->score.public_half, said.public_half,
               fabs(b->public_half - a->public_half));
    check_half(c, file, key, "private", m->score.private_half, said.private_half,
               fabs(b->private_half - a->private_half));
}

static int run_script(checking *c, const char *file, const char *key, char *text, mla_halves said,
                      mla_measured *m, mla_err *err) {
    mla_facts facts;
    int rc = mla_trial_run(&c->trial, c->task, text, &facts, err);
    char *fault = rc == 0 ? mla_facts_fault(&facts) : NULL;
    if (fault) {
        mla_findings_add(&c->findings, "run", "%s: %.300s; it must run in the sandbox and write a "
                         "submission.csv that scores", file, fault);
    } else if (rc == 0) {
        double splits = c->task->splits;
        *m = (mla_measured){{facts.score_after, facts.score_private},
                            facts.cost.run_seconds / splits, facts.cost.peak_mb};
        check_cost(c, file, m == &c->measured.starter ? STARTER_USED : REFERENCE_USED, m);
        check_score(c, file, key, m, said);
    }
    free(fault);
    mla_facts_clear(&facts);
    return rc;
}

// The reference must be better than the starter, as measured or else as task.yaml says.
static void check_direction(checking *c) {
    const mla_task *task = c->task;
    mla_halves a = c->measured.starter.score, b = c->measured.reference.score;
    if (isnan(a.public_half)) a = task->init;
    if (isnan(b.public_half)) b = task->best;
    bool good = task->direction * (b.public_half - a.public_half) > 0 &&
                task->direction * (b.private_half - a.private_half) > 0;
    if (good) return;
    mla_findings_add(&c->findings, "direction", "the reference (%.6g public, %.6g private) is not "
                     "better than the starter (%.6g, %.6g), where %s is better; see to direction "
                     "in task.yaml and to reference.py", b.public_half, b.private_half,
                     a.public_half, a.private_half, task->direction > 0 ? "higher" : "lower");
}

static int check_scripts(checking *c, mla_err *err) {
    const mla_measured none = {{NAN, NAN}, NAN, NAN};
    c->measured = (mla_measured_pair){none, none};
    char *starter = mla_trial_starter(c->task, err), *reference = NULL;
    if (!starter) {
        mla_findings_add(&c->findings, "run", "%.400s; put the starter there", err->text);
        return 0;
    }
    int rc = run_script(c, c->task->script, "baseline", starter, c->task->init,
                        &c->measured.starter, err);
    if (rc == 0 && mla_trial_has_reference(c->task)) {
        reference = mla_trial_reference(c->task, err);
        rc = reference ? run_script(c, "reference.py", "reference", reference, c->task->best,
                                    &c->measured.reference, err) : -1;
    }
    if (rc == 0) check_direction(c);
    free(starter);
    free(reference);
    return rc;
}

// --- the result ---------------------------------------------------------------------------------

static json_t *measured_json(const mla_measured *m) {
    return json_pack("{s:o, s:o, s:o, s:o}", "public", mla_json_number(m->score.public_half),
                     "private", mla_json_number(m->score.private_half), "seconds",
                     mla_json_number(m->seconds), "peak_mb", mla_json_number(m->peak_mb));
}

static void print_json(const checking *c, const char *name) {
    json_t *list = json_array();
    for (size_t i = 0; i < c->findings.len; i++) {
        const mla_finding *f = &c->findings.items[i];
        json_array_append_new(list, json_pack("{s:s, s:o}", "check", f->check, "text",
                                              mla_json_text(f->text, strlen(f->text))));
    }
    mla_tasks_print_line(json_pack("{s:s, s:b, s:o, s:o, s:o}", "task", name, "ok",
                                   c->findings.len == 0, "findings", list, "starter",
                                   measured_json(&c->measured.starter), "reference",
                                   measured_json(&c->measured.reference)));
}

static void print_lines(const checking *c, const char *name) {
    const mla_measured *a = &c->measured.starter, *b = &c->measured.reference;
    for (size_t i = 0; i < c->findings.len; i++) {
        printf("%s: %s: %s\n", name, c->findings.items[i].check, c->findings.items[i].text);
    }
    if (c->findings.len == 0) {
        printf("%s: ok: starter %.6g in %.1f s", name, a->score.public_half, a->seconds);
        if (!isnan(b->seconds)) {
            printf(", reference %.6g in %.1f s", b->score.public_half, b->seconds);
        }
        puts("");
    }
    fflush(stdout);
}

// --- tasks --------------------------------------------------------------------------------------

static int check_data(checking *c, const char *name, mla_err *err) {
    mla_err why;
    char *dir = mla_options_task(c->options, name, err);
    mla_task *task = dir ? mla_task_load(dir, c->trial.home, false, &why) : NULL;
    if (dir && !task) {
        mla_findings_add(&c->findings, "schema", "%.600s", why.text);
    } else if (task && !task->data_version) {
        mla_findings_add(&c->findings, "data", "is not prepared; run: mlagent tasks prepare %s",
                         name);
    }
    mla_task_free(task);
    free(dir);
    return dir ? 0 : -1;
}

static int check_one(checking *c, const char *name, mla_err *err) {
    const mla_measured none = {{NAN, NAN}, NAN, NAN};
    c->measured = (mla_measured_pair){none, none};
    if (check_data(c, name, err) < 0) return -1;
    if (c->findings.len > 0) return 0;
    c->task = mla_trial_task(&c->trial, c->options, name, err);
    if (!c->task || mla_task_check(c->task, &c->findings, err) < 0) return -1;
    if (c->options->seconds > 0) c->task->limits.seconds = c->options->seconds;
    if (check_scripts(c, err) < 0) return -1;
    if (isnan(c->measured.starter.seconds)) return 0;
    return mla_measured_write(c->task, c->trial.home, &c->measured, err);
}

static int check_all(checking *c, char **names, size_t n, mla_err *err) {
    int found = 0, rc = 0;
    for (size_t i = 0; i < n && rc == 0 && !mla_stop_wanted(); i++) {
        rc = check_one(c, names[i], err);
        if (rc == 0 && c->options->json) print_json(c, names[i]);
        else if (rc == 0) print_lines(c, names[i]);
        found += (int)c->findings.len;
        mla_findings_clear(&c->findings);
    }
    if (rc == 0 && !c->options->json) {
        printf("%zu task%s, %d finding%s\n", n, n == 1 ? "" : "s", found, found == 1 ? "" : "s");
    }
    return rc < 0 ? -1 : found;
}

int mla_tasks_check(const mla_options *o, mla_err *err) {
    checking c = {.options = o};
    char **names;
    size_t n;
    if (mla_tasks_named(o, &names, &n, err) < 0) return -1;
    int rc = mla_trial_open(&c.trial, o, NULL, err);
    if (rc == 0) {
        rc = check_all(&c, names, n, err);
        mla_trial_close(&c.trial);
    }
    mla_fs_names_free(names, n);
    return rc;
}
