# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The forward pass: one ubatch of tokens through the model, written as the paper writes it. All threads run `forward`
# together; a layer is five phases, and a barrier ends each. Who computes what never changes a bit: every output number is
# computed whole by one thread, in the order that csrc/bnf_ops.h fixes.
# May not: allocate, log, or know a weight format or an instruction set. Next: attention.pyx, operand.pyx.
# Source of the graphs: BitNet b1.58 (arXiv 2402.17764) and Llama as llama.cpp's and bitnet.cpp's GGUF files expect them.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_calls cimport (
    bnf_attention, bnf_attention_output, bnf_attention_plan, bnf_lora_down, bnf_lora_embed, bnf_lora_up, bnf_observe, bnf_observe_gate,
    bnf_observe_result, bnf_operand, bnf_operand_row, bnf_rope_and_store)
from bitnet_ffi._core.bnf_context cimport (
    bnf_control_of, bnf_linear_number, bnf_scratch, bnf_step, bnf_team_enter, bnf_team_leave, llama_context, BNF_ATTN_PAGES_ALONE)
from bitnet_ffi._core.bnf_math cimport bnf_sincos
from bitnet_ffi._core.bnf_observe cimport BNF_SEEN_ATTENTION, BNF_SEEN_DOWN, BNF_SEEN_GATED, BNF_SEEN_QKV
from bitnet_ffi._core.bnf_ops cimport bnf_act, bnf_dequantize, bnf_ops_t, bnf_type_traits
from bitnet_ffi._core.bnf_pool cimport bnf_pace_begin, bnf_pace_leave, bnf_pool_barrier, bnf_pool_range, bnf_pool_run
from bitnet_ffi._core.bnf_types cimport bnf_batch, bnf_hparams, bnf_layer, bnf_linear, llama_model, BNF_FFN_RELU2, BNF_TOKEN_EMBD

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    ABORTED = 2
    ROW_GRAIN = 16           # rows are cut at multiples of a cache line of output
    GATED_FLOATS = 1 << 16   # of gate, and as many of up, made at a time: 512 KiB
    LOWER_TOKENS = 32        # whose A x is made together: 32 x 2560 floats are 320 KiB
    FEW_TOKENS = 32          # of a step whose phases are shorter than a time slice
    STEP_COST = 4            # of a step without tokens, in tokens: reading the weights

# A thread's part in the step.
#
# One token: each thread makes its norms and operands for itself, into rows of its own; waiting for one thread to make them would
# take as long, and a barrier more. Several tokens: each thread makes those of its share for all, and a barrier follows. With two
# threads on Zen 4 a barrier takes 0.08 us and 0.4 us of waiting; a token's four norms in a layer take 14 us in the 2B-4T shape
# and 2.2 us in SmolLM2 135M: already of two tokens, half the norms are worth four barriers.
ctypedef struct member_t:
    bnf_step *step
    const bnf_ops_t *ops
    bnf_scratch *s        # the context's; for one token the thread's own view of it
    int ith
    int nth
    long share0           # tokens [share0, share1): the thread's share
    long share1
    long t0               # tokens [t0, t1): those whose norms and operands it makes
    long t1

cdef inline void *thread_memory(const member_t *me) noexcept nogil:
    return me.s.thread + <uint64_t>me.ith * me.s.thread_size

# ---- operands ----

cdef inline int act_of(const bnf_linear *linear) noexcept nogil:
    return bnf_type_traits(linear.w.type).act

# Row t of x, in each kind that the n products which read it take.
cdef void quantize_for(const member_t *me, const bnf_linear **products, int n, const float *x, int64_t t) noexcept nogil:
    cdef int64_t k = products[0].w.k
    cdef int i, j
    for i in range(n):
        j = 0
        while act_of(products[j]) != act_of(products[i]):
            j += 1
        if j == i:        # the first that takes this kind
            bnf_operand_row(me.ops, me.s, act_of(products[i]), x + t * k, k, t, me.step.n)

# A x of the adapters, for each product, of the tokens whose rows this thread makes: some at a time, which stay in the cache meanwhile.
cdef void lower_for(const member_t *me, const bnf_linear **products, int n, const float *x) noexcept nogil:
    cdef const llama_context *ctx = me.step.ctx
    cdef int64_t k = products[0].w.k
    cdef long t = me.t0
    cdef long end
    cdef int i
    while t < me.t1:
        end = min(t + LOWER_TOKENS, me.t1)
        for i in range(n):
            bnf_lora_down(ctx, bnf_linear_number(ctx.model, products[i]), x + t * k, end - t, me.s.u + t * 3 * ctx.lora_rank,
                          thread_memory(me))
        t = end

# x += y (unless NULL) and control (unless NULL), then norm(x), or x where the model has no such norm, as n products read it. Their
# rows of floats.
cdef const float *prepare(const member_t *me, const bnf_linear **products, int n, float *x, const float *y, const float *control,
                          const float *norm) noexcept nogil:
    cdef const float *rows = x if norm == NULL else me.s.h
    cdef int64_t k = products[0].w.k
    cdef long t
    for t in range(me.t0, me.t1):
        if y != NULL:
            me.ops.add(x + t * k, y + t * k, k)
        if control != NULL:
            me.ops.add(x + t * k, control, k)
        if norm != NULL:
            me.ops.rmsnorm(x + t * k, norm, k, me.step.ctx.model.hp.rms_eps, me.s.h + t * k)
        quantize_for(me, products, n, rows, t)
    if me.step.ctx.n_loras > 0:
        lower_for(me, products, n, rows)
    if me.step.n > 1:
        bnf_pool_barrier(me.step.ctx.pool)
    return rows

# ---- products ----

# Rows [row0, row1) of y = W x for all tokens, what adapters add to it, then the companion scale and the bias.
cdef void project_rows(const member_t *me, const bnf_linear *linear, const float *x, float *y, long row0, long row1) noexcept nogil:
    cdef bnf_act act = bnf_operand(me.s, act_of(linear), x, linear.w.k, me.step.n)
    cdef int64_t m = linear.w.m
    cdef int64_t t
    if row0 >= row1:
        return
    me.ops.matmul[linear.w.layout](&linear.w, &act, y, m, row0, row1, thread_memory(me))
    if me.step.ctx.n_loras > 0:
        bnf_lora_up(me.step.ctx, bnf_linear_number(me.step.ctx.model, linear), me.s.u, me.step.n, y, m, row0, row1)
    for t in range(me.step.n):
        if linear.post_scale != 1.0:
            me.ops.scale(y + t * m + row0, linear.post_scale, row1 - row0)
        if linear.bias != NULL:
            me.ops.add(y + t * m + row0, linear.bias + row0, row1 - row0)

# Bytes from row to row; a cost, so never 0.
cdef inline int64_t row_cost(const bnf_linear *linear) noexcept nogil:
    return max(<int64_t>1, <int64_t>linear.w.row_size)

# The first row from byte `at` of the weights on, on grain; 0 and m beyond the ends.
cdef inline long row_from(const bnf_linear *linear, int64_t at) noexcept nogil:
    cdef int64_t unit = row_cost(linear) * ROW_GRAIN
    return 0 if at <= 0 else min(linear.w.m, (at + unit - 1) // unit * ROW_GRAIN)

# Products of the same x as one: their weights, laid end to end, are cut into equal parts. A thread reads one long stretch of
# few matrices, and the small ones of keys and values are not cut to pieces. Tried for prompts, which other work on the machine delays: many
# small parts, taken from a counter; slower alone and hardly faster beside others (docs/BENCHMARKS.md, Beside other work).
cdef void project(const member_t *me, const bnf_linear **products, int n, const float *x, float **y) noexcept nogil:
    cdef int64_t size = 0
    cdef int64_t at = 0
    cdef int64_t begin, end
    cdef int i
    for i in range(n):
        size += products[i].w.m * row_cost(products[i])
    begin = size * me.ith // me.nth
    end = size * (me.ith + 1) // me.nth
    for i in range(n):
        project_rows(me, products[i], x, y[i], row_from(products[i], begin - at), row_from(products[i], end - at))
        at += products[i].w.m * row_cost(products[i])

# gate = act(gate x) * (up x): the same rows of both, and of many tokens so few at a time that they meet in the cache.
cdef void project_gated(const member_t *me, const bnf_layer *layer, const float *x) noexcept nogil:
    cdef const bnf_hparams *hp = &me.step.ctx.model.hp
    cdef bnf_scratch *s = me.s
    cdef int64_t t
    cdef long end, row0, row1
    cdef long n_rows = max(<long>1, <long>GATED_FLOATS // me.step.n // ROW_GRAIN) * ROW_GRAIN
    bnf_pool_range(hp.n_ff, ROW_GRAIN, me.ith, me.nth, &row0, &end)
    while row0 < end:
        row1 = min(row0 + n_rows, end)
        project_rows(me, &layer.gate, x, s.gate, row0, row1)
        project_rows(me, &layer.up, x, s.up, row0, row1)
        if me.step.ctx.observer != NULL:
            bnf_observe_gate(me.step, row0, row1)
        for t in range(me.step.n):
            gate_rows(me, s.gate + t * hp.n_ff + row0, s.up + t * hp.n_ff + row0, row1 - row0)
        row0 = row1

cdef inline void gate_rows(const member_t *me, float *gate, const float *up, long n) noexcept nogil:
    if me.step.ctx.model.hp.ffn_act == BNF_FFN_RELU2:
        me.ops.relu2_mul(gate, up, n, gate)
    else:
        me.ops.silu_mul(gate, up, n, gate)

# ---- the pass ----

# At a barrier: one thread shows a client what is there, the others wait. False: it wants no more.
cdef bint show(const member_t *me, int64_t layer, int moment) noexcept nogil:
    cdef bint goes_on
    if me.ith == 0 and not bnf_observe(me.step, me.s, layer, moment):
        me.step.aborted = 1
    bnf_pool_barrier(me.step.ctx.pool)
    goes_on = not me.step.aborted
    bnf_pool_barrier(me.step.ctx.pool)      # all have read it before it is written again
    return goes_on

# x = embedding of the token, or the one that the batch gives in its place.
cdef void embed(const member_t *me, int64_t t) noexcept nogil:
    cdef const llama_model *model = me.step.ctx.model
    cdef const bnf_batch *batch = me.step.batch
    cdef int64_t n_embd = model.hp.n_embd
    cdef int64_t i = me.step.begin + t
    if batch.token == NULL or batch.token[i] == BNF_TOKEN_EMBD:
        memcpy(me.s.x + t * n_embd, batch.embd + i * n_embd, <size_t>n_embd * sizeof(float))
    else:
        bnf_dequantize(model.token_embd.type, model.token_embd.data, model.token_embd.scale, batch.token[i] * n_embd, n_embd,
                       me.s.x + t * n_embd)
        if me.step.ctx.n_loras > 0:
            bnf_lora_embed(me.step.ctx, batch.token[i], me.s.x + t * n_embd)

# cos and sin of the angles of the token's position.
cdef void turn(const member_t *me, int64_t t) noexcept nogil:
    cdef const llama_context *ctx = me.step.ctx
    cdef int64_t n_rot = ctx.model.hp.n_rot
    cdef int64_t j
    cdef double sine, cosine
    for j in range(n_rot // 2):
        bnf_sincos(<double>me.step.batch.pos[me.step.begin + t] * ctx.rope_freqs[j], &sine, &cosine)
        me.s.cos_sin[t * n_rot + 2 * j] = <float>(cosine * ctx.rope_length)
        me.s.cos_sin[t * n_rot + 2 * j + 1] = <float>(sine * ctx.rope_length)

# Ends without the barrier behind its last product.
cdef void forward_layer(const member_t *me, int64_t index) noexcept nogil:
    cdef llama_context *ctx = me.step.ctx
    cdef const bnf_layer *layer = &ctx.model.layers[index]
    cdef bnf_scratch *s = me.s
    cdef const bnf_linear *qkv[3]
    cdef const bnf_linear *out[1]
    cdef const bnf_linear *gated[2]
    cdef const bnf_linear *down[1]
    cdef float *qkv_rows[3]
    cdef const float *x
    cdef long t
    qkv[0], qkv[1], qkv[2] = &layer.q, &layer.k, &layer.v
    out[0] = &layer.out
    gated[0], gated[1] = &layer.gate, &layer.up
    down[0] = &layer.down
    qkv_rows[0], qkv_rows[1], qkv_rows[2] = s.q, s.k, s.v

    x = prepare(me, qkv, 3, s.x, s.y if index > 0 else NULL, bnf_control_of(ctx, index - 1), layer.attn_norm)
    project(me, qkv, 3, x, qkv_rows)
    bnf_pool_barrier(ctx.pool)
    if ctx.observer != NULL and not show(me, index, BNF_SEEN_QKV):
        return
    if me.step.attention != BNF_ATTN_PAGES_ALONE:
        for t in range(me.share0, me.share1):
            bnf_rope_and_store(me.step, index, t)
        bnf_pool_barrier(ctx.pool)
    bnf_attention(me.step, index, me.ith, me.nth)
    bnf_pool_barrier(ctx.pool)

    for t in range(me.t0, me.t1):
        bnf_attention_output(me.step, t, me.nth, <float *>thread_memory(me), s.attn + t * layer.out.w.k)
    x = prepare(me, out, 1, s.attn, NULL, NULL, layer.attn_sub_norm)
    project(me, out, 1, x, &s.y)
    bnf_pool_barrier(ctx.pool)
    if ctx.observer != NULL and not show(me, index, BNF_SEEN_ATTENTION):
        return

    x = prepare(me, gated, 2, s.x, s.y, NULL, layer.ffn_norm)
    project_gated(me, layer, x)
    bnf_pool_barrier(ctx.pool)
    if ctx.observer != NULL and not show(me, index, BNF_SEEN_GATED):
        return
    x = prepare(me, down, 1, s.gate, NULL, NULL, layer.ffn_sub_norm)
    project(me, down, 1, x, &s.y)

# The normed state of the token, if it asked: head.pyx makes logits or a token of it.
cdef void keep_state(const member_t *me, int64_t t) noexcept nogil:
    cdef llama_context *ctx = me.step.ctx
    cdef const llama_model *model = ctx.model
    cdef int64_t n_embd = model.hp.n_embd
    cdef int64_t row = me.step.batch.out_row[me.step.begin + t]
    cdef const float *control = bnf_control_of(ctx, model.hp.n_layer - 1)
    if row >= 0:
        me.ops.add(me.s.x + t * n_embd, me.s.y + t * n_embd, n_embd)
        if control != NULL:
            me.ops.add(me.s.x + t * n_embd, control, n_embd)
        me.ops.rmsnorm(me.s.x + t * n_embd, model.output_norm, n_embd, model.hp.rms_eps, ctx.hidden + row * n_embd)

cdef void forward(void *arg, int ith, int nth) noexcept nogil:
    cdef bnf_step *step = <bnf_step *>arg
    cdef llama_context *ctx = step.ctx
    cdef member_t me
    cdef int64_t layer
    cdef long t
    me.step = step
    me.ops = ctx.model.ops
    me.s = &ctx.scratch if step.n > 1 else &ctx.scratch.own[ith]
    me.ith = ith
    me.nth = nth
    bnf_pool_range(step.n, 1, ith, nth, &me.share0, &me.share1)
    me.t0 = me.share0 if step.n > 1 else 0
    me.t1 = me.share1 if step.n > 1 else 1
    for t in range(me.t0, me.t1):
        embed(&me, t)
    for t in range(me.share0, me.share1):
        turn(&me, t)
    for layer in range(ctx.model.hp.n_layer):
        forward_layer(&me, layer)
        # Between two barriers, so that all threads see the same.
        if ith == 0 and ctx.abort_callback != NULL and ctx.abort_callback(ctx.abort_data):
            step.aborted = 1
        bnf_pool_barrier(ctx.pool)
        if step.aborted or (ctx.observer != NULL and not show(&me, layer, BNF_SEEN_DOWN)):
            return
    for t in range(me.share0, me.share1):
        keep_state(&me, t)

# Threads for the step: all that are wanted, or as many as other work on the machine leaves.
cdef int team_size(const bnf_step *step, int n_threads) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    if step.n <= FEW_TOKENS:
        return bnf_pace_begin(&ctx.pace, n_threads, STEP_COST + step.n, ctx.clock)
    bnf_pace_leave(&ctx.pace, ctx.clock)
    return n_threads

cdef public int bnf_forward(llama_context *ctx, const bnf_batch *batch, int32_t begin, int32_t end) noexcept nogil:
    cdef bnf_step step
    cdef int n_threads
    step.ctx = ctx
    step.batch = batch
    step.begin = begin
    step.n = end - begin
    step.aborted = 0
    n_threads = team_size(&step, bnf_team_enter(ctx, step.n > 1))
    bnf_attention_plan(&step, n_threads)
    bnf_pool_run(ctx.pool, n_threads, forward, &step)
    bnf_team_leave(ctx)
    if step.aborted:
        return ABORTED
    return bnf_observe_result(&step) if ctx.observer != NULL else 0
