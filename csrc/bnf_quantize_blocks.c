/* One function a format, each from the format's definition in bnf_layout.h; how a value is rounded is what must equal
 * llama.cpp's ggml-quants.c (quantize_row_*_ref), bit for bit, so every float operation below stands as written: products
 * and sums are rounded one by one, none is fused. May not allocate or fail: the caller has checked that values are finite.
 * Source of the rounding rules: ggml-quants.c of ggml; of I2_S: quantize_i2_s of microsoft/BitNet's fork. */
#include "bnf_quantize_parts.h"

#include "bitnet_ffi.h"

static float inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
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
    case GGML_TYPE_TQ1_0: return to_tq1_0;
    case GGML_TYPE_TQ2_0: return to_tq2_0;
    case GGML_TYPE_I2_S:  return to_i2_s;
    default:              return NULL;
    }
}

static bool is_k(int32_t type)
{
    return type >= GGML_TYPE_Q2_K && type <= GGML_TYPE_Q6_K;
}

bool bnf_can_quantize(int32_t type)
{
    return is_k(type) || writer_of(type) != NULL;
}

bool bnf_quantize_weighs(int32_t type)
{
    return is_k(type) || type == GGML_TYPE_Q4_0 || type == GGML_TYPE_Q4_1 || type == GGML_TYPE_Q5_0 || type == GGML_TYPE_Q5_1;
}

void bnf_quantize_blocks(const struct bnf_ops *ops, int32_t type, const float *x, int64_t n, uint8_t *dst)
{
    const struct bnf_type_traits *traits = bnf_type_traits(type);
    const block_fn write = writer_of(type);
    if (is_k(type)) {
        bnf_quantize_k(ops, type, x, n / SUPER, NULL, 1, dst);
        return;
    }
    for (int64_t i = 0; i < n / traits->block_len; i++)
        write(x + i * traits->block_len, dst + i * traits->block_size);
}

void bnf_quantize_rows(const struct bnf_ops *ops, int32_t type, const float *x, int64_t k, int64_t m, const float *importance, uint8_t *dst)
{
    const struct bnf_type_traits *traits = bnf_type_traits(type);
    if (importance == NULL || !bnf_quantize_weighs(type)) {
        bnf_quantize_blocks(ops, type, x, k * m, dst);
        return;
    }
    if (is_k(type)) {
        bnf_quantize_k(ops, type, x, k / SUPER * m, importance, k / SUPER, dst);
        return;
    }
    for (int64_t row = 0; row < m; row++)
        bnf_quantize_weighted(ops, type, x + row * k, k, importance, dst + row * (k / traits->block_len) * traits->block_size);
}

/* Where the f16 numbers of a block lie, and how many there are, two bytes apart. */
static void scales_of(int32_t type, int *offset, int *count)
{
    *offset = 0;
    *count = 1;
    switch (type) {
    case GGML_TYPE_F32: case GGML_TYPE_BF16: case GGML_TYPE_I2_S: *count = 0; break;
    case GGML_TYPE_Q4_1: case GGML_TYPE_Q5_1: case GGML_TYPE_Q4_K: case GGML_TYPE_Q5_K: *count = 2; break;
    case GGML_TYPE_Q2_K: *offset = 80, *count = 2; break;
    case GGML_TYPE_Q3_K: *offset = 108; break;
    case GGML_TYPE_Q6_K: *offset = 208; break;
    case GGML_TYPE_TQ2_0: *offset = 64; break;
    case GGML_TYPE_TQ1_0: *offset = 52; break;
    default: break;
    }
}

bool bnf_scales_finite(int32_t type, const uint8_t *blocks, int64_t n)
{
    const struct bnf_type_traits *traits = bnf_type_traits(type);
    unsigned beyond = 0;
    int offset, count;
    scales_of(type, &offset, &count);
    for (int64_t i = 0; i < n / traits->block_len; i++)
        for (int c = 0; c < count; c++)
            beyond |= (bnf_load_u16(blocks + i * traits->block_size + offset + 2 * c) & 0x7c00) == 0x7c00;
    return !beyond;
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
