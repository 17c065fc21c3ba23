// One run of a script: hands its files over, has the warm Python fork, reads the streams, and
// ends the run by our own clock and our own memory watch; then reads the submission when nothing of
// the run is alive. Leaves out: what a submission is worth.
#include "env/runner.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "env/sandbox.h"

#define SUBMISSION "submission.csv"
#define TICK_MS 20             // how often memory is looked at
#define WORKSPACE_INODES 10000
#define FILE_MB 512
#define OPEN_FILES 1024
#define TMP_INODES 20000

typedef enum { RUN_SETUP, RUN_SCRIPT, RUN_ENDING, RUN_GONE, RUN_BROKEN } run_phase;

typedef struct run {           // one attempt
    const mla_run_request *request;
    mla_run_result *result;
    mla_runner *runner;
    run_phase phase;
    int out, err;              // our ends of the script's streams; -1 when closed
    mla__capture captured[2];
    pid_t init;                // host's pid of process 1 of the run
    int pidfd;                 // the same, proof against reuse
    double began, deadline;
    bool begun;                // the script was let go
    bool reported;             // how it ended is known from inside
    mla_outcome ended_by;      // OK, or why we ended it
    char why[300];             // what broke
} run;

// ---- before ----------------------------------------------------------------------------------

static int check_script(const char *script, mla_err *err) {
    size_t len = strlen(script);
    bool fine = len > 0 && len < 256 && script[0] != '/';
    for (const char *part = script; fine && part; part = strchr(part, '/')) {
        if (*part == '/') part++;
        fine = strcmp(part, "..") != 0 && strncmp(part, "../", 3) != 0;
    }
    return fine ? 0 : mla_err_set(err, "not the name of a script in a workspace: %.80s", script);
}

// The request's data folder relative to the root of all data; caller frees.
static char *relative_data(const mla_runner *runner, const char *data_dir, mla_err *err) {
    char *real = realpath(data_dir, NULL);
    size_t n = runner->data_root ? strlen(runner->data_root) : 0;
    char *below = NULL;
    if (real && n && strncmp(real, runner->data_root, n) == 0 && real[n] == '/') {
        below = mla_strdup(real + n + 1);
    } else {
        mla_err_set(err, "the data folder %s is not below %s", data_dir,
                    runner->data_root ? runner->data_root : "any root of data");
    }
    free(real);
    return below;
}

// The files become readable for those that runs are; limits are set where the kernel keeps them.
static int prepare(mla_runner *runner, const mla_run_request *request, mla_err *err) {
    mla__runner_let_go(runner);
    mla__cgroup_limit(&runner->cgroup, request->memory_mb, MLA__PROCESSES);
    if (runner->runs_as.uid == geteuid()) return 0;
    return mla__folder_chown(runner->dir, runner->runs_as, err);
}

static int between(int low, int value, int high) {
    return value < low ? low : value > high ? high : value;
}

static json_t *describe(const mla_runner *runner, const mla_run_request *request,
                        const char *data) {
    json_t *below_tmp = json_array();
    const char *python[] = {runner->python.base_prefix, runner->python.prefix};
    for (size_t i = 0; i < MLA_COUNT(python); i++) {
        if (strncmp(python[i], "/tmp/", 5) == 0) {
            json_array_append_new(below_tmp, json_string(python[i]));
        }
    }
    // Processor time is a backstop behind our clock: never the first to strike, on any core count.
    double cpu = (request->seconds + 10) * (double)sysconf(_SC_NPROCESSORS_ONLN);
    return json_pack("{s:s, s:s?, s:s?, s:o, s:I, s:I, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i}",
                     "script", request->script, "data", data, "wheels", request->wheels,
                     "below_tmp", below_tmp, "seed", (json_int_t)(request->seed >> 1),
                     "cpu_seconds", (json_int_t)cpu + 1, "file_mb", FILE_MB, "files", OPEN_FILES,
                     "processes", MLA__PROCESSES,
                     "workspace_mb", between(64, request->memory_mb / 2, 1024),
                     "workspace_inodes", WORKSPACE_INODES,
                     "tmp_mb", between(64, request->memory_mb / 4, 512), "tmp_inodes", TMP_INODES,
                     "threads", runner->threads);
}

// ---- during ----------------------------------------------------------------------------------

// The name of an exception's type is the script's to choose, and goes into prompts: one plain word.
static void set_error_type(run *r, const char *text) {
    char word[80];
    size_t n = 0;
    for (; *text && n + 1 < sizeof word; text++) {
        unsigned char c = (unsigned char)*text;
        word[n++] = isalnum(c) || c == '_' || c == ' ' ? (char)c : '?';
    }
    word[n] = '\0';
    free(r->result->error_type);
    r->result->error_type = n ? mla_strdup(word) : NULL;
}

static void break_run(run *r, const char *why) {
    snprintf(r->why, sizeof r->why, "%s", why);
    r->phase = RUN_BROKEN;
}

static void end_run(run *r, mla_outcome outcome, const char *error_type) {
    r->ended_by = outcome;
    set_error_type(r, error_type);
    r->result->seconds = mla_clock() - r->began;
    r->phase = RUN_ENDING;
    r->deadline = mla_clock() + r->runner->patience;
    if (syscall(SYS_pidfd_send_signal, r->pidfd, SIGKILL, NULL, 0) < 0 && errno != ESRCH) {
        break_run(r, "a run cannot be ended");
    }
}

static void on_started(run *r, pid_t sender) {
    r->init = sender;
    r->pidfd = (int)syscall(SYS_pidfd_open, sender, 0);
    json_t *go = json_object();
    if (r->pidfd < 0 || mla__warm_send(&r->runner->warm, go, NULL, 0) < 0) {
        break_run(r, "the start of a run was lost");
    } else {
        r->phase = RUN_SCRIPT;
        r->begun = true;
        r->began = mla_clock();
        r->deadline = r->began + r->request->seconds;
    }
    json_decref(go);
}

static void on_exit_report(run *r, const json_t *message) {
    if (r->phase != RUN_SCRIPT) return;      // we ended it first
    int code = (int)mla_json_get_int(message, "code", -1);
    int number = (int)mla_json_get_int(message, "signal", 0);
    // A short run may end between two looks; the kernel's own figure covers its first process.
    double peak_mb = mla_json_get_number(message, "peak_mb", 0);
    if (peak_mb > r->result->peak_mb) r->result->peak_mb = peak_mb;
    r->reported = true;
    r->result->seconds = mla_clock() - r->began;
    r->phase = RUN_ENDING;
    r->deadline = mla_clock() + r->runner->patience;
    if (number) {
        char name[40];
        const char *known = sigabbrev_np(number);
        snprintf(name, sizeof name, "SIG%s", known ? known : "?");
        set_error_type(r, name);
        r->result->outcome = MLA_OUTCOME_KILLED;
    } else if (code) {
        set_error_type(r, mla_json_get_text(message, "error", ""));
        r->result->outcome = MLA_OUTCOME_SCRIPT_ERROR;
    } else {
        r->result->outcome = MLA_OUTCOME_OK;
    }
}

// Nothing of the run is alive. What the kernel ended for memory is out of memory, even when it was
// the first process of the run or a child that the script could do without.
static void on_done(run *r) {
    if (r->ended_by == MLA_OUTCOME_OK && mla__cgroup_killed(&r->runner->cgroup)) {
        r->ended_by = MLA_OUTCOME_OUT_OF_MEMORY;
        set_error_type(r, "");
        if (!r->reported) r->result->seconds = mla_clock() - r->began;
    }
    if (r->reported || r->ended_by != MLA_OUTCOME_OK) r->phase = RUN_GONE;
    else break_run(r, "a run ended without a report");
}

static void on_message(run *r) {
    pid_t sender = 0;
    int folders[MLA__RUN_FOLDERS];
    json_t *message = mla__warm_receive(&r->runner->warm, &sender, folders, MLA__RUN_FOLDERS);
    if (!message) {
        break_run(r, "the warm Python ended");
        return;
    }
    const char *event = mla_json_get_text(message, "event", "");
    if (strcmp(event, "started") == 0 && r->phase == RUN_SETUP) {
        memcpy(r->runner->left, folders, sizeof folders);
        on_started(r, sender);
    } else if (strcmp(event, "exit") == 0) {
        on_exit_report(r, message);
    } else if (strcmp(event, "broken") == 0) {
        if (r->ended_by == MLA_OUTCOME_OK) break_run(r, mla_json_get_text(message, "what", "?"));
    } else if (strcmp(event, "done") == 0) {
        on_done(r);
    }
    json_decref(message);
}

static void on_tick(run *r) {
    if (r->phase != RUN_SCRIPT) return;
    double limit = r->request->memory_mb;
    double mb = mla__watch_memory(r->init, r->runner->left, MLA__RUN_FOLDERS, limit);
    if (mb > r->result->peak_mb) r->result->peak_mb = mb;
    if (mb > limit || mla__cgroup_killed(&r->runner->cgroup)) {
        end_run(r, MLA_OUTCOME_OUT_OF_MEMORY, "");
    }
}

static void on_deadline(run *r) {
    if (r->phase == RUN_SCRIPT) end_run(r, MLA_OUTCOME_TIME_OUT, "");
    else break_run(r, r->phase == RUN_SETUP ? "a run did not start" : "a run did not end");
}

static void on_stream(run *r, int at, int *fd) {
    if (mla__capture_read(&r->captured[at], *fd)) return;
    close(*fd);
    *fd = -1;
}

static void follow(run *r) {
    double next_tick = 0;
    while (r->phase < RUN_GONE) {
        struct pollfd fds[3] = {{.fd = r->runner->warm.sandbox.control, .events = POLLIN},
                                {.fd = r->out, .events = POLLIN},
                                {.fd = r->err, .events = POLLIN}};
        if (poll(fds, 3, TICK_MS) < 0 && errno != EINTR) {
            break_run(r, strerror(errno));
            return;
        }
        if (fds[1].revents) on_stream(r, 0, &r->out);
        if (fds[2].revents) on_stream(r, 1, &r->err);
        if (fds[0].revents) on_message(r);
        double now = mla_clock();
        bool unwanted = r->request->cancelled && *r->request->cancelled;
        if (unwanted && r->phase == RUN_SCRIPT) end_run(r, MLA_OUTCOME_SANDBOX_FAILED, "cancelled");
        if (r->phase < RUN_GONE && now >= r->deadline) on_deadline(r);
        if (now >= next_tick) {
            on_tick(r);
            next_tick = mla_clock() + TICK_MS / 1000.0;
        }
    }
}

// ---- after -----------------------------------------------------------------------------------

static void read_submission(const mla_runner *runner, mla_run_result *result) {
    int got = mla__folder_read(runner->left[0], SUBMISSION, MLA__SUBMISSION_MAX,
                               &result->submission, &result->submission_len);
    result->has_submission = got != 0;
    result->submission_too_big = got < 0;
}

// Every writer is dead, so what is there is all there will be. That there is an end of the stream
// is not certain: the kernel may still hold a descriptor of a script, and is not waited for.
static void drain(run *r, int at, int *fd) {
    for (struct pollfd p = {.fd = *fd, .events = POLLIN}; *fd >= 0 && poll(&p, 1, 0) == 1;) {
        on_stream(r, at, fd);
    }
}

static void finish(run *r) {
    drain(r, 0, &r->out);
    drain(r, 1, &r->err);
    r->result->out = mla__capture_text(&r->captured[0]);
    r->result->err = mla__capture_text(&r->captured[1]);
    if (r->ended_by != MLA_OUTCOME_OK) r->result->outcome = r->ended_by;
    read_submission(r->runner, r->result);
}

static int open_streams(run *r, int ends[2], mla_err *err) {
    int out[2] = {-1, -1}, errs[2] = {-1, -1};
    if (pipe2(out, O_CLOEXEC) < 0 || pipe2(errs, O_CLOEXEC) < 0) {
        if (out[0] >= 0) {
            close(out[0]);
            close(out[1]);
        }
        return mla_err_set(err, "cannot open a run's streams: %s", strerror(errno));
    }
    r->out = out[0];
    r->err = errs[0];
    ends[0] = out[1];
    ends[1] = errs[1];
    return 0;
}

static int start(run *r, mla_err *err) {
    const mla_run_request *request = r->request;
    char *data = NULL;
    int ends[2];
    if (request->data_dir && !(data = relative_data(r->runner, request->data_dir, err))) return -1;
    int rc = prepare(r->runner, request, err);
    if (rc == 0) rc = open_streams(r, ends, err);
    if (rc == 0) {
        json_t *message = describe(r->runner, request, data);
        MLA_ASSERT(message);
        r->deadline = mla_clock() + r->runner->patience;
        if (mla__warm_send(&r->runner->warm, message, ends, 2) < 0) {
            break_run(r, "the warm Python ended");
        }
        json_decref(message);
        close(ends[0]);
        close(ends[1]);
    }
    free(data);
    return rc;
}

int mla__attempt(mla_runner *runner, const mla_run_request *request, mla_run_result *result,
                 mla_err *err) {
    run r = {.request = request, .result = result, .runner = runner, .out = -1, .err = -1,
             .pidfd = -1};
    if (start(&r, err) < 0) return -1;
    mla__capture_init(&r.captured[0], request->max_output);
    mla__capture_init(&r.captured[1], request->max_output);
    follow(&r);
    int rc = 0;
    if (r.phase == RUN_GONE) {
        finish(&r);
    } else {
        mla_err_set(err, "%s", r.why);
        mla__warm_stop(&runner->warm);     // ends what is left of the run
        rc = r.begun ? 2 : 1;
    }
    if (r.out >= 0) close(r.out);
    if (r.err >= 0) close(r.err);
    if (r.pidfd >= 0) close(r.pidfd);
    mla__capture_clear(&r.captured[0]);
    mla__capture_clear(&r.captured[1]);
    return rc;
}

static int replace_if_gone(mla_runner *runner, mla_err *err) {
    if (runner->warm.sandbox.pid > 0) return 0;
    runner->replaced++;
    return mla__runner_warm_up(runner, err);
}

int mla__runner_run(mla_runner *runner, const mla_run_request *request, mla_run_result *result,
                    mla_err *err) {
    *result = (mla_run_result){.outcome = MLA_OUTCOME_SANDBOX_FAILED};
    if (check_script(request->script, err) < 0) return -1;
    for (int tries = 0; tries < 2; tries++) {
        if (replace_if_gone(runner, err) < 0) return -1;
        int rc = mla__attempt(runner, request, result, err);
        if (rc <= 0) return rc;
        mla_warn("worker %d: %s; its sandbox is replaced", runner->index, err ? err->text : "");
        mla__run_result_clear(result);
        result->outcome = MLA_OUTCOME_SANDBOX_FAILED;
        if (rc == 2) break;
    }
    result->error_type = mla_strdup(err ? err->text : "");
    result->out = mla_strdup("");
    result->err = mla_strdup("");
    return replace_if_gone(runner, err);
}

void mla__run_result_clear(mla_run_result *result) {
    free(result->error_type);
    free(result->out);
    free(result->err);
    free(result->submission);
    *result = (mla_run_result){0};
}
