// As test_task_kaggle, for the tasks whose starters want torch: they are run where it is installed,
// which a test does not do; elsewhere their data alone is made.
#include "kaggle_fixture.h"

static void every_task_of_torch_can_be_prepared(void **state) {
    (void)state;
    prepare_those(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_task_of_torch_can_be_prepared),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
