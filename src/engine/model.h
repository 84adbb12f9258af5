// engine/model.h - a model folder or GGUF file opened for inference: config, packed weights,
// tokenizer.
// Thread: read-only once open; many sessions may share it.
#ifndef ENGINE_MODEL_H
#define ENGINE_MODEL_H

#include "engine/config.h"
#include "engine/tokenizer.h"
#include "kernels/gemm.h"

struct layer {
    float *attn_norm, *mlp_norm; // [C]
    struct weight qkv;           // [(H + 2 H_kv) D, C], q then k then v
    struct weight o;             // [C, H D]
    struct weight gate_up;       // [2 F, C], gate then up
    struct weight down;          // [C, F]
    float *qkv_bias, *o_bias, *gate_up_bias, *down_bias; // NULL when absent
    float *q_norm, *k_norm;                              // [D], NULL when absent
};

struct model {
    struct model_config config;
    struct tokenizer *tokenizer;
    float *embedding; // [V, C]
    float *norm;      // [C]
    struct layer *layers;
    struct weight head;        // [V, C]
    char sha256[65];           // of the weight files
    char name[128];            // last part of the folder's path, or sillon.json's "name"
    int64_t weight_bytes;      // memory held by weights
};

struct model_options {
    enum weight_type type; // WEIGHT_F32; WEIGHT_BF16: half the memory; WEIGHT_I8: a quarter, and int8 products
};

// FOLDER: a model folder, or a .gguf file. Another file, or a folder without config.json, is an error
// that says what was expected.
NODISCARD bool model_open(struct model **out, const char *folder, const struct model_options *options,
                          struct error *err);
void model_close(struct model *model); // NULL is fine

#endif
