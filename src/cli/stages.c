// The pipeline's stages on a run folder: collect -> sft -> rl -> eval -> report. Each opens what it
// needs, calls one library function and closes it again; they meet in the run folder's files.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "cli/tasks.h"
#include "record/store.h"
#include "record/tensorboard.h"
#include "report/report.h"
#include "task/prepare.h"

// ---- opening a run ---------------------------------------------------------------------------

static bool same_bytes(const char *a, const char *b) {
    char hex_a[65], hex_b[65];
    return mla_sha256_file(a, hex_a, NULL) == 0 && mla_sha256_file(b, hex_b, NULL) == 0 &&
           strcmp(hex_a, hex_b) == 0;
}

// Whether two configurations are the same but for how an endpoint is asked, what it may cost and
// where it is: that may change while a run goes on.
static int same_config(mla_config *given, const char *kept, bool *same, mla_err *err) {
    mla_config old;
    char *aside = mla_format("%s.same", kept);
    mla_collect_endpoint endpoint = given->endpoint;
    *same = false;
    if (mla_config_load(&old, kept, err) == 0) {
        given->endpoint = old.endpoint;
        if (mla_config_save(given, aside, err) == 0) *same = same_bytes(aside, kept);
        given->endpoint = endpoint;
        mla_config_clear(&old);
    }
    remove(aside);
    free(aside);
    return 0;
}

// A run is made with one configuration: another one needs --force, or a run folder of its own.
static int put_config(mla_pipeline *p, const char *given, const char *kept,
                      const mla_options *options, mla_err *err) {
    mla_config *c = &p->config;
    bool same = true;
    int rc = mla_config_load(c, given, err);
    if (rc == 0) rc = mla_task_names_expand(&c->train, &c->n_train, options, err);
    if (rc == 0) rc = mla_task_names_expand(&c->evaluate, &c->n_evaluate, options, err);
    if (rc == 0 && mla_config_override(c, options, err) < 0) rc = -1;
    if (rc == 0 && !options->force && mla_fs_exists(kept)) rc = same_config(c, kept, &same, err);
    if (rc == 0 && !same) {
        rc = mla_err_set(err, "%s: differs from this run's %s; start another run with --run, or "
                         "run again what it changes with --force", given, kept);
    }
    return rc == 0 ? mla_config_save(c, kept, err) : rc;
}

static int take_config(mla_pipeline *p, const char *given, const mla_options *options,
                       mla_err *err) {
    char *kept = mla_run_path(p->run, "config.yaml");
    int rc = 0;
    if (given) {
        rc = put_config(p, given, kept, options, err);
    } else if (mla_fs_exists(kept)) {
        rc = mla_config_load(&p->config, kept, err);
        if (rc == 0) rc = mla_config_override(&p->config, options, err);
        if (rc == 1) rc = mla_config_save(&p->config, kept, err);
    } else {
        rc = mla_err_set(err, "%s: no config.yaml in this run folder; give one with --config",
                         mla_run_dir(p->run));
    }
    free(kept);
    return rc;
}

static int find_model(mla_pipeline *p, mla_err *err) {
    const char *name = p->config.model;
    if (strchr(name, '/') || mla_fs_exists(name)) {
        p->model = mla_strdup(name);
    } else {
        p->model = mla_format("%s/models/%s.gguf", p->home, name);
    }
    if (mla_fs_exists(p->model)) return 0;
    return mla_err_set(err,
                       "%s: no such model; fetch it with scripts/setup, or name another in the "
                       "config",
                       p->model);
}

// The task of this name, loaded once; its data is prepared if need be.
static const mla_task *open_task(mla_pipeline *p, const char *name, const mla_options *options,
                                 mla_err *err) {
    for (size_t i = 0; i < p->n_tasks; i++) {
        if (strcmp(p->tasks[i]->name, name) == 0) return p->tasks[i];
    }
    char *dir = mla_options_task(options, name, err);
    if (!dir) return NULL;
    mla_task *task = NULL;
    int made = mla_task_prepare(dir, p->home, p->python, err);
    if (made > 0) mla_info("prepared the data of %s", name);
    if (made >= 0) task = mla_task_load(dir, p->home, true, err);
    if (task) p->tasks[p->n_tasks++] = task;
    free(dir);
    return task;
}

int mla_pipeline_open_tasks(mla_pipeline *p, const mla_options *options, mla_err *err) {
    const mla_config *c = &p->config;
    if (!c->n_train) {
        return mla_err_set(err, "%s/config.yaml: names no tasks, as it was made for imported data; "
                           "use a run folder with another configuration", mla_run_dir(p->run));
    }
    p->tasks = MLA_NEW_ARRAY(mla_task *, c->n_train + c->n_evaluate);
    p->train = MLA_NEW_ARRAY(const mla_task *, c->n_train);
    p->evaluate = MLA_NEW_ARRAY(const mla_task *, c->n_evaluate);
    for (; p->n_train < c->n_train; p->n_train++) {
        const mla_task *task = open_task(p, c->train[p->n_train], options, err);
        if (!task) return -1;
        if (task->held_out) {
            return mla_err_set(err, "tasks.train: %s is held out: it is for evaluation only",
                               task->name);
        }
        p->train[p->n_train] = task;
    }
    for (; p->n_evaluate < c->n_evaluate; p->n_evaluate++) {
        p->evaluate[p->n_evaluate] = open_task(p, c->evaluate[p->n_evaluate], options,
                                                   err);
        if (!p->evaluate[p->n_evaluate]) return -1;
    }
    return 0;
}

int mla_pipeline_open(mla_pipeline *out, const char *run_dir, const char *config,
                      const mla_options *options, mla_err *err) {
    *out = (mla_pipeline){.home = mla_options_home(options),
                          .allow_weaker_sandbox = options->allow_weaker_sandbox};
    out->python = options->python ? mla_strdup(options->python)
                                  : mla_fs_join(out->home, "venv/bin/python");
    out->run = mla_run_open(run_dir, err);
    int rc = out->run ? take_config(out, config, options, err) : -1;
    if (rc == 0) rc = find_model(out, err);
    if (rc < 0) mla_pipeline_close(out);
    if (rc == 0 && mla_compute_best() == MLA_COMPUTE_F32) {
        mla_info("this processor has no AVX-512 for bf16 products: computing in fp32");
    }
    return rc;
}

void mla_pipeline_close(mla_pipeline *p) {
    for (size_t i = 0; i < p->n_tasks; i++) mla_task_free(p->tasks[i]);
    free(p->tasks);
    free(p->train);
    free(p->evaluate);
    mla_config_clear(&p->config);
    mla_run_close(p->run);
    free(p->home);
    free(p->python);
    free(p->model);
    *p = (mla_pipeline){0};
}

// ---- what stages need ------------------------------------------------------------------------

typedef struct {
    mla_env *env;
    mla_agent *agent;
    mla_editor editor;
    mla_policy_editor policy_editor;
} world;

static int open_editor(world *w, const mla_editor_options *options, mla_err *err) {
    w->editor = (mla_editor){.edit = NULL};
    w->policy_editor = (mla_policy_editor){.max_tokens = options->max_tokens};
    if (options->kind == MLA_EDITOR_ENDPOINT) {
        return mla_endpoint_editor_make(&w->editor, options, err);
    }
    if (options->kind == MLA_EDITOR_POLICY) w->editor = mla_policy_editor_make(&w->policy_editor);
    return 0;
}

static int world_open(world *w, const mla_pipeline *p, bool private_scores, mla_err *err) {
    *w = (world){.env = NULL};
    if (open_editor(w, &p->config.editor, err) < 0) return -1;
    char *states = mla_run_path(p->run, "states.git"), *cache = mla_run_path(p->run, "exec.sqlite");
    mla_env_options options = mla_env_options_default();
    options.workers = p->config.workers;
    options.python = p->python;
    options.home = p->home;
    options.states_path = states;
    options.cache_path = cache;
    options.private_scores = private_scores;
    options.allow_weaker_sandbox = p->allow_weaker_sandbox;
    options.actions = p->config.prompt.actions;
    options.editor = w->editor;
    w->env = mla_env_create(&options, err);
    w->agent = w->env ? mla_agent_create(w->env, &p->config.reward) : NULL;
    if (w->agent && p->config.editor.kind == MLA_EDITOR_POLICY) {
        mla_agent_set_editor(w->agent, &w->policy_editor);
    }
    if (!w->agent && w->editor.any_thread) mla_endpoint_editor_free(&w->editor);
    free(states);
    free(cache);
    return w->agent ? 0 : -1;
}

static void world_close(world *w) {
    if (w->env) {
        mla_env_stats s = mla_env_stats_get(w->env);
        size_t asked = s.runs + s.cache_hits;
        mla_info("environment: %zu steps, %zu runs (%.0f s), %zu from the cache (%.0f%%, %.0f s "
                 "saved)", s.steps, s.runs, s.run_seconds, s.cache_hits,
                 asked ? 100.0 * (double)s.cache_hits / (double)asked : 0, s.saved_seconds);
    }
    mla_agent_free(w->agent);
    mla_env_free(w->env);
    if (w->editor.any_thread) mla_endpoint_editor_free(&w->editor);
}

static mla_policy *open_policy(const mla_pipeline *p, const char *path, mla_err *err) {
    mla_policy_options options = mla_policy_options_default();
    options.compute = p->config.compute;
    return mla_policy_open(path, &options, err);
}

// ---- the stages ------------------------------------------------------------------------------

static int run_collect(mla_pipeline *p, mla_err *err) {
    world w;
    mla_policy *policy = open_policy(p, p->model, err);
    int rc = policy ? world_open(&w, p, false, err) : -1;
    mla_collect_options options = p->config.collect;
    options.endpoint = p->config.endpoint;
    if (rc == 0) {
        rc = mla_collect_run(p->run, w.agent, policy, p->train, p->n_train, &options, err);
        if (rc == 0 && !mla_stop_wanted()) {
            rc = mla_dataset_build(p->run, w.env, policy, p->train, p->n_train, &p->config.data,
                                   err);
        }
        world_close(&w);
    }
    mla_policy_free(policy);
    return rc < 0 ? -1 : !mla_stop_wanted();
}

static int run_sft(mla_pipeline *p, mla_err *err) {
    return mla_sft_run(p->run, p->model, &p->config.sft, err);
}

// The variants of a task are drawn as often as a task that has none.
static void group_variants(const mla_pipeline *p, mla_pool *pool) {
    const char **families = MLA_NEW_ARRAY(const char *, p->n_train);
    for (size_t i = 0; i < p->n_train; i++) families[i] = p->train[i]->family;
    mla_pool_group(pool, (const char *const *)p->config.train, families, p->n_train);
    free(families);
}

static int run_rl(mla_pipeline *p, mla_err *err) {
    char *expert = mla_run_path(p->run, "expert/steps.jsonl");
    char *start = mla_run_path(p->run, "sft/model");
    mla_steps steps = {0};
    world w;
    int rc = mla_store_read(expert, &steps, err);
    if (rc == 0) rc = world_open(&w, p, false, err);
    if (rc == 0) {
        mla_pool *pool = mla_pool_create_take(&steps, (const char *const *)p->config.train,
                                              p->config.n_train);
        group_variants(p, pool);
        rc = mla_rl_run(p->run, w.agent, start, pool, p->train, p->n_train, &p->config.rl, err);
        mla_pool_free(pool);
        world_close(&w);
    }
    mla_steps_clear(&steps);
    free(expert);
    free(start);
    return rc;
}

// One of the pipeline's models, by trajectories or action by action; one that is not there yet is
// left out.
static int eval_one(mla_pipeline *p, world *w, const char *model, const char *path, bool actions,
                    mla_err *err) {
    if (!mla_fs_exists(path) || mla_stop_wanted()) return 0;
    mla_policy *policy = open_policy(p, path, err);
    if (!policy) return -1;
    int rc = actions ? mla_eval_actions(p->run, w->agent, policy, model, p->evaluate,
                                        p->n_evaluate, &p->config.eval, err)
                     : mla_eval_run(p->run, w->agent, policy, model, p->evaluate, p->n_evaluate,
                                    &p->config.eval, err);
    mla_policy_free(policy);
    return rc;
}

// All models' trajectories first: the fixed states may be taken from them.
static int eval_all(mla_pipeline *p, world *w, mla_err *err) {
    char *sft = mla_run_path(p->run, "sft/model"), *rl = mla_run_path(p->run, "rl/model");
    int rc = 0;
    for (int actions = 0; actions < (p->config.eval.states ? 2 : 1) && rc == 0; actions++) {
        rc = eval_one(p, w, "untrained", p->model, actions, err);
        if (rc == 0) rc = eval_one(p, w, "sft", sft, actions, err);
        if (rc == 0) rc = eval_one(p, w, "rl", rl, actions, err);
    }
    free(sft);
    free(rl);
    return rc;
}

static int run_eval(mla_pipeline *p, mla_err *err) {
    world w;
    int rc = world_open(&w, p, true, err);
    if (rc == 0) {
        rc = eval_all(p, &w, err);
        world_close(&w);
    }
    if (rc == 0 && mla_stop_wanted()) return 0;
    if (rc == 0) rc = mla_eval_actions_table(p->run, p->evaluate, p->n_evaluate, err);
    if (rc == 0) rc = mla_eval_table(p->run, p->evaluate, p->n_evaluate, p->config.note, err);
    return rc < 0 ? -1 : 1;
}

static int run_report(mla_pipeline *p, mla_err *err) {
    char *path = mla_run_path(p->run, "report.html");
    int rc = mla_report_write(mla_run_dir(p->run), path, err);
    free(path);
    return rc < 0 ? -1 : 1;
}

const mla_stage *mla_stages(size_t *n) {
    static const mla_stage stages[] = {
        {"collect", run_collect, {"expert", "sft/steps.jsonl", "sft/validation.jsonl",
                                  "sft/data.json"}},
        {"sft", run_sft, {"sft/model", "sft/adapter", "sft/best", "sft/checkpoint",
                          "sft/metrics.jsonl", "sft/" MLA_TENSORBOARD_FILE}},
        {"rl", run_rl, {"rl"}},
        {"eval", run_eval, {"eval"}},
        {"report", run_report, {"report.html"}},
    };
    *n = MLA_COUNT(stages);
    return stages;
}

// Removes what a stage made, and the marks of it and of all that builds on it.
static int forget(mla_pipeline *p, const mla_stage *stage, mla_err *err) {
    size_t n;
    const mla_stage *stages = mla_stages(&n);
    int rc = 0;
    for (size_t i = 0; i < MLA_COUNT(stage->products) && stage->products[i] && rc == 0; i++) {
        char *path = mla_run_path(p->run, stage->products[i]);
        rc = mla_fs_remove_tree(path, err);
        free(path);
    }
    for (const mla_stage *s = stage; s < stages + n && rc == 0; s++) {
        rc = mla_run_stage_unmark(p->run, s->name, err);
    }
    return rc;
}

int mla_stage_run(mla_pipeline *pipeline, const mla_stage *stage, bool force, mla_err *err) {
    bool cheap = strcmp(stage->name, "report") == 0;
    if (force && forget(pipeline, stage, err) < 0) return -1;
    if (!cheap && mla_run_stage_done(pipeline->run, stage->name)) {
        mla_info("%s: done before", stage->name);
        return 1;
    }
    double began = mla_clock();
    int rc = stage->run(pipeline, err);
    if (rc == 1 && mla_run_stage_mark(pipeline->run, stage->name, mla_clock() - began, err) < 0) {
        rc = -1;
    }
    return rc;
}
