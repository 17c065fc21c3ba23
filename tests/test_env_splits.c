// A task with several splits: the script runs once a split, each time with only that split's data
// and in a workspace of its own; the score is the mean, and only the first split's output is shown.
#include "env_fixture.h"

// As the toy, but y is x > 4 in the first split, in the second only 1 for id 7; ids are the same.
static const char two_answers[] =
    "id,y,split,half\n"
    "1,0,0,public\n2,0,0,private\n3,0,0,public\n4,0,0,private\n"
    "5,1,0,public\n6,1,0,private\n7,1,0,public\n8,1,0,private\n"
    "1,0,1,public\n2,0,1,private\n3,0,1,public\n4,0,1,private\n"
    "5,0,1,public\n6,0,1,private\n7,1,1,public\n8,0,1,private\n";

static int setup_splits(void **state) {
    setup(state);
    toy *t = *state;
    mla_err err = {{0}};
    mla_env_free(t->env);
    mla_task_free(t->task);
    char *short_yaml = with(toy_yaml, "seconds: 30", "seconds: 3");
    char *yaml = with(short_yaml, "target_column: y\n", "target_column: y\nsplits: 2\n");
    fixture_write(t->f.dir, "task.yaml", yaml);
    fixture_write(t->f.home, "data/toy/split0/test.csv", test_csv);
    fixture_write(t->f.home, "data/toy/split0/which.csv", "first");
    fixture_write(t->f.home, "data/toy/split1/test.csv", test_csv);
    fixture_write(t->f.home, "data/toy/split1/which.csv", "second");
    fixture_write(t->f.home, "answers/toy.csv", two_answers);
    free(short_yaml);
    free(yaml);
    t->task = mla_task_load(t->f.dir, t->f.home, true, &err);
    if (!t->task) fail_msg("%s", err.text);
    t->env = open_env(t, true, 1);
    if (mla_env_begin(t->env, t->task, &t->start, &err) < 0) fail_msg("%s", err.text);
    return 0;
}

static void test_mean(void **state) {
    toy *t = *state;
    // All of the first split are right, of the second 3 in 4 of the public and 2 in 4 of the
    // private half.
    mla_facts a = edit(t, &t->start, "K = 2", "K = 4");
    expect(&a, MLA_OUTCOME_OK, "Score: 0.875 (accuracy");
    assert_true(a.score_after == 0.875 && a.state_after.score == 0.875);
    assert_true(a.score_private == 0.75);
    mla_facts b = edit(t, &a.state_after, "K = 4", "K = 5.5");
    expect(&b, MLA_OUTCOME_OK, "Score: 0.875");         // 3 in 4 of the first, all of the second
    assert_true(b.score_private == 0.75);
    // The same again is looked up, with the seconds of both runs.
    mla_facts c = undo(t, &b.state_after);
    mla_facts d = edit(t, &c.state_after, "K = 4", "K = 5.5");
    assert_true(d.cost.cached && d.score_after == b.score_after);
    assert_true(d.cost.run_seconds == b.cost.run_seconds);
    mla_facts *all[] = {&a, &b, &c, &d};
    for (int i = 0; i < 4; i++) mla_facts_clear(all[i]);
}

// What a run sees: its own data only, and nothing that the run of another split left.
static void test_apart(void **state) {
    toy *t = *state;
    mla_facts a = edit(t, &t->start, "print('K is', K)",
                       "import os, time\n"
                       "which = open('data/which.csv').read()\n"
                       "print('data:', which, os.listdir('data'), sorted(os.listdir('.')))\n"
                       "assert not os.path.exists('left.txt')\n"
                       "open('left.txt', 'w').write(which)\n"
                       "time.sleep(0.3)");
    expect(&a, MLA_OUTCOME_OK, "| data: first ['");
    assert_non_null(strstr(a.feedback, "] ['data', 'notes.txt', 'submission.csv', 'train.py']"));
    assert_null(strstr(a.feedback, "second"));
    assert_true(a.cost.run_seconds >= 0.6);         // both runs cost
    mla_facts b = act(t, &a.state_after, "Inspect Script Lines",
                      "{\"script_name\": \"data/which.csv\", \"start_line_number\": 1, "
                      "\"end_line_number\": 1}", "");
    expect(&b, MLA_OUTCOME_OK, "first");
    mla_facts_clear(&a);
    mla_facts_clear(&b);
}

// A script that works on the first split only.
static void test_later_split_fails(void **state) {
    toy *t = *state;
    mla_facts a = edit(t, &t->start, "print('K is', K)",
                       "which = open('data/which.csv').read()\n"
                       "print('this is', which)\n"
                       "if which == 'second': raise KeyError('secret of ' + which)");
    expect(&a, MLA_OUTCOME_SCRIPT_ERROR, "| this is first");
    assert_string_equal(a.error_type, "KeyError");
    assert_true(isnan(a.score_after) && isnan(a.score_private));
    assert_non_null(strstr(a.feedback, "split 2 of 2, whose output is not shown"));
    assert_null(strstr(a.feedback, "second"));
    mla_facts b = edit(t, &t->start, "out.close()",
                       "if 'first' not in open('data/which.csv').read(): out.write('1,1\\n')\n"
                       "out.close()");
    expect(&b, MLA_OUTCOME_BAD_SUBMISSION, "submission.csv line 10: id '1' is there a second time");
    assert_non_null(strstr(b.feedback, "split 2 of 2, whose output is not shown"));
    mla_facts_clear(&a);
    mla_facts_clear(&b);
}

// Each submission is looked at beside its own split's sample.
static void test_flags(void **state) {
    toy *t = *state;
    fixture_write(t->f.home, "data/toy/split0/sample_submission.csv",
                  "id,y\n1,0\n2,1\n3,0\n4,1\n5,0\n6,1\n7,0\n8,1\n");
    fixture_write(t->f.home, "data/toy/split1/sample_submission.csv",
                  "id,y\n1,1\n2,0\n3,1\n4,0\n5,1\n6,0\n7,1\n8,0\n");
    mla_facts a = edit(t, &t->start, "print('K is', K)",
                       "if open('data/which.csv').read() == 'second':\n"
                       "    sample = open('data/sample_submission.csv').read()\n"
                       "    open('submission.csv', 'w').write(sample)");
    expect(&a, MLA_OUTCOME_OK, "Score: ");
    assert_int_equal(a.flags, MLA_FLAG_COPIED_SAMPLE);
    mla_facts_clear(&a);
}

// One that fails on the first split is not run on the second.
static void test_first_split_fails(void **state) {
    toy *t = *state;
    mla_facts a = edit(t, &t->start, "K = 2", "raise ValueError(open('data/which.csv').read())");
    expect(&a, MLA_OUTCOME_SCRIPT_ERROR, "| ValueError: first");
    assert_null(strstr(a.feedback, "not shown"));
    mla_facts_clear(&a);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, setup_splits, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_mean),
        TEST(test_apart),
        TEST(test_later_split_fails),
        TEST(test_first_split_fails),
        TEST(test_flags),
    };
    return run_with_env(tests);
}
