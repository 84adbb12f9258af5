// forge/swap.h - one place for another, the same way in a record, its twin and its incident: a plan
// is made for the group and applied to every text of it.
#ifndef FORGE_SWAP_H
#define FORGE_SWAP_H

#include "forge/edit.h"
#include "forge/places.h"
#include "forge/seeds.h"

enum { SWAP_MAX_STATIONS = 12, SWAP_MAX_LINES = 6, SWAP_PATTERNS = 3 };

struct swap_station {
    const struct station *old, *new;
    char patterns[SWAP_PATTERNS]
                 [PLACE_KEY_BYTES]; // normalised ways to write the old one, longest first
    bool brief[SWAP_PATTERNS];      // the pattern is the first half of a double name
};

struct swap_line {
    const char *old, *new; // as the label guide writes them
    enum line_kind kind;
    char old_code[LINE_CODE_BYTES], new_code[LINE_CODE_BYTES];
};

struct swap_plan {
    struct swap_station stations[SWAP_MAX_STATIONS];
    struct swap_line lines[SWAP_MAX_LINES];
    int n_stations, n_lines;
};

// A plan for the group of seed `seed_i`; the same (group, variant, number) always gives the same
// plan.
void swap_plan_make(struct swap_plan *plan, const struct places *places, const struct seeds *seeds,
                    int64_t seed_i, uint64_t variant, uint64_t number);
// Applies it in the text. Returns how many replacements were made.
int swap_apply(const struct swap_plan *plan, struct edit *e);
// The place fields after the swap. `value` is one of station, direction (stations) or line; NULL
// when unchanged. The result is new memory (free()).
char *swap_station_field(const struct swap_plan *plan, const char *value);
const char *swap_line_field(const struct swap_plan *plan, const char *value); // borrowed

#endif
