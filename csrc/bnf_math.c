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

/* ---- double ----
 * A pair {hi, lo} is the unevaluated sum hi + lo, |lo| <= half an ulp of hi: about 106 bits. */

struct pair {
    double hi, lo;
};

static struct pair two_sum(double a, double b) /* a + b exactly (Knuth) */
{
    const double sum = a + b, b_part = sum - a;
    return (struct pair){sum, (a - (sum - b_part)) + (b - b_part)};
}

static struct pair fast_two_sum(double a, double b) /* the same for |a| >= |b| (Dekker) */
{
    const double sum = a + b;
    return (struct pair){sum, b - (sum - a)};
}

static struct pair two_product(double a, double b) /* a * b exactly (Dekker), for |a|, |b| < 2^990 */
{
    /* Multiplying by 2^27 + 1 cuts 53 bits into 26 + 26 with a sign, whose four products are exact. */
    const double cut_a = a * 0x1.0000002p+27, a_hi = cut_a - (cut_a - a), a_lo = a - a_hi;
    const double cut_b = b * 0x1.0000002p+27, b_hi = cut_b - (cut_b - b), b_lo = b - b_hi;
    const double product = a * b;
    return (struct pair){product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo};
}

/* ln 2 in two parts; HI has 41 bits, so that its product with an exponent (at most 12 bits) is exact. */
#define LN2_HI 0x1.62e42fefa3p-1
#define LN2_LO 0x1.3de6af278ece6p-42

/* ln x for finite x > 0. x = 2^e m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 atanh(s) with s = (m - 1) / (m + 1):
 * |s| < 0.1716. The series 2 (s + s^3/3 + s^5/5 + ...) ends at s^21: the next term is below 2^-57 of the sum. Its first
 * term is carried as a pair; the rest is at most 1 % of it, so that a double's rounding there does not show. */
static struct pair ln_pair(double x)
{
    int e = 0;
    if (x < 0x1p-1022) { /* subnormal */
        x *= 0x1p54;
        e = -54;
    }
    const uint64_t bits = bnf_bits_of_double(x);
    e += (int)(bits >> 52) - 1023;
    double m = bnf_double_of_bits((bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000));
    if (m >= 0x1.6a09e667f3bcdp+0) { /* sqrt(2) */
        m *= 0.5;
        e += 1;
    }
    const double above = m - 1.0; /* exact */
    const struct pair below = two_sum(m, 1.0);
    const double s = above / below.hi;
    const struct pair back = two_product(s, below.hi);
    const double s_lo = (((above - back.hi) - back.lo) - s * below.lo) / below.hi;

    const double q = s * s;
    double series = 1.0 / 21;
    series = series * q + 1.0 / 19;
    series = series * q + 1.0 / 17;
    series = series * q + 1.0 / 15;
    series = series * q + 1.0 / 13;
    series = series * q + 1.0 / 11;
    series = series * q + 1.0 / 9;
    series = series * q + 1.0 / 7;
    series = series * q + 1.0 / 5;
    series = series * q + 1.0 / 3;
    const double rest = 2.0 * (s_lo + s * q * series);

    struct pair sum = two_sum(e * LN2_HI, 2.0 * s);
    sum.lo += rest + e * LN2_LO;
    return fast_two_sum(sum.hi, sum.lo);
}

double bnf_ln(double x)
{
    if (x > 0 && x <= 0x1.fffffffffffffp+1023)
        return ln_pair(x).hi;
    return x == 0 ? -INFINITY : x > 0 ? x : NAN;
}

/* e^(hi + lo). e^r for |r| <= ln 2 / 2 is its Taylor series up to r^13 / 13!; the next term is below 2^-57. */
static double exp_pair(struct pair x)
{
    if (x.hi > 710.0)
        return INFINITY;
    if (x.hi < -746.0)
        return 0.0;
    const double n = (x.hi * 0x1.71547652b82fep+0 + 0x1.8p+52) - 0x1.8p+52; /* x / ln 2, rounded to an integer */
    const struct pair r = two_sum(x.hi - n * LN2_HI, x.lo - n * LN2_LO);
    double p = 1.0 / 6227020800;
    p = p * r.hi + 1.0 / 479001600;
    p = p * r.hi + 1.0 / 39916800;
    p = p * r.hi + 1.0 / 3628800;
    p = p * r.hi + 1.0 / 362880;
    p = p * r.hi + 1.0 / 40320;
    p = p * r.hi + 1.0 / 5040;
    p = p * r.hi + 1.0 / 720;
    p = p * r.hi + 1.0 / 120;
    p = p * r.hi + 1.0 / 24;
    p = p * r.hi + 1.0 / 6;
    p = p * r.hi + 0.5;
    p = 1.0 + (r.hi + (p * r.hi * r.hi + r.lo));
    /* In two steps, because 2^n alone can lie outside the doubles when the result does not. */
    const int half = (int)n / 2, other = (int)n - half;
    p *= bnf_double_of_bits((uint64_t)(1023 + half) << 52);
    return p * bnf_double_of_bits((uint64_t)(1023 + other) << 52);
}

double bnf_pow(double base, double exponent)
{
    /* exponent - exponent is 0 exactly when the exponent is finite. */
    if (!(base > 0 && base <= 0x1.fffffffffffffp+1023) || exponent - exponent != 0)
        return NAN;
    const struct pair ln = ln_pair(base);
    const double rough = exponent * ln.hi;
    if (rough > 1000.0)
        return INFINITY;
    if (rough < -1000.0)
        return 0.0;
    /* ln is 0 or at least 2^-53, so the exponent is below 2^64 here, or the product is 0. */
    if (rough == 0)
        return 1.0;
    struct pair product = two_product(exponent, ln.hi);
    product.lo += exponent * ln.lo;
    return exp_pair(fast_two_sum(product.hi, product.lo));
}

/* pi / 2 in four parts. The first three have 22 bits, so that their products with n (31 bits) are exact. */
#define HALF_PI_1 0x1.921fb0p+0
#define HALF_PI_2 0x1.5110b0p-22
#define HALF_PI_3 0x1.184698p-44
#define HALF_PI_4 0x1.3198a2e037073p-69

/* angle = n pi / 2 + r, |r| <= pi / 4 + rounding; sin and cos of r by their Taylor series (the first terms left out,
 * r^17 / 17! and r^18 / 18!, are below 2^-53 of the result), and n % 4 tells which is which. */
void bnf_sincos(double angle, double *sin_out, double *cos_out)
{
    if (!(angle > -0x1p31 && angle < 0x1p31)) {
        *sin_out = *cos_out = NAN;
        return;
    }
    const double n = (angle * 0x1.45f306dc9c883p-1 + 0x1.8p+52) - 0x1.8p+52;
    /* The first two subtractions are exact: what is left is a multiple of the last bit of angle or part, and small. */
    struct pair r = two_sum((angle - n * HALF_PI_1) - n * HALF_PI_2, -(n * HALF_PI_3));
    r = fast_two_sum(r.hi, r.lo - n * HALF_PI_4);

    const double q = r.hi * r.hi;
    double sine = -1.0 / 1307674368000;
    sine = sine * q + 1.0 / 6227020800;
    sine = sine * q - 1.0 / 39916800;
    sine = sine * q + 1.0 / 362880;
    sine = sine * q - 1.0 / 5040;
    sine = sine * q + 1.0 / 120;
    sine = sine * q - 1.0 / 6;
    double cosine = 1.0 / 20922789888000;
    cosine = cosine * q - 1.0 / 87178291200;
    cosine = cosine * q + 1.0 / 479001600;
    cosine = cosine * q - 1.0 / 3628800;
    cosine = cosine * q + 1.0 / 40320;
    cosine = cosine * q - 1.0 / 720;
    cosine = cosine * q + 1.0 / 24;
    /* sin(hi + lo) = sin hi + lo cos hi; cos(hi + lo) = cos hi - lo sin hi. 1 - q / 2 is kept as a pair. */
    const double s = r.hi + (r.hi * q * sine + r.lo * (1.0 - 0.5 * q));
    const struct pair c_head = fast_two_sum(1.0, -0.5 * q);
    const double c = c_head.hi + (c_head.lo + q * q * cosine - r.lo * r.hi);

    const unsigned quadrant = (unsigned)(int64_t)n & 3;
    *sin_out = quadrant == 0 ? s : quadrant == 1 ? c : quadrant == 2 ? -s : -c;
    *cos_out = quadrant == 0 ? c : quadrant == 1 ? -s : quadrant == 2 ? -c : s;
}

/* (p - 1) / (p + 1) with p = e^2|x| in double: of the 53 bits the subtraction costs 13 at 1e-4, and below two terms of the series are
 * exact to 1e-16. From 10 on it is 1 - 4e-9, which is 1. */
float bnf_tanhf(float x)
{
    const double a = x < 0 ? -(double)x : (double)x;
    if (a < 1e-4)
        return (float)((double)x * (1 - a * a / 3));
    if (a >= 10)
        return x < 0 ? -1.0f : 1.0f;
    const double p = bnf_pow(2.718281828459045, 2 * a), t = (p - 1) / (p + 1);
    return (float)(x < 0 ? -t : t);
}
