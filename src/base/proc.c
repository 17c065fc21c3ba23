// Child processes by fork and exec, in a session of their own.
#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"

typedef struct {
    int in[2], out[2], err[2], exec[2];
} pipes;

static void close_all(pipes *p) {
    int *fds = (int *)p;
    for (size_t i = 0; i < sizeof *p / sizeof(int); i++) {
        if (fds[i] >= 0) close(fds[i]);
    }
}

static int open_all(pipes *p, mla_err *err) {
    int *fds = (int *)p;
    for (size_t i = 0; i < sizeof *p / sizeof(int); i++) fds[i] = -1;
    if (pipe2(p->in, O_CLOEXEC) == 0 && pipe2(p->out, O_CLOEXEC) == 0 &&
        pipe2(p->err, O_CLOEXEC) == 0 && pipe2(p->exec, O_CLOEXEC) == 0) {
        return 0;
    }
    mla_err_set(err, "cannot make a pipe: %s", strerror(errno));
    close_all(p);
    return -1;
}

static _Noreturn void child(const pipes *p, char *const argv[], char *const env[], const char *cwd,
                            int keep_fd) {
    setsid();
    // The program blocks or ignores some signals; what it starts must not inherit that.
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (dup2(p->in[0], 0) >= 0 && dup2(p->out[1], 1) >= 0 && dup2(p->err[1], 2) >= 0 &&
        (keep_fd < 0 || fcntl(keep_fd, F_SETFD, 0) == 0) && (!cwd || chdir(cwd) == 0)) {
        if (env) {
            execvpe(argv[0], argv, env);
        } else {
            execvp(argv[0], argv);
        }
    }
    int e = errno;
    ssize_t ignored = write(p->exec[1], &e, sizeof e);
    (void)ignored;
    _exit(127);
}

int mla_proc_spawn(mla_proc_spawned *out, char *const argv[], char *const env[], const char *cwd,
                   int keep_fd, mla_err *err) {
    pipes p;
    if (open_all(&p, err) < 0) return -1;
    pid_t pid = fork();
    if (pid < 0) {
        close_all(&p);
        return mla_err_set(err, "cannot fork: %s", strerror(errno));
    }
    if (pid == 0) child(&p, argv, env, cwd, keep_fd);
    close(p.in[0]), close(p.out[1]), close(p.err[1]), close(p.exec[1]);
    int failed = 0;
    ssize_t n;
    do n = read(p.exec[0], &failed, sizeof failed);
    while (n < 0 && errno == EINTR);
    close(p.exec[0]);
    if (n > 0) {
        waitpid(pid, NULL, 0);
        close(p.in[1]), close(p.out[0]), close(p.err[0]);
        return mla_err_set(err, "%s: cannot start: %s", argv[0], strerror(failed));
    }
    *out = (mla_proc_spawned){.pid = pid, .in = p.in[1], .out = p.out[0], .err = p.err[0]};
    return 0;
}

// A signal may come between a look at the flag and poll(), or go to another thread.
#define LOOK_SECONDS 0.2

// Reads both streams until they end, the deadline passes or the program is to stop; false unless
// they ended.
static bool drain(const mla_proc_spawned *c, mla_buf *output, double deadline) {
    struct pollfd fds[2] = {{.fd = c->out, .events = POLLIN}, {.fd = c->err, .events = POLLIN}};
    char chunk[16384];
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        double left = deadline > 0 ? deadline - mla_clock() : LOOK_SECONDS;
        if (left <= 0 || mla_stop_wanted()) return false;
        if (left > LOOK_SECONDS) left = LOOK_SECONDS;
        int ready = poll(fds, 2, (int)(left * 1000) + 1);
        if (ready < 0 && errno != EINTR) return true;
        if (ready <= 0) continue;
        for (int i = 0; i < 2; i++) {
            if (fds[i].fd < 0 || !fds[i].revents) continue;
            ssize_t n = read(fds[i].fd, chunk, sizeof chunk);
            if (n > 0 && output) mla_buf_append(output, chunk, (size_t)n);
            if (n == 0 || (n < 0 && errno != EINTR)) fds[i].fd = -1;
        }
    }
    return true;
}

int mla_proc_run(char *const argv[], char *const env[], const char *cwd, double limit_seconds,
                 mla_buf *output, mla_proc_result *result, mla_err *err) {
    mla_proc_spawned c;
    double began = mla_clock();
    *result = (mla_proc_result){0};
    if (mla_proc_spawn(&c, argv, env, cwd, -1, err) < 0) return -1;
    close(c.in);
    bool ended = drain(&c, output, limit_seconds > 0 ? began + limit_seconds : 0);
    if (!ended) kill(-c.pid, SIGKILL);
    result->stopped = !ended && mla_stop_wanted();
    result->timed_out = !ended && !result->stopped;
    int status = 0;
    while (waitpid(c.pid, &status, 0) < 0 && errno == EINTR) {}
    kill(-c.pid, SIGKILL);
    close(c.out), close(c.err);
    result->exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    result->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    result->seconds = mla_clock() - began;
    return 0;
}
