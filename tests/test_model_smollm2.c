// The default model on a real prompt against transformers, and sampling against training on it.
// Skipped only where the model file is not there; ./test fetches it.
#include "base/fs.h"
#include "model_fixture.h"

#define FILE_ "tests/vectors/model_smollm2/smollm2.bin"
enum { N = 34, VOCAB_ = 49152, TOP = 10 };

static mla_model *load(mla_compute compute, bool trainable) {
    char *home = mla_home(), *path = mla_fs_join(home, "models/smollm2-135m-instruct.gguf");
    mla_model *m = NULL;
    mla_err err;
    if (mla_fs_exists(path)) {
        const mla_model_options options = {.compute = compute, .trainable = trainable};
        m = mla_model_load(path, &options, &err);
        if (!m) fail_msg("%s", err.text);
    } else {
        print_message("%s is not there\n", path);
    }
    free(path);
    free(home);
    return m;
}

static void read_ids(int32_t *ids) {
    float *f = vector_read(FILE_, "ids", 1, N);
    for (int i = 0; i < N; i++) ids[i] = (int32_t)f[i];
    free(f);
}

static void forward(mla_model *m, mla_activations *acts, const int32_t *ids, float *logprob) {
    const mla_segment whole = {0, N, -1};
    const mla_token_batch batch = {ids, N, &whole, 1};
    int rows[N];
    for (int i = 0; i < N; i++) rows[i] = i;
    mla_transformer_forward(m, &batch, acts, false);
    const mla_head_rows at = {rows, ids + 1, N - 1, 1.0f};
    mla_head_forward(m, acts, &at, logprob, NULL);
}

static void test_top_ten(void **state) {
    (void)state;
    mla_model *m = load(MLA_COMPUTE_F32, false);
    if (!m) skip();
    int32_t ids[N];
    float logprob[N], top_logprob[TOP];
    int rows[TOP];
    int32_t targets[TOP];
    read_ids(ids);
    mla_activations *acts = mla_activations_create(m);
    forward(m, acts, ids, logprob);
    float *want = vector_read(FILE_, "logprobs", 1, N - 1);
    assert_close("log-probabilities of the prompt", logprob, want, N - 1, 2e-3);
    float *top = vector_read(FILE_, "top_ids", 1, TOP);
    float *top_want = vector_read(FILE_, "top_logprobs", 1, TOP);
    static float logits[VOCAB_];
    mla_head_logits(m, acts->hidden + (size_t)(N - 1) * (size_t)m->config.dim, 1, logits);
    for (int i = 0; i < TOP; i++) {
        rows[i] = N - 1;
        targets[i] = (int32_t)top[i];
        int better = 0;
        for (int k = 0; k < VOCAB_; k++) better += logits[k] > logits[targets[i]];
        assert_int_equal(better, i);
    }
    const mla_head_rows at = {rows, targets, TOP, 1.0f};
    mla_head_forward(m, acts, &at, top_logprob, NULL);
    assert_close("ten best", top_logprob, top_want, TOP, 2e-3);
    free(want);
    free(top);
    free(top_want);
    mla_activations_free(acts);
    mla_model_free(m);
}

// Log-probabilities while sampling and in training, of the same weights: the same bits. bf16 stays
// near fp32.
static void test_sampling_is_training(void **state) {
    (void)state;
    mla_model *m = load(mla_compute_best(), false);
    if (!m) skip();
    int32_t ids[N];
    float train[N], *hidden = MLA_NEW_ARRAY(float, (size_t)m->config.dim);
    static float logits[VOCAB_];
    mla_err err;
    read_ids(ids);
    mla_activations *acts = mla_activations_create(m);
    forward(m, acts, ids, train);
    mla_kv *kv = mla_kv_create(m, (size_t)1 << 28);
    int seq = mla_kv_open(kv, -1);
    for (int i = 0; i < N - 1; i++) {
        const mla_extend item = {seq, &ids[i], 1};
        assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), 0);
        mla_head_logits(m, hidden, 1, logits);
        float lse, mean;
        m->kernels->lse(logits, VOCAB_, 1, &lse, &mean);
        assert_true(logits[ids[i + 1]] - lse == train[i]);
    }
    float *want = vector_read(FILE_, "logprobs", 1, N - 1);
    assert_close("fp32's log-probabilities", train, want, N - 1, 0.5);
    free(want);
    free(hidden);
    mla_kv_free(kv);
    mla_activations_free(acts);
    mla_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_top_ten),
        cmocka_unit_test(test_sampling_is_training),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
