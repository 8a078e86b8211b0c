# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The random choice that needs no sum: the largest logit + g, g Gumbel noise of (seed, step, token id), is a draw from the softmax. The
# noise of a token depends on no other token, so a chain may leave out whatever cannot win, and chooses the same.
# May not share state between samplers. Next: csrc/bnf_gumbel.h; sampler_shortlist.pyx and head.pyx, which leave out almost everything.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t
from bitnet_ffi._core.bnf_math cimport bnf_gumbel, bnf_gumbel_bound_of, bnf_gumbel_reach
from bitnet_ffi._core.bnf_ops cimport bnf_ops, bnf_ops_t
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_token, llama_token_data, llama_token_data_array, LLAMA_DEFAULT_SEED
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_best, bnf_gumbel_i, bnf_logit, bnf_random_seed, bnf_sampler_gumbel, bnf_sampler_new, INFINITY)

cdef extern from "bnf_sampler.h" nogil:
    pass

cdef extern from "bitnet_ffi.h" nogil:
    pass

cdef enum:
    BLOCK = 64        # candidates whose bounds are computed together, where their ids allow it


cdef public void bnf_gumbel_reset(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_gumbel *own = <bnf_sampler_gumbel *>smpl.ctx
    own.seed_now = bnf_random_seed() if own.seed == <uint32_t>LLAMA_DEFAULT_SEED else own.seed
    own.step = 0
    own.n_due = 0


cdef public llama_sampler *bitnet_sampler_init_gumbel(uint32_t seed) noexcept nogil:
    cdef llama_sampler *smpl = bnf_sampler_new(&bnf_gumbel_i, "gumbel", sizeof(bnf_sampler_gumbel))
    if smpl != NULL:
        (<bnf_sampler_gumbel *>smpl.ctx).seed = seed
        bnf_gumbel_reset(smpl)
    return smpl


cdef public llama_sampler *bnf_gumbel_clone(const llama_sampler *smpl) noexcept nogil:
    cdef llama_sampler *copy = bnf_sampler_new(smpl.iface, NULL, sizeof(bnf_sampler_gumbel))
    if copy != NULL:
        (<bnf_sampler_gumbel *>copy.ctx)[0] = (<const bnf_sampler_gumbel *>smpl.ctx)[0]
    return copy


cdef public void bnf_gumbel_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    cdef bnf_sampler_gumbel *own = <bnf_sampler_gumbel *>smpl.ctx
    if own.n_due > 0:
        own.n_due -= 1
        own.step += 1


# The logits that compete. Where the largest is infinite, those equal to it share alike, as in softmax (candidates.pyx).
cdef inline float competing(const llama_token_data *t, float max) noexcept nogil:
    cdef float logit = bnf_logit(t)
    if max - max == 0:
        return logit
    return 0 if logit == max else -INFINITY


# Bounds of n candidates. Logits in order of id, as a row of logits has them, go through the vector kernel.
cdef void bound(const bnf_sampler_gumbel *own, const bnf_ops_t *ops, const llama_token_data *data, size_t n, float max,
                float *upper) noexcept nogil:
    cdef float logits[BLOCK]
    cdef bint in_order = ops != NULL and data[0].id >= 0 and data[0].id % BLOCK == 0
    cdef size_t i
    for i in range(n):
        logits[i] = competing(data + i, max)
        in_order = in_order and data[i].id == data[0].id + <int>i
    if in_order:
        ops.gumbel_bounds(own.seed_now, own.step, data[0].id, <int64_t>n, logits, 1, upper)
    else:
        for i in range(n):
            upper[i] = logits[i] + bnf_gumbel_bound_of(own.seed_now, own.step, data[i].id)


cdef public void bnf_gumbel_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_gumbel *own = <bnf_sampler_gumbel *>smpl.ctx
    cdef const bnf_ops_t *ops = bnf_ops()
    cdef float upper[BLOCK]
    cdef size_t begin = 0, best, i, n
    cdef double score, most, reach
    cdef float max
    cur.selected = -1
    if cur.size > 0:
        # The largest logit sets a mark that few others can reach.
        best = bnf_candidates_best(cur.data, cur.size)
        max = bnf_logit(&cur.data[best])
        most = competing(&cur.data[best], max) + bnf_gumbel(own.seed_now, own.step, cur.data[best].id)
        reach = bnf_gumbel_reach(most)
        while begin < cur.size:
            n = min(<size_t>BLOCK, cur.size - begin)
            bound(own, ops, cur.data + begin, n, max, upper)
            for i in range(begin, begin + n):
                if upper[i - begin] < reach:
                    continue
                score = competing(&cur.data[i], max) + bnf_gumbel(own.seed_now, own.step, cur.data[i].id)
                if score > most or (score == most and cur.data[i].id < cur.data[best].id):
                    best = i
                    most = score
                    reach = bnf_gumbel_reach(most)
            begin += n
        cur.selected = <long long>best
    own.step += 1
