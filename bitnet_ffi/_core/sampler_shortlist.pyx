# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# How much of the vocabulary a chain can look at: one that keeps the k best before anything else happens needs the logits of k
# tokens, not of all; penalties and biases in front of it add the tokens they change. The head computes just those (head.pyx), so the
# same tokens are sampled, with the same random numbers.
# May not know a model. Next: api_sampler.pyx, llama_sampler_sample.

from libc.stdint cimport int32_t, int64_t
from bitnet_ffi._core.bnf cimport llama_sampler
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_chain_i, bnf_empty_i, bnf_logit_bias_i, bnf_penalties_i, bnf_sampler_chain, bnf_sampler_logit_bias,
    bnf_sampler_penalties, bnf_sampler_plain, bnf_top_k_i, BNF_SHORTLIST_MORE)

cdef extern from "bnf_sampler.h":
    pass

# Tokens that a penalty or a bias changes, appended to more[0..n); the new n, or -1 when they are too many.
cdef int32_t add_changed(const llama_sampler *smpl, int32_t *more, int32_t n) noexcept nogil:
    cdef const bnf_sampler_penalties *penalties
    cdef const bnf_sampler_logit_bias *bias
    cdef int32_t i
    if smpl.iface == &bnf_penalties_i:
        penalties = <const bnf_sampler_penalties *>smpl.ctx
        if penalties.n_counts > BNF_SHORTLIST_MORE - n:
            return -1
        for i in range(penalties.n_counts):
            more[n + i] = penalties.counts[i].token
        return n + penalties.n_counts
    bias = <const bnf_sampler_logit_bias *>smpl.ctx
    if bias.n > BNF_SHORTLIST_MORE - n:
        return -1
    for i in range(bias.n):
        more[n + i] = bias.biases[i].id
    return n + bias.n

# A token that nothing changes is among the k best afterwards only if at most k - 1 of its like are better, hence among the k plus
# changed ones before.
cdef public int64_t bnf_shortlist(const llama_sampler *smpl, int32_t *more, int32_t *n_more) noexcept nogil:
    cdef const bnf_sampler_chain *chain
    cdef const llama_sampler *member
    cdef int32_t i
    n_more[0] = 0
    if smpl.iface != &bnf_chain_i:
        return 0
    chain = <const bnf_sampler_chain *>smpl.ctx
    for i in range(chain.n):
        member = chain.members[i]
        if member.iface == &bnf_empty_i:
            continue
        if member.iface == &bnf_top_k_i:
            return <int64_t>(<const bnf_sampler_plain *>member.ctx).k + n_more[0]
        if member.iface != &bnf_penalties_i and member.iface != &bnf_logit_bias_i:
            return 0
        n_more[0] = add_changed(member, more, n_more[0])
        if n_more[0] < 0:
            return 0
    return 0
