# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The random choice: one candidate by its softmax probability, from a Mersenne twister of its own. The stream, and with it
# the token for given logits, equals llama.cpp's built with libstdc++, up to the last bits of exp.
# May not share state between samplers. Next: csrc/bnf_random.h.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_sampler_i, llama_token, llama_token_data_array, LLAMA_DEFAULT_SEED
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_exp, bnf_candidates_max, bnf_mt19937_seed, bnf_mt19937_uniform, bnf_random_seed, bnf_sampler_dist, bnf_sampler_new)

cdef extern from "bnf_sampler.h" nogil:
    pass


# The first candidate, in the order of the array, at which the running sum reaches u times the whole; one uniform u a call.
# A single candidate is taken without drawing, as by std::discrete_distribution, with which mirostat and the calls of 2023 choose.
cdef public void bnf_dist_draw(bnf_sampler_dist *dist, llama_token_data_array *cur) noexcept nogil:
    cdef double whole, target, running = 0
    cdef size_t i
    cur.selected = -1
    if cur.size == 0:
        return
    if cur.size == 1:
        cur.selected = 0
        cur.data[0].p = 1
        return
    whole = bnf_candidates_exp(cur.data, cur.size, bnf_candidates_max(cur.data, cur.size))
    target = whole * bnf_mt19937_uniform(&dist.random)
    for i in range(cur.size):
        if cur.selected < 0:
            running += cur.data[i].p
            # p > 0: u may be 0, and an impossible candidate must not win then. The running sum is added up exactly as
            # `whole` was, and u < 1, so it gets there.
            if running >= target and cur.data[i].p > 0:
                cur.selected = <long long>i
        cur.data[i].p = <float>(cur.data[i].p / whole)


# One number a call, whatever there is to choose from: then rows that are drawn in a decode are drawn with the same ones.
cdef public void bnf_dist_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_dist *own = <bnf_sampler_dist *>smpl.ctx
    if cur.size == 1:
        bnf_mt19937_uniform(&own.random)
    bnf_dist_draw(own, cur)


cdef public void bnf_dist_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    cdef bnf_sampler_dist *own = <bnf_sampler_dist *>smpl.ctx
    if own.n_due > 0:
        own.n_due -= 1
        bnf_mt19937_uniform(&own.random)


cdef public void bnf_dist_reset(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_dist *own = <bnf_sampler_dist *>smpl.ctx
    own.seed_now = bnf_random_seed() if own.seed == <uint32_t>LLAMA_DEFAULT_SEED else own.seed
    bnf_mt19937_seed(&own.random, own.seed_now)
    own.n_due = 0


cdef public llama_sampler *bnf_dist_new(llama_sampler_i *iface, const char *name, size_t size, uint32_t seed) noexcept nogil:
    cdef llama_sampler *smpl = bnf_sampler_new(iface, name, size)
    if smpl != NULL:
        (<bnf_sampler_dist *>smpl.ctx).seed = seed
        bnf_dist_reset(smpl)
    return smpl


cdef public llama_sampler *bnf_dist_copy(const llama_sampler *smpl, size_t size) noexcept nogil:
    cdef llama_sampler *copy = bnf_sampler_new(smpl.iface, NULL, size)
    if copy != NULL:
        memcpy(copy.ctx, smpl.ctx, size)
    return copy


cdef public llama_sampler *bnf_dist_clone(const llama_sampler *smpl) noexcept nogil:
    return bnf_dist_copy(smpl, sizeof(bnf_sampler_dist))
