// What the benchmarks share: the format of a figure's line, the machine's limit of arithmetic and
// the default model; the limit of memory is in bandwidth.h, peers are in peer.h. A figure is name,
// value, unit, share of the limit, ratio to the peer, separated by tabs; "-" where there is none.
#ifndef MLA_BENCH_BENCH_H
#define MLA_BENCH_BENCH_H

#include <oneapi/dnnl/dnnl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/proc.h"
#include "model/model.h"
#include "peer.h"

// As the program itself does: threads that wait soon sleep, so that a neighbour on the same cores
// does not turn every barrier into a scheduler's time slice.
static inline void bench_start(char **argv) {
    if (getenv("GOMP_SPINCOUNT") || getenv("OMP_WAIT_POLICY")) return;
    setenv("GOMP_SPINCOUNT", "20000", 1);
    execv("/proc/self/exe", argv);
}

// `limit` and `peer` are in the unit of `value`, 0 where there is none; ratios above 1 are good.
static inline void bench_print(const char *name, double value, const char *unit, double limit,
                               double peer, bool more_is_better) {
    printf("%s\t%.6g\t%s\t", name, value, unit);
    if (limit > 0)
        printf("%.2f\t", more_is_better ? value / limit : limit / value);
    else
        printf("-\t");
    if (peer > 0)
        printf("%.2f\n", more_is_better ? value / peer : peer / value);
    else
        printf("-\n");
    fflush(stdout);
}

#define BENCH_OK(call)                                                                             \
    do {                                                                                           \
        if ((call) != dnnl_success) mla_panic(__FILE__, __LINE__, "oneDNN failed: %s", #call);     \
    } while (0)

static inline dnnl_memory_t bench_memory(dnnl_engine_t engine, const dnnl_memory_desc_t *desc) {
    dnnl_memory_t memory;
    void *data;
    BENCH_OK(dnnl_memory_create(&memory, desc, engine, DNNL_MEMORY_ALLOCATE));
    BENCH_OK(dnnl_memory_get_data_handle(memory, &data));
    memset(data, 0, dnnl_memory_desc_get_size(desc));
    return memory;
}

// GFLOP/s of one large product with packed weights (512 x 896 x 4864), the best of several.
static inline double bench_gemm_limit(dnnl_data_type_t type) {
    enum { M = 512, K = 896, N = 4864 };
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    dnnl_memory_desc_t src, weights, dst;
    dnnl_matmul_desc_t matmul;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t primitive;
    BENCH_OK(dnnl_engine_create(&engine, dnnl_cpu, 0));
    BENCH_OK(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags));
    BENCH_OK(dnnl_memory_desc_init_by_tag(&src, 2, (dnnl_dims_t){M, K}, type, dnnl_ab));
    BENCH_OK(dnnl_memory_desc_init_by_tag(&weights, 2, (dnnl_dims_t){K, N}, type,
                                          dnnl_format_tag_any));
    BENCH_OK(dnnl_memory_desc_init_by_tag(&dst, 2, (dnnl_dims_t){M, N}, dnnl_f32, dnnl_ab));
    BENCH_OK(dnnl_matmul_desc_init(&matmul, &src, &weights, NULL, &dst));
    BENCH_OK(dnnl_primitive_desc_create(&desc, &matmul, NULL, engine, NULL));
    BENCH_OK(dnnl_primitive_create(&primitive, desc));
    weights = *dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0);
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, bench_memory(engine, &src)},
                                    {DNNL_ARG_WEIGHTS, bench_memory(engine, &weights)},
                                    {DNNL_ARG_DST, bench_memory(engine, &dst)}};
    double best = 1e9;
    for (int i = 0; i < 40; i++) {
        double began = mla_clock();
        for (int k = 0; k < 3; k++) BENCH_OK(dnnl_primitive_execute(primitive, stream, 3, args));
        BENCH_OK(dnnl_stream_wait(stream));
        double took = (mla_clock() - began) / 3;
        if (took < best) best = took;
    }
    for (size_t i = 0; i < MLA_COUNT(args); i++) dnnl_memory_destroy(args[i].memory);
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(desc);
    dnnl_stream_destroy(stream);
    dnnl_engine_destroy(engine);
    return 2.0 * M * K * N / best * 1e-9;
}

static inline char *bench_model_file(const char *name) {
    char *file = mla_format("models/%s.gguf", name);
    char *home = mla_home(), *path = mla_fs_join(home, file);
    free(home);
    free(file);
    return path;
}

static inline char *bench_model_path(void) {
    return bench_model_file("smollm2-135m-instruct");
}

// The model in the file `path`, or, where that is absent, random weights of its shape: as fast.
static inline mla_model *bench_load(const char *path, const mla_model_config *shape,
                                    mla_compute compute, bool trainable) {
    const mla_model_options options = {.compute = compute, .trainable = trainable};
    mla_err err;
    mla_model *model = mla_fs_exists(path) ? mla_model_load(path, &options, &err)
                                           : mla_model_random(shape, &options, 1);
    if (!model) {
        fprintf(stderr, "bench: %s\n", err.text);
        exit(1);
    }
    return model;
}

static inline mla_model *bench_model(mla_compute compute, bool trainable) {
    const mla_model_config shape = {.arch = MLA_ARCH_LLAMA, .vocab = 49152, .dim = 576,
                                    .layers = 30, .heads = 9, .kv_heads = 3, .head_dim = 64,
                                    .hidden = 1536, .max_context = 8192, .rope_theta = 100000,
                                    .norm_eps = 1e-5f, .tied = true};
    char *path = bench_model_path();
    mla_model *model = bench_load(path, &shape, compute, trainable);
    free(path);
    return model;
}

// The figure of a peer on the default model, as bench_peer_on.
static inline double bench_peer(const char *script, const char *what) {
    char *model = bench_model_path();
    double value = bench_peer_on(script, what, model);
    free(model);
    return value;
}

#endif
