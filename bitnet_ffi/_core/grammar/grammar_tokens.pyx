# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Which tokens a grammar takes next. The vocabulary is kept in order of its bytes: a walk along it enters each common beginning once,
# and where a beginning is impossible it passes over all that share it.
# May not: know candidates or samplers. Next: sampler_grammar.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from libc.string cimport memcmp
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_grammar cimport (
    bnf_gr_partial, bnf_matcher, bnf_matcher_byte, bnf_matcher_hopeful, bnf_matcher_mark_tokens, bnf_matcher_token, bnf_matcher_union,
    bnf_token_order)
from bitnet_ffi._core.bnf_public cimport bool, llama_token
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_grammar.h" nogil:
    pass

cdef extern from "bnf_atomic.h" nogil:
    void *bnf_shared_load(void **slot)
    void *bnf_shared_offer(void **slot, void *made)

cdef extern from "bnf_calls.h" nogil:
    pass

cdef extern from "bitnet_ffi.h" nogil:
    int32_t llama_vocab_n_tokens(const llama_model *vocab)
    int32_t llama_token_to_piece(const llama_model *vocab, llama_token token, char *buf, int32_t length, int32_t lstrip, bool special)

cdef enum:
    DEAD = 0

# ---- order ----

# What is sorted: the first eight bytes as a number decide nearly always.
ctypedef struct key_t:
    uint64_t head
    const uint8_t *text
    int32_t len
    int32_t token

cdef int by_bytes(const void *a, const void *b) noexcept nogil:
    cdef const key_t *x = <const key_t *>a
    cdef const key_t *y = <const key_t *>b
    cdef int32_t len = min(x.len, y.len)
    cdef int c = 0
    if x.head != y.head:
        return -1 if x.head < y.head else 1
    if len > 8:
        c = memcmp(x.text + 8, y.text + 8, <size_t>(len - 8))
    if c == 0:
        c = (x.len > y.len) - (x.len < y.len)
    return c if c != 0 else (x.token > y.token) - (x.token < y.token)

cdef int32_t in_common(const key_t *x, const key_t *y) noexcept nogil:
    cdef int32_t n = 0
    while n < x.len and n < y.len and x.text[n] == y.text[n]:
        n += 1
    return n

# The texts of all tokens, one behind the other.
cdef bint collect(bnf_token_order *o, const llama_model *vocab) noexcept nogil:
    cdef size_t cap = 16 * <size_t>o.n_tokens + 64
    cdef size_t used = 0
    cdef int32_t token, len
    cdef void *bytes
    o.bytes = <uint8_t *>bnf_alloc(cap)
    if o.bytes == NULL:
        return False
    for token in range(o.n_tokens):
        o.begin[token] = <uint32_t>used
        len = llama_token_to_piece(vocab, token, <char *>o.bytes + used, <int32_t>min(cap - used, <size_t>0x7fffffff), 0, True)
        if len < 0:
            bytes = bnf_resize(o.bytes, cap, 2 * cap + <size_t>-len)
            if bytes == NULL:
                return False
            o.bytes = <uint8_t *>bytes
            cap = 2 * cap + <size_t>-len
            len = llama_token_to_piece(vocab, token, <char *>o.bytes + used, <int32_t>min(cap - used, <size_t>0x7fffffff), 0, True)
        used += <size_t>max(len, 0)
        o.longest = max(o.longest, len)
    o.begin[o.n_tokens] = <uint32_t>used
    return True

cdef bint sort(bnf_token_order *o) noexcept nogil:
    cdef key_t *keys = <key_t *>bnf_alloc_array(<size_t>o.n_tokens, sizeof(key_t))
    cdef int32_t i, j
    if keys == NULL:
        return False
    for i in range(o.n_tokens):
        keys[i].token = i
        keys[i].text = o.bytes + o.begin[i]
        keys[i].len = <int32_t>(o.begin[i + 1] - o.begin[i])
        for j in range(8):
            keys[i].head = keys[i].head << 8 | (keys[i].text[j] if j < keys[i].len else 0)
    qsort(keys, <size_t>o.n_tokens, sizeof(key_t), by_bytes)
    for i in range(o.n_tokens):
        o.token[i] = keys[i].token
        o.common[i] = in_common(&keys[i - 1], &keys[i]) if i > 0 else 0
    bnf_release(keys)
    return True

cdef public void bnf_token_order_free(void *order) noexcept nogil:
    cdef bnf_token_order *o = <bnf_token_order *>order
    if o == NULL:
        return
    bnf_release(o.token)
    bnf_release(o.common)
    bnf_release(o.begin)
    bnf_release(o.bytes)
    bnf_release(o)

cdef bnf_token_order *make(const llama_model *vocab) noexcept nogil:
    cdef bnf_token_order *o = <bnf_token_order *>bnf_alloc(sizeof(bnf_token_order))
    cdef size_t n
    if o == NULL:
        return NULL
    o.n_tokens = llama_vocab_n_tokens(vocab)
    n = <size_t>o.n_tokens
    o.token = <int32_t *>bnf_alloc_array(n, sizeof(int32_t))
    o.common = <int32_t *>bnf_alloc_array(n, sizeof(int32_t))
    o.begin = <uint32_t *>bnf_alloc_array(n + 1, sizeof(uint32_t))
    if o.token == NULL or o.common == NULL or o.begin == NULL or not collect(o, vocab) or not sort(o):
        bnf_token_order_free(o)
        return NULL
    return o

cdef public const bnf_token_order *bnf_token_order_of(const llama_model *vocab) noexcept nogil:
    cdef llama_model *model = <llama_model *>vocab      # a model is immutable but for what is made late, once, for all threads
    cdef void *there = bnf_shared_load(&model.token_order)
    cdef bnf_token_order *made
    if there == NULL:
        made = make(vocab)
        if made == NULL:
            return NULL
        there = bnf_shared_offer(&model.token_order, made)
        if there != made:
            bnf_token_order_free(made)
    return <bnf_token_order *>there

# ---- walking ----

# Where the walk stands after each byte of the present token.
ctypedef struct place_t:
    int32_t state
    bnf_gr_partial partial

cdef inline void mark(uint64_t *bits, int32_t token) noexcept nogil:
    bits[token // 64] |= <uint64_t>1 << (token % 64)

cdef public bool bnf_grammar_mark(bnf_matcher *matcher, int32_t state, const bnf_gr_partial *partial, const bnf_token_order *order,
                                  uint64_t *bits) noexcept nogil:
    cdef place_t *places = <place_t *>bnf_alloc_array(<size_t>order.longest + 1, sizeof(place_t))
    cdef const uint8_t *text
    cdef int32_t i, depth, len, token
    cdef int32_t alive = 0      # places[0 .. alive] hold for the token before, and there the text was still possible
    cdef int32_t dead = 0       # length of the shortest impossible beginning of the token before; 0: it was possible
    if places == NULL:
        return False
    places[0].state = state
    places[0].partial = partial[0]
    for i in range(order.n_tokens):
        depth = order.common[i]
        if dead > 0 and depth >= dead:
            continue
        dead = 0
        depth = min(depth, alive)
        token = order.token[i]
        text = order.bytes + order.begin[token]
        len = <int32_t>(order.begin[token + 1] - order.begin[token])
        while depth < len:
            places[depth + 1].partial = places[depth].partial
            places[depth + 1].state = bnf_matcher_byte(matcher, places[depth].state, &places[depth + 1].partial, text[depth])
            depth += 1
            if places[depth].state == DEAD:
                dead = depth
                break
        alive = depth - 1 if dead > 0 else depth
        if dead == 0 and len > 0 and bnf_matcher_hopeful(matcher, places[len].state, &places[len].partial):
            mark(bits, token)
    bnf_release(places)
    if partial.n_left == 0:
        bnf_matcher_mark_tokens(matcher, state, bits, order.n_tokens)
    return True

cdef public int32_t bnf_grammar_after(bnf_matcher *matcher, int32_t state, bnf_gr_partial *partial, const bnf_token_order *order,
                                      llama_token token, uint32_t skip) noexcept nogil:
    cdef int32_t by_number = bnf_matcher_token(matcher, state, token) if partial.n_left == 0 and skip == 0 else DEAD
    cdef int32_t by_text = DEAD
    cdef bnf_gr_partial begun = partial[0]
    cdef uint32_t i
    if token >= 0 and token < order.n_tokens and order.begin[token] < order.begin[token + 1]:
        by_text = state
        for i in range(order.begin[token] + skip, order.begin[token + 1]):
            by_text = bnf_matcher_byte(matcher, by_text, &begun, order.bytes[i])
            if by_text == DEAD:
                break
        if by_text != DEAD and not bnf_matcher_hopeful(matcher, by_text, &begun):
            by_text = DEAD
    if by_text == DEAD:
        begun.n_left = 0
    partial[0] = begun
    # Read by its text it may have left a character open; then its number is the less likely reading, and dropped.
    return by_text if begun.n_left > 0 else bnf_matcher_union(matcher, by_text, by_number)
