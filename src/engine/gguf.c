// engine/gguf.c - opens a GGUF file: nothing a count or a length claims is believed, or allocated
// for, before the bytes it needs are known to be there.
#include "engine/gguf.h"

#include "core/arena.h"
#include "core/file.h"
#include "core/hash.h"
#include "core/utf8.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    VALUES_LIMIT = 100000,
    TENSORS_LIMIT = 1000000,
    KEY_LIMIT_BYTES = 65535,   // the specification's
    TENSOR_NAME_LIMIT = 127,   // it says 64; ggml holds 63
    ALIGNMENT_LIMIT = 1 << 20, // ggml's default is 32
    ARRAY_DEPTH_LIMIT = 4,
    // The least bytes of a pair (key length, empty key, kind, u8) and of a tensor's entry (name
    // length, empty name, dimensions' count, one dimension, type, offset).
    VALUE_MIN_BYTES = 8 + 4 + 1,
    TENSOR_MIN_BYTES = 8 + 4 + 8 + 4 + 8,
};

struct gguf {
    struct arena arena;
    struct file_map map; // empty when the bytes were given
    const uint8_t *data;
    size_t n_bytes;
    const char *name;
    struct gguf_value *values; // sorted by key
    int64_t n_values;
    struct gguf_tensor *tensors; // sorted by name
    int64_t n_tensors;
};

// -------------------------------------------------------------------------------------------------
// the bytes, in order

struct cursor {
    const uint8_t *data;
    size_t n_bytes, at;
    const char *name; // of the file
    struct error *err;
};

static size_t left(const struct cursor *c) {
    return c->n_bytes - c->at;
}

// Passes n bytes; NULL, with a sentence, when the file ends before.
static const uint8_t *take(struct cursor *c, uint64_t n, const char *what) {
    if (n > left(c)) {
        error_set(c->err, ERR_INPUT,
                  "%s: %s at byte %zu needs %llu bytes, %zu are left (truncated file?)", c->name,
                  what, c->at, (unsigned long long)n, left(c));
        return NULL;
    }
    const uint8_t *p = c->data + c->at;
    c->at += (size_t)n;
    return p;
}

static uint64_t read_le(const uint8_t *p, size_t n_bytes) {
    uint64_t v = 0;
    for (size_t i = n_bytes; i-- > 0;) v = v << 8 | p[i];
    return v;
}

static bool take_u32(struct cursor *c, uint32_t *out, const char *what) {
    const uint8_t *p = take(c, 4, what);
    if (p != NULL) *out = (uint32_t)read_le(p, 4);
    return p != NULL;
}

static bool take_u64(struct cursor *c, uint64_t *out, const char *what) {
    const uint8_t *p = take(c, 8, what);
    if (p != NULL) *out = read_le(p, 8);
    return p != NULL;
}

// A string that must fit `limit`, be UTF-8 without NUL, kept NUL-terminated in the arena.
static const char *take_name(struct gguf *g, struct cursor *c, size_t limit, const char *what) {
    uint64_t n;
    size_t bad;
    if (!take_u64(c, &n, what)) return NULL;
    if (n > limit) {
        error_set(c->err, ERR_LIMIT, "%s: %s at byte %zu is %llu bytes long, the limit is %zu",
                  c->name, what, c->at, (unsigned long long)n, limit);
        return NULL;
    }
    const uint8_t *p = take(c, n, what);
    if (p == NULL) return NULL;
    if (!utf8_valid((const char *)p, (size_t)n, &bad) || memchr(p, 0, (size_t)n) != NULL) {
        error_set(c->err, ERR_INPUT, "%s: %s at byte %zu is not UTF-8 without NUL", c->name, what,
                  c->at - (size_t)n);
        return NULL;
    }
    const char *kept = arena_strndup(&g->arena, (const char *)p, (size_t)n);
    if (kept == NULL) error_set(c->err, ERR_NOMEM, "%s: out of memory", c->name);
    return kept;
}

static size_t kind_bytes(enum gguf_kind kind) { // 0: no fixed size
    static const uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return bytes[kind];
}

static bool take_kind(struct cursor *c, enum gguf_kind *out, const char *key) {
    uint32_t kind;
    if (!take_u32(c, &kind, "a value's type")) return false;
    if (kind > GGUF_FLOAT64)
        return error_set(c->err, ERR_INPUT, "%s: key \"%.80s\": value type %u is not known",
                         c->name, key, kind);
    *out = (enum gguf_kind)kind;
    return true;
}

// Passes n values of a kind.
static bool skip_values(struct cursor *c, enum gguf_kind kind, uint64_t n, const char *key,
                        int depth) {
    size_t bytes = kind_bytes(kind), least = bytes > 0 ? bytes : kind == GGUF_STRING ? 8 : 12;
    if (n > left(c) / least)
        return error_set(
            c->err, ERR_INPUT,
            "%s: key \"%.80s\" claims %llu values, %zu bytes are left (truncated file?)", c->name,
            key, (unsigned long long)n, left(c));
    if (bytes > 0) {
        const uint8_t *p = take(c, n * bytes, "a value");
        for (uint64_t i = 0; p != NULL && kind == GGUF_BOOL && i < n; i++)
            if (p[i] > 1)
                return error_set(c->err, ERR_INPUT, "%s: key \"%.80s\": boolean of value %u",
                                 c->name, key, p[i]);
        return p != NULL;
    }
    for (uint64_t i = 0; i < n; i++) {
        if (kind == GGUF_STRING) {
            uint64_t length;
            if (!take_u64(c, &length, "a string's length") || take(c, length, key) == NULL)
                return false;
            continue;
        }
        enum gguf_kind element;
        uint64_t inner;
        if (depth == ARRAY_DEPTH_LIMIT)
            return error_set(c->err, ERR_LIMIT,
                             "%s: key \"%.80s\": more than %d arrays inside "
                             "each other",
                             c->name, key, ARRAY_DEPTH_LIMIT);
        if (!take_kind(c, &element, key) || !take_u64(c, &inner, "an array's length") ||
            !skip_values(c, element, inner, key, depth + 1))
            return false;
    }
    return true;
}

static bool take_value(struct gguf *g, struct cursor *c, struct gguf_value *v) {
    v->key = take_name(g, c, KEY_LIMIT_BYTES, "a key");
    if (v->key == NULL || !take_kind(c, &v->kind, v->key)) return false;
    v->n = 1;
    v->element = v->kind;
    if (v->kind == GGUF_ARRAY) {
        uint64_t n;
        if (!take_kind(c, &v->element, v->key) || !take_u64(c, &n, "an array's length"))
            return false;
        size_t begin = c->at;
        if (!skip_values(c, v->element, n, v->key, 1)) return false;
        v->n = (int64_t)n; // at most the file's bytes: skip_values checked it
        v->data = c->data + begin;
        v->n_bytes = c->at - begin;
        return true;
    }
    size_t begin = c->at;
    if (!skip_values(c, v->kind, 1, v->key, 0)) return false;
    v->data = c->data + begin;
    v->n_bytes = c->at - begin;
    return true;
}

static bool take_tensor(struct gguf *g, struct cursor *c, struct gguf_tensor *t, uint64_t *offset) {
    uint32_t n_dims;
    t->name = take_name(g, c, TENSOR_NAME_LIMIT, "a tensor's name");
    if (t->name == NULL || !take_u32(c, &n_dims, "a tensor's dimensions")) return false;
    if (n_dims < 1 || n_dims > GGUF_MAX_DIMS)
        return error_set(c->err, ERR_INPUT, "%s: tensor \"%s\" has %u dimensions, not 1 to %d",
                         c->name, t->name, n_dims, GGUF_MAX_DIMS);
    t->n_dims = (int)n_dims;
    t->count = 1;
    for (uint32_t i = 0; i < n_dims; i++) { // the file's order is fastest first
        uint64_t size;
        if (!take_u64(c, &size, "a tensor's dimension")) return false;
        if (size == 0 || size > INT64_MAX ||
            __builtin_mul_overflow(t->count, (int64_t)size, &t->count))
            return error_set(c->err, ERR_INPUT,
                             "%s: tensor \"%s\": dimension %u of %llu is zero "
                             "or makes the count overflow",
                             c->name, t->name, i, (unsigned long long)size);
        t->shape[n_dims - 1 - i] = (int64_t)size;
    }
    t->n_cols = t->shape[n_dims - 1];
    if (!take_u32(c, &t->type, "a tensor's type") || !take_u64(c, offset, "a tensor's offset"))
        return false;
    int64_t block;
    size_t bytes;
    if (!gguf_type_size(t->type, &block, &bytes))
        return error_set(c->err, ERR_INPUT, "%s: tensor \"%s\": type %u is not known", c->name,
                         t->name, t->type);
    if (t->n_cols % block != 0)
        return error_set(c->err, ERR_INPUT,
                         "%s: tensor \"%s\": rows of %lld values are not whole %s blocks of %lld",
                         c->name, t->name, (long long)t->n_cols, gguf_type_name(t->type),
                         (long long)block);
    if (__builtin_mul_overflow((size_t)(t->n_cols / block), bytes, &t->row_bytes) ||
        __builtin_mul_overflow((size_t)(t->count / t->n_cols), t->row_bytes, &t->n_bytes))
        return error_set(c->err, ERR_INPUT, "%s: tensor \"%s\": its size overflows", c->name,
                         t->name);
    return true;
}

// -------------------------------------------------------------------------------------------------
// the directory

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct gguf_value *)a)->key, ((const struct gguf_value *)b)->key);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

static int by_begin(const void *a, const void *b) {
    const struct gguf_tensor *x = a, *y = b;
    return x->data < y->data ? -1 : x->data > y->data;
}

static bool parse_counts(struct cursor *c, uint64_t *n_tensors, uint64_t *n_values) {
    uint32_t version;
    const uint8_t *magic = take(c, 4, "the magic");
    if (magic == NULL) return false;
    if (memcmp(magic, "GGUF", 4) != 0)
        return error_set(c->err, ERR_INPUT, "%s: starts with bytes %02x %02x %02x %02x, not GGUF",
                         c->name, magic[0], magic[1], magic[2], magic[3]);
    if (!take_u32(c, &version, "the version")) return false;
    if (version == 2u << 24 || version == 3u << 24)
        return error_set(c->err, ERR_INPUT, "%s: a big-endian GGUF, only little-endian is read",
                         c->name);
    if (version != 2 && version != 3)
        return error_set(c->err, ERR_INPUT, "%s: GGUF version %u, only 2 and 3 are read", c->name,
                         version);
    if (!take_u64(c, n_tensors, "the count of tensors") ||
        !take_u64(c, n_values, "the count of metadata pairs"))
        return false;
    if (*n_values > VALUES_LIMIT || *n_tensors > TENSORS_LIMIT)
        return error_set(c->err, ERR_LIMIT,
                         "%s: %llu metadata pairs and %llu tensors, the limits are %d and %d",
                         c->name, (unsigned long long)*n_values, (unsigned long long)*n_tensors,
                         VALUES_LIMIT, TENSORS_LIMIT);
    if (*n_values * VALUE_MIN_BYTES + *n_tensors * TENSOR_MIN_BYTES > left(c))
        return error_set(c->err, ERR_INPUT,
                         "%s: %llu metadata pairs and %llu tensors do not fit %zu bytes (truncated "
                         "file?)",
                         c->name, (unsigned long long)*n_values, (unsigned long long)*n_tensors,
                         left(c));
    return true;
}

static bool parse_values(struct gguf *g, struct cursor *c, uint64_t n) {
    g->values = arena_alloc_array(&g->arena, (size_t)n, sizeof *g->values);
    if (g->values == NULL) return error_set(c->err, ERR_NOMEM, "%s: out of memory", c->name);
    for (uint64_t i = 0; i < n; i++) {
        if (!take_value(g, c, &g->values[i])) return false;
        g->n_values++;
    }
    if (n > 0) qsort(g->values, (size_t)n, sizeof *g->values, by_key);
    for (int64_t i = 1; i < g->n_values; i++)
        if (strcmp(g->values[i - 1].key, g->values[i].key) == 0)
            return error_set(c->err, ERR_INPUT, "%s: key \"%.80s\" is there twice", c->name,
                             g->values[i].key);
    return true;
}

static bool parse_tensors(struct gguf *g, struct cursor *c, uint64_t n, size_t alignment) {
    g->tensors = arena_alloc_array(&g->arena, (size_t)n, sizeof *g->tensors);
    uint64_t *offsets = malloc((size_t)n * sizeof *offsets + 1);
    bool ok = (g->tensors != NULL && offsets != NULL) ||
              error_set(c->err, ERR_NOMEM, "%s: out of memory", c->name);
    for (uint64_t i = 0; ok && i < n; i++) ok = take_tensor(g, c, &g->tensors[i], &offsets[i]);
    size_t padding = (alignment - c->at % alignment) % alignment;
    if (ok && n > 0) ok = take(c, padding, "the padding before the data") != NULL;
    for (uint64_t i = 0; ok && i < n; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        if (offsets[i] % alignment != 0)
            ok = error_set(c->err, ERR_INPUT,
                           "%s: tensor \"%s\": offset %llu is not a multiple of the alignment %zu",
                           c->name, t->name, (unsigned long long)offsets[i], alignment);
        else if (offsets[i] > left(c) || t->n_bytes > left(c) - offsets[i])
            ok = error_set(c->err, ERR_INPUT,
                           "%s: tensor \"%s\": %zu bytes at offset %llu leave the %zu bytes of "
                           "data (truncated file?)",
                           c->name, t->name, t->n_bytes, (unsigned long long)offsets[i], left(c));
        else t->data = c->data + c->at + offsets[i];
    }
    free(offsets);
    if (!ok) return false;
    g->n_tensors = (int64_t)n;
    if (n == 0) return true;
    qsort(g->tensors, (size_t)n, sizeof *g->tensors, by_begin);
    for (int64_t i = 1; i < g->n_tensors; i++)
        if (g->tensors[i].data < g->tensors[i - 1].data + g->tensors[i - 1].n_bytes)
            return error_set(c->err, ERR_INPUT, "%s: tensor \"%s\" overlaps \"%s\"", c->name,
                             g->tensors[i].name, g->tensors[i - 1].name);
    qsort(g->tensors, (size_t)n, sizeof *g->tensors, by_name);
    for (int64_t i = 1; i < g->n_tensors; i++)
        if (strcmp(g->tensors[i - 1].name, g->tensors[i].name) == 0)
            return error_set(c->err, ERR_INPUT, "%s: tensor \"%s\" is there twice", c->name,
                             g->tensors[i].name);
    return true;
}

static bool parse(struct gguf *g, struct error *err) {
    struct cursor c = {.data = g->data, .n_bytes = g->n_bytes, .name = g->name, .err = err};
    uint64_t n_tensors = 0, n_values = 0;
    int64_t alignment = 32;
    if (!parse_counts(&c, &n_tensors, &n_values) || !parse_values(g, &c, n_values) ||
        !gguf_get_i64(g, "general.alignment", false, &alignment, err))
        return false;
    if (alignment < 1 || alignment > ALIGNMENT_LIMIT || (alignment & (alignment - 1)) != 0)
        return error_set(err, ERR_INPUT,
                         "%s: general.alignment %lld is not a power of two up to %d", g->name,
                         (long long)alignment, ALIGNMENT_LIMIT);
    return parse_tensors(g, &c, n_tensors, (size_t)alignment);
}

static struct gguf *new_file(const char *name, struct error *err) {
    struct gguf *g = calloc(1, sizeof *g);
    if (g != NULL) arena_init(&g->arena, 0);
    if (g == NULL || (g->name = arena_strndup(&g->arena, name, strlen(name))) == NULL) {
        error_set(err, ERR_NOMEM, "%s: out of memory", name);
        gguf_close(g);
        return NULL;
    }
    return g;
}

bool gguf_open(struct gguf **out, const char *path, struct error *err) {
    *out = NULL;
    struct gguf *g = new_file(path, err);
    if (g == NULL) return false;
    if (!file_map(&g->map, path, err)) goto fail;
    g->data = g->map.data;
    g->n_bytes = g->map.n_bytes;
    if (!parse(g, err)) goto fail;
    *out = g;
    return true;
fail:
    gguf_close(g);
    return false;
}

bool gguf_open_memory(struct gguf **out, const uint8_t *data, size_t n_bytes, const char *name,
                      struct error *err) {
    *out = NULL;
    struct gguf *g = new_file(name, err);
    if (g == NULL) return false;
    g->data = data;
    g->n_bytes = n_bytes;
    if (!parse(g, err)) {
        gguf_close(g);
        return false;
    }
    *out = g;
    return true;
}

void gguf_close(struct gguf *g) {
    if (g == NULL) return;
    file_unmap(&g->map);
    arena_release(&g->arena);
    free(g);
}

const char *gguf_name(const struct gguf *g) {
    return g->name;
}

void gguf_sha256(const struct gguf *g, char out_hex[65]) {
    hash_sha256_hex(out_hex, g->data, g->n_bytes);
}

bool gguf_is_path(const char *path) {
    size_t n = strlen(path);
    if (file_is_folder(path)) return false;
    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0) return true;
    char magic[4] = "";
    FILE *f = fopen(path, "rb");
    bool is = f != NULL && fread(magic, 1, 4, f) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (f != NULL) fclose(f);
    return is;
}

int64_t gguf_value_count(const struct gguf *g) {
    return g->n_values;
}

const struct gguf_value *gguf_value_at(const struct gguf *g, int64_t i) {
    return &g->values[i];
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key) {
    struct gguf_value wanted = {.key = key};
    if (g->n_values == 0) return NULL;
    return bsearch(&wanted, g->values, (size_t)g->n_values, sizeof wanted, by_key);
}

int64_t gguf_tensor_count(const struct gguf *g) {
    return g->n_tensors;
}

const struct gguf_tensor *gguf_tensor_at(const struct gguf *g, int64_t i) {
    return &g->tensors[i];
}

const struct gguf_tensor *gguf_tensor_find(const struct gguf *g, const char *name) {
    struct gguf_tensor wanted = {.name = name};
    if (g->n_tensors == 0) return NULL;
    return bsearch(&wanted, g->tensors, (size_t)g->n_tensors, sizeof wanted, by_name);
}

// -------------------------------------------------------------------------------------------------
// values

static const char *const kind_names[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "string", "array", "u64", "i64", "f64"};

static bool find(const struct gguf *g, const char *key, bool required,
                 const struct gguf_value **out, struct error *err) {
    *out = gguf_find(g, key);
    return *out != NULL || !required ||
           error_set(err, ERR_INPUT, "%s: key \"%s\" is missing", g->name, key);
}

static bool wrong_kind(const struct gguf *g, const struct gguf_value *v, const char *wanted,
                       struct error *err) {
    return error_set(err, ERR_INPUT, "%s: key \"%s\" must be %s, not %s%s%s", g->name, v->key,
                     wanted, kind_names[v->kind], v->kind == GGUF_ARRAY ? " of " : "",
                     v->kind == GGUF_ARRAY ? kind_names[v->element] : "");
}

static bool kind_is_integer(enum gguf_kind kind) {
    return kind <= GGUF_I32 || kind == GGUF_U64 || kind == GGUF_I64;
}

static bool kind_is_float(enum gguf_kind kind) {
    return kind == GGUF_FLOAT32 || kind == GGUF_FLOAT64;
}

// A u64 past INT64_MAX comes out negative: no count or id of a model is that large, and every
// caller checks its range.
static int64_t integer_at(const uint8_t *p, enum gguf_kind kind) {
    size_t bytes = kind_bytes(kind);
    uint64_t v = read_le(p, bytes);
    bool is_signed = kind == GGUF_I8 || kind == GGUF_I16 || kind == GGUF_I32;
    if (is_signed && v >> (8 * bytes - 1) != 0) v |= UINT64_MAX << (8 * bytes);
    return (int64_t)v;
}

static double float_at(const uint8_t *p, enum gguf_kind kind) {
    float f;
    double d;
    if (kind == GGUF_FLOAT32) {
        memcpy(&f, p, sizeof f);
        return (double)f;
    }
    memcpy(&d, p, sizeof d);
    return d;
}

bool gguf_get_i64(const struct gguf *g, const char *key, bool required, int64_t *out,
                  struct error *err) {
    const struct gguf_value *v;
    if (!find(g, key, required, &v, err)) return false;
    if (v == NULL) return true;
    if (!kind_is_integer(v->kind)) return wrong_kind(g, v, "an integer", err);
    *out = integer_at(v->data, v->kind);
    return true;
}

bool gguf_get_f64(const struct gguf *g, const char *key, bool required, double *out,
                  struct error *err) {
    const struct gguf_value *v;
    if (!find(g, key, required, &v, err)) return false;
    if (v == NULL) return true;
    if (kind_is_integer(v->kind)) *out = (double)integer_at(v->data, v->kind);
    else if (kind_is_float(v->kind)) *out = float_at(v->data, v->kind);
    else return wrong_kind(g, v, "a number", err);
    return true;
}

bool gguf_get_bool(const struct gguf *g, const char *key, bool required, bool *out,
                   struct error *err) {
    const struct gguf_value *v;
    if (!find(g, key, required, &v, err)) return false;
    if (v == NULL) return true;
    if (v->kind != GGUF_BOOL) return wrong_kind(g, v, "a bool", err);
    *out = v->data[0] != 0;
    return true;
}

bool gguf_get_string(const struct gguf *g, const char *key, bool required, const char **out,
                     size_t *n_bytes, struct error *err) {
    const struct gguf_value *v;
    if (!find(g, key, required, &v, err)) return false;
    if (v == NULL) return true;
    if (v->kind != GGUF_STRING) return wrong_kind(g, v, "a string", err);
    *out = (const char *)v->data + 8;
    *n_bytes = v->n_bytes - 8;
    if (!utf8_valid(*out, *n_bytes, NULL) || memchr(*out, 0, *n_bytes) != NULL)
        return error_set(err, ERR_INPUT, "%s: key \"%s\" is not UTF-8 without NUL", g->name, key);
    return true;
}

bool gguf_get_array(const struct gguf *g, const char *key, enum gguf_kind element, bool required,
                    const struct gguf_value **out, struct error *err) {
    char wanted[32];
    if (!find(g, key, required, out, err)) return false;
    if (*out == NULL || ((*out)->kind == GGUF_ARRAY && (*out)->element == element)) return true;
    snprintf(wanted, sizeof wanted, "an array of %s", kind_names[element]);
    return wrong_kind(g, *out, wanted, err);
}

int64_t gguf_array_i64(const struct gguf_value *v, int64_t i) {
    assert(kind_is_integer(v->element) && i >= 0 && i < v->n);
    return integer_at(v->data + (size_t)i * kind_bytes(v->element), v->element);
}

double gguf_array_f64(const struct gguf_value *v, int64_t i) {
    assert(kind_is_float(v->element) && i >= 0 && i < v->n);
    return float_at(v->data + (size_t)i * kind_bytes(v->element), v->element);
}

bool gguf_array_string(const struct gguf_value *v, size_t *cursor, const char **out,
                       size_t *n_bytes) {
    assert(v->kind == GGUF_ARRAY && v->element == GGUF_STRING);
    if (*cursor >= v->n_bytes) return false;
    *n_bytes = (size_t)read_le(v->data + *cursor, 8); // checked at open
    *out = (const char *)v->data + *cursor + 8;
    *cursor += 8 + *n_bytes;
    return true;
}

bool gguf_read_rows(float *out, const struct gguf_tensor *t, int64_t row, int64_t n_rows,
                    struct error *err) {
    if (!gguf_type_readable(t->type))
        return error_set(err, ERR_INPUT, "tensor \"%s\": type %s is not supported", t->name,
                         gguf_type_name(t->type));
    assert(row >= 0 && n_rows >= 0 && n_rows <= t->count / t->n_cols - row);
    gguf_dequantise(t->type, out, t->data + (size_t)row * t->row_bytes, n_rows * t->n_cols);
    return true;
}
