// Client and server against each other on a loopback port.
#include <arpa/inet.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "net/client.h"
#include "net/internal.h"
#include "net/server.h"

#define BODY_MAX 1000
#define TEXT "text/plain"

typedef struct {
    mla_http_server *server;
    mla_http_client *client;
    char *base;                     // http://127.0.0.1:<port>
    atomic_int failures_left;       // of /shaky
    atomic_int pieces_left;         // of /count; negative: for ever
    atomic_int streams_ended, hang_ups_seen;
    atomic_int replies[600];        // by status
} fixture;

// ---- the server's side -------------------------------------------------------------------------

static void on_echo(void *ctx, mla_http_call *call) {
    (void)ctx;
    const mla_buf *body = mla_http_call_body(call);
    mla_http_call_reply_take(call, 200, TEXT, mla_strndup(mla_buf_text(body), body->len));
}

static void on_shaky(void *ctx, mla_http_call *call) {
    fixture *f = ctx;
    bool fails = atomic_fetch_sub(&f->failures_left, 1) > 0;
    mla_http_call_reply_take(call, fails ? 429 : 200, TEXT, mla_strdup(fails ? "busy" : "done"));
    if (fails) mla_http_call_add_header(call, "Retry-After", "0");
}

static void on_path(void *ctx, mla_http_call *call) {
    (void)ctx;
    mla_http_call_reply_take(call, 200, TEXT, mla_strdup(mla_http_call_path(call)));
}

static void on_silence(void *ctx, mla_http_call *call) {
    (void)ctx, (void)call;
}

// Answers only when nobody is there any more.
static void on_forever(void *ctx, mla_http_call *call) {
    fixture *f = ctx;
    while (!mla_http_call_gone(call)) sched_yield();
    atomic_fetch_add(&f->hang_ups_seen, 1);
    mla_http_call_reply_take(call, 200, TEXT, mla_strdup("too late"));
}

static int next_number(void *ctx, mla_buf *out) {
    fixture *f = ctx;
    int left = atomic_fetch_sub(&f->pieces_left, 1);
    if (left == 0) return 0;
    mla_buf_printf(out, "data: %d\n\n", left);
    return 1;
}

static void on_stream_end(void *ctx) {
    fixture *f = ctx;
    atomic_fetch_add(&f->streams_ended, 1);
}

static void on_count(void *ctx, mla_http_call *call) {
    mla_http_call_stream(call, "text/event-stream", next_number, on_stream_end, ctx);
}

static int next_broken(void *ctx, mla_buf *out) {
    fixture *f = ctx;
    if (atomic_exchange(&f->pieces_left, 0) == 0) return -1;
    mla_buf_puts(out, "data: first\n\n");
    return 1;
}

static void on_broken(void *ctx, mla_http_call *call) {
    mla_http_call_stream(call, "text/event-stream", next_broken, on_stream_end, ctx);
}

static char *error_body(void *ctx, int status, const char *message) {
    (void)ctx;
    return mla_format("%d: %s", status, message);
}

static void on_reply(void *ctx, const char *path, int status) {
    fixture *f = ctx;
    assert_true(!path || *path == '/');
    atomic_fetch_add(&f->replies[status], 1);
}

static mla_http_server *start_server(fixture *f, const char *key) {
    static const mla_http_route routes[] = {
        {"POST", "/echo", false, NULL, on_echo},
        {"POST", "/shaky", false, NULL, on_shaky},
        {"GET", "/files/*", false, NULL, on_path},
        {"GET", "/open", true, NULL, on_path},
        {"GET", "/silence", false, NULL, on_silence},
        {"GET", "/forever", false, NULL, on_forever},
        {"POST", "/count", false, NULL, on_count},
        {"POST", "/broken", false, NULL, on_broken},
        {"POST", "/json", false, "application/json", on_echo},
        {"POST", "/text", false, TEXT, on_echo},
    };
    const mla_http_server_options options = {
        .host = "127.0.0.1", .port = 0, .key = key, .body_max = BODY_MAX, .max_connections = 32,
        .idle_seconds = 60, .routes = routes, .n_routes = MLA_COUNT(routes), .ctx = f,
        .error_body = error_body, .on_reply = on_reply};
    mla_err err = {{0}};
    mla_http_server *server = mla_http_server_start(&options, &err);
    if (!server) fail_msg("%s", err.text);
    return server;
}

static mla_http_client_options quick_options(void) {
    mla_http_client_options options = mla_http_client_options_default();
    options.attempts = 1;
    options.wait_seconds = 0.001;
    return options;
}

static int set_up_with(void **state, const char *key) {
    fixture *f = MLA_NEW(fixture);
    const mla_http_client_options options = quick_options();
    f->server = start_server(f, key);
    f->client = mla_http_client_create(&options);
    f->base = mla_format("http://127.0.0.1:%d", mla_http_server_port(f->server));
    *state = f;
    return 0;
}

static int set_up(void **state) {
    return set_up_with(state, NULL);
}

static int set_up_with_key(void **state) {
    return set_up_with(state, "secret");
}

static int tear_down(void **state) {
    fixture *f = *state;
    mla_http_client_free(f->client);
    mla_http_server_free(f->server);
    free(f->base);
    free(f);
    return 0;
}

// ---- the client's side -------------------------------------------------------------------------

static int send_by(mla_http_client *client, const fixture *f, const char *method, const char *path,
                   const char *body, mla_http_reply *out, mla_err *err) {
    char *url = mla_format("%s%s", f->base, path);
    const mla_http_request request = {.method = method, .url = url, .body = body,
                                      .len = body ? strlen(body) : 0};
    int rc = mla_http_send(client, &request, out, err);
    free(url);
    return rc;
}

// Sends and checks status and body (NULL: any).
static void expect(const fixture *f, const char *method, const char *path, const char *body,
                   int status, const char *wanted) {
    mla_http_reply reply;
    mla_err err = {{0}};
    if (send_by(f->client, f, method, path, body, &reply, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(reply.status, status);
    if (wanted) assert_string_equal(mla_buf_text(&reply.body), wanted);
    mla_http_reply_clear(&reply);
}

static void routes_are_found(void **state) {
    fixture *f = *state;
    expect(f, "POST", "/echo", "hello", 200, "hello");
    expect(f, "POST", "/echo", "", 200, "");
    expect(f, "GET", "/files/a/b", NULL, 200, "/files/a/b");
    expect(f, "GET", "/open", NULL, 200, "/open");
    expect(f, "GET", "/nothing", NULL, 404, "404: there is nothing at this path");
    expect(f, "GET", "/echo", NULL, 405, "405: this path takes POST only");
    expect(f, "DELETE", "/open", NULL, 405, NULL);
    expect(f, "GET", "/silence", NULL, 500, "500: the service failed");
    assert_int_equal(f->replies[200], 4);
    assert_int_equal(f->replies[404], 1);
    assert_int_equal(f->replies[405], 2);
}

static void a_body_has_a_ceiling(void **state) {
    fixture *f = *state;
    for (int extra = -1; extra <= 1; extra++) {
        size_t n = (size_t)(BODY_MAX + extra);
        char *body = mla_alloc(n + 1, 1);
        memset(body, 'x', n);
        expect(f, "POST", "/echo", body, extra > 0 ? 413 : 200, extra > 0 ? NULL : body);
        free(body);
    }
    char *huge = mla_alloc(((size_t)4 << 20) + 1, 1);       // asks before it sends
    memset(huge, 'x', (size_t)4 << 20);
    expect(f, "POST", "/echo", huge, 413, "413: the request's body is too long");
    free(huge);
    expect(f, "POST", "/echo", "still here", 200, "still here");
}

// The status of a request with the header lines `head`, sent as it stands.
static int status_of(const fixture *f, const char *head) {
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)mla_http_server_port(f->server)),
                                  .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    char reply[4096];
    size_t len = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    char *text = mla_format("%sHost: x\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}", head);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    for (ssize_t n = 1; n > 0 && len < sizeof reply - 1; len += (size_t)n) {
        n = read(fd, reply + len, sizeof reply - 1 - len);
        if (n < 0) n = 0;
    }
    reply[len] = '\0';
    close(fd);
    free(text);
    assert_int_equal(strncmp(reply, "HTTP/1.1 ", 9), 0);
    return (int)strtol(reply + 9, NULL, 10);
}

static void a_body_has_the_type_that_its_route_takes(void **state) {
    fixture *f = *state;
    static const struct {
        const char *type;
        int status;
    } types[] = {{"application/json", 200}, {"Application/JSON; charset=utf-8", 200},
                 {"application/json ;x", 200}, {"application/jsonp", 415},
                 {"application/jso", 415}, {"text/plain", 415}, {"", 415},
                 {"application/x-www-form-urlencoded", 415}};
    for (size_t i = 0; i < MLA_COUNT(types); i++) {
        char *head = mla_format("POST /json HTTP/1.1\r\nContent-Type: %s\r\n", types[i].type);
        assert_int_equal(status_of(f, head), types[i].status);
        free(head);
    }
    assert_int_equal(status_of(f, "POST /json HTTP/1.1\r\n"), 415);
    assert_int_equal(status_of(f, "POST /echo HTTP/1.1\r\n"), 200);
    expect(f, "POST", "/text", "{}", 415,
           "415: the body must be text/plain; say so in a Content-Type header");
}

static void the_key_is_asked_for(void **state) {
    fixture *f = *state;
    static const char *const wrong[] = {NULL, "secre", "secret2", "Secret", "x"};
    for (size_t i = 0; i < MLA_COUNT(wrong); i++) {
        mla_http_client_options options = quick_options();
        options.key = wrong[i];
        mla_http_client_free(f->client);
        f->client = mla_http_client_create(&options);
        expect(f, "POST", "/echo", "hello", 401, NULL);
        expect(f, "GET", "/nothing", NULL, 401, NULL);
        expect(f, "GET", "/open", NULL, 200, NULL);
    }
    mla_http_client_options options = quick_options();
    options.key = "secret";
    mla_http_client_free(f->client);
    f->client = mla_http_client_create(&options);
    expect(f, "POST", "/echo", "hello", 200, "hello");
}

static void what_may_pass_is_tried_again(void **state) {
    fixture *f = *state;
    mla_http_client_options options = quick_options();
    mla_http_reply reply;
    mla_err err = {{0}};
    options.attempts = 4;
    mla_http_client *patient = mla_http_client_create(&options);
    f->failures_left = 3;
    assert_int_equal(send_by(patient, f, "POST", "/shaky", "x", &reply, &err), 0);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.attempts, 4);
    assert_string_equal(mla_buf_text(&reply.body), "done");
    mla_http_reply_clear(&reply);
    f->failures_left = 100;
    assert_int_equal(send_by(patient, f, "POST", "/shaky", "x", &reply, &err), 0);
    assert_int_equal(reply.status, 429);
    assert_int_equal(f->failures_left, 96);
    assert_string_equal(mla_buf_text(&reply.body), "busy");
    mla_http_reply_clear(&reply);
    assert_int_equal(send_by(patient, f, "GET", "/nothing", NULL, &reply, &err), 0);
    assert_int_equal(reply.attempts, 1);
    mla_http_reply_clear(&reply);
    mla_http_client_free(patient);
}

static void a_host_that_is_not_there_is_an_error(void **state) {
    fixture *f = *state;
    mla_http_client_options options = quick_options();
    mla_http_reply reply;
    mla_err err = {{0}};
    options.attempts = 3;
    mla_http_client *client = mla_http_client_create(&options);
    mla_http_server_drain(f->server, 5);
    assert_int_equal(send_by(client, f, "GET", "/open", NULL, &reply, &err), -1);
    assert_int_equal(reply.attempts, 3);
    assert_non_null(strstr(err.text, f->base));
    mla_http_reply_clear(&reply);
    const mla_http_request bad = {.method = "GET", .url = "ftp://127.0.0.1/x"};
    assert_int_equal(mla_http_send(client, &bad, &reply, &err), -1);
    assert_int_equal(reply.attempts, 1);
    mla_http_reply_clear(&reply);
    mla_http_client_free(client);
}

static void an_attempt_has_a_time_limit_and_the_server_sees_it_end(void **state) {
    fixture *f = *state;
    mla_http_client_options options = quick_options();
    mla_http_reply reply;
    mla_err err = {{0}};
    options.total_seconds = 0.2;
    mla_http_client *client = mla_http_client_create(&options);
    assert_int_equal(send_by(client, f, "GET", "/forever", NULL, &reply, &err), -1);
    mla_http_reply_clear(&reply);
    mla_http_client_free(client);
    while (!f->hang_ups_seen) sched_yield();
}

static void a_reply_has_a_ceiling(void **state) {
    fixture *f = *state;
    mla_http_client_options options = quick_options();
    mla_http_reply reply;
    mla_err err = {{0}};
    options.body_max = 4;
    mla_http_client *client = mla_http_client_create(&options);
    assert_int_equal(send_by(client, f, "POST", "/echo", "1234", &reply, &err), 0);
    mla_http_reply_clear(&reply);
    assert_int_equal(send_by(client, f, "POST", "/echo", "12345", &reply, &err), -1);
    assert_non_null(strstr(err.text, "longer than 4 bytes"));
    mla_http_reply_clear(&reply);
    mla_http_client_free(client);
}

// ---- streams -----------------------------------------------------------------------------------

typedef struct {
    int n, last, enough;
} counter;

static int on_event(void *ctx, const char *data) {
    counter *c = ctx;
    c->n++;
    c->last = (int)strtol(data, NULL, 10);
    return c->n == c->enough;
}

static int count_events(fixture *f, const char *path, counter *c, mla_http_reply *reply) {
    mla_err err = {{0}};
    char *url = mla_format("%s%s", f->base, path);
    const mla_http_request request = {.method = "POST", .url = url, .body = "{}", .len = 2,
                                      .on_event = on_event, .ctx = c};
    int rc = mla_http_send(f->client, &request, reply, &err);
    free(url);
    return rc;
}

static void events_are_streamed(void **state) {
    fixture *f = *state;
    counter c = {0};
    mla_http_reply reply;
    f->pieces_left = 5000;
    assert_int_equal(count_events(f, "/count", &c, &reply), 0);
    assert_int_equal(reply.status, 200);
    assert_int_equal(c.n, 5000);
    assert_int_equal(c.last, 1);
    mla_http_reply_clear(&reply);
    while (f->streams_ended != 1) sched_yield();
}

static void a_client_that_has_enough_ends_the_stream(void **state) {
    fixture *f = *state;
    counter c = {.enough = 3};
    mla_http_reply reply;
    f->pieces_left = -1;
    assert_int_equal(count_events(f, "/count", &c, &reply), 0);
    assert_true(reply.hung_up);
    assert_int_equal(c.n, 3);
    mla_http_reply_clear(&reply);
    while (f->streams_ended != 1) sched_yield();
}

static void a_broken_stream_is_seen_and_not_asked_for_again(void **state) {
    fixture *f = *state;
    counter c = {0};
    mla_http_reply reply;
    mla_http_client_options options = quick_options();
    options.attempts = 3;
    mla_http_client_free(f->client);
    f->client = mla_http_client_create(&options);
    f->pieces_left = 1;
    assert_int_equal(count_events(f, "/broken", &c, &reply), -1);
    assert_int_equal(c.n, 1);
    assert_int_equal(reply.attempts, 1);
    mla_http_reply_clear(&reply);
}

// ---- the rest ----------------------------------------------------------------------------------

static void waits_grow_and_follow_retry_after(void **state) {
    (void)state;
    const mla_http_client_options o = {.wait_seconds = 1, .wait_max_seconds = 20};
    assert_float_equal(mla__http_wait(&o, 1, 0, 0), 0.5, 1e-9);
    assert_float_equal(mla__http_wait(&o, 1, 1, 0), 1, 1e-9);
    assert_float_equal(mla__http_wait(&o, 4, 1, 0), 8, 1e-9);
    assert_float_equal(mla__http_wait(&o, 4, 0.5, 0), 6, 1e-9);
    assert_float_equal(mla__http_wait(&o, 30, 1, 0), 20, 1e-9);
    assert_float_equal(mla__http_wait(&o, 1, 0, 7), 7, 1e-9);
    assert_float_equal(mla__http_wait(&o, 1, 0, 3600), 20, 1e-9);
    static const int pass[] = {429, 500, 502, 503, 504}, stay[] = {200, 400, 401, 404, 413, 501};
    for (size_t i = 0; i < MLA_COUNT(pass); i++) assert_true(mla__http_may_pass(pass[i]));
    for (size_t i = 0; i < MLA_COUNT(stay); i++) assert_false(mla__http_may_pass(stay[i]));
}

static void a_port_in_use_is_an_error(void **state) {
    fixture *f = *state;
    mla_err err = {{0}};
    const mla_http_server_options options = {.host = "127.0.0.1", .max_connections = 4,
                                             .port = mla_http_server_port(f->server)};
    assert_null(mla_http_server_start(&options, &err));
    assert_non_null(strstr(err.text, "127.0.0.1 port"));
    assert_non_null(strstr(err.text, "choose another port"));
    const mla_http_server_options nowhere = {.host = "no.such.host.invalid", .max_connections = 4};
    assert_null(mla_http_server_start(&nowhere, &err));
    assert_non_null(strstr(err.text, "no.such.host.invalid"));
}

#define HTTP_TEST(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        HTTP_TEST(routes_are_found),
        HTTP_TEST(a_body_has_a_ceiling),
        HTTP_TEST(a_body_has_the_type_that_its_route_takes),
        cmocka_unit_test_setup_teardown(the_key_is_asked_for, set_up_with_key, tear_down),
        HTTP_TEST(what_may_pass_is_tried_again),
        HTTP_TEST(a_host_that_is_not_there_is_an_error),
        HTTP_TEST(an_attempt_has_a_time_limit_and_the_server_sees_it_end),
        HTTP_TEST(a_reply_has_a_ceiling),
        HTTP_TEST(events_are_streamed),
        HTTP_TEST(a_client_that_has_enough_ends_the_stream),
        HTTP_TEST(a_broken_stream_is_seen_and_not_asked_for_again),
        cmocka_unit_test(waits_grow_and_follow_retry_after),
        HTTP_TEST(a_port_in_use_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
