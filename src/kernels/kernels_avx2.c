// kernels/kernels_avx2.c - AVX2 + FMA. The product keeps a 6 x 16 tile of sums in 12 registers: per k, two loads of
// the packed panel and six broadcasts feed twelve fused multiply-adds. Sums run over k in order, whatever the
// tile, so a row's bits do not depend on its neighbours.
#include "kernels/kernels.h"

#include <immintrin.h>
#include <math.h>
#include <string.h>

// K is cut in blocks so that a panel block (256 x 16 floats, 16 KiB) stays in L1 while rows pass over it, and rows
// so that their block (192 x 256 floats) stays in L2 while panels pass. Each block of K has its own
// running sum, added to what the blocks before it left in `out`: shorter sums round less.
enum { K_BLOCK = 256, M_BLOCK = 192 };

static void gemm_pack_avx2(float *packed, const float *b, int64_t rs, int64_t cs, int64_t K, int64_t N,
                           int64_t panel_begin, int64_t panel_end) {
    for (int64_t p = panel_begin; p < panel_end; p++) {
        int64_t n0 = p * KERNELS_PANEL, n_cols = min_i64(KERNELS_PANEL, N - n0);
        float *dst = packed + p * K * KERNELS_PANEL;
        if (cs == 1 && n_cols == KERNELS_PANEL) {
            for (int64_t k = 0; k < K; k++) {
                _mm256_storeu_ps(dst + k * 16, _mm256_loadu_ps(b + k * rs + n0));
                _mm256_storeu_ps(dst + k * 16 + 8, _mm256_loadu_ps(b + k * rs + n0 + 8));
            }
            continue;
        }
        int64_t k = 0;
        if (rs == 1 && n_cols == KERNELS_PANEL) { // rows of a weight matrix: transpose 8 x 8 blocks
            for (; k + 8 <= K; k += 8) {
                for (int half = 0; half < 2; half++) {
                    const float *src = b + k + (n0 + 8 * half) * cs;
                    __m256 r[8], t[8];
#pragma GCC unroll 8
                    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_ps(src + i * cs);
#pragma GCC unroll 4
                    for (int i = 0; i < 4; i++) {
                        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
                        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
                    }
#pragma GCC unroll 2
                    for (int i = 0; i < 2; i++) {
                        r[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
                        r[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xEE);
                        r[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
                        r[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xEE);
                    }
#pragma GCC unroll 4
                    for (int i = 0; i < 4; i++) {
                        _mm256_storeu_ps(dst + (k + i) * 16 + 8 * half, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
                        _mm256_storeu_ps(dst + (k + i + 4) * 16 + 8 * half,
                                         _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
                    }
                }
            }
        }
        for (; k < K; k++)
            for (int64_t j = 0; j < KERNELS_PANEL; j++)
                dst[k * KERNELS_PANEL + j] = j < n_cols ? b[k * rs + (n0 + j) * cs] : 0.0f;
    }
}

// One tile of R rows (R is a constant at each call, so the loops unroll and the sums live in registers).
static inline __attribute__((always_inline)) void tile(int R, float *out, int64_t out_stride, const float *a,
                                                       int64_t a_rs, int64_t a_cs, const float *b, int64_t K,
                                                       int64_t n_cols, bool add) {
    __m256 c[6][2];
    float edge[6 * 16];
    bool whole = n_cols == KERNELS_PANEL;
    float *o = whole ? out : edge;
    int64_t stride = whole ? out_stride : 16;
    if (!whole && add)
        for (int r = 0; r < R; r++)
            for (int64_t j = 0; j < 16; j++) edge[r * 16 + j] = j < n_cols ? out[r * out_stride + j] : 0.0f;
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) c[r][0] = c[r][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < K; k++) {
        __m256 b0 = _mm256_loadu_ps(b + k * 16), b1 = _mm256_loadu_ps(b + k * 16 + 8);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            __m256 x = _mm256_broadcast_ss(a + r * a_rs + k * a_cs);
            c[r][0] = _mm256_fmadd_ps(x, b0, c[r][0]);
            c[r][1] = _mm256_fmadd_ps(x, b1, c[r][1]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
        if (add) {
            c[r][0] = _mm256_add_ps(_mm256_loadu_ps(o + r * stride), c[r][0]);
            c[r][1] = _mm256_add_ps(_mm256_loadu_ps(o + r * stride + 8), c[r][1]);
        }
        _mm256_storeu_ps(o + r * stride, c[r][0]);
        _mm256_storeu_ps(o + r * stride + 8, c[r][1]);
    }
    if (!whole)
        for (int r = 0; r < R; r++)
            for (int64_t j = 0; j < n_cols; j++) out[r * out_stride + j] = edge[r * 16 + j];
}

// One panel over M rows.
static inline void panel_rows(float *o, int64_t out_stride, const float *x, int64_t a_rs, int64_t a_cs,
                              const float *b, int64_t M, int64_t K, int64_t n_cols, bool add) {
    for (; M >= 6; M -= 6, o += 6 * out_stride, x += 6 * a_rs)
        tile(6, o, out_stride, x, a_rs, a_cs, b, K, n_cols, add);
    switch (M) {
    case 5: tile(5, o, out_stride, x, a_rs, a_cs, b, K, n_cols, add); break;
    case 4: tile(4, o, out_stride, x, a_rs, a_cs, b, K, n_cols, add); break;
    case 3: tile(3, o, out_stride, x, a_rs, a_cs, b, K, n_cols, add); break;
    case 2: tile(2, o, out_stride, x, a_rs, a_cs, b, K, n_cols, add); break;
    case 1: tile(1, o, out_stride, x, a_rs, a_cs, b, K, n_cols, add); break;
    default: break;
    }
}

static void gemm_avx2(float *out, int64_t out_stride, const float *a, int64_t a_rs, int64_t a_cs,
                      const float *packed, int64_t M, int64_t N, int64_t K, int64_t panel_begin,
                      int64_t panel_end, bool accumulate) {
    for (int64_t m0 = 0; m0 < M; m0 += M_BLOCK) {
        int64_t mn = min_i64(M_BLOCK, M - m0);
        for (int64_t k0 = 0; k0 == 0 || k0 < K; k0 += K_BLOCK) {
            int64_t kn = min_i64(K_BLOCK, K - k0);
            for (int64_t p = panel_begin; p < panel_end; p++) {
                int64_t n0 = p * KERNELS_PANEL;
                panel_rows(out + m0 * out_stride + n0, out_stride, a + m0 * a_rs + k0 * a_cs, a_rs, a_cs,
                           packed + (p * K + k0) * KERNELS_PANEL, mn, kn, min_i64(KERNELS_PANEL, N - n0),
                           accumulate || k0 > 0);
            }
        }
    }
}

// bf16 panels hold pairs (k, k+1) side by side: one 32-bit lane is [bf16(k) | bf16(k+1) << 16], so a shift or a mask
// turns it into the f32 of either.
static inline __attribute__((always_inline)) void tile_bf16(int R, float *out, int64_t out_stride, const float *a,
                                                            int64_t a_rs, const uint16_t *b, int64_t K,
                                                            int64_t n_cols) {
    __m256 c[4][2];
    const __m256i high = _mm256_set1_epi32((int)0xffff0000u);
#pragma GCC unroll 4
    for (int r = 0; r < R; r++) c[r][0] = c[r][1] = _mm256_setzero_ps();
    for (int64_t k = 0; k < K; k += 2) {
        __m256i p0 = _mm256_loadu_si256((const __m256i *)(const void *)(b + k * 16));
        __m256i p1 = _mm256_loadu_si256((const __m256i *)(const void *)(b + k * 16 + 16));
        __m256 b00 = _mm256_castsi256_ps(_mm256_slli_epi32(p0, 16));
        __m256 b01 = _mm256_castsi256_ps(_mm256_slli_epi32(p1, 16));
        __m256 b10 = _mm256_castsi256_ps(_mm256_and_si256(p0, high));
        __m256 b11 = _mm256_castsi256_ps(_mm256_and_si256(p1, high));
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            __m256 x = _mm256_broadcast_ss(a + r * a_rs + k);
            c[r][0] = _mm256_fmadd_ps(x, b00, c[r][0]);
            c[r][1] = _mm256_fmadd_ps(x, b01, c[r][1]);
        }
        if (k + 1 == K) break;
#pragma GCC unroll 4
        for (int r = 0; r < R; r++) {
            __m256 x = _mm256_broadcast_ss(a + r * a_rs + k + 1);
            c[r][0] = _mm256_fmadd_ps(x, b10, c[r][0]);
            c[r][1] = _mm256_fmadd_ps(x, b11, c[r][1]);
        }
    }
    for (int r = 0; r < R; r++) {
        float row[16];
        _mm256_storeu_ps(row, c[r][0]);
        _mm256_storeu_ps(row + 8, c[r][1]);
        for (int64_t j = 0; j < n_cols; j++) out[r * out_stride + j] = row[j];
    }
}

static void gemm_bf16_avx2(float *out, int64_t out_stride, const float *a, int64_t a_rs, const uint16_t *packed,
                           int64_t M, int64_t N, int64_t K, int64_t panel_begin, int64_t panel_end) {
    int64_t K2 = (K + 1) / 2;
    for (int64_t p = panel_begin; p < panel_end; p++) {
        const uint16_t *b = packed + p * K2 * KERNELS_PANEL * 2;
        int64_t n_cols = min_i64(KERNELS_PANEL, N - p * KERNELS_PANEL), m = 0;
        float *o = out + p * KERNELS_PANEL;
        for (; m + 4 <= M; m += 4) tile_bf16(4, o + m * out_stride, out_stride, a + m * a_rs, a_rs, b, K, n_cols);
        for (; m < M; m++) tile_bf16(1, o + m * out_stride, out_stride, a + m * a_rs, a_rs, b, K, n_cols);
    }
}

static inline float sum8(__m256 v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

static float dot_avx2(const float *x, const float *y, int64_t n) {
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
        s0 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), s0);
        s1 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8), _mm256_loadu_ps(y + i + 8), s1);
        s2 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 16), _mm256_loadu_ps(y + i + 16), s2);
        s3 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 24), _mm256_loadu_ps(y + i + 24), s3);
    }
    for (; i + 8 <= n; i += 8) s0 = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), s0);
    float sum = sum8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
    for (; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static void axpy_avx2(float *y, float a, const float *x, int64_t n) {
    __m256 va = _mm256_set1_ps(a);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(va, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    for (; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}

static float rmsnorm_avx2(float *out, const float *x, const float *w, int64_t n, float eps) {
    float r = 1.0f / sqrtf(dot_avx2(x, x, n) / (float)n + eps);
    __m256 vr = _mm256_set1_ps(r);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(out + i,
                         _mm256_mul_ps(_mm256_mul_ps(_mm256_loadu_ps(x + i), vr), _mm256_loadu_ps(w + i)));
    for (; i < n; i++) out[i] = x[i] * r * w[i];
    return r;
}

static void rmsnorm_backward_avx2(float *dx, float *dw, const float *dout, const float *x, const float *w, float r,
                                  int64_t n) {
    __m256 s = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        s = _mm256_fmadd_ps(_mm256_mul_ps(_mm256_loadu_ps(dout + i), _mm256_loadu_ps(w + i)),
                            _mm256_loadu_ps(x + i), s);
    float sum = sum8(s);
    for (; i < n; i++) sum += dout[i] * w[i] * x[i];
    float c = sum * r * r * r / (float)n;
    __m256 vr = _mm256_set1_ps(r), vc = _mm256_set1_ps(c);
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 d = _mm256_mul_ps(_mm256_loadu_ps(dout + i), vr), xi = _mm256_loadu_ps(x + i);
        __m256 g = _mm256_fmadd_ps(d, _mm256_loadu_ps(w + i), _mm256_loadu_ps(dx + i));
        _mm256_storeu_ps(dx + i, _mm256_fnmadd_ps(vc, xi, g));
        if (dw != NULL) _mm256_storeu_ps(dw + i, _mm256_fmadd_ps(d, xi, _mm256_loadu_ps(dw + i)));
    }
    for (; i < n; i++) {
        dx[i] += r * w[i] * dout[i] - c * x[i];
        if (dw != NULL) dw[i] += dout[i] * x[i] * r;
    }
}

// exp(x) to about 1 ulp: x = n ln2 + r with |r| <= ln2/2 in two parts (Cody and Waite), degree-6 polynomial of
// Cephes' expf. Below -87.3 the result is 0 (so exp(-inf) = 0), above 88.7 it is inf; NaN stays NaN.
static inline __m256 exp8(__m256 x) {
    const __m256 low = _mm256_set1_ps(-87.33654f), high = _mm256_set1_ps(88.72283f);
    __m256 under = _mm256_cmp_ps(x, low, _CMP_LT_OQ), over = _mm256_cmp_ps(x, high, _CMP_GT_OQ);
    __m256 nan = _mm256_cmp_ps(x, x, _CMP_UNORD_Q), original = x;
    x = _mm256_min_ps(_mm256_max_ps(x, low), high);
    __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504088896341f)),
                               _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), x);
    r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4f), r);
    __m256 p = _mm256_set1_ps(1.9875691500e-4f);
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.3981999507e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.3334519073e-3f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1665795894e-2f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.6666665459e-1f));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(5.0000001201e-1f));
    p = _mm256_fmadd_ps(p, _mm256_mul_ps(r, r), _mm256_add_ps(r, _mm256_set1_ps(1.0f)));
    // 2^n in two factors, so that n = 128 does not overflow before the product is taken.
    __m256i k = _mm256_cvtps_epi32(n), half = _mm256_srai_epi32(k, 1), rest = _mm256_sub_epi32(k, half);
    __m256i bias = _mm256_set1_epi32(127);
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, bias), 23)));
    p = _mm256_mul_ps(p, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, bias), 23)));
    p = _mm256_andnot_ps(under, p);
    p = _mm256_blendv_ps(p, _mm256_set1_ps(INFINITY), over);
    return _mm256_blendv_ps(p, original, nan);
}

static float softmax_avx2(float *x, int64_t n) {
    float max = -INFINITY;
    int64_t i = 0;
    if (n >= 8) {
        __m256 m = _mm256_loadu_ps(x);
        for (i = 8; i + 8 <= n; i += 8) m = _mm256_max_ps(m, _mm256_loadu_ps(x + i));
        float lanes[8];
        _mm256_storeu_ps(lanes, m);
        for (int j = 0; j < 8; j++) max = lanes[j] > max ? lanes[j] : max;
    }
    for (; i < n; i++) max = x[i] > max ? x[i] : max;
    __m256 vm = _mm256_set1_ps(max), s = _mm256_setzero_ps();
    for (i = 0; i + 8 <= n; i += 8) {
        __m256 e = exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), vm));
        _mm256_storeu_ps(x + i, e);
        s = _mm256_add_ps(s, e);
    }
    float sum = sum8(s);
    for (; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += x[i];
    }
    float scale = 1.0f / sum;
    __m256 vs = _mm256_set1_ps(scale);
    for (i = 0; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, _mm256_mul_ps(_mm256_loadu_ps(x + i), vs));
    for (; i < n; i++) x[i] *= scale;
    return max + logf(sum);
}

static inline __m256 sigmoid8(__m256 x) {
    __m256 one = _mm256_set1_ps(1.0f);
    return _mm256_div_ps(one, _mm256_add_ps(one, exp8(_mm256_sub_ps(_mm256_setzero_ps(), x))));
}

static void silu_mul_avx2(float *out, const float *gate, const float *up, int64_t n) {
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 g = _mm256_loadu_ps(gate + i);
        _mm256_storeu_ps(out + i, _mm256_mul_ps(_mm256_mul_ps(g, sigmoid8(g)), _mm256_loadu_ps(up + i)));
    }
    for (; i < n; i++) out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void silu_mul_backward_avx2(float *dgate, float *dup, const float *dout, const float *gate, const float *up,
                                   int64_t n) {
    __m256 one = _mm256_set1_ps(1.0f);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 d = _mm256_loadu_ps(dout + i), g = _mm256_loadu_ps(gate + i), u = _mm256_loadu_ps(up + i);
        __m256 s = sigmoid8(g);
        __m256 ds = _mm256_mul_ps(s, _mm256_fmadd_ps(g, _mm256_sub_ps(one, s), one));
        _mm256_storeu_ps(dgate + i, _mm256_mul_ps(_mm256_mul_ps(d, u), ds));
        _mm256_storeu_ps(dup + i, _mm256_mul_ps(d, _mm256_mul_ps(g, s)));
    }
    for (; i < n; i++) {
        float d = dout[i], g = gate[i], u = up[i], s = 1.0f / (1.0f + expf(-g));
        dgate[i] = d * u * s * (1.0f + g * (1.0f - s));
        dup[i] = d * g * s;
    }
}

static void rope_avx2(float *x, const float *cos, const float *sin, int64_t d, float sign) {
    int64_t half = d / 2, i = 0;
    __m256 vsign = _mm256_set1_ps(sign);
    for (; i + 8 <= half; i += 8) {
        __m256 a = _mm256_loadu_ps(x + i), b = _mm256_loadu_ps(x + i + half);
        __m256 c = _mm256_loadu_ps(cos + i), s = _mm256_mul_ps(vsign, _mm256_loadu_ps(sin + i));
        _mm256_storeu_ps(x + i, _mm256_fnmadd_ps(b, s, _mm256_mul_ps(a, c)));
        _mm256_storeu_ps(x + i + half, _mm256_fmadd_ps(a, s, _mm256_mul_ps(b, c)));
    }
    for (; i < half; i++) {
        float a = x[i], b = x[i + half], c = cos[i], s = sign * sin[i];
        x[i] = a * c - b * s;
        x[i + half] = b * c + a * s;
    }
}

static void adamw_avx2(float *w, float *m, float *v, const float *g, int64_t n, float lr, float b1, float b2,
                       float eps, float weight_decay, float bc1, float bc2, float grad_scale) {
    float step = lr / bc1, inv_sqrt_bc2 = 1.0f / sqrtf(bc2), keep = 1.0f - lr * weight_decay;
    __m256 vscale = _mm256_set1_ps(grad_scale), vb1 = _mm256_set1_ps(1.0f - b1), vb2 = _mm256_set1_ps(b2);
    __m256 vb2c = _mm256_set1_ps(1.0f - b2), vkeep = _mm256_set1_ps(keep), vstep = _mm256_set1_ps(step);
    __m256 vib = _mm256_set1_ps(inv_sqrt_bc2), veps = _mm256_set1_ps(eps);
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 gi = _mm256_mul_ps(_mm256_loadu_ps(g + i), vscale);
        __m256 mi = _mm256_loadu_ps(m + i);
        mi = _mm256_fmadd_ps(vb1, _mm256_sub_ps(gi, mi), mi);
        __m256 vi = _mm256_fmadd_ps(vb2, _mm256_loadu_ps(v + i), _mm256_mul_ps(_mm256_mul_ps(vb2c, gi), gi));
        __m256 denominator = _mm256_fmadd_ps(_mm256_sqrt_ps(vi), vib, veps);
        __m256 wi = _mm256_mul_ps(_mm256_loadu_ps(w + i), vkeep);
        wi = _mm256_sub_ps(wi, _mm256_div_ps(_mm256_mul_ps(vstep, mi), denominator));
        _mm256_storeu_ps(m + i, mi);
        _mm256_storeu_ps(v + i, vi);
        _mm256_storeu_ps(w + i, wi);
    }
    for (; i < n; i++) {
        float gi = g[i] * grad_scale;
        m[i] += (1.0f - b1) * (gi - m[i]);
        v[i] = b2 * v[i] + (1.0f - b2) * gi * gi;
        w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) * inv_sqrt_bc2 + eps);
    }
}

// int8 without VPDPBUSD: VPMADDUBSW would saturate, so both sides are widened to 16 bits. A register holds the sums of four
// outputs, two 32-bit halves each, added at the end.
static inline __attribute__((always_inline)) void i8_rows(int R, float *out, int64_t out_stride, const uint8_t *q,
                                                          int64_t q_stride, const float *q_scale, const int8_t *b,
                                                          const float *w_scale, const int32_t *w_sum, int64_t K4,
                                                          int64_t n_cols) {
    __m256i c[2][4];
#pragma GCC unroll 2
    for (int r = 0; r < R; r++)
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) c[r][g] = _mm256_setzero_si256();
    for (int64_t k = 0; k < K4; k++) {
        __m256i x[2];
#pragma GCC unroll 2
        for (int r = 0; r < R; r++) {
            int32_t four;
            memcpy(&four, q + r * q_stride + 4 * k, 4);
            x[r] = _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
        }
#pragma GCC unroll 4
        for (int g = 0; g < 4; g++) {
            __m256i w = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(b + k * 64 + g * 16)));
#pragma GCC unroll 2
            for (int r = 0; r < R; r++) c[r][g] = _mm256_add_epi32(c[r][g], _mm256_madd_epi16(x[r], w));
        }
    }
    for (int r = 0; r < R; r++) {
        int32_t halves[32];
        for (int g = 0; g < 4; g++) _mm256_storeu_si256((__m256i *)(halves + 8 * g), c[r][g]);
        for (int64_t j = 0; j < n_cols; j++)
            out[r * out_stride + j] = (float)(halves[2 * j] + halves[2 * j + 1] - 128 * w_sum[j]) * (q_scale[r] * w_scale[j]);
    }
}

static void gemm_i8_avx2(float *out, int64_t out_stride, const uint8_t *q, int64_t q_stride, const float *q_scale,
                         const int8_t *packed, const float *w_scale, const int32_t *w_sum, int64_t M, int64_t N, int64_t K,
                         int64_t panel_begin, int64_t panel_end) {
    int64_t K4 = (K + 3) / 4;
    for (int64_t p = panel_begin; p < panel_end; p++) {
        const int8_t *b = packed + p * K4 * 64;
        int64_t n = p * KERNELS_PANEL, n_cols = min_i64(KERNELS_PANEL, N - n), m = 0;
        for (; m + 2 <= M; m += 2)
            i8_rows(2, out + m * out_stride + n, out_stride, q + m * q_stride, q_stride, q_scale + m, b, w_scale + n, w_sum + n,
                    K4, n_cols);
        if (m < M)
            i8_rows(1, out + m * out_stride + n, out_stride, q + m * q_stride, q_stride, q_scale + m, b, w_scale + n, w_sum + n,
                    K4, n_cols);
    }
}

static void quantise_row_avx2(uint8_t *q, float *scale, const float *x, int64_t K) {
    __m256 high = _mm256_setzero_ps(), sign = _mm256_set1_ps(-0.0f), unordered = _mm256_setzero_ps();
    int64_t k = 0;
    for (; k + 8 <= K; k += 8) {
        __m256 v = _mm256_loadu_ps(x + k);
        high = _mm256_max_ps(_mm256_andnot_ps(sign, v), high); // NaN gives high
        unordered = _mm256_or_ps(unordered, _mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    }
    float lanes[8], max = 0.0f;
    bool nan = _mm256_movemask_ps(unordered) != 0;
    _mm256_storeu_ps(lanes, high);
    for (int i = 0; i < 8; i++) max = fmaxf(max, lanes[i]);
    for (; k < K; k++) {
        max = fmaxf(max, fabsf(x[k]));
        nan = nan || isnan(x[k]);
    }
    __m256 inverse = _mm256_set1_ps(max > 0.0f ? 127.0f / max : 0.0f);
    *scale = nan ? NAN : max / 127.0f;
    for (k = 0; k < K; k += 8) {
        float tail[8] = {0};
        int32_t v[8];
        int64_t n = min_i64(8, K - k);
        if (n < 8) memcpy(tail, x + k, (size_t)n * sizeof(float));
        __m256 product = _mm256_mul_ps(_mm256_loadu_ps(n < 8 ? tail : x + k), inverse);
        product = _mm256_and_ps(product, _mm256_cmp_ps(product, product, _CMP_ORD_Q)); // NaN gives 0
        _mm256_storeu_si256((__m256i *)v, _mm256_cvtps_epi32(product));
        for (int64_t i = 0; i < n; i++) q[k + i] = (uint8_t)(128 + v[i]);
    }
}

static double spin_f32(int64_t n) {
    __m256 c[12], a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) c[i] = _mm256_setzero_ps();
    for (int64_t k = 0; k < n; k++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            c[i] = _mm256_fmadd_ps(c[i], a, b);
            __asm__ volatile("" : "+x"(c[i]));
        }
    }
    return (double)n * 12 * 8 * 2;
}

void kernels_init_avx2(struct kernels *k) {
    k->name = "avx2";
    k->spin_f32 = spin_f32;
    k->gemm_i8 = gemm_i8_avx2;
    k->quantise_row = quantise_row_avx2;
    k->gemm_pack = gemm_pack_avx2;
    k->gemm = gemm_avx2;
    k->gemm_bf16 = gemm_bf16_avx2;
    k->dot = dot_avx2;
    k->axpy = axpy_avx2;
    k->rmsnorm = rmsnorm_avx2;
    k->rmsnorm_backward = rmsnorm_backward_avx2;
    k->softmax = softmax_avx2;
    k->silu_mul = silu_mul_avx2;
    k->silu_mul_backward = silu_mul_backward_avx2;
    k->rope = rope_avx2;
    k->adamw = adamw_avx2;
}
