/* Inner products with AVX-512 VNNI. vpdpbusd multiplies unsigned weights by signed activations and adds groups of four
 * into int32 lanes, so codes stay unsigned and their offset is taken off with the sums of the activations.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_matmul.h, the loops around these. */
#include <immintrin.h>

#include "kernels_avx512vnni.h"

#define BNF_TILE_ROWS 16
#define BNF_TILE_BIAS 128
#define BNF_FLOAT_ROWS_1 8 /* one column: eight rows hide the latency of fma */
#define BNF_FLOAT_ROWS 4
#define BNF_FLOAT_COLS 4
#include "bnf_matmul.h"

/* ---- sums of lanes ---- */

/* Each 128-bit lane of the result: the sums of the four numbers in that lane of a, b, c and d. */
static inline __m512i sum_quads(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b)); /* a02 b02 a13 b13 */
    const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

/* v[r]: row r's partial sums, 128-bit lane g of 16 elements. Afterwards g[i]: lane r = row r's sum over its 16 elements i. */
static inline void sum_rows(const __m512i v[16], __m512i g[4])
{
    const __m512i a = sum_quads(v[0], v[1], v[2], v[3]), b = sum_quads(v[4], v[5], v[6], v[7]);
    const __m512i c = sum_quads(v[8], v[9], v[10], v[11]), d = sum_quads(v[12], v[13], v[14], v[15]);
    const __m512i ab01 = _mm512_shuffle_i32x4(a, b, 0x44), ab23 = _mm512_shuffle_i32x4(a, b, 0xee);
    const __m512i cd01 = _mm512_shuffle_i32x4(c, d, 0x44), cd23 = _mm512_shuffle_i32x4(c, d, 0xee);
    g[0] = _mm512_shuffle_i32x4(ab01, cd01, 0x88);
    g[1] = _mm512_shuffle_i32x4(ab01, cd01, 0xdd);
    g[2] = _mm512_shuffle_i32x4(ab23, cd23, 0x88);
    g[3] = _mm512_shuffle_i32x4(ab23, cd23, 0xdd);
}

/* Lane i: sum of the four numbers in lane i of the four 128-bit lanes. */
static inline __m128i add_lanes(__m512i v)
{
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

static inline __m256i load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m512i load_halves(const void *low, const void *high)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(load_256(low)), load_256(high), 1);
}

/* ---- block formats: lane r of every vector belongs to row r ---- */

static inline __m512i load_i8(const int8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_load_si128((const __m128i *)p));
}

static inline __m512 load_f16(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)p));
}

BNF_ALWAYS_INLINE void bnf_tile_dot_blocks(const struct bnf_tile *t, struct bnf_tile_format f, int parts, const int8_t *q,
                                           const int16_t *sum16, const float *da, float *acc_rows)
{
    __m512 acc = _mm512_load_ps(acc_rows);
    for (int p = 0; p < parts; p += 2) { /* 64 elements; an odd last part meets zero activations */
        const __m512i a = _mm512_loadu_si512(q + 32 * p);
        __m512i v[16], g[4];
        for (int r = 0; r < 16; r++)
            v[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_load_si512(t->code[r] + 32 * p), a);
        sum_rows(v, g);

        for (int part = p; part < p + 2 && part < parts; part++) {
            const __m512i g0 = g[2 * (part - p)], g1 = g[2 * (part - p) + 1];
            const int32_t s0 = sum16[2 * part], s1 = sum16[2 * part + 1];
            __m512i dot;
            if (f.has_sub) {
                const __m512i d0 = _mm512_sub_epi32(g0, _mm512_set1_epi32(f.offset * s0));
                const __m512i d1 = _mm512_sub_epi32(g1, _mm512_set1_epi32(f.offset * s1));
                dot = _mm512_add_epi32(_mm512_mullo_epi32(d0, load_i8(t->sub[2 * part])),
                                       _mm512_mullo_epi32(d1, load_i8(t->sub[2 * part + 1])));
            } else {
                dot = _mm512_sub_epi32(_mm512_add_epi32(g0, g1), _mm512_set1_epi32(f.offset * (s0 + s1)));
            }
            const int at = f.super ? 0 : part;
            const __m512 scale = _mm512_set1_ps(da[part]);
            acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), _mm512_mul_ps(load_f16(t->d[at]), scale), acc);
            if (f.min != BNF_MIN_NONE) {
                __m512i sum = _mm512_set1_epi32(s0 + s1);
                if (f.min == BNF_MIN_SUB)
                    sum = _mm512_add_epi32(_mm512_mullo_epi32(load_i8(t->min[2 * part]), _mm512_set1_epi32(s0)),
                                           _mm512_mullo_epi32(load_i8(t->min[2 * part + 1]), _mm512_set1_epi32(s1)));
                acc = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(load_f16(t->m[at]), scale), acc);
            }
        }
    }
    _mm512_store_ps(acc_rows, acc);
}

/* acc = fma((float)(v's sum of code * q - sum of q), d, acc) */
static inline void add_ternary(const __m512i v[16], const int16_t *sum16, __m512 d, float *acc)
{
    __m512i g[4];
    sum_rows(v, g);
    const __m512i sums = _mm512_cvtepi16_epi32(load_256(sum16));
    const __m512i dot = _mm512_sub_epi32(_mm512_add_epi32(_mm512_add_epi32(g[0], g[1]), _mm512_add_epi32(g[2], g[3])),
                                         _mm512_set1_epi32(_mm512_reduce_add_epi32(sums)));
    _mm512_store_ps(acc, _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot), d, _mm512_load_ps(acc)));
}

BNF_ALWAYS_INLINE void bnf_tile_dot_ternary(const struct bnf_tile *t, const int8_t *q, const int16_t *sum16, float *acc)
{
    __m512i v[16];
    for (int r = 0; r < 16; r++)
        v[r] = _mm512_setzero_si512();
    for (int i = 0; i < 256; i += 64) {
        const __m512i a = _mm512_loadu_si512(q + i);
        for (int r = 0; r < 16; r++)
            v[r] = _mm512_dpbusd_epi32(v[r], _mm512_load_si512(t->code[r] + i), a);
    }
    add_ternary(v, sum16, load_f16(t->d[0]), acc);
}

/* Byte i of a block's low 32 holds, from its low bits up, elements i, 32 + i, 64 + i, 96 + i; the high 32 the same plus 128. */
static void bnf_tq2_0_dot_in_place(const uint8_t *const block[16], const int8_t *q, const int16_t *sum16, float *acc)
{
    const __m512i mask = _mm512_set1_epi8(3);
    alignas(32) uint16_t d[16];
    __m512i v[16], a[4];
    for (int f = 0; f < 4; f++)
        a[f] = load_halves(q + 32 * f, q + 128 + 32 * f);
    for (int r = 0; r < 16; r++) {
        const __m512i x = _mm512_loadu_si512(block[r]);
        __builtin_prefetch(block[r] + BNF_PREFETCH, 0, 2);
        v[r] = _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_and_si512(x, mask), a[0]);
        v[r] = _mm512_dpbusd_epi32(v[r], _mm512_and_si512(_mm512_srli_epi16(x, 2), mask), a[1]);
        v[r] = _mm512_dpbusd_epi32(v[r], _mm512_and_si512(_mm512_srli_epi16(x, 4), mask), a[2]);
        v[r] = _mm512_dpbusd_epi32(v[r], _mm512_and_si512(_mm512_srli_epi16(x, 6), mask), a[3]);
        d[r] = bnf_load_u16(block[r] + 64);
    }
    add_ternary(v, sum16, load_f16(d), acc);
}

/* ---- I2_S ---- */

BNF_ALWAYS_INLINE void bnf_i2_s_dot(const uint8_t *code, int64_t code_stride, const int8_t *q, int64_t q_stride, int n,
                                    int64_t padded, int32_t dot[][4])
{
    __m512i v[4][4]; /* [column][row] */
    for (int c = 0; c < n; c++)
        for (int r = 0; r < 4; r++)
            v[c][r] = _mm512_setzero_si512();
    for (int64_t i = 0; i < padded; i += 64) {
        __m512i w[4];
        for (int r = 0; r < 4; r++)
            w[r] = _mm512_loadu_si512(code + r * code_stride + i);
        for (int c = 0; c < n; c++) {
            const __m512i a = _mm512_loadu_si512(q + c * q_stride + i);
            for (int r = 0; r < 4; r++)
                v[c][r] = _mm512_dpbusd_epi32(v[c][r], w[r], a);
        }
    }
    for (int c = 0; c < n; c++)
        _mm_storeu_si128((__m128i *)dot[c], add_lanes(sum_quads(v[c][0], v[c][1], v[c][2], v[c][3])));
}

/* Sixty-four bytes are two groups of 128: byte i of the low half holds, from its high bits down, elements i, 32 + i,
 * 64 + i, 96 + i; the high half the same plus 128. The fields are multiplied where they stand,
 *     x & 0x03 = code   x & 0x0c = 4 code   x & 0x30 = 16 code   x & 0xc0 = 64 code (at most 192, fits unsigned)
 * into four sums that are shifted down at the end: every term is a multiple, so nothing is lost. A lane takes four
 * products a step, at most 4 * 192 * 127 = 97,536: exact for k up to 5.6 million. */
static void bnf_i2_s_dot_in_place(const uint8_t *const row[4], const int8_t *q, int64_t k, int32_t dot[4])
{
    const __m512i mask0 = _mm512_set1_epi8(0x03), mask1 = _mm512_set1_epi8(0x0c);
    const __m512i mask2 = _mm512_set1_epi8(0x30), mask3 = _mm512_set1_epi8((char)0xc0);
    __m512i v0[4], v1[4], v2[4], v3[4];
    for (int r = 0; r < 4; r++)
        v0[r] = v1[r] = v2[r] = v3[r] = _mm512_setzero_si512();

    int64_t i = 0;
    for (; i + 256 <= k; i += 256) {
        __m512i a[4]; /* a[f]: elements 32 f + 0..31 of both groups */
        for (int f = 0; f < 4; f++)
            a[f] = load_halves(q + i + 32 * f, q + i + 128 + 32 * f);
        for (int r = 0; r < 4; r++) {
            const uint8_t *s = row[r] + i / 4;
            const __m512i x = _mm512_loadu_si512(s);
            v0[r] = _mm512_dpbusd_epi32(v0[r], _mm512_and_si512(x, mask0), a[3]);
            v1[r] = _mm512_dpbusd_epi32(v1[r], _mm512_and_si512(x, mask1), a[2]);
            v2[r] = _mm512_dpbusd_epi32(v2[r], _mm512_and_si512(x, mask2), a[1]);
            v3[r] = _mm512_dpbusd_epi32(v3[r], _mm512_and_si512(x, mask3), a[0]);
        }
    }
    if (i < k) /* one group is left: in the high half zero weights meet zero activations */
        for (int r = 0; r < 4; r++) {
            const __m512i x = _mm512_zextsi256_si512(load_256(row[r] + i / 4));
            v0[r] = _mm512_dpbusd_epi32(v0[r], _mm512_and_si512(x, mask0), _mm512_zextsi256_si512(load_256(q + i + 96)));
            v1[r] = _mm512_dpbusd_epi32(v1[r], _mm512_and_si512(x, mask1), _mm512_zextsi256_si512(load_256(q + i + 64)));
            v2[r] = _mm512_dpbusd_epi32(v2[r], _mm512_and_si512(x, mask2), _mm512_zextsi256_si512(load_256(q + i + 32)));
            v3[r] = _mm512_dpbusd_epi32(v3[r], _mm512_and_si512(x, mask3), _mm512_zextsi256_si512(load_256(q + i)));
        }
    for (int r = 0; r < 4; r++) {
        v0[r] = _mm512_add_epi32(v0[r], _mm512_srai_epi32(v1[r], 2));
        v0[r] = _mm512_add_epi32(v0[r], _mm512_srai_epi32(v2[r], 4));
        v0[r] = _mm512_add_epi32(v0[r], _mm512_srai_epi32(v3[r], 6));
    }
    _mm_storeu_si128((__m128i *)dot, add_lanes(sum_quads(v0[0], v0[1], v0[2], v0[3])));
}

/* ---- floats: lane i of an accumulator is lane i of lanes16 ---- */

static inline float sum_lanes16(__m512 v)
{
    const __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* Elements i.. of a row, those in the mask; nothing beyond them is read. */
BNF_ALWAYS_INLINE __m512 load_weights(enum bnf_float_type type, const uint8_t *row, int64_t i, __mmask16 mask)
{
    if (type == BNF_FLOAT_F32)
        return _mm512_maskz_loadu_ps(mask, row + 4 * i);
    const __m256i half = _mm256_maskz_loadu_epi16(mask, row + 2 * i);
    if (type == BNF_FLOAT_F16)
        return _mm512_cvtph_ps(half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

BNF_ALWAYS_INLINE void float_step(enum bnf_float_type type, const uint8_t *const row[], int n_rows, const float *const col[],
                                  int n_cols, int64_t i, __mmask16 mask, __m512 acc[4][8])
{
    __m512 x[4];
    for (int c = 0; c < n_cols; c++)
        x[c] = _mm512_maskz_loadu_ps(mask, col[c] + i);
    for (int r = 0; r < n_rows; r++) {
        const __m512 w = load_weights(type, row[r], i, mask);
        for (int c = 0; c < n_cols; c++)
            acc[c][r] = _mm512_mask3_fmadd_ps(w, x[c], acc[c][r], mask); /* lanes outside the mask stay, -0 and all */
    }
}

BNF_ALWAYS_INLINE void bnf_float_dot(enum bnf_float_type type, const uint8_t *const row[], int n_rows, const float *const col[],
                                     int n_cols, int64_t k, float dot[][BNF_FLOAT_MAX])
{
    __m512 acc[4][8]; /* [column][row] */
    for (int c = 0; c < n_cols; c++)
        for (int r = 0; r < n_rows; r++)
            acc[c][r] = _mm512_setzero_ps();
    int64_t i = 0;
    for (; i + 16 <= k; i += 16)
        float_step(type, row, n_rows, col, n_cols, i, 0xffff, acc);
    if (i < k)
        float_step(type, row, n_rows, col, n_cols, i, (__mmask16)((1u << (k - i)) - 1), acc);
    for (int c = 0; c < n_cols; c++)
        for (int r = 0; r < n_rows; r++)
            dot[c][r] = sum_lanes16(acc[c][r]);
}

BNF_MATMUL_FUNCTIONS(avx512vnni)
