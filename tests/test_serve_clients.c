// Many clients at once: each is answered as if it were alone, a full queue refuses, who hangs up is
// forgotten, and a service that stops finishes what it has begun.
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve_fixture.h"

// MANY samples of LONG tokens take much longer than any other request here.
enum { CLIENTS = 6, MANY = 32, LONG = 1900 };

static serve_fixture shared;

static int open_group(void **state) {
    (void)state;
    return serve_open(&shared);
}

static int close_group(void **state) {
    (void)state;
    serve_close(&shared);
    return 0;
}

static int set_up(void **state) {
    serve_start(&shared, LIVE_MAX, NULL);
    *state = &shared;
    return 0;
}

static int set_up_narrow(void **state) {
    serve_start(&shared, 1, NULL);
    *state = &shared;
    return 0;
}

static int tear_down(void **state) {
    serve_fixture *f = *state;
    if (f->service) serve_stop(f);
    return 0;
}

// ---- together -----------------------------------------------------------------------------------

typedef struct {
    const serve_fixture *f;
    int number;
    json_t *choices, *vectors;
} client;

static json_t *member_take(json_t *reply, const char *key) {
    json_t *value = json_incref(serve_at(reply, key));
    json_decref(reply);
    return value;
}

static json_t *ask_by(const serve_fixture *f, mla_http_client *http, const char *path,
                      const char *body) {
    mla_err err = {{0}};
    mla_http_reply reply = serve_send(f, http, "POST", path, body);
    json_t *value = mla_json_parse(mla_buf_text(&reply.body), reply.body.len, path, &err);
    mla_http_reply_clear(&reply);
    return value;
}

static void *run_client(void *arg) {
    client *c = arg;
    mla_http_client *http = serve_client(NULL);
    char *chat = mla_format("{\"model\": \"tiny\", \"messages\": [{\"role\": \"user\", "
                            "\"content\": \"Number %d, if you please.\"}], \"n\": 2, \"seed\": %d, "
                            "\"logprobs\": true, \"max_tokens\": %d}", c->number, c->number,
                            30 + 7 * c->number);
    char *embed = mla_format("{\"model\": \"tiny\", \"input\": \"number %d\"}", c->number);
    c->choices = member_take(ask_by(c->f, http, "/v1/chat/completions", chat), "choices");
    c->vectors = member_take(ask_by(c->f, http, "/v1/embeddings", embed), "data");
    free(chat);
    free(embed);
    mla_http_client_free(http);
    return NULL;
}

static void each_is_answered_as_if_alone(void **state) {
    client together[CLIENTS], alone[CLIENTS];
    pthread_t threads[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        together[i] = alone[i] = (client){.f = *state, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, run_client, &together[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < CLIENTS; i++) {
        run_client(&alone[i]);
        assert_true(json_equal(together[i].choices, alone[i].choices));
        assert_true(json_equal(together[i].vectors, alone[i].vectors));
    }
    assert_false(json_equal(alone[0].choices, alone[1].choices));
    for (int i = 0; i < CLIENTS; i++) {
        json_decref(together[i].choices);
        json_decref(together[i].vectors);
        json_decref(alone[i].choices);
        json_decref(alone[i].vectors);
    }
}

// ---- a full queue, and hanging up in a stream ---------------------------------------------------

static char *long_body(bool stream) {
    return mla_format("{\"model\": \"tiny\", \"prompt\": \"x\", \"max_tokens\": %d, \"n\": %d, "
                      "\"seed\": 3, \"stream\": %s}", LONG, MANY, stream ? "true" : "false");
}

typedef struct {
    const serve_fixture *f;
    mla_http_client *other;
    int status;
    double retry_after;
} rival;

// While the stream runs, another client asks; then the first one hangs up.
static int ask_meanwhile(void *ctx, const char *data) {
    rival *r = ctx;
    (void)data;
    mla_http_reply reply = serve_send(r->f, r->other, "POST", "/v1/completions",
                                      "{\"model\": \"tiny\", \"prompt\": \"y\"}");
    r->status = reply.status;
    r->retry_after = reply.retry_after;
    assert_non_null(strstr(mla_buf_text(&reply.body), "rate_limit_error"));
    mla_http_reply_clear(&reply);
    return 1;
}

static void wait_until_idle(const serve_fixture *f, mla_http_client *c) {
    while (serve_metric(f, c, "mlagent_requests_live") > 0) sched_yield();
}

static void a_full_queue_refuses_and_who_hangs_up_is_forgotten(void **state) {
    serve_fixture *f = *state;
    rival r = {.f = f, .other = serve_client(NULL)};
    mla_http_reply reply;
    mla_err err = {{0}};
    char *url = mla_format("%s/v1/completions", f->base), *body = long_body(true);
    const mla_http_request request = {.method = "POST", .url = url, .body = body,
                                      .len = strlen(body), .on_event = ask_meanwhile, .ctx = &r};
    mla_http_client *first = serve_client(NULL);
    assert_int_equal(mla_http_send(first, &request, &reply, &err), 0);
    assert_true(reply.hung_up);
    mla_http_client_free(first);
    assert_int_equal(r.status, 429);
    assert_float_equal(r.retry_after, 1, 0);
    wait_until_idle(f, r.other);
    assert_float_equal(serve_metric(f, r.other, "mlagent_engine_cancelled_total"), 1, 0);
    assert_true(serve_metric(f, r.other, "mlagent_new_tokens_total") < MANY * LONG);
    // There is room again.
    json_decref(serve_ask(f, "/v1/completions", "{\"model\": \"tiny\", \"prompt\": \"y\"}"));
    mla_http_reply_clear(&reply);
    mla_http_client_free(r.other);
    free(url);
    free(body);
}

// ---- hanging up while nothing is sent -----------------------------------------------------------

static int connect_to(const serve_fixture *f) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)mla_serve_port(f->service)),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void a_client_that_waits_for_a_whole_reply_may_hang_up_too(void **state) {
    const serve_fixture *f = *state;
    char *body = long_body(false);
    char *text = mla_format("POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
                            "Content-Type: application/json\r\n"
                            "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
    int fd = connect_to(f);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    while (serve_metric(f, f->client, "mlagent_new_tokens_total") < 1) sched_yield();
    close(fd);
    wait_until_idle(f, f->client);
    assert_float_equal(serve_metric(f, f->client, "mlagent_engine_cancelled_total"), 1, 0);
    assert_true(serve_metric(f, f->client, "mlagent_new_tokens_total") < MANY * LONG);
    free(text);
    free(body);
}

// ---- stopping -----------------------------------------------------------------------------------

typedef struct {
    serve_fixture *f;
    pthread_t stopper;
    int pieces;
    bool done;
} farewell;

static void *stop_service(void *arg) {
    serve_stop(arg);
    return NULL;
}

static int stop_at_first(void *ctx, const char *data) {
    farewell *w = ctx;
    if (!w->pieces++) pthread_create(&w->stopper, NULL, stop_service, w->f);
    w->done = !strcmp(data, "[DONE]");
    return 0;
}

static void a_service_that_stops_finishes_what_it_has(void **state) {
    serve_fixture *f = *state;
    farewell w = {.f = f};
    mla_http_reply reply;
    mla_err err = {{0}};
    char *url = mla_format("%s/v1/completions", f->base);
    static const char body[] = "{\"model\": \"tiny\", \"prompt\": \"x\", \"max_tokens\": 300, "
                               "\"seed\": 3, \"stream\": true}";
    const mla_http_request request = {.method = "POST", .url = url, .body = body,
                                      .len = strlen(body), .on_event = stop_at_first, .ctx = &w};
    assert_int_equal(mla_http_send(f->client, &request, &reply, &err), 0);
    assert_true(w.done);
    assert_true(w.pieces > 2);
    mla_http_reply_clear(&reply);
    pthread_join(w.stopper, NULL);
    assert_int_equal(mla_http_send(f->client, &request, &reply, &err), -1);
    mla_http_reply_clear(&reply);
    free(url);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_is_answered_as_if_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_queue_refuses_and_who_hangs_up_is_forgotten,
                                        set_up_narrow, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_waits_for_a_whole_reply_may_hang_up_too,
                                        set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_service_that_stops_finishes_what_it_has, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
