// The hot loops for AVX2 with fused multiply-add; fp32 only.
#include "model/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL __attribute__((target("avx2,fma")))
#define VW 8
#define MADD(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define VMAX(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define VMIN(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define VSQRT(a) ((vf)_mm256_sqrt_ps((__m256)(a)))
#define ROWS_MAX 6
#define NV_WIDE 2
#define NV_NARROW 2
#define TABLE mla__kernels_avx2
#define TABLE_NAME "avx2"
#include "model/kernels_body.h"
#endif
