// train/attention.c - blocks of query rows against the keys before them, as small matrix products
// on one thread.
#include "train/attention.h"

#include <assert.h>
#include <math.h>
#include <string.h>

// Query rows of a block: a multiple of the 6 rows that the AVX2 product keeps in registers.
enum { ATTENTION_ROWS = 48 };

struct attention_scratch {
    float *packed_kt, *packed_vt; // k^T and v^T: [D, n] packed
    float *packed_k, *packed_v;   // [n, D] packed
    float *packed_rows;           // [ATTENTION_ROWS, D] packed
    float *p, *dp;                // [ATTENTION_ROWS, n]
    float *q;                     // [ATTENTION_ROWS, D], scaled by 1/sqrt(D)
};

static int64_t round_panel(int64_t n) {
    return gemm_panels(n) * KERNELS_PANEL;
}

static int64_t scratch_carve(struct attention_scratch *s, float *base, int64_t n, int64_t D) {
    int64_t used = 0;
    float **parts[] = {&s->packed_kt,   &s->packed_vt, &s->packed_k, &s->packed_v,
                       &s->packed_rows, &s->p,         &s->dp,       &s->q};
    int64_t sizes[] = {gemm_packed_count(D, n),
                       gemm_packed_count(D, n),
                       gemm_packed_count(n, D),
                       gemm_packed_count(n, D),
                       gemm_packed_count(ATTENTION_ROWS, D),
                       ATTENTION_ROWS * round_panel(n),
                       ATTENTION_ROWS * round_panel(n),
                       ATTENTION_ROWS * round_panel(D)};
    for (int64_t i = 0; i < COUNT_OF(parts); i++) {
        *parts[i] = base != NULL ? base + used : NULL;
        used += (sizes[i] + 15) / 16 * 16;
    }
    return used;
}

void attention_init(struct attention *a, struct arena *arena, const struct kernels *k,
                    struct pool *pool, int64_t H, int64_t H_kv, int64_t D, int64_t n_max) {
    struct attention_scratch s;
    *a = (struct attention){.k = k, .pool = pool, .H = H, .H_kv = H_kv, .D = D, .n_max = n_max};
    a->scratch_floats = scratch_carve(&s, NULL, n_max, D);
    a->scratch =
        arena_alloc_array(arena, (size_t)(a->scratch_floats * pool_threads(pool)), sizeof(float));
}

// out[m, D] (+)= a[m, n] b[n, D] where b was packed with n_packed >= n rows: panel by panel,
// because the distance between panels is that of the packing.
static void product_prefix(const struct kernels *k, float *out, int64_t out_stride, const float *a,
                           int64_t a_rs, int64_t a_cs, const float *packed, int64_t n_packed,
                           int64_t m, int64_t D, int64_t n, bool accumulate) {
    for (int64_t p = 0; p < gemm_panels(D); p++) {
        int64_t c = p * KERNELS_PANEL;
        k->gemm(out + c, out_stride, a, a_rs, a_cs, packed + c * n_packed, m,
                min_i64(KERNELS_PANEL, D - c), n, 0, 1, accumulate);
    }
}

struct attention_job {
    const struct attention *a;
    const struct attention_layer *layer;
};

// Probabilities of query rows [row, row + m) of head h: s->p[m, row + m], zero above the diagonal.
static void attention_rows(const struct attention *a, const struct attention_layer *y,
                           struct attention_scratch *s, int64_t begin, int64_t h, int64_t row,
                           int64_t m, int64_t stride) {
    int64_t D = a->D, n_columns = row + m;
    float scale = 1.0f / sqrtf((float)D);
    for (int64_t i = 0; i < m; i++) {
        const float *q = y->q + (begin + row + i) * y->qk_stride + h * D;
        for (int64_t d = 0; d < D; d++) s->q[i * D + d] = scale * q[d];
    }
    a->k->gemm(s->p, stride, s->q, D, 1, s->packed_kt, m, n_columns, D, 0, gemm_panels(n_columns),
               false);
    for (int64_t i = 0; i < m; i++) {
        float *p = s->p + i * stride;
        int64_t n_seen = row + i + 1;
        a->k->softmax(p, n_seen);
        memset(p + n_seen, 0, (size_t)(n_columns - n_seen) * sizeof p[0]);
    }
}

static void forward_unit(const struct attention *a, const struct attention_layer *y,
                         struct attention_scratch *s, int64_t doc_i, int64_t h_kv) {
    int64_t begin = y->doc_begin[doc_i], n = y->doc_begin[doc_i + 1] - begin, D = a->D,
            group = a->H / a->H_kv;
    int64_t stride = round_panel(n);
    a->k->gemm_pack(s->packed_kt, y->k + begin * y->qk_stride + h_kv * D, 1, y->qk_stride, D, n, 0,
                    gemm_panels(n));
    a->k->gemm_pack(s->packed_v, y->v + begin * y->v_stride + h_kv * D, y->v_stride, 1, n, D, 0,
                    gemm_panels(D));
    for (int64_t h = h_kv * group; h < (h_kv + 1) * group; h++) {
        for (int64_t row = 0; row < n; row += ATTENTION_ROWS) {
            int64_t m = min_i64(ATTENTION_ROWS, n - row);
            attention_rows(a, y, s, begin, h, row, m, stride);
            product_prefix(a->k, y->out + (begin + row) * y->out_stride + h * D, y->out_stride,
                           s->p, stride, 1, s->packed_v, n, m, D, row + m, false);
        }
    }
}

// With s_ij = q_i . k_j / sqrt(D), p = softmax(s), o = p v:
// dv_j = sum_i p_ij do_i;  ds_ij = p_ij (do_i . v_j - do_i . o_i);  dq_i = sum_j ds_ij k_j /
// sqrt(D); dk_j = sum_i ds_ij q_i / sqrt(D).
static void backward_unit(const struct attention *a, const struct attention_layer *y,
                          struct attention_scratch *s, int64_t doc_i, int64_t h_kv) {
    int64_t begin = y->doc_begin[doc_i], n = y->doc_begin[doc_i + 1] - begin, D = a->D,
            group = a->H / a->H_kv;
    int64_t stride = round_panel(n), D_panels = gemm_panels(D);
    float scale = 1.0f / sqrtf((float)D);
    const float *k_rows = y->k + begin * y->qk_stride + h_kv * D,
                *v_rows = y->v + begin * y->v_stride + h_kv * D;
    float *dk = y->dk + begin * y->dqkv_stride + h_kv * D,
          *dv = y->dv + begin * y->dqkv_stride + h_kv * D;
    a->k->gemm_pack(s->packed_kt, k_rows, 1, y->qk_stride, D, n, 0, gemm_panels(n));
    a->k->gemm_pack(s->packed_vt, v_rows, 1, y->v_stride, D, n, 0, gemm_panels(n));
    a->k->gemm_pack(s->packed_k, k_rows, y->qk_stride, 1, n, D, 0, D_panels);
    for (int64_t i = 0; i < n; i++) {
        memset(dk + i * y->dqkv_stride, 0, (size_t)D * sizeof(float));
        memset(dv + i * y->dqkv_stride, 0, (size_t)D * sizeof(float));
    }
    for (int64_t h = h_kv * group; h < (h_kv + 1) * group; h++) {
        for (int64_t row = 0; row < n; row += ATTENTION_ROWS) {
            int64_t m = min_i64(ATTENTION_ROWS, n - row), n_columns = row + m;
            const float *dout = y->dout + (begin + row) * y->out_stride + h * D;
            const float *out = y->out + (begin + row) * y->out_stride + h * D;
            float *dq = y->dq + (begin + row) * y->dqkv_stride + h * D;
            attention_rows(a, y, s, begin, h, row, m, stride);
            a->k->gemm_pack(s->packed_rows, dout, y->out_stride, 1, m, D, 0, D_panels);
            a->k->gemm(dv, y->dqkv_stride, s->p, 1, stride, s->packed_rows, n_columns, D, m, 0,
                       D_panels, true);
            a->k->gemm(s->dp, stride, dout, y->out_stride, 1, s->packed_vt, m, n_columns, D, 0,
                       gemm_panels(n_columns), false);
            for (int64_t i = 0; i < m; i++) {
                float *restrict p = s->p + i * stride;
                const float *restrict dp = s->dp + i * stride;
                float mean = a->k->dot(dout + i * y->out_stride, out + i * y->out_stride, D);
                for (int64_t j = 0; j <= row + i; j++) p[j] *= dp[j] - mean; // now ds
            }
            product_prefix(a->k, dq, y->dqkv_stride, s->p, stride, 1, s->packed_k, n, m, D,
                           n_columns, false);
            for (int64_t i = 0; i < m; i++)
                for (int64_t d = 0; d < D; d++) dq[i * y->dqkv_stride + d] *= scale;
            a->k->gemm_pack(s->packed_rows, s->q, D, 1, m, D, 0, D_panels); // q / sqrt(D)
            a->k->gemm(dk, y->dqkv_stride, s->p, 1, stride, s->packed_rows, n_columns, D, m, 0,
                       D_panels, true);
        }
    }
}

static void forward_part(void *context, int64_t unit_begin, int64_t unit_end, int thread_i) {
    const struct attention_job *j = context;
    struct attention_scratch s;
    scratch_carve(&s, j->a->scratch + thread_i * j->a->scratch_floats, j->a->n_max, j->a->D);
    for (int64_t u = unit_begin; u < unit_end; u++)
        forward_unit(j->a, j->layer, &s, u / j->a->H_kv, u % j->a->H_kv);
}

static void backward_part(void *context, int64_t unit_begin, int64_t unit_end, int thread_i) {
    const struct attention_job *j = context;
    struct attention_scratch s;
    scratch_carve(&s, j->a->scratch + thread_i * j->a->scratch_floats, j->a->n_max, j->a->D);
    for (int64_t u = unit_begin; u < unit_end; u++)
        backward_unit(j->a, j->layer, &s, u / j->a->H_kv, u % j->a->H_kv);
}

void attention_forward(const struct attention *a, const struct attention_layer *layer) {
    struct attention_job job = {a, layer};
    pool_run(a->pool, forward_part, &job, layer->n_docs * a->H_kv, 1);
}

void attention_backward(const struct attention *a, const struct attention_layer *layer) {
    struct attention_job job = {a, layer};
    pool_run(a->pool, backward_part, &job, layer->n_docs * a->H_kv, 1);
}
