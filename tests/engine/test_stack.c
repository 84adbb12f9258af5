// tests/engine/test_stack.c - several decoders as one: the same member twice gives its own logits,
// members of other widths fit side by side, and what cannot be stacked is refused by name.
#include "core/arena.h"
#include "core/file.h"
#include "core/rng.h"
#include "engine/safetensors.h"
#include "engine/session.h"
#include "engine/stack.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { V = 266, D = 8, L = 2, T = 12, PATH_BYTES = 512 };
static char root[] = "/tmp/sillon-stack-XXXXXX";

static void path_in(char out[PATH_BYTES], const char *name) {
    snprintf(out, PATH_BYTES, "%s/%s", root, name);
}

static void add(struct arena *arena, struct tensor_source *sources, int *n, struct rng *rng,
                const char *name, int64_t rows, int64_t columns) {
    int64_t count = rows * (columns > 0 ? columns : 1);
    float *x = arena_alloc_array(arena, (size_t)count, sizeof *x);
    assert_non_null(x);
    float scale = columns > 0 ? 1.0f / sqrtf((float)columns) : 0.1f;
    for (int64_t i = 0; i < count; i++)
        x[i] = (columns > 0 ? 0.0f : 1.0f) + scale * rng_normal(rng);
    sources[(*n)++] = (struct tensor_source){.name = arena_strndup(arena, name, strlen(name)),
                                             .dtype = TENSOR_F32,
                                             .n_dims = columns > 0 ? 2 : 1,
                                             .shape = {rows, columns},
                                             .data = x};
}

// A random tied Llama of H heads of D in folder root/name.
static void make_member(const char *name, int64_t H, int64_t n_layers, uint64_t seed,
                        bool qk_norm) {
    static const struct {
        const char *name;
        int rows, columns; // 0: C, 1: F, -1: a vector
    } layout[] = {
        {"input_layernorm", 0, -1}, {"self_attn.q_proj", 0, 0}, {"self_attn.k_proj", 0, 0},
        {"self_attn.v_proj", 0, 0}, {"self_attn.o_proj", 0, 0}, {"post_attention_layernorm", 0, -1},
        {"mlp.gate_proj", 1, 0},    {"mlp.up_proj", 1, 0},      {"mlp.down_proj", 0, 1}};
    struct model_config c = {.family = qk_norm ? FAMILY_QWEN3 : FAMILY_LLAMA,
                             .V = V,
                             .C = H * D,
                             .L = n_layers,
                             .H = H,
                             .H_kv = H,
                             .D = D,
                             .F = 2 * H * D,
                             .T_max = 64,
                             .norm_eps = 1e-6f,
                             .rope_theta = 10000,
                             .tied_head = true,
                             .qk_norm = qk_norm,
                             .init_std = 0.02f,
                             .bos = -1,
                             .pad = -1};
    struct arena arena;
    struct tensor_source sources[64];
    struct error err = {0};
    struct rng rng;
    char folder[PATH_BYTES], path[PATH_BYTES + 32], tensor[160];
    int n = 0;
    arena_init(&arena, 0);
    rng_init(&rng, seed);
    path_in(folder, name);
    add(&arena, sources, &n, &rng, "model.embed_tokens.weight", V, c.C);
    add(&arena, sources, &n, &rng, "model.norm.weight", c.C, 0);
    for (int64_t l = 0; l < n_layers; l++) {
        for (int64_t i = 0; i < COUNT_OF(layout); i++) {
            int64_t sizes[2] = {c.C, c.F};
            snprintf(tensor, sizeof tensor, "model.layers.%lld.%s.weight", (long long)l,
                     layout[i].name);
            add(&arena, sources, &n, &rng, tensor, sizes[layout[i].rows],
                layout[i].columns < 0 ? 0 : sizes[layout[i].columns]);
        }
        for (int i = 0; qk_norm && i < 2; i++) {
            snprintf(tensor, sizeof tensor, "model.layers.%lld.self_attn.%c_norm.weight",
                     (long long)l, "qk"[i]);
            add(&arena, sources, &n, &rng, tensor, D, 0);
        }
    }
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    if (!file_make_folders(folder, &err) || !model_config_write(&c, folder, &err) ||
        !tensor_file_write(path, sources, n, NULL, &err))
        fail_msg("%s", err.text);
    char *text;
    size_t n_bytes;
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    if (!file_read(&text, &n_bytes, "tests/engine/ref/model/llama/tokenizer.json", 0, &err) ||
        !file_write_atomic(path, text, n_bytes, &err))
        fail_msg("%s", err.text);
    free(text);
    arena_release(&arena);
}

static void logits_of(const char *name, float out[V], int64_t *C) {
    static const int32_t tokens[T] = {3, 50, 7, 7, 91, 12, 33, 64, 2, 80, 41, 5};
    struct model *model = NULL;
    struct session *session = NULL;
    struct pool *pool = NULL;
    struct error err = {0};
    char folder[PATH_BYTES];
    path_in(folder, name);
    if (!pool_open(&pool, 1, &err) ||
        !model_open(&model, folder, &(struct model_options){WEIGHT_F32}, &err) ||
        !session_open(&session, model, pool, &(struct session_options){1, 64, 64}, &err))
        fail_msg("%s", err.text);
    struct session_part part = {.slot = 0, .tokens = tokens, .n = T, .want_hidden = true};
    if (!session_forward(session, &part, 1, &err)) fail_msg("%s", err.text);
    session_logits(session, out, session_hidden(session, 0, T - 1));
    if (C != NULL) *C = model->config.C;
    session_close(session);
    model_close(model);
    pool_close(pool);
}

static bool stack(const char *out, const char *a, const char *b, struct error *err) {
    char paths[3][PATH_BYTES];
    path_in(paths[0], out);
    path_in(paths[1], a);
    path_in(paths[2], b);
    const char *const folders[] = {paths[1], paths[2]};
    return model_stack(paths[0], folders, 2, err);
}

static void test_same_twice(void **state) {
    (void)state;
    struct error err = {0};
    float alone[V], both[V];
    int64_t C;
    if (!stack("aa", "a", "a", &err)) fail_msg("%s", err.text);
    logits_of("a", alone, NULL);
    logits_of("aa", both, &C);
    assert_int_equal(C, 2 * 4 * D);
    for (int i = 0; i < V; i++) assert_true(fabsf(alone[i] - both[i]) < 1e-4f);
    if (!stack("nn", "normed", "normed", &err)) fail_msg("%s", err.text);
    logits_of("normed", alone, NULL);
    logits_of("nn", both, NULL);
    for (int i = 0; i < V; i++) assert_true(fabsf(alone[i] - both[i]) < 1e-4f);
}

// Two members of different widths: near the mean of their logits, nearer than to either (the common
// RMSNorm is the difference).
static void test_two_members(void **state) {
    (void)state;
    struct error err = {0};
    float a[V], b[V], both[V];
    int64_t C;
    double to_mean = 0, to_a = 0, to_b = 0;
    if (!stack("ab", "a", "b", &err)) fail_msg("%s", err.text);
    logits_of("a", a, NULL);
    logits_of("b", b, NULL);
    logits_of("ab", both, &C);
    assert_int_equal(C, (4 + 2) * D);
    for (int i = 0; i < V; i++) {
        to_mean += fabs((double)(both[i] - (a[i] + b[i]) / 2));
        to_a += fabs((double)(both[i] - a[i]));
        to_b += fabs((double)(both[i] - b[i]));
    }
    assert_true(to_mean < 0.5 * to_a && to_mean < 0.5 * to_b);
}

static void test_refused(void **state) {
    (void)state;
    struct error err = {0};
    assert_false(stack("x", "a", "deep", &err));
    assert_non_null(strstr(err.text, "layers"));
    error_reset(&err);
    assert_false(stack("x", "normed", "otherwise", &err));
    assert_non_null(strstr(err.text, "freeze_qk_norm"));
    error_reset(&err);
    assert_false(stack("x", "a", "absent", &err));
    assert_non_null(strstr(err.text, "absent"));
    error_reset(&err);
    assert_false(model_stack("x", NULL, 0, &err));
}

static int setup(void **state) {
    (void)state;
    if (mkdtemp(root) == NULL) return 1;
    make_member("a", 4, L, 1, false);
    make_member("b", 2, L, 2, false);
    make_member("deep", 4, L + 1, 3, false);
    make_member("normed", 4, L, 4, true);
    make_member("otherwise", 4, L, 5, true);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[PATH_BYTES];
    snprintf(command, sizeof command, "rm -rf %s", root);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_same_twice),
                                       cmocka_unit_test(test_two_members),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, setup, teardown);
}
