// core/rng.h - reproducible random numbers: xoshiro256** (Blackman and Vigna 2018, arXiv:1805.01407),
// seeded by SplitMix64. Not for secrets: those come from libsodium.
#ifndef CORE_RNG_H
#define CORE_RNG_H

#include "core/base.h"

struct rng {
    uint64_t s[4]; // the whole state: copy it to save it
};

void rng_init(struct rng *rng, uint64_t seed);
// An independent stream for (seed, stream), e.g. one a document, so that order of use does not matter.
void rng_init_stream(struct rng *rng, uint64_t seed, uint64_t stream);
uint64_t rng_u64(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n); // uniform in [0, n), n > 0, without modulo bias
float rng_f32(struct rng *rng);                  // uniform in [0, 1), 24 bits
double rng_f64(struct rng *rng);                 // uniform in [0, 1), 53 bits
float rng_normal(struct rng *rng);               // mean 0, variance 1 (Box-Muller, one of the pair)
static inline bool rng_chance(struct rng *rng, double p) {
    return rng_f64(rng) < p;
}

#endif
