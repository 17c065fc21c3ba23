// A run folder: its lock, its paths and the marks of finished stages.
#include "record/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"

#define STAGES_MAX_BYTES ((size_t)1 << 20)

struct mla_run {
    char *dir;
    int lock;           // the open .lock file: the lock is gone when we are, however we end
    json_t *stages;     // stages.json
};

static int lock_folder(const char *dir, mla_err *err) {
    char *path = mla_fs_join(dir, ".lock");
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) {
        mla_err_set(err, "%s: cannot open: %s", path, strerror(errno));
    } else if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK) {
            mla_err_set(err, "%s: another program is writing this run; wait for it to end, or "
                        "choose another run folder", dir);
        } else {
            mla_err_set(err, "%s: cannot lock: %s", path, strerror(errno));
        }
        close(fd);
        fd = -1;
    }
    free(path);
    return fd;
}

static json_t *read_stages(const char *dir, mla_err *err) {
    char *path = mla_fs_join(dir, "stages.json");
    json_t *stages = mla_fs_exists(path) ? mla_json_read_file(path, STAGES_MAX_BYTES, err)
                                         : json_object();
    if (stages && !json_is_object(stages)) {
        mla_err_set(err, "%s: not a JSON object; remove it to run every stage again", path);
        json_decref(stages);
        stages = NULL;
    }
    free(path);
    return stages;
}

mla_run *mla_run_open(const char *dir, mla_err *err) {
    if (mla_fs_mkdirs(dir, err) < 0) return NULL;
    int lock = lock_folder(dir, err);
    if (lock < 0) return NULL;
    json_t *stages = read_stages(dir, err);
    if (!stages) {
        close(lock);
        return NULL;
    }
    mla_run *run = MLA_NEW(mla_run);
    *run = (mla_run){.dir = mla_strdup(dir), .lock = lock, .stages = stages};
    return run;
}

void mla_run_close(mla_run *run) {
    if (!run) return;
    json_decref(run->stages);
    close(run->lock);
    free(run->dir);
    free(run);
}

const char *mla_run_dir(const mla_run *run) {
    return run->dir;
}

char *mla_run_path(const mla_run *run, const char *relative) {
    char *path = mla_fs_join(run->dir, relative);
    char *slash = strrchr(path, '/');
    mla_err err = {0};
    *slash = '\0';
    // Whoever opens the path meets the same failure and can return it.
    if (mla_fs_mkdirs(path, &err) < 0) mla_warn("%s", err.text);
    *slash = '/';
    return path;
}

bool mla_run_stage_done(const mla_run *run, const char *stage) {
    return json_object_get(run->stages, stage) != NULL;
}

static int write_stages(const mla_run *run, mla_err *err) {
    char *path = mla_run_path(run, "stages.json");
    int rc = mla_json_write_file(path, run->stages, err);
    free(path);
    return rc;
}

int mla_run_stage_mark(mla_run *run, const char *stage, double seconds, mla_err *err) {
    json_t *mark = json_object();
    json_object_set_new(mark, "seconds", mla_json_number(seconds));
    json_object_set_new(run->stages, stage, mark);
    int rc = write_stages(run, err);
    if (rc < 0) json_object_del(run->stages, stage);
    return rc;
}

int mla_run_stage_unmark(mla_run *run, const char *stage, mla_err *err) {
    return json_object_del(run->stages, stage) == 0 ? write_stages(run, err) : 0;
}
