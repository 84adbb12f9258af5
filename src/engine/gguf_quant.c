// engine/gguf_quant.c - ggml's block types: n values share scales and small integers. Layouts and
// formulas of ggml-common.h and ggml-quants.c (also quants.py of the Python package `gguf`),
// written as arithmetic on bytes, so that the file's alignment and this machine's byte order do not
// matter.
#include "engine/gguf.h"
#include "kernels/kernels.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { QK = 32, QK_K = 256 };

static const struct {
    const char *name;
    uint16_t values, bytes; // of a block; 0: no such type
} types[] = {
    [0] = {"F32", 1, 4},          [1] = {"F16", 1, 2},          [2] = {"Q4_0", QK, 18},
    [3] = {"Q4_1", QK, 20},       [6] = {"Q5_0", QK, 22},       [7] = {"Q5_1", QK, 24},
    [8] = {"Q8_0", QK, 34},       [9] = {"Q8_1", QK, 40},       [10] = {"Q2_K", QK_K, 84},
    [11] = {"Q3_K", QK_K, 110},   [12] = {"Q4_K", QK_K, 144},   [13] = {"Q5_K", QK_K, 176},
    [14] = {"Q6_K", QK_K, 210},   [15] = {"Q8_K", QK_K, 292},   [16] = {"IQ2_XXS", QK_K, 66},
    [17] = {"IQ2_XS", QK_K, 74},  [18] = {"IQ3_XXS", QK_K, 98}, [19] = {"IQ1_S", QK_K, 50},
    [20] = {"IQ4_NL", QK, 18},    [21] = {"IQ3_S", QK_K, 110},  [22] = {"IQ2_S", QK_K, 82},
    [23] = {"IQ4_XS", QK_K, 136}, [24] = {"I8", 1, 1},          [25] = {"I16", 1, 2},
    [26] = {"I32", 1, 4},         [27] = {"I64", 1, 8},         [28] = {"F64", 1, 8},
    [29] = {"IQ1_M", QK_K, 56},   [30] = {"BF16", 1, 2},        [34] = {"TQ1_0", QK_K, 54},
    [35] = {"TQ2_0", QK_K, 66},   [39] = {"MXFP4", QK, 17},     [40] = {"NVFP4", 64, 36},
    [41] = {"Q1_0", 128, 18},
};

bool gguf_type_size(uint32_t type, int64_t *block_values, size_t *block_bytes) {
    if (type >= (uint32_t)COUNT_OF(types) || types[type].values == 0) return false;
    *block_values = types[type].values;
    *block_bytes = types[type].bytes;
    return true;
}

const char *gguf_type_name(uint32_t type) {
    return type < (uint32_t)COUNT_OF(types) && types[type].name != NULL ? types[type].name
                                                                        : "unknown";
}

bool gguf_type_readable(uint32_t type) {
    switch (type) {
    case GGUF_F32:
    case GGUF_F16:
    case GGUF_BF16:
    case GGUF_Q4_0:
    case GGUF_Q4_1:
    case GGUF_Q5_0:
    case GGUF_Q5_1:
    case GGUF_Q8_0:
    case GGUF_Q4_K:
    case GGUF_Q5_K:
    case GGUF_Q6_K:
        return true;
    default:
        return false;
    }
}

static uint16_t u16_at(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static uint32_t u32_at(const uint8_t *p) {
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_u16(uint8_t *p, uint16_t v) {
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}

static float f16_at(const uint8_t *p) {
    return f16_to_f32(u16_at(p));
}

// To nearest even; over the range becomes infinity, NaN stays NaN.
static uint16_t f16_from_f32(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return (uint16_t)(sign | 0x7e00);
    if (magnitude >= 0x477ff000) return (uint16_t)(sign | 0x7c00); // 65520 and above
    if (magnitude < 0x38800000) {          // below 2^-14: multiples of 2^-24
        float scaled = fabsf(f) * 0x1p24f; // exact, and so is rint's rounding to even
        return (uint16_t)(sign | (uint16_t)rintf(scaled));
    }
    uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
    return (uint16_t)(sign | (uint16_t)((rounded - 0x38000000) >> 13));
}

// -------------------------------------------------------------------------------------------------
// reading. d, m: scale and minimum; q: the small integer. Values i and i + 16 of a block of 32
// share a byte, low half first.

static void read_q4_0(float *out, const uint8_t *b) { // f16 d, 16 bytes: d (q - 8)
    float d = f16_at(b);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)((b[2 + i] & 15) - 8) * d;
        out[i + 16] = (float)((b[2 + i] >> 4) - 8) * d;
    }
}

static void read_q4_1(float *out, const uint8_t *b) { // f16 d, f16 m, 16 bytes: d q + m
    float d = f16_at(b), m = f16_at(b + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)(b[4 + i] & 15) * d + m;
        out[i + 16] = (float)(b[4 + i] >> 4) * d + m;
    }
}

static void read_q5_0(float *out, const uint8_t *b) { // f16 d, u32 fifth bits, 16 bytes: d (q - 16)
    float d = f16_at(b);
    uint32_t high = u32_at(b + 2);
    for (int i = 0; i < 16; i++) {
        int low = (b[6 + i] & 15) | (int)(high >> i & 1) << 4,
            top = b[6 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        out[i] = (float)(low - 16) * d;
        out[i + 16] = (float)(top - 16) * d;
    }
}

static void read_q5_1(float *out, const uint8_t *b) { // f16 d, f16 m, u32, 16 bytes: d q + m
    float d = f16_at(b), m = f16_at(b + 2);
    uint32_t high = u32_at(b + 4);
    for (int i = 0; i < 16; i++) {
        int low = (b[8 + i] & 15) | (int)(high >> i & 1) << 4,
            top = b[8 + i] >> 4 | (int)(high >> (i + 16) & 1) << 4;
        out[i] = (float)low * d + m;
        out[i + 16] = (float)top * d + m;
    }
}

static void read_q8_0(float *out, const uint8_t *b) { // f16 d, 32 signed bytes: d q
    float d = f16_at(b);
    for (int i = 0; i < QK; i++) out[i] = (float)(int8_t)b[2 + i] * d;
}

// Scale and minimum of part i (of 8) from 12 bytes of six-bit numbers: the first four of each have
// a byte of their own, whose two high bits complete the last four.
static void scale_min(int i, const uint8_t *s, int *scale, int *min) {
    if (i < 4) {
        *scale = s[i] & 63;
        *min = s[i + 4] & 63;
    } else {
        *scale = (s[i + 4] & 15) | s[i - 4] >> 6 << 4;
        *min = s[i + 4] >> 4 | s[i] >> 6 << 4;
    }
}

// f16 d, f16 dmin, 12 bytes of scales, [Q5_K: 32 bytes of fifth bits], 128 bytes: d s q - dmin m.
// 32 bytes hold parts 2j (low halves) and 2j + 1.
static void read_q45_k(float *out, const uint8_t *b, bool five) {
    float d = f16_at(b), dmin = f16_at(b + 2);
    const uint8_t *high = b + 16, *low = b + (five ? 48 : 16);
    for (int part = 0; part < 8; part++) {
        int scale, min;
        scale_min(part, b + 4, &scale, &min);
        float ds = d * (float)scale, dm = dmin * (float)min;
        for (int i = 0; i < 32; i++) {
            int byte = low[part / 2 * 32 + i], q = part % 2 ? byte >> 4 : byte & 15;
            if (five) q |= (high[i] >> part & 1) << 4;
            out[part * 32 + i] = ds * (float)q - dm;
        }
    }
}

// 128 bytes of low halves, 64 of high two bits, 16 signed scales, f16 d: d s (q - 32). Each half of
// 128 values is four runs of 32: runs 0 and 2 share 32 bytes of low halves, 1 and 3 the next 32;
// the high bits of the four share 32 bytes.
static void read_q6_k(float *out, const uint8_t *b) {
    float d = f16_at(b + 208);
    for (int half = 0; half < 2; half++)
        for (int run = 0; run < 4; run++)
            for (int i = 0; i < 32; i++) {
                int byte = b[half * 64 + run % 2 * 32 + i], low = run < 2 ? byte & 15 : byte >> 4,
                    high = b[128 + half * 32 + i] >> (2 * run) & 3;
                int scale = (int8_t)b[192 + half * 8 + run * 2 + i / 16];
                out[half * 128 + run * 32 + i] = d * (float)scale * (float)((low | high << 4) - 32);
            }
}

void gguf_dequantise(uint32_t type, float *out, const uint8_t *blocks, int64_t n) {
    int64_t values;
    size_t bytes;
    bool known = gguf_type_size(type, &values, &bytes);
    assert(known && gguf_type_readable(type) && n % values == 0);
    for (int64_t i = 0; i < n; i += values, blocks += bytes) {
        float *o = out + i;
        switch (type) {
        case GGUF_F32: {
            uint32_t bits = u32_at(blocks);
            memcpy(o, &bits, sizeof bits);
            break;
        }
        case GGUF_F16:
            *o = f16_at(blocks);
            break;
        case GGUF_BF16:
            *o = bf16_to_f32(u16_at(blocks));
            break;
        case GGUF_Q4_0:
            read_q4_0(o, blocks);
            break;
        case GGUF_Q4_1:
            read_q4_1(o, blocks);
            break;
        case GGUF_Q5_0:
            read_q5_0(o, blocks);
            break;
        case GGUF_Q5_1:
            read_q5_1(o, blocks);
            break;
        case GGUF_Q8_0:
            read_q8_0(o, blocks);
            break;
        case GGUF_Q6_K:
            read_q6_k(o, blocks);
            break;
        default:
            read_q45_k(o, blocks, type == GGUF_Q5_K);
        }
    }
}

// -------------------------------------------------------------------------------------------------
// writing: quantize_row_q8_0_ref and quantize_row_q4_0_ref

static void write_q8_0(uint8_t *b, const float *x) {
    float most = 0;
    for (int i = 0; i < QK; i++) most = fmaxf(most, fabsf(x[i]));
    float d = most / 127, inverse = d > 0 ? 1 / d : 0;
    put_u16(b, f16_from_f32(d));
    for (int i = 0; i < QK; i++) b[2 + i] = (uint8_t)(int8_t)roundf(x[i] * inverse);
}

// The value of largest magnitude becomes -8 exactly; its opposite is cut to 7.
static void write_q4_0(uint8_t *b, const float *x) {
    float most = 0, signed_most = 0;
    for (int i = 0; i < QK; i++)
        if (fabsf(x[i]) > most) {
            most = fabsf(x[i]);
            signed_most = x[i];
        }
    float d = signed_most / -8, inverse = d != 0 ? 1 / d : 0;
    put_u16(b, f16_from_f32(d));
    for (int i = 0; i < 16; i++) {
        int low = (int)fminf(15, x[i] * inverse + 8.5f),
            top = (int)fminf(15, x[i + 16] * inverse + 8.5f);
        b[2 + i] = (uint8_t)(low | top << 4);
    }
}

bool gguf_quantise(uint32_t type, uint8_t *blocks, const float *in, int64_t n, const char *name,
                   struct error *err) {
    int64_t values;
    size_t bytes;
    bool quantised = type == GGUF_Q8_0 || type == GGUF_Q4_0;
    if (!quantised && type != GGUF_F32 && type != GGUF_F16 && type != GGUF_BF16)
        return error_set(err, ERR_USAGE, "tensor \"%s\": type %s cannot be written", name,
                         gguf_type_name(type));
    bool known = gguf_type_size(type, &values, &bytes);
    assert(known && n % values == 0);
    // The scale is an f16: a block's largest magnitude over its steps must be one. A value under
    // 2^-110 is written as zero (its scale would be zero as an f16): 1 / scale stays finite.
    float limit = type == GGUF_Q8_0 ? 65504.0f * 127 : 65504.0f * 8;
    for (int64_t i = 0; i < n; i += values, blocks += bytes) {
        float block[QK];
        if (!quantised) {
            uint32_t bits;
            memcpy(&bits, &in[i], sizeof bits);
            if (type == GGUF_F16 && isfinite(in[i]) && fabsf(in[i]) >= 65520)
                return error_set(err, ERR_INPUT, "tensor \"%s\": value %g is over F16's range",
                                 name, (double)in[i]);
            if (type == GGUF_F32) {
                put_u16(blocks, (uint16_t)bits);
                put_u16(blocks + 2, (uint16_t)(bits >> 16));
            } else {
                put_u16(blocks, type == GGUF_F16 ? f16_from_f32(in[i]) : bf16_from_f32(in[i]));
            }
            continue;
        }
        for (int j = 0; j < QK; j++) {
            if (!(fabsf(in[i + j]) <= limit))
                return error_set(err, ERR_INPUT, "tensor \"%s\": %s cannot hold the value %g", name,
                                 gguf_type_name(type), (double)in[i + j]);
            block[j] = fabsf(in[i + j]) < 0x1p-110f ? 0 : in[i + j];
        }
        if (type == GGUF_Q8_0) write_q8_0(blocks, block);
        else write_q4_0(blocks, block);
    }
    return true;
}
