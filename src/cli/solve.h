// What `mlagent solve` knows while it works, and how it is shown.
#ifndef MLA_CLI_SOLVE_H
#define MLA_CLI_SOLVE_H

#include "base/log.h"
#include "cli/session.h"
#include "record/store.h"

// The best script so far by the public half; the private half is only told.
typedef struct mla_best {
    bool found;                    // something beat the starting script
    mla_state state;
    double score, score_private;   // the starting script's until then
    int number, index;             // which step of which attempt, from 0
} mla_best;

typedef struct mla_solve {
    const mla_options *options;
    const char *dir;               // the output folder
    mla_session session;
    mla_run *run;
    mla_lines *lines;              // steps.jsonl
    mla_state start;
    mla_best best;
    size_t steps, edits_run;       // in all, earlier calls included
    double began_at, deadline;     // clock; deadline infinite when there is none
    bool out_of_time;
    mla_progress bar;
    bool has_bar;                  // standard error is a terminal and nobody asked for quiet
} mla_solve;

void mla_solve_show_start(mla_solve *solve);
// One step as it ends; `better`: it is the best so far.
void mla_solve_show_step(mla_solve *solve, const mla_step *step, int number, bool better);
// What the model is doing, on the bar.
void mla_solve_show_wait(mla_solve *solve);
void mla_solve_show_end(mla_solve *solve, bool stopped);

#endif
