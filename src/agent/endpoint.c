// Asking a chat-completions endpoint for one answer.
#include "agent/endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/mem.h"
#include "net/client.h"

#define REPLY_MAX ((size_t)1 << 20)      // bytes of a reply
#define KEY_MAX 4096

struct mla__endpoint {
    char *who, *model, *url, *key;       // owned; key NULL: none
    double seconds;
    int attempts;
};

int mla__endpoint_create(mla__endpoint **out, const mla__endpoint_options *options, mla_err *err) {
    const char *url = options->url;
    *out = NULL;
    if (strncmp(url, "http://", 7) && strncmp(url, "https://", 8)) {
        return mla_err_set(err, "%s: \"%s\" is no http address", options->key, url);
    }
    mla__endpoint *e = *out = MLA_NEW(mla__endpoint);
    size_t n = strlen(url);
    e->who = mla_strdup(options->who);
    e->model = mla_strdup(options->model);
    e->url = mla_format("%.*s/chat/completions", (int)(n - (url[n - 1] == '/')), url);
    e->seconds = options->seconds;
    e->attempts = options->attempts;
    const char *key = *options->key_env ? getenv(options->key_env) : NULL;
    if (key && *key) e->key = mla_strndup(key, strnlen(key, KEY_MAX));
    return 0;
}

void mla__endpoint_free(mla__endpoint *e) {
    if (!e) return;
    free(e->who);
    free(e->model);
    free(e->url);
    free(e->key);
    free(e);
}

static char *request_body(const mla__endpoint *e, const mla__question *q) {
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

static int read_completion(const mla__endpoint *e, const mla_buf *body, mla__answer *out,
                           mla_err *why) {
    char *what = mla_format("%s's reply", e->who);
    json_t *reply = mla_json_parse(mla_buf_text(body), body->len, what, why);
    free(what);
    if (!reply) return -1;
    const json_t *choice = json_array_get(json_object_get(reply, "choices"), 0);
    const char *content = mla_json_get_text(json_object_get(choice, "message"), "content", NULL);
    if (content) {
        out->text = mla_strdup(content);
        out->cut = !strcmp(mla_json_get_text(choice, "finish_reason", ""), "length");
    }
    json_decref(reply);
    if (content) return 0;
    return mla_err_set(why, "%s's reply has no choices[0].message.content", e->who);
}

// A client a call: clients are for one thread at a time, and a call takes seconds anyway.
int mla__endpoint_ask(const mla__endpoint *e, const mla__question *question, mla__answer *out,
                      mla_err *why) {
    *out = (mla__answer){.text = NULL};
    mla_http_client_options o = mla_http_client_options_default();
    o.total_seconds = e->seconds;
    o.attempts = e->attempts;
    o.body_max = REPLY_MAX;
    o.key = e->key;
    mla_http_client *client = mla_http_client_create(&o);
    char *body = request_body(e, question);
    const mla_http_request call = {.method = "POST", .url = e->url, .body = body,
                                   .len = strlen(body)};
    mla_http_reply reply;
    int rc = mla_http_send(client, &call, &reply, why);
    if (rc == 0 && reply.status != 200) {
        rc = mla_err_set(why, "%s replied with status %d", e->who, reply.status);
    } else if (rc == 0) {
        rc = read_completion(e, &reply.body, out, why);
    }
    mla_http_reply_clear(&reply);
    mla_http_client_free(client);
    free(body);
    return rc;
}
