/* A second, smaller copy of the output head in Q8_0, with two bounds per row: enough to say which rows may hold the
 * largest logit without reading the head itself. The rows that remain are then computed exactly (head.pyx), so the choice is the
 * one of the full head, to the last bit. */
#ifndef BNF_SCREEN_H
#define BNF_SCREEN_H

#include "bnf_types.h"

/* Rows [row0, row1) of head (float types) into screen: its q8.data, residual and norm. row: float[k] of the calling thread. */
void bnf_screen_rows(const struct bnf_matrix *head, int64_t row0, int64_t row1, const struct bnf_screen *screen, float *row);

/* What an operand adds to every row's bound. x: float[k]; q, d: x as bnf_ops.quantize_block left it. */
struct bnf_screen_error {
    double x_norm;   /* |x|: multiplies a row's residual */
    double x_error;  /* |x - x^| and all float rounding: multiplies a row's norm */
};
struct bnf_screen_error bnf_screen_operand(const float *x, int64_t k, const int8_t *q, const float *d);

/* |logit - approximate logit| of a row is at most this. */
static inline double bnf_screen_bound(const struct bnf_screen *screen, int64_t row, struct bnf_screen_error e)
{
    return ((double)screen->residual[row] * e.x_norm + (double)screen->norm[row] * e.x_error) * (1 + 1e-9);
}

#endif
