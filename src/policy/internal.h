// What the files of the policy room share.
#ifndef MLA_POLICY_INTERNAL_H
#define MLA_POLICY_INTERNAL_H

#include "policy/policy.h"

// The tokenizer and the ids that the chat template needs; shared by a policy and its frozen copies.
typedef struct mla_voice {
    mla_tokenizer *tok;
    int32_t im_start, im_end;
    int owners;
} mla_voice;

struct mla_policy {
    mla_model *model;
    mla_voice *voice;
    mla_activations *acts;     // of scoring and embedding; training has its own
    mla_kv *kv;                // made at the first generation
    size_t kv_bytes;
};

// Draws a token from softmax(logits / temperature), greedily at temperature 0, by one uniform
// number u in [0, 1), and gives its log-probability (at temperature 0: under softmax(logits)).
// logits [vocab] is used as scratch and overwritten.
int32_t mla__sample_token(float *logits, int vocab, float temperature, double u, float *logprob);

#endif
