// What the files of the serve room share: jobs, the hub that one thread drives, what is counted,
// and the JSON of replies.
#ifndef MLA_SERVE_INTERNAL_H
#define MLA_SERVE_INTERNAL_H

#include <pthread.h>

#include "net/server.h"
#include "policy/engine.h"
#include "serve/request.h"
#include "serve/text.h"

// ---- metrics.c -------------------------------------------------------------------------------

#define MLA__BUCKETS 14
#define MLA__COUNTS_MAX 96

typedef struct mla__histogram {
    uint64_t counts[MLA__BUCKETS];      // by upper bound; the last has none
    double sum;                         // seconds
} mla__histogram;

typedef struct mla__metrics {
    pthread_mutex_t lock;               // of all below
    struct {
        const char *path;               // a route's, or "other"
        int status;
        uint64_t n;
    } counts[MLA__COUNTS_MAX];
    size_t n_counts;
    mla__histogram whole, first;        // seconds to the end of a request, and to its first token
} mla__metrics;

void mla__metrics_init(mla__metrics *metrics);
void mla__metrics_clear(mla__metrics *metrics);
void mla__metrics_count(mla__metrics *metrics, const char *path, int status);
void mla__metrics_observe(mla__metrics *metrics, mla__histogram *which, double seconds);
// In Prometheus' text format. `live`: requests that wait or run.
void mla__metrics_write(mla__metrics *metrics, const mla_engine_stats *stats, size_t live,
                        mla_buf *out);

// ---- hub.c: many clients, one engine -----------------------------------------------------------

typedef enum { MLA__JOB_WAITING, MLA__JOB_RUNNING, MLA__JOB_DONE, MLA__JOB_FAILED } mla__job_state;

// A request from its admission to its reply. While it waits or runs, the hub's lock guards all of
// it but the ask, the prompts and the call.
typedef struct mla__job {
    mla_ask ask;
    mla_http_call *call;            // borrowed; watched for a client that hangs up
    mla_ids *prompts;               // [n_prompts], also of texts to embed
    size_t n_prompts;
    mla_choice *choices;            // [n_choices]: the samples of each prompt, one after another
    size_t n_choices, n_finished;
    uint64_t *handles;              // [n_handles], the engine's, one a prompt
    size_t n_handles;
    size_t *cached;                 // [n_prompts], tokens of each that were known
    float *vectors;                 // [n_prompts, dim], of embeddings
    size_t n_vectors;               // made so far
    mla_embedding *embedding;       // of the next one, when it has begun
    mla__job_state state;
    bool cancelled;
    mla_fault fault;                // of a failed one
    double came_at, first_at;       // seconds of mla_clock; first_at 0: no token yet
    pthread_cond_t changed;
    struct mla__hub *hub;
    struct mla__job *next;
} mla__job;

typedef struct mla__hub mla__hub;

// Borrows policy and metrics. At most `live_max` jobs wait or run at a time.
mla__hub *mla__hub_create(mla_policy *policy, mla__metrics *metrics, size_t kv_bytes,
                          size_t live_max);
// Finishes what it has, takes no more.
void mla__hub_close(mla__hub *hub);
void mla__hub_free(mla__hub *hub);
mla_policy *mla__hub_policy(const mla__hub *hub);
bool mla__hub_is_closing(mla__hub *hub);
mla_engine_stats mla__hub_stats(mla__hub *hub, size_t *live);

// Encodes the prompts; takes the ask over in any case. NULL with a fault.
mla__job *mla__job_create_take(mla_ask *ask, mla_policy *policy, mla_http_call *call,
                               mla_fault *fault);
// After its end or before its submission.
void mla__job_free(mla__job *job);
// Waits until the job runs. -1 with a fault when it will not: full, closing, can never be served.
MLA_MUST_USE int mla__hub_submit(mla__hub *hub, mla__job *job, mla_fault *fault);
// Waits for the job's end. -1 with the fault when it failed.
MLA_MUST_USE int mla__hub_wait(mla__hub *hub, mla__job *job, mla_fault *fault);
// Cancels what is left of a job and waits until the hub has let go of it.
void mla__hub_leave(mla__hub *hub, mla__job *job);
// For reading a job that runs.
void mla__hub_lock(mla__hub *hub);
void mla__hub_sleep(mla__hub *hub, mla__job *job);      // locked: until the job has changed
void mla__hub_unlock(mla__hub *hub);

// ---- reply.c: the JSON of replies; callers own what is returned --------------------------------

typedef struct mla__names {         // what all replies to one request say
    char id[40];
    const char *model;              // borrowed
    long long created;              // seconds since 1970
} mla__names;

char *mla__reply_error(const mla_fault *fault);
char *mla__reply_whole(const mla__job *job, const mla__names *names);   // a finished job
char *mla__reply_models(const mla__names *names);
char *mla__reply_model(const mla__names *names);
char *mla__reply_vectors(const mla__job *job, const mla__names *names, int dim);

// A piece of a stream: what choice `at` has more than the client knows.
typedef struct mla__shown {
    size_t text, tokens;            // bytes and tokens that the client has
    bool role, finish;              // it has been told whose words these are, and how they end
} mla__shown;

// NULL when there is nothing new. Brings `shown` up to date.
char *mla__reply_piece(const mla__job *job, const mla__names *names, size_t at,
                       mla__shown *shown);
// The last piece, if it is asked for.
char *mla__reply_usage(const mla__job *job, const mla__names *names);

#endif
