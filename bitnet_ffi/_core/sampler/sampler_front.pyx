# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The front of a chain: the members that a decode runs when the chain is attached to a sequence, up to the first that selects. They are
# those that llama.cpp's backends can run (and Gumbel noise), with what its getters show: a temperature of 0 leaves one candidate, top-p
# and min-p drop candidates to minus infinity. The choice is the one that llama_sampler_sample makes with the same chain, unattached.
# May not change a sampler before bnf_front_end. Next: csrc/bnf_sampled.h, sampled.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler, llama_sampler_i, LLAMA_TOKEN_NULL
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_candidates_best, bnf_chain_i, bnf_dist_i, bnf_empty_i, bnf_front, bnf_greedy_i, bnf_gumbel_i, bnf_logit_bias_i, bnf_min_p_i,
    bnf_mt19937_uniform, bnf_penalties_i, bnf_sampler_chain, bnf_sampler_dist, bnf_sampler_gumbel, bnf_sampler_plain, bnf_temp_ext_i,
    bnf_temp_i, bnf_top_k_i, bnf_top_p_i)

cdef extern from "bnf_sampled.h" nogil:
    pass


cdef inline const bnf_sampler_chain *chain_of(const llama_sampler *smpl) noexcept nogil:
    return <const bnf_sampler_chain *>smpl.ctx


cdef inline bint selects(const llama_sampler_i *iface) noexcept nogil:
    return iface == &bnf_greedy_i or iface == &bnf_dist_i or iface == &bnf_gumbel_i


# Penalties look at what was accepted before the row, which is not known of several rows at once.
cdef bint runs(const llama_sampler *smpl, bint one_row) noexcept nogil:
    cdef const llama_sampler_i *iface = smpl.iface
    if iface == &bnf_penalties_i:
        return one_row
    return (selects(iface) or iface == &bnf_empty_i or iface == &bnf_top_k_i or iface == &bnf_top_p_i or iface == &bnf_min_p_i
            or iface == &bnf_temp_i or iface == &bnf_temp_ext_i or iface == &bnf_logit_bias_i)


# A member that is a chain itself runs when it is its turn in llama_sampler_sample.
cdef public int32_t bnf_front_length(const llama_sampler *smpl, bool one_row) noexcept nogil:
    cdef const bnf_sampler_chain *chain = chain_of(smpl)
    cdef int32_t n = 0
    while n < chain.n and runs(chain.members[n], one_row):
        n += 1
        if selects(chain.members[n - 1].iface):
            break
    return n


cdef public bool bnf_front_is_idle(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_chain *chain = chain_of(smpl)
    cdef int32_t i
    for i in range(chain.n_front):
        if chain.members[i].iface != &bnf_empty_i:
            return False
    return True


cdef public bool bnf_front_is_greedy(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_chain *chain = chain_of(smpl)
    return chain.n_front == 1 and chain.members[0].iface == &bnf_greedy_i


cdef public const llama_sampler *bnf_front_foreign(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_chain *chain = chain_of(smpl)
    cdef const llama_sampler *member
    cdef const llama_sampler *inside
    cdef int32_t i
    for i in range(chain.n):
        member = chain.members[i]
        if member.iface == &bnf_chain_i:
            inside = bnf_front_foreign(member)
            if inside != NULL:
                return inside
        elif member.iface != NULL and member.iface.apply == NULL and member.iface.backend_apply != NULL:
            return member
    return NULL


# ---- running ----

# The draw that comes after `ahead` others, by a copy of the generator.
cdef void draw(const llama_sampler *smpl, int32_t ahead, bnf_front *front) noexcept nogil:
    cdef bnf_sampler_dist own = (<const bnf_sampler_dist *>smpl.ctx)[0]
    cdef llama_sampler copy
    cdef int32_t i
    for i in range(ahead):
        bnf_mt19937_uniform(&own.random)
    copy.iface = smpl.iface
    copy.ctx = &own
    smpl.iface.apply(&copy, &front.cur)
    front.has_p = True


cdef void add_noise(const llama_sampler *smpl, int32_t ahead, bnf_front *front) noexcept nogil:
    cdef bnf_sampler_gumbel own = (<const bnf_sampler_gumbel *>smpl.ctx)[0]
    cdef llama_sampler copy
    own.step += ahead
    copy.iface = smpl.iface
    copy.ctx = &own
    smpl.iface.apply(&copy, &front.cur)


# Of all candidates a temperature of 0 leaves the best one.
cdef void keep_best(bnf_front *front) noexcept nogil:
    if front.cur.size > 0:
        front.cur.data[0] = front.cur.data[bnf_candidates_best(front.cur.data, front.cur.size)]
        front.cur.size = 1
        front.n_all = 1
        front.listed = True


cdef public void bnf_front_apply(const llama_sampler *smpl, int32_t ahead, bnf_front *front) noexcept nogil:
    cdef const bnf_sampler_chain *chain = chain_of(smpl)
    cdef llama_sampler *member
    cdef const llama_sampler_i *iface
    cdef size_t k
    cdef int32_t i
    front.n_all = front.cur.size
    front.token = LLAMA_TOKEN_NULL
    front.listed = False
    front.has_p = False
    for i in range(chain.n_front):
        member = chain.members[i]
        iface = member.iface
        front.cur.selected = -1
        if iface == &bnf_dist_i:
            draw(member, ahead, front)
        elif iface == &bnf_gumbel_i:
            add_noise(member, ahead, front)
        elif (iface == &bnf_temp_i or iface == &bnf_temp_ext_i) and not (<const bnf_sampler_plain *>member.ctx).p > 0:
            keep_best(front)
        else:
            iface.apply(member, &front.cur)
        if iface == &bnf_top_k_i:
            k = <size_t>(<const bnf_sampler_plain *>member.ctx).k
            front.n_all = min(front.n_all, k)
            front.listed = True
        elif iface == &bnf_top_p_i:
            front.listed = True
        if front.cur.selected >= 0:
            front.token = front.cur.data[front.cur.selected].id


# ---- what was drawn ----

cdef public void bnf_front_end(const llama_sampler *smpl, int32_t n, bool now) noexcept nogil:
    cdef const bnf_sampler_chain *chain = chain_of(smpl)
    cdef const llama_sampler *member
    cdef bnf_sampler_dist *dist
    cdef bnf_sampler_gumbel *gumbel
    cdef int32_t i, j
    for i in range(chain.n_front):
        member = chain.members[i]
        if member.iface == &bnf_dist_i:
            dist = <bnf_sampler_dist *>member.ctx
            dist.n_due = 0 if now else n
            for j in range(n if now else 0):
                bnf_mt19937_uniform(&dist.random)
        elif member.iface == &bnf_gumbel_i:
            gumbel = <bnf_sampler_gumbel *>member.ctx
            gumbel.n_due = 0 if now else n
            gumbel.step += n if now else 0
