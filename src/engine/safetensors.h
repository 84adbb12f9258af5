// engine/safetensors.h - read (one file, or shards with an index) and write safetensors.
// Format: u64 little-endian header length N, N bytes of JSON {"name": {"dtype", "shape", "data_offsets"}}, data.
// Every offset, size and overlap is checked when the file is opened; see
// https://github.com/huggingface/safetensors#format .
#ifndef ENGINE_SAFETENSORS_H
#define ENGINE_SAFETENSORS_H

#include "core/error.h"

enum tensor_dtype { TENSOR_F32, TENSOR_F16, TENSOR_BF16, TENSOR_F64, TENSOR_I64, TENSOR_I32, TENSOR_I16, TENSOR_I8,
                    TENSOR_U8, TENSOR_BOOL };
enum { TENSOR_MAX_DIMS = 8 };

struct tensor {
    const char *name; // borrowed from the set
    enum tensor_dtype dtype;
    int n_dims;
    int64_t shape[TENSOR_MAX_DIMS];
    int64_t count;       // product of shape
    const uint8_t *data; // into the map; may be unaligned
    size_t n_bytes;
};

struct tensor_set; // opaque: maps and directory

// Opens PATH: a .safetensors file, or a folder that holds model.safetensors or model.safetensors.index.json.
NODISCARD bool tensor_set_open(struct tensor_set **out, const char *path, struct error *err);
// Parses bytes in memory (borrowed until close): for tests and fuzzing.
NODISCARD bool tensor_set_open_memory(struct tensor_set **out, const uint8_t *data, size_t n_bytes, const char *name,
                                      struct error *err);
void tensor_set_close(struct tensor_set *set); // NULL is fine
int64_t tensor_set_count(const struct tensor_set *set);
const struct tensor *tensor_set_at(const struct tensor_set *set, int64_t i);            // by position
const struct tensor *tensor_set_find(const struct tensor_set *set, const char *name);   // NULL when absent
const char *tensor_set_metadata(const struct tensor_set *set, const char *key);         // NULL when absent
// SHA-256 over every file of the set in order of name (hex).
NODISCARD bool tensor_set_sha256(const struct tensor_set *set, char out_hex[65], struct error *err);

// Converts any of F32, F16, BF16, F64 to out[count].
NODISCARD bool tensor_read_f32(float *out, const struct tensor *tensor, struct error *err);
const char *tensor_dtype_name(enum tensor_dtype dtype); // "F32"
size_t tensor_dtype_bytes(enum tensor_dtype dtype);

// Writing: the tensors in the order given, data aligned to 64 bytes, metadata {"format":"pt"} plus `metadata`
// pairs (NULL-terminated key, value, key, value...; may be NULL). Atomic: path.tmp, fsync, rename.
struct tensor_source {
    const char *name;
    enum tensor_dtype dtype;
    int n_dims;
    int64_t shape[TENSOR_MAX_DIMS];
    const void *data; // contiguous, count * dtype size bytes
};
NODISCARD bool tensor_file_write(const char *path, const struct tensor_source *tensors, int64_t n_tensors,
                                 const char *const *metadata, struct error *err);

#endif
