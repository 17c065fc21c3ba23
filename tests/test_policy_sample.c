// One token from one row of logits: what the cuts keep against a plain computation over the sorted
// vocabulary, how often tokens are drawn, and the log-probability, which no cut may touch.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "policy/internal.h"

enum { VOCAB = 400 };

typedef struct ranked {
    double p;
    int32_t id;
} ranked;

static int compare(const void *a, const void *b) {
    const ranked *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

// The distribution in double precision, likeliest first.
static void rank(const float *logits, double temperature, ranked *out) {
    double top = -INFINITY, total = 0;
    for (int i = 0; i < VOCAB; i++) top = fmax(top, (double)logits[i]);
    for (int i = 0; i < VOCAB; i++) {
        out[i] = (ranked){exp(((double)logits[i] - top) / temperature), i};
        total += out[i].p;
    }
    for (int i = 0; i < VOCAB; i++) out[i].p /= total;
    qsort(out, VOCAB, sizeof *out, compare);
}

// min_p, then top_k, then top_p of the rest, each over the whole vocabulary.
static int naive_kept(const ranked *r, const mla__sampling *how) {
    int kept = VOCAB;
    while (how->min_p > 0 && r[kept - 1].p < (double)how->min_p * r[0].p) kept--;
    if (how->top_k > 0 && how->top_k < kept) kept = how->top_k;
    double mass = 0, seen = 0;
    for (int i = 0; i < kept; i++) mass += r[i].p;
    if (how->top_p > 0 && how->top_p < 1)
        for (int i = 0; i < kept; i++) {
            seen += r[i].p;
            if (seen >= (double)how->top_p * mass) kept = i + 1;
        }
    return kept;
}

static void noise(float *logits, uint64_t seed, double spread) {
    mla_rng rng;
    mla_rng_init(&rng, seed);
    for (int i = 0; i < VOCAB; i++) logits[i] = (float)(spread * mla_rng_normal(&rng));
}

// Every u of a fine grid: the tokens drawn are those kept, each as often as its share says.
static void check_cut(const float *logits, const mla__sampling *how) {
    enum { GRID = 1500 };
    ranked r[VOCAB];
    float scratch[VOCAB], logprob;
    int drawn[VOCAB] = {0};
    double p[VOCAB], mass = 0;
    rank(logits, (double)how->temperature, r);
    const int kept = naive_kept(r, how);
    for (int i = 0; i < VOCAB; i++) p[r[i].id] = r[i].p;
    for (int i = 0; i < kept; i++) mass += r[i].p;
    for (int i = 0; i < GRID; i++) {
        int32_t id = mla__sample_token(logits, VOCAB, how, (i + 0.5) / GRID, scratch, &logprob);
        assert_in_range(id, 0, VOCAB - 1);
        assert_true(fabs((double)logprob - log(p[id])) < 1e-4);
        drawn[id]++;
    }
    for (int i = 0; i < VOCAB; i++) {
        double share = i < kept ? r[i].p / mass : 0;
        double most = i < kept ? 1.0 + 1e-4 * GRID : 0;
        if (fabs(drawn[r[i].id] - share * GRID) > most)
            fail_msg("k %d, p %g, min %g: rank %d of %d kept: drawn %d times, expected %g",
                     how->top_k, (double)how->top_p, (double)how->min_p, i, kept,
                     drawn[r[i].id], share * GRID);
    }
}

static void cuts_keep_what_a_plain_computation_keeps(void **state) {
    (void)state;
    static const mla__sampling settings[] = {
        {1.0f, 0, 0, 0},          {0.7f, 0, 1, 0},         {1.0f, 5, 0, 0},
        {1.3f, 1, 0, 0},          {1.0f, 200, 0, 0},       {1.0f, VOCAB + 9, 0, 0},
        {1.0f, 0, 0.5f, 0},       {0.6f, 0, 0.9f, 0},      {1.0f, 0, 0.999f, 0},
        {1.0f, 0, 1e-6f, 0},      {1.0f, 0, 0, 0.05f},     {1.5f, 0, 0, 0.001f},
        {1.0f, 0, 0, 1.0f},       {0.8f, 40, 0.95f, 0},    {0.8f, 40, 0.95f, 0.02f},
        {1.0f, 3, 0.5f, 0.3f},    {1.0f, 0, 0.9f, 0.01f},  {1.0f, 100, 0, 0.2f},
    };
    static const double spreads[] = {0.3, 2, 6};
    float logits[VOCAB];
    for (size_t s = 0; s < MLA_COUNT(spreads); s++)
        for (size_t i = 0; i < MLA_COUNT(settings); i++) {
            noise(logits, 10 * i + s, spreads[s]);
            check_cut(logits, &settings[i]);
        }
}

static void equal_logits_go_by_their_number(void **state) {
    (void)state;
    float logits[VOCAB], scratch[VOCAB], logprob;
    for (int i = 0; i < VOCAB; i++) logits[i] = i % 2 ? 1.0f : -1.0f;
    const mla__sampling two = {1.0f, 2, 0, 0}, greedy = {0, 7, 0.5f, 0.1f};
    for (int i = 0; i < 50; i++) {
        const double u = i / 50.0;
        int32_t id = mla__sample_token(logits, VOCAB, &two, u, scratch, &logprob);
        assert_int_equal(id, i < 25 ? 1 : 3);
        id = mla__sample_token(logits, VOCAB, &greedy, u, scratch, &logprob);
        assert_int_equal(id, 1);
        assert_float_equal(logprob, -log(VOCAB / 2 * (1 + exp(-2))), 1e-5);
    }
}

static void far_logits_do_not_break_the_sums(void **state) {
    (void)state;
    float logits[VOCAB], scratch[VOCAB], logprob;
    for (int i = 0; i < VOCAB; i++) logits[i] = -INFINITY;
    logits[17] = 3e4f;
    logits[18] = 3e4f;
    const mla__sampling plain = {1.0f, 0, 0, 0}, cut = {1.0f, 50, 0.999f, 1e-9f};
    for (int i = 0; i < 20; i++) {
        int32_t id = mla__sample_token(logits, VOCAB, &plain, i / 20.0, scratch, &logprob);
        assert_int_equal(id, i < 10 ? 17 : 18);
        assert_float_equal(logprob, log(0.5), 1e-5);
        id = mla__sample_token(logits, VOCAB, &cut, i / 20.0, scratch, &logprob);
        assert_int_equal(id, i < 10 ? 17 : 18);
    }
}

static void the_likeliest_are_those_of_a_sorted_row(void **state) {
    (void)state;
    static const float temperatures[] = {0, 0.5f, 1, 1.7f};
    float logits[VOCAB], scratch[VOCAB], logprob;
    mla_likely got[VOCAB];
    ranked r[VOCAB];
    for (size_t t = 0; t < MLA_COUNT(temperatures); t++) {
        const double temperature = temperatures[t] > 0 ? (double)temperatures[t] : 1;
        noise(logits, 70 + t, 4);
        for (int i = 0; i < VOCAB; i += 7) logits[i] = logits[VOCAB - 1 - i]; // some are alike
        rank(logits, temperature, r);
        for (size_t n = 0; n <= VOCAB; n = n ? n * 20 : 1) {
            mla__sample_likely(logits, VOCAB, temperatures[t], scratch, got, n);
            for (size_t i = 0; i < n; i++) {
                assert_int_equal(got[i].id, r[i].id);
                assert_true(fabs((double)got[i].logprob - log(r[i].p)) < 1e-4);
            }
        }
        const mla__sampling how = {.temperature = temperatures[t]};
        int32_t id = mla__sample_token(logits, VOCAB, &how, 0.4, scratch, &logprob);
        for (size_t i = 0; i < VOCAB; i++)
            if (got[i].id == id) assert_memory_equal(&got[i].logprob, &logprob, sizeof logprob);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_keep_what_a_plain_computation_keeps),
        cmocka_unit_test(equal_logits_go_by_their_number),
        cmocka_unit_test(far_logits_do_not_break_the_sums),
        cmocka_unit_test(the_likeliest_are_those_of_a_sorted_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
