/* The lanes16 order of bnf_ops.h in plain C. Every sum of floats in the kernels ends in bnf_fold16_scalar.
 * Next: vector_scalar.c and attention_scalar.c, which state each operation with it. */
#ifndef BNF_LANES_SCALAR_H
#define BNF_LANES_SCALAR_H

#include "bnf_math.h"

/* The tree that ends a lanes16 sum: 16 lanes, 8, 4, 2, 1. */
static inline float bnf_fold16_scalar(const float *lane)
{
    float half[8];
    for (int i = 0; i < 8; i++)
        half[i] = lane[i] + lane[i + 8];
    for (int width = 4; width > 0; width /= 2)
        for (int i = 0; i < width; i++)
            half[i] += half[i + width];
    return half[0];
}

#endif
