# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The rotations of a context: radians per position of each pair, and by how much they lengthen a vector. One table serves queries, keys
# and keys that move, so what the parameters and the file say of stretching ends here.
# Source: YaRN (arXiv 2309.00071) and the parameters as llama.cpp of October 2026 completes them (llama-context.cpp, ggml's rope).

from libc.stdint cimport int32_t, uint32_t
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_math cimport bnf_ln, bnf_pow
from bitnet_ffi._core.bnf_public cimport (
    llama_context_params, BITNET_ERROR, BITNET_ERROR_MEMORY, LLAMA_ROPE_SCALING_TYPE_LONGROPE, LLAMA_ROPE_SCALING_TYPE_NONE,
    LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED, LLAMA_ROPE_SCALING_TYPE_YARN)
from bitnet_ffi._core.bnf_types cimport bnf_hparams, llama_model

cdef extern from "bnf_calls.h":
    pass

cdef extern from "<math.h>" nogil:
    double ceil(double x)
    double floor(double x)
    bint isfinite(double x)

cdef enum:
    BETA_FAST = 32        # turns in the trained context from which on a pair is not stretched,
    BETA_SLOW = 1         # and below which it is stretched whole; between the two it is mixed

ctypedef struct stretch_t:
    double base
    double scale          # frequencies of stretched pairs are this much lower
    double extrapolated   # the part of the mix that is not stretched: ext_factor, 0 without YaRN
    double first          # pairs up to this one turn as trained,
    double last           # from this one on stretched

cdef inline double given(double asked, double otherwise) noexcept nogil:
    return asked if asked >= 0 else otherwise

# The pair, not a whole number, that turns so many times in n_ctx positions.
cdef inline double pair_of(int32_t n_rot, double n_ctx, double turns, double base) noexcept nogil:
    cdef double turn = 6.283185307179586
    return n_rot * bnf_ln(n_ctx / (turns * turn)) / (2 * bnf_ln(base))

cdef inline double frequency(const stretch_t *s, int32_t i, int32_t n_rot, const float *divisors) noexcept nogil:
    cdef double freq = bnf_pow(s.base, -2.0 * i / n_rot)
    cdef double mix
    if s.extrapolated != 0:
        mix = (1 - min(1.0, max(0.0, (i - s.first) / max(0.001, s.last - s.first)))) * s.extrapolated
        freq = freq * (s.scale * (1 - mix) + mix)
    else:
        freq = s.scale * freq
    return freq / divisors[i] if divisors != NULL else freq

# Longer contexts than the model was first trained for have factors of their own.
cdef const float *divisors_of(const llama_model *model, uint32_t n_ctx_seq) noexcept nogil:
    if model.rope_factors != NULL:
        return model.rope_factors
    return model.rope_long if n_ctx_seq > <uint32_t>model.hp.n_ctx_orig else model.rope_short

cdef public int bnf_rope_init(llama_context *ctx, uint32_t n_ctx_seq) noexcept nogil:
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef const llama_context_params *p = &ctx.params
    cdef int type = p.rope_scaling_type if p.rope_scaling_type != LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED else hp.rope_scaling
    cdef double n_orig = p.yarn_orig_ctx if p.yarn_orig_ctx != 0 else <uint32_t>hp.n_ctx_orig
    cdef const float *divisors = divisors_of(ctx.model, n_ctx_seq)
    cdef stretch_t s
    cdef int32_t i
    s.base = p.rope_freq_base if p.rope_freq_base > 0 else hp.rope_base
    s.scale = p.rope_freq_scale if p.rope_freq_scale > 0 else hp.rope_scale
    if type == LLAMA_ROPE_SCALING_TYPE_NONE:
        s.scale = 1.0      # whatever the file or rope_freq_scale say
    s.extrapolated = given(p.yarn_ext_factor, 1 if type == LLAMA_ROPE_SCALING_TYPE_YARN else 0)
    s.first = max(0.0, floor(pair_of(hp.n_rot, n_orig, given(p.yarn_beta_fast, BETA_FAST), s.base)))
    s.last = min(hp.n_rot - 1.0, ceil(pair_of(hp.n_rot, n_orig, given(p.yarn_beta_slow, BETA_SLOW), s.base)))
    if s.extrapolated == 0:
        ctx.rope_length = given(p.yarn_attn_factor, 1)
    else:                  # attention over more positions is sharpened; yarn_attn_factor does not count then
        ctx.rope_length = 1 - 0.1 * bnf_ln(s.scale) if s.scale < 1 else 1
    ctx.rope_length = ctx.rope_length * hp.rope_attn_factor
    ctx.rope_freqs = <double *>bnf_alloc_array(<size_t>(hp.n_rot // 2 + 1), sizeof(double))
    if ctx.rope_freqs == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(hp.n_rot // 2):
        ctx.rope_freqs[i] = frequency(&s, i, hp.n_rot, divisors)
        if not isfinite(ctx.rope_freqs[i]) or not isfinite(ctx.rope_length):
            return bnf_fail(BITNET_ERROR, b"context parameters rope_freq_* and yarn_*: pair %d would turn by %g a position", i,
                            ctx.rope_freqs[i])
    return 0
