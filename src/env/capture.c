// One output stream of a script with a ceiling: the beginning and the end are kept, what lies
// between is counted and dropped, so that a flood costs no memory and a traceback is not lost.
#include "env/sandbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

void mla__capture_init(mla__capture *capture, size_t max) {
    size_t half = max / 2 > 64 ? max / 2 : 64;
    *capture = (mla__capture){.half = half, .head = mla_alloc(half, 1), .tail = mla_alloc(half, 1)};
}

void mla__capture_clear(mla__capture *capture) {
    free(capture->head);
    free(capture->tail);
    *capture = (mla__capture){0};
}

static void put(mla__capture *c, const char *bytes, size_t len) {
    if (c->total < c->half) {
        size_t n = c->half - c->total < len ? c->half - c->total : len;
        memcpy(c->head + c->total, bytes, n);
        c->total += n;
        bytes += n;
        len -= n;
    }
    for (size_t i = 0; i < len; i++) c->tail[(c->total++ - c->half) % c->half] = bytes[i];
}

int mla__capture_read(mla__capture *capture, int fd) {
    char bytes[65536];
    ssize_t n = read(fd, bytes, sizeof bytes);
    if (n > 0) put(capture, bytes, (size_t)n);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static void append_tail(mla_buf *out, const mla__capture *c) {
    size_t len = c->total - c->half;
    if (len <= c->half) {
        mla_buf_append(out, c->tail, len);
        return;
    }
    mla_buf_printf(out, "\n... (%zu bytes left out) ...\n", len - c->half);
    size_t start = len % c->half;
    mla_buf_append(out, c->tail + start, c->half - start);
    mla_buf_append(out, c->tail, start);
}

char *mla__capture_text(const mla__capture *capture) {
    mla_buf all;
    mla_buf_init(&all, 2 * capture->half + 128);
    bool long_one = capture->total > capture->half;
    mla_buf_append(&all, capture->head, long_one ? capture->half : capture->total);
    if (long_one) append_tail(&all, capture);
    size_t len;
    char *text = mla_utf8_repair(mla_buf_text(&all), all.len, &len);
    mla_buf_clear(&all);
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\0') text[i] = '?';
    }
    return text;
}
