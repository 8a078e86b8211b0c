# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The chain: a sampler that applies its members in order, owns them, and measures the time they take.
# Members may be a client's own, with any of their functions missing, or chains again. Next: api_sampler.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t
from libc.string cimport memmove
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_log, bnf_release, bnf_resize, bnf_time_us
from bitnet_ffi._core.bnf_public cimport (
    llama_perf_sampler_data, llama_sampler, llama_sampler_chain_params, llama_token, llama_token_data, llama_token_data_array,
    BITNET_ERROR, GGML_LOG_LEVEL_INFO)
from bitnet_ffi._core.bnf_sampler cimport bnf_chain_i, bnf_sampled_forget, bnf_sampler_chain, bnf_sampler_new

cdef extern from "bnf_sampled.h" nogil:
    pass

cdef extern from "bitnet_ffi.h" nogil:
    const char *llama_sampler_name(const llama_sampler *smpl)
    void llama_sampler_accept(llama_sampler *smpl, llama_token token)
    void llama_sampler_apply(llama_sampler *smpl, llama_token_data_array *cur_p)
    void llama_sampler_reset(llama_sampler *smpl)
    llama_sampler *llama_sampler_clone(const llama_sampler *smpl)
    void llama_sampler_free(llama_sampler *smpl)


cdef public bnf_sampler_chain *bnf_chain_of(const llama_sampler *smpl, const char *caller) noexcept nogil:
    bnf_clear_error()
    if smpl == NULL or smpl.iface != &bnf_chain_i:
        bnf_fail(BITNET_ERROR, "%s: %s, expected a sampler of llama_sampler_chain_init", caller,
                 "NULL" if smpl == NULL else "not a chain")
        return NULL
    return <bnf_sampler_chain *>smpl.ctx


cdef public llama_token_data *bnf_chain_candidates(bnf_sampler_chain *chain, size_t n) noexcept nogil:
    cdef llama_token_data *cur
    if n > chain.cur_len:
        cur = <llama_token_data *>bnf_alloc_array(n, sizeof(llama_token_data))
        if cur == NULL:
            return NULL
        bnf_release(chain.cur)
        chain.cur = cur
        chain.cur_len = n
    return chain.cur


# ---- the vtable's functions ----

cdef public void bnf_chain_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    cdef bnf_sampler_chain *chain = <bnf_sampler_chain *>smpl.ctx
    cdef int64_t start = 0 if chain.no_perf else bnf_time_us()
    cdef int32_t i
    for i in range(chain.n):
        llama_sampler_accept(chain.members[i], token)
    chain.n_sample += 1
    if not chain.no_perf:
        chain.t_sample_us += bnf_time_us() - start


cdef public void bnf_chain_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_chain *chain = <const bnf_sampler_chain *>smpl.ctx
    bnf_chain_apply_from(smpl, chain.n_front if chain.attached != NULL else 0, cur)


cdef public void bnf_chain_apply_from(llama_sampler *smpl, int32_t first, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_chain *chain = <bnf_sampler_chain *>smpl.ctx
    cdef int64_t start = 0 if chain.no_perf else bnf_time_us()
    cdef int32_t i
    for i in range(first, chain.n):
        llama_sampler_apply(chain.members[i], cur)
    if not chain.no_perf:
        chain.t_sample_us += bnf_time_us() - start


cdef public void bnf_chain_reset(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_chain *chain = <bnf_sampler_chain *>smpl.ctx
    cdef int32_t i
    for i in range(chain.n):
        llama_sampler_reset(chain.members[i])


cdef public llama_sampler *bnf_chain_clone(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_chain *chain = <const bnf_sampler_chain *>smpl.ctx
    cdef llama_sampler_chain_params params
    cdef llama_sampler *copy
    cdef llama_sampler *member
    cdef int32_t i
    params.no_perf = chain.no_perf
    copy = llama_sampler_chain_init(params)
    if copy == NULL:
        return NULL
    for i in range(chain.n):
        member = llama_sampler_clone(chain.members[i])
        if member == NULL or not append(<bnf_sampler_chain *>copy.ctx, member):
            llama_sampler_free(member)
            llama_sampler_free(copy)
            return NULL
    return copy


cdef public void bnf_chain_free(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_chain *chain = <bnf_sampler_chain *>smpl.ctx
    cdef int32_t i
    if chain.attached != NULL:
        bnf_sampled_forget(chain.attached, chain.seq)
    for i in range(chain.n):
        llama_sampler_free(chain.members[i])
    bnf_release(chain.members)
    bnf_release(chain.cur)
    bnf_release(chain)


# ---- exported ----

cdef bint append(bnf_sampler_chain *chain, llama_sampler *member) noexcept nogil:
    cdef int32_t cap
    cdef void *members
    if chain.n == chain.cap:
        cap = 8 if chain.cap == 0 else 2 * chain.cap
        members = bnf_resize(chain.members, <size_t>chain.cap * sizeof(llama_sampler *),
                             <size_t>cap * sizeof(llama_sampler *))
        if members == NULL:
            return False
        chain.members = <llama_sampler **>members
        chain.cap = cap
    chain.members[chain.n] = member
    chain.n += 1
    return True


cdef public llama_sampler_chain_params llama_sampler_chain_default_params() noexcept nogil:
    cdef llama_sampler_chain_params params
    params.no_perf = True
    return params


cdef public llama_sampler *llama_sampler_chain_init(llama_sampler_chain_params params) noexcept nogil:
    cdef llama_sampler *smpl = bnf_sampler_new(&bnf_chain_i, "chain", sizeof(bnf_sampler_chain))
    if smpl != NULL:
        (<bnf_sampler_chain *>smpl.ctx).no_perf = params.no_perf
    return smpl


# Is it this sampler, or a chain with it somewhere inside?
cdef bint holds(const llama_sampler *smpl, const llama_sampler *wanted) noexcept nogil:
    cdef const bnf_sampler_chain *chain
    cdef int32_t i
    if smpl == wanted or smpl.iface != &bnf_chain_i:
        return smpl == wanted
    chain = <const bnf_sampler_chain *>smpl.ctx
    for i in range(chain.n):
        if holds(chain.members[i], wanted):
            return True
    return False


# The chain owns the member from here on; a member that cannot be added stays the caller's. One that is in the chain already would be
# freed twice, and a chain inside itself never end.
cdef public void llama_sampler_chain_add(llama_sampler *chain, llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_chain *own = bnf_chain_of(chain, "llama_sampler_chain_add")
    if own == NULL:
        return
    if smpl == NULL or holds(smpl, chain) or holds(chain, smpl):
        bnf_fail(BITNET_ERROR, "llama_sampler_chain_add: the member is %s",
                 "NULL" if smpl == NULL else "the chain itself, or holds it" if holds(smpl, chain) else "in the chain already")
        return
    append(own, smpl)


# -1 gives the chain itself, as in llama.cpp; NULL when there is no such member.
cdef public llama_sampler *llama_sampler_chain_get(llama_sampler *chain, int32_t i) noexcept nogil:
    cdef const bnf_sampler_chain *own = bnf_chain_of(chain, "llama_sampler_chain_get")
    if own == NULL:
        return NULL
    if i == -1:
        return chain
    if i < 0 or i >= own.n:
        bnf_fail(BITNET_ERROR, "llama_sampler_chain_get: no member %d in a chain of %d", <int>i, <int>own.n)
        return NULL
    return own.members[i]


cdef public int32_t llama_sampler_chain_n(const llama_sampler *chain) noexcept nogil:
    cdef const bnf_sampler_chain *own = bnf_chain_of(chain, "llama_sampler_chain_n")
    return 0 if own == NULL else own.n


# The member is the caller's again.
cdef public llama_sampler *llama_sampler_chain_remove(llama_sampler *chain, int32_t i) noexcept nogil:
    cdef bnf_sampler_chain *own = bnf_chain_of(chain, "llama_sampler_chain_remove")
    cdef llama_sampler *member
    if own == NULL:
        return NULL
    if i < 0 or i >= own.n:
        bnf_fail(BITNET_ERROR, "llama_sampler_chain_remove: no member %d in a chain of %d", <int>i, <int>own.n)
        return NULL
    member = own.members[i]
    own.n -= 1
    own.n_front -= 1 if i < own.n_front else 0
    memmove(&own.members[i], &own.members[i + 1], <size_t>(own.n - i) * sizeof(llama_sampler *))
    return member


cdef public llama_perf_sampler_data llama_perf_sampler(const llama_sampler *chain) noexcept nogil:
    cdef const bnf_sampler_chain *own = bnf_chain_of(chain, "llama_perf_sampler")
    cdef llama_perf_sampler_data data
    data.t_sample_ms = 0 if own == NULL else 1e-3 * <double>own.t_sample_us
    data.n_sample = 0 if own == NULL else own.n_sample
    return data


cdef public void llama_perf_sampler_print(const llama_sampler *chain) noexcept nogil:
    cdef const bnf_sampler_chain *own = bnf_chain_of(chain, "llama_perf_sampler_print")
    if own != NULL:
        bnf_log(GGML_LOG_LEVEL_INFO, "samplers: %.2f ms for %d tokens\n", 1e-3 * <double>own.t_sample_us, <int>own.n_sample)


cdef public void llama_perf_sampler_reset(llama_sampler *chain) noexcept nogil:
    cdef bnf_sampler_chain *own = bnf_chain_of(chain, "llama_perf_sampler_reset")
    if own != NULL:
        own.t_sample_us = 0
        own.n_sample = 0
