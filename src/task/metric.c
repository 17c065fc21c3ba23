// The metrics of metric.h: names and directions from the table, and one function each. They equal
// scikit-learn's accuracy_score, roc_auc_score and mean_absolute_error. Which labels are the same
// and which numbers are acceptable is the scorer's business.
#include "task/metric.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/mem.h"

static const struct {
    const char *name;
    int direction;
} table[MLA_METRIC_COUNT] = {
#define X(id, name, direction, meaning) [MLA_METRIC_##id] = {name, direction},
    MLA_METRIC_MAP(X)
#undef X
};

const char *mla_metric_name(mla_metric metric) {
    MLA_ASSERT((unsigned)metric < MLA_METRIC_COUNT);
    return table[metric].name;
}

int mla_metric_parse(const char *name) {
    for (int i = 0; i < MLA_METRIC_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0) return i;
    }
    return -1;
}

int mla_metric_direction(mla_metric metric) {
    MLA_ASSERT((unsigned)metric < MLA_METRIC_COUNT);
    return table[metric].direction;
}

// truth, guess [n]
static double accuracy(const double *truth, const double *guess, size_t n) {
    size_t right = 0;
    for (size_t i = 0; i < n; i++) right += truth[i] == guess[i];
    return (double)right / (double)n;
}

// truth, guess [n]
static double mean_absolute_error(const double *truth, const double *guess, size_t n) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabsl((long double)truth[i] - guess[i]);
    return (double)(sum / n);
}

typedef struct ranked {
    double guess;
    bool positive;
} ranked;

static int by_guess(const void *a, const void *b) {
    double x = ((const ranked *)a)->guess, y = ((const ranked *)b)->guess;
    return (x > y) - (x < y);
}

// The sum of the positives' ranks (from 1), where equal guesses share the mean of their ranks: a
// sum of halves, hence exact. rows [n], sorted.
static double positive_rank_sum(const ranked *rows, size_t n) {
    double sum = 0;
    for (size_t from = 0, to; from < n; from = to) {
        size_t positives = 0;
        for (to = from; to < n && rows[to].guess == rows[from].guess; to++) {
            positives += rows[to].positive;
        }
        sum += (double)positives * ((double)(from + 1 + to) / 2);
    }
    return sum;
}

// The Mann-Whitney statistic over the number of pairs, which is the area under the ROC curve.
// truth, guess [n]
static double area_under_roc(const double *truth, const double *guess, size_t n) {
    ranked *rows = MLA_NEW_ARRAY(ranked, n);
    size_t positives = 0;
    bool defined = true;
    for (size_t i = 0; i < n; i++) {
        MLA_ASSERT(truth[i] == 0 || truth[i] == 1);
        rows[i] = (ranked){guess[i], truth[i] == 1};
        positives += rows[i].positive;
        defined = defined && !isnan(guess[i]);
    }
    double area = NAN;
    if (defined && positives > 0 && positives < n) {
        qsort(rows, n, sizeof *rows, by_guess);
        double p = (double)positives, q = (double)(n - positives);
        area = (positive_rank_sum(rows, n) - p * (p + 1) / 2) / (p * q);
    }
    free(rows);
    return area;
}

double mla_metric_compute(mla_metric metric, const double *truth, const double *guess, size_t n) {
    MLA_ASSERT(n > 0);
    switch (metric) {
    case MLA_METRIC_ACCURACY: return accuracy(truth, guess, n);
    case MLA_METRIC_AUC: return area_under_roc(truth, guess, n);
    case MLA_METRIC_MAE: return mean_absolute_error(truth, guess, n);
    case MLA_METRIC_COUNT: break;
    }
    MLA_ASSERT(!"a metric of the table");
    return NAN;
}
