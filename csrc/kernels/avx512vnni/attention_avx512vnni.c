/* What attention needs of this instruction set: rows of the cache as vectors of floats, trees of sums, squares turned. The loops are those of
 * ../../bnf_attention.h (tiles) and ../../bnf_attention_page.h (pages), the same everywhere. Same bits as
 * ../scalar/attention_scalar.c, which says what is computed. Next: math_avx512vnni.h for exp. */
#include <string.h>

#include "kernels_avx512vnni.h"
#include "math_avx512vnni.h"

/* Tiles: a block of keys is 32 slots, 8 sums of 4 heads beside 2 keys and a query. Pages: 5 heads x 4 positions are 20 sums + 4 + 1 of 32
 * registers, and as many of columns. */
#define BNF_VEC_LEN 16
#define BNF_TILE_ROWS 4
#define BNF_KEY_VECS 2
#define BNF_VALUE_VECS 4
#define BNF_PAGE_HEADS 5
#define BNF_PAGE_POSITIONS(heads) 4
#define BNF_PAGE_WIDTH(heads) 4
typedef __m512 bnf_vec;
#include "bnf_attention_page.h"

BNF_TEMPLATE bnf_vec bnf_vec_load(const float *x) { return _mm512_loadu_ps(x); }
BNF_TEMPLATE void bnf_vec_store(float *x, bnf_vec v) { _mm512_storeu_ps(x, v); }
BNF_TEMPLATE void bnf_vec_store_some(float *x, int64_t left, bnf_vec v) { _mm512_mask_storeu_ps(x, bnf_live16_avx512vnni(left), v); }
BNF_TEMPLATE bnf_vec bnf_vec_set1(float x) { return _mm512_set1_ps(x); }
BNF_TEMPLATE bnf_vec bnf_vec_fma(bnf_vec a, bnf_vec b, bnf_vec c) { return _mm512_fmadd_ps(a, b, c); }
BNF_TEMPLATE bnf_vec bnf_vec_max(bnf_vec a, bnf_vec b) { return _mm512_max_ps(a, b); }
BNF_TEMPLATE float bnf_vec_highest(bnf_vec v) { return _mm512_reduce_max_ps(v); }
BNF_TEMPLATE bnf_vec bnf_vec_exp(bnf_vec v) { return bnf_exp_lanes_avx512vnni(v); }
BNF_TEMPLATE float bnf_vec_fold(const bnf_vec *lanes) { return bnf_fold16_avx512vnni(*lanes); }
BNF_TEMPLATE bnf_vec bnf_vec_load_kv(const uint8_t *row, int64_t d, int64_t i, int64_t left, const enum bnf_kv_type type)
{
    const __mmask16 live = left >= 16 ? 0xffff : bnf_live16_avx512vnni(left);
    if (type == BNF_KV_F16)
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(live, row + 2 * i));
    if (type == BNF_KV_F32)
        return _mm512_maskz_loadu_ps(live, row + 4 * i);
    uint16_t scale; /* of a block, inside which no row ends */
    memcpy(&scale, row + d + i / BNF_KV_BLOCK * 2, sizeof scale);
    const __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(row + i))));
    return _mm512_mul_ps(q, _mm512_cvtph_ps(_mm256_set1_epi16((short)scale)));
}

/* Step 1 of the tree for two sums: x0+x8 .. x7+x15 in the low half, y's in the high half. */
BNF_TEMPLATE __m512 fold_pair(__m512 x, __m512 y)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
}

/* bnf_fold16_avx512vnni of four vectors at once.
 *    ab   a's 8 sums | b's 8 sums            and cd the same
 *    by4  a's 4 sums | b's | c's | d's      quarters 0 and 2 plus quarters 1 and 3
 *    by1  a . . . | b . . . | c . . . | d . . . */
BNF_TEMPLATE void bnf_vec_fold_four(const bnf_vec (*sum)[1], float scale, float *total)
{
    const __m512 ab = fold_pair(*sum[0], *sum[1]);
    const __m512 cd = fold_pair(*sum[2], *sum[3]);
    const __m512 by4 = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    const __m512 by2 = _mm512_add_ps(by4, _mm512_permute_ps(by4, 0x4e));
    const __m512 by1 = _mm512_add_ps(by2, _mm512_permute_ps(by2, 0xb1));
    _mm_storeu_ps(total, _mm_mul_ps(_mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, by1)), _mm_set1_ps(scale)));
}

/* Pairs of rows, pairs of pairs, then quarters:
 *    a0 b0 a1 b1 | ...    rows 2i and 2i + 1 woven, low and high halves of each quarter
 *    a0 b0 c0 d0 | ...    column j of four rows in quarter j / 4
 *    then quarters of rows 0, 4, 8, 12 change places as a 4 x 4 square, twice by halves */
BNF_TEMPLATE void bnf_vec_transpose(bnf_vec *x)
{
    bnf_vec y[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* x[i + c]: columns c, c + 4, c + 8, c + 12 of rows i .. i + 3 */
        x[i] = _mm512_shuffle_ps(y[i], y[i + 2], 0x44);
        x[i + 1] = _mm512_shuffle_ps(y[i], y[i + 2], 0xee);
        x[i + 2] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0x44);
        x[i + 3] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const bnf_vec even04 = _mm512_shuffle_f32x4(x[c], x[c + 4], 0x88), odd04 = _mm512_shuffle_f32x4(x[c], x[c + 4], 0xdd);
        const bnf_vec even8c = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0x88), odd8c = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0xdd);
        y[c] = _mm512_shuffle_f32x4(even04, even8c, 0x88);
        y[c + 4] = _mm512_shuffle_f32x4(odd04, odd8c, 0x88);
        y[c + 8] = _mm512_shuffle_f32x4(even04, even8c, 0xdd);
        y[c + 12] = _mm512_shuffle_f32x4(odd04, odd8c, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        x[i] = y[i];
}

BNF_ATTN_TILE_FUNCTIONS(avx512vnni)
BNF_ATTN_PAGE_FUNCTIONS(avx512vnni)
