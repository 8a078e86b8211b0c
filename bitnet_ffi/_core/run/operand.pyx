# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Right operands of products: rows of floats as the kind that a weight type takes (struct bnf_act), in the context's scratch.
# One thread quantizes a row; after a barrier every thread describes all rows to its products.
# Next: forward.pyx and head.pyx, which multiply.

from libc.stdint cimport int64_t
from bitnet_ffi._core.bnf_context cimport bnf_scratch
from bitnet_ffi._core.bnf_ops cimport bnf_act, bnf_ops_t, BNF_ACT_F32, BNF_ACT_Q8_ROW, BNF_PAD64

cdef extern from "bnf_calls.h":
    pass

# Row t of n as that kind. Several rows are also cut into panels, where the table multiplies those.
cdef public void bnf_operand_row(const bnf_ops_t *ops, bnf_scratch *s, int kind, const float *x, int64_t k, int64_t t,
                                 int64_t n) noexcept nogil:
    cdef int64_t stride = BNF_PAD64(k)
    cdef int64_t cols = ops.panel_cols
    if kind == BNF_ACT_Q8_ROW:
        ops.quantize_row(x, k, s.act_q[kind] + t * stride, s.act_scale[kind] + t, s.act_sum[kind] + t,
                         s.act_sum16[kind] + t * (stride // 16))
        if cols > 0 and n > 1:
            ops.to_panel(s.act_q[kind] + t * stride, k, t % cols, s.panels + t // cols * cols * stride)
    elif kind != BNF_ACT_F32:
        ops.quantize_block(x, k, s.act_q[kind] + t * stride, s.act_scale[kind] + t * (stride // 32),
                           s.act_sum16[kind] + t * (stride // 16))

# n rows of x as that kind, for a product.
cdef public bnf_act bnf_operand(const bnf_scratch *s, int kind, const float *x, int64_t k, int64_t n) noexcept nogil:
    cdef bnf_act act
    act.kind = kind
    act.n_cols = n
    act.k = k
    act.f = x
    act.f_stride = k
    act.q = s.act_q[kind]
    act.q_stride = BNF_PAD64(k)
    act.scale = s.act_scale[kind]
    act.sum16 = s.act_sum16[kind]
    act.sum = s.act_sum[kind]
    act.panels = s.panels if kind == BNF_ACT_Q8_ROW and n > 1 else NULL
    return act
