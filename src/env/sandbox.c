// Bubblewrap around one Python: every namespace, no network, no capabilities, and nothing of the
// host that is not read-only. As root it is started as nobody, from a stage of bind mounts that
// nobody can reach, so that scripts never have root's uid. Leaves out what the Python in it does.
#include "env/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"

#define NOBODY 65534
#define CONTROL_FD 3       // in the sandbox; warm.py knows it
#define REPORT_FD 4        // close-on-exec: why the start failed
#define MAX_BINDS 4
#define MAX_ARGS 160
#define STAGE "/tmp"       // covered by a tmpfs in the child's own mount namespace only

typedef struct bound {
    char *source, *dest;   // owned
    char stage[16];        // where the child mounts `source` for bubblewrap to find
} bound;

typedef struct plan {      // all that the child needs, made before the fork
    bound binds[MAX_BINDS];
    size_t n_binds;
    char *args[MAX_ARGS];  // owned
    size_t n_args;
    char *bwrap;           // owned
    char *groups[2];       // owned; files to which it writes itself, or NULL
    bool root;
} plan;

// What stopped the child before bubblewrap was there.
typedef struct start_report {
    int error;
    char step[28];
} start_report;

// Whether this process may become nobody: root in a container of one user only may not, and need
// not, since outside it is an ordinary user.
static bool has_nobody(void) {
    FILE *map = fopen("/proc/self/uid_map", "re");
    unsigned long first, outside, count;
    bool found = false;
    while (map && fscanf(map, "%lu %lu %lu", &first, &outside, &count) == 3) {
        found |= first <= NOBODY && NOBODY - first < count;
    }
    if (map) fclose(map);
    return found;
}

mla__identity mla__sandbox_identity(void) {
    if (geteuid() == 0 && has_nobody()) return (mla__identity){NOBODY, NOBODY};
    return (mla__identity){geteuid(), getegid()};
}

// ---- the interpreter -------------------------------------------------------------------------

static int ask_python(const char *path, mla_buf *answer, mla_err *err) {
    static char question[] = "import os, sys; print(sys.executable);"
                             "print(os.path.realpath(sys.prefix));"
                             "print(os.path.realpath(sys.base_prefix));"
                             "sys.exit(sys.version_info < (3, 9))";
    char *argv[] = {(char *)path, "-I", "-S", "-c", question, NULL};
    mla_proc_result result;
    if (mla_proc_run(argv, NULL, "/", 60, answer, &result, err) < 0) return -1;
    if (result.exit_code == 0) return 0;
    return mla_err_set(err, "%s is no working Python of version 3.9 or later: run ./demo or "
                            "scripts/setup, or name another interpreter", path);
}

// Asked with -S (a venv's .pth files are code, and this runs outside of the sandbox) older Pythons
// do not know that they are in a venv, so it is found by its pyvenv.cfg.
static char *venv_of(const char *executable, const char *prefix) {
    char *dir = mla_strdup(executable);
    for (int up = 0; up < 2; up++) {
        char *slash = strrchr(dir, '/');
        if (slash) *slash = '\0';
    }
    char *cfg = mla_fs_join(dir, "pyvenv.cfg");
    char *found = mla_fs_exists(cfg) ? realpath(dir, NULL) : NULL;
    free(cfg);
    free(dir);
    return found ? found : mla_strdup(prefix);
}

int mla__python_find(mla__python *out, const char *path, mla_err *err) {
    *out = (mla__python){0};
    if (access(path, X_OK) < 0) {
        return mla_err_set(err, "could not start Python: no interpreter at %s: run ./demo or "
                                "scripts/setup", path);
    }
    mla_buf answer;
    mla_buf_init(&answer, 4 * PATH_MAX);
    if (ask_python(path, &answer, err) < 0) {
        mla_buf_clear(&answer);
        return mla_err_wrap(err, "could not start Python");
    }
    char *save = NULL, *text = mla_buf_take(&answer);
    const char *executable = strtok_r(text, "\n", &save);
    const char *prefix = strtok_r(NULL, "\n", &save);
    const char *base = strtok_r(NULL, "\n", &save);
    if (base) {
        out->executable = mla_strdup(executable);
        out->prefix = venv_of(executable, prefix);
        out->base_prefix = mla_strdup(base);
    }
    free(text);
    return base ? 0 : mla_err_set(err, "could not start Python: %s does not say where it is", path);
}

void mla__python_clear(mla__python *python) {
    free(python->executable);
    free(python->prefix);
    free(python->base_prefix);
    *python = (mla__python){0};
}

// ---- the plan --------------------------------------------------------------------------------

static bool is_below(const char *path, const char *dir) {
    size_t n = strlen(dir);
    return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/' || n == 1);
}

static void add(plan *p, const char *arg) {
    MLA_ASSERT(p->n_args + 1 < MAX_ARGS);
    p->args[p->n_args++] = mla_strdup(arg);
}

static void add_all(plan *p, const char *const *args) {
    for (; *args; args++) add(p, *args);
}

static void add_bind(plan *p, const char *source, const char *dest) {
    MLA_ASSERT(p->n_binds < MAX_BINDS);
    bound *b = &p->binds[p->n_binds++];
    *b = (bound){.source = mla_strdup(source), .dest = mla_strdup(dest)};
    snprintf(b->stage, sizeof b->stage, STAGE "/%zu", p->n_binds);
    add(p, "--ro-bind");
    add(p, p->root ? b->stage : b->source);
    add(p, b->dest);
}

static void add_system(plan *p) {
    static const char *const links[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    add_all(p, (const char *const[]){"--ro-bind", "/usr", "/usr", NULL});
    for (size_t i = 0; i < MLA_COUNT(links); i++) {
        char path[16], target[64];
        snprintf(path, sizeof path, "/%s", links[i]);
        ssize_t n = readlink(path, target, sizeof target - 1);
        if (n > 0) {
            target[n] = '\0';
            add_all(p, (const char *const[]){"--symlink", target, path, NULL});
        } else if (mla_fs_is_dir(path)) {
            add_all(p, (const char *const[]){"--ro-bind", path, path, NULL});
        }
    }
    add_all(p, (const char *const[]){"--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
                                     "--ro-bind-try", "/etc/alternatives", "/etc/alternatives",
                                     NULL});
}

// Threads are one by default: more hang a fork, and the machine's cores go to runs side by side.
static void add_environment(plan *p, const mla__python *python) {
    static const char *const fixed[][2] = {
        {"HOME", "/tmp"}, {"TMPDIR", "/tmp"}, {"USER", "agent"}, {"LOGNAME", "agent"},
        {"LANG", "C.UTF-8"}, {"TZ", "UTC"}, {"PYTHONHASHSEED", "0"},
        {"PYTHONDONTWRITEBYTECODE", "1"}, {"MPLBACKEND", "Agg"}, {"OMP_NUM_THREADS", "1"},
        {"OMP_WAIT_POLICY", "passive"}, {"OPENBLAS_NUM_THREADS", "1"}, {"MKL_NUM_THREADS", "1"},
        {"NUMEXPR_NUM_THREADS", "1"}, {"LOKY_MAX_CPU_COUNT", "1"},
    };
    add(p, "--clearenv");
    for (size_t i = 0; i < MLA_COUNT(fixed); i++) {
        add_all(p, (const char *const[]){"--setenv", fixed[i][0], fixed[i][1], NULL});
    }
    char *path = mla_format("%s/bin:/usr/bin:/bin", python->prefix);
    add_all(p, (const char *const[]){"--setenv", "PATH", path, NULL});
    free(path);
}

static void add_interpreter(plan *p, const mla__python *python) {
    const char *first = python->base_prefix, *second = python->prefix;
    if (strlen(first) > strlen(second)) {
        first = python->prefix;
        second = python->base_prefix;
    }
    if (!is_below(first, "/usr")) add_bind(p, first, first);
    if (!is_below(second, "/usr") && !is_below(second, first)) add_bind(p, second, second);
}

static void plan_groups(plan *p, const mla__cgroup *cgroup) {
    const char *folders[] = {cgroup->memory, cgroup->pids};
    for (size_t i = 0; i < MLA_COUNT(folders); i++) {
        if (folders[i]) p->groups[i] = mla_fs_join(folders[i], "cgroup.procs");
    }
}

static void plan_make(plan *p, const mla__python *python, const mla__place *place,
                      const char *code) {
    plan_groups(p, place->cgroup);
    p->root = mla__sandbox_identity().uid != geteuid();
    add_all(p, (const char *const[]){
                   "bwrap", "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net",
                   "--unshare-uts", "--unshare-cgroup-try", "--uid", "1000", "--gid", "1000",
                   "--hostname", "sandbox", "--cap-drop", "ALL", "--die-with-parent",
                   "--new-session", "--as-pid-1", NULL});
    add_environment(p, python);
    add_system(p);
    add_all(p, (const char *const[]){"--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev",
                                     "--tmpfs", "/dev/shm", NULL});
    add_interpreter(p, python);
    add_bind(p, place->workspace, "/mla/workspace");
    if (place->data_root) add_bind(p, place->data_root, "/mla/data");
    else add_all(p, (const char *const[]){"--dir", "/mla/data", NULL});
    // What a run leaves anywhere but in the workspace would be there for the next one.
    add_all(p, (const char *const[]){"--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/",
                                     NULL});
    add_all(p, (const char *const[]){python->executable, "-s", "-B", "-c", code, NULL});
}

static void plan_clear(plan *p) {
    for (size_t i = 0; i < p->n_args; i++) free(p->args[i]);
    for (size_t i = 0; i < p->n_binds; i++) {
        free(p->binds[i].source);
        free(p->binds[i].dest);
    }
    free(p->bwrap);
    free(p->groups[0]);
    free(p->groups[1]);
}

// Bubblewrap on PATH, as execvp would find it: the child of a program with threads must not look.
static char *find_bwrap(mla_err *err) {
    const char *path = getenv("PATH");
    char *all = mla_strdup(path ? path : "/usr/bin:/bin"), *save = NULL, *found = NULL;
    for (char *dir = strtok_r(all, ":", &save); dir && !found; dir = strtok_r(NULL, ":", &save)) {
        char *file = mla_fs_join(dir, "bwrap");
        if (access(file, X_OK) == 0) found = file;
        else free(file);
    }
    free(all);
    if (!found) mla_err_set(err, "bubblewrap is not installed (no bwrap in PATH): scripts only run "
                                 "in its sandbox; install the package bubblewrap");
    return found;
}

// ---- the child: async-signal-safe calls only ---------------------------------------------------

_Noreturn static void fail(const char *step) {
    start_report report = {.error = errno};
    memccpy(report.step, step, '\0', sizeof report.step - 1);
    ssize_t n = write(REPORT_FD, &report, sizeof report);
    _exit(n > 0 ? 127 : 126);
}

static void fd_path(char out[40], int fd) {
    static const char head[] = "/proc/self/fd/";
    memcpy(out, head, sizeof head);
    char digits[12];
    size_t n = 0, at = sizeof head - 1;
    do digits[n++] = (char)('0' + fd % 10);
    while ((fd /= 10) > 0);
    while (n > 0) out[at++] = digits[--n];
    out[at] = '\0';
}

// Sources are opened as root, then bound where nobody may look, so that the modes of the folders
// above them do not count.
static void stage_binds(const plan *p) {
    int fds[MAX_BINDS];
    if (unshare(CLONE_NEWNS) < 0) fail("unshare mounts");
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) fail("make mounts private");
    for (size_t i = 0; i < p->n_binds; i++) {
        fds[i] = open(p->binds[i].source, O_PATH | O_CLOEXEC);
        if (fds[i] < 0) fail(p->binds[i].dest);
    }
    if (mount("stage", STAGE, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k") < 0) {
        fail("mount a stage");
    }
    for (size_t i = 0; i < p->n_binds; i++) {
        char from[40];
        fd_path(from, fds[i]);
        if (mkdir(p->binds[i].stage, 0755) < 0) fail("make a stage");
        if (mount(from, p->binds[i].stage, NULL, MS_BIND, NULL) < 0) fail(p->binds[i].dest);
    }
}

static void become_nobody(void) {
    if (setgroups(0, NULL) < 0) fail("drop groups");
    if (setresgid(NOBODY, NOBODY, NOBODY) < 0) fail("become group nobody");
    if (setresuid(NOBODY, NOBODY, NOBODY) < 0) fail("become user nobody");
}

// Whether it has worked is seen from outside, once the Python is up.
static void join_groups(const plan *p) {
    for (size_t i = 0; i < MLA_COUNT(p->groups); i++) {
        int fd = p->groups[i] ? open(p->groups[i], O_WRONLY | O_CLOEXEC) : -1;
        if (fd < 0) continue;
        ssize_t n = write(fd, "0", 1);
        close(fd);
        if (n < 0) return;
    }
}

static int high_copy(int fd) {
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 64);
    if (copy < 0) fail("duplicate a descriptor");
    return copy;
}

_Noreturn static void child(const plan *p, int control, int log, int report) {
    control = high_copy(control);
    log = high_copy(log);
    report = high_copy(report);
    int null = high_copy(open("/dev/null", O_RDWR | O_CLOEXEC));
    dup2(null, 0);
    dup2(null, 1);
    dup2(log, 2);
    dup2(control, CONTROL_FD);
    dup3(report, REPORT_FD, O_CLOEXEC);
    syscall(SYS_close_range, REPORT_FD + 1, ~0U, 0);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    join_groups(p);
    setsid();      // a Ctrl-C at the terminal is the program's to handle
    if (p->root) {
        stage_binds(p);
        become_nobody();
    }
    if (chdir("/") < 0) fail("change to /");
    execve(p->bwrap, p->args, (char *[]){NULL});
    fail("start bubblewrap");
}

// ---- starting and stopping -------------------------------------------------------------------

static int check_started(int report_fd, mla_err *err) {
    start_report report = {0};
    ssize_t n;
    do n = read(report_fd, &report, sizeof report);
    while (n < 0 && errno == EINTR);
    if (n <= 0) return 0;
    return mla_err_set(err, "the sandbox cannot be started (%s: %s): bubblewrap needs a machine or "
                            "container that allows mount and user namespaces",
                       report.step, strerror(report.error));
}

static int open_channels(int sockets[2], int report[2], int *log, mla_err *err) {
    sockets[0] = sockets[1] = report[0] = report[1] = -1;
    *log = memfd_create("mlagent-sandbox-log", MFD_CLOEXEC);
    int on = 1;
    if (*log < 0 || socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0 ||
        pipe2(report, O_CLOEXEC) < 0 ||
        setsockopt(sockets[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0) {
        return mla_err_set(err, "cannot open the sandbox's channels: %s", strerror(errno));
    }
    return 0;
}

static void close_fd(int *fd) {
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

static int spawn(mla__sandbox *out, plan *p, mla_err *err) {
    int sockets[2], report[2], rc = -1;
    if (open_channels(sockets, report, &out->log, err) == 0) {
        out->pid = fork();
        if (out->pid == 0) child(p, sockets[1], out->log, report[1]);
        if (out->pid < 0) {
            mla_err_set(err, "cannot start another process: %s", strerror(errno));
        } else {
            close_fd(&report[1]);
            rc = check_started(report[0], err);
        }
    }
    out->control = sockets[0];
    close_fd(&sockets[1]);
    close_fd(&report[0]);
    close_fd(&report[1]);
    if (rc < 0) mla__sandbox_stop(out, -1);
    return rc;
}

int mla__sandbox_start(mla__sandbox *out, const mla__python *python, const mla__place *place,
                       const char *code, mla_err *err) {
    *out = (mla__sandbox){.pid = -1, .control = -1, .log = -1};
    plan *p = MLA_NEW(plan);
    int rc = -1;
    if ((p->bwrap = find_bwrap(err))) {
        plan_make(p, python, place, code);
        rc = spawn(out, p, err);
    }
    plan_clear(p);
    free(p);
    return rc;
}

// The log's last line that says something.
static void last_line(int log, char *out, size_t size) {
    char text[4096];
    off_t end = lseek(log, 0, SEEK_END);
    off_t from = end > (off_t)sizeof text - 1 ? end - (off_t)sizeof text + 1 : 0;
    ssize_t n = pread(log, text, sizeof text - 1, from);
    if (n < 0) n = 0;
    while (n > 0 && (text[n - 1] == '\n' || text[n - 1] == ' ')) n--;
    text[n] = '\0';
    const char *line = strrchr(text, '\n');
    snprintf(out, size, "%.*s", (int)size - 1, line ? line + 1 : text);
}

int mla__sandbox_explain(const mla__sandbox *sandbox, const mla__python *python, mla_err *err) {
    char line[400];
    last_line(sandbox->log, line, sizeof line);
    if (strncmp(line, "bwrap: execvp", 13) == 0) {
        return mla_err_set(err, "could not start Python: %s cannot be run in the sandbox (%s): run "
                                "scripts/setup", python->executable, line);
    }
    if (strncmp(line, "bwrap:", 6) == 0) {
        return mla_err_set(err, "bubblewrap cannot make its namespaces here (%s): allow user "
                                "namespaces (sysctl kernel.unprivileged_userns_clone=1, "
                                "kernel.apparmor_restrict_unprivileged_userns=0) or run on a "
                                "machine that does", line);
    }
    return mla_err_set(err, "could not start Python: %s ended in the sandbox (%s): run "
                            "scripts/setup", python->executable, *line ? line : "no message");
}

// Waits at most `seconds` for bubblewrap to end.
static bool reap(pid_t pid, double seconds) {
    double until = mla_clock() + seconds;
    for (;;) {
        pid_t got = waitpid(pid, NULL, WNOHANG);
        if (got == pid || (got < 0 && errno != EINTR)) return true;
        if (mla_clock() >= until) return false;
        poll(NULL, 0, 1);
    }
}

void mla__sandbox_stop(mla__sandbox *sandbox, int inside) {
    close_fd(&sandbox->control);
    close_fd(&sandbox->log);
    if (sandbox->pid > 0) {
        // The Python is process 1 in there: with it the kernel ends all the rest, and bubblewrap
        // ends after it. Bubblewrap itself is only killed first when there is no Python yet.
        if (inside >= 0) syscall(SYS_pidfd_send_signal, inside, SIGKILL, NULL, 0);
        if (inside < 0 || !reap(sandbox->pid, 10)) {
            kill(sandbox->pid, SIGKILL);
            while (waitpid(sandbox->pid, NULL, 0) < 0 && errno == EINTR) continue;
        }
    }
    sandbox->pid = -1;
}
