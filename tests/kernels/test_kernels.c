// Walks every implementation present and compares it with the scalar definition. Sizes 0, 1, each tail; starts
// that are not aligned; blocks of exactly the size needed, so that ASan sees one element too many.
#include "kernels/gemm.h"

#include "core/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(KERNELS_SIMDE_TEST)
void simde_init_avx512(struct kernels *k);
void simde_init_avx512bf16(struct kernels *k);
void simde_init_avx512vnni(struct kernels *k);
#endif

static int n_failed, n_checked;

// Comparison written so that NaN fails: !(difference <= bound).
static void check(const char *isa, const char *what, float got, float want, double bound, int line) {
    n_checked++;
    if (fabs((double)got - (double)want) <= bound) return;
    if (got == want) return;
    if (++n_failed < 30)
        fprintf(stderr, "%s:%d: %s %s: got %.9g want %.9g bound %.3g\n", __FILE__, line, isa, what, (double)got,
                (double)want, bound);
}
#define CHECK(what, got, want, bound) check(k->name, what, got, want, bound, __LINE__)

static const double u = 0x1p-24;
// Higham 2002, section 3.1: |computed - exact| <= gamma_n sum |a_i b_i|; two computed values, so twice it.
static double gamma_n(int64_t n) {
    return 2.0 * (double)n * u / (1.0 - (double)n * u);
}

static float *vector(struct rng *rng, int64_t n, float scale) {
    float *x = malloc((size_t)(n > 0 ? n : 1) * sizeof *x);
    for (int64_t i = 0; i < n; i++) x[i] = rng_normal(rng) * scale;
    return x;
}

static float *copy(const float *x, int64_t n) {
    float *y = malloc((size_t)(n > 0 ? n : 1) * sizeof *y);
    if (n > 0) memcpy(y, x, (size_t)n * sizeof *y);
    return y;
}

static void test_gemm(const struct kernels *k, const struct kernels *s, struct rng *rng, int64_t M, int64_t N,
                      int64_t K, bool transpose_a, bool transpose_b, bool accumulate) {
    float *a = vector(rng, M * K, 1), *b = vector(rng, K * N, 1), *out = vector(rng, M * N, 1);
    float *want = copy(out, M * N);
    int64_t rs = transpose_b ? 1 : N, cs = transpose_b ? K : 1;
    int64_t a_rs = transpose_a ? 1 : K, a_cs = transpose_a ? M : 1;
    int64_t count = gemm_panels(N) * K * KERNELS_PANEL;
    float *packed = vector(rng, count, 0), *packed_want = vector(rng, count, 0);
    k->gemm_pack(packed, b, rs, cs, K, N, 0, gemm_panels(N));
    s->gemm_pack(packed_want, b, rs, cs, K, N, 0, gemm_panels(N));
    for (int64_t i = 0; i < count; i++) CHECK("gemm_pack", packed[i], packed_want[i], 0);
    k->gemm(out, N, a, a_rs, a_cs, packed, M, N, K, 0, gemm_panels(N), accumulate);
    s->gemm(want, N, a, a_rs, a_cs, packed, M, N, K, 0, gemm_panels(N), accumulate);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double sum = accumulate ? 8 : 0;
            for (int64_t c = 0; c < K; c++)
                sum += fabs((double)a[m * a_rs + c * a_cs] * (double)b[c * rs + n * cs]);
            CHECK("gemm", out[m * N + n], want[m * N + n], gamma_n(K + 1) * sum);
        }
    // One row alone gives the same bits as in the batch.
    if (M > 1 && !accumulate) {
        int64_t m = (int64_t)rng_below(rng, (uint64_t)M);
        float *row = vector(rng, N, 1);
        k->gemm(row, N, a + m * a_rs, a_rs, a_cs, packed, 1, N, K, 0, gemm_panels(N), false);
        for (int64_t n = 0; n < N; n++) CHECK("gemm row alone", row[n], out[m * N + n], 0);
        free(row);
    }
    free(a);
    free(b);
    free(out);
    free(want);
    free(packed);
    free(packed_want);
}

static void test_gemm_bf16(const struct kernels *k, const struct kernels *s, struct rng *rng, int64_t M, int64_t N,
                           int64_t K) {
    float *a = vector(rng, M * K, 1), *w = vector(rng, N * K, 1);
    uint16_t *bits = malloc((size_t)(N * K) * sizeof *bits);
    for (int64_t i = 0; i < N * K; i++) bits[i] = bf16_from_f32(w[i]);
    struct weight weight;
    struct error err = {0};
    if (!weight_init_bf16(&weight, bits, N, K, &err)) abort();
    float *out = vector(rng, M * N, 1), *want = vector(rng, M * N, 1);
    k->gemm_bf16(out, N, a, K, weight.packed, M, N, K, 0, gemm_panels(N));
    s->gemm_bf16(want, N, a, K, weight.packed, M, N, K, 0, gemm_panels(N));
    // VDPBF16PS rounds a to 8 significant bits: relative error up to 2^-9 a term.
    double extra = k->bf16_rounds ? 0x1p-8 : 0;
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++) {
            double sum = 0;
            for (int64_t c = 0; c < K; c++) sum += fabs((double)a[m * K + c] * (double)bf16_to_f32(bits[n * K + c]));
            CHECK("gemm_bf16", out[m * N + n], want[m * N + n], (gamma_n(K + 1) + extra) * sum);
        }
    weight_release(&weight);
    free(a);
    free(w);
    free(bits);
    free(out);
    free(want);
}

// Integer sums: every implementation, batch and row gives the same bits, extremes included.
static void test_gemm_i8(const struct kernels *k, const struct kernels *s, struct rng *rng, int64_t M, int64_t N, int64_t K,
                         bool extreme) {
    float *x = vector(rng, M * K, 1), *w = vector(rng, N * K, 1);
    for (int64_t i = 0; extreme && i < M * K; i++) x[i] = rng_chance(rng, 0.5) ? 3.0f : -3.0f;
    for (int64_t i = 0; extreme && i < N * K; i++) w[i] = rng_chance(rng, 0.5) ? 2.0f : -2.0f;
    if (M > 1) memset(x, 0, (size_t)K * sizeof *x); // a row of zeros
    struct weight weight;
    struct error err = {0};
    if (!weight_init_i8(&weight, w, N, K, &err)) abort();
    int64_t stride = weight_scratch_stride(K);
    uint8_t *q = malloc((size_t)(M * stride)), *q_want = malloc((size_t)(M * stride));
    float *scale = vector(rng, M, 1), *scale_want = vector(rng, M, 1);
    memset(q, 0xA5, (size_t)(M * stride));
    for (int64_t m = 0; m < M; m++) {
        k->quantise_row(q + m * stride, scale + m, x + m * K, K);
        s->quantise_row(q_want + m * stride, scale_want + m, x + m * K, K);
        CHECK("quantise_row scale", scale[m], scale_want[m], 0);
        for (int64_t i = 0; i < K; i++) CHECK("quantise_row", q[m * stride + i], q_want[m * stride + i], 0);
        for (int64_t i = 0; i < K; i++) // within half a step
            CHECK("quantised", ((float)q[m * stride + i] - 128) * scale[m], x[m * K + i], 0.501 * (double)scale[m]);
    }
    float *out = vector(rng, M * N, 1), *want = vector(rng, M * N, 1), *row = vector(rng, N, 1);
    k->gemm_i8(out, N, q, stride, scale, weight.packed, weight.scale, weight.sum, M, N, K, 0, gemm_panels(N));
    s->gemm_i8(want, N, q_want, stride, scale_want, weight.packed, weight.scale, weight.sum, M, N, K, 0, gemm_panels(N));
    for (int64_t i = 0; i < M * N; i++) CHECK("gemm_i8", out[i], want[i], 0);
    int64_t m = (int64_t)rng_below(rng, (uint64_t)M);
    k->gemm_i8(row, N, q + m * stride, stride, scale + m, weight.packed, weight.scale, weight.sum, 1, N, K, 0, gemm_panels(N));
    for (int64_t n = 0; n < N; n++) CHECK("gemm_i8 row alone", row[n], out[m * N + n], 0);
    // Against the product in double: half a step of each factor.
    for (int64_t n = 0; n < N; n++) {
        double sum = 0, bound = 0;
        for (int64_t c = 0; c < K; c++) {
            double a = (double)x[m * K + c], b = (double)w[n * K + c], da = 0.5 * (double)scale[m],
                   db = 0.5 * (double)weight.scale[n];
            sum += a * b;
            bound += fabs(a) * db + fabs(b) * da + da * db;
        }
        CHECK("gemm_i8 against f32", row[n], (float)sum, 1.01 * bound + 1e-5);
    }
    weight_release(&weight);
    free(x);
    free(w);
    free(q);
    free(q_want);
    free(scale);
    free(scale_want);
    free(out);
    free(want);
    free(row);
}

static void test_vectors(const struct kernels *k, const struct kernels *s, struct rng *rng, int64_t n,
                         int64_t offset) {
    float *x = vector(rng, n + offset, 2), *y = vector(rng, n + offset, 2), *w = vector(rng, n + offset, 1);
    float *a = vector(rng, n + offset, 1), *b = copy(a, n + offset), *c = vector(rng, n + offset, 1);
    float *d = copy(c, n + offset);
    float *xo = x + offset, *yo = y + offset, *wo = w + offset, *ao = a + offset, *bo = b + offset, *co = c + offset,
          *d0 = d + offset;
    double sum = 0, sum_w = 0;
    for (int64_t i = 0; i < n; i++) sum += fabs((double)xo[i] * (double)yo[i]);
    for (int64_t i = 0; i < n; i++) sum_w += fabs((double)xo[i] * (double)yo[i] * (double)wo[i]);
    CHECK("dot", k->dot(xo, yo, n), s->dot(xo, yo, n), gamma_n(n + 1) * sum);
    k->axpy(ao, 0.7f, xo, n);
    s->axpy(bo, 0.7f, xo, n);
    for (int64_t i = 0; i < n; i++) CHECK("axpy", ao[i], bo[i], 4 * u * (fabs((double)bo[i]) + fabs((double)xo[i])));
    if (n > 0) {
        float r = k->rmsnorm(ao, xo, wo, n, 1e-6f), r_want = s->rmsnorm(bo, xo, wo, n, 1e-6f);
        double relative = gamma_n(n + 4);
        CHECK("rmsnorm r", r, r_want, relative * fabs((double)r_want));
        for (int64_t i = 0; i < n; i++) CHECK("rmsnorm", ao[i], bo[i], relative * fabs((double)bo[i]) + 1e-30);
        k->rmsnorm_backward(ao, co, yo, xo, wo, r_want, n);
        s->rmsnorm_backward(bo, d0, yo, xo, wo, r_want, n);
        for (int64_t i = 0; i < n; i++) {
            double scale = fabs((double)bo[i]) + fabs((double)(r_want * wo[i] * yo[i])) +
                           fabs((double)xo[i]) * (double)(r_want * r_want * r_want) * sum_w / (double)n + 1;
            CHECK("rmsnorm_backward dx", ao[i], bo[i], gamma_n(n + 8) * scale);
            CHECK("rmsnorm_backward dw", co[i], d0[i], 8 * u * (fabs((double)d0[i]) + fabs((double)(yo[i] * xo[i] * r_want))));
        }
        memcpy(bo, ao, (size_t)n * sizeof *ao);
        if (n > 2) ao[n / 2] = bo[n / 2] = -INFINITY;
        float l = k->softmax(ao, n), l_want = s->softmax(bo, n);
        CHECK("softmax log-sum", l, l_want, gamma_n(n + 8) * (1 + fabs((double)l_want)));
        for (int64_t i = 0; i < n; i++) CHECK("softmax", ao[i], bo[i], (gamma_n(n) + 32 * u) * (double)bo[i] + 2e-38);
    }
    // silu at ordinary and extreme values
    if (n > 3) {
        xo[0] = 100.0f;
        xo[1] = -100.0f;
        xo[2] = 0.0f;
    }
    k->silu_mul(ao, xo, yo, n);
    s->silu_mul(bo, xo, yo, n);
    for (int64_t i = 0; i < n; i++) CHECK("silu_mul", ao[i], bo[i], 16 * u * fabs((double)bo[i]) + 1e-35);
    k->silu_mul_backward(ao, co, yo, xo, wo, n);
    s->silu_mul_backward(bo, d0, yo, xo, wo, n);
    for (int64_t i = 0; i < n; i++) {
        double scale = fabs((double)yo[i]) * (1 + fabs((double)xo[i])) * (1 + fabs((double)wo[i]));
        CHECK("silu_mul_backward dgate", ao[i], bo[i], 32 * u * scale);
        CHECK("silu_mul_backward dup", co[i], d0[i], 32 * u * scale);
    }
    if (n % 2 == 0) {
        memcpy(bo, ao, (size_t)n * sizeof *ao);
        k->rope(ao, xo, yo, n, -1);
        s->rope(bo, xo, yo, n, -1);
        for (int64_t i = 0; i < n; i++) {
            int64_t j = i % (n / 2 > 0 ? n / 2 : 1);
            CHECK("rope", ao[i], bo[i], 8 * u * 100 * (fabs((double)xo[j]) + fabs((double)yo[j]) + 1));
        }
    }
    float *m = vector(rng, n, 0.1f), *m2 = copy(m, n), *v = vector(rng, n, 0.1f), *v2;
    for (int64_t i = 0; i < n; i++) v[i] = v[i] * v[i];
    v2 = copy(v, n);
    memcpy(bo, ao, (size_t)n * sizeof *ao);
    k->adamw(ao, m, v, yo, n, 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 0.3f, 0.7f);
    s->adamw(bo, m2, v2, yo, n, 1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 0.3f, 0.7f);
    for (int64_t i = 0; i < n; i++) {
        CHECK("adamw m", m[i], m2[i], 8 * u * (fabs((double)yo[i]) + fabs((double)m2[i])));
        CHECK("adamw v", v[i], v2[i], 16 * u * (double)v2[i]);
        CHECK("adamw w", ao[i], bo[i], 16 * u * (fabs((double)bo[i]) + 1));
    }
    free(m);
    free(m2);
    free(v);
    free(v2);
    free(x);
    free(y);
    free(w);
    free(a);
    free(b);
    free(c);
    free(d);
}

static void test_nan(const struct kernels *k) {
    float x[9] = {0, 1, 2, NAN, 4, 5, 6, 7, 8}, y[9] = {1, 1, 1, 1, 1, 1, 1, 1, 1}, out[9];
    k->silu_mul(out, x, y, 9);
    if (!isnan(out[3])) n_failed++, fprintf(stderr, "%s silu_mul hides a NaN: %g\n", k->name, (double)out[3]);
    if (!isnan(k->dot(x, y, 9))) n_failed++, fprintf(stderr, "%s dot hides a NaN\n", k->name);
}

static void test_all(const struct kernels *k, const struct kernels *s, uint64_t seed) {
    struct rng rng;
    rng_init(&rng, seed);
    static const int64_t ms[] = {1, 2, 3, 4, 5, 6, 7, 11, 13, 25, 200}, ns[] = {1, 7, 8, 15, 16, 17, 31, 32, 33, 48, 70};
    static const int64_t kk[] = {1, 2, 7, 8, 9, 64, 255, 256, 257, 600};
    for (int i = 0; i < 120; i++) {
        int64_t M = ms[rng_below(&rng, COUNT_OF(ms))], N = ns[rng_below(&rng, COUNT_OF(ns))];
        int64_t K = kk[rng_below(&rng, COUNT_OF(kk))];
        test_gemm(k, s, &rng, M, N, K, i & 1, i & 2, i & 4);
        test_gemm_bf16(k, s, &rng, min_i64(M, 13), N, min_i64(K, 257));
        test_gemm_i8(k, s, &rng, min_i64(M, 25), N, K, i % 5 == 0);
    }
    test_gemm(k, s, &rng, 3, 5, 0, false, false, false); // an empty sum is 0
    for (int64_t n = 0; n < 70; n++) test_vectors(k, s, &rng, n, n % 3);
    test_vectors(k, s, &rng, 1000, 1);
    test_nan(k);
}

static void test_f16(void) {
    static const struct {
        uint16_t h;
        float f;
    } cases[] = {{0x0000, 0.0f},        {0x3c00, 1.0f},       {0xc000, -2.0f},    {0x7bff, 65504.0f},
                 {0x0400, 6.10352e-5f}, {0x0001, 0x1p-24f},   {0x8001, -0x1p-24f}, {0x7c00, INFINITY}};
    for (int i = 0; i < COUNT_OF(cases); i++) {
        float got = f16_to_f32(cases[i].h);
        if (!(fabsf(got - cases[i].f) <= 1e-10f || got == cases[i].f))
            n_failed++, fprintf(stderr, "f16 %04x: got %g want %g\n", cases[i].h, (double)got, (double)cases[i].f);
    }
    if (!isnan(f16_to_f32(0x7e00))) n_failed++;
    if (bf16_from_f32(1.00390625f) != 0x3f80) n_failed++; // half way: to even
    if (!isnan(bf16_to_f32(bf16_from_f32(NAN)))) n_failed++;
}

int main(void) {
    uint64_t seed = 20261122;
    printf("seed %llu\n", (unsigned long long)seed);
    struct kernels scalar, k;
    kernels_init_scalar(&scalar);
    test_all(&scalar, &scalar, seed);
    unsigned isa = kernels_detect();
    static const struct {
        unsigned bit;
        const char *name;
    } all[] = {{KERNELS_AVX2, "avx2"}, {KERNELS_AVX512, "avx512"}, {KERNELS_AVX512BF16, "avx512bf16"},
             {KERNELS_AVX512VNNI, "avx512vnni"}};
    for (int i = 0; i < COUNT_OF(all); i++) {
        if (!(isa & all[i].bit)) {
            printf("SKIP %s: this processor does not have it\n", all[i].name);
            continue;
        }
        kernels_init(&k, isa & (2 * all[i].bit - 1));
        printf("%s against scalar\n", k.name);
        test_all(&k, &scalar, seed);
    }
#if defined(KERNELS_SIMDE_TEST)
    // The AVX-512 sources over SIMDe: the same code, its instructions emulated, so the logic is checked anywhere.
    kernels_init_scalar(&k);
    simde_init_avx512(&k);
    printf("%s (SIMDe) against scalar\n", k.name);
    test_all(&k, &scalar, seed);
    simde_init_avx512bf16(&k);
    printf("%s (SIMDe) against scalar\n", k.name);
    test_all(&k, &scalar, seed);
#endif
    test_f16();
    printf("%d comparisons, %d failed\n", n_checked, n_failed);
    return n_failed ? 1 : 0;
}
