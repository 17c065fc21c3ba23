// Names of a variant's script: which are the script's own, what else they could be called, and the
// renaming. Attributes, keywords of calls, imported names and what stands in texts stay.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/variant_internal.h"

// --- sets ---------------------------------------------------------------------------------------

void mla__names_clear(mla__names *names) {
    for (size_t i = 0; i < names->len; i++) free(names->items[i]);
    free(names->items);
    *names = (mla__names){0};
}

bool mla__names_has(const mla__names *names, const char *name, size_t len) {
    for (size_t i = 0; i < names->len; i++) {
        if (!strncmp(names->items[i], name, len) && !names->items[i][len]) return true;
    }
    return false;
}

void mla__names_add(mla__names *names, const char *name, size_t len) {
    if (mla__names_has(names, name, len)) return;
    MLA_GROW(names->items, names->cap, names->len + 1);
    names->items[names->len++] = mla_strndup(name, len);
}

void mla__names_add_words(mla__names *names, const char *text) {
    for (const char *p = text; *p;) {
        size_t n = 0;
        while (isalnum((unsigned char)p[n]) || p[n] == '_') n++;
        if (n && !isdigit((unsigned char)*p)) mla__names_add(names, p, n);
        p += n ? n : 1;
    }
}

void mla__changes_clear(mla__changes *changes) {
    for (size_t i = 0; i < changes->len; i++) {
        free(changes->items[i].key);
        free(changes->items[i].from);
        free(changes->items[i].to);
    }
    *changes = (mla__changes){.len = 0};
}

bool mla__changes_add_take(mla__changes *changes, char *key, char *from, char *to) {
    if (changes->len < MLA__CHANGES_MAX) {
        changes->items[changes->len++] = (mla__change){key, from, to};
        return true;
    }
    free(key);
    free(from);
    free(to);
    return false;
}

// --- what a script binds ------------------------------------------------------------------------

static void mark(const mla__py *py, unsigned char *binds, size_t i, unsigned char what) {
    bool part = mla__py_is(py, i + 1, ".") || mla__py_is(py, i + 1, "[") ||
                mla__py_is(py, i + 1, "(") || (i && mla__py_is(py, i - 1, "."));
    if (mla__py_is_name(py, i) && !part && binds[i] < what) binds[i] = what;
}

// Names up to the word that ends them, at the depth of the first.
static void mark_until(const mla__py *py, unsigned char *binds, size_t from, const char *stop,
                       unsigned char what) {
    int depth = from < py->n_tokens ? py->tokens[from].depth : 0;
    for (size_t i = from; i < py->n_tokens; i++) {
        if (mla__py_is(py, i, stop) && py->tokens[i].depth <= depth) break;
        bool value = i && mla__py_is(py, i - 1, "=");
        if (!value) mark(py, binds, i, what);
    }
}

static void mark_parameters(const mla__py *py, unsigned char *binds, const mla__py_line *line,
                            size_t open) {
    int depth = py->tokens[open].depth + 1;
    for (size_t i = open + 1; i < line->end && py->tokens[i].depth >= depth; i++) {
        bool starts = mla__py_is(py, i - 1, "(") || mla__py_is(py, i - 1, ",") ||
                      mla__py_is(py, i - 1, "*") || mla__py_is(py, i - 1, "**");
        if (py->tokens[i].depth == depth && starts && mla__py_is_name(py, i)) binds[i] = 2;
    }
}

static void mark_assignment(const mla__py *py, unsigned char *binds, const mla__py_line *line) {
    size_t last = line->first;
    for (size_t i = line->first; i < line->end; i++) {
        const mla__py_token *t = &py->tokens[i];
        bool plain = t->depth == 0 && t->kind == MLA__PY_OP && !t->inside;
        if (plain && mla__py_is(py, i, "=")) last = i;
        if (plain && mla__py_is(py, i, ":")) break;         // the body of a one-line statement
    }
    for (size_t i = line->first; i < last; i++) {
        if (py->tokens[i].depth == 0) mark(py, binds, i, 1);
    }
}

static void mark_line(const mla__py *py, unsigned char *binds, const mla__py_line *line,
                      bool method) {
    size_t first = line->first;
    if (mla__py_is(py, first, "import") || mla__py_is(py, first, "from")) return;
    bool def = mla__py_is(py, first, "def"), class = mla__py_is(py, first, "class");
    if (def && !method && mla__py_is_name(py, first + 1)) binds[first + 1] = 1;
    if (class && mla__py_is_name(py, first + 1)) binds[first + 1] = 1;
    if (def) mark_parameters(py, binds, line, first + 2);
    else if (!class) mark_assignment(py, binds, line);
    for (size_t i = first; i < line->end; i++) {
        if (mla__py_is(py, i, "for")) mark_until(py, binds, i + 1, "in", 1);
        if (mla__py_is(py, i, "lambda")) mark_until(py, binds, i + 1, ":", 2);
        if (mla__py_is(py, i, "as")) mark(py, binds, i + 1, 1);
        if (mla__py_is(py, i + 1, ":=")) mark(py, binds, i, 1);
    }
}

unsigned char *mla__bindings_find(const mla__py *py) {
    unsigned char *binds = MLA_NEW_ARRAY(unsigned char, py->n_tokens + 1);
    int class_indent = -1;                                   // of the class around, -1: none
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        if (!line->code) continue;
        if (line->indent <= class_indent) class_indent = -1;
        mark_line(py, binds, line, class_indent >= 0 && line->indent == class_indent + 4);
        if (mla__py_is(py, line->first, "class")) class_indent = line->indent;
    }
    return binds;
}

// --- new names ----------------------------------------------------------------------------------

#define SAME_MAX 10

// Words that say the same in a script.
static const char *const same_words[][SAME_MAX] = {
    {"train", "tr", "trn", "training", "known", "labelled"},
    {"test", "te", "tst", "unseen", "new", "query"},
    {"val", "valid", "dev", "held", "check", "va"},
    {"df", "frame", "table", "data", "tbl", "dataset", "d"},
    {"x", "X", "feats", "inputs", "design", "mat"},
    {"y", "target", "labels", "truth", "outcome", "goal", "t"},
    {"model", "clf", "est", "estimator", "learner", "predictor", "classifier", "m"},
    {"pred", "preds", "prediction", "predictions", "guess", "guesses", "yhat", "predicted"},
    {"submission", "sub", "result", "answer", "output", "out_table", "upload"},
    {"out", "res", "frame_out", "made", "collected", "o"},
    {"make", "build", "create", "compute", "get", "derive"},
    {"features", "feats", "variables", "attributes", "predictors"},
    {"describe", "encode", "represent", "featurize", "summarise", "embed"},
    {"score", "measure", "evaluate", "quality", "metric"},
    {"load", "read", "fetch", "open_table", "get_table"},
    {"fit", "learn", "fitting", "inner"},
    {"img", "images", "pics", "pictures", "ims", "photos"},
    {"small", "tiny", "coarse", "thumb", "reduced", "shrunk"},
    {"prob", "proba", "chance", "likelihood", "p_hat"},
    {"scores", "values", "ranking", "outputs"},
    {"text", "texts", "docs", "sentences", "corpus"},
    {"rows", "records", "items", "entries"},
    {"row", "record", "item", "entry"},
    {"vectorizer", "vec", "counter", "bow", "counts"},
    {"pipe", "pipeline", "chain", "flow", "stack"},
    {"plants", "specimens", "samples", "cases"},
    {"plant", "specimen", "sample", "case"},
    {"unknown", "unlabelled", "mystery", "others"},
    {"is", "mask", "flag", "where"},
    {"i", "k", "j", "n", "idx", "ix"},
    {"f", "fh", "handle", "fp", "sink"},
    {"p", "q", "pr", "value"},
    {"a", "arr", "array", "block"},
    {"c", "ch", "char", "sym"},
    {"s", "string", "mol", "item_text"},
    {"everything", "both", "all_rows", "combined", "full", "union"},
    {"nodes", "nouns", "known_nodes", "vertices"},
    {"fields", "kinds", "areas"},
    {"ratings", "grades", "marks"},
    {"main", "run", "go", "work", "start", "job"},
    {"column", "col", "series"},
    {"length", "size", "n_chars", "long"},
    {"rings", "n_rings", "cycles", "ring_count"},
    {"cut", "border", "split_at", "limit_row"},
    {"number", "numeric", "num"},
    {"predict", "forecast", "infer", "apply"},
    {"final", "last", "full_model", "finished"},
    {"accuracy", "share_right", "acc", "hit_rate"},
    {"columns", "cols", "used", "chosen", "selected", "inputs"},
    {"config", "settings", "params", "options", "conf"},
    {"seed", "rng_seed", "random_seed", "state_seed"},
    {"name", "part", "which"},
    {"path", "file_name", "where_from", "source"},
    {"words", "vocab", "terms", "tokens"},
    {"probabilities", "probs", "chances", "posterior"},
    {"emoji", "pictures", "icons", "collection"},
    {"guesser", "recogniser", "solver"},
    {"pixels", "px", "cells", "bands"},
    {"parts", "pieces", "chunks", "blocks"},
    {"to", "into"},
    {"cross", "cv", "folded", "oof"},
};

static bool upper(const char *word) {
    for (const char *p = word; *p; p++) {
        if (islower((unsigned char)*p)) return false;
    }
    return word[1] != '\0';
}

// A word that says the same, or NULL. The case of the first letter is kept where all letters but it
// are small, that of all where all are large.
static char *other_word(const char *word, mla_rng *rng) {
    char low[64];
    size_t n = strlen(word);
    if (n >= sizeof low) return NULL;
    for (size_t i = 0; i <= n; i++) low[i] = (char)tolower((unsigned char)word[i]);
    for (size_t g = 0; g < MLA_COUNT(same_words); g++) {
        size_t count = 0, here = SAME_MAX;
        for (; count < SAME_MAX && same_words[g][count]; count++) {
            if (strcmp(same_words[g][count], low) == 0) here = count;
        }
        if (here == SAME_MAX) continue;
        size_t pick = (size_t)mla_rng_below(rng, count - 1);
        char *out = mla_strdup(same_words[g][pick + (pick >= here)]);
        for (char *p = out; *p && upper(word); p++) *p = (char)toupper((unsigned char)*p);
        if (isupper((unsigned char)word[0]) && n > 1) *out = (char)toupper((unsigned char)*out);
        return out;
    }
    return NULL;
}

// Ways to write a name that no word is known for.
static char *other_form(const char *name, mla_rng *rng) {
    static const char *const before[] = {"my_", "the_", "cur_", "this_"};
    static const char *const after[] = {"_", "1", "_0", "_all", "_here"};
    if (upper(name)) return mla_format("%s_%s", name, mla_rng_below(rng, 2) ? "SET" : "USED");
    if (isupper((unsigned char)name[0]) && name[1]) {
        return mla_format("%s%s", mla_rng_below(rng, 2) ? "My" : "The", name);
    }
    if (mla_rng_below(rng, 2)) return mla_format("%s%s", before[mla_rng_below(rng, 4)], name);
    return mla_format("%s%s", name, after[mla_rng_below(rng, 5)]);
}

static char *camel(char *name) {
    size_t n = 0;
    for (size_t i = 0; name[i]; i++) {
        bool hump = name[i] == '_' && n && islower((unsigned char)name[i + 1]);
        name[n++] = hump ? (char)toupper((unsigned char)name[++i]) : name[i];
    }
    name[n] = '\0';
    return name;
}

static char *other_name(const char *name, mla_rng *rng) {
    mla_buf out;
    mla_buf_init(&out, 256);
    bool changed = false;
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "_");
        char *word = mla_strndup(p, n), *other = n ? other_word(word, rng) : NULL;
        changed |= other != NULL;
        mla_buf_puts(&out, other ? other : word);
        free(word);
        free(other);
        p += n;
        if (*p == '_') mla_buf_append(&out, p++, 1);
    }
    if (!changed) {
        mla_buf_clear(&out);
        return other_form(name, rng);
    }
    bool humps = !upper(name) && mla_rng_below(rng, 6) == 0;
    return humps ? camel(mla_buf_take(&out)) : mla_buf_take(&out);
}

static bool is_new(const mla__changes *renames, const char *name) {
    for (size_t i = 0; i < renames->len; i++) {
        if (strcmp(renames->items[i].to, name) == 0) return false;
    }
    return true;
}

static void draw_one(mla__changes *out, const char *name, const mla__names *taken, mla_rng *rng) {
    static const char *const builtins =
        " float int str len sum max min map set list dict all any id type input filter object "
        "range round hash iter next open pass in is as np pd csv ";
    for (int attempt = 0; attempt < 8; attempt++) {
        char *to = other_name(name, rng), *padded = mla_format(" %s ", to);
        bool good = !mla__names_has(taken, to, strlen(to)) && is_new(out, to) &&
                    !strstr(builtins, padded);
        free(padded);
        if (good) {
            mla__changes_add_take(out, NULL, mla_strdup(name), to);
            return;
        }
        free(to);
    }
}

void mla__renames_draw(mla__changes *out, const mla__py *py, const mla__names *taken,
                       const mla__names *keywords, double share, mla_rng *rng) {
    unsigned char *binds = mla__bindings_find(py);
    mla__names seen = {0};
    mla__names_add(&seen, "self", 4);
    mla__names_add(&seen, "_", 1);
    for (size_t i = 0; i < py->n_tokens; i++) {
        const char *at = py->text + py->tokens[i].at;
        size_t len = py->tokens[i].len;
        bool fixed = binds[i] == 2 && mla__names_has(keywords, at, len);
        if (fixed) mla__names_add(&seen, at, len);
    }
    for (size_t i = 0; i < py->n_tokens; i++) {
        const char *at = py->text + py->tokens[i].at;
        size_t len = py->tokens[i].len;
        if (!binds[i] || mla__names_has(&seen, at, len)) continue;
        mla__names_add(&seen, at, len);
        char *name = mla_strndup(at, len);
        if (mla_rng_uniform(rng) < share) draw_one(out, name, taken, rng);
        free(name);
    }
    mla__names_clear(&seen);
    free(binds);
}

// --- renaming -----------------------------------------------------------------------------------

// Whether a line imports under a name that is to be changed.
static bool imports_renamed(const mla__py *py, const mla__changes *renames) {
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        bool import = mla__py_is(py, line->first, "import") || mla__py_is(py, line->first, "from");
        for (size_t i = line->first + 1; import && line->code && i < line->end; i++) {
            for (size_t k = 0; k < renames->len; k++) {
                if (mla__py_is(py, i, renames->items[k].from) && !mla__py_is(py, i - 1, ".") &&
                    !mla__py_is(py, i + 1, ".")) return true;
            }
        }
    }
    return false;
}

char *mla__rename(const char *script, const mla__changes *renames) {
    mla__py py;
    if (!mla__py_read(&py, script) || imports_renamed(&py, renames)) {
        mla__py_clear(&py);
        return NULL;
    }
    unsigned char *binds = mla__bindings_find(&py);
    mla__py_edits edits;
    mla__py_edits_begin(&edits, script);
    for (size_t i = 0; i < py.n_tokens; i++) {
        if (!binds[i] && !mla__py_is_use(&py, i)) continue;
        for (size_t k = 0; k < renames->len; k++) {
            if (!mla__py_is(&py, i, renames->items[k].from)) continue;
            mla__py_edits_put(&edits, py.tokens[i].at, py.tokens[i].len, renames->items[k].to);
            break;
        }
    }
    free(binds);
    mla__py_clear(&py);
    return mla__py_edits_end(&edits);
}
