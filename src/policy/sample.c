// One token from one row of logits, and its log-probability under the untruncated distribution.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "policy/internal.h"

void mla_sample_clear(mla_sample *sample) {
    free(sample->ids);
    free(sample->logprobs);
    *sample = (mla_sample){0};
}

// ---- passes over the row ----------------------------------------------------------------------
//
// Sums run in a fixed number of lanes, added in a fixed order: the same bits whatever the vector
// width, and no chain of additions to wait for. Inner loops have constant lengths, or -O2 would not
// vectorise them.

#define LANES 16
#define BLOCK 256
#define VECTORISED __attribute__((target_clones("default", "avx2", "avx512f")))

typedef float floats __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t ints __attribute__((vector_size(LANES * sizeof(int32_t))));

// y = e^(x * scale - shift) for LANES exponents <= 0, to about 1e-7 relative. Range reduction by
// powers of two, then a polynomial (Cephes' expf). Below e^-87 it is 0, or tokens that are ruled
// out could be drawn. Written in vectors: the compiler may not vectorise libm's expf, nor these
// choices.
static inline __attribute__((always_inline)) void exps_lanes(const float *from, float scale,
                                                             float shift, float *to) {
    floats x;
    memcpy(&x, from, sizeof x);
    x = x * scale - shift;
    const ints in = x > -87.0f, least = (ints)((floats){0} - 87.0f);
    x = (floats)(((ints)x & in) | (least & ~in));
    const ints power = __builtin_convertvector(x * 1.44269504f - 0.5f, ints);
    const floats k = __builtin_convertvector(power, floats);
    const floats r = x - k * 0.693359375f + k * 2.12194440e-4f;
    floats p = (floats){0} + 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    p *= (floats)(((power + 127) << 23) & in);
    memcpy(to, &p, sizeof p);
}

VECTORISED static void exps(const float *x, int n, float scale, float shift, float *y) {
    int i = 0;
    for (; i + LANES <= n; i += LANES) exps_lanes(x + i, scale, shift, y + i);
    float rest[LANES] = {0};
    for (int k = i; k < n; k++) rest[k - i] = x[k];
    exps_lanes(rest, scale, shift, rest);
    for (int k = i; k < n; k++) y[k] = rest[k - i];
}

VECTORISED static float largest(const float *x, int n) {
    float lane[LANES], top = -INFINITY;
    for (int l = 0; l < LANES; l++) lane[l] = -INFINITY;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] = x[i + l] > lane[l] ? x[i + l] : lane[l];
    for (; i < n; i++) top = x[i] > top ? x[i] : top;
    for (int l = 0; l < LANES; l++) top = lane[l] > top ? lane[l] : top;
    return top;
}

VECTORISED static double sum(const float *x, int n) {
    double lane[LANES] = {0}, total = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) lane[l] += (double)x[i + l];
    for (; i < n; i++) total += (double)x[i];
    for (int l = 0; l < LANES; l++) total += lane[l];
    return total;
}

// How many of p [n] reach `least`, and their sum to *mass.
VECTORISED static size_t count_from(const float *p, int n, float least, double *mass) {
    double lane[LANES] = {0};
    int count[LANES] = {0}, i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int l = 0; l < LANES; l++) {
            const int in = p[i + l] >= least;
            count[l] += in;
            lane[l] += (double)(p[i + l] * (float)in);
        }
    size_t all = 0;
    *mass = 0;
    for (; i < n; i++) {
        all += p[i] >= least;
        *mass += (double)(p[i] >= least ? p[i] : 0);
    }
    for (int l = 0; l < LANES; l++) {
        all += (size_t)count[l];
        *mass += lane[l];
    }
    return all;
}

static int argmax(const float *x, int n) {
    const float top = largest(x, n);
    int at = 0;
    while (at + BLOCK < n && largest(x + at, BLOCK) < top) at += BLOCK;
    while (at < n - 1 && x[at] < top) at++;
    return at;
}

static double sum_blocks(const float *p, int n) {
    double total = 0;
    for (int from = 0; from < n; from += BLOCK)
        total += sum(p + from, n - from < BLOCK ? n - from : BLOCK);
    return total;
}

// The index at which the running sum passes `target`.
static int find(const float *p, int n, double target) {
    double seen = 0;
    int from = 0;
    for (; from + BLOCK < n; from += BLOCK) {
        double block = sum(p + from, BLOCK);
        if (seen + block > target) break;
        seen += block;
    }
    int last = from;
    for (int i = from; i < n; i++) {
        if (p[i] <= 0) continue;
        last = i;
        seen += (double)p[i];
        if (seen > target) break;
    }
    return last;
}

// ---- cuts -------------------------------------------------------------------------------------
//
// Every cut keeps the beginning of the tokens sorted by likelihood, so only so many are sorted as
// the cuts can reach. p [vocab] are likelihoods relative to the likeliest token's.

typedef struct candidate {
    float p;
    int32_t id;
} candidate;

static bool cuts_mass(const mla__sampling *how) {
    return how->top_p > 0 && how->top_p < 1;
}

static bool cuts(const mla__sampling *how) {
    return how->top_k > 0 || how->min_p > 0 || cuts_mass(how);
}

static int compare(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->p != y->p) return x->p < y->p ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

// A likelihood that every token which may be kept reaches; *n: how many tokens do, *mass: the sum
// of all that min_p keeps.
static float lower_bound(const float *p, int vocab, const mla__sampling *how, size_t *n,
                         double *mass) {
    const float top = largest(p, vocab), floor = how->min_p > top ? top : how->min_p;
    const size_t all = count_from(p, vocab, floor, mass);
    double reached;
    for (float least = 0.05f; least > floor && least > 1e-30f; least *= 1.0f / 32) {
        *n = count_from(p, vocab, least, &reached);
        bool enough = how->top_k > 0 ? *n >= (size_t)how->top_k
                                     : cuts_mass(how) && reached >= (double)how->top_p * *mass;
        if (enough) return least;
    }
    *n = all;
    return floor;
}

static size_t kept_of(const candidate *c, size_t n, const mla__sampling *how, double mass) {
    if (how->top_k > 0) {
        if ((size_t)how->top_k < n) n = (size_t)how->top_k;
        mass = 0;
        for (size_t i = 0; i < n; i++) mass += (double)c[i].p;
    }
    if (!cuts_mass(how)) return n;
    double seen = 0;
    for (size_t i = 0; i < n; i++) {
        seen += (double)c[i].p;
        if (seen >= (double)how->top_p * mass) return i + 1;
    }
    return n;
}

static int32_t draw_cut(const float *p, int vocab, const mla__sampling *how, double u) {
    size_t n, at = 0;
    double mass, seen = 0;
    const float least = lower_bound(p, vocab, how, &n, &mass);
    candidate *c = MLA_NEW_ARRAY(candidate, n);
    for (int i = 0; i < vocab; i++)
        if (p[i] >= least) c[at++] = (candidate){p[i], i};
    qsort(c, n, sizeof *c, compare);
    const size_t kept = kept_of(c, n, how, mass);
    mass = 0;
    for (size_t i = 0; i < kept; i++) mass += (double)c[i].p;
    for (at = 0; at + 1 < kept; at++) {
        seen += (double)c[at].p;
        if (seen > u * mass) break;
    }
    const int32_t id = c[at].id;
    free(c);
    return id;
}

static float scale_of(float temperature) {
    return temperature > 0 ? 1.0f / temperature : 1.0f;
}

// `total`: the sum of likelihoods relative to that of `top`, the likeliest token.
static float logprob_of(const float *logits, int top, int32_t id, float scale, double total) {
    return (float)(((double)logits[id] - (double)logits[top]) * (double)scale - log(total));
}

int32_t mla__sample_token(const float *logits, int vocab, const mla__sampling *how, double u,
                          float *scratch, float *logprob) {
    const bool greedy = !(how->temperature > 0);
    const float scale = scale_of(how->temperature);
    const int top = argmax(logits, vocab);
    exps(logits, vocab, scale, logits[top] * scale, scratch);
    const double total = sum_blocks(scratch, vocab);
    int32_t pick = top;
    if (!greedy)
        pick = cuts(how) ? draw_cut(scratch, vocab, how, u) : find(scratch, vocab, u * total);
    *logprob = logprob_of(logits, top, pick, scale, total);
    return pick;
}

// The n largest of x, by insertion: most of a row is below the last of them.
static void choose_largest(const float *x, int len, int32_t *out, size_t n) {
    size_t held = 0;
    for (int i = 0; i < len; i++) {
        if (held == n && !(x[i] > x[out[n - 1]])) continue;
        size_t at = held < n ? held++ : n - 1;
        for (; at > 0 && x[i] > x[out[at - 1]]; at--) out[at] = out[at - 1];
        out[at] = i;
    }
}

void mla__sample_likely(const float *logits, int vocab, float temperature, float *scratch,
                        mla_likely *out, size_t n) {
    if (!n) return;
    const float scale = scale_of(temperature);
    const int top = argmax(logits, vocab);
    exps(logits, vocab, scale, logits[top] * scale, scratch);
    const double total = sum_blocks(scratch, vocab);
    int32_t *ids = MLA_NEW_ARRAY(int32_t, n);
    choose_largest(logits, vocab, ids, n);
    for (size_t i = 0; i < n; i++)
        out[i] = (mla_likely){ids[i], logprob_of(logits, top, ids[i], scale, total)};
    free(ids);
}
