// The larger real models against transformers (vectors/model_real, made by tools/vectors_real.py).
// Needs their files, which `mlagent model fetch` fetches, and 8 GB of memory; fails without them.
#include "real_fixture.h"

static mla_model *load(const char *name, mla_compute compute) {
    mla_model *m = real_model(name, compute);
    if (!m) fail_msg("%s is needed", name);
    return m;
}

static void qwen05_logits(void **state) {
    (void)state;
    mla_model *m = load("qwen2.5-coder-0.5b-instruct", MLA_COMPUTE_F32);
    assert_logits("Qwen2.5-Coder-0.5B, fp32", m, REAL_VECTORS "qwen05.bin", false);
    mla_model_free(m);
}

static void qwen05_agreement(void **state) {
    (void)state;
    mla_model *m = load("qwen2.5-coder-0.5b-instruct", mla_compute_best());
    assert_agreement("Qwen2.5-Coder-0.5B, bf16", m, REAL_VECTORS "qwen05.bin");
    mla_model_free(m);
}

static void qwen15_logits(void **state) {
    (void)state;
    mla_model *m = load("qwen2.5-coder-1.5b-instruct", MLA_COMPUTE_F32);
    assert_logits("Qwen2.5-Coder-1.5B, fp32", m, REAL_VECTORS "qwen15.bin", true);
    mla_model_free(m);
}

static void qwen15_agreement(void **state) {
    (void)state;
    mla_model *m = load("qwen2.5-coder-1.5b-instruct", mla_compute_best());
    assert_agreement("Qwen2.5-Coder-1.5B, bf16", m, REAL_VECTORS "qwen15.bin");
    mla_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(qwen05_logits),
        cmocka_unit_test(qwen05_agreement),
        cmocka_unit_test(qwen15_logits),
        cmocka_unit_test(qwen15_agreement),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
