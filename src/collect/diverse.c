// Which ideas of a pool to follow: k that are far apart, by farthest-first choice. It leaves out
// where the vectors come from: collect.c embeds the ideas' texts.
#include <math.h>
#include <stdlib.h>

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

static double random_mean_distance(const float *vectors, size_t n, size_t dim, size_t k,
                                   mla_rng *rng) {
    size_t *order = MLA_NEW_ARRAY(size_t, n);
    for (size_t i = 0; i < n; i++) order[i] = i;
    double sum = 0;
    for (int i = 0; i < RANDOM_CHOICES; i++) {
        mla_rng_shuffle(rng, order, n);
        sum += mean_distance(vectors, dim, order, k);
    }
    free(order);
    return sum / RANDOM_CHOICES;
}

// The first of those that are farthest from what is chosen.
static size_t farthest(const double *nearest, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (nearest[i] > nearest[best]) best = i;
    }
    return best;
}

void mla_diverse_choose(const float *vectors, size_t n, size_t dim, size_t k, uint64_t seed,
                        size_t *chosen, mla_diversity *out) {
    MLA_ASSERT(k <= n);
    mla_rng rng;
    mla_rng_init(&rng, seed);
    double *nearest = MLA_NEW_ARRAY(double, n);   // [n]: to the nearest chosen one; -1: is chosen
    for (size_t i = 0; i < n; i++) nearest[i] = INFINITY;
    for (size_t c = 0; c < k; c++) {
        size_t at = c ? farthest(nearest, n) : (size_t)mla_rng_below(&rng, n);
        chosen[c] = at;
        nearest[at] = -1;
        for (size_t i = 0; i < n; i++) {
            if (nearest[i] >= 0) nearest[i] = fmin(nearest[i], distance(vectors, dim, at, i));
        }
    }
    free(nearest);
    *out = (mla_diversity){
        .mean_distance = mean_distance(vectors, dim, chosen, k),
        .min_distance = min_distance(vectors, dim, chosen, k),
        .random_mean_distance = random_mean_distance(vectors, n, dim, k, &rng),
    };
}
