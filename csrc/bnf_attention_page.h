/* Attention over one page of the KV cache, the same for every instruction set: bnf_ops.h, attn_page and attn_merge. A few query heads at
 * once, so that each K and V vector is loaded and widened once for the heads that share it.
 *    scores   lanes16 sums of heads x positions in registers, then a tree that folds 4 of them together
 *    softmax  64 slots of a head
 *    values   vectors of sums, heads x columns, down the visible positions
 * kernels/<isa>/attention_<isa>.c defines the vectors of bnf_attention.h and, for its registers, BNF_PAGE_HEADS (most heads at once, 4 or 5),
 * BNF_PAGE_POSITIONS(heads) (1, 2 or 4) and BNF_PAGE_WIDTH(heads) (vectors of columns), then says BNF_ATTN_PAGE_FUNCTIONS(<isa>).
 * The functions are templates over heads, positions, width and type: inlined with constants, so that loops over them unroll.
 * May not change the order of a float operation stated in bnf_ops.h. Next: kernels/scalar/attention_scalar.c says what is computed. */
#ifndef BNF_ATTENTION_PAGE_H
#define BNF_ATTENTION_PAGE_H

#include "bnf_attention.h"

#define BNF_LANE_VECS (16 / BNF_VEC_LEN) /* vectors of a sum */

/* The trees of four sums, times scale, to total[0 .. 4): what bnf_vec_fold does to one. */
BNF_TEMPLATE void bnf_vec_fold_four(const bnf_vec (*sum)[BNF_LANE_VECS], float scale, float *total);

/* The first `left` floats of x, the others +0. */
BNF_TEMPLATE bnf_vec bnf_vec_load_some(const float *x, int64_t left)
{
    return bnf_vec_load_kv((const uint8_t *)x, 0, 0, left, BNF_KV_F32);
}

/* A page's visible slots in ascending order, and what was computed of them for the heads at work. */
struct bnf_page_work {
    const void *next_k, *next_v;               /* where to read ahead, or NULL */
    uint64_t mask;
    int64_t n;                                 /* visible slots, at least 1 */
    uint8_t slot[BNF_KV_PAGE];                 /* their numbers, the last one repeated up to a multiple of 4 */
    float score[BNF_PAGE_HEADS][BNF_KV_PAGE];  /* by place in slot[] */
    _Alignas(64) float p[BNF_PAGE_HEADS][BNF_KV_PAGE]; /* exp(score - m) by slot number */
};

static void bnf_page_list_slots(uint64_t mask, struct bnf_page_work *work)
{
    int64_t n = 0;
    for (uint64_t rest = mask; rest; rest &= rest - 1)
        work->slot[n++] = (uint8_t)__builtin_ctzll(rest);
    work->mask = mask;
    work->n = n;
    for (; n % 4; n++)
        work->slot[n] = work->slot[n - 1];
}

/* Adds 16 elements from i of `positions` K vectors times `heads` q vectors; all exist, or `left` (beyond, both factors are 0: that can turn
 * a lane's -0 into +0, which no result shows, as m is never -0 and exp(-0) = exp(0)). */
BNF_TEMPLATE void bnf_page_products(bnf_vec (*sum)[BNF_LANE_VECS], const float *q, int64_t dk, const uint8_t *k, const uint8_t *slot,
                                    int64_t i, int64_t left, const int heads, const int positions, const enum bnf_kv_type type)
{
    const uint64_t row_size = bnf_kv_row_size(type, dk);
#pragma GCC unroll 4
    for (int part = 0; part < BNF_LANE_VECS; part++) {
        const int64_t at = i + BNF_VEC_LEN * part, some = left - BNF_VEC_LEN * part;
        if (some <= 0)
            break;
        bnf_vec kj[4];
#pragma GCC unroll 4
        for (int j = 0; j < positions; j++)
            kj[j] = bnf_vec_load_kv(k + slot[j] * row_size, dk, at, some, type);
#pragma GCC unroll 5
        for (int h = 0; h < heads; h++) {
            const float *const qh = q + h * dk + at;
            const bnf_vec qi = some >= BNF_VEC_LEN ? bnf_vec_load(qh) : bnf_vec_load_some(qh, some);
#pragma GCC unroll 4
            for (int j = 0; j < positions; j++)
                sum[h * positions + j][part] = bnf_vec_fma(qi, kj[j], sum[h * positions + j][part]);
        }
    }
}

BNF_TEMPLATE void bnf_page_scores(struct bnf_page_work *work, const float *q, int64_t dk, const uint8_t *k, float scale, const int heads,
                                  const enum bnf_kv_type type)
{
    const int positions = BNF_PAGE_POSITIONS(heads), n_sums = heads * positions;
    for (int64_t t = 0; t < work->n; t += positions) {
        bnf_read_ahead(work->next_k, t, positions, dk, type);
        bnf_vec sum[BNF_PAGE_HEADS * 4][BNF_LANE_VECS]; /* four at a time are folded: up to three more than there are */
#pragma GCC unroll 20
        for (int s = 0; s < (n_sums + 3) / 4 * 4; s++)
#pragma GCC unroll 4
            for (int part = 0; part < BNF_LANE_VECS; part++)
                sum[s][part] = bnf_vec_set1(0.0f);
        int64_t i = 0;
        for (; i + 16 <= dk; i += 16)
            bnf_page_products(sum, q, dk, k, work->slot + t, i, 16, heads, positions, type);
        if (i < dk)
            bnf_page_products(sum, q, dk, k, work->slot + t, i, dk - i, heads, positions, type);
#pragma GCC unroll 5
        for (int s = 0; s < n_sums; s += 4) {
            float total[4];
            bnf_vec_fold_four((const bnf_vec (*)[BNF_LANE_VECS])sum + s, scale, positions == 4 ? work->score[s / 4] + t : total);
#pragma GCC unroll 4
            for (int x = 0; x < 4 && positions < 4; x++)
                if (s + x < n_sums)
                    work->score[(s + x) / positions][t + (s + x) % positions] = total[x];
        }
    }
}

/* score -> p for one head: scores are put where their slots are. */
BNF_TEMPLATE void bnf_page_softmax(struct bnf_page_work *work, int h, float *m, float *l)
{
    if (work->n == BNF_KV_PAGE)
        memcpy(work->p[h], work->score[h], sizeof work->p[h]);
    else
        for (int64_t t = 0; t < work->n; t++)
            work->p[h][work->slot[t]] = work->score[h][t];
    bnf_softmax(work->p[h], work->mask, m, l);
}

/* `width` vectors of columns from c for the heads at work; all exist, or width is 1 and `left` columns do. */
BNF_TEMPLATE void bnf_page_columns(const struct bnf_page_work *work, const uint8_t *v, int64_t dv, int64_t c, int64_t left, float *o,
                                   const int heads, const int width, const enum bnf_kv_type type)
{
    const uint64_t row_size = bnf_kv_row_size(type, dv);
    bnf_vec sum[BNF_PAGE_HEADS][8];
#pragma GCC unroll 5
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            sum[h][i] = bnf_vec_set1(0.0f);
    for (int64_t t = 0; t < work->n; t++) {
        const int64_t j = work->slot[t];
        if (c == 0)
            bnf_read_ahead(work->next_v, t, 1, dv, type);
        bnf_vec vj[8];
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            vj[i] = bnf_vec_load_kv(v + (uint64_t)j * row_size, dv, c + BNF_VEC_LEN * i, left, type);
#pragma GCC unroll 5
        for (int h = 0; h < heads; h++) {
            const bnf_vec p = bnf_vec_set1(work->p[h][j]);
#pragma GCC unroll 8
            for (int i = 0; i < width; i++)
                sum[h][i] = bnf_vec_fma(p, vj[i], sum[h][i]);
        }
    }
#pragma GCC unroll 5
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            if (left >= BNF_VEC_LEN)
                bnf_vec_store(o + h * dv + c + BNF_VEC_LEN * i, sum[h][i]);
            else
                bnf_vec_store_some(o + h * dv + c, left, sum[h][i]);
}

BNF_TEMPLATE void bnf_page_values(const struct bnf_page_work *work, const uint8_t *v, int64_t dv, float *o, const int heads,
                                  const enum bnf_kv_type type)
{
    const int width = BNF_PAGE_WIDTH(heads);
    int64_t c = 0;
    for (; c + width * BNF_VEC_LEN <= dv; c += width * BNF_VEC_LEN)
        bnf_page_columns(work, v, dv, c, BNF_VEC_LEN, o, heads, width, type);
    for (; c + 2 * BNF_VEC_LEN <= dv; c += 2 * BNF_VEC_LEN)
        bnf_page_columns(work, v, dv, c, BNF_VEC_LEN, o, heads, 2, type);
    for (; c + BNF_VEC_LEN <= dv; c += BNF_VEC_LEN)
        bnf_page_columns(work, v, dv, c, BNF_VEC_LEN, o, heads, 1, type);
    if (c < dv)
        bnf_page_columns(work, v, dv, c, dv - c, o, heads, 1, type);
}

BNF_TEMPLATE void bnf_page_of_heads(struct bnf_page_work *work, const float *q, int64_t dk, int64_t dv, const void *k,
                                    enum bnf_kv_type type_k, const void *v, enum bnf_kv_type type_v, float scale, float *m, float *l,
                                    float *o, const int heads)
{
    switch (type_k) {
    case BNF_KV_F32: bnf_page_scores(work, q, dk, k, scale, heads, BNF_KV_F32); break;
    case BNF_KV_Q8_0: bnf_page_scores(work, q, dk, k, scale, heads, BNF_KV_Q8_0); break;
    default: bnf_page_scores(work, q, dk, k, scale, heads, BNF_KV_F16); break;
    }
    for (int h = 0; h < heads; h++)
        bnf_page_softmax(work, h, m + h, l + h);
    switch (type_v) {
    case BNF_KV_F32: bnf_page_values(work, v, dv, o, heads, BNF_KV_F32); break;
    case BNF_KV_Q8_0: bnf_page_values(work, v, dv, o, heads, BNF_KV_Q8_0); break;
    default: bnf_page_values(work, v, dv, o, heads, BNF_KV_F16); break;
    }
}

BNF_TEMPLATE void bnf_page(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, enum bnf_kv_type type_k, const void *v,
                           enum bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l, float *o, const void *next_k,
                           const void *next_v)
{
    struct bnf_page_work work;
    bnf_page_list_slots(mask, &work);
    work.next_k = next_k;
    work.next_v = next_v;
    while (g > 0) {
        const int64_t heads = g <= BNF_PAGE_HEADS ? g : 4; /* 8 is two times 4 */
        switch (heads) {
        case 1: bnf_page_of_heads(&work, q, dk, dv, k, type_k, v, type_v, scale, m, l, o, 1); break;
        case 2: bnf_page_of_heads(&work, q, dk, dv, k, type_k, v, type_v, scale, m, l, o, 2); break;
        case 3: bnf_page_of_heads(&work, q, dk, dv, k, type_k, v, type_v, scale, m, l, o, 3); break;
        case 4: bnf_page_of_heads(&work, q, dk, dv, k, type_k, v, type_v, scale, m, l, o, 4); break;
        default: bnf_page_of_heads(&work, q, dk, dv, k, type_k, v, type_v, scale, m, l, o, BNF_PAGE_HEADS); break;
        }
        g -= heads, q += heads * dk, m += heads, l += heads, o += heads * dv;
        work.next_k = work.next_v = NULL; /* once is enough */
    }
}

BNF_TEMPLATE void bnf_page_merge(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2, int64_t g, int64_t dv)
{
    for (int64_t h = 0; h < g; h++, o += dv, o2 += dv) {
        const float highest = m2[h] > m[h] ? m2[h] : m[h];
        const bnf_vec a = bnf_vec_exp(bnf_vec_set1(m[h] - highest)), b = bnf_vec_exp(bnf_vec_set1(m2[h] - highest));
        float one_a[BNF_VEC_LEN], one_b[BNF_VEC_LEN];
        bnf_vec_store(one_a, a);
        bnf_vec_store(one_b, b);
        l[h] = bnf_fmaf(l2[h], *one_b, l[h] * *one_a);
        int64_t c = 0;
        for (; c + BNF_VEC_LEN <= dv; c += BNF_VEC_LEN)
            bnf_vec_store(o + c, bnf_vec_fma(bnf_vec_load(o2 + c), b, bnf_vec_load(o + c) * a));
        if (c < dv)
            bnf_vec_store_some(o + c, dv - c, bnf_vec_fma(bnf_vec_load_some(o2 + c, dv - c), b, bnf_vec_load_some(o + c, dv - c) * a));
        m[h] = highest;
    }
}

#define BNF_ATTN_PAGE_FUNCTIONS(isa)                                                                                                      \
    void bnf_attn_page_##isa(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, enum bnf_kv_type type_k, const void *v,    \
                             enum bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l, float *o, const void *next_k,       \
                             const void *next_v)                                                                                          \
    {                                                                                                                                     \
        bnf_page(q, g, dk, dv, k, type_k, v, type_v, mask, scale, m, l, o, next_k, next_v);                                               \
    }                                                                                                                                     \
    void bnf_attn_merge_##isa(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2, int64_t g, int64_t dv)     \
    {                                                                                                                                     \
        bnf_page_merge(m, l, o, m2, l2, o2, g, dv);                                                                                       \
    }

#endif
