# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The forward pass: one ubatch of tokens through the model, written as the paper writes it. All threads run `forward`
# together; each phase splits its rows, tokens or heads among them, and a barrier ends it. Who computes what never changes
# a bit: every output number is computed whole by one thread, in the order that csrc/bnf_ops.h fixes.
# May not: allocate, log, or know a weight format or an instruction set. Next: attention.pyx, operand.pyx.
# Source of the graphs: BitNet b1.58 (arXiv 2402.17764) and Llama as llama.cpp's and bitnet.cpp's GGUF files expect them.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf cimport (
    bool, bnf_act, bnf_attention, bnf_attention_output, bnf_attention_plan, bnf_batch, bnf_dequantize, bnf_hparams,
    bnf_layer, bnf_linear, bnf_operand, bnf_operand_row, bnf_ops_t, bnf_pool_barrier, bnf_pool_range, bnf_pool_run,
    bnf_rope_and_store, bnf_scratch, bnf_sincos, bnf_step, bnf_type_traits, llama_context, llama_model,
    BNF_ATTN_PAGES_ALONE, BNF_FFN_RELU2)

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    ABORTED = 2
    ROW_GRAIN = 16        # rows are cut at multiples of a cache line of output

# ---- operands ----

cdef inline int act_of(const bnf_linear *linear) noexcept nogil:
    return bnf_type_traits(linear.w.type).act

# Token t's row of h, in each kind that the products after it take.
cdef void quantize_for(const bnf_ops_t *ops, bnf_scratch *s, const bnf_linear *a, const bnf_linear *b, const bnf_linear *c,
                       int64_t k, int64_t t, int64_t n) noexcept nogil:
    cdef int kind_a = act_of(a)
    cdef int kind_b = act_of(b)
    cdef int kind_c = act_of(c)
    bnf_operand_row(ops, s, kind_a, s.h + t * k, k, t, n)
    if kind_b != kind_a:
        bnf_operand_row(ops, s, kind_b, s.h + t * k, k, t, n)
    if kind_c != kind_a and kind_c != kind_b:
        bnf_operand_row(ops, s, kind_c, s.h + t * k, k, t, n)

# ---- products ----

# Rows [row0, row1) of y = W h for n tokens, then the companion scale and the bias.
cdef void project_rows(const bnf_ops_t *ops, bnf_scratch *s, const bnf_linear *linear, float *y, int64_t n,
                       long row0, long row1, void *scratch) noexcept nogil:
    cdef bnf_act act = bnf_operand(s, act_of(linear), s.h, linear.w.k, n)
    cdef int64_t m = linear.w.m
    cdef int64_t t
    if row0 >= row1:
        return
    ops.matmul[linear.w.layout](&linear.w, &act, y, m, row0, row1, scratch)
    for t in range(n):
        if linear.post_scale != 1.0:
            ops.scale(y + t * m + row0, linear.post_scale, row1 - row0)
        if linear.bias != NULL:
            ops.add(y + t * m + row0, linear.bias + row0, row1 - row0)

cdef void project(const bnf_step *step, const bnf_linear *linear, float *y, int ith, int nth) noexcept nogil:
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef long row0, row1
    bnf_pool_range(linear.w.m, ROW_GRAIN, ith, nth, &row0, &row1)
    project_rows(step.ctx.model.ops, s, linear, y, step.n, row0, row1, s.thread + <uint64_t>ith * s.thread_size)

# ---- phases over tokens ----

# x = embedding of the token; cos and sin of its position's angles.
cdef void embed(const bnf_step *step, int64_t t) noexcept nogil:
    cdef const llama_model *model = step.ctx.model
    cdef const bnf_hparams *hp = &model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t i = step.begin + t
    cdef int64_t j
    cdef double sine, cosine
    bnf_dequantize(model.token_embd.type, model.token_embd.data, model.token_embd.scale,
                   <int64_t>step.batch.token[i] * hp.n_embd, hp.n_embd, s.x + t * hp.n_embd)
    for j in range(hp.n_rot // 2):
        bnf_sincos(<double>step.batch.pos[i] * step.ctx.rope_freqs[j], &sine, &cosine)
        s.cos_sin[t * hp.n_rot + 2 * j] = <float>cosine
        s.cos_sin[t * hp.n_rot + 2 * j + 1] = <float>sine

# x += what the block before left in y, then h = norm(x) as an operand of the products that follow.
cdef void norm_residual(const bnf_step *step, bool add, const float *norm, const bnf_linear *a, const bnf_linear *b,
                        const bnf_linear *c, int64_t t) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t n_embd = hp.n_embd
    if add:
        ops.add(s.x + t * n_embd, s.y + t * n_embd, n_embd)
    ops.rmsnorm(s.x + t * n_embd, norm, n_embd, hp.rms_eps, s.h + t * n_embd)
    quantize_for(ops, s, a, b, c, n_embd, t, step.n)

# h = attention output (BitNet: normed), as an operand of the output projection.
cdef void norm_attention(const bnf_step *step, const bnf_layer *layer, int64_t t) noexcept nogil:
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t width = layer.out.w.k
    if layer.attn_sub_norm != NULL:
        ops.rmsnorm(s.attn + t * width, layer.attn_sub_norm, width, step.ctx.model.hp.rms_eps, s.h + t * width)
    else:
        memcpy(s.h + t * width, s.attn + t * width, <size_t>width * sizeof(float))
    quantize_for(ops, s, &layer.out, &layer.out, &layer.out, width, t, step.n)

# h = act(gate) * up (BitNet: normed), as an operand of the down projection.
cdef void activate(const bnf_step *step, const bnf_layer *layer, int64_t t) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t n_ff = hp.n_ff
    cdef float *h = s.h + t * n_ff
    if hp.ffn_act == BNF_FFN_RELU2:
        ops.relu2_mul(s.gate + t * n_ff, s.up + t * n_ff, n_ff, h)
    else:
        ops.silu_mul(s.gate + t * n_ff, s.up + t * n_ff, n_ff, h)
    if layer.ffn_sub_norm != NULL:
        ops.rmsnorm(h, layer.ffn_sub_norm, n_ff, hp.rms_eps, h)
    quantize_for(ops, s, &layer.down, &layer.down, &layer.down, n_ff, t, step.n)

# ---- the pass ----

cdef void forward_layer(bnf_step *step, int64_t index, int ith, int nth) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const bnf_layer *layer = &ctx.model.layers[index]
    cdef bnf_scratch *s = &ctx.scratch
    cdef long t, t0, t1
    bnf_pool_range(step.n, 1, ith, nth, &t0, &t1)

    for t in range(t0, t1):
        norm_residual(step, index > 0, layer.attn_norm, &layer.q, &layer.k, &layer.v, t)
    bnf_pool_barrier(ctx.pool)
    project(step, &layer.q, s.q, ith, nth)
    project(step, &layer.k, s.k, ith, nth)
    project(step, &layer.v, s.v, ith, nth)
    bnf_pool_barrier(ctx.pool)
    if step.attention != BNF_ATTN_PAGES_ALONE:
        for t in range(t0, t1):
            bnf_rope_and_store(step, index, t)
        bnf_pool_barrier(ctx.pool)
    bnf_attention(step, index, ith, nth)
    bnf_pool_barrier(ctx.pool)
    for t in range(t0, t1):
        bnf_attention_output(step, t, nth, <float *>(s.thread + <uint64_t>ith * s.thread_size), s.attn + t * layer.out.w.k)
        norm_attention(step, layer, t)
    bnf_pool_barrier(ctx.pool)
    project(step, &layer.out, s.y, ith, nth)
    bnf_pool_barrier(ctx.pool)

    for t in range(t0, t1):
        norm_residual(step, True, layer.ffn_norm, &layer.gate, &layer.up, &layer.up, t)
    bnf_pool_barrier(ctx.pool)
    project(step, &layer.gate, s.gate, ith, nth)
    project(step, &layer.up, s.up, ith, nth)
    bnf_pool_barrier(ctx.pool)
    for t in range(t0, t1):
        activate(step, layer, t)
    bnf_pool_barrier(ctx.pool)
    project(step, &layer.down, s.y, ith, nth)
    bnf_pool_barrier(ctx.pool)

# The normed states of the rows that asked: head.pyx makes logits or tokens of them.
cdef void keep_states(const bnf_step *step, int64_t t0, int64_t t1) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const llama_model *model = ctx.model
    cdef bnf_scratch *s = &ctx.scratch
    cdef int64_t n_embd = model.hp.n_embd
    cdef int64_t t, row
    for t in range(t0, t1):
        row = step.batch.out_row[step.begin + t]
        if row >= 0:
            model.ops.add(s.x + t * n_embd, s.y + t * n_embd, n_embd)
            model.ops.rmsnorm(s.x + t * n_embd, model.output_norm, n_embd, model.hp.rms_eps, ctx.hidden + row * n_embd)

cdef void forward(void *arg, int ith, int nth) noexcept nogil:
    cdef bnf_step *step = <bnf_step *>arg
    cdef llama_context *ctx = step.ctx
    cdef int64_t layer
    cdef long t, t0, t1
    bnf_pool_range(step.n, 1, ith, nth, &t0, &t1)
    for t in range(t0, t1):
        embed(step, t)
    for layer in range(ctx.model.hp.n_layer):
        if ith == 0 and ctx.abort_callback != NULL and ctx.abort_callback(ctx.abort_data):
            step.aborted = 1
        bnf_pool_barrier(ctx.pool)
        if step.aborted:
            return
        forward_layer(step, layer, ith, nth)
    keep_states(step, t0, t1)

cdef public int bnf_forward(llama_context *ctx, const bnf_batch *batch, int32_t begin, int32_t end) noexcept nogil:
    cdef bnf_step step
    step.ctx = ctx
    step.batch = batch
    step.begin = begin
    step.n = end - begin
    step.aborted = 0
    cdef int n_threads = ctx.n_threads if step.n == 1 else ctx.n_threads_batch
    bnf_attention_plan(&step, n_threads)
    bnf_pool_run(ctx.pool, n_threads, forward, &step)
    return ABORTED if step.aborted else 0
