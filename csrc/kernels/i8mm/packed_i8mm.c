/* Products of packed ternary weights (bnf_layout.h, R16) with the int8 matrix multiplication extension, many columns: smmla multiplies
 * two rows of eight elements by two columns, twice as much as sdot. Eight elements of a row are four of a block and the four at the
 * same place in the next block: their dwords lie side by side after one zip, before the fields are unpacked. Per 32 elements:
 *     code    4 fields of 8 registers; register i holds rows 2 i and 2 i + 1, eight codes each
 *     panel   4 fields of 8 columns, eight activations each
 * May not sum across lanes. Next: csrc/bnf_r16_sdot.h, one column and a few; csrc/bnf_r16.h, the loops around them. */
#define BNF_R16_COLS 8
#include "bnf_r16_sdot.h"
#include "kernels_i8mm.h"

BNF_ALWAYS_INLINE void bnf_r16_unpack(const uint8_t *w, int64_t n_blocks, uint8_t *code)
{
    for (int64_t b = 0; b < n_blocks; b += 2, w += 2 * BNF_R16_BLOCK, code += 8 * BNF_R16_BLOCK)
        for (int i = 0; i < 4; i++) {
            const uint32x4_t even = vreinterpretq_u32_u8(vld1q_u8(w + 16 * i));
            const uint32x4_t odd = vreinterpretq_u32_u8(vld1q_u8(w + BNF_R16_BLOCK + 16 * i));
            uint8x16_t x[2] = { vreinterpretq_u8_u32(vzip1q_u32(even, odd)), vreinterpretq_u8_u32(vzip2q_u32(even, odd)) };
            for (int f = 0; f < 4; f++)
                for (int j = 0; j < 2; j++) {
                    vst1q_u8(code + 128 * f + 32 * i + 16 * j, vandq_u8(x[j], vdupq_n_u8(3)));
                    x[j] = vshrq_n_u8(x[j], 2);
                }
        }
}

/* Columns go in pairs: where n is odd the last multiplies what lies in its lane of the panel, and is dropped. */
BNF_ALWAYS_INLINE void bnf_r16_dot_codes(const uint8_t *code, const int8_t *panel, int n, int64_t n_blocks,
                                         int32_t (*sum)[BNF_R16_ROWS])
{
    const int pairs = (n + 1) / 2;
    for (int half = 0; half < 2; half++) { /* eight rows: 4 x 4 sums of two rows by two columns */
        const uint8_t *w = code + 64 * half;
        const int8_t *q = panel;
        int32x4_t v[4][4];
        BNF_UNROLL for (int c = 0; c < pairs; c++)
            BNF_UNROLL for (int i = 0; i < 4; i++)
                v[c][i] = vdupq_n_s32(0);
        for (int64_t step = 2 * n_blocks; step > 0; step--, w += 128, q += 64) {
            int8x16_t rows[4];
            BNF_UNROLL for (int i = 0; i < 4; i++)
                rows[i] = vreinterpretq_s8_u8(vld1q_u8(w + 16 * i));
            BNF_UNROLL for (int c = 0; c < pairs; c++) {
                const int8x16_t cols = vld1q_s8(q + 16 * c);
                BNF_UNROLL for (int i = 0; i < 4; i++)
                    v[c][i] = vmmlaq_s32(v[c][i], cols, rows[i]); /* lanes: (column, row) = (0, 0), (0, 1), (1, 0), (1, 1) */
            }
        }
        BNF_UNROLL for (int c = 0; c < pairs; c++)
            BNF_UNROLL for (int i = 0; i < 4; i += 2) {
                const int64x2_t a = vreinterpretq_s64_s32(v[c][i]), b = vreinterpretq_s64_s32(v[c][i + 1]);
                add_to_sum(sum[2 * c] + 8 * half + 2 * i, vreinterpretq_s32_s64(vzip1q_s64(a, b)));
                if (2 * c + 1 < n)
                    add_to_sum(sum[2 * c + 1] + 8 * half + 2 * i, vreinterpretq_s32_s64(vzip2q_s64(a, b)));
            }
    }
}

void bnf_to_panel_i8mm(const int8_t *q, int64_t k, int64_t lane, int8_t *panel)
{
    panel += 8 * lane;
    for (int64_t i = 0; i < BNF_PAD64(k); i += 32)
        for (int f = 0; f < 4; f++, panel += 8 * BNF_R16_COLS) {
            memcpy(panel, q + i + 4 * f, 4);
            memcpy(panel + 4, q + i + 16 + 4 * f, 4);
        }
}

BNF_R16_FUNCTIONS(i8mm)
