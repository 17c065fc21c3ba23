// A tiny policy behind a real service on a loopback port, and a client of it.
#ifndef MLA_TESTS_SERVE_FIXTURE_H
#define MLA_TESTS_SERVE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "net/client.h"
#include "serve/serve.h"
#include "tiny_policy.h"

#define LIVE_MAX 8
#define BODY_MAX 20000
#define CONTEXT 2048                // of the tiny policy

typedef struct serve_fixture {
    char dir[64];
    mla_policy *policy;
    mla_service *service;
    mla_http_client *client;
    char *base;
} serve_fixture;

static inline mla_http_client *serve_client(const char *key) {
    mla_http_client_options options = mla_http_client_options_default();
    options.attempts = 1;
    options.total_seconds = 120;
    options.key = key;
    return mla_http_client_create(&options);
}

static inline void serve_start(serve_fixture *f, size_t live_max, const char *key) {
    mla_err err = {{0}};
    mla_serve_options options = mla_serve_options_default();
    options.port = 0;
    options.model = "tiny";
    options.live_max = live_max;
    options.body_max = BODY_MAX;
    options.kv_bytes = (size_t)64 << 20;
    options.key = key;
    f->service = mla_serve_start(f->policy, &options, &err);
    if (!f->service) fail_msg("%s", err.text);
    f->base = mla_format("http://127.0.0.1:%d", mla_serve_port(f->service));
}

static inline void serve_stop(serve_fixture *f) {
    mla_serve_free(f->service);
    free(f->base);
    f->service = NULL;
    f->base = NULL;
}

// The policy stays for all tests of a group; each test has a service of its own.
static inline int serve_open(serve_fixture *f) {
    mla_err err = {{0}};
    const mla_policy_options options = {.compute = MLA_COMPUTE_F32, .kv_bytes = (size_t)64 << 20};
    snprintf(f->dir, sizeof f->dir, "/tmp/mlagent-serve-XXXXXX");
    if (!mkdtemp(f->dir) || tiny_policy_write(f->dir, 11) < 0) return -1;
    f->policy = mla_policy_open(f->dir, &options, &err);
    if (!f->policy) fprintf(stderr, "%s\n", err.text);
    f->client = serve_client(NULL);
    return f->policy ? 0 : -1;
}

static inline void serve_close(serve_fixture *f) {
    mla_err err;
    mla_http_client_free(f->client);
    mla_policy_free(f->policy);
    if (mla_fs_remove_tree(f->dir, &err) < 0) fprintf(stderr, "%s\n", err.text);
}

static inline mla_http_reply serve_send(const serve_fixture *f, mla_http_client *client,
                                        const char *method, const char *path, const char *body) {
    mla_http_reply reply;
    mla_err err = {{0}};
    char *url = mla_format("%s%s", f->base, path);
    const mla_http_request request = {.method = method, .url = url, .body = body,
                                      .len = body ? strlen(body) : 0};
    if (mla_http_send(client, &request, &reply, &err) < 0) fail_msg("%s", err.text);
    free(url);
    return reply;
}

// Posts; the reply must be 200 and JSON. Caller owns the reference.
static inline json_t *serve_ask(const serve_fixture *f, const char *path, const char *body) {
    mla_err err = {{0}};
    mla_http_reply reply = serve_send(f, f->client, "POST", path, body);
    if (reply.status != 200) fail_msg("%d: %s", reply.status, mla_buf_text(&reply.body));
    json_t *value = mla_json_parse(mla_buf_text(&reply.body), reply.body.len, path, &err);
    if (!value) fail_msg("%s", err.text);
    mla_http_reply_clear(&reply);
    return value;
}

// A value by its path: keys, and indices as text, separated by dots. Must be there.
static inline json_t *serve_at(const json_t *value, const char *path) {
    char part[64];
    for (const char *at = path; *at; at += *at == '.') {
        size_t n = strcspn(at, ".");
        snprintf(part, sizeof part, "%.*s", (int)n, at);
        value = json_is_array(value) ? json_array_get(value, strtoul(part, NULL, 10))
                                     : json_object_get(value, part);
        if (!value) fail_msg("there is no %s", path);
        at += n;
    }
    return (json_t *)(uintptr_t)value;
}

static inline const char *serve_text(const json_t *value, const char *path) {
    const char *text = json_string_value(serve_at(value, path));
    if (!text) fail_msg("%s is no string", path);
    return text;
}

static inline long long serve_int(const json_t *value, const char *path) {
    return json_integer_value(serve_at(value, path));
}

// A line's number in /metrics: `name` with its labels. 0 when it is not there.
static inline double serve_metric(const serve_fixture *f, mla_http_client *client,
                                  const char *name) {
    mla_http_reply reply = serve_send(f, client, "GET", "/metrics", NULL);
    assert_int_equal(reply.status, 200);
    double value = 0;
    size_t n = strlen(name);
    for (const char *line = mla_buf_text(&reply.body); line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!strncmp(line, name, n) && line[n] == ' ') value = strtod(line + n, NULL);
    }
    mla_http_reply_clear(&reply);
    return value;
}

#endif
