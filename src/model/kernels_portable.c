// The hot loops in plain C with the compiler's vectors of four, for any processor. Also the choice
// between the instruction sets.
#include <oneapi/dnnl/dnnl.h>

#include "model/kernels.h"
#include "model/model.h"

#define KERNEL
#define VW 4
#define MADD(a, b, c) ((a) * (b) + (c))
#define VMAX(a, b) max_each(a, b)
#define VMIN(a, b) (-max_each(-(a), -(b)))
#define VSQRT(a) sqrt_each(a)
#define ROWS_MAX 2
#define NV_WIDE 4
#define NV_NARROW 4
#define TABLE mla__kernels_portable
#define TABLE_NAME "portable"

#include <math.h>
typedef float four __attribute__((vector_size(16)));

static inline four max_each(four a, four b) {
    for (int i = 0; i < 4; i++) b[i] = a[i] > b[i] ? a[i] : b[i];
    return b;
}

static inline four sqrt_each(four a) {
    for (int i = 0; i < 4; i++) a[i] = sqrtf(a[i]);
    return a;
}

#include "model/kernels_body.h"

static bool may_use(dnnl_cpu_isa_t isa) {
    return ((unsigned)dnnl_get_effective_cpu_isa() & (unsigned)isa) == (unsigned)isa;
}

const mla__kernels *mla__kernels_best(void) {
#if defined(__x86_64__)
    if (may_use(dnnl_cpu_isa_avx512_core_amx) && mla__amx_allowed()) return &mla__kernels_amx;
    if (may_use(dnnl_cpu_isa_avx512_core_bf16)) return &mla__kernels_avx512_bf16;
    if (may_use(dnnl_cpu_isa_avx512_core_vnni)) return &mla__kernels_avx512_vnni;
    if (may_use(dnnl_cpu_isa_avx512_core)) return &mla__kernels_avx512;
    if (may_use(dnnl_cpu_isa_avx2)) return &mla__kernels_avx2;
#endif
    return &mla__kernels_portable;
}

mla_compute mla_compute_best(void) {
#if defined(__x86_64__)
    if (may_use(dnnl_cpu_isa_avx512_core)) return MLA_COMPUTE_BF16;
#endif
    return MLA_COMPUTE_F32;
}
