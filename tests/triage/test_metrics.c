// Scores against values computed by hand.
#include "triage/metrics.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NEAR(got, want)                                                                            \
    do {                                                                                           \
        double g_ = (got), w_ = (want);                                                            \
        if (!(fabs(g_ - w_) <= 1e-6))                                                              \
            fail_msg("%s:%d: %s: got %.9g, want %.9g", __FILE__, __LINE__, #got, g_, w_);          \
    } while (0)

static struct metrics compute(const struct label_record *r, const struct prediction *p, int64_t n) {
    struct metrics m;
    struct error err = {0};
    if (!metrics_compute(&m, r, p, n, &err)) fail_msg("%s", err.text);
    return m;
}

static void set_level(struct prediction *p, int level) {
    *p = (struct prediction){.present = true, .level = level, .class_i = -1, .source = -1};
}

// Labels    0 0 1 2 2 3 3 4
// predicted 0 1 1 2 3 3 4 -
static void test_confusion(void **state) {
    (void)state;
    static const int labels[8] = {0, 0, 1, 2, 2, 3, 3, 4}, said[8] = {0, 1, 1, 2, 3, 3, 4, -1};
    struct label_record r[8] = {0};
    struct prediction p[8] = {0};
    char ids[8][4];
    for (int i = 0; i < 8; i++) {
        ids[i][0] = (char)('a' + i);
        ids[i][1] = '\0';
        r[i].id = ids[i];
        r[i].level = labels[i];
        r[i].class_i = i < 4 ? 0 : 1;
        set_level(&p[i], said[i]);
        p[i].class_i =
            i < 6 ? 0 : 1;   // class 0: tp 4 of 6 said; class 1: tp 2 of 2 said, 4 labelled
        p[i].source = i % 2; // labelled 0: half right
    }
    p[7].present = false;
    struct metrics m = compute(r, p, 8);
    assert_int_equal(m.n, 8);
    assert_int_equal(m.n_missing, 1);
    for (int i = 0; i < 7; i++) assert_true(m.confusion[labels[i]][said[i]] > 0);
    assert_int_equal(m.confusion[4][N_LEVELS], 1);
    NEAR(m.accuracy, 4.0 / 8);
    NEAR(m.levels[0].precision, 1);
    NEAR(m.levels[0].recall, 0.5);
    NEAR(m.levels[0].f1, 2.0 / 3);
    NEAR(m.levels[3].f1, 0.5);
    NEAR(m.levels[4].f1, 0);
    // groups: {0,1} 3 of 3; {2} tp 1, said 1, labelled 2; {3,4} tp 2, said 3, labelled 3
    NEAR(m.groups[0].f1, 1);
    NEAR(m.groups[1].f1, 2.0 / 3);
    NEAR(m.urgent.precision, 2.0 / 3);
    NEAR(m.urgent.recall, 2.0 / 3);
    NEAR(m.macro_f1_3, (1 + 2.0 / 3 + 2.0 / 3) / 3);
    // kappa over the 7 present: rows 2 1 2 2 0, columns 1 2 1 2 1; observed 3;
    // expected = sum rows columns (a-b)^2 / 7: 2*(2+4+18+16) + 1*(1+1+8+9) + 2*(4+2+2+4) +
    // 2*(9+8+1+1)
    NEAR(m.kappa, 1 - 3.0 / ((80.0 + 19 + 24 + 38) / 7));
    NEAR(m.class_accuracy, 5.0 / 8); // of class_i: 4 of 0 and 1 of 1 (the last has no verdict)
    NEAR(m.classes[0].precision, 4.0 / 6);
    NEAR(m.classes[0].f1, 0.8);
    NEAR(m.classes[1].recall, 0.25);
    NEAR(m.source_accuracy, 4.0 / 8);
    NEAR(m.ece, -1); // no probabilities
    NEAR(m.nll, -1);
    NEAR(m.auc_urgent, -1);
    NEAR(m.recall_at_fpr[0], -1);
}

static void test_pairs(void **state) {
    (void)state;
    struct label_record r[7] = {
        {.id = "c", .twin = "a", .level = 3}, // a-c: mutual, both right
        {.id = "b", .twin = "d", .level = 1}, // b-d: mutual, d wrong
        {.id = "a", .twin = "c", .level = 0},
        {.id = "d", .twin = "b", .level = 4},
        {.id = "e", .twin = "f", .level = 2}, // f does not name it back: counts once, right
        {.id = "f", .level = 2},
        {.id = "g", .twin = "zz", .level = 2}, // the twin is not in the data
    };
    struct prediction p[7];
    for (int i = 0; i < 7; i++) set_level(&p[i], r[i].level);
    p[3].level = 3;
    struct metrics m = compute(r, p, 7);
    assert_int_equal(m.n_pairs, 3);
    assert_int_equal(m.n_pairs_right, 2);
    p[0].present = false; // a missing verdict is not right
    m = compute(r, p, 7);
    assert_int_equal(m.n_pairs_right, 1);
}

// P(U3) + P(U4) of 3 urgent: .9 .5 .1; of 3 others: .5 .1 .05. Pairs won: .9 beats 3; .5 beats 2
// and ties 1; .1 beats 1 and ties 1: (3 + 2.5 + 1.5) / 9.
static void test_ranking(void **state) {
    (void)state;
    static const float urgent_p[6] = {0.1f, 0.5f, 0.9f, 0.05f, 0.1f, 0.5f};
    struct label_record r[6] = {0};
    struct prediction p[6];
    for (int i = 0; i < 6; i++) {
        r[i].id = "x";
        r[i].level = i < 3 ? 3 + i % 2 : i % 3;
        set_level(&p[i], urgent_p[i] >= 0.5f ? 3 : 0);
        p[i].p_level[0] = 1 - urgent_p[i];
        p[i].p_level[3] = urgent_p[i];
    }
    struct metrics m = compute(r, p, 6);
    NEAR(m.auc_urgent, 7.0 / 9);
    NEAR(m.recall_at_fpr[0], 1.0 / 3); // before any false alarm: .9 only
    NEAR(m.recall_at_fpr[1], 1.0 / 3);
    for (int i = 0; i < 6; i++) p[i].p_level[3] = 0.5f, p[i].p_level[0] = 0.5f;
    m = compute(r, p, 6);
    NEAR(m.auc_urgent, 0.5); // all tied
    for (int i = 0; i < 6; i++) r[i].level = 0;
    m = compute(r, p, 6);
    NEAR(m.auc_urgent, -1); // nothing to rank
}

// Two messages at 0.8 (one right), two at 0.6 (both right): |1.6 - 1| / 4 + |1.2 - 2| / 4 = 0.35.
static void test_calibration(void **state) {
    (void)state;
    struct label_record r[5] = {0};
    struct prediction p[5];
    for (int i = 0; i < 5; i++) {
        float top = i < 2 ? 0.8f : 0.6f;
        r[i].id = "x";
        r[i].level = i == 0 ? 1 : 2;
        set_level(&p[i], 2);
        p[i].p_level[2] = top;
        p[i].p_level[1] = 1 - top;
    }
    struct metrics m = compute(r, p, 4);
    NEAR(m.ece, 0.35);
    NEAR(m.nll, -(log(0.2) + log(0.8) + 2 * log(0.6)) / 4);
    p[4].level = -1; // probabilities without a level: no verdict, and nothing read out of bounds
    m = compute(r, p, 5);
    NEAR(m.ece, 0.35);
    assert_int_equal(m.n_missing, 1);
    p[0].p_level[2] = 1; // certain: the last bin
    p[0].p_level[1] = 0;
    m = compute(r, p, 1);
    NEAR(m.ece, 1);
    NEAR(m.nll, -log(1e-6));
}

static void test_places(void **state) {
    (void)state;
    struct label_record r[4] = {{.id = "a", .station = "Bercy", .line = "M6"},
                                {.id = "b", .station = "Bercy"},
                                {.id = "c"},
                                {.id = "d", .line = "M1"}};
    struct prediction p[4];
    for (int i = 0; i < 4; i++) set_level(&p[i], 0);
    p[0].has_station = p[0].station_right = true; // line missed
    p[1].has_station = true;                      // wrong one
    p[2].has_station = p[2].has_line = true;      // invented
    p[3].has_line = p[3].line_right = true;
    p[3].station_right = true; // both empty
    p[0].n_spans = 2;
    p[0].n_verbatim = 1;
    struct metrics m = compute(r, p, 4);
    assert_int_equal(m.n_station, 2);
    assert_int_equal(m.n_station_right, 1);
    assert_int_equal(m.n_station_invented, 1);
    assert_int_equal(m.n_line, 2);
    assert_int_equal(m.n_line_right, 1);
    assert_int_equal(m.n_line_invented, 1);
    assert_true(m.n_spans == 2 && m.n_verbatim == 1);
    m = compute(r, p, 0); // nothing at all
    NEAR(m.accuracy, 0);
    NEAR(m.kappa, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_confusion), cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_ranking),   cmocka_unit_test(test_calibration),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
