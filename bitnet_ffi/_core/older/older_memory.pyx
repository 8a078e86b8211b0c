# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The KV cache as it was called from 2023 to 2025: llama_kv_cache_* and llama_kv_self_*, which take the context, and the view, which
# lists cells. A cell is a token here; its copies are that token.
# May not: do what llama_memory_* does not. Next: api_memory.pyx.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_is_null, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_enter
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, bnf_lowest64, llama_context
from bitnet_ffi._core.bnf_ops cimport BNF_KV_PAGE
from bitnet_ffi._core.bnf_public cimport bool, llama_memory_t, llama_pos, llama_seq_id, BITNET_ERROR, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_types cimport bnf_kv, bnf_seq

cdef extern from "bnf_calls.h":
    pass

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef struct llama_kv_cache "struct llama_kv_cache":
        pass
    ctypedef struct llama_kv_cache_view_cell "struct llama_kv_cache_view_cell":
        llama_pos pos
    ctypedef struct llama_kv_cache_view "struct llama_kv_cache_view":
        int32_t n_cells
        int32_t n_seq_max
        int32_t token_count
        int32_t used_cells
        int32_t max_contiguous
        int32_t max_contiguous_idx
        llama_kv_cache_view_cell *cells
        llama_seq_id *cells_sequences
    void llama_memory_clear(llama_memory_t mem, bool data)
    bool llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1)
    void llama_memory_seq_cp(llama_memory_t mem, llama_seq_id src, llama_seq_id dst, llama_pos p0, llama_pos p1)
    void llama_memory_seq_keep(llama_memory_t mem, llama_seq_id seq_id)
    void llama_memory_seq_add(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta)
    void llama_memory_seq_div(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d)
    bool llama_memory_can_shift(llama_memory_t mem)
    llama_pos llama_memory_seq_pos_min(llama_memory_t mem, llama_seq_id seq_id)
    llama_pos llama_memory_seq_pos_max(llama_memory_t mem, llama_seq_id seq_id)

cdef inline llama_memory_t memory_of(const llama_context *ctx) noexcept nogil:
    return <llama_memory_t>ctx

# ---- the calls of today by older names ----

cdef public llama_kv_cache *llama_get_kv_self(llama_context *ctx) noexcept nogil:
    bnf_is_null(ctx, b"llama_get_kv_self", b"ctx")
    return <llama_kv_cache *>ctx

cdef public void llama_kv_cache_clear(llama_context *ctx) noexcept nogil:
    llama_memory_clear(memory_of(ctx), True)

cdef public void llama_kv_self_clear(llama_context *ctx) noexcept nogil:
    llama_memory_clear(memory_of(ctx), True)

cdef public bool llama_kv_cache_seq_rm(llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1) noexcept nogil:
    return llama_memory_seq_rm(memory_of(ctx), seq_id, p0, p1)

cdef public bool llama_kv_self_seq_rm(llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1) noexcept nogil:
    return llama_memory_seq_rm(memory_of(ctx), seq_id, p0, p1)

cdef public void llama_kv_cache_tokens_rm(llama_context *ctx, int32_t c0, int32_t c1) noexcept nogil:
    llama_memory_seq_rm(memory_of(ctx), -1, c0, c1)

cdef public void llama_kv_cache_seq_cp(llama_context *ctx, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0,
                                       llama_pos p1) noexcept nogil:
    llama_memory_seq_cp(memory_of(ctx), seq_id_src, seq_id_dst, p0, p1)

cdef public void llama_kv_self_seq_cp(llama_context *ctx, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0,
                                      llama_pos p1) noexcept nogil:
    llama_memory_seq_cp(memory_of(ctx), seq_id_src, seq_id_dst, p0, p1)

cdef public void llama_kv_cache_seq_keep(llama_context *ctx, llama_seq_id seq_id) noexcept nogil:
    llama_memory_seq_keep(memory_of(ctx), seq_id)

cdef public void llama_kv_self_seq_keep(llama_context *ctx, llama_seq_id seq_id) noexcept nogil:
    llama_memory_seq_keep(memory_of(ctx), seq_id)

cdef public void llama_kv_cache_seq_add(llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1,
                                        llama_pos delta) noexcept nogil:
    llama_memory_seq_add(memory_of(ctx), seq_id, p0, p1, delta)

cdef public void llama_kv_cache_seq_shift(llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1,
                                          llama_pos delta) noexcept nogil:
    llama_memory_seq_add(memory_of(ctx), seq_id, p0, p1, delta)

cdef public void llama_kv_self_seq_add(llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta) noexcept nogil:
    llama_memory_seq_add(memory_of(ctx), seq_id, p0, p1, delta)

cdef public void llama_kv_cache_seq_div(llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d) noexcept nogil:
    llama_memory_seq_div(memory_of(ctx), seq_id, p0, p1, d)

cdef public void llama_kv_self_seq_div(llama_context *ctx, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d) noexcept nogil:
    llama_memory_seq_div(memory_of(ctx), seq_id, p0, p1, d)

cdef public llama_pos llama_kv_self_seq_pos_min(llama_context *ctx, llama_seq_id seq_id) noexcept nogil:
    return llama_memory_seq_pos_min(memory_of(ctx), seq_id)

cdef public llama_pos llama_kv_cache_seq_pos_max(llama_context *ctx, llama_seq_id seq_id) noexcept nogil:
    return llama_memory_seq_pos_max(memory_of(ctx), seq_id)

cdef public llama_pos llama_kv_self_seq_pos_max(llama_context *ctx, llama_seq_id seq_id) noexcept nogil:
    return llama_memory_seq_pos_max(memory_of(ctx), seq_id)

cdef public bool llama_kv_cache_can_shift(llama_context *ctx) noexcept nogil:
    return llama_memory_can_shift(memory_of(ctx))

cdef public bool llama_kv_self_can_shift(const llama_context *ctx) noexcept nogil:
    return llama_memory_can_shift(memory_of(ctx))

# ---- what there is nothing to do for: moves are done when they are asked for, and pages have no holes that cost anything ----

cdef void nothing_to_do(const llama_context *ctx, const char *function) noexcept nogil:
    bnf_clear_error()
    bnf_is_null(ctx, function, b"ctx")

cdef public void llama_kv_cache_defrag(llama_context *ctx) noexcept nogil:
    nothing_to_do(ctx, b"llama_kv_cache_defrag")

cdef public void llama_kv_self_defrag(llama_context *ctx) noexcept nogil:
    nothing_to_do(ctx, b"llama_kv_self_defrag")

cdef public void llama_kv_cache_update(llama_context *ctx) noexcept nogil:
    nothing_to_do(ctx, b"llama_kv_cache_update")

cdef public void llama_kv_self_update(llama_context *ctx) noexcept nogil:
    nothing_to_do(ctx, b"llama_kv_self_update")

# ---- counts ----

# Visits every token of every sequence. cell_of, by token number, says which cell of the view it is; NULL: count only. How many.
cdef int32_t visit(const bnf_kv *kv, const int32_t *cell_of, llama_kv_cache_view *view) noexcept nogil:
    cdef const bnf_seq *s
    cdef int32_t n = 0
    cdef int32_t seq, table, index, slot
    cdef uint64_t rest
    for seq in range(kv.n_seq_max):
        table = seq
        while table >= 0:
            s = &kv.seqs[table]
            for index in range(s.n_pages):
                rest = s.pages[index].mask
                while rest != 0:
                    slot = bnf_lowest64(rest)
                    rest &= rest - 1
                    n += 1
                    if cell_of != NULL:
                        add_to_cell(view, cell_of[kv.token[<int64_t>s.pages[index].page * BNF_KV_PAGE + slot]],
                                    index * BNF_KV_PAGE + slot, seq)
            table = s.above
    return n

cdef void add_to_cell(llama_kv_cache_view *view, int32_t cell, llama_pos pos, llama_seq_id seq) noexcept nogil:
    cdef llama_seq_id *row = view.cells_sequences + <int64_t>cell * view.n_seq_max
    cdef int32_t j = 0
    view.cells[cell].pos = pos
    while j < view.n_seq_max and row[j] >= 0:
        j += 1
    if j < view.n_seq_max:
        row[j] = seq

cdef int32_t count(const llama_context *const_ctx, bint tokens, const char *function) noexcept nogil:
    cdef llama_context *ctx = <llama_context *>const_ctx
    cdef int32_t n
    bnf_clear_error()
    if bnf_enter(ctx, function) != 0:
        return 0
    n = visit(&ctx.kv, NULL, NULL) if tokens else ctx.kv.n_used
    bnf_context_leave(ctx)
    return n

cdef public int32_t llama_get_kv_cache_token_count(const llama_context *ctx) noexcept nogil:
    return count(ctx, True, b"llama_get_kv_cache_token_count")

cdef public int32_t llama_kv_self_n_tokens(const llama_context *ctx) noexcept nogil:
    return count(ctx, True, b"llama_kv_self_n_tokens")

cdef public int32_t llama_get_kv_cache_used_cells(const llama_context *ctx) noexcept nogil:
    return count(ctx, False, b"llama_get_kv_cache_used_cells")

cdef public int32_t llama_kv_self_used_cells(const llama_context *ctx) noexcept nogil:
    return count(ctx, False, b"llama_kv_self_used_cells")

# ---- the view ----

cdef public llama_kv_cache_view llama_kv_cache_view_init(const llama_context *ctx, int32_t n_seq_max) noexcept nogil:
    cdef llama_kv_cache_view view
    memset(&view, 0, sizeof(view))
    view.max_contiguous_idx = -1
    nothing_to_do(ctx, b"llama_kv_cache_view_init")
    if ctx == NULL:
        return view
    if n_seq_max < 0:
        bnf_fail(BITNET_ERROR, b"llama_kv_cache_view_init: n_seq_max is %d, expected 0 or more", n_seq_max)
        return view
    view.n_seq_max = n_seq_max
    return view

cdef public void llama_kv_cache_view_free(llama_kv_cache_view *view) noexcept nogil:
    if view == NULL:
        return
    free(view.cells)
    free(view.cells_sequences)
    view.cells = NULL
    view.cells_sequences = NULL

# The view's arrays for n cells; on failure they stay as they are.
cdef int make_cells(llama_kv_cache_view *view, int32_t n) noexcept nogil:
    cdef llama_kv_cache_view_cell *cells
    cdef llama_seq_id *sequences
    if view.cells != NULL and view.cells_sequences != NULL and view.n_cells == n:
        return 0
    cells = <llama_kv_cache_view_cell *>calloc(<size_t>n + 1, sizeof(llama_kv_cache_view_cell))
    sequences = <llama_seq_id *>calloc(<size_t>n * <size_t>view.n_seq_max + 1, sizeof(llama_seq_id))
    if cells == NULL or sequences == NULL:
        free(cells)
        free(sequences)
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a view of %d cells with %d sequences each", n, view.n_seq_max)
    llama_kv_cache_view_free(view)
    view.cells = cells
    view.cells_sequences = sequences
    view.n_cells = n
    return 0

# Cells in the order of the tokens' numbers, used ones first.
cdef void fill_view(const bnf_kv *kv, int32_t *cell_of, llama_kv_cache_view *view) noexcept nogil:
    cdef int32_t n = 0
    cdef int64_t i
    for i in range(view.n_cells):
        view.cells[i].pos = -1
    for i in range(<int64_t>view.n_cells * view.n_seq_max):
        view.cells_sequences[i] = -1
    for i in range(kv.n_ctx + 1):
        cell_of[i] = n
        if kv.copies[i] > 0:
            n += 1
    view.token_count = visit(kv, cell_of, view)
    view.used_cells = kv.n_used
    view.max_contiguous = view.n_cells - view.used_cells
    view.max_contiguous_idx = view.used_cells if view.max_contiguous > 0 else -1

cdef public void llama_kv_cache_view_update(const llama_context *const_ctx, llama_kv_cache_view *view) noexcept nogil:
    cdef llama_context *ctx = <llama_context *>const_ctx
    cdef int32_t *cell_of
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_kv_cache_view_update") != 0:
        return
    if view == NULL or view.n_seq_max < 0:
        bnf_fail(BITNET_ERROR, b"llama_kv_cache_view_update: view is %s", b"NULL" if view == NULL else b"not from llama_kv_cache_view_init")
    else:
        cell_of = <int32_t *>bnf_alloc_array(<size_t>ctx.kv.n_ctx + 1, sizeof(int32_t))
        if cell_of != NULL and make_cells(view, ctx.kv.n_ctx) == 0:
            fill_view(&ctx.kv, cell_of, view)
        bnf_release(cell_of)
    bnf_context_leave(ctx)
