// The update of one iteration: what the policy thinks of the sampled tokens now, their advantages,
// then PPO on minibatches of whole states and a fit of the critic. A state's tokens go through the
// network once for all of its actions.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "train/internal.h"

// The tokens of one state's actions that are learned from, action by action; all arrays [n].
typedef struct {
    const mla_rollout_state *state;
    mla_group group;
    int n;
    float *old, *now, *ref, *entropy, *value, *advantage, *returns, *d_logprob, *d_entropy;
    float *correction;
    float *hidden;             // [n, dim]
} scored;

static void scored_init(scored *s, const mla_rollout_state *state, int dim) {
    *s = (scored){.state = state};
    const mla_step *steps = state->branch.steps;
    mla_group_init(&s->group, state->branch.prompt.data, state->branch.prompt.len);
    for (int k = 0; k < state->n_learned; k++) {
        mla_group_add(&s->group, steps[k].action_ids, steps[k].n_action);
    }
    size_t n = (size_t)s->group.n_rows;
    s->n = s->group.n_rows;
    s->old = MLA_NEW_ARRAY(float, 10 * n);
    s->now = s->old + n, s->ref = s->now + n, s->entropy = s->ref + n, s->value = s->entropy + n;
    s->advantage = s->value + n, s->returns = s->advantage + n;
    s->d_logprob = s->returns + n, s->d_entropy = s->d_logprob + n;
    s->correction = s->d_entropy + n;
    s->hidden = MLA_NEW_ARRAY(float, n * (size_t)dim);
    for (int k = 0, at = 0; k < state->n_learned; at += (int)steps[k++].n_action) {
        memcpy(s->old + at, steps[k].logprobs, steps[k].n_action * sizeof(float));
    }
}

static void scored_clear(scored *s) {
    mla_group_clear(&s->group);
    free(s->old);
    free(s->hidden);
}

// The policy's and the reference's log-probabilities and the critic's values before the update.
static void evaluate(mla_trainer *t, scored *s) {
    const mla_model *model = mla_policy_model(t->policy);
    size_t dim = (size_t)mla_model_get_config(model)->dim;
    const mla_token_batch batch = mla_group_batch(&s->group);
    const mla_head_rows head = mla_group_head(&s->group, t->options->temperature);
    const float *hidden = mla_transformer_forward(model, &batch, t->acts, false);
    mla_head_forward(model, t->acts, &head, s->now, NULL);
    for (int i = 0; i < s->n; i++) {
        memcpy(s->hidden + (size_t)i * dim, hidden + (size_t)s->group.rows[i] * dim,
               dim * sizeof(float));
    }
    mla__critic_value(t->critic, s->hidden, s->n, s->value);
    if (t->reference) {
        mla_policy_score(t->reference, &s->group, t->options->temperature, s->ref);
    } else {
        memcpy(s->ref, s->now, (size_t)s->n * sizeof(float));
    }
}

// How far the sampler's log-probabilities are from the trainer's: 0 when the kernels agree.
static void measure_gap(const scored *all, int n, mla_update_stats *stats) {
    double total = 0;
    long long tokens = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < all[i].n; j++, tokens++) {
            double gap = fabs((double)all[i].now[j] - all[i].old[j]);
            total += gap;
            stats->gap_max = fmax(stats->gap_max, gap);
        }
    }
    stats->gap_mean = tokens ? total / (double)tokens : 0;
}

// Sampled by other numbers than the trainer's: from here on the old policy is the trainer's before
// the update, and how much likelier it found each token is the token's weight.
static void correct_sampling(const mla_rl_options *options, scored *all, int n,
                             mla_update_stats *stats) {
    double total = 0;
    long long tokens = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < all[i].n; j++, tokens++) {
            double ratio = options->sample_int8 ? exp((double)all[i].now[j] - all[i].old[j]) : 1;
            all[i].correction[j] = (float)fmin(ratio, options->sampling_cap);
            if (options->sample_int8) all[i].old[j] = all[i].now[j];
            total += (double)all[i].correction[j];
        }
    stats->correction_mean = tokens ? total / (double)tokens : 1;
}

static void advantages(const mla_rl_options *options, scored *all, int n) {
    int total = 0;
    for (int i = 0; i < n; i++) {
        const mla_step *steps = all[i].state->branch.steps;
        for (int k = 0, at = 0; k < all[i].state->n_learned; at += (int)steps[k++].n_action) {
            mla_advantage_gae(steps[k].reward.reward, all[i].value + at, (int)steps[k].n_action,
                              options->gamma, options->lambda, all[i].advantage + at,
                              all[i].returns + at);
        }
        total += all[i].n;
    }
    float *flat = MLA_NEW_ARRAY(float, (size_t)total);
    for (int i = 0, at = 0; i < n; at += all[i++].n) {
        memcpy(flat + at, all[i].advantage, (size_t)all[i].n * sizeof(float));
    }
    mla_advantage_whiten(flat, total);
    for (int i = 0, at = 0; i < n; at += all[i++].n) {
        memcpy(all[i].advantage, flat + at, (size_t)all[i].n * sizeof(float));
    }
    free(flat);
}

// Accumulates the gradient of one state's actions.
static void accumulate(mla_trainer *t, scored *s, double weight, mla_ppo_stats *stats) {
    mla_model *model = mla_policy_model(t->policy);
    const mla_token_batch batch = mla_group_batch(&s->group);
    const mla_head_rows head = mla_group_head(&s->group, t->options->temperature);
    mla_transformer_forward(model, &batch, t->acts, true);
    mla_head_forward(model, t->acts, &head, s->now, s->entropy);
    const mla_ppo_tokens tokens = {.logprob = s->now, .logprob_old = s->old, .logprob_ref = s->ref,
                                   .entropy = s->entropy, .advantage = s->advantage,
                                   .correction = s->correction, .n = s->n};
    mla_ppo_loss(&t->options->ppo, &tokens, weight, s->d_logprob, s->d_entropy, stats);
    bool entropy = t->options->ppo.entropy_coef != 0;
    mla_head_backward(model, t->acts, &head, s->d_logprob, entropy ? s->d_entropy : NULL);
    mla_transformer_backward(model, &batch, t->acts);
}

// One pass over the states in a seeded order, a step of the optimiser for each minibatch.
static int epoch(mla_trainer *t, scored *all, int n, uint64_t seed, mla_update_stats *stats,
                 mla_err *err) {
    size_t *order = MLA_NEW_ARRAY(size_t, (size_t)n);
    for (int i = 0; i < n; i++) order[i] = (size_t)i;
    mla_rng rng;
    mla_rng_init(&rng, seed);
    mla_rng_shuffle(&rng, order, (size_t)n);
    int size = (n + t->options->minibatches - 1) / t->options->minibatches, rc = 0;
    for (int from = 0; from < n && rc == 0; from += size) {
        int to = from + size < n ? from + size : n, tokens = 0;
        for (int i = from; i < to; i++) tokens += all[order[i]].n;
        for (int i = from; i < to; i++) accumulate(t, &all[order[i]], 1.0 / tokens, &stats->ppo);
        double norm = mla_adamw_step(t->opt, t->options->lr);
        stats->grad_norm = fmax(stats->grad_norm, norm);
        if (!isfinite(norm)) rc = mla_err_set(err, "rl: the gradient is not finite; lower rl.lr");
    }
    free(order);
    return rc;
}

static double fit_critic(mla_trainer *t, const scored *all, int n) {
    size_t dim = (size_t)mla_model_get_config(mla_policy_model(t->policy))->dim, rows = 0;
    for (int i = 0; i < n; i++) rows += (size_t)all[i].n;
    float *hidden = MLA_NEW_ARRAY(float, rows * dim), *returns = MLA_NEW_ARRAY(float, rows);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        memcpy(hidden + at * dim, all[i].hidden, (size_t)all[i].n * dim * sizeof(float));
        memcpy(returns + at, all[i].returns, (size_t)all[i].n * sizeof(float));
        at += (size_t)all[i].n;
    }
    double loss = mla__critic_fit(t->critic, hidden, returns, (int)rows, t->options->critic_lr,
                                  t->options->critic_epochs);
    free(hidden);
    free(returns);
    return loss;
}

// Where the critic begins: the mean of all actions, so that it is there even when none is learned
// from.
static double mean_reward(const mla_rollout *rollout) {
    double total = 0;
    int n = 0;
    for (int i = 0; i < rollout->n_states; i++) {
        for (int k = 0; k < rollout->states[i].n_steps; k++, n++) {
            total += rollout->states[i].branch.steps[k].reward.reward;
        }
    }
    return n ? total / n : 0;
}

int mla__update_run(mla_trainer *t, const mla_rollout *rollout, int iteration,
                    mla_update_stats *stats, mla_err *err) {
    double began = mla_clock();
    int dim = mla_model_get_config(mla_policy_model(t->policy))->dim, n = 0, rc = 0;
    scored *all = MLA_NEW_ARRAY(scored, (size_t)rollout->n_states);
    *stats = (mla_update_stats){0};
    if (iteration == 1) mla__critic_set_bias(t->critic, mean_reward(rollout));
    for (int i = 0; i < rollout->n_states; i++) {
        if (!rollout->states[i].n_learned) continue;
        scored_init(&all[n], &rollout->states[i], dim);
        evaluate(t, &all[n++]);
    }
    measure_gap(all, n, stats);
    correct_sampling(t->options, all, n, stats);
    advantages(t->options, all, n);
    int epochs = iteration > t->options->critic_warmup ? t->options->epochs : 0;
    for (int e = 0; e < epochs && rc == 0; e++) {
        uint64_t seed = mla_rng_derive(t->options->seed, (uint64_t)iteration, (uint64_t)e, 4);
        rc = epoch(t, all, n, seed, stats, err);
    }
    if (n) stats->value_loss = fit_critic(t, all, n);
    for (int i = 0; i < n; i++) scored_clear(&all[i]);
    free(all);
    stats->seconds = mla_clock() - began;
    return rc;
}
