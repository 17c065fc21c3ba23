// Child processes. A child that could not be started is told from one that started and failed: the
// errno of a failed exec comes back on a close-on-exec pipe.
#ifndef MLA_BASE_PROC_H
#define MLA_BASE_PROC_H

#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct mla_proc_result {
    int exit_code;      // exit status, or -1 if a signal ended it
    int signal;         // the signal, or 0
    double seconds;     // wall time
    bool timed_out;     // our clock ended it
    bool stopped;       // Ctrl-C did (mla_stop_wanted)
} mla_proc_result;

typedef struct mla_proc_spawned {
    pid_t pid;
    int in, out, err;   // our ends of its standard streams; -1 where not piped
} mla_proc_spawned;

// Starts argv[0] (looked up in PATH) with piped standard streams in its own session and process
// group. `env` NULL keeps ours. `keep_fd` (or -1) stays open in the child under the same number.
MLA_MUST_USE int mla_proc_spawn(mla_proc_spawned *out, char *const argv[], char *const env[],
                                const char *cwd, int keep_fd, mla_err *err);
// Runs to the end, both streams into `output` (its ceiling holds; may be NULL), killing the whole
// process group after `limit_seconds` (0: none) or when mla_stop_wanted().
MLA_MUST_USE int mla_proc_run(char *const argv[], char *const env[], const char *cwd,
                              double limit_seconds, mla_buf *output, mla_proc_result *result,
                              mla_err *err);

#endif
