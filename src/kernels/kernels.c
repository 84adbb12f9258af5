// kernels/kernels.c - which implementation this machine runs.
#include "kernels/kernels.h"

#include <cpuid.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static unsigned detect_cpu(void) {
    unsigned isa = KERNELS_SCALAR;
#if defined(__x86_64__)
    // These ask CPUID and XGETBV (the operating system must save the wide registers).
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isa |= KERNELS_AVX2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) {
        isa |= KERNELS_AVX512;
        unsigned a, b, c, d; // AVX512_BF16: CPUID leaf 7, subleaf 1, EAX bit 5
        if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5))) isa |= KERNELS_AVX512BF16;
        if (__builtin_cpu_supports("avx512vnni")) isa |= KERNELS_AVX512VNNI;
    }
#endif
    return isa;
}

unsigned kernels_detect(void) {
    unsigned isa = detect_cpu();
    const char *mask = getenv("KERNELS");
    if (mask == NULL) return isa;
    if (strcmp(mask, "scalar") == 0) return KERNELS_SCALAR;
    if (strcmp(mask, "avx2") == 0) return isa & KERNELS_AVX2;
    if (strcmp(mask, "avx512") == 0) return isa & (KERNELS_AVX2 | KERNELS_AVX512);
    return isa;
}

void kernels_init(struct kernels *k, unsigned isa) {
    kernels_init_scalar(k);
#if defined(__x86_64__)
    if (isa & KERNELS_AVX2) kernels_init_avx2(k);
    if (isa & KERNELS_AVX512) kernels_init_avx512(k);
    if (isa & KERNELS_AVX512BF16) kernels_init_avx512bf16(k);
    if (isa & KERNELS_AVX512VNNI) kernels_init_avx512vnni(k);
#endif
}

static struct kernels best;
static pthread_once_t best_once = PTHREAD_ONCE_INIT;

static void best_init(void) {
    kernels_init(&best, kernels_detect());
}

const struct kernels *kernels_best(void) {
    pthread_once(&best_once, best_init);
    return &best;
}
