// `mlagent tasks prepare` of all tasks, killed (SIGKILL) or stopped (SIGINT) at random times: what
// passes for prepared is whole each time, and in the end every byte is as after a preparation that
// nobody interrupted. MLAGENT_KILLS and MLAGENT_SEED set how often and which moments; the packages
// are the home's own, and nothing else is shared with it. In short: test_task_interrupt.c.
#include "toy_task.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/rng.h"

#define TASKS_A_ROUND 4         // that could be prepared in the longest delay

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

static pid_t start(const fixture *f) {
    char *self = mla_fs_self_dir(), *program = mla_format("%s/../mlagent", self);
    char *python = toy_python();
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout)) _exit(99);
        execl(program, "mlagent", "tasks", "prepare", "--home", f->home, "--python", python,
              (char *)NULL);
        _exit(99);
    }
    free(python);
    free(program);
    free(self);
    return pid;
}

static int end_of(pid_t pid) {
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static double prepare_all(const fixture *f) {
    double began = mla_clock();
    assert_int_equal(end_of(start(f)), 0);
    return mla_clock() - began;
}

// Each line of `wanted` that holds `what` is in `found`.
static void has_lines(const char *found, const char *wanted, const char *what) {
    for (const char *at = wanted; (at = strstr(at, what)); at += strlen(what)) {
        const char *from = at, *to = strchr(at, '\n');
        while (from > wanted && from[-1] != '\n') from--;
        char *line = mla_format("%.*s\n", (int)(to - from), from);
        if (!strstr(found, line)) fail_msg("not whole, but prepared: %s", line);
        free(line);
    }
}

// The number of tasks that pass for prepared, each of which is whole.
static int check_whole(const fixture *f, const char *wanted) {
    char *found = fixture_look(f), **names;
    size_t n;
    int prepared = 0;
    mla_err err;
    assert_int_equal(mla_task_list("tasks", &names, &n, &err), 0);
    for (size_t i = 0; i < n; i++) {
        char *version = mla_format("./versions/%s.json\n", names[i]);
        char *data = mla_format("./data/%s/", names[i]);
        char *answers = mla_format("./answers/%s.csv", names[i]);
        if (strstr(found, version)) {
            has_lines(found, wanted, data);
            has_lines(found, wanted, answers);
            prepared++;
        }
        free(version);
        free(data);
        free(answers);
    }
    mla_fs_names_free(names, n);
    free(found);
    return prepared;
}

static size_t count_tasks(void) {
    char **names;
    size_t n;
    mla_err err;
    assert_int_equal(mla_task_list("tasks", &names, &n, &err), 0);
    mla_fs_names_free(names, n);
    return n;
}

static void begin(fixture *f) {
    mla_err err;
    fixture_begin(f);
    char *home = mla_home(), *packages = mla_fs_join(home, "packages");
    char *here = mla_fs_join(f->home, "packages");
    assert_int_equal(mla_fs_mkdirs(packages, &err), 0);
    assert_int_equal(mla_fs_mkdirs(f->home, &err), 0);
    assert_int_equal(symlink(packages, here), 0);
    free(here);
    free(packages);
    free(home);
}

static void forget(const fixture *f, const char *name) {
    mla_err err;
    char *path = mla_fs_join(f->home, name);
    assert_int_equal(mla_fs_remove_tree(path, &err), 0);
    free(path);
}

// Whether the program has come as far as to listen to the signal.
static bool listens(pid_t pid, int signal) {
    char *path = mla_format("/proc/%ld/status", (long)pid), line[256];
    FILE *file = fopen(path, "r");
    unsigned long long caught = 0;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) sscanf(line, "SigCgt: %llx", &caught);
    fclose(file);
    free(path);
    return caught >> (signal - 1) & 1;
}

// A SIGINT that is heard ends in order; before that there is nothing yet that it could break.
static bool ended_well(int code, int signal, bool heard) {
    if (code == 0 || (signal == SIGINT && code == 130)) return true;
    return code == -signal && !heard;
}

static void interrupt(const fixture *f, mla_rng *rng, const char *wanted, double longest, long i) {
    double delay = longest * mla_rng_uniform(rng);
    int signal = mla_rng_below(rng, 2) ? SIGKILL : SIGINT;
    pid_t pid = start(f);
    usleep((useconds_t)(delay * 1e6));
    bool heard = listens(pid, signal);
    kill(pid, signal);
    int code = end_of(pid);
    if (!ended_well(code, signal, heard)) {
        fail_msg("signal %d after %.3f s: ended with %d", signal, delay, code);
    }
    int prepared = check_whole(f, wanted);
    printf("%3ld: %-7s after %.3f s: %4d, %2d prepared\n", i,
           signal == SIGINT ? "SIGINT" : "SIGKILL", delay, code, prepared);
    fflush(stdout);
    if (code != 0) return;
    forget(f, "versions");
    if (mla_rng_below(rng, 2)) forget(f, "data");
}

static void interrupted_preparations_end_with_the_same_bytes(void **state) {
    (void)state;
    fixture f;
    begin(&f);
    double whole = prepare_all(&f), longest = whole * TASKS_A_ROUND / (double)count_tasks();
    printf("not interrupted: %.1f s\n", whole);
    char *wanted = fixture_look(&f);
    forget(&f, "versions");
    forget(&f, "data");
    mla_rng rng;
    long kills = setting("MLAGENT_KILLS", 100), seed = setting("MLAGENT_SEED", 1);
    mla_rng_init(&rng, (uint64_t)seed);
    for (long i = 1; i <= kills; i++) interrupt(&f, &rng, wanted, longest, i);
    printf("the rest: %.1f s\n", prepare_all(&f));
    char *found = fixture_look(&f);
    assert_string_equal(found, wanted);
    free(found);
    free(wanted);
    fixture_end(&f);
}

int main(void) {
    mla_log_set_level(MLA_LOG_WARN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(interrupted_preparations_end_with_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
