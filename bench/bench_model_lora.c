// Fine-tuning by LoRA, rank 16 on all linear layers, as PyTorch's was measured: a sequence of 1024
// tokens with a loss at every position; a 150-token action after an 874-token state; and 8 actions
// of 96 tokens of one 1024-token state, as one batch and as 8 samples. Each model in a process of
// its own, whose peak memory is that of the first of these.
#include <sys/resource.h>
#include <sys/wait.h>

#include "bench.h"
#include "model/adapter.h"
#include "policy/policy.h"

enum { TOKENS = 1024, ACTION = 150, GROUP = 8, NEW = 96, REPEATS = 3 };

static const mla_model_config shape05 = {.arch = MLA_ARCH_QWEN2, .vocab = 151936, .dim = 896,
                                         .layers = 24, .heads = 14, .kv_heads = 2, .head_dim = 64,
                                         .hidden = 4864, .max_context = 32768, .rope_theta = 1e6f,
                                         .norm_eps = 1e-6f, .tied = true};
static const mla_model_config shape15 = {.arch = MLA_ARCH_QWEN2, .vocab = 151936, .dim = 1536,
                                         .layers = 28, .heads = 12, .kv_heads = 2, .head_dim = 128,
                                         .hidden = 8960, .max_context = 32768, .rope_theta = 1e6f,
                                         .norm_eps = 1e-6f, .tied = true};

typedef struct {
    mla_model *model;
    mla_activations *acts;
    mla_adamw *opt;
    char *path;
} tuned;

static void must(bool fine, const mla_err *err) {
    if (fine) return;
    fprintf(stderr, "bench_model_lora: %s\n", err->text);
    exit(1);
}

static void tuned_open(tuned *t, const char *name, const mla_model_config *shape) {
    const mla_model_options options = {.compute = mla_compute_best(), .adaptable = true};
    const mla_adapter_options lora = mla_adapter_options_default();
    const mla_adamw_options adamw = mla_adamw_options_default();
    mla_err err;
    t->path = bench_model_file(name);
    t->model = mla_fs_exists(t->path) ? mla_model_load(t->path, &options, &err)
                                      : mla_model_random(shape, &options, 1);
    must(t->model && mla_adapter_add(t->model, &lora, 1, &err) == 0, &err);
    t->acts = mla_activations_create(t->model);
    t->opt = mla_adamw_create(t->model, &adamw);
}

static void tuned_close(tuned *t) {
    mla_adamw_free(t->opt);
    mla_activations_free(t->acts);
    mla_model_free(t->model);
    free(t->path);
}

static const int32_t *text(void) {
    static int32_t ids[2 * TOKENS];
    for (int i = 0; i < 2 * TOKENS; i++) ids[i] = 100 + (int32_t)((int64_t)i * 7919 % 40000);
    return ids;
}

// A prompt and so many actions behind it.
static mla_group group_of(int prompt, int action, int actions) {
    mla_group group;
    mla_group_init(&group, text(), (size_t)prompt);
    for (int k = 0; k < actions; k++) mla_group_add(&group, text() + prompt + k, (size_t)action);
    return group;
}

static void learn(const tuned *t, const mla_group *group) {
    const mla_token_batch batch = mla_group_batch(group);
    const mla_head_rows head = mla_group_head(group, 1.0f);
    float *logprob = MLA_NEW_ARRAY(float, (size_t)head.n);
    float *d = MLA_NEW_ARRAY(float, (size_t)head.n);
    for (int i = 0; i < head.n; i++) d[i] = -1.0f / (float)head.n;
    mla_transformer_forward(t->model, &batch, t->acts, true);
    mla_head_learn(t->model, t->acts, &head, d, logprob);
    mla_transformer_backward(t->model, &batch, t->acts);
    free(logprob);
    free(d);
}

// Seconds of a step that learns the group `times` times over, the best of some.
static double step(const tuned *t, const mla_group *group, int times) {
    double best = 1e9;
    for (int i = 0; i < REPEATS; i++) {
        double began = mla_clock();
        for (int k = 0; k < times; k++) learn(t, group);
        mla_adamw_step(t->opt, 1e-5);
        double took = mla_clock() - began;
        if (took < best) best = took;
    }
    return best;
}

static double peak_mb(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_maxrss / 1024;
}

// Two products for each frozen weight, of two operations each: there and back. The head's are at
// the rows with a loss only.
static double flops(const mla_model_config *c, int tokens, int rows) {
    double attention = (double)c->dim * c->head_dim * 2 * (c->heads + c->kv_heads);
    double layers = c->layers * (attention + 3.0 * c->dim * c->hidden);
    return 4 * (tokens * layers + (double)rows * c->vocab * c->dim);
}

static double timed(const tuned *t, int prompt, int action, int actions, int times) {
    mla_group group = group_of(prompt, action, actions);
    double seconds = step(t, &group, times);
    mla_group_clear(&group);
    return seconds;
}

static double limit(void) {
    return 1e9 * bench_gemm_limit(mla_compute_best() == MLA_COMPUTE_BF16 ? dnnl_bf16 : dnnl_f32);
}

static void tune05(void) {
    tuned t;
    double gemm = limit();
    tuned_open(&t, "qwen2.5-coder-0.5b-instruct", &shape05);
    const double all = timed(&t, 1, TOKENS, 1, 1), mb = peak_mb();
    const double action = timed(&t, TOKENS - ACTION, ACTION, 1, 1);
    const double group = timed(&t, TOKENS, NEW, GROUP, 1);
    const double single = timed(&t, TOKENS, NEW, 1, GROUP);
    const double again = limit();
    if (again > gemm) gemm = again;
    const double lora_peer = bench_peer_on("transformers_speed.py", "lora", t.path);
    const double mb_peer = bench_peer_on("transformers_speed.py", "lora_memory", t.path);
    bench_print("sft_lora_qwen05", TOKENS / all, "tok/s",
                TOKENS * gemm / flops(&shape05, TOKENS, TOKENS), lora_peer, true);
    bench_print("mem_sft_lora_qwen05", mb, "MB", 0, mb_peer, false);
    bench_print("sft_lora_qwen05_action", TOKENS / action, "tok/s",
                TOKENS * gemm / flops(&shape05, TOKENS, ACTION), lora_peer, true);
    const double most = GROUP * flops(&shape05, TOKENS + NEW - 1, NEW) /
                        flops(&shape05, TOKENS + GROUP * (NEW - 1), GROUP * NEW);
    bench_print("sft_group8_speedup", single / group, "x", most, 0, true);
    fprintf(stderr, "bench: group of %d: %.2f s as one batch, %.2f s as %d samples\n", GROUP, group,
            single, GROUP);
    tuned_close(&t);
}

static void tune15(void) {
    tuned t;
    const double gemm = limit();
    tuned_open(&t, "qwen2.5-coder-1.5b-instruct", &shape15);
    const double all = timed(&t, 1, TOKENS, 1, 1);
    bench_print("sft_lora_qwen15", TOKENS / all, "tok/s",
                TOKENS * gemm / flops(&shape15, TOKENS, TOKENS), 0, true);
    bench_print("mem_sft_lora_qwen15", peak_mb(), "MB", 0, 0, false);
    tuned_close(&t);
}

// 0, or 1 when it failed.
static int in_a_process(void (*run)(void)) {
    int status = 1;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        run();
        fflush(stdout);
        _exit(0);
    }
    waitpid(pid, &status, 0);
    return status != 0;
}

int main(int argc, char **argv) {
    bench_start(argv);
    const bool small = argc < 2 || !strstr(argv[1], "qwen15");
    const bool large = argc < 2 || strstr(argv[1], "qwen15");
    return (small ? in_a_process(tune05) : 0) | (large ? in_a_process(tune15) : 0);
}
