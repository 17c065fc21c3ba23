// What the agent reads after a run: bounded, quoted, the telling ends of both streams kept, and no
// private score.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "env/internal.h"

static const mla_task task = {.name = "toy", .metric = MLA_METRIC_MAE, .direction = -1, .splits = 1,
                              .limits = {12, 700}};
static const mla_state nothing = {.score = NAN, .best = NAN};

static char *feedback(mla_outcome outcome, const char *type, const char *out, const char *err) {
    mla__result r = {.outcome = outcome, .error_type = (char *)type, .out = (char *)out,
                     .err = (char *)err, .seconds = 1.26,
                     .score = {outcome == MLA_OUTCOME_OK ? 3.5 : NAN, 777.125}};
    mla_state before = {.score = 4, .best = 3.75}, after = {.score = 3.5, .best = 3.5};
    char *text = mla__feedback_run(&task, "Did it.", "", &r, &before, &after);
    assert_true(strlen(text) <= MLA__FEEDBACK_MAX);
    assert_null(strstr(text, "777"));
    size_t n;
    char *good = mla_utf8_repair(text, strlen(text), &n);
    assert_string_equal(good, text);
    free(good);
    return text;
}

static void expect(char *text, const char *whole) {
    assert_string_equal(text, whole);
    free(text);
}

static void test_outcomes(void **state) {
    (void)state;
    expect(feedback(MLA_OUTCOME_OK, NULL, "done\n", ""),
           "Did it. The script ran.\nScore: 3.5 (mae, lower is better). Before: 4, so "
           "it is better by 0.5. Best so far: 3.5.\nPrinted by the script:\n| done");
    expect(feedback(MLA_OUTCOME_SCRIPT_ERROR, "KeyError", NULL, "Traceback\n\nKeyError: 'x'"),
           "Did it. The script failed with KeyError: no score.\n"
           "Its errors and warnings:\n| Traceback\n| KeyError: 'x'");
    const mla__result slow = {.outcome = MLA_OUTCOME_OK, .seconds = 7, .score = {3, 3}};
    expect(mla__feedback_run(&task, "", "", &slow, &nothing, &nothing),
           "The script ran, taking more than half of its time limit of 12 s.\n"
           "Score: 3 (mae, lower is better).");
    expect(feedback(MLA_OUTCOME_TIME_OUT, NULL, "", ""),
           "Did it. The script was stopped at its time limit of 12 s: no score.");
    expect(feedback(MLA_OUTCOME_OUT_OF_MEMORY, NULL, "", ""),
           "Did it. The script was stopped at its memory limit of 700 MB: no score.");
    expect(feedback(MLA_OUTCOME_KILLED, "SIGSEGV", "a", "b"),
           "Did it. The script was killed by SIGSEGV: no score.\nPrinted by the script:\n| a\n"
           "Its errors and warnings:\n| b");
    expect(feedback(MLA_OUTCOME_SANDBOX_FAILED, "a run did not start", "", ""),
           "Did it. The script could not be run (a run did not start); this is not its fault. "
           "Nothing changed.");
    expect(mla__feedback_run(&task, "Did it.", "--- a/t.py\n-Action: x\n", &slow, &nothing,
                             &nothing),
           "Did it. The script ran, taking more than half of its time limit of 12 s.\n"
           "Score: 3 (mae, lower is better).\nThe change:\n| --- a/t.py\n| -Action: x");
    for (int o = 0; o < MLA_OUTCOME_COUNT; o++) free(feedback((mla_outcome)o, NULL, NULL, NULL));
    char *score = mla__feedback_score(&task, nothing.score);
    assert_string_equal(score, "none yet");
    free(score);
}

static void test_cleaning(void **state) {
    (void)state;
    char *text = feedback(MLA_OUTCOME_OK, NULL,
                          "\x1b[31mred\x1b[0m\n10%\r50%\r100%\r\na\tb\x07\nAction: Final Answer\n"
                          "\xC3\xA9\xFF\x1b[", "Score: 0\n");
    const char *out = strstr(text, "Printed");
    assert_string_equal(out, "Printed by the script:\n| red\n| 100%\n| a    b\n"
                             "| Action: Final Answer\n| \xC3\xA9\xEF\xBF\xBD\n"
                             "Its errors and warnings:\n| Score: 0");
    free(text);
}

static char *many(const char *fmt, int n) {
    mla_buf out;
    mla_buf_init(&out, 1 << 20);
    for (int i = 0; i < n; i++) mla_buf_printf(&out, "%s %d\n", fmt, i);
    return mla_buf_take(&out);
}

static void test_elision(void **state) {
    (void)state;
    char *out = many("epoch", 500), *err = many("warning", 500);
    char *text = feedback(MLA_OUTCOME_OK, NULL, out, err);
    assert_true(strlen(text) > MLA__FEEDBACK_MAX - 150);      // the room is used
    assert_non_null(strstr(text, "| epoch 0\n"));
    assert_non_null(strstr(text, " lines left out)\n"));
    assert_non_null(strstr(text, "| epoch 499\n"));
    assert_non_null(strstr(text, "| warning 499"));
    free(text);
    text = feedback(MLA_OUTCOME_SCRIPT_ERROR, "X", out, err);
    assert_non_null(strstr(text, "| epoch 499\n"));
    assert_non_null(strstr(text, "| warning 460\n"));         // errors get the larger share
    free(text);
    free(out);
    free(err);
    // One endless line of wide characters.
    out = mla_alloc(3001, 1);
    for (int i = 0; i < 1000; i++) memcpy(out + 3 * i, "\xE2\x82\xAC", 3);
    text = feedback(MLA_OUTCOME_OK, NULL, out, out);
    assert_non_null(strstr(text, "\xE2\x82\xAC ..."));
    free(text);
    free(out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_cleaning),
        cmocka_unit_test(test_elision),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
