# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Making and freeing a context: parameters completed and checked, then cache, scratch and threads are taken at once; only
# rows of logits and the tables of batches and sequences grow later. A parameter that this version cannot honour is refused
# with a sentence, never ignored.
# May not: run the model. Next: csrc/bnf_context.h for the parts, api_decode.pyx for what is done with it.

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_is_null, bnf_log, bnf_release, bnf_time_us)
from bitnet_ffi._core.bnf_calls cimport (
    bnf_context_free_threads, bnf_context_set_threads, bnf_head_init, bnf_kv_free, bnf_kv_init, bnf_lora_forget, bnf_model_release,
    bnf_model_retain, bnf_observer_free, bnf_observer_new, bnf_rope_init)
from bitnet_ffi._core.bnf_context cimport (
    bnf_attention_work, bnf_context_enter, bnf_context_leave, bnf_older, bnf_scratch, llama_context)
from bitnet_ffi._core.bnf_ops cimport (
    BNF_KV_BLOCK, BNF_KV_F16, BNF_KV_F32, BNF_KV_PAGE, BNF_KV_Q8_0, BNF_MATMUL_SCRATCH, BNF_N_ACT_KINDS, BNF_PAD64, BNF_SCREEN_COLS)
from bitnet_ffi._core.bnf_pool cimport bnf_pool_limit
from bitnet_ffi._core.bnf_public cimport (
    ggml_abort_callback, llama_context_params, llama_pooling_type_t, llama_sampler, BITNET_ERROR, BITNET_ERROR_MEMORY,
    BITNET_ERROR_THREAD, GGML_LOG_LEVEL_WARN, GGML_TYPE_F16, GGML_TYPE_F32, GGML_TYPE_Q8_0, LLAMA_ATTENTION_TYPE_CAUSAL,
    LLAMA_ATTENTION_TYPE_NON_CAUSAL, LLAMA_ATTENTION_TYPE_UNSPECIFIED, LLAMA_CONTEXT_TYPE_DEFAULT, LLAMA_FLASH_ATTN_TYPE_AUTO,
    LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_RANK, LLAMA_POOLING_TYPE_UNSPECIFIED, LLAMA_ROPE_SCALING_TYPE_LONGROPE,
    LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED)
from bitnet_ffi._core.bnf_sampler cimport bnf_chain_i, bnf_sampled_attach, bnf_sampled_free, bnf_sampler_chain
from bitnet_ffi._core.bnf_types cimport bnf_hparams, llama_model, BNF_MAX_SEQUENCES

cdef extern from "bnf_calls.h":
    pass

cdef extern from "<math.h>" nogil:
    bint isfinite(float x)

cdef enum:
    MAX_CTX = 1 << 24             # positions end there too (batch.pyx)
    MAX_PANEL_COLS = 16           # bnf_ops.panel_cols is at most this

cdef public llama_context_params llama_context_default_params() noexcept nogil:
    cdef llama_context_params p
    memset(&p, 0, sizeof(p))
    p.n_ctx = 512
    p.n_batch = 2048
    p.n_ubatch = 512
    p.n_seq_max = 1
    p.n_outputs_max_per_seq = 1
    p.n_threads = bnf_pool_limit()
    p.n_threads_batch = bnf_pool_limit()
    p.ctx_type = LLAMA_CONTEXT_TYPE_DEFAULT
    p.rope_scaling_type = LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED
    p.pooling_type = LLAMA_POOLING_TYPE_UNSPECIFIED
    p.attention_type = LLAMA_ATTENTION_TYPE_UNSPECIFIED
    p.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_AUTO
    p.yarn_ext_factor = -1.0
    p.yarn_attn_factor = -1.0
    p.yarn_beta_fast = -1.0
    p.yarn_beta_slow = -1.0
    p.defrag_thold = -1.0
    p.type_k = GGML_TYPE_F16
    p.type_v = GGML_TYPE_F16
    p.offload_kqv = True
    p.no_perf = True
    p.op_offload = True
    p.swa_full = True
    return p

# ---- parameters ----

cdef int refuse(const char *what) noexcept nogil:
    return bnf_fail(BITNET_ERROR, b"context parameter %s", what)

# bnf_kv_type, -1: the cache cannot hold such numbers.
cdef inline int32_t kv_type_of(int type) noexcept nogil:
    if type == GGML_TYPE_F16:
        return BNF_KV_F16
    if type == GGML_TYPE_F32:
        return BNF_KV_F32
    return BNF_KV_Q8_0 if type == GGML_TYPE_Q8_0 else -1

# llama.cpp's rule: where sequences do not share n_ctx, each gets an even part, rounded up to a multiple of 256, and n_ctx is their sum.
cdef int split_ctx(llama_context_params *p) noexcept nogil:
    cdef uint32_t part = (p.n_ctx + 255) // 256 * 256 // p.n_seq_max      # at most MAX_CTX, and at least 1
    if p.kv_unified or p.n_seq_max == 1:
        return 0
    part = (part + 255) // 256 * 256
    if <uint64_t>part * p.n_seq_max > MAX_CTX:
        return bnf_fail(
            BITNET_ERROR, b"n_ctx is %u, which makes %u for each of %u sequences (kv_unified is false); expected a sum of at most %d",
            p.n_ctx, part, p.n_seq_max, <int>MAX_CTX)
    p.n_ctx = part * p.n_seq_max
    return 0

cdef inline uint32_t n_ctx_seq(const llama_context_params *p) noexcept nogil:
    return p.n_ctx if p.kv_unified else p.n_ctx // p.n_seq_max

# What was asked for, as far as this version has it: 0 or an error.
cdef int check_params(const llama_context_params *p) noexcept nogil:
    if p.n_seq_max > BNF_MAX_SEQUENCES:
        return bnf_fail(BITNET_ERROR, b"n_seq_max is %u, expected at most %d", p.n_seq_max, <int>BNF_MAX_SEQUENCES)
    if kv_type_of(p.type_k) < 0:
        return bnf_fail(BITNET_ERROR, b"type_k is %d, expected %d (F16), %d (F32) or %d (Q8_0)", <int>p.type_k, <int>GGML_TYPE_F16,
                        <int>GGML_TYPE_F32, <int>GGML_TYPE_Q8_0)
    if kv_type_of(p.type_v) < 0:
        return bnf_fail(BITNET_ERROR, b"type_v is %d, expected %d (F16), %d (F32) or %d (Q8_0)", <int>p.type_v, <int>GGML_TYPE_F16,
                        <int>GGML_TYPE_F32, <int>GGML_TYPE_Q8_0)
    if p.ctx_type != LLAMA_CONTEXT_TYPE_DEFAULT:
        return refuse(b"ctx_type: only LLAMA_CONTEXT_TYPE_DEFAULT is supported")
    if p.attention_type < LLAMA_ATTENTION_TYPE_UNSPECIFIED or p.attention_type > LLAMA_ATTENTION_TYPE_NON_CAUSAL:
        return refuse(b"attention_type: expected -1 (the model's), 0 (causal) or 1 (non-causal)")
    if p.pooling_type < LLAMA_POOLING_TYPE_UNSPECIFIED or p.pooling_type > LLAMA_POOLING_TYPE_RANK:
        return refuse(b"pooling_type: expected -1 (the model's), 0 (none), 1 (mean), 2 (first), 3 (last) or 4 (rank)")
    if p.rope_scaling_type < LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED or p.rope_scaling_type > LLAMA_ROPE_SCALING_TYPE_LONGROPE:
        return refuse(b"rope_scaling_type: expected -1 (the model's), 0 (none), 1 (linear), 2 (yarn) or 3 (longrope)")
    if p.n_samplers > 0 and p.samplers == NULL:
        return refuse(b"samplers is NULL, and n_samplers is not 0")
    if not (p.rope_freq_base >= 0 and isfinite(p.rope_freq_base)) or not (p.rope_freq_scale >= 0 and isfinite(p.rope_freq_scale)):
        return refuse(b"rope_freq_base, rope_freq_scale: expected 0 (the model's) or more, and finite")
    if not (isfinite(p.yarn_ext_factor) and isfinite(p.yarn_attn_factor) and isfinite(p.yarn_beta_fast) and isfinite(p.yarn_beta_slow)):
        return refuse(b"yarn_ext_factor, yarn_attn_factor, yarn_beta_fast, yarn_beta_slow: expected finite numbers")
    return 0

cdef int complete_params(llama_context_params *p, const bnf_hparams *hp) noexcept nogil:
    if p.n_ctx == 0:
        p.n_ctx = <uint32_t>hp.n_ctx_train
    if p.n_ctx == 0:
        return bnf_fail(BITNET_ERROR, b"n_ctx is 0, and the model was loaded with vocab_only: its own n_ctx is not known")
    if p.n_seq_max == 0:
        p.n_seq_max = 1
    if p.n_ctx > MAX_CTX:      # asked for, or what the file says
        return bnf_fail(BITNET_ERROR, b"n_ctx is %u, expected at most %d", p.n_ctx, <int>MAX_CTX)
    if split_ctx(p) != 0:
        return BITNET_ERROR
    if hp.n_ctx_train > 0 and n_ctx_seq(p) > <uint32_t>hp.n_ctx_train:
        bnf_log(GGML_LOG_LEVEL_WARN, b"%s is %u, but the model was trained with %d tokens of context\n",
                b"n_ctx" if p.kv_unified or p.n_seq_max == 1 else b"n_ctx_seq", n_ctx_seq(p), hp.n_ctx_train)
    if p.n_batch == 0 or p.n_batch > p.n_ctx:
        p.n_batch = p.n_ctx
    if p.n_ubatch == 0 or p.n_ubatch > p.n_batch:
        p.n_ubatch = p.n_batch
    if p.n_outputs_max == 0:
        p.n_outputs_max = p.n_batch
    if p.n_outputs_max_per_seq == 0 or p.n_outputs_max_per_seq > p.n_outputs_max:
        p.n_outputs_max_per_seq = p.n_outputs_max
    if p.n_threads <= 0:
        p.n_threads = bnf_pool_limit()
    if p.n_threads_batch <= 0:
        p.n_threads_batch = p.n_threads
    if p.pooling_type == LLAMA_POOLING_TYPE_UNSPECIFIED:
        p.pooling_type = <llama_pooling_type_t>hp.pooling
    if p.pooling_type == LLAMA_POOLING_TYPE_UNSPECIFIED:
        p.pooling_type = LLAMA_POOLING_TYPE_NONE
    if p.attention_type == LLAMA_ATTENTION_TYPE_UNSPECIFIED:
        p.attention_type = LLAMA_ATTENTION_TYPE_CAUSAL if hp.causal else LLAMA_ATTENTION_TYPE_NON_CAUSAL
    return 0

# ---- scratch: one block of memory, cut by a cursor that runs twice (to measure, then to cut) ----

cdef inline void *cut(uint8_t *memory, uint64_t *used, uint64_t n, uint64_t size) noexcept nogil:
    cdef uint64_t at = used[0]
    used[0] = at + (n * size + 63) // 64 * 64
    return memory + at if memory != NULL else NULL

cdef inline float *cut_f32(uint8_t *memory, uint64_t *used, uint64_t n) noexcept nogil:
    return <float *>cut(memory, used, n, sizeof(float))

# The parts of s that each thread has for itself when the step is one token: n rows of each, k floats long at most.
cdef void lay_out_rows(bnf_scratch *s, uint64_t n, uint64_t n_embd, uint64_t width, uint64_t k, uint64_t lora_rank, uint8_t *memory,
                       uint64_t *used) noexcept nogil:
    cdef uint64_t pad = BNF_PAD64(k)
    cdef int kind
    s.x = cut_f32(memory, used, n * n_embd)
    s.h = cut_f32(memory, used, n * k)
    s.attn = cut_f32(memory, used, n * width)
    s.u = cut_f32(memory, used, max(n, <uint64_t>BNF_SCREEN_COLS) * 3 * lora_rank)
    for kind in range(1, BNF_N_ACT_KINDS):
        s.act_q[kind] = <int8_t *>cut(memory, used, n * pad, 1)
        s.act_scale[kind] = cut_f32(memory, used, n * (pad // 32))
        s.act_sum16[kind] = <int16_t *>cut(memory, used, n * (pad // 16), sizeof(int16_t))
        s.act_sum[kind] = <int32_t *>cut(memory, used, n, sizeof(int32_t))

# The parts of s at `memory`, or just their sum when it is NULL. n: tokens of a ubatch.
cdef uint64_t lay_out(bnf_scratch *s, const bnf_hparams *hp, uint64_t n, uint64_t n_threads, uint64_t lora_rank,
                      uint8_t *memory) noexcept nogil:
    cdef uint64_t used = 0
    cdef uint64_t n_embd = hp.n_embd
    cdef uint64_t n_ff = hp.n_ff
    cdef uint64_t width = hp.n_head * hp.dv      # at most BNF_MAX_WIDTH, as is every such product (load_hparams.pyx)
    cdef uint64_t widest = max(n_embd, max(width, n_ff))
    cdef uint64_t group = hp.n_head // hp.n_head_kv
    cdef uint64_t pad = BNF_PAD64(widest)
    cdef uint64_t attend_work = bnf_attention_work(group, hp.dk, hp.dv)
    cdef uint64_t matmul_work = BNF_MATMUL_SCRATCH(widest)
    cdef bnf_scratch *own
    cdef bnf_scratch view
    cdef uint64_t i
    s.memory = memory
    lay_out_rows(s, n, n_embd, width, widest, lora_rank, memory, &used)
    s.y = cut_f32(memory, &used, n * n_embd)
    s.q = cut_f32(memory, &used, n * hp.n_head * hp.dk)
    s.k = cut_f32(memory, &used, n * hp.n_head_kv * hp.dk)
    s.v = cut_f32(memory, &used, n * hp.n_head_kv * hp.dv)
    s.gate = cut_f32(memory, &used, n * n_ff)
    s.up = cut_f32(memory, &used, n * n_ff)
    s.cos_sin = cut_f32(memory, &used, n * hp.n_rot)
    # One panel more than full ones, whatever number of columns the kernel table cuts them to.
    s.panels = <int8_t *>cut(memory, &used, n + MAX_PANEL_COLS, pad)
    s.attn_m = cut_f32(memory, &used, n * hp.n_head)
    s.attn_l = cut_f32(memory, &used, n * hp.n_head)
    s.first_pair = <int64_t *>cut(memory, &used, n + 1, sizeof(int64_t))
    s.partial_m = cut_f32(memory, &used, n_threads * s.n_partial * group)
    s.partial_l = cut_f32(memory, &used, n_threads * s.n_partial * group)
    s.partial_o = cut_f32(memory, &used, n_threads * s.n_partial * group * hp.dv)
    s.thread_size = (max(attend_work, matmul_work) + 63) // 64 * 64
    s.thread = <uint8_t *>cut(memory, &used, n_threads, s.thread_size)
    own = <bnf_scratch *>cut(memory, &used, n_threads, sizeof(bnf_scratch))
    for i in range(n_threads):
        view = s[0]
        lay_out_rows(&view, 1, n_embd, width, widest, lora_rank, memory, &used)
        if memory != NULL:
            own[i] = view
    s.own = own
    return used

# Cut new scratch for up to n_threads; on failure the old one stays. A vocabulary alone computes nothing (run in api_decode.pyx
# refuses), and has no shape to lay out.
cdef public int bnf_context_make_scratch(llama_context *ctx, int32_t n_threads) noexcept nogil:
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef uint64_t n = ctx.params.n_ubatch
    cdef bnf_scratch s
    cdef uint64_t size
    cdef uint8_t *memory
    if ctx.model.vocab_only:
        return 0
    memset(&s, 0, sizeof(s))
    if n_threads > 1:      # one thread leaves no page for later (attention.pyx)
        s.n_partial = (ctx.params.n_ctx + BNF_KV_PAGE - 1) // BNF_KV_PAGE
    size = lay_out(&s, hp, n, n_threads, ctx.lora_rank, NULL)
    memory = <uint8_t *>bnf_alloc(size)
    if memory == NULL:
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for the scratch of a context (%.1f MiB for n_ubatch = %u)",
                        <double>size / 1048576.0, ctx.params.n_ubatch)
    lay_out(&s, hp, n, n_threads, ctx.lora_rank, memory)
    bnf_release(ctx.scratch.memory)
    ctx.scratch = s
    ctx.n_scratch_threads = n_threads
    ctx.screened.n = 0      # what it has of adapters was there
    return 0

cdef public int bnf_context_set_lora_rank(llama_context *ctx, int32_t rank) noexcept nogil:
    cdef int32_t before = ctx.lora_rank
    cdef int rc
    if rank == before:
        return 0
    ctx.lora_rank = rank
    rc = bnf_context_make_scratch(ctx, ctx.n_scratch_threads)
    if rc != 0:
        ctx.lora_rank = before
    return rc

# ---- life ----

# An empty chain has nothing to run: as in llama.cpp, the context does without.
cdef int attach(llama_context *ctx, const llama_context_params *params) noexcept nogil:
    cdef llama_sampler *smpl
    cdef int rc
    cdef size_t i
    for i in range(params.n_samplers):
        smpl = params.samplers[i].sampler
        if smpl == NULL:
            return bnf_fail(BITNET_ERROR, b"context parameter samplers: number %zu is NULL", i)
        if smpl.iface == &bnf_chain_i and (<const bnf_sampler_chain *>smpl.ctx).n == 0:
            continue
        rc = bnf_sampled_attach(ctx, params.samplers[i].seq_id, smpl)
        if rc != 0:
            return rc
    return 0

cdef int build(llama_context *ctx, const llama_context_params *params) noexcept nogil:
    cdef int rc
    ctx.params = params[0]
    rc = complete_params(&ctx.params, &ctx.model.hp)
    if rc != 0:
        return rc
    if (ctx.params.type_k == GGML_TYPE_Q8_0 and ctx.model.hp.dk % BNF_KV_BLOCK
            or ctx.params.type_v == GGML_TYPE_Q8_0 and ctx.model.hp.dv % BNF_KV_BLOCK):
        return bnf_fail(BITNET_ERROR, b"a Q8_0 cache takes heads in blocks of %d, but the model's are %d (keys) and %d (values) wide",
                        <int>BNF_KV_BLOCK, ctx.model.hp.dk, ctx.model.hp.dv)
    if ctx.params.pooling_type == LLAMA_POOLING_TYPE_RANK and ctx.model.cls.w.data == NULL and ctx.model.cls_out.w.data == NULL:
        return bnf_fail(BITNET_ERROR, b"pooling_type is %d (rank), and the model has no classifier (cls.weight, cls.output.weight) to rank "
                        b"with", <int>LLAMA_POOLING_TYPE_RANK)
    ctx.causal_attn = ctx.params.attention_type == LLAMA_ATTENTION_TYPE_CAUSAL
    ctx.abort_callback = params.abort_callback
    ctx.abort_data = params.abort_callback_data
    rc = bnf_context_set_threads(ctx, ctx.params.n_threads, ctx.params.n_threads_batch)
    if rc == 0:
        rc = bnf_rope_init(ctx, n_ctx_seq(&ctx.params))
    if rc == 0 and ctx.params.cb_eval != NULL and not ctx.model.vocab_only:
        rc = bnf_observer_new(ctx)
    if rc == 0:
        rc = bnf_kv_init(&ctx.kv, &ctx.model.hp, <int32_t>ctx.params.n_ctx, <int32_t>n_ctx_seq(&ctx.params), <int32_t>ctx.params.n_seq_max,
                         kv_type_of(ctx.params.type_k), kv_type_of(ctx.params.type_v))
    if rc == 0:
        ctx.next_pos = <int32_t *>bnf_alloc_array(ctx.params.n_seq_max, sizeof(int32_t))
        rc = BITNET_ERROR_MEMORY if ctx.next_pos == NULL else 0
    if rc == 0 and ctx.model.screen.q != NULL:
        rc = bnf_head_init(ctx)
    if rc == 0:
        ctx.older = <bnf_older *>bnf_alloc(sizeof(bnf_older))
        rc = BITNET_ERROR_MEMORY if ctx.older == NULL else 0
    ctx.params.samplers = NULL           # the caller's array may go
    ctx.params.n_samplers = 0
    if rc == 0:
        rc = attach(ctx, params)
    ctx.perf.t_start_us = bnf_time_us()
    return rc

cdef public llama_context *llama_init_from_model(llama_model *model, llama_context_params params) noexcept nogil:
    cdef llama_context *ctx
    if bnf_is_null(model, b"llama_init_from_model", b"model"):
        return NULL
    if check_params(&params) != 0:
        return NULL
    ctx = <llama_context *>bnf_alloc(sizeof(llama_context))
    if ctx == NULL:
        return NULL
    ctx.model = model
    bnf_model_retain(model)
    if build(ctx, &params) != 0:
        llama_free(ctx)
        return NULL
    return ctx

cdef public llama_context *llama_new_context_with_model(llama_model *model, llama_context_params params) noexcept nogil:
    return llama_init_from_model(model, params)

cdef public void llama_free(llama_context *ctx) noexcept nogil:
    cdef int32_t i
    if ctx == NULL:
        return
    bnf_context_free_threads(ctx)
    bnf_kv_free(&ctx.kv)
    bnf_release(ctx.rope_freqs)
    bnf_release(ctx.kv_copy)
    bnf_release(ctx.batch_memory)
    bnf_release(ctx.spare_memory)
    bnf_release(ctx.next_pos)
    bnf_release(ctx.scratch.memory)
    bnf_release(ctx.hidden)
    bnf_release(ctx.pooled)
    bnf_lora_forget(ctx)
    bnf_release(ctx.control)
    bnf_release(ctx.screen_memory)
    bnf_release(ctx.upper)
    bnf_release(ctx.exact)
    bnf_release(ctx.noisy)
    bnf_observer_free(ctx.observer)
    bnf_release(ctx.older)
    bnf_sampled_free(ctx)
    bnf_release(ctx.every_id)
    bnf_release(ctx.logits)
    for i in range(ctx.n_outgrown):
        bnf_release(ctx.outgrown[i])
    bnf_model_release(ctx.model)
    bnf_release(ctx)

# ---- whose it is ----

cdef public int bnf_enter(llama_context *ctx, const char *function) noexcept nogil:
    if bnf_is_null(ctx, function, b"ctx"):
        return BITNET_ERROR
    if bnf_context_enter(ctx):
        return 0
    return bnf_fail(BITNET_ERROR_THREAD, b"%s: the context is at work in another thread; give each thread its own", function)

# ---- what a context is ----

cdef public const llama_model *llama_get_model(const llama_context *ctx) noexcept nogil:
    return NULL if bnf_is_null(ctx, b"llama_get_model", b"ctx") else ctx.model

cdef public uint32_t llama_n_ctx(const llama_context *ctx) noexcept nogil:
    return 0 if bnf_is_null(ctx, b"llama_n_ctx", b"ctx") else ctx.params.n_ctx

cdef public uint32_t llama_n_batch(const llama_context *ctx) noexcept nogil:
    return 0 if bnf_is_null(ctx, b"llama_n_batch", b"ctx") else ctx.params.n_batch

cdef public uint32_t llama_n_ubatch(const llama_context *ctx) noexcept nogil:
    return 0 if bnf_is_null(ctx, b"llama_n_ubatch", b"ctx") else ctx.params.n_ubatch

cdef public uint32_t llama_n_seq_max(const llama_context *ctx) noexcept nogil:
    return 0 if bnf_is_null(ctx, b"llama_n_seq_max", b"ctx") else ctx.params.n_seq_max

cdef public uint32_t llama_n_ctx_seq(const llama_context *ctx) noexcept nogil:
    return 0 if bnf_is_null(ctx, b"llama_n_ctx_seq", b"ctx") else n_ctx_seq(&ctx.params)

cdef public uint32_t llama_n_rs_seq(const llama_context *ctx) noexcept nogil:
    bnf_is_null(ctx, b"llama_n_rs_seq", b"ctx")
    return 0

cdef public void llama_set_abort_callback(llama_context *ctx, ggml_abort_callback abort_callback, void *abort_callback_data) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_set_abort_callback") != 0:
        return
    ctx.abort_callback = abort_callback
    ctx.abort_data = abort_callback_data
    bnf_context_leave(ctx)

# Calls return when their work is done, so there is nothing to wait for.
cdef public void llama_synchronize(llama_context *ctx) noexcept nogil:
    bnf_clear_error()
    bnf_is_null(ctx, b"llama_synchronize", b"ctx")
