/* Sixteen rows of dwords to sixteen columns, in registers: what packing rows into lanes begins with. */
#ifndef BNF_TRANSPOSE_AVX512VNNI_H
#define BNF_TRANSPOSE_AVX512VNNI_H

#include <immintrin.h>

/* v[r] lane i becomes v[i] lane r. */
static inline void transpose(__m512i v[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 4) { /* t[i + j]: lane g holds column 4 g + j of rows i..i+3 */
        const __m512i a = _mm512_unpacklo_epi32(v[i], v[i + 1]), b = _mm512_unpacklo_epi32(v[i + 2], v[i + 3]);
        const __m512i c = _mm512_unpackhi_epi32(v[i], v[i + 1]), d = _mm512_unpackhi_epi32(v[i + 2], v[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, b);
        t[i + 1] = _mm512_unpackhi_epi64(a, b);
        t[i + 2] = _mm512_unpacklo_epi64(c, d);
        t[i + 3] = _mm512_unpackhi_epi64(c, d);
    }
    for (int j = 0; j < 4; j++) {
        const __m512i a = _mm512_shuffle_i32x4(t[j], t[j + 4], 0x88);
        const __m512i b = _mm512_shuffle_i32x4(t[j + 8], t[j + 12], 0x88);
        const __m512i c = _mm512_shuffle_i32x4(t[j], t[j + 4], 0xdd);
        const __m512i d = _mm512_shuffle_i32x4(t[j + 8], t[j + 12], 0xdd);
        v[j] = _mm512_shuffle_i32x4(a, b, 0x88);      /* 128-bit lanes 0 of every t */
        v[j + 8] = _mm512_shuffle_i32x4(a, b, 0xdd);  /* 2 */
        v[j + 4] = _mm512_shuffle_i32x4(c, d, 0x88);  /* 1 */
        v[j + 12] = _mm512_shuffle_i32x4(c, d, 0xdd); /* 3 */
    }
}

#endif
