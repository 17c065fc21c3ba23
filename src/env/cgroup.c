// A control group for one runner's sandbox: memory and processes, bounded by the kernel. Version 2
// where its controllers are to be had, else version 1, else none: then the watch and RLIMIT_NPROC
// are all there is. The warm Python is in the group from its start, since moving a process into one
// takes milliseconds; so the limits of a run are set on top of what is in the group before it.
#include "env/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

#define PREFIX "mlagent-"
#define NAMES 1000             // groups of one program and its predecessors of the same pid

// ---- small files -----------------------------------------------------------------------------

static bool read_text(const char *dir, const char *name, char *out, size_t size) {
    char *path = mla_fs_join(dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    free(path);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0) close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

static bool write_text(const char *dir, const char *name, const char *text) {
    char *path = mla_fs_join(dir, name);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    free(path);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return done;
}

static bool write_number(const char *dir, const char *name, long long value) {
    char text[24];
    snprintf(text, sizeof text, "%lld", value);
    return write_text(dir, name, text);
}

static long long read_number(const char *dir, const char *name) {
    char text[64];
    return read_text(dir, name, text, sizeof text) ? strtoll(text, NULL, 10) : 0;
}

// The number behind a key at the start of a line.
static long long read_key(const char *dir, const char *name, const char *key) {
    char text[1024];
    if (!read_text(dir, name, text, sizeof text)) return 0;
    size_t n = strlen(key);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        if (*line == '\n') line++;
        if (strncmp(line, key, n) == 0 && line[n] == ' ') return strtoll(line + n, NULL, 10);
    }
    return 0;
}

// Whether a list, its words parted by any of `marks`, has this word.
static bool has_word(const char *list, const char *word, const char *marks) {
    size_t n = strlen(word);
    for (const char *at = list; *at; at += strcspn(at, marks), at += *at != '\0') {
        if (strcspn(at, marks) == n && strncmp(at, word, n) == 0) return true;
    }
    return false;
}

// ---- where this process is -------------------------------------------------------------------

// This process's group in the hierarchy of `controller` (version 1), or in version 2's ("").
static char *own_group(const char *groups, const char *controller) {
    char *all = mla_strdup(groups), *save = NULL, *found = NULL;
    for (char *line = strtok_r(all, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
        if (!path) continue;
        *path++ = '\0';
        list++;
        if (*controller ? has_word(list, controller, ",") : !*list) found = mla_strdup(path);
        if (found) break;
    }
    free(all);
    return found;
}

// One line of mountinfo: the folder on which `group` is to be seen, when the line is the mount of
// the wanted hierarchy.
static char *place_on(const char *line, const char *controller, const char *group) {
    char root[512], point[512], type[32], options[512];
    const char *rest = strstr(line, " - ");
    if (sscanf(line, "%*s %*s %*s %511s %511s", root, point) != 2 || !rest ||
        sscanf(rest, " - %31s %*s %511s", type, options) != 2) {
        return NULL;
    }
    bool wanted = *controller ? !strcmp(type, "cgroup") && has_word(options, controller, ",")
                              : !strcmp(type, "cgroup2");
    if (!wanted) return NULL;
    size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
    // In a container the mount may begin below the group's own path, or elsewhere.
    bool inside = strncmp(group, root, n) == 0 && (group[n] == '/' || group[n] == '\0');
    const char *below = inside ? group + n : "";
    return mla_format("%s%s", point, strcmp(below, "/") == 0 ? "" : below);
}

char *mla__cgroup_place(const char *groups, const char *mounts, const char *controller) {
    char *group = own_group(groups, controller), *found = NULL;
    const char *line = mounts;
    while (group && !found && line && *line) {
        const char *end = strchr(line, '\n');
        char *one = mla_strndup(line, end ? (size_t)(end - line) : strlen(line));
        found = place_on(one, controller, group);
        free(one);
        line = end ? end + 1 : NULL;
    }
    free(group);
    return found;
}

// ---- making and removing ---------------------------------------------------------------------

static void kill_all(const char *folder) {
    char text[16384];
    if (write_text(folder, "cgroup.kill", "1")) return;        // version 2, Linux 5.14
    if (!read_text(folder, "cgroup.procs", text, sizeof text)) return;
    for (char *at = text, *end;; at = end) {
        long pid = strtol(at, &end, 10);
        if (end == at) return;
        if (pid > 1 && pid != getpid()) kill((pid_t)pid, SIGKILL);
    }
}

// Ends what is in a group and removes it; a group is busy until its last process is gone.
static void clear_away(const char *folder) {
    const struct timespec pause = {.tv_nsec = 2000000};
    for (int tries = 0; tries < 500; tries++) {
        if (rmdir(folder) == 0 || errno == ENOENT) return;
        kill_all(folder);
        nanosleep(&pause, NULL);
    }
    mla_warn("cannot remove the control group %s: %s", folder, strerror(errno));
}

// Whether a group is one of ours: others may call theirs "mlagent-7.service".
static bool is_our_name(const char *name) {
    static const char digits[] = "0123456789";
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) != 0) return false;
    name += sizeof PREFIX - 1;
    size_t pid = strspn(name, digits), number = name[pid] ? strspn(name + pid + 1, digits) : 0;
    return pid && name[pid] == '-' && number && !name[pid + 1 + number];
}

// A program that was killed leaves its groups; the locks on them are free then.
static void sweep(const char *place) {
    DIR *dir = opendir(place);
    const struct dirent *entry;
    while (dir && (entry = readdir(dir))) {
        if (!is_our_name(entry->d_name)) continue;
        int fd = openat(dirfd(dir), entry->d_name,
                        O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0) continue;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
            char *folder = mla_fs_join(place, entry->d_name);
            clear_away(folder);
            free(folder);
        }
        close(fd);
    }
    if (dir) closedir(dir);
}

// A new group below `place`, locked. NULL: not ours to make.
static char *make_group(const char *place, int *lock) {
    sweep(place);
    for (int n = 0; n < NAMES; n++) {
        char *folder = mla_format("%s/" PREFIX "%d-%d", place, (int)getpid(), n);
        if (mkdir(folder, 0755) == 0) {
            *lock = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            if (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) == 0 && mla_fs_exists(folder)) {
                return folder;
            }
            // Another program's sweep was faster than our lock.
            if (*lock >= 0) close(*lock);
            *lock = -1;
        } else if (errno != EEXIST) {
            n = NAMES;
        }
        free(folder);
    }
    return NULL;
}

// Version 2: below our own group where it may have children, else beside it.
static bool open_v2_at(mla__cgroup *out, const char *place, bool enable) {
    char list[512], *procs = mla_fs_join(place, "cgroup.procs");
    bool ours = access(procs, W_OK) == 0;      // what moving a process takes
    free(procs);
    // One by one: what is written at once is taken or refused as a whole.
    if (ours && enable) {
        write_text(place, "cgroup.subtree_control", "+memory");
        write_text(place, "cgroup.subtree_control", "+pids");
    }
    if (!ours || !read_text(place, "cgroup.subtree_control", list, sizeof list) ||
        !has_word(list, "memory", " \n")) {
        return false;
    }
    out->memory = make_group(place, &out->locks[0]);
    if (!out->memory) return false;
    if (has_word(list, "pids", " \n")) out->pids = mla_strdup(out->memory);
    out->version = 2;
    write_text(out->memory, "memory.swap.max", "0");
    return true;
}

static bool open_v2(mla__cgroup *out, const char *groups, const char *mounts) {
    char *place = mla__cgroup_place(groups, mounts, "");
    if (!place) return false;
    bool done = open_v2_at(out, place, true);
    char *slash = strrchr(place, '/');
    if (!done && slash) {
        *slash = '\0';
        done = open_v2_at(out, place, false);
    }
    free(place);
    return done;
}

static char *open_v1_of(const char *groups, const char *mounts, const char *controller,
                        int *lock) {
    char *place = mla__cgroup_place(groups, mounts, controller);
    char *group = place && access(place, W_OK) == 0 ? make_group(place, lock) : NULL;
    free(place);
    return group;
}

void mla__cgroup_open_in(mla__cgroup *out, const char *groups, const char *mounts) {
    *out = (mla__cgroup){.locks = {-1, -1}};
    if (open_v2(out, groups, mounts)) return;
    out->memory = open_v1_of(groups, mounts, "memory", &out->locks[0]);
    out->pids = open_v1_of(groups, mounts, "pids", &out->locks[1]);
    if (out->memory) write_text(out->memory, "memory.swappiness", "0");
    out->version = out->memory || out->pids ? 1 : 0;
}

void mla__cgroup_open(mla__cgroup *out) {
    mla_buf groups, mounts;
    *out = (mla__cgroup){.locks = {-1, -1}};
    if (mla_fs_read("/proc/self/cgroup", 1 << 16, &groups, NULL) < 0) return;
    if (mla_fs_read("/proc/self/mountinfo", 1 << 20, &mounts, NULL) == 0) {
        mla__cgroup_open_in(out, mla_buf_text(&groups), mla_buf_text(&mounts));
        mla_buf_clear(&mounts);
    }
    mla_buf_clear(&groups);
}

void mla__cgroup_close(mla__cgroup *cgroup) {
    bool both = cgroup->pids && cgroup->memory && strcmp(cgroup->pids, cgroup->memory) != 0;
    if (cgroup->memory) clear_away(cgroup->memory);
    if (cgroup->pids && (both || !cgroup->memory)) clear_away(cgroup->pids);
    for (int i = 0; i < 2; i++)
        if (cgroup->locks[i] >= 0) close(cgroup->locks[i]);
    free(cgroup->memory);
    free(cgroup->pids);
    *cgroup = (mla__cgroup){.locks = {-1, -1}};
}

// ---- use -------------------------------------------------------------------------------------

static bool holds(const char *folder, pid_t pid) {
    char text[16384], word[16];
    snprintf(word, sizeof word, "%d", (int)pid);
    return !folder || (read_text(folder, "cgroup.procs", text, sizeof text) &&
                       has_word(text, word, "\n"));
}

bool mla__cgroup_holds(const mla__cgroup *cgroup, pid_t pid) {
    return holds(cgroup->memory, pid) && holds(cgroup->pids, pid);
}

static long long count_killed(const mla__cgroup *cgroup) {
    if (!cgroup->memory) return 0;
    return read_key(cgroup->memory, cgroup->version == 2 ? "memory.events" : "memory.oom_control",
                    "oom_kill");
}

void mla__cgroup_limit(mla__cgroup *cgroup, int memory_mb, int processes) {
    bool v2 = cgroup->version == 2, done = true;
    if (cgroup->memory) {
        long long used = read_number(cgroup->memory,
                                     v2 ? "memory.current" : "memory.usage_in_bytes");
        done &= write_number(cgroup->memory, v2 ? "memory.max" : "memory.limit_in_bytes",
                             used + ((long long)memory_mb << 20));
    }
    if (cgroup->pids) {
        done &= write_number(cgroup->pids, "pids.max",
                             read_number(cgroup->pids, "pids.current") + processes);
    }
    if (!done) mla_debug("a limit of a control group cannot be set: %s", strerror(errno));
    cgroup->killed = count_killed(cgroup);
}

bool mla__cgroup_killed(const mla__cgroup *cgroup) {
    return count_killed(cgroup) > cgroup->killed;
}
