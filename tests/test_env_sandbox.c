// What holds scripts on machines that give more or less: limits with a control group and without
// one, groups that killed programs left, where groups are found, and the refusal to run scripts
// where a required protection is missing.
#include "runner_fixture.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "env/sandbox.h"
#include "leaks.h"

// ---- limits, both ways -----------------------------------------------------------------------

static mla_runner *grouped;       // the fixture's; `runner` is the one under test

static int use_grouped(void **state) {
    (void)state;
    runner = grouped ? grouped : runner;
    grouped = NULL;
    return clear_result(state);
}

static int use_plain(void **state) {
    (void)state;
    grouped = runner;
    runner = new_runner(true);
    return runner ? 0 : -1;
}

static int drop_plain(void **state) {
    mla__runner_free(runner);
    return use_grouped(state);
}

static void memory_is_bounded(void **state) {
    (void)state;
    request.memory_mb = 500;
    run_script("import mmap, time\n"       // shared memory that no process need keep mapped
               "x = mmap.mmap(-1, 2 << 30)\n"
               "for i in range(0, 2 << 30, 4096): x[i] = 1\n"
               "time.sleep(5)\n");
    expect(MLA_OUTCOME_OUT_OF_MEMORY, NULL);
    request.memory_mb = 500;
    run_script("import os, time\n"         // files: nobody's resident memory
               "for d in ('/tmp', '/dev/shm', '.'):\n"
               "    try:\n"
               "        with open(d + '/x', 'wb') as f:\n"
               "            for i in range(400): f.write(bytes(1 << 20))\n"
               "    except OSError: pass\n"
               "time.sleep(5)\n");
    expect(MLA_OUTCOME_OUT_OF_MEMORY, NULL);
    run_script("print('fine')\n");
    expect_out("fine\n");
}

// Tables for the page of zeros: 4 kB for each 2 MB that are looked at, and no page is resident.
static void page_tables_count(void **state) {
    (void)state;
    request.memory_mb = 500;
    run_script("import ctypes, time\n"
               "libc = ctypes.CDLL(None)\n"
               "libc.mmap.restype = ctypes.c_void_p\n"
               "libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_long] * 4\n"
               "size, step = 300000 << 21, 2 << 20\n"
               "at = libc.mmap(None, size, 1, 0x4022, -1, 0)\n"
               "libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(size), 15)\n"
               "for i in range(size // step): ctypes.c_char.from_address(at + i * step).value\n"
               "time.sleep(5)\n");
    expect(MLA_OUTCOME_OUT_OF_MEMORY, NULL);
    if (!runner->cgroup.memory) assert_true(result.peak_mb > 500);
}

static void processes_are_bounded(void **state) {
    (void)state;
    run_script("import os, time\n"
               "n = 0\n"
               "try:\n"
               "    while n < 2000:\n"
               "        if os.fork() == 0: time.sleep(20); os._exit(0)\n"
               "        n += 1\n"
               "except OSError: pass\n"
               "print(100 < n < 257)\n");
    expect(MLA_OUTCOME_OK, NULL);
    expect_out("True\n");
}

// Buffers of socket pairs are nobody's resident memory: our watch does not see them, the kernel
// does. What it ends then is the run's, not the warm Python, and counts as no signal of the script.
static void memory_in_the_kernel_is_bounded_by_it(void **state) {
    (void)state;
    if (!runner->cgroup.memory) skip();
    pid_t warm = runner->warm.pid;
    for (int i = 0; i < 2; i++) {
        request.memory_mb = 400;
        run_script("import os, socket, time\n"
                   "def fill(s):\n"
                   "    s.setblocking(False)\n"
                   "    try:\n"
                   "        while True: s.send(bytes(1 << 16))\n"
                   "    except BlockingIOError: pass\n"
                   "for i in range(8):\n"
                   "    if os.fork() == 0:\n"
                   "        pairs = [socket.socketpair() for i in range(480)]\n"
                   "        for pair in pairs:\n"
                   "            for s in pair: fill(s)\n"
                   "        time.sleep(30)\n"
                   "time.sleep(15)\n");
        expect(MLA_OUTCOME_OUT_OF_MEMORY, NULL);
        assert_true(result.seconds < 14);
    }
    assert_int_equal(warm, runner->warm.pid);
    run_script("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n");
    expect(MLA_OUTCOME_KILLED, "SIGKILL");
}

// What mlagent itself may is the most that its scripts may, and hinders none of them.
static void lower_limits_of_the_host_stay(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        const struct rlimit locked = {4096, 4096}, files = {600, 600};
        if (setrlimit(RLIMIT_MEMLOCK, &locked) < 0 || setrlimit(RLIMIT_NOFILE, &files) < 0) {
            _exit(2);
        }
        runner = new_runner(true);
        if (!runner) _exit(3);
        run_script("import resource as r\n"
                   "print([r.getrlimit(k)[1] for k in (r.RLIMIT_MEMLOCK, r.RLIMIT_NOFILE)])\n");
        int rc = strcmp(result.out, "[4096, 600]\n");
        mla__runner_free(runner);
        _exit(rc != 0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void scripts_cannot_make_others_the_victim(void **state) {
    (void)state;
    run_script("print(open('/proc/self/oom_score_adj').read().strip())\n"
               "open('/proc/self/oom_score_adj', 'w').write('0')\n");
    expect(MLA_OUTCOME_SCRIPT_ERROR, "OSError");
    expect_out("1000\n");
}

// ---- groups ----------------------------------------------------------------------------------

static void groups_go_with_their_runner(void **state) {
    (void)state;
    mla__cgroup own;
    mla__cgroup_open(&own);
    if (!own.version) skip();
    char *folder = mla_strdup(own.memory ? own.memory : own.pids);
    assert_true(mla_fs_is_dir(folder));
    mla__cgroup_close(&own);
    assert_false(mla_fs_exists(folder));
    free(folder);
}

// A program that was killed leaves its groups, with or without something in them.
static void left_groups_are_cleared_away(void **state) {
    (void)state;
    if (!runner->cgroup.version) skip();
    int ready[2];
    char folder[512] = "";
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        mla__cgroup own;
        mla__cgroup_open(&own);
        const char *name = own.memory ? own.memory : own.pids;
        char *procs = mla_fs_join(name, "cgroup.procs");
        if (fork() == 0) {
            alarm(60);
            FILE *file = fopen(procs, "w");
            if (file) fputs("0", file);
            if (file) fclose(file);
            close(own.locks[0]);
            close(own.locks[1]);
            if (write(ready[1], name, strlen(name) + 1) < 0) _exit(1);
            for (;;) pause();
        }
        for (;;) pause();
    }
    assert_true(read(ready[0], folder, sizeof folder - 1) > 0);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    close(ready[0]);
    close(ready[1]);
    assert_true(mla_fs_is_dir(folder));
    mla__cgroup next;
    mla__cgroup_open(&next);
    assert_false(mla_fs_exists(folder));
    mla__cgroup_close(&next);
}

static void expect_place(const char *groups, const char *mounts, const char *controller,
                         const char *place) {
    char *found = mla__cgroup_place(groups, mounts, controller);
    if (!place) assert_null(found);
    else assert_string_equal(found ? found : "-", place);
    free(found);
}

static void groups_are_found_where_they_are(void **state) {
    (void)state;
    static const char v1_groups[] = "9:cpu,cpuacct:/a\n8:pids:/\n4:memory:/job/7\n0::/user\n";
    static const char v1_mounts[] =
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
        "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
        "39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n"
        "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:4 - cgroup2 cgroup2 rw\n";
    expect_place(v1_groups, v1_mounts, "memory", "/sys/fs/cgroup/memory/job/7");
    expect_place(v1_groups, v1_mounts, "pids", "/sys/fs/cgroup/pids");
    expect_place(v1_groups, v1_mounts, "cpu", NULL);
    expect_place(v1_groups, v1_mounts, "", "/sys/fs/cgroup/unified/user");
    static const char v2_groups[] = "0::/user.slice/user@1000.service/app.slice/run-1.scope\n";
    static const char v2_mounts[] =
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    expect_place(v2_groups, v2_mounts, "",
                 "/sys/fs/cgroup/user.slice/user@1000.service/app.slice/run-1.scope");
    expect_place(v2_groups, v2_mounts, "memory", NULL);
    // In a container the mount shows the container's own group as its root.
    expect_place("4:memory:/docker/ab\n",
                 "35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
                 "memory", "/sys/fs/cgroup/memory");
    // A group beside it whose name only begins alike is another one.
    expect_place("4:memory:/docker/abc\n",
                 "35 31 0:32 /docker/ab /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n",
                 "memory", "/sys/fs/cgroup/memory");
    expect_place("", "", "memory", NULL);
    expect_place("nonsense", "35\n - - - \n", "memory", NULL);
}

// ---- version 2, on folders that look like it --------------------------------------------------

// The files of a group; what the kernel would write in them is the test's to write.
static void fake_group(const char *dir, const char *controllers) {
    assert_int_equal(mla_fs_mkdirs(dir, &err), 0);
    put_file(dir, "cgroup.procs", "");
    put_file(dir, "cgroup.subtree_control", controllers);
}

static void expect_file(const char *dir, const char *name, const char *text) {
    char *path = mla_fs_join(dir, name);
    mla_buf bytes;
    if (mla_fs_read(path, 1000, &bytes, &err) < 0) fail_msg("%s", err.text);
    assert_string_equal(mla_buf_text(&bytes), text);
    mla_buf_clear(&bytes);
    free(path);
}

// Opens a group for a process in `group` of the tree.
static mla__cgroup open_fake(const char *tree, const char *group) {
    char *groups = mla_format("0::%s\n", group);
    char *mounts = mla_format("30 23 0:26 / %s rw,nosuid shared:9 - cgroup2 cgroup2 rw\n", tree);
    mla__cgroup own;
    mla__cgroup_open_in(&own, groups, mounts);
    free(groups);
    free(mounts);
    return own;
}

static void use_fake(mla__cgroup *own) {
    put_file(own->memory, "memory.current", "1048576\n");
    put_file(own->memory, "memory.max", "");
    put_file(own->memory, "memory.events", "low 0\nhigh 0\nmax 3\noom 7\noom_kill 2\n");
    put_file(own->memory, "pids.current", "3\n");
    put_file(own->memory, "pids.max", "");
    put_file(own->memory, "cgroup.procs", "12\n4711\n");
    mla__cgroup_limit(own, 500, 256);
    expect_file(own->memory, "memory.max", "525336576");       // 1 MB that is there, and 500 MB
    if (own->pids) expect_file(own->memory, "pids.max", "259");
    assert_false(mla__cgroup_killed(own));
    put_file(own->memory, "memory.events", "oom 8\noom_kill 3\noom_group_kill 0\n");
    assert_true(mla__cgroup_killed(own));
    assert_true(mla__cgroup_holds(own, 4711));
    assert_false(mla__cgroup_holds(own, 471));
}

static void close_fake(mla__cgroup *own) {
    if (mla_fs_remove_tree(own->memory, &err) < 0) fail_msg("%s", err.text);
    mla__cgroup_close(own);
    assert_int_equal(own->version, 0);
}

static void groups_of_version_2(void **state) {
    (void)state;
    char *tree = mla_fs_join(home, "cgroup2"), *slice = mla_fs_join(tree, "app.slice");
    char *scope = mla_fs_join(slice, "run-1.scope");
    fake_group(tree, "memory pids");
    fake_group(slice, "cpu memory pids\n");
    fake_group(scope, "");                 // a process is in it, so it gives its children nothing
    mla__cgroup own = open_fake(tree, "/app.slice/run-1.scope");
    assert_int_equal(own.version, 2);
    assert_int_equal(strncmp(own.memory, slice, strlen(slice)), 0);
    assert_int_equal(strncmp(own.memory + strlen(slice), "/mlagent-", 9), 0);
    assert_string_equal(own.memory, own.pids);
    use_fake(&own);
    mla__cgroup second = open_fake(tree, "/app.slice/run-1.scope");
    assert_string_not_equal(own.memory, second.memory);
    close_fake(&second);
    close_fake(&own);
    fake_group(scope, "memory\n");         // one that may have children, without processes' limits
    own = open_fake(tree, "/app.slice/run-1.scope");
    expect_file(scope, "cgroup.subtree_control", "+pidsry");   // one word written over another
    close_fake(&own);
    fake_group(slice, "cpu\n");            // nobody gives a group with memory
    fake_group(scope, "");
    own = open_fake(tree, "/app.slice/run-1.scope");
    assert_int_equal(own.version, 0);
    own = open_fake(tree, "/gone");
    assert_int_equal(own.version, 2);      // the tree's own folder is beside it
    close_fake(&own);
    own = open_fake("/no/such/tree", "/");
    assert_int_equal(own.version, 0);
    free(tree);
    free(slice);
    free(scope);
}

// What a service manager calls "mlagent-..." is not ours, and nothing in it may be ended.
static void groups_of_others_are_left_alone(void **state) {
    (void)state;
    static const char *const names[] = {"mlagent-serve.service", "mlagent-7", "mlagent-7-",
                                        "mlagent-7-1.scope", "mlagent--1", "mlagent-x-1"};
    char *tree = mla_fs_join(home, "others"), *mine = mla_fs_join(tree, "mlagent-7-1");
    fake_group(tree, "memory pids");
    pid_t bystander = fork();
    if (bystander == 0) {
        alarm(60);
        for (;;) pause();
    }
    char *procs = mla_format("%d\n", (int)bystander);
    for (size_t i = 0; i < MLA_COUNT(names); i++) {
        char *dir = mla_fs_join(tree, names[i]);
        fake_group(dir, "");
        put_file(dir, "cgroup.procs", procs);
        free(dir);
    }
    assert_int_equal(mkdir(mine, 0755), 0);          // left by a killed program
    mla__cgroup own = open_fake(tree, "/gone");
    assert_int_equal(own.version, 2);
    assert_false(mla_fs_exists(mine));
    assert_int_equal(waitpid(bystander, NULL, WNOHANG), 0);
    close_fake(&own);
    kill(bystander, SIGKILL);
    waitpid(bystander, NULL, 0);
    free(procs);
    free(mine);
    free(tree);
}

// Where one group takes the Python and the other does not, it goes on without either.
static void half_a_group_is_none(void **state) {
    (void)state;
    if (!runner->cgroup.memory || runner->cgroup.version != 1) skip();
    char *fake = mla_fs_join(home, "half");
    fake_group(fake, "");
    mla_runner *half = new_runner(false);
    if (!half) fail_msg("%s", err.text);
    mla__warm_stop(&half->warm);
    mla__cgroup_close(&half->cgroup);
    mla__cgroup_open(&half->cgroup);
    free(half->cgroup.pids);
    half->cgroup.pids = mla_strdup(fake);
    mla_log_set_level(MLA_LOG_ERROR);                // the folder is none that goes with rmdir
    if (mla__runner_warm_up(half, &err) < 0) fail_msg("%s", err.text);
    mla_log_set_level(MLA_LOG_WARN);
    assert_int_equal(half->cgroup.version, 0);
    mla_runner *kept = runner;
    runner = half;
    run_script("print('fine')\n");
    runner = kept;
    expect_out("fine\n");
    assert_int_equal(mla__runner_replaced(half), 0);
    mla__runner_free(half);
    free(fake);
}

// ---- protections -----------------------------------------------------------------------------

static void this_machine_gives_what_is_required(void **state) {
    (void)state;
    size_t required = 0;
    for (size_t i = 0; i < runner->n_protections; i++) {
        const mla_protection *p = &runner->protections[i];
        required += p->required;
        if (p->required && !p->given) fail_msg("%s: %s", p->name, p->how);
        assert_true(p->how[0] != '\0');
    }
    assert_int_equal(required, 17);
}

// Where no group may be made the watch is what is left, and `--check` says so.
static void no_group_is_no_hindrance(void **state) {
    (void)state;
    for (size_t i = 0; i < runner->n_protections; i++) {
        const mla_protection *p = &runner->protections[i];
        bool by_group = strstr(p->name, "by the kernel");
        assert_int_equal(p->given, !by_group);
        if (by_group) assert_false(p->required);
        if (by_group) assert_string_equal(p->how, "no control group may be made here");
    }
}

// Runners made from now on get a bubblewrap that leaves out one of its arguments.
static char *weaken(const char *argument) {
    char *bin = mla_fs_join(home, "weaker"), *bwrap = mla_fs_join(bin, "bwrap");
    char *old = mla_strdup(getenv("PATH"));
    assert_int_equal(mla_fs_mkdirs(bin, &err), 0);
    char *script = mla_format("#!/bin/bash\nPATH='%s'\nkept=()\nfor a in \"$@\"; do\n"
                              "    [ \"$a\" = %s ] || kept+=(\"$a\")\ndone\n"
                              "exec bwrap \"${kept[@]}\"\n", old, argument);
    put_file(bin, "bwrap", script);
    assert_int_equal(chmod(bwrap, 0755) | chmod(bin, 0755) | chmod(home, 0755), 0);
    char *path = mla_format("%s:%s", bin, old);
    setenv("PATH", path, 1);
    free(path);
    free(script);
    free(bwrap);
    free(bin);
    return old;
}

static void less_is_refused_unless_told(void **state) {
    (void)state;
    char *path = weaken("--unshare-net");
    mla_runner_options options = {.python = python};
    err.text[0] = '\0';
    assert_null(mla__runner_create(&options, &err));
    if (!strstr(err.text, "without no network (shared)")) fail_msg("%s", err.text);
    assert_non_null(strstr(err.text, "--allow-weaker-sandbox"));
    options.allow_weaker = true;
    mla_log_set_level(MLA_LOG_ERROR);
    mla_runner *weaker = mla__runner_create(&options, &err);
    mla_log_set_level(MLA_LOG_WARN);
    setenv("PATH", path, 1);
    free(path);
    if (!weaker) fail_msg("%s", err.text);
    for (size_t i = 0; i < weaker->n_protections; i++) {
        const mla_protection *p = &weaker->protections[i];
        if (p->required) assert_int_equal(p->given, strcmp(p->name, "no network") != 0);
    }
    mla__runner_free(weaker);
}

static void the_check_lists_every_protection(void **state) {
    (void)state;
    mla_env_options options = mla_env_options_default();
    options.python = python;
    mla_protection list[MLA_PROTECTIONS_MAX];
    size_t n;
    mla_log_set_level(MLA_LOG_WARN);
    if (mla_env_protections(&options, list, &n, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(n, runner->n_protections);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(list[i].name, runner->protections[i].name);
        assert_int_equal(list[i].given, runner->protections[i].given);
    }
    options.python = "/no/such/python";
    assert_int_equal(mla_env_protections(&options, list, &n, &err), -1);
}

#define T(name) cmocka_unit_test_teardown(name, clear_result)
#define PLAIN(name) {"without a group: " #name, name, use_plain, drop_plain, NULL}

int main(void) {
    const struct CMUnitTest tests[] = {
        T(memory_is_bounded), T(processes_are_bounded), PLAIN(memory_is_bounded),
        T(page_tables_count), PLAIN(page_tables_count),
        PLAIN(processes_are_bounded), T(memory_in_the_kernel_is_bounded_by_it),
        T(lower_limits_of_the_host_stay),
        T(scripts_cannot_make_others_the_victim), T(groups_go_with_their_runner),
        T(left_groups_are_cleared_away), T(groups_are_found_where_they_are),
        T(groups_of_version_2), T(groups_of_others_are_left_alone), T(half_a_group_is_none),
        PLAIN(no_group_is_no_hindrance),
        T(this_machine_gives_what_is_required), T(less_is_refused_unless_told),
        T(the_check_lists_every_protection),
    };
    return run_with_runner(tests, "env_sandbox");
}
