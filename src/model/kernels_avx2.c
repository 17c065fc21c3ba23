// The hot loops for AVX2 with fused multiply-add; bf16 only as floats.
#include "model/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL __attribute__((target("avx2,fma")))
#define VW 8
#define MADD(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define VMAX(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define VMIN(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define VSQRT(a) ((vf)_mm256_sqrt_ps((__m256)(a)))
// Products of magnitudes with weights that take the other sign: no pair of them passes 2^15.
#define DOT4(acc, a, b)                                                                            \
    ((vi)_mm256_add_epi32(                                                                         \
        (__m256i)(acc),                                                                            \
        _mm256_madd_epi16(_mm256_maddubs_epi16(_mm256_abs_epi8((__m256i)(a)),                      \
                                               _mm256_sign_epi8((__m256i)(b), (__m256i)(a))),      \
                          _mm256_set1_epi16(1))))
#define S8_BIAS 0
#define ROWS_MAX 6
#define NV_WIDE 2
#define NV_NARROW 2
#define TABLE mla__kernels_avx2
#define TABLE_NAME "avx2"
#include "model/kernels_body.h"
#endif
