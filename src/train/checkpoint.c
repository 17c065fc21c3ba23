// Checkpoints of a trainer under way: complete, or not there at all.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "train/internal.h"

static int write_weights(const mla_policy *policy, mla_model *model, const char *dir,
                         mla_err *err) {
    int adapters = mla_adapter_count(model);
    if (!adapters) return mla_policy_save(policy, dir, true, err);
    return mla_adapter_save(model, adapters - 1, dir, true, err);
}

// What trainer.json is beside: names of files, and what writes and reads them. NULLs are left out.
static int each_part(const char *dir, const mla_trained *what, bool save, mla_err *err) {
    char *opt = mla_fs_join(dir, "optimizer.bin"), *critic = mla_fs_join(dir, "critic.bin");
    char *ema = mla_fs_join(dir, "ema.bin");
    int rc = save ? mla_adamw_save(what->opt, opt, err) : mla_adamw_load(what->opt, opt, err);
    if (rc == 0 && what->critic) {
        rc = save ? mla__critic_save(what->critic, critic, err)
                  : mla__critic_load(what->critic, critic, err);
    }
    if (rc == 0 && what->ema) {
        rc = save ? mla__ema_save(what->ema, ema, err) : mla__ema_load(what->ema, ema, err);
    }
    free(opt);
    free(critic);
    free(ema);
    return rc;
}

static int write_state(const char *dir, const json_t *state, mla_err *err) {
    char *path = mla_fs_join(dir, "trainer.json");
    int rc = mla_json_write_file(path, state, err);
    free(path);
    return rc;
}

int mla__checkpoint_save(const char *dir, const mla_trained *what, const json_t *state,
                         mla_err *err) {
    char *fresh = mla_format("%s.new", dir);
    int rc = write_weights(what->policy, mla_policy_model(what->policy), fresh, err);
    if (rc == 0) rc = each_part(fresh, what, true, err);
    if (rc == 0) rc = write_state(fresh, state, err);
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

json_t *mla__checkpoint_state(const char *dir, mla_err *err) {
    char *path = mla_fs_join(dir, "trainer.json");
    json_t *state = mla_json_read_file(path, (size_t)1 << 20, err);
    if (state && mla_json_get_int(state, "done", -1) < 0) {
        mla_err_set(err, "%s: no \"done\" in it; remove the checkpoint", path);
        json_decref(state);
        state = NULL;
    }
    free(path);
    return state;
}

int mla__checkpoint_done(const char *dir, mla_err *err) {
    if (recover(dir, err) < 0) return -1;
    char *path = mla_fs_join(dir, "trainer.json");
    bool there = mla_fs_exists(path);
    free(path);
    if (!there) return 0;
    json_t *state = mla__checkpoint_state(dir, err);
    int done = state ? (int)mla_json_get_int(state, "done", 0) : -1;
    json_decref(state);
    return done;
}

int mla__checkpoint_load(const char *dir, const mla_trained *what, mla_err *err) {
    return each_part(dir, what, false, err);
}

int mla__checkpoint_remove(const char *dir, mla_err *err) {
    char *mark = mla_fs_join(dir, "trainer.json");
    int rc = unlink(mark) < 0 && errno != ENOENT
                 ? mla_err_set(err, "%s: cannot be removed: %s", mark, strerror(errno))
                 : mla_fs_remove_tree(dir, err);
    free(mark);
    return rc;
}
