/* What the AVX-512 float kernels share: partial vectors, the lanes16 tree and exp. Only for files compiled with the flags of
 * this folder. Each function repeats its scalar statement (../../bnf_math.c, ../scalar/lanes_scalar.h) bit for bit.
 * Next: vector_avx512vnni.c, attention_avx512vnni.c. */
#ifndef BNF_MATH_AVX512VNNI_H
#define BNF_MATH_AVX512VNNI_H

#include <immintrin.h>
#include <math.h>

#include "bnf_math.h"

/* The lanes that exist where `left` elements remain: all 16, or the first of them. left >= 0. */
static inline __mmask16 bnf_live16_avx512vnni(int64_t left)
{
    return left >= 16 ? (__mmask16)0xffff : (__mmask16)((1u << left) - 1);
}

static inline float bnf_fold16_avx512vnni(__m512 lanes)
{
    const __m256 by8 = _mm256_add_ps(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
    const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
    const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
    return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}

/* bnf_expf in each lane. */
static inline __m512 bnf_exp_lanes_avx512vnni(__m512 x)
{
    const __m512 one = _mm512_set1_ps(1.0f);
    const __m512 shift = _mm512_set1_ps(BNF_EXP_SHIFT);
    const __m512 z = _mm512_fmadd_ps(x, _mm512_set1_ps(BNF_EXP_LOG2E), shift);
    const __m512 n = _mm512_sub_ps(z, shift);
    __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-BNF_EXP_LN2_HI), x);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(-BNF_EXP_LN2_LO), r);
    __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(BNF_EXP_C6), r, _mm512_set1_ps(BNF_EXP_C5));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(BNF_EXP_C4));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(BNF_EXP_C3));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(BNF_EXP_C2));
    p = _mm512_fmadd_ps(p, r, one);
    p = _mm512_fmadd_ps(p, r, one);
    const __m512i bits = _mm512_add_epi32(_mm512_castps_si512(p), _mm512_slli_epi32(_mm512_castps_si512(z), 23));
    const __mmask16 above = _mm512_cmp_ps_mask(x, _mm512_set1_ps(BNF_EXP_HIGHEST), _CMP_NLE_UQ); /* and NaN */
    const __mmask16 not_below = _mm512_cmp_ps_mask(x, _mm512_set1_ps(BNF_EXP_LOWEST), _CMP_NLT_UQ);
    const __m512 inside = _mm512_maskz_mov_ps(not_below, _mm512_castsi512_ps(bits));
    return _mm512_mask_add_ps(inside, above, x, _mm512_set1_ps(INFINITY));
}

#endif
