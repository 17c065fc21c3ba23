// 1,000 runs in a row and 200 time-outs in a row, of all the ways in which scripts end: afterwards
// no process, zombie, descriptor, mount, temporary file or control group is there that was not
// before, and the warm Python is the same one and no larger. In short: test_env_runner.c.
#include "runner_fixture.h"

#include "env/sandbox.h"
#include "leaks.h"

#define RUNS 1000
#define TIME_OUTS 200
#define GROWTH_MB 8            // of the warm Python, over all runs

static const char *const scripts[] = {
    "pass\n",
    "print('x' * 100000)\nopen('submission.csv', 'w').write('id,y\\n1,1\\n')\n",
    "raise ValueError\n",
    "import os\nif os.fork() == 0: os.setsid(); os.fork(); import time; time.sleep(60)\n",
    "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n",
    "import os\nfor d in ('.', '/tmp', '/dev/shm'):\n"
    "    for i in range(20): open(f'{d}/{i}', 'wb').write(bytes(1 << 16))\n",
    "import multiprocessing as m\nwith m.Pool(2) as p: print(p.map(abs, [-1, 2]))\n",
    "import os\nos._exit(3)\n",
};

// Resident memory of the warm Python in MB.
static double warm_mb(void) {
    char path[40];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)runner->warm.pid);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1 << 20);
}

static void expect_same(const leaks *before) {
    leaks after = leaks_count(getenv("TMPDIR"));
    leaks_print("before", before);
    leaks_print("after", &after);
    assert_true(leaks_same(before, &after));
}

static void a_thousand_runs(void **state) {
    (void)state;
    run_script(scripts[0]);
    leaks before = leaks_count(getenv("TMPDIR"));
    pid_t warm = runner->warm.pid;
    double mb = warm_mb(), began = mla_clock(), mean = 0;
    size_t ended[MLA_OUTCOME_COUNT] = {0};
    for (int i = 0; i < RUNS; i++) {
        run_script(scripts[(size_t)i % MLA_COUNT(scripts)]);
        if (result.outcome == MLA_OUTCOME_TIME_OUT) printf("run %d: %.1f s\n", i, result.seconds);
        ended[result.outcome]++;
        mean += result.seconds / RUNS;
    }
    printf("%d runs: %.1f s, of a run %.1f ms, in the script %.1f ms; the warm Python: %.1f MB, "
           "then %.1f MB\n", RUNS, mla_clock() - began, (mla_clock() - began) * 1000 / RUNS,
           mean * 1000, mb, warm_mb());
    expect_same(&before);
    assert_int_equal(runner->warm.pid, warm);
    assert_true(warm_mb() < mb + GROWTH_MB);
    assert_int_equal(ended[MLA_OUTCOME_OK], RUNS / 8 * 5);
    assert_int_equal(ended[MLA_OUTCOME_SCRIPT_ERROR], RUNS / 8 * 2);
    assert_int_equal(ended[MLA_OUTCOME_KILLED], RUNS / 8);
}

static void two_hundred_time_outs(void **state) {
    (void)state;
    run_script(scripts[0]);
    leaks before = leaks_count(getenv("TMPDIR"));
    pid_t warm = runner->warm.pid;
    double began = mla_clock(), mean = 0;
    for (int i = 0; i < TIME_OUTS; i++) {
        request.seconds = 0.2;
        run_script("import os, signal, time\n"
                   "for s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)\n"
                   "for i in range(3):\n"
                   "    if os.fork() == 0: os.setsid(); os.fork()\n"
                   "open('/tmp/x', 'wb').write(bytes(1 << 20))\n"
                   "while True: time.sleep(1)\n");
        expect(MLA_OUTCOME_TIME_OUT, NULL);
        mean += result.seconds / TIME_OUTS;
    }
    printf("%d time-outs: %.1f s, in the script %.1f ms of 200\n", TIME_OUTS, mla_clock() - began,
           mean * 1000);
    expect_same(&before);
    assert_int_equal(runner->warm.pid, warm);
}

static void the_end_leaves_nothing(void **state) {
    (void)state;
    mla__runner_free(runner);
    runner = NULL;
    leaks after = leaks_count(getenv("TMPDIR"));
    leaks_print("after the end", &after);
    assert_int_equal(after.descendants, 0);
    assert_int_equal(after.groups, 0);
    assert_int_equal(after.temporary, 2);          // "." and ".."
}

#define T(name) cmocka_unit_test_teardown(name, clear_result)

int main(void) {
    const struct CMUnitTest tests[] = {T(a_thousand_runs), T(two_hundred_time_outs),
                                       T(the_end_leaves_nothing)};
    return run_with_runner(tests, "long_env_runs");
}
