// The collection stage: ideas are loaded or asked for, the most diverse of each task kept, and an
// expert works through the real environment. It leaves out the ideas (book.c, asked.c), the experts
// (expert.c, hints.c, replay.c) and the file of trajectories (agent/trajectories.c).
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "collect/internal.h"

mla_collect_options mla_collect_options_default(void) {
    return (mla_collect_options){
        .trajectories = 40, .ideas_kept = 10, .max_steps = 15, .max_minutes = 30, .at_once = 4,
        .ideas_asked = 100, .prompt = mla_prompt_options_default(), .seed = 1,
        .endpoint = {.key_env = "OPENAI_API_KEY", .seconds = 300, .attempts = 5, .at_once = 4,
                     .temperature = 1, .max_new = 1024, .max_prompt = 12000}};
}

static const char *const kind_names[] = {
#define X(id, name) name,
    MLA_EXPERT_KINDS(X)
#undef X
};

const char *mla_expert_kind_name(mla_expert_kind kind) {
    MLA_ASSERT((size_t)kind < MLA_COUNT(kind_names));
    return kind_names[kind];
}

int mla_expert_kind_parse(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(kind_names); i++) {
        if (!strcmp(name, kind_names[i])) return (int)i;
    }
    return -1;
}

// What a collection works with.
typedef struct {
    mla_run *run;
    mla_agent *agent;
    mla_collect_options options;   // the endpoint's model filled in
    mla__book book;
    mla_ledger *ledger;            // NULL: no endpoint is asked
    mla_endpoint *ideas, *vectors; // NULL: not asked
    mla_policy *policy;
} stage;

// --- endpoints ----------------------------------------------------------------------------------

static int open_endpoint(stage *s, mla_endpoint **out, const char *key, const char *url,
                         const char *model, mla_err *err) {
    const mla_collect_endpoint *e = &s->options.endpoint;
    const mla_endpoint_options o = {
        .who = "the endpoint", .key = key, .url = url, .model = model, .key_env = e->key_env,
        .seconds = e->seconds, .attempts = e->attempts, .ledger = s->ledger};
    return mla_endpoint_create(out, &o, err);
}

// A service with one model needs no name for it.
static int find_model(stage *s, const char *key, const char *url, mla_err *err) {
    mla_collect_endpoint *e = &s->options.endpoint;
    mla_endpoint *any;
    if (*e->model) return 0;
    if (open_endpoint(s, &any, key, url, "", err) < 0) return -1;
    char *name = mla_endpoint_only_model(any, err);
    mla_endpoint_free(any);
    if (!name) return mla_err_wrap(err, "endpoint.model is not set, and its models");
    snprintf(e->model, sizeof e->model, "%s", name);
    mla_info("%s has one model: %s", url, name);
    free(name);
    return 0;
}

static int open_endpoints(stage *s, mla_err *err) {
    const mla_collect_options *o = &s->options;
    const mla_collect_endpoint *e = &o->endpoint;
    bool acts = o->expert == MLA_EXPERT_ENDPOINT;
    if (!acts && !*o->ideas_from && !*e->embedding_model) return 0;
    char *path = mla_run_path(s->run, "expert/calls.jsonl");
    s->ledger = mla_ledger_open(path, &e->limits, err);
    free(path);
    int rc = s->ledger ? 0 : -1;
    if (rc == 0 && *o->ideas_from) rc = find_model(s, "collect.ideas_from", o->ideas_from, err);
    if (rc == 0 && acts) rc = find_model(s, "endpoint.url", e->url, err);
    if (rc == 0 && *o->ideas_from) {
        rc = open_endpoint(s, &s->ideas, "collect.ideas_from", o->ideas_from, e->model, err);
    }
    if (rc == 0 && *e->embedding_model) {
        rc = open_endpoint(s, &s->vectors, "endpoint.url", e->url, e->embedding_model, err);
    }
    return rc;
}

static void tell_cost(const stage *s) {
    if (!s->ledger) return;
    mla_ledger_totals t = mla_ledger_get(s->ledger);
    mla_info("endpoint: %zu calls, %.0f tokens read and %.0f written, %.6g of money in all runs; "
             "%zu answers of earlier runs were used again", t.calls, t.tokens_in, t.tokens_out,
             t.money, t.kept);
}

// --- experts ------------------------------------------------------------------------------------

static int fill(const stage *s, const mla_actor *actor, const mla_trajectories *like, int at_once,
                mla_err *err) {
    const mla_collect_options *o = &s->options;
    char *path = mla_run_path(s->run, "expert/steps.jsonl");
    // By turns, so that a run that is stopped early has something of every task.
    const mla_fill fill = {
        .path = path, .stage = "collect", .prefix = "", .digits = 4, .like = like,
        .trajectories = o->trajectories, .max_steps = o->max_steps,
        .max_seconds = o->max_minutes * 60, .at_once = at_once, .seed = o->seed};
    int rc = mla_trajectories_fill(&fill, s->agent, actor, s->book.tasks, s->book.n_tasks, err);
    free(path);
    return rc;
}

static int follow_script(stage *s, mla_err *err) {
    const mla_collect_options *o = &s->options;
    mla_expert *expert = mla_expert_create(s->book.chosen, s->book.n_tasks,
                                           s->book.n_tasks * (size_t)o->trajectories);
    mla_actor actor = mla_expert_actor(expert);
    int rc = fill(s, &actor, NULL, o->at_once, err);
    mla_expert_free(expert);
    return rc;
}

// As many trajectories side by side as keep the requests going while scripts run.
static int follow_endpoint(stage *s, mla_err *err) {
    const mla_collect_endpoint *e = &s->options.endpoint;
    mla_endpoint_actor_options o = mla_endpoint_actor_options_default();
    o.name = "expert";
    o.key = "endpoint.url";
    o.url = e->url;
    o.model = e->model;
    o.key_env = e->key_env;
    o.seconds = e->seconds;
    o.attempts = e->attempts;
    o.at_once = e->at_once;
    o.temperature = e->temperature;
    o.max_new = e->max_new;
    o.prompt = s->options.prompt;
    o.prompt.max_tokens = e->max_prompt;
    o.hint = mla__hints_make(&s->book);
    o.ledger = s->ledger;
    mla_endpoint_actor *self = mla_endpoint_actor_create(&o, err);
    if (!self) return -1;
    mla_actor actor = mla_endpoint_actor_make(self);
    int rc = fill(s, &actor, NULL, s->options.at_once + e->at_once, err);
    mla_endpoint_actor_free(self);
    return rc;
}

static int follow_records(stage *s, mla_err *err) {
    const char *path = s->options.replay;
    mla_trajectories all;
    if (!*path || !mla_fs_exists(path)) {
        return mla_err_set(err, "collect.replay: \"%s\" is no file; name the steps.jsonl whose "
                           "trajectories are to be played again", path);
    }
    if (mla_trajectories_read(&all, path, s->book.tasks, s->book.n_tasks, err) < 0) return -1;
    if (all.torn) mla_warn("%s: %zu trajectories are not whole and left out", path, all.torn);
    mla_actor actor = mla__replay_actor(&all);
    int rc = all.len ? fill(s, &actor, &all, s->options.at_once, err)
                     : mla_err_set(err, "%s: holds no whole trajectory", path);
    mla_trajectories_clear(&all);
    return rc;
}

static int follow(stage *s, mla_err *err) {
    switch (s->options.expert) {
    case MLA_EXPERT_SCRIPTED: return follow_script(s, err);
    case MLA_EXPERT_ENDPOINT: return follow_endpoint(s, err);
    case MLA_EXPERT_REPLAY: return follow_records(s, err);
    }
    MLA_ASSERT(!"every kind of expert is followed");
    return -1;
}

// --- the account --------------------------------------------------------------------------------

static int cores(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

// What the machine could have done at best: nothing but run the scripts, on all its cores.
static void tell_time(const stage *s, const mla_env_stats *before, double seconds) {
    mla_env_stats now = mla_env_stats_get(mla_agent_env(s->agent));
    double ran = now.run_seconds - before->run_seconds, least = ran / cores();
    size_t runs = now.runs - before->runs, hits = now.cache_hits - before->cache_hits;
    if (!runs && !hits) return;
    char *ratio = runs ? mla_format(": %.2f of that", seconds / least) : mla_strdup("");
    mla_info("collected in %.1f s; %zu scripts ran for %.1f s, at least %.1f s on %d cores%s; %zu "
             "results came from the cache", seconds, runs, ran, least, cores(), ratio, hits);
    free(ratio);
}

// --- the stage ----------------------------------------------------------------------------------

static int check_options(const mla_collect_options *o, size_t n_tasks, mla_err *err) {
    if (!n_tasks) return mla_err_set(err, "collect: no task to collect from");
    if (o->trajectories < 1 || o->ideas_kept < 1 || o->max_steps < 1 || o->at_once < 1) {
        return mla_err_set(err, "collect: trajectories (%d), ideas kept (%d), steps (%d) and "
                           "trajectories at once (%d) must each be at least 1", o->trajectories,
                           o->ideas_kept, o->max_steps, o->at_once);
    }
    if (*o->ideas_from && o->ideas_asked < o->ideas_kept) {
        return mla_err_set(err, "collect: ideas_asked (%d) must be at least ideas_kept (%d)",
                           o->ideas_asked, o->ideas_kept);
    }
    return 0;
}

// A replay follows no ideas.
static int choose_ideas(stage *s, mla_err *err) {
    const mla__embedder by = {.policy = s->policy, .endpoint = s->vectors};
    bool edits = s->options.expert == MLA_EXPERT_SCRIPTED;
    if (s->options.expert == MLA_EXPERT_REPLAY) return 0;
    int rc = s->ideas ? mla__ideas_ask(&s->book, s->run, s->ideas, &by, s->agent, &s->options,
                                       edits, err)
                      : mla__book_load(&s->book, err);
    if (rc == 0 && !mla_stop_wanted()) {
        rc = mla__book_choose(&s->book, s->run, &by, &s->options, err);
    }
    return rc;
}

static int collect(stage *s, mla_err *err) {
    if (open_endpoints(s, err) < 0 || choose_ideas(s, err) < 0) return -1;
    if (mla_stop_wanted()) return 0;
    mla_env_stats before = mla_env_stats_get(mla_agent_env(s->agent));
    double began_at = mla_clock();
    int rc = follow(s, err);
    tell_time(s, &before, mla_clock() - began_at);
    return rc;
}

// A variant's script was run when the variant was made.
static int check_starters(mla_env *env, const mla_task *const *tasks, size_t n, mla_err *err) {
    for (size_t i = 0; i < n && !mla_stop_wanted(); i++) {
        if (!tasks[i]->variant && mla_env_check_starter(env, tasks[i], err) < 0) return -1;
    }
    return 0;
}

int mla_collect_run(mla_run *run, mla_agent *agent, mla_policy *embedder,
                    const mla_task *const *tasks, size_t n_tasks,
                    const mla_collect_options *options, mla_err *err) {
    if (check_options(options, n_tasks, err) < 0) return -1;
    stage s = {.run = run, .agent = agent, .options = *options, .policy = embedder};
    mla__book_init(&s.book, tasks, n_tasks);
    int rc = check_starters(mla_agent_env(agent), tasks, n_tasks, err);
    if (rc == 0) rc = collect(&s, err);
    tell_cost(&s);
    mla__book_clear(&s.book);
    mla_endpoint_free(s.ideas);
    mla_endpoint_free(s.vectors);
    mla_ledger_close(s.ledger);
    return rc;
}
