// How long preparing all nineteen tasks takes into an empty home, one after the other as `mlagent
// tasks prepare` does; the aim is 180 s on 2 cores. Packages are the user's own, which are linked
// there: downloads do not count. Where one is missing the figure is "-".
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "task/prepare.h"
#include "task/task.h"

#define TASKS "tasks"

// As tasks/common.py names the package's own file. Caller frees.
static char *file_name(const mla_package *p) {
    char *name = mla_strdup(p->name);
    for (char *at = name; !strcmp(p->from, "pypi") && (at = strchr(at, '-')); at++) *at = '_';
    const char *colon = strchr(p->version, ':');
    char *version = colon ? mla_format("%.*s%%3a%s", (int)(colon - p->version), p->version,
                                       colon + 1)
                          : mla_strdup(p->version);
    char *file = !strcmp(p->from, "pypi") ? mla_format("%s-%s-*.whl", name, version)
                                          : mla_format("%s_%s_*.deb", name, version);
    free(version);
    free(name);
    return file;
}

static bool has_package(const char *packages, const mla_package *p) {
    glob_t found;
    char *file = file_name(p), *pattern = mla_fs_join(packages, file);
    bool there = glob(pattern, 0, NULL, &found) == 0;
    if (there) globfree(&found);
    else fprintf(stderr, "bench_prepare: no %s; mlagent tasks prepare downloads it\n", pattern);
    free(pattern);
    free(file);
    return there;
}

// 1: all packages of the task are at hand, 0: not so.
static int has_packages(const char *packages, const char *dir, mla_err *err) {
    mla_task *task = mla_task_load(dir, packages, false, err);
    if (!task) return -1;
    int all = 1;
    for (size_t i = 0; i < task->source.package_count; i++) {
        all &= has_package(packages, &task->source.packages[i]);
    }
    mla_task_free(task);
    return all;
}

typedef struct setting {
    char *packages, *python;    // of the user's home
    char **names;
    size_t count;
} setting;

static int look(const setting *s, mla_err *err) {
    int all = 1;
    for (size_t i = 0; i < s->count && all >= 0; i++) {
        char *dir = mla_fs_join(TASKS, s->names[i]);
        int rc = has_packages(s->packages, dir, err);
        all = rc < 0 ? -1 : all && rc;
        free(dir);
    }
    return all;
}

// Seconds, or -1.
static double prepare(const setting *s, const char *home, mla_err *err) {
    char *link = mla_fs_join(home, "packages");
    int rc = symlink(s->packages, link) == 0 ? 0 : mla_err_set(err, "%s: cannot link", link);
    double began = mla_clock();
    for (size_t i = 0; rc >= 0 && i < s->count; i++) {
        char *dir = mla_fs_join(TASKS, s->names[i]);
        double from = mla_clock();
        rc = mla_task_prepare(dir, home, s->python, err);
        fprintf(stderr, "%s: %.1f s\n", s->names[i], mla_clock() - from);
        free(dir);
    }
    free(link);
    return rc < 0 ? -1 : mla_clock() - began;
}

static int bench(const setting *s, mla_err *err) {
    char home[] = "/tmp/mla-bench-XXXXXX";
    int all = look(s, err);
    if (all < 0) return -1;
    if (!all) {
        printf("prepare_nineteen\t-\ts\t-\t-\n");
        return 0;
    }
    if (!mkdtemp(home)) return mla_err_set(err, "cannot make a temporary folder");
    double seconds = prepare(s, home, err);
    mla_err why;
    if (mla_fs_remove_tree(home, &why) < 0) mla_warn("%s", why.text);
    if (seconds < 0) return -1;
    printf("prepare_nineteen\t%.1f\ts\t-\t-\n", seconds);
    return 0;
}

int main(void) {
    mla_err err = {0};
    char *home = mla_home();
    setting s = {.packages = mla_fs_join(home, "packages"),
                 .python = mla_fs_join(home, "venv/bin/python")};
    int rc = mla_task_list(TASKS, &s.names, &s.count, &err);
    if (rc == 0) rc = bench(&s, &err);
    if (rc < 0) fprintf(stderr, "bench_prepare: %s\n", err.text);
    mla_fs_names_free(s.names, s.count);
    free(s.python);
    free(s.packages);
    free(home);
    return rc < 0;
}
