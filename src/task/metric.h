// Metrics, equal to scikit-learn's: each from one line of one table.
#ifndef MLA_TASK_METRIC_H
#define MLA_TASK_METRIC_H

#include <stddef.h>

// X(id, name in task.yaml, direction, meaning)
#define MLA_METRIC_MAP(X)                                                              \
    X(ACCURACY, "accuracy", +1, "share of rows whose label is right")                  \
    X(AUC, "auc", +1, "area under the ROC curve of a score for the positive class")    \
    X(MAE, "mae", -1, "mean absolute error")

typedef enum {
#define X(id, name, direction, meaning) MLA_METRIC_##id,
    MLA_METRIC_MAP(X)
#undef X
    MLA_METRIC_COUNT
} mla_metric;

const char *mla_metric_name(mla_metric metric);
int mla_metric_parse(const char *name);                // the enum, or -1
int mla_metric_direction(mla_metric metric);           // the usual direction; the task's is law

// truth, guess [n]. Accuracy compares label numbers (labels are interned by the scorer); AUC wants
// truth in {0, 1} and returns NaN when a class is missing. n > 0.
double mla_metric_compute(mla_metric metric, const double *truth, const double *guess, size_t n);

#endif
