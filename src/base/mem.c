// Allocation that cannot fail quietly.
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static void *check(void *p, size_t count, size_t size) {
    if (!p && count && size)
        mla_panic(__FILE__, __LINE__, "out of memory (%zu x %zu)", count, size);
    return p;
}

void *mla_alloc(size_t count, size_t size) {
    return check(calloc(count ? count : 1, size ? size : 1), 1, 1);
}

void *mla_realloc(void *old, size_t count, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes)) bytes = SIZE_MAX;
    return check(realloc(old, bytes ? bytes : 1), count, size);
}

void *mla_alloc_aligned(size_t bytes) {
    size_t rounded = (bytes + 63) / 64 * 64;
    void *p = check(aligned_alloc(64, rounded ? rounded : 64), bytes, 1);
    return memset(p, 0, rounded ? rounded : 64);
}

char *mla_strndup(const char *text, size_t len) {
    char *copy = mla_alloc(len + 1, 1);
    memcpy(copy, text, len);
    return copy;
}

char *mla_strdup(const char *text) {
    return text ? mla_strndup(text, strlen(text)) : NULL;
}

char *mla_format(const char *fmt, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0) mla_panic(__FILE__, __LINE__, "cannot format");
    return text;
}

void mla_grow(void **array, size_t *cap, size_t need, size_t size) {
    if (need <= *cap) return;
    size_t grown = *cap + *cap / 2 + 8;
    if (grown < need) grown = need;
    *array = mla_realloc(*array, grown, size);
    *cap = grown;
}
