// module: engine
// fuzz/fuzz_gguf.c - any bytes as a GGUF file: refused with a sentence, or tensors and values
// inside the file, whose config, tokenizer and chat template are read or refused in turn.
#include "engine/gguf.h"
#include "engine/gguf_model.h"
#include "engine/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_say(bool ok, const struct error *err) {
    if (!ok && (err->code == ERR_NONE || err->text[0] == '\0')) abort();
}

static void inside(const uint8_t *data, size_t size, const uint8_t *p, size_t n) {
    if (p < data || n > size || (size_t)(p - data) > size - n) abort();
}

static void read_values(const struct gguf *g, const uint8_t *data, size_t size) {
    for (int64_t i = 0; i < gguf_value_count(g); i++) {
        const struct gguf_value *v = gguf_value_at(g, i), *array;
        struct error err = {0};
        int64_t i64, n = 0;
        double f64;
        bool flag;
        const char *s = NULL;
        size_t n_bytes = 0, cursor = 0;
        inside(data, size, v->data, v->n_bytes);
        if (gguf_find(g, v->key) != v) abort();
        must_say(gguf_get_i64(g, v->key, true, &i64, &err), &err);
        error_reset(&err);
        must_say(gguf_get_f64(g, v->key, true, &f64, &err), &err);
        error_reset(&err);
        must_say(gguf_get_bool(g, v->key, true, &flag, &err), &err);
        error_reset(&err);
        bool is_string = gguf_get_string(g, v->key, true, &s, &n_bytes, &err);
        must_say(is_string, &err);
        if (is_string) inside(data, size, (const uint8_t *)s, n_bytes);
        error_reset(&err);
        if (v->kind != GGUF_ARRAY) continue;
        if (!gguf_get_array(g, v->key, v->element, true, &array, &err)) abort();
        while (v->element == GGUF_STRING && gguf_array_string(array, &cursor, &s, &n_bytes)) {
            inside(data, size, (const uint8_t *)s, n_bytes);
            n++;
        }
        if (v->element == GGUF_STRING && n != v->n) abort();
        if (v->element == GGUF_I32 && v->n > 0) (void)gguf_array_i64(v, v->n - 1);
        if (v->element == GGUF_FLOAT64 && v->n > 0) (void)gguf_array_f64(v, v->n - 1);
    }
}

static void read_tensors(const struct gguf *g, const uint8_t *data, size_t size) {
    for (int64_t i = 0; i < gguf_tensor_count(g); i++) {
        const struct gguf_tensor *t = gguf_tensor_at(g, i);
        struct error err = {0};
        int64_t rows = t->count / t->n_cols;
        inside(data, size, t->data, t->n_bytes);
        if (gguf_tensor_find(g, t->name) != t) abort();
        float *out = malloc((size_t)t->n_cols * sizeof *out); // at most 8 values a byte of the file
        if (out == NULL) abort();
        must_say(gguf_read_rows(out, t, 0, 1, &err), &err);
        error_reset(&err);
        must_say(gguf_read_rows(out, t, rows - 1, 1, &err), &err);
        free(out);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct error err = {0};
    struct gguf *g;
    bool ok = gguf_open_memory(&g, data, size, "fuzz", &err);
    must_say(ok, &err);
    if (!ok) {
        if (g != NULL) abort();
        return 0;
    }
    read_values(g, data, size);
    read_tensors(g, data, size);
    struct model_config config;
    ok = gguf_model_config(&config, g, &err);
    must_say(ok, &err);
    if (ok && (config.V < 1 || config.H % config.H_kv != 0 || config.bos >= config.V)) abort();
    error_reset(&err);
    struct buf json = {0}, chat = {0};
    struct tokenizer *tokenizer = NULL;
    json_t *variables = NULL;
    ok =
        gguf_tokenizer_json(&json, g, &err) &&
        tokenizer_parse(&tokenizer, json.data != NULL ? json.data : "", json.n_bytes, "fuzz", &err);
    must_say(ok, &err);
    error_reset(&err);
    must_say(gguf_chat_template(&chat, &variables, g, &err), &err);
    json_decref(variables);
    tokenizer_close(tokenizer);
    buf_release(&json);
    buf_release(&chat);
    gguf_close(g);
    return 0;
}
