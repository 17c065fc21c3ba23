// The hot loops for AVX-512 without its bf16 and VNNI instructions: a pair of bf16 is multiplied as
// two floats.
#include "model/kernels.h"

#if defined(__x86_64__)
#define KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")))
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
#include "model/kernels_avx512.h"

#define TABLE mla__kernels_avx512
#define TABLE_NAME "avx512"
#include "model/kernels_body.h"
#endif
