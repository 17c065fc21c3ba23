// The hot loops for AVX-512 without its bf16 and VNNI instructions: a pair of bf16 is multiplied as
// two floats.
#include "model/kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
#define VW 16
#define MADD(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define VMAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define VMIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define VSQRT(a) ((vf)_mm512_sqrt_ps((__m512)(a)))
#define MAX_OF(a) _mm512_reduce_max_ps((__m512)(a))
#define RECIPROCAL_14(a) ((vf)_mm512_rcp14_ps((__m512)(a)))
#define VROUND(a) ((vf)_mm512_roundscale_ps((__m512)(a), 8))
#define VSCALEF(a, b) ((vf)_mm512_scalef_ps((__m512)(a), (__m512)(b)))
// Products of magnitudes with weights that take the other sign: no pair of them passes 2^15.
#define DOT4(acc, a, b)                                                                            \
    ((vi)_mm512_add_epi32(                                                                         \
        (__m512i)(acc),                                                                            \
        _mm512_madd_epi16(                                                                         \
            _mm512_maddubs_epi16(                                                                  \
                _mm512_abs_epi8((__m512i)(a)),                                                     \
                _mm512_mask_sub_epi8((__m512i)(b), _mm512_movepi8_mask((__m512i)(a)),              \
                                     _mm512_setzero_si512(), (__m512i)(b))),                       \
            _mm512_set1_epi16(1))))
#define S8_BIAS 0
#define ROWS_MAX 6
#define NV_WIDE 4
#define NV_NARROW 1
#define TABLE mla__kernels_avx512
#define TABLE_NAME "avx512"
#include "model/kernels_body.h"
#endif
