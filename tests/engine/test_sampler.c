// tests/engine/test_sampler.c - greedy, temperature, top-k and top-p against the distribution they
// define.
#include "engine/sampler.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static int n_failed;

#define CHECK(ok, ...)                                                                             \
    do {                                                                                           \
        if (!(ok)) {                                                                               \
            printf("%s:%d: ", __FILE__, __LINE__);                                                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

enum { V = 6, DRAWS = 60000 };
// Probabilities at temperature 1: 0.4 0.1 0.25 0.05 0.2 and never the last.
static const double p[V] = {0.4, 0.1, 0.25, 0.05, 0.2, 0};

static void make_logits(float *logits) {
    for (int i = 0; i < V; i++) logits[i] = p[i] > 0 ? (float)log(p[i]) + 3 : -INFINITY;
}

static void test_greedy(void) {
    struct sampler s = {0};
    float ties[5] = {1, 3, 2, 3, 3}, negative[3] = {-5, -4, -INFINITY}, one[1] = {7};
    CHECK(sampler_choose(&s, ties, 5, NULL) == 1, "the lowest id among equals");
    CHECK(sampler_choose(&s, negative, 3, NULL) == 1, "negative logits");
    CHECK(sampler_choose(&s, one, 1, NULL) == 0, "one token");
}

static void test_distribution(void) {
    // want: the probabilities that remain, before they are made to sum to 1.
    static const struct {
        const char *name;
        float temperature, top_p;
        int64_t top_k;
        double want[V];
    } cases[] = {
        {"temperature 1", 1, 0, 0, {0.4, 0.1, 0.25, 0.05, 0.2, 0}},
        {"temperature 0.5", 0.5f, 0, 0, {0.16, 0.01, 0.0625, 0.0025, 0.04, 0}},
        {"temperature 2", 2, 1, 0, {0.6324555, 0.3162278, 0.5, 0.2236068, 0.4472136, 0}},
        {"top-k 3", 1, 0, 3, {0.4, 0, 0.25, 0, 0.2, 0}},
        {"top-k 1", 1, 0, 1, {1, 0, 0, 0, 0, 0}},
        {"top-k over V", 1, 0, 100, {0.4, 0.1, 0.25, 0.05, 0.2, 0}},
        {"top-p 0.6", 1, 0.6f, 0, {0.4, 0, 0.25, 0, 0, 0}},
        {"top-p 0.3", 1, 0.3f, 0, {1, 0, 0, 0, 0, 0}},
        {"top-p 0.9 of top-k 3", 1, 0.9f, 3, {0.4, 0, 0.25, 0, 0.2, 0}},
        {"top-p 0.7 of top-k 3", 1, 0.7f, 3, {0.4, 0, 0.25, 0, 0, 0}},
        {"top-p 0.999", 1, 0.999f, 0, {0.4, 0.1, 0.25, 0.05, 0.2, 0}},
    };
    for (int64_t c = 0; c < COUNT_OF(cases); c++) {
        struct sampler s = {
            .temperature = cases[c].temperature, .top_p = cases[c].top_p, .top_k = cases[c].top_k};
        rng_init(&s.rng, 42);
        int64_t counts[V] = {0};
        double total = 0;
        for (int i = 0; i < V; i++) total += cases[c].want[i];
        for (int i = 0; i < DRAWS; i++) {
            float logits[V], scratch[2 * V];
            make_logits(logits);
            int32_t id = sampler_choose(&s, logits, V, scratch);
            CHECK(id >= 0 && id < V, "%s: id %d", cases[c].name, id);
            if (id >= 0 && id < V) counts[id]++;
        }
        for (int i = 0; i < V; i++) {
            double q = cases[c].want[i] / total,
                   bound = 6 * sqrt(DRAWS * q * (1 - q)); // six standard deviations
            CHECK(fabs((double)counts[i] - DRAWS * q) <= bound,
                  "%s: token %d drawn %lld times, want %.0f +- %.0f", cases[c].name, i,
                  (long long)counts[i], DRAWS * q, bound);
        }
    }
}

static void test_reproducible(void) {
    struct sampler a = {.temperature = 1}, b = {.temperature = 1};
    rng_init(&a.rng, 7);
    rng_init(&b.rng, 7);
    for (int i = 0; i < 100; i++) {
        float logits[V], scratch[2 * V];
        make_logits(logits);
        int32_t x = sampler_choose(&a, logits, V, scratch);
        make_logits(logits);
        CHECK(sampler_choose(&b, logits, V, scratch) == x, "draw %d differs", i);
    }
    // Large and small logits neither overflow nor vanish.
    float extreme[3] = {1e30f, 1e30f, -1e30f}, scratch[6];
    int32_t id = sampler_choose(&a, extreme, 3, scratch);
    CHECK(id == 0 || id == 1, "extreme logits: %d", id);
}

int main(void) {
    test_greedy();
    test_distribution();
    test_reproducible();
    return n_failed > 0;
}
