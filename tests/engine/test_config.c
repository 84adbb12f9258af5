// tests/engine/test_config.c - config.json read, refused, written again; rotary tables against
// transformers.
#include "../core/check.h"
#include "core/file.h"
#include "engine/config.h"
#include "engine/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool parse(struct model_config *c, const char *text, struct error *err) {
    return model_config_parse(c, text, strlen(text), "config.json", err);
}

// Sizes that pass, then `rest` (its keys must not repeat these).
static bool parse_with(struct model_config *c, const char *type, const char *rest,
                       struct error *err) {
    char text[2048];
    snprintf(text, sizeof text,
             "{\"model_type\":\"%s\",\"vocab_size\":100,\"hidden_size\":64,\"num_hidden_layers\":2,"
             "\"num_attention_heads\":4,\"intermediate_size\":96%s%s}",
             type, rest[0] != '\0' ? "," : "", rest);
    return parse(c, text, err);
}

static void test_folders(void) {
    static const struct {
        const char *folder;
        enum model_family family;
        int64_t L, H_kv, D;
        bool tied, qkv_bias, o_bias, mlp_bias, qk_norm;
        enum rope_scaling scaling;
    } cases[] = {
        {"llama", FAMILY_LLAMA, 2, 2, 16, false, false, false, false, false, ROPE_LLAMA3},
        {"llama_bias", FAMILY_LLAMA, 2, 1, 16, true, true, true, true, false, ROPE_NONE},
        {"qwen2", FAMILY_QWEN2, 2, 2, 16, false, true, false, false, false, ROPE_NONE},
        {"qwen3", FAMILY_QWEN3, 3, 2, 24, true, false, false, false, true, ROPE_NONE},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        struct model_config c;
        struct tensor_set *set;
        char path[256];
        snprintf(path, sizeof path, "tests/engine/ref/model/%s", cases[i].folder);
        if (!model_config_read(&c, path, &err) || !tensor_set_open(&set, path, &err)) {
            CHECK(false, "%s", err.text);
            continue;
        }
        CHECK(c.family == cases[i].family && c.V == 288 && c.C == 64 && c.L == cases[i].L &&
                  c.H == 4 && c.H_kv == cases[i].H_kv && c.D == cases[i].D && c.F == 88 &&
                  c.T_max == 512,
              "%s: sizes", path);
        CHECK(c.tied_head == cases[i].tied && c.qkv_bias == cases[i].qkv_bias &&
                  c.o_bias == cases[i].o_bias && c.mlp_bias == cases[i].mlp_bias &&
                  c.qk_norm == cases[i].qk_norm,
              "%s: switches", path);
        CHECK(c.rope_scaling == cases[i].scaling && c.rope_theta == 10000, "%s: rope %d %g", path,
              (int)c.rope_scaling, c.rope_theta);
        CHECK(c.bos == 256 && c.n_eos == 1 && c.eos[0] == 257 && c.pad == -1, "%s: special tokens",
              path);
        int64_t count = 0;
        for (int64_t k = 0; k < tensor_set_count(set); k++) count += tensor_set_at(set, k)->count;
        CHECK(model_config_parameters(&c) == count, "%s: %lld parameters, the file has %lld", path,
              (long long)model_config_parameters(&c), (long long)count);
        tensor_set_close(set);
    }
}

static void test_refused(void) {
    static const struct {
        const char *type, *rest, *says;
    } cases[] = {
        {"gpt2", "", "model_type \"gpt2\""},
        {"llama", "\"hidden_act\":\"gelu\"", "gelu"},
        {"llama", "\"num_key_value_heads\":3", "multiple of 3"},
        {"llama", "\"num_key_value_heads\":0", "num_key_value_heads is 0"},
        {"llama", "\"num_key_value_heads\":8", "outside 1..4"},
        {"llama", "\"head_dim\":7", "odd"},
        {"llama", "\"head_dim\":0", "head_dim is 0"},
        {"llama", "\"head_dim\":\"16\"", "must be an integer, not string"},
        {"llama", "\"max_position_embeddings\":-1", "max_position_embeddings"},
        {"llama", "\"rms_norm_eps\":-1", "rms_norm_eps"},
        {"llama", "\"rope_theta\":0", "rope_theta"},
        {"llama", "\"rope_theta\":1e300", "rope_theta"},
        {"llama", "\"tie_word_embeddings\":1", "true or false"},
        {"llama", "\"rope_scaling\":{\"rope_type\":\"longrope\",\"factor\":2}", "longrope"},
        {"llama", "\"rope_scaling\":{\"type\":\"linear\"}", "factor 0"},
        {"llama", "\"rope_scaling\":{\"type\":\"linear\",\"factor\":0.5}", "factor 0.5"},
        {"llama", "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8}", "high_freq_factor"},
        {"llama", "\"rope_parameters\":{\"rope_type\":\"default\",\"partial_rotary_factor\":0.5}",
         "partial_rotary_factor"},
        {"llama", "\"rope_parameters\":{\"rope_type\":\"yarn\",\"factor\":4,\"truncate\":false}",
         "truncate"},
        {"llama", "\"eos_token_id\":100", "eos_token_id[0]"},
        {"llama", "\"eos_token_id\":[1,\"x\"]", "eos_token_id[1]"},
        {"llama", "\"eos_token_id\":-1", "eos_token_id[0]"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        struct model_config c;
        bool ok = parse_with(&c, cases[i].type, cases[i].rest, &err);
        printf("  %s\n", err.text);
        CHECK(!ok && strstr(err.text, cases[i].says) != NULL &&
                  strstr(err.text, "config.json") != NULL,
              "%s: \"%s\" does not say \"%s\"", cases[i].rest, err.text, cases[i].says);
    }
    static const char *const texts[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"model_type\":\"llama\"}",
        "{\"model_type\":7}",
        ("{\"model_type\":\"llama\",\"vocab_size\":9223372036854775807,"
         "\"hidden_size\":9223372036854775807,\"num_hidden_layers\":9223372036854775807,"
         "\"num_attention_heads\":1,\"intermediate_size\":1}"),
        ("{\"model_type\":\"llama\",\"vocab_size\":100,\"hidden_size\":64,\"num_hidden_layers\":2,"
         "\"num_attention_heads\":0,\"intermediate_size\":96}"),
    };
    for (int64_t i = 0; i < COUNT_OF(texts); i++) {
        struct error err = {0};
        struct model_config c;
        CHECK(!parse(&c, texts[i], &err) && err.text[0] != '\0', "accepted: %s", texts[i]);
        printf("  %s\n", err.text);
    }
}

static void test_defaults(void) {
    struct error err = {0};
    struct model_config c;
    CHECK(parse_with(&c, "llama", "", &err) && c.D == 16 && c.H_kv == 4 && c.T_max == 2048 &&
              !c.tied_head && c.rope_theta == 10000 && c.bos == -1 && c.n_eos == 0,
          "llama: %s", err.text);
    CHECK(parse_with(&c, "qwen3", "", &err) && c.D == 128 && c.T_max == 32768 && c.qk_norm &&
              !c.qkv_bias,
          "qwen3: %s", err.text);
    CHECK(parse_with(&c, "qwen2", "\"head_dim\":null,\"eos_token_id\":null", &err) && c.D == 16 &&
              c.qkv_bias && !c.o_bias,
          "qwen2: %s", err.text);
    CHECK(parse_with(&c, "qwen3", "\"attention_bias\":true", &err) && c.qkv_bias && c.o_bias,
          "attention_bias: %s", err.text);
    // A window of attention shorter than the context limits the context.
    CHECK(parse_with(&c, "mistral", "\"sliding_window\":64", &err) && c.T_max == 64, "window: %s",
          err.text);
    CHECK(parse_with(&c, "qwen2", "\"sliding_window\":64,\"use_sliding_window\":false", &err) &&
              c.T_max == 32768,
          "unused window: %s", err.text);
    CHECK(parse_with(&c, "llama", "\"eos_token_id\":[3,1,2]", &err) && c.n_eos == 3 &&
              c.eos[2] == 2,
          "eos: %s", err.text);
}

static bool same_file(const char *a, const char *b, const char *name) {
    struct error err = {0};
    char path[512], *x = NULL, *y = NULL;
    size_t n_x = 0, n_y = 1;
    snprintf(path, sizeof path, "%s/%s", a, name);
    bool ok = file_read(&x, &n_x, path, 0, &err);
    snprintf(path, sizeof path, "%s/%s", b, name);
    ok = ok && file_read(&y, &n_y, path, 0, &err) && n_x == n_y && memcmp(x, y, n_x) == 0;
    free(x);
    free(y);
    return ok;
}

static void test_written(void) {
    static const struct {
        const char *type, *rest;
    } cases[] = {
        {"llama", ""},
        {"llama", "\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true,\"bos_"
                  "token_id\":1,"
                  "\"pad_token_id\":0,\"eos_token_id\":[2,3]"},
        {"qwen2",
         "\"num_key_value_heads\":2,\"rms_norm_eps\":1e-5,\"rope_theta\":1e6,\"eos_token_id\":5"},
        {"qwen3", "\"head_dim\":24,\"attention_bias\":true"},
        {"llama", "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":32,\"low_freq_factor\":1,"
                  "\"high_freq_factor\":4,"
                  "\"original_max_position_embeddings\":512}"},
        {"qwen2", "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"original_max_position_"
                  "embeddings\":8192,"
                  "\"beta_fast\":16,\"attention_factor\":1.25}"},
        {"llama",
         "\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.5,\"rope_theta\":12345.5}"},
    };
    char a[] = "/tmp/sillon-config-XXXXXX", b[] = "/tmp/sillon-config-XXXXXX", path[64];
    if (mkdtemp(a) == NULL || mkdtemp(b) == NULL) exit(77);
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        struct model_config c, d;
        CHECK(parse_with(&c, cases[i].type, cases[i].rest, &err) &&
                  model_config_write(&c, a, &err) && model_config_read(&d, a, &err) &&
                  model_config_write(&d, b, &err),
              "case %lld: %s", (long long)i, err.text);
        CHECK(same_file(a, b, "config.json") && same_file(a, b, "generation_config.json"),
              "case %lld changes", (long long)i);
        CHECK(c.family == d.family && c.V == d.V && c.C == d.C && c.L == d.L && c.H == d.H &&
                  c.H_kv == d.H_kv && c.D == d.D && c.F == d.F && c.T_max == d.T_max &&
                  c.norm_eps == d.norm_eps && c.rope_theta == d.rope_theta &&
                  c.rope_scaling == d.rope_scaling && c.rope_factor == d.rope_factor &&
                  c.tied_head == d.tied_head && c.qkv_bias == d.qkv_bias && c.o_bias == d.o_bias &&
                  c.mlp_bias == d.mlp_bias && c.qk_norm == d.qk_norm && c.n_eos == d.n_eos &&
                  c.bos == d.bos && c.pad == d.pad &&
                  c.rope_attention_factor == d.rope_attention_factor,
              "case %lld differs", (long long)i);
    }
    // generation_config.json overrides where to stop.
    struct error err = {0};
    struct model_config c;
    static const char more[] = "{\"eos_token_id\":[7,8]}", bad[] = "{\"eos_token_id\":[7,800]}";
    snprintf(path, sizeof path, "%s/generation_config.json", a);
    CHECK(file_write_atomic(path, more, strlen(more), &err) && model_config_read(&c, a, &err) &&
              c.n_eos == 2 && c.eos[1] == 8,
          "generation_config: %s", err.text);
    CHECK(file_write_atomic(path, bad, strlen(bad), &err) && !model_config_read(&c, a, &err) &&
              strstr(err.text, "generation_config.json") != NULL,
          "bad generation_config: %s", err.text);
    const char *folders[] = {a, b};
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/config.json", folders[i]);
        unlink(path);
        snprintf(path, sizeof path, "%s/generation_config.json", folders[i]);
        unlink(path);
        rmdir(folders[i]);
    }
}

static void test_rope(void) {
    static const char *const names[] = {"default", "linear", "llama3", "yarn", "yarn_small"};
    struct error err = {0};
    struct tensor_set *set;
    if (!tensor_set_open(&set, "tests/engine/ref/model/rope.safetensors", &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    enum { T = 1024, HALF = 16 };
    float *cos_table = malloc(T * HALF * sizeof(float)),
          *sin_table = malloc(T * HALF * sizeof(float));
    const struct tensor *positions = tensor_set_find(set, "positions");
    for (int64_t i = 0; i < COUNT_OF(names); i++) {
        struct model_config c;
        const char *text = tensor_set_metadata(set, names[i]);
        char key[64];
        float want[2][7 * HALF];
        if (text == NULL || !parse(&c, text, &err)) {
            CHECK(false, "%s: %s", names[i], err.text);
            continue;
        }
        for (int k = 0; k < 2; k++) {
            snprintf(key, sizeof key, "%s.%s", names[i], k == 0 ? "cos" : "sin");
            CHECK(tensor_read_f32(want[k], tensor_set_find(set, key), &err), "%s", err.text);
        }
        rope_table(cos_table, sin_table, &c, T);
        float worst = 0;
        for (int64_t p = 0; p < 7; p++) {
            int32_t t;
            memcpy(&t, positions->data + 4 * p, sizeof t);
            // transformers' frequencies carry a few f32 roundings (2^-24 each), which the position
            // multiplies.
            float bound = 1e-6f + 8 * 0x1p-24f * (float)t;
            for (int64_t j = 0; j < HALF; j++) {
                float d = fmaxf(fabsf(cos_table[t * HALF + j] - want[0][p * HALF + j]),
                                fabsf(sin_table[t * HALF + j] - want[1][p * HALF + j]));
                CHECK(d <= bound, "%s: position %d pair %lld differs by %g, bound %g", names[i], t,
                      (long long)j, (double)d, (double)bound);
                worst = fmaxf(worst, d);
            }
        }
        printf("  rope %-10s max |cos, sin - transformers| %.3g up to position 1000\n", names[i],
               (double)worst);
    }
    free(cos_table);
    free(sin_table);
    tensor_set_close(set);
}

int main(void) {
    test_folders();
    test_refused();
    test_defaults();
    test_written();
    test_rope();
    return n_failed > 0;
}
