# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# How many tokens one sequence may hold: all n_ctx where sequences share it, else its even part. A token of several sequences counts in
# each, so the parts bound the whole. Pages are shared either way: a copied prefix takes no memory, but its part of the room.
# May not: change the cache. Next: kv_cache.pyx; context.pyx says how n_ctx is split.

from libc.stdint cimport int32_t, uint64_t
from bitnet_ffi._core.bnf_base cimport bnf_fail
from bitnet_ffi._core.bnf_context cimport bnf_count64, bnf_page_range
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_CONTEXT
from bitnet_ffi._core.bnf_types cimport bnf_kv, bnf_seq

cdef extern from "bnf_calls.h":
    pass

cdef public int32_t bnf_kv_seq_tokens(const bnf_kv *kv, int32_t seq) noexcept nogil:
    cdef int32_t table = seq
    cdef int32_t n = 0
    cdef int32_t i
    while table >= 0:
        for i in range(kv.seqs[table].n_pages):
            n += bnf_count64(kv.seqs[table].pages[i].mask)
        table = kv.seqs[table].above
    return n

# A sequence that is not as long as that need not be counted: it holds a position once, but for those with tables above.
cdef public bool bnf_kv_seq_overfull(const bnf_kv *kv, int32_t seq) noexcept nogil:
    cdef const bnf_seq *s = &kv.seqs[seq]
    if kv.n_ctx_seq >= kv.n_ctx or s.above < 0 and s.pos_max - s.pos_min < kv.n_ctx_seq:
        return False
    return bnf_kv_seq_tokens(kv, seq) > kv.n_ctx_seq

# What src gives, and what dst has at positions that src's own table does not give.
cdef int32_t tokens_after_copy(const bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1) noexcept nogil:
    cdef const bnf_seq *own = &kv.seqs[src]
    cdef int32_t table = src
    cdef int32_t n = 0
    cdef int32_t i
    cdef uint64_t stays
    while table >= 0:
        for i in range(kv.seqs[table].n_pages):
            n += bnf_count64(kv.seqs[table].pages[i].mask & bnf_page_range(i, p0, p1))
        table = kv.seqs[table].above
    table = dst
    while table >= 0:
        for i in range(kv.seqs[table].n_pages):
            stays = kv.seqs[table].pages[i].mask
            if i < own.n_pages:
                stays &= ~(own.pages[i].mask & bnf_page_range(i, p0, p1))
            n += bnf_count64(stays)
        table = kv.seqs[table].above
    return n

cdef public int bnf_kv_check_copy(const bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1) noexcept nogil:
    cdef int32_t n
    if kv.n_ctx_seq >= kv.n_ctx:
        return 0
    n = tokens_after_copy(kv, src, dst, p0, p1)
    if n <= kv.n_ctx_seq:
        return 0
    return bnf_fail(BITNET_ERROR_CONTEXT, b"sequence %d would hold %d tokens with those of sequence %d, and has room for %d (n_ctx_seq)",
                    dst, n, src, kv.n_ctx_seq)
