// tests/kernels/kernels_simde.h - AVX-512 intrinsics through SIMDe, plus the few that Debian 12's SIMDe lacks, written
// from Intel's definitions. Only for running the AVX-512 kernels' logic on a processor without AVX-512.
#ifndef KERNELS_SIMDE_H
#define KERNELS_SIMDE_H
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <simde/x86/avx512/dpbf16.h>

#include <string.h>

typedef uint16_t kernels_mask16;
#define __mmask16 kernels_mask16
#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm512_reduce_add_ps

static inline simde__m512 _mm512_maskz_loadu_ps(uint16_t mask, const float *p) {
    float lanes[16] = {0};
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) lanes[i] = p[i];
    return simde_mm512_loadu_ps(lanes);
}
static inline void _mm512_mask_storeu_ps(float *p, uint16_t mask, simde__m512 v) {
    float lanes[16];
    memcpy(lanes, &v, sizeof lanes);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1) p[i] = lanes[i];
}
static inline float _mm512_reduce_add_ps(simde__m512 v) {
    float lanes[16];
    memcpy(lanes, &v, sizeof lanes);
    for (int n = 8; n > 0; n /= 2)
        for (int i = 0; i < n; i++) lanes[i] += lanes[i + n];
    return lanes[0];
}
#endif
