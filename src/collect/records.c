// Reading of JSON lines and JSON arrays that other programs wrote: a bad line is told and passed
// over, not the end.
#include "collect/records.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

#define LINE_MAX_BYTES ((size_t)64 << 20)
#define TREE_MAX_BYTES ((size_t)4 << 30)      // of a line or an array, as jansson holds it
#define FILE_MAX_BYTES ((size_t)2 << 30)      // of an array, which is read as a whole

typedef struct {
    mla__record_sink each;
    void *ctx;
    mla_buf line;
    size_t number;
    size_t *bytes;
} reading;

static bool is_blank(const char *text, size_t len) {
    return strspn(text, " \t\r\n") >= len;
}

void mla__one_line(char *text) {
    for (; *text; text++) {
        if ((unsigned char)*text < ' ') *text = ' ';
    }
}

static int give_line(reading *r, mla_err *err) {
    const char *text = mla_buf_text(&r->line);
    size_t len = r->line.len;
    mla_err why = {{0}};
    int rc = 0;
    if (++r->number == 1 && len >= 3 && !memcmp(text, "\xEF\xBB\xBF", 3)) text += 3, len -= 3;
    if (r->line.truncated || mla_json_weight(text, len) > TREE_MAX_BYTES) {
        mla_err_set(&why, "longer than %zu bytes", LINE_MAX_BYTES);
        rc = r->each(r->ctx, r->number, NULL, why.text, err);
    } else if (!is_blank(text, len)) {
        json_t *record = mla_json_parse(text, len, "it", &why);
        mla__one_line(why.text);
        const char *reason = strstr(why.text, "not JSON");
        rc = r->each(r->ctx, r->number, record, record ? NULL : reason ? reason : why.text, err);
        json_decref(record);
    }
    mla_buf_reset(&r->line);
    return rc;
}

static int take_bytes(reading *r, const char *bytes, size_t len, mla_err *err) {
    while (len) {
        const char *newline = memchr(bytes, '\n', len);
        size_t part = newline ? (size_t)(newline - bytes) : len;
        mla_buf_append(&r->line, bytes, part);
        if (!newline) return 0;
        if (give_line(r, err) < 0) return -1;
        bytes += part + 1;
        len -= part + 1;
    }
    return 0;
}

static int read_lines(reading *r, const char *path, mla_err *err) {
    static const size_t chunk_bytes = 65536;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mla_err_set(err, "%s: cannot open: %s", path, strerror(errno));
    char *chunk = MLA_NEW_ARRAY(char, chunk_bytes);
    ssize_t n;
    int rc = 0;
    while (rc == 0 && !mla_stop_wanted() && (n = read(fd, chunk, chunk_bytes)) != 0) {
        if (n < 0 && errno == EINTR) continue;
        if (n > 0) *r->bytes += (size_t)n;
        rc = n < 0 ? mla_err_set(err, "%s: cannot read: %s", path, strerror(errno))
                   : take_bytes(r, chunk, (size_t)n, err);
    }
    if (rc == 0 && r->line.len) rc = give_line(r, err);
    free(chunk);
    close(fd);
    return rc;
}

static int give_array(reading *r, const char *path, const char *text, size_t len, mla_err *err) {
    if (mla_json_weight(text, len) > TREE_MAX_BYTES) {
        return mla_err_set(err, "%s: an array too large to be read as a whole; make it one object "
                           "a line (jq -c '.[]')", path);
    }
    json_t *list = mla_json_parse(text, len, path, err);
    if (!list && err) mla__one_line(err->text);
    int rc = list ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < json_array_size(list) && !mla_stop_wanted(); i++) {
        rc = r->each(r->ctx, i + 1, json_array_get(list, i), NULL, err);
    }
    json_decref(list);
    return rc;
}

static int read_array(reading *r, const char *path, mla_err *err) {
    mla_buf text;
    if (mla_fs_read(path, FILE_MAX_BYTES, &text, err) < 0) return -1;
    const char *from = mla_buf_text(&text);
    *r->bytes += text.len;
    size_t mark = text.len >= 3 && !memcmp(from, "\xEF\xBB\xBF", 3) ? 3 : 0;
    int rc = give_array(r, path, from + mark, text.len - mark, err);
    mla_buf_clear(&text);
    return rc;
}

// Whether the first thing in it is a '['. A record is an object, so no line begins so.
static bool is_array(const char *path) {
    char head[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? 0 : read(fd, head, sizeof head);
    if (fd >= 0) close(fd);
    ssize_t at = n >= 3 && !memcmp(head, "\xEF\xBB\xBF", 3) ? 3 : 0;
    while (at < n && strchr(" \t\r\n", head[at]) && head[at]) at++;
    return at < n && head[at] == '[';
}

const char *mla__records_word(const char *path) {
    return is_array(path) ? "record" : "line";
}

int mla__records_read(const char *path, mla__record_sink each, void *ctx, size_t *bytes,
                      mla_err *err) {
    reading r = {.each = each, .ctx = ctx, .bytes = bytes};
    mla_buf_init(&r.line, LINE_MAX_BYTES);
    int rc = is_array(path) ? read_array(&r, path, err) : read_lines(&r, path, err);
    mla_buf_clear(&r.line);
    return rc;
}
