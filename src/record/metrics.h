// The numbers of a stage over time: metrics.jsonl, one line a step, and the same as TensorBoard
// events in a file beside it. One place writes both.
#ifndef MLA_RECORD_METRICS_H
#define MLA_RECORD_METRICS_H

#include "base/err.h"
#include "base/json.h"

typedef struct mla_metrics mla_metrics;

// Opens or creates metrics.jsonl, `path`, and its events. Lines and events whose step, which the
// lines call `key`, is above `last` are dropped: work after the checkpoint, to be done again. NULL
// on error.
mla_metrics *mla_metrics_open(const char *path, const char *key, long long last, mla_err *err);
// One step's numbers; takes the reference.
MLA_MUST_USE int mla_metrics_append_take(mla_metrics *metrics, json_t *line, mla_err *err);
void mla_metrics_close(mla_metrics *metrics);           // NULL is fine

#endif
