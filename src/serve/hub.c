// Many clients, one engine. Connections' threads submit jobs and sleep; one thread, the driver,
// alone touches the engine and the network: it takes what waits, drops those whose client has gone,
// lets the engine take a step, and wakes whom the step concerns.
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "serve/internal.h"

struct mla__hub {
    mla_policy *policy;
    mla__metrics *metrics;
    mla_engine *engine;             // the driver's alone
    size_t live_max;
    pthread_t driver;
    pthread_mutex_t lock;           // of all below and of the jobs
    pthread_cond_t work;
    mla__job *jobs;                 // those that wait or run, oldest first
    size_t n_jobs;
    bool closing;
    mla_engine_stats stats;         // as of the last change
};

// ---- jobs ------------------------------------------------------------------------------------

static int encode_prompts(mla__job *job, mla_policy *policy, mla_fault *fault) {
    for (size_t i = 0; i < job->n_prompts; i++) {
        if (mla_ask_encode(&job->ask, policy, i, &job->prompts[i], fault) < 0) return -1;
    }
    return 0;
}

mla__job *mla__job_create_take(mla_ask *ask, mla_policy *policy, mla_http_call *call,
                               mla_fault *fault) {
    mla__job *job = MLA_NEW(mla__job);
    bool embeds = ask->kind == MLA_ASK_EMBEDDING;
    job->ask = *ask;
    *ask = (mla_ask){0};
    job->call = call;
    job->came_at = mla_clock();
    job->n_prompts = mla_ask_prompts(&job->ask);
    job->prompts = MLA_NEW_ARRAY(mla_ids, job->n_prompts);
    job->n_choices = embeds ? 0 : job->n_prompts * (size_t)job->ask.n;
    job->choices = MLA_NEW_ARRAY(mla_choice, job->n_choices + 1);
    job->handles = MLA_NEW_ARRAY(uint64_t, job->n_prompts);
    job->cached = MLA_NEW_ARRAY(size_t, job->n_prompts);
    size_t dim = (size_t)mla_model_get_config(mla_policy_model(policy))->dim;
    if (embeds) job->vectors = MLA_NEW_ARRAY(float, job->n_prompts * dim);
    for (size_t i = 0; i < job->n_choices; i++) {
        mla_choice_init(&job->choices[i], mla_policy_tokenizer(policy), job->ask.stop,
                        job->ask.n_stop);
    }
    pthread_cond_init(&job->changed, NULL);
    if (encode_prompts(job, policy, fault) == 0) return job;
    mla__job_free(job);
    return NULL;
}

void mla__job_free(mla__job *job) {
    if (!job) return;
    for (size_t i = 0; i < job->n_prompts; i++) mla_ids_clear(&job->prompts[i]);
    for (size_t i = 0; i < job->n_choices; i++) mla_choice_clear(&job->choices[i]);
    free(job->prompts);
    free(job->choices);
    free(job->handles);
    free(job->cached);
    free(job->vectors);
    mla_embedding_free(job->embedding);
    mla_ask_clear(&job->ask);
    pthread_cond_destroy(&job->changed);
    free(job);
}

// ---- what the engine tells, in a step ----------------------------------------------------------

static mla_choice *choice_of(mla__job *job, size_t prompt, int sample) {
    return &job->choices[prompt * (size_t)job->ask.n + (size_t)sample];
}

static void note_finish(mla__job *job, const mla_choice *choice) {
    if (choice->finish) job->n_finished++;
    if (job->ask.stream) pthread_cond_broadcast(&job->changed);    // others wait for the end
}

static void on_token(void *ctx, size_t prompt, int sample, const mla_token *token) {
    mla__job *job = ctx;
    mla_choice *choice = choice_of(job, prompt, sample);
    pthread_mutex_lock(&job->hub->lock);
    if (job->first_at <= 0) job->first_at = mla_clock();
    job->cached[prompt] = token->cached;
    mla_choice_push(choice, token);
    note_finish(job, choice);
    pthread_mutex_unlock(&job->hub->lock);
    // A stop string ends a sample before the engine would; its siblings go on.
    if (choice->finish) mla_engine_cancel_sample(job->hub->engine, job->handles[prompt], sample);
}

static void on_end(void *ctx, size_t prompt, int sample, mla_sample *take) {
    mla__job *job = ctx;
    mla_choice *choice = choice_of(job, prompt, sample);
    pthread_mutex_lock(&job->hub->lock);
    mla_choice_end(choice, take->ended);
    note_finish(job, choice);
    pthread_mutex_unlock(&job->hub->lock);
    mla_sample_clear(take);
}

// ---- the driver ------------------------------------------------------------------------------

// All with the lock held but where it says so.

static void let_go(mla__hub *hub, mla__job *job, mla__job_state state) {
    for (size_t i = 0; i < job->n_handles; i++) mla_engine_cancel(hub->engine, job->handles[i]);
    hub->stats = mla_engine_get_stats(hub->engine);
    mla__job **at = &hub->jobs;
    while (*at != job) at = &(*at)->next;
    *at = job->next;
    hub->n_jobs--;
    job->state = state;
    if (state == MLA__JOB_DONE) {
        mla__metrics_observe(hub->metrics, &hub->metrics->whole, mla_clock() - job->came_at);
    }
    if (job->first_at > 0) {
        mla__metrics_observe(hub->metrics, &hub->metrics->first, job->first_at - job->came_at);
    }
    pthread_cond_broadcast(&job->changed);
}

static void fail_job(mla__hub *hub, mla__job *job, int status, const char *code,
                     const char *message) {
    const char *param = status == 400 ? (job->ask.messages ? "messages" : "prompt") : NULL;
    mla_fault_set(&job->fault, status, param, code, "%s", message);
    let_go(hub, job, MLA__JOB_FAILED);
}

// As many new tokens as are asked for, or as the cache can hold beside the prompt.
static mla_prompt_request request_of(const mla__hub *hub, const mla__job *job, size_t at,
                                     const int32_t *stop, size_t n_stop) {
    const mla_ids *ids = &job->prompts[at];
    mla_prompt_request request = mla_ask_request(&job->ask, hub->policy, at, ids, stop, n_stop);
    size_t room = hub->stats.pages_total * MLA_KV_PAGE;
    bool fits = ids->len + (size_t)request.max_new <= room;
    if (!job->ask.max_new && !fits && ids->len < room) request.max_new = (int)(room - ids->len);
    return request;
}

static void begin_job(mla__hub *hub, mla__job *job) {
    int32_t stop[2];
    size_t n_stop = mla_ask_stop_ids(hub->policy, stop);
    job->state = MLA__JOB_RUNNING;
    for (size_t i = 0; i < job->n_prompts && job->n_choices; i++) {
        mla_err err = {{0}};
        const mla_prompt_request request = request_of(hub, job, i, stop, n_stop);
        if (mla_engine_submit(hub->engine, &request, i, on_token, on_end, job,
                              &job->handles[job->n_handles], &err) < 0) {
            fail_job(hub, job, 400, "context_length_exceeded", err.text);
            return;
        }
        job->n_handles++;
    }
    pthread_cond_broadcast(&job->changed);
}

static void look_at_jobs(mla__hub *hub) {
    for (mla__job *job = hub->jobs, *next; job; job = next) {
        next = job->next;
        if (job->cancelled || mla_http_call_gone(job->call)) {
            fail_job(hub, job, 499, "cancelled", "the client has gone");
        } else if (job->state == MLA__JOB_WAITING) {
            begin_job(hub, job);
        }
    }
}

static mla__job *next_to_embed(const mla__hub *hub) {
    mla__job *job = hub->jobs;
    while (job && !job->vectors) job = job->next;
    return job;
}

// Without the lock: a piece of a text of one job. The job cannot go while the driver is here.
static int embed_piece(const mla__hub *hub, mla__job *job, mla_err *err) {
    size_t dim = (size_t)mla_model_get_config(mla_policy_model(hub->policy))->dim;
    const mla_ids *ids = &job->prompts[job->n_vectors];
    if (!job->embedding) job->embedding = mla_embedding_create(hub->policy, ids->data, ids->len);
    int rc = mla_embedding_step(job->embedding, job->vectors + job->n_vectors * dim, err);
    if (rc) return rc < 0 ? -1 : 0;
    mla_embedding_free(job->embedding);
    job->embedding = NULL;
    job->n_vectors++;
    return 0;
}

static bool is_over(const mla__job *job) {
    return job->vectors ? job->n_vectors == job->n_prompts : job->n_finished == job->n_choices;
}

static void finish_jobs(mla__hub *hub, bool broken, const mla_err *err) {
    for (mla__job *job = hub->jobs, *next; job; job = next) {
        next = job->next;
        if (job->state != MLA__JOB_RUNNING) continue;
        if (is_over(job)) let_go(hub, job, MLA__JOB_DONE);
        else if (broken) fail_job(hub, job, 500, "engine_failed", err->text);
    }
}

static void take_step(mla__hub *hub) {
    mla_err err = {{0}};
    mla__job *embeds = next_to_embed(hub);
    pthread_mutex_unlock(&hub->lock);
    int rc = embeds ? embed_piece(hub, embeds, &err) : 0;
    if (rc == 0) rc = mla_engine_step(hub->engine, &err);
    pthread_mutex_lock(&hub->lock);
    if (rc < 0) mla_log(MLA_LOG_ERROR, "%s", err.text);
    hub->stats = mla_engine_get_stats(hub->engine);
    finish_jobs(hub, rc < 0, &err);
}

static void *drive(void *arg) {
    mla__hub *hub = arg;
    pthread_mutex_lock(&hub->lock);
    for (;;) {
        while (!hub->jobs && !hub->closing) pthread_cond_wait(&hub->work, &hub->lock);
        if (!hub->jobs) break;
        look_at_jobs(hub);
        take_step(hub);
    }
    pthread_mutex_unlock(&hub->lock);
    return NULL;
}

// ---- the clients' side -------------------------------------------------------------------------

mla__hub *mla__hub_create(mla_policy *policy, mla__metrics *metrics, size_t kv_bytes,
                          size_t live_max) {
    mla__hub *hub = MLA_NEW(mla__hub);
    hub->policy = policy;
    hub->metrics = metrics;
    hub->live_max = live_max;
    hub->engine = mla_engine_create(policy, kv_bytes);
    hub->stats = mla_engine_get_stats(hub->engine);
    pthread_mutex_init(&hub->lock, NULL);
    pthread_cond_init(&hub->work, NULL);
    MLA_ASSERT(pthread_create(&hub->driver, NULL, drive, hub) == 0);
    return hub;
}

void mla__hub_close(mla__hub *hub) {
    pthread_mutex_lock(&hub->lock);
    bool first = !hub->closing;
    hub->closing = true;
    pthread_cond_signal(&hub->work);
    pthread_mutex_unlock(&hub->lock);
    if (first) pthread_join(hub->driver, NULL);
}

void mla__hub_free(mla__hub *hub) {
    if (!hub) return;
    mla__hub_close(hub);
    mla_engine_free(hub->engine);
    pthread_cond_destroy(&hub->work);
    pthread_mutex_destroy(&hub->lock);
    free(hub);
}

mla_policy *mla__hub_policy(const mla__hub *hub) {
    return hub->policy;
}

bool mla__hub_is_closing(mla__hub *hub) {
    pthread_mutex_lock(&hub->lock);
    bool closing = hub->closing;
    pthread_mutex_unlock(&hub->lock);
    return closing;
}

mla_engine_stats mla__hub_stats(mla__hub *hub, size_t *live) {
    pthread_mutex_lock(&hub->lock);
    mla_engine_stats stats = hub->stats;
    *live = hub->n_jobs;
    pthread_mutex_unlock(&hub->lock);
    return stats;
}

static int admit(mla__hub *hub, mla__job *job, mla_fault *fault) {
    if (hub->closing) {
        return mla_fault_set(fault, 503, NULL, "stopping", "the service is about to stop");
    }
    if (hub->n_jobs >= hub->live_max) {
        return mla_fault_set(fault, 429, NULL, "queue_full", "the service is busy with %zu "
                             "requests, as many as it takes; try again later", hub->n_jobs);
    }
    mla__job **at = &hub->jobs;
    while (*at) at = &(*at)->next;
    *at = job;
    job->hub = hub;
    hub->n_jobs++;
    pthread_cond_signal(&hub->work);
    return 0;
}

int mla__hub_submit(mla__hub *hub, mla__job *job, mla_fault *fault) {
    pthread_mutex_lock(&hub->lock);
    int rc = admit(hub, job, fault);
    while (rc == 0 && job->state == MLA__JOB_WAITING) mla__hub_sleep(hub, job);
    if (rc == 0 && job->state == MLA__JOB_FAILED) {
        *fault = job->fault;
        rc = -1;
    }
    pthread_mutex_unlock(&hub->lock);
    return rc;
}

static bool is_live(const mla__job *job) {
    return job->state == MLA__JOB_WAITING || job->state == MLA__JOB_RUNNING;
}

int mla__hub_wait(mla__hub *hub, mla__job *job, mla_fault *fault) {
    pthread_mutex_lock(&hub->lock);
    while (is_live(job)) mla__hub_sleep(hub, job);
    bool failed = job->state == MLA__JOB_FAILED;
    if (failed) *fault = job->fault;
    pthread_mutex_unlock(&hub->lock);
    return failed ? -1 : 0;
}

void mla__hub_leave(mla__hub *hub, mla__job *job) {
    pthread_mutex_lock(&hub->lock);
    job->cancelled = true;
    while (is_live(job)) mla__hub_sleep(hub, job);
    pthread_mutex_unlock(&hub->lock);
}

void mla__hub_lock(mla__hub *hub) {
    pthread_mutex_lock(&hub->lock);
}

void mla__hub_sleep(mla__hub *hub, mla__job *job) {
    pthread_cond_wait(&job->changed, &hub->lock);
}

void mla__hub_unlock(mla__hub *hub) {
    pthread_mutex_unlock(&hub->lock);
}
