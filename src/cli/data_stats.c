// `mlagent collect stats`: the numbers of a run's trajectories and data set, for a person.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/cli.h"

#define JSON_MAX ((size_t)16 << 20)

static long long count_of(const json_t *o, const char *key) {
    return mla_json_get_int(o, key, 0);
}

// A number that may not be there.
static void print_number(const char *format, const json_t *o, const char *key) {
    double value = mla_json_get_number(o, key, NAN);
    if (isfinite(value)) printf(format, value);
    else printf("%8s", "-");
}

static void print_spread(const char *name, const json_t *spread, const char *format) {
    static const char *const keys[] = {"min", "median", "p95", "max", "mean"};
    if (!json_is_object(spread)) return;
    printf("  %-10s", name);
    for (size_t i = 0; i < MLA_COUNT(keys); i++) {
        printf("  %s ", keys[i]);
        print_number(format, spread, keys[i]);
    }
    printf("  of %lld\n", count_of(spread, "n"));
}

// Those that are not zero.
static void print_counts(const char *name, const json_t *counts) {
    const char *key;
    json_t *value;
    bool any = false;
    printf("%-10s", name);
    json_object_foreach((json_t *)counts, key, value) {
        if (!json_integer_value(value)) continue;
        printf("%s%s %lld", any ? ", " : "  ", key, (long long)json_integer_value(value));
        any = true;
    }
    puts(any ? "" : "  none");
}

static void print_tasks(const json_t *tasks) {
    const char *name;
    json_t *t;
    printf("%-28s %12s %8s %8s %8s %8s  %8s %8s\n", "task", "trajectories", "steps", "edits",
           "valid", "improved", "gain", "reward");
    json_object_foreach((json_t *)tasks, name, t) {
        printf("%-28s %12lld %8lld %8lld %8lld %8lld  ", name, count_of(t, "trajectories"),
               count_of(t, "steps"), count_of(t, "edits"), count_of(t, "valid"),
               count_of(t, "improved"));
        print_number("%8.4f", t, "gain_mean");
        printf(" ");
        print_number("%8.4f", t, "reward_mean");
        puts("");
    }
}

static void print_diversity(const json_t *d) {
    printf("diversity   %lld distinct edits of %lld; %lld ideas followed",
           count_of(d, "distinct_edits"), count_of(d, "edits"), count_of(d, "ideas_covered"));
    if (json_object_get(d, "ideas_kept")) {
        printf(" of %lld kept (of %lld)", count_of(d, "ideas_kept"), count_of(d, "ideas_pool"));
    }
    printf("; entropy of kinds %.3f, of actions %.3f nats; %lld times what was done in that state "
           "before\n", mla_json_get_number(d, "entropy_kinds", NAN),
           mla_json_get_number(d, "entropy_actions", NAN), count_of(d, "repeated"));
}

static void print_filters(const json_t *f) {
    printf("filters     data.keep %s, data.margin %g: %lld steps are worth learning\n",
           mla_json_get_text(f, "keep", ""), mla_json_get_number(f, "margin", NAN),
           count_of(f, "kept"));
    print_counts("left out", json_object_get(f, "left_out"));
}

static void print_tokens(const json_t *tokens) {
    if (!json_is_object(json_object_get(tokens, "sample"))) return;
    puts("tokens");
    print_spread("prompt", json_object_get(tokens, "prompt"), "%.0f");
    print_spread("action", json_object_get(tokens, "action"), "%.0f");
    print_spread("sample", json_object_get(tokens, "sample"), "%.0f");
}

static void print_file(const json_t *s, bool with_filters) {
    printf("%s: %lld steps of %lld trajectories, %lld of them to their end\n",
           mla_json_get_text(s, "file", ""), count_of(s, "steps"), count_of(s, "trajectories"),
           count_of(s, "ended"));
    print_tasks(json_object_get(s, "tasks"));
    print_counts("actions", json_object_get(s, "actions"));
    print_counts("outcomes", json_object_get(s, "outcomes"));
    print_counts("flags", json_object_get(s, "flags"));
    print_spread("gain", json_object_get(s, "gain"), "%.4f");
    print_spread("reward", json_object_get(s, "reward"), "%.4f");
    print_spread("steps", json_object_get(s, "length"), "%.0f");
    print_diversity(json_object_get(s, "diversity"));
    if (with_filters) print_filters(json_object_get(s, "filters"));
    print_tokens(json_object_get(s, "tokens"));
}

// ---- a run folder ------------------------------------------------------------------------------

static int load_options(const char *dir, mla_dataset_options *out, mla_err *err) {
    char *path = mla_fs_join(dir, "config.yaml");
    mla_config config;
    int rc = 0;
    if (mla_fs_exists(path)) {
        rc = mla_config_load(&config, path, err);
        if (rc == 0) *out = config.data;
        if (rc == 0) mla_config_clear(&config);
    }
    free(path);
    return rc;
}

// How many ideas were kept, of how many: expert/ideas.json.
static int add_ideas(json_t *stats, const char *dir, mla_err *err) {
    char *path = mla_fs_join(dir, "expert/ideas.json");
    json_t *ideas = mla_fs_exists(path) ? mla_json_read_file(path, JSON_MAX, err) : json_object();
    const json_t *rows = json_object_get(ideas, "tasks");
    json_t *diversity = json_object_get(stats, "diversity");
    size_t kept = 0, pool = 0;
    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row = json_array_get(rows, i);
        kept += json_array_size(json_object_get(row, "chosen"));
        pool += (size_t)mla_json_get_int(row, "pool", 0);
    }
    if (rows) json_object_set_new(diversity, "ideas_kept", json_integer((json_int_t)kept));
    if (rows) json_object_set_new(diversity, "ideas_pool", json_integer((json_int_t)pool));
    int rc = ideas ? 0 : -1;
    json_decref(ideas);
    free(path);
    return rc;
}

// Adds the numbers of a file of the run under `key`, when it is there.
static int add_part(json_t *whole, const char *dir, const char *file, const char *key,
                    const mla_dataset_options *options, mla_err *err) {
    char *path = mla_fs_join(dir, file);
    int rc = 0;
    if (mla_fs_exists(path)) {
        json_t *part = mla_data_stats(path, options, err);
        rc = part ? 0 : -1;
        if (part) json_object_set_new(whole, key, part);
    }
    free(path);
    return rc;
}

static int add_counts(json_t *whole, const char *dir, mla_err *err) {
    char *path = mla_fs_join(dir, "sft/data.json");
    int rc = 0;
    if (mla_fs_exists(path)) {
        json_t *counts = mla_json_read_file(path, JSON_MAX, err);
        rc = counts ? 0 : -1;
        if (counts) json_object_set_new(whole, "data", counts);
    }
    free(path);
    return rc;
}

static json_t *stats_of_run(const char *dir, mla_err *err) {
    mla_dataset_options options = mla_dataset_options_default();
    json_t *whole = json_object();
    int rc = load_options(dir, &options, err);
    if (rc == 0) rc = add_part(whole, dir, "expert/steps.jsonl", "expert", &options, err);
    if (rc == 0 && json_object_get(whole, "expert")) {
        rc = add_ideas(json_object_get(whole, "expert"), dir, err);
    }
    if (rc == 0) rc = add_part(whole, dir, "sft/steps.jsonl", "train", &options, err);
    if (rc == 0) rc = add_part(whole, dir, "sft/validation.jsonl", "validation", &options, err);
    if (rc == 0) rc = add_counts(whole, dir, err);
    if (rc == 0 && !json_object_size(whole)) {
        rc = mla_err_set(err, "%s: neither trajectories nor a data set; make them with `mlagent "
                         "collect`", dir);
    }
    if (rc == 0) return whole;
    json_decref(whole);
    return NULL;
}

static void print_run(const json_t *whole) {
    static const char *const keys[] = {"expert", "train", "validation"};
    bool before = false;
    for (size_t i = 0; i < MLA_COUNT(keys); i++) {
        const json_t *part = json_object_get(whole, keys[i]);
        if (!part) continue;
        if (before) puts("");
        print_file(part, i == 0);      // the data set has been through them
        before = true;
    }
    const json_t *left = json_object_get(json_object_get(whole, "data"), "left_out");
    if (left) puts("");
    if (left) print_counts("the data set leaves out", left);
}

int mla_data_stats_print(const char *path, bool json, mla_err *err) {
    bool is_run = mla_fs_is_dir(path);
    const mla_dataset_options options = mla_dataset_options_default();
    json_t *stats = is_run ? stats_of_run(path, err) : mla_data_stats(path, &options, err);
    if (!stats) return -1;
    if (json) {
        char *line = mla_json_line(stats);
        puts(line);
        free(line);
    } else if (is_run) {
        print_run(stats);
    } else {
        print_file(stats, true);
    }
    json_decref(stats);
    return 0;
}
