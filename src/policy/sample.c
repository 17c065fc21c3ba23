// One token from one row of logits, and its log-probability under the untruncated distribution.
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "policy/internal.h"

void mla_sample_clear(mla_sample *sample) {
    free(sample->ids);
    free(sample->logprobs);
    *sample = (mla_sample){0};
}

// e^x for x <= 0 to about 1e-7 relative; written so that the compiler vectorises it, which it may
// not do with libm's expf. Range reduction by powers of two, then a polynomial (Cephes' expf).
static inline float exp_negative(float x) {
    x = x < -87.0f ? -87.0f : x;
    float k = (float)(int)(x * 1.44269504f - 0.5f);
    float r = x - k * 0.693359375f + k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union {
        int32_t i;
        float f;
    } scale = {.i = ((int32_t)k + 127) << 23};
    return p * scale.f;
}

// Block sums in a fixed order: the same bits whatever the vector width.
#define BLOCK 256

__attribute__((target_clones("default", "avx2", "avx512f"))) static void exps(
    float *x, int n, float scale, float shift) {
    for (int i = 0; i < n; i++) x[i] = exp_negative(x[i] * scale - shift);
}

static int argmax(const float *x, int n) {
    int best = 0;
    for (int i = 1; i < n; i++) {
        if (x[i] > x[best]) best = i;
    }
    return best;
}

static double sum(const float *x, int n) {
    double total = 0;
    for (int i = 0; i < n; i++) total += x[i];
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
        seen += p[i];
        if (seen > target) break;
    }
    return last;
}

int32_t mla__sample_token(float *logits, int vocab, float temperature, double u, float *logprob) {
    int top = argmax(logits, vocab);
    float scale = temperature > 0 ? 1.0f / temperature : 1.0f;
    float max = logits[top] * scale;
    // The chosen logit is needed after the row has been overwritten: take it from the exponential's
    // argument, which log() gives back exactly enough (1e-7).
    exps(logits, vocab, scale, max);
    double total = 0;
    for (int from = 0; from < vocab; from += BLOCK) {
        total += sum(logits + from, vocab - from < BLOCK ? vocab - from : BLOCK);
    }
    int pick = temperature > 0 ? find(logits, vocab, u * total) : top;
    *logprob = (float)(log(logits[pick] > 0 ? logits[pick] : FLT_MIN) - log(total));
    return pick;
}
