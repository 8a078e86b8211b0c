/* Our own elementary functions and number conversions: their bits depend on IEEE 754 alone, never on the C library, its
 * CPU dispatch or the compiler's taste for FMA. What needs one rounding (bnf_fmaf) and the conversions are inline, because
 * kernels call them per element; the rest is in bnf_math.c. Compile every user with -ffp-contract=off.
 * Next: bnf_math.c, where bnf_expf is written as the sequence of operations that each kernel table repeats. */
#ifndef BNF_MATH_H
#define BNF_MATH_H

#include <stdint.h>
#include <string.h>

static inline uint32_t bnf_bits_of_float(float f) { uint32_t u; memcpy(&u, &f, sizeof u); return u; }
static inline float bnf_float_of_bits(uint32_t u) { float f; memcpy(&f, &u, sizeof f); return f; }
static inline uint64_t bnf_bits_of_double(double d) { uint64_t u; memcpy(&u, &d, sizeof u); return u; }
static inline double bnf_double_of_bits(uint64_t u) { double d; memcpy(&d, &u, sizeof d); return d; }

/* The rare half of bnf_fmaf: any inputs, exact by rounding the sum to odd before it becomes a float. */
float bnf_fmaf_exact(float a, float b, float c);

/* a * b + c with one rounding, on every machine: the instruction where the target has it at compile time, else emulated.
 * A NaN result is a NaN; which of several NaN operands it repeats is left to the machine. */
static inline float bnf_fmaf(float a, float b, float c)
{
#if defined(__FMA__) || defined(__aarch64__) || defined(__FP_FAST_FMAF)
    return __builtin_fmaf(a, b, c);
#else
    /* The product of two floats fits a double (24 + 24 <= 53 bits). The sum is rounded once to double and once to float;
     * the two roundings differ from one only if the double lies halfway between two floats, where the part that the
     * first rounding lost should have decided. Halfway means that the 29 bits a float drops are 1000...0. Below the
     * normal floats more bits are dropped, so that range goes the careful way too. */
    const double sum = (double)a * (double)b + (double)c;
    const uint64_t bits = bnf_bits_of_double(sum);
    const uint64_t smallest_normal = UINT64_C(0x3810000000000000); /* 2^-126 as a double */
    if ((bits & 0x1fffffff) == 0x10000000 || (bits & ~(UINT64_C(1) << 63)) < smallest_normal)
        return bnf_fmaf_exact(a, b, c);
    return (float)sum;
#endif
}

/* e^x within 1 ulp; 0 below -87.3, +inf above 88.72, NaN for NaN. */
float bnf_expf(float x);
/* The constants of bnf_expf, for the tables that repeat it. */
#define BNF_EXP_LOWEST  (-87.3f)
#define BNF_EXP_HIGHEST 88.72f
#define BNF_EXP_LOG2E   0x1.715476p+0f   /* 1 / ln 2 */
#define BNF_EXP_SHIFT   0x1.8p+23f       /* adding it rounds to an integer, held in the lowest bits */
#define BNF_EXP_LN2_HI  0x1.62e430p-1f   /* ln 2 = HI + LO, to 1e-16 */
#define BNF_EXP_LN2_LO  (-0x1.05c610p-29f)
#define BNF_EXP_C2      0x1.fffffcp-2f   /* e^r = 1 + r + C2 r^2 + ... + C6 r^6 for |r| <= ln 2 / 2: */
#define BNF_EXP_C3      0x1.555492p-3f   /* minimax with coefficients that are floats, relative error 3.2e-9 */
#define BNF_EXP_C4      0x1.5558acp-5f
#define BNF_EXP_C5      0x1.123974p-7f
#define BNF_EXP_C6      0x1.6a5046p-10f

/* Within 1 ulp, and odd. */
float bnf_tanhf(float x);
/* Natural logarithm, relative error below 1e-15. 0 gives -inf, below 0 and NaN give NaN. */
double bnf_ln(double x);
/* base^exponent, relative error below 1e-15, for finite base > 0 and finite exponent; anything else gives NaN. */
double bnf_pow(double base, double exponent);
/* Both within 1e-15 (relative, next to their zeros too). |angle| < 2^31; beyond, and for NaN, both are NaN. */
void bnf_sincos(double angle, double *sin_out, double *cos_out);

/* Exact. A signalling NaN becomes quiet and keeps its payload, as the conversion instructions do. */
static inline float bnf_f16_to_f32(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16;
    const uint32_t magnitude = h & 0x7fff;
    if (magnitude >= 0x7c00) /* inf, NaN */
        return bnf_float_of_bits(sign | 0x7f800000 | (magnitude & 0x3ff) << 13 | (magnitude > 0x7c00 ? 0x400000 : 0));
    if (magnitude >= 0x0400) /* normal: the exponent's bias goes from 15 to 127 */
        return bnf_float_of_bits(sign | ((magnitude << 13) + (112u << 23)));
    return bnf_float_of_bits(sign | bnf_bits_of_float((float)magnitude * 0x1p-24f)); /* zero and subnormals */
}

/* Round to nearest, ties to even; beyond 65504 + half a step: inf. NaN as above. */
static inline uint16_t bnf_f32_to_f16(float f)
{
    const uint32_t bits = bnf_bits_of_float(f);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return (uint16_t)(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) /* 65520, halfway from the largest f16 to 2^16 */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* below 2^-14: 0.5 has the subnormals' step, 2^-24, so the addition rounds to it */
        const uint32_t sum = bnf_bits_of_float(bnf_float_of_bits(magnitude) + 0.5f);
        return (uint16_t)(sign | (sum - 0x3f000000));
    }
    const uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1); /* a carry into the exponent is right as it is */
    return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
}

static inline float bnf_bf16_to_f32(uint16_t h)
{
    return bnf_float_of_bits((uint32_t)h << 16);
}

#endif
