// A smaller copy of a prepared task's data: some of the rows to learn from and, if wanted, some of
// the test's with their answers.
#ifndef MLA_TASK_VARIANT_DATA_H
#define MLA_TASK_VARIANT_DATA_H

#include <stdint.h>

#include "task/task.h"

typedef struct mla_subset_options {
    size_t train_rows;           // of each split, at most; each label keeps a few rows
    size_t half_rows;            // of each half of each split's test at most; 0: all
    uint64_t seed;
} mla_subset_options;

// Writes the task's data with fewer rows under another name: <home>/data/<name>/, answers/ and
// versions/, as a preparation leaves them, for mla_task_load_on. Rows keep their order. train.csv,
// test.csv, sample_submission.csv and the answers lose rows; so do arrays <table>_*.npy with one
// entry a row, and rows of other CSV files that name an id which is gone; any other file is taken
// as it is. -1 also where a half has too few rows for the metric; what is written then counts as
// none.
MLA_MUST_USE int mla_subset_make(const mla_task *task, const char *home, const char *name,
                                 const mla_subset_options *options, mla_err *err);

// Gives a task of that name, in that folder, the data of `from` (as loaded with it), as links to
// its files.
MLA_MUST_USE int mla_subset_share(const mla_task *from, const char *name, const char *home,
                                  const char *folder, mla_err *err);
// The folder for which the data of a name was shared, NULL when there is none. Caller frees.
char *mla_subset_owner(const char *name, const char *home);
// Removes data, answers and version of that name; the version first.
MLA_MUST_USE int mla_subset_forget(const char *name, const char *home, mla_err *err);

#endif
