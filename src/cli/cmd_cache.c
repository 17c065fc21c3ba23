// `mlagent cache stats|prune`: what a run cache holds, and making it smaller.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "env/cache.h"

static void print_stats(const char *path, const mla_cache_stats *s) {
    printf("%s: %" PRId64 " runs, %.2f MiB\n", path, s->rows, (double)s->bytes / (1 << 20));
    printf("script time kept %.1f s; %" PRId64 " hits saved %.1f s\n", s->run_seconds, s->hits,
           s->saved_seconds);
}

static void print_json(json_t *take) {
    char *line = mla_json_line(take);
    puts(line);
    free(line);
    json_decref(take);
}

static int stats(const char *path, bool json, mla_err *err) {
    mla_cache_stats s;
    if (mla_cache_stats_get(path, &s, err) < 0) return -1;
    if (json) {
        print_json(json_pack("{s:s, s:I, s:I, s:I, s:f, s:f}", "path", path, "rows",
                             (json_int_t)s.rows, "bytes", (json_int_t)s.bytes, "hits",
                             (json_int_t)s.hits, "run_seconds", s.run_seconds, "saved_seconds",
                             s.saved_seconds));
    } else {
        print_stats(path, &s);
    }
    return 0;
}

static int prune(const char *path, const mla_options *o, mla_err *err) {
    mla_cache_stats before, after;
    if (mla_cache_stats_get(path, &before, err) < 0) return -1;
    int64_t rows = mla_cache_prune(path, o->older_than, o->max_mb, err);
    if (rows < 0 || mla_cache_stats_get(path, &after, err) < 0) return -1;
    int64_t freed = before.bytes - after.bytes;
    if (o->json) {
        print_json(json_pack("{s:s, s:I, s:I, s:I}", "path", path, "deleted", (json_int_t)rows,
                             "freed_bytes", (json_int_t)freed, "rows", (json_int_t)after.rows));
    } else {
        printf("%s: %" PRId64 " runs deleted, %.2f MiB freed; %" PRId64 " left\n", path, rows,
               (double)freed / (1 << 20), after.rows);
    }
    return 0;
}

int mla_cmd_cache(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    bool is_stats = o.n_rest == 2 && !strcmp(o.rest[0], "stats");
    bool is_prune = o.n_rest == 2 && !strcmp(o.rest[0], "prune");
    if (is_prune && o.older_than < 0 && o.max_mb < 0) is_prune = false;
    if (!is_stats && !is_prune) {
        fputs("mlagent: usage: mlagent cache stats RUN | prune RUN [--older-than DAYS] "
              "[--max-mb N]; prune needs one of them\n", stderr);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {0};
    char *path = mla_fs_is_dir(o.rest[1]) ? mla_fs_join(o.rest[1], "exec.sqlite")
                                          : mla_strdup(o.rest[1]);
    int rc = is_stats ? stats(path, o.json, &err) : prune(path, &o, &err);
    free(path);
    return rc < 0 ? mla_fail(&err) : MLA_EXIT_OK;
}
