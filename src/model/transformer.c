// The layers, forward: one path for training, for a prompt's chunks and for decoding, so that they
// agree. Embedding, then per layer attention and the gated network around a residual stream in
// fp32, then the last norm. The way back is in backward.c.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"

// ---- scratch ---------------------------------------------------------------------------------

mla__work *mla__work_create(void) {
    return MLA_NEW(mla__work);
}

static void free_buffers(mla__work *w) {
    void *all[] = {w->x, w->mid, w->h, w->qkv, w->q, w->attn, w->gate_up, w->act};
    for (size_t i = 0; i < MLA_COUNT(all); i++) free(all[i]);
}

void mla__work_free(mla__work *work) {
    if (!work) return;
    free_buffers(work);
    free(work->spans);
    free(work->span_of);
    const mla__arena arenas[] = {work->attention, work->low_t,  work->low_dt,
                                 work->low_x,     work->low_dw, work->low_padded};
    for (size_t i = 0; i < MLA_COUNT(arenas); i++) free(arenas[i].data);
    free(work);
}

static void work_grow(const mla_model *m, mla__work *w, size_t rows) {
    if (rows <= w->cap) return;
    const mla_model_config *c = &m->config;
    const size_t dim = (size_t)c->dim, hidden = (size_t)c->hidden;
    const size_t width = (size_t)(c->heads * c->head_dim),
                 element = mla__element(m->options.compute);
    free_buffers(w);
    w->cap = mla__round_up(rows, MLA__ROWS);
    w->x = mla_alloc_aligned(w->cap * dim * sizeof(float));
    w->mid = mla_alloc_aligned(w->cap * dim * sizeof(float));
    w->h = mla_alloc_aligned(w->cap * dim * element);
    w->qkv = mla_alloc_aligned(w->cap * (size_t)m->layers[0].qkv.out * sizeof(float));
    w->q = mla_alloc_aligned(w->cap * width * element);
    w->attn = mla_alloc_aligned(w->cap * width * element);
    w->gate_up = mla_alloc_aligned(w->cap * 2 * hidden * element);
    w->act = mla_alloc_aligned(w->cap * hidden * element);
}

static void add_span(mla__work *w, int row, int n, int pos, const int *pages) {
    MLA_GROW(w->spans, w->cap_spans, (size_t)w->n_spans + 1);
    MLA_GROW(w->span_of, w->cap_span_of, (size_t)(row + n));
    for (int i = 0; i < n; i++) w->span_of[row + i] = w->n_spans;
    w->spans[w->n_spans++] = (mla__span){row, n, pos, pages};
}

// ---- one layer -------------------------------------------------------------------------------

static void embed_rows(const mla_model *m, const int32_t *ids, int n, float *x) {
    const size_t dim = (size_t)m->config.dim;
#pragma omp parallel for schedule(static) if ((size_t)n * dim > MLA__PARALLEL)
    for (int i = 0; i < n; i++) {
        MLA_ASSERT(ids[i] >= 0 && ids[i] < m->config.vocab);
        float *row = x + (size_t)i * dim;
        const size_t from = (size_t)ids[i] * dim;
        if (!m->embed.plain)
            mla__packed_row(m->embed.packed, ids[i], row);
        else if (mla__is_half(m->options.compute))
            m->kernels->from_bf16((const mla__bf16 *)m->embed.plain + from, row, dim);
        else
            memcpy(row, (const float *)m->embed.plain + from, dim * sizeof *row);
    }
}

// One position's keys or values of one head into its page's layout.
static void put_head(const mla_model *m, const float *x, void *page, int slot, bool is_key) {
    const int dim = m->config.head_dim, padded = mla__padded_head(&m->config);
    if (!mla__is_half(m->options.compute)) {
        float *to = page;
        for (int d = 0; d < dim; d++) to[is_key ? d * MLA__PAGE + slot : slot * padded + d] = x[d];
        return;
    }
    mla__bf16 row[MLA__HEAD_MAX], *to = page;
    m->kernels->to_bf16(x, row, (size_t)dim);
    for (int d = 0; d < dim; d++)
        to[is_key ? (d / 2 * MLA__PAGE + slot) * 2 + d % 2
                  : (slot / 2 * padded + d) * 2 + slot % 2] = row[d];
}

// Biases and rotation; queries to q, keys and values to the sequence's page.
static void place_row(const mla_model *m, const mla_kv *kv, const mla__span *span, int row,
                      int layer, float *qkv, void *q) {
    const mla_model_config *c = &m->config;
    const mla__layer *l = &m->layers[layer];
    const int half = c->head_dim / 2, pos = span->pos + row - span->row, slot = pos % MLA__PAGE;
    const int page = span->pages[pos / MLA__PAGE];
    const float *cosine = m->cosine + (size_t)pos * (size_t)half;
    const float *sine = m->sine + (size_t)pos * (size_t)half;
    if (l->qkv_bias.data) m->kernels->add(qkv, l->qkv_bias.data, (size_t)l->qkv.out);
    m->kernels->rope(qkv, c->heads + c->kv_heads, c->head_dim, cosine, sine, 1);
    const size_t width = (size_t)(c->heads * c->head_dim);
    if (mla__is_half(m->options.compute))
        m->kernels->to_bf16(qkv, (mla__bf16 *)q + (size_t)row * width, width);
    else
        memcpy((float *)q + (size_t)row * width, qkv, width * sizeof *qkv);
    for (int h = 0; h < c->kv_heads; h++) {
        const float *k = qkv + (c->heads + h) * c->head_dim, *v = k + c->kv_heads * c->head_dim;
        put_head(m, k, mla__kv_keys(kv, page, layer, h), slot, true);
        put_head(m, v, mla__kv_values(kv, page, layer, h), slot, false);
    }
}

// y = x w^T and what the adapters add to it.
static void linear(const mla_model *m, mla__work *w, int layer, mla__which which, const void *x,
                   void *y, bool y_f32, size_t n) {
    mla__gemm_forward(m->gemm, mla__linear_of(&m->layers[layer], which)->packed, x, y, y_f32, n);
    mla__low_forward(m, w, layer, which, x, y, y_f32, n);
}

// From x to mid, the residual stream before and after the attention.
static void attend(const mla_model *m, mla__work *w, mla_kv *kv, int layer, int n, const float *x,
                   float *mid, void *q, void *attn, float *lse, const mla__tail *tails,
                   int n_tails) {
    const mla__layer *l = &m->layers[layer];
    const size_t rows = (size_t)n, dim = (size_t)m->config.dim;
    mla__ops_norm(m->kernels, m->options.compute, false, x, l->norm1.data, m->config.norm_eps, w->h,
                  rows, dim);
    linear(m, w, layer, MLA__QKV, w->h, w->qkv, true, rows);
#pragma omp parallel for schedule(static) if (rows * dim > MLA__PARALLEL)
    for (int i = 0; i < n; i++)
        place_row(m, kv, &w->spans[w->span_of[i]], i, layer,
                  w->qkv + (size_t)i * (size_t)l->qkv.out, q);
    for (int i = 0; i < n_tails; i++) mla__kv_copy_tail(kv, &tails[i], layer);
    const mla__attention a = {.model = m,
                              .kv = kv,
                              .layer = layer,
                              .spans = w->spans,
                              .n_spans = w->n_spans,
                              .rows = n,
                              .arena = &w->attention};
    mla__attention_forward(&a, q, attn, lse);
    linear(m, w, layer, MLA__O, attn, mid, true, rows);
    mla__ops_add(m->kernels, mid, x, rows * dim);
}

static void gate(const mla_model *m, mla__work *w, int layer, int n, const float *mid,
                 void *gate_up) {
    const mla__layer *l = &m->layers[layer];
    mla__ops_norm(m->kernels, m->options.compute, false, mid, l->norm2.data, m->config.norm_eps,
                  w->h, (size_t)n, (size_t)m->config.dim);
    linear(m, w, layer, MLA__GATE_UP, w->h, gate_up, false, (size_t)n);
}

static void feed(const mla_model *m, mla__work *w, int layer, int n, const float *mid, float *next,
                 void *gate_up) {
    const size_t rows = (size_t)n, dim = (size_t)m->config.dim;
    gate(m, w, layer, n, mid, gate_up);
    mla__ops_swiglu(m->kernels, m->options.compute, gate_up, w->act, rows,
                    (size_t)m->config.hidden);
    linear(m, w, layer, MLA__DOWN, w->act, next, true, rows);
    mla__ops_add(m->kernels, next, mid, rows * dim);
}

// All layers over the work's spans, keeping what `saved` asks for (or NULL). The result, before the
// last norm, goes to `last` [n, dim].
static void run_layers(const mla_model *m, mla__work *w, mla_kv *kv, const int32_t *ids, int n,
                       mla__saved *saved, float *last, const mla__tail *tails, int n_tails) {
    float *x = saved ? saved[0].x : w->x;
    embed_rows(m, ids, n, x);
    for (int i = 0; i < m->config.layers; i++) {
        mla__saved *s = saved ? &saved[i] : NULL;
        bool end = i + 1 == m->config.layers;
        float *mid = s ? s->mid : w->mid, *next = end ? last : s ? saved[i + 1].x : w->x;
        attend(m, w, kv, i, n, x, mid, s ? s->q : w->q, s ? s->attn : w->attn, s ? s->lse : NULL,
               tails, n_tails);
        feed(m, w, i, n, mid, next, s ? s->gate_up : w->gate_up);
        x = next;
    }
}

// ---- training's forward pass -----------------------------------------------------------------

mla_activations *mla_activations_create(const mla_model *model) {
    mla_activations *acts = MLA_NEW(mla_activations);
    acts->model = model;
    acts->kv = mla__kv_create(model, SIZE_MAX);
    acts->saved = MLA_NEW_ARRAY(mla__saved, (size_t)model->config.layers);
    return acts;
}

// With recomputation the layers share all but x, and the first one owns it.
static void free_saved(mla_activations *acts) {
    for (int i = 0; i < acts->model->config.layers; i++) {
        mla__saved *s = &acts->saved[i];
        free(s->x);
        if (i && acts->recompute) continue;
        free(s->mid);
        free(s->q);
        free(s->attn);
        free(s->lse);
        free(s->gate_up);
    }
}

void mla_activations_free(mla_activations *acts) {
    if (!acts) return;
    mla_kv_free(acts->kv);
    free_saved(acts);
    free(acts->saved);
    free(acts->last);
    free(acts->hidden);
    free(acts->d_hidden);
    free(acts->tails);
    free(acts->token);
    mla__back_free(acts->back);
    free(acts);
}

void mla_activations_dropout(mla_activations *acts, uint64_t seed) {
    acts->dropout = seed;
}

void mla_activations_recompute(mla_activations *acts, bool on) {
    MLA_ASSERT(!acts->cap_saved);
    acts->recompute = on;
}

static void grow_saved(mla_activations *acts, size_t rows) {
    if (rows <= acts->cap_saved) return;
    const mla_model_config *c = &acts->model->config;
    const size_t cap = acts->cap_saved = mla__round_up(rows, MLA__ROWS);
    const size_t dim = (size_t)c->dim, width = (size_t)(c->heads * c->head_dim);
    const size_t element = mla__element(acts->model->options.compute);
    free_saved(acts);
    for (int i = 0; i < c->layers; i++) {
        mla__saved *s = &acts->saved[i];
        if (i && acts->recompute) *s = acts->saved[0];
        s->x = mla_alloc_aligned(cap * dim * sizeof(float));
        if (i && acts->recompute) continue;
        s->mid = mla_alloc_aligned(cap * dim * sizeof(float));
        s->q = mla_alloc_aligned(cap * width * element);
        s->attn = mla_alloc_aligned(cap * width * element);
        s->lse = mla_alloc_aligned(cap * (size_t)c->heads * sizeof(float));
        s->gate_up = mla_alloc_aligned(cap * 2 * (size_t)c->hidden * element);
    }
}

static void grow_rows(mla_activations *acts, size_t rows) {
    if (rows <= acts->cap_rows) return;
    acts->cap_rows = mla__round_up(rows, MLA__ROWS);
    const size_t bytes = acts->cap_rows * (size_t)acts->model->config.dim * sizeof(float);
    free(acts->last);
    free(acts->hidden);
    free(acts->d_hidden);
    acts->last = mla_alloc_aligned(bytes);
    acts->hidden = mla_alloc_aligned(bytes);
    acts->d_hidden = mla_alloc_aligned(bytes);
}

// Which row stands in which slot of which page; in copied tails the same row once more.
static void map_tokens(mla_activations *acts, const mla_token_batch *batch) {
    const mla_kv *kv = acts->kv;
    MLA_GROW(acts->token, acts->cap_tokens, kv->n_pages * MLA__PAGE);
    for (size_t i = 0; i < kv->n_pages * MLA__PAGE; i++) acts->token[i] = -1;
    for (int i = 0; i < batch->n_segments; i++) {
        const mla_segment *segment = &batch->segments[i];
        const mla__tail *tail = &acts->tails[i];
        for (int slot = 0; slot < tail->slots; slot++)
            acts->token[tail->to * MLA__PAGE + slot] = acts->token[tail->from * MLA__PAGE + slot];
        int first = kv->seqs[i].length - segment->len;
        for (int t = 0; t < segment->len; t++) {
            int page = kv->seqs[i].pages[(first + t) / MLA__PAGE];
            acts->token[page * MLA__PAGE + (first + t) % MLA__PAGE] = segment->start + t;
        }
    }
}

// A sequence for each segment, with the same number.
static void lay_out(mla_activations *acts, const mla_token_batch *batch) {
    mla_kv *kv = acts->kv;
    mla_kv_reset(kv);
    MLA_GROW(acts->tails, acts->cap_tails, (size_t)batch->n_segments);
    int covered = 0;
    for (int i = 0; i < batch->n_segments; i++) {
        const mla_segment *s = &batch->segments[i];
        MLA_ASSERT(s->start == covered && s->len >= 0 && s->parent < i);
        covered += s->len;
        MLA_ASSERT(mla__kv_fork(kv, s->parent, &acts->tails[i]) == i);
        MLA_ASSERT(mla__kv_reserve(kv, i, s->len) == 0);
        MLA_ASSERT(kv->seqs[i].length <= acts->model->config.max_context);
    }
    MLA_ASSERT(covered == batch->n);
    // Page lists may have moved while they grew: take their addresses only now.
    kv->work->n_spans = 0;
    for (int i = 0; i < batch->n_segments; i++) {
        const mla_segment *s = &batch->segments[i];
        add_span(kv->work, s->start, s->len, kv->seqs[i].length - s->len, kv->seqs[i].pages);
    }
    map_tokens(acts, batch);
}

const float *mla_transformer_forward(const mla_model *model, const mla_token_batch *batch,
                                     mla_activations *acts, bool keep) {
    MLA_ASSERT(acts->model == model && batch->n > 0);
    const size_t rows = (size_t)batch->n;
    work_grow(model, acts->kv->work, rows);
    grow_rows(acts, rows);
    if (keep) grow_saved(acts, rows);
    acts->kv->work->dropout = keep ? acts->dropout : 0;
    lay_out(acts, batch);
    run_layers(model, acts->kv->work, acts->kv, batch->ids, batch->n, keep ? acts->saved : NULL,
               acts->last, acts->tails, batch->n_segments);
    mla__ops_norm(model->kernels, model->options.compute, true, acts->last, model->norm.data,
                  model->config.norm_eps, acts->hidden, rows, (size_t)model->config.dim);
    acts->n = batch->n;
    acts->n_tails = batch->n_segments;
    acts->kept = keep;
    acts->grad_started = false;
    return acts->hidden;
}

void mla__layer_again(mla_activations *acts, int layer) {
    const mla_model *m = acts->model;
    mla__saved *s = &acts->saved[layer];
    mla__work *w = acts->kv->work;
    attend(m, w, acts->kv, layer, acts->n, s->x, s->mid, s->q, s->attn, s->lse, acts->tails,
           acts->n_tails);
    gate(m, w, layer, acts->n, s->mid, s->gate_up);
}

// ---- extending a cache -----------------------------------------------------------------------

static int check_extend(const mla_model *m, const mla_kv *kv, const mla_extend *items, int n_items,
                        mla_err *err) {
    MLA_ASSERT(kv->model == m);
    if (kv->version != m->version)
        return mla_err_set(err, "the KV cache belongs to older weights; reset it after an update");
    size_t missing = 0, left = mla__kv_pages_left(kv);
    for (int i = 0; i < n_items; i++) {
        const int length = mla_kv_length(kv, items[i].seq);
        MLA_ASSERT(items[i].n > 0);
        if (items[i].n > m->config.max_context - length)
            return mla_err_set(err,
                               "a sequence of %d tokens is longer than the model's context of "
                               "%d",
                               length + items[i].n, m->config.max_context);
        missing += mla__kv_pages_missing(kv, items[i].seq, items[i].n);
    }
    if (missing > left)
        return mla_err_set(err,
                           "the KV cache is full: %zu pages of 64 tokens are wanted, %zu are "
                           "left; raise its memory ceiling",
                           missing, left);
    return 0;
}

// Appends the items' tokens. Their hidden states, before the last norm, are then in the work's x,
// a span for each item. -1 when nothing was appended.
static int append(const mla_model *model, mla_kv *kv, const mla_extend *items, int n_items,
                  mla_err *err) {
    if (check_extend(model, kv, items, n_items, err)) return -1;
    mla__work *w = kv->work;
    int n = 0;
    for (int i = 0; i < n_items; i++) n += items[i].n;
    if (!n) return 0;
    work_grow(model, w, (size_t)n);
    int32_t *ids = MLA_NEW_ARRAY(int32_t, (size_t)n);
    w->n_spans = n = 0;
    for (int i = 0; i < n_items; i++) {
        const mla__seq *seq = &kv->seqs[items[i].seq];
        int pos = seq->length;
        MLA_ASSERT(mla__kv_reserve(kv, items[i].seq, items[i].n) == 0);
        memcpy(ids + n, items[i].ids, (size_t)items[i].n * sizeof *ids);
        add_span(w, n, items[i].n, pos, seq->pages);
        n += items[i].n;
    }
    run_layers(model, w, kv, ids, n, NULL, w->x, NULL, 0);
    free(ids);
    return 0;
}

static void norm_rows(const mla_model *m, const float *x, float *hidden, int n) {
    mla__ops_norm(m->kernels, m->options.compute, true, x, m->norm.data, m->config.norm_eps,
                  hidden, (size_t)n, (size_t)m->config.dim);
}

int mla_transformer_extend(const mla_model *model, mla_kv *kv, const mla_extend *items, int n_items,
                           float *hidden, mla_err *err) {
    if (append(model, kv, items, n_items, err)) return -1;
    const size_t dim = (size_t)model->config.dim;
    mla__work *w = kv->work;
    for (int i = 0; i < n_items; i++)
        memcpy(w->mid + (size_t)i * dim, w->x + (size_t)(w->spans[i].row + w->spans[i].n - 1) * dim,
               dim * sizeof *w->x);
    norm_rows(model, w->mid, hidden, n_items);
    return 0;
}

int mla_transformer_read(const mla_model *model, mla_kv *kv, const mla_extend *item, float *hidden,
                         mla_err *err) {
    if (append(model, kv, item, 1, err)) return -1;
    norm_rows(model, kv->work->x, hidden, item->n);
    return 0;
}
