// forge/variant.h - new labelled records from a seed record: places swapped, wording varied,
// spelling noised, labels and evidence kept. Everything follows from (number, record id, variant):
// same inputs, same bytes.
#ifndef FORGE_VARIANT_H
#define FORGE_VARIANT_H

#include "forge/places.h"
#include "forge/seeds.h"

// Probability that a variant gets each change, in the order they are applied; *_max: the strength
// is drawn uniformly below it.
struct forge_options {
    double swap;           // places and lines (drawn once for the whole group of twins)
    double minutes;        // a duration within the guide's thresholds
    double synonym;        // then each known phrase changes with probability 1/2
    double fill;           // greeting, closing, hashtag, emoji, harmless sentence
    double sms;            // shorthand
    double drop, drop_max; // words lost
    double drop_facts;     // then words of the evidence and of the place may be lost too
    double slip, slip_max; // letters lost, doubled, neighbour keys, exchanged
    double glue, glue_max; // apostrophes and spaces missing
    double dictation;
    double accents, lower, upper, punct;
};
// Reads "std", "none", "light", "recipe", "strong", or "std,swap=.6,drop_max=.3": a preset and
// changes to it.
NODISCARD bool forge_options_parse(struct forge_options *options, const char *words,
                                   struct error *err);

struct forge {
    const struct seeds *seeds;
    const struct places *places;
    struct forge_options options;
    uint64_t number; // the seed of randomness
};

// Variant 0 is the seed record itself; variant v has id "<id>~<v>" (and its twin likewise). The
// caller owns *out. When no evidence span survives, the text stays as after the place swap, or as
// the seed's.
NODISCARD bool forge_variant(const struct forge *forge, int64_t seed_i, int variant, json_t **out,
                             struct error *err);

#endif
