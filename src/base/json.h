// JSON by jansson, the only JSON in the program. Ceilings against hostile input, short getters.
#ifndef MLA_BASE_JSON_H
#define MLA_BASE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

// Parses one value; trailing text is an error; `what` names the source in messages.
// Caller owns the reference. NULL on error.
json_t *mla_json_parse(const char *text, size_t len, const char *what, mla_err *err);
// How many bytes the tree of a JSON text may take, without parsing it: an upper bound that is near
// enough to refuse a body whose tree would be many times its size. Any bytes will do.
size_t mla_json_weight(const char *text, size_t len);
json_t *mla_json_read_file(const char *path, size_t max, mla_err *err);
MLA_MUST_USE int mla_json_write_file(const char *path, const json_t *value, mla_err *err);
char *mla_json_line(const json_t *value);     // compact, keys in insertion order; caller frees

// Numbers as JSON has them: NaN and infinities become null and null reads back as NaN.
json_t *mla_json_number(double value);
double mla_json_get_number(const json_t *object, const char *key, double otherwise);
long long mla_json_get_int(const json_t *object, const char *key, long long otherwise);
bool mla_json_get_bool(const json_t *object, const char *key, bool otherwise);
// Borrowed from the object; `otherwise` when absent or not a string.
const char *mla_json_get_text(const json_t *object, const char *key, const char *otherwise);
// A string that may hold invalid UTF-8 (script output): bad bytes become U+FFFD.
json_t *mla_json_text(const char *bytes, size_t len);
// Replaces invalid UTF-8 by U+FFFD as Python's bytes.decode(errors="replace") does: one mark for
// each maximal prefix of a sequence. Caller frees; `*out_len` may be NULL.
char *mla_utf8_repair(const char *bytes, size_t len, size_t *out_len);

#endif
