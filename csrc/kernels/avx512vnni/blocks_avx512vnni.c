/* Products of packed block formats (bnf_blocks.h) on AVX-512 VNNI. A dword lane is a row: vpdpbusd with a broadcast of four
 * activations adds to sixteen rows at once, and no sum crosses lanes. A part (32 elements of 16 rows) is brought to bytes in
 * eight registers, and meets all columns there.
 * What bnf_ops.h orders a column and part to do besides its 8 vpdpbusd shares their ports on Zen 4: a product and an fma, two of
 * each where there are minima, more for sub-scales. So 8 of 10 (Q4_0, Q8_0), 12 (Q4_1) or 14 (Q4_K) cycles are the most the
 * multiplier can be busy; with 8 columns or more it is 74, 63 and 53 % of the time.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_blocks.h.
 *
 * Bounds. Codes are 0..63 (Q8_0: 0..255) and |q| <= 127: 32 products stay below 2^21. Where bnf_ops.h multiplies integers by
 * sub-scales this multiplies floats: Q6_K's two products together are at most 2 * 128 * 16 * 32 * 127 < 2^24, everything else
 * is less, so that every such product and sum is exact. It can be -0 where an integer has only 0, which adds to acc alike:
 * acc starts at +0 and never becomes -0. */
#include <immintrin.h>

#include "kernels_avx512vnni.h"

#include "bnf_blocks.h"

#define UNROLL _Pragma("GCC unroll 16")

/* Four products added in every lane, four activations to all rows. As in packed_avx512vnni.c: not the intrinsic. */
BNF_ALWAYS_INLINE void add_products_of(__m512i *sum, __m512i code, const int8_t *four)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(code), "m"(*(const int8_t (*)[4])four));
}

/* code[g]: the bytes of group g, elements 4 g .. 4 g + 3 of 16 rows, from the planes at s. */
BNF_ALWAYS_INLINE void unpack_part(const uint8_t *s, struct bnf_planes p, __m512i code[8])
{
    __m512i plane[8];
    UNROLL for (int i = 0; i < p.low_bits; i++)
        plane[i] = _mm512_loadu_si512(s + 64 * i);
    const __m512i low = _mm512_set1_epi8((char)((1 << p.low_bits) - 1));
    UNROLL for (int g = 0; g < 8; g++) {
        const int i = g % p.low_bits, field = g / p.low_bits;
        code[g] = plane[i];
        if (p.low_bits < 8)
            code[g] = _mm512_and_si512(field == 0 ? plane[i] : _mm512_srli_epi16(plane[i], (uint8_t)(field * p.low_bits)), low);
    }
    if (p.high_bits == 0)
        return;
    UNROLL for (int i = 0; i < p.high_bits; i++)
        plane[i] = _mm512_loadu_si512(s + 64 * (p.low_bits + i));
    const __m512i high = _mm512_set1_epi8((char)(((1 << p.high_bits) - 1) << p.low_bits));
    UNROLL for (int g = 0; g < 8; g++) {
        const int up = p.low_bits - g / p.high_bits * p.high_bits; /* from where its bits are to where they belong */
        const __m512i v = plane[g % p.high_bits];
        const __m512i bits = up >= 0 ? _mm512_slli_epi16(v, (uint8_t)up) : _mm512_srli_epi16(v, (uint8_t)-up);
        code[g] = _mm512_ternarylogic_epi64(code[g], bits, high, 0xf8); /* code | (bits & high) */
    }
}

BNF_ALWAYS_INLINE __m512 load_f16(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

BNF_ALWAYS_INLINE __m512 load_i8(__m128i v)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(v));
}

/* Sub-scales and minima of a part: sub[i] and min[i] hold for elements 16 i .. of it, or [0] for all. */
BNF_ALWAYS_INLINE void load_subs(const uint8_t *s, struct bnf_tile_format f, struct bnf_planes p, __m512 sub[2], __m512 min[2])
{
    const __m128i low = _mm_set1_epi8(15);
    UNROLL for (int i = 0; i < p.n_sub; i++) {
        const __m128i v = _mm_loadu_si128((const __m128i *)(s + 16 * i));
        sub[i] = load_i8(p.nibbles ? _mm_and_si128(v, low) : v);
        if (p.nibbles)
            min[i] = load_i8(_mm_and_si128(_mm_srli_epi16(v, 4), low));
        else if (f.min == BNF_MIN_SUB)
            min[i] = load_i8(_mm_loadu_si128((const __m128i *)(s + 16 * (p.n_sub + i))));
    }
}

/* (float)sum of (sub-scale *) code * q of a part and a column. */
BNF_ALWAYS_INLINE __m512 dot_part(const __m512i code[8], const int8_t *q, const int32_t *minus, struct bnf_planes p, const __m512 sub[2])
{
    __m512i d[2];
    d[0] = _mm512_set1_epi32(minus[0]);
    if (p.n_sub == 2)
        d[1] = _mm512_set1_epi32(minus[1]);
    UNROLL for (int g = 0; g < 8; g++)
        add_products_of(&d[p.n_sub == 2 ? g / 4 : 0], code[g], q + 4 * g);
    const __m512 d0 = _mm512_cvtepi32_ps(d[0]);
    switch (p.n_sub) {
    case 0: return d0;
    case 1: return _mm512_mul_ps(d0, sub[0]);
    default: return _mm512_fmadd_ps(_mm512_cvtepi32_ps(d[1]), sub[1], _mm512_mul_ps(d0, sub[0]));
    }
}

BNF_ALWAYS_INLINE void bnf_blocks_multiply_tile(const uint8_t *w, const struct bnf_blocks_operand *x, int64_t k, const int n,
                                             struct bnf_tile_format f, struct bnf_planes p, float *y, int64_t y_stride, int first,
                                             int end)
{
    __m512 acc[BNF_BLOCKS_COLS];
    const int8_t *q = x->q;
    const float *da = x->da, *sum = x->sum;
    const int32_t *minus = x->minus;
    const int n_sums = bnf_blocks_n_sums(p);
    for (int c = 0; c < n; c++)
        acc[c] = _mm512_setzero_ps();
    for (int64_t e = 0; e < k; e += f.block_len) {
        const __m512 d = load_f16(w), m = f.min == BNF_MIN_NONE ? d : load_f16(w + 32);
        w += bnf_blocks_head_size(f);
        for (int part = 0; part < f.block_len / 32; part++, w += bnf_blocks_part_size(f, p)) {
            __m512i code[8];
            __m512 sub[2], min[2];
            load_subs(w, f, p, sub, min);
            unpack_part(w + bnf_blocks_sub_size(f, p), p, code);
            for (int ahead = 0; ahead < bnf_blocks_part_size(f, p); ahead += 64)
                __builtin_prefetch(w + BNF_BLOCKS_AHEAD + ahead, 0, 3);
            for (int c = 0; c < n; c++, q += 32, da++, minus += n_sums, sum += n_sums) {
                const __m512 scale = _mm512_set1_ps(*da);
                acc[c] = _mm512_fmadd_ps(dot_part(code, q, minus, p, sub), _mm512_mul_ps(d, scale), acc[c]);
                if (f.min == BNF_MIN_NONE)
                    continue;
                __m512 s = _mm512_set1_ps(sum[0]);
                if (p.n_sub > 0)
                    s = _mm512_mul_ps(min[0], s);
                if (p.n_sub == 2)
                    s = _mm512_fmadd_ps(min[1], _mm512_set1_ps(sum[1]), s);
                acc[c] = _mm512_fmadd_ps(s, _mm512_mul_ps(m, scale), acc[c]);
            }
        }
    }
    for (int c = 0; c < n; c++)
        _mm512_mask_storeu_ps(y + c * y_stride, (__mmask16)((1 << end) - (1 << first)), acc[c]);
}

BNF_BLOCKS_FUNCTIONS(avx512vnni)
