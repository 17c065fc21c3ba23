// What the files of the train room share: the critic, checkpoints, and one iteration's rollout.
#ifndef MLA_TRAIN_INTERNAL_H
#define MLA_TRAIN_INTERNAL_H

#include "record/store.h"
#include "train/train.h"

// ---- the critic: a value head on the policy's last hidden state, no gradient into the trunk ----

typedef struct mla_critic mla_critic;
mla_critic *mla__critic_create(int dim);
void mla__critic_free(mla_critic *critic);
void mla__critic_set_bias(mla_critic *critic, double bias);   // before the first iteration
void mla__critic_value(const mla_critic *critic, const float *hidden /* [n, dim] */, int n,
                       float *value /* [n] */);
// `epochs` passes of Adam on the mean squared error. Returns the loss before the first pass.
double mla__critic_fit(mla_critic *critic, const float *hidden /* [n, dim] */,
                       const float *returns /* [n] */, int n, double lr, int epochs);
MLA_MUST_USE int mla__critic_save(const mla_critic *critic, const char *path, mla_err *err);
MLA_MUST_USE int mla__critic_load(mla_critic *critic, const char *path, mla_err *err);

// ---- checkpoints: a Hugging Face folder in fp32 plus the trainer's state ---------------------

typedef struct mla_ema mla_ema;

typedef struct mla_trained {   // all borrowed
    mla_policy *policy;        // its weights, or of one with a trainable adapter that one, the last
    mla_adamw *opt;
    mla_critic *critic;        // may be NULL, as may be
    mla_ema *ema;
} mla_trained;

// Writes <dir>.new with the weights, optimizer.bin, critic.bin, ema.bin and at last trainer.json,
// which is `state` and says {"done": n}, and renames it; the old one goes only when the new one is
// whole.
MLA_MUST_USE int mla__checkpoint_save(const char *dir, const mla_trained *what,
                                      const json_t *state, mla_err *err);
// How many steps or iterations a checkpoint has behind it; 0 when there is none; -1 on error. Puts
// right first what a kill in mla__checkpoint_save left; call it before all else.
int mla__checkpoint_done(const char *dir, mla_err *err);
// trainer.json of a checkpoint that is there. Caller owns; NULL on error.
json_t *mla__checkpoint_state(const char *dir, mla_err *err);
// All but the weights, which come with the model.
MLA_MUST_USE int mla__checkpoint_load(const char *dir, const mla_trained *what, mla_err *err);
// It is none any more from the first moment on.
MLA_MUST_USE int mla__checkpoint_remove(const char *dir, mla_err *err);

// ---- an exponential moving average of the weights (train/ema.c) ------------------------------

mla_ema *mla__ema_create(mla_model *model, double decay);  // begins with the weights as they are
void mla__ema_free(mla_ema *ema);
void mla__ema_update(mla_ema *ema);     // average = decay average + (1 - decay) weights
void mla__ema_swap(mla_ema *ema);      // the model gets the average or, called again, its own back
MLA_MUST_USE int mla__ema_save(const mla_ema *ema, const char *path, mla_err *err);
MLA_MUST_USE int mla__ema_load(mla_ema *ema, const char *path, mla_err *err);

// ---- one iteration's experience (train/rollout.c) --------------------------------------------

// A pool state and the actions sampled from it, executed and judged.
typedef struct mla_rollout_state {
    mla_branch branch;         // its steps [n_steps] are those that have a reward, in sample order,
    int n_steps, n_learned;    // but for what is not learned from, which comes after [0, n_learned)
} mla_rollout_state;

typedef struct mla_rollout {
    mla_rollout_state *states; // [n_states]
    int n_states;
    double generate_seconds, wait_seconds, execute_seconds;
    double saved_seconds;      // of the runs that the run cache stood in for
    int runs, cached;          // scripts that ran, the cached ones among them
    int dropped;               // samples without a reward: our machinery failed
    int screened;              // samples with one that are not learned from: flagged
} mla_rollout;

// Samples states (s ~ pool) and actions (a ~ policy), executes each action while the others are
// still being sampled, and takes in their rewards. 1, 0 when stopped, -1.
MLA_MUST_USE int mla__rollout_make(mla_rollout *out, mla_agent *agent, mla_policy *policy,
                                   const mla_pool *pool, const mla_task *const *tasks,
                                   size_t n_tasks, const mla_rl_options *options, int iteration,
                                   mla_err *err);
void mla__rollout_clear(mla_rollout *rollout);

// ---- the update (train/update.c) -------------------------------------------------------------

typedef struct mla_update_stats {
    mla_ppo_stats ppo;
    double value_loss, grad_norm, gap_max, gap_mean;
    double correction_mean;    // of the tokens' sampling corrections; 1 where there are none
    double seconds;
} mla_update_stats;

typedef struct mla_trainer {
    mla_policy *policy, *reference;
    mla_activations *acts;
    mla_adamw *opt;
    mla_critic *critic;
    const mla_rl_options *options;
} mla_trainer;

// Log-probabilities, values and advantages of a rollout's tokens, then the PPO and critic updates.
MLA_MUST_USE int mla__update_run(mla_trainer *trainer, const mla_rollout *rollout, int iteration,
                                 mla_update_stats *stats, mla_err *err);

#endif
