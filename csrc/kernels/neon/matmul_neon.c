/* Inner products with NEON and its dot product extension. sdot multiplies signed bytes and adds groups of four into int32
 * lanes; codes are 0..63, or the signed bytes of Q8_0, so no widening and no bias is needed.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_matmul.h, the loops around these. */
#include <arm_neon.h>

#include "kernels_neon.h"

#define BNF_TILE_ROWS 4
#define BNF_TILE_BIAS 0
#define BNF_FLOAT_ROWS_1 4
#define BNF_FLOAT_ROWS 2
#define BNF_FLOAT_COLS 2 /* 2 * 2 * 4 accumulators, as many as one column of four rows */
#include "bnf_matmul.h"

/* Lane r: the sum of the four numbers of row r's vector. */
static inline int32x4_t sum_rows(const int32x4_t v[4])
{
    return vpaddq_s32(vpaddq_s32(v[0], v[1]), vpaddq_s32(v[2], v[3]));
}

static inline int8x16_t load_codes(const uint8_t *p)
{
    return vreinterpretq_s8_u8(vld1q_u8(p));
}

/* ---- block formats: lane r of every vector belongs to row r ---- */

static inline int32x4_t load_i8(const int8_t *p)
{
    uint32_t four;
    memcpy(&four, p, sizeof four);
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)))));
}

static inline float32x4_t load_f16(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

BNF_ALWAYS_INLINE void bnf_tile_dot_blocks(const struct bnf_tile *t, struct bnf_tile_format f, int parts, const int8_t *q,
                                           const int16_t *sum16, const float *da, float *acc_rows)
{
    float32x4_t acc = vld1q_f32(acc_rows);
    for (int p = 0; p < parts; p++) {
        int32x4_t g[2]; /* sums of 16 elements */
        for (int i = 0; i < 2; i++) {
            const int8x16_t a = vld1q_s8(q + 32 * p + 16 * i);
            int32x4_t v[4];
            for (int r = 0; r < 4; r++)
                v[r] = vdotq_s32(vdupq_n_s32(0), load_codes(t->code[r] + 32 * p + 16 * i), a);
            g[i] = sum_rows(v);
        }

        const int32_t s0 = sum16[2 * p], s1 = sum16[2 * p + 1];
        int32x4_t dot;
        if (f.has_sub) {
            const int32x4_t d0 = vsubq_s32(g[0], vdupq_n_s32(f.offset * s0));
            const int32x4_t d1 = vsubq_s32(g[1], vdupq_n_s32(f.offset * s1));
            dot = vmlaq_s32(vmulq_s32(d0, load_i8(t->sub[2 * p])), d1, load_i8(t->sub[2 * p + 1]));
        } else {
            dot = vsubq_s32(vaddq_s32(g[0], g[1]), vdupq_n_s32(f.offset * (s0 + s1)));
        }
        const int at = f.super ? 0 : p;
        acc = vfmaq_f32(acc, vcvtq_f32_s32(dot), vmulq_n_f32(load_f16(t->d[at]), da[p]));
        if (f.min != BNF_MIN_NONE) {
            int32x4_t sum = vdupq_n_s32(s0 + s1);
            if (f.min == BNF_MIN_SUB)
                sum = vmlaq_n_s32(vmulq_n_s32(load_i8(t->min[2 * p]), s0), load_i8(t->min[2 * p + 1]), s1);
            acc = vfmaq_f32(acc, vcvtq_f32_s32(sum), vmulq_n_f32(load_f16(t->m[at]), da[p]));
        }
    }
    vst1q_f32(acc_rows, acc);
}

/* acc = fma((float)(sum of code * q - sum of q), d, acc) */
static inline void add_ternary(int32x4_t dot, const int16_t *sum16, float32x4_t d, float *acc)
{
    const int32_t sum = vaddlvq_s16(vld1q_s16(sum16)) + vaddlvq_s16(vld1q_s16(sum16 + 8));
    vst1q_f32(acc, vfmaq_f32(vld1q_f32(acc), vcvtq_f32_s32(vsubq_s32(dot, vdupq_n_s32(sum))), d));
}

BNF_ALWAYS_INLINE void bnf_tile_dot_ternary(const struct bnf_tile *t, const int8_t *q, const int16_t *sum16, float *acc)
{
    int32x4_t v[4];
    for (int r = 0; r < 4; r++)
        v[r] = vdupq_n_s32(0);
    for (int i = 0; i < 256; i += 16) {
        const int8x16_t a = vld1q_s8(q + i);
        for (int r = 0; r < 4; r++)
            v[r] = vdotq_s32(v[r], load_codes(t->code[r] + i), a);
    }
    add_ternary(sum_rows(v), sum16, load_f16(t->d[0]), acc);
}

/* Byte i of a half of 128 holds, from its low bits up, elements i, 32 + i, 64 + i, 96 + i. With y = x >> 4 two fields are read
 * four times too large, as in bnf_i2_s_dot_in_place. */
static void bnf_tq2_0_dot_in_place(const uint8_t *const block[4], const int8_t *q, const int16_t *sum16, float *acc)
{
    const uint8x16_t mask1 = vdupq_n_u8(0x03), mask4 = vdupq_n_u8(0x0c);
    int32x4_t v[4];
    uint16_t d[4];
    for (int r = 0; r < 4; r++) {
        int32x4_t one = vdupq_n_s32(0), four = one;
        for (int i = 0; i < 64; i += 16) {
            const uint8x16_t x = vld1q_u8(block[r] + i), y = vshrq_n_u8(x, 4);
            const int8_t *a = q + i / 32 * 128 + i % 32;
            one = vdotq_s32(one, vreinterpretq_s8_u8(vandq_u8(x, mask1)), vld1q_s8(a));
            four = vdotq_s32(four, vreinterpretq_s8_u8(vandq_u8(x, mask4)), vld1q_s8(a + 32));
            one = vdotq_s32(one, vreinterpretq_s8_u8(vandq_u8(y, mask1)), vld1q_s8(a + 64));
            four = vdotq_s32(four, vreinterpretq_s8_u8(vandq_u8(y, mask4)), vld1q_s8(a + 96));
        }
        v[r] = vsraq_n_s32(one, four, 2);
        d[r] = bnf_load_u16(block[r] + 64);
    }
    add_ternary(sum_rows(v), sum16, load_f16(d), acc);
}

/* ---- I2_S ---- */

BNF_ALWAYS_INLINE void bnf_i2_s_dot(const uint8_t *code, int64_t code_stride, const int8_t *q, int64_t q_stride, int n,
                                    int64_t padded, int32_t dot[][4])
{
    int32x4_t v[4][4]; /* [column][row] */
    for (int c = 0; c < n; c++)
        for (int r = 0; r < 4; r++)
            v[c][r] = vdupq_n_s32(0);
    for (int64_t i = 0; i < padded; i += 16) {
        int8x16_t w[4];
        for (int r = 0; r < 4; r++)
            w[r] = load_codes(code + r * code_stride + i);
        for (int c = 0; c < n; c++) {
            const int8x16_t a = vld1q_s8(q + c * q_stride + i);
            for (int r = 0; r < 4; r++)
                v[c][r] = vdotq_s32(v[c][r], w[r], a);
        }
    }
    for (int c = 0; c < n; c++)
        vst1q_s32(dot[c], sum_rows(v[c]));
}

/* Thirty-two bytes are a group of 128: byte i holds, from its high bits down, elements i, 32 + i, 64 + i, 96 + i. One
 * shift serves four fields, two of which are multiplied where they stand, four times too large:
 *     x & 0x03 = code   x & 0x0c = 4 code   with y = x >> 4:   y & 0x03 = code   y & 0x0c = 4 code
 * All fit a signed byte. The sum of the large ones is shifted down at the end: every term is a multiple of 4. A lane
 * of `four` takes at most 4 * 2 * 2 * 12 * 127 a group: exact for k up to 11 million. */
static void bnf_i2_s_dot_in_place(const uint8_t *const row[4], const int8_t *q, int64_t k, int32_t dot[4])
{
    const uint8x16_t mask1 = vdupq_n_u8(0x03), mask4 = vdupq_n_u8(0x0c);
    int32x4_t one[4], four[4];
    for (int r = 0; r < 4; r++)
        one[r] = four[r] = vdupq_n_s32(0);
    for (int64_t i = 0; i < k; i += 128)
        for (int half = 0; half < 32; half += 16) {
            const int8_t *at = q + i + half;
            const int8x16_t a0 = vld1q_s8(at), a1 = vld1q_s8(at + 32), a2 = vld1q_s8(at + 64), a3 = vld1q_s8(at + 96);
            for (int r = 0; r < 4; r++) {
                const uint8x16_t x = vld1q_u8(row[r] + i / 4 + half), y = vshrq_n_u8(x, 4);
                one[r] = vdotq_s32(one[r], vreinterpretq_s8_u8(vandq_u8(x, mask1)), a3);
                four[r] = vdotq_s32(four[r], vreinterpretq_s8_u8(vandq_u8(x, mask4)), a2);
                one[r] = vdotq_s32(one[r], vreinterpretq_s8_u8(vandq_u8(y, mask1)), a1);
                four[r] = vdotq_s32(four[r], vreinterpretq_s8_u8(vandq_u8(y, mask4)), a0);
            }
        }
    for (int r = 0; r < 4; r++)
        one[r] = vsraq_n_s32(one[r], four[r], 2);
    vst1q_s32(dot, sum_rows(one));
}

/* ---- floats: v[j] holds lanes 4 j .. 4 j + 3 of lanes16 ---- */

struct lanes {
    float32x4_t v[4];
};

static inline float sum_lanes16(struct lanes a)
{
    const float32x4_t low = vaddq_f32(a.v[0], a.v[2]), high = vaddq_f32(a.v[1], a.v[3]);
    const float32x4_t v4 = vaddq_f32(low, high);
    const float32x2_t v2 = vadd_f32(vget_low_f32(v4), vget_high_f32(v4));
    return vget_lane_f32(v2, 0) + vget_lane_f32(v2, 1);
}

BNF_ALWAYS_INLINE float32x4_t load_weights(enum bnf_float_type type, const uint8_t *row, int64_t i)
{
    if (type == BNF_FLOAT_F32)
        return vld1q_f32((const float *)(const void *)row + i);
    const uint16x4_t half = vld1_u16((const uint16_t *)(const void *)row + i);
    if (type == BNF_FLOAT_F16)
        return vcvt_f32_f16(vreinterpret_f16_u16(half));
    return vreinterpretq_f32_u32(vshll_n_u16(half, 16));
}

/* The last k - i < 16 elements: copied to where 16 can be read; lanes beyond them stay, -0 and all. */
BNF_ALWAYS_INLINE struct lanes float_tail(enum bnf_float_type type, const uint8_t *row, const float *col, int64_t i, int64_t k,
                                          struct lanes acc)
{
    static const uint32_t lane[4] = { 0, 1, 2, 3 };
    const size_t size = type == BNF_FLOAT_F32 ? 4 : 2, n = (size_t)(k - i);
    alignas(16) uint8_t w[64] = { 0 };
    float x[16] = { 0.0f };
    memcpy(w, row + (size_t)i * size, n * size);
    memcpy(x, col + i, n * sizeof *x);
    for (uint32_t j = 0; j < 4; j++) {
        const uint32x4_t inside = vcltq_u32(vaddq_u32(vld1q_u32(lane), vdupq_n_u32(4 * j)), vdupq_n_u32((uint32_t)n));
        const float32x4_t sum = vfmaq_f32(acc.v[j], load_weights(type, w, 4 * j), vld1q_f32(x + 4 * j));
        acc.v[j] = vbslq_f32(inside, sum, acc.v[j]);
    }
    return acc;
}

BNF_ALWAYS_INLINE void bnf_float_dot(enum bnf_float_type type, const uint8_t *const row[], int n_rows, const float *const col[],
                                     int n_cols, int64_t k, float dot[][BNF_FLOAT_MAX])
{
    struct lanes acc[2][4]; /* [column][row] */
    for (int c = 0; c < n_cols; c++)
        for (int r = 0; r < n_rows; r++)
            for (int j = 0; j < 4; j++)
                acc[c][r].v[j] = vdupq_n_f32(0.0f);
    int64_t i = 0;
    for (; i + 16 <= k; i += 16)
        for (int r = 0; r < n_rows; r++)
            for (int j = 0; j < 4; j++) {
                const float32x4_t w = load_weights(type, row[r], i + 4 * j);
                for (int c = 0; c < n_cols; c++)
                    acc[c][r].v[j] = vfmaq_f32(acc[c][r].v[j], w, vld1q_f32(col[c] + i + 4 * j));
            }
    for (int c = 0; c < n_cols; c++)
        for (int r = 0; r < n_rows; r++)
            dot[c][r] = sum_lanes16(i < k ? float_tail(type, row[r], col[c], i, k, acc[c][r]) : acc[c][r]);
}

BNF_MATMUL_FUNCTIONS(neon)
