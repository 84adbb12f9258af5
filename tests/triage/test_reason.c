// The composed sentences: every class, source and flag gives a whole sentence, quoted from the
// text.
#include "core/utf8.h"
#include "triage/reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void compose(struct verdict *v, const struct message *m) {
    assert_true(reason_compose(v, m));
    const char *both[] = {v->why_for, v->why_against};
    for (int i = 0; i < 2; i++) {
        const char *s = both[i];
        size_t n = strlen(s);
        assert_true(utf8_valid(s, n, NULL));
        if (!(s[0] >= 'A' && s[0] <= 'Z') || s[n - 1] != '.') fail_msg("not a sentence: \"%s\"", s);
        if (strstr(s, "(null)") != NULL || strstr(s, "..") != NULL || strstr(s, ", ,") != NULL ||
            strstr(s, ", 0 %") != NULL)
            fail_msg("\"%s\"", s);
    }
}

static void test_all_labels(void **state) {
    (void)state;
    const char *text = "une dame, vient de s'évanouir";
    struct message m = {.id = "a", .text = text, .text_bytes = strlen(text), .channel = -1};
    for (int level = 0; level < N_LEVELS; level++)
        for (int c = 0; c < N_CLASSES; c++)
            for (int s = 0; s < N_SOURCES; s++)
                for (int f = -1; f < N_FLAGS; f++) {
                    struct verdict v = {.level = level, .class_i = c, .source = s};
                    for (int l = 0; l < N_LEVELS; l++) v.p_level[l] = l == level ? 0.6f : 0.1f;
                    if (f >= 0) v.flags[f] = true;
                    v.n_evidence = f % 3 == 0;
                    v.evidence[0] = (struct span){0, 8};
                    compose(&v, &m);
                    verdict_release(&v);
                }
}

static void test_wording(void **state) {
    (void)state;
    const char *text = "une dame, vient de s'évanouir";
    struct message m = {.id = "a", .text = text, .text_bytes = strlen(text), .channel = -1};
    struct verdict v = {.p_level = {0, 0.01f, 0.19f, 0.8f, 0}, .level = 3, .class_i = 2};
    v.n_evidence = 2;
    v.evidence[0] = (struct span){0, 8};
    v.evidence[1] = (struct span){10, (int64_t)strlen(text)};
    compose(&v, &m);
    assert_string_equal(v.why_for, "Vu par l'auteur, malaise, blessure ou trouble médical : « une "
                                   "dame », « vient de s'évanouir ».");
    assert_string_equal(v.why_against, "Aucun lieu reconnu, hésitation avec U2 (à traiter dans "
                                       "l'heure, 19 %).");
    verdict_release(&v);

    v.n_evidence = 0;
    strcpy(v.line, "M8"); // a place is known, no doubt is worth a word
    v.p_level[2] = 0.049f;
    v.flags[3] = v.flags[11] = true;
    compose(&v, &m);
    assert_string_equal(v.why_for, "Vu par l'auteur, malaise, blessure ou trouble médical.");
    assert_string_equal(v.why_against,
                        "Fait passé, situation dite réglée, autres niveaux à moins de 5 %.");
    verdict_release(&v);

    v.flags[3] = v.flags[11] = false;
    v.level = 0; // certain, below U2: no place is needed
    memset(v.p_level, 0, sizeof v.p_level);
    v.p_level[0] = 1;
    v.line[0] = '\0';
    compose(&v, &m);
    assert_string_equal(v.why_against, "Autres niveaux à moins de 5 %.");
    verdict_release(&v);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_labels),
        cmocka_unit_test(test_wording),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
