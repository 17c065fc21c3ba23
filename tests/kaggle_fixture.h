// What the tests of competitions' tasks share: made-up downloads, and preparing from them.
#ifndef MLA_TESTS_KAGGLE_FIXTURE_H
#define MLA_TESTS_KAGGLE_FIXTURE_H

#include <unistd.h>

#include "base/proc.h"
#include "task/prepare.h"
#include "task/score.h"
#include "toy_task.h"

#define KAGGLE_TASKS 19
#define KAGGLE_TORCH 8     // whose starters want torch, of these

static inline void must_run(char *const argv[], const char *cwd) {
    mla_err err = {0};
    mla_buf output;
    mla_buf_init(&output, 1 << 20);
    mla_proc_result result;
    if (mla_proc_run(argv, NULL, cwd, 240, &output, &result, &err) < 0) fail_msg("%s", err.text);
    if (result.exit_code) fail_msg("%s: %s", argv[1], mla_buf_text(&output));
    mla_buf_clear(&output);
}

// The names of all, sorted; freed with mla_fs_names_free.
static inline char **kaggle_names(void) {
    char **names;
    size_t n;
    mla_err err = {0};
    if (mla_task_list("tasks/kaggle", &names, &n, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(n, KAGGLE_TASKS);
    return names;
}

// Runs a script with the fixture's root and the names of tasks.
static inline void run_for(const fixture *f, const char *script, char *const *names, size_t n) {
    char *argv[KAGGLE_TASKS + 5] = {toy_python(), "-B", (char *)script, (char *)f->root};
    for (size_t i = 0; i < n; i++) argv[4 + i] = names[i];
    must_run(argv, NULL);
    free(argv[0]);
}

static inline char *task_dir(const char *name) {
    return mla_format("tasks/kaggle/%s", name);
}

// `from` is below the fixture's root; NULL: none is given.
static inline int prepare(const fixture *f, const char *name, const char *from, mla_err *err) {
    char *dir = task_dir(name), *python = toy_python();
    char *full = from ? mla_fs_join(f->root, from) : NULL;
    *err = (mla_err){0};
    int rc = mla_task_prepare_from(dir, full, f->home, python, err);
    free(full);
    free(python);
    free(dir);
    return rc;
}

static inline void must_prepare(const fixture *f, const char *name, const char *from,
                                int wanted) {
    mla_err err;
    int rc = prepare(f, name, from, &err);
    if (rc < 0) fail_msg("%s", err.text);
    assert_int_equal(rc, wanted);
}

static inline void must_fail(const fixture *f, const char *name, const char *from,
                             const char *says) {
    mla_err err;
    assert_int_equal(prepare(f, name, from, &err), -1);
    if (!strstr(err.text, says)) fail_msg("'%s', not '%s'", err.text, says);
    assert_null(strchr(err.text, '\n'));
}

static inline bool home_has(const fixture *f, const char *name) {
    char *path = mla_fs_join(f->home, name);
    bool there = mla_fs_exists(path);
    free(path);
    return there;
}

static inline void nothing_made(const fixture *f, const char *name) {
    static const char *const forms[] = {"data/%s", "answers/%s.csv", "versions/%s.json",
                                        "staging/%s"};
    for (size_t i = 0; i < MLA_COUNT(forms); i++) {
        char path[200];
        snprintf(path, sizeof path, forms[i], name);
        if (home_has(f, path)) fail_msg("%s is there", path);
    }
}

// The starter, in a folder of its own, on the data; its submission must score.
static inline void starter_scores(const fixture *f, const mla_task *task, const char *python) {
    mla_err err = {0};
    char *workspace = mla_format("%s/ws-%s", f->root, task->name);
    char *data = mla_fs_join(workspace, "data"), *wheels = mla_task_wheels_dir(task, python);
    char *script = mla_fs_join(task->env_dir, task->script);
    assert_int_equal(mla_fs_mkdirs(workspace, &err), 0);
    assert_int_equal(symlink(task->data_dir, data), 0);
    if (wheels) setenv("PYTHONPATH", wheels, 1);
    char *argv[] = {(char *)python, "-B", script, NULL};
    must_run(argv, workspace);
    unsetenv("PYTHONPATH");
    char *path = mla_fs_join(workspace, "submission.csv");
    mla_buf text;
    mla_halves scores;
    if (mla_fs_read(path, 1 << 26, &text, &err) < 0) fail_msg("%s", err.text);
    mla_answers *answers = mla_answers_load(task, &err);
    if (!answers) fail_msg("%s", err.text);
    if (mla_score_submission(answers, 0, mla_buf_text(&text), text.len, &scores, &err) < 0) {
        fail_msg("%s: %s", task->name, err.text);
    }
    mla_answers_free(answers);
    mla_buf_clear(&text);
    char *all[] = {workspace, data, script, wheels, path};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

static inline mla_task *load_task(const fixture *f, const char *name, bool need_data) {
    mla_err err = {0};
    char *dir = task_dir(name);
    mla_task *task = mla_task_load(dir, f->home, need_data, &err);
    if (!task) fail_msg("%s", err.text);
    free(dir);
    return task;
}

// prepare.py alone, without the packages that the starter wants.
static inline void must_make_data(const fixture *f, const char *name, char *python) {
    char *script = mla_format("tasks/kaggle/%s/prepare.py", name);
    char *out = mla_format("%s/out-%s", f->root, name), *from = mla_fs_join(f->root, name);
    char *answers = mla_fs_join(out, "answers.csv");
    char *argv[] = {python, "-B", script, "--out", out, "--from", from, NULL};
    must_run(argv, NULL);
    assert_true(mla_fs_exists(answers));
    char *all[] = {script, out, from, answers};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

static inline void can_be_prepared(const fixture *f, const char *name, char *python) {
    mla_task *bare = load_task(f, name, false);
    char *wheels = mla_task_wheels_dir(bare, python);
    if (wheels && !mla_fs_is_dir(wheels)) {
        print_message("%s: its starter is left out, as its requirements.txt is not installed\n",
                      name);
        must_make_data(f, name, python);
    } else {
        must_prepare(f, name, name, 1);
        mla_task *task = load_task(f, name, true);
        starter_scores(f, task, python);
        mla_task_free(task);
    }
    free(wheels);
    mla_task_free(bare);
}

// Makes, prepares and runs those tasks whose starters want packages of their own, or the others.
static inline void prepare_those(bool with_packages) {
    fixture f;
    fixture_begin(&f);
    char **names = kaggle_names(), *python = toy_python();
    run_for(&f, "tests/kaggle_download.py", names, KAGGLE_TASKS);
    size_t n = 0;
    for (size_t i = 0; i < KAGGLE_TASKS; i++) {
        mla_task *task = load_task(&f, names[i], false);
        bool wanted = (task->wheels != NULL) == with_packages;
        mla_task_free(task);
        if (wanted) can_be_prepared(&f, names[i], python);
        n += wanted;
    }
    assert_int_equal(n, with_packages ? KAGGLE_TORCH : KAGGLE_TASKS - KAGGLE_TORCH);
    mla_fs_names_free(names, KAGGLE_TASKS);
    free(python);
    fixture_end(&f);
}

#endif
