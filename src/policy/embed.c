// Text to a vector, by the policy itself: the mean of its final hidden states.
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "policy/internal.h"

#define MAX_TOKENS 512   // of a text; the rest is left out

void mla_policy_embed(mla_policy *policy, const char *text, float *out) {
    if (!policy->acts) policy->acts = mla_activations_create(policy->model);
    int dim = mla_model_get_config(policy->model)->dim;
    mla_ids ids = {0};
    mla_tokenizer_encode(policy->voice->tok, text, strlen(text), &ids);
    if (!ids.len) mla_ids_push(&ids, policy->voice->im_start);
    int n = ids.len > MAX_TOKENS ? MAX_TOKENS : (int)ids.len;
    const mla_segment whole = {.start = 0, .len = n, .parent = -1};
    const mla_token_batch batch = {.ids = ids.data, .n = n, .segments = &whole, .n_segments = 1};
    const float *hidden = mla_transformer_forward(policy->model, &batch, policy->acts, false);
    double norm = 0;
    for (int d = 0; d < dim; d++) {
        double total = 0;
        for (int t = 0; t < n; t++) total += hidden[(size_t)t * (size_t)dim + (size_t)d];
        out[d] = (float)(total / n);
        norm += (double)out[d] * out[d];
    }
    for (int d = 0; d < dim && norm > 0; d++) out[d] = (float)(out[d] / sqrt(norm));
    mla_ids_clear(&ids);
}
