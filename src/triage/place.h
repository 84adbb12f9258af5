// triage/place.h - which station and line a text names, by dictionary: never guessed, never generated.
// Owns: the gazetteer's names. Thread: read-only once open.
#ifndef TRIAGE_PLACE_H
#define TRIAGE_PLACE_H

#include "core/error.h"

struct gazetteer; // opaque

// A TSV whose first columns are: station name, normalised key, lines ("M13,RER C"); '#' starts a comment. Further
// columns are ignored.
NODISCARD bool gazetteer_open(struct gazetteer **out, const char *path, struct error *err);
NODISCARD bool gazetteer_parse(struct gazetteer **out, const char *tsv, size_t n_bytes, const char *name,
                               struct error *err);
void gazetteer_close(struct gazetteer *gazetteer); // NULL is fine
// The station ("" when none; "entre A et B" when so said) and the line ("M13", "RER B", "T3a", "Bus 62",
// "Transilien H", "Noctilien N15"; "" when none) that the text names. gazetteer may be NULL: lines only.
void place_find(const struct gazetteer *gazetteer, const char *text, size_t n_bytes, char *station,
                size_t station_bytes, char *line, size_t line_bytes);
// Lower case, accents removed (utf8proc), runs of anything but letters and digits as one space: "Saint-Cloud" ->
// "saint cloud". out[i] came from text byte origin[i] (may be NULL). Returns the length; out has room for
// n_bytes + 1 at least (decomposition never grows after accents are dropped; longer results are cut).
size_t place_normalise(char *out, size_t out_bytes, int32_t *origin, const char *text, size_t n_bytes);

#endif
