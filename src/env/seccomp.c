// The system call filters, built by libseccomp and exported as BPF for the warm Python to load: one
// for itself, a stricter one for each script. They name what is denied: scripts are any Python, so
// a list of what is allowed would break honest ones, and what counts (files, network, processes)
// is already shut out by namespaces. What remains is the kernel's attack surface and the few ways
// to hold memory that our watch does not see.
#include "env/sandbox.h"

#include <errno.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/mem.h"

// Denied to everything in the sandbox. A name that the machine does not know is passed over.
static const char *const denied_always[] = {
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd",
    "kexec_load", "kexec_file_load", "init_module", "finit_module", "delete_module", "bpf",
    "perf_event_open", "userfaultfd", "add_key", "request_key", "keyctl", "swapon", "swapoff",
    "reboot", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex", "acct", "quotactl",
    "quotactl_fd", "syslog", "iopl", "ioperm", "vhangup", "name_to_handle_at",
    "open_by_handle_at", "fanotify_init", "lookup_dcookie", "nfsservctl", "uselib", "_sysctl",
    "move_pages", "migrate_pages", "pivot_root", "chroot", "setns", "open_tree", "move_mount",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "sethostname", "setdomainname",
    "open_tree_attr", "modify_ldt",
};

// Denied to scripts besides: namespaces, mounts, the network, and memory outside any process. A
// descriptor sent over a socket pair (sendmsg) may outlive every process, and with it the run's
// files and streams; sets of semaphores are memory that nobody counts; contexts of io_setup are
// few, and those of the whole machine.
static const char *const denied_to_scripts[] = {
    "mount", "umount", "umount2", "unshare", "socket", "memfd_create", "memfd_secret", "shmget",
    "shmat", "msgget", "semget", "sendmsg", "sendmmsg", "io_setup", "seccomp",
};

// Absent rather than denied: the C library then falls back to older calls that can be filtered.
static const char *const absent[] = {
    "clone3", "io_uring_setup", "io_uring_enter", "io_uring_register",
};

static const uint64_t namespace_flags[] = {
    CLONE_NEWNS,   CLONE_NEWUTS, CLONE_NEWIPC,    CLONE_NEWUSER,
    CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWCGROUP,
};

static int deny(scmp_filter_ctx ctx, uint32_t action, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int nr = seccomp_syscall_resolve_name(names[i]);
        if (nr < 0) continue;
        int rc = seccomp_rule_add(ctx, action, nr, 0);
        if (rc < 0) return rc;
    }
    return 0;
}

static int deny_namespaces(scmp_filter_ctx ctx) {
    for (size_t i = 0; i < MLA_COUNT(namespace_flags); i++) {
        uint64_t flag = namespace_flags[i];
        int rc = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(clone), 1,
                                  SCMP_A0(SCMP_CMP_MASKED_EQ, flag, flag));
        if (rc < 0) return rc;
    }
    return 0;
}

// Limits of other processes: process 1 of the run is of the same user. And the limit of core files
// (warm.py).
static int deny_limits(scmp_filter_ctx ctx) {
    uint32_t eperm = SCMP_ACT_ERRNO(EPERM);
    int rc = seccomp_rule_add(ctx, eperm, SCMP_SYS(prlimit64), 1, SCMP_A0(SCMP_CMP_NE, 0));
    if (rc == 0) {
        rc = seccomp_rule_add(ctx, eperm, SCMP_SYS(prlimit64), 2,
                              SCMP_A1(SCMP_CMP_EQ, RLIMIT_CORE), SCMP_A2(SCMP_CMP_NE, 0));
    }
    if (rc < 0) return rc;
    return seccomp_rule_add(ctx, eperm, SCMP_SYS(setrlimit), 1, SCMP_A0(SCMP_CMP_EQ, RLIMIT_CORE));
}

static int fill(scmp_filter_ctx ctx, bool strict) {
    uint32_t eperm = SCMP_ACT_ERRNO(EPERM), enosys = SCMP_ACT_ERRNO(ENOSYS);
    // A call of another architecture ends the process: its thread alone would leave the others.
    int rc = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (rc == 0) rc = deny(ctx, eperm, denied_always, MLA_COUNT(denied_always));
    if (rc == 0) rc = deny(ctx, enosys, absent, MLA_COUNT(absent));
    if (rc == 0 && strict) {
        rc = deny(ctx, eperm, denied_to_scripts, MLA_COUNT(denied_to_scripts));
        if (rc == 0) rc = deny_namespaces(ctx);
        if (rc == 0) rc = deny_limits(ctx);
    }
    return rc;
}

static int export_bpf(scmp_filter_ctx ctx, mla_buf *out) {
    int fd = memfd_create("mlagent-seccomp", MFD_CLOEXEC);
    if (fd < 0) return -errno;
    int rc = seccomp_export_bpf(ctx, fd);
    char bytes[4096];
    ssize_t got;
    off_t at = 0;
    while (rc == 0 && (got = pread(fd, bytes, sizeof bytes, at)) > 0) {
        mla_buf_append(out, bytes, (size_t)got);
        at += got;
    }
    close(fd);
    return rc;
}

int mla__seccomp_build(bool strict, mla_buf *out, mla_err *err) {
    mla_buf_init(out, 1 << 16);
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
    int rc = ctx ? fill(ctx, strict) : -ENOMEM;
    if (rc == 0) rc = export_bpf(ctx, out);
    if (ctx) seccomp_release(ctx);
    if (rc == 0 && out->len > 0 && !out->truncated) return 0;
    mla_buf_clear(out);
    return mla_err_set(err, "cannot build the system call filter: %s", strerror(-rc));
}
