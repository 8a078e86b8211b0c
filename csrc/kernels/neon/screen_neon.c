/* The screen of the head with NEON's dot products of signed bytes.
 * Next: csrc/bnf_screen_rows.h, the loops around these. */
#include <arm_neon.h>
#include <string.h>

#include "bnf_screen_rows.h"
#include "kernels_neon.h"

static inline void load16(int32_t type, const uint8_t *row, int64_t i, float out[16])
{
    for (int l = 0; l < 16; l += 4) {
        float32x4_t v;
        if (type == GGML_TYPE_F32) {
            v = vreinterpretq_f32_u8(vld1q_u8(row + 4 * (i + l)));
        } else {
            const uint16x4_t half = vreinterpret_u16_u8(vld1_u8(row + 2 * (i + l)));
            v = type == GGML_TYPE_F16 ? vcvt_f32_f16(vreinterpret_f16_u16(half)) : vreinterpretq_f32_u32(vshll_n_u16(half, 16));
        }
        vst1q_f32(out + l, v);
    }
}

/* sum[i] += products of weights, moved to signed, with four numbers; lane r of sum[i] is row 4 i + r. */
static inline void add_products(int32x4_t sum[4], const uint8_t *block, const void *four)
{
    int32_t bits;
    memcpy(&bits, four, sizeof bits);
    const int8x16_t fours = vreinterpretq_s8_s32(vdupq_n_s32(bits));
    for (int i = 0; i < 4; i++) {
        const int8x16_t w = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(block + 16 * i), vdupq_n_u8(0x80)));
        sum[i] = vdotq_s32(sum[i], w, fours);
    }
}

#define TILE_COLS 1
static inline void tile_sums(const uint8_t *tile, const struct bnf_screen_cols *x, int64_t c, int n, int32_t sum[][2][16])
{
    const int64_t groups = x->k / 4;
    (void)n; /* TILE_COLS */
    int32x4_t low[4], high[4];
    for (int i = 0; i < 4; i++) {
        low[i] = vdupq_n_s32(128 * x->low_sum[c]);
        high[i] = vdupq_n_s32(128 * x->high_sum[c]);
    }
    for (int64_t g = 0; g < groups; g++)
        add_products(low, tile + 64 * g, x->low + 4 * (g * x->n + c));
    for (int32_t i = 0; i < x->n_high[c]; i++)
        add_products(high, tile + 64 * x->group[c * groups + i], &x->high[c * groups + i]);
    for (int i = 0; i < 4; i++) {
        vst1q_s32(sum[0][0] + 4 * i, low[i]);
        vst1q_s32(sum[0][1] + 4 * i, high[i]);
    }
}

BNF_SCREEN_FUNCTIONS(neon)
