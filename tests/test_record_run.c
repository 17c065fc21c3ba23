// A run folder: its lock, its paths, its marks.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "record/run.h"

static int make_folder(void **state) {
    char *dir = mla_strdup("/tmp/mla-run-XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int remove_folder(void **state) {
    mla_err err;
    int rc = mla_fs_remove_tree(*state, &err);
    free(*state);
    return rc;
}

static void test_lock(void **state) {
    char *dir = mla_fs_join(*state, "runs/one");
    mla_err err = {0};
    mla_run *run = mla_run_open(dir, &err);
    assert_non_null(run);
    assert_string_equal(mla_run_dir(run), dir);
    assert_true(mla_fs_is_dir(dir));
    assert_null(mla_run_open(dir, &err));
    assert_non_null(strstr(err.text, "another program"));
    mla_run_close(run);
    run = mla_run_open(dir, &err);
    assert_non_null(run);
    mla_run_close(run);
    mla_run_close(NULL);
    free(dir);
}

// A program that dies without closing the run leaves no lock behind.
static void test_lock_dies_with_its_holder(void **state) {
    mla_err err = {0};
    pid_t pid = fork();
    if (pid == 0) _exit(mla_run_open(*state, &err) ? 0 : 1);
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    mla_run *run = mla_run_open(*state, &err);
    assert_non_null(run);
    mla_run_close(run);
}

static void test_path_makes_its_folder(void **state) {
    mla_err err = {0};
    mla_run *run = mla_run_open(*state, &err);
    char *path = mla_run_path(run, "eval/untrained/steps.jsonl");
    assert_true(!strncmp(path, *state, strlen(*state)));
    assert_string_equal(path + strlen(*state), "/eval/untrained/steps.jsonl");
    assert_false(mla_fs_exists(path));
    *strrchr(path, '/') = '\0';
    assert_true(mla_fs_is_dir(path));
    free(path);
    mla_run_close(run);
}

static void test_marks_last(void **state) {
    mla_err err = {0};
    mla_run *run = mla_run_open(*state, &err);
    assert_false(mla_run_stage_done(run, "collect"));
    assert_int_equal(mla_run_stage_mark(run, "collect", 12.5, &err), 0);
    assert_int_equal(mla_run_stage_mark(run, "sft", 3.0, &err), 0);
    assert_true(mla_run_stage_done(run, "collect"));
    mla_run_close(run);
    run = mla_run_open(*state, &err);
    assert_true(mla_run_stage_done(run, "collect") && mla_run_stage_done(run, "sft"));
    assert_false(mla_run_stage_done(run, "rl"));
    char *path = mla_run_path(run, "stages.json");
    json_t *stages = mla_json_read_file(path, 1 << 20, &err);
    json_t *collect = json_object_get(stages, "collect");
    assert_true(mla_json_get_number(collect, "seconds", 0) == 12.5);
    json_decref(stages);
    free(path);
    mla_run_close(run);
}

static void test_bad_stages_file(void **state) {
    char *path = mla_fs_join(*state, "stages.json");
    mla_err err = {0};
    assert_int_equal(mla_fs_write(path, "[]\n", 3, &err), 0);
    assert_null(mla_run_open(*state, &err));
    assert_non_null(strstr(err.text, "stages.json"));
    assert_int_equal(mla_fs_write(path, "{}\n", 3, &err), 0);
    mla_run *run = mla_run_open(*state, &err);      // the failed one must not hold the lock
    assert_non_null(run);
    mla_run_close(run);
    free(path);
}

static void test_folder_that_cannot_be(void **state) {
    char *file = mla_fs_join(*state, "file");
    char *dir = mla_fs_join(file, "run");
    mla_err err = {0};
    assert_int_equal(mla_fs_write(file, "x", 1, &err), 0);
    assert_null(mla_run_open(dir, &err));
    assert_non_null(strstr(err.text, file));
    free(dir);
    free(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_lock, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_lock_dies_with_its_holder, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_path_makes_its_folder, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_marks_last, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad_stages_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_folder_that_cannot_be, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
