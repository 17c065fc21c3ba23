// Sampling: extending a cache agrees with training's forward pass, rows do not feel their company,
// children share their parents' pages, and a cache of older weights refuses.
#include "model_fixture.h"

enum { PROMPT = 150, NEW = 20, ALL = PROMPT + NEW, COMPANY = 8 };

static const mla_model_config *const configs[] = {&llama_tied, &llama_untied, &qwen2_tied,
                                                  &qwen2_untied};

static void extend(const mla_model *m, mla_kv *kv, int seq, const int32_t *ids, int n,
                   float *hidden) {
    const mla_extend item = {seq, ids, n};
    mla_err err;
    if (mla_transformer_extend(m, kv, &item, 1, hidden, &err)) fail_msg("%s", err.text);
}

// Each new token's hidden state, decoded one by one, is training's for that row: the same bits.
static void check_against_forward(const mla_model *m) {
    const size_t dim = (size_t)m->config.dim;
    int32_t ids[ALL];
    fill_ids(ids, ALL);
    const mla_segment whole = {0, ALL, -1};
    const mla_token_batch batch = {ids, ALL, &whole, 1};
    mla_activations *acts = mla_activations_create(m);
    const float *want = mla_transformer_forward(m, &batch, acts, false);
    mla_kv *kv = mla_kv_create(m, 1 << 22);
    float hidden[64];
    // The prompt in uneven chunks.
    int seq = mla_kv_open(kv, -1), at = 0;
    for (int chunk = 37; at < PROMPT; at += chunk) {
        if (chunk > PROMPT - at) chunk = PROMPT - at;
        extend(m, kv, seq, ids + at, chunk, hidden);
        assert_memory_equal(hidden, want + (size_t)(at + chunk - 1) * dim, dim * sizeof *hidden);
    }
    for (; at < ALL; at++) {
        extend(m, kv, seq, ids + at, 1, hidden);
        assert_memory_equal(hidden, want + (size_t)at * dim, dim * sizeof *hidden);
    }
    assert_int_equal(mla_kv_length(kv, seq), ALL);
    mla_kv_free(kv);
    mla_activations_free(acts);
}

static void test_extend_is_forward(void **state) {
    (void)state;
    for (size_t i = 0; i < MLA_COUNT(configs); i++)
        for (int bf16 = 0; bf16 <= (mla_compute_best() == MLA_COMPUTE_BF16); bf16++) {
            mla_model *m = formula_model(configs[i], bf16 ? MLA_COMPUTE_BF16 : MLA_COMPUTE_F32);
            check_against_forward(m);
            mla_model_free(m);
        }
}

// Eight children of one prompt decode together; each alone, and over a prompt of its own, gives the
// same bits, though their prompts end in the middle of a page.
static void test_company(void **state) {
    (void)state;
    mla_model *m = formula_model(&llama_tied, mla_compute_best());
    enum { DIM = 32 };
    mla_kv *kv = mla_kv_create(m, 1 << 22);
    int32_t ids[PROMPT];
    int seqs[COMPANY];
    float together[COMPANY * DIM], alone[DIM], first[DIM], own_first[DIM];
    mla_extend items[COMPANY];
    int32_t next[COMPANY];
    mla_err err;
    fill_ids(ids, PROMPT);
    int prompt = mla_kv_open(kv, -1);
    extend(m, kv, prompt, ids, PROMPT, first);
    for (int i = 0; i < COMPANY; i++) {
        seqs[i] = mla_kv_open(kv, prompt);
        assert_int_equal(mla_kv_length(kv, seqs[i]), PROMPT);
    }
    int solo = mla_kv_open(kv, prompt), own = mla_kv_open(kv, -1);
    extend(m, kv, own, ids, PROMPT, own_first);
    assert_memory_equal(first, own_first, sizeof first);
    for (int step = 0; step < NEW; step++) {
        for (int i = 0; i < COMPANY; i++) {
            next[i] = (step * 5 + i * 3 + 1) % VOCAB;
            items[i] = (mla_extend){seqs[i], &next[i], 1};
        }
        assert_int_equal(mla_transformer_extend(m, kv, items, COMPANY, together, &err), 0);
        extend(m, kv, solo, &next[5], 1, alone);
        assert_memory_equal(alone, together + 5 * DIM, sizeof alone);
        extend(m, kv, own, &next[5], 1, alone);
        assert_memory_equal(alone, together + 5 * DIM, sizeof alone);
    }
    // Parents may go before their children; the children keep what they share.
    mla_kv_close(kv, prompt);
    mla_kv_close(kv, own);
    next[0] = 1;
    extend(m, kv, seqs[5], next, 1, together);
    extend(m, kv, solo, next, 1, alone);
    assert_memory_equal(alone, together, sizeof alone);
    mla_kv_free(kv);
    mla_model_free(m);
}

static void test_ceiling(void **state) {
    (void)state;
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    mla_kv *kv = mla__kv_create(m, 3); // pages
    int32_t ids[4 * MLA__PAGE];
    float hidden[2 * 32];
    mla_err err;
    fill_ids(ids, 4 * MLA__PAGE);
    int a = mla_kv_open(kv, -1), b = mla_kv_open(kv, -1);
    extend(m, kv, a, ids, MLA__PAGE + 1, hidden);
    const mla_extend items[] = {{b, ids, 5}, {a, ids, MLA__PAGE}};
    assert_int_equal(mla_transformer_extend(m, kv, items, 2, hidden, &err), -1);
    assert_non_null(strstr(err.text, "full"));
    assert_int_equal(mla_kv_length(kv, a), MLA__PAGE + 1);
    assert_int_equal(mla_kv_length(kv, b), 0);
    extend(m, kv, b, ids, 5, hidden);
    assert_int_equal(mla_kv_open(kv, a), -1); // no page for the tail's copy
    mla_kv_close(kv, b);
    int c = mla_kv_open(kv, a);
    assert_true(c >= 0);
    mla_kv_close(kv, a);
    extend(m, kv, c, ids, MLA__PAGE, hidden); // the parent's own last page came back
    mla_kv_free(kv);
    mla_model_free(m);
}

static void test_stale(void **state) {
    (void)state;
    mla_model *m = formula_model(&qwen2_tied, mla_compute_best());
    mla_kv *kv = mla_kv_create(m, 1 << 22);
    int32_t ids[8];
    float hidden[48], fresh[48];
    mla_err err;
    fill_ids(ids, 8);
    int seq = mla_kv_open(kv, -1);
    extend(m, kv, seq, ids, 7, hidden);
    uint64_t version = mla_model_version(m);
    mla_model_param(m, 2)->data[0] += 0.5f;
    mla_model_refresh(m);
    assert_true(mla_model_version(m) > version);
    const mla_extend item = {seq, ids + 7, 1};
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), -1);
    assert_non_null(strstr(err.text, "weights"));
    mla_kv_reset(kv);
    seq = mla_kv_open(kv, -1);
    extend(m, kv, seq, ids, 8, hidden);
    mla_kv *other = mla_kv_create(m, 1 << 22);
    extend(m, other, mla_kv_open(other, -1), ids, 8, fresh);
    assert_memory_equal(hidden, fresh, sizeof fresh);
    mla_kv_free(other);
    mla_kv_free(kv);
    mla_model_free(m);
}

static void test_context_ends(void **state) {
    (void)state;
    mla_model *m = formula_model(&llama_tied, MLA_COMPUTE_F32);
    mla_kv *kv = mla_kv_create(m, 1 << 24);
    int32_t ids[513];
    float hidden[32];
    mla_err err;
    fill_ids(ids, 513);
    int seq = mla_kv_open(kv, -1);
    const mla_extend item = {seq, ids, 513};
    assert_int_equal(mla_transformer_extend(m, kv, &item, 1, hidden, &err), -1);
    assert_non_null(strstr(err.text, "context"));
    extend(m, kv, seq, ids, 512, hidden);
    mla_kv_free(kv);
    mla_model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extend_is_forward), cmocka_unit_test(test_company),
        cmocka_unit_test(test_ceiling),           cmocka_unit_test(test_stale),
        cmocka_unit_test(test_context_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
