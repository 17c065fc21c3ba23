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

static const char *skip(const char *p, const char *set) {
    return p + strspn(p, set);
}

// --- near-JSON ---------------------------------------------------------------------------------

static void add_escaped(mla_buf *out, char c) {
    const char *from = "nt", *to = "\n\t";
    const char *at = c ? strchr(from, c) : NULL;
    mla_buf_append(out, at ? to + (at - from) : &c, 1);
}

// A string in either quote, backslash escapes read, raw newlines kept; -1 when it does not end.
static int read_quoted(const char **at, mla_buf *out) {
    char quote = **at;
    const char *p = *at + 1;
    for (; *p && *p != quote; p++) {
        if (*p == '\\' && p[1]) add_escaped(out, *++p);
        else mla_buf_append(out, p, 1);
    }
    if (!*p) return -1;
    *at = p + 1;
    return 0;
}

static int read_word(const char **at, const char *stop, mla_buf *out) {
    if (**at == '"' || **at == '\'') return read_quoted(at, out);
    size_t n = strcspn(*at, stop);
    mla_buf_append(out, *at, n);
    *at += n;
    while (out->len && strchr(BLANKS, out->data[out->len - 1])) out->data[--out->len] = '\0';
    return out->len ? 0 : -1;
}

static int read_pair(const char **at, json_t *object) {
    mla_buf key, value;
    mla_buf_init(&key, MLA__REPLY_MAX);
    mla_buf_init(&value, MLA__REPLY_MAX);
    int rc = read_word(at, ":=,{}\n", &key);
    *at = skip(*at, BLANKS);
    if (rc == 0 && **at != ':' && **at != '=') rc = -1;
    if (rc == 0) *at = skip(*at + 1, BLANKS);
    if (rc == 0) rc = read_word(at, ",{}\n", &value);
    if (rc == 0) {
        json_object_set_new_nocheck(object, mla_buf_text(&key),
                                    json_stringn_nocheck(mla_buf_text(&value), value.len));
    }
    mla_buf_clear(&key);
    mla_buf_clear(&value);
    return rc;
}

static json_t *read_loose(const char **at) {
    json_t *object = json_object();
    const char *p = skip(*at + 1, BLANKS ",");
    while (*p && *p != '}') {
        if (read_pair(&p, object) < 0) break;
        p = skip(p, BLANKS ",");
    }
    if (*p == '}') {
        *at = p + 1;
        return object;
    }
    json_decref(object);
    return NULL;
}

// The object that begins at *at; moves behind it. NULL when it cannot be read either way.
static json_t *read_object(const char **at, mla_err *fault) {
    json_error_t e;
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

static char *value_text(const json_t *value) {
    if (json_is_string(value)) return mla_strdup(json_string_value(value));
    if (json_is_integer(value)) return mla_format("%lld", json_integer_value(value));
    double x = json_real_value(value);
    if (json_is_real(value) && x == floor(x) && fabs(x) < 1e15) return mla_format("%.0f", x);
    return NULL;
}

static int take_object(mla_action *out, const json_t *object, char **edit, mla_err *fault) {
    for (int i = 0; i < MLA_ACTION_INPUTS; i++) {
        const char *name = mla_action_input_name(out->kind, i);
        if (!name) continue;
        out->inputs[i] = value_text(json_object_get(object, name));
        if (!out->inputs[i]) return mla_err_set(fault, "the input \"%s\" is missing", name);
    }
    if (mla_action_is_edit(out->kind)) {
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
    if (mla_action_input_name(out->kind, 1)) {
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
