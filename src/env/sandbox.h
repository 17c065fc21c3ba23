// What the runner's own files share: the sandbox, the warm Python in it, the run folder, the watch.
// Nothing else in the room includes this.
#ifndef MLA_ENV_SANDBOX_H
#define MLA_ENV_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "env/cgroup.h"
#include "env/protections.h"
#include "env/runner.h"

// ---- seccomp.c: a filter as BPF bytes; `strict` is the scripts' one. `out` is initialised here.
MLA_MUST_USE int mla__seccomp_build(bool strict, mla_buf *out, mla_err *err);

// ---- sandbox.c: bubblewrap around one Python
typedef struct mla__python {
    char *executable;    // as the interpreter names itself, so that a venv stays one
    char *prefix;        // of the venv, resolved
    char *base_prefix;   // of the interpreter that it was made from, resolved
} mla__python;

MLA_MUST_USE int mla__python_find(mla__python *out, const char *path, mla_err *err);
void mla__python_clear(mla__python *python);

typedef struct mla__sandbox {
    pid_t pid;           // bubblewrap; -1 when there is none
    int control;         // our end of the socket to the Python inside
    int log;             // what bubblewrap and Python wrote to their standard error
} mla__sandbox;

// The uid and gid that runs have on the host: ours, or nobody's when we are root.
typedef struct mla__identity {
    uid_t uid;
    gid_t gid;
} mla__identity;
mla__identity mla__sandbox_identity(void);

// What a sandbox is made of, beside its interpreter; all borrowed.
typedef struct mla__place {
    const char *data_root;      // read-only in it; or NULL
    const char *workspace;      // the files of the next run, read-only too
    const mla__cgroup *cgroup;  // what it is put into
} mla__place;

// Starts `code` in a new sandbox. The caller speaks with it over `control`.
MLA_MUST_USE int mla__sandbox_start(mla__sandbox *out, const mla__python *python,
                                    const mla__place *place, const char *code, mla_err *err);
// Why a sandbox ended before it was ready, as one line.
int mla__sandbox_explain(const mla__sandbox *sandbox, const mla__python *python, mla_err *err);
// Ends it and everything in it; `inside` is a pidfd of the Python in it, or -1.
void mla__sandbox_stop(mla__sandbox *sandbox, int inside);

// ---- warm.c: the warm Python
typedef struct mla__warm {
    mla__sandbox sandbox;
    pid_t pid;           // host's pid of the Python
    int pidfd;           // the same, proof against reuse
    char *versions;
    json_t *namespaces;  // of the sandbox, as in /proc/self/ns
} mla__warm;

MLA_MUST_USE int mla__warm_start(mla__warm *warm, const mla__python *python,
                                 const mla__place *place, mla_err *err);
void mla__warm_stop(mla__warm *warm);
// Sends one message, with `fd_count` (at most 2) descriptors. -1: the warm Python is gone.
MLA_MUST_USE int mla__warm_send(mla__warm *warm, const json_t *message, const int *fds,
                                size_t fd_count);
// Takes one message, the host's pid of its sender, and [fd_count] descriptors, -1 where none came.
// NULL: the warm Python is gone.
json_t *mla__warm_receive(mla__warm *warm, pid_t *sender, int *fds, size_t fd_count);

// ---- runfolder.c: folders that are emptied, handed over and read. A script may have had its hands
// in one, so nothing here follows a link or goes up.
MLA_MUST_USE int mla__folder_empty(int dir, mla_err *err);
MLA_MUST_USE int mla__folder_chown(int dir, mla__identity to, mla_err *err);
// Removes one entry, file or folder, if it is there.
MLA_MUST_USE int mla__folder_remove(int dir, const char *name, mla_err *err);
// Reads a regular file of at most `max` bytes: 1 and its bytes (NUL after them; caller frees), 0
// when there is no regular file of this name, -1 when it is longer.
int mla__folder_read(int dir, const char *name, size_t max, char **bytes, size_t *len);

// ---- watch.c: memory, in MB, of the descendants of a process, and of file systems in memory.
// Above the limit it looks closer, for what processes share.
bool mla__watch_works(void);         // whether this kernel tells what it takes
double mla__watch_memory(pid_t root, const int *folders, size_t n_folders, double limit_mb);

// ---- capture.c: one output stream, its middle left out above the ceiling
typedef struct mla__capture {
    char *head, *tail;   // [half] each; `tail` is a ring
    size_t half, total;
} mla__capture;

void mla__capture_init(mla__capture *capture, size_t max);
void mla__capture_clear(mla__capture *capture);
// Reads what is there: 1 when more may come, 0 at the end of the stream.
int mla__capture_read(mla__capture *capture, int fd);
char *mla__capture_text(const mla__capture *capture);   // valid UTF-8 without NULs; caller frees

// ---- protections.c: the script that looks around, and what its output means
extern const char mla__probe_script[];
MLA_MUST_USE int mla__protections_judge(const mla_runner *runner, const char *seen,
                                        mla_protection out[MLA_PROTECTIONS_MAX], size_t *n,
                                        mla_err *err);

// ---- runner.c, execute.c: the runner and one try at a run
#define MLA__RUN_FOLDERS 3
#define MLA__PROCESSES 256     // of a run; threads count too

struct mla_runner {
    mla__python python;
    char *data_root;           // resolved; NULL when there is none
    char *folder, *workspace;  // on the host: the files that the next run begins with
    int dir;                   // the workspace
    int left[MLA__RUN_FOLDERS];  // what the last run wrote to: its workspace, /tmp, /dev/shm; or -1
    int lock;                  // on `folder`, for as long as the runner lives
    mla__identity runs_as;
    mla__cgroup cgroup;
    mla_protection protections[MLA_PROTECTIONS_MAX];
    size_t n_protections;
    int index;
    int threads;               // of a script
    double patience;           // seconds from a request to its script, and from a script's end to
                               // the last process gone; then the sandbox is replaced
    mla__warm warm;
    size_t replaced;
};

MLA_MUST_USE int mla__runner_warm_up(mla_runner *runner, mla_err *err);
void mla__runner_let_go(mla_runner *runner);     // of what the last run left
// 0: done; 1: the sandbox broke before the script began, 2: after; -1: a wrong request. When it
// broke, `err` says how and the warm Python is stopped.
MLA_MUST_USE int mla__attempt(mla_runner *runner, const mla_run_request *request,
                              mla_run_result *result, mla_err *err);

#endif
