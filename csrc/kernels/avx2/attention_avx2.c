/* What attention needs of this instruction set: rows of the cache as vectors of floats, trees of sums, squares turned. The loops are those of
 * ../../bnf_attention.h (tiles) and ../../bnf_attention_page.h (pages), the same everywhere. Same bits as
 * ../scalar/attention_scalar.c, which says what is computed. Next: vector_avx2.c for the other operations, math_avx2.h for exp. */
#include <string.h>

#include "kernels_avx2.h"
#include "math_avx2.h"

/* Tiles: a block of keys is 16 slots, 8 sums of 4 heads beside 2 keys and a query. Pages: 4 sums in 8 registers, and about 8 of columns. */
#define BNF_VEC_LEN 8
#define BNF_TILE_ROWS 4
#define BNF_KEY_VECS 2
#define BNF_VALUE_VECS 2
#define BNF_PAGE_HEADS 4
#define BNF_PAGE_POSITIONS(heads) ((heads) == 1 ? 4 : (heads) == 2 ? 2 : 1)
#define BNF_PAGE_WIDTH(heads) ((heads) == 1 ? 8 : (heads) == 2 ? 4 : 2)
typedef __m256 bnf_vec;
#include "bnf_attention_page.h"

BNF_TEMPLATE bnf_vec bnf_vec_load(const float *x) { return _mm256_loadu_ps(x); }
BNF_TEMPLATE void bnf_vec_store(float *x, bnf_vec v) { _mm256_storeu_ps(x, v); }
BNF_TEMPLATE void bnf_vec_store_some(float *x, int64_t left, bnf_vec v) { bnf_store_some_avx2(x, left, v); }
BNF_TEMPLATE bnf_vec bnf_vec_set1(float x) { return _mm256_set1_ps(x); }
BNF_TEMPLATE bnf_vec bnf_vec_fma(bnf_vec a, bnf_vec b, bnf_vec c) { return _mm256_fmadd_ps(a, b, c); }
BNF_TEMPLATE bnf_vec bnf_vec_max(bnf_vec a, bnf_vec b) { return _mm256_max_ps(a, b); }
BNF_TEMPLATE float bnf_vec_highest(bnf_vec v)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
BNF_TEMPLATE bnf_vec bnf_vec_exp(bnf_vec v) { return bnf_exp_lanes_avx2(v); }
BNF_TEMPLATE float bnf_vec_fold(const bnf_vec *lanes) { return bnf_fold16_avx2(lanes[0], lanes[1]); }
BNF_TEMPLATE bnf_vec bnf_vec_load_kv(const uint8_t *row, int64_t d, int64_t i, int64_t left, const enum bnf_kv_type type)
{
    if (type == BNF_KV_Q8_0) { /* rows have no end inside a block */
        uint16_t scale;
        memcpy(&scale, row + d + i / BNF_KV_BLOCK * 2, sizeof scale);
        const __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(row + i))));
        return _mm256_mul_ps(q, _mm256_cvtph_ps(_mm_set1_epi16((short)scale)));
    }
    if (type == BNF_KV_F32) {
        const float *const x = (const float *)(const void *)row + i;
        return left >= 8 ? _mm256_loadu_ps(x) : bnf_load_some_avx2(x, left);
    }
    const uint16_t *const half = (const uint16_t *)(const void *)row + i;
    if (left >= 8)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)half));
    if (left % 2 == 0) { /* as in every model known; masks speak of 32 bits, so two halves */
        const __m128i live = _mm256_castsi256_si128(bnf_live8_avx2(left / 2));
        return _mm256_cvtph_ps(_mm_maskload_epi32((const int *)(const void *)half, live));
    }
    uint16_t part[8] = {0};
    memcpy(part, half, (size_t)left * sizeof *part);
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)part));
}

/* bnf_fold16_avx2 of four sums at once, each a low and a high vector.
 *    by8   a's 8 sums, b's, c's, d's
 *    ab    a0+a4 .. a3+a7 | b0+b4 .. b3+b7          and cd the same
 *    by2   a a c c | b b d d                        lanes i + (i + 2) */
BNF_TEMPLATE void bnf_vec_fold_four(const bnf_vec (*sum)[2], float scale, float *total)
{
    __m256 by8[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        by8[i] = _mm256_add_ps(sum[i][0], sum[i][1]);
    const __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(by8[0], by8[1], 0x20), _mm256_permute2f128_ps(by8[0], by8[1], 0x31));
    const __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(by8[2], by8[3], 0x20), _mm256_permute2f128_ps(by8[2], by8[3], 0x31));
    const __m256 by2 = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    const __m256 by1 = _mm256_add_ps(by2, _mm256_movehdup_ps(by2)); /* a . c . | b . d . */
    const __m128 ac = _mm256_castps256_ps128(by1);
    const __m128 bd = _mm256_extractf128_ps(by1, 1);
    _mm_storeu_ps(total, _mm_mul_ps(_mm_blend_ps(ac, _mm_moveldup_ps(bd), 0xa), _mm_set1_ps(scale))); /* a b c d */
}

/* As in ../avx512vnni: pairs of rows, pairs of pairs, halves. */
BNF_TEMPLATE void bnf_vec_transpose(bnf_vec *x)
{
    bnf_vec y[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) { /* x[i + c]: columns c and c + 4 of rows i .. i + 3 */
        x[i] = _mm256_shuffle_ps(y[i], y[i + 2], 0x44);
        x[i + 1] = _mm256_shuffle_ps(y[i], y[i + 2], 0xee);
        x[i + 2] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0x44);
        x[i + 3] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const bnf_vec low = _mm256_permute2f128_ps(x[c], x[c + 4], 0x20);
        x[c + 4] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x31);
        x[c] = low;
    }
}

BNF_ATTN_TILE_FUNCTIONS(avx2)
BNF_ATTN_PAGE_FUNCTIONS(avx2)
