// Element types of weight files, how a row of each becomes fp32, and how fp32 becomes the types
// that are written. Block layouts and rounding are ggml's; a block's numbers are little-endian.
// Leaves out: quantising to types other than Q8_0 and Q4_0, and the IQ and ternary types.
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/weights_internal.h"

static uint16_t load_u16(const uint8_t *src) {
    return (uint16_t)(src[0] | src[1] << 8);
}

static uint32_t load_u32(const uint8_t *src) {
    return load_u16(src) | (uint32_t)load_u16(src + 2) << 16;
}

static float from_bits(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float load_f16(const uint8_t *src) {
    uint32_t half = load_u16(src);
    uint32_t sign = (half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 1023;
    if (exponent == 31) return from_bits(sign | 0x7f800000 | fraction << 13);
    if (exponent) return from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float subnormal = (float)fraction * 0x1p-24f;
    return sign ? -subnormal : subnormal;
}

uint16_t mla__bf16_round(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);  // a quiet NaN
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

uint16_t mla__f16_round(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return sign | 0x7e00;
    if (magnitude >= 0x477ff000) return sign | 0x7c00;         // from 65520 on: infinity
    if (magnitude >= 0x38800000) {                             // normal: drop 13 bits of fraction
        uint32_t rebased = magnitude - (112u << 23);
        return sign | (uint16_t)((rebased + 0xfff + (rebased >> 13 & 1)) >> 13);
    }
    // Subnormal: a multiple of 2^-24, which the addition rounds to.
    float shifted = fabsf(value) + 0.5f;
    memcpy(&bits, &shifted, sizeof bits);
    return sign | (uint16_t)(bits - 0x3f000000);
}

static void read_f32(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) dst[i] = from_bits(load_u32(src + 4 * i));
}

static void read_f16(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) dst[i] = load_f16(src + 2 * i);
}

static void read_bf16(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) dst[i] = from_bits((uint32_t)load_u16(src + 2 * i) << 16);
}

static void read_q4_0(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 18, dst += 32) {
        float d = load_f16(src);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)((src[2 + j] & 15) - 8) * d;
            dst[j + 16] = (float)((src[2 + j] >> 4) - 8) * d;
        }
    }
}

static void read_q4_1(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 20, dst += 32) {
        float d = load_f16(src), min = load_f16(src + 2);
        for (int j = 0; j < 16; j++) {
            dst[j] = (float)(src[4 + j] & 15) * d + min;
            dst[j + 16] = (float)(src[4 + j] >> 4) * d + min;
        }
    }
}

// The 5-bit types keep each value's highest bit apart, in a word of 32 bits.
static void read_q5_0(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 22, dst += 32) {
        float d = load_f16(src);
        uint32_t high = load_u32(src + 2);
        for (int j = 0; j < 16; j++) {
            int lower = (src[6 + j] & 15) | (int)(high >> j & 1) << 4;
            int upper = src[6 + j] >> 4 | (int)(high >> (j + 16) & 1) << 4;
            dst[j] = (float)(lower - 16) * d;
            dst[j + 16] = (float)(upper - 16) * d;
        }
    }
}

static void read_q5_1(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 24, dst += 32) {
        float d = load_f16(src), min = load_f16(src + 2);
        uint32_t high = load_u32(src + 4);
        for (int j = 0; j < 16; j++) {
            int lower = (src[8 + j] & 15) | (int)(high >> j & 1) << 4;
            int upper = src[8 + j] >> 4 | (int)(high >> (j + 16) & 1) << 4;
            dst[j] = (float)lower * d + min;
            dst[j + 16] = (float)upper * d + min;
        }
    }
}

static void read_q8_0(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 34, dst += 32) {
        float d = load_f16(src);
        for (int j = 0; j < 32; j++) dst[j] = (float)(int8_t)src[2 + j] * d;
    }
}

// Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima into twelve bytes: the low six bits
// of bytes 0-7 hold the first four of each; their top two bits and bytes 8-11 hold the last four.
static void unpack_scales(const uint8_t packed[12], uint8_t scale[8], uint8_t min[8]) {
    for (int j = 0; j < 4; j++) {
        scale[j] = packed[j] & 63;
        min[j] = packed[j + 4] & 63;
        scale[j + 4] = (uint8_t)((packed[j + 8] & 15) | packed[j] >> 6 << 4);
        min[j + 4] = (uint8_t)(packed[j + 8] >> 4 | packed[j + 4] >> 6 << 4);
    }
}

static void read_q4_k(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 144, dst += 256) {
        float d = load_f16(src), dmin = load_f16(src + 2);
        uint8_t scale[8], min[8];
        unpack_scales(src + 4, scale, min);
        for (int s = 0; s < 8; s++) {
            const uint8_t *low = src + 16 + s / 2 * 32;
            float ds = d * (float)scale[s], ms = dmin * (float)min[s];
            for (int j = 0; j < 32; j++)
                dst[32 * s + j] = ds * (float)(low[j] >> s % 2 * 4 & 15) - ms;
        }
    }
}

static void read_q5_k(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 176, dst += 256) {
        float d = load_f16(src), dmin = load_f16(src + 2);
        uint8_t scale[8], min[8];
        unpack_scales(src + 4, scale, min);
        for (int s = 0; s < 8; s++) {
            const uint8_t *high = src + 16, *low = src + 48 + s / 2 * 32;
            float ds = d * (float)scale[s], ms = dmin * (float)min[s];
            for (int j = 0; j < 32; j++) {
                int q = (low[j] >> s % 2 * 4 & 15) | (high[j] >> s & 1) << 4;
                dst[32 * s + j] = ds * (float)q - ms;
            }
        }
    }
}

// Two halves of 128 values; in each, four runs of 32 share 64 bytes of low and 32 of high bits.
static void read_q6_k(const uint8_t *src, float *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 210, dst += 256) {
        float d = load_f16(src + 208);
        for (int run = 0; run < 8; run++) {
            int half = run / 4, quarter = run % 4;
            const uint8_t *low = src + 64 * half + 32 * (quarter % 2);
            const uint8_t *high = src + 128 + 32 * half;
            const uint8_t *scale = src + 192 + 8 * half + 2 * quarter;
            for (int j = 0; j < 32; j++) {
                int q = (low[j] >> quarter / 2 * 4 & 15) | (high[j] >> 2 * quarter & 3) << 4;
                dst[32 * run + j] = d * (float)(int8_t)scale[j / 16] * (float)(q - 32);
            }
        }
    }
}

// ---- writing ---------------------------------------------------------------------------------

static void store_u16(uint8_t *dst, uint16_t value) {
    dst[0] = (uint8_t)value;
    dst[1] = (uint8_t)(value >> 8);
}

static void write_f32(const float *src, uint8_t *dst, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) {
        uint32_t bits;
        memcpy(&bits, &src[i], sizeof bits);
        store_u16(dst + 4 * i, (uint16_t)bits);
        store_u16(dst + 4 * i + 2, (uint16_t)(bits >> 16));
    }
}

static void write_f16(const float *src, uint8_t *dst, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) store_u16(dst + 2 * i, mla__f16_round(src[i]));
}

static void write_bf16(const float *src, uint8_t *dst, size_t blocks) {
    for (size_t i = 0; i < blocks; i++) store_u16(dst + 2 * i, mla__bf16_round(src[i]));
}

// The value of the largest magnitude, the first of equals.
static float extreme(const float *src, int n) {
    float most = src[0];
    for (int j = 1; j < n; j++)
        if (fabsf(src[j]) > fabsf(most)) most = src[j];
    return most;
}

// Of a block's scale; 0 for scales that are 0 or whose inverse would be no number.
static float inverse_of(float d) {
    return fabsf(d) >= FLT_MIN ? 1 / d : 0;
}

// The value of the largest magnitude becomes -8, exactly; so positive ones reach 7 only.
static void write_q4_0(const float *src, uint8_t *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 32, dst += 18) {
        float d = extreme(src, 32) / -8, inverse = inverse_of(d);
        store_u16(dst, mla__f16_round(d));
        for (int j = 0; j < 16; j++) {
            int low = (int)(src[j] * inverse + 8.5f), high = (int)(src[j + 16] * inverse + 8.5f);
            dst[2 + j] = (uint8_t)((low < 15 ? low : 15) | (high < 15 ? high : 15) << 4);
        }
    }
}

static void write_q8_0(const float *src, uint8_t *dst, size_t blocks) {
    for (size_t b = 0; b < blocks; b++, src += 32, dst += 34) {
        float d = fabsf(extreme(src, 32)) / 127, inverse = inverse_of(d);
        store_u16(dst, mla__f16_round(d));
        for (int j = 0; j < 32; j++) dst[2 + j] = (uint8_t)(int8_t)roundf(src[j] * inverse);
    }
}

// Half precision ends at 65504; a block's scale is stored in it.
static const mla__dtype DTYPES[] = {
    {"F32", 0, 1, 4, read_f32, write_f32, FLT_MAX},
    {"F16", 1, 1, 2, read_f16, write_f16, 65504},
    {"BF16", 30, 1, 2, read_bf16, write_bf16, 3.396e38f},
    {"Q4_0", 2, 32, 18, read_q4_0, write_q4_0, 65504 * 8.0f},
    {"Q4_1", 3, 32, 20, read_q4_1, NULL, 0},
    {"Q5_0", 6, 32, 22, read_q5_0, NULL, 0},
    {"Q5_1", 7, 32, 24, read_q5_1, NULL, 0},
    {"Q8_0", 8, 32, 34, read_q8_0, write_q8_0, 65504 * 127.0f},
    {"Q4_K", 12, 256, 144, read_q4_k, NULL, 0},
    {"Q5_K", 13, 256, 176, read_q5_k, NULL, 0},
    {"Q6_K", 14, 256, 210, read_q6_k, NULL, 0},
};
_Static_assert(MLA_COUNT(DTYPES) == MLA_WEIGHTS_TYPES, "the header counts the storage types");

const mla__dtype *mla__dtype_by_ggml(uint32_t number) {
    for (size_t i = 0; i < MLA_COUNT(DTYPES); i++)
        if (DTYPES[i].ggml == number) return &DTYPES[i];
    return NULL;
}

const mla__dtype *mla__dtype_by_name(const char *name) {
    for (size_t i = 0; i < MLA_COUNT(DTYPES); i++)
        if (!strcmp(DTYPES[i].name, name)) return &DTYPES[i];
    return NULL;
}
