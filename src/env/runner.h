// The runner: one sandbox with one warm Python in it, which forks every run of a script. Private to
// the room. A runner has its own folder on the host, with the files that the next run begins with;
// the run works on a copy in memory of its own, and the sandbox writes to nothing of the host.
// Leaves out: actions, states, the run cache, scoring, and worker threads.
#ifndef MLA_ENV_RUNNER_H
#define MLA_ENV_RUNNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "record/outcome.h"

#define MLA__SUBMISSION_MAX ((size_t)64 << 20)   // bytes of a submission.csv that are still read

typedef struct mla_runner mla_runner;    // used by one thread at a time

typedef struct mla_runner_options {
    const char *python;      // interpreter of the venv
    const char *data_root;   // every request's data_dir lies below it; runs never see the rest
    int index;               // worker number, for messages
    int threads;             // of a script's OpenMP and joblib; 0 is as 1. BLAS has one
    bool allow_weaker;       // go on with fewer protections than are required, with a warning
    bool no_cgroup;          // as on a machine where no control group may be made (for tests)
} mla_runner_options;

typedef struct mla_run_request {
    const char *data_dir;    // the task's public data: read-only ./data in the workspace; or NULL
    const char *wheels;      // folder of further packages, below wheels/ of the venv; or NULL
    const char *script;      // file name in the workspace, such as train.py
    double seconds;          // wall-clock limit
    int memory_mb;           // limit on memory: resident, all processes of the run together, and
                             // all files that it has written
    uint64_t seed;           // of random and numpy.random
    size_t max_output;       // ceiling in bytes of each of `out` and `err`
    const atomic_bool *cancelled;   // once it is set the run is ended: SANDBOX_FAILED; or NULL
} mla_run_request;

typedef struct mla_run_result {
    mla_outcome outcome;     // OK: exit code 0, whatever was submitted; else SCRIPT_ERROR, KILLED,
                             // TIME_OUT, OUT_OF_MEMORY or SANDBOX_FAILED
    char *error_type;        // "ValueError", "SIGSEGV"; NULL when there is none
    char *out, *err;         // the streams, middle elided above the ceiling, NUL-terminated
    char *submission;        // [submission_len] submission.csv with a NUL after it, or NULL
    size_t submission_len;
    bool has_submission;     // a regular file submission.csv was left
    bool submission_too_big; // above MLA__SUBMISSION_MAX: `submission` is NULL
    double seconds;          // wall time of the script
    double peak_mb;          // highest memory seen, as the limit counts it
} mla_run_result;

// Starts the sandbox and its warm Python. NULL with one clear line when there is no interpreter, or
// no bubblewrap, or namespaces are not allowed. The sandbox dies with the thread that started it,
// so let the thread that uses a runner create it (or one that lives as long).
mla_runner *mla__runner_create(const mla_runner_options *options, mla_err *err);
void mla__runner_free(mla_runner *runner);     // nothing of it is alive or on disk afterwards

// An empty folder for the next run, borrowed: fill it with the state's files, then call
// mla__runner_run. NULL on error.
const char *mla__runner_workspace(mla_runner *runner, mla_err *err);

// Runs a script on a copy of the workspace. A submission.csv in it is left out, as are links. When
// the function returns no process of the run is alive. A warm Python that died is replaced and the
// run done again if its script had not begun; else the outcome is SANDBOX_FAILED. -1 only when the
// sandbox cannot work at all or the request is wrong. `result` is set in both cases; clear it.
MLA_MUST_USE int mla__runner_run(mla_runner *runner, const mla_run_request *request,
                                 mla_run_result *result, mla_err *err);
void mla__run_result_clear(mla_run_result *result);

// The workspace as the last run left it, an open folder, borrowed until the next run or
// mla__runner_workspace; -1 when there was none. It is the script's: follow no link in it.
int mla__runner_left(const mla_runner *runner);

size_t mla__runner_replaced(const mla_runner *runner);      // warm Pythons replaced so far
const char *mla__runner_versions(const mla_runner *runner); // "python 3.11.7 numpy 2.4.6 ...", for
                                                            // cache keys; borrowed
#endif
