# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# How much of the vocabulary a chain can look at. One that keeps the k best before anything else happens needs the logits of k tokens, not
# of all; one that ends in Gumbel noise, those that the noise can lift to the top. Penalties and biases in front add the tokens they
# change. The head computes just those (head.pyx), and the chain runs on them: the same tokens are sampled.
# May not know a model. Next: api_sampler.pyx, llama_sampler_sample.

from libc.stdint cimport int32_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_chain_i, bnf_dist_i, bnf_empty_i, bnf_greedy_i, bnf_gumbel_i, bnf_logit_bias_i, bnf_penalties_i, bnf_sampler_chain,
    bnf_sampler_gumbel, bnf_sampler_logit_bias, bnf_sampler_penalties, bnf_sampler_plain, bnf_shortlist, bnf_temp_i, bnf_top_k_i,
    BNF_SHORTLIST_MORE)

cdef extern from "bnf_sampler.h":
    pass

# Append the tokens that a penalty or a bias changes. False: they are too many, or it is another sampler.
cdef bint add_changed(const llama_sampler *smpl, bnf_shortlist *list) noexcept nogil:
    cdef const bnf_sampler_penalties *penalties
    cdef const bnf_sampler_logit_bias *bias
    cdef int32_t i
    if smpl.iface == &bnf_penalties_i:
        penalties = <const bnf_sampler_penalties *>smpl.ctx
        if penalties.n_counts > BNF_SHORTLIST_MORE - list.n_more:
            return False
        for i in range(penalties.n_counts):
            list.more[list.n_more + i] = penalties.counts[i].token
        list.n_more += penalties.n_counts
        return True
    if smpl.iface != &bnf_logit_bias_i:
        return False
    bias = <const bnf_sampler_logit_bias *>smpl.ctx
    if bias.n > BNF_SHORTLIST_MORE - list.n_more:
        return False
    for i in range(bias.n):
        list.more[list.n_more + i] = bias.biases[i].id
    list.n_more += bias.n
    return True

cdef bool noisy(const llama_sampler *smpl, bnf_shortlist *list) noexcept nogil:
    cdef const bnf_sampler_gumbel *own = <const bnf_sampler_gumbel *>smpl.ctx
    list.seed = own.seed_now
    list.step = own.step
    return True

cdef inline bint draws(const llama_sampler *smpl) noexcept nogil:
    return smpl.iface == &bnf_gumbel_i or smpl.iface == &bnf_dist_i

# The k best of a chain are those before it and as many as it changes: a token that nothing changes is among the k best afterwards only
# if at most k - 1 of its like are better. A greedy sampler at the end is a k of 1. A temperature keeps the order but can make ties, so
# one in front of these needs all logits; in front of noise, one is part of the bound. Of 0 or less it keeps the best one, and what draws
# behind it finds no other.
cdef public bool bnf_shortlist_of(const llama_sampler *smpl, int32_t n, bnf_shortlist *list) noexcept nogil:
    cdef const bnf_sampler_chain *chain
    cdef const llama_sampler *member
    cdef bint divided = False
    cdef float t
    cdef int32_t i
    memset(list, 0, sizeof(bnf_shortlist))
    list.t = 1
    if smpl.iface == &bnf_gumbel_i:
        return noisy(smpl, list)
    if smpl.iface != &bnf_chain_i:
        return False
    chain = <const bnf_sampler_chain *>smpl.ctx
    for i in range(min(n, chain.n)):
        member = chain.members[i]
        if member.iface == &bnf_empty_i:
            continue
        if member.iface == &bnf_gumbel_i:
            return noisy(member, list)
        if divided and (member.iface == &bnf_top_k_i or member.iface == &bnf_greedy_i):
            return False
        if member.iface == &bnf_greedy_i:
            list.k = 1 + list.n_more
            return i + 1 == min(n, chain.n)
        if member.iface == &bnf_top_k_i:
            list.k = <long long>(<const bnf_sampler_plain *>member.ctx).k + list.n_more
            return True
        if member.iface == &bnf_temp_i:
            t = (<const bnf_sampler_plain *>member.ctx).p
            if divided:
                return False
            if not t > 0:
                list.k = 1 + list.n_more
                return i + 1 < min(n, chain.n) and draws(chain.members[i + 1])
            list.t = t
            divided = True
        elif not add_changed(member, list):
            return False
    return False
