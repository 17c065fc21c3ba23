// A lexer for Python scripts, private to the room: as much of the language as rewriting a starter
// takes. It knows tokens and logical lines, no grammar.
#ifndef MLA_TASK_PYTHON_H
#define MLA_TASK_PYTHON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

typedef enum {
    MLA__PY_NAME,            // keywords too
    MLA__PY_NUMBER,
    MLA__PY_STRING,          // whole, with prefix and quotes
    MLA__PY_OP,
    MLA__PY_COMMENT,
} mla__py_kind;

typedef struct mla__py_token {
    mla__py_kind kind;
    size_t at, len;          // where it stands in the text
    int depth;               // brackets open around it
    bool inside;             // in the braces of an f-string, whose own token stands before it
} mla__py_token;

// A logical line: a statement's (from its indentation to its line break, the brackets' breaks
// included), or a line that is blank or a comment.
typedef struct mla__py_line {
    size_t from, to;         // bytes, the last line break included
    size_t first, end;       // its tokens
    int indent;              // columns; of a blank line 0
    bool code;               // it has tokens that are no comment
} mla__py_line;

typedef struct mla__py {
    const char *text;        // borrowed
    mla__py_token *tokens;   // [n_tokens]
    mla__py_line *lines;     // [n_lines]
    size_t n_tokens, n_lines, cap_tokens, cap_lines;
} mla__py;

// Whether it could be read: brackets and strings are closed.
bool mla__py_read(mla__py *out, const char *text);
void mla__py_clear(mla__py *py);

// Whether token `i` is there and is this text. Beyond the last one it is not.
bool mla__py_is(const mla__py *py, size_t i, const char *text);
bool mla__py_is_name(const mla__py *py, size_t i);       // a name that is no keyword
char *mla__py_text(const mla__py *py, size_t i);         // caller frees
bool mla__py_same(const mla__py *py, size_t i, const char *text, size_t len);
// Whether a name is looked up or bound where it stands: it is no attribute, no argument's keyword
// and not what a definition is called.
bool mla__py_is_use(const mla__py *py, size_t i);
// The keyword of an argument in a call, or a parameter's name with a default.
bool mla__py_is_keyword(const mla__py *py, size_t i);

// Replacements in a text, in the order of their places.
typedef struct mla__py_edits {
    const char *text;
    size_t done;             // so much of the text is in `out`
    mla_buf out;
} mla__py_edits;

void mla__py_edits_begin(mla__py_edits *edits, const char *text);
void mla__py_edits_put(mla__py_edits *edits, size_t at, size_t len, const char *text);
char *mla__py_edits_end(mla__py_edits *edits);           // the new text; caller frees

#endif
