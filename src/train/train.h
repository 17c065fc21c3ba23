// Changing weights from steps: supervised fine-tuning on action tokens, and the paper's step-wise
// reinforcement learning on single actions drawn from expert states. The pure parts (advantages,
// the PPO loss) stand here too, for they are tested and reused alone.
#ifndef MLA_TRAIN_TRAIN_H
#define MLA_TRAIN_TRAIN_H

#include "agent/agent.h"
#include "model/adapter.h"
#include "record/pool.h"
#include "record/run.h"

// ---- learning rates (train/schedule.c) -------------------------------------------------------

#define MLA_SCHEDULE_SHAPES(X) X(COSINE, "cosine") X(LINEAR, "linear") X(CONSTANT, "constant")

typedef enum {
#define X(id, name) MLA_SCHEDULE_##id,
    MLA_SCHEDULE_SHAPES(X)
#undef X
} mla_schedule_shape;
const char *mla_schedule_shape_name(mla_schedule_shape shape);
int mla_schedule_shape_parse(const char *name);      // the enum, or -1

typedef struct mla_schedule {
    mla_schedule_shape shape;
    double lr;                 // peak
    double floor;              // share of it that the end comes down to
    int warmup_steps;          // first steps, in which the rate rises from 0 in a line
    double warmup_ratio;       // the same as a share of all steps; the longer of the two counts
} mla_schedule;
// Of step 0 .. total - 1. With w steps of warm-up: lr (step + 1) / w within them; after them, with
// t = (step - w) / (total - w), lr (floor + (1 - floor) f(t)), f being (1 + cos(pi t)) / 2, 1 - t
// or 1.
double mla_schedule_lr(const mla_schedule *schedule, int step, int total);

// ---- supervised fine-tuning (train/sft.c) ----------------------------------------------------

#define MLA_SFT_PRESETS(X) X(NONE, "none") X(PAPER, "paper")
#define MLA_SFT_METHODS(X) X(FULL, "full") X(LORA, "lora")
// Which weights become the result.
#define MLA_SFT_KEEPS(X) X(LAST, "last") X(LOSS, "val_loss") X(ACCURACY, "action_accuracy")

#define X(id, name) MLA_SFT_##id,
typedef enum { MLA_SFT_PRESETS(X) } mla_sft_preset;
typedef enum { MLA_SFT_METHODS(X) } mla_sft_method;
#undef X
#define X(id, name) MLA_SFT_KEEP_##id,
typedef enum { MLA_SFT_KEEPS(X) } mla_sft_keep;
#undef X
const char *mla_sft_preset_name(mla_sft_preset preset);
const char *mla_sft_method_name(mla_sft_method method);
const char *mla_sft_keep_name(mla_sft_keep keep);
int mla_sft_preset_parse(const char *name);          // the enum, or -1, as the two below
int mla_sft_method_parse(const char *name);
int mla_sft_keep_parse(const char *name);

typedef struct mla_sft_options {
    mla_sft_preset preset;     // what the rest was set to before it was changed; says nothing more
    mla_sft_method method;
    mla_adapter_options lora;  // of MLA_SFT_LORA; base is not looked at
    mla_schedule schedule;
    int epochs;
    int batch;                 // samples a step, at least: a state's samples are learned together
    int cutoff;                // longer samples are left out, in tokens; so are those longer than
                               // the model's context
    int pack_tokens;           // of one pass through the network: states are put together up to it
    int recompute;             // 1: gradient checkpointing, see mla_activations_recompute
    double weight_decay;
    double clip_norm;
    double ema;                // decay a step of the average of the weights that is validated and
                               // becomes the result; 0: none
    int val_every;             // steps from one validation to the next; 0: at the end of each epoch
    int val_actions;           // held-back states in which an action is sampled, greedily
    int val_max_new;           // tokens of such an action
    mla_sft_keep keep;
    int patience;              // validations without a better one after which it ends; 0: never
    double checkpoint_seconds; // at most so much work is lost; 0: only at a clean stop
    mla_action_set actions;    // that agents are offered; any other is not valid
    mla_compute compute;
    uint64_t seed;
} mla_sft_options;
mla_sft_options mla_sft_options_default(void);
// Sets what the preset says and nothing else. PAPER has the values of the paper's released script
// (full fine-tuning, lr 2e-5, cosine without warm-up, 2 epochs, 64 samples a step, no weight decay,
// cutoff 15,000) and its trainer's defaults (clipping at 1, down to 0, the last weights).
void mla_sft_preset_apply(mla_sft_options *options, mla_sft_preset preset);

// Fine-tunes `model_path` on sft/steps.jsonl, validates on sft/validation.jsonl if that is there,
// and writes sft/model (a Hugging Face folder), of LoRA also sft/adapter (PEFT's), and
// sft/metrics.jsonl. The loss is on action tokens and their end-of-turn token only. Stopped, it
// leaves sft/checkpoint and goes on from it next time, to the same bits.
// 1: finished, 0: stopped before the end, -1: error.
MLA_MUST_USE int mla_sft_run(mla_run *run, const char *model_path, const mla_sft_options *options,
                             mla_err *err);

// ---- advantages (train/advantage.c) ----------------------------------------------------------

// Generalised advantage estimation (Schulman et al., 2016) over one action's tokens, whose reward
// comes with the last one: delta_t = r_t + gamma V_{t+1} - V_t, A_t = delta_t + gamma lambda
// A_{t+1}. With gamma = lambda = 1: A_t = R - V_t. value, advantage, returns [n]; returns_t = A_t +
// V_t.
void mla_advantage_gae(double reward, const float *value, int n, double gamma, double lambda,
                       float *advantage, float *returns);
// Shifts and scales to mean 0 and standard deviation 1 (no scaling when all are equal).
void mla_advantage_whiten(float *advantage, int n);

// ---- the PPO loss (train/ppo.c) --------------------------------------------------------------

typedef struct mla_ppo_options {
    double clip_low, clip_high;   // the ratio is clipped to [1 - low, 1 + high]
    double kl_coef;               // of the k3 estimate of KL(policy || reference)
    double entropy_coef;
} mla_ppo_options;

typedef struct mla_ppo_stats {    // sums over tokens; the caller divides
    double policy_loss, kl, entropy, clipped, ratio_max;
    int tokens;
} mla_ppo_stats;

typedef struct mla_ppo_tokens {   // all [n]
    const float *logprob;         // under the policy as it is now
    const float *logprob_old;     // as sampled
    const float *logprob_ref;     // under the reference model
    const float *entropy;         // of the policy at the token, nats
    const float *advantage;
    const float *correction;      // of the surrogate, or NULL: 1
    int n;
} mla_ppo_tokens;

// Per token: -w min(rho A, clip(rho) A) + kl_coef (e^d - d - 1) - entropy_coef H, with rho =
// e^{logprob - logprob_old}, d = logprob_ref - logprob and w the correction (PPO: Schulman et al.,
// 2017; k3: Schulman, 2020). Writes the gradients of `weight` times its sum by logprob and
// entropy, and adds to stats.
void mla_ppo_loss(const mla_ppo_options *options, const mla_ppo_tokens *tokens, double weight,
                  float *d_logprob, float *d_entropy, mla_ppo_stats *stats);

// ---- step-wise reinforcement learning (train/rl.c) ----------------------------------------------

typedef struct mla_rl_options {
    int iterations;
    int states;                // states drawn from the pool in an iteration
    int samples;               // actions sampled from each
    float temperature;
    int max_new;               // tokens of an action
    mla_ppo_options ppo;
    double gamma, lambda;
    int minibatches, epochs;   // of the update; states are dealt to the minibatches whole
    double lr, critic_lr;
    double clip_norm;
    int critic_epochs;         // passes of the critic over an iteration's tokens
    int critic_warmup;         // first iterations in which only the critic learns
    int max_steps;             // as the episodes it prepares for: "steps left" in the prompt
    int checkpoint_every;      // iterations
    int sample_int8;           // 1: the policy samples in int8; see sampling_cap
    double sampling_cap;       // tokens sampled in int8 count min(p / p_sampled, cap) times in the
                               // loss; p is the policy's before the update (truncated importance
                               // sampling: Yao et al., 2025, on off-policy RL frameworks)
    int drop_flagged;          // 1: a flagged action (record/flag.h) gives no gradient, neither to
                               // the policy nor to the critic, and no advantage is relative to it
    mla_prompt_options prompt;
    mla_compute compute;
    uint64_t seed;
} mla_rl_options;
// The paper names PPO, not its settings; these are its trainer's defaults where they exist (clip
// 0.2, gamma = lambda = 1, temperature 1) and guesses fit for a small model elsewhere.
mla_rl_options mla_rl_options_default(void);

// Trains the policy at `start_path` (the fine-tuned model, which is also the reference) and writes
// rl/model, rl/steps.jsonl, rl/metrics.jsonl; rl/checkpoint while under way. Returns as
// mla_sft_run.
MLA_MUST_USE int mla_rl_run(mla_run *run, mla_agent *agent, const char *start_path,
                            const mla_pool *pool, const mla_task *const *tasks, size_t n_tasks,
                            const mla_rl_options *options, mla_err *err);

#endif
