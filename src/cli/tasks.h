// Measuring tasks: what `mlagent tasks check`, `noise` and `ideas` share. Scripts run in the
// sandbox, as an agent's do.
#ifndef MLA_CLI_TASKS_H
#define MLA_CLI_TASKS_H

#include "cli/cli.h"
#include "env/env.h"

typedef struct mla_trial {
    char *home, *folder;          // folder: of the states and the run cache
    bool temporary;               // it is removed at the end
    char *scratch;                // what a script that stands in for the starter begins from
    mla_env *env;
    mla_task **tasks;             // [n_tasks]: those opened; the environment may know them
    size_t n_tasks, cap;
} mla_trial;

// An environment for measuring, with private scores. Its results are kept in `--run DIR`, by
// default <home>/trials, so that the same run costs nothing twice; with a tap nothing is kept.
MLA_MUST_USE int mla_trial_open(mla_trial *out, const mla_options *options,
                                const mla_submission_tap *tap, mla_err *err);
void mla_trial_close(mla_trial *trial);

// The task of that name, with its data; it lives as long as the trial.
mla_task *mla_trial_task(mla_trial *trial, const mla_options *options, const char *name,
                         mla_err *err);
// Takes over a task that was loaded elsewhere, NULL too; returns it.
mla_task *mla_trial_adopt(mla_trial *trial, mla_task *task);
// Runs a text in the place of the task's script, its other files as they are. The caller clears
// `out`, which is set in any case.
MLA_MUST_USE int mla_trial_run(mla_trial *trial, mla_task *task, const char *script, mla_facts *out,
                               mla_err *err);
// The starter's text, or the reference's (NULL and an error when there is none). Caller frees.
char *mla_trial_starter(const mla_task *task, mla_err *err);
char *mla_trial_reference(const mla_task *task, mla_err *err);
bool mla_trial_has_reference(const mla_task *task);

// The names of all tasks whose data is prepared, or the operands from the second on. Caller frees
// with mla_fs_names_free.
MLA_MUST_USE int mla_tasks_named(const mla_options *options, char ***names, size_t *count,
                                 mla_err *err);
// Puts in the place of each name with *, ? or [ in it the names of the tasks that match, in the
// three folders of mla_options_task where tasks are listed; one that nothing matches is an error.
MLA_MUST_USE int mla_task_names_expand(char ***names, size_t *count, const mla_options *options,
                                       mla_err *err);
// Prints one JSON object as a line and drops it.
void mla_tasks_print_line(json_t *object);

// What a check measured, kept in <home>/measured/<task>.json while the data is the same. NaN where
// nothing is known.
typedef struct mla_measured {
    mla_halves score;
    double seconds, peak_mb;
} mla_measured;
typedef struct mla_measured_pair {
    mla_measured starter, reference;
} mla_measured_pair;
mla_measured_pair mla_measured_read(const mla_task *task, const char *home);
MLA_MUST_USE int mla_measured_write(const mla_task *task, const char *home,
                                    const mla_measured_pair *measured, mla_err *err);

// The commands. check: the number of findings, noise: of scripts that are too noisy; ideas: 0. -1
// on error.
MLA_MUST_USE int mla_tasks_check(const mla_options *options, mla_err *err);
MLA_MUST_USE int mla_tasks_noise(const mla_options *options, mla_err *err);
MLA_MUST_USE int mla_tasks_ideas(const mla_options *options, mla_err *err);
MLA_MUST_USE int mla_tasks_vary(const mla_options *options, mla_err *err);

#endif
