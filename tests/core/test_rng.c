// tests/core/test_rng.c - reference values of the published generators, and ranges.
#include "check.h"
#include "core/rng.h"

#include <math.h>
#include <string.h>

static void test_reference(void) {
    // SplitMix64 from 1234567: Rosetta Code's and Java SplittableRandom's published sequence.
    static const uint64_t split[4] = {6457827717110365317u, 3203168211198807973u,
                                      9817491932198370423u, 4593380528125082431u};
    struct rng rng;
    rng_init(&rng, 1234567);
    for (int i = 0; i < 4; i++)
        CHECK(rng.s[i] == split[i], "splitmix64[%d] = %llu", i, (unsigned long long)rng.s[i]);
    // xoshiro256** from the state 1, 2, 3, 4: the vector of rust's rand_xoshiro, made with the
    // authors' C code.
    static const uint64_t want[10] = {11520,
                                      0,
                                      1509978240,
                                      1215971899390074240u,
                                      1216172134540287360u,
                                      607988272756665600u,
                                      16172922978634559625u,
                                      8476171486693032832u,
                                      10595114339597558777u,
                                      2904607092377533576u};
    rng = (struct rng){{1, 2, 3, 4}};
    for (int i = 0; i < 10; i++) {
        uint64_t x = rng_u64(&rng);
        CHECK(x == want[i], "xoshiro[%d] = %llu, want %llu", i, (unsigned long long)x,
              (unsigned long long)want[i]);
    }
}

static void test_streams(void) {
    struct rng a, b, c;
    rng_init_stream(&a, 7, 1);
    rng_init_stream(&b, 7, 1);
    CHECK(memcmp(&a, &b, sizeof a) == 0, "the same stream differs");
    rng_init_stream(&b, 7, 2);
    rng_init_stream(&c, 8, 1);
    CHECK(memcmp(&a, &b, sizeof a) != 0 && memcmp(&a, &c, sizeof a) != 0 &&
              memcmp(&b, &c, sizeof a) != 0,
          "two streams are the same");
    b = a;
    CHECK(rng_u64(&a) == rng_u64(&b), "a copied state differs");
}

static void test_ranges(void) {
    struct rng rng;
    rng_init(&rng, 1);
    enum { N = 200000 };
    int64_t counts[7] = {0}, hits = 0;
    double sum = 0, squares = 0, f_sum = 0;
    for (int i = 0; i < N; i++) {
        uint64_t k = rng_below(&rng, 7);
        CHECK(k < 7, "below 7: %llu", (unsigned long long)k);
        counts[k]++;
        CHECK(rng_below(&rng, 1) == 0, "below 1");
        float f = rng_f32(&rng);
        double d = rng_f64(&rng);
        CHECK(f >= 0 && f < 1 && d >= 0 && d < 1, "%g %g", (double)f, d);
        f_sum += (double)f + d;
        double z = (double)rng_normal(&rng);
        CHECK(isfinite(z), "normal %g", z);
        sum += z;
        squares += z * z;
        hits += rng_chance(&rng, 0.25);
    }
    // Six standard deviations: fails one seed in a billion, and the seed is fixed.
    for (int k = 0; k < 7; k++)
        CHECK(fabs((double)counts[k] - N / 7.0) < 6 * sqrt(N * 6.0 / 49), "count %lld",
              (long long)counts[k]);
    CHECK(fabs(f_sum / (2.0 * N) - 0.5) < 6 * sqrt(1 / 12.0 / (2.0 * N)), "mean %g",
          f_sum / (2.0 * N));
    CHECK(fabs(sum / N) < 6 / sqrt(N) && fabs(squares / N - 1) < 6 * sqrt(2.0 / N), "normal %g %g",
          sum / N, squares / N);
    CHECK(fabs((double)hits - N * 0.25) < 6 * sqrt(N * 0.1875), "chance %lld", (long long)hits);
    CHECK(!rng_chance(&rng, 0) && rng_chance(&rng, 1), "chance 0 or 1");
    // Large n: rejection must not loop nor bias to the low half.
    uint64_t n = ((uint64_t)1 << 63) + 1, high = 0;
    for (int i = 0; i < 1000; i++) high += rng_below(&rng, n) >= n / 2;
    CHECK(high > 400 && high < 600, "high half %llu", (unsigned long long)high);
}

int main(void) {
    test_reference();
    test_streams();
    test_ranges();
    return n_failed > 0;
}
