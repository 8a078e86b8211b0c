# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Penalties for tokens among the last_n accepted ones: repetition (Keskar et al. 2019, with the sign of the logit minded),
# frequency and presence. A ring holds the tokens, a sorted table their counts.
# May not look at the prompt: only what llama_sampler_accept was told counts. Next: api_sampler.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memmove
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_release
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_token, llama_token_data, llama_token_data_array
from bitnet_ffi._core.bnf_sampler cimport bnf_sampler_new, bnf_sampler_penalties, bnf_token_count

cdef enum:
    FIRST_CAP = 64


# Index of the first entry whose token is not smaller.
cdef int32_t lower_bound(const bnf_token_count *counts, int32_t n, llama_token token) noexcept nogil:
    cdef int32_t low = 0, high = n, middle
    while low < high:
        middle = low + (high - low) // 2
        if counts[middle].token < token:
            low = middle + 1
        else:
            high = middle
    return low


cdef int32_t count_of(const bnf_sampler_penalties *own, llama_token token) noexcept nogil:
    cdef int32_t i = lower_bound(own.counts, own.n_counts, token)
    return own.counts[i].count if i < own.n_counts and own.counts[i].token == token else 0


# Ring and table of `cap` entries with the present content, oldest token at 0. False: no memory, nothing changed.
cdef bint resize(bnf_sampler_penalties *own, int32_t cap) noexcept nogil:
    cdef llama_token *ring = <llama_token *>bnf_alloc_array(<size_t>cap, sizeof(llama_token))
    cdef bnf_token_count *counts = <bnf_token_count *>bnf_alloc_array(<size_t>cap, sizeof(bnf_token_count))
    cdef int32_t i
    if ring == NULL or counts == NULL:
        bnf_release(ring)
        bnf_release(counts)
        return False
    for i in range(own.n):
        ring[i] = own.ring[(own.first + i) % own.cap]
    if own.n_counts > 0:
        memcpy(counts, own.counts, <size_t>own.n_counts * sizeof(bnf_token_count))
    bnf_release(own.ring)
    bnf_release(own.counts)
    own.ring = ring
    own.counts = counts
    own.cap = cap
    own.first = 0
    return True


cdef void forget_oldest(bnf_sampler_penalties *own) noexcept nogil:
    cdef int32_t i = lower_bound(own.counts, own.n_counts, own.ring[own.first])
    own.first = (own.first + 1) % own.cap
    own.n -= 1
    own.counts[i].count -= 1
    if own.counts[i].count == 0:
        own.n_counts -= 1
        memmove(&own.counts[i], &own.counts[i + 1], <size_t>(own.n_counts - i) * sizeof(bnf_token_count))


cdef public void bnf_penalties_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    cdef bnf_sampler_penalties *own = <bnf_sampler_penalties *>smpl.ctx
    cdef int32_t i, cap
    if own.n == own.cap and own.cap < own.last_n:
        cap = FIRST_CAP if own.cap == 0 else own.last_n if own.cap > own.last_n // 2 else 2 * own.cap
        if cap > own.last_n:
            cap = own.last_n
        # Without memory a full ring goes on as it is, with a shorter window; an empty one has nothing to go on with.
        if not resize(own, cap) and own.cap == 0:
            return
    if own.n == own.cap:
        forget_oldest(own)
    own.ring[(own.first + own.n) % own.cap] = token
    own.n += 1
    i = lower_bound(own.counts, own.n_counts, token)
    if i == own.n_counts or own.counts[i].token != token:
        memmove(&own.counts[i + 1], &own.counts[i], <size_t>(own.n_counts - i) * sizeof(bnf_token_count))
        own.counts[i].token = token
        own.counts[i].count = 0
        own.n_counts += 1
    own.counts[i].count += 1


cdef void punish(const bnf_sampler_penalties *own, llama_token_data *t, int32_t count) noexcept nogil:
    if t.id == own.exempt:
        return
    # Dividing a negative logit would reward the token.
    if t.logit <= 0:
        t.logit *= own.repeat
    else:
        t.logit /= own.repeat
    t.logit -= <float>count * own.freq + own.present


cdef public void bnf_penalties_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef const bnf_sampler_penalties *own = <const bnf_sampler_penalties *>smpl.ctx
    cdef int32_t i, count
    cdef size_t j
    cdef llama_token token
    cdef bint in_place = True
    for i in range(own.n_counts):
        token = own.counts[i].token
        if token < 0 or <size_t>token >= cur.size or cur.data[token].id != token:
            in_place = False
            break
    if in_place:
        # Nobody has moved the counted tokens: work on the window, not on the vocabulary.
        for i in range(own.n_counts):
            punish(own, &cur.data[own.counts[i].token], own.counts[i].count)
    else:
        for j in range(cur.size):
            count = count_of(own, cur.data[j].id)
            if count > 0:
                punish(own, &cur.data[j], count)
    cur.sorted = False


cdef public void bnf_penalties_reset(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_penalties *own = <bnf_sampler_penalties *>smpl.ctx
    own.first = 0
    own.n = 0
    own.n_counts = 0


cdef public llama_sampler *bnf_penalties_clone(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_penalties *own = <const bnf_sampler_penalties *>smpl.ctx
    cdef llama_sampler *copy = bnf_sampler_new(smpl.iface, own.name, sizeof(bnf_sampler_penalties))
    cdef bnf_sampler_penalties *other
    if copy == NULL:
        return NULL
    other = <bnf_sampler_penalties *>copy.ctx
    other[0] = own[0]
    other.ring = NULL
    other.counts = NULL
    if own.cap == 0:
        return copy
    other.ring = <llama_token *>bnf_alloc_array(<size_t>own.cap, sizeof(llama_token))
    other.counts = <bnf_token_count *>bnf_alloc_array(<size_t>own.cap, sizeof(bnf_token_count))
    if other.ring == NULL or other.counts == NULL:
        bnf_penalties_free(copy)
        bnf_release(copy)
        return NULL
    memcpy(other.ring, own.ring, <size_t>own.cap * sizeof(llama_token))
    memcpy(other.counts, own.counts, <size_t>own.n_counts * sizeof(bnf_token_count))
    return copy


cdef public void bnf_penalties_free(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_penalties *own = <bnf_sampler_penalties *>smpl.ctx
    bnf_release(own.ring)
    bnf_release(own.counts)
    bnf_release(own)
