// The profile of a table: rows, columns, and of each column its type, missing cells, range, most
// frequent values or examples. The file is read once, piece by piece, in memory that depends on its
// columns alone: values are counted up to DISTINCT_MAX different ones a column.
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "env/internal.h"

#define COLUMNS_MAX 1024       // beyond these, columns are only counted
#define DISTINCT_MAX 32
#define SLOTS 64               // of a column's hash table, a power of two above DISTINCT_MAX
#define CELL_KEPT 128          // bytes of a cell that are looked at
#define NAME_SHOWN 60
#define VALUE_SHOWN 30
#define FREQUENT 5             // values told with their counts
#define EXAMPLES 3

typedef struct {
    char *text;                // owned; NULL: a free slot
    size_t count, order;       // the order of first appearance
} value;

typedef struct {
    char *name;                // owned
    size_t missing, numbers, integers, texts, longest;
    double min, max, sum;
    value *values;             // [SLOTS], owned; NULL before the first one
    size_t distinct;           // DISTINCT_MAX + 1: more than are counted
    char *examples[EXAMPLES];  // owned; the first different values
} column;

typedef struct {
    char sep;
    bool in_header;
    column *columns;           // [n_columns], owned
    size_t n_columns, cap, n_header;      // n_header counts those beyond COLUMNS_MAX too
    size_t at;                 // the cell's place in its row
    size_t rows, uneven;
    bool bad;                  // a NUL byte: no table
    char cell[CELL_KEPT + 1];
    size_t cell_len;           // of the whole cell; only its head is kept
    enum { START, PLAIN, QUOTED, QUOTE_IN_QUOTED } state;
    bool was_quoted, row_begun;
} table;

// --- cells -------------------------------------------------------------------------------------

static bool is_missing(const char *cell) {
    static const char *const marks[] = {"", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?"};
    for (size_t i = 0; i < MLA_COUNT(marks); i++)
        if (strcmp(cell, marks[i]) == 0) return true;
    return false;
}

// Digits with at most one point and a sign, as most cells are: exact without strtod. -1 when it is
// written otherwise.
static int read_plain_number(const char *p, double *out, bool *whole) {
    static const double powers[] = {1,    1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                    1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    bool minus = *p == '-';
    if (minus) p++;
    double digits = 0;
    int n = 0, behind = -1;
    for (; isdigit((unsigned char)*p) || (*p == '.' && behind < 0); p++) {
        if (*p == '.') {
            behind = 0;
            continue;
        }
        digits = digits * 10 + (*p - '0');
        if (++n > 15) return -1;
        if (behind >= 0) behind++;
    }
    if (*p || !n) return -1;
    *out = digits / powers[behind < 0 ? 0 : behind] * (minus ? -1 : 1);
    *whole = behind < 0;
    return 0;
}

static bool read_number(const char *cell, double *out, bool *whole) {
    if (read_plain_number(cell, out, whole) == 0) return true;
    if (!isdigit((unsigned char)*cell) && !strchr("+-.", *cell)) return false;
    if (strpbrk(cell, "xXnN")) return false;              // hexadecimal, inf, nan
    char *end;
    *out = strtod(cell, &end);
    *whole = *out == floor(*out) && !strpbrk(cell, ".eE");
    return *end == '\0' && isfinite(*out);
}

static size_t hash(const char *text) {
    size_t h = 1469598103u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h ^ h >> 17;
}

static void count_value(column *c, const char *cell) {
    if (c->distinct > DISTINCT_MAX) return;
    if (!c->values) c->values = MLA_NEW_ARRAY(value, SLOTS);
    size_t at = hash(cell) & (SLOTS - 1);
    while (c->values[at].text && strcmp(c->values[at].text, cell)) at = (at + 1) & (SLOTS - 1);
    if (!c->values[at].text) {
        if (c->distinct < EXAMPLES) c->examples[c->distinct] = mla_strdup(cell);
        if (++c->distinct > DISTINCT_MAX) return;
        c->values[at] = (value){.text = mla_strdup(cell), .order = c->distinct};
    }
    c->values[at].count++;
}

static void take_value(column *c, const char *cell, size_t len) {
    if (is_missing(cell)) {
        c->missing++;
        return;
    }
    double x;
    bool whole;
    if (len > c->longest) c->longest = len;
    if (read_number(cell, &x, &whole)) {
        if (!c->numbers || x < c->min) c->min = x;
        if (!c->numbers || x > c->max) c->max = x;
        c->sum += x;
        c->numbers++;
        c->integers += whole;
    } else {
        c->texts++;
    }
    count_value(c, cell);
}

// --- rows --------------------------------------------------------------------------------------

static void add_column(table *t, const char *name) {
    t->n_header++;
    if (t->n_columns == COLUMNS_MAX) return;
    MLA_GROW(t->columns, t->cap, t->n_columns + 1);
    t->columns[t->n_columns++] = (column){.name = mla_strdup(name)};
}

static void end_cell(table *t) {
    size_t kept = t->cell_len < CELL_KEPT ? t->cell_len : CELL_KEPT;
    if (!t->was_quoted) {
        while (kept && strchr(" \t\r", t->cell[kept - 1])) kept--;
    }
    t->cell[kept] = '\0';
    const char *cell = t->was_quoted ? t->cell : t->cell + strspn(t->cell, " \t");
    if (t->in_header) add_column(t, cell);
    else if (t->at < t->n_columns) take_value(&t->columns[t->at], cell, t->cell_len);
    t->at++;
    t->cell_len = 0;
    t->was_quoted = false;
    t->state = START;
}

static void end_row(table *t) {
    end_cell(t);
    if (!t->in_header) {
        t->rows++;
        t->uneven += t->at != t->n_header;
    }
    t->in_header = false;
    t->row_begun = false;
    t->at = 0;
}

static void keep(table *t, char c) {
    if (t->cell_len < CELL_KEPT) t->cell[t->cell_len] = c;
    t->cell_len++;
}

static void take_byte(table *t, char c) {
    if (t->state == QUOTED) {
        if (c == '"') t->state = QUOTE_IN_QUOTED;
        else keep(t, c);
        return;
    }
    if (c == '"' && t->state != PLAIN) {          // opens, or is doubled inside
        if (t->state == QUOTE_IN_QUOTED) keep(t, c);
        t->state = QUOTED;
        t->was_quoted = t->row_begun = true;
        return;
    }
    if (c == '\n') {
        if (t->row_begun) end_row(t);             // blank lines are passed over
    } else if (c == t->sep) {
        end_cell(t);
        t->row_begun = true;
    } else if (c != '\r') {
        t->state = PLAIN;
        t->row_begun = true;
        keep(t, c);
    }
}

// The likeliest separator of the first line.
static char find_sep(const char *bytes, size_t n) {
    size_t comma = 0, semicolon = 0, tab = 0;
    for (size_t i = 0; i < n && bytes[i] != '\n'; i++) {
        comma += bytes[i] == ',';
        semicolon += bytes[i] == ';';
        tab += bytes[i] == '\t';
    }
    if (tab > comma && tab > semicolon) return '\t';
    return semicolon > comma ? ';' : ',';
}

static void read_table(table *t, mla__source *source) {
    char chunk[65536];
    size_t n, from = 0;
    bool first = true;
    while ((n = mla__source_read(source, chunk, sizeof chunk)) && !t->bad) {
        if (first) {
            t->sep = find_sep(chunk, n);
            from = n >= 3 && !memcmp(chunk, "\xEF\xBB\xBF", 3) ? 3 : 0;
        }
        t->bad = memchr(chunk, '\0', n) != NULL;
        for (size_t i = from; i < n && !t->bad; i++) take_byte(t, chunk[i]);
        first = false;
        from = 0;
    }
    if (t->row_begun) end_row(t);
}

// --- what is said ------------------------------------------------------------------------------

static int by_count(const void *a, const void *b) {
    const value *p = a, *q = b;
    if (p->count != q->count) return p->count > q->count ? -1 : 1;
    return (p->order > q->order) - (p->order < q->order);
}

static void say_frequent(const column *c, mla_buf *out) {
    qsort(c->values, SLOTS, sizeof *c->values, by_count);
    mla_buf_printf(out, "; %zu value%s: ", c->distinct, c->distinct == 1 ? "" : "s");
    size_t n = c->distinct < FREQUENT ? c->distinct : FREQUENT;
    for (size_t i = 0; i < n; i++) {
        const value *v = &c->values[i];
        mla_buf_puts(out, i ? ", " : "");
        mla__add_plain(out, v->text, strlen(v->text), VALUE_SHOWN);
        mla_buf_printf(out, " (%zu)", v->count);
    }
    if (c->distinct > n) mla_buf_puts(out, ", ...");
}

static void say_examples(const column *c, mla_buf *out) {
    const char *quote = c->texts ? "\"" : "";
    mla_buf_printf(out, "; more than %d values: ", DISTINCT_MAX);
    for (int i = 0; i < EXAMPLES; i++) {
        mla_buf_puts(out, !i ? quote : c->texts ? "\", \"" : ", ");
        mla__add_plain(out, c->examples[i], strlen(c->examples[i]), VALUE_SHOWN);
    }
    mla_buf_printf(out, "%s, ...", quote);
}

static void say_column(const column *c, size_t rows, mla_buf *out) {
    mla_buf_puts(out, "- ");
    mla__add_plain(out, c->name, strlen(c->name), NAME_SHOWN);
    if (!c->numbers && !c->texts) {
        mla_buf_puts(out, rows ? ": empty\n" : "\n");
        return;
    }
    if (c->texts) {
        mla_buf_printf(out, ": text, at most %zu bytes", c->longest);
        if (c->numbers) mla_buf_printf(out, ", %zu numbers among them", c->numbers);
    } else {
        mla_buf_printf(out, ": %s, %.6g to %.6g, mean %.6g",
                       c->integers == c->numbers ? "whole numbers" : "numbers", c->min, c->max,
                       c->sum / (double)c->numbers);
    }
    if (c->missing) mla_buf_printf(out, ", %zu missing", c->missing);
    if (c->distinct <= DISTINCT_MAX) say_frequent(c, out);
    else say_examples(c, out);
    mla_buf_puts(out, "\n");
}

static bool matches(const column *c, const mla__words *words) {
    return mla__words_match(words, c->name, strlen(c->name));
}

// Columns that match or those that do not; what does not fit is counted.
static size_t say_columns(const table *t, const mla__words *words, bool match, mla_buf *out) {
    size_t left_out = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        if (matches(&t->columns[i], words) != match) continue;
        if (out->len + 400 > out->max) left_out++;
        else say_column(&t->columns[i], t->rows, out);
    }
    return left_out;
}

static void say_table(const table *t, const mla__source *source, const mla__words *words,
                      mla_buf *out) {
    mla_buf_printf(out, "%s: a table of %zu rows, %zu columns", source->name, t->rows, t->n_header);
    if (t->sep != ',') mla_buf_printf(out, ", parted by %s", t->sep == ';' ? "\";\"" : "tabs");
    mla_buf_puts(out, ".\n");
    if (t->uneven) {
        mla_buf_printf(out, "%zu rows have more or fewer cells than the header.\n", t->uneven);
    }
    size_t n_match = 0;
    for (size_t i = 0; i < t->n_columns; i++) n_match += matches(&t->columns[i], words);
    if (words->len) mla_buf_printf(out, "Columns that match: %zu\n", n_match);
    size_t left_out = say_columns(t, words, true, out);
    if (n_match && n_match < t->n_columns) mla_buf_puts(out, "Other columns:\n");
    left_out += say_columns(t, words, false, out) + t->n_header - t->n_columns;
    if (left_out) mla_buf_printf(out, "... (%zu more columns)\n", left_out);
}

static void clear(table *t) {
    for (size_t i = 0; i < t->n_columns; i++) {
        column *c = &t->columns[i];
        for (size_t k = 0; c->values && k < SLOTS; k++) free(c->values[k].text);
        for (size_t k = 0; k < EXAMPLES; k++) free(c->examples[k]);
        free(c->values);
        free(c->name);
    }
    free(t->columns);
}

int mla__understand_csv(mla__source *source, const mla__words *words, mla_buf *out) {
    table t = {.in_header = true};
    read_table(&t, source);
    bool good = !t.bad && t.n_columns;
    if (good) say_table(&t, source, words, out);
    clear(&t);
    return good ? 0 : -1;
}
