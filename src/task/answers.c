// Reads a task's answers: id, targets, half and, where the task has several splits, split. Labels
// are numbered; rows are laid out so that each half of each split is one stretch.
#include "task/answers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"

// The file being read, and its rows in the file's order.
typedef struct reading {
    const mla_task *task;
    mla_answers *answers;
    const char *path;
    size_t *at;                 // [1 + truth_width]: the columns of the id and the targets
    int half, split;            // the columns; split -1: there is none
    struct unsorted {
        double *truth;          // [rows, truth_width]
        bool *is_public;        // [rows]
        size_t cap, public_cap;
    } *parts;                   // [part_count]
} reading;

static int complain(const reading *r, const char *what, const char *text, mla_err *err) {
    return mla_err_set(err, "%s line %zu: %s '%s'", r->path, r->answers->csv.line, what,
                       mla__show(text).text);
}

static char *cell(const reading *r, size_t column) {
    return mla__cell_trim(&r->answers->csv.cells[column]);
}

// The number of a label. Where there are classes it must be one of them.
static int read_label(const reading *r, const char *text, double *out, mla_err *err) {
    mla_answers *answers = r->answers;
    mla__key key = mla__key_label(text);
    bool added;
    if (answers->guess == MLA_VALUE_RANKED && strpbrk(text, " \t\r\n")) {
        return complain(r, "guesses are separated by blanks, so a label cannot hold one:", text,
                        err);
    }
    size_t label = answers->by_class ? mla__keys_find(&answers->labels, key)
                                     : mla__keys_add(&answers->labels, key, &added);
    if (label == MLA__KEY_NONE) {
        return complain(r, "the answer is none of the classes of task.yaml:", text, err);
    }
    *out = (double)label;
    return 0;
}

// truth [truth_width]: the answers of the row at hand.
static int read_truth(const reading *r, double *truth, mla_err *err) {
    mla_answers *answers = r->answers;
    mla_value kind = mla_metric_about(answers->metric)->truth;
    bool labels = kind == MLA_VALUE_LABEL || answers->by_class;
    for (size_t i = 0; i < answers->truth_width; i++) {
        const char *text = cell(r, r->at[1 + i]), *column = r->task->target_columns[i];
        if (text[0] == '\0') {
            return complain(r, "no answer in column", column, err);
        }
        int rc = labels ? read_label(r, text, &truth[i], err)
                        : mla__number_read(kind, &answers->csv, r->path, column, text, &truth[i],
                                           err);
        if (rc < 0) return -1;
    }
    return 0;
}

// Which split the row at hand is of.
static int read_split(const reading *r, size_t *out, mla_err *err) {
    *out = 0;
    if (r->split < 0) return 0;
    const char *text = cell(r, (size_t)r->split);
    double number;
    if (!mla__number_parse(text, &number) || number != floor(number) || !(number >= 0) ||
        !(number < (double)r->answers->part_count)) {
        return complain(r, "split must be a whole number from 0 and below task.yaml's splits, not",
                        text, err);
    }
    *out = (size_t)number;
    return 0;
}

static int read_half(const reading *r, bool *is_public, mla_err *err) {
    const char *half = cell(r, (size_t)r->half);
    *is_public = strcmp(half, "public") == 0;
    if (*is_public || strcmp(half, "private") == 0) return 0;
    return complain(r, "half must be public or private, not", half, err);
}

static int read_row(const reading *r, mla_err *err) {
    size_t split, width = r->answers->truth_width;
    bool is_public, added;
    if (read_split(r, &split, err) < 0 || read_half(r, &is_public, err) < 0) return -1;
    mla__part *part = &r->answers->parts[split];
    struct unsorted *rows = &r->parts[split];
    const char *id = cell(r, r->at[0]);
    if (id[0] == '\0') {
        return mla_err_set(err, "%s line %zu: the id is empty", r->path, r->answers->csv.line);
    }
    size_t at = mla__keys_add(&part->ids, mla__key_text(id), &added);
    if (!added) {
        return mla_err_set(err, "%s line %zu: id '%s' is there twice", r->path,
                           r->answers->csv.line, mla__show(id).text);
    }
    MLA_GROW(rows->truth, rows->cap, (at + 1) * width);
    MLA_GROW(rows->is_public, rows->public_cap, at + 1);
    rows->is_public[at] = is_public;
    part->public_count += is_public;
    return read_truth(r, rows->truth + at * width, err);
}

static int read_header(reading *r, mla_err *err) {
    mla_answers *answers = r->answers;
    mla__csv *csv = &answers->csv;
    if (mla__header_read(csv, r->path, answers->id_column, r->task->target_columns,
                         answers->truth_width, r->at, err) < 0) {
        return -1;
    }
    r->half = mla__csv_find(csv, "half");
    if (r->half < 0) return mla_err_set(err, "%s needs one column 'half'", r->path);
    r->split = mla__csv_find(csv, "split");
    if (r->split == -2 || (r->split == -1) != (answers->part_count == 1)) {
        return mla_err_set(err, "%s must have %s column 'split': task.yaml says %zu split%s",
                           r->path, answers->part_count > 1 ? "one" : "no", answers->part_count,
                           answers->part_count > 1 ? "s" : "");
    }
    return 0;
}

static int read_rows(reading *r, mla_err *err) {
    if (read_header(r, err) < 0) return -1;
    int rc;
    while ((rc = mla__csv_next(&r->answers->csv, err)) > 0) {
        if (read_row(r, err) < 0) return -1;
    }
    return rc < 0 ? mla_err_wrap(err, "%s", r->path) : 0;
}

// Lays the public rows before the private ones. width: of a row of answers.
static void sort_halves(mla__part *part, const struct unsorted *rows, size_t width) {
    size_t n = part->ids.len, public_at = 0, private_at = part->public_count;
    part->truth = MLA_NEW_ARRAY(double, n * width + 1);
    part->place = MLA_NEW_ARRAY(size_t, n + 1);
    for (size_t i = 0; i < n; i++) {
        size_t place = rows->is_public[i] ? public_at++ : private_at++;
        part->place[i] = place;
        memcpy(part->truth + place * width, rows->truth + i * width, width * sizeof(double));
    }
}

// truth [n, stride]: whether its first column has two values.
static bool varies(const double *truth, size_t n, size_t stride) {
    for (size_t i = 1; i < n; i++) {
        if (truth[i * stride] != truth[0]) return true;
    }
    return false;
}

// truth [n, truth_width]: one half of one split.
static int check_half(const reading *r, const char *half, size_t split, const double *truth,
                      size_t n, mla_err *err) {
    const mla_metric_info *about = mla_metric_about(r->answers->metric);
    size_t width = r->answers->truth_width;
    char where[64];
    snprintf(where, sizeof where, "%s half", half);
    if (r->split >= 0) snprintf(where, sizeof where, "%s half of split %zu", half, split);
    if (n == 0) return mla_err_set(err, "%s has no rows in the %s", r->path, where);
    for (size_t i = 0; about->needs_variety && i < width; i++) {
        if (varies(truth + i, n, width)) continue;
        return mla_err_set(err, "%s has only one value of %s in the %s: %s is not defined", r->path,
                           mla__show(r->task->target_columns[i]).text, where, about->name);
    }
    return 0;
}

static int lay_out(const reading *r, mla_err *err) {
    size_t width = r->answers->truth_width;
    for (size_t s = 0; s < r->answers->part_count; s++) {
        mla__part *part = &r->answers->parts[s];
        size_t first = part->public_count;
        sort_halves(part, &r->parts[s], width);
        if (check_half(r, "public", s, part->truth, first, err) < 0) return -1;
        if (check_half(r, "private", s, part->truth + first * width, part->ids.len - first,
                       err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int load(mla_answers *answers, const mla_task *task, mla_err *err) {
    mla_buf file;
    if (mla_fs_read(task->answers_path, MLA__CSV_MAX_BYTES, &file, err) < 0) return -1;
    mla__csv_init(&answers->csv, mla_buf_text(&file), file.len);
    mla_buf_clear(&file);
    reading r = {.task = task, .answers = answers, .path = task->answers_path};
    r.at = MLA_NEW_ARRAY(size_t, 1 + answers->truth_width);
    r.parts = MLA_NEW_ARRAY(struct unsorted, answers->part_count);
    int rc = read_rows(&r, err);
    if (rc == 0) rc = lay_out(&r, err);
    for (size_t s = 0; s < answers->part_count; s++) {
        free(r.parts[s].truth);
        free(r.parts[s].is_public);
    }
    free(r.parts);
    free(r.at);
    return rc;
}

// The form of the task's files. Its classes are the first labels.
static mla_answers *form_of(const mla_task *task) {
    mla_answers *answers = MLA_NEW(mla_answers);
    answers->metric = task->metric;
    answers->by_class = task->class_count > 0;
    answers->guess = answers->by_class ? MLA_VALUE_AMOUNT : mla_metric_about(task->metric)->guess;
    answers->id_column = mla_strdup(task->id_column);
    char **columns = mla_task_guess_columns(task, &answers->column_count);
    answers->columns = MLA_NEW_ARRAY(char *, answers->column_count);
    for (size_t i = 0; i < answers->column_count; i++) {
        bool added;
        answers->columns[i] = mla_strdup(columns[i]);
        if (!answers->by_class) continue;
        mla__keys_add(&answers->labels, mla__key_label(answers->columns[i]), &added);
        MLA_ASSERT(added);
    }
    answers->truth_width = task->target_count;
    answers->part_count = (size_t)task->splits;
    answers->parts = MLA_NEW_ARRAY(mla__part, answers->part_count);
    return answers;
}

mla_answers *mla_answers_load(const mla_task *task, mla_err *err) {
    MLA_ASSERT(task->splits > 0 && task->target_count > 0);
    mla_answers *answers = form_of(task);
    if (load(answers, task, err) == 0) return answers;
    mla_answers_free(answers);
    return NULL;
}

void mla_answers_free(mla_answers *answers) {
    if (!answers) return;
    for (size_t s = 0; s < answers->part_count; s++) {
        mla__keys_clear(&answers->parts[s].ids);
        free(answers->parts[s].truth);
        free(answers->parts[s].place);
    }
    free(answers->parts);
    for (size_t i = 0; i < answers->column_count; i++) free(answers->columns[i]);
    free(answers->columns);
    free(answers->id_column);
    mla__keys_clear(&answers->labels);
    mla__csv_clear(&answers->csv);
    free(answers);
}
