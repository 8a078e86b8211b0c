/* Activations to int8 with NEON, sixteen at a time; a shorter tail is copied to where 16 can be read.
 * May not reorder or fuse a float operation (bnf_ops.h). Next: kernels/scalar/quantize_scalar.c states the same plainly. */
#include <arm_neon.h>
#include <string.h>

#include "kernels_neon.h"

/* Sixteen floats from element i on, zero from k on. */
static inline float32x4x4_t load_16(const float *x, int64_t i, int64_t k)
{
    float tail[16] = { 0.0f };
    const float *s = x + i;
    if (k - i < 16) {
        if (k > i)
            memcpy(tail, x + i, (size_t)(k - i) * sizeof *x);
        s = tail;
    }
    return (float32x4x4_t){ { vld1q_f32(s), vld1q_f32(s + 4), vld1q_f32(s + 8), vld1q_f32(s + 12) } };
}

/* A comparison, because fmaxnm turns signalling NaN into NaN instead of ignoring it. */
static inline float32x4_t max_abs(float32x4x4_t x, float32x4_t max)
{
    for (int j = 0; j < 4; j++) {
        const float32x4_t a = vabsq_f32(x.val[j]);
        max = vbslq_f32(vcgtq_f32(a, max), a, max);
    }
    return max;
}

/* q of 16 elements: nearest integer of x * scale, ties to even, in -127..127. A product that is NaN is quiet, and fmaxnm
 * then gives its other operand, -127. */
static inline int8x16_t round_clamped(float32x4x4_t x, float scale)
{
    int32x4_t n[4];
    for (int j = 0; j < 4; j++) {
        const float32x4_t v = vmaxnmq_f32(vmulq_n_f32(x.val[j], scale), vdupq_n_f32(-127.0f));
        n[j] = vcvtnq_s32_f32(vminnmq_f32(v, vdupq_n_f32(127.0f)));
    }
    const int16x8_t low = vcombine_s16(vmovn_s32(n[0]), vmovn_s32(n[1])), high = vcombine_s16(vmovn_s32(n[2]), vmovn_s32(n[3]));
    return vcombine_s8(vmovn_s16(low), vmovn_s16(high));
}

static inline void store_q(int8_t *q, int8x16_t v, int64_t n)
{
    int8_t bytes[16];
    if (n >= 16) {
        vst1q_s8(q, v);
    } else if (n > 0) {
        vst1q_s8(bytes, v);
        memcpy(q, bytes, (size_t)n);
    }
}

/* Zero q from k to its padded end and sum it by 16. */
static inline int32_t finish(int64_t k, int8_t *q, int16_t *sum16)
{
    const int64_t padded = BNF_PAD64(k);
    memset(q + k, 0, (size_t)(padded - k));
    int32_t total = 0;
    for (int64_t i = 0; i < padded; i += 16) {
        sum16[i / 16] = vaddlvq_s8(vld1q_s8(q + i));
        total += sum16[i / 16];
    }
    return total;
}

void bnf_quantize_row_neon(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16)
{
    float32x4_t max = vdupq_n_f32(0.0f);
    for (int64_t i = 0; i < k; i += 16)
        max = max_abs(load_16(x, i, k), max);
    const double absmax = (double)vmaxvq_f32(max);
    const float scale = (float)(127.0 / (absmax > 1e-5 ? absmax : 1e-5));
    for (int64_t i = 0; i < k; i += 16)
        store_q(q + i, round_clamped(load_16(x, i, k), scale), k - i);
    *s = scale;
    *sum = finish(k, q, sum16);
}

void bnf_quantize_block_neon(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16)
{
    for (int64_t i = 0; i < k; i += 32) {
        const float32x4x4_t low = load_16(x, i, k), high = load_16(x, i + 16, k);
        const float max = vmaxvq_f32(max_abs(low, max_abs(high, vdupq_n_f32(0.0f))));
        const float inverse = max > 0.0f ? 127.0f / max : 0.0f;
        store_q(q + i, round_clamped(low, inverse), k - i);
        store_q(q + i + 16, round_clamped(high, inverse), k - i - 16);
        d[i / 32] = max / 127.0f;
    }
    finish(k, q, sum16);
}
