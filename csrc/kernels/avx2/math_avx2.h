/* What the AVX2 float kernels share: partial vectors, the lanes16 tree and exp. Only for files compiled with the flags of this
 * folder. Each function repeats its scalar statement (../../bnf_math.c, ../scalar/lanes_scalar.h) bit for bit.
 * Next: vector_avx2.c, attention_avx2.c. */
#ifndef BNF_MATH_AVX2_H
#define BNF_MATH_AVX2_H

#include <immintrin.h>
#include <math.h>

#include "bnf_math.h"

/* All bits set in the lanes that exist where `left` elements remain; left may be anything. */
static inline __m256i bnf_live8_avx2(int64_t left)
{
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const int count = left >= 8 ? 8 : left <= 0 ? 0 : (int)left;
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), lane);
}

/* Up to 8 floats of which `left` exist; the others read as +0 and are not touched. */
static inline __m256 bnf_load_some_avx2(const float *x, int64_t left)
{
    return _mm256_maskload_ps(x, bnf_live8_avx2(left));
}

static inline void bnf_store_some_avx2(float *x, int64_t left, __m256 value)
{
    _mm256_maskstore_ps(x, bnf_live8_avx2(left), value);
}

/* Lanes 0 to 7 and 8 to 15. */
static inline float bnf_fold16_avx2(__m256 low, __m256 high)
{
    const __m256 by8 = _mm256_add_ps(low, high);
    const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
    const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
    return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}

/* bnf_expf in each lane. */
static inline __m256 bnf_exp_lanes_avx2(__m256 x)
{
    const __m256 one = _mm256_set1_ps(1.0f);
    const __m256 shift = _mm256_set1_ps(BNF_EXP_SHIFT);
    const __m256 z = _mm256_fmadd_ps(x, _mm256_set1_ps(BNF_EXP_LOG2E), shift);
    const __m256 n = _mm256_sub_ps(z, shift);
    __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-BNF_EXP_LN2_HI), x);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(-BNF_EXP_LN2_LO), r);
    __m256 p = _mm256_fmadd_ps(_mm256_set1_ps(BNF_EXP_C6), r, _mm256_set1_ps(BNF_EXP_C5));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BNF_EXP_C4));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BNF_EXP_C3));
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(BNF_EXP_C2));
    p = _mm256_fmadd_ps(p, r, one);
    p = _mm256_fmadd_ps(p, r, one);
    const __m256i bits = _mm256_add_epi32(_mm256_castps_si256(p), _mm256_slli_epi32(_mm256_castps_si256(z), 23));
    const __m256 below = _mm256_cmp_ps(x, _mm256_set1_ps(BNF_EXP_LOWEST), _CMP_LT_OQ);
    const __m256 above = _mm256_cmp_ps(x, _mm256_set1_ps(BNF_EXP_HIGHEST), _CMP_NLE_UQ); /* and NaN */
    const __m256 inside = _mm256_andnot_ps(below, _mm256_castsi256_ps(bits));
    return _mm256_blendv_ps(inside, _mm256_add_ps(x, _mm256_set1_ps(INFINITY)), above);
}

#endif
