// Bounded text buffers: whatever comes from outside goes into a buffer with a stated ceiling.
// Beyond the ceiling bytes are dropped and `truncated` is set; the data is always NUL-terminated.
#ifndef MLA_BASE_BUF_H
#define MLA_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct mla_buf {
    char *data;      // NUL-terminated; NULL until the first append
    size_t len;      // bytes without the NUL
    size_t cap;
    size_t max;      // ceiling in bytes
    bool truncated;
} mla_buf;

void mla_buf_init(mla_buf *buf, size_t max);
void mla_buf_clear(mla_buf *buf);                       // frees; the ceiling stays
void mla_buf_reset(mla_buf *buf);                       // empties, keeps the allocation
void mla_buf_append(mla_buf *buf, const void *bytes, size_t len);
void mla_buf_puts(mla_buf *buf, const char *text);
void mla_buf_printf(mla_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void mla_buf_vprintf(mla_buf *buf, const char *fmt, va_list args);
const char *mla_buf_text(const mla_buf *buf);           // borrowed, never NULL
char *mla_buf_take(mla_buf *buf);                       // caller frees; never NULL; buf is empty

#endif
