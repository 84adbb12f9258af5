// engine/gguf_model.c - a GGUF file's config and tensor names, read and written.
#include "engine/gguf_model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const architectures[] = {"llama", "qwen2", "qwen3"};

// -------------------------------------------------------------------------------------------------
// names

static const struct {
    const char *gguf, *hf;
} whole_names[] = {{"token_embd.weight", "model.embed_tokens.weight"},
                   {"output_norm.weight", "model.norm.weight"},
                   {"output.weight", "lm_head.weight"}},
  layer_names[] = {{"attn_norm", "input_layernorm"},    {"ffn_norm", "post_attention_layernorm"},
                   {"attn_q", "self_attn.q_proj"},      {"attn_k", "self_attn.k_proj"},
                   {"attn_v", "self_attn.v_proj"},      {"attn_output", "self_attn.o_proj"},
                   {"attn_q_norm", "self_attn.q_norm"}, {"attn_k_norm", "self_attn.k_norm"},
                   {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
                   {"ffn_down", "mlp.down_proj"}};

// PREFIX.N.WHAT.weight or .bias, cut in its parts; false when it is not.
static bool layer_name_cut(const char *name, const char *prefix, int *layer_i, const char **what,
                           size_t *what_bytes, const char **end) {
    size_t n = strlen(prefix);
    if (strncmp(name, prefix, n) != 0 || name[n] < '0' || name[n] > '9') return false;
    int value = 0, digits = 0;
    for (name += n; *name >= '0' && *name <= '9' && digits < 6; name++, digits++)
        value = value * 10 + (*name - '0');
    *end = strrchr(name, '.');
    if (*name != '.' || *end <= name ||
        (strcmp(*end, ".weight") != 0 && strcmp(*end, ".bias") != 0))
        return false;
    *layer_i = value;
    *what = name + 1;
    *what_bytes = (size_t)(*end - name - 1);
    return true;
}

static bool same(const char *s, const char *p, size_t n) {
    return strlen(s) == n && memcmp(s, p, n) == 0;
}

bool gguf_name_to_hf(char out[GGUF_NAME_BYTES], const char *name) {
    const char *what, *end;
    int layer_i;
    size_t n;
    for (int64_t i = 0; i < COUNT_OF(whole_names); i++)
        if (strcmp(name, whole_names[i].gguf) == 0)
            return snprintf(out, GGUF_NAME_BYTES, "%s", whole_names[i].hf) > 0;
    if (!layer_name_cut(name, "blk.", &layer_i, &what, &n, &end)) return false;
    for (int64_t i = 0; i < COUNT_OF(layer_names); i++)
        if (same(layer_names[i].gguf, what, n))
            return snprintf(out, GGUF_NAME_BYTES, "model.layers.%d.%s%s", layer_i,
                            layer_names[i].hf, end) > 0;
    return false;
}

bool gguf_name_from_hf(char out[GGUF_NAME_BYTES], const char *name) {
    const char *what, *end;
    int layer_i;
    size_t n;
    for (int64_t i = 0; i < COUNT_OF(whole_names); i++)
        if (strcmp(name, whole_names[i].hf) == 0)
            return snprintf(out, GGUF_NAME_BYTES, "%s", whole_names[i].gguf) > 0;
    if (!layer_name_cut(name, "model.layers.", &layer_i, &what, &n, &end)) return false;
    for (int64_t i = 0; i < COUNT_OF(layer_names); i++)
        if (same(layer_names[i].hf, what, n))
            return snprintf(out, GGUF_NAME_BYTES, "blk.%d.%s%s", layer_i, layer_names[i].gguf,
                            end) > 0;
    return false;
}

int64_t gguf_paired_heads(const struct model_config *c, const char *hf_name) {
    if (c->family != FAMILY_LLAMA) return 0;
    if (strstr(hf_name, ".self_attn.q_proj.") != NULL) return c->H;
    if (strstr(hf_name, ".self_attn.k_proj.") != NULL) return c->H_kv;
    return 0;
}

bool gguf_rows_reorder(float *x, int64_t rows, int64_t cols, int64_t heads, bool to_pairs,
                       struct error *err) {
    int64_t D = rows / heads;
    size_t row_bytes = (size_t)cols * sizeof *x;
    float *head = malloc((size_t)D * row_bytes);
    if (head == NULL) return error_set(err, ERR_NOMEM, "out of memory to reorder rows");
    for (int64_t h = 0; h < heads; h++) {
        float *y = x + h * D * cols;
        memcpy(head, y, (size_t)D * row_bytes);
        for (int64_t r = 0; r < D; r++) {
            int64_t pair =
                2 * (r % (D / 2)) + r / (D / 2); // where half-order row r stands in pairs
            memcpy(y + (to_pairs ? pair : r) * cols, head + (to_pairs ? r : pair) * cols,
                   row_bytes);
        }
    }
    free(head);
    return true;
}

// -------------------------------------------------------------------------------------------------
// config

struct reader {
    const struct gguf *g;
    const char *arch;
    char key[96];
    struct error *err;
};

static const char *key(struct reader *r, const char *what) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->arch, what);
    return r->key;
}

static bool get_i64(struct reader *r, const char *what, bool required, int64_t *out) {
    return gguf_get_i64(r->g, key(r, what), required, out, r->err);
}

static bool get_f64(struct reader *r, const char *what, bool required, double *out) {
    return gguf_get_f64(r->g, key(r, what), required, out, r->err);
}

double gguf_rope_divisor(const struct model_config *c, int64_t i) {
    double wave = 2 * M_PI * pow(c->rope_theta, 2.0 * (double)i / (double)c->D),
           length = c->rope_original_T_max, low = c->rope_low_freq_factor,
           high = c->rope_high_freq_factor;
    if (wave < length / high) return 1;
    if (wave > length / low) return c->rope_factor;
    double smooth = (length / wave - low) / (high - low);
    return 1 / ((1 - smooth) / c->rope_factor + smooth);
}

// The llama3 scaling is in the file only as its result, rope_freqs.weight. Its parameters are found
// back: between the two wavelengths `smooth` is a straight line over 1 / wavelength, and only
// ratios to low_freq_factor count, which is 1 in every model that ships. The result is then
// checked.
static bool fit_llama3(struct model_config *c, const float *divisors, int64_t half) {
    double factor = 1, n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (int64_t i = 0; i < half; i++) factor = fmax(factor, (double)divisors[i]);
    for (int64_t i = 0; i < half; i++) {
        double d = (double)divisors[i];
        if (d <= 1 || d >= factor) continue;
        double x = 1 / (2 * M_PI * pow(c->rope_theta, 2.0 * (double)i / (double)c->D)),
               y = (1 / d - 1 / factor) / (1 - 1 / factor);
        n++, sx += x, sy += y, sxx += x * x, sxy += x * y;
    }
    double det = n * sxx - sx * sx;
    if (n < 2 || !(det > 0)) return false;
    double slope = (n * sxy - sx * sy) / det, at_0 = (sy - slope * sx) / n;
    if (!(at_0 < 0) || !(slope > 0)) return false;
    double length = slope / -at_0;
    c->rope_factor = factor;
    c->rope_low_freq_factor = 1;
    c->rope_high_freq_factor = 1 + round(-1e3 / at_0) * 1e-3;
    c->rope_original_T_max = round(length);
    return true;
}

static bool read_llama3(struct reader *r, struct model_config *c, const struct gguf_tensor *t) {
    const struct gguf_value *kept;
    int64_t half = c->D / 2;
    if (t->n_dims != 1 || t->count != half)
        return error_set(r->err, ERR_INPUT,
                         "%s: tensor \"%s\" has %lld values, head_dim / 2 is %lld", gguf_name(r->g),
                         t->name, (long long)t->count, (long long)half);
    float *divisors = malloc((size_t)half * sizeof *divisors);
    if (divisors == NULL) return error_set(r->err, ERR_NOMEM, "out of memory");
    bool ok = gguf_read_rows(divisors, t, 0, 1, r->err) &&
              gguf_get_array(r->g, "sillon.rope.llama3", GGUF_FLOAT32, false, &kept, r->err);
    bool known = false;
    if (ok && kept != NULL && kept->n == 4) {
        c->rope_factor = gguf_array_f64(kept, 0);
        c->rope_low_freq_factor = gguf_array_f64(kept, 1);
        c->rope_high_freq_factor = gguf_array_f64(kept, 2);
        c->rope_original_T_max = gguf_array_f64(kept, 3);
        known = true;
    } else if (ok) {
        known = fit_llama3(c, divisors, half);
    }
    known = known && c->rope_factor >= 1 && c->rope_high_freq_factor > c->rope_low_freq_factor;
    c->rope_scaling = ROPE_LLAMA3;
    for (int64_t i = 0; ok && i < half; i++) {
        double want = known ? gguf_rope_divisor(c, i) : 0;
        if (!(fabs(want - (double)divisors[i]) <= 1e-4 * want))
            ok = error_set(r->err, ERR_INPUT,
                           "%s: tensor \"%s\": value %lld is %g, which is no llama3 rotary scaling",
                           gguf_name(r->g), t->name, (long long)i, (double)divisors[i]);
    }
    free(divisors);
    return ok;
}

static bool read_rope(struct reader *r, struct model_config *c) {
    const char *type = "none";
    size_t n = 4;
    int64_t rotary = c->D;
    double factor = 0, original = 0, attention = 1, extrapolation = 1, log_multiplier = 0;
    if (!get_f64(r, "rope.freq_base", false, &c->rope_theta) ||
        !get_i64(r, "rope.dimension_count", false, &rotary) ||
        !gguf_get_string(r->g, key(r, "rope.scaling.type"), false, &type, &n, r->err) ||
        !get_f64(r, "rope.scale_linear", false, &factor) || // before rope.scaling.*
        !get_f64(r, "rope.scaling.factor", false, &factor) ||
        !get_f64(r, "rope.scaling.original_context_length", false, &original) ||
        !get_f64(r, "rope.scaling.attn_factor", false, &attention) ||
        !get_f64(r, "rope.scaling.yarn_attn_factor", false, &attention) ||
        !get_f64(r, "rope.scaling.yarn_ext_factor", false, &extrapolation) ||
        !get_f64(r, "rope.scaling.yarn_log_multiplier", false, &log_multiplier) ||
        !get_f64(r, "rope.scaling.yarn_beta_fast", false, &c->rope_beta_fast) ||
        !get_f64(r, "rope.scaling.yarn_beta_slow", false, &c->rope_beta_slow))
        return false;
    if (rotary != c->D)
        return error_set(r->err, ERR_INPUT,
                         "%s: %s.rope.dimension_count is %lld, only the head's %lld is supported",
                         gguf_name(r->g), r->arch, (long long)rotary, (long long)c->D);
    if (!(c->rope_theta > 1 && c->rope_theta < 1e12))
        return error_set(r->err, ERR_INPUT, "%s: %s.rope.freq_base is %g, outside (1, 1e12)",
                         gguf_name(r->g), r->arch, c->rope_theta);
    c->rope_original_T_max = original > 0 ? original : (double)c->T_max;
    const struct gguf_tensor *freqs = gguf_tensor_find(r->g, "rope_freqs.weight");
    bool is_yarn = same("yarn", type, n), is_linear = same("linear", type, n);
    if (!is_yarn && !is_linear && !same("none", type, n))
        return error_set(r->err, ERR_INPUT,
                         "%s: %s.rope.scaling.type \"%.*s\" is not one of none, linear, yarn",
                         gguf_name(r->g), r->arch, (int)(n < 40 ? n : 40), type);
    if (freqs != NULL && (is_yarn || is_linear))
        return error_set(r->err, ERR_INPUT,
                         "%s: rope_freqs.weight and a rope.scaling.type together", gguf_name(r->g));
    if (freqs != NULL) return read_llama3(r, c, freqs);
    // llama.cpp takes a factor without a type as linear.
    if (!is_yarn && (factor == 0 || factor == 1)) return true;
    if (!(factor >= 1))
        return error_set(r->err, ERR_INPUT, "%s: rope factor %g must be at least 1",
                         gguf_name(r->g), factor);
    c->rope_factor = factor;
    c->rope_scaling = is_yarn ? ROPE_YARN : ROPE_LINEAR;
    if (is_yarn && (log_multiplier != 0 || extrapolation != 1))
        return error_set(
            r->err, ERR_INPUT,
            "%s: rope.scaling.yarn_log_multiplier and yarn_ext_factor are not supported",
            gguf_name(r->g));
    // llama.cpp multiplies attn_factor by YaRN's own formula; transformers replaces it.
    if (is_yarn && attention != 1) c->rope_attention_factor = attention * (1 + 0.1 * log(factor));
    return true;
}

static bool read_id(struct reader *r, const struct model_config *c, const char *what,
                    int32_t *out) {
    char name[64];
    int64_t id = -1;
    snprintf(name, sizeof name, "tokenizer.ggml.%s_token_id", what);
    if (!gguf_get_i64(r->g, name, false, &id, r->err)) return false;
    if (id != -1 && id != UINT32_MAX && (id < 0 || id >= c->V))
        return error_set(r->err, ERR_INPUT, "%s: %s %lld is not a token of the vocabulary of %lld",
                         gguf_name(r->g), name, (long long)id, (long long)c->V);
    *out = id == UINT32_MAX ? -1 : (int32_t)id;
    return true;
}

static void add_eos(struct model_config *c, int32_t id) {
    if (id < 0 || c->n_eos == COUNT_OF(c->eos)) return;
    for (int32_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id) return;
    c->eos[c->n_eos++] = id;
}

// Generation stops at eos, end of turn and end of message; a file of ours also lists them all.
static bool read_ids(struct reader *r, struct model_config *c) {
    const struct gguf_value *list;
    int32_t eos = -1, eot = -1, eom = -1;
    if (!read_id(r, c, "bos", &c->bos) || !read_id(r, c, "padding", &c->pad) ||
        !read_id(r, c, "eos", &eos) || !read_id(r, c, "eot", &eot) || !read_id(r, c, "eom", &eom) ||
        !gguf_get_array(r->g, "sillon.eos_token_ids", GGUF_I32, false, &list, r->err))
        return false;
    add_eos(c, eos);
    add_eos(c, eot);
    add_eos(c, eom);
    for (int64_t i = 0; list != NULL && i < list->n; i++) {
        int64_t id = gguf_array_i64(list, i);
        if (id < 0 || id >= c->V)
            return error_set(r->err, ERR_INPUT, "%s: sillon.eos_token_ids[%lld] is %lld, no token",
                             gguf_name(r->g), (long long)i, (long long)id);
        add_eos(c, (int32_t)id);
    }
    return true;
}

// Every tensor must have a place in this family's computation, and be one the config implies.
static bool check_tensors(struct reader *r, const struct model_config *c) {
    char name[GGUF_NAME_BYTES];
    int64_t n = 0,
            expected = 2 + !c->tied_head +
                       c->L * (9 + 2 * c->qk_norm + 3 * c->qkv_bias + c->o_bias + 3 * c->mlp_bias);
    for (int64_t i = 0; i < gguf_tensor_count(r->g); i++) {
        const char *tensor = gguf_tensor_at(r->g, i)->name;
        if (strcmp(tensor, "rope_freqs.weight") == 0) continue;
        if (!gguf_name_to_hf(name, tensor))
            return error_set(r->err, ERR_INPUT, "%s: tensor \"%s\" has no part in a %s model",
                             gguf_name(r->g), tensor, r->arch);
        n++;
    }
    return n <= expected ||
           error_set(r->err, ERR_INPUT, "%s: %lld tensors where %lld layers of %s have %lld",
                     gguf_name(r->g), (long long)n, (long long)c->L, r->arch, (long long)expected);
}

bool gguf_model_config(struct model_config *c, const struct gguf *g, struct error *err) {
    struct reader r = {.g = g, .err = err};
    const char *arch;
    size_t n;
    *c = (struct model_config){
        .norm_eps = 1e-6f, .rope_theta = 10000, .init_std = 0.02f, .bos = -1, .pad = -1};
    if (!gguf_get_string(g, "general.architecture", true, &arch, &n, err)) return false;
    for (int64_t i = 0; i < COUNT_OF(architectures); i++)
        if (same(architectures[i], arch, n)) {
            r.arch = architectures[i];
            c->family = (enum model_family)i;
        }
    if (r.arch == NULL)
        return error_set(err, ERR_INPUT,
                         "%s: general.architecture \"%.*s\" is not one of llama, qwen2, qwen3",
                         gguf_name(g), (int)(n < 40 ? n : 40), arch);
    int64_t n_parts = 0;
    if (!gguf_get_i64(g, "split.count", false, &n_parts, err)) return false;
    if (n_parts > 1)
        return error_set(err, ERR_INPUT,
                         "%s: one of %lld parts; only whole files are read (llama.cpp's "
                         "llama-gguf-split --merge makes one)",
                         gguf_name(g), (long long)n_parts);
    const struct gguf_tensor *embedding = gguf_tensor_find(g, "token_embd.weight");
    if (embedding == NULL || embedding->n_dims != 2)
        return error_set(err, ERR_INPUT, "%s: no matrix \"token_embd.weight\": not a whole model",
                         gguf_name(g));
    c->V = embedding->shape[0];
    int64_t experts = 0, value_length, window = 0;
    double eps = 1e-6;
    if (!get_i64(&r, "block_count", true, &c->L) || !get_i64(&r, "embedding_length", true, &c->C) ||
        !get_i64(&r, "feed_forward_length", true, &c->F) ||
        !get_i64(&r, "attention.head_count", true, &c->H) ||
        !get_i64(&r, "context_length", true, &c->T_max) ||
        !get_f64(&r, "attention.layer_norm_rms_epsilon", true, &eps) ||
        !get_i64(&r, "expert_count", false, &experts) ||
        !get_i64(&r, "attention.sliding_window", false, &window))
        return false;
    c->norm_eps = (float)eps;
    c->H_kv = c->H;
    c->D = c->H > 0 ? c->C / c->H : 0;
    if (!get_i64(&r, "attention.head_count_kv", false, &c->H_kv) ||
        !get_i64(&r, "attention.key_length", false, &c->D))
        return false;
    value_length = c->D;
    if (!get_i64(&r, "attention.value_length", false, &value_length)) return false;
    if (experts != 0 || value_length != c->D)
        return error_set(err, ERR_INPUT,
                         "%s: %lld experts, keys of %lld and values of %lld: mixtures and unequal "
                         "lengths are not supported",
                         gguf_name(g), (long long)experts, (long long)c->D,
                         (long long)value_length);
    if (window > 0 && window < c->T_max) c->T_max = window; // as in config.c
    c->tied_head = gguf_tensor_find(g, "output.weight") == NULL;
    c->qk_norm = c->family == FAMILY_QWEN3;
    c->qkv_bias = c->family == FAMILY_QWEN2 || gguf_tensor_find(g, "blk.0.attn_q.bias") != NULL;
    c->o_bias = gguf_tensor_find(g, "blk.0.attn_output.bias") != NULL;
    c->mlp_bias = gguf_tensor_find(g, "blk.0.ffn_down.bias") != NULL;
    return model_config_check(c, gguf_name(g), err) && read_rope(&r, c) && read_ids(&r, c) &&
           check_tensors(&r, c);
}

// -------------------------------------------------------------------------------------------------
// writing the config

static void put_u32(struct gguf_metadata *m, const char *arch, const char *what, int64_t value) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, what);
    gguf_put_u32(m, name, (uint32_t)value);
}

static void put_f32(struct gguf_metadata *m, const char *arch, const char *what, double value) {
    char name[96];
    snprintf(name, sizeof name, "%s.%s", arch, what);
    gguf_put_f32(m, name, (float)value);
}

static void put_rope(struct gguf_metadata *m, const struct model_config *c, const char *arch) {
    char name[96];
    const char *type = c->rope_scaling == ROPE_YARN ? "yarn" : "linear";
    put_u32(m, arch, "rope.dimension_count", c->D);
    put_f32(m, arch, "rope.freq_base", c->rope_theta);
    if (c->rope_scaling == ROPE_NONE) return;
    if (c->rope_scaling == ROPE_LLAMA3) { // and rope_freqs.weight, which is what llama.cpp reads
        gguf_put_array(m, "sillon.rope.llama3", GGUF_FLOAT32, 4);
        gguf_put_element_f32(m, (float)c->rope_factor);
        gguf_put_element_f32(m, (float)c->rope_low_freq_factor);
        gguf_put_element_f32(m, (float)c->rope_high_freq_factor);
        gguf_put_element_f32(m, (float)c->rope_original_T_max);
        return;
    }
    snprintf(name, sizeof name, "%s.rope.scaling.type", arch);
    gguf_put_string(m, name, type, strlen(type));
    put_f32(m, arch, "rope.scaling.factor", c->rope_factor);
    put_u32(m, arch, "rope.scaling.original_context_length", (int64_t)c->rope_original_T_max);
    if (c->rope_beta_fast > 0) put_f32(m, arch, "rope.scaling.yarn_beta_fast", c->rope_beta_fast);
    if (c->rope_beta_slow > 0) put_f32(m, arch, "rope.scaling.yarn_beta_slow", c->rope_beta_slow);
    if (c->rope_attention_factor > 0)
        put_f32(m, arch, "rope.scaling.attn_factor",
                c->rope_attention_factor / (1 + 0.1 * log(c->rope_factor)));
}

bool gguf_put_config(struct gguf_metadata *m, const struct model_config *c, const char *model_name,
                     uint32_t file_type, struct error *err) {
    const char *arch = architectures[c->family];
    if (c->rope_scaling == ROPE_DYNAMIC)
        return error_set(err, ERR_INPUT, "%s: the dynamic rotary scaling has no form in GGUF",
                         model_name);
    gguf_put_string(m, "general.architecture", arch, strlen(arch));
    gguf_put_string(m, "general.type", "model", 5);
    gguf_put_string(m, "general.name", model_name, strlen(model_name));
    gguf_put_u32(m, "general.file_type", file_type);
    gguf_put_u32(m, "general.quantization_version", 2);
    put_u32(m, arch, "vocab_size", c->V);
    put_u32(m, arch, "context_length", c->T_max);
    put_u32(m, arch, "embedding_length", c->C);
    put_u32(m, arch, "block_count", c->L);
    put_u32(m, arch, "feed_forward_length", c->F);
    put_u32(m, arch, "attention.head_count", c->H);
    put_u32(m, arch, "attention.head_count_kv", c->H_kv);
    put_u32(m, arch, "attention.key_length", c->D);
    put_u32(m, arch, "attention.value_length", c->D);
    put_f32(m, arch, "attention.layer_norm_rms_epsilon", (double)c->norm_eps);
    put_rope(m, c, arch);
    return true;
}
