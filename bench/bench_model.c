// The model forward: the machine's limits, a prompt's speed, sampling a group from one state, and
// how far the log-probabilities of sampling are from training's.
#include <math.h>

#include "bandwidth.h"
#include "base/rng.h"
#include "bench.h"

enum { PROMPT = 1024, GROUP = 8, NEW = 64, REPEATS = 5 };

// Multiplications of a forward pass outside embedding and head, for each token.
static double weights_of(const mla_model_config *c) {
    double attention = (double)c->dim * c->head_dim * 2 * (c->heads + c->kv_heads);
    return c->layers * (attention + 3.0 * c->dim * c->hidden);
}

static void fill(int32_t *ids, int n) {
    for (int i = 0; i < n; i++) ids[i] = 100 + (int32_t)((int64_t)i * 7919 % 40000);
}

static void extend(const mla_model *m, mla_kv *kv, const mla_extend *items, int n, float *hidden) {
    mla_err err;
    if (mla_transformer_extend(m, kv, items, n, hidden, &err)) {
        fprintf(stderr, "bench_model: %s\n", err.text);
        exit(1);
    }
}

static double prefill(const mla_model *m, mla_kv *kv, const int32_t *ids, int *seq) {
    float *hidden = MLA_NEW_ARRAY(float, (size_t)mla_model_get_config(m)->dim);
    mla_kv_reset(kv);
    *seq = mla_kv_open(kv, -1);
    const mla_extend item = {*seq, ids, PROMPT};
    double began = mla_clock();
    extend(m, kv, &item, 1, hidden);
    double took = mla_clock() - began;
    free(hidden);
    return took;
}

static double log_sum(const float *x, int n) {
    double top = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++) top = x[i] > top ? (double)x[i] : top;
    for (int i = 0; i < n; i++) sum += exp((double)x[i] - top);
    return top + log(sum);
}

// A draw from the softmax; its log-probability to *logprob.
static int32_t draw(const float *logits, int vocab, mla_rng *rng, float *logprob) {
    double norm = log_sum(logits, vocab), u = mla_rng_uniform(rng);
    int at = 0;
    for (; at < vocab - 1; at++) {
        u -= exp((double)logits[at] - norm);
        if (u < 0) break;
    }
    *logprob = (float)((double)logits[at] - norm);
    return at;
}

typedef struct group {
    int32_t ids[GROUP][NEW];
    float logprobs[GROUP][NEW];
} group;

// Prompt and all; greedy where `rng` is NULL: timing then holds no sampling of the benchmark's own.
static double sample_group(const mla_model *m, mla_kv *kv, const int32_t *prompt, mla_rng *rng,
                           group *out) {
    const int dim = mla_model_get_config(m)->dim, vocab = mla_model_get_config(m)->vocab;
    float *hidden = MLA_NEW_ARRAY(float, (size_t)(GROUP * dim));
    float *logits = MLA_NEW_ARRAY(float, (size_t)(GROUP * vocab));
    mla_extend items[GROUP];
    int parent;
    double began = mla_clock();
    prefill(m, kv, prompt, &parent);
    // The prompt's last token again opens each sequence, so that each has a state of its own.
    for (int i = 0; i < GROUP; i++) items[i] = (mla_extend){mla_kv_open(kv, parent), prompt, 1};
    for (int step = 0; step < NEW; step++) {
        extend(m, kv, items, GROUP, hidden);
        mla_head_logits(m, hidden, GROUP, logits);
        for (int i = 0; i < GROUP; i++) {
            const float *row = logits + (size_t)i * (size_t)vocab;
            int32_t *id = &out->ids[i][step];
            if (rng) {
                *id = draw(row, vocab, rng, &out->logprobs[i][step]);
            } else {
                for (int k = *id = 0; k < vocab; k++)
                    if (row[k] > row[*id]) *id = k;
            }
            items[i].ids = id;
        }
    }
    double took = mla_clock() - began;
    free(hidden);
    free(logits);
    return took;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The gaps between the group's log-probabilities and training's for the same tokens, sorted.
static double *gaps_of(const mla_model *m, const int32_t *prompt, const group *g) {
    enum { ALL = PROMPT + GROUP * NEW };
    static int32_t ids[ALL], targets[GROUP * NEW];
    static int rows[GROUP * NEW];
    static float logprob[GROUP * NEW];
    mla_segment segments[1 + GROUP] = {{0, PROMPT, -1}};
    memcpy(ids, prompt, PROMPT * sizeof *ids);
    for (int i = 0; i < GROUP; i++) {
        int start = PROMPT + i * NEW;
        segments[1 + i] = (mla_segment){start, NEW, 0};
        ids[start] = prompt[0];
        memcpy(ids + start + 1, g->ids[i], (NEW - 1) * sizeof *ids);
        for (int k = 0; k < NEW; k++) {
            rows[i * NEW + k] = start + k;
            targets[i * NEW + k] = g->ids[i][k];
        }
    }
    const mla_token_batch batch = {ids, ALL, segments, 1 + GROUP};
    const mla_head_rows at = {rows, targets, GROUP * NEW, 1.0f};
    mla_activations *acts = mla_activations_create(m);
    mla_transformer_forward(m, &batch, acts, false);
    mla_head_forward(m, acts, &at, logprob, NULL);
    mla_activations_free(acts);
    double *gaps = MLA_NEW_ARRAY(double, GROUP * NEW);
    for (int i = 0; i < GROUP * NEW; i++)
        gaps[i] = fabs((double)logprob[i] - (double)g->logprobs[i / NEW][i % NEW]);
    qsort(gaps, GROUP * NEW, sizeof *gaps, compare);
    return gaps;
}

static void bench_gap(mla_compute compute, const char *name, double quantile) {
    static group g;
    int32_t prompt[PROMPT];
    mla_rng rng;
    fill(prompt, PROMPT);
    mla_rng_init(&rng, 1);
    mla_model *m = bench_model(compute, false);
    mla_kv *kv = mla_kv_create(m, (size_t)1 << 30);
    sample_group(m, kv, prompt, &rng, &g);
    double *gaps = gaps_of(m, prompt, &g);
    bench_print(name, gaps[(int)(quantile * (GROUP * NEW - 1))], "nats", 0, 0, false);
    free(gaps);
    mla_kv_free(kv);
    mla_model_free(m);
}

// The limits are measured before and after, and the better counts: a neighbour's burst is no limit.
static void bench_speed(void) {
    static group g;
    int32_t prompt[PROMPT];
    fill(prompt, PROMPT);
    mla_model *m = bench_model(MLA_COMPUTE_BF16, false);
    mla_kv *kv = mla_kv_create(m, (size_t)1 << 30);
    const mla_model_config *c = mla_model_get_config(m);
    double weights = weights_of(c), best = 1e9, best_group = 1e9;
    double read = 2 * (weights + (double)c->vocab * c->dim);     // bytes of bf16 weights a step
    double gflops = bench_gemm_limit(dnnl_bf16), bandwidth = bench_bandwidth_limit(read);
    int seq;
    for (int i = 0; i < REPEATS; i++) {
        double took = prefill(m, kv, prompt, &seq);
        if (took < best) best = took;
        took = sample_group(m, kv, prompt, NULL, &g);
        if (took < best_group) best_group = took;
    }
    gflops = fmax(gflops, bench_gemm_limit(dnnl_bf16));
    bandwidth = fmax(bandwidth, bench_bandwidth_limit(read));
    mla_kv_free(kv);
    mla_model_free(m);
    double least = 2 * weights * PROMPT / gflops * 1e-9;
    char *path = bench_model_path();
    bench_print("limit_gemm_bf16", gflops, "GFLOP/s", 0, 0, true);
    bench_print("prefill_smollm2_bf16", PROMPT / best, "tok/s", PROMPT / least,
                bench_best_peer("prefill", path, BENCH_BF16, true), true);
    bench_print("group8x64_smollm2", best_group, "seconds", least + NEW * read / bandwidth * 1e-9,
                bench_best_peer("group", path, BENCH_BF16, false), false);
    free(path);
}

int main(int argc, char **argv) {
    (void)argc;
    bench_start(argv);
    const bool bf16 = mla_compute_best() == MLA_COMPUTE_BF16;
    // No cache holds a part worth naming of so much.
    bench_print("limit_bandwidth", bench_bandwidth_limit(2e9), "GB/s", 0, 0, true);
    if (bf16) {
        bench_speed();
        bench_gap(MLA_COMPUTE_BF16, "logprob_gap_bf16_p99", 0.99);
    }
    bench_gap(MLA_COMPUTE_F32, "logprob_gap_fp32_max", 1);
    return 0;
}
