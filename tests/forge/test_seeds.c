// Seeds: the corpus loads, nothing held out is in train, and a split that cuts a pair or an
// incident is refused.
#include "forge/seeds.h"

#include "check.h"
#include "core/file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool same(const char *a, const char *b) {
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

// Pairs, incidents and personas of `train` against what is held out.
static void check_apart(const struct seeds *train, const struct seeds *held) {
    for (int64_t i = 0; i < held->n; i++) {
        const struct seed *h = &held->items[i];
        CHECK(seeds_find(train, h->record.id) < 0);
        if (h->record.twin != NULL) CHECK(seeds_find(train, h->record.twin) < 0);
        for (int64_t k = 0; k < train->n; k++) {
            const struct seed *t = &train->items[k];
            CHECK(!same(t->record.twin, h->record.id)); // twin crosses
            if (strcmp(t->file, h->file) != 0) continue;
            CHECK(!same(t->record.incident, h->record.incident)); // incident crosses
            CHECK(!same(t->record.persona, h->record.persona));   // persona crosses
            CHECK(strcmp(t->record.text, h->record.text) != 0);   // text stands twice
        }
    }
}

static void test_corpus(void) {
    struct seeds train, dev, ood, validation, all;
    struct error err = {0};
    if (!file_is_folder("data/seeds")) {
        fprintf(stderr, "no data/seeds\n");
        n_failed++;
        return;
    }
    bool ok = seeds_open(&train, "data/seeds", "train", false, &err);
    if (!ok) fprintf(stderr, "%s\n", err.text);
    CHECK(ok && seeds_open(&dev, "data/seeds", "dev", false, &err) &&
          seeds_open(&ood, "data/seeds", "ood", false, &err));
    CHECK(seeds_open(&validation, "data/seeds", "validation", false, &err));
    CHECK(seeds_open(&all, "data/seeds", NULL, false, &err));
    if (!ok) return;
    CHECK(dev.n == 465 && ood.n == 180 && train.n > 4000);
    CHECK(train.n + train.n_persona_dropped + dev.n + ood.n + validation.n == all.n);
    check_apart(&train, &dev);
    check_apart(&train, &ood);
    check_apart(&train, &validation);
    for (int64_t i = 0; i < train.n; i++) { // groups are chains in order
        const struct seed *s = &train.items[i];
        CHECK(s->group <= i &&
              (s->next < 0 || (s->next > i && train.items[s->next].group == s->group)));
        if (s->record.twin != NULL) {
            int64_t twin = seeds_find(&train, s->record.twin);
            CHECK(twin >= 0 && train.items[twin].group == s->group);
        }
    }
    seeds_close(&train);
    seeds_close(&dev);
    seeds_close(&ood);
    seeds_close(&validation);
    seeds_close(&all);
}

static void write_file(const char *folder, const char *name, const char *text) {
    char path[256];
    struct error err = {0};
    snprintf(path, sizeof path, "%s/%s", folder, name);
    CHECK(file_write_atomic(path, text, strlen(text), &err));
}

#define RECORD(id, more)                                                                           \
    "{\"id\":\"" id "\",\"text\":\"texte " id "\",\"urgency\":\"U1\",\"class\":\"traffic\","       \
    "\"source\":\"witness\"" more "}\n"

static void test_refused(void) {
    char folder[] = "/tmp/sillon-seeds-XXXXXX";
    if (mkdtemp(folder) == NULL) {
        n_failed++;
        return;
    }
    static const struct {
        const char *records, *split, *says; // says NULL: accepted
        int64_t n;
    } cases[] = {
        {RECORD("a-1", ",\"twin\":\"a-2\"") RECORD("a-2", ",\"twin\":\"a-1\""),
         "a-1\ttrain\na-2\ttrain\n", NULL, 2},
        {RECORD("a-1", ",\"twin\":\"a-2\"") RECORD("a-2", ",\"twin\":\"a-1\""),
         "a-1\ttrain\na-2\tdev\n", "same twin", 0},
        {RECORD("a-1", ",\"incident\":\"i1\"") RECORD("a-2", ",\"incident\":\"i1\""),
         "a-1\tood\na-2\ttrain\n", "same twin or incident", 0},
        {RECORD("a-1", ",\"persona\":\"p1\"") RECORD("a-2", ",\"persona\":\"p1\"")
             RECORD("a-3", ""),
         "a-1\tdev\na-2\ttrain\na-3\ttrain\n", NULL, 1},
        {RECORD("a-1", ""), "a-2\ttrain\n", "no split for a-1", 0},
        {RECORD("a-1", ""), "a-1\ttest\n", "\"test\"", 0},
        {RECORD("a-1", "") RECORD("a-1", ""), "a-1\ttrain\n", "stands twice", 0},
        {RECORD("a-1", ",\"twin\":\"a-9\""), "a-1\ttrain\n", "a-9", 0},
        {"{\"id\":\n", "a-1\ttrain\n", "a.jsonl:1", 0},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct seeds s;
        struct error err = {0};
        write_file(folder, "a.jsonl", cases[i].records);
        write_file(folder, "split.tsv", cases[i].split);
        bool ok = seeds_open(&s, folder, "train", false, &err);
        if (ok != (cases[i].says == NULL) ||
            (ok ? s.n != cases[i].n : strstr(err.text, cases[i].says) == NULL)) {
            fprintf(stderr, "case %d: got %d \"%s\"\n", (int)i, ok, err.text);
            n_failed++;
        }
        if (ok) seeds_close(&s);
    }
    char command[128];
    snprintf(command, sizeof command, "%s/a.jsonl", folder);
    unlink(command);
    snprintf(command, sizeof command, "%s/split.tsv", folder);
    unlink(command);
    rmdir(folder);
    struct seeds s;
    struct error err = {0};
    CHECK(!seeds_open(&s, "/nonexistent", "train", false, &err));
}

int main(void) {
    test_corpus();
    test_refused();
    return n_failed > 0;
}
