// An OpenAI-compatible endpoint as an actor: it reads the same words as a policy and answers in
// words. One view after the other; each reply goes to the environment while the next is written.
#include <stdlib.h>

#include "agent/agent.h"
#include "agent/endpoint.h"
#include "base/log.h"
#include "base/mem.h"

struct mla_endpoint_actor {
    mla__endpoint *endpoint;
    mla_endpoint_actor_options options;
};

mla_endpoint_actor_options mla_endpoint_actor_options_default(void) {
    return (mla_endpoint_actor_options){.key_env = "OPENAI_API_KEY", .seconds = 300, .attempts = 5,
                                        .temperature = 1, .max_new = 1024,
                                        .prompt = mla_prompt_options_default()};
}

mla_endpoint_actor *mla_endpoint_actor_create(const mla_endpoint_actor_options *options,
                                              mla_err *err) {
    const mla__endpoint_options o = {
        .who = "the model", .key = "--endpoint", .url = options->url, .model = options->model,
        .key_env = options->key_env, .seconds = options->seconds, .attempts = options->attempts};
    mla__endpoint *endpoint;
    if (mla__endpoint_create(&endpoint, &o, err) < 0) return NULL;
    mla_endpoint_actor *actor = MLA_NEW(mla_endpoint_actor);
    *actor = (mla_endpoint_actor){.endpoint = endpoint, .options = *options};
    return actor;
}

void mla_endpoint_actor_free(mla_endpoint_actor *actor) {
    if (!actor) return;
    mla__endpoint_free(actor->endpoint);
    free(actor);
}

static int ask(const mla_endpoint_actor *a, const mla_view *view, mla_reply *out, mla_err *err) {
    char *system, *user;
    double began_at = mla_clock();
    mla_prompt_text(view, &a->options.prompt, &system, &user);
    const mla__question question = {.system = system, .user = user, .seed = &view->seed,
                                    .temperature = a->options.temperature,
                                    .max_tokens = a->options.max_new};
    mla__answer answer;
    int rc = mla__endpoint_ask(a->endpoint, &question, &answer, err);
    *out = (mla_reply){.text = answer.text, .ended = !answer.cut,
                       .seconds = mla_clock() - began_at};
    free(system);
    free(user);
    return rc;
}

// Stopped while it waits, it has nothing to say and that is no error.
static int act(void *self, const mla_view *views, size_t n, mla_reply_sink sink, void *ctx,
               mla_err *err) {
    const mla_endpoint_actor *a = self;
    for (size_t i = 0; i < n && !mla_stop_wanted(); i++) {
        mla_reply reply;
        int rc = ask(a, &views[i], &reply, err);
        if (rc == 0) rc = sink(ctx, i, &reply, err);
        else if (mla_stop_wanted()) rc = 0;
        mla_reply_clear(&reply);
        if (rc < 0) return rc;
    }
    return 0;
}

mla_actor mla_endpoint_actor_make(mla_endpoint_actor *self) {
    return (mla_actor){.name = "endpoint", .act = act, .self = self};
}
