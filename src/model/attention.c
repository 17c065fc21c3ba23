// Attention over pages of keys and values, forward and backward. A query block meets one page at a
// time in a running softmax, so no T x T matrix exists. Pages begin at multiples of 64 positions
// whatever the batch looks like; therefore a row's bits are the same in training, in a prompt's
// chunk and in decoding, alone or beside others. The naive version is in ops.c.
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"

typedef struct block { // queries [first, first + n) of a span, for all heads of a group
    int span, first, n;
} block;

typedef struct shape { // the sizes that everything here needs
    const mla__kernels *k;
    bool pairs; // bf16: two elements a lane
    int heads, kv_heads, group, dim, padded, lanes /* of a padded head */, tokens, rows;
    int page_lanes;
    size_t element, width; // width = heads * dim
    float scale;
} shape;

static int block_tokens(int group) {
    int blocks = 96 / (16 * group);
    return 16 * (blocks < 1 ? 1 : blocks);
}

static shape shape_of(const mla_model *model) {
    const mla_model_config *c = &model->config;
    shape s = {.k = model->kernels, .pairs = mla__is_half(model->options.compute)};
    s.heads = c->heads;
    s.kv_heads = c->kv_heads;
    s.group = c->heads / c->kv_heads;
    s.dim = c->head_dim;
    s.padded = mla__padded_head(c);
    s.lanes = s.pairs ? s.padded / 2 : s.padded;
    s.page_lanes = s.pairs ? MLA__PAGE / 2 : MLA__PAGE;
    s.tokens = block_tokens(s.group);
    s.rows = s.tokens * s.group;
    s.element = mla__element(model->options.compute);
    s.width = (size_t)c->heads * (size_t)c->head_dim;
    s.scale = 1.0f / sqrtf((float)c->head_dim);
    return s;
}

// c [rows, cols] of a [rows, k] and b [k, cols], all without gaps; k in lanes.
static mla__tile dense(const void *a, const void *b, float *c, int rows, int k, int cols) {
    return (mla__tile){.a = a, .lda = k, .b = b, .ldb = cols, .c = c, .ldc = cols,
                       .rows = rows, .k = k, .cols = cols};
}

static void multiply(const shape *s, mla__tile t) {
    if (s->pairs)
        s->k->tile_bf16(&t);
    else
        s->k->tile_f32(&t);
}

// c = scale * c + a b, or a b if `scale` is NULL.
static void multiply_scaled(const shape *s, mla__tile t, const float *scale) {
    t.scale = scale;
    multiply(s, t);
}

static void multiply_add(const shape *s, mla__tile t) {
    t.add = true;
    multiply(s, t);
}

static block *list_blocks(const mla__attention *a, int tokens, int *count) {
    size_t n = 0;
    for (int i = 0; i < a->n_spans; i++) n += (size_t)((a->spans[i].n + tokens - 1) / tokens);
    block *blocks = MLA_NEW_ARRAY(block, n ? n : 1);
    *count = 0;
    for (int i = 0; i < a->n_spans; i++)
        for (int at = 0; at < a->spans[i].n; at += tokens) {
            int left = a->spans[i].n - at;
            blocks[(*count)++] = (block){i, at, left < tokens ? left : tokens};
        }
    return blocks;
}

// ---- forward ---------------------------------------------------------------------------------

typedef struct forward_scratch {
    float *q;                // [rows, lanes] of 32 bits
    float *s;                // [rows, PAGE]
    mla__bf16 *p;            // [rows, PAGE], of bf16
    float *o;                // [rows, padded]
    float *max, *keep;       // [rows]
    float *sum;              // [rows, LANES]
    int *seen;               // [rows]
} forward_scratch;

static size_t forward_scratch_size(const shape *s) {
    return (size_t)s->rows * (2 * (size_t)s->padded + 2 * MLA__PAGE + 3 + MLA__LANES);
}

static forward_scratch forward_scratch_at(const shape *s, float *at) {
    size_t rows = (size_t)s->rows, padded = (size_t)s->padded;
    forward_scratch f;
    f.q = at;
    f.s = f.q + rows * padded;
    f.p = (mla__bf16 *)(void *)(f.s + rows * MLA__PAGE);
    f.o = (float *)(void *)f.p + rows * MLA__PAGE;
    f.max = f.o + rows * padded;
    f.sum = f.max + rows;
    f.keep = f.sum + rows * MLA__LANES;
    f.seen = (int *)(void *)(f.keep + rows);
    return f;
}

// Row t * group + h of the block is head h of token t: decoding then has its rows side by side.
static void gather_rows(const shape *s, const char *from, int row, int n, int kv_head, char *to) {
    const size_t bytes = (size_t)s->dim * s->element, padded = (size_t)s->padded * s->element;
    for (int t = 0; t < n; t++)
        for (int h = 0; h < s->group; h++) {
            size_t head = (size_t)(kv_head * s->group + h);
            memcpy(to, from + ((size_t)(row + t) * s->width + head * (size_t)s->dim) * s->element,
                   bytes);
            memset(to + bytes, 0, padded - bytes);
            to += padded;
        }
}

// When decoding, every page comes from memory, and is done with sooner than the next one arrives.
static void fetch(const shape *s, const void *half_page) {
    const size_t bytes = (size_t)s->padded * MLA__PAGE * s->element;
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)half_page + i, 0, 2);
}

static void page_forward(const mla__attention *a, const shape *s, const mla__span *span,
                         const block *b, int kv_head, int page, int last,
                         const forward_scratch *f) {
    const int rows = b->n * s->group, at = span->pages[page];
    const void *values = mla__kv_values(a->kv, at, a->layer, kv_head);
    if (b->n == 1) fetch(s, values);
    multiply(s, dense(f->q, mla__kv_keys(a->kv, at, a->layer, kv_head), f->s, rows, s->lanes,
                      MLA__PAGE));
    if (b->n == 1 && page < last)
        fetch(s, mla__kv_keys(a->kv, span->pages[page + 1], a->layer, kv_head));
    const mla__softmax soft = {.s = f->s,
                               .half = s->pairs ? f->p : NULL,
                               .seen = f->seen,
                               .first = page * MLA__PAGE,
                               .rows = rows,
                               .scale = s->scale,
                               .max = f->max,
                               .sum = f->sum,
                               .keep = f->keep};
    s->k->softmax(&soft);
    const void *p = s->pairs ? (void *)f->p : (void *)f->s;
    multiply_scaled(s, dense(p, values, f->o, rows, s->page_lanes, s->padded),
                    page ? f->keep : NULL);
}

static void block_forward(const mla__attention *a, const shape *s, const block *b, int kv_head,
                          const void *q, void *out, float *lse, const forward_scratch *f) {
    const mla__span *span = &a->spans[b->span];
    const int rows = b->n * s->group, row = span->row + b->first;
    const int last = (span->pos + b->first + b->n - 1) / MLA__PAGE;
    gather_rows(s, q, row, b->n, kv_head, (char *)f->q);
    for (int r = 0; r < rows; r++) {
        f->seen[r] = span->pos + b->first + r / s->group + 1;
        f->max[r] = MLA__NOTHING;
    }
    memset(f->sum, 0, (size_t)rows * MLA__LANES * sizeof *f->sum);
    for (int page = 0; page <= last; page++) page_forward(a, s, span, b, kv_head, page, last, f);
    for (int r = 0; r < rows; r++) {
        size_t token = (size_t)(row + r / s->group);
        size_t head = (size_t)(kv_head * s->group + r % s->group);
        float *o = f->o + (size_t)r * (size_t)s->padded;
        float sum = 0;
        for (int i = 0; i < MLA__LANES; i++) sum += f->sum[r * MLA__LANES + i];
        s->k->scale(o, 1.0f / sum, (size_t)s->dim);
        size_t at = token * s->width + head * (size_t)s->dim;
        if (s->pairs)
            s->k->to_bf16(o, (mla__bf16 *)out + at, (size_t)s->dim);
        else
            memcpy((float *)out + at, o, (size_t)s->dim * sizeof *o);
        if (lse) lse[token * (size_t)s->heads + head] = f->max[r] + log2f(sum);
    }
}

void mla__attention_forward(const mla__attention *a, const void *q, void *out, float *lse) {
    const shape s = shape_of(a->model);
    int n_blocks;
    block *blocks = list_blocks(a, s.tokens, &n_blocks);
    const size_t size = forward_scratch_size(&s);
    const int threads = omp_get_max_threads();
    float *scratch = mla__arena_take(a->arena, (size_t)threads * size * sizeof *scratch);
#pragma omp parallel num_threads(threads)
    {
        forward_scratch f = forward_scratch_at(&s, scratch + (size_t)omp_get_thread_num() * size);
        // Later blocks see more pages: the longest tasks go first.
#pragma omp for schedule(dynamic)
        for (int task = 0; task < n_blocks * s.kv_heads; task++)
            block_forward(a, &s, &blocks[n_blocks - 1 - task / s.kv_heads], task % s.kv_heads, q,
                          out, lse, &f);
    }
    free(blocks);
}

// ---- backward --------------------------------------------------------------------------------
//
// All in transposed form, a row of scores for a key and a column for a query, so that the large
// matrices are made in the layout in which the next product reads them:
//   S' = K Q'   dP' = V dO'   dS' = P' * (dP' - dot) * scale
//   dV += P' dO   dK += dS' Q   dQ' += K' dS'
// A thread owns the key pages it works on, and a dQ of its own; the dQs are added in the order of
// the threads.

typedef struct packed_block { // of one block and key head; lanes of 32 bits, columns h * tokens + t
    float *q, *d_out;         // [lanes, rows]: for S' and dP'
    float *q_rows, *d_out_rows; // [rows / E, padded]: for dK and dV
    float *lse, *dot;           // [rows]
} packed_block;

typedef struct backward {
    const mla__attention *a;
    shape s;
    block *blocks;
    int n_blocks;
    packed_block *packed;       // [n_blocks, kv_heads]
    float *d_page;              // [pages, kv_heads, 2, PAGE, padded]: of keys, then of values
    float *dq;                  // [threads, n_blocks, kv_heads, padded, rows]
    size_t dq_block, dq_thread; // their sizes
    float *scratch;             // [threads, page_scratch_size]
} backward;

static uint32_t pair_of(const mla__bf16 *x, const mla__bf16 *y) {
    return (uint32_t)*x | (uint32_t)*y << 16;
}

// x [rows, padded] in the compute type into both lane layouts.
static void pack_rows(const shape *s, const void *x, float *by_dim, float *by_row) {
    const int rows = s->rows, padded = s->padded;
    if (!s->pairs) {
        memcpy(by_row, x, (size_t)rows * (size_t)padded * sizeof *by_row);
        for (int d = 0; d < padded; d++)
            for (int r = 0; r < rows; r++)
                by_dim[d * rows + r] = ((const float *)x)[r * padded + d];
        return;
    }
    const mla__bf16 *h = x;
    uint32_t *dims = (uint32_t *)(void *)by_dim, *out = (uint32_t *)(void *)by_row;
    for (int d = 0; d < padded / 2; d++)
        for (int r = 0; r < rows; r++)
            dims[d * rows + r] = pair_of(&h[r * padded + 2 * d], &h[r * padded + 2 * d + 1]);
    for (int r = 0; r < rows / 2; r++)
        for (int d = 0; d < padded; d++)
            out[r * padded + d] = pair_of(&h[2 * r * padded + d], &h[(2 * r + 1) * padded + d]);
}

// The rows of a block in columns' order, padded with zero rows; `x` compute type or float.
static void gather_block(const backward *w, const block *b, int kv_head, const void *x, bool is_f32,
                         void *to) {
    const shape *s = &w->s;
    const size_t row = (size_t)(w->a->spans[b->span].row + b->first), dim = (size_t)s->dim;
    memset(to, 0, (size_t)s->rows * (size_t)s->padded * s->element);
    for (int h = 0; h < s->group; h++)
        for (int t = 0; t < b->n; t++) {
            size_t head = (size_t)(kv_head * s->group + h);
            size_t from = (row + (size_t)t) * s->width + head * dim;
            size_t at = (size_t)(h * s->tokens + t) * (size_t)s->padded;
            if (is_f32 && s->pairs)
                s->k->to_bf16((const float *)x + from, (mla__bf16 *)to + at, dim);
            else
                memcpy((char *)to + at * s->element, (const char *)x + from * s->element,
                       dim * s->element);
        }
}

static void pack_block(const backward *w, int at, int kv_head, const void *q, const void *out,
                       const float *lse, const float *d_out, void *scratch) {
    const shape *s = &w->s;
    const block *b = &w->blocks[at];
    packed_block *p = &w->packed[at * s->kv_heads + kv_head];
    gather_block(w, b, kv_head, q, false, scratch);
    pack_rows(s, scratch, p->q, p->q_rows);
    gather_block(w, b, kv_head, d_out, true, scratch);
    pack_rows(s, scratch, p->d_out, p->d_out_rows);
    for (int r = 0; r < s->rows; r++) {
        p->lse[r] = -MLA__NOTHING;
        p->dot[r] = 0;
    }
    float row[MLA__HEAD_MAX];
    for (int h = 0; h < s->group; h++)
        for (int t = 0; t < b->n; t++) {
            size_t token = (size_t)(w->a->spans[b->span].row + b->first + t);
            size_t head = (size_t)(kv_head * s->group + h);
            size_t from = token * s->width + head * (size_t)s->dim;
            const float *o = (const float *)out + from;
            if (s->pairs) {
                s->k->from_bf16((const mla__bf16 *)out + from, row, (size_t)s->dim);
                o = row;
            }
            p->lse[h * s->tokens + t] = lse[token * (size_t)s->heads + head];
            p->dot[h * s->tokens + t] = s->k->dot(o, d_out + from, (size_t)s->dim);
        }
}

typedef struct page_scratch { // one key page in the layouts the products read, and what they make
    float *keys, *values;     // [PAGE, lanes]
    float *keys_t;            // [padded, page_lanes]
    float *s, *dp;            // [PAGE, rows]
    mla__bf16 *p_half, *ds_half; // [PAGE, rows], of bf16
    uint32_t *ds_pairs;          // [PAGE / 2, rows], of bf16
} page_scratch;

static size_t page_scratch_size(const shape *s) {
    return MLA__PAGE * (3 * (size_t)s->padded + 4 * (size_t)s->rows);
}

static page_scratch page_scratch_at(const shape *s, float *at) {
    size_t head = MLA__PAGE * (size_t)s->padded, scores = MLA__PAGE * (size_t)s->rows;
    page_scratch f;
    f.keys = at;
    f.values = f.keys + head;
    f.keys_t = f.values + head;
    f.s = f.keys_t + head;
    f.dp = f.s + scores;
    f.p_half = (mla__bf16 *)(void *)(f.dp + scores);
    f.ds_half = f.p_half + scores;
    f.ds_pairs = (uint32_t *)(void *)(f.ds_half + scores);
    return f;
}

static void unpack_page(const shape *s, const void *keys, const void *values,
                        const page_scratch *f) {
    const int padded = s->padded;
    if (!s->pairs) {
        memcpy(f->values, values, MLA__PAGE * (size_t)padded * sizeof(float));
        memcpy(f->keys_t, keys, MLA__PAGE * (size_t)padded * sizeof(float));
        for (int j = 0; j < MLA__PAGE; j++)
            for (int d = 0; d < padded; d++)
                f->keys[j * padded + d] = ((const float *)keys)[d * MLA__PAGE + j];
        return;
    }
    const mla__bf16 *from = keys;
    mla__bf16 *rows = (mla__bf16 *)(void *)f->keys, *cols = (mla__bf16 *)(void *)f->keys_t;
    for (int j = 0; j < MLA__PAGE; j++)
        for (int d = 0; d < padded; d++) {
            mla__bf16 x = from[(d / 2 * MLA__PAGE + j) * 2 + d % 2];
            rows[j * padded + d] = x;
            cols[d * MLA__PAGE + j] = x;
        }
    from = values;
    rows = (mla__bf16 *)(void *)f->values;
    for (int j = 0; j < MLA__PAGE; j++)
        for (int d = 0; d < padded; d++)
            rows[j * padded + d] = from[(j / 2 * padded + d) * 2 + j % 2];
}

// One page against one block: adds to the page's gradients and to the block's dQ'.
static void pair_backward(const backward *w, const page_scratch *f, const packed_block *p,
                          int first, float *dk, float *dv, float *dq) {
    const shape *s = &w->s;
    const int rows = s->rows, row_lanes = s->pairs ? rows / 2 : rows;
    multiply(s, dense(f->keys, p->q, f->s, MLA__PAGE, s->lanes, rows));
    multiply(s, dense(f->values, p->d_out, f->dp, MLA__PAGE, s->lanes, rows));
    const bool half = s->pairs;
    const mla__prob_grad grad = {.s = f->s,
                                 .dp = f->dp,
                                 .p_half = half ? f->p_half : NULL,
                                 .ds_half = half ? f->ds_half : NULL,
                                 .ds_pairs = half ? f->ds_pairs : NULL,
                                 .lse = p->lse,
                                 .dot = p->dot,
                                 .scale = s->scale,
                                 .cols = rows,
                                 .tokens = s->tokens,
                                 .first = first};
    s->k->prob_grad(&grad);
    const void *prob = half ? (void *)f->p_half : (void *)f->s;
    const void *ds = half ? (void *)f->ds_half : (void *)f->dp;
    const void *pairs = half ? (void *)f->ds_pairs : (void *)f->dp;
    multiply_add(s, dense(prob, p->d_out_rows, dv, MLA__PAGE, row_lanes, s->padded));
    multiply_add(s, dense(ds, p->q_rows, dk, MLA__PAGE, row_lanes, s->padded));
    multiply_add(s, dense(f->keys_t, pairs, dq, s->padded, s->page_lanes, rows));
}

static size_t page_grad_size(const shape *s) {
    return MLA__PAGE * (size_t)s->padded;
}

static float *page_grad(const backward *w, int page, int kv_head) {
    return w->d_page + (size_t)(page * w->s.kv_heads + kv_head) * 2 * page_grad_size(&w->s);
}

// The index of `page` in the span's list, or -1.
static int place_of(const mla__span *span, int page) {
    int n = (span->pos + span->n + MLA__PAGE - 1) / MLA__PAGE;
    for (int i = 0; i < n; i++)
        if (span->pages[i] == page) return i;
    return -1;
}

static void page_backward(const backward *w, int page, int kv_head, const page_scratch *f,
                          float *dq) {
    const mla__attention *a = w->a;
    const shape *s = &w->s;
    float *dk = page_grad(w, page, kv_head), *dv = dk + page_grad_size(s);
    memset(dk, 0, 2 * page_grad_size(s) * sizeof *dk);
    unpack_page(s, mla__kv_keys(a->kv, page, a->layer, kv_head),
                mla__kv_values(a->kv, page, a->layer, kv_head), f);
    int span = -1, place = -1;
    for (int i = 0; i < w->n_blocks; i++) {
        const block *b = &w->blocks[i];
        if (b->span != span) {
            span = b->span;
            place = place_of(&a->spans[span], page);
        }
        int first = place * MLA__PAGE - (a->spans[span].pos + b->first);
        if (place < 0 || first >= b->n) continue;
        int at = i * s->kv_heads + kv_head;
        pair_backward(w, f, &w->packed[at], first, dk, dv, dq + (size_t)at * w->dq_block);
    }
}

// ---- putting the parts' gradients together ---------------------------------------------------

static void scatter_dq(const backward *w, int at, int threads, float *dqkv, size_t stride) {
    const shape *s = &w->s;
    const block *b = &w->blocks[at / s->kv_heads];
    const int kv_head = at % s->kv_heads;
    float *sum = w->dq + (size_t)at * w->dq_block;
    for (int t = 1; t < threads; t++) s->k->add(sum, sum + (size_t)t * w->dq_thread, w->dq_block);
    for (int h = 0; h < s->group; h++)
        for (int t = 0; t < b->n; t++) {
            size_t token = (size_t)(w->a->spans[b->span].row + b->first + t);
            float *to = dqkv + token * stride + (size_t)((kv_head * s->group + h) * s->dim);
            for (int d = 0; d < s->dim; d++) to[d] = sum[d * s->rows + h * s->tokens + t];
        }
}

// A token's keys stand in its own page and in the copies that children made of it.
static void scatter_pages(const backward *w, const int *token, int kv_head, float *dqkv,
                          size_t stride) {
    const shape *s = &w->s;
    const size_t k_at = s->width + (size_t)(kv_head * s->dim);
    const size_t v_at = k_at + (size_t)(s->kv_heads * s->dim);
    for (int page = 0; page < (int)w->a->kv->n_pages; page++) {
        if (!w->a->kv->refs[page]) continue;
        const float *dk = page_grad(w, page, kv_head), *dv = dk + page_grad_size(s);
        for (int slot = 0; slot < MLA__PAGE; slot++) {
            int row = token[page * MLA__PAGE + slot];
            if (row < 0) continue;
            float *to = dqkv + (size_t)row * stride;
            s->k->add(to + k_at, dk + slot * s->padded, (size_t)s->dim);
            s->k->add(to + v_at, dv + slot * s->padded, (size_t)s->dim);
        }
    }
}

static backward backward_create(const mla__attention *a, int threads) {
    backward w = {.a = a, .s = shape_of(a->model)};
    const shape *s = &w.s;
    w.blocks = list_blocks(a, s->tokens, &w.n_blocks);
    size_t n = (size_t)(w.n_blocks * s->kv_heads), tile = (size_t)s->rows * (size_t)s->padded;
    size_t lanes = tile * s->element / sizeof(float), each = 4 * lanes + 2 * (size_t)s->rows;
    size_t pages = a->kv->n_pages * (size_t)s->kv_heads * 2 * page_grad_size(s);
    w.packed = MLA_NEW_ARRAY(packed_block, n);
    w.dq_block = tile;
    w.dq_thread = n * tile;
    size_t all = n * each + pages + (size_t)threads * (w.dq_thread + page_scratch_size(s));
    float *at = mla__arena_take(a->arena, all * sizeof *at);
    for (size_t i = 0; i < n; i++, at += each)
        w.packed[i] = (packed_block){at,
                                     at + lanes,
                                     at + 2 * lanes,
                                     at + 3 * lanes,
                                     at + 4 * lanes,
                                     at + 4 * lanes + s->rows};
    w.d_page = at;
    w.dq = w.d_page + pages;
    w.scratch = w.dq + (size_t)threads * w.dq_thread;
    return w;
}

static void backward_clear(backward *w) {
    free(w->blocks);
    free(w->packed);
}

void mla__attention_backward(const mla__attention *a, const int *token, const void *q,
                             const void *out, const float *lse, const float *d_out, float *dqkv) {
    const int threads = omp_get_max_threads();
    backward w = backward_create(a, threads);
    const shape *s = &w.s;
    const int kv_heads = s->kv_heads, n_pages = (int)a->kv->n_pages;
    const size_t stride = s->width + 2 * (size_t)(kv_heads * s->dim);
    memset(dqkv, 0, (size_t)a->rows * stride * sizeof *dqkv);
#pragma omp parallel num_threads(threads)
    {
        const int me = omp_get_thread_num();
        page_scratch f = page_scratch_at(s, w.scratch + (size_t)me * page_scratch_size(s));
        memset(w.dq + (size_t)me * w.dq_thread, 0, w.dq_thread * sizeof *w.dq);
#pragma omp for schedule(static)
        for (int i = 0; i < w.n_blocks * kv_heads; i++)
            pack_block(&w, i / kv_heads, i % kv_heads, q, out, lse, d_out, f.s);
            // Dealt out in turn: which thread adds what to which dQ is the same every time.
#pragma omp for schedule(static, 1)
        for (int task = 0; task < n_pages * kv_heads; task++)
            if (a->kv->refs[task / kv_heads])
                page_backward(&w, task / kv_heads, task % kv_heads, &f,
                              w.dq + (size_t)me * w.dq_thread);
#pragma omp for schedule(static)
        for (int i = 0; i < w.n_blocks * kv_heads; i++) scatter_dq(&w, i, threads, dqkv, stride);
#pragma omp for schedule(static)
        for (int h = 0; h < kv_heads; h++) scatter_pages(&w, token, h, dqkv, stride);
    }
    backward_clear(&w);
}
