// The packages that a task's scripts want beyond the task Python's own: each requirements.txt has a
// folder in the venv, named after its SHA-256, so that tasks with the same list share one and the
// venv itself stays as it was pinned. wheels.py fills it; it appears when it is whole.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "task/internal.h"

#define MAX_OUTPUT ((size_t)1 << 20)
#define MAX_SECONDS 3600.0      // half a GB over a slow line
#define NAME_LEN 16

__asm__(".pushsection .rodata\n"
        ".global mla__wheels_py\n"
        "mla__wheels_py:\n"
        ".incbin \"src/task/wheels.py\"\n"
        ".byte 0\n"
        ".popsection\n");
extern const char mla__wheels_py[];

int mla__wheels_read(mla_task *task, mla_err *err) {
    char hex[65];
    char *listed = mla_fs_join(task->dir, "requirements.txt");
    int rc = 0;
    if (mla_fs_exists(listed) && (rc = mla_sha256_file(listed, hex, err)) == 0) {
        task->wheels = mla_format("%.*s", NAME_LEN, hex);
    }
    free(listed);
    return rc;
}

char *mla_task_wheels_dir(const mla_task *task, const char *python) {
    if (!task->wheels) return NULL;
    const char *slash = strrchr(python, '/');
    char *named = mla_format("%.*s/..", slash ? (int)(slash - python) : 1, slash ? python : ".");
    char *venv = mla__absolute(named);
    char *path = mla_format("%s/wheels/%s", venv, task->wheels);
    free(venv);
    free(named);
    return path;
}

// Its last line says what went wrong; wheels.py writes one.
static int failed(const mla_task *task, const mla_proc_result *result, const char *said,
                  mla_err *err) {
    if (result->stopped) return mla_err_set(err, "stopped; what was there before is there still");
    if (result->timed_out) {
        return mla_err_set(err, "installing the packages of %s/requirements.txt took longer than "
                           "%.0f s", task->dir, MAX_SECONDS);
    }
    char *line = mla__last_line(said);
    mla_err_set(err, "%.700s", line[0] ? line : "installing packages failed without a word");
    free(line);
    return -1;
}

static int install(const mla_task *task, const char *folder, const char *python, mla_err *err) {
    char *listed = mla_fs_join(task->dir, "requirements.txt");
    char *argv[] = {(char *)python, "-B", "-c", (char *)mla__wheels_py, (char *)folder, listed,
                    NULL};
    mla_buf output;
    mla_buf_init(&output, MAX_OUTPUT);
    mla_proc_result result;
    mla_info("task %s: installing the packages of its requirements.txt into %s", task->name,
             folder);
    int rc = mla_proc_run(argv, NULL, NULL, MAX_SECONDS, &output, &result, err);
    if (rc == 0 && (result.stopped || result.timed_out || result.exit_code != 0)) {
        rc = failed(task, &result, mla_buf_text(&output), err);
    }
    mla_buf_clear(&output);
    free(listed);
    return rc < 0 ? -1 : 1;
}

int mla__wheels_install(const mla_task *task, const char *python, mla_err *err) {
    char *folder = mla_task_wheels_dir(task, python);
    int rc = folder && !mla_fs_is_dir(folder) ? install(task, folder, python, err) : 0;
    free(folder);
    return rc;
}
