/* The searches of the quantizers: which scale (and minimum) and which codes say 16 or 32 weights best. Sixteen groups at once, one in
 * each lane, so that SIMD leaves every group's sums in the order in which one after the other would add them: the bits of llama.cpp's
 * make_qkx2_quants, make_qkx3_quants, make_qx_quants and make_q3_quants (ggml-quants.c), which are serial.
 * Next: bnf_fit_lanes.h, compiled once for each kernel table; bnf_quantize_k.c, which asks. */
#ifndef BNF_FIT_H
#define BNF_FIT_H

#include <stdbool.h>
#include <stdint.h>

#define BNF_FIT_LANES 16
#define BNF_FIT_MOST 32

/* Numbers of group g lie in column g. */
struct bnf_fit {
    float x[BNF_FIT_MOST][BNF_FIT_LANES];
    float weights[BNF_FIT_MOST][BNF_FIT_LANES]; /* how much the error of each counts */
    float codes[BNF_FIT_MOST][BNF_FIT_LANES];   /* out: integers from 0 */
    float scale[BNF_FIT_LANES];                 /* out */
    float min[BNF_FIT_LANES];                   /* out of fit_offset: x is about scale code - min */
    int32_t n;                                  /* numbers of a group, at most BNF_FIT_MOST */
    int32_t most;                               /* fit_offset: codes 0 .. most; the others: 0 .. 2 most - 1, of which `most` means 0 */
    float first, step;                          /* fit_offset tries scales that would give codes up to most + first + i step, */
    int32_t n_steps;                            /* i = 0 .. n_steps */
    bool absolute;                              /* fit_offset: errors count as they are, not squared */
    bool bounded;                               /* fit_offset: codes are bounded before they are rounded, not after (bnf_fit_lanes.h) */
} __attribute__((aligned(64)));

/* An integer as llama.cpp rounds to one: exact to 2^22, and beyond that the low 23 bits, which wrap. */
static inline int32_t bnf_fit_nearest(float x)
{
    const float shifted = x + 12582912.0f; /* 1.5 * 2^23: the fraction is rounded off, to even, and the integer is in the low bits */
    int32_t bits;
    __builtin_memcpy(&bits, &shifted, sizeof bits);
    return (bits & 0x7fffff) - 0x400000;
}

#endif
