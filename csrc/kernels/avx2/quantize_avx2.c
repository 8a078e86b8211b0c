/* Activations to int8 with AVX2, thirty-two at a time; a shorter tail is copied to where 32 can be read.
 * May not reorder or fuse a float operation (bnf_ops.h). Next: kernels/scalar/quantize_scalar.c states the same plainly. */
#include <immintrin.h>
#include <string.h>

#include "kernels_avx2.h"

/* Thirty-two floats from element i on, zero from k on. */
struct floats32 {
    __m256 v[4];
};

static inline struct floats32 load_32(const float *x, int64_t i, int64_t k)
{
    float tail[32] = { 0.0f };
    const float *s = x + i;
    if (k - i < 32) {
        memcpy(tail, x + i, (size_t)(k - i) * sizeof *x);
        s = tail;
    }
    struct floats32 out;
    for (int j = 0; j < 4; j++)
        out.v[j] = _mm256_loadu_ps(s + 8 * j);
    return out;
}

/* vmaxps gives its second operand when the first is NaN, here the maximum so far. */
static inline __m256 max_abs(struct floats32 x, __m256 max)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    for (int j = 0; j < 4; j++)
        max = _mm256_max_ps(_mm256_andnot_ps(sign, x.v[j]), max);
    return max;
}

static inline float reduce_max(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

/* q of 32 elements: nearest integer of x * scale, ties to even, in -127..127; NaN gives -127, vmaxps's second operand. */
static inline __m256i round_clamped(struct floats32 x, float scale)
{
    __m256i n[4];
    for (int j = 0; j < 4; j++) {
        const __m256 v = _mm256_mul_ps(x.v[j], _mm256_set1_ps(scale));
        n[j] = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-127.0f)), _mm256_set1_ps(127.0f)));
    }
    /* The packs work on 128-bit halves: 4 bytes of n[0], n[1], n[2], n[3] low, then the same high; put in order. */
    const __m256i bytes = _mm256_packs_epi16(_mm256_packs_epi32(n[0], n[1]), _mm256_packs_epi32(n[2], n[3]));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

static inline void store_q(int8_t *q, __m256i v, int64_t n)
{
    int8_t bytes[32];
    if (n >= 32) {
        _mm256_storeu_si256((__m256i *)q, v);
    } else {
        _mm256_storeu_si256((__m256i *)bytes, v);
        memcpy(q, bytes, (size_t)n);
    }
}

/* Zero q from k to its padded end and sum it by 16. vpsadbw sums eight unsigned bytes: q + 128, taken off again. */
static inline int32_t finish(int64_t k, int8_t *q, int16_t *sum16)
{
    const int64_t padded = BNF_PAD64(k);
    memset(q + k, 0, (size_t)(padded - k));
    int32_t total = 0;
    for (int64_t i = 0; i < padded; i += 32) {
        const __m256i biased = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(q + i)), _mm256_set1_epi8((char)0x80));
        const __m256i eights = _mm256_sad_epu8(biased, _mm256_setzero_si256());
        const __m256i sums = _mm256_add_epi64(eights, _mm256_shuffle_epi32(eights, 0x4e));
        const int32_t low = _mm256_extract_epi32(sums, 0) - 16 * 128, high = _mm256_extract_epi32(sums, 4) - 16 * 128;
        sum16[i / 16] = (int16_t)low;
        sum16[i / 16 + 1] = (int16_t)high;
        total += low + high;
    }
    return total;
}

void bnf_quantize_row_avx2(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16)
{
    __m256 max = _mm256_setzero_ps();
    for (int64_t i = 0; i < k; i += 32)
        max = max_abs(load_32(x, i, k), max);
    const double absmax = (double)reduce_max(max);
    const float scale = (float)(127.0 / (absmax > 1e-5 ? absmax : 1e-5));
    for (int64_t i = 0; i < k; i += 32)
        store_q(q + i, round_clamped(load_32(x, i, k), scale), k - i);
    *s = scale;
    *sum = finish(k, q, sum16);
}

void bnf_quantize_block_avx2(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16)
{
    for (int64_t i = 0; i < k; i += 32) {
        const struct floats32 v = load_32(x, i, k);
        const float max = reduce_max(max_abs(v, _mm256_setzero_ps()));
        store_q(q + i, round_clamped(v, max > 0.0f ? 127.0f / max : 0.0f), k - i);
        d[i / 32] = max / 127.0f;
    }
    finish(k, q, sum16);
}
