// One step of step-wise RL as TRL was measured: 8 actions of 96 tokens sampled from one 1024-token
// state, and the whole update (log-probabilities, values, advantages, PPO, AdamW), no KL term.
// Scripts are not run: rewards are drawn, as the peer's are.
#include <sys/resource.h>

#include "base/rng.h"
#include "bench.h"
#include "train/internal.h"

enum { GROUP = 8, PROMPT = 1024, NEW = 96, REPEATS = 3 };

static void keep(void *ctx, size_t request, int k, mla_sample *take) {
    (void)request;
    mla_step *step = &((mla_step *)ctx)[k];
    mla_step_init(step);
    step->action_ids = take->ids;
    step->logprobs = take->logprobs;
    step->n_action = take->n;
    *take = (mla_sample){0};
}

// Samples until (nearly) all actions are of full length, as the peer's are made to be.
static double sample(mla_policy *policy, mla_rollout_state *state, uint64_t *seed, mla_err *err) {
    for (;; ++*seed) {
        const mla_prompt_request request = {.ids = state->prompt.data, .n = state->prompt.len,
                                            .samples = GROUP, .max_new = NEW, .temperature = 1.0f,
                                            .seed = *seed};
        double began = mla_clock();
        if (mla_policy_generate(policy, &request, 1, keep, state->steps, err) < 0) return -1;
        double took = mla_clock() - began;
        size_t tokens = 0;
        for (int k = 0; k < GROUP; k++) tokens += state->steps[k].n_action;
        if (tokens >= GROUP * NEW * 98 / 100) return took;
        for (int k = 0; k < GROUP; k++) mla_step_clear(&state->steps[k]);
    }
}

static double one_step(mla_trainer *t, mla_rollout_state *state, mla_rng *rng, uint64_t *seed,
                       int at, mla_err *err) {
    double seconds = sample(t->policy, state, seed, err);
    if (seconds < 0) return -1;
    for (int k = 0; k < GROUP; k++) state->steps[k].reward.reward = mla_rng_uniform(rng);
    state->n_steps = GROUP;
    const mla_rollout rollout = {.states = state, .n_states = 1};
    mla_update_stats stats;
    double began = mla_clock();
    int rc = mla__update_run(t, &rollout, at, &stats, err);
    double update = mla_clock() - began;
    fprintf(stderr, "rl step: sampling %.2f s, update %.2f s, log-probability gap max %.2g\n",
            seconds, update, stats.gap_max);
    for (int k = 0; k < GROUP; k++) mla_step_clear(&state->steps[k]);
    ++*seed;
    return rc < 0 ? -1 : seconds + update;
}

static int run(mla_policy *policy, mla_err *err) {
    mla_rl_options options = mla_rl_options_default();
    options.minibatches = 1;
    options.critic_warmup = 0;
    options.ppo.kl_coef = 0;
    options.lr = 1e-6;
    mla_model *model = mla_policy_model(policy);
    const mla_adamw_options adamw = mla_adamw_options_default();
    mla_trainer t = {.policy = policy, .options = &options, .acts = mla_activations_create(model),
                     .opt = mla_adamw_create(model, &adamw),
                     .critic = mla__critic_create(mla_model_get_config(model)->dim)};
    mla_rollout_state state = {.steps = MLA_NEW_ARRAY(mla_step, GROUP)};
    mla_rng rng;
    mla_rng_init(&rng, 1);
    for (int i = 0; i < PROMPT; i++) {
        mla_ids_push(&state.prompt, 100 + (int32_t)mla_rng_below(&rng, 30000));
    }
    double best = -1;
    uint64_t seed = 1;
    for (int i = 0; i < REPEATS; i++) {
        double took = one_step(&t, &state, &rng, &seed, i + 1, err);
        if (took < 0) return -1;
        if (best < 0 || took < best) best = took;
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    bench_print("rl_step_smollm2", best, "seconds", 0, bench_peer("trl_step.py", "rl_step"), false);
    bench_print("mem_rl_step_smollm2", (double)use.ru_maxrss / 1024, "MB", 0,
                bench_peer("trl_step.py", "rl_memory"), false);
    mla__critic_free(t.critic);
    mla_adamw_free(t.opt);
    mla_activations_free(t.acts);
    mla_ids_clear(&state.prompt);
    free(state.steps);
    return 0;
}

int main(int argc, char **argv) {
    (void)argc;
    bench_start(argv);
    mla_err err = {{0}};
    char *path = bench_model_path();
    mla_policy_options options = mla_policy_options_default();
    options.trainable = true;
    mla_policy *policy = mla_policy_open(path, &options, &err);
    int rc = policy ? run(policy, &err) : -1;
    if (rc < 0) fprintf(stderr, "bench_rl: %s\n", err.text);
    mla_policy_free(policy);
    free(path);
    return rc < 0;
}
