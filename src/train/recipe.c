// train/recipe.c - the YAML schema, the defaults and the limits of a training recipe.
#include "train/recipe.h"

#include "core/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What libcyaml fills: an absent key stays NULL.
struct raw_model {
    int *family;
    int64_t *vocab_size, *hidden_size, *num_hidden_layers, *num_attention_heads, *num_key_value_heads, *head_dim,
        *intermediate_size, *max_position_embeddings;
    double *rms_norm_eps, *rope_theta, *initializer_range;
    bool *tie_word_embeddings, *attention_bias, *mlp_bias;
};
struct raw_source {
    char *path;
    double *repeat;
};
struct raw_data {
    int *mode;
    struct raw_source *train, *dev;
    uint32_t train_count, dev_count;
    int64_t *max_len;
};
struct raw_bag {
    double *lr, *dropout, *token_dropout, *epochs;
    int64_t *batch_docs;
};
struct raw_subwords {
    double *lr_ratio;
    int64_t *low, *high;
};
struct raw_recipe {
    struct raw_bag *bag;
    struct raw_subwords *subwords;
    int64_t **closed_groups;
    uint32_t closed_groups_count;
    int *start, *optimizer;
    bool *identity_start, *freeze_qk_norm;
    double *embedding_lr_ratio, *embedding_dropout, *token_dropout;
    int64_t *token_dropout_first_id;
    char *name, *init_from, *tokenizer, *bos_token, *eos_token, *pad_token, *out, *log;
    struct raw_model *model;
    struct raw_data *data;
    int *schedule;
    int64_t *seed, *steps, *batch_tokens, *micro_tokens, *warmup_steps, *log_every, *eval_every, *save_every, *keep,
        *threads;
    double *epochs, *max_minutes, *lr, *min_lr_ratio, *decay_fraction, *beta1, *beta2, *eps, *weight_decay,
        *clip_norm, *dropout, *ema_decay, *label_smoothing, *watts_per_core, *save_minutes;
    bool *decay_embeddings;
};

enum { LIST_MAX = 256, TEXT_MAX = 1000 };
#define OPTIONAL (CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL)
#define INT_(s, key) CYAML_FIELD_INT_PTR(#key, OPTIONAL, s, key)
#define FLOAT_(s, key) CYAML_FIELD_FLOAT_PTR(#key, OPTIONAL, s, key)
#define BOOL_(s, key) CYAML_FIELD_BOOL_PTR(#key, OPTIONAL, s, key)
#define TEXT_(s, key) CYAML_FIELD_STRING_PTR(#key, OPTIONAL, s, key, 1, TEXT_MAX)

static const cyaml_strval_t families[] = {{"llama", FAMILY_LLAMA}, {"qwen2", FAMILY_QWEN2}, {"qwen3", FAMILY_QWEN3}};
static const cyaml_strval_t modes[] = {{"rotate", LOADER_ROTATE}, {"mix", LOADER_MIX}};
static const cyaml_strval_t schedules[] = {
    {"cosine", SCHEDULE_COSINE}, {"wsd", SCHEDULE_WSD}, {"constant", SCHEDULE_CONSTANT}};
static const cyaml_strval_t optimizers[] = {{"adamw", 0}, {"muon", 1}};
static const cyaml_strval_t starts[] = {{"normal", 0}, {"fan_in", 1}};
#define ENUM_(s, key, table)                                                                                           \
    CYAML_FIELD_ENUM_PTR(#key, OPTIONAL | CYAML_FLAG_STRICT, s, key, table, CYAML_ARRAY_LEN(table))

static const cyaml_schema_field_t model_fields[] = {
    ENUM_(struct raw_model, family, families),
    INT_(struct raw_model, vocab_size),
    INT_(struct raw_model, hidden_size),
    INT_(struct raw_model, num_hidden_layers),
    INT_(struct raw_model, num_attention_heads),
    INT_(struct raw_model, num_key_value_heads),
    INT_(struct raw_model, head_dim),
    INT_(struct raw_model, intermediate_size),
    INT_(struct raw_model, max_position_embeddings),
    FLOAT_(struct raw_model, rms_norm_eps),
    FLOAT_(struct raw_model, rope_theta),
    FLOAT_(struct raw_model, initializer_range),
    BOOL_(struct raw_model, tie_word_embeddings),
    BOOL_(struct raw_model, attention_bias),
    BOOL_(struct raw_model, mlp_bias),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t source_fields[] = {
    CYAML_FIELD_STRING_PTR("path", CYAML_FLAG_POINTER, struct raw_source, path, 1, TEXT_MAX),
    FLOAT_(struct raw_source, repeat),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t source_value = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_DEFAULT, struct raw_source, source_fields)};
static const cyaml_schema_field_t data_fields[] = {
    ENUM_(struct raw_data, mode, modes),
    CYAML_FIELD_SEQUENCE("train", CYAML_FLAG_POINTER, struct raw_data, train, &source_value, 1, LIST_MAX),
    CYAML_FIELD_SEQUENCE("dev", OPTIONAL, struct raw_data, dev, &source_value, 0, LIST_MAX),
    INT_(struct raw_data, max_len),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t bag_fields[] = {
    FLOAT_(struct raw_bag, epochs),        FLOAT_(struct raw_bag, lr),
    FLOAT_(struct raw_bag, dropout),       FLOAT_(struct raw_bag, token_dropout),
    INT_(struct raw_bag, batch_docs),
    CYAML_FIELD_END,
};
static const cyaml_schema_field_t subwords_fields[] = {
    FLOAT_(struct raw_subwords, lr_ratio),
    INT_(struct raw_subwords, low),
    INT_(struct raw_subwords, high),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t boundary_value = {CYAML_VALUE_INT(CYAML_FLAG_POINTER, int64_t)};
static const cyaml_schema_field_t recipe_fields[] = {
    CYAML_FIELD_MAPPING_PTR("bag", OPTIONAL, struct raw_recipe, bag, bag_fields),
    CYAML_FIELD_MAPPING_PTR("subwords", OPTIONAL, struct raw_recipe, subwords, subwords_fields),
    CYAML_FIELD_SEQUENCE("closed_groups", OPTIONAL, struct raw_recipe, closed_groups, &boundary_value, 0, LIST_MAX),
    ENUM_(struct raw_recipe, start, starts),
    ENUM_(struct raw_recipe, optimizer, optimizers),
    BOOL_(struct raw_recipe, identity_start),
    BOOL_(struct raw_recipe, freeze_qk_norm),
    FLOAT_(struct raw_recipe, embedding_lr_ratio),
    FLOAT_(struct raw_recipe, embedding_dropout),
    FLOAT_(struct raw_recipe, token_dropout),
    INT_(struct raw_recipe, token_dropout_first_id),
    TEXT_(struct raw_recipe, name),
    TEXT_(struct raw_recipe, init_from),
    CYAML_FIELD_STRING_PTR("tokenizer", CYAML_FLAG_POINTER, struct raw_recipe, tokenizer, 1, TEXT_MAX),
    TEXT_(struct raw_recipe, bos_token),
    TEXT_(struct raw_recipe, eos_token),
    TEXT_(struct raw_recipe, pad_token),
    CYAML_FIELD_STRING_PTR("out", CYAML_FLAG_POINTER, struct raw_recipe, out, 1, TEXT_MAX),
    TEXT_(struct raw_recipe, log),
    CYAML_FIELD_MAPPING_PTR("model", OPTIONAL, struct raw_recipe, model, model_fields),
    CYAML_FIELD_MAPPING_PTR("data", CYAML_FLAG_POINTER, struct raw_recipe, data, data_fields),
    ENUM_(struct raw_recipe, schedule, schedules),
    INT_(struct raw_recipe, seed),
    INT_(struct raw_recipe, steps),
    FLOAT_(struct raw_recipe, epochs),
    FLOAT_(struct raw_recipe, max_minutes),
    INT_(struct raw_recipe, batch_tokens),
    INT_(struct raw_recipe, micro_tokens),
    FLOAT_(struct raw_recipe, lr),
    FLOAT_(struct raw_recipe, min_lr_ratio),
    INT_(struct raw_recipe, warmup_steps),
    FLOAT_(struct raw_recipe, decay_fraction),
    FLOAT_(struct raw_recipe, beta1),
    FLOAT_(struct raw_recipe, beta2),
    FLOAT_(struct raw_recipe, eps),
    FLOAT_(struct raw_recipe, weight_decay),
    BOOL_(struct raw_recipe, decay_embeddings),
    FLOAT_(struct raw_recipe, clip_norm),
    FLOAT_(struct raw_recipe, dropout),
    FLOAT_(struct raw_recipe, ema_decay),
    FLOAT_(struct raw_recipe, label_smoothing),
    INT_(struct raw_recipe, log_every),
    INT_(struct raw_recipe, eval_every),
    INT_(struct raw_recipe, save_every),
    FLOAT_(struct raw_recipe, save_minutes),
    INT_(struct raw_recipe, keep),
    INT_(struct raw_recipe, threads),
    FLOAT_(struct raw_recipe, watts_per_core),
    CYAML_FIELD_END,
};
static const cyaml_schema_value_t recipe_schema = {
    CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct raw_recipe, recipe_fields)};

// ---- values: default, limits, and an error that names the line

struct reading {
    const char *text, *name;
    size_t n_bytes;
    struct error *err;
};

// First line whose key is `key`; 0 when not found (the key was left out).
static int key_line(const struct reading *in, const char *key) {
    size_t n = strlen(key);
    int line = 1;
    for (size_t i = 0; i < in->n_bytes; line++) {
        size_t at = i;
        while (at < in->n_bytes && strchr(" \t-{\"'", in->text[at]) != NULL && in->text[at] != '\0') at++;
        if (in->n_bytes - at > n && memcmp(in->text + at, key, n) == 0 && strchr(": \t\"'", in->text[at + n]) != NULL)
            return line;
        while (i < in->n_bytes && in->text[i] != '\n') i++;
        i++;
    }
    return 0;
}

static bool bad_value(const struct reading *in, const char *key, double value, double low, double high) {
    return error_set(in->err, ERR_INPUT, "%s: line %d: %s: %.15g, expected %.10g to %.10g", in->name,
                     key_line(in, key), key, value, low, high);
}

static bool take_i64(const struct reading *in, int64_t *out, const char *key, const int64_t *value, int64_t absent,
                     int64_t low, int64_t high) {
    *out = value != NULL ? *value : absent;
    if (value == NULL || (*value >= low && *value <= high)) return true;
    return bad_value(in, key, (double)*value, (double)low, (double)high);
}

static bool take_f64(const struct reading *in, double *out, const char *key, const double *value, double absent,
                     double low, double high) {
    *out = value != NULL ? *value : absent;
    if (value == NULL || (*value >= low && *value <= high)) return true; // NaN fails
    return bad_value(in, key, *value, low, high);
}

static const char *take_text(struct recipe *recipe, const char *value) {
    return value != NULL ? arena_strndup(&recipe->arena, value, strlen(value)) : NULL;
}

static bool take_model(struct recipe *recipe, const struct raw_model *raw, const struct reading *in) {
    struct model_config *c = &recipe->config;
    static const struct raw_model empty;
    if (raw == NULL && recipe->init_from == NULL)
        return error_set(in->err, ERR_INPUT, "%s: one of model (a shape) or init_from (a folder) is needed", in->name);
    if (raw != NULL && recipe->init_from != NULL)
        return error_set(in->err, ERR_INPUT, "%s: line %d: model and init_from exclude each other", in->name,
                         key_line(in, "init_from"));
    if (raw == NULL) raw = &empty;
    double norm_eps, init_std, theta;
    int family = raw->family != NULL ? *raw->family : FAMILY_QWEN3;
    bool ok = take_i64(in, &c->V, "vocab_size", raw->vocab_size, 0, 1, DATA_MAX_VOCAB) &&
              take_i64(in, &c->C, "hidden_size", raw->hidden_size, 256, 1, 65536) &&
              take_i64(in, &c->L, "num_hidden_layers", raw->num_hidden_layers, 6, 1, 512) &&
              take_i64(in, &c->H, "num_attention_heads", raw->num_attention_heads, 4, 1, 1024) &&
              take_i64(in, &c->H_kv, "num_key_value_heads", raw->num_key_value_heads, c->H, 1, 1024) &&
              take_i64(in, &c->D, "head_dim", raw->head_dim, c->C / c->H, 2, 1024) &&
              take_i64(in, &c->F, "intermediate_size", raw->intermediate_size, 3 * c->C, 1, 1 << 20) &&
              take_i64(in, &c->T_max, "max_position_embeddings", raw->max_position_embeddings, 2048, 1, 1 << 20) &&
              take_f64(in, &norm_eps, "rms_norm_eps", raw->rms_norm_eps, 1e-6, 1e-12, 1e-2) &&
              take_f64(in, &init_std, "initializer_range", raw->initializer_range, 0.02, 1e-6, 10.0) &&
              take_f64(in, &theta, "rope_theta", raw->rope_theta, 10000.0, 1.0, 1e9);
    if (!ok) return false;
    c->family = (enum model_family)family;
    c->norm_eps = (float)norm_eps;
    c->init_std = (float)init_std;
    c->rope_theta = theta;
    c->rope_scaling = ROPE_NONE;
    c->tied_head = raw->tie_word_embeddings != NULL ? *raw->tie_word_embeddings : true;
    bool bias = raw->attention_bias != NULL && *raw->attention_bias;
    if (bias && c->family == FAMILY_QWEN2)
        return error_set(in->err, ERR_INPUT, "%s: line %d: attention_bias: qwen2 always has q, k and v biases: leave it out",
                         in->name, key_line(in, "attention_bias"));
    c->qkv_bias = bias || c->family == FAMILY_QWEN2;
    c->o_bias = bias;
    c->mlp_bias = raw->mlp_bias != NULL && *raw->mlp_bias;
    if (c->mlp_bias && c->family != FAMILY_LLAMA)
        return error_set(in->err, ERR_INPUT, "%s: line %d: mlp_bias: only the llama family has it", in->name,
                         key_line(in, "mlp_bias"));
    c->qk_norm = c->family == FAMILY_QWEN3;
    c->bos = c->pad = -1;
    if (recipe->init_from != NULL) return true;
    if (c->H % c->H_kv != 0 || c->D % 2 != 0)
        return error_set(in->err, ERR_INPUT,
                         "%s: line %d: model: %lld heads must be a multiple of %lld key heads, head_dim %lld even",
                         in->name, key_line(in, "model"), (long long)c->H, (long long)c->H_kv, (long long)c->D);
    return true;
}

static bool take_sources(struct recipe *recipe, struct loader_source **out, int64_t *n_out,
                         const struct raw_source *raw, uint32_t n, const struct reading *in) {
    *n_out = 0;
    *out = arena_alloc_array(&recipe->arena, n > 0 ? n : 1, sizeof **out);
    if (*out == NULL) return error_set(in->err, ERR_NOMEM, "%s: out of memory", in->name);
    for (uint32_t i = 0; i < n; i++) {
        if (!take_f64(in, &(*out)[i].repeat, "repeat", raw[i].repeat, 1.0, 1e-6, 1000.0)) return false;
        (*out)[i].path = take_text(recipe, raw[i].path);
    }
    *n_out = n;
    return true;
}

static bool take_bag(struct recipe *r, const struct raw_bag *raw, const struct reading *in) {
    struct bag_options *b = &r->bag;
    if (raw == NULL) return true; // zeroed: no such phase
    return take_f64(in, &b->epochs, "epochs", raw->epochs, 4.0, 0.0, 1000.0) &&
           take_f64(in, &b->lr, "lr", raw->lr, 4e-3, 0.0, 1.0) &&
           take_f64(in, &b->dropout, "dropout", raw->dropout, 0.2, 0.0, 0.9) &&
           take_f64(in, &b->token_dropout, "token_dropout", raw->token_dropout, 0.3, 0.0, 0.9) &&
           take_i64(in, &b->batch_docs, "batch_docs", raw->batch_docs, 64, 1, 65536);
}

static bool take_subwords(struct recipe *r, const struct raw_subwords *raw, const struct reading *in) {
    struct subword_options *s = &r->subwords;
    if (raw == NULL) return true; // zeroed: tokens share nothing
    return take_f64(in, &s->lr_ratio, "lr_ratio", raw->lr_ratio, 1.0, 0.0, 1000.0) &&
           take_i64(in, &s->low, "low", raw->low, 3, 1, 16) && take_i64(in, &s->high, "high", raw->high, 5, s->low, 32);
}

static bool take_closed(struct recipe *r, int64_t *const *raw, uint32_t n, const struct reading *in) {
    r->closed = arena_alloc_array(&r->arena, n > 0 ? n : 1, sizeof *r->closed);
    if (r->closed == NULL) return error_set(in->err, ERR_NOMEM, "%s: out of memory", in->name);
    for (uint32_t i = 0; i < n; i++) {
        if (*raw[i] < 0 || *raw[i] > DATA_MAX_VOCAB || (i > 0 && *raw[i] <= r->closed[i - 1]))
            return error_set(in->err, ERR_INPUT, "%s: line %d: closed_groups: %lld, ids must increase", in->name,
                             key_line(in, "closed_groups"), (long long)*raw[i]);
        r->closed[i] = (int32_t)*raw[i];
    }
    r->n_closed = n;
    return true;
}

static bool take_all(struct recipe *r, const struct raw_recipe *raw, const struct reading *in) {
    r->name = take_text(r, raw->name != NULL ? raw->name : "model");
    r->init_from = take_text(r, raw->init_from);
    r->tokenizer = take_text(r, raw->tokenizer);
    r->bos_token = take_text(r, raw->bos_token);
    r->eos_token = take_text(r, raw->eos_token);
    r->pad_token = take_text(r, raw->pad_token);
    r->out = take_text(r, raw->out);
    r->log = take_text(r, raw->log);
    r->mode = raw->data->mode != NULL ? (enum loader_mode)*raw->data->mode : LOADER_ROTATE;
    r->schedule.kind = raw->schedule != NULL ? (enum schedule_kind)*raw->schedule : SCHEDULE_COSINE;
    r->decay_embeddings = raw->decay_embeddings != NULL && *raw->decay_embeddings;
    r->fan_in_start = raw->start != NULL && *raw->start == 1;
    r->muon = raw->optimizer != NULL && *raw->optimizer == 1;
    r->identity_start = raw->identity_start != NULL && *raw->identity_start;
    r->freeze_qk_norm = raw->freeze_qk_norm != NULL && *raw->freeze_qk_norm;
    bool ok =
        take_model(r, raw->model, in) && take_bag(r, raw->bag, in) && take_subwords(r, raw->subwords, in) &&
        take_closed(r, raw->closed_groups, raw->closed_groups_count, in) &&
        take_f64(in, &r->embedding_lr_ratio, "embedding_lr_ratio", raw->embedding_lr_ratio, 1.0, 0.0, 1000.0) &&
        take_f64(in, &r->embedding_dropout, "embedding_dropout", raw->embedding_dropout,
                 raw->dropout != NULL ? *raw->dropout : 0.0, 0.0, 0.9) &&
        take_f64(in, &r->token_dropout, "token_dropout", raw->token_dropout, 0.0, 0.0, 0.9) &&
        take_i64(in, &r->token_dropout_first_id, "token_dropout_first_id", raw->token_dropout_first_id, 0, 0,
                 DATA_MAX_VOCAB) &&
        take_sources(r, &r->train, &r->n_train, raw->data->train, raw->data->train_count, in) &&
        take_sources(r, &r->dev, &r->n_dev, raw->data->dev, raw->data->dev_count, in) &&
        take_i64(in, &r->max_len, "max_len", raw->data->max_len, 0, 2, 1 << 20) &&
        take_i64(in, &r->seed, "seed", raw->seed, 1, 0, INT64_MAX) &&
        take_i64(in, &r->steps, "steps", raw->steps, 0, 1, 1000000000) &&
        take_f64(in, &r->epochs, "epochs", raw->epochs, 0.0, 1e-6, 1e6) &&
        take_f64(in, &r->max_minutes, "max_minutes", raw->max_minutes, 0.0, 1e-3, 1e6) &&
        take_i64(in, &r->batch_tokens, "batch_tokens", raw->batch_tokens, 4096, 2, 1 << 24) &&
        take_i64(in, &r->micro_tokens, "micro_tokens", raw->micro_tokens, 0, 2, 1 << 20) &&
        take_f64(in, &r->schedule.lr, "lr", raw->lr, 1e-3, 0.0, 10.0) &&
        take_f64(in, &r->schedule.min_lr_ratio, "min_lr_ratio", raw->min_lr_ratio, 0.1, 0.0, 1.0) &&
        take_i64(in, &r->schedule.warmup_steps, "warmup_steps", raw->warmup_steps, 100, 0, 1000000000) &&
        take_f64(in, &r->schedule.decay_fraction, "decay_fraction", raw->decay_fraction, 0.2, 0.0, 1.0) &&
        take_f64(in, &r->beta1, "beta1", raw->beta1, 0.9, 0.0, 0.99999) &&
        take_f64(in, &r->beta2, "beta2", raw->beta2, 0.95, 0.0, 0.999999) &&
        take_f64(in, &r->eps, "eps", raw->eps, 1e-8, 1e-30, 1.0) &&
        take_f64(in, &r->weight_decay, "weight_decay", raw->weight_decay, 0.1, 0.0, 10.0) &&
        take_f64(in, &r->clip_norm, "clip_norm", raw->clip_norm, 1.0, 0.0, 1e9) &&
        take_f64(in, &r->dropout, "dropout", raw->dropout, 0.0, 0.0, 0.9) &&
        take_f64(in, &r->ema_decay, "ema_decay", raw->ema_decay, 0.0, 0.0, 0.999999) &&
        take_f64(in, &r->label_smoothing, "label_smoothing", raw->label_smoothing, 0.0, 0.0, 0.9) &&
        take_i64(in, &r->log_every, "log_every", raw->log_every, 1, 1, 1000000) &&
        take_i64(in, &r->eval_every, "eval_every", raw->eval_every, 0, 0, 1000000000) &&
        take_i64(in, &r->save_every, "save_every", raw->save_every, 500, 0, 1000000000) &&
        take_f64(in, &r->save_minutes, "save_minutes", raw->save_minutes, 10.0, 0.0, 1e6) &&
        take_i64(in, &r->keep, "keep", raw->keep, 2, 1, 1000) &&
        take_i64(in, &r->threads, "threads", raw->threads, 0, 0, 1024) &&
        take_f64(in, &r->watts_per_core, "watts_per_core", raw->watts_per_core, 15.0, 0.0, 10000.0);
    if (!ok) return false;
    if (r->steps > 0 && r->epochs > 0.0)
        return error_set(in->err, ERR_INPUT, "%s: line %d: steps and epochs exclude each other", in->name,
                         key_line(in, "epochs"));
    if (r->steps == 0 && !(r->epochs > 0.0) && !(r->max_minutes > 0.0))
        return error_set(in->err, ERR_INPUT, "%s: one of steps, epochs or max_minutes is needed", in->name);
    if (r->micro_tokens > r->batch_tokens)
        return error_set(in->err, ERR_INPUT, "%s: line %d: micro_tokens: %lld, more than batch_tokens %lld", in->name,
                         key_line(in, "micro_tokens"), (long long)r->micro_tokens, (long long)r->batch_tokens);
    return arena_ok(&r->arena) || error_set(in->err, ERR_NOMEM, "%s: out of memory", in->name);
}

bool recipe_parse(struct recipe *recipe, const char *text, size_t n_bytes, const char *name, struct error *err) {
    *recipe = (struct recipe){0};
    arena_init(&recipe->arena, 1u << 20);
    hash_sha256_hex(recipe->sha256, text, n_bytes);
    void *raw;
    if (!yaml_load(&raw, text, n_bytes, name, &recipe_schema, err)) return false;
    struct reading in = {text, name, n_bytes, err};
    bool ok = take_all(recipe, raw, &in);
    yaml_release(raw, &recipe_schema);
    if (!ok) recipe_release(recipe);
    return ok;
}

bool recipe_read(struct recipe *recipe, const char *path, struct error *err) {
    char *text;
    size_t n_bytes;
    *recipe = (struct recipe){0};
    if (!file_read(&text, &n_bytes, path, 1u << 20, err)) return false;
    bool ok = recipe_parse(recipe, text, n_bytes, path, err);
    free(text);
    return ok;
}

void recipe_release(struct recipe *recipe) {
    arena_release(&recipe->arena);
    *recipe = (struct recipe){0};
}
