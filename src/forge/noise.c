// forge/noise.c - spelling noise. Tables follow French typing: an AZERTY board, SMS shorthand of
// the 2000s that lasts.
#include "forge/noise.h"

#include "core/utf8.h"
#include "forge/wording.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static const char *const neighbours['z' - 'a' + 1] = {
    "zqs", "vng", "xvd", "sfe", "zrd", "dgr", "fht", "gjy", "uok", "hku", "jli", "kmo", "lp",
    "bhj", "ipl", "om",  "asw", "etf", "qdz", "ryg", "yij", "cbf", "xq",  "wcs", "tuh", "aes"};

// Phrases first (longest wins by order), then single words.
static const struct {
    const char *from, *to;
} sms_words[] = {
    {"s'il vous plaît", "svp"},
    {"s'il te plaît", "stp"},
    {"parce que", "pcq"},
    {"il y a", "ya"},
    {"c'est", "c"},
    {"j'ai", "g"},
    {"quelqu'un", "qqun"},
    {"quelque chose", "qqchose"},
    {"qu'", "k"},
    {"n'", ""},
    {"ne ", ""},
    {"est-ce que", "esk"},
    {"d'accord", "dac"},
    {"que", "ke"},
    {"qui", "ki"},
    {"quoi", "koi"},
    {"pas", "pa"},
    {"beaucoup", "bcp"},
    {"vous", "vs"},
    {"nous", "ns"},
    {"pour", "pr"},
    {"avec", "ac"},
    {"dans", "ds"},
    {"toujours", "tjs"},
    {"maintenant", "mtn"},
    {"une", "1"},
    {"un", "1"},
    {"est", "é"},
    {"et", "é"},
    {"tout", "tt"},
    {"tous", "ts"},
    {"plus", "+"},
    {"suis", "sui"},
    {"était", "été"},
    {"quai", "kai"},
    {"fait", "fé"},
    {"mais", "mé"},
    {"quand", "kan"},
    {"comme", "com"},
    {"bonjour", "bjr"},
    {"bonsoir", "bsr"},
    {"message", "msg"},
    {"même", "mm"},
    {"rendez-vous", "rdv"},
    {"problème", "pb"},
    {"personne", "perssone"},
    {"train", "tr1"},
    {"bien", "b1"},
    {"demain", "dm1"},
    {"minutes", "mn"},
    {"métro", "metro"},
    {"longtemps", "lontan"},
    {"c'était", "cété"},
};
// Word endings: from, to, least number of letters before.
static const struct { const char *from, *to; } sms_ends[] = {{"er", "é"}, {"ent", ""}, {"s", ""}};

// No rule changes a negation into another word: "pas" and "plus" only become "pa" and "+".
void noise_sms(struct edit *e, struct rng *rng) {
    uint64_t on[2] = {rng_u64(rng), rng_u64(rng)};
    size_t n = edit_bytes(e);
    char *lower = malloc(n + 1);
    if (lower == NULL) return;
    wording_lower(lower, edit_text(e), n);
    lower[n] = '\0';
    edit_begin(e);
    for (size_t i = 0; i < n;) {
        if (!wording_word_from(lower, n, i) || wording_word_before(lower, i)) {
            i++;
            continue;
        }
        bool done = false;
        for (int64_t k = 0; k < COUNT_OF(sms_words) && !done; k++) {
            const char *from = sms_words[k].from;
            if (from[0] != lower[i] || (on[k / 64] >> (k % 64) & 1) == 0) continue;
            size_t length = strlen(from);
            if (i + length > n || memcmp(lower + i, from, length) != 0) continue;
            bool open = from[length - 1] == '\'' ||
                        from[length - 1] == ' '; // the next word follows at once
            if (!open && wording_word_from(lower, n, i + length)) continue;
            if (!open && i + length < n && lower[i + length] == '\'') continue;
            edit_keep(e, i - e->at);
            edit_put(e, length, sms_words[k].to, strlen(sms_words[k].to));
            i += length;
            done = true;
        }
        if (done) continue;
        size_t stop = i;
        while (stop < n) {
            size_t step = utf8_char_bytes(lower + stop, n - stop);
            if (step == 0 || !wording_word_from(lower, n, stop)) break;
            stop += step;
        }
        for (int64_t k = 0; k < COUNT_OF(sms_ends); k++) {
            size_t length = strlen(sms_ends[k].from);
            if ((on[1] >> (60 + k) & 1) == 0 || stop - i < length + 3) continue;
            if (memcmp(lower + stop - length, sms_ends[k].from, length) != 0) continue;
            edit_keep(e, stop - length - e->at);
            edit_put(e, length, sms_ends[k].to, strlen(sms_ends[k].to));
            break;
        }
        i = stop > i ? stop : i + 1;
    }
    edit_finish(e);
    free(lower);
}

static bool word_stays(const char *word, size_t n) {
    static const char *const kept[] = {"pas",  "plus", "jamais",   "aucun", "aucune",
                                       "sans", "rien", "personne", "ni",    "non",
                                       "pa",   "pu",   "not",      "no",    "never"};
    char lower[32];
    if (n == 0 || n >= sizeof lower) return false;
    wording_lower(lower, word, n);
    lower[n] = '\0';
    for (size_t i = 0; i < n; i++)
        if (isdigit((unsigned char)lower[i])) return true;
    size_t length = strcspn(lower, ".,;:!?");
    lower[length] = '\0';
    for (int64_t i = 0; i < COUNT_OF(kept); i++)
        if (strcmp(lower, kept[i]) == 0) return true;
    return lower[0] == 'n' && lower[1] == '\'';
}

static bool spanned(const struct edit *e, size_t begin, size_t end) {
    for (int i = 0; i < e->n_spans; i++)
        if (e->spans[i].begin < end && begin < e->spans[i].end) return true;
    return false;
}

void noise_drop(struct edit *e, struct rng *rng, double p, bool spare_spans) {
    const char *text = edit_text(e);
    size_t n = edit_bytes(e), n_kept = 0;
    edit_begin(e);
    for (size_t i = 0; i < n;) {
        size_t stop = i;
        while (stop < n && text[stop] != ' ') stop++;
        size_t with_space = stop + (stop < n);
        bool last = stop == n && n_kept == 0;
        if (stop > i && !last && rng_chance(rng, p) && !word_stays(text + i, stop - i) &&
            !(spare_spans && spanned(e, i, stop))) {
            edit_keep(e, i - e->at);
            edit_put(e, with_space - i, "", 0);
        } else {
            n_kept += stop > i;
        }
        i = with_space;
    }
    edit_finish(e);
}

void noise_slip(struct edit *e, struct rng *rng, double p) {
    const char *text = edit_text(e);
    size_t n = edit_bytes(e);
    edit_begin(e);
    for (size_t i = 0; i < n;) {
        size_t step = utf8_char_bytes(text + i, n - i);
        if (step == 0) step = 1;
        if (!wording_word_from(text, n, i) || isdigit((unsigned char)text[i]) ||
            !rng_chance(rng, p)) {
            i += step;
            continue;
        }
        double z = rng_f64(rng);
        edit_keep(e, i - e->at);
        size_t after = i + step, next = utf8_char_bytes(text + after, n - after);
        int c = tolower((unsigned char)text[i]);
        char both[8];
        if (z < 0.3) {
            edit_put(e, step, "", 0);
        } else if (z < 0.5) {
            memcpy(both, text + i, step);
            memcpy(both + step, text + i, step);
            edit_put(e, step, both, 2 * step);
        } else if (z < 0.75 && step == 1 && c >= 'a' && c <= 'z') {
            const char *around = neighbours[c - 'a'];
            edit_put(e, 1, around + rng_below(rng, strlen(around)), 1);
        } else if (z >= 0.75 && next > 0 && wording_word_from(text, n, after)) {
            memcpy(both, text + after, next);
            memcpy(both + next, text + i, step);
            edit_put(e, step + next, both, step + next);
            step += next;
        }
        i += step;
    }
    edit_finish(e);
}

void noise_glue(struct edit *e, struct rng *rng, double p) {
    const char *text = edit_text(e);
    size_t n = edit_bytes(e);
    bool spaced = rng_chance(rng, 0.4); // "j ai" rather than "jai", by the same hand throughout
    edit_begin(e);
    for (size_t i = 0; i < n; i++) {
        size_t mark = text[i] == '\''                                          ? 1
                      : i + 3 <= n && memcmp(text + i, "\xe2\x80\x99", 3) == 0 ? 3
                                                                               : 0;
        if (mark > 0 && wording_word_before(text, i)) {
            if (rng_chance(rng, 4 * p > 1 ? 1 : 4 * p)) {
                edit_keep(e, i - e->at);
                edit_put(e, mark, " ", spaced ? 1 : 0);
            }
        } else if (text[i] == ' ' && i > 0 && isalpha((unsigned char)text[i - 1]) && i + 1 < n &&
                   islower((unsigned char)text[i + 1]) && rng_chance(rng, p * 0.5)) {
            edit_keep(e, i - e->at);
            edit_put(e, 1, "", 0);
        }
    }
    edit_finish(e);
}

enum fold { FOLD_ACCENTS, FOLD_LOWER, FOLD_UPPER };

static void fold(struct edit *e, enum fold how) {
    const char *text = edit_text(e);
    size_t n = edit_bytes(e);
    edit_begin(e);
    for (size_t i = 0; i < n;) {
        uint32_t c;
        size_t step = utf8_decode(text + i, n - i, &c);
        char out[32];
        size_t k = 0;
        if (step == 0) {
            i++;
            continue;
        }
        if (c < 0x80) {
            int d = how == FOLD_LOWER   ? tolower((int)c)
                    : how == FOLD_UPPER ? toupper((int)c)
                                        : (int)c;
            if (d != (int)c) {
                out[0] = (char)d;
                k = 1;
            }
        } else if (how == FOLD_ACCENTS) {
            utf8proc_int32_t parts[8];
            int last = 0;
            utf8proc_ssize_t m = utf8proc_decompose_char(
                (utf8proc_int32_t)c, parts, 8, UTF8PROC_DECOMPOSE | UTF8PROC_STRIPMARK, &last);
            for (utf8proc_ssize_t j = 0; j < m && j < 8; j++)
                k += utf8_encode((uint32_t)parts[j], out + k);
            if (k == step && memcmp(out, text + i, k) == 0) k = 0;
            if (c == 0x153 || c == 0x152) {
                memcpy(out, c == 0x153 ? "oe" : "OE", 2);
                k = 2;
            }
        } else {
            utf8proc_int32_t d = how == FOLD_LOWER ? utf8proc_tolower((utf8proc_int32_t)c)
                                                   : utf8proc_toupper((utf8proc_int32_t)c);
            if (d != (utf8proc_int32_t)c) k = utf8_encode((uint32_t)d, out);
        }
        if (k > 0) {
            edit_keep(e, i - e->at);
            edit_put(e, step, out, k);
        }
        i += step;
    }
    edit_finish(e);
}

void noise_accents(struct edit *e) {
    fold(e, FOLD_ACCENTS);
}
void noise_lower(struct edit *e) {
    fold(e, FOLD_LOWER);
}
void noise_upper(struct edit *e) {
    fold(e, FOLD_UPPER);
}

void noise_punctuation(struct edit *e, bool keep_space) {
    const char *text = edit_text(e);
    size_t n = edit_bytes(e);
    edit_begin(e);
    for (size_t i = 0; i < n;) {
        size_t stop = i;
        while (stop < n) {
            if (strchr(".,;:!?", text[stop]) != NULL) stop++;
            else if (n - stop >= 3 && memcmp(text + stop, "\xe2\x80\xa6", 3) == 0) stop += 3;
            else break;
        }
        // "15.30" and "3,5" keep their mark: without it the number is another one.
        bool number = stop == i + 1 && i > 0 && isdigit((unsigned char)text[i - 1]) && stop < n &&
                      isdigit((unsigned char)text[stop]);
        if (stop > i && !number) {
            bool at_space = stop >= n || text[stop] == ' ';
            edit_keep(e, i - e->at);
            edit_put(e, stop - i, " ", keep_space && !at_space ? 1 : 0);
        }
        i = stop > i ? stop : i + 1;
    }
    edit_finish(e);
}

void noise_dictation(struct edit *e) {
    noise_punctuation(e, true);
    noise_lower(e);
}
