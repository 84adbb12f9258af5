// engine/convert.h - a model from one form to another: Hugging Face folder and GGUF file.
#ifndef ENGINE_CONVERT_H
#define ENGINE_CONVERT_H

#include "core/error.h"

struct convert_report {
    int64_t n_tensors;
    int64_t n_kept_f16; // matrices whose rows are not whole blocks of the type asked for
};

// OUT is a GGUF file when it ends in .gguf, else a folder (made when absent). IN is either. TYPE of
// the matrices: f32, f16, bf16, q8_0, q4_0 (the last two only into GGUF); NULL keeps those stored
// as F32, F16 or BF16 and makes quantised ones F32. Vectors are F32 in GGUF, as llama.cpp wants.
// With q4_0 the embedding and the head are Q8_0. The tokenizer, the chat template and sillon.json
// go with it. Files are written whole or not at all; on failure a folder may hold some of them.
NODISCARD bool model_convert(const char *out, const char *in, const char *type,
                             struct convert_report *report, struct error *err);

#endif
