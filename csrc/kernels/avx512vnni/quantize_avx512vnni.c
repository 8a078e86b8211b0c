/* Activations to int8 with AVX-512, sixteen at a time; masks take care of the tail.
 * May not reorder or fuse a float operation (bnf_ops.h). Next: kernels/scalar/quantize_scalar.c states the same plainly. */
#include <immintrin.h>
#include <string.h>

#include "kernels_avx512vnni.h"

/* The lanes of elements i..i + 15 that lie before k. */
static inline __mmask16 lanes_before(int64_t i, int64_t k)
{
    return (__mmask16)(k - i >= 16 ? 0xffff : (1u << (k - i)) - 1);
}

/* vmaxps gives its second operand when the first is NaN, here the maximum so far. */
static inline __m512 max_abs(__m512 x, __m512 max)
{
    return _mm512_max_ps(_mm512_abs_ps(x), max);
}

/* Nearest integer, ties to even, in -127..127; NaN gives -127, the second operand. */
static inline __m128i round_clamped(__m512 v)
{
    const __m512 clamped = _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(-127.0f)), _mm512_set1_ps(127.0f));
    return _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(clamped));
}

/* Zero q from k to its padded end and sum it by 16. vpsadbw sums eight unsigned bytes: q + 128, taken off again. */
static inline int32_t finish(int64_t k, int8_t *q, int16_t *sum16)
{
    const int64_t padded = BNF_PAD64(k);
    memset(q + k, 0, (size_t)(padded - k));
    __m512i total = _mm512_setzero_si512();
    for (int64_t i = 0; i < padded; i += 64) {
        const __m512i biased = _mm512_xor_si512(_mm512_loadu_si512(q + i), _mm512_set1_epi8((char)0x80));
        const __m512i eights = _mm512_sad_epu8(biased, _mm512_setzero_si512());
        const __m512i pairs = _mm512_add_epi64(eights, _mm512_shuffle_epi32(eights, _MM_PERM_BADC)); /* each sum twice */
        const __m512i sums = _mm512_sub_epi64(pairs, _mm512_set1_epi64(16 * 128));
        total = _mm512_add_epi64(total, sums);
        const __m128i twice = _mm512_cvtepi64_epi16(sums);
        const __m128i once = _mm_shuffle_epi8(twice, _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1));
        _mm_storel_epi64((__m128i *)(sum16 + i / 16), once);
    }
    return (int32_t)(_mm512_reduce_add_epi64(total) / 2);
}

void bnf_quantize_row_avx512vnni(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16)
{
    __m512 max = _mm512_setzero_ps();
    for (int64_t i = 0; i < k; i += 16)
        max = max_abs(_mm512_maskz_loadu_ps(lanes_before(i, k), x + i), max);
    const double absmax = (double)_mm512_reduce_max_ps(max);
    const float scale = (float)(127.0 / (absmax > 1e-5 ? absmax : 1e-5));
    for (int64_t i = 0; i < k; i += 16) {
        const __mmask16 mask = lanes_before(i, k);
        _mm_mask_storeu_epi8(q + i, mask, round_clamped(_mm512_mul_ps(_mm512_maskz_loadu_ps(mask, x + i), _mm512_set1_ps(scale))));
    }
    *s = scale;
    *sum = finish(k, q, sum16);
}

void bnf_quantize_block_avx512vnni(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16)
{
    for (int64_t b = 0; b < k; b += 32) {
        const __mmask16 mask0 = lanes_before(b, k), mask1 = k - b > 16 ? lanes_before(b + 16, k) : 0;
        const __m512 x0 = _mm512_maskz_loadu_ps(mask0, x + b), x1 = _mm512_maskz_loadu_ps(mask1, x + b + 16);
        const float max = _mm512_reduce_max_ps(max_abs(x0, max_abs(x1, _mm512_setzero_ps())));
        const __m512 inverse = _mm512_set1_ps(max > 0.0f ? 127.0f / max : 0.0f);
        _mm_mask_storeu_epi8(q + b, mask0, round_clamped(_mm512_mul_ps(x0, inverse)));
        _mm_mask_storeu_epi8(q + b + 16, mask1, round_clamped(_mm512_mul_ps(x1, inverse)));
        d[b / 32] = max / 127.0f;
    }
    finish(k, q, sum16);
}
