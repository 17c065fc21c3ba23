// The order of a script's parts: what it imports, its constants, its definitions, its work, and
// whether the work stands at the top level or in a function.
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "task/variant_internal.h"

typedef enum { HEAD, IMPORT, CONSTANT, DEFINITION, WORK, GUARD } part;

// A statement of the top level with its comments and all that is indented under it.
typedef struct item {
    part part;
    size_t from, to;         // lines
    size_t first;            // the line of its code
    bool apart;              // a blank line stands before it
    uint64_t place;          // where it goes among those it may change places with
} item;

typedef struct parts {
    const mla__py *py;
    item *items;             // [len]
    size_t len, cap;
} parts;

// --- taking apart -------------------------------------------------------------------------------

static bool is_upper_name(const mla__py *py, size_t i) {
    const mla__py_token *t = &py->tokens[i];
    if (!mla__py_is_name(py, i)) return false;
    for (size_t k = 0; k < t->len; k++) {
        if (islower((unsigned char)py->text[t->at + k])) return false;
    }
    return true;
}

static bool is_constant(const mla__py *py, const mla__py_line *line) {
    if (!is_upper_name(py, line->first) || !mla__py_is(py, line->first + 1, "=")) return false;
    for (size_t i = line->first + 2; i < line->end; i++) {
        bool word = py->tokens[i].kind == MLA__PY_NAME && mla__py_is_name(py, i);
        if (word || py->tokens[i].inside) return false;
    }
    return true;
}

static part part_of(const mla__py *py, const mla__py_line *line, bool first) {
    size_t i = line->first;
    if (mla__py_is(py, i, "import") || mla__py_is(py, i, "from")) return IMPORT;
    if (mla__py_is(py, i, "def") || mla__py_is(py, i, "class") || mla__py_is(py, i, "@")) {
        return DEFINITION;
    }
    if (mla__py_is(py, i, "if") && mla__py_is(py, i + 1, "__name__")) return GUARD;
    if (first && py->tokens[i].kind == MLA__PY_STRING && line->end == i + 1) return HEAD;
    return is_constant(py, line) ? CONSTANT : WORK;
}

static uint64_t place_of(const mla__py *py, const mla__py_line *line, uint64_t seed) {
    size_t at = py->tokens[line->first].at, i = line->first;
    while (i < line->end && !mla__py_is(py, i, "=") && !mla__py_is(py, i, "(") &&
           !mla__py_is(py, i, "import")) i++;
    size_t to = i < line->end ? py->tokens[i].at : line->to;
    char *name = mla_strndup(py->text + at, to - at);
    uint64_t place = mla_rng_derive(seed, mla_rng_hash(name), 6, 0);
    free(name);
    return place;
}

// A line that goes on with the statement above it: it is indented, or a clause of its.
static bool goes_on(const mla__py *py, const mla__py_line *line) {
    static const char *const clauses[] = {"else", "elif", "except", "finally", ")", "]", "}"};
    if (line->indent) return true;
    for (size_t k = 0; k < MLA_COUNT(clauses); k++) {
        if (mla__py_is(py, line->first, clauses[k])) return true;
    }
    return false;
}

// The file's first comments are its head; later ones belong to what follows them.
static void take_apart(parts *out, const mla__py *py, uint64_t seed) {
    *out = (parts){.py = py};
    size_t comments = (size_t)-1, comments_end = 0, blank = 0;
    bool decorated = false;
    for (size_t l = 0; l < py->n_lines; l++) {
        const mla__py_line *line = &py->lines[l];
        if (line->end == line->first) {
            blank = l + 1;
            continue;
        }
        if (!line->code) {
            if (!line->indent && comments == (size_t)-1) comments = l;
            comments_end = l + 1;
            continue;
        }
        item *last = out->len ? &out->items[out->len - 1] : NULL;
        if (last && (goes_on(py, line) || decorated)) {
            last->to = l + 1;
            if (decorated) last->place = place_of(py, line, seed);
        } else {
            size_t from = comments < l ? comments : l;
            part kind = part_of(py, line, !out->len);
            MLA_GROW(out->items, out->cap, out->len + 2);
            if (from < l && !out->len && kind != HEAD) {
                out->items[out->len++] = (item){.part = HEAD, .from = from, .to = comments_end,
                                                .first = from};
                from = l;
            }
            out->items[out->len++] = (item){.part = kind, .from = from, .to = l + 1, .first = l,
                                            .apart = blank && blank == from,
                                            .place = place_of(py, line, seed)};
        }
        decorated = mla__py_is(py, line->first, "@") && !line->indent;
        comments = (size_t)-1;
    }
}

// --- what may be moved --------------------------------------------------------------------------

// Whether lines [from, to) bind (or use) a name.
static bool names_it(const mla__py *py, const unsigned char *binds, size_t from, size_t to,
                     const char *name, size_t len, bool bound) {
    if (from >= to) return false;
    for (size_t i = py->lines[from].first; i < py->lines[to - 1].end; i++) {
        bool counts = bound ? binds[i] != 0 : mla__py_is_use(py, i) || binds[i];
        if (counts && mla__py_same(py, i, name, len)) return true;
    }
    return false;
}

// Whether a part other than work would take the name at `i`, which the work binds, for its own: a
// definition that has it from the top level, a constant or an import of that name.
static bool shares(const parts *p, const unsigned char *binds, const item *other, size_t i) {
    const mla__py *py = p->py;
    const char *name = py->text + py->tokens[i].at;
    size_t len = py->tokens[i].len, head = other->first;
    if (other->part == WORK || other->part == HEAD) return false;
    if (mla__py_same(py, py->lines[head].first + 1, name, len)) return true;
    bool own = other->part == DEFINITION && names_it(py, binds, head, other->to, name, len, true);
    return !own && names_it(py, binds, other->from, other->to, name, len, false);
}

static bool may_wrap_item(const parts *p, const unsigned char *binds, const item *it) {
    const mla__py *py = p->py;
    for (size_t i = py->lines[it->from].first; i < py->lines[it->to - 1].end; i++) {
        const mla__py_token *t = &py->tokens[i];
        bool breaks = t->kind == MLA__PY_STRING && memchr(py->text + t->at, '\n', t->len);
        if (breaks || mla__py_is(py, i, "global")) return false;
        for (size_t d = 0; binds[i] && d < p->len; d++) {
            if (shares(p, binds, &p->items[d], i)) return false;
        }
    }
    return true;
}

// The work may stand in a function when it shares no name with the other parts.
static bool may_wrap(const parts *p, const unsigned char *binds) {
    for (size_t i = 0; i < p->len; i++) {
        if (p->items[i].part == WORK && !may_wrap_item(p, binds, &p->items[i])) return false;
    }
    return true;
}

static bool is_simple(const mla__py *py, const mla__py_line *line) {
    static const char *const effects[] = {"fit", "print", "open", "with", "for", "while", "if",
                                          "random", "rng", "next", "pop", "append", "try", "import",
                                          "+=", "shuffle", "default_rng", "del", "assert"};
    bool assigns = false;
    for (size_t i = line->first; i < line->end; i++) {
        for (size_t k = 0; k < MLA_COUNT(effects); k++) {
            if (mla__py_is(py, i, effects[k])) return false;
        }
        assigns |= mla__py_is(py, i, "=") && py->tokens[i].depth == 0;
    }
    return assigns;
}

// Whether what `a` gives a name is in `b`, used or given anew.
static bool feeds(const parts *p, const unsigned char *binds, const item *a, const item *b) {
    const mla__py *py = p->py;
    for (size_t i = py->lines[a->from].first; i < py->lines[a->to - 1].end; i++) {
        const mla__py_token *t = &py->tokens[i];
        bool target = binds[i] || (i == py->lines[a->first].first);
        if (target && names_it(py, binds, b->from, b->to, py->text + t->at, t->len, false)) {
            return true;
        }
    }
    return false;
}

static bool may_swap(const parts *p, const unsigned char *binds, const item *a, const item *b) {
    if (a->part != WORK || b->part != WORK || a->to != a->first + 1 || b->to != b->first + 1) {
        return false;
    }
    return is_simple(p->py, &p->py->lines[a->first]) && is_simple(p->py, &p->py->lines[b->first]) &&
           !feeds(p, binds, a, b) && !feeds(p, binds, b, a);
}

static void swap_work(parts *p, const unsigned char *binds) {
    for (size_t i = 1; i < p->len; i++) {
        item *a = &p->items[i - 1], *b = &p->items[i];
        if (a->place <= b->place || !may_swap(p, binds, a, b)) continue;
        item kept = *a;
        bool apart = a->apart;
        *a = *b;
        *b = kept;
        b->apart = a->apart;
        a->apart = apart;
    }
}

static int by_place(const void *a, const void *b) {
    const item *p = a, *q = b;
    if (p->part != q->part) return p->part < q->part ? -1 : 1;
    if (p->part != HEAD && p->place != q->place) return p->place < q->place ? -1 : 1;
    return p->from < q->from ? -1 : p->from > q->from;
}

// --- putting together ---------------------------------------------------------------------------

static void put_lines(mla_buf *out, const parts *p, const item *it, int indent) {
    for (size_t l = it->from; l < it->to; l++) {
        const mla__py_line *line = &p->py->lines[l];
        for (size_t at = line->from; at < line->to;) {
            size_t n = strcspn(p->py->text + at, "\n");
            if (n) mla_buf_printf(out, "%*s", indent, "");
            mla_buf_append(out, p->py->text + at, n);
            mla_buf_puts(out, "\n");
            at += n + 1;
        }
    }
}

static void put_gap(mla_buf *out, const item *before, const item *it) {
    if (!before) return;
    bool definition = before->part == DEFINITION || it->part == DEFINITION;
    bool gap = before->part != it->part ? before->part != HEAD : it->apart && it->part == WORK;
    if (definition) mla_buf_puts(out, "\n\n");
    else if (gap) mla_buf_puts(out, "\n");
}

static char *put_together(const parts *p, mla__layout layout, const char *main_name) {
    mla_buf out;
    mla_buf_init(&out, (size_t)1 << 20);
    bool wrapped = layout == MLA__LAYOUT_MAIN || layout == MLA__LAYOUT_CALL;
    bool inside = false;
    int indent = 0;
    for (size_t i = 0; i < p->len; i++) {
        const item *it = &p->items[i], *before = i ? it - 1 : NULL;
        if (it->part == WORK && !inside && layout != MLA__LAYOUT_FLAT) {
            mla_buf_puts(&out, "\n\n");
            if (wrapped) mla_buf_printf(&out, "def %s():\n", main_name);
            else mla_buf_puts(&out, "if __name__ == \"__main__\":\n");
            indent = 4;
        } else {
            put_gap(&out, before, it);
        }
        inside = it->part == WORK;
        put_lines(&out, p, it, indent);
    }
    if (layout == MLA__LAYOUT_MAIN) {
        mla_buf_printf(&out, "\n\nif __name__ == \"__main__\":\n    %s()\n", main_name);
    }
    if (layout == MLA__LAYOUT_CALL) mla_buf_printf(&out, "\n\n%s()\n", main_name);
    return mla_buf_take(&out);
}

// --- undoing a main function --------------------------------------------------------------------

// Lines [from, to) of the script, `less` columns to the left.
static void put_dedented(mla_buf *out, const mla__py *py, size_t from, size_t to, size_t less) {
    for (size_t l = from; l < to; l++) {
        for (size_t at = py->lines[l].from; at < py->lines[l].to;) {
            size_t n = strcspn(py->text + at, "\n"), cut = 0;
            while (cut < less && cut < n && py->text[at + cut] == ' ') cut++;
            mla_buf_append(out, py->text + at + cut, n - cut);
            mla_buf_puts(out, "\n");
            at += n + 1;
        }
    }
}

// The function without parameters that the guard's only line calls, or NULL.
static const item *find_main(const parts *p, const item *guard) {
    const mla__py *py = p->py;
    const mla__py_line *call = &py->lines[guard->first + 1];
    if (guard->to != guard->first + 2 || call->end != call->first + 3) return NULL;
    for (size_t i = 0; i < p->len; i++) {
        size_t def = py->lines[p->items[i].first].first;
        char *name = mla__py_text(py, call->first);
        bool found = p->items[i].part == DEFINITION && mla__py_is(py, def, "def") &&
                     mla__py_is(py, def + 1, name) && mla__py_is(py, def + 3, ")");
        free(name);
        if (found) return &p->items[i];
    }
    return NULL;
}

// The script with the guarded work at the top level; a copy of it where there is no guard.
static char *unwrap(const char *script, const parts *p) {
    const item *guard = p->len ? &p->items[p->len - 1] : NULL;
    if (!guard || guard->part != GUARD) return mla_strdup(script);
    const item *work = find_main(p, guard);
    if (!work && guard->to == guard->first + 2) return NULL;
    mla_buf out;
    mla_buf_init(&out, (size_t)1 << 20);
    for (size_t i = 0; i + 1 < p->len; i++) {
        if (&p->items[i] == work) continue;
        put_dedented(&out, p->py, p->items[i].from, p->items[i].to, 0);
        mla_buf_puts(&out, "\n");
    }
    const item *from = work ? work : guard;
    put_dedented(&out, p->py, from->first + 1, from->to, 4);
    return mla_buf_take(&out);
}

// --- the whole ----------------------------------------------------------------------------------

static char *unwrapped(const char *script, uint64_t seed) {
    mla__py py;
    parts p = {.len = 0};
    char *out = NULL;
    if (mla__py_read(&py, script)) {
        take_apart(&p, &py, seed);
        out = unwrap(script, &p);
    }
    free(p.items);
    mla__py_clear(&py);
    return out;
}

static char *arrange(const char *script, mla__layout layout, const char *main_name,
                     uint64_t seed) {
    mla__py py;
    parts p = {.len = 0};
    char *out = NULL;
    if (mla__py_read(&py, script)) {
        unsigned char *binds = mla__bindings_find(&py);
        take_apart(&p, &py, seed);
        swap_work(&p, binds);
        bool guarded = false;
        for (size_t i = 0; i < p.len; i++) guarded |= p.items[i].part == GUARD;
        bool wraps = layout == MLA__LAYOUT_MAIN || layout == MLA__LAYOUT_CALL;
        if (!guarded && (!wraps || may_wrap(&p, binds))) {
            for (size_t i = 0; i < p.len; i++) {
                bool fixed = p.items[i].part == WORK || (p.items[i].part == IMPORT && seed % 2);
                if (fixed) p.items[i].place = i;
            }
            qsort(p.items, p.len, sizeof *p.items, by_place);
            out = put_together(&p, layout, main_name);
        }
        free(binds);
    }
    free(p.items);
    mla__py_clear(&py);
    return out;
}

char *mla__layout_change(const char *script, mla__layout layout, const char *main_name,
                         uint64_t seed) {
    if (layout == MLA__LAYOUT_KEEP) return mla_strdup(script);
    char *flat = unwrapped(script, seed);
    char *out = flat ? arrange(flat, layout, main_name, seed) : NULL;
    free(flat);
    return out;
}
