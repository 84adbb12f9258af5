// engine/config.c - config.json <-> struct model_config, and the rotary tables with their scalings.
#include "engine/config.h"

#include "core/buf.h"
#include "core/file.h"
#include "core/json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool parse_family(struct model_config *c, const json_t *root, const char *name,
                         struct error *err) {
    const char *type;
    if (!json_get_string(&type, root, "model_type", true, name, err)) return false;
    if (strcmp(type, "llama") == 0 || strcmp(type, "mistral") == 0) c->family = FAMILY_LLAMA;
    else if (strcmp(type, "qwen2") == 0) c->family = FAMILY_QWEN2;
    else if (strcmp(type, "qwen3") == 0) c->family = FAMILY_QWEN3;
    else
        return error_set(err, ERR_INPUT,
                         "%s: model_type \"%.40s\" is not one of llama, mistral, qwen2, qwen3",
                         name, type);
    return true;
}

// "rope_scaling" (transformers 4) or "rope_parameters" (5, which also holds rope_theta).
static bool parse_rope(struct model_config *c, const json_t *root, const char *name,
                       struct error *err) {
    const json_t *scaling = json_object_get(root, "rope_parameters");
    if (!json_is_object(scaling)) scaling = json_object_get(root, "rope_scaling");
    if (!json_get_f64(&c->rope_theta, root, "rope_theta", false, name, err)) return false;
    if (!json_is_object(scaling)) return true;
    const char *type = "default";
    double original = 0;
    if (!json_get_f64(&c->rope_theta, scaling, "rope_theta", false, name, err) ||
        !json_get_string(&type, scaling, "type", false, name, err) ||
        !json_get_string(&type, scaling, "rope_type", false, name, err) ||
        !json_get_f64(&c->rope_factor, scaling, "factor", false, name, err) ||
        !json_get_f64(&c->rope_low_freq_factor, scaling, "low_freq_factor", false, name, err) ||
        !json_get_f64(&c->rope_high_freq_factor, scaling, "high_freq_factor", false, name, err) ||
        !json_get_f64(&original, scaling, "original_max_position_embeddings", false, name, err) ||
        !json_get_f64(&c->rope_beta_fast, scaling, "beta_fast", false, name, err) ||
        !json_get_f64(&c->rope_beta_slow, scaling, "beta_slow", false, name, err) ||
        !json_get_f64(&c->rope_attention_factor, scaling, "attention_factor", false, name, err))
        return false;
    // Parts of the scalings that no model of these families ships: refused, as they are another
    // computation.
    double rotary = 1, mscale = 0;
    bool truncate = true;
    if (!json_get_f64(&rotary, scaling, "partial_rotary_factor", false, name, err) ||
        !json_get_f64(&mscale, scaling, "mscale", false, name, err) ||
        !json_get_bool(&truncate, scaling, "truncate", false, name, err))
        return false;
    if (rotary != 1 || mscale != 0 || !truncate)
        return error_set(err, ERR_INPUT,
                         "%s: rope partial_rotary_factor, mscale and truncate are not supported",
                         name);
    c->rope_original_T_max = original > 0 ? original : (double)c->T_max;
    if (strcmp(type, "default") == 0) c->rope_scaling = ROPE_NONE;
    else if (strcmp(type, "linear") == 0) c->rope_scaling = ROPE_LINEAR;
    else if (strcmp(type, "dynamic") == 0) c->rope_scaling = ROPE_DYNAMIC;
    else if (strcmp(type, "llama3") == 0) c->rope_scaling = ROPE_LLAMA3;
    else if (strcmp(type, "yarn") == 0) c->rope_scaling = ROPE_YARN;
    else
        return error_set(
            err, ERR_INPUT,
            "%s: rope type \"%.40s\" is not one of default, linear, dynamic, llama3, yarn", name,
            type);
    if (c->rope_scaling != ROPE_NONE && !(c->rope_factor >= 1))
        return error_set(err, ERR_INPUT, "%s: rope factor %g must be at least 1", name,
                         c->rope_factor);
    if (c->rope_scaling == ROPE_LLAMA3 && !(c->rope_high_freq_factor > c->rope_low_freq_factor))
        return error_set(err, ERR_INPUT,
                         "%s: rope high_freq_factor %g must exceed low_freq_factor %g", name,
                         c->rope_high_freq_factor, c->rope_low_freq_factor);
    return true;
}

// "eos_token_id": a token or a list. Absent or null keeps what is there.
static bool parse_eos(struct model_config *c, const json_t *root, const char *name,
                      struct error *err) {
    const json_t *eos = json_object_get(root, "eos_token_id");
    if (eos == NULL || json_is_null(eos)) return true;
    size_t n = json_is_array(eos) ? json_array_size(eos) : 1;
    c->n_eos = 0;
    for (size_t i = 0; i < n && c->n_eos < COUNT_OF(c->eos); i++) {
        const json_t *v = json_is_array(eos) ? json_array_get(eos, i) : eos;
        if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) >= c->V)
            return error_set(err, ERR_INPUT,
                             "%s: eos_token_id[%zu] is not a token of the vocabulary", name, i);
        c->eos[c->n_eos++] = (int32_t)json_integer_value(v);
    }
    return true;
}

static bool parse_token_ids(struct model_config *c, const json_t *root, const char *name,
                            struct error *err) {
    int64_t bos = -1, pad = -1;
    if (!json_get_i64(&bos, root, "bos_token_id", false, name, err) ||
        !json_get_i64(&pad, root, "pad_token_id", false, name, err))
        return false;
    c->bos = bos >= 0 && bos < c->V ? (int32_t)bos : -1;
    c->pad = pad >= 0 && pad < c->V ? (int32_t)pad : -1;
    return parse_eos(c, root, name, err);
}

// generation_config.json, when there is one, says where to stop: chat models list more tokens
// there.
static bool read_generation(struct model_config *c, const char *folder, struct error *err) {
    char path[4096];
    json_t *root;
    if (!file_join(path, sizeof path, folder, "generation_config.json", err)) return false;
    if (!file_exists(path)) return true;
    if (!json_parse_file(&root, path, err)) return false;
    bool ok = parse_eos(c, root, path, err);
    json_decref(root);
    return ok;
}

static bool parse_object(struct model_config *c, const json_t *root, const char *name,
                         struct error *err) {
    *c = (struct model_config){
        .norm_eps = 1e-6f, .rope_theta = 10000, .T_max = 2048, .init_std = 0.02f};
    if (!json_is_object(root)) return error_set(err, ERR_INPUT, "%s: not a JSON object", name);
    if (!parse_family(c, root, name, err)) return false;
    c->qk_norm = c->family == FAMILY_QWEN3;
    c->qkv_bias = c->family == FAMILY_QWEN2;
    if (c->family != FAMILY_LLAMA) c->T_max = 32768; // transformers' default for Qwen
    bool attention_bias = false;
    double eps = 1e-6, init_std = 0.02;
    const char *act = "silu";
    if (!json_get_i64(&c->V, root, "vocab_size", true, name, err) ||
        !json_get_i64(&c->C, root, "hidden_size", true, name, err) ||
        !json_get_i64(&c->L, root, "num_hidden_layers", true, name, err) ||
        !json_get_i64(&c->H, root, "num_attention_heads", true, name, err) ||
        !json_get_i64(&c->F, root, "intermediate_size", true, name, err) ||
        !json_get_i64(&c->T_max, root, "max_position_embeddings", false, name, err) ||
        !json_get_f64(&eps, root, "rms_norm_eps", false, name, err) ||
        !json_get_f64(&init_std, root, "initializer_range", false, name, err) ||
        !json_get_bool(&c->tied_head, root, "tie_word_embeddings", false, name, err) ||
        !json_get_bool(&attention_bias, root, "attention_bias", false, name, err) ||
        !json_get_bool(&c->mlp_bias, root, "mlp_bias", false, name, err) ||
        !json_get_string(&act, root, "hidden_act", false, name, err))
        return false;
    if (strcmp(act, "silu") != 0)
        return error_set(err, ERR_INPUT, "%s: hidden_act \"%.40s\" is not silu", name, act);
    c->norm_eps = (float)eps;
    c->init_std = (float)init_std;
    c->H_kv = c->H;
    c->D = c->family == FAMILY_QWEN3 ? 128 : c->H > 0 ? c->C / c->H : 0; // transformers' defaults
    if (!json_get_i64(&c->H_kv, root, "num_key_value_heads", false, name, err) ||
        !json_get_i64(&c->D, root, "head_dim", false, name, err))
        return false;
    if (attention_bias) c->qkv_bias = c->o_bias = true;
    if (!parse_rope(c, root, name, err) || !parse_token_ids(c, root, name, err)) return false;
    // A window that never shortens attention here is harmless; one that would is another
    // computation.
    bool sliding = false;
    int64_t window = 0;
    if (!json_get_bool(&sliding, root, "use_sliding_window", false, name, err) ||
        !json_get_i64(&window, root, "sliding_window", false, name, err))
        return false;
    if (window > 0 && window < c->T_max &&
        (sliding || json_object_get(root, "use_sliding_window") == NULL))
        c->T_max =
            window; // within the window full attention is the same: positions past it are refused
    return model_config_check(c, name, err);
}

bool model_config_parse(struct model_config *config, const char *text, size_t n_bytes,
                        const char *name, struct error *err) {
    json_t *root;
    if (!json_parse(&root, text, n_bytes, name, err)) return false;
    bool ok = parse_object(config, root, name, err);
    json_decref(root);
    return ok;
}

bool model_config_read(struct model_config *config, const char *folder, struct error *err) {
    char path[4096], *text;
    size_t n_bytes;
    if (!file_is_folder(folder))
        return error_set(err, file_exists(folder) ? ERR_INPUT : ERR_NOTFOUND, "%s: %s", folder,
                         file_exists(folder)
                             ? "is a file; a model folder (config.json, model.safetensors, "
                               "tokenizer.json) or a .gguf file was expected"
                             : "no such model folder");
    if (!file_join(path, sizeof path, folder, "config.json", err)) return false;
    if (!file_exists(path))
        return error_set(err, ERR_NOTFOUND,
                         "%s: no config.json in this folder, so it is not a model folder", folder);
    if (!file_read(&text, &n_bytes, path, 16u << 20, err)) return false;
    bool ok = model_config_parse(config, text, n_bytes, path, err) &&
              read_generation(config, folder, err);
    free(text);
    return ok;
}

bool model_config_check(const struct model_config *c, const char *name, struct error *err) {
    const struct {
        const char *what;
        int64_t value, least, most;
    } sizes[] = {
        {"vocab_size", c->V, 1, 1 << 24},
        {"hidden_size", c->C, 1, 1 << 16},
        {"num_hidden_layers", c->L, 1, 4096},
        {"num_attention_heads", c->H, 1, 4096},
        {"num_key_value_heads", c->H_kv, 1, c->H},
        {"head_dim", c->D, 2, 4096},
        {"intermediate_size", c->F, 1, 1 << 20},
        {"max_position_embeddings", c->T_max, 1, 1 << 26},
    };
    for (int64_t i = 0; i < COUNT_OF(sizes); i++)
        if (sizes[i].value < sizes[i].least || sizes[i].value > sizes[i].most)
            return error_set(err, ERR_INPUT, "%s: %s is %lld, outside %lld..%lld", name,
                             sizes[i].what, (long long)sizes[i].value, (long long)sizes[i].least,
                             (long long)sizes[i].most);
    if (c->H % c->H_kv != 0)
        return error_set(err, ERR_INPUT,
                         "%s: %lld attention heads are not a multiple of %lld key-value heads",
                         name, (long long)c->H, (long long)c->H_kv);
    if (c->D % 2 != 0)
        return error_set(err, ERR_INPUT, "%s: head_dim %lld is odd", name, (long long)c->D);
    if (!(c->norm_eps >= 0 && c->norm_eps < 1))
        return error_set(err, ERR_INPUT, "%s: rms_norm_eps %g is outside [0, 1)", name,
                         (double)c->norm_eps);
    if (!(c->rope_theta > 1 && c->rope_theta < 1e12))
        return error_set(err, ERR_INPUT, "%s: rope_theta %g is outside (1, 1e12)", name,
                         c->rope_theta);
    return true;
}

int64_t model_config_parameters(const struct model_config *c) {
    int64_t Q = c->H * c->D, KV = c->H_kv * c->D;
    int64_t layer = 2 * c->C + (Q + 2 * KV) * c->C + c->C * Q + 3 * c->F * c->C;
    if (c->qk_norm) layer += 2 * c->D;
    if (c->qkv_bias) layer += Q + 2 * KV;
    if (c->o_bias) layer += c->C;
    if (c->mlp_bias) layer += 2 * c->F + c->C;
    return c->L * layer + c->C + c->V * c->C * (c->tied_head ? 1 : 2);
}

static void write_ids(struct buf *b, const struct model_config *c) {
    // Absent would mean transformers' default (1 and 2 for Llama), null means none.
    if (c->bos >= 0) buf_printf(b, "  \"bos_token_id\": %d,\n", c->bos);
    else buf_append_str(b, "  \"bos_token_id\": null,\n");
    if (c->n_eos == 0) buf_append_str(b, "  \"eos_token_id\": null,\n");
    if (c->pad >= 0) buf_printf(b, "  \"pad_token_id\": %d,\n", c->pad);
    if (c->n_eos == 1) buf_printf(b, "  \"eos_token_id\": %d,\n", c->eos[0]);
    if (c->n_eos > 1) {
        buf_append_str(b, "  \"eos_token_id\": [");
        for (int32_t i = 0; i < c->n_eos; i++) buf_printf(b, i ? ", %d" : "%d", c->eos[i]);
        buf_append_str(b, "],\n");
    }
}

static void write_rope(struct buf *b, const struct model_config *c) {
    static const char *const names[] = {"default", "linear", "dynamic", "llama3", "yarn"};
    buf_printf(b, "  \"rope_theta\": %.17g,\n", c->rope_theta);
    if (c->rope_scaling == ROPE_NONE) return;
    buf_printf(b, "  \"rope_scaling\": {\"rope_type\": \"%s\", \"factor\": %.17g",
               names[c->rope_scaling], c->rope_factor);
    buf_printf(b, ", \"original_max_position_embeddings\": %.0f", c->rope_original_T_max);
    if (c->rope_scaling == ROPE_LLAMA3)
        buf_printf(b, ", \"low_freq_factor\": %.17g, \"high_freq_factor\": %.17g",
                   c->rope_low_freq_factor, c->rope_high_freq_factor);
    if (c->rope_beta_fast > 0) buf_printf(b, ", \"beta_fast\": %.17g", c->rope_beta_fast);
    if (c->rope_beta_slow > 0) buf_printf(b, ", \"beta_slow\": %.17g", c->rope_beta_slow);
    if (c->rope_attention_factor > 0)
        buf_printf(b, ", \"attention_factor\": %.17g", c->rope_attention_factor);
    buf_append_str(b, "},\n");
}

bool model_config_write(const struct model_config *c, const char *folder, struct error *err) {
    static const char *const architectures[] = {"LlamaForCausalLM", "Qwen2ForCausalLM",
                                                "Qwen3ForCausalLM"};
    static const char *const types[] = {"llama", "qwen2", "qwen3"};
    struct buf b = {0};
    buf_printf(&b, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n",
               architectures[c->family], types[c->family]);
    buf_printf(
        &b, "  \"vocab_size\": %lld,\n  \"hidden_size\": %lld,\n  \"num_hidden_layers\": %lld,\n",
        (long long)c->V, (long long)c->C, (long long)c->L);
    buf_printf(&b,
               "  \"num_attention_heads\": %lld,\n  \"num_key_value_heads\": %lld,\n  "
               "\"head_dim\": %lld,\n",
               (long long)c->H, (long long)c->H_kv, (long long)c->D);
    buf_printf(&b, "  \"intermediate_size\": %lld,\n  \"max_position_embeddings\": %lld,\n",
               (long long)c->F, (long long)c->T_max);
    buf_printf(&b, "  \"rms_norm_eps\": %.9g,\n  \"initializer_range\": %.9g,\n",
               (double)c->norm_eps, (double)c->init_std);
    write_rope(&b, c);
    write_ids(&b, c);
    // Qwen2 always has q, k, v biases; "attention_bias" there and in Llama also adds the output's.
    if (c->family != FAMILY_QWEN2)
        buf_printf(&b, "  \"attention_bias\": %s,\n", c->qkv_bias ? "true" : "false");
    if (c->family == FAMILY_LLAMA)
        buf_printf(&b, "  \"mlp_bias\": %s,\n", c->mlp_bias ? "true" : "false");
    if (c->family != FAMILY_LLAMA) buf_append_str(&b, "  \"use_sliding_window\": false,\n");
    buf_printf(
        &b, "  \"hidden_act\": \"silu\",\n  \"attention_dropout\": 0.0,\n  \"use_cache\": true,\n");
    buf_printf(&b, "  \"tie_word_embeddings\": %s,\n  \"torch_dtype\": \"float32\"\n}\n",
               c->tied_head ? "true" : "false");
    struct buf g = {0};
    buf_append_str(&g, "{\n");
    write_ids(&g, c);
    buf_append_str(&g, "  \"do_sample\": false\n}\n");
    char path[4096];
    bool ok = (buf_ok(&b) && buf_ok(&g)) || error_set(err, ERR_NOMEM, "%s: out of memory", folder);
    ok = ok && file_join(path, sizeof path, folder, "config.json", err) &&
         file_write_atomic(path, b.data, b.n_bytes, err) &&
         file_join(path, sizeof path, folder, "generation_config.json", err) &&
         file_write_atomic(path, g.data, g.n_bytes, err);
    buf_release(&b);
    buf_release(&g);
    return ok;
}

// -------------------------------------------------------------------------------------------------
// rotary tables
static double clamp(double x, double low, double high) {
    return x < low ? low : x > high ? high : x;
}

// YaRN's dimension at which a frequency turns `rotations` times over the original context (Peng et
// al. 2023, arXiv:2309.00071, section 3.2).
static double yarn_dimension(const struct model_config *c, double rotations) {
    double d = (double)c->D;
    return d * log(c->rope_original_T_max / (rotations * 2 * M_PI)) / (2 * log(c->rope_theta));
}

// The inverse frequency of pair i, after the scaling of the config.
static double rope_frequency(const struct model_config *c, int64_t i, int64_t T) {
    double theta = c->rope_theta, d = (double)c->D;
    if (c->rope_scaling == ROPE_DYNAMIC && (double)T > c->rope_original_T_max) {
        double stretch = c->rope_factor * (double)T / c->rope_original_T_max - (c->rope_factor - 1);
        theta *= pow(stretch, d / (d - 2));
    }
    double f = pow(theta, -2.0 * (double)i / d);
    switch (c->rope_scaling) {
    case ROPE_LINEAR:
        return f / c->rope_factor;
    case ROPE_LLAMA3: { // transformers modeling_rope_utils._compute_llama3_parameters
        double length = c->rope_original_T_max, wave = 2 * M_PI / f;
        if (wave < length / c->rope_high_freq_factor) return f;
        if (wave > length / c->rope_low_freq_factor) return f / c->rope_factor;
        double smooth = (length / wave - c->rope_low_freq_factor) /
                        (c->rope_high_freq_factor - c->rope_low_freq_factor);
        return (1 - smooth) * f / c->rope_factor + smooth * f;
    }
    case ROPE_YARN: {
        double fast = c->rope_beta_fast > 0 ? c->rope_beta_fast : 32,
               slow = c->rope_beta_slow > 0 ? c->rope_beta_slow : 1;
        double low = fmax(floor(yarn_dimension(c, fast)), 0),
               high = fmin(ceil(yarn_dimension(c, slow)), d - 1);
        if (low == high) high += 0.001;
        double keep = 1 - clamp(((double)i - low) / (high - low), 0, 1);
        return f / c->rope_factor * (1 - keep) + f * keep;
    }
    default:
        return f;
    }
}

void rope_table(float *cos_table, float *sin_table, const struct model_config *c, int64_t T) {
    double scale = 1;
    if (c->rope_scaling == ROPE_YARN)
        scale = c->rope_attention_factor > 0 ? c->rope_attention_factor
                : c->rope_factor <= 1        ? 1
                                             : 0.1 * log(c->rope_factor) + 1;
    int64_t half = c->D / 2;
    for (int64_t i = 0; i < half; i++) {
        // transformers computes in f32: the frequency is rounded there, so it is here.
        float f = (float)rope_frequency(c, i, T);
        for (int64_t t = 0; t < T; t++) {
            float angle = (float)t * f;
            cos_table[t * half + i] = (float)(cos((double)angle) * scale);
            sin_table[t * half + i] = (float)(sin((double)angle) * scale);
        }
    }
}
