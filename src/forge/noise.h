// forge/noise.h - how people really type: each function is one pass over the text.
#ifndef FORGE_NOISE_H
#define FORGE_NOISE_H

#include "core/rng.h"
#include "forge/edit.h"

void noise_sms(struct edit *e, struct rng *rng); // each shorthand rule holds with probability 1/2
// Loses words; negations and numbers stay, and with spare_spans the words of every marked span.
void noise_drop(struct edit *e, struct rng *rng, double p, bool spare_spans);
void noise_slip(struct edit *e, struct rng *rng,
                double p); // per letter: lost, doubled, AZERTY neighbour, exchanged
void noise_glue(struct edit *e, struct rng *rng, double p); // apostrophes and spaces missing
void noise_accents(struct edit *e);                         // accents stripped
void noise_lower(struct edit *e);
void noise_upper(struct edit *e);
void noise_punctuation(struct edit *e,
                       bool keep_space); // runs of .,;:!?... vanish or become one space
void noise_dictation(struct edit *e);    // no punctuation, no capitals: speech to text

#endif
