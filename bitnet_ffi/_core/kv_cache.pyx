# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The KV cache. Keys and values live in pages of 64 positions, aligned to absolute position, because attention sums in
# chunks of 64 by absolute position: where a token is stored can then never change a bit of the result.
# A sequence is a table of (page, mask): the mask says which of the 64 positions are its own. Sequences share pages; two
# of them may even write different slots of one page. Only when both want the same slot does one get a copy.
# May not: compute, allocate pages after init, or leave the cache half changed.
# Next: forward.pyx writes and reads the pages; csrc/bnf_types.h draws them.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf cimport (
    bool, bnf_alloc, bnf_alloc_array, bnf_release, bnf_resize, bnf_fail, bnf_batch, bnf_hparams, bnf_kv, bnf_seq,
    bnf_seq_page, bnf_popcount64, bnf_lowest64, bnf_highest64, BNF_KV_F32, BNF_KV_PAGE, BITNET_ERROR_MEMORY)

cdef extern from "bnf_calls.h":
    pass

# Bytes of one number of the cache.
cdef inline uint64_t elem_size(int32_t kv_type) noexcept nogil:
    return 4 if kv_type == BNF_KV_F32 else 2

# Make room for n_ctx tokens of n_seq_max sequences. Every sequence may leave one page partly filled and, where it parted
# from another, one partly copied, hence the extra pages: n_ctx tokens fit, however they are spread. The memory is touched
# only as pages come into use.
cdef public int bnf_kv_init(bnf_kv *kv, const bnf_hparams *hp, int32_t n_ctx, int32_t n_seq_max, int32_t type_k, int32_t type_v) noexcept nogil:
    cdef int32_t i
    memset(kv, 0, sizeof(bnf_kv))
    kv.n_layer = hp.n_layer
    kv.n_head_kv = hp.n_head_kv
    kv.dk = hp.dk
    kv.dv = hp.dv
    kv.type_k = type_k
    kv.type_v = type_v
    kv.n_ctx = n_ctx
    kv.n_seq_max = n_seq_max
    kv.n_pages = (n_ctx + BNF_KV_PAGE - 1) // BNF_KV_PAGE + (1 if n_seq_max == 1 else 2 * n_seq_max)
    kv.head_stride_k = <uint64_t>BNF_KV_PAGE * <uint64_t>hp.dk * elem_size(type_k)
    kv.head_stride_v = <uint64_t>BNF_KV_PAGE * <uint64_t>hp.dv * elem_size(type_v)
    kv.layer_stride_k = kv.head_stride_k * <uint64_t>hp.n_head_kv * <uint64_t>kv.n_pages
    kv.layer_stride_v = kv.head_stride_v * <uint64_t>hp.n_head_kv * <uint64_t>kv.n_pages
    kv.k = <uint8_t *>bnf_alloc_array(<size_t>hp.n_layer, kv.layer_stride_k)
    kv.v = <uint8_t *>bnf_alloc_array(<size_t>hp.n_layer, kv.layer_stride_v)
    kv.refs = <int32_t *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(int32_t))
    kv.filled = <uint64_t *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(uint64_t))
    kv.copied = <uint64_t *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(uint64_t))
    kv.free_pages = <int32_t *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(int32_t))
    kv.seqs = <bnf_seq *>bnf_alloc_array(<size_t>n_seq_max, sizeof(bnf_seq))
    if (kv.k == NULL or kv.v == NULL or kv.refs == NULL or kv.filled == NULL or kv.copied == NULL or kv.free_pages == NULL
            or kv.seqs == NULL):
        bnf_kv_free(kv)
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a KV cache of %d tokens (%.1f MiB)", n_ctx,
                        <double>((kv.layer_stride_k + kv.layer_stride_v) * <uint64_t>hp.n_layer) / 1048576.0)
    for i in range(n_seq_max):
        kv.seqs[i].pos_min = -1
        kv.seqs[i].pos_max = -1
    for i in range(kv.n_pages):
        kv.free_pages[i] = kv.n_pages - 1 - i
    kv.n_free = kv.n_pages
    return 0

cdef public void bnf_kv_free(bnf_kv *kv) noexcept nogil:
    cdef int32_t i
    if kv.seqs != NULL:
        for i in range(kv.n_seq_max):
            bnf_release(kv.seqs[i].pages)
    bnf_release(kv.k)
    bnf_release(kv.v)
    bnf_release(kv.refs)
    bnf_release(kv.filled)
    bnf_release(kv.copied)
    bnf_release(kv.free_pages)
    bnf_release(kv.seqs)
    kv.k = NULL
    kv.v = NULL
    kv.refs = NULL
    kv.filled = NULL
    kv.copied = NULL
    kv.free_pages = NULL
    kv.seqs = NULL

cdef public void bnf_kv_clear(bnf_kv *kv, bool data) noexcept nogil:
    cdef int32_t i
    for i in range(kv.n_seq_max):
        bnf_kv_seq_rm(kv, i, 0, 0x7fffffff)
    if data:
        memset(kv.k, 0, kv.layer_stride_k * <uint64_t>kv.n_layer)
        memset(kv.v, 0, kv.layer_stride_v * <uint64_t>kv.n_layer)

# ---- pages ----

# Positions [p0, p1) as bits of page `index`.
cdef inline uint64_t range_mask(int32_t index, int32_t p0, int32_t p1) noexcept nogil:
    cdef int64_t lo = <int64_t>p0 - <int64_t>index * BNF_KV_PAGE
    cdef int64_t hi = <int64_t>p1 - <int64_t>index * BNF_KV_PAGE
    cdef uint64_t mask = ~<uint64_t>0
    if lo >= BNF_KV_PAGE or hi <= 0 or lo >= hi:
        return 0
    if lo > 0:
        mask &= ~<uint64_t>0 << lo
    if hi < BNF_KV_PAGE:
        mask &= ~(~<uint64_t>0 << hi)
    return mask

# Tokens of a page as n_ctx counts them: a copy that two sequences needed is the same token.
cdef inline int32_t n_tokens(const bnf_kv *kv, int32_t page) noexcept nogil:
    return bnf_popcount64(kv.filled[page] & ~kv.copied[page])

# The slots of a page that anyone holds, after a holder changed. Holders of a page have it at the same table index.
cdef void refresh_filled(bnf_kv *kv, int32_t page, int32_t index) noexcept nogil:
    cdef uint64_t filled = 0
    cdef int32_t s
    for s in range(kv.n_seq_max):
        if index < kv.seqs[s].n_pages and kv.seqs[s].pages[index].page == page:
            filled |= kv.seqs[s].pages[index].mask
    kv.n_used -= n_tokens(kv, page)
    kv.filled[page] = filled
    kv.copied[page] &= filled
    kv.n_used += n_tokens(kv, page)

cdef void drop_page(bnf_kv *kv, bnf_seq_page *entry, int32_t index) noexcept nogil:
    cdef int32_t page = entry.page
    entry.page = -1
    entry.mask = 0
    kv.refs[page] -= 1
    refresh_filled(kv, page, index)
    if kv.refs[page] == 0:
        kv.free_pages[kv.n_free] = page
        kv.n_free += 1

# A page that nobody holds, with one reference; -1 when there is none.
cdef int32_t take_page(bnf_kv *kv) noexcept nogil:
    cdef int32_t page
    if kv.n_free == 0:
        return -1
    kv.n_free -= 1
    page = kv.free_pages[kv.n_free]
    kv.refs[page] = 1
    kv.filled[page] = 0
    kv.copied[page] = 0
    return page

# Copy the slots of `mask` from page to page, all layers and heads; the caller lets a sequence hold them.
cdef void copy_slots(bnf_kv *kv, int32_t source, int32_t target, uint64_t mask) noexcept nogil:
    cdef uint64_t row_k = kv.head_stride_k // BNF_KV_PAGE
    cdef uint64_t row_v = kv.head_stride_v // BNF_KV_PAGE
    cdef int64_t layer, head, from_page, to_page, slot
    cdef uint64_t rest
    kv.n_used -= n_tokens(kv, target)
    kv.copied[target] |= mask
    kv.n_used += n_tokens(kv, target)
    for layer in range(kv.n_layer):
        for head in range(kv.n_head_kv):
            from_page = <int64_t>source * kv.n_head_kv + head
            to_page = <int64_t>target * kv.n_head_kv + head
            rest = mask
            while rest != 0:
                slot = bnf_lowest64(rest)
                rest &= rest - 1
                memcpy(kv.k + layer * kv.layer_stride_k + to_page * kv.head_stride_k + slot * row_k,
                       kv.k + layer * kv.layer_stride_k + from_page * kv.head_stride_k + slot * row_k, row_k)
                memcpy(kv.v + layer * kv.layer_stride_v + to_page * kv.head_stride_v + slot * row_v,
                       kv.v + layer * kv.layer_stride_v + from_page * kv.head_stride_v + slot * row_v, row_v)

# Give a sequence its own copy of the page at `index`. False: no free page, nothing changed.
cdef bint split_page(bnf_kv *kv, bnf_seq *seq, int32_t index) noexcept nogil:
    cdef bnf_seq_page *entry = &seq.pages[index]
    cdef int32_t old = entry.page
    cdef int32_t page = take_page(kv)
    if page < 0:
        return False
    copy_slots(kv, old, page, entry.mask)
    kv.refs[old] -= 1
    entry.page = page
    kv.filled[page] = entry.mask
    refresh_filled(kv, old, index)
    return True

# Let the table of a sequence reach `index`. False: out of memory.
cdef bint reach(bnf_seq *seq, int32_t index) noexcept nogil:
    cdef int32_t cap = seq.cap_pages
    cdef void *grown
    if index < seq.n_pages:
        return True
    if index >= cap:
        cap = index + 1 + index // 2
        grown = bnf_resize(seq.pages, <size_t>seq.cap_pages * sizeof(bnf_seq_page), <size_t>cap * sizeof(bnf_seq_page))
        if grown == NULL:
            return False
        seq.pages = <bnf_seq_page *>grown
        seq.cap_pages = cap
    while seq.n_pages <= index:
        seq.pages[seq.n_pages].page = -1
        seq.pages[seq.n_pages].mask = 0
        seq.n_pages += 1
    return True

cdef void refresh_span(bnf_seq *seq) noexcept nogil:
    cdef int32_t i
    while seq.n_pages > 0 and seq.pages[seq.n_pages - 1].page < 0:
        seq.n_pages -= 1
    seq.pos_min = -1
    seq.pos_max = -1
    if seq.n_pages == 0:
        return
    i = seq.n_pages - 1
    seq.pos_max = i * BNF_KV_PAGE + bnf_highest64(seq.pages[i].mask)
    for i in range(seq.n_pages):
        if seq.pages[i].page >= 0:
            seq.pos_min = i * BNF_KV_PAGE + bnf_lowest64(seq.pages[i].mask)
            return

# ---- tokens ----

# One slot for one token that n_seq sequences hold together. 0, 1 (no room) or an error; on anything but 0 the token may
# be half entered, and the caller removes it.
cdef int reserve_token(bnf_kv *kv, int32_t pos, const int32_t *seqs, int32_t n_seq) noexcept nogil:
    cdef int32_t index = pos // BNF_KV_PAGE
    cdef uint64_t bit = <uint64_t>1 << (pos % BNF_KV_PAGE)
    cdef int32_t shared = -1   # page that an earlier sequence of this token uses: one without a page joins it
    cdef int32_t i
    cdef bnf_seq *seq
    cdef bnf_seq_page *entry
    for i in range(n_seq):
        seq = &kv.seqs[seqs[i]]
        if not reach(seq, index):
            return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for the page table of sequence %d at position %d", seqs[i], pos)
        entry = &seq.pages[index]
        if entry.page < 0:
            if shared >= 0:
                kv.refs[shared] += 1
                entry.page = shared
            else:
                entry.page = take_page(kv)
                if entry.page < 0:
                    refresh_span(seq)
                    return 1
        elif entry.page != shared and kv.filled[entry.page] & bit:
            if not split_page(kv, seq, index):
                return 1
        entry.mask |= bit
        refresh_filled(kv, entry.page, index)
        shared = entry.page
        if pos > seq.pos_max:
            seq.pos_max = pos
        if seq.pos_min < 0 or pos < seq.pos_min:
            seq.pos_min = pos
    return 1 if kv.n_used > kv.n_ctx else 0

cdef void remove_tokens(bnf_kv *kv, const bnf_batch *batch, int32_t n) noexcept nogil:
    cdef int32_t i, j
    for i in range(n):
        for j in range(batch.n_seq[i]):
            bnf_kv_seq_rm(kv, batch.seq[i * batch.seq_stride + j], batch.pos[i], batch.pos[i] + 1)

cdef public int bnf_kv_reserve(bnf_kv *kv, const bnf_batch *batch) noexcept nogil:
    cdef int32_t i
    cdef int rc
    for i in range(batch.n_tokens):
        rc = reserve_token(kv, batch.pos[i], batch.seq + i * batch.seq_stride, batch.n_seq[i])
        if rc != 0:
            remove_tokens(kv, batch, i + 1)
            return rc
    return 0

cdef public void bnf_kv_rollback(bnf_kv *kv, const bnf_batch *batch) noexcept nogil:
    remove_tokens(kv, batch, batch.n_tokens)

# ---- sequences ----

cdef public bool bnf_kv_seq_rm(bnf_kv *kv, int32_t seq, int32_t p0, int32_t p1) noexcept nogil:
    cdef bnf_seq *s = &kv.seqs[seq]
    cdef int32_t first = p0 // BNF_KV_PAGE
    cdef int32_t i
    cdef uint64_t gone
    for i in range(first, s.n_pages):
        if <int64_t>i * BNF_KV_PAGE >= p1:
            break
        gone = s.pages[i].mask & range_mask(i, p0, p1)
        if s.pages[i].page < 0 or gone == 0:
            continue
        s.pages[i].mask &= ~gone
        if s.pages[i].mask == 0:
            drop_page(kv, &s.pages[i], i)
        else:
            refresh_filled(kv, s.pages[i].page, i)
    refresh_span(s)
    return True

# Positions [p0, p1) of src become positions of dst as well; no data moves unless dst holds another page there.
cdef public int bnf_kv_seq_cp(bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1) noexcept nogil:
    cdef bnf_seq *s = &kv.seqs[src]
    cdef bnf_seq *d = &kv.seqs[dst]
    cdef bnf_seq_page *entry
    cdef int32_t i
    cdef uint64_t taken
    if src == dst:
        return 0
    if s.n_pages > 0 and not reach(d, s.n_pages - 1):
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for the page table of sequence %d", dst)
    for i in range(p0 // BNF_KV_PAGE, s.n_pages):
        if <int64_t>i * BNF_KV_PAGE >= p1:
            break
        taken = s.pages[i].mask & range_mask(i, p0, p1)
        if s.pages[i].page < 0 or taken == 0:
            continue
        entry = &d.pages[i]
        if entry.page < 0:
            entry.page = s.pages[i].page
            kv.refs[entry.page] += 1
        elif entry.page != s.pages[i].page:
            # Slots that a third sequence holds in dst's page must not be overwritten.
            if kv.refs[entry.page] > 1 and not split_page(kv, d, i):
                refresh_span(d)
                return bnf_fail(BITNET_ERROR_MEMORY, b"no free page to copy positions %d.. of sequence %d to sequence %d",
                                i * BNF_KV_PAGE, src, dst)
            copy_slots(kv, s.pages[i].page, entry.page, taken)
        entry.mask |= taken
        refresh_filled(kv, entry.page, i)
    refresh_span(d)
    return 0

cdef public void bnf_kv_seq_keep(bnf_kv *kv, int32_t seq) noexcept nogil:
    cdef int32_t i
    for i in range(kv.n_seq_max):
        if i != seq:
            bnf_kv_seq_rm(kv, i, 0, 0x7fffffff)
