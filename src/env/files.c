// The files of a state, in memory. A state's files are few and small: one flat folder; data are
// mounted beside it and are no part of it. On disk they exist only while a script runs.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "env/internal.h"

void mla__files_clear(mla__files *files) {
    for (size_t i = 0; i < files->len; i++) {
        free(files->items[i].name);
        free(files->items[i].bytes);
    }
    files->len = 0;
}

// Where `name` is, or would be.
static size_t place_of(const mla__files *files, const char *name) {
    size_t at = 0;
    while (at < files->len && strcmp(files->items[at].name, name) < 0) at++;
    return at;
}

const mla__file *mla__files_get(const mla__files *files, const char *name) {
    size_t at = place_of(files, name);
    return at < files->len && !strcmp(files->items[at].name, name) ? &files->items[at] : NULL;
}

// No folder, nothing hidden, nothing that a shell, a terminal or git would read as something else.
static bool is_plain(const char *name) {
    size_t n = strlen(name);
    if (!n || n > MLA__NAME_MAX || name[0] == '.' || name[0] == '-') return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)name[i];
        if (c < ' ' || c == 127 || c == '/' || c == '\\') return false;
    }
    return true;
}

int mla__files_put(mla__files *files, const char *name, const char *bytes, size_t len,
                   mla_err *err) {
    if (!is_plain(name)) return mla_err_set(err, "\"%.100s\" is not a plain file name", name);
    if (len > MLA__FILE_MAX) {
        return mla_err_set(err, "%s: longer than %zu bytes", name, MLA__FILE_MAX);
    }
    size_t at = place_of(files, name);
    if (at < files->len && !strcmp(files->items[at].name, name)) {
        free(files->items[at].bytes);
    } else {
        if (files->len == MLA__FILES_MAX) {
            return mla_err_set(err, "%s: more than %d files", name, MLA__FILES_MAX);
        }
        memmove(files->items + at + 1, files->items + at,
                (files->len - at) * sizeof *files->items);
        files->len++;
        files->items[at].name = mla_strdup(name);
    }
    files->items[at].bytes = mla_strndup(bytes, len);
    files->items[at].len = len;
    return 0;
}

void mla__files_remove(mla__files *files, const char *name) {
    size_t at = place_of(files, name);
    if (at == files->len || strcmp(files->items[at].name, name)) return;
    free(files->items[at].name);
    free(files->items[at].bytes);
    files->len--;
    memmove(files->items + at, files->items + at + 1, (files->len - at) * sizeof *files->items);
}

static int load_one(mla__files *files, const char *dir, const char *name, mla_err *err) {
    char *path = mla_fs_join(dir, name);
    struct stat st;
    int rc = lstat(path, &st);
    if (rc < 0 || !S_ISREG(st.st_mode)) {
        rc = mla_err_set(err, "%s: not a plain file; a task's env folder holds plain files only",
                         path);
    }
    mla_buf bytes = {0};
    if (rc == 0) rc = mla_fs_read(path, MLA__FILE_MAX, &bytes, err);
    if (rc == 0) rc = mla__files_put(files, name, mla_buf_text(&bytes), bytes.len, err);
    mla_buf_clear(&bytes);
    free(path);
    return rc;
}

int mla__files_load(mla__files *files, const char *dir, mla_err *err) {
    char **names;
    size_t count;
    if (mla_fs_list(dir, &names, &count, err) < 0) return -1;
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (names[i][0] == '.' || !strcmp(names[i], "__pycache__")) continue;
        rc = load_one(files, dir, names[i], err);
    }
    mla_fs_names_free(names, count);
    return rc;
}

static int write_one(int dir_fd, const mla__file *file, const char *dir, mla_err *err) {
    int fd = openat(dir_fd, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0) {
        return mla_err_set(err, "%s/%s: cannot create: %s", dir, file->name, strerror(errno));
    }
    int rc = mla_fs_write_all(fd, file->bytes, file->len, err);
    if (rc < 0) mla_err_wrap(err, "%s/%s", dir, file->name);
    close(fd);
    return rc;
}

int mla__files_write(const mla__files *files, const char *dir, mla_err *err) {
    int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir_fd < 0) return mla_err_set(err, "%s: cannot open: %s", dir, strerror(errno));
    int rc = 0;
    for (size_t i = 0; i < files->len && rc == 0; i++) {
        rc = write_one(dir_fd, &files->items[i], dir, err);
    }
    close(dir_fd);
    return rc;
}

// The next part of a path, empty ones and "." passed over; len 0 at its end.
static mla__slice next_part(const char **at) {
    mla__slice part;
    do {
        *at += strspn(*at, "/");
        part = (mla__slice){*at, strcspn(*at, "/")};
        *at += part.len;
    } while (part.len == 1 && *part.at == '.');
    return part;
}

char *mla__path_clean(const char *path) {
    if (*path == '/') return NULL;
    const char *p = path;
    mla__slice first = next_part(&p), second = next_part(&p), third = next_part(&p);
    size_t n = strlen(path);
    bool is_folder = n && (path[n - 1] == '/' || (n > 1 && !strcmp(path + n - 2, "/.")));
    bool data = first.len == 4 && !memcmp(first.at, "data", 4);
    if (third.len || (second.len && !data)) return NULL;
    if (is_folder && (second.len || (first.len && !data))) return NULL;     // "train.py/"
    char *clean = second.len ? mla_format("data/%.*s", (int)second.len, second.at)
                             : mla_strndup(first.at, first.len);
    const char *name = second.len ? clean + 5 : clean;
    if (first.len && !is_plain(name)) {
        free(clean);
        return NULL;
    }
    return clean;
}

bool mla__name_is_new(const char *name) {
    static const char good[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    return is_plain(name) && !name[strspn(name, good)] && strcasecmp(name, "data") &&
           strcasecmp(name, "submission.csv");
}
