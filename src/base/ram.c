// Reads /proc and /sys/fs/cgroup. Page cache counts as free, for the kernel gives it back.
#include "base/ram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

// The number after `key` at the beginning of a line of a file ("": the file's first line), or
// UINT64_MAX.
static uint64_t number_in(const char *path, const char *key) {
    FILE *file = fopen(path, "re");
    char line[256];
    uint64_t value = UINT64_MAX;
    while (file && value == UINT64_MAX && fgets(line, sizeof line, file)) {
        const char *at = line + strlen(key);
        char *end;
        if (strncmp(line, key, strlen(key)) != 0) continue;
        uint64_t read = strtoull(at, &end, 10);
        if (end != at) value = read;
    }
    if (file) fclose(file);
    return value;
}

static uint64_t less(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

// The two versions of control groups: how their lines in /proc/self/cgroup go on after the number,
// where they are mounted, and the files of a limit, what counts towards it, and the cache in that.
static const struct {
    const char *line, *root, *limit, *used, *cache;
} versions[] = {
    {":", "/sys/fs/cgroup", "memory.max", "memory.current", "file "},
    {"memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_cache "},
};

// What one control group's limit leaves. Version 1 calls no limit a number that none reaches.
static uint64_t left_in(const char *group, size_t version) {
    char *limit = mla_format("%s/%s", group, versions[version].limit);
    char *used = mla_format("%s/%s", group, versions[version].used);
    char *stat = mla_format("%s/memory.stat", group);
    uint64_t most = number_in(limit, ""), taken = number_in(used, ""), left = UINT64_MAX;
    if (most != UINT64_MAX && taken != UINT64_MAX) {
        uint64_t cache = number_in(stat, versions[version].cache);
        if (cache != UINT64_MAX) taken -= less(cache, taken);
        left = most > taken ? most - taken : 0;
    }
    free(limit);
    free(used);
    free(stat);
    return left;
}

// Of the group at `path` and those above it.
static uint64_t left_above(const char *path, size_t version) {
    char *group = mla_format("%s%s", versions[version].root, path);
    const size_t root = strlen(versions[version].root);
    uint64_t left = left_in(group, version);
    for (char *slash; (slash = strrchr(group + root, '/')) != NULL;) {
        *slash = '\0';
        left = less(left, left_in(group, version));
    }
    free(group);
    return left;
}

static uint64_t left_in_groups(void) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[512];
    uint64_t left = UINT64_MAX;
    while (file && fgets(line, sizeof line, file)) {
        const char *at = strchr(line, ':');
        line[strcspn(line, "\n")] = '\0';
        for (size_t v = 0; at && v < MLA_COUNT(versions); v++) {
            const size_t n = strlen(versions[v].line);
            if (strncmp(at + 1, versions[v].line, n) == 0)
                left = less(left, left_above(at + 1 + n, v));
        }
    }
    if (file) fclose(file);
    return left;
}

uint64_t mla_ram_available(void) {
    uint64_t kilobytes = number_in("/proc/meminfo", "MemAvailable:");
    return less(kilobytes == UINT64_MAX ? kilobytes : kilobytes * 1024, left_in_groups());
}
