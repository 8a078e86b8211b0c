# The engine's view of csrc/bnf_math.h and bnf_gumbel.h: functions with the same bits everywhere. All extern; nothing is defined here.

from libc.stdint cimport uint16_t, int32_t, uint32_t, uint64_t

cdef extern from "bnf_math.h" nogil:
    float bnf_expf(float x)
    double bnf_ln(double x)
    double bnf_pow(double base, double exponent)
    void bnf_sincos(double angle, double *sin_out, double *cos_out)
    float bnf_f16_to_f32(uint16_t h)
    uint16_t bnf_f32_to_f16(float f)
    float bnf_bf16_to_f32(uint16_t h)

cdef extern from "bnf_gumbel.h" nogil:
    double bnf_gumbel(uint32_t seed, uint64_t step, int32_t id)
    float bnf_gumbel_bound_of(uint32_t seed, uint64_t step, int32_t id)
    double bnf_gumbel_reach(double most)
