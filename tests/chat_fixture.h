// A real chat-completions service on a loopback port whose every reply is scripted: what it says,
// with which status and usage, and what it does wrong.
#ifndef MLA_TESTS_CHAT_FIXTURE_H
#define MLA_TESTS_CHAT_FIXTURE_H

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "net/server.h"

typedef struct chat_reply {
    int status;                      // 0: 200
    const char *content;             // of a completion
    const char *body;                // the whole body instead
    const char *retry_after;         // header
    int tokens_in, tokens_out;       // usage; both 0: it does not say
    double hang_seconds;             // before it replies
    bool cut;                        // finish_reason length
} chat_reply;

typedef struct chat_server {
    const chat_reply *script;        // [n_script], one a call; the last one again and again
    size_t n_script;
    char *(*answer)(void *ctx, const json_t *asked);    // instead of `script`: content, taken over
    void *ctx;
    atomic_int calls, live, most_live;
    pthread_mutex_t lock;
    json_t *asked;                   // array of all bodies
    mla_http_server *http;
    char url[64];
} chat_server;

static inline char *chat_body(const char *content, const chat_reply *r) {
    json_t *o = json_pack("{s:[{s:s, s:{s:s, s:s}}]}", "choices", "finish_reason",
                          r->cut ? "length" : "stop", "message", "role", "assistant", "content",
                          content);
    if (r->tokens_in + r->tokens_out) {
        json_object_set_new(o, "usage", json_pack("{s:i, s:i}", "prompt_tokens", r->tokens_in,
                                                  "completion_tokens", r->tokens_out));
    }
    char *text = mla_json_line(o);
    json_decref(o);
    return text;
}

static inline void chat_on_call(void *ctx, mla_http_call *call) {
    chat_server *s = ctx;
    mla_err err;
    const mla_buf *body = mla_http_call_body(call);
    json_t *asked = mla_json_parse(mla_buf_text(body), body->len, "asked", &err);
    int live = ++s->live, most = s->most_live;
    while (live > most && !atomic_compare_exchange_weak(&s->most_live, &most, live)) {
    }
    size_t at = (size_t)s->calls++;
    static const chat_reply plain = {.tokens_in = 10, .tokens_out = 5};
    const chat_reply *r = s->answer ? &plain
                          : &s->script[at < s->n_script ? at : s->n_script - 1];
    pthread_mutex_lock(&s->lock);
    json_array_append(s->asked, asked);
    char *said = s->answer ? s->answer(s->ctx, asked) : NULL;
    pthread_mutex_unlock(&s->lock);
    if (r->hang_seconds > 0) usleep((useconds_t)(r->hang_seconds * 1e6));
    char *text = r->body ? mla_strdup(r->body) : chat_body(said ? said : r->content, r);
    mla_http_call_reply_take(call, r->status ? r->status : 200, "application/json", text);
    if (r->retry_after) mla_http_call_add_header(call, "Retry-After", r->retry_after);
    s->live--;
    free(said);
    json_decref(asked);
}

static inline char *chat_error_body(void *ctx, int status, const char *message) {
    (void)ctx;
    return mla_format("{\"error\": {\"message\": \"%d %s\"}}", status, message);
}

static inline void chat_on_models(void *ctx, mla_http_call *call) {
    (void)ctx;
    mla_http_call_reply_take(call, 200, "application/json",
                             mla_strdup("{\"data\": [{\"id\": \"the-only-one\"}]}"));
}

static inline void chat_start(chat_server *s, const char *key) {
    static const mla_http_route routes[] = {
        {"POST", "/v1/chat/completions", false, "application/json", chat_on_call},
        {"POST", "/v1/embeddings", false, "application/json", chat_on_call},
        {"GET", "/v1/models", false, NULL, chat_on_models}};
    const mla_http_server_options options = {
        .host = "127.0.0.1", .port = 0, .key = key, .body_max = 1 << 20, .max_connections = 32,
        .idle_seconds = 20, .routes = routes, .n_routes = 3, .ctx = s,
        .error_body = chat_error_body};
    mla_err err;
    s->asked = json_array();
    assert_int_equal(pthread_mutex_init(&s->lock, NULL), 0);
    s->http = mla_http_server_start(&options, &err);
    if (!s->http) fail_msg("%s", err.text);
    snprintf(s->url, sizeof s->url, "http://127.0.0.1:%d/v1", mla_http_server_port(s->http));
}

static inline void chat_stop(chat_server *s) {
    mla_http_server_free(s->http);
    pthread_mutex_destroy(&s->lock);
    json_decref(s->asked);
}

#endif
