// Full fine-tuning of the default model as PyTorch's training was measured: one sequence of 1024
// tokens, a loss at every position, forward, backward and AdamW. Also the memory it takes, so this
// is a program of its own.
#include <sys/resource.h>

#include "bench.h"

enum { TOKENS = 1024, REPEATS = 6 };

typedef struct run {
    mla_model *model;
    mla_activations *acts;
    mla_adamw *opt;
    int32_t ids[TOKENS + 1];
    int rows[TOKENS];
    float logprob[TOKENS], d[TOKENS];
} run;

static double step(run *r) {
    const mla_segment whole = {0, TOKENS, -1};
    const mla_token_batch batch = {r->ids, TOKENS, &whole, 1};
    const mla_head_rows at = {r->rows, r->ids + 1, TOKENS, 1.0f};
    double began = mla_clock();
    mla_transformer_forward(r->model, &batch, r->acts, true);
    mla_head_learn(r->model, r->acts, &at, r->d, r->logprob);
    mla_transformer_backward(r->model, &batch, r->acts);
    mla_adamw_step(r->opt, 1e-5);
    return mla_clock() - began;
}

int main(int argc, char **argv) {
    (void)argc;
    bench_start(argv);
    static run r;
    const mla_compute compute = mla_compute_best();
    const mla_adamw_options options = mla_adamw_options_default();
    const dnnl_data_type_t type = compute == MLA_COMPUTE_BF16 ? dnnl_bf16 : dnnl_f32;
    double gflops = bench_gemm_limit(type), best = 1e9;
    r.model = bench_model(compute, true);
    r.acts = mla_activations_create(r.model);
    r.opt = mla_adamw_create(r.model, &options);
    for (int i = 0; i <= TOKENS; i++) r.ids[i] = 100 + (int32_t)((int64_t)i * 7919 % 40000);
    for (int i = 0; i < TOKENS; i++) {
        r.rows[i] = i;
        r.d[i] = -1.0f / TOKENS;
    }
    for (int i = 0; i < REPEATS; i++) {
        double took = step(&r);
        if (took < best) best = took;
    }
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    double again = bench_gemm_limit(type);
    if (again > gflops) gflops = again;
    // Three products for each weight, of two operations each; the embedding is the head's weight.
    double weights = 0;
    for (size_t i = 0; i < mla_model_params(r.model); i++) {
        const mla_param *p = mla_model_param(r.model, i);
        weights += p->rows > 1 ? (double)(p->rows * p->cols) : 0;
    }
    bench_print("sft_full_smollm2", TOKENS / best, "tok/s", gflops * 1e9 / (6 * weights),
                bench_peer("transformers_speed.py", "sft"), true);
    bench_print("mem_sft_full_smollm2", (double)use.ru_maxrss / 1024, "MB", 0,
                bench_peer("transformers_speed.py", "sft_memory"), false);
    mla_adamw_free(r.opt);
    mla_activations_free(r.acts);
    mla_model_free(r.model);
    return 0;
}
