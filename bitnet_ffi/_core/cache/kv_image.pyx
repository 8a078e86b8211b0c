# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# What sequences hold, as a part of a state: pages and tables (csrc/bnf_state.h draws it). Reading checks every number before it is used,
# whatever the checksum said, and changes tables only: its caller undoes them when it fails.
# May not: know headers, files or outputs, or touch keys and values. Next: state.pyx, kv_rows.pyx.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_calls cimport (
    bnf_kv_clear, bnf_kv_seq_overfull, bnf_kv_seq_rm, bnf_kv_seq_tokens, bnf_kv_settle, bnf_kv_table_above)
from bitnet_ffi._core.bnf_context cimport bnf_count64, bnf_lowest64
from bitnet_ffi._core.bnf_ops cimport BNF_KV_PAGE
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR, BITNET_ERROR_CONTEXT, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_state cimport (
    bnf_kv_fill, bnf_kv_image, bnf_kv_reach, bnf_kv_take_page, bnf_state_entry, bnf_state_header, bnf_state_table, bnf_stream,
    bnf_stream_get, bnf_stream_put)
from bitnet_ffi._core.bnf_types cimport bnf_kv, bnf_seq

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    MAX_POS = 1 << 24      # batch.pyx says why
    NO_INDEX = -1

# ---- what there is to write ----

cdef int make(bnf_kv_image *image, int64_t n_pages, int64_t n_numbers) noexcept nogil:
    memset(image, 0, sizeof(bnf_kv_image))
    image.page = <int32_t *>bnf_alloc_array(<size_t>n_pages, sizeof(int32_t))
    image.mask = <uint64_t *>bnf_alloc_array(<size_t>n_pages, sizeof(uint64_t))
    image.place = <int32_t *>bnf_alloc_array(<size_t>n_pages, sizeof(int32_t))
    image.number = <int32_t *>bnf_alloc_array(<size_t>n_numbers, sizeof(int32_t))
    if image.page != NULL and image.place != NULL and image.mask != NULL and image.number != NULL:
        return 0
    bnf_image_free(image)
    return BITNET_ERROR_MEMORY

cdef public void bnf_image_free(bnf_kv_image *image) noexcept nogil:
    bnf_release(image.page)
    bnf_release(image.mask)
    bnf_release(image.place)
    bnf_release(image.number)
    memset(image, 0, sizeof(bnf_kv_image))

cdef inline bint is_wanted(int32_t seq, int32_t which) noexcept nogil:
    return which < 0 or seq == which

cdef public int bnf_image_of(const bnf_kv *kv, int32_t seq, bnf_kv_image *image) noexcept nogil:
    cdef const bnf_seq *s
    cdef uint64_t rest
    cdef int32_t *number
    cdef int32_t i, index, table
    if make(image, kv.n_pages, <int64_t>kv.n_ctx + 1) != 0:
        return BITNET_ERROR_MEMORY
    image.seq = seq
    # By number in the cache first: which slots the state has of a page.
    for i in range(kv.n_seq_max):
        table = i if is_wanted(i, seq) else -1
        while table >= 0:
            s = &kv.seqs[table]
            image.n_tables += 1 if s.n_pages > 0 else 0
            for index in range(s.n_pages):
                if s.pages[index].page >= 0:
                    image.mask[s.pages[index].page] |= s.pages[index].mask
            table = s.above
    for i in range(kv.n_ctx + 1):
        image.number[i] = -1
    # Then by number in the state, which is never larger.
    for i in range(kv.n_pages):
        rest = image.mask[i]
        if rest == 0:
            continue
        image.place[i] = image.n_pages
        image.page[image.n_pages] = i
        image.mask[image.n_pages] = rest
        image.n_pages += 1
        image.n_rows += <uint64_t>bnf_count64(rest)
        while rest != 0:
            number = &image.number[kv.token[<int64_t>i * BNF_KV_PAGE + bnf_lowest64(rest)]]
            rest &= rest - 1
            if number[0] < 0:
                number[0] = image.n_tokens
                image.n_tokens += 1
    return 0

# ---- writing ----

cdef void write_page(const bnf_kv *kv, const bnf_kv_image *image, int32_t i, bnf_stream *s) noexcept nogil:
    cdef int32_t number[BNF_KV_PAGE]
    cdef uint64_t rest = image.mask[i]
    cdef int32_t n = 0
    bnf_stream_put(s, &image.mask[i], sizeof(uint64_t))
    while rest != 0:
        number[n] = image.number[kv.token[<int64_t>image.page[i] * BNF_KV_PAGE + bnf_lowest64(rest)]]
        rest &= rest - 1
        n += 1
    bnf_stream_put(s, number, <uint64_t>n * sizeof(int32_t))

cdef void write_table(const bnf_kv_image *image, const bnf_seq *table, int32_t seq, int32_t level, bnf_stream *s) noexcept nogil:
    cdef bnf_state_table head
    cdef bnf_state_entry entry
    cdef int32_t i
    memset(&head, 0, sizeof(head))
    head.seq = <uint32_t>seq
    head.level = <uint32_t>level
    for i in range(table.n_pages):
        head.n_entries += 1 if table.pages[i].page >= 0 else 0
    bnf_stream_put(s, &head, sizeof(head))
    for i in range(table.n_pages):
        if table.pages[i].page >= 0:
            entry.index = <uint32_t>i
            entry.page = <uint32_t>image.place[table.pages[i].page]
            entry.mask = table.pages[i].mask
            bnf_stream_put(s, &entry, sizeof(entry))

cdef public void bnf_image_write(const bnf_kv *kv, const bnf_kv_image *image, bnf_stream *s) noexcept nogil:
    cdef int32_t i, table, level
    for i in range(image.n_pages):
        write_page(kv, image, i, s)
    for i in range(kv.n_seq_max):
        table = i if is_wanted(i, image.seq) and kv.seqs[i].n_pages > 0 else -1
        level = 0
        while table >= 0:
            write_table(image, &kv.seqs[table], 0 if image.seq >= 0 else i, level, s)
            table = kv.seqs[table].above
            level += 1

# ---- reading ----

cdef int wrong(const char *what, int64_t which) noexcept nogil:
    return bnf_fail(BITNET_ERROR, b"the state contradicts itself: %s %lld", what, <long long>which)

# The state's pages, filled with its tokens; no table holds them yet.
cdef int read_pages(bnf_kv *kv, const bnf_state_header *header, bnf_stream *s, bnf_kv_image *image) noexcept nogil:
    cdef int32_t number[BNF_KV_PAGE]
    cdef uint64_t rest
    cdef int32_t i, j
    for i in range(<int32_t>header.n_tokens):
        image.number[i] = -1
    while image.n_pages < <int32_t>header.n_pages:
        i = image.n_pages
        if not bnf_stream_get(s, &image.mask[i], sizeof(uint64_t)):
            return s.code
        if image.mask[i] == 0:
            return wrong(b"nothing in page", i)
        if not bnf_stream_get(s, number, <uint64_t>bnf_count64(image.mask[i]) * sizeof(int32_t)):
            return s.code
        image.page[i] = bnf_kv_take_page(kv)
        if image.page[i] < 0:
            return bnf_fail(BITNET_ERROR_CONTEXT, b"the state has %u pages of 64 positions, more than are free", header.n_pages)
        image.n_pages += 1
        rest = image.mask[i]
        image.n_rows += <uint64_t>bnf_count64(rest)
        j = 0
        while rest != 0:
            if number[j] < 0 or number[j] >= <int32_t>header.n_tokens:
                return wrong(b"it has no token", number[j])
            if image.number[number[j]] < 0 and kv.n_used >= kv.n_ctx:
                return bnf_fail(BITNET_ERROR_CONTEXT, b"the state's %u tokens do not fit: n_ctx = %d, and other sequences hold some of it",
                                header.n_tokens, kv.n_ctx)
            image.number[number[j]] = bnf_kv_fill(kv, image.page[i], bnf_lowest64(rest), image.number[number[j]])
            rest &= rest - 1
            j += 1
    return 0

# One table; `below` is the number of the table below it, -1: it is a sequence's own. held: slots of each page that tables hold.
cdef int read_entries(bnf_kv *kv, const bnf_state_header *header, int32_t table, int32_t below, uint32_t n, int32_t *index_of,
                      uint64_t *held, bnf_stream *s, const bnf_kv_image *image) noexcept nogil:
    cdef bnf_state_entry entry
    cdef const bnf_seq *under
    cdef int64_t last = -1
    cdef uint32_t i
    for i in range(n):
        if not bnf_stream_get(s, &entry, sizeof(entry)):
            return s.code
        if <int64_t>entry.index <= last or entry.index >= MAX_POS // BNF_KV_PAGE:
            return wrong(b"no order or no end at index", entry.index)
        if entry.page >= header.n_pages or entry.mask == 0 or entry.mask & ~image.mask[entry.page]:
            return wrong(b"it has not what a table holds of page", entry.page)
        if index_of[entry.page] != NO_INDEX and index_of[entry.page] != <int32_t>entry.index:
            return wrong(b"two positions for page", entry.page)
        if below >= 0:
            under = &kv.seqs[below]
            if <int32_t>entry.index >= under.n_pages or entry.mask & ~under.pages[entry.index].mask:
                return wrong(b"a gap below index", entry.index)
        if not bnf_kv_reach(kv, table, <int32_t>entry.index):
            return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a page table of the state")
        kv.refs[image.page[entry.page]] += 0 if index_of[entry.page] == NO_INDEX else 1      # taken with one
        index_of[entry.page] = <int32_t>entry.index
        held[entry.page] |= entry.mask
        kv.seqs[table].pages[entry.index].page = image.page[entry.page]
        kv.seqs[table].pages[entry.index].mask = entry.mask
        last = entry.index
    return 0

cdef int read_tables(bnf_kv *kv, int32_t seq, const bnf_state_header *header, int32_t *index_of, uint64_t *held, bnf_stream *s,
                     const bnf_kv_image *image) noexcept nogil:
    cdef bnf_state_table head
    cdef int64_t last = -1           # sequence of the table before, and its level
    cdef int64_t level = 0
    cdef int32_t table = -1
    cdef int32_t below
    cdef uint32_t i
    cdef int rc
    for i in range(header.n_pages):
        index_of[i] = NO_INDEX
        held[i] = 0
    for i in range(header.n_tables):
        if not bnf_stream_get(s, &head, sizeof(head)):
            return s.code
        if head.level == 0 and head.seq >= <uint32_t>kv.n_seq_max:
            return bnf_fail(BITNET_ERROR, b"the state holds sequence %u, and the context's are 0 to %d (n_seq_max - 1)", head.seq,
                            kv.n_seq_max - 1)
        if head.n_entries == 0 or (<int64_t>head.seq <= last if head.level == 0 else <int64_t>head.seq != last or head.level != level + 1):
            return wrong(b"empty or in no order is table", i)
        if seq >= 0 and head.seq != 0:
            return wrong(b"one sequence, and its number", head.seq)
        below = table if head.level > 0 else -1
        table = bnf_kv_table_above(kv, below) if below >= 0 else (seq if seq >= 0 else <int32_t>head.seq)
        if table < 0:
            return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a page table of the state")
        last = head.seq
        level = head.level
        rc = read_entries(kv, header, table, below, head.n_entries, index_of, held, s, image)
        if rc != 0:
            return rc
    for i in range(header.n_pages):
        if held[i] != image.mask[i]:
            return wrong(b"no sequence holds all of page", i)
    return 0

# seq: the sequence that becomes what the state holds; -1: all do. On an error the caller undoes what happened to the tables.
cdef public int bnf_image_read(bnf_kv *kv, int32_t seq, const bnf_state_header *header, bnf_stream *s, bnf_kv_image *image) noexcept nogil:
    cdef int32_t *index_of
    cdef uint64_t *held
    cdef int32_t i
    cdef int rc
    if header.n_pages > <uint32_t>kv.n_pages or header.n_tokens > <uint32_t>kv.n_ctx:
        return bnf_fail(BITNET_ERROR_CONTEXT, b"the state holds %u tokens in %u pages, and the context has room for %d (n_ctx) in %d",
                        header.n_tokens, header.n_pages, kv.n_ctx, kv.n_pages)
    rc = make(image, header.n_pages, header.n_tokens)
    if rc != 0:
        return rc
    if seq >= 0:
        bnf_kv_seq_rm(kv, seq, 0, 0x7fffffff)
    else:
        bnf_kv_clear(kv, False)
    index_of = <int32_t *>bnf_alloc_array(header.n_pages, sizeof(int32_t))
    held = <uint64_t *>bnf_alloc_array(header.n_pages, sizeof(uint64_t))
    rc = BITNET_ERROR_MEMORY if index_of == NULL or held == NULL else read_pages(kv, header, s, image)
    if rc == 0:
        rc = read_tables(kv, seq, header, index_of, held, s, image)
    bnf_release(index_of)
    bnf_release(held)
    if rc == 0:
        for i in range(kv.n_seq_max):
            bnf_kv_settle(kv, i)
            if rc == 0 and bnf_kv_seq_overfull(kv, i):
                rc = bnf_fail(BITNET_ERROR_CONTEXT, b"the state holds %d tokens of sequence %d, and there is room for %d (n_ctx_seq)",
                              bnf_kv_seq_tokens(kv, i), i, kv.n_ctx_seq)
    return rc
