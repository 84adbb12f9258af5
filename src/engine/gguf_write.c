// engine/gguf_write.c - writes a GGUF v3 file: metadata in the order given, tensors aligned to 32
// bytes, one tensor in memory at a time.
#include "engine/gguf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ALIGNMENT = 32 };

static void put_le(struct buf *b, uint64_t v, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) buf_append_char(b, (char)(v >> (8 * i)));
}

static void put_bytes(struct buf *b, const char *s, size_t n) {
    put_le(b, n, 8);
    if (n > 0) buf_append(b, s, n);
}

static void put_key(struct gguf_metadata *m, const char *key, enum gguf_kind kind) {
    put_bytes(&m->bytes, key, strlen(key));
    put_le(&m->bytes, kind, 4);
    m->n++;
}

void gguf_metadata_release(struct gguf_metadata *m) {
    buf_release(&m->bytes);
    *m = (struct gguf_metadata){0};
}

void gguf_put_u32(struct gguf_metadata *m, const char *key, uint32_t value) {
    put_key(m, key, GGUF_U32);
    put_le(&m->bytes, value, 4);
}

void gguf_put_f32(struct gguf_metadata *m, const char *key, float value) {
    put_key(m, key, GGUF_FLOAT32);
    gguf_put_element_f32(m, value);
}

void gguf_put_bool(struct gguf_metadata *m, const char *key, bool value) {
    put_key(m, key, GGUF_BOOL);
    put_le(&m->bytes, value, 1);
}

void gguf_put_string(struct gguf_metadata *m, const char *key, const char *s, size_t n_bytes) {
    put_key(m, key, GGUF_STRING);
    put_bytes(&m->bytes, s, n_bytes);
}

void gguf_put_array(struct gguf_metadata *m, const char *key, enum gguf_kind element, int64_t n) {
    put_key(m, key, GGUF_ARRAY);
    put_le(&m->bytes, element, 4);
    put_le(&m->bytes, (uint64_t)n, 8);
}

void gguf_put_element_string(struct gguf_metadata *m, const char *s, size_t n_bytes) {
    put_bytes(&m->bytes, s, n_bytes);
}

void gguf_put_element_i32(struct gguf_metadata *m, int32_t value) {
    put_le(&m->bytes, (uint32_t)value, 4);
}

void gguf_put_element_f32(struct gguf_metadata *m, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_le(&m->bytes, bits, 4);
}

static size_t padding_after(size_t n_bytes) {
    return (ALIGNMENT - n_bytes % ALIGNMENT) % ALIGNMENT;
}

// The tensor table; counts[i] and sizes[i] get the values and bytes of each tensor.
static bool table_build(struct buf *table, const struct gguf_output *tensors, int64_t n_tensors,
                        int64_t *counts, size_t *sizes, struct error *err) {
    size_t offset = 0;
    for (int64_t i = 0; i < n_tensors; i++) {
        const struct gguf_output *t = &tensors[i];
        int64_t block;
        size_t bytes;
        if (!gguf_type_size(t->type, &block, &bytes) || t->n_dims < 1 ||
            t->n_dims > GGUF_MAX_DIMS || t->shape[t->n_dims - 1] % block != 0)
            return error_set(err, ERR_USAGE,
                             "tensor \"%s\": rows of %lld values cannot be written as %s (whole "
                             "blocks are needed)",
                             t->name, (long long)t->shape[t->n_dims > 0 ? t->n_dims - 1 : 0],
                             gguf_type_name(t->type));
        counts[i] = 1;
        put_bytes(table, t->name, strlen(t->name));
        put_le(table, (uint64_t)t->n_dims, 4);
        for (int d = t->n_dims - 1; d >= 0; d--) {
            counts[i] *= t->shape[d];
            put_le(table, (uint64_t)t->shape[d], 8);
        }
        put_le(table, t->type, 4);
        put_le(table, offset, 8);
        sizes[i] = (size_t)(counts[i] / block) * bytes;
        offset += sizes[i] + padding_after(sizes[i]);
    }
    return true;
}

static bool tensor_write(FILE *f, const struct gguf_output *t, int64_t i, int64_t count,
                         size_t n_bytes, gguf_reader *reader, void *context, const char *path,
                         struct error *err) {
    static const uint8_t zeros[ALIGNMENT];
    float *values = malloc((size_t)count * sizeof *values);
    uint8_t *blocks = malloc(n_bytes);
    bool ok = (values != NULL && blocks != NULL) ||
              error_set(err, ERR_NOMEM, "%s: out of memory for tensor \"%s\"", path, t->name);
    ok = ok && reader(context, i, values, err) &&
         gguf_quantise(t->type, blocks, values, count, t->name, err);
    size_t padding = padding_after(n_bytes);
    if (ok && (fwrite(blocks, 1, n_bytes, f) != n_bytes || fwrite(zeros, 1, padding, f) != padding))
        ok = error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    free(values);
    free(blocks);
    return ok;
}

bool gguf_file_write(const char *path, const struct gguf_metadata *metadata,
                     const struct gguf_output *tensors, int64_t n_tensors, gguf_reader *reader,
                     void *context, struct error *err) {
    char tmp[4096];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
        return error_set(err, ERR_LIMIT, "%s: path too long", path);
    struct buf head = {0}, table = {0};
    int64_t *counts = calloc((size_t)n_tensors + 1, sizeof *counts);
    size_t *sizes = calloc((size_t)n_tensors + 1, sizeof *sizes);
    FILE *f = NULL;
    bool ok =
        (counts != NULL && sizes != NULL) || error_set(err, ERR_NOMEM, "%s: out of memory", path);
    ok = ok && table_build(&table, tensors, n_tensors, counts, sizes, err);
    buf_append(&head, "GGUF", 4);
    put_le(&head, 3, 4);
    put_le(&head, (uint64_t)n_tensors, 8);
    put_le(&head, (uint64_t)metadata->n, 8);
    if (metadata->bytes.n_bytes > 0)
        buf_append(&head, metadata->bytes.data, metadata->bytes.n_bytes);
    if (table.n_bytes > 0) buf_append(&head, table.data, table.n_bytes);
    for (size_t n = padding_after(head.n_bytes); n > 0; n--) buf_append_char(&head, 0);
    if (ok && (!buf_ok(&metadata->bytes) || !buf_ok(&table) || !buf_ok(&head)))
        ok = error_set(err, ERR_NOMEM, "%s: out of memory for the header", path);
    if (ok && (f = fopen(tmp, "wbe")) == NULL)
        ok = error_set(err, ERR_IO, "%s: %s", tmp, strerror(errno));
    if (ok && fwrite(head.data, 1, head.n_bytes, f) != head.n_bytes)
        ok = error_set(err, ERR_IO, "%s: %s", tmp, strerror(errno));
    for (int64_t i = 0; ok && i < n_tensors; i++)
        ok = tensor_write(f, &tensors[i], i, counts[i], sizes[i], reader, context, path, err);
    if (ok && (fflush(f) != 0 || fsync(fileno(f)) != 0))
        ok = error_set(err, ERR_IO, "%s: %s", tmp, strerror(errno));
    if (f != NULL && fclose(f) != 0 && ok)
        ok = error_set(err, ERR_IO, "%s: %s", tmp, strerror(errno));
    if (ok && rename(tmp, path) != 0) ok = error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    if (!ok && f != NULL) unlink(tmp);
    buf_release(&head);
    buf_release(&table);
    free(counts);
    free(sizes);
    return ok;
}
