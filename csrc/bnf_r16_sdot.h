/* What the products of packed ternary weights share on AArch64 with the dot product extension: a quarter of a block of R16, 16 bytes, is
 * four rows, and sdot by element meets them with four of the sixteen activations in a register.
 * Codes are 0..3; multiplied where they stand in their bytes 12 or 48, which signed bytes hold. Sums are int32: at most
 * 48 * 127 an element for one of the four fields, exact for any row that is packed.
 * Next: kernels/neon/packed_neon.c; kernels/i8mm/packed_i8mm.c, which differs for many columns. */
#ifndef BNF_R16_SDOT_H
#define BNF_R16_SDOT_H

#include <arm_neon.h>

#define BNF_R16_FEW 4 /* 4 x 4 sums; with codes and activations 26 of 32 registers */
#include "bnf_r16.h"

static inline void add_to_sum(int32_t *sum, int32x4_t v)
{
    vst1q_s32(sum, vaddq_s32(vld1q_s32(sum), v));
}

static inline int8x16_t field(uint8x16_t x, int mask)
{
    return vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8((uint8_t)mask)));
}

/* Two fields are multiplied where they stand, as 4 code and 16 code, into sums that are shifted down at the end: every term is a
 * multiple. The others share a sum. */
BNF_ALWAYS_INLINE void bnf_r16_dot_one(const uint8_t *w, const int8_t *q, int64_t n_blocks, int32_t *sum)
{
    int32x4_t one[4], four[4], sixteen[4];
    BNF_UNROLL for (int i = 0; i < 4; i++)
        one[i] = four[i] = sixteen[i] = vdupq_n_s32(0);
    for (int64_t b = 0; b < n_blocks; b++, w += BNF_R16_BLOCK, q += 16) {
        const int8x16_t a = vld1q_s8(q);
        BNF_UNROLL for (int i = 0; i < 4; i++) {
            const uint8x16_t x = vld1q_u8(w + 16 * i);
            one[i] = vdotq_laneq_s32(one[i], field(x, 0x03), a, 0);
            four[i] = vdotq_laneq_s32(four[i], field(x, 0x0c), a, 1);
            sixteen[i] = vdotq_laneq_s32(sixteen[i], field(x, 0x30), a, 2);
            one[i] = vdotq_laneq_s32(one[i], vreinterpretq_s8_u8(vshrq_n_u8(x, 6)), a, 3);
        }
    }
    for (int i = 0; i < 4; i++)
        add_to_sum(sum + 4 * i, vsraq_n_s32(vsraq_n_s32(one[i], four[i], 2), sixteen[i], 4));
}

BNF_ALWAYS_INLINE void bnf_r16_dot_few(const uint8_t *w, const int8_t *q, int64_t q_stride, int n, int64_t n_blocks,
                                       int32_t (*sum)[BNF_R16_ROWS])
{
    int32x4_t v[BNF_R16_FEW][4];
    BNF_UNROLL for (int c = 0; c < n; c++)
        BNF_UNROLL for (int i = 0; i < 4; i++)
            v[c][i] = vdupq_n_s32(0);
    for (int64_t b = 0; b < n_blocks; b++, w += BNF_R16_BLOCK, q += 16) {
        int8x16_t a[BNF_R16_FEW];
        BNF_UNROLL for (int c = 0; c < n; c++)
            a[c] = vld1q_s8(q + c * q_stride);
        BNF_UNROLL for (int i = 0; i < 4; i++) {
            const uint8x16_t x = vld1q_u8(w + 16 * i);
            const int8x16_t w0 = field(x, 3), w1 = field(vshrq_n_u8(x, 2), 3), w2 = field(vshrq_n_u8(x, 4), 3);
            const int8x16_t w3 = vreinterpretq_s8_u8(vshrq_n_u8(x, 6));
            BNF_UNROLL for (int c = 0; c < n; c++) {
                v[c][i] = vdotq_laneq_s32(v[c][i], w0, a[c], 0);
                v[c][i] = vdotq_laneq_s32(v[c][i], w1, a[c], 1);
                v[c][i] = vdotq_laneq_s32(v[c][i], w2, a[c], 2);
                v[c][i] = vdotq_laneq_s32(v[c][i], w3, a[c], 3);
            }
        }
    }
    BNF_UNROLL for (int c = 0; c < n; c++)
        BNF_UNROLL for (int i = 0; i < 4; i++)
            add_to_sum(sum[c] + 4 * i, v[c][i]);
}

#endif
