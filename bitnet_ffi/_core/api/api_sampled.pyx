# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Backend sampling as llama.h has it: llama_set_sampler, and the getters of what the decode sampled, which answer what llama.cpp's do.
# Next: sampled.pyx.

from libc.stdint cimport int32_t, int64_t, uint32_t
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error
from bitnet_ffi._core.bnf_calls cimport bnf_enter, bnf_need_output_row, bnf_output_row
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, llama_context
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler, llama_token, LLAMA_TOKEN_NULL
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_sampled, bnf_sampled_attach, bnf_sampled_logits, bnf_sampled_row, bnf_sampled_row_t, bnf_sampled_show)

cdef extern from "bnf_sampled.h" nogil:
    pass


cdef public bool llama_set_sampler(llama_context *ctx, int32_t seq_id, llama_sampler *smpl) noexcept nogil:
    cdef bint done
    bnf_clear_error()
    if bnf_enter(ctx, "llama_set_sampler") != 0:
        return False
    done = bnf_sampled_attach(ctx, seq_id, smpl) == 0
    bnf_context_leave(ctx)
    return done


# ---- the getters ----

cdef struct asked:
    int64_t at                    # row
    const bnf_sampled_row_t *row  # NULL: nothing was sampled for it
    bint any                      # the last decode sampled something


# Enter the context and find the row. False + last error: nothing to leave.
cdef bint ask(llama_context *ctx, int32_t i, const char *function, asked *what) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, function) != 0:
        return False
    what.any = ctx.sampled != NULL and (<const bnf_sampled *>ctx.sampled).n_rows > 0
    what.at = bnf_need_output_row(ctx, i, function) if what.any else bnf_output_row(ctx, i)
    what.row = bnf_sampled_row(ctx, what.at)
    if what.any and what.at < 0:
        bnf_context_leave(ctx)
        return False
    return True


cdef public llama_token llama_get_sampled_token_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef llama_token token = LLAMA_TOKEN_NULL
    cdef asked what
    if not ask(ctx, i, "llama_get_sampled_token_ith", &what):
        return LLAMA_TOKEN_NULL
    if what.row != NULL:
        token = what.row.token
    bnf_context_leave(ctx)
    return token


cdef public float *llama_get_sampled_probs_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef const bnf_sampled_row_t *row = NULL
    cdef asked what
    if not ask(ctx, i, "llama_get_sampled_probs_ith", &what):
        return NULL
    if what.row != NULL and what.row.has_p:
        row = bnf_sampled_show(ctx, what.at)
    bnf_context_leave(ctx)
    return row.probs if row != NULL else NULL


cdef public float *llama_get_sampled_logits_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef float *logits = NULL
    cdef asked what
    if not ask(ctx, i, "llama_get_sampled_logits_ith", &what):
        return NULL
    if what.row != NULL:
        logits = bnf_sampled_logits(ctx, what.at)
    bnf_context_leave(ctx)
    return logits


# All ids, in order: for rows whose candidates have no order of their own, and as in llama.cpp where nothing was sampled.
cdef llama_token *every_id(llama_context *ctx) noexcept nogil:
    cdef int32_t i
    if ctx.every_id == NULL:
        ctx.every_id = <int32_t *>bnf_alloc_array(<size_t>ctx.model.hp.n_vocab, sizeof(int32_t))
        for i in range(ctx.model.hp.n_vocab if ctx.every_id != NULL else 0):
            ctx.every_id[i] = i
    return ctx.every_id


cdef public llama_token *llama_get_sampled_candidates_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef const bnf_sampled_row_t *row
    cdef llama_token *ids
    cdef asked what
    if not ask(ctx, i, "llama_get_sampled_candidates_ith", &what):
        return NULL
    if what.row != NULL and what.row.listed:
        row = bnf_sampled_show(ctx, what.at)
        ids = row.ids if row != NULL else NULL
    else:
        ids = every_id(ctx)
    bnf_context_leave(ctx)
    return ids


cdef uint32_t length_of(const llama_context *ctx, const bnf_sampled_row_t *row) noexcept nogil:
    return <uint32_t>row.n_all if row.listed else <uint32_t>ctx.model.hp.n_vocab


cdef public uint32_t llama_get_sampled_probs_count_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef uint32_t n = 0
    cdef asked what
    if not ask(ctx, i, "llama_get_sampled_probs_count_ith", &what):
        return 0
    if what.row != NULL and what.row.has_p:
        n = length_of(ctx, what.row)
    bnf_context_leave(ctx)
    return n


# Of llama_get_logits_ith too: n_vocab where no chain ran at all.
cdef public uint32_t llama_get_sampled_logits_count_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef uint32_t n = 0
    cdef asked what
    if not ask(ctx, i, "llama_get_sampled_logits_count_ith", &what):
        return 0
    if what.row != NULL:
        n = length_of(ctx, what.row)
    elif not what.any:
        n = <uint32_t>ctx.model.hp.n_vocab
    bnf_context_leave(ctx)
    return n


cdef public uint32_t llama_get_sampled_candidates_count_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef uint32_t n = 0
    cdef asked what
    if not ask(ctx, i, "llama_get_sampled_candidates_count_ith", &what):
        return 0
    if what.row != NULL and what.row.listed:
        n = <uint32_t>what.row.n_all
    bnf_context_leave(ctx)
    return n
