// An OpenAI-compatible endpoint as an actor: it reads the same words as a policy and answers in
// words. Requests go out side by side on threads of their own, and each reply goes to the
// environment as it comes. When one failed for good no other begins, and those under way are
// waited for.
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "agent/agent.h"
#include "agent/endpoint.h"
#include "base/log.h"
#include "base/mem.h"

typedef struct job {
    struct job *next;
    size_t place;
    uint64_t seed;
    char *system, *user, *idea;    // owned
    mla_answer answer;
    double seconds;
} job;

typedef struct {
    job *first, *last;
} queue;

struct mla_endpoint_actor {
    mla_endpoint *endpoint;
    mla_endpoint_actor_options options;
    pthread_t *threads;            // [n_threads]
    size_t n_threads;
    pthread_mutex_t lock;          // of all below
    pthread_cond_t work, news;
    queue waiting, answered;
    size_t asking;                 // jobs that threads are at
    bool closing, failed;
    mla_err why;                   // it failed
};

mla_endpoint_actor_options mla_endpoint_actor_options_default(void) {
    return (mla_endpoint_actor_options){
        .name = "endpoint", .key = "--endpoint", .key_env = "OPENAI_API_KEY", .seconds = 300,
        .attempts = 5, .at_once = 4, .temperature = 1, .max_new = 1024,
        .prompt = mla_prompt_options_default()};
}

// --- jobs ---------------------------------------------------------------------------------------

static void push(queue *q, job *take) {
    take->next = NULL;
    if (q->last) q->last->next = take;
    else q->first = take;
    q->last = take;
}

static job *pop(queue *q) {
    job *first = q->first;
    if (!first) return NULL;
    q->first = first->next;
    if (!q->first) q->last = NULL;
    return first;
}

static void free_job(job *j) {
    free(j->system);
    free(j->user);
    free(j->idea);
    free(j->answer.text);
    free(j);
}

static char *with_hint(char *user, char *hint) {
    if (!hint) return user;
    char *both = mla_format("%s%s", user, hint);
    free(user);
    free(hint);
    return both;
}

static job *make_job(const mla_endpoint_actor *a, const mla_view *view) {
    job *j = MLA_NEW(job);
    j->place = view->place;
    j->seed = view->seed;
    mla_prompt_text(view, &a->options.prompt, &j->system, &j->user);
    const mla_endpoint_hint *hint = &a->options.hint;
    if (hint->text) j->user = with_hint(j->user, hint->text(hint->self, view, &j->idea));
    return j;
}

// --- threads ------------------------------------------------------------------------------------

static int ask(const mla_endpoint_actor *a, job *j, mla_err *err) {
    double began_at = mla_clock();
    const mla_question question = {.system = j->system, .user = j->user, .seed = &j->seed,
                                   .temperature = a->options.temperature,
                                   .max_tokens = a->options.max_new};
    int rc = mla_endpoint_ask(a->endpoint, &question, &j->answer, err);
    j->seconds = mla_clock() - began_at;
    return rc;
}

// With the lock held but while it asks.
static void work_on(mla_endpoint_actor *a, job *j) {
    mla_err err = {{0}};
    a->asking++;
    pthread_mutex_unlock(&a->lock);
    int rc = ask(a, j, &err);
    pthread_mutex_lock(&a->lock);
    a->asking--;
    if (rc == 0) {
        push(&a->answered, j);
    } else {
        if (!a->failed) a->why = err;
        a->failed = true;
        free_job(j);
    }
    pthread_cond_signal(&a->news);
}

static void *work(void *self) {
    mla_endpoint_actor *a = self;
    pthread_mutex_lock(&a->lock);
    while (!a->closing) {
        job *j = a->failed ? NULL : pop(&a->waiting);
        if (j) work_on(a, j);
        else pthread_cond_wait(&a->work, &a->lock);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

static void start_threads(mla_endpoint_actor *a) {
    pthread_condattr_t clock;
    MLA_ASSERT(pthread_condattr_init(&clock) == 0);
    MLA_ASSERT(pthread_condattr_setclock(&clock, CLOCK_MONOTONIC) == 0);
    MLA_ASSERT(pthread_mutex_init(&a->lock, NULL) == 0);
    MLA_ASSERT(pthread_cond_init(&a->work, NULL) == 0);
    MLA_ASSERT(pthread_cond_init(&a->news, &clock) == 0);
    pthread_condattr_destroy(&clock);
    a->n_threads = a->options.at_once > 0 ? (size_t)a->options.at_once : 1;
    a->threads = MLA_NEW_ARRAY(pthread_t, a->n_threads);
    for (size_t i = 0; i < a->n_threads; i++) {
        MLA_ASSERT(pthread_create(&a->threads[i], NULL, work, a) == 0);
    }
}

mla_endpoint_actor *mla_endpoint_actor_create(const mla_endpoint_actor_options *options,
                                              mla_err *err) {
    const mla_endpoint_options o = {
        .who = "the model", .key = options->key, .url = options->url, .model = options->model,
        .key_env = options->key_env, .seconds = options->seconds, .attempts = options->attempts,
        .ledger = options->ledger};
    mla_endpoint *endpoint;
    if (mla_endpoint_create(&endpoint, &o, err) < 0) return NULL;
    mla_endpoint_actor *actor = MLA_NEW(mla_endpoint_actor);
    actor->endpoint = endpoint;
    actor->options = *options;
    start_threads(actor);
    return actor;
}

void mla_endpoint_actor_free(mla_endpoint_actor *a) {
    if (!a) return;
    pthread_mutex_lock(&a->lock);
    a->closing = true;
    pthread_cond_broadcast(&a->work);
    pthread_mutex_unlock(&a->lock);
    for (size_t i = 0; i < a->n_threads; i++) pthread_join(a->threads[i], NULL);
    for (job *j; (j = pop(&a->waiting));) free_job(j);
    for (job *j; (j = pop(&a->answered));) free_job(j);
    pthread_cond_destroy(&a->work);
    pthread_cond_destroy(&a->news);
    pthread_mutex_destroy(&a->lock);
    mla_endpoint_free(a->endpoint);
    free(a->threads);
    free(a);
}

// --- the actor ----------------------------------------------------------------------------------

static int act(void *self, const mla_view *views, size_t n, mla_reply_sink sink, void *ctx,
               mla_err *err) {
    (void)sink, (void)ctx, (void)err;
    mla_endpoint_actor *a = self;
    for (size_t i = 0; i < n && !mla_stop_wanted(); i++) {
        job *j = make_job(a, &views[i]);
        pthread_mutex_lock(&a->lock);
        push(&a->waiting, j);
        pthread_cond_signal(&a->work);
        pthread_mutex_unlock(&a->lock);
    }
    return 0;
}

// Waits with the lock held.
static job *next_answer(mla_endpoint_actor *a, double seconds) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    long long ns = until.tv_nsec + (long long)(seconds * 1e9);
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    while (!a->answered.first && !(a->failed && !a->asking)) {
        if (pthread_cond_timedwait(&a->news, &a->lock, &until)) break;
    }
    return pop(&a->answered);
}

static int hand_over(job *j, mla_reply_sink sink, void *ctx, mla_err *err) {
    mla_reply reply = {.text = j->answer.text, .ended = !j->answer.cut, .seconds = j->seconds,
                       .idea = j->idea};
    j->answer.text = j->idea = NULL;
    int rc = sink(ctx, j->place, &reply, err);
    mla_reply_clear(&reply);
    free_job(j);
    return rc;
}

static int poll(void *self, double seconds, mla_reply_sink sink, void *ctx, mla_err *err) {
    mla_endpoint_actor *a = self;
    int n = 0;
    for (;;) {
        pthread_mutex_lock(&a->lock);
        job *j = next_answer(a, n ? 0 : seconds);
        bool over = !j && a->failed && !a->asking;
        if (over) *err = a->why;
        pthread_mutex_unlock(&a->lock);
        if (!j) return over && !n && !mla_stop_wanted() ? -1 : n;
        if (hand_over(j, sink, ctx, err) < 0) return -1;
        n++;
    }
}

mla_actor mla_endpoint_actor_make(mla_endpoint_actor *self) {
    return (mla_actor){.name = self->options.name, .act = act, .poll = poll, .self = self};
}
