/* Our own transcendental functions, so that results do not depend on the C library or its CPU dispatch.
 * bnf_expf is the scalar statement of the exp that every kernel table repeats operation by operation. */
#ifndef BNF_MATH_H
#define BNF_MATH_H

#include <stdint.h>

/* a * b + c with one rounding, on every machine: the FMA instruction where the target has it at compile time, else an
 * exact emulation in double (product exact, TwoSum, round to odd, then to float). */
float bnf_fmaf(float a, float b, float c);
float bnf_expf(float x);                              /* within 2 ulp; 0 below -87.3, +inf above 88.72, NaN for NaN */
double bnf_ln(double x);
double bnf_pow(double base, double exponent);         /* base > 0 */
void bnf_sincos(double angle, double *sin_out, double *cos_out); /* |angle| < 2^31 */
float bnf_f16_to_f32(uint16_t h);
uint16_t bnf_f32_to_f16(float f);                     /* round to nearest, ties to even */
float bnf_bf16_to_f32(uint16_t h);

#endif
