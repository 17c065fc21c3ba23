// A pool of ideas on a plane, for the report: the two principal components of their vectors, by
// orthogonal iteration.
#include <math.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/rng.h"
#include "collect/collect.h"

#define ROUNDS 200

// y = X' X x of the centred vectors: X [n, dim], x, y [dim].
static void multiply(const double *x_rows, size_t n, size_t dim, const double *x, double *y) {
    for (size_t d = 0; d < dim; d++) y[d] = 0;
    for (size_t i = 0; i < n; i++) {
        const double *row = x_rows + i * dim;
        double dot = 0;
        for (size_t d = 0; d < dim; d++) dot += row[d] * x[d];
        for (size_t d = 0; d < dim; d++) y[d] += dot * row[d];
    }
}

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

// Length 1, or all zero where there is next to nothing left.
static double normalise(double *x, size_t n) {
    double length = sqrt(dot(x, x, n));
    for (size_t i = 0; i < n; i++) x[i] = length > 1e-9 ? x[i] / length : 0;
    return length;
}

static double *centred(const float *vectors, size_t n, size_t dim) {
    double *rows = MLA_NEW_ARRAY(double, n * dim);
    for (size_t d = 0; d < dim; d++) {
        double mean = 0;
        for (size_t i = 0; i < n; i++) mean += vectors[i * dim + d] / (double)n;
        for (size_t i = 0; i < n; i++) rows[i * dim + d] = vectors[i * dim + d] - mean;
    }
    return rows;
}

static void start(double *axes, size_t dim) {
    mla_rng rng;
    mla_rng_init(&rng, 1);
    for (size_t i = 0; i < 2 * dim; i++) axes[i] = mla_rng_normal(&rng);
}

// The coordinates along one axis; returns their sum of squares.
static double project(const double *rows, size_t n, size_t dim, const double *axis, float *out) {
    double sum = 0, largest = 0;
    for (size_t i = 0; i < n; i++) {
        double at = dot(rows + i * dim, axis, dim);
        out[2 * i] = (float)at;
        sum += at * at;
        if (fabs(at) > fabs(largest) + 1e-9) largest = at;
    }
    for (size_t i = 0; i < n && largest < 0; i++) out[2 * i] = -out[2 * i];
    return sum;
}

double mla_diverse_map(const float *vectors, size_t n, size_t dim, float *map) {
    double *rows = centred(vectors, n, dim), *axes = MLA_NEW_ARRAY(double, 4 * dim);
    double *a = axes, *b = axes + dim, *next = axes + 2 * dim;
    start(axes, dim);
    for (int round = 0; round < ROUNDS; round++) {
        multiply(rows, n, dim, a, next);
        multiply(rows, n, dim, b, next + dim);
        normalise(next, dim);
        double along = dot(next, next + dim, dim);
        for (size_t d = 0; d < dim; d++) next[dim + d] -= along * next[d];
        normalise(next + dim, dim);
        for (size_t d = 0; d < 2 * dim; d++) axes[d] = next[d];
    }
    double shown = project(rows, n, dim, a, map) + project(rows, n, dim, b, map + 1);
    double all = dot(rows, rows, n * dim);
    free(rows);
    free(axes);
    return all > 0 ? shown / all : 0;
}
