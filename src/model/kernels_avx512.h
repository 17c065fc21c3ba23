// What the tables for AVX-512 have in common of the macros that kernels_body.h asks for. DOT4 is
// VNNI's; where that is missing, another is defined before this is included.
#ifndef MLA_MODEL_KERNELS_AVX512_H
#define MLA_MODEL_KERNELS_AVX512_H

#include <immintrin.h>

#define VW 16
#define MADD(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define VMAX(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define VMIN(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define VSQRT(a) ((vf)_mm512_sqrt_ps((__m512)(a)))
#define MAX_OF(a) _mm512_reduce_max_ps((__m512)(a))
#define RECIPROCAL_14(a) ((vf)_mm512_rcp14_ps((__m512)(a)))
#define VROUND(a) ((vf)_mm512_roundscale_ps((__m512)(a), 8))
#define VSCALEF(a, b) ((vf)_mm512_scalef_ps((__m512)(a), (__m512)(b)))
#ifndef DOT4
#define DOT4(acc, a, b)                                                                            \
    ((vi)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(a), (__m512i)(b)))
#define S8_BIAS 128
#endif
#define ROWS_MAX 6
#define NV_WIDE 4
#define NV_NARROW 1

#endif
