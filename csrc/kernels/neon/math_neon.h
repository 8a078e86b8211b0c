/* What the NEON float kernels share: partial vectors, the lanes16 tree and exp. Only for files compiled with the flags of this
 * folder. Each function repeats its scalar statement (../../bnf_math.c, ../scalar/lanes_scalar.h) bit for bit.
 * Next: vector_neon.c, attention_neon.c. */
#ifndef BNF_MATH_NEON_H
#define BNF_MATH_NEON_H

#include <arm_neon.h>
#include <math.h>

#include "bnf_math.h"

/* Up to 4 floats of which `left` exist; left may be anything. The others read as +0 and are not touched. */
static inline float32x4_t bnf_load_some_neon(const float *x, int64_t left)
{
    if (left >= 4)
        return vld1q_f32(x);
    float part[4] = {0};
    for (int i = 0; i < left; i++)
        part[i] = x[i];
    return vld1q_f32(part);
}

static inline void bnf_store_some_neon(float *x, int64_t left, float32x4_t value)
{
    float part[4];
    vst1q_f32(part, value);
    for (int i = 0; i < 4 && i < left; i++)
        x[i] = part[i];
}

/* Lanes 0 to 3, 4 to 7, 8 to 11 and 12 to 15 become the four sums lane i + (i + 4) + (i + 8) + (i + 12) of the tree's second
 * step, in its order. */
static inline float32x4_t bnf_fold16_to_4_neon(const float32x4_t *lanes)
{
    return vaddq_f32(vaddq_f32(lanes[0], lanes[2]), vaddq_f32(lanes[1], lanes[3]));
}

static inline float bnf_fold16_neon(const float32x4_t *lanes)
{
    const float32x4_t by4 = bnf_fold16_to_4_neon(lanes);
    const float32x2_t by2 = vadd_f32(vget_low_f32(by4), vget_high_f32(by4));
    return vget_lane_f32(by2, 0) + vget_lane_f32(by2, 1);
}

/* bnf_expf in each lane. vfmaq_f32(c, a, b) is fma(a, b, c). */
static inline float32x4_t bnf_exp_lanes_neon(float32x4_t x)
{
    const float32x4_t one = vdupq_n_f32(1.0f);
    const float32x4_t shift = vdupq_n_f32(BNF_EXP_SHIFT);
    const float32x4_t z = vfmaq_f32(shift, x, vdupq_n_f32(BNF_EXP_LOG2E));
    const float32x4_t n = vsubq_f32(z, shift);
    float32x4_t r = vfmaq_f32(x, n, vdupq_n_f32(-BNF_EXP_LN2_HI));
    r = vfmaq_f32(r, n, vdupq_n_f32(-BNF_EXP_LN2_LO));
    float32x4_t p = vfmaq_f32(vdupq_n_f32(BNF_EXP_C5), vdupq_n_f32(BNF_EXP_C6), r);
    p = vfmaq_f32(vdupq_n_f32(BNF_EXP_C4), p, r);
    p = vfmaq_f32(vdupq_n_f32(BNF_EXP_C3), p, r);
    p = vfmaq_f32(vdupq_n_f32(BNF_EXP_C2), p, r);
    p = vfmaq_f32(one, p, r);
    p = vfmaq_f32(one, p, r);
    const uint32x4_t bits = vaddq_u32(vreinterpretq_u32_f32(p), vshlq_n_u32(vreinterpretq_u32_f32(z), 23));
    const uint32x4_t below = vcltq_f32(x, vdupq_n_f32(BNF_EXP_LOWEST));
    const uint32x4_t not_above = vcleq_f32(x, vdupq_n_f32(BNF_EXP_HIGHEST)); /* false for NaN too */
    const float32x4_t inside = vreinterpretq_f32_u32(vbicq_u32(bits, below));
    return vbslq_f32(not_above, inside, vaddq_f32(x, vdupq_n_f32(INFINITY)));
}

#endif
