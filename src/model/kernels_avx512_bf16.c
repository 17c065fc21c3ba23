// The hot loops for AVX-512 with dot products of bf16 and of bytes: every processor that has the
// former has the latter.
#include "model/kernels.h"

#if defined(__x86_64__)
#include "model/kernels_avx512.h"

#define KERNEL                                                                                     \
    __attribute__((                                                                                \
        target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx512bf16,avx2,fma")))
#define PAIR_MADD(acc, a, b) ((vf)_mm512_dpbf16_ps((__m512)(acc), (__m512bh)(a), (__m512bh)(b)))
#define TABLE mla__kernels_avx512_bf16
#define TABLE_NAME "avx512_bf16"
#include "model/kernels_body.h"
#endif
