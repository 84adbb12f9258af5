// engine/gguf.h - the container of llama.cpp's models: metadata and tensors in one file; read (v2
// and v3, little-endian) and written (v3).
// Format: "GGUF", u32 version, u64 tensors, u64 metadata pairs, the pairs, the tensor table,
// padding to `general.alignment`, data; https://github.com/ggml-org/ggml/blob/master/docs/gguf.md .
// What the metadata means for a model is engine/gguf_model.h's business.
// Every length, count, offset and overlap is checked when the file is opened.
#ifndef ENGINE_GGUF_H
#define ENGINE_GGUF_H

#include "core/buf.h"
#include "core/error.h"

// ggml's numbers. Others exist: their tensors are listed, and reading one is an error that names
// it.
enum gguf_type {
    GGUF_F32 = 0,
    GGUF_F16 = 1,
    GGUF_Q4_0 = 2,
    GGUF_Q4_1 = 3,
    GGUF_Q5_0 = 6,
    GGUF_Q5_1 = 7,
    GGUF_Q8_0 = 8,
    GGUF_Q4_K = 12,
    GGUF_Q5_K = 13,
    GGUF_Q6_K = 14,
    GGUF_BF16 = 30,
};
enum { GGUF_MAX_DIMS = 4 };

enum gguf_kind { // of a metadata value; the file's numbers
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_FLOAT32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_FLOAT64,
};

struct gguf_value {
    const char *key; // NUL-terminated
    enum gguf_kind kind;
    enum gguf_kind element; // of an array
    int64_t n;              // elements of an array, else 1
    const uint8_t
        *data; // the (first) value's bytes in the file: unaligned, a string's length first
    size_t n_bytes;
};

struct gguf_tensor {
    const char *name; // NUL-terminated
    uint32_t type;    // an enum gguf_type, or another of ggml's numbers
    int n_dims;
    int64_t shape[GGUF_MAX_DIMS]; // slowest first, as in safetensors: [rows, columns]
    int64_t count, n_cols;        // n_cols: values of a row, which is a whole number of blocks
    size_t row_bytes, n_bytes;
    const uint8_t *data; // into the map
};

struct gguf; // opaque: map and directory; read-only once open, so threads may share it

NODISCARD bool gguf_open(struct gguf **out, const char *path, struct error *err);
// Parses bytes in memory (borrowed until close): for tests and fuzzing.
NODISCARD bool gguf_open_memory(struct gguf **out, const uint8_t *data, size_t n_bytes,
                                const char *name, struct error *err);
void gguf_close(struct gguf *file);                          // NULL is fine
const char *gguf_name(const struct gguf *file);              // the path, for messages
void gguf_sha256(const struct gguf *file, char out_hex[65]); // of the whole file
// PATH names a GGUF file: it ends in .gguf, or it is a file that starts with "GGUF".
bool gguf_is_path(const char *path);

int64_t gguf_value_count(const struct gguf *file);
const struct gguf_value *gguf_value_at(const struct gguf *file, int64_t i);   // by key
const struct gguf_value *gguf_find(const struct gguf *file, const char *key); // NULL when absent
int64_t gguf_tensor_count(const struct gguf *file);
const struct gguf_tensor *gguf_tensor_at(const struct gguf *file, int64_t i); // by name
const struct gguf_tensor *gguf_tensor_find(const struct gguf *file, const char *name);

// Typed readers, as json_get_*: absent keeps *out when `required` is false; another kind is an
// error. i64 takes every integer kind, f64 also the floats. A string is borrowed from the file and
// not NUL-terminated.
NODISCARD bool gguf_get_i64(const struct gguf *file, const char *key, bool required, int64_t *out,
                            struct error *err);
NODISCARD bool gguf_get_f64(const struct gguf *file, const char *key, bool required, double *out,
                            struct error *err);
NODISCARD bool gguf_get_bool(const struct gguf *file, const char *key, bool required, bool *out,
                             struct error *err);
NODISCARD bool gguf_get_string(const struct gguf *file, const char *key, bool required,
                               const char **out, size_t *n_bytes, struct error *err);
// An array of `element`s; *out is NULL when absent and not required.
NODISCARD bool gguf_get_array(const struct gguf *file, const char *key, enum gguf_kind element,
                              bool required, const struct gguf_value **out, struct error *err);
// Element i of an array of numbers.
int64_t gguf_array_i64(const struct gguf_value *array, int64_t i);
double gguf_array_f64(const struct gguf_value *array, int64_t i);
// Walks an array of strings: *cursor starts at 0; false past the end.
bool gguf_array_string(const struct gguf_value *array, size_t *cursor, const char **out,
                       size_t *n_bytes);

// Rows [row, row + n_rows) of the tensor seen as rows of n_cols, as out[n_rows * n_cols].
NODISCARD bool gguf_read_rows(float *out, const struct gguf_tensor *tensor, int64_t row,
                              int64_t n_rows, struct error *err);
const char *gguf_type_name(uint32_t type); // "Q4_K"; "type 99" is "unknown"
bool gguf_type_readable(uint32_t type);

// --- gguf_quant.c: blocks <-> f32; n is a multiple of the type's block
NODISCARD bool gguf_type_size(uint32_t type, int64_t *block_values,
                              size_t *block_bytes); // false: unknown
void gguf_dequantise(uint32_t type, float *out, const uint8_t *blocks, int64_t n);
// F32, F16, BF16, Q8_0, Q4_0, to the bits ggml's reference writes; values the type cannot hold (not
// finite, a scale over f16's range) are an error that names `name`.
NODISCARD bool gguf_quantise(uint32_t type, uint8_t *blocks, const float *in, int64_t n,
                             const char *name, struct error *err);

// --- gguf_write.c. Metadata is built in a zeroed struct, released by the caller.
struct gguf_metadata {
    struct buf bytes;
    int64_t n;
};
void gguf_metadata_release(struct gguf_metadata *metadata);
void gguf_put_u32(struct gguf_metadata *metadata, const char *key, uint32_t value);
void gguf_put_f32(struct gguf_metadata *metadata, const char *key, float value);
void gguf_put_bool(struct gguf_metadata *metadata, const char *key, bool value);
void gguf_put_string(struct gguf_metadata *metadata, const char *key, const char *s,
                     size_t n_bytes);
// Followed by n calls of gguf_put_element_*.
void gguf_put_array(struct gguf_metadata *metadata, const char *key, enum gguf_kind element,
                    int64_t n);
void gguf_put_element_string(struct gguf_metadata *metadata, const char *s, size_t n_bytes);
void gguf_put_element_i32(struct gguf_metadata *metadata, int32_t value);
void gguf_put_element_f32(struct gguf_metadata *metadata, float value);

struct gguf_output {
    const char *name;
    uint32_t type;
    int n_dims;
    int64_t shape[GGUF_MAX_DIMS]; // slowest first; columns a whole number of blocks
};
// Gives tensor i's values as f32, one tensor at a time.
typedef bool gguf_reader(void *context, int64_t i, float *out, struct error *err);
// Atomic: path.tmp, fsync, rename.
NODISCARD bool gguf_file_write(const char *path, const struct gguf_metadata *metadata,
                               const struct gguf_output *tensors, int64_t n_tensors,
                               gguf_reader *reader, void *context, struct error *err);

#endif
