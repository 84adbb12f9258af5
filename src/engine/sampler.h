// engine/sampler.h - choosing a token from logits.
#ifndef ENGINE_SAMPLER_H
#define ENGINE_SAMPLER_H

#include "core/rng.h"

struct sampler {
    float temperature; // 0: greedy (the lowest id among equals)
    float top_p;       // 0 or 1: off
    int64_t top_k;     // 0: off
    struct rng rng;
};
// logits: [V], changed in place. scratch: [2 V] floats, may be NULL when greedy.
int32_t sampler_choose(struct sampler *sampler, float *logits, int64_t V, float *scratch);

#endif
