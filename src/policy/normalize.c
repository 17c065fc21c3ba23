// NFC as Hugging Face's tokenizers compute it. Characters are utf8proc's, but their order is ours:
// utf8proc sorts a run of marks in quadratic time, and knows marks (mla__late_marks) that the
// tokenizers' older Unicode leaves where they are.
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "base/buf.h"
#include "base/mem.h"
#include "policy/tokenizer_internal.h"

typedef struct points {
    utf8proc_int32_t *data;
    size_t len, cap;
} points;

static unsigned class_of(utf8proc_int32_t point) {
    return (unsigned)utf8proc_get_property(point)->combining_class;
}

static int by_key(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// Stable sort of the marks [from, to) by their combining class.
static void sort_marks(utf8proc_int32_t *data, size_t from, size_t to) {
    bool sorted = true;
    for (size_t i = from + 1; i < to && sorted; i++)
        sorted = class_of(data[i - 1]) <= class_of(data[i]);
    if (sorted) return;
    size_t n = to - from;
    uint64_t *keys = MLA_NEW_ARRAY(uint64_t, n);
    utf8proc_int32_t *copy = MLA_NEW_ARRAY(utf8proc_int32_t, n);
    memcpy(copy, data + from, n * sizeof *copy);
    for (size_t i = 0; i < n; i++) keys[i] = (uint64_t)class_of(copy[i]) << 48 | i;
    qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 0; i < n; i++) data[from + i] = copy[keys[i] & 0xffffffffffff];
    free(keys);
    free(copy);
}

static void decompose(utf8proc_int32_t point, points *out) {
    int boundary = 0;
    MLA_GROW(out->data, out->cap, out->len + 8);
    utf8proc_ssize_t n = utf8proc_decompose_char(point, out->data + out->len, 8,
                                                 UTF8PROC_DECOMPOSE, &boundary);
    MLA_ASSERT(n >= 1 && n <= 8);
    out->len += (size_t)n;
}

// Orders and composes the points from `from` on, which hold no late mark.
static void compose(points *out, size_t from) {
    size_t mark = from;
    for (size_t i = from; i <= out->len; i++) {
        if (i < out->len && class_of(out->data[i])) continue;
        sort_marks(out->data, mark, i);
        mark = i + 1;
    }
    if (out->len == from) return;
    utf8proc_ssize_t n = utf8proc_normalize_utf32(out->data + from,
                                                  (utf8proc_ssize_t)(out->len - from),
                                                  UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    MLA_ASSERT(n >= 0);
    out->len = from + (size_t)n;
}

// Decomposes, orders and composes [from, to).
static void normalize(const char *text, size_t from, size_t to, points *all) {
    size_t start = 0, next = from;
    all->len = 0;
    for (size_t at = from; at < to; at = next) {
        uint32_t point = mla__utf8_point(text, at, &next);
        if (!mla__in_ranges(mla__late_marks, mla__late_marks_n, point)) {
            decompose((utf8proc_int32_t)point, all);
            continue;
        }
        compose(all, start);
        MLA_GROW(all->data, all->cap, all->len + 1);
        all->data[all->len++] = (utf8proc_int32_t)point;
        start = all->len;
    }
    compose(all, start);
}

// ---- what needs it ---------------------------------------------------------------------------

// Most text is in NFC as it stands. A piece that may not be is a run of composing points with the
// point before it, on which they may compose.

static bool is_ascii(const char *text, size_t at, size_t len) {
    uint64_t eight;
    if (len - at < sizeof eight) return false;
    memcpy(&eight, text + at, sizeof eight);
    return !(eight & 0x8080808080808080u);
}

// The first composing point from `at` on, or len; `*before` is where the point before it starts.
static size_t find_composing(const char *text, size_t at, size_t len, size_t *before) {
    size_t next = at;
    *before = at;
    for (; at < len; *before = at, at = next) {
        while (is_ascii(text, at, len)) at += 8, *before = at - 1;
        if (at == len) return len;
        uint32_t point = mla__utf8_point(text, at, &next);
        if (point >= 0x300 && mla__in_ranges(mla__composing, mla__composing_n, point)) return at;
    }
    return len;
}

static size_t composing_end(const char *text, size_t at, size_t len) {
    for (size_t next = at; at < len; at = next)
        if (!mla__in_ranges(mla__composing, mla__composing_n, mla__utf8_point(text, at, &next)))
            return at;
    return len;
}

static void append_points(mla_buf *out, const points *all) {
    char bytes[4];
    for (size_t i = 0; i < all->len; i++) {
        utf8proc_ssize_t n = utf8proc_encode_char(all->data[i], (utf8proc_uint8_t *)bytes);
        mla_buf_append(out, bytes, (size_t)n);
    }
}

char *mla__nfc(const char *text, size_t len, size_t *out_len) {
    size_t before, done = 0, at = find_composing(text, 0, len, &before);
    if (at == len) return NULL;
    points all = {0};
    mla_buf out;
    mla_buf_init(&out, SIZE_MAX / 4);
    while (at < len) {
        size_t end = composing_end(text, at, len);
        mla_buf_append(&out, text + done, before - done);
        normalize(text, before, end, &all);
        append_points(&out, &all);
        done = end;
        at = find_composing(text, end, len, &before);
    }
    mla_buf_append(&out, text + done, len - done);
    free(all.data);
    *out_len = out.len;
    return mla_buf_take(&out);
}
