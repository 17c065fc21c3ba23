// The scoring of submissions. The reasons given to the agent speak of its own file and of how many
// ids were expected; never of an answer, nor of which half a row is in. So a label that no answer
// has is a wrong guess like any other.
#include "task/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "task/answers.h"

#define MAX_SUBMISSION_BYTES ((size_t)64 << 20)
#define FILE_NAME "submission.csv"

// A submission while it is read.
typedef struct reading {
    const mla_answers *answers;
    const mla__part *part;
    mla__csv csv;
    size_t *at;                 // [1 + column_count]: the columns of the id and the guesses
    size_t width;               // of a row of guesses
    double *guess;              // [ids.len, width], in the order of the part's truth
    bool *seen;                 // [ids.len]
} reading;

static double label_of(const mla_answers *answers, mla__key key) {
    size_t label = mla__keys_find(&answers->labels, key);
    return label == MLA__KEY_NONE ? -1 : (double)label;
}

// Up to MLA_RANKED_MAX labels, separated by blanks; guess [MLA_RANKED_MAX], -1 where there is none.
static int read_ranked(const reading *r, const char *column, char *text, double *guess,
                       mla_err *why) {
    static const char blanks[] = " \t\r\n";
    mla__key keys[MLA_RANKED_MAX];
    size_t count = 0;
    char *rest = text;
    for (size_t i = 0; i < MLA_RANKED_MAX; i++) guess[i] = -1;
    for (char *label; (label = strtok_r(rest, blanks, &rest)); count++) {
        if (count == MLA_RANKED_MAX) {
            return mla_err_set(why, FILE_NAME " line %zu: %s has more than %d guesses", r->csv.line,
                               mla__show(column).text, MLA_RANKED_MAX);
        }
        keys[count] = mla__key_label(label);
        for (size_t i = 0; i < count; i++) {
            if (!mla__key_equal(keys[i], keys[count])) continue;
            return mla_err_set(why, FILE_NAME " line %zu: %s has the guess '%s' twice", r->csv.line,
                               mla__show(column).text, mla__show(label).text);
        }
        guess[count] = label_of(r->answers, keys[count]);
    }
    if (count > 0) return 0;
    return mla_err_set(why, FILE_NAME " line %zu: %s has no guess", r->csv.line,
                       mla__show(column).text);
}

// A cell of the column; guess [1], of ranked labels [MLA_RANKED_MAX].
static int read_cell(reading *r, size_t column, double *guess, mla_err *why) {
    const mla_answers *answers = r->answers;
    const char *name = answers->columns[column];
    char *text = mla__cell_trim(&r->csv.cells[r->at[1 + column]]);
    if (text[0] == '\0') {
        return mla_err_set(why, FILE_NAME " line %zu: %s is empty", r->csv.line,
                           mla__show(name).text);
    }
    if (answers->guess == MLA_VALUE_RANKED) return read_ranked(r, name, text, guess, why);
    if (answers->guess != MLA_VALUE_LABEL) {
        return mla__number_read(answers->guess, &r->csv, FILE_NAME, name, text, guess, why);
    }
    *guess = label_of(answers, mla__key_label(text));
    return 0;
}

// guess [width]
static int read_guess(reading *r, double *guess, mla_err *why) {
    double sum = 0;
    for (size_t i = 0; i < r->answers->column_count; i++) {
        if (read_cell(r, i, guess + i, why) < 0) return -1;
        sum += guess[i];
    }
    if (!r->answers->by_class || sum > 0) return 0;
    return mla_err_set(why, FILE_NAME " line %zu: the probabilities of all %zu classes are 0",
                       r->csv.line, r->answers->column_count);
}

static int read_row(reading *r, mla_err *why) {
    const char *id_column = r->answers->id_column;
    const char *id = mla__cell_trim(&r->csv.cells[r->at[0]]);
    size_t row = mla__keys_find(&r->part->ids, mla__key_text(id));
    if (row == MLA__KEY_NONE) {
        return mla_err_set(why, FILE_NAME " line %zu: %s '%s' is not one of test.csv's",
                           r->csv.line, id_column, mla__show(id).text);
    }
    if (r->seen[row]) {
        return mla_err_set(why, FILE_NAME " line %zu: %s '%s' is there a second time", r->csv.line,
                           id_column, mla__show(id).text);
    }
    r->seen[row] = true;
    return read_guess(r, r->guess + r->part->place[row] * r->width, why);
}

static int read_rows(reading *r, mla_err *why) {
    const mla_answers *answers = r->answers;
    if (mla__header_read(&r->csv, FILE_NAME, answers->id_column, answers->columns,
                         answers->column_count, r->at, why) < 0) {
        return -1;
    }
    size_t count = 0;
    int rc;
    for (; (rc = mla__csv_next(&r->csv, why)) > 0; count++) {
        if (read_row(r, why) < 0) return -1;
    }
    if (rc < 0) return mla_err_wrap(why, FILE_NAME);
    if (count == r->part->ids.len) return 0;
    return mla_err_set(why, FILE_NAME " has %zu rows, but %zu were expected: every %s of test.csv "
                       "once", count, r->part->ids.len, answers->id_column);
}

static int compute_halves(const reading *r, mla_halves *out, mla_err *why) {
    const mla_answers *answers = r->answers;
    const mla__part *part = r->part;
    size_t n = part->public_count, rest = part->ids.len - n;
    out->public_half = mla_metric_compute(answers->metric, part->truth, r->guess, n, r->width);
    out->private_half = mla_metric_compute(answers->metric, part->truth + n * answers->truth_width,
                                           r->guess + n * r->width, rest, r->width);
    if (isfinite(out->public_half) && isfinite(out->private_half)) return 0;
    return mla_err_set(why, FILE_NAME ": values of %s are too large to be scored",
                       mla__show(answers->columns[0]).text);
}

// Begins a reading of the whole file; clear it in any case.
static int read_submission(reading *r, const mla_answers *answers, size_t split, const char *csv,
                           size_t len, mla_err *why) {
    MLA_ASSERT(split < answers->part_count);
    *r = (reading){.answers = answers, .part = &answers->parts[split]};
    if (len > MAX_SUBMISSION_BYTES) {
        return mla_err_set(why, FILE_NAME " has more than %zu MB", MAX_SUBMISSION_BYTES >> 20);
    }
    r->width = answers->guess == MLA_VALUE_RANKED ? MLA_RANKED_MAX : answers->column_count;
    r->at = MLA_NEW_ARRAY(size_t, 1 + answers->column_count);
    r->guess = MLA_NEW_ARRAY(double, r->part->ids.len * r->width);
    r->seen = MLA_NEW_ARRAY(bool, r->part->ids.len);
    mla__csv_init(&r->csv, csv, len);
    return read_rows(r, why);
}

static void reading_clear(reading *r) {
    mla__csv_clear(&r->csv);
    free(r->seen);
    free(r->guess);
    free(r->at);
}

int mla_score_submission(const mla_answers *answers, size_t split, const char *csv, size_t len,
                         mla_halves *out, mla_err *why) {
    reading r;
    int rc = read_submission(&r, answers, split, csv, len, why);
    if (rc == 0) rc = compute_halves(&r, out, why);
    reading_clear(&r);
    return rc;
}

// The score of n rows drawn from the n at `first`. truth, guess: room for them.
static double resample(const reading *r, size_t first, size_t n, mla_rng *rng, double *truth,
                       double *guess) {
    size_t wide = r->answers->truth_width;
    for (size_t i = 0; i < n; i++) {
        size_t row = first + mla_rng_below(rng, n);
        memcpy(truth + i * wide, r->part->truth + row * wide, wide * sizeof *truth);
        memcpy(guess + i * r->width, r->guess + row * r->width, r->width * sizeof *guess);
    }
    double score = mla_metric_compute(r->answers->metric, truth, guess, n, r->width);
    return isfinite(score) ? score : NAN;
}

int mla_score_resamples(const mla_answers *answers, size_t split, const char *csv, size_t len,
                        uint64_t seed, mla_halves *out, size_t count, mla_err *why) {
    reading r;
    int rc = read_submission(&r, answers, split, csv, len, why);
    size_t rows = r.part->ids.len, first = r.part->public_count;
    double *truth = MLA_NEW_ARRAY(double, rows * answers->truth_width + 1);
    double *guess = MLA_NEW_ARRAY(double, rows * r.width + 1);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        mla_rng rng;
        mla_rng_init(&rng, mla_rng_derive(seed, i, 0, 0));
        out[i].public_half = resample(&r, 0, first, &rng, truth, guess);
        out[i].private_half = resample(&r, first, rows - first, &rng, truth, guess);
    }
    free(guess);
    free(truth);
    reading_clear(&r);
    return rc;
}
