// The inputs of an action: a JSON object, the near-JSON that small models write (single quotes,
// missing quotes, raw newlines), or for one-input actions the bare value.
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/internal.h"

#define BLANKS " \t\r\n"
#define LOOK_AHEAD 8192          // bytes in which a better end of a string is looked for

static const char *skip(const char *p, const char *set) {
    return p + strspn(p, set);
}

// --- near-JSON ---------------------------------------------------------------------------------

static void add_code_point(mla_buf *out, unsigned code) {
    if (code >= 0xD800 && code < 0xE000) code = 0xFFFD;      // half of a pair
    char utf8[3] = {(char)(0xE0 | code >> 12), (char)(0x80 | (code >> 6 & 0x3F)),
                    (char)(0x80 | (code & 0x3F))};
    char one = (char)code;
    if (code < 0x80) mla_buf_append(out, &one, 1);
    else if (code < 0x800) utf8[1] = (char)(0xC0 | code >> 6), mla_buf_append(out, utf8 + 1, 2);
    else mla_buf_append(out, utf8, 3);
}

// The escape behind a backslash at p, up to `end`; returns what follows it. NULL for a NUL, which
// no input may hold.
static const char *read_escape(const char *p, const char *end, mla_buf *out) {
    const char *from = "ntr", *to = "\n\t\r", *at = strchr(from, *p);
    char digits[5] = {0};
    if (*p == 'u' && end - p > 4) memcpy(digits, p + 1, 4);
    if (strspn(digits, "0123456789abcdefABCDEF") == 4) {
        unsigned code = (unsigned)strtoul(digits, NULL, 16);
        if (!code) return NULL;
        add_code_point(out, code);
        return p + 5;
    }
    mla_buf_append(out, at ? to + (at - from) : p, 1);
    return p + 1;
}

typedef struct {
    char kind;          // '"' or '\''; 0: no quote
    size_t len;         // 1, or 3 for a typographic one
} quote;

static quote quote_at(const char *p) {
    if (*p == '"' || *p == '\'') return (quote){*p, 1};
    if (strncmp(p, "\xE2\x80", 2)) return (quote){0, 0};
    unsigned char c = (unsigned char)p[2];
    if (c == 0x9C || c == 0x9D) return (quote){'"', 3};
    if (c == 0x98 || c == 0x99) return (quote){'\'', 3};
    return (quote){0, 0};
}

// A plain quote is closed by its like, a typographic one by any of its kind.
static bool closes(quote opening, const char *p, size_t *len) {
    quote q = quote_at(p);
    *len = q.len;
    return q.kind == opening.kind && (opening.len == 3 || q.len == 1);
}

// Whether what follows a quote says that a string has ended there: models forget to escape others.
static bool ends_value(const char *p) {
    p = skip(p, " \t\r");
    return !*p || strchr(",}:=\n", *p);
}

// The end of the string that opens at p, behind its closing quote: the first quote that ends a
// value, else the first one; NULL when there is none.
static const char *string_end(const char *p, quote opening) {
    const char *first = NULL;
    size_t len;
    for (p += opening.len; *p && (!first || p < first + LOOK_AHEAD); p++) {
        if (*p == '\\' && p[1]) {
            p++;
        } else if (closes(opening, p, &len)) {
            if (!first) first = p + len;
            if (ends_value(p + len)) return p + len;
        }
    }
    return first;
}

// A string in any quotes, backslash escapes read, raw newlines kept; -1 when it does not end or has
// a NUL.
static int read_quoted(const char **at, quote opening, mla_buf *out) {
    const char *end = string_end(*at, opening);
    if (!end) return -1;
    const char *last = end - (end[-1] == '"' || end[-1] == '\'' ? 1 : 3);
    for (const char *p = *at + opening.len; p < last;) {
        bool escaped = *p == '\\' && p + 1 < last;
        if (!escaped) mla_buf_append(out, p, 1);
        p = escaped ? read_escape(p + 1, last, out) : p + 1;
        if (!p) return -1;
    }
    *at = end;
    return 0;
}

static int read_word(const char **at, const char *stop, mla_buf *out) {
    quote q = quote_at(*at);
    if (q.kind) return read_quoted(at, q, out);
    size_t n = strcspn(*at, stop);
    mla_buf_append(out, *at, n);
    *at += n;
    while (out->len && strchr(BLANKS, out->data[out->len - 1])) out->data[--out->len] = '\0';
    return out->len ? 0 : -1;
}

// An unquoted word as JSON or Python mean it.
static json_t *word_value(const mla_buf *word) {
    static const char *const none[] = {"null", "None", "true", "True", "false", "False"};
    for (size_t i = 0; i < MLA_COUNT(none); i++) {
        if (strcmp(mla_buf_text(word), none[i]) == 0) return json_null();
    }
    return json_stringn_nocheck(mla_buf_text(word), word->len);
}

static int read_pair(const char **at, json_t *object) {
    mla_buf key, value;
    mla_buf_init(&key, MLA__REPLY_MAX);
    mla_buf_init(&value, MLA__REPLY_MAX);
    int rc = read_word(at, ":=,{}\n", &key);
    *at = skip(*at, BLANKS);
    if (rc == 0 && **at != ':' && **at != '=') rc = -1;
    if (rc == 0) *at = skip(*at + 1, BLANKS);
    bool quoted = rc == 0 && quote_at(*at).kind;
    if (rc == 0) rc = read_word(at, ",{}\n", &value);
    if (rc == 0) {
        json_t *given = quoted ? json_stringn_nocheck(mla_buf_text(&value), value.len)
                               : word_value(&value);
        json_object_set_new_nocheck(object, mla_buf_text(&key), given);
    }
    mla_buf_clear(&key);
    mla_buf_clear(&value);
    return rc;
}

// Where an object whose closing brace was forgotten ends: before a fence, a block, an entry.
static bool ends_object(const char *p) {
    return !*p || !strncmp(p, "```", 3) || mla__block_opens(p) || mla__entry_opens(p);
}

static json_t *read_loose(const char **at) {
    json_t *object = json_object();
    const char *p = skip(*at + 1, BLANKS ",");
    bool good = true;
    while (good && *p != '}' && !ends_object(p)) {
        good = read_pair(&p, object) == 0;
        p = skip(p, BLANKS ",");
    }
    if (good && (*p == '}' || json_object_size(object))) {
        *at = p + (*p == '}');
        return object;
    }
    json_decref(object);
    return NULL;
}

// The object that begins at *at; moves behind it. NULL when it cannot be read either way.
static json_t *read_object(const char **at, mla_err *fault) {
    json_error_t e;
    while ((*at)[1] == '{') ++*at;       // {{"script_name": ...}}, as templates write it
    json_t *object = json_loadb(*at, strlen(*at), JSON_DISABLE_EOF_CHECK, &e);
    if (object) {
        *at += e.position;
        return object;
    }
    object = read_loose(at);
    if (!object) mla_err_set(fault, "the Action Input is not JSON (%.100s)", e.text);
    return object;
}

// --- inputs ------------------------------------------------------------------------------------

static char *scalar_text(const json_t *value) {
    if (json_is_string(value)) return mla_strdup(json_string_value(value));
    if (json_is_integer(value)) return mla_format("%lld", json_integer_value(value));
    double x = json_real_value(value);
    if (json_is_real(value) && x == floor(x) && fabs(x) < 1e15) return mla_format("%.0f", x);
    return NULL;
}

// Several things to look for may come as a list.
static char *list_text(const json_t *list) {
    mla_buf out;
    mla_buf_init(&out, MLA__REPLY_MAX);
    for (size_t i = 0; i < json_array_size(list); i++) {
        char *item = scalar_text(json_array_get(list, i));
        if (item) mla_buf_printf(&out, "%s%s", out.len ? ", " : "", item);
        free(item);
    }
    return mla_buf_take(&out);
}

static bool same_key(const char *a, const char *b) {
    for (; *a && *b; a++, b++) {
        bool blanks = strchr(" -_", *a) && strchr(" -_", *b);
        if (!blanks && tolower((unsigned char)*a) != tolower((unsigned char)*b)) return false;
    }
    return *a == *b;
}

// The value under `name`, or under another way to write it ("Script Name").
static const json_t *find_value(const json_t *object, const char *name) {
    const json_t *value = json_object_get(object, name);
    void *o = (void *)object;            // jansson's iterators take no const
    for (void *it = json_object_iter(o); it && !value; it = json_object_iter_next(o, it)) {
        if (same_key(json_object_iter_key(it), name)) value = json_object_iter_value(it);
    }
    return value;
}

static int take_object(mla_action *out, const json_t *object, char **edit, mla_err *fault) {
    for (int i = 0; i < MLA_ACTION_INPUTS; i++) {
        const char *name = mla_action_input_name(out->kind, i);
        if (!name) continue;
        const json_t *value = find_value(object, name);
        bool needed = mla_action_input_needed(out->kind, i);
        out->inputs[i] = !needed && json_is_array(value) ? list_text(value) : scalar_text(value);
        if (needed && !out->inputs[i]) {
            return mla_err_set(fault, "the input \"%s\" is missing", name);
        }
    }
    if (out->kind == MLA_ACTION_EDIT_SCRIPT) {
        *edit = mla_strdup(mla_json_get_text(object, "edit", NULL));
    }
    return 0;
}

// The bare value runs to the end of its line; a final answer to the next entry or fence.
static size_t bare_length(const char *p, bool one_line) {
    size_t n = strcspn(p, "\n");
    while (!one_line && p[n] && strncmp(p + n + 1, "```", 3) && !mla__entry_opens(p + n + 1)) {
        n += 1 + strcspn(p + n + 1, "\n");
    }
    return n;
}

static int take_bare(mla_action *out, const char **at, mla_err *fault) {
    const char *name = mla_action_input_name(out->kind, 0);
    if (mla_action_input_name(out->kind, 1) && mla_action_input_needed(out->kind, 1)) {
        return mla_err_set(fault, "the Action Input is not a JSON object");
    }
    const char *p = *at;
    bool one_line = out->kind != MLA_ACTION_FINAL_ANSWER;
    size_t n = bare_length(p, one_line), label = strlen(name);
    *at = p + n;
    const char *mark = n > label && !strncasecmp(p, name, label) ? skip(p + label, " \t") : p;
    if (mark > p && (*mark == ':' || *mark == '=')) {      // script_name: train.py
        n -= (size_t)(mark + 1 - p);
        p = mark + 1;
    }
    const char *marks = one_line ? " \t\r`'\"*" : BLANKS;
    if (one_line && n > 3 && quote_at(p).len == 3) p += 3, n -= 3;
    if (one_line && n > 3 && quote_at(p + n - 3).len == 3) n -= 3;
    while (n && strchr(marks, p[0])) p++, n--;
    while (n && strchr(marks, p[n - 1])) n--;
    if (!n) return mla_err_set(fault, "the Action Input is empty");
    out->inputs[0] = mla_strndup(p, n);
    return 0;
}

int mla__inputs_read(mla_action *out, const char **at, char **edit, mla_err *fault) {
    const char *p = skip(*at, BLANKS "*");
    if (!strncmp(p, "```", 3)) p = skip(p + strcspn(p, "\n"), BLANKS);
    *at = p;
    if (!*p || mla__block_opens(p) || mla__entry_opens(p)) {
        return mla_err_set(fault, "the Action Input is empty");
    }
    if (*p != '{') return take_bare(out, at, fault);
    json_t *object = read_object(at, fault);
    int rc = object ? take_object(out, object, edit, fault) : -1;
    json_decref(object);
    return rc;
}
