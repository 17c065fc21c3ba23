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

// What one control group's limit leaves.
static uint64_t left_in(const char *group) {
    char *max = mla_format("%s/memory.max", group), *used = mla_format("%s/memory.current", group);
    char *stat = mla_format("%s/memory.stat", group);
    uint64_t limit = number_in(max, ""), taken = number_in(used, ""), left = UINT64_MAX;
    if (limit != UINT64_MAX && taken != UINT64_MAX) {
        uint64_t cache = number_in(stat, "file ");
        if (cache != UINT64_MAX) taken -= less(cache, taken);
        left = limit > taken ? limit - taken : 0;
    }
    free(max);
    free(used);
    free(stat);
    return left;
}

// Of this process's group and those above it.
static uint64_t left_in_groups(void) {
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[512], group[600];
    uint64_t left = UINT64_MAX;
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "0::", 3) != 0) continue;
        line[strcspn(line, "\n")] = '\0';
        snprintf(group, sizeof group, "/sys/fs/cgroup%s", line + 3);
        const size_t root = strlen("/sys/fs/cgroup");
        for (char *slash = group; slash; slash = strrchr(group + root, '/')) {
            if (slash != group) *slash = '\0';
            left = less(left, left_in(group));
        }
    }
    if (file) fclose(file);
    return left;
}

uint64_t mla_ram_available(void) {
    uint64_t kilobytes = number_in("/proc/meminfo", "MemAvailable:");
    return less(kilobytes == UINT64_MAX ? kilobytes : kilobytes * 1024, left_in_groups());
}
