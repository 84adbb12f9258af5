// Stations and lines in the ways passengers write them, against data/gazetteer.tsv.
#include "core/utf8.h"
#include "triage/place.h"

#include <stdio.h>
#include <string.h>

static int n_failed;
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

static void test_table(const struct gazetteer *g) {
    static const struct {
        const char *text, *station, *line;
    } cases[] = {
        // lines
        {"malaise dans la M13", "", "M13"},
        {"la ligne 13 est bloquée", "", "M13"},
        {"LIGNE 4 : rien ne bouge", "", "M4"},
        {"sur la 8 depuis vingt minutes", "", "M8"},
        {"encore une panne sur la 13", "", "M13"},
        {"métro 7 arrêté", "", "M7"},
        {"ligne 7 bis en panne", "", "M7bis"},
        {"la 3bis est fermée", "", "M3bis"},
        {"ligne13 ras le bol", "", "M13"},
        {"@Ligne14_RATP panne", "", "M14"},
        {"line 1 is stuck", "", "M1"},
        {"RER B à l'arrêt", "", "RER B"},
        {"le rer d ne part pas", "", "RER D"},
        {"RERA bondé", "", "RER A"},
        {"tram T3a en panne", "", "T3a"},
        {"le T3B déborde", "", "T3b"},
        {"tramway 2 à l'arrêt", "", "T2"},
        {"t13 supprimé", "", "T13"},
        {"Transilien H en retard", "", "Transilien H"},
        {"la ligne J est morte", "", "Transilien J"},
        {"noctilien N15 jamais passé", "", "Noctilien N15"},
        {"attente du N01 dans le froid", "", "Noctilien N01"},
        {"bus 62 accidenté", "", "Bus 62"},
        {"je suis dans le 183 et ça hurle", "", "Bus 183"},
        {"orlyval en panne", "", "Orlyval"},
        {"l13 encore", "", "M13"},
        {"m 6 bloqué", "", "M6"},
        // numbers that are not lines
        {"rendez-vous le 13 juin", "", ""},
        {"j'attends depuis 13 minutes", "", ""},
        {"le 14 juillet", "", ""},
        {"il est 8 h", "", ""},
        {"la 13 minutes de retard", "", ""},
        {"j'ai 12 ans", "", ""},
        {"13 bis rue du port", "", ""},
        {"j'ai payé 4 euros", "", ""},
        {"ligne 15 en travaux", "", ""},
        {"ligne 0", "", ""},
        {"voiture 3, deuxième porte", "", ""},
        {"au 2 étage", "", ""},
        {"j'ai vu metro a temps", "", ""},
        {"", "", ""},
        {"😀😀😀", "", ""},
        // stations
        {"une dame tombe à Châtelet", "Châtelet", ""},
        {"une dame tombe a chatelet", "Châtelet", ""},
        {"CHATELET LES HALLES fumée", "Châtelet-Les Halles", ""},
        {"gare du nord, quai 36, bagarre", "Gare du Nord", ""},
        {"Porte d'Asnières ascenseur bloqué", "Porte d'Asnières", ""},
        {"porte d asnieres", "Porte d'Asnières", ""},
        {"à Massy - Palaiseau ça brûle", "Massy-Palaiseau", ""},
        {"station République, M8", "République", "M8"},
        {"vive la république", "", ""},
        {"quel opéra ce soir", "", ""},
        {"coincé à la station Opéra", "Opéra", ""},
        {"la nation est en colère", "", ""},
        {"il fait frais, tu viens au temple ?", "", ""},
        {"métro Temple fermé", "Temple", ""},
        {"arrêtés entre Bercy et Gare de Lyon", "entre Bercy et Gare de Lyon", ""},
        {"ligne 14 entre gare de lyon et bercy", "entre Gare de Lyon et Bercy", "M14"},
        {"direction Châtelet, malaise", "", ""},
        {"RER B direction Massy-Palaiseau", "", "RER B"},
        {"à Bercy, train direction Saint-Lazare", "Bercy", ""},
        {"vers Saint-Lazare", "", ""},
        {"au cœur d'Orly", "Coeur d'Orly", ""},
        {"Saint-Denis - Université, ligne 13", "Saint-Denis - Université", "M13"},
        {"bloqué à Aulnay-sous-Bois RER B", "Aulnay-sous-Bois", "RER B"},
        {"croix de chavaux sortie 2", "Croix de Chavaux", ""},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        char station[96], line[48];
        place_find(g, cases[i].text, strlen(cases[i].text), station, sizeof station, line,
                   sizeof line);
        if (strcmp(station, cases[i].station) == 0 && strcmp(line, cases[i].line) == 0) continue;
        fprintf(stderr, "%s:%d: \"%s\": got \"%s\" \"%s\", want \"%s\" \"%s\"\n", __FILE__,
                __LINE__, cases[i].text, station, line, cases[i].station, cases[i].line);
        n_failed++;
    }
    printf("%lld place cases\n", (long long)COUNT_OF(cases));
}

static void test_normalise(void) {
    static const char *const cases[][2] = {
        {"Saint-Cloud", "saint cloud"},
        {"  PORTE   D'ASNIÈRES ", "porte d asnieres"},
        {"Sacré-Cœur", "sacre coeur"},
        {"Cæsar", "caesar"},
        {"Œuvre", "oeuvre"},
        {"e\xcc\x81té", "ete"},
        {"Créteil–L’Échat", "creteil l echat"},
        {"---", ""},
        {"😀a😀b", "a b"},
        {"\xff"
         "a\xff"
         "b",
         "a b"},
        {"ﬁn", "fin"},
        {"Straße", "strasse"},
    };
    char out[256];
    int32_t origin[256];
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        size_t n = place_normalise(out, sizeof out, origin, cases[i][0], strlen(cases[i][0]));
        if (strcmp(out, cases[i][1]) != 0 || n != strlen(out)) {
            fprintf(stderr, "%s:%d: \"%s\": got \"%s\", want \"%s\"\n", __FILE__, __LINE__,
                    cases[i][0], out, cases[i][1]);
            n_failed++;
        }
        for (size_t j = 0; j < n; j++)
            CHECK(origin[j] >= 0 && origin[j] < (int32_t)strlen(cases[i][0]));
    }
    for (size_t room = 1; room < 12; room++) { // cut, never past the end
        char *small = out + sizeof out - room;
        size_t n = place_normalise(small, room, NULL, "Saint-Cloud", 11);
        CHECK(n < room && small[n] == '\0' && utf8_valid(small, n, NULL));
    }
}

static void test_parse(void) {
    static const struct {
        const char *tsv, *says; // NULL: accepted
    } cases[] = {
        {"", NULL},
        {"# only a comment", NULL},
        {"Abbesses\tabbesses\tM12\n\nBercy\tbercy\tM6,M14\textra\n", NULL},
        {"Abbesses\tabbesses\tM12", NULL},
        {"Abbesses\n", "line 1"},
        {"# c\nA\ta\tb\n\xff\tb\n", "line 3"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct gazetteer *g = NULL;
        struct error err = {0};
        bool ok = gazetteer_parse(&g, cases[i].tsv, strlen(cases[i].tsv), "x.tsv", &err);
        CHECK(ok == (cases[i].says == NULL) && ok == (g != NULL));
        if (!ok)
            CHECK(strstr(err.text, "x.tsv") != NULL && strstr(err.text, cases[i].says) != NULL);
        gazetteer_close(g);
    }
    struct gazetteer *g = NULL;
    struct error err = {0};
    CHECK(!gazetteer_open(&g, "data/no-such-file.tsv", &err) && err.code == ERR_NOTFOUND);
}

// A name longer than the caller's room is cut between characters; long texts are cut, not refused.
static void test_long(void) {
    struct gazetteer *g = NULL;
    struct error err = {0};
    char tsv[400] = "X", station[96], line[48];
    for (int i = 0; i < 60; i++) strcat(tsv, "é");
    strcat(tsv, "\tk\tM1\n");
    if (!gazetteer_parse(&g, tsv, strlen(tsv), "x.tsv", &err)) {
        CHECK(false);
        return;
    }
    for (size_t room = 90; room <= sizeof station; room++) {
        place_find(g, tsv, strcspn(tsv, "\t"), station, room, line, sizeof line);
        CHECK(utf8_valid(station, strlen(station), NULL) && strlen(station) >= room - 2);
    }
    static char text[65536];
    memset(text, 'a', sizeof text);
    place_find(g, text, sizeof text, station, sizeof station, line, sizeof line);
    CHECK(station[0] == '\0' && line[0] == '\0');
    for (size_t i = 0; i < sizeof text; i += 2) memcpy(text + i, "a ", 2);
    place_find(g, text, sizeof text, station, sizeof station, line, sizeof line);
    CHECK(station[0] == '\0' && line[0] == '\0');
    gazetteer_close(g);
}

int main(void) {
    struct gazetteer *g;
    struct error err = {0};
    test_normalise();
    test_parse();
    test_long();
    if (!gazetteer_open(&g, "data/gazetteer.tsv", &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    test_table(g);
    gazetteer_close(g);
    return n_failed > 0;
}
