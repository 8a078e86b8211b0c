# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# DRY, "don't repeat yourself": a token that would lengthen a repetition of the accepted text is made less likely, exponentially
# with the length of what it would repeat. Sequence breakers (line ends, quotes) end a repetition.
# May not look at the prompt: only what llama_sampler_accept was told counts. Every step is linear in the tokens looked at.
# Source: text-generation-webui, pull request 5677; details as in llama.cpp (src/llama-sampler.cpp). Next: sampler_dry_breakers.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.string cimport memcpy, memmove
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_release
from bitnet_ffi._core.bnf_math cimport bnf_ln, bnf_pow
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_token, llama_token_data, llama_token_data_array
from bitnet_ffi._core.bnf_sampler cimport bnf_candidates_sort, bnf_dry_breaker, bnf_sampler_dry, bnf_sampler_new

cdef extern from "bnf_sampler.h" nogil:
    pass

cdef enum:
    FIRST_CAP = 128


# ---- what was accepted ----

cdef inline int32_t n_tokens(const bnf_sampler_dry *own) noexcept nogil:
    return own.end if own.end < own.last_n else own.last_n


# The ith last token.
cdef inline llama_token back(const bnf_sampler_dry *own, int32_t i) noexcept nogil:
    return own.tokens[own.end - 1 - i]


# Room for twice as many tokens as are kept, so that forgetting the oldest is a move once in a while.
cdef bint resize(bnf_sampler_dry *own, int32_t cap) noexcept nogil:
    cdef llama_token *tokens = <llama_token *>bnf_alloc_array(<size_t>cap, sizeof(llama_token))
    cdef int32_t *z = <int32_t *>bnf_alloc_array(<size_t>cap, sizeof(int32_t))
    cdef llama_token_data *found = <llama_token_data *>bnf_alloc_array(<size_t>cap, sizeof(llama_token_data))
    if tokens == NULL or z == NULL or found == NULL:
        bnf_release(tokens)
        bnf_release(z)
        bnf_release(found)
        return False
    if own.end > 0:
        memcpy(tokens, own.tokens, <size_t>own.end * sizeof(llama_token))
    bnf_release(own.tokens)
    bnf_release(own.z)
    bnf_release(own.found)
    own.tokens = tokens
    own.z = z
    own.found = found
    own.cap = cap
    return True


cdef public void bnf_dry_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    cdef bnf_sampler_dry *own = <bnf_sampler_dry *>smpl.ctx
    cdef int32_t keep
    if own.end == own.cap:
        keep = own.cap // 2
        # Without memory it goes on with a shorter window, or forgets what it never had room for.
        if keep >= own.last_n or not resize(own, FIRST_CAP if own.cap == 0 else 2 * own.cap):
            if own.cap == 0:
                return
            memmove(own.tokens, own.tokens + own.end - keep, <size_t>keep * sizeof(llama_token))
            own.end = keep
    own.tokens[own.end] = token
    own.end += 1


# ---- repetitions ----

cdef bint tail_follows(const bnf_sampler_dry *own, const bnf_dry_breaker *breaker, int32_t i) noexcept nogil:
    cdef int32_t j
    if breaker.n_tail > i:
        return False
    for j in range(breaker.n_tail):
        if breaker.tail[j] != back(own, i - 1 - j):
            return False
    return True


# First breaker with that head; n_breakers: none.
cdef int32_t first_breaker(const bnf_sampler_dry *own, llama_token head) noexcept nogil:
    cdef int32_t low = 0, high = own.n_breakers, middle
    while low < high:
        middle = low + (high - low) // 2
        if own.breakers[middle].head < head:
            low = middle + 1
        else:
            high = middle
    return low


# No repetition reaches further back than the last breaker: the number of tokens behind it.
cdef int32_t repeat_limit(const bnf_sampler_dry *own, int32_t n) noexcept nogil:
    cdef int32_t i, b, longest
    if own.n_breakers == 0:
        return n
    for i in range(n):
        longest = -1
        b = first_breaker(own, back(own, i))
        while b < own.n_breakers and own.breakers[b].head == back(own, i):
            if own.breakers[b].n_tail > longest and tail_follows(own, &own.breakers[b], i):
                longest = own.breakers[b].n_tail
            b += 1
        if longest >= 0:
            return i - longest
    return n


# z[k]: how many tokens the text read backwards from its end has in common with the one read from k tokens earlier (Gusfield's
# Z algorithm). [left, right) is the stretch that reached furthest; inside it z is known already, up to its border.
cdef void count_repeats(const bnf_sampler_dry *own, int32_t n) noexcept nogil:
    cdef int32_t k, z, left = 0, right = 0
    for k in range(1, n):
        z = 0
        if k < right:
            z = own.z[k - left]
            if z > right - k:
                z = right - k
        while k + z < n and back(own, z) == back(own, k + z):
            z += 1
        own.z[k] = z
        if k + z > right:
            left = k
            right = k + z


# The tokens that would lengthen a repetition of at least allowed_len, each once, ascending, with its longest in `logit`; how many.
# k tokens ago the text stood where it stands now; the token that came then is the one that would repeat it.
cdef int32_t find_repeaters(bnf_sampler_dry *own, int32_t n, int32_t limit) noexcept nogil:
    cdef int32_t k, i, z, n_found = 0, n_distinct = 0
    for k in range(1, n):
        z = own.z[k] if own.z[k] < limit else limit
        if z >= own.allowed_len:
            own.found[n_found].id = back(own, k - 1)
            own.found[n_found].logit = 0
            own.found[n_found].p = <float>z      # below 2^24, as cap is: exact
            n_found += 1
    bnf_candidates_sort(own.found, <size_t>n_found, <size_t>n_found)      # equal logits: by id
    for i in range(n_found):
        if n_distinct > 0 and own.found[n_distinct - 1].id == own.found[i].id:
            if own.found[n_distinct - 1].p < own.found[i].p:
                own.found[n_distinct - 1].p = own.found[i].p
        else:
            own.found[n_distinct] = own.found[i]
            n_distinct += 1
    return n_distinct


cdef bint is_single_breaker(const bnf_sampler_dry *own, llama_token token) noexcept nogil:
    cdef int32_t b = first_breaker(own, token)
    while b < own.n_breakers and own.breakers[b].head == token:
        if own.breakers[b].n_tail == 0:
            return True
        b += 1
    return False


cdef void punish(const bnf_sampler_dry *own, llama_token_data *candidate, int32_t length) noexcept nogil:
    cdef double exponent = length - own.allowed_len
    cdef double most
    if own.base > <float>1.000001:
        most = <int32_t>(88.7228391 / bnf_ln(own.base))      # ln of the largest float
        if most > 0 and exponent > most:
            exponent = most
    candidate.logit -= <float>(own.multiplier * bnf_pow(own.base, exponent))


cdef int32_t find(const llama_token_data *found, int32_t n, llama_token token) noexcept nogil:
    cdef int32_t low = 0, high = n, middle
    while low < high:
        middle = low + (high - low) // 2
        if found[middle].id < token:
            low = middle + 1
        else:
            high = middle
    return low if low < n and found[low].id == token else -1


cdef public void bnf_dry_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_dry *own = <bnf_sampler_dry *>smpl.ctx
    cdef int32_t n = n_tokens(own)
    cdef int32_t limit, n_found, at
    cdef size_t i
    if n <= own.allowed_len:
        return
    limit = repeat_limit(own, n)
    if limit < own.allowed_len:
        return
    count_repeats(own, n)
    n_found = find_repeaters(own, n, limit)
    if n_found == 0:
        return
    for i in range(cur.size):
        at = find(own.found, n_found, cur.data[i].id)
        if at >= 0 and not is_single_breaker(own, cur.data[i].id):
            punish(own, &cur.data[i], <int32_t>own.found[at].p)
    cur.sorted = False


# ---- life ----

cdef public void bnf_dry_reset(llama_sampler *smpl) noexcept nogil:
    (<bnf_sampler_dry *>smpl.ctx).end = 0


cdef public void bnf_dry_free(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_dry *own = <bnf_sampler_dry *>smpl.ctx
    bnf_release(own.breakers)
    bnf_release(own.tokens)
    bnf_release(own.z)
    bnf_release(own.found)
    bnf_release(own)


cdef public llama_sampler *bnf_dry_clone(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_dry *own = <const bnf_sampler_dry *>smpl.ctx
    cdef llama_sampler *copy = bnf_sampler_new(smpl.iface, NULL, sizeof(bnf_sampler_dry))
    cdef bnf_sampler_dry *new
    if copy == NULL:
        return NULL
    new = <bnf_sampler_dry *>copy.ctx
    memcpy(new, own, sizeof(bnf_sampler_dry))
    new.breakers = NULL
    new.tokens = NULL
    new.z = NULL
    new.found = NULL
    new.end = 0
    if own.n_breakers > 0:
        new.breakers = <bnf_dry_breaker *>bnf_alloc_array(<size_t>own.n_breakers, sizeof(bnf_dry_breaker))
        new.breakers_cap = own.n_breakers
    if (own.n_breakers > 0 and new.breakers == NULL) or (own.cap > 0 and not resize(new, own.cap)):
        bnf_dry_free(copy)
        bnf_release(copy)
        return NULL
    if own.n_breakers > 0:
        memcpy(new.breakers, own.breakers, <size_t>own.n_breakers * sizeof(bnf_dry_breaker))
    if own.end > 0:
        memcpy(new.tokens, own.tokens, <size_t>own.end * sizeof(llama_token))
    new.end = own.end
    return copy
