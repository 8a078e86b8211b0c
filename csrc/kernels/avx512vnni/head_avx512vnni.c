/* Float weights of eight significant bits in twelve, with AVX-512: a vector is a row's step, or the lanes of a sum. A step of 2 rows by 64
 * elements is 6 shuffles and about 12 other operations to 8 fma: half of what memory takes to deliver its 192 bytes.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_f12.h, the loops around these. */
#include <immintrin.h>

#include "kernels_avx512vnni.h"

#define BNF_F12_PARTS 1
#define BNF_F12_MASK_STEP 1
typedef __m512i f12_bytes;
typedef __m512 f12_floats;
#include "bnf_f12.h"

static inline f12_bytes f12_table(int base)
{
    const __m128i code = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, (char)0x80, (char)0x81, (char)0x82, (char)0x83, (char)0x84,
                                       (char)0x85, (char)0x86, (char)0x87);
    return _mm512_broadcast_i32x4(_mm_add_epi8(code, _mm_set1_epi8((char)base)));
}

static inline f12_bytes f12_load(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline f12_bytes f12_even(f12_bytes both)
{
    return _mm512_and_si512(both, _mm512_set1_epi8(15));
}

static inline f12_bytes f12_odd(f12_bytes both)
{
    return _mm512_and_si512(_mm512_srli_epi16(both, 4), _mm512_set1_epi8(15));
}

static inline bool f12_has_zero(f12_bytes a, f12_bytes b)
{
    const __m512i least = _mm512_min_epu8(a, b);
    return _mm512_testn_epi8_mask(least, least) != 0;
}

static inline uint64_t f12_zeros(f12_bytes v)
{
    return _mm512_testn_epi8_mask(v, v);
}

static inline void f12_widen(f12_bytes low, f12_bytes code, f12_bytes table, f12_floats w[4])
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    const __m512i high = _mm512_shuffle_epi8(table, code);
    const __m512i a = _mm512_unpacklo_epi8(low, high), b = _mm512_unpackhi_epi8(low, high);
    w[0] = _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
    w[1] = _mm512_castsi512_ps(_mm512_and_si512(a, upper));
    w[2] = _mm512_castsi512_ps(_mm512_slli_epi32(b, 16));
    w[3] = _mm512_castsi512_ps(_mm512_and_si512(b, upper));
}

static inline f12_floats f12_zero(void)
{
    return _mm512_setzero_ps();
}

static inline f12_floats f12_load_floats(const float *p)
{
    return _mm512_loadu_ps(p);
}

static inline void f12_store_floats(float *p, f12_floats v)
{
    _mm512_storeu_ps(p, v);
}

static inline f12_floats f12_fma(f12_floats w, const float *x, f12_floats acc)
{
    return _mm512_fmadd_ps(w, _mm512_loadu_ps(x), acc);
}

static inline float f12_sum(const f12_floats v[1])
{
    const __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v[0]), _mm512_extractf32x8_ps(v[0], 1));
    const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* Elements i .. i + 15 of a row as bits of floats. */
BNF_F12_INLINE __m512i load_bits(int32_t type, const uint8_t *row, int64_t i)
{
    if (type == GGML_TYPE_F32)
        return _mm512_loadu_si512(row + 4 * i);
    const __m256i half = _mm256_loadu_si256((const __m256i *)(row + 2 * i));
    if (type == GGML_TYPE_F16)
        return _mm512_castps_si512(_mm512_cvtph_ps(half));
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

BNF_F12_INLINE bool f12_split(int32_t type, const uint8_t *row, int64_t i, int part, int base, uint8_t *low_out, uint8_t *nibble_out)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000), byte = _mm512_set1_epi16(0xff);
    __m512i v[4];
    BNF_F12_UNROLL for (int j = 0; j < 4; j++)
        v[j] = load_bits(type, row, i + 16 * j + 16 * part);
    const __m512i a = _mm512_or_si512(_mm512_srli_epi32(v[0], 16), _mm512_and_si512(v[1], upper));
    const __m512i b = _mm512_or_si512(_mm512_srli_epi32(v[2], 16), _mm512_and_si512(v[3], upper));
    const __m512i low = _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(b, byte));
    const __m512i high = _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8));
    const __m512i code = _mm512_sub_epi8(_mm512_and_si512(high, _mm512_set1_epi8(0x7f)), _mm512_set1_epi8((char)base));
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi16(high, 4), _mm512_set1_epi8(8));
    const __mmask64 fits = _mm512_cmple_epu8_mask(_mm512_sub_epi8(code, _mm512_set1_epi8(1)), _mm512_set1_epi8(6));
    const __m512i rest = _mm512_or_si512(_mm512_or_si512(v[0], v[1]), _mm512_or_si512(v[2], v[3]));
    _mm512_storeu_si512(low_out, low);
    _mm512_storeu_si512(nibble_out, _mm512_or_si512(code, sign));
    return fits == ~(__mmask64)0 && _mm512_test_epi32_mask(rest, _mm512_set1_epi32(0xffff)) == 0;
}

BNF_F12_INLINE uint32_t f12_largest(int32_t type, const uint8_t *row, int64_t k)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), infinite = _mm512_set1_epi32(0x7f800000);
    __m512i most = _mm512_setzero_si512();
    for (int64_t i = 0; i < k; i += 16) {
        const __m512i x = _mm512_and_si512(load_bits(type, row, i), magnitude);
        most = _mm512_mask_max_epu32(most, _mm512_cmplt_epu32_mask(x, infinite), most, x);
    }
    return _mm512_reduce_max_epu32(most);
}

BNF_F12_FUNCTIONS(avx512vnni)
