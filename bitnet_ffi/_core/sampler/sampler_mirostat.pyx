# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Mirostat 1 and 2 (Basu et al. 2021, arXiv 2007.14966): select so that the surprise of the text stays near tau bits, by letting
# mu, the surprise allowed, follow what was drawn. They select; a chain ends with one of them in place of dist.
# Next: sampler_dist.pyx, the draw.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t
from bitnet_ffi._core.bnf_math cimport bnf_ln, bnf_pow
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_sampler_i, llama_token_data_array
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_softmax, bnf_candidates_sort, bnf_dist_copy, bnf_dist_draw, bnf_dist_new, bnf_dist_reset, bnf_mirostat_i,
    bnf_mirostat_v2_i, bnf_sampler_mirostat)

cdef extern from "bnf_sampler.h" nogil:
    pass


cdef inline double bits(double p) noexcept nogil:
    return -bnf_ln(p) * 1.4426950408889634


cdef void sort_all(llama_token_data_array *cur) noexcept nogil:
    if not cur.sorted:
        bnf_candidates_sort(cur.data, cur.size, cur.size)
        cur.sorted = True
    bnf_candidates_softmax(cur.data, cur.size)


# Draw, and move mu against the error of the surprise.
cdef void draw(bnf_sampler_mirostat *own, llama_token_data_array *cur) noexcept nogil:
    bnf_dist_draw(&own.dist, cur)
    own.mu -= <float>(own.eta * (bits(cur.data[cur.selected].p) - own.tau))


# Candidates to keep by version 1: words follow Zipf's law with the exponent s that the m best suggest, then
#   k = (e 2^mu / (1 - N^-e))^(1/s),   e = s - 1.
cdef size_t zipf_k(const bnf_sampler_mirostat *own, const llama_token_data_array *cur) noexcept nogil:
    cdef double along = 0, squares = 0, t, s, e, k
    cdef size_t i
    for i in range(cur.size - 1):
        if <int64_t>i + 1 >= own.m or not cur.data[i + 1].p > 0:      # what cannot be drawn follows no law
            break
        t = bnf_ln((<double>i + 2) / (<double>i + 1))
        along += t * bnf_ln(<double>cur.data[i].p / cur.data[i + 1].p)
        squares += t * t
    s = along / squares
    e = s - 1
    k = bnf_pow(e * bnf_pow(2, own.mu) / (1 - bnf_pow(<double>own.n_vocab, -e)), 1 / s)
    # Not a number (m < 2, a flat or a certain distribution) keeps all, as the law says nothing then.
    if not k < <double>cur.size:
        return cur.size
    return <size_t>k if k >= 1 else 1


cdef public void bnf_mirostat_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_mirostat *own = <bnf_sampler_mirostat *>smpl.ctx
    cur.selected = -1
    if cur.size == 0:
        return
    sort_all(cur)
    cur.size = zipf_k(own, cur)
    draw(own, cur)


# Version 2 keeps those whose surprise is at most mu, at least the best.
cdef public void bnf_mirostat_v2_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_mirostat *own = <bnf_sampler_mirostat *>smpl.ctx
    cdef size_t n = 1
    cur.selected = -1
    if cur.size == 0:
        return
    sort_all(cur)
    while n < cur.size and bits(cur.data[n].p) <= own.mu:
        n += 1
    cur.size = n
    draw(own, cur)


cdef public void bnf_mirostat_reset(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_mirostat *own = <bnf_sampler_mirostat *>smpl.ctx
    bnf_dist_reset(smpl)
    own.mu = 2 * own.tau


cdef public llama_sampler *bnf_mirostat_clone(const llama_sampler *smpl) noexcept nogil:
    return bnf_dist_copy(smpl, sizeof(bnf_sampler_mirostat))


cdef llama_sampler *new(llama_sampler_i *iface, const char *name, uint32_t seed, float tau, float eta) noexcept nogil:
    cdef llama_sampler *smpl = bnf_dist_new(iface, name, sizeof(bnf_sampler_mirostat), seed)
    cdef bnf_sampler_mirostat *own
    if smpl != NULL:
        own = <bnf_sampler_mirostat *>smpl.ctx
        own.tau = tau
        own.eta = eta
        own.mu = 2 * tau
    return smpl


cdef public llama_sampler *llama_sampler_init_mirostat(int32_t n_vocab, uint32_t seed, float tau, float eta,
                                                       int32_t m) noexcept nogil:
    cdef llama_sampler *smpl = new(&bnf_mirostat_i, "mirostat", seed, tau, eta)
    if smpl != NULL:
        (<bnf_sampler_mirostat *>smpl.ctx).n_vocab = n_vocab
        (<bnf_sampler_mirostat *>smpl.ctx).m = m
    return smpl


cdef public llama_sampler *llama_sampler_init_mirostat_v2(uint32_t seed, float tau, float eta) noexcept nogil:
    return new(&bnf_mirostat_v2_i, "mirostat-v2", seed, tau, eta)
