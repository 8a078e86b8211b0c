/* Float weights of eight significant bits in twelve (bnf_layout.h, F12_R4) on AVX-512: making them, and the product of the
 * floats they were, in the same order and to the same bits.
 * May not reorder a float operation (bnf_ops.h). Next: bitnet_ffi/_core/load_head.pyx, which calls pack.
 *
 * A float's upper half is s eeeeeeee mmmmmmm. Its low byte (the lowest bit of the exponent and the mantissa) is stored as it is; of
 * its high byte, sign and upper exponent, four bits are left: one byte shuffle looks it up, one interleaving of bytes makes
 * two vectors of upper halves, and a shift or a mask makes floats of them. A step of 2 rows by 64 elements is 6 shuffles and about 12
 * other operations to 8 fma: half of what memory takes to deliver its 192 bytes. */
#include <immintrin.h>

#include <string.h>

#include "bnf_bytes.h"
#include "bnf_math.h"
#include "kernels_avx512vnni.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 16")

#define ROWS    BNF_F12_ROWS
#define STEP    64                        /* elements of a row that lie together */
#define LOW     (ROWS * STEP)             /* bytes of a step: low bytes of its rows, */
#define BYTES   (LOW + ROWS / 2 * STEP)   /* then a nibble for each */
#define AHEAD   4096                      /* bytes; tiles lie one behind the other */
#define COLS    4
#define WINDOWS 32                        /* tried for a tile: outliers up to 2^48 times the rest */

/* ---- making them ---- */

/* Elements i .. i + 15 of a row as bits of floats. */
ALWAYS_INLINE __m512i load_bits(int32_t type, const uint8_t *row, int64_t i)
{
    if (type == GGML_TYPE_F32)
        return _mm512_loadu_si512(row + 4 * i);
    const __m256i half = _mm256_loadu_si256((const __m256i *)(row + 2 * i));
    if (type == GGML_TYPE_F16)
        return _mm512_castps_si512(_mm512_cvtph_ps(half));
    return _mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16);
}

/* Place of byte `at` of a step's row among its 64 elements: what the interleaving below makes of it. */
static int element_of_byte(int at)
{
    return (at % 16 / 8 * 2 + at % 2) * 16 + at / 16 * 4 + at % 8 / 2;
}

/* The code of an exception, or -1: their table is full. */
static int exception_code(float *exceptions, int *n, uint32_t bits)
{
    for (int i = 0; i < *n; i++)
        if (bnf_bits_of_float(exceptions[i]) == bits)
            return i;
    if (*n == BNF_F12_EXCEPTIONS)
        return -1;
    exceptions[*n] = bnf_float_of_bits(bits);
    return (*n)++;
}

/* One row of a step: 64 low bytes and 64 nibbles, one a byte. False: too many exceptions. */
ALWAYS_INLINE bool pack_row_step(int32_t type, const uint8_t *row, int64_t i, int base, float *exceptions, int *n,
                                 uint8_t *low_out, __m512i *nibbles)
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000), byte = _mm512_set1_epi16(0xff);
    __m512i v[4];
    UNROLL for (int j = 0; j < 4; j++)
        v[j] = load_bits(type, row, i + 16 * j);
    const __m512i a = _mm512_or_si512(_mm512_srli_epi32(v[0], 16), _mm512_and_si512(v[1], upper));
    const __m512i b = _mm512_or_si512(_mm512_srli_epi32(v[2], 16), _mm512_and_si512(v[3], upper));
    const __m512i low = _mm512_packus_epi16(_mm512_and_si512(a, byte), _mm512_and_si512(b, byte));
    const __m512i high = _mm512_packus_epi16(_mm512_srli_epi16(a, 8), _mm512_srli_epi16(b, 8));
    const __m512i code = _mm512_sub_epi8(_mm512_and_si512(high, _mm512_set1_epi8(0x7f)), _mm512_set1_epi8((char)base));
    const __m512i sign = _mm512_and_si512(_mm512_srli_epi16(high, 4), _mm512_set1_epi8(8));
    __mmask64 fits = _mm512_cmple_epu8_mask(_mm512_sub_epi8(code, _mm512_set1_epi8(1)), _mm512_set1_epi8(6));
    const __m512i rest = _mm512_or_si512(_mm512_or_si512(v[0], v[1]), _mm512_or_si512(v[2], v[3]));
    const bool long_mantissas = _mm512_test_epi32_mask(rest, _mm512_set1_epi32(0xffff)) != 0;
    *nibbles = _mm512_or_si512(code, sign);
    _mm512_storeu_si512(low_out, low);
    if (__builtin_expect(fits == ~(__mmask64)0 && !long_mantissas, 1))
        return true;

    uint32_t bits[STEP];
    uint8_t nibble[STEP];
    UNROLL for (int j = 0; j < 4; j++)
        _mm512_storeu_si512(bits + 16 * j, v[j]);
    _mm512_storeu_si512(nibble, *nibbles);
    for (int at = 0; at < STEP; at++) {
        const uint32_t value = bits[element_of_byte(at)];
        if ((fits >> at & 1) != 0 && (value & 0xffff) == 0)
            continue;
        const int found = exception_code(exceptions, n, value);
        if (found < 0)
            return false;
        low_out[at] = (uint8_t)found;
        nibble[at] = 0;
    }
    *nibbles = _mm512_loadu_si512(nibble);
    return true;
}

ALWAYS_INLINE bool pack_tile(int32_t type, const uint8_t *const row[ROWS], int64_t k, int base, uint8_t *out,
                             struct bnf_f12_tile *tile)
{
    int n = 0;
    tile->base = base;
    for (int64_t i = 0; i < k; i += STEP, out += BYTES)
        for (int r = 0; r < ROWS; r += 2) {
            __m512i even, odd;
            if (!pack_row_step(type, row[r], i, base, tile->exceptions, &n, out + r * STEP, &even) ||
                !pack_row_step(type, row[r + 1], i, base, tile->exceptions, &n, out + (r + 1) * STEP, &odd))
                return false;
            _mm512_storeu_si512(out + LOW + r / 2 * STEP, _mm512_or_si512(even, _mm512_slli_epi16(odd, 4)));
        }
    return true;
}

/* Half of the largest exponent among finite elements. */
ALWAYS_INLINE int largest_pair(int32_t type, const uint8_t *const row[ROWS], int64_t k)
{
    const __m512i magnitude = _mm512_set1_epi32(0x7fffffff), infinite = _mm512_set1_epi32(0x7f800000);
    __m512i most = _mm512_setzero_si512();
    for (int r = 0; r < ROWS; r++)
        for (int64_t i = 0; i < k; i += 16) {
            const __m512i x = _mm512_and_si512(load_bits(type, row[r], i), magnitude);
            most = _mm512_mask_max_epu32(most, _mm512_cmplt_epu32_mask(x, infinite), most, x);
        }
    return (int)(_mm512_reduce_max_epu32(most) >> 24);
}

/* Exceptions may be the small ones below 14 powers of two, or a few outliers above them: windows are tried downwards. */
ALWAYS_INLINE bool pack_typed(int32_t type, const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)
{
    for (int64_t r0 = row0; r0 < row1; r0 += ROWS) {
        const uint8_t *row[ROWS];
        for (int r = 0; r < ROWS; r++)
            row[r] = w->data + (uint64_t)(r0 + r < w->m ? r0 + r : w->m - 1) * w->row_size;
        uint8_t *out = packed + (uint64_t)(r0 / ROWS) * bnf_f12_tile_size(w);
        struct bnf_f12_tile *tile = bnf_f12_tile(w, packed, r0);
        const int top = largest_pair(type, row, w->k);
        bool done = false;
        for (int base = top > 7 ? top - 7 : 0; !done && base >= 0 && base > top - WINDOWS; base--)
            done = pack_tile(type, row, w->k, base, out, tile);
        if (!done)
            return false;
    }
    return true;
}

bool bnf_pack_f12_avx512vnni(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)
{
    switch (w->type) {
    case GGML_TYPE_F16: return pack_typed(GGML_TYPE_F16, w, row0, row1, packed);
    case GGML_TYPE_BF16: return pack_typed(GGML_TYPE_BF16, w, row0, row1, packed);
    default: return pack_typed(GGML_TYPE_F32, w, row0, row1, packed);
    }
}

/* ---- the product ---- */

/* Code 0 .. 7 of positive, then of negative numbers -> the high byte. Code 0 is for exceptions. */
ALWAYS_INLINE __m512i high_bytes(int base)
{
    const __m128i code = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, (char)0x80, (char)0x81, (char)0x82, (char)0x83, (char)0x84,
                                       (char)0x85, (char)0x86, (char)0x87);
    return _mm512_broadcast_i32x4(_mm_add_epi8(code, _mm_set1_epi8((char)base)));
}

/* 64 floats in order: lane l of w[j] is element 16 j + l. */
ALWAYS_INLINE void widen(__m512i low, __m512i code, __m512i table, __m512 w[4])
{
    const __m512i upper = _mm512_set1_epi32((int)0xffff0000);
    const __m512i high = _mm512_shuffle_epi8(table, code);
    const __m512i a = _mm512_unpacklo_epi8(low, high), b = _mm512_unpackhi_epi8(low, high);
    w[0] = _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
    w[1] = _mm512_castsi512_ps(_mm512_and_si512(a, upper));
    w[2] = _mm512_castsi512_ps(_mm512_slli_epi32(b, 16));
    w[3] = _mm512_castsi512_ps(_mm512_and_si512(b, upper));
}

static __attribute__((noinline, cold)) void put_exceptions(__mmask64 at, const uint8_t *low, const float *exceptions, float w[STEP])
{
    for (; at != 0; at &= at - 1) {
        const int i = (int)__builtin_ctzll(at);
        w[element_of_byte(i)] = exceptions[low[i]];
    }
}

ALWAYS_INLINE void decode(const uint8_t *low, __m512i code, __m512i table, const float *exceptions, __m512 w[4])
{
    widen(_mm512_loadu_si512(low), code, table, w);
    const __mmask64 at = _mm512_testn_epi8_mask(code, code);
    if (__builtin_expect(at != 0, 0)) {
        float copy[STEP];
        UNROLL for (int j = 0; j < 4; j++)
            _mm512_storeu_ps(copy + 16 * j, w[j]);
        put_exceptions(at, low, exceptions, copy);
        UNROLL for (int j = 0; j < 4; j++)
            w[j] = _mm512_loadu_ps(copy + 16 * j);
    }
}

ALWAYS_INLINE float sum_lanes16(__m512 v)
{
    const __m256 v8 = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 v4 = _mm_add_ps(_mm256_castps256_ps128(v8), _mm256_extractf128_ps(v8, 1));
    const __m128 v2 = _mm_add_ps(v4, _mm_movehl_ps(v4, v4));
    return _mm_cvtss_f32(_mm_add_ss(v2, _mm_movehdup_ps(v2)));
}

/* Rows [first, first + rows) of a tile times n columns; rows is even. */
ALWAYS_INLINE void dot_rows(const uint8_t *w, const struct bnf_f12_tile *tile, const float *x, int64_t x_stride, int64_t k,
                            int first, int rows, int n, float dot[COLS][ROWS])
{
    const __m512i nibble = _mm512_set1_epi8(15), table = high_bytes(tile->base);
    __m512 acc[COLS][ROWS];
    UNROLL for (int c = 0; c < n; c++)
        UNROLL for (int r = 0; r < rows; r++)
            acc[c][r] = _mm512_setzero_ps();
    for (int64_t i = 0; i < k; i += STEP, w += BYTES) {
        UNROLL for (int line = 0; line < BYTES / 64; line++)
            __builtin_prefetch(w + AHEAD + 64 * line, 0, 3);
        UNROLL for (int r = 0; r < rows; r += 2) {
            const __m512i both = _mm512_loadu_si512(w + LOW + (first + r) / 2 * STEP);
            __m512 a[4], b[4];
            decode(w + (first + r) * STEP, _mm512_and_si512(both, nibble), table, tile->exceptions, a);
            decode(w + (first + r + 1) * STEP, _mm512_and_si512(_mm512_srli_epi16(both, 4), nibble), table, tile->exceptions, b);
            UNROLL for (int c = 0; c < n; c++)
                UNROLL for (int j = 0; j < 4; j++) {
                    const __m512 xj = _mm512_loadu_ps(x + c * x_stride + i + 16 * j);
                    acc[c][r] = _mm512_fmadd_ps(a[j], xj, acc[c][r]);
                    acc[c][r + 1] = _mm512_fmadd_ps(b[j], xj, acc[c][r + 1]);
                }
        }
    }
    UNROLL for (int c = 0; c < n; c++)
        UNROLL for (int r = 0; r < rows; r++)
            dot[c][first + r] = sum_lanes16(acc[c][r]);
}

ALWAYS_INLINE void multiply(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride, int64_t r0,
                            int64_t r1, int64_t c, int n)
{
    const uint8_t *data = w->data + (uint64_t)(r0 / ROWS) * bnf_f12_tile_size(w);
    const struct bnf_f12_tile *tile = bnf_f12_tile(w, (uint8_t *)(uintptr_t)w->data, r0);
    const float *col = x->f + c * x->f_stride;
    float dot[COLS][ROWS];
    if (n == 1) {
        dot_rows(data, tile, col, x->f_stride, w->k, 0, ROWS, 1, dot);
    } else {
        dot_rows(data, tile, col, x->f_stride, w->k, 0, 2, n, dot);
        dot_rows(data, tile, col, x->f_stride, w->k, 2, 2, n, dot);
    }
    for (int i = 0; i < n; i++)
        memcpy(y + (c + i) * y_stride + r0, dot[i], (size_t)(r1 - r0 < ROWS ? r1 - r0 : ROWS) * sizeof(float));
}

void bnf_matmul_f12_r4_avx512vnni(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                  int64_t row0, int64_t row1, void *scratch)
{
    (void)scratch;
    for (int64_t r = row0; r < row1; r += ROWS)
        for (int64_t c = 0; c < x->n_cols; c += COLS)
            switch (x->n_cols - c) {
            case 1: multiply(w, x, y, y_stride, r, row1, c, 1); break;
            case 2: multiply(w, x, y, y_stride, r, row1, c, 2); break;
            case 3: multiply(w, x, y, y_stride, r, row1, c, 3); break;
            default: multiply(w, x, y, y_stride, r, row1, c, COLS); break;
            }
}
