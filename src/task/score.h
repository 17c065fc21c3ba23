// Scoring a submission outside the sandbox against answers that are not mounted in it. The forms of
// the files are in docs/tasks.md.
#ifndef MLA_TASK_SCORE_H
#define MLA_TASK_SCORE_H

#include <stdint.h>

#include "task/task.h"

typedef struct mla_answers mla_answers;      // a task's answers, read once; immutable, thread-safe

mla_answers *mla_answers_load(const mla_task *task, mla_err *err);
void mla_answers_free(mla_answers *answers);

// Scores the bytes of a submission.csv for one split, below the task's `splits` (header with the
// id and the columns of mla_task_guess_columns; ids in any order, each exactly once, none extra). 0
// and both halves' scores, finite, or -1 with the reason in `why` (the agent reads it: it must not
// tell anything about the answers).
MLA_MUST_USE int mla_score_submission(const mla_answers *answers, size_t split, const char *csv,
                                      size_t len, mla_halves *out, mla_err *why);

// Scores of `count` resamples of a submission that scores: of each half as many rows as it has,
// drawn with replacement (the bootstrap). The draws depend on `seed` and the split's size alone.
// out [count]: NaN where a resample leaves the metric undefined.
MLA_MUST_USE int mla_score_resamples(const mla_answers *answers, size_t split, const char *csv,
                                     size_t len, uint64_t seed, mla_halves *out, size_t count,
                                     mla_err *why);

#endif
