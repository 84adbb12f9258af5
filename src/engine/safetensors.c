// engine/safetensors.c - the safetensors format: everything a header claims is checked before it is
// believed.
#include "engine/safetensors.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/file.h"
#include "core/json.h"
#include "kernels/kernels.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    HEADER_LIMIT_BYTES = 100 * 1000 * 1000, // the reference implementation's limit
    TENSORS_LIMIT = 1000000,
    SHARDS_LIMIT = 1024,
};

struct shard {
    char *path; // in the arena; NULL for memory
    struct file_map map;
};

struct tensor_set {
    struct arena arena;
    struct shard *shards;
    int64_t n_shards;
    struct tensor *tensors; // sorted by name
    int64_t n_tensors, capacity;
    json_t *metadata; // of the first shard that has some; may be NULL
};

static const struct {
    const char *name;
    size_t n_bytes;
} dtypes[] = {
    [TENSOR_F32] = {"F32", 4},   [TENSOR_F16] = {"F16", 2}, [TENSOR_BF16] = {"BF16", 2},
    [TENSOR_F64] = {"F64", 8},   [TENSOR_I64] = {"I64", 8}, [TENSOR_I32] = {"I32", 4},
    [TENSOR_I16] = {"I16", 2},   [TENSOR_I8] = {"I8", 1},   [TENSOR_U8] = {"U8", 1},
    [TENSOR_BOOL] = {"BOOL", 1},
};

const char *tensor_dtype_name(enum tensor_dtype dtype) {
    return dtypes[dtype].name;
}

size_t tensor_dtype_bytes(enum tensor_dtype dtype) {
    return dtypes[dtype].n_bytes;
}

static bool dtype_parse(enum tensor_dtype *out, const char *name) {
    for (int64_t i = 0; i < COUNT_OF(dtypes); i++) {
        if (strcmp(dtypes[i].name, name) != 0) continue;
        *out = (enum tensor_dtype)i;
        return true;
    }
    return false;
}

static bool offset_read(size_t *out, const json_t *value) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (size_t)json_integer_value(value);
    return true;
}

// One entry of the header. data_bytes is what follows the header in the file.
static bool tensor_parse(struct tensor_set *set, struct tensor *t, const char *key,
                         const json_t *value, const uint8_t *data, size_t data_bytes,
                         const char *name, struct error *err) {
    const char *dtype;
    char where[200];
    snprintf(where, sizeof where, "%s: tensor \"%.80s\"", name, key);
    if (!json_is_object(value)) return error_set(err, ERR_INPUT, "%s: must be an object", where);
    if (!json_get_string(&dtype, value, "dtype", true, where, err)) return false;
    if (!dtype_parse(&t->dtype, dtype))
        return error_set(err, ERR_INPUT, "%s: dtype \"%.20s\" is not supported", where, dtype);
    const json_t *shape = json_object_get(value, "shape"),
                 *offsets = json_object_get(value, "data_offsets");
    if (!json_is_array(shape) || json_array_size(shape) > TENSOR_MAX_DIMS)
        return error_set(err, ERR_INPUT, "%s: shape must be an array of at most %d sizes", where,
                         TENSOR_MAX_DIMS);
    t->n_dims = (int)json_array_size(shape);
    t->count = 1;
    for (int i = 0; i < t->n_dims; i++) {
        size_t n;
        if (!offset_read(&n, json_array_get(shape, (size_t)i)))
            return error_set(err, ERR_INPUT, "%s: shape[%d] is not a size", where, i);
        t->shape[i] = (int64_t)n;
        if (__builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return error_set(err, ERR_INPUT, "%s: the shape's product overflows", where);
    }
    size_t begin, end, bytes;
    if (!json_is_array(offsets) || json_array_size(offsets) != 2 ||
        !offset_read(&begin, json_array_get(offsets, 0)) ||
        !offset_read(&end, json_array_get(offsets, 1)))
        return error_set(err, ERR_INPUT, "%s: data_offsets must be two offsets", where);
    if (begin > end || end > data_bytes)
        return error_set(
            err, ERR_INPUT,
            "%s: data_offsets [%zu, %zu] leave the %zu bytes of data (truncated file?)", where,
            begin, end, data_bytes);
    if (__builtin_mul_overflow((size_t)t->count, dtypes[t->dtype].n_bytes, &bytes) ||
        bytes != end - begin)
        return error_set(err, ERR_INPUT, "%s: %zu bytes of data for %lld values of %s", where,
                         end - begin, (long long)t->count, dtype);
    t->name = arena_strndup(&set->arena, key, strlen(key));
    if (t->name == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", name);
    t->data = data + begin;
    t->n_bytes = bytes;
    return true;
}

static int by_begin(const void *a, const void *b) {
    const struct tensor *x = a, *y = b;
    if (x->data != y->data) return x->data < y->data ? -1 : 1;
    return x->n_bytes < y->n_bytes ? -1 : x->n_bytes > y->n_bytes;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

// Adds the tensors of one file. Holes and overlaps are refused, as the reference implementation
// does.
static bool shard_parse(struct tensor_set *set, const uint8_t *bytes, size_t n_bytes,
                        const char *name, struct error *err) {
    uint64_t header_bytes = 0;
    if (n_bytes < 8)
        return error_set(err, ERR_INPUT, "%s: %zu bytes, too short for a safetensors header", name,
                         n_bytes);
    for (int i = 7; i >= 0; i--) header_bytes = header_bytes << 8 | bytes[i];
    if (header_bytes > HEADER_LIMIT_BYTES)
        return error_set(err, ERR_LIMIT, "%s: header of %llu bytes, the limit is %d", name,
                         (unsigned long long)header_bytes, HEADER_LIMIT_BYTES);
    if (header_bytes > n_bytes - 8)
        return error_set(err, ERR_INPUT,
                         "%s: header of %llu bytes in a file of %zu (truncated file?)", name,
                         (unsigned long long)header_bytes, n_bytes);
    const uint8_t *data = bytes + 8 + header_bytes;
    size_t data_bytes = n_bytes - 8 - (size_t)header_bytes;
    json_t *header;
    if (!json_parse(&header, (const char *)bytes + 8, (size_t)header_bytes, name, err))
        return false;
    bool ok = json_is_object(header) ||
              error_set(err, ERR_INPUT, "%s: the header is not a JSON object", name);
    int64_t first = set->n_tensors;
    const char *key;
    json_t *value;
    if (ok) {
        int64_t need = first + (int64_t)json_object_size(header);
        if (need > TENSORS_LIMIT) {
            ok = error_set(err, ERR_LIMIT, "%s: more than %d tensors", name, TENSORS_LIMIT);
        } else {
            struct tensor *grown = realloc(set->tensors, (size_t)(need + 1) * sizeof *grown);
            if (grown == NULL) ok = error_set(err, ERR_NOMEM, "%s: out of memory", name);
            else set->tensors = grown;
        }
    }
    if (ok) {
        json_object_foreach(header, key, value) {
            if (strcmp(key, "__metadata__") == 0) {
                if (set->metadata == NULL && json_is_object(value))
                    set->metadata = json_incref(value);
                continue;
            }
            struct tensor *t = &set->tensors[set->n_tensors];
            *t = (struct tensor){0};
            ok = tensor_parse(set, t, key, value, data, data_bytes, name, err);
            if (!ok) break;
            set->n_tensors++;
        }
    }
    json_decref(header);
    if (!ok) return false;
    struct tensor *added = set->tensors + first;
    int64_t n = set->n_tensors - first;
    qsort(added, (size_t)n, sizeof *added, by_begin);
    const uint8_t *next = data;
    for (int64_t i = 0; i < n; i++) {
        if (added[i].data != next)
            return error_set(err, ERR_INPUT,
                             "%s: tensor \"%.80s\" %s the one before it (offset %zu, expected %zu)",
                             name, added[i].name,
                             added[i].data < next ? "overlaps" : "leaves a hole after",
                             (size_t)(added[i].data - data), (size_t)(next - data));
        next = added[i].data + added[i].n_bytes;
    }
    if (next != data + data_bytes)
        return error_set(err, ERR_INPUT, "%s: %zu bytes after the last tensor", name,
                         (size_t)(data + data_bytes - next));
    return true;
}

static bool set_sort(struct tensor_set *set, const char *name, struct error *err) {
    if (set->n_tensors > 0)
        qsort(set->tensors, (size_t)set->n_tensors, sizeof *set->tensors, by_name);
    for (int64_t i = 1; i < set->n_tensors; i++)
        if (strcmp(set->tensors[i - 1].name, set->tensors[i].name) == 0)
            return error_set(err, ERR_INPUT, "%s: tensor \"%.80s\" is in two shards", name,
                             set->tensors[i].name);
    return true;
}

static bool shard_open(struct tensor_set *set, const char *path, struct error *err) {
    struct shard *shard = &set->shards[set->n_shards];
    if (!file_map(&shard->map, path, err)) return false;
    set->n_shards++;
    shard->path = arena_strndup(&set->arena, path, strlen(path));
    if (shard->path == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    return shard_parse(set, shard->map.data, shard->map.n_bytes, path, err);
}

// The file names in the index's weight_map, each opened once. A name that leaves the folder is
// refused.
static bool index_open(struct tensor_set *set, const char *folder, const char *index_path,
                       struct error *err) {
    json_t *index;
    if (!json_parse_file(&index, index_path, err)) return false;
    const json_t *map = json_object_get(index, "weight_map");
    const char *key;
    json_t *value;
    bool ok = json_is_object(map) ||
              error_set(err, ERR_INPUT, "%s: \"weight_map\" is missing", index_path);
    const char *seen[SHARDS_LIMIT];
    int64_t n_seen = 0;
    if (ok) {
        json_object_foreach((json_t *)(uintptr_t)map, key, value) {
            const char *file = json_string_value(value);
            if (file == NULL || strchr(file, '/') != NULL || file[0] == '.') {
                ok = error_set(err, ERR_INPUT,
                               "%s: weight_map[\"%.80s\"] is not a file name of this folder",
                               index_path, key);
                break;
            }
            bool known = false;
            for (int64_t i = 0; i < n_seen && !known; i++) known = strcmp(seen[i], file) == 0;
            if (known) continue;
            char path[4096];
            if (n_seen == SHARDS_LIMIT) {
                ok = error_set(err, ERR_LIMIT, "%s: more than %d shards", index_path, SHARDS_LIMIT);
                break;
            }
            seen[n_seen++] = file;
            ok = file_join(path, sizeof path, folder, file, err) && shard_open(set, path, err);
            if (!ok) break;
        }
    }
    json_decref(index);
    return ok;
}

bool tensor_set_open(struct tensor_set **out, const char *path, struct error *err) {
    *out = NULL;
    struct tensor_set *set = calloc(1, sizeof *set);
    if (set == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    set->shards = calloc(SHARDS_LIMIT, sizeof *set->shards);
    if (set->shards == NULL) {
        error_set(err, ERR_NOMEM, "%s: out of memory", path);
        goto fail;
    }
    if (!file_is_folder(path)) {
        if (!shard_open(set, path, err)) goto fail;
    } else {
        char single[4096], index[4096];
        if (!file_join(single, sizeof single, path, "model.safetensors", err) ||
            !file_join(index, sizeof index, path, "model.safetensors.index.json", err))
            goto fail;
        if (file_exists(single)) {
            if (!shard_open(set, single, err)) goto fail;
        } else if (file_exists(index)) {
            if (!index_open(set, path, index, err)) goto fail;
        } else {
            error_set(err, ERR_NOTFOUND,
                      "%s: no model.safetensors nor model.safetensors.index.json in this folder",
                      path);
            goto fail;
        }
    }
    if (!set_sort(set, path, err)) goto fail;
    *out = set;
    return true;
fail:
    tensor_set_close(set);
    return false;
}

bool tensor_set_open_memory(struct tensor_set **out, const uint8_t *data, size_t n_bytes,
                            const char *name, struct error *err) {
    *out = NULL;
    struct tensor_set *set = calloc(1, sizeof *set);
    if (set == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", name);
    if (!shard_parse(set, data, n_bytes, name, err) || !set_sort(set, name, err)) {
        tensor_set_close(set);
        return false;
    }
    *out = set;
    return true;
}

void tensor_set_close(struct tensor_set *set) {
    if (set == NULL) return;
    for (int64_t i = 0; i < set->n_shards; i++) file_unmap(&set->shards[i].map);
    free(set->shards);
    free(set->tensors);
    if (set->metadata != NULL) json_decref(set->metadata);
    arena_release(&set->arena);
    free(set);
}

int64_t tensor_set_count(const struct tensor_set *set) {
    return set->n_tensors;
}

const struct tensor *tensor_set_at(const struct tensor_set *set, int64_t i) {
    return &set->tensors[i];
}

const struct tensor *tensor_set_find(const struct tensor_set *set, const char *name) {
    if (set->n_tensors == 0) return NULL;
    struct tensor key = {.name = name};
    return bsearch(&key, set->tensors, (size_t)set->n_tensors, sizeof key, by_name);
}

const char *tensor_set_metadata(const struct tensor_set *set, const char *key) {
    return json_string_value(json_object_get(set->metadata, key));
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct shard *)a)->path, ((const struct shard *)b)->path);
}

bool tensor_set_sha256(const struct tensor_set *set, char out_hex[65], struct error *err) {
    if (set->n_shards == 0)
        return error_set(err, ERR_STATE, "sha256: the tensors were not opened from files");
    crypto_hash_sha256_state state;
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_init(&state);
    qsort(set->shards, (size_t)set->n_shards, sizeof *set->shards, by_path);
    for (int64_t i = 0; i < set->n_shards; i++)
        crypto_hash_sha256_update(&state, set->shards[i].map.data, set->shards[i].map.n_bytes);
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(out_hex, 65, digest, sizeof digest);
    return true;
}

bool tensor_read_f32(float *out, const struct tensor *t, struct error *err) {
    switch (t->dtype) {
    case TENSOR_F32:
        memcpy(out, t->data, t->n_bytes);
        return true;
    case TENSOR_F16:
    case TENSOR_BF16:
        for (int64_t i = 0; i < t->count; i++) {
            uint16_t h;
            memcpy(&h, t->data + 2 * i, sizeof h);
            out[i] = t->dtype == TENSOR_F16 ? f16_to_f32(h) : bf16_to_f32(h);
        }
        return true;
    case TENSOR_F64:
        for (int64_t i = 0; i < t->count; i++) {
            double d;
            memcpy(&d, t->data + 8 * i, sizeof d);
            out[i] = (float)d;
        }
        return true;
    default:
        return error_set(err, ERR_INPUT, "tensor \"%s\": %s where floating-point values are needed",
                         t->name, tensor_dtype_name(t->dtype));
    }
}

// -------------------------------------------------------------------------------------------------
// writing

static bool write_all(int fd, const void *data, size_t n_bytes) {
    const char *p = data;
    while (n_bytes > 0) {
        ssize_t n = write(fd, p, n_bytes);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        p += n;
        n_bytes -= (size_t)n;
    }
    return true;
}

static void header_build(struct buf *header, const struct tensor_source *tensors, int64_t n_tensors,
                         const char *const *metadata) {
    buf_append_str(header, "{\"__metadata__\":{\"format\":\"pt\"");
    for (; metadata != NULL && metadata[0] != NULL; metadata += 2) {
        buf_append_char(header, ',');
        buf_append_json_string(header, metadata[0], strlen(metadata[0]));
        buf_append_char(header, ':');
        buf_append_json_string(header, metadata[1], strlen(metadata[1]));
    }
    buf_append_char(header, '}');
    size_t offset = 0;
    for (int64_t i = 0; i < n_tensors; i++) {
        const struct tensor_source *t = &tensors[i];
        size_t bytes = dtypes[t->dtype].n_bytes;
        buf_append_char(header, ',');
        buf_append_json_string(header, t->name, strlen(t->name));
        buf_printf(header, ":{\"dtype\":\"%s\",\"shape\":[", tensor_dtype_name(t->dtype));
        for (int d = 0; d < t->n_dims; d++) {
            buf_printf(header, d ? ",%lld" : "%lld", (long long)t->shape[d]);
            bytes *= (size_t)t->shape[d];
        }
        buf_printf(header, "],\"data_offsets\":[%zu,%zu]}", offset, offset + bytes);
        offset += bytes;
    }
    buf_append_char(header, '}');
    while ((header->n_bytes + 8) % 64 != 0 && buf_ok(header)) buf_append_char(header, ' ');
}

bool tensor_file_write(const char *path, const struct tensor_source *tensors, int64_t n_tensors,
                       const char *const *metadata, struct error *err) {
    char tmp[4096];
    if ((size_t)snprintf(tmp, sizeof tmp, "%s.tmp", path) >= sizeof tmp)
        return error_set(err, ERR_LIMIT, "%s: path too long", path);
    struct buf header = {0};
    header_build(&header, tensors, n_tensors, metadata);
    if (!buf_ok(&header)) {
        buf_release(&header);
        return error_set(err, ERR_NOMEM, "%s: out of memory for the header", path);
    }
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    uint8_t length[8];
    for (int i = 0; i < 8; i++) length[i] = (uint8_t)((uint64_t)header.n_bytes >> (8 * i));
    bool ok = fd >= 0 && write_all(fd, length, sizeof length) &&
              write_all(fd, header.data, header.n_bytes);
    for (int64_t i = 0; ok && i < n_tensors; i++) {
        size_t bytes = dtypes[tensors[i].dtype].n_bytes;
        for (int d = 0; d < tensors[i].n_dims; d++) bytes *= (size_t)tensors[i].shape[d];
        ok = write_all(fd, tensors[i].data, bytes);
    }
    ok = ok && fsync(fd) == 0;
    int saved = errno;
    if (fd >= 0 && close(fd) != 0 && ok) ok = false, saved = errno;
    buf_release(&header);
    if (ok && rename(tmp, path) != 0) ok = false, saved = errno;
    if (ok) return true;
    unlink(tmp);
    return error_set(err, ERR_IO, "%s: %s", path, strerror(saved));
}
