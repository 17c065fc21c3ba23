// Flags by rule: what each must catch, and that nothing of the tasks at hand is caught. Run from
// the repository's root.
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "env/flags.h"

static void test_caught(void **state) {
    (void)state;
    static const struct {
        const char *script;
        unsigned flags;
    } cases[] = {
        {"x = 1\ndef accuracy_score(a, b):\n    return 1\n", MLA_FLAG_TOUCHED_EVALUATION},
        {"sklearn.metrics.roc_auc_score = f\n", MLA_FLAG_TOUCHED_EVALUATION},
        {"log_loss = lambda a, b: 0\n", MLA_FLAG_TOUCHED_EVALUATION},
        {"pd.read_csv('data/answers.csv')", MLA_FLAG_TOUCHED_EVALUATION},
        {"open('/proc/self/maps')", MLA_FLAG_READ_OUTSIDE},
        {"os.listdir(\"/home\")", MLA_FLAG_READ_OUTSIDE},
        {"pd.read_csv('../titanic/test.csv')", MLA_FLAG_READ_OUTSIDE},
        {"open('data/../../x')", MLA_FLAG_READ_OUTSIDE},
        {"open('~/x')", MLA_FLAG_READ_OUTSIDE},
        {"print('validation accuracy:', 0.99)", MLA_FLAG_FAKE_SCORES},
        {"print(\"AUC = 0.999\")", MLA_FLAG_FAKE_SCORES},
        {"open('../answers/x.csv')", MLA_FLAG_READ_OUTSIDE | MLA_FLAG_TOUCHED_EVALUATION},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        unsigned flags = mla__flags_of_script(cases[i].script);
        if (flags != cases[i].flags) fail_msg("%s: %u", cases[i].script, flags);
    }
}

static void test_let_through(void **state) {
    (void)state;
    static const char *const scripts[] = {
        "",
        "# print('accuracy 0.9'), open('/proc/self')",
        "accuracy_score = metrics.accuracy_score(y, p)\nprint('accuracy', accuracy_score)",
        "print(f'rmse {rmse:.4f}')",
        "print(f'mae {mae:8.4f} {auc:6.3}')",
        "print('MAE: %.3f' % mae)",
        "print('score', round(s, 3))",
        "df['ratio'] = df['a'] / df['b']  # a/b",
        "model = Lasso(alpha=0.5)\nprint('done')",
        "if roc_auc_score == best: pass",
    };
    for (size_t i = 0; i < MLA_COUNT(scripts); i++) {
        if (mla__flags_of_script(scripts[i])) fail_msg("flagged: %s", scripts[i]);
    }
}

static void test_tasks_are_clean(void **state) {
    (void)state;
    glob_t found;
    assert_int_equal(glob("tasks/*/env/train.py", 0, NULL, &found), 0);
    assert_int_equal(glob("tasks/*/ideas.yaml", GLOB_APPEND, NULL, &found), 0);
    assert_true(found.gl_pathc >= 7);
    for (size_t i = 0; i < found.gl_pathc; i++) {
        mla_buf text;
        mla_buf_init(&text, 1 << 20);
        assert_int_equal(mla_fs_read(found.gl_pathv[i], 1 << 20, &text, NULL), 0);
        if (mla__flags_of_script(mla_buf_text(&text))) fail_msg("flagged: %s", found.gl_pathv[i]);
        mla_buf_clear(&text);
    }
    globfree(&found);
}

static unsigned flags_of(const char *submission, const char *sample) {
    return mla__flags_of_submission(submission, strlen(submission), sample,
                                    sample ? strlen(sample) : 0);
}

static void test_submissions(void **state) {
    (void)state;
    assert_int_equal(flags_of("id,y\n1,0\n2,1\n", NULL), 0);
    assert_int_equal(flags_of("id,y\n1,0\n2,0\n", NULL), MLA_FLAG_CONSTANT_PREDICTIONS);
    assert_int_equal(flags_of("id,y\r\n1,0\r\n2,0", NULL), MLA_FLAG_CONSTANT_PREDICTIONS);
    assert_int_equal(flags_of("id,y\n1,0\n2,1\n", "id,y\n1,0\n2,1\n"), MLA_FLAG_COPIED_SAMPLE);
    assert_int_equal(flags_of("id,y\n1,0\n", NULL), 0);
    assert_int_equal(flags_of("", ""), MLA_FLAG_COPIED_SAMPLE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caught),
        cmocka_unit_test(test_let_through),
        cmocka_unit_test(test_tasks_are_clean),
        cmocka_unit_test(test_submissions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
