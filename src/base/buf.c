// Bounded, growing, NUL-terminated byte buffers.
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void mla_buf_init(mla_buf *buf, size_t max) {
    *buf = (mla_buf){.max = max};
}

void mla_buf_clear(mla_buf *buf) {
    free(buf->data);
    mla_buf_init(buf, buf->max);
}

void mla_buf_reset(mla_buf *buf) {
    buf->len = 0;
    buf->truncated = false;
    if (buf->data) buf->data[0] = '\0';
}

void mla_buf_append(mla_buf *buf, const void *bytes, size_t len) {
    if (len > buf->max - buf->len) {
        len = buf->max - buf->len;
        buf->truncated = true;
    }
    if (!len && buf->data) return;
    MLA_GROW(buf->data, buf->cap, buf->len + len + 1);
    if (len) memcpy(buf->data + buf->len, bytes, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
}

void mla_buf_puts(mla_buf *buf, const char *text) {
    mla_buf_append(buf, text, strlen(text));
}

void mla_buf_vprintf(mla_buf *buf, const char *fmt, va_list args) {
    char small[512];
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(small, sizeof small, fmt, args);
    if (n >= 0 && (size_t)n < sizeof small) {
        mla_buf_append(buf, small, (size_t)n);
    } else if (n >= 0) {
        char *big = mla_alloc((size_t)n + 1, 1);
        vsnprintf(big, (size_t)n + 1, fmt, again);
        mla_buf_append(buf, big, (size_t)n);
        free(big);
    }
    va_end(again);
}

void mla_buf_printf(mla_buf *buf, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    mla_buf_vprintf(buf, fmt, args);
    va_end(args);
}

const char *mla_buf_text(const mla_buf *buf) {
    return buf->data ? buf->data : "";
}

char *mla_buf_take(mla_buf *buf) {
    char *data = buf->data ? buf->data : mla_strdup("");
    mla_buf_init(buf, buf->max);
    return data;
}
