// Tokens and logical lines of Python. What an f-string has in its braces is read too, as tokens
// behind the string's own.
#include "task/python.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

#define TEXT_MAX ((size_t)1 << 20)

static bool name_start(char c) {
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80;
}

static bool name_char(char c) {
    return name_start(c) || isdigit((unsigned char)c);
}

// --- strings ------------------------------------------------------------------------------------

// Length of a string's prefix and whether it makes an f-string; SIZE_MAX when no string is here.
static size_t string_prefix(const char *p, bool *format) {
    size_t n = 0;
    *format = false;
    for (; n < 2 && p[n] && strchr("rRbBuUfF", p[n]); n++) *format |= p[n] == 'f' || p[n] == 'F';
    return p[n] == '"' || p[n] == '\'' ? n : (size_t)-1;
}

// Bytes of the string literal at `p`, 0 when it is not closed.
static size_t string_length(const char *p, size_t prefix) {
    char quote = p[prefix];
    bool triple = p[prefix + 1] == quote && p[prefix + 2] == quote;
    size_t at = prefix + (triple ? 3 : 1);
    for (; p[at]; at++) {
        if (p[at] == '\\' && p[at + 1]) at++;
        else if (!triple && p[at] == '\n') return 0;
        else if (p[at] == quote && !triple) return at + 1;
        else if (p[at] == quote && p[at + 1] == quote && p[at + 2] == quote) return at + 3;
    }
    return 0;
}

// --- tokens -------------------------------------------------------------------------------------

static size_t op_length(const char *p) {
    static const char *const longer[] = {"**=", "//=", ">>=", "<<=", "...", "==", "!=", "<=",
                                         ">=",  "->",  ":=",  "+=",  "-=",  "*=", "/=", "%=",
                                         "&=",  "|=",  "^=",  "@=",  "**",  "//", "<<", ">>"};
    for (size_t i = 0; i < MLA_COUNT(longer); i++) {
        if (strncmp(p, longer[i], strlen(longer[i])) == 0) return strlen(longer[i]);
    }
    return 1;
}

static size_t number_length(const char *p) {
    size_t n = 0;
    while (name_char(p[n]) || p[n] == '.' || ((p[n] == '-' || p[n] == '+') && n &&
                                              (p[n - 1] == 'e' || p[n - 1] == 'E'))) n++;
    return n;
}

static void push(mla__py *py, mla__py_token token) {
    MLA_GROW(py->tokens, py->cap_tokens, py->n_tokens + 1);
    py->tokens[py->n_tokens++] = token;
}

static bool read_tokens(mla__py *py, size_t *at, size_t end, int depth, bool inside);

// The expressions in an f-string's braces; what follows ':' or '!' in them is for the formatting.
static bool read_braces(mla__py *py, size_t from, size_t end, int depth) {
    for (size_t at = from; at < end; at++) {
        char c = py->text[at];
        if (c != '{') continue;
        if (py->text[at + 1] == '{') {
            at++;
            continue;
        }
        size_t to = at + 1;
        for (int open = 0; to < end; to++) {
            char d = py->text[to];
            if (strchr("([{", d)) open++;
            else if (open == 0 && strchr("}:!", d)) break;
            else if (strchr(")]}", d)) open--;
        }
        size_t within = at + 1;
        if (!read_tokens(py, &within, to, depth + 1, true)) return false;
        while (to < end && py->text[to] != '}') to++;
        at = to;
    }
    return true;
}

// One token at *at. False when it cannot be read.
static bool read_one(mla__py *py, size_t *at, size_t end, int *depth, bool inside) {
    const char *p = py->text + *at;
    bool format;
    size_t prefix = string_prefix(p, &format);
    mla__py_token token = {.at = *at, .depth = *depth, .inside = inside};
    if (prefix != (size_t)-1) {
        token.kind = MLA__PY_STRING;
        token.len = string_length(p, prefix);
    } else if (name_start(*p)) {
        token.kind = MLA__PY_NAME;
        while (name_char(p[token.len])) token.len++;
    } else if (isdigit((unsigned char)*p) || (*p == '.' && isdigit((unsigned char)p[1]))) {
        token.kind = MLA__PY_NUMBER;
        token.len = number_length(p);
    } else {
        token.kind = MLA__PY_OP;
        token.len = op_length(p);
        if (strchr(")]}", *p)) token.depth = --*depth;
        else if (strchr("([{", *p)) ++*depth;
    }
    if (!token.len || *at + token.len > end || *depth < 0) return false;
    push(py, token);
    *at += token.len;
    if (!format || token.kind != MLA__PY_STRING) return true;
    return read_braces(py, token.at + prefix + 1, token.at + token.len - 1, token.depth);
}

// Tokens up to `end`, or to the end of the logical line that begins at *at, behind whose line break
// *at then is.
static bool read_tokens(mla__py *py, size_t *at, size_t end, int depth, bool inside) {
    int open = depth;
    while (*at < end) {
        char c = py->text[*at];
        if (c == '\n') {
            ++*at;
            if (open == depth && !inside) return true;
        } else if (c == ' ' || c == '\t' || c == '\f' || c == '\r') {
            ++*at;
        } else if (c == '\\' && py->text[*at + 1] == '\n') {
            *at += 2;
        } else if (c == '#') {
            size_t len = strcspn(py->text + *at, "\n");
            push(py, (mla__py_token){.kind = MLA__PY_COMMENT, .at = *at, .len = len,
                                     .depth = open, .inside = inside});
            *at += len;
        } else if (!read_one(py, at, end, &open, inside)) {
            return false;
        }
    }
    return open == depth;
}

bool mla__py_read(mla__py *out, const char *text) {
    *out = (mla__py){.text = text};
    size_t end = strlen(text), at = 0;
    while (at < end) {
        mla__py_line line = {.from = at, .first = out->n_tokens};
        if (!read_tokens(out, &at, end, 0, false)) return false;
        line.to = at;
        line.end = out->n_tokens;
        while (line.from + (size_t)line.indent < at && text[line.from + (size_t)line.indent] == ' ')
            line.indent++;
        if (line.end == line.first) line.indent = 0;
        line.code = line.end > line.first && out->tokens[line.first].kind != MLA__PY_COMMENT;
        MLA_GROW(out->lines, out->cap_lines, out->n_lines + 1);
        out->lines[out->n_lines++] = line;
    }
    return true;
}

void mla__py_clear(mla__py *py) {
    free(py->tokens);
    free(py->lines);
    *py = (mla__py){0};
}

// --- asking -------------------------------------------------------------------------------------

bool mla__py_same(const mla__py *py, size_t i, const char *text, size_t len) {
    if (i >= py->n_tokens) return false;
    const mla__py_token *t = &py->tokens[i];
    return t->len == len && !memcmp(py->text + t->at, text, len);
}

bool mla__py_is(const mla__py *py, size_t i, const char *text) {
    return mla__py_same(py, i, text, strlen(text));
}

bool mla__py_is_name(const mla__py *py, size_t i) {
    static const char *const keywords[] = {
        "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
        "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is",
        "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with",
        "yield", "None", "True", "False"};
    if (i >= py->n_tokens || py->tokens[i].kind != MLA__PY_NAME) return false;
    for (size_t k = 0; k < MLA_COUNT(keywords); k++) {
        if (mla__py_is(py, i, keywords[k])) return false;
    }
    return true;
}

char *mla__py_text(const mla__py *py, size_t i) {
    return mla_strndup(py->text + py->tokens[i].at, py->tokens[i].len);
}

bool mla__py_is_keyword(const mla__py *py, size_t i) {
    return mla__py_is_name(py, i) && mla__py_is(py, i + 1, "=") && py->tokens[i].depth > 0 && i &&
           (mla__py_is(py, i - 1, "(") || mla__py_is(py, i - 1, ","));
}

bool mla__py_is_use(const mla__py *py, size_t i) {
    if (!mla__py_is_name(py, i)) return false;
    if (i && (mla__py_is(py, i - 1, ".") || mla__py_is(py, i - 1, "def"))) return false;
    return !mla__py_is_keyword(py, i);
}

// --- rewriting ----------------------------------------------------------------------------------

void mla__py_edits_begin(mla__py_edits *edits, const char *text) {
    *edits = (mla__py_edits){.text = text};
    mla_buf_init(&edits->out, TEXT_MAX);
}

void mla__py_edits_put(mla__py_edits *edits, size_t at, size_t len, const char *text) {
    MLA_ASSERT(at >= edits->done);
    mla_buf_append(&edits->out, edits->text + edits->done, at - edits->done);
    mla_buf_puts(&edits->out, text);
    edits->done = at + len;
}

char *mla__py_edits_end(mla__py_edits *edits) {
    mla_buf_puts(&edits->out, edits->text + edits->done);
    return mla_buf_take(&edits->out);
}
