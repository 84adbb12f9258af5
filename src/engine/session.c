// engine/session.c - the forward pass of a decoder over several sequences, with a KV cache a slot.
// Rows of a pass (tokens of all parts, one after the other) go together through the matrix
// products; attention looks at each row's own slot. Every sum runs in an order set by the row
// alone, so a sequence's numbers do not depend on what else is in the pass nor on the threads.
#include "engine/session.h"

#include "core/arena.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct row {
    int64_t slot, position;
};

struct session {
    const struct model *model;
    const struct kernels *k;
    struct pool *pool;
    struct session_options options;
    struct arena arena;
    int64_t *lengths;           // [n_slots]
    float *keys, *values;       // [L, n_slots, H_kv, slot_tokens, D]
    float *rope_cos, *rope_sin; // [slot_tokens, D/2]
    struct row *rows;           // [batch_tokens]
    float *x, *h, *qkv,
        *gate_up;          // [batch_tokens, C], [., max(C, H D)], [., (H + 2 H_kv) D], [., 2 F]
    float *attention;      // [batch_tokens, H D]
    float *scores;         // [threads, slot_tokens]
    float *hidden;         // [batch_tokens, C]: rows kept by the last pass
    int64_t *hidden_first; // [batch_tokens]: part -> first kept row
    int64_t *hidden_count;
    int64_t n_parts;
    struct weight_scratch scratch; // of int8 weights
    int64_t layer_i; // of the stage being run on the pool
    int64_t n_rows;
};

bool session_open(struct session **out, const struct model *model, struct pool *pool,
                  const struct session_options *options, struct error *err) {
    *out = NULL;
    const struct model_config *c = &model->config;
    struct session_options o = *options;
    if (o.n_slots < 1 || o.slot_tokens < 1 || o.batch_tokens < 1 || o.n_slots > 1 << 16 ||
        o.batch_tokens > 1 << 20)
        return error_set(err, ERR_USAGE,
                         "session: %lld slots of %lld tokens, %lld a batch: each must be positive",
                         (long long)o.n_slots, (long long)o.slot_tokens, (long long)o.batch_tokens);
    if (o.slot_tokens > c->T_max)
        return error_set(err, ERR_LIMIT, "session: %lld tokens a sequence, the model holds %lld",
                         (long long)o.slot_tokens, (long long)c->T_max);
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, ERR_NOMEM, "session: out of memory");
    s->model = model;
    s->k = kernels_best();
    s->pool = pool;
    s->options = o;
    size_t Q = (size_t)(c->H * c->D), KV = (size_t)(c->H_kv * c->D), C = (size_t)c->C,
           B = (size_t)o.batch_tokens;
    size_t cache = (size_t)c->L * (size_t)o.n_slots * (size_t)o.slot_tokens;
    struct arena *a = &s->arena;
    s->lengths = arena_alloc_array(a, (size_t)o.n_slots, sizeof *s->lengths);
    s->keys = arena_alloc_array(a, cache, KV * sizeof(float));
    s->values = arena_alloc_array(a, cache, KV * sizeof(float));
    s->rope_cos = arena_alloc_array(a, (size_t)o.slot_tokens, (size_t)c->D / 2 * sizeof(float));
    s->rope_sin = arena_alloc_array(a, (size_t)o.slot_tokens, (size_t)c->D / 2 * sizeof(float));
    s->rows = arena_alloc_array(a, B, sizeof *s->rows);
    s->x = arena_alloc_array(a, B, C * sizeof(float));
    s->h = arena_alloc_array(a, B, (C > Q ? C : Q) * sizeof(float));
    s->qkv = arena_alloc_array(a, B, (Q + 2 * KV) * sizeof(float));
    s->gate_up = arena_alloc_array(a, B, 2 * (size_t)c->F * sizeof(float));
    s->attention = arena_alloc_array(a, B, Q * sizeof(float));
    s->scores =
        arena_alloc_array(a, (size_t)pool_threads(pool), (size_t)o.slot_tokens * sizeof(float));
    s->hidden = arena_alloc_array(a, B, C * sizeof(float));
    s->hidden_first = arena_alloc_array(a, B, sizeof *s->hidden_first);
    s->hidden_count = arena_alloc_array(a, B, sizeof *s->hidden_count);
    if (model->head.type == WEIGHT_I8) {
        int64_t widest = max_i64(max_i64(c->C, c->F), c->H * c->D);
        s->scratch.q = arena_alloc_array(a, B, (size_t)weight_scratch_stride(widest));
        s->scratch.scale = arena_alloc_array(a, B, sizeof(float));
    }
    if (!arena_ok(a)) {
        session_close(s);
        return error_set(err, ERR_NOMEM, "session: out of memory for %lld slots of %lld tokens",
                         (long long)o.n_slots, (long long)o.slot_tokens);
    }
    rope_table(s->rope_cos, s->rope_sin, c, o.slot_tokens);
    *out = s;
    return true;
}

void session_close(struct session *s) {
    if (s == NULL) return;
    arena_release(&s->arena);
    free(s);
}

const struct model *session_model(const struct session *s) {
    return s->model;
}

// Start of head `head` of `slot` in keys or values; positions follow, D floats each.
static int64_t cache_offset(const struct session *s, int64_t layer_i, int64_t slot, int64_t head) {
    const struct model_config *c = &s->model->config;
    return (((layer_i * s->options.n_slots + slot) * c->H_kv + head) * s->options.slot_tokens) *
           c->D;
}

static void add_bias(float *out, int64_t stride, const float *bias, int64_t n, int64_t n_rows) {
    if (bias == NULL) return;
    for (int64_t t = 0; t < n_rows; t++)
        for (int64_t i = 0; i < n; i++) out[t * stride + i] += bias[i];
}

// Norm and rotation of q and k, then k and v go to the cache. Rows [begin, end).
static void stage_rotate(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    struct session *s = context;
    const struct model_config *c = &s->model->config;
    const struct layer *y = &s->model->layers[s->layer_i];
    int64_t D = c->D, Q = c->H * D, KV = c->H_kv * D;
    for (int64_t t = begin; t < end; t++) {
        float *row = s->qkv + t * (Q + 2 * KV);
        int64_t position = s->rows[t].position;
        const float *cos_t = s->rope_cos + position * D / 2,
                    *sin_t = s->rope_sin + position * D / 2;
        for (int64_t h = 0; h < c->H + c->H_kv; h++) {
            float *head = row + h * D;
            const float *norm = h < c->H ? y->q_norm : y->k_norm;
            if (norm != NULL) s->k->rmsnorm(head, head, norm, D, c->norm_eps);
            s->k->rope(head, cos_t, sin_t, D, 1);
        }
        for (int64_t h = 0; h < c->H_kv; h++) {
            int64_t at = cache_offset(s, s->layer_i, s->rows[t].slot, h) + position * D;
            memcpy(s->keys + at, row + Q + h * D, (size_t)D * sizeof(float));
            memcpy(s->values + at, row + Q + KV + h * D, (size_t)D * sizeof(float));
        }
    }
}

// softmax(q k^T / sqrt(D)) v, Vaswani et al. 2017 eq. 1, arXiv:1706.03762; item i is row i / H,
// head i % H.
static void stage_attention(void *context, int64_t begin, int64_t end, int thread_i) {
    struct session *s = context;
    const struct model_config *c = &s->model->config;
    int64_t D = c->D, Q = c->H * D, KV = c->H_kv * D, group = c->H / c->H_kv;
    float *scores = s->scores + thread_i * s->options.slot_tokens, scale = 1.0f / sqrtf((float)D);
    for (int64_t i = begin; i < end; i++) {
        int64_t t = i / c->H, head = i % c->H, n = s->rows[t].position + 1;
        const float *q = s->qkv + t * (Q + 2 * KV) + head * D;
        int64_t at = cache_offset(s, s->layer_i, s->rows[t].slot, head / group);
        const float *keys = s->keys + at, *values = s->values + at;
        for (int64_t p = 0; p < n; p++) scores[p] = s->k->dot(q, keys + p * D, D) * scale;
        s->k->softmax(scores, n);
        float *out = s->attention + t * Q + head * D;
        memset(out, 0, (size_t)D * sizeof *out);
        for (int64_t p = 0; p < n; p++) s->k->axpy(out, scores[p], values + p * D, D);
    }
}

static void stage_silu(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    struct session *s = context;
    int64_t F = s->model->config.F;
    for (int64_t t = begin; t < end; t++) {
        float *gate = s->gate_up + t * 2 * F;
        s->k->silu_mul(gate, gate, gate + F, F);
    }
}

static void norm_rows(const struct session *s, float *out, const float *x, const float *w,
                      int64_t n_rows) {
    int64_t C = s->model->config.C;
    for (int64_t t = 0; t < n_rows; t++)
        s->k->rmsnorm(out + t * C, x + t * C, w, C, s->model->config.norm_eps);
}

// One decoder layer over all rows: x += attention(norm(x)); x += mlp(norm(x)).
static void run_layer(struct session *s, int64_t layer_i) {
    const struct model_config *c = &s->model->config;
    const struct layer *y = &s->model->layers[layer_i];
    int64_t N = s->n_rows, C = c->C, Q = c->H * c->D, KV = c->H_kv * c->D, F = c->F;
    s->layer_i = layer_i;
    norm_rows(s, s->h, s->x, y->attn_norm, N);
    weight_apply(s->k, s->pool, s->qkv, Q + 2 * KV, s->h, C, &y->qkv, N, &s->scratch);
    add_bias(s->qkv, Q + 2 * KV, y->qkv_bias, Q + 2 * KV, N);
    pool_run(s->pool, stage_rotate, s, N, 8);
    pool_run(s->pool, stage_attention, s, N * c->H, c->H);
    weight_apply(s->k, s->pool, s->h, C, s->attention, Q, &y->o, N, &s->scratch);
    add_bias(s->h, C, y->o_bias, C, N);
    s->k->axpy(s->x, 1.0f, s->h, N * C);
    norm_rows(s, s->h, s->x, y->mlp_norm, N);
    weight_apply(s->k, s->pool, s->gate_up, 2 * F, s->h, C, &y->gate_up, N, &s->scratch);
    add_bias(s->gate_up, 2 * F, y->gate_up_bias, 2 * F, N);
    pool_run(s->pool, stage_silu, s, N, 8);
    weight_apply(s->k, s->pool, s->h, C, s->gate_up, 2 * F, &y->down, N, &s->scratch);
    add_bias(s->h, C, y->down_bias, C, N);
    s->k->axpy(s->x, 1.0f, s->h, N * C);
}

// Everything that can be refused is refused here, before anything changes.
static bool parts_check(const struct session *s, const struct session_part *parts, int64_t n_parts,
                        struct error *err) {
    int64_t total = 0;
    for (int64_t i = 0; i < n_parts; i++) {
        const struct session_part *p = &parts[i];
        if (p->slot < 0 || p->slot >= s->options.n_slots || p->n < 1)
            return error_set(err, ERR_USAGE, "session: part %lld has slot %lld and %lld tokens",
                             (long long)i, (long long)p->slot, (long long)p->n);
        for (int64_t j = 0; j < i; j++)
            if (parts[j].slot == p->slot)
                return error_set(err, ERR_USAGE, "session: slot %lld is in two parts of one pass",
                                 (long long)p->slot);
        if (p->n > s->options.slot_tokens - s->lengths[p->slot])
            return error_set(
                err, ERR_LIMIT,
                "session: slot %lld holds %lld tokens, %lld more pass its limit of %lld",
                (long long)p->slot, (long long)s->lengths[p->slot], (long long)p->n,
                (long long)s->options.slot_tokens);
        for (int64_t j = 0; j < p->n; j++)
            if (p->tokens[j] < 0 || p->tokens[j] >= s->model->config.V)
                return error_set(err, ERR_INPUT,
                                 "session: token %d is outside the vocabulary of %lld",
                                 p->tokens[j], (long long)s->model->config.V);
        total += p->n;
        if (total > s->options.batch_tokens)
            return error_set(err, ERR_LIMIT, "session: a pass of more than %lld tokens",
                             (long long)s->options.batch_tokens);
    }
    return true;
}

bool session_forward(struct session *s, const struct session_part *parts, int64_t n_parts,
                     struct error *err) {
    if (!parts_check(s, parts, n_parts, err)) return false;
    int64_t C = s->model->config.C;
    s->n_rows = 0;
    for (int64_t i = 0; i < n_parts; i++) {
        for (int64_t j = 0; j < parts[i].n; j++) {
            s->rows[s->n_rows] = (struct row){parts[i].slot, s->lengths[parts[i].slot] + j};
            memcpy(s->x + s->n_rows * C, s->model->embedding + parts[i].tokens[j] * C,
                   (size_t)C * sizeof(float));
            s->n_rows++;
        }
    }
    for (int64_t layer_i = 0; layer_i < s->model->config.L; layer_i++) run_layer(s, layer_i);
    int64_t row = 0, kept = 0;
    for (int64_t i = 0; i < n_parts; row += parts[i++].n) {
        s->lengths[parts[i].slot] += parts[i].n;
        int64_t n = parts[i].want_all ? parts[i].n : parts[i].want_hidden ? 1 : 0;
        s->hidden_first[i] = kept;
        s->hidden_count[i] = n;
        norm_rows(s, s->hidden + kept * C, s->x + (row + parts[i].n - n) * C, s->model->norm, n);
        kept += n;
    }
    s->n_parts = n_parts;
    return true;
}

const float *session_hidden(const struct session *s, int64_t part_i, int64_t token_i) {
    assert(part_i >= 0 && part_i < s->n_parts && s->hidden_count[part_i] > 0);
    int64_t i = s->hidden_count[part_i] == 1 ? 0 : token_i;
    assert(i >= 0 && i < s->hidden_count[part_i]);
    return s->hidden + (s->hidden_first[part_i] + i) * s->model->config.C;
}

void session_logits(const struct session *s, float *logits, const float *hidden) {
    int64_t C = s->model->config.C;
    weight_apply(s->k, s->pool, logits, s->model->config.V, hidden, C, &s->model->head, 1, &s->scratch);
}

void session_logits_of(const struct session *s, float *logits, const float *hidden,
                       const int32_t *ids, int64_t n) {
    weight_apply_rows(s->k, logits, hidden, &s->model->head, ids, n, &s->scratch);
}

int64_t session_length(const struct session *s, int64_t slot) {
    assert(slot >= 0 && slot < s->options.n_slots);
    return s->lengths[slot];
}

void session_truncate(struct session *s, int64_t slot, int64_t n) {
    assert(slot >= 0 && slot < s->options.n_slots && n >= 0 && n <= s->lengths[slot]);
    s->lengths[slot] = n;
}

void session_copy(struct session *s, int64_t to, int64_t from, int64_t n) {
    assert(to >= 0 && to < s->options.n_slots && from >= 0 && from < s->options.n_slots && n >= 0 &&
           n <= s->lengths[from]);
    const struct model_config *c = &s->model->config;
    for (int64_t layer_i = 0; layer_i < c->L; layer_i++)
        for (int64_t h = 0; h < c->H_kv; h++) {
            int64_t a = cache_offset(s, layer_i, to, h), b = cache_offset(s, layer_i, from, h);
            memmove(s->keys + a, s->keys + b, (size_t)(n * c->D) * sizeof(float));
            memmove(s->values + a, s->values + b, (size_t)(n * c->D) * sizeof(float));
        }
    s->lengths[to] = n;
}
