// The policy as an actor: renders the views, samples one reply each, hands them over as they end.
#include <stdlib.h>
#include <string.h>

#include "agent/agent.h"
#include "base/log.h"
#include "base/mem.h"

typedef struct {
    const mla_policy *policy;
    const mla_prompt_request *requests;
    mla_reply_sink sink;
    void *ctx;
    double began_at;
    mla_err *err;
    int rc;
} delivery;

mla_reply mla_reply_of_sample(const mla_policy *policy, const int32_t *prompt, size_t n_prompt,
                              mla_sample *take, double seconds) {
    mla_reply reply = {.ids = take->ids, .logprobs = take->logprobs, .n_ids = take->n,
                       .ended = take->ended, .n_prompt = n_prompt, .seconds = seconds};
    reply.prompt_ids = MLA_NEW_ARRAY(int32_t, n_prompt);
    memcpy(reply.prompt_ids, prompt, n_prompt * sizeof *prompt);
    reply.text = mla_tokenizer_decode(mla_policy_tokenizer(policy), take->ids, take->n, NULL);
    *take = (mla_sample){0};
    return reply;
}

static void deliver(void *ctx, size_t request, int sample, mla_sample *take) {
    (void)sample;
    delivery *d = ctx;
    const mla_prompt_request *r = &d->requests[request];
    mla_reply reply =
        mla_reply_of_sample(d->policy, r->ids, r->n, take, mla_clock() - d->began_at);
    if (d->rc == 0) d->rc = d->sink(d->ctx, request, &reply, d->err);
    mla_reply_clear(&reply);
}

static int act(void *self, const mla_view *views, size_t n, mla_reply_sink sink, void *ctx,
               mla_err *err) {
    mla_policy_actor *a = self;
    mla_ids *prompts = MLA_NEW_ARRAY(mla_ids, n);
    mla_prompt_request *requests = MLA_NEW_ARRAY(mla_prompt_request, n);
    for (size_t i = 0; i < n; i++) {
        mla_prompt_render(a->policy, &views[i], &a->prompt, &prompts[i]);
        requests[i] = (mla_prompt_request){.ids = prompts[i].data, .n = prompts[i].len,
                                           .samples = 1, .max_new = a->max_new,
                                           .temperature = a->temperature, .seed = views[i].seed};
    }
    delivery d = {.policy = a->policy, .requests = requests, .sink = sink, .ctx = ctx,
                  .began_at = mla_clock(), .err = err};
    int rc = mla_policy_generate(a->policy, requests, n, deliver, &d, err);
    for (size_t i = 0; i < n; i++) mla_ids_clear(&prompts[i]);
    free(prompts);
    free(requests);
    return rc < 0 ? rc : d.rc;
}

mla_actor mla_policy_actor_make(mla_policy_actor *self) {
    return (mla_actor){.name = "policy", .act = act, .self = self, .batched = true};
}
