# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Logit bias: a fixed number added to the logits of chosen tokens; minus infinity forbids a token.
# Several biases of one token add up. Next: api_sampler.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_release
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_token, llama_token_data, llama_token_data_array
from bitnet_ffi._core.bnf_sampler cimport bnf_sampler_logit_bias, bnf_sampler_new


cdef const llama_token_data *find(const bnf_sampler_logit_bias *own, llama_token token) noexcept nogil:
    cdef int32_t low = 0, high = own.n, middle
    while low < high:
        middle = low + (high - low) // 2
        if own.biases[middle].id < token:
            low = middle + 1
        else:
            high = middle
    return &own.biases[low] if low < own.n and own.biases[low].id == token else NULL


cdef public void bnf_logit_bias_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_logit_bias *own = <const bnf_sampler_logit_bias *>smpl.ctx
    cdef const llama_token_data *bias
    cdef llama_token token
    cdef int32_t i
    cdef size_t j
    cdef bint in_place = True
    for i in range(own.n):
        token = own.biases[i].id
        if token < 0 or <size_t>token >= cur.size or cur.data[token].id != token:
            in_place = False
            break
    if in_place:
        for i in range(own.n):
            cur.data[own.biases[i].id].logit += own.biases[i].p
    else:
        for j in range(cur.size):
            bias = find(own, cur.data[j].id)
            if bias != NULL:
                cur.data[j].logit += bias.p
    cur.sorted = False


cdef public llama_sampler *bnf_logit_bias_clone(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_logit_bias *own = <const bnf_sampler_logit_bias *>smpl.ctx
    cdef llama_sampler *copy = bnf_sampler_new(smpl.iface, own.name, sizeof(bnf_sampler_logit_bias))
    cdef bnf_sampler_logit_bias *other
    if copy == NULL:
        return NULL
    other = <bnf_sampler_logit_bias *>copy.ctx
    other.biases = <llama_token_data *>bnf_alloc_array(<size_t>own.n, sizeof(llama_token_data))
    if other.biases == NULL:
        bnf_logit_bias_free(copy)
        bnf_release(copy)
        return NULL
    memcpy(other.biases, own.biases, <size_t>own.n * sizeof(llama_token_data))
    other.n = own.n
    return copy


cdef public void bnf_logit_bias_free(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_logit_bias *own = <bnf_sampler_logit_bias *>smpl.ctx
    bnf_release(own.biases)
    bnf_release(own)
