# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# What LoRA adapters add: y += scale * B (A x), with x as floats, before any rounding to 8 bits that the weights ask for. A x is an F32
# product of the kernel table and B u its add_low_rank, so their sums have the orders of csrc/bnf_ops.h and the same bits everywhere.
# A x of a token is made whole by one thread (or by each for itself), where the operands are made; rows of B by who has the rows of y.
# One token reads as many numbers as it multiplies: beside SmolLM2's 98 MB an adapter of 20 (rank 16, F32) leaves 0.84 of the speed at best,
# when it comes as fast as the weights; it is 0.70, since some hundred short stretches do not (from the third level all of it takes 0.2 ms
# of 1.4). Tried on Zen 4 without gain: reading them ahead into L2 before each product; threads that share the rows of A x and meet
# before B, where each now makes all (what one thread has read, the other finds in the third level).
# May not: allocate. Next: forward.pyx and head.pyx, which call; adapter.pyx for the pairs. Source: LoRA, arXiv 2106.09685.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_context cimport bnf_embd_number, bnf_head_number, bnf_lora_pair, bnf_lora_third, llama_context
from bitnet_ffi._core.bnf_ops cimport bnf_act, BNF_ACT_F32
from bitnet_ffi._core.bnf_public cimport bool, GGML_TYPE_F32

cdef extern from "bnf_calls.h":
    pass

cdef inline const bnf_lora_pair *pair_of(const llama_context *ctx, int32_t i, int64_t number) noexcept nogil:
    return &ctx.loras[i].adapter.pairs[number]

# Where a row of u has the numbers of adapter i for that product.
cdef inline int64_t place_of(const llama_context *ctx, int32_t i, int64_t number) noexcept nogil:
    return bnf_lora_third(number) * ctx.lora_rank + ctx.loras[i].first

cdef public void bnf_lora_down(const llama_context *ctx, int64_t number, const float *x, int64_t n, float *u, void *scratch) noexcept nogil:
    cdef const bnf_lora_pair *pair
    cdef bnf_act act
    cdef int32_t i
    memset(&act, 0, sizeof(act))
    act.kind = BNF_ACT_F32
    act.n_cols = n
    act.f = x
    for i in range(ctx.n_loras):
        pair = pair_of(ctx, i, number)
        if pair.a.data != NULL:
            act.k = pair.a.k
            act.f_stride = pair.a.k
            ctx.model.ops.matmul[<int>GGML_TYPE_F32](&pair.a, &act, u + place_of(ctx, i, number), 3 * ctx.lora_rank, 0, pair.a.m, scratch)

cdef public void bnf_lora_up(const llama_context *ctx, int64_t number, const float *u, int64_t n, float *y, int64_t m, long row0,
                             long row1) noexcept nogil:
    cdef const bnf_lora_pair *pair
    cdef int32_t i
    for i in range(ctx.n_loras):
        pair = pair_of(ctx, i, number)
        if pair.a.data != NULL:
            ctx.model.ops.add_low_rank(&pair.b, u + place_of(ctx, i, number), 3 * ctx.lora_rank, n, ctx.loras[i].scale * pair.scale, y, m,
                                       row0, row1)

# Here A is a table as the embedding is, and its row is A x.
cdef public void bnf_lora_embed(const llama_context *ctx, int32_t token, float *x) noexcept nogil:
    cdef const bnf_lora_pair *pair
    cdef int32_t i
    for i in range(ctx.n_loras):
        pair = pair_of(ctx, i, bnf_embd_number(ctx.model))
        if pair.a.data != NULL:
            ctx.model.ops.add_low_rank(&pair.b, <const float *>(pair.a.data + <uint64_t>token * pair.a.row_size), 0, 1,
                                       ctx.loras[i].scale * pair.scale, x, 0, 0, pair.b.m)

cdef public bool bnf_lora_on_head(const llama_context *ctx) noexcept nogil:
    cdef int32_t i
    for i in range(ctx.n_loras):
        if pair_of(ctx, i, bnf_head_number(ctx.model)).a.data != NULL:
            return True
    return False
