// A task: what is to be improved, by which metric, in which direction, from which starter score to
// which reference. A folder tasks/<name>/ (task.yaml, env/, prepare.py, ideas.yaml) and, once
// prepared, data under the home folder: data/<name>/ (what scripts see) and answers/<name>.csv
// (never mounted in a sandbox).
#ifndef MLA_TASK_TASK_H
#define MLA_TASK_TASK_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "task/metric.h"

// The hidden rows are split in two, as on Kaggle: the public half gives feedback and reward, the
// private half is only ever used by evaluation.
typedef struct mla_halves {
    double public_half, private_half;
} mla_halves;

typedef struct mla_limits {
    double seconds;         // wall clock of one script run
    int memory_mb;          // resident memory of all its processes
} mla_limits;

// Where the data comes from: shown to the user, and part of what tells stale data from fresh.
typedef struct mla_package {
    char *from;             // "pypi" or "debian"
    char *name, *version;
    char *file;             // inside the package
    char *sha256;           // of that file, 64 hex digits
} mla_package;

typedef struct mla_source {
    char *mirrors;          // the Kaggle competition it stands in for
    char *licence;
    mla_package *packages;  // [package_count]
    size_t package_count;
    char *notes;
} mla_source;

// Of a task that `mlagent tasks vary` made of another.
typedef struct mla_variant_origin {
    char *of;               // that task
    char *seed;             // as given to vary
    char *recipe;           // what was changed, in words
} mla_variant_origin;

typedef struct mla_task {
    char *name, *description;
    char *family;                 // of a variant the task that it was made of, else its own name
    mla_variant_origin *variant;  // NULL when it is not one
    mla_metric metric;
    int direction;                // +1: higher is better, -1: lower (from task.yaml only)
    char *id_column;
    char **target_columns;        // [target_count], at least one
    size_t target_count;
    char **classes;               // [class_count]: all labels, where a submission has a column for
    size_t class_count;           // each; else none
    int splits;                   // independent splits of the data, each with its files; usually 1
    char *script;                 // the starter's file name, "train.py"
    bool held_out;                // never trained on
    mla_limits limits;
    mla_halves init;              // m_init: the starter script's score
    mla_halves best;              // m_best: the reference score
    mla_source source;
    char *dir;                    // tasks/<name>, absolute, as are the paths below
    char *env_dir;                // tasks/<name>/env: what a workspace starts from
    char *data_name;              // under which its data is kept: its own name, but for a subset
    char *prepared_dir;           // the prepared public data of all splits
    char *data_dir;               // mounted read-only as ./data and shown: the only split's, or the
                                  // first one's
    char *answers_path;           // prepared answers
    char *data_version;           // SHA-256 over the prepared files, part of the run cache's key;
                                  // NULL when the data is not prepared
    char *wheels;                 // name of the folder with the packages of its requirements.txt;
                                  // NULL when it has none
} mla_task;

// Reads and checks tasks/<name>/task.yaml (unknown and missing keys are errors). When
// `need_data`, the prepared data must be there too. NULL on error. The caller frees.
mla_task *mla_task_load(const char *dir, const char *home, bool need_data, mla_err *err);
// The same, with the data kept under another name (task/variant_data.h), which must be there.
mla_task *mla_task_load_on(const char *dir, const char *home, const char *data_name, mla_err *err);
void mla_task_free(mla_task *task);

// The prepared public data of one split. Caller frees.
char *mla_task_split_dir(const mla_task *task, size_t split);

// Where the venv of the interpreter `python` has the packages that the task's scripts want beyond
// the venv's own: <venv>/wheels/<task->wheels>, which is there only when it is whole. NULL when
// they want none. Caller frees.
char *mla_task_wheels_dir(const mla_task *task, const char *python);

// The columns that a submission has besides the id: the classes, else the targets. [*count],
// borrowed from the task.
char **mla_task_guess_columns(const mla_task *task, size_t *count);

// Names of the folders under `tasks_root` that hold a task.yaml, sorted; the caller frees with
// mla_fs_names_free.
MLA_MUST_USE int mla_task_list(const char *tasks_root, char ***names, size_t *count, mla_err *err);

// An idea of tasks/<name>/ideas.yaml: what to try and why, and the edit that does it.
typedef struct mla_idea {
    char *id;               // unique in its task
    char *family;           // "model", "features", "hyper-parameters", ...
    char *text;             // what to try
    char *why;
    char *blocks;           // SEARCH/REPLACE blocks on the starter script
    char **after;           // [n_after] ids of ideas above it whose edits its own builds on
    size_t n_after;
} mla_idea;

typedef struct mla_ideas {
    mla_idea *items;
    size_t len;
} mla_ideas;

MLA_MUST_USE int mla_ideas_load(mla_ideas *out, const mla_task *task, mla_err *err);
void mla_ideas_clear(mla_ideas *ideas);
// Where the idea is, or ideas->len.
size_t mla_ideas_find(const mla_ideas *ideas, const char *id);
// The blocks of all ideas that idea `at` builds on, in the file's order, as one edit, "" when there
// are none. Caller frees.
char *mla_ideas_blocks_before(const mla_ideas *ideas, size_t at);

#endif
