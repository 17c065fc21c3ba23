// Memory of a run, read from the host's /proc and the run's own file systems while it runs. An
// address-space limit would break the threads of OpenBLAS, and a control group is not writable
// everywhere; this works for anybody.
#include "env/sandbox.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/mem.h"

#define MAX_PROCESSES 1024

static ssize_t read_small(const char *path, char *out, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0) close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

// Appends the children of one thread; returns the new number of processes.
static size_t thread_children(pid_t pid, const char *thread, pid_t *pids, size_t n) {
    char path[80], text[4096];
    snprintf(path, sizeof path, "/proc/%d/task/%s/children", (int)pid, thread);
    read_small(path, text, sizeof text);
    char *at = text;
    while (n < MAX_PROCESSES) {
        char *end;
        long child = strtol(at, &end, 10);
        if (end == at) break;
        pids[n++] = (pid_t)child;
        at = end;
    }
    return n;
}

static size_t children(pid_t pid, pid_t *pids, size_t n) {
    char path[40];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *dir = opendir(path);
    if (!dir) return n;
    const struct dirent *entry;
    while ((entry = readdir(dir)) && n < MAX_PROCESSES) {
        if (entry->d_name[0] != '.') n = thread_children(pid, entry->d_name, pids, n);
    }
    closedir(dir);
    return n;
}

// The sum of some lines of a file of "Name:  number kB" below /proc/PID; -1 when it tells nothing.
static double sum_lines(pid_t pid, const char *file, const char *const *names, size_t n) {
    char path[40], text[4096];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file);
    if (read_small(path, text, sizeof text) <= 0) return -1;
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        const char *line = strstr(text, names[i]);
        if (line) total += (double)strtol(line + strlen(names[i]), NULL, 10) / 1024;
    }
    return total;
}

// What no mapped page accounts for: a page table may be as large as a program likes though it maps
// nothing but the page of zeros.
static const char *const held[] = {"\nVmPTE:", "\nVmSwap:", "\nHugetlbPages:", "\nVmRSS:"};

static double held_mb(pid_t pid) {
    double mb = sum_lines(pid, "status", held, MLA_COUNT(held));
    return mb > 0 ? mb : 0;
}

// The same with each process's share of its pages: forks of one process are not counted twice for
// what they have in common. Slow, so only asked when the plain sum is above the limit.
static double shared_mb(pid_t pid) {
    static const char *const shares[] = {"\nPss:"};
    double mb = sum_lines(pid, "smaps_rollup", shares, 1);
    return mb < 0 ? held_mb(pid) : mb + sum_lines(pid, "status", held, MLA_COUNT(held) - 1);
}

static double sum(const pid_t *pids, size_t n, double (*one)(pid_t)) {
    double total = 0;
    for (size_t i = 0; i < n; i++) total += one(pids[i]);
    return total;
}

// What files in memory take, of processes or not: those of a closed run would count until let go.
static double files_mb(const int *folders, size_t n) {
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        struct statvfs fs;
        if (folders[i] < 0 || fstatvfs(folders[i], &fs) < 0) continue;
        total += (double)(fs.f_blocks - fs.f_bfree) * (double)fs.f_frsize / (1 << 20);
    }
    return total;
}

bool mla__watch_works(void) {
    char path[80], text[4096];
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
    return read_small(path, text, sizeof text) >= 0 && held_mb(getpid()) > 0;
}

double mla__watch_memory(pid_t root, const int *folders, size_t n_folders, double limit_mb) {
    pid_t pids[MAX_PROCESSES];
    size_t n = children(root, pids, 0);
    for (size_t at = 0; at < n; at++) n = children(pids[at], pids, n);
    double files = files_mb(folders, n_folders), total = files + sum(pids, n, held_mb);
    return total > limit_mb && n > 1 ? files + sum(pids, n, shared_mb) : total;
}
