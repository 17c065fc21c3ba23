// A folder under a home's staging/ in which a task is tried before the home itself is touched. Its
// maker holds a lock on it, so that what a killed maker left is told from what is in use, whatever
// process ids are given again.
#ifndef MLA_TASK_TRIAL_H
#define MLA_TASK_TRIAL_H

#include "base/err.h"

typedef struct mla_trial {
    char *dir;                  // NULL: there is none
    int lock;
} mla_trial;

// Clears what killed makers left and makes an empty folder. End it in any case.
MLA_MUST_USE int mla_trial_begin(mla_trial *trial, const char *home, mla_err *err);
// Removes the folder; what cannot be removed is warned of, and the next one tries again.
void mla_trial_end(mla_trial *trial);
// Removes the trials under `home` whose makers are gone.
void mla_trial_sweep(const char *home);

#endif
