# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# What a client's cb_eval sees of a decode: the values of the forward pass, by the names that llama.cpp gives them, each with what it was
# computed of. They are the rows that the engine works with. What it never holds in a row of its own (a norm before its weight, a product
# before its bias, a sum that the next phase makes) is computed here, by the same operation of the kernel table: the same bits.
# May not: change what the pass reads. Next: forward.pyx for the moments, include/bitnet_ffi.h at cb_eval for what is promised.
# Source of names and order: llama.cpp's src/models/llama.cpp and bitnet.cpp, October 2026; for bitnet-b1.58, build_bitnet_158 of its forks.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memset, strlen
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_tensor, bnf_head_rows, bnf_operand
from bitnet_ffi._core.bnf_context cimport bnf_control_of, bnf_linear_number, bnf_scratch, bnf_step, llama_context
from bitnet_ffi._core.bnf_ggml cimport (
    bnf_tensor_describe, ggml_tensor, GGML_GLU_OP_SWIGLU, GGML_OP_ADD, GGML_OP_FLASH_ATTN_EXT, GGML_OP_GET_ROWS, GGML_OP_GLU, GGML_OP_MUL,
    GGML_OP_MUL_MAT, GGML_OP_RESHAPE, GGML_OP_RMS_NORM, GGML_OP_ROPE, GGML_OP_SQR, GGML_OP_UNARY, GGML_UNARY_OP_RELU)
from bitnet_ffi._core.bnf_observe cimport (
    bnf_observer, BNF_OBSERVER_ROOMS, BNF_SEEN_ATTENTION, BNF_SEEN_GATED, BNF_SEEN_QKV)
from bitnet_ffi._core.bnf_ops cimport bnf_act, bnf_type_traits
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_MEMORY, GGML_TYPE_F32, GGML_TYPE_I32
from bitnet_ffi._core.bnf_types cimport (
    bnf_batch, bnf_hparams, bnf_layer, bnf_linear, bnf_tensor, llama_model, BNF_ARCH_BITNET, BNF_ARCH_BITNET_B158, BNF_ARCH_LLAMA,
    BNF_FFN_RELU2, BNF_TOKEN_EMBD)

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    ABORTED = 2
    NAME_SIZE = 64

# A moment of the pass.
ctypedef struct view_t:
    bnf_observer *o
    const llama_context *ctx
    const bnf_step *step
    const bnf_scratch *s
    int64_t layer
    bint chosen          # only tokens that asked, as llama.cpp has it behind the attention of the last layer
    int64_t n            # rows shown

# ---- one tensor ----

cdef float *room(const view_t *v) noexcept nogil:
    v.o.n_rooms += 1
    return v.o.room[v.o.n_rooms - 1]

# Of k numbers for each token of the step those that are shown.
cdef const float *shown(const view_t *v, const float *x, int64_t k) noexcept nogil:
    cdef float *rows
    cdef int64_t n = 0
    cdef int64_t t
    if not v.chosen:
        return x
    rows = room(v)
    for t in range(v.step.n):
        if v.step.batch.out_row[v.step.begin + t] >= 0:
            memcpy(rows + n * k, x + t * k, <size_t>k * sizeof(float))
            n += 1
    return rows

# The tensor "name-layer" (layer -1: "name"), n rows of k numbers.
cdef void describe(ggml_tensor *tensor, int32_t type, const char *name, int64_t layer, const void *x, int64_t k, int64_t n) noexcept nogil:
    cdef char text[NAME_SIZE]
    cdef int64_t ne[4]
    ne[0], ne[1], ne[2], ne[3] = k, n, 1, 1
    if layer >= 0:
        snprintf(text, NAME_SIZE, b"%s-%d", name, <int>layer)
    else:
        snprintf(text, NAME_SIZE, b"%s", name)
    bnf_tensor_describe(tensor, type, ne, x, text, strlen(text))

# The next tensor to ask about; its sources follow.
cdef void value(const view_t *v, const char *name, int64_t layer, const float *x, int64_t k) noexcept nogil:
    describe(&v.o.value, GGML_TYPE_F32, name, layer, x, k, v.n)

cdef void source(const view_t *v, int i, const char *name, int64_t layer, const float *x, int64_t k) noexcept nogil:
    describe(&v.o.src[i], GGML_TYPE_F32, name, layer, x, k, v.n)
    v.o.value.src[i] = &v.o.src[i]

cdef void integers(const view_t *v, int i, const char *name, const int32_t *x) noexcept nogil:
    describe(&v.o.src[i], GGML_TYPE_I32, name, -1, x, v.n, 1)
    v.o.value.src[i] = &v.o.src[i]

# A tensor of the file, by its name there.
cdef void weight(const view_t *v, int i, const char *name) noexcept nogil:
    cdef const bnf_tensor *t = bnf_gguf_tensor(v.ctx.model.gguf, name)
    if t != NULL:
        bnf_tensor_describe(&v.o.src[i], t.type, t.ne, t.data, name, strlen(name))
        v.o.value.src[i] = &v.o.src[i]

cdef void layer_weight(const view_t *v, int i, const char *part, const char *end) noexcept nogil:
    cdef char name[NAME_SIZE]
    snprintf(name, NAME_SIZE, b"blk.%d.%s.%s", <int>v.layer, part, end)
    weight(v, i, name)

# Rows of n_heads heads as a tensor of three axes.
cdef void as_heads(ggml_tensor *t, int64_t n_heads) noexcept nogil:
    t.ne[2] = t.ne[1]
    t.ne[1] = n_heads
    t.ne[0] //= n_heads
    t.nb[1] = t.nb[0] * <size_t>t.ne[0]
    t.nb[2] = t.nb[1] * <size_t>n_heads
    t.nb[3] = t.nb[2] * <size_t>t.ne[2]

# Is it wanted?
cdef bint ask(const view_t *v, int op) noexcept nogil:
    v.o.value.op = op
    return v.o.callback(&v.o.value, True, v.o.data)

# Here it is. False: the client wants no more.
cdef bint tell(const view_t *v) noexcept nogil:
    return v.o.callback(&v.o.value, False, v.o.data)

cdef inline bint show(const view_t *v, int op) noexcept nogil:
    return not ask(v, op) or tell(v)

# ---- values and what they are computed of: rows of the step, of which some are shown ----

# norm(x), by itself and with its weight, which is h.
cdef bint show_norm(const view_t *v, const char *of, int64_t of_layer, const float *x, int64_t k, const char *name,
                    const float *h) noexcept nogil:
    cdef const float *rows
    cdef float *bare
    cdef int64_t t
    v.o.n_rooms = 0
    rows = shown(v, x, k)
    bare = room(v)
    value(v, b"norm", v.layer, bare, k)
    source(v, 0, of, of_layer, rows, k)
    for t in range(v.n):
        v.ctx.model.ops.rmsnorm(rows + t * k, v.o.ones, k, v.ctx.model.hp.rms_eps, bare + t * k)
    if not show(v, GGML_OP_RMS_NORM):
        return False
    value(v, name, v.layer, shown(v, h, k), k)
    source(v, 0, b"norm", v.layer, bare, k)
    if v.layer >= 0:
        layer_weight(v, 1, name, b"weight")
    else:
        weight(v, 1, b"output_norm.weight")
    return show(v, GGML_OP_MUL)

cdef bint is_bare(const view_t *v, const bnf_linear *linear) noexcept nogil:
    cdef int64_t number = bnf_linear_number(v.ctx.model, linear)
    cdef int32_t i
    for i in range(v.ctx.n_loras):
        if v.ctx.loras[i].adapter.pairs[number].a.data != NULL:
            return False
    return linear.bias == NULL and linear.post_scale == 1.0

# W x alone, as the engine had it before it added to it: from the operand that it made of x, which is still there.
cdef void multiply(const view_t *v, const bnf_linear *linear, const float *x, float *y) noexcept nogil:
    cdef bnf_act act = bnf_operand(v.s, bnf_type_traits(linear.w.type).act, x, linear.w.k, v.step.n)
    v.ctx.model.ops.matmul[linear.w.layout](&linear.w, &act, y, linear.w.m, 0, linear.w.m, v.s.thread)

# The product of the weight "blk.i.part.weight" with x, and, where something comes after it (a scale, adapters, a bias), the result, y.
cdef bint show_product(const view_t *v, const bnf_linear *linear, const char *part, const char *name, const char *result, const char *of,
                       const float *x, const float *y) noexcept nogil:
    cdef int64_t m = linear.w.m
    cdef const float *product
    cdef float *alone
    v.o.n_rooms = 0
    product = y
    if not is_bare(v, linear):
        alone = room(v)
        multiply(v, linear, x, alone)
        product = alone
    product = shown(v, product, m)
    value(v, name, v.layer, product, m)
    layer_weight(v, 0, part, b"weight")
    source(v, 1, of, v.layer, shown(v, x, linear.w.k), linear.w.k)
    if not show(v, GGML_OP_MUL_MAT):
        return False
    if is_bare(v, linear):
        return True
    value(v, result, v.layer, shown(v, y, m), m)
    source(v, 0, name, v.layer, product, m)
    if linear.bias != NULL:
        layer_weight(v, 1, part, b"bias")
    elif linear.post_scale != 1.0:
        layer_weight(v, 1, part, b"scale")
    return show(v, GGML_OP_MUL if linear.bias == NULL and linear.post_scale != 1.0 else GGML_OP_ADD)

# x + y as *sum.
cdef bint show_sum(const view_t *v, const char *name, const char *of_y, const float *y, const char *of_x, int64_t x_layer, const float *x,
                   const float **sum) noexcept nogil:
    cdef int64_t k = v.ctx.model.hp.n_embd
    cdef float *rows
    v.o.n_rooms = 0
    y = shown(v, y, k)
    x = shown(v, x, k)
    rows = room(v)
    memcpy(rows, x, <size_t>(v.n * k) * sizeof(float))
    v.ctx.model.ops.add(rows, y, v.n * k)
    value(v, name, v.layer, rows, k)
    source(v, 0, of_y, v.layer, y, k)
    source(v, 1, of_x, x_layer, x, k)
    sum[0] = rows
    return show(v, GGML_OP_ADD)

# ---- attention ----

cdef bint show_heads(const view_t *v, const char *name, const float *x, int64_t n_heads, int64_t d) noexcept nogil:
    value(v, name, v.layer, x, n_heads * d)
    as_heads(&v.o.value, n_heads)
    source(v, 0, name, v.layer, x, n_heads * d)
    return show(v, GGML_OP_RESHAPE)

# Rotated, as attention takes queries and as the cache stores keys.
cdef bint show_rotated(const view_t *v, const char *name, const float *x, int64_t n_heads) noexcept nogil:
    cdef const bnf_hparams *hp = &v.ctx.model.hp
    cdef int64_t k = n_heads * hp.dk
    cdef float *rows
    cdef int64_t t
    v.o.n_rooms = 0
    rows = room(v)
    memcpy(rows, x, <size_t>(v.n * k) * sizeof(float))
    for t in range(v.n):
        v.ctx.model.ops.rope(rows + t * k, n_heads, hp.dk, hp.n_rot, v.s.cos_sin + t * hp.n_rot, hp.rope_neox)
    value(v, name, v.layer, rows, k)
    as_heads(&v.o.value, n_heads)
    source(v, 0, name, v.layer, x, k)
    as_heads(&v.o.src[0], n_heads)
    integers(v, 1, b"inp_pos", v.step.batch.pos + v.step.begin)
    return show(v, GGML_OP_ROPE)

# Embeddings of tokens. A batch that brings its own has nothing that computes them.
cdef bint show_embeddings(const view_t *v) noexcept nogil:
    cdef const bnf_batch *batch = v.step.batch
    cdef int64_t t
    if batch.token == NULL:
        return True
    for t in range(v.n):
        if batch.token[v.step.begin + t] == BNF_TOKEN_EMBD:
            return True
    value(v, b"embd", -1, v.s.x, v.ctx.model.hp.n_embd)
    weight(v, 0, b"token_embd.weight")
    integers(v, 1, b"inp_tokens", batch.token + v.step.begin)
    return show(v, GGML_OP_GET_ROWS)

cdef inline const char *stream_name(const view_t *v) noexcept nogil:
    return b"l_out" if v.layer > 0 else b"embd"

cdef bint show_qkv(const view_t *v, const bnf_layer *layer) noexcept nogil:
    cdef const bnf_hparams *hp = &v.ctx.model.hp
    cdef const bnf_scratch *s = v.s
    return ((v.layer > 0 or show_embeddings(v))
            and show_norm(v, stream_name(v), v.layer - 1, s.x, hp.n_embd, b"attn_norm", s.h)
            and show_product(v, &layer.q, b"attn_q", b"Qcur", b"Qcur", b"attn_norm", s.h, s.q)
            and show_heads(v, b"Qcur", s.q, hp.n_head, hp.dk)
            and show_rotated(v, b"Qcur", s.q, hp.n_head)
            and show_product(v, &layer.v, b"attn_v", b"Vcur", b"Vcur", b"attn_norm", s.h, s.v)
            and show_heads(v, b"Vcur", s.v, hp.n_head_kv, hp.dv)
            and show_product(v, &layer.k, b"attn_k", b"Kcur", b"Kcur", b"attn_norm", s.h, s.k)
            and show_heads(v, b"Kcur", s.k, hp.n_head_kv, hp.dk)
            and show_rotated(v, b"Kcur", s.k, hp.n_head_kv))

# What attention gives is never a matrix of weights: pages go by.
cdef bint show_attention_rows(const view_t *v) noexcept nogil:
    cdef const bnf_hparams *hp = &v.ctx.model.hp
    cdef int64_t width = hp.n_head * hp.dv
    value(v, b"kqv_out", v.layer, v.s.attn, width)
    source(v, 0, b"attn", v.layer, v.s.attn, width)
    as_heads(&v.o.src[0], hp.n_head)
    v.o.src[0].op = GGML_OP_FLASH_ATTN_EXT
    return show(v, GGML_OP_RESHAPE)

cdef const char *out_name(const view_t *v) noexcept nogil:
    return b"attn_o_out" if v.ctx.model.hp.arch == BNF_ARCH_BITNET_B158 else b"attn_out"

# From here on only tokens that asked.
cdef void choose(view_t *v) noexcept nogil:
    cdef int64_t t
    if v.layer < v.ctx.model.hp.n_layer - 1:
        return
    v.n = 0
    for t in range(v.step.n):
        v.n += v.step.batch.out_row[v.step.begin + t] >= 0
    v.chosen = v.n < v.step.n

cdef bint show_attention(view_t *v, const bnf_layer *layer) noexcept nogil:
    cdef const bnf_scratch *s = v.s
    cdef const char *of = b"kqv_out"
    cdef const float *x = s.attn
    cdef const float *sum
    if not show_attention_rows(v):
        return False
    if layer.attn_sub_norm != NULL:
        if not show_norm(v, of, v.layer, x, layer.out.w.k, b"attn_sub_norm", s.h):
            return False
        of = b"attn_sub_norm"
        x = s.h
    if not show_product(v, &layer.out, b"attn_output", out_name(v), out_name(v), of, x, s.y):
        return False
    choose(v)
    return show_sum(v, b"ffn_inp", out_name(v), s.y, stream_name(v), v.layer - 1, s.x, &sum)

# ---- feed-forward ----

cdef const char *activated_name(const view_t *v) noexcept nogil:
    if v.ctx.model.hp.arch == BNF_ARCH_LLAMA:
        return b"ffn_swiglu"
    return b"ffn_sub_out" if v.ctx.model.hp.arch == BNF_ARCH_BITNET else b"ffn_out"

# What a name is called after a bias or a scale.
cdef const char *finished(const bnf_linear *linear, const char *bare, const char *biased, const char *scaled) noexcept nogil:
    if linear.bias != NULL:
        return biased
    return scaled if linear.post_scale != 1.0 else bare

cdef bint show_relu2(const view_t *v, const char *gate, const char *up) noexcept nogil:
    cdef int64_t k = v.ctx.model.hp.n_ff
    cdef const float *x
    cdef float *r
    cdef float *squared
    cdef int64_t i
    v.o.n_rooms = 0
    squared = room(v)
    r = room(v)
    x = shown(v, v.o.gate, k)
    for i in range(v.n * k):
        r[i] = x[i] if x[i] > 0 else 0
        squared[i] = r[i] * r[i]
    value(v, b"ffn_relu", v.layer, r, k)
    source(v, 0, gate, v.layer, x, k)
    v.o.value.op_params[0] = GGML_UNARY_OP_RELU
    if not show(v, GGML_OP_UNARY):
        return False
    value(v, b"ffn_sqr(relu)", v.layer, squared, k)
    source(v, 0, b"ffn_relu", v.layer, r, k)
    if not show(v, GGML_OP_SQR):
        return False
    v.o.n_rooms = 1        # squared
    value(v, activated_name(v), v.layer, shown(v, v.s.gate, k), k)
    source(v, 0, b"ffn_sqr(relu)", v.layer, squared, k)
    source(v, 1, up, v.layer, shown(v, v.s.up, k), k)
    return show(v, GGML_OP_MUL)

cdef bint show_swiglu(const view_t *v, const char *gate, const char *up) noexcept nogil:
    cdef int64_t k = v.ctx.model.hp.n_ff
    v.o.n_rooms = 0
    value(v, activated_name(v), v.layer, shown(v, v.s.gate, k), k)
    source(v, 0, gate, v.layer, shown(v, v.o.gate, k), k)
    source(v, 1, up, v.layer, shown(v, v.s.up, k), k)
    v.o.value.op_params[0] = GGML_GLU_OP_SWIGLU
    return show(v, GGML_OP_GLU)

cdef bint show_gated(const view_t *v, const bnf_layer *layer) noexcept nogil:
    cdef const bnf_scratch *s = v.s
    cdef const char *gate = finished(&layer.gate, b"ffn_gate", b"ffn_gate_b", b"ffn_gate_s")
    cdef const char *up = finished(&layer.up, b"ffn_up", b"ffn_up_b", b"ffn_up_s")
    if not (show_norm(v, b"ffn_inp", v.layer, s.x, v.ctx.model.hp.n_embd, b"ffn_norm", s.h)
            and show_product(v, &layer.gate, b"ffn_gate", b"ffn_gate", gate, b"ffn_norm", s.h, v.o.gate)
            and show_product(v, &layer.up, b"ffn_up", b"ffn_up", up, b"ffn_norm", s.h, s.up)):
        return False
    return show_relu2(v, gate, up) if v.ctx.model.hp.ffn_act == BNF_FFN_RELU2 else show_swiglu(v, gate, up)

# What the layer leaves: with a control vector, if it has one.
cdef bint show_stream(const view_t *v, const char *of) noexcept nogil:
    cdef int64_t k = v.ctx.model.hp.n_embd
    cdef const float *control = bnf_control_of(v.ctx, v.layer)
    cdef const float *sum = NULL
    cdef float *rows
    cdef int64_t t
    if not show_sum(v, b"ffn_out" if control != NULL and v.ctx.model.hp.arch == BNF_ARCH_LLAMA else b"l_out", of, v.s.y, b"ffn_inp",
                    v.layer, v.s.x, &sum):
        return False
    if control != NULL:
        rows = room(v)
        for t in range(v.n):
            memcpy(rows + t * k, sum + t * k, <size_t>k * sizeof(float))
            v.ctx.model.ops.add(rows + t * k, control, k)
        value(v, b"l_out", v.layer, rows, k)
        source(v, 0, b"ffn_out" if v.ctx.model.hp.arch == BNF_ARCH_LLAMA else b"l_out", v.layer, sum, k)
        describe(&v.o.src[1], GGML_TYPE_F32, b"direction", v.layer, control, k, 1)
        v.o.value.src[1] = &v.o.src[1]
        sum = rows
        if not show(v, GGML_OP_ADD):
            return False
    if v.layer == v.ctx.model.hp.n_layer - 1:
        memcpy(v.o.last, sum, <size_t>(v.n * k) * sizeof(float))
    return True

cdef bint show_down(const view_t *v, const bnf_layer *layer) noexcept nogil:
    cdef const char *product = b"ffn_down"
    cdef const char *result = b"ffn_down"
    cdef const char *of = activated_name(v)
    cdef const float *x = v.s.gate
    if v.ctx.model.hp.arch == BNF_ARCH_LLAMA:
        result = b"ffn_out"
        if is_bare(v, &layer.down):
            product = result
    if layer.ffn_sub_norm != NULL:
        if not show_norm(v, of, v.layer, x, v.ctx.model.hp.n_ff, b"ffn_sub_norm", v.s.h):
            return False
        of = b"ffn_sub_norm"
        x = v.s.h
    return show_product(v, &layer.down, b"ffn_down", product, result, of, x, v.s.y) and show_stream(v, result)

# ---- the moments ----

cdef view_t view_of(const bnf_step *step, const bnf_scratch *s, int64_t layer) noexcept nogil:
    cdef view_t v
    v.o = step.ctx.observer
    v.ctx = step.ctx
    v.step = step
    v.s = s
    v.layer = layer
    v.chosen = False
    v.n = step.n
    v.o.n_rooms = 0
    return v

cdef public bool bnf_observe(const bnf_step *step, const bnf_scratch *s, int64_t index, int moment) noexcept nogil:
    cdef const bnf_layer *layer = &step.ctx.model.layers[index]
    cdef view_t v = view_of(step, s, index)
    if moment == BNF_SEEN_QKV:
        return show_qkv(&v, layer)
    if moment == BNF_SEEN_ATTENTION:
        return show_attention(&v, layer)
    choose(&v)
    return show_gated(&v, layer) if moment == BNF_SEEN_GATED else show_down(&v, layer)

cdef public void bnf_observe_gate(const bnf_step *step, int64_t row0, int64_t row1) noexcept nogil:
    cdef int64_t n_ff = step.ctx.model.hp.n_ff
    cdef int64_t t
    for t in range(step.n):
        memcpy(step.ctx.observer.gate + t * n_ff + row0, step.ctx.scratch.gate + t * n_ff + row0, <size_t>(row1 - row0) * sizeof(float))

# Logits of the rows [row, row + n) of the states, whole, when they are wanted.
cdef int show_logits(const view_t *v, llama_context *ctx, int64_t row, const float *states) noexcept nogil:
    cdef const llama_model *model = ctx.model
    cdef bint tied = model.hp.arch == BNF_ARCH_BITNET or bnf_gguf_tensor(model.gguf, b"output.weight") == NULL
    cdef int rc
    value(v, b"result_output", -1, states, model.hp.n_vocab)      # until there are logits
    weight(v, 0, b"token_embd.weight" if tied else b"output.weight")
    source(v, 1, b"result_norm", -1, states, model.hp.n_embd)
    if not ask(v, GGML_OP_MUL_MAT):
        return 0
    rc = bnf_head_rows(ctx, row, v.n)
    if rc != 0:
        return rc
    if v.n > 0:
        v.o.value.data = ctx.logits + row * model.hp.n_vocab
    v.o.n_logits += <int32_t>v.n
    if v.o.n_logits == ctx.batch.n_outputs:
        ctx.logits_ready = 1
    return 0 if tell(v) else ABORTED

cdef public int bnf_observe_result(const bnf_step *step) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef int64_t n_embd = ctx.model.hp.n_embd
    cdef view_t v = view_of(step, &ctx.scratch, ctx.model.hp.n_layer - 1)
    cdef const float *states
    cdef int64_t row = 0
    cdef int64_t t
    choose(&v)
    v.chosen = False       # the rows of the states are those
    for t in range(step.begin):
        row += step.batch.out_row[t] >= 0
    if step.begin == 0:
        v.o.n_logits = 0
    v.layer = -1
    states = ctx.hidden + row * n_embd if v.n > 0 else v.o.last
    if not show_norm(&v, b"l_out", ctx.model.hp.n_layer - 1, v.o.last, n_embd, b"result_norm", states):
        return ABORTED
    return show_logits(&v, ctx, row, states)

# ---- life ----

cdef public int bnf_observer_new(llama_context *ctx) noexcept nogil:
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef int64_t n = ctx.params.n_ubatch
    cdef int64_t widest = max(max(<int64_t>hp.n_embd, <int64_t>hp.n_ff), <int64_t>hp.n_head * max(hp.dk, hp.dv))
    cdef bnf_observer *o = <bnf_observer *>bnf_alloc(sizeof(bnf_observer))
    cdef bint complete
    cdef int64_t i
    if o == NULL:
        return BITNET_ERROR_MEMORY
    ctx.observer = o
    o.callback = ctx.params.cb_eval
    o.data = ctx.params.cb_eval_user_data
    o.gate = <float *>bnf_alloc_array(<size_t>(n * hp.n_ff), sizeof(float))
    o.last = <float *>bnf_alloc_array(<size_t>(n * hp.n_embd), sizeof(float))
    o.ones = <float *>bnf_alloc_array(<size_t>widest, sizeof(float))
    complete = o.gate != NULL and o.last != NULL and o.ones != NULL
    for i in range(BNF_OBSERVER_ROOMS):
        o.room[i] = <float *>bnf_alloc_array(<size_t>(n * widest), sizeof(float))
        complete = complete and o.room[i] != NULL
    if not complete:
        return BITNET_ERROR_MEMORY
    for i in range(widest):
        o.ones[i] = 1
    return 0

cdef public void bnf_observer_free(bnf_observer *o) noexcept nogil:
    cdef int i
    if o == NULL:
        return
    for i in range(BNF_OBSERVER_ROOMS):
        bnf_release(o.room[i])
    bnf_release(o.gate)
    bnf_release(o.last)
    bnf_release(o.ones)
    bnf_release(o)
