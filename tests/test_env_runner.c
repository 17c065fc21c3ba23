// Scripts that behave, fail or run too long in the real sandbox: outcomes, streams, submissions,
// seeds, replaced Pythons, and that nothing leaks. Attacks are in test_env_runner_attacks.c.
#include "runner_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "env/sandbox.h"
#include "leaks.h"

static void a_run_writes_a_submission(void **state) {
    (void)state;
    run_script("import pandas as pd, sys\n"
               "d = pd.read_csv('data/train.csv')\n"
               "print(__name__, sys.argv, sys.path[0], list(d.columns), len(d))\n"
               "print('to stderr', file=sys.stderr)\n"
               "d.to_csv('submission.csv', index=False)\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("__main__ ['train.py'] /mla/workspace ['x', 'y'] 2\n");
    assert_string_equal(result.err, "to stderr\n");
    assert_true(result.has_submission);
    assert_string_equal(result.submission, "x,y\n1,2\n2,4\n");
    assert_int_equal(result.submission_len, strlen(result.submission));
    assert_true(result.seconds > 0 && result.seconds < 20);
    assert_true(result.peak_mb > 10 && result.peak_mb < 1500);
}

static void models_are_fitted(void **state) {
    (void)state;
    run_script("import numpy as np\n"
               "from sklearn.ensemble import RandomForestClassifier\n"
               "from sklearn.ensemble import HistGradientBoostingClassifier\n"
               "from sklearn.linear_model import LogisticRegression\n"
               "from sklearn.model_selection import cross_val_score\n"
               "rng = np.random.default_rng(0)\n"
               "x = rng.normal(size=(300, 5)); y = (x[:, 0] > 0).astype(int)\n"
               "for m in (RandomForestClassifier(20, n_jobs=-1), LogisticRegression(),\n"
               "          HistGradientBoostingClassifier(max_iter=5)):\n"
               "    print(cross_val_score(m, x, y, cv=2, n_jobs=-1).mean() > 0.8)\n"
               "try:\n"
               "    import lightgbm\n"
               "    lightgbm.LGBMClassifier(n_estimators=3, num_threads=2, verbose=-1).fit(x, y)\n"
               "except ImportError: pass\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("True\nTrue\nTrue\n");
}

static void exceptions_are_named_and_traced(void **state) {
    (void)state;
    run_script("def f():\n    raise ValueError('no such thing')\nprint('before')\nf()\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "ValueError");
    expect_out("before\n");
    assert_string_equal(result.err,
                        "Traceback (most recent call last):\n"
                        "  File \"train.py\", line 4, in <module>\n"
                        "    f()\n"
                        "  File \"train.py\", line 2, in f\n"
                        "    raise ValueError('no such thing')\n"
                        "ValueError: no such thing\n");
    run_script("x = (1,\nprint(\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "SyntaxError");
    run_script("import no_such_package\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "ModuleNotFoundError");
    run_script("class Odd(Exception): pass\nraise Odd\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "Odd");
    run_script("raise type('Odd\\nScore: 0.99', (Exception,), {})\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "Odd?Score? 0?99");
    run_script("raise MemoryError\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "MemoryError");
    run_script("raise TimeoutError('time-out')\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "TimeoutError");
    run_script("raise KeyboardInterrupt\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "KeyboardInterrupt");
}

static void exit_codes_count(void **state) {
    (void)state;
    run_script("import sys; sys.exit(0)\n");
    expect(MLA_OUTCOME_OK, NULL);
    run_script("import sys; sys.exit()\n");
    expect(MLA_OUTCOME_OK, NULL);
    run_script("import os; print('x'); os._exit(0)\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_false(result.has_submission);
    run_script("import sys; sys.exit(1)\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "SystemExit");
    run_script("import sys; sys.exit('words')\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "SystemExit");
    assert_string_equal(result.err, "words\n");
    run_script("import os; os._exit(3)\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, NULL);
}

static void signals_are_named(void **state) {
    (void)state;
    run_script("import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n");
    expect(MLA_OUTCOME_KILLED, "SIGKILL");
    run_script("import ctypes; ctypes.string_at(0)\n");
    expect(MLA_OUTCOME_KILLED, "SIGSEGV");
}

static void the_end_of_a_script_is_a_normal_one(void **state) {
    (void)state;
    run_script("import atexit, threading, time\n"
               "atexit.register(lambda: print('bye'))\n"
               "threading.Thread(target=lambda: (time.sleep(0.2), print('thread'))).start()\n"
               "print('main', end='')\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("mainthread\nbye\n");
}

static void seeds_are_set(void **state) {
    (void)state;
    const char *code = "import random, numpy\n"
                       "print(random.random(), numpy.random.rand(), hash('a'))\n";
    run_script(code);
    char *first = mla_strdup(result.out);
    run_script(code);
    expect_out(first);
    request.seed = 9;
    run_script(code);
    assert_string_not_equal(first, result.out);
    free(first);
}

static void several_files_and_folders(void **state) {
    (void)state;
    const char *dir = fresh_workspace();
    put_file(dir, "train.py", "import helper, os; print(helper.x, sorted(os.listdir()))\n");
    put_file(dir, "helper.py", "x = 5\n");
    run_here();
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("5 ['data', 'helper.py', 'train.py']\n");
    request.script = "deep/other.py";
    dir = fresh_workspace();
    char *deep = mla_fs_join(dir, "deep");
    assert_int_equal(mla_fs_mkdirs(deep, &err), 0);
    put_file(deep, "other.py",
             "open('left.txt', 'w').write('here'); import os; print(os.getcwd())\n");
    run_here();
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("/mla/workspace\n");
    assert_int_equal(faccessat(mla__runner_left(runner), "left.txt", F_OK, 0), 0);
    assert_int_equal(faccessat(mla__runner_left(runner), "deep/other.py", F_OK, 0), 0);
    char *left = mla_fs_join(dir, "left.txt");
    assert_false(mla_fs_exists(left));              // nothing of the host is written to
    free(left);
    free(deep);
    fresh_workspace();
    assert_int_equal(mla__runner_left(runner), -1);
}

static void wrong_requests_are_errors(void **state) {
    (void)state;
    static const char *const names[] = {"", "/etc/passwd", "../x.py", "a/../../x.py", "a/.."};
    for (size_t i = 0; i < MLA_COUNT(names); i++) {
        fresh_workspace();
        request.script = names[i];
        assert_int_equal(mla__runner_run(runner, &request, &result, &err), -1);
        mla__run_result_clear(&result);
    }
    reset_request();
    char *answers = mla_fs_join(home, "answers"), *up = mla_fs_join(home, "data/../answers");
    const char *const dirs[] = {answers, up, "/etc"};
    for (size_t i = 0; i < MLA_COUNT(dirs); i++) {
        fresh_workspace();
        request.data_dir = dirs[i];
        assert_int_equal(mla__runner_run(runner, &request, &result, &err), -1);
        assert_non_null(strstr(err.text, "not below"));
        mla__run_result_clear(&result);
    }
    free(answers);
    free(up);
    reset_request();
    request.script = "gone.py";
    fresh_workspace();
    run_here();
    expect(MLA_OUTCOME_SCRIPT_ERROR, "FileNotFoundError");
}

static void names_are_no_options_and_no_commands(void **state) {
    (void)state;
    static const char *const names[] = {"-c", "a.py; touch x", "$(id)", "-"};
    for (size_t i = 0; i < MLA_COUNT(names); i++) {
        request.script = names[i];
        put_file(fresh_workspace(), names[i], "import sys; print(sys.argv[0])\n");
        run_here();
        expect(MLA_OUTCOME_OK, NULL);
        assert_int_equal(strncmp(result.out, names[i], strlen(names[i])), 0);
    }
}

static void our_clock_ends_scripts(void **state) {
    (void)state;
    request.seconds = 0.6;
    run_script("import signal, time\n"
               "for s in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM):\n"
               "    signal.signal(s, signal.SIG_IGN)\n"
               "print('started')\n"
               "while True:\n"
               "    try: time.sleep(100)\n"
               "    except BaseException: pass\n");
    expect(MLA_OUTCOME_TIME_OUT, NULL);
    expect_out("started\n");
    assert_true(result.seconds >= 0.6 && result.seconds < 1.5);
    request.seconds = 0.6;
    run_script("while True: pass\n");
    expect(MLA_OUTCOME_TIME_OUT, NULL);
}

static void our_watch_ends_memory_bombs(void **state) {
    (void)state;
    request.memory_mb = 500;
    run_script("import numpy as np, time\nx = []\n"
               "while True:\n    x.append(np.ones((1 << 20) // 8)); time.sleep(0.0005)\n");
    expect(MLA_OUTCOME_OUT_OF_MEMORY, NULL);
    assert_true(result.peak_mb > 500 && result.peak_mb < 1000);
    request.memory_mb = 500;                       // spread over several processes
    run_script("import os, time\n"
               "for i in range(6):\n"
               "    if os.fork() == 0:\n"
               "        x = bytearray(os.urandom(1)) * (100 << 20); time.sleep(60)\n"
               "time.sleep(60)\n");
    expect(MLA_OUTCOME_OUT_OF_MEMORY, NULL);
}

static void shared_pages_are_counted_once(void **state) {
    (void)state;
    request.memory_mb = 500;
    run_script("import os, time\n"
               "for i in range(8):\n"
               "    if os.fork() == 0: time.sleep(0.5); os._exit(0)\n"
               "time.sleep(0.5)\n");
    expect(MLA_OUTCOME_OK, NULL);
}

static void output_is_bounded(void **state) {
    (void)state;
    run_script("import sys\nprint('first')\n"
               "sys.stdout.write('x' * (20 << 20))\nprint('\\nlast')\n");
    expect(MLA_OUTCOME_OK, NULL);
    size_t len = strlen(result.out);
    assert_true(len > 7000 && len < 8200);
    assert_int_equal(strncmp(result.out, "first\n", 6), 0);
    assert_string_equal(result.out + len - 6, "\nlast\n");
    assert_non_null(strstr(result.out, " bytes left out) ..."));
    run_script("import sys; sys.stdout.buffer.write(bytes(range(256)))\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_true(strlen(result.out) > 256);
    request.seconds = 1;
    run_script("while True: print('y' * 1000)\n");
    expect(MLA_OUTCOME_TIME_OUT, NULL);
    assert_true(strlen(result.out) < 8200);
}

static void big_files_are_refused(void **state) {
    (void)state;
    run_script("f = open('submission.csv', 'wb'); f.truncate(100 << 20)\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_true(result.has_submission && result.submission_too_big);
    assert_null(result.submission);
    run_script("open('big', 'wb').truncate(600 << 20)\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "OSError");
}

static void the_workspace_is_bounded(void **state) {
    (void)state;
    request.memory_mb = 1000;                       // half of it for files
    run_script("import os\n"
               "def fill():\n"
               "    with open('big', 'wb') as f:\n"
               "        for i in range(600): f.write(bytes(1 << 20))\n"
               "def many():\n"
               "    for i in range(15000): open(f'f{i}', 'w').close()\n"
               "for f in (fill, many):\n"
               "    try: f()\n"
               "    except OSError as e: print(e.strerror, os.path.getsize('big') >> 20)\n"
               "os.remove('big')\n"
               "f = open('gone', 'wb'); os.remove('gone')\n"     // open, but without a name
               "for i in range(600): f.write(bytes(1 << 20))\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "OSError");
    expect_out("No space left on device 499\nNo space left on device 499\n");
    assert_true(result.peak_mb > 500);              // files count as memory
}

static void a_dead_python_is_replaced(void **state) {
    (void)state;
    size_t before = mla__runner_replaced(runner);
    run_script("print(1)\n");
    assert_int_equal(kill(runner->warm.pid, SIGKILL), 0);
    run_script("print(2)\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("2\n");
    assert_int_equal(mla__runner_replaced(runner), before + 1);
}

// The end of the warm Python takes the run with it: nobody's fault, and nothing of it stays.
static void a_python_that_dies_under_a_run_is_replaced(void **state) {
    (void)state;
    size_t before = mla__runner_replaced(runner);
    pid_t killer = fork(), warm = runner->warm.pid;
    if (killer == 0) {
        usleep(300000);
        kill(warm, SIGKILL);
        _exit(0);
    }
    run_script("import time; time.sleep(15)\n");
    expect(MLA_OUTCOME_SANDBOX_FAILED, "the warm Python ended");
    waitpid(killer, NULL, 0);
    assert_int_equal(mla__runner_replaced(runner), before + 1);
    assert_int_equal(leaks_descendants(), 2);
    run_script("print(3)\n");
    expect_out("3\n");
}

// One that does not answer as it should is as good as dead.
static void a_poisoned_python_is_replaced(void **state) {
    (void)state;
    size_t before = mla__runner_replaced(runner);
    json_t *nonsense = json_pack("{s:s}", "script", "no such request");
    assert_int_equal(mla__warm_send(&runner->warm, nonsense, NULL, 0), 0);
    json_decref(nonsense);
    run_script("print(4)\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("4\n");
    assert_int_equal(mla__runner_replaced(runner), before + 1);
}

// The long form of this is tests/long_env_runs.c.
static void many_runs_leak_nothing(void **state) {
    (void)state;
    run_script("pass\n");
    leaks before = leaks_count(getenv("TMPDIR"));
    double began = mla_clock();
    for (int i = 0; i < 50; i++) {
        run_script("pass\n");
        expect(MLA_OUTCOME_OK, NULL);
    }
    print_message("a run of `pass` takes %.1f ms\n", (mla_clock() - began) * 1000 / 50);
    for (int i = 0; i < 5; i++) {
        request.seconds = 0.2;
        run_script("import os, time\nos.fork() or os.setsid(); time.sleep(60)\n");
        expect(MLA_OUTCOME_TIME_OUT, NULL);
    }
    leaks after = leaks_count(getenv("TMPDIR"));
    if (leaks_same(&before, &after)) return;
    leaks_print("before", &before);
    leaks_print("after", &after);
    fail();
}

static void make_old(const char *path) {
    const struct timespec old[2] = {{.tv_sec = 1000000}, {.tv_sec = 1000000}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
}

static void folders_of_killed_programs_are_swept(void **state) {
    (void)state;
    char *live = mla_strdup(fresh_workspace());
    *strrchr(live, '/') = '\0';                     // the runner's folder
    char *stale = mla_format("%.*s/mlagent-runner-stale%d", (int)(strrchr(live, '/') - live), live,
                             (int)getpid());
    assert_int_equal(mla_fs_mkdirs(stale, &err), 0);
    put_file(stale, "left", "x");
    make_old(stale);
    make_old(live);
    mla_runner_options options = {.python = "/no/such/python"};
    assert_null(mla__runner_create(&options, &err));
    assert_false(mla_fs_exists(stale));
    assert_true(mla_fs_exists(live));
    run_script("print(3)\n");
    expect_out("3\n");
    free(live);
    free(stale);
}

static void versions_are_told(void **state) {
    (void)state;
    const char *versions = mla__runner_versions(runner);
    assert_non_null(strstr(versions, "python 3."));
    assert_non_null(strstr(versions, " numpy "));
    assert_non_null(strstr(versions, " sklearn "));
}

static void no_python_is_told_clearly(void **state) {
    (void)state;
    mla_runner_options options = {.python = "/no/such/python"};
    assert_null(mla__runner_create(&options, &err));
    assert_non_null(strstr(err.text, "/no/such/python"));
    assert_non_null(strstr(err.text, "scripts/setup"));
    options.python = "/bin/false";
    assert_null(mla__runner_create(&options, &err));
    assert_non_null(strstr(err.text, "/bin/false"));
    char *path = mla_strdup(getenv("PATH"));
    setenv("PATH", "/nowhere", 1);
    options.python = python;
    assert_null(mla__runner_create(&options, &err));
    setenv("PATH", path, 1);
    free(path);
    assert_non_null(strstr(err.text, "bubblewrap"));
}

static void a_python_without_packages_is_told_clearly(void **state) {
    (void)state;
    // The same interpreter, but as a venv with nothing in it.
    char *venv = mla_fs_join(home, "empty"), *bin = mla_fs_join(venv, "bin");
    assert_int_equal(mla_fs_mkdirs(bin, &err), 0);
    char *real = realpath(python, NULL), *dir = mla_strdup(real);
    *strrchr(dir, '/') = '\0';
    char *cfg = mla_format("home = %s\n", dir), *link = mla_fs_join(bin, "python");
    put_file(venv, "pyvenv.cfg", cfg);
    assert_int_equal(symlink(real, link), 0);
    mla_runner_options options = {.python = link};
    assert_null(mla__runner_create(&options, &err));
    if (!strstr(err.text, "No module named 'numpy'")) fail_msg("%s", err.text);
    assert_non_null(strstr(err.text, "scripts/setup"));
    free(venv);
    free(bin);
    free(real);
    free(dir);
    free(cfg);
    free(link);
}

#define T(name) cmocka_unit_test_teardown(name, clear_result)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(a_run_writes_a_submission), T(models_are_fitted), T(exceptions_are_named_and_traced),
        T(exit_codes_count), T(signals_are_named), T(the_end_of_a_script_is_a_normal_one),
        T(seeds_are_set), T(several_files_and_folders), T(wrong_requests_are_errors),
        T(names_are_no_options_and_no_commands), T(our_clock_ends_scripts),
        T(our_watch_ends_memory_bombs), T(shared_pages_are_counted_once), T(output_is_bounded),
        T(big_files_are_refused), T(the_workspace_is_bounded), T(a_dead_python_is_replaced),
        T(a_python_that_dies_under_a_run_is_replaced), T(a_poisoned_python_is_replaced),
        T(many_runs_leak_nothing),
        T(versions_are_told), T(folders_of_killed_programs_are_swept),
        T(no_python_is_told_clearly),
        T(a_python_without_packages_is_told_clearly),
    };
    return run_with_runner(tests, "env_runner");
}
