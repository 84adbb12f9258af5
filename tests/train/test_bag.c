// The bag-of-tokens phase: learns which token speaks for which label, the same bits twice, and
// refuses a recipe, data or model that do not fit together.
#include "core/hash.h"
#include "core/rng.h"
#include "train/bag.h"
#include "train/data.h"
#include "train/recipe.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { V = 40, C = 16, N_DOCS = 200, FIRST_PLAIN = 20 };
static char path[] = "/tmp/sillon-bag-XXXXXX";

// Documents "0 x x x 1 LABEL": label 4..7; three of four text tokens are 20 + label.
static void make_data(int64_t vocab) {
    struct data_writer *w;
    struct error err = {0};
    struct rng rng;
    char hex[HASH_HEX_BYTES];
    hash_sha256_hex(hex, "x", 1);
    rng_init(&rng, 3);
    if (!data_writer_open(&w, path, vocab, hex, &err)) fail_msg("%s", err.text);
    for (int d = 0; d < N_DOCS; d++) {
        int label = 4 + d % 4;
        int32_t tokens[7] = {0, 0, 0, 0, 0, 1, label};
        float weights[7] = {0, 0.25f, 0.25f, 0.25f, 0.25f, 0, 1};
        for (int i = 1; i <= 4; i++)
            tokens[i] =
                i < 4 ? FIRST_PLAIN + label : FIRST_PLAIN + 10 + (int32_t)rng_below(&rng, 8);
        struct data_doc doc = {tokens, weights, 7, 1.0f};
        if (!data_writer_append(w, &doc, &err)) fail_msg("%s", err.text);
    }
    if (!data_writer_close(w, &err)) fail_msg("%s", err.text);
}

static void make_recipe(struct recipe *r, const char *more) {
    char text[1000];
    struct error err = {0};
    snprintf(
        text, sizeof text,
        "tokenizer: t.json\nout: o\nsteps: 1\nseed: 5\n"
        "model: {family: qwen3, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2}\n"
        "data:\n  train:\n    - path: %s\ntoken_dropout_first_id: 20\n%s",
        path, more);
    if (!recipe_parse(r, text, strlen(text), "recipe", &err)) fail_msg("%s", err.text);
}

#define BAG "bag: {epochs: 20, lr: 0.05, dropout: 0.1, token_dropout: 0.1, batch_docs: 16}\n"

static bool train(const char *more, float *w, const struct params *params, struct error *err) {
    struct recipe r;
    make_recipe(&r, more);
    params_randomise(params, w, 1, false);
    bool ok = bag_train(params, w, &r, NULL, err);
    recipe_release(&r);
    return ok;
}

static void init(struct params *params, bool tied) {
    struct model_config config;
    struct recipe r;
    struct error err = {0};
    make_recipe(&r, "");
    config = r.config;
    config.V = V;
    config.tied_head = tied;
    if (!params_init(params, &config, &err)) fail_msg("%s", err.text);
    recipe_release(&r);
}

static void test_learns(void **state) {
    (void)state;
    struct params params;
    struct error err = {0};
    make_data(V);
    init(&params, true);
    size_t bytes = (size_t)params.n_floats * sizeof(float);
    float *w = calloc(1, bytes), *again = calloc(1, bytes), *start = calloc(1, bytes);
    assert_true(w != NULL && again != NULL && start != NULL);
    params_randomise(&params, start, 1, false);
    if (!train(BAG "closed_groups: [4, 8]\n", w, &params, &err)) fail_msg("%s", err.text);
    if (!train(BAG "closed_groups: [4, 8]\n", again, &params, &err)) fail_msg("%s", err.text);
    assert_memory_equal(w, again, bytes);
    const float *e = w + params.embedding;
    for (int label = 4; label < 8; label++) { // the token's nearest label row is its own
        int best = 4;
        double best_score = -HUGE_VAL;
        for (int row = 4; row < 8; row++) {
            double score = 0;
            for (int i = 0; i < C; i++)
                score += (double)(e[row * C + i] * e[(FIRST_PLAIN + label) * C + i]);
            if (score > best_score) {
                best_score = score;
                best = row;
            }
        }
        assert_int_equal(best, label);
    }
    // Only rows that were seen move: special token 2 and everything but the embedding stay.
    const float *e_start = start + params.embedding;
    assert_memory_equal(e + 2 * C, e_start + 2 * C, C * sizeof(float));
    for (int64_t i = 0; i < params.n_floats; i++)
        if (i < params.embedding || i >= params.embedding + V * C)
            assert_true(memcmp(&w[i], &start[i], sizeof w[i]) == 0);
    free(w);
    free(again);
    free(start);
    params_release(&params);
}

static void test_refused(void **state) {
    (void)state;
    struct params tied, untied;
    init(&tied, true);
    init(&untied, false);
    float *w = calloc((size_t)(tied.n_floats + untied.n_floats), sizeof *w);
    assert_non_null(w);
    struct error err = {0};
    assert_false(train(BAG "closed_groups: [4, 8]\n", w, &untied, &err));
    assert_non_null(strstr(err.text, "tie_word_embeddings"));
    error_reset(&err);
    assert_false(train(BAG, w, &tied, &err));
    assert_non_null(strstr(err.text, "closed_groups"));
    error_reset(&err);
    assert_false(train(BAG "closed_groups: [4, 41]\n", w, &tied, &err)); // past the vocabulary
    assert_non_null(strstr(err.text, "41"));
    error_reset(&err);
    make_data(V + 1);
    assert_false(train(BAG "closed_groups: [4, 8]\n", w, &tied, &err)); // another tokenizer's data
    assert_non_null(strstr(err.text, "41"));
    error_reset(&err);
    unlink(path);
    assert_false(train(BAG "closed_groups: [4, 8]\n", w, &tied, &err));
    assert_non_null(strstr(err.text, path));
    free(w);
    params_release(&tied);
    params_release(&untied);
}

int main(void) {
    int fd = mkstemp(path);
    if (fd < 0) return 1;
    close(fd);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_learns),
                                       cmocka_unit_test(test_refused)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
