// A task in a temporary folder, for the tests of the task room: root/tasks/toy with a whole
// task.yaml that a test may change in one place, and root/home.
#ifndef MLA_TESTS_TASK_FIXTURE_H
#define MLA_TESTS_TASK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/proc.h"
#include "task/task.h"

typedef struct fixture {
    char root[64];
    char *dir, *home;       // root/tasks/toy, root/home
} fixture;

static const char toy_yaml[] =
    "name: toy\n"
    "description: >\n"
    "  Guess y from x.\n"
    "  It is a toy.\n"
    "metric: accuracy\n"
    "direction: higher\n"
    "id_column: id\n"
    "target_column: y\n"
    "script: train.py\n"
    "split: train\n"
    "limits: {seconds: 30, memory_mb: 2048}\n"
    "baseline: {public: 0.5, private: 0.51}\n"
    "reference: {public: 0.9, private: 0.91}\n"
    "source:\n"
    "  mirrors: toy-competition\n"
    "  licence: CC0\n"
    "  packages:\n"
    "    - from: pypi\n"
    "      name: toys\n"
    "      version: 1.2.3\n"
    "      file: toys/data.csv\n"
    "      sha256: 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
    "  notes: none\n";

static inline void fixture_write(const char *dir, const char *name, const char *text) {
    mla_err err = {0};
    char *path = mla_fs_join(dir, name);
    char *folder = mla_strdup(path);
    *strrchr(folder, '/') = '\0';
    if (mla_fs_mkdirs(folder, &err) < 0 || mla_fs_write(path, text, strlen(text), &err) < 0) {
        fail_msg("%s", err.text);
    }
    free(folder);
    free(path);
}

// The text with the first `from` replaced by `to`. Caller frees.
static inline char *with(const char *text, const char *from, const char *to) {
    const char *at = strstr(text, from);
    assert_non_null(at);
    return mla_format("%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static inline void fixture_begin(fixture *f) {
    snprintf(f->root, sizeof f->root, "/tmp/mla-task-XXXXXX");
    assert_non_null(mkdtemp(f->root));
    f->dir = mla_fs_join(f->root, "tasks/toy");
    f->home = mla_fs_join(f->root, "home");
    fixture_write(f->dir, "task.yaml", toy_yaml);
    fixture_write(f->dir, "env/train.py", "print('hello')\n");
}

// Every folder below the home, then every file with the checksum of its bytes. Caller frees.
static inline char *fixture_look(const fixture *f) {
    mla_err err = {0};
    mla_buf out;
    mla_proc_result result;
    mla_buf_init(&out, 1 << 20);
    char *line = mla_format("cd %s && find . -type d | LC_ALL=C sort && find . -type f | "
                            "LC_ALL=C sort | xargs -r sha256sum", f->home);
    char *argv[] = {(char[]){"sh"}, (char[]){"-c"}, line, NULL};
    assert_int_equal(mla_proc_run(argv, NULL, NULL, 60, &out, &result, &err), 0);
    assert_int_equal(result.exit_code, 0);
    free(line);
    return mla_buf_take(&out);
}

static inline void fixture_end(fixture *f) {
    mla_err err;
    assert_int_equal(mla_fs_remove_tree(f->root, &err), 0);
    free(f->dir);
    free(f->home);
}

#endif
