// How fast the machine reads memory: the limit of decoding, which reads every weight for each
// token. A working set is read again and again, as a model's weights are, for a last-level cache
// may hold a part of it. Several ways to read are tried and the fastest counts: which one that is
// depends on the machine and the hour.
#ifndef MLA_BENCH_BANDWIDTH_H
#define MLA_BENCH_BANDWIDTH_H

#include <omp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "base/log.h"
#include "base/mem.h"

enum { BENCH_LINE = 64, BENCH_BLOCK = 4 * BENCH_LINE, BENCH_PASSES = 3 };

typedef uint64_t bench_wide __attribute__((vector_size(BENCH_LINE)));

// Zeros in huge pages, as weights lie in, first touched by the thread that will read them.
static inline char *bench_pages(size_t bytes) {
    void *data = NULL;
    MLA_ASSERT(posix_memalign(&data, (size_t)2 << 20, bytes) == 0);
    madvise(data, bytes, MADV_HUGEPAGE);
    char *pages = data;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < bytes; i += 4096) memset(pages + i, 0, 4096);
    return pages;
}

// All bits of `streams` pieces that lie one after the other and are read side by side, each line
// fetched `ahead` bytes before it is read.
__attribute__((target_clones("avx512f", "avx2", "default"))) static uint64_t
bench_read(const char *from, size_t piece, int streams, size_t ahead) {
    bench_wide a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i < piece; i += BENCH_BLOCK)
        for (int s = 0; s < streams; s++) {
            const char *block = from + (size_t)s * piece + i;
            for (int k = 0; ahead && k < BENCH_BLOCK; k += BENCH_LINE)
                __builtin_prefetch(block + ahead + k, 0, 3);
            const bench_wide *at = (const bench_wide *)(const void *)block;
            a |= at[0];
            b |= at[1];
            c |= at[2];
            d |= at[3];
        }
    a |= b | c | d;
    uint64_t bits = 0;
    for (size_t i = 0; i < sizeof a / sizeof a[0]; i++) bits |= a[i];
    return bits;
}

// Seconds in which all threads read everything once, the best of a few.
static inline double bench_read_all(const char *data, size_t bytes, int streams, size_t ahead) {
    double best = 1e9;
    uint64_t bits = 0;
    for (int pass = 0; pass < BENCH_PASSES; pass++) {
        double began = mla_clock();
#pragma omp parallel reduction(| : bits)
        {
            size_t unit = (size_t)streams * BENCH_BLOCK, threads = (size_t)omp_get_num_threads();
            size_t units = bytes / unit, thread = (size_t)omp_get_thread_num();
            size_t first = units * thread / threads, after = units * (thread + 1) / threads;
            bits |= bench_read(data + first * unit, (after - first) * BENCH_BLOCK, streams, ahead);
        }
        double took = mla_clock() - began;
        if (took < best) best = took;
    }
    MLA_ASSERT(bits == 0);
    return best;
}

// GB/s of reading a working set of so many bytes again and again.
static inline double bench_bandwidth_limit(double working_set) {
    static const size_t aheads[] = {0, 512, 1024};
    const size_t bytes = (size_t)working_set >> 21 << 21;
    char *data = bench_pages(bytes);
    double best = 1e9;
    for (int streams = 1; streams <= 8; streams *= 2)
        for (size_t i = 0; i < MLA_COUNT(aheads); i++) {
            double took = bench_read_all(data, bytes, streams, aheads[i]);
            if (took < best) best = took;
        }
    free(data);
    return (double)bytes / best * 1e-9;
}

#endif
