/* The loops around the SIMD inner products, the same for every instruction set: columns in groups that stay in L2, the
 * rows of a tile, 256 elements at a time. kernels/<isa>/matmul_<isa>.c defines the inner products named below and then
 * says BNF_MATMUL_FUNCTIONS(<isa>). Everything is static: those files are compiled for different instruction sets.
 * May not change the order of a float operation stated in bnf_ops.h. Next: kernels/avx2/matmul_avx2.c. */
#ifndef BNF_MATMUL_H
#define BNF_MATMUL_H

#include "bnf_ops.h"
#include "bnf_tile.h"

/* Bytes that a tile's rows are read ahead, into L2: sixteen streams are more than the hardware follows by itself. Without,
 * one column on Zen 4: Q6_K avx512vnni 5.4 GB/s instead of 11, avx2 5.5 instead of 10; only Q4 on avx2 is 15 % better. */
#define BNF_PREFETCH 768
#define BNF_COL_GROUP 32 /* 32 columns of 6912 int8 are 216 KiB */

/* ---- what an instruction set provides ---- */

/* acc[r] += share of `parts` * 32 elements of row r, for all rows of the tile: bnf_ops.h, block formats.
 * q: the column's activations, readable up to the next multiple of 64; sum16 and da: their sums and scales. */
BNF_ALWAYS_INLINE void bnf_tile_dot_blocks(const struct bnf_tile *t, struct bnf_tile_format f, int parts, const int8_t *q,
                                           const int16_t *sum16, const float *da, float *acc);
/* acc[r] = fma((float)dot of 256, d[0][r], acc[r]): bnf_ops.h, TQ1_0 and TQ2_0. */
BNF_ALWAYS_INLINE void bnf_tile_dot_ternary(const struct bnf_tile *t, const int8_t *q, const int16_t *sum16, float *acc);

/* The same for rows of TQ2_0 blocks as the file has them, not brought into a tile. */
static void bnf_tq2_0_dot_in_place(const uint8_t *const block[BNF_TILE_ROWS], const int8_t *q, const int16_t *sum16, float *acc);

/* dot[c][r] = sum of code * q over `padded` elements (a multiple of 64; pads are zero) of four rows and n columns. */
BNF_ALWAYS_INLINE void bnf_i2_s_dot(const uint8_t *code, int64_t code_stride, const int8_t *q, int64_t q_stride, int n,
                                    int64_t padded, int32_t dot[][4]);
#define BNF_I2_S_ROWS 4
/* dot[r] = sum of code * q of four rows in the file's layout, for one column; k % 128 == 0. */
static void bnf_i2_s_dot_in_place(const uint8_t *const row[4], const int8_t *q, int64_t k, int32_t dot[4]);

/* dot[c][r] = lanes16 of n_rows rows and n_cols columns. */
enum bnf_float_type { BNF_FLOAT_F32, BNF_FLOAT_F16, BNF_FLOAT_BF16 };
#define BNF_FLOAT_MAX 8
BNF_ALWAYS_INLINE void bnf_float_dot(enum bnf_float_type type, const uint8_t *const row[], int n_rows, const float *const col[],
                                     int n_cols, int64_t k, float dot[][BNF_FLOAT_MAX]);

/* Rows that are worked on together lie `step` apart, an n-th of all rows, so that each is a stream that goes on through
 * memory: the hardware then prefetches it. Neighbouring rows, I2_S 6912 x 2560, one column, Zen 4, read 6.7 GB/s; with
 * software prefetch into L1 9, into L2 16; rows a quarter of the range apart 21, as fast as a plain read.
 * Here: how many of the rows `first`, `first` + step, ... lie before row1, at most n. */
static inline int bnf_lanes(int64_t first, int64_t row1, int64_t step, int n)
{
    const int64_t lanes = (row1 - first + step - 1) / step;
    return (int)(lanes < n ? lanes : n);
}

/* ---- tiles ---- */

BNF_ALWAYS_INLINE void bnf_matmul_tiles(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                        int64_t row0, int64_t row1, struct bnf_tile_format f, bnf_unpack_fn unpack, bool ternary)
{
    struct bnf_tile tile;
    alignas(64) float acc[BNF_COL_GROUP][BNF_TILE_ROWS];
    const int64_t step = (row1 - row0 + BNF_TILE_ROWS - 1) / BNF_TILE_ROWS;
    memset(&tile, 0, sizeof tile); /* rows beyond the last are multiplied too, and dropped */

    for (int64_t c0 = 0; c0 < x->n_cols; c0 += BNF_COL_GROUP) {
        const int n_cols = (int)(x->n_cols - c0 < BNF_COL_GROUP ? x->n_cols - c0 : BNF_COL_GROUP);
        for (int64_t i = 0; i < step; i++) {
            const int n_rows = bnf_lanes(row0 + i, row1, step, BNF_TILE_ROWS);
            const uint8_t *row = w->data + (uint64_t)(row0 + i) * w->row_size;
            memset(acc, 0, (size_t)n_cols * sizeof acc[0]);

            for (int64_t e = 0; e < w->k; e += BNF_TILE_LEN) {
                const int parts = (int)(w->k - e < BNF_TILE_LEN ? w->k - e : BNF_TILE_LEN) / 32;
                for (int r = 0; r < n_rows; r++) {
                    const uint8_t *s = row + (uint64_t)(r * step) * w->row_size + e / f.block_len * f.block_size;
                    for (int ahead = 0; ahead < BNF_TILE_LEN / f.block_len * f.block_size; ahead += 64)
                        __builtin_prefetch(s + BNF_PREFETCH + ahead, 0, 2);
                    unpack(&tile, r, s, parts);
                }
                for (int c = 0; c < n_cols; c++) {
                    const int64_t at = (c0 + c) * x->q_stride + e;
                    if (ternary)
                        bnf_tile_dot_ternary(&tile, x->q + at, x->sum16 + at / 16, acc[c]);
                    else
                        bnf_tile_dot_blocks(&tile, f, parts, x->q + at, x->sum16 + at / 16, x->scale + at / 32, acc[c]);
                }
            }
            for (int c = 0; c < n_cols; c++)
                for (int r = 0; r < n_rows; r++)
                    y[(c0 + c) * y_stride + row0 + i + r * step] = ternary ? acc[c][r] / x->scale[c0 + c] : acc[c][r];
        }
    }
}

/* TQ2_0 with one column: its fields are multiplied where they stand. */
static void bnf_matmul_tq2_0_one(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t row0, int64_t row1)
{
    const int64_t step = (row1 - row0 + BNF_TILE_ROWS - 1) / BNF_TILE_ROWS;
    for (int64_t i = 0; i < step; i++) {
        const int n_rows = bnf_lanes(row0 + i, row1, step, BNF_TILE_ROWS);
        const uint8_t *block[BNF_TILE_ROWS];
        alignas(64) float acc[BNF_TILE_ROWS] = { 0.0f };
        for (int r = 0; r < BNF_TILE_ROWS; r++)
            block[r] = w->data + (uint64_t)(row0 + i + (r < n_rows ? r * step : 0)) * w->row_size;
        for (int64_t e = 0; e < w->k; e += 256) {
            bnf_tq2_0_dot_in_place(block, x->q + e, x->sum16 + e / 16, acc);
            for (int r = 0; r < BNF_TILE_ROWS; r++)
                block[r] += 66;
        }
        for (int r = 0; r < n_rows; r++)
            y[row0 + i + r * step] = acc[r] / x->scale[0];
    }
}

BNF_ALWAYS_INLINE void bnf_matmul_tq2_0(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                        int64_t row0, int64_t row1)
{
    if (x->n_cols == 1)
        bnf_matmul_tq2_0_one(w, x, y, row0, row1);
    else
        bnf_matmul_tiles(w, x, y, y_stride, row0, row1, bnf_tile_tq2_0, bnf_unpack_tq2_0, true);
}

/* ---- I2_S ---- */

static inline void bnf_i2_s_store(const struct bnf_matrix *w, const struct bnf_act *x, int64_t col, float *y, int64_t step,
                                  int n_rows, const int32_t dot[BNF_I2_S_ROWS])
{
    /* sum (code - 1) q = sum code q - sum q */
    for (int r = 0; r < BNF_I2_S_ROWS && r < n_rows; r++)
        y[r * step] = (float)(dot[r] - x->sum[col]) / x->scale[col] * w->scale;
}

/* One column: rows straight from the file. Rows beyond the last repeat the first and are dropped. */
static void bnf_matmul_i2_s_one(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t row0, int64_t row1)
{
    const int64_t step = (row1 - row0 + BNF_I2_S_ROWS - 1) / BNF_I2_S_ROWS;
    for (int64_t i = 0; i < step; i++) {
        const int n_rows = bnf_lanes(row0 + i, row1, step, BNF_I2_S_ROWS);
        const uint8_t *row[BNF_I2_S_ROWS];
        int32_t dot[BNF_I2_S_ROWS];
        for (int r = 0; r < BNF_I2_S_ROWS; r++)
            row[r] = w->data + (uint64_t)(row0 + i + (r < n_rows ? r * step : 0)) * w->row_size;
        bnf_i2_s_dot_in_place(row, x->q, w->k, dot);
        bnf_i2_s_store(w, x, 0, y + row0 + i, step, n_rows, dot);
    }
}

/* Several columns, or rows that begin inside a group: four rows are unpacked once and meet all columns. */
BNF_ALWAYS_INLINE void bnf_matmul_i2_s(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                       int64_t row0, int64_t row1, void *scratch)
{
    if (x->n_cols == 1 && w->k % 128 == 0) {
        bnf_matmul_i2_s_one(w, x, y, row0, row1);
        return;
    }
    uint8_t *code = scratch; /* BNF_MATMUL_SCRATCH has room for four rows */
    const int64_t padded = BNF_PAD64(w->k);
    for (int64_t c0 = 0; c0 < x->n_cols; c0 += BNF_COL_GROUP) {
        const int64_t c1 = x->n_cols - c0 < BNF_COL_GROUP ? x->n_cols : c0 + BNF_COL_GROUP;
        for (int64_t r0 = row0; r0 < row1; r0 += BNF_I2_S_ROWS) {
            const int n_rows = (int)(row1 - r0 < BNF_I2_S_ROWS ? row1 - r0 : BNF_I2_S_ROWS);
            for (int r = 0; r < BNF_I2_S_ROWS; r++)
                bnf_unpack_i2_s(code + r * padded, w->data, (r0 + (r < n_rows ? r : 0)) * w->k, w->k, padded);
            for (int64_t c = c0; c < c1; c += 4) {
                const int8_t *q = x->q + c * x->q_stride;
                const int n_cols = (int)(c1 - c < 4 ? c1 - c : 4);
                int32_t dot[4][4];
                if (n_cols == 4)
                    bnf_i2_s_dot(code, padded, q, x->q_stride, 4, padded, dot);
                else if (n_cols >= 2)
                    bnf_i2_s_dot(code, padded, q, x->q_stride, 2, padded, dot);
                if (n_cols % 2 == 1)
                    bnf_i2_s_dot(code, padded, q + (n_cols - 1) * x->q_stride, x->q_stride, 1, padded, dot + n_cols - 1);
                for (int j = 0; j < n_cols; j++)
                    bnf_i2_s_store(w, x, c + j, y + (c + j) * y_stride + r0, 1, n_rows, dot[j]);
            }
        }
    }
}

/* ---- floats ---- */

/* Rows [row0, row1) and columns [0, n_cols) in blocks of n by m. Rows and columns beyond the last repeat the first of
 * their block, and are dropped. */
BNF_ALWAYS_INLINE void bnf_float_blocks(enum bnf_float_type type, const struct bnf_matrix *w, const struct bnf_act *x, float *y,
                                        int64_t y_stride, int64_t row0, int64_t row1, const int n, const int m)
{
    for (int64_t r0 = row0; r0 < row1; r0 += n)
        for (int64_t c0 = 0; c0 < x->n_cols; c0 += m) {
            const uint8_t *row[BNF_FLOAT_MAX];
            const float *col[BNF_FLOAT_MAX];
            float dot[BNF_FLOAT_MAX][BNF_FLOAT_MAX];
            for (int r = 0; r < n; r++)
                row[r] = w->data + (uint64_t)(r0 + r < row1 ? r0 + r : r0) * w->row_size;
            for (int c = 0; c < m; c++)
                col[c] = x->f + (c0 + c < x->n_cols ? c0 + c : c0) * x->f_stride;
            bnf_float_dot(type, row, n, col, m, w->k, dot);
            for (int c = 0; c < m && c0 + c < x->n_cols; c++)
                for (int r = 0; r < n && r0 + r < row1; r++)
                    y[(c0 + c) * y_stride + r0 + r] = dot[c][r];
        }
}

BNF_ALWAYS_INLINE void bnf_matmul_float(enum bnf_float_type type, const struct bnf_matrix *w, const struct bnf_act *x, float *y,
                                        int64_t y_stride, int64_t row0, int64_t row1)
{
    if (x->n_cols == 1)
        bnf_float_blocks(type, w, x, y, y_stride, row0, row1, BNF_FLOAT_ROWS_1, 1);
    else
        bnf_float_blocks(type, w, x, y, y_stride, row0, row1, BNF_FLOAT_ROWS, BNF_FLOAT_COLS);
}

/* ---- one function per type ---- */

#define BNF_MATMUL_FUNCTION(type, isa, call)                                                                             \
    void bnf_matmul_##type##_##isa(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,      \
                                   int64_t row0, int64_t row1, void *scratch)                                            \
    {                                                                                                                    \
        (void)scratch;                                                                                                   \
        call;                                                                                                            \
    }
#define BNF_MATMUL_TILES(type, isa, ternary)                                                                             \
    BNF_MATMUL_FUNCTION(type, isa, bnf_matmul_tiles(w, x, y, y_stride, row0, row1, bnf_tile_##type, bnf_unpack_##type, ternary))

#define BNF_MATMUL_FUNCTIONS(isa)                                                                                        \
    BNF_MATMUL_FUNCTION(f32, isa, bnf_matmul_float(BNF_FLOAT_F32, w, x, y, y_stride, row0, row1))                        \
    BNF_MATMUL_FUNCTION(f16, isa, bnf_matmul_float(BNF_FLOAT_F16, w, x, y, y_stride, row0, row1))                        \
    BNF_MATMUL_FUNCTION(bf16, isa, bnf_matmul_float(BNF_FLOAT_BF16, w, x, y, y_stride, row0, row1))                      \
    BNF_MATMUL_TILES(q4_0, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q4_1, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q5_0, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q5_1, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q8_0, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q2_k, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q3_k, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q4_k, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q5_k, isa, false)                                                                                   \
    BNF_MATMUL_TILES(q6_k, isa, false)                                                                                   \
    BNF_MATMUL_TILES(tq1_0, isa, true)                                                                                   \
    BNF_MATMUL_FUNCTION(tq2_0, isa, bnf_matmul_tq2_0(w, x, y, y_stride, row0, row1))                                     \
    BNF_MATMUL_FUNCTION(i2_s, isa, bnf_matmul_i2_s(w, x, y, y_stride, row0, row1, scratch))

#endif
