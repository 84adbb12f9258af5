// kernels/kernels.h - the arithmetic of the engine and of training: one function pointer per operation.
// kernels_scalar.c is the definition, written to be read; the other files are the same functions for one
// instruction set each, chosen at run time. Every function here works on the calling thread; gemm.h and
// the callers share work over a core/pool by output rows or panels, so results never depend on threads.
//
// Order of sums: each output element is a running sum over k = 0, 1, 2, ... (of blocks of 256 k, added in order, in the
// vector versions), whatever M and N are, so a row of a batch has the same bits alone or among others. (Implementations differ from each other within
// gamma_K * sum |a_k b_k|, Higham 2002 section 3.1: some fuse multiply and add.)
#ifndef KERNELS_KERNELS_H
#define KERNELS_KERNELS_H

#include "core/error.h"

enum kernels_isa {
    KERNELS_SCALAR = 0,
    KERNELS_AVX2 = 1 << 0,       // with FMA and F16C
    KERNELS_AVX512 = 1 << 1,     // F, BW, VL, DQ
    KERNELS_AVX512BF16 = 1 << 2, // VDPBF16PS
    KERNELS_AVX512VNNI = 1 << 3, // VPDPBUSD
};

// Columns of a packed panel, the same for every implementation so that packed weights are portable.
enum { KERNELS_PANEL = 16 };

struct kernels {
    const char *name; // "scalar", "avx2", "avx512", "avx512bf16", "avx512vnni": the last set that was used
    bool bf16_rounds; // gemm_bf16 rounds its activations

    // --- matrix product. b is [K, N]: element (k, n) at b[k * rs + n * cs].
    // Packs panels [panel_begin, panel_end) of 16 columns: packed[(p * K + k) * 16 + j] = b(k, 16 p + j),
    // zero beyond N. packed holds ceil(N/16) * K * 16 floats.
    void (*gemm_pack)(float *packed, const float *b, int64_t rs, int64_t cs, int64_t K, int64_t N,
                      int64_t panel_begin, int64_t panel_end);
    // out[m * out_stride + n] = (accumulate ? itself : 0) + sum_k a[m * a_rs + k * a_cs] * b(k, n)
    // for 0 <= m < M and the columns n < N of panels [panel_begin, panel_end).
    void (*gemm)(float *out, int64_t out_stride, const float *a, int64_t a_rs, int64_t a_cs, const float *packed,
                 int64_t M, int64_t N, int64_t K, int64_t panel_begin, int64_t panel_end, bool accumulate);
    // The same product with bf16 panels, two rows of K side by side (the layout VDPBF16PS wants):
    // packed[((p * K2 + k/2) * 16 + j) * 2 + k%2], K2 = ceil(K/2), zero padded. a is contiguous rows
    // (a_cs = 1). With bf16_rounds `a` is rounded to bf16 first; else the product is of f32 and the exact bf16 value.
    void (*gemm_bf16)(float *out, int64_t out_stride, const float *a, int64_t a_rs, const uint16_t *packed,
                      int64_t M, int64_t N, int64_t K, int64_t panel_begin, int64_t panel_end);

    // --- int8. Activations are quantised a row at a time: scale = max |x| / 127, q = 128 + round(x / scale), to nearest even
    // (a row of zeros: scale 0, q 128;
    // one with a NaN: scale NaN). Sums are integers, so every implementation gives the same bits.
    void (*quantise_row)(uint8_t *q, float *scale, const float *x, int64_t K);
    // out[m * out_stride + n] = (float)(sum_k q[m, k] w[n, k] - 128 w_sum[n]) * (q_scale[m] * w_scale[n])
    // with w packed four k side by side: packed[((p * K4 + k/4) * 16 + j) * 4 + k%4] = w(16 p + j, k), K4 = ceil(K/4),
    // zero padded; w_scale, w_sum: [panels * 16]. Rows of q are q_stride bytes apart and readable up to 4 K4.
    // |q w| sums stay in 32 bits up to K = 66,000.
    void (*gemm_i8)(float *out, int64_t out_stride, const uint8_t *q, int64_t q_stride, const float *q_scale,
                    const int8_t *packed, const float *w_scale, const int32_t *w_sum, int64_t M, int64_t N, int64_t K,
                    int64_t panel_begin, int64_t panel_end);

    // n rounds of independent multiply-adds in registers; returns how many operations that was (a multiply and an add are two):
    // the processor's ceiling, for benchmarks. NULL where there is none.
    double (*spin_f32)(int64_t n);
    double (*spin_bf16)(int64_t n);
    double (*spin_i8)(int64_t n);

    // --- vectors. x, y: [n]
    float (*dot)(const float *x, const float *y, int64_t n);
    void (*axpy)(float *y, float a, const float *x, int64_t n); // y += a x
    // out = x / sqrt(mean(x^2) + eps) * w; returns 1 / sqrt(...), which the backward pass needs. out may be x.
    // Zhang and Sennrich 2019, arXiv:1910.07467, eq. 4.
    float (*rmsnorm)(float *out, const float *x, const float *w, int64_t n, float eps);
    // dx += backward of rmsnorm given dout; dw += (may be NULL). r is what rmsnorm returned.
    void (*rmsnorm_backward)(float *dx, float *dw, const float *dout, const float *x, const float *w, float r,
                             int64_t n);
    // x = exp(x - max) / sum, in place; returns log(sum exp(x)) = max + log(sum). -inf entries give 0.
    float (*softmax)(float *x, int64_t n);
    // out = silu(gate) * up, silu(v) = v / (1 + exp(-v)); Shazeer 2020, arXiv:2002.05202. out may be gate.
    void (*silu_mul)(float *out, const float *gate, const float *up, int64_t n);
    // dgate, dup = backward of silu_mul given dout (overwritten; either may be dout).
    void (*silu_mul_backward)(float *dgate, float *dup, const float *dout, const float *gate, const float *up,
                              int64_t n);
    // Rotates one head of dimension d in place, split-half pairs (i, i + d/2) as in transformers' Llama and
    // Qwen3. cos, sin: [d/2]. sign is +1 forward, -1 for the backward pass (the inverse rotation).
    void (*rope)(float *x, const float *cos, const float *sin, int64_t d, float sign);
    // One AdamW step, Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2, PyTorch's order of operations:
    // w *= 1 - lr*wd;  m += (1-b1)(g-m);  v = b2 v + (1-b2) g^2;  w -= (lr/bc1) m / (sqrt(v)/sqrt(bc2) + eps)
    // with g scaled by grad_scale first. bc1 = 1 - b1^t, bc2 = 1 - b2^t.
    void (*adamw)(float *w, float *m, float *v, const float *g, int64_t n, float lr, float b1, float b2, float eps,
                  float weight_decay, float bc1, float bc2, float grad_scale);
    double (*sum_squares)(const float *x, int64_t n);
};

// What the CPU and the operating system offer, masked by the environment: KERNELS=scalar|avx2|avx512.
unsigned kernels_detect(void);
void kernels_init(struct kernels *k, unsigned isa);
// kernels_init(k, kernels_detect()), done once; the usual way in.
const struct kernels *kernels_best(void);

// The implementations (each overwrites what it does faster).
void kernels_init_scalar(struct kernels *k);
void kernels_init_avx2(struct kernels *k);
void kernels_init_avx512(struct kernels *k);
void kernels_init_avx512bf16(struct kernels *k);
void kernels_init_avx512vnni(struct kernels *k);

// bf16 and f16 scalars. Rounding is to nearest even; NaN stays NaN.
static inline float bf16_to_f32(uint16_t h) {
    union {
        uint32_t u;
        float f;
    } v = {.u = (uint32_t)h << 16};
    return v.f;
}
static inline uint16_t bf16_from_f32(float f) {
    union {
        float f;
        uint32_t u;
    } v = {.f = f};
    if ((v.u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((v.u >> 16) | 0x40);
    return (uint16_t)((v.u + 0x7fff + ((v.u >> 16) & 1)) >> 16);
}
float f16_to_f32(uint16_t h);

#endif
