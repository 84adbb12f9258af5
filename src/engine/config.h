// engine/config.h - config.json of a Hugging Face Llama- or Qwen3-family folder.
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include "core/error.h"

enum model_family { FAMILY_LLAMA, FAMILY_QWEN2, FAMILY_QWEN3 };
enum rope_scaling { ROPE_NONE, ROPE_LINEAR, ROPE_DYNAMIC, ROPE_LLAMA3, ROPE_YARN };

struct model_config {
    enum model_family family;
    int64_t V;        // vocab_size
    int64_t C;        // hidden_size
    int64_t L;        // num_hidden_layers
    int64_t H;        // num_attention_heads
    int64_t H_kv;     // num_key_value_heads
    int64_t D;        // head_dim
    int64_t F;        // intermediate_size
    int64_t T_max;    // max_position_embeddings
    float norm_eps;   // rms_norm_eps
    double rope_theta;
    enum rope_scaling rope_scaling;
    double rope_factor, rope_low_freq_factor, rope_high_freq_factor; // llama3, linear, dynamic, yarn
    double rope_original_T_max, rope_beta_fast, rope_beta_slow, rope_attention_factor; // 0: the default formula
    bool tied_head;   // tie_word_embeddings
    bool qkv_bias, o_bias, mlp_bias;
    bool qk_norm;     // RMSNorm of each q and k head before RoPE (Qwen3)
    float init_std;   // initializer_range
    int32_t bos, eos[8], n_eos, pad; // -1 when absent
};

NODISCARD bool model_config_read(struct model_config *config, const char *folder, struct error *err);
NODISCARD bool model_config_parse(struct model_config *config, const char *text, size_t n_bytes, const char *name,
                                  struct error *err);
// Writes config.json and generation_config.json that transformers reads ("architectures", "model_type", ...).
NODISCARD bool model_config_write(const struct model_config *config, const char *folder, struct error *err);
// Refuses impossible shapes (zero or huge sizes, H not a multiple of H_kv, odd D).
NODISCARD bool model_config_check(const struct model_config *config, const char *name, struct error *err);
int64_t model_config_parameters(const struct model_config *config); // trainable scalars; a tied head counts once

// cos, sin: [T, D/2] for positions 0..T-1, with the scaling of the config (transformers modeling_rope_utils).
void rope_table(float *cos, float *sin, const struct model_config *config, int64_t T);

#endif
