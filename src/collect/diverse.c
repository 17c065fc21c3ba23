// Which ideas of a pool to follow: k that are far apart, by farthest-first choice, or to compare
// with k by chance, the first ones or such as are near each other. It leaves out where the vectors
// come from: book.c has the ideas' texts embedded.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/rng.h"
#include "collect/collect.h"

#define RANDOM_CHOICES 200     // random choices that the chosen ones are compared with

// Of unit vectors: 1 - cosine. Rounding must not make a vector nearer to another than to itself.
static double distance(const float *vectors, size_t dim, size_t a, size_t b) {
    const float *x = vectors + a * dim, *y = vectors + b * dim;   // [dim]
    double dot = 0;
    for (size_t i = 0; i < dim; i++) dot += (double)x[i] * y[i];
    return dot < 1 ? 1 - dot : 0;
}

static double mean_distance(const float *vectors, size_t dim, const size_t *chosen, size_t k) {
    double sum = 0;
    for (size_t i = 0; i < k; i++) {
        for (size_t j = i + 1; j < k; j++) sum += distance(vectors, dim, chosen[i], chosen[j]);
    }
    return k > 1 ? sum / ((double)k * (double)(k - 1) / 2) : 0;
}

static double min_distance(const float *vectors, size_t dim, const size_t *chosen, size_t k) {
    double least = k > 1 ? INFINITY : 0;
    for (size_t i = 0; i < k; i++) {
        for (size_t j = i + 1; j < k; j++) {
            least = fmin(least, distance(vectors, dim, chosen[i], chosen[j]));
        }
    }
    return least;
}

// The same two distances of random choices, on average.
static void measure_random(const float *vectors, size_t n, size_t dim, size_t k, mla_rng *rng,
                           mla_diversity *out) {
    size_t *order = MLA_NEW_ARRAY(size_t, n);
    for (size_t i = 0; i < n; i++) order[i] = i;
    out->random_mean_distance = out->random_min_distance = 0;
    for (int i = 0; i < RANDOM_CHOICES; i++) {
        mla_rng_shuffle(rng, order, n);
        out->random_mean_distance += mean_distance(vectors, dim, order, k) / RANDOM_CHOICES;
        out->random_min_distance += min_distance(vectors, dim, order, k) / RANDOM_CHOICES;
    }
    free(order);
}

// The first of those that are farthest from what is chosen.
static size_t farthest(const double *nearest, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (nearest[i] > nearest[best]) best = i;
    }
    return best;
}

// The first of those that are nearest; away [n], -1: is taken.
static size_t closest(const double *away, size_t n) {
    size_t best = n;
    for (size_t i = 0; i < n; i++) {
        if (away[i] >= 0 && (best == n || away[i] < away[best])) best = i;
    }
    return best;
}

static void choose_far(const float *vectors, size_t n, size_t dim, size_t k, mla_rng *rng,
                       size_t *chosen) {
    double *nearest = MLA_NEW_ARRAY(double, n);   // [n]: to the nearest chosen one; -1: is chosen
    for (size_t i = 0; i < n; i++) nearest[i] = INFINITY;
    for (size_t c = 0; c < k; c++) {
        size_t at = c ? farthest(nearest, n) : (size_t)mla_rng_below(rng, n);
        chosen[c] = at;
        nearest[at] = -1;
        for (size_t i = 0; i < n; i++) {
            if (nearest[i] >= 0) nearest[i] = fmin(nearest[i], distance(vectors, dim, at, i));
        }
    }
    free(nearest);
}

static void choose_near(const float *vectors, size_t n, size_t dim, size_t k, mla_rng *rng,
                        size_t *chosen) {
    double *away = MLA_NEW_ARRAY(double, n);
    size_t start = (size_t)mla_rng_below(rng, n);
    for (size_t i = 0; i < n; i++) away[i] = distance(vectors, dim, start, i);
    for (size_t c = 0; c < k; c++) {
        chosen[c] = c ? closest(away, n) : start;
        away[chosen[c]] = -1;
    }
    free(away);
}

static void choose_random(size_t n, size_t k, mla_rng *rng, size_t *chosen) {
    size_t *order = MLA_NEW_ARRAY(size_t, n);
    for (size_t i = 0; i < n; i++) order[i] = i;
    mla_rng_shuffle(rng, order, n);
    memcpy(chosen, order, k * sizeof *chosen);
    free(order);
}

void mla_diverse_choose(const float *vectors, size_t n, size_t dim, size_t k,
                        mla_idea_choice choice, uint64_t seed, size_t *chosen,
                        mla_diversity *out) {
    MLA_ASSERT(k <= n && k > 0);
    mla_rng rng;
    mla_rng_init(&rng, seed);
    switch (choice) {
    case MLA_IDEAS_DIVERSE: choose_far(vectors, n, dim, k, &rng, chosen); break;
    case MLA_IDEAS_RANDOM: choose_random(n, k, &rng, chosen); break;
    case MLA_IDEAS_FIRST:
        for (size_t c = 0; c < k; c++) chosen[c] = c;
        break;
    case MLA_IDEAS_NARROW: choose_near(vectors, n, dim, k, &rng, chosen); break;
    }
    out->mean_distance = mean_distance(vectors, dim, chosen, k);
    out->min_distance = min_distance(vectors, dim, chosen, k);
    measure_random(vectors, n, dim, k, &rng, out);
}

// --- names --------------------------------------------------------------------------------------

static const char *const choice_names[] = {
#define X(id, name, meaning) name,
    MLA_IDEA_CHOICES(X)
#undef X
};

const char *mla_idea_choice_name(mla_idea_choice choice) {
    MLA_ASSERT((size_t)choice < MLA_COUNT(choice_names));
    return choice_names[choice];
}

int mla_idea_choice_parse(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(choice_names); i++) {
        if (!strcmp(name, choice_names[i])) return (int)i;
    }
    return -1;
}
