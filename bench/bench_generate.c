// The engine: 32 sequences from 32 different prompts decoding together, in the shape of
// Qwen2.5-Coder-0.5B. The prompts are read first, outside the figure's time.
#include <math.h>

#include "bandwidth.h"
#include "bench.h"
#include "policy/internal.h"

enum { SEQUENCES = 32, PROMPT = 1024, NEW = 64, REPEATS = 3 };

static const mla_model_config qwen05 = {.arch = MLA_ARCH_QWEN2, .vocab = 151936, .dim = 896,
                                        .layers = 24, .heads = 14, .kv_heads = 2, .head_dim = 64,
                                        .hidden = 4864, .max_context = 32768,
                                        .rope_theta = 1000000, .norm_eps = 1e-6f, .tied = true};

static void step(mla_engine *e) {
    mla_err err;
    if (mla_engine_step(e, &err) < 0) {
        fprintf(stderr, "bench_generate: %s\n", err.text);
        exit(1);
    }
}

static void submit(mla_engine *e, size_t at, int max_new) {
    int32_t ids[PROMPT];
    mla_err err;
    uint64_t handle;
    for (int i = 0; i < PROMPT; i++)
        ids[i] = 100 + (int32_t)((i * 7919 + (int64_t)(at + 1) * 104729) % 150000);
    const mla_prompt_request r = {.ids = ids, .n = PROMPT, .samples = 1, .max_new = max_new,
                                  .temperature = 1, .seed = at};
    if (mla_engine_submit(e, &r, at, NULL, NULL, NULL, &handle, &err)) {
        fprintf(stderr, "bench_generate: %s\n", err.text);
        exit(1);
    }
}

// Seconds that NEW rounds take in which all the sequences run.
static double decode(mla_engine *e) {
    while (mla_engine_get_stats(e).running < SEQUENCES) step(e);
    uint64_t before = mla_engine_get_stats(e).new_tokens;
    double began = mla_clock();
    for (int i = 0; i < NEW; i++) step(e);
    double took = mla_clock() - began;
    MLA_ASSERT(mla_engine_get_stats(e).new_tokens - before == SEQUENCES * NEW);
    return took;
}

static double weights_of(const mla_model_config *c) {
    double attention = (double)c->dim * c->head_dim * 2 * (c->heads + c->kv_heads);
    return c->layers * (attention + 3.0 * c->dim * c->hidden) + (double)c->vocab * c->dim;
}

// Bytes of all sequences' keys and values.
static double cache_of(const mla_model_config *c) {
    return SEQUENCES * 2.0 * 2 * c->layers * c->kv_heads * c->head_dim * (PROMPT + NEW);
}

// Seconds that a round cannot fall below: all products at the limit of arithmetic or of reading
// their weights, whichever is slower, then keys and values at the limit of memory.
static double least_round(double gflops, double bandwidth) {
    const double weights = weights_of(&qwen05);
    return fmax(2 * weights * SEQUENCES / gflops, 2 * weights / bandwidth) * 1e-9 +
           cache_of(&qwen05) / bandwidth * 1e-9;
}

int main(int argc, char **argv) {
    (void)argc;
    bench_start(argv);
    if (mla_compute_best() != MLA_COMPUTE_BF16) return 0;
    const mla_model_options options = {.compute = MLA_COMPUTE_BF16};
    mla_model *model = mla_model_random(&qwen05, &options, 1);
    mla_engine *engine = mla__engine_create(model, -1, (size_t)2 << 30);
    for (size_t i = 0; i < SEQUENCES; i++) submit(engine, i, 8192);
    const double read = 2 * weights_of(&qwen05) + cache_of(&qwen05);
    double gflops = bench_gemm_limit(dnnl_bf16), bandwidth = bench_bandwidth_limit(read);
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        double took = decode(engine);
        if (took < best) best = took;
    }
    gflops = fmax(gflops, bench_gemm_limit(dnnl_bf16));
    bandwidth = fmax(bandwidth, bench_bandwidth_limit(read));
    mla_engine_free(engine);
    mla_model_free(model);
    double limit = SEQUENCES / least_round(gflops, bandwidth);
    char *path = bench_model_file("qwen2.5-coder-0.5b-instruct");
    bench_print("decode32_qwen05_bf16", SEQUENCES * NEW / best, "tok/s", limit,
                bench_best_peer("decode32", path, BENCH_BF16, true), true);
    free(path);
    return 0;
}
