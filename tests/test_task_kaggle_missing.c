// Incomplete downloads of competitions' data: each of the tasks says in one line which file or
// column it misses, and nothing half-made stays.
#include "kaggle_fixture.h"

static void every_task_says_what_a_download_lacks(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    fixture_write(f.root, "other/readme.txt", "nothing");
    char **names = kaggle_names();
    for (size_t i = 0; i < KAGGLE_TASKS; i++) {
        must_fail(&f, names[i], "other", "/other has no ");
        nothing_made(&f, names[i]);
    }
    mla_fs_names_free(names, KAGGLE_TASKS);
    fixture_end(&f);
}

static void each_wanted_file_and_column_is_missed(void **state) {
    (void)state;
    fixture f;
    fixture_begin(&f);
    char **names = kaggle_names();
    run_for(&f, "tests/kaggle_broken.py", names, KAGGLE_TASKS);
    mla_fs_names_free(names, KAGGLE_TASKS);
    fixture_end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_says_what_a_download_lacks),
        cmocka_unit_test(each_wanted_file_and_column_is_missed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
