// The protections of a run, one row each: a script looks around inside, and what it saw is held
// against the host. A runner asks before its first real script, so that a machine that gives less
// than it should is noticed wherever scripts run, not only when somebody checks.
#include "env/protections.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "env/sandbox.h"

const char mla__probe_script[] =
    "import json, os, resource, socket, sys\n"
    "status = dict(l.split(':\\t', 1) for l in open('/proc/self/status') if ':\\t' in l)\n"
    "def opens(*kind):\n"
    "    try: socket.socket(*kind).close()\n"
    "    except OSError: return False\n"
    "    return True\n"
    "def folder(path):\n"
    "    v = os.statvfs(path)\n"
    "    return {'read_only': bool(v.f_flag & os.ST_RDONLY), 'inodes': v.f_files,\n"
    "            'mb': v.f_blocks * v.f_frsize >> 20}\n"
    "limit = lambda which: resource.getrlimit(which)[1]\n"
    "names = ('user', 'mnt', 'pid', 'ipc', 'net', 'uts', 'cgroup')\n"
    "print(json.dumps({\n"
    "    'namespaces': {n: os.readlink('/proc/self/ns/' + n) for n in names},\n"
    "    'processes': sum(n.isdigit() for n in os.listdir('/proc')),\n"
    "    'interfaces': len(list(open('/proc/net/dev'))) - 2, 'uid': os.getuid(),\n"
    "    'capabilities': ' '.join(status['Cap' + s].strip() for s in ('Eff', 'Prm', 'Bnd')),\n"
    "    'no_new': status['NoNewPrivs'].strip(), 'filter': status['Seccomp'].strip(),\n"
    "    'sockets': opens() or opens(socket.AF_UNIX) or opens(socket.AF_INET, socket.SOCK_DGRAM),\n"
    "    'folders': {p: folder(p) for p in ('/', '/usr', '/dev', '/proc', '/mla/data',\n"
    "                                       sys.prefix, sys.base_prefix, os.getcwd(), '/tmp',\n"
    "                                       '/dev/shm')},\n"
    "    'nproc': limit(resource.RLIMIT_NPROC), 'nofile': limit(resource.RLIMIT_NOFILE),\n"
    "    'fsize': limit(resource.RLIMIT_FSIZE), 'cpu': limit(resource.RLIMIT_CPU)}))\n";

typedef struct facts {
    const mla_runner *runner;
    const json_t *seen;        // by the script
} facts;

typedef struct answer {
    bool given;
    char how[120];
} answer;

#define ANSWER(yes, ...)                                                      \
    do {                                                                      \
        answer a = {.given = (yes)};                                          \
        snprintf(a.how, sizeof a.how, __VA_ARGS__);                           \
        return a;                                                             \
    } while (0)

// ---- namespaces ------------------------------------------------------------------------------

// Whether the script's namespace is neither the host's nor, where each run has its own, the warm
// Python's.
static bool is_apart(const facts *f, const char *name, bool each_run) {
    char path[64], host[64] = "";
    snprintf(path, sizeof path, "/proc/self/ns/%s", name);
    ssize_t n = readlink(path, host, sizeof host - 1);
    const char *seen = mla_json_get_text(json_object_get(f->seen, "namespaces"), name, "");
    const char *warm = mla_json_get_text(f->runner->warm.namespaces, name, "");
    return n > 0 && *seen && strcmp(seen, host) != 0 && !(each_run && strcmp(seen, warm) == 0);
}

static answer name_space(const facts *f, const char *name, bool each_run) {
    bool apart = is_apart(f, name, each_run);
    ANSWER(apart, "%s", !apart ? "shared" : each_run ? "a namespace for each run"
                                                     : "a namespace for each worker");
}

static answer user_space(const facts *f) { return name_space(f, "user", true); }
static answer mount_space(const facts *f) { return name_space(f, "mnt", true); }
static answer ipc_space(const facts *f) { return name_space(f, "ipc", true); }
static answer uts_space(const facts *f) { return name_space(f, "uts", false); }
static answer cgroup_space(const facts *f) { return name_space(f, "cgroup", false); }

static answer pid_space(const facts *f) {
    long long n = mla_json_get_int(f->seen, "processes", 0);
    if (!is_apart(f, "pid", true)) ANSWER(false, "shared");
    ANSWER(n == 2, "a namespace for each run, which sees %lld processes", n);
}

static answer net_space(const facts *f) {
    long long n = mla_json_get_int(f->seen, "interfaces", 99);
    if (!is_apart(f, "net", false)) ANSWER(false, "shared");
    ANSWER(n <= 1, "a namespace for each worker, with %lld interface%s", n, n == 1 ? " (lo)" : "s");
}

// ---- privileges ------------------------------------------------------------------------------

static answer sockets(const facts *f) {
    bool open = mla_json_get_bool(f->seen, "sockets", true);
    ANSWER(!open, "socket() is %s", open ? "allowed" : "refused by the filter");
}

static answer ordinary_user(const facts *f) {
    long long inside = mla_json_get_int(f->seen, "uid", 0);
    uid_t outside = f->runner->runs_as.uid;
    // 0: this container has one user only, who is an ordinary one outside (mla__sandbox_identity).
    ANSWER(inside != 0, "uid %lld inside, %u outside", inside, outside);
}

static answer no_capabilities(const facts *f) {
    const char *sets = mla_json_get_text(f->seen, "capabilities", "?");
    bool none = strspn(sets, "0 ") == strlen(sets);
    ANSWER(none, "%s", none ? "all sets are empty" : sets);
}

static answer no_new_privileges(const facts *f) {
    ANSWER(strcmp(mla_json_get_text(f->seen, "no_new", ""), "1") == 0, "PR_SET_NO_NEW_PRIVS");
}

static answer call_filter(const facts *f) {
    ANSWER(strcmp(mla_json_get_text(f->seen, "filter", ""), "2") == 0, "seccomp");
}

// ---- files -----------------------------------------------------------------------------------

static const json_t *folder(const facts *f, const char *path) {
    return json_object_get(json_object_get(f->seen, "folders"), path);
}

static answer read_only(const facts *f) {
    const char *const paths[] = {"/", "/usr", "/dev", "/proc", "/mla/data",
                                 f->runner->python.prefix, f->runner->python.base_prefix};
    for (size_t i = 0; i < MLA_COUNT(paths); i++) {
        if (!mla_json_get_bool(folder(f, paths[i]), "read_only", i >= 5)) {
            ANSWER(false, "%s can be written to", paths[i]);
        }
    }
    ANSWER(true, "system, interpreter and data are mounted read-only");
}

static answer own_files(const facts *f) {
    static const char *const paths[] = {"/mla/workspace", "/tmp", "/dev/shm"};
    long long mb[3], inodes[3];
    bool bounded = true;
    for (size_t i = 0; i < MLA_COUNT(paths); i++) {
        mb[i] = mla_json_get_int(folder(f, paths[i]), "mb", 0);
        inodes[i] = mla_json_get_int(folder(f, paths[i]), "inodes", 0);
        bounded &= f->runner->left[i] >= 0 && mb[i] > 0 && mb[i] <= 4096 && inodes[i] > 0;
    }
    ANSWER(bounded, "workspace at most %lld MB and %lld files, /tmp and /dev/shm %lld MB each",
           mb[0], inodes[0], mb[1]);
}

// ---- limits ----------------------------------------------------------------------------------

static answer process_limit(const facts *f) {
    long long n = mla_json_get_int(f->seen, "nproc", -1);
    ANSWER(n > 0 && n <= MLA__PROCESSES, "RLIMIT_NPROC %lld", n);
}

static answer file_limits(const facts *f) {
    long long files = mla_json_get_int(f->seen, "nofile", -1);
    long long size = mla_json_get_int(f->seen, "fsize", -1);
    ANSWER(files > 0 && size > 0, "RLIMIT_NOFILE %lld, RLIMIT_FSIZE %lld MB", files, size >> 20);
}

static answer wall_clock(const facts *f) {
    (void)f;
    ANSWER(true, "our own clock ends process 1 of the run, and so all of it");
}

static answer processor_time(const facts *f) {
    long long n = mla_json_get_int(f->seen, "cpu", -1);
    ANSWER(n > 0, "RLIMIT_CPU for each process, behind the clock");
}

static answer memory_watch(const facts *f) {
    (void)f;
    bool works = mla__watch_works();
    ANSWER(works, "%s", works ? "our own watch, 50 times a second: resident memory and files"
                              : "/proc does not tell the children of a process");
}

static answer memory_group(const facts *f) {
    const mla__cgroup *g = &f->runner->cgroup;
    if (!g->memory) ANSWER(false, "no control group may be made here");
    ANSWER(true, "control group, version %d", g->version);
}

static answer process_group(const facts *f) {
    const mla__cgroup *g = &f->runner->cgroup;
    if (!g->pids) ANSWER(false, "no control group may be made here");
    ANSWER(true, "control group, version %d", g->version);
}

static const struct {
    const char *name;
    bool required;
    answer (*ask)(const facts *f);
} rows[] = {
    {"own user namespace", true, user_space},
    {"own mounts", true, mount_space},
    {"own processes", true, pid_space},
    {"own shared memory", true, ipc_space},
    {"no network", true, net_space},
    {"no sockets", true, sockets},
    {"ordinary user", true, ordinary_user},
    {"no capabilities", true, no_capabilities},
    {"no new privileges", true, no_new_privileges},
    {"system call filter", true, call_filter},
    {"read-only system", true, read_only},
    {"bounded files", true, own_files},
    {"bounded processes", true, process_limit},
    {"bounded open files", true, file_limits},
    {"wall clock", true, wall_clock},
    {"processor time", true, processor_time},
    {"memory watch", true, memory_watch},
    {"memory by the kernel", false, memory_group},
    {"processes by the kernel", false, process_group},
    {"own host name", false, uts_space},
    {"own control groups", false, cgroup_space},
};

int mla__protections_judge(const mla_runner *runner, const char *seen,
                           mla_protection out[MLA_PROTECTIONS_MAX], size_t *n, mla_err *err) {
    json_t *object = mla_json_parse(seen, strlen(seen), "what a script saw in the sandbox", err);
    if (!object) return -1;
    const facts f = {.runner = runner, .seen = object};
    _Static_assert(MLA_COUNT(rows) <= MLA_PROTECTIONS_MAX, "raise MLA_PROTECTIONS_MAX");
    *n = MLA_COUNT(rows);
    for (size_t i = 0; i < *n; i++) {
        answer a = rows[i].ask(&f);
        out[i] = (mla_protection){rows[i].name, rows[i].required, a.given, ""};
        memcpy(out[i].how, a.how, sizeof out[i].how);
    }
    json_decref(object);
    return 0;
}

int mla_env_protections(const mla_env_options *options, mla_protection out[MLA_PROTECTIONS_MAX],
                        size_t *n, mla_err *err) {
    char *home = options->home ? mla_strdup(options->home) : mla_home();
    char *python = options->python ? mla_strdup(options->python)
                                   : mla_fs_join(home, "venv/bin/python");
    mla_runner_options o = {.python = python, .allow_weaker = true};
    mla_runner *runner = mla__runner_create(&o, err);
    if (runner) {
        *n = runner->n_protections;
        memcpy(out, runner->protections, *n * sizeof *out);
    }
    mla__runner_free(runner);
    free(python);
    free(home);
    return runner ? 0 : -1;
}
