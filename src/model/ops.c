// The elementwise operators over the rows of a batch, forward beside backward, each beside a naive
// version in double precision that the tests hold it to. Products are in gemm.c, attention in
// attention.c.
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/internal.h"

void mla__ops_to_compute(const mla__kernels *k, mla_compute compute, const float *x, void *y,
                         size_t n, size_t cols) {
#pragma omp parallel for schedule(static) if (n * cols > MLA__PARALLEL)
    for (size_t i = 0; i < n; i++) {
        if (mla__is_half(compute))
            k->to_bf16(x + i * cols, (mla__bf16 *)y + i * cols, cols);
        else
            memcpy((float *)y + i * cols, x + i * cols, cols * sizeof *x);
    }
}

void mla__ops_add(const mla__kernels *k, float *y, const float *x, size_t n) {
    const size_t part = 16384;
#pragma omp parallel for schedule(static) if (n > MLA__PARALLEL)
    for (size_t i = 0; i < n; i += part) k->add(y + i, x + i, n - i < part ? n - i : part);
}

// ---- RMSNorm ---------------------------------------------------------------------------------

void mla__ops_norm(const mla__kernels *k, mla_compute compute, bool as_f32, const float *x,
                   const float *w, float eps, void *y, size_t n, size_t cols) {
    const bool half = !as_f32 && mla__is_half(compute);
    const size_t element = half ? sizeof(mla__bf16) : sizeof(float);
#pragma omp parallel for schedule(static) if (n * cols > MLA__PARALLEL)
    for (size_t i = 0; i < n; i++)
        k->norm(x + i * cols, w, eps, cols, (char *)y + i * cols * element, half);
}

void mla__ops_norm_back(const mla__kernels *k, const float *x, const float *w, float eps,
                        const float *dy, float *dx, float *dw, size_t n, size_t cols) {
    // One sum of dw a thread, added up in the order of the threads: the same bits every time.
    int threads = omp_get_max_threads();
    float *parts = MLA_NEW_ARRAY(float, (size_t)threads *cols);
#pragma omp parallel num_threads(threads)
    {
        float *part = parts + (size_t)omp_get_thread_num() * cols;
#pragma omp for schedule(static)
        for (size_t i = 0; i < n; i++)
            k->norm_back(x + i * cols, w, eps, dy + i * cols, cols, dx + i * cols, part);
    }
    for (int t = 0; dw && t < threads; t++) k->add(dw, parts + (size_t)t * cols, cols);
    free(parts);
}

void mla__naive_norm(const float *x, const float *w, double eps, size_t n, double *y) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    for (size_t i = 0; i < n; i++) y[i] = (double)x[i] / sqrt(sum / (double)n + eps) * (double)w[i];
}

// ---- SwiGLU ----------------------------------------------------------------------------------

void mla__ops_swiglu(const mla__kernels *k, mla_compute compute, const void *gate_up, void *y,
                     size_t n, size_t cols) {
    const size_t row = cols * mla__element(compute);
#pragma omp parallel for schedule(static) if (n * cols > MLA__PARALLEL)
    for (size_t i = 0; i < n; i++) {
        const char *gate = (const char *)gate_up + i * 2 * row;
        k->swiglu(gate, gate + row, cols, (char *)y + i * row, mla__is_half(compute));
    }
}

void mla__ops_swiglu_back(const mla__kernels *k, mla_compute compute, void *gate_up,
                          const float *dy, size_t n, size_t cols) {
    const size_t row = cols * mla__element(compute);
#pragma omp parallel for schedule(static) if (n * cols > MLA__PARALLEL)
    for (size_t i = 0; i < n; i++) {
        char *gate = (char *)gate_up + i * 2 * row;
        k->swiglu_back(gate, gate + row, dy + i * cols, cols, mla__is_half(compute));
    }
}

void mla__naive_swiglu(const float *gate, const float *up, size_t n, double *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];
}

// ---- RoPE ------------------------------------------------------------------------------------

void mla__naive_rope(const float *x, double theta, int position, int dim, double *y) {
    for (int i = 0; i < dim / 2; i++) {
        double angle = position * pow(theta, -2.0 * i / dim);
        y[i] = (double)x[i] * cos(angle) - (double)x[i + dim / 2] * sin(angle);
        y[i + dim / 2] = (double)x[i + dim / 2] * cos(angle) + (double)x[i] * sin(angle);
    }
}

// ---- attention's oracle ----------------------------------------------------------------------

void mla__naive_attention(const float *q, const float *k, const float *v, int n, int dim,
                          double *y) {
    double *p = MLA_NEW_ARRAY(double, n > 0 ? (size_t)n : 1);
    double top = -INFINITY, sum = 0;
    for (int j = 0; j < n; j++) {
        for (int d = 0; d < dim; d++) p[j] += (double)q[d] * (double)k[j * dim + d];
        p[j] /= sqrt(dim);
        if (p[j] > top) top = p[j];
    }
    for (int j = 0; j < n; j++) sum += p[j] = exp(p[j] - top);
    for (int d = 0; d < dim; d++) {
        y[d] = 0;
        for (int j = 0; j < n; j++) y[d] += p[j] / sum * (double)v[j * dim + d];
    }
    free(p);
}
