// A control group for one runner's sandbox (cgroup.c): the kernel's own limits on memory and
// processes, version 2 or 1, where this process may make one.
#ifndef MLA_ENV_CGROUP_H
#define MLA_ENV_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

typedef struct mla__cgroup {
    int version;             // 2 or 1; 0: there is none, and every limit is left to others
    char *memory, *pids;     // folders of the group, the same in version 2; NULL: no such limit
    int locks[2];            // held while they are ours: others clear away what is not locked
    long long killed;        // processes that the kernel had ended for memory at the last limit
} mla__cgroup;

// Never fails; clears away what killed programs left.
void mla__cgroup_open(mla__cgroup *out);
// The same by the texts of /proc/self/cgroup and /proc/self/mountinfo.
void mla__cgroup_open_in(mla__cgroup *out, const char *groups, const char *mounts);
void mla__cgroup_close(mla__cgroup *cgroup);    // ends what is in it and removes it
bool mla__cgroup_holds(const mla__cgroup *cgroup, pid_t pid);
// Limits for a run that is about to begin, on top of what the group holds now.
void mla__cgroup_limit(mla__cgroup *cgroup, int memory_mb, int processes);
// Whether the kernel has ended a process of the group for memory since then.
bool mla__cgroup_killed(const mla__cgroup *cgroup);

// The folder of this process's group for a controller of version 1 ("memory"), or of version 2
// (""), from the texts of /proc/self/cgroup and /proc/self/mountinfo. NULL: not mounted.
char *mla__cgroup_place(const char *groups, const char *mounts, const char *controller);

#endif
