# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Chains attached to sequences, and what they made of the rows of the last decode. They run at the end of a decode, not when somebody
# reads: so the state of a sampler at the decode is what counts, a chain may end before its rows are read, and a decode without memory
# for them fails whole. What needs the whole head is left until somebody reads it: where the screened head serves (greedy, top-k, Gumbel
# noise), a decode computes the few logits that decide.
# May not change a chain before every row is done. Next: sampler_front.pyx, head.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_head_greedy_row, bnf_head_logits, bnf_output_row
from bitnet_ffi._core.bnf_context cimport bnf_context_enter, bnf_context_leave, llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_sampler, llama_token, llama_token_data, BITNET_ERROR, BITNET_ERROR_MEMORY, LLAMA_TOKEN_NULL)
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_chain_i, bnf_front, bnf_front_apply, bnf_front_end, bnf_front_foreign, bnf_front_is_greedy, bnf_front_is_idle, bnf_front_length,
    bnf_head_shortlist_row, bnf_next_serial, bnf_sampled, bnf_sampled_row_t, bnf_sampler_chain, bnf_shortlist, bnf_shortlist_of,
    INFINITY)
from bitnet_ffi._core.bnf_types cimport bnf_batch

cdef extern from "bnf_sampled.h" nogil:
    pass

cdef extern from "bnf_calls.h" nogil:
    pass

cdef extern from "bitnet_ffi.h" nogil:
    const char *llama_sampler_name(const llama_sampler *smpl)

cdef enum:
    LEAST_SHARE = 64  # as in api_sampler.pyx: a shortlist of more than this part of the vocabulary is not worth making


cdef inline bnf_sampled *sampled_of(const llama_context *ctx) noexcept nogil:
    return <bnf_sampled *>ctx.sampled


cdef inline bnf_sampler_chain *chain_of(const llama_sampler *smpl) noexcept nogil:
    return <bnf_sampler_chain *>smpl.ctx


# ---- attaching ----

cdef int make(llama_context *ctx) noexcept nogil:
    cdef bnf_sampled *s
    cdef size_t n_seq = ctx.params.n_seq_max
    if ctx.sampled == NULL:
        ctx.sampled = bnf_alloc(sizeof(bnf_sampled))
        if ctx.sampled == NULL:
            return BITNET_ERROR_MEMORY
    s = sampled_of(ctx)
    if s.chains == NULL:
        s.chains = <llama_sampler **>bnf_alloc_array(n_seq, sizeof(llama_sampler *))
    if s.n_rows_of == NULL:
        s.n_rows_of = <int32_t *>bnf_alloc_array(n_seq, sizeof(int32_t))
    if s.work == NULL:
        s.work = <llama_token_data *>bnf_alloc_array(<size_t>ctx.model.hp.n_vocab, sizeof(llama_token_data))
    return BITNET_ERROR_MEMORY if s.chains == NULL or s.n_rows_of == NULL or s.work == NULL else 0


cdef public void bnf_sampled_forget(llama_context *ctx, int32_t seq) noexcept nogil:
    cdef bnf_sampled *s = sampled_of(ctx)
    if s != NULL and s.chains != NULL and s.chains[seq] != NULL:
        chain_of(s.chains[seq]).attached = NULL
        s.chains[seq] = NULL
        s.n_chains -= 1


cdef int check(const llama_context *ctx, int32_t seq, const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_chain *chain
    cdef const llama_sampler *foreign
    if smpl.iface != &bnf_chain_i:
        return bnf_fail(BITNET_ERROR, "sampler '%s' is no chain: a sequence takes one of llama_sampler_chain_init",
                        llama_sampler_name(smpl))
    chain = chain_of(smpl)
    if chain.attached != NULL and (chain.attached != ctx or chain.seq != seq):
        return bnf_fail(BITNET_ERROR, "the chain is attached to sequence %d of %s context: each sequence takes a chain of its own",
                        chain.seq, "this" if chain.attached == ctx else "another")
    if chain.n == 0:
        return bnf_fail(BITNET_ERROR, "the chain is empty: there is nothing to run in a decode")
    foreign = bnf_front_foreign(smpl)
    if foreign != NULL:
        return bnf_fail(BITNET_ERROR, "sampler '%s' has a backend_apply and no apply: there are no ggml tensors that it could work on",
                        llama_sampler_name(foreign))
    return 0


cdef public int bnf_sampled_attach(llama_context *ctx, int32_t seq, llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_chain *chain
    cdef int rc
    if seq < 0 or <int64_t>seq >= <int64_t>ctx.params.n_seq_max:
        return bnf_fail(BITNET_ERROR, "sequence %d, expected 0 to %d (n_seq_max - 1)", seq, <int>ctx.params.n_seq_max - 1)
    rc = check(ctx, seq, smpl) if smpl != NULL else 0
    if rc == 0 and smpl != NULL:
        rc = make(ctx)
    bnf_sampled_forget(ctx, seq)
    if rc != 0 or smpl == NULL:
        return rc
    chain = chain_of(smpl)
    chain.attached = ctx
    chain.seq = seq
    chain.n_front = bnf_front_length(smpl, ctx.params.n_outputs_max_per_seq == 1)
    chain.serial = bnf_next_serial()
    sampled_of(ctx).chains[seq] = smpl
    sampled_of(ctx).n_chains += 1
    return 0


cdef public void bnf_sampled_free(llama_context *ctx) noexcept nogil:
    cdef bnf_sampled *s = sampled_of(ctx)
    cdef int32_t i
    if s == NULL:
        return
    for i in range(<int32_t>ctx.params.n_seq_max):
        bnf_sampled_forget(ctx, i)
    for i in range(s.rows_cap):
        bnf_release(s.rows[i].data)
        bnf_release(s.rows[i].logits)
        bnf_release(s.rows[i].probs)
        bnf_release(s.rows[i].ids)
    bnf_release(s.rows)
    bnf_release(s.chains)
    bnf_release(s.n_rows_of)
    bnf_release(s.work)
    bnf_release(s)
    ctx.sampled = NULL


# ---- a decode ----

cdef public void bnf_sampled_begin(llama_context *ctx) noexcept nogil:
    cdef bnf_sampled *s = sampled_of(ctx)
    cdef int32_t i
    if s == NULL:
        return
    s.n_rows = 0
    for i in range(<int32_t>ctx.params.n_seq_max if s.n_chains > 0 else 0):
        if s.chains[i] != NULL:
            bnf_front_end(s.chains[i], 0, False)


# As llama.cpp counts: a token of several sequences is a row of each of them. The first one's chain will run on it.
cdef public int bnf_sampled_check(llama_context *ctx, const bnf_batch *batch) noexcept nogil:
    cdef bnf_sampled *s = sampled_of(ctx)
    cdef int64_t first
    cdef int32_t i, j, seq
    if s == NULL or s.n_chains == 0:
        return 0
    for i in range(<int32_t>ctx.params.n_seq_max):
        s.n_rows_of[i] = 0
    for i in range(batch.n_tokens):
        if batch.out_row[i] < 0:
            continue
        first = <int64_t>i * batch.seq_stride
        for j in range(batch.n_seq[i]):
            s.n_rows_of[batch.seq[first + j]] += 1
    for seq in range(<int32_t>ctx.params.n_seq_max):
        if s.chains[seq] != NULL and <int64_t>s.n_rows_of[seq] > <int64_t>ctx.params.n_outputs_max_per_seq:
            return bnf_fail(BITNET_ERROR, "sequence %d, which has a sampler, has %d outputs in the batch, expected at most %u "
                            "(n_outputs_max_per_seq)", seq, s.n_rows_of[seq], ctx.params.n_outputs_max_per_seq)
    return 0


cdef int make_rows(llama_context *ctx, bnf_sampled *s) noexcept nogil:
    cdef bnf_sampled_row_t *rows
    if ctx.n_outputs <= s.rows_cap:
        return 0
    rows = <bnf_sampled_row_t *>bnf_alloc_array(<size_t>ctx.n_outputs, sizeof(bnf_sampled_row_t))
    if rows == NULL:
        return BITNET_ERROR_MEMORY
    if s.rows != NULL:
        memcpy(rows, s.rows, <size_t>s.rows_cap * sizeof(bnf_sampled_row_t))
    bnf_release(s.rows)
    s.rows = rows
    s.rows_cap = ctx.n_outputs
    return 0


# Keep n candidates of the front in the row.
cdef int keep(bnf_sampled_row_t *row, const llama_token_data *data, size_t n) noexcept nogil:
    cdef llama_token_data *copy
    if n > row.cap:
        copy = <llama_token_data *>bnf_alloc_array(n, sizeof(llama_token_data))
        if copy == NULL:
            return BITNET_ERROR_MEMORY
        bnf_release(row.data)
        row.data = copy
        row.cap = n
    memcpy(row.data, data, n * sizeof(llama_token_data))
    row.n_all = n
    return 0


cdef bint is_changed(const bnf_shortlist *few, int32_t token) noexcept nogil:
    cdef int32_t i
    for i in range(few.n_more):
        if few.more[i] == token:
            return True
    return False


# One row. Where few logits decide, and the candidates are no list of their own, those that the chain changed are kept: all others are
# what the head says, over the temperature.
cdef int run_row(llama_context *ctx, int64_t at, const llama_sampler *smpl, int32_t ahead, bnf_sampled_row_t *row) noexcept nogil:
    cdef bnf_sampled *s = sampled_of(ctx)
    cdef const float *logits
    cdef bnf_shortlist few
    cdef bnf_front front
    cdef int64_t n = 0
    cdef size_t i, n_changed
    cdef int32_t id
    row.serial = chain_of(smpl).serial
    row.token = LLAMA_TOKEN_NULL
    row.listed = False
    row.has_p = False
    row.sorted = False
    row.from_head = True
    row.t = 1
    row.n = 0
    row.n_all = 0
    row.shown = False
    if bnf_front_is_idle(smpl):
        return 0
    if bnf_front_is_greedy(smpl):
        row.token = bnf_head_greedy_row(ctx, at)
        if row.token != LLAMA_TOKEN_NULL:
            return 0
    elif bnf_shortlist_of(smpl, chain_of(smpl).n_front, &few) and few.k <= ctx.model.hp.n_vocab // LEAST_SHARE:
        few.step += <uint64_t>ahead          # of the noise
        n = bnf_head_shortlist_row(ctx, at, &few, s.work)
    if n == 0:
        row.from_head = False
        if bnf_head_logits(ctx) != 0:
            return BITNET_ERROR_MEMORY
        n = ctx.model.hp.n_vocab
        logits = ctx.logits + at * n
        for id in range(<int32_t>n):
            s.work[id].id = id
            s.work[id].logit = logits[id]
            s.work[id].p = 0
    front.cur.data = s.work
    front.cur.size = <size_t>n
    front.cur.selected = -1
    front.cur.sorted = False
    bnf_front_apply(smpl, ahead, &front)
    row.token = front.token
    row.listed = front.listed
    row.has_p = front.has_p
    row.sorted = front.cur.sorted
    row.n = front.cur.size
    if front.listed:
        row.from_head = False
        return keep(row, s.work, front.n_all)
    if not row.from_head:
        return keep(row, s.work, front.cur.size)
    row.t = few.t
    n_changed = 0
    for i in range(front.cur.size):
        if is_changed(&few, s.work[i].id):
            s.work[n_changed] = s.work[i]
            n_changed += 1
    row.n = n_changed
    return keep(row, s.work, n_changed)


cdef public int bnf_sampled_run(llama_context *ctx) noexcept nogil:
    cdef bnf_sampled *s = sampled_of(ctx)
    cdef const bnf_batch *batch = &ctx.batch
    cdef int32_t i, seq, at
    cdef int rc
    if s == NULL or s.n_chains == 0 or ctx.n_outputs == 0:
        return 0
    rc = make_rows(ctx, s)
    if rc != 0:
        return rc
    for seq in range(<int32_t>ctx.params.n_seq_max):
        s.n_rows_of[seq] = 0
    for i in range(batch.n_tokens):
        at = batch.out_row[i]
        if at < 0:
            continue
        seq = batch.seq[<int64_t>i * batch.seq_stride]
        s.rows[at].serial = 0
        if s.chains[seq] != NULL:
            rc = run_row(ctx, at, s.chains[seq], s.n_rows_of[seq], &s.rows[at])
            if rc != 0:
                return rc
            s.n_rows_of[seq] += 1
    for seq in range(<int32_t>ctx.params.n_seq_max):
        if s.chains[seq] != NULL:
            bnf_front_end(s.chains[seq], s.n_rows_of[seq], ctx.params.n_outputs_max_per_seq == 1)
    s.n_rows = ctx.n_outputs
    return 0


# ---- reading ----

cdef public const bnf_sampled_row_t *bnf_sampled_row(const llama_context *ctx, int64_t at) noexcept nogil:
    cdef bnf_sampled *s = sampled_of(ctx)
    if s == NULL or at < 0 or at >= s.n_rows or s.rows[at].serial == 0:
        return NULL
    return &s.rows[at]


cdef int make_arrays(const llama_context *ctx, bnf_sampled_row_t *row) noexcept nogil:
    cdef size_t n_vocab = <size_t>ctx.model.hp.n_vocab
    cdef size_t n = row.n_all if row.listed else n_vocab
    if row.logits == NULL:
        row.logits = <float *>bnf_alloc_array(n_vocab, sizeof(float))
        if row.logits == NULL:
            return BITNET_ERROR_MEMORY
    if row.has_p and n > row.probs_cap:
        bnf_release(row.probs)
        row.probs = <float *>bnf_alloc_array(n, sizeof(float))
        row.probs_cap = n if row.probs != NULL else 0
        if row.probs == NULL:
            return BITNET_ERROR_MEMORY
    if row.listed and n > row.ids_cap:
        bnf_release(row.ids)
        row.ids = <int32_t *>bnf_alloc_array(n, sizeof(int32_t))
        row.ids_cap = n if row.ids != NULL else 0
        if row.ids == NULL:
            return BITNET_ERROR_MEMORY
    return 0


# By place in the list, or by id. head: the model's logits, where those of the row come from.
cdef void fill(const llama_context *ctx, const float *head, bnf_sampled_row_t *row) noexcept nogil:
    cdef size_t n_vocab = <size_t>ctx.model.hp.n_vocab
    cdef const llama_token_data *t
    cdef size_t i, to
    for i in range(n_vocab):
        row.logits[i] = head[i] / row.t if row.from_head else -INFINITY
    if row.has_p:
        for i in range(row.n_all if row.listed else n_vocab):
            row.probs[i] = 0
    for i in range(row.n_all):
        t = &row.data[i]
        to = i if row.listed else <size_t>t.id
        if row.listed:
            row.ids[i] = t.id
        if i < row.n:
            row.logits[to] = t.logit
            if row.has_p:
                row.probs[to] = t.p


cdef public const bnf_sampled_row_t *bnf_sampled_show(llama_context *ctx, int64_t at) noexcept nogil:
    cdef bnf_sampled_row_t *row = &sampled_of(ctx).rows[at]
    if row.shown:
        return row
    if row.from_head and bnf_head_logits(ctx) != 0 or make_arrays(ctx, row) != 0:
        return NULL
    fill(ctx, ctx.logits + at * ctx.model.hp.n_vocab if row.from_head else NULL, row)
    row.shown = True
    return row


# Where a chain only selected, they are the model's own.
cdef public float *bnf_sampled_logits(llama_context *ctx, int64_t at) noexcept nogil:
    cdef const bnf_sampled_row_t *row = &sampled_of(ctx).rows[at]
    if row.from_head and row.t == 1 and row.n_all == 0:
        return ctx.logits + at * ctx.model.hp.n_vocab if bnf_head_logits(ctx) == 0 else NULL
    row = bnf_sampled_show(ctx, at)
    return row.logits if row != NULL else NULL


cdef public llama_token bnf_sampled_token(llama_context *ctx, int32_t i) noexcept nogil:
    cdef const bnf_sampled_row_t *row
    cdef llama_token token = LLAMA_TOKEN_NULL
    if not bnf_context_enter(ctx):
        return LLAMA_TOKEN_NULL
    row = bnf_sampled_row(ctx, bnf_output_row(ctx, i))
    if row != NULL:
        token = row.token
    bnf_context_leave(ctx)
    return token


cdef public size_t bnf_sampled_candidates(llama_context *ctx, int32_t i, const llama_sampler *smpl, llama_token_data *data, bool *sorted,
                                          int32_t *first) noexcept nogil:
    cdef const bnf_sampled_row_t *row
    cdef size_t n = 0
    first[0] = 0
    if not bnf_context_enter(ctx):
        return 0
    row = bnf_sampled_row(ctx, bnf_output_row(ctx, i))
    if row != NULL and not row.from_head:
        n = row.n
        memcpy(data, row.data, n * sizeof(llama_token_data))
        sorted[0] = row.sorted
        if smpl.iface == &bnf_chain_i and chain_of(smpl).serial == row.serial:
            first[0] = chain_of(smpl).n_front
    bnf_context_leave(ctx)
    return n
