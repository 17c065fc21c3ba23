// Answers and the scoring of submissions. The reasons given to the agent speak of its own file and
// of how many ids were expected; never of an answer, nor of which half a row is in.
#include "task/score.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "task/csv.h"
#include "task/internal.h"

#define MAX_SUBMISSION_BYTES ((size_t)64 << 20)

struct mla_answers {
    mla_metric metric;
    char *id_column, *target_column;
    mla__csv csv;               // its copy of the file holds the text of ids and labels
    mla__keys ids;              // a row's number is its id's index
    mla__keys labels;           // the classes, for accuracy
    double *truth;              // [ids.len], public rows first: a label's index, or the number
    size_t *place;              // [ids.len]: where in `truth` a row is
    size_t public_count;
};

// One row of a file of ids and targets, trimmed.
typedef struct row {
    const char *id, *target;
} row;

typedef struct columns {
    size_t id, target;
} columns;

// Reads the header of `what` ("submission.csv") and finds both columns.
static int read_header(mla__csv *csv, const char *what, const char *id, const char *target,
                       columns *out, mla_err *why) {
    int rc = mla__csv_next(csv, why);
    if (rc < 0) return mla_err_wrap(why, "%s", what);
    if (rc == 0) return mla_err_set(why, "%s is empty: its header must have %s and %s", what, id,
                                    target);
    for (size_t i = 0; i < csv->count; i++) csv->cells[i].text = mla__cell_trim(&csv->cells[i]);
    const char *names[] = {id, target};
    int at[2];
    for (int i = 0; i < 2; i++) {
        at[i] = mla__csv_find(csv, names[i]);
        if (at[i] >= 0) continue;
        return mla_err_set(why, "%s %s column '%s': its header must have %s and %s", what,
                           at[i] == -1 ? "has no" : "has more than one", names[i], id, target);
    }
    *out = (columns){(size_t)at[0], (size_t)at[1]};
    return 0;
}

// As mla__csv_next, and the row's id and target.
static int next_row(mla__csv *csv, const char *what, columns at, row *out, mla_err *why) {
    int rc = mla__csv_next(csv, why);
    if (rc < 0) return mla_err_wrap(why, "%s", what);
    if (rc == 0) return 0;
    out->id = mla__cell_trim(&csv->cells[at.id]);
    out->target = mla__cell_trim(&csv->cells[at.target]);
    return 1;
}

// The number a target cell stands for, for metrics of numbers.
static int read_number(const mla_answers *answers, const mla__csv *csv, const char *what,
                       const char *text, double *out, mla_err *why) {
    if (!mla__number_parse(text, out)) {
        return mla_err_set(why, "%s line %zu: %s is '%s', which is not a number", what, csv->line,
                           answers->target_column, mla__show(text).text);
    }
    if (!isfinite(*out)) {
        return mla_err_set(why, "%s line %zu: %s is '%s': it must be finite", what, csv->line,
                           answers->target_column, mla__show(text).text);
    }
    return 0;
}

// The target cell of a submission as a number to compare with `truth`.
static int read_guess(const mla_answers *answers, const mla__csv *csv, const char *text,
                      double *out, mla_err *why) {
    if (text[0] == '\0') {
        return mla_err_set(why, "submission.csv line %zu: %s is empty", csv->line,
                           answers->target_column);
    }
    if (answers->metric != MLA_METRIC_ACCURACY) {
        return read_number(answers, csv, "submission.csv", text, out, why);
    }
    size_t label = mla__keys_find(&answers->labels, mla__key_label(text));
    *out = label == MLA__KEY_NONE ? -1 : (double)label;     // a class nobody has is a wrong guess
    return 0;
}

// The target cell of the answers as a number.
static int read_truth(mla_answers *answers, const char *what, const char *text, double *out,
                      mla_err *err) {
    size_t line = answers->csv.line;
    if (text[0] == '\0') return mla_err_set(err, "%s line %zu: no answer", what, line);
    if (answers->metric == MLA_METRIC_ACCURACY) {
        bool added;
        *out = (double)mla__keys_add(&answers->labels, mla__key_label(text), &added);
        return 0;
    }
    if (read_number(answers, &answers->csv, what, text, out, err) < 0) return -1;
    if (answers->metric == MLA_METRIC_AUC && *out != 0 && *out != 1) {
        return mla_err_set(err, "%s line %zu: auc wants answers of 0 or 1", what, line);
    }
    return 0;
}

// All rows of the answers in the file's order.
typedef struct loaded {
    double *truth;
    bool *is_public;
    size_t cap, public_cap;
} loaded;

static int add_answer(mla_answers *answers, const char *what, row r, const char *half,
                      loaded *rows, mla_err *err) {
    bool is_public = strcmp(half, "public") == 0, added;
    if (!is_public && strcmp(half, "private") != 0) {
        return mla_err_set(err, "%s line %zu: half must be public or private, not '%s'", what,
                           answers->csv.line, mla__show(half).text);
    }
    if (r.id[0] == '\0') {
        return mla_err_set(err, "%s line %zu: the id is empty", what, answers->csv.line);
    }
    size_t at = mla__keys_add(&answers->ids, mla__key_text(r.id), &added);
    if (!added) {
        return mla_err_set(err, "%s line %zu: id '%s' is there twice", what, answers->csv.line,
                           mla__show(r.id).text);
    }
    MLA_GROW(rows->truth, rows->cap, at + 1);
    MLA_GROW(rows->is_public, rows->public_cap, at + 1);
    rows->is_public[at] = is_public;
    answers->public_count += is_public;
    return read_truth(answers, what, r.target, &rows->truth[at], err);
}

static int read_answers(mla_answers *answers, const char *what, loaded *rows, mla_err *err) {
    mla__csv *csv = &answers->csv;
    columns at;
    if (read_header(csv, what, answers->id_column, answers->target_column, &at, err) < 0) return -1;
    int half = mla__csv_find(csv, "half");
    if (half < 0) return mla_err_set(err, "%s needs one column 'half'", what);
    row r;
    int rc;
    while ((rc = next_row(csv, what, at, &r, err)) > 0) {
        const char *half_text = mla__cell_trim(&csv->cells[half]);
        if (add_answer(answers, what, r, half_text, rows, err) < 0) return -1;
    }
    return rc;
}

// Lays the public rows before the private ones.
static void split_halves(mla_answers *answers, const loaded *rows) {
    size_t n = answers->ids.len, public_at = 0, private_at = answers->public_count;
    answers->truth = MLA_NEW_ARRAY(double, n + 1);
    answers->place = MLA_NEW_ARRAY(size_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t place = rows->is_public[i] ? public_at++ : private_at++;
        answers->place[i] = place;
        answers->truth[place] = rows->truth[i];
    }
}

// truth [n]: one half. AUC needs both classes in it, every metric a row.
static int check_half(const mla_answers *answers, const char *what, const char *half,
                      const double *truth, size_t n, mla_err *err) {
    if (n == 0) return mla_err_set(err, "%s has no rows in the %s half", what, half);
    if (answers->metric != MLA_METRIC_AUC) return 0;
    for (size_t i = 1; i < n; i++) {
        if (truth[i] != truth[0]) return 0;
    }
    return mla_err_set(err, "%s has only one class in the %s half: auc is not defined", what, half);
}

static int load(mla_answers *answers, const char *path, mla_err *err) {
    mla_buf file;
    if (mla_fs_read(path, MLA__CSV_MAX_BYTES, &file, err) < 0) return -1;
    mla__csv_init(&answers->csv, mla_buf_text(&file), file.len);
    mla_buf_clear(&file);
    loaded rows = {0};
    int rc = read_answers(answers, path, &rows, err);
    if (rc == 0) {
        split_halves(answers, &rows);
        size_t first = answers->public_count, rest = answers->ids.len - first;
        rc = check_half(answers, path, "public", answers->truth, first, err);
        if (rc == 0) rc = check_half(answers, path, "private", answers->truth + first, rest, err);
    }
    free(rows.truth);
    free(rows.is_public);
    return rc;
}

mla_answers *mla_answers_load(const mla_task *task, mla_err *err) {
    mla_answers *answers = MLA_NEW(mla_answers);
    answers->metric = task->metric;
    answers->id_column = mla_strdup(task->id_column);
    answers->target_column = mla_strdup(task->target_column);
    if (load(answers, task->answers_path, err) < 0) {
        mla_answers_free(answers);
        return NULL;
    }
    return answers;
}

void mla_answers_free(mla_answers *answers) {
    if (!answers) return;
    free(answers->id_column);
    free(answers->target_column);
    mla__csv_clear(&answers->csv);
    mla__keys_clear(&answers->ids);
    mla__keys_clear(&answers->labels);
    free(answers->truth);
    free(answers->place);
    free(answers);
}

// guess [ids.len], seen [ids.len]
static int take_guess(const mla_answers *answers, const mla__csv *csv, row r, double *guess,
                      bool *seen, mla_err *why) {
    size_t at = mla__keys_find(&answers->ids, mla__key_text(r.id));
    if (at == MLA__KEY_NONE) {
        return mla_err_set(why, "submission.csv line %zu: %s '%s' is not one of test.csv's",
                           csv->line, answers->id_column, mla__show(r.id).text);
    }
    if (seen[at]) {
        return mla_err_set(why, "submission.csv line %zu: %s '%s' is there a second time",
                           csv->line, answers->id_column, mla__show(r.id).text);
    }
    seen[at] = true;
    return read_guess(answers, csv, r.target, &guess[answers->place[at]], why);
}

// guess [ids.len], seen [ids.len]
static int read_submission(const mla_answers *answers, mla__csv *csv, double *guess, bool *seen,
                           mla_err *why) {
    columns at;
    if (read_header(csv, "submission.csv", answers->id_column, answers->target_column, &at,
                    why) < 0) {
        return -1;
    }
    size_t count = 0;
    row r;
    int rc;
    while ((rc = next_row(csv, "submission.csv", at, &r, why)) > 0) {
        if (take_guess(answers, csv, r, guess, seen, why) < 0) return -1;
        count++;
    }
    if (rc == 0 && count != answers->ids.len) {
        return mla_err_set(why, "submission.csv has %zu rows, but %zu were expected: every %s of "
                           "test.csv once", count, answers->ids.len, answers->id_column);
    }
    return rc;
}

// guess [ids.len], in the order of `truth`
static int compute_halves(const mla_answers *answers, const double *guess, mla_halves *out,
                          mla_err *why) {
    size_t n = answers->public_count, rest = answers->ids.len - n;
    const double *truth = answers->truth;
    out->public_half = mla_metric_compute(answers->metric, truth, guess, n);
    out->private_half = mla_metric_compute(answers->metric, truth + n, guess + n, rest);
    if (isfinite(out->public_half) && isfinite(out->private_half)) return 0;
    return mla_err_set(why, "submission.csv: values of %s are too large to be scored",
                       answers->target_column);
}

int mla_score_submission(const mla_answers *answers, const char *csv, size_t len, mla_halves *out,
                         mla_err *why) {
    if (len > MAX_SUBMISSION_BYTES) {
        return mla_err_set(why, "submission.csv has more than %zu MB", MAX_SUBMISSION_BYTES >> 20);
    }
    mla__csv reader;
    mla__csv_init(&reader, csv, len);
    double *guess = MLA_NEW_ARRAY(double, answers->ids.len);
    bool *seen = MLA_NEW_ARRAY(bool, answers->ids.len);
    int rc = read_submission(answers, &reader, guess, seen, why);
    if (rc == 0) rc = compute_halves(answers, guess, out, why);
    free(guess);
    free(seen);
    mla__csv_clear(&reader);
    return rc;
}
