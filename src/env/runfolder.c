// Folders that are emptied, handed over and read, even when a script has had its hands in them, or
// another user of this machine in what a killed program left: everything by folder
// descriptor and name, so that no link is followed and no path can lead outside.
#include "env/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define MAX_DEPTH 32          // deeper folders are brought up first

typedef struct walk walk;
struct walk {
    // Called for each entry, after what is in it; -1 stops. `deep`: a folder that was not entered.
    int (*visit)(walk *w, int dir, const char *name, const struct stat *st, bool deep);
    bool force;               // enter folders whose mode forbids it
    int top;
    unsigned moved;
    mla__identity to;
};

static int open_folder(const walk *w, int dir, const char *name) {
    int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir, name, flags);
    if (fd >= 0 || errno != EACCES || !w->force) return fd;
    // fchmodat follows links, but a folder cannot have become one: nothing of the run is alive.
    return fchmodat(dir, name, 0700, 0) < 0 ? -1 : openat(dir, name, flags);
}

// Takes over `fd`.
static int walk_folder(walk *w, int fd, int depth);

static int walk_entry(walk *w, int dir, const char *name, int depth) {
    struct stat st;
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0) return errno == ENOENT ? 0 : -1;
    bool folder = S_ISDIR(st.st_mode), deep = folder && depth >= MAX_DEPTH;
    if (folder && !deep) {
        int fd = open_folder(w, dir, name);
        if (fd < 0 ? w->force : walk_folder(w, fd, depth + 1) < 0) return -1;
    }
    return w->visit(w, dir, name, &st, deep);
}

static int walk_folder(walk *w, int fd, int depth) {
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return -1;
    }
    if (w->force) fchmod(fd, 0700);
    const struct dirent *entry;
    int rc = 0;
    while (rc == 0 && (entry = readdir(dir))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        rc = walk_entry(w, dirfd(dir), entry->d_name, depth);
    }
    int saved = errno;
    closedir(dir);
    errno = saved;
    return rc;
}

static int walk_top(walk *w, int dir) {
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -1 : walk_folder(w, fd, 0);
}

static int visit_remove(walk *w, int dir, const char *name, const struct stat *st, bool deep) {
    if (deep) {
        char fresh[64];
        snprintf(fresh, sizeof fresh, ".mlagent-deep-%u", w->moved++);
        return renameat(dir, name, w->top, fresh);
    }
    int flags = S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0;
    return unlinkat(dir, name, flags) < 0 && errno != ENOENT ? -1 : 0;
}

int mla__folder_empty(int dir, mla_err *err) {
    walk w = {.visit = visit_remove, .force = true, .top = dir};
    unsigned before;
    do {
        before = w.moved;
        if (walk_top(&w, dir) < 0) {
            return mla_err_set(err, "cannot empty a run's workspace: %s", strerror(errno));
        }
    } while (w.moved != before);
    return 0;
}

int mla__folder_remove(int dir, const char *name, mla_err *err) {
    walk w = {.visit = visit_remove, .force = true, .top = dir};
    if (walk_entry(&w, dir, name, 0) == 0) return 0;
    return mla_err_set(err, "cannot remove %s from a run's workspace: %s", name, strerror(errno));
}

static int visit_chown(walk *w, int dir, const char *name, const struct stat *st, bool deep) {
    (void)st;
    (void)deep;
    return fchownat(dir, name, w->to.uid, w->to.gid, AT_SYMLINK_NOFOLLOW);
}

int mla__folder_chown(int dir, mla__identity to, mla_err *err) {
    walk w = {.visit = visit_chown, .top = dir, .to = to};
    if (walk_top(&w, dir) == 0 && fchown(dir, to.uid, to.gid) == 0) return 0;
    return mla_err_set(err, "cannot hand a workspace to the user nobody: %s", strerror(errno));
}

int mla__folder_read(int dir, const char *name, size_t max, char **bytes, size_t *len) {
    *bytes = NULL;
    *len = 0;
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == EACCES && fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISREG(st.st_mode) && fchmodat(dir, name, 0600, 0) == 0) {
        fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    }
    if (fd < 0) return 0;
    int rc = 0;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
        rc = st.st_size > (off_t)max ? -1 : 1;
    }
    if (rc == 1) {
        *bytes = mla_alloc((size_t)st.st_size + 1, 1);
        ssize_t n;
        while (*len < (size_t)st.st_size &&
               (n = read(fd, *bytes + *len, (size_t)st.st_size - *len)) > 0) {
            *len += (size_t)n;
        }
    }
    close(fd);
    return rc;
}
