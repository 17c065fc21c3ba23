// The HTTP server. libmicrohttpd calls on_access once with the headers, then for each piece of the
// body, then once more; the reply is made in that last call.
#include "net/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"

#define PIECE_BYTES ((size_t)16 << 10)      // of a stream, handed to the library at a time
#define STREAM_MAX ((size_t)64 << 20)       // what a stream may hold that is not sent yet
#define STACK_BYTES ((size_t)2 << 20)       // of a connection's thread

struct mla_http_server {
    mla_http_server_options options;
    char *key;
    struct MHD_Daemon *daemon;
    int port;
    int quiet_fd;               // the listening socket once it listens no more, or -1
    pthread_mutex_t lock;       // of `active`
    pthread_cond_t calm;        // active is 0
    size_t active;              // calls without their whole reply
};

struct mla_http_call {
    mla_http_server *server;
    struct MHD_Connection *connection;
    int fd;                           // the connection's socket
    int owners;                       // the request and its stream, both of one thread
    const mla_http_route *route;      // NULL: none
    char *path;
    mla_buf body;
    int refused;                      // the status, when the headers are enough to refuse it; 0
    int status;
    struct MHD_Response *response;    // until it is handed to the library
};

typedef struct {
    mla_http_call *call;
    mla_http_next next;
    void (*done)(void *ctx);
    void *ctx;
    mla_buf out;
    size_t at;                        // bytes of `out` that are sent
    int state;                        // as mla_http_next returns it
} stream;

// ---- what the headers say --------------------------------------------------------------------

static bool path_fits(const char *pattern, const char *path) {
    size_t n = strlen(pattern);
    if (n && pattern[n - 1] == '*') return !strncmp(pattern, path, n - 1);
    return !strcmp(pattern, path);
}

static bool method_fits(const char *wanted, const char *method) {
    return !strcmp(wanted, method) || (!strcmp(wanted, "GET") && !strcmp(method, "HEAD"));
}

// The route of path and method, or one of the path alone with *wrong_method set, or NULL.
static const mla_http_route *find_route(const mla_http_server *server, const char *path,
                                        const char *method, bool *wrong_method) {
    const mla_http_route *other = NULL;
    *wrong_method = false;
    for (size_t i = 0; i < server->options.n_routes; i++) {
        const mla_http_route *route = &server->options.routes[i];
        if (!path_fits(route->path, path)) continue;
        if (method_fits(route->method, method)) return route;
        if (!other) other = route;
    }
    *wrong_method = other != NULL;
    return other;
}

// Takes as long for a key that is nearly right as for one that is not.
static bool has_key(const mla_http_server *server, struct MHD_Connection *connection) {
    const char *given = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    if (!given || strncasecmp(given, "Bearer ", 7)) return false;
    given += 7;
    size_t n = strlen(server->key), m = strlen(given);
    unsigned char differs = n != m;
    for (size_t i = 0; i < n; i++) {
        differs |= (unsigned char)(server->key[i] ^ given[m ? i % m : 0]);
    }
    return !differs;
}

static bool is_too_long(const mla_http_server *server, struct MHD_Connection *connection) {
    const char *text = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");
    return text && strtoull(text, NULL, 10) > server->options.body_max;
}

// A browser sends what it calls simple types from any page to any address, without asking first:
// who takes one type only cannot be reached from a page like that.
static bool type_fits(const mla_http_route *route, struct MHD_Connection *connection) {
    if (!route->takes) return true;
    const char *given = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    const size_t n = strlen(route->takes);
    return given && !strncasecmp(given, route->takes, n) && strchr("; \t", given[n]);
}

static mla_http_call *call_create(mla_http_server *server, struct MHD_Connection *connection,
                                  const char *path, const char *method) {
    mla_http_call *call = MLA_NEW(mla_http_call);
    bool wrong_method;
    call->server = server;
    call->connection = connection;
    call->fd = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    call->owners = 1;
    call->path = mla_strdup(path);
    call->route = find_route(server, path, method, &wrong_method);
    mla_buf_init(&call->body, server->options.body_max);
    bool open = call->route && call->route->open;
    if (server->key && !open && !has_key(server, connection)) call->refused = 401;
    else if (!call->route) call->refused = 404;
    else if (wrong_method) call->refused = 405;
    else if (!type_fits(call->route, connection)) call->refused = 415;
    else if (is_too_long(server, connection)) call->refused = 413;
    pthread_mutex_lock(&server->lock);
    server->active++;
    pthread_mutex_unlock(&server->lock);
    return call;
}

static void call_release(mla_http_call *call) {
    mla_http_server *server = call->server;
    if (--call->owners) return;
    if (call->response) MHD_destroy_response(call->response);
    mla_buf_clear(&call->body);
    free(call->path);
    free(call);
    pthread_mutex_lock(&server->lock);
    if (--server->active == 0) pthread_cond_broadcast(&server->calm);
    pthread_mutex_unlock(&server->lock);
}

// ---- replies ---------------------------------------------------------------------------------

const mla_buf *mla_http_call_body(const mla_http_call *call) {
    return &call->body;
}

const char *mla_http_call_path(const mla_http_call *call) {
    return call->path;
}

bool mla_http_call_gone(const mla_http_call *call) {
    struct pollfd p = {.fd = call->fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
}

static void set_reply(mla_http_call *call, int status, const char *type,
                      struct MHD_Response *response) {
    MLA_ASSERT(response && !call->response);
    call->status = status;
    call->response = response;
    mla_http_call_add_header(call, "Content-Type", type);
}

void mla_http_call_reply_take(mla_http_call *call, int status, const char *type, char *body) {
    set_reply(call, status, type,
              MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE));
}

void mla_http_call_add_header(mla_http_call *call, const char *name, const char *value) {
    MLA_ASSERT(MHD_add_response_header(call->response, name, value) == MHD_YES);
}

static char *reason_of(const mla_http_call *call, int status) {
    if (status == 405) return mla_format("this path takes %s only", call->route->method);
    if (status == 415) {
        return mla_format("the body must be %s; say so in a Content-Type header",
                          call->route->takes);
    }
    return mla_strdup(status == 401 ? "the bearer key is missing or wrong"
                    : status == 404 ? "there is nothing at this path"
                    : status == 413 ? "the request's body is too long" : "the service failed");
}

static void refuse(mla_http_call *call, int status) {
    const mla_http_server_options *o = &call->server->options;
    char *reason = reason_of(call, status);
    mla_http_call_reply_take(call, status, "application/json",
                             o->error_body(o->ctx, status, reason));
    free(reason);
    if (status == 401) mla_http_call_add_header(call, "WWW-Authenticate", "Bearer");
    if (status == 405) mla_http_call_add_header(call, "Allow", call->route->method);
}

// While we make a client wait, the library's clock for idle connections stands still.
static void hold_clock(const mla_http_call *call, bool hold) {
    unsigned seconds = hold ? 0 : call->server->options.idle_seconds;
    MHD_set_connection_option(call->connection, MHD_CONNECTION_OPTION_TIMEOUT, seconds);
}

static ssize_t on_stream(void *ctx, uint64_t pos, char *to, size_t max) {
    stream *s = ctx;
    (void)pos;
    if (s->at == s->out.len && s->state > 0) {
        mla_buf_reset(&s->out);
        s->at = 0;
        hold_clock(s->call, true);
        while (!s->out.len && s->state > 0) s->state = s->next(s->ctx, &s->out);
        hold_clock(s->call, false);
    }
    size_t n = s->out.len - s->at < max ? s->out.len - s->at : max;
    if (s->state < 0 || s->out.truncated) return MHD_CONTENT_READER_END_WITH_ERROR;
    if (!n) return MHD_CONTENT_READER_END_OF_STREAM;
    memcpy(to, s->out.data + s->at, n);
    s->at += n;
    return (ssize_t)n;
}

static void on_stream_end(void *ctx) {
    stream *s = ctx;
    s->done(s->ctx);
    call_release(s->call);
    mla_buf_clear(&s->out);
    free(s);
}

void mla_http_call_stream(mla_http_call *call, const char *type, mla_http_next next,
                          void (*done)(void *ctx), void *ctx) {
    stream *s = MLA_NEW(stream);
    *s = (stream){.call = call, .next = next, .done = done, .ctx = ctx, .state = 1};
    call->owners++;
    mla_buf_init(&s->out, STREAM_MAX);
    set_reply(call, 200, type, MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, PIECE_BYTES, on_stream, s, on_stream_end));
    mla_http_call_add_header(call, "Cache-Control", "no-cache");
}

// ---- the library's callbacks -----------------------------------------------------------------

static enum MHD_Result send_reply(mla_http_call *call) {
    const mla_http_server_options *o = &call->server->options;
    if (o->on_reply) o->on_reply(o->ctx, call->route ? call->route->path : NULL, call->status);
    struct MHD_Response *response = call->response;
    call->response = NULL;
    enum MHD_Result rc = MHD_queue_response(call->connection, (unsigned)call->status, response);
    MHD_destroy_response(response);     // the library keeps it as long as it needs it
    return rc;
}

static enum MHD_Result answer(mla_http_call *call) {
    if (!call->refused && call->body.truncated) call->refused = 413;
    if (call->refused) {
        refuse(call, call->refused);
    } else {
        hold_clock(call, true);
        call->route->handler(call->server->options.ctx, call);
        hold_clock(call, false);
        if (!call->response) refuse(call, 500);
    }
    return send_reply(call);
}

// A client that asks before it sends a body is refused at once; another is heard out, since one
// that is cut off while it sends may never read the reply.
static enum MHD_Result greet(mla_http_call *call) {
    bool asks = MHD_lookup_connection_value(call->connection, MHD_HEADER_KIND, "Expect") != NULL;
    return call->refused && asks ? answer(call) : MHD_YES;
}

static enum MHD_Result on_access(void *ctx, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *data,
                                 size_t *size, void **state) {
    (void)version;
    mla_http_call *call = *state;
    if (!call) {
        *state = call = call_create(ctx, connection, url, method);
        return greet(call);
    }
    if (!*size) return answer(call);
    if (!call->refused) mla_buf_append(&call->body, data, *size);
    *size = 0;
    return MHD_YES;
}

static void on_completed(void *ctx, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    (void)ctx, (void)connection, (void)code;
    if (*state) call_release(*state);
    *state = NULL;
}

// ---- a server's life -------------------------------------------------------------------------

static int listen_at(const struct addrinfo *address) {
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return -1;
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, 128) == 0) return fd;
    int why = errno;
    close(fd);
    errno = why;
    return -1;
}

static int open_socket(const char *host, int port, mla_err *err) {
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char service[16];
    snprintf(service, sizeof service, "%d", port);
    int rc = getaddrinfo(host, service, &hints, &found), fd = -1;
    if (rc) return mla_err_set(err, "%s: %s", host, gai_strerror(rc));
    for (const struct addrinfo *a = found; a && fd < 0; a = a->ai_next) fd = listen_at(a);
    if (fd < 0 && errno == EADDRINUSE) {
        mla_err_set(err, "cannot listen at %s port %d: another program does; choose another port",
                    host, port);
    } else if (fd < 0) {
        mla_err_set(err, "cannot listen at %s port %d: %s", host, port, strerror(errno));
    }
    freeaddrinfo(found);
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char service[16];
    MLA_ASSERT(getsockname(fd, (struct sockaddr *)&address, &len) == 0);
    MLA_ASSERT(getnameinfo((struct sockaddr *)&address, len, NULL, 0, service, sizeof service,
                           NI_NUMERICSERV) == 0);
    return (int)strtol(service, NULL, 10);
}

static struct MHD_Daemon *start_daemon(mla_http_server *server, int fd) {
    const unsigned flags = MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                           MHD_USE_POLL | MHD_USE_ITC;
    return MHD_start_daemon(flags, 0, NULL, NULL, on_access, server,
                            MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd,
                            MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
                            MHD_OPTION_CONNECTION_LIMIT, server->options.max_connections,
                            MHD_OPTION_CONNECTION_TIMEOUT, server->options.idle_seconds,
                            MHD_OPTION_THREAD_STACK_SIZE, STACK_BYTES, MHD_OPTION_END);
}

mla_http_server *mla_http_server_start(const mla_http_server_options *options, mla_err *err) {
    int fd = open_socket(options->host, options->port, err);
    if (fd < 0) return NULL;
    mla_http_server *server = MLA_NEW(mla_http_server);
    server->options = *options;
    server->options.key = NULL;     // the caller's memory
    server->key = mla_strdup(options->key);
    server->port = port_of(fd);
    server->quiet_fd = -1;
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->calm, NULL);
    server->daemon = start_daemon(server, fd);
    if (server->daemon) return server;
    mla_err_set(err, "cannot serve at %s port %d: %s", options->host, server->port,
                strerror(errno));
    close(fd);
    mla_http_server_free(server);
    return NULL;
}

int mla_http_server_port(const mla_http_server *server) {
    return server->port;
}

void mla_http_server_drain(mla_http_server *server, double seconds) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds + 1;
    if (server->quiet_fd < 0) server->quiet_fd = MHD_quiesce_daemon(server->daemon);
    if (server->quiet_fd >= 0) shutdown(server->quiet_fd, SHUT_RDWR);
    pthread_mutex_lock(&server->lock);
    int rc = 0;
    while (server->active && !rc) {
        rc = pthread_cond_timedwait(&server->calm, &server->lock, &until);
    }
    pthread_mutex_unlock(&server->lock);
}

void mla_http_server_free(mla_http_server *server) {
    if (!server) return;
    if (server->daemon) MHD_stop_daemon(server->daemon);
    if (server->quiet_fd >= 0) close(server->quiet_fd);   // only now does nothing poll it any more
    pthread_cond_destroy(&server->calm);
    pthread_mutex_destroy(&server->lock);
    free(server->key);
    free(server);
}
