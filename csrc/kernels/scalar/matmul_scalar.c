/* Products of weights in their file layout with prepared activations: the readable statement of bnf_ops.h.
 * A row is decoded once, a block at a time, and met with every column; y holds the running sums.
 * May not reorder a float operation. Next: csrc/bnf_layout.h and bnf_dequantize.c say what the bits mean. */
#include "bnf_bytes.h"
#include "bnf_math.h"
#include "kernels_scalar.h"

static float load_f16(const uint8_t *p)
{
    return bnf_f16_to_f32(bnf_load_u16(p));
}

/* ---- float weights: activations as they are ---- */

static float dot_lanes16(const float *w, const float *x, int64_t k)
{
    float lane[16] = { 0.0f };
    for (int64_t i = 0; i < k; i++)
        lane[i % 16] = bnf_fmaf(w[i], x[i], lane[i % 16]);
    for (int width = 8; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            lane[i] += lane[i + width];
    return lane[0];
}

typedef void (*decode_row_fn)(const uint8_t *row, int64_t k, float *out);

static void matmul_float(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride, int64_t row0,
                         int64_t row1, float *row, decode_row_fn decode)
{
    for (int64_t r = row0; r < row1; r++) {
        decode(w->data + (uint64_t)r * w->row_size, w->k, row);
        for (int64_t c = 0; c < x->n_cols; c++)
            y[c * y_stride + r] = dot_lanes16(row, x->f + c * x->f_stride, w->k);
    }
}

static void decode_f32(const uint8_t *row, int64_t k, float *out)
{
    memcpy(out, row, (size_t)k * sizeof *out);
}

static void decode_f16(const uint8_t *row, int64_t k, float *out)
{
    for (int64_t i = 0; i < k; i++)
        out[i] = load_f16(row + 2 * i);
}

static void decode_bf16(const uint8_t *row, int64_t k, float *out)
{
    for (int64_t i = 0; i < k; i++)
        out[i] = bnf_bf16_to_f32(bnf_load_u16(row + 2 * i));
}

/* ---- block formats: 32 elements at a time ---- */

/* 32 consecutive elements of a row. Value of element i: code[i] * sub[i / 16] * d + min[i / 16] * m.
 * Bounds: |code| <= 128, |sub| <= 128, 0 <= min <= 63, so that the sums below stay under 2^25. */
struct block {
    int32_t code[32];
    int32_t sub[2], min[2];
    float d, m;
};

/* Decode the 32 elements number `part` of the block at s. */
typedef void (*decode_block_fn)(const uint8_t *s, int part, struct block *b);

struct format {
    decode_block_fn decode;
    int32_t block_len, block_size;
    bool has_min;
};

static void set_sub(struct block *b, int sub0, int sub1, int min0, int min1)
{
    b->sub[0] = sub0;
    b->sub[1] = sub1;
    b->min[0] = min0;
    b->min[1] = min1;
}

static void decode_q4_0(const uint8_t *s, int part, struct block *b)
{
    (void)part;
    b->d = load_f16(s);
    for (int i = 0; i < 16; i++) {
        b->code[i] = (s[2 + i] & 15) - 8;
        b->code[i + 16] = (s[2 + i] >> 4) - 8;
    }
    set_sub(b, 1, 1, 0, 0);
}

static void decode_q4_1(const uint8_t *s, int part, struct block *b)
{
    (void)part;
    b->d = load_f16(s);
    b->m = load_f16(s + 2);
    for (int i = 0; i < 16; i++) {
        b->code[i] = s[4 + i] & 15;
        b->code[i + 16] = s[4 + i] >> 4;
    }
    set_sub(b, 1, 1, 1, 1);
}

static void decode_q5_0(const uint8_t *s, int part, struct block *b)
{
    (void)part;
    const uint32_t high = bnf_load_u32(s + 2);
    b->d = load_f16(s);
    for (int i = 0; i < 16; i++) {
        b->code[i] = (int32_t)((s[6 + i] & 15u) | (high >> i & 1) << 4) - 16;
        b->code[i + 16] = (int32_t)((uint32_t)s[6 + i] >> 4 | (high >> (i + 16) & 1) << 4) - 16;
    }
    set_sub(b, 1, 1, 0, 0);
}

static void decode_q5_1(const uint8_t *s, int part, struct block *b)
{
    (void)part;
    const uint32_t high = bnf_load_u32(s + 4);
    b->d = load_f16(s);
    b->m = load_f16(s + 2);
    for (int i = 0; i < 16; i++) {
        b->code[i] = (int32_t)((s[8 + i] & 15u) | (high >> i & 1) << 4);
        b->code[i + 16] = (int32_t)((uint32_t)s[8 + i] >> 4 | (high >> (i + 16) & 1) << 4);
    }
    set_sub(b, 1, 1, 1, 1);
}

static void decode_q8_0(const uint8_t *s, int part, struct block *b)
{
    (void)part;
    b->d = load_f16(s);
    for (int i = 0; i < 32; i++)
        b->code[i] = (int8_t)s[2 + i];
    set_sub(b, 1, 1, 0, 0);
}

static void decode_q2_k(const uint8_t *s, int part, struct block *b)
{
    const uint8_t *scales = s + 2 * part, *qs = s + 16 + 32 * (part / 4);
    b->d = load_f16(s + 80);
    b->m = -load_f16(s + 82);
    for (int i = 0; i < 32; i++)
        b->code[i] = qs[i] >> (2 * (part % 4)) & 3;
    set_sub(b, scales[0] & 15, scales[1] & 15, scales[0] >> 4, scales[1] >> 4);
}

/* Six bits of sub-scale i (0..15): the low four in scales[i % 8], the high two in scales[8 + i % 4]. */
static int sub_scale_q3_k(const uint8_t *scales, int i)
{
    const int low = i < 8 ? scales[i] & 15 : scales[i - 8] >> 4;
    const int high = scales[8 + i % 4] >> (2 * (i / 4)) & 3;
    return (low | high << 4) - 32;
}

static void decode_q3_k(const uint8_t *s, int part, struct block *b)
{
    const uint8_t *high = s, *qs = s + 32 + 32 * (part / 4), *scales = s + 96;
    b->d = load_f16(s + 108);
    for (int i = 0; i < 32; i++)
        b->code[i] = (qs[i] >> (2 * (part % 4)) & 3) - (high[i] >> part & 1 ? 0 : 4);
    set_sub(b, sub_scale_q3_k(scales, 2 * part), sub_scale_q3_k(scales, 2 * part + 1), 0, 0);
}

/* Q4_K and Q5_K pack eight 6-bit scales and eight 6-bit minima into twelve bytes. */
static void set_sub_k4(struct block *b, const uint8_t *scales, int part)
{
    int sub, min;
    if (part < 4) {
        sub = scales[part] & 63;
        min = scales[part + 4] & 63;
    } else {
        sub = (scales[part + 4] & 15) | scales[part - 4] >> 6 << 4;
        min = scales[part + 4] >> 4 | scales[part] >> 6 << 4;
    }
    set_sub(b, sub, sub, min, min);
}

static void decode_q4_k(const uint8_t *s, int part, struct block *b)
{
    const uint8_t *qs = s + 16 + 32 * (part / 2);
    b->d = load_f16(s);
    b->m = -load_f16(s + 2);
    for (int i = 0; i < 32; i++)
        b->code[i] = part % 2 ? qs[i] >> 4 : qs[i] & 15;
    set_sub_k4(b, s + 4, part);
}

static void decode_q5_k(const uint8_t *s, int part, struct block *b)
{
    const uint8_t *high = s + 16, *qs = s + 48 + 32 * (part / 2);
    b->d = load_f16(s);
    b->m = -load_f16(s + 2);
    for (int i = 0; i < 32; i++)
        b->code[i] = (part % 2 ? qs[i] >> 4 : qs[i] & 15) | (high[i] >> part & 1) << 4;
    set_sub_k4(b, s + 4, part);
}

static void decode_q6_k(const uint8_t *s, int part, struct block *b)
{
    const int half = part / 4, quarter = part % 4;
    const uint8_t *low = s + 64 * half + 32 * (quarter % 2), *high = s + 128 + 32 * half;
    const uint8_t *scales = s + 192 + 2 * part;
    b->d = load_f16(s + 208);
    for (int i = 0; i < 32; i++)
        b->code[i] = ((quarter < 2 ? low[i] & 15 : low[i] >> 4) | (high[i] >> (2 * quarter) & 3) << 4) - 32;
    set_sub(b, (int8_t)scales[0], (int8_t)scales[1], 0, 0);
}

/* acc + the block's share of row * column; q: 32 activations, sum16: their two sums, da: their scale. */
static float block_dot(const struct block *b, bool has_min, const int8_t *q, const int16_t *sum16, float da, float acc)
{
    int32_t dot[2] = { 0, 0 };
    for (int i = 0; i < 32; i++)
        dot[i / 16] += b->code[i] * q[i];
    acc = bnf_fmaf((float)(b->sub[0] * dot[0] + b->sub[1] * dot[1]), b->d * da, acc);
    if (has_min)
        acc = bnf_fmaf((float)(b->min[0] * sum16[0] + b->min[1] * sum16[1]), b->m * da, acc);
    return acc;
}

static void matmul_blocks(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride, int64_t row0,
                          int64_t row1, const struct format *format)
{
    const int parts = format->block_len / 32;
    for (int64_t r = row0; r < row1; r++) {
        const uint8_t *row = w->data + (uint64_t)r * w->row_size;
        for (int64_t c = 0; c < x->n_cols; c++)
            y[c * y_stride + r] = 0.0f;
        for (int64_t i = 0; i < w->k / 32; i++) {
            struct block b;
            format->decode(row + i / parts * format->block_size, (int)(i % parts), &b);
            for (int64_t c = 0; c < x->n_cols; c++) {
                float *acc = &y[c * y_stride + r];
                const int64_t at = c * x->q_stride + 32 * i;
                *acc = block_dot(&b, format->has_min, x->q + at, x->sum16 + at / 16, x->scale[at / 32], *acc);
            }
        }
    }
}

/* ---- ternary weights: whole numbers to the end ---- */

/* |code| <= 2 and |q| <= 127: exact for k up to 2^23. */
static int32_t ternary_dot(const int8_t *code, const int8_t *q, int64_t k)
{
    int32_t dot = 0;
    for (int64_t i = 0; i < k; i++)
        dot += code[i] * q[i];
    return dot;
}

static void decode_tq1_0(const uint8_t *s, int8_t *code)
{
    static const uint8_t power[5] = { 1, 3, 9, 27, 81 };
    /* Digit n of a byte: its base-3 fraction, moved n digits to the left, times 3, whole part. */
#define DIGIT(byte, n) ((int8_t)(((uint8_t)((byte) * power[n]) * 3 >> 8) - 1))
    for (int n = 0; n < 5; n++) {
        for (int i = 0; i < 32; i++)
            code[32 * n + i] = DIGIT(s[i], n);
        for (int i = 0; i < 16; i++)
            code[160 + 16 * n + i] = DIGIT(s[32 + i], n);
    }
    for (int n = 0; n < 4; n++)
        for (int i = 0; i < 4; i++)
            code[240 + 4 * n + i] = DIGIT(s[48 + i], n);
#undef DIGIT
}

static void decode_tq2_0(const uint8_t *s, int8_t *code)
{
    for (int i = 0; i < 256; i++)
        code[i] = (int8_t)((s[i / 128 * 32 + i % 32] >> (2 * (i % 128 / 32)) & 3) - 1);
}

typedef void (*decode_ternary_fn)(const uint8_t *s, int8_t *code);

/* Blocks of 256 codes that end in an f16 scale. */
static void matmul_ternary(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride, int64_t row0,
                           int64_t row1, int32_t block_size, decode_ternary_fn decode)
{
    for (int64_t r = row0; r < row1; r++) {
        const uint8_t *row = w->data + (uint64_t)r * w->row_size;
        for (int64_t c = 0; c < x->n_cols; c++)
            y[c * y_stride + r] = 0.0f;
        for (int64_t b = 0; b < w->k / 256; b++) {
            int8_t code[256];
            decode(row + b * block_size, code);
            const float d = load_f16(row + b * block_size + block_size - 2);
            for (int64_t c = 0; c < x->n_cols; c++) {
                const int32_t dot = ternary_dot(code, x->q + c * x->q_stride + 256 * b, 256);
                y[c * y_stride + r] = bnf_fmaf((float)dot, d, y[c * y_stride + r]);
            }
        }
        for (int64_t c = 0; c < x->n_cols; c++)
            y[c * y_stride + r] /= x->scale[c];
    }
}

/* The tensor is one stream of elements, a row may begin inside a group of 128. */
void bnf_matmul_i2_s_scalar(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride, int64_t row0,
                            int64_t row1, void *scratch)
{
    int8_t *code = scratch;
    for (int64_t r = row0; r < row1; r++) {
        for (int64_t i = 0; i < w->k; i++) {
            const int64_t e = r * w->k + i;
            code[i] = (int8_t)((w->data[e / 128 * 32 + e % 32] >> (6 - 2 * (e % 128 / 32)) & 3) - 1);
        }
        for (int64_t c = 0; c < x->n_cols; c++) {
            const int32_t dot = ternary_dot(code, x->q + c * x->q_stride, w->k);
            y[c * y_stride + r] = (float)dot / x->scale[c] * w->scale;
        }
    }
}

/* ---- one function per type ---- */

#define MATMUL(type, call)                                                                                               \
    void bnf_matmul_##type##_scalar(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,     \
                                    int64_t row0, int64_t row1, void *scratch)                                           \
    {                                                                                                                    \
        (void)scratch;                                                                                                   \
        call;                                                                                                            \
    }
#define MATMUL_FLOAT(type) MATMUL(type, matmul_float(w, x, y, y_stride, row0, row1, scratch, decode_##type))
#define MATMUL_BLOCKS(type, len, size, has_min)                                                                          \
    static const struct format format_##type = { decode_##type, len, size, has_min };                                    \
    MATMUL(type, matmul_blocks(w, x, y, y_stride, row0, row1, &format_##type))
#define MATMUL_TERNARY(type, size) MATMUL(type, matmul_ternary(w, x, y, y_stride, row0, row1, size, decode_##type))

MATMUL_FLOAT(f32)
MATMUL_FLOAT(f16)
MATMUL_FLOAT(bf16)
MATMUL_BLOCKS(q4_0, 32, 18, false)
MATMUL_BLOCKS(q4_1, 32, 20, true)
MATMUL_BLOCKS(q5_0, 32, 22, false)
MATMUL_BLOCKS(q5_1, 32, 24, true)
MATMUL_BLOCKS(q8_0, 32, 34, false)
MATMUL_BLOCKS(q2_k, 256, 84, true)
MATMUL_BLOCKS(q3_k, 256, 110, false)
MATMUL_BLOCKS(q4_k, 256, 144, true)
MATMUL_BLOCKS(q5_k, 256, 176, true)
MATMUL_BLOCKS(q6_k, 256, 210, false)
MATMUL_TERNARY(tq1_0, 54)
MATMUL_TERNARY(tq2_0, 66)
