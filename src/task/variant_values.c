// What a variant's script begins with: other numbers, fewer columns, constants that have a name or
// none.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/variant_internal.h"

#define LIST_MIN 4           // elements of a list of which some may go
#define LINES_MIN 4          // lines that each set a column
#define OTHERS_MAX 8

// Numbers that a starter may have, by what stands before them.
static const struct {
    const char *key;
    const char *others[OTHERS_MAX];
} numbers[] = {
    {"random_state", {"0", "1", "7", "13", "42", "123", "2024"}},
    {"seed", {"0", "1", "7", "13", "42", "123", "2024"}},
    {"SEED", {"0", "1", "7", "13", "42", "123", "2024"}},
    {"max_depth", {"2", "3", "4", "5", "6", "8", "10"}},
    {"min_samples_leaf", {"1", "2", "4", "10", "15", "20"}},
    {"n_neighbors", {"1", "2", "3", "4", "5", "7", "9"}},
    {"C", {"0.01", "0.03", "0.1", "0.3", "1.0", "3.0"}},
    {"alpha", {"0.3", "1.0", "2.0", "5.0", "10.0", "20.0", "30.0"}},
    {"vocabulary", {"15", "20", "25", "30", "40", "50", "60"}},
    {"max_features", {"15", "20", "30", "50", "80"}},
    {"N_WORDS", {"40", "60", "80", "100", "120", "150"}},
    {"test_size", {"0.15", "0.2", "0.25", "0.3", "0.4"}},
    {"folds", {"2", "3", "4", "5"}},
    {"cv", {"2", "3", "4", "5"}},
};

// --- numbers ------------------------------------------------------------------------------------

// The key before the number at `i`: `key=1`, `key = 1` or `"key": 1`; NULL when there is none.
// Caller frees.
static char *key_before(const mla__py *py, size_t i) {
    if (i < 2 || py->tokens[i].kind != MLA__PY_NUMBER || py->tokens[i].inside) return NULL;
    const mla__py_token *key = &py->tokens[i - 2];
    if (mla__py_is(py, i - 1, "=") && mla__py_is_name(py, i - 2)) return mla__py_text(py, i - 2);
    if (!mla__py_is(py, i - 1, ":") || key->kind != MLA__PY_STRING || key->len < 3) return NULL;
    return mla_strndup(py->text + key->at + 1, key->len - 2);
}

// A number ends its expression, so that `cv=5 * n` keeps its five.
static bool stands_alone(const mla__py *py, size_t i) {
    static const char *const ends[] = {",", ")", "}", "]"};
    for (size_t k = 0; k < MLA_COUNT(ends); k++) {
        if (mla__py_is(py, i + 1, ends[k])) return true;
    }
    size_t end = py->tokens[i].at + py->tokens[i].len;
    return i + 1 == py->n_tokens ||
           memchr(py->text + end, '\n', py->tokens[i + 1].at - end) != NULL;
}

static const mla__change *find_change(const mla__changes *changes, const char *key,
                                      const mla__py *py, size_t i) {
    for (size_t k = 0; k < changes->len; k++) {
        const mla__change *c = &changes->items[k];
        if (!strcmp(c->key, key) && mla__py_is(py, i, c->from)) return c;
    }
    return NULL;
}

static char *change_numbers(const char *script, const mla__changes *changes) {
    mla__py py;
    mla__py_edits edits;
    bool read = mla__py_read(&py, script);
    mla__py_edits_begin(&edits, script);
    for (size_t i = 0; read && i < py.n_tokens; i++) {
        char *key = key_before(&py, i);
        const mla__change *c = key ? find_change(changes, key, &py, i) : NULL;
        if (c && stands_alone(&py, i)) {
            mla__py_edits_put(&edits, py.tokens[i].at, py.tokens[i].len, c->to);
        }
        free(key);
    }
    mla__py_clear(&py);
    char *out = mla__py_edits_end(&edits);
    if (read) return out;
    free(out);
    return NULL;
}

char *mla__literals_change(const char *script, const mla__changes *literals) {
    return change_numbers(script, literals);
}

static void draw_literal(mla__changes *out, const mla__py *py, size_t i, char *key, mla_rng *rng) {
    for (size_t n = 0; n < MLA_COUNT(numbers); n++) {
        if (strcmp(numbers[n].key, key) != 0) continue;
        size_t count = 0;
        while (count < OTHERS_MAX && numbers[n].others[count]) count++;
        const char *to = numbers[n].others[mla_rng_below(rng, count)];
        if (mla__py_is(py, i, to)) return;
        mla__changes_add_take(out, mla_strdup(key), mla__py_text(py, i), mla_strdup(to));
        return;
    }
}

static void draw_literals(mla__changes *out, const mla__py *py, mla_rng *rng) {
    for (size_t i = 0; i < py->n_tokens; i++) {
        char *key = key_before(py, i);
        bool wanted = key && stands_alone(py, i) && !find_change(out, key, py, i);
        if (wanted && mla_rng_below(rng, 2)) draw_literal(out, py, i, key, rng);
        free(key);
    }
}

// --- columns ------------------------------------------------------------------------------------

// The brackets of a list of texts that is given a name at the top level: its tokens [first, last]
// are the brackets. Their number of elements, 0 when the line is something else.
static size_t list_of_texts(const mla__py *py, const mla__py_line *line, size_t *open) {
    size_t i = line->first + 2, n = 0;
    *open = i;
    if (!line->code || line->indent || !mla__py_is_name(py, line->first)) return 0;
    if (!mla__py_is(py, line->first + 1, "=") || !mla__py_is(py, i, "[")) return 0;
    for (i++; i + 1 < line->end; i += 2, n++) {
        if (py->tokens[i].kind != MLA__PY_STRING) return 0;
        if (!mla__py_is(py, i + 1, ",")) return mla__py_is(py, i + 1, "]") ? n + 1 : 0;
    }
    return 0;
}

static const mla__change *find_drop(const mla__changes *drops, const char *key, const char *text,
                                    size_t len) {
    for (size_t k = 0; k < drops->len; k++) {
        const mla__change *c = &drops->items[k];
        if (!strcmp(c->key, key) && strlen(c->from) == len && !memcmp(c->from, text, len)) return c;
    }
    return NULL;
}

static void drop_elements(const mla__py *py, mla__py_edits *edits, size_t open, size_t n,
                          const char *key, const mla__changes *drops) {
    size_t kept = 0;
    for (size_t e = 0; e < n; e++) {
        size_t i = open + 1 + 2 * e;
        const mla__py_token *t = &py->tokens[i], *before = &py->tokens[i - 1];
        if (!find_drop(drops, key, py->text + t->at, t->len)) {
            kept++;
            continue;
        }
        size_t from = kept ? before->at : t->at;               // its comma, or the next one's
        size_t to = kept || e + 1 == n ? t->at + t->len : py->tokens[i + 2].at;
        mla__py_edits_put(edits, from, to - from, "");
    }
}

static const mla__change *line_drop(const mla__py *py, const mla__py_line *line,
                                    const mla__changes *drops) {
    size_t from = line->from + (size_t)line->indent, to = line->to;
    while (to > from && py->text[to - 1] == '\n') to--;
    return find_drop(drops, "", py->text + from, to - from);
}

// Whether a column that was dropped is still asked for: `out["age"]`, or a text of the list, which
// may name a column of what the list has chosen.
static bool still_named(const char *script, const mla__changes *drops) {
    mla__py py;
    bool found = !mla__py_read(&py, script);
    for (size_t k = 0; k < drops->len && !found; k++) {
        const mla__change *c = &drops->items[k];
        for (size_t i = 2; i < py.n_tokens && !found; i++) {
            if (py.tokens[i].kind != MLA__PY_STRING) continue;
            char *place = mla_format("%.*s[%.*s]", (int)py.tokens[i - 2].len,
                                     script + py.tokens[i - 2].at, (int)py.tokens[i].len,
                                     script + py.tokens[i].at);
            found = *c->key ? mla__py_is(&py, i, c->from)
                            : !strcmp(place, c->to) && mla__py_is(&py, i - 1, "[");
            free(place);
        }
    }
    mla__py_clear(&py);
    return found;
}

char *mla__columns_drop(const char *script, const mla__changes *drops) {
    mla__py py;
    mla__py_edits edits;
    bool read = mla__py_read(&py, script);
    mla__py_edits_begin(&edits, script);
    for (size_t l = 0; read && l < py.n_lines; l++) {
        const mla__py_line *line = &py.lines[l];
        size_t open, n = list_of_texts(&py, line, &open);
        if (n) {
            char *key = mla__py_text(&py, line->first);
            drop_elements(&py, &edits, open, n, key, drops);
            free(key);
        } else if (line->code && line_drop(&py, line, drops)) {
            mla__py_edits_put(&edits, line->from, line->to - line->from, "");
        }
    }
    mla__py_clear(&py);
    char *out = mla__py_edits_end(&edits);
    if (read && !still_named(out, drops)) return out;
    free(out);
    return NULL;
}

static void draw_elements(mla__changes *out, const mla__py *py, size_t open, size_t n,
                          const char *key, mla_rng *rng) {
    size_t left = n, most = n / 2;
    for (size_t e = 0; e < n && n - left < most; e++) {
        if (mla_rng_below(rng, 4)) continue;
        mla__changes_add_take(out, mla_strdup(key), mla__py_text(py, open + 1 + 2 * e), NULL);
        left--;
    }
}

// A line `name["column"] = ...` inside a function.
static bool sets_column(const mla__py *py, const mla__py_line *line) {
    size_t i = line->first;
    return line->code && line->indent && mla__py_is_name(py, i) && mla__py_is(py, i + 1, "[") &&
           py->tokens[i + 2].kind == MLA__PY_STRING && mla__py_is(py, i + 3, "]") &&
           mla__py_is(py, i + 4, "=");
}

static void draw_lines(mla__changes *out, const mla__py *py, mla_rng *rng) {
    size_t n = 0, gone = 0;
    for (size_t l = 0; l < py->n_lines; l++) n += sets_column(py, &py->lines[l]);
    for (size_t l = 0; l < py->n_lines && n >= LINES_MIN && gone < n / 2; l++) {
        const mla__py_line *line = &py->lines[l];
        if (!sets_column(py, line) || mla_rng_below(rng, 4)) continue;
        size_t from = line->from + (size_t)line->indent, to = line->to;
        while (to > from && py->text[to - 1] == '\n') to--;
        const mla__py_token *name = &py->tokens[line->first], *end = &py->tokens[line->first + 3];
        mla__changes_add_take(out, mla_strdup(""), mla_strndup(py->text + from, to - from),
                              mla_strndup(py->text + name->at, end->at + 1 - name->at));
        gone++;
    }
}

static void draw_drops(mla__changes *out, const mla__py *py, mla_rng *rng) {
    for (size_t l = 0; l < py->n_lines; l++) {
        size_t open, n = list_of_texts(py, &py->lines[l], &open);
        if (n < LIST_MIN) continue;
        char *key = mla__py_text(py, py->lines[l].first);
        draw_elements(out, py, open, n, key, rng);
        free(key);
    }
    draw_lines(out, py, rng);
}

// --- constants ----------------------------------------------------------------------------------

static bool is_upper(const mla__py *py, size_t i) {
    const mla__py_token *t = &py->tokens[i];
    for (size_t k = 0; k < t->len; k++) {
        if (islower((unsigned char)py->text[t->at + k])) return false;
    }
    return t->len > 1;
}

// Whether the line is `NAME = value`, one number or text, at the top level.
static bool is_constant(const mla__py *py, const mla__py_line *line) {
    size_t i = line->first;
    if (!line->code || line->indent || line->end != i + 3 || !mla__py_is_name(py, i)) return false;
    mla__py_kind kind = py->tokens[i + 2].kind;
    return is_upper(py, i) && mla__py_is(py, i + 1, "=") && !py->tokens[i + 2].inside &&
           (kind == MLA__PY_NUMBER || kind == MLA__PY_STRING);
}

// Where a new constant may stand: behind the last import of the top level.
static size_t behind_imports(const mla__py *py) {
    size_t at = (size_t)-1;
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        bool import = mla__py_is(py, line->first, "import") || mla__py_is(py, line->first, "from");
        if (line->code && !line->indent && import) at = line->to;
    }
    return at;
}

// The number that a hoisted key has first, and whether the script has it at all.
static bool find_number(const mla__py *py, const mla__change *hoist, size_t *at) {
    for (size_t i = 0; i < py->n_tokens; i++) {
        char *key = py->tokens[i].depth ? key_before(py, i) : NULL;
        bool found = key && !strcmp(key, hoist->key) && stands_alone(py, i);
        free(key);
        if (!found) continue;
        *at = i;
        return true;
    }
    return false;
}

// Every number of that key gives way to a constant; one number more, and there is no saying which.
static char *hoist_one(const char *script, const mla__change *hoist) {
    mla__py py;
    size_t first = 0, place;
    bool good = mla__py_read(&py, script) && find_number(&py, hoist, &first);
    place = good ? behind_imports(&py) : (size_t)-1;
    if (!good || place == (size_t)-1) {
        mla__py_clear(&py);
        return NULL;
    }
    char *value = mla__py_text(&py, first);
    char *line = mla_format("\n%s = %s\n", hoist->to, value);
    mla__py_edits edits;
    mla__py_edits_begin(&edits, script);
    mla__py_edits_put(&edits, place, 0, line);
    for (size_t i = first; i < py.n_tokens && good; i++) {
        char *key = py.tokens[i].depth ? key_before(&py, i) : NULL;
        if (key && !strcmp(key, hoist->key) && stands_alone(&py, i)) {
            good = mla__py_is(&py, i, value) && py.tokens[i].at > place;
            if (good) mla__py_edits_put(&edits, py.tokens[i].at, py.tokens[i].len, hoist->to);
        }
        free(key);
    }
    char *out = mla__py_edits_end(&edits);
    free(value);
    free(line);
    mla__py_clear(&py);
    if (good) return out;
    free(out);
    return NULL;
}

static char *inline_one(const char *script, const char *name) {
    mla__py py;
    size_t n = 0, at = 0;
    bool good = mla__py_read(&py, script);
    for (size_t l = 0; l < py.n_lines && good; l++) {
        if (!is_constant(&py, &py.lines[l]) || !mla__py_is(&py, py.lines[l].first, name)) continue;
        at = l;
        n++;
    }
    good = good && n == 1;
    mla__py_edits edits;
    mla__py_edits_begin(&edits, script);
    const mla__py_line *line = good ? &py.lines[at] : NULL;
    char *value = good ? mla__py_text(&py, line->first + 2) : NULL;
    for (size_t i = 0; i < py.n_tokens && good; i++) {
        if (i == line->first) {
            mla__py_edits_put(&edits, line->from, line->to - line->from, "");
        } else if (mla__py_is(&py, i, name) && mla__py_is_use(&py, i)) {
            good = i > line->first && !py.tokens[i].inside && !mla__py_is(&py, i + 1, "=");
            if (good) mla__py_edits_put(&edits, py.tokens[i].at, py.tokens[i].len, value);
        }
    }
    char *out = mla__py_edits_end(&edits);
    free(value);
    mla__py_clear(&py);
    if (good) return out;
    free(out);
    return NULL;
}

char *mla__constants_hoist(const char *script, const mla__changes *hoists) {
    char *now = mla_strdup(script);
    for (size_t i = 0; i < hoists->len && now; i++) {
        char *then = hoist_one(now, &hoists->items[i]);
        free(now);
        now = then;
    }
    return now;
}

char *mla__constants_inline(const char *script, const mla__changes *inlines) {
    char *now = mla_strdup(script);
    for (size_t i = 0; i < inlines->len && now; i++) {
        char *then = inline_one(now, inlines->items[i].key);
        free(now);
        now = then;
    }
    return now;
}

// One change of a kind is enough to tell scripts apart and leaves most ideas as they are.
static void draw_constants(mla__recipe *recipe, const mla__py *py, const mla__names *taken,
                           mla_rng *rng) {
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        if (!is_constant(py, line) || mla_rng_below(rng, 3)) continue;
        mla__changes_add_take(&recipe->inlines, mla__py_text(py, line->first), NULL, NULL);
    }
    for (size_t i = 0; i < py->n_tokens && recipe->hoists.len == 0; i++) {
        char *key = py->tokens[i].depth && !mla__py_is(py, i - 1, ":") ? key_before(py, i) : NULL;
        if (key && stands_alone(py, i) && mla_rng_below(rng, 4) == 0) {
            char *name = mla_strdup(key);
            for (char *p = name; *p; p++) *p = (char)toupper((unsigned char)*p);
            size_t len = strlen(name);
            if (len > 1 && !mla__names_has(taken, name, len)) {
                mla__changes_add_take(&recipe->hoists, mla_strdup(key), NULL, name);
            } else {
                free(name);
            }
        }
        free(key);
    }
}

void mla__values_draw(mla__recipe *recipe, const char *script, const mla__names *taken,
                      mla_rng *rng) {
    mla__py py;
    if (mla__py_read(&py, script)) {
        draw_literals(&recipe->literals, &py, rng);
        draw_drops(&recipe->drops, &py, rng);
        draw_constants(recipe, &py, taken, rng);
    }
    mla__py_clear(&py);
}
