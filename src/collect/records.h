// Records of a file that other programs wrote: a JSON array, or a JSON object a line.
#ifndef MLA_COLLECT_RECORDS_H
#define MLA_COLLECT_RECORDS_H

#include "base/json.h"

// Called for each record, counted from 1 (lines that are empty count but are no records). `record`
// is borrowed, and NULL for what is none: `why` says so. Returns -1 to stop.
typedef int (*mla__record_sink)(void *ctx, size_t number, const json_t *record, const char *why,
                                mla_err *err);

// Byte order marks, CRLF and a last line without its newline are fine. An array that is broken is
// broken as a whole: -1, as is a file that cannot be read. `bytes` grows by what has been read.
MLA_MUST_USE int mla__records_read(const char *path, mla__record_sink each, void *ctx,
                                   size_t *bytes, mla_err *err);
// Messages quote what they stumbled over: line breaks and the like in them become blanks.
void mla__one_line(char *text);
// What a record of the file is called in messages: "line" or "record".
const char *mla__records_word(const char *path);

#endif
