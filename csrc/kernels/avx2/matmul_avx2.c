/* Inner products with AVX2, FMA and F16C. vpmaddubsw multiplies unsigned weights by signed activations and adds pairs into
 * int16, which must be widened before it can overflow; the bound stands beside every such sum.
 * May not reorder a float operation (bnf_ops.h). Next: csrc/bnf_matmul.h, the loops around these. */
#include <immintrin.h>

#include "kernels_avx2.h"

#define BNF_TILE_ROWS 8
#define BNF_TILE_BIAS 0
#define BNF_FLOAT_ROWS_1 4 /* one column: four rows of two halves hide the latency of fma */
#define BNF_FLOAT_ROWS 2
#define BNF_FLOAT_COLS 3 /* 2 * 3 * 2 accumulators, two weights, one activation: 15 of 16 registers */
#include "bnf_matmul.h"

/* ---- sums of lanes ---- */

/* Each 128-bit half of the result: the sums of the four numbers in that half of a, b, c and d. */
static inline __m256i sum_quads(__m256i a, __m256i b, __m256i c, __m256i d)
{
    return _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
}

/* v[r]: row r's partial sums, half g of 16 elements. Afterwards g[i]: lane r = row r's sum over its 16 elements i. */
static inline void sum_rows(const __m256i v[8], __m256i g[2])
{
    const __m256i a = sum_quads(v[0], v[1], v[2], v[3]), b = sum_quads(v[4], v[5], v[6], v[7]);
    g[0] = _mm256_permute2x128_si256(a, b, 0x20);
    g[1] = _mm256_permute2x128_si256(a, b, 0x31);
}

static inline __m128i add_halves(__m256i v)
{
    return _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
}

/* int32 sums of pairs of int16 */
static inline __m256i widen(__m256i v)
{
    return _mm256_madd_epi16(v, _mm256_set1_epi16(1));
}

static inline __m256i load_256(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* ---- block formats: lane r of every vector belongs to row r ---- */

static inline __m256i load_i8(const int8_t *p)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
}

static inline __m256 load_f16(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_load_si128((const __m128i *)p));
}

BNF_ALWAYS_INLINE void bnf_tile_dot_blocks(const struct bnf_tile *t, struct bnf_tile_format f, int parts, const int8_t *q,
                                           const int16_t *sum16, const float *da, float *acc_rows)
{
    __m256 acc = _mm256_load_ps(acc_rows);
    for (int p = 0; p < parts; p++) {
        const __m256i a = load_256(q + 32 * p);
        __m256i v[8], g[2];
        for (int r = 0; r < 8; r++) {
            const __m256i w = load_256(t->code[r] + 32 * p);
            /* A pair is at most 2 * 63 * 127; signed codes, as |w| times a with w's sign, 2 * 128 * 127 = 32,512. */
            v[r] = widen(f.signed_code ? _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(a, w))
                                       : _mm256_maddubs_epi16(w, a));
        }
        sum_rows(v, g);

        const int32_t s0 = sum16[2 * p], s1 = sum16[2 * p + 1];
        __m256i dot;
        if (f.has_sub) {
            const __m256i d0 = _mm256_sub_epi32(g[0], _mm256_set1_epi32(f.offset * s0));
            const __m256i d1 = _mm256_sub_epi32(g[1], _mm256_set1_epi32(f.offset * s1));
            dot = _mm256_add_epi32(_mm256_mullo_epi32(d0, load_i8(t->sub[2 * p])),
                                   _mm256_mullo_epi32(d1, load_i8(t->sub[2 * p + 1])));
        } else {
            dot = _mm256_sub_epi32(_mm256_add_epi32(g[0], g[1]), _mm256_set1_epi32(f.offset * (s0 + s1)));
        }
        const int at = f.super ? 0 : p;
        const __m256 scale = _mm256_set1_ps(da[p]);
        acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(load_f16(t->d[at]), scale), acc);
        if (f.min != BNF_MIN_NONE) {
            __m256i sum = _mm256_set1_epi32(s0 + s1);
            if (f.min == BNF_MIN_SUB)
                sum = _mm256_add_epi32(_mm256_mullo_epi32(load_i8(t->min[2 * p]), _mm256_set1_epi32(s0)),
                                       _mm256_mullo_epi32(load_i8(t->min[2 * p + 1]), _mm256_set1_epi32(s1)));
            acc = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), _mm256_mul_ps(load_f16(t->m[at]), scale), acc);
        }
    }
    _mm256_store_ps(acc_rows, acc);
}

/* acc = fma((float)(v's sum of code * q - sum of q), d, acc) */
static inline void add_ternary(const __m256i v[8], const int16_t *sum16, __m256 d, float *acc)
{
    __m256i g[2];
    sum_rows(v, g);
    __m128i sums = add_halves(widen(load_256(sum16)));
    sums = _mm_hadd_epi32(sums, sums);
    sums = _mm_hadd_epi32(sums, sums);
    const __m256i dot = _mm256_sub_epi32(_mm256_add_epi32(g[0], g[1]), _mm256_broadcastd_epi32(sums));
    _mm256_store_ps(acc, _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), d, _mm256_load_ps(acc)));
}

BNF_ALWAYS_INLINE void bnf_tile_dot_ternary(const struct bnf_tile *t, const int8_t *q, const int16_t *sum16, float *acc)
{
    __m256i v[8];
    for (int r = 0; r < 8; r++)
        v[r] = _mm256_setzero_si256();
    for (int i = 0; i < 256; i += 32) {
        const __m256i a = load_256(q + i);
        for (int r = 0; r < 8; r++) /* int16: eight times at most 2 * 3 * 127 */
            v[r] = _mm256_add_epi16(v[r], _mm256_maddubs_epi16(load_256(t->code[r] + i), a));
    }
    for (int r = 0; r < 8; r++)
        v[r] = widen(v[r]);
    add_ternary(v, sum16, load_f16(t->d[0]), acc);
}

/* Byte i of a half of 128 holds, from its low bits up, elements i, 32 + i, 64 + i, 96 + i. With y = x >> 4 two fields are read
 * four times too large, as in bnf_i2_s_dot_in_place. In int16: one 2 * 2 * 762, four 4 times that, 12,192. */
static void bnf_tq2_0_dot_in_place(const uint8_t *const block[8], const int8_t *q, const int16_t *sum16, float *acc)
{
    const __m256i mask1 = _mm256_set1_epi8(0x03), mask4 = _mm256_set1_epi8(0x0c);
    alignas(16) uint16_t d[8];
    __m256i v[8];
    for (int r = 0; r < 8; r++) {
        __m256i one = _mm256_setzero_si256(), four = one;
        for (int half = 0; half < 2; half++) {
            const __m256i x = load_256(block[r] + 32 * half), y = _mm256_srli_epi16(x, 4);
            const int8_t *a = q + 128 * half;
            one = _mm256_add_epi16(one, _mm256_maddubs_epi16(_mm256_and_si256(x, mask1), load_256(a)));
            four = _mm256_add_epi16(four, _mm256_maddubs_epi16(_mm256_and_si256(x, mask4), load_256(a + 32)));
            one = _mm256_add_epi16(one, _mm256_maddubs_epi16(_mm256_and_si256(y, mask1), load_256(a + 64)));
            four = _mm256_add_epi16(four, _mm256_maddubs_epi16(_mm256_and_si256(y, mask4), load_256(a + 96)));
        }
        __builtin_prefetch(block[r] + BNF_PREFETCH, 0, 2);
        v[r] = _mm256_add_epi32(widen(one), _mm256_srai_epi32(widen(four), 2));
        d[r] = bnf_load_u16(block[r] + 64);
    }
    add_ternary(v, sum16, load_f16(d), acc);
}

/* ---- I2_S ---- */

BNF_ALWAYS_INLINE void bnf_i2_s_dot(const uint8_t *code, int64_t code_stride, const int8_t *q, int64_t q_stride, int n,
                                    int64_t padded, int32_t dot[][4])
{
    /* Two columns at a time: eight int16 sums in registers. A step adds at most 2 * 3 * 127 = 762, so that 32 steps
     * (24,384) fit before they are widened. */
    for (int c0 = 0; c0 < n; c0 += 2) {
        const int n_cols = n - c0 < 2 ? 1 : 2;
        __m256i wide[2][4];
        for (int c = 0; c < n_cols; c++)
            for (int r = 0; r < 4; r++)
                wide[c][r] = _mm256_setzero_si256();
        for (int64_t i = 0; i < padded; i += 32 * 32) {
            const int64_t end = padded - i < 32 * 32 ? padded : i + 32 * 32;
            __m256i v[2][4];
            for (int c = 0; c < n_cols; c++)
                for (int r = 0; r < 4; r++)
                    v[c][r] = _mm256_setzero_si256();
            for (int64_t j = i; j < end; j += 32) {
                __m256i a[2];
                for (int c = 0; c < n_cols; c++)
                    a[c] = load_256(q + (c0 + c) * q_stride + j);
                for (int r = 0; r < 4; r++) {
                    const __m256i w = load_256(code + r * code_stride + j);
                    for (int c = 0; c < n_cols; c++)
                        v[c][r] = _mm256_add_epi16(v[c][r], _mm256_maddubs_epi16(w, a[c]));
                }
            }
            for (int c = 0; c < n_cols; c++)
                for (int r = 0; r < 4; r++)
                    wide[c][r] = _mm256_add_epi32(wide[c][r], widen(v[c][r]));
        }
        for (int c = 0; c < n_cols; c++)
            _mm_storeu_si128((__m128i *)dot[c0 + c], add_halves(sum_quads(wide[c][0], wide[c][1], wide[c][2], wide[c][3])));
    }
}

/* Thirty-two bytes are a group of 128: byte i holds, from its high bits down, elements i, 32 + i, 64 + i, 96 + i. One
 * shift serves four fields, two of which are multiplied where they stand, four times too large:
 *     x & 0x03 = code   x & 0x0c = 4 code   with y = x >> 4:   y & 0x03 = code   y & 0x0c = 4 code
 * `one` and `four` add them in int16. A group adds at most 2 * 2 * 12 * 127 = 6,096 to a lane of `four`, so that five
 * groups (30,480) fit before both are widened, `one` times 4; the sum of all is shifted down at the end, exactly.
 * The int32 lanes take at most 4 * 3 * 127 * k / 8: exact for k up to 11 million. */
static void bnf_i2_s_dot_in_place(const uint8_t *const row[4], const int8_t *q, int64_t k, int32_t dot[4])
{
    const __m256i mask1 = _mm256_set1_epi8(0x03), mask4 = _mm256_set1_epi8(0x0c);
    __m256i wide[4];
    for (int r = 0; r < 4; r++)
        wide[r] = _mm256_setzero_si256();

    for (int64_t i = 0; i < k; i += 5 * 128) {
        const int64_t end = k - i < 5 * 128 ? k : i + 5 * 128;
        __m256i one[4], four[4];
        for (int r = 0; r < 4; r++)
            one[r] = four[r] = _mm256_setzero_si256();
        for (int64_t j = i; j < end; j += 128) {
            const __m256i a0 = load_256(q + j), a1 = load_256(q + j + 32);
            const __m256i a2 = load_256(q + j + 64), a3 = load_256(q + j + 96);
            for (int r = 0; r < 4; r++) {
                const uint8_t *s = row[r] + j / 4;
                const __m256i x = load_256(s), y = _mm256_srli_epi16(x, 4);
                one[r] = _mm256_add_epi16(one[r], _mm256_maddubs_epi16(_mm256_and_si256(x, mask1), a3));
                four[r] = _mm256_add_epi16(four[r], _mm256_maddubs_epi16(_mm256_and_si256(x, mask4), a2));
                one[r] = _mm256_add_epi16(one[r], _mm256_maddubs_epi16(_mm256_and_si256(y, mask1), a1));
                four[r] = _mm256_add_epi16(four[r], _mm256_maddubs_epi16(_mm256_and_si256(y, mask4), a0));
            }
        }
        for (int r = 0; r < 4; r++)
            wide[r] = _mm256_add_epi32(wide[r], _mm256_add_epi32(_mm256_madd_epi16(one[r], _mm256_set1_epi16(4)), widen(four[r])));
    }
    for (int r = 0; r < 4; r++)
        wide[r] = _mm256_srai_epi32(wide[r], 2);
    _mm_storeu_si128((__m128i *)dot, add_halves(sum_quads(wide[0], wide[1], wide[2], wide[3])));
}

/* ---- floats: low holds lanes 0..7 of lanes16, high lanes 8..15 ---- */

struct lanes {
    __m256 low, high;
};

static inline float sum_lanes16(struct lanes v)
{
    const __m256 v8 = _mm256_add_ps(v.low, v.high);
    const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

BNF_ALWAYS_INLINE __m256 load_weights(enum bnf_float_type type, const uint8_t *row, int64_t i)
{
    if (type == BNF_FLOAT_F32)
        return _mm256_loadu_ps((const float *)(const void *)row + i);
    const __m128i half = _mm_loadu_si128((const __m128i *)(row + 2 * i));
    if (type == BNF_FLOAT_F16)
        return _mm256_cvtph_ps(half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

/* The last k - i < 16 elements: copied to where 16 can be read; lanes beyond them stay, -0 and all. */
BNF_ALWAYS_INLINE struct lanes float_tail(enum bnf_float_type type, const uint8_t *row, const float *col, int64_t i, int64_t k,
                                          struct lanes acc)
{
    const size_t size = type == BNF_FLOAT_F32 ? 4 : 2, n = (size_t)(k - i);
    uint8_t w[64] = { 0 };
    float x[16] = { 0.0f };
    memcpy(w, row + (size_t)i * size, n * size);
    memcpy(x, col + i, n * sizeof *x);
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), last = _mm256_set1_epi32((int)n - 1);
    const __m256i beyond_low = _mm256_cmpgt_epi32(lane, last);
    const __m256i beyond_high = _mm256_cmpgt_epi32(_mm256_add_epi32(lane, _mm256_set1_epi32(8)), last);
    const __m256 low = _mm256_fmadd_ps(load_weights(type, w, 0), _mm256_loadu_ps(x), acc.low);
    const __m256 high = _mm256_fmadd_ps(load_weights(type, w, 8), _mm256_loadu_ps(x + 8), acc.high);
    acc.low = _mm256_blendv_ps(low, acc.low, _mm256_castsi256_ps(beyond_low));
    acc.high = _mm256_blendv_ps(high, acc.high, _mm256_castsi256_ps(beyond_high));
    return acc;
}

BNF_ALWAYS_INLINE void bnf_float_dot(enum bnf_float_type type, const uint8_t *const row[], int n_rows, const float *const col[],
                                     int n_cols, int64_t k, float dot[][BNF_FLOAT_MAX])
{
    struct lanes acc[3][4]; /* [column][row] */
    for (int c = 0; c < n_cols; c++)
        for (int r = 0; r < n_rows; r++)
            acc[c][r].low = acc[c][r].high = _mm256_setzero_ps();
    int64_t i = 0;
    for (; i + 16 <= k; i += 16)
        for (int r = 0; r < n_rows; r++) {
            const __m256 low = load_weights(type, row[r], i), high = load_weights(type, row[r], i + 8);
            for (int c = 0; c < n_cols; c++) {
                acc[c][r].low = _mm256_fmadd_ps(low, _mm256_loadu_ps(col[c] + i), acc[c][r].low);
                acc[c][r].high = _mm256_fmadd_ps(high, _mm256_loadu_ps(col[c] + i + 8), acc[c][r].high);
            }
        }
    for (int c = 0; c < n_cols; c++)
        for (int r = 0; r < n_rows; r++)
            dot[c][r] = sum_lanes16(i < k ? float_tail(type, row[r], col[c], i, k, acc[c][r]) : acc[c][r]);
}

BNF_MATMUL_FUNCTIONS(avx2)
