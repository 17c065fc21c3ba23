// Batched sampling. The samples of one request share its prefill; all sequences decode together,
// and leave the batch as they end. Requests that do not fit the KV cache together go in waves.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "policy/internal.h"

typedef struct {
    size_t request;
    int k;                  // which sample of the request
    int seq;                // its sequence in the KV cache
    int max_new;
    float temperature;
    mla_rng rng;
    mla_sample out;
    size_t cap;
} sequence;

typedef struct {
    mla_policy *policy;
    const mla_prompt_request *requests;
    mla_sample_sink sink;
    void *ctx;
    sequence *live;         // [n_live]
    size_t n_live, cap_live;
    float *hidden;          // [n_live, dim]
    float *logits;          // [n_live, vocab]
    size_t cap_rows;
} batch;

static void reserve_rows(batch *b, size_t rows) {
    if (rows <= b->cap_rows) return;
    const mla_model_config *c = mla_model_get_config(b->policy->model);
    free(b->hidden);
    free(b->logits);
    b->hidden = mla_alloc_aligned(rows * (size_t)c->dim * sizeof(float));
    b->logits = mla_alloc_aligned(rows * (size_t)c->vocab * sizeof(float));
    b->cap_rows = rows;
}

static void push(sequence *s, int32_t id, float logprob) {
    if (s->out.n == s->cap) {
        s->cap = s->cap ? s->cap * 2 : 64;
        s->out.ids = mla_realloc(s->out.ids, s->cap, sizeof *s->out.ids);
        s->out.logprobs = mla_realloc(s->out.logprobs, s->cap, sizeof *s->out.logprobs);
    }
    s->out.ids[s->out.n] = id;
    s->out.logprobs[s->out.n++] = logprob;
}

// Draws the next token of live[from ..] from the rows of logits, a sequence a row.
static void draw(batch *b, size_t from) {
    int vocab = mla_model_get_config(b->policy->model)->vocab;
#pragma omp parallel for schedule(static)
    for (size_t i = from; i < b->n_live; i++) {
        sequence *s = &b->live[i];
        float logprob;
        int32_t id = mla__sample_token(b->logits + (i - from) * (size_t)vocab, vocab,
                                       s->temperature, mla_rng_uniform(&s->rng), &logprob);
        push(s, id, logprob);
    }
}

// Hands over the sequences that have ended and closes the ranks.
static void retire(batch *b) {
    int32_t end = mla_chat_end_of_turn(b->policy);
    size_t kept = 0;
    for (size_t i = 0; i < b->n_live; i++) {
        sequence *s = &b->live[i];
        s->out.ended = s->out.n && s->out.ids[s->out.n - 1] == end;
        if (s->out.ended || (int)s->out.n >= s->max_new) {
            mla_kv_close(b->policy->kv, s->seq);
            b->sink(b->ctx, s->request, s->k, &s->out);
        } else {
            b->live[kept++] = *s;
        }
    }
    b->n_live = kept;
}

// Prefills one request and gives each of its samples its first token.
static int start_request(batch *b, size_t at, mla_err *err) {
    const mla_prompt_request *r = &b->requests[at];
    mla_policy *p = b->policy;
    int root = mla_kv_open(p->kv, -1);
    if (root < 0) return mla_err_set(err, "the KV cache is full; give it more memory");
    reserve_rows(b, b->n_live + (size_t)r->samples);
    const mla_extend item = {.seq = root, .ids = r->ids, .n = (int)r->n};
    if (mla_transformer_extend(p->model, p->kv, &item, 1, b->hidden, err) < 0) return -1;
    mla_head_logits(p->model, b->hidden, 1, b->logits);
    size_t vocab = (size_t)mla_model_get_config(p->model)->vocab, from = b->n_live;
    MLA_GROW(b->live, b->cap_live, b->n_live + (size_t)r->samples);
    for (int k = 0; k < r->samples; k++) {
        if (k) memcpy(b->logits + (size_t)k * vocab, b->logits, vocab * sizeof(float));
        sequence *s = &b->live[b->n_live++];
        *s = (sequence){.request = at, .k = k, .max_new = r->max_new,
                        .temperature = r->temperature, .seq = mla_kv_open(p->kv, root)};
        mla_rng_init(&s->rng, mla_rng_derive(r->seed, (uint64_t)k, 0, 0));
        if (s->seq < 0) return mla_err_set(err, "the KV cache is full; give it more memory");
    }
    draw(b, from);
    mla_kv_close(p->kv, root);   // its tokens stay as long as a sample needs them
    return 0;
}

static int decode_step(batch *b, mla_err *err) {
    mla_policy *p = b->policy;
    reserve_rows(b, b->n_live);
    mla_extend *items = MLA_NEW_ARRAY(mla_extend, b->n_live);
    for (size_t i = 0; i < b->n_live; i++) {
        const sequence *s = &b->live[i];
        items[i] = (mla_extend){.seq = s->seq, .ids = &s->out.ids[s->out.n - 1], .n = 1};
    }
    int rc = mla_transformer_extend(p->model, p->kv, items, (int)b->n_live, b->hidden, err);
    free(items);
    if (rc < 0) return -1;
    mla_head_logits(p->model, b->hidden, (int)b->n_live, b->logits);
    draw(b, 0);
    return 0;
}

static size_t tokens_of(const mla_prompt_request *r) {
    return r->n + (size_t)r->samples * ((size_t)r->max_new + 64);   // 64: block rounding
}

static size_t kv_capacity(const mla_policy *p) {
    const mla_model_config *c = mla_model_get_config(p->model);
    size_t width = mla_model_get_compute(p->model) == MLA_COMPUTE_BF16 ? 2 : 4;
    return p->kv_bytes /
           ((size_t)c->layers * 2 * (size_t)c->kv_heads * (size_t)c->head_dim * width);
}

// Requests [from, to) of one wave, from prefill to the last sequence's end.
static int run_wave(batch *b, size_t from, size_t to, mla_err *err) {
    mla_kv_reset(b->policy->kv);
    for (size_t i = from; i < to && !mla_stop_wanted(); i++) {
        if (start_request(b, i, err) < 0) return -1;
    }
    retire(b);
    while (b->n_live && !mla_stop_wanted()) {
        if (decode_step(b, err) < 0) return -1;
        retire(b);
    }
    return 0;
}

static int check_request(const mla_policy *p, const mla_prompt_request *r, mla_err *err) {
    int context = mla_model_get_config(p->model)->max_context;
    if (r->n + (size_t)r->max_new > (size_t)context) {
        return mla_err_set(err, "a prompt of %zu tokens and %d new ones do not fit the model's "
                           "context of %d; shorten the prompt", r->n, r->max_new, context);
    }
    MLA_ASSERT(r->n > 0 && r->samples > 0 && r->max_new > 0);
    return 0;
}

int mla_policy_generate(mla_policy *policy, const mla_prompt_request *requests, size_t n,
                        mla_sample_sink sink, void *ctx, mla_err *err) {
    for (size_t i = 0; i < n; i++) {
        if (check_request(policy, &requests[i], err) < 0) return -1;
    }
    if (!policy->kv) policy->kv = mla_kv_create(policy->model, policy->kv_bytes);
    batch b = {.policy = policy, .requests = requests, .sink = sink, .ctx = ctx};
    size_t capacity = kv_capacity(policy);
    int rc = 0;
    for (size_t from = 0, to; rc == 0 && from < n && !mla_stop_wanted(); from = to) {
        size_t need = tokens_of(&requests[from]);
        for (to = from + 1; to < n && need + tokens_of(&requests[to]) <= capacity; to++) {
            need += tokens_of(&requests[to]);
        }
        rc = run_wave(&b, from, to, err);
    }
    for (size_t i = 0; i < b.n_live; i++) mla_sample_clear(&b.live[i].out);
    free(b.live);
    free(b.hidden);
    free(b.logits);
    return rc;
}
