// Metrics, equal to scikit-learn's or the competition's own: each from one entry of one table,
// which also says what answers and submissions hold (docs/tasks.md is for people).
#ifndef MLA_TASK_METRIC_H
#define MLA_TASK_METRIC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

// What one cell of the answers or of a submission may hold.
typedef enum {
    MLA_VALUE_LABEL,            // any text; numbers are the same however they are written
    MLA_VALUE_BINARY,           // 0 or 1
    MLA_VALUE_RATING,           // a whole number of at most MLA_RATING_MAX, either sign
    MLA_VALUE_NUMBER,           // finite
    MLA_VALUE_AMOUNT,           // finite, not negative
    MLA_VALUE_PROBABILITY,      // from 0 to 1
    MLA_VALUE_RANKED,           // up to MLA_RANKED_MAX labels, best first, separated by blanks
} mla_value;

#define MLA_RATING_MAX 1000000
#define MLA_RANKED_MAX 5

typedef enum {
    MLA_COLUMNS_ONE,            // task.yaml has target_column
    MLA_COLUMNS_SEVERAL,        // target_columns
    MLA_COLUMNS_ONE_OR_CLASSES, // target_column; with classes, a submission has a column for each
} mla_columns;

// X(id, name in task.yaml, direction, columns, value in the answers, value in a submission,
//   whether answers that are all the same leave it undefined, meaning)
#define MLA_METRIC_MAP(X)                                                                   \
    X(ACCURACY, "accuracy", +1, ONE, LABEL, LABEL, false,                                   \
      "share of rows whose label is right")                                                 \
    X(AUC, "auc", +1, ONE, BINARY, NUMBER, true,                                            \
      "area under the ROC curve of a score for the positive class")                         \
    X(MEAN_COLUMN_AUC, "mean_column_auc", +1, SEVERAL, BINARY, NUMBER, true,                \
      "mean of the columns' areas under the ROC curve")                                     \
    X(LOG_LOSS, "log_loss", -1, ONE_OR_CLASSES, BINARY, PROBABILITY, false,                 \
      "mean of minus the logarithm of the right class's probability")                       \
    X(MAE, "mae", -1, ONE, NUMBER, NUMBER, false, "mean absolute error")                    \
    X(RMSE, "rmse", -1, ONE, NUMBER, NUMBER, false, "root of the mean squared error")       \
    X(RMSLE, "rmsle", -1, ONE, AMOUNT, AMOUNT, false,                                       \
      "root of the mean squared error of log(1 + value)")                                   \
    X(MCRMSE, "mcrmse", -1, SEVERAL, NUMBER, NUMBER, false,                                 \
      "mean of the columns' roots of the mean squared error")                               \
    X(MAP5, "map5", +1, ONE, LABEL, RANKED, false,                                          \
      "mean of 1 / rank of the right label among five guesses")                             \
    X(QWK, "qwk", +1, ONE, RATING, RATING, true,                                            \
      "quadratic weighted kappa: agreement of ratings beyond chance")                       \
    X(PEARSON, "pearson", +1, ONE, NUMBER, NUMBER, true, "Pearson's correlation")

typedef enum {
#define X(id, ...) MLA_METRIC_##id,
    MLA_METRIC_MAP(X)
#undef X
    MLA_METRIC_COUNT
} mla_metric;

typedef struct mla_metric_info {
    const char *name;
    int direction;              // +1: higher is usually better, -1: lower; the task's is law
    mla_columns columns;
    mla_value truth, guess;
    bool needs_variety;         // undefined where all answers of a column are the same
    const char *meaning;
} mla_metric_info;

const mla_metric_info *mla_metric_about(mla_metric metric);
const char *mla_metric_name(mla_metric metric);
int mla_metric_parse(const char *name);                // the enum, or -1
// The same for people: -1 and an error that names those that are known.
MLA_MUST_USE int mla_metric_read(const char *name, mla_metric *out, mla_err *err);
int mla_metric_direction(mla_metric metric);

// truth [n, width] and guess [n, width], row by row, width the number of target columns; n > 0. Two
// metrics have one target and wider guesses: MAP@5 (guess [n, MLA_RANKED_MAX], labels by number, no
// number twice in a row, what is no label -1) and log loss over classes (guess [n, classes], not
// negative, each row's sum above 0, by which it is divided; truth the class's index). Accuracy
// compares label numbers. Sums are taken in long double. NaN where needs_variety is not met, and
// infinite where finite values are too large. Pearson's correlation with a constant guess is 0.
double mla_metric_compute(mla_metric metric, const double *truth, const double *guess, size_t n,
                          size_t width);

#endif
