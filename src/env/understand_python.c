// The outline of a Python script, line by line: what it imports, defines and sets, and where a
// model is made, fitted and asked. It is no parser: it knows strings over several lines and
// comments, and shows lines rather than claims about them.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "env/internal.h"

#define LINE_SHOWN 100
#define SECTION_LINES 12       // of each section
#define NAMES_MAX 8            // variables that are fitted or asked

typedef struct {
    mla__slice *items;         // lines without their newline
    bool *code;                // not inside a string of several lines
    size_t len, cap, code_cap;
} script;

// --- reading -----------------------------------------------------------------------------------

// Goes over a line; returns the quote (three of them) that is still open at its end, else 0.
static char scan_line(mla__slice line, char open) {
    for (size_t i = 0; i < line.len; i++) {
        char c = line.at[i];
        bool three = i + 2 < line.len && line.at[i + 1] == c && line.at[i + 2] == c;
        if (open) {
            if (c == '\\') i++;
            else if (c == open && three) open = 0, i += 2;
        } else if (c == '#') {
            return 0;
        } else if (c == '"' || c == '\'') {
            if (three) {
                open = c, i += 2;
                continue;
            }
            for (i++; i < line.len && line.at[i] != c; i++) i += line.at[i] == '\\';
        }
    }
    return open;
}

static void split(script *s, const char *text, size_t len) {
    char open = 0;
    for (size_t at = 0; at < len;) {
        const char *nl = memchr(text + at, '\n', len - at);
        size_t n = nl ? (size_t)(nl - text) - at : len - at;
        MLA_GROW(s->items, s->cap, s->len + 1);
        MLA_GROW(s->code, s->code_cap, s->len + 1);
        s->items[s->len] = (mla__slice){text + at, n};
        s->code[s->len] = !open;
        open = scan_line(s->items[s->len++], open);
        at += n + 1;
    }
}

static mla__slice content(mla__slice line) {
    while (line.len && isspace((unsigned char)line.at[0])) line.at++, line.len--;
    return line;
}

static bool opens_with(mla__slice line, const char *word) {
    size_t n = strlen(word);
    return line.len > n && !memcmp(line.at, word, n);
}

static bool holds(mla__slice line, const char *what) {
    return memmem(line.at, line.len, what, strlen(what)) != NULL;
}

// --- what a line is ----------------------------------------------------------------------------

static bool is_name(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

static size_t name_length(mla__slice s) {
    size_t n = 0;
    while (n < s.len && is_name(s.at[n])) n++;
    return n;
}

static bool is_import(mla__slice line) {
    return opens_with(line, "import ") || (opens_with(line, "from ") && holds(line, " import "));
}

static bool is_definition(mla__slice line) {
    mla__slice c = content(line);
    return opens_with(c, "def ") || opens_with(c, "class ") || opens_with(c, "async def ");
}

// NAME = ... at the left margin, the name in capitals; X and Y are data.
static bool is_constant(mla__slice line) {
    size_t n = name_length(line);
    if (n < 2 || !isupper((unsigned char)line.at[0])) return false;
    for (size_t i = 0; i < n; i++)
        if (islower((unsigned char)line.at[i])) return false;
    mla__slice rest = content((mla__slice){line.at + n, line.len - n});
    return rest.len > 1 && rest.at[0] == '=' && rest.at[1] != '=';
}

static bool is_use(mla__slice line) {
    static const char *const calls[] = {".fit(", ".fit_transform(", ".predict(", ".predict_proba(",
                                        ".train(", "cross_val_score("};
    for (size_t i = 0; i < MLA_COUNT(calls); i++)
        if (holds(line, calls[i])) return true;
    return false;
}

typedef struct {
    mla__slice items[NAMES_MAX];
    size_t len;
} names;

// The variable in front of ".fit(" and its like.
static void add_user(names *users, mla__slice line) {
    for (size_t i = 1; i < line.len && users->len < NAMES_MAX; i++) {
        mla__slice rest = {line.at + i, line.len - i};
        if (!opens_with(rest, ".fit(") && !opens_with(rest, ".predict")) continue;
        size_t from = i;
        while (from && is_name(line.at[from - 1])) from--;
        if (from < i) users->items[users->len++] = (mla__slice){line.at + from, i - from};
    }
}

// A variable that is fitted or asked somewhere is made here.
static bool is_making(mla__slice line, const names *users) {
    mla__slice c = content(line);
    size_t n = name_length(c);
    mla__slice rest = content((mla__slice){c.at + n, c.len - n});
    if (!n || rest.len < 2 || rest.at[0] != '=' || rest.at[1] == '=') return false;
    for (size_t i = 0; i < users->len; i++)
        if (users->items[i].len == n && !memcmp(users->items[i].at, c.at, n)) return true;
    return false;
}

// --- sections ----------------------------------------------------------------------------------

typedef struct {
    const char *title;
    mla_buf text;
    size_t lines;
} section;

enum { MATCHES, MODEL, DEFINITIONS, CONSTANTS, IMPORTS, N_SECTIONS };

static void add(section *s, size_t number, mla__slice line) {
    if (s->lines++ >= SECTION_LINES) return;
    mla_buf_printf(&s->text, "%4zu | ", number);
    mla__add_plain(&s->text, line.at, line.len, LINE_SHOWN);
    mla_buf_puts(&s->text, "\n");
}

static void sort_line(section *s, size_t number, mla__slice line, const names *users) {
    if (is_import(line)) add(&s[IMPORTS], number, line);
    else if (is_definition(line)) add(&s[DEFINITIONS], number, line);
    else if (is_use(line) || is_making(line, users)) add(&s[MODEL], number, line);
    else if (is_constant(line)) add(&s[CONSTANTS], number, line);
}

static void say(section *s, mla_buf *out) {
    if (s->lines) {
        mla_buf_printf(out, "%s:\n%s", s->title, mla_buf_text(&s->text));
        if (s->lines > SECTION_LINES) {
            mla_buf_printf(out, "     | ... (%zu more)\n", s->lines - SECTION_LINES);
        }
    }
    mla_buf_clear(&s->text);
}

void mla__understand_python(const char *name, const char *text, size_t len,
                            const mla__words *words, mla_buf *out) {
    section sections[N_SECTIONS] = {
        [MATCHES] = {.title = "Lines that match"},
        [MODEL] = {.title = "A model is made, fitted or asked"},
        [DEFINITIONS] = {.title = "Functions and classes"},
        [CONSTANTS] = {.title = "Constants"},
        [IMPORTS] = {.title = "Imports"},
    };
    script s = {.len = 0};
    names users = {.len = 0};
    split(&s, text, len);
    for (int i = 0; i < N_SECTIONS; i++) mla_buf_init(&sections[i].text, MLA__UNDERSTAND_MAX);
    for (size_t i = 0; i < s.len; i++)
        if (s.code[i]) add_user(&users, s.items[i]);
    for (size_t i = 0; i < s.len; i++) {
        if (mla__words_match(words, s.items[i].at, s.items[i].len)) {
            add(&sections[MATCHES], i + 1, s.items[i]);
        }
        if (s.code[i]) sort_line(sections, i + 1, s.items[i], &users);
    }
    mla_buf_printf(out, "%s: a Python script of %zu lines, %zu bytes.\n", name, s.len, len);
    for (int i = 0; i < N_SECTIONS; i++) say(&sections[i], out);
    free(s.items);
    free(s.code);
}
