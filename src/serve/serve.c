// The service's routes: each reads what is asked, hands it to the hub, and words the answer.
#include "serve/serve.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/events.h"
#include "serve/internal.h"

#define JSON "application/json"
#define DRAIN_SECONDS 10        // for clients to read what is ready for them
#define METRICS_MAX ((size_t)1 << 16)

struct mla_service {
    char *model;
    uint64_t seed;
    long long started;          // seconds since 1970
    atomic_uint_fast64_t asked; // requests so far
    pthread_mutex_t reading;    // one body at a time: its tree is the larger part of its memory
    mla__metrics metrics;
    mla__hub *hub;
    mla_http_server *server;
};

typedef struct {                // a stream on its way to its client
    mla_service *service;
    mla__job *job;
    mla__names names;
    mla__shown *shown;          // [n_choices]
} stream;

mla_serve_options mla_serve_options_default(void) {
    return (mla_serve_options){.host = "127.0.0.1", .port = 8080, .model = "model",
                               .kv_bytes = (size_t)1 << 30, .live_max = 64,
                               .body_max = (size_t)4 << 20, .seed = 1};
}

// ---- replies ---------------------------------------------------------------------------------

static void refuse(mla_http_call *call, const mla_fault *fault) {
    mla_http_call_reply_take(call, fault->status, JSON, mla__reply_error(fault));
    if (fault->status == 429 || fault->status == 503) {
        mla_http_call_add_header(call, "Retry-After", "1");
    }
}

static char *error_body(void *ctx, int status, const char *message) {
    (void)ctx;
    const char *code = status == 401 ? "invalid_api_key"
                     : status == 404 ? "unknown_url"
                     : status == 405 ? "method_not_allowed"
                     : status == 413 ? "body_too_long"
                     : status == 415 ? "unsupported_content_type" : NULL;
    mla_fault fault;
    mla_fault_set(&fault, status, NULL, code, "%s", message);
    return mla__reply_error(&fault);
}

static void on_reply(void *ctx, const char *path, int status) {
    mla_service *service = ctx;
    mla__metrics_count(&service->metrics, path ? path : "other", status);
}

static mla__names names_of(const mla_service *service, const char *prefix, uint64_t number) {
    mla__names names = {.model = service->model, .created = (long long)time(NULL)};
    snprintf(names.id, sizeof names.id, "%s-%016" PRIx64, prefix,
             mla_rng_derive((uint64_t)service->started, number, 0, 0));
    return names;
}

// ---- completions -----------------------------------------------------------------------------

static bool is_done(const stream *s) {
    return s->job->state == MLA__JOB_DONE || s->job->state == MLA__JOB_FAILED;
}

// Locked. Writes what is new of every choice.
static void write_news(stream *s, mla_buf *out) {
    for (size_t i = 0; i < s->job->n_choices; i++) {
        char *piece = mla__reply_piece(s->job, &s->names, i, &s->shown[i]);
        if (piece) mla_events_write(out, piece);
        free(piece);
    }
}

static void write_end(const stream *s, mla_buf *out) {
    bool failed = s->job->state == MLA__JOB_FAILED;
    char *last = failed ? mla__reply_error(&s->job->fault)
               : s->job->ask.include_usage ? mla__reply_usage(s->job, &s->names) : NULL;
    if (last) mla_events_write(out, last);
    free(last);
    if (!failed) mla_events_write(out, "[DONE]");
}

static int next_piece(void *ctx, mla_buf *out) {
    stream *s = ctx;
    mla__hub *hub = s->service->hub;
    mla__hub_lock(hub);
    for (;;) {
        write_news(s, out);
        if (out->len || is_done(s)) break;
        mla__hub_sleep(hub, s->job);
    }
    bool done = is_done(s);
    mla__hub_unlock(hub);
    if (done) write_end(s, out);
    return !done;
}

static void end_stream(void *ctx) {
    stream *s = ctx;
    mla__hub_leave(s->service->hub, s->job);
    mla__job_free(s->job);
    free(s->shown);
    free(s);
}

static void reply_stream(mla_service *service, mla_http_call *call, mla__job *job,
                         const mla__names *names) {
    stream *s = MLA_NEW(stream);
    *s = (stream){.service = service, .job = job, .names = *names,
                  .shown = MLA_NEW_ARRAY(mla__shown, job->n_choices)};
    mla_http_call_stream(call, "text/event-stream", next_piece, end_stream, s);
}

static void reply_whole(mla_service *service, mla_http_call *call, mla__job *job,
                        const mla__names *names) {
    mla_fault fault;
    int dim = mla_model_get_config(mla_policy_model(mla__hub_policy(service->hub)))->dim;
    if (mla__hub_wait(service->hub, job, &fault) < 0) refuse(call, &fault);
    else mla_http_call_reply_take(call, 200, JSON,
                                  job->vectors ? mla__reply_vectors(job, names, dim)
                                               : mla__reply_whole(job, names));
    mla__job_free(job);
}

static int check_ask(const mla_service *service, const mla_ask *ask, mla_fault *fault) {
    int dim = mla_model_get_config(mla_policy_model(mla__hub_policy(service->hub)))->dim;
    if (strcmp(ask->model, service->model) != 0) {
        return mla_fault_set(fault, 404, "model", "model_not_found",
                             "there is no model '%.100s' here; '%s' is", ask->model,
                             service->model);
    }
    if (ask->dimensions && ask->dimensions != dim) {
        return mla_fault_set(fault, 400, "dimensions", "invalid_value",
                             "this model's vectors have %d dimensions, and no use with fewer",
                             dim);
    }
    return 0;
}

// From the body to a job that runs, or NULL with a fault.
static mla__job *start_job(mla_service *service, mla_http_call *call, mla_ask_kind kind,
                           uint64_t number, mla_fault *fault) {
    const mla_buf *body = mla_http_call_body(call);
    mla_ask ask;
    mla__job *job = NULL;
    pthread_mutex_lock(&service->reading);
    int rc = mla_ask_read(&ask, kind, mla_buf_text(body), body->len, fault);
    pthread_mutex_unlock(&service->reading);
    if (rc == 0) rc = check_ask(service, &ask, fault);
    if (rc == 0 && !ask.has_seed) ask.seed = mla_rng_derive(service->seed, number, 0, 0);
    if (rc == 0) job = mla__job_create_take(&ask, mla__hub_policy(service->hub), call, fault);
    mla_ask_clear(&ask);
    if (job && mla__hub_submit(service->hub, job, fault) < 0) {
        mla__job_free(job);
        job = NULL;
    }
    return job;
}

static void answer(mla_service *service, mla_http_call *call, mla_ask_kind kind,
                   const char *prefix) {
    mla_fault fault;
    uint64_t number = atomic_fetch_add(&service->asked, 1);
    const mla__names names = names_of(service, prefix, number);
    mla__job *job = start_job(service, call, kind, number, &fault);
    if (!job) refuse(call, &fault);
    else if (job->ask.stream) reply_stream(service, call, job, &names);
    else reply_whole(service, call, job, &names);
}

static void on_chat(void *ctx, mla_http_call *call) {
    answer(ctx, call, MLA_ASK_CHAT, "chatcmpl");
}

static void on_completion(void *ctx, mla_http_call *call) {
    answer(ctx, call, MLA_ASK_COMPLETION, "cmpl");
}

static void on_embedding(void *ctx, mla_http_call *call) {
    answer(ctx, call, MLA_ASK_EMBEDDING, "embd");
}

// ---- the small routes --------------------------------------------------------------------------

static void on_models(void *ctx, mla_http_call *call) {
    const mla_service *service = ctx;
    const mla__names names = {.model = service->model, .created = service->started};
    mla_http_call_reply_take(call, 200, JSON, mla__reply_models(&names));
}

static void on_model(void *ctx, mla_http_call *call) {
    const mla_service *service = ctx;
    const mla__names names = {.model = service->model, .created = service->started};
    const char *asked = mla_http_call_path(call) + strlen("/v1/models/");
    mla_fault fault;
    if (!strcmp(asked, service->model)) {
        mla_http_call_reply_take(call, 200, JSON, mla__reply_model(&names));
        return;
    }
    mla_fault_set(&fault, 404, "model", "model_not_found", "there is no model '%.100s' here; "
                  "'%s' is", asked, service->model);
    refuse(call, &fault);
}

static void on_health(void *ctx, mla_http_call *call) {
    mla_service *service = ctx;
    bool closing = mla__hub_is_closing(service->hub);
    mla_http_call_reply_take(call, closing ? 503 : 200, JSON,
                             mla_strdup(closing ? "{\"status\":\"stopping\"}"
                                                : "{\"status\":\"ok\"}"));
}

static void on_metrics(void *ctx, mla_http_call *call) {
    mla_service *service = ctx;
    mla_buf text;
    size_t live;
    mla_engine_stats stats = mla__hub_stats(service->hub, &live);
    mla_buf_init(&text, METRICS_MAX);
    mla__metrics_write(&service->metrics, &stats, live, &text);
    mla_http_call_reply_take(call, 200, "text/plain; version=0.0.4; charset=utf-8",
                             mla_buf_take(&text));
}

// ---- life --------------------------------------------------------------------------------------

static mla_http_server *start_server(mla_service *service, const mla_serve_options *o,
                                     mla_err *err) {
    static const mla_http_route routes[] = {
        {"POST", "/v1/chat/completions", false, JSON, on_chat},
        {"POST", "/v1/completions", false, JSON, on_completion},
        {"POST", "/v1/embeddings", false, JSON, on_embedding},
        {"GET", "/v1/models", false, NULL, on_models},
        {"GET", "/v1/models/*", false, NULL, on_model},
        {"GET", "/metrics", false, NULL, on_metrics},
        {"GET", "/health", true, NULL, on_health},
    };
    const mla_http_server_options options = {
        .host = o->host, .port = o->port, .key = o->key, .body_max = o->body_max,
        .max_connections = (unsigned)(2 * o->live_max + 256), .idle_seconds = 120,
        .routes = routes, .n_routes = MLA_COUNT(routes), .ctx = service,
        .error_body = error_body, .on_reply = on_reply};
    return mla_http_server_start(&options, err);
}

static int check_cache(const mla_service *service, const mla_serve_options *o, mla_err *err) {
    size_t live;
    if (mla__hub_stats(service->hub, &live).pages_total) return 0;
    return mla_err_set(err, "a KV cache of %zu MiB cannot hold one page of %d tokens of this model;"
                       " give it more memory", o->kv_bytes >> 20, MLA_KV_PAGE);
}

mla_service *mla_serve_start(mla_policy *policy, const mla_serve_options *options, mla_err *err) {
    mla_service *service = MLA_NEW(mla_service);
    service->model = mla_utf8_repair(options->model, strlen(options->model), NULL);
    service->seed = options->seed;
    service->started = (long long)time(NULL);
    pthread_mutex_init(&service->reading, NULL);
    mla__metrics_init(&service->metrics);
    service->hub = mla__hub_create(policy, &service->metrics, options->kv_bytes,
                                   options->live_max);
    if (check_cache(service, options, err) == 0) {
        service->server = start_server(service, options, err);
    }
    if (service->server) return service;
    mla_serve_free(service);
    return NULL;
}

int mla_serve_port(const mla_service *service) {
    return mla_http_server_port(service->server);
}

void mla_serve_free(mla_service *service) {
    if (!service) return;
    mla__hub_close(service->hub);
    if (service->server) mla_http_server_drain(service->server, DRAIN_SECONDS);
    mla_http_server_free(service->server);
    mla__hub_free(service->hub);
    mla__metrics_clear(&service->metrics);
    pthread_mutex_destroy(&service->reading);
    free(service->model);
    free(service);
}
