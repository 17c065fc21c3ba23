// Making a task's data: runs its prepare.py once and puts what it made where scripts, and only the
// scorer, find it.
#ifndef MLA_TASK_PREPARE_H
#define MLA_TASK_PREPARE_H

#include "base/err.h"

// Runs `<python> tasks/<name>/prepare.py --out STAGING --packages <home>/packages` (`python` NULL:
// python3), which must leave
//   STAGING/public/     train.csv, test.csv, sample_submission.csv, whatever else scripts may see
//                       (of a task with several splits: in split0/, split1/, ...)
//   STAGING/answers.csv the id column, the targets, `half` (public or private) and, with several
//                       splits, `split` (from 0)
// checks them against each other and moves them to <home>/data/<name>/ (read-only files) and
// <home>/answers/<name>.csv (mode 0600). <home>/versions/<name>.json is written last and removed
// first: an interrupted preparation counts as none. 1 when made, 0 when what is there was made by
// this very prepare.py and is whole, -1 on error (data that fails a check replaces nothing).
// Packages that tasks/<name>/requirements.txt lists for the task's scripts are installed beside the
// venv's own where they are not yet (task.h), which counts as made: it takes minutes, and one that
// was interrupted counts as none.
// A variant has no prepare.py: its data must be there and whole (0), or it is an error.
MLA_MUST_USE int mla_task_prepare(const char *task_dir, const char *home, const char *python,
                                  mla_err *err);

// As above for a task whose data a person has downloaded: prepare.py is also given
// `--from <absolute from>`, a folder or an archive, and is run whether or not there is data. `from`
// NULL is the above.
MLA_MUST_USE int mla_task_prepare_from(const char *task_dir, const char *from, const char *home,
                                       const char *python, mla_err *err);

#endif
