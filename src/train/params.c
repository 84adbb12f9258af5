// train/params.c - the flat layout of trainable tensors, its random start, and its way to and from files.
#include "train/params.h"

#include "core/rng.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { PARAMS_PER_LAYER = 18, PARAMS_ALIGN = 16 };

// Adds one tensor right after the last one and returns its offset.
PRINTF_LIKE(6, 7)
static int64_t params_add(struct params *p, enum params_kind kind, bool residual, int64_t rows, int64_t columns,
                          const char *format, ...) {
    struct params_tensor *t = &p->tensors[p->n_tensors++];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    assert(n > 0 && (size_t)n < sizeof t->name);
    t->kind = kind;
    t->residual = residual;
    t->n_dims = columns > 0 ? 2 : 1;
    t->shape[0] = rows;
    t->shape[1] = columns;
    t->count = rows * (columns > 0 ? columns : 1);
    t->offset = p->n_floats;
    p->n_floats += t->count;
    p->n_trainable += t->count;
    return t->offset;
}

// A new matrix starts on a cache line; q, k, v (and gate, up) follow each other without a gap.
static void params_align(struct params *p) {
    p->n_floats = (p->n_floats + PARAMS_ALIGN - 1) / PARAMS_ALIGN * PARAMS_ALIGN;
}

static void params_add_layer(struct params *p, int64_t l) {
    const struct model_config *c = &p->config;
    struct params_layer *layer = &p->layers[l];
    long long i = (long long)l;
    int64_t q = c->H * c->D, kv = c->H_kv * c->D;
    *layer = (struct params_layer){-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
    params_align(p);
    layer->attn_norm = params_add(p, PARAMS_NORM, false, c->C, 0, "model.layers.%lld.input_layernorm.weight", i);
    params_align(p);
    layer->qkv = params_add(p, PARAMS_MATRIX, false, q, c->C, "model.layers.%lld.self_attn.q_proj.weight", i);
    params_add(p, PARAMS_MATRIX, false, kv, c->C, "model.layers.%lld.self_attn.k_proj.weight", i);
    params_add(p, PARAMS_MATRIX, false, kv, c->C, "model.layers.%lld.self_attn.v_proj.weight", i);
    if (c->qkv_bias) {
        params_align(p);
        layer->qkv_bias = params_add(p, PARAMS_BIAS, false, q, 0, "model.layers.%lld.self_attn.q_proj.bias", i);
        params_add(p, PARAMS_BIAS, false, kv, 0, "model.layers.%lld.self_attn.k_proj.bias", i);
        params_add(p, PARAMS_BIAS, false, kv, 0, "model.layers.%lld.self_attn.v_proj.bias", i);
    }
    if (c->qk_norm) {
        params_align(p);
        layer->q_norm = params_add(p, PARAMS_QK_NORM, false, c->D, 0, "model.layers.%lld.self_attn.q_norm.weight", i);
        params_align(p);
        layer->k_norm = params_add(p, PARAMS_QK_NORM, false, c->D, 0, "model.layers.%lld.self_attn.k_norm.weight", i);
    }
    params_align(p);
    layer->o = params_add(p, PARAMS_MATRIX, true, c->C, q, "model.layers.%lld.self_attn.o_proj.weight", i);
    params_align(p);
    if (c->o_bias)
        layer->o_bias = params_add(p, PARAMS_BIAS, false, c->C, 0, "model.layers.%lld.self_attn.o_proj.bias", i);
    params_align(p);
    layer->mlp_norm =
        params_add(p, PARAMS_NORM, false, c->C, 0, "model.layers.%lld.post_attention_layernorm.weight", i);
    params_align(p);
    layer->gate_up = params_add(p, PARAMS_MATRIX, false, c->F, c->C, "model.layers.%lld.mlp.gate_proj.weight", i);
    params_add(p, PARAMS_MATRIX, false, c->F, c->C, "model.layers.%lld.mlp.up_proj.weight", i);
    if (c->mlp_bias) {
        params_align(p);
        layer->gate_up_bias = params_add(p, PARAMS_BIAS, false, c->F, 0, "model.layers.%lld.mlp.gate_proj.bias", i);
        params_add(p, PARAMS_BIAS, false, c->F, 0, "model.layers.%lld.mlp.up_proj.bias", i);
    }
    params_align(p);
    layer->down = params_add(p, PARAMS_MATRIX, true, c->C, c->F, "model.layers.%lld.mlp.down_proj.weight", i);
    params_align(p);
    if (c->mlp_bias)
        layer->down_bias = params_add(p, PARAMS_BIAS, false, c->C, 0, "model.layers.%lld.mlp.down_proj.bias", i);
}

bool params_init(struct params *params, const struct model_config *config, struct error *err) {
    *params = (struct params){.config = *config};
    if (!model_config_check(config, "model", err)) return false;
    arena_init(&params->arena, 0);
    params->tensors = arena_alloc_array(&params->arena, (size_t)(config->L * PARAMS_PER_LAYER + 3),
                                        sizeof params->tensors[0]);
    params->layers = arena_alloc_array(&params->arena, (size_t)config->L, sizeof params->layers[0]);
    if (!arena_ok(&params->arena))
        return error_set(err, ERR_NOMEM, "model of %lld layers: out of memory", (long long)config->L);
    params->embedding =
        params_add(params, PARAMS_EMBEDDING, false, config->V, config->C, "model.embed_tokens.weight");
    for (int64_t l = 0; l < config->L; l++) params_add_layer(params, l);
    params_align(params);
    params->norm = params_add(params, PARAMS_NORM, false, config->C, 0, "model.norm.weight");
    params_align(params);
    params->head = params->embedding;
    if (!config->tied_head)
        params->head = params_add(params, PARAMS_MATRIX, false, config->V, config->C, "lm_head.weight");
    params_align(params);
    assert(params->n_tensors <= config->L * PARAMS_PER_LAYER + 3);
    return true;
}

void params_release(struct params *params) {
    arena_release(&params->arena);
    *params = (struct params){0};
}

void params_randomise(const struct params *params, float *w, uint64_t seed, bool fan_in) {
    float std = params->config.init_std;
    memset(w, 0, (size_t)params->n_floats * sizeof w[0]);
    for (int64_t i = 0; i < params->n_tensors; i++) {
        const struct params_tensor *t = &params->tensors[i];
        float *out = w + t->offset;
        if (t->kind == PARAMS_BIAS) continue;
        struct rng rng;
        rng_init_stream(&rng, seed, (uint64_t)i);
        float scale = fan_in && t->kind == PARAMS_MATRIX ? 1.0f / sqrtf((float)t->shape[1]) : std;
        if (t->residual) scale /= sqrtf(2.0f * (float)params->config.L);
        bool norm = t->kind == PARAMS_NORM || t->kind == PARAMS_QK_NORM;
        for (int64_t k = 0; k < t->count; k++) out[k] = norm ? 1.0f : scale * rng_normal(&rng);
    }
}

bool params_identity_start(const struct params *params, float *w) {
    const struct model_config *c = &params->config;
    int64_t C = c->C;
    if (c->H * c->D != C || c->H_kv * c->D != C) return false;
    float *matrices[] = {w + params->layers[0].qkv + 2 * C * C, w + params->layers[0].o};
    for (int m = 0; m < 2; m++)
        for (int64_t i = 0; i < C; i++)
            for (int64_t j = 0; j < C; j++) {
                float *x = &matrices[m][i * C + j];
                *x = 0.3f * *x + (i == j ? 1.0f : 0.0f);
            }
    return true;
}

bool params_read(const struct params *params, float *w, const struct tensor_set *set, const char *prefix,
                 const char *where, struct error *err) {
    for (int64_t i = 0; i < params->n_tensors; i++) {
        const struct params_tensor *t = &params->tensors[i];
        char name[160];
        snprintf(name, sizeof name, "%s%s", prefix, t->name);
        const struct tensor *tensor = tensor_set_find(set, name);
        if (tensor == NULL) return error_set(err, ERR_INPUT, "%s: tensor %s is missing", where, name);
        bool same = tensor->n_dims == t->n_dims;
        for (int d = 0; same && d < t->n_dims; d++) same = tensor->shape[d] == t->shape[d];
        if (!same)
            return error_set(err, ERR_INPUT, "%s: tensor %s has %d dimensions and %lld values, expected [%lld, %lld]",
                             where, name, tensor->n_dims, (long long)tensor->count, (long long)t->shape[0],
                             (long long)t->shape[1]);
        if (!tensor_read_f32(w + t->offset, tensor, err)) return error_wrap(err, "%s", where);
    }
    return true;
}

bool params_sources(const struct params *params, struct tensor_source *sources, const float *w, const char *prefix,
                    struct arena *arena, struct error *err) {
    for (int64_t i = 0; i < params->n_tensors; i++) {
        const struct params_tensor *t = &params->tensors[i];
        char name[160];
        int n = snprintf(name, sizeof name, "%s%s", prefix, t->name);
        sources[i] = (struct tensor_source){.name = arena_strndup(arena, name, (size_t)n),
                                            .dtype = TENSOR_F32,
                                            .n_dims = t->n_dims,
                                            .shape = {t->shape[0], t->shape[1]},
                                            .data = w + t->offset};
    }
    return arena_ok(arena) || error_set(err, ERR_NOMEM, "list of tensors: out of memory");
}
