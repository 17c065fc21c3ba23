// Element types of weight files and how a row of each becomes fp32. Block layouts are ggml's; a
// block's numbers are little-endian. Leaves out: quantising, and the IQ and ternary types.
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

static const mla__dtype DTYPES[] = {
    {"F32", 0, 1, 4, read_f32},          {"F16", 1, 1, 2, read_f16},
    {"BF16", 30, 1, 2, read_bf16},       {"Q4_0", 2, 32, 18, read_q4_0},
    {"Q4_1", 3, 32, 20, read_q4_1},      {"Q5_0", 6, 32, 22, read_q5_0},
    {"Q5_1", 7, 32, 24, read_q5_1},      {"Q8_0", 8, 32, 34, read_q8_0},
    {"Q4_K", 12, 256, 144, read_q4_k},   {"Q5_K", 13, 256, 176, read_q5_k},
    {"Q6_K", 14, 256, 210, read_q6_k},
};

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
