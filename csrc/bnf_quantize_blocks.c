/* One function a format, each from the format's definition in bnf_layout.h; how a value is rounded is what must equal
 * llama.cpp's ggml-quants.c (quantize_row_*_ref), bit for bit, so every float operation below stands as written: products
 * and sums are rounded one by one, none is fused. May not allocate or fail: the caller has checked that values are finite.
 * Source of the rounding rules: ggml-quants.c of ggml; of I2_S: quantize_i2_s of microsoft/BitNet's fork. */
#include "bnf_quantize_blocks.h"

#include <math.h>
#include <string.h>

#include "bitnet_ffi.h"
#include "bnf_bytes.h"
#include "bnf_layout.h"
#include "bnf_math.h"

enum { HALF = 16, BLOCK = 32, SUPER = 256 };

static void store_f16(uint8_t *p, float x)
{
    const uint16_t half = bnf_f32_to_f16(x);
    memcpy(p, &half, sizeof half);
}

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

/* To the nearest integer, ties to even; |x| < 2^22. */
static int nearest(float x)
{
    return (int)rintf(x);
}

static int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* The element of largest absolute value, with its sign; the first of several. */
static float extreme(const float *x, int n)
{
    float largest = 0.0f, value = 0.0f;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > largest) {
            largest = fabsf(x[i]);
            value = x[i];
        }
    return value;
}

/* ---- blocks of 32 ---- */

static void to_q8_0(const float *x, uint8_t *block)
{
    const float d = fabsf(extreme(x, BLOCK)) / 127.0f, id = inverse(d);
    store_f16(block, d);
    for (int i = 0; i < BLOCK; i++)
        block[2 + i] = (uint8_t)(int8_t)roundf(x[i] * id);
}

/* Codes 0 .. 2 zero - 1 around `zero`, which stands for 0; the extreme element gets code 0, so d may be negative. */
static void symmetric_codes(const float *x, int zero, float *d, uint8_t *codes)
{
    *d = extreme(x, BLOCK) / (float)-zero;
    const float id = inverse(*d), half = (float)zero + 0.5f;
    for (int i = 0; i < BLOCK; i++) {
        const float scaled = x[i] * id;
        codes[i] = (uint8_t)clamp((int8_t)(scaled + half), -128, 2 * zero - 1);
    }
}

/* Codes 0 .. most from the smallest element up. */
static void offset_codes(const float *x, int most, float *d, float *min, uint8_t *codes)
{
    float low = x[0], high = x[0];
    for (int i = 1; i < BLOCK; i++) {
        low = x[i] < low ? x[i] : low;
        high = x[i] > high ? x[i] : high;
    }
    *d = (high - low) / (float)most;
    *min = low;
    const float id = inverse(*d);
    for (int i = 0; i < BLOCK; i++) {
        const float scaled = (x[i] - low) * id;
        codes[i] = (uint8_t)clamp((int)(scaled + 0.5f), 0, most);
    }
}

static void put_nibbles(const uint8_t *codes, uint8_t *qs)
{
    for (int i = 0; i < HALF; i++)
        qs[i] = (uint8_t)((codes[i] & 15) | (codes[i + HALF] & 15) << 4);
}

static void put_fifth_bits(const uint8_t *codes, uint8_t *qh)
{
    memset(qh, 0, 4);
    for (int i = 0; i < BLOCK; i++)
        qh[i / 8] = (uint8_t)(qh[i / 8] | (codes[i] >> 4 & 1) << (i % 8));
}

static void to_q4_0(const float *x, uint8_t *block)
{
    uint8_t codes[BLOCK];
    float d;
    symmetric_codes(x, 8, &d, codes);
    store_f16(block, d);
    put_nibbles(codes, block + 2);
}

static void to_q5_0(const float *x, uint8_t *block)
{
    uint8_t codes[BLOCK];
    float d;
    symmetric_codes(x, 16, &d, codes);
    store_f16(block, d);
    put_fifth_bits(codes, block + 2);
    put_nibbles(codes, block + 6);
}

static void to_q4_1(const float *x, uint8_t *block)
{
    uint8_t codes[BLOCK];
    float d, min;
    offset_codes(x, 15, &d, &min, codes);
    store_f16(block, d);
    store_f16(block + 2, min);
    put_nibbles(codes, block + 4);
}

static void to_q5_1(const float *x, uint8_t *block)
{
    uint8_t codes[BLOCK];
    float d, min;
    offset_codes(x, 31, &d, &min, codes);
    store_f16(block, d);
    store_f16(block + 2, min);
    put_fifth_bits(codes, block + 4);
    put_nibbles(codes, block + 8);
}

/* ---- Q6_K: 256 elements, a sub-scale for every 16 ---- */

#define TINY 1e-15f /* a group no larger than this is all zeros */

/* Two sums that say how well codes round(inv_scale x) fit 16 values, each weighted with its square: the best scale for these
 * codes is along / square, and then along^2 / square of the weighted energy is explained. */
struct fit {
    float along, square;
};

static int q6_code(float x, float inv_scale)
{
    return clamp(nearest(inv_scale * x), -32, 31);
}

static struct fit fit_of(const float *x, float inv_scale)
{
    struct fit fit = {0.0f, 0.0f};
    for (int i = 0; i < HALF; i++) {
        const float code = (float)q6_code(x[i], inv_scale), weight = x[i] * x[i];
        fit.along += weight * x[i] * code;
        fit.square += weight * code * code;
    }
    return fit;
}

/* The scale of 16 values that explains most, among those that map the extreme value to -32 - step / 10, step -9 .. 9; and
 * their codes by it, which stay where the scale itself is lost to rounding. */
static float q6_search(const float *x, uint8_t *codes)
{
    const float top = extreme(x, HALF);
    memset(codes, 0, HALF);
    if (fabsf(top) < TINY)
        return 0.0f;
    float inv_scale = -32.0f / top;
    struct fit fit = fit_of(x, inv_scale);
    float scale = fit.square != 0.0f ? fit.along / fit.square : 0.0f, best = scale * fit.along;
    for (int step = -9; step <= 9; step++) {
        if (step == 0)
            continue;
        const float other = -(32.0f + 0.1f * (float)step) / top;
        fit = fit_of(x, other);
        if (fit.square > 0.0f && fit.along * fit.along > best * fit.square) {
            scale = fit.along / fit.square;
            best = scale * fit.along;
            inv_scale = other;
        }
    }
    for (int i = 0; i < HALF; i++)
        codes[i] = (uint8_t)(32 + q6_code(x[i], inv_scale));
    return scale;
}

static void put_q6_codes(const uint8_t *codes, uint8_t *low, uint8_t *high)
{
    for (int half = 0; half < 2; half++, codes += 128, low += 64, high += 32)
        for (int i = 0; i < 32; i++) {
            const uint8_t a = codes[i], b = codes[i + 32], c = codes[i + 64], d = codes[i + 96];
            low[i] = (uint8_t)((a & 15) | (c & 15) << 4);
            low[i + 32] = (uint8_t)((b & 15) | (d & 15) << 4);
            high[i] = (uint8_t)(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6);
        }
}

static void to_q6_k(const float *x, uint8_t *block)
{
    float scales[HALF];
    uint8_t codes[SUPER];
    for (int j = 0; j < HALF; j++)
        scales[j] = q6_search(x + HALF * j, codes + HALF * j);
    const float top = extreme(scales, HALF);
    memset(block, 0, 210);
    if (fabsf(top) < TINY)
        return;
    const float inv_scale = -128.0f / top;
    store_f16(block + 208, 1.0f / inv_scale);
    const float d = bnf_f16_to_f32(bnf_load_u16(block + 208));
    for (int j = 0; j < HALF; j++) {
        const int sub = clamp(nearest(inv_scale * scales[j]), -128, 127);
        const float step = d * (float)sub;
        block[192 + j] = (uint8_t)(int8_t)sub;
        for (int i = 0; step != 0.0f && i < HALF; i++)
            codes[HALF * j + i] = (uint8_t)(32 + clamp(nearest(x[HALF * j + i] / step), -32, 31));
    }
    put_q6_codes(codes, block, block + 128);
}

/* ---- ternary ---- */

/* A digit 0, 1, 2 of x / d; a zero where d is so small that 1 / d is infinite. */
static unsigned digit(float x, float id)
{
    const float v = x * id;
    return !isfinite(v) ? 1 : v >= 0.5f ? 2 : v <= -0.5f ? 0 : 1;
}

static void to_tq2_0(const float *x, uint8_t *block)
{
    const float d = fabsf(extreme(x, SUPER)), id = inverse(d);
    memset(block, 0, 64);
    for (int i = 0; i < SUPER; i++) {
        uint8_t *byte = block + i / 128 * 32 + i % 32;
        *byte = (uint8_t)(*byte | digit(x[i], id) << (i % 128 / 32 * 2));
    }
    store_f16(block + 64, d);
}

/* n digits, `stride` elements apart, as the first of five of a fraction in base 3, in 256ths rounded up. */
static uint8_t fraction(const float *x, int n, int stride, float id)
{
    unsigned number = 0;
    for (int i = 0; i < 5; i++)
        number = 3 * number + (i < n ? digit(x[i * stride], id) : 0);
    return (uint8_t)((number * 256 + 242) / 243);
}

static void to_tq1_0(const float *x, uint8_t *block)
{
    const float d = fabsf(extreme(x, SUPER)), id = inverse(d);
    for (int i = 0; i < 32; i++)
        block[i] = fraction(x + i, 5, 32, id);
    for (int i = 0; i < 16; i++)
        block[32 + i] = fraction(x + 160 + i, 5, 16, id);
    for (int i = 0; i < 4; i++)
        block[48 + i] = fraction(x + 240 + i, 4, 4, id);
    store_f16(block + 52, d);
}

static void to_i2_s(const float *x, uint8_t *group)
{
    memset(group, 0, 32);
    for (int i = 0; i < 128; i++) {
        const unsigned code = fabs((double)x[i]) < 1e-6 ? 1 : x[i] < 0.0f ? 0 : 2;
        group[i % 32] = (uint8_t)(group[i % 32] | code << (6 - i / 32 * 2));
    }
}

/* ---- floats ---- */

static void to_f32(const float *x, uint8_t *dst) { memcpy(dst, x, sizeof *x); }
static void to_f16(const float *x, uint8_t *dst) { store_f16(dst, *x); }

/* To nearest, ties to even. */
static void to_bf16(const float *x, uint8_t *dst)
{
    uint32_t bits;
    memcpy(&bits, x, sizeof bits);
    const uint16_t upper = (uint16_t)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
    memcpy(dst, &upper, sizeof upper);
}

/* ---- all ---- */

typedef void (*block_fn)(const float *x, uint8_t *block);

static block_fn writer_of(int32_t type)
{
    switch (type) {
    case GGML_TYPE_F32:   return to_f32;
    case GGML_TYPE_F16:   return to_f16;
    case GGML_TYPE_BF16:  return to_bf16;
    case GGML_TYPE_Q4_0:  return to_q4_0;
    case GGML_TYPE_Q4_1:  return to_q4_1;
    case GGML_TYPE_Q5_0:  return to_q5_0;
    case GGML_TYPE_Q5_1:  return to_q5_1;
    case GGML_TYPE_Q8_0:  return to_q8_0;
    case GGML_TYPE_Q6_K:  return to_q6_k;
    case GGML_TYPE_TQ1_0: return to_tq1_0;
    case GGML_TYPE_TQ2_0: return to_tq2_0;
    case GGML_TYPE_I2_S:  return to_i2_s;
    default:              return NULL;
    }
}

bool bnf_can_quantize(int32_t type)
{
    return writer_of(type) != NULL;
}

void bnf_quantize_blocks(int32_t type, const float *x, int64_t n, uint8_t *dst)
{
    const struct bnf_type_traits *traits = bnf_type_traits(type);
    const block_fn write = writer_of(type);
    for (int64_t i = 0; i < n / traits->block_len; i++)
        write(x + i * traits->block_len, dst + i * traits->block_size);
}

void bnf_range_add(struct bnf_range *range, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float a = fabsf(x[i]);
        if (!isfinite(x[i]))
            range->not_finite = true;
        else if (a > range->max)
            range->max = a;
        if ((double)a >= 1e-6 && (range->least == 0.0f || a < range->least))
            range->least = a;
    }
}
