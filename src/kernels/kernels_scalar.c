// kernels/kernels_scalar.c - the definition of every kernel: plain C, one running sum per output.
#include "kernels/kernels.h"

#include <math.h>
#include <string.h>

static void gemm_pack_scalar(float *packed, const float *b, int64_t rs, int64_t cs, int64_t K, int64_t N,
                             int64_t panel_begin, int64_t panel_end) {
    for (int64_t p = panel_begin; p < panel_end; p++) {
        for (int64_t k = 0; k < K; k++) {
            for (int64_t j = 0; j < KERNELS_PANEL; j++) {
                int64_t n = p * KERNELS_PANEL + j;
                packed[(p * K + k) * KERNELS_PANEL + j] = n < N ? b[k * rs + n * cs] : 0.0f;
            }
        }
    }
}

static void gemm_scalar(float *out, int64_t out_stride, const float *a, int64_t a_rs, int64_t a_cs,
                        const float *packed, int64_t M, int64_t N, int64_t K, int64_t panel_begin,
                        int64_t panel_end, bool accumulate) {
    for (int64_t p = panel_begin; p < panel_end; p++) {
        const float *b = packed + p * K * KERNELS_PANEL;
        for (int64_t m = 0; m < M; m++) {
            for (int64_t j = 0; j < KERNELS_PANEL && p * KERNELS_PANEL + j < N; j++) {
                float *o = &out[m * out_stride + p * KERNELS_PANEL + j];
                float sum = accumulate ? *o : 0.0f;
                for (int64_t k = 0; k < K; k++) sum += a[m * a_rs + k * a_cs] * b[k * KERNELS_PANEL + j];
                *o = sum;
            }
        }
    }
}

static void gemm_bf16_scalar(float *out, int64_t out_stride, const float *a, int64_t a_rs, const uint16_t *packed,
                             int64_t M, int64_t N, int64_t K, int64_t panel_begin, int64_t panel_end) {
    int64_t K2 = (K + 1) / 2;
    for (int64_t p = panel_begin; p < panel_end; p++) {
        const uint16_t *b = packed + p * K2 * KERNELS_PANEL * 2;
        for (int64_t m = 0; m < M; m++) {
            for (int64_t j = 0; j < KERNELS_PANEL && p * KERNELS_PANEL + j < N; j++) {
                float sum = 0.0f;
                for (int64_t k = 0; k < K; k++)
                    sum += a[m * a_rs + k] * bf16_to_f32(b[(k / 2 * KERNELS_PANEL + j) * 2 + k % 2]);
                out[m * out_stride + p * KERNELS_PANEL + j] = sum;
            }
        }
    }
}

static void quantise_row_scalar(uint8_t *q, float *scale, const float *x, int64_t K) {
    float max = 0.0f;
    bool nan = false;
    for (int64_t k = 0; k < K; k++) {
        max = fmaxf(max, fabsf(x[k]));
        nan = nan || isnan(x[k]);
    }
    float inverse = max > 0.0f ? 127.0f / max : 0.0f;
    *scale = nan ? NAN : max / 127.0f;
    for (int64_t k = 0; k < K; k++) {
        float v = nearbyintf(x[k] * inverse);
        q[k] = (uint8_t)(128 + (v >= -127.0f && v <= 127.0f ? (int)v : 0));
    }
}

static void gemm_i8_scalar(float *out, int64_t out_stride, const uint8_t *q, int64_t q_stride, const float *q_scale,
                           const int8_t *packed, const float *w_scale, const int32_t *w_sum, int64_t M, int64_t N, int64_t K,
                           int64_t panel_begin, int64_t panel_end) {
    int64_t K4 = (K + 3) / 4;
    for (int64_t p = panel_begin; p < panel_end; p++) {
        const int8_t *b = packed + p * K4 * KERNELS_PANEL * 4;
        for (int64_t m = 0; m < M; m++) {
            for (int64_t j = 0; j < KERNELS_PANEL && p * KERNELS_PANEL + j < N; j++) {
                int64_t n = p * KERNELS_PANEL + j;
                int32_t sum = 0;
                for (int64_t k = 0; k < K; k++) sum += q[m * q_stride + k] * b[(k / 4 * KERNELS_PANEL + j) * 4 + k % 4];
                out[m * out_stride + n] = (float)(sum - 128 * w_sum[n]) * (q_scale[m] * w_scale[n]);
            }
        }
    }
}

static float dot_scalar(const float *x, const float *y, int64_t n) {
    float sum = 0.0f;
    for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
    return sum;
}

static void axpy_scalar(float *y, float a, const float *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) y[i] += a * x[i];
}

static float rmsnorm_scalar(float *out, const float *x, const float *w, int64_t n, float eps) {
    float sum = 0.0f;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    float r = 1.0f / sqrtf(sum / (float)n + eps);
    for (int64_t i = 0; i < n; i++) out[i] = x[i] * r * w[i];
    return r;
}

// out_i = x_i r w_i with r = (mean x^2 + eps)^(-1/2), so dr/dx_i = -r^3 x_i / n and
// dx_i = r w_i dout_i - x_i (r^3 / n) sum_j dout_j w_j x_j.
static void rmsnorm_backward_scalar(float *dx, float *dw, const float *dout, const float *x, const float *w,
                                    float r, int64_t n) {
    float sum = 0.0f;
    for (int64_t i = 0; i < n; i++) sum += dout[i] * w[i] * x[i];
    float c = sum * r * r * r / (float)n;
    for (int64_t i = 0; i < n; i++) dx[i] += r * w[i] * dout[i] - c * x[i];
    if (dw == NULL) return;
    for (int64_t i = 0; i < n; i++) dw[i] += dout[i] * x[i] * r;
}

static float softmax_scalar(float *x, int64_t n) {
    float max = -INFINITY, sum = 0.0f;
    for (int64_t i = 0; i < n; i++) max = x[i] > max ? x[i] : max;
    for (int64_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += x[i];
    }
    float scale = 1.0f / sum;
    for (int64_t i = 0; i < n; i++) x[i] *= scale;
    return max + logf(sum);
}

static void silu_mul_scalar(float *out, const float *gate, const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

// s = sigmoid(g): d silu = s (1 + g (1 - s)).
static void silu_mul_backward_scalar(float *dgate, float *dup, const float *dout, const float *gate,
                                     const float *up, int64_t n) {
    for (int64_t i = 0; i < n; i++) {
        float d = dout[i], g = gate[i], u = up[i], s = 1.0f / (1.0f + expf(-g));
        dgate[i] = d * u * s * (1.0f + g * (1.0f - s));
        dup[i] = d * g * s;
    }
}

static void rope_scalar(float *x, const float *cos, const float *sin, int64_t d, float sign) {
    int64_t half = d / 2;
    for (int64_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half], c = cos[i], s = sign * sin[i];
        x[i] = a * c - b * s;
        x[i + half] = b * c + a * s;
    }
}

static void adamw_scalar(float *w, float *m, float *v, const float *g, int64_t n, float lr, float b1, float b2,
                         float eps, float weight_decay, float bc1, float bc2, float grad_scale) {
    float step = lr / bc1, inv_sqrt_bc2 = 1.0f / sqrtf(bc2), keep = 1.0f - lr * weight_decay;
    for (int64_t i = 0; i < n; i++) {
        float gi = g[i] * grad_scale;
        m[i] += (1.0f - b1) * (gi - m[i]);
        v[i] = b2 * v[i] + (1.0f - b2) * gi * gi;
        w[i] = w[i] * keep - step * m[i] / (sqrtf(v[i]) * inv_sqrt_bc2 + eps);
    }
}

static double sum_squares_scalar(const float *x, int64_t n) {
    double sum = 0.0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return sum;
}

float f16_to_f32(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 0x3ff, u;
    if (exponent == 31) {
        u = sign | 0x7f800000u | (mantissa << 13);
    } else if (exponent != 0) {
        u = sign | ((exponent + 112) << 23) | (mantissa << 13);
    } else {
        float f = (float)mantissa * 0x1p-24f; // subnormal: exact
        return sign ? -f : f;
    }
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

void kernels_init_scalar(struct kernels *k) {
    *k = (struct kernels){
        .name = "scalar",
        .gemm_pack = gemm_pack_scalar,
        .gemm = gemm_scalar,
        .gemm_bf16 = gemm_bf16_scalar,
        .quantise_row = quantise_row_scalar,
        .gemm_i8 = gemm_i8_scalar,
        .dot = dot_scalar,
        .axpy = axpy_scalar,
        .rmsnorm = rmsnorm_scalar,
        .rmsnorm_backward = rmsnorm_backward_scalar,
        .softmax = softmax_scalar,
        .silu_mul = silu_mul_scalar,
        .silu_mul_backward = silu_mul_backward_scalar,
        .rope = rope_scalar,
        .adamw = adamw_scalar,
        .sum_squares = sum_squares_scalar,
    };
}
