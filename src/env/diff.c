// What an edit changed: the lines that differ (Myers, "An O(ND) Difference Algorithm and Its
// Variations", 1986), as a unified diff for the reader and as SEARCH/REPLACE blocks for the record.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "env/internal.h"

#define CONTEXT 3
#define EDITS_MAX 600          // more lines differ: the whole middle counts as replaced
#define WIDTHS 5               // a block's marks are 5 to 9 wide

typedef struct {
    mla__slice *items;         // lines without their newline
    size_t len, cap;
} lines;

typedef struct {               // before[a..a_end) became after[b..b_end)
    size_t a, a_end, b, b_end;
} hunk;

typedef struct {
    lines before, after;
    hunk *hunks;               // in order, not touching
    size_t n, cap;
} change;

static size_t less(size_t a, size_t b) {
    return a < b ? a : b;
}

// Carriage returns before a newline are no part of a line: replies are read without them.
static void split(lines *out, const char *text) {
    *out = (lines){0};
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, "\n"), kept = n;
        while (kept && p[kept - 1] == '\r') kept--;
        MLA_GROW(out->items, out->cap, out->len + 1);
        out->items[out->len++] = (mla__slice){p, kept};
        p += n + (p[n] == '\n');
    }
}

static bool same(const change *c, size_t a, size_t b) {
    mla__slice x = c->before.items[a], y = c->after.items[b];
    return x.len == y.len && !memcmp(x.at, y.at, x.len);
}

// A difference at before[a], after[b]: joined to the last hunk when it goes on from it. Called from
// the end to the start.
static void add_before(change *c, hunk h) {
    hunk *last = c->n ? &c->hunks[c->n - 1] : NULL;
    if (last && last->a == h.a_end && last->b == h.b_end) {
        last->a = h.a;
        last->b = h.b;
        return;
    }
    MLA_GROW(c->hunks, c->cap, c->n + 1);
    c->hunks[c->n++] = h;
}

// --- Myers -------------------------------------------------------------------------------------

typedef struct {
    size_t a, b, n, m;         // the middle: before[a..a+n), after[b..b+m)
    int most;                  // edits that are tried
    int *furthest;             // [(most + 1) rows of 2 * most + 3]: row d as it was before edit d
} middle;

static int *row_of(const middle *mid, int d) {
    return mid->furthest + d * (2 * mid->most + 3) + mid->most + 1;
}

// The furthest x on diagonal k with d edits, from those with d - 1.
static int step_from(const int *v, int k, int d) {
    return k == -d || (k != d && v[k - 1] < v[k + 1]) ? v[k + 1] : v[k - 1] + 1;
}

// The number of edits, or -1 when it is more than are tried.
static int find_edits(const change *c, const middle *mid) {
    int n = (int)mid->n, m = (int)mid->m;
    row_of(mid, 0)[1] = 0;
    for (int d = 0; d <= mid->most; d++) {
        int *v = row_of(mid, d), *next = d < mid->most ? row_of(mid, d + 1) : NULL;
        for (int k = -d; k <= d; k += 2) {
            int x = step_from(v, k, d), y = x - k;
            while (x < n && y < m && same(c, mid->a + (size_t)x, mid->b + (size_t)y)) x++, y++;
            if (x == n && y == m) return d;
            if (next) next[k] = x;
        }
    }
    return -1;
}

static void walk_back(change *c, const middle *mid, int edits) {
    int x = (int)mid->n, y = (int)mid->m;
    for (int d = edits; d > 0; d--) {
        const int *v = row_of(mid, d);
        int k = x - y;
        bool insert = k == -d || (k != d && v[k - 1] < v[k + 1]);
        int x0 = insert ? v[k + 1] : v[k - 1], y0 = x0 - (insert ? k + 1 : k - 1);
        size_t a = mid->a + (size_t)x0, b = mid->b + (size_t)y0;
        add_before(c, (hunk){a, a + !insert, b, b + insert});
        x = x0;
        y = y0;
    }
}

static void compare(change *c, const char *before, const char *after) {
    *c = (change){.n = 0};
    split(&c->before, before);
    split(&c->after, after);
    middle mid = {.n = c->before.len, .m = c->after.len};
    while (mid.n && mid.m && same(c, mid.a, mid.b)) mid.a++, mid.b++, mid.n--, mid.m--;
    while (mid.n && mid.m && same(c, mid.a + mid.n - 1, mid.b + mid.m - 1)) mid.n--, mid.m--;
    if (!mid.n && !mid.m) return;
    mid.most = (int)less(EDITS_MAX, mid.n + mid.m);
    mid.furthest = MLA_NEW_ARRAY(int, (size_t)((mid.most + 1) * (2 * mid.most + 3)));
    int edits = find_edits(c, &mid);
    if (edits >= 0) walk_back(c, &mid, edits);
    else add_before(c, (hunk){mid.a, mid.a + mid.n, mid.b, mid.b + mid.m});
    free(mid.furthest);
    for (size_t i = 0; i < c->n / 2; i++) {
        hunk h = c->hunks[i];
        c->hunks[i] = c->hunks[c->n - 1 - i];
        c->hunks[c->n - 1 - i] = h;
    }
}

static void change_clear(change *c) {
    free(c->before.items);
    free(c->after.items);
    free(c->hunks);
}

// --- the unified diff --------------------------------------------------------------------------

static void add_lines(mla_buf *out, const char *mark, const lines *l, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        mla_buf_puts(out, mark);
        mla_buf_append(out, l->items[i].at, l->items[i].len);
        mla_buf_puts(out, "\n");
    }
}

// Hunks i..end as one piece with their context.
static void add_piece(mla_buf *out, const change *c, size_t i, size_t end) {
    const hunk *first = &c->hunks[i], *last = &c->hunks[end - 1];
    size_t lead = less(CONTEXT, first->a), trail = less(CONTEXT, c->before.len - last->a_end);
    size_t a = first->a - lead, b = first->b - lead;
    size_t n = last->a_end + trail - a, m = last->b_end + trail - b;
    mla_buf_printf(out, "@@ -%zu,%zu +%zu,%zu @@\n", a + (n > 0), n, b + (m > 0), m);
    for (; i < end; i++) {
        const hunk *h = &c->hunks[i];
        add_lines(out, " ", &c->before, a, h->a);
        add_lines(out, "-", &c->before, h->a, h->a_end);
        add_lines(out, "+", &c->after, h->b, h->b_end);
        a = h->a_end;
    }
    add_lines(out, " ", &c->before, a, a + trail);
}

static void cut_lines(mla_buf *text, size_t max) {
    static const char note[] = "... (the rest of the diff is left out)\n";
    if (text->len <= max) return;
    size_t keep = max > sizeof note ? max - sizeof note : 0;
    while (keep && text->data[keep - 1] != '\n') keep--;
    text->data[text->len = keep] = '\0';
    mla_buf_puts(text, note);
}

char *mla__diff_unified(const char *name, const char *before, const char *after, size_t max) {
    change c;
    mla_buf out;
    compare(&c, before, after);
    mla_buf_init(&out, 4 * MLA__FILE_MAX);
    if (c.n) mla_buf_printf(&out, "--- a/%s\n+++ b/%s\n", name, name);
    for (size_t i = 0, end; i < c.n; i = end) {
        end = i + 1;
        while (end < c.n && c.hunks[end].a - c.hunks[end - 1].a_end <= 2 * CONTEXT) end++;
        add_piece(&out, &c, i, end);
    }
    cut_lines(&out, max);
    change_clear(&c);
    return mla_buf_take(&out);
}

// --- blocks ------------------------------------------------------------------------------------

static void add_plain(mla_buf *out, const lines *l, size_t from, size_t to) {
    add_lines(out, "", l, from, to);
}

// One block for before[a..a_end) -> after[b..b_end), its marks `width` wide.
static void add_block(mla_buf *out, const change *c, const hunk *h, int width) {
    mla_buf_printf(out, "%.*s SEARCH\n", width, "<<<<<<<<<");
    add_plain(out, &c->before, h->a, h->a_end);
    mla_buf_printf(out, "%.*s\n", width, "=========");
    add_plain(out, &c->after, h->b, h->b_end);
    mla_buf_printf(out, "%.*s REPLACE\n", width, ">>>>>>>>>");
}

// Takes `by` more lines on each side, not into the neighbours.
static hunk widened(const change *c, size_t i, size_t by) {
    hunk h = c->hunks[i];
    size_t lead = less(by, h.a - (i ? c->hunks[i - 1].a_end : 0));
    size_t trail = less(by, (i + 1 < c->n ? c->hunks[i + 1].a : c->before.len) - h.a_end);
    return (hunk){h.a - lead, h.a_end + trail, h.b - lead, h.b_end + trail};
}

static bool same_text(const char *a, const char *b) {
    for (;; a++, b++) {
        while (*a == '\r') a++;
        while (*b == '\r') b++;
        if (*a != *b) return false;
        if (!*a) return true;
    }
}

// Whether the blocks, applied as an agent's are, make just that change.
static bool makes(const char *name, const char *before, const char *after, const char *blocks) {
    mla_buf why;
    mla_buf_init(&why, MLA__FEEDBACK_MAX);
    size_t n;
    char *made = mla__edit_apply(name, before, blocks, &n, &why);
    bool good = made && same_text(made, after);
    free(made);
    mla_buf_clear(&why);
    return good;
}

static char *write_blocks(const change *c, size_t context, int width) {
    mla_buf out;
    mla_buf_init(&out, 4 * MLA__FILE_MAX);
    for (size_t i = 0; i < c->n; i++) {
        hunk h = widened(c, i, context);
        add_block(&out, c, &h, width);
    }
    return mla_buf_take(&out);
}

// Tries blocks with more and more context, last the whole text as one block.
static char *find_blocks(const char *name, const char *before, const char *after, change *c,
                         int width) {
    static const size_t contexts[] = {1, 3, 10, 30};
    for (size_t i = 0; i <= MLA_COUNT(contexts); i++) {
        bool whole = i == MLA_COUNT(contexts);
        if (whole) {
            c->hunks[0] = (hunk){0, c->before.len, 0, c->after.len};
            c->n = 1;
        }
        char *blocks = write_blocks(c, whole ? 0 : contexts[i], width);
        if (makes(name, before, after, blocks)) return blocks;
        free(blocks);
    }
    return NULL;
}

char *mla__diff_blocks(const char *name, const char *before, const char *after) {
    static const int widths[WIDTHS] = {7, 8, 9, 6, 5};
    char *blocks = NULL;
    for (int w = 0; w < WIDTHS && !blocks; w++) {
        change c;
        compare(&c, before, after);
        if (c.n) blocks = find_blocks(name, before, after, &c, widths[w]);
        change_clear(&c);
    }
    return blocks;
}
