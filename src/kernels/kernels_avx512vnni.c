// kernels/kernels_avx512vnni.c - the int8 product with VPDPBUSD: four k and sixteen outputs an
// instruction, lane = output, so no horizontal sum. A tile is 12 rows x 32 columns: 24 sums, enough
// to hide the instruction's latency on two ports.
#include "kernels/kernels.h"

#if defined(KERNELS_SIMDE) // the tests compile this file over SIMDe too, for CPUs without AVX-512
#include "kernels_simde.h"
#else
#include <immintrin.h>
#endif

#include <math.h>
#include <string.h>

enum {
    M_BLOCK = 96
}; // rows of a pass over the panels: 96 KB at K = 1,024, in L2 beside two panels

static inline __m512i four(const uint8_t *q) {
    int32_t v;
    memcpy(&v, q, 4);
    return _mm512_set1_epi32(v);
}

// R rows x P panels over all of K.
static inline __attribute__((always_inline)) void
tile(int R, int P, float *out, int64_t out_stride, const uint8_t *q, int64_t q_stride,
     const float *q_scale, const int8_t *b, int64_t panel_stride, const float *w_scale,
     const int32_t *w_sum, int64_t K4, __mmask16 last) {
    __m512i c[12][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) c[r][p] = _mm512_setzero_si512();
    for (int64_t k = 0; k < K4; k++) {
        __m512i b0 = _mm512_loadu_si512(b + k * 64);
        __m512i b1 = P == 2 ? _mm512_loadu_si512(b + panel_stride + k * 64) : b0;
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            __m512i x = four(q + r * q_stride + 4 * k);
            c[r][0] = _mm512_dpbusd_epi32(c[r][0], x, b0);
            if (P == 2) c[r][1] = _mm512_dpbusd_epi32(c[r][1], x, b1);
        }
    }
#pragma GCC unroll 2
    for (int p = 0; p < P; p++) {
        __mmask16 mask = p == P - 1 ? last : 0xffff;
        __m512i offset = _mm512_slli_epi32(_mm512_loadu_si512(w_sum + 16 * p), 7);
        __m512 scale = _mm512_loadu_ps(w_scale + 16 * p);
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            __m512 sum = _mm512_cvtepi32_ps(_mm512_sub_epi32(c[r][p], offset));
            __m512 both = _mm512_mul_ps(_mm512_set1_ps(q_scale[r]), scale);
            _mm512_mask_storeu_ps(out + r * out_stride + 16 * p, mask, _mm512_mul_ps(sum, both));
        }
    }
}

static inline __attribute__((always_inline)) void
panel_rows(int P, float *out, int64_t out_stride, const uint8_t *q, int64_t q_stride,
           const float *q_scale, const int8_t *b, int64_t panel_stride, const float *w_scale,
           const int32_t *w_sum, int64_t M, int64_t K4, __mmask16 last) {
    for (; M >= 12; M -= 12, out += 12 * out_stride, q += 12 * q_stride, q_scale += 12)
        tile(12, P, out, out_stride, q, q_stride, q_scale, b, panel_stride, w_scale, w_sum, K4,
             last);
    for (; M >= 4; M -= 4, out += 4 * out_stride, q += 4 * q_stride, q_scale += 4)
        tile(4, P, out, out_stride, q, q_stride, q_scale, b, panel_stride, w_scale, w_sum, K4,
             last);
    for (; M >= 1; M--, out += out_stride, q += q_stride, q_scale++)
        tile(1, P, out, out_stride, q, q_stride, q_scale, b, panel_stride, w_scale, w_sum, K4,
             last);
}

static void gemm_i8_avx512vnni(float *out, int64_t out_stride, const uint8_t *q, int64_t q_stride,
                               const float *q_scale, const int8_t *packed, const float *w_scale,
                               const int32_t *w_sum, int64_t M, int64_t N, int64_t K,
                               int64_t panel_begin, int64_t panel_end) {
    int64_t K4 = (K + 3) / 4, panel_stride = K4 * 64;
    for (int64_t m0 = 0; m0 < M; m0 += M_BLOCK) {
        int64_t n_rows = min_i64(M_BLOCK, M - m0);
        for (int64_t p = panel_begin; p < panel_end;) {
            int P = p + 2 <= panel_end ? 2 : 1;
            int64_t n_last = min_i64(KERNELS_PANEL, N - (p + P - 1) * KERNELS_PANEL),
                    n = p * KERNELS_PANEL;
            __mmask16 last = (__mmask16)((1u << n_last) - 1);
            float *o = out + m0 * out_stride + n;
            const uint8_t *x = q + m0 * q_stride;
            const int8_t *b = packed + p * panel_stride;
            if (P == 2)
                panel_rows(2, o, out_stride, x, q_stride, q_scale + m0, b, panel_stride,
                           w_scale + n, w_sum + n, n_rows, K4, last);
            else
                panel_rows(1, o, out_stride, x, q_stride, q_scale + m0, b, panel_stride,
                           w_scale + n, w_sum + n, n_rows, K4, last);
            p += P;
        }
    }
}

static void quantise_row_avx512(uint8_t *q, float *scale, const float *x, int64_t K) {
    __m512 high = _mm512_setzero_ps();
    __mmask16 nan = 0;
    for (int64_t k = 0; k < K; k += 16) {
        __mmask16 m = K - k >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (K - k)) - 1);
        __m512 v = _mm512_maskz_loadu_ps(m, x + k);
        high = _mm512_max_ps(_mm512_abs_ps(v), high); // NaN gives high
        nan |= _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    }
    float max = _mm512_reduce_max_ps(high);
    *scale = nan ? NAN : max / 127.0f;
    __m512 inverse = _mm512_set1_ps(max > 0.0f ? 127.0f / max : 0.0f);
    for (int64_t k = 0; k < K; k += 16) {
        __mmask16 m = K - k >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (K - k)) - 1);
        __m512 product = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + k), inverse);
        __m512i v = _mm512_maskz_cvtps_epi32(_mm512_cmp_ps_mask(product, product, _CMP_ORD_Q),
                                             product); // NaN gives 0
        _mm_mask_storeu_epi8(q + k, m,
                             _mm512_cvtepi32_epi8(_mm512_add_epi32(v, _mm512_set1_epi32(128))));
    }
}

#if !defined(KERNELS_SIMDE)
// The empty asm keeps the sums in registers, and the loop.
static double spin_i8(int64_t n) {
    __m512i c[12], a = _mm512_set1_epi8(3), b = _mm512_set1_epi8(5);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) c[i] = _mm512_setzero_si512();
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            c[i] = _mm512_dpbusd_epi32(c[i], a, b);
            __asm__ volatile("" : "+v"(c[i]));
        }
    }
    return (double)n * 12 * 64 * 2;
}
#endif

void kernels_init_avx512vnni(struct kernels *k) {
    k->name = "avx512vnni";
    k->gemm_i8 = gemm_i8_avx512vnni;
    k->quantise_row = quantise_row_avx512;
#if !defined(KERNELS_SIMDE)
    k->spin_i8 = spin_i8;
#endif
}
