// The run cache: what is kept and what is not, keys that change with all that a run depends on,
// several askers at once, and a file that is no cache.
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "env/cache.h"
#include "env/internal.h"

typedef struct {
    char dir[64];
    char *path;
    mla__cache *cache;
} fixture;

static int setup(void **state) {
    fixture *f = MLA_NEW(fixture);
    snprintf(f->dir, sizeof f->dir, "/tmp/mla_cache_XXXXXX");
    if (!mkdtemp(f->dir)) return -1;
    f->path = mla_fs_join(f->dir, "exec.sqlite");
    f->cache = mla__cache_open(f->path, NULL);
    *state = f;
    return f->cache ? 0 : -1;
}

static int teardown(void **state) {
    fixture *f = *state;
    mla__cache_free(f->cache);
    int rc = mla_fs_remove_tree(f->dir, NULL);
    free(f->path);
    free(f);
    return rc;
}

static void key_of(char key[65], const char *text) {
    mla_sha256(text, strlen(text), key);
}

static void test_kept(void **state) {
    fixture *f = *state;
    for (int o = 0; o < MLA_OUTCOME_COUNT; o++) {
        bool kept = o == MLA_OUTCOME_OK || o == MLA_OUTCOME_SCRIPT_ERROR ||
                    o == MLA_OUTCOME_NO_SUBMISSION || o == MLA_OUTCOME_BAD_SUBMISSION;
        char key[65];
        key_of(key, mla_outcome_name((mla_outcome)o));
        mla__result in = {.outcome = (mla_outcome)o, .error_type = o ? (char *)"ValueError" : NULL,
                          .out = "\xC3\xA9\n", .err = "", .score = {0.1 + 0.2, NAN},
                          .seconds = 1.5, .peak_mb = 99,
                          .flags = MLA_FLAG_COPIED_SAMPLE | MLA_FLAG_CONSTANT_PREDICTIONS};
        mla__result out;
        assert_int_equal(mla__cache_begin(f->cache, key, &out, NULL), 0);
        assert_int_equal(mla__cache_end(f->cache, key, &in, NULL), 0);
        mla__cache_free(f->cache);
        f->cache = mla__cache_open(f->path, NULL);
        assert_int_equal(mla__cache_begin(f->cache, key, &out, NULL), kept);
        if (!kept) {
            assert_int_equal(mla__cache_end(f->cache, key, NULL, NULL), 0);
            continue;
        }
        assert_int_equal(out.outcome, o);
        if (o) assert_string_equal(out.error_type, "ValueError");
        else assert_null(out.error_type);
        assert_string_equal(out.out, in.out);
        assert_string_equal(out.err, "");
        assert_true(out.score.public_half == in.score.public_half);
        assert_true(isnan(out.score.private_half));
        assert_true(out.seconds == 1.5 && out.peak_mb == 99);
        assert_int_equal(out.flags, in.flags);
        mla__result_clear(&out);
    }
}

static void test_keys(void **state) {
    (void)state;
    mla_task task = {.name = "toy", .id_column = "id", .target_columns = (char *[]){"y"},
                     .target_count = 1, .splits = 1, .data_version = "v1", .limits = {10, 500}};
    mla__files files = {.len = 0};
    assert_int_equal(mla__files_put(&files, "a.py", "b.py", 4, NULL), 0);
    char keys[13][65];
    mla__cache_key(keys[0], &task, "a.py", &files, "python 3.11");
    mla__cache_key(keys[1], &task, "b.py", &files, "python 3.11");
    mla__cache_key(keys[2], &task, "a.py", &files, "python 3.12");
    mla_task other = task;
    other.data_version = "v2";
    mla__cache_key(keys[3], &other, "a.py", &files, "python 3.11");
    other = task;
    other.limits.seconds = 11;
    mla__cache_key(keys[4], &other, "a.py", &files, "python 3.11");
    other = task;
    other.limits.memory_mb = 501;
    mla__cache_key(keys[5], &other, "a.py", &files, "python 3.11");
    other = task;
    other.name = "toy2";
    mla__cache_key(keys[6], &other, "a.py", &files, "python 3.11");
    assert_int_equal(mla__files_put(&files, "b.py", "", 0, NULL), 0);
    mla__cache_key(keys[7], &task, "a.py", &files, "python 3.11");
    assert_int_equal(mla__files_put(&files, "b.py", "x", 1, NULL), 0);
    mla__cache_key(keys[8], &task, "a.py", &files, "python 3.11");
    mla__files_clear(&files);
    // The same bytes cut otherwise into name and content.
    assert_int_equal(mla__files_put(&files, "a.pyb", ".py", 3, NULL), 0);
    mla__cache_key(keys[9], &task, "a.py", &files, "python 3.11");
    mla__files_clear(&files);
    assert_int_equal(mla__files_put(&files, "a.py", "b.py", 4, NULL), 0);
    other = task;
    other.splits = 2;
    mla__cache_key(keys[10], &other, "a.py", &files, "python 3.11");
    other = task;
    other.target_columns = (char *[]){"y", "z"};
    other.target_count = 2;
    mla__cache_key(keys[11], &other, "a.py", &files, "python 3.11");
    other = task;
    other.classes = (char *[]){"y", "z"};
    other.class_count = 2;
    mla__cache_key(keys[12], &other, "a.py", &files, "python 3.11");
    mla__files_clear(&files);
    for (int i = 0; i < 13; i++)
        for (int j = 0; j < i; j++) assert_string_not_equal(keys[i], keys[j]);
}

typedef struct {
    mla__cache *cache;
    int *runs;               // counted without a lock: only one asker may run
    int hit;
} asker;

static void *ask(void *p) {
    asker *a = p;
    char key[65];
    key_of(key, "shared");
    mla__result r;
    a->hit = mla__cache_begin(a->cache, key, &r, NULL);
    if (a->hit == 0) {
        usleep(50000);
        ++*a->runs;
        mla__result made = {.outcome = MLA_OUTCOME_OK, .score = {1, 2}};
        if (mla__cache_end(a->cache, key, &made, NULL) < 0) a->hit = -1;
    } else {
        mla__result_clear(&r);
    }
    return NULL;
}

static void test_one_runs(void **state) {
    fixture *f = *state;
    int runs = 0, hits = 0;
    asker askers[8];
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        askers[i] = (asker){f->cache, &runs, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, ask, &askers[i]), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        hits += askers[i].hit;
    }
    assert_int_equal(runs, 1);
    assert_int_equal(hits, 7);
}

static void test_bad_file(void **state) {
    fixture *f = *state;
    mla_err err = {{0}};
    char *path = mla_fs_join(f->dir, "other.sqlite");
    char *text = mla_format("%0*d", 8192, 7);
    assert_int_equal(mla_fs_write(path, text, strlen(text), NULL), 0);
    assert_null(mla__cache_open(path, &err));
    assert_non_null(strstr(err.text, "other.sqlite"));
    assert_null(mla__cache_open(f->dir, &err));
    free(text);
    free(path);
}

static int put(mla__cache *c, int number, double seconds, const char *out) {
    char *name = mla_format("row %d", number), key[65];
    key_of(key, name);
    free(name);
    mla__result r, made = {.outcome = MLA_OUTCOME_OK, .out = (char *)out, .seconds = seconds};
    int hit = mla__cache_begin(c, key, &r, NULL);
    if (hit == 1) mla__result_clear(&r);
    if (hit == 0 && mla__cache_end(c, key, &made, NULL) < 0) hit = -1;
    return hit;
}

static int run_sql(const char *path, const char *sql) {
    sqlite3 *db = NULL;
    int rc = sqlite3_open(path, &db);
    if (rc == SQLITE_OK) rc = sqlite3_exec(db, sql, NULL, NULL, NULL);
    sqlite3_close(db);
    return rc;
}

static void test_stats_and_prune(void **state) {
    fixture *f = *state;
    mla_cache_stats s;
    char *big = mla_format("%0*d", 100000, 7);
    for (int i = 0; i < 30; i++) assert_int_equal(put(f->cache, i, 2, big), 0);
    for (int i = 0; i < 3; i++) assert_int_equal(put(f->cache, 5, 2, big), 1);
    assert_int_equal(mla_cache_stats_get(f->path, &s, NULL), 0);
    assert_true(s.rows == 30 && s.hits == 3 && s.run_seconds == 60 && s.saved_seconds == 6);
    int64_t full = s.bytes;
    assert_true(full > 3000000);
    // Ten rows were last used ten days ago, one of them yesterday after all.
    static const char ages[] = "UPDATE runs SET used = unixepoch() - 864000 WHERE rowid <= 10;"
                               "UPDATE runs SET used = unixepoch() - 86400 WHERE rowid = 1";
    assert_int_equal(run_sql(f->path, ages), 0);
    assert_int_equal(mla_cache_prune(f->path, 5, -1, NULL), 9);
    assert_int_equal(mla_cache_prune(f->path, -1, 1, NULL), 11);       // 10 of 0.1 MB fit
    assert_int_equal(mla_cache_stats_get(f->path, &s, NULL), 0);
    assert_int_equal(s.rows, 10);
    assert_true(s.bytes < full / 2);
    assert_int_equal(put(f->cache, 0, 2, big), 0);                     // the oldest went first
    mla_err err = {{0}};
    assert_int_equal(mla_cache_stats_get("/nowhere/exec.sqlite", &s, &err), -1);
    assert_non_null(strstr(err.text, "no run cache"));
    free(big);
}

static void test_version_1_is_taken_over(void **state) {
    fixture *f = *state;
    char *path = mla_fs_join(f->dir, "old.sqlite");
    assert_int_equal(run_sql(path, "CREATE TABLE runs (key TEXT PRIMARY KEY, outcome TEXT NOT NULL,"
        " error_type TEXT, out BLOB, err BLOB, score_public REAL, score_private REAL, seconds REAL,"
        " peak_mb REAL); INSERT INTO runs (key, outcome, seconds) VALUES ('k', 'ok', 4);"
        "PRAGMA user_version = 1"), 0);
    mla_cache_stats s;
    assert_int_equal(mla_cache_stats_get(path, &s, NULL), 0);
    assert_true(s.rows == 1 && s.hits == 0 && s.run_seconds == 4);
    assert_int_equal(mla_cache_prune(path, 1, -1, NULL), 0);
    free(path);
}

// Whether the row of a name is found; if not, it is filled with a run of this score and flags.
static int ask_again(mla__cache *c, const char *name, double score, unsigned flags,
                     mla__result *r) {
    char key[65];
    key_of(key, name);
    int hit = mla__cache_begin(c, key, r, NULL);
    const mla__result made = {.outcome = MLA_OUTCOME_OK, .score = {score, NAN}, .flags = flags};
    if (hit == 0) assert_int_equal(mla__cache_end(c, key, &made, NULL), 0);
    return hit;
}

// Rows of before there were flags: a failure has none; a scored run is run again once, its other
// numbers staying as they were.
static void expect_unknown_flags_filled(mla__cache *c) {
    mla__result r;
    assert_int_equal(ask_again(c, "failed", 0, 0, &r), 1);
    assert_int_equal(r.outcome, MLA_OUTCOME_SCRIPT_ERROR);
    assert_int_equal(r.flags, 0);
    mla__result_clear(&r);
    assert_int_equal(ask_again(c, "scored", 0.25, MLA_FLAG_COPIED_SAMPLE, &r), 0);
    assert_int_equal(ask_again(c, "scored", 0, 0, &r), 1);
    assert_int_equal(r.flags, MLA_FLAG_COPIED_SAMPLE);
    assert_true(r.score.public_half == 0.5);
    mla__result_clear(&r);
}

static void test_old_rows_get_their_flags(void **state) {
    fixture *f = *state;
    static const char *const hits_and_used[] = {
        "", ", hits INTEGER NOT NULL DEFAULT 0, used INTEGER NOT NULL DEFAULT 0"};
    char scored[65], failed[65];
    key_of(scored, "scored");
    key_of(failed, "failed");
    for (int version = 1; version <= 2; version++) {
        char *path = mla_format("%s/version_%d.sqlite", f->dir, version);
        char *sql = mla_format(
            "CREATE TABLE runs (key TEXT PRIMARY KEY, outcome TEXT NOT NULL, error_type TEXT, out "
            "BLOB, err BLOB, score_public REAL, score_private REAL, seconds REAL, peak_mb REAL%s);"
            "INSERT INTO runs (key, outcome, score_public) VALUES ('%s', 'ok', 0.5), "
            "('%s', 'script error', NULL); PRAGMA user_version = %d",
            hits_and_used[version - 1], scored, failed, version);
        assert_int_equal(run_sql(path, sql), 0);
        mla_err err = {{0}};
        mla__cache *c = mla__cache_open(path, &err);
        if (!c) fail_msg("%s", err.text);
        expect_unknown_flags_filled(c);
        mla__cache_free(c);
        free(sql);
        free(path);
    }
}

static void test_later_version_is_refused(void **state) {
    fixture *f = *state;
    mla_err err = {{0}};
    char *path = mla_fs_join(f->dir, "later.sqlite");
    assert_int_equal(run_sql(path, "PRAGMA user_version = 4"), 0);
    assert_null(mla__cache_open(path, &err));
    assert_non_null(strstr(err.text, "another version (4)"));
    free(path);
}

// Opens a new cache at the same time as others and writes or reads rows; one also prunes.
static int share(const char *path, int rows, bool prunes) {
    mla_err err = {{0}};
    mla__cache *c = mla__cache_open(path, &err);
    int bad = !c;
    for (int i = 0; c && !bad && i < rows; i++) {
        bad = put(c, i, 1, "x") < 0;
        if (bad) snprintf(err.text, sizeof err.text, "row %d was neither read nor written", i);
        if (prunes && i % 50 == 0) bad |= mla_cache_prune(path, -1, 0.02, &err) < 0;
    }
    mla__cache_free(c);
    if (bad) fprintf(stderr, "%s\n", err.text);
    return bad;
}

// How many of four processes at once fail in share(); all have ended.
static int failed_shares(const char *path, int rows) {
    int failed = 0, status;
    for (int i = 0; i < 4; i++) {
        if (fork() == 0) _exit(share(path, rows, i == 0));
    }
    while (wait(&status) > 0) failed += status != 0;
    return failed;
}

static void test_processes_share(void **state) {
    fixture *f = *state;
    char *path = mla_fs_join(f->dir, "shared.sqlite");
    assert_int_equal(failed_shares(path, 200), 0);
    mla_cache_stats s;
    assert_int_equal(mla_cache_stats_get(path, &s, NULL), 0);
    assert_in_range(s.rows, 50, 200);
    free(path);
}

// Most failures to open a new file together show within some hundred tries.
static void test_processes_open_a_new_file(void **state) {
    fixture *f = *state;
    int failed = 0;
    for (int round = 0; round < 200; round++) {
        char *path = mla_format("%s/new_%d.sqlite", f->dir, round);
        failed += failed_shares(path, 0);
        free(path);
    }
    assert_int_equal(failed, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
        cmocka_unit_test(test_keys),
        cmocka_unit_test_setup_teardown(test_one_runs, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_stats_and_prune, setup, teardown),
        cmocka_unit_test_setup_teardown(test_version_1_is_taken_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_old_rows_get_their_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(test_later_version_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_processes_share, setup, teardown),
        cmocka_unit_test_setup_teardown(test_processes_open_a_new_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
