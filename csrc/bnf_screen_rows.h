/* The loops of a screen (bnf_screen.h) around what an instruction set does best. A kernel file defines, before BNF_SCREEN_FUNCTIONS(isa):
 *   load16(type, row, i, out)      elements i .. i + 15 of a row of F16, BF16 or F32 as floats
 *   tile_sums(tile, x, c, n, sum)  sum[j][0] and [1], 16 rows each: sums of (q + 128) low and of (q + 128) high, of columns c + j, j < n
 * and TILE_COLS, the n it is called with, or 1.
 * Written in arrays of 16, which compilers turn into vectors; no sum is reordered by them. */
#ifndef BNF_SCREEN_ROWS_H
#define BNF_SCREEN_ROWS_H

#include <math.h>

#include "bnf_bytes.h"
#include "bnf_math.h"
#include "bnf_screen.h"

/* Sums of squares in single precision are off by k / 16 + 8 roundings at most, 2.5e-4 of them for k = 65536; squares below 2^-149 are
 * lost, of numbers below 4e-23: 65536 of them have a norm below 1e-20. */
static inline float bnf_screen_norm(const float square[16])
{
    double sum = 0;
    for (int l = 0; l < 16; l++)
        sum += square[l];
    return (float)(sqrt(sum) * (1 + 2e-4) + 1e-20);
}

/* A row's norms from the squares of its weights and of what the copy leaves of them, each off by two roundings of the weight. */
static inline void bnf_screen_norms(const struct bnf_screen *s, int64_t row, const float own[16], const float rest[16])
{
    const float norm = bnf_screen_norm(own);
    s->residual[row] = bnf_screen_norm(rest) + 2.4e-7f * norm;
    s->norm[row] = (norm + s->residual[row]) * (1 + 1e-6f);
}

/* scale * step * q (255 high + low) + residual * by_residual + norm * by_norm, for 16 rows of a column. What is lost to numbers below
 * the normal floats is far below 1e-36. */
static inline void bnf_screen_upper(const struct bnf_screen *s, const struct bnf_screen_cols *x, int64_t row, int64_t c, int32_t sum[2][16],
                                    float *upper)
{
    const int32_t low_sum = 128 * x->low_sum[c], high_sum = 128 * x->high_sum[c];
    const float step = x->step[c], by_residual = x->by_residual[c], by_norm = x->by_norm[c];
    for (int r = 0; r < 16; r++) {
        const float dot = (float)(sum[0][r] - low_sum) + 255.0f * (float)(sum[1][r] - high_sum);
        upper[r] = dot * (s->scale[row + r] * step) + (s->residual[row + r] * by_residual + (s->norm[row + r] * by_norm + 1e-36f));
    }
}

#define BNF_SCREEN_FUNCTIONS(isa)                                                                                        \
    static void screen_row(int32_t type, const uint8_t *row, int64_t k, const struct bnf_screen *s, int64_t r)           \
    {                                                                                                                    \
        uint8_t *q = s->q + (uint64_t)(r / 16 * 16 * k + r % 16 * 4);                                                    \
        float most[16] = { 0 }, own[16] = { 0 }, rest[16] = { 0 }, w[16];                                                \
        for (int64_t i = 0; i < k; i += 16) {                                                                            \
            load16(type, row, i, w);                                                                                     \
            for (int l = 0; l < 16; l++)                                                                                 \
                most[l] = fabsf(w[l]) > most[l] ? fabsf(w[l]) : most[l];                                                 \
        }                                                                                                                \
        for (int l = 1; l < 16; l++)                                                                                     \
            most[0] = most[l] > most[0] ? most[l] : most[0];                                                             \
        const float scale = most[0] / 127, inverse = scale > 1e-30f ? 1 / scale : 0;                                     \
        for (int64_t i = 0; i < k; i += 16) {                                                                            \
            load16(type, row, i, w);                                                                                     \
            for (int l = 0; l < 16; l++) {                                                                               \
                float v = w[l] * inverse;                                                                                \
                v = v > -127 ? v : -127;                                                                                 \
                v = v < 127 ? v : 127;                                                                                   \
                v = (v + 12582912.0f) - 12582912.0f;                                                                     \
                const float e = w[l] - v * scale;                                                                        \
                own[l] += w[l] * w[l];                                                                                   \
                rest[l] += e * e;                                                                                        \
                q[(i + l) / 4 * 64 + l % 4] = (uint8_t)((int32_t)v + 128);                                               \
            }                                                                                                            \
        }                                                                                                                \
        s->scale[r] = scale;                                                                                             \
        bnf_screen_norms(s, r, own, rest);                                                                               \
    }                                                                                                                    \
    void bnf_screen_pack_##isa(const struct bnf_matrix *w, int64_t row0, int64_t row1, const struct bnf_screen *screen)  \
    {                                                                                                                    \
        for (int64_t r = row0; r < row1; r++)                                                                            \
            screen_row(w->type, w->data + (uint64_t)r * w->row_size, w->k, screen, r);                                   \
        for (int64_t r = row1; r % 16 != 0; r++) { /* the rest of the last tile */                                       \
            screen->scale[r] = screen->residual[r] = screen->norm[r] = 0;                                                \
            for (int64_t i = 0; i < w->k; i++)                                                                           \
                screen->q[(uint64_t)(r / 16 * 16 * w->k + i / 4 * 64 + r % 16 * 4 + i % 4)] = 128;                       \
        }                                                                                                                \
    }                                                                                                                    \
    void bnf_screen_bounds_##isa(const struct bnf_screen *screen, const struct bnf_screen_cols *x, float *upper,         \
                                 int64_t stride, int64_t row0, int64_t row1)                                             \
    {                                                                                                                    \
        for (int64_t r = row0; r < row1; r += 16) {                                                                      \
            const uint8_t *tile = screen->q + (uint64_t)(r * screen->k);                                                 \
            for (int64_t c = 0; c < x->n;) {                                                                             \
                int32_t sum[TILE_COLS][2][16];                                                                           \
                const int n = x->n - c >= TILE_COLS ? TILE_COLS : 1;                                                     \
                if (n == TILE_COLS)                                                                                      \
                    tile_sums(tile, x, c, TILE_COLS, sum);                                                               \
                else                                                                                                     \
                    tile_sums(tile, x, c, 1, sum);                                                                       \
                for (int j = 0; j < n; j++, c++)                                                                         \
                    bnf_screen_upper(screen, x, r, c, sum[j], upper + c * stride + r);                                   \
            }                                                                                                            \
        }                                                                                                                \
    }

#endif
