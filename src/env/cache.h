// Upkeep of a run cache (exec.sqlite): what it holds and what of it to let go. Safe while other
// processes read and write it.
#ifndef MLA_ENV_CACHE_H
#define MLA_ENV_CACHE_H

#include <stdint.h>

#include "base/err.h"

typedef struct mla_cache_stats {
    int64_t rows, bytes;           // bytes of the file and its write-ahead log
    int64_t hits;                  // look-ups that were answered
    double run_seconds;            // of the runs that are kept
    double saved_seconds;          // of the runs that hits stood in for
} mla_cache_stats;

// -1 when the file is absent or no run cache of this version.
MLA_MUST_USE int mla_cache_stats_get(const char *path, mla_cache_stats *out, mla_err *err);

// Deletes rows last used more than `days` days ago (below 0: none for age), then those used longest
// ago until the others fill about `max_mb` MiB (below 0: any size). The file shrinks unless another
// process holds it just then. Returns the number of rows deleted, or -1.
MLA_MUST_USE int64_t mla_cache_prune(const char *path, double days, double max_mb, mla_err *err);

#endif
