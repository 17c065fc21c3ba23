// TensorBoard's event files: the bytes are those that TensorBoard's own classes write
// (tools/vectors_tensorboard.py), and a run that goes on leaves no step twice.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "record/metrics.h"
#include "record/store.h"
#include "record/tensorboard.h"

#define VECTORS "tests/vectors/record_tensorboard/"

static char root[64];
static mla_err err;

static char *at(const char *name) {
    return mla_fs_join(root, name);
}

static mla_buf read_whole(const char *path) {
    mla_buf text;
    if (mla_fs_read(path, 1 << 20, &text, &err) < 0) fail_msg("%s", err.text);
    return text;
}

static void assert_same_file(const char *a, const char *b) {
    mla_buf x = read_whole(a), y = read_whole(b);
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.data, y.data, x.len);
    mla_buf_clear(&x);
    mla_buf_clear(&y);
}

typedef struct {
    mla_tensorboard *board;
    const char *path;
    long long after;       // lines of steps up to this one are left out
} writing;

static int write_line(void *ctx, json_t *object, mla_err *e) {
    writing *w = ctx;
    const json_t *line = json_object_get(object, "line");
    double wall = mla_json_get_number(object, "wall", 0);
    long long step = mla_json_get_int(line, "step", 0);
    if (step <= w->after) return 0;
    if (!w->board) w->board = mla_tensorboard_open(w->path, w->after, wall, e);
    if (!w->board) return -1;
    return mla_tensorboard_append(w->board, step, wall, line, "step", e);
}

// The vector's lines behind step `after`, into the file.
static void write_vector(const char *path, long long after) {
    writing w = {.path = path, .after = after};
    if (mla_lines_read(VECTORS "lines.jsonl", write_line, &w, &err) < 0) fail_msg("%s", err.text);
    mla_tensorboard_close(w.board);
}

static void the_bytes_are_tensorboards(void **state) {
    (void)state;
    char *path = at("whole");
    write_vector(path, 0);
    assert_same_file(path, VECTORS "events.tfevents");
    free(path);
}

static void a_run_that_goes_on_doubles_no_step(void **state) {
    (void)state;
    for (long long last = 0; last <= 301; last += last < 2 ? 1 : 149) {
        char *path = mla_format("%s/on-%lld", root, last);
        write_vector(path, 0);
        write_vector(path, last);
        assert_same_file(path, VECTORS "events.tfevents");
        free(path);
    }
}

// Cut anywhere, as by a kill: what is whole stays, and what is written then follows it.
static void a_torn_end_is_cut_off(void **state) {
    (void)state;
    char *path = at("torn");
    mla_buf whole = read_whole(VECTORS "events.tfevents");
    for (size_t len = 0; len < whole.len; len += 7) {
        assert_int_equal(mla_fs_write(path, whole.data, len, &err), 0);
        mla_tensorboard *board = mla_tensorboard_open(path, 1LL << 60, 1764000000.25, &err);
        if (!board) fail_msg("%zu bytes: %s", len, err.text);
        mla_tensorboard_close(board);
        mla_buf kept = read_whole(path);
        assert_true(kept.len >= 40 && (kept.len <= len || len < 40));
        assert_memory_equal(kept.data, whole.data, kept.len);
        mla_buf_clear(&kept);
    }
    // A byte that was changed: all from its event on.
    whole.data[whole.len - 60] ^= 1;
    assert_int_equal(mla_fs_write(path, whole.data, whole.len, &err), 0);
    mla_tensorboard_close(mla_tensorboard_open(path, 1LL << 60, 0, &err));
    mla_buf kept = read_whole(path);
    assert_true(kept.len >= 40 && kept.len < whole.len - 60);
    mla_buf_clear(&kept);
    mla_buf_clear(&whole);
    free(path);
}

static void a_foreign_file_is_left_alone(void **state) {
    (void)state;
    char *path = at("foreign");
    const char text[] = "this is no event file of TensorBoard's";
    assert_int_equal(mla_fs_write(path, text, sizeof text - 1, &err), 0);
    assert_null(mla_tensorboard_open(path, 0, 0, &err));
    assert_non_null(strstr(err.text, "no event file"));
    mla_buf kept = read_whole(path);
    assert_string_equal(mla_buf_text(&kept), text);
    mla_buf_clear(&kept);
    free(path);
}

static int count_line(void *ctx, json_t *line, mla_err *e) {
    (void)e;
    int *counts = ctx;
    counts[mla_json_get_int(line, "step", 0)]++;
    return 0;
}

static void write_steps(const char *path, int from, int to, int last) {
    mla_metrics *m = mla_metrics_open(path, "step", last, &err);
    if (!m) fail_msg("%s", err.text);
    for (int i = from; i <= to; i++) {
        json_t *line = json_pack("{s:i, s:f}", "step", i, "loss", 1.0 / i);
        assert_int_equal(mla_metrics_append_take(m, line, &err), 0);
    }
    mla_metrics_close(m);
}

static void lines_and_events_go_together(void **state) {
    (void)state;
    char *path = at("metrics.jsonl"), *events = at(MLA_TENSORBOARD_FILE);
    write_steps(path, 1, 5, 0);
    mla_buf before = read_whole(events);
    write_steps(path, 4, 6, 3);            // the checkpoint was behind step 3
    mla_buf after = read_whole(events);
    int counts[8] = {0};
    assert_int_equal(mla_lines_read(path, count_line, counts, &err), 0);
    for (int i = 1; i <= 6; i++) assert_int_equal(counts[i], 1);
    size_t event = (before.len - 40) / 5;  // all are equally long, behind the version
    assert_int_equal(after.len, 40 + 6 * event);
    assert_memory_equal(after.data, before.data, 40 + 3 * event);
    mla_buf_clear(&before);
    mla_buf_clear(&after);
    free(path);
    free(events);
}

static int set_up(void **state) {
    (void)state;
    snprintf(root, sizeof root, "/tmp/mlagent-test-tensorboard-%d", (int)getpid());
    return mla_fs_mkdirs(root, &err);
}

static int tear_down(void **state) {
    (void)state;
    return mla_fs_remove_tree(root, &err);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_tensorboards),
        cmocka_unit_test(a_run_that_goes_on_doubles_no_step),
        cmocka_unit_test(a_torn_end_is_cut_off),
        cmocka_unit_test(a_foreign_file_is_left_alone),
        cmocka_unit_test(lines_and_events_go_together),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
