// The optimiser's state on disk, and what it does with gradients that are no numbers. Its
// arithmetic is held to PyTorch's in test_model_transformer.c.
#include <unistd.h>

#include "model_fixture.h"

static mla_model *small_model(void) {
    return formula_model(&llama_untied, MLA_COMPUTE_F32);
}

static void some_gradient(mla_model *m, uint64_t seed) {
    fill_noise(m->grad, m->n_master, seed);
}

static char *temporary(void) {
    const char *dir = getenv("TMPDIR");
    return mla_format("%s/mlagent-test-adamw-%d", dir ? dir : "/tmp", (int)getpid());
}

static void test_resume(void **state) {
    (void)state;
    mla_adamw_options options = mla_adamw_options_default();
    mla_model *a = small_model(), *b = small_model();
    mla_adamw *opt = mla_adamw_create(a, &options), *other = mla_adamw_create(b, &options);
    char *path = temporary();
    mla_err err;
    for (int i = 0; i < 3; i++) {
        some_gradient(a, (uint64_t)i);
        mla_adamw_step(opt, 1e-3);
    }
    assert_int_equal(mla_adamw_save(opt, path, &err), 0);
    assert_int_equal(mla_adamw_load(other, path, &err), 0);
    memcpy(b->master, a->master, a->n_master * sizeof(float));
    some_gradient(a, 9);
    some_gradient(b, 9);
    double norm = mla_adamw_step(opt, 1e-3);
    assert_true(norm > 1 && norm == mla_adamw_step(other, 1e-3));
    assert_memory_equal(a->master, b->master, a->n_master * sizeof(float));
    for (size_t i = 0; i < a->n_master; i++) assert_true(a->grad[i] == 0);
    unlink(path);
    free(path);
    mla_adamw_free(opt);
    mla_adamw_free(other);
    mla_model_free(a);
    mla_model_free(b);
}

static void damage(const char *path, long at) {
    FILE *f = fopen(path, "r+b");
    fseek(f, at, SEEK_SET);
    int c = fgetc(f);
    fseek(f, at, SEEK_SET);
    fputc(c ^ 1, f);
    fclose(f);
}

static void expect_refusal(mla_adamw *opt, const char *path, const char *why) {
    mla_err err = {{0}};
    assert_int_equal(mla_adamw_load(opt, path, &err), -1);
    if (!strstr(err.text, why)) fail_msg("'%s' does not say '%s'", err.text, why);
}

static void test_damage(void **state) {
    (void)state;
    mla_adamw_options options = mla_adamw_options_default();
    mla_model *a = small_model(), *b = formula_model(&llama_tied, MLA_COMPUTE_F32);
    mla_adamw *opt = mla_adamw_create(a, &options), *other = mla_adamw_create(b, &options);
    char *path = temporary();
    mla_err err;
    expect_refusal(opt, path, "cannot be read");
    some_gradient(a, 1);
    mla_adamw_step(opt, 1e-3);
    assert_int_equal(mla_adamw_save(opt, path, &err), 0);
    expect_refusal(other, path, "another shape");
    damage(path, 20000);
    expect_refusal(opt, path, "checksum");
    damage(path, 20000);
    assert_int_equal(truncate(path, 30000), 0);
    expect_refusal(opt, path, "too early");
    damage(path, 0);
    expect_refusal(opt, path, "no optimiser state");
    unlink(path);
    free(path);
    mla_adamw_free(opt);
    mla_adamw_free(other);
    mla_model_free(a);
    mla_model_free(b);
}

static void test_not_finite(void **state) {
    (void)state;
    mla_adamw_options options = mla_adamw_options_default();
    mla_model *m = small_model(), *same = small_model();
    mla_adamw *opt = mla_adamw_create(m, &options);
    uint64_t version = mla_model_version(m);
    some_gradient(m, 2);
    mla_model_param(m, 1)->grad[0] = NAN;
    assert_false(isfinite(mla_adamw_step(opt, 1e-3)));
    assert_memory_equal(m->master, same->master, m->n_master * sizeof(float));
    for (size_t i = 0; i < m->n_master; i++) assert_true(m->grad[i] == 0);
    assert_int_equal(mla_model_version(m), version);
    mla_adamw_free(opt);
    mla_model_free(m);
    mla_model_free(same);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resume),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_not_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
