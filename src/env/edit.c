// SEARCH/REPLACE blocks: reading them and applying them to a text, whole lines at a time. An exact
// match is looked for first, then one that ignores blanks at the ends of lines. What is absent or
// ambiguous is refused with the nearest lines shown: guessing would teach sloppy edits.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "env/internal.h"

#define WIDTH 7            // of a block's marks
#define WHY_LINES 6        // lines of the script shown for a SEARCH text that is not there
#define BLOCKS_MAX 200     // each is looked for in the whole script
#define NEAR_LINES 8       // lines of it compared to find them
#define LINE_SHOWN 120     // bytes of a shown line

typedef struct {
    mla__slice *items;     // lines without their newline
    size_t len, cap;
} lines;

// --- reading -----------------------------------------------------------------------------------

// Number of characters of a marker line's run of `mark`, if 5 to 9 of them are followed by `word`
// (ignoring case; "" for none) and blanks; else 0.
static size_t marker(const char *line, char mark, const char *word) {
    size_t run = 0;
    while (line[run] == mark) run++;
    if (run < 5 || run > 9) return 0;
    const char *p = line + run;
    while (*p == ' ' || *p == '\t') p++;
    size_t n = strlen(word);
    if (strncasecmp(p, word, n)) return 0;
    p += n;
    while (*p == ' ' || *p == '\t' || *p == '\r') p++;
    return *p == '\n' || *p == '\0' ? run : 0;
}

bool mla__block_opens(const char *line) {
    return marker(line, '<', "SEARCH") > 0;
}

static const char *next_line(const char *p) {
    const char *end = strchr(p, '\n');
    return end ? end + 1 : p + strlen(p);
}

int mla__block_read(const char **at, mla__block *out, const char **fault) {
    size_t width = marker(*at, '<', "SEARCH");
    MLA_ASSERT(width);
    const char *p = next_line(*at);
    *out = (mla__block){.search.at = p, .width = width};
    // The divider is as wide as the opening marker, so that a row of "=====" can be searched for.
    while (*p && marker(p, '=', "") != width) {
        if (mla__block_opens(p) || marker(p, '>', "REPLACE")) break;
        p = next_line(p);
    }
    if (marker(p, '=', "") != width) {
        *fault = "its SEARCH part is not ended by a line =======";
        return -1;
    }
    out->search.len = (size_t)(p - out->search.at);
    p = next_line(p);
    out->replace.at = p;
    while (*p && !marker(p, '>', "REPLACE")) {
        if (mla__block_opens(p)) break;
        p = next_line(p);
    }
    if (!marker(p, '>', "REPLACE")) {
        *fault = "its REPLACE part is not ended by a line >>>>>>> REPLACE";
        return -1;
    }
    out->replace.len = (size_t)(p - out->replace.at);
    *at = next_line(p);
    return 0;
}

// The width at which no line of the SEARCH text is a divider.
static int safe_width(const mla__block *block) {
    const char *end = block->search.at + block->search.len;
    for (const char *p = block->search.at; p < end; p = next_line(p))
        if (marker(p, '=', "") == WIDTH) return (int)block->width;
    return WIDTH;
}

void mla__block_write(mla_buf *out, const mla__block *block) {
    int n = safe_width(block);
    mla_buf_printf(out, "%.*s SEARCH\n", n, "<<<<<<<<<");
    mla_buf_append(out, block->search.at, block->search.len);
    mla_buf_printf(out, "%.*s\n", n, "=========");
    mla_buf_append(out, block->replace.at, block->replace.len);
    mla_buf_printf(out, "%.*s REPLACE\n", n, ">>>>>>>>>");
}

// --- matching ----------------------------------------------------------------------------------

static void split(lines *out, const char *text, size_t len) {
    *out = (lines){0};
    for (size_t at = 0; at < len;) {
        const char *nl = memchr(text + at, '\n', len - at);
        size_t n = nl ? (size_t)(nl - text) - at : len - at;
        MLA_GROW(out->items, out->cap, out->len + 1);
        out->items[out->len++] = (mla__slice){text + at, n};
        at += n + 1;
    }
}

static mla__slice trim_end(mla__slice s) {
    while (s.len && strchr(" \t\r\f", s.at[s.len - 1])) s.len--;
    return s;
}

static mla__slice trim(mla__slice s) {
    s = trim_end(s);
    while (s.len && strchr(" \t", s.at[0])) s.at++, s.len--;
    return s;
}

static bool same(mla__slice a, mla__slice b) {
    return a.len == b.len && (a.len == 0 || !memcmp(a.at, b.at, a.len));
}

static void add_lines(mla_buf *out, const lines *l, size_t from, size_t to, bool loose) {
    for (size_t i = from; i < to; i++) {
        mla__slice line = loose ? trim_end(l->items[i]) : l->items[i];
        mla_buf_append(out, line.at, line.len);
        mla_buf_puts(out, "\n");
    }
}

// All lines with a newline before and after each: what is found in it stands on whole lines.
static mla_buf flat(const lines *l, bool loose) {
    mla_buf out;
    mla_buf_init(&out, (size_t)-1);
    mla_buf_puts(&out, "\n");
    add_lines(&out, l, 0, l->len, loose);
    return out;
}

// Number of places where `search` stands, counted up to 3; the first two are kept. memmem is linear
// in both texts, so a hostile pair of them cannot hold a worker up.
static size_t find(const lines *text, const lines *search, bool loose, size_t places[2]) {
    mla_buf hay = flat(text, loose), needle = flat(search, loose);
    size_t n = 0, line = 0;
    const char *from = hay.data, *p;
    while (n < 3 && (p = memmem(from, hay.len - (size_t)(from - hay.data), needle.data,
                                needle.len))) {
        for (; from < p; from++) line += *from == '\n';
        if (n < 2) places[n] = line;
        n++;
        from = p + 1;
        line++;
    }
    mla_buf_clear(&hay);
    mla_buf_clear(&needle);
    return n;
}

static bool all_blank(const lines *l) {
    for (size_t i = 0; i < l->len; i++)
        if (trim(l->items[i]).len) return false;
    return true;
}

static bool same_lines(const lines *a, const lines *b) {
    if (a->len != b->len) return false;
    for (size_t i = 0; i < a->len; i++)
        if (!same(trim_end(a->items[i]), trim_end(b->items[i]))) return false;
    return true;
}

// --- explaining --------------------------------------------------------------------------------

// 0 to 1: the share of two lines that is their common start and end, indentation aside.
static double likeness(mla__slice a, mla__slice b) {
    a = trim(a);
    b = trim(b);
    size_t shorter = a.len < b.len ? a.len : b.len, longer = a.len < b.len ? b.len : a.len;
    if (!longer) return 0;
    size_t head = 0, tail = 0;
    while (head < shorter && a.at[head] == b.at[head]) head++;
    while (head + tail < shorter && a.at[a.len - 1 - tail] == b.at[b.len - 1 - tail]) tail++;
    return (double)(head + tail) / (double)longer;
}

static size_t nearest(const lines *text, const lines *search) {
    size_t best = 0;
    double best_score = -1;
    for (size_t at = 0; at < text->len; at++) {
        double score = 0;
        for (size_t i = 0; i < search->len && i < NEAR_LINES && at + i < text->len; i++) {
            score += likeness(text->items[at + i], search->items[i]);
        }
        if (score > best_score) best_score = score, best = at;
    }
    return best;
}

static void show_lines(mla_buf *why, const lines *text, size_t from, size_t count) {
    for (size_t i = from; i < from + count && i < text->len; i++) {
        mla__slice s = trim_end(text->items[i]);
        int n = (int)(s.len < LINE_SHOWN ? s.len : LINE_SHOWN);
        mla_buf_printf(why, "\n%4zu | %.*s%s", i + 1, n, s.at, s.len > LINE_SHOWN ? " ..." : "");
    }
}

static void explain_absent(mla_buf *why, size_t block, const char *name, const lines *text,
                           const lines *search) {
    mla_buf_printf(why, "Block %zu: its SEARCH text is not in %s. It must repeat whole lines of "
                   "the script exactly, indentation included.", block, name);
    if (!text->len) return;
    mla_buf_puts(why, " The nearest lines are:");
    size_t count = search->len < WHY_LINES ? search->len : WHY_LINES;
    show_lines(why, text, nearest(text, search), count);
}

static void explain_ambiguous(mla_buf *why, size_t block, const char *name, size_t n,
                              const size_t places[2], const lines *text) {
    mla_buf_printf(why, "Block %zu: its SEARCH text stands more than once in %s: at lines %zu and "
                   "%zu%s. Add lines around it until it stands there once.", block, name,
                   places[0] + 1, places[1] + 1, n > 2 ? ", and further on" : "");
    for (int i = 0; i < 2; i++) {              // what stands before each tells them apart
        size_t from = places[i] ? places[i] - 1 : 0;
        show_lines(why, text, from, places[i] - from + 1);
    }
}

// --- applying ----------------------------------------------------------------------------------

static char *replace_lines(const lines *text, size_t at, size_t gone, mla__slice replace) {
    mla_buf out;
    mla_buf_init(&out, MLA__FILE_MAX + MLA__REPLY_MAX);   // above the ceiling that is checked
    add_lines(&out, text, 0, at, false);
    mla_buf_append(&out, replace.at, replace.len);
    add_lines(&out, text, at + gone, text->len, false);
    return mla_buf_take(&out);
}

static char *apply_lines(const char *name, const lines *text, const lines *search,
                         const lines *replace, const mla__block *block, size_t number,
                         mla_buf *why) {
    if (all_blank(search)) {
        mla_buf_printf(why, "Block %zu: its SEARCH part is empty. Repeat the lines of %s that are "
                       "to be replaced.", number, name);
        return NULL;
    }
    if (same_lines(search, replace)) {
        mla_buf_printf(why, "Block %zu: SEARCH and REPLACE are the same, so it changes nothing.",
                       number);
        return NULL;
    }
    size_t places[2] = {0, 0};
    size_t n = find(text, search, false, places);
    if (!n) n = find(text, search, true, places);
    if (n == 1) return replace_lines(text, places[0], search->len, block->replace);
    if (n) explain_ambiguous(why, number, name, n, places, text);
    else explain_absent(why, number, name, text, search);
    return NULL;
}

static char *apply_one(const char *name, const char *text, const mla__block *block, size_t number,
                       mla_buf *why) {
    lines in, search, replace;
    split(&in, text, strlen(text));
    split(&search, block->search.at, block->search.len);
    split(&replace, block->replace.at, block->replace.len);
    char *out = apply_lines(name, &in, &search, &replace, block, number, why);
    free(in.items);
    free(search.items);
    free(replace.items);
    return out;
}

static bool same_text(const char *a, const char *b) {
    lines x, y;
    split(&x, a, strlen(a));
    split(&y, b, strlen(b));
    bool is_same = same_lines(&x, &y);
    free(x.items);
    free(y.items);
    return is_same;
}

// Applies block after block; NULL with `why` at the first that does not fit.
static char *apply_all(const char *name, const char *text, const char *blocks, size_t *n_blocks,
                       mla_buf *why) {
    char *now = mla_strdup(text);
    for (const char *p = blocks; *p;) {
        if (!mla__block_opens(p)) {
            p = next_line(p);
            continue;
        }
        mla__block block;
        const char *fault = NULL;
        char *then = NULL;
        if (*n_blocks == BLOCKS_MAX) {
            mla_buf_printf(why, "There are more than %d blocks: edit in several steps.",
                           BLOCKS_MAX);
        } else if (mla__block_read(&p, &block, &fault) == 0) {
            then = apply_one(name, now, &block, ++*n_blocks, why);
        } else {
            mla_buf_printf(why, "Block %zu: %s.", *n_blocks + 1, fault);
        }
        free(now);
        if (!then) return NULL;
        now = then;
    }
    return now;
}

char *mla__edit_apply(const char *name, const char *text, const char *blocks, size_t *n_blocks,
                      mla_buf *why) {
    *n_blocks = 0;
    char *now = apply_all(name, text, blocks, n_blocks, why);
    if (!now) return NULL;
    if (strlen(now) > MLA__FILE_MAX) {
        mla_buf_printf(why, "%s would be longer than %zu bytes.", name, MLA__FILE_MAX);
    } else if (same_text(now, text)) {
        mla_buf_puts(why, *n_blocks ? "The blocks together change nothing."
                                    : "There is no SEARCH/REPLACE block.");
    } else {
        return now;
    }
    free(now);
    return NULL;
}
