// What the rows of an embedding share: which n-grams a token has, one step against the same step
// worked out by hand, and the same bits whatever the number of threads.
#include "engine/tokenizer.h"
#include "train/subword.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { C = 4, FIRST = 1 };
static char path[] = "/tmp/sillon-subword-XXXXXX";

static struct tokenizer *open_tokenizer(void) {
    const char *const specials[] = {"<|end|>", NULL};
    const char *const texts[] = {
        "evanoui evanoui evanouie evanouie évanoui évanoui Évanoui Évanoui quai quai quai"};
    const size_t sizes[] = {strlen(texts[0])};
    struct tokenizer_training training = {.vocab = 300, .specials = specials, .min_frequency = 1};
    struct error err = {0};
    struct tokenizer *tokenizer = NULL;
    if (!tokenizer_train(path, &training, texts, sizes, 1, &err) ||
        !tokenizer_open(&tokenizer, path, &err))
        fail_msg("%s", err.text);
    return tokenizer;
}

static bool share(const struct subword *s, int32_t a, int32_t b) {
    for (int32_t i = s->token_begin[a]; i < s->token_begin[a + 1]; i++)
        for (int32_t j = s->token_begin[b]; j < s->token_begin[b + 1]; j++)
            if (s->token_gram[i] == s->token_gram[j]) return true;
    return false;
}

static void test_map(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer();
    struct arena arena;
    struct subword s;
    struct error err = {0};
    arena_init(&arena, 0);
    int64_t V = tokenizer_vocab(tokenizer);
    if (!subword_init(&s, &arena, tokenizer, V + 3, C, FIRST, &(struct subword_options){1, 3, 5},
                      &err))
        fail_msg("%s", err.text);
    int32_t plain = tokenizer_find(tokenizer, "Ġevanoui"),
            accent = tokenizer_find(tokenizer, "ĠÃ©vanoui"),
            quai = tokenizer_find(tokenizer, "Ġquai");
    assert_true(plain > 0 && accent > 0 && quai > 0);
    assert_true(share(&s, plain, accent)); // accents and case do not count
    assert_false(share(&s, plain, quai));
    assert_int_equal(s.token_begin[FIRST], 0); // the special token has none
    assert_int_equal(s.token_begin[V + 3], s.gram_begin[s.n_grams]);
    for (int64_t g = 0; g < s.n_grams; g++) // two tokens at least, and both directions agree
        assert_true(s.gram_begin[g + 1] - s.gram_begin[g] >= 2);
    for (int64_t t = 0; t < s.V; t++)
        for (int32_t i = s.token_begin[t]; i < s.token_begin[t + 1]; i++) {
            int32_t g = s.token_gram[i];
            bool back = false;
            for (int32_t k = s.gram_begin[g]; k < s.gram_begin[g + 1]; k++)
                back = back || s.gram_token[k] == t;
            assert_true(back);
        }
    arena_release(&arena);
    tokenizer_close(tokenizer);
}

static float *random_table(int64_t n, unsigned seed) {
    float *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    srand(seed);
    for (int64_t i = 0; i < n; i++) x[i] = (float)rand() / (float)RAND_MAX - 0.5f;
    return x;
}

static void test_step(void **state) {
    (void)state;
    struct tokenizer *tokenizer = open_tokenizer();
    struct arena arena;
    struct subword s[2];
    struct pool *pool;
    struct error err = {0};
    arena_init(&arena, 0);
    int64_t V = tokenizer_vocab(tokenizer), n = V * C;
    if (!pool_open(&pool, 3, &err)) fail_msg("%s", err.text);
    float *grad = random_table(n, 1), *e[2] = {random_table(n, 2), random_table(n, 2)},
          *start = random_table(n, 2);
    const struct subword_step step = {
        .t = 1, .lr = 0.1f, .b1 = 0.9f, .b2 = 0.99f, .eps = 1e-8f, .grad_scale = 0.5f};
    for (int i = 0; i < 2; i++) {
        if (!subword_init(&s[i], &arena, tokenizer, V, C, FIRST, &(struct subword_options){1, 2, 4},
                          &err))
            fail_msg("%s", err.text);
        subword_apply(&s[i], i == 0 ? NULL : pool, e[i], grad, &step);
    }
    assert_memory_equal(e[0], e[1], (size_t)n * sizeof(float));
    // The first Adam step of an element is lr * sign(gradient): G's gradient is the mean-weighted
    // sum over its tokens.
    for (int64_t t = 0; t < V; t++) {
        int32_t n_t = s[0].token_begin[t + 1] - s[0].token_begin[t];
        for (int c = 0; c < C; c++) {
            double want = (double)start[t * C + c];
            for (int32_t i = s[0].token_begin[t]; i < s[0].token_begin[t + 1]; i++) {
                int32_t g = s[0].token_gram[i];
                double sum = 0;
                for (int32_t k = s[0].gram_begin[g]; k < s[0].gram_begin[g + 1]; k++) {
                    int32_t other = s[0].gram_token[k];
                    sum += (double)grad[other * C + c] /
                           (s[0].token_begin[other + 1] - s[0].token_begin[other]);
                }
                want -= 0.1 * (sum > 0 ? 1 : -1) / n_t;
            }
            assert_true(fabs((double)e[0][t * C + c] - want) < 1e-4);
        }
    }
    subword_reset(&s[0]);
    for (int64_t i = 0; i < s[0].n_grams * C; i++)
        assert_true(s[0].m[i] == 0.0f && s[0].v[i] == 0.0f);
    for (int i = 0; i < 2; i++) free(e[i]);
    free(grad);
    free(start);
    pool_close(pool);
    arena_release(&arena);
    tokenizer_close(tokenizer);
}

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_map), cmocka_unit_test(test_step)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
