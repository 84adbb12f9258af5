// labels: ref
// tests/engine/test_gguf.c - GGUF against the Python package `gguf` (tests/engine/ref/gguf): types,
// values, a whole model; what is written is read back; malformed files are refused with a sentence;
// a model and its tokenizer are the same from a folder and from its GGUF.
#include "../core/check.h"
#include "core/file.h"
#include "core/json.h"
#include "core/rng.h"
#include "engine/chat.h"
#include "engine/convert.h"
#include "engine/gguf.h"
#include "engine/gguf_model.h"
#include "engine/safetensors.h"
#include "engine/session.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[] = "/tmp/sillon-gguf-XXXXXX";
static char path[256]; // of the file a test writes

static const char *in_folder(const char *name) {
    static char out[2][256];
    static int turn;
    turn = !turn;
    snprintf(out[turn], sizeof out[turn], "%s/%s", folder, name);
    return out[turn];
}

static struct gguf *open_file(const char *name) {
    struct error err = {0};
    struct gguf *g;
    if (gguf_open(&g, name, &err)) return g;
    printf("%s\n", err.text);
    exit(1);
}

// -------------------------------------------------------------------------------------------------
// against the Python package

static bool string_is(const struct gguf *g, const char *key, const char *want) {
    const char *s = NULL;
    size_t n = 0;
    struct error err = {0};
    return gguf_get_string(g, key, true, &s, &n, &err) && n == strlen(want) &&
           memcmp(s, want, n) == 0;
}

static void test_metadata(void) {
    static const struct {
        const char *key;
        int64_t want;
    } integers[] = {{"test.u8", 200},
                    {"test.i8", -100},
                    {"test.u16", 60000},
                    {"test.i16", -30000},
                    {"test.u32", 4000000000},
                    {"test.i32", -2000000000},
                    {"test.u64", INT64_C(1) << 40},
                    {"test.i64", -(INT64_C(1) << 40)}};
    struct gguf *g = open_file("tests/engine/ref/gguf/types.gguf");
    struct error err = {0};
    for (int64_t i = 0; i < COUNT_OF(integers); i++) {
        int64_t v = 0;
        double d = 0;
        CHECK(gguf_get_i64(g, integers[i].key, true, &v, &err) && v == integers[i].want &&
                  gguf_get_f64(g, integers[i].key, true, &d, &err) && d == (double)v,
              "%s: got %lld, want %lld", integers[i].key, (long long)v,
              (long long)integers[i].want);
    }
    double f32 = 0, f64 = 0, absent = 3;
    bool yes = false, no = true;
    CHECK(gguf_get_f64(g, "test.f32", true, &f32, &err) && f32 == (double)0.1f &&
              gguf_get_f64(g, "test.f64", true, &f64, &err) && f64 == 0.1,
          "floats %g %g", f32, f64);
    CHECK(gguf_get_bool(g, "test.yes", true, &yes, &err) && yes &&
              gguf_get_bool(g, "test.no", true, &no, &err) && !no,
          "bools");
    CHECK(string_is(g, "test.string", "m\xC3\xA9tro \xE2\x98\x94") &&
              string_is(g, "test.empty", " "),
          "strings");
    CHECK(gguf_get_f64(g, "test.absent", false, &absent, &err) && absent == 3, "an absent key");
    const struct gguf_value *a = NULL, *nested = gguf_find(g, "test.nested");
    static const char *const strings[] = {"a", "", "ligne\n2", "\xC3\xA9t\xC3\xA9"};
    size_t cursor = 0, n = 0;
    const char *s = NULL;
    CHECK(gguf_get_array(g, "test.strings", GGUF_STRING, true, &a, &err) && a->n == 4, "strings");
    for (int i = 0; i < 4; i++)
        CHECK(gguf_array_string(a, &cursor, &s, &n) && n == strlen(strings[i]) &&
                  memcmp(s, strings[i], n) == 0,
              "string %d", i);
    CHECK(!gguf_array_string(a, &cursor, &s, &n), "a fifth string");
    CHECK(gguf_get_array(g, "test.ints", GGUF_I32, true, &a, &err) && a->n == 3 &&
              gguf_array_i64(a, 0) == 3 && gguf_array_i64(a, 1) == -1 && gguf_array_i64(a, 2) == 2,
          "integers");
    CHECK(gguf_get_array(g, "test.floats", GGUF_FLOAT32, true, &a, &err) && a->n == 2 &&
              gguf_array_f64(a, 1) == -2.25,
          "floats");
    CHECK(nested != NULL && nested->kind == GGUF_ARRAY && nested->element == GGUF_ARRAY &&
              nested->n == 2,
          "arrays in an array");
    // The wrong kind, or nothing: the sentence says which.
    int64_t i64;
    CHECK(!gguf_get_i64(g, "test.ints", true, &i64, &err) &&
              strstr(err.text, "\"test.ints\" must be an integer, not array of i32") != NULL,
          "%s", err.text);
    error_reset(&err);
    CHECK(!gguf_get_array(g, "test.ints", GGUF_STRING, true, &a, &err) &&
              strstr(err.text, "an array of string") != NULL,
          "%s", err.text);
    error_reset(&err);
    CHECK(!gguf_get_bool(g, "test.absent", true, &yes, &err) &&
              strstr(err.text, "\"test.absent\" is missing") != NULL,
          "%s", err.text);
    gguf_close(g);
    gguf_close(NULL);
}

static void test_types(void) {
    static const char *const names[] = {"F32",  "F16",  "BF16", "Q8_0", "Q4_0", "Q4_1",
                                        "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K"};
    struct gguf *g = open_file("tests/engine/ref/gguf/types.gguf");
    struct error err = {0};
    struct tensor_set *ref;
    if (!tensor_set_open(&ref, "tests/engine/ref/gguf/types.safetensors", &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    for (int64_t i = 0; i < COUNT_OF(names); i++) {
        const struct gguf_tensor *t = gguf_tensor_find(g, names[i]);
        const struct tensor *want = tensor_set_find(ref, names[i]);
        if (t == NULL || want == NULL || t->count != want->count) {
            CHECK(false, "%s is missing", names[i]);
            continue;
        }
        CHECK(strcmp(gguf_type_name(t->type), names[i]) == 0 && t->n_dims == 2 &&
                  t->shape[0] == want->shape[0] && t->shape[1] == want->shape[1],
              "%s: %lld x %lld", names[i], (long long)t->shape[0], (long long)t->shape[1]);
        float *got = malloc(want->n_bytes); // exact size: ASan sees a value too many
        CHECK(gguf_read_rows(got, t, 0, t->shape[0], &err), "%s", err.text);
        int64_t at = 0;
        while (at < t->count && memcmp(&got[at], want->data + 4 * at, 4) == 0) at++;
        CHECK(at == t->count, "%s: value %lld is %.9g, not gguf's", names[i], (long long)at,
              (double)got[at < t->count ? at : 0]);
        // The last row alone gives the same.
        CHECK(gguf_read_rows(got, t, t->shape[0] - 1, 1, &err) &&
                  memcmp(got, want->data + 4 * (t->count - t->n_cols), 4 * (size_t)t->n_cols) == 0,
              "%s: its last row", names[i]);
        free(got);
    }
    const struct gguf_tensor *unread = gguf_tensor_find(g, "Q2_K");
    float one;
    CHECK(unread != NULL && !gguf_read_rows(&one, unread, 0, 0, &err) &&
              strstr(err.text, "Q2_K is not supported") != NULL,
          "%s", err.text);
    error_reset(&err);
    // What we write from the same values: the same bytes.
    static const uint32_t written[] = {GGUF_F32, GGUF_F16, GGUF_BF16, GGUF_Q8_0, GGUF_Q4_0};
    const struct tensor *source = tensor_set_find(ref, "source");
    float *values = malloc(source->n_bytes);
    memcpy(values, source->data, source->n_bytes);
    for (int64_t i = 0; i < COUNT_OF(written); i++) {
        const struct gguf_tensor *t = gguf_tensor_find(g, gguf_type_name(written[i]));
        uint8_t *blocks = malloc(t->n_bytes);
        CHECK(gguf_quantise(written[i], blocks, values, source->count, "source", &err), "%s",
              err.text);
        size_t at = 0;
        while (at < t->n_bytes && blocks[at] == t->data[at]) at++;
        CHECK(at == t->n_bytes, "%s: byte %zu differs from gguf's", t->name, at);
        free(blocks);
    }
    free(values);
    tensor_set_close(ref);
    gguf_close(g);
}

// -------------------------------------------------------------------------------------------------
// written and read

struct values {
    const float *v;
    int64_t n;
};

static bool give_values(void *context, int64_t i, float *out, struct error *err) {
    const struct values *c = context;
    (void)i;
    (void)err;
    memcpy(out, c->v, (size_t)c->n * sizeof *out);
    return true;
}

// Bounds. F16: half a unit in the last of 11 bits, or of the subnormals' 2^-24; BF16: of 8 bits.
// Q8_0: d = max / 127 rounds to half a step, plus q <= 127 times the f16 rounding of d. Q4_0: d =
// max / 8; a value opposite to the largest may be cut from 8 to 7, a whole step; plus 8 times d's
// rounding. The two products in f32 add 4 half-units of 2^-24 of the result.
static double bound_of(uint32_t type, double x, double most) {
    double f16 = 0x1p-11, tiny = 0x1p-25, f32 = 4 * 0x1p-24 * fabs(most);
    switch (type) {
    case GGUF_F32:
        return 0;
    case GGUF_F16:
        return fmax(fabs(x) * f16, tiny);
    case GGUF_BF16:
        return fabs(x) * 0x1p-8;
    case GGUF_Q8_0:
        return most / 127 / 2 + 127 * fmax(most / 127 * f16, tiny) + f32;
    default:
        return most / 8 + 8 * fmax(most / 8 * f16, tiny) + f32;
    }
}

static void test_round_trips(void) {
    static const uint32_t types[] = {GGUF_F32, GGUF_F16, GGUF_BF16, GGUF_Q8_0, GGUF_Q4_0};
    enum { ROWS = 24, COLS = 64 };
    float values[ROWS * COLS], got[ROWS * COLS];
    struct rng rng;
    rng_init(&rng, 3);
    for (int i = 0; i < ROWS * COLS; i++) {
        double scale = pow(10, i / COLS % 8 - 5); // 1e-5 to 1e2
        values[i] = (float)((rng_f64(&rng) - 0.5) * scale);
    }
    for (int i = 0; i < COLS; i++) values[i] = i % 3 == 0 ? 0 : -values[i];
    struct values context = {values, ROWS * COLS};
    for (int64_t i = 0; i < COUNT_OF(types); i++) {
        struct gguf_metadata m = {0};
        struct error err = {0};
        const struct gguf_output outputs[] = {{"a", types[i], 2, {ROWS, COLS}},
                                              {"b", types[i], 3, {2, ROWS / 2, COLS}}};
        gguf_put_string(&m, "k", "", 0);
        CHECK(gguf_file_write(path, &m, outputs, 2, give_values, &context, &err), "%s", err.text);
        gguf_metadata_release(&m);
        struct gguf *g = open_file(path);
        const struct gguf_tensor *b = gguf_tensor_find(g, "b");
        CHECK(gguf_tensor_count(g) == 2 && b->n_dims == 3 && b->shape[0] == 2 &&
                  b->shape[2] == COLS && (uintptr_t)b->data % 32 == 0,
              "shape");
        CHECK(gguf_read_rows(got, b, 0, ROWS, &err), "%s", err.text);
        for (int j = 0; j < ROWS * COLS; j++) {
            double most = 0;
            for (int k = j / 32 * 32; k < j / 32 * 32 + 32; k++)
                most = fmax(most, fabs((double)values[k]));
            double bound = bound_of(types[i], (double)values[j], most),
                   d = fabs((double)got[j] - (double)values[j]);
            CHECK(d <= bound, "%s: value %d: %.9g came back %.9g, bound %g",
                  gguf_type_name(types[i]), j, (double)values[j], (double)got[j], bound);
        }
        printf("  %-5s round trip of %d values within the bound\n", gguf_type_name(types[i]),
               ROWS * COLS);
        gguf_close(g);
    }
    // Every f16 and bf16 comes back as it was (a NaN as some NaN).
    for (uint32_t h = 0; h < 65536; h++) {
        static const uint32_t halves[] = {GGUF_F16, GGUF_BF16};
        for (int i = 0; i < 2; i++) {
            uint8_t bytes[2] = {(uint8_t)h, (uint8_t)(h >> 8)}, back[2];
            float f;
            struct error err = {0};
            gguf_dequantise(halves[i], &f, bytes, 1);
            bool ok = gguf_quantise(halves[i], back, &f, 1, "h", &err);
            CHECK(ok && (isnan(f) || memcmp(bytes, back, 2) == 0), "%s %04x",
                  gguf_type_name(halves[i]), h);
        }
    }
}

static void test_not_written(void) {
    static const struct {
        uint32_t type;
        float value;
        const char *says;
    } cases[] = {{GGUF_Q8_0, INFINITY, "Q8_0 cannot hold the value inf"},
                 {GGUF_Q4_0, NAN, "Q4_0 cannot hold the value"},
                 {GGUF_Q8_0, 1e9f, "Q8_0 cannot hold"},
                 {GGUF_F16, 65520, "over F16's range"},
                 {GGUF_Q4_K, 1, "Q4_K cannot be written"}};
    float values[256] = {0};
    struct values context = {values, 256};
    struct gguf_metadata m = {0};
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct error err = {0};
        struct gguf_output output = {"w", cases[i].type, 1, {256}};
        values[77] = cases[i].value;
        unlink(path);
        CHECK(!gguf_file_write(path, &m, &output, 1, give_values, &context, &err) &&
                  strstr(err.text, cases[i].says) != NULL && !file_exists(path),
              "\"%s\" does not say \"%s\"", err.text, cases[i].says);
        printf("  %s\n", err.text);
    }
    values[77] = 0;
    struct error err = {0};
    struct gguf_output output = {"w", GGUF_Q4_0, 2, {8, 33}};
    CHECK(!gguf_file_write(path, &m, &output, 1, give_values, &context, &err) &&
              strstr(err.text, "rows of 33 values") != NULL,
          "%s", err.text);
    error_reset(&err);
    output = (struct gguf_output){"w", GGUF_F32, 1, {256}};
    CHECK(!gguf_file_write("/nonexistent/x.gguf", &m, &output, 1, give_values, &context, &err) &&
              err.code == ERR_IO,
          "%s", err.text);
    // Values far below the scale's range become zeros, with nothing undefined on the way.
    for (int i = 0; i < 256; i++) values[i] = i % 2 ? 1e-40f : -0x1p-111f;
    error_reset(&err);
    uint8_t blocks[8 * 34];
    float back[256];
    for (int i = 0; i < 2; i++) {
        uint32_t type = i ? GGUF_Q4_0 : GGUF_Q8_0;
        CHECK(gguf_quantise(type, blocks, values, 256, "w", &err), "%s", err.text);
        gguf_dequantise(type, back, blocks, 256);
        CHECK(back[0] == 0 && back[255] == 0, "tiny values");
    }
}

// -------------------------------------------------------------------------------------------------
// malformed

static void u32(struct buf *b, uint32_t v) {
    for (int i = 0; i < 4; i++) buf_append_char(b, (char)(v >> (8 * i)));
}
static void u64(struct buf *b, uint64_t v) {
    u32(b, (uint32_t)v);
    u32(b, (uint32_t)(v >> 32));
}
static void str(struct buf *b, const char *s) {
    u64(b, strlen(s));
    buf_append_str(b, s);
}
static void head(struct buf *b, uint32_t version, uint64_t n_tensors, uint64_t n_values) {
    buf_append_str(b, "GGUF");
    u32(b, version);
    u64(b, n_tensors);
    u64(b, n_values);
}
static void tensor(struct buf *b, const char *name, uint32_t type, uint64_t cols, uint64_t rows,
                   uint64_t offset) {
    str(b, name);
    u32(b, 2);
    u64(b, cols);
    u64(b, rows);
    u32(b, type);
    u64(b, offset);
}
static void data(struct buf *b, size_t n) {
    while (b->n_bytes % 32 != 0) buf_append_char(b, 0);
    for (size_t i = 0; i < n; i++) buf_append_char(b, 1);
}

static void bad_empty(struct buf *b) {
    (void)b;
}
static void bad_magic(struct buf *b) {
    buf_append_str(b, "GGML\3\0\0\0");
}
static void bad_big_endian(struct buf *b) {
    head(b, 3u << 24, 0, 0);
}
static void bad_version(struct buf *b) {
    head(b, 1, 0, 0);
}
static void bad_counts(struct buf *b) {
    head(b, 3, 1000, 2);
}
static void bad_huge_counts(struct buf *b) {
    head(b, 3, UINT64_MAX, UINT64_MAX);
}
static void bad_key_length(struct buf *b) {
    head(b, 3, 0, 1);
    u64(b, UINT64_MAX);
    u64(b, 0);
}
static void bad_key_past_end(struct buf *b) {
    head(b, 3, 0, 1);
    u64(b, 60);
    buf_append_str(b, "general.architecture");
}
static void bad_key_bytes(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "gen\xFF");
    u32(b, GGUF_U32);
    u32(b, 1);
}
static void bad_kind(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "key");
    u32(b, 13);
    u64(b, 1);
}
static void bad_bool(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "flag");
    u32(b, GGUF_BOOL);
    buf_append_char(b, 2);
}
static void bad_string(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "key");
    u32(b, GGUF_STRING);
    u64(b, UINT64_MAX - 7);
    u64(b, 0);
}
static void bad_array(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "list");
    u32(b, GGUF_ARRAY);
    u32(b, GGUF_U64);
    u64(b, UINT64_C(1) << 61); // times 8 bytes is 0
    u64(b, 0);
}
static void bad_deep(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "deep");
    u32(b, GGUF_ARRAY);
    for (int i = 0; i < 20; i++) {
        u32(b, GGUF_ARRAY);
        u64(b, 1);
    }
}
static void bad_key_twice(struct buf *b) {
    head(b, 3, 0, 2);
    for (int i = 0; i < 2; i++) {
        str(b, "same.key");
        u32(b, GGUF_U32);
        u32(b, 1);
    }
}
static void bad_alignment(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "general.alignment");
    u32(b, GGUF_U32);
    u32(b, 24);
}
static void bad_alignment_zero(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "general.alignment");
    u32(b, GGUF_U32);
    u32(b, 0);
}
static void bad_alignment_kind(struct buf *b) {
    head(b, 3, 0, 1);
    str(b, "general.alignment");
    u32(b, GGUF_STRING);
    str(b, "32");
}
static void bad_dims(struct buf *b) {
    head(b, 3, 1, 0);
    str(b, "w");
    u32(b, 5);
    for (int i = 0; i < 8; i++) u64(b, 1);
}
static void bad_dim_zero(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", GGUF_F32, 0, 4, 0);
    data(b, 64);
}
static void bad_dim_overflow(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", GGUF_F32, UINT64_C(1) << 32, UINT64_C(1) << 32, 0);
    data(b, 64);
}
static void bad_size_overflow(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", 28, UINT64_C(1) << 31, UINT64_C(1) << 31, 0); // F64: 2^65 bytes
    data(b, 64);
}
static void bad_type(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", 99, 4, 4, 0);
    data(b, 64);
}
static void bad_block(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", GGUF_Q8_0, 40, 4, 0);
    data(b, 256);
}
static void bad_offset(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", GGUF_F32, 4, 4, 8);
    data(b, 128);
}
static void bad_offset_past_end(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", GGUF_F32, 4, 4, UINT64_MAX - 31);
    data(b, 64);
}
static void bad_truncated(struct buf *b) {
    head(b, 3, 1, 0);
    tensor(b, "w", GGUF_F32, 4, 4, 0);
    data(b, 63);
}
static void bad_overlap(struct buf *b) {
    head(b, 3, 2, 0);
    tensor(b, "v", GGUF_F32, 4, 4, 0);
    tensor(b, "w", GGUF_F32, 4, 4, 32);
    data(b, 128);
}
static void bad_name_twice(struct buf *b) {
    head(b, 3, 2, 0);
    tensor(b, "w", GGUF_F32, 4, 4, 0);
    tensor(b, "w", GGUF_F32, 4, 4, 64);
    data(b, 128);
}
static void bad_name_long(struct buf *b) {
    char name[129];
    memset(name, 'n', 128);
    name[128] = '\0';
    head(b, 3, 1, 0);
    tensor(b, name, GGUF_F32, 4, 4, 0);
    data(b, 64);
}

static void test_malformed(void) {
    static const struct {
        const char *what;
        void (*make)(struct buf *b);
        const char *says;
    } cases[] = {
        {"nothing", bad_empty, "the magic at byte 0 needs 4 bytes, 0 are left"},
        {"another magic", bad_magic, "not GGUF"},
        {"big-endian", bad_big_endian, "big-endian"},
        {"version 1", bad_version, "version 1"},
        {"counts past the end", bad_counts, "1000 tensors do not fit 0 bytes"},
        {"huge counts", bad_huge_counts, "the limits are"},
        {"a key's length", bad_key_length, "18446744073709551615 bytes long, the limit is 65535"},
        {"a key past the end", bad_key_past_end, "needs 60 bytes, 20 are left"},
        {"a key that is no UTF-8", bad_key_bytes, "not UTF-8"},
        {"a value's type", bad_kind, "\"key\": value type 13"},
        {"a boolean of 2", bad_bool, "\"flag\": boolean of value 2"},
        {"a string past the end", bad_string, "key at byte 47 needs 18446744073709551608 bytes"},
        {"an array that overflows", bad_array, "\"list\" claims 2305843009213693952 values"},
        {"arrays too deep", bad_deep, "arrays inside each other"},
        {"a key twice", bad_key_twice, "\"same.key\" is there twice"},
        {"alignment 24", bad_alignment, "general.alignment 24"},
        {"alignment 0", bad_alignment_zero, "general.alignment 0"},
        {"alignment as text", bad_alignment_kind, "must be an integer, not string"},
        {"five dimensions", bad_dims, "5 dimensions"},
        {"a dimension of 0", bad_dim_zero, "dimension 0 of 0 is zero"},
        {"a count that overflows", bad_dim_overflow, "overflow"},
        {"a size that overflows", bad_size_overflow, "its size overflows"},
        {"type 99", bad_type, "\"w\": type 99"},
        {"half a block", bad_block, "40 values are not whole Q8_0 blocks of 32"},
        {"an unaligned offset", bad_offset, "offset 8 is not a multiple of the alignment 32"},
        {"an offset past the end", bad_offset_past_end, "truncated"},
        {"data cut by a byte", bad_truncated, "64 bytes at offset 0 leave the 63 bytes"},
        {"tensors that overlap", bad_overlap, "\"w\" overlaps \"v\""},
        {"a name twice", bad_name_twice, "\"w\" is there twice"},
        {"a long name", bad_name_long, "is 128 bytes long, the limit is 127"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b = {0};
        struct error err = {0};
        struct gguf *g;
        cases[i].make(&b);
        uint8_t *exact = malloc(b.n_bytes + !b.n_bytes);
        if (b.n_bytes > 0) memcpy(exact, b.data, b.n_bytes);
        bool ok = gguf_open_memory(&g, exact, b.n_bytes, "m.gguf", &err);
        printf("  %-26s %s\n", cases[i].what, err.text);
        CHECK(!ok && g == NULL && strstr(err.text, cases[i].says) != NULL &&
                  strstr(err.text, "m.gguf") != NULL,
              "%s: \"%s\" does not say \"%s\"", cases[i].what, err.text, cases[i].says);
        if (ok) gguf_close(g);
        free(exact);
        buf_release(&b);
    }
    // A good file cut at every byte: refused each time, but where only the last padding is lost.
    struct error err = {0};
    char *text;
    size_t n;
    if (!file_read(&text, &n, "tests/engine/ref/gguf/types.gguf", 0, &err)) exit(1);
    for (size_t cut = 0; cut < n; cut += cut < 2000 ? 1 : 7) {
        uint8_t *exact = malloc(cut + !cut);
        struct gguf *g;
        memcpy(exact, text, cut);
        error_reset(&err);
        bool ok = gguf_open_memory(&g, exact, cut, "cut", &err);
        CHECK(ok ? n - cut < 32 : err.text[0] != '\0', "cut at %zu of %zu: %s", cut, n, err.text);
        if (ok) gguf_close(g);
        free(exact);
    }
    free(text);
}

// -------------------------------------------------------------------------------------------------
// models

static const char *const models[] = {"llama", "llama_bias", "qwen2", "qwen3"};

static struct model *open_model(const char *name) {
    struct error err = {0};
    struct model *m;
    if (model_open(&m, name, NULL, &err)) return m;
    CHECK(false, "%s", err.text);
    return NULL;
}

// The logits of 48 tokens, [48, V]; the caller frees them.
static float *logits_of(const struct model *m) {
    enum { T = 48 };
    struct error err = {0};
    struct session *s;
    int64_t V = m->config.V;
    int32_t tokens[T];
    for (int i = 0; i < T; i++) tokens[i] = (i * 37 + 11) % (int32_t)V;
    float *out = malloc((size_t)(T * V) * sizeof *out);
    if (!session_open(&s, m, NULL, &(struct session_options){1, T, T}, &err)) exit(1);
    struct session_part part = {.tokens = tokens, .n = T, .want_all = true};
    if (!session_forward(s, &part, 1, &err)) exit(1);
    for (int i = 0; i < T; i++) session_logits(s, out + i * V, session_hidden(s, 0, i));
    session_close(s);
    return out;
}

static float worst_difference(const char *a, const char *b) {
    struct model *x = open_model(a), *y = open_model(b);
    float worst = INFINITY;
    if (x != NULL && y != NULL && x->config.V == y->config.V) {
        float *p = logits_of(x), *q = logits_of(y);
        worst = 0;
        for (int64_t i = 0; i < 48 * x->config.V; i++) {
            float d = fabsf(p[i] - q[i]);
            if (!(d <= worst)) worst = d;
        }
        free(p);
        free(q);
    }
    model_close(x);
    model_close(y);
    return worst;
}

static void convert(const char *out, const char *in, const char *type) {
    struct error err = {0};
    struct convert_report report;
    CHECK(model_convert(out, in, type, &report, &err), "%s -> %s: %s", in, out, err.text);
}

static bool config_same(const struct model_config *a, const struct model_config *b) {
    return a->family == b->family && a->V == b->V && a->C == b->C && a->L == b->L && a->H == b->H &&
           a->H_kv == b->H_kv && a->D == b->D && a->F == b->F && a->T_max == b->T_max &&
           a->norm_eps == b->norm_eps && a->rope_theta == b->rope_theta &&
           a->rope_scaling == b->rope_scaling && a->rope_factor == b->rope_factor &&
           a->rope_low_freq_factor == b->rope_low_freq_factor &&
           a->rope_high_freq_factor == b->rope_high_freq_factor &&
           (a->rope_scaling == ROPE_NONE || a->rope_original_T_max == b->rope_original_T_max) &&
           a->rope_beta_fast == b->rope_beta_fast && a->rope_beta_slow == b->rope_beta_slow &&
           fabs(a->rope_attention_factor - b->rope_attention_factor) < 1e-6 &&
           a->tied_head == b->tied_head && a->qkv_bias == b->qkv_bias && a->o_bias == b->o_bias &&
           a->mlp_bias == b->mlp_bias && a->qk_norm == b->qk_norm && a->bos == b->bos &&
           a->n_eos == b->n_eos && memcmp(a->eos, b->eos, (size_t)a->n_eos * sizeof *a->eos) == 0 &&
           a->pad == b->pad;
}

static void test_models(void) {
    for (int64_t i = 0; i < COUNT_OF(models); i++) {
        char in[128], file[256], back[256];
        snprintf(in, sizeof in, "tests/engine/ref/model/%s", models[i]);
        snprintf(file, sizeof file, "%s", in_folder("model.gguf"));
        snprintf(back, sizeof back, "%s", in_folder("back"));
        convert(file, in, "f32");
        float d = worst_difference(in, file);
        CHECK(d == 0, "%s: logits from its f32 GGUF differ by %g", in, (double)d);
        convert(file, in, NULL); // as stored: nothing is lost either
        d = worst_difference(in, file);
        CHECK(d == 0, "%s: logits from its GGUF differ by %g", in, (double)d);
        convert(back, file, NULL);
        d = worst_difference(in, back);
        CHECK(d == 0, "%s: logits from the folder made of its GGUF differ by %g", in, (double)d);
        struct model *x = open_model(in), *y = open_model(file), *z = open_model(back);
        CHECK(config_same(&x->config, &y->config) && config_same(&x->config, &z->config),
              "%s: another config", in);
        model_close(x);
        model_close(y);
        model_close(z);
        convert(file, in, "q8_0");
        float q8 = worst_difference(in, file);
        convert(file, in, "q4_0");
        float q4 = worst_difference(in, file);
        // No derivation: a random model's logits, of the order of 10, are not far off in eight
        // bits.
        CHECK(q8 > 0 && q8 < 2 && q4 > q8 && isfinite(q4), "%s: q8_0 %g, q4_0 %g", in, (double)q8,
              (double)q4);
        printf(
            "  %-12s f32 and as stored: same bits; max |logit difference| q8_0 %.3g, q4_0 %.3g\n",
            models[i], (double)q8, (double)q4);
    }
    float d = worst_difference("tests/engine/ref/model/llama_bias",
                               "tests/engine/ref/gguf/llama_bias.gguf");
    CHECK(d == 0, "logits from the Python package's file differ by %g", (double)d);
}

// Changes a file's bytes `from` into `to`, of the same length.
static void patch(const char *file, const char *from, const char *to) {
    struct error err = {0};
    char *text;
    size_t n, m = strlen(from);
    if (!file_read(&text, &n, file, 0, &err)) exit(1);
    char *at = memmem(text, n, from, m);
    CHECK(at != NULL && strlen(to) == m, "%s is not in %s", from, file);
    if (at != NULL) memcpy(at, to, m);
    if (!file_write_atomic(file, text, n, &err)) exit(1);
    free(text);
}

static bool give_each(void *context, int64_t i, float *out, struct error *err) {
    struct values *each = context;
    return give_values(&each[i], i, out, err);
}

// A file with a tiny embedding, the keys a config writes, and rope_freqs.weight for llama3: what is
// read back, without our own key for the latter.
static bool config_trip(struct model_config *out, const struct model_config *c, struct error *err) {
    struct gguf_metadata m = {0};
    float values[64] = {0};
    const struct gguf_output outputs[] = {
        {"rope_freqs.weight", GGUF_F32, 1, {c->D / 2}},
        {"token_embd.weight", GGUF_F32, 2, {8, 8}},
    };
    int first = c->rope_scaling == ROPE_LLAMA3 ? 0 : 1;
    struct values each[] = {{values, c->D / 2}, {values, 64}};
    struct gguf *g = NULL;
    for (int64_t i = 0; first == 0 && i < c->D / 2; i++) values[i] = (float)gguf_rope_divisor(c, i);
    bool ok = gguf_put_config(&m, c, "tiny", 0, err) &&
              gguf_file_write(path, &m, outputs + first, 2 - first, give_each, each + first, err);
    if (ok && first == 0) patch(path, "sillon.rope.llama3", "sillon.rope.hidden");
    ok = ok && gguf_open(&g, path, err) && gguf_model_config(out, g, err);
    gguf_metadata_release(&m);
    gguf_close(g);
    return ok;
}

static void test_config(void) {
    const struct model_config base = {.family = FAMILY_LLAMA,
                                      .V = 8,
                                      .C = 8,
                                      .L = 1,
                                      .H = 2,
                                      .H_kv = 1,
                                      .D = 4,
                                      .F = 8,
                                      .T_max = 4096,
                                      .norm_eps = 1e-5f,
                                      .rope_theta = 500000,
                                      .tied_head = true,
                                      .init_std = 0.02f,
                                      .bos = -1,
                                      .pad = -1,
                                      .rope_original_T_max = 4096};
    struct model_config c = base, got;
    struct error err = {0};
    CHECK(config_trip(&got, &c, &err) && config_same(&got, &c), "none: %s", err.text);
    c.rope_scaling = ROPE_LINEAR;
    c.rope_factor = 4;
    CHECK(config_trip(&got, &c, &err) && config_same(&got, &c), "linear: %s", err.text);
    c.rope_scaling = ROPE_YARN;
    c.rope_original_T_max = 1024;
    CHECK(config_trip(&got, &c, &err) && config_same(&got, &c), "yarn: %s", err.text);
    c.rope_beta_fast = 16;
    c.rope_beta_slow = 2;
    c.rope_attention_factor = 0.75;
    CHECK(config_trip(&got, &c, &err) && config_same(&got, &c), "yarn in full: %s", err.text);
    // The parameters of Llama 3.1 and 3.2, and odd ones: found back exactly, to the thousandth for
    // high.
    static const struct {
        double theta, factor, high, length;
        int64_t D;
    } llama3[] = {{500000, 8, 4, 8192, 128},
                  {500000, 32, 4, 8192, 64},
                  {500000, 4, 4, 4096, 64},
                  {10000, 16, 8.5, 2048, 96}};
    for (int64_t i = 0; i < COUNT_OF(llama3); i++) {
        c = base;
        c.rope_scaling = ROPE_LLAMA3;
        c.rope_theta = llama3[i].theta;
        c.rope_factor = llama3[i].factor;
        c.rope_low_freq_factor = 1;
        c.rope_high_freq_factor = llama3[i].high;
        c.rope_original_T_max = llama3[i].length;
        c.D = llama3[i].D;
        CHECK(config_trip(&got, &c, &err) && config_same(&got, &c),
              "llama3 %d: factor %g, high %.9g, length %.9g: %s", (int)i, got.rope_factor,
              got.rope_high_freq_factor, got.rope_original_T_max, err.text);
        error_reset(&err);
    }
    c.rope_scaling = ROPE_DYNAMIC;
    CHECK(!config_trip(&got, &c, &err) && strstr(err.text, "dynamic") != NULL, "%s", err.text);
    error_reset(&err);
    // llama3 without our own key: the parameters are found back from rope_freqs.weight.
    const char *file = in_folder("model.gguf");
    convert(file, "tests/engine/ref/model/llama", NULL);
    patch(file, "sillon.rope.llama3", "sillon.rope.hidden");
    struct model *x = open_model("tests/engine/ref/model/llama"), *y = open_model(file);
    CHECK(x != NULL && y != NULL && config_same(&x->config, &y->config),
          "llama3: factor %g, low %g, high %g, length %g", y->config.rope_factor,
          y->config.rope_low_freq_factor, y->config.rope_high_freq_factor,
          y->config.rope_original_T_max);
    model_close(x);
    model_close(y);
    // What a file can say that this program does not compute.
    static const struct {
        const char *from, *to, *says;
    } cases[] = {
        {"llama", "mamba", "general.architecture \"mamba\""}, // the value comes before its keys
        {"llama.block_count", "llama.block_cOunt", "\"llama.block_count\" is missing"},
        {"blk.1.attn_v.weight", "blk.1.attn_w.weight", "\"blk.1.attn_w.weight\" has no part"},
        {"blk.1.attn_v.weight", "blk.2.attn_v.weight", "v_proj.weight\" is missing"},
        {"token_embd.weight", "token_ambd.weight", "no matrix \"token_embd.weight\""},
        {"rope_freqs.weight", "ropE_freqs.weight", "has no part"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct model *m;
        convert(file, "tests/engine/ref/model/llama", NULL);
        patch(file, cases[i].from, cases[i].to);
        error_reset(&err);
        bool ok = model_open(&m, file, NULL, &err);
        printf("  %s\n", err.text);
        CHECK(!ok && strstr(err.text, cases[i].says) != NULL && strstr(err.text, file) != NULL,
              "\"%s\" does not say \"%s\"", err.text, cases[i].says);
        if (ok) model_close(m);
    }
    struct gguf_metadata m = {0};
    struct gguf *g = NULL;
    gguf_put_u32(&m, "split.count", 3);
    error_reset(&err);
    CHECK(gguf_put_config(&m, &base, "part", 0, &err) &&
              gguf_file_write(path, &m, NULL, 0, give_values, NULL, &err) &&
              gguf_open(&g, path, &err) && !gguf_model_config(&got, g, &err) &&
              strstr(err.text, "one of 3 parts") != NULL,
          "%s", err.text);
    gguf_metadata_release(&m);
    gguf_close(g);
    // A folder that is to become q8_0 files, a type that is none.
    struct convert_report report;
    error_reset(&err);
    CHECK(!model_convert(in_folder("x"), "tests/engine/ref/model/llama", "q8_0", &report, &err) &&
              err.code == ERR_USAGE,
          "%s", err.text);
    error_reset(&err);
    CHECK(!model_convert(file, "tests/engine/ref/model/llama", "q3", &report, &err) &&
              err.code == ERR_USAGE,
          "%s", err.text);
}

// -------------------------------------------------------------------------------------------------
// tokenizers

// Writes a tokenizer to a file without tensors; `own` false hides tokenizer.huggingface.json.
static struct tokenizer *tokenizer_trip(const char *json, int64_t V, const int32_t bos, bool own,
                                        struct error *err) {
    struct gguf_metadata m = {0};
    struct model_config c = {.V = V, .bos = bos, .pad = -1};
    struct gguf *g = NULL;
    struct buf text = {0};
    struct tokenizer *t = NULL;
    bool ok = gguf_put_tokenizer(&m, &c, json, strlen(json), "case", err) &&
              gguf_file_write(path, &m, NULL, 0, give_values, NULL, err);
    gguf_metadata_release(&m);
    if (ok && !own) patch(path, "tokenizer.huggingface.json", "tokenizer.huggingface.hide");
    ok = ok && gguf_open(&g, path, err) && gguf_tokenizer_json(&text, g, err) &&
         tokenizer_parse(&t, text.data, text.n_bytes, "gguf", err);
    gguf_close(g);
    buf_release(&text);
    return ok ? t : NULL;
}

static bool same_tokens(const struct tokenizer *a, const struct tokenizer *b, const char *s,
                        size_t n, unsigned flags) {
    struct token_list x = {0}, y = {0};
    struct buf p = {0}, q = {0};
    struct error err = {0};
    bool ok = tokenizer_encode(a, &x, s, n, flags, &err) &&
              tokenizer_encode(b, &y, s, n, flags, &err) && x.n == y.n &&
              (x.n == 0 || memcmp(x.ids, y.ids, (size_t)x.n * sizeof *x.ids) == 0) &&
              tokenizer_decode(a, &p, x.ids, x.n, true, &err) &&
              tokenizer_decode(b, &q, y.ids, y.n, true, &err) && p.n_bytes == q.n_bytes &&
              (p.n_bytes == 0 || memcmp(p.data, q.data, p.n_bytes) == 0);
    token_list_release(&x);
    token_list_release(&y);
    buf_release(&p);
    buf_release(&q);
    return ok;
}

// Encodes every line of every case with both: the number of lines that differ.
static int compare_lines(const json_t *cases, const struct tokenizer *a,
                         const struct tokenizer *b) {
    static const unsigned flags[] = {0, TOKENIZER_ADD_SPECIAL | TOKENIZER_PARSE_SPECIAL};
    size_t i, j;
    const json_t *c, *line;
    int n_different = 0;
    json_array_foreach(cases, i, c) {
        json_array_foreach(json_object_get(c, "lines"), j, line) {
            const json_t *text = json_array_get(line, 0);
            if (!json_is_string(text)) continue;
            for (int f = 0; f < 2; f++)
                n_different +=
                    !same_tokens(a, b, json_string_value(text), json_string_length(text), flags[f]);
        }
    }
    return n_different;
}

// One tokenizer.json: from the file's copy of it, and from its tokens and merges alone.
static void compare_tokenizer(const json_t *cases, const char *name, json_t *tokenizer, int32_t bos,
                              bool has_pre) {
    struct error err = {0};
    struct tokenizer *want = NULL;
    char *json = json_dumps(tokenizer, 0);
    if (!tokenizer_parse(&want, json, strlen(json), name, &err)) {
        CHECK(false, "%s", err.text);
        free(json);
        return;
    }
    int64_t V = tokenizer_vocab(want) + 3; // rows nobody uses, as in many models
    struct tokenizer *own = tokenizer_trip(json, V, bos, true, &err);
    CHECK(own != NULL && compare_lines(cases, want, own) == 0, "%s: %s", name, err.text);
    error_reset(&err);
    struct tokenizer *built = tokenizer_trip(json, V, bos, false, &err);
    if (has_pre) {
        int n = built != NULL ? compare_lines(cases, want, built) : -1;
        CHECK(n == 0, "%s: %d lines differ when built from tokenizer.ggml.*: %s", name, n,
              err.text);
    } else {
        CHECK(built == NULL && strstr(err.text, "tokenizer.ggml.pre \"tokenizer.json\"") != NULL,
              "%s: a pipeline no `pre` names was taken for one: %s", name, err.text);
    }
    printf("  %-28s %s\n", name,
           has_pre ? "same from tokens and merges, and from its own json"
                   : "same from its own json, refused without");
    tokenizer_close(want);
    tokenizer_close(own);
    tokenizer_close(built);
    free(json);
}

static bool mentions(const json_t *v, const char *type) {
    char *dump = json_dumps(v, JSON_ENCODE_ANY);
    bool has = dump != NULL && strstr(dump, type) != NULL;
    free(dump);
    return has;
}

static void test_tokenizers(void) {
    struct error err = {0};
    json_t *cases, *c;
    size_t i;
    if (!json_parse_file(&cases, "tests/engine/ref/tokenizer/cases.json", &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    json_array_foreach(cases, i, c) {
        const char *name = json_string_value(json_object_get(c, "name"));
        json_t *t = json_object_get(c, "tokenizer");
        if (!mentions(json_object_get(t, "pre_tokenizer"), "ByteLevel")) {
            char *json = json_dumps(t, 0);
            struct tokenizer *none = tokenizer_trip(json, 1000, -1, true, &err);
            CHECK(none == NULL && strstr(err.text, "only byte-level BPE") != NULL, "%s: %s", name,
                  err.text);
            tokenizer_close(none);
            error_reset(&err);
            free(json);
            continue;
        }
        bool has_pre = strcmp(name, "smollm") == 0 || strcmp(name, "ours") == 0;
        json_t *processor = json_object_get(t, "post_processor");
        json_t *variant = json_deep_copy(t);
        if (processor != NULL) json_object_set_new(variant, "post_processor", json_null());
        compare_tokenizer(cases, name, variant, -1, has_pre);
        // The ones whose pipeline is a named one but for a detail, without it.
        if (strcmp(name, "gpt2") == 0) {
            json_object_set_new(json_object_get(variant, "pre_tokenizer"), "add_prefix_space",
                                json_false());
            compare_tokenizer(cases, "gpt2, no prefix space", variant, -1, true);
        }
        if (strcmp(name, "llama3") == 0) {
            json_object_set_new(variant, "normalizer", json_null());
            compare_tokenizer(cases, "llama3, no normalizer", variant, -1, true);
            json_t *added = json_array_get(json_object_get(variant, "added_tokens"), 0);
            json_int_t id = json_integer_value(json_object_get(added, "id"));
            const char *bos = json_string_value(json_object_get(added, "content"));
            json_object_set_new(
                variant, "post_processor",
                json_pack("{s:s, s:[{s:{s:s,s:i}},{s:{s:s,s:i}}], s:[], s:{s:{s:s,s:[I],s:[s]}}}",
                          "type", "TemplateProcessing", "single", "SpecialToken", "id", bos,
                          "type_id", 0, "Sequence", "id", "A", "type_id", 0, "pair",
                          "special_tokens", bos, "id", bos, "ids", id, "tokens", bos));
            compare_tokenizer(cases, "llama3, bos added", variant, (int32_t)id, true);
        }
        json_decref(variant);
    }
    json_decref(cases);
    // The models' own tokenizer, and the file the Python package wrote (which adds bos).
    struct model *a = open_model("tests/engine/ref/model/llama_bias"),
                 *b = open_model("tests/engine/ref/gguf/llama_bias.gguf");
    static const char text[] = "Le m\xC3\xA9tro est l\xC3\xA0, <|begin|> 12 ponts\n";
    CHECK(same_tokens(a->tokenizer, b->tokenizer, text, sizeof text - 1, TOKENIZER_PARSE_SPECIAL),
          "llama_bias.gguf");
    struct token_list list = {0};
    CHECK(tokenizer_encode(b->tokenizer, &list, "a", 1, TOKENIZER_ADD_SPECIAL, &err) &&
              list.n == 2 && list.ids[0] == 256,
          "bos is not added: %s", err.text);
    CHECK(tokenizer_token_bytes(b->tokenizer, 287, &(size_t){0}) == NULL, "a row nobody uses");
    token_list_release(&list);
    model_close(a);
    model_close(b);
    // Tokenizers this program does not know how to build.
    static const struct {
        const char *from, *to, *says;
    } bad[] = {
        {"gpt-2", "gpt-9", "tokenizer.ggml.pre \"gpt-9\" is not known"},
        {"gpt2", "bert", "tokenizer.ggml.model \"bert\" is not supported"},
        {"tokenizer.ggml.merges", "tokenizer.ggml.marges", "\"tokenizer.ggml.merges\" is missing"}};
    for (i = 0; i < (size_t)COUNT_OF(bad); i++) {
        char *bytes;
        size_t n;
        const char *file = in_folder("model.gguf");
        struct model *m;
        if (!file_read(&bytes, &n, "tests/engine/ref/gguf/llama_bias.gguf", 0, &err) ||
            !file_write_atomic(file, bytes, n, &err))
            exit(1);
        free(bytes);
        patch(file, bad[i].from, bad[i].to);
        bool ok = model_open(&m, file, NULL, &err);
        CHECK(!ok && strstr(err.text, bad[i].says) != NULL, "\"%s\" does not say \"%s\"", err.text,
              bad[i].says);
        printf("  %s\n", err.text);
        if (ok) model_close(m);
        error_reset(&err);
    }
}

static void test_chat(void) {
    struct error err = {0};
    struct chat_template *t;
    struct buf out = {0};
    json_t *messages = json_pack("[{s:s,s:s}]", "role", "user", "content", "Bonjour");
    if (!chat_template_open(&t, "tests/engine/ref/gguf/llama_bias.gguf", &err)) {
        CHECK(false, "%s", err.text);
        return;
    }
    CHECK(chat_template_render(t, &out, messages, false, NULL, &err) &&
              strcmp(out.data, "<|begin|>Bonjour") == 0,
          "rendered \"%s\" %s", out.data, err.text);
    chat_template_close(t);
    // To a folder and back to a file: the template goes along.
    const char *back = in_folder("back"), *file = in_folder("model.gguf");
    convert(back, "tests/engine/ref/gguf/llama_bias.gguf", NULL);
    convert(file, back, NULL);
    for (int i = 0; i < 2; i++) {
        buf_reset(&out);
        if (!chat_template_open(&t, i ? file : back, &err)) {
            CHECK(false, "%s", err.text);
            continue;
        }
        CHECK(chat_template_render(t, &out, messages, false, NULL, &err) &&
                  strcmp(out.data, "<|begin|>Bonjour") == 0,
              "rendered \"%s\" %s", out.data, err.text);
        chat_template_close(t);
    }
    float d = worst_difference(file, "tests/engine/ref/model/llama_bias");
    CHECK(d == 0, "there and back: logits differ by %g", (double)d);
    json_decref(messages);
    buf_release(&out);
}

int main(void) {
    if (mkdtemp(folder) == NULL) {
        printf("no temporary folder: skipped\n");
        return 77;
    }
    snprintf(path, sizeof path, "%s/file.gguf", folder);
    test_metadata();
    test_types();
    test_round_trips();
    test_not_written();
    test_malformed();
    test_models();
    test_config();
    test_tokenizers();
    test_chat();
    static const char *const files[] = {"file.gguf",
                                        "model.gguf",
                                        "back/config.json",
                                        "back/generation_config.json",
                                        "back/tokenizer.json",
                                        "back/tokenizer_config.json",
                                        "back/model.safetensors"};
    for (int64_t i = 0; i < COUNT_OF(files); i++) unlink(in_folder(files[i]));
    rmdir(in_folder("back"));
    CHECK(rmdir(folder) == 0, "%s holds something else", folder);
    return n_failed > 0;
}
