/* Elementary functions from IEEE 754 additions, multiplications and divisions alone, so that a model gives the same
 * logits on every machine. May not call libm and may not be compiled with FMA contraction: every product below that
 * should be fused says so. Doubles are used where a value is computed once per position (ln, pow, sin, cos), floats
 * where one is computed per element (exp). Next: tests_c/test_math.cpp for the error bounds. */
#include "bnf_math.h"

#include <math.h> /* INFINITY, NAN: no function of it is called */

/* ---- float ---- */

float bnf_fmaf_exact(float a, float b, float c)
{
    const double product = (double)a * (double)b; /* exact */
    double sum = product + (double)c;
    /* TwoSum (Knuth): product + c == sum + lost, exactly. */
    const double c_part = sum - product;
    const double lost = (product - (sum - c_part)) + ((double)c - c_part);
    /* Round to odd: if something was lost, take the neighbour whose last bit is 1. An odd double is never halfway between
     * two floats (it has at least 29 bits more), so the rounding to float below sees on which side the exact sum lay.
     * Written so that a NaN `lost`, after an infinite sum, changes nothing. */
    uint64_t bits = bnf_bits_of_double(sum);
    if ((lost > 0 || lost < 0) && !(bits & 1)) {
        bits = (lost > 0) == (sum > 0) ? bits + 1 : bits - 1; /* away from zero, towards zero; sum == 0 loses nothing */
        sum = bnf_double_of_bits(bits);
    }
    return (float)sum;
}

/* e^x = 2^n e^r with n = round(x / ln 2), |r| <= ln 2 / 2 + rounding.
 *
 * This is the sequence that each kernel table repeats, operation by operation; `fma` is one rounding:
 *    z = fma(x, LOG2E, SHIFT)          the sum's lowest bits are n + constant
 *    n = z - SHIFT                     exact
 *    r = fma(n, -LN2_HI, x)
 *    r = fma(n, -LN2_LO, r)
 *    p = fma(C6, r, C5)
 *    p = fma(p, r, C4)   p = fma(p, r, C3)   p = fma(p, r, C2)   p = fma(p, r, 1)   p = fma(p, r, 1)
 *    y = float_of_bits(bits(p) + (bits(z) << 23))          32-bit wrapping integers
 *    x < LOWEST                    -> +0
 *    not (x <= HIGHEST), or NaN    -> x + inf
 * bits(z) is 0x4b400000 + n and the shift drops all but n's low bits: the addition puts n into p's exponent. Between
 * LOWEST and HIGHEST that cannot leave the normal range: n >= -126, where r > 0.03 and p >= 1 (exponent 127 - 126 = 1);
 * n <= 128, where r < 0 and p < 1 (exponent 126 + 128 = 254). Outside, y is garbage and is not selected. Tried degree 5:
 * 1.8 * 2^-24 of approximation error alone, more than 2 ulp in all; degree 6 costs one fma and leaves rounding only. */
float bnf_expf(float x)
{
    if (x < BNF_EXP_LOWEST)
        return 0.0f;
    if (!(x <= BNF_EXP_HIGHEST))
        return x + INFINITY;
    const float z = bnf_fmaf(x, BNF_EXP_LOG2E, BNF_EXP_SHIFT);
    const float n = z - BNF_EXP_SHIFT;
    float r = bnf_fmaf(n, -BNF_EXP_LN2_HI, x);
    r = bnf_fmaf(n, -BNF_EXP_LN2_LO, r);
    float p = bnf_fmaf(BNF_EXP_C6, r, BNF_EXP_C5);
    p = bnf_fmaf(p, r, BNF_EXP_C4);
    p = bnf_fmaf(p, r, BNF_EXP_C3);
    p = bnf_fmaf(p, r, BNF_EXP_C2);
    p = bnf_fmaf(p, r, 1.0f);
    p = bnf_fmaf(p, r, 1.0f);
    return bnf_float_of_bits(bnf_bits_of_float(p) + (bnf_bits_of_float(z) << 23));
}
