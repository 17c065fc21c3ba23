// Seeded randomness. All of it in the program comes from an mla_rng that somebody passed in.
// The generator is xoshiro256** (Blackman and Vigna, 2018), seeded by splitmix64.
#ifndef MLA_BASE_RNG_H
#define MLA_BASE_RNG_H

#include <stddef.h>
#include <stdint.h>

typedef struct mla_rng {
    uint64_t s[4];
} mla_rng;

void mla_rng_init(mla_rng *rng, uint64_t seed);
// A seed for a part of the work, from the run's seed and the part's coordinates: equal inputs give
// equal seeds whatever was drawn before, so work can be done in any order or resumed.
uint64_t mla_rng_derive(uint64_t seed, uint64_t a, uint64_t b, uint64_t c);
uint64_t mla_rng_hash(const char *text);                 // a stable 64-bit hash of a name (FNV-1a)
uint64_t mla_rng_u64(mla_rng *rng);
double mla_rng_uniform(mla_rng *rng);                    // [0, 1)
double mla_rng_normal(mla_rng *rng);                     // mean 0, standard deviation 1
uint64_t mla_rng_below(mla_rng *rng, uint64_t n);        // 0 .. n - 1; n > 0
void mla_rng_shuffle(mla_rng *rng, size_t *items, size_t n);

#endif
