// A warm Python, or process 1 of a run, that dies or hangs at any moment: it is replaced with all
// that hangs on it, a run that had not begun is done again, one that had is nobody's success.
#include "runner_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "env/sandbox.h"
#include "leaks.h"

#define PATIENCE 2.0

// ---- others that interfere -------------------------------------------------------------------

static pid_t first_child(pid_t parent) {
    char path[80];
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)parent, (int)parent);
    FILE *file = fopen(path, "r");
    int child = 0;
    if (file && fscanf(file, "%d", &child) != 1) child = 0;
    if (file) fclose(file);
    return child;
}

typedef struct {
    pid_t warm, init, script;
} run_pids;

// Waits until the script says that it is there, by a file "ready" in its workspace.
static run_pids await_script(void) {
    run_pids p = {.warm = runner->warm.pid};
    char path[80] = "";
    do {
        usleep(2000);
        p.init = first_child(p.warm);
        p.script = p.init ? first_child(p.init) : 0;
        snprintf(path, sizeof path, "/proc/%d/cwd/ready", (int)p.script);
    } while (!p.script || access(path, F_OK) < 0);
    return p;
}

// A process that does `what` once the script is there.
static pid_t while_it_runs(void (*what)(run_pids)) {
    pid_t pid = fork();
    if (pid) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(600);
    what(await_script());
    _exit(0);
}

static const char waiting[] = "import time\nopen('ready', 'w').close()\ntime.sleep(30)\n";

static void expect_replaced(size_t before) {
    assert_int_equal(mla__runner_replaced(runner), before + 1);
    assert_int_equal(leaks_descendants(), 2);        // bubblewrap and the new Python
    runner->patience = 20;
    run_script("import os\nprint(sorted(os.listdir()))\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("['data', 'train.py']\n");
    assert_int_equal(mla__runner_replaced(runner), before + 1);
}

// The run is lost, and the next one finds another Python.
static void lose_run(void (*what)(run_pids), const char *why) {
    size_t before = mla__runner_replaced(runner);
    pid_t other = while_it_runs(what);
    run_script(waiting);
    expect(MLA_OUTCOME_SANDBOX_FAILED, why);
    assert_false(result.has_submission);
    waitpid(other, NULL, 0);
    expect_replaced(before);
}

// ---- between runs, and before a script begins ------------------------------------------------

static void one_that_is_frozen_is_replaced(void **state) {
    (void)state;
    size_t before = mla__runner_replaced(runner);
    runner->patience = PATIENCE;
    assert_int_equal(kill(runner->warm.pid, SIGSTOP), 0);
    run_script("print(1)\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("1\n");
    expect_replaced(before);
}

static void one_that_dies_with_a_request_in_hand_is_replaced(void **state) {
    (void)state;
    size_t before = mla__runner_replaced(runner);
    pid_t warm = runner->warm.pid, killer;
    assert_int_equal(kill(warm, SIGSTOP), 0);
    if ((killer = fork()) == 0) {
        usleep(200000);
        kill(warm, SIGKILL);
        _exit(0);
    }
    run_script("print(2)\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("2\n");
    waitpid(killer, NULL, 0);
    expect_replaced(before);
}

// ---- under a run -----------------------------------------------------------------------------

static void kill_warm(run_pids p) {
    kill(p.warm, SIGKILL);
}

static void freeze_warm(run_pids p) {
    kill(p.warm, SIGSTOP);
    kill(p.script, SIGTERM);
}

static void kill_init(run_pids p) {
    kill(p.init, SIGKILL);
}

static void freeze_init(run_pids p) {
    kill(p.init, SIGSTOP);
}

static void one_that_dies_under_a_run_is_replaced(void **state) {
    (void)state;
    lose_run(kill_warm, "the warm Python ended");
}

static void one_that_freezes_under_a_run_is_replaced(void **state) {
    (void)state;
    runner->patience = PATIENCE;
    lose_run(freeze_warm, "a run did not end");
}

static void a_run_without_its_process_1_is_lost(void **state) {
    (void)state;
    lose_run(kill_init, "a run ended without a report");
}

// The script is not saved by it: our own clock goes on.
static void a_frozen_process_1_is_ended_by_the_clock(void **state) {
    (void)state;
    size_t before = mla__runner_replaced(runner);
    pid_t other = while_it_runs(freeze_init);
    request.seconds = 2;
    run_script(waiting);
    expect(MLA_OUTCOME_TIME_OUT, NULL);
    waitpid(other, NULL, 0);
    assert_int_equal(mla__runner_replaced(runner), before);
    assert_int_equal(leaks_descendants(), 2);
}

// ---- streams ---------------------------------------------------------------------------------

// Takes an end of the script's streams and keeps it when all of the run is dead.
static void hold_streams(run_pids p) {
    for (int fd = 1; fd <= 2; fd++) {
        char path[80];
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)p.script, fd);
        if (open(path, O_WRONLY) < 0) _exit(1);
    }
    kill(p.script, SIGUSR1);
    pause();
}

// So may the kernel, with descriptors that are sent and not received.
static void a_stream_that_is_held_open_is_not_waited_for(void **state) {
    (void)state;
    pid_t other = while_it_runs(hold_streams);
    run_script("import signal\n"
               "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
               "open('ready', 'w').close()\n"
               "signal.sigwait({signal.SIGUSR1})\n"
               "print('x' * 100000 + 'end')\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_string_equal(result.out + strlen(result.out) - 4, "end\n");
    assert_int_equal(waitpid(other, NULL, WNOHANG), 0);      // it holds them still
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
}

#define T(name) cmocka_unit_test_teardown(name, clear_result)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(one_that_is_frozen_is_replaced), T(one_that_dies_with_a_request_in_hand_is_replaced),
        T(one_that_dies_under_a_run_is_replaced), T(one_that_freezes_under_a_run_is_replaced),
        T(a_run_without_its_process_1_is_lost), T(a_frozen_process_1_is_ended_by_the_clock),
        T(a_stream_that_is_held_open_is_not_waited_for),
    };
    return run_with_runner(tests, "env_warm");
}
