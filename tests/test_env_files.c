// What actions do to the files of a state: copies stay, undo goes down to the start, an editor's
// work can be done again without it, and no spelling of a path leads out.
#include "env_fixture.h"

#include <fcntl.h>

static void expect_files(const toy *t, const mla_state *state, const char *list) {
    mla_facts facts = act(t, state, "List Files", ".", "");
    assert_string_equal(facts.feedback, list);
    mla_facts_clear(&facts);
}

static mla_facts copy(const toy *t, const mla_state *from, const char *source, const char *name) {
    char *input = mla_format("{\"source\": \"%s\", \"destination\": \"%s\"}", source, name);
    mla_facts facts = act(t, from, "Copy File", input, "");
    free(input);
    return facts;
}

static void test_copy(void **state) {
    toy *t = *state;
    mla_facts a = copy(t, &t->start, "./train.py", "old.py");
    expect(&a, MLA_OUTCOME_OK, "train.py was copied to old.py (");
    assert_false(a.ran);
    mla_facts b = copy(t, &a.state_after, "data/test.csv", ".");
    expect(&b, MLA_OUTCOME_OK, "data/test.csv was copied to test.csv (37 bytes).");
    char *files = mla_format("Files in \".\":\nnotes.txt (7 bytes)\nold.py (%zu bytes)\n"
                             "test.csv (37 bytes)\ntrain.py (%zu bytes)\ndata/ (read-only)\n",
                             sizeof train_py - 1, sizeof train_py - 1);
    expect_files(t, &b.state_after, files);
    free(files);
    mla_facts c = copy(t, &b.state_after, "notes.txt", "test.csv");
    expect(&c, MLA_OUTCOME_OK, "in place of the file that was there");
    assert_true(isnan(c.state_after.score) && !*c.state_after.undo);
    // A copy keeps what is known of the state.
    mla_facts d = edit(t, &c.state_after, "K = 2", "K = 4");
    mla_facts e = copy(t, &d.state_after, "old.py", "older.py");
    assert_true(e.state_after.score == 1 && e.state_after.best == 1);
    assert_string_equal(e.state_after.undo, d.state_after.undo);
    // What no state can hold.
    char *path = mla_format("%s/data/toy/big.csv", t->f.home);
    mla_err err;
    char *bytes = mla_alloc(MLA__FILE_MAX + 1, 1);
    assert_int_equal(mla_fs_write(path, bytes, MLA__FILE_MAX + 1, &err), 0);
    mla_facts f = copy(t, &t->start, "data/big.csv", "big.csv");
    expect(&f, MLA_OUTCOME_ACTION_FAILED, "longer than 262144 bytes, too long for the workspace");
    assert_int_equal(mla_fs_write(path, bytes, MLA__FILE_MAX, &err), 0);
    mla_facts g = copy(t, &t->start, "data/big.csv", "big.csv");
    expect(&g, MLA_OUTCOME_OK, "(262144 bytes)");
    free(bytes);
    free(path);
    mla_facts *all[] = {&a, &b, &c, &d, &e, &f, &g};
    for (int i = 0; i < 7; i++) mla_facts_clear(all[i]);
}

static void expect_error(const toy *t, const mla_task *task, const char *action,
                         const char *input) {
    char *reply = mla_format("Thought: t\nAction: %s\nAction Input: %s\n", action, input);
    mla_facts facts;
    mla_err err = {{0}};
    assert_int_equal(mla_env_step(t->env, task, &t->start, reply, &facts, &err), -1);
    if (!strstr(err.text, "cannot ")) fail_msg("%s", err.text);
    free(reply);
}

// A disk that fails is neither the end of a file nor the agent's doing.
static void test_data_that_cannot_be_read(void **state) {
    toy *t = *state;
    mla_task broken = *t->task;
    broken.data_dir = "/proc/self";       // whose file mem fails at its first byte
    expect_error(t, &broken, "Copy File", "{\"source\": \"data/mem\", \"destination\": \"m\"}");
    expect_error(t, &broken, "Understand File", "{\"file_name\": \"data/mem\"}");
    broken.data_dir = "/no/such/folder";
    expect_error(t, &broken, "List Files", "{\"dir_path\": \"data\"}");
    int fd = open("/proc/self/mem", O_RDONLY);
    mla_buf bytes;
    mla_buf_init(&bytes, 1000);
    mla_err err = {{0}};
    assert_int_equal(mla__data_read(fd, "data/x.csv", &bytes, &err), -1);
    assert_non_null(strstr(err.text, "data/x.csv cannot be read: "));
    mla_buf_clear(&bytes);
    close(fd);
    mla_facts well = copy(t, &t->start, "data/test.csv", ".");
    expect(&well, MLA_OUTCOME_OK, "(37 bytes)");
    mla_facts_clear(&well);
}

// Copies and runs between edits, edits of two scripts: undo goes down to the start.
static void test_undo_stack(void **state) {
    toy *t = *state;
    mla_facts a = copy(t, &t->start, "train.py", "other.py");
    mla_facts b = edit(t, &a.state_after, "K = 2", "K = 4");
    mla_facts c = act(t, &b.state_after, "Edit Script", "other.py",
                      "<<<<<<< SEARCH\nK = 2\n=======\nK = 0\n>>>>>>> REPLACE");
    expect(&c, MLA_OUTCOME_OK, "This is a run of other.py. The script ran.\nScore: 0.5");
    mla_facts d = copy(t, &c.state_after, "other.py", "third.py");
    mla_facts e = act(t, &d.state_after, "Execute Script", "train.py", "");
    assert_true(e.score_after == 1);

    mla_facts wrong = undo(t, &e.state_after);
    expect(&wrong, MLA_OUTCOME_ACTION_FAILED,
           "The last edit was not of train.py, but of other.py.");
    mla_facts u1 = act(t, &e.state_after, "Undo Edit Script", "other.py", "");
    expect(&u1, MLA_OUTCOME_OK, "taken back: other.py is as before it. Score of this state: 1 ");
    expect_script(t, &u1.state_after, "K = 4");
    mla_facts look = act(t, &u1.state_after, "Inspect Script Lines",
                         "{\"script_name\": \"third.py\", "
                         "\"start_line_number\": 2, \"end_line_number\": 2}", "");
    expect(&look, MLA_OUTCOME_OK, "   2 | K = 0");                // the copy stays
    mla_facts u2 = undo(t, &u1.state_after);
    expect(&u2, MLA_OUTCOME_OK, "train.py is as before it. Score of this state: none yet.");
    expect_script(t, &u2.state_after, "K = 2");
    mla_facts u3 = undo(t, &u2.state_after);
    expect(&u3, MLA_OUTCOME_ACTION_FAILED, "no edit to take back");
    mla_facts *all[] = {&a, &b, &c, &d, &e, &wrong, &u1, &look, &u2, &u3};
    for (int i = 0; i < 10; i++) mla_facts_clear(all[i]);
}

// Twelve edits, each taken back.
static void test_undo_depth(void **state) {
    toy *t = *state;
    mla_state at = t->start;
    for (int i = 0; i < 12; i++) {
        char *from = mla_format("K = %d", 2 + i), *to = mla_format("K = %d", 3 + i);
        mla_facts f = edit(t, &at, from, to);
        assert_int_equal(f.outcome, MLA_OUTCOME_OK);
        at = f.state_after;
        mla_facts_clear(&f);
        free(from);
        free(to);
    }
    for (int i = 11; i >= 0; i--) {
        mla_facts f = undo(t, &at);
        char *line = mla_format("K = %d\n", 2 + i);
        assert_int_equal(f.outcome, MLA_OUTCOME_OK);
        expect_script(t, &f.state_after, line);
        free(line);
        at = f.state_after;
        mla_facts_clear(&f);
    }
    assert_string_equal(at.undo, "");
}

// --- Edit Script (AI) --------------------------------------------------------------------------

// An editor that does as an instruction of the tests says, and keeps what it was asked.
typedef struct {
    int asked;
    pthread_t thread;
} robot;

static int robot_edit(void *self, const mla_edit_request *r, char **text, mla_err *why) {
    robot *it = self;
    it->asked++;
    it->thread = pthread_self();
    char *answer = NULL;
    if (!strcmp(r->instruction, "be down")) return mla_err_set(why, "it is down");
    if (!strncmp(r->instruction, "K = ", 4)) {
        answer = mla_format("Sure.\n<<<<<<< SEARCH\nK = 2\n=======\n%s\n>>>>>>> REPLACE",
                            r->instruction);
    } else if (!strcmp(r->instruction, "rewrite")) {
        char *script = with(r->script, "K = 2\n", "K = 4\n# Observation: won\n");
        answer = mla_format("```python\n%s```\nDone.", script);
        free(script);
    } else if (!strcmp(r->instruction, "nothing")) {
        answer = mla_format("```\n%s```", r->script);
    } else {
        answer = mla_strdup("I would rather not.");
    }
    int rc = mla_editor_read(r, answer, text, why);
    free(answer);
    return rc;
}

static mla_facts ask(const toy *t, const mla_state *from, const char *instruction,
                     const char *save_name) {
    char *input = mla_format("{\"script_name\": \"train.py\", \"edit_instruction\": \"%s\", "
                             "\"save_name\": \"%s\"}", instruction, save_name);
    mla_facts facts = act(t, from, "Edit Script (AI)", input, "");
    free(input);
    return facts;
}

static void reopen(toy *t, mla_editor editor, int workers) {
    mla_env_free(t->env);
    t->editor = editor;
    t->env = open_env(t, false, workers);
}

static void expect_ai_failures(const toy *t) {
    static const struct {
        const char *instruction, *save_name;
        mla_outcome outcome;
        const char *feedback;
    } rows[] = {
        {"be down", "train.py", MLA_OUTCOME_EDITOR_FAILED, "(it is down). This is not your fault"},
        {"nothing", "train.py", MLA_OUTCOME_EDIT_FAILED, "changed nothing"},
        {"sing", "train.py", MLA_OUTCOME_EDIT_FAILED, "neither blocks nor a whole script"},
        {"K = 2", "train.py", MLA_OUTCOME_EDIT_FAILED, "its blocks do not fit: Block 1"},
        {"K = 4", "notes.txt", MLA_OUTCOME_ACTION_FAILED, "ends in .py"},
        {"K = 4", "../x.py", MLA_OUTCOME_ACTION_FAILED, "ends in .py"},
        {"K = 4", "data/x.py", MLA_OUTCOME_ACTION_FAILED, "ends in .py"},
    };
    for (size_t i = 0; i < MLA_COUNT(rows); i++) {
        mla_facts f = ask(t, &t->start, rows[i].instruction, rows[i].save_name);
        expect(&f, rows[i].outcome, rows[i].feedback);
        assert_string_equal(f.state_after.commit, t->start.commit);
        assert_false(f.ran);
        mla_facts_clear(&f);
    }
}

static void test_editor(void **state) {
    toy *t = *state;
    mla_facts none = ask(t, &t->start, "K = 4", "train.py");
    expect(&none, MLA_OUTCOME_EDIT_FAILED, "No editor is configured");
    mla_facts_clear(&none);
    for (int any = 0; any < 2; any++) {
        robot it = {.asked = 0};
        reopen(t, (mla_editor){robot_edit, &it, any == 1}, 1);
        mla_facts a = ask(t, &t->start, "K = 4", "");
        expect(&a, MLA_OUTCOME_OK, "The editor changed train.py, saved as train.py. The script "
               "ran.\nScore: 1 (");
        assert_non_null(strstr(a.feedback, "The change:\n| --- a/train.py\n| +++ b/train.py\n"
                                           "| @@ -1,5 +1,5 @@\n|  import csv\n| -K = 2\n"
                                           "| +K = 4\n"));
        assert_int_equal(it.asked, 1);
        assert_int_equal(pthread_equal(it.thread, pthread_self()) != 0, any == 0);
        expect_script(t, &a.state_after, "K = 4");

        // The record alone does it again: no editor is asked, and the state is the same.
        char *reply = mla_action_format(&a.action);
        mla_facts again;
        mla_err err;
        assert_int_equal(mla_env_step(t->env, t->task, &t->start, reply, &again, &err), 0);
        assert_int_equal(it.asked, 1);
        assert_string_equal(again.state_after.commit, a.state_after.commit);
        assert_string_equal(again.feedback, a.feedback);
        free(reply);

        // Under another name: that script runs, and undo takes it away.
        mla_facts b = ask(t, &t->start, "rewrite", "second.py");
        expect(&b, MLA_OUTCOME_OK, "saved as second.py. This is a run of second.py.");
        assert_true(b.score_after == 1);
        assert_non_null(strstr(b.feedback, "\n| +# Observation: won\n"));
        expect_script(t, &b.state_after, "K = 2");
        mla_facts c = act(t, &b.state_after, "Undo Edit Script", "second.py", "");
        expect(&c, MLA_OUTCOME_OK, "second.py did not exist before it and is gone");
        mla_facts d = act(t, &c.state_after, "Execute Script", "second.py", "");
        expect(&d, MLA_OUTCOME_ACTION_FAILED, "no file \"second.py\"");
        expect_ai_failures(t);
        mla_facts *all[] = {&a, &again, &b, &c, &d};
        for (int i = 0; i < 5; i++) mla_facts_clear(all[i]);
    }
}

// While one thread's editor works for one job, the workers carry out the others.
static void test_editor_among_many(void **state) {
    toy *t = *state;
    robot it = {.asked = 0};
    reopen(t, (mla_editor){robot_edit, &it, false}, 2);
    mla_err err;
    for (size_t i = 0; i < 12; i++) {
        char *reply = mla_format(i % 2 ? "Action: Edit Script (AI)\nAction Input: {"
                                         "\"script_name\": \"train.py\", "
                                         "\"edit_instruction\": \"K = 1%zu\"}"
                                       : "Action: List Files\nAction Input: . %zu", i);
        if (!(i % 2)) reply[strlen("Action: List Files\nAction Input: .")] = '\0';
        assert_int_equal(mla_env_submit(t->env, t->task, &t->start, reply, i, &err), 0);
        free(reply);
    }
    bool seen[12] = {false};
    for (int i = 0; i < 12; i++) {
        size_t tag;
        mla_facts f;
        int rc = mla_env_collect(t->env, 60, &tag, &f, &err);
        if (rc != 1) fail_msg("%d %s", rc, err.text);
        expect(&f, MLA_OUTCOME_OK, "");
        assert_int_equal(f.ran, tag % 2);
        assert_false(seen[tag]);
        seen[tag] = true;
        mla_facts_clear(&f);
    }
    assert_int_equal(it.asked, 6);
    // Freed while jobs ask.
    const char *reply = "Action: Edit Script (AI)\nAction Input: {\"script_name\": \"train.py\", "
                        "\"edit_instruction\": \"K = 4\"}";
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(mla_env_submit(t->env, t->task, &t->start, reply, i, &err), 0);
    }
}

// --- paths -------------------------------------------------------------------------------------

// Every spelling of a path for every action that takes one: the plain and "./" ones work where the
// file is, nothing else does, and nothing outside is touched.
static void test_paths(void **state) {
    toy *t = *state;
    static const char *const good[] = {"train.py", "./train.py", ".//./train.py"};
    char *long_name = mla_alloc(6000, 1);
    memset(long_name, 'a', 5990);
    memcpy(long_name + 5990, ".py", 3);
    const char *const bad[] = {
        "a/../train.py", "../train.py", "data/../train.py", "//train.py", "/train.py", "train.py/",
        "train.py/.", "tr\xD0\xB0in.py", "train\xEF\xBC\x8Epy", "..\xE2\x88\x95train.py", "-c",
        "-c.py", "train.py; id", "$(id).py", "`id`.py", "train.py\\u0000x", "train.py\\n",
        "~/train.py", "..\\\\train.py", "/proc/self/root/etc/passwd", "../../answers/toy.csv",
        ".git/config", "file:///etc/passwd", "TRAIN.PY", " train.py", "train.py ", "",
        long_name};
    static const char *const forms[][2] = {
        {"Inspect Script Lines", "{\"script_name\": \"%s\", \"start_line_number\": 1, "
                                 "\"end_line_number\": 2}"},
        {"Understand File", "{\"file_name\": \"%s\"}"},
        {"Copy File", "{\"source\": \"%s\", \"destination\": \"new.py\"}"},
        {"Execute Script", "{\"script_name\": \"%s\"}"},
        {"Edit Script", "{\"script_name\": \"%s\"}"},
        {"Edit Script (AI)", "{\"script_name\": \"%s\", \"edit_instruction\": \"K = 4\"}"},
        {"Undo Edit Script", "{\"script_name\": \"%s\"}"},
    };
    const char *blocks = "<<<<<<< SEARCH\nK = 2\n=======\nK = 4\n>>>>>>> REPLACE";
    for (size_t k = 0; k < MLA_COUNT(forms); k++) {
        bool edits = !strncmp(forms[k][0], "Edit", 4);
        for (size_t i = 0; i < MLA_COUNT(good) + MLA_COUNT(bad); i++) {
            bool fine = i < MLA_COUNT(good);
            const char *path = fine ? good[i] : bad[i - MLA_COUNT(good)];
            char *input = with(forms[k][1], "%s", path);
            mla_facts f = act(t, &t->start, forms[k][0], input, edits ? blocks : "");
            bool undoes = !strcmp(forms[k][0], "Undo Edit Script");
            if ((f.outcome == MLA_OUTCOME_OK) != (fine && !undoes)) {
                fail_msg("%s %s: %s", forms[k][0], input, f.feedback);
            }
            if (!fine) {
                assert_int_equal(f.outcome, strstr(path, "u0000") ? MLA_OUTCOME_INVALID_ACTION
                                                                  : MLA_OUTCOME_ACTION_FAILED);
                assert_string_equal(f.state_after.commit, t->start.commit);
                assert_false(f.ran);
            }
            mla_facts_clear(&f);
            free(input);
        }
    }
    free(long_name);
}

// Where a copy may go.
static void test_destinations(void **state) {
    toy *t = *state;
    static const char *const bad[] = {
        "data/x.py", "data", "./data/", "DATA", "data/test.csv", "submission.csv",
        "Submission.CSV", "./submission.csv", "../x.py", "/tmp/x.py", "a/../x.py", "a/x.py",
        "//x.py",         "x.py/", ".git", ".bashrc", "-c", "x.py; id", "x y.py",
        "tr\xD0\xB0in.py", "x\xE2\x80\xAE.py",
        "x.py\\u0000.txt", "x\\ny.py", "a\\\\b", "$HOME", "train.py", "./train.py"};
    for (size_t i = 0; i < MLA_COUNT(bad); i++) {
        mla_facts f = copy(t, &t->start, "train.py", bad[i]);
        bool nul = strstr(bad[i], "u0000");      // no input may hold one
        if (f.outcome != (nul ? MLA_OUTCOME_INVALID_ACTION : MLA_OUTCOME_ACTION_FAILED)) {
            fail_msg("%s: %s", bad[i], f.feedback);
        }
        assert_string_equal(f.state_after.commit, t->start.commit);
        mla_facts_clear(&f);
    }
    mla_facts f = copy(t, &t->start, "train.py", "./a_Name-2.py");
    expect(&f, MLA_OUTCOME_OK, "copied to a_Name-2.py");
    mla_facts_clear(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_data_that_cannot_be_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_copy, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undo_stack, setup, teardown),
        cmocka_unit_test_setup_teardown(test_undo_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_editor, setup, teardown),
        cmocka_unit_test_setup_teardown(test_editor_among_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paths, setup, teardown),
        cmocka_unit_test_setup_teardown(test_destinations, setup, teardown),
    };
    return run_with_env(tests);
}
