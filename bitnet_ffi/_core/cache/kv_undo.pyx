# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# What the sequences of a cache hold, kept aside while a change that may fail half-way is made: moving positions and loading states
# first change the tables, then, when nothing can fail any more, keys and values.
# May not: copy keys and values. Next: kv_move.pyx, kv_image.pyx.

from libc.stdint cimport int32_t, uint8_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc
from bitnet_ffi._core.bnf_ops cimport BNF_KV_PAGE
from bitnet_ffi._core.bnf_types cimport bnf_kv, bnf_seq, bnf_seq_page

cdef extern from "bnf_calls.h":
    pass

# They are one block of memory: the struct as it was, then its arrays in the order of visit().

cdef enum:
    MEASURE
    KEEP
    PUT_BACK

# One array of the cache: counted, copied to the block, or back from it.
cdef inline void visit_array(uint8_t *block, uint64_t *at, void *array, uint64_t size, int what) noexcept nogil:
    if what == KEEP:
        memcpy(block + at[0], array, <size_t>size)
    elif what == PUT_BACK:
        memcpy(array, block + at[0], <size_t>size)
    at[0] += (size + 7) // 8 * 8

# n_tables as it was when they were kept: later tables are no part of it. The tables' arrays only ever grow.
cdef uint64_t visit(const bnf_kv *kv, const bnf_kv *kept, uint8_t *block, int what) noexcept nogil:
    cdef uint64_t at = sizeof(bnf_kv)
    cdef uint64_t n_pages = kv.n_pages
    cdef uint64_t n_tokens = <uint64_t>kv.n_ctx + 1
    cdef bnf_seq seq
    cdef int32_t i
    visit_array(block, &at, kv.refs, n_pages * sizeof(int32_t), what)
    visit_array(block, &at, kv.filled, n_pages * sizeof(uint64_t), what)
    visit_array(block, &at, kv.token, n_pages * BNF_KV_PAGE * sizeof(int32_t), what)
    visit_array(block, &at, kv.copies, n_tokens * sizeof(int32_t), what)
    visit_array(block, &at, kv.free_tokens, n_tokens * sizeof(int32_t), what)
    visit_array(block, &at, kv.free_pages, n_pages * sizeof(int32_t), what)
    for i in range(kept.n_tables):
        seq = kv.seqs[i]
        visit_array(block, &at, &seq, sizeof(bnf_seq), what)
        if what == PUT_BACK:      # all but the array and its size
            seq.pages = kv.seqs[i].pages
            seq.cap_pages = kv.seqs[i].cap_pages
            kv.seqs[i] = seq
        visit_array(block, &at, seq.pages, <uint64_t>seq.n_pages * sizeof(bnf_seq_page), what)
    return at

cdef public bnf_kv *bnf_kv_keep_tables(const bnf_kv *kv) noexcept nogil:
    cdef bnf_kv *tables = <bnf_kv *>bnf_alloc(<size_t>visit(kv, kv, NULL, MEASURE))
    if tables != NULL:
        tables[0] = kv[0]
        visit(kv, kv, <uint8_t *>tables, KEEP)
    return tables

cdef public void bnf_kv_undo(bnf_kv *kv, const bnf_kv *tables) noexcept nogil:
    cdef int32_t i
    visit(kv, tables, <uint8_t *>tables, PUT_BACK)
    kv.n_used = tables.n_used
    kv.n_free = tables.n_free
    kv.free_table = tables.free_table
    for i in range(tables.n_tables, kv.n_tables):      # made since: free now
        kv.seqs[i].n_pages = 0
        kv.seqs[i].above = kv.free_table
        kv.free_table = i
