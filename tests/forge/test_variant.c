// Variants: 2,000 of them pass the strict reader, keep labels, follow their twins, and are the same
// bytes every time; the exercise is ordered, unlabelled and reproducible.
#include "forge/variant.h"

#include "check.h"
#include "core/json.h"
#include "core/rng.h"
#include "core/utf8.h"
#include "forge/exercise.h"
#include "forge/swap.h"

#include <stdlib.h>
#include <string.h>

static struct seeds seeds;
static struct places *places;

static bool forge_make(struct forge *f, const char *options, uint64_t number) {
    struct error err = {0};
    *f = (struct forge){.seeds = &seeds, .places = places, .number = number};
    bool ok = forge_options_parse(&f->options, options, &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    return ok;
}

static char *variant_text(const struct forge *f, int64_t i, int v) {
    json_t *json;
    struct error err = {0};
    if (!forge_variant(f, i, v, &json, &err)) {
        fprintf(stderr, "%s\n", err.text);
        n_failed++;
        return strdup("");
    }
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    return text;
}

static void test_many(const char *options) {
    struct forge f;
    struct rng rng;
    rng_init(&rng, 5);
    CHECK(forge_make(&f, options, 42));
    int changed = 0;
    for (int round = 0; round < 2000; round++) {
        int64_t i = (int64_t)rng_below(&rng, (uint64_t)seeds.n);
        int v = (int)rng_below(&rng, 12);
        const struct label_record *old = &seeds.items[i].record;
        json_t *json;
        struct error err = {0};
        struct label_record r;
        if (!forge_variant(&f, i, v, &json, &err) ||
            !label_record_take(&r, json, "variant", &err)) {
            fprintf(stderr, "%s~%d: %s\n", old->id, v, err.text);
            n_failed++;
            continue;
        }
        CHECK(utf8_valid(r.text, r.text_bytes, NULL) && r.text_bytes > 0);
        CHECK(r.level == old->level && r.class_i == old->class_i && r.source == old->source &&
              r.channel == old->channel);
        CHECK(memcmp(r.distress, old->distress, sizeof r.distress) == 0 &&
              memcmp(r.flags, old->flags, sizeof r.flags) == 0);
        CHECK((r.n_evidence > 0) == (old->n_evidence > 0) && r.n_evidence <= old->n_evidence);
        CHECK((r.station == NULL) == (old->station == NULL) &&
              (r.line == NULL) == (old->line == NULL));
        for (int k = 0; k < r.n_evidence; k++) CHECK(strstr(r.text, r.evidence[k]) != NULL);
        if (v == 0) CHECK(strcmp(r.text, old->text) == 0 && strcmp(r.id, old->id) == 0);
        changed += strcmp(r.text, old->text) != 0;
        label_record_release(&r);
    }
    if (strcmp(options, "none") != 0) CHECK(changed > 1000);
}

static void test_deterministic(void) {
    struct forge a, b, c;
    CHECK(forge_make(&a, "strong", 9) && forge_make(&b, "strong", 9) &&
          forge_make(&c, "strong", 10));
    int differ = 0;
    for (int64_t i = 0; i < seeds.n && i < 300; i++) {
        char *x = variant_text(&a, i, 3), *y = variant_text(&b, i, 3), *z = variant_text(&c, i, 3);
        CHECK(strcmp(x, y) == 0);
        differ += strcmp(x, z) != 0;
        free(x);
        free(y);
        free(z);
    }
    CHECK(differ > 200);
}

// The two sides of a pair name the same new place.
static void test_twins(void) {
    struct forge f;
    CHECK(forge_make(&f, "none,swap=1", 3));
    int n_swapped = 0;
    for (int64_t i = 0; i < seeds.n; i++) {
        const struct label_record *r = &seeds.items[i].record;
        int64_t other = seeds.items[i].next;
        if (other < 0 || r->station == NULL || seeds.items[other].record.station == NULL ||
            strcmp(r->station, seeds.items[other].record.station) != 0)
            continue;
        json_t *x = NULL, *y = NULL;
        struct error err = {0};
        CHECK(forge_variant(&f, i, 1, &x, &err) && forge_variant(&f, other, 1, &y, &err));
        const char *a = json_string_value(json_object_get(json_object_get(x, "place"), "station"));
        const char *b = json_string_value(json_object_get(json_object_get(y, "place"), "station"));
        CHECK(a != NULL && b != NULL && strcmp(a, b) == 0);
        n_swapped += strcmp(a, r->station) != 0;
        if (strcmp(a, r->station) != 0)
            CHECK(strcmp(json_string_value(json_object_get(x, "text")), r->text) != 0);
        json_decref(x);
        json_decref(y);
    }
    CHECK(n_swapped > 50);
}

static void test_swap(void) {
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"à Saint-Lazare sur la 13", "à Gare de Lyon sur la 4"},
        {"A SAINT LAZARE LIGNE 13 !", "A GARE DE LYON LIGNE 4 !"},
        {"st lazare, m13 13h13", "gare de lyon, m4 13h13"},
        {"le M13 et la ligne 13 bis", "le M4 et la ligne 13 bis"},
        {"13 personnes, voie 13", "13 personnes, voie 13"},
    };
    struct swap_plan plan = {.n_stations = 1, .n_lines = 1};
    static const struct station from = {.name = "Saint-Lazare", .key = "saint lazare"},
                                to = {.name = "Gare de Lyon", .key = "gare de lyon"};
    plan.stations[0] =
        (struct swap_station){.old = &from, .new = &to, .patterns = {"saint lazare", "st lazare"}};
    plan.lines[0] = (struct swap_line){"M13", "M4", LINE_METRO, "13", "4"};
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct edit e = {0};
        edit_reset(&e, cases[i].text, strlen(cases[i].text));
        swap_apply(&plan, &e);
        if (strcmp(edit_text(&e), cases[i].want) != 0) {
            fprintf(stderr, "swap: got \"%s\", want \"%s\"\n", edit_text(&e), cases[i].want);
            n_failed++;
        }
        edit_release(&e);
    }
    char code[LINE_CODE_BYTES];
    CHECK(line_parse("M7 bis", code) == LINE_METRO && strcmp(code, "7bis") == 0);
    CHECK(line_parse("RER B", code) == LINE_RER && strcmp(code, "b") == 0);
    CHECK(line_parse("Noctilien N15", code) == LINE_NOCTILIEN && strcmp(code, "15") == 0);
    CHECK(line_parse("Métro D", code) == LINE_OTHER && line_parse("TVM", code) == LINE_OTHER);
    CHECK(line_parse("TER", code) == LINE_OTHER && line_parse("", code) == LINE_OTHER);
}

static void test_options(void) {
    struct forge_options o;
    struct error err = {0};
    CHECK(forge_options_parse(&o, "none,swap=.25", &err) && o.swap == 0.25 && o.sms == 0);
    static const char *const bad[] = {"loud", "swap=2", "swap=x", "nope=.1", "swap=nan"};
    for (int64_t i = 0; i < COUNT_OF(bad); i++) {
        error_reset(&err);
        CHECK(!forge_options_parse(&o, bad[i], &err) && err.code == ERR_USAGE);
    }
}

static void test_exercise(void) {
    struct forge f;
    struct exercise_options o = {.minutes = 20, .n_incidents = 3};
    struct buf a = {0}, b = {0};
    struct error err = {0};
    int64_t n = 0, again = 0;
    CHECK(forge_make(&f, "std", 1));
    CHECK(exercise_write(&f, &o, &a, &n, &err) && exercise_write(&f, &o, &b, &again, &err));
    CHECK(n == again && n >= 400 && n <= 700 && a.n_bytes == b.n_bytes &&
          memcmp(a.data, b.data, a.n_bytes) == 0);
    int64_t last = 0, lines = 0;
    for (char *line = a.data, *stop; (stop = strchr(line, '\n')) != NULL;
         line = stop + 1, lines++) {
        json_t *json;
        if (!json_parse(&json, line, (size_t)(stop - line), "exercise", &err)) {
            n_failed++;
            break;
        }
        int64_t t = json_integer_value(json_object_get(json, "t"));
        CHECK(t >= last && t < 1200 && json_object_size(json) == 5 &&
              json_object_get(json, "urgency") == NULL);
        last = t;
        json_decref(json);
    }
    CHECK(lines == n);
    buf_release(&a);
    buf_release(&b);
}

int main(void) {
    struct error err = {0};
    if (!seeds_open(&seeds, "data/seeds", "train", false, &err) ||
        !places_open(&places, "data/gazetteer.tsv", "data/networks.tsv", &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    CHECK(places_add_line(places, "Bus 62", &err) && places_add_line(places, "Bus 183", &err));
    test_swap();
    test_options();
    test_many("none");
    test_many("std");
    test_many("strong,drop_max=1,drop=1,drop_facts=1");
    test_deterministic();
    test_twins();
    test_exercise();
    seeds_close(&seeds);
    places_close(places);
    return n_failed > 0;
}
