// metrics.jsonl and its TensorBoard events, written together.
#include "record/metrics.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "record/store.h"
#include "record/tensorboard.h"

struct mla_metrics {
    mla_lines *lines;
    mla_tensorboard *board;
    char *key;
};

static double wall_clock(void) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static char *beside(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return slash ? mla_format("%.*s/%s", (int)(slash - path), path, name) : mla_strdup(name);
}

mla_metrics *mla_metrics_open(const char *path, const char *key, long long last, mla_err *err) {
    mla_metrics *m = MLA_NEW(mla_metrics);
    char *events = beside(path, MLA_TENSORBOARD_FILE);
    m->key = mla_strdup(key);
    if (mla_lines_trim(path, key, last, err) == 0) m->lines = mla_lines_open(path, err);
    if (m->lines) m->board = mla_tensorboard_open(events, last, wall_clock(), err);
    free(events);
    if (m->board) return m;
    mla_metrics_close(m);
    return NULL;
}

int mla_metrics_append_take(mla_metrics *m, json_t *line, mla_err *err) {
    json_incref(line);
    int rc = mla_lines_append_take(m->lines, line, err);
    if (rc == 0) {
        rc = mla_tensorboard_append(m->board, mla_json_get_int(line, m->key, 0), wall_clock(), line,
                                    m->key, err);
    }
    json_decref(line);
    return rc;
}

void mla_metrics_close(mla_metrics *m) {
    if (!m) return;
    mla_lines_close(m->lines);
    mla_tensorboard_close(m->board);
    free(m->key);
    free(m);
}
