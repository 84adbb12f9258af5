// kernels/kernels_avx512bf16.c - the bf16 product with VDPBF16PS: two k per instruction, activations rounded to
// bf16 on the way in, sums in f32 (the instruction flushes subnormals and rounds to nearest even).
#include "kernels/kernels.h"

#if defined(KERNELS_SIMDE) // the tests compile this file over SIMDe too, for CPUs without AVX-512
#include "kernels_simde.h"
#else
#include <immintrin.h>
#endif

// Two activations x[k], x[k+1] as one 32-bit lane of bf16, for all lanes.
static inline __m512bh pair(const float *x, int64_t k, int64_t K) {
    uint32_t lo = bf16_from_f32(x[k]), hi = k + 1 < K ? bf16_from_f32(x[k + 1]) : 0;
    return (__m512bh)_mm512_set1_epi32((int)(lo | (hi << 16)));
}

static inline __attribute__((always_inline)) void tile(int R, float *out, int64_t out_stride, const float *a,
                                                       int64_t a_rs, const uint16_t *b, int64_t K, __mmask16 last) {
    __m512 c[8];
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) c[r] = _mm512_setzero_ps();
    for (int64_t k = 0; k < K; k += 2) {
        __m512bh w = (__m512bh)_mm512_loadu_si512(b + k * 16);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) c[r] = _mm512_dpbf16_ps(c[r], pair(a + r * a_rs, k, K), w);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) _mm512_mask_storeu_ps(out + r * out_stride, last, c[r]);
}

static void gemm_bf16_avx512bf16(float *out, int64_t out_stride, const float *a, int64_t a_rs,
                                 const uint16_t *packed, int64_t M, int64_t N, int64_t K, int64_t panel_begin,
                                 int64_t panel_end) {
    int64_t K2 = (K + 1) / 2;
    for (int64_t p = panel_begin; p < panel_end; p++) {
        const uint16_t *b = packed + p * K2 * KERNELS_PANEL * 2;
        int64_t n_cols = min_i64(KERNELS_PANEL, N - p * KERNELS_PANEL), m = 0;
        __mmask16 last = (__mmask16)((1u << n_cols) - 1);
        float *o = out + p * KERNELS_PANEL;
        for (; m + 8 <= M; m += 8) tile(8, o + m * out_stride, out_stride, a + m * a_rs, a_rs, b, K, last);
        for (; m < M; m++) tile(1, o + m * out_stride, out_stride, a + m * a_rs, a_rs, b, K, last);
    }
}

#if !defined(KERNELS_SIMDE)
// The empty asm keeps the sums in registers, and the loop.
static double spin_bf16(int64_t n) {
    __m512 c[12];
    __m512bh a = (__m512bh)_mm512_setzero_si512(), b = a;
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) c[i] = _mm512_setzero_ps();
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            c[i] = _mm512_dpbf16_ps(c[i], a, b);
            __asm__ volatile("" : "+v"(c[i]));
        }
    }
    return (double)n * 12 * 32 * 2;
}
#endif

void kernels_init_avx512bf16(struct kernels *k) {
    k->name = "avx512bf16";
    k->bf16_rounds = true;
#if !defined(KERNELS_SIMDE)
    k->spin_bf16 = spin_bf16;
#endif
    k->gemm_bf16 = gemm_bf16_avx512bf16;
}
