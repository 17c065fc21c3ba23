// A run folder: runs/<name>/ with config.yaml, log.jsonl, states.git, exec.sqlite and a folder for
// each stage. Stages meet here, in files.
#ifndef MLA_RECORD_RUN_H
#define MLA_RECORD_RUN_H

#include "base/err.h"
#include "base/json.h"

// Creates the folder (and parents) if need be and takes an exclusive lock on it, so that two
// programs cannot write one run. NULL on error.
typedef struct mla_run mla_run;
mla_run *mla_run_open(const char *dir, mla_err *err);
void mla_run_close(mla_run *run);
const char *mla_run_dir(const mla_run *run);                  // borrowed
char *mla_run_path(const mla_run *run, const char *relative);  // caller frees; makes its folder

// Marks of finished stages (stages.json): a stage is skipped when it is marked done.
bool mla_run_stage_done(const mla_run *run, const char *stage);
MLA_MUST_USE int mla_run_stage_mark(mla_run *run, const char *stage, double seconds, mla_err *err);
MLA_MUST_USE int mla_run_stage_unmark(mla_run *run, const char *stage, mla_err *err);

#endif
