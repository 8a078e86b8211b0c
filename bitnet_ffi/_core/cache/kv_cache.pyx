# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The KV cache. Keys and values live in pages of 64 positions, aligned to absolute position, because attention sums in
# chunks of 64 by absolute position: where a token is stored can then never change a bit of the result.
# A sequence is a table of (page, mask): the mask says which of the 64 positions are its own. Sequences share pages; two
# of them may even write different slots of one page. Only when both want the same slot does one get a copy.
# Positions that were moved (kv_move.pyx) can meet: then a sequence is a stack of such tables, and its own is the lowest.
# May not: compute, allocate pages after init, or leave the cache half changed.
# Next: attention.pyx writes and reads the pages; csrc/bnf_types.h draws them.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_calls cimport bnf_kv_check_copy, bnf_kv_seq_overfull
from bitnet_ffi._core.bnf_context cimport bnf_highest64, bnf_lowest64, bnf_page_range
from bitnet_ffi._core.bnf_ops cimport bnf_kv_row_size, bnf_kv_type, BNF_KV_PAGE
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_types cimport bnf_batch, bnf_hparams, bnf_kv, bnf_seq, bnf_seq_page

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    SPARE_PAGES = 16

# Make room for n_ctx tokens of n_seq_max sequences. Every sequence may leave one page partly filled and, where it parted
# from another, one partly copied, hence the extra pages: n_ctx tokens fit, however they are spread over sequences that grow
# and shrink at their ends and fork. Gaps, and each further token at one position, leave pages partly filled too: for these there are
# as many spare pages as the SelfExtend of a program has tokens at a position. (One token in each page can still use all up before
# n_ctx is full.) The memory is touched only as pages come into use.
cdef public int bnf_kv_init(bnf_kv *kv, const bnf_hparams *hp, int32_t n_ctx, int32_t n_ctx_seq, int32_t n_seq_max, int32_t type_k,
                            int32_t type_v) noexcept nogil:
    cdef int32_t i
    memset(kv, 0, sizeof(bnf_kv))
    kv.n_layer = hp.n_layer
    kv.n_head_kv = hp.n_head_kv
    kv.dk = hp.dk
    kv.dv = hp.dv
    kv.type_k = type_k
    kv.type_v = type_v
    kv.n_ctx = n_ctx
    kv.n_ctx_seq = n_ctx_seq
    kv.n_seq_max = n_seq_max
    kv.n_pages = (n_ctx + BNF_KV_PAGE - 1) // BNF_KV_PAGE + (1 if n_seq_max == 1 else 2 * n_seq_max) + SPARE_PAGES
    kv.head_stride_k = BNF_KV_PAGE * bnf_kv_row_size(<bnf_kv_type>type_k, hp.dk)
    kv.head_stride_v = BNF_KV_PAGE * bnf_kv_row_size(<bnf_kv_type>type_v, hp.dv)
    kv.layer_stride_k = kv.head_stride_k * <uint64_t>hp.n_head_kv * <uint64_t>kv.n_pages
    kv.layer_stride_v = kv.head_stride_v * <uint64_t>hp.n_head_kv * <uint64_t>kv.n_pages
    kv.k = <uint8_t *>bnf_alloc_array(<size_t>hp.n_layer, kv.layer_stride_k)
    kv.v = <uint8_t *>bnf_alloc_array(<size_t>hp.n_layer, kv.layer_stride_v)
    kv.used = <bool *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(bool))
    kv.refs = <int32_t *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(int32_t))
    kv.filled = <uint64_t *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(uint64_t))
    kv.token = <int32_t *>bnf_alloc_array(<size_t>kv.n_pages * BNF_KV_PAGE, sizeof(int32_t))
    kv.copies = <int32_t *>bnf_alloc_array(<size_t>n_ctx + 1, sizeof(int32_t))
    kv.free_tokens = <int32_t *>bnf_alloc_array(<size_t>n_ctx + 1, sizeof(int32_t))
    kv.free_pages = <int32_t *>bnf_alloc_array(<size_t>kv.n_pages, sizeof(int32_t))
    kv.seqs = <bnf_seq *>bnf_alloc_array(<size_t>n_seq_max, sizeof(bnf_seq))
    if (kv.k == NULL or kv.v == NULL or kv.used == NULL or kv.refs == NULL or kv.filled == NULL or kv.token == NULL or kv.copies == NULL
            or kv.free_tokens == NULL or kv.free_pages == NULL or kv.seqs == NULL):
        bnf_kv_free(kv)
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a KV cache of %d tokens (%.1f MiB)", n_ctx,
                        <double>((kv.layer_stride_k + kv.layer_stride_v) * <uint64_t>hp.n_layer) / 1048576.0)
    for i in range(n_seq_max):
        kv.seqs[i].pos_min = -1
        kv.seqs[i].pos_max = -1
        kv.seqs[i].above = -1
    kv.n_tables = n_seq_max
    kv.cap_tables = n_seq_max
    kv.free_table = -1
    for i in range(kv.n_pages):
        kv.free_pages[i] = kv.n_pages - 1 - i
    kv.n_free = kv.n_pages
    for i in range(n_ctx + 1):
        kv.free_tokens[i] = n_ctx - i
    return 0

cdef public void bnf_kv_free(bnf_kv *kv) noexcept nogil:
    cdef int32_t i
    if kv.seqs != NULL:
        for i in range(kv.n_tables):
            bnf_release(kv.seqs[i].pages)
    bnf_release(kv.k)
    bnf_release(kv.v)
    bnf_release(kv.used)
    bnf_release(kv.refs)
    bnf_release(kv.filled)
    bnf_release(kv.token)
    bnf_release(kv.copies)
    bnf_release(kv.free_tokens)
    bnf_release(kv.free_pages)
    bnf_release(kv.seqs)
    kv.k = NULL
    kv.v = NULL
    kv.used = NULL
    kv.refs = NULL
    kv.filled = NULL
    kv.token = NULL
    kv.copies = NULL
    kv.free_tokens = NULL
    kv.free_pages = NULL
    kv.seqs = NULL

# data: what the pages held is gone too. A page that no token has been in since the last time is zero already: `used` says which.
cdef public void bnf_kv_clear(bnf_kv *kv, bool data) noexcept nogil:
    cdef uint64_t size_k = kv.head_stride_k * <uint64_t>kv.n_head_kv
    cdef uint64_t size_v = kv.head_stride_v * <uint64_t>kv.n_head_kv
    cdef int32_t i
    cdef int64_t layer
    for i in range(kv.n_seq_max):
        bnf_kv_seq_rm(kv, i, 0, 0x7fffffff)
    if not data:
        return
    for i in range(kv.n_pages):
        if not kv.used[i]:
            continue
        kv.used[i] = False
        for layer in range(kv.n_layer):
            memset(kv.k + layer * kv.layer_stride_k + i * size_k, 0, size_k)
            memset(kv.v + layer * kv.layer_stride_v + i * size_v, 0, size_v)

# ---- pages ----

# n_ctx counts tokens, not slots: the copies that sequences needed of one token are that token, until the last is gone.
# There is one number more than n_ctx, for the token that is found to be too many (reserve_token).
cdef inline int32_t new_token(bnf_kv *kv) noexcept nogil:
    kv.n_used += 1
    return kv.free_tokens[kv.n_ctx + 1 - kv.n_used]

cdef inline void drop_copy(bnf_kv *kv, int32_t token) noexcept nogil:
    kv.copies[token] -= 1
    if kv.copies[token] == 0:
        kv.free_tokens[kv.n_ctx + 1 - kv.n_used] = token
        kv.n_used -= 1

# Slots of `mask`, which were filled, are so no more.
cdef void empty_slots(bnf_kv *kv, int32_t page, uint64_t mask) noexcept nogil:
    kv.filled[page] &= ~mask
    while mask != 0:
        drop_copy(kv, kv.token[<int64_t>page * BNF_KV_PAGE + bnf_lowest64(mask)])
        mask &= mask - 1

# A free slot, filled with a token.
cdef void fill_slot(bnf_kv *kv, int32_t page, int32_t slot, int32_t token) noexcept nogil:
    kv.filled[page] |= <uint64_t>1 << slot
    kv.token[<int64_t>page * BNF_KV_PAGE + slot] = token
    kv.copies[token] += 1

# Empty the slots of a page that nobody holds any more. Holders of a page have it at the same table index.
cdef void sweep_page(bnf_kv *kv, int32_t page, int32_t index) noexcept nogil:
    cdef uint64_t held = 0
    cdef int32_t s
    for s in range(kv.n_tables):
        if index < kv.seqs[s].n_pages and kv.seqs[s].pages[index].page == page:
            held |= kv.seqs[s].pages[index].mask
    empty_slots(kv, page, kv.filled[page] & ~held)

cdef void drop_page(bnf_kv *kv, bnf_seq_page *entry, int32_t index) noexcept nogil:
    cdef int32_t page = entry.page
    entry.page = -1
    entry.mask = 0
    kv.refs[page] -= 1
    sweep_page(kv, page, index)
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
    kv.used[page] = True
    return page

# Let slots of `mask` of the target hold the tokens of the source, in place of what is there; the caller lets a sequence hold them.
cdef void copy_slots(bnf_kv *kv, int32_t source, int32_t target, uint64_t mask) noexcept nogil:
    cdef int64_t slot
    empty_slots(kv, target, kv.filled[target] & mask)
    while mask != 0:
        slot = bnf_lowest64(mask)
        mask &= mask - 1
        fill_slot(kv, target, <int32_t>slot, kv.token[<int64_t>source * BNF_KV_PAGE + slot])

# Their keys and values, of all layers and heads.
cdef void copy_rows(bnf_kv *kv, int32_t source, int32_t target, uint64_t mask) noexcept nogil:
    cdef uint64_t row_k = kv.head_stride_k // BNF_KV_PAGE
    cdef uint64_t row_v = kv.head_stride_v // BNF_KV_PAGE
    cdef int64_t layer, head, from_page, to_page, slot
    cdef uint64_t rest
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

# Give a sequence a page of its own in place of the one at `index`, with its tokens but not yet their keys and values.
# False: no free page, nothing changed.
cdef bint part_page(bnf_kv *kv, bnf_seq *seq, int32_t index) noexcept nogil:
    cdef bnf_seq_page *entry = &seq.pages[index]
    cdef int32_t old = entry.page
    cdef int32_t page = take_page(kv)
    if page < 0:
        return False
    copy_slots(kv, old, page, entry.mask)
    kv.refs[old] -= 1
    entry.page = page
    sweep_page(kv, old, index)
    return True

# The same, and the keys and values too.
cdef bint split_page(bnf_kv *kv, bnf_seq *seq, int32_t index) noexcept nogil:
    cdef int32_t old = seq.pages[index].page
    if not part_page(kv, seq, index):
        return False
    copy_rows(kv, old, seq.pages[index].page, seq.pages[index].mask)
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
    cdef int32_t slot = pos % BNF_KV_PAGE
    cdef uint64_t bit = <uint64_t>1 << slot
    cdef int32_t shared = -1   # page that an earlier sequence of this token uses: one without a page joins it
    cdef int32_t token = -1
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
        elif kv.filled[entry.page] & bit and kv.token[<int64_t>entry.page * BNF_KV_PAGE + slot] != token:
            if not split_page(kv, seq, index):
                return 1
        entry.mask |= bit
        if token < 0:
            token = new_token(kv)
        if not kv.filled[entry.page] & bit:
            fill_slot(kv, entry.page, slot, token)
        shared = entry.page
        if pos > seq.pos_max:
            seq.pos_max = pos
        if seq.pos_min < 0 or pos < seq.pos_min:
            seq.pos_min = pos
    for i in range(n_seq):
        if bnf_kv_seq_overfull(kv, seqs[i]):
            return 1
    return 1 if kv.n_used > kv.n_ctx else 0

cdef void remove_tokens(bnf_kv *kv, const bnf_batch *batch, int32_t n) noexcept nogil:
    cdef int32_t i, j
    for i in range(n):
        for j in range(batch.n_seq[i]):
            bnf_kv_seq_rm(kv, batch.seq[<int64_t>i * batch.seq_stride + j], batch.pos[i], batch.pos[i] + 1)

cdef public int bnf_kv_reserve(bnf_kv *kv, const bnf_batch *batch) noexcept nogil:
    cdef int32_t i
    cdef int rc
    for i in range(batch.n_tokens):
        rc = reserve_token(kv, batch.pos[i], batch.seq + <int64_t>i * batch.seq_stride, batch.n_seq[i])
        if rc != 0:
            remove_tokens(kv, batch, i + 1)
            return rc
    return 0

cdef public void bnf_kv_rollback(bnf_kv *kv, const bnf_batch *batch) noexcept nogil:
    remove_tokens(kv, batch, batch.n_tokens)

# ---- tables above sequences ----

# The table above `table`, made when there is none; it may move kv.seqs. -1: out of memory.
cdef public int32_t bnf_kv_table_above(bnf_kv *kv, int32_t table) noexcept nogil:
    cdef int32_t found = kv.seqs[table].above
    cdef int32_t cap
    cdef void *grown
    if found >= 0:
        return found
    if kv.free_table < 0:
        if kv.n_tables == kv.cap_tables:
            cap = kv.cap_tables + kv.cap_tables // 2 + 4
            grown = bnf_resize(kv.seqs, <size_t>kv.cap_tables * sizeof(bnf_seq), <size_t>cap * sizeof(bnf_seq))
            if grown == NULL:
                return -1
            kv.seqs = <bnf_seq *>grown
            kv.cap_tables = cap
        memset(&kv.seqs[kv.n_tables], 0, sizeof(bnf_seq))
        kv.seqs[kv.n_tables].above = -1
        kv.free_table = kv.n_tables
        kv.n_tables += 1
    found = kv.free_table
    kv.free_table = kv.seqs[found].above
    kv.seqs[found].above = -1
    kv.seqs[found].n_pages = 0
    kv.seqs[found].pos_min = -1
    kv.seqs[found].pos_max = -1
    kv.seqs[table].above = found
    return found

# After a change: spans of all tables of the stack, and those that became empty (then all above them are) go.
cdef public void bnf_kv_settle(bnf_kv *kv, int32_t seq) noexcept nogil:
    cdef int32_t table = seq
    cdef int32_t above = kv.seqs[seq].above
    refresh_span(&kv.seqs[seq])
    while above >= 0:
        refresh_span(&kv.seqs[above])
        if kv.seqs[above].n_pages > 0:
            table = above
        else:
            kv.seqs[table].above = kv.seqs[above].above
            kv.seqs[above].above = kv.free_table
            kv.free_table = above
        above = kv.seqs[table].above

# A slot for position pos, which the table does not hold, in a page that no other table holds; token: -1 for a new one.
# *left: the page that the table shared and has left for that; the tokens that both held in it now lie in both, but their keys
# and values are in *left alone. The slot as page * 64 + slot; -1: no page or token is left; -2: out of memory.
cdef public int64_t bnf_kv_put(bnf_kv *kv, int32_t table, int32_t pos, int32_t token, int32_t *left) noexcept nogil:
    cdef bnf_seq *seq = &kv.seqs[table]
    cdef int32_t index = pos // BNF_KV_PAGE
    cdef int32_t slot = pos % BNF_KV_PAGE
    cdef bnf_seq_page *entry
    left[0] = -1
    if token < 0 and kv.n_used >= kv.n_ctx:
        return -1
    if not reach(seq, index):
        return -2
    entry = &seq.pages[index]
    if entry.page >= 0 and kv.refs[entry.page] > 1:
        left[0] = entry.page
        if not part_page(kv, seq, index):
            return -1
    elif entry.page < 0:
        entry.page = take_page(kv)
        if entry.page < 0:
            return -1
    fill_slot(kv, entry.page, slot, new_token(kv) if token < 0 else token)
    entry.mask |= <uint64_t>1 << slot
    return <int64_t>entry.page * BNF_KV_PAGE + slot

# ---- pieces of a state (kv_image.pyx) ----

cdef public int32_t bnf_kv_take_page(bnf_kv *kv) noexcept nogil:
    return take_page(kv)

# token: -1 for a new one. Its number.
cdef public int32_t bnf_kv_fill(bnf_kv *kv, int32_t page, int32_t slot, int32_t token) noexcept nogil:
    if token < 0:
        token = new_token(kv)
    fill_slot(kv, page, slot, token)
    return token

cdef public bool bnf_kv_reach(bnf_kv *kv, int32_t table, int32_t index) noexcept nogil:
    return reach(&kv.seqs[table], index)

# ---- sequences ----

cdef public bool bnf_kv_holds(const bnf_kv *kv, int32_t seq, int32_t pos) noexcept nogil:
    cdef const bnf_seq *s = &kv.seqs[seq]
    cdef int32_t index = pos // BNF_KV_PAGE
    return index < s.n_pages and (s.pages[index].mask >> (pos % BNF_KV_PAGE) & 1) != 0

cdef void remove_range(bnf_kv *kv, bnf_seq *s, int32_t p0, int32_t p1) noexcept nogil:
    cdef int32_t first = p0 // BNF_KV_PAGE
    cdef int32_t i
    cdef uint64_t gone
    for i in range(first, s.n_pages):
        if <int64_t>i * BNF_KV_PAGE >= p1:
            break
        gone = s.pages[i].mask & bnf_page_range(i, p0, p1)
        if s.pages[i].page < 0 or gone == 0:
            continue
        s.pages[i].mask &= ~gone
        if s.pages[i].mask == 0:
            drop_page(kv, &s.pages[i], i)
        else:
            sweep_page(kv, s.pages[i].page, i)

cdef public bool bnf_kv_seq_rm(bnf_kv *kv, int32_t seq, int32_t p0, int32_t p1) noexcept nogil:
    cdef int32_t table = seq
    while table >= 0:
        remove_range(kv, &kv.seqs[table], p0, p1)
        table = kv.seqs[table].above
    bnf_kv_settle(kv, seq)
    return True

# Slots of page `index` that [p0, p1) of src has to give.
cdef inline uint64_t slots_of(const bnf_seq *src, int32_t index, int32_t p0, int32_t p1) noexcept nogil:
    return src.pages[index].mask & bnf_page_range(index, p0, p1)

# Must data move? Not when dst has nothing in that page, or the same page, or nothing in its own that would remain.
cdef inline bint must_copy(const bnf_seq_page *src, const bnf_seq_page *dst, uint64_t taken) noexcept nogil:
    return dst.page >= 0 and dst.page != src.page and (dst.mask & ~taken) != 0

# Pages that dst must take for [p0, end) of src, table to table: slots that a third table holds in dst's page must not be
# overwritten.
cdef int32_t count_splits(const bnf_kv *kv, const bnf_seq *s, const bnf_seq *d, int32_t p0, int32_t p1) noexcept nogil:
    cdef int32_t n = 0
    cdef int32_t i
    cdef uint64_t taken
    for i in range(p0 // BNF_KV_PAGE, min(s.n_pages, d.n_pages)):
        taken = slots_of(s, i, p0, p1)
        if taken != 0 and must_copy(&s.pages[i], &d.pages[i], taken) and kv.refs[d.pages[i].page] > 1:
            n += 1
    return n

# dst reaches as far, and there are pages to split.
cdef void copy_range(bnf_kv *kv, bnf_seq *s, bnf_seq *d, int32_t p0, int32_t p1) noexcept nogil:
    cdef bnf_seq_page *entry
    cdef uint64_t taken
    cdef int32_t i
    for i in range(p0 // BNF_KV_PAGE, min(s.n_pages, d.n_pages)):
        taken = slots_of(s, i, p0, p1)
        entry = &d.pages[i]
        if taken == 0:
            continue
        if must_copy(&s.pages[i], entry, taken):
            if kv.refs[entry.page] > 1:
                split_page(kv, d, i)
            copy_slots(kv, s.pages[i].page, entry.page, taken)
            copy_rows(kv, s.pages[i].page, entry.page, taken)
        elif entry.page != s.pages[i].page:
            if entry.page >= 0:
                drop_page(kv, entry, i)
            entry.page = s.pages[i].page
            kv.refs[entry.page] += 1
        entry.mask |= taken

# What a table above dst has at positions that src's own table gives: it is replaced with the rest of dst's stack there.
cdef void clear_above(bnf_kv *kv, const bnf_seq *s, bnf_seq *d, int32_t p0, int32_t p1) noexcept nogil:
    cdef int32_t i
    cdef uint64_t gone
    for i in range(p0 // BNF_KV_PAGE, min(s.n_pages, d.n_pages)):
        gone = d.pages[i].mask & slots_of(s, i, p0, p1)
        if gone == 0:
            continue
        d.pages[i].mask &= ~gone
        if d.pages[i].mask == 0:
            drop_page(kv, &d.pages[i], i)
        else:
            sweep_page(kv, d.pages[i].page, i)

# Positions [p0, p1) of src become positions of dst as well, in place of what dst had there. 0, or an error and no change.
cdef public int bnf_kv_seq_cp(bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1) noexcept nogil:
    cdef int32_t n_split = 0
    cdef int32_t end = kv.seqs[src].n_pages
    cdef int32_t from_table = src
    cdef int32_t to_table = dst
    cdef int rc
    if p1 < <int64_t>end * BNF_KV_PAGE:
        end = (p1 + BNF_KV_PAGE - 1) // BNF_KV_PAGE
    if src == dst or p0 >= p1 or p0 // BNF_KV_PAGE >= end:
        return 0
    rc = bnf_kv_check_copy(kv, src, dst, p0, p1)
    if rc != 0:
        return rc
    while from_table >= 0:      # all that can fail
        if not reach(&kv.seqs[to_table], min(end, kv.seqs[from_table].n_pages) - 1):
            bnf_kv_settle(kv, dst)
            return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for the page table of sequence %d", dst)
        n_split += count_splits(kv, &kv.seqs[from_table], &kv.seqs[to_table], p0, p1)
        from_table = kv.seqs[from_table].above
        if from_table >= 0:
            to_table = bnf_kv_table_above(kv, to_table)
            if to_table < 0:
                bnf_kv_settle(kv, dst)
                return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for the page table of sequence %d", dst)
    if n_split > kv.n_free:
        bnf_kv_settle(kv, dst)
        return bnf_fail(BITNET_ERROR_MEMORY, b"copying positions of sequence %d into sequence %d needs %d pages, and %d are free",
                        src, dst, n_split, kv.n_free)
    to_table = kv.seqs[dst].above
    while to_table >= 0:
        clear_above(kv, &kv.seqs[src], &kv.seqs[to_table], p0, p1)
        to_table = kv.seqs[to_table].above
    from_table = src
    to_table = dst
    while from_table >= 0:
        copy_range(kv, &kv.seqs[from_table], &kv.seqs[to_table], p0, p1)
        from_table = kv.seqs[from_table].above
        to_table = kv.seqs[to_table].above
    bnf_kv_settle(kv, dst)
    return 0

cdef public void bnf_kv_seq_keep(bnf_kv *kv, int32_t seq) noexcept nogil:
    cdef int32_t i
    for i in range(kv.n_seq_max):
        if i != seq:
            bnf_kv_seq_rm(kv, i, 0, 0x7fffffff)

# ---- sequences for a while ----

# What a call computes and does not keep (llama_encode) lives in pages that are free, under sequences of its own. kept: the cache as it
# was; of it, the tables come back.
cdef public int bnf_kv_set_aside(bnf_kv *kv, bnf_kv *kept) noexcept nogil:
    cdef bnf_seq *seqs = <bnf_seq *>bnf_alloc_array(<size_t>kv.n_seq_max, sizeof(bnf_seq))
    cdef int32_t i
    if seqs == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(kv.n_seq_max):
        seqs[i].pos_min = -1
        seqs[i].pos_max = -1
        seqs[i].above = -1
    kept[0] = kv[0]
    kv.n_ctx_seq = kv.n_ctx     # what is not kept may be longer than a sequence
    kv.seqs = seqs
    kv.n_tables = kv.n_seq_max
    kv.cap_tables = kv.n_seq_max
    kv.free_table = -1
    return 0

cdef public void bnf_kv_put_back(bnf_kv *kv, const bnf_kv *kept) noexcept nogil:
    cdef int32_t i
    for i in range(kv.n_seq_max):
        bnf_kv_seq_rm(kv, i, 0, 0x7fffffff)
    for i in range(kv.n_tables):
        bnf_release(kv.seqs[i].pages)
    bnf_release(kv.seqs)
    kv.n_ctx_seq = kept.n_ctx_seq
    kv.seqs = kept.seqs
    kv.n_tables = kept.n_tables
    kv.cap_tables = kept.cap_tables
    kv.free_table = kept.free_table
