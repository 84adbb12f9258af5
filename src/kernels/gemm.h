// kernels/gemm.h - matrix products shared over a thread pool, and weights packed once.
#ifndef KERNELS_GEMM_H
#define KERNELS_GEMM_H

#include "core/pool.h"
#include "kernels/kernels.h"

static inline int64_t gemm_panels(int64_t N) {
    return (N + KERNELS_PANEL - 1) / KERNELS_PANEL;
}
// Floats (or bf16 values) of a packed [K, N] matrix.
static inline int64_t gemm_packed_count(int64_t K, int64_t N) {
    return gemm_panels(N) * ((K + 1) / 2 * 2) * KERNELS_PANEL;
}

void gemm_pack(const struct kernels *k, struct pool *pool, float *packed, const float *b, int64_t rs, int64_t cs,
               int64_t K, int64_t N);
// out[M, N] (+)= a[M, K] b[K, N] with b packed; strides in floats.
void gemm_run(const struct kernels *k, struct pool *pool, float *out, int64_t out_stride, const float *a,
              int64_t a_rs, int64_t a_cs, const float *packed, int64_t M, int64_t N, int64_t K, bool accumulate);

// A weight matrix w [O, C] (row o gives output o, as in the model files) packed for out = x w^T.
// WEIGHT_I8: a scale a row, |w| <= 127; activations are quantised on the way in (kernels.h).
enum weight_type { WEIGHT_F32, WEIGHT_BF16, WEIGHT_I8, N_WEIGHT_TYPES };
extern const char *const weight_type_names[N_WEIGHT_TYPES]; // "f32", "bf16", "int8"
struct weight {
    enum weight_type type;
    int64_t O, C;
    void *packed;  // owned: float*, uint16_t* or int8_t*
    float *scale;  // owned, [panels * 16]; NULL but for WEIGHT_I8
    int32_t *sum;  // owned, [panels * 16]: of the row's int8 values
};
// Room for quantised activations of T rows of up to C values; needed by WEIGHT_I8 only.
struct weight_scratch {
    uint8_t *q;      // [T, weight_scratch_stride(C)]
    float *scale;    // [T]
};
static inline int64_t weight_scratch_stride(int64_t C) {
    return (C + 63) / 64 * 64;
}
// Copies and packs. w: [O, C] f32, or bf16 bits.
NODISCARD bool weight_init_f32(struct weight *weight, const float *w, int64_t O, int64_t C, struct error *err);
NODISCARD bool weight_init_bf16(struct weight *weight, const uint16_t *w, int64_t O, int64_t C, struct error *err);
NODISCARD bool weight_init_i8(struct weight *weight, const float *w, int64_t O, int64_t C, struct error *err);
int64_t weight_bytes(const struct weight *weight); // held
void weight_release(struct weight *weight);
// out[T, O] = x[T, C] w^T; out rows are out_stride floats apart, x rows x_stride. scratch may be NULL but for WEIGHT_I8.
void weight_apply(const struct kernels *k, struct pool *pool, float *out, int64_t out_stride, const float *x,
                  int64_t x_stride, const struct weight *weight, int64_t T, const struct weight_scratch *scratch);
// Only the listed output rows for one x [C]: out[i] = x . w[rows[i]]. For a head read over a few labels.
void weight_apply_rows(const struct kernels *k, float *out, const float *x, const struct weight *weight,
                       const int32_t *rows, int64_t n_rows, const struct weight_scratch *scratch);

#endif
