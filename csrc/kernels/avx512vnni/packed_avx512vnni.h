/* What the layouts of packed ternary weights for AVX-512 share: bringing sixteen rows of a file into the lanes of R16, and the
 * loops of a product around a layout's own inner products. A dword lane is a row: vpdpbusd with a broadcast of four activations
 * adds to sixteen rows at once, and no sum crosses lanes. May not know how a block of weights becomes codes.
 * An includer says what TQ_BLOCK is (bytes of 256 elements of a tile and their scales, which come last) and defines
 * tile_size and dot_tiles.
 * Next: packed_avx512vnni.c, four weights a byte; ../avx512vbmi/packed_avx512vbmi.c, five.
 *
 * Bounds. Codes are 0..3 and |q| <= 127. Multiplied where it stands in its byte a code is at most 192, so that a lane
 * takes at most 4 * 192 * 127 = 97,536 per 16 elements: int32 holds k <= 16 * 22,016 = 352,256. Longer rows stay as
 * they lie. Sums of shifted codes, and of q, are smaller. */
#ifndef BNF_PACKED_AVX512VNNI_H
#define BNF_PACKED_AVX512VNNI_H

#include <immintrin.h>

#include "bnf_bytes.h"
#include "bnf_kernels.h"
#include "bnf_tq1.h"
#include "transpose_avx512vnni.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Loops over arrays that must become registers: gcc decides about those before it would unroll by itself. */
#define UNROLL _Pragma("GCC unroll 24")

#define TILE_ROWS 16            /* a tile: the 16 rows that lie together */
#define BLOCK 64                /* bytes of a block: a dword for each row */
#define COLS 12                 /* of a panel: 2 tiles x 12 columns fill 24 of 32 registers with sums */
#define IN_PLACE_COLS 4         /* up to here columns come from q, not from a panel, and fields stand where they are */
#define MAX_K 352256

static inline bool is_tq(const struct bnf_matrix *w)
{
    return w->type != GGML_TYPE_I2_S;
}

/* Bytes of a tile. */
static inline uint64_t tile_size(const struct bnf_matrix *w);

/* Whether a layout of 16 rows can take these weights. */
static inline bool can_pack(const struct bnf_matrix *w)
{
    if (w->m % TILE_ROWS != 0 || w->k > MAX_K)
        return false;
    return w->type == GGML_TYPE_TQ1_0 || w->type == GGML_TYPE_TQ2_0 || (w->type == GGML_TYPE_I2_S && w->k % 128 == 0);
}

/* ---- packing ---- */

/* (a & mask) | (b & ~mask) */
static inline __m512i pick(__m512i mask, __m512i a, __m512i b)
{
    return _mm512_ternarylogic_epi64(mask, a, b, 0xca);
}

/* Bytes of four 2-bit fields: field f of out[g] = field g of s[f]. Shifts drag bits into the next byte, masks drop
 * them. */
static inline void transpose_fields(const __m512i s[4], __m512i out[4])
{
    const __m512i low4 = _mm512_set1_epi8(0x0f), low2 = _mm512_set1_epi8(0x33);
    const __m512i even0 = pick(low4, s[0], _mm512_slli_epi16(s[2], 4)); /* fields 0, 1 of s[0] and of s[2] */
    const __m512i odd0 = pick(low4, s[1], _mm512_slli_epi16(s[3], 4));
    const __m512i even2 = pick(low4, _mm512_srli_epi16(s[0], 4), s[2]); /* fields 2, 3 */
    const __m512i odd2 = pick(low4, _mm512_srli_epi16(s[1], 4), s[3]);
    out[0] = pick(low2, even0, _mm512_slli_epi16(odd0, 2));
    out[1] = pick(low2, _mm512_srli_epi16(even0, 2), odd0);
    out[2] = pick(low2, even2, _mm512_slli_epi16(odd2, 2));
    out[3] = pick(low2, _mm512_srli_epi16(even2, 2), odd2);
}

/* Nothing is read again soon: packing into memory runs at 20 GB/s this way, at 6 through the cache. */
static inline void store_past_cache(uint8_t *p, __m512i v)
{
    _mm512_stream_si512((void *)p, v);
}

typedef void (*store_fn)(uint8_t *p, __m512i v);

/* Up to two groups of 128 elements of 16 rows. In the files a group is 32 bytes, and field f of its byte j is element
 * 32 f + j (TQ2_0) or 32 (3 - f) + j (I2_S, `reversed`). Dwords 0..3 of a group hold every second block of 16 elements,
 * dwords 4..7 the others; in a block, dword j is elements 4 j .. 4 j + 3: hence transpose dwords, then fields. */
ALWAYS_INLINE void pack_groups(const uint8_t *row0, uint64_t row_size, int n_groups, bool reversed, uint8_t *out,
                               store_fn store)
{
    const __mmask16 mask = n_groups == 2 ? 0xffff : 0x00ff;
    __m512i v[16];
    for (int r = 0; r < TILE_ROWS; r++)
        v[r] = _mm512_maskz_loadu_epi32(mask, row0 + (uint64_t)r * row_size);
    transpose(v);
    for (int group = 0; group < n_groups; group++)
        for (int half = 0; half < 2; half++) {
            __m512i block[4];
            transpose_fields(v + 8 * group + 4 * half, block);
            for (int f = 0; f < 4; f++)
                store(out + BLOCK * (8 * group + 2 * (reversed ? 3 - f : f) + half), block[f]);
        }
}

/* Block b of 256 elements of 16 rows to 16 blocks of R16; its scales. */
ALWAYS_INLINE __m512 pack_tq_block(const struct bnf_matrix *w, const uint8_t *row0, int64_t b, uint8_t *out, store_fn store)
{
    const int block_size = w->type == GGML_TYPE_TQ1_0 ? 54 : 66;
    const uint8_t *in = row0 + b * block_size;
    uint16_t d[TILE_ROWS];
    for (int r = 0; r < TILE_ROWS; r++)
        d[r] = bnf_load_u16(in + (uint64_t)r * w->row_size + block_size - 2);
    if (w->type == GGML_TYPE_TQ1_0) {
        uint8_t fields[TILE_ROWS][64];
        for (int r = 0; r < TILE_ROWS; r++)
            bnf_tq1_fields(in + (uint64_t)r * w->row_size, fields[r]);
        pack_groups(fields[0], sizeof fields[0], 2, false, out, store);
    } else {
        pack_groups(in, w->row_size, 2, false, out, store);
    }
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)d));
}

/* ---- inner products: tiles times n columns; n_tiles and n are constants where these are called ---- */

/* The columns [c, c + n) of a product; the first of a panel, or a single one. */
struct operand {
    int64_t k;
    const int8_t *q;         /* [column][q_stride] */
    int64_t q_stride;
    const int8_t *panel;     /* the same in a panel, for more than IN_PLACE_COLS */
    const int32_t *minus;    /* minus the sums of q. I2_S: [column].  TQ: [256 elements][COLS] */
    const float *act_scale;  /* [column] */
    float scale;
    uint64_t tile_size;
    int64_t y_stride;
};

/* sum += products of codes and four activations, in every lane; the activations in memory, or in a register's lanes.
 * Not the intrinsic: gcc 12 carries each of so many sums through a second register or the stack. Of the multiplier's
 * peak, six columns reached 43 % instead of 90 %, TQ with twelve 75 % instead of 92 %. */
ALWAYS_INLINE void add_products_of(__m512i *sum, __m512i code, const int8_t *four)
{
    __asm__("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(*sum) : "v"(code), "m"(*(const int8_t (*)[4])four));
}

ALWAYS_INLINE void add_products(__m512i *sum, __m512i code, __m512i fours)
{
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(code), "v"(fours));
}

/* One or two tiles from element i on, to its end or to the end of 256: dot[t * n + c] = minus[c] + sum of code * q. */
ALWAYS_INLINE void dot_tiles(const struct operand *x, const uint8_t *w, int n_tiles, int n, int64_t i,
                             const int32_t *minus, int64_t k, __m512i *dot);

ALWAYS_INLINE void multiply_i2_s(const struct operand *x, const uint8_t *w, float *y, int n_tiles, int n)
{
    __m512i dot[2 * COLS];
    dot_tiles(x, w, n_tiles, n, 0, x->minus, x->k, dot);
    UNROLL for (int t = 0; t < n_tiles; t++)
        UNROLL for (int c = 0; c < n; c++) {
            const __m512 d = _mm512_div_ps(_mm512_cvtepi32_ps(dot[t * n + c]), _mm512_set1_ps(x->act_scale[c]));
            _mm512_storeu_ps(y + c * x->y_stride + t * TILE_ROWS, _mm512_mul_ps(d, _mm512_set1_ps(x->scale)));
        }
}

ALWAYS_INLINE void multiply_tq(const struct operand *x, const uint8_t *w, float *y, int n_tiles, int n)
{
    const int32_t *minus = x->minus;
    __m512 acc[2 * COLS];
    UNROLL for (int i = 0; i < n_tiles * n; i++)
        acc[i] = _mm512_setzero_ps();
    for (int64_t i = 0; i < x->k; i += 256, w += TQ_BLOCK, minus += COLS) {
        __m512i dot[2 * COLS];
        dot_tiles(x, w, n_tiles, n, i, minus, 256, dot);
        UNROLL for (int t = 0; t < n_tiles; t++) {
            const __m512 d = _mm512_loadu_ps(w + (uint64_t)t * x->tile_size + TQ_BLOCK - BLOCK);
            UNROLL for (int c = 0; c < n; c++)
                acc[t * n + c] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[t * n + c]), d, acc[t * n + c]);
        }
    }
    UNROLL for (int t = 0; t < n_tiles; t++)
        UNROLL for (int c = 0; c < n; c++)
            _mm512_storeu_ps(y + c * x->y_stride + t * TILE_ROWS,
                             _mm512_div_ps(acc[t * n + c], _mm512_set1_ps(x->act_scale[c])));
}

typedef void (*multiply_fn)(const struct operand *x, const uint8_t *w, float *y);

#define MULTIPLY(type, n_tiles, n)                                                                                       \
    static void type##_##n_tiles##x##n(const struct operand *x, const uint8_t *w, float *y)                              \
    {                                                                                                                    \
        multiply_##type(x, w, y, n_tiles, n);                                                                            \
    }
#define MULTIPLY_ALL(type)                                                                                               \
    MULTIPLY(type, 1, 1) MULTIPLY(type, 1, 2) MULTIPLY(type, 1, 3) MULTIPLY(type, 1, 4) MULTIPLY(type, 1, 5)             \
    MULTIPLY(type, 1, 6) MULTIPLY(type, 1, 7) MULTIPLY(type, 1, 8) MULTIPLY(type, 1, 9) MULTIPLY(type, 1, 10)            \
    MULTIPLY(type, 1, 11) MULTIPLY(type, 1, 12) MULTIPLY(type, 2, 5) MULTIPLY(type, 2, 6) MULTIPLY(type, 2, 7)           \
    MULTIPLY(type, 2, 8) MULTIPLY(type, 2, 9) MULTIPLY(type, 2, 10) MULTIPLY(type, 2, 11) MULTIPLY(type, 2, 12)          \
    static const multiply_fn type##_one[COLS + 1] = { NULL, type##_1x1, type##_1x2, type##_1x3, type##_1x4,             \
                                                      type##_1x5, type##_1x6, type##_1x7, type##_1x8, type##_1x9,        \
                                                      type##_1x10, type##_1x11, type##_1x12 };                           \
    static const multiply_fn type##_two[COLS + 1] = { [5] = type##_2x5, type##_2x6, type##_2x7, type##_2x8, type##_2x9,  \
                                                      type##_2x10, type##_2x11, type##_2x12 };
MULTIPLY_ALL(i2_s)
MULTIPLY_ALL(tq)

/* ---- loops around them ---- */

/* Bytes of rows that meet all panels before the next rows do: they stay in L2. From 128 to 512 KiB all within 3 %.
 * Cutting k as well, so that a panel stays in L1, is not needed: at k = 6912 panels come out of L2 at 95 % of the
 * peak. */
#define ROWS_SIZE (256 * 1024)

/* minus[256 elements][COLS] of n columns, from sums of 16. Columns beyond the last repeat it, and mean nothing. */
static void sum_blocks(const int16_t *sum16, int64_t stride, int n, int64_t k, int32_t *minus)
{
    const __m256i minus_one = _mm256_set1_epi16(-1);
    for (int c = 0; c < n; c += 4)
        for (int64_t b = 0; b < k / 256; b++) {
            __m256i v[4];
            for (int j = 0; j < 4; j++) {
                const int16_t *s = sum16 + (c + j < n ? c + j : n - 1) * stride + 16 * b;
                v[j] = _mm256_madd_epi16(_mm256_loadu_si256((const __m256i *)s), minus_one);
            }
            const __m256i sum = _mm256_hadd_epi32(_mm256_hadd_epi32(v[0], v[1]), _mm256_hadd_epi32(v[2], v[3]));
            _mm_storeu_si128((__m128i *)(minus + b * COLS + c),
                             _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1)));
        }
}

/* Tiles [t0, t1) times columns [c, c + n). */
static void multiply_columns(const struct bnf_matrix *w, const struct bnf_act *x, int64_t c, int n, float *y,
                             int64_t y_stride, int64_t t0, int64_t t1, int32_t *minus)
{
    const bool tq = is_tq(w);
    const multiply_fn one = (tq ? tq_one : i2_s_one)[n], two = (tq ? tq_two : i2_s_two)[n];
    const struct operand operand = {
        .k = w->k,
        .q = x->q + c * x->q_stride,
        .q_stride = x->q_stride,
        .panel = n > IN_PLACE_COLS ? x->panels + c * x->q_stride : NULL,
        .minus = minus,
        .act_scale = x->scale + c,
        .scale = w->scale,
        .tile_size = tile_size(w),
        .y_stride = y_stride,
    };
    if (tq)
        sum_blocks(x->sum16 + c * (x->q_stride / 16), x->q_stride / 16, n, w->k, minus);
    else
        for (int i = 0; i < n; i++)
            minus[i] = -x->sum[c + i];
    y += c * y_stride;
    while (t0 < t1) {
        const bool pair = n > IN_PLACE_COLS && t1 - t0 >= 2;
        (pair ? two : one)(&operand, w->data + (uint64_t)t0 * operand.tile_size, y + t0 * TILE_ROWS);
        t0 += pair ? 2 : 1;
    }
}

/* Rows [row0, row1), multiples of 16. `scratch` holds sums of 12 columns: at most 48 bytes for 256 elements. */
static void multiply(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride, int64_t row0,
                     int64_t row1, void *scratch)
{
    const int64_t t1 = row1 / TILE_ROWS;
    int64_t step = ROWS_SIZE / (int64_t)tile_size(w) / 2 * 2;
    if (x->n_cols <= COLS)
        step = t1;
    else if (step < 2)
        step = 2;
    for (int64_t t = row0 / TILE_ROWS; t < t1; t += step)
        for (int64_t c = 0; c < x->n_cols; c += COLS) {
            const int n = (int)(x->n_cols - c < COLS ? x->n_cols - c : COLS);
            multiply_columns(w, x, c, n, y, y_stride, t, t1 - t < step ? t1 : t + step, scratch);
        }
}

#endif
