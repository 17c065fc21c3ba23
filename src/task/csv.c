// The CSV reader of csv.h. Cells are ended and unquoted in place, in the reader's own copy, so that
// they outlive their row (the scorer's ids do) and cost no allocation.
#include "task/csv.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"

void mla__csv_init(mla__csv *csv, const char *bytes, size_t len) {
    MLA_ASSERT(len <= MLA__CSV_MAX_BYTES);
    *csv = (mla__csv){.len = len, .line = 1, .next_line = 1};
    csv->text = MLA_NEW_ARRAY(char, len + 1);
    if (len > 0) memcpy(csv->text, bytes, len);
    if (len >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) csv->at = 3;
}

void mla__csv_clear(mla__csv *csv) {
    free(csv->text);
    free(csv->cells);
    *csv = (mla__csv){0};
}

static int malformed(const mla__csv *csv, const char *what, mla_err *err) {
    return mla_err_set(err, "line %zu: %s", csv->next_line, what);
}

static const char lone_return[] =
    "a carriage return without a line feed: save it with LF or CRLF";
static const char nul_byte[] = "a NUL byte: if the file is UTF-16, save it as UTF-8";

static bool at_line_end(const mla__csv *csv) {
    const char *p = csv->text + csv->at;
    return csv->at == csv->len || *p == '\n' || (*p == '\r' && p[1] == '\n');
}

// Reads the cell at the cursor, which stands before an opening quote, to after the closing one.
static int read_quoted(mla__csv *csv, mla__cell *cell, mla_err *err) {
    char *from = csv->text + csv->at + 1, *end = csv->text + csv->len, *to = from;
    size_t opened = csv->next_line;
    cell->text = from;
    for (; from < end; from++) {
        if (*from == '"') {
            if (from + 1 == end || from[1] != '"') break;
            from++;
        }
        if (*from == '\0') return malformed(csv, nul_byte, err);
        csv->next_line += *from == '\n';
        *to++ = *from;
    }
    if (from == end) {
        csv->next_line = opened;
        return malformed(csv, "a quoted cell is not closed", err);
    }
    cell->len = (size_t)(to - cell->text);
    csv->at = (size_t)(from + 1 - csv->text);
    if (!at_line_end(csv) && csv->text[csv->at] != ',') {
        return malformed(csv, "text after a closing quote", err);
    }
    return 0;
}

// Where a plain cell ends, or breaks. The text itself ends with a NUL.
static const bool stops[256] = {['\0'] = true, ['\n'] = true, ['\r'] = true, [','] = true,
                                ['"'] = true};

// Reads the cell at the cursor up to a comma or the end of the line.
static int read_plain(mla__csv *csv, mla__cell *cell, mla_err *err) {
    char *p = csv->text + csv->at;
    cell->text = p;
    while (!stops[(unsigned char)*p]) p++;
    cell->len = (size_t)(p - cell->text);
    csv->at = (size_t)(p - csv->text);
    if (at_line_end(csv) || *p == ',') return 0;
    if (*p == '"') return malformed(csv, "a quote inside a cell that does not begin with one", err);
    if (*p == '\r') return malformed(csv, lone_return, err);
    return malformed(csv, nul_byte, err);
}

static int read_cell(mla__csv *csv, mla_err *err) {
    if (csv->count == MLA__CSV_MAX_COLUMNS) return malformed(csv, "more than 4096 columns", err);
    MLA_GROW(csv->cells, csv->cap, csv->count + 1);
    mla__cell *cell = &csv->cells[csv->count++];
    int rc = csv->text[csv->at] == '"' ? read_quoted(csv, cell, err) : read_plain(csv, cell, err);
    if (rc < 0 || cell->len <= MLA__CSV_MAX_CELL) return rc;
    return malformed(csv, "a cell has more than 1 MB", err);
}

// Moves past the end of the line, if there is one.
static void skip_line_end(mla__csv *csv) {
    if (csv->at == csv->len) return;
    csv->at += csv->text[csv->at] == '\r' ? 2 : 1;
    csv->next_line++;
}

// A cell's end is written over the separator, so only once the cursor is past it.
static int read_row(mla__csv *csv, mla_err *err) {
    csv->count = 0;
    bool more = true;
    while (more) {
        if (read_cell(csv, err) < 0) return -1;
        more = !at_line_end(csv);
        if (more) {
            csv->at++;
        } else {
            skip_line_end(csv);
        }
        const mla__cell *cell = &csv->cells[csv->count - 1];
        cell->text[cell->len] = '\0';
    }
    return 0;
}

// What spreadsheets call "Unicode text" begins so.
static bool is_utf16(const char *bytes, size_t len) {
    return len >= 2 && (!memcmp(bytes, "\xFF\xFE", 2) || !memcmp(bytes, "\xFE\xFF", 2));
}

int mla__csv_next(mla__csv *csv, mla_err *err) {
    if (csv->at == 0 && is_utf16(csv->text, csv->len)) {
        return malformed(csv, "the file is UTF-16: save it as UTF-8", err);
    }
    while (csv->at < csv->len && at_line_end(csv)) skip_line_end(csv);
    if (csv->at == csv->len) return 0;
    csv->line = csv->next_line;
    if (read_row(csv, err) < 0) return -1;
    if (csv->columns == 0) csv->columns = csv->count;
    if (csv->count != csv->columns) {
        return mla_err_set(err, "line %zu: %zu cells, but the header has %zu", csv->line,
                           csv->count, csv->columns);
    }
    return 1;
}

int mla__csv_find(const mla__csv *csv, const char *name) {
    int found = -1;
    for (size_t i = 0; i < csv->count; i++) {
        if (strcmp(csv->cells[i].text, name) != 0) continue;
        if (found >= 0) return -2;
        found = (int)i;
    }
    return found;
}

size_t mla__csv_foreign_line(const char *bytes, size_t len) {
    if (is_utf16(bytes, len)) return 0;
    size_t whole_len, line = 1, at = 0;
    char *whole = mla_utf8_repair(bytes, len, &whole_len);
    for (; at < whole_len && at < len && whole[at] == bytes[at]; at++) line += whole[at] == '\n';
    bool same = at == whole_len && at == len;
    free(whole);
    return same ? 0 : line;
}

char *mla__cell_trim(mla__cell *cell) {
    char *text = cell->text, *end = text + cell->len;
    while (end > text && (end[-1] == ' ' || end[-1] == '\t')) end--;
    *end = '\0';
    while (*text == ' ' || *text == '\t') text++;
    return text;
}
