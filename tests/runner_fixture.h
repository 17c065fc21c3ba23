// What the runner's tests share: one runner over a home folder with the data of two tasks and an
// answers file, and a way to run a few lines of Python in it. The interpreter is $MLAGENT_PYTHON,
// else <home>/venv/bin/python; without one the tests are skipped.
#ifndef RUNNER_FIXTURE_H
#define RUNNER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "env/runner.h"

static char *python, *home;
static mla_runner *runner;
static mla_run_result result;
static mla_err err;

// Limits of the next run; reset after each test.
static mla_run_request request;

static void reset_request(void) {
    static char *data;
    free(data);
    data = mla_fs_join(home, "data/first");
    request = (mla_run_request){.data_dir = data, .script = "train.py", .seconds = 20,
                                .memory_mb = 1500, .seed = 7, .max_output = 8000};
}

static int clear_result(void **state) {
    (void)state;
    mla__run_result_clear(&result);
    reset_request();
    return 0;
}

static void put_file(const char *dir, const char *name, const char *text) {
    char *path = mla_fs_join(dir, name);
    assert_int_equal(mla_fs_write(path, text, strlen(text), &err), 0);
    free(path);
}

// The workspace, emptied.
static const char *fresh_workspace(void) {
    const char *dir = mla__runner_workspace(runner, &err);
    if (!dir) fail_msg("%s", err.text);
    return dir;
}

static void run_here(void) {
    mla__run_result_clear(&result);
    if (mla__runner_run(runner, &request, &result, &err) < 0) fail_msg("%s", err.text);
}

static __attribute__((unused)) void run_script(const char *code) {
    put_file(fresh_workspace(), "train.py", code);
    run_here();
}

// Checks how the run ended and with which type of error.
static void expect(mla_outcome outcome, const char *error_type) {
    if (result.outcome != outcome) {
        fail_msg("%s (%s), not %s; stdout: %s; stderr: %s", mla_outcome_name(result.outcome),
                 result.error_type ? result.error_type : "-", mla_outcome_name(outcome),
                 result.out, result.err);
    }
    if (!error_type) assert_null(result.error_type);
    else assert_string_equal(result.error_type ? result.error_type : "-", error_type);
}

static __attribute__((unused)) void expect_out(const char *text) {
    if (strcmp(result.out, text) != 0) {
        fail_msg("stdout is \"%s\", not \"%s\"; stderr: %s", result.out, text, result.err);
    }
}

static char *find_python(void) {
    const char *named = getenv("MLAGENT_PYTHON");
    if (named && *named) return mla_strdup(named);
    char *dir = mla_home(), *path = mla_fs_join(dir, "venv/bin/python");
    free(dir);
    return path;
}

static void make_home(void) {
    char template[] = "/var/tmp/mlagent-test-XXXXXX";
    home = mla_strdup(mkdtemp(template));
    const char *const folders[] = {"data/first", "data/second", "answers", "tmp"};
    for (size_t i = 0; i < MLA_COUNT(folders); i++) {
        char *path = mla_fs_join(home, folders[i]);
        assert_int_equal(mla_fs_mkdirs(path, &err), 0);
        if (i < 3) put_file(path, "train.csv", i == 0 ? "x,y\n1,2\n2,4\n" : "SECRET\n42\n");
        else setenv("TMPDIR", path, 1);
        free(path);
    }
}

static mla_runner *new_runner(bool no_cgroup) {
    char *root = mla_fs_join(home, "data");
    mla_runner_options options = {.python = python, .data_root = root, .no_cgroup = no_cgroup};
    mla_runner *made = mla__runner_create(&options, &err);
    free(root);
    return made;
}

static int start_all(void **state) {
    (void)state;
    make_home();
    reset_request();
    runner = new_runner(false);
    if (!runner) print_error("%s\n", err.text);
    return runner ? 0 : -1;
}

static int stop_all(void **state) {
    (void)state;
    mla__runner_free(runner);
    int rc = mla_fs_remove_tree(home, &err);
    free(home);
    return rc;
}

#define run_with_runner(tests, name)                                                            \
    (python = find_python(), access(python, X_OK) == 0                                          \
         ? cmocka_run_group_tests_name(name, tests, start_all, stop_all)                        \
         : (print_message("skipped: no interpreter at %s (scripts/setup)\n", python), 0))

#endif
