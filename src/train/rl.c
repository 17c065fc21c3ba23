// Step-wise reinforcement learning (arXiv 2505.23723): J = E_{s ~ pool} E_{a ~ pi(. | s)} R(s, a).
// No episodes are rolled out: a state of the expert's is drawn, the policy acts once, the
// environment executes, the reward judges, PPO updates. The loop is mla_rl_run's `iterate`.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "record/metrics.h"
#include "train/internal.h"

mla_rl_options mla_rl_options_default(void) {
    return (mla_rl_options){
        .iterations = 40, .states = 4, .samples = 8, .temperature = 1.0f, .max_new = 160,
        .ppo = {.clip_low = 0.2, .clip_high = 0.2, .kl_coef = 0.02, .entropy_coef = 0.0},
        .gamma = 1.0, .lambda = 1.0, .minibatches = 2, .epochs = 1, .lr = 1e-5, .critic_lr = 1e-2,
        .clip_norm = 1.0, .critic_epochs = 8, .critic_warmup = 1, .max_steps = 15,
        .checkpoint_every = 5, .sampling_cap = 2.0, .drop_flagged = 1,
        .prompt = mla_prompt_options_default(), .compute = mla_compute_best(), .seed = 1};
}

typedef struct {
    mla_trainer trainer;
    mla_agent *agent;
    const mla_pool *pool;
    const mla_task *const *tasks;
    size_t n_tasks;
    const mla_rl_options *options;
    char *checkpoint;
    mla_lines *steps;
    mla_metrics *metrics;
    mla_progress bar;
    char last[64];             // the last iteration in words, for the bar
} rl;

// ---- what is written down --------------------------------------------------------------------

typedef struct {
    double reward, reward_sq, gain;
    int n, improved, valid, gains, flagged;
    int actions[MLA_ACTION_COUNT + 1];   // the last one: none
    int outcomes[MLA_OUTCOME_COUNT];
    int flags[MLA_FLAG_COUNT];
} tally;

static void tally_step(tally *t, const mla_step *step) {
    t->n++;
    t->reward += step->reward.reward;
    t->reward_sq += step->reward.reward * step->reward.reward;
    t->improved += step->reward.gain > 0;      // in every form of the reward; NaN is not
    mla_outcome_class class = mla_outcome_class_of(step->outcome);
    t->valid += class == MLA_CLASS_DONE || class == MLA_CLASS_CORNER;
    if (isfinite(step->reward.gain)) {
        t->gain += step->reward.gain;
        t->gains++;
    }
    t->actions[step->kind == MLA_ACTION_NONE ? MLA_ACTION_COUNT : (int)step->kind]++;
    t->outcomes[step->outcome]++;
    t->flagged += step->flags != 0;
    for (int i = 0; i < MLA_FLAG_COUNT; i++) t->flags[i] += step->flags >> i & 1;
}

static tally tally_rollout(const mla_rollout *rollout) {
    tally t = {0};
    for (int i = 0; i < rollout->n_states; i++) {
        const mla_rollout_state *s = &rollout->states[i];
        for (int k = 0; k < s->n_steps; k++) tally_step(&t, &s->branch.steps[k]);
    }
    return t;
}

static json_t *count_actions(const tally *t) {
    json_t *counts = json_object();
    for (int i = 0; i <= MLA_ACTION_COUNT; i++) {
        mla_action_kind kind = i < MLA_ACTION_COUNT ? (mla_action_kind)i : MLA_ACTION_NONE;
        json_object_set_new(counts, mla_action_name(kind), json_integer(t->actions[i]));
    }
    return counts;
}

static json_t *count_outcomes(const tally *t) {
    json_t *counts = json_object();
    for (int i = 0; i < MLA_OUTCOME_COUNT; i++) {
        json_object_set_new(counts, mla_outcome_name((mla_outcome)i), json_integer(t->outcomes[i]));
    }
    return counts;
}

static json_t *count_flags(const tally *t) {
    json_t *counts = json_object();
    for (int i = 0; i < MLA_FLAG_COUNT; i++) {
        json_object_set_new(counts, mla_flag_name(i), json_integer(t->flags[i]));
    }
    return counts;
}

static void set_number(json_t *line, const char *key, double value) {
    json_object_set_new(line, key, mla_json_number(value));
}

static void set_update(json_t *line, const mla_update_stats *u) {
    double tokens = u->ppo.tokens ? u->ppo.tokens : NAN;
    set_number(line, "entropy", u->ppo.entropy / tokens);
    set_number(line, "kl", u->ppo.kl / tokens);
    set_number(line, "clip_share", u->ppo.clipped / tokens);
    set_number(line, "ratio_max", u->ppo.ratio_max);
    set_number(line, "policy_loss", u->ppo.policy_loss / tokens);
    set_number(line, "value_loss", u->value_loss);
    set_number(line, "logprob_gap_max", u->gap_max);
    set_number(line, "logprob_gap_mean", u->gap_mean);
    set_number(line, "correction_mean", u->correction_mean);
    set_number(line, "grad_norm", u->grad_norm);
}

static int write_metrics(rl *r, int iteration, const tally *t, const mla_rollout *rollout,
                         const mla_update_stats *u, double seconds, mla_err *err) {
    double n = t->n ? t->n : NAN, mean = t->reward / n;
    json_t *line = json_pack("{s:i}", "iteration", iteration);
    set_number(line, "reward_mean", mean);
    set_number(line, "reward_std", sqrt(fmax(0, t->reward_sq / n - mean * mean)));
    set_number(line, "improved_share", t->improved / n);
    set_number(line, "gain_mean", t->gains ? t->gain / t->gains : NAN);
    set_number(line, "valid_share", t->valid / n);
    set_update(line, u);
    set_number(line, "seconds", seconds);
    set_number(line, "generate_seconds", rollout->generate_seconds);
    set_number(line, "execute_seconds", rollout->execute_seconds);
    set_number(line, "saved_seconds", rollout->saved_seconds);
    set_number(line, "hit_rate", rollout->runs ? (double)rollout->cached / rollout->runs : NAN);
    set_number(line, "update_seconds", u->seconds);
    set_number(line, "wait_seconds", rollout->wait_seconds);
    json_object_set_new(line, "dropped", json_integer(rollout->dropped + rollout->screened));
    json_object_set_new(line, "flagged", json_integer(t->flagged));
    json_object_set_new(line, "actions", count_actions(t));
    json_object_set_new(line, "outcomes", count_outcomes(t));
    json_object_set_new(line, "flags", count_flags(t));
    return mla_metrics_append_take(r->metrics, line, err);
}

static int write_steps(rl *r, int iteration, const mla_rollout *rollout, mla_err *err) {
    for (int i = 0; i < rollout->n_states; i++) {
        const mla_rollout_state *s = &rollout->states[i];
        for (int k = 0; k < s->n_steps; k++) {
            json_t *line = mla_step_to_json(&s->branch.steps[k]);
            json_object_set_new(line, "iteration", json_integer(iteration));
            if (mla_lines_append_take(r->steps, line, err) < 0) return -1;
        }
    }
    return 0;
}

// ---- the algorithm ---------------------------------------------------------------------------

// Who samples: the policy itself, or its weights as they stand in int8.
static mla_policy *take_sampler(const rl *r) {
    mla_policy *policy = r->trainer.policy;
    return r->options->sample_int8 ? mla_policy_freeze(policy, MLA_COMPUTE_INT8) : policy;
}

// One iteration. 1, 0 when stopped before the update, -1.
static int iterate(rl *r, int iteration, tally *t, mla_err *err) {
    double began = mla_clock();
    mla_rollout rollout;
    mla_update_stats stats;
    mla_progress_set(&r->bar, iteration - 1, "acting%s", r->last);
    mla_policy *sampler = take_sampler(r);
    // s ~ pool, a ~ pi(. | s), executed, R(s, a)
    int rc = mla__rollout_make(&rollout, r->agent, sampler, r->pool, r->tasks, r->n_tasks,
                               r->options, iteration, err);
    if (sampler != r->trainer.policy) mla_policy_free(sampler);
    *t = tally_rollout(&rollout);
    if (rc == 1 && !t->n) {
        rc = mla_err_set(err, "rl: the environment failed for all %d samples of iteration %d; try "
                         "`mlagent env --check`", rollout.dropped, iteration);
    }
    mla_progress_set(&r->bar, iteration - 0.7, "updating%s", r->last);
    // advantages, PPO, critic; the weights change here and nowhere else
    if (rc == 1 && mla__update_run(&r->trainer, &rollout, iteration, &stats, err) < 0) rc = -1;
    if (rc == 1 && write_steps(r, iteration, &rollout, err) < 0) rc = -1;
    double seconds = mla_clock() - began;
    if (rc == 1 && write_metrics(r, iteration, t, &rollout, &stats, seconds, err) < 0) rc = -1;
    mla__rollout_clear(&rollout);
    return rc;
}

static mla_trained trained(const rl *r) {
    return (mla_trained){.policy = r->trainer.policy, .opt = r->trainer.opt,
                         .critic = r->trainer.critic};
}

static int save(const rl *r, int done, mla_err *err) {
    const mla_trained what = trained(r);
    json_t *state = json_pack("{s:i}", "done", done);
    int rc = mla__checkpoint_save(r->checkpoint, &what, state, err);
    json_decref(state);
    return rc;
}

// Iterations after `done`. 1: all done, 0: stopped with a checkpoint, -1.
static int iterate_all(rl *r, int done, mla_err *err) {
    int saved = done;
    mla_progress_begin(&r->bar, "rl", "iterations", r->options->iterations, done);
    while (done < r->options->iterations) {
        tally t = {0};
        int rc = mla_stop_wanted() ? 0 : iterate(r, done + 1, &t, err);
        if (rc < 0) return -1;
        done += rc;
        if (rc) {
            snprintf(r->last, sizeof r->last, "; last reward %.3f, improved %.0f%%", t.reward / t.n,
                     100.0 * t.improved / t.n);
            r->bar.done = done;
        }
        bool due = done - saved >= r->options->checkpoint_every && done < r->options->iterations;
        if ((due || rc == 0) && done > saved) {
            if (save(r, done, err) < 0) return -1;
            saved = done;
        }
        if (rc == 0) return 0;
    }
    mla_progress_end(&r->bar);
    return 1;
}

// ---- opening and closing ---------------------------------------------------------------------

static mla_policy *open_policy(const rl *r, const char *path, bool trainable, mla_err *err) {
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = r->options->compute;
    wanted.trainable = trainable;
    return mla_policy_open(path, &wanted, err);
}

// What a run that goes on from `done` iterations has written down.
static int open_logs(rl *r, mla_run *run, int done, mla_err *err) {
    char *steps = mla_run_path(run, "rl/steps.jsonl"),
         *metrics = mla_run_path(run, "rl/metrics.jsonl");
    if (mla_lines_trim(steps, "iteration", done, err) == 0) r->steps = mla_lines_open(steps, err);
    if (r->steps) r->metrics = mla_metrics_open(metrics, "iteration", done, err);
    free(steps);
    free(metrics);
    return r->metrics ? 0 : -1;
}

// Returns how many iterations are done already, or -1. The reference is the fine-tuned model.
static int rl_open(rl *r, mla_run *run, const char *start_path, mla_err *err) {
    mla_trainer *t = &r->trainer;
    r->checkpoint = mla_run_path(run, "rl/checkpoint");
    int done = mla__checkpoint_done(r->checkpoint, err);
    if (done < 0) return -1;
    t->options = r->options;
    t->reference = open_policy(r, start_path, false, err);
    t->policy = t->reference ? open_policy(r, done ? r->checkpoint : start_path, true, err) : NULL;
    if (!t->policy) return -1;
    mla_model *model = mla_policy_model(t->policy);
    mla_adamw_options adamw = mla_adamw_options_default();
    adamw.clip_norm = (float)r->options->clip_norm;
    t->opt = mla_adamw_create(model, &adamw);
    t->acts = mla_activations_create(model);
    t->critic = mla__critic_create(mla_model_get_config(model)->dim);
    const mla_trained what = trained(r);
    if (done && mla__checkpoint_load(r->checkpoint, &what, err) < 0) return -1;
    return open_logs(r, run, done, err) == 0 ? done : -1;
}

static void rl_clear(rl *r) {
    mla_lines_close(r->steps);
    mla_metrics_close(r->metrics);
    mla__critic_free(r->trainer.critic);
    mla_adamw_free(r->trainer.opt);
    mla_activations_free(r->trainer.acts);
    mla_policy_free(r->trainer.policy);
    mla_policy_free(r->trainer.reference);
    free(r->checkpoint);
}

int mla_rl_run(mla_run *run, mla_agent *agent, const char *start_path, const mla_pool *pool,
               const mla_task *const *tasks, size_t n_tasks, const mla_rl_options *options,
               mla_err *err) {
    if (!mla_pool_size(pool)) {
        return mla_err_set(err, "rl: the pool has no states of these tasks; run collect first");
    }
    rl r = {.agent = agent, .pool = pool, .tasks = tasks, .n_tasks = n_tasks, .options = options};
    int rc = rl_open(&r, run, start_path, err);
    if (rc >= 0) rc = iterate_all(&r, rc, err);
    if (rc == 1) {
        char *model = mla_run_path(run, "rl/model");
        if (mla_policy_save(r.trainer.policy, model, false, err) < 0) rc = -1;
        if (rc == 1 && mla__checkpoint_remove(r.checkpoint, err) < 0) rc = -1;
        free(model);
    }
    rl_clear(&r);
    return rc;
}
