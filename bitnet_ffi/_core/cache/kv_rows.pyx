# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The rows of a state: keys and values of its pages, moved by the team of the context between the cache and where the state is kept. A piece
# is what one page has of one layer's keys, or values: its place in the state follows from the masks, and it has a sum of its own, so
# threads take pieces as they come. A full page's piece lies in the cache as in the state and passes in one run, beside its sum.
# May not: change a table. Next: state.pyx, csrc/bnf_sum.h.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_release
from bitnet_ffi._core.bnf_context cimport bnf_count64, bnf_lowest64, bnf_team_enter, bnf_team_leave, llama_context
from bitnet_ffi._core.bnf_ops cimport BNF_KV_PAGE
from bitnet_ffi._core.bnf_pool cimport bnf_pool_run
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_state cimport (
    bnf_kv_image, bnf_rows, bnf_store, bnf_store_fail, bnf_store_pass, bnf_sum, bnf_sum_copy, bnf_sum_placed, iovec, BNF_ROWS_CHECK,
    BNF_ROWS_READ, BNF_ROWS_WRITE, BNF_STORE_FROM_MEMORY, BNF_STORE_TO_MEMORY)
from bitnet_ffi._core.bnf_types cimport bnf_kv

cdef extern from "bnf_calls.h":
    pass

cdef extern from "bnf_atomic.h" nogil:
    int64_t bnf_ticket(int64_t *next)
    void bnf_total_add(uint64_t *total, uint64_t n)
    int32_t bnf_flag_read(const int32_t *flag)
    void bnf_flag_set(int32_t *flag, int32_t value)

cdef enum:
    GROUP_SIZE = 1 << 19     # bytes that a thread takes at a time: half of a level-2 cache, worth a call of the system
    GROUP_PIECES = 64
    ALONE = 1 << 20          # bytes that one thread moves before another would have woken
    FULL = -1                # a mask

ctypedef struct piece_t:
    uint8_t *rows            # of the page in the cache: [kv head][64]
    uint64_t head_stride
    uint64_t mask
    uint64_t at              # in the state
    uint64_t size

cdef uint64_t page_size(const bnf_kv *kv) noexcept nogil:
    return <uint64_t>kv.n_head_kv * max(kv.head_stride_k, kv.head_stride_v)

# Keys come first, by layer and page, then values.
cdef piece_t piece_of(const bnf_rows *rows, int64_t number) noexcept nogil:
    cdef const bnf_kv *kv = &rows.ctx.kv
    cdef int64_t n_pages = rows.image.n_pages
    cdef int64_t layer = number // n_pages
    cdef int64_t page = number % n_pages
    cdef uint64_t n_heads = kv.n_head_kv
    cdef uint64_t n_rows = rows.before[n_pages] * n_heads          # of a layer
    cdef bint is_key = layer < kv.n_layer
    cdef piece_t piece
    cdef uint64_t row_size
    layer -= 0 if is_key else kv.n_layer
    piece.head_stride = kv.head_stride_k if is_key else kv.head_stride_v
    row_size = piece.head_stride // BNF_KV_PAGE
    piece.rows = (kv.k + <uint64_t>layer * kv.layer_stride_k) if is_key else (kv.v + <uint64_t>layer * kv.layer_stride_v)
    piece.rows += <uint64_t>rows.image.page[page] * n_heads * piece.head_stride
    piece.mask = rows.image.mask[page]
    piece.at = rows.at + (0 if is_key else <uint64_t>kv.n_layer * n_rows * (kv.head_stride_k // BNF_KV_PAGE))
    piece.at += (<uint64_t>layer * n_rows + rows.before[page] * n_heads) * row_size
    piece.size = (rows.before[page + 1] - rows.before[page]) * n_heads * row_size
    return piece

# Rows of the piece's mask, by head, to `bytes` or from there.
cdef void pass_rows(const bnf_rows *rows, const piece_t *piece, uint8_t *bytes) noexcept nogil:
    cdef uint64_t row_size = piece.head_stride // BNF_KV_PAGE
    cdef uint8_t *run
    cdef uint64_t mask, n
    cdef int64_t head, begin, end
    for head in range(rows.ctx.kv.n_head_kv):
        mask = piece.mask
        while mask != 0:
            begin = bnf_lowest64(mask)
            end = 64 if ~(mask >> begin) == 0 else begin + bnf_lowest64(~(mask >> begin))
            run = piece.rows + <uint64_t>head * piece.head_stride + <uint64_t>begin * row_size
            n = <uint64_t>(end - begin) * row_size
            if rows.what == BNF_ROWS_WRITE:
                memcpy(bytes, run, n)
            else:
                memcpy(run, bytes, n)
            bytes += n
            mask = 0 if end >= 64 else mask >> end << end

# ---- memory ----

# The sum counts where the caller's bytes may be damaged or are new: not when they are taken over, having been checked.
cdef uint64_t pass_memory(const bnf_rows *rows, int64_t begin, int64_t end) noexcept nogil:
    cdef const bnf_store *store = rows.store
    cdef piece_t piece
    cdef uint64_t sum = 0
    cdef int64_t i
    for i in range(begin, end):
        piece = piece_of(rows, i)
        if rows.what == BNF_ROWS_READ:
            if piece.mask == <uint64_t>FULL:
                memcpy(piece.rows, store.from_ + piece.at, piece.size)
            else:
                pass_rows(rows, &piece, <uint8_t *>store.from_ + piece.at)
        elif rows.what == BNF_ROWS_CHECK:
            sum += bnf_sum_placed(bnf_sum(store.from_ + piece.at, piece.size), i)
        elif piece.mask == <uint64_t>FULL:
            sum += bnf_sum_placed(bnf_sum_copy(store.to + piece.at, piece.rows, piece.size), i)
        else:
            pass_rows(rows, &piece, store.to + piece.at)
            sum += bnf_sum_placed(bnf_sum(store.to + piece.at, piece.size), i)
    return sum

# ---- files: what is written, or comes, in one call of the system is summed while it is in the cache of this CPU ----

cdef uint64_t pass_file(bnf_rows *rows, int64_t begin, int64_t end, uint8_t *buffer) noexcept nogil:
    cdef piece_t piece[GROUP_PIECES]
    cdef uint8_t *place[GROUP_PIECES]
    cdef iovec parts[GROUP_PIECES]
    cdef int64_t n = end - begin
    cdef uint64_t sum = 0
    cdef int n_parts = 0
    cdef int64_t i
    cdef int reason
    for i in range(n):
        piece[i] = piece_of(rows, begin + i)
        place[i] = piece[i].rows
        if piece[i].mask != <uint64_t>FULL or rows.what == BNF_ROWS_CHECK:
            place[i] = buffer
            buffer += piece[i].size
        if rows.what == BNF_ROWS_WRITE:
            if place[i] != piece[i].rows:
                pass_rows(rows, &piece[i], place[i])
            sum += bnf_sum_placed(bnf_sum(place[i], piece[i].size), begin + i)
        if n_parts > 0 and <uint8_t *>parts[n_parts - 1].iov_base + parts[n_parts - 1].iov_len == place[i]:
            parts[n_parts - 1].iov_len += piece[i].size
        else:
            parts[n_parts].iov_base = place[i]
            parts[n_parts].iov_len = piece[i].size
            n_parts += 1
    reason = bnf_store_pass(rows.store, parts, n_parts, piece[0].at)
    if reason != 0:
        bnf_flag_set(&rows.reason, reason)
        return 0
    if rows.what == BNF_ROWS_WRITE:
        return sum
    for i in range(n):
        sum += bnf_sum_placed(bnf_sum(place[i], piece[i].size), begin + i)
        if rows.what == BNF_ROWS_READ and place[i] != piece[i].rows:
            pass_rows(rows, &piece[i], place[i])
    return sum

# ---- the team ----

cdef void work(void *arg, int ith, int nth) noexcept nogil:
    cdef bnf_rows *rows = <bnf_rows *>arg
    cdef uint64_t sum = 0
    cdef int64_t begin = bnf_ticket(&rows.next) * rows.group
    while begin < rows.n_pieces and bnf_flag_read(&rows.reason) == 0:
        if rows.buffer == NULL:
            sum += pass_memory(rows, begin, min(begin + rows.group, rows.n_pieces))
        else:
            sum += pass_file(rows, begin, min(begin + rows.group, rows.n_pieces), rows.buffer + <uint64_t>ith * rows.buffer_size)
        begin = bnf_ticket(&rows.next) * rows.group
    bnf_total_add(&rows.sum, sum)

cdef public uint64_t bnf_rows_size(const bnf_kv *kv, const bnf_kv_image *image) noexcept nogil:
    return image.n_rows * <uint64_t>kv.n_layer * <uint64_t>kv.n_head_kv * ((kv.head_stride_k + kv.head_stride_v) // BNF_KV_PAGE)

cdef public int bnf_rows_begin(llama_context *ctx, const bnf_kv_image *image, const bnf_store *store, uint64_t at,
                               bnf_rows *rows) noexcept nogil:
    cdef bint is_file = store.kind != BNF_STORE_TO_MEMORY and store.kind != BNF_STORE_FROM_MEMORY
    cdef int64_t i
    memset(rows, 0, sizeof(bnf_rows))
    rows.ctx = ctx
    rows.image = image
    rows.store = store
    rows.at = at
    rows.n_threads = <int>max(<uint64_t>1, min(<uint64_t>ctx.n_threads, bnf_rows_size(&ctx.kv, image) // ALONE))
    rows.n_pieces = 2 * <int64_t>ctx.kv.n_layer * image.n_pages
    # A vocabulary alone has pages of no size.
    rows.group = max(<int64_t>1, min(<int64_t>GROUP_PIECES, <int64_t>(GROUP_SIZE // max(<uint64_t>1, page_size(&ctx.kv)))))
    rows.buffer_size = <uint64_t>rows.group * page_size(&ctx.kv)
    rows.before = <uint64_t *>bnf_alloc_array(<size_t>image.n_pages + 1, sizeof(uint64_t))
    if is_file:
        rows.buffer = <uint8_t *>bnf_alloc(<size_t>rows.n_threads * rows.buffer_size)
    if rows.before == NULL or (is_file and rows.buffer == NULL):
        return BITNET_ERROR_MEMORY
    for i in range(image.n_pages):
        rows.before[i + 1] = rows.before[i] + bnf_count64(image.mask[i])
    return 0

cdef public int bnf_rows_pass(bnf_rows *rows, int what) noexcept nogil:
    cdef int32_t n_threads
    rows.what = what
    rows.next = 0
    rows.sum = 0
    n_threads = bnf_team_enter(rows.ctx, False)
    bnf_pool_run(rows.ctx.pool, min(rows.n_threads, n_threads), work, rows)
    bnf_team_leave(rows.ctx)
    return bnf_store_fail(rows.store, rows.reason) if rows.reason != 0 else 0

cdef public void bnf_rows_end(bnf_rows *rows) noexcept nogil:
    bnf_release(rows.before)
    bnf_release(rows.buffer)
