// Supervised fine-tuning on sft/steps.jsonl: the loss is the negative log-probability of the action
// tokens, their end-of-turn tokens included, every token of the data set weighing the same.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "record/metrics.h"
#include "train/internal.h"

mla_sft_options mla_sft_options_default(void) {
    return (mla_sft_options){.lr = 1e-4, .warmup_steps = 2, .epochs = 1, .batch = 4,
                             .clip_norm = 1.0, .checkpoint_seconds = 120,
                             .compute = mla_compute_best(), .seed = 1};
}

typedef struct {
    const mla_sft_options *options;
    mla_policy *policy;
    mla_activations *acts;
    mla_adamw *opt;
    mla_steps data;            // samples, in the file's order
    size_t *first;  // [n_states + 1]: a state's samples are data [first[i], first[i + 1])
    size_t n_states, n_train;  // the states after n_train are for validation
    int total_steps;
    double step_tokens;        // with a loss, in a step on the average
    long long seen_tokens;     // through the network, former runs included
    char *checkpoint, *metrics;
    mla_metrics *log;
} sft;

typedef struct {
    double loss, val_loss, lr, grad_norm, seconds;
    int tokens;                // in the loss
    int seen;                  // through the network
} sft_step;

// Samples of one state stand together in the file; up to STATE_MAX of them share its tokens.
#define STATE_MAX 16

static bool same_state(const mla_step *a, const mla_step *b) {
    return a->n_prompt == b->n_prompt &&
           memcmp(a->prompt_ids, b->prompt_ids, a->n_prompt * sizeof *a->prompt_ids) == 0;
}

// Of the samples behind those whose states are known; what is trained on and what is held back
// never share a state.
static void find_states(sft *s) {
    size_t known = s->n_states ? s->first[s->n_states] : 0;
    s->first = mla_realloc(s->first, s->data.len + 1, sizeof *s->first);
    for (size_t i = known; i < s->data.len; i++) {
        const mla_step *items = s->data.items;
        bool goes_on = i > known && same_state(&items[i], &items[i - 1]) &&
                       i - s->first[s->n_states - 1] < STATE_MAX;
        if (!goes_on) s->first[s->n_states++] = i;
    }
    s->first[s->n_states] = s->data.len;
}

static int action_tokens(const sft *s, size_t state) {
    int tokens = 0;
    for (size_t i = s->first[state]; i < s->first[state + 1]; i++) {
        tokens += (int)s->data.items[i].n_action;
    }
    return tokens;
}

// The samples of a file of the data set, behind those that are there.
static int read_samples(sft *s, const mla_run *run, const char *name, mla_err *err) {
    char *path = mla_run_path(run, name);
    mla_steps more;
    int rc = mla_store_read(path, &more, err);
    for (size_t i = 0; rc == 0 && i < more.len; i++) {
        if (!more.items[i].n_prompt || !more.items[i].n_action) {
            rc = mla_err_set(err, "%s: line %zu has no prompt_ids or action_ids; remake the data "
                             "set with `mlagent collect`", path, i + 1);
            break;
        }
        mla_steps_push_take(&s->data, &more.items[i]);
        mla_step_init(&more.items[i]);
    }
    mla_steps_clear(&more);
    if (rc == 0 && !s->data.len) rc = mla_err_set(err, "%s: no samples to train on", path);
    free(path);
    if (rc == 0) find_states(s);
    return rc;
}

// The data set has chosen what is held back: no state or trajectory of it is trained on.
static int read_data(sft *s, const mla_run *run, mla_err *err) {
    if (read_samples(s, run, "sft/steps.jsonl", err) < 0) return -1;
    s->n_train = s->n_states;
    int rc = read_samples(s, run, "sft/validation.jsonl", err);
    size_t batch = (size_t)s->options->batch;
    size_t steps = (s->n_train + batch - 1) / batch;
    s->total_steps = (int)steps * s->options->epochs;
    for (size_t i = 0; i < s->n_train; i++) s->step_tokens += action_tokens(s, i) / (double)steps;
    return rc;
}

static mla_group state_group(const sft *s, size_t state) {
    const mla_step *from = &s->data.items[s->first[state]];
    mla_group group;
    mla_group_init(&group, from->prompt_ids, from->n_prompt);
    for (size_t i = 0; i < s->first[state + 1] - s->first[state]; i++) {
        mla_group_add(&group, from[i].action_ids, from[i].n_action);
    }
    return group;
}

// Adds the gradients of weight * (negative log-probability of the state's actions); returns that
// sum.
static double learn(sft *s, size_t state, double weight) {
    mla_group group = state_group(s, state);
    const mla_token_batch batch = mla_group_batch(&group);
    const mla_head_rows head = mla_group_head(&group, 1.0f);
    float *logprob = MLA_NEW_ARRAY(float, (size_t)head.n),
          *grad = MLA_NEW_ARRAY(float, (size_t)head.n);
    mla_model *model = mla_policy_model(s->policy);
    mla_transformer_forward(model, &batch, s->acts, true);
    mla_head_forward(model, s->acts, &head, logprob, NULL);
    double loss = 0;
    for (int i = 0; i < head.n; i++) {
        loss -= logprob[i];
        grad[i] = (float)-weight;
    }
    mla_head_backward(model, s->acts, &head, grad, NULL);
    mla_transformer_backward(model, &batch, s->acts);
    s->seen_tokens += batch.n;
    free(logprob);
    free(grad);
    mla_group_clear(&group);
    return loss;
}

static double validate(sft *s) {
    double loss = 0;
    long long tokens = 0;
    for (size_t i = s->n_train; i < s->n_states; i++) {
        mla_group group = state_group(s, i);
        float *logprob = MLA_NEW_ARRAY(float, (size_t)group.n_rows);
        mla_policy_score(s->policy, &group, 1.0f, logprob);
        for (int r = 0; r < group.n_rows; r++) loss -= logprob[r];
        tokens += group.n_rows;
        free(logprob);
        mla_group_clear(&group);
    }
    return tokens ? loss / (double)tokens : NAN;
}

static double learning_rate(const sft *s, int step) {
    const mla_sft_options *o = s->options;
    if (step < o->warmup_steps) return o->lr * (step + 1) / o->warmup_steps;
    double t = (double)(step - o->warmup_steps) / fmax(1, s->total_steps - o->warmup_steps);
    return o->lr * (0.1 + 0.9 * 0.5 * (1 + cos(3.14159265358979323846 * t)));
}

// The states of a step: epochs are shuffled anew, each by its own seed, so that a step depends on
// its number alone and a resumed run goes on with the same ones.
static size_t step_states(const sft *s, int step, size_t *out) {
    size_t batch = (size_t)s->options->batch;
    size_t per_epoch = (s->n_train + batch - 1) / batch;
    size_t epoch = (size_t)step / per_epoch, from = (size_t)step % per_epoch * batch;
    size_t *order = MLA_NEW_ARRAY(size_t, s->n_train);
    for (size_t i = 0; i < s->n_train; i++) order[i] = i;
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(s->options->seed, epoch, 2, 0));
    mla_rng_shuffle(&rng, order, s->n_train);
    size_t n = s->n_train - from < batch ? s->n_train - from : batch;
    memcpy(out, order + from, n * sizeof *out);
    free(order);
    return n;
}

// Tokens weigh the same in all steps: one on a state with a single short action must not pull as
// hard as one on a state with ten long ones.
static int train_step(sft *s, int step, sft_step *out, mla_err *err) {
    double began = mla_clock();
    long long seen = s->seen_tokens;
    size_t *picked = MLA_NEW_ARRAY(size_t, (size_t)s->options->batch);
    size_t n = step_states(s, step, picked);
    *out = (sft_step){.lr = learning_rate(s, step), .val_loss = NAN};
    for (size_t i = 0; i < n; i++) out->tokens += action_tokens(s, picked[i]);
    double loss = 0;
    for (size_t i = 0; i < n && isfinite(loss); i++) {
        loss += learn(s, picked[i], 1.0 / s->step_tokens);
    }
    const mla_step *first = &s->data.items[s->first[picked[0]]];
    free(picked);
    if (!isfinite(loss)) {
        return mla_err_set(err,
                           "fine-tuning: the loss of step %d is not a number (first sample: %s, "
                           "step %d); lower sft.lr",
                           step + 1, first->trajectory, first->index);
    }
    out->loss = loss / out->tokens;
    out->grad_norm = mla_adamw_step(s->opt, out->lr);
    if (!isfinite(out->grad_norm)) {
        return mla_err_set(err, "fine-tuning: the gradient of step %d is not finite; lower sft.lr",
                           step + 1);
    }
    out->seconds = mla_clock() - began;
    out->seen = (int)(s->seen_tokens - seen);
    return 0;
}

// What the steps before a checkpoint have seen, for the count to go on.
static long long seen_before(const sft *s, int done) {
    size_t *picked = MLA_NEW_ARRAY(size_t, (size_t)s->options->batch);
    long long seen = 0;
    for (int step = 0; step < done; step++) {
        size_t n = step_states(s, step, picked);
        for (size_t i = 0; i < n; i++) {
            size_t state = picked[i], actions = s->first[state + 1] - s->first[state];
            seen += (long long)s->data.items[s->first[state]].n_prompt +
                    action_tokens(s, state) - (long long)actions;
        }
    }
    free(picked);
    return seen;
}

static int log_step(sft *s, int step, const sft_step *at, mla_err *err) {
    json_t *line = json_pack(
        "{s:i, s:o, s:o, s:i, s:I, s:o, s:o, s:o, s:o}", "step", step + 1, "loss",
        mla_json_number(at->loss), "val_loss", mla_json_number(at->val_loss), "tokens", at->tokens,
        "seen_tokens", (json_int_t)s->seen_tokens, "tokens_per_second",
        mla_json_number(at->seen / at->seconds), "lr", mla_json_number(at->lr), "grad_norm",
        mla_json_number(at->grad_norm), "seconds", mla_json_number(at->seconds));
    return mla_metrics_append_take(s->log, line, err);
}

static int checkpoint(const sft *s, int done, mla_err *err) {
    return mla__checkpoint_save(s->checkpoint, s->policy, s->opt, NULL, done, err);
}

// Steps [from, total_steps). 1: all done, 0: stopped with a checkpoint, -1.
static int train(sft *s, int from, mla_err *err) {
    mla_progress bar;
    mla_progress_begin(&bar, "sft", "steps", s->total_steps, from);
    double saved_at = mla_clock();
    for (int step = from; step < s->total_steps; step++) {
        sft_step at;
        if (train_step(s, step, &at, err) < 0) return -1;
        bool last = step + 1 == s->total_steps;
        if (last) at.val_loss = validate(s);
        if (log_step(s, step, &at, err) < 0) return -1;
        mla_progress_set(&bar, step + 1, "loss %.3f, %.0f tok/s", at.loss, at.seen / at.seconds);
        if (last) break;
        bool due = s->options->checkpoint_seconds > 0 &&
                   mla_clock() - saved_at > s->options->checkpoint_seconds;
        if (!due && !mla_stop_wanted()) continue;
        if (checkpoint(s, step + 1, err) < 0) return -1;
        saved_at = mla_clock();
        if (mla_stop_wanted()) return 0;
    }
    mla_progress_end(&bar);
    return 1;
}

static void sft_clear(sft *s) {
    mla_metrics_close(s->log);
    mla_adamw_free(s->opt);
    mla_activations_free(s->acts);
    mla_policy_free(s->policy);
    mla_steps_clear(&s->data);
    free(s->first);
    free(s->checkpoint);
    free(s->metrics);
}

static int sft_open(sft *s, mla_run *run, const char *model_path, mla_err *err) {
    s->checkpoint = mla_run_path(run, "sft/checkpoint");
    s->metrics = mla_run_path(run, "sft/metrics.jsonl");
    if (read_data(s, run, err) < 0) return -1;
    int done = mla__checkpoint_done(s->checkpoint, err);
    if (done < 0) return -1;
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = s->options->compute;
    wanted.trainable = true;
    s->policy = mla_policy_open(done ? s->checkpoint : model_path, &wanted, err);
    if (!s->policy) return -1;
    mla_adamw_options adamw = mla_adamw_options_default();
    adamw.weight_decay = (float)s->options->weight_decay;
    adamw.clip_norm = (float)s->options->clip_norm;
    s->opt = mla_adamw_create(mla_policy_model(s->policy), &adamw);
    s->acts = mla_activations_create(mla_policy_model(s->policy));
    if (done && mla__checkpoint_load(s->checkpoint, s->opt, NULL, err) < 0) return -1;
    s->seen_tokens = seen_before(s, done);
    s->log = mla_metrics_open(s->metrics, "step", done, err);
    return s->log ? done : -1;
}

int mla_sft_run(mla_run *run, const char *model_path, const mla_sft_options *options,
                mla_err *err) {
    sft s = {.options = options};
    int rc = sft_open(&s, run, model_path, err);
    if (rc >= 0) rc = train(&s, rc, err);
    if (rc == 1) {
        char *model = mla_run_path(run, "sft/model");
        if (mla_policy_save(s.policy, model, false, err) < 0) rc = -1;
        if (rc == 1 && mla_fs_remove_tree(s.checkpoint, err) < 0) rc = -1;
        free(model);
    }
    sft_clear(&s);
    return rc;
}
