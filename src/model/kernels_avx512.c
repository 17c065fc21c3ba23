// The hot loops for AVX-512 without its bf16 instructions: a pair of bf16 is multiplied as two
// floats.
#include "model/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#define VW 16
#define MADD(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define VMAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define VMIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define VSQRT(a) ((vf)_mm512_sqrt_ps((__m512)(a)))
#define PAIR_MADD(acc, a, b)                                                                       \
    MADD((vf)((a) << 16), (vf)((b) << 16), MADD((vf)((a)&0xFFFF0000u), (vf)((b)&0xFFFF0000u), acc))
#define ROWS_MAX 6
#define NV_WIDE 4
#define NV_NARROW 1
#define TABLE mla__kernels_avx512
#define TABLE_NAME "avx512"
#include "model/kernels_body.h"
#endif
