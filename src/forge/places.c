// forge/places.c - reads the two tables of stations and indexes them by key, by line and by kind of
// line.
#include "forge/places.h"

#include "core/arena.h"
#include "core/file.h"
#include "forge/seeds.h"
#include "triage/place.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_STATIONS = 8192,
    MAX_LINES = 1024,
    STATION_LINES = 16,
    N_SLOTS_STATION = 4 * MAX_STATIONS
};

struct places {
    struct arena arena;
    struct station *stations;
    struct place_line *lines;
    int n_stations, n_lines;
    int *slots; // hash of key (and city) -> station index + 1
    int *of_kind[N_LINE_KINDS];
    int n_of_kind[N_LINE_KINDS];
};

void places_key(char out[PLACE_KEY_BYTES], const char *name) {
    place_normalise(out, PLACE_KEY_BYTES, NULL, name, strlen(name));
}

enum line_kind line_parse(const char *line, char code[LINE_CODE_BYTES]) {
    static const struct {
        const char *prefix;
        enum line_kind kind;
    } prefixes[] = {{"M", LINE_METRO},    {"RER ", LINE_RER},
                    {"T", LINE_TRAM},     {"Transilien ", LINE_TRANSILIEN},
                    {"Bus ", LINE_BUS},   {"Noctilien N", LINE_NOCTILIEN},
                    {"N", LINE_NOCTILIEN}};
    code[0] = '\0';
    for (int64_t i = 0; i < COUNT_OF(prefixes); i++) {
        size_t n = strlen(prefixes[i].prefix);
        if (strncmp(line, prefixes[i].prefix, n) != 0) continue;
        const char *rest = line + n;
        size_t length = strlen(rest), k = 0;
        if (length == 0 || length > 5) continue;
        bool letter = prefixes[i].kind == LINE_RER || prefixes[i].kind == LINE_TRANSILIEN;
        if (letter ? length != 1 || !isupper((unsigned char)rest[0])
                   : !isdigit((unsigned char)rest[0]))
            continue;
        bool ok = true;
        for (const char *s = rest; *s != '\0'; s++) {
            if (*s == ' ') continue; // "M7 bis"
            ok = ok && isalnum((unsigned char)*s);
            code[k++] = (char)tolower((unsigned char)*s);
        }
        code[k] = '\0';
        if (ok) return prefixes[i].kind;
        code[0] = '\0';
    }
    return LINE_OTHER;
}

static uint64_t key_hash(const char *key, const char *city) {
    return forge_hash(city == NULL ? "" : city, forge_hash(key, 0) + 1);
}

static bool same_city(const char *a, const char *b) {
    return (a == NULL) == (b == NULL) && (a == NULL || strcmp(a, b) == 0);
}

static int *slot_of(const struct places *p, const char *key, const char *city) {
    size_t i = key_hash(key, city) % N_SLOTS_STATION;
    for (; p->slots[i] != 0; i = (i + 1) % N_SLOTS_STATION) {
        const struct station *s = &p->stations[p->slots[i] - 1];
        if (strcmp(s->key, key) == 0 && same_city(s->city, city)) break;
    }
    return &p->slots[i];
}

static int line_index(const struct places *p, const char *name, const char *city) {
    for (int i = 0; i < p->n_lines; i++)
        if (strcmp(p->lines[i].name, name) == 0 && same_city(p->lines[i].city, city)) return i;
    return -1;
}

static int add_line(struct places *p, const char *name, const char *city, const char *where,
                    struct error *err) {
    int i = line_index(p, name, city);
    if (i >= 0) return i;
    if (p->n_lines == MAX_LINES) {
        error_set(err, ERR_LIMIT, "%s: more than %d lines", where, MAX_LINES);
        return -1;
    }
    char code[LINE_CODE_BYTES];
    struct place_line *l = &p->lines[p->n_lines];
    l->name = arena_strndup(&p->arena, name, strlen(name));
    l->city = city;
    l->kind = city == NULL ? line_parse(name, code) : LINE_OTHER;
    if (l->kind != LINE_OTHER) p->of_kind[l->kind][p->n_of_kind[l->kind]++] = p->n_lines;
    return p->n_lines++;
}

// lines: "M13,RER C", cut in place.
static bool add_station(struct places *p, const char *name, const char *key, char *lines,
                        const char *city, const char *where, struct error *err) {
    if (key[0] == '\0') return error_set(err, ERR_INPUT, "%s: empty station", where);
    int *slot = slot_of(p, key, city);
    if (*slot == 0) {
        if (p->n_stations == MAX_STATIONS)
            return error_set(err, ERR_LIMIT, "%s: more than %d stations", where, MAX_STATIONS);
        struct station *s = &p->stations[p->n_stations];
        s->name = arena_strndup(&p->arena, name, strlen(name));
        s->key = arena_strndup(&p->arena, key, strlen(key));
        s->city = city;
        s->lines = arena_alloc_array(&p->arena, STATION_LINES, sizeof(int));
        if (!arena_ok(&p->arena)) return error_set(err, ERR_NOMEM, "%s: out of memory", where);
        *slot = ++p->n_stations;
    }
    struct station *s = &p->stations[*slot - 1];
    for (char *line; (line = strsep(&lines, ",")) != NULL;) {
        if (line[0] == '\0') continue;
        int line_i = add_line(p, line, city, where, err);
        if (line_i < 0) return false;
        if (s->n_lines == STATION_LINES)
            return error_set(err, ERR_LIMIT, "%s: more than %d lines at one station", where,
                             STATION_LINES);
        ((int *)s->lines)[s->n_lines++] = line_i;
    }
    return true;
}

static bool table_read(struct places *p, const char *path, bool networks, struct error *err) {
    char *text, where[1100];
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, path, 16 << 20, err)) return false;
    bool ok = true;
    int line_i = 0;
    char *rest = text;
    for (char *line; ok && (line = strsep(&rest, "\n")) != NULL;) {
        line_i++;
        if (line[0] == '\0' || line[0] == '#') continue;
        snprintf(where, sizeof where, "%s:%d", path, line_i);
        char *columns[3], *word = line;
        for (int i = 0; i < 3; i++) columns[i] = word == NULL ? NULL : strsep(&word, "\t\r");
        if (columns[2] == NULL) {
            ok = error_set(err, ERR_INPUT, "%s: at least 3 columns are needed", where);
            break;
        }
        if (networks) {
            char key[PLACE_KEY_BYTES];
            places_key(key, columns[0]);
            const char *city = arena_strndup(&p->arena, columns[2], strlen(columns[2]));
            ok = city != NULL ? add_station(p, columns[0], key, columns[1], city, where, err)
                              : error_set(err, ERR_NOMEM, "%s: out of memory", where);
        } else {
            ok = add_station(p, columns[0], columns[1], columns[2], NULL, where, err);
        }
    }
    free(text);
    return ok;
}

static bool lines_fill(struct places *p, struct error *err) {
    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1)
            for (int i = 0; i < p->n_lines; i++) {
                struct place_line *l = &p->lines[i];
                if (l->n_stations == 0) continue;
                l->stations = arena_alloc_array(&p->arena, (size_t)l->n_stations, sizeof(int));
                if (l->stations == NULL) return error_set(err, ERR_NOMEM, "places: out of memory");
                l->n_stations = 0;
            }
        for (int i = 0; i < p->n_stations; i++)
            for (int k = 0; k < p->stations[i].n_lines; k++) {
                struct place_line *l = &p->lines[p->stations[i].lines[k]];
                if (pass == 1) l->stations[l->n_stations] = i;
                l->n_stations++;
            }
    }
    return true;
}

bool places_open(struct places **out, const char *gazetteer, const char *networks,
                 struct error *err) {
    struct places *p = calloc(1, sizeof *p);
    if (p == NULL) return error_set(err, ERR_NOMEM, "places: out of memory");
    arena_init(&p->arena, 64 << 20);
    p->stations = arena_alloc_array(&p->arena, MAX_STATIONS, sizeof *p->stations);
    p->lines = arena_alloc_array(&p->arena, MAX_LINES, sizeof *p->lines);
    p->slots = arena_alloc_array(&p->arena, N_SLOTS_STATION, sizeof *p->slots);
    for (int k = 0; k < N_LINE_KINDS; k++)
        p->of_kind[k] = arena_alloc_array(&p->arena, MAX_LINES, sizeof *p->of_kind[k]);
    bool ok = arena_ok(&p->arena) || error_set(err, ERR_NOMEM, "places: out of memory");
    ok = ok && table_read(p, gazetteer, false, err) &&
         (networks == NULL || table_read(p, networks, true, err)) && lines_fill(p, err);
    if (!ok) {
        places_close(p);
        return false;
    }
    *out = p;
    return true;
}

void places_close(struct places *p) {
    if (p == NULL) return;
    arena_release(&p->arena);
    free(p);
}

bool places_add_line(struct places *p, const char *line, struct error *err) {
    int i = add_line(p, line, NULL, "places", err);
    if (i < 0) return false;
    return arena_ok(&p->arena) || error_set(err, ERR_NOMEM, "places: out of memory");
}

int places_find(const struct places *p, const char *key, const char *city_line) {
    if (city_line == NULL) return *slot_of(p, key, NULL) - 1;
    for (int i = 0; i < p->n_lines;
         i++) { // "Métro D" may be of several cities: the one with this station
        const struct place_line *l = &p->lines[i];
        if (l->city == NULL || strcmp(l->name, city_line) != 0) continue;
        int s = *slot_of(p, key, l->city) - 1;
        for (int k = 0; s >= 0 && k < p->stations[s].n_lines; k++)
            if (p->stations[s].lines[k] == i) return s;
    }
    return -1;
}

const struct station *places_station(const struct places *p, int i) {
    return &p->stations[i];
}
int places_n_lines(const struct places *p) {
    return p->n_lines;
}
const struct place_line *places_line(const struct places *p, int i) {
    return &p->lines[i];
}
int places_find_line(const struct places *p, const char *line) {
    return line_index(p, line, NULL);
}
const int *places_of_kind(const struct places *p, enum line_kind kind, int *n) {
    *n = p->n_of_kind[kind];
    return p->of_kind[kind];
}
