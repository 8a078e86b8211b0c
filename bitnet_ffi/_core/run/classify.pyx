# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The classifier of a model that ranks: out = cls.output tanh(cls x) of the normed state of one token, each product with its bias, where
# either matrix may be absent. One thread computes it whole, when somebody asks: it is one more small layer, once a text.
# May not: choose the token. Next: api_embeddings.pyx, which does.
# Source of the order: llama.cpp's build_pooling, and RoBERTa's classification head that it names.

from libc.stdint cimport int64_t
from bitnet_ffi._core.bnf_calls cimport bnf_operand, bnf_operand_row
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_ops cimport bnf_act, bnf_ops_t, bnf_type_traits
from bitnet_ffi._core.bnf_types cimport bnf_linear

cdef extern from "bnf_calls.h":
    pass

cdef extern from "bnf_math.h" nogil:
    float bnf_tanhf(float x)

cdef void project(llama_context *ctx, const bnf_linear *linear, const float *x, float *y) noexcept nogil:
    cdef const bnf_ops_t *ops = ctx.model.ops
    cdef int kind = bnf_type_traits(linear.w.type).act
    cdef bnf_act act
    bnf_operand_row(ops, &ctx.scratch, kind, x, linear.w.k, 0, 1)
    act = bnf_operand(&ctx.scratch, kind, x, linear.w.k, 1)
    ops.matmul[linear.w.layout](&linear.w, &act, y, linear.w.m, 0, linear.w.m, ctx.scratch.thread)
    if linear.bias != NULL:
        ops.add(y, linear.bias, linear.w.m)

cdef public void bnf_classify(llama_context *ctx, const float *state, float *out) noexcept nogil:
    cdef const bnf_linear *cls = &ctx.model.cls
    cdef const bnf_linear *cls_out = &ctx.model.cls_out
    cdef float *y = ctx.scratch.y if cls_out.w.data != NULL else out
    cdef int64_t i
    if cls.w.data != NULL:
        project(ctx, cls, state, y)
        for i in range(cls.w.m):
            y[i] = bnf_tanhf(y[i])
        state = y
    if cls_out.w.data != NULL:
        project(ctx, cls_out, state, out)
