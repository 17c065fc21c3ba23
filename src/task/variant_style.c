// How a variant's script is written: its imports, how it reads and writes, quotes, comments.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/variant_internal.h"

// A script that was read and its text as it changes.
typedef struct work {
    mla__py py;
    mla__py_edits edits;
} work;

static bool begin(work *w, const char *script) {
    bool good = mla__py_read(&w->py, script);
    mla__py_edits_begin(&w->edits, script);
    return good;
}

static char *end(work *w, bool good) {
    mla__py_clear(&w->py);
    char *out = mla__py_edits_end(&w->edits);
    if (good) return out;
    free(out);
    return NULL;
}

static bool is_import(const mla__py *py, const mla__py_line *line, const char *word) {
    return line->code && mla__py_is(py, line->first, word);
}

// Whether a name is looked up or bound anywhere but in import lines.
static bool occurs(const mla__py *py, const char *name, size_t len) {
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        if (is_import(py, line, "import") || is_import(py, line, "from")) continue;
        for (size_t i = line->first; i < line->end; i++) {
            bool attribute = i && mla__py_is(py, i - 1, ".");
            if (mla__py_same(py, i, name, len) && !attribute) return true;
        }
    }
    return false;
}

// --- imports ------------------------------------------------------------------------------------

// An import line `from sklearn.metrics import a, b` at the top level that may become
// `from sklearn import metrics`: the last part of its module is a name of its own.
static bool may_shorten(const mla__py *py, const mla__py_line *line) {
    size_t i = line->first, n = line->end - line->first;
    if (!is_import(py, line, "from") || line->indent || n < 6) return false;
    if (!mla__py_is(py, i + 1, "sklearn") || !mla__py_is(py, i + 2, ".")) return false;
    if (!mla__py_is(py, i + 4, "import") || !mla__py_is_name(py, i + 5)) return false;
    for (size_t k = i + 5; k < line->end; k++) {
        bool part = mla__py_is(py, k, ",") || (mla__py_is_name(py, k) && !mla__py_is(py, k, "as"));
        if (!part) return false;
    }
    const mla__py_token *module = &py->tokens[i + 3];
    return !occurs(py, py->text + module->at, module->len);
}

// The module of which the name at `i` is imported by a line that is shortened; its token, or 0.
static size_t module_of(const mla__py *py, const bool *shortened, size_t i) {
    const mla__py_token *t = &py->tokens[i];
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        for (size_t k = line->first + 5; shortened[l] && k < line->end; k++) {
            if (mla__py_same(py, k, py->text + t->at, t->len)) return line->first + 3;
        }
    }
    return 0;
}

static void shorten_line(work *w, const mla__py_line *line) {
    const mla__py_token *first = &w->py.tokens[line->first];
    const mla__py_token *last = &w->py.tokens[line->end - 1];
    char *module = mla__py_text(&w->py, line->first + 3);
    char *text = mla_format("from sklearn import %s", module);
    mla__py_edits_put(&w->edits, first->at, last->at + last->len - first->at, text);
    free(text);
    free(module);
}

static void shorten_uses(work *w, const mla__py_line *line, const bool *shortened) {
    for (size_t i = line->first; i < line->end; i++) {
        size_t module = mla__py_is_use(&w->py, i) ? module_of(&w->py, shortened, i) : 0;
        if (!module) continue;
        char *text = mla__py_text(&w->py, module), *name = mla__py_text(&w->py, i);
        char *whole = mla_format("%s.%s", text, name);
        mla__py_edits_put(&w->edits, w->py.tokens[i].at, w->py.tokens[i].len, whole);
        free(whole);
        free(name);
        free(text);
    }
}

static char *shorten_imports(const char *script) {
    work w;
    bool good = begin(&w, script);
    bool *shortened = MLA_NEW_ARRAY(bool, w.py.n_lines + 1);
    for (size_t l = 0; good && l < w.py.n_lines; l++) {
        shortened[l] = may_shorten(&w.py, &w.py.lines[l]);
    }
    for (size_t l = 0; good && l < w.py.n_lines; l++) {
        const mla__py_line *line = &w.py.lines[l];
        if (shortened[l]) shorten_line(&w, line);
        else if (!is_import(&w.py, line, "from")) shorten_uses(&w, line, shortened);
    }
    free(shortened);
    return end(&w, good);
}

static char *write_out(const char *script, const char *alias, const char *name) {
    work w;
    bool good = begin(&w, script) && !occurs(&w.py, name, strlen(name)), imported = false;
    for (size_t l = 0; good && l < w.py.n_lines; l++) {
        const mla__py_line *line = &w.py.lines[l];
        size_t i = line->first;
        if (is_import(&w.py, line, "import") && mla__py_is(&w.py, i + 1, name) &&
            mla__py_is(&w.py, i + 2, "as") && mla__py_is(&w.py, i + 3, alias)) {
            const mla__py_token *from = &w.py.tokens[i + 2], *to = &w.py.tokens[i + 3];
            mla__py_edits_put(&w.edits, from->at - 1, to->at + to->len - from->at + 1, "");
            imported = true;
            continue;
        }
        for (; imported && i < line->end; i++) {
            if (!mla__py_is(&w.py, i, alias) || !mla__py_is_use(&w.py, i)) continue;
            mla__py_edits_put(&w.edits, w.py.tokens[i].at, w.py.tokens[i].len, name);
        }
    }
    return end(&w, good);
}

char *mla__imports_change(const char *script, bool short_imports, bool full_names) {
    char *now = short_imports ? shorten_imports(script) : mla_strdup(script);
    const char *pairs[][2] = {{"pd", "pandas"}, {"np", "numpy"}};
    for (size_t i = 0; i < 2 && full_names && now; i++) {
        char *then = write_out(now, pairs[i][0], pairs[i][1]);
        free(now);
        now = then;
    }
    return now;
}

// --- reading and writing ------------------------------------------------------------------------

// Whether `pd.read_csv("data/NAME.csv")` stands at `i`; the name's bytes.
static bool reads_table(const mla__py *py, size_t i, const char **name, size_t *len) {
    const char *const parts[] = {"read_csv", "("};
    if (!mla__py_is(py, i, "pd") && !mla__py_is(py, i, "pandas")) return false;
    if (!mla__py_is(py, i + 1, ".") || !mla__py_is(py, i + 2, parts[0]) ||
        !mla__py_is(py, i + 3, parts[1]) || !mla__py_is(py, i + 5, ")")) return false;
    const mla__py_token *t = &py->tokens[i + 4];
    const char *text = py->text + t->at;
    if (t->kind != MLA__PY_STRING || t->len < 12 || strncmp(text + 1, "data/", 5) ||
        strncmp(text + t->len - 5, ".csv", 4) || *text != '"') return false;
    *name = text + 6;
    *len = t->len - 11;
    return true;
}

// Before the first line at the top level that is neither an import nor a comment nor blank: its
// comments stay with it.
static size_t before_work(const mla__py *py) {
    size_t at = 0;
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        bool import = is_import(py, line, "import") || is_import(py, line, "from");
        if (line->code && !line->indent && import) at = line->to;
    }
    return at;
}

char *mla__reading_share(const char *script, const char *reader) {
    work w;
    bool good = begin(&w, script);
    const char *name;
    size_t len, n = 0, place = good ? before_work(&w.py) : 0;
    for (size_t i = 0; good && i < w.py.n_tokens; i++) n += reads_table(&w.py, i, &name, &len);
    good = good && n >= 2 && place && !occurs(&w.py, reader, strlen(reader));
    const char *module = strstr(script, "import pandas as pd") ? "pd" : "pandas";
    char *def = mla_format("\n\ndef %s(part):\n    return %s.read_csv(f\"data/{part}.csv\")\n\n",
                           reader, module);
    if (good) mla__py_edits_put(&w.edits, place, 0, def);
    for (size_t i = 0; good && i < w.py.n_tokens; i++) {
        if (!reads_table(&w.py, i, &name, &len)) continue;
        const mla__py_token *from = &w.py.tokens[i], *to = &w.py.tokens[i + 5];
        good = from->at >= place;
        char *call = mla_format("%s(\"%.*s\")", reader, (int)len, name);
        if (good) mla__py_edits_put(&w.edits, from->at, to->at + 1 - from->at, call);
        free(call);
    }
    free(def);
    return end(&w, good);
}

// `pd.DataFrame(...).to_csv(...)` as a statement: the token of the dot before to_csv, or 0.
static size_t writes_at_once(const mla__py *py, const mla__py_line *line) {
    size_t i = line->first;
    if (!line->code || (!mla__py_is(py, i, "pd") && !mla__py_is(py, i, "pandas"))) return 0;
    if (!mla__py_is(py, i + 2, "DataFrame") || !mla__py_is(py, i + 3, "(")) return 0;
    for (size_t k = i + 4; k + 1 < line->end; k++) {
        if (py->tokens[k].depth) continue;
        if (mla__py_is(py, k, ".") && mla__py_is(py, k + 1, "to_csv")) return k;
        if (!mla__py_is(py, k, ")")) return 0;
    }
    return 0;
}

char *mla__writing_split(const char *script) {
    static const char name[] = "submission";
    work w;
    bool good = begin(&w, script) && !occurs(&w.py, name, strlen(name));
    for (size_t l = 0; good && l < w.py.n_lines; l++) {
        const mla__py_line *line = &w.py.lines[l];
        size_t dot = writes_at_once(&w.py, line);
        if (!dot) continue;
        char *second = mla_format("\n%*s%s", line->indent, "", name);
        mla__py_edits_put(&w.edits, w.py.tokens[line->first].at, 0, "submission = ");
        mla__py_edits_put(&w.edits, w.py.tokens[dot].at, 0, second);
        free(second);
    }
    return end(&w, good);
}

// --- annotations --------------------------------------------------------------------------------

// Behind the type that begins behind token `i` of a definition's line, a ':' or '->'.
static size_t behind_type(const mla__py *py, const mla__py_line *line, size_t i) {
    bool arrow = mla__py_is(py, i, "->");
    size_t k = i + 1;
    for (; k < line->end; k++) {
        int depth = py->tokens[k].depth;
        bool next = depth == 1 && (mla__py_is(py, k, ",") || mla__py_is(py, k, "="));
        if (arrow ? depth == 0 && mla__py_is(py, k, ":") : depth == 0 || next) break;
    }
    return k;
}

static void drop_annotations(work *w, const mla__py_line *line) {
    for (size_t i = line->first + 2; i < line->end; i++) {
        int depth = w->py.tokens[i].depth;
        bool type = depth == 1 ? mla__py_is(&w->py, i, ":")
                               : depth == 0 && mla__py_is(&w->py, i, "->");
        if (!type) continue;
        size_t behind = behind_type(&w->py, line, i), at = w->py.tokens[i].at;
        const mla__py_token *last = &w->py.tokens[behind - 1];
        while (w->py.text[at - 1] == ' ') at--;
        mla__py_edits_put(&w->edits, at, last->at + last->len - at, "");
        i = behind - 1;
    }
}

char *mla__annotations_drop(const char *script) {
    work w;
    bool good = begin(&w, script);
    for (size_t l = 0; good && l < w.py.n_lines; l++) {
        const mla__py_line *line = &w.py.lines[l];
        if (line->code && mla__py_is(&w.py, line->first, "def")) drop_annotations(&w, line);
    }
    return end(&w, good);
}

// --- quotes, comments, blank lines --------------------------------------------------------------

char *mla__quotes_change(const char *script) {
    work w;
    bool good = begin(&w, script);
    for (size_t i = 0; good && i < w.py.n_tokens; i++) {
        const mla__py_token *t = &w.py.tokens[i];
        const char *text = script + t->at;
        bool plain = t->kind == MLA__PY_STRING && *text == '"' && !t->inside && t->len >= 2 &&
                     !(t->len >= 6 && text[1] == '"' && text[2] == '"') &&
                     !memchr(text, '\'', t->len) && !memchr(text, '\\', t->len);
        if (!plain) continue;
        mla__py_edits_put(&w.edits, t->at, 1, "'");
        mla__py_edits_put(&w.edits, t->at + t->len - 1, 1, "'");
    }
    return end(&w, good);
}

// A text that stands alone as a statement: a description of the module, class or function.
static bool is_description(const mla__py *py, const mla__py_line *line) {
    return line->code && line->end == line->first + 1 &&
           py->tokens[line->first].kind == MLA__PY_STRING;
}

static void drop_comments(work *w, const mla__py_line *line) {
    bool whole = line->end > line->first && (!line->code || is_description(&w->py, line));
    if (whole) {
        mla__py_edits_put(&w->edits, line->from, line->to - line->from, "");
        return;
    }
    for (size_t i = line->first; i < line->end; i++) {
        const mla__py_token *t = &w->py.tokens[i];
        if (t->kind != MLA__PY_COMMENT) continue;
        size_t at = t->at;
        while (at && w->py.text[at - 1] == ' ') at--;
        mla__py_edits_put(&w->edits, at, t->at + t->len - at, "");
    }
}

#define WORDINGS 5

// Comments of ours, before the first line that has the word.
static const struct {
    const char *word;
    const char *texts[WORDINGS];
} remarks[] = {
    {"read_csv", {"# data", "# read the tables", "# load", "# the tables", "# input"}},
    {"loadtxt", {"# data", "# read the pictures", "# load", "# input", "# numbers from text"}},
    {"fit", {"# train", "# fit the model", "# learn", "# model", "# now the fit"}},
    {"print", {"# how good is it?", "# check", "# validate", "# a look at the score", "# report"}},
    {"predict", {"# predict", "# guesses for the test rows", "# apply it", "# output", "# test"}},
    {"return", {"# done", "# give it back", "# that is all for now", "# result", "# ready"}},
    {"to_csv", {"# write", "# save the submission", "# to disk", "# hand in", "# result"}},
};

static bool line_has(const mla__py *py, const mla__py_line *line, const char *word) {
    for (size_t i = line->first; line->code && i < line->end; i++) {
        if (mla__py_is(py, i, word)) return true;
    }
    return false;
}

static void add_remark(work *w, const mla__py_line *line, bool *done, uint64_t seed) {
    for (size_t k = 0; k < MLA_COUNT(remarks); k++) {
        if (done[k] || !line_has(&w->py, line, remarks[k].word)) continue;
        mla_rng rng;
        mla_rng_init(&rng, mla_rng_derive(seed, k, 5, 0));
        done[k] = true;
        if (mla_rng_below(&rng, 2)) continue;
        char *text = mla_format("%*s%s\n", line->indent, "",
                                remarks[k].texts[mla_rng_below(&rng, WORDINGS)]);
        mla__py_edits_put(&w->edits, line->from, 0, text);
        free(text);
        return;
    }
}

char *mla__comments_change(const char *script, mla__comments comments, uint64_t seed) {
    bool drops = comments == MLA__COMMENTS_NONE || comments == MLA__COMMENTS_OTHERS;
    bool adds = comments == MLA__COMMENTS_ADD || comments == MLA__COMMENTS_OTHERS;
    bool done[MLA_COUNT(remarks)] = {false};
    work w;
    bool good = begin(&w, script);
    for (size_t l = 0; good && l < w.py.n_lines; l++) {
        const mla__py_line *line = &w.py.lines[l];
        bool import = is_import(&w.py, line, "import") || is_import(&w.py, line, "from");
        if (adds && line->code && !import) add_remark(&w, line, done, seed);
        if (drops) drop_comments(&w, line);
    }
    return end(&w, good);
}

// Of several blank lines in a row one stays, none at the beginning.
char *mla__blanks_drop(const char *script) {
    work w;
    bool good = begin(&w, script), before = true;
    for (size_t l = 0; good && l < w.py.n_lines; l++) {
        const mla__py_line *line = &w.py.lines[l];
        bool blank = line->end == line->first;
        if (blank && before) mla__py_edits_put(&w.edits, line->from, line->to - line->from, "");
        before = blank;
    }
    return end(&w, good);
}
