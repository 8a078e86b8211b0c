/* Float weights of eight significant bits in twelve (bnf_layout.h, F12_R4): making them, and the product of the floats they were, in
 * the same order and to the same bits. The loops, the same for every instruction set: kernels/<isa>/head_<isa>.c defines the types and
 * functions named below and then says BNF_F12_FUNCTIONS(<isa>). Everything is static: those files are compiled for different sets.
 * May not reorder a float operation (bnf_ops.h). Next: kernels/avx2/head_avx2.c; bitnet_ffi/_core/load/load_head.pyx, which calls pack.
 *
 * A float's upper half is s eeeeeeee mmmmmmm. Its low byte (the lowest bit of the exponent and the mantissa) is stored as it is; of
 * its high byte, sign and upper exponent, four bits are left: one byte shuffle looks it up, one interleaving of bytes makes two vectors
 * of upper halves, and a shift or a mask makes floats of them.
 *
 * The sixteen lanes of a sum are BNF_F12_PARTS vectors, and so are a row's 64 bytes of a step: bytes of part p, interleaved, are lanes of
 * part p. Hence the order of the bytes: the one in which 16-byte shuffles need no help from others. */
#ifndef BNF_F12_H
#define BNF_F12_H

#include <stdbool.h>
#include <string.h>

#include "bnf_bytes.h"
#include "bnf_math.h"
#include "bnf_ops.h"

#define BNF_F12_INLINE static inline __attribute__((always_inline))
#define BNF_F12_UNROLL _Pragma("GCC unroll 16")

#define BNF_F12_STEP    64                                              /* elements of a row that lie together */
#define BNF_F12_LOW     (BNF_F12_ROWS * BNF_F12_STEP)                   /* bytes of a step: low bytes of its rows, */
#define BNF_F12_BYTES   (BNF_F12_LOW + BNF_F12_ROWS / 2 * BNF_F12_STEP) /* then a nibble for each */
#define BNF_F12_COLS    4
#define BNF_F12_WINDOWS 32                                              /* tried for a tile: outliers up to 2^48 times the rest */
#define BNF_F12_LANES   (16 / BNF_F12_PARTS)                            /* floats of a vector */
#define BNF_F12_VECTOR  (64 / BNF_F12_PARTS)                            /* bytes of a vector */

/* Bytes, into L2; tiles lie one behind the other. One column on one thread of Zen 4, 252 MB, AVX2 and AVX-512: 10.2 and 9.4 ms (26.8
 * GB/s); 8 KiB 10.4 and 9.4; 4 KiB into L1 14.1 and 10.5. */
#define BNF_F12_AHEAD   16384

/* ---- what an instruction set provides: BNF_F12_PARTS (1, 2 or 4), BNF_F12_MASK_STEP, vectors f12_bytes (that part of 64 bytes)
 * and f12_floats, and these ---- */

static inline f12_bytes f12_load(const uint8_t *p);
static inline f12_bytes f12_even(f12_bytes both); /* lower nibbles */
static inline f12_bytes f12_odd(f12_bytes both);  /* upper nibbles */
static inline bool f12_has_zero(f12_bytes a, f12_bytes b);
/* Byte i is zero: bit BNF_F12_MASK_STEP * i is set, and no other bit. */
static inline uint64_t f12_zeros(f12_bytes v);
/* In each 16 bytes: base + 0 .. 7, the high bytes of positive numbers, then those of negative ones. */
static inline f12_bytes f12_table(int base);
/* BNF_F12_LANES elements at 0, 16, 32 and 48 from the part's first on, as floats. */
static inline void f12_widen(f12_bytes low, f12_bytes code, f12_bytes table, f12_floats w[4]);
static inline f12_floats f12_zero(void);
static inline f12_floats f12_load_floats(const float *p);
static inline void f12_store_floats(float *p, f12_floats v);
static inline f12_floats f12_fma(f12_floats w, const float *x, f12_floats acc); /* w times the floats at x, + acc */
static inline float f12_sum(const f12_floats v[BNF_F12_PARTS]);             /* the lanes16 tree */
/* The part's bytes of a row's elements i .. i + 63, nibbles one a byte. False: not all fit. */
BNF_F12_INLINE bool f12_split(int32_t type, const uint8_t *row, int64_t i, int part, int base, uint8_t *low, uint8_t *nibble);
/* Bits of the largest finite magnitude; k % 64 == 0. */
BNF_F12_INLINE uint32_t f12_largest(int32_t type, const uint8_t *row, int64_t k);

/* ---- making them ---- */

/* Place of byte `at` of a step's row among its 64 elements. */
static inline int bnf_f12_element(int at)
{
    return (at % 16 / 8 * 2 + at % 2) * 16 + at / 16 * 4 + at % 8 / 2;
}

static inline uint32_t bnf_f12_bits(int32_t type, const uint8_t *row, int64_t i)
{
    if (type == GGML_TYPE_F32)
        return bnf_load_u32(row + 4 * i);
    if (type == GGML_TYPE_F16)
        return bnf_bits_of_float(bnf_f16_to_f32(bnf_load_u16(row + 2 * i)));
    return (uint32_t)bnf_load_u16(row + 2 * i) << 16;
}

/* The code of an exception, or -1: their table is full. */
static inline int bnf_f12_exception(float *exceptions, int *n, uint32_t bits)
{
    for (int i = 0; i < *n; i++)
        if (bnf_bits_of_float(exceptions[i]) == bits)
            return i;
    if (*n == BNF_F12_EXCEPTIONS)
        return -1;
    exceptions[*n] = bnf_float_of_bits(bits);
    return (*n)++;
}

/* Replace what does not fit. False: too many exceptions. */
static inline bool bnf_f12_put(int32_t type, const uint8_t *row, int64_t i, struct bnf_f12_tile *tile, int *n, uint8_t *low,
                               uint8_t *nibble)
{
    for (int at = 0; at < BNF_F12_STEP; at++) {
        const uint32_t bits = bnf_f12_bits(type, row, i + bnf_f12_element(at));
        const int code = (int)(bits >> 24 & 0x7f) - tile->base;
        if (code >= 1 && code <= 7 && (bits & 0xffff) == 0)
            continue;
        const int found = bnf_f12_exception(tile->exceptions, n, bits);
        if (found < 0)
            return false;
        low[at] = (uint8_t)found;
        nibble[at] = 0;
    }
    return true;
}

/* One row of a step: 64 low bytes and 64 nibbles, one a byte. */
BNF_F12_INLINE bool bnf_f12_pack_row(int32_t type, const uint8_t *row, int64_t i, struct bnf_f12_tile *tile, int *n,
                                     uint8_t *low, uint8_t *nibble)
{
    bool fits = true;
    BNF_F12_UNROLL for (int p = 0; p < BNF_F12_PARTS; p++)
        fits &= f12_split(type, row, i, p, tile->base, low + p * BNF_F12_VECTOR, nibble + p * BNF_F12_VECTOR);
    return __builtin_expect(fits, 1) || bnf_f12_put(type, row, i, tile, n, low, nibble);
}

BNF_F12_INLINE bool bnf_f12_pack_tile(int32_t type, const uint8_t *const row[BNF_F12_ROWS], int64_t k, uint8_t *out,
                                      struct bnf_f12_tile *tile)
{
    int n = 0;
    for (int64_t i = 0; i < k; i += BNF_F12_STEP, out += BNF_F12_BYTES)
        for (int r = 0; r < BNF_F12_ROWS; r += 2) {
            uint8_t nibble[2][BNF_F12_STEP];
            if (!bnf_f12_pack_row(type, row[r], i, tile, &n, out + r * BNF_F12_STEP, nibble[0]) ||
                !bnf_f12_pack_row(type, row[r + 1], i, tile, &n, out + (r + 1) * BNF_F12_STEP, nibble[1]))
                return false;
            for (int at = 0; at < BNF_F12_STEP; at++)
                out[BNF_F12_LOW + r / 2 * BNF_F12_STEP + at] = (uint8_t)(nibble[0][at] | nibble[1][at] << 4);
        }
    return true;
}

/* Exceptions may be the small ones below 14 powers of two, or a few outliers above them: windows are tried downwards. */
BNF_F12_INLINE bool bnf_f12_pack_typed(int32_t type, const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)
{
    for (int64_t r0 = row0; r0 < row1; r0 += BNF_F12_ROWS) {
        const uint8_t *row[BNF_F12_ROWS];
        uint32_t most = 0;
        for (int r = 0; r < BNF_F12_ROWS; r++) {
            row[r] = w->data + (uint64_t)(r0 + r < w->m ? r0 + r : w->m - 1) * w->row_size;
            const uint32_t largest = f12_largest(type, row[r], w->k);
            most = largest > most ? largest : most;
        }
        uint8_t *out = packed + (uint64_t)(r0 / BNF_F12_ROWS) * bnf_f12_tile_size(w);
        struct bnf_f12_tile *tile = bnf_f12_tile(w, packed, r0);
        const int top = (int)(most >> 24); /* half of the exponent */
        bool done = false;
        for (int base = top > 7 ? top - 7 : 0; !done && base >= 0 && base > top - BNF_F12_WINDOWS; base--) {
            tile->base = base;
            done = bnf_f12_pack_tile(type, row, w->k, out, tile);
        }
        if (!done)
            return false;
    }
    return true;
}

/* ---- the product ---- */

/* w[BNF_F12_LANES j + l]: element 16 j + l of the part. `at`: f12_zeros of its codes. */
static __attribute__((noinline, cold)) void bnf_f12_put_exceptions(const uint8_t *low, uint64_t at, int part, const float *exceptions,
                                                                   float *w)
{
    for (; at != 0; at &= at - 1) {
        const int byte = __builtin_ctzll(at) / BNF_F12_MASK_STEP, i = bnf_f12_element(part * BNF_F12_VECTOR + byte);
        w[i / 16 * BNF_F12_LANES + i % BNF_F12_LANES] = exceptions[low[byte]];
    }
}

/* The part's elements of a row's step, as floats. Exceptions, about one in 4,000 weights of a head, are put in memory of their own:
 * else w would live there. */
BNF_F12_INLINE void bnf_f12_decode(const uint8_t *low, f12_bytes code, f12_bytes table, bool look, int part, const float *exceptions,
                                   f12_floats w[4])
{
    f12_widen(f12_load(low), code, table, w);
    if (__builtin_expect(look, 0)) {
        const uint64_t at = f12_zeros(code);
        if (at != 0) {
            float copy[4 * BNF_F12_LANES];
            BNF_F12_UNROLL for (int j = 0; j < 4; j++)
                f12_store_floats(copy + j * BNF_F12_LANES, w[j]);
            bnf_f12_put_exceptions(low, at, part, exceptions, copy);
            BNF_F12_UNROLL for (int j = 0; j < 4; j++)
                w[j] = f12_load_floats(copy + j * BNF_F12_LANES);
        }
    }
}

/* Parts [p0, p1) of the sums of rows [first, first + rows) of a tile times n columns; rows is even. */
BNF_F12_INLINE void bnf_f12_dot_parts(const uint8_t *w, const struct bnf_f12_tile *tile, const float *x, int64_t x_stride,
                                      int64_t k, int first, int rows, int n, int p0, int p1,
                                      f12_floats sums[BNF_F12_COLS][BNF_F12_ROWS][BNF_F12_PARTS])
{
    const f12_bytes table = f12_table(tile->base);
    f12_floats acc[BNF_F12_COLS][BNF_F12_ROWS][BNF_F12_PARTS];
    BNF_F12_UNROLL for (int c = 0; c < n; c++)
        BNF_F12_UNROLL for (int r = 0; r < rows; r++)
            BNF_F12_UNROLL for (int p = p0; p < p1; p++)
                acc[c][r][p] = f12_zero();
    for (int64_t i = 0; i < k; i += BNF_F12_STEP, w += BNF_F12_BYTES) {
        BNF_F12_UNROLL for (int line = 0; line < BNF_F12_BYTES / 64; line++)
            __builtin_prefetch(w + BNF_F12_AHEAD + 64 * line, 0, 2);
        BNF_F12_UNROLL for (int r = 0; r < rows; r += 2)
            BNF_F12_UNROLL for (int p = p0; p < p1; p++) {
                const f12_bytes both = f12_load(w + BNF_F12_LOW + (first + r) / 2 * BNF_F12_STEP + p * BNF_F12_VECTOR);
                const f12_bytes code[2] = { f12_even(both), f12_odd(both) };
                const bool look = f12_has_zero(code[0], code[1]);
                BNF_F12_UNROLL for (int odd = 0; odd < 2; odd++) {
                    const float *xp = x + i + p * BNF_F12_LANES;
                    f12_floats v[4];
                    bnf_f12_decode(w + (first + r + odd) * BNF_F12_STEP + p * BNF_F12_VECTOR, code[odd], table, look, p,
                                   tile->exceptions, v);
                    BNF_F12_UNROLL for (int c = 0; c < n; c++)
                        BNF_F12_UNROLL for (int j = 0; j < 4; j++)
                            acc[c][r + odd][p] = f12_fma(v[j], xp + c * x_stride + 16 * j, acc[c][r + odd][p]);
                }
            }
    }
    BNF_F12_UNROLL for (int c = 0; c < n; c++)
        BNF_F12_UNROLL for (int r = 0; r < rows; r++)
            BNF_F12_UNROLL for (int p = p0; p < p1; p++)
                sums[c][first + r][p] = acc[c][r][p];
}

/* A tile times n columns: one in one pass, as memory delivers it; more in passes whose sums stay in registers. */
BNF_F12_INLINE void bnf_f12_multiply(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                     int64_t r0, int64_t r1, int64_t c, int n)
{
    const uint8_t *data = w->data + (uint64_t)(r0 / BNF_F12_ROWS) * bnf_f12_tile_size(w);
    const struct bnf_f12_tile *tile = bnf_f12_tile(w, (uint8_t *)(uintptr_t)w->data, r0);
    const float *col = x->f + c * x->f_stride;
    f12_floats sums[BNF_F12_COLS][BNF_F12_ROWS][BNF_F12_PARTS];
    if (n == 1) {
        bnf_f12_dot_parts(data, tile, col, x->f_stride, w->k, 0, BNF_F12_ROWS, 1, 0, BNF_F12_PARTS, sums);
    } else {
        BNF_F12_UNROLL for (int p = 0; p < BNF_F12_PARTS; p++) {
            bnf_f12_dot_parts(data, tile, col, x->f_stride, w->k, 0, 2, n, p, p + 1, sums);
            bnf_f12_dot_parts(data, tile, col, x->f_stride, w->k, 2, 2, n, p, p + 1, sums);
        }
    }
    for (int i = 0; i < n; i++)
        for (int64_t r = r0; r < r1 && r < r0 + BNF_F12_ROWS; r++)
            y[(c + i) * y_stride + r] = f12_sum(sums[i][r - r0]);
}

#define BNF_F12_FUNCTIONS(isa)                                                                                           \
    bool bnf_pack_f12_##isa(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)                     \
    {                                                                                                                    \
        switch (w->type) {                                                                                               \
        case GGML_TYPE_F16: return bnf_f12_pack_typed(GGML_TYPE_F16, w, row0, row1, packed);                             \
        case GGML_TYPE_BF16: return bnf_f12_pack_typed(GGML_TYPE_BF16, w, row0, row1, packed);                           \
        default: return bnf_f12_pack_typed(GGML_TYPE_F32, w, row0, row1, packed);                                        \
        }                                                                                                                \
    }                                                                                                                    \
                                                                                                                         \
    void bnf_matmul_f12_r4_##isa(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,        \
                                 int64_t row0, int64_t row1, void *scratch)                                              \
    {                                                                                                                    \
        (void)scratch;                                                                                                   \
        for (int64_t r = row0; r < row1; r += BNF_F12_ROWS)                                                              \
            for (int64_t c = 0; c < x->n_cols; c += BNF_F12_COLS)                                                        \
                switch (x->n_cols - c) {                                                                                 \
                case 1: bnf_f12_multiply(w, x, y, y_stride, r, row1, c, 1); break;                                       \
                case 2: bnf_f12_multiply(w, x, y, y_stride, r, row1, c, 2); break;                                       \
                case 3: bnf_f12_multiply(w, x, y, y_stride, r, row1, c, 3); break;                                       \
                default: bnf_f12_multiply(w, x, y, y_stride, r, row1, c, BNF_F12_COLS); break;                           \
                }                                                                                                        \
    }

#endif
