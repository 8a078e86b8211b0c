/* What the products of packed ternary weights share on x86-64 with 256-bit registers: half a block of R16, 32 bytes, is eight rows, and
 * meets broadcasts of four activations. The file that includes this defines first
 *     add_products(&sum0, &sum1, code0, code1, fours0, fours1)   in lanes of its own width,
 *     to_int32(sum)                                              those lanes as one int32 a row,
 *     BNF_YMM_RUN                                                blocks that may be added before to_int32.
 * Next: kernels/avx2/packed_avx2.c, kernels/avxvnni/packed_avxvnni.c. */
#ifndef BNF_R16_YMM_H
#define BNF_R16_YMM_H

#include <immintrin.h>

#define BNF_R16_COLS 6 /* 2 x 6 sums, two halves of codes, a broadcast and a product fill the 16 registers */
#define BNF_R16_FEW 5
#include "bnf_r16.h"

#define BNF_R16_AHEAD 2048 /* bytes; tiles lie one behind the other, so that this runs into the next one by itself */

static inline __m256i load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m256i broadcast_4(const int8_t *q)
{
    int32_t four;
    memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}

static inline void add_to_sum(int32_t *sum, __m256i v)
{
    __m256i *p = (__m256i *)(void *)sum;
    _mm256_store_si256(p, _mm256_add_epi32(_mm256_load_si256(p), v));
}

static inline void add_products(__m256i *sum0, __m256i *sum1, __m256i code0, __m256i code1, __m256i fours0, __m256i fours1);
static inline __m256i to_int32(__m256i sum);

BNF_ALWAYS_INLINE void bnf_r16_dot_few(const uint8_t *w, const int8_t *q, int64_t q_stride, int n, int64_t n_blocks,
                                       int32_t (*sum)[BNF_R16_ROWS])
{
    const __m256i mask = _mm256_set1_epi8(3);
    for (int64_t b = 0; b < n_blocks;) {
        const int64_t end = n_blocks - b < BNF_YMM_RUN ? n_blocks : b + BNF_YMM_RUN;
        __m256i v[BNF_R16_FEW][2];
        BNF_UNROLL for (int c = 0; c < n; c++)
            v[c][0] = v[c][1] = _mm256_setzero_si256();
        for (; b < end; b++, w += BNF_R16_BLOCK) {
            __m256i x0 = load_256(w), x1 = load_256(w + 32);
            __builtin_prefetch(w + BNF_R16_AHEAD, 0, 3);
            BNF_UNROLL for (int p = 0; p < 4; p++, q += 4) {
                const __m256i w0 = _mm256_and_si256(x0, mask), w1 = _mm256_and_si256(x1, mask);
                x0 = _mm256_srli_epi16(x0, 2);
                x1 = _mm256_srli_epi16(x1, 2);
                BNF_UNROLL for (int c = 0; c < n; c++) {
                    const __m256i fours = broadcast_4(q + c * q_stride);
                    add_products(&v[c][0], &v[c][1], w0, w1, fours, fours);
                }
            }
        }
        BNF_UNROLL for (int c = 0; c < n; c++) {
            add_to_sum(sum[c], to_int32(v[c][0]));
            add_to_sum(sum[c] + 8, to_int32(v[c][1]));
        }
    }
}

BNF_ALWAYS_INLINE void bnf_r16_unpack(const uint8_t *w, int64_t n_blocks, uint8_t *code)
{
    bnf_r16_unpack_by_4(w, n_blocks, code);
}

BNF_ALWAYS_INLINE void bnf_r16_dot_codes(const uint8_t *code, const int8_t *panel, int n, int64_t n_blocks,
                                         int32_t (*sum)[BNF_R16_ROWS])
{
    for (int64_t b = 0; b < n_blocks;) {
        const int64_t end = n_blocks - b < BNF_YMM_RUN ? n_blocks : b + BNF_YMM_RUN;
        __m256i v[BNF_R16_COLS][2];
        BNF_UNROLL for (int c = 0; c < n; c++)
            v[c][0] = v[c][1] = _mm256_setzero_si256();
        for (int64_t step = 4 * (end - b); step > 0; step--, code += 64, panel += 4 * BNF_R16_COLS) {
            const __m256i w0 = load_256(code), w1 = load_256(code + 32);
            BNF_UNROLL for (int c = 0; c < n; c++) {
                const __m256i fours = broadcast_4(panel + 4 * c);
                add_products(&v[c][0], &v[c][1], w0, w1, fours, fours);
            }
        }
        b = end;
        BNF_UNROLL for (int c = 0; c < n; c++) {
            add_to_sum(sum[c], to_int32(v[c][0]));
            add_to_sum(sum[c] + 8, to_int32(v[c][1]));
        }
    }
}

#endif
