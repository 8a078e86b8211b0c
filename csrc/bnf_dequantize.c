/* Weights to floats: for every supported type, which bits make element i and what value they mean.
 * Written for reading and for looking up single rows (token embeddings), not for products; may not depend on the CPU.
 * Source of the formats: ggml-common.h and ggml-quants.c of ggml, ggml-bitnet-mad.cpp of microsoft/BitNet.
 * Next: bnf_layout.h for the diagrams, kernels/scalar/matmul_scalar.c for products. */
#include "bnf_bytes.h"
#include "bnf_math.h"
#include "bnf_ops.h"
#include "bitnet_ffi.h"

static float load_f16(const uint8_t *p)
{
    return bnf_f16_to_f32(bnf_load_u16(p));
}

/* Each function below: the value of element i of the block at s. Products and differences are rounded one by one, in
 * the order in which ggml evaluates them, so that looked-up rows equal its rows. */

static float q4_0_at(const uint8_t *s, int i)
{
    const int nibble = i < 16 ? s[2 + i] & 15 : s[2 + i - 16] >> 4;
    return (float)(nibble - 8) * load_f16(s);
}

static float q4_1_at(const uint8_t *s, int i)
{
    const int nibble = i < 16 ? s[4 + i] & 15 : s[4 + i - 16] >> 4;
    return (float)nibble * load_f16(s) + load_f16(s + 2);
}

static float q5_0_at(const uint8_t *s, int i)
{
    const int nibble = i < 16 ? s[6 + i] & 15 : s[6 + i - 16] >> 4;
    const int high = s[2 + i / 8] >> (i % 8) & 1;
    return (float)((nibble | high << 4) - 16) * load_f16(s);
}

static float q5_1_at(const uint8_t *s, int i)
{
    const int nibble = i < 16 ? s[8 + i] & 15 : s[8 + i - 16] >> 4;
    const int high = s[4 + i / 8] >> (i % 8) & 1;
    return (float)(nibble | high << 4) * load_f16(s) + load_f16(s + 2);
}

static float q8_0_at(const uint8_t *s, int i)
{
    return (float)(int8_t)s[2 + i] * load_f16(s);
}

static float q2_k_at(const uint8_t *s, int i)
{
    const int q = s[16 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const int scale = s[i / 16] & 15, min = s[i / 16] >> 4;
    const float d = load_f16(s + 80) * (float)scale, m = load_f16(s + 82) * (float)min;
    return d * (float)q - m;
}

static float q3_k_at(const uint8_t *s, int i)
{
    const int low = s[32 + i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    const int high = s[i % 32] >> (i / 32) & 1;
    const int g = i / 16;
    const int scale_low = s[96 + g % 8] >> (g / 8 * 4) & 15, scale_high = s[104 + g % 4] >> (g / 4 * 2) & 3;
    const float d = load_f16(s + 108) * (float)((scale_low | scale_high << 4) - 32);
    return d * (float)(low + 4 * high - 4);
}

/* Scale (min = 0) or minimum (min = 1) of sub-block j, 6 bits each, from the twelve bytes of Q4_K and Q5_K. Bytes 0..3
 * hold the first four scales, bytes 4..7 the first four minima, in their low 6 bits; the last four of both have their
 * low nibbles in bytes 8..11 and their high two bits on top of bytes 0..3 and 4..7. */
static int sub_k4_at(const uint8_t *packed, int j, int min)
{
    if (j < 4)
        return packed[4 * min + j] & 63;
    return (packed[4 + j] >> (4 * min) & 15) | packed[4 * min + j - 4] >> 6 << 4;
}

static float k4_value(const uint8_t *s, int i, int q)
{
    const float d = load_f16(s) * (float)sub_k4_at(s + 4, i / 32, 0);
    const float m = load_f16(s + 2) * (float)sub_k4_at(s + 4, i / 32, 1);
    return d * (float)q - m;
}

static float q4_k_at(const uint8_t *s, int i)
{
    return k4_value(s, i, s[16 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15);
}

static float q5_k_at(const uint8_t *s, int i)
{
    const int nibble = s[48 + i / 64 * 32 + i % 32] >> (i / 32 % 2 * 4) & 15;
    const int high = s[16 + i % 32] >> (i / 32) & 1;
    return k4_value(s, i, nibble | high << 4);
}

static float q6_k_at(const uint8_t *s, int i)
{
    const int half = i / 128, quarter = i % 128 / 32, l = i % 32;
    const int low = s[64 * half + 32 * (quarter % 2) + l] >> (quarter / 2 * 4) & 15;
    const int high = s[128 + 32 * half + l] >> (2 * quarter) & 3;
    const float d = load_f16(s + 208) * (float)(int8_t)s[192 + i / 16];
    return d * (float)((low | high << 4) - 32);
}

/* A byte b stands for the fraction b / 256 in base 3; digit n is found by shifting n digits out on the left. */
static float tq1_0_at(const uint8_t *s, int i)
{
    static const uint8_t power[5] = { 1, 3, 9, 27, 81 };
    int byte, digit;
    if (i < 160) {
        byte = s[i % 32];
        digit = i / 32;
    } else if (i < 240) {
        byte = s[32 + (i - 160) % 16];
        digit = (i - 160) / 16;
    } else {
        byte = s[48 + (i - 240) % 4];
        digit = (i - 240) / 4;
    }
    const int fraction = byte * power[digit] & 255;
    return (float)((fraction * 3 >> 8) - 1) * load_f16(s + 52);
}

static float tq2_0_at(const uint8_t *s, int i)
{
    const int code = s[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
    return (float)(code - 1) * load_f16(s + 64);
}

typedef float (*element_fn)(const uint8_t *s, int i);

static void dequantize_blocks(element_fn at, int64_t len, int64_t size, const uint8_t *data, int64_t begin, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t e = begin + i;
        y[i] = at(data + e / len * size, (int)(e % len));
    }
}

static void dequantize_i2_s(const uint8_t *data, float scale, int64_t begin, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i++) {
        const int64_t e = begin + i;
        const int code = data[e / 128 * 32 + e % 32] >> (6 - e % 128 / 32 * 2) & 3;
        y[i] = (float)(code - 1) * scale;
    }
}

void bnf_dequantize(int32_t type, const uint8_t *data, float scale, int64_t begin, int64_t n, float *y)
{
    switch (type) {
    case GGML_TYPE_F32:
        memcpy(y, data + 4 * begin, (size_t)n * sizeof *y);
        break;
    case GGML_TYPE_F16:
        for (int64_t i = 0; i < n; i++)
            y[i] = load_f16(data + 2 * (begin + i));
        break;
    case GGML_TYPE_BF16:
        for (int64_t i = 0; i < n; i++)
            y[i] = bnf_bf16_to_f32(bnf_load_u16(data + 2 * (begin + i)));
        break;
    case GGML_TYPE_Q4_0:  dequantize_blocks(q4_0_at, 32, 18, data, begin, n, y); break;
    case GGML_TYPE_Q4_1:  dequantize_blocks(q4_1_at, 32, 20, data, begin, n, y); break;
    case GGML_TYPE_Q5_0:  dequantize_blocks(q5_0_at, 32, 22, data, begin, n, y); break;
    case GGML_TYPE_Q5_1:  dequantize_blocks(q5_1_at, 32, 24, data, begin, n, y); break;
    case GGML_TYPE_Q8_0:  dequantize_blocks(q8_0_at, 32, 34, data, begin, n, y); break;
    case GGML_TYPE_Q2_K:  dequantize_blocks(q2_k_at, 256, 84, data, begin, n, y); break;
    case GGML_TYPE_Q3_K:  dequantize_blocks(q3_k_at, 256, 110, data, begin, n, y); break;
    case GGML_TYPE_Q4_K:  dequantize_blocks(q4_k_at, 256, 144, data, begin, n, y); break;
    case GGML_TYPE_Q5_K:  dequantize_blocks(q5_k_at, 256, 176, data, begin, n, y); break;
    case GGML_TYPE_Q6_K:  dequantize_blocks(q6_k_at, 256, 210, data, begin, n, y); break;
    case GGML_TYPE_TQ1_0: dequantize_blocks(tq1_0_at, 256, 54, data, begin, n, y); break;
    case GGML_TYPE_TQ2_0: dequantize_blocks(tq2_0_at, 256, 66, data, begin, n, y); break;
    case GGML_TYPE_I2_S:  dequantize_i2_s(data, scale, begin, n, y); break;
    default: break; /* no other type passes the loader (bnf_type_traits) */
    }
}
