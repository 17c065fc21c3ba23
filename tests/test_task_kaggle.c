// The tasks whose data a person downloads from a competition, on made-up downloads of the same
// layout (tests/kaggle_download.py): each can be prepared and its starter scores; what a wrong
// download is told, and that it leaves nothing. test_task_kaggle_torch has those of torch.
#include "kaggle_fixture.h"

static void download(const fixture *f, const char *name) {
    run_for(f, "tests/kaggle_download.py", (char *[]){(char *)name}, 1);
}

static void remove_below(const fixture *f, const char *name) {
    mla_err err = {0};
    char *path = mla_fs_join(f->root, name);
    if (mla_fs_remove_tree(path, &err) < 0) fail_msg("%s", err.text);
    free(path);
}

static void every_task_of_the_task_python_can_be_prepared(void **state) {
    (void)state;
    prepare_those(false);
}

// The tasks with packages of their own have one list, so that it is installed once.
static void there_is_one_list_of_packages(void **state) {
    (void)state;
    static const char *const names[] = {"aerial-cactus", "cifar-10", "denoising-dirty-documents",
                                        "dogs-vs-cats", "ogbn-arxiv", "plant-pathology",
                                        "statoil-iceberg", "whale"};
    fixture f;
    fixture_begin(&f);
    mla_task *first = load_task(&f, names[0], false), *none = load_task(&f, "home-data", false);
    assert_non_null(first->wheels);
    assert_null(none->wheels);
    for (size_t i = 1; i < MLA_COUNT(names); i++) {
        mla_task *task = load_task(&f, names[i], false);
        assert_string_equal(task->wheels, first->wheels);
        mla_task_free(task);
    }
    mla_task_free(none);
    mla_task_free(first);
    fixture_end(&f);
}

static char *version(const fixture *f) {
    mla_task *task = load_task(f, "home-data", true);
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
    nothing_made(&f, "home-data");
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
        cmocka_unit_test(every_task_of_the_task_python_can_be_prepared),
        cmocka_unit_test(there_is_one_list_of_packages),
        cmocka_unit_test(a_zip_or_a_folder_in_it_is_the_same),
        cmocka_unit_test(a_wrong_download_is_named),
        cmocka_unit_test(a_failure_keeps_the_former_data),
        cmocka_unit_test(they_are_not_among_the_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
