// A linter for a prepared task at rest: what is wrong with it, and what tells its answers. What its
// scripts do is for those to check who may run them (cli/tasks_check.c).
#ifndef MLA_TASK_CHECK_H
#define MLA_TASK_CHECK_H

#include <stddef.h>

#include "base/err.h"
#include "task/task.h"

typedef struct mla_finding {
    const char *check;       // a static word, such as "leak"
    char *text;              // one line: where, what, what to do
} mla_finding;

typedef struct mla_findings {
    mla_finding *items;      // [len]
    size_t len, cap;
} mla_findings;

void mla_findings_add(mla_findings *findings, const char *check, const char *fmt, ...)
    MLA_PRINTF(3, 4);
void mla_findings_clear(mla_findings *findings);

// Adds what is found in the task's licence and limits, the columns and ids of its files, rows that
// are in train.csv and test.csv both, and columns, files and orders of rows that tell the answers.
// -1 when the files cannot be read at all.
MLA_MUST_USE int mla_task_check(const mla_task *task, mla_findings *findings, mla_err *err);

#endif
