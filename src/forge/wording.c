// forge/wording.c - the tables of safe substitutions. A substitution is safe when no label of the
// guide can change: no tense, no negation, no number of victims, no place, no intensity is touched.
#include "forge/wording.h"

#include "core/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void wording_lower(char *out, const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        bool latin =
            i > 0 && (unsigned char)text[i - 1] == 0xc3 && c >= 0x80 && c <= 0x9e && c != 0x97;
        out[i] = latin ? (char)(c + 0x20) : (char)(c < 0x80 ? tolower(c) : c);
    }
}

static bool is_word(uint32_t c) {
    if (c < 0x80) return isalnum((int)c);
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    return (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO) || k == UTF8PROC_CATEGORY_MN;
}

bool wording_word_from(const char *text, size_t n, size_t i) {
    uint32_t c;
    return i < n && utf8_decode(text + i, n - i, &c) > 0 && is_word(c);
}

bool wording_word_before(const char *text, size_t i) {
    if (i == 0) return false;
    size_t at = i - 1;
    while (at > 0 && i - at < 4 && ((unsigned char)text[at] & 0xc0) == 0x80) at--;
    return wording_word_from(text, i, at);
}

// Groups end with NULL; every member may stand for every other, articles and agreement included.
static const char *const synonyms[] = {
    "un homme",
    "un monsieur",
    "un mec",
    "un type",
    "un gars",
    NULL,
    "une femme",
    "une dame",
    "une meuf",
    NULL,
    "des gens",
    "des personnes",
    "des voyageurs",
    NULL,
    "les gens",
    "les personnes",
    "les voyageurs",
    "les passagers",
    NULL,
    "un enfant",
    "un gamin",
    "un gosse",
    "un môme",
    NULL,
    "des enfants",
    "des gamins",
    "des gosses",
    "des mômes",
    NULL,
    "des jeunes",
    "des ados",
    NULL,
    "dans le wagon",
    "dans la voiture",
    "dans la rame",
    NULL,
    "dans le métro",
    "dans la rame",
    NULL,
    "le train est",
    "le métro est",
    NULL,
    "notre train",
    "notre rame",
    "notre métro",
    NULL,
    "sur le quai",
    "sur la plateforme",
    NULL,
    "au bout du quai",
    "en bout de quai",
    "tout au bout du quai",
    NULL,
    "sur les voies",
    "sur les rails",
    "sur la voie",
    NULL,
    "un agent",
    "un agent de station",
    "un employé",
    NULL,
    "les agents",
    "les employés",
    NULL,
    "le conducteur",
    "le chauffeur",
    NULL,
    "l'escalator",
    "l'escalier mécanique",
    "l'escalier roulant",
    NULL,
    "la sortie",
    "l'issue",
    NULL,
    "les pompiers",
    "les secours",
    NULL,
    "les policiers",
    "les flics",
    NULL,
    "mon téléphone",
    "mon portable",
    "mon tel",
    NULL,
    "mon mari",
    "mon conjoint",
    NULL,
    "ma mère",
    "maman",
    NULL,
    "mon père",
    "papa",
    NULL,
    "ma grand-mère",
    "ma mamie",
    "mamie",
    NULL,
    "ma fille",
    "ma petite",
    NULL,
    "en ce moment",
    "là maintenant",
    "en ce moment même",
    "à l'instant",
    NULL,
    "tout de suite",
    "immédiatement",
    "au plus vite",
    "rapidement",
    NULL,
    "depuis un moment",
    "depuis un bon moment",
    NULL,
    "ce matin",
    "ce matin même",
    NULL,
    "beaucoup de monde",
    "énormément de monde",
    "plein de monde",
    "un monde fou",
    NULL,
    "il y a",
    "y a",
    "ya",
    "il ya",
    NULL,
    "je suis",
    "j'suis",
    NULL,
    "on est",
    "nous sommes",
    NULL,
    "quelqu'un peut",
    "est-ce que quelqu'un peut",
    NULL,
    "s'il vous plaît",
    "svp",
    "s'il vous plait",
    "please",
    NULL,
    "est arrêté",
    "est immobilisé",
    "est à l'arrêt",
    NULL,
    "est bloqué",
    "est coincé",
    NULL,
    "par terre",
    "au sol",
    "sur le sol",
    NULL,
    "très",
    "vraiment",
    "super",
    NULL,
    "peut-être",
    "p'têt",
    NULL,
    "je pense que",
    "je crois que",
    NULL,
    "il se passe quoi",
    "qu'est-ce qui se passe",
    "que se passe-t-il",
    NULL,
    "à côté de moi",
    "juste à côté de moi",
    "près de moi",
    NULL,
    "en face de moi",
    "devant moi",
    NULL,
    "encore une fois",
    "une fois de plus",
    NULL,
    "ça fait",
    "cela fait",
    NULL,
};

static const char *match(const char *lower, size_t n, size_t i, const char *phrase) {
    size_t k = strlen(phrase);
    if (i + k > n || memcmp(lower + i, phrase, k) != 0) return NULL;
    return wording_word_from(lower, n, i + k) ? NULL : phrase;
}

// Writes `phrase` as the old words were written: capitals throughout, a first capital, or none.
static void put_cased(struct edit *e, size_t n_old, const char *phrase) {
    const char *old = edit_text(e) + e->at;
    int upper = 0, lower = 0;
    for (size_t i = 0; i < n_old; i++) {
        upper += isupper((unsigned char)old[i]) != 0;
        lower += islower((unsigned char)old[i]) != 0;
    }
    char out[96];
    size_t n = strlen(phrase);
    if (n >= sizeof out) return;
    for (size_t i = 0; i <= n; i++) {
        unsigned char c = (unsigned char)phrase[i];
        bool latin =
            i > 0 && (unsigned char)phrase[i - 1] == 0xc3 && c >= 0xa0 && c <= 0xbe && c != 0xb7;
        if (upper > 1 && lower == 0)
            out[i] = latin ? (char)(c - 0x20) : (char)(c < 0x80 ? toupper(c) : c);
        else out[i] = (char)(i == 0 && c < 0x80 && isupper((unsigned char)old[0]) ? toupper(c) : c);
    }
    edit_put(e, n_old, out, n);
}

void wording_synonyms(struct edit *e, struct rng *rng, double p) {
    size_t n = edit_bytes(e);
    char *lower = malloc(n + 1);
    if (lower == NULL) return;
    wording_lower(lower, edit_text(e), n);
    lower[n] = '\0';
    edit_begin(e);
    for (size_t i = 0; i < n; i++) {
        if (!wording_word_from(lower, n, i) || wording_word_before(lower, i)) continue;
        // After an apostrophe a phrase may be half of an elision ("l'homme"); leave it.
        if (i > 0 && (lower[i - 1] == '\'' || (unsigned char)lower[i - 1] == 0x99)) continue;
        for (int64_t g = 0; g < COUNT_OF(synonyms);) {
            int64_t size = 0, hit = -1;
            for (; synonyms[g + size] != NULL; size++)
                if (synonyms[g + size][0] == lower[i] &&
                    match(lower, n, i, synonyms[g + size]) != NULL)
                    hit = size;
            if (hit >= 0) {
                size_t n_old = strlen(synonyms[g + hit]);
                if (!rng_chance(rng, p)) { // nor a shorter phrase inside it: "il y a" holds "y a"
                    i += n_old - 1;
                    break;
                }
                int64_t other = (int64_t)rng_below(rng, (uint64_t)size - 1);
                const char *to = synonyms[g + (other >= hit ? other + 1 : other)];
                edit_keep(e, i - e->at);
                put_cased(e, n_old, to);
                i += n_old - 1;
                break;
            }
            g += size + 1;
        }
    }
    edit_finish(e);
    free(lower);
}

// --- minutes

static int bucket(int minutes, int *lo, int *hi) {
    static const int edges[][2] = {{3, 9}, {10, 14}, {16, 29}, {30, 59}};
    for (int i = 0; i < 4; i++)
        if (minutes >= edges[i][0] && minutes <= edges[i][1]) {
            *lo = edges[i][0];
            *hi = edges[i][1];
            return i;
        }
    return -1;
}

// The next "N min" from byte `from`: its digits' range and value.
static bool minutes_find(const char *text, size_t n, size_t from, size_t *begin, size_t *end,
                         int *value) {
    for (size_t i = from; i < n; i++) {
        if (!isdigit((unsigned char)text[i])) continue;
        size_t stop = i;
        while (stop < n && isdigit((unsigned char)text[stop])) stop++;
        size_t unit = stop + (stop < n && text[stop] == ' ');
        bool is = unit + 2 <= n && (strncasecmp(text + unit, "mi", 2) == 0 ||
                                    strncasecmp(text + unit, "mn", 2) == 0);
        if (is && stop - i <= 2 &&
            (i == 0 || (text[i - 1] != ',' && text[i - 1] != '.' && text[i - 1] != 'h' &&
                        !wording_word_before(text, i)))) {
            *begin = i;
            *end = stop;
            *value = atoi(text + i);
            return true;
        }
        i = stop - 1;
    }
    return false;
}

static bool tells_duration(const char *text) { // in words: "vingt minutes", "une demi-heure"
    return strcasestr(text, "minute") != NULL || strcasestr(text, "heure") != NULL ||
           strcasestr(text, "vingt") != NULL || strcasestr(text, "trente") != NULL ||
           strcasestr(text, "quinze") != NULL;
}

static void minutes_put(struct edit *e, int old, int new) {
    char digits[16];
    size_t begin, end, n = (size_t)snprintf(digits, sizeof digits, "%d", new);
    int value;
    edit_begin(e);
    for (size_t from = 0; minutes_find(edit_text(e), edit_bytes(e), from, &begin, &end, &value);
         from = end)
        if (value == old) {
            edit_keep(e, begin - e->at);
            edit_put(e, end - begin, digits, n);
        }
    edit_finish(e);
}

void wording_minutes(struct edit *e, struct edit *why_for, struct edit *why_against,
                     struct rng *rng) {
    size_t begin, end;
    int value, lo, hi;
    if (!minutes_find(edit_text(e), edit_bytes(e), 0, &begin, &end, &value) ||
        bucket(value, &lo, &hi) < 0)
        return;
    size_t again_begin, again_end;
    int again;
    if (minutes_find(edit_text(e), edit_bytes(e), end, &again_begin, &again_end, &again) &&
        again != value)
        return; // two durations may be compared
    struct edit *whys[2] = {why_for, why_against};
    for (int i = 0; i < 2; i++) {
        const char *why = edit_text(whys[i]);
        bool digits = minutes_find(why, edit_bytes(whys[i]), 0, &again_begin, &again_end, &again);
        if (digits ? again != value : tells_duration(why)) return;
    }
    int new = lo + (int)rng_below(rng, (uint64_t)(hi - lo + 1));
    minutes_put(e, value, new);
    for (int i = 0; i < 2; i++) minutes_put(whys[i], value, new);
}

// --- fillers

static const char *const openings[] = {"Bonjour, ",
                                       "bonjour ",
                                       "Bonsoir, ",
                                       "salut ",
                                       "Bonjour madame, monsieur, ",
                                       "@RATP ",
                                       "@ClientsRATP ",
                                       "hello ",
                                       "Svp ",
                                       "Dites, ",
                                       "Euh ",
                                       "Bon, ",
                                       "Bonjour à vous, ",
                                       "coucou ",
                                       "Allô ? ",
                                       "@SNCFVoyageurs ",
                                       "@IDFmobilites ",
                                       "Bonjour bonjour, ",
                                       "slt ",
                                       "bsr ",
                                       "bjr ",
                                       "Bon alors ",
                                       "Re-bonjour, ",
                                       "Hé ",
                                       "Alors "};
static const char *const closings[] = {" Merci.",
                                       " merci",
                                       " Merci d'avance.",
                                       " Cordialement",
                                       " svp",
                                       " Bonne journée.",
                                       " 🙏",
                                       " voilà.",
                                       " !!",
                                       " ...",
                                       " Merci de votre réponse.",
                                       " bien à vous",
                                       " Bonne soirée.",
                                       " quoi",
                                       " #RATP",
                                       " #SNCF",
                                       " #métro",
                                       " #IDFM",
                                       " !",
                                       " 😕",
                                       " 🚇",
                                       " Cdlt",
                                       " mrc",
                                       " @RATP",
                                       " Je prends cette ligne tous les jours.",
                                       " Je vous écris depuis l'appli.",
                                       " C'est la première fois que je vous écris.",
                                       " Je préfère vous le signaler.",
                                       " Voilà, c'était pour vous prévenir.",
                                       " Bon courage à vous.",
                                       " Envoyé de mon téléphone"};

void wording_fill(struct edit *e, struct rng *rng) {
    bool before = rng_chance(rng, 0.5);
    bool lower = rng_chance(rng, 0.5);
    const char *s = before ? openings[rng_below(rng, (uint64_t)COUNT_OF(openings))]
                           : closings[rng_below(rng, (uint64_t)COUNT_OF(closings))];
    edit_begin(e);
    if (before) {
        edit_put(e, 0, s, strlen(s));
        const char *t = edit_text(e);
        // Only a lone first capital is lowered: "RER" and "J'AI" stay.
        if (lower && edit_bytes(e) > 1 && isupper((unsigned char)t[0]) &&
            islower((unsigned char)t[1])) {
            char c = (char)tolower((unsigned char)t[0]);
            edit_put(e, 1, &c, 1);
        }
        edit_finish(e);
    } else {
        edit_finish(e);
        edit_begin(e);
        edit_keep(e, edit_bytes(e));
        edit_put(e, 0, s, strlen(s));
        edit_finish(e);
    }
}
