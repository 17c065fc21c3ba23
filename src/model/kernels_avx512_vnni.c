// The hot loops for AVX-512 with dot products of bytes, but not of bf16.
#include "model/kernels.h"

#if defined(__x86_64__)
#include "model/kernels_avx512.h"

#define KERNEL __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,avx2,fma")))
#define TABLE mla__kernels_avx512_vnni
#define TABLE_NAME "avx512_vnni"
#include "model/kernels_body.h"
#endif
