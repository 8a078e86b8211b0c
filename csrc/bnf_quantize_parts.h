/* What the writers of weight formats share: scales as f16, codes of 4 and 5 bits as bnf_layout.h draws them. Internal to
 * bnf_quantize_*.c. May not allocate or fail. Next: bnf_quantize_blocks.c. */
#ifndef BNF_QUANTIZE_PARTS_H
#define BNF_QUANTIZE_PARTS_H

#include <math.h>
#include <string.h>

#include "bnf_bytes.h"
#include "bnf_math.h"
#include "bnf_ops.h"
#include "bnf_quantize_blocks.h"

enum { HALF = 16, BLOCK = 32, SUPER = 256 };

/* The f16 that is stored, as the float it means. */
static inline float store_f16(uint8_t *p, float x)
{
    const uint16_t half = bnf_f32_to_f16(x);
    memcpy(p, &half, sizeof half);
    return bnf_f16_to_f32(half);
}

static inline int clamp(int x, int low, int high)
{
    return x < low ? low : x > high ? high : x;
}

/* The element of largest absolute value, with its sign; the first of several. */
static inline float extreme(const float *x, int n)
{
    float largest = 0.0f, value = 0.0f;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > largest) {
            largest = fabsf(x[i]);
            value = x[i];
        }
    return value;
}

/* The sum of squares, one after the other. */
static inline float energy(const float *x, int64_t n)
{
    float sum = 0.0f;
    for (int64_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

/* Codes of 32 elements: their low four bits, and their fifth. */
static inline void put_nibbles(const uint8_t *codes, uint8_t *qs)
{
    for (int i = 0; i < HALF; i++)
        qs[i] = (uint8_t)((codes[i] & 15) | (codes[i + HALF] & 15) << 4);
}

static inline void put_fifth_bits(const uint8_t *codes, uint8_t *qh)
{
    memset(qh, 0, 4);
    for (int i = 0; i < BLOCK; i++)
        qh[i / 8] = (uint8_t)(qh[i / 8] | (codes[i] >> 4 & 1) << (i % 8));
}

/* n_groups groups of n consecutive numbers into the lanes; lanes beyond them hold zeros. */
static inline void fill_lanes(struct bnf_fit *fit, int n, const float *x, int n_groups)
{
    fit->n = n;
    for (int i = 0; i < n; i++) {
        for (int g = 0; g < n_groups; g++)
            fit->x[i][g] = x[g * n + i];
        for (int g = n_groups; g < BNF_FIT_LANES; g++)
            fit->x[i][g] = 0.0f;
    }
}

/* Importance of what a group holds, times how far its numbers stand out: weights of lane g. */
static inline void weigh_lane(struct bnf_fit *fit, int g, const float *importance, float variance)
{
    for (int i = 0; i < fit->n; i++)
        fit->weights[i][g] = importance[i] * sqrtf(variance + fit->x[i][g] * fit->x[i][g]);
}

static inline void lane_codes(const struct bnf_fit *fit, int g, uint8_t *codes)
{
    for (int i = 0; i < fit->n; i++)
        codes[i] = (uint8_t)fit->codes[i][g];
}

/* Super-blocks of type Q2_K to Q6_K: n of them, each 256 numbers, to dst. importance: of the 256 * per_row columns of a row, which the
 * first of them begins; NULL: of all the same. */
void bnf_quantize_k(const struct bnf_ops *ops, int32_t type, const float *x, int64_t n, const float *importance, int64_t per_row,
                    uint8_t *dst);
/* A row of k numbers as Q4_0, Q4_1, Q5_0 or Q5_1, by the importance of its columns. */
void bnf_quantize_weighted(const struct bnf_ops *ops, int32_t type, const float *x, int64_t k, const float *importance, uint8_t *dst);

#endif
