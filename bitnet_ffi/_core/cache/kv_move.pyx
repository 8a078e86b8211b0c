# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Moving the positions of a sequence: the context shift. Pages are aligned to position, so tokens change pages, and keys hold the
# rotation of their position, so they are rotated on, at once: attention stays as fast as it was, and its bits do not depend on what
# is still to be rotated. Two steps: tables first, which may fail and be undone, then keys and values, which cannot.
# A rotated key is rounded to the cache's type again: each move adds at most half a unit in its last place (F16: 2^-11 of the value),
# plus 2^-23 of the pair's length from the rotation; Q8_0 quantizes its block anew.
# May not: move what another sequence holds; that one keeps its copy. Next: kv_cache.pyx.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_kv_keep_tables, bnf_kv_put, bnf_kv_seq_rm, bnf_kv_settle, bnf_kv_table_above, bnf_kv_undo
from bitnet_ffi._core.bnf_context cimport bnf_lowest64, bnf_team_enter, bnf_team_leave, llama_context
from bitnet_ffi._core.bnf_math cimport bnf_sincos
from bitnet_ffi._core.bnf_ops cimport bnf_ops_t, BNF_KV_PAGE
from bitnet_ffi._core.bnf_pool cimport bnf_pool_run
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR, BITNET_ERROR_CONTEXT, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_types cimport bnf_hparams, bnf_kv, bnf_seq

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    MAX_POS = 1 << 24      # batch.pyx says why

# A token that changes its slot: where it was and where it will be, as page * 64 + slot, and how far it turns.
ctypedef struct move_t:
    int64_t source
    int64_t target
    int32_t pos            # where it was; once tables are changed, the index of its rotation, -1: none

ctypedef struct job_t:
    llama_context *ctx
    move_t *moves
    int64_t n
    float *turns           # [.][n_rot / 2][2] cos and sin
    uint8_t *memory        # [threads][thread_size]: n rows of the cache, then a page of floats
    uint64_t rows_size
    uint64_t thread_size

# ---- the tables ----

cdef inline int32_t new_pos(int32_t pos, int32_t delta, int32_t divisor) noexcept nogil:
    return (pos + delta) // divisor       # pos >= 0 and pos + delta < MAX_POS: no overflow

cdef int64_t count_tokens(const bnf_kv *kv, int32_t seq) noexcept nogil:
    cdef int32_t table = seq
    cdef int64_t n = 0
    cdef int32_t i
    cdef uint64_t rest
    while table >= 0:
        for i in range(kv.seqs[table].n_pages):
            rest = kv.seqs[table].pages[i].mask
            while rest != 0:
                n += 1
                rest &= rest - 1
        table = kv.seqs[table].above
    return n

# Tokens of [p0, p1), in order of position and, where several share one, of their tables. How many.
cdef int64_t list_tokens(const bnf_kv *kv, int32_t seq, int32_t p0, int32_t p1, move_t *moves) noexcept nogil:
    cdef const bnf_seq *own = &kv.seqs[seq]
    cdef const bnf_seq *s
    cdef int64_t n = 0
    cdef int32_t index, pos, table
    cdef uint64_t rest
    for index in range(p0 // BNF_KV_PAGE, own.n_pages):
        rest = own.pages[index].mask
        while rest != 0:
            pos = index * BNF_KV_PAGE + bnf_lowest64(rest)
            rest &= rest - 1
            if pos < p0 or pos >= p1:
                continue
            table = seq
            while table >= 0:
                s = &kv.seqs[table]
                if index >= s.n_pages or not s.pages[index].mask >> (pos % BNF_KV_PAGE) & 1:
                    break
                moves[n].source = <int64_t>s.pages[index].page * BNF_KV_PAGE + pos % BNF_KV_PAGE
                moves[n].pos = pos
                n += 1
                table = s.above
    return n

# The lowest table of the stack in which this position is free; -1: out of memory.
cdef int32_t free_table(bnf_kv *kv, int32_t seq, int32_t pos) noexcept nogil:
    cdef int32_t index = pos // BNF_KV_PAGE
    cdef int32_t table = seq
    while table >= 0 and index < kv.seqs[table].n_pages and kv.seqs[table].pages[index].mask >> (pos % BNF_KV_PAGE) & 1:
        table = bnf_kv_table_above(kv, table)
    return table

cdef int no_memory(int32_t seq) noexcept nogil:
    return bnf_fail(BITNET_ERROR_MEMORY, b"no memory to move positions of sequence %d", seq)

# The tokens of the list into their new places; tokens that must leave a shared page with them join the list. The length of the
# list, or a negative code.
cdef int64_t put_tokens(bnf_kv *kv, int32_t seq, move_t *moves, int64_t n, int32_t delta, int32_t divisor) noexcept nogil:
    cdef int64_t n_kept = 0
    cdef int64_t n_all = n
    cdef int64_t i, at
    cdef int32_t pos, table, left, page
    cdef uint64_t rest
    for i in range(n):
        pos = new_pos(moves[i].pos, delta, divisor)
        if pos < 0:
            continue
        table = free_table(kv, seq, pos)
        if table < 0:
            return no_memory(seq)
        at = bnf_kv_put(kv, table, pos, -1, &left)
        if at == -2:
            return no_memory(seq)
        if at == -1 and kv.n_used >= kv.n_ctx:
            return bnf_fail(BITNET_ERROR_CONTEXT, b"sequence %d shares tokens that are to move, and their copies do not fit in n_ctx = %d",
                            seq, kv.n_ctx)
        if at == -1:
            return bnf_fail(BITNET_ERROR_CONTEXT, b"moving positions of sequence %d takes more pages than are free", seq)
        if left >= 0:
            page = kv.seqs[table].pages[pos // BNF_KV_PAGE].page
            rest = kv.seqs[table].pages[pos // BNF_KV_PAGE].mask & ~(<uint64_t>1 << (pos % BNF_KV_PAGE))
            while rest != 0:
                moves[n_all].source = <int64_t>left * BNF_KV_PAGE + bnf_lowest64(rest)
                moves[n_all].target = <int64_t>page * BNF_KV_PAGE + bnf_lowest64(rest)
                moves[n_all].pos = -1
                n_all += 1
                rest &= rest - 1
        moves[n_kept] = moves[i]
        moves[n_kept].target = at
        n_kept += 1
    for i in range(n, n_all):      # over the places of those that were dropped
        moves[n_kept] = moves[i]
        n_kept += 1
    return n_kept

# ---- keys and values ----

# Rotations that the list wants: one for all where all move as far, else one each. How many.
cdef int64_t count_turns(const bnf_hparams *hp, int32_t divisor, int64_t n) noexcept nogil:
    if hp.n_rot == 0:
        return 0
    return n if divisor > 1 else 1

cdef void make_turn(const llama_context *ctx, int32_t distance, float *turn) noexcept nogil:
    cdef double sine, cosine
    cdef int64_t j
    for j in range(ctx.model.hp.n_rot // 2):
        bnf_sincos(<double>distance * ctx.rope_freqs[j], &sine, &cosine)
        turn[2 * j] = <float>cosine
        turn[2 * j + 1] = <float>sine

cdef void make_turns(job_t *job, int32_t delta, int32_t divisor) noexcept nogil:
    cdef int64_t n_rot = job.ctx.model.hp.n_rot
    cdef move_t *move
    cdef int32_t distance
    cdef int64_t i
    if divisor == 1 and n_rot > 0:
        make_turn(job.ctx, delta, job.turns)
    for i in range(job.n):
        move = &job.moves[i]
        distance = new_pos(move.pos, delta, divisor) - move.pos if move.pos >= 0 and n_rot > 0 else 0
        if distance == 0:
            move.pos = -1
        elif divisor == 1:
            move.pos = 0
        else:
            move.pos = <int32_t>i
            make_turn(job.ctx, distance, job.turns + i * n_rot)

# The keys of a run of moves from one page, rotated, into rows.
cdef void turn_keys(const job_t *job, const uint8_t *page, int64_t begin, int64_t end, uint64_t row_size, uint8_t *rows,
                    float *floats) noexcept nogil:
    cdef const bnf_hparams *hp = &job.ctx.model.hp
    cdef const bnf_ops_t *ops = job.ctx.model.ops
    cdef const move_t *moves = job.moves
    cdef int64_t stride = (<int64_t>hp.dk + 15) // 16 * 16
    cdef uint64_t mask = 0
    cdef int64_t i, slot
    cdef float *key
    for i in range(begin, end):
        if moves[i].pos >= 0:
            mask |= <uint64_t>1 << (moves[i].source % BNF_KV_PAGE)
    if mask != 0:      # values have the plain layout, slot by slot
        ops.unpack_v[job.ctx.kv.type_k](page, hp.dk, mask, floats)
    for i in range(begin, end):
        slot = moves[i].source % BNF_KV_PAGE
        if moves[i].pos < 0:
            memcpy(rows + <uint64_t>i * row_size, page + <uint64_t>slot * row_size, row_size)
            continue
        key = floats + slot * stride
        ops.rope(key, 1, hp.dk, hp.n_rot, job.turns + <int64_t>moves[i].pos * hp.n_rot, hp.rope_neox)
        ops.store_kv[job.ctx.kv.type_k](key, hp.dk, rows + <uint64_t>i * row_size)

# All keys or values of one layer and head: first from where they were into rows, then to where they will be.
cdef void move_rows(const job_t *job, uint8_t *base, uint64_t head_stride, int64_t head, bint keys, uint8_t *rows,
                    float *floats) noexcept nogil:
    cdef const move_t *moves = job.moves
    cdef int64_t n_head_kv = job.ctx.kv.n_head_kv
    cdef uint64_t row_size = head_stride // BNF_KV_PAGE
    cdef const uint8_t *page
    cdef int64_t i = 0
    cdef int64_t end
    while i < job.n:
        end = i + 1
        while end < job.n and moves[end].source // BNF_KV_PAGE == moves[i].source // BNF_KV_PAGE:
            end += 1
        page = base + <uint64_t>(moves[i].source // BNF_KV_PAGE * n_head_kv + head) * head_stride
        if keys:
            turn_keys(job, page, i, end, row_size, rows, floats)
        else:
            for i in range(i, end):
                memcpy(rows + <uint64_t>i * row_size, page + <uint64_t>(moves[i].source % BNF_KV_PAGE) * row_size, row_size)
        i = end
    for i in range(job.n):
        memcpy(base + <uint64_t>(moves[i].target // BNF_KV_PAGE * n_head_kv + head) * head_stride
               + <uint64_t>(moves[i].target % BNF_KV_PAGE) * row_size, rows + <uint64_t>i * row_size, row_size)

cdef void move_heads(void *arg, int ith, int nth) noexcept nogil:
    cdef const job_t *job = <const job_t *>arg
    cdef const bnf_kv *kv = &job.ctx.kv
    cdef uint8_t *rows = job.memory + <uint64_t>ith * job.thread_size
    cdef float *floats = <float *>(rows + job.rows_size)
    cdef int64_t item = ith
    cdef int64_t layer, head
    while item < <int64_t>kv.n_layer * kv.n_head_kv:
        layer = item // kv.n_head_kv
        head = item % kv.n_head_kv
        move_rows(job, kv.k + <uint64_t>layer * kv.layer_stride_k, kv.head_stride_k, head, True, rows, floats)
        move_rows(job, kv.v + <uint64_t>layer * kv.layer_stride_v, kv.head_stride_v, head, False, rows, floats)
        item += nth

# ---- the whole ----

# The moves' memory; 0 or an error.
cdef int make_job(job_t *job, int64_t n_all, int32_t seq, int32_t divisor, int n_threads) noexcept nogil:
    cdef const bnf_kv *kv = &job.ctx.kv
    cdef const bnf_hparams *hp = &job.ctx.model.hp
    cdef uint64_t row_size = max(kv.head_stride_k, kv.head_stride_v) // BNF_KV_PAGE
    job.rows_size = (<uint64_t>n_all * row_size + 63) // 64 * 64
    job.thread_size = job.rows_size + BNF_KV_PAGE * <uint64_t>((hp.dk + 15) // 16 * 16) * sizeof(float)
    job.moves = <move_t *>bnf_alloc_array(<size_t>n_all, sizeof(move_t))
    job.turns = <float *>bnf_alloc_array(<size_t>(count_turns(hp, divisor, n_all) * hp.n_rot), sizeof(float))
    job.memory = <uint8_t *>bnf_alloc_array(<size_t>n_threads, <size_t>job.thread_size)
    if job.moves == NULL or job.turns == NULL or job.memory == NULL:
        return no_memory(seq)
    return 0

cdef int move_tables(job_t *job, int32_t seq, int32_t p0, int32_t p1, int32_t delta, int32_t divisor) noexcept nogil:
    cdef bnf_kv *kv = &job.ctx.kv
    cdef bnf_kv *before = bnf_kv_keep_tables(kv)
    if before == NULL:
        return no_memory(seq)
    job.n = list_tokens(kv, seq, p0, p1, job.moves)
    bnf_kv_seq_rm(kv, seq, p0, p1)
    job.n = put_tokens(kv, seq, job.moves, job.n, delta, divisor)
    if job.n < 0:
        bnf_kv_undo(kv, before)
    else:
        bnf_kv_settle(kv, seq)
    bnf_release(before)
    return <int>job.n if job.n < 0 else 0

cdef public int bnf_kv_move(llama_context *ctx, int32_t seq, int32_t p0, int32_t p1, int32_t delta, int32_t divisor) noexcept nogil:
    cdef int n_threads
    cdef int32_t last = min(ctx.kv.seqs[seq].pos_max, p1 - 1)
    cdef job_t job
    cdef int rc
    if (delta == 0 and divisor == 1) or p0 >= p1 or last < p0 or last < 0:
        return 0
    if <int64_t>last + delta >= MAX_POS:
        return bnf_fail(BITNET_ERROR, b"position %d of sequence %d cannot move by %d: expected to end before %d", last, seq, delta,
                        <int>MAX_POS)
    job.ctx = ctx
    n_threads = bnf_team_enter(ctx, True)
    rc = make_job(&job, count_tokens(&ctx.kv, seq), seq, divisor, n_threads)
    if rc == 0:
        rc = move_tables(&job, seq, p0, p1, delta, divisor)
    if rc == 0:
        make_turns(&job, delta, divisor)
        bnf_pool_run(ctx.pool, n_threads, move_heads, &job)
    bnf_team_leave(ctx)
    bnf_release(job.moves)
    bnf_release(job.turns)
    bnf_release(job.memory)
    return rc
