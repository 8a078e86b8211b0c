# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# XTC, "exclude top choices": with some chance, remove every candidate of at least threshold probability but the last of them,
# so that what is likely enough is said in a less expected way. Next: sampler_dist.pyx for its random stream.

from libc.stddef cimport size_t
from libc.stdint cimport uint32_t
from libc.string cimport memmove
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_token_data, llama_token_data_array
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_softmax, bnf_candidates_sort, bnf_dist_copy, bnf_dist_new, bnf_empty_i, bnf_mt19937_uniform_float, bnf_sampler_new,
    bnf_sampler_plain, bnf_sampler_xtc, bnf_xtc_i)

cdef extern from "bnf_sampler.h" nogil:
    pass


cdef public void bnf_xtc_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_xtc *own = <bnf_sampler_xtc *>smpl.ctx
    cdef size_t i, last = 0
    if cur.size < 2 or bnf_mt19937_uniform_float(&own.dist.random) > own.chance:
        return
    if not cur.sorted:
        bnf_candidates_sort(cur.data, cur.size, cur.size)
        cur.sorted = True
    bnf_candidates_softmax(cur.data, cur.size)
    for i in range(cur.size):
        if cur.data[i].p < own.threshold:
            break
        last = i
    # llama.cpp moves `data` forward; here it stays where the client put it.
    if last > 0 and cur.size - last >= own.min_keep:
        cur.size -= last
        memmove(cur.data, cur.data + last, cur.size * sizeof(llama_token_data))


cdef public llama_sampler *bnf_xtc_clone(const llama_sampler *smpl) noexcept nogil:
    return bnf_dist_copy(smpl, sizeof(bnf_sampler_xtc))


# A threshold above a half can never have two candidates above it.
cdef public llama_sampler *llama_sampler_init_xtc(float p, float t, size_t min_keep, uint32_t seed) noexcept nogil:
    cdef llama_sampler *smpl
    cdef bnf_sampler_xtc *own
    if not p > 0 or not t <= 0.5:
        return bnf_sampler_new(&bnf_empty_i, "?xtc", sizeof(bnf_sampler_plain))
    smpl = bnf_dist_new(&bnf_xtc_i, "xtc", sizeof(bnf_sampler_xtc), seed)
    if smpl != NULL:
        own = <bnf_sampler_xtc *>smpl.ctx
        own.chance = p
        own.threshold = t
        own.min_keep = min_keep
    return smpl
