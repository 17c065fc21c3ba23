// A task's answers as both their reader and the scorer see them; private to the room.
#ifndef MLA_TASK_ANSWERS_H
#define MLA_TASK_ANSWERS_H

#include "task/csv.h"
#include "task/internal.h"
#include "task/score.h"

// The rows of one split. A row's number is its id's index.
typedef struct mla__part {
    mla__keys ids;
    double *truth;              // [ids.len, truth_width], public rows first: a label's index, or a
                                // number
    size_t *place;              // [ids.len]: which row of `truth` is a row's
    size_t public_count;
} mla__part;

struct mla_answers {
    mla_metric metric;
    mla_value guess;            // what a cell of a submission may hold
    char *id_column;
    char **columns;             // [column_count]: a submission's, besides the id
    size_t column_count;
    bool by_class;              // they are the classes
    size_t truth_width;
    mla__csv csv;               // its copy of the file holds the text of ids and labels
    mla__keys labels;           // the classes, where answers are labels
    mla__part *parts;           // [part_count]: the splits
    size_t part_count;
};

// Reads the header of `what` ("submission.csv"), which must have `id` and columns [count], each
// once. at [count + 1]: where they are, the id's first.
MLA_MUST_USE int mla__header_read(mla__csv *csv, const char *what, const char *id,
                                  char *const *columns, size_t count, size_t *at, mla_err *why);
// The number in a cell of a kind that is a number; -1 and the reason, with the file's name, the
// line and the column's name, when it is not of the kind.
MLA_MUST_USE int mla__number_read(mla_value kind, const mla__csv *csv, const char *what,
                                  const char *column, const char *text, double *out, mla_err *why);

#endif
