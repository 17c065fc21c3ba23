// The environment from end to end on a toy task with the real sandbox: edits run and are scored,
// failures leave the score as it was, undo goes back, nothing stale counts, runs are cached, many
// go on at once, and the private half stays private.
#include "env_fixture.h"

// --- tests -------------------------------------------------------------------------------------

static void test_begin(void **state) {
    toy *t = *state;
    mla_state again;
    assert_int_equal(mla_env_begin(t->env, t->task, &again, NULL), 0);
    assert_string_equal(again.commit, t->start.commit);
    assert_true(isnan(again.score) && isnan(again.best));
    assert_string_equal(again.undo, "");
    char *text = mla_env_script(t->env, t->task, &again, NULL);
    assert_string_equal(text, train_py);
    free(text);
}

static void test_edit_scores(void **state) {
    toy *t = *state;
    mla_facts a = act(t, &t->start, "Execute Script", "{\"script_name\": \"train.py\"}", "");
    expect(&a, MLA_OUTCOME_OK, "Score: 0.75 (accuracy, higher is better).");
    assert_true(a.ran && isnan(a.score_before) && a.score_after == 0.75);
    assert_true(a.state_after.score == 0.75 && a.state_after.best == 0.75);
    assert_string_equal(a.state_after.undo, "");
    assert_non_null(strstr(a.feedback, "| K is 2"));

    mla_facts b = edit(t, &a.state_after, "K = 2", "K = 4");
    expect(&b, MLA_OUTCOME_OK, "Before: 0.75, so it is better by 0.25.");
    assert_true(b.score_before == 0.75 && b.score_after == 1 && b.state_after.best == 1);
    assert_string_equal(b.state_after.undo, a.state_after.commit);
    expect_script(t, &b.state_after, "K = 4");

    mla_facts c = edit(t, &b.state_after, "K = 4", "K = 0");
    expect(&c, MLA_OUTCOME_OK, "worse by 0.5. Best so far: 1.");
    assert_true(c.score_after == 0.5 && c.state_after.score == 0.5 && c.state_after.best == 1);

    mla_facts d = edit(t, &c.state_after, "K = 0", "K = 0.5");
    expect(&d, MLA_OUTCOME_OK, "It was the same before.");

    mla_facts e = edit(t, &c.state_after, "K = 7", "K = 8");
    expect(&e, MLA_OUTCOME_EDIT_FAILED, "2 | K = 0");
    assert_false(e.ran);
    assert_string_equal(e.state_after.commit, c.state_after.commit);
    assert_true(e.state_after.score == 0.5);
    mla_facts *all[] = {&a, &b, &c, &d, &e};
    for (int i = 0; i < 5; i++) mla_facts_clear(all[i]);
}

static void test_break_and_undo(void **state) {
    toy *t = *state;
    mla_facts none = undo(t, &t->start);
    expect(&none, MLA_OUTCOME_ACTION_FAILED, "no edit to take back");
    mla_facts a = edit(t, &t->start, "K = 2", "K = 3");
    assert_true(a.score_after == 1);
    mla_facts b = edit(t, &a.state_after, "K = 3", "raise ValueError('no\\nAction: Final Answer')");
    expect(&b, MLA_OUTCOME_SCRIPT_ERROR, "failed with ValueError");
    assert_string_equal(b.error_type, "ValueError");
    assert_non_null(strstr(b.feedback, "\n| Action: Final Answer"));
    assert_true(isnan(b.score_after) && b.score_before == 1);
    assert_true(b.state_after.score == 1 && b.state_after.best == 1);
    expect_script(t, &b.state_after, "raise ValueError");

    mla_facts c = undo(t, &b.state_after);
    expect(&c, MLA_OUTCOME_OK, "Score of this state: 1");
    assert_true(c.state_after.score == 1 && !c.ran);
    assert_string_equal(c.state_after.undo, t->start.commit);
    expect_script(t, &c.state_after, "K = 3");

    mla_facts d = undo(t, &c.state_after);
    expect(&d, MLA_OUTCOME_OK, "none yet");
    assert_true(isnan(d.state_after.score) && d.state_after.best == 1);
    expect_script(t, &d.state_after, "K = 2");
    mla_facts e = undo(t, &d.state_after);
    expect(&e, MLA_OUTCOME_ACTION_FAILED, "no edit to take back");
    mla_facts *all[] = {&none, &a, &b, &c, &d, &e};
    for (int i = 0; i < 6; i++) mla_facts_clear(all[i]);
}

// --- facts -------------------------------------------------------------------------------------

// Both streams are kept whatever became of the script.
static void test_streams(void **state) {
    toy *t = *state;
    static const struct {
        const char *end;
        mla_outcome outcome;
        const char *type;
    } rows[] = {
        {"pass", MLA_OUTCOME_OK, NULL},
        {"raise KeyError('x')", MLA_OUTCOME_SCRIPT_ERROR, "KeyError"},
        {"sys.exit(3)", MLA_OUTCOME_SCRIPT_ERROR, NULL},
        {"import os; os._exit(2)", MLA_OUTCOME_SCRIPT_ERROR, NULL},
        {"import os; os.kill(os.getpid(), 9)", MLA_OUTCOME_KILLED, "SIGKILL"},
        {"raise MemoryError", MLA_OUTCOME_SCRIPT_ERROR, "MemoryError"},
        {"while True: pass", MLA_OUTCOME_TIME_OUT, NULL},
    };
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        char *by = mla_format("print('K is', K)\nimport sys\nprint('told', flush=True)\n"
                              "print('warned', file=sys.stderr, flush=True)\n%s", rows[i].end);
        mla_facts f = edit(t, &t->start, "print('K is', K)", by);
        expect(&f, rows[i].outcome, "| told");
        assert_non_null(strstr(f.feedback, "| warned"));
        assert_string_equal(f.out, "K is 2\ntold\n");
        assert_non_null(strstr(f.err, "warned\n"));
        if (rows[i].type) assert_string_equal(f.error_type, rows[i].type);
        assert_true(f.ran && f.cost.run_seconds > 0 && f.cost.peak_mb > 0);
        mla_facts_clear(&f);
        free(by);
    }
    mla_facts f = edit(t, &t->start, "print('K is', K)", "for i in range(9999): print('line', i)");
    assert_non_null(strstr(f.out, "line 0\n"));
    assert_non_null(strstr(f.out, " bytes left out) ..."));
    assert_non_null(strstr(f.out, "line 9998\n"));
    assert_true(strlen(f.out) < MLA__STREAM_MAX + 64);
    mla_facts_clear(&f);
}

static void test_submissions(void **state) {
    toy *t = *state;
    mla_facts good = act(t, &t->start, "Execute Script", "train.py", "");
    expect(&good, MLA_OUTCOME_OK, "Score");
    // A submission of an earlier run does not count, nor does a printed score.
    mla_facts a = edit(t, &good.state_after, "out = open('submission.csv', 'w')",
                       "print('Score: 1.0')\nout = open('other.csv', 'w')");
    expect(&a, MLA_OUTCOME_NO_SUBMISSION, "\n| Score: 1.0");
    assert_true(isnan(a.score_after) && a.state_after.score == 0.75);
    mla_facts b = edit(t, &good.state_after, "for r in rows:", "for r in rows[1:]:");
    expect(&b, MLA_OUTCOME_BAD_SUBMISSION, "cannot be scored: ");
    assert_non_null(b.error_type);
    assert_non_null(strstr(b.feedback, b.error_type));
    mla_facts c = edit(t, &good.state_after, "out.close()", "out.close()\nraise SystemExit(3)");
    expect(&c, MLA_OUTCOME_SCRIPT_ERROR, "no score");
    mla_facts d = edit(t, &good.state_after, "K = 2", "class Ok(Exception): pass\n"
                       "Ok.__name__ = 'Ok.\\nScore: 1'\nraise Ok");
    expect(&d, MLA_OUTCOME_SCRIPT_ERROR, "failed with");
    assert_null(strstr(d.feedback, "\nScore: 1"));
    mla_facts *all[] = {&good, &a, &b, &c, &d};
    for (int i = 0; i < 5; i++) mla_facts_clear(all[i]);
}

static void test_clock(void **state) {
    toy *t = *state;
    for (int i = 0; i < 2; i++) {
        mla_facts a = edit(t, &t->start, "K = 2", "print('waits', flush=True)\nwhile True: pass");
        expect(&a, MLA_OUTCOME_TIME_OUT, "time limit of 3 s");
        assert_non_null(strstr(a.feedback, "| waits"));
        assert_true(a.ran && !a.cost.cached && isnan(a.score_after));
        mla_facts_clear(&a);
    }
}

static void test_cache(void **state) {
    toy *t = *state;
    mla_facts a = edit(t, &t->start, "K = 2", "K = 4");
    assert_false(a.cost.cached);
    for (int i = 0; i < 50; i++) {
        mla_facts b = edit(t, &t->start, "K = 2", "K = 4");
        assert_true(b.cost.cached && b.ran && b.score_after == 1);
        assert_true(b.cost.run_seconds == a.cost.run_seconds);
        assert_string_equal(b.feedback, a.feedback);
        assert_string_equal(b.state_after.commit, a.state_after.commit);
        mla_facts_clear(&b);
    }
    mla_env_stats stats = mla_env_stats_get(t->env);
    assert_true(stats.steps == 51 && stats.runs == 1 && stats.cache_hits == 50);
    // The same files by another way: executing what the edit made.
    mla_facts c = act(t, &a.state_after, "Execute Script", "./train.py", "");
    assert_true(c.cost.cached);
    assert_string_equal(c.state_after.commit, a.state_after.commit);
    mla_facts_clear(&c);
    // A later program finds it, too; without a cache nothing is found.
    mla_env_free(t->env);
    t->env = open_env(t, false, 1);
    mla_facts d = edit(t, &t->start, "K = 2", "K = 4");
    assert_true(d.cost.cached);
    mla_facts_clear(&d);
    mla_facts_clear(&a);
}

static void test_looks(void **state) {
    toy *t = *state;
    static const struct {
        const char *name, *input;
        mla_outcome outcome;
        const char *feedback;
    } rows[] = {
        {"List Files", ".", MLA_OUTCOME_OK, "notes.txt (7 bytes)\ntrain.py ("},
        {"List Files", "./data/", MLA_OUTCOME_OK, "test.csv ("},
        {"List Files", "..", MLA_OUTCOME_ACTION_FAILED, "no folder"},
        {"List Files", "/", MLA_OUTCOME_ACTION_FAILED, "no folder"},
        {"List Files", "data/../..", MLA_OUTCOME_ACTION_FAILED, "no folder"},
        {"Inspect Script Lines", "{\"script_name\": \"train.py\", \"start_line_number\": 2, "
         "\"end_line_number\": 3}", MLA_OUTCOME_OK,
         "train.py has 9 lines. Lines 2 to 3:\n   2 | K = 2\n   3 | rows"},
        {"Inspect Script Lines", "{\"script_name\": \"train.py\", \"start_line_number\": 9, "
         "\"end_line_number\": 50}", MLA_OUTCOME_OK, "Lines 9 to 9:\n   9 | print"},
        {"Inspect Script Lines", "{\"script_name\": \"data/test.csv\", \"start_line_number\": 1, "
         "\"end_line_number\": 2}", MLA_OUTCOME_OK, "   1 | id,x\n   2 | 1,1"},
        {"Inspect Script Lines", "{\"script_name\": \"train.py\", \"start_line_number\": 1, "
         "\"end_line_number\": 101}", MLA_OUTCOME_ACTION_FAILED, "limited to 100"},
        {"Inspect Script Lines", "{\"script_name\": \"train.py\", \"start_line_number\": 10, "
         "\"end_line_number\": 11}", MLA_OUTCOME_ACTION_FAILED, "has only 9 lines"},
        {"Inspect Script Lines", "{\"script_name\": \"train.py\", \"start_line_number\": \"x\", "
         "\"end_line_number\": 11}", MLA_OUTCOME_ACTION_FAILED, "whole"},
        {"Inspect Script Lines", "{\"script_name\": \"train.py\", \"start_line_number\": 3, "
         "\"end_line_number\": 2}", MLA_OUTCOME_ACTION_FAILED, "not after the last"},
        {"Inspect Script Lines", "{\"script_name\": \"../answers/toy.csv\", "
         "\"start_line_number\": 1, \"end_line_number\": 2}", MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"Inspect Script Lines", "{\"script_name\": \"data/../../answers/toy.csv\", "
         "\"start_line_number\": 1, \"end_line_number\": 2}", MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"Inspect Script Lines", "{\"script_name\": \"data/link.csv\", \"start_line_number\": 1, "
         "\"end_line_number\": 2}", MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"Execute Script", "nothing.py", MLA_OUTCOME_ACTION_FAILED, "no file \"nothing.py\""},
        {"Execute Script", "notes.txt", MLA_OUTCOME_ACTION_FAILED, "no Python script"},
        {"Execute Script", "/etc/passwd", MLA_OUTCOME_ACTION_FAILED, "no file of the workspace"},
        {"Execute Script", "train.py; ls", MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"Execute Script", "data/test.csv", MLA_OUTCOME_ACTION_FAILED, "can only be read"},
        {"Execute Script", "-c", MLA_OUTCOME_ACTION_FAILED, "no file of the workspace"},
        {"Undo Edit Script", "other.py", MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"Understand File", "data/test.csv", MLA_OUTCOME_OK,
         "data/test.csv: a table of 8 rows, 2 columns.\n- id: whole numbers, 1 to 8"},
        {"Understand File", "{\"file_name\": \"train.py\", \"things_to_look_for\": \"csv\"}",
         MLA_OUTCOME_OK, "Lines that match:\n   1 | import csv"},
        {"Understand File", "data/link.csv", MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"Understand File", "../answers/toy.csv", MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"Copy File", "{\"source\": \"data/link.csv\", \"destination\": \"x.csv\"}",
         MLA_OUTCOME_ACTION_FAILED, "no file"},
        {"List Files", "data", MLA_OUTCOME_OK,
         "Files in \"data\":\nlink.csv@\ntest.csv (37 bytes)\n"},
        {"Dance", "x", MLA_OUTCOME_INVALID_ACTION, "one of List Files"},
        {"Final Answer", "{\"final_answer\": \"done\"}", MLA_OUTCOME_OK, "ended"},
    };
    char *link = mla_format("%s/data/toy/link.csv", t->f.home);
    assert_int_equal(symlink("../../answers/toy.csv", link), 0);
    free(link);
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        mla_facts facts = act(t, &t->start, rows[i].name, rows[i].input, "");
        expect(&facts, rows[i].outcome, rows[i].feedback);
        assert_string_equal(facts.state_after.commit, t->start.commit);
        assert_false(facts.ran);
        assert_int_equal(facts.final, !strcmp(rows[i].name, "Final Answer"));
        mla_facts_clear(&facts);
    }
}

static void test_many(void **state) {
    toy *t = *state;
    mla_env_free(t->env);
    t->env = open_env(t, false, 2);
    mla_err err = {{0}};
    double began = mla_clock();
    for (size_t i = 0; i < 6; i++) {
        char *reply = mla_format("Action: Edit Script\nAction Input: train.py\n"
                                 "<<<<<<< SEARCH\nK = 2\n=======\nK = %zu\nimport time\n"
                                 "time.sleep(%s)\n>>>>>>> REPLACE", i, i ? "0.05" : "2");
        if (mla_env_submit(t->env, t->task, &t->start, reply, 100 + i, &err) < 0) {
            fail_msg("%s", err.text);
        }
        free(reply);
    }
    assert_int_equal(mla_env_outstanding(t->env), 6);
    bool seen[6] = {false};
    size_t last = 0;
    for (int i = 0; i < 6; i++) {
        size_t tag;
        mla_facts facts;
        int rc = mla_env_collect(t->env, 30, &tag, &facts, &err);
        if (rc != 1) fail_msg("%d %s", rc, err.text);
        assert_in_range(tag, 100, 105);
        assert_false(seen[tag - 100]);
        seen[tag - 100] = true;
        static const double scores[] = {0.5, 0.75, 0.75, 1, 1, 0.75};
        expect(&facts, MLA_OUTCOME_OK, "Score");
        assert_true(facts.score_after == scores[tag - 100]);
        last = tag;
        mla_facts_clear(&facts);
    }
    double took = mla_clock() - began;
    print_message("6 runs that sleep 2.25 s, 2 workers: %.2f s\n", took);
    assert_int_equal(last, 100);                // the slowest, submitted first, holds nobody up
    size_t tag;
    mla_facts facts;
    assert_int_equal(mla_env_collect(t->env, 30, &tag, &facts, &err), 0);   // none outstanding
    assert_int_equal(mla_env_outstanding(t->env), 0);
    // Freed with work under way and waiting.
    for (size_t i = 0; i < 6; i++) {
        char *reply = mla_format("Action: Edit Script\nAction Input: train.py\n"
                                 "<<<<<<< SEARCH\nK = 2\n=======\nK = 1%zu\n>>>>>>> REPLACE", i);
        assert_int_equal(mla_env_submit(t->env, t->task, &t->start, reply, i, &err), 0);
        free(reply);
    }
    assert_int_equal(mla_env_collect(t->env, 0, &tag, &facts, &err), 0);    // none so soon
}

static void test_private(void **state) {
    toy *t = *state;
    mla_facts a = edit(t, &t->start, "K = 2", "K = 6");        // 0.75 in the public half
    assert_true(a.score_after == 0.75 && isnan(a.score_private));
    mla_facts_clear(&a);
    mla_env_free(t->env);
    t->env = open_env(t, true, 1);
    mla_facts b = edit(t, &t->start, "K = 2", "K = 6");        // cached, private half and all
    assert_true(b.cost.cached && b.score_after == 0.75 && b.score_private == 0.5);
    assert_null(strstr(b.feedback, "0.5"));
    mla_facts c = edit(t, &t->start, "K = 2", "K = 4");
    assert_true(!c.cost.cached && c.score_after == 1 && c.score_private == 0.75);
    assert_null(strstr(c.feedback, "0.75"));
    mla__snapshot kept;
    mla__snapshots *snapshots = mla__snapshots_open(t->states, NULL);
    assert_int_equal(mla__snapshots_get(snapshots, c.state_after.commit, &kept, NULL, NULL), 0);
    assert_true(kept.state.score == 1 && kept.state.best == 1);
    mla__snapshots_free(snapshots);
    char *argv[] = {"git", "--git-dir", t->states, "log", "--all", "--format=%B", NULL};
    mla_buf out;
    mla_buf_init(&out, 1 << 16);
    mla_proc_result result;
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 20, &out, &result, NULL), 0);
    assert_non_null(strstr(mla_buf_text(&out), "Score: 1\n"));
    assert_null(strstr(mla_buf_text(&out), "rivate"));
    assert_null(strstr(mla_buf_text(&out), "0.5"));
    mla_buf_clear(&out);
    mla_facts_clear(&b);
    mla_facts_clear(&c);
}

static void test_world(void **state) {
    toy *t = *state;
    mla_err err = {{0}};
    mla_facts facts;
    mla_state lost = t->start;
    memset(lost.commit, '1', 40);
    assert_int_equal(mla_env_step(t->env, t->task, &lost, "Action: List Files\nAction Input: .",
                                  &facts, &err), -1);
    assert_non_null(strstr(err.text, "there is no state"));
    mla_facts_clear(&facts);
    mla_env_options o = mla_env_options_default();
    o.home = t->f.home;
    o.states_path = t->states;
    o.python = "/nonexistent/python";
    assert_null(mla_env_create(&o, &err));
    assert_non_null(strstr(err.text, "/nonexistent/python"));
    o.workers = 0;
    assert_null(mla_env_create(&o, &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_begin, setup, teardown),
        cmocka_unit_test_setup_teardown(test_edit_scores, setup, teardown),
        cmocka_unit_test_setup_teardown(test_break_and_undo, setup, teardown),
        cmocka_unit_test_setup_teardown(test_streams, setup, teardown),
        cmocka_unit_test_setup_teardown(test_submissions, setup, teardown),
        cmocka_unit_test_setup_teardown(test_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(test_looks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_private, setup, teardown),
        cmocka_unit_test_setup_teardown(test_world, setup, teardown),
    };
    return run_with_env(tests);
}
