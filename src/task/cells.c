// What answers and submissions share: a header with an id and columns, and numbers of some kind.
#include <math.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "task/answers.h"

#define SHOWN_COLUMNS 8

// "id, a and b"; of more than SHOWN_COLUMNS the first ones and how many more.
static char *listed(const char *id, char *const *columns, size_t count) {
    mla_buf text;
    mla_buf_init(&text, 4096);
    size_t shown = count > SHOWN_COLUMNS ? SHOWN_COLUMNS - 1 : count;
    mla_buf_puts(&text, mla__show(id).text);
    for (size_t i = 0; i < shown; i++) {
        mla_buf_printf(&text, "%s%s", i + 1 == count ? " and " : ", ", mla__show(columns[i]).text);
    }
    if (shown < count) mla_buf_printf(&text, " and %zu more", count - shown);
    char *out = mla_strdup(mla_buf_text(&text));
    mla_buf_clear(&text);
    return out;
}

static int find_columns(mla__csv *csv, const char *what, const char *id, char *const *columns,
                        size_t count, const char *all, size_t *at, mla_err *why) {
    for (size_t i = 0; i <= count; i++) {
        const char *name = i == 0 ? id : columns[i - 1];
        int found = mla__csv_find(csv, name);
        if (found < 0) {
            return mla_err_set(why, "%s %s column '%s': its header must have %s", what,
                               found == -1 ? "has no" : "has more than one", mla__show(name).text,
                               all);
        }
        at[i] = (size_t)found;
    }
    return 0;
}

int mla__header_read(mla__csv *csv, const char *what, const char *id, char *const *columns,
                     size_t count, size_t *at, mla_err *why) {
    int rc = mla__csv_next(csv, why);
    if (rc < 0) return mla_err_wrap(why, "%s", what);
    char *all = listed(id, columns, count);
    if (rc == 0) {
        rc = mla_err_set(why, "%s is empty: its header must have %s", what, all);
    } else {
        for (size_t i = 0; i < csv->count; i++) csv->cells[i].text = mla__cell_trim(&csv->cells[i]);
        rc = find_columns(csv, what, id, columns, count, all, at, why);
    }
    free(all);
    return rc;
}

// What is wrong with a number of this kind; NULL: nothing.
static const char *fault_of(mla_value kind, double x) {
    if (!isfinite(x)) return "it must be finite";
    switch (kind) {
    case MLA_VALUE_BINARY: return x == 0 || x == 1 ? NULL : "it must be 0 or 1";
    case MLA_VALUE_RATING:
        if (x != floor(x)) return "it must be a whole number";
        return fabs(x) <= MLA_RATING_MAX ? NULL : "it is too large for a rating";
    case MLA_VALUE_AMOUNT: return x >= 0 ? NULL : "it must not be negative";
    case MLA_VALUE_PROBABILITY:
        return x >= 0 && x <= 1 ? NULL : "it must be a probability, from 0 to 1";
    case MLA_VALUE_NUMBER: return NULL;
    case MLA_VALUE_LABEL:
    case MLA_VALUE_RANKED: break;
    }
    MLA_ASSERT(!"a kind of number");
    return NULL;
}

int mla__number_read(mla_value kind, const mla__csv *csv, const char *what, const char *column,
                     const char *text, double *out, mla_err *why) {
    if (!mla__number_parse(text, out)) {
        return mla_err_set(why, "%s line %zu: %s is '%s', which is not a number", what, csv->line,
                           mla__show(column).text, mla__show(text).text);
    }
    const char *fault = fault_of(kind, *out);
    if (!fault) return 0;
    return mla_err_set(why, "%s line %zu: %s is '%s': %s", what, csv->line,
                       mla__show(column).text, mla__show(text).text, fault);
}
