# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Attention of one layer: rotate, store into the pages of the KV cache, and sum over the pages that each token sees. An item is
# (token, kv head), with the g query heads that share it. Pages fold in order of position whoever computed them, hence to the
# same bits. Two ways to share the work (enum bnf_attention_plan): few items are cut into pages, many are dealt out whole.
# May not: allocate, or choose pages (kv_cache.pyx did). Next: csrc/bnf_ops.h states the sums, csrc/bnf_types.h draws the pages.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf cimport (
    bnf_batch, bnf_hparams, bnf_kv, bnf_ops_t, bnf_pool_range, bnf_scratch, bnf_seq, bnf_step, llama_context,
    BNF_ATTN_ITEMS, BNF_ATTN_PAGES, BNF_ATTN_PAGES_ALONE, BNF_KV_PAGE, BNF_MAX_SEQUENCES)

cdef extern from "bnf_calls.h":
    pass

cdef extern from "<math.h>" nogil:
    float sqrtf(float x)      # IEEE: correctly rounded, the same everywhere

cdef enum:
    SEQ_WORDS = BNF_MAX_SEQUENCES // 64

# ---- who sees what ----

cdef inline int64_t group(const bnf_hparams *hp) noexcept nogil:
    return hp.n_head // hp.n_head_kv

cdef inline float softmax_scale(const bnf_hparams *hp) noexcept nogil:
    return <float>1.0 / sqrtf(<float>hp.dk)

# Pages of token t's sequence up to the one that holds its own position.
cdef inline int64_t n_visible_pages(const bnf_step *step, int64_t t) noexcept nogil:
    return step.batch.pos[step.begin + t] // BNF_KV_PAGE + 1

# Does no sequence hold two tokens of the step? Then no token reads what another one stores.
cdef bint tokens_are_apart(const bnf_step *step) noexcept nogil:
    cdef const bnf_batch *batch = step.batch
    cdef uint64_t seen[SEQ_WORDS]
    cdef uint64_t bit
    cdef int64_t i, j
    cdef int32_t seq
    for i in range(SEQ_WORDS):
        seen[i] = 0
    for i in range(step.begin, step.begin + step.n):
        for j in range(batch.n_seq[i]):
            seq = batch.seq[i * batch.seq_stride + j]
            bit = <uint64_t>1 << (seq % 64)
            if seen[seq // 64] & bit:
                return False
            seen[seq // 64] |= bit
    return True

cdef public void bnf_attention_plan(bnf_step *step, int nth) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef bnf_scratch *s = &ctx.scratch
    cdef int64_t n_head_kv = ctx.model.hp.n_head_kv
    cdef int64_t most = 0
    cdef int64_t t
    s.first_pair[0] = 0
    for t in range(step.n):
        most = max(most, n_visible_pages(step, t))
        s.first_pair[t + 1] = s.first_pair[t] + n_head_kv * n_visible_pages(step, t)
    if nth > 1 and most > s.n_partial:
        step.attention = BNF_ATTN_ITEMS
    elif tokens_are_apart(step):
        step.attention = BNF_ATTN_PAGES_ALONE
    else:
        step.attention = BNF_ATTN_PAGES if nth > 1 and step.n * n_head_kv < 4 * nth else BNF_ATTN_ITEMS

# ---- stores ----

# k and v of (token t, kv head) into the page of each of its sequences.
cdef void store(const bnf_step *step, int64_t layer, int64_t t, int64_t head) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef const bnf_batch *batch = step.batch
    cdef const bnf_ops_t *ops = ctx.model.ops
    cdef bnf_kv *kv = &ctx.kv
    cdef int64_t i = step.begin + t
    cdef int32_t pos = batch.pos[i]
    cdef int32_t slot = pos % BNF_KV_PAGE
    cdef int32_t page, last = -1
    cdef int64_t j, at
    for j in range(batch.n_seq[i]):
        page = kv.seqs[batch.seq[i * batch.seq_stride + j]].pages[pos // BNF_KV_PAGE].page
        if page == last:
            continue      # sequences that share the page share the slot
        last = page
        at = <int64_t>page * hp.n_head_kv + head
        ops.store_kv[kv.type_k](ctx.scratch.k + (t * hp.n_head_kv + head) * hp.dk, hp.dk,
            kv.k + layer * kv.layer_stride_k + at * kv.head_stride_k + slot * (kv.head_stride_k // BNF_KV_PAGE))
        ops.store_kv[kv.type_v](ctx.scratch.v + (t * hp.n_head_kv + head) * hp.dv, hp.dv,
            kv.v + layer * kv.layer_stride_v + at * kv.head_stride_v + slot * (kv.head_stride_v // BNF_KV_PAGE))

cdef inline void rope(const bnf_step *step, int64_t t, float *x, int64_t n_heads) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    step.ctx.model.ops.rope(x, n_heads, hp.dk, hp.n_rot, step.ctx.scratch.cos_sin + t * hp.n_rot, hp.rope_neox)

cdef public void bnf_rope_and_store(const bnf_step *step, int64_t layer, int64_t t) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef int64_t head
    rope(step, t, step.ctx.scratch.q + t * hp.n_head * hp.dk, hp.n_head)
    rope(step, t, step.ctx.scratch.k + t * hp.n_head_kv * hp.dk, hp.n_head_kv)
    for head in range(hp.n_head_kv):
        store(step, layer, t, head)

# ---- one item ----

# Page `index` for the query heads q[g][dk] of (token t, kv head); l[0] is -1 when the token sees nothing there: a sum of
# exponentials is never negative.
cdef void attend_page(const bnf_step *step, int64_t layer, int64_t t, int64_t head, const float *q, int64_t index,
                      float *m, float *l, float *o) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef bnf_kv *kv = &ctx.kv
    cdef int64_t i = step.begin + t
    cdef int32_t pos = step.batch.pos[i]
    cdef const bnf_seq *seq = &kv.seqs[step.batch.seq[i * step.batch.seq_stride]]
    cdef uint64_t mask = seq.pages[index].mask
    cdef int64_t at
    if index == pos // BNF_KV_PAGE:
        mask &= ~<uint64_t>0 >> (BNF_KV_PAGE - 1 - pos % BNF_KV_PAGE)
    if mask == 0:
        l[0] = -1
        return
    at = <int64_t>seq.pages[index].page * hp.n_head_kv + head
    ctx.model.ops.attn_page[kv.type_k](q, group(hp), hp.dk, hp.dv,
        kv.k + layer * kv.layer_stride_k + at * kv.head_stride_k,
        kv.v + layer * kv.layer_stride_v + at * kv.head_stride_v, mask, softmax_scale(hp), m, l, o)

# Fold a later page's result into that of the pages before it.
cdef void fold(const bnf_step *step, float *m, float *l, float *o, const float *m2, const float *l2, const float *o2) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef int64_t g = group(hp)
    if l2[0] < 0:
        return
    if l[0] < 0:
        memcpy(m, m2, <size_t>g * sizeof(float))
        memcpy(l, l2, <size_t>g * sizeof(float))
        memcpy(o, o2, <size_t>(g * hp.dv) * sizeof(float))
    else:
        step.ctx.model.ops.attn_merge(m, l, o, m2, l2, o2, g, hp.dv)

# Pages [0, end) of an item, folded, into its place in attn_m, attn_l and attn. work: [2 g + g dv].
cdef void attend(const bnf_step *step, int64_t layer, int64_t t, int64_t head, const float *q, int64_t end, float *work) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t g = group(hp)
    cdef int64_t row = t * hp.n_head + head * g
    cdef int64_t index
    attend_page(step, layer, t, head, q, 0, s.attn_m + row, s.attn_l + row, s.attn + row * hp.dv)
    for index in range(1, end):
        attend_page(step, layer, t, head, q, index, work, work + g, work + 2 * g)
        fold(step, s.attn_m + row, s.attn_l + row, s.attn + row * hp.dv, work, work + g, work + 2 * g)

# o = o / l, per head: the end of the softmax.
cdef void divide_heads(float *o, const float *l, int64_t g, int64_t dv) noexcept nogil:
    cdef int64_t i, c
    for i in range(g):
        for c in range(dv):
            o[i * dv + c] /= l[i]

# ---- all items: whole, or cut into pages ----

cdef void attend_items(const bnf_step *step, int64_t layer, int ith, int nth) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t g = group(hp)
    cdef int64_t item = ith       # dealing items out in turn balances a prompt: later tokens see more
    cdef int64_t t, row
    while item < <int64_t>step.n * hp.n_head_kv:
        t = item // hp.n_head_kv
        row = item * g
        attend(step, layer, t, item % hp.n_head_kv, s.q + row * hp.dk, n_visible_pages(step, t),
               <float *>(s.thread + <uint64_t>ith * s.thread_size))
        divide_heads(s.attn + row * hp.dv, s.attn_l + row, g, hp.dv)
        item += nth

# (token, kv head, page) triples in this order are one line, of which each thread takes a piece: the end of an item, whole items,
# the beginning of an item. Pages from the first on fold at once, into the item's place; those of the end that the piece began
# with wait in the thread's part of partial_*, because they come after pages that another thread has.
cdef void attend_pages(const bnf_step *step, int64_t layer, int ith, int nth) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t g = group(hp)
    cdef float *work = <float *>(s.thread + <uint64_t>ith * s.thread_size)
    cdef float *own_q = work + 2 * g + g * hp.dv
    cdef const float *q
    cdef int64_t t = 0
    cdef int64_t head, index, end, n_pages, at
    cdef long pair, pair1
    bnf_pool_range(s.first_pair[step.n], 1, ith, nth, &pair, &pair1)
    while pair < pair1:
        while s.first_pair[t + 1] <= pair:
            t += 1
        n_pages = n_visible_pages(step, t)
        head = (pair - s.first_pair[t]) // n_pages
        index = (pair - s.first_pair[t]) % n_pages
        end = min(n_pages, index + pair1 - pair)
        pair += end - index
        q = s.q + (t * hp.n_head + head * g) * hp.dk
        if step.attention == BNF_ATTN_PAGES_ALONE:
            # Several threads may want this q rotated: each in a copy. Who has the page of the token itself stores k and v there.
            memcpy(own_q, q, <size_t>(g * hp.dk) * sizeof(float))
            q = own_q
            rope(step, t, own_q, g)
            if end == n_pages:
                rope(step, t, s.k + (t * hp.n_head_kv + head) * hp.dk, 1)
                store(step, layer, t, head)
        if index == 0:
            attend(step, layer, t, head, q, end, work)
            continue
        at = ith * s.n_partial
        while index < end:
            attend_page(step, layer, t, head, q, index, s.partial_m + at * g, s.partial_l + at * g, s.partial_o + at * g * hp.dv)
            at += 1
            index += 1

cdef public void bnf_attention(const bnf_step *step, int64_t layer, int ith, int nth) noexcept nogil:
    if step.attention == BNF_ATTN_ITEMS:
        attend_items(step, layer, ith, nth)
    else:
        attend_pages(step, layer, ith, nth)

# The pages that waited, folded behind the first ones of their item.
cdef void finish_item(const bnf_step *step, int64_t t, int64_t head, int nth, float *m, float *l, float *o) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t g = group(hp)
    cdef int64_t row = t * hp.n_head + head * g
    cdef int64_t n_pages = n_visible_pages(step, t)
    cdef int64_t first = s.first_pair[t] + head * n_pages
    cdef int64_t at
    cdef long pair, pair1
    cdef int i
    memcpy(m, s.attn_m + row, <size_t>g * sizeof(float))
    memcpy(l, s.attn_l + row, <size_t>g * sizeof(float))
    if o != s.attn + row * hp.dv:
        memcpy(o, s.attn + row * hp.dv, <size_t>(g * hp.dv) * sizeof(float))
    for i in range(1, nth):
        bnf_pool_range(s.first_pair[step.n], 1, i, nth, &pair, &pair1)
        if pair <= first:
            continue
        if pair >= first + n_pages:
            break
        at = i * s.n_partial
        while pair < min(pair1, first + n_pages):
            fold(step, m, l, o, s.partial_m + at * g, s.partial_l + at * g, s.partial_o + at * g * hp.dv)
            at += 1
            pair += 1
    divide_heads(o, l, g, hp.dv)

cdef public void bnf_attention_output(const bnf_step *step, int64_t t, int nth, float *work, float *o) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef float *done = step.ctx.scratch.attn + t * hp.n_head * hp.dv
    cdef int64_t g = group(hp)
    cdef int64_t head
    if step.attention == BNF_ATTN_ITEMS:
        if o != done:
            memcpy(o, done, <size_t>(hp.n_head * hp.dv) * sizeof(float))
        return
    for head in range(hp.n_head_kv):
        finish_item(step, t, head, nth, work, work + g, o + head * g * hp.dv)
