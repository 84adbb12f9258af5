// forge/swap.c - finds stations and line codes in a text the ways people write them, and puts
// others there.
#include "forge/swap.h"

#include "core/rng.h"
#include "core/utf8.h"
#include "triage/place.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NORMAL_BYTES = 8192, MAX_WORDS = 1024 };

// A text as normalised words, each with the bytes it came from.
struct words {
    char normal[NORMAL_BYTES];
    int32_t origin[NORMAL_BYTES];
    int32_t at[MAX_WORDS], length[MAX_WORDS]; // in normal
    int n;
    const char *text;
    size_t n_bytes;
};

static void words_read(struct words *w, const char *text, size_t n_bytes) {
    w->text = text;
    w->n_bytes = n_bytes;
    w->n = 0;
    size_t n = place_normalise(w->normal, sizeof w->normal, w->origin, text, n_bytes);
    for (size_t i = 0; i < n && w->n < MAX_WORDS;) {
        size_t stop = i;
        while (stop < n && w->normal[stop] != ' ') stop++;
        if (stop > i) {
            w->at[w->n] = (int32_t)i;
            w->length[w->n++] = (int32_t)(stop - i);
        }
        i = stop + 1;
    }
}

// Bytes of the original text that words [from, to] cover, from normalised offset `skip` of the
// first word.
static void words_bytes(const struct words *w, int from, int to, int skip, size_t *begin,
                        size_t *end) {
    *begin = (size_t)w->origin[w->at[from] + skip];
    size_t last = (size_t)w->origin[w->at[to] + w->length[to] - 1];
    size_t step = utf8_char_bytes(w->text + last, w->n_bytes - last);
    *end = last + (step == 0 ? 1 : step);
}

static bool word_is(const struct words *w, int i, const char *s) {
    return i >= 0 && i < w->n && strlen(s) == (size_t)w->length[i] &&
           memcmp(w->normal + w->at[i], s, strlen(s)) == 0;
}

static bool word_among(const struct words *w, int i, const char *const *list) {
    for (; *list != NULL; list++)
        if (word_is(w, i, *list)) return true;
    return false;
}

// How many words of `pattern` (spaces between) stand at word i; 0 when it does not match.
static int pattern_words(const struct words *w, int i, const char *pattern) {
    int n = 0;
    for (const char *s = pattern; *s != '\0'; n++) {
        const char *stop = strchrnul(s, ' ');
        if (i + n >= w->n || (size_t)w->length[i + n] != (size_t)(stop - s) ||
            memcmp(w->normal + w->at[i + n], s, (size_t)(stop - s)) != 0)
            return 0;
        s = *stop == ' ' ? stop + 1 : stop;
    }
    return n;
}

// --- lines in a text

static bool first_upper(const struct words *w, int i) {
    return isupper((unsigned char)w->text[w->origin[w->at[i]]]);
}

static bool shouting(const struct words *w) {
    int upper = 0, lower = 0;
    for (size_t i = 0; i < w->n_bytes; i++) {
        upper += isupper((unsigned char)w->text[i]) != 0;
        lower += islower((unsigned char)w->text[i]) != 0;
    }
    return upper > lower;
}

// Is line (kind, code) written at word i? Then words [i, *to] from normalised byte *skip of word i
// are the code.
static bool line_at(const struct words *w, int i, enum line_kind kind, const char *code, int *to,
                    int *skip) {
    static const char *const metro[] = {"ligne", "lignes", "metro", "metros", "m", "l",
                                        "la",    "ma",     "cette", "lign",   NULL};
    static const char *const rer[] = {"rer", "ligne", NULL};
    static const char *const tram[] = {"tram", "tramway", "t", "ligne", NULL};
    static const char *const bus[] = {"bus", "ligne", "le", "du",  "au",
                                      "ce",  "mon",   "l",  "bus", NULL};
    static const char *const night[] = {"noctilien", "n", NULL};
    static const char *const train[] = {"transilien", "ligne", "train", NULL};
    static const char *const article[] = {"le", "la", "du", "ma", "mon", "l", "au", NULL};
    *to = i;
    *skip = 0;
    if (strcmp(code + strspn(code, "0123456789"), "bis") == 0) { // "7 bis"
        char digits[LINE_CODE_BYTES] = "";
        memcpy(digits, code, strspn(code, "0123456789"));
        if (word_is(w, i, digits) && word_is(w, i + 1, "bis") && word_among(w, i - 1, metro)) {
            *to = i + 1;
            return true;
        }
    } else if (word_is(w, i + 1, "bis")) {
        return false; // "la 7 bis" is not line 7
    }
    static const char *const glued[N_LINE_KINDS][4] = {[LINE_METRO] = {"m", "l"},
                                                       [LINE_RER] = {"rer"},
                                                       [LINE_TRAM] = {"t"},
                                                       [LINE_NOCTILIEN] = {"n"}};
    for (int k = 0; k < 3 && glued[kind][k] != NULL; k++) {
        size_t n = strlen(glued[kind][k]);
        if ((size_t)w->length[i] == n + strlen(code) &&
            memcmp(w->normal + w->at[i], glued[kind][k], n) == 0 &&
            memcmp(w->normal + w->at[i] + n, code, strlen(code)) == 0) {
            *skip = (int)n;
            return true;
        }
    }
    if (!word_is(w, i, code)) return false;
    switch (kind) {
    case LINE_METRO:
        return word_among(w, i - 1, metro);
    case LINE_RER:
        return word_among(w, i - 1, rer) ||
               (word_among(w, i - 1, article) && first_upper(w, i) && !shouting(w));
    case LINE_TRAM:
        return word_among(w, i - 1, tram);
    case LINE_BUS:
        return word_among(w, i - 1, bus);
    case LINE_NOCTILIEN:
        return word_among(w, i - 1, night);
    case LINE_TRANSILIEN:
        return word_among(w, i - 1, train) ||
               (word_among(w, i - 1, article) && first_upper(w, i) && !shouting(w));
    case LINE_OTHER:
    case N_LINE_KINDS:
        break;
    }
    return false;
}

static bool line_written(const struct words *w, enum line_kind kind, const char *code) {
    int to, skip;
    for (int i = 0; i < w->n; i++)
        if (line_at(w, i, kind, code, &to, &skip)) return true;
    return false;
}

// --- the plan

static uint64_t draw(const char *what, uint64_t stream) {
    uint64_t h = forge_hash(what, stream | 1);
    h ^= h >> 31; // FNV mixes its low bits little
    h *= 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static const struct swap_line *plan_line(const struct swap_plan *plan, const char *old) {
    for (int i = 0; i < plan->n_lines; i++)
        if (strcmp(plan->lines[i].old, old) == 0) return &plan->lines[i];
    return NULL;
}

static void add_line(struct swap_plan *plan, const struct places *places, const char *old,
                     uint64_t stream, bool fixed) {
    if (plan_line(plan, old) != NULL || plan->n_lines == SWAP_MAX_LINES) return;
    struct swap_line *l = &plan->lines[plan->n_lines++];
    l->old = l->new = old;
    l->kind = line_parse(old, l->old_code);
    memcpy(l->new_code, l->old_code, sizeof l->new_code);
    int n;
    if (fixed || l->kind == LINE_OTHER) return;
    const int *candidates = places_of_kind(places, l->kind, &n);
    if (n == 0) return;
    const struct place_line *new = places_line(places, candidates[draw(old, stream) % (uint64_t)n]);
    if (line_parse(new->name, l->new_code) != l->kind) return;
    l->new = new->name;
}

static bool station_taken(const struct swap_plan *plan, const struct station *s) {
    for (int i = 0; i < plan->n_stations; i++)
        if (plan->stations[i].new == s || plan->stations[i].old == s) return true;
    return false;
}

static void set_patterns(struct swap_station *s) {
    static const struct {
        const char *from, *to;
    } brief[] = {{"saint ", "st "}, {"sainte ", "ste "}};
    int n = 0;
    strcpy(s->patterns[n++], s->old->key);
    for (int64_t k = 0; k < COUNT_OF(brief) && n == 1; k++) {
        const char *at = strstr(s->old->key, brief[k].from);
        if (at == NULL || (at != s->old->key && at[-1] != ' ')) continue;
        size_t head = (size_t)(at - s->old->key);
        snprintf(s->patterns[n++], PLACE_KEY_BYTES, "%.*s%s%s", (int)head, s->old->key, brief[k].to,
                 at + strlen(brief[k].from));
    }
    const char *dash = strstr(s->old->name, " - ");
    if (dash != NULL && dash - s->old->name >= 5) { // "Censier - Daubenton" is often just Censier
        char half[PLACE_KEY_BYTES];
        snprintf(half, sizeof half, "%.*s", (int)(dash - s->old->name), s->old->name);
        s->brief[n] = true;
        places_key(s->patterns[n++], half);
    }
}

// line: the record's line, or NULL.
static void add_station(struct swap_plan *plan, const struct places *places, const char *name,
                        const char *line, uint64_t stream) {
    char key[PLACE_KEY_BYTES], code[LINE_CODE_BYTES];
    places_key(key, name);
    if (key[0] == '\0' || plan->n_stations == SWAP_MAX_STATIONS) return;
    bool elsewhere = line != NULL && line_parse(line, code) == LINE_OTHER;
    int old_i = places_find(places, key, elsewhere ? line : NULL);
    if (old_i < 0 && elsewhere) old_i = places_find(places, key, NULL);
    if (old_i < 0) return;
    const struct station *old = places_station(places, old_i);
    for (int i = 0; i < plan->n_stations; i++)
        if (plan->stations[i].old == old) return;
    // The line it moves to: the record's new one, or any of the same kind.
    const struct place_line *on = NULL;
    if (old->city != NULL) {
        for (int k = 0; k < old->n_lines && on == NULL; k++) {
            const struct place_line *l = places_line(places, old->lines[k]);
            if (line != NULL && strcmp(l->name, line) == 0) on = l;
        }
    } else if (line != NULL && !elsewhere) {
        const struct swap_line *l = plan_line(plan, line);
        int i = places_find_line(places, l == NULL ? line : l->new);
        if (i >= 0) on = places_line(places, i);
    }
    if ((on == NULL || on->n_stations == 0) && old->city == NULL && old->n_lines > 0) {
        int n;
        enum line_kind kind = places_line(places, old->lines[0])->kind;
        const int *candidates = places_of_kind(places, kind, &n);
        on = places_line(places,
                         n > 0 ? candidates[draw(key, stream + 1) % (uint64_t)n] : old->lines[0]);
    }
    if (on == NULL || on->n_stations < 2) return;
    uint64_t at = draw(key, stream) % (uint64_t)on->n_stations;
    const struct station *new = NULL;
    for (int tries = 0; tries < on->n_stations && new == NULL; tries++) {
        const struct station *s =
            places_station(places, on->stations[(at + (uint64_t)tries) % (uint64_t)on->n_stations]);
        if (s != old && !station_taken(plan, s)) new = s;
    }
    if (new == NULL) return;
    struct swap_station *s = &plan->stations[plan->n_stations++];
    memset(s, 0, sizeof *s);
    s->old = old;
    s->new = new;
    set_patterns(s);
}

// The names inside a place field: "entre A et B", "après A", "A - B", or one name.
static int field_names(const char *value, char names[2][PLACE_KEY_BYTES]) {
    static const char *const before[] = {"après ",     "avant ",   "vers ",
                                         "direction ", "près de ", "gare de "};
    const char *and;
    if (strncmp(value, "entre ", 6) == 0 && (and = strstr(value, " et ")) != NULL) {
        snprintf(names[0], PLACE_KEY_BYTES, "%.*s", (int)(and-value - 6), value + 6);
        snprintf(names[1], PLACE_KEY_BYTES, "%s", and+4);
        return 2;
    }
    snprintf(names[0], PLACE_KEY_BYTES, "%s", value);
    for (int64_t i = 0; i < COUNT_OF(before); i++)
        if (strncmp(value, before[i], strlen(before[i])) == 0)
            snprintf(names[1], PLACE_KEY_BYTES, "%s", value + strlen(before[i]));
    if (names[1][0] != '\0') return 2;
    const char *dash = strstr(value, " - ");
    if (dash == NULL) return 1;
    snprintf(names[0], PLACE_KEY_BYTES, "%.*s", (int)(dash - value), value);
    snprintf(names[1], PLACE_KEY_BYTES, "%s", dash + 3);
    return 2;
}

// Stations that the text names beside the labelled one: by runs of words; a single word needs a
// capital.
static void add_mentions(struct swap_plan *plan, const struct places *places, const struct words *w,
                         const char *line, uint64_t stream) {
    for (int i = 0; i < w->n; i++)
        for (int n = 5; n >= 1; n--) {
            if (i + n > w->n) continue;
            size_t bytes = (size_t)(w->at[i + n - 1] + w->length[i + n - 1] - w->at[i]);
            if (bytes >= PLACE_KEY_BYTES || bytes < 6) continue;
            if (n == 1 && (!first_upper(w, i) || i == 0 || shouting(w))) continue;
            char key[PLACE_KEY_BYTES];
            memcpy(key, w->normal + w->at[i], bytes);
            key[bytes] = '\0';
            if (places_find(places, key, NULL) < 0) continue;
            add_station(plan, places, key, line, stream);
            i += n - 1;
            break;
        }
}

static bool station_written(const struct words *w, const struct swap_station *s) {
    for (int i = 0; i < w->n; i++)
        for (int p = 0; p < SWAP_PATTERNS; p++)
            if (s->patterns[p][0] != '\0' && pattern_words(w, i, s->patterns[p]) > 0) return true;
    return false;
}

// A station that a label names and its text writes in a way we do not know stays where it is, for
// the whole group.
static void drop_unwritten(struct swap_plan *plan, const struct label_record *r) {
    static _Thread_local struct words text, field;
    const char *fields[2] = {r->station, r->direction};
    words_read(&text, r->text, r->text_bytes);
    for (int f = 0; f < 2; f++) {
        if (fields[f] == NULL) continue;
        words_read(&field, fields[f], strlen(fields[f]));
        for (int s = 0; s < plan->n_stations;) {
            if (station_written(&field, &plan->stations[s]) &&
                !station_written(&text, &plan->stations[s]))
                plan->stations[s] = plan->stations[--plan->n_stations];
            else s++;
        }
    }
}

void swap_plan_make(struct swap_plan *plan, const struct places *places, const struct seeds *seeds,
                    int64_t seed_i, uint64_t variant, uint64_t number) {
    static _Thread_local struct words w; // 50 KiB: too much for a small thread stack
    memset(plan, 0, sizeof *plan);
    int64_t first = seeds->items[seed_i].group;
    struct rng rng;
    rng_init_stream(&rng, number, seeds->items[first].id_hash ^ (variant * 0x9e3779b97f4a7c15u));
    uint64_t stream = rng_u64(&rng);
    for (int64_t i = first; i >= 0; i = seeds->items[i].next) {
        const struct label_record *r = &seeds->items[i].record;
        if (r->line == NULL) continue;
        // Where one text of the group says the line in words we do not know, it stays for all.
        bool fixed = false;
        char code[LINE_CODE_BYTES];
        enum line_kind kind = line_parse(r->line, code);
        for (int64_t j = first; j >= 0 && !fixed; j = seeds->items[j].next) {
            const struct label_record *other = &seeds->items[j].record;
            if (other->line == NULL || strcmp(other->line, r->line) != 0) continue;
            words_read(&w, other->text, other->text_bytes);
            fixed = !line_written(&w, kind, code);
        }
        add_line(plan, places, r->line, stream, fixed);
    }
    for (int64_t i = first; i >= 0; i = seeds->items[i].next) {
        const struct label_record *r = &seeds->items[i].record;
        const char *fields[2] = {r->station, r->direction};
        for (int f = 0; f < 2; f++) {
            if (fields[f] == NULL) continue;
            char whole[PLACE_KEY_BYTES], names[2][PLACE_KEY_BYTES] = {"", ""};
            snprintf(whole, sizeof whole, "%s", fields[f]);
            int before = plan->n_stations;
            add_station(plan, places, whole, r->line, stream);
            if (plan->n_stations > before) continue;
            int n = field_names(fields[f], names);
            for (int k = 0; k < n; k++) add_station(plan, places, names[k], r->line, stream);
        }
    }
    for (int64_t i = first; i >= 0; i = seeds->items[i].next) {
        const struct label_record *r = &seeds->items[i].record;
        words_read(&w, r->text, r->text_bytes);
        add_mentions(plan, places, &w, r->line, stream);
    }
    for (int64_t i = first; i >= 0; i = seeds->items[i].next)
        drop_unwritten(plan, &seeds->items[i].record);
}

// --- applying it

static bool has_upper(const char *s, size_t n) { // ASCII and Latin-1 capitals
    for (size_t i = 0; i < n; i++)
        if (isupper((unsigned char)s[i]) ||
            ((unsigned char)s[i] == 0xc3 && i + 1 < n && (unsigned char)s[i + 1] >= 0x80 &&
             (unsigned char)s[i + 1] < 0x9f))
            return true;
    return false;
}

static bool has_lower(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (islower((unsigned char)s[i])) return true;
    return false;
}

static bool has_bytes_above(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] >= 0x80) return true;
    return false;
}

// The new name in the manner of the old one as it was written: case, accents, hyphens.
static size_t render(char *out, size_t out_bytes, const struct swap_station *s, bool brief,
                     const char *seen, size_t n_seen) {
    char name[PLACE_KEY_BYTES * 2];
    snprintf(name, sizeof name, "%s", s->new->name);
    char *dash = strstr(name, " - ");
    if (brief && dash != NULL) *dash = '\0';
    bool upper = has_upper(seen, n_seen), lower = has_lower(seen, n_seen);
    bool plain = !has_bytes_above(seen, n_seen) &&
                 (has_bytes_above(s->old->name, strlen(s->old->name)) || !upper || !lower);
    bool spaced = memchr(seen, '-', n_seen) == NULL && memchr(seen, ' ', n_seen) != NULL;
    size_t n = 0;
    for (const char *c = name; *c != '\0' && n + 8 < out_bytes;) {
        uint32_t point;
        size_t step = utf8_decode(c, strlen(c), &point);
        if (step == 0) break;
        char normal[8];
        if (point == '-' && spaced) {
            out[n++] = ' ';
        } else if (plain && point >= 0x80 &&
                   place_normalise(normal, sizeof normal, NULL, c, step) > 0) {
            for (const char *b = normal; *b != '\0'; b++)
                out[n++] = upper && !lower ? (char)toupper((unsigned char)*b) : *b;
        } else if (!upper && point < 0x80) {
            out[n++] = (char)tolower((int)point);
        } else if (upper && !lower && point < 0x80) {
            out[n++] = (char)toupper((int)point);
        } else if (!upper && point >= 0xc0 && point < 0xdf) {
            n += utf8_encode(point + 0x20, out + n);
        } else if (upper && !lower && point >= 0xe0 && point < 0xff) {
            n += utf8_encode(point - 0x20, out + n);
        } else {
            memcpy(out + n, c, step);
            n += step;
        }
        c += step;
    }
    out[n] = '\0';
    return n;
}

int swap_apply(const struct swap_plan *plan, struct edit *e) {
    static _Thread_local struct words w;
    if (plan->n_stations == 0 && plan->n_lines == 0) return 0;
    words_read(&w, edit_text(e), edit_bytes(e));
    int n_made = 0;
    edit_begin(e);
    for (int i = 0; i < w.n; i++) {
        int best = 0, best_s = -1, best_p = 0;
        for (int s = 0; s < plan->n_stations; s++)
            for (int p = 0; p < SWAP_PATTERNS; p++) {
                if (plan->stations[s].patterns[p][0] == '\0') continue;
                int n = pattern_words(&w, i, plan->stations[s].patterns[p]);
                if (n > best) {
                    best = n;
                    best_s = s;
                    best_p = p;
                }
            }
        size_t begin, end;
        char bytes[PLACE_KEY_BYTES * 2];
        if (best > 0) {
            words_bytes(&w, i, i + best - 1, 0, &begin, &end);
            size_t n = render(bytes, sizeof bytes, &plan->stations[best_s],
                              plan->stations[best_s].brief[best_p], w.text + begin, end - begin);
            if (begin < e->at) continue;
            edit_keep(e, begin - e->at);
            edit_put(e, end - begin, bytes, n);
            n_made++;
            i += best - 1;
            continue;
        }
        for (int l = 0; l < plan->n_lines; l++) {
            const struct swap_line *line = &plan->lines[l];
            int to, skip;
            if (line->new == line->old || !line_at(&w, i, line->kind, line->old_code, &to, &skip))
                continue;
            words_bytes(&w, i, to, skip, &begin, &end);
            if (begin < e->at) break;
            bool upper = isupper((unsigned char)w.text[begin]);
            size_t n = 0;
            for (; line->new_code[n] != '\0'; n++)
                bytes[n] =
                    upper ? (char)toupper((unsigned char)line->new_code[n]) : line->new_code[n];
            edit_keep(e, begin - e->at);
            edit_put(e, end - begin, bytes, n);
            n_made++;
            i = to;
            break;
        }
    }
    edit_finish(e);
    return n_made;
}

char *swap_station_field(const struct swap_plan *plan, const char *value) {
    struct edit e = {0};
    struct swap_plan stations = *plan;
    stations.n_lines = 0;
    edit_reset(&e, value, strlen(value));
    char *out = swap_apply(&stations, &e) > 0 && edit_ok(&e) ? strdup(edit_text(&e)) : NULL;
    edit_release(&e);
    return out;
}

const char *swap_line_field(const struct swap_plan *plan, const char *value) {
    const struct swap_line *l = plan_line(plan, value);
    return l == NULL || l->new == l->old ? NULL : l->new;
}
