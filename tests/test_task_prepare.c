// Preparing a task with a real prepare.py: what is made, what is refused, and that a preparation
// that fails, or is killed, leaves what was there before.
#include "task_fixture.h"
#include "task/prepare.h"
#include "task/score.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

// Writes a toy's files; `EXTRA` is replaced by what a test wants to go wrong.
static const char prepare_py[] =
    "import argparse, os, sys\n"
    "p = argparse.ArgumentParser()\n"
    "p.add_argument('--out'); p.add_argument('--packages')\n"
    "a = p.parse_args()\n"
    "assert os.path.isdir(a.packages)\n"
    "pub = os.path.join(a.out, 'public')\n"
    "os.makedirs(os.path.join(pub, 'more'))\n"
    "files = {'public/train.csv': 'id,x,y\\n1,1,0\\n2,2,1\\n',\n"
    "         'public/test.csv': 'id,x\\n3,1\\n4,2\\n5,3\\n',\n"
    "         'public/sample_submission.csv': 'id,y\\n3,0\\n4,0\\n5,0\\n',\n"
    "         'public/more/note.txt': 'a note\\n',\n"
    "         'answers.csv': 'id,y,half\\n3,0,public\\n4,1,private\\n5,0,private\\n'}\n"
    "EXTRA\n"
    "for name, text in files.items():\n"
    "    with open(os.path.join(a.out, name), 'w') as f: f.write(text)\n"
    "# END\n";

static void write_prepare(const fixture *f, const char *extra) {
    char *text = with(prepare_py, "EXTRA", extra);
    fixture_write(f->dir, "prepare.py", text);
    free(text);
}

static int prepare(const fixture *f, mla_err *err) {
    *err = (mla_err){0};
    return mla_task_prepare(f->dir, f->home, NULL, err);
}

static void must_prepare(const fixture *f, int wanted) {
    mla_err err;
    int rc = prepare(f, &err);
    if (rc < 0) fail_msg("%s", err.text);
    assert_int_equal(rc, wanted);
}

static bool home_has(const fixture *f, const char *name) {
    char *path = mla_fs_join(f->home, name);
    bool there = mla_fs_exists(path);
    free(path);
    return there;
}

static unsigned mode_of(const fixture *f, const char *name) {
    struct stat st;
    char *path = mla_fs_join(f->home, name);
    assert_int_equal(lstat(path, &st), 0);
    free(path);
    return st.st_mode & 0777;
}

// Nothing of a half-made preparation under the home folder.
static void nothing_made(const fixture *f) {
    assert_false(home_has(f, "data/toy"));
    assert_false(home_has(f, "answers/toy.csv"));
    assert_false(home_has(f, "versions/toy.json"));
    assert_false(home_has(f, "staging/toy"));
}

static void makes_data(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "");
    must_prepare(&f, 1);
    assert_true(home_has(&f, "data/toy/train.csv"));
    assert_true(home_has(&f, "data/toy/more/note.txt"));
    assert_false(home_has(&f, "data/toy/answers.csv"));
    assert_false(home_has(&f, "staging/toy"));
    assert_int_equal(mode_of(&f, "data/toy/test.csv"), 0444);
    assert_int_equal(mode_of(&f, "answers/toy.csv"), 0600);
    assert_int_equal(mode_of(&f, "answers"), 0700);
    mla_err err = {0};
    mla_task *task = mla_task_load(f.dir, f.home, true, &err);
    if (!task) fail_msg("%s", err.text);
    assert_int_equal(strlen(task->data_version), 64);
    mla_answers *answers = mla_answers_load(task, &err);
    if (!answers) fail_msg("%s", err.text);
    mla_halves scores;
    static const char csv[] = "id,y\n3,0\n4,0\n5,0\n";
    assert_int_equal(mla_score_submission(answers, 0, csv, strlen(csv), &scores, &err), 0);
    assert_true(scores.public_half == 1 && scores.private_half == 0.5);
    mla_answers_free(answers);
    mla_task_free(task);
    fixture_end(&f);
}

static char *version(const fixture *f) {
    mla_err err = {0};
    mla_task *task = mla_task_load(f->dir, f->home, true, &err);
    if (!task) fail_msg("%s", err.text);
    char *text = mla_strdup(task->data_version);
    mla_task_free(task);
    return text;
}

static void skips_what_is_up_to_date(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "");
    must_prepare(&f, 1);
    must_prepare(&f, 0);
    char *first = version(&f);
    // A changed prepare.py runs again; the same data has the same version.
    write_prepare(&f, "# a remark");
    must_prepare(&f, 1);
    char *second = version(&f);
    assert_string_equal(first, second);
    // So does a changed common.py, and a changed or missing file.
    fixture_write(f.root, "tasks/common.py", "# shared\n");
    must_prepare(&f, 1);
    must_prepare(&f, 0);
    fixture_write(f.home, "data/toy/train.csv", "id,x,y\n");
    must_prepare(&f, 1);
    fixture_write(f.home, "data/toy/more.csv", "left over\n");
    must_prepare(&f, 1);
    assert_false(home_has(&f, "data/toy/more.csv"));
    write_prepare(&f, "files['public/train.csv'] += '9,9,1\\n'");
    must_prepare(&f, 1);
    char *third = version(&f);
    assert_string_not_equal(first, third);
    free(first);
    free(second);
    free(third);
    fixture_end(&f);
}

// Two splits of a task with two targets: files in split0 and split1, ids of each split apart.
static const char two_splits[] =
    "os.makedirs(os.path.join(pub, 'split0')); os.makedirs(os.path.join(pub, 'split1'))\n"
    "files = {'answers.csv': 'id,y,z,split,half\\n3,1,5,0,public\\n4,2,6,0,private\\n'\n"
    "                        '4,3,7,1,public\\n5,4,8,1,private\\n'}\n"
    "for i, ids in enumerate([(3, 4), (4, 5)]):\n"
    "    place = f'public/split{i}/'\n"
    "    files[place + 'train.csv'] = 'id,x,y,z\\n1,1,0,0\\n'\n"
    "    files[place + 'test.csv'] = 'id,x\\n' + ''.join(f'{k},1\\n' for k in ids)\n"
    "    files[place + 'sample_submission.csv'] = (\n"
    "        'id,y,z\\n' + ''.join(f'{k},0,0\\n' for k in ids))\n";

static void begin_with_splits(fixture *f) {
    fixture_begin(f);
    char *metric = with(toy_yaml, "accuracy\n", "mcrmse\n");
    char *text = with(metric, "target_column: y\n", "target_columns: [y, z]\nsplits: 2\n");
    fixture_write(f->dir, "task.yaml", text);
    free(metric);
    free(text);
}

static void makes_splits(void **state) {
    (void)state;
    fixture f;
    begin_with_splits(&f);
    write_prepare(&f, two_splits);
    must_prepare(&f, 1);
    must_prepare(&f, 0);
    assert_true(home_has(&f, "data/toy/split0/train.csv"));
    assert_true(home_has(&f, "data/toy/split1/test.csv"));
    assert_int_equal(mode_of(&f, "data/toy/split1/test.csv"), 0444);
    mla_err err = {0};
    mla_task *task = mla_task_load(f.dir, f.home, true, &err);
    if (!task) fail_msg("%s", err.text);
    char *second = mla_task_split_dir(task, 1);
    assert_non_null(strstr(task->data_dir, "home/data/toy/split0"));
    assert_non_null(strstr(second, "home/data/toy/split1"));
    assert_true(mla_fs_is_dir(second));
    free(second);
    mla_task_free(task);
    static const struct {
        const char *extra, *says;
    } faults[] = {
        {"del files['public/split1/test.csv']", "prepare.py made no public/split1/test.csv"},
        {"files['public/split1/test.csv'] = 'id,z\\n4,1\\n'", "split1/test.csv: has the target"},
        {"files['public/split1/sample_submission.csv'] += '3,0,0\\n'",
         "split1/sample_submission.csv: does not fit the answers: submission.csv line 4: id '3' "},
        {"files['answers.csv'] += '6,1,1,2,public\\n'", "split must be a whole number from 0"},
    };
    for (size_t i = 0; i < MLA_COUNT(faults); i++) {
        char *extra = mla_format("%s%s", two_splits, faults[i].extra);
        write_prepare(&f, extra);
        free(extra);
        assert_int_equal(prepare(&f, &err), -1);
        if (!strstr(err.text, faults[i].says)) fail_msg("'%s', not '%s'", err.text, faults[i].says);
    }
    fixture_end(&f);
}

// What task.yaml says of the columns is part of what the data is made from.
static void other_columns_are_other_data(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "files['answers.csv'] = 'id,y,z,half\\n3,0,1,public\\n4,1,1,private\\n'\n"
                      "files['public/sample_submission.csv'] = 'id,y,z\\n3,0,0\\n4,1,1\\n'");
    must_prepare(&f, 1);
    char *text = with(toy_yaml, "target_column: y", "target_column: z");
    fixture_write(f.dir, "task.yaml", text);
    must_prepare(&f, 1);
    must_prepare(&f, 0);
    free(text);
    fixture_end(&f);
}

static const struct {
    const char *extra, *says;
} failures[] = {
    {"raise SystemExit('no such package: toys')", "task toy: prepare.py: no such package: toys"},
    {"raise ValueError('checksum of data.csv')", "ValueError: checksum of data.csv"},
    {"sys.exit(3)", "(exit status 3): it said nothing"},
    {"import signal; os.kill(os.getpid(), signal.SIGKILL)", "(signal 9)"},
    {"del files['answers.csv']", "prepare.py made no answers.csv"},
    {"del files['public/test.csv']", "prepare.py made no public/test.csv"},
    {"files['public/test.csv'] = 'x\\n1\\n'", "test.csv: has no column id"},
    {"files['public/test.csv'] = 'id,x,y\\n3,1,0\\n'", "test.csv: has the target column y"},
    {"files['public/test.csv'] = ''", "test.csv: is empty"},
    {"files['public/sample_submission.csv'] = 'id,y\\n3,0\\n4,0\\n'",
     "2 rows, but 3 were expected"},
    {"files['public/sample_submission.csv'] += '6,0\\n'", "id '6' is not one of test.csv's"},
    {"files['answers.csv'] += '3,1,public\\n'", "id '3' is there twice"},
    {"files['answers.csv'] = 'id,y,half\\n3,0,public\\n'", "no rows in the private half"},
    {"os.symlink('/etc/passwd', os.path.join(pub, 'link'))", "link: neither a file nor a folder"},
};

static void failure_leaves_nothing(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    for (size_t i = 0; i < MLA_COUNT(failures); i++) {
        mla_err err;
        write_prepare(&f, failures[i].extra);
        assert_int_equal(prepare(&f, &err), -1);
        if (!strstr(err.text, failures[i].says)) {
            fail_msg("'%s', not '%s'", err.text, failures[i].says);
        }
        assert_int_equal(strncmp(err.text, "task toy: ", 10), 0);
        assert_null(strchr(err.text, '\n'));
        nothing_made(&f);
    }
    mla_err err;
    assert_int_equal(mla_task_prepare(f.dir, f.home, "/no/python", &err), -1);
    assert_non_null(strstr(err.text, "/no/python: cannot start"));
    nothing_made(&f);
    fixture_end(&f);
}

static void failure_keeps_the_former_data(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "");
    must_prepare(&f, 1);
    char *before = version(&f);
    for (size_t i = 0; i < MLA_COUNT(failures); i++) {
        mla_err err;
        write_prepare(&f, failures[i].extra);
        assert_int_equal(prepare(&f, &err), -1);
    }
    char *after = version(&f);
    assert_string_equal(before, after);
    write_prepare(&f, "");
    must_prepare(&f, 0);
    free(before);
    free(after);
    fixture_end(&f);
}

// Killed while prepare.py writes: the next preparation starts afresh and succeeds.
static void survives_a_kill(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "import time\n"
                      "for name, text in files.items():\n"
                      "    with open(os.path.join(a.out, name), 'w') as f: f.write(text)\n"
                      "open(os.path.join(pub, 'half-made'), 'w').close()\n"
                      "parent = os.getppid()\n"
                      "while os.getppid() == parent: time.sleep(0.01)\n"
                      "sys.exit(0)");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        mla_err err;
        _exit(prepare(&f, &err) < 0);
    }
    for (int i = 0; i < 1000 && !home_has(&f, "staging/toy/public/half-made"); i++) usleep(10000);
    assert_true(home_has(&f, "staging/toy/public/half-made"));
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    mla_err err = {0};
    assert_null(mla_task_load(f.dir, f.home, true, &err));
    assert_non_null(strstr(err.text, "data not prepared"));
    write_prepare(&f, "");
    must_prepare(&f, 1);
    assert_false(home_has(&f, "data/toy/half-made"));
    must_prepare(&f, 0);
    fixture_end(&f);
}

// New data in place but not its answers: that must not pass for the former data.
static void half_installed_is_not_prepared(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "");
    must_prepare(&f, 1);
    mla_err err = {0};
    char *answers = mla_fs_join(f.home, "answers/toy.csv");
    assert_int_equal(mla_fs_remove_tree(answers, &err), 0);
    fixture_write(answers, "in the way", "");
    assert_int_equal(prepare(&f, &err), -1);
    assert_non_null(strstr(err.text, "answers/toy.csv: cannot rename to"));
    assert_int_equal(mla_fs_remove_tree(answers, &err), 0);
    fixture_write(f.home, "answers/toy.csv", "id,y,half\n");
    assert_null(mla_task_load(f.dir, f.home, true, &err));
    assert_non_null(strstr(err.text, "data not prepared"));
    must_prepare(&f, 1);
    free(answers);
    fixture_end(&f);
}

// Two at once: one makes the data, the other waits and finds it made.
static void two_at_once(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    write_prepare(&f, "import time; time.sleep(0.2)");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        mla_err err;
        int rc = prepare(&f, &err);
        _exit(rc < 0 ? 9 : rc);
    }
    mla_err err;
    int here = prepare(&f, &err), status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(here >= 0);
    assert_int_equal(here + WEXITSTATUS(status), 1);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(makes_data),
        cmocka_unit_test(makes_splits),
        cmocka_unit_test(other_columns_are_other_data),
        cmocka_unit_test(skips_what_is_up_to_date),
        cmocka_unit_test(failure_leaves_nothing),
        cmocka_unit_test(failure_keeps_the_former_data),
        cmocka_unit_test(survives_a_kill),
        cmocka_unit_test(half_installed_is_not_prepared),
        cmocka_unit_test(two_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
