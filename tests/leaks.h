// What runs may leave behind on the host, counted, so that before and after can be compared: this
// process's descriptors and descendants, mounts here and in the sandboxes, temporary files, control
// groups. Zombies are counted among the descendants and once more by themselves.
#ifndef MLA_TESTS_LEAKS_H
#define MLA_TESTS_LEAKS_H

#include <dirent.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct leaks {
    size_t descriptors, descendants, zombies, mounts, temporary, groups;
} leaks;

#define LEAKS_MAX 4096

typedef struct {
    int pid, parent;
    char state;
} leaks_process;

static inline size_t leaks_entries(const char *path) {
    size_t n = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n;
}

static inline size_t leaks_lines(const char *path) {
    FILE *file = fopen(path, "r");
    size_t n = 0;
    for (int c; file && (c = fgetc(file)) != EOF;) n += c == '\n';
    if (file) fclose(file);
    return n;
}

static inline size_t leaks_processes(leaks_process *out) {
    size_t n = 0;
    DIR *dir = opendir("/proc");
    const struct dirent *entry;
    while (dir && (entry = readdir(dir)) && n < LEAKS_MAX) {
        char path[300];
        snprintf(path, sizeof path, "/proc/%.20s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        if (!file) continue;
        leaks_process *p = &out[n];
        if (fscanf(file, "%d (%*[^)]) %c %d", &p->pid, &p->state, &p->parent) == 3) n++;
        fclose(file);
    }
    if (dir) closedir(dir);
    return n;
}

// Adds the descendants of `pid`, and the mounts that each of them sees.
static inline void leaks_below(const leaks_process *all, size_t n, int pid, leaks *out) {
    for (size_t i = 0; i < n; i++) {
        if (all[i].parent != pid) continue;
        char path[40];
        snprintf(path, sizeof path, "/proc/%d/mountinfo", all[i].pid);
        out->descendants++;
        out->zombies += all[i].state == 'Z';
        out->mounts += leaks_lines(path);
        leaks_below(all, n, all[i].pid, out);
    }
}

// How many descendants this process has.
static inline size_t leaks_descendants(void) {
    leaks found = {0};
    leaks_process *all = malloc(LEAKS_MAX * sizeof *all);
    leaks_below(all, leaks_processes(all), (int)getpid(), &found);
    free(all);
    return found.descendants;
}

static inline size_t leaks_groups_below(const char *path, const char *prefix, int depth) {
    size_t n = 0;
    DIR *dir = opendir(path);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.') continue;
        n += strncmp(entry->d_name, prefix, strlen(prefix)) == 0;
        char below[1024];
        snprintf(below, sizeof below, "%.600s/%.300s", path, entry->d_name);
        if (depth < 12) n += leaks_groups_below(below, prefix, depth + 1);
    }
    if (dir) closedir(dir);
    return n;
}

// `temporary`: the folder that TMPDIR names.
static inline leaks leaks_count(const char *temporary) {
    leaks out = {.descriptors = leaks_entries("/proc/self/fd"),
                 .mounts = leaks_lines("/proc/self/mountinfo"),
                 .temporary = leaks_entries(temporary)};
    leaks_process *all = malloc(LEAKS_MAX * sizeof *all);
    leaks_below(all, leaks_processes(all), (int)getpid(), &out);
    free(all);
    char prefix[40];
    snprintf(prefix, sizeof prefix, "mlagent-%d-", (int)getpid());
    out.groups = leaks_groups_below("/sys/fs/cgroup", prefix, 0);
    return out;
}

static inline void leaks_print(const char *when, const leaks *l) {
    printf("%s: %zu descriptors, %zu descendants, %zu zombies, %zu mounts, %zu temporary files, "
           "%zu control groups\n", when, l->descriptors, l->descendants, l->zombies, l->mounts,
           l->temporary, l->groups);
}

static inline bool leaks_same(const leaks *a, const leaks *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

#endif
