// train/params.h - where each trainable tensor lives in one flat array of floats.
// Weights, gradients and AdamW's two moments are four arrays of this same layout. Tensors that are multiplied
// together lie side by side: q, k, v are one matrix [(H + 2 H_kv) D, C]; gate, up one matrix [2 F, C].
#ifndef TRAIN_PARAMS_H
#define TRAIN_PARAMS_H

#include "core/arena.h"
#include "engine/config.h"
#include "engine/safetensors.h"

enum params_kind { PARAMS_MATRIX, PARAMS_EMBEDDING, PARAMS_NORM, PARAMS_QK_NORM, PARAMS_BIAS };

struct params_tensor {
    char name[96]; // as in the model files: model.layers.0.mlp.up_proj.weight
    enum params_kind kind;
    bool residual; // writes into the residual stream (o_proj, down_proj): a smaller start
    int n_dims;
    int64_t shape[2];
    int64_t offset, count; // in floats
};

// Offsets in floats; -1 where the config has no such tensor.
struct params_layer {
    int64_t attn_norm, mlp_norm;           // [C]
    int64_t qkv, qkv_bias;                 // [(H + 2 H_kv) D, C], [(H + 2 H_kv) D]
    int64_t q_norm, k_norm;                // [D]
    int64_t o, o_bias;                     // [C, H D], [C]
    int64_t gate_up, gate_up_bias;         // [2 F, C], [2 F]
    int64_t down, down_bias;               // [C, F], [C]
};

struct params {
    struct model_config config;
    struct arena arena; // owns the arrays below
    struct params_tensor *tensors;
    int64_t n_tensors;
    struct params_layer *layers; // [L]
    int64_t embedding, norm, head; // head == embedding when tied
    int64_t n_floats;              // of the flat array, alignment gaps included
    int64_t n_trainable;
};

NODISCARD bool params_init(struct params *params, const struct model_config *config, struct error *err);
void params_release(struct params *params); // zeroed storage is fine

// Random start: normal(0, init_std), residual projections divided by sqrt(2 L) (Radford et al. 2019, section
// 2.3), norms 1, biases 0. Each tensor has its own stream of `seed`. With fan_in, matrices have standard deviation
// 1 / sqrt(columns) instead of init_std (LeCun et al. 1998); the embedding keeps init_std.
void params_randomise(const struct params *params, float *w, uint64_t seed, bool fan_in);
// Adds the identity to layer 0's value and output projections (random parts scaled by 0.3): its attention starts as an
// average of the embeddings before each position. Needs H_kv D = H D = C; false otherwise, nothing changed.
bool params_identity_start(const struct params *params, float *w);
// Reads every tensor, by name with `prefix` in front, from an open set.
NODISCARD bool params_read(const struct params *params, float *w, const struct tensor_set *set, const char *prefix,
                           const char *where, struct error *err);
// Fills sources[n_tensors] for tensor_file_write(); names are "prefix + name", kept in `arena`.
NODISCARD bool params_sources(const struct params *params, struct tensor_source *sources, const float *w,
                              const char *prefix, struct arena *arena, struct error *err);

#endif
