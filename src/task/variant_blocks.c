// SEARCH/REPLACE blocks out of two scripts: the lines that differ, with as many around them as it
// takes for each SEARCH part to stand in the script once.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/variant_internal.h"

#define LINES_MAX 400
#define BLOCKS_MAX 12
#define BYTES_MAX ((size_t)6000)

typedef struct lines {
    const char *at[LINES_MAX];
    size_t bytes[LINES_MAX];
    size_t n;
} lines;

// One run of lines of `from` that gives way to one of `to`.
typedef struct hunk {
    size_t from, from_end, to, to_end;
} hunk;

static bool split(lines *out, const char *text) {
    *out = (lines){.n = 0};
    while (*text) {
        size_t n = strcspn(text, "\n");
        if (out->n == LINES_MAX || text[n] != '\n') return false;
        out->at[out->n] = text;
        out->bytes[out->n++] = n;
        text += n + 1;
    }
    return true;
}

static bool same(const lines *a, size_t i, const lines *b, size_t j) {
    return a->bytes[i] == b->bytes[j] && !memcmp(a->at[i], b->at[j], a->bytes[i]);
}

// Longest common subsequence: table [(a->n + 1), (b->n + 1)] of lengths from each place on.
static unsigned short *common(const lines *a, const lines *b) {
    size_t w = b->n + 1;
    unsigned short *t = MLA_NEW_ARRAY(unsigned short, (a->n + 1) * w);
    for (size_t i = a->n; i-- > 0;) {
        for (size_t j = b->n; j-- > 0;) {
            unsigned short down = t[(i + 1) * w + j], right = t[i * w + j + 1];
            t[i * w + j] = same(a, i, b, j) ? (unsigned short)(t[(i + 1) * w + j + 1] + 1)
                                            : down > right ? down : right;
        }
    }
    return t;
}

// The hunks [BLOCKS_MAX]; their number, SIZE_MAX when they are too many.
static size_t find_hunks(const lines *a, const lines *b, hunk *hunks) {
    unsigned short *t = common(a, b);
    size_t w = b->n + 1, n = 0, i = 0, j = 0;
    while ((i < a->n || j < b->n) && n <= BLOCKS_MAX) {
        if (i < a->n && j < b->n && same(a, i, b, j)) {
            i++, j++;
            continue;
        }
        hunk h = {.from = i, .to = j};
        while ((i < a->n || j < b->n) && !(i < a->n && j < b->n && same(a, i, b, j))) {
            bool drop = j == b->n || (i < a->n && t[(i + 1) * w + j] >= t[i * w + j + 1]);
            if (drop) i++;
            else j++;
        }
        h.from_end = i;
        h.to_end = j;
        if (n < BLOCKS_MAX) hunks[n] = h;
        n++;
    }
    free(t);
    return n > BLOCKS_MAX ? (size_t)-1 : n;
}

static bool is_blank(const lines *l, size_t i) {
    return strspn(l->at[i], " ") == l->bytes[i];
}

// How often lines [from, to) of `l` stand in it.
static size_t count(const lines *l, size_t from, size_t to) {
    size_t n = 0;
    for (size_t at = 0; at + (to - from) <= l->n; at++) {
        size_t k = 0;
        while (k < to - from && same(l, at + k, l, from + k)) k++;
        n += k == to - from;
    }
    return n;
}

static bool all_blank(const lines *l, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        if (!is_blank(l, i)) return false;
    }
    return true;
}

// Makes the hunk's lines stand in `a` once: first by the line before, then by the one behind. The
// lines around a hunk are in both texts. False when there are none left.
static bool widen(const lines *a, const lines *b, hunk *h, size_t floor, size_t ceiling) {
    for (bool up = true; all_blank(a, h->from, h->from_end) || count(a, h->from, h->from_end) != 1;
         up = !up) {
        bool can_up = h->from > floor && h->to > 0, can_down = h->from_end < ceiling;
        if (!can_up && !can_down) return false;
        if ((up && can_up) || !can_down) h->from--, h->to--;
        else h->from_end++, h->to_end++;
    }
    return h->from_end <= a->n && h->to_end <= b->n;
}

static void put(mla_buf *out, const lines *l, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        mla_buf_append(out, l->at[i], l->bytes[i]);
        mla_buf_puts(out, "\n");
    }
}

static size_t join(hunk *hunks, size_t n, const lines *a, const lines *b) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        hunk h = hunks[i];
        size_t floor = kept ? hunks[kept - 1].from_end : 0;
        size_t ceiling = i + 1 < n ? hunks[i + 1].from : a->n;
        while (!widen(a, b, &h, floor, ceiling)) {
            if (kept) {                                    // with the one before
                h.from = hunks[kept - 1].from;
                h.to = hunks[--kept].to;
                floor = kept ? hunks[kept - 1].from_end : 0;
            } else if (i + 1 < n) {                        // with the next
                i++;
                h.from_end = hunks[i].from_end;
                h.to_end = hunks[i].to_end;
                ceiling = i + 1 < n ? hunks[i + 1].from : a->n;
            } else {
                return 0;
            }
        }
        hunks[kept++] = h;
    }
    return kept;
}

char *mla__blocks_make(const char *from, const char *to) {
    lines a, b;
    hunk hunks[BLOCKS_MAX + 1];
    if (!split(&a, from) || !split(&b, to)) return NULL;
    size_t n = find_hunks(&a, &b, hunks);
    if (n == 0 || n == (size_t)-1) return NULL;
    n = join(hunks, n, &a, &b);
    mla_buf out;
    mla_buf_init(&out, (size_t)1 << 20);
    for (size_t i = 0; i < n; i++) {
        mla_buf_puts(&out, i ? "\n<<<<<<< SEARCH\n" : "<<<<<<< SEARCH\n");
        put(&out, &a, hunks[i].from, hunks[i].from_end);
        mla_buf_puts(&out, "=======\n");
        put(&out, &b, hunks[i].to, hunks[i].to_end);
        mla_buf_puts(&out, ">>>>>>> REPLACE");
    }
    if (n == 0 || out.len > BYTES_MAX) {
        mla_buf_clear(&out);
        return NULL;
    }
    return mla_buf_take(&out);
}
