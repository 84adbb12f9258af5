// core/rng.c - xoshiro256**, public-domain algorithm, written from the paper.
#include "core/rng.h"

#include <assert.h>
#include <math.h>

static uint64_t splitmix64(uint64_t *x) {
    uint64_t z = (*x += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

static uint64_t rotl(uint64_t x, int k) {
    return (x << k) | (x >> (64 - k));
}

void rng_init(struct rng *rng, uint64_t seed) {
    for (int i = 0; i < 4; i++) rng->s[i] = splitmix64(&seed);
}

void rng_init_stream(struct rng *rng, uint64_t seed, uint64_t stream) {
    uint64_t a = seed, b = stream ^ 0xD1B54A32D192ED03u;
    rng_init(rng, splitmix64(&a) ^ rotl(splitmix64(&b), 32));
}

uint64_t rng_u64(struct rng *rng) {
    uint64_t *s = rng->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t rng_below(struct rng *rng, uint64_t n) {
    assert(n > 0);
    uint64_t reject = -n % n; // 2^64 mod n values would be over-represented
    uint64_t x;
    do x = rng_u64(rng);
    while (x < reject);
    return x % n;
}

float rng_f32(struct rng *rng) {
    return (float)(rng_u64(rng) >> 40) * 0x1p-24f;
}

double rng_f64(struct rng *rng) {
    return (double)(rng_u64(rng) >> 11) * 0x1p-53;
}

float rng_normal(struct rng *rng) {
    double u = 1.0 - rng_f64(rng), v = rng_f64(rng);
    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
