// The PPO loss and its gradients: a pure function of arrays.
#include <math.h>

#include "train/train.h"

void mla_ppo_loss(const mla_ppo_options *options, const mla_ppo_tokens *tokens, double weight,
                  float *d_logprob, float *d_entropy, mla_ppo_stats *stats) {
    for (int i = 0; i < tokens->n; i++) {
        double advantage = tokens->advantage[i];
        double correction = tokens->correction ? tokens->correction[i] : 1;
        double ratio = exp((double)tokens->logprob[i] - tokens->logprob_old[i]);
        double bounded = fmin(fmax(ratio, 1 - options->clip_low), 1 + options->clip_high);
        // The minimum takes the clipped branch only where it is the smaller one; there the ratio is
        // a constant and nothing flows back.
        bool clipped = bounded * advantage < ratio * advantage;
        double d = (double)tokens->logprob_ref[i] - tokens->logprob[i];
        double kl = exp(d) - d - 1;
        d_logprob[i] = (float)(weight * ((clipped ? 0 : -correction * ratio * advantage) +
                                         options->kl_coef * (1 - exp(d))));
        d_entropy[i] = (float)(weight * -options->entropy_coef);
        stats->policy_loss += -correction * fmin(ratio * advantage, bounded * advantage);
        stats->kl += kl;
        stats->entropy += tokens->entropy[i];
        stats->clipped += clipped;
        stats->ratio_max = fmax(stats->ratio_max, ratio);
        stats->tokens++;
    }
}
