// NFC as Hugging Face's tokenizers compute it. Characters are utf8proc's, but their order is ours:
// utf8proc sorts a run of marks in quadratic time, and knows marks (mla__late_marks) that the
// tokenizers' older Unicode leaves where they are.
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

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

char *mla__nfc(const char *text, size_t len, size_t *out_len) {
    size_t first = 0;      // what is below U+0300 stays as it is
    while (first < len && (uint8_t)text[first] < 0xcc) first++;
    if (first == len) return NULL;
    points all = {0};
    size_t from = 0, next = 0;
    for (size_t at = 0; at < len; at = next) {
        uint32_t point = mla__utf8_point(text, at, &next);
        if (!mla__in_ranges(mla__late_marks, mla__late_marks_n, point)) {
            decompose((utf8proc_int32_t)point, &all);
            continue;
        }
        compose(&all, from);
        MLA_GROW(all.data, all.cap, all.len + 1);
        all.data[all.len++] = (utf8proc_int32_t)point;
        from = all.len;
    }
    compose(&all, from);
    char *out = mla_alloc(all.len * 4 + 1, 1);
    size_t n = 0;
    for (size_t i = 0; i < all.len; i++)
        n += (size_t)utf8proc_encode_char(all.data[i], (utf8proc_uint8_t *)out + n);
    free(all.data);
    *out_len = n;
    return out;
}
