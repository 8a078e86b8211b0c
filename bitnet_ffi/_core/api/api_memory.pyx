# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# llama_memory_*: sequences of the KV cache as the client sees them. A llama_memory_t is the context's cache by its public
# name; every call checks the sequence ids and that no other thread is inside.
# May not: know pages. Next: kv_cache.pyx.

from libc.stdint cimport int32_t
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail, bnf_is_null
from bitnet_ffi._core.bnf_calls cimport bnf_enter, bnf_kv_clear, bnf_kv_move, bnf_kv_seq_cp, bnf_kv_seq_keep, bnf_kv_seq_rm
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, llama_context
from bitnet_ffi._core.bnf_public cimport bool, llama_memory_t, llama_pos, llama_seq_id, BITNET_ERROR

cdef extern from "bnf_calls.h":
    pass

cdef public llama_memory_t llama_get_memory(const llama_context *ctx) noexcept nogil:
    bnf_is_null(ctx, b"llama_get_memory", b"ctx")
    return <llama_memory_t>ctx

# The context of a memory, entered; NULL (with a last error) when that cannot be.
cdef llama_context *enter(llama_memory_t mem, const char *function) noexcept nogil:
    cdef llama_context *ctx = <llama_context *>mem
    bnf_clear_error()
    return NULL if bnf_is_null(mem, function, b"mem") or bnf_enter(ctx, function) != 0 else ctx

cdef bint is_sequence(const llama_context *ctx, llama_seq_id seq_id, const char *function) noexcept nogil:
    if seq_id < 0 or seq_id >= ctx.kv.n_seq_max:
        bnf_fail(BITNET_ERROR, b"%s: sequence %d, expected 0 to %d (n_seq_max - 1)", function, seq_id, ctx.kv.n_seq_max - 1)
        return False
    return True

# llama.h's convention for [p0, p1): a negative end is open.
cdef inline llama_pos from_pos(llama_pos p0) noexcept nogil:
    return p0 if p0 > 0 else 0

cdef inline llama_pos to_pos(llama_pos p1) noexcept nogil:
    return p1 if p1 >= 0 else 0x7fffffff

cdef public void llama_memory_clear(llama_memory_t mem, bool data) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_clear")
    if ctx == NULL:
        return
    bnf_kv_clear(&ctx.kv, data)
    bnf_context_leave(ctx)

# A negative seq_id means every sequence.
cdef public bool llama_memory_seq_rm(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_seq_rm")
    cdef bint ok = True
    cdef int32_t s
    if ctx == NULL:
        return False
    if seq_id < 0:
        for s in range(ctx.kv.n_seq_max):
            bnf_kv_seq_rm(&ctx.kv, s, from_pos(p0), to_pos(p1))
    elif is_sequence(ctx, seq_id, b"llama_memory_seq_rm"):
        bnf_kv_seq_rm(&ctx.kv, seq_id, from_pos(p0), to_pos(p1))
    else:
        ok = False
    bnf_context_leave(ctx)
    return ok

cdef public void llama_memory_seq_cp(llama_memory_t mem, llama_seq_id seq_id_src, llama_seq_id seq_id_dst, llama_pos p0,
                                     llama_pos p1) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_seq_cp")
    if ctx == NULL:
        return
    if is_sequence(ctx, seq_id_src, b"llama_memory_seq_cp") and is_sequence(ctx, seq_id_dst, b"llama_memory_seq_cp"):
        bnf_kv_seq_cp(&ctx.kv, seq_id_src, seq_id_dst, from_pos(p0), to_pos(p1))
    bnf_context_leave(ctx)

cdef public void llama_memory_seq_keep(llama_memory_t mem, llama_seq_id seq_id) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_seq_keep")
    if ctx == NULL:
        return
    if is_sequence(ctx, seq_id, b"llama_memory_seq_keep"):
        bnf_kv_seq_keep(&ctx.kv, seq_id)
    bnf_context_leave(ctx)

cdef public void llama_memory_seq_add(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, llama_pos delta) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_seq_add")
    if ctx == NULL:
        return
    if is_sequence(ctx, seq_id, b"llama_memory_seq_add"):
        bnf_kv_move(ctx, seq_id, from_pos(p0), to_pos(p1), delta, 1)
    bnf_context_leave(ctx)

cdef public void llama_memory_seq_div(llama_memory_t mem, llama_seq_id seq_id, llama_pos p0, llama_pos p1, int d) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_seq_div")
    if ctx == NULL:
        return
    if d < 1:
        bnf_fail(BITNET_ERROR, b"llama_memory_seq_div: d is %d, expected 1 or more", d)
    elif is_sequence(ctx, seq_id, b"llama_memory_seq_div"):
        bnf_kv_move(ctx, seq_id, from_pos(p0), to_pos(p1), 0, d)
    bnf_context_leave(ctx)

# Keys of all models that load can be rotated on.
cdef public bool llama_memory_can_shift(llama_memory_t mem) noexcept nogil:
    return not bnf_is_null(mem, b"llama_memory_can_shift", b"mem")

cdef public llama_pos llama_memory_seq_pos_min(llama_memory_t mem, llama_seq_id seq_id) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_seq_pos_min")
    cdef llama_pos pos = -1
    if ctx == NULL:
        return -1
    if is_sequence(ctx, seq_id, b"llama_memory_seq_pos_min"):
        pos = ctx.kv.seqs[seq_id].pos_min
    bnf_context_leave(ctx)
    return pos

cdef public llama_pos llama_memory_seq_pos_max(llama_memory_t mem, llama_seq_id seq_id) noexcept nogil:
    cdef llama_context *ctx = enter(mem, b"llama_memory_seq_pos_max")
    cdef llama_pos pos = -1
    if ctx == NULL:
        return -1
    if is_sequence(ctx, seq_id, b"llama_memory_seq_pos_max"):
        pos = ctx.kv.seqs[seq_id].pos_max
    bnf_context_leave(ctx)
    return pos
