/* y += s * B u for few columns of B and many rows: the half of a LoRA adapter that makes long rows. An instruction set gives the work of
 * some whole tiles and tokens, bnf_low_rank_block; the walk over rows and tokens, and what does not fill a block, is here.
 * A tile's numbers of B stay in L1 while all tokens pass. Next: struct bnf_ops, add_low_rank, for what is computed in which order. */
#ifndef BNF_LOW_RANK_H
#define BNF_LOW_RANK_H

#include <string.h>

#include "bnf_ops.h"

#define BNF_ALWAYS_INLINE static inline __attribute__((always_inline))

/* Whole tiles b[tile][rank][16], `n_tiles` of them, for n_cols tokens: y[c * y_stride + tile * 16 + lane]. */
typedef void (*bnf_low_rank_block_fn)(const float *b, int64_t rank, int n_tiles, const float *u, int64_t u_stride, int n_cols, float s,
                                      float *y, int64_t y_stride);

/* Rows [row0, row1) inside one tile, for all tokens: through a tile of y of its own. */
BNF_ALWAYS_INLINE void bnf_low_rank_part(bnf_low_rank_block_fn block, const struct bnf_low_rank *b, const float *u, int64_t u_stride,
                                         int64_t n, float s, float *y, int64_t y_stride, int64_t row0, int64_t row1)
{
    const int64_t first = row0 / BNF_LOW_RANK_ROWS * BNF_LOW_RANK_ROWS;
    for (int64_t t = 0; t < n; t++) {
        float tile[BNF_LOW_RANK_ROWS] = {0};
        memcpy(tile + (row0 - first), y + t * y_stride + row0, (size_t)(row1 - row0) * sizeof *y);
        block(b->data + first * b->rank, b->rank, 1, u + t * u_stride, u_stride, 1, s, tile, BNF_LOW_RANK_ROWS);
        memcpy(y + t * y_stride + row0, tile + (row0 - first), (size_t)(row1 - row0) * sizeof *y);
    }
}

/* max_tiles, max_cols: the largest block; also asked for are fewer tiles with max_cols tokens, and max_tiles or fewer with one. */
BNF_ALWAYS_INLINE void bnf_low_rank_walk(bnf_low_rank_block_fn block, int max_tiles, int max_cols, const struct bnf_low_rank *b,
                                         const float *u, int64_t u_stride, int64_t n, float s, float *y, int64_t y_stride, int64_t row0,
                                         int64_t row1)
{
    int64_t row = row0;
    if (row % BNF_LOW_RANK_ROWS != 0) {
        const int64_t next = (row / BNF_LOW_RANK_ROWS + 1) * BNF_LOW_RANK_ROWS, end = next < row1 ? next : row1;
        bnf_low_rank_part(block, b, u, u_stride, n, s, y, y_stride, row, end);
        row = end;
    }
    while (row + BNF_LOW_RANK_ROWS <= row1) {
        const int64_t left = (row1 - row) / BNF_LOW_RANK_ROWS;
        const int n_tiles = left < max_tiles ? (int)left : max_tiles;
        int64_t t = 0;
        for (; t + max_cols <= n; t += max_cols)
            block(b->data + row * b->rank, b->rank, n_tiles, u + t * u_stride, u_stride, max_cols, s, y + t * y_stride + row, y_stride);
        for (; t < n; t++)
            block(b->data + row * b->rank, b->rank, n_tiles, u + t * u_stride, u_stride, 1, s, y + t * y_stride + row, y_stride);
        row += n_tiles * BNF_LOW_RANK_ROWS;
    }
    if (row < row1)
        bnf_low_rank_part(block, b, u, u_stride, n, s, y, y_stride, row, row1);
}

#define BNF_LOW_RANK_FUNCTION(isa, max_tiles, max_cols)                                                                  \
    void bnf_add_low_rank_##isa(const struct bnf_low_rank *b, const float *u, int64_t u_stride, int64_t n, float s,      \
                                float *y, int64_t y_stride, int64_t row0, int64_t row1)                                  \
    {                                                                                                                    \
        bnf_low_rank_walk(bnf_low_rank_block, max_tiles, max_cols, b, u, u_stride, n, s, y, y_stride, row0, row1);       \
    }

#endif
