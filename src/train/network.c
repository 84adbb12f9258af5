// train/network.c - the forward pass keeps what the backward pass reads; every loop gives each output one owner.
#include "train/network.h"

#include "train/attention.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    NETWORK_BLOCK = 64,           // rows whose norm-weight gradients are summed together, then block by block
    NETWORK_DW_ROWS = 256,        // tokens of one product in dW += dy^T x: its panel of x stays in the L1 cache
    NETWORK_LOGITS = 1 << 20,     // floats of one chunk of logits
    NETWORK_MAX_D = 1024,         // of a head
};

struct network_matrix { // one weight [O, C], packed for both directions
    float *forward;     // y = x w^T
    float *backward;    // dx = dy w
};

struct network_layer { // activations kept for the backward pass; the residual stream is in network.x
    float *xn1, *r1;   // [T, C], [T]
    float *qkv;        // [T, Q]
    float *qk, *r_qk;  // [T, (H + H_kv) D], [T, H + H_kv]: after q and k norms; qk == qkv without them
    float *att;        // [T, H D]
    float *xn2, *r2;   // [T, C], [T]
    float *gate_up;    // [T, 2 F]
    float *act;        // [T, F]
    struct network_matrix w_qkv, w_o, w_gate_up, w_down;
};

struct network {
    struct arena arena;
    const struct params *params;
    const struct kernels *k;
    struct pool *pool;
    struct network_options options;
    struct attention attention;
    int64_t Q, QK, qk_stride; // (H + 2 H_kv) D, (H + H_kv) D, and the row length of network_layer.qk
    const float *w;
    struct network_layer *layers;
    struct network_matrix head;
    float **x;                    // [2 L + 1] of [T, C]: the residual stream after each branch
    int32_t *positions;           // [T]
    float *rope_cos, *rope_sin;   // [max_doc, D/2]
    float *branch;                // [T, C]: a branch's output, or its gradient
    float *dx, *dxn;              // [T, C]
    float *dqkv, *datt;           // [T, Q], [T, H D]
    float *dgate_up, *dact;       // [T, 2 F], [T, F]
    float *packed_rows;           // [NETWORK_DW_ROWS, max(C, H D, F)] packed
    float *partial;               // [blocks, max(C, 2 D)]: norm-weight gradients of each block
    // The head works on the rows whose next token has a weight.
    int32_t *rows, *targets; // [T]
    float *row_weight;       // [T]
    double *row_loss;        // [T]
    int64_t n_rows, chunk_rows;
    float *hidden, *dhidden, *r_final; // [T, C], [chunk, C], [T]
    float *logits;                     // [chunk, V]
    float *packed_hidden;              // [chunk, C] packed
    // The pass in progress.
    const struct network_batch *batch;
    float *grad;
    float scale;
    uint64_t dropout_key;
};

// ---- memory

static float *floats(struct network *n, int64_t count) {
    return arena_alloc_array(&n->arena, (size_t)count, sizeof(float));
}

static void matrix_plan(struct network *n, struct network_matrix *m, int64_t O, int64_t C) {
    m->forward = floats(n, gemm_packed_count(C, O));
    m->backward = floats(n, gemm_packed_count(O, C));
}

static void network_plan_layers(struct network *n, int64_t T) {
    const struct model_config *c = &n->params->config;
    for (int64_t l = 0; l < c->L && arena_ok(&n->arena); l++) {
        struct network_layer *y = &n->layers[l];
        y->xn1 = floats(n, T * c->C);
        y->r1 = floats(n, T);
        y->qkv = floats(n, T * n->Q);
        y->qk = c->qk_norm ? floats(n, T * n->QK) : y->qkv;
        y->r_qk = c->qk_norm ? floats(n, T * (c->H + c->H_kv)) : NULL;
        y->att = floats(n, T * c->H * c->D);
        y->xn2 = floats(n, T * c->C);
        y->r2 = floats(n, T);
        y->gate_up = floats(n, T * 2 * c->F);
        y->act = floats(n, T * c->F);
        matrix_plan(n, &y->w_qkv, n->Q, c->C);
        matrix_plan(n, &y->w_o, c->C, c->H * c->D);
        matrix_plan(n, &y->w_gate_up, 2 * c->F, c->C);
        matrix_plan(n, &y->w_down, c->C, c->F);
    }
}

static void network_plan(struct network *n) {
    const struct model_config *c = &n->params->config;
    int64_t T = n->options.max_tokens, widest = max_i64(c->C, max_i64(c->H * c->D, c->F));
    n->Q = (c->H + 2 * c->H_kv) * c->D;
    n->QK = (c->H + c->H_kv) * c->D;
    n->qk_stride = c->qk_norm ? n->QK : n->Q;
    n->layers = arena_alloc_array(&n->arena, (size_t)c->L, sizeof n->layers[0]);
    n->x = arena_alloc_array(&n->arena, (size_t)(2 * c->L + 1), sizeof n->x[0]);
    if (!arena_ok(&n->arena)) return;
    for (int64_t i = 0; i < 2 * c->L + 1; i++) n->x[i] = floats(n, T * c->C);
    network_plan_layers(n, T);
    matrix_plan(n, &n->head, c->V, c->C);
    n->positions = arena_alloc_array(&n->arena, (size_t)T, sizeof n->positions[0]);
    n->rope_cos = floats(n, n->options.max_doc * (c->D / 2));
    n->rope_sin = floats(n, n->options.max_doc * (c->D / 2));
    n->branch = floats(n, T * c->C);
    n->dx = floats(n, T * c->C);
    n->dxn = floats(n, T * c->C);
    n->dqkv = floats(n, T * n->Q);
    n->datt = floats(n, T * c->H * c->D);
    n->dgate_up = floats(n, T * 2 * c->F);
    n->dact = floats(n, T * c->F);
    n->packed_rows = floats(n, gemm_packed_count(NETWORK_DW_ROWS, widest));
    n->partial = floats(n, (T + NETWORK_BLOCK - 1) / NETWORK_BLOCK * max_i64(c->C, 2 * c->D));
    n->chunk_rows = min_i64(T, max_i64(32, min_i64(NETWORK_DW_ROWS, NETWORK_LOGITS / c->V)));
    n->rows = arena_alloc_array(&n->arena, (size_t)T, sizeof n->rows[0]);
    n->targets = arena_alloc_array(&n->arena, (size_t)T, sizeof n->targets[0]);
    n->row_weight = floats(n, T);
    n->row_loss = arena_alloc_array(&n->arena, (size_t)T, sizeof n->row_loss[0]);
    n->hidden = floats(n, T * c->C);
    n->r_final = floats(n, T);
    n->dhidden = floats(n, n->chunk_rows * c->C);
    n->logits = floats(n, n->chunk_rows * c->V);
    n->packed_hidden = floats(n, gemm_packed_count(n->chunk_rows, c->C));
    attention_init(&n->attention, &n->arena, n->k, n->pool, c->H, c->H_kv, c->D, n->options.max_doc);
}

bool network_open(struct network **out, const struct params *params, const struct network_options *options,
                  struct pool *pool, struct error *err) {
    *out = NULL;
    if (options->max_tokens < 1 || options->max_tokens > (1 << 22) || options->max_doc < 1 ||
        options->max_doc > options->max_tokens)
        return error_set(err, ERR_LIMIT, "micro-batch of %lld tokens with documents of %lld: impossible",
                         (long long)options->max_tokens, (long long)options->max_doc);
    if (params->config.D > NETWORK_MAX_D)
        return error_set(err, ERR_LIMIT, "head_dim %lld: training takes at most %d", (long long)params->config.D,
                         NETWORK_MAX_D);
    struct network *n = calloc(1, sizeof *n);
    if (n == NULL) return error_set(err, ERR_NOMEM, "network: out of memory");
    arena_init(&n->arena, 0);
    n->params = params;
    n->k = kernels_best();
    n->pool = pool;
    n->options = *options;
    network_plan(n);
    if (!arena_ok(&n->arena)) {
        size_t planned = n->arena.used_bytes;
        network_close(n);
        return error_set(err, ERR_NOMEM,
                         "out of memory for activations (%.0f MiB so far): lower micro_tokens (now %lld)",
                         (double)planned / 1048576.0, (long long)options->max_tokens);
    }
    rope_table(n->rope_cos, n->rope_sin, &params->config, options->max_doc);
    *out = n;
    return true;
}

void network_close(struct network *network) {
    if (network == NULL) return;
    arena_release(&network->arena);
    free(network);
}

int64_t network_bytes(const struct network *network) {
    return (int64_t)network->arena.used_bytes;
}

static void matrix_load(struct network *n, struct network_matrix *m, int64_t offset, int64_t O, int64_t C,
                        bool backward) {
    const float *w = n->w + offset;
    gemm_pack(n->k, n->pool, m->forward, w, 1, C, C, O);
    if (backward) gemm_pack(n->k, n->pool, m->backward, w, C, 1, O, C);
}

void network_load(struct network *n, const float *w, bool backward) {
    const struct model_config *c = &n->params->config;
    n->w = w;
    for (int64_t l = 0; l < c->L; l++) {
        struct network_layer *y = &n->layers[l];
        const struct params_layer *p = &n->params->layers[l];
        matrix_load(n, &y->w_qkv, p->qkv, n->Q, c->C, backward);
        matrix_load(n, &y->w_o, p->o, c->C, c->H * c->D, backward);
        matrix_load(n, &y->w_gate_up, p->gate_up, 2 * c->F, c->C, backward);
        matrix_load(n, &y->w_down, p->down, c->C, c->F, backward);
    }
    matrix_load(n, &n->head, n->params->head, c->V, c->C, backward);
}

// ---- products

// y[T, O] = x[T, C] w^T
static void product_forward(struct network *n, float *y, const float *x, const struct network_matrix *m, int64_t T,
                            int64_t O, int64_t C) {
    gemm_run(n->k, n->pool, y, O, x, C, 1, m->forward, T, O, C, false);
}

// dx[T, C] = dy[T, O] w;  dw[O, C] += dy^T x
static void product_backward(struct network *n, float *dx, float *dw, const float *dy, const float *x,
                             const struct network_matrix *m, int64_t T, int64_t O, int64_t C) {
    if (dx != NULL) gemm_run(n->k, n->pool, dx, C, dy, O, 1, m->backward, T, C, O, false);
    for (int64_t t = 0; t < T; t += NETWORK_DW_ROWS) {
        int64_t rows = min_i64(NETWORK_DW_ROWS, T - t);
        gemm_pack(n->k, n->pool, n->packed_rows, x + t * C, C, 1, rows, C);
        gemm_run(n->k, n->pool, dw, C, dy + t * O, 1, O, n->packed_rows, O, C, rows, true);
    }
}

struct bias_job {
    float *rows;       // [T, O]
    float *bias_grad;  // [O]
    const float *bias; // [O]
    int64_t T, O;
};

static void bias_add_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct bias_job *j = context;
    for (int64_t t = begin; t < end; t++)
        for (int64_t o = 0; o < j->O; o++) j->rows[t * j->O + o] += j->bias[o];
}

// Columns have one owner, so each sum runs over t in order.
static void bias_grad_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct bias_job *j = context;
    for (int64_t t = 0; t < j->T; t++)
        for (int64_t o = begin; o < end; o++) j->bias_grad[o] += j->rows[t * j->O + o];
}

static void bias_add(struct network *n, float *rows, int64_t offset, int64_t T, int64_t O) {
    if (offset < 0) return;
    struct bias_job job = {.rows = rows, .bias = n->w + offset, .T = T, .O = O};
    pool_run(n->pool, bias_add_part, &job, T, 16);
}

static void bias_backward(struct network *n, float *dy, int64_t offset, int64_t T, int64_t O) {
    if (offset < 0) return;
    struct bias_job job = {.rows = dy, .bias_grad = n->grad + offset, .T = T, .O = O};
    pool_run(n->pool, bias_grad_part, &job, O, 16);
}

// ---- dropout (Srivastava et al. 2014), masks recomputed from a counter instead of kept

static uint32_t mix32(uint32_t x) { // the finaliser of MurmurHash3
    x ^= x >> 16;
    x *= 0x85EBCA6Bu;
    x ^= x >> 13;
    x *= 0xC2B2AE35u;
    x ^= x >> 16;
    return x;
}

static uint64_t mix64(uint64_t x) { // SplitMix64
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

// Site of the whole-token masks; embeddings are site 0, branches follow.
enum { SITE_TOKEN = 1 << 20 };

struct dropout_row {
    uint32_t a, b, threshold;
    float keep_scale;
};

static float dropout_rate(const struct network *n, int64_t site) {
    return site == 0 ? n->options.embedding_dropout : n->options.dropout;
}

static struct dropout_row dropout_row_of(const struct network *n, int64_t site, int64_t t) {
    float rate = dropout_rate(n, site);
    uint64_t key = mix64(n->dropout_key + 0x9E3779B97F4A7C15u * (uint64_t)(site + 1));
    key = mix64(key + 0x9E3779B97F4A7C15u * (uint64_t)(t + 1));
    return (struct dropout_row){.a = (uint32_t)key,
                                .b = (uint32_t)(key >> 32),
                                .threshold = (uint32_t)((double)rate * 4294967296.0),
                                .keep_scale = 1.0f / (1.0f - rate)};
}

// Whether the whole token at t is dropped in this pass.
static bool token_dropped(const struct network *n, int64_t t) {
    if (n->grad == NULL || !(n->options.token_dropout > 0.0f)) return false;
    if (n->batch->tokens[t] < n->options.token_dropout_first_id) return false;
    uint64_t key = mix64(n->dropout_key + 0x9E3779B97F4A7C15u * (uint64_t)(SITE_TOKEN + 1));
    key = mix64(key + 0x9E3779B97F4A7C15u * (uint64_t)(t + 1));
    return (double)(key >> 11) * 0x1p-53 < (double)n->options.token_dropout;
}

// out = x * mask / (1 - dropout). out may be x.
static void dropout_apply(const struct network *n, float *out, const float *x, int64_t site, int64_t t, int64_t C) {
    struct dropout_row d = dropout_row_of(n, site, t);
    for (int64_t i = 0; i < C; i++) {
        uint32_t u = mix32(((uint32_t)i * 0x9E3779B9u + d.a) ^ d.b);
        out[i] = u >= d.threshold ? x[i] * d.keep_scale : 0.0f;
    }
}

static bool dropout_on(const struct network *n, int64_t site) {
    return n->grad != NULL && dropout_rate(n, site) > 0.0f;
}

// Site 0 is the embedding; layer l has sites 1 + 2 l (attention) and 2 + 2 l (mlp).
static int64_t dropout_site(int64_t branch_i) {
    return branch_i + 1;
}

// ---- loops over rows: context of them all

struct rows_job {
    struct network *n;
    int64_t layer_i; // which layer
    int64_t site;    // which dropout site
    const float *x;  // [T, C] in
    float *y;        // [T, C] out
    float *r;        // [T]
    const float *w;  // [C]
    const float *dout;
    float *partial; // [blocks, C]
    int64_t stride; // of partial
};

static void embed_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network *n = j->n;
    int64_t C = n->params->config.C;
    for (int64_t t = begin; t < end; t++) {
        const float *e = n->w + n->params->embedding + (int64_t)n->batch->tokens[t] * C;
        if (token_dropped(n, t)) memset(n->x[0] + t * C, 0, (size_t)C * sizeof(float));
        else if (dropout_on(n, 0)) dropout_apply(n, n->x[0] + t * C, e, 0, t, C);
        else memcpy(n->x[0] + t * C, e, (size_t)C * sizeof(float));
    }
}

static void norm_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    int64_t C = j->n->params->config.C;
    for (int64_t t = begin; t < end; t++)
        j->r[t] = j->n->k->rmsnorm(j->y + t * C, j->x + t * C, j->w, C, j->n->params->config.norm_eps);
}

static void norm_rows(struct network *n, float *y, float *r, const float *x, int64_t offset) {
    struct rows_job job = {.n = n, .x = x, .y = y, .r = r, .w = n->w + offset};
    pool_run(n->pool, norm_part, &job, n->batch->T, 16);
}

// y = x + dropout(branch)
static void residual_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network *n = j->n;
    int64_t C = n->params->config.C;
    for (int64_t t = begin; t < end; t++) {
        float *b = n->branch + t * C, *y = j->y + t * C;
        if (dropout_on(n, j->site)) dropout_apply(n, b, b, j->site, t, C);
        memcpy(y, j->x + t * C, (size_t)C * sizeof(float));
        n->k->axpy(y, 1.0f, b, C);
    }
}

static void residual_add(struct network *n, int64_t branch_i) {
    struct rows_job job = {.n = n, .x = n->x[branch_i], .y = n->x[branch_i + 1], .site = dropout_site(branch_i)};
    pool_run(n->pool, residual_part, &job, n->batch->T, 16);
}

// branch = dropout mask of dx: the gradient that enters the branch.
static void branch_grad_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    int64_t C = j->n->params->config.C;
    for (int64_t t = begin; t < end; t++)
        dropout_apply(j->n, j->n->branch + t * C, j->n->dx + t * C, j->site, t, C);
}

static float *branch_grad(struct network *n, int64_t branch_i) {
    if (!dropout_on(n, dropout_site(branch_i))) return n->dx;
    struct rows_job job = {.n = n, .site = dropout_site(branch_i)};
    pool_run(n->pool, branch_grad_part, &job, n->batch->T, 16);
    return n->branch;
}

// ---- norm weights: partial sums of fixed blocks of rows, then added block after block

struct reduce_job {
    float *out;
    const float *partial;
    int64_t n_blocks, stride;
};

static void reduce_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct reduce_job *j = context;
    for (int64_t b = 0; b < j->n_blocks; b++)
        for (int64_t i = begin; i < end; i++) j->out[i] += j->partial[b * j->stride + i];
}

static void partial_reduce(struct network *n, int64_t offset, const float *partial, int64_t stride, int64_t count) {
    struct reduce_job job = {n->grad + offset, partial, (n->batch->T + NETWORK_BLOCK - 1) / NETWORK_BLOCK, stride};
    pool_run(n->pool, reduce_part, &job, count, 16);
}

static void norm_backward_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network *n = j->n;
    int64_t C = n->params->config.C;
    for (int64_t t = begin; t < end; t++) { // begin is a multiple of NETWORK_BLOCK
        float *dw = n->partial + t / NETWORK_BLOCK * C;
        if (t % NETWORK_BLOCK == 0) memset(dw, 0, (size_t)C * sizeof(float));
        n->k->rmsnorm_backward(n->dx + t * C, dw, j->dout + t * C, j->x + t * C, j->w, j->r[t], C);
    }
}

// dx += backward of rmsnorm(x) given dout
static void norm_backward(struct network *n, const float *dout, const float *x, float *r, int64_t offset) {
    int64_t C = n->params->config.C;
    struct rows_job job = {.n = n, .dout = dout, .x = x, .r = r, .w = n->w + offset};
    pool_run(n->pool, norm_backward_part, &job, n->batch->T, NETWORK_BLOCK);
    partial_reduce(n, offset, n->partial, C, C);
}

// ---- attention branch

// q and k of each row: norm of each head (Qwen3), then rotation to the row's position.
static void rotate_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network *n = j->n;
    const struct model_config *c = &n->params->config;
    const struct params_layer *p = &n->params->layers[j->layer_i];
    struct network_layer *y = &n->layers[j->layer_i];
    int64_t n_heads = c->H + c->H_kv, half = c->D / 2;
    for (int64_t t = begin; t < end; t++) {
        const float *cos = n->rope_cos + n->positions[t] * half, *sin = n->rope_sin + n->positions[t] * half;
        for (int64_t h = 0; h < n_heads; h++) {
            float *out = y->qk + t * n->qk_stride + h * c->D;
            if (c->qk_norm)
                y->r_qk[t * n_heads + h] = n->k->rmsnorm(out, y->qkv + t * n->Q + h * c->D,
                                                         n->w + (h < c->H ? p->q_norm : p->k_norm), c->D, c->norm_eps);
            n->k->rope(out, cos, sin, c->D, 1.0f);
        }
    }
}

static void rotate_backward_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network *n = j->n;
    const struct model_config *c = &n->params->config;
    const struct params_layer *p = &n->params->layers[j->layer_i];
    const struct network_layer *y = &n->layers[j->layer_i];
    int64_t n_heads = c->H + c->H_kv, D = c->D, half = D / 2;
    float before[NETWORK_MAX_D];
    for (int64_t t = begin; t < end; t++) {
        const float *cos = n->rope_cos + n->positions[t] * half, *sin = n->rope_sin + n->positions[t] * half;
        float *dw = n->partial + t / NETWORK_BLOCK * 2 * D;
        if (t % NETWORK_BLOCK == 0) memset(dw, 0, (size_t)(2 * D) * sizeof(float));
        for (int64_t h = 0; h < n_heads; h++) {
            float *d = n->dqkv + t * n->Q + h * D;
            n->k->rope(d, cos, sin, D, -1.0f);
            if (!c->qk_norm) continue;
            bool is_q = h < c->H;
            memcpy(before, d, (size_t)D * sizeof(float));
            memset(d, 0, (size_t)D * sizeof(float));
            n->k->rmsnorm_backward(d, dw + (is_q ? 0 : D), before, y->qkv + t * n->Q + h * D,
                                   n->w + (is_q ? p->q_norm : p->k_norm), y->r_qk[t * n_heads + h], D);
        }
    }
}

static struct attention_layer attention_view(struct network *n, int64_t l) {
    const struct model_config *c = &n->params->config;
    struct network_layer *y = &n->layers[l];
    return (struct attention_layer){
        .q = y->qk,
        .k = y->qk + c->H * c->D,
        .v = y->qkv + n->QK,
        .qk_stride = n->qk_stride,
        .v_stride = n->Q,
        .out = y->att,
        .out_stride = c->H * c->D,
        .dout = n->datt,
        .dq = n->dqkv,
        .dk = n->dqkv + c->H * c->D,
        .dv = n->dqkv + n->QK,
        .dqkv_stride = n->Q,
        .doc_begin = n->batch->doc_begin,
        .n_docs = n->batch->n_docs,
    };
}

static void attention_branch(struct network *n, int64_t l) {
    const struct model_config *c = &n->params->config;
    const struct params_layer *p = &n->params->layers[l];
    struct network_layer *y = &n->layers[l];
    int64_t T = n->batch->T;
    norm_rows(n, y->xn1, y->r1, n->x[2 * l], p->attn_norm);
    product_forward(n, y->qkv, y->xn1, &y->w_qkv, T, n->Q, c->C);
    bias_add(n, y->qkv, p->qkv_bias, T, n->Q);
    struct rows_job job = {.n = n, .layer_i = l};
    pool_run(n->pool, rotate_part, &job, T, 16);
    struct attention_layer view = attention_view(n, l);
    attention_forward(&n->attention, &view);
    product_forward(n, n->branch, y->att, &y->w_o, T, c->C, c->H * c->D);
    bias_add(n, n->branch, p->o_bias, T, c->C);
    residual_add(n, 2 * l);
}

static void attention_branch_backward(struct network *n, int64_t l) {
    const struct model_config *c = &n->params->config;
    const struct params_layer *p = &n->params->layers[l];
    struct network_layer *y = &n->layers[l];
    int64_t T = n->batch->T;
    float *dy = branch_grad(n, 2 * l);
    bias_backward(n, dy, p->o_bias, T, c->C);
    product_backward(n, n->datt, n->grad + p->o, dy, y->att, &y->w_o, T, c->C, c->H * c->D);
    struct attention_layer view = attention_view(n, l);
    attention_backward(&n->attention, &view);
    struct rows_job job = {.n = n, .layer_i = l};
    pool_run(n->pool, rotate_backward_part, &job, T, NETWORK_BLOCK);
    if (c->qk_norm) {
        partial_reduce(n, p->q_norm, n->partial, 2 * c->D, c->D);
        partial_reduce(n, p->k_norm, n->partial + c->D, 2 * c->D, c->D);
    }
    bias_backward(n, n->dqkv, p->qkv_bias, T, n->Q);
    product_backward(n, n->dxn, n->grad + p->qkv, n->dqkv, y->xn1, &y->w_qkv, T, n->Q, c->C);
    norm_backward(n, n->dxn, n->x[2 * l], y->r1, p->attn_norm);
}

// ---- mlp branch

static void silu_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network_layer *y = &j->n->layers[j->layer_i];
    int64_t F = j->n->params->config.F;
    for (int64_t t = begin; t < end; t++)
        j->n->k->silu_mul(y->act + t * F, y->gate_up + t * 2 * F, y->gate_up + t * 2 * F + F, F);
}

static void silu_backward_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network *n = j->n;
    struct network_layer *y = &n->layers[j->layer_i];
    int64_t F = n->params->config.F;
    for (int64_t t = begin; t < end; t++) {
        float *d = n->dgate_up + t * 2 * F;
        const float *gu = y->gate_up + t * 2 * F;
        n->k->silu_mul_backward(d, d + F, n->dact + t * F, gu, gu + F, F);
    }
}

static void mlp_branch(struct network *n, int64_t l) {
    const struct model_config *c = &n->params->config;
    const struct params_layer *p = &n->params->layers[l];
    struct network_layer *y = &n->layers[l];
    int64_t T = n->batch->T;
    norm_rows(n, y->xn2, y->r2, n->x[2 * l + 1], p->mlp_norm);
    product_forward(n, y->gate_up, y->xn2, &y->w_gate_up, T, 2 * c->F, c->C);
    bias_add(n, y->gate_up, p->gate_up_bias, T, 2 * c->F);
    struct rows_job job = {.n = n, .layer_i = l};
    pool_run(n->pool, silu_part, &job, T, 16);
    product_forward(n, n->branch, y->act, &y->w_down, T, c->C, c->F);
    bias_add(n, n->branch, p->down_bias, T, c->C);
    residual_add(n, 2 * l + 1);
}

static void mlp_branch_backward(struct network *n, int64_t l) {
    const struct model_config *c = &n->params->config;
    const struct params_layer *p = &n->params->layers[l];
    struct network_layer *y = &n->layers[l];
    int64_t T = n->batch->T;
    float *dy = branch_grad(n, 2 * l + 1);
    bias_backward(n, dy, p->down_bias, T, c->C);
    product_backward(n, n->dact, n->grad + p->down, dy, y->act, &y->w_down, T, c->C, c->F);
    struct rows_job job = {.n = n, .layer_i = l};
    pool_run(n->pool, silu_backward_part, &job, T, 16);
    bias_backward(n, n->dgate_up, p->gate_up_bias, T, 2 * c->F);
    product_backward(n, n->dxn, n->grad + p->gate_up, n->dgate_up, y->xn2, &y->w_gate_up, T, 2 * c->F, c->C);
    norm_backward(n, n->dxn, n->x[2 * l + 1], y->r2, p->mlp_norm);
}

// ---- head and loss, over the rows whose next token counts

static void rows_select(struct network *n) {
    const struct network_batch *b = n->batch;
    n->n_rows = 0;
    for (int64_t d = 0; d < b->n_docs; d++) {
        for (int64_t t = b->doc_begin[d]; t < b->doc_begin[d + 1]; t++) {
            n->positions[t] = (int32_t)(t - b->doc_begin[d]);
            if (t + 1 == b->doc_begin[d + 1] || !(b->weights[t + 1] > 0.0f)) continue;
            n->rows[n->n_rows] = (int32_t)t;
            n->targets[n->n_rows] = b->tokens[t + 1];
            n->row_weight[n->n_rows++] = b->weights[t + 1];
        }
    }
}

struct head_job {
    struct network *n;
    int64_t first; // row of the chunk's first line
};

static void head_norm_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    struct network *n = ((const struct head_job *)context)->n;
    const struct model_config *c = &n->params->config;
    const float *x = n->x[2 * c->L];
    for (int64_t i = begin; i < end; i++)
        n->r_final[i] = n->k->rmsnorm(n->hidden + i * c->C, x + n->rows[i] * c->C, n->w + n->params->norm, c->C,
                                      c->norm_eps);
}

// loss = (1 - s)(log Z - z_target) + s (log Z - mean z); d loss / dz = p - (1 - s) onehot - s / V.
static void loss_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct head_job *j = context;
    struct network *n = j->n;
    int64_t V = n->params->config.V;
    float s = n->options.label_smoothing;
    if (n->grad == NULL) s = 0.0f; // an evaluation reports plain cross-entropy
    for (int64_t i = begin; i < end; i++) {
        float *z = n->logits + i * V;
        int64_t row = j->first + i, low = 0, high = V;
        int32_t target = n->targets[row];
        for (int64_t c = 0; c + 1 < n->options.n_closed; c++)
            if (target >= n->options.closed[c] && target < n->options.closed[c + 1])
                low = n->options.closed[c], high = n->options.closed[c + 1];
        int64_t count = high - low; // the ids that compete
        float z_target = z[target];
        double z_mean = 0.0;
        if (s > 0.0f) {
            for (int64_t v = low; v < high; v++) z_mean += (double)z[v];
            z_mean /= (double)count;
        }
        double log_sum = (double)n->k->softmax(z + low, count);
        double loss = log_sum - (1.0 - (double)s) * (double)z_target - (double)s * z_mean;
        n->row_loss[row] = (double)n->row_weight[row] * loss;
        if (n->grad == NULL) continue;
        float scale = n->scale * n->row_weight[row], even = s / (float)count;
        z[target] -= 1.0f - s;
        for (int64_t v = low; v < high; v++) z[v] = scale * (z[v] - even);
        memset(z, 0, (size_t)low * sizeof *z);
        memset(z + high, 0, (size_t)(V - high) * sizeof *z);
    }
}

static void head_norm_backward_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct head_job *j = context;
    struct network *n = j->n;
    int64_t C = n->params->config.C;
    const float *x = n->x[2 * n->params->config.L];
    for (int64_t i = begin; i < end; i++) {
        int64_t row = j->first + i;
        float *dw = n->partial + i / NETWORK_BLOCK * C;
        if (i % NETWORK_BLOCK == 0) memset(dw, 0, (size_t)C * sizeof(float));
        n->k->rmsnorm_backward(n->dx + n->rows[row] * C, dw, n->dhidden + i * C, x + n->rows[row] * C,
                               n->w + n->params->norm, n->r_final[row], C);
    }
}

static double head_pass(struct network *n) {
    const struct model_config *c = &n->params->config;
    struct head_job job = {.n = n};
    pool_run(n->pool, head_norm_part, &job, n->n_rows, 16);
    for (int64_t first = 0; first < n->n_rows; first += n->chunk_rows) {
        int64_t R = min_i64(n->chunk_rows, n->n_rows - first);
        const float *h = n->hidden + first * c->C;
        job.first = first;
        product_forward(n, n->logits, h, &n->head, R, c->V, c->C);
        pool_run(n->pool, loss_part, &job, R, 1);
        if (n->grad == NULL) continue;
        product_backward(n, n->dhidden, n->grad + n->params->head, n->logits, h, &n->head, R, c->V, c->C);
        pool_run(n->pool, head_norm_backward_part, &job, R, NETWORK_BLOCK);
        struct reduce_job reduce = {n->grad + n->params->norm, n->partial, (R + NETWORK_BLOCK - 1) / NETWORK_BLOCK,
                                    c->C};
        pool_run(n->pool, reduce_part, &reduce, c->C, 16);
    }
    double sum = 0.0;
    for (int64_t i = 0; i < n->n_rows; i++) sum += n->row_loss[i];
    return sum;
}

// Each thread owns columns and adds the rows in order: two equal tokens never race.
static void embed_backward_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct rows_job *j = context;
    struct network *n = j->n;
    int64_t C = n->params->config.C;
    for (int64_t t = 0; t < n->batch->T; t++) {
        if (token_dropped(n, t)) continue;
        float *de = n->grad + n->params->embedding + (int64_t)n->batch->tokens[t] * C;
        const float *d = j->x + t * C;
        for (int64_t i = begin; i < end; i++) de[i] += d[i];
    }
}

double network_pass(struct network *n, const struct network_batch *batch, float *grad, float scale,
                    uint64_t dropout_key) {
    const struct model_config *c = &n->params->config;
    assert(batch->T <= n->options.max_tokens && n->w != NULL);
    n->batch = batch;
    n->grad = grad;
    n->scale = scale;
    n->dropout_key = dropout_key;
    rows_select(n);
    if (n->n_rows == 0) return 0.0;
    struct rows_job job = {.n = n};
    pool_run(n->pool, embed_part, &job, batch->T, 16);
    for (int64_t l = 0; l < c->L; l++) {
        attention_branch(n, l);
        mlp_branch(n, l);
    }
    if (grad != NULL) memset(n->dx, 0, (size_t)(batch->T * c->C) * sizeof(float));
    double loss = head_pass(n);
    if (grad == NULL) return loss;
    for (int64_t l = c->L - 1; l >= 0; l--) {
        mlp_branch_backward(n, l);
        attention_branch_backward(n, l);
    }
    job.x = n->dx;
    if (dropout_on(n, 0)) {
        job.site = 0;
        pool_run(n->pool, branch_grad_part, &job, batch->T, 16);
        job.x = n->branch;
    }
    pool_run(n->pool, embed_backward_part, &job, c->C, 16);
    return loss;
}
