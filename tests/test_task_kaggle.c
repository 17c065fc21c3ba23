// The tasks whose data a person downloads from a competition, on made-up downloads of the same
// layout (tests/kaggle_download.py): each can be prepared and its starter scores; what a wrong or
// incomplete download is told, and that it leaves nothing.
#include <sys/stat.h>
#include <unistd.h>

#include "base/proc.h"
#include "task/prepare.h"
#include "task/score.h"
#include "task_fixture.h"
#include "toy_task.h"

static void must_run(char *const argv[], const char *cwd) {
    mla_err err = {0};
    mla_buf output;
    mla_buf_init(&output, 1 << 20);
    mla_proc_result result;
    if (mla_proc_run(argv, NULL, cwd, 120, &output, &result, &err) < 0) fail_msg("%s", err.text);
    if (result.exit_code) fail_msg("%s: %s", argv[1], mla_buf_text(&output));
    mla_buf_clear(&output);
}

static void download(const fixture *f, const char *name) {
    char *python = toy_python();
    char *argv[] = {python, "tests/kaggle_download.py", (char *)f->root, (char *)name, NULL};
    must_run(argv, NULL);
    free(python);
}

static char *task_dir(const char *name) {
    return mla_format("tasks/kaggle/%s", name);
}

// `from` is below the fixture's root; NULL: none is given.
static int prepare(const fixture *f, const char *name, const char *from, mla_err *err) {
    char *dir = task_dir(name), *python = toy_python();
    char *full = from ? mla_fs_join(f->root, from) : NULL;
    *err = (mla_err){0};
    int rc = mla_task_prepare_from(dir, full, f->home, python, err);
    free(full);
    free(python);
    free(dir);
    return rc;
}

static void must_prepare(const fixture *f, const char *name, const char *from, int wanted) {
    mla_err err;
    int rc = prepare(f, name, from, &err);
    if (rc < 0) fail_msg("%s", err.text);
    assert_int_equal(rc, wanted);
}

static void must_fail(const fixture *f, const char *name, const char *from, const char *says) {
    mla_err err;
    assert_int_equal(prepare(f, name, from, &err), -1);
    if (!strstr(err.text, says)) fail_msg("'%s', not '%s'", err.text, says);
    assert_null(strchr(err.text, '\n'));
}

static bool home_has(const fixture *f, const char *name) {
    char *path = mla_fs_join(f->home, name);
    bool there = mla_fs_exists(path);
    free(path);
    return there;
}

static void nothing_made(const fixture *f) {
    assert_false(home_has(f, "data/home-data"));
    assert_false(home_has(f, "answers/home-data.csv"));
    assert_false(home_has(f, "versions/home-data.json"));
    assert_false(home_has(f, "staging/home-data"));
}

static void remove_below(const fixture *f, const char *name) {
    mla_err err = {0};
    char *path = mla_fs_join(f->root, name);
    if (mla_fs_remove_tree(path, &err) < 0) fail_msg("%s", err.text);
    free(path);
}

// The starter, in a folder of its own, on the data; its submission must score.
static void starter_scores(const fixture *f, const mla_task *task) {
    mla_err err = {0};
    char *workspace = mla_format("%s/ws-%s", f->root, task->name);
    char *data = mla_fs_join(workspace, "data");
    char *script = mla_fs_join(task->env_dir, task->script), *python = toy_python();
    assert_int_equal(mla_fs_mkdirs(workspace, &err), 0);
    assert_int_equal(symlink(task->data_dir, data), 0);
    char *argv[] = {python, script, NULL};
    must_run(argv, workspace);
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
    char *all[] = {workspace, data, script, python, path};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

// Pillow is installed on demand, which a test does not do.
static bool lacks_packages(const char *name) {
    char *listed = mla_format("tasks/kaggle/%s/requirements.txt", name), *python = toy_python();
    char *argv[] = {python, "-c", "import PIL", NULL};
    mla_err err = {0};
    mla_proc_result result = {0};
    bool wants = mla_fs_exists(listed);
    bool lacks = wants && (mla_proc_run(argv, NULL, NULL, 60, NULL, &result, &err) < 0 ||
                           result.exit_code != 0);
    if (lacks) print_message("%s: left out, as the task Python has no Pillow\n", name);
    free(python);
    free(listed);
    return lacks;
}

static void every_task_can_be_prepared(void **state) {
    (void)state;
    char **names;
    size_t n;
    mla_err err = {0};
    fixture f;
    fixture_begin(&f);
    if (mla_task_list("tasks/kaggle", &names, &n, &err) < 0) fail_msg("%s", err.text);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        if (lacks_packages(names[i])) continue;
        download(&f, names[i]);
        must_prepare(&f, names[i], names[i], 1);
        char *dir = task_dir(names[i]);
        mla_task *task = mla_task_load(dir, f.home, true, &err);
        if (!task) fail_msg("%s", err.text);
        starter_scores(&f, task);
        mla_task_free(task);
        free(dir);
    }
    mla_fs_names_free(names, n);
    fixture_end(&f);
}

static char *version(const fixture *f) {
    mla_err err = {0};
    mla_task *task = mla_task_load("tasks/kaggle/home-data", f->home, true, &err);
    if (!task) fail_msg("%s", err.text);
    char *text = mla_strdup(task->data_version);
    mla_task_free(task);
    return text;
}

static void a_zip_or_a_folder_in_it_is_the_same(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    download(&f, "home-data");
    must_prepare(&f, "home-data", "home-data", 1);
    char *first = version(&f), *python = toy_python();
    char *zip = mla_fs_join(f.root, "all.zip"), *folder = mla_fs_join(f.root, "home-data");
    char *argv[] = {python, "-m", "zipfile", "-c", zip, folder, NULL};
    must_run(argv, NULL);
    must_prepare(&f, "home-data", "all.zip", 1);
    char *second = version(&f);
    assert_string_equal(first, second);
    // Once prepared, it needs no download; a folder around the folder does no harm.
    must_prepare(&f, "home-data", NULL, 0);
    remove_below(&f, "home");
    must_prepare(&f, "home-data", ".", 1);
    char *third = version(&f);
    assert_string_equal(first, third);
    char *all[] = {first, second, third, python, zip, folder};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
    fixture_end(&f);
}

static void a_wrong_download_is_named(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    must_fail(&f, "home-data", NULL, "then: mlagent tasks prepare home-data --from DIR");
    must_fail(&f, "home-data", "nowhere", "/nowhere: there is no such file or folder");
    fixture_write(f.root, "half.zip", "PK\x03\x04 and no more");
    must_fail(&f, "home-data", "half.zip", "half.zip is not a whole zip file");
    fixture_write(f.root, "other/readme.txt", "nothing");
    must_fail(&f, "home-data", "other", "/other has no train.csv: give the competition's whole");
    must_fail(&f, "detecting-insults", "other", "no train.csv, no test_with_solutions.csv");
    fixture_write(f.root, "sealed/train.csv.7z", "?");
    must_fail(&f, "home-data", "sealed", "has no train.csv: unpack train.csv.7z first");
    fixture_write(f.root, "empty/train.csv", "");
    must_fail(&f, "home-data", "empty", "train.csv of ");
    fixture_write(f.root, "short/train.csv", "Id,MSSubClass,MSZoning,LotArea,Neighborhood,"
                  "OverallQual,YearBuilt\n1,2,3,4,5,6,7\n");
    must_fail(&f, "home-data", "short", "has no column GrLivArea, no column SalePrice");
    fixture_write(f.root, "few/train.csv", "Id,MSSubClass,MSZoning,LotArea,Neighborhood,"
                  "OverallQual,YearBuilt,GrLivArea,SalePrice\n1,2,3,4,5,6,7,8,9\n");
    must_fail(&f, "home-data", "few", "only 1 rows that differ: a task needs 20");
    fixture_write(f.root, "bad/train.csv.zip", "PK no zip");
    must_fail(&f, "home-data", "bad", "File is not a zip file");
    nothing_made(&f);
    fixture_end(&f);
}

static void a_failure_keeps_the_former_data(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    download(&f, "home-data");
    must_prepare(&f, "home-data", "home-data", 1);
    char *before = version(&f);
    fixture_write(f.root, "other/readme.txt", "nothing");
    must_fail(&f, "home-data", "other", "has no train.csv");
    char *after = version(&f);
    assert_string_equal(before, after);
    free(before);
    free(after);
    fixture_end(&f);
}

static void they_are_not_among_the_listed(void **state) {
    (void)state;
    char **names;
    size_t n;
    mla_err err = {0};
    if (mla_task_list("tasks", &names, &n, &err) < 0) fail_msg("%s", err.text);
    for (size_t i = 0; i < n; i++) {
        char *dir = task_dir(names[i]);
        assert_string_not_equal(names[i], "kaggle");
        assert_false(mla_fs_exists(dir));       // nor may one have the name of a listed one
        free(dir);
    }
    mla_fs_names_free(names, n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_can_be_prepared),
        cmocka_unit_test(a_zip_or_a_folder_in_it_is_the_same),
        cmocka_unit_test(a_wrong_download_is_named),
        cmocka_unit_test(a_failure_keeps_the_former_data),
        cmocka_unit_test(they_are_not_among_the_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
