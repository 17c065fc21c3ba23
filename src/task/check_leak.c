// The statistics of the linter. A column tells the answers when few values determine them, when it
// separates two labels, or when it rises and falls with a number. An order of rows tells something
// when a label stands earlier than chance would have it, or neighbours are more alike.
#include "task/check_leak.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "task/internal.h"
#include "task/metric.h"

#define ROWS_MIN 20            // fewer say nothing
#define PURE 0.999             // of rows whose label their value determines
#define VALUES_SHARE 5         // a value has so many rows on average, or it is as good as an id
#define CORRELATED 0.9999
#define SEPARATED 0.9995       // area under the ROC curve
#define SIGMAS 5.0             // of chance; there are a few dozen such tests in a task
#define SHUFFLES 200

// --- ranks --------------------------------------------------------------------------------------

typedef struct {
    double value;
    size_t at;
} placed;

static int by_value(const void *a, const void *b) {
    const placed *x = a, *y = b;
    if (x->value != y->value) return x->value < y->value ? -1 : 1;
    return x->at < y->at ? -1 : x->at > y->at;
}

// Ranks from 0, equal values sharing their mean rank: [n], caller frees.
static double *ranks_of(const double *values, size_t n) {
    placed *sorted = MLA_NEW_ARRAY(placed, n);
    double *ranks = MLA_NEW_ARRAY(double, n);
    for (size_t i = 0; i < n; i++) sorted[i] = (placed){values[i], i};
    qsort(sorted, n, sizeof *sorted, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && sorted[end].value == sorted[i].value; end++) {}
        for (size_t k = i; k < end; k++) {
            ranks[sorted[k].at] = ((double)i + (double)end - 1) / 2;
        }
    }
    free(sorted);
    return ranks;
}

static double rank_correlation(const double *a, const double *b, size_t n) {
    double *x = ranks_of(a, n), *y = ranks_of(b, n);
    double r = mla_metric_compute(MLA_METRIC_PEARSON, x, y, n, 1);
    free(x);
    free(y);
    return r;
}

static bool constant(const double *values, size_t n) {
    for (size_t i = 1; i < n; i++) {
        if (values[i] != values[0]) return false;
    }
    return true;
}

static size_t label_count(const mla__target *t) {
    double most = 0;
    for (size_t i = 0; i < t->n; i++) most = fmax(most, t->truth[i]);
    return (size_t)most + 1;
}

// --- columns ------------------------------------------------------------------------------------

// [n] numbers, or NULL when a cell is none; caller frees.
static double *numbers_of(char *const *values, size_t n) {
    double *numbers = MLA_NEW_ARRAY(double, n);
    for (size_t i = 0; i < n; i++) {
        if (mla__number_parse(values[i], &numbers[i]) && isfinite(numbers[i])) continue;
        free(numbers);
        return NULL;
    }
    return numbers;
}

// The share of rows whose label is the commonest of those with the same value; 0 when the values
// are too many to mean anything.
static double purity(const mla__target *t, char *const *values) {
    mla__keys keys = {0};
    size_t *of = MLA_NEW_ARRAY(size_t, t->n), labels = label_count(t), pure = 0;
    for (size_t i = 0; i < t->n; i++) {
        bool added;
        of[i] = mla__keys_add(&keys, mla__key_label(values[i]), &added);
    }
    bool few = keys.len * VALUES_SHARE <= t->n;
    size_t *counts = MLA_NEW_ARRAY(size_t, few ? keys.len * labels : 1);
    for (size_t i = 0; few && i < t->n; i++) counts[of[i] * labels + (size_t)t->truth[i]]++;
    for (size_t k = 0; few && k < keys.len; k++) {
        size_t most = 0;
        for (size_t l = 0; l < labels; l++) {
            if (counts[k * labels + l] > most) most = counts[k * labels + l];
        }
        pure += most;
    }
    free(counts);
    free(of);
    mla__keys_clear(&keys);
    return (double)pure / (double)t->n;
}

static double commonest(const mla__target *t) {
    size_t *counts = MLA_NEW_ARRAY(size_t, label_count(t)), most = 0;
    for (size_t i = 0; i < t->n; i++) {
        size_t count = ++counts[(size_t)t->truth[i]];
        if (count > most) most = count;
    }
    free(counts);
    return (double)most / (double)t->n;
}

static bool is_binary(const mla__target *t) {
    return label_count(t) == 2;
}

static bool separates(const mla__target *t, const double *numbers) {
    double area = mla_metric_compute(MLA_METRIC_AUC, t->truth, numbers, t->n, 1);
    return area >= SEPARATED || area <= 1 - SEPARATED;
}

static bool follows(const mla__target *t, const double *numbers) {
    if (constant(numbers, t->n)) return false;
    double r = mla_metric_compute(MLA_METRIC_PEARSON, t->truth, numbers, t->n, 1);
    return fabs(r) >= CORRELATED || fabs(rank_correlation(t->truth, numbers, t->n)) >= CORRELATED;
}

const char *mla__leak_of_column(const mla__target *t, char *const *values) {
    if (t->n < ROWS_MIN || constant(t->truth, t->n)) return NULL;
    const char *how = NULL;
    if (t->labels && commonest(t) < PURE && purity(t, values) >= PURE) {
        return "its value determines the answer";
    }
    double *numbers = numbers_of(values, t->n);
    if (numbers && t->labels && is_binary(t) && separates(t, numbers)) {
        how = "a threshold on it separates the answers";
    }
    if (numbers && !t->labels && follows(t, numbers)) how = "it rises or falls with the answer";
    free(numbers);
    return how;
}

// --- orders of rows -----------------------------------------------------------------------------

// How many sigmas the most displaced label is off its place by chance.
static double displaced(const mla__target *t) {
    size_t labels = label_count(t);
    double n = (double)t->n, worst = 0;
    double *sum = MLA_NEW_ARRAY(double, labels), *count = MLA_NEW_ARRAY(double, labels);
    for (size_t i = 0; i < t->n; i++) {
        sum[(size_t)t->truth[i]] += (double)i;
        count[(size_t)t->truth[i]]++;
    }
    for (size_t l = 0; l < labels; l++) {
        double m = count[l];
        if (m < 1 || m == n) continue;
        double sd = sqrt((n * n - 1) / 12 / m * (n - m) / (n - 1));
        worst = fmax(worst, fabs(sum[l] / m - (n - 1) / 2) / sd);
    }
    free(sum);
    free(count);
    return worst;
}

// order [n] of the rows; how alike neighbours are: the more, the larger.
static double likeness(const double *values, const size_t *order, size_t n, bool labels) {
    double sum = 0;
    for (size_t i = 1; i < n; i++) {
        double a = values[order[i - 1]], b = values[order[i]];
        sum += labels ? a == b : -fabs(a - b);
    }
    return sum;
}

// How many sigmas neighbours are more alike than shuffled rows are.
static double clustered(const mla__target *t) {
    double *values = t->labels ? NULL : ranks_of(t->truth, t->n), sum = 0, squares = 0;
    const double *used = values ? values : t->truth;
    size_t *order = MLA_NEW_ARRAY(size_t, t->n);
    for (size_t i = 0; i < t->n; i++) order[i] = i;
    double seen = likeness(used, order, t->n, t->labels);
    mla_rng rng;
    mla_rng_init(&rng, 1);
    for (int k = 0; k < SHUFFLES; k++) {
        mla_rng_shuffle(&rng, order, t->n);
        double x = likeness(used, order, t->n, t->labels) - seen;
        sum += x;
        squares += x * x;
    }
    double mean = sum / SHUFFLES, sd = sqrt(fmax(squares / SHUFFLES - mean * mean, 1e-12));
    free(values);
    free(order);
    return -mean / sd;
}

const char *mla__leak_of_order(const mla__target *t) {
    if (t->n < ROWS_MIN || constant(t->truth, t->n)) return NULL;
    double off;
    if (t->labels) {
        off = displaced(t);
    } else {
        double *at = MLA_NEW_ARRAY(double, t->n);
        for (size_t i = 0; i < t->n; i++) at[i] = (double)i;
        off = fabs(rank_correlation(t->truth, at, t->n)) * sqrt((double)t->n - 1);
        free(at);
    }
    if (off > SIGMAS) return "answers change along it";
    if (clustered(t) > SIGMAS) return "neighbours have like answers";
    return NULL;
}
