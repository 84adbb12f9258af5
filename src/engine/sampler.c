// engine/sampler.c - greedy, temperature, top-k and top-p (nucleus, Holtzman et al. 2020,
// arXiv:1904.09751).
#include "engine/sampler.h"

#include <math.h>
#include <stdlib.h>

static int32_t argmax(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int32_t)best;
}

struct candidate {
    float p;
    int32_t id;
};
_Static_assert(sizeof(struct candidate) == 2 * sizeof(float), "fits the scratch of 2 V floats");

static int by_probability(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    if (x->p != y->p) return x->p > y->p ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id; // equal: by id, so the order is the same everywhere
}

int32_t sampler_choose(struct sampler *s, float *logits, int64_t V, float *scratch) {
    if (!(s->temperature > 0) || scratch == NULL) return argmax(logits, V);
    float max = logits[argmax(logits, V)];
    struct candidate *c = (struct candidate *)(void *)scratch;
    for (int64_t i = 0; i < V; i++)
        c[i] = (struct candidate){expf((logits[i] - max) / s->temperature), (int32_t)i};
    int64_t n = V;
    if (s->top_k > 0 || (s->top_p > 0 && s->top_p < 1)) {
        qsort(c, (size_t)V, sizeof *c, by_probability);
        if (s->top_k > 0 && s->top_k < n) n = s->top_k;
    }
    double total = 0;
    for (int64_t i = 0; i < n; i++) total += (double)c[i].p;
    if (s->top_p > 0 && s->top_p < 1) {
        double kept = 0;
        for (int64_t i = 0; i < n; i++) {
            kept += (double)c[i].p;
            if (kept < (double)s->top_p * total) continue;
            n = i + 1;
            total = kept;
            break;
        }
    }
    double u = rng_f64(&s->rng) * total;
    for (int64_t i = 0; i < n; i++) {
        u -= (double)c[i].p;
        if (u < 0) return c[i].id;
    }
    while (n > 1 && !(c[n - 1].p > 0))
        n--; // rounding left a little of u: never a token of probability 0
    return c[n - 1].id;
}
