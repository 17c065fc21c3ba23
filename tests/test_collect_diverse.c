// Farthest-first choice against its definition, recomputed naively, and against the best choice
// there is, found by trying all.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "collect/collect.h"

static float *random_units(size_t n, size_t dim, uint64_t seed) {
    mla_rng rng;
    mla_rng_init(&rng, seed);
    float *v = MLA_NEW_ARRAY(float, n * dim);
    for (size_t i = 0; i < n; i++) {
        double square = 0;
        for (size_t d = 0; d < dim; d++) {
            v[i * dim + d] = (float)mla_rng_normal(&rng);
            square += (double)v[i * dim + d] * v[i * dim + d];
        }
        for (size_t d = 0; d < dim; d++) v[i * dim + d] /= (float)sqrt(square);
    }
    return v;
}

static double dist(const float *v, size_t dim, size_t a, size_t b) {
    double dot = 0;
    for (size_t d = 0; d < dim; d++) dot += (double)v[a * dim + d] * v[b * dim + d];
    return 1 - dot;
}

static double nearest(const float *v, size_t dim, size_t a, const size_t *chosen, size_t k) {
    double least = INFINITY;
    for (size_t i = 0; i < k; i++) least = fmin(least, dist(v, dim, a, chosen[i]));
    return least;
}

static bool among(size_t a, const size_t *chosen, size_t k) {
    for (size_t i = 0; i < k; i++) {
        if (chosen[i] == a) return true;
    }
    return false;
}

static void each_choice_is_the_farthest(void **unused) {
    (void)unused;
    const size_t n = 60, dim = 12, k = 10;
    for (uint64_t seed = 0; seed < 20; seed++) {
        float *v = random_units(n, dim, 100 + seed);
        size_t chosen[10];
        mla_diversity div;
        mla_diverse_choose(v, n, dim, k, MLA_IDEAS_DIVERSE, seed, chosen, &div);
        for (size_t c = 1; c < k; c++) {
            assert_false(among(chosen[c], chosen, c));
            double its = nearest(v, dim, chosen[c], chosen, c);
            for (size_t i = 0; i < n; i++) {
                if (!among(i, chosen, c)) assert_true(nearest(v, dim, i, chosen, c) <= its + 1e-12);
            }
        }
        double sum = 0, least = INFINITY, all = 0;
        for (size_t i = 0; i < k; i++) {
            for (size_t j = 0; j < i; j++) {
                sum += dist(v, dim, chosen[i], chosen[j]);
                least = fmin(least, dist(v, dim, chosen[i], chosen[j]));
            }
        }
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < i; j++) all += dist(v, dim, i, j);
        }
        assert_true(fabs(div.mean_distance - sum / 45) < 1e-9);
        assert_true(fabs(div.min_distance - least) < 1e-9);
        // The mean over random choices is an estimate of the mean over all pairs.
        assert_true(fabs(div.random_mean_distance - all / (n * (n - 1) / 2.0)) < 0.02);
        assert_true(div.mean_distance > div.random_mean_distance);
        free(v);
    }
}

// Gonzalez: the least distance is at least half of the best possible in a metric. The root of the
// cosine distance of unit vectors is one, so a quarter here.
static void is_near_the_best_choice(void **unused) {
    (void)unused;
    const size_t n = 12, dim = 3, k = 4;
    for (uint64_t seed = 0; seed < 30; seed++) {
        float *v = random_units(n, dim, seed);
        size_t chosen[4];
        mla_diversity div;
        mla_diverse_choose(v, n, dim, k, MLA_IDEAS_DIVERSE, seed, chosen, &div);
        double best = 0;
        for (unsigned set = 0; set < 1u << n; set++) {
            if (__builtin_popcount(set) != (int)k) continue;
            double least = INFINITY;
            for (size_t i = 0; i < n; i++) {
                for (size_t j = 0; j < i; j++) {
                    if ((set >> i & 1) && (set >> j & 1)) least = fmin(least, dist(v, dim, i, j));
                }
            }
            best = fmax(best, least);
        }
        assert_true(div.min_distance <= best + 1e-9);
        assert_true(div.min_distance >= best / 4 - 1e-9);
        free(v);
    }
}

static void is_a_function_of_its_seed(void **unused) {
    (void)unused;
    float *v = random_units(40, 8, 7);
    size_t a[5], b[5];
    mla_diversity x, y;
    size_t different = 0;
    for (uint64_t seed = 0; seed < 20; seed++) {
        mla_diverse_choose(v, 40, 8, 5, MLA_IDEAS_DIVERSE, seed, a, &x);
        mla_diverse_choose(v, 40, 8, 5, MLA_IDEAS_DIVERSE, seed, b, &y);
        assert_memory_equal(a, b, sizeof a);
        assert_memory_equal(&x, &y, sizeof x);
        mla_diverse_choose(v, 40, 8, 5, MLA_IDEAS_DIVERSE, seed + 1000, b, &y);
        different += a[0] != b[0];
    }
    assert_true(different > 10);
    free(v);
}

static void takes_the_edges(void **unused) {
    (void)unused;
    float *v = random_units(6, 4, 3);
    size_t chosen[6];
    mla_diversity div;
    mla_diverse_choose(v, 6, 4, 6, MLA_IDEAS_DIVERSE, 1, chosen, &div);
    for (size_t i = 0; i < 6; i++) assert_true(among(i, chosen, 6));
    assert_true(fabs(div.mean_distance - div.random_mean_distance) < 1e-9);
    mla_diverse_choose(v, 6, 4, 1, MLA_IDEAS_DIVERSE, 1, chosen, &div);
    assert_true(div.mean_distance == 0 && div.min_distance == 0);
    // All alike: no distance to choose by, and still every choice is another one.
    for (size_t i = 1; i < 6; i++) memcpy(v + 4 * i, v, 4 * sizeof *v);
    mla_diverse_choose(v, 6, 4, 4, MLA_IDEAS_DIVERSE, 1, chosen, &div);
    for (size_t i = 1; i < 4; i++) assert_false(among(chosen[i], chosen, i));
    assert_true(fabs(div.min_distance) < 1e-6);
    free(v);
}

// --- the other choices --------------------------------------------------------------------------

static void the_other_choices_are_what_they_say(void **unused) {
    (void)unused;
    const size_t n = 60, dim = 12, k = 10;
    float *v = random_units(n, dim, 42);
    size_t far[10], other[10];
    mla_diversity most, div;
    for (uint64_t seed = 0; seed < 20; seed++) {
        mla_diverse_choose(v, n, dim, k, MLA_IDEAS_DIVERSE, seed, far, &most);
        mla_diverse_choose(v, n, dim, k, MLA_IDEAS_FIRST, seed, other, &div);
        for (size_t i = 0; i < k; i++) assert_int_equal(other[i], i);
        mla_diverse_choose(v, n, dim, k, MLA_IDEAS_RANDOM, seed, other, &div);
        for (size_t i = 1; i < k; i++) assert_false(among(other[i], other, i));
        assert_true(div.min_distance < most.min_distance);
        mla_diverse_choose(v, n, dim, k, MLA_IDEAS_NARROW, seed, other, &div);
        for (size_t i = 1; i < k; i++) assert_false(among(other[i], other, i));
        assert_true(div.mean_distance < div.random_mean_distance);
        // None that was left is nearer to the first than one that was taken.
        for (size_t i = 0; i < n; i++) {
            if (among(i, other, k)) continue;
            for (size_t c = 1; c < k; c++) {
                assert_true(dist(v, dim, other[0], i) >= dist(v, dim, other[0], other[c]) - 1e-12);
            }
        }
    }
    free(v);
}

// --- the map ------------------------------------------------------------------------------------

// Points on a plane that lies anywhere in the space come back as they are, but for turns.
static void the_map_finds_the_plane(void **unused) {
    (void)unused;
    enum { N = 40, DIM = 16 };
    mla_rng rng;
    mla_rng_init(&rng, 9);
    float *axes = random_units(2, DIM, 5), v[N * DIM], map[2 * N];
    double along = 0;
    for (size_t d = 0; d < DIM; d++) along += (double)axes[d] * axes[DIM + d];
    for (size_t d = 0; d < DIM; d++) axes[DIM + d] -= (float)(along * axes[d]);
    double p[2 * N];
    for (size_t i = 0; i < N; i++) {
        p[2 * i] = 3 * mla_rng_normal(&rng);
        p[2 * i + 1] = mla_rng_normal(&rng);
        for (size_t d = 0; d < DIM; d++) {
            v[i * DIM + d] = (float)(p[2 * i] * axes[d] + p[2 * i + 1] * axes[DIM + d] + 0.7);
        }
    }
    double shown = mla_diverse_map(v, N, DIM, map), largest[2] = {0, 0};
    assert_true(shown > 0.9999);
    for (size_t i = 0; i < N; i++) {
        for (size_t j = 0; j < i; j++) {
            const float *a = map + 2 * i, *b = map + 2 * j;
            double there = 0, here = hypot(a[0] - b[0], a[1] - b[1]);
            for (size_t d = 0; d < DIM; d++) {
                there += pow((double)v[i * DIM + d] - v[j * DIM + d], 2);
            }
            assert_true(fabs(sqrt(there) - here) < 1e-3);
        }
        for (int c = 0; c < 2; c++) {
            if (fabs(map[2 * i + c]) > fabs(largest[c])) largest[c] = map[2 * i + c];
        }
    }
    assert_true(largest[0] > 0 && largest[1] > 0 && largest[0] > largest[1]);
    // Texts that are all alike have no plane, and no number that is none.
    for (size_t i = 0; i < N * DIM; i++) v[i] = 0.25f;
    assert_true(mla_diverse_map(v, N, DIM, map) == 0);
    for (size_t i = 0; i < 2 * N; i++) assert_true(map[i] == 0);
    free(axes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_choice_is_the_farthest),
        cmocka_unit_test(is_near_the_best_choice),
        cmocka_unit_test(is_a_function_of_its_seed),
        cmocka_unit_test(takes_the_edges),
        cmocka_unit_test(the_other_choices_are_what_they_say),
        cmocka_unit_test(the_map_finds_the_plane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
