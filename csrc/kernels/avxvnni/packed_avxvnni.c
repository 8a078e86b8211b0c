/* Products of packed ternary weights (bnf_layout.h, R16) with AVX-VNNI: vpdpbusd on 256-bit registers, in its VEX encoding, multiplies
 * codes by four activations and adds all four products into the int32 lane of a row.
 * May not sum across lanes. Next: csrc/bnf_r16_ymm.h, more columns than one; csrc/bnf_r16.h, the loops around them. */
#include <stdint.h>

#define BNF_YMM_RUN INT64_MAX /* int32 holds any row that is packed */
#include "bnf_r16_ymm.h"
#include "kernels_avxvnni.h"

/* Two sums += products of codes and four activations, in every lane. Not the intrinsics, for the reason that stands in
 * kernels/avx512vnni/packed_avx512vnni.c. */
static inline void add_products(__m256i *sum0, __m256i *sum1, __m256i code0, __m256i code1, __m256i fours0, __m256i fours1)
{
    __asm__(BNF_DPBUSD "%2, %1, %0" : "+x"(*sum0) : "x"(code0), "x"(fours0));
    __asm__(BNF_DPBUSD "%2, %1, %0" : "+x"(*sum1) : "x"(code1), "x"(fours1));
}

static inline __m256i to_int32(__m256i sum)
{
    return sum;
}

/* Fields are multiplied where they stand, as code, 4 code, 16 code and 64 code (at most 192 of an unsigned byte), into four sums that are
 * shifted down at the end: every term is a multiple, so nothing is lost. Of a row's elements each sum takes a quarter:
 * BNF_R16_MAX_K / 4 * 192 * 127 < 2^31. */
BNF_ALWAYS_INLINE void bnf_r16_dot_one(const uint8_t *w, const int8_t *q, int64_t n_blocks, int32_t *sum)
{
    const __m256i mask[4] = { _mm256_set1_epi8(0x03), _mm256_set1_epi8(0x0c), _mm256_set1_epi8(0x30),
                              _mm256_set1_epi8((char)0xc0) };
    __m256i v[4][2];
    BNF_UNROLL for (int f = 0; f < 4; f++)
        v[f][0] = v[f][1] = _mm256_setzero_si256();
    for (int64_t b = 0; b < n_blocks; b++, w += BNF_R16_BLOCK) {
        const __m256i x0 = load_256(w), x1 = load_256(w + 32);
        __builtin_prefetch(w + BNF_R16_AHEAD, 0, 3);
        BNF_UNROLL for (int f = 0; f < 4; f++, q += 4) {
            const __m256i fours = broadcast_4(q);
            add_products(&v[f][0], &v[f][1], _mm256_and_si256(x0, mask[f]), _mm256_and_si256(x1, mask[f]), fours, fours);
        }
    }
    for (int h = 0; h < 2; h++) {
        const __m256i low = _mm256_add_epi32(v[0][h], _mm256_srai_epi32(v[1][h], 2));
        const __m256i high = _mm256_add_epi32(_mm256_srai_epi32(v[2][h], 4), _mm256_srai_epi32(v[3][h], 6));
        add_to_sum(sum + 8 * h, _mm256_add_epi32(low, high));
    }
}

void bnf_to_panel_avxvnni(const int8_t *q, int64_t k, int64_t lane, int8_t *panel)
{
    bnf_r16_to_panel_by_4(q, k, lane, panel);
}

BNF_R16_FUNCTIONS(avxvnni)
