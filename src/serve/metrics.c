// What is counted: requests by path and status, seconds, and what the engine says of itself.
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "serve/internal.h"

// Upper bounds in seconds; beyond the last there is none.
static const double bounds[MLA__BUCKETS - 1] = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,
                                                2.5,  5,     10,   30,  60,   300};

void mla__metrics_init(mla__metrics *metrics) {
    *metrics = (mla__metrics){0};
    pthread_mutex_init(&metrics->lock, NULL);
}

void mla__metrics_clear(mla__metrics *metrics) {
    pthread_mutex_destroy(&metrics->lock);
}

void mla__metrics_count(mla__metrics *m, const char *path, int status) {
    size_t at = 0;
    pthread_mutex_lock(&m->lock);
    while (at < m->n_counts &&
           (m->counts[at].status != status || strcmp(m->counts[at].path, path) != 0)) {
        at++;
    }
    if (at < MLA__COUNTS_MAX) {
        if (at == m->n_counts) m->n_counts++;
        m->counts[at].path = path;
        m->counts[at].status = status;
        m->counts[at].n++;
    }
    pthread_mutex_unlock(&m->lock);
}

void mla__metrics_observe(mla__metrics *m, mla__histogram *which, double seconds) {
    size_t at = 0;
    while (at < MLA__BUCKETS - 1 && seconds > bounds[at]) at++;
    pthread_mutex_lock(&m->lock);
    which->counts[at]++;
    which->sum += seconds;
    pthread_mutex_unlock(&m->lock);
}

static void write_head(mla_buf *out, const char *name, const char *type, const char *help) {
    mla_buf_printf(out, "# HELP mlagent_%s %s\n# TYPE mlagent_%s %s\n", name, help, name, type);
}

static void write_histogram(mla_buf *out, const mla__histogram *h, const char *name,
                            const char *help) {
    uint64_t below = 0;
    write_head(out, name, "histogram", help);
    for (size_t i = 0; i < MLA__BUCKETS; i++) {
        char bound[32] = "+Inf";
        if (i < MLA__BUCKETS - 1) snprintf(bound, sizeof bound, "%g", bounds[i]);
        below += h->counts[i];
        mla_buf_printf(out, "mlagent_%s_bucket{le=\"%s\"} %llu\n", name, bound,
                       (unsigned long long)below);
    }
    mla_buf_printf(out, "mlagent_%s_sum %.6f\nmlagent_%s_count %llu\n", name, h->sum, name,
                   (unsigned long long)below);
}

static void write_engine(mla_buf *out, const mla_engine_stats *s, size_t live) {
    const struct {
        const char *name, *type, *help;
        uint64_t value;
    } lines[] = {
        {"engine_requests_total", "counter", "Prompts given to the engine.", s->requests},
        {"engine_cancelled_total", "counter", "Prompts dropped before their end.", s->cancelled},
        {"prompt_tokens_total", "counter", "Tokens of prompts.", s->prompt_tokens},
        {"cached_tokens_total", "counter", "Of these, found in the prefix cache.",
         s->cached_tokens},
        {"new_tokens_total", "counter", "Tokens sampled.", s->new_tokens},
        {"evicted_pages_total", "counter", "Cache pages given up for others.", s->evicted_pages},
        {"preempted_total", "counter", "Sequences sent back to go on later.", s->preempted},
        {"requests_live", "gauge", "Requests that wait or run.", live},
        {"sequences_running", "gauge", "Sequences in the batch.", s->running},
        {"sequences_waiting", "gauge", "Prompts not read to their end.", s->waiting},
        {"cache_pages_used", "gauge", "Pages of the KV cache in use.", s->pages_used},
        {"cache_pages_total", "gauge", "Pages of the KV cache.", s->pages_total},
    };
    for (size_t i = 0; i < MLA_COUNT(lines); i++) {
        write_head(out, lines[i].name, lines[i].type, lines[i].help);
        mla_buf_printf(out, "mlagent_%s %llu\n", lines[i].name,
                       (unsigned long long)lines[i].value);
    }
}

void mla__metrics_write(mla__metrics *m, const mla_engine_stats *stats, size_t live,
                        mla_buf *out) {
    pthread_mutex_lock(&m->lock);
    write_head(out, "http_requests_total", "counter", "Replies by path and status.");
    for (size_t i = 0; i < m->n_counts; i++) {
        mla_buf_printf(out, "mlagent_http_requests_total{path=\"%s\",status=\"%d\"} %llu\n",
                       m->counts[i].path, m->counts[i].status,
                       (unsigned long long)m->counts[i].n);
    }
    write_histogram(out, &m->whole, "request_seconds", "From a request to its end.");
    write_histogram(out, &m->first, "first_token_seconds", "From a request to its first token.");
    pthread_mutex_unlock(&m->lock);
    write_engine(out, stats, live);
}
