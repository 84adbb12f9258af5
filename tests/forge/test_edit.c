// Edits: spans follow insertions, replacements and losses; noise keeps every span an exact
// substring.
#include "forge/edit.h"

#include "check.h"
#include "core/rng.h"
#include "core/utf8.h"
#include "forge/noise.h"
#include "forge/wording.h"

#include <string.h>

static bool span_is(const struct edit *e, int i, const char *want) {
    size_t n = e->spans[i].end - e->spans[i].begin;
    bool ok = n == strlen(want) && memcmp(edit_text(e) + e->spans[i].begin, want, n) == 0;
    if (!ok)
        fprintf(stderr, "span %d: got \"%.*s\", want \"%s\"\n", i, (int)n,
                edit_text(e) + e->spans[i].begin, want);
    return ok;
}

static void test_passes(void) {
    struct edit e = {0};
    edit_reset(&e, "un homme est tombé là", strlen("un homme est tombé là"));
    CHECK(edit_mark(&e, "homme est tombé") && edit_mark(&e, "là") && !edit_mark(&e, "absent"));
    edit_begin(&e);
    edit_put(&e, 0, "svp ", 4); // before
    edit_keep(&e, 3);
    edit_put(&e, 5, "monsieur", 8); // at the begin of span 0
    edit_finish(&e);
    CHECK(strcmp(edit_text(&e), "svp un monsieur est tombé là") == 0);
    CHECK(span_is(&e, 0, "monsieur est tombé") && span_is(&e, 1, "là"));
    edit_begin(&e);
    edit_keep(&e, edit_bytes(&e) - 3);
    edit_put(&e, 3, "", 0); // span 1 is lost whole
    edit_finish(&e);
    CHECK(e.spans[1].begin == e.spans[1].end && span_is(&e, 0, "monsieur est tombé"));
    edit_begin(&e);
    edit_keep(&e, 1);
    edit_put(&e, 14, "X", 1); // across the begin of span 0
    edit_finish(&e);
    CHECK(strcmp(edit_text(&e), "sX est tombé ") == 0 && span_is(&e, 0, "X est tombé"));
    edit_release(&e);
}

static void one(void (*fn)(struct edit *), const char *text, const char *want) {
    struct edit e = {0};
    edit_reset(&e, text, strlen(text));
    fn(&e);
    if (strcmp(edit_text(&e), want) != 0) {
        fprintf(stderr, "got \"%s\", want \"%s\"\n", edit_text(&e), want);
        n_failed++;
    }
    edit_release(&e);
}

static void test_minutes(void) {
    static const struct {
        const char *text, *why;
        bool may_change;
    } cases[] = {{"bloqués depuis 35 min", "Train arrêté 35 min.", true},
                 {"depuis 35 min", "Depuis trente-cinq minutes.", false},
                 {"8 minutes de retard", "Retard.", true},
                 {"1 min", "Rien.", false},
                 {"15 min", "Rien.", false},
                 {"de 5 min à 20 min", "Rien.", false}};
    for (int64_t i = 0; i < COUNT_OF(cases); i++)
        for (uint64_t seed = 0; seed < 20; seed++) {
            struct edit e = {0}, f = {0}, a = {0};
            struct rng rng;
            rng_init(&rng, seed);
            edit_reset(&e, cases[i].text, strlen(cases[i].text));
            edit_reset(&f, cases[i].why, strlen(cases[i].why));
            edit_reset(&a, "", 0);
            wording_minutes(&e, &f, &a, &rng);
            int before = 0, after = 0, told = 0;
            sscanf(cases[i].text + strcspn(cases[i].text, "0123456789"), "%d", &before);
            sscanf(edit_text(&e) + strcspn(edit_text(&e), "0123456789"), "%d", &after);
            if (!cases[i].may_change) CHECK(strcmp(edit_text(&e), cases[i].text) == 0);
            CHECK((before < 15) == (after < 15) && (before > 15) == (after > 15) &&
                  (before < 10) == (after < 10));
            if (sscanf(edit_text(&f) + strcspn(edit_text(&f), "0123456789"), "%d", &told) == 1)
                CHECK(told == after);
            edit_release(&e);
            edit_release(&f);
            edit_release(&a);
        }
}

// Any text, any noise: valid UTF-8 stays valid, spans stay inside.
static void test_any(void) {
    static const char *const pieces[] = {"é",        "E",       " ",         "’",
                                         "'",        "il y a ", "un homme ", "12 min",
                                         "🙏",        ".",       "…",         "S'IL VOUS PLAÎT ",
                                         "Œuvre",    "qu'",     "ß",         "ne ",
                                         "\xcc\x81", "pas",     "1",         "RER B "};
    struct rng rng;
    rng_init(&rng, 11);
    for (int round = 0; round < 3000; round++) {
        struct edit e = {0};
        struct buf text = {0};
        int n = 1 + (int)rng_below(&rng, 30);
        for (int i = 0; i < n; i++)
            buf_append_str(&text, pieces[rng_below(&rng, (uint64_t)COUNT_OF(pieces))]);
        edit_reset(&e, text.data, text.n_bytes);
        edit_mark(&e, "un homme");
        edit_mark(&e, "é");
        wording_synonyms(&e, &rng, 0.7);
        wording_fill(&e, &rng);
        if (rng_chance(&rng, 0.5)) noise_sms(&e, &rng);
        noise_drop(&e, &rng, 0.2, rng_chance(&rng, 0.5));
        noise_slip(&e, &rng, 0.3);
        noise_glue(&e, &rng, 0.3);
        switch (rng_below(&rng, 4)) {
        case 0:
            noise_accents(&e);
            break;
        case 1:
            noise_upper(&e);
            break;
        case 2:
            noise_dictation(&e);
            break;
        default:
            noise_lower(&e);
        }
        CHECK(edit_ok(&e) && utf8_valid(edit_text(&e), edit_bytes(&e), NULL));
        for (int i = 0; i < e.n_spans; i++)
            CHECK(e.spans[i].begin <= e.spans[i].end && e.spans[i].end <= edit_bytes(&e));
        edit_release(&e);
        buf_release(&text);
    }
}

int main(void) {
    test_passes();
    one(noise_accents, "Évanoui à l’arrêt, œuvre", "Evanoui a l’arret, oeuvre");
    one(noise_lower, "LÀ-BAS RER B Œ", "là-bas rer b œ");
    one(noise_upper, "là-bas", "LÀ-BAS");
    one(noise_dictation, "Bonjour, ici. 3,5 km... Là!", "bonjour ici 3,5 km là");
    test_minutes();
    test_any();
    return n_failed > 0;
}
