// HTTP server on libmicrohttpd: a table of routes, a ceiling for bodies, a bearer key, replies at
// once or piece by piece. A thread a connection, so handlers may block. Knows no ML and no API:
// what the body of an error looks like is the caller's.
#ifndef MLA_NET_SERVER_H
#define MLA_NET_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"

typedef struct mla_http_server mla_http_server;
typedef struct mla_http_call mla_http_call;      // one request on its way to its reply

// Must reply exactly once, by mla_http_call_reply_take or mla_http_call_stream.
typedef void (*mla_http_handler)(void *ctx, mla_http_call *call);

typedef struct mla_http_route {
    const char *method;        // GET answers HEAD too
    const char *path;          // exact, or a beginning when it ends in "*"
    bool open;                 // needs no key
    const char *takes;         // the type that a body must have; another: 415. NULL: none is asked
    mla_http_handler handler;
} mla_http_route;

typedef struct mla_http_server_options {
    const char *host;          // a name or an address
    int port;                  // 0: any free one
    const char *key;           // bearer key, copied; NULL: none is asked for
    size_t body_max;           // bytes of a request's body; beyond: 413
    unsigned max_connections;
    unsigned idle_seconds;     // a connection on which nothing moves is closed
    const mla_http_route *routes;    // [n_routes], borrowed for the server's life
    size_t n_routes;
    void *ctx;                 // of handlers and of the two functions below
    // The body (JSON, caller frees) of the server's own refusals: 401, 404, 405, 413, 415, 500.
    char *(*error_body)(void *ctx, int status, const char *message);
    // Told of every reply before it is sent; `path` is the route's, NULL without one. May be NULL.
    void (*on_reply)(void *ctx, const char *path, int status);
} mla_http_server_options;

mla_http_server *mla_http_server_start(const mla_http_server_options *options, mla_err *err);
int mla_http_server_port(const mla_http_server *server);
// Takes no more connections and waits until every request has its reply, `seconds` at most.
void mla_http_server_drain(mla_http_server *server, double seconds);
// Cuts what is left. No handler may be blocked for good.
void mla_http_server_free(mla_http_server *server);

// ---- in a handler ----------------------------------------------------------------------------

const mla_buf *mla_http_call_body(const mla_http_call *call);
const char *mla_http_call_path(const mla_http_call *call);
// The client has hung up. Any thread, from the handler's start to its end; of a stream, to `done`.
bool mla_http_call_gone(const mla_http_call *call);
// `body` is malloc'ed text, taken over.
void mla_http_call_reply_take(mla_http_call *call, int status, const char *type, char *body);
// Appends the next bytes to `out`, blocking until there are some. 1: go on, 0: that was all,
// -1: break off, so that the client sees that something is missing.
typedef int (*mla_http_next)(void *ctx, mla_buf *out);
// Replies 200 piece by piece; `done` is called once, when the reply has ended or nobody reads it.
void mla_http_call_stream(mla_http_call *call, const char *type, mla_http_next next,
                          void (*done)(void *ctx), void *ctx);
// A header of the reply that was just given.
void mla_http_call_add_header(mla_http_call *call, const char *name, const char *value);

#endif
