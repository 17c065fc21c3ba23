// The scheduler of sampling. A job is a run of tokens that must go through the network before the
// sequences that wait for it can go on: a prompt and its samples, or one sequence that had to give
// its pages up. Rounds of prefill and of decoding take turns; prefill works on the first jobs in
// the queue, in chunks that end at multiples of a page.
//
// Memory: a sequence takes pages as it grows. When none is left, the prefix cache forgets what
// nothing uses, then prompts being read and then the youngest sequences go back into the queue with
// the tokens they have. The oldest is never sent back, so there is always one that ends.
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "policy/internal.h"

enum {
    PAGE = MLA_KV_PAGE,
    CHUNK = 8 * PAGE,    // tokens of a prefill round
    BATCH = 256,         // sequences that decode together at most
    HEAD_ROWS = 64,      // rows of logits held at once
};

typedef struct request {
    uint64_t handle;
    size_t number;
    mla_prompt_request asked;    // owns its ids and stop tokens
    mla_token_sink on_token;
    mla_sample_sink on_end;
    void *ctx;
    int alive;                   // samples that have not ended
    size_t cached;               // tokens of the prompt that the prefix cache knew
    bool cancelled;
} request;

typedef struct sequence {        // one sample, from its submission to its end
    request *of;
    int k;
    int seq;                     // in the KV cache while it runs
    mla_rng rng;
    mla_sample out;
    size_t cap;
    mla_likely *likely;          // [of->asked.n_likely], beside the last token
    bool over, cancelled;
} sequence;

typedef struct job {
    request *of;
    int32_t *ids;                // [n], owned
    size_t n, done;
    int seq;                     // in the KV cache; -1: not begun
    sequence **starts;           // [n_starts], owned: what goes on from here
    size_t n_starts;
    bool counted;                // its cached tokens are in the statistics
} job;

typedef struct turn {            // a sequence that draws its next token from a row of the round
    sequence *s;
    size_t row;
} turn;

struct mla_engine {
    const mla_model *model;
    int32_t end;                 // of a turn
    mla_kv *kv;
    uint64_t version;            // of the weights that the cache was computed with
    mla__radix *prefixes;
    job **jobs;                  // [n_jobs], in the order of their turn
    sequence **running;          // [n_running], oldest first
    turn *turns;                 // [n_turns], rows ascending
    mla_extend *items;           // of the round
    size_t n_jobs, cap_jobs, n_running, cap_running, n_turns, cap_turns, cap_items;
    float *hidden;               // [cap_hidden, dim]
    size_t cap_hidden;
    float *logits;               // [cap_logits, vocab], at most HEAD_ROWS
    size_t cap_logits;
    float *scratch;              // [threads, vocab]
    int threads;
    uint64_t last_handle;
    bool stepping, decode_next;
    mla_engine_stats stats;
};

// ---- lives ------------------------------------------------------------------------------------

mla_engine *mla__engine_create(const mla_model *model, int32_t end, size_t kv_bytes) {
    const mla_model_config *c = mla_model_get_config(model);
    mla_engine *e = MLA_NEW(mla_engine);
    e->model = model;
    e->end = end;
    e->kv = mla_kv_create(model, kv_bytes);
    e->version = mla_model_version(model);
    e->prefixes = mla__radix_create(e->kv);
    e->threads = omp_get_max_threads();
    e->scratch = mla_alloc_aligned((size_t)e->threads * (size_t)c->vocab * sizeof(float));
    return e;
}

mla_engine *mla_engine_create(mla_policy *policy, size_t kv_bytes) {
    return mla__engine_create(policy->model, mla_chat_end_of_turn(policy), kv_bytes);
}

static void free_sequence(sequence *s) {
    request *r = s->of;
    mla_sample_clear(&s->out);
    free(s->likely);
    free(s);
    if (--r->alive) return;
    free((void *)(uintptr_t)r->asked.ids);
    free((void *)(uintptr_t)r->asked.stop);
    free(r);
}

static void free_job(job *j) {
    free(j->ids);
    free(j->starts);
    free(j);
}

static void *copy_of(const void *data, size_t bytes) {
    void *copy = mla_alloc(bytes ? bytes : 1, 1);
    if (bytes) memcpy(copy, data, bytes);
    return copy;
}

static request *make_request(mla_engine *e, const mla_prompt_request *asked) {
    request *r = MLA_NEW(request);
    r->handle = ++e->last_handle;
    r->asked = *asked;
    r->asked.ids = copy_of(asked->ids, asked->n * sizeof *asked->ids);
    r->asked.stop = copy_of(asked->stop, asked->n_stop * sizeof *asked->stop);
    return r;
}

static sequence *make_sequence(request *r, int k) {
    sequence *s = MLA_NEW(sequence);
    s->of = r;
    s->k = k;
    s->seq = -1;
    s->likely = MLA_NEW_ARRAY(mla_likely, (size_t)r->asked.n_likely);
    mla_rng_init(&s->rng, mla_rng_derive(r->asked.seed, (uint64_t)k, 0, 0));
    r->alive++;
    return s;
}

// The tokens of a sequence that the network has seen or must see to go on. Caller frees.
static int32_t *tokens_of(const sequence *s, size_t *n) {
    const mla_prompt_request *asked = &s->of->asked;
    *n = asked->n + s->out.n;
    int32_t *ids = MLA_NEW_ARRAY(int32_t, *n);
    memcpy(ids, asked->ids, asked->n * sizeof *ids);
    if (s->out.n) memcpy(ids + asked->n, s->out.ids, s->out.n * sizeof *ids);
    return ids;
}

// ---- the queue --------------------------------------------------------------------------------

static void insert_job(mla_engine *e, size_t at, job *j) {
    MLA_GROW(e->jobs, e->cap_jobs, e->n_jobs + 1);
    memmove(e->jobs + at + 1, e->jobs + at, (e->n_jobs - at) * sizeof *e->jobs);
    e->jobs[at] = j;
    e->n_jobs++;
}

static void remove_job(mla_engine *e, size_t at) {
    e->n_jobs--;
    memmove(e->jobs + at, e->jobs + at + 1, (e->n_jobs - at) * sizeof *e->jobs);
}

// A job without tokens; takes over `starts`.
static job *make_job(request *r, sequence **starts, size_t n_starts) {
    job *j = MLA_NEW(job);
    j->of = r;
    j->seq = -1;
    j->starts = starts;
    j->n_starts = n_starts;
    return j;
}

static size_t pages_of(size_t tokens) {
    return (tokens + PAGE - 1) / PAGE;
}

static int check_request(const mla_engine *e, const mla_prompt_request *asked, mla_err *err) {
    const size_t context = (size_t)mla_model_get_config(e->model)->max_context;
    MLA_ASSERT(asked->samples > 0 && asked->max_new > 0);
    if (asked->n == 0) return mla_err_set(err, "the prompt is empty; give it a token at least");
    const size_t all = asked->n + (size_t)asked->max_new;
    if (asked->n > context || all > context)
        return mla_err_set(err, "a prompt of %zu tokens and %d new ones do not fit the model's "
                           "context of %zu; shorten the prompt", asked->n, asked->max_new, context);
    if (pages_of(all) > mla_kv_pages_total(e->kv))
        return mla_err_set(err, "a prompt of %zu tokens and %d new ones do not fit the KV cache of "
                           "%zu tokens; give it more memory", asked->n, asked->max_new,
                           mla_kv_pages_total(e->kv) * PAGE);
    return 0;
}

int mla_engine_submit(mla_engine *engine, const mla_prompt_request *asked, size_t number,
                      mla_token_sink on_token, mla_sample_sink on_end, void *ctx, uint64_t *handle,
                      mla_err *err) {
    if (check_request(engine, asked, err)) return -1;
    request *r = make_request(engine, asked);
    r->number = number;
    r->on_token = on_token;
    r->on_end = on_end;
    r->ctx = ctx;
    sequence **starts = MLA_NEW_ARRAY(sequence *, (size_t)asked->samples);
    for (int k = 0; k < asked->samples; k++) starts[k] = make_sequence(r, k);
    job *j = make_job(r, starts, (size_t)asked->samples);
    j->n = asked->n;
    j->ids = copy_of(asked->ids, asked->n * sizeof *asked->ids);
    insert_job(engine, engine->n_jobs, j);
    engine->stats.requests++;
    engine->stats.prompt_tokens += asked->n;
    *handle = r->handle;
    return 0;
}

// ---- pages ------------------------------------------------------------------------------------

static size_t pages_left(const mla_engine *e) {
    return mla_kv_pages_total(e->kv) - mla_kv_pages_used(e->kv);
}

static bool evict(mla_engine *e) {
    if (!mla__radix_evict(e->prefixes)) return false;
    e->stats.evicted_pages++;
    return true;
}

static void park(mla_engine *e, job *j) {
    if (j->seq >= 0) mla_kv_close(e->kv, j->seq);
    j->seq = -1;
    j->done = 0;
}

// Sends the last job that has begun, from place `from` on, back to its beginning.
static bool park_last(mla_engine *e, size_t from) {
    for (size_t at = e->n_jobs; at-- > from;) {
        if (e->jobs[at]->seq < 0) continue;
        park(e, e->jobs[at]);
        return true;
    }
    return false;
}

// Remembers the pages of a running sequence, and lets go of them. The last token was not fed yet.
static void leave_cache(mla_engine *e, sequence *s, const int32_t *ids, size_t n) {
    mla__radix_insert(e->prefixes, ids, n - 1, s->seq);
    mla_kv_close(e->kv, s->seq);
    s->seq = -1;
}

// Sends the youngest sequence back into the queue.
static void preempt_last(mla_engine *e) {
    sequence *s = e->running[--e->n_running], **starts = MLA_NEW_ARRAY(sequence *, 1);
    starts[0] = s;
    job *j = make_job(s->of, starts, 1);
    j->ids = tokens_of(s, &j->n);
    j->counted = true;
    leave_cache(e, s, j->ids, j->n);
    insert_job(e, 0, j);
    e->stats.preempted++;
}

// Pages that those at work may want soon: what is left of the prompts being read, and one for each
// running sequence.
static size_t pages_promised(const mla_engine *e) {
    size_t n = e->n_running;
    for (size_t i = 0; i < e->n_jobs; i++)
        if (e->jobs[i]->seq >= 0) n += pages_of(e->jobs[i]->n) - pages_of(e->jobs[i]->done);
    return n;
}

static bool is_busy(const mla_engine *e) {
    if (e->n_running) return true;
    for (size_t i = 0; i < e->n_jobs; i++)
        if (e->jobs[i]->seq >= 0) return true;
    return false;
}

void mla_engine_forget(mla_engine *engine) {
    mla__radix_forget(engine->prefixes);
}

// New weights: nothing that was computed with the old ones stays. What runs goes on with the new.
static void notice_weights(mla_engine *e) {
    const uint64_t version = mla_model_version(e->model);
    if (version == e->version) return;
    while (park_last(e, 0)) continue;
    while (e->n_running) preempt_last(e);
    mla_engine_forget(e);
    mla_kv_reset(e->kv);
    e->version = version;
}

// ---- drawing ----------------------------------------------------------------------------------

// Room for `rows` of `width`; what was there is lost.
static void reserve_rows(float **data, size_t *cap, size_t rows, int width) {
    if (rows <= *cap) return;
    free(*data);
    *cap = rows;
    *data = mla_alloc_aligned(rows * (size_t)width * sizeof **data);
}

static void reserve_hidden(mla_engine *e, size_t rows) {
    reserve_rows(&e->hidden, &e->cap_hidden, rows, mla_model_get_config(e->model)->dim);
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

static void draw_one(mla_engine *e, sequence *s, const float *logits) {
    const mla_prompt_request *asked = &s->of->asked;
    const mla__sampling how = {asked->temperature, asked->top_k, asked->top_p, asked->min_p};
    const int vocab = mla_model_get_config(e->model)->vocab;
    float *scratch = e->scratch + (size_t)omp_get_thread_num() * (size_t)vocab, logprob;
    int32_t id = mla__sample_token(logits, vocab, &how, mla_rng_uniform(&s->rng), scratch,
                                   &logprob);
    push(s, id, logprob);
    mla__sample_likely(logits, vocab, how.temperature, scratch, s->likely,
                       (size_t)asked->n_likely);
}

// A token for every turn, from the rows of hidden states.
static void draw(mla_engine *e, size_t n_rows) {
    const mla_model_config *c = mla_model_get_config(e->model);
    for (size_t from = 0, at = 0; from < n_rows; from += HEAD_ROWS) {
        const size_t rows = n_rows - from < HEAD_ROWS ? n_rows - from : HEAD_ROWS;
        reserve_rows(&e->logits, &e->cap_logits, rows, c->vocab);
        mla_head_logits(e->model, e->hidden + from * (size_t)c->dim, (int)rows, e->logits);
        size_t end = at;
        while (end < e->n_turns && e->turns[end].row < from + rows) end++;
#pragma omp parallel for schedule(dynamic) num_threads(e->threads) if (end - at > 1)
        for (size_t i = at; i < end; i++)
            draw_one(e, e->turns[i].s,
                     e->logits + (e->turns[i].row - from) * (size_t)c->vocab);
        at = end;
    }
}

static bool is_end(const mla_engine *e, const mla_prompt_request *asked, int32_t id) {
    bool end = id == e->end;
    for (size_t i = 0; i < asked->n_stop; i++) end |= id == asked->stop[i];
    return end;
}

static void finish(mla_engine *e, sequence *s) {
    request *r = s->of;
    size_t n;
    int32_t *ids = tokens_of(s, &n);
    leave_cache(e, s, ids, n);
    free(ids);
    s->over = true;
    mla_sample out = s->out;
    s->out = (mla_sample){0};
    if (r->on_end)
        r->on_end(r->ctx, r->number, s->k, &out);
    else
        mla_sample_clear(&out);
}

static bool is_dropped(const sequence *s) {
    return s->cancelled || s->of->cancelled;
}

// Tells the sinks what was drawn. They may submit and cancel.
static void hand_out(mla_engine *e) {
    for (size_t i = 0; i < e->n_turns; i++) {
        sequence *s = e->turns[i].s;
        request *r = s->of;
        const mla_token token = {.id = s->out.ids[s->out.n - 1],
                                 .logprob = s->out.logprobs[s->out.n - 1],
                                 .likely = s->likely,
                                 .n_likely = (size_t)r->asked.n_likely,
                                 .cached = r->cached};
        e->stats.new_tokens++;
        if (r->on_token && !is_dropped(s)) r->on_token(r->ctx, r->number, s->k, &token);
        if (is_dropped(s)) continue;
        s->out.ended = is_end(e, &r->asked, token.id);
        if (s->out.ended || s->out.n >= (size_t)r->asked.max_new) finish(e, s);
    }
    e->n_turns = 0;
}

// ---- prefill ----------------------------------------------------------------------------------

typedef enum { BEGUN, LATER, FULL } verdict;

// Whether a job at work is about to make pages that this one, with `found` of them, could share.
static bool can_wait_for_another(const mla_engine *e, const job *j, size_t found) {
    for (size_t i = 0; i < e->n_jobs; i++) {
        const job *o = e->jobs[i];
        if (o == j || o->seq < 0) continue;
        const size_t most = (j->n - 1 < o->n ? j->n - 1 : o->n) / PAGE;
        size_t same = 0;
        while (same < most &&
               !memcmp(j->ids + same * PAGE, o->ids + same * PAGE, PAGE * sizeof *j->ids))
            same++;
        if (same > found) return true;
    }
    return false;
}

// Opens the job's sequence on what the prefix cache knows. The last token is always computed: what
// follows is drawn from it.
static verdict begin(mla_engine *e, job *j) {
    const bool busy = is_busy(e);
    int *pages = MLA_NEW_ARRAY(int, pages_of(j->n));
    const size_t found = mla__radix_find(e->prefixes, j->ids, j->n - 1, pages);
    verdict v = BEGUN;
    if (can_wait_for_another(e, j, found)) {
        v = LATER;
    } else {
        const size_t promised = pages_promised(e) + pages_of(j->n) - found;
        j->seq = mla_kv_open_pages(e->kv, pages, found);
        j->done = found * PAGE;
        if (busy && pages_left(e) + mla__radix_evictable(e->prefixes) < promised) {
            park(e, j);
            v = FULL;
        }
    }
    free(pages);
    if (v == BEGUN && !j->counted) e->stats.cached_tokens += j->of->cached = j->done;
    j->counted |= v == BEGUN;
    return v;
}

// Of the job's tokens as many as the budget allows, up to a multiple of a page.
static size_t chunk_of(const job *j, size_t budget) {
    const size_t left = j->n - j->done;
    return left <= budget ? left : budget / PAGE * PAGE;
}

// Until `pages` are left: forgets prefixes, and sends back jobs behind place `at`.
static bool make_room(mla_engine *e, size_t at, size_t pages) {
    while (pages_left(e) < pages)
        if (!evict(e) && !park_last(e, at + 1)) return false;
    return true;
}

// The jobs of this round with their chunks in e->items; returns their number. When a job does not
// fit, those behind it do not begin either, but those that have begun go on.
static size_t choose_jobs(mla_engine *e, job **chosen) {
    size_t budget = CHUNK, pages = 0, n = 0;
    bool full = false;
    for (size_t at = 0; at < e->n_jobs && budget && e->n_running + n < BATCH; at++) {
        job *j = e->jobs[at];
        if (j->seq < 0) {
            const verdict v = full ? FULL : begin(e, j);
            full |= v == FULL;
            if (v != BEGUN) continue;
        }
        const size_t len = chunk_of(j, budget);
        if (!len) break;
        pages += mla_kv_pages_wanted(e->kv, j->seq, (int)len);
        if (!make_room(e, at, pages)) break;
        MLA_GROW(e->items, e->cap_items, n + 1);
        e->items[n] = (mla_extend){.seq = j->seq, .ids = j->ids + j->done, .n = (int)len};
        chosen[n++] = j;
        budget -= len;
    }
    return n;
}

static void start(mla_engine *e, sequence *s, int seq, size_t row) {
    s->seq = seq;
    MLA_GROW(e->running, e->cap_running, e->n_running + 1);
    e->running[e->n_running++] = s;
    MLA_GROW(e->turns, e->cap_turns, e->n_turns + 1);
    e->turns[e->n_turns++] = (turn){s, row};
}

static bool can_fork(mla_engine *e, const job *j) {
    const size_t pages = j->n % PAGE != 0;
    if (e->n_running + 1 >= BATCH) return false;
    if (pages_left(e) + mla__radix_evictable(e->prefixes) < pages + pages_promised(e) + 2)
        return false;
    while (pages_left(e) < pages)
        if (!evict(e)) return false;
    return true;
}

// The job's sequences begin to run, the last one in the job's own place in the cache. Those that do
// not fit wait as a job again, whose pages are now known.
static void start_all(mla_engine *e, job *j, size_t row) {
    size_t i = 0;
    for (; i + 1 < j->n_starts && can_fork(e, j); i++) {
        int seq = mla_kv_open(e->kv, j->seq);
        MLA_ASSERT(seq >= 0);
        start(e, j->starts[i], seq, row);
    }
    start(e, j->starts[i++], j->seq, row);
    j->n_starts -= i;
    memmove(j->starts, j->starts + i, j->n_starts * sizeof *j->starts);
    j->seq = -1;
    j->done = 0;
    if (j->n_starts)
        insert_job(e, 0, j);
    else
        free_job(j);
}

static size_t place_of(const mla_engine *e, const job *j) {
    size_t at = 0;
    while (e->jobs[at] != j) at++;
    return at;
}

// 1 when something was done, 0 when nothing can be, -1.
static int prefill_round(mla_engine *e, mla_err *err) {
    const size_t dim = (size_t)mla_model_get_config(e->model)->dim;
    job *chosen[CHUNK];
    const size_t n = choose_jobs(e, chosen);
    if (!n) return 0;
    reserve_hidden(e, n);
    if (mla_transformer_extend(e->model, e->kv, e->items, (int)n, e->hidden, err)) return -1;
    size_t rows = 0;
    for (size_t i = 0; i < n; i++) {
        job *j = chosen[i];
        j->done += (size_t)e->items[i].n;
        mla__radix_insert(e->prefixes, j->ids, j->done, j->seq);
        if (j->done < j->n) continue;
        memmove(e->hidden + rows * dim, e->hidden + i * dim, dim * sizeof *e->hidden);
        remove_job(e, place_of(e, j));
        start_all(e, j, rows++);
    }
    draw(e, rows);
    hand_out(e);
    return 1;
}

// ---- decoding ---------------------------------------------------------------------------------

static size_t pages_to_decode(const mla_engine *e) {
    size_t n = 0;
    for (size_t i = 0; i < e->n_running; i++)
        n += mla_kv_pages_wanted(e->kv, e->running[i]->seq, 1);
    return n;
}

static int decode_round(mla_engine *e, mla_err *err) {
    while (pages_left(e) < pages_to_decode(e)) {
        if (evict(e) || park_last(e, 0)) continue;
        MLA_ASSERT(e->n_running > 1);
        preempt_last(e);
    }
    const size_t n = e->n_running;
    reserve_hidden(e, n);
    MLA_GROW(e->items, e->cap_items, n);
    MLA_GROW(e->turns, e->cap_turns, n);
    for (size_t i = 0; i < n; i++) {
        sequence *s = e->running[i];
        e->items[i] = (mla_extend){.seq = s->seq, .ids = &s->out.ids[s->out.n - 1], .n = 1};
        e->turns[e->n_turns++] = (turn){s, i};
    }
    if (mla_transformer_extend(e->model, e->kv, e->items, (int)n, e->hidden, err)) {
        e->n_turns = 0;
        return -1;
    }
    draw(e, n);
    hand_out(e);
    return 1;
}

// ---- leaving ----------------------------------------------------------------------------------

static void drop_job(mla_engine *e, size_t at) {
    job *j = e->jobs[at];
    park(e, j);
    for (size_t i = 0; i < j->n_starts; i++) free_sequence(j->starts[i]);
    free_job(j);
    remove_job(e, at);
}

// What of a job was cancelled: its sequences, and with the last of them the job.
static void thin_job(mla_engine *e, size_t at) {
    job *j = e->jobs[at];
    size_t kept = 0;
    for (size_t i = 0; i < j->n_starts; i++) {
        if (j->starts[i]->cancelled)
            free_sequence(j->starts[i]);
        else
            j->starts[kept++] = j->starts[i];
    }
    j->n_starts = kept;
    if (!kept) drop_job(e, at);
}

// A sequence that a sink or its client ended leaves its pages behind, like one that ended by
// itself; of a request that nobody wants any more nothing is kept.
static void let_go(mla_engine *e, sequence *s) {
    size_t n;
    if (!s->over && s->of->cancelled) {
        mla_kv_close(e->kv, s->seq);
    } else if (!s->over) {
        int32_t *ids = tokens_of(s, &n);
        leave_cache(e, s, ids, n);
        free(ids);
    }
    free_sequence(s);
}

// Lets go of what has ended or was cancelled, and closes the ranks.
static void sweep(mla_engine *e) {
    for (size_t at = e->n_jobs; at-- > 0;) {
        if (e->jobs[at]->of->cancelled)
            drop_job(e, at);
        else
            thin_job(e, at);
    }
    size_t kept = 0;
    for (size_t i = 0; i < e->n_running; i++) {
        sequence *s = e->running[i];
        if (s->over || is_dropped(s))
            let_go(e, s);
        else
            e->running[kept++] = s;
    }
    e->n_running = kept;
}

static request *find_request(const mla_engine *e, uint64_t handle) {
    for (size_t i = 0; i < e->n_jobs; i++)
        if (e->jobs[i]->of->handle == handle) return e->jobs[i]->of;
    for (size_t i = 0; i < e->n_running; i++)
        if (e->running[i]->of->handle == handle) return e->running[i]->of;
    return NULL;
}

void mla_engine_cancel(mla_engine *engine, uint64_t handle) {
    request *r = find_request(engine, handle);
    if (!r || r->cancelled) return;
    r->cancelled = true;
    engine->stats.cancelled++;
    if (!engine->stepping) sweep(engine);    // within a step its end does
}

static sequence *find_sample(const mla_engine *e, uint64_t handle, int k) {
    for (size_t i = 0; i < e->n_jobs; i++)
        for (size_t at = 0; at < e->jobs[i]->n_starts; at++) {
            sequence *s = e->jobs[i]->starts[at];
            if (s->of->handle == handle && s->k == k) return s;
        }
    for (size_t i = 0; i < e->n_running; i++)
        if (e->running[i]->of->handle == handle && e->running[i]->k == k) return e->running[i];
    return NULL;
}

void mla_engine_cancel_sample(mla_engine *engine, uint64_t handle, int sample) {
    sequence *s = find_sample(engine, handle, sample);
    if (!s || s->over) return;
    s->cancelled = true;
    if (!engine->stepping) sweep(engine);
}

void mla_engine_free(mla_engine *engine) {
    if (!engine) return;
    for (size_t i = 0; i < engine->n_jobs; i++) engine->jobs[i]->of->cancelled = true;
    for (size_t i = 0; i < engine->n_running; i++) engine->running[i]->of->cancelled = true;
    sweep(engine);
    mla__radix_free(engine->prefixes);
    mla_kv_free(engine->kv);
    free(engine->jobs);
    free(engine->running);
    free(engine->turns);
    free(engine->items);
    free(engine->hidden);
    free(engine->logits);
    free(engine->scratch);
    free(engine);
}

// ---- rounds -----------------------------------------------------------------------------------

int mla_engine_step(mla_engine *engine, mla_err *err) {
    mla_engine *e = engine;
    MLA_ASSERT(!e->stepping);
    e->stepping = true;
    notice_weights(e);
    int did = 0;
    if (e->n_jobs && !(e->decode_next && e->n_running)) did = prefill_round(e, err);
    e->decode_next = did > 0;
    if (did == 0 && e->n_running) did = decode_round(e, err);
    e->stepping = false;
    sweep(e);
    if (did < 0) return -1;
    MLA_ASSERT(did || !e->n_jobs);
    return e->n_jobs || e->n_running;
}

mla_engine_stats mla_engine_get_stats(const mla_engine *engine) {
    mla_engine_stats stats = engine->stats;
    stats.running = engine->n_running;
    stats.waiting = engine->n_jobs;
    stats.pages_used = mla_kv_pages_used(engine->kv);
    stats.pages_total = mla_kv_pages_total(engine->kv);
    return stats;
}
