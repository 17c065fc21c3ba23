// `mlagent pipeline CONFIG` and the stages alone.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"

static int stopped(const char *again) {
    mla_info("stopped; what was done is kept. Go on with: %s", again);
    return MLA_EXIT_STOPPED;
}

static int run_stages(mla_pipeline *p, bool force, mla_err *err) {
    size_t n;
    const mla_stage *stages = mla_stages(&n);
    for (size_t i = 0; i < n; i++) {
        int rc = mla_stop_wanted() ? 0 : mla_stage_run(p, &stages[i], force, err);
        if (rc <= 0) return rc;
    }
    return 1;
}

static int print_result(const mla_pipeline *p, bool json, mla_err *err) {
    char *table = mla_run_path(p->run, "eval/table.json");
    char *report = mla_run_path(p->run, "report.html");
    int rc = 0;
    if (json) {
        mla_buf text;
        rc = mla_fs_read(table, (size_t)16 << 20, &text, err);
        if (rc == 0) fputs(mla_buf_text(&text), stdout);
        mla_buf_clear(&text);
    } else {
        rc = mla_eval_print(p->run, stdout, err);
        if (rc == 0) printf("\nreport: %s\n", report);
    }
    free(table);
    free(report);
    return rc;
}

// The run folder: --run, else runs/<the config's name>.
static char *choose_run(const mla_options *o, const char *config, mla_err *err) {
    if (o->run) return mla_strdup(o->run);
    mla_config c;
    if (mla_config_load(&c, config, err) < 0) return NULL;
    char *dir = mla_fs_join("runs", c.name);
    mla_config_clear(&c);
    return dir;
}

int mla_cmd_pipeline(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != 1) {
        fputs("mlagent: usage: mlagent pipeline CONFIG.yaml [--run DIR]\n", stderr);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {0};
    mla_pipeline p;
    char *dir = choose_run(&o, o.rest[0], &err);
    if (!dir) return mla_fail(&err);
    int rc = mla_pipeline_open(&p, dir, o.rest[0], &o, &err);
    if (rc == 0) {
        rc = mla_pipeline_open_tasks(&p, &o, &err);
        if (rc == 0) rc = run_stages(&p, o.force, &err);
        if (rc == 1 && print_result(&p, o.json, &err) < 0) rc = -1;
        mla_pipeline_close(&p);
    } else {
        rc = -1;
    }
    char *again = mla_format("mlagent pipeline %s --run %s", o.rest[0], dir);
    int status = rc < 0 ? mla_fail(&err) : rc == 0 ? stopped(again) : MLA_EXIT_OK;
    free(again);
    free(dir);
    return status;
}

static const mla_stage *find_stage(const char *name) {
    size_t n;
    const mla_stage *stages = mla_stages(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(stages[i].name, name) == 0) return &stages[i];
    }
    return NULL;
}

static int after_stage(const mla_pipeline *p, const mla_stage *stage, bool json, mla_err *err) {
    if (strcmp(stage->name, "eval") == 0) return print_result(p, json, err);
    if (strcmp(stage->name, "report") == 0) printf("%s/report.html\n", mla_run_dir(p->run));
    return 0;
}

// Fine-tuning reads a data set, which may be imported, and the report reads the run folder.
static bool needs_tasks(const mla_stage *stage) {
    return strcmp(stage->name, "sft") != 0 && strcmp(stage->name, "report") != 0;
}

int mla_cmd_stage(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != 1) {
        fprintf(stderr, "mlagent: usage: mlagent %s RUN [--config CONFIG.yaml]\n", argv[0]);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {0};
    mla_pipeline p;
    const mla_stage *stage = find_stage(argv[0]);
    if (mla_pipeline_open(&p, o.rest[0], o.config, &o, &err) < 0) return mla_fail(&err);
    int rc = needs_tasks(stage) ? mla_pipeline_open_tasks(&p, &o, &err) : 0;
    if (rc == 0) rc = mla_stage_run(&p, stage, o.force, &err);
    if (rc == 1 && after_stage(&p, stage, o.json, &err) < 0) rc = -1;
    mla_pipeline_close(&p);
    if (rc < 0) return mla_fail(&err);
    return rc == 0 ? stopped("the same command") : MLA_EXIT_OK;
}
