// Scripts that attack: each tries to get at answers, other tasks, the host, the warm Python, the
// next run or the clock. The expectation is that the host and the next run are as they were.
#include "runner_fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#include "daemons.h"

// A name that only this test's processes have, to find survivors on the host.
#define MARK "mlagent-survivor-mark"

// Reports how each attempt ended: a line "name: ok" or "name: <exception>".
static const char helpers[] =
    "import os, sys, ctypes, errno, time\n"
    "libc = ctypes.CDLL(None, use_errno=True)\n"
    "def attempt(name, f):\n"
    "    try: f(); print(name + ': ok')\n"
    "    except Exception as e: print(name + ': ' + type(e).__name__)\n"
    "def call(name, nr, *args):\n"
    "    r = libc.syscall(nr, *args)\n"
    "    print(name + ': ' + ('ok' if r >= 0 else errno.errorcode[ctypes.get_errno()]))\n"
    "def read(path): return open(path).read()\n"
    "def write(path, text):\n"
    "    with open(path, 'w') as f: f.write(text)\n";

static void run_attack(const char *code) {
    char *all = mla_format("%s%s", helpers, code);
    run_script(all);
    free(all);
}

static void no_network(void **state) {
    (void)state;
    run_attack("import socket, urllib.request\n"
               "attempt('tcp', lambda: socket.create_connection(('1.1.1.1', 53), 2))\n"
               "attempt('udp', lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))\n"
               "attempt('unix', lambda: socket.socket(socket.AF_UNIX))\n"
               "attempt('dns', lambda: socket.getaddrinfo('example.org', 80))\n"
               "attempt('pair', lambda: socket.socketpair())\n"
               "print(os.listdir('/sys/class/net') if os.path.isdir('/sys') else 'no /sys')\n"
               "print([l.split(':')[0].strip() for l in open('/proc/net/dev')][2:])\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("tcp: PermissionError\nudp: PermissionError\nunix: PermissionError\n"
               "dns: gaierror\npair: ok\nno /sys\n['lo']\n");
}

static void answers_and_other_tasks_are_out_of_sight(void **state) {
    (void)state;
    char *code = mla_format(
        "home = '%s'\n"
        "attempt('answers', lambda: read(home + '/answers/train.csv'))\n"
        "attempt('other task', lambda: read(home + '/data/second/train.csv'))\n"
        "attempt('mounted root', lambda: read('/mla/data/second/train.csv'))\n"
        "attempt('up', lambda: read('data/../../data/second/train.csv'))\n"
        "attempt('proc root', lambda: read('/proc/1/root/mla/data/second/train.csv'))\n"
        "attempt('proc cwd', lambda: read('/proc/self/root' + home + '/answers/train.csv'))\n"
        "attempt('shadow', lambda: read('/etc/shadow'))\n"
        "attempt('passwd', lambda: read('/etc/passwd'))\n"
        "print(os.listdir('/mla/data'), os.listdir('data'), sorted(os.listdir('/')))\n"
        "found = [os.path.join(d, f) for top in ('/mla', '/tmp', '/home', '/root', '/var')\n"
        "         for d, _, fs in os.walk(top) for f in fs if f == 'train.csv']\n"
        "print(found)\n", home);
    run_attack(code);
    free(code);
    expect(MLA_OUTCOME_OK, NULL);
    char *from = strstr(result.out, "[]");
    assert_non_null(from);
    assert_null(strstr(result.out, "ok"));
    assert_non_null(strstr(from, "['train.csv']"));
    assert_non_null(strstr(result.out, "\n['/mla/workspace/data/train.csv']\n"));
}

static void data_is_read_only(void **state) {
    (void)state;
    run_attack("attempt('write', lambda: open('data/train.csv', 'w'))\n"
               "attempt('add', lambda: open('data/new', 'w'))\n"
               "attempt('remove', lambda: os.remove('data/train.csv'))\n"
               "attempt('replace', lambda: os.rename('data', 'elsewhere'))\n"
               "attempt('chmod', lambda: os.chmod('data/train.csv', 0o777))\n"
               "attempt('link', lambda: os.link('data/train.csv', 'mine'))\n"
               "attempt('usr', lambda: open('/usr/x', 'w'))\n"
               "attempt('root', lambda: open('/x', 'w'))\n"
               "attempt('dev', lambda: open('/dev/x', 'w'))\n"
               "attempt('site', lambda: open(os.path.dirname(os.__file__) + '/x.py', 'w'))\n"
               "import numpy; attempt('numpy', lambda: open(numpy.__file__, 'a'))\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_null(strstr(result.out, "ok"));
    char *path = mla_fs_join(home, "data/first/train.csv");
    assert_int_equal(mla_fs_size(path), strlen("x,y\n1,2\n2,4\n"));
    free(path);
}

static void privileges_are_gone(void **state) {
    (void)state;
    run_attack("print([l.split()[1] for l in open('/proc/self/status')\n"
               "       if l.startswith(('Cap', 'NoNewPrivs', 'Seccomp:'))])\n"
               "print(os.getuid() != 0, open('/proc/self/setgroups').read().strip())\n"
               "call('ptrace', 101, 16, os.getppid(), 0, 0)\n"
               "call('mount', 165, b'none', b'/tmp', b'tmpfs', 0, 0)\n"
               "call('umount', 166, b'/mla/data', 0)\n"
               "call('unshare', 272, 0x10000000)\n"
               "call('setns', 308, 0, 0)\n"
               "call('clone3', 435, 0, 0)\n"
               "call('clone', 56, 0x10000000 | 17, 0, 0, 0, 0)\n"
               "call('bpf', 321, 0, 0, 0)\n"
               "call('perf', 298, 0, 0, 0, 0, 0)\n"
               "call('keyctl', 250, 0, 0)\n"
               "call('io_uring', 425, 1, 0)\n"
               "call('memfd', 319, b'x', 0)\n"
               "call('process_vm_writev', 311, 1, 0, 0, 0, 0, 0)\n"
               "call('pivot_root', 155, b'/', b'/')\n"
               "call('chroot', 161, b'/')\n"
               "call('kexec', 246, 0, 0, 0, 0)\n"
               "attempt('core pattern', lambda: open('/proc/sys/kernel/core_pattern', 'w'))\n"
               "attempt('oom', lambda: write('/proc/self/oom_score_adj', '-1000'))\n"
               "attempt('uid map', lambda: write('/proc/self/uid_map', '0 0 1'))\n"
               "attempt('setuid', lambda: os.setuid(0))\n"
               "attempt('mknod', lambda: os.mknod('disk', 0o60666, os.makedev(8, 0)))\n"
               "attempt('renice', lambda: os.setpriority(os.PRIO_PROCESS, 0, -10))\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_int_equal(strncmp(result.out,
                             "['0000000000000000', '0000000000000000', '0000000000000000', "
                             "'0000000000000000', '0000000000000000', '1', '2']\nTrue deny\n",
                             110), 0);
    if (strstr(result.out, ": ok")) fail_msg("%s", result.out);
}

static void the_warm_python_is_out_of_reach(void **state) {
    (void)state;
    run_attack("print(sorted(int(p) for p in os.listdir('/proc') if p.isdigit()))\n"
               "import signal\n"
               "for s in range(1, 32):\n"
               "    try: os.kill(1, s)\n"
               "    except OSError: pass\n"
               "attempt('mem', lambda: open('/proc/1/mem', 'rb'))\n"
               "attempt('fd', lambda: os.listdir('/proc/1/fd'))\n"
               "attempt('env', lambda: read('/proc/1/environ'))\n"
               "print([f for f in range(30) if os.path.exists(f'/proc/self/fd/{f}')])\n"
               "print(os.readlink('/proc/self/fd/0'))\n"
               "print(repr(sys.stdin.read()))\n"
               "for fd in range(3, 30):\n"
               "    try: os.write(fd, b'{\"event\": \"done\"}')\n"
               "    except OSError: pass\n"
               "time.sleep(0.1)\n"
               "print('alive')\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("[1, 2]\nmem: PermissionError\nfd: PermissionError\nenv: PermissionError\n"
               "[0, 1, 2, 9]\n/dev/null\n''\nalive\n");

}

static bool mark_is_alive(void) {
    bool found = false;
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    while ((entry = readdir(dir))) {
        char path[300], text[512] = "";
        snprintf(path, sizeof path, "/proc/%.20s/cmdline", entry->d_name);
        int fd = open(path, O_RDONLY);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        if (fd >= 0) close(fd);
        if (n > 0 && memmem(text, (size_t)n, MARK, strlen(MARK))) found = true;
    }
    closedir(dir);
    return found;
}

static const char daemons[] =
    DAEMONS("            os.execv(sys.executable, ['" MARK "', '-c',\n"
            "                'import time\\n'\n"
            "                'while 1: time.sleep(.05); open(\"late\", \"a\").write(\"x\")'])\n")
    "time.sleep(1)\n";

static void nothing_outlives_a_run(void **state) {
    (void)state;
    run_script(daemons);
    expect(MLA_OUTCOME_OK, NULL);
    assert_false(mark_is_alive());
    request.seconds = 0.5;
    run_script(daemons);
    expect(MLA_OUTCOME_TIME_OUT, NULL);
    assert_false(mark_is_alive());
}

// That it ends at all is what is tested; on a busy machine it takes its time.
static void fork_bombs_end(void **state) {
    (void)state;
    request.seconds = 2;
    run_script("import os\n"
               "while True:\n"
               "    try: os.fork()\n"
               "    except OSError: pass\n");
    expect(MLA_OUTCOME_TIME_OUT, NULL);
    request.seconds = 20;
    run_script("import os, time\n"
               "n = 0\n"
               "try:\n"
               "    while n < 2000:\n"
               "        if os.fork() == 0: time.sleep(20); os._exit(0)\n"
               "        n += 1\n"
               "except OSError: pass\n"
               "print(n)\n");
    expect(MLA_OUTCOME_OK, NULL);
    int n = (int)strtol(result.out, NULL, 10);
    assert_true(n > 50 && n < 256);
}

static void stale_submissions_do_not_count(void **state) {
    (void)state;
    const char *dir = fresh_workspace();
    put_file(dir, "submission.csv", "id,y\n1,1\n");
    put_file(dir, "train.py", "pass\n");
    run_here();
    expect(MLA_OUTCOME_OK, NULL);
    assert_false(result.has_submission);
    dir = fresh_workspace();                        // a folder of that name goes as well
    char *folder = mla_fs_join(dir, "submission.csv/deep");
    assert_int_equal(mla_fs_mkdirs(folder, &err), 0);
    free(folder);
    put_file(dir, "train.py", "open('submission.csv', 'w').write('new')\n");
    run_here();
    expect(MLA_OUTCOME_OK, NULL);
    assert_string_equal(result.submission, "new");
}

static void odd_submissions_are_not_read(void **state) {
    (void)state;
    char *secret = mla_fs_join(home, "answers/train.csv");
    char *code = mla_format("import os; os.symlink('%s', 'submission.csv')\n", secret);
    run_script(code);
    expect(MLA_OUTCOME_OK, NULL);
    assert_false(result.has_submission);
    assert_null(result.submission);
    free(code);
    run_script("import os; os.mkfifo('submission.csv')\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_false(result.has_submission);
    run_script("import os; os.mkdir('submission.csv')\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_false(result.has_submission);
    run_script("import os\nopen('submission.csv', 'w').write('a')\n"
               "os.chmod('submission.csv', 0)\n");
    expect(MLA_OUTCOME_OK, NULL);
    assert_string_equal(result.submission, "a");
    run_script("open('submission.csv', 'w')\n");
    assert_true(result.has_submission);
    assert_int_equal(result.submission_len, 0);
    free(secret);
}

static void links_do_not_lead_our_cleaning_outside(void **state) {
    (void)state;
    char *victim = mla_fs_join(home, "data/first"), *file = mla_fs_join(victim, "train.csv");
    char *code = mla_format("import os\n"
                            "os.symlink('%s', 'out'); os.symlink('/', 'root')\n"
                            "os.makedirs('a/b'); os.symlink('%s', 'a/b/out')\n"
                            "open('a/b/f', 'w'); os.chmod('a/b', 0); os.chmod('a', 0)\n"
                            "os.mkdir('d' * 200)\n"
                            "for i in range(60):\n"
                            "    os.makedirs('x'); os.symlink('%s', 'x/l'); os.chdir('x')\n",
                            victim, victim, victim);
    run_script(code);
    expect(MLA_OUTCOME_OK, NULL);
    const char *dir = fresh_workspace();
    DIR *left = opendir(dir);
    int n = 0;
    while (readdir(left)) n++;
    closedir(left);
    assert_int_equal(n, 2);
    assert_true(mla_fs_exists(file));
    free(victim);
    free(file);
    free(code);
}

static void nothing_is_planted_for_the_next_run(void **state) {
    (void)state;
    run_attack("import numpy, random, pandas, builtins\n"
               "numpy.mean = lambda *a: 42; builtins.len = lambda x: 7; time.time = lambda: 0\n"
               "os.environ['PLANTED'] = 'yes'\n"
               "for d in ('/tmp', '/dev/shm', '.'):\n"
               "    for f in ('sitecustomize.py', 'usercustomize.py', 'numpy.py', 'planted'):\n"
               "        open(d + '/' + f, 'w').write('raise SystemExit(9)')\n"
               "for d in ('/', '/dev', '/mla', '/root', '/var', '/home', '/dev/pts', '/run'):\n"
               "    try: open(d + '/planted', 'w'); print('planted in ' + d)\n"
               "    except OSError: pass\n"
               "sys.path.insert(0, '/tmp')\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("");
    run_attack("import numpy, glob\n"
               "print(numpy.mean([1, 3]), len('ab'), time.time() > 1, os.environ.get('PLANTED'))\n"
               "print([f for d in ('/', '/tmp', '/dev', '/dev/shm', '.', '/mla') \n"
               "       for f in glob.glob(d + '/*') if 'planted' in f or f.endswith('ize.py')])\n"
               "print('/tmp' in sys.path, sorted(os.listdir('/dev/shm')))\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("2.0 2 True None\n[]\nFalse []\n");
}

static void files_in_the_workspace_shadow_nothing_imported(void **state) {
    (void)state;
    const char *dir = fresh_workspace();
    put_file(dir, "numpy.py", "raise SystemExit(9)\n");
    put_file(dir, "sitecustomize.py", "raise SystemExit(9)\n");
    put_file(dir, "train.py", "import numpy; print(numpy.arange(3).sum())\n");
    run_here();
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("3\n");
}

static void temporary_space_is_bounded(void **state) {
    (void)state;
    run_attack("def fill(path):\n"
               "    with open(path, 'wb') as f:\n"
               "        for i in range(600): f.write(bytes(1 << 20))\n"
               "attempt('tmp', lambda: fill('/tmp/x'))\n"
               "attempt('shm', lambda: fill('/dev/shm/x'))\n"
               "def many():\n"
               "    for i in range(30000): open('/tmp/' + str(i), 'w').close()\n"
               "attempt('inodes', many)\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("tmp: OSError\nshm: OSError\ninodes: OSError\n");
}

static void a_false_clock_changes_nothing(void **state) {
    (void)state;
    request.seconds = 0.7;
    run_attack("import resource, signal\n"
               "time.time = time.monotonic = time.sleep = lambda *a: 0\n"
               "attempt('settime', lambda: time.clock_settime(time.CLOCK_REALTIME, 0))\n"
               "attempt('limits', lambda: resource.setrlimit(resource.RLIMIT_CPU, (-1, -1)))\n"
               "signal.alarm(0)\n"
               "while True: pass\n");
    expect(MLA_OUTCOME_TIME_OUT, NULL);
    expect_out("settime: PermissionError\nlimits: ValueError\n");
}

// The run of a program that is killed outright: nothing of it may stay.
static void a_killed_program_takes_all_down(void **state) {
    (void)state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        mla_runner *own = new_runner(false);
        const char *dir = own ? mla__runner_workspace(own, &err) : NULL;
        if (!dir) _exit(1);
        char *folder = mla_strdup(dir), *path = mla_fs_join(dir, "train.py");
        if (mla_fs_write(path, daemons, strlen(daemons), &err) < 0) _exit(1);
        if (write(ready[1], folder, strlen(folder) + 1) < 0) _exit(1);
        _exit(mla__runner_run(own, &request, &result, &err) < 0);
    }
    char folder[300] = "";
    assert_true(read(ready[0], folder, sizeof folder - 1) > 0);
    close(ready[0]);
    close(ready[1]);
    double until = mla_clock() + 10;
    while (!mark_is_alive() && mla_clock() < until) usleep(5000);
    assert_true(mark_is_alive());
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    until = mla_clock() + 3;
    while (mark_is_alive() && mla_clock() < until) usleep(5000);
    assert_false(mark_is_alive());
    *strrchr(folder, '/') = '\0';
    assert_int_equal(mla_fs_remove_tree(folder, &err), 0);
}

#define T(name) cmocka_unit_test_teardown(name, clear_result)

int main(void) {
    const struct CMUnitTest tests[] = {
        T(no_network), T(answers_and_other_tasks_are_out_of_sight), T(data_is_read_only),
        T(privileges_are_gone), T(the_warm_python_is_out_of_reach), T(nothing_outlives_a_run),
        T(fork_bombs_end), T(stale_submissions_do_not_count), T(odd_submissions_are_not_read),
        T(links_do_not_lead_our_cleaning_outside), T(nothing_is_planted_for_the_next_run),
        T(files_in_the_workspace_shadow_nothing_imported), T(temporary_space_is_bounded),
        T(a_false_clock_changes_nothing), T(a_killed_program_takes_all_down),
    };
    return run_with_runner(tests, "env_runner_attacks");
}
