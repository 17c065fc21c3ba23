// The engine on tiny random models: a sample is the same to the bit alone, in a crowd, over a
// cached prefix and under a ceiling that makes sequences give way; caches do not outlive their
// weights, and no page is lost.
#include <omp.h>

#include "model_fixture.h"
#include "policy/internal.h"

enum { END = VOCAB - 1, PROMPTS = 8, SAMPLES_MAX = 4, NEW_MAX = 100, PAGE = MLA_KV_PAGE };

typedef struct result {
    mla_sample samples[SAMPLES_MAX];
    int ended;
    int32_t told[SAMPLES_MAX][NEW_MAX]; // what the token sink was told
    int n_told[SAMPLES_MAX];
    size_t cached;
} result;

static int32_t prompts[PROMPTS][400];
static mla_prompt_request requests[PROMPTS];

// Prompts that share heads of many lengths: whole pages and parts of them, and one that is
// another's beginning, to the end of a page.
static void make_requests(void) {
    static const int lengths[PROMPTS] = {200, 192, 230, 61, 130, 128, 300, 333};
    static const int shared[PROMPTS] = {0, 192, 150, 0, 64, 128, 199, 300};
    static const int twin[PROMPTS] = {0, 0, 0, 3, 0, 0, 0, 6};
    for (int i = 0; i < PROMPTS; i++) {
        for (int k = 0; k < lengths[i]; k++)
            prompts[i][k] =
                k < shared[i] ? prompts[twin[i]][k] : (k * 29 + i * 17 + k * k % 11) % (VOCAB - 1);
        requests[i] = (mla_prompt_request){.ids = prompts[i],
                                           .n = (size_t)lengths[i],
                                           .samples = 1 + i % SAMPLES_MAX,
                                           .max_new = i == 5 ? NEW_MAX : 12 + 8 * i,
                                           .temperature = i == 4 ? 0 : 0.7f + 0.1f * (float)i,
                                           .seed = (uint64_t)i + 40};
    }
    requests[2].top_k = 20;
    requests[3].top_p = 0.9f;
    requests[6].min_p = 0.02f;
}

static void take_token(void *ctx, size_t request, int k, const mla_token *token) {
    result *r = &((result *)ctx)[request];
    assert_true(token->logprob <= 1e-6f && r->n_told[k] < NEW_MAX);
    assert_null(r->samples[k].ids);
    r->told[k][r->n_told[k]++] = token->id;
    r->cached = token->cached;
}

static void take_sample(void *ctx, size_t request, int k, mla_sample *take) {
    result *r = &((result *)ctx)[request];
    assert_null(r->samples[k].ids);
    assert_int_equal(take->n, r->n_told[k]);
    assert_memory_equal(take->ids, r->told[k], take->n * sizeof *take->ids);
    r->samples[k] = *take;
    r->ended++;
    *take = (mla_sample){0};
}

static uint64_t submit(mla_engine *e, const mla_prompt_request *r, size_t at, result *out) {
    uint64_t handle;
    mla_err err;
    if (mla_engine_submit(e, r, at, take_token, take_sample, out, &handle, &err))
        fail_msg("%s", err.text);
    return handle;
}

static int step(mla_engine *e) {
    mla_err err;
    int rc = mla_engine_step(e, &err);
    if (rc < 0) fail_msg("%s", err.text);
    mla_engine_stats s = mla_engine_get_stats(e);
    assert_true(s.pages_used <= s.pages_total && s.cached_tokens <= s.prompt_tokens);
    return rc;
}

static void run(mla_engine *e) {
    while (step(e)) continue;
}

static void clear(result *r, size_t n) {
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < SAMPLES_MAX; k++) mla_sample_clear(&r[i].samples[k]);
    memset(r, 0, n * sizeof *r);
}

static void assert_same(const result *got, const result *want, int samples) {
    assert_int_equal(got->ended, samples);
    for (int k = 0; k < samples; k++) {
        const mla_sample *g = &got->samples[k], *w = &want->samples[k];
        assert_int_equal(g->n, w->n);
        assert_int_equal(g->ended, w->ended);
        assert_memory_equal(g->ids, w->ids, w->n * sizeof *w->ids);
        assert_memory_equal(g->logprobs, w->logprobs, w->n * sizeof *w->logprobs);
    }
}

static size_t page_bytes(const mla_model *m) {
    mla_kv *kv = mla_kv_create(m, 1 << 20);
    size_t bytes = kv->page_bytes;
    mla_kv_free(kv);
    return bytes;
}

static mla_engine *engine_of(const mla_model *m, size_t pages) {
    return mla__engine_create(m, END, pages * page_bytes(m));
}

// Nothing is held once what is remembered was forgotten.
static void assert_no_page_is_lost(mla_engine *e) {
    mla_engine_stats s = mla_engine_get_stats(e);
    assert_int_equal(s.running + s.waiting, 0);
    mla_engine_forget(e);
    assert_int_equal(mla_engine_get_stats(e).pages_used, 0);
}

// Every request in an engine of its own.
static void run_alone(const mla_model *m, result *out) {
    for (size_t i = 0; i < PROMPTS; i++) {
        mla_engine *e = engine_of(m, 100);
        submit(e, &requests[i], i, out);
        run(e);
        assert_int_equal(mla_engine_get_stats(e).cached_tokens, 0);
        assert_no_page_is_lost(e);
        mla_engine_free(e);
    }
}

static void assert_all_same(const result *got, const result *want) {
    for (size_t i = 0; i < PROMPTS; i++) assert_same(&got[i], &want[i], requests[i].samples);
}

static void check_crowd(const mla_model *m, const result *alone) {
    static result got[PROMPTS];
    mla_engine *e = engine_of(m, 200);
    for (size_t i = 0; i < PROMPTS; i++) submit(e, &requests[i], i, got);
    run(e);
    assert_all_same(got, alone);
    mla_engine_stats s = mla_engine_get_stats(e);
    // The whole pages of what prompts 1, 2, 4, 5, 6 and 7 share. 1 and 5 are shared to their end
    // and lack a page here: a prompt's last token is always computed.
    assert_int_equal(s.cached_tokens, 128 + 128 + 64 + 64 + 192 + 256);
    assert_int_equal(s.evicted_pages + s.preempted, 0);
    // Once more, backwards: now every prompt is known.
    clear(got, PROMPTS);
    for (size_t i = PROMPTS; i-- > 0;) submit(e, &requests[i], i, got);
    run(e);
    assert_all_same(got, alone);
    size_t known = 0;
    for (size_t i = 0; i < PROMPTS; i++) known += (requests[i].n - 1) / PAGE * PAGE;
    assert_int_equal(mla_engine_get_stats(e).cached_tokens - s.cached_tokens, known);
    for (size_t i = 0; i < PROMPTS; i++)
        assert_int_equal(got[i].cached, (requests[i].n - 1) / PAGE * PAGE);
    assert_no_page_is_lost(e);
    mla_engine_free(e);
    clear(got, PROMPTS);
}

// Requests that come while others run.
static void check_joining(const mla_model *m, const result *alone) {
    static result got[PROMPTS];
    mla_engine *e = engine_of(m, 200);
    for (size_t i = 0; i < PROMPTS; i++) {
        submit(e, &requests[(i * 3) % PROMPTS], (i * 3) % PROMPTS, got);
        for (size_t k = 0; k < 5 * i; k++) step(e);
    }
    run(e);
    assert_all_same(got, alone);
    assert_no_page_is_lost(e);
    mla_engine_free(e);
    clear(got, PROMPTS);
}

// The smallest cache that every request fits alone, and some larger ones.
static void check_pressure(const mla_model *m, const result *alone) {
    static result got[PROMPTS];
    uint64_t evicted = 0, preempted = 0;
    for (size_t pages = 7; pages <= 19; pages += 6) {
        mla_engine *e = engine_of(m, pages);
        for (size_t i = 0; i < PROMPTS; i++) submit(e, &requests[i], i, got);
        run(e);
        assert_all_same(got, alone);
        evicted += mla_engine_get_stats(e).evicted_pages;
        preempted += mla_engine_get_stats(e).preempted;
        assert_no_page_is_lost(e);
        mla_engine_free(e);
        clear(got, PROMPTS);
    }
    assert_true(evicted > 0 && preempted > 0);
}

// For one number of threads: with AVX2 alone a product's sums may depend on how many there are.
static void a_sample_depends_on_its_request_alone(void **state) {
    (void)state;
    static result alone[PROMPTS];
    omp_set_num_threads(2);
    for (int bf16 = 0; bf16 <= (mla_compute_best() == MLA_COMPUTE_BF16); bf16++) {
        mla_model *m = formula_model(bf16 ? &qwen2_untied : &llama_tied,
                                     bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32);
        run_alone(m, alone);
        check_crowd(m, alone);
        check_joining(m, alone);
        check_pressure(m, alone);
        clear(alone, PROMPTS);
        mla_model_free(m);
    }
    omp_set_num_threads(1);
}

// Requests come, are cancelled and end in an order drawn by lot, in a cache that is too small; what
// comes to its end is what it would be alone.
static void nothing_is_lost_in_a_long_and_crowded_life(void **state) {
    (void)state;
    enum { LIFE = 40 };
    static result alone[PROMPTS], got[LIFE];
    mla_model *m = formula_model(&llama_untied, mla_compute_best());
    run_alone(m, alone);
    mla_engine *e = engine_of(m, 14);
    mla_rng rng;
    mla_rng_init(&rng, 3);
    uint64_t handles[LIFE];
    size_t which[LIFE], cancelled = 0, whole = 0;
    for (size_t i = 0; i < LIFE; i++) {
        which[i] = mla_rng_below(&rng, PROMPTS);
        handles[i] = submit(e, &requests[which[i]], i, got);
        for (uint64_t k = mla_rng_below(&rng, 40); k > 0; k--) step(e);
        if (mla_rng_below(&rng, 3) == 0)
            mla_engine_cancel(e, handles[i - mla_rng_below(&rng, i < 4 ? i + 1 : 4)]);
        if (mla_rng_below(&rng, 9) == 0) mla_engine_forget(e);
    }
    run(e);
    for (size_t i = 0; i < LIFE; i++) {
        if (got[i].ended == requests[which[i]].samples) {
            assert_same(&got[i], &alone[which[i]], requests[which[i]].samples);
            whole++;
        }
    }
    cancelled = mla_engine_get_stats(e).cancelled;
    assert_true(cancelled > 5);
    assert_int_equal(whole, LIFE - cancelled);
    assert_no_page_is_lost(e);
    mla_engine_free(e);
    mla_model_free(m);
    clear(got, LIFE);
    clear(alone, PROMPTS);
}

static void change_weights(mla_model *m) {
    float *q = mla_model_param(m, 2)->data;
    for (size_t i = 0; i < 64; i++) q[i] += 0.3f;
    mla_model_refresh(m);
}

static void new_weights_make_every_prefix_unknown(void **state) {
    (void)state;
    static result before[PROMPTS], after[PROMPTS], fresh[PROMPTS];
    mla_model *m = formula_model(&llama_tied, mla_compute_best());
    mla_engine *e = engine_of(m, 200);
    submit(e, &requests[7], 7, before);
    run(e);
    change_weights(m);
    submit(e, &requests[7], 7, after);
    run(e);
    assert_int_equal(mla_engine_get_stats(e).cached_tokens, 0);
    mla_engine *other = engine_of(m, 200);
    submit(other, &requests[7], 7, fresh);
    run(other);
    assert_same(&after[7], &fresh[7], requests[7].samples);
    assert_true(memcmp(before[7].samples[0].logprobs, after[7].samples[0].logprobs,
                       5 * sizeof(float)) != 0);
    assert_no_page_is_lost(e);
    mla_engine_free(other);
    mla_engine_free(e);
    mla_model_free(m);
    clear(before, PROMPTS);
    clear(after, PROMPTS);
    clear(fresh, PROMPTS);
}

// Sequences in flight keep what they have and go on under the new weights: from there on they are
// what a prompt of the same tokens gives.
static void running_sequences_go_on_with_new_weights(void **state) {
    (void)state;
    static result got[PROMPTS], want[PROMPTS];
    mla_model *m = formula_model(&qwen2_tied, mla_compute_best());
    mla_engine *e = engine_of(m, 200);
    mla_prompt_request r = requests[7];
    r.temperature = 0;
    r.samples = 1;
    submit(e, &r, 0, got);
    while (got[0].n_told[0] < 30) assert_int_equal(step(e), 1);
    change_weights(m);
    run(e);
    assert_int_equal(got[0].ended, 1);
    int32_t ids[400];
    memcpy(ids, r.ids, r.n * sizeof *ids);
    memcpy(ids + r.n, got[0].told[0], 30 * sizeof *ids);
    mla_prompt_request rest = r;
    rest.ids = ids;
    rest.n = r.n + 30;
    rest.max_new = r.max_new - 30;
    mla_engine *other = engine_of(m, 200);
    submit(other, &rest, 0, want);
    run(other);
    assert_int_equal(got[0].samples[0].n, want[0].samples[0].n + 30);
    assert_memory_equal(got[0].samples[0].ids + 30, want[0].samples[0].ids,
                        want[0].samples[0].n * sizeof *ids);
    assert_memory_equal(got[0].samples[0].logprobs + 30, want[0].samples[0].logprobs,
                        want[0].samples[0].n * sizeof(float));
    assert_no_page_is_lost(e);
    mla_engine_free(other);
    mla_engine_free(e);
    mla_model_free(m);
    clear(got, PROMPTS);
    clear(want, PROMPTS);
}

typedef struct chain { // a sink that cancels and submits
    mla_engine *engine;
    uint64_t handle;
    int tokens, submitted, ends;
} chain;

static void cancel_at_third(void *ctx, size_t request, int k, const mla_token *token) {
    (void)request, (void)k, (void)token;
    chain *c = ctx;
    if (++c->tokens == 3) mla_engine_cancel(c->engine, c->handle);
}

static void must_not_end(void *ctx, size_t request, int k, mla_sample *take) {
    (void)ctx, (void)request, (void)k, (void)take;
    fail_msg("a cancelled request came to an end");
}

static void submit_another(void *ctx, size_t request, int k, mla_sample *take) {
    (void)request, (void)k;
    chain *c = ctx;
    mla_err err;
    mla_sample_clear(take);
    c->ends++;
    if (c->submitted++ < 3)
        assert_int_equal(mla_engine_submit(c->engine, &requests[3], 0, NULL, submit_another, c,
                                           &c->handle, &err), 0);
}

static void sinks_may_cancel_and_submit(void **state) {
    (void)state;
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    chain c = {.engine = engine_of(m, 100)};
    mla_err err;
    assert_int_equal(mla_engine_submit(c.engine, &requests[6], 0, cancel_at_third, must_not_end, &c,
                                       &c.handle, &err), 0);
    run(c.engine);
    assert_int_equal(c.tokens, 3); // its three samples have a token each by then
    assert_int_equal(mla_engine_get_stats(c.engine).cancelled, 1);
    assert_no_page_is_lost(c.engine);
    mla_prompt_request one = requests[3];
    one.samples = 1;
    assert_int_equal(
        mla_engine_submit(c.engine, &one, 0, NULL, submit_another, &c, &c.handle, &err), 0);
    run(c.engine);
    assert_int_equal(c.ends, 1 + 3 * requests[3].samples);
    assert_no_page_is_lost(c.engine);
    mla_engine_free(c.engine);
    mla_model_free(m);
}

static void cancelling_frees_pages(void **state) {
    (void)state;
    static result got[PROMPTS];
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    mla_engine *e = engine_of(m, 100);
    uint64_t handles[PROMPTS];
    for (size_t i = 0; i < PROMPTS; i++) handles[i] = submit(e, &requests[i], i, got);
    for (int i = 0; i < 3; i++) step(e);
    assert_true(mla_engine_get_stats(e).pages_used > 0 && mla_engine_get_stats(e).waiting > 0);
    for (size_t i = 0; i < PROMPTS; i++) mla_engine_cancel(e, handles[i]);
    mla_engine_cancel(e, handles[0]);
    mla_engine_cancel(e, 123456);
    assert_int_equal(mla_engine_get_stats(e).cancelled, PROMPTS);
    assert_int_equal(step(e), 0);
    assert_no_page_is_lost(e);
    // An engine that is let go in the middle of its work.
    for (size_t i = 0; i < PROMPTS; i++) submit(e, &requests[i], i, got);
    for (int i = 0; i < 4; i++) step(e);
    mla_engine_free(e);
    mla_model_free(m);
    clear(got, PROMPTS);
}

// ---- single samples ---------------------------------------------------------------------------

typedef struct cut { // a sink that ends sample k after limits[k] tokens
    mla_engine *engine;
    uint64_t handle;
    int limits[SAMPLES_MAX];
    result got[PROMPTS];
} cut;

static void take_token_and_cut(void *ctx, size_t request, int k, const mla_token *token) {
    cut *c = ctx;
    take_token(c->got, request, k, token);
    if (c->got[request].n_told[k] == c->limits[k])
        mla_engine_cancel_sample(c->engine, c->handle, k);
}

static void take_cut_sample(void *ctx, size_t request, int k, mla_sample *take) {
    cut *c = ctx;
    assert_true(!c->limits[k] || (int)take->n < c->limits[k]);
    take_sample(c->got, request, k, take);
}

static void submit_cut(cut *c, const mla_prompt_request *r) {
    mla_err err;
    assert_int_equal(mla_engine_submit(c->engine, r, 0, take_token_and_cut, take_cut_sample, c,
                                       &c->handle, &err), 0);
}

// Not a token is computed for a sample that was cut; the others are what they are without that.
static void one_sample_may_be_cancelled(void **state) {
    (void)state;
    static result alone[PROMPTS];
    static cut c;
    mla_model *m = formula_model(&llama_tied, mla_compute_best());
    c = (cut){.engine = engine_of(m, 100), .limits = {0, 1, 7, 70}};
    mla_engine *other = engine_of(m, 100);
    submit(other, &requests[7], 0, alone);
    run(other);
    submit_cut(&c, &requests[7]);
    run(c.engine);
    size_t told = 0;
    for (int k = 0; k < SAMPLES_MAX; k++) {
        const mla_sample *want = &alone[0].samples[k];
        const int n = c.got[0].n_told[k], limit = c.limits[k];
        const bool cut_short = limit && limit <= (int)want->n;
        assert_int_equal(n, cut_short ? limit : (int)want->n);
        assert_int_equal(c.got[0].samples[k].ids == NULL, cut_short);
        assert_memory_equal(c.got[0].told[k], want->ids, (size_t)n * sizeof *want->ids);
        told += (size_t)n;
    }
    assert_null(c.got[0].samples[1].ids);
    assert_null(c.got[0].samples[2].ids);
    assert_int_equal(mla_engine_get_stats(c.engine).new_tokens, told);
    assert_int_equal(mla_engine_get_stats(c.engine).cancelled, 0);
    assert_no_page_is_lost(c.engine);
    mla_engine_free(other);
    mla_engine_free(c.engine);
    mla_model_free(m);
    clear(c.got, PROMPTS);
    clear(alone, PROMPTS);
}

// A sample that is cut leaves its pages for who goes on from there, as one that ends does.
static void a_sample_that_was_cut_is_remembered(void **state) {
    (void)state;
    enum { CUT = 25 }; // its fifth page is full by then
    static cut c;
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    c = (cut){.engine = mla__engine_create(m, -1, 1 << 24), .limits = {CUT}};
    mla_prompt_request r = requests[6];
    r.samples = 1;
    submit_cut(&c, &r);
    run(c.engine);
    assert_int_equal(c.got[0].n_told[0], CUT);
    int32_t ids[400];
    memcpy(ids, r.ids, r.n * sizeof *ids);
    memcpy(ids + r.n, c.got[0].told[0], CUT * sizeof *ids);
    r.ids = ids;
    r.n += CUT;
    r.max_new = 1;
    clear(c.got, PROMPTS);
    submit_cut(&c, &r);
    run(c.engine);
    assert_int_equal(c.got[0].cached, 5 * PAGE);
    assert_no_page_is_lost(c.engine);
    mla_engine_free(c.engine);
    mla_model_free(m);
    clear(c.got, PROMPTS);
}

// Samples are cancelled while they wait, while their prompt is read and while they run.
static void samples_may_be_cancelled_at_any_time(void **state) {
    (void)state;
    enum { LIFE = 30 };
    static result alone[PROMPTS], got[LIFE];
    mla_model *m = formula_model(&llama_untied, mla_compute_best());
    run_alone(m, alone);
    mla_engine *e = engine_of(m, 14);
    mla_rng rng;
    mla_rng_init(&rng, 5);
    uint64_t handles[LIFE];
    size_t which[LIFE];
    bool dropped[LIFE][SAMPLES_MAX] = {{false}};
    for (size_t i = 0; i < LIFE; i++) {
        which[i] = mla_rng_below(&rng, PROMPTS);
        handles[i] = submit(e, &requests[which[i]], i, got);
        for (uint64_t k = mla_rng_below(&rng, 30); k > 0; k--) step(e);
        const size_t at = i - mla_rng_below(&rng, i < 4 ? i + 1 : 4);
        const int k = (int)mla_rng_below(&rng, SAMPLES_MAX);
        dropped[at][k] = true;
        mla_engine_cancel_sample(e, handles[at], k); // which may have ended, or not exist
    }
    run(e);
    size_t missing = 0;
    for (size_t i = 0; i < LIFE; i++) {
        for (int k = 0; k < requests[which[i]].samples; k++) {
            const mla_sample *g = &got[i].samples[k], *w = &alone[which[i]].samples[k];
            assert_true(g->ids || dropped[i][k]);
            missing += !g->ids;
            if (!g->ids) continue;
            assert_int_equal(g->n, w->n);
            assert_memory_equal(g->ids, w->ids, w->n * sizeof *w->ids);
        }
    }
    assert_true(missing > 5);
    // A request without a sample left is gone.
    clear(got, LIFE);
    handles[0] = submit(e, &requests[7], 0, got);
    step(e);
    for (int k = 0; k < SAMPLES_MAX; k++) mla_engine_cancel_sample(e, handles[0], k);
    assert_int_equal(step(e), 0);
    assert_no_page_is_lost(e);
    mla_engine_free(e);
    mla_model_free(m);
    clear(got, LIFE);
    clear(alone, PROMPTS);
}

// ---- likely tokens ----------------------------------------------------------------------------

enum { LIKELY = 20 };

typedef struct witness {
    int tokens, listed; // listed: tokens that were among the likely ones
} witness;

static void look_at_likely(void *ctx, size_t request, int k, const mla_token *token) {
    witness *w = ctx;
    double mass = 0;
    (void)k;
    assert_int_equal(token->n_likely, LIKELY);
    for (size_t i = 0; i < LIKELY; i++) {
        const mla_likely *a = &token->likely[i];
        mass += exp((double)a->logprob);
        if (i) assert_true(a[-1].logprob >= a->logprob);
        if (a->id != token->id) continue;
        assert_memory_equal(&a->logprob, &token->logprob, sizeof a->logprob);
        w->listed++;
    }
    assert_true(mass < 1 + 1e-5 && token->logprob <= token->likely[0].logprob);
    if (requests[request].temperature <= 0) assert_int_equal(token->id, token->likely[0].id);
    w->tokens++;
}

static void likely_tokens_come_with_each_token(void **state) {
    (void)state;
    static result want[PROMPTS], got[PROMPTS];
    mla_model *m = formula_model(&llama_tied, mla_compute_best());
    mla_engine *e = engine_of(m, 200);
    witness w = {0};
    uint64_t handle;
    mla_err err;
    for (size_t i = 0; i < PROMPTS; i++) {
        mla_prompt_request r = requests[i];
        r.n_likely = LIKELY;
        assert_int_equal(mla_engine_submit(e, &r, i, look_at_likely, NULL, &w, &handle, &err), 0);
        submit(e, &requests[i], i, want);
        r.n_likely = 3;
        submit(e, &r, i, got);
    }
    run(e);
    assert_all_same(got, want); // asking does not change what is sampled
    size_t tokens = 0;
    for (size_t i = 0; i < PROMPTS; i++)
        for (int k = 0; k < requests[i].samples; k++) tokens += want[i].samples[k].n;
    assert_int_equal(w.tokens, tokens);
    assert_true(w.listed > w.tokens / 4);
    mla_engine_free(e);
    mla_model_free(m);
    clear(want, PROMPTS);
    clear(got, PROMPTS);
}

static void stop_tokens_end_a_sample(void **state) {
    (void)state;
    static result free_run[PROMPTS], got[PROMPTS];
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    mla_engine *e = engine_of(m, 100);
    submit(e, &requests[1], 0, free_run);
    run(e);
    const mla_sample *all = &free_run[0].samples[0];
    const int32_t stop[2] = {all->ids[9], END};
    size_t first = 0;
    while (all->ids[first] != stop[0]) first++;
    mla_prompt_request r = requests[1];
    r.stop = stop;
    r.n_stop = 2;
    r.samples = 1;
    submit(e, &r, 0, got);
    run(e);
    assert_int_equal(got[0].samples[0].n, first + 1);
    assert_true(got[0].samples[0].ended);
    assert_memory_equal(got[0].samples[0].ids, all->ids, (first + 1) * sizeof *all->ids);
    mla_engine_free(e);
    mla_model_free(m);
    clear(got, PROMPTS);
    clear(free_run, PROMPTS);
}

static void impossible_requests_are_refused(void **state) {
    (void)state;
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    mla_engine *e = engine_of(m, 5);
    uint64_t handle;
    mla_err err;
    mla_prompt_request r = requests[3];
    r.n = 0;
    assert_int_equal(mla_engine_submit(e, &r, 0, NULL, NULL, NULL, &handle, &err), -1);
    assert_non_null(strstr(err.text, "empty"));
    r = requests[7];
    r.max_new = 512;
    assert_int_equal(mla_engine_submit(e, &r, 0, NULL, NULL, NULL, &handle, &err), -1);
    assert_non_null(strstr(err.text, "context"));
    r.max_new = 20;
    assert_int_equal(mla_engine_submit(e, &r, 0, NULL, NULL, NULL, &handle, &err), -1);
    assert_non_null(strstr(err.text, "KV cache"));
    assert_int_equal(step(e), 0);
    assert_int_equal(mla_engine_get_stats(e).requests, 0);
    mla_engine_free(e);
    mla_model_free(m);
}

// Log-probabilities are those of the training forward, at the temperature, whatever the cuts.
static void logprobs_are_those_of_the_training_forward(void **state) {
    (void)state;
    static result got[PROMPTS];
    mla_model *m = formula_model(&qwen2_tied, MLA_COMPUTE_F32);
    mla_engine *e = engine_of(m, 200);
    for (size_t i = 0; i < PROMPTS; i++) submit(e, &requests[i], i, got);
    run(e);
    mla_activations *acts = mla_activations_create(m);
    for (size_t i = 0; i < PROMPTS; i++) {
        if (requests[i].temperature <= 0) continue;
        const mla_sample *s = &got[i].samples[0];
        int32_t ids[512];
        int rows[NEW_MAX], n = (int)requests[i].n;
        float logprobs[NEW_MAX];
        memcpy(ids, requests[i].ids, requests[i].n * sizeof *ids);
        memcpy(ids + n, s->ids, s->n * sizeof *ids);
        for (int k = 0; k < (int)s->n; k++) rows[k] = n - 1 + k;
        const mla_segment all = {0, n + (int)s->n, -1};
        const mla_token_batch batch = {ids, all.len, &all, 1};
        const mla_head_rows at = {rows, s->ids, (int)s->n, requests[i].temperature};
        mla_transformer_forward(m, &batch, acts, false);
        mla_head_forward(m, acts, &at, logprobs, NULL);
        assert_close("log-probabilities", s->logprobs, logprobs, s->n, 1e-5);
    }
    mla_activations_free(acts);
    mla_engine_free(e);
    mla_model_free(m);
    clear(got, PROMPTS);
}

// ---- the tree ---------------------------------------------------------------------------------

static void put(mla_kv *kv, const mla_model *m, mla__radix *tree, const int32_t *ids, int n) {
    float hidden[64];
    mla_err err;
    int seq = mla_kv_open(kv, -1);
    const mla_extend item = {seq, ids, n};
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), 0);
    mla__radix_insert(tree, ids, (size_t)n, seq);
    mla_kv_close(kv, seq);
}

static void the_least_recently_used_leaf_goes_first(void **state) {
    (void)state;
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    mla_kv *kv = mla_kv_create(m, 1 << 24);
    mla__radix *tree = mla__radix_create(kv);
    int32_t a[4 * PAGE], b[4 * PAGE];
    int pages[8];
    for (int i = 0; i < 4 * PAGE; i++) a[i] = i % 50, b[i] = i < 2 * PAGE ? i % 50 : i % 40;
    put(kv, m, tree, a, 3 * PAGE + 10);
    put(kv, m, tree, b, 4 * PAGE);
    assert_int_equal(mla_kv_pages_used(kv), 5); // two shared, one of a, two of b
    assert_int_equal(mla__radix_evictable(tree), 5);
    assert_int_equal(mla__radix_find(tree, b, 4 * PAGE - 1, pages), 3);
    assert_int_equal(mla__radix_find(tree, a, 4 * PAGE, pages), 3);
    // Who holds the third page of a holds the two before it too.
    int seq = mla_kv_open_pages(kv, pages, 3);
    assert_int_equal(mla__radix_evictable(tree), 2);
    assert_true(mla__radix_evict(tree));
    assert_int_equal(mla__radix_find(tree, b, 4 * PAGE, pages), 3);
    assert_true(mla__radix_evict(tree));
    assert_int_equal(mla__radix_find(tree, b, 4 * PAGE, pages), 2);
    assert_false(mla__radix_evict(tree));
    mla_kv_close(kv, seq);
    assert_int_equal(mla__radix_evictable(tree), 3);
    put(kv, m, tree, b, 4 * PAGE);
    assert_int_equal(mla__radix_find(tree, a, 3 * PAGE, pages), 3);
    assert_true(mla__radix_evict(tree)); // b was used longer ago
    assert_int_equal(mla__radix_find(tree, b, 4 * PAGE, pages), 3);
    assert_int_equal(mla__radix_find(tree, a, 4 * PAGE, pages), 3);
    mla__radix_forget(tree);
    assert_int_equal(mla_kv_pages_used(kv), 0);
    assert_int_equal(mla__radix_find(tree, a, 4 * PAGE, pages), 0);
    mla__radix_free(tree);
    mla_kv_free(kv);
    mla_model_free(m);
}

int main(void) {
    make_requests();
    omp_set_num_threads(1); // models this small only wait for their threads
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sample_depends_on_its_request_alone),
        cmocka_unit_test(nothing_is_lost_in_a_long_and_crowded_life),
        cmocka_unit_test(new_weights_make_every_prefix_unknown),
        cmocka_unit_test(running_sequences_go_on_with_new_weights),
        cmocka_unit_test(sinks_may_cancel_and_submit),
        cmocka_unit_test(cancelling_frees_pages),
        cmocka_unit_test(one_sample_may_be_cancelled),
        cmocka_unit_test(a_sample_that_was_cut_is_remembered),
        cmocka_unit_test(samples_may_be_cancelled_at_any_time),
        cmocka_unit_test(likely_tokens_come_with_each_token),
        cmocka_unit_test(stop_tokens_end_a_sample),
        cmocka_unit_test(impossible_requests_are_refused),
        cmocka_unit_test(logprobs_are_those_of_the_training_forward),
        cmocka_unit_test(the_least_recently_used_leaf_goes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
