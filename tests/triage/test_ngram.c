// The n-gram classifier: learns a separable toy, gives the same bits twice, bears odd texts.
#include "triage/ngram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { N = 60 };
static const char *const words[N_LEVELS] = {"publicité", "retard", "valise", "malaise", "couteau"};

static int best(const float *d) {
    int b = 0;
    for (int i = 1; i < N_LEVELS; i++)
        if (d[i] > d[b]) b = i;
    return b;
}

static struct ngram *train(void) {
    static char texts[N][64];
    const char *pointers[N];
    int levels[N];
    for (int i = 0; i < N; i++) {
        levels[i] = i % N_LEVELS;
        snprintf(texts[i], sizeof texts[i], "message %d : %s sur le quai", i * 37 % 101,
                 words[levels[i]]);
        pointers[i] = texts[i];
    }
    struct ngram *g;
    struct error err = {0};
    if (!ngram_train(&g, pointers, levels, N, 0.3, &err)) fail_msg("%s", err.text);
    return g;
}

static void decide(const struct ngram *g, const char *text, float *d) {
    struct error err = {0};
    if (!ngram_decide(g, text, d, &err)) fail_msg("%s", err.text);
}

static void test_separable(void **state) {
    (void)state;
    struct ngram *g = train(), *again = train();
    for (int l = 0; l < N_LEVELS; l++) {
        char text[64];
        float d[N_LEVELS], d_again[N_LEVELS];
        snprintf(text, sizeof text, "Un  %s\ten gare", words[l]);
        decide(g, text, d);
        decide(again, text, d_again);
        if (best(d) != l) fail_msg("\"%s\": got U%d, want U%d", text, best(d), l);
        assert_true(d[l] > 0);
        assert_memory_equal(d, d_again, sizeof d);
    }
    // Upper case and white space change nothing.
    float a[N_LEVELS], b[N_LEVELS];
    decide(g, "un malaise sur le quai", a);
    decide(g, "UN MALAISE\nSUR  LE QUAI", b);
    assert_memory_equal(a, b, sizeof a);
    ngram_close(g);
    ngram_close(again);
}

static void test_odd(void **state) {
    (void)state;
    struct ngram *g = train();
    float d[N_LEVELS], bias[N_LEVELS];
    decide(g, "", bias); // the biases
    decide(g, "é", d);
    assert_memory_equal(d, bias, sizeof d);
    decide(g, "\xff\xfe\x80", d);
    char *big = malloc(70000);
    assert_non_null(big);
    memset(big, 'e', 69999);
    big[69999] = '\0';
    decide(g, big, d);
    for (int i = 0; i < N_LEVELS; i++) assert_true(d[i] == d[i]);
    free(big);
    ngram_close(g);
    ngram_close(NULL);
}

static void test_refused(void **state) {
    (void)state;
    const char *texts[] = {"a"};
    int levels[] = {0};
    struct ngram *g = (struct ngram *)texts;
    struct error err = {0};
    assert_false(ngram_train(&g, texts, levels, 0, 0.3, &err));
    assert_true(g == NULL && err.code == ERR_USAGE);
    error_reset(&err);
    assert_false(ngram_train(&g, texts, levels, 1, 0, &err));
    error_reset(&err);
    if (!ngram_train(&g, texts, levels, 1, 1, &err))
        fail_msg("%s", err.text); // one text, no n-gram
    ngram_close(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_separable),
        cmocka_unit_test(test_odd),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
