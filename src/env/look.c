// Looking: List Files and Inspect Script Lines (Understand File: understand.c), over a state's
// files and the task's data folder. Each returns text for the agent and says whether it could do
// what was asked.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "env/internal.h"

#define DATA_HEAD ((size_t)256 << 10)     // bytes of a data file that can be looked at
#define LINE_SHOWN 240

static char *say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static char *say(const char *fmt, ...) {
    mla_buf text;
    mla_buf_init(&text, MLA__FEEDBACK_MAX);
    va_list args;
    va_start(args, fmt);
    mla_buf_vprintf(&text, fmt, args);
    va_end(args);
    char *good = mla_utf8_repair(mla_buf_text(&text), text.len, NULL);
    mla_buf_clear(&text);
    return good;
}

// --- listing -----------------------------------------------------------------------------------

// As `ls -F` marks it: a folder by a slash, a link by an "@"; of a file the size.
static int list_data(mla_buf *out, const char *dir, mla_err *err) {
    char **names;
    size_t count;
    if (mla_fs_list(dir, &names, &count, err) < 0) return -1;
    for (size_t i = 0; i < count; i++) {
        char *path = mla_fs_join(dir, names[i]);
        struct stat st;
        bool there = lstat(path, &st) == 0;
        mla__add_plain(out, names[i], strlen(names[i]), MLA__NAME_MAX);
        if (there && S_ISREG(st.st_mode)) {
            mla_buf_printf(out, " (%lld bytes)", (long long)st.st_size);
        } else if (there) {
            mla_buf_puts(out, S_ISDIR(st.st_mode) ? "/" : S_ISLNK(st.st_mode) ? "@" : "|");
        }
        mla_buf_puts(out, "\n");
        free(path);
    }
    mla_fs_names_free(names, count);
    return 0;
}

char *mla__look_list(const mla__look *look, bool *ok, mla_err *err) {
    const char *asked = look->action->inputs[0];
    char *dir = mla__path_clean(asked);
    bool top = dir && !*dir, data = dir && !strcmp(dir, "data") && look->task->data_dir;
    free(dir);
    *ok = top || data;
    if (!*ok) {
        return say("There is no folder \"%.100s\". The folders are \".\" and \"data\".", asked);
    }
    mla_buf out;
    mla_buf_init(&out, MLA__FEEDBACK_MAX);
    int rc = data ? list_data(&out, look->task->data_dir, err) : 0;
    for (size_t i = 0; top && i < look->files->len; i++) {
        mla_buf_printf(&out, "%s (%zu bytes)\n", look->files->items[i].name,
                       look->files->items[i].len);
    }
    if (top && look->task->data_dir) mla_buf_puts(&out, "data/ (read-only)\n");
    char *text = rc < 0 ? NULL : say("Files in \"%.100s\":\n%s", asked, mla_buf_text(&out));
    mla_buf_clear(&out);
    return text;
}

// --- lines -------------------------------------------------------------------------------------

int mla__data_open(const mla_task *task, const char *name) {
    if (!task->data_dir) return -1;
    char *path = mla_fs_join(task->data_dir, name);
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    free(path);
    struct stat st;
    if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))) return fd;
    close(fd);
    return -1;
}

int mla__data_read(int fd, const char *name, mla_buf *out, mla_err *err) {
    char chunk[16384];
    ssize_t n = 1;
    while (n != 0 && !out->truncated) {
        n = read(fd, chunk, sizeof chunk);
        if (n > 0) mla_buf_append(out, chunk, (size_t)n);
        if (n < 0 && errno != EINTR) {
            return mla_err_set(err, "%s cannot be read: %s", name, strerror(errno));
        }
    }
    return 0;
}

// The head of a CSV file of the data folder: 1, 0 when there is no such file, or -1.
static int read_data(const mla__look *look, const char *name, mla_buf *out, mla_err *err) {
    size_t n = strlen(name);
    int fd = n < 5 || strcmp(name + n - 4, ".csv") ? -1 : mla__data_open(look->task, name);
    if (fd < 0) return 0;
    int rc = mla__data_read(fd, name, out, err);
    close(fd);
    return rc < 0 ? -1 : 1;
}

static bool read_number(const char *text, long *out) {
    char *end;
    *out = strtol(text, &end, 10);
    return *text && !*end && *out > 0 && *out < INT_MAX;
}

static size_t count_lines(const mla_buf *text) {
    size_t n = 0;
    for (size_t i = 0; i < text->len; i++) n += text->data[i] == '\n';
    return n + (text->len && text->data[text->len - 1] != '\n');
}

static void add_line(mla_buf *out, size_t number, const char *line, size_t len) {
    size_t shown = len < LINE_SHOWN ? len : LINE_SHOWN;
    mla_buf_printf(out, "%4zu | ", number);
    mla_buf_append(out, line, shown);
    mla_buf_puts(out, shown < len ? " ...\n" : "\n");
}

// Lines from..to, numbered, until the room is used up; `to` becomes the last one shown.
static void add_lines(mla_buf *out, const mla_buf *text, size_t from, size_t *to) {
    size_t number = 1;
    for (const char *p = mla_buf_text(text), *end = p + text->len; p < end; number++) {
        const char *nl = memchr(p, '\n', (size_t)(end - p));
        size_t len = nl ? (size_t)(nl - p) : (size_t)(end - p);
        if (number > *to) return;
        if (number > from && out->len + LINE_SHOWN + 20 > MLA__INSPECT_MAX) {
            *to = number - 1;
            return;
        }
        if (number >= from) add_line(out, number, p, len);
        p += len + 1;
    }
}

static char *show(const char *name, const mla_buf *text, size_t from, size_t to, bool *ok) {
    size_t total = count_lines(text);
    const char *more = text->truncated ? " (its head; more is not shown)" : "";
    *ok = from <= total;
    if (!*ok) return say("%s has only %zu lines%s.", name, total, more);
    if (to > total) to = total;
    mla_buf lines, out;
    mla_buf_init(&lines, MLA__INSPECT_MAX + 2 * LINE_SHOWN);
    mla_buf_init(&out, MLA__INSPECT_MAX + 1024);
    add_lines(&lines, text, from, &to);
    mla_buf_printf(&out, "%s has %zu lines%s. Lines %zu to %zu:\n%s", name, total, more, from, to,
                   mla_buf_text(&lines));
    char *good = mla_utf8_repair(mla_buf_text(&out), out.len, NULL);
    mla_buf_clear(&lines);
    mla_buf_clear(&out);
    return good;
}

// The text of a named file of the state or the data folder: 1, 0 when there is none, or -1.
static int read_named(const mla__look *look, const char *name, mla_buf *out, mla_err *err) {
    if (!name || !*name) return 0;
    if (!strncmp(name, "data/", 5)) return read_data(look, name + 5, out, err);
    const mla__file *file = mla__files_get(look->files, name);
    if (file) mla_buf_append(out, file->bytes, file->len);
    return file != NULL;
}

char *mla__look_lines(const mla__look *look, bool *ok, mla_err *err) {
    const mla_action *action = look->action;
    long from, to;
    *ok = false;
    if (!read_number(action->inputs[1], &from) || !read_number(action->inputs[2], &to) ||
        to < from) {
        return say("Line numbers are whole, from 1 on, the first not after the last.");
    }
    if (to - from >= MLA__INSPECT_LINES) {
        return say("The number of lines shown is limited to %d.", MLA__INSPECT_LINES);
    }
    char *name = mla__path_clean(action->inputs[0]);
    mla_buf text;
    mla_buf_init(&text, DATA_HEAD);
    int found = read_named(look, name, &text, err);
    char *answer = found < 0  ? NULL
                   : found > 0 ? show(name, &text, (size_t)from, (size_t)to, ok)
                               : say("There is no file \"%.100s\" that could be shown.",
                                     action->inputs[0]);
    mla_buf_clear(&text);
    free(name);
    return answer;
}
