// engine/source.c - one table of tensors over either kind of file.
#include "engine/source.h"

#include "core/arena.h"
#include "core/file.h"
#include "engine/gguf_model.h"

#include <stdlib.h>
#include <string.h>

struct source {
    struct arena arena;
    const char *path;
    struct model_config config;
    struct tensor_set *set;        // a folder
    struct gguf *gguf;             // or a file
    struct source_tensor *tensors; // sorted by name
    int64_t n;
};

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct source_tensor *)a)->name, ((const struct source_tensor *)b)->name);
}

static bool open_folder(struct source *s, struct error *err) {
    if (!model_config_read(&s->config, s->path, err) || !tensor_set_open(&s->set, s->path, err))
        return false;
    s->n = tensor_set_count(s->set);
    s->tensors = arena_alloc_array(&s->arena, (size_t)s->n, sizeof *s->tensors);
    for (int64_t i = 0; s->tensors != NULL && i < s->n; i++) {
        const struct tensor *t = tensor_set_at(s->set, i);
        s->tensors[i] = (struct source_tensor){.name = t->name,
                                               .type = tensor_dtype_name(t->dtype),
                                               .n_dims = t->n_dims,
                                               .count = t->count,
                                               .stored = t};
        memcpy(s->tensors[i].shape, t->shape, sizeof t->shape);
    }
    return true;
}

static bool open_gguf(struct source *s, struct error *err) {
    char name[GGUF_NAME_BYTES];
    if (!gguf_open(&s->gguf, s->path, err) || !gguf_model_config(&s->config, s->gguf, err))
        return false;
    int64_t n = gguf_tensor_count(s->gguf);
    s->tensors = arena_alloc_array(&s->arena, (size_t)n, sizeof *s->tensors);
    for (int64_t i = 0; s->tensors != NULL && i < n; i++) {
        const struct gguf_tensor *t = gguf_tensor_at(s->gguf, i);
        if (!gguf_name_to_hf(name, t->name)) continue; // rope_freqs.weight: in the config
        struct source_tensor *out = &s->tensors[s->n++];
        *out = (struct source_tensor){.name = arena_strndup(&s->arena, name, strlen(name)),
                                      .type = gguf_type_name(t->type),
                                      .n_dims = t->n_dims,
                                      .count = t->count,
                                      .packed = t,
                                      .paired_heads = gguf_paired_heads(&s->config, name)};
        memcpy(out->shape, t->shape, sizeof t->shape);
    }
    return true;
}

bool source_open(struct source **out, const char *path, struct error *err) {
    *out = NULL;
    struct source *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    arena_init(&s->arena, 0);
    s->path = arena_strndup(&s->arena, path, strlen(path));
    if (s->path != NULL && !(gguf_is_path(path) ? open_gguf(s, err) : open_folder(s, err)))
        goto fail;
    if (!arena_ok(&s->arena)) {
        error_set(err, ERR_NOMEM, "%s: out of memory", path);
        goto fail;
    }
    if (s->n > 0) qsort(s->tensors, (size_t)s->n, sizeof *s->tensors, by_name);
    for (int64_t i = 1; i < s->n; i++)
        if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0) { // blk.1 and blk.01
            error_set(err, ERR_INPUT, "%s: tensor \"%s\" is there twice", path, s->tensors[i].name);
            goto fail;
        }
    *out = s;
    return true;
fail:
    source_close(s);
    return false;
}

void source_close(struct source *s) {
    if (s == NULL) return;
    tensor_set_close(s->set);
    gguf_close(s->gguf);
    arena_release(&s->arena);
    free(s);
}

const struct model_config *source_config(const struct source *s) {
    return &s->config;
}

const char *source_config_name(const struct source *s) {
    return s->gguf != NULL ? "its metadata" : "config.json";
}

int64_t source_count(const struct source *s) {
    return s->n;
}

const struct source_tensor *source_at(const struct source *s, int64_t i) {
    return &s->tensors[i];
}

const struct source_tensor *source_find(const struct source *s, const char *name) {
    struct source_tensor wanted = {.name = name};
    if (s->n == 0) return NULL;
    return bsearch(&wanted, s->tensors, (size_t)s->n, sizeof wanted, by_name);
}

bool source_read(float *out, const struct source_tensor *t, struct error *err) {
    if (t->stored != NULL) return tensor_read_f32(out, t->stored, err);
    int64_t rows = t->shape[0], cols = t->count / rows;
    if (!gguf_read_rows(out, t->packed, 0, t->count / t->packed->n_cols, err)) return false;
    if (t->paired_heads == 0) return true;
    if (rows % (2 * t->paired_heads) != 0) // a shape the caller has yet to refuse
        return error_set(err, ERR_INPUT, "tensor \"%s\": %lld rows for %lld heads", t->name,
                         (long long)rows, (long long)t->paired_heads);
    return gguf_rows_reorder(out, rows, cols, t->paired_heads, false, err);
}

bool source_sha256(const struct source *s, char out_hex[65], struct error *err) {
    if (s->gguf == NULL) return tensor_set_sha256(s->set, out_hex, err);
    gguf_sha256(s->gguf, out_hex);
    return true;
}

// Appends a file of a folder.
static bool read_text(struct buf *out, const char *folder, const char *name, struct error *err) {
    char path[4096], *text;
    size_t n_bytes;
    if (!file_join(path, sizeof path, folder, name, err)) return false;
    if (!file_read(&text, &n_bytes, path, 0, err)) return false;
    buf_append(out, text, n_bytes);
    free(text);
    return buf_ok(out) || error_set(err, ERR_NOMEM, "%s: out of memory", path);
}

bool source_tokenizer(const struct source *s, struct buf *out, struct error *err) {
    if (s->gguf != NULL) return gguf_tokenizer_json(out, s->gguf, err);
    return read_text(out, s->path, "tokenizer.json", err);
}

bool source_sillon_json(struct buf *out, bool *present, const char *path, struct error *err) {
    if (!gguf_is_path(path)) {
        char inside[4096];
        if (!file_join(inside, sizeof inside, path, "sillon.json", err)) return false;
        *present = file_exists(inside);
        return !*present || read_text(out, path, "sillon.json", err);
    }
    const char *text = NULL;
    size_t n;
    struct gguf *g;
    if (!gguf_open(&g, path, err)) return false;
    bool ok = gguf_get_string(g, "sillon.json", false, &text, &n, err);
    *present = text != NULL;
    if (ok && *present) buf_append(out, text, n);
    gguf_close(g);
    return ok && (buf_ok(out) || error_set(err, ERR_NOMEM, "%s: out of memory", path));
}
