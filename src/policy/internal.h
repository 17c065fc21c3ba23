// What the files of the policy room share.
#ifndef MLA_POLICY_INTERNAL_H
#define MLA_POLICY_INTERNAL_H

#include "policy/engine.h"
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
    mla_engine *engine;        // made at the first generation
    size_t kv_bytes;
};

// ---- engine.c ----------------------------------------------------------------------------------

// An engine over a model that has no tokenizer. Borrows the model; `end` ends every sample.
mla_engine *mla__engine_create(const mla_model *model, int32_t end, size_t kv_bytes);

// ---- radix.c: the prefix cache ----------------------------------------------------------------

typedef struct mla__radix mla__radix;

mla__radix *mla__radix_create(mla_kv *kv);   // borrowed
void mla__radix_free(mla__radix *tree);      // its pages stay taken: forget first
// The longest known prefix of ids [n] in whole pages: writes its pages [n / MLA_KV_PAGE] and
// returns their number. They are the caller's only once it has opened a sequence with them.
size_t mla__radix_find(mla__radix *tree, const int32_t *ids, size_t n, int *pages);
// Remembers the first n tokens of a sequence, as many as make whole pages; ids [n] are its tokens.
void mla__radix_insert(mla__radix *tree, const int32_t *ids, size_t n, int seq);
size_t mla__radix_evictable(mla__radix *tree);   // pages that evicting again and again would free
bool mla__radix_evict(mla__radix *tree);         // frees one page; false: none is left to free
void mla__radix_forget(mla__radix *tree);

// ---- sample.c ---------------------------------------------------------------------------------

typedef struct mla__sampling {   // as in mla_prompt_request
    float temperature;
    int top_k;
    float top_p, min_p;
} mla__sampling;

// Draws a token from softmax(logits / temperature), cut by min_p, then top_k, then top_p of what
// they left, by one uniform number u in [0, 1); greedily at temperature 0. Gives its
// log-probability before the cuts (at temperature 0: under softmax(logits)). logits [vocab],
// scratch [vocab].
int32_t mla__sample_token(const float *logits, int vocab, const mla__sampling *how, double u,
                          float *scratch, float *logprob);
// The n likeliest tokens of the same distribution, before the cuts; the lower id first where two
// are alike. out [n], n <= vocab.
void mla__sample_likely(const float *logits, int vocab, float temperature, float *scratch,
                        mla_likely *out, size_t n);

#endif
