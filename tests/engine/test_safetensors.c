// tests/engine/test_safetensors.c - what a header may say and what is refused; files written are
// read back.
#include "../core/check.h"
#include "core/buf.h"
#include "core/file.h"
#include "engine/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// An exact-size heap block: header length, header, data bytes 0, 1, 2...
static uint8_t *make_file(const char *header, size_t data_bytes, uint64_t length, size_t *n_bytes) {
    size_t n_header = strlen(header);
    *n_bytes = 8 + n_header + data_bytes;
    uint8_t *file = malloc(*n_bytes);
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)(length >> (8 * i));
    memcpy(file + 8, header, n_header);
    for (size_t i = 0; i < data_bytes; i++) file[8 + n_header + i] = (uint8_t)i;
    return file;
}

static void test_refused(void) {
    static const struct {
        const char *what, *header;
        size_t data_bytes;
        const char *says;
    } cases[] = {
        {"not JSON", "{\"a\":", 0, "not JSON"},
        {"not an object", "[1]", 0, "not a JSON object"},
        {"an entry that is no object", "{\"a\":1}", 0, "must be an object"},
        {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "\"dtype\" is missing"},
        {"unknown dtype", "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4,
         "F8_E4M3"},
        {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "shape"},
        {"negative size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4,
         "shape[0]"},
        {"size that is no integer",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "shape[0]"},
        {"nine dimensions",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
         "at most 8"},
        {"product overflow",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,4]}}", 4,
         "overflows"},
        {"bytes overflow",
         "{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0,
         "values of F64"},
        {"one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4,
         "two offsets"},
        {"negative offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4,
         "two offsets"},
        {"offsets backwards", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4,
         "[4, 0]"},
        {"offset past the end", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
         4, "truncated"},
        {"huge offset",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9223372036854775803,"
         "9223372036854775807]}}",
         4, "truncated"},
        {"bytes for another shape",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8, "3 values of F32"},
        {"overlap",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[4,12]}}",
         12, "\"b\" overlaps"},
        {"the same bytes twice",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, "overlaps"},
        {"a hole",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[8,12]}}",
         12, "hole"},
        {"bytes after the last", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         9, "5 bytes after"},
        {"duplicate name",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8, "duplicate"},
        {"NUL in a name",
         "{\"a\\u0000b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, "\\u0000"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        struct tensor_set *set;
        size_t n;
        uint8_t *file =
            make_file(cases[i].header, cases[i].data_bytes, strlen(cases[i].header), &n);
        bool ok = tensor_set_open_memory(&set, file, n, "m.safetensors", &err);
        printf("  %-28s %s\n", cases[i].what, err.text);
        CHECK(!ok && set == NULL && strstr(err.text, cases[i].says) != NULL &&
                  strstr(err.text, "m.safetensors") != NULL,
              "%s: \"%s\" does not say \"%s\"", cases[i].what, err.text, cases[i].says);
        if (ok) tensor_set_close(set);
        free(file);
    }
    static const struct {
        uint64_t length;
        size_t keep;
        enum error_code code;
    } lengths[] = {{2, 0, ERR_INPUT},          {2, 7, ERR_INPUT},
                   {3, 10, ERR_INPUT},         {UINT64_MAX, 10, ERR_LIMIT},
                   {100000001, 10, ERR_LIMIT}, {100000000, 10, ERR_INPUT}};
    for (int64_t i = 0; i < COUNT_OF(lengths); i++) {
        struct error err = {0};
        struct tensor_set *set;
        size_t n;
        uint8_t *file = make_file("{}", 0, lengths[i].length, &n),
                *exact = malloc(lengths[i].keep + !lengths[i].keep);
        memcpy(exact, file, lengths[i].keep);
        CHECK(!tensor_set_open_memory(&set, exact, lengths[i].keep, "m", &err) &&
                  err.code == lengths[i].code,
              "header of %llu in %zu: %s", (unsigned long long)lengths[i].length, lengths[i].keep,
              err.text);
        printf("  %s\n", err.text);
        free(exact);
        free(file);
    }
}

static void test_accepted(void) {
    struct error err = {0};
    struct tensor_set *set;
    size_t n;
    // Out of order, an empty tensor, a scalar, metadata, padding spaces.
    uint8_t *file =
        make_file("{\"__metadata__\":{\"format\":\"pt\"},"
                  "\"z\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[4,7]},"
                  "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[4,4]},"
                  "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}      ",
                  7, 0, &n);
    uint64_t length = n - 8 - 7;
    for (int i = 0; i < 8; i++) file[i] = (uint8_t)(length >> (8 * i));
    CHECK(tensor_set_open_memory(&set, file, n, "m", &err), "%s", err.text);
    if (err.code == ERR_NONE) {
        const struct tensor *a = tensor_set_find(set, "a"), *empty = tensor_set_find(set, "empty"),
                            *z = tensor_set_find(set, "z");
        CHECK(tensor_set_count(set) == 3 && a != NULL && empty != NULL && z != NULL, "%lld tensors",
              (long long)tensor_set_count(set));
        CHECK(a->n_dims == 0 && a->count == 1 && a->n_bytes == 4 && a->data[1] == 1, "a");
        CHECK(empty->n_dims == 2 && empty->count == 0 && empty->n_bytes == 0 &&
                  empty->shape[1] == 5,
              "empty");
        CHECK(z->dtype == TENSOR_U8 && z->count == 3 && z->data[0] == 4, "z");
        CHECK(strcmp(tensor_set_at(set, 0)->name, "a") == 0 &&
                  strcmp(tensor_set_at(set, 2)->name, "z") == 0,
              "sorted");
        CHECK(tensor_set_find(set, "b") == NULL && tensor_set_find(set, "") == NULL,
              "absent names");
        CHECK(strcmp(tensor_set_metadata(set, "format"), "pt") == 0 &&
                  tensor_set_metadata(set, "x") == NULL,
              "metadata");
        float out[4];
        CHECK(!tensor_read_f32(out, z, &err) && strstr(err.text, "U8") != NULL,
              "U8 read as floats: %s", err.text);
        error_reset(&err);
        char hex[65];
        CHECK(!tensor_set_sha256(set, hex, &err), "a hash of no file");
        error_reset(&err);
        tensor_set_close(set);
    }
    free(file);
    file = make_file("{}", 0, 2, &n);
    CHECK(tensor_set_open_memory(&set, file, n, "m", &err) && tensor_set_count(set) == 0 &&
              tensor_set_find(set, "a") == NULL,
          "no tensor at all: %s", err.text);
    tensor_set_close(set);
    free(file);
    tensor_set_close(NULL);
}

static void test_conversions(void) {
    // F16: 1, -2, the smallest subnormal, the largest, inf, NaN. BF16: 1, -2.5, inf.
    static const uint16_t f16[6] = {0x3C00, 0xC000, 0x0001, 0x7BFF, 0x7C00, 0x7E00},
                          bf16[3] = {0x3F80, 0xC020, 0x7F80};
    static const double f64[3] = {0.1, 1e300, -1};
    static const float f32[2] = {1.5f, -0.0f};
    char path[] = "/tmp/sillon-tensors-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) exit(77);
    close(fd);
    const struct tensor_source sources[] = {
        {"half", TENSOR_F16, 1, {6}, f16},
        {"brain", TENSOR_BF16, 1, {3}, bf16},
        {"double", TENSOR_F64, 2, {3, 1}, f64},
        {"single", TENSOR_F32, 1, {2}, f32},
        {"none \"quoted\"\n", TENSOR_I64, 2, {0, 3}, NULL},
    };
    static const char *const metadata[] = {"step", "12", "note", "l\xC3\xA0 \"x\"", NULL};
    struct error err = {0};
    struct tensor_set *set = NULL;
    char hex[65], hex2[65];
    CHECK(tensor_file_write(path, sources, COUNT_OF(sources), metadata, &err), "%s", err.text);
    CHECK(tensor_set_open(&set, path, &err), "%s", err.text);
    if (set == NULL) return;
    CHECK((uintptr_t)tensor_set_find(set, "half")->data % 64 == 0,
          "data is not aligned to 64 bytes");
    CHECK(tensor_set_find(set, "none \"quoted\"\n") != NULL, "a quoted name");
    CHECK(strcmp(tensor_set_metadata(set, "step"), "12") == 0 &&
              strcmp(tensor_set_metadata(set, "format"), "pt") == 0 &&
              strcmp(tensor_set_metadata(set, "note"), metadata[3]) == 0,
          "metadata");
    float x[6];
    CHECK(tensor_read_f32(x, tensor_set_find(set, "half"), &err), "%s", err.text);
    CHECK(x[0] == 1 && x[1] == -2 && x[2] == 0x1p-24f && x[3] == 65504 && isinf(x[4]) &&
              isnan(x[5]),
          "f16: %g %g %g %g", (double)x[0], (double)x[1], (double)x[2], (double)x[3]);
    CHECK(tensor_read_f32(x, tensor_set_find(set, "brain"), &err) && x[0] == 1 && x[1] == -2.5f &&
              isinf(x[2]),
          "bf16");
    CHECK(tensor_read_f32(x, tensor_set_find(set, "double"), &err) && x[0] == 0.1f && isinf(x[1]) &&
              x[2] == -1,
          "f64");
    CHECK(tensor_read_f32(x, tensor_set_find(set, "single"), &err) && x[0] == 1.5f && x[1] == 0 &&
              signbit(x[1]),
          "f32");
    CHECK(tensor_set_sha256(set, hex, &err), "%s", err.text);
    tensor_set_close(set);
    // Written again: the same bytes, so the same hash.
    CHECK(tensor_file_write(path, sources, COUNT_OF(sources), metadata, &err) &&
              tensor_set_open(&set, path, &err) && tensor_set_sha256(set, hex2, &err) &&
              strcmp(hex, hex2) == 0,
          "%s %s %s", hex, hex2, err.text);
    tensor_set_close(set);
    unlink(path);
    CHECK(!tensor_file_write("/nonexistent/x", sources, 1, NULL, &err) && err.code == ERR_IO, "%s",
          err.text);
}

int main(void) {
    test_refused();
    test_accepted();
    test_conversions();
    return n_failed > 0;
}
