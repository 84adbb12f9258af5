// triage/place.c - stations by dictionary, lines by the few ways people write them. Works on normalised words, so
// "PORTE D'ASNIERES", "porte d asnieres" and "Porte d'Asnières" are one. What it does not know it leaves empty.
#include "triage/place.h"

#include "core/arena.h"
#include "core/file.h"
#include "core/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_WORDS = 512, KEY_WORDS = 8, NORMAL_BYTES = 8192 };

struct station {
    const char *name, *key;
    bool common_word; // also an ordinary French word: needs a cue
};

struct gazetteer {
    struct arena arena;
    struct station *stations; // sorted by key
    int64_t n, capacity;
};

// Station names that are ordinary words or first names: they count only after a cue ("station Temple") or with a
// capital inside a sentence.
static const char *const common_words[] = {
    "bastille", "bel air", "bourse", "buzenval", "charonne", "commerce", "concorde", "convention", "couronnes", "croix",
    "danube", "dugommier", "duroc", "ecole", "europe", "france", "garibaldi", "glaciere", "goncourt", "invalides",
    "jasmin", "jourdain", "la fourche", "la muette", "la tour", "laplace", "les halles", "les sablons", "liberte",
    "liege", "louvre", "madeleine", "mairie", "marie", "musee", "nation", "opera", "parc", "passy", "pelleport",
    "picpus", "plaisance", "pyramides", "pyrenees", "quai", "rome", "republique", "saint", "segur", "sentier", "simplon",
    "solferino", "stalingrad", "telegraphe", "temple", "ternes", "varenne", "vavin", "victor", "ville", "volontaires",
    "voltaire", "le parc", "la plaine", "la chapelle", "moulin", "village", "colombes", "cite", "avron", "alesia",
};

static bool word_in(const char *word, const char *const *list, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (strcmp(word, list[i]) == 0) return true;
    return false;
}
#define WORD_IN(word, ...)                                                                                            \
    word_in(word, (const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})))

size_t place_normalise(char *out, size_t out_bytes, int32_t *origin, const char *text, size_t n_bytes) {
    size_t n = 0;
    bool gap = false;
    for (size_t i = 0; i < n_bytes;) {
        uint32_t c;
        size_t step = utf8_decode(text + i, n_bytes - i, &c);
        if (step == 0) {
            i++;
            gap = true;
            continue;
        }
        utf8proc_int32_t parts[8];
        int last_class = 0;
        utf8proc_ssize_t n_parts =
            utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8,
                                    UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_STRIPMARK,
                                    &last_class);
        if (n_parts == 1 && (parts[0] == 0x153 || parts[0] == 0xE6)) { // ligatures oe, ae have no decomposition
            parts[0] = parts[0] == 0x153 ? 'o' : 'a';
            parts[1] = 'e';
            n_parts = 2;
        }
        for (utf8proc_ssize_t j = 0; j < n_parts && j < 8; j++) {
            utf8proc_category_t category = utf8proc_category(parts[j]);
            bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LO;
            bool digit = category == UTF8PROC_CATEGORY_ND;
            if (!letter && !digit) {
                gap = true;
                continue;
            }
            char bytes[4];
            size_t k = utf8_encode((uint32_t)parts[j], bytes);
            if (n + k + 2 >= out_bytes) goto done;
            if (gap && n > 0) {
                if (origin != NULL) origin[n] = (int32_t)i;
                out[n++] = ' ';
            }
            gap = false;
            for (size_t b = 0; b < k; b++) {
                if (origin != NULL) origin[n] = (int32_t)i;
                out[n++] = bytes[b];
            }
        }
        i += step;
    }
done:
    out[n] = '\0';
    return n;
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct station *)a)->key, ((const struct station *)b)->key);
}

static bool add_station(struct gazetteer *g, const char *name, size_t name_bytes, struct error *err) {
    char key[256];
    size_t n = place_normalise(key, sizeof key, NULL, name, name_bytes);
    if (n < 3) return true;
    if (g->n == g->capacity) {
        int64_t capacity = g->capacity ? 2 * g->capacity : 1024;
        struct station *grown = realloc(g->stations, (size_t)capacity * sizeof *grown);
        if (grown == NULL) return error_set(err, ERR_NOMEM, "gazetteer: out of memory");
        g->stations = grown;
        g->capacity = capacity;
    }
    struct station *s = &g->stations[g->n++];
    s->name = arena_strndup(&g->arena, name, name_bytes);
    s->key = arena_strndup(&g->arena, key, n);
    s->common_word = word_in(key, common_words, COUNT_OF(common_words));
    return arena_ok(&g->arena) || error_set(err, ERR_NOMEM, "gazetteer: out of memory");
}

// "Villiers-le-Bel - Gonesse - Arnouville" is called by its first part; "Châtelet - Les Halles" too.
static bool add_with_parts(struct gazetteer *g, const char *name, size_t n_bytes, struct error *err) {
    if (!add_station(g, name, n_bytes, err)) return false;
    static const char *const cuts[] = {" - ", " / ", " ("};
    for (int64_t i = 0; i < COUNT_OF(cuts); i++) {
        const char *cut = memmem(name, n_bytes, cuts[i], strlen(cuts[i]));
        if (cut != NULL && cut - name >= 5 && !add_station(g, name, (size_t)(cut - name), err)) return false;
    }
    return true;
}

bool gazetteer_parse(struct gazetteer **out, const char *tsv, size_t n_bytes, const char *name, struct error *err) {
    *out = NULL;
    struct gazetteer *g = calloc(1, sizeof *g);
    if (g == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", name);
    for (size_t i = 0, line = 1; i < n_bytes; line++) {
        const char *start = tsv + i;
        const char *end = memchr(start, '\n', n_bytes - i);
        size_t length = end != NULL ? (size_t)(end - start) : n_bytes - i;
        i += length + 1;
        if (length == 0 || start[0] == '#') continue;
        const char *tab = memchr(start, '\t', length);
        if (tab == NULL || !utf8_valid(start, length, NULL)) {
            error_set(err, ERR_INPUT, "%s: line %zu: name<TAB>key<TAB>lines in UTF-8 was expected", name, line);
            goto fail;
        }
        if (!add_with_parts(g, start, (size_t)(tab - start), err)) goto fail;
    }
    if (g->n > 0) qsort(g->stations, (size_t)g->n, sizeof *g->stations, by_key);
    *out = g;
    return true;
fail:
    gazetteer_close(g);
    return false;
}

bool gazetteer_open(struct gazetteer **out, const char *path, struct error *err) {
    char *tsv;
    size_t n_bytes;
    *out = NULL;
    if (!file_read(&tsv, &n_bytes, path, 64u << 20, err)) return false;
    bool ok = gazetteer_parse(out, tsv, n_bytes, path, err);
    free(tsv);
    return ok;
}

void gazetteer_close(struct gazetteer *g) {
    if (g == NULL) return;
    free(g->stations);
    arena_release(&g->arena);
    free(g);
}

// The text as words, each with its place in the text and in the normalised bytes.
struct words {
    const char *w[MAX_WORDS];
    size_t begin[MAX_WORDS], length[MAX_WORDS]; // in `normal`
    bool capital[MAX_WORDS];                    // first letter upper case in the text
    int n;
    char normal[NORMAL_BYTES]; // words joined by spaces
    char split[NORMAL_BYTES];  // the same, NUL instead of spaces
};

static void words_init(struct words *words, const char *text, size_t n_bytes) {
    int32_t origin[NORMAL_BYTES];
    size_t n = place_normalise(words->normal, sizeof words->normal, origin, text, n_bytes);
    memcpy(words->split, words->normal, n + 1);
    words->n = 0;
    for (size_t i = 0; i < n && words->n < MAX_WORDS;) {
        size_t length = strcspn(words->normal + i, " ");
        int w = words->n++;
        words->w[w] = words->split + i;
        words->split[i + length] = '\0';
        words->begin[w] = i;
        words->length[w] = length;
        uint32_t c = 0;
        size_t at = (size_t)origin[i];
        words->capital[w] = utf8_decode(text + at, n_bytes - at, &c) > 0 && utf8proc_isupper((utf8proc_int32_t)c);
        i += length + 1;
    }
}

static const char *word_at(const struct words *words, int i) {
    return i >= 0 && i < words->n ? words->w[i] : "";
}

// ------------------------------------------------------------------------------------------------- stations
static const struct station *station_at(const struct gazetteer *g, const struct words *words, int i, int *n_words) {
    for (int n = KEY_WORDS; n >= 1; n--) {
        if (i + n > words->n) continue;
        char key[256];
        size_t length = words->begin[i + n - 1] + words->length[i + n - 1] - words->begin[i];
        if (length >= sizeof key) continue;
        memcpy(key, words->normal + words->begin[i], length);
        key[length] = '\0';
        struct station wanted = {.key = key};
        const struct station *found = bsearch(&wanted, g->stations, (size_t)g->n, sizeof wanted, by_key);
        if (found == NULL) continue;
        *n_words = n;
        return found;
    }
    return NULL;
}

static bool cue_before(const struct words *words, int i) {
    for (int back = 1; back <= 2; back++)
        if (WORD_IN(word_at(words, i - back), "a", "station", "gare", "arret", "quai", "entre", "vers", "direction", "dir",
                    "terminus", "sortie", "metro", "rer", "tram", "stop", "at", "en", "estacion", "apres", "avant",
                    "depuis", "pour"))
            return true;
    return false;
}

// A name longer than `out` is cut between two characters.
static void copy_name(char *out, size_t out_bytes, const char *a, const char *b) {
    size_t bad;
    if (b != NULL) snprintf(out, out_bytes, "entre %s et %s", a, b);
    else snprintf(out, out_bytes, "%s", a);
    if (!utf8_valid(out, strlen(out), &bad)) out[bad] = '\0';
}

static void find_station(const struct gazetteer *g, const struct words *words, char *out, size_t out_bytes) {
    const struct station *direction = NULL, *plain = NULL;
    for (int i = 0; i < words->n;) {
        int n = 0;
        const struct station *s = station_at(g, words, i, &n);
        bool known = s != NULL;
        if (known && s->common_word) known = cue_before(words, i) || (i > 0 && words->capital[i]);
        // A short name inside a lower-case sentence is more often a word than a station.
        if (known && n == 1 && strlen(s->key) < 5) known = words->capital[i] || cue_before(words, i);
        if (!known) {
            i++;
            continue;
        }
        int m = 0;
        const struct station *other;
        if (strcmp(word_at(words, i - 1), "entre") == 0 && strcmp(word_at(words, i + n), "et") == 0 &&
            (other = station_at(g, words, i + n + 1, &m)) != NULL) {
            copy_name(out, out_bytes, s->name, other->name);
            return;
        }
        bool towards = WORD_IN(word_at(words, i - 1), "direction", "dir", "vers", "destination", "towards", "terminus") ||
                       (WORD_IN(word_at(words, i - 1), "de", "la", "le", "du") &&
                        WORD_IN(word_at(words, i - 2), "direction", "vers", "destination"));
        if (towards && direction == NULL) direction = s;
        if (!towards && plain == NULL) plain = s;
        i += n;
    }
    if (plain != NULL) copy_name(out, out_bytes, plain->name, NULL);
    // Only a direction: the place itself is not said.
}

// ------------------------------------------------------------------------------------------------- lines
// A number of 1 to 3 digits with an optional suffix, e.g. "13", "7bis", "3a": the value, or -1.
static int number_word(const char *w, const char **suffix) {
    if (!isdigit((unsigned char)w[0])) return -1;
    char *end;
    long v = strtol(w, &end, 10);
    if (end - w > 3) return -1;
    *suffix = end;
    return (int)v;
}

static bool unit_after(const char *w) {
    return WORD_IN(w, "min", "mn", "minutes", "minute", "h", "heures", "heure", "ans", "jours", "jour", "euros", "fois",
                   "personnes", "voitures", "secondes", "s", "mois", "janvier", "fevrier", "mars", "avril", "mai", "juin",
                   "juillet", "aout", "septembre", "octobre", "novembre", "decembre", "eme", "etage", "degres", "arrets",
                   "stations", "trains", "bus", "metros", "kg", "m", "km", "places", "semaines");
}

static bool metro_line(char *out, size_t out_bytes, const char *w, const char *next) {
    const char *suffix;
    int v = number_word(w, &suffix);
    if (v < 1 || v > 14) return false;
    bool bis = strcmp(suffix, "bis") == 0 || strcmp(suffix, "b") == 0 || (*suffix == '\0' && strcmp(next, "bis") == 0);
    if (bis && v != 3 && v != 7) return false;
    if (*suffix != '\0' && !bis) return false;
    snprintf(out, out_bytes, bis ? "M%dbis" : "M%d", v);
    return true;
}

static bool tram_line(char *out, size_t out_bytes, const char *w) {
    const char *suffix;
    int v = number_word(w, &suffix);
    if (v < 1 || v > 14) return false;
    bool letter = (v == 3 || v == 12 || v == 13) && (suffix[0] == 'a' || suffix[0] == 'b') && suffix[1] == '\0';
    if (*suffix != '\0' && !letter) return false;
    snprintf(out, out_bytes, "T%d%s", v, suffix);
    return true;
}

static bool one_of(const char *w, const char *letters, size_t length) {
    return strlen(w) == length && strchr(letters, w[length - 1]) != NULL;
}

static bool line_at(const struct words *words, int i, char *out, size_t out_bytes) {
    const char *w = word_at(words, i), *next = word_at(words, i + 1), *after = word_at(words, i + 2), *suffix;
    int v;
    if (strcmp(w, "rer") == 0 && one_of(next, "abcde", 1)) {
        snprintf(out, out_bytes, "RER %c", next[0] - 32);
        return true;
    }
    if (strncmp(w, "rer", 3) == 0 && one_of(w, "abcde", 4)) {
        snprintf(out, out_bytes, "RER %c", w[3] - 32);
        return true;
    }
    if (WORD_IN(w, "ligne", "lignes", "line", "linea", "linie", "linha", "train", "transilien", "l") &&
        one_of(next, "hjklnpruv", 1) && strcmp(w, "l") != 0) {
        snprintf(out, out_bytes, "Transilien %c", next[0] - 32);
        return true;
    }
    if (strncmp(w, "ligne", 5) == 0 && one_of(w, "hjklnpruv", 6)) {
        snprintf(out, out_bytes, "Transilien %c", w[5] - 32);
        return true;
    }
    if (strcmp(w, "metro") == 0 && one_of(next, "abcd", 1) && !unit_after(after)) {
        if (next[0] == 'a') return false; // "metro a Nation" is a preposition
        snprintf(out, out_bytes, "Métro %c", next[0] - 32);
        return true;
    }
    if (WORD_IN(w, "tram", "tramway", "tranvia", "tramways") && tram_line(out, out_bytes, next)) return true;
    if (w[0] == 't' && tram_line(out, out_bytes, w + 1)) return true;
    if (WORD_IN(w, "ligne", "line", "linea", "linie", "linha", "metro", "m", "l") && !unit_after(after) &&
        metro_line(out, out_bytes, next, after))
        return true;
    if (strncmp(w, "ligne", 5) == 0 && metro_line(out, out_bytes, w + 5, next)) return true;
    if (strncmp(w, "metro", 5) == 0 && metro_line(out, out_bytes, w + 5, next)) return true;
    if ((w[0] == 'm' || w[0] == 'l') && isdigit((unsigned char)w[1]) && metro_line(out, out_bytes, w + 1, next)) return true;
    if (WORD_IN(w, "7bis", "3bis") && metro_line(out, out_bytes, w, "")) return true;
    if (WORD_IN(w, "bus", "autobus") && (v = number_word(next, &suffix)) > 0 && *suffix == '\0' && !unit_after(after)) {
        snprintf(out, out_bytes, "Bus %d", v);
        return true;
    }
    if (w[0] == 'n' && (v = number_word(w + 1, &suffix)) > 0 && *suffix == '\0' && strlen(w) >= 3 && v <= 153) {
        snprintf(out, out_bytes, "Noctilien N%02d", v);
        return true;
    }
    if (WORD_IN(w, "la", "sur") && !unit_after(after) && metro_line(out, out_bytes, next, after) &&
        !(isdigit((unsigned char)after[0])))
        return true;
    // "dans le 183": a number too large for a date, after an article.
    if (WORD_IN(w, "le", "du", "au") && (v = number_word(next, &suffix)) > 31 && *suffix == '\0' && !unit_after(after)) {
        snprintf(out, out_bytes, "Bus %d", v);
        return true;
    }
    static const char *const names[][2] = {{"roissybus", "Roissybus"}, {"orlybus", "Orlybus"}, {"orlyval", "Orlyval"},
                                           {"cdgval", "CDGVAL"},       {"tvm", "TVM"},         {"c1", "C1"}};
    for (int64_t j = 0; j < COUNT_OF(names); j++) {
        if (strcmp(w, names[j][0]) != 0) continue;
        snprintf(out, out_bytes, "%s", names[j][1]);
        return true;
    }
    return false;
}

void place_find(const struct gazetteer *g, const char *text, size_t n_bytes, char *station, size_t station_bytes,
                char *line, size_t line_bytes) {
    station[0] = line[0] = '\0';
    struct words words;
    words_init(&words, text, n_bytes);
    if (g != NULL && g->n > 0) find_station(g, &words, station, station_bytes);
    for (int i = 0; i < words.n; i++)
        if (line_at(&words, i, line, line_bytes)) return;
}
