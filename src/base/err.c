// Error messages and the one place where the program gives up on itself.
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int mla_err_set(mla_err *err, const char *fmt, ...) {
    if (!err) return -1;
    va_list args;
    va_start(args, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    return -1;
}

int mla_err_wrap(mla_err *err, const char *fmt, ...) {
    if (!err) return -1;
    char head[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(head, sizeof head, fmt, args);
    va_end(args);
    size_t at = strlen(head), room = sizeof err->text - at - 1;
    if (room > 2) {
        memmove(err->text + at + 2, err->text, room - 2);
        memcpy(err->text + at, ": ", 2);
        memcpy(err->text, head, at);
    }
    err->text[sizeof err->text - 1] = '\0';
    return -1;
}

void mla_panic(const char *file, int line, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    fprintf(stderr, "mlagent: bug at %s:%d: ", file, line);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    abort();
}
