// States in git: equal states have one id, the content comes back byte for byte, undo and scores
// survive, several threads and a reopened repository agree, the git command can read it all, and
// neither a kill nor a power cut leaves what cannot be read.
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/proc.h"
#include "env/internal.h"
#include "record/store.h"

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
    mla__snapshot more = make(0.8, 0.8, child.state.commit);
    put(f, &more, child.state.commit, &files);
    git_output(f, &out, (char *[]){"--work-tree", f->dir, "checkout", "-f", "-q",
                                   more.state.commit, "--", "train.py", NULL});
    mla_buf_clear(&out);
    char *path = mla_fs_join(f->dir, "train.py");
    mla_buf text;
    mla_buf_init(&text, 100);
    assert_int_equal(mla_fs_read(path, 100, &text, NULL), 0);
    assert_string_equal(mla_buf_text(&text), "a = 1\nb = 3\n");
    mla_buf_clear(&text);
    free(path);
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

static size_t count_objects(const fixture *f) {
    mla_buf out;
    git_output(f, &out, (char *[]){"cat-file", "--batch-all-objects", "--batch-check", NULL});
    size_t n = 0;
    for (const char *p = mla_buf_text(&out); (p = strchr(p, '\n')); p++) n++;
    mla_buf_clear(&out);
    return n;
}

static void expect_fsck(const fixture *f) {
    mla_buf out;
    git_output(f, &out, (char *[]){"fsck", "--strict", "--full", NULL});
    mla_buf_clear(&out);
}

static void test_nothing_twice(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0};
    for (int i = 0; i < 10; i++) {
        char name[16];
        snprintf(name, sizeof name, "f%d.py", i);
        put_text(&files, name, name);
    }
    mla__snapshot root = make(NAN, NAN, "");
    put(f, &root, "", &files);
    assert_int_equal(count_objects(f), 12);        // 10 files, a tree, a commit
    for (int i = 0; i < 50; i++) {
        mla__snapshot same = make(NAN, NAN, "");
        put(f, &same, "", &files);
    }
    assert_int_equal(count_objects(f), 12);
    for (int i = 0; i < 50; i++) {                 // the same files, reached otherwise
        mla__snapshot s = make(i, i, root.state.commit);
        put(f, &s, root.state.commit, &files);
    }
    assert_int_equal(count_objects(f), 62);
    put_text(&files, "f3.py", "another");
    mla__snapshot other = make(0.5, 0.5, root.state.commit);
    put(f, &other, root.state.commit, &files);
    assert_int_equal(count_objects(f), 65);        // one file, a tree, a commit
    mla__files_clear(&files);
}

// A chain of states, each named in a file of lines once it is put; until it is killed.
static void put_for_ever(const char *path, const char *lines_path, int started) {
    mla__snapshots *s = mla__snapshots_open(path, NULL);
    mla_lines *lines = mla_lines_open(lines_path, NULL);
    char parent[MLA_OID_HEX] = "";
    for (int i = 0; s && lines; i++) {
        mla__files files = {.len = 0};
        for (int k = 0; k < 3; k++) {
            char name[16], text[32];
            snprintf(name, sizeof name, "f%d.py", k);
            int n = snprintf(text, sizeof text, "a = %d\n", i * (k + 1));
            if (mla__files_put(&files, name, text, (size_t)n, NULL) < 0) return;
        }
        mla__snapshot snap = make(i, i, parent);
        if (mla__snapshots_put(s, &snap, parent, &files, NULL) < 0) return;
        memcpy(parent, snap.state.commit, sizeof parent);
        mla__files_clear(&files);
        json_t *line = json_pack("{s:s}", "commit", parent);
        if (mla_lines_append_take(lines, line, NULL) < 0 || write(started, "x", 1) != 1) return;
    }
}

static int read_named(void *ctx, json_t *line, mla_err *err) {
    fixture *f = ((void **)ctx)[0];
    int *count = ((void **)ctx)[1];
    mla__files files;
    const char *id = mla_json_get_text(line, "commit", "");
    if (mla__snapshots_get(f->snapshots, id, NULL, &files, err) < 0) return -1;
    ++*count;
    mla__files_clear(&files);
    return 0;
}

// Killed after so many states and a moment more, which falls anywhere in the next ones.
static void test_killed(void **state) {
    fixture *f = *state;
    mla__snapshots_free(f->snapshots);
    f->snapshots = NULL;
    for (int round = 0; round < 12; round++) {
        char *lines = mla_format("%s/lines_%d.jsonl", f->dir, round), byte;
        int ends[2], wanted = 1 + 3 * round, count = 0;
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            put_for_ever(f->path, lines, ends[1]);
            _exit(1);
        }
        close(ends[1]);
        for (int i = 0; i < wanted; i++) assert_int_equal(read(ends[0], &byte, 1), 1);
        usleep((useconds_t)round * 83);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(ends[0]);
        f->snapshots = mla__snapshots_open(f->path, NULL);
        assert_non_null(f->snapshots);
        mla_err err = {{0}};
        if (mla_lines_read(lines, read_named, (void *[]){f, &count}, &err) < 0) {
            fail_msg("%s", err.text);
        }
        assert_true(count >= wanted);
        mla__snapshots_free(f->snapshots);
        f->snapshots = NULL;
        expect_fsck(f);
        free(lines);
    }
}

static void cut_object(const fixture *f, const char *spec) {
    mla_buf id;
    git_output(f, &id, (char *[]){"rev-parse", (char *)(uintptr_t)spec, NULL});
    char *path = mla_format("%s/objects/%.2s/%.38s", f->path, id.data, id.data + 2);
    assert_int_equal(remove(path), 0);             // objects are read-only files
    assert_int_equal(mla_fs_write(path, "", 0, NULL), 0);
    free(path);
    mla_buf_clear(&id);
}

static void test_power_cut(void **state) {
    fixture *f = *state;
    mla__files files = {.len = 0}, back;
    put_text(&files, "train.py", "a = 1\n");
    mla__snapshot root = make(NAN, NAN, "");
    put(f, &root, "", &files);
    put_text(&files, "train.py", "a = 2\n");
    mla__snapshot child = make(0.5, 0.5, root.state.commit);
    put(f, &child, root.state.commit, &files);
    mla__snapshots_free(f->snapshots);
    // As a machine may leave it that went down before all was on the disk.
    char *blob = mla_format("%s:train.py", child.state.commit);
    cut_object(f, blob);
    cut_object(f, child.state.commit);
    char *mark = mla_fs_join(f->path, "mlagent-boot");
    assert_int_equal(mla_fs_write(mark, "another boot", 12, NULL), 0);
    mla_err err = {{0}};
    f->snapshots = mla__snapshots_open(f->path, &err);
    if (!f->snapshots) fail_msg("%s", err.text);
    expect_fsck(f);
    assert_int_equal(mla__snapshots_get(f->snapshots, root.state.commit, NULL, NULL, &err), 0);
    assert_int_equal(mla__snapshots_get(f->snapshots, child.state.commit, NULL, NULL, &err), -1);
    mla__snapshot again = make(0.5, 0.5, root.state.commit);
    put(f, &again, root.state.commit, &files);
    assert_string_equal(again.state.commit, child.state.commit);
    assert_int_equal(mla__snapshots_get(f->snapshots, again.state.commit, NULL, &back, &err), 0);
    assert_string_equal(mla__files_get(&back, "train.py")->bytes, "a = 2\n");
    expect_fsck(f);
    mla__files_clear(&back);
    mla__files_clear(&files);
    free(blob);
    free(mark);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_restore, setup, teardown),
        cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
        cmocka_unit_test_setup_teardown(test_git_reads_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test(test_paths),
        cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_power_cut, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
