// Qwen2.5-Coder-0.5B, sampling: a prompt's speed and one stream's at a long context, with bf16 and
// with int8 weights. The limits are measured before and after each model, and the better counts: a
// neighbour's burst is no limit. Transformers, in bf16, is a peer of the int8 figures too.
#include "bandwidth.h"
#include "bench.h"

enum { PROMPT = 1024, CONTEXT = 2048, STEPS = 24, REPEATS = 3 };

static const mla_model_config shape = {.arch = MLA_ARCH_QWEN2, .vocab = 151936, .dim = 896,
                                       .layers = 24, .heads = 14, .kv_heads = 2, .head_dim = 64,
                                       .hidden = 4864, .max_context = 32768, .rope_theta = 1e6f,
                                       .norm_eps = 1e-6f, .tied = true};

// Weights that each token is multiplied with, outside embedding and head.
static double weights_of(const mla_model_config *c) {
    double attention = (double)c->dim * c->head_dim * 2 * (c->heads + c->kv_heads);
    return c->layers * (attention + 3.0 * c->dim * c->hidden);
}

static double element_of(mla_compute compute) {
    return compute == MLA_COMPUTE_INT8 ? 1 : 2;
}

// Bytes that one token at the context's end reads: weights, their head, keys and values.
static double bytes_of(const mla_model_config *c, double element) {
    double cache = 2.0 * 2 * c->layers * c->kv_heads * c->head_dim * CONTEXT;
    return element * (weights_of(c) + (double)c->vocab * c->dim) + cache;
}

static void extend(const mla_model *m, mla_kv *kv, int seq, const int32_t *ids, int n,
                   float *hidden) {
    const mla_extend item = {seq, ids, n};
    mla_err err;
    if (mla_transformer_extend(m, kv, &item, 1, hidden, &err)) {
        fprintf(stderr, "bench_qwen: %s\n", err.text);
        exit(1);
    }
}

// Seconds for a prompt of n tokens in an empty cache; its sequence to *seq.
static double prefill(const mla_model *m, mla_kv *kv, int n, int *seq, float *hidden) {
    static int32_t ids[CONTEXT];
    for (int i = 0; i < n; i++) ids[i] = 100 + (int32_t)((int64_t)i * 7919 % 40000);
    mla_kv_reset(kv);
    *seq = mla_kv_open(kv, -1);
    double began = mla_clock();
    extend(m, kv, *seq, ids, n, hidden);
    return mla_clock() - began;
}

// Seconds for each of STEPS tokens, greedily.
static double decode(const mla_model *m, mla_kv *kv, int seq, float *hidden, float *logits) {
    const int vocab = mla_model_get_config(m)->vocab;
    int32_t id = 100;
    double began = mla_clock();
    for (int step = 0; step < STEPS; step++) {
        extend(m, kv, seq, &id, 1, hidden);
        mla_head_logits(m, hidden, 1, logits);
        for (int k = id = 0; k < vocab; k++)
            if (logits[k] > logits[id]) id = k;
    }
    return (mla_clock() - began) / STEPS;
}

typedef struct result {
    double gflops, bandwidth;  // limits
    double prefill, decode;    // seconds: a prompt, a token
    mla_model_config config;
} result;

static double larger(double a, double b) {
    return a > b ? a : b;
}

static double smaller(double a, double b) {
    return a < b ? a : b;
}

static result measure(const char *path, mla_compute compute, dnnl_data_type_t type) {
    const double read = bytes_of(&shape, element_of(compute));
    result r = {.gflops = bench_gemm_limit(type), .bandwidth = bench_bandwidth_limit(read),
                .prefill = 1e9, .decode = 1e9};
    mla_model *m = bench_load(path, &shape, compute, false);
    r.config = *mla_model_get_config(m);
    mla_kv *kv = mla_kv_create(m, (size_t)1 << 28);
    float *hidden = MLA_NEW_ARRAY(float, (size_t)r.config.dim);
    float *logits = MLA_NEW_ARRAY(float, (size_t)r.config.vocab);
    int seq;
    for (int i = 0; i < REPEATS; i++)
        r.prefill = smaller(r.prefill, prefill(m, kv, PROMPT, &seq, hidden));
    prefill(m, kv, CONTEXT - STEPS * REPEATS / 2, &seq, hidden);
    for (int i = 0; i < REPEATS; i++)
        r.decode = smaller(r.decode, decode(m, kv, seq, hidden, logits));
    free(hidden);
    free(logits);
    mla_kv_free(kv);
    mla_model_free(m);
    r.gflops = larger(r.gflops, bench_gemm_limit(type));
    r.bandwidth = larger(r.bandwidth, bench_bandwidth_limit(read));
    return r;
}

static void report(const result *r, mla_compute compute, const char *path, const char *prefill_name,
                   const char *decode_name) {
    const char *const *types = compute == MLA_COMPUTE_INT8 ? BENCH_QUANTISED : BENCH_BF16;
    double most = r->gflops * 1e9 / (2 * weights_of(&r->config));
    bench_print(prefill_name, PROMPT / r->prefill, "tok/s", most,
                bench_best_peer("prefill", path, types, true), true);
    most = r->bandwidth * 1e9 / bytes_of(&r->config, element_of(compute));
    bench_print(decode_name, 1 / r->decode, "tok/s", most,
                bench_best_peer("decode", path, types, true), true);
}

int main(int argc, char **argv) {
    (void)argc;
    bench_start(argv);
    char *path = bench_model_file("qwen2.5-coder-0.5b-instruct");
    if (mla_compute_best() == MLA_COMPUTE_BF16) {
        result r = measure(path, MLA_COMPUTE_BF16, dnnl_bf16);
        report(&r, MLA_COMPUTE_BF16, path, "prefill_qwen05_bf16", "decode1_qwen05_bf16");
    }
    result r = measure(path, MLA_COMPUTE_INT8, dnnl_s8);
    bench_print("limit_gemm_s8", r.gflops, "GFLOP/s", 0, 0, true);
    report(&r, MLA_COMPUTE_INT8, path, "prefill_qwen05_int8", "decode1_qwen05_int8");
    free(path);
    return 0;
}
