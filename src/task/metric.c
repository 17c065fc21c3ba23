// The metrics of metric.h: what the table says of them, and one function each. Which labels are the
// same and which values are acceptable is the scorer's business.
#include "task/metric.h"

#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "task/internal.h"

static const mla_metric_info table[MLA_METRIC_COUNT] = {
#define X(id, name, direction, columns, truth, guess, variety, meaning)                           \
    [MLA_METRIC_##id] = {name,              direction, MLA_COLUMNS_##columns, MLA_VALUE_##truth,  \
                         MLA_VALUE_##guess, variety,   meaning},
    MLA_METRIC_MAP(X)
#undef X
};

const mla_metric_info *mla_metric_about(mla_metric metric) {
    MLA_ASSERT((unsigned)metric < MLA_METRIC_COUNT);
    return &table[metric];
}

const char *mla_metric_name(mla_metric metric) {
    return mla_metric_about(metric)->name;
}

int mla_metric_direction(mla_metric metric) {
    return mla_metric_about(metric)->direction;
}

int mla_metric_parse(const char *name) {
    for (int i = 0; i < MLA_METRIC_COUNT; i++) {
        if (strcmp(table[i].name, name) == 0) return i;
    }
    return -1;
}

int mla_metric_read(const char *name, mla_metric *out, mla_err *err) {
    int metric = mla_metric_parse(name);
    if (metric >= 0) {
        *out = (mla_metric)metric;
        return 0;
    }
    mla_buf known;
    mla_buf_init(&known, 512);
    for (int i = 0; i < MLA_METRIC_COUNT; i++) {
        mla_buf_printf(&known, "%s%s", i ? ", " : "", table[i].name);
    }
    mla_err_set(err, "'%s' is not one of %s", mla__show(name).text, mla_buf_text(&known));
    mla_buf_clear(&known);
    return -1;
}

// One column of truth [n, width] and guess [n, width].
typedef struct column {
    const double *truth, *guess;        // of the first row
    size_t n, stride;
} column;

// truth, guess [n]: scikit-learn's accuracy_score.
static double accuracy(const double *truth, const double *guess, size_t n) {
    size_t right = 0;
    for (size_t i = 0; i < n; i++) right += truth[i] == guess[i];
    return (double)right / (double)n;
}

// truth, guess [n]: scikit-learn's mean_absolute_error.
static double mean_absolute_error(const double *truth, const double *guess, size_t n) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++) sum += fabsl((long double)truth[i] - guess[i]);
    return (double)(sum / n);
}

typedef struct ranked {
    uint64_t order;             // of the guess
    bool positive;
} ranked;

// A number that is as large among others as the guess is among guesses; that of -0 is that of 0.
static uint64_t order_of(double guess) {
    uint64_t bits;
    guess += 0.0;
    memcpy(&bits, &guess, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

// rows [n], sorted byte by byte from the lowest on: several times as fast as qsort. spare: room.
static void sort_rows(ranked *rows, ranked *spare, size_t n) {
    for (int shift = 0; shift < 64; shift += 8) {
        size_t starts[257] = {0};
        for (size_t i = 0; i < n; i++) starts[(rows[i].order >> shift & 0xFF) + 1]++;
        for (size_t i = 0; i < 256; i++) starts[i + 1] += starts[i];
        for (size_t i = 0; i < n; i++) spare[starts[rows[i].order >> shift & 0xFF]++] = rows[i];
        ranked *sorted = spare;
        spare = rows;
        rows = sorted;
    }
}

// The sum of the positives' ranks (from 1), where equal guesses share the mean of their ranks: a
// sum of halves, hence exact. rows [n], sorted.
static double positive_rank_sum(const ranked *rows, size_t n) {
    double sum = 0;
    for (size_t from = 0, to; from < n; from = to) {
        size_t positives = 0;
        for (to = from; to < n && rows[to].order == rows[from].order; to++) {
            positives += rows[to].positive;
        }
        sum += (double)positives * ((double)(from + 1 + to) / 2);
    }
    return sum;
}

// The Mann-Whitney statistic over the number of pairs, which is the area under the ROC curve:
// scikit-learn's roc_auc_score.
static double area_under_roc(column c) {
    ranked *rows = MLA_NEW_ARRAY(ranked, 2 * c.n);    // and as much to sort them in
    size_t positives = 0;
    bool defined = true;
    for (size_t i = 0; i < c.n; i++) {
        double truth = c.truth[i * c.stride], guess = c.guess[i * c.stride];
        MLA_ASSERT(truth == 0 || truth == 1);
        rows[i] = (ranked){order_of(guess), truth == 1};
        positives += rows[i].positive;
        defined = defined && !isnan(guess);
    }
    double area = NAN;
    if (defined && positives > 0 && positives < c.n) {
        sort_rows(rows, rows + c.n, c.n);
        double p = (double)positives, q = (double)(c.n - positives);
        area = (positive_rank_sum(rows, c.n) - p * (p + 1) / 2) / (p * q);
    }
    free(rows);
    return area;
}

// scikit-learn's root_mean_squared_error of one column.
static double root_mean_squared_error(column c) {
    long double sum = 0;
    for (size_t i = 0; i < c.n; i++) {
        long double error = (long double)c.truth[i * c.stride] - c.guess[i * c.stride];
        sum += error * error;
    }
    return (double)sqrtl(sum / c.n);
}

// Of both metrics that average over columns, truth [n, width] and guess [n, width].
static double mean_over_columns(double (*of)(column), const double *truth, const double *guess,
                                size_t n, size_t width) {
    long double sum = 0;
    for (size_t at = 0; at < width; at++) sum += of((column){truth + at, guess + at, n, width});
    return (double)(sum / width);
}

// truth, guess [n]: scikit-learn's root_mean_squared_log_error.
static double root_mean_squared_log_error(const double *truth, const double *guess, size_t n) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++) {
        MLA_ASSERT(truth[i] >= 0 && !(guess[i] < 0));
        long double error = log1pl(truth[i]) - log1pl(guess[i]);
        sum += error * error;
    }
    return (double)sqrtl(sum / n);
}

// Clipped where scikit-learn clips, at the epsilon of a double.
static double log_probability(double p) {
    return log(fmin(fmax(p, DBL_EPSILON), 1 - DBL_EPSILON));
}

// What a row of guesses says of the class `truth`: row [width].
static double probability_of(double truth, const double *row, size_t width) {
    if (width == 1) return truth == 1 ? row[0] : 1 - row[0];
    size_t class = (size_t)truth;
    MLA_ASSERT(class < width);
    long double sum = 0;
    for (size_t i = 0; i < width; i++) sum += row[i];
    return (double)(row[class] / sum);
}

// truth [n], guess [n, width]: scikit-learn's log_loss.
static double log_loss(const double *truth, const double *guess, size_t n, size_t width) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum -= log_probability(probability_of(truth[i], guess + i * width, width));
    }
    return (double)(sum / n);
}

// truth [n], guess [n, width]: Kaggle's mean average precision at `width` where one label is right.
static double mean_average_precision(const double *truth, const double *guess, size_t n,
                                     size_t width) {
    long double sum = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t rank = 0; rank < width; rank++) {
            if (guess[i * width + rank] != truth[i]) continue;
            sum += 1 / (long double)(rank + 1);
            break;
        }
    }
    return (double)(sum / n);
}

typedef struct moments {
    long double mean, deviation;        // the sum of squared deviations from it
    bool constant;
} moments;

// values [n]
static moments moments_of(const double *values, size_t n) {
    moments m = {.constant = true};
    for (size_t i = 0; i < n; i++) {
        m.mean += values[i];
        m.constant = m.constant && values[i] == values[0];
    }
    m.mean /= n;
    for (size_t i = 0; i < n; i++) m.deviation += (values[i] - m.mean) * (values[i] - m.mean);
    return m;
}

// truth, guess [n]: Kaggle's kappa with weights (i - j)^2: scikit-learn's cohen_kappa_score with
// weights="quadratic" and for labels all whole numbers from the least to the greatest. With these
// weights the observed disagreement is the mean squared difference, and the one expected of
// independent ratings is the sum of both variances and the squared difference of the means.
static double quadratic_weighted_kappa(const double *truth, const double *guess, size_t n) {
    moments t = moments_of(truth, n), g = moments_of(guess, n);
    if (t.constant && g.constant && truth[0] == guess[0]) return NAN;
    long double observed = 0, apart = t.mean - g.mean;
    for (size_t i = 0; i < n; i++) {
        observed += ((long double)truth[i] - guess[i]) * ((long double)truth[i] - guess[i]);
    }
    return (double)(1 - observed / (t.deviation + g.deviation + n * apart * apart));
}

// truth, guess [n]: scipy.stats.pearsonr.
static double pearson_correlation(const double *truth, const double *guess, size_t n) {
    moments t = moments_of(truth, n), g = moments_of(guess, n);
    if (t.constant) return NAN;
    if (g.constant) return 0;
    long double covariance = 0;
    for (size_t i = 0; i < n; i++) covariance += (truth[i] - t.mean) * (guess[i] - g.mean);
    return (double)(covariance / sqrtl(t.deviation) / sqrtl(g.deviation));
}

double mla_metric_compute(mla_metric metric, const double *truth, const double *guess, size_t n,
                          size_t width) {
    MLA_ASSERT(n > 0 && width > 0);
    switch (metric) {
    case MLA_METRIC_ACCURACY: return accuracy(truth, guess, n);
    case MLA_METRIC_AUC: return area_under_roc((column){truth, guess, n, 1});
    case MLA_METRIC_MEAN_COLUMN_AUC:
        return mean_over_columns(area_under_roc, truth, guess, n, width);
    case MLA_METRIC_LOG_LOSS: return log_loss(truth, guess, n, width);
    case MLA_METRIC_MAE: return mean_absolute_error(truth, guess, n);
    case MLA_METRIC_RMSE: return root_mean_squared_error((column){truth, guess, n, 1});
    case MLA_METRIC_RMSLE: return root_mean_squared_log_error(truth, guess, n);
    case MLA_METRIC_MCRMSE:
        return mean_over_columns(root_mean_squared_error, truth, guess, n, width);
    case MLA_METRIC_MAP5: return mean_average_precision(truth, guess, n, width);
    case MLA_METRIC_QWK: return quadratic_weighted_kappa(truth, guess, n);
    case MLA_METRIC_PEARSON: return pearson_correlation(truth, guess, n);
    case MLA_METRIC_COUNT: break;
    }
    MLA_ASSERT(!"a metric of the table");
    return NAN;
}
