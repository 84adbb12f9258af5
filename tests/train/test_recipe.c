// Recipes: defaults, a table of refused ones with what the error must name, and the schedules.
#include "train/recipe.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BASE                                                                                       \
    "tokenizer: t.json\nout: o\nmodel: {hidden_size: 64}\ndata:\n  train:\n    - path: a.tok\n"

static void test_defaults(void **state) {
    (void)state;
    struct recipe r;
    struct error err = {0};
    const char *text = BASE "steps: 10\n";
    if (!recipe_parse(&r, text, strlen(text), "r.yaml", &err)) fail_msg("%s", err.text);
    assert_int_equal(r.config.family, FAMILY_QWEN3);
    assert_true(r.config.qk_norm && r.config.tied_head && !r.config.qkv_bias);
    assert_int_equal(r.config.C, 64);
    assert_int_equal(r.config.D, 16);
    assert_int_equal(r.config.F, 192);
    assert_int_equal(r.n_train, 1);
    assert_string_equal(r.train[0].path, "a.tok");
    assert_int_equal(r.batch_tokens, 4096);
    assert_true(r.schedule.lr == 1e-3 && r.schedule.kind == SCHEDULE_COSINE);
    assert_true(r.clip_norm == 1.0 && r.beta2 == 0.95 && r.watts_per_core == 15.0);
    recipe_release(&r);
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *text, *says[2];
    } cases[] = {
        {"", {"r.yaml", "r.yaml"}},
        {"- 1\n", {"r.yaml", "r.yaml"}},
        {"{", {"r.yaml", "r.yaml"}},
        {BASE, {"steps", "epochs"}},
        {BASE "steps: 10\nlrr: 1\n", {"lrr", "line: 7"}},
        {BASE "steps: ten\n", {"steps", "line"}},
        {BASE "steps: 0\n", {"line 7: steps: 0", "expected"}},
        {BASE "steps: 10\nlr: -1\n", {"line 8: lr: -1", "expected"}},
        {BASE "steps: 10\nlr: nan\n", {"line 8: lr: nan", "expected"}},
        {BASE "steps: 10\ndropout: 1\n", {"line 8: dropout: 1", "0 to 0.9"}},
        {BASE "steps: 10\nepochs: 2\n", {"epochs", "exclude"}},
        {BASE "steps: 10\nmicro_tokens: 9999\n", {"line 8: micro_tokens: 9999", "4096"}},
        {BASE "steps: 10\nschedule: linear\n", {"schedule", "line"}},
        {BASE "steps: 10\ninit_from: folder\n", {"model", "init_from"}},
        {"tokenizer: t.json\nout: o\nsteps: 1\ndata:\n  train:\n    - path: a.tok\n",
         {"model", "init_from"}},
        {"tokenizer: t.json\nout: o\nsteps: 1\nmodel: {}\ndata:\n  train: []\n",
         {"train", "r.yaml"}},
        {"out: o\nsteps: 1\nmodel: {}\ndata:\n  train:\n    - path: a.tok\n",
         {"tokenizer", "r.yaml"}},
        {"tokenizer: t\nout: o\nsteps: 1\nmodel:\n  num_attention_heads: 3\n  num_key_value_heads: "
         "2\ndata:\n  train:\n"
         "    - path: a.tok\n",
         {"line 4: model", "3 heads"}},
        {"tokenizer: t\nout: o\nsteps: 1\nmodel:\n  head_dim: 7\ndata:\n  train:\n    - path: "
         "a.tok\n",
         {"head_dim 7", "even"}},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct recipe r;
        struct error err = {0};
        if (recipe_parse(&r, cases[i].text, strlen(cases[i].text), "r.yaml", &err))
            fail_msg("case %d was accepted:\n%s", (int)i, cases[i].text);
        for (int k = 0; k < 2; k++)
            if (strstr(err.text, cases[i].says[k]) == NULL)
                fail_msg("case %d: \"%s\" does not say \"%s\"", (int)i, err.text, cases[i].says[k]);
        recipe_release(&r);
    }
}

static void near(double got, double want) {
    if (!(fabs(got - want) < 1e-12)) fail_msg("got %.12g, want %.12g", got, want);
}

static void test_schedules(void **state) {
    (void)state;
    struct schedule s = {SCHEDULE_COSINE, 1.0, 0.1, 10, 0.2};
    near(schedule_lr(&s, 0, 110), 0.1);
    near(schedule_lr(&s, 9, 110), 1.0);
    near(schedule_lr(&s, 10, 110), 1.0);
    near(schedule_lr(&s, 60, 110), 0.55);
    near(schedule_lr(&s, 110, 110), 0.1);
    near(schedule_lr(&s, 500, 110), 0.1);
    s.kind = SCHEDULE_WSD;
    near(schedule_lr(&s, 79, 100), 1.0);
    near(schedule_lr(&s, 89, 100), 0.55);
    near(schedule_lr(&s, 99, 100), 0.1);
    s.kind = SCHEDULE_CONSTANT;
    near(schedule_lr(&s, 99, 100), 1.0);
    s.warmup_steps = 0;
    near(schedule_lr(&s, 0, 100), 1.0);
    s.kind = SCHEDULE_COSINE; // warm-up longer than the run
    s.warmup_steps = 1000;
    near(schedule_lr(&s, 99, 100), 0.1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_schedules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
