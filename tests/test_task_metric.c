// The metrics against the values of scikit-learn, scipy and the competitions' own definitions
// (vectors/task_metric, made by tools/vectors_metric.py), and what must hold whatever the rows are.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "task/metric.h"

#define TOLERANCE 1e-9          // of the value; of 1 where the value is 0

static double *numbers(const json_t *array) {
    double *out = MLA_NEW_ARRAY(double, json_array_size(array));
    for (size_t i = 0; i < json_array_size(array); i++) {
        out[i] = json_number_value(json_array_get(array, i));
    }
    return out;
}

static void check_case(const json_t *c) {
    double *truth = numbers(json_object_get(c, "truth"));
    double *guess = numbers(json_object_get(c, "guess"));
    size_t rows = (size_t)json_integer_value(json_object_get(c, "rows"));
    size_t width = (size_t)json_integer_value(json_object_get(c, "width"));
    double wanted = mla_json_get_number(c, "value", 0);
    int metric = mla_metric_parse(mla_json_get_text(c, "metric", ""));
    assert_true(metric >= 0);
    assert_int_equal(json_array_size(json_object_get(c, "guess")), rows * width);
    double got = mla_metric_compute((mla_metric)metric, truth, guess, rows, width);
    double scale = wanted == 0 ? 1 : fabs(wanted);
    if (isnan(wanted) ? !isnan(got) : !(fabs(got - wanted) <= TOLERANCE * scale)) {
        fail_msg("%s, %s: %.17g, not %.17g", mla_json_get_text(c, "metric", ""),
                 mla_json_get_text(c, "name", ""), got, wanted);
    }
    free(truth);
    free(guess);
}

static void equals_the_references(void **state) {
    (void)state;
    mla_err err = {0};
    int seen[MLA_METRIC_COUNT] = {0};
    json_t *all = mla_json_read_file("tests/vectors/task_metric/metric.json", 1 << 24, &err);
    if (!all) fail_msg("%s", err.text);
    const json_t *cases = json_object_get(all, "cases");
    assert_int_equal(json_array_size(cases), 101);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        check_case(c);
        seen[mla_metric_parse(mla_json_get_text(c, "metric", ""))]++;
    }
    for (int i = 0; i < MLA_METRIC_COUNT; i++) assert_true(seen[i] >= 4);
    json_decref(all);
}

static void table_is_consistent(void **state) {
    (void)state;
    for (int i = 0; i < MLA_METRIC_COUNT; i++) {
        const mla_metric_info *about = mla_metric_about((mla_metric)i);
        assert_int_equal(mla_metric_parse(mla_metric_name((mla_metric)i)), i);
        assert_ptr_equal(mla_metric_name((mla_metric)i), about->name);
        assert_int_equal(mla_metric_direction((mla_metric)i), about->direction);
        assert_true(about->direction == 1 || about->direction == -1);
    }
    assert_int_equal(mla_metric_parse("AUC"), -1);
    assert_int_equal(mla_metric_parse(""), -1);
    assert_int_equal(mla_metric_direction(MLA_METRIC_QWK), 1);
    assert_int_equal(mla_metric_direction(MLA_METRIC_LOG_LOSS), -1);
}

// docs/tasks.md has a row for each metric, with its direction and meaning.
static void is_documented(void **state) {
    (void)state;
    mla_buf docs;
    mla_err err = {0};
    if (mla_fs_read("docs/tasks.md", 1 << 20, &docs, &err) < 0) fail_msg("%s", err.text);
    for (int i = 0; i < MLA_METRIC_COUNT; i++) {
        const mla_metric_info *about = mla_metric_about((mla_metric)i);
        const char *columns = about->columns == MLA_COLUMNS_SEVERAL ? "target_columns"
                                                                    : "target_column";
        char *row = mla_format("\n| `%s` | %s | `%s`", about->name,
                               about->direction > 0 ? "higher" : "lower", columns);
        const char *at = strstr(mla_buf_text(&docs), row);
        if (!at) fail_msg("docs/tasks.md has no row '%s'", row + 1);
        char *line = mla_strndup(at + 1, strcspn(at + 1, "\n"));
        char *meaning = mla_format("| %s |", about->meaning);
        if (!strstr(line, meaning)) fail_msg("'%s' does not say '%s'", line, meaning);
        free(meaning);
        free(line);
        free(row);
    }
    mla_buf_clear(&docs);
}

// Rows of any metric, guessed at random.
enum { ROWS = 240, WIDTH = 3 };

typedef struct rows {
    double truth[ROWS * WIDTH], guess[ROWS * MLA_RANKED_MAX];
    size_t truth_width, width;
} rows;

static double random_value(mla_rng *rng, mla_value value) {
    double u = mla_rng_uniform(rng);
    switch (value) {
    case MLA_VALUE_LABEL: return (double)mla_rng_below(rng, 12);
    case MLA_VALUE_BINARY: return u < 0.4;
    case MLA_VALUE_RATING: return (double)mla_rng_below(rng, 6);
    case MLA_VALUE_NUMBER: return u < 0.2 ? 0.25 : u * 8 - 4;
    case MLA_VALUE_AMOUNT: return u < 0.2 ? 0 : u * 100;
    case MLA_VALUE_PROBABILITY: return u < 0.2 ? 0.5 : u;
    case MLA_VALUE_RANKED: break;
    }
    return 0;
}

// Five labels of 12, none twice.
static void random_ranking(mla_rng *rng, double out[MLA_RANKED_MAX]) {
    size_t order[12];
    for (size_t i = 0; i < 12; i++) order[i] = i;
    mla_rng_shuffle(rng, order, 12);
    for (size_t i = 0; i < MLA_RANKED_MAX; i++) out[i] = (double)order[i];
}

static rows *random_rows(mla_rng *rng, mla_metric metric) {
    const mla_metric_info *about = mla_metric_about(metric);
    bool several = about->columns == MLA_COLUMNS_SEVERAL, ranks = about->guess == MLA_VALUE_RANKED;
    rows *r = MLA_NEW(rows);
    r->truth_width = several ? WIDTH : 1;
    r->width = ranks ? MLA_RANKED_MAX : r->truth_width;
    for (size_t i = 0; i < ROWS * r->truth_width; i++) {
        r->truth[i] = random_value(rng, about->truth);
    }
    for (size_t i = 0; i < ROWS; i++) {
        double *guess = r->guess + i * r->width;
        for (size_t k = 0; !ranks && k < r->width; k++) guess[k] = random_value(rng, about->guess);
        if (ranks) random_ranking(rng, guess);
    }
    return r;
}

static double value_of(mla_metric metric, const rows *r) {
    return mla_metric_compute(metric, r->truth, r->guess, ROWS, r->width);
}

static void near(double a, double b) {
    if (!(fabs(a - b) <= 1e-12 * fmax(1, fabs(a)))) fail_msg("%.17g, not %.17g", a, b);
}

static void order_of_rows_is_nothing(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 7);
    size_t order[ROWS];
    for (size_t i = 0; i < ROWS; i++) order[i] = i;
    for (int m = 0; m < MLA_METRIC_COUNT; m++) {
        rows *r = random_rows(&rng, (mla_metric)m), *other = MLA_NEW(rows);
        *other = *r;
        mla_rng_shuffle(&rng, order, ROWS);
        for (size_t i = 0; i < ROWS; i++) {
            memcpy(other->truth + i * r->truth_width, r->truth + order[i] * r->truth_width,
                   r->truth_width * sizeof(double));
            memcpy(other->guess + i * r->width, r->guess + order[i] * r->width,
                   r->width * sizeof(double));
        }
        near(value_of((mla_metric)m, r), value_of((mla_metric)m, other));
        free(r);
        free(other);
    }
}

// The answers themselves as a submission: the best value that there is, and no other is better.
static void truth_is_best(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 8);
    for (int m = 0; m < MLA_METRIC_COUNT; m++) {
        const mla_metric_info *about = mla_metric_about((mla_metric)m);
        double best = about->direction > 0 ? 1 : 0;
        rows *r = random_rows(&rng, (mla_metric)m);
        double chance = value_of((mla_metric)m, r);
        assert_true(about->direction * (best - chance) > 0.1);
        for (size_t i = 0; i < ROWS; i++) {
            memcpy(r->guess + i * r->width, r->truth + i * r->truth_width,
                   r->truth_width * sizeof(double));
        }
        near(value_of((mla_metric)m, r), best);
        free(r);
    }
}

typedef double (*change)(double);

static double reversed(double x) { return -x; }
static double stretched(double x) { return x * 3 + 11; }
static double bent(double x) { return x * x * x; }
static double mirrored(double x) { return 1 - x; }
static double rating_mirrored(double x) { return 5 - x; }

// The value after a change of every guess, and of every answer where `truth` is not NULL.
static double changed(mla_metric metric, const rows *r, change guess, change truth) {
    rows *other = MLA_NEW(rows);
    *other = *r;
    for (size_t i = 0; i < ROWS * r->width; i++) other->guess[i] = guess(r->guess[i]);
    for (size_t i = 0; truth && i < ROWS * r->truth_width; i++) {
        other->truth[i] = truth(r->truth[i]);
    }
    double value = value_of(metric, other);
    free(other);
    return value;
}

static void symmetries(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 9);
    rows *of[MLA_METRIC_COUNT];
    double value[MLA_METRIC_COUNT];
    for (int m = 0; m < MLA_METRIC_COUNT; m++) {
        of[m] = random_rows(&rng, (mla_metric)m);
        value[m] = value_of((mla_metric)m, of[m]);
    }
#define VALUE(id, guess, truth) changed(MLA_METRIC_##id, of[MLA_METRIC_##id], guess, truth)
    near(VALUE(AUC, reversed, NULL), 1 - value[MLA_METRIC_AUC]);
    near(VALUE(AUC, bent, NULL), value[MLA_METRIC_AUC]);        // only the order of scores counts
    near(VALUE(AUC, reversed, mirrored), value[MLA_METRIC_AUC]);
    near(VALUE(MEAN_COLUMN_AUC, reversed, NULL), 1 - value[MLA_METRIC_MEAN_COLUMN_AUC]);
    near(VALUE(LOG_LOSS, mirrored, mirrored), value[MLA_METRIC_LOG_LOSS]);
    near(VALUE(MAE, stretched, stretched), 3 * value[MLA_METRIC_MAE]);
    near(VALUE(RMSE, stretched, stretched), 3 * value[MLA_METRIC_RMSE]);
    near(VALUE(MCRMSE, stretched, stretched), 3 * value[MLA_METRIC_MCRMSE]);
    near(VALUE(QWK, stretched, stretched), value[MLA_METRIC_QWK]);
    near(VALUE(QWK, rating_mirrored, rating_mirrored), value[MLA_METRIC_QWK]);
    near(VALUE(PEARSON, stretched, NULL), value[MLA_METRIC_PEARSON]);
    near(VALUE(PEARSON, reversed, NULL), -value[MLA_METRIC_PEARSON]);
#undef VALUE
    for (int m = 0; m < MLA_METRIC_COUNT; m++) free(of[m]);
}

// Answers and guesses change places.
static void both_ways(void **state) {
    (void)state;
    static const mla_metric symmetric[] = {MLA_METRIC_ACCURACY, MLA_METRIC_MAE, MLA_METRIC_RMSE,
                                           MLA_METRIC_RMSLE, MLA_METRIC_QWK, MLA_METRIC_PEARSON};
    mla_rng rng;
    mla_rng_init(&rng, 10);
    for (size_t i = 0; i < MLA_COUNT(symmetric); i++) {
        rows *r = random_rows(&rng, symmetric[i]);
        near(value_of(symmetric[i], r),
             mla_metric_compute(symmetric[i], r->guess, r->truth, ROWS, 1));
        free(r);
    }
}

// The forms of one metric agree: one class as a column, a mean over one column.
static void forms_agree(void **state) {
    (void)state;
    mla_rng rng;
    mla_rng_init(&rng, 11);
    rows *r = random_rows(&rng, MLA_METRIC_LOG_LOSS);
    double pairs[ROWS * 2];
    for (size_t i = 0; i < ROWS; i++) {
        pairs[2 * i] = 0.75 * (1 - r->guess[i]);
        pairs[2 * i + 1] = 0.75 * r->guess[i];
    }
    near(mla_metric_compute(MLA_METRIC_LOG_LOSS, r->truth, pairs, ROWS, 2),
         value_of(MLA_METRIC_LOG_LOSS, r));
    assert_true(mla_metric_compute(MLA_METRIC_MEAN_COLUMN_AUC, r->truth, r->guess, ROWS, 1) ==
                mla_metric_compute(MLA_METRIC_AUC, r->truth, r->guess, ROWS, 1));
    assert_true(mla_metric_compute(MLA_METRIC_MCRMSE, r->truth, r->guess, ROWS, 1) ==
                mla_metric_compute(MLA_METRIC_RMSE, r->truth, r->guess, ROWS, 1));
    free(r);
}

static void auc_of_nan_is_nan(void **state) {
    (void)state;
    double truth[] = {0, 1}, guess[] = {NAN, 1};
    assert_true(isnan(mla_metric_compute(MLA_METRIC_AUC, truth, guess, 2, 1)));
}

// Squares and sums that a double could not hold.
static void extremes(void **state) {
    (void)state;
    double truth[] = {1e300, -1e300}, same[] = {1e299, -1e299}, tiny[] = {5e-324, 0};
    near(mla_metric_compute(MLA_METRIC_PEARSON, truth, same, 2, 1), 1);
    near(mla_metric_compute(MLA_METRIC_PEARSON, truth, tiny, 2, 1), 1);
    near(mla_metric_compute(MLA_METRIC_RMSE, truth, same, 2, 1) / 9e299, 1);
    double far[] = {-1.7e308, 1.7e308}, near_max[] = {1.7e308, -1.7e308};
    assert_true(isinf(mla_metric_compute(MLA_METRIC_MAE, near_max, far, 2, 1)));
    double shares[] = {1e308, 1e308, 1e308}, class[] = {1};
    near(mla_metric_compute(MLA_METRIC_LOG_LOSS, class, shares, 1, 3), log(3));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_the_references),
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(is_documented),
        cmocka_unit_test(order_of_rows_is_nothing),
        cmocka_unit_test(truth_is_best),
        cmocka_unit_test(symmetries),
        cmocka_unit_test(both_ways),
        cmocka_unit_test(forms_agree),
        cmocka_unit_test(auc_of_nan_is_nan),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
