# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# What LoRA adapters add: y += scale * B (A x), with x as floats, before any rounding to 8 bits that the weights ask for. Both
# products are F32 products of the kernel table, so their sums have the one order of csrc/bnf_ops.h and the same bits everywhere.
# A x of a token is made whole by one thread (or by each for itself), where the operands are made; rows of B by who has the rows of y.
# May not: allocate. Next: forward.pyx and head.pyx, which call; adapter.pyx for the pairs. Source: LoRA, arXiv 2106.09685.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_context cimport bnf_embd_number, bnf_head_number, bnf_lora_pair, bnf_lora_third, bnf_lora_use, llama_context
from bitnet_ffi._core.bnf_ops cimport bnf_act, bnf_matrix, bnf_ops_t, BNF_ACT_F32
from bitnet_ffi._core.bnf_public cimport bool, GGML_TYPE_F32

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    CHUNK = 256      # rows of B u at a time: they stay in L1

cdef inline bnf_act one_row(const float *x, int64_t k) noexcept nogil:
    cdef bnf_act act
    memset(&act, 0, sizeof(act))
    act.kind = BNF_ACT_F32
    act.n_cols = 1
    act.k = k
    act.f = x
    act.f_stride = k
    return act

cdef inline float scale_of(const bnf_lora_use *use, const bnf_lora_pair *pair) noexcept nogil:
    return use.scale * use.adapter.alpha / <float>pair.b.k if use.adapter.alpha != 0 else use.scale

# Rows [row0, row1) of y += s * B u, of one token.
cdef void add_rows(const bnf_ops_t *ops, const bnf_matrix *b, const float *u, float s, float *y, long row0, long row1,
                   void *scratch) noexcept nogil:
    cdef bnf_act act = one_row(u, b.k)
    cdef bnf_matrix part = b[0]
    cdef float z[CHUNK]
    cdef long row = row0
    while row < row1:
        part.data = b.data + <uint64_t>row * b.row_size
        part.m = min(<long>CHUNK, row1 - row)
        ops.matmul[<int>GGML_TYPE_F32](&part, &act, z, CHUNK, 0, part.m, scratch)
        ops.scale(z, s, part.m)
        ops.add(y + row, z, part.m)
        row += CHUNK

cdef public void bnf_lora_down(const llama_context *ctx, int64_t number, const float *x, float *u, void *scratch) noexcept nogil:
    cdef const bnf_lora_pair *pair
    cdef bnf_act act
    cdef int32_t i
    for i in range(ctx.n_loras):
        pair = &ctx.loras[i].adapter.pairs[number]
        if pair.a.data != NULL:
            act = one_row(x, pair.a.k)
            ctx.model.ops.matmul[<int>GGML_TYPE_F32](&pair.a, &act, u + bnf_lora_third(number) * ctx.lora_rank + ctx.loras[i].first, pair.a.m,
                                                0, pair.a.m, scratch)

cdef public void bnf_lora_up(const llama_context *ctx, int64_t number, const float *u, int64_t n, float *y, int64_t m, long row0, long row1,
                             void *scratch) noexcept nogil:
    cdef const bnf_lora_pair *pair
    cdef int64_t at, t
    cdef int32_t i
    for i in range(ctx.n_loras):
        pair = &ctx.loras[i].adapter.pairs[number]
        if pair.a.data == NULL:
            continue
        at = bnf_lora_third(number) * ctx.lora_rank + ctx.loras[i].first
        for t in range(n):
            add_rows(ctx.model.ops, &pair.b, u + t * 3 * ctx.lora_rank + at, scale_of(&ctx.loras[i], pair), y + t * m, row0, row1, scratch)

# Here A is a table as the embedding is, and its row is A x.
cdef public void bnf_lora_embed(const llama_context *ctx, int32_t token, float *x, void *scratch) noexcept nogil:
    cdef const bnf_lora_pair *pair
    cdef const float *u
    cdef int32_t i
    for i in range(ctx.n_loras):
        pair = &ctx.loras[i].adapter.pairs[bnf_embd_number(ctx.model)]
        if pair.a.data != NULL:
            u = <const float *>(pair.a.data + <uint64_t>token * pair.a.row_size)
            add_rows(ctx.model.ops, &pair.b, u, scale_of(&ctx.loras[i], pair), x, 0, <long>pair.b.m, scratch)

cdef public bool bnf_lora_on_head(const llama_context *ctx) noexcept nogil:
    cdef int32_t i
    for i in range(ctx.n_loras):
        if ctx.loras[i].adapter.pairs[bnf_head_number(ctx.model)].a.data != NULL:
            return True
    return False
