# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Embeddings out: the normed states that a decode left, one a token, or pooled to one a sequence when somebody asks. And the
# switches that belong to them: embeddings or not, causal or not.
# May not: run the model. Next: forward.pyx, where a state is kept; head.pyx, which makes logits of the same states.

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_is_null
from bitnet_ffi._core.bnf_calls cimport bnf_classify, bnf_enter, bnf_need_output_row
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, bnf_peek_bool, bnf_poke_bool, llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_pooling_type_t, llama_seq_id, BITNET_ERROR, BITNET_ERROR_MEMORY, LLAMA_POOLING_TYPE_LAST, LLAMA_POOLING_TYPE_MEAN,
    LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_RANK)
from bitnet_ffi._core.bnf_types cimport bnf_batch

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    POOL_COLS = 64      # columns that are summed at a time

# ---- switches ----

cdef public void llama_set_embeddings(llama_context *ctx, bool embeddings) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_set_embeddings") == 0:
        ctx.params.embeddings = embeddings
        bnf_context_leave(ctx)

cdef public void llama_set_causal_attn(llama_context *ctx, bool causal_attn) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_set_causal_attn") == 0:
        bnf_poke_bool(&ctx.causal_attn, causal_attn)
        bnf_context_leave(ctx)

cdef public bool llama_get_causal_attn(const llama_context *ctx) noexcept nogil:
    return False if bnf_is_null(ctx, b"llama_get_causal_attn", b"ctx") else bnf_peek_bool(&ctx.causal_attn)

cdef public llama_pooling_type_t llama_pooling_type(const llama_context *ctx) noexcept nogil:
    return LLAMA_POOLING_TYPE_NONE if bnf_is_null(ctx, b"llama_pooling_type", b"ctx") else ctx.params.pooling_type

# ---- one a token ----

# Did the last decode leave embeddings of the kind that the function gives?
cdef bint has_embeddings(const llama_context *ctx, const char *function, bint pooled) noexcept nogil:
    if not ctx.embeddings_ready:
        bnf_fail(BITNET_ERROR, b"%s: no embeddings (nothing decoded since, or not asked for: llama_set_embeddings, params.embeddings)",
                 function)
        return False
    if pooled and ctx.params.pooling_type == LLAMA_POOLING_TYPE_NONE:
        bnf_fail(BITNET_ERROR, b"%s: the context does not pool (params.pooling_type); llama_get_embeddings_ith has one embedding a token",
                 function)
        return False
    if not pooled and ctx.params.pooling_type != LLAMA_POOLING_TYPE_NONE:
        bnf_fail(BITNET_ERROR, b"%s: the context pools (params.pooling_type); llama_get_embeddings_seq has one embedding a sequence",
                 function)
        return False
    return True

cdef public float *llama_get_embeddings(llama_context *ctx) noexcept nogil:
    cdef float *rows = NULL
    if bnf_enter(ctx, b"llama_get_embeddings") != 0:
        return NULL
    if has_embeddings(ctx, b"llama_get_embeddings", False):
        rows = ctx.hidden
    bnf_context_leave(ctx)
    return rows

cdef public float *llama_get_embeddings_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef float *embedding = NULL
    cdef int64_t row
    if bnf_enter(ctx, b"llama_get_embeddings_ith") != 0:
        return NULL
    if has_embeddings(ctx, b"llama_get_embeddings_ith", False):
        row = bnf_need_output_row(ctx, i, b"llama_get_embeddings_ith")
        if row >= 0:
            embedding = ctx.hidden + row * ctx.model.hp.n_embd
    bnf_context_leave(ctx)
    return embedding

# ---- one a sequence ----

cdef bint is_in(const bnf_batch *batch, int64_t i, int32_t seq) noexcept nogil:
    cdef int64_t j
    for j in range(batch.n_seq[i]):
        if batch.seq[i * batch.seq_stride + j] == seq:
            return True
    return False

# The first token of the sequence in the batch, or its last; -1: it has none. Positions grow with the index.
cdef int64_t end_token(const bnf_batch *batch, int32_t seq, bint last) noexcept nogil:
    cdef int64_t found = -1
    cdef int64_t i
    for i in range(batch.n_tokens):
        if is_in(batch, i, seq):
            found = i
            if not last:
                break
    return found

# The mean of the states of the sequence: sums in double, in order of the tokens, so that neither threads nor neighbours matter.
cdef void average(const llama_context *ctx, int32_t seq, float *out) noexcept nogil:
    cdef const bnf_batch *batch = &ctx.batch
    cdef int64_t n_embd = ctx.model.hp.n_embd
    cdef double sums[POOL_COLS]
    cdef const float *row
    cdef int64_t begin = 0
    cdef int64_t n_cols, n, i, c
    while begin < n_embd:
        n_cols = min(<int64_t>POOL_COLS, n_embd - begin)
        n = 0
        for c in range(n_cols):
            sums[c] = 0
        for i in range(batch.n_tokens):
            if is_in(batch, i, seq):
                row = ctx.hidden + batch.out_row[i] * n_embd + begin
                for c in range(n_cols):
                    sums[c] += row[c]
                n += 1
        for c in range(n_cols):
            out[begin + c] = <float>(sums[c] / <double>n)
        begin += n_cols

# Does the token that stands for a sequence come last? It must have seen the text: in causal attention the last one alone has.
cdef inline bint takes_last(const llama_context *ctx) noexcept nogil:
    return (ctx.params.pooling_type == LLAMA_POOLING_TYPE_LAST
            or (ctx.params.pooling_type == LLAMA_POOLING_TYPE_RANK and ctx.batch.causal))

# False: no token of the batch is in the sequence.
cdef bint pool(llama_context *ctx, int32_t seq, float *out) noexcept nogil:
    cdef int64_t n_embd = ctx.model.hp.n_embd
    cdef int64_t i = end_token(&ctx.batch, seq, takes_last(ctx))
    cdef const float *state
    if i < 0:
        return False
    state = ctx.hidden + ctx.batch.out_row[i] * n_embd
    if ctx.params.pooling_type == LLAMA_POOLING_TYPE_MEAN:
        average(ctx, seq, out)
    elif ctx.params.pooling_type == LLAMA_POOLING_TYPE_RANK:
        bnf_classify(ctx, state, out)
    else:
        memcpy(out, state, <size_t>n_embd * sizeof(float))
    return True

cdef float *pooled_row(llama_context *ctx, int32_t seq) noexcept nogil:
    cdef int64_t width = ctx.model.hp.n_cls_out if ctx.params.pooling_type == LLAMA_POOLING_TYPE_RANK else ctx.model.hp.n_embd
    cdef float *row
    if seq < 0 or seq >= ctx.kv.n_seq_max:
        bnf_fail(BITNET_ERROR, b"sequence %d, expected 0 to %d (n_seq_max - 1)", seq, ctx.kv.n_seq_max - 1)
        return NULL
    if ctx.pooled == NULL:
        ctx.pooled = <float *>bnf_alloc_array(<size_t>ctx.kv.n_seq_max, <size_t>width * sizeof(float))
        if ctx.pooled == NULL:
            bnf_fail(BITNET_ERROR_MEMORY, b"no memory for the embeddings of %d sequences", ctx.kv.n_seq_max)
            return NULL
    row = ctx.pooled + seq * width
    if not pool(ctx, seq, row):
        bnf_fail(BITNET_ERROR, b"llama_get_embeddings_seq(%d): the last batch had no token of that sequence", seq)
        return NULL
    return row

cdef public float *llama_get_embeddings_seq(llama_context *ctx, llama_seq_id seq_id) noexcept nogil:
    cdef float *embedding = NULL
    if bnf_enter(ctx, b"llama_get_embeddings_seq") != 0:
        return NULL
    if has_embeddings(ctx, b"llama_get_embeddings_seq", True):
        embedding = pooled_row(ctx, seq_id)
    bnf_context_leave(ctx)
    return embedding
