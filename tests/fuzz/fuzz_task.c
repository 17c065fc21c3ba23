// Fuzzes task.yaml and ideas.yaml: any bytes must load or be refused with one line. libFuzzer, by
// `make fuzz`.
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "task/task.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct folder {
    char root[32];
    char *dir, *yaml, *ideas;
} folder;

static void remove_folder(void);
static folder here;         // one a process; libFuzzer calls us with nothing to keep it in

static void make_folder(void) {
    mla_err err;
    snprintf(here.root, sizeof here.root, "/tmp/mla-fuzz-XXXXXX");
    MLA_ASSERT(mkdtemp(here.root));
    here.dir = mla_fs_join(here.root, "toy");
    here.yaml = mla_fs_join(here.dir, "task.yaml");
    here.ideas = mla_fs_join(here.dir, "ideas.yaml");
    char *env = mla_fs_join(here.dir, "env");
    char *script = mla_fs_join(env, "train.py");
    MLA_ASSERT(mla_fs_mkdirs(env, &err) == 0 && mla_fs_write(script, "", 0, &err) == 0);
    free(script);
    free(env);
    atexit(remove_folder);
}

static void remove_folder(void) {
    mla_err err;
    if (mla_fs_remove_tree(here.root, &err) < 0) fprintf(stderr, "%s\n", err.text);
    free(here.dir);
    free(here.yaml);
    free(here.ideas);
}

static void put(const char *path, const uint8_t *data, size_t size) {
    FILE *file = fopen(path, "wb");
    MLA_ASSERT(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static void check_message(const mla_err *err) {
    MLA_ASSERT(err->text[0] != '\0' && !strpbrk(err->text, "\r\n"));
}

// The first byte chooses which of the two files the rest is.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!here.dir) make_folder();
    if (size == 0) return 0;
    mla_err err = {0};
    if (data[0] & 1) {
        mla_task task = {.dir = here.dir};
        mla_ideas ideas;
        put(here.ideas, data + 1, size - 1);
        if (mla_ideas_load(&ideas, &task, &err) < 0) check_message(&err);
        mla_ideas_clear(&ideas);
    } else {
        put(here.yaml, data + 1, size - 1);
        mla_task *task = mla_task_load(here.dir, here.root, false, &err);
        if (!task) check_message(&err);
        mla_task_free(task);
    }
    return 0;
}
