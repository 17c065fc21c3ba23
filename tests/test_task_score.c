// Scoring of submissions: both halves apart, every reason, and that reasons give nothing away.
#include "task_fixture.h"
#include "task/score.h"

#include <math.h>
#include <pthread.h>

typedef struct scored {
    int rc;
    mla_halves scores;
    mla_err why;
} scored;

// The answers' text under a task; NULL and the error when it is refused.
static mla_answers *answers_of(mla_task task, const char *text, mla_err *err) {
    char dir[] = "/tmp/mla-score-XXXXXX";
    assert_non_null(mkdtemp(dir));
    fixture_write(dir, "a.csv", text);
    task.answers_path = mla_fs_join(dir, "a.csv");
    mla_answers *answers = mla_answers_load(&task, err);
    mla_err ignored;
    assert_int_equal(mla_fs_remove_tree(dir, &ignored), 0);
    free(task.answers_path);
    return answers;
}

// With the columns id and y.
static mla_answers *answers_from(mla_metric metric, const char *text, mla_err *err) {
    return answers_of((mla_task){.metric = metric, .id_column = "id", .splits = 1,
                                 .target_columns = (char *[]){"y"}, .target_count = 1}, text, err);
}

static scored score(const mla_answers *answers, const char *csv, size_t len) {
    scored s = {0};
    s.rc = mla_score_submission(answers, 0, csv, len, &s.scores, &s.why);
    return s;
}

static void gives(mla_metric metric, const char *truth, const char *csv, double public_half,
                  double private_half) {
    mla_err err = {0};
    mla_answers *answers = answers_from(metric, truth, &err);
    if (!answers) fail_msg("%s", err.text);
    scored s = score(answers, csv, strlen(csv));
    if (s.rc < 0) fail_msg("%s", s.why.text);
    assert_true(fabs(s.scores.public_half - public_half) < 1e-12);
    assert_true(fabs(s.scores.private_half - private_half) < 1e-12);
    mla_answers_free(answers);
}

static void refuses(mla_metric metric, const char *truth, const char *csv, size_t len,
                    const char *why) {
    mla_err err = {0};
    mla_answers *answers = answers_from(metric, truth, &err);
    if (!answers) fail_msg("%s", err.text);
    scored s = score(answers, csv, len);
    assert_int_equal(s.rc, -1);
    assert_string_equal(s.why.text, why);
    mla_answers_free(answers);
}

static const char classes[] =
    "id,y,half\na1,cat,public\na2,dog,private\na3,cat,public\na4,dog,private\n"
    "a5,dog,public\na6,cat,private\na7,cat,private\n";

static void halves_apart(void **state) {
    (void)state;
    gives(MLA_METRIC_ACCURACY, classes,
          "id,y\na1,cat\na2,cat\na3,cat\na4,cat\na5,cat\na6,cat\na7,dog\n", 2.0 / 3, 0.25);
    gives(MLA_METRIC_ACCURACY, classes,
          "y,id\ndog,a7\ncat,a6\ncat,a5\ncat,a4\ncat,a3\ncat,a2\ncat,a1\n", 2.0 / 3, 0.25);
    gives(MLA_METRIC_MAE, "half,id,y\npublic,1,1.5\nprivate,2,-2\npublic,3,0\n",
          "id,y\n3,1\n2,2\n1,1\n", 0.75, 4);
    gives(MLA_METRIC_AUC,
          "id,y,half\n1,0,public\n2,1,public\n3,0,private\n4,1,private\n5,1,private\n",
          "id,y\n1,0.1\n2,0.9\n3,0.5\n4,0.2\n5,0.5\n", 1, 0.25);
}

static void forms_of_csv(void **state) {
    (void)state;
    gives(MLA_METRIC_ACCURACY, classes,
          "\xEF\xBB\xBF\"id\",\"y\"\r\n\"a1\",\"cat\"\r\na2,dog\r\na3,cat\r\n a4 ,\tdog \r\n"
          "a5,dog\r\na6,\" cat\"\r\n\r\na7,cat", 1, 1);
    gives(MLA_METRIC_ACCURACY, classes,
          ",id,extra,y\n0,a1,,cat\n1,a2,,dog\n2,a3,,cat\n3,a4,,dog\n4,a5,,dog\n5,a6,,cat\n"
          "6,a7,\"x,\ny\",cat\n", 1, 1);
    gives(MLA_METRIC_ACCURACY,
          "\xEF\xBB\xBFid,y,half\r\n\"a,b\",x,public\r\nc,\"\"\"\",private\r\n",
          "id,y\nc,\"\"\"\"\n\"a,b\",x\n", 1, 1);
}

static void labels(void **state) {
    (void)state;
    static const char truth[] =
        "id,y,half\n1,1,public\n2,1.50,public\n3,True,public\n4,007,public\n5,0,private\n";
    gives(MLA_METRIC_ACCURACY, truth, "id,y\n1,1.0\n2,1.5\n3,True\n4,7\n5,-0.0\n", 1, 1);
    gives(MLA_METRIC_ACCURACY, truth, "id,y\n1,1e0\n2,+15e-1\n3,1\n4,7.0\n5,False\n", 0.75, 0);
    gives(MLA_METRIC_ACCURACY, truth, "id,y\n1,True\n2,nan\n3,true\n4,inf\n5,0x0\n", 0, 0);
    // Ids are texts: "1.0" is not "1".
    refuses(MLA_METRIC_ACCURACY, truth, "id,y\n1.0,1\n", 11,
            "submission.csv line 2: id '1.0' is not one of test.csv's");
}

static void reasons(void **state) {
    (void)state;
    static const struct {
        const char *csv, *why;
    } cases[] = {
        {"", "submission.csv is empty: its header must have id and y"},
        {"a,y\n", "submission.csv has no column 'id': its header must have id and y"},
        {"id,z\n", "submission.csv has no column 'y': its header must have id and y"},
        {"id,y,y\n", "submission.csv has more than one column 'y': its header must have id and y"},
        {"1,1\n", "submission.csv has no column 'id': its header must have id and y"},
        {"id,y\n", "submission.csv has 0 rows, but 3 were expected: every id of test.csv once"},
        {"id,y\n1,1\n3,1\n",
         "submission.csv has 2 rows, but 3 were expected: every id of test.csv once"},
        {"id,y\n1,1\n2,1\n1,1\n", "submission.csv line 4: id '1' is there a second time"},
        {"id,y\n1,1\n2,1\n3,1\n4,1\n", "submission.csv line 5: id '4' is not one of test.csv's"},
        {"id,y\n,1\n", "submission.csv line 2: id '' is not one of test.csv's"},
        {"id,y\n1,\n", "submission.csv line 2: y is empty"},
        {"id,y\n1, \n", "submission.csv line 2: y is empty"},
        {"id,y\n1,one\n", "submission.csv line 2: y is 'one', which is not a number"},
        {"id,y\n1,1.5.2\n", "submission.csv line 2: y is '1.5.2', which is not a number"},
        {"id,y\n1,0x10\n", "submission.csv line 2: y is '0x10', which is not a number"},
        {"id,y\n1,nan\n", "submission.csv line 2: y is 'nan': it must be finite"},
        {"id,y\n1,-inf\n", "submission.csv line 2: y is '-inf': it must be finite"},
        {"id,y\n1,1e999\n", "submission.csv line 2: y is '1e999': it must be finite"},
        {"id,y\n1\n", "submission.csv: line 2: 1 cells, but the header has 2"},
        {"id,y\n\"1,1\n", "submission.csv: line 2: a quoted cell is not closed"},
        {"id,y\n\"a\nb\",1\n", "submission.csv line 2: id 'a b' is not one of test.csv's"},
        {"id,y\n1,1.7e308\n2,1\n3,-1.7e308\n",
         "submission.csv: values of y are too large to be scored"},
    };
    static const char truth[] = "id,y,half\n1,-1.7e308,public\n2,2,private\n3,1.7e308,public\n";
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        refuses(MLA_METRIC_MAE, truth, cases[i].csv, strlen(cases[i].csv), cases[i].why);
    }
    refuses(MLA_METRIC_MAE, truth, "id\0,y\n", 6, "submission.csv: line 1: a NUL byte: "
            "if the file is UTF-16, save it as UTF-8");
    char *huge = calloc((64u << 20) + 1, 1);
    assert_non_null(huge);
    refuses(MLA_METRIC_MAE, truth, huge, (64u << 20) + 1, "submission.csv has more than 64 MB");
    free(huge);
}

// The same submission gets the same reason whatever the answers and halves are.
static void reasons_give_nothing_away(void **state) {
    (void)state;
    static const char *const truths[] = {
        "id,y,half\n1,0,public\n2,1,public\n3,0,private\n4,1,private\n",
        "id,y,half\n1,1,private\n2,0,private\n3,1,public\n4,0,public\n",
    };
    static const char *const bad[] = {
        "id,y\n1,a\n", "id,y\n2,nan\n", "id,y\n1,1\n1,1\n", "id,y\n1,1\n", "id,y\n9,1\n",
    };
    for (size_t i = 0; i < MLA_COUNT(bad); i++) {
        scored s[2];
        for (int k = 0; k < 2; k++) {
            mla_err err = {0};
            mla_answers *answers = answers_from(MLA_METRIC_AUC, truths[k], &err);
            assert_non_null(answers);
            s[k] = score(answers, bad[i], strlen(bad[i]));
            mla_answers_free(answers);
        }
        assert_int_equal(s[0].rc, -1);
        assert_string_equal(s[0].why.text, s[1].why.text);
    }
}

static void long_foreign_text_is_cut(void **state) {
    (void)state;
    char csv[600] = "id,y\n";
    for (int i = 0; i < 100; i++) memcpy(csv + 5 + 3 * i, "\xE2\x82\xAC", 3);
    memcpy(csv + 305, ",1\n", 4);
    mla_err err = {0};
    mla_answers *answers = answers_from(MLA_METRIC_MAE,
                                        "id,y,half\n1,1,public\n2,1,private\n", &err);
    scored s = score(answers, csv, strlen(csv));
    assert_int_equal(s.rc, -1);
    assert_true(strlen(s.why.text) < 140);
    assert_non_null(strstr(s.why.text, "\xE2\x82\xAC...'"));
    mla_answers_free(answers);
}

static void bad_answers(void **state) {
    (void)state;
    static const struct {
        mla_metric metric;
        const char *text, *why;
    } cases[] = {
        {MLA_METRIC_MAE, "id,y\n1,1\n", "needs one column 'half'"},
        {MLA_METRIC_MAE, "id,half\n1,public\n", "has no column 'y'"},
        {MLA_METRIC_MAE, "id,y,half\n1,1,both\n", "half must be public or private, not 'both'"},
        {MLA_METRIC_MAE, "id,y,half\n1,1,public\n1,1,private\n", "id '1' is there twice"},
        {MLA_METRIC_MAE, "id,y,half\n,1,public\n", "the id is empty"},
        {MLA_METRIC_MAE, "id,y,half\n1,,public\n", "no answer"},
        {MLA_METRIC_MAE, "id,y,half\n1,x,public\n", "y is 'x', which is not a number"},
        {MLA_METRIC_MAE, "id,y,half\n1,nan,public\n", "must be finite"},
        {MLA_METRIC_MAE, "id,y,half\n1,1,public\n", "no rows in the private half"},
        {MLA_METRIC_MAE, "id,y,half\n1,1,private\n", "no rows in the public half"},
        {MLA_METRIC_AUC, "id,y,half\n1,2,public\n", "y is '2': it must be 0 or 1"},
        {MLA_METRIC_LOG_LOSS, "id,y,half\n1,0.5,public\n", "y is '0.5': it must be 0 or 1"},
        {MLA_METRIC_RMSLE, "id,y,half\n1,-1,public\n", "y is '-1': it must not be negative"},
        {MLA_METRIC_QWK, "id,y,half\n1,good,public\n", "y is 'good', which is not a number"},
        {MLA_METRIC_QWK, "id,y,half\n1,2.5,public\n", "y is '2.5': it must be a whole number"},
        {MLA_METRIC_QWK, "id,y,half\n1,1,public\n2,2,public\n3,1,private\n4,1,private\n",
         "only one value of y in the private half: qwk is not defined"},
        {MLA_METRIC_PEARSON, "id,y,half\n1,1,public\n2,1,public\n",
         "only one value of y in the public half: pearson is not defined"},
        {MLA_METRIC_AUC, "id,y,half\n1,0,public\n2,1,public\n3,1,private\n",
         "only one value of y in the private half: auc is not defined"},
        {MLA_METRIC_ACCURACY, "id,y,half\n", "no rows in the public half"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_err err = {0};
        assert_null(answers_from(cases[i].metric, cases[i].text, &err));
        if (!strstr(err.text, cases[i].why)) fail_msg("'%s', not '%s'", err.text, cases[i].why);
    }
}

static const mla_task two_numbers = {
    .metric = MLA_METRIC_MCRMSE, .id_column = "id", .splits = 1,
    .target_columns = (char *[]){"a", "b"}, .target_count = 2,
};
static const mla_task two_flags = {
    .metric = MLA_METRIC_MEAN_COLUMN_AUC, .id_column = "id", .splits = 1,
    .target_columns = (char *[]){"a", "b"}, .target_count = 2,
};
static const mla_task three_classes = {
    .metric = MLA_METRIC_LOG_LOSS, .id_column = "id", .splits = 1,
    .target_columns = (char *[]){"y"}, .target_count = 1,
    .classes = (char *[]){"low", "2", "id of y"}, .class_count = 3,
};
static const mla_task ranked_labels = {
    .metric = MLA_METRIC_MAP5, .id_column = "id", .splits = 1,
    .target_columns = (char *[]){"y"}, .target_count = 1,
};
static const mla_task two_splits = {
    .metric = MLA_METRIC_MAE, .id_column = "id", .splits = 2,
    .target_columns = (char *[]){"y"}, .target_count = 1,
};

static const char numbers_truth[] =
    "id,b,half,a\n1,10,public,1\n2,20,public,2\n3,30,private,3\n4,40,private,4\n";
static const char flags_truth[] = "id,a,b,half\n1,0,1,public\n2,1,0,public\n3,0,1,private\n"
                                  "4,1,0,private\n5,1,1,private\n";
static const char classes_truth[] =
    "id,y,half\n1,low,public\n2,2.0,public\n3,2,private\n4,low,private\n";
static const char split_truth[] =
    "id,y,split,half\n1,1,0,public\n2,2,0,private\n1,10,1,private\n3,30,1,public\n"
    "2,20,1,private\n";
static const char ranked_truth[] =
    "id,y,half\n1,a,public\n2,b,public\n3,7,private\n4,c,private\n5,a,private\n";

// A submission of a task for one split: its scores, or the reason.
static void task_gives(const mla_task *task, const char *truth, size_t split, const char *csv,
                       double public_half, double private_half) {
    mla_err err = {0}, why = {0};
    mla_halves scores;
    mla_answers *answers = answers_of(*task, truth, &err);
    if (!answers) fail_msg("%s", err.text);
    if (mla_score_submission(answers, split, csv, strlen(csv), &scores, &why) < 0) {
        fail_msg("%s", why.text);
    }
    assert_true(fabs(scores.public_half - public_half) < 1e-12);
    assert_true(fabs(scores.private_half - private_half) < 1e-12);
    mla_answers_free(answers);
}

static void task_refuses(const mla_task *task, const char *truth, size_t split, const char *csv,
                         const char *reason) {
    mla_err err = {0}, why = {0};
    mla_halves scores;
    mla_answers *answers = answers_of(*task, truth, &err);
    if (!answers) fail_msg("%s", err.text);
    assert_int_equal(mla_score_submission(answers, split, csv, strlen(csv), &scores, &why), -1);
    assert_string_equal(why.text, reason);
    mla_answers_free(answers);
}

static void several_columns(void **state) {
    (void)state;
    task_gives(&two_numbers, numbers_truth, 0, "b,id,a\n40,4,4\n30,3,5\n20,2,2\n13,1,1\n",
               3 / sqrt(2) / 2, 2 / sqrt(2) / 2);
    task_gives(&two_flags, flags_truth, 0, "id,a,b\n1,0,9\n2,1,8\n3,0,1\n4,0.5,1\n5,-1,3\n", 1,
               (0.5 + 0.75) / 2);
    task_refuses(&two_numbers, numbers_truth, 0, "id,a\n1,2\n",
                 "submission.csv has no column 'b': its header must have id, a and b");
    task_refuses(&two_numbers, numbers_truth, 0, "id,a,b,a\n",
                 "submission.csv has more than one column 'a': its header must have id, a and b");
    task_refuses(&two_numbers, numbers_truth, 0, "id,a,b\n1,2,\n",
                 "submission.csv line 2: b is empty");
    task_refuses(&two_numbers, numbers_truth, 0, "id,a,b\n1,2,3\n2,2,-inf\n",
                 "submission.csv line 3: b is '-inf': it must be finite");
}

static void probabilities(void **state) {
    (void)state;
    static const char binary[] = "id,y,half\n1,1,public\n2,0,private\n3,1,private\n";
    gives(MLA_METRIC_LOG_LOSS, binary, "id,y\n1,0.25\n2,0.5\n3,1.0\n", log(4), log(2) / 2);
    refuses(MLA_METRIC_LOG_LOSS, binary, "id,y\n1,1.5\n", 11,
            "submission.csv line 2: y is '1.5': it must be a probability, from 0 to 1");
    refuses(MLA_METRIC_LOG_LOSS, binary, "id,y\n3,-1e-9\n", 13,
            "submission.csv line 2: y is '-1e-9': it must be a probability, from 0 to 1");
    // Each row is divided by its sum; the columns are found by their names.
    task_gives(&three_classes, classes_truth, 0,
               "2,id,id of y,low\n1,1,1,2\n0.3,2,0.2,0.1\n5e9,3,0,5e9\n1,4,1e-320,0\n",
               log(2), (log(2) - log(2.220446049250313e-16)) / 2);
    task_refuses(&three_classes, classes_truth, 0, "id,y\n1,low\n",
                 "submission.csv has no column 'low': its header must have id, low, 2 and id of y");
    task_refuses(&three_classes, classes_truth, 0, "id,low,2,id of y\n1,0,0,0\n",
                 "submission.csv line 2: the probabilities of all 3 classes are 0");
    task_refuses(&three_classes, classes_truth, 0, "id,low,2,id of y\n1,0.5,0.6,-0.1\n",
                 "submission.csv line 2: id of y is '-0.1': it must not be negative");
    task_refuses(&three_classes, classes_truth, 0, "id,low,2,id of y\n1,a,0.6,-0.1\n",
                 "submission.csv line 2: low is 'a', which is not a number");
}

static void many_columns_are_not_all_listed(void **state) {
    (void)state;
    char names[12][16], *twelve[12];
    for (int i = 0; i < 12; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        twelve[i] = names[i];
    }
    mla_task task = three_classes;
    task.classes = twelve;
    task.class_count = 12;
    task_refuses(&task, "id,y,half\n1,c0,public\n2,c11,private\n", 0, "",
                 "submission.csv is empty: its header must have id, c0, c1, c2, c3, c4, c5, c6 and "
                 "5 more");
}

static void amounts_and_ratings(void **state) {
    (void)state;
    gives(MLA_METRIC_RMSLE, "id,y,half\n1,0,public\n2,3,private\n", "id,y\n1,-0.0\n2,0\n", 0,
          log(4));
    refuses(MLA_METRIC_RMSLE, "id,y,half\n1,0,public\n2,3,private\n", "id,y\n1,0\n2,-0.5\n", 16,
            "submission.csv line 3: y is '-0.5': it must not be negative");
    static const char ratings[] = "id,y,half\n1,1,public\n2,2,public\n3,5,private\n4,1,private\n";
    gives(MLA_METRIC_QWK, ratings, "id,y\n1,1.0\n2,2\n3,1\n4,5e0\n", 1, -1);
    gives(MLA_METRIC_QWK, ratings, "id,y\n1,4\n2,4\n3,4\n4,4\n", 0, 0);
    refuses(MLA_METRIC_QWK, ratings, "id,y\n1,1.5\n", 11,
            "submission.csv line 2: y is '1.5': it must be a whole number");
    refuses(MLA_METRIC_QWK, ratings, "id,y\n1,1000001\n", 15,
            "submission.csv line 2: y is '1000001': it is too large for a rating");
    gives(MLA_METRIC_PEARSON, ratings, "id,y\n1,7\n2,9\n3,1\n4,1\n", 1, 0);
    gives(MLA_METRIC_RMSE, ratings, "id,y\n1,4\n2,6\n3,5\n4,1\n", sqrt(12.5), 0);
}

static void rankings(void **state) {
    (void)state;
    gives(MLA_METRIC_MAP5, ranked_truth,
          "id,y\n1,a b c d e\n2, c\tb \n3,x 7.0\n4,p q r s c\n5,nobody\n", 0.75, 0.7 / 3);
    refuses(MLA_METRIC_MAP5, ranked_truth, "id,y\n1,a b c d e f\n", 18,
            "submission.csv line 2: y has more than 5 guesses");
    refuses(MLA_METRIC_MAP5, ranked_truth, "id,y\n1,a b a\n", 13,
            "submission.csv line 2: y has the guess 'a' twice");
    refuses(MLA_METRIC_MAP5, ranked_truth, "id,y\n1,u v u\n", 13,
            "submission.csv line 2: y has the guess 'u' twice");
    refuses(MLA_METRIC_MAP5, ranked_truth, "id,y\n1,7 7.0\n", 13,
            "submission.csv line 2: y has the guess '7.0' twice");
    refuses(MLA_METRIC_MAP5, ranked_truth, "id,y\n1, \n", 9, "submission.csv line 2: y is empty");
    refuses(MLA_METRIC_MAP5, ranked_truth, "id,y\n1,\"\n\"\n", 11,
            "submission.csv line 2: y has no guess");
}

// Ids are of one split; another split may have the same.
static void splits(void **state) {
    (void)state;
    task_gives(&two_splits, split_truth, 0, "id,y\n2,0\n1,0\n", 1, 2);
    task_gives(&two_splits, split_truth, 1, "id,y\n2,0\n1,0\n3,0\n", 30, 15);
    task_refuses(&two_splits, split_truth, 0, "id,y\n2,0\n1,0\n3,0\n",
                 "submission.csv line 4: id '3' is not one of test.csv's");
    task_refuses(&two_splits, split_truth, 1, "id,y\n2,0\n1,0\n",
                 "submission.csv has 2 rows, but 3 were expected: every id of test.csv once");
}

// So it is in the other forms.
static void other_reasons_give_nothing_away(void **state) {
    (void)state;
    static const struct {
        const mla_task *task;
        const char *truths[2];
        const char *csv;
    } cases[] = {
        {&three_classes,
         {"id,y,half\n1,low,public\n2,2,private\n", "id,y,half\n1,2,private\n2,2,public\n"},
         "id,low,2,id of y\n1,0,0,0\n"},
        {&three_classes,
         {"id,y,half\n1,low,public\n2,2,private\n", "id,y,half\n1,2,private\n2,2,public\n"},
         "id,y\n1,low\n2,high\n"},
        {&ranked_labels,
         {"id,y,half\n1,a,public\n2,b,private\n", "id,y,half\n1,c,private\n2,c,public\n"},
         "id,y\n1,a c a\n"},
        {&ranked_labels,
         {"id,y,half\n1,a,public\n2,b,private\n", "id,y,half\n1,c,private\n2,c,public\n"},
         "id,y\n1,a b c d e f\n"},
        {&two_numbers,
         {"id,a,b,half\n1,1,2,public\n2,1,2,private\n",
          "id,a,b,half\n1,5,6,private\n2,7,8,public\n"},
         "id,a,b\n1,1,2\n2,1,x\n"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        scored s[2];
        for (int k = 0; k < 2; k++) {
            mla_err err = {0};
            mla_answers *answers = answers_of(*cases[i].task, cases[i].truths[k], &err);
            if (!answers) fail_msg("%s", err.text);
            s[k] = score(answers, cases[i].csv, strlen(cases[i].csv));
            mla_answers_free(answers);
        }
        assert_int_equal(s[0].rc, -1);
        assert_int_equal(s[1].rc, -1);
        assert_string_equal(s[0].why.text, s[1].why.text);
    }
}

// A label that no answer has is wrong, like any other: that it is unknown must not be learnt.
static void unknown_labels_score(void **state) {
    (void)state;
    gives(MLA_METRIC_ACCURACY, classes,
          "id,y\na1,cow\na2,cow\na3,cow\na4,cow\na5,cow\na6,cow\na7,cow\n", 0, 0);
    gives(MLA_METRIC_MAP5, ranked_truth, "id,y\n1,u\n2,u v\n3,w\n4,u v w x y\n5,u\n", 0, 0);
    double observed = 1000001.0 * 1000001 + 999998.0 * 999998, expected = 2e12 + 5;
    gives(MLA_METRIC_QWK, "id,y,half\n1,1,public\n2,2,public\n3,1,private\n4,2,private\n",
          "id,y\n1,-1000000\n2,1000000\n3,7\n4,7\n", 1 - observed / expected, 0);
}

static void bad_answers_of_other_forms(void **state) {
    (void)state;
    mla_task one = two_splits;
    one.splits = 1;
    const struct {
        const mla_task *task;
        const char *text, *why;
    } cases[] = {
        {&two_numbers, "id,a,half\n1,1,public\n",
         "has no column 'b': its header must have id, a and b"},
        {&two_numbers, "id,a,b,half\n1,1,,public\n", "line 2: no answer in column 'b'"},
        {&two_flags, "id,a,b,half\n1,0,2,public\n", "line 2: b is '2': it must be 0 or 1"},
        {&two_flags, "id,a,b,half\n1,0,1,public\n2,1,1,public\n3,0,1,private\n4,1,0,private\n",
         "only one value of b in the public half: mean_column_auc is not defined"},
        {&two_flags, "id,a,b,half\n1,0,1,public\n2,1,0,public\n3,0,1,private\n4,0,0,private\n",
         "only one value of a in the private half: mean_column_auc is not defined"},
        {&three_classes, "id,y,half\n1,high,public\n",
         "line 2: the answer is none of the classes of task.yaml: 'high'"},
        {&two_splits, "id,y,half\n1,1,public\n", "must have one column 'split': task.yaml says 2"},
        {&one, split_truth, "must have no column 'split': task.yaml says 1 split"},
        {&two_splits, "id,y,split,half\n1,1,2,public\n", "split must be a whole number from 0"},
        {&two_splits, "id,y,split,half\n1,1,0.5,public\n", "split must be a whole number from 0"},
        {&two_splits, "id,y,split,half\n1,1,-1,public\n", "split must be a whole number from 0"},
        {&two_splits, "id,y,split,half\n1,1,,public\n", "split must be a whole number from 0"},
        {&two_splits, "id,y,split,half\n1,1,nan,public\n", "split must be a whole number from 0"},
        {&two_splits, "id,y,split,half\n1,1,0,public\n1,1,0,private\n", "id '1' is there twice"},
        {&two_splits, "id,y,split,half\n1,1,0,public\n2,1,0,private\n1,1,1,public\n",
         "no rows in the private half of split 1"},
        {&ranked_labels, "id,y,half\n1,a b,public\n",
         "guesses are separated by blanks, so a label cannot hold one: 'a b'"},
    };
    for (size_t i = 0; i < MLA_COUNT(cases); i++) {
        mla_err err = {0};
        assert_null(answers_of(*cases[i].task, cases[i].text, &err));
        if (!strstr(err.text, cases[i].why)) fail_msg("'%s', not '%s'", err.text, cases[i].why);
    }
}

// Thousands of rows with awkward ids in shuffled order, on several threads at once.
enum { ROWS = 5000 };

static void put_row(mla_buf *csv, size_t i, const char *extra) {
    mla_buf_printf(csv, "row-%zu-%zx,%zu%s\n", i * 7919, i, i % 10, extra);
}

static void *score_thread(void *arg) {
    const mla_answers *answers = arg;
    mla_buf csv;
    mla_buf_init(&csv, 1 << 20);
    mla_buf_puts(&csv, "id,y\n");
    for (size_t i = 0; i < ROWS; i++) put_row(&csv, i * 3331 % ROWS, "");
    scored s = score(answers, mla_buf_text(&csv), csv.len);
    mla_buf_clear(&csv);
    return s.rc == 0 && s.scores.public_half == 1 && s.scores.private_half == 1 ? arg : NULL;
}

static void many_rows_many_threads(void **state) {
    (void)state;
    mla_buf csv;
    mla_buf_init(&csv, 1 << 20);
    mla_buf_puts(&csv, "id,y,half\n");
    for (size_t i = 0; i < ROWS; i++) put_row(&csv, i, i % 3 ? ",public" : ",private");
    mla_err err = {0};
    mla_answers *answers = answers_from(MLA_METRIC_ACCURACY, mla_buf_text(&csv), &err);
    assert_non_null(answers);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, score_thread, answers), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *right;
        assert_int_equal(pthread_join(threads[i], &right), 0);
        assert_ptr_equal(right, answers);
    }
    mla_answers_free(answers);
    mla_buf_clear(&csv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(halves_apart),   cmocka_unit_test(forms_of_csv),
        cmocka_unit_test(labels),         cmocka_unit_test(reasons),
        cmocka_unit_test(bad_answers),    cmocka_unit_test(reasons_give_nothing_away),
        cmocka_unit_test(long_foreign_text_is_cut), cmocka_unit_test(many_rows_many_threads),
        cmocka_unit_test(several_columns), cmocka_unit_test(probabilities),
        cmocka_unit_test(many_columns_are_not_all_listed),
        cmocka_unit_test(amounts_and_ratings), cmocka_unit_test(rankings),
        cmocka_unit_test(other_reasons_give_nothing_away), cmocka_unit_test(unknown_labels_score),
        cmocka_unit_test(splits),          cmocka_unit_test(bad_answers_of_other_forms),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
