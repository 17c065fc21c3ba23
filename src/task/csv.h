// A bounded RFC 4180 reader, private to the room: quoted cells, doubled quotes, line breaks inside
// quotes, LF or CRLF, a byte order mark. Every row must have as many cells as the first; what is
// malformed is an error that names the line. It knows nothing of types or of column meanings.
#ifndef MLA_TASK_CSV_H
#define MLA_TASK_CSV_H

#include <stddef.h>

#include "base/err.h"

#define MLA__CSV_MAX_BYTES ((size_t)256 << 20)  // of a file
#define MLA__CSV_MAX_CELL ((size_t)1 << 20)     // bytes of one cell
#define MLA__CSV_MAX_COLUMNS ((size_t)4096)

typedef struct mla__cell {
    char *text;         // NUL-terminated, unquoted; lives until the reader is cleared
    size_t len;
} mla__cell;

typedef struct mla__csv {
    char *text;         // [len + 1]: the reader's own copy, in which cells are ended and unquoted
    size_t len, at;
    size_t line;        // where the row at hand begins, from 1
    size_t next_line;
    mla__cell *cells;   // [count]: the row at hand
    size_t count, cap;
    size_t columns;     // cells in the first row; 0 before it
} mla__csv;

// At most MLA__CSV_MAX_BYTES bytes; the caller has seen to it.
void mla__csv_init(mla__csv *csv, const char *bytes, size_t len);
void mla__csv_clear(mla__csv *csv);
// 1: the next row is at hand (blank lines are skipped), 0: no more, -1: malformed.
MLA_MUST_USE int mla__csv_next(mla__csv *csv, mla_err *err);
// Index of the cell `name` in the row at hand, the header: -1 when absent, -2 when there twice.
int mla__csv_find(const mla__csv *csv, const char *name);

// The first line of a file that is not UTF-8, from 1; 0: all are, or it is UTF-16, for which the
// reader has words of its own.
size_t mla__csv_foreign_line(const char *bytes, size_t len);

// Ends the cell's text before its trailing spaces and tabs and returns it after its leading ones.
char *mla__cell_trim(mla__cell *cell);

#endif
