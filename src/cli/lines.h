// Lines from a descriptor. A reader that need not wait, so that work goes on while input is slow.
#ifndef MLA_CLI_LINES_H
#define MLA_CLI_LINES_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct mla_lines {
    int fd;
    mla_buf got;            // what was read and not yet given out, from `at` on
    size_t at, scanned;     // no newline before `scanned`
    size_t max;             // bytes of a line at most
    bool skipping, ended;   // the rest of a line that is too long is thrown away
} mla_lines;

typedef enum { MLA_LINE_END, MLA_LINE_TEXT, MLA_LINE_LATER, MLA_LINE_TOO_LONG } mla_line_kind;

void mla_lines_init(mla_lines *lines, int fd, size_t max);
void mla_lines_clear(mla_lines *lines);
// The next line without its newline; valid until the next call. With `wait` false
// MLA_LINE_LATER when there is none yet. -1 when reading fails.
MLA_MUST_USE int mla_lines_next(mla_lines *lines, bool wait, char **line, size_t *len,
                                mla_err *err);

#endif
