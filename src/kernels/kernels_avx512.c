// kernels/kernels_avx512.c - AVX-512 (F, BW, VL, DQ): the matrix product and the sums that dominate. A tile is
// 12 rows x 32 columns (two panels): 24 sums of 16 lanes, so the two multiply-add ports of Zen 4/5 and of Intel
// servers stay fed. The rest of the table is AVX2's, which such a CPU also runs.
#include "kernels/kernels.h"

#if defined(KERNELS_SIMDE) // the tests compile this file over SIMDe too, for CPUs without AVX-512
#include "kernels_simde.h"
#else
#include <immintrin.h>
#endif

enum { K_BLOCK = 256, M_BLOCK = 192 }; // as in kernels_avx2.c

// R rows x P panels (1 or 2). Edge columns are masked.
static inline __attribute__((always_inline)) void tile(int R, int P, float *out, int64_t out_stride, const float *a,
                                                       int64_t a_rs, int64_t a_cs, const float *b,
                                                       int64_t panel_stride, int64_t K, __mmask16 last, bool add) {
    __m512 c[12][2];
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) c[r][p] = _mm512_setzero_ps();
    for (int64_t k = 0; k < K; k++) {
        __m512 b0 = _mm512_loadu_ps(b + k * 16);
        __m512 b1 = P == 2 ? _mm512_loadu_ps(b + panel_stride + k * 16) : b0;
#pragma GCC unroll 12
        for (int r = 0; r < R; r++) {
            __m512 x = _mm512_set1_ps(a[r * a_rs + k * a_cs]);
            c[r][0] = _mm512_fmadd_ps(x, b0, c[r][0]);
            if (P == 2) c[r][1] = _mm512_fmadd_ps(x, b1, c[r][1]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; r++)
#pragma GCC unroll 2
        for (int p = 0; p < P; p++) {
            __mmask16 mask = p == P - 1 ? last : 0xffff;
            float *o = out + r * out_stride + 16 * p;
            if (add) c[r][p] = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, o), c[r][p]);
            _mm512_mask_storeu_ps(o, mask, c[r][p]);
        }
}

// P panels over M rows.
static inline __attribute__((always_inline)) void panel_rows(int P, float *o, int64_t out_stride, const float *x,
                                                             int64_t a_rs, int64_t a_cs, const float *b,
                                                             int64_t panel_stride, int64_t M, int64_t K,
                                                             __mmask16 last, bool add) {
    for (; M >= 12; M -= 12, o += 12 * out_stride, x += 12 * a_rs)
        tile(12, P, o, out_stride, x, a_rs, a_cs, b, panel_stride, K, last, add);
    for (; M >= 4; M -= 4, o += 4 * out_stride, x += 4 * a_rs)
        tile(4, P, o, out_stride, x, a_rs, a_cs, b, panel_stride, K, last, add);
    for (; M >= 1; M--, o += out_stride, x += a_rs)
        tile(1, P, o, out_stride, x, a_rs, a_cs, b, panel_stride, K, last, add);
}

static void gemm_avx512(float *out, int64_t out_stride, const float *a, int64_t a_rs, int64_t a_cs,
                        const float *packed, int64_t M, int64_t N, int64_t K, int64_t panel_begin,
                        int64_t panel_end, bool accumulate) {
    int64_t panel_stride = K * KERNELS_PANEL;
    for (int64_t m0 = 0; m0 < M; m0 += M_BLOCK) {
        int64_t mn = min_i64(M_BLOCK, M - m0);
        for (int64_t k0 = 0; k0 == 0 || k0 < K; k0 += K_BLOCK) {
            int64_t kn = min_i64(K_BLOCK, K - k0);
            bool add = accumulate || k0 > 0;
            for (int64_t p = panel_begin; p < panel_end;) {
                int P = p + 2 <= panel_end ? 2 : 1;
                int64_t n_last = min_i64(KERNELS_PANEL, N - (p + P - 1) * KERNELS_PANEL);
                __mmask16 last = (__mmask16)((1u << n_last) - 1);
                float *o = out + m0 * out_stride + p * KERNELS_PANEL;
                const float *x = a + m0 * a_rs + k0 * a_cs;
                const float *b = packed + (p * K + k0) * KERNELS_PANEL;
                if (P == 2) panel_rows(2, o, out_stride, x, a_rs, a_cs, b, panel_stride, mn, kn, last, add);
                else panel_rows(1, o, out_stride, x, a_rs, a_cs, b, panel_stride, mn, kn, last, add);
                p += P;
            }
        }
    }
}

static void axpy_avx512(float *y, float a, const float *x, int64_t n) {
    __m512 va = _mm512_set1_ps(a);
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (n - i)) - 1);
        __m512 sum = _mm512_fmadd_ps(va, _mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, y + i));
        _mm512_mask_storeu_ps(y + i, m, sum);
    }
}

static float dot_avx512(const float *x, const float *y, int64_t n) {
    __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    int64_t i = 0;
    for (; i + 64 <= n; i += 64)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            s[j] = _mm512_fmadd_ps(_mm512_loadu_ps(x + i + 16 * j), _mm512_loadu_ps(y + i + 16 * j), s[j]);
    for (; i < n; i += 16) {
        __mmask16 m = n - i >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << (n - i)) - 1);
        s[0] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, y + i), s[0]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

#if !defined(KERNELS_SIMDE)
// The empty asm keeps the sums in registers, and the loop.
static double spin_f32(int64_t n) {
    __m512 c[12], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) c[i] = _mm512_setzero_ps();
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            c[i] = _mm512_fmadd_ps(c[i], a, b);
            __asm__ volatile("" : "+v"(c[i]));
        }
    }
    return (double)n * 12 * 16 * 2;
}
#endif

void kernels_init_avx512(struct kernels *k) {
    k->name = "avx512";
    k->gemm = gemm_avx512;
    k->axpy = axpy_avx512;
    k->dot = dot_avx512;
#if !defined(KERNELS_SIMDE)
    k->spin_f32 = spin_f32;
#endif
}
