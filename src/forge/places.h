// forge/places.h - stations by line and by name, to put one in the place of another.
// Owns: names and tables. Thread: read-only once open.
#ifndef FORGE_PLACES_H
#define FORGE_PLACES_H

#include "core/error.h"

enum line_kind {
    LINE_OTHER, // a funicular, a shuttle, another city's line: stations may be swapped, the line
                // stays
    LINE_METRO,
    LINE_RER,
    LINE_TRAM,
    LINE_TRANSILIEN,
    LINE_BUS,
    LINE_NOCTILIEN,
    N_LINE_KINDS
};
enum { LINE_CODE_BYTES = 8, PLACE_KEY_BYTES = 96 };

// "M7bis" -> LINE_METRO "7bis"; "RER B" -> LINE_RER "b"; "Bus 62" -> LINE_BUS "62"; anything else
// LINE_OTHER.
enum line_kind line_parse(const char *line, char code[LINE_CODE_BYTES]);

struct station {
    const char *name, *key, *city; // city NULL: Ile-de-France
    const int *lines;              // indices in places.lines
    int n_lines;
};

struct place_line {
    const char *name, *city; // as the label guide writes it
    enum line_kind kind;
    int *stations; // indices
    int n_stations;
};

struct places; // opaque

// gazetteer: name, key, lines, lat, lon (data/gazetteer.tsv). networks: station, line, city
// (data/networks.tsv); NULL: none.
NODISCARD bool places_open(struct places **out, const char *gazetteer, const char *networks,
                           struct error *err);
void places_close(struct places *places); // NULL is fine
// Adds a line without stations (a bus seen in the seeds) unless it is known.
NODISCARD bool places_add_line(struct places *places, const char *line, struct error *err);

int places_find(const struct places *places, const char *key,
                const char *city_line); // station index or -1:
// the key in Ile-de-France, or with city_line (a LINE_OTHER name) on that line
const struct station *places_station(const struct places *places, int i);
int places_n_lines(const struct places *places);
const struct place_line *places_line(const struct places *places, int i);
int places_find_line(const struct places *places, const char *line); // by name, -1
// Lines of a kind in Ile-de-France, in order; *n.
const int *places_of_kind(const struct places *places, enum line_kind kind, int *n);
void places_key(char out[PLACE_KEY_BYTES], const char *name); // normalised

#endif
