// Validation: the loss on what is held back, and how often the model's own reply is an action.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "env/action.h"
#include "train/sft_internal.h"

// ---- loss ------------------------------------------------------------------------------------

static double pack_loss(const mla_model *model, mla_activations *acts, const mla_group *group) {
    const mla_token_batch batch = mla_group_batch(group);
    const mla_head_rows head = mla_group_head(group, 1.0f);
    float *logprob = MLA_NEW_ARRAY(float, (size_t)head.n);
    double loss = 0;
    mla_transformer_forward(model, &batch, acts, false);
    mla_head_forward(model, acts, &head, logprob, NULL);
    for (int i = 0; i < head.n; i++) loss -= (double)logprob[i];
    free(logprob);
    return loss;
}

// Mean over the held-back samples' action tokens. False: stopped.
static bool measure_loss(const mla__sft_data *d, int tokens, const mla_model *model,
                         mla_activations *acts, double *out) {
    const size_t n = d->n_states - d->n_train;
    size_t *states = MLA_NEW_ARRAY(size_t, n), at = 0;
    for (size_t i = 0; i < n; i++) states[i] = d->n_train + i;
    double loss = 0;
    long long targets = 0;
    while (at < n && !mla_stop_wanted()) {
        mla__sft_pack pack;
        at += mla__sft_pack_make(&pack, d, states + at, n - at, tokens);
        loss += pack_loss(model, acts, &pack.group);
        targets += pack.group.n_rows;
        mla__sft_pack_clear(&pack);
    }
    free(states);
    *out = loss / (double)targets;
    return at == n;
}

// ---- actions ---------------------------------------------------------------------------------

static bool edit_fits(const mla_policy *policy, const mla_step *sample, const mla_action *action) {
    char *name, *script, *text = NULL;
    mla_err why;
    if (!mla_prompt_script(policy, sample->prompt_ids, sample->n_prompt, &name, &script))
        return false;
    const mla_edit_request request = {.name = name, .script = script};
    bool fits = strcmp(action->inputs[0], name) == 0 && action->blocks &&
                mla_editor_read(&request, action->blocks, &text, &why) == 0 &&
                strcmp(text, script) != 0;
    free(name);
    free(script);
    free(text);
    return fits;
}

bool mla__sft_reply_valid(const mla_policy *policy, const mla_step *sample, mla_action_set offered,
                          const char *reply) {
    mla_action action;
    mla_err why;
    if (mla_action_parse(&action, reply, offered, &why) < 0) return false;
    bool valid = true;
    if (action.kind == MLA_ACTION_EDIT_SCRIPT) valid = edit_fits(policy, sample, &action);
    if (action.kind == MLA_ACTION_UNDO_EDIT) valid = sample->state.undo[0] != '\0';
    mla_action_clear(&action);
    return valid;
}

typedef struct {
    const mla__sft_data *data;
    const mla_policy *policy;
    mla_action_set offered;
    const size_t *samples;     // by request
    int valid, replies;
} judging;

static void judge(void *ctx, size_t request, int k, mla_sample *take) {
    (void)k;
    judging *j = ctx;
    const mla_step *sample = &j->data->samples.items[j->samples[request]];
    char *reply = mla_tokenizer_decode(mla_policy_tokenizer(j->policy), take->ids, take->n, NULL);
    j->valid += take->ended && mla__sft_reply_valid(j->policy, sample, j->offered, reply);
    j->replies++;
    free(reply);
    mla_sample_clear(take);
}

// In held-back states evenly spaced, so that all tasks have some. 1, 0 when stopped, -1.
static int measure_accuracy(const mla__sft_data *d, const mla_sft_options *options,
                            mla_policy *policy, double *out, mla_err *err) {
    const size_t all = d->n_states - d->n_train, wanted = (size_t)options->val_actions;
    const size_t n = wanted < all ? wanted : all;
    mla_prompt_request *requests = MLA_NEW_ARRAY(mla_prompt_request, n);
    size_t *samples = MLA_NEW_ARRAY(size_t, n);
    const int context = mla_model_get_config(mla_policy_model(policy))->max_context;
    for (size_t i = 0; i < n; i++) {
        samples[i] = d->states[d->n_train + i * all / n].first;
        const mla_step *s = &d->samples.items[samples[i]];
        const int room = context - (int)s->n_prompt;
        requests[i] = (mla_prompt_request){
            .ids = s->prompt_ids, .n = s->n_prompt, .samples = 1,
            .max_new = options->val_max_new < room ? options->val_max_new : room};
    }
    judging j = {.data = d, .policy = policy, .offered = options->actions, .samples = samples};
    int rc = mla_policy_generate(policy, requests, n, judge, &j, err);
    *out = n ? j.valid / (double)n : NAN;
    free(requests);
    free(samples);
    return rc < 0 ? -1 : (size_t)j.replies == n;
}

int mla__sft_validate(mla__sft_score *out, const mla__sft_data *data,
                      const mla_sft_options *options, mla_policy *policy, mla_activations *acts,
                      mla_err *err) {
    *out = (mla__sft_score){NAN, NAN};
    if (data->n_states == data->n_train) return 1;
    const mla_model *model = mla_policy_model(policy);
    if (!measure_loss(data, options->pack_tokens, model, acts, &out->loss)) return 0;
    if (!options->val_actions) return 1;
    return measure_accuracy(data, options, policy, &out->accuracy, err);
}
