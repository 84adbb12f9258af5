// tests/engine/test_model.c - a folder that cannot be opened says why; one that can, gives what it
// holds. Each case starts from tests/engine/ref/model/llama_bias and spoils one thing.
#include "../core/check.h"
#include "core/buf.h"
#include "core/file.h"
#include "engine/model.h"
#include "engine/safetensors.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char good_folder[] = "tests/engine/ref/model/llama_bias";
static char folder[] = "/tmp/sillon-model-XXXXXX";

struct text {
    char *s;
    size_t n;
};

static struct text good_config, good_weights, good_tokenizer;

static struct text read_good(const char *name) {
    struct error err = {0};
    struct text t;
    char path[512];
    snprintf(path, sizeof path, "%s/%s", good_folder, name);
    if (file_read(&t.s, &t.n, path, 0, &err)) return t;
    printf("%s\n", err.text);
    exit(1);
}

static void put(const char *name, const void *data, size_t n) {
    struct error err = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (file_write_atomic(path, data, n, &err)) return;
    printf("%s\n", err.text);
    exit(1);
}

static void put_text(const char *name, const char *text) {
    put(name, text, strlen(text));
}

static void drop(const char *name) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void folder_reset(void) {
    DIR *dir = opendir(folder);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        if (e->d_name[0] != '.') drop(e->d_name);
    closedir(dir);
    put("config.json", good_config.s, good_config.n);
    put("model.safetensors", good_weights.s, good_weights.n);
    put("tokenizer.json", good_tokenizer.s, good_tokenizer.n);
}

// Writes config.json with the first `from` replaced.
static void edit_config(const char *from, const char *to) {
    struct buf b = {0};
    const char *at = strstr(good_config.s, from);
    if (at == NULL) {
        printf("config.json has no %s\n", from);
        exit(1);
    }
    buf_append(&b, good_config.s, (size_t)(at - good_config.s));
    buf_append_str(&b, to);
    buf_append_str(&b, at + strlen(from));
    put("config.json", b.data, b.n_bytes);
    buf_release(&b);
}

// Writes the tensors, of which `name` is changed by `change` (NULL: left out).
typedef void tensor_change(struct tensor_source *t);

static void edit_weights(const char *name, tensor_change *change, const char *file) {
    struct error err = {0};
    struct tensor_set *set;
    struct tensor_source sources[64];
    int64_t n = 0;
    char path[512];
    if (!tensor_set_open(&set, good_folder, &err)) exit(1);
    for (int64_t i = 0; i < tensor_set_count(set); i++) {
        const struct tensor *t = tensor_set_at(set, i);
        struct tensor_source s = {
            .name = t->name, .dtype = t->dtype, .n_dims = t->n_dims, .data = t->data};
        memcpy(s.shape, t->shape, sizeof s.shape);
        if (strcmp(t->name, name) == 0) {
            if (change == NULL) continue;
            change(&s);
        }
        sources[n++] = s;
    }
    snprintf(path, sizeof path, "%s/%s", folder, file);
    if (!tensor_file_write(path, sources, n, NULL, &err)) exit(1);
    tensor_set_close(set);
}

static void fewer_rows(struct tensor_source *t) {
    t->shape[0] -= 38;
}
static void transposed(struct tensor_source *t) {
    int64_t rows = t->shape[0];
    t->shape[0] = t->shape[1];
    t->shape[1] = rows;
}
static void flattened(struct tensor_source *t) {
    t->shape[0] *= t->shape[1];
    t->n_dims = 1;
}
static void as_integers(struct tensor_source *t) {
    t->dtype = TENSOR_I16;
}
static void renamed(struct tensor_source *t) {
    t->name = "extra.weight";
}

static void spoil_weights_end(size_t keep) {
    put("model.safetensors", good_weights.s, keep);
}
static void case_no_config(void) {
    drop("config.json");
}
static void case_config_text(void) {
    put_text("config.json", "model_type: llama\n");
}
static void case_config_folder(void) {
    edit_config("\"llama\"", "\"mamba\"");
}
static void case_no_weights(void) {
    drop("model.safetensors");
}
static void case_empty_weights(void) {
    spoil_weights_end(0);
}
static void case_truncated_header(void) {
    spoil_weights_end(100);
}
static void case_truncated_data(void) {
    spoil_weights_end(good_weights.n - 1);
}
static void case_huge_header(void) {
    char *copy = malloc(good_weights.n);
    memcpy(copy, good_weights.s, good_weights.n);
    memset(copy, 0x7f, 8);
    put("model.safetensors", copy, good_weights.n);
    free(copy);
}
static void case_wrong_shape(void) {
    edit_weights("model.embed_tokens.weight", fewer_rows, "model.safetensors");
}
static void case_transposed(void) {
    edit_weights("model.layers.1.mlp.down_proj.weight", transposed, "model.safetensors");
}
static void case_flat(void) {
    edit_weights("model.layers.0.self_attn.q_proj.weight", flattened, "model.safetensors");
}
static void case_dtype(void) {
    edit_weights("model.norm.weight", as_integers, "model.safetensors");
}
static void case_missing(void) {
    edit_weights("model.layers.1.self_attn.o_proj.weight", NULL, "model.safetensors");
}
static void case_no_bias(void) {
    edit_weights("model.layers.1.mlp.up_proj.bias", NULL, "model.safetensors");
}
static void case_renamed(void) {
    edit_weights("model.layers.0.input_layernorm.weight", renamed, "model.safetensors");
}
static void case_more_layers(void) {
    edit_config("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
}
static void case_huge_config(void) {
    edit_config("\"vocab_size\": 288", "\"vocab_size\": 16000000");
}
static void case_huge_mlp(void) {
    edit_config("\"intermediate_size\": 88", "\"intermediate_size\": 1000000");
}
static void case_no_tokenizer(void) {
    drop("tokenizer.json");
}
static void case_bad_tokenizer(void) {
    put_text("tokenizer.json", "{\"model\":{\"type\":\"Telepathy\"}}");
}
static void case_large_tokenizer(void) {
    // No special tokens in it: they would be refused before the tokenizer is read.
    put_text(
        "config.json",
        "{\"model_type\":\"llama\",\"vocab_size\":250,\"hidden_size\":64,\"num_hidden_layers\":2,"
        "\"num_attention_heads\":4,\"num_key_value_heads\":1,\"intermediate_size\":88,"
        "\"attention_bias\":true,\"mlp_bias\":true,\"tie_word_embeddings\":true}");
    edit_weights("model.embed_tokens.weight", fewer_rows, "model.safetensors");
}
static void put_index(const char *text) {
    drop("model.safetensors");
    put_text("model.safetensors.index.json", text);
}
static void case_index_empty(void) {
    put_index("{\"weight_map\":{}}");
}
static void case_index_no_map(void) {
    put_index("{\"metadata\":{}}");
}
static void case_index_text(void) {
    put_index("weights");
}
static void case_index_absent(void) {
    put_index("{\"weight_map\":{\"a\":\"model-1.safetensors\"}}");
}
static void case_index_escape(void) {
    put_index("{\"weight_map\":{\"a\":\"../secret.safetensors\"}}");
}
static void case_index_hidden(void) {
    put_index("{\"weight_map\":{\"a\":\"..\"}}");
}
static void case_index_number(void) {
    put_index("{\"weight_map\":{\"a\":7}}");
}
static void case_index_twice(void) {
    put_index("{\"weight_map\":{\"a\":\"m1.safetensors\",\"b\":\"m2.safetensors\"}}");
    put("m1.safetensors", good_weights.s, good_weights.n);
    put("m2.safetensors", good_weights.s, good_weights.n);
}
static void case_bad_generation(void) {
    put_text("generation_config.json", "{\"eos_token_id\":\"</s>\"}");
}

static void test_bad_folders(void) {
    static const struct {
        const char *what;
        void (*spoil)(void);
        const char *says;
    } cases[] = {
        {"no config.json", case_no_config, "no config.json in this folder"},
        {"config.json is not JSON", case_config_text, "config.json: not JSON"},
        {"another family", case_config_folder, "\"mamba\""},
        {"no weights", case_no_weights, "no model.safetensors nor model.safetensors.index.json"},
        {"empty weights", case_empty_weights, "0 bytes, too short"},
        {"truncated header", case_truncated_header, "truncated file?"},
        {"truncated data", case_truncated_data, "truncated file?"},
        {"huge header", case_huge_header, "the limit is"},
        {"too few rows", case_wrong_shape,
         "\"model.embed_tokens.weight\" is [250, 64], config.json says [288, 64]"},
        {"transposed", case_transposed, "is [88, 64], config.json says [64, 88]"},
        {"one dimension", case_flat, "is [4096], config.json says [64, 64]"},
        {"integers", case_dtype, "I16 where floating-point"},
        {"a tensor is missing", case_missing,
         "\"model.layers.1.self_attn.o_proj.weight\" is missing"},
        {"a bias is missing", case_no_bias, "\"model.layers.1.mlp.up_proj.bias\" is missing"},
        {"another name", case_renamed, "\"model.layers.0.input_layernorm.weight\" is missing"},
        {"more layers than weights", case_more_layers, "model.layers.2."},
        {"huge vocabulary", case_huge_config, "config.json says [16000000, 64]"},
        {"huge mlp", case_huge_mlp, "config.json says [1000000, 64]"},
        {"no tokenizer", case_no_tokenizer, "tokenizer.json"},
        {"unknown tokenizer", case_bad_tokenizer, "Telepathy"},
        {"tokenizer larger than the model", case_large_tokenizer,
         "tokens, the model only 250 rows"},
        {"empty index", case_index_empty, "is missing"},
        {"index without a map", case_index_no_map, "\"weight_map\" is missing"},
        {"index is not JSON", case_index_text, "not JSON"},
        {"a shard is absent", case_index_absent, "model-1.safetensors: No such file"},
        {"a shard outside the folder", case_index_escape, "not a file name of this folder"},
        {"a shard is the folder above", case_index_hidden, "not a file name of this folder"},
        {"a shard is a number", case_index_number, "not a file name of this folder"},
        {"a tensor in two shards", case_index_twice, "is in two shards"},
        {"bad generation_config.json", case_bad_generation,
         "generation_config.json: eos_token_id[0]"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        struct model *m;
        folder_reset();
        cases[i].spoil();
        bool ok = model_open(&m, folder, NULL, &err);
        printf("  %-32s %s\n", cases[i].what, err.text);
        CHECK(!ok && m == NULL && strstr(err.text, cases[i].says) != NULL &&
                  strstr(err.text, folder) != NULL,
              "%s: \"%s\" does not say \"%s\"", cases[i].what, err.text, cases[i].says);
        if (ok) model_close(m);
    }
    struct error err = {0};
    struct model *m;
    char path[512];
    folder_reset();
    snprintf(path, sizeof path, "%s/config.json", folder);
    CHECK(!model_open(&m, path, NULL, &err) &&
              strstr(err.text, "is a file; a model folder") != NULL,
          "%s", err.text);
    printf("  %s\n", err.text);
    error_reset(&err);
    snprintf(path, sizeof path, "%s/absent", folder);
    CHECK(!model_open(&m, path, NULL, &err) && err.code == ERR_NOTFOUND, "%s", err.text);
    printf("  %s\n", err.text);
    error_reset(&err);
    CHECK(!model_open(&m, "", NULL, &err) && err.text[0] != '\0', "an empty path");
}

static void test_good_folder(void) {
    struct error err = {0};
    struct model *m, *bf16;
    folder_reset();
    if (!model_open(&m, folder, NULL, &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    CHECK(strcmp(m->name, strrchr(folder, '/') + 1) == 0, "name %s", m->name);
    CHECK(strlen(m->sha256) == 64 && m->weight_bytes > 300000, "sha256 %s, %lld bytes", m->sha256,
          (long long)m->weight_bytes);
    CHECK(m->layers[1].down_bias != NULL && m->layers[1].q_norm == NULL &&
              tokenizer_vocab(m->tokenizer) == 266,
          "%lld", (long long)tokenizer_vocab(m->tokenizer));
    char with_slashes[128];
    snprintf(with_slashes, sizeof with_slashes, "%s//", folder);
    put_text("sillon.json", "{\"name\":\"Vigie\"}");
    if (model_open(&bf16, with_slashes, &(struct model_options){WEIGHT_BF16}, &err)) {
        CHECK(strcmp(bf16->name, "Vigie") == 0, "name %s", bf16->name);
        CHECK(bf16->weight_bytes < m->weight_bytes, "bf16 holds %lld bytes, f32 %lld",
              (long long)bf16->weight_bytes, (long long)m->weight_bytes);
        CHECK(strcmp(bf16->sha256, m->sha256) == 0, "the hash depends on the options");
        model_close(bf16);
    } else {
        CHECK(false, "%s", err.text);
    }
    model_close(m);
    // Untied by its config but without a head of its own: the file decides.
    edit_config("\"tie_word_embeddings\": true", "\"tie_word_embeddings\": false");
    if (model_open(&m, folder, NULL, &err)) model_close(m);
    else CHECK(false, "%s", err.text);
    model_close(NULL);
}

int main(void) {
    if (mkdtemp(folder) == NULL) {
        printf("no temporary folder: skipped\n");
        return 77;
    }
    good_config = read_good("config.json");
    good_weights = read_good("model.safetensors");
    good_tokenizer = read_good("tokenizer.json");
    test_good_folder();
    test_bad_folders();
    folder_reset();
    drop("config.json");
    drop("model.safetensors");
    drop("tokenizer.json");
    rmdir(folder);
    free(good_config.s);
    free(good_weights.s);
    free(good_tokenizer.s);
    return n_failed > 0;
}
