// Steps and metrics on disk: JSON lines, appended whole, so that a killed run loses none and leaves
// at most one torn last line, which readers drop and the next writer cuts off. They are synced at
// the end and when a second has gone by since the last sync: a power cut may take the last ones.
#ifndef MLA_RECORD_STORE_H
#define MLA_RECORD_STORE_H

#include "base/err.h"
#include "base/json.h"
#include "record/step.h"

typedef struct mla_lines mla_lines;          // a JSONL file open for appending

// Opens or creates; a torn last line is cut off first. NULL on error.
mla_lines *mla_lines_open(const char *path, mla_err *err);
// One object, one line; takes the reference. -1 on a full disk and the like, with the file restored
// to its last whole line.
MLA_MUST_USE int mla_lines_append_take(mla_lines *lines, json_t *object, mla_err *err);
void mla_lines_close(mla_lines *lines);      // syncs; NULL is fine

// Calls `each` on each whole line of a JSONL file (an absent file has none); a torn last line is
// ignored, a bad one elsewhere is an error naming file and line. `each` returns -1 to stop.
MLA_MUST_USE int mla_lines_read(const char *path, int (*each)(void *ctx, json_t *object, mla_err *),
                                void *ctx, mla_err *err);

// Drops the lines whose `key` is above `last`: work after a checkpoint, to be done again.
MLA_MUST_USE int mla_lines_trim(const char *path, const char *key, long long last, mla_err *err);

MLA_MUST_USE int mla_store_append(mla_lines *lines, const mla_step *step, mla_err *err);
MLA_MUST_USE int mla_store_read(const char *path, mla_steps *out, mla_err *err);

#endif
