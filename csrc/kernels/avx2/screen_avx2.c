/* The screen of the head with AVX2. vpmaddubsw wants one side unsigned: the magnitude of a weight, whose sign goes to the operand. Both
 * are at most 127, so a pair of products is at most 2 * 127 * 127 = 32,258 and fits int16.
 * Next: csrc/bnf_screen_rows.h, the loops around these. */
#include <immintrin.h>
#include <string.h>

#include "bnf_screen_rows.h"
#include "kernels_avx2.h"

static inline void load16(int32_t type, const uint8_t *row, int64_t i, float out[16])
{
    for (int l = 0; l < 16; l += 8) {
        const __m128i half = _mm_loadu_si128((const __m128i *)(row + (type == GGML_TYPE_F32 ? 4 : 2) * (i + l)));
        __m256 v;
        if (type == GGML_TYPE_F16)
            v = _mm256_cvtph_ps(half);
        else if (type == GGML_TYPE_BF16)
            v = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
        else
            v = _mm256_loadu_ps((const float *)(const void *)(row + 4 * (i + l)));
        _mm256_storeu_ps(out + l, v);
    }
}

/* sum += products of weights, moved to signed, with four numbers; weights: eight rows. */
static inline __m256i add_products(__m256i sum, __m256i weights, __m256i fours)
{
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(weights), _mm256_sign_epi8(fours, weights));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}

static inline __m256i load_weights(const uint8_t *block)
{
    return _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)block), _mm256_set1_epi8((char)0x80));
}

static inline __m256i load_fours(const void *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm256_set1_epi32(four);
}

#define TILE_COLS 4
#define AHEAD 6144 /* bytes, into L1: 6 % faster than 2 KiB on Zen 4; into L2 slower */

/* One column: memory is the limit, and would wait through a pass over the listed high parts behind each tile; so all are multiplied on the
 * way. */
static inline void one_column_sums(const uint8_t *tile, const struct bnf_screen_cols *x, int64_t c, int32_t sum[2][16])
{
    __m256i low[2], high[2];
    low[0] = low[1] = _mm256_set1_epi32(128 * x->low_sum[c]);
    high[0] = high[1] = _mm256_set1_epi32(128 * x->high_sum[c]);
    for (int64_t g = 0; g < x->k / 4; g++) {
        const __m256i low_fours = load_fours(x->low + 4 * (g * x->n + c)), high_fours = load_fours(x->all_high + 4 * (g * x->n + c));
        _mm_prefetch((const char *)tile + 64 * g + AHEAD, _MM_HINT_T0);
        for (int half = 0; half < 2; half++) {
            const __m256i w = load_weights(tile + 64 * g + 32 * half);
            low[half] = add_products(low[half], w, low_fours);
            high[half] = add_products(high[half], w, high_fours);
        }
    }
    for (int half = 0; half < 2; half++) {
        _mm256_storeu_si256((__m256i *)(sum[0] + 8 * half), low[half]);
        _mm256_storeu_si256((__m256i *)(sum[1] + 8 * half), high[half]);
    }
}

static inline __attribute__((always_inline)) void tile_sums(const uint8_t *tile, const struct bnf_screen_cols *x, int64_t c, int n,
                                                            int32_t sum[][2][16])
{
    const int64_t groups = x->k / 4;
    __m256i low[TILE_COLS][2];
    if (n == 1) {
        one_column_sums(tile, x, c, sum[0]);
        return;
    }
    for (int j = 0; j < n; j++)
        low[j][0] = low[j][1] = _mm256_set1_epi32(128 * x->low_sum[c + j]);
    for (int64_t g = 0; g < groups; g++) {
        const __m256i a = load_weights(tile + 64 * g), b = load_weights(tile + 64 * g + 32);
        _mm_prefetch((const char *)tile + 64 * g + AHEAD, _MM_HINT_T0);
        for (int j = 0; j < n; j++) {
            const __m256i fours = load_fours(x->low + 4 * (g * x->n + c + j));
            low[j][0] = add_products(low[j][0], a, fours);
            low[j][1] = add_products(low[j][1], b, fours);
        }
    }
    for (int j = 0; j < n; j++) {
        __m256i a = _mm256_set1_epi32(128 * x->high_sum[c + j]), b = a;
        for (int32_t i = 0; i < x->n_high[c + j]; i++) {
            const uint8_t *block = tile + 64 * x->group[(c + j) * groups + i];
            const __m256i fours = load_fours(&x->high[(c + j) * groups + i]);
            a = add_products(a, load_weights(block), fours);
            b = add_products(b, load_weights(block + 32), fours);
        }
        _mm256_storeu_si256((__m256i *)sum[j][0], low[j][0]);
        _mm256_storeu_si256((__m256i *)(sum[j][0] + 8), low[j][1]);
        _mm256_storeu_si256((__m256i *)sum[j][1], a);
        _mm256_storeu_si256((__m256i *)(sum[j][1] + 8), b);
    }
}

BNF_SCREEN_FUNCTIONS(avx2)
