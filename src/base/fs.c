// Files: reads with a ceiling, atomic writes, folders.
#include "base/fs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static int fail(mla_err *err, const char *doing, const char *path) {
    return mla_err_set(err, "%s: cannot %s: %s", path, doing, strerror(errno));
}

static int read_fd(int fd, const char *path, size_t max, mla_buf *out, mla_err *err) {
    char chunk[65536];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail(err, "read", path);
        if (n == 0) return 0;
        mla_buf_append(out, chunk, (size_t)n);
        if (out->truncated) return mla_err_set(err, "%s: longer than %zu bytes", path, max);
    }
}

int mla_fs_read(const char *path, size_t max, mla_buf *out, mla_err *err) {
    mla_buf_init(out, max);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(err, "open", path);
    int rc = read_fd(fd, path, max, out, err);
    close(fd);
    if (rc < 0) mla_buf_clear(out);
    return rc;
}

int mla_fs_write_all(int fd, const void *bytes, size_t len, mla_err *err) {
    const char *p = bytes;
    while (len) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mla_err_set(err, "cannot write: %s", strerror(errno));
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

int mla_fs_write(const char *path, const void *bytes, size_t len, mla_err *err) {
    char *tmp = mla_format("%s.tmp", path);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int rc = fd < 0 ? fail(err, "create", tmp) : 0;
    if (rc == 0 && (rc = mla_fs_write_all(fd, bytes, len, err)) < 0) mla_err_wrap(err, "%s", tmp);
    if (rc == 0 && fsync(fd) < 0) rc = fail(err, "sync", tmp);
    if (fd >= 0 && close(fd) < 0 && rc == 0) rc = fail(err, "close", tmp);
    if (rc == 0 && rename(tmp, path) < 0) rc = fail(err, "rename to", path);
    if (rc < 0) unlink(tmp);
    free(tmp);
    return rc;
}

static int sync_dir(const char *path, mla_err *err) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(err, "open", path);
    int rc = fsync(fd) < 0 ? fail(err, "sync", path) : 0;
    close(fd);
    return rc;
}

int mla_fs_replace_dir(const char *from, const char *to, mla_err *err) {
    if (sync_dir(from, err) < 0) return -1;
    char *aside = mla_format("%s.old", to);
    int rc = mla_fs_exists(aside) ? mla_fs_remove_tree(aside, err) : 0;
    bool moved = rc == 0 && mla_fs_exists(to);
    if (moved && rename(to, aside) < 0) rc = fail(err, "move aside", to);
    if (rc == 0 && rename(from, to) < 0) rc = fail(err, "rename to", to);
    if (rc == 0 && moved) rc = mla_fs_remove_tree(aside, err);
    free(aside);
    return rc;
}

int mla_fs_mkdirs(const char *path, mla_err *err) {
    char *copy = mla_strdup(path);
    for (char *p = copy + 1; *copy; p++) {
        if (*p != '/' && *p != '\0') continue;
        char was = *p;
        *p = '\0';
        if (mkdir(copy, 0755) < 0 && errno != EEXIST) {
            fail(err, "make folder", copy);
            free(copy);
            return -1;
        }
        if (!was) break;
        *p = was;
    }
    free(copy);
    if (!mla_fs_is_dir(path)) return mla_err_set(err, "%s: is not a folder", path);
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void)st, (void)ftw;
    // A folder that its owner made unreadable must not survive.
    if (type == FTW_DNR && chmod(path, 0700) == 0) return remove(path);
    return remove(path) < 0 && errno != ENOENT ? -1 : 0;
}

int mla_fs_remove_tree(const char *path, mla_err *err) {
    if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT) {
        return fail(err, "remove", path);
    }
    return 0;
}

int mla_fs_copy_file(const char *from, const char *to, mla_err *err) {
    mla_buf bytes;
    if (mla_fs_read(from, (size_t)1 << 30, &bytes, err) < 0) return -1;
    int rc = mla_fs_write(to, mla_buf_text(&bytes), bytes.len, err);
    mla_buf_clear(&bytes);
    return rc;
}

bool mla_fs_exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

bool mla_fs_is_dir(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t mla_fs_size(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

char *mla_fs_join(const char *dir, const char *name) {
    size_t n = strlen(dir);
    return mla_format("%s%s%s", dir, n && dir[n - 1] == '/' ? "" : "/", name);
}

char *mla_fs_self_dir(void) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n < 0) return mla_strdup(".");
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (slash) *slash = '\0';
    return mla_strdup(path);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int mla_fs_list(const char *dir, char ***names, size_t *count, mla_err *err) {
    *names = NULL;
    *count = 0;
    DIR *d = opendir(dir);
    if (!d) return fail(err, "list", dir);
    size_t cap = 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        MLA_GROW(*names, cap, *count + 1);
        (*names)[(*count)++] = mla_strdup(e->d_name);
    }
    closedir(d);
    if (*count) qsort(*names, *count, sizeof **names, by_name);
    return 0;
}

void mla_fs_names_free(char **names, size_t count) {
    for (size_t i = 0; i < count; i++) free(names[i]);
    free(names);
}

char *mla_home(void) {
    const char *home = getenv("MLAGENT_HOME");
    if (home && *home) return mla_strdup(home);
    home = getenv("XDG_DATA_HOME");
    if (home && *home) return mla_fs_join(home, "mlagent");
    home = getenv("HOME");
    return mla_fs_join(home && *home ? home : "/", ".local/share/mlagent");
}
