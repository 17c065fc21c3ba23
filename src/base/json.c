// JSON by jansson, and the repair of invalid UTF-8 on its way in.
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

json_t *mla_json_parse(const char *text, size_t len, const char *what, mla_err *err) {
    json_error_t e;
    json_t *value = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!value) mla_err_set(err, "%s: line %d: not JSON: %s", what, e.line, e.text);
    return value;
}

// What jansson 2.14 takes from glibc's malloc, chunks' heads included.
enum {
    OBJECT_BYTES = 224,     // with its first 8 buckets
    ARRAY_BYTES = 128,      // with room for 8 elements
    STRING_BYTES = 80,      // beside its text
    TEXT_BYTES = 4,         // of a string's byte: kept once, and read through a buffer that doubles
    PAIR_BYTES = 112,       // of a key, and its share of a table that has doubled
    VALUE_BYTES = 64        // a number, and its place in an array while it doubles
};

size_t mla_json_weight(const char *text, size_t len) {
    size_t weight = VALUE_BYTES;
    bool in_string = false;
    for (size_t i = 0; i < len; i++) {
        const char c = text[i];
        if (in_string) {
            weight += TEXT_BYTES;
            if (c == '"') in_string = false;
            else if (c == '\\') i++;
        } else if (c == '"') {
            in_string = true;
            weight += STRING_BYTES;
        } else {
            weight += c == '{' ? OBJECT_BYTES : c == '[' ? ARRAY_BYTES
                    : c == ':' ? PAIR_BYTES : c == ',' ? VALUE_BYTES : 0;
        }
    }
    return weight;
}

json_t *mla_json_read_file(const char *path, size_t max, mla_err *err) {
    mla_buf text;
    if (mla_fs_read(path, max, &text, err) < 0) return NULL;
    json_t *value = mla_json_parse(mla_buf_text(&text), text.len, path, err);
    mla_buf_clear(&text);
    return value;
}

int mla_json_write_file(const char *path, const json_t *value, mla_err *err) {
    char *text = json_dumps(value, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    MLA_ASSERT(text);
    char *line = mla_format("%s\n", text);
    int rc = mla_fs_write(path, line, strlen(line), err);
    free(line);
    free(text);
    return rc;
}

char *mla_json_line(const json_t *value) {
    char *line = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(17));
    MLA_ASSERT(line);
    return line;
}

json_t *mla_json_number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

double mla_json_get_number(const json_t *object, const char *key, double otherwise) {
    const json_t *v = json_object_get(object, key);
    if (json_is_null(v)) return NAN;
    return json_is_number(v) ? json_number_value(v) : otherwise;
}

long long mla_json_get_int(const json_t *object, const char *key, long long otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_integer(v) ? json_integer_value(v) : otherwise;
}

bool mla_json_get_bool(const json_t *object, const char *key, bool otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_boolean(v) ? json_is_true(v) : otherwise;
}

const char *mla_json_get_text(const json_t *object, const char *key, const char *otherwise) {
    const json_t *v = json_object_get(object, key);
    return json_is_string(v) ? json_string_value(v) : otherwise;
}

json_t *mla_json_text(const char *bytes, size_t len) {
    size_t n;
    char *good = mla_utf8_repair(bytes, len, &n);
    json_t *text = json_stringn_nocheck(good, n);
    free(good);
    return text;
}

// Length of the well-formed sequence at p, or 0 with *bad = length of the maximal prefix of one
// (Unicode 15, table 3-7; what Python's decoder replaces by one mark).
static size_t utf8_at(const unsigned char *p, size_t n, size_t *bad) {
    unsigned char lo = 0x80, hi = 0xBF;
    size_t need;
    *bad = 1;
    if (p[0] < 0x80) return 1;
    if (p[0] >= 0xC2 && p[0] <= 0xDF) {
        need = 2;
    } else if (p[0] >= 0xE0 && p[0] <= 0xEF) {
        need = 3;
        if (p[0] == 0xE0) lo = 0xA0;
        if (p[0] == 0xED) hi = 0x9F;
    } else if (p[0] >= 0xF0 && p[0] <= 0xF4) {
        need = 4;
        if (p[0] == 0xF0) lo = 0x90;
        if (p[0] == 0xF4) hi = 0x8F;
    } else {
        return 0;
    }
    for (size_t i = 1; i < need; i++, lo = 0x80, hi = 0xBF) {
        if (i >= n || p[i] < lo || p[i] > hi) {
            *bad = i;
            return 0;
        }
    }
    return need;
}

char *mla_utf8_repair(const char *bytes, size_t len, size_t *out_len) {
    mla_buf out;
    mla_buf_init(&out, len * 3 + 1);
    const unsigned char *p = (const unsigned char *)bytes;
    size_t from = 0, at = 0;
    while (at < len) {
        size_t bad, good = utf8_at(p + at, len - at, &bad);
        if (good) {
            at += good;
            continue;
        }
        mla_buf_append(&out, bytes + from, at - from);
        mla_buf_puts(&out, "\xEF\xBF\xBD");
        at += bad;
        from = at;
    }
    mla_buf_append(&out, bytes + from, at - from);
    if (out_len) *out_len = out.len;
    return mla_buf_take(&out);
}
