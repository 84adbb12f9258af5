// engine/gguf_model.h - what a GGUF file's keys and tensor names mean: config, names, tokenizer,
// chat template, as llama.cpp's converter writes them, and the same written back. Architectures
// llama (also Mistral), qwen2, qwen3.
#ifndef ENGINE_GGUF_MODEL_H
#define ENGINE_GGUF_MODEL_H

#include "core/buf.h"
#include "engine/config.h"
#include "engine/gguf.h"

#include <jansson.h>

enum { GGUF_NAME_BYTES = 128 };

// A file whose tensors are not those its metadata implies is refused: another computation.
NODISCARD bool gguf_model_config(struct model_config *config, const struct gguf *file,
                                 struct error *err);
// "blk.3.attn_q.weight" <-> "model.layers.3.self_attn.q_proj.weight"; false: no such name.
bool gguf_name_to_hf(char out[GGUF_NAME_BYTES], const char *name);
bool gguf_name_from_hf(char out[GGUF_NAME_BYTES], const char *hf_name);
// llama.cpp turns pairs of neighbouring rows of q and k (Su et al. 2021, arXiv:2104.09864), Hugging
// Face row i and row i + D/2 of a head; its converter reorders the rows of `llama`, not of qwen.
// How many heads' rows of this tensor are so ordered: 0 for none.
int64_t gguf_paired_heads(const struct model_config *config, const char *hf_name);
// Reorders x[rows, cols] in place: from pairs to halves, or back.
NODISCARD bool gguf_rows_reorder(float *x, int64_t rows, int64_t cols, int64_t heads, bool to_pairs,
                                 struct error *err);

// Appends a tokenizer.json: tokenizer.huggingface.json when the file holds one, else built from
// tokenizer.ggml.* (byte-level BPE, with a `pre` this program knows; anything else is an error).
NODISCARD bool gguf_tokenizer_json(struct buf *out, const struct gguf *file, struct error *err);
// Appends tokenizer.chat_template (nothing when absent); *variables gets a new object: bos_token...
NODISCARD bool gguf_chat_template(struct buf *out, json_t **variables, const struct gguf *file,
                                  struct error *err);

// --- writing
// The keys of the config; `file_type` is llama.cpp's number of the mix of types.
NODISCARD bool gguf_put_config(struct gguf_metadata *metadata, const struct model_config *config,
                               const char *model_name, uint32_t file_type, struct error *err);
// rope_freqs.weight of a llama3 scaling: what each frequency is divided by, [D/2].
double gguf_rope_divisor(const struct model_config *config, int64_t i);
// The keys of a tokenizer.json (byte-level BPE), which is also stored whole.
NODISCARD bool gguf_put_tokenizer(struct gguf_metadata *metadata, const struct model_config *config,
                                  const char *json, size_t n_bytes, const char *name,
                                  struct error *err);

#endif
