// `mlagent collect`: the stage, and its data set in and out of other programs' formats.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"

static mla_policy *open_policy(const mla_pipeline *p, mla_err *err) {
    mla_policy_options options = mla_policy_options_default();
    options.compute = p->config.compute;
    return mla_policy_open(p->model, &options, err);
}

static void print_json(json_t *take) {
    char *line = mla_json_line(take);
    puts(line);
    free(line);
    json_decref(take);
}

// ---- export ------------------------------------------------------------------------------------

static int do_export(mla_pipeline *p, const mla_options *o, mla_err *err) {
    int format = o->to ? mla_data_format_parse(o->to) : -1;
    if (format < 0) {
        return mla_err_set(err, "collect export: --to must be sharegpt, openai or steps");
    }
    if (!o->force && mla_fs_exists(o->rest[2])) {
        return mla_err_set(err, "%s: is there; replace it with --force", o->rest[2]);
    }
    mla_policy *policy = open_policy(p, err);
    size_t counts[2];
    int rc = policy ? mla_data_export(mla_run_dir(p->run), policy, (mla_data_format)format,
                                      o->rest[2], counts, err) : -1;
    mla_policy_free(policy);
    if (rc < 0) return -1;
    char *beside = mla_data_counterpart(o->rest[2]);
    if (o->json) {
        print_json(json_pack("{s:s, s:I, s:I}", "file", o->rest[2], "train", (json_int_t)counts[0],
                             "validation", (json_int_t)counts[1]));
    } else {
        printf("%s: %zu records\n", o->rest[2], counts[0]);
        if (counts[1]) printf("%s: %zu records held back\n", beside, counts[1]);
    }
    free(beside);
    return 1;
}

// ---- import ------------------------------------------------------------------------------------

static void print_counts(const mla_import_counts *c, bool json) {
    if (json) {
        print_json(json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "records",
                             (json_int_t)c->records, "bad", (json_int_t)c->bad, "train",
                             (json_int_t)c->train, "validation", (json_int_t)c->validation,
                             "tokens", (json_int_t)c->tokens, "too_long", (json_int_t)c->too_long,
                             "shared", (json_int_t)c->shared, "unanswered",
                             (json_int_t)c->unanswered));
        return;
    }
    printf("%zu records: %zu samples to train on (%zu tokens), %zu held back\n", c->records,
           c->train, c->tokens, c->validation);
    if (c->bad) printf("left out: %zu records that cannot be used\n", c->bad);
    if (c->too_long) printf("left out: %zu samples longer than max_sample_tokens\n", c->too_long);
    if (c->shared) printf("left out: %zu held back with a prompt that is trained on\n", c->shared);
    if (c->unanswered) printf("left out: %zu turns that nothing is learned after\n", c->unanswered);
}

static int do_import(mla_pipeline *p, const mla_options *o, mla_err *err) {
    char *path = mla_run_path(p->run, "sft/steps.jsonl");
    bool there = mla_fs_exists(path);
    free(path);
    if (there && !o->force) {
        return mla_err_set(err, "%s: has a data set; replace it with --force", o->rest[1]);
    }
    const mla_import_options options = {
        .max_bad = o->max_bad, .max_sample_tokens = p->config.data.max_sample_tokens,
        .val_share = p->config.data.val_share, .seed = p->config.data.seed};
    mla_policy *policy = open_policy(p, err);
    mla_import_counts counts;
    int rc = policy ? mla_data_import(p->run, policy, o->rest + 2, (size_t)o->n_rest - 2, &options,
                                      &counts, err) : -1;
    mla_policy_free(policy);
    if (rc == 1) print_counts(&counts, o->json);
    return rc;
}

static int same_model(const char *kept, const char *model, mla_err *err) {
    mla_config config;
    if (mla_config_load(&config, kept, err) < 0) return -1;
    int rc = strcmp(config.model, model) == 0 ? 0 : -1;
    if (rc < 0) mla_err_set(err, "%s: names the model %s; leave --model out, or import into "
                            "another run", kept, config.model);
    mla_config_clear(&config);
    return rc;
}

// A run of a model alone: with --model and no configuration there is one of defaults.
static int make_config(const mla_options *o, mla_err *err) {
    if (!o->model) return 0;
    if (o->config) return mla_err_set(err, "--model and --config both name a model; give one");
    char *kept = mla_fs_join(o->rest[1], "config.yaml");
    int rc;
    if (mla_fs_exists(kept)) {
        rc = same_model(kept, o->model, err);
    } else {
        mla_config config = mla_config_of_model("imported", o->model);
        rc = mla_fs_mkdirs(o->rest[1], err);
        if (rc == 0) rc = mla_config_save(&config, kept, err);
        mla_config_clear(&config);
    }
    free(kept);
    return rc;
}

// ---- the command -------------------------------------------------------------------------------

// 1: done, 0: stopped, -1.
typedef int (*doing)(mla_pipeline *pipeline, const mla_options *options, mla_err *err);

static int on_run(const mla_options *o, doing does) {
    mla_err err = {0};
    mla_pipeline p;
    if (make_config(o, &err) < 0) return mla_fail(&err);
    if (mla_pipeline_open(&p, o->rest[1], o->config, o, &err) < 0) return mla_fail(&err);
    int rc = does(&p, o, &err);
    mla_pipeline_close(&p);
    if (rc < 0) return mla_fail(&err);
    if (rc == 0) mla_info("stopped; nothing was written");
    return rc == 0 ? MLA_EXIT_STOPPED : MLA_EXIT_OK;
}

// Reads only: it may be asked while the run is under way.
static int do_stats(const mla_options *o) {
    mla_err err = {0};
    const char *path = o->n_rest == 2 ? o->rest[1] : o->run;
    return mla_data_stats_print(path, o->json, &err) < 0 ? mla_fail(&err) : MLA_EXIT_OK;
}

static int usage(void) {
    fputs("mlagent: usage: mlagent collect stats RUN|STEPS.jsonl [--json]\n"
          "                mlagent collect export RUN FILE --to FORMAT\n"
          "                mlagent collect import RUN FILE...\n", stderr);
    return MLA_EXIT_USAGE;
}

int mla_cmd_collect(int argc, char **argv) {
    mla_options o;
    int bad = mla_options_parse(&o, argc, argv);
    if (bad) return bad < 0 ? MLA_EXIT_OK : bad;
    const char *what = o.n_rest ? o.rest[0] : "";
    if (strcmp(what, "stats") == 0) {
        return o.n_rest + (o.run != NULL) == 2 ? do_stats(&o) : usage();
    }
    if (strcmp(what, "export") == 0) return o.n_rest == 3 ? on_run(&o, do_export) : usage();
    if (strcmp(what, "import") == 0) return o.n_rest >= 3 ? on_run(&o, do_import) : usage();
    return mla_cmd_stage(argc, argv);
}
