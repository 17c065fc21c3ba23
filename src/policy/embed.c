// Text to a vector, by the policy itself: the mean of its final hidden states. A long text goes
// through the network in pieces, over a cache of its own that ends with it.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "policy/internal.h"

enum { PIECE = 8 * MLA_KV_PAGE };   // tokens that go through the network at once

struct mla_embedding {
    const mla_model *model;
    mla_kv *kv;
    int seq;
    int32_t *ids;               // [n], owned
    size_t n, done;
    float *hidden;              // [PIECE or n, dim]
    double *sum;                // [dim], of the hidden states so far
};

mla_embedding *mla_embedding_create(mla_policy *policy, const int32_t *ids, size_t n) {
    const mla_model_config *c = mla_model_get_config(policy->model);
    MLA_ASSERT(n > 0 && n <= (size_t)c->max_context);
    mla_embedding *e = MLA_NEW(mla_embedding);
    e->model = policy->model;
    e->kv = mla_kv_create(policy->model, SIZE_MAX);    // the context is the ceiling
    e->seq = mla_kv_open(e->kv, -1);
    e->ids = MLA_NEW_ARRAY(int32_t, n);
    memcpy(e->ids, ids, n * sizeof *ids);
    e->n = n;
    e->hidden = MLA_NEW_ARRAY(float, (n < PIECE ? n : PIECE) * (size_t)c->dim);
    e->sum = MLA_NEW_ARRAY(double, (size_t)c->dim);
    return e;
}

void mla_embedding_free(mla_embedding *e) {
    if (!e) return;
    mla_kv_free(e->kv);
    free(e->ids);
    free(e->hidden);
    free(e->sum);
    free(e);
}

static void write_mean(const mla_embedding *e, int dim, float *out) {
    double norm = 0;
    for (int d = 0; d < dim; d++) {
        out[d] = (float)(e->sum[d] / (double)e->n);
        norm += (double)out[d] * out[d];
    }
    for (int d = 0; d < dim && norm > 0; d++) out[d] = (float)(out[d] / sqrt(norm));
}

int mla_embedding_step(mla_embedding *e, float *out, mla_err *err) {
    const int dim = mla_model_get_config(e->model)->dim;
    const size_t left = e->n - e->done, len = left < PIECE ? left : PIECE;
    const mla_extend piece = {.seq = e->seq, .ids = e->ids + e->done, .n = (int)len};
    if (mla_transformer_read(e->model, e->kv, &piece, e->hidden, err)) return -1;
    for (size_t t = 0; t < len; t++)
        for (int d = 0; d < dim; d++) e->sum[d] += (double)e->hidden[t * (size_t)dim + (size_t)d];
    e->done += len;
    if (e->done < e->n) return 1;
    write_mean(e, dim, out);
    return 0;
}

void mla_policy_embed(mla_policy *policy, const char *text, float *out) {
    const size_t context = (size_t)mla_model_get_config(policy->model)->max_context;
    mla_ids ids = {0};
    mla_err err;
    int rc = 1;
    mla_tokenizer_encode(policy->voice->tok, text, strlen(text), &ids);
    if (!ids.len) mla_ids_push(&ids, policy->voice->im_start);
    const size_t n = ids.len < context ? ids.len : context;
    mla_embedding *e = mla_embedding_create(policy, ids.data, n);
    while (rc > 0) rc = mla_embedding_step(e, out, &err);
    MLA_ASSERT(rc == 0);        // its cache has no ceiling, and nothing changes the weights here
    mla_embedding_free(e);
    mla_ids_clear(&ids);
}
