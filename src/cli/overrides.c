// What `mlagent collect` may be told on the command line, put into the run's configuration.
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static int put_text(char *out, size_t size, const char *option, const char *text, mla_err *err) {
    if (strlen(text) >= size || strpbrk(text, "\"\\\n")) {
        return mla_err_set(err, "%s: \"%s\" is not a short text without quotes", option, text);
    }
    snprintf(out, size, "%s", text);
    return 0;
}

static int put_names(mla_config *c, const mla_options *o, mla_err *err) {
    int expert = o->expert ? mla_expert_kind_parse(o->expert) : (int)c->collect.expert;
    int ideas = o->ideas ? mla_idea_choice_parse(o->ideas) : (int)c->collect.ideas;
    if (expert < 0) {
        return mla_err_set(err, "--expert: \"%s\" is not scripted, endpoint or replay", o->expert);
    }
    if (ideas < 0) {
        return mla_err_set(err, "--ideas: \"%s\" is not diverse, random, first or narrow",
                           o->ideas);
    }
    c->collect.expert = (mla_expert_kind)expert;
    c->collect.ideas = (mla_idea_choice)ideas;
    return 0;
}

int mla_config_override(mla_config *c, const mla_options *o, mla_err *err) {
    const struct {
        const char *option, *text;
        char *out;
        size_t size;
    } texts[] = {
        {"--ideas-from", o->ideas_from, c->collect.ideas_from, sizeof c->collect.ideas_from},
        {"--replay", o->replay, c->collect.replay, sizeof c->collect.replay},
        {"--endpoint", o->endpoint, c->endpoint.url, sizeof c->endpoint.url},
        {"--endpoint-model", o->endpoint_model, c->endpoint.model, sizeof c->endpoint.model},
    };
    bool any = o->expert || o->ideas || o->budget_tokens >= 0 || o->budget_money >= 0 ||
               o->trajectories > 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!texts[i].text) continue;
        if (put_text(texts[i].out, texts[i].size, texts[i].option, texts[i].text, err) < 0) {
            return -1;
        }
        any = true;
    }
    if (o->trajectories > 0) c->collect.trajectories = o->trajectories;
    if (o->budget_tokens >= 0) c->endpoint.limits.budget_tokens = o->budget_tokens;
    if (o->budget_money >= 0) c->endpoint.limits.budget_money = o->budget_money;
    return put_names(c, o, err) < 0 ? -1 : any;
}
