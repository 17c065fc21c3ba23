// A folder of weight files that a test writes, opens and removes.
#ifndef MLA_TESTS_WEIGHTS_FIXTURE_H
#define MLA_TESTS_WEIGHTS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "model/weights.h"

static char folder[] = "/tmp/mla-weights-XXXXXX";

static inline int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static inline int remove_folder(void **state) {
    (void)state;
    mla_err err;
    return mla_fs_remove_tree(folder, &err);
}

// Thousands of files are written here: not by mla_fs_write, which syncs, nor over an old file,
// whose truncation some file systems sync too.
static inline void write_in(const char *name, const void *bytes, size_t len) {
    char *path = mla_fs_join(folder, name);
    unlink(path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
    free(path);
}

static inline mla_weights *open_in(const char *name, mla_err *err) {
    *err = (mla_err){0};
    char *path = mla_fs_join(folder, name);
    mla_weights *weights = mla_weights_open(path, err);
    free(path);
    return weights;
}

static inline mla_weights *must_open(const char *name) {
    mla_err err;
    mla_weights *weights = open_in(name, &err);
    if (!weights) fail_msg("%s", err.text);
    return weights;
}

// Opening fails with one line that names the file and says `what`.
static inline void must_fail(const char *name, const char *what) {
    mla_err err;
    mla_weights *weights = open_in(name, &err);
    if (weights) fail_msg("%s opened; '%s' was expected", name, what);
    if (!strstr(err.text, what) || !strstr(err.text, folder) || strchr(err.text, '\n'))
        fail_msg("no '%s' in: %s", what, err.text);
}

#endif
