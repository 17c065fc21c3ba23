// The HTTP client. One libcurl handle a client, so that connections are kept.
#include "net/client.h"

#include <curl/curl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/rng.h"
#include "net/internal.h"

struct mla_http_client {
    mla_http_client_options options;
    CURL *curl;
    struct curl_slist *headers;
    mla_rng rng;
};

// One attempt, as the callbacks see it.
typedef struct {
    CURL *curl;
    const mla_http_request *request;
    mla_http_reply *reply;
    mla_events events;
    bool begun;             // events have come
    bool too_long;
    mla_err err;
} attempt;

mla_http_client_options mla_http_client_options_default(void) {
    return (mla_http_client_options){.connect_seconds = 10, .total_seconds = 600, .attempts = 6,
                                     .wait_seconds = 0.5, .wait_max_seconds = 60,
                                     .body_max = (size_t)16 << 20, .seed = 1};
}

// ---- a client's life -------------------------------------------------------------------------

static struct curl_slist *add_header(struct curl_slist *list, const char *line) {
    struct curl_slist *longer = curl_slist_append(list, line);
    MLA_ASSERT(longer);
    return longer;
}

mla_http_client *mla_http_client_create(const mla_http_client_options *options) {
    mla_http_client *client = MLA_NEW(mla_http_client);
    MLA_ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == 0);
    client->options = *options;
    client->curl = curl_easy_init();
    MLA_ASSERT(client->curl);
    mla_rng_init(&client->rng, options->seed);
    client->headers = add_header(NULL, "Content-Type: application/json");
    if (options->key) {
        char *line = mla_format("Authorization: Bearer %s", options->key);
        client->headers = add_header(client->headers, line);
        free(line);
    }
    client->options.key = NULL;     // the caller's memory
    return client;
}

void mla_http_client_free(mla_http_client *client) {
    if (!client) return;
    curl_slist_free_all(client->headers);
    curl_easy_cleanup(client->curl);
    curl_global_cleanup();
    free(client);
}

void mla_http_reply_clear(mla_http_reply *reply) {
    mla_buf_clear(&reply->body);
    *reply = (mla_http_reply){0};
}

// ---- one attempt -----------------------------------------------------------------------------

static size_t take_body(attempt *a, const char *bytes, size_t len) {
    mla_buf_append(&a->reply->body, bytes, len);
    a->too_long = a->reply->body.truncated;
    return a->too_long ? 0 : len;
}

static size_t take_events(attempt *a, const char *bytes, size_t len) {
    a->begun = true;
    int rc = mla_events_feed(&a->events, bytes, len, &a->err);
    a->reply->hung_up = rc > 0;
    a->too_long = rc < 0;
    return rc ? 0 : len;
}

static size_t on_bytes(char *bytes, size_t size, size_t n, void *ctx) {
    attempt *a = ctx;
    long status = 0;
    curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &status);
    bool events = a->request->on_event && status == 200;
    return events ? take_events(a, bytes, size * n) : take_body(a, bytes, size * n);
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    (void)ctx, (void)a, (void)b, (void)c, (void)d;
    return mla_stop_wanted();
}

// A service on this machine is never behind a proxy, whatever the environment says.
static bool is_loopback(const char *url) {
    CURLU *parts = curl_url();
    char *host = NULL;
    MLA_ASSERT(parts);
    bool found = curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK &&
                 (!strcmp(host, "localhost") || !strncmp(host, "127.", 4) ||
                  !strcmp(host, "[::1]"));
    curl_free(host);
    curl_url_cleanup(parts);
    return found;
}

static void prepare(const mla_http_client *client, attempt *a) {
    CURL *curl = client->curl;
    const mla_http_client_options *o = &client->options;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, a->request->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, a->request->method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "mlagent");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)(o->connect_seconds * 1e3));
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(o->total_seconds * 1e3));
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, a);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (is_loopback(a->request->url)) curl_easy_setopt(curl, CURLOPT_PROXY, "");
    if (a->request->body) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, a->request->body);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->request->len);
    }
}

static CURLcode perform(const mla_http_client *client, attempt *a) {
    prepare(client, a);
    mla_events_init(&a->events, client->options.body_max, a->request->on_event, a->request->ctx);
    a->too_long = false;
    CURLcode code = curl_easy_perform(client->curl);
    long status = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
    curl_off_t wait = 0;
    curl_easy_getinfo(client->curl, CURLINFO_RETRY_AFTER, &wait);
    a->reply->status = (int)status;
    a->reply->retry_after = (double)wait;
    curl_off_t sent = 0;
    curl_easy_getinfo(client->curl, CURLINFO_SIZE_UPLOAD_T, &sent);
    a->reply->unanswered += code != CURLE_OK && sent >= (curl_off_t)a->request->len;
    mla_events_clear(&a->events);
    return a->reply->hung_up ? CURLE_OK : code;
}

// ---- trying again ----------------------------------------------------------------------------

bool mla__http_may_pass(int status) {
    return status == 429 || (status >= 500 && status != 501 && status != 505);
}

double mla__http_wait(const mla_http_client_options *o, int attempts, double u,
                      double retry_after) {
    double wait = o->wait_seconds * pow(2, attempts - 1);
    wait = fmin(wait, o->wait_max_seconds) * (0.5 + 0.5 * u);
    return fmin(fmax(wait, retry_after), o->wait_max_seconds);
}

static void sleep_for(double seconds) {
    double end = mla_clock() + seconds;
    for (double left; (left = end - mla_clock()) > 0 && !mla_stop_wanted();) {
        struct timespec slice = {.tv_nsec = (long)(fmin(left, 0.1) * 1e9)};
        nanosleep(&slice, NULL);
    }
}

static void wait_to_retry(mla_http_client *client, const mla_http_reply *reply) {
    double u = mla_rng_uniform(&client->rng);
    sleep_for(mla__http_wait(&client->options, reply->attempts, u, reply->retry_after));
}

static bool worth_a_retry(const attempt *a, CURLcode code) {
    if (a->begun || a->too_long || mla_stop_wanted()) return false;
    if (code == CURLE_OK) return mla__http_may_pass(a->reply->status);
    return code != CURLE_URL_MALFORMAT && code != CURLE_UNSUPPORTED_PROTOCOL &&
           code != CURLE_PEER_FAILED_VERIFICATION;
}

static int explain(const mla_http_client *client, const attempt *a, CURLcode code, mla_err *err) {
    const char *url = a->request->url;
    if (mla_stop_wanted()) return mla_err_set(err, "%s: stopped", url);
    if (a->err.text[0]) return mla_err_set(err, "%s: %s", url, a->err.text);
    if (a->too_long) return mla_err_set(err, "%s: the reply is longer than %zu bytes", url,
                                        client->options.body_max);
    return mla_err_set(err, "%s: %s (%d attempt%s); is the service running there?", url,
                       curl_easy_strerror(code), a->reply->attempts,
                       a->reply->attempts == 1 ? "" : "s");
}

int mla_http_send(mla_http_client *client, const mla_http_request *request, mla_http_reply *out,
                  mla_err *err) {
    attempt a = {.curl = client->curl, .request = request, .reply = out};
    *out = (mla_http_reply){0};
    mla_buf_init(&out->body, client->options.body_max);
    CURLcode code;
    for (;;) {
        mla_buf_reset(&out->body);
        code = perform(client, &a);
        out->attempts++;
        if (!worth_a_retry(&a, code) || out->attempts >= client->options.attempts) break;
        wait_to_retry(client, out);
    }
    return code == CURLE_OK ? 0 : explain(client, &a, code, err);
}
