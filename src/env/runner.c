// A runner's life: its folder on the host, its sandbox, the probe that shows whether runs work
// here, and the end of it all. Leaves out: what a run is (execute.c).
#include "env/runner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "env/sandbox.h"

#define FOLDER_PREFIX "mlagent-runner-"
#define YOUNG_SECONDS 60       // a folder may be about to be locked by its maker
#define PATIENCE 20.0

static const char *temporary(void) {
    const char *tmp = getenv("TMPDIR");
    return tmp && *tmp == '/' ? tmp : "/tmp";
}

// A program that was killed leaves its folder; the lock on it is free then.
static void sweep_one(int tmp, const char *name) {
    int dir = openat(tmp, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (dir >= 0 && fstat(dir, &st) == 0 && st.st_uid == geteuid() &&
        time(NULL) - st.st_mtime > YOUNG_SECONDS && flock(dir, LOCK_EX | LOCK_NB) == 0) {
        mla_err err = {0};
        if (mla__folder_remove(tmp, name, &err) < 0) mla_debug("%s", err.text);
    }
    if (dir >= 0) close(dir);
}

static void sweep(void) {
    DIR *tmp = opendir(temporary());
    const struct dirent *entry;
    while (tmp && (entry = readdir(tmp))) {
        if (strncmp(entry->d_name, FOLDER_PREFIX, sizeof FOLDER_PREFIX - 1) == 0) {
            sweep_one(dirfd(tmp), entry->d_name);
        }
    }
    if (tmp) closedir(tmp);
}

static int make_folder(mla_runner *runner, mla_err *err) {
    runner->folder = mla_format("%s/" FOLDER_PREFIX "XXXXXX", temporary());
    if (!mkdtemp(runner->folder)) {
        mla_err_set(err, "cannot make a folder for runs at %s: %s", runner->folder,
                    strerror(errno));
        free(runner->folder);
        runner->folder = NULL;
        return -1;
    }
    runner->lock = open(runner->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (runner->lock < 0 || flock(runner->lock, LOCK_EX | LOCK_NB) < 0) {
        return mla_err_set(err, "cannot lock %s: %s", runner->folder, strerror(errno));
    }
    runner->workspace = mla_fs_join(runner->folder, "workspace");
    if (mkdir(runner->workspace, 0700) == 0) {
        runner->dir = open(runner->workspace, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    if (runner->dir >= 0) return 0;
    return mla_err_set(err, "cannot make %s: %s", runner->workspace, strerror(errno));
}

// The interpreter's folders are visible in the sandbox: data in them, and answers beside it, too.
static int resolve_data(mla_runner *runner, const char *data_root, mla_err *err) {
    if (!data_root) return 0;
    runner->data_root = realpath(data_root, NULL);
    if (!runner->data_root) {
        return mla_err_set(err, "cannot find the tasks' data at %s: %s; run: mlagent tasks prepare",
                           data_root, strerror(errno));
    }
    const char *seen[] = {"/usr", runner->python.prefix, runner->python.base_prefix};
    for (size_t i = 0; i < MLA_COUNT(seen); i++) {
        size_t n = strlen(seen[i]);
        if (strncmp(runner->data_root, seen[i], n) == 0 && runner->data_root[n] == '/') {
            return mla_err_set(err, "%s lies below %s, which scripts can read: keep data and "
                                    "answers elsewhere (MLAGENT_HOME)", data_root, seen[i]);
        }
    }
    return 0;
}

int mla__runner_warm_up(mla_runner *runner, mla_err *err) {
    const mla__place place = {.data_root = runner->data_root, .workspace = runner->workspace,
                              .cgroup = &runner->cgroup};
    if (mla__warm_start(&runner->warm, &runner->python, &place, err) < 0) return -1;
    if (mla__cgroup_holds(&runner->cgroup, runner->warm.pid)) return 0;
    // One of two groups may hold it, and goes only with all that is in it.
    mla_debug("worker %d: its control group does not take it", runner->index);
    mla__warm_stop(&runner->warm);
    mla__cgroup_close(&runner->cgroup);
    return mla__warm_start(&runner->warm, &runner->python, &place, err);
}

void mla__runner_let_go(mla_runner *runner) {
    for (size_t i = 0; i < MLA__RUN_FOLDERS; i++) {
        if (runner->left[i] >= 0) close(runner->left[i]);
        runner->left[i] = -1;
    }
}

int mla__runner_left(const mla_runner *runner) {
    return runner->left[0];
}

// The required protections that are not given, as one list; empty when there is none.
static void list_missing(const mla_runner *runner, mla_buf *out) {
    mla_buf_init(out, 600);
    for (size_t i = 0; i < runner->n_protections; i++) {
        const mla_protection *p = &runner->protections[i];
        if (p->required && !p->given) {
            mla_buf_printf(out, "%s%s (%s)", out->len ? ", " : "", p->name, p->how);
        }
    }
}

static int judge(mla_runner *runner, const char *seen, bool allow_weaker, mla_err *err) {
    mla_buf missing;
    int rc = mla__protections_judge(runner, seen, runner->protections, &runner->n_protections, err);
    if (rc < 0) return rc;
    list_missing(runner, &missing);
    if (missing.len && allow_weaker) {
        mla_warn("scripts run with fewer protections than they should: without %s",
                 mla_buf_text(&missing));
    } else if (missing.len) {
        rc = mla_err_set(err, "scripts are not run, as this machine's sandbox is without %s: see "
                              "mlagent env --check and docs/sandbox.md, or give "
                              "--allow-weaker-sandbox", mla_buf_text(&missing));
    }
    mla_buf_clear(&missing);
    return rc;
}

// A run that looks around, to learn now and not from every run what this machine does not allow.
static int probe(mla_runner *runner, bool allow_weaker, mla_err *err) {
    mla_run_request request = {.script = "probe.py", .seconds = 60, .memory_mb = 4096,
                               .max_output = 16384};
    mla_run_result result = {0};
    char *path = mla_fs_join(runner->workspace, request.script);
    int rc = mla_fs_write(path, mla__probe_script, strlen(mla__probe_script), err);
    free(path);
    if (rc < 0) return -1;
    rc = mla__attempt(runner, &request, &result, err);
    if (rc > 0) {
        mla_err_wrap(err, "the sandbox starts, but no run in it does (a run takes namespaces of "
                          "its own: the machine or container must allow nested ones)");
    } else if (rc == 0 && result.outcome != MLA_OUTCOME_OK) {
        rc = mla_err_set(err, "a script that looks around ends in the sandbox with \"%s\" (%s): "
                              "run scripts/setup", mla_outcome_name(result.outcome),
                         result.error_type ? result.error_type : "no exception");
    } else if (rc == 0) {
        rc = judge(runner, result.out, allow_weaker, err);
    }
    mla__run_result_clear(&result);
    return rc == 0 ? 0 : -1;
}

mla_runner *mla__runner_create(const mla_runner_options *options, mla_err *err) {
    sweep();
    mla_runner *runner = MLA_NEW(mla_runner);
    runner->dir = runner->lock = -1;
    memset(runner->left, -1, sizeof runner->left);
    runner->cgroup = (mla__cgroup){.locks = {-1, -1}};
    if (!options->no_cgroup) mla__cgroup_open(&runner->cgroup);
    runner->index = options->index;
    runner->threads = options->threads > 1 ? options->threads : 1;
    runner->patience = PATIENCE;
    runner->runs_as = mla__sandbox_identity();
    runner->warm.sandbox = (mla__sandbox){.pid = -1, .control = -1, .log = -1};
    if (mla__python_find(&runner->python, options->python, err) < 0 ||
        resolve_data(runner, options->data_root, err) < 0 || make_folder(runner, err) < 0 ||
        mla__folder_chown(runner->dir, runner->runs_as, err) < 0 ||
        mla__runner_warm_up(runner, err) < 0 || probe(runner, options->allow_weaker, err) < 0) {
        mla__runner_free(runner);
        return NULL;
    }
    return runner;
}

void mla__runner_free(mla_runner *runner) {
    if (!runner) return;
    mla__runner_let_go(runner);
    mla__warm_stop(&runner->warm);
    mla__cgroup_close(&runner->cgroup);
    mla_err err = {0};
    if (runner->dir >= 0) {
        if (mla__folder_empty(runner->dir, &err) < 0) mla_warn("%s", err.text);
        close(runner->dir);
        rmdir(runner->workspace);
    }
    if (runner->folder) rmdir(runner->folder);
    if (runner->lock >= 0) close(runner->lock);
    mla__python_clear(&runner->python);
    free(runner->data_root);
    free(runner->folder);
    free(runner->workspace);
    free(runner);
}

const char *mla__runner_workspace(mla_runner *runner, mla_err *err) {
    mla__runner_let_go(runner);
    return mla__folder_empty(runner->dir, err) < 0 ? NULL : runner->workspace;
}

size_t mla__runner_replaced(const mla_runner *runner) {
    return runner->replaced;
}

const char *mla__runner_versions(const mla_runner *runner) {
    return runner->warm.versions ? runner->warm.versions : "";
}
