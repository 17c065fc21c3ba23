// HTTP client on libcurl: JSON out, a body or server-sent events in. What may pass by itself (429,
// 5xx, a host that cannot be reached) is tried again, later and later, or as Retry-After says.
#ifndef MLA_NET_CLIENT_H
#define MLA_NET_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "net/events.h"

typedef struct mla_http_client_options {
    double connect_seconds;    // to reach the host
    double total_seconds;      // of one attempt, from its start to its last byte
    int attempts;              // at most, the first included
    double wait_seconds;       // before the second attempt; doubles with each, with jitter
    double wait_max_seconds;   // of one wait at most, Retry-After included
    size_t body_max;           // ceiling of a reply's body, and of one event
    const char *key;           // bearer key, copied; NULL: none
    uint64_t seed;             // of the jitter
} mla_http_client_options;
mla_http_client_options mla_http_client_options_default(void);

typedef struct mla_http_client mla_http_client;     // for one thread at a time

mla_http_client *mla_http_client_create(const mla_http_client_options *options);
void mla_http_client_free(mla_http_client *client);

typedef struct mla_http_request {
    const char *method, *url;
    const char *body;          // JSON, [len]; NULL: none
    size_t len;
    mla_event_sink on_event;   // takes the events of a reply with status 200; NULL: into the body
    void *ctx;
} mla_http_request;

typedef struct mla_http_reply {
    int status;
    mla_buf body;              // of a reply that is not taken as events
    int attempts;              // made
    int unanswered;            // of them: the request went out and no whole reply came
    double retry_after;        // seconds that the last reply asks to wait; 0: it does not
    bool hung_up;              // the event sink had enough
} mla_http_reply;
void mla_http_reply_clear(mla_http_reply *reply);

// 0 when a reply came, whatever its status (of the last attempt); -1 when none did, when it is
// longer than the ceiling, or when mla_stop_wanted(). A reply whose events have begun is not asked
// for again. `out` is initialised here and cleared by the caller in any case.
MLA_MUST_USE int mla_http_send(mla_http_client *client, const mla_http_request *request,
                               mla_http_reply *out, mla_err *err);

#endif
