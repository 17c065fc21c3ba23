// `mlagent serve`: a model behind OpenAI's HTTP API until Ctrl-C.
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "serve/serve.h"

// The name of a model's file or folder, as clients will call it.
static char *name_of(const char *path) {
    size_t len = strlen(path);
    while (len > 1 && path[len - 1] == '/') len--;
    size_t from = len;
    while (from && path[from - 1] != '/') from--;
    if (len - from > 5 && !strncmp(path + len - 5, ".gguf", 5)) len -= 5;
    return mla_strndup(path + from, len - from);
}

static void wait_for_ctrl_c(void) {
    const struct timespec moment = {.tv_nsec = 100000000};
    while (!mla_stop_wanted()) nanosleep(&moment, NULL);
}

static int serve(mla_policy *policy, const mla_serve_options *options, mla_err *err) {
    mla_service *service = mla_serve_start(policy, options, err);
    if (!service) return -1;
    bool v6 = strchr(options->host, ':') != NULL;
    printf("serving %s at http://%s%s%s:%d/v1\n", options->model, v6 ? "[" : "", options->host,
           v6 ? "]" : "", mla_serve_port(service));
    fflush(stdout);
    wait_for_ctrl_c();
    mla_info("finishing what has begun; Ctrl-C once more ends at once");
    mla_serve_free(service);
    return 0;
}

static void warn_of_strangers(const mla_serve_options *options) {
    const char *host = options->host;
    bool here = !strncmp(host, "127.", 4) || !strcmp(host, "localhost") || !strcmp(host, "::1");
    if (here || options->key) return;
    mla_warn("whoever can reach %s may use this service; set MLAGENT_API_KEY to ask for a key",
             host);
}

static int open_and_serve(const mla_options *o, mla_err *err) {
    mla_serve_options options = mla_serve_options_default();
    mla_policy_options wanted = mla_policy_options_default();
    wanted.compute = o->compute;
    wanted.adapter = o->adapter;
    const char *key = getenv("MLAGENT_API_KEY");
    char *path = mla_options_model(o, o->rest[0]), *name = name_of(path);
    options.key = key && *key ? key : NULL;
    options.model = name;
    options.seed = o->seed;
    if (o->host) options.host = o->host;
    if (o->port >= 0) options.port = o->port;
    if (o->queue) options.live_max = (size_t)o->queue;
    if (o->kv_mb) options.kv_bytes = (size_t)o->kv_mb << 20;
    warn_of_strangers(&options);
    mla_policy *policy = mla_policy_open(path, &wanted, err);
    int rc = policy ? serve(policy, &options, err) : -1;
    mla_policy_free(policy);
    free(name);
    free(path);
    return rc;
}

int mla_cmd_serve(int argc, char **argv) {
    mla_options o;
    int usage = mla_options_parse(&o, argc, argv);
    if (usage) return usage < 0 ? MLA_EXIT_OK : usage;
    if (o.n_rest != 1) {
        fputs("mlagent: usage: mlagent serve MODEL [--host HOST] [--port PORT]\n", stderr);
        return MLA_EXIT_USAGE;
    }
    mla_err err = {{0}};
    return open_and_serve(&o, &err) < 0 ? mla_fail(&err) : MLA_EXIT_OK;
}
