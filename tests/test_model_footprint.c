// The memory that mlagent model info tells, against what the allocator has given out once a model
// of that shape is there and has taken a step.
#include "model_fixture.h"

#include <malloc.h>

#include "model/footprint.h"

enum { TOKENS = 512 };

// Wide enough that what the formula leaves out is small beside the rest, but for LEFT_OUT bytes,
// mostly oneDNN's, that do not grow with the model.
#define LEFT_OUT 4e6
static mla_model_config shape(mla_arch arch, bool tied) {
    return (mla_model_config){.arch = arch, .vocab = 6016, .dim = 256, .layers = 4, .heads = 4,
                              .kv_heads = 2, .head_dim = 64, .hidden = 512, .max_context = 2048,
                              .rope_theta = 10000, .norm_eps = 1e-5f, .tied = tied};
}

// Bytes that malloc has given out; 0 where a sanitizer's malloc does not count them.
static double used(void) {
#if defined(__SANITIZE_ADDRESS__)
    return 0;
#else
    struct mallinfo2 info = mallinfo2();
    return (double)info.uordblks + (double)info.hblkhd;
#endif
}

static void near(const char *what, double told, double taken) {
    print_message("%s: told %.1f MB, taken %.1f MB\n", what, told / 1e6, taken / 1e6);
    if (taken > 0 && !(told < 1.03 * taken && told > 0.97 * (taken - LEFT_OUT)))
        fail_msg("%s: told %.0f bytes, taken %.0f", what, told, taken);
}

static void learn_once(mla_model *m, mla_activations *acts) {
    int32_t ids[TOKENS];
    int rows[TOKENS];
    float weight[TOKENS];
    for (int i = 0; i < TOKENS; i++) {
        ids[i] = i % 5000;
        rows[i] = i;
        weight[i] = -1.0f / TOKENS;
    }
    const mla_segment all = {0, TOKENS, -1};
    const mla_token_batch batch = {ids, TOKENS, &all, 1};
    const mla_head_rows head = {rows, ids, TOKENS, 1};
    mla_transformer_forward(m, &batch, acts, true);
    mla_head_backward(m, acts, &head, weight, NULL);
    mla_transformer_backward(m, &batch, acts);
}

static void check_tuning(const mla_model_config *config, mla_compute compute, bool recompute) {
    const mla_model_options options = {.compute = compute, .trainable = true};
    const mla_footprint told = mla_footprint_of(config, compute, MLA_USE_FULL, TOKENS, 0,
                                                 recompute);
    double before = used();
    mla_model *m = mla_model_random(config, &options, 1);
    const mla_adamw_options how = mla_adamw_options_default();
    mla_adamw *opt = mla_adamw_create(m, &how);
    double model = used();
    near("full: weights and optimiser", (double)(told.weights + told.optimiser), model - before);
    mla_activations *acts = mla_activations_create(m);
    mla_activations_recompute(acts, recompute);
    learn_once(m, acts);
    near("full: a pass", (double)(told.work + told.cache), used() - model);
    mla_activations_free(acts);
    mla_adamw_free(opt);
    mla_model_free(m);
}

static void check_adapters(const mla_model_config *config, mla_compute compute, bool recompute) {
    const mla_model_options options = {.compute = compute, .adaptable = true};
    const mla_footprint told = mla_footprint_of(config, compute, MLA_USE_LORA, TOKENS, 16,
                                                 recompute);
    const mla_adapter_options wanted = mla_adapter_options_default();
    mla_err err;
    double before = used();
    mla_model *m = mla_model_random(config, &options, 1);
    near("LoRA: weights", (double)told.weights, used() - before);
    assert_int_equal(mla_adapter_add(m, &wanted, 1, &err), 0);
    const mla_adamw_options how = mla_adamw_options_default();
    mla_adamw *opt = mla_adamw_create(m, &how);
    double model = used();
    near("LoRA: weights and optimiser", (double)(told.weights + told.optimiser), model - before);
    mla_activations *acts = mla_activations_create(m);
    mla_activations_recompute(acts, recompute);
    learn_once(m, acts);
    near("LoRA: a pass", (double)(told.work + told.cache), used() - model);
    mla_activations_free(acts);
    mla_adamw_free(opt);
    mla_model_free(m);
}

static void check_sampling(const mla_model_config *config, mla_compute compute) {
    const mla_model_options options = {.compute = compute};
    const mla_footprint told = mla_footprint_of(config, compute, MLA_USE_SAMPLE, TOKENS, 0, false);
    double before = used();
    mla_model *m = mla_model_random(config, &options, 1);
    double model = used();
    near("sample: weights", (double)told.weights, model - before);
    mla_kv *kv = mla_kv_create(m, (size_t)1 << 30);
    int32_t ids[TOKENS] = {0};
    float hidden[256];
    mla_err err;
    const mla_extend item = {mla_kv_open(kv, -1), ids, TOKENS};
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), 0);
    near("sample: cache and work", (double)(told.cache + told.work), used() - model);
    mla_kv_free(kv);
    mla_model_free(m);
}

static void the_formula_tells_what_is_allocated(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        const mla_model_config config = shape(kind & 1 ? MLA_ARCH_QWEN2 : MLA_ARCH_LLAMA, kind & 2);
        for (int compute = MLA_COMPUTE_F32; compute <= (int)mla_compute_best(); compute++) {
            for (int recompute = 0; recompute < 2; recompute++) {
                check_tuning(&config, (mla_compute)compute, recompute);
                check_adapters(&config, (mla_compute)compute, recompute);
            }
            check_sampling(&config, (mla_compute)compute);
        }
        check_sampling(&config, MLA_COMPUTE_INT8);
    }
}

static void parameters_are_counted(void **state) {
    (void)state;
    mla_model_config c = {.arch = MLA_ARCH_LLAMA, .vocab = 49152, .dim = 576, .layers = 30,
                          .heads = 9, .kv_heads = 3, .head_dim = 64, .hidden = 1536,
                          .max_context = 8192, .tied = true};
    assert_int_equal(mla_footprint_params(&c), 134515008);
    // PEFT's count for r = 16 on the seven projections.
    assert_int_equal(mla_footprint_lora_params(&c, 16), 4884480);
    c.tied = false;
    assert_int_equal(mla_footprint_params(&c), 134515008 + 49152 * 576);
}

static void more_use_takes_more(void **state) {
    (void)state;
    const mla_model_config c = shape(MLA_ARCH_QWEN2, true);
    uint64_t last = 0;
    for (int use = MLA_USE_SAMPLE; use <= MLA_USE_FULL; use++) {
        mla_footprint f = mla_footprint_of(&c, mla_compute_best(), (mla_use)use, TOKENS, 16,
                                           false);
        assert_true(f.total > last);
        assert_true(f.total == f.weights + f.optimiser + f.cache + f.work);
        last = f.total;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_formula_tells_what_is_allocated),
        cmocka_unit_test(parameters_are_counted),
        cmocka_unit_test(more_use_takes_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
