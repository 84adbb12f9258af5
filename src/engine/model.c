// engine/model.c - opening a model: names of Llama- and Qwen-family tensors, shapes checked,
// weights packed. Folder or GGUF file is the source's business.
#include "engine/model.h"

#include "core/json.h"
#include "engine/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct loader {
    const struct source *source;
    const char *folder;
    enum weight_type type;
    struct error *err;
    int64_t bytes;
};

// Finds tensor `name` of the given shape; `n_cols` 0 for a vector. Called before memory is taken
// for it, so that a config.json that claims too much is told from the file and not from malloc.
static bool find_tensor(struct loader *l, const struct source_tensor **out, const char *name,
                        int64_t n_rows, int64_t n_cols) {
    const struct source_tensor *t = *out = source_find(l->source, name);
    if (t == NULL)
        return error_set(l->err, ERR_INPUT, "%s: tensor \"%s\" is missing", l->folder, name);
    bool right = n_cols > 0 ? t->n_dims == 2 && t->shape[0] == n_rows && t->shape[1] == n_cols
                            : t->n_dims == 1 && t->shape[0] == n_rows;
    if (!right) {
        char shape[160] = "";
        for (int i = 0; i < t->n_dims; i++) {
            size_t n = strlen(shape);
            snprintf(shape + n, sizeof shape - n, i ? ", %lld" : "%lld", (long long)t->shape[i]);
        }
        if (n_cols == 0)
            return error_set(l->err, ERR_INPUT, "%s: tensor \"%s\" is [%s], %s says [%lld]",
                             l->folder, name, shape, source_config_name(l->source),
                             (long long)n_rows);
        return error_set(l->err, ERR_INPUT, "%s: tensor \"%s\" is [%s], %s says [%lld, %lld]",
                         l->folder, name, shape, source_config_name(l->source), (long long)n_rows,
                         (long long)n_cols);
    }
    return true;
}

static bool load_into(struct loader *l, float *out, const char *name, int64_t n_rows,
                      int64_t n_cols) {
    const struct source_tensor *t;
    if (!find_tensor(l, &t, name, n_rows, n_cols)) return false;
    return source_read(out, t, l->err) || error_wrap(l->err, "%s", l->folder);
}

static float *load_new(struct loader *l, const char *name, int64_t n_rows, int64_t n_cols) {
    const struct source_tensor *t;
    if (!find_tensor(l, &t, name, n_rows, n_cols)) return NULL;
    size_t count = (size_t)n_rows * (size_t)(n_cols > 0 ? n_cols : 1);
    float *out = malloc(count * sizeof *out);
    if (out == NULL) {
        error_set(l->err, ERR_NOMEM, "%s: out of memory for tensor \"%s\"", l->folder, name);
        return NULL;
    }
    if (load_into(l, out, name, n_rows, n_cols)) {
        l->bytes += (int64_t)(count * sizeof *out);
        return out;
    }
    free(out);
    return NULL;
}

// Row blocks stacked in one packed matrix (q, k, v; gate, up): one product instead of three.
struct block {
    char name[96];
    int64_t O;
};

static bool load_weight(struct loader *l, struct weight *weight, const struct block *blocks,
                        int n_blocks, int64_t C) {
    int64_t O = 0;
    for (int i = 0; i < n_blocks; O += blocks[i++].O) {
        const struct source_tensor *t;
        if (!find_tensor(l, &t, blocks[i].name, blocks[i].O, C)) return false;
    }
    float *w = malloc((size_t)O * (size_t)C * sizeof *w);
    if (w == NULL)
        return error_set(l->err, ERR_NOMEM, "%s: out of memory for %s", l->folder, blocks[0].name);
    int64_t row = 0;
    bool ok = true;
    for (int i = 0; ok && i < n_blocks; row += blocks[i++].O)
        ok = load_into(l, w + row * C, blocks[i].name, blocks[i].O, C);
    if (ok && l->type == WEIGHT_F32) ok = weight_init_f32(weight, w, O, C, l->err);
    if (ok && l->type == WEIGHT_I8) ok = weight_init_i8(weight, w, O, C, l->err);
    if (ok && l->type == WEIGHT_BF16) {
        uint16_t *bits = malloc((size_t)O * (size_t)C * sizeof *bits);
        ok = bits != NULL ||
             error_set(l->err, ERR_NOMEM, "%s: out of memory for %s", l->folder, blocks[0].name);
        for (int64_t i = 0; ok && i < O * C; i++) bits[i] = bf16_from_f32(w[i]);
        ok = ok && weight_init_bf16(weight, bits, O, C, l->err);
        free(bits);
    }
    free(w);
    if (ok) l->bytes += weight_bytes(weight);
    return ok;
}

static bool load_bias(struct loader *l, float **bias, const struct block *blocks, int n_blocks) {
    int64_t O = 0, row = 0;
    for (int i = 0; i < n_blocks; i++) O += blocks[i].O;
    *bias = malloc((size_t)O * sizeof **bias);
    if (*bias == NULL) return error_set(l->err, ERR_NOMEM, "%s: out of memory", l->folder);
    for (int i = 0; i < n_blocks; row += blocks[i++].O) {
        char name[112];
        snprintf(name, sizeof name, "%.*s.bias", (int)(strlen(blocks[i].name) - strlen(".weight")),
                 blocks[i].name);
        if (!load_into(l, *bias + row, name, blocks[i].O, 0)) return false;
    }
    return true;
}

static void block_name(struct block *b, int64_t layer_i, const char *what, int64_t O) {
    snprintf(b->name, sizeof b->name, "model.layers.%lld.%s.weight", (long long)layer_i, what);
    b->O = O;
}

static bool load_layer(struct loader *l, struct layer *layer, const struct model_config *c,
                       int64_t i) {
    int64_t Q = c->H * c->D, KV = c->H_kv * c->D;
    struct block qkv[3], o, gate_up[2], down, norm;
    block_name(&qkv[0], i, "self_attn.q_proj", Q);
    block_name(&qkv[1], i, "self_attn.k_proj", KV);
    block_name(&qkv[2], i, "self_attn.v_proj", KV);
    block_name(&o, i, "self_attn.o_proj", c->C);
    block_name(&gate_up[0], i, "mlp.gate_proj", c->F);
    block_name(&gate_up[1], i, "mlp.up_proj", c->F);
    block_name(&down, i, "mlp.down_proj", c->C);
    if (!load_weight(l, &layer->qkv, qkv, 3, c->C) || !load_weight(l, &layer->o, &o, 1, Q) ||
        !load_weight(l, &layer->gate_up, gate_up, 2, c->C) ||
        !load_weight(l, &layer->down, &down, 1, c->F))
        return false;
    if (c->qkv_bias && !load_bias(l, &layer->qkv_bias, qkv, 3)) return false;
    if (c->o_bias && !load_bias(l, &layer->o_bias, &o, 1)) return false;
    if (c->mlp_bias && (!load_bias(l, &layer->gate_up_bias, gate_up, 2) ||
                        !load_bias(l, &layer->down_bias, &down, 1)))
        return false;
    block_name(&norm, i, "input_layernorm", c->C);
    if ((layer->attn_norm = load_new(l, norm.name, c->C, 0)) == NULL) return false;
    block_name(&norm, i, "post_attention_layernorm", c->C);
    if ((layer->mlp_norm = load_new(l, norm.name, c->C, 0)) == NULL) return false;
    if (!c->qk_norm) return true;
    block_name(&norm, i, "self_attn.q_norm", c->D);
    if ((layer->q_norm = load_new(l, norm.name, c->D, 0)) == NULL) return false;
    block_name(&norm, i, "self_attn.k_norm", c->D);
    return (layer->k_norm = load_new(l, norm.name, c->D, 0)) != NULL;
}

static bool open_tokenizer(struct model *m, const struct source *source, const char *folder,
                           struct error *err) {
    struct buf json = {0};
    char name[4096];
    snprintf(name, sizeof name, gguf_is_path(folder) ? "%s: tokenizer" : "%s/tokenizer.json",
             folder);
    bool ok =
        source_tokenizer(source, &json, err) &&
        tokenizer_parse(&m->tokenizer, json.data != NULL ? json.data : "", json.n_bytes, name, err);
    buf_release(&json);
    return ok;
}

// The last part of the path, or "name" of sillon.json.
static void read_name(struct model *m, const char *folder) {
    size_t end = strlen(folder);
    while (end > 0 && folder[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && folder[begin - 1] != '/') begin--;
    snprintf(m->name, sizeof m->name, "%.*s", (int)(end - begin), folder + begin);
    json_t *root = NULL;
    struct buf text = {0};
    struct error ignored = {0};
    bool present;
    if (source_sillon_json(&text, &present, folder, &ignored) && text.n_bytes > 0 &&
        json_parse(&root, text.data, text.n_bytes, folder, &ignored)) {
        const char *name = json_string_value(json_object_get(root, "name"));
        if (name != NULL) snprintf(m->name, sizeof m->name, "%s", name);
        json_decref(root);
    }
    buf_release(&text);
}

bool model_open(struct model **out, const char *folder, const struct model_options *options,
                struct error *err) {
    *out = NULL;
    struct model *m = calloc(1, sizeof *m);
    struct source *source = NULL;
    if (m == NULL) return error_set(err, ERR_NOMEM, "model %s: out of memory", folder);
    if (!source_open(&source, folder, err)) goto fail;
    m->config = *source_config(source);
    const struct model_config *c = &m->config;
    struct loader l = {source, folder, options != NULL ? options->type : WEIGHT_F32, err, 0};
    m->layers = calloc((size_t)c->L, sizeof *m->layers);
    if (m->layers == NULL) {
        error_set(err, ERR_NOMEM, "model %s: out of memory", folder);
        goto fail;
    }
    if ((m->embedding = load_new(&l, "model.embed_tokens.weight", c->V, c->C)) == NULL ||
        (m->norm = load_new(&l, "model.norm.weight", c->C, 0)) == NULL)
        goto fail;
    for (int64_t i = 0; i < c->L; i++)
        if (!load_layer(&l, &m->layers[i], c, i)) goto fail;
    struct block head = {.O = c->V};
    // A folder may tie the head without saying so, or say so and store it twice: the file decides.
    bool tied = c->tied_head || source_find(source, "lm_head.weight") == NULL;
    snprintf(head.name, sizeof head.name, "%s",
             tied ? "model.embed_tokens.weight" : "lm_head.weight");
    if (!load_weight(&l, &m->head, &head, 1, c->C)) goto fail;
    if (!source_sha256(source, m->sha256, err)) goto fail;
    m->weight_bytes = l.bytes;
    if (!open_tokenizer(m, source, folder, err)) goto fail;
    if (tokenizer_vocab(m->tokenizer) > c->V) {
        error_set(err, ERR_INPUT, "%s: the tokenizer has %lld tokens, the model only %lld rows",
                  folder, (long long)tokenizer_vocab(m->tokenizer), (long long)c->V);
        goto fail;
    }
    read_name(m, folder);
    source_close(source);
    *out = m;
    return true;
fail:
    source_close(source);
    model_close(m);
    return false;
}

void model_close(struct model *m) {
    if (m == NULL) return;
    for (int64_t i = 0; m->layers != NULL && i < m->config.L; i++) {
        struct layer *y = &m->layers[i];
        weight_release(&y->qkv);
        weight_release(&y->o);
        weight_release(&y->gate_up);
        weight_release(&y->down);
        float *vectors[] = {y->attn_norm,    y->mlp_norm,  y->qkv_bias, y->o_bias,
                            y->gate_up_bias, y->down_bias, y->q_norm,   y->k_norm};
        for (int64_t j = 0; j < COUNT_OF(vectors); j++) free(vectors[j]);
    }
    free(m->layers);
    weight_release(&m->head);
    free(m->embedding);
    free(m->norm);
    tokenizer_close(m->tokenizer);
    free(m);
}
