/* Float weights of eight significant bits in twelve, with NEON: a vector is a quarter of a row's step and of the lanes of a sum.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_f12.h, the loops around these. */
#include <arm_neon.h>

#include "kernels_neon.h"

#define BNF_F12_PARTS 4
#define BNF_F12_MASK_STEP 4
typedef uint8x16_t f12_bytes;
typedef float32x4_t f12_floats;
#include "bnf_f12.h"

static inline f12_bytes f12_table(int base)
{
    static const uint8_t code[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87 };
    return vaddq_u8(vld1q_u8(code), vdupq_n_u8((uint8_t)base));
}

static inline f12_bytes f12_load(const uint8_t *p)
{
    return vld1q_u8(p);
}

static inline f12_bytes f12_even(f12_bytes both)
{
    return vandq_u8(both, vdupq_n_u8(15));
}

static inline f12_bytes f12_odd(f12_bytes both)
{
    return vshrq_n_u8(both, 4);
}

static inline bool f12_has_zero(f12_bytes a, f12_bytes b)
{
    return vminvq_u8(vminq_u8(a, b)) == 0;
}

static inline uint64_t f12_zeros(f12_bytes v)
{
    const uint8x8_t nibbles = vshrn_n_u16(vreinterpretq_u16_u8(vceqzq_u8(v)), 4);
    return vget_lane_u64(vreinterpret_u64_u8(nibbles), 0) & 0x1111111111111111;
}

static inline void f12_widen(f12_bytes low, f12_bytes code, f12_bytes table, f12_floats w[4])
{
    const uint32x4_t upper = vdupq_n_u32(0xffff0000);
    const uint8x16_t high = vqtbl1q_u8(table, code);
    const uint32x4_t a = vreinterpretq_u32_u8(vzip1q_u8(low, high)), b = vreinterpretq_u32_u8(vzip2q_u8(low, high));
    w[0] = vreinterpretq_f32_u32(vshlq_n_u32(a, 16));
    w[1] = vreinterpretq_f32_u32(vandq_u32(a, upper));
    w[2] = vreinterpretq_f32_u32(vshlq_n_u32(b, 16));
    w[3] = vreinterpretq_f32_u32(vandq_u32(b, upper));
}

static inline f12_floats f12_zero(void)
{
    return vdupq_n_f32(0.0f);
}

static inline f12_floats f12_load_floats(const float *p)
{
    return vld1q_f32(p);
}

static inline void f12_store_floats(float *p, f12_floats v)
{
    vst1q_f32(p, v);
}

static inline f12_floats f12_fma(f12_floats w, const float *x, f12_floats acc)
{
    return vfmaq_f32(acc, w, vld1q_f32(x));
}

static inline float f12_sum(const f12_floats v[4])
{
    const float32x4_t v4 = vaddq_f32(vaddq_f32(v[0], v[2]), vaddq_f32(v[1], v[3]));
    const float32x2_t v2 = vadd_f32(vget_low_f32(v4), vget_high_f32(v4));
    return vget_lane_f32(v2, 0) + vget_lane_f32(v2, 1);
}

/* Elements i .. i + 3 of a row as bits of floats. */
BNF_F12_INLINE uint32x4_t load_bits(int32_t type, const uint8_t *row, int64_t i)
{
    if (type == GGML_TYPE_F32)
        return vreinterpretq_u32_u8(vld1q_u8(row + 4 * i));
    const uint16x4_t half = vreinterpret_u16_u8(vld1_u8(row + 2 * i));
    if (type == GGML_TYPE_F16)
        return vreinterpretq_u32_f32(vcvt_f32_f16(vreinterpret_f16_u16(half)));
    return vshll_n_u16(half, 16);
}

/* Byte `n` of each of 16 dwords, in the order of the bytes of a step: dwords t of 0 and of 1 in turn, then those of 2 and of 3. */
static inline uint8x16_t pick_bytes(const uint32x4_t v[4], int n)
{
    const int32x4_t down = vdupq_n_s32(-8 * n);
    uint16x4_t half[4];
    for (int j = 0; j < 4; j++)
        half[j] = vmovn_u32(vandq_u32(vshlq_u32(v[j], down), vdupq_n_u32(0xff)));
    return vcombine_u8(vmovn_u16(vcombine_u16(vzip1_u16(half[0], half[1]), vzip2_u16(half[0], half[1]))),
                       vmovn_u16(vcombine_u16(vzip1_u16(half[2], half[3]), vzip2_u16(half[2], half[3]))));
}

BNF_F12_INLINE bool f12_split(int32_t type, const uint8_t *row, int64_t i, int part, int base, uint8_t *low_out, uint8_t *nibble_out)
{
    uint32x4_t v[4], rest = vdupq_n_u32(0);
    BNF_F12_UNROLL for (int j = 0; j < 4; j++) {
        v[j] = load_bits(type, row, i + 16 * j + 4 * part);
        rest = vorrq_u32(rest, v[j]);
    }
    const uint8x16_t high = pick_bytes(v, 3);
    const uint8x16_t code = vsubq_u8(vandq_u8(high, vdupq_n_u8(0x7f)), vdupq_n_u8((uint8_t)base));
    const uint8x16_t sign = vandq_u8(vshrq_n_u8(high, 4), vdupq_n_u8(8));
    vst1q_u8(low_out, pick_bytes(v, 2));
    vst1q_u8(nibble_out, vorrq_u8(code, sign));
    return vmaxvq_u8(vsubq_u8(code, vdupq_n_u8(1))) <= 6 && vmaxvq_u32(vandq_u32(rest, vdupq_n_u32(0xffff))) == 0;
}

BNF_F12_INLINE uint32_t f12_largest(int32_t type, const uint8_t *row, int64_t k)
{
    uint32x4_t most = vdupq_n_u32(0);
    for (int64_t i = 0; i < k; i += 4) {
        const uint32x4_t x = vandq_u32(load_bits(type, row, i), vdupq_n_u32(0x7fffffff));
        most = vmaxq_u32(most, vandq_u32(x, vcltq_u32(x, vdupq_n_u32(0x7f800000))));
    }
    return vmaxvq_u32(most);
}

BNF_F12_FUNCTIONS(neon)
