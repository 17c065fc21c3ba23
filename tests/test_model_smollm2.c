// The default model against transformers (vectors/model_real, made by tools/vectors_real.py), and
// sampling against training on it. Skipped only where the model file is not there; ./test fetches
// it.
#include "real_fixture.h"

#define FILE_ REAL_VECTORS "smollm2.bin"

// Both NULL where the model's file is not there.
typedef struct models {
    mla_model *fp32, *best;    // best: bf16 where the processor has it
} models;

static int load_models(void **state) {
    models *m = MLA_NEW(models);
    m->fp32 = real_model("smollm2-135m-instruct", MLA_COMPUTE_F32);
    m->best = real_model("smollm2-135m-instruct", mla_compute_best());
    *state = m;
    return 0;
}

static int free_models(void **state) {
    models *m = *state;
    mla_model_free(m->fp32);
    mla_model_free(m->best);
    free(m);
    return 0;
}

static void logits_are_those_of_transformers(void **state) {
    const models *m = *state;
    if (!m->fp32) skip();
    assert_logits("SmolLM2, fp32", m->fp32, FILE_, false);
}

static void the_likeliest_token_is_that_of_transformers(void **state) {
    const models *m = *state;
    if (!m->best) skip();
    assert_agreement("SmolLM2, bf16", m->best, FILE_);
}

static void log_probabilities_are_those_of_transformers(void **state) {
    const models *m = *state;
    if (!m->fp32) skip();
    real_prompt p = real_prompt_read(FILE_);
    float *want = vector_read(FILE_, "logprobs", 1, p.n - 1);
    float *logprob = MLA_NEW_ARRAY(float, p.n);
    next_logprobs(m->fp32, p.ids, (int)p.n, logprob);
    assert_close("fp32's log-probabilities", logprob, want, p.n - 1, 1e-3);
    next_logprobs(m->best, p.ids, (int)p.n, logprob);
    assert_close("bf16's log-probabilities", logprob, want, p.n - 1, 0.5);
    free(logprob);
    free(want);
    real_prompt_clear(&p);
}

// Log-probabilities while sampling and in training, of the same weights: the same bits, though the
// one takes a token at a time and the other all at once.
static void check_sampling(const mla_model *m) {
    enum { N = 24 };
    real_prompt p = real_prompt_read(FILE_);
    float train[N], *hidden = MLA_NEW_ARRAY(float, (size_t)m->config.dim);
    float *logits = MLA_NEW_ARRAY(float, (size_t)m->config.vocab);
    mla_err err;
    next_logprobs(m, p.ids, N, train);
    mla_kv *kv = mla_kv_create(m, (size_t)1 << 28);
    int seq = mla_kv_open(kv, -1);
    for (int i = 0; i < N - 1; i++) {
        const mla_extend item = {.seq = seq, .ids = &p.ids[i], .n = 1};
        assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), 0);
        mla_head_logits(m, hidden, 1, logits);
        float lse, mean;
        m->kernels->lse(logits, m->config.vocab, 1, &lse, &mean);
        assert_true(logits[p.ids[i + 1]] - lse == train[i]);
    }
    free(logits);
    free(hidden);
    real_prompt_clear(&p);
    mla_kv_free(kv);
}

static void sampling_is_training(void **state) {
    const models *m = *state;
    if (!m->fp32) skip();
    check_sampling(m->fp32);
    check_sampling(m->best);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_transformers),
        cmocka_unit_test(the_likeliest_token_is_that_of_transformers),
        cmocka_unit_test(log_probabilities_are_those_of_transformers),
        cmocka_unit_test(sampling_is_training),
    };
    return cmocka_run_group_tests(tests, load_models, free_models);
}
