// Reading lines, with or without waiting for them.
#include "cli/lines.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define PIECE ((size_t)64 << 10)

void mla_lines_init(mla_lines *lines, int fd, size_t max) {
    *lines = (mla_lines){.fd = fd, .max = max};
    mla_buf_init(&lines->got, max + 2 * PIECE);
}

void mla_lines_clear(mla_lines *lines) {
    mla_buf_clear(&lines->got);
}

static bool is_ready(int fd) {
    struct pollfd p = {.fd = fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static int fill(mla_lines *l, mla_err *err) {
    char piece[PIECE];
    size_t left = l->got.len - l->at;
    if (l->at) {
        memmove(l->got.data, l->got.data + l->at, left);
        l->got.len = left;
        l->scanned -= l->at;
        l->at = 0;
    }
    ssize_t n = read(l->fd, piece, sizeof piece);
    if (n < 0 && errno == EINTR) return 0;
    if (n < 0) return mla_err_set(err, "cannot read the input: %s", strerror(errno));
    l->ended = n == 0;
    mla_buf_append(&l->got, piece, (size_t)n);
    return 0;
}

// Gives out [at, end); what follows begins at `next`.
static int give(mla_lines *l, size_t end, size_t next, char **line, size_t *len) {
    bool too_long = l->skipping || end - l->at > l->max;
    *line = l->got.data + l->at;
    *len = end - l->at;
    (*line)[*len] = '\0';
    l->at = l->scanned = next;
    l->skipping = false;
    return too_long ? MLA_LINE_TOO_LONG : MLA_LINE_TEXT;
}

int mla_lines_next(mla_lines *l, bool wait, char **line, size_t *len, mla_err *err) {
    for (;;) {
        size_t left = l->got.len - l->scanned;
        char *end = left ? memchr(l->got.data + l->scanned, '\n', left) : NULL;
        if (end) {
            size_t at = (size_t)(end - l->got.data);
            return give(l, at, at + 1, line, len);
        }
        l->scanned = l->got.len;
        if (l->ended) {
            bool rest = l->got.len > l->at || l->skipping;
            return rest ? give(l, l->got.len, l->got.len, line, len) : MLA_LINE_END;
        }
        if (l->got.len - l->at > l->max) {      // only its end still matters
            l->skipping = true;
            l->at = l->got.len;
        }
        if (!wait && !is_ready(l->fd)) return MLA_LINE_LATER;
        if (fill(l, err) < 0) return -1;
    }
}
