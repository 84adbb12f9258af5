// kernels/gemm.c - how a product is cut over threads. A thread owns whole panels of columns, or whole rows
// when there are fewer panels than threads; either way an output element is summed by one thread, in k order.
#include "kernels/gemm.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const weight_type_names[N_WEIGHT_TYPES] = {"f32", "bf16", "int8"};

struct pack_job {
    const struct kernels *k;
    float *packed;
    const float *b;
    int64_t rs, cs, K, N;
};

static void pack_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct pack_job *j = context;
    j->k->gemm_pack(j->packed, j->b, j->rs, j->cs, j->K, j->N, begin, end);
}

void gemm_pack(const struct kernels *k, struct pool *pool, float *packed, const float *b, int64_t rs, int64_t cs,
               int64_t K, int64_t N) {
    struct pack_job job = {k, packed, b, rs, cs, K, N};
    pool_run(pool, pack_part, &job, gemm_panels(N), 1);
}

struct gemm_job {
    const struct kernels *k;
    float *out;
    int64_t out_stride;
    const float *a;
    int64_t a_rs, a_cs;
    const void *packed;
    int64_t M, N, K;
    bool accumulate;
    const struct weight *weight; // NULL: packed floats
    const struct weight_scratch *scratch;
};

static void gemm_rows(const struct gemm_job *j, int64_t m_begin, int64_t m_end, int64_t p_begin, int64_t p_end) {
    float *out = j->out + m_begin * j->out_stride;
    const float *a = j->a + m_begin * j->a_rs;
    if (j->weight != NULL && j->weight->type == WEIGHT_I8) {
        int64_t stride = weight_scratch_stride(j->K);
        j->k->gemm_i8(out, j->out_stride, j->scratch->q + m_begin * stride, stride, j->scratch->scale + m_begin, j->packed,
                      j->weight->scale, j->weight->sum, m_end - m_begin, j->N, j->K, p_begin, p_end);
    } else if (j->weight != NULL && j->weight->type == WEIGHT_BF16)
        j->k->gemm_bf16(out, j->out_stride, a, j->a_rs, j->packed, m_end - m_begin, j->N, j->K, p_begin, p_end);
    else
        j->k->gemm(out, j->out_stride, a, j->a_rs, j->a_cs, j->packed, m_end - m_begin, j->N, j->K, p_begin, p_end,
                   j->accumulate);
}

static void gemm_part_panels(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct gemm_job *j = context;
    gemm_rows(j, 0, j->M, begin, end);
}

static void gemm_part_rows(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct gemm_job *j = context;
    gemm_rows(j, begin, end, 0, gemm_panels(j->N));
}

// Below this many multiply-adds waking another thread costs more than it saves (about 5 us of work).
enum { GEMM_SERIAL_WORK = 1 << 18 };

static void gemm_share(struct pool *pool, struct gemm_job *job) {
    int64_t panels = gemm_panels(job->N);
    if (job->M * job->N * job->K < GEMM_SERIAL_WORK || pool_threads(pool) == 1)
        gemm_rows(job, 0, job->M, 0, panels);
    else if (panels >= 4 * pool_threads(pool) || panels >= job->M)
        pool_run(pool, gemm_part_panels, job, panels, 1);
    else
        pool_run(pool, gemm_part_rows, job, job->M, 6);
}

void gemm_run(const struct kernels *k, struct pool *pool, float *out, int64_t out_stride, const float *a,
              int64_t a_rs, int64_t a_cs, const float *packed, int64_t M, int64_t N, int64_t K, bool accumulate) {
    struct gemm_job job = {k, out, out_stride, a, a_rs, a_cs, packed, M, N, K, accumulate, NULL, NULL};
    gemm_share(pool, &job);
}

static void *weight_alloc(int64_t count, size_t size) {
    size_t bytes = ((size_t)count * size + 63) / 64 * 64;
    return aligned_alloc(64, bytes > 0 ? bytes : 64);
}

bool weight_init_f32(struct weight *weight, const float *w, int64_t O, int64_t C, struct error *err) {
    *weight = (struct weight){.type = WEIGHT_F32, .O = O, .C = C};
    weight->packed = weight_alloc(gemm_packed_count(C, O), sizeof(float));
    if (weight->packed == NULL)
        return error_set(err, ERR_NOMEM, "weights [%lld, %lld]: out of memory", (long long)O, (long long)C);
    gemm_pack(kernels_best(), NULL, weight->packed, w, 1, C, C, O);
    return true;
}

bool weight_init_bf16(struct weight *weight, const uint16_t *w, int64_t O, int64_t C, struct error *err) {
    *weight = (struct weight){.type = WEIGHT_BF16, .O = O, .C = C};
    weight->packed = weight_alloc(gemm_packed_count(C, O), sizeof(uint16_t));
    if (weight->packed == NULL)
        return error_set(err, ERR_NOMEM, "weights [%lld, %lld]: out of memory", (long long)O, (long long)C);
    uint16_t *packed = weight->packed;
    int64_t K2 = (C + 1) / 2;
    for (int64_t p = 0; p < gemm_panels(O); p++)
        for (int64_t k = 0; k < 2 * K2; k++)
            for (int64_t j = 0; j < KERNELS_PANEL; j++) {
                int64_t o = p * KERNELS_PANEL + j;
                packed[((p * K2 + k / 2) * KERNELS_PANEL + j) * 2 + k % 2] = o < O && k < C ? w[o * C + k] : 0;
            }
    return true;
}

bool weight_init_i8(struct weight *weight, const float *w, int64_t O, int64_t C, struct error *err) {
    *weight = (struct weight){.type = WEIGHT_I8, .O = O, .C = C};
    int64_t K4 = (C + 3) / 4, padded = gemm_panels(O) * KERNELS_PANEL;
    weight->packed = weight_alloc(padded * K4 * 4, 1);
    weight->scale = weight_alloc(padded, sizeof(float));
    weight->sum = weight_alloc(padded, sizeof(int32_t));
    if (weight->packed == NULL || weight->scale == NULL || weight->sum == NULL) {
        weight_release(weight);
        return error_set(err, ERR_NOMEM, "weights [%lld, %lld]: out of memory", (long long)O, (long long)C);
    }
    int8_t *packed = weight->packed;
    memset(packed, 0, (size_t)(padded * K4 * 4));
    for (int64_t o = 0; o < padded; o++) {
        weight->scale[o] = 0.0f;
        weight->sum[o] = 0;
        if (o >= O) continue;
        const float *row = w + o * C;
        float max = 0.0f;
        for (int64_t c = 0; c < C; c++) max = fmaxf(max, fabsf(row[c]));
        float inverse = max > 0.0f ? 127.0f / max : 0.0f;
        weight->scale[o] = max / 127.0f;
        int8_t *panel = packed + o / KERNELS_PANEL * K4 * KERNELS_PANEL * 4;
        for (int64_t c = 0; c < C; c++) {
            int value = (int)nearbyintf(row[c] * inverse);
            panel[(c / 4 * KERNELS_PANEL + o % KERNELS_PANEL) * 4 + c % 4] = (int8_t)value;
            weight->sum[o] += value;
        }
    }
    return true;
}

int64_t weight_bytes(const struct weight *weight) {
    int64_t padded = gemm_panels(weight->O) * KERNELS_PANEL;
    if (weight->type == WEIGHT_I8) return padded * ((weight->C + 3) / 4 * 4 + 8);
    return gemm_packed_count(weight->C, weight->O) * (weight->type == WEIGHT_F32 ? 4 : 2);
}

void weight_release(struct weight *weight) {
    free(weight->packed);
    free(weight->scale);
    free(weight->sum);
    *weight = (struct weight){0};
}

struct quantise_job {
    const struct kernels *k;
    const struct weight_scratch *scratch;
    const float *x;
    int64_t x_stride, C;
};

static void quantise_part(void *context, int64_t begin, int64_t end, int thread_i) {
    (void)thread_i;
    const struct quantise_job *j = context;
    int64_t stride = weight_scratch_stride(j->C);
    for (int64_t t = begin; t < end; t++)
        j->k->quantise_row(j->scratch->q + t * stride, j->scratch->scale + t, j->x + t * j->x_stride, j->C);
}

void weight_apply(const struct kernels *k, struct pool *pool, float *out, int64_t out_stride, const float *x,
                  int64_t x_stride, const struct weight *weight, int64_t T, const struct weight_scratch *scratch) {
    struct gemm_job job = {k, out, out_stride, x, x_stride, 1, weight->packed, T, weight->O, weight->C, false, weight, scratch};
    if (weight->type == WEIGHT_I8) {
        struct quantise_job quantise = {k, scratch, x, x_stride, weight->C};
        if (T * weight->C < GEMM_SERIAL_WORK / 4) quantise_part(&quantise, 0, T, 0);
        else pool_run(pool, quantise_part, &quantise, T, 4);
    }
    gemm_share(pool, &job);
}

void weight_apply_rows(const struct kernels *k, float *out, const float *x, const struct weight *weight,
                       const int32_t *rows, int64_t n_rows, const struct weight_scratch *scratch) {
    // Whole panels are the unit, so that each element keeps the order of sums of weight_apply().
    float panel_out[KERNELS_PANEL];
    int64_t done_panel = -1, C = weight->C;
    if (weight->type == WEIGHT_I8 && n_rows > 0) k->quantise_row(scratch->q, scratch->scale, x, C);
    for (int64_t i = 0; i < n_rows; i++) {
        int64_t p = rows[i] / KERNELS_PANEL;
        if (p != done_panel) {
            int64_t n = min_i64(KERNELS_PANEL, weight->O - p * KERNELS_PANEL);
            if (weight->type == WEIGHT_F32) {
                const float *b = (const float *)weight->packed + p * C * KERNELS_PANEL;
                k->gemm(panel_out, KERNELS_PANEL, x, C, 1, b, 1, n, C, 0, 1, false);
            } else if (weight->type == WEIGHT_BF16) {
                const uint16_t *b = (const uint16_t *)weight->packed + p * ((C + 1) / 2) * KERNELS_PANEL * 2;
                k->gemm_bf16(panel_out, KERNELS_PANEL, x, C, b, 1, n, C, 0, 1);
            } else {
                const int8_t *b = (const int8_t *)weight->packed + p * ((C + 3) / 4) * KERNELS_PANEL * 4;
                k->gemm_i8(panel_out, KERNELS_PANEL, scratch->q, 0, scratch->scale, b, weight->scale + p * KERNELS_PANEL,
                           weight->sum + p * KERNELS_PANEL, 1, n, C, 0, 1);
            }
            done_panel = p;
        }
        out[i] = panel_out[rows[i] % KERNELS_PANEL];
    }
}
