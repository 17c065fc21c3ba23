// The warm Python: starts it in a sandbox, waits until its packages are imported, and speaks with
// it in JSON messages over a socket that keeps their borders. What a run is stands in execute.c.
#include "env/sandbox.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define START_SECONDS 120     // importing everything from a cold disk
#define MESSAGE_MAX 65536

// The Python text has one home, warm.py; the assembler puts it into the program.
__asm__(".pushsection .rodata\n"
        ".global mla__warm_py\n"
        "mla__warm_py:\n"
        ".incbin \"src/env/warm.py\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char mla__warm_py[];

// Takes its program from the socket, so that a list of processes stays readable.
static const char bootstrap[] =
    "import os; exec(compile(os.read(3, 1 << 17), 'warm.py', 'exec'))";

static char *hex(const mla_buf *bytes) {
    static const char digit[] = "0123456789abcdef";
    char *out = mla_alloc(2 * bytes->len + 1, 1);
    for (size_t i = 0; i < bytes->len; i++) {
        unsigned char byte = (unsigned char)bytes->data[i];
        out[2 * i] = digit[byte >> 4];
        out[2 * i + 1] = digit[byte & 15];
    }
    return out;
}

static int add_filter(json_t *hello, const char *key, bool strict, mla_err *err) {
    mla_buf bpf;
    if (mla__seccomp_build(strict, &bpf, err) < 0) return -1;
    char *text = hex(&bpf);
    json_object_set_new(hello, key, json_string(text));
    free(text);
    mla_buf_clear(&bpf);
    return 0;
}

static int send_text(const mla__warm *warm, const char *text) {
    ssize_t n;
    do n = send(warm->sandbox.control, text, strlen(text), MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -1 : 0;
}

static int greet(mla__warm *warm, mla_err *err) {
    json_t *hello = json_object();
    json_object_set_new(hello, "clone", json_integer(SYS_clone));
    int rc = add_filter(hello, "outer", false, err);
    if (rc == 0) rc = add_filter(hello, "strict", true, err);
    if (rc == 0 && (send_text(warm, mla__warm_py) < 0 ||
                    mla__warm_send(warm, hello, NULL, 0) < 0)) {
        rc = mla_err_set(err, "the sandbox ended as soon as it began");
    }
    json_decref(hello);
    return rc;
}

// 1: ready; 0: it ended; -1: no answer in time.
static int await_ready(mla__warm *warm) {
    double until = mla_clock() + START_SECONDS;
    for (;;) {
        double left = until - mla_clock();
        if (left <= 0) return -1;
        struct pollfd ready = {.fd = warm->sandbox.control, .events = POLLIN};
        int n = poll(&ready, 1, (int)(left * 1000) + 1);
        if (n < 0 && errno != EINTR) return 0;
        if (n <= 0) continue;
        json_t *message = mla__warm_receive(warm, &warm->pid, NULL, 0);
        if (!message) return 0;
        warm->pidfd = (int)syscall(SYS_pidfd_open, warm->pid, 0);
        warm->versions = mla_strdup(mla_json_get_text(message, "versions", "python"));
        warm->namespaces = json_incref(json_object_get(message, "namespaces"));
        json_decref(message);
        return 1;
    }
}

int mla__warm_start(mla__warm *warm, const mla__python *python, const mla__place *place,
                    mla_err *err) {
    *warm = (mla__warm){.pidfd = -1};
    if (mla__sandbox_start(&warm->sandbox, python, place, bootstrap, err) < 0) return -1;
    // A sandbox that is gone already says why in its log, which is the better message.
    int rc = greet(warm, err) < 0 ? 0 : await_ready(warm);
    if (rc == 1) return 0;
    if (rc < 0) {
        mla_err_set(err, "could not start Python: %s did not import its packages in %d seconds",
                    python->executable, START_SECONDS);
    } else {
        struct pollfd gone = {.fd = warm->sandbox.control};
        poll(&gone, 1, 1000);
        mla__sandbox_explain(&warm->sandbox, python, err);
    }
    mla__warm_stop(warm);
    return -1;
}

void mla__warm_stop(mla__warm *warm) {
    if (warm->sandbox.pid > 0) {
        mla__sandbox_stop(&warm->sandbox, warm->pidfd);
        if (warm->pidfd >= 0) close(warm->pidfd);
    }
    free(warm->versions);
    json_decref(warm->namespaces);
    *warm = (mla__warm){.sandbox = {.pid = -1, .control = -1, .log = -1}};
}

int mla__warm_send(mla__warm *warm, const json_t *message, const int *fds, size_t fd_count) {
    MLA_ASSERT(fd_count <= 2);
    char *text = mla_json_line(message);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(2 * sizeof(int))];
    } control;
    memset(&control, 0, sizeof control);
    struct iovec part = {.iov_base = text, .iov_len = strlen(text)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (fd_count) {
        header.msg_control = control.bytes;
        header.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(cmsg), fds, fd_count * sizeof(int));
    }
    ssize_t n;
    do n = sendmsg(warm->sandbox.control, &header, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    free(text);
    return n < 0 ? -1 : 0;
}

// Takes what the control part of a message brings: descriptors beyond those wanted are closed.
static void take_control(struct msghdr *header, pid_t *sender, int *fds, size_t fd_count) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c; c = CMSG_NXTHDR(header, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred who;
            memcpy(&who, CMSG_DATA(c), sizeof who);
            *sender = who.pid;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
            size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (size_t i = 0; i < n; i++) {
                int fd;
                memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
                if (i < fd_count) fds[i] = fd;
                else close(fd);
            }
        }
    }
}

json_t *mla__warm_receive(mla__warm *warm, pid_t *sender, int *fds, size_t fd_count) {
    for (size_t i = 0; i < fd_count; i++) fds[i] = -1;
    static const size_t max = MESSAGE_MAX;
    char *text = mla_alloc(max, 1);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(4 * sizeof(int))];
    } control;
    struct iovec part = {.iov_base = text, .iov_len = max};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control.bytes,
                            .msg_controllen = sizeof control.bytes};
    ssize_t n;
    do n = recvmsg(warm->sandbox.control, &header, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    json_t *message = n > 0 ? mla_json_parse(text, (size_t)n, "the warm Python", NULL) : NULL;
    free(text);
    if (n > 0) take_control(&header, sender, fds, fd_count);
    return message;
}
