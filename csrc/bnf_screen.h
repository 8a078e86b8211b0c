/* The screen: a copy of the output head in one byte a weight, with bounds. It says which tokens may have the largest logits
 * for half of the bytes or less; those that remain are computed from the head itself (head.pyx), so what is chosen is what
 * all logits would choose, to the last bit.
 *
 * A row w is scale * q + r, |q_i| <= 127; an operand x is step * (255 * high + low) + e, |high_i|, |low_i| <= 127. By Cauchy and Schwarz
 *   |w x - scale step (q (255 high + low))| <= |r| |x^| + |w| |e|,        x^ = x - e
 * and float rounding adds multiples of |w| |x|; norms are rounded up. The step is so large that most of `high` is zero: groups of
 * four elements whose high part is not are listed, and cost a tenth of a product instead of a second one. Where memory is the limit and a
 * product costs nothing, all of them are multiplied on the way instead. */
#ifndef BNF_SCREEN_H
#define BNF_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#define BNF_SCREEN_ROWS 16     /* rows of a tile */
#define BNF_SCREEN_COLS 12     /* most operands at once */
#define BNF_SCREEN_MAX_K 65536 /* 255 * 127 * k < 2^31 */

struct bnf_screen {
    int64_t k, m;             /* k % 64 == 0; tiles beyond m are filled with rows of zeros */
    uint8_t *q;               /* [m / 16][k / 4][16 rows][4]: q + 128; NULL: there is no screen */
    float *scale;             /* [m rounded up to 16], as the next two */
    float *residual;          /* |r|, rounded up */
    float *norm;              /* the larger of |w| and |w - r|, rounded up */
};

struct bnf_screen_cols {
    int64_t n, k;
    int8_t *low, *all_high;   /* [k / 4][n][4] */
    uint16_t *group;          /* [n][k / 4] numbers of the groups in `high` */
    int32_t *high;            /* [n][k / 4] four numbers each */
    int32_t n_high[BNF_SCREEN_COLS];   /* groups listed */
    int32_t low_sum[BNF_SCREEN_COLS], high_sum[BNF_SCREEN_COLS];
    float step[BNF_SCREEN_COLS];
    float by_residual[BNF_SCREEN_COLS], by_norm[BNF_SCREEN_COLS]; /* what the bound takes of a row's residual and norm */
};

/* Bytes of memory that the arrays of n operands take. */
static inline uint64_t bnf_screen_cols_size(int64_t n, int64_t k)
{
    return (uint64_t)(n * k) * 7 / 2; /* two of n * k bytes, two and four in n * k / 4 places */
}

/* Cut memory into the arrays for n operands. */
void bnf_screen_cols_init(struct bnf_screen_cols *cols, int64_t n, int64_t k, void *memory);
/* x as operand c. Threads may prepare different ones at once. False: x has numbers that are not finite or too small to divide by. */
bool bnf_screen_operand(struct bnf_screen_cols *cols, int64_t c, const float *x);

#endif
