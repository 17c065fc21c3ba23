// States in git: equal states have one id, the content comes back byte for byte, undo and scores
// survive, several threads and a reopened repository agree, and the git command can read it all.
#include <math.h>
#include <pthread.h>
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
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "env/internal.h"

typedef struct {
    char dir[64];
    char *path;
    mla__snapshots *snapshots;
} fixture;

static int setup(void **state) {
    fixture *f = MLA_NEW(fixture);
    snprintf(f->dir, sizeof f->dir, "/tmp/mla_snapshot_XXXXXX");
    if (!mkdtemp(f->dir)) return -1;
    f->path = mla_fs_join(f->dir, "states.git");
    f->snapshots = mla__snapshots_open(f->path, NULL);
    *state = f;
    return f->snapshots ? 0 : -1;
}

static int teardown(void **state) {
    fixture *f = *state;
    mla__snapshots_free(f->snapshots);
    int rc = mla_fs_remove_tree(f->dir, NULL);
    free(f->path);
    free(f);
    return rc;
}

static void put_text(mla__files *files, const char *name, const char *text) {
    assert_int_equal(mla__files_put(files, name, text, strlen(text), NULL), 0);
}

static mla__snapshot make(double score, double best, const char *undo) {
    mla__snapshot s = {.task = "toy", .subject = "toy: edit train.py: ok",
                       .state = {.score = score, .best = best}};
    snprintf(s.state.undo, sizeof s.state.undo, "%s", undo);
    return s;
}

static void put(fixture *f, mla__snapshot *s, const char *parent, const mla__files *files) {
    mla_err err = {{0}};
    if (mla__snapshots_put(f->snapshots, s, parent, files, &err) < 0) fail_msg("%s", err.text);
}

static void git_output(const fixture *f, mla_buf *out, char *const args[]) {
    char *argv[16] = {"git", "--git-dir", f->path};
    for (int i = 0; args[i]; i++) argv[i + 3] = args[i];
    mla_buf_init(out, 1 << 20);
    mla_proc_result result;
    mla_err err = {{0}};
    if (mla_proc_run(argv, NULL, NULL, 20, out, &result, &err) < 0) fail_msg("%s", err.text);
    if (result.exit_code) fail_msg("git: %s", mla_buf_text(out));
}

static void test_restore(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0}, back;
    put_text(&files, "train.py", "print('\xC3\xA9')\r\n\tx  \n");
    put_text(&files, "a.txt", "");
    assert_int_equal(mla__files_put(&files, "b.bin", "\0\1\2", 3, NULL), 0);
    mla__snapshot root = make(NAN, NAN, "");
    put(f, &root, "", &files);
    double score = 0.1 + 0.2;
    mla__snapshot child = make(score, 1e-300, root.state.commit), got;
    put(f, &child, root.state.commit, &files);
    mla_err err = {{0}};
    assert_int_equal(mla__snapshots_get(f->snapshots, child.state.commit, &got, &back, &err), 0);
    assert_string_equal(got.task, "toy");
    assert_string_equal(got.subject, child.subject);
    assert_string_equal(got.state.commit, child.state.commit);
    assert_string_equal(got.state.undo, root.state.commit);
    assert_true(got.state.score == score && got.state.best == 1e-300);
    assert_int_equal(back.len, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(back.items[i].name, files.items[i].name);
        assert_int_equal(back.items[i].len, files.items[i].len);
        assert_memory_equal(back.items[i].bytes, files.items[i].bytes, files.items[i].len);
    }
    mla__files_clear(&back);
    assert_int_equal(mla__snapshots_get(f->snapshots, root.state.commit, &got, NULL, &err), 0);
    assert_true(isnan(got.state.score) && isnan(got.state.best));
    assert_string_equal(got.state.undo, "");
    mla__files_clear(&files);
}

static void test_ids(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0};
    put_text(&files, "train.py", "a = 1\n");
    mla__snapshot root = make(NAN, NAN, ""), again = make(NAN, NAN, "");
    put(f, &root, "", &files);
    // Known id: the same on every machine, for good.
    assert_string_equal(root.state.commit, "be36fa433d7629a2300989f24f7ca5f2c7569665");
    put(f, &again, "", &files);
    assert_string_equal(again.state.commit, root.state.commit);
    mla__snapshot a = make(0.5, 0.5, root.state.commit), b = make(0.5, 0.5, root.state.commit);
    mla__snapshot c = make(0.6, 0.6, root.state.commit), d = make(0.5, 0.5, "");
    put(f, &a, root.state.commit, &files);
    mla__snapshots_free(f->snapshots);
    f->snapshots = mla__snapshots_open(f->path, NULL);        // a later run
    assert_non_null(f->snapshots);
    put(f, &b, root.state.commit, &files);
    put(f, &c, root.state.commit, &files);
    put(f, &d, root.state.commit, &files);
    assert_string_equal(a.state.commit, b.state.commit);
    assert_string_not_equal(a.state.commit, c.state.commit);
    assert_string_not_equal(a.state.commit, d.state.commit);
    put_text(&files, "train.py", "a = 2\n");
    mla__snapshot e = make(0.5, 0.5, root.state.commit);
    put(f, &e, root.state.commit, &files);
    assert_string_not_equal(a.state.commit, e.state.commit);
    mla_buf out;
    git_output(f, &out, (char *[]){"for-each-ref", "--format=%(objectname)", NULL});
    assert_int_equal(out.len, 5 * 41);                        // root a c d e: one ref each
    mla_buf_clear(&out);
    mla__files_clear(&files);
}

static void test_git_reads_it(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0};
    put_text(&files, "train.py", "a = 1\nb = 2\n");
    mla__snapshot root = make(NAN, NAN, "");
    put(f, &root, "", &files);
    put_text(&files, "train.py", "a = 1\nb = 3\n");
    mla__snapshot child = make(0.75, 0.75, root.state.commit);
    put(f, &child, root.state.commit, &files);
    mla_buf out;
    git_output(f, &out, (char *[]){"log", "-p", "--all", NULL});
    assert_non_null(strstr(out.data, "-b = 2\n+b = 3\n"));
    assert_non_null(strstr(out.data, "    Score: 0.75\n"));
    mla_buf_clear(&out);
    git_output(f, &out, (char *[]){"fsck", "--strict", NULL});
    mla_buf_clear(&out);
    // Nothing is lost when git tidies up, and a packed repository is read as well.
    git_output(f, &out, (char *[]){"gc", "--prune=now", "--quiet", NULL});
    mla_buf_clear(&out);
    mla__files back;
    assert_int_equal(mla__snapshots_get(f->snapshots, child.state.commit, NULL, &back, NULL), 0);
    assert_string_equal(mla__files_get(&back, "train.py")->bytes, "a = 1\nb = 3\n");
    mla__files_clear(&back);
    mla__files_clear(&files);
}

static void test_refusals(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0};
    mla_err err = {{0}};
    static const char *const bad[] = {"", ".", "..", "a/b", "/etc/passwd", ".git", ".hidden", "-rf",
                                      "a\nb", "a\\b"};
    for (size_t i = 0; i < MLA_COUNT(bad); i++) {
        assert_int_equal(mla__files_put(&files, bad[i], "x", 1, &err), -1);
    }
    char *big = calloc(MLA__FILE_MAX + 1, 1);
    assert_int_equal(mla__files_put(&files, "big.py", big, MLA__FILE_MAX + 1, &err), -1);
    assert_int_equal(mla__files_put(&files, "big.py", big, MLA__FILE_MAX, &err), 0);
    free(big);
    for (int i = 1; i < MLA__FILES_MAX; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d.py", i);
        put_text(&files, name, "x");
    }
    assert_int_equal(mla__files_put(&files, "one_more.py", "x", 1, &err), -1);
    put_text(&files, "f1.py", "replaced");
    mla__snapshot s = make(NAN, NAN, "");
    const char *nobody = "1234567890123456789012345678901234567890";
    assert_int_equal(mla__snapshots_put(f->snapshots, &s, nobody, &files, &err), -1);
    assert_int_equal(mla__snapshots_get(f->snapshots, nobody, &s, NULL, &err), -1);
    assert_non_null(strstr(err.text, "there is no state"));
    assert_int_equal(mla__snapshots_get(f->snapshots, "rubbish", &s, NULL, &err), -1);
    assert_null(mla__snapshots_open("/proc/nowhere/states.git", &err));
    mla__files_clear(&files);
}

static void test_paths(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"train.py", "train.py"}, {"./train.py", "train.py"}, {"././train.py", "train.py"},
        {".", ""}, {"./", ""}, {"", ""}, {"data", "data"}, {"data/", "data"}, {"./data/", "data"},
        {"data/x.csv", "data/x.csv"}, {"a;b.py", "a;b.py"},
        {"/etc/passwd", NULL}, {"../x", NULL}, {"a/../x", NULL}, {"data/../x", NULL},
        {"data/a/b", NULL}, {"data/.", "data"}, {"..", NULL}, {"/", NULL}, {"-c", NULL},
        {".bashrc", NULL}, {"data//x.csv", "data/x.csv"}, {"//x.py", NULL}, {"x.py/", NULL},
        {"x.py/.", NULL}, {"./data/./x.csv", "data/x.csv"}, {"data/x.csv/", NULL},
        {"a\\b.py", NULL}, {"a\nb.py", NULL}, {"data/-c", NULL}, {"data/..", NULL},
    };
    for (size_t i = 0; i < MLA_COUNT(pairs); i++) {
        char *clean = mla__path_clean(pairs[i][0]);
        if (!clean != !pairs[i][1]) fail_msg("%s -> %s", pairs[i][0], clean);
        if (clean) assert_string_equal(clean, pairs[i][1]);
        free(clean);
    }
}

typedef struct {
    fixture *f;
    char root[MLA_OID_HEX], last[MLA_OID_HEX];
} thread_arg;

// A chain of 20 states, each read back.
static void *chain(void *p) {
    thread_arg *arg = p;
    mla__files files = {.len = 0}, back;
    char parent[MLA_OID_HEX], text[32];
    memcpy(parent, arg->root, sizeof parent);
    for (int i = 0; i < 20; i++) {
        int n = snprintf(text, sizeof text, "a = %d\n", i);
        if (mla__files_put(&files, "train.py", text, (size_t)n, NULL) < 0) return p;
        mla__snapshot s = make(i, i, parent);
        if (mla__snapshots_put(arg->f->snapshots, &s, parent, &files, NULL) < 0) return p;
        memcpy(parent, s.state.commit, sizeof parent);
        if (mla__snapshots_get(arg->f->snapshots, parent, NULL, &back, NULL) < 0) return p;
        bool same = !strcmp(mla__files_get(&back, "train.py")->bytes, text);
        mla__files_clear(&back);
        if (!same) return p;
    }
    memcpy(arg->last, parent, sizeof parent);
    mla__files_clear(&files);
    return NULL;
}

static void test_threads(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0};
    put_text(&files, "train.py", "a = 1\n");
    mla__snapshot root = make(NAN, NAN, "");
    put(f, &root, "", &files);
    mla__files_clear(&files);
    thread_arg args[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        args[i].f = f;
        memcpy(args[i].root, root.state.commit, MLA_OID_HEX);
        assert_int_equal(pthread_create(&threads[i], NULL, chain, &args[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
        assert_string_equal(args[i].last, args[0].last);
    }
}

static void test_speed(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0}, back;
    char *text = mla_alloc(8001, 1);
    memset(text, 'x', 8000);
    put_text(&files, "train.py", text);
    mla__snapshot s = make(NAN, NAN, "");
    put(f, &s, "", &files);
    double began = mla_clock();
    for (int i = 0; i < 200; i++) {
        assert_int_equal(mla__snapshots_get(f->snapshots, s.state.commit, NULL, &back, NULL), 0);
        mla__files_clear(&back);
    }
    double get_ms = (mla_clock() - began) * 1000 / 200;
    began = mla_clock();
    for (int i = 0; i < 100; i++) {
        mla__snapshot c = make(i, i, s.state.commit);
        put(f, &c, s.state.commit, &files);
    }
    double put_ms = (mla_clock() - began) * 1000 / 100;
    print_message("restore %.3f ms, new state %.3f ms\n", get_ms, put_ms);
    assert_true(get_ms < 5);
    free(text);
    mla__files_clear(&files);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_restore, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_git_reads_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test(test_paths),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_speed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
