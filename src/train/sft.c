// Supervised fine-tuning on sft/steps.jsonl: the loss is the negative log-probability of the action
// tokens, their end-of-turn tokens included, every token of the data set weighing the same. The
// algorithm is learn_step; what is learned in which step is in sft_data.c, validation in
// sft_validate.c, and what becomes the result in sft_result.c.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/ram.h"
#include "base/rng.h"
#include "record/metrics.h"
#include "train/sft_internal.h"

typedef struct {
    const mla_sft_options *options;
    mla__sft_data data;
    mla__sft_plan plan;
    mla__sft_result result;
    mla_policy *policy;
    mla_activations *acts;
    mla_adamw *opt;
    mla_ema *ema;              // or NULL
    long long seen_tokens;     // through the network, former runs included
    json_t *line;              // of the metrics, of a step that is not validated yet; or NULL
    char *checkpoint, *metrics;
    mla_metrics *log;
    mla_progress bar;
} sft;

// ---- what goes wrong -------------------------------------------------------------------------

static mla_trained trained(const sft *s) {
    return (mla_trained){.policy = s->policy, .opt = s->opt, .ema = s->ema};
}

static int checkpoint(const sft *s, int done, mla_err *err) {
    const mla_trained what = trained(s);
    json_t *state = json_pack("{s:i, s:I, s:o, s:O?}", "done", done, "seen_tokens",
                              (json_int_t)s->seen_tokens, "result",
                              mla__sft_result_to_json(&s->result), "line", s->line);
    int rc = mla__checkpoint_save(s->checkpoint, &what, state, err);
    json_decref(state);
    return rc;
}

// The gradient of a step is dropped; nothing else has changed since the step before it.
static int stop_at_last_good(sft *s, int step, const char *what, size_t sample, mla_err *err) {
    const mla_step *at = &s->data.samples.items[sample];
    mla_model_zero_grad(mla_policy_model(s->policy));
    if (checkpoint(s, step, err) < 0) return -1;
    return mla_err_set(err, "fine-tuning: the %s of step %d is not a finite number, first of the "
                       "sample in line %d of sft/steps.jsonl (%s, trajectory %s, step %d); %s is "
                       "as step %d left it. Lower sft.lr, or take out the sample",
                       what, step + 1, s->data.lines[sample], at->task, at->trajectory, at->index,
                       s->checkpoint, step);
}

static bool gradient_is_finite(mla_model *model) {
    for (size_t i = 0; i < mla_model_params(model); i++) {
        const mla_param *p = mla_model_param(model, i);
        for (size_t k = 0; k < p->rows * p->cols; k++)
            if (!isfinite(p->grad[k])) return false;
    }
    return true;
}

// ---- the algorithm ---------------------------------------------------------------------------

// Adds the gradients of weight * (negative log-probability of the pack's actions); returns that
// sum without the weight. `culprit`, if it is not finite: the sample in which that begins.
static double learn(sft *s, const mla__sft_pack *pack, double weight, size_t *culprit) {
    const mla_token_batch batch = mla_group_batch(&pack->group);
    const mla_head_rows head = mla_group_head(&pack->group, 1.0f);
    float *logprob = MLA_NEW_ARRAY(float, (size_t)head.n),
          *grad = MLA_NEW_ARRAY(float, (size_t)head.n);
    mla_model *model = mla_policy_model(s->policy);
    for (int i = 0; i < head.n; i++) grad[i] = (float)-weight;
    mla_transformer_forward(model, &batch, s->acts, true);
    mla_head_learn(model, s->acts, &head, grad, logprob);
    double loss = 0;
    for (int i = 0; i < head.n; i++) {
        if (isfinite(loss)) *culprit = pack->samples[pack->group.action_of[i]];
        loss -= (double)logprob[i];
    }
    if (isfinite(loss)) mla_transformer_backward(model, &batch, s->acts);
    free(logprob);
    free(grad);
    return loss;
}

typedef struct {               // of a step
    double loss;               // sum over the tokens with one
    int targets, seen, samples;
} tally;

// The gradient of a step's states, pack by pack. 1, 0 when stopped, -1: the loss is not finite, and
// `culprit` is the sample.
static int accumulate(sft *s, int step, tally *t, size_t *culprit) {
    const size_t *states = s->plan.order + s->plan.begin[step];
    const size_t n = s->plan.begin[step + 1] - s->plan.begin[step];
    for (size_t at = 0; at < n;) {
        if (mla_stop_wanted()) return 0;
        mla__sft_pack pack;
        mla_activations_dropout(s->acts, mla_rng_derive(s->options->seed, (uint64_t)step, at, 5));
        at += mla__sft_pack_make(&pack, &s->data, states + at, n - at, s->options->pack_tokens);
        t->loss += learn(s, &pack, 1.0 / s->plan.step_targets, culprit);
        t->targets += pack.group.n_rows;
        t->seen += (int)pack.group.ids.len;
        t->samples += (int)pack.n_samples;
        mla__sft_pack_clear(&pack);
        if (!isfinite(t->loss)) return -1;
        mla_progress_set(&s->bar, step + (double)at / (double)n, "loss %.3f",
                         t->loss / t->targets);
    }
    return 1;
}

// The first sample of the first state whose gradient alone is not finite; of the step, if none is.
static size_t find_culprit(sft *s, int step) {
    const size_t *states = s->plan.order + s->plan.begin[step];
    const size_t n = s->plan.begin[step + 1] - s->plan.begin[step];
    mla_model *model = mla_policy_model(s->policy);
    for (size_t i = 0; i < n; i++) {
        mla__sft_pack pack;
        size_t culprit;
        mla__sft_pack_make(&pack, &s->data, states + i, 1, 0);
        learn(s, &pack, 1.0 / s->plan.step_targets, &culprit);
        mla__sft_pack_clear(&pack);
        bool finite = gradient_is_finite(model);
        mla_model_zero_grad(model);
        if (!finite) return s->data.states[states[i]].first;
    }
    return s->data.states[states[0]].first;
}

// One step of the optimiser on the mean loss of its action tokens. Tokens weigh the same in all
// steps: one on a state with a single short action must not pull as hard as one on a state with ten
// long ones. Leaves its line of the metrics. 1, 0 when stopped before the weights changed, -1.
static int learn_step(sft *s, int step, mla_err *err) {
    const double began = mla_clock();
    const double lr = mla_schedule_lr(&s->options->schedule, step, s->plan.steps);
    tally t = {0};
    size_t culprit = 0;
    int rc = accumulate(s, step, &t, &culprit);
    if (rc < 0) return stop_at_last_good(s, step, "loss", culprit, err);
    if (rc == 0) {
        mla_model_zero_grad(mla_policy_model(s->policy));
        return 0;
    }
    const double norm = mla_adamw_step(s->opt, lr);
    if (!isfinite(norm)) return stop_at_last_good(s, step, "gradient", find_culprit(s, step), err);
    if (s->ema) mla__ema_update(s->ema);
    s->seen_tokens += t.seen;
    const double seconds = mla_clock() - began;
    s->line = json_pack(
        "{s:i, s:o, s:o, s:n, s:n, s:b, s:i, s:i, s:I, s:o, s:o, s:o, s:o, s:n}", "step", step + 1,
        "epoch", mla_json_number((double)s->plan.begin[step + 1] / (double)s->data.n_train), "loss",
        mla_json_number(t.loss / t.targets), "val_loss", "action_accuracy", "best", false,
        "samples", t.samples, "tokens", t.targets, "seen_tokens", (json_int_t)s->seen_tokens,
        "tokens_per_second", mla_json_number(t.seen / seconds), "lr", mla_json_number(lr),
        "grad_norm", mla_json_number(norm), "seconds", mla_json_number(seconds),
        "validation_seconds");
    MLA_ASSERT(s->line);
    return 1;
}

static bool validation_is_due(const sft *s, int done) {
    if (s->data.n_states == s->data.n_train) return false;
    if (done == s->plan.steps) return true;
    if (s->options->val_every) return done % s->options->val_every == 0;
    for (int i = 0; i < s->plan.epochs; i++)
        if (s->plan.epoch_end[i] == done) return true;
    return false;
}

// With the averaged weights where there are such, for these become the result. 1, 0 when stopped,
// -1.
static int validate(sft *s, int done, mla_err *err) {
    const double began = mla_clock();
    mla__sft_score score;
    if (s->ema) mla__ema_swap(s->ema);
    mla_progress_set(&s->bar, done, "validating");
    int rc = mla__sft_validate(&score, &s->data, s->options, s->policy, s->acts, err);
    int better = rc == 1 ? mla__sft_result_offer(&s->result, &score, done, s->policy, err) : 0;
    if (s->ema) mla__ema_swap(s->ema);
    if (rc < 1 || better < 0) return rc < 1 ? rc : -1;
    json_object_set_new(s->line, "val_loss", mla_json_number(score.loss));
    json_object_set_new(s->line, "action_accuracy", mla_json_number(score.accuracy));
    json_object_set_new(s->line, "best", json_boolean(better));
    json_object_set_new(s->line, "validation_seconds", mla_json_number(mla_clock() - began));
    return 1;
}

// The only place where a line of the metrics is written. 1, 0 when validation was stopped: the line
// then goes into the checkpoint, and validation comes first next time. -1.
static int close_step(sft *s, int done, mla_err *err) {
    int rc = validation_is_due(s, done) ? validate(s, done, err) : 1;
    if (rc < 1) return rc;
    mla_progress_set(&s->bar, done, "loss %.3f, %.0f tok/s",
                     mla_json_get_number(s->line, "loss", NAN),
                     mla_json_get_number(s->line, "tokens_per_second", NAN));
    json_t *line = s->line;
    s->line = NULL;
    return mla_metrics_append_take(s->log, line, err) < 0 ? -1 : 1;
}

// Steps after `done`. 1: all done, 0: stopped with a checkpoint, -1.
static int train(sft *s, int done, mla_err *err) {
    const double period = s->options->checkpoint_seconds;
    double saved_at = mla_clock();
    mla_progress_begin(&s->bar, "sft", "steps", s->plan.steps, done);
    int rc = s->line ? close_step(s, done, err) : 1;
    while (rc == 1 && done < s->plan.steps && !mla__sft_result_given_up(&s->result)) {
        rc = learn_step(s, done, err);
        if (rc == 1) rc = close_step(s, ++done, err);
        bool due = period > 0 && mla_clock() - saved_at > period && done < s->plan.steps;
        if (rc < 0 || (rc == 1 && !due)) continue;
        if (checkpoint(s, done, err) < 0) return -1;
        saved_at = mla_clock();
    }
    if (rc == 1) mla_progress_end(&s->bar);
    return rc;
}

// ---- opening and closing ---------------------------------------------------------------------

static int check_options(const sft *s, mla_err *err) {
    const mla_sft_options *o = s->options;
    const bool held_back = s->data.n_states > s->data.n_train;
    if (!held_back && (o->keep != MLA_SFT_KEEP_LAST || o->patience))
        return mla_err_set(err, "sft.keep and sft.patience go by a validation, and nothing is held "
                           "back for one: set data.val_share and collect again, or keep: last and "
                           "patience: 0");
    if (!o->val_actions && o->keep == MLA_SFT_KEEP_ACCURACY)
        return mla_err_set(err, "sft.keep: action_accuracy needs sft.val_actions above 0");
    return 0;
}

// Reads the data and says whether it all will fit, before anything large is loaded.
static int prepare(sft *s, const mla_run *run, const char *model_path, mla_err *err) {
    const mla_sft_options *o = s->options;
    mla_weights *weights = mla_weights_open(model_path, err);
    if (!weights) return -1;
    const mla_model_config config = *mla_weights_config(weights);
    mla_weights_close(weights);
    if (mla__sft_data_read(&s->data, run, &config, o, err) < 0 || check_options(s, err) < 0)
        return -1;
    if (s->data.left_out) mla_warn("sft: %zu samples are too long and left out", s->data.left_out);
    mla__sft_plan_make(&s->plan, &s->data, o);
    return mla__sft_memory_check(&config, o, mla__sft_plan_largest(&s->plan, &s->data,
                                                                   o->pack_tokens),
                                 mla__sft_plan_largest(&s->plan, &s->data, 0),
                                 mla_ram_available(), err);
}

// The model to train: whole, or with an adapter, new or from the checkpoint.
static int open_model(sft *s, const char *model_path, bool resumed, mla_err *err) {
    const bool lora = s->options->method == MLA_SFT_LORA;
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = s->options->compute;
    wanted.trainable = !lora;
    wanted.adaptable = lora;
    s->policy = mla_policy_open(resumed && !lora ? s->checkpoint : model_path, &wanted, err);
    if (!s->policy || !lora) return s->policy ? 0 : -1;
    mla_model *model = mla_policy_model(s->policy);
    mla_adapter_options adapter = s->options->lora;
    adapter.base = model_path;
    int at = resumed ? mla_adapter_load(model, s->checkpoint, true, err)
                     : mla_adapter_add(model, &adapter, s->options->seed, err);
    return at < 0 ? -1 : 0;
}

static void make_trainer(sft *s) {
    const mla_sft_options *o = s->options;
    mla_model *model = mla_policy_model(s->policy);
    mla_adamw_options adamw = mla_adamw_options_default();
    adamw.weight_decay = (float)o->weight_decay;
    adamw.clip_norm = (float)o->clip_norm;
    s->opt = mla_adamw_create(model, &adamw);
    s->acts = mla_activations_create(model);
    mla_activations_recompute(s->acts, o->recompute);
    if (o->ema > 0) s->ema = mla__ema_create(model, o->ema);
}

static int restore(sft *s, mla_err *err) {
    const mla_trained what = trained(s);
    if (mla__checkpoint_load(s->checkpoint, &what, err) < 0) return -1;
    json_t *state = mla__checkpoint_state(s->checkpoint, err);
    if (!state) return -1;
    s->seen_tokens = mla_json_get_int(state, "seen_tokens", 0);
    mla__sft_result_from_json(&s->result, json_object_get(state, "result"));
    json_t *line = json_object_get(state, "line");
    if (json_is_object(line)) s->line = json_incref(line);
    json_decref(state);
    return 0;
}

// How many steps are done, or -1.
static int sft_open(sft *s, mla_run *run, const char *model_path, mla_err *err) {
    s->checkpoint = mla_run_path(run, "sft/checkpoint");
    s->metrics = mla_run_path(run, "sft/metrics.jsonl");
    mla__sft_result_init(&s->result, run, s->options);
    int done = mla__checkpoint_done(s->checkpoint, err);
    if (done < 0 || prepare(s, run, model_path, err) < 0) return -1;
    if (open_model(s, model_path, done > 0, err) < 0) return -1;
    make_trainer(s);
    if (done && restore(s, err) < 0) return -1;
    s->log = mla_metrics_open(s->metrics, "step", done, err);
    return s->log ? done : -1;
}

static void sft_clear(sft *s) {
    mla_metrics_close(s->log);
    mla__ema_free(s->ema);
    mla_adamw_free(s->opt);
    mla_activations_free(s->acts);
    mla_policy_free(s->policy);
    mla__sft_plan_clear(&s->plan);
    mla__sft_data_clear(&s->data);
    mla__sft_result_clear(&s->result);
    json_decref(s->line);
    free(s->checkpoint);
    free(s->metrics);
}

int mla_sft_run(mla_run *run, const char *model_path, const mla_sft_options *options,
                mla_err *err) {
    sft s = {.options = options};
    int rc = sft_open(&s, run, model_path, err);
    if (rc >= 0) rc = train(&s, rc, err);
    if (rc == 1 && s.ema) mla__ema_swap(s.ema);
    if (rc == 1 && mla__sft_result_write(&s.result, s.policy, model_path, err) < 0) rc = -1;
    if (rc == 1 && mla__checkpoint_remove(s.checkpoint, err) < 0) rc = -1;
    if (rc == 1 && mla__sft_result_tidy(&s.result, err) < 0) rc = -1;
    sft_clear(&s);
    return rc;
}
