/* Products of packed ternary weights (bnf_layout.h, R16) with the dot product extension, many columns: four elements of four columns of
 * a panel fill a register, and sdot by element meets each with four rows.
 * May not sum across lanes. Next: csrc/bnf_r16_sdot.h, one column and a few; csrc/bnf_r16.h, the loops around them. */
#define BNF_R16_COLS 4
#include "bnf_r16_sdot.h"
#include "kernels_neon.h"

BNF_ALWAYS_INLINE void bnf_r16_unpack(const uint8_t *w, int64_t n_blocks, uint8_t *code)
{
    bnf_r16_unpack_by_4(w, n_blocks, code);
}

BNF_ALWAYS_INLINE void bnf_r16_dot_codes(const uint8_t *code, const int8_t *panel, int n, int64_t n_blocks,
                                         int32_t (*sum)[BNF_R16_ROWS])
{
    int32x4_t v[4][4]; /* [column][rows] */
    BNF_UNROLL for (int c = 0; c < n; c++)
        BNF_UNROLL for (int i = 0; i < 4; i++)
            v[c][i] = vdupq_n_s32(0);
    for (int64_t step = 4 * n_blocks; step > 0; step--, code += 64, panel += 16) {
        const int8x16_t a = vld1q_s8(panel);
        BNF_UNROLL for (int i = 0; i < 4; i++) {
            const int8x16_t rows = vreinterpretq_s8_u8(vld1q_u8(code + 16 * i));
            v[0][i] = vdotq_laneq_s32(v[0][i], rows, a, 0);
            if (n > 1)
                v[1][i] = vdotq_laneq_s32(v[1][i], rows, a, 1);
            if (n > 2)
                v[2][i] = vdotq_laneq_s32(v[2][i], rows, a, 2);
            if (n > 3)
                v[3][i] = vdotq_laneq_s32(v[3][i], rows, a, 3);
        }
    }
    BNF_UNROLL for (int c = 0; c < n; c++)
        BNF_UNROLL for (int i = 0; i < 4; i++)
            add_to_sum(sum[c] + 4 * i, v[c][i]);
}

void bnf_to_panel_neon(const int8_t *q, int64_t k, int64_t lane, int8_t *panel)
{
    bnf_r16_to_panel_by_4(q, k, lane, panel);
}

BNF_R16_FUNCTIONS(neon)
