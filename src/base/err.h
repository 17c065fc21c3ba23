// Errors of the world (files, networks, bad input): a function returns a negative int or NULL and
// leaves one clear line here: what, where, what to do. Our own bugs abort through MLA_ASSERT.
// The agent's failures are neither: they are outcomes (record/outcome.h).
#ifndef MLA_BASE_ERR_H
#define MLA_BASE_ERR_H

#define MLA_MUST_USE __attribute__((warn_unused_result))
#define MLA_PRINTF(fmt_at, args_at) __attribute__((format(printf, fmt_at, args_at)))

typedef struct mla_err {
    char text[1024];  // one line, no newline at the end; empty when nothing went wrong
} mla_err;

// Formats the message into `err` (which may be NULL) and returns -1, so callers can
// `return mla_err_set(err, ...)`.
int mla_err_set(mla_err *err, const char *fmt, ...) MLA_PRINTF(2, 3);
// Puts "<what>: " before the message that is already there; returns -1.
int mla_err_wrap(mla_err *err, const char *fmt, ...) MLA_PRINTF(2, 3);

_Noreturn void mla_panic(const char *file, int line, const char *fmt, ...) MLA_PRINTF(3, 4);

// A broken promise between our own functions: abort with file and line.
#define MLA_ASSERT(cond)                                                      \
    do {                                                                      \
        if (!(cond)) mla_panic(__FILE__, __LINE__, "assertion failed: %s", #cond); \
    } while (0)

#endif
