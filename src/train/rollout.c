// One iteration's experience: s ~ pool, a ~ policy(. | s), each action executed and judged. The
// environment works on the first actions while the policy is still sampling the others.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "train/internal.h"

typedef struct {
    mla_rollout *out;
    mla_agent *agent;
    mla_policy *policy;
    const mla_rl_options *options;
    int iteration;
    mla_view *views;           // [n_states]
    mla_prompt_request *requests;
    double began_at;
    int rc;
    mla_err *err;
} making;

static const mla_task *find_task(const mla_task *const *tasks, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++) {
        if (strcmp(tasks[i]->name, name) == 0) return tasks[i];
    }
    return NULL;
}

// Draws a state and renders its prompt for the policy as it is now.
static int draw_state(making *m, int at, const mla_pool *pool, const mla_task *const *tasks,
                      size_t n_tasks) {
    mla_rollout_state *s = &m->out->states[at];
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(m->options->seed, (uint64_t)m->iteration, (uint64_t)at, 3));
    s->from = mla_pool_sample(pool, &rng);
    s->task = find_task(tasks, n_tasks, s->from.task);
    if (!s->task) return mla_err_set(m->err, "pool: a state of task %s, which is not loaded",
                                     s->from.task);
    s->script = mla_env_script(mla_agent_env(m->agent), s->task, &s->from.state, m->err);
    if (!s->script) return -1;
    int left = m->options->max_steps - (int)s->from.n_history;
    m->views[at] = (mla_view){.task = s->task, .state = s->from.state, .script = s->script,
                              .history = s->from.history, .n_history = s->from.n_history,
                              .steps_left = left > 1 ? left : 1, .seed = mla_rng_u64(&rng)};
    mla_prompt_render(m->policy, &m->views[at], &m->options->prompt, &s->prompt);
    s->steps = MLA_NEW_ARRAY(mla_step, (size_t)m->options->samples);
    m->requests[at] = (mla_prompt_request){
        .ids = s->prompt.data, .n = s->prompt.len, .samples = m->options->samples,
        .max_new = m->options->max_new, .temperature = m->options->temperature,
        .seed = m->views[at].seed};
    return 0;
}

static void execute(void *ctx, size_t state, int k, mla_sample *take) {
    making *m = ctx;
    const mla_prompt_request *r = &m->requests[state];
    mla_reply reply =
        mla_reply_of_sample(m->policy, r->ids, r->n, take, mla_clock() - m->began_at);
    char name[64];
    snprintf(name, sizeof name, "rl-%d-%zu-%d", m->iteration, state, k);
    size_t tag = state * (size_t)m->options->samples + (size_t)k;
    if (m->rc == 0) {
        m->rc = mla_agent_submit(m->agent, &m->views[state], "policy", name, &reply, tag, m->err);
    }
    mla_reply_clear(&reply);
}

static void count_run(mla_rollout *out, const mla_cost *cost) {
    out->runs += cost->cached || cost->run_seconds > 0;
    out->cached += cost->cached;
    *(cost->cached ? &out->saved_seconds : &out->execute_seconds) += cost->run_seconds;
}

// Takes in every result; samples that were stopped or dropped leave an empty record.
static int take_in(making *m) {
    size_t tag;
    mla_step step;
    int rc;
    while ((rc = mla_agent_await(m->agent, &tag, &step, m->err)) == 1) {
        size_t samples = (size_t)m->options->samples;
        m->out->states[tag / samples].steps[tag % samples] = step;
        count_run(m->out, &step.cost);
    }
    mla_agent_cancel(m->agent);        // what is still out at Ctrl-C or after an error
    return rc;
}

// Keeps a state's samples with a reward; those that are learned from come first.
static void close_ranks_of(making *m, mla_rollout_state *s) {
    int samples = m->options->samples;
    mla_step *aside = MLA_NEW_ARRAY(mla_step, (size_t)samples);
    for (int k = 0; k < samples; k++) {
        mla_step *step = &s->steps[k];
        if (!step->n_action || !isfinite(step->reward.reward)) {
            m->out->dropped++;
            mla_step_clear(step);
        } else if (step->flags && m->options->drop_flagged) {
            aside[s->n_steps++ - s->n_learned] = *step;
        } else {
            s->steps[s->n_learned++] = *step;
            s->n_steps++;
        }
    }
    int screened = s->n_steps - s->n_learned;
    memcpy(s->steps + s->n_learned, aside, (size_t)screened * sizeof *aside);
    m->out->screened += screened;
    free(aside);
}

static void close_ranks(making *m) {
    for (int i = 0; i < m->out->n_states; i++) close_ranks_of(m, &m->out->states[i]);
}

int mla__rollout_make(mla_rollout *out, mla_agent *agent, mla_policy *policy, const mla_pool *pool,
                      const mla_task *const *tasks, size_t n_tasks, const mla_rl_options *options,
                      int iteration, mla_err *err) {
    size_t n = (size_t)options->states;
    *out =
        (mla_rollout){.states = MLA_NEW_ARRAY(mla_rollout_state, n), .n_states = options->states};
    making m = {.out = out, .agent = agent, .policy = policy, .options = options,
                .iteration = iteration, .views = MLA_NEW_ARRAY(mla_view, n),
                .requests = MLA_NEW_ARRAY(mla_prompt_request, n), .began_at = mla_clock(),
                .err = err};
    mla_agent_use_policy(agent, policy);
    for (int i = 0; i < options->states && m.rc == 0; i++) {
        m.rc = draw_state(&m, i, pool, tasks, n_tasks);
    }
    if (m.rc == 0 && mla_policy_generate(policy, m.requests, n, execute, &m, err) < 0) m.rc = -1;
    double generated_at = mla_clock();
    if (take_in(&m) < 0) m.rc = -1;
    mla_agent_use_policy(agent, NULL);
    out->generate_seconds = generated_at - m.began_at;
    out->wait_seconds = mla_clock() - generated_at;
    close_ranks(&m);
    free(m.views);
    free(m.requests);
    return m.rc < 0 ? -1 : !mla_stop_wanted();
}

void mla__rollout_clear(mla_rollout *rollout) {
    for (int i = 0; i < rollout->n_states; i++) {
        mla_rollout_state *s = &rollout->states[i];
        for (int k = 0; k < s->n_steps; k++) mla_step_clear(&s->steps[k]);
        free(s->steps);
        free(s->script);
        mla_ids_clear(&s->prompt);
    }
    free(rollout->states);
    *rollout = (mla_rollout){0};
}
