# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The forward pass: one ubatch of tokens through the model, written as the paper writes it. All threads run `forward`
# together; each phase splits its rows, tokens or heads among them, and a barrier ends it. Who computes what never changes
# a bit: every output number is computed whole by one thread, in the order that csrc/bnf_ops.h fixes.
# May not: allocate, log, or know a weight format or an instruction set.
# Source of the graphs: BitNet b1.58 (arXiv 2402.17764) and Llama as llama.cpp's and bitnet.cpp's GGUF files expect them.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf cimport (
    bool, bnf_act, bnf_batch, bnf_dequantize, bnf_hparams, bnf_kv, bnf_layer, bnf_linear, bnf_operand, bnf_operand_row,
    bnf_ops_t, bnf_pool_barrier, bnf_pool_range, bnf_pool_run, bnf_scratch, bnf_seq,
    bnf_sincos, bnf_type_traits, llama_context, llama_model, BNF_ACT_F32, BNF_ACT_Q8_ROW, BNF_FFN_RELU2, BNF_KV_PAGE,
    BNF_PAD64)

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    ABORTED = 2
    ROW_GRAIN = 16        # rows are cut at multiples of a cache line of output

# What the threads share while one ubatch runs.
ctypedef struct step_t:
    llama_context *ctx
    const bnf_batch *batch
    int32_t begin         # tokens [begin, begin + n) of the batch
    int32_t n
    int32_t aborted       # written by thread 0 before a barrier, read by all after it

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

cdef void project(const step_t *step, const bnf_linear *linear, float *y, int ith, int nth) noexcept nogil:
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef long row0, row1
    bnf_pool_range(linear.w.m, ROW_GRAIN, ith, nth, &row0, &row1)
    project_rows(step.ctx.model.ops, s, linear, y, step.n, row0, row1, s.thread + <uint64_t>ith * s.thread_size)

# ---- attention ----

# Rotate q and k of token t, and store k and v in the page of each of its sequences.
cdef void rope_and_store(const step_t *step, int64_t layer, int64_t t) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef const bnf_ops_t *ops = ctx.model.ops
    cdef bnf_scratch *s = &ctx.scratch
    cdef bnf_kv *kv = &ctx.kv
    cdef int64_t i = step.begin + t
    cdef int32_t pos = step.batch.pos[i]
    cdef int32_t slot = pos % BNF_KV_PAGE
    cdef float *k = s.k + t * hp.n_head_kv * hp.dk
    cdef float *v = s.v + t * hp.n_head_kv * hp.dv
    cdef int32_t page, last = -1
    cdef int64_t j, head, at
    ops.rope(s.q + t * hp.n_head * hp.dk, hp.n_head, hp.dk, hp.n_rot, s.cos_sin + t * hp.n_rot, hp.rope_neox)
    ops.rope(k, hp.n_head_kv, hp.dk, hp.n_rot, s.cos_sin + t * hp.n_rot, hp.rope_neox)
    for j in range(step.batch.n_seq[i]):
        page = kv.seqs[step.batch.seq[i * step.batch.seq_stride + j]].pages[pos // BNF_KV_PAGE].page
        if page == last:
            continue      # sequences that share the page share the slot
        last = page
        for head in range(hp.n_head_kv):
            at = <int64_t>page * hp.n_head_kv + head
            ops.store_kv[kv.type_k](k + head * hp.dk, hp.dk,
                kv.k + layer * kv.layer_stride_k + at * kv.head_stride_k + slot * (kv.head_stride_k // BNF_KV_PAGE))
            ops.store_kv[kv.type_v](v + head * hp.dv, hp.dv,
                kv.v + layer * kv.layer_stride_v + at * kv.head_stride_v + slot * (kv.head_stride_v // BNF_KV_PAGE))

# Pages of token i's sequence that hold positions up to its own.
cdef inline int64_t n_visible_pages(const step_t *step, int64_t i) noexcept nogil:
    return step.batch.pos[i] // BNF_KV_PAGE + 1

# One page for the query heads of (token t, kv head); false when the token sees nothing there.
cdef bint attend_page(const step_t *step, int64_t layer, int64_t t, int64_t head, int64_t index,
                      float *m, float *l, float *o) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef bnf_kv *kv = &ctx.kv
    cdef int64_t i = step.begin + t
    cdef int32_t pos = step.batch.pos[i]
    cdef const bnf_seq *seq = &kv.seqs[step.batch.seq[i * step.batch.seq_stride]]
    cdef int64_t g = hp.n_head // hp.n_head_kv
    cdef uint64_t mask = seq.pages[index].mask
    cdef int64_t at
    if index == pos // BNF_KV_PAGE:
        mask &= ~<uint64_t>0 >> (BNF_KV_PAGE - 1 - pos % BNF_KV_PAGE)
    if mask == 0:
        return False
    at = <int64_t>seq.pages[index].page * hp.n_head_kv + head
    ctx.model.ops.attn_page[kv.type_k](
        ctx.scratch.q + (t * hp.n_head + head * g) * hp.dk, g, hp.dk, hp.dv,
        kv.k + layer * kv.layer_stride_k + at * kv.head_stride_k,
        kv.v + layer * kv.layer_stride_v + at * kv.head_stride_v, mask, step_scale(hp), m, l, o)
    return True

cdef inline float step_scale(const bnf_hparams *hp) noexcept nogil:
    return <float>1.0 / sqrtf(<float>hp.dk)

cdef extern from "<math.h>" nogil:
    float sqrtf(float x)      # IEEE: correctly rounded, the same everywhere

# The attention output of (token t, kv head), its pages in order of position. m, l, m2, l2: [g]; o2: [g][dv].
cdef void attend(const step_t *step, int64_t layer, int64_t t, int64_t head, float *work) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef int64_t g = hp.n_head // hp.n_head_kv
    cdef float *o = step.ctx.scratch.attn + (t * hp.n_head + head * g) * hp.dv
    cdef float *m = work
    cdef float *l = work + g
    cdef float *m2 = work + 2 * g
    cdef float *l2 = work + 3 * g
    cdef float *o2 = work + 4 * g
    cdef bint first = True
    cdef int64_t index
    for index in range(n_visible_pages(step, step.begin + t)):
        if first:
            first = not attend_page(step, layer, t, head, index, m, l, o)
        elif attend_page(step, layer, t, head, index, m2, l2, o2):
            ops.attn_merge(m, l, o, m2, l2, o2, g, hp.dv)
    divide_heads(o, l, g, hp.dv)

# o = o / l, per head: the end of the softmax.
cdef void divide_heads(float *o, const float *l, int64_t g, int64_t dv) noexcept nogil:
    cdef int64_t i, c
    for i in range(g):
        for c in range(dv):
            o[i * dv + c] /= l[i]

# Few tokens, long context: the (item, page) pairs are split among the threads and folded afterwards, page by page in the
# same order as `attend` does, hence to the same bits. Items are (token, kv head); pages of item j start at j * n_pages.
cdef void attend_split(const step_t *step, int64_t layer, int64_t n_pages, int ith, int nth) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t g = hp.n_head // hp.n_head_kv
    cdef int64_t n_items = <int64_t>step.n * hp.n_head_kv
    cdef int64_t item, index, t, head, at
    cdef long pair, pair0, pair1
    cdef float *m
    cdef float *l
    cdef float *o
    cdef bint first
    bnf_pool_range(n_items * n_pages, 1, ith, nth, &pair0, &pair1)
    for pair in range(pair0, pair1):
        item = pair // n_pages
        index = pair % n_pages
        t = item // hp.n_head_kv
        head = item % hp.n_head_kv
        s.partial_l[pair * g] = -1.0      # a sum of exponentials is positive: -1 says "saw nothing"
        if index < n_visible_pages(step, step.begin + t):
            attend_page(step, layer, t, head, index, s.partial_m + pair * g, s.partial_l + pair * g, s.partial_o + pair * g * hp.dv)
    bnf_pool_barrier(step.ctx.pool)
    item = ith
    while item < n_items:
        t = item // hp.n_head_kv
        head = item % hp.n_head_kv
        o = s.attn + (t * hp.n_head + head * g) * hp.dv
        m = NULL
        l = NULL
        first = True
        for index in range(n_pages):
            at = item * n_pages + index
            if s.partial_l[at * g] < 0:
                continue
            if first:
                first = False
                m = s.partial_m + at * g
                l = s.partial_l + at * g
                memcpy(o, s.partial_o + at * g * hp.dv, <size_t>(g * hp.dv) * sizeof(float))
            else:
                ops.attn_merge(m, l, o, s.partial_m + at * g, s.partial_l + at * g, s.partial_o + at * g * hp.dv, g, hp.dv)
        divide_heads(o, l, g, hp.dv)
        item += nth

cdef void attention(const step_t *step, int64_t layer, int ith, int nth) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t n_items = <int64_t>step.n * hp.n_head_kv
    cdef int64_t n_pages = 0
    cdef int64_t item, t
    for t in range(step.n):
        n_pages = max(n_pages, n_visible_pages(step, step.begin + t))
    if nth > 1 and n_items < 4 * nth and n_pages > 1 and n_items * n_pages <= s.n_split:
        attend_split(step, layer, n_pages, ith, nth)
        return
    # Later tokens see more: dealing items out in turn balances a prompt.
    item = ith
    while item < n_items:
        attend(step, layer, item // hp.n_head_kv, item % hp.n_head_kv, <float *>(s.thread + <uint64_t>ith * s.thread_size))
        item += nth

# ---- phases over tokens ----

# x = embedding of the token; cos and sin of its position's angles.
cdef void embed(const step_t *step, int64_t t) noexcept nogil:
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
cdef void norm_residual(const step_t *step, bool add, const float *norm, const bnf_linear *a, const bnf_linear *b,
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
cdef void norm_attention(const step_t *step, const bnf_layer *layer, int64_t t) noexcept nogil:
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t width = layer.out.w.k
    if layer.attn_sub_norm != NULL:
        ops.rmsnorm(s.attn + t * width, layer.attn_sub_norm, width, step.ctx.model.hp.rms_eps, s.h + t * width)
    else:
        memcpy(s.h + t * width, s.attn + t * width, <size_t>width * sizeof(float))
    quantize_for(ops, s, &layer.out, &layer.out, &layer.out, width, t, step.n)

# h = act(gate) * up (BitNet: normed), as an operand of the down projection.
cdef void activate(const step_t *step, const bnf_layer *layer, int64_t t) noexcept nogil:
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

cdef void forward_layer(step_t *step, int64_t index, int ith, int nth) noexcept nogil:
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
    for t in range(t0, t1):
        rope_and_store(step, index, t)
    bnf_pool_barrier(ctx.pool)
    attention(step, index, ith, nth)
    bnf_pool_barrier(ctx.pool)
    for t in range(t0, t1):
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
cdef void keep_states(const step_t *step, int64_t t0, int64_t t1) noexcept nogil:
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
    cdef step_t *step = <step_t *>arg
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
    cdef step_t step
    step.ctx = ctx
    step.batch = batch
    step.begin = begin
    step.n = end - begin
    step.aborted = 0
    bnf_pool_run(ctx.pool, ctx.n_threads if step.n == 1 else ctx.n_threads_batch, forward, &step)
    return ABORTED if step.aborted else 0
