// JSON lines on disk: torn lines, bad lines, a full disk.
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "record/store.h"

static int make_folder(void **state) {
    char *dir = mla_strdup("/tmp/mla-store-XXXXXX");
    *state = mkdtemp(dir);
    return *state ? 0 : -1;
}

static int remove_folder(void **state) {
    mla_err err;
    int rc = mla_fs_remove_tree(*state, &err);
    free(*state);
    return rc;
}

static json_t *numbered(int n) {
    json_t *o = json_object();
    json_object_set_new(o, "n", json_integer(n));
    return o;
}

static void write_file(const char *path, const char *text) {
    mla_err err = {0};
    assert_int_equal(mla_fs_write(path, text, strlen(text), &err), 0);
}

static void assert_file(const char *path, const char *text) {
    mla_buf buf;
    mla_err err = {0};
    assert_int_equal(mla_fs_read(path, 1 << 20, &buf, &err), 0);
    assert_string_equal(mla_buf_text(&buf), text);
    mla_buf_clear(&buf);
}

static int sum_up(void *ctx, json_t *object, mla_err *err) {
    (void)err;
    *(long long *)ctx = *(long long *)ctx * 10 + mla_json_get_int(object, "n", 9);
    return 0;
}

static void test_append_and_read(void **state) {
    char *path = mla_fs_join(*state, "a.jsonl");
    mla_err err = {0};
    for (int i = 1; i <= 3; i++) {      // each time as a program of its own would
        mla_lines *lines = mla_lines_open(path, &err);
        assert_non_null(lines);
        assert_int_equal(mla_lines_append_take(lines, numbered(i), &err), 0);
        mla_lines_close(lines);
    }
    assert_file(path, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
    long long seen = 0;
    assert_int_equal(mla_lines_read(path, sum_up, &seen, &err), 0);
    assert_int_equal(seen, 123);
    mla_lines_close(NULL);
    free(path);
}

static void test_absent_file_has_no_lines(void **state) {
    char *path = mla_fs_join(*state, "absent.jsonl");
    mla_err err = {0};
    mla_steps steps;
    assert_int_equal(mla_store_read(path, &steps, &err), 0);
    assert_int_equal(steps.len, 0);
    assert_false(mla_fs_exists(path));
    free(path);
}

static void test_torn_last_line(void **state) {
    char *path = mla_fs_join(*state, "torn.jsonl");
    mla_err err = {0};
    write_file(path, "{\"n\":1}\n{\"n\":2}\n{\"n\":");
    long long seen = 0;
    assert_int_equal(mla_lines_read(path, sum_up, &seen, &err), 0);
    assert_int_equal(seen, 12);
    mla_lines *lines = mla_lines_open(path, &err);
    assert_non_null(lines);
    assert_file(path, "{\"n\":1}\n{\"n\":2}\n");
    assert_int_equal(mla_lines_append_take(lines, numbered(4), &err), 0);
    mla_lines_close(lines);
    assert_file(path, "{\"n\":1}\n{\"n\":2}\n{\"n\":4}\n");
    free(path);
}

// A file that is nothing but a torn line, longer than the piece that is searched at a time.
static void test_long_torn_line(void **state) {
    char *path = mla_fs_join(*state, "long.jsonl");
    char *text = MLA_NEW_ARRAY(char, 200001);
    memset(text, 'x', 200000);
    write_file(path, text);
    mla_err err = {0};
    mla_lines_close(mla_lines_open(path, &err));
    assert_int_equal(mla_fs_size(path), 0);
    memcpy(text, "{}\n", 3);
    write_file(path, text);
    mla_lines_close(mla_lines_open(path, &err));
    assert_int_equal(mla_fs_size(path), 3);
    free(text);
    free(path);
}

static void assert_read_fails(const char *path, const char *text, const char *words) {
    mla_err err = {0};
    long long seen = 0;
    write_file(path, text);
    assert_int_equal(mla_lines_read(path, sum_up, &seen, &err), -1);
    assert_non_null(strstr(err.text, path));
    if (!strstr(err.text, words)) fail_msg("\"%s\" does not say \"%s\"", err.text, words);
}

static void test_bad_line_names_its_number(void **state) {
    char *path = mla_fs_join(*state, "bad.jsonl");
    assert_read_fails(path, "{\"n\":1}\n{\"n\":\n{\"n\":3}\n", "line 2");
    assert_read_fails(path, "{\"n\":1}\n[1]\n", "line 2");
    assert_read_fails(path, "\n", "line 1");
    free(path);
}

static int refuse(void *ctx, json_t *object, mla_err *err) {
    (void)object;
    *(int *)ctx += 1;
    return mla_err_set(err, "enough");
}

static void test_reader_can_stop(void **state) {
    char *path = mla_fs_join(*state, "stop.jsonl");
    write_file(path, "{}\n{}\n");
    mla_err err = {0};
    int calls = 0;
    assert_int_equal(mla_lines_read(path, refuse, &calls, &err), -1);
    assert_int_equal(calls, 1);
    assert_non_null(strstr(err.text, "enough"));
    free(path);
}

// A full disk, by a limit on the size of files: half the line gets there, and is taken back.
static void test_full_disk(void **state) {
    char *path = mla_fs_join(*state, "full.jsonl");
    mla_err err = {0};
    mla_lines *lines = mla_lines_open(path, &err);
    assert_int_equal(mla_lines_append_take(lines, numbered(1), &err), 0);
    struct rlimit was, limit;
    getrlimit(RLIMIT_FSIZE, &was);
    limit = was;
    limit.rlim_cur = 12;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int rc = mla_lines_append_take(lines, numbered(2), &err);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(rc, -1);
    assert_non_null(strstr(err.text, strerror(EFBIG)));
    assert_file(path, "{\"n\":1}\n");
    assert_int_equal(mla_lines_append_take(lines, numbered(3), &err), 0);
    mla_lines_close(lines);
    assert_file(path, "{\"n\":1}\n{\"n\":3}\n");
    free(path);
}

static void test_not_a_file(void **state) {
    mla_err err = {0};
    assert_null(mla_lines_open(*state, &err));
    assert_null(mla_lines_open("/dev/null", &err));
    assert_non_null(strstr(err.text, "/dev/null"));
}

static void test_steps(void **state) {
    char *path = mla_fs_join(*state, "steps.jsonl");
    mla_err err = {0};
    mla_lines *lines = mla_lines_open(path, &err);
    for (int i = 0; i < 40; i++) {
        mla_step step;
        mla_step_init(&step);
        step.task = mla_strdup("wine");
        step.trajectory = mla_format("t%d", i / 4);
        step.actor = mla_strdup("expert");
        step.index = i % 4;
        step.seed = (uint64_t)i;
        assert_int_equal(mla_store_append(lines, &step, &err), 0);
        mla_step_clear(&step);
    }
    mla_lines_close(lines);
    mla_steps steps;
    assert_int_equal(mla_store_read(path, &steps, &err), 0);
    assert_int_equal(steps.len, 40);
    assert_string_equal(steps.items[39].trajectory, "t9");
    assert_int_equal(steps.items[38].index, 2);
    mla_steps_clear(&steps);
    assert_null(steps.items);
    write_file(path, "{\"version\":1}\n");
    assert_int_equal(mla_store_read(path, &steps, &err), -1);
    assert_int_equal(steps.len, 0);
    assert_non_null(strstr(err.text, "line 1: step: \"task\""));
    free(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_append_and_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_absent_file_has_no_lines, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_torn_last_line, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_long_torn_line, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_bad_line_names_its_number, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_reader_can_stop, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_full_disk, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_not_a_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_steps, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
