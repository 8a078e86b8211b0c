# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Attention of one layer: rotate, store into the pages of the KV cache, and sum over the pages that each token sees. Work is an
# item, (token, kv head), or one page of it; pages fold in order of position whoever computed them, hence to the same bits.
# May not: allocate, or choose pages (kv_cache.pyx did). Next: csrc/bnf_ops.h states the sums, csrc/bnf_types.h draws the pages.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf cimport (
    bnf_hparams, bnf_kv, bnf_ops_t, bnf_pool_barrier, bnf_pool_range, bnf_scratch, bnf_seq, bnf_step, llama_context,
    BNF_KV_PAGE)

cdef extern from "bnf_calls.h":
    pass

cdef extern from "<math.h>" nogil:
    float sqrtf(float x)      # IEEE: correctly rounded, the same everywhere

# Rotate q and k of token t, and store k and v in the page of each of its sequences.
cdef public void bnf_rope_and_store(const bnf_step *step, int64_t layer, int64_t t) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef const bnf_ops_t *ops = ctx.model.ops
    cdef bnf_scratch *s = &ctx.scratch
    cdef bnf_kv *kv = &ctx.kv
    cdef int64_t i = step.begin + t
    cdef int32_t pos = step.batch.pos[i]
    cdef int32_t slot = pos % BNF_KV_PAGE
    cdef float *k = s.k + t * hp.n_head_kv * hp.dk
    cdef float *v = s.v + t * hp.n_head_kv * hp.dv
    cdef int32_t page, last = -1
    cdef int64_t j, head, at
    ops.rope(s.q + t * hp.n_head * hp.dk, hp.n_head, hp.dk, hp.n_rot, s.cos_sin + t * hp.n_rot, hp.rope_neox)
    ops.rope(k, hp.n_head_kv, hp.dk, hp.n_rot, s.cos_sin + t * hp.n_rot, hp.rope_neox)
    for j in range(step.batch.n_seq[i]):
        page = kv.seqs[step.batch.seq[i * step.batch.seq_stride + j]].pages[pos // BNF_KV_PAGE].page
        if page == last:
            continue      # sequences that share the page share the slot
        last = page
        for head in range(hp.n_head_kv):
            at = <int64_t>page * hp.n_head_kv + head
            ops.store_kv[kv.type_k](k + head * hp.dk, hp.dk,
                kv.k + layer * kv.layer_stride_k + at * kv.head_stride_k + slot * (kv.head_stride_k // BNF_KV_PAGE))
            ops.store_kv[kv.type_v](v + head * hp.dv, hp.dv,
                kv.v + layer * kv.layer_stride_v + at * kv.head_stride_v + slot * (kv.head_stride_v // BNF_KV_PAGE))

# Pages of token i's sequence that hold positions up to its own.
cdef inline int64_t n_visible_pages(const bnf_step *step, int64_t i) noexcept nogil:
    return step.batch.pos[i] // BNF_KV_PAGE + 1

cdef inline float step_scale(const bnf_hparams *hp) noexcept nogil:
    return <float>1.0 / sqrtf(<float>hp.dk)

# One page for the query heads of (token t, kv head); false when the token sees nothing there.
cdef bint attend_page(const bnf_step *step, int64_t layer, int64_t t, int64_t head, int64_t index,
                      float *m, float *l, float *o) noexcept nogil:
    cdef llama_context *ctx = step.ctx
    cdef const bnf_hparams *hp = &ctx.model.hp
    cdef bnf_kv *kv = &ctx.kv
    cdef int64_t i = step.begin + t
    cdef int32_t pos = step.batch.pos[i]
    cdef const bnf_seq *seq = &kv.seqs[step.batch.seq[i * step.batch.seq_stride]]
    cdef int64_t g = hp.n_head // hp.n_head_kv
    cdef uint64_t mask = seq.pages[index].mask
    cdef int64_t at
    if index == pos // BNF_KV_PAGE:
        mask &= ~<uint64_t>0 >> (BNF_KV_PAGE - 1 - pos % BNF_KV_PAGE)
    if mask == 0:
        return False
    at = <int64_t>seq.pages[index].page * hp.n_head_kv + head
    ctx.model.ops.attn_page[kv.type_k](
        ctx.scratch.q + (t * hp.n_head + head * g) * hp.dk, g, hp.dk, hp.dv,
        kv.k + layer * kv.layer_stride_k + at * kv.head_stride_k,
        kv.v + layer * kv.layer_stride_v + at * kv.head_stride_v, mask, step_scale(hp), m, l, o)
    return True

# o = o / l, per head: the end of the softmax.
cdef void divide_heads(float *o, const float *l, int64_t g, int64_t dv) noexcept nogil:
    cdef int64_t i, c
    for i in range(g):
        for c in range(dv):
            o[i * dv + c] /= l[i]

# The attention output of (token t, kv head), its pages in order of position. m, l, m2, l2: [g]; o2: [g][dv].
cdef void attend(const bnf_step *step, int64_t layer, int64_t t, int64_t head, float *work) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef int64_t g = hp.n_head // hp.n_head_kv
    cdef float *o = step.ctx.scratch.attn + (t * hp.n_head + head * g) * hp.dv
    cdef float *m = work
    cdef float *l = work + g
    cdef float *m2 = work + 2 * g
    cdef float *l2 = work + 3 * g
    cdef float *o2 = work + 4 * g
    cdef bint first = True
    cdef int64_t index
    for index in range(n_visible_pages(step, step.begin + t)):
        if first:
            first = not attend_page(step, layer, t, head, index, m, l, o)
        elif attend_page(step, layer, t, head, index, m2, l2, o2):
            ops.attn_merge(m, l, o, m2, l2, o2, g, hp.dv)
    divide_heads(o, l, g, hp.dv)

# Few tokens, long context: the (item, page) pairs are split among the threads and folded afterwards, page by page in the
# same order as `attend` does, hence to the same bits. Items are (token, kv head); pages of item j start at j * n_pages.
cdef void attend_split(const bnf_step *step, int64_t layer, int64_t n_pages, int ith, int nth) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef const bnf_ops_t *ops = step.ctx.model.ops
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t g = hp.n_head // hp.n_head_kv
    cdef int64_t n_items = <int64_t>step.n * hp.n_head_kv
    cdef int64_t item, index, t, head, at
    cdef long pair, pair0, pair1
    cdef float *m
    cdef float *l
    cdef float *o
    cdef bint first
    bnf_pool_range(n_items * n_pages, 1, ith, nth, &pair0, &pair1)
    for pair in range(pair0, pair1):
        item = pair // n_pages
        index = pair % n_pages
        t = item // hp.n_head_kv
        head = item % hp.n_head_kv
        s.partial_l[pair * g] = -1.0      # a sum of exponentials is positive: -1 says "saw nothing"
        if index < n_visible_pages(step, step.begin + t):
            attend_page(step, layer, t, head, index, s.partial_m + pair * g, s.partial_l + pair * g, s.partial_o + pair * g * hp.dv)
    bnf_pool_barrier(step.ctx.pool)
    item = ith
    while item < n_items:
        t = item // hp.n_head_kv
        head = item % hp.n_head_kv
        o = s.attn + (t * hp.n_head + head * g) * hp.dv
        m = NULL
        l = NULL
        first = True
        for index in range(n_pages):
            at = item * n_pages + index
            if s.partial_l[at * g] < 0:
                continue
            if first:
                first = False
                m = s.partial_m + at * g
                l = s.partial_l + at * g
                memcpy(o, s.partial_o + at * g * hp.dv, <size_t>(g * hp.dv) * sizeof(float))
            else:
                ops.attn_merge(m, l, o, s.partial_m + at * g, s.partial_l + at * g, s.partial_o + at * g * hp.dv, g, hp.dv)
        divide_heads(o, l, g, hp.dv)
        item += nth

cdef public void bnf_attention(const bnf_step *step, int64_t layer, int ith, int nth) noexcept nogil:
    cdef const bnf_hparams *hp = &step.ctx.model.hp
    cdef bnf_scratch *s = &step.ctx.scratch
    cdef int64_t n_items = <int64_t>step.n * hp.n_head_kv
    cdef int64_t n_pages = 0
    cdef int64_t item, t
    for t in range(step.n):
        n_pages = max(n_pages, n_visible_pages(step, step.begin + t))
    if nth > 1 and n_items < 4 * nth and n_pages > 1 and n_items * n_pages <= s.n_split:
        attend_split(step, layer, n_pages, ith, nth)
        return
    # Later tokens see more: dealing items out in turn balances a prompt.
    item = ith
    while item < n_items:
        attend(step, layer, item // hp.n_head_kv, item % hp.n_head_kv, <float *>(s.thread + <uint64_t>ith * s.thread_size))
        item += nth
