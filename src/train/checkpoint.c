// Checkpoints of a trainer under way: complete, or not there at all.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "train/internal.h"

static int write_parts(const char *dir, const mla_adamw *opt, const mla_critic *critic, int done,
                       mla_err *err) {
    char *path = mla_fs_join(dir, "optimizer.bin");
    int rc = mla_adamw_save(opt, path, err);
    free(path);
    if (rc == 0 && critic) {
        path = mla_fs_join(dir, "critic.bin");
        rc = mla__critic_save(critic, path, err);
        free(path);
    }
    if (rc < 0) return rc;
    path = mla_fs_join(dir, "trainer.json");
    json_t *state = json_pack("{s:i}", "done", done);
    rc = mla_json_write_file(path, state, err);
    json_decref(state);
    free(path);
    return rc;
}

int mla__checkpoint_save(const char *dir, const mla_policy *policy, const mla_adamw *opt,
                         const mla_critic *critic, int done, mla_err *err) {
    char *fresh = mla_format("%s.new", dir);
    int rc = mla_policy_save(policy, fresh, true, err);
    if (rc == 0) rc = write_parts(fresh, opt, critic, done, err);
    if (rc == 0) rc = mla_fs_replace_dir(fresh, dir, err);
    free(fresh);
    return rc;
}

// Removes what a kill left beside a checkpoint.
static int clear_away(const char *dir, mla_err *err) {
    static const char *const left[] = {".new", ".new.tmp", ".new.old", ".old"};
    int rc = 0;
    for (size_t i = 0; i < MLA_COUNT(left) && rc == 0; i++) {
        char *path = mla_format("%s%s", dir, left[i]);
        rc = mla_fs_remove_tree(path, err);
        free(path);
    }
    return rc;
}

// A kill may leave a new checkpoint under its ".new" name, whole when trainer.json is there, which
// is written last; between the two renames of mla_fs_replace_dir the old one is aside besides.
static int recover(const char *dir, mla_err *err) {
    char *fresh = mla_format("%s.new", dir), *aside = mla_format("%s.old", dir);
    char *mark = mla_fs_join(fresh, "trainer.json");
    int rc = 0;
    if (mla_fs_exists(mark)) {
        rc = mla_fs_replace_dir(fresh, dir, err);
    } else if (!mla_fs_exists(dir) && mla_fs_exists(aside) && rename(aside, dir) < 0) {
        rc = mla_err_set(err, "%s: cannot be brought back: %s", aside, strerror(errno));
    }
    free(mark);
    free(fresh);
    free(aside);
    return rc < 0 ? rc : clear_away(dir, err);
}

int mla__checkpoint_done(const char *dir, mla_err *err) {
    if (recover(dir, err) < 0) return -1;
    char *path = mla_fs_join(dir, "trainer.json");
    int done = 0;
    if (mla_fs_exists(path)) {
        json_t *state = mla_json_read_file(path, 4096, err);
        done = state ? (int)mla_json_get_int(state, "done", -1) : -1;
        if (state && done < 0)
            mla_err_set(err, "%s: no \"done\" in it; remove the checkpoint", path);
        json_decref(state);
    }
    free(path);
    return done;
}

int mla__checkpoint_load(const char *dir, mla_adamw *opt, mla_critic *critic, mla_err *err) {
    char *path = mla_fs_join(dir, "optimizer.bin");
    int rc = mla_adamw_load(opt, path, err);
    free(path);
    if (rc < 0 || !critic) return rc;
    path = mla_fs_join(dir, "critic.bin");
    rc = mla__critic_load(critic, path, err);
    free(path);
    return rc;
}
