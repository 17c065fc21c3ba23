// JSON lines on disk: whole lines are appended, or not at all. It leaves out what a line
// means: step_json.c and the stages that write metrics.
#include "record/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

#define SYNC_SECONDS 1.0
#define LINE_MAX_BYTES ((size_t)64 << 20)   // a step is some 100 kB; more is not one of our files

struct mla_lines {
    int fd;
    char *path;
    off_t end;      // where the last whole line ends
    double synced_at;
};

static int fail(mla_err *err, const char *path, const char *doing) {
    return mla_err_set(err, "%s: cannot %s: %s", path, doing, strerror(errno));
}

static ssize_t pread_retried(int fd, void *into, size_t len, off_t at) {
    ssize_t n;
    do {
        n = pread(fd, into, len, at);
    } while (n < 0 && errno == EINTR);
    return n;
}

// The offset after the last newline of `size` bytes, or -1.
static off_t end_of_lines(int fd, off_t size) {
    char chunk[65536];
    for (off_t to = size; to > 0;) {
        off_t from = to > (off_t)sizeof chunk ? to - (off_t)sizeof chunk : 0;
        ssize_t n = pread_retried(fd, chunk, (size_t)(to - from), from);
        if (n <= 0) return -1;
        const char *newline = memrchr(chunk, '\n', (size_t)n);
        if (newline) return from + (newline - chunk) + 1;
        to = from;
    }
    return 0;
}

static int cut_torn_line(mla_lines *lines, mla_err *err) {
    struct stat st;
    if (fstat(lines->fd, &st) < 0) return fail(err, lines->path, "read");
    if (!S_ISREG(st.st_mode)) return mla_err_set(err, "%s: is not a regular file", lines->path);
    lines->end = end_of_lines(lines->fd, st.st_size);
    if (lines->end < 0) return fail(err, lines->path, "read");
    if (lines->end < st.st_size && ftruncate(lines->fd, lines->end) < 0) {
        return fail(err, lines->path, "cut off its torn last line");
    }
    return 0;
}

mla_lines *mla_lines_open(const char *path, mla_err *err) {
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        fail(err, path, "open");
        return NULL;
    }
    mla_lines *lines = MLA_NEW(mla_lines);
    lines->fd = fd;
    lines->path = mla_strdup(path);
    if (cut_torn_line(lines, err) == 0) return lines;
    mla_lines_close(lines);
    return NULL;
}

// Lines that come in quick succession share a sync, which costs more than all else of a line.
static int sync_at_times(mla_lines *lines) {
    double now = mla_clock();
    if (now - lines->synced_at < SYNC_SECONDS) return 0;
    lines->synced_at = now;
    return fdatasync(lines->fd);
}

// Writes at the end; 0 when the kernel has all of it.
static int write_at_end(mla_lines *lines, const char *bytes, size_t len) {
    for (size_t done = 0; done < len;) {
        ssize_t n = pwrite(lines->fd, bytes + done, len - done, lines->end + (off_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        done += (size_t)n;
    }
    return sync_at_times(lines);
}

int mla_lines_append_take(mla_lines *lines, json_t *object, mla_err *err) {
    char *text = mla_json_line(object);
    json_decref(object);
    size_t len = strlen(text);
    text[len++] = '\n';     // in the place of the NUL: the text is a counted run of bytes from here
    int rc = 0;
    if (write_at_end(lines, text, len) < 0) {
        rc = fail(err, lines->path, "append a line");
        if (ftruncate(lines->fd, lines->end) < 0) {
            mla_err_wrap(err, "half a line was left, which the next writer cuts off");
        }
    } else {
        lines->end += (off_t)len;
    }
    free(text);
    return rc;
}

void mla_lines_close(mla_lines *lines) {
    if (!lines) return;
    fsync(lines->fd);
    close(lines->fd);
    free(lines->path);
    free(lines);
}

typedef struct line_reader {
    const char *path;
    int (*each)(void *ctx, json_t *object, mla_err *);
    void *ctx;
    mla_buf line;           // the line so far
    long number;            // of the line, from 1
} line_reader;

static int end_line(line_reader *r, mla_err *err) {
    r->number++;
    mla_err why = {{0}};
    json_t *object = mla_json_parse(mla_buf_text(&r->line), r->line.len, "it", &why);
    int rc = json_is_object(object) ? r->each(r->ctx, object, err) : -1;
    if (!json_is_object(object)) {
        const char *reason = strstr(why.text, "not JSON");
        mla_err_set(err, "%s; mend the line, or take it out of the file",
                    reason ? reason : "not a JSON object");
    }
    if (rc < 0) mla_err_wrap(err, "%s: line %ld", r->path, r->number);
    json_decref(object);
    mla_buf_reset(&r->line);
    return rc < 0 ? -1 : 0;
}

static int take_bytes(line_reader *r, const char *bytes, size_t len, mla_err *err) {
    while (len) {
        const char *newline = memchr(bytes, '\n', len);
        size_t part = newline ? (size_t)(newline - bytes) : len;
        mla_buf_append(&r->line, bytes, part);
        if (r->line.truncated) {
            return mla_err_set(err, "%s: line %ld: longer than %zu bytes", r->path, r->number + 1,
                               LINE_MAX_BYTES);
        }
        if (!newline) return 0;
        if (end_line(r, err) < 0) return -1;
        bytes += part + 1;
        len -= part + 1;
    }
    return 0;
}

static int read_lines(line_reader *r, int fd, mla_err *err) {
    char chunk[65536];
    for (off_t at = 0;;) {
        ssize_t n = pread_retried(fd, chunk, sizeof chunk, at);
        if (n < 0) return fail(err, r->path, "read");
        if (n == 0) return 0;       // what is left in r->line is a torn last line
        if (take_bytes(r, chunk, (size_t)n, err) < 0) return -1;
        at += n;
    }
}

int mla_lines_read(const char *path, int (*each)(void *ctx, json_t *object, mla_err *), void *ctx,
                   mla_err *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? 0 : fail(err, path, "open");
    line_reader r = {.path = path, .each = each, .ctx = ctx};
    mla_buf_init(&r.line, LINE_MAX_BYTES);
    int rc = read_lines(&r, fd, err);
    mla_buf_clear(&r.line);
    close(fd);
    return rc;
}

typedef struct {
    mla_buf kept;
    const char *key;
    long long last;
} trim;

static int keep_line(void *ctx, json_t *object, mla_err *err) {
    (void)err;
    trim *t = ctx;
    if (mla_json_get_int(object, t->key, 0) > t->last) return 0;
    char *line = mla_json_line(object);
    mla_buf_puts(&t->kept, line);
    mla_buf_puts(&t->kept, "\n");
    free(line);
    return 0;
}

int mla_lines_trim(const char *path, const char *key, long long last, mla_err *err) {
    if (!mla_fs_exists(path)) return 0;
    trim t = {.key = key, .last = last};
    mla_buf_init(&t.kept, (size_t)4 << 30);
    int rc = mla_lines_read(path, keep_line, &t, err);
    if (rc == 0) rc = mla_fs_write(path, mla_buf_text(&t.kept), t.kept.len, err);
    mla_buf_clear(&t.kept);
    return rc;
}

int mla_store_append(mla_lines *lines, const mla_step *step, mla_err *err) {
    return mla_lines_append_take(lines, mla_step_to_json(step), err);
}

static int push_step(void *ctx, json_t *object, mla_err *err) {
    mla_step step;
    if (!json_object_get(object, "version")) {
        return mla_err_set(err, "not a step record (it has no \"version\"); what other programs "
                           "wrote comes in by `mlagent collect import`");
    }
    if (mla_step_from_json(&step, object, err) < 0) return -1;
    mla_steps_push_take(ctx, &step);
    return 0;
}

int mla_store_read(const char *path, mla_steps *out, mla_err *err) {
    *out = (mla_steps){0};
    if (mla_lines_read(path, push_step, out, err) == 0) return 0;
    mla_steps_clear(out);
    return -1;
}
