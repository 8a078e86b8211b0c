/* Float weights of eight significant bits in twelve, with AVX2: a vector is half of a row's step and half of the lanes of a sum.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_f12.h, the loops around these. */
#include <immintrin.h>

#include "kernels_avx2.h"

#define BNF_F12_PARTS 2
#define BNF_F12_MASK_STEP 1
typedef __m256i f12_bytes;
typedef __m256 f12_floats;
#include "bnf_f12.h"

static inline f12_bytes f12_table(int base)
{
    const __m128i code = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, (char)0x80, (char)0x81, (char)0x82, (char)0x83, (char)0x84,
                                       (char)0x85, (char)0x86, (char)0x87);
    return _mm256_broadcastsi128_si256(_mm_add_epi8(code, _mm_set1_epi8((char)base)));
}

static inline f12_bytes f12_load(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline f12_bytes f12_even(f12_bytes both)
{
    return _mm256_and_si256(both, _mm256_set1_epi8(15));
}

static inline f12_bytes f12_odd(f12_bytes both)
{
    return _mm256_and_si256(_mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
}

static inline bool f12_has_zero(f12_bytes a, f12_bytes b)
{
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_min_epu8(a, b), _mm256_setzero_si256())) != 0;
}

static inline uint64_t f12_zeros(f12_bytes v)
{
    return (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(v, _mm256_setzero_si256()));
}

static inline void f12_widen(f12_bytes low, f12_bytes code, f12_bytes table, f12_floats w[4])
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000);
    const __m256i high = _mm256_shuffle_epi8(table, code);
    const __m256i a = _mm256_unpacklo_epi8(low, high), b = _mm256_unpackhi_epi8(low, high);
    w[0] = _mm256_castsi256_ps(_mm256_slli_epi32(a, 16));
    w[1] = _mm256_castsi256_ps(_mm256_and_si256(a, upper));
    w[2] = _mm256_castsi256_ps(_mm256_slli_epi32(b, 16));
    w[3] = _mm256_castsi256_ps(_mm256_and_si256(b, upper));
}

static inline f12_floats f12_zero(void)
{
    return _mm256_setzero_ps();
}

static inline f12_floats f12_load_floats(const float *p)
{
    return _mm256_loadu_ps(p);
}

static inline void f12_store_floats(float *p, f12_floats v)
{
    _mm256_storeu_ps(p, v);
}

/* Not the intrinsic: gcc 12 loads x once for all rows, into registers that are not there, and keeps it on the stack. */
static inline f12_floats f12_fma(f12_floats w, const float *x, f12_floats acc)
{
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(w), "m"(*(const float (*)[8])x));
    return acc;
}

static inline float f12_sum(const f12_floats v[2])
{
    const __m256 v8 = _mm256_add_ps(v[0], v[1]);
    const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* Elements i .. i + 7 of a row as bits of floats. */
BNF_F12_INLINE __m256i load_bits(int32_t type, const uint8_t *row, int64_t i)
{
    if (type == GGML_TYPE_F32)
        return _mm256_loadu_si256((const __m256i *)(row + 4 * i));
    const __m128i half = _mm_loadu_si128((const __m128i *)(row + 2 * i));
    if (type == GGML_TYPE_F16)
        return _mm256_castps_si256(_mm256_cvtph_ps(half));
    return _mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16);
}

BNF_F12_INLINE bool f12_split(int32_t type, const uint8_t *row, int64_t i, int part, int base, uint8_t *low_out, uint8_t *nibble_out)
{
    const __m256i upper = _mm256_set1_epi32((int)0xffff0000), byte = _mm256_set1_epi16(0xff), six = _mm256_set1_epi8(6);
    __m256i v[4];
    BNF_F12_UNROLL for (int j = 0; j < 4; j++)
        v[j] = load_bits(type, row, i + 16 * j + 8 * part);
    const __m256i a = _mm256_or_si256(_mm256_srli_epi32(v[0], 16), _mm256_and_si256(v[1], upper));
    const __m256i b = _mm256_or_si256(_mm256_srli_epi32(v[2], 16), _mm256_and_si256(v[3], upper));
    const __m256i low = _mm256_packus_epi16(_mm256_and_si256(a, byte), _mm256_and_si256(b, byte));
    const __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
    const __m256i code = _mm256_sub_epi8(_mm256_and_si256(high, _mm256_set1_epi8(0x7f)), _mm256_set1_epi8((char)base));
    const __m256i sign = _mm256_and_si256(_mm256_srli_epi16(high, 4), _mm256_set1_epi8(8));
    const __m256i above = _mm256_sub_epi8(code, _mm256_set1_epi8(1)); /* 0..6, or more when it does not fit */
    const __m256i rest = _mm256_or_si256(_mm256_or_si256(v[0], v[1]), _mm256_or_si256(v[2], v[3]));
    _mm256_storeu_si256((__m256i *)low_out, low);
    _mm256_storeu_si256((__m256i *)nibble_out, _mm256_or_si256(code, sign));
    return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_max_epu8(above, six), six)) == -1 &&
           _mm256_testz_si256(rest, _mm256_set1_epi32(0xffff));
}

BNF_F12_INLINE uint32_t f12_largest(int32_t type, const uint8_t *row, int64_t k)
{
    const __m256i magnitude = _mm256_set1_epi32(0x7fffffff), infinite = _mm256_set1_epi32(0x7f800000);
    __m256i most = _mm256_setzero_si256();
    for (int64_t i = 0; i < k; i += 8) {
        const __m256i x = _mm256_and_si256(load_bits(type, row, i), magnitude);
        most = _mm256_max_epi32(most, _mm256_and_si256(x, _mm256_cmpgt_epi32(infinite, x)));
    }
    __m128i half = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    half = _mm_max_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_max_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}

BNF_F12_FUNCTIONS(avx2)
