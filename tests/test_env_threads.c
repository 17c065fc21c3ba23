// Threads of a script's OpenMP and joblib: one by default, more when its runner says so, and the
// next run of the same warm Python is as the first. BLAS always has one.
#include "runner_fixture.h"

static const char count_py[] =
    "import os, numpy, sklearn.linear_model, threadpoolctl\n"
    "a = numpy.ones((300, 300))\n"
    "assert ((a @ a) == 300).all()\n"
    "pools = threadpoolctl.threadpool_info()\n"
    "print(sorted({(p['user_api'], p['num_threads']) for p in pools}),\n"
    "      os.environ['OMP_NUM_THREADS'], os.environ['LOKY_MAX_CPU_COUNT'])\n";

static void test_one(void **state) {
    (void)state;
    run_script(count_py);
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("[('blas', 1), ('openmp', 1)] 1 1\n");
}

static void test_two(void **state) {
    (void)state;
    char *root = mla_fs_join(home, "data");
    mla_runner_options options = {.python = python, .data_root = root, .threads = 2};
    mla_runner *usual = runner;
    runner = mla__runner_create(&options, &err);
    if (!runner) fail_msg("%s", err.text);
    for (int i = 0; i < 2; i++) {
        run_script(count_py);
        expect(MLA_OUTCOME_OK, NULL);
        expect_out("[('blas', 1), ('openmp', 2)] 2 2\n");
    }
    mla__runner_free(runner);
    runner = usual;
    free(root);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_one, clear_result),
        cmocka_unit_test_teardown(test_two, clear_result),
    };
    return run_with_runner(tests, "threads of a script");
}
