// Trials and what is left of them (trial.h). Their names begin with a dot, as no task's does, so
// that none is taken for the staging folder of a preparation.
#include "task/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

#define PREFIX ".new-"

static void remove_or_warn(const char *dir) {
    mla_err err;
    if (mla_fs_remove_tree(dir, &err) < 0) mla_warn("%s", err.text);
}

// The descriptor is closed in programs that are started: a script must not reach the answers by it.
static int open_dir(const char *dir) {
    return open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static void sweep_one(const char *dir) {
    int fd = open_dir(dir);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) remove_or_warn(dir);
    close(fd);
}

void mla_trial_sweep(const char *home) {
    char *staging = mla_fs_join(home, "staging"), **names;
    size_t n;
    mla_err ignored;
    if (mla_fs_is_dir(staging) && mla_fs_list(staging, &names, &n, &ignored) == 0) {
        for (size_t i = 0; i < n; i++) {
            char *dir = mla_fs_join(staging, names[i]);
            if (strncmp(names[i], PREFIX, strlen(PREFIX)) == 0) sweep_one(dir);
            free(dir);
        }
        mla_fs_names_free(names, n);
    }
    free(staging);
}

// Makes and locks a folder. 0: somebody's sweep took it for a dead one's before it was locked.
static int try_begin(mla_trial *trial, mla_err *err) {
    struct stat held, there;
    if (!mkdtemp(trial->dir)) {
        return mla_err_set(err, "%s: cannot make it: %s", trial->dir, strerror(errno));
    }
    trial->lock = open_dir(trial->dir);
    if (trial->lock < 0 && errno != ENOENT) {
        return mla_err_set(err, "%s: cannot open: %s", trial->dir, strerror(errno));
    }
    if (trial->lock < 0) return 0;
    if (flock(trial->lock, LOCK_EX) == 0 && fstat(trial->lock, &held) == 0 &&
        stat(trial->dir, &there) == 0 && held.st_ino == there.st_ino) {
        return 1;
    }
    close(trial->lock);
    return 0;
}

int mla_trial_begin(mla_trial *trial, const char *home, mla_err *err) {
    *trial = (mla_trial){.lock = -1};
    char *staging = mla_fs_join(home, "staging");
    int rc = mla_fs_mkdirs(staging, err);
    if (rc == 0) mla_trial_sweep(home);
    while (rc == 0) {
        free(trial->dir);
        trial->dir = mla_format("%s/" PREFIX "XXXXXX", staging);
        rc = try_begin(trial, err);
    }
    free(staging);
    return rc < 0 ? -1 : 0;
}

void mla_trial_end(mla_trial *trial) {
    if (trial->dir) remove_or_warn(trial->dir);
    if (trial->lock >= 0) close(trial->lock);
    free(trial->dir);
    *trial = (mla_trial){.lock = -1};
}
