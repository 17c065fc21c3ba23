// Asking an OpenAI-compatible endpoint: chat completions, embeddings, the list of models. What it
// costs is ledger.c's.
#include "agent/endpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/client.h"

#define REPLY_MAX ((size_t)16 << 20)     // bytes of a reply
#define KEY_MAX 4096
#define SAID_MAX 200                     // bytes of an endpoint's own words in a message
#define BYTES_PER_TOKEN 3                // few, so that what a call may take is not told too low
#define WAIT_SECONDS 0.5                 // before a question is put again
#define DIM_MAX 65536

struct mla_endpoint {
    char *who, *model, *url, *key;       // owned; key NULL: none; url without a slash at its end
    double seconds;
    int attempts;
    mla_ledger *ledger;
};

int mla_endpoint_create(mla_endpoint **out, const mla_endpoint_options *options, mla_err *err) {
    const char *url = options->url;
    *out = NULL;
    if (strncmp(url, "http://", 7) && strncmp(url, "https://", 8)) {
        return mla_err_set(err, "%s: \"%s\" is no http address", options->key, url);
    }
    mla_endpoint *e = *out = MLA_NEW(mla_endpoint);
    size_t n = strlen(url);
    e->who = mla_strdup(options->who);
    e->model = mla_strdup(options->model);
    e->url = mla_strndup(url, n - (url[n - 1] == '/'));
    e->seconds = options->seconds;
    e->attempts = options->attempts;
    e->ledger = options->ledger;
    const char *key = *options->key_env ? getenv(options->key_env) : NULL;
    if (key && *key) e->key = mla_strndup(key, strnlen(key, KEY_MAX));
    return 0;
}

void mla_endpoint_free(mla_endpoint *e) {
    if (!e) return;
    free(e->who);
    free(e->model);
    free(e->url);
    free(e->key);
    free(e);
}

// --- one request --------------------------------------------------------------------------------

// What is asked and what comes of it.
typedef struct {
    const char *method, *path;
    char *body;                          // owned; NULL: none
    uint64_t seed;                       // of the jitter
    int requests;                        // made so far
    int unanswered;                      // of them: sent, and no whole reply came
} request;

// An endpoint that repeats the key in what it says must not put it into our files.
static void hide_key(const mla_endpoint *e, mla_buf *body) {
    size_t n = e->key ? strlen(e->key) : 0;
    if (n < 4 || !body->data) return;
    for (char *at = body->data; (at = memmem(at, body->len - (size_t)(at - body->data), e->key, n));
         at += n) {
        memset(at, '*', n);
    }
}

// The endpoint's own words on what is wrong: {"error": {"message": ...}} or whatever it sent.
static char *said(const mla_buf *body) {
    mla_err ignored;
    json_t *reply = mla_json_parse(mla_buf_text(body), body->len, "", &ignored);
    const json_t *error = json_object_get(reply, "error");
    const char *text = mla_json_get_text(error, "message", NULL);
    if (!text) text = json_string_value(error);
    if (!text) text = mla_json_get_text(reply, "message", mla_json_get_text(reply, "detail", NULL));
    if (!text) text = mla_buf_text(body);
    char *cut = mla_utf8_repair(text, strnlen(text, SAID_MAX), NULL);
    for (char *p = cut; *p; p++) {
        if ((unsigned char)*p < ' ') *p = ' ';
    }
    json_decref(reply);
    return cut;
}

static int refused(const mla_endpoint *e, const mla_http_reply *reply, mla_err *why) {
    static const struct {
        int status;
        const char *advice;
    } known[] = {{401, "; is its key in the environment variable that key_env names?"},
                 {403, "; may this key use the model?"},
                 {402, "; its account has nothing left"},
                 {404, "; is the address the base, such as http://127.0.0.1:8080/v1, and the "
                       "model's name right?"},
                 {429, "; it allows no more for now: lower at_once or requests_per_minute"}};
    const char *advice = "";
    for (size_t i = 0; i < MLA_COUNT(known); i++) {
        if (known[i].status == reply->status) advice = known[i].advice;
    }
    char *words = said(&reply->body);
    mla_err_set(why, "%s replied with status %d%s%s%s%s", e->who, reply->status,
                *words ? " (" : "", words, *words ? ")" : "", advice);
    free(words);
    return -1;
}

// A client a call: clients are for one thread at a time, and a call takes seconds anyway.
static int send(const mla_endpoint *e, request *r, mla_http_reply *reply, mla_err *why) {
    mla_http_client_options o = mla_http_client_options_default();
    o.total_seconds = e->seconds;
    o.attempts = e->attempts - r->requests;
    o.body_max = REPLY_MAX;
    o.key = e->key;
    o.seed = r->seed + (uint64_t)r->requests;
    mla_http_client *client = mla_http_client_create(&o);
    char *url = mla_format("%s/%s", e->url, r->path);
    const mla_http_request call = {.method = r->method, .url = url, .body = r->body,
                                   .len = r->body ? strlen(r->body) : 0};
    int rc = mla_http_send(client, &call, reply, why);
    r->requests += reply->attempts;
    r->unanswered += reply->unanswered;
    hide_key(e, &reply->body);
    if (rc == 0 && reply->status != 200) rc = refused(e, reply, why);
    else if (rc < 0) mla_err_wrap(why, "%s", e->who);
    mla_http_client_free(client);
    free(url);
    return rc;
}

static void wait_to_repeat(const request *r) {
    mla_rng rng;
    mla_rng_init(&rng, mla_rng_derive(r->seed, (uint64_t)r->requests, 7, 0));
    double seconds = WAIT_SECONDS * pow(2, r->requests - 1) * (0.5 + 0.5 * mla_rng_uniform(&rng));
    double end = mla_clock() + fmin(seconds, 60);
    while (mla_clock() < end && !mla_stop_wanted()) {
        const struct timespec slice = {.tv_nsec = 20000000};
        nanosleep(&slice, NULL);
    }
}

typedef int (*reader)(const mla_endpoint *e, const json_t *reply, void *out, mla_err *why);

static int read_reply(const mla_endpoint *e, const mla_buf *body, reader read, void *out,
                      mla_err *why) {
    char *what = mla_format("%s's reply", e->who);
    json_t *reply = mla_json_parse(mla_buf_text(body), body->len, what, why);
    free(what);
    int rc = reply ? read(e, reply, out, why) : -1;
    json_decref(reply);
    return rc;
}

// Sends until a reply comes that can be read, as often as the endpoint is to be tried.
static int converse(const mla_endpoint *e, request *r, reader read, void *out, mla_err *why) {
    for (;;) {
        mla_http_reply reply;
        int rc = send(e, r, &reply, why);
        bool came = rc == 0;
        if (came) rc = read_reply(e, &reply.body, read, out, why);
        mla_http_reply_clear(&reply);
        if (rc == 0 || !came) return rc;
        r->unanswered++;
        if (r->requests >= e->attempts) {
            return mla_err_wrap(why, "%d answers could not be read", r->unanswered);
        }
        wait_to_repeat(r);
        if (mla_stop_wanted()) return mla_err_set(why, "stopped");
    }
}

// --- what it costs ------------------------------------------------------------------------------

typedef struct {
    double tokens_in, tokens_out;
    bool told;
} usage;

static usage read_usage(const json_t *reply) {
    const json_t *u = json_object_get(reply, "usage");
    usage out = {.tokens_in = mla_json_get_number(u, "prompt_tokens", NAN),
                 .tokens_out = mla_json_get_number(u, "completion_tokens", NAN)};
    out.told = out.tokens_in >= 0 && out.tokens_out >= 0 && out.tokens_in + out.tokens_out < 1e12;
    return out;
}

static double tokens_of(const char *text) {
    return ceil((double)strlen(text) / BYTES_PER_TOKEN);
}

// A request that went out and was not answered as it should may be billed in full all the same.
static mla_ledger_call bill(const mla_endpoint *e, const request *r, const mla_ledger_claim *claim,
                            const usage *used) {
    mla_ledger_call call = {.model = e->model, .requests = r->requests,
                            .tokens_in = claim->tokens_in * r->unanswered,
                            .tokens_out = claim->tokens_out * r->unanswered,
                            .estimated = r->unanswered > 0 || !used->told};
    if (used->tokens_in >= 0) call.tokens_in += used->tokens_in;
    if (used->tokens_out >= 0) call.tokens_out += used->tokens_out;
    return call;
}

// --- chat ---------------------------------------------------------------------------------------

static char *chat_body(const mla_endpoint *e, const mla_question *q) {
    json_t *body = json_pack("{s:o, s:o, s:i, s:[{s:s, s:o}, {s:s, s:o}]}", "model",
                             mla_json_text(e->model, strlen(e->model)), "temperature",
                             q->temperature == 0 ? json_integer(0) : json_real(q->temperature),
                             "max_tokens", q->max_tokens, "messages", "role",
                             "system", "content", mla_json_text(q->system, strlen(q->system)),
                             "role", "user", "content", mla_json_text(q->user, strlen(q->user)));
    MLA_ASSERT(body);
    if (q->seed) json_object_set_new(body, "seed", json_integer(*q->seed & 0x7FFFFFFF));
    char *line = mla_json_line(body);
    json_decref(body);
    return line;
}

typedef struct {
    mla_answer answer;
    usage used;
} completion;

static int read_completion(const mla_endpoint *e, const json_t *reply, void *ctx, mla_err *why) {
    completion *out = ctx;
    const json_t *choice = json_array_get(json_object_get(reply, "choices"), 0);
    const json_t *value = json_object_get(json_object_get(choice, "message"), "content");
    const char *content = json_is_null(value) ? "" : json_string_value(value);
    if (!content) {      // null, as of a model that thought until its limit, is nothing said
        return mla_err_set(why, "%s's reply has no choices[0].message.content", e->who);
    }
    out->answer.text = mla_strdup(content);
    out->answer.cut = !strcmp(mla_json_get_text(choice, "finish_reason", ""), "length");
    out->used = read_usage(reply);
    if (out->used.told) return 0;
    out->used.tokens_out = tokens_of(content);
    return 0;
}

// The question as the ledger knows it: the address and all that is sent.
static void key_of(const mla_endpoint *e, const char *body, char key[65]) {
    char *text = mla_format("%s\n%s", e->url, body);
    mla_sha256(text, strlen(text), key);
    free(text);
}

static int settle_chat(const mla_endpoint *e, const mla_question *q, const request *r,
                       const mla_ledger_claim *claim, completion *got, const char *key,
                       mla_err *why) {
    if (got->answer.text && !got->used.told) got->used.tokens_in = claim->tokens_in;
    mla_ledger_call call = bill(e, r, claim, &got->used);
    call.key = key;
    call.purpose = q->purpose ? q->purpose : "step";
    call.text = got->answer.text;
    call.cut = got->answer.cut;
    return mla_ledger_settle(e->ledger, claim, &call, why);
}

static int ask_counted(const mla_endpoint *e, const mla_question *q, request *r, completion *got,
                       mla_err *why) {
    char key[65];
    mla_ledger_claim claim = {.tokens_in = tokens_of(r->body), .tokens_out = q->max_tokens};
    key_of(e, r->body, key);
    got->answer.text = mla_ledger_find(e->ledger, key, &got->answer.cut);
    if (got->answer.text) return 0;
    if (mla_ledger_admit(e->ledger, &claim, why) < 0) return -1;
    int rc = converse(e, r, read_completion, got, why);
    mla_err unkept;
    int kept = settle_chat(e, q, r, &claim, got, key, &unkept);
    if (rc == 0 && kept < 0) *why = unkept;
    return rc < 0 || kept < 0 ? -1 : 0;
}

int mla_endpoint_ask(const mla_endpoint *e, const mla_question *question, mla_answer *out,
                     mla_err *why) {
    completion got = {.used = {.tokens_in = NAN, .tokens_out = NAN}};
    request r = {.method = "POST", .path = "chat/completions", .body = chat_body(e, question),
                 .seed = question->seed ? *question->seed : 1};
    int rc = e->ledger ? ask_counted(e, question, &r, &got, why)
                       : converse(e, &r, read_completion, &got, why);
    free(r.body);
    *out = got.answer;
    return rc;
}

// --- vectors ------------------------------------------------------------------------------------

typedef struct {
    float *vectors;                      // [n, dim]
    size_t n, dim;
    usage used;
} embeddings;

static int read_vector(embeddings *out, size_t at, const json_t *values, mla_err *why) {
    size_t dim = json_array_size(values);
    if (!out->vectors && dim > 0 && dim <= DIM_MAX) {
        out->dim = dim;
        out->vectors = MLA_NEW_ARRAY(float, out->n * dim);
    }
    if (!dim || dim != out->dim) return mla_err_set(why, "vectors of %zu numbers", dim);
    for (size_t d = 0; d < dim; d++) {
        const json_t *value = json_array_get(values, d);
        if (!json_is_number(value)) return mla_err_set(why, "a vector that is not of numbers");
        out->vectors[at * dim + d] = (float)json_number_value(value);
    }
    return 0;
}

static int read_vectors(const mla_endpoint *e, const json_t *reply, void *ctx, mla_err *why) {
    embeddings *out = ctx;
    const json_t *data = json_object_get(reply, "data");
    free(out->vectors);
    out->vectors = NULL;
    if (json_array_size(data) != out->n) {
        return mla_err_set(why, "%s's reply has %zu vectors for %zu texts", e->who,
                           json_array_size(data), out->n);
    }
    for (size_t i = 0; i < out->n; i++) {
        const json_t *one = json_array_get(data, i);
        long long at = mla_json_get_int(one, "index", (long long)i);
        if (at < 0 || at >= (long long)out->n) return mla_err_set(why, "a vector has no place");
        if (read_vector(out, (size_t)at, json_object_get(one, "embedding"), why) < 0) {
            return mla_err_wrap(why, "%s's reply", e->who);
        }
    }
    out->used = read_usage(reply);
    return 0;
}

static char *embed_body(const mla_endpoint *e, const char *const *texts, size_t n) {
    json_t *body = json_object(), *input = json_array();
    for (size_t i = 0; i < n; i++) {
        json_array_append_new(input, mla_json_text(texts[i], strlen(texts[i])));
    }
    json_object_set_new(body, "model", mla_json_text(e->model, strlen(e->model)));
    json_object_set_new(body, "input", input);
    char *line = mla_json_line(body);
    json_decref(body);
    return line;
}

int mla_endpoint_embed(const mla_endpoint *e, const char *const *texts, size_t n, float **out,
                       size_t *dim, mla_err *why) {
    embeddings got = {.n = n, .used = {.tokens_in = NAN, .tokens_out = NAN}};
    request r = {.method = "POST", .path = "embeddings", .body = embed_body(e, texts, n),
                 .seed = 1};
    mla_ledger_claim claim = {.tokens_in = tokens_of(r.body)};
    int rc = e->ledger ? mla_ledger_admit(e->ledger, &claim, why) : 0;
    bool admitted = e->ledger && rc == 0;
    if (rc == 0) rc = converse(e, &r, read_vectors, &got, why);
    if (admitted) {
        if (rc == 0 && !(got.used.tokens_in >= 0)) got.used.tokens_in = claim.tokens_in;
        mla_ledger_call call = bill(e, &r, &claim, &got.used);
        char key[65];
        key_of(e, r.body, key);
        call.key = key;
        call.purpose = "embedding";
        mla_err unkept;
        if (mla_ledger_settle(e->ledger, &claim, &call, &unkept) < 0 && rc == 0) {
            *why = unkept;
            rc = -1;
        }
    }
    free(r.body);
    if (rc < 0) free(got.vectors);
    *out = rc < 0 ? NULL : got.vectors;
    *dim = got.dim;
    return rc;
}

// --- models -------------------------------------------------------------------------------------

static int read_models(const mla_endpoint *e, const json_t *reply, void *ctx, mla_err *why) {
    const json_t *data = json_object_get(reply, "data");
    const char *id = mla_json_get_text(json_array_get(data, 0), "id", NULL);
    *(char **)ctx = json_array_size(data) == 1 && id ? mla_strdup(id) : NULL;
    if (json_is_array(data)) return 0;
    return mla_err_set(why, "%s's list of models is none", e->who);
}

char *mla_endpoint_only_model(const mla_endpoint *e, mla_err *why) {
    char *name = NULL;
    request r = {.method = "GET", .path = "models", .seed = 1};
    if (converse(e, &r, read_models, &name, why) == 0 && !name) {
        mla_err_set(why, "%s has several models; name one", e->who);
    }
    return name;
}
