/* Products of ternary weights packed as R16 (bnf_layout.h): the loops, the same for every instruction set without 512-bit
 * registers. kernels/<isa>/packed_<isa>.c defines the inner products named below and then says BNF_R16_FUNCTIONS(<isa>).
 * A dword lane is a row, so no sum crosses lanes. One column and a few multiply fields as they come out of the packed block; more
 * columns share codes that were unpacked once, a byte each, into a slice that stays in L1.
 * May not change the order of a float operation stated in bnf_ops.h. Next: kernels/avx2/packed_avx2.c; bnf_r16.c, the packing. */
#ifndef BNF_R16_H
#define BNF_R16_H

#include <math.h>
#include <stdalign.h>
#include <string.h>

#include "bitnet_ffi.h"
#include "bnf_ops.h"

#define BNF_R16_ROWS 16                                  /* a tile: the rows that lie together */
#define BNF_R16_BLOCK 64                                 /* bytes of 16 elements of a tile */
#define BNF_R16_TQ_BLOCK (16 * BNF_R16_BLOCK + BNF_R16_ROWS * 4) /* 256 elements of a tile and their scales */

/* Sums are int32. Multiplied where it stands in its byte a code is at most 3 * 64, so that a row takes at most 192 * 127 an element:
 * exact up to k = 88,000 if one sum held all of it. A sum of one field in four holds a quarter: k = 352,256. */
#define BNF_R16_MAX_K 352256

/* ---- packing, for all tables (bnf_r16.c; contracts in bnf_ops.h) ---- */

int32_t bnf_r16_layout(const struct bnf_matrix *w);
uint64_t bnf_r16_size(const struct bnf_matrix *w);
bool bnf_r16_pack(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed);

static inline bool bnf_r16_is_tq(const struct bnf_matrix *w)
{
    return w->type != GGML_TYPE_I2_S;
}

static inline uint64_t bnf_r16_tile_size(const struct bnf_matrix *w)
{
    return (uint64_t)(bnf_r16_is_tq(w) ? w->k / 256 * BNF_R16_TQ_BLOCK : w->k / 16 * BNF_R16_BLOCK);
}

/* Tables whose packing is not their own (else BNF_PACKED_PROTOTYPES and BNF_PACKED_MEMBERS, bnf_kernels.h). */
#define BNF_R16_PROTOTYPES(isa)                                                                                          \
    void bnf_to_panel_##isa(const int8_t *q, int64_t k, int64_t lane, int8_t *panel);                                    \
    BNF_MATMUL_PROTOTYPE(i2_s_r16, isa) BNF_MATMUL_PROTOTYPE(tq_r16, isa)

#define BNF_R16_MEMBERS(isa, n_panel_cols)                                                                               \
    .matmul[BNF_TYPE_I2_S_R16] = bnf_matmul_i2_s_r16_##isa, .matmul[BNF_TYPE_TQ_R16] = bnf_matmul_tq_r16_##isa,          \
    .panel_cols = n_panel_cols, .to_panel = bnf_to_panel_##isa
#define BNF_R16_PACKING .packed_layout = bnf_r16_layout, .packed_size = bnf_r16_size, .pack = bnf_r16_pack

#ifdef BNF_R16_COLS /* columns of a panel: only the files that multiply say so */

#define BNF_ALWAYS_INLINE static inline __attribute__((always_inline))
#define BNF_UNROLL _Pragma("GCC unroll 16") /* arrays that must become registers: gcc decides before it unrolls by itself */

/* ---- what an instruction set provides; BNF_R16_FEW: the most columns of dot_few. n is a constant where these are called ---- */

/* sum[row] += sum of code * q over n_blocks blocks of 16 elements; n_blocks is a multiple of 8. */
BNF_ALWAYS_INLINE void bnf_r16_dot_one(const uint8_t *w, const int8_t *q, int64_t n_blocks, int32_t *sum);
/* sum[column][row], the same for n columns, 2 to BNF_R16_FEW */
BNF_ALWAYS_INLINE void bnf_r16_dot_few(const uint8_t *w, const int8_t *q, int64_t q_stride, int n, int64_t n_blocks,
                                       int32_t (*sum)[BNF_R16_ROWS]);
/* n_blocks blocks to codes, 256 bytes a block, in an order that dot_codes knows */
BNF_ALWAYS_INLINE void bnf_r16_unpack(const uint8_t *w, int64_t n_blocks, uint8_t *code);
/* sum[column][row] for the first n columns of a panel, 1 to BNF_R16_COLS */
BNF_ALWAYS_INLINE void bnf_r16_dot_codes(const uint8_t *code, const int8_t *panel, int n, int64_t n_blocks,
                                         int32_t (*sum)[BNF_R16_ROWS]);

#define BNF_R16_SLICE 1024 /* elements of a tile unpacked at a time: 16 KiB of codes */

/* ---- the usual order: four elements of sixteen rows, four elements of the columns of a panel ---- */

BNF_ALWAYS_INLINE void bnf_r16_unpack_by_4(const uint8_t *restrict w, int64_t n_blocks, uint8_t *restrict code)
{
    typedef uint16_t u16x16 __attribute__((vector_size(32)));
    for (int64_t b = 0; b < n_blocks; b++, w += BNF_R16_BLOCK, code += 4 * BNF_R16_BLOCK) {
        __builtin_prefetch(w + 4 * BNF_R16_SLICE, 0, 2); /* the next slice, to L2, while this one is multiplied */
        for (int half = 0; half < 64; half += 32) {
            u16x16 x;
            memcpy(&x, w + half, sizeof x);
            for (int p = 0; p < 4; p++) {
                const u16x16 field = x >> (2 * p) & 0x0303; /* two bytes at a time: x86 cannot shift one */
                memcpy(code + 64 * p + half, &field, sizeof field);
            }
        }
    }
}

BNF_ALWAYS_INLINE void bnf_r16_to_panel_by_4(const int8_t *q, int64_t k, int64_t lane, int8_t *panel)
{
    panel += 4 * lane;
    for (int64_t i = 0; i < BNF_PAD64(k); i += 4, panel += 4 * BNF_R16_COLS)
        memcpy(panel, q + i, 4);
}

/* ---- a product ---- */

#define BNF_R16_GROUP (60 / BNF_R16_COLS * BNF_R16_COLS) /* columns that meet a tile's slice: 60 of 6912 are 405 KiB, in L2 */

/* Some columns of a product. */
struct bnf_r16_operand {
    bool tq;
    int64_t k;
    int n;                   /* columns */
    const int8_t *q;         /* [column][q_stride] */
    int64_t q_stride;
    const int8_t *panels;
    const int32_t *minus;    /* minus the sums of q. I2_S: [column].  TQ: [256 elements][BNF_R16_GROUP] */
    const float *act_scale;  /* [column] */
    float scale;
    int64_t y_stride;
};

BNF_ALWAYS_INLINE void bnf_r16_start(int32_t (*sum)[BNF_R16_ROWS], const int32_t *minus, int n)
{
    for (int c = 0; c < n; c++)
        for (int r = 0; r < BNF_R16_ROWS; r++)
            sum[c][r] = minus[c];
}

/* acc = fma((float)sum, d, acc) */
BNF_ALWAYS_INLINE void bnf_r16_add_scaled(float (*acc)[BNF_R16_ROWS], int32_t (*sum)[BNF_R16_ROWS], const uint8_t *scales, int n)
{
    float d[BNF_R16_ROWS];
    memcpy(d, scales, sizeof d);
    for (int c = 0; c < n; c++)
        for (int r = 0; r < BNF_R16_ROWS; r++)
            acc[c][r] = fmaf((float)sum[c][r], d[r], acc[c][r]);
}

BNF_ALWAYS_INLINE void bnf_r16_store_i2_s(const struct bnf_r16_operand *x, int32_t (*sum)[BNF_R16_ROWS], int n, float *y)
{
    for (int c = 0; c < n; c++)
        for (int r = 0; r < BNF_R16_ROWS; r++)
            y[c * x->y_stride + r] = (float)sum[c][r] / x->act_scale[c] * x->scale;
}

BNF_ALWAYS_INLINE void bnf_r16_store_tq(const struct bnf_r16_operand *x, float (*acc)[BNF_R16_ROWS], int n, float *y)
{
    for (int c = 0; c < n; c++)
        for (int r = 0; r < BNF_R16_ROWS; r++)
            y[c * x->y_stride + r] = acc[c][r] / x->act_scale[c];
}

/* One tile times n columns, 1 to BNF_R16_FEW: straight from the packed blocks. */
BNF_ALWAYS_INLINE void bnf_r16_few(const struct bnf_r16_operand *x, const uint8_t *w, float *y, int n)
{
    alignas(64) int32_t sum[BNF_R16_FEW][BNF_R16_ROWS];
    alignas(64) float acc[BNF_R16_FEW][BNF_R16_ROWS] = { { 0.0f } };
    const int64_t step = x->tq ? 256 : x->k;
    for (int64_t i = 0; i < x->k; i += step) {
        bnf_r16_start(sum, x->minus + i / 256 * BNF_R16_GROUP, n);
        if (n == 1)
            bnf_r16_dot_one(w, x->q + i, step / 16, sum[0]);
        else
            bnf_r16_dot_few(w, x->q + i, x->q_stride, n, step / 16, sum);
        if (x->tq)
            bnf_r16_add_scaled(acc, sum, w + 16 * BNF_R16_BLOCK, n);
        w += BNF_R16_TQ_BLOCK;
    }
    if (x->tq)
        bnf_r16_store_tq(x, acc, n, y);
    else
        bnf_r16_store_i2_s(x, sum, n, y);
}

/* A slice of a tile, unpacked, times n columns of a panel. I2_S adds to sum. TQ, whose scales lie behind each 256 elements of the
 * packed slice w, adds to acc; sum is scratch. */
BNF_ALWAYS_INLINE void bnf_r16_slice(const struct bnf_r16_operand *x, const uint8_t *w, const uint8_t *code, const int8_t *panel,
                                     const int32_t *minus, int64_t len, int n, int32_t (*sum)[BNF_R16_ROWS],
                                     float (*acc)[BNF_R16_ROWS])
{
    if (!x->tq) {
        bnf_r16_dot_codes(code, panel, n, len / 16, sum);
        return;
    }
    for (int64_t i = 0; i < len; i += 256, w += BNF_R16_TQ_BLOCK, minus += BNF_R16_GROUP) {
        bnf_r16_start(sum, minus, n);
        bnf_r16_dot_codes(code + 16 * i, panel + BNF_R16_COLS * i, n, 16, sum);
        bnf_r16_add_scaled(acc, sum, w + 16 * BNF_R16_BLOCK, n);
    }
}

/* One tile times up to BNF_R16_GROUP columns. */
BNF_ALWAYS_INLINE void bnf_r16_many(const struct bnf_r16_operand *x, const uint8_t *w, float *y)
{
    alignas(64) uint8_t code[BNF_R16_SLICE * BNF_R16_ROWS];
    alignas(64) int32_t sum[BNF_R16_GROUP][BNF_R16_ROWS];
    alignas(64) float acc[BNF_R16_GROUP][BNF_R16_ROWS];
    if (x->tq)
        memset(acc, 0, (size_t)x->n * sizeof acc[0]);
    else
        bnf_r16_start(sum, x->minus, x->n);

    for (int64_t i = 0; i < x->k; i += BNF_R16_SLICE) {
        const int64_t len = x->k - i < BNF_R16_SLICE ? x->k - i : BNF_R16_SLICE;
        const int64_t run = x->tq ? 256 : len, run_size = x->tq ? BNF_R16_TQ_BLOCK : len / 16 * BNF_R16_BLOCK;
        for (int64_t j = 0; j < len / run; j++)
            bnf_r16_unpack(w + j * run_size, run / 16, code + j * run * BNF_R16_ROWS);

        const int32_t *minus = x->minus + i / 256 * BNF_R16_GROUP;
        for (int c = 0; c < x->n; c += BNF_R16_COLS) {
            const int8_t *panel = x->panels + c * x->q_stride + i * BNF_R16_COLS;
            switch (x->n - c < BNF_R16_COLS ? x->n - c : BNF_R16_COLS) {
#define BNF_R16_CASE(cols)                                                                                               \
    case cols:                                                                                                           \
        bnf_r16_slice(x, w, code, panel, minus + c, len, cols, sum + c, acc + c);                                        \
        break;
            BNF_R16_CASE(1) BNF_R16_CASE(2) BNF_R16_CASE(3) BNF_R16_CASE(4)
#if BNF_R16_COLS > 4
            BNF_R16_CASE(5) BNF_R16_CASE(6)
#endif
#if BNF_R16_COLS > 6
            BNF_R16_CASE(7) BNF_R16_CASE(8)
#endif
#undef BNF_R16_CASE
            }
        }
        w += len / run * run_size;
    }
    if (x->tq)
        bnf_r16_store_tq(x, acc, x->n, y);
    else
        bnf_r16_store_i2_s(x, sum, x->n, y);
}

/* ---- loops over tiles and columns ---- */

/* Columns [c, c + n) as operand. minus: room for them, k / 256 * BNF_R16_GROUP numbers, at least BNF_R16_GROUP. */
static struct bnf_r16_operand bnf_r16_columns(const struct bnf_matrix *w, const struct bnf_act *x, int64_t c, int n,
                                              int64_t y_stride, int32_t *minus)
{
    const bool tq = bnf_r16_is_tq(w);
    for (int i = 0; i < n; i++) {
        if (!tq)
            minus[i] = -x->sum[c + i];
        for (int64_t b = 0; tq && b < w->k / 256; b++) {
            const int16_t *sum16 = x->sum16 + (c + i) * (x->q_stride / 16) + 16 * b;
            int32_t sum = 0;
            for (int j = 0; j < 16; j++)
                sum += sum16[j];
            minus[b * BNF_R16_GROUP + i] = -sum;
        }
    }
    return (struct bnf_r16_operand){
        .tq = tq, .k = w->k, .n = n, .q = x->q + c * x->q_stride, .q_stride = x->q_stride,
        .panels = n > BNF_R16_FEW ? x->panels + c * x->q_stride : NULL, .minus = minus,
        .act_scale = x->scale + c, .scale = w->scale, .y_stride = y_stride,
    };
}

/* Tiles [t0, t1). */
static void bnf_r16_tiles(const struct bnf_r16_operand *x, const uint8_t *data, uint64_t tile_size, int64_t t0, int64_t t1, float *y)
{
    for (int64_t t = t0; t < t1; t++) {
        const uint8_t *w = data + (uint64_t)t * tile_size;
        float *at = y + t * BNF_R16_ROWS;
        switch (x->n) {
        case 1: bnf_r16_few(x, w, at, 1); break;
        case 2: bnf_r16_few(x, w, at, 2); break;
        case 3: bnf_r16_few(x, w, at, 3); break;
        case 4: bnf_r16_few(x, w, at, 4); break;
#if BNF_R16_FEW > 4
        case 5: bnf_r16_few(x, w, at, 5); break;
#endif
        default: bnf_r16_many(x, w, at);
        }
    }
}

/* Rows [row0, row1), multiples of 16. A group of columns meets all rows before the next group does. `scratch` holds their sums:
 * at most 240 bytes for 256 elements. */
static void bnf_r16_matmul(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride, int64_t row0,
                           int64_t row1, void *scratch)
{
    for (int64_t c = 0; c < x->n_cols; c += BNF_R16_GROUP) {
        const int n = (int)(x->n_cols - c < BNF_R16_GROUP ? x->n_cols - c : BNF_R16_GROUP);
        const struct bnf_r16_operand operand = bnf_r16_columns(w, x, c, n, y_stride, scratch);
        bnf_r16_tiles(&operand, w->data, bnf_r16_tile_size(w), row0 / BNF_R16_ROWS, row1 / BNF_R16_ROWS, y + c * y_stride);
    }
}

#define BNF_R16_FUNCTION(type, isa)                                                                                      \
    void bnf_matmul_##type##_##isa(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,      \
                                   int64_t row0, int64_t row1, void *scratch)                                            \
    {                                                                                                                    \
        bnf_r16_matmul(w, x, y, y_stride, row0, row1, scratch);                                                          \
    }
#define BNF_R16_FUNCTIONS(isa) BNF_R16_FUNCTION(i2_s_r16, isa) BNF_R16_FUNCTION(tq_r16, isa)

#endif
#endif
