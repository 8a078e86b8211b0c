/* The screen of the head with AVX-512 VNNI: a dword lane is a row, weights are unsigned (q + 128) and meet broadcasts of four signed
 * numbers of an operand; the 128 is taken off with the sum of those (bnf_screen_upper).
 * Up to 12 operands share a reading; the multiplier is the limit from about four on. Next: csrc/bnf_screen_rows.h. */
#include <immintrin.h>
#include <string.h>

#include "bnf_screen_rows.h"
#include "kernels_avx512vnni.h"
#include "transpose_avx512vnni.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 24")
#define AHEAD 4096 /* bytes; tiles lie one behind the other */

/* ---- making it ---- */

ALWAYS_INLINE __m512 load(int32_t type, const uint8_t *row, int64_t i)
{
    if (type == GGML_TYPE_F32)
        return _mm512_loadu_ps(row + 4 * i);
    const __m256i half = _mm256_loadu_si256((const __m256i *)(row + 2 * i));
    if (type == GGML_TYPE_F16)
        return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

/* Sixteen rows: their scales first, then 64 elements of each at a time. */
ALWAYS_INLINE void pack_tile(int32_t type, const uint8_t *const row[16], int64_t k, const struct bnf_screen *s, int64_t r0)
{
    float scale[16], inverse[16];
    __m512 own[16], rest[16];
    uint8_t *q = s->q + (uint64_t)(r0 * k);
    for (int r = 0; r < 16; r++) {
        __m512 most = _mm512_setzero_ps();
        for (int64_t i = 0; i < k; i += 16)
            most = _mm512_max_ps(_mm512_abs_ps(load(type, row[r], i)), most); /* of a NaN and a number, the second */
        scale[r] = _mm512_reduce_max_ps(most) / 127;
        inverse[r] = scale[r] > 1e-30f ? 1 / scale[r] : 0;
        own[r] = rest[r] = _mm512_setzero_ps();
    }
    for (int64_t i = 0; i < k; i += 64, q += 16 * 64) {
        __m512i v[16];
        for (int r = 0; r < 16; r++) {
            __m128i part[4];
            UNROLL for (int j = 0; j < 4; j++) {
                const __m512 w = load(type, row[r], i + 16 * j);
                __m512 n = _mm512_mul_ps(w, _mm512_set1_ps(inverse[r]));
                n = _mm512_min_ps(_mm512_max_ps(n, _mm512_set1_ps(-127)), _mm512_set1_ps(127));
                const __m512i rounded = _mm512_cvtps_epi32(n);
                const __m512 e = _mm512_sub_ps(w, _mm512_mul_ps(_mm512_cvtepi32_ps(rounded), _mm512_set1_ps(scale[r])));
                own[r] = _mm512_fmadd_ps(w, w, own[r]);
                rest[r] = _mm512_fmadd_ps(e, e, rest[r]);
                part[j] = _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, _mm512_set1_epi32(128)));
            }
            v[r] = _mm512_castsi128_si512(part[0]);
            v[r] = _mm512_inserti32x4(v[r], part[1], 1);
            v[r] = _mm512_inserti32x4(v[r], part[2], 2);
            v[r] = _mm512_inserti32x4(v[r], part[3], 3);
        }
        transpose(v);
        for (int g = 0; g < 16; g++)
            _mm512_stream_si512((void *)(q + 64 * g), v[g]);
    }
    for (int r = 0; r < 16; r++) {
        float square[2][16];
        _mm512_storeu_ps(square[0], own[r]);
        _mm512_storeu_ps(square[1], rest[r]);
        s->scale[r0 + r] = scale[r];
        bnf_screen_norms(s, r0 + r, square[0], square[1]);
    }
}

/* Rows beyond the last repeat it: their bounds are computed and never looked at. */
void bnf_screen_pack_avx512vnni(const struct bnf_matrix *w, int64_t row0, int64_t row1, const struct bnf_screen *screen)
{
    for (int64_t r0 = row0; r0 < row1; r0 += 16) {
        const uint8_t *row[16];
        for (int r = 0; r < 16; r++)
            row[r] = w->data + (uint64_t)(r0 + r < w->m ? r0 + r : w->m - 1) * w->row_size;
        switch (w->type) {
        case GGML_TYPE_F16: pack_tile(GGML_TYPE_F16, row, w->k, screen, r0); break;
        case GGML_TYPE_BF16: pack_tile(GGML_TYPE_BF16, row, w->k, screen, r0); break;
        default: pack_tile(GGML_TYPE_F32, row, w->k, screen, r0); break;
        }
    }
    _mm_sfence();
}

/* ---- bounds ---- */

/* Not the intrinsic: gcc 12 carries so many sums through other registers (packed_avx512vnni.c). */
ALWAYS_INLINE void add_products(__m512i *sum, __m512i weights, __m512i fours)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(weights), "v"(fours));
}

ALWAYS_INLINE __m512i load_fours(const void *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return _mm512_set1_epi32(four);
}

/* Sums of all n columns with the low parts; `chains` sums a column and tile hide the latency of vpdpbusd. Tried for six columns and more
 * on Zen 4: one tile and two chains, also with broadcasts in memory, 35 % slower than pairs of tiles. */
ALWAYS_INLINE void low_sums(const uint8_t *tile, uint64_t size, int tiles, const struct bnf_screen_cols *x, int n, int chains, __m512i *out)
{
    __m512i sum[24];
    const int8_t *low = x->low;
    UNROLL for (int i = 0; i < tiles * n * chains; i++)
        sum[i] = _mm512_setzero_si512();
    for (int64_t g = 0; g < x->k / 4; g += chains) /* k / 4 is a multiple of 16 */
        UNROLL for (int u = 0; u < chains; u++, tile += 64, low += 4 * n) {
            __m512i w[2];
            UNROLL for (int t = 0; t < tiles; t++) {
                w[t] = _mm512_loadu_si512(tile + (uint64_t)t * size);
                if (tiles == 1) /* into L2: into L1, one column took 13.8 ms instead of 12.2 (a plain read: 11.1) */
                    __builtin_prefetch(tile + AHEAD, 0, 2);
                else /* the next pair, into L2: into L1, which the operands fill, eight columns took 24.7 ms instead of 17.6 */
                    __builtin_prefetch(tile + (uint64_t)(2 + t) * size, 0, 2);
            }
            UNROLL for (int c = 0; c < n; c++) {
                const __m512i fours = load_fours(low + 4 * c);
                UNROLL for (int t = 0; t < tiles; t++)
                    add_products(&sum[(u * n + c) * tiles + t], w[t], fours);
            }
        }
    UNROLL for (int i = 0; i < tiles * n; i++) {
        out[i] = sum[i];
        UNROLL for (int u = 1; u < chains; u++)
            out[i] = _mm512_add_epi32(out[i], sum[u * n * tiles + i]);
    }
}

/* The same with the high parts of column c, of which most are zero: two chains for each tile. */
ALWAYS_INLINE void high_sums(const uint8_t *tile, uint64_t size, int tiles, const struct bnf_screen_cols *x, int64_t c, __m512i *out)
{
    const uint16_t *group = x->group + c * x->k / 4;
    const int32_t *high = x->high + c * x->k / 4;
    const int32_t n = x->n_high[c];
    __m512i sum[4] = { _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512() };
    int32_t i = 0;
    for (; i + 2 <= n; i += 2)
        UNROLL for (int u = 0; u < 2; u++) {
            const __m512i fours = _mm512_set1_epi32(high[i + u]);
            UNROLL for (int t = 0; t < tiles; t++)
                add_products(&sum[2 * u + t], _mm512_loadu_si512(tile + (uint64_t)t * size + 64 * (uint64_t)group[i + u]), fours);
        }
    if (i < n)
        UNROLL for (int t = 0; t < tiles; t++)
            add_products(&sum[t], _mm512_loadu_si512(tile + (uint64_t)t * size + 64 * (uint64_t)group[i]), _mm512_set1_epi32(high[i]));
    UNROLL for (int t = 0; t < tiles; t++)
        out[t] = _mm512_add_epi32(sum[t], sum[2 + t]);
}

ALWAYS_INLINE void bound_tiles(const struct bnf_screen *s, const struct bnf_screen_cols *x, float *upper, int64_t stride, int64_t row,
                               int tiles, int n, int chains)
{
    const uint64_t size = (uint64_t)(16 * s->k);
    const uint8_t *tile = s->q + (uint64_t)(row * s->k);
    __m512i low[24], high[2];
    low_sums(tile, size, tiles, x, n, chains, low);
    for (int c = 0; c < n; c++) {
        high_sums(tile, size, tiles, x, c, high);
        for (int t = 0; t < tiles; t++) {
            int32_t sum[2][16];
            _mm512_storeu_si512(sum[0], low[c * tiles + t]);
            _mm512_storeu_si512(sum[1], high[t]);
            bnf_screen_upper(s, x, row + 16 * t, c, sum, upper + c * stride + row + 16 * t);
        }
    }
}

ALWAYS_INLINE void bounds(const struct bnf_screen *s, const struct bnf_screen_cols *x, float *upper, int64_t stride, int64_t row0,
                          int64_t row1, int tiles, int n, int chains)
{
    int64_t r = row0;
    for (; r + 16 * tiles <= row1; r += 16 * tiles)
        bound_tiles(s, x, upper, stride, r, tiles, n, chains);
    for (; r < row1; r += 16)
        bound_tiles(s, x, upper, stride, r, 1, n, 1);
}

/* One or two columns: memory is the limit, and would wait through a pass over the listed high parts behind each tile. So all of them are
 * multiplied on the way: up to four products for 64 bytes that take seven cycles to come. One column on one thread of Zen 4: 5.5 ms for
 * 168 MB instead of 6.4 (a plain read: 5.5). It wants its own distance: 1 to 3 KiB 5.5, 4 KiB and more 7. */
#define NEAR_AHEAD 2048

ALWAYS_INLINE void bound_on_the_way(const struct bnf_screen *s, const struct bnf_screen_cols *x, float *upper, int64_t stride, int64_t row,
                                    int n, int chains)
{
    const uint8_t *tile = s->q + (uint64_t)(row * s->k);
    const int8_t *low = x->low, *high = x->all_high;
    __m512i sum[16]; /* [chain][column][low, high] */
    UNROLL for (int i = 0; i < 2 * n * chains; i++)
        sum[i] = _mm512_setzero_si512();
    for (int64_t g = 0; g < s->k / 4; g += chains) /* k / 4 is a multiple of 16 */
        UNROLL for (int u = 0; u < chains; u++, tile += 64) {
            const __m512i w = _mm512_loadu_si512(tile);
            __builtin_prefetch(tile + NEAR_AHEAD, 0, 2);
            UNROLL for (int c = 0; c < n; c++, low += 4, high += 4) {
                add_products(&sum[2 * (u * n + c)], w, load_fours(low));
                add_products(&sum[2 * (u * n + c) + 1], w, load_fours(high));
            }
        }
    for (int c = 0; c < n; c++) {
        int32_t sums[2][16];
        for (int part = 0; part < 2; part++) {
            __m512i all = sum[2 * c + part];
            UNROLL for (int u = 1; u < chains; u++)
                all = _mm512_add_epi32(all, sum[2 * (u * n + c) + part]);
            _mm512_storeu_si512(sums[part], all);
        }
        bnf_screen_upper(s, x, row, c, sums, upper + c * stride + row);
    }
}

void bnf_screen_bounds_avx512vnni(const struct bnf_screen *s, const struct bnf_screen_cols *x, float *upper, int64_t stride, int64_t row0,
                                  int64_t row1)
{
    switch (x->n) {
    case 1:
        for (int64_t r = row0; r < row1; r += 16)
            bound_on_the_way(s, x, upper, stride, r, 1, 4);
        break;
    case 2:
        for (int64_t r = row0; r < row1; r += 16)
            bound_on_the_way(s, x, upper, stride, r, 2, 2);
        break;
    case 3: bounds(s, x, upper, stride, row0, row1, 1, 3, 4); break;
    case 4: bounds(s, x, upper, stride, row0, row1, 1, 4, 2); break;
    case 5: bounds(s, x, upper, stride, row0, row1, 1, 5, 2); break;
    case 6: bounds(s, x, upper, stride, row0, row1, 2, 6, 1); break;
    case 7: bounds(s, x, upper, stride, row0, row1, 2, 7, 1); break;
    case 8: bounds(s, x, upper, stride, row0, row1, 2, 8, 1); break;
    case 9: bounds(s, x, upper, stride, row0, row1, 2, 9, 1); break;
    case 10: bounds(s, x, upper, stride, row0, row1, 2, 10, 1); break;
    case 11: bounds(s, x, upper, stride, row0, row1, 2, 11, 1); break;
    default: bounds(s, x, upper, stride, row0, row1, 2, 12, 1); break;
    }
}
