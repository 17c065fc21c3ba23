// Several actions from one state: what step-wise RL and the evaluation on fixed states are made of.
// The environment works on the first actions while the policy is still sampling the others.
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent.h"
#include "base/log.h"
#include "base/mem.h"

typedef struct {
    mla_agent *agent;
    mla_policy *policy;
    const mla_branch_options *options;
    mla_branch *branches;      // [n]
    mla_view *views;           // [n]
    mla_prompt_request *requests;
    double began_at;
    int rc;
    mla_err *err;
} branching;

static int open_branch(branching *b, size_t at) {
    mla_branch *branch = &b->branches[at];
    const mla_branch_options *o = b->options;
    branch->script =
        mla_env_script(mla_agent_env(b->agent), branch->task, &branch->state, b->err);
    if (!branch->script) return -1;
    b->views[at] = (mla_view){
        .task = branch->task, .state = branch->state, .script = branch->script,
        .history = branch->history, .n_history = branch->n_history,
        .steps_left = branch->steps_left, .seed = branch->seed};
    mla_prompt_render(b->policy, &b->views[at], &o->prompt, &branch->prompt);
    branch->steps = MLA_NEW_ARRAY(mla_step, (size_t)o->samples);
    b->requests[at] = (mla_prompt_request){
        .ids = branch->prompt.data, .n = branch->prompt.len, .samples = o->samples,
        .max_new = o->max_new, .temperature = o->temperature, .seed = branch->seed};
    return 0;
}

static void submit(void *ctx, size_t at, int k, mla_sample *take) {
    branching *b = ctx;
    const mla_prompt_request *r = &b->requests[at];
    mla_reply reply =
        mla_reply_of_sample(b->policy, r->ids, r->n, take, mla_clock() - b->began_at);
    char name[96];
    snprintf(name, sizeof name, "%s-%zu-%d", b->options->name, at, k);
    size_t tag = at * (size_t)b->options->samples + (size_t)k;
    if (b->rc == 0) {
        b->rc = mla_agent_submit(b->agent, &b->views[at], "policy", name, &reply, tag, b->err);
    }
    mla_reply_clear(&reply);
}

static int take_in(branching *b) {
    size_t tag, samples = (size_t)b->options->samples;
    mla_step step;
    int rc;
    while ((rc = mla_agent_await(b->agent, &tag, &step, b->err)) == 1) {
        b->branches[tag / samples].steps[tag % samples] = step;
    }
    mla_agent_cancel(b->agent);        // what is still out at Ctrl-C or after an error
    return rc;
}

int mla_agent_branch(mla_agent *agent, mla_policy *policy, const mla_branch_options *options,
                     mla_branch *branches, size_t n, mla_branch_times *times, mla_err *err) {
    branching b = {.agent = agent, .policy = policy, .options = options, .branches = branches,
                   .views = MLA_NEW_ARRAY(mla_view, n),
                   .requests = MLA_NEW_ARRAY(mla_prompt_request, n), .began_at = mla_clock(),
                   .err = err};
    mla_agent_use_policy(agent, policy);
    for (size_t i = 0; i < n && b.rc == 0; i++) b.rc = open_branch(&b, i);
    if (b.rc == 0 && mla_policy_generate(policy, b.requests, n, submit, &b, err) < 0) b.rc = -1;
    double generated_at = mla_clock();
    if (take_in(&b) < 0) b.rc = -1;
    mla_agent_use_policy(agent, NULL);
    times->generate_seconds = generated_at - b.began_at;
    times->wait_seconds = mla_clock() - generated_at;
    free(b.views);
    free(b.requests);
    return b.rc < 0 ? -1 : !mla_stop_wanted();
}

void mla_branch_clear(mla_branch *branch, int samples) {
    for (int k = 0; branch->steps && k < samples; k++) mla_step_clear(&branch->steps[k]);
    free(branch->steps);
    free(branch->script);
    mla_ids_clear(&branch->prompt);
    *branch = (mla_branch){0};
}
