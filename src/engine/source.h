// engine/source.h - where a model comes from: a Hugging Face folder or a GGUF file, seen the same
// way. Tensors have Hugging Face's names and shapes, and rows in its order, whichever it is.
#ifndef ENGINE_SOURCE_H
#define ENGINE_SOURCE_H

#include "core/buf.h"
#include "engine/config.h"
#include "engine/gguf.h"
#include "engine/safetensors.h"

struct source; // opaque; read-only once open

struct source_tensor {
    const char *name; // borrowed from the source
    const char *type; // "BF16", "Q4_K"
    int n_dims;
    int64_t shape[TENSOR_MAX_DIMS];
    int64_t count;
    // The one it is:
    const struct tensor *stored;
    const struct gguf_tensor *packed;
    int64_t paired_heads; // of a GGUF q or k (gguf_model.h); 0: none
};

// PATH: a folder with config.json, or a GGUF file.
NODISCARD bool source_open(struct source **out, const char *path, struct error *err);
void source_close(struct source *source); // NULL is fine
const struct model_config *source_config(const struct source *source);
const char *source_config_name(const struct source *source); // "config.json", "its metadata"
int64_t source_count(const struct source *source);
const struct source_tensor *source_at(const struct source *source, int64_t i);
const struct source_tensor *source_find(const struct source *source,
                                        const char *name); // NULL: absent
// The values as f32, out[count].
NODISCARD bool source_read(float *out, const struct source_tensor *tensor, struct error *err);
NODISCARD bool source_sha256(const struct source *source, char out_hex[65], struct error *err);
// Appends the text of tokenizer.json, the folder's or one that says what the GGUF file holds.
NODISCARD bool source_tokenizer(const struct source *source, struct buf *out, struct error *err);
// Appends the text of sillon.json, a folder's file or a GGUF file's key; *present tells whether
// there is one.
NODISCARD bool source_sillon_json(struct buf *out, bool *present, const char *path,
                                  struct error *err);

#endif
