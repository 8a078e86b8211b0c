# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The output head, when somebody asks: a decode leaves the normed states of the rows that wanted logits. Reading logits
# multiplies them by the whole head; choosing among the largest reads the screen first, a copy of the head in one byte a weight that
# bounds every logit, and computes only the logits that may be among them: they are those of the full head, to the last bit.
# May not: change a state. Next: csrc/bnf_screen.h, the copy and its bounds.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memmove
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_time_us
from bitnet_ffi._core.bnf_calls cimport bnf_lora_down, bnf_lora_up, bnf_operand, bnf_operand_row, bnf_output_row
from bitnet_ffi._core.bnf_context cimport (
    bnf_context_enter, bnf_context_leave, bnf_head_number, bnf_poke_i64, bnf_team_enter, bnf_team_leave, llama_context)
from bitnet_ffi._core.bnf_math cimport bnf_gumbel, bnf_gumbel_reach
from bitnet_ffi._core.bnf_ops cimport (
    bnf_act, bnf_screen_cols_init, bnf_screen_cols_size, bnf_screen_operand, bnf_type_traits, BNF_ACT_F32, BNF_F12_ROWS,
    BNF_SCREEN_COLS, BNF_SCREEN_ROWS, BNF_TYPE_F12_R4)
from bitnet_ffi._core.bnf_pool cimport bnf_pace_size, bnf_pool_barrier, bnf_pool_range, bnf_pool_run
from bitnet_ffi._core.bnf_public cimport llama_token_data, BITNET_ERROR_MEMORY, LLAMA_TOKEN_NULL
from bitnet_ffi._core.bnf_types cimport llama_model
from bitnet_ffi._core.bnf_sampler cimport bnf_candidates_sort, bnf_shortlist

cdef extern from "bnf_calls.h":
    pass

cdef extern from "<math.h>" nogil:
    float INFINITY

cdef enum:
    ROW_GRAIN = 16        # rows of the head are cut at multiples of a cache line of output, and of a tile of the screen
    NOISE_GRAIN = 64      # and of a group of tokens that share blocks of noise
    MAX_THREADS = 256     # that choose

cdef void count(llama_context *ctx, int64_t us) noexcept nogil:
    if ctx.batch.n_tokens == 1:
        bnf_poke_i64(&ctx.perf.t_eval_us, ctx.perf.t_eval_us + us)
    else:
        bnf_poke_i64(&ctx.perf.t_p_eval_us, ctx.perf.t_p_eval_us + us)

# Threads for a row or two of the head: those of the decode before. Until bnf_team_leave.
cdef inline int enter_team(llama_context *ctx) noexcept nogil:
    return bnf_pace_size(&ctx.pace, bnf_team_enter(ctx, False))

cdef inline void *thread_scratch(const llama_context *ctx, int ith) noexcept nogil:
    return ctx.scratch.thread + <uint64_t>ith * ctx.scratch.thread_size

# A x of the adapters on the head, of row c of those at work.
cdef inline float *lowered(const llama_context *ctx, int64_t c) noexcept nogil:
    return ctx.scratch.u + c * 3 * ctx.lora_rank

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
    bnf_lora_down(ctx, bnf_head_number(model), states + t0 * n_embd, t1 - t0, lowered(ctx, t0), thread_scratch(ctx, ith))
    bnf_pool_barrier(ctx.pool)
    act = bnf_operand(&ctx.scratch, kind, states, n_embd, job.n)
    bnf_pool_range(model.output.m, ROW_GRAIN, ith, nth, &row0, &row1)
    if row0 < row1:
        model.ops.matmul[model.output.layout](&model.output, &act, ctx.logits + job.row * model.hp.n_vocab, model.hp.n_vocab,
                                              row0, row1, thread_scratch(ctx, ith))
        bnf_lora_up(ctx, bnf_head_number(model), lowered(ctx, 0), job.n, ctx.logits + job.row * model.hp.n_vocab, model.hp.n_vocab,
                    row0, row1)

# Room for n rows of logits: it grows, at least to the double, and what it outgrows stays readable as long as the context.
cdef int make_room(llama_context *ctx, int32_t n) noexcept nogil:
    cdef uint64_t row = <uint64_t>ctx.model.hp.n_vocab * sizeof(float)
    cdef uint64_t need = <uint64_t>n * row
    cdef float *rows
    if need <= ctx.logits_size:
        return 0
    if ctx.logits != NULL:
        need = max(need, 2 * ctx.logits_size)
    rows = <float *>bnf_alloc(<size_t>need)
    if rows == NULL:
        return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for %d rows of logits (%.1f MiB); ask for fewer in batch.logits",
                        n, <double>need / 1048576.0)
    if ctx.logits != NULL:
        ctx.outgrown[ctx.n_outgrown] = ctx.logits
        ctx.n_outgrown += 1
    ctx.logits = rows
    ctx.logits_size = need
    return 0

cdef void multiply_rows(llama_context *ctx, int64_t row, int64_t end) noexcept nogil:
    cdef rows_t job
    cdef int n_threads
    job.ctx = ctx
    job.row = row
    while job.row < end:    # the scratch holds operands of a ubatch
        job.n = min(<int64_t>ctx.params.n_ubatch, end - job.row)
        n_threads = enter_team(ctx) if job.n == 1 else bnf_team_enter(ctx, True)
        bnf_pool_run(ctx.pool, n_threads, multiply, &job)
        bnf_team_leave(ctx)
        job.row += job.n

cdef public int bnf_head_logits(llama_context *ctx) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef int rc
    if ctx.logits_ready:
        return 0
    rc = make_room(ctx, ctx.n_outputs)
    if rc != 0:
        return rc
    multiply_rows(ctx, 0, ctx.n_outputs)
    ctx.logits_ready = 1
    count(ctx, bnf_time_us() - start)
    return 0

cdef public int bnf_head_rows(llama_context *ctx, int64_t row, int64_t n) noexcept nogil:
    cdef int rc = make_room(ctx, ctx.batch.n_outputs)
    if rc == 0:
        multiply_rows(ctx, row, row + n)
    return rc

# ---- upper bounds of all logits ----

cdef public int bnf_head_init(llama_context *ctx) noexcept nogil:
    ctx.vocab_stride = (ctx.model.hp.n_vocab + BNF_SCREEN_ROWS - 1) // BNF_SCREEN_ROWS * BNF_SCREEN_ROWS
    ctx.screen_memory = bnf_alloc(<size_t>bnf_screen_cols_size(BNF_SCREEN_COLS, ctx.model.hp.n_embd))
    ctx.upper = <float *>bnf_alloc_array(<size_t>(BNF_SCREEN_COLS * ctx.vocab_stride), sizeof(float))
    ctx.exact = <float *>bnf_alloc_array(<size_t>ctx.vocab_stride, sizeof(float))
    ctx.noisy = <float *>bnf_alloc_array(<size_t>ctx.vocab_stride, sizeof(float))
    if ctx.screen_memory == NULL or ctx.upper == NULL or ctx.exact == NULL or ctx.noisy == NULL:
        return BITNET_ERROR_MEMORY
    return 0

ctypedef struct bounds_t:
    llama_context *ctx
    bint usable[BNF_SCREEN_COLS]

cdef void bound(void *arg, int ith, int nth) noexcept nogil:
    cdef bounds_t *job = <bounds_t *>arg
    cdef llama_context *ctx = job.ctx
    cdef const llama_model *model = ctx.model
    cdef int64_t c = ith
    cdef long row0, row1
    cdef const float *state
    while c < ctx.screened.n:
        state = ctx.hidden + (ctx.first_screened + c) * model.hp.n_embd
        job.usable[c] = bnf_screen_operand(&ctx.screened, c, state)
        bnf_lora_down(ctx, bnf_head_number(model), state, 1, lowered(ctx, c), thread_scratch(ctx, ith))
        c += nth
    bnf_pool_barrier(ctx.pool)
    for c in range(ctx.screened.n):
        if not job.usable[c]:
            return
    bnf_pool_range(model.output.m, ROW_GRAIN, ith, nth, &row0, &row1)
    if row0 < row1:
        model.ops.screen_bounds(&model.screen, &ctx.screened, ctx.upper, ctx.vocab_stride, row0, row1)
        # The screen bounds the file's head. What adapters add to a logit is known to the bit, and rounding keeps order: the bound that it is
        # added to bounds the sum.
        bnf_lora_up(ctx, bnf_head_number(model), lowered(ctx, 0), ctx.screened.n, ctx.upper, ctx.vocab_stride, row0, row1)

# Bounds for this row of the states, and for its neighbours: a reading of the screen serves as many as it can. NULL: there are none.
# By n_threads of the team that the caller has entered.
cdef const float *bounds_of(llama_context *ctx, int64_t row, int n_threads) noexcept nogil:
    cdef bounds_t job
    cdef int64_t c, first
    if ctx.model.screen.q == NULL or ctx.logits_ready:
        return NULL
    if row < ctx.first_screened or row >= ctx.first_screened + ctx.screened.n:
        first = row // BNF_SCREEN_COLS * BNF_SCREEN_COLS
        bnf_screen_cols_init(&ctx.screened, min(<int64_t>BNF_SCREEN_COLS, ctx.n_outputs - first), ctx.model.hp.n_embd, ctx.screen_memory)
        ctx.first_screened = first
        job.ctx = ctx
        bnf_pool_run(ctx.pool, n_threads, bound, &job)
        for c in range(ctx.screened.n):
            if not job.usable[c]:
                ctx.screened.n = 0
                return NULL
    return ctx.upper + (row - ctx.first_screened) * ctx.vocab_stride

cdef inline bnf_act state_of(const llama_context *ctx, int64_t row) noexcept nogil:
    return bnf_operand(&ctx.scratch, BNF_ACT_F32, ctx.hidden + row * ctx.model.hp.n_embd, ctx.model.hp.n_embd, 1)

# The logit of one token of that row of the states, computed with the rows that share a tile of the head: rows of this thread, which are
# cut at tiles too.
cdef float exact_logit(llama_context *ctx, const bnf_act *act, int64_t row, int64_t token, int ith) noexcept nogil:
    cdef const llama_model *model = ctx.model
    cdef int64_t tile = BNF_F12_ROWS if model.output.layout == BNF_TYPE_F12_R4 else 1
    cdef int64_t begin = token // tile * tile
    model.ops.matmul[model.output.layout](&model.output, act, ctx.exact, ctx.vocab_stride, begin, min(begin + tile, model.output.m),
                                          thread_scratch(ctx, ith))
    bnf_lora_up(ctx, bnf_head_number(model), lowered(ctx, row - ctx.first_screened), 1, ctx.exact, 0, token, token + 1)
    return ctx.exact[token]

# ---- the largest logit ----

# The best a thread has found.
ctypedef struct best_t:
    float logit
    int32_t token         # LLAMA_TOKEN_NULL: none

ctypedef struct choice_t:
    llama_context *ctx
    int64_t row           # of the states
    const float *upper
    best_t best[MAX_THREADS]

cdef void consider(best_t *best, float logit, int32_t token) noexcept nogil:
    if logit == logit and (best.token == LLAMA_TOKEN_NULL or logit > best.logit or (logit == best.logit and token < best.token)):
        best.logit = logit
        best.token = token

# Each thread computes the logit of its most promising row; then, every one whose bound reaches the best of these.
cdef void choose(void *arg, int ith, int nth) noexcept nogil:
    cdef choice_t *job = <choice_t *>arg
    cdef llama_context *ctx = job.ctx
    cdef const float *upper = job.upper
    cdef best_t *own = &job.best[ith]
    cdef bnf_act act = state_of(ctx, job.row)
    cdef float least = -INFINITY
    cdef long row, row0, row1, first
    cdef int i
    bnf_pool_range(ctx.model.output.m, ROW_GRAIN, ith, nth, &row0, &row1)
    own.token = LLAMA_TOKEN_NULL
    first = row0
    for row in range(row0, row1):
        if upper[row] > upper[first]:
            first = row
    if row0 < row1:
        consider(own, exact_logit(ctx, &act, job.row, first, ith), <int32_t>first)
    bnf_pool_barrier(ctx.pool)
    for i in range(nth):
        if job.best[i].token != LLAMA_TOKEN_NULL and job.best[i].logit > least:
            least = job.best[i].logit
    bnf_pool_barrier(ctx.pool)        # everyone has read the bests before anyone finds a better one
    for row in range(row0, row1):
        # Written so that a row whose bound is not a number is kept.
        if not (upper[row] < least) and row != first:
            consider(own, exact_logit(ctx, &act, job.row, row, ith), <int32_t>row)
            if own.token != LLAMA_TOKEN_NULL and own.logit > least:
                least = own.logit

cdef public int32_t bnf_head_greedy_row(llama_context *ctx, int64_t row) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef int n_threads = min(enter_team(ctx), MAX_THREADS)
    cdef choice_t job
    cdef int i
    job.upper = bounds_of(ctx, row, n_threads)
    if job.upper == NULL:
        bnf_team_leave(ctx)
        return LLAMA_TOKEN_NULL
    job.ctx = ctx
    job.row = row
    for i in range(n_threads):
        job.best[i].token = LLAMA_TOKEN_NULL
    bnf_pool_run(ctx.pool, n_threads, choose, &job)
    bnf_team_leave(ctx)
    for i in range(1, n_threads):
        if job.best[i].token != LLAMA_TOKEN_NULL:
            consider(&job.best[0], job.best[i].logit, job.best[i].token)
    count(ctx, bnf_time_us() - start)
    return job.best[0].token

cdef public int32_t bnf_head_greedy(llama_context *ctx, int32_t i) noexcept nogil:
    cdef int32_t token = LLAMA_TOKEN_NULL
    cdef int64_t row
    if not bnf_context_enter(ctx):
        return LLAMA_TOKEN_NULL
    row = bnf_output_row(ctx, i)
    if row >= 0:
        token = bnf_head_greedy_row(ctx, row)
    bnf_context_leave(ctx)
    return token

# ---- shortlists ----

ctypedef struct shortlist_t:
    llama_context *ctx
    const bnf_shortlist *wanted
    int64_t row                     # of the states
    const float *upper
    llama_token_data *data          # [n_vocab]; a thread works on the part of its own rows
    int64_t begin[MAX_THREADS]      # a thread's part, and how many candidates it has left at its front
    int64_t n[MAX_THREADS]
    double least[MAX_THREADS]       # that a thread's best candidates reach

# The k largest logits. The threads' most promising rows, 2 k together, become exact; then, every one whose bound reaches the smallest of
# each thread's better half. On a real head (SmolLM2, 49,152 rows) the best 40 take 231 exact logits in the median and 905 at most, as few
# as a threshold known beforehand; from k rows instead of 2 k it was 655 and 12,302.
cdef void list_best(void *arg, int ith, int nth) noexcept nogil:
    cdef shortlist_t *job = <shortlist_t *>arg
    cdef llama_context *ctx = job.ctx
    cdef bnf_act act = state_of(ctx, job.row)
    cdef int64_t share = (job.wanted.k + nth - 1) // nth
    cdef llama_token_data *data
    cdef long row, row0, row1
    cdef int64_t i, n
    cdef double least
    cdef int t
    bnf_pool_range(ctx.model.output.m, ROW_GRAIN, ith, nth, &row0, &row1)
    data = job.data + row0
    for row in range(row0, row1):
        data[row - row0].id = <int32_t>row
        data[row - row0].logit = job.upper[row]
        data[row - row0].p = 0
    n = min(2 * share, <int64_t>(row1 - row0))
    bnf_candidates_sort(data, <size_t>(row1 - row0), <size_t>n)
    for i in range(n):
        data[i].logit = exact_logit(ctx, &act, job.row, data[i].id, ith)
    bnf_candidates_sort(data, <size_t>n, <size_t>n)
    # Too few rows, or one that is not a number: everything counts.
    least = data[share - 1].logit if n >= share and data[share - 1].logit == data[share - 1].logit else -INFINITY
    job.least[ith] = least
    bnf_pool_barrier(ctx.pool)
    for t in range(nth):
        least = min(least, job.least[t])
    for i in range(n, row1 - row0):
        # Written so that a row whose bound is not a number is kept.
        if not (data[i].logit < least):
            data[n] = data[i]
            data[n].logit = exact_logit(ctx, &act, job.row, data[n].id, ith)
            n += 1
    job.begin[ith] = row0
    job.n[ith] = n

cdef bint is_among(const bnf_shortlist *wanted, long token) noexcept nogil:
    cdef int32_t i
    for i in range(wanted.n_more):
        if wanted.more[i] == token:
            return True
    return False

# The largest logit / t + noise. Each thread's most promising row that nothing changes becomes exact and sets a mark, which rises as rows
# whose bound reaches it become exact. On that real head 4 logits are computed in the median and 49 at most (t = 1; 2 and 32 at 0.7).
cdef void list_noisy(void *arg, int ith, int nth) noexcept nogil:
    cdef shortlist_t *job = <shortlist_t *>arg
    cdef llama_context *ctx = job.ctx
    cdef const bnf_shortlist *wanted = job.wanted
    cdef float *noisy = ctx.noisy
    cdef bnf_act act = state_of(ctx, job.row)
    cdef long row, row0, row1, first = -1
    cdef int64_t n = 0
    cdef double score, reach, most = -INFINITY
    cdef float logit
    cdef int t
    bnf_pool_range(ctx.model.output.m, NOISE_GRAIN, ith, nth, &row0, &row1)
    if row0 < row1:
        ctx.model.ops.gumbel_bounds(wanted.seed, wanted.step, row0, row1 - row0, job.upper + row0, wanted.t, noisy + row0)
    for row in range(row0, row1):
        if (first < 0 or noisy[row] > noisy[first]) and not is_among(wanted, row):
            first = row
    if first >= 0:
        score = exact_logit(ctx, &act, job.row, first, ith) / wanted.t + bnf_gumbel(wanted.seed, wanted.step, <int32_t>first)
        if score > most:
            most = score
    job.least[ith] = most
    bnf_pool_barrier(ctx.pool)
    for t in range(nth):
        most = max(most, job.least[t])
    reach = bnf_gumbel_reach(most)
    for row in range(row0, row1):
        # Written so that a row whose bound is not a number is kept, and every row while there is no finite mark.
        if not (noisy[row] < reach):
            logit = exact_logit(ctx, &act, job.row, row, ith)
            job.data[row0 + n].id = <int32_t>row
            job.data[row0 + n].logit = logit
            job.data[row0 + n].p = 0
            n += 1
            score = logit / wanted.t + bnf_gumbel(wanted.seed, wanted.step, <int32_t>row)
            if score > most and not is_among(wanted, row):
                most = score
                reach = bnf_gumbel_reach(most)
    job.begin[ith] = row0
    job.n[ith] = n

cdef public int64_t bnf_head_shortlist_row(llama_context *ctx, int64_t row, const bnf_shortlist *wanted,
                                           llama_token_data *data) noexcept nogil:
    cdef int64_t start = bnf_time_us()
    cdef int n_threads = min(enter_team(ctx), MAX_THREADS)
    cdef shortlist_t job
    cdef bnf_act act
    cdef int64_t i, j, n
    cdef int t
    job.upper = bounds_of(ctx, row, n_threads)
    if job.upper == NULL:
        bnf_team_leave(ctx)
        return 0
    job.ctx = ctx
    job.wanted = wanted
    job.row = row
    job.data = data
    for t in range(n_threads):
        job.n[t] = 0
    bnf_pool_run(ctx.pool, n_threads, list_best if wanted.k > 0 else list_noisy, &job)
    bnf_team_leave(ctx)
    n = 0
    for t in range(n_threads):
        memmove(data + n, data + job.begin[t], <size_t>job.n[t] * sizeof(llama_token_data))
        n += job.n[t]
    act = state_of(ctx, job.row)
    for i in range(wanted.n_more):
        j = 0
        while j < n and data[j].id != wanted.more[i]:
            j += 1
        if j == n and wanted.more[i] >= 0 and wanted.more[i] < ctx.model.hp.n_vocab:
            data[n].id = wanted.more[i]
            data[n].logit = exact_logit(ctx, &act, row, wanted.more[i], 0)
            data[n].p = 0
            n += 1
    count(ctx, bnf_time_us() - start)
    return n

cdef public int64_t bnf_head_shortlist(llama_context *ctx, int32_t i, const bnf_shortlist *wanted, llama_token_data *data) noexcept nogil:
    cdef int64_t n = 0
    cdef int64_t row
    if not bnf_context_enter(ctx):
        return 0
    row = bnf_output_row(ctx, i)
    if row >= 0:
        n = bnf_head_shortlist_row(ctx, row, wanted, data)
    bnf_context_leave(ctx)
    return n
