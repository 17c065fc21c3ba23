// xoshiro256**, splitmix64 and what is drawn with them.
#include "base/rng.h"

#include <math.h>

#include "base/err.h"

static uint64_t splitmix(uint64_t *x) {
    uint64_t z = (*x += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

void mla_rng_init(mla_rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) rng->s[i] = splitmix(&seed);
}

uint64_t mla_rng_derive(uint64_t seed, uint64_t a, uint64_t b, uint64_t c) {
    const uint64_t parts[3] = {a, b, c};
    uint64_t h = seed;
    for (int i = 0; i < 3; i++) {
        h ^= parts[i];
        h = splitmix(&h);
    }
    return h;
}

uint64_t mla_rng_hash(const char *text) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    return h;
}

uint64_t mla_rng_u64(mla_rng *rng) {
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double mla_rng_uniform(mla_rng *rng) {
    return (double)(mla_rng_u64(rng) >> 11) * 0x1.0p-53;
}

double mla_rng_normal(mla_rng *rng) {
    double u = 1.0 - mla_rng_uniform(rng);
    double v = mla_rng_uniform(rng);
    return sqrt(-2.0 * log(u)) * cos(2.0 * 3.14159265358979323846 * v);
}

uint64_t mla_rng_below(mla_rng *rng, uint64_t n) {
    MLA_ASSERT(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t x;
    do x = mla_rng_u64(rng);
    while (x >= limit);
    return x % n;
}

void mla_rng_shuffle(mla_rng *rng, size_t *items, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t j = (size_t)mla_rng_below(rng, i);
        size_t tmp = items[i - 1];
        items[i - 1] = items[j];
        items[j] = tmp;
    }
}
