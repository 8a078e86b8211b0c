# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The output head, when somebody asks: a decode leaves the normed states of the rows that wanted logits. Reading logits
# multiplies them by the whole head; choosing the largest reads a smaller copy first, keeps the rows whose bound reaches the
# best one, and computes only those with the head itself: the token is the one of the full head, to the last bit.
# May not: change a state. Next: csrc/bnf_screen.h, the copy and its bounds.

from libc.stdint cimport int32_t, int64_t, uint64_t
from bitnet_ffi._core.bnf cimport (
    bnf_act, bnf_alloc, bnf_context_enter, bnf_context_leave, bnf_fail, bnf_operand, bnf_operand_row, bnf_ops_t,
    bnf_output_row, bnf_pool_barrier, bnf_pool_range, bnf_pool_run, bnf_scratch, bnf_screen, bnf_screen_bound,
    bnf_screen_error, bnf_screen_operand, bnf_time_us, bnf_type_traits, llama_context, llama_model,
    BITNET_ERROR_MEMORY, BNF_ACT_Q8_BLOCK, LLAMA_TOKEN_NULL)

cdef extern from "bnf_calls.h":
    pass

cdef extern from "<math.h>" nogil:
    bint isfinite(double x)

cdef enum:
    ROW_GRAIN = 16        # rows of the head are cut at multiples of a cache line of output

cdef void count(llama_context *ctx, int64_t us) noexcept nogil:
    if ctx.batch.n_tokens == 1:
        ctx.perf.t_eval_us += us
    else:
        ctx.perf.t_p_eval_us += us

cdef inline void *thread_scratch(const llama_context *ctx, int ith) noexcept nogil:
    return ctx.scratch.thread + <uint64_t>ith * ctx.scratch.thread_size

# ---- all logits ----

ctypedef struct rows_t:
    llama_context *ctx
    int64_t row           # rows [row, row + n) of the states
    int64_t n

cdef void multiply(void *arg, int ith, int nth) noexcept nogil:
    cdef rows_t *job = <rows_t *>arg
    cdef llama_context *ctx = job.ctx
    cdef const llama_model *model = ctx.model
    cdef int64_t n_embd = model.hp.n_embd
    cdef int kind = bnf_type_traits(model.output.type).act
    cdef const float *states = ctx.hidden + job.row * n_embd
    cdef bnf_act act
    cdef long t, t0, t1, row0, row1
    bnf_pool_range(job.n, 1, ith, nth, &t0, &t1)
    for t in range(t0, t1):
        bnf_operand_row(model.ops, &ctx.scratch, kind, states + t * n_embd, n_embd, t, job.n)
    bnf_pool_barrier(ctx.pool)
    act = bnf_operand(&ctx.scratch, kind, states, n_embd, job.n)
    bnf_pool_range(model.output.m, ROW_GRAIN, ith, nth, &row0, &row1)
    if row0 < row1:
        model.ops.matmul[model.output.layout](&model.output, &act, ctx.logits + job.row * model.hp.n_vocab, model.hp.n_vocab,
                                              row0, row1, thread_scratch(ctx, ith))

# Room for the rows of logits: it grows, at least to the double, and what it outgrows stays readable as long as the context.
cdef int make_room(llama_context *ctx) noexcept nogil:
    cdef uint64_t row = <uint64_t>ctx.model.hp.n_vocab * sizeof(float)
    cdef uint64_t need = <uint64_t>ctx.n_outputs * row
    cdef float *rows
    if need <= ctx.logits_size:
        return 0
    if ctx.logits != NULL:
        need = max(need, 2 * ctx.logits_size)
    rows = <float *>bnf_alloc(<size_t>need)
    if rows == NULL:
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for %d rows of logits (%.1f MiB); ask for fewer in batch.logits",
                        ctx.n_outputs, <double>need / 1048576.0)
    if ctx.logits != NULL:
        ctx.outgrown[ctx.n_outgrown] = ctx.logits
        ctx.n_outgrown += 1
    ctx.logits = rows
    ctx.logits_size = need
    return 0

cdef public int bnf_head_logits(llama_context *ctx) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef rows_t job
    cdef int rc
    if ctx.logits_ready:
        return 0
    rc = make_room(ctx)
    if rc != 0:
        return rc
    job.ctx = ctx
    job.row = 0
    while job.row < ctx.n_outputs:    # the scratch holds operands of a ubatch
        job.n = min(<int64_t>ctx.params.n_ubatch, ctx.n_outputs - job.row)
        bnf_pool_run(ctx.pool, ctx.n_threads if job.n == 1 else ctx.n_threads_batch, multiply, &job)
        job.row += job.n
    ctx.logits_ready = 1
    count(ctx, bnf_time_us() - start)
    return 0

# ---- the largest logit ----

# The best a thread has found; cache lines of their own, at the start of the thread's scratch.
ctypedef struct best_t:
    double lower          # the largest lower bound of its rows
    float logit
    int32_t token         # LLAMA_TOKEN_NULL: none

ctypedef struct choice_t:
    llama_context *ctx
    const float *state
    bnf_screen_error error
    best_t *best          # [nth]

cdef void consider(best_t *best, float logit, int32_t token) noexcept nogil:
    if logit == logit and (best.token == LLAMA_TOKEN_NULL or logit > best.logit):
        best.logit = logit
        best.token = token

cdef void choose(void *arg, int ith, int nth) noexcept nogil:
    cdef choice_t *job = <choice_t *>arg
    cdef llama_context *ctx = job.ctx
    cdef const llama_model *model = ctx.model
    cdef const bnf_ops_t *ops = model.ops
    cdef const bnf_screen *screen = &model.screen
    cdef int64_t n_embd = model.hp.n_embd
    cdef int kind = bnf_type_traits(model.output.type).act
    cdef best_t *own = &job.best[ith]
    cdef double lower, best_lower
    cdef bnf_act act = bnf_operand(&ctx.scratch, BNF_ACT_Q8_BLOCK, job.state, n_embd, 1)
    cdef long row, row0, row1
    cdef int i
    bnf_pool_range(model.output.m, ROW_GRAIN, ith, nth, &row0, &row1)
    own.token = LLAMA_TOKEN_NULL
    own.lower = -1e300
    if row0 < row1:
        ops.matmul[screen.q8.layout](&screen.q8, &act, ctx.approximate, model.output.m, row0, row1, thread_scratch(ctx, ith))
    for row in range(row0, row1):
        lower = ctx.approximate[row] - bnf_screen_bound(screen, row, job.error)
        if lower > own.lower:
            own.lower = lower
    bnf_pool_barrier(ctx.pool)
    best_lower = own.lower
    for i in range(nth):
        if job.best[i].lower > best_lower:
            best_lower = job.best[i].lower
    act = bnf_operand(&ctx.scratch, kind, job.state, n_embd, 1)
    for row in range(row0, row1):
        # Written so that a row whose bound is not a number is kept.
        if not (ctx.approximate[row] + bnf_screen_bound(screen, row, job.error) < best_lower):
            ops.matmul[model.output.layout](&model.output, &act, ctx.approximate, model.output.m, row, row + 1, thread_scratch(ctx, ith))
            consider(own, ctx.approximate[row], <int32_t>row)

cdef int32_t greedy(llama_context *ctx, int64_t row) noexcept nogil:
    cdef const bnf_ops_t *ops = ctx.model.ops
    cdef int64_t n_embd = ctx.model.hp.n_embd
    cdef int n_threads = ctx.n_threads
    cdef int64_t start = bnf_time_us()
    cdef best_t best[256]
    cdef choice_t job
    cdef int i
    if n_threads > 256:
        n_threads = 256
    job.ctx = ctx
    job.state = ctx.hidden + row * n_embd
    job.best = best
    bnf_operand_row(ops, &ctx.scratch, BNF_ACT_Q8_BLOCK, job.state, n_embd, 0, 1)
    job.error = bnf_screen_operand(job.state, n_embd, ctx.scratch.act_q[BNF_ACT_Q8_BLOCK], ctx.scratch.act_scale[BNF_ACT_Q8_BLOCK])
    if not isfinite(job.error.x_norm) or not isfinite(job.error.x_error):
        return LLAMA_TOKEN_NULL
    for i in range(n_threads):
        best[i].token = LLAMA_TOKEN_NULL
    bnf_pool_run(ctx.pool, n_threads, choose, &job)
    for i in range(1, n_threads):     # rows ascend with the threads, so a tie stays with the smaller id
        if best[i].token != LLAMA_TOKEN_NULL:
            consider(&best[0], best[i].logit, best[i].token)
    count(ctx, bnf_time_us() - start)
    return best[0].token

cdef public int32_t bnf_head_greedy(llama_context *ctx, int32_t i) noexcept nogil:
    cdef int32_t token = LLAMA_TOKEN_NULL
    cdef int64_t row
    if ctx.model.screen.q8.data == NULL or not bnf_context_enter(ctx):
        return LLAMA_TOKEN_NULL
    row = bnf_output_row(ctx, i)
    # One row only: several share one reading of the head, but each would read the copy for itself. Eight rows of a
    # 128,256 x 2,560 head took 16 ms a row instead of 11.
    if row >= 0 and ctx.n_outputs == 1 and not ctx.logits_ready:
        token = greedy(ctx, row)
    bnf_context_leave(ctx)
    return token
