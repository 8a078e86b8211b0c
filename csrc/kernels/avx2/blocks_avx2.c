/* Products of packed block formats (bnf_blocks.h) with AVX2, FMA and F16C. A dword lane is a row: vpmaddubsw with a
 * broadcast of four activations, pairs added in int16 as long as they fit, and no sum crosses lanes. A part (32 elements of
 * 16 rows) is brought to bytes half by half, eight rows in eight registers, and each half meets all columns there.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_blocks.h.
 *
 * Bounds. A pair of products is at most 2 * code * 127 for codes below 2^bits: eight pairs of 4-bit codes are 30,480, four of
 * 5-bit codes 31,496, two of 6-bit codes 32,004; one of |w| <= 128 is 32,512. Floats that stand for integers: as in
 * blocks_avx512vnni.c. */
#include <immintrin.h>

#include "kernels_avx2.h"

#include "bnf_blocks.h"

#define UNROLL _Pragma("GCC unroll 8")

/* Groups of four elements whose pairs fit int16 together. */
BNF_ALWAYS_INLINE int groups_in_int16(struct bnf_planes p)
{
    const int bits = p.low_bits + p.high_bits, groups = bits <= 4 ? 8 : bits == 5 ? 4 : bits == 6 ? 2 : 1;
    return p.n_sub == 2 && groups > 4 ? 4 : groups;
}

BNF_ALWAYS_INLINE __m256i load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* code[g]: the bytes of group g, elements 4 g .. 4 g + 3 of 8 rows, from the planes at s (of the right half).
 * Q8_0: int8 again. */
BNF_ALWAYS_INLINE void unpack_half(const uint8_t *s, struct bnf_planes p, __m256i code[8])
{
    const __m256i low = _mm256_set1_epi8((char)((1 << p.low_bits) - 1));
    UNROLL for (int g = 0; g < 8; g++) {
        const int i = g % p.low_bits, field = g / p.low_bits;
        const __m256i plane = load_256(s + 64 * i);
        if (p.low_bits == 8)
            code[g] = _mm256_xor_si256(plane, _mm256_set1_epi8((char)BNF_TILE_BIAS));
        else
            code[g] = _mm256_and_si256(field == 0 ? plane : _mm256_srli_epi16(plane, field * p.low_bits), low);
    }
    if (p.high_bits == 0)
        return;
    const __m256i high = _mm256_set1_epi8((char)(((1 << p.high_bits) - 1) << p.low_bits));
    UNROLL for (int g = 0; g < 8; g++) {
        const int up = p.low_bits - g / p.high_bits * p.high_bits; /* from where its bits are to where they belong */
        const __m256i v = load_256(s + 64 * (p.low_bits + g % p.high_bits));
        const __m256i bits = up >= 0 ? _mm256_slli_epi16(v, up) : _mm256_srli_epi16(v, -up);
        code[g] = _mm256_or_si256(code[g], _mm256_and_si256(bits, high));
    }
}

BNF_ALWAYS_INLINE __m256 load_f16(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

BNF_ALWAYS_INLINE __m256 load_i8(__m128i v)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(v));
}

/* Sub-scales and minima of 8 rows: sub[i] and min[i] hold for elements 16 i .. of the part, or [0] for all. */
BNF_ALWAYS_INLINE void load_subs(const uint8_t *s, struct bnf_tile_format f, struct bnf_planes p, __m256 sub[2], __m256 min[2])
{
    const __m128i low = _mm_set1_epi8(15);
    UNROLL for (int i = 0; i < p.n_sub; i++) {
        const __m128i v = _mm_loadl_epi64((const __m128i *)(s + 16 * i));
        sub[i] = load_i8(p.nibbles ? _mm_and_si128(v, low) : v);
        if (p.nibbles)
            min[i] = load_i8(_mm_and_si128(_mm_srli_epi16(v, 4), low));
        else if (f.min == BNF_MIN_SUB)
            min[i] = load_i8(_mm_loadl_epi64((const __m128i *)(s + 16 * (p.n_sub + i))));
    }
}

/* minus + sum of code * q over the groups [g0, g1). */
BNF_ALWAYS_INLINE __m256i dot_groups(const __m256i code[8], const int8_t *q, int32_t minus, struct bnf_planes p, int g0, int g1)
{
    const int together = groups_in_int16(p);
    __m256i d = _mm256_set1_epi32(minus);
    UNROLL for (int g = g0; g < g1; g += together) {
        __m256i pairs = _mm256_setzero_si256();
        UNROLL for (int i = g; i < g + together; i++) {
            int32_t four;
            memcpy(&four, q + 4 * i, sizeof four);
            const __m256i a = _mm256_set1_epi32(four);
            const __m256i v = p.low_bits == 8 ? _mm256_maddubs_epi16(_mm256_abs_epi8(code[i]), _mm256_sign_epi8(a, code[i]))
                                              : _mm256_maddubs_epi16(code[i], a);
            pairs = i == g ? v : _mm256_add_epi16(pairs, v);
        }
        d = _mm256_add_epi32(d, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return d;
}

/* (float)sum of (sub-scale *) code * q of half a part and a column. */
BNF_ALWAYS_INLINE __m256 dot_half(const __m256i code[8], const int8_t *q, const int32_t *minus, struct bnf_planes p, const __m256 sub[2])
{
    if (p.n_sub == 2) {
        const __m256 d0 = _mm256_cvtepi32_ps(dot_groups(code, q, minus[0], p, 0, 4));
        const __m256 d1 = _mm256_cvtepi32_ps(dot_groups(code, q, minus[1], p, 4, 8));
        return _mm256_fmadd_ps(d1, sub[1], _mm256_mul_ps(d0, sub[0]));
    }
    /* Q8_0 is signed again, and needs no correction. */
    const __m256 d = _mm256_cvtepi32_ps(dot_groups(code, q, p.low_bits == 8 ? 0 : minus[0], p, 0, 8));
    return p.n_sub == 1 ? _mm256_mul_ps(d, sub[0]) : d;
}

BNF_ALWAYS_INLINE void bnf_blocks_multiply_tile(const uint8_t *w, const struct bnf_blocks_operand *x, int64_t k, const int n,
                                             struct bnf_tile_format f, struct bnf_planes p, float *y, int64_t y_stride, int first,
                                             int end)
{
    const int8_t *q = x->q;
    const float *da = x->da, *sum = x->sum;
    const int32_t *minus = x->minus;
    const int n_sums = bnf_blocks_n_sums(p);
    __m256 acc[2][BNF_BLOCKS_COLS];
    for (int c = 0; c < n; c++)
        acc[0][c] = acc[1][c] = _mm256_setzero_ps();
    for (int64_t e = 0; e < k; e += f.block_len) {
        const uint8_t *head = w;
        w += bnf_blocks_head_size(f);
        for (int part = 0; part < f.block_len / 32; part++, w += bnf_blocks_part_size(f, p)) {
            for (int ahead = 0; ahead < bnf_blocks_part_size(f, p); ahead += 64)
                __builtin_prefetch(w + BNF_BLOCKS_AHEAD + ahead, 0, 3);
            UNROLL for (int half = 0; half < 2; half++) {
                const __m256 d = load_f16(head + 16 * half), m = f.min == BNF_MIN_NONE ? d : load_f16(head + 32 + 16 * half);
                __m256i code[8];
                __m256 sub[2], min[2];
                load_subs(w + 8 * half, f, p, sub, min);
                unpack_half(w + bnf_blocks_sub_size(f, p) + 32 * half, p, code);
                for (int c = 0; c < n; c++) {
                    const __m256 scale = _mm256_set1_ps(da[c]);
                    acc[half][c] = _mm256_fmadd_ps(dot_half(code, q + 32 * c, minus + n_sums * c, p, sub),
                                                   _mm256_mul_ps(d, scale), acc[half][c]);
                    if (f.min == BNF_MIN_NONE)
                        continue;
                    __m256 s = _mm256_set1_ps(sum[n_sums * c]);
                    if (p.n_sub > 0)
                        s = _mm256_mul_ps(min[0], s);
                    if (p.n_sub == 2)
                        s = _mm256_fmadd_ps(min[1], _mm256_set1_ps(sum[n_sums * c + 1]), s);
                    acc[half][c] = _mm256_fmadd_ps(s, _mm256_mul_ps(m, scale), acc[half][c]);
                }
            }
            q += 32 * n;
            da += n;
            minus += n_sums * n;
            sum += n_sums * n;
        }
    }
    for (int c = 0; c < n; c++) {
        float rows[16];
        _mm256_storeu_ps(rows, acc[0][c]);
        _mm256_storeu_ps(rows + 8, acc[1][c]);
        memcpy(y + c * y_stride + first, rows + first, (size_t)(end - first) * sizeof *rows);
    }
}

BNF_BLOCKS_FUNCTIONS(avx2)
