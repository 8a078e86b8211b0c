# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# llama_state_*: a context, or one sequence of it, to and from memory and files; and the names of 2023. All are one write and one
# read, of another store.
# May not: know the format. Next: state.pyx, csrc/bnf_store.h.

from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_clear_error, bnf_fail, bnf_is_null, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_enter, bnf_kv_seq_rm
from bitnet_ffi._core.bnf_context cimport bnf_context_enter, bnf_context_leave, bnf_mt19937, llama_context
from bitnet_ffi._core.bnf_ops cimport BNF_KV_PAGE
from bitnet_ffi._core.bnf_public cimport bool, llama_seq_id, llama_token, BITNET_ERROR
from bitnet_ffi._core.bnf_state cimport (
    bnf_state_entry, bnf_state_header, bnf_state_read, bnf_state_table, bnf_state_write, bnf_store, bnf_store_close,
    bnf_store_from_file, bnf_store_from_memory, bnf_store_nowhere, bnf_store_to_file, bnf_store_to_memory)

cdef extern from "bnf_calls.h":
    pass

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef uint32_t llama_state_seq_flags
    enum:
        LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY, LLAMA_STATE_SEQ_FLAGS_ON_DEVICE

cdef enum:
    WHOLE = -1
    MAX_TOKENS = 1 << 28      # that a caller gives along

# ---- in and out ----

cdef bint enter(llama_context *ctx, const char *function) noexcept nogil:
    bnf_clear_error()
    return bnf_enter(ctx, function) == 0

# Entered, for a sequence that there is.
cdef bint enter_sequence(llama_context *ctx, llama_seq_id seq_id, llama_state_seq_flags flags, const char *function) noexcept nogil:
    if not enter(ctx, function):
        return False
    if seq_id < 0 or seq_id >= ctx.kv.n_seq_max:
        bnf_fail(BITNET_ERROR, b"%s: sequence %d, expected 0 to %d (n_seq_max - 1)", function, seq_id, ctx.kv.n_seq_max - 1)
    elif flags & ~<llama_state_seq_flags>(LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY | LLAMA_STATE_SEQ_FLAGS_ON_DEVICE):
        bnf_fail(BITNET_ERROR, b"%s: flags are %u, expected a sum of LLAMA_STATE_SEQ_FLAGS_*", function, flags)
    else:
        return True
    bnf_context_leave(ctx)
    return False

# The functions below have the context entered, and leave it.

cdef size_t measure(llama_context *ctx, llama_seq_id seq) noexcept nogil:
    cdef bnf_store store = bnf_store_nowhere()
    cdef size_t n = <size_t>bnf_state_write(ctx, seq, NULL, 0, &store)
    bnf_context_leave(ctx)
    return n

cdef size_t to_memory(llama_context *ctx, llama_seq_id seq, uint8_t *dst, size_t size, const char *function) noexcept nogil:
    cdef bnf_store store = bnf_store_to_memory(dst, size)
    cdef size_t n = 0
    if not bnf_is_null(dst, function, b"dst"):
        n = <size_t>bnf_state_write(ctx, seq, NULL, 0, &store)
    bnf_context_leave(ctx)
    return n

cdef size_t from_memory(llama_context *ctx, llama_seq_id seq, const uint8_t *src, size_t size, const char *function) noexcept nogil:
    cdef bnf_store store = bnf_store_from_memory(src, size)
    cdef size_t n = 0
    if not bnf_is_null(src, function, b"src"):
        n = <size_t>bnf_state_read(ctx, seq, NULL, 0, NULL, &store)
    bnf_context_leave(ctx)
    return n

cdef size_t to_file(llama_context *ctx, llama_seq_id seq, const char *path, const llama_token *tokens, size_t n_tokens,
                    const char *function) noexcept nogil:
    cdef bnf_store store
    cdef size_t n = 0
    if path == NULL or (tokens == NULL and n_tokens > 0) or n_tokens > MAX_TOKENS:
        bnf_fail(BITNET_ERROR, b"%s: %s", function,
                 b"path is NULL" if path == NULL else b"tokens is NULL" if tokens == NULL else b"too many tokens")
    elif bnf_store_to_file(&store, path) == 0:
        n = <size_t>bnf_state_write(ctx, seq, tokens, <uint32_t>n_tokens, &store)
        if bnf_store_close(&store, n > 0) != 0:
            n = 0
    bnf_context_leave(ctx)
    return n

cdef size_t from_file(llama_context *ctx, llama_seq_id seq, const char *path, llama_token *tokens, size_t n_max, size_t *n_out,
                      const char *function) noexcept nogil:
    cdef bnf_store store
    cdef uint64_t n_tokens = 0
    cdef size_t n = 0
    if not bnf_is_null(path, function, b"path") and bnf_store_from_file(&store, path) == 0:
        n = <size_t>bnf_state_read(ctx, seq, tokens, n_max, &n_tokens, &store)
        bnf_store_close(&store, False)
    if n > 0 and n_out != NULL:
        n_out[0] = <size_t>n_tokens
    bnf_context_leave(ctx)
    return n

# ---- the whole context ----

cdef public size_t llama_state_get_size(llama_context *ctx) noexcept nogil:
    return measure(ctx, WHOLE) if enter(ctx, b"llama_state_get_size") else 0

cdef public size_t llama_state_get_data(llama_context *ctx, uint8_t *dst, size_t size) noexcept nogil:
    return to_memory(ctx, WHOLE, dst, size, b"llama_state_get_data") if enter(ctx, b"llama_state_get_data") else 0

cdef public size_t llama_state_set_data(llama_context *ctx, const uint8_t *src, size_t size) noexcept nogil:
    return from_memory(ctx, WHOLE, src, size, b"llama_state_set_data") if enter(ctx, b"llama_state_set_data") else 0

cdef public bool llama_state_save_file(llama_context *ctx, const char *path_session, const llama_token *tokens,
                                       size_t n_token_count) noexcept nogil:
    return enter(ctx, b"llama_state_save_file") and to_file(ctx, WHOLE, path_session, tokens, n_token_count, b"llama_state_save_file") > 0

cdef public bool llama_state_load_file(llama_context *ctx, const char *path_session, llama_token *tokens_out, size_t n_token_capacity,
                                       size_t *n_token_count_out) noexcept nogil:
    return (enter(ctx, b"llama_state_load_file")
            and from_file(ctx, WHOLE, path_session, tokens_out, n_token_capacity, n_token_count_out, b"llama_state_load_file") > 0)

# ---- one sequence ----

cdef public size_t llama_state_seq_get_size_ext(llama_context *ctx, llama_seq_id seq_id, llama_state_seq_flags flags) noexcept nogil:
    return measure(ctx, seq_id) if enter_sequence(ctx, seq_id, flags, b"llama_state_seq_get_size") else 0

cdef public size_t llama_state_seq_get_size(llama_context *ctx, llama_seq_id seq_id) noexcept nogil:
    return llama_state_seq_get_size_ext(ctx, seq_id, 0)

cdef public size_t llama_state_seq_get_data_ext(llama_context *ctx, uint8_t *dst, size_t size, llama_seq_id seq_id,
                                                llama_state_seq_flags flags) noexcept nogil:
    if not enter_sequence(ctx, seq_id, flags, b"llama_state_seq_get_data"):
        return 0
    return to_memory(ctx, seq_id, dst, size, b"llama_state_seq_get_data")

cdef public size_t llama_state_seq_get_data(llama_context *ctx, uint8_t *dst, size_t size, llama_seq_id seq_id) noexcept nogil:
    return llama_state_seq_get_data_ext(ctx, dst, size, seq_id, 0)

cdef public size_t llama_state_seq_set_data_ext(llama_context *ctx, const uint8_t *src, size_t size, llama_seq_id dest_seq_id,
                                                llama_state_seq_flags flags) noexcept nogil:
    if not enter_sequence(ctx, dest_seq_id, flags, b"llama_state_seq_set_data"):
        return 0
    return from_memory(ctx, dest_seq_id, src, size, b"llama_state_seq_set_data")

cdef public size_t llama_state_seq_set_data(llama_context *ctx, const uint8_t *src, size_t size, llama_seq_id dest_seq_id) noexcept nogil:
    return llama_state_seq_set_data_ext(ctx, src, size, dest_seq_id, 0)

cdef public size_t llama_state_seq_save_file(llama_context *ctx, const char *filepath, llama_seq_id seq_id, const llama_token *tokens,
                                             size_t n_token_count) noexcept nogil:
    if not enter_sequence(ctx, seq_id, 0, b"llama_state_seq_save_file"):
        return 0
    return to_file(ctx, seq_id, filepath, tokens, n_token_count, b"llama_state_seq_save_file")

cdef public size_t llama_state_seq_load_file(llama_context *ctx, const char *filepath, llama_seq_id dest_seq_id, llama_token *tokens_out,
                                             size_t n_token_capacity, size_t *n_token_count_out) noexcept nogil:
    if not enter_sequence(ctx, dest_seq_id, 0, b"llama_state_seq_load_file"):
        return 0
    return from_file(ctx, dest_seq_id, filepath, tokens_out, n_token_capacity, n_token_count_out, b"llama_state_seq_load_file")

# ---- older names ----

# Programs ask a new context for it, and read the state of a full one into so many bytes: room for every page, every sequence's table of
# all pages, outputs of a batch as long as the cache, and a generator. Never less than the state there is, whose tables may be more.
cdef public size_t llama_get_state_size(llama_context *ctx) noexcept nogil:
    cdef size_t now = llama_state_get_size(ctx)
    cdef uint64_t most
    if now == 0:
        return 0
    most = <uint64_t>ctx.kv.n_layer * ctx.kv.n_head_kv * (ctx.kv.head_stride_k + ctx.kv.head_stride_v)
    most += sizeof(uint64_t) + BNF_KV_PAGE * sizeof(int32_t) + <uint64_t>ctx.kv.n_seq_max * sizeof(bnf_state_entry)
    most *= ctx.kv.n_pages
    most += <uint64_t>ctx.kv.n_seq_max * sizeof(bnf_state_table)
    most += <uint64_t>ctx.kv.n_ctx * (sizeof(int32_t) + ctx.model.hp.n_embd * sizeof(float))
    return max(now, <size_t>(sizeof(bnf_state_header) + most + sizeof(bnf_mt19937) + 2 * sizeof(uint64_t)))

# No size is given: dst has llama_get_state_size bytes, src what its header says.
cdef public size_t llama_copy_state_data(llama_context *ctx, uint8_t *dst) noexcept nogil:
    return llama_state_get_data(ctx, dst, <size_t>-1)

cdef public size_t llama_set_state_data(llama_context *ctx, const uint8_t *src) noexcept nogil:
    return llama_state_set_data(ctx, src, <size_t>-1)

cdef public size_t bitnet_state_seq_copy_data(llama_context *ctx, uint8_t *dst, llama_seq_id seq_id) noexcept nogil:
    return llama_state_seq_get_data(ctx, dst, <size_t>-1, seq_id)

cdef public size_t bitnet_state_seq_put_data(llama_context *ctx, const uint8_t *src, llama_seq_id dest_seq_id) noexcept nogil:
    return llama_state_seq_set_data(ctx, src, <size_t>-1, dest_seq_id)

cdef public bool llama_save_session_file(llama_context *ctx, const char *path_session, const llama_token *tokens,
                                         size_t n_token_count) noexcept nogil:
    return llama_state_save_file(ctx, path_session, tokens, n_token_count)

cdef public bool llama_load_session_file(llama_context *ctx, const char *path_session, llama_token *tokens_out, size_t n_token_capacity,
                                         size_t *n_token_count_out) noexcept nogil:
    return llama_state_load_file(ctx, path_session, tokens_out, n_token_capacity, n_token_count_out)

# ---- the cache of 2023: sequence 0, as bytes that the context keeps ----

cdef public size_t llama_get_kv_cache_size(llama_context *ctx) noexcept nogil:
    return measure(ctx, 0) if enter(ctx, b"llama_get_kv_cache_size") else 0

cdef public const uint8_t *llama_get_kv_cache(llama_context *ctx) noexcept nogil:
    cdef uint8_t *copy
    cdef size_t size = llama_get_kv_cache_size(ctx)
    if size == 0 or not enter(ctx, b"llama_get_kv_cache"):
        return NULL
    copy = <uint8_t *>bnf_alloc(size)
    if copy == NULL:
        bnf_context_leave(ctx)
        return NULL
    if to_memory(ctx, 0, copy, size, b"llama_get_kv_cache") == 0:      # leaves the context
        bnf_release(copy)
        return NULL
    bnf_release(ctx.kv_copy)
    ctx.kv_copy = copy
    return copy

cdef public void llama_set_kv_cache(llama_context *ctx, const uint8_t *kv_cache, size_t n_size, int n_token_count) noexcept nogil:
    if not enter(ctx, b"llama_set_kv_cache"):
        return
    if n_token_count < 0:
        bnf_fail(BITNET_ERROR, b"llama_set_kv_cache: n_token_count is %d, expected 0 or more", n_token_count)
        bnf_context_leave(ctx)
        return
    if from_memory(ctx, 0, kv_cache, n_size, b"llama_set_kv_cache") > 0 and bnf_context_enter(ctx):
        bnf_kv_seq_rm(&ctx.kv, 0, n_token_count, 0x7fffffff)
        bnf_context_leave(ctx)
