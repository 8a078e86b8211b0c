# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Attention of one layer: rotate, store into the pages of the KV cache, and sum over the pages that each token sees. An item is
# (token, kv head), with the g query heads that share it. Pages fold in order of position whoever computed them, hence to the
# same bits. Two ways to share the work (enum bnf_attention_plan): few items are cut into pages; of many tokens, those that
# follow each other in a sequence make tiles, so that a page is read and widened once for all of them.
# May not: allocate, or choose pages (kv_cache.pyx did). Next: csrc/bnf_ops.h states the sums, csrc/bnf_types.h draws the pages.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_context cimport (
    bnf_scratch, bnf_step, bnf_tile_cut, bnf_tile_work, llama_context, BNF_ATTN_PAGES, BNF_ATTN_PAGES_ALONE, BNF_ATTN_TILES,
    BNF_TILE_TOKENS)
from bitnet_ffi._core.bnf_ops cimport bnf_attn_tile, bnf_kv_type, bnf_ops_t, BNF_KV_PAGE
from bitnet_ffi._core.bnf_pool cimport bnf_pool_range
from bitnet_ffi._core.bnf_types cimport bnf_batch, bnf_hparams, bnf_kv, bnf_seq, bnf_seq_page, BNF_MAX_SEQUENCES

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

cdef inline const bnf_seq *sequence_of(const bnf_step *step, int64_t t) noexcept nogil:
    return &step.ctx.kv.seqs[step.batch.seq[(step.begin + t) * step.batch.seq_stride]]

# The last position that token t may see: its own, or the last of its sequence.
cdef inline int32_t last_position(const bnf_step *step, int64_t t) noexcept nogil:
    return step.batch.pos[step.begin + t] if step.batch.causal else sequence_of(step, t).pos_max

# Pages that token t may see, as numbers from 0: up to the one that holds its last position. Where tables lie above its sequence's own
# (bnf_types.h), theirs come first, from the topmost on, n_indexes numbers each.
cdef int64_t n_visible_pages(const bnf_step *step, int64_t t) noexcept nogil:
    cdef const bnf_kv *kv = &step.ctx.kv
    cdef int64_t n = last_position(step, t) // BNF_KV_PAGE + 1
    cdef int32_t above = sequence_of(step, t).above
    while above >= 0:
        n += step.n_indexes
        above = kv.seqs[above].above
    return n

# The page that a number means to token t, NULL: none; *index: where it stands in its table.
cdef inline const bnf_seq_page *entry_of(const bnf_step *step, int64_t t, int64_t number, int64_t *index) noexcept nogil:
    cdef const bnf_seq *seq = sequence_of(step, t)
    if seq.above < 0:
        index[0] = number
        return &seq.pages[number]
    return entry_of_stack(step, t, number, index)

cdef const bnf_seq_page *entry_of_stack(const bnf_step *step, int64_t t, int64_t number, int64_t *index) noexcept nogil:
    cdef const bnf_seq *seq = sequence_of(step, t)
    cdef int64_t n_up = (n_visible_pages(step, t) - 1) // step.n_indexes - number // step.n_indexes
    index[0] = number % step.n_indexes
    while n_up > 0:
        seq = &step.ctx.kv.seqs[seq.above]
        n_up -= 1
    return &seq.pages[index[0]] if index[0] < seq.n_pages and seq.pages[index[0]].page >= 0 else NULL

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
    step.n_indexes = 0
    for t in range(step.n):
        step.n_indexes = max(step.n_indexes, last_position(step, t) // BNF_KV_PAGE + 1)
    s.first_pair[0] = 0
    for t in range(step.n):
        most = max(most, n_visible_pages(step, t))
        s.first_pair[t + 1] = s.first_pair[t] + n_head_kv * n_visible_pages(step, t)
    if nth > 1 and most > s.n_partial:
        step.attention = BNF_ATTN_TILES
    elif step.batch.causal and tokens_are_apart(step):
        step.attention = BNF_ATTN_PAGES_ALONE
    else:
        step.attention = BNF_ATTN_PAGES if nth > 1 and step.n * n_head_kv < 4 * nth else BNF_ATTN_TILES

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

# Slots of page `number` that token t sees; *page: the page, -1: none. A number that is beyond the token's own is another token's of
# its tile.
cdef inline uint64_t visible_slots(const bnf_step *step, int64_t t, int64_t number, int32_t *page) noexcept nogil:
    cdef int32_t last = last_position(step, t)
    cdef const bnf_seq_page *entry
    cdef int64_t index
    page[0] = -1
    if number >= n_visible_pages(step, t):
        return 0
    entry = entry_of(step, t, number, &index)
    if entry == NULL or index > last // BNF_KV_PAGE:
        return 0
    page[0] = entry.page
    if index == last // BNF_KV_PAGE:
        return entry.mask & ~<uint64_t>0 >> (BNF_KV_PAGE - 1 - last % BNF_KV_PAGE)
    return entry.mask

# Keys and values of a page, for one kv head.
cdef inline const uint8_t *page_k(const bnf_step *step, int64_t layer, int32_t page, int64_t head) noexcept nogil:
    cdef const bnf_kv *kv = &step.ctx.kv
    return kv.k + layer * kv.layer_stride_k + (<int64_t>page * kv.n_head_kv + head) * kv.head_stride_k

cdef inline const uint8_t *page_v(const bnf_step *step, int64_t layer, int32_t page, int64_t head) noexcept nogil:
    cdef const bnf_kv *kv = &step.ctx.kv
    return kv.v + layer * kv.layer_stride_v + (<int64_t>page * kv.n_head_kv + head) * kv.head_stride_v

# Page `number` for the query heads q[g][dk] of (token t, kv head); l[0] is -1 when the token sees nothing there: a sum of
# exponentials is never negative.
cdef void attend_page(const bnf_step *step, int64_t layer, int64_t t, int64_t head, const float *q, int64_t number,
                      float *m, float *l, float *o) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef int32_t page, next_page
    cdef uint64_t mask = visible_slots(step, t, number, &page)
    cdef const uint8_t *next_k = NULL
    cdef const uint8_t *next_v = NULL
    cdef int64_t next = number
    cdef int64_t next_head = head
    if mask == 0:
        l[0] = -1
        return
    # This thread's next page: of the same item, or the first of the next one.
    if number + 1 < n_visible_pages(step, t):
        next += 1
    else:
        next = 0
        next_head += 1
    visible_slots(step, t, next, &next_page)
    if next_head < hp.n_head_kv and next_page >= 0:
        next_k = page_k(step, layer, next_page, next_head)
        next_v = page_v(step, layer, next_page, next_head)
    step.ctx.model.ops.attn_page(q, group(hp), hp.dk, hp.dv, page_k(step, layer, page, head), <bnf_kv_type>step.ctx.kv.type_k,
        page_v(step, layer, page, head), <bnf_kv_type>step.ctx.kv.type_v, mask, softmax_scale(hp), m, l, o, next_k, next_v)

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
    cdef int64_t number
    attend_page(step, layer, t, head, q, 0, s.attn_m + row, s.attn_l + row, s.attn + row * hp.dv)
    for number in range(1, end):
        attend_page(step, layer, t, head, q, number, work, work + g, work + 2 * g)
        fold(step, s.attn_m + row, s.attn_l + row, s.attn + row * hp.dv, work, work + g, work + 2 * g)

# o = o / l, per head: the end of the softmax.
cdef void divide_heads(float *o, const float *l, int64_t g, int64_t dv) noexcept nogil:
    cdef int64_t i, c
    for i in range(g):
        for c in range(dv):
            o[i * dv + c] /= l[i]

# ---- tiles: n tokens from t on, of one sequence, and one kv head ----

# Tokens of a tile that begins with t: those that follow it in the step and its sequence.
cdef int64_t tile_len(const bnf_step *step, int64_t t, int64_t most) noexcept nogil:
    cdef const bnf_batch *batch = step.batch
    cdef const int32_t *seq = batch.seq + step.begin * batch.seq_stride
    cdef int64_t end = t + 1
    while end < step.n and end < t + most and seq[end * batch.seq_stride] == seq[t * batch.seq_stride]:
        end += 1
    return end - t

# One page: m[n][g], l[n][g], o[n][g][dv] with o_stride floats from token to token.
cdef void tile_page(const bnf_step *step, int64_t layer, int64_t t, int64_t n, int64_t head, int64_t number, const bnf_tile_work *work,
                    float *m, float *l, float *o, int64_t o_stride) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef const bnf_kv *kv = &step.ctx.kv
    cdef bnf_attn_tile tile
    cdef uint64_t any = 0
    cdef int32_t page = -1
    cdef int32_t seen
    cdef int64_t i
    for i in range(n):
        work.mask[i] = visible_slots(step, t + i, number, &seen)
        any |= work.mask[i]
        page = max(page, seen)      # the same for all that see one: they are of one sequence
    if any == 0:
        for i in range(n):
            l[i * group(hp)] = -1
        return
    ops.unpack_k[kv.type_k](page_k(step, layer, page, head), hp.dk, any, work.keys)
    ops.unpack_v[kv.type_v](page_v(step, layer, page, head), hp.dv, any, work.values)
    tile.n = n
    tile.g = group(hp)
    tile.dk = hp.dk
    tile.dv = hp.dv
    tile.q = step.ctx.scratch.q + (t * hp.n_head + head * tile.g) * hp.dk
    tile.q_stride = hp.n_head * hp.dk
    tile.mask = work.mask
    tile.scale = softmax_scale(hp)
    tile.keys = work.keys
    tile.values = work.values
    tile.weights = work.weights
    tile.m = m
    tile.l = l
    tile.o = o
    tile.o_stride = o_stride
    ops.attn_tile(&tile)

cdef void attend_tile(const bnf_step *step, int64_t layer, int64_t t, int64_t n, int64_t head, const bnf_tile_work *work) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef int64_t g = group(hp)
    cdef int64_t row = n * g       # m and l of the folded pages first, then those of the page at work
    cdef float *o = step.ctx.scratch.attn + (t * hp.n_head + head * g) * hp.dv
    cdef int64_t o_stride = hp.n_head * hp.dv
    cdef int64_t n_pages = 0
    cdef int64_t number, i
    for i in range(n):
        n_pages = max(n_pages, n_visible_pages(step, t + i))
    tile_page(step, layer, t, n, head, 0, work, work.m, work.l, o, o_stride)
    for number in range(1, n_pages):
        tile_page(step, layer, t, n, head, number, work, work.m + row, work.l + row, work.o, g * hp.dv)
        for i in range(n):
            fold(step, work.m + i * g, work.l + i * g, o + i * o_stride, work.m + row + i * g, work.l + row + i * g, work.o + i * g * hp.dv)
    for i in range(n):
        divide_heads(o + i * o_stride, work.l + i * g, g, hp.dv)

# Tiles are dealt out in turn, which balances a prompt: later tokens see more. Smaller ones where there would be fewer than four
# a thread.
cdef void attend_tiles(const bnf_step *step, int64_t layer, int ith, int nth) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t most = BNF_TILE_TOKENS(group(hp))
    cdef int64_t n_tiles = max((step.n + most - 1) // most, (4 * nth + hp.n_head_kv - 1) // hp.n_head_kv)
    cdef bnf_tile_work work
    cdef int64_t item = 0
    cdef int64_t t = 0
    cdef int64_t n, head
    most = (step.n + n_tiles - 1) // n_tiles
    bnf_tile_cut(&work, s.thread + <uint64_t>ith * s.thread_size, group(hp), hp.dk, hp.dv)
    while t < step.n:
        n = tile_len(step, t, most)
        for head in range(hp.n_head_kv):
            if item % nth == ith:
                attend_tile(step, layer, t, n, head, &work)
            item += 1
        t += n

# ---- few items: cut into pages ----

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
    cdef int64_t head, number, end, n_pages, at
    cdef long pair, pair1
    bnf_pool_range(s.first_pair[step.n], 1, ith, nth, &pair, &pair1)
    while pair < pair1:
        while s.first_pair[t + 1] <= pair:
            t += 1
        n_pages = n_visible_pages(step, t)
        head = (pair - s.first_pair[t]) // n_pages
        number = (pair - s.first_pair[t]) % n_pages
        end = min(n_pages, number + pair1 - pair)
        pair += end - number
        q = s.q + (t * hp.n_head + head * g) * hp.dk
        if step.attention == BNF_ATTN_PAGES_ALONE:
            # Several threads may want this q rotated: each in a copy. Who has the page of the token itself stores k and v there.
            memcpy(own_q, q, <size_t>(g * hp.dk) * sizeof(float))
            q = own_q
            rope(step, t, own_q, g)
            if end == n_pages:
                rope(step, t, s.k + (t * hp.n_head_kv + head) * hp.dk, 1)
                store(step, layer, t, head)
        if number == 0:
            attend(step, layer, t, head, q, end, work)
            continue
        at = ith * s.n_partial
        while number < end:
            attend_page(step, layer, t, head, q, number, s.partial_m + at * g, s.partial_l + at * g, s.partial_o + at * g * hp.dv)
            at += 1
            number += 1

cdef public void bnf_attention(const bnf_step *step, int64_t layer, int ith, int nth) noexcept nogil:
    if step.attention == BNF_ATTN_TILES:
        attend_tiles(step, layer, ith, nth)
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
    if step.attention == BNF_ATTN_TILES:
        if o != done:
            memcpy(o, done, <size_t>(hp.n_head * hp.dv) * sizeof(float))
        return
    for head in range(hp.n_head_kv):
        finish_item(step, t, head, nth, work, work + g, o + head * g * hp.dv)
