// The metrics against scikit-learn's values (vectors/task_metric, made by tools/vectors_metric.py).
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/mem.h"
#include "task/metric.h"

#define TOLERANCE 1e-9

static double *numbers(const json_t *array) {
    double *out = MLA_NEW_ARRAY(double, json_array_size(array));
    for (size_t i = 0; i < json_array_size(array); i++) {
        out[i] = json_number_value(json_array_get(array, i));
    }
    return out;
}

static void check_case(const json_t *c) {
    const json_t *truths = json_object_get(c, "truth");
    double *truth = numbers(truths), *guess = numbers(json_object_get(c, "guess"));
    double wanted = mla_json_get_number(c, "value", 0);
    int metric = mla_metric_parse(mla_json_get_text(c, "metric", ""));
    assert_true(metric >= 0);
    double got = mla_metric_compute((mla_metric)metric, truth, guess, json_array_size(truths));
    double scale = fabs(wanted) > 1 ? fabs(wanted) : 1;
    if (isnan(wanted) ? !isnan(got) : !(fabs(got - wanted) <= TOLERANCE * scale)) {
        fail_msg("%s, %s: %.17g, scikit-learn says %.17g", mla_json_get_text(c, "metric", ""),
                 mla_json_get_text(c, "name", ""), got, wanted);
    }
    free(truth);
    free(guess);
}

static void equals_scikit_learn(void **state) {
    (void)state;
    mla_err err = {0};
    json_t *all = mla_json_read_file("tests/vectors/task_metric/metric.json", 1 << 24, &err);
    if (!all) fail_msg("%s", err.text);
    const json_t *cases = json_object_get(all, "cases");
    assert_int_equal(json_array_size(cases), 26);
    for (size_t i = 0; i < json_array_size(cases); i++) check_case(json_array_get(cases, i));
    json_decref(all);
}

static void table_is_consistent(void **state) {
    (void)state;
    for (int i = 0; i < MLA_METRIC_COUNT; i++) {
        assert_int_equal(mla_metric_parse(mla_metric_name((mla_metric)i)), i);
    }
    assert_int_equal(mla_metric_parse("AUC"), -1);
    assert_int_equal(mla_metric_parse(""), -1);
    assert_int_equal(mla_metric_direction(MLA_METRIC_ACCURACY), 1);
    assert_int_equal(mla_metric_direction(MLA_METRIC_AUC), 1);
    assert_int_equal(mla_metric_direction(MLA_METRIC_MAE), -1);
}

static void auc_of_nan_is_nan(void **state) {
    (void)state;
    double truth[] = {0, 1}, guess[] = {NAN, 1};
    assert_true(isnan(mla_metric_compute(MLA_METRIC_AUC, truth, guess, 2)));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equals_scikit_learn),
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(auc_of_nan_is_nan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
