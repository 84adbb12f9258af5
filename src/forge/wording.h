// forge/wording.h - small rewordings that keep the facts: synonyms, minutes inside the guide's
// thresholds, greetings.
#ifndef FORGE_WORDING_H
#define FORGE_WORDING_H

#include "core/rng.h"
#include "forge/edit.h"

// Replaces each known phrase with probability p by another of its group. French only.
void wording_synonyms(struct edit *e, struct rng *rng, double p);
// One "N min" of the text becomes another number that the label guide treats alike (3-9, 10-14,
// 16-29, 30-59). why_for, why_against: changed with it; when they tell a duration in words nothing
// changes.
void wording_minutes(struct edit *e, struct edit *why_for, struct edit *why_against,
                     struct rng *rng);
// A greeting before or a closing, hashtag, account, emoji or harmless sentence after.
void wording_fill(struct edit *e, struct rng *rng);
// The same letter bytes in lower case (ASCII and Latin-1 letters); same length.
void wording_lower(char *out, const char *text, size_t n_bytes);
// Is the character that begins (ends before) byte i a letter or a digit?
bool wording_word_from(const char *text, size_t n_bytes, size_t i);
bool wording_word_before(const char *text, size_t i);

#endif
