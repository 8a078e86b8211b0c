/* Products of packed ternary weights (bnf_layout.h, R16) with AVX2: vpmaddubsw multiplies codes by four activations and adds pairs
 * into int16; the bounds stand beside the sums.
 * May not sum across lanes. Next: csrc/bnf_r16_ymm.h, more columns than one; csrc/bnf_r16.h, the loops around them. */

/* Blocks whose codes fit int16: one adds at most 4 * 2 * 3 * 127 = 3,048 to a lane, eight 24,384. */
#define BNF_YMM_RUN 8
#include "bnf_r16_ymm.h"
#include "kernels_avx2.h"

/* Two sums += products of codes and four activations, pairs added, in every lane. Not the intrinsics: gcc 12 moves all products before
 * all sums, which then do not fit the registers (six columns ran at half the speed). On Zen 4 sums crowd the two pipes that
 * multiply: at best 82 % of two vpmaddubsw a cycle, in this order; 79 % when products and sums alternate, whatever the shape of the
 * tile. */
static inline void add_products(__m256i *sum0, __m256i *sum1, __m256i code0, __m256i code1, __m256i fours0, __m256i fours1)
{
    __m256i product0, product1;
    __asm__("vpmaddubsw %6, %4, %2\n\tvpmaddubsw %7, %5, %3\n\tvpaddw %2, %0, %0\n\tvpaddw %3, %1, %1"
            : "+x"(*sum0), "+x"(*sum1), "=&x"(product0), "=x"(product1)
            : "x"(code0), "x"(code1), "x"(fours0), "x"(fours1));
}

static inline __m256i to_int32(__m256i sum)
{
    return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
}

/* One shift serves four fields, two of which are multiplied where they stand, four times too large:
 *     x & 0x03 = code   x & 0x0c = 4 code   with y = x >> 4:   y & 0x03 = code   y & 0x0c = 4 code
 * A block adds at most 2 * 2 * 12 * 127 = 6,096 to a lane of `four`, so that four blocks (24,384) fit int16. */
BNF_ALWAYS_INLINE void bnf_r16_dot_one(const uint8_t *w, const int8_t *q, int64_t n_blocks, int32_t *sum)
{
    const __m256i mask1 = _mm256_set1_epi8(0x03), mask4 = _mm256_set1_epi8(0x0c);
    __m256i wide[2], wide4[2];
    for (int h = 0; h < 2; h++)
        wide[h] = wide4[h] = _mm256_setzero_si256();
    for (int64_t b = 0; b < n_blocks; b += 4) {
        __m256i one[2], four[2];
        for (int h = 0; h < 2; h++)
            one[h] = four[h] = _mm256_setzero_si256();
        BNF_UNROLL for (int u = 0; u < 4; u++, w += BNF_R16_BLOCK, q += 16) {
            __builtin_prefetch(w + BNF_R16_AHEAD, 0, 3);
            BNF_UNROLL for (int h = 0; h < 2; h++) {
                const __m256i x = load_256(w + 32 * h), y = _mm256_srli_epi16(x, 4);
                add_products(&one[h], &four[h], _mm256_and_si256(x, mask1), _mm256_and_si256(x, mask4), broadcast_4(q),
                             broadcast_4(q + 4));
                add_products(&one[h], &four[h], _mm256_and_si256(y, mask1), _mm256_and_si256(y, mask4), broadcast_4(q + 8),
                             broadcast_4(q + 12));
            }
        }
        for (int h = 0; h < 2; h++) {
            wide[h] = _mm256_add_epi32(wide[h], to_int32(one[h]));
            wide4[h] = _mm256_add_epi32(wide4[h], to_int32(four[h]));
        }
    }
    for (int h = 0; h < 2; h++) /* every term of wide4 is a multiple of 4 */
        add_to_sum(sum + 8 * h, _mm256_add_epi32(wide[h], _mm256_srai_epi32(wide4[h], 2)));
}

void bnf_to_panel_avx2(const int8_t *q, int64_t k, int64_t lane, int8_t *panel)
{
    bnf_r16_to_panel_by_4(q, k, lane, panel);
}

BNF_R16_FUNCTIONS(avx2)

/* ---- packing: ternary weights, or block formats (blocks_avx2.c), whose size is 0 for everything else ---- */

int32_t bnf_packed_layout_avx2(const struct bnf_matrix *w)
{
    const int32_t layout = bnf_r16_layout(w);
    return layout == w->type ? bnf_blocks_layout_avx2(w) : layout;
}

uint64_t bnf_packed_size_avx2(const struct bnf_matrix *w)
{
    const uint64_t size = bnf_blocks_size_avx2(w);
    return size > 0 ? size : bnf_r16_size(w);
}

bool bnf_pack_avx2(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)
{
    return bnf_blocks_size_avx2(w) > 0 ? bnf_blocks_pack_avx2(w, row0, row1, packed) : bnf_r16_pack(w, row0, row1, packed);
}
