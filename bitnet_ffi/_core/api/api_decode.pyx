# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# What moves a context: llama_decode, llama_encode, llama_process, llama_eval, and the logits they leave behind. A call either
# does its work whole or leaves the context as it was.
# May not: compute. Next: batch.pyx, kv_cache.pyx, forward.pyx, in the order of the calls here; api_embeddings.pyx for embeddings.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail, bnf_is_null, bnf_release, bnf_time_us
from bitnet_ffi._core.bnf_calls cimport (
    bnf_batch_check, bnf_batch_of_ext, bnf_batch_prepare, bnf_batch_take, bnf_enter, bnf_forward, bnf_head_logits, bnf_kv_holds,
    bnf_kv_put_back, bnf_kv_reserve, bnf_kv_rollback, bnf_kv_seq_rm, bnf_kv_seq_tokens, bnf_kv_set_aside, bnf_lora_follow,
    BNF_BATCH_CLIENT, BNF_BATCH_EXT)
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, bnf_peek_i32, bnf_poke_i32, bnf_poke_i64, llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_batch, llama_process_type_t, llama_token, BITNET_ERROR, BITNET_ERROR_CONTEXT, BITNET_ERROR_MEMORY, BITNET_EVAL_ERROR,
    LLAMA_PROCESS_TYPE_DECODE, LLAMA_PROCESS_TYPE_ENCODE)
from bitnet_ffi._core.bnf_sampler cimport bnf_sampled_begin, bnf_sampled_check, bnf_sampled_logits, bnf_sampled_row, bnf_sampled_run
from bitnet_ffi._core.bnf_types cimport bnf_batch, bnf_kv, llama_batch_ext

cdef extern from "bnf_calls.h":
    pass

# ---- decoding ----

# Room for the states of the rows that want logits: it grows and stays.
cdef int make_states(llama_context *ctx, int32_t n_outputs) noexcept nogil:
    cdef uint64_t row = <uint64_t>ctx.model.hp.n_embd * sizeof(float)
    cdef uint64_t need = <uint64_t>n_outputs * row
    cdef float *rows
    if need <= ctx.hidden_size:
        return 0
    rows = <float *>bnf_alloc_array(<size_t>n_outputs, row)
    if rows == NULL:
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for %d states (%.1f MiB); ask for fewer in batch.logits",
                        n_outputs, <double>need / 1048576.0)
    bnf_release(ctx.hidden)
    ctx.hidden = rows
    ctx.hidden_size = need
    return 0

cdef int run_ubatches(llama_context *ctx) noexcept nogil:
    cdef int32_t n_ubatch = <int32_t>ctx.params.n_ubatch
    cdef int32_t begin = 0
    cdef int rc
    while begin < ctx.batch.n_tokens:
        rc = bnf_forward(ctx, &ctx.batch, begin, min(begin + n_ubatch, ctx.batch.n_tokens))
        if rc != 0:
            return rc
        begin += n_ubatch
    return 0

cdef void count(llama_context *ctx, int64_t us) noexcept nogil:
    if ctx.batch.n_tokens == 1:
        bnf_poke_i64(&ctx.perf.t_eval_us, ctx.perf.t_eval_us + us)
        bnf_poke_i32(&ctx.perf.n_eval, ctx.perf.n_eval + 1)
    else:
        bnf_poke_i64(&ctx.perf.t_p_eval_us, ctx.perf.t_p_eval_us + us)
        bnf_poke_i32(&ctx.perf.n_p_eval, ctx.perf.n_p_eval + ctx.batch.n_tokens)

# The first sequence of the batch that has not room for its tokens of it; -1: each has.
cdef int32_t full_sequence(const llama_context *ctx, const bnf_batch *batch, int32_t *n_more) noexcept nogil:
    cdef int32_t s, i, j
    if ctx.kv.n_ctx_seq >= ctx.kv.n_ctx:
        return -1
    for s in range(ctx.kv.n_seq_max):
        n_more[0] = 0
        for i in range(batch.n_tokens):
            for j in range(batch.n_seq[i]):
                n_more[0] += batch.seq[<int64_t>i * batch.seq_stride + j] == s
        if n_more[0] > ctx.kv.n_ctx_seq - bnf_kv_seq_tokens(&ctx.kv, s):
            return s
    return -1

cdef void no_room(const llama_context *ctx, const bnf_batch *batch) noexcept nogil:
    cdef int32_t n_more
    cdef int32_t seq = full_sequence(ctx, batch, &n_more)
    if seq >= 0:
        bnf_fail(BITNET_ERROR_CONTEXT, b"no room for %d tokens: sequence %d holds %d of n_ctx_seq = %d (n_ctx is split)",
                 n_more, seq, bnf_kv_seq_tokens(&ctx.kv, seq), ctx.kv.n_ctx_seq)
    elif batch.n_tokens > ctx.kv.n_ctx - ctx.kv.n_used:
        bnf_fail(BITNET_ERROR_CONTEXT, b"no room for %d tokens: the context holds %d of n_ctx = %d",
                 batch.n_tokens, ctx.kv.n_used, ctx.kv.n_ctx)
    else:
        bnf_fail(BITNET_ERROR_CONTEXT,
                 b"no room for %d tokens: the context holds %d of n_ctx = %d, but sequences with gaps fill all its pages", batch.n_tokens,
                 ctx.kv.n_used, ctx.kv.n_ctx)

# All that can be refused: the batch is checked and has its slots. On anything but 0 nothing has changed.
cdef int prepare(llama_context *ctx, const llama_batch *client, int origin, bool causal, bool all, bint sample,
                 bnf_batch *batch) noexcept nogil:
    cdef int rc
    if ctx.model.vocab_only:
        return bnf_fail(BITNET_ERROR, b"the model was loaded with vocab_only: it has no weights to decode with")
    rc = bnf_batch_prepare(ctx, client, origin, all, batch)
    if rc == 0 and sample:
        rc = bnf_sampled_check(ctx, batch)
    if rc != 0:
        return rc
    batch.causal = causal
    # A token that sees the ones behind it has to be computed with them.
    if not causal and batch.n_tokens > <int32_t>ctx.params.n_ubatch:
        return bnf_fail(BITNET_ERROR, b"batch.n_tokens is %d, expected at most n_ubatch = %u where attention is not causal",
                        batch.n_tokens, ctx.params.n_ubatch)
    rc = bnf_kv_reserve(&ctx.kv, batch)
    if rc == BITNET_EVAL_ERROR:
        no_room(ctx, batch)
    return rc

# From here on it is the last batch, and what the one before left is gone.
cdef void begin(llama_context *ctx, const bnf_batch *batch) noexcept nogil:
    ctx.n_outputs = 0
    ctx.logits_ready = 0
    ctx.embeddings_ready = False
    ctx.screened.n = 0
    bnf_sampled_begin(ctx)
    bnf_batch_take(ctx, batch)

# The whole of a decode, with the context entered. all: every token leaves a state. sample: chains run on the rows of their sequences.
# llama_decode's codes: 0, 1 no room, 2 aborted, or negative.
cdef int run(llama_context *ctx, const llama_batch *client, int origin, bool causal, bool all, bint sample) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef bnf_batch batch
    cdef int rc = prepare(ctx, client, origin, causal, all, sample, &batch)
    if rc != 0:
        return rc
    begin(ctx, &batch)
    rc = make_states(ctx, batch.n_outputs)
    if rc == 0:
        rc = bnf_lora_follow(ctx)
    if rc == 0:
        rc = run_ubatches(ctx)
    if rc == 0:
        ctx.n_outputs = batch.n_outputs
        rc = bnf_sampled_run(ctx) if sample else 0
    if rc != 0:
        ctx.n_outputs = 0
        bnf_kv_rollback(&ctx.kv, &ctx.batch)
        return rc
    ctx.embeddings_ready = ctx.params.embeddings
    count(ctx, bnf_time_us() - start)
    return 0

cdef int decode(llama_context *ctx, const llama_batch *client, int origin) noexcept nogil:
    return run(ctx, client, origin, ctx.causal_attn, ctx.params.embeddings, True)

# Each token sees all of its sequence in the batch and nothing else; no key or value stays.
cdef int encode(llama_context *ctx, const llama_batch *client, int origin) noexcept nogil:
    cdef bnf_kv kept
    cdef int rc = bnf_kv_set_aside(&ctx.kv, &kept)
    if rc == 0:
        rc = run(ctx, client, origin, False, True, False)
        bnf_kv_put_back(&ctx.kv, &kept)
    return rc

cdef public int32_t llama_decode(llama_context *ctx, llama_batch batch) noexcept nogil:
    cdef int rc = bnf_enter(ctx, b"llama_decode")
    if rc != 0:
        return rc
    rc = decode(ctx, &batch, BNF_BATCH_CLIENT)
    bnf_context_leave(ctx)
    return rc

cdef public int32_t llama_encode(llama_context *ctx, llama_batch batch) noexcept nogil:
    cdef int rc = bnf_enter(ctx, b"llama_encode")
    if rc != 0:
        return rc
    rc = encode(ctx, &batch, BNF_BATCH_CLIENT)
    bnf_context_leave(ctx)
    return rc

cdef public int32_t llama_process(llama_context *ctx, llama_process_type_t type, llama_batch_ext *batch) noexcept nogil:
    cdef llama_batch client
    cdef int rc
    if bnf_is_null(ctx, b"llama_process", b"ctx") or bnf_is_null(batch, b"llama_process", b"batch"):
        return BITNET_ERROR
    if type != LLAMA_PROCESS_TYPE_DECODE and type != LLAMA_PROCESS_TYPE_ENCODE:
        return bnf_fail(BITNET_ERROR, b"llama_process: type is %d, expected %d (encode) or %d (decode)", <int>type,
                        <int>LLAMA_PROCESS_TYPE_ENCODE, <int>LLAMA_PROCESS_TYPE_DECODE)
    rc = bnf_enter(ctx, b"llama_process")
    if rc != 0:
        return rc
    client = bnf_batch_of_ext(batch)
    rc = decode(ctx, &client, BNF_BATCH_EXT) if type == LLAMA_PROCESS_TYPE_DECODE else encode(ctx, &client, BNF_BATCH_EXT)
    bnf_context_leave(ctx)
    return rc

# llama_eval of 2023: sequence 0 holds n_past tokens, then these; later ones are forgotten. Logits of the last token.
cdef int evaluate(llama_context *ctx, const llama_batch *client, int32_t n_past) noexcept nogil:
    if n_past < 0 or (n_past > 0 and not bnf_kv_holds(&ctx.kv, 0, n_past - 1)):
        bnf_fail(BITNET_ERROR, b"n_past is %d, but the last position of sequence 0 is %d", n_past, ctx.kv.seqs[0].pos_max)
        return BITNET_EVAL_ERROR
    if bnf_batch_check(ctx, client, BNF_BATCH_CLIENT) != 0:      # before anything is forgotten
        return BITNET_EVAL_ERROR
    bnf_kv_seq_rm(&ctx.kv, 0, n_past, 0x7fffffff)
    return BITNET_EVAL_ERROR if decode(ctx, client, BNF_BATCH_CLIENT) != 0 else 0

cdef int evaluate_entered(llama_context *ctx, const llama_token *tokens, float *embd, int32_t n_tokens, int32_t n_past,
                          const char *function) noexcept nogil:
    cdef llama_batch client
    cdef int rc = bnf_enter(ctx, function)
    if rc != 0:
        return BITNET_EVAL_ERROR if rc == BITNET_ERROR else rc
    memset(&client, 0, sizeof(client))
    client.n_tokens = n_tokens
    client.token = <llama_token *>tokens
    client.embd = embd
    rc = evaluate(ctx, &client, n_past)
    bnf_context_leave(ctx)
    return rc

cdef public int llama_eval(llama_context *ctx, const llama_token *tokens, int32_t n_tokens, int32_t n_past) noexcept nogil:
    return evaluate_entered(ctx, tokens, NULL, n_tokens, n_past, b"llama_eval")

cdef public int llama_eval_embd(llama_context *ctx, float *embd, int32_t n_tokens, int32_t n_past) noexcept nogil:
    return evaluate_entered(ctx, NULL, embd, n_tokens, n_past, b"llama_eval_embd")

cdef public int bitnet_eval_n_threads(llama_context *ctx, const llama_token *tokens, int32_t n_tokens, int32_t n_past,
                                      int32_t n_threads) noexcept nogil:
    if ctx != NULL and n_threads > 0 and (bnf_peek_i32(&ctx.n_threads) != n_threads or bnf_peek_i32(&ctx.n_threads_batch) != n_threads):
        llama_set_n_threads(ctx, n_threads, n_threads)
    return llama_eval(ctx, tokens, n_tokens, n_past)

cdef extern from "bitnet_ffi.h" nogil:
    void llama_set_n_threads(llama_context *ctx, int32_t n_threads, int32_t n_threads_batch)

# ---- logits ----

cdef public float *llama_get_logits(llama_context *ctx) noexcept nogil:
    cdef float *rows = NULL
    if bnf_enter(ctx, b"llama_get_logits") != 0:
        return NULL
    if ctx.n_outputs == 0:
        bnf_fail(BITNET_ERROR, b"llama_get_logits: no token has logits (nothing decoded yet, or batch.logits asked for none)")
    elif bnf_head_logits(ctx) == 0:
        rows = ctx.logits
    bnf_context_leave(ctx)
    return rows

cdef public float *llama_get_logits_ith(llama_context *ctx, int32_t i) noexcept nogil:
    cdef float *logits = NULL
    cdef int64_t row
    if bnf_enter(ctx, b"llama_get_logits_ith") != 0:
        return NULL
    row = bnf_need_output_row(ctx, i, b"llama_get_logits_ith")
    if bnf_sampled_row(ctx, row) != NULL:
        logits = bnf_sampled_logits(ctx, row)
    elif row >= 0 and bnf_head_logits(ctx) == 0:
        logits = ctx.logits + row * ctx.model.hp.n_vocab
    bnf_context_leave(ctx)
    return logits

# i >= 0: the i-th token of the last batch, which must have asked; i < 0: from the end of the rows, -1 the last one.
cdef public int64_t bnf_output_row(const llama_context *ctx, int32_t i) noexcept nogil:
    cdef int64_t row
    if ctx.n_outputs == 0:
        return -1
    if i < 0:
        row = <int64_t>ctx.n_outputs + i
        return row if row >= 0 else -1
    return ctx.batch.out_row[i] if i < ctx.batch.n_tokens else -1

cdef public int64_t bnf_need_output_row(const llama_context *ctx, int32_t i, const char *function) noexcept nogil:
    cdef int64_t row = bnf_output_row(ctx, i)
    if row >= 0:
        return row
    if ctx.n_outputs == 0:
        return bnf_fail(BITNET_ERROR, b"%s(%d): no token has logits (nothing decoded yet, or batch.logits asked for none)", function, i)
    if i < 0:
        return bnf_fail(BITNET_ERROR, b"%s(%d): the last batch left %d rows", function, i, ctx.n_outputs)
    if i >= ctx.batch.n_tokens:
        return bnf_fail(BITNET_ERROR, b"%s(%d): the last batch had %d tokens", function, i, ctx.batch.n_tokens)
    return bnf_fail(BITNET_ERROR, b"%s(%d): token %d did not ask for logits (batch.logits)", function, i, i)
