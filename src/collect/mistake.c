// Mistakes on purpose: now and then the expert misspells a name in its edit, reads the error and
// repairs it, so that the data set shows how one gets out of a broken script. It leaves out when
// that happens: expert.c.
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "collect/internal.h"

#define NAME_MIN 6             // letters of a name to misspell: a shorter one looks like another

typedef struct {
    const char *line;          // in the blocks
    size_t len;                // without the newline
    size_t at, n;              // the name in the line
} candidate;

static size_t line_length(const char *line) {
    return strcspn(line, "\n");
}

static const char *next_line(const char *line) {
    line += line_length(line);
    return *line ? line + 1 : line;
}

static bool begins(const char *line, const char *with) {
    return !strncmp(line, with, strlen(with));
}

static bool name_char(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

// Times that a line stands in a text as a whole line.
static size_t count_line(const char *text, const char *line, size_t len) {
    size_t n = 0;
    for (const char *p = text; *p; p = next_line(p)) {
        n += line_length(p) == len && !memcmp(p, line, len);
    }
    return n;
}

// Whether a misspelt name on this line is sure to be looked up under its wrong spelling: what is
// quoted or a comment is not looked up, and a definition would be misspelt for its callers only.
static bool sure(const char *line, size_t at) {
    const char *first = line + strspn(line, " ");
    if (begins(first, "def ") || begins(first, "class ")) return false;
    for (size_t i = 0; i < at; i++) {
        if (strchr("'\"#", line[i])) return false;
    }
    return true;
}

// The name on a line that is called, or the last one that is imported.
static bool find_name(candidate *out, const char *line) {
    size_t len = line_length(line);
    bool import = begins(line, "from ") || begins(line, "import ");
    for (size_t at = 0, n; at < len; at += n + 1) {
        n = 0;
        while (at + n < len && name_char(line[at + n])) n++;
        bool found = import ? at + n == len : line[at + n] == '(';
        if (n >= NAME_MIN && found && isalpha((unsigned char)line[at]) && sure(line, at)) {
            *out = (candidate){line, len, at, n};
            return true;
        }
    }
    return false;
}

// Lines in the REPLACE parts that stand nowhere else in the blocks and have a name.
static candidate *find_candidates(const char *blocks, size_t *count) {
    candidate *found = NULL;
    size_t n = 0, cap = 0;
    bool in = false;
    for (const char *p = blocks; *p; p = next_line(p)) {
        if (begins(p, "=======")) in = true;
        if (begins(p, ">>>>>>>")) in = false;
        candidate c;
        if (!in || !find_name(&c, p) || count_line(blocks, p, c.len) != 1) continue;
        MLA_GROW(found, cap, n + 1);
        found[n++] = c;
    }
    *count = n;
    return found;
}

// Swaps two neighbours of a name that differ, or drops a letter; the first letter stays.
static char *misspell(const char *name, mla_rng *rng) {
    size_t n = strlen(name);
    size_t at = 1 + (size_t)mla_rng_below(rng, n - 2);
    char *out = mla_strdup(name);
    if (out[at] != out[at + 1]) {
        char c = out[at];
        out[at] = out[at + 1];
        out[at + 1] = c;
    } else {
        memmove(out + at, out + at + 1, n - at);
    }
    return out;
}

bool mla__mistake_make(mla__mistake *out, mla_rng *rng, const char *blocks) {
    *out = (mla__mistake){0};
    size_t n;
    candidate *found = find_candidates(blocks, &n);
    if (n) {
        candidate c = found[mla_rng_below(rng, n)];
        out->right = mla_strndup(c.line + c.at, c.n);
        out->wrong = misspell(out->right, rng);
        out->right_line = mla_strndup(c.line, c.len);
        out->wrong_line = mla_format("%.*s%s%s", (int)c.at, c.line, out->wrong,
                                     out->right_line + c.at + c.n);
        out->blocks = mla_format("%.*s%s%s", (int)(c.line - blocks), blocks, out->wrong_line,
                                 c.line + c.len);
    }
    free(found);
    return n > 0;
}

char *mla__mistake_repair(const mla__mistake *mistake, const char *script) {
    const char *wrong = mistake->wrong_line;
    if (count_line(script, wrong, strlen(wrong)) != 1) return NULL;
    return mla_format("<<<<<<< SEARCH\n%s\n=======\n%s\n>>>>>>> REPLACE", wrong,
                      mistake->right_line);
}

void mla__mistake_clear(mla__mistake *mistake) {
    free(mistake->blocks);
    free(mistake->wrong_line);
    free(mistake->right_line);
    free(mistake->wrong);
    free(mistake->right);
    *mistake = (mla__mistake){0};
}
