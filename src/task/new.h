// A task from a person's own data: a folder with a script and train.csv, or a CSV file alone. It
// checks what it is given and writes a task's folder; measuring the scores is up to the caller, who
// may run scripts.
#ifndef MLA_TASK_NEW_H
#define MLA_TASK_NEW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "task/task.h"

#define MLA_NEW_ROWS_MIN 60       // distinct rows that a task needs at least

typedef struct mla_new_task {
    const char *source;           // a folder with the script, train.csv and perhaps test.csv (they
                                  // may be in its data/), or a CSV file
    const char *script;           // its name; for a CSV file one is made
    const char *target, *id;      // names of columns; an id column that is not there is made
    mla_metric metric;
    double seconds;               // limits of one run
    int memory_mb;
} mla_new_task;

// What was found in the source.
typedef struct mla_new_facts {
    size_t rows, test_rows;       // of train.csv, and of a test.csv that holds the target
    bool made_id;                 // there was no id column
    bool unused_test;             // a test.csv without the target is there and is not used
} mla_new_facts;

// Makes the folder `dir`, whose last component is the task's name: task.yaml with scores that only
// hold its place, env/ with the script and the folder's other .py files, prepare.py, and source/,
// a copy of the data. The source is only read. -1 with what is wrong with it; what was written by
// then is the caller's to remove.
MLA_MUST_USE int mla_new_task_write(const mla_new_task *task, const char *dir, mla_new_facts *facts,
                                    mla_err *err);
// Writes its task.yaml anew, with scores as measured.
MLA_MUST_USE int mla_new_task_describe(const mla_new_task *task, const char *dir, mla_halves init,
                                       mla_halves best, mla_err *err);

// The reference where nobody knows one: half the way from the script's score to a perfect one (0
// where lower is better, else 1). Equal to `init` where that is perfect.
mla_halves mla_new_task_reference(mla_metric metric, mla_halves init);
// A task's name from a file's or folder's: lower case, what does not fit as '-'. Caller frees.
char *mla_new_task_name(const char *source);

#endif
