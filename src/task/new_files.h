// The files of a new task that are written from a text: prepare.py and a starter script. Private to
// the room.
#ifndef MLA_TASK_NEW_FILES_H
#define MLA_TASK_NEW_FILES_H

#include "task/new.h"

// prepare.py for source/ with these checksums (of test.csv NULL: there is none). Caller frees.
char *mla__new_prepare(const mla_new_task *task, const char *train_sha256,
                       const char *test_sha256);
// A plain first script: one tree on the columns as they are. Caller frees.
char *mla__new_starter(const mla_new_task *task);
// A text in double quotes, as Python and YAML both read it. Caller frees.
char *mla__new_quote(const char *text);

#endif
