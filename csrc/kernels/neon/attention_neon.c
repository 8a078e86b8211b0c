/* Attention over one page of the KV cache, up to 4 query heads at once: each K and V vector is loaded and widened once for the
 * heads that share it. Same bits as ../scalar/attention_scalar.c, which says what is computed.
 *    scores   4 lanes16 sums in 16 registers (1 head x 4 positions, 2 x 2, 3 x 1 or 4 x 1), then a tree that folds all 4
 *    softmax  64 slots of a head as 16 vectors
 *    values   8 to 16 vectors of sums, heads x columns, down the visible positions
 * The functions below are templates over `heads`, `type` and `width`: always inlined with constants, so that the loops over
 * them unroll and the arrays of sums become registers.
 * Next: vector_neon.c for the other operations, math_neon.h for exp. */
#include <string.h>

#include "kernels_neon.h"
#include "math_neon.h"

#define TEMPLATE static inline __attribute__((always_inline))
#define MOST_HEADS 4

/* A page's visible slots in ascending order, and what was computed of them for the heads at work. */
struct page_work {
    const void *next_k, *next_v;                   /* where to read ahead, or NULL */
    int64_t n;                            /* visible slots, at least 1 */
    uint8_t slot[BNF_KV_PAGE];            /* their numbers, the last one repeated up to a multiple of 4 */
    float score[MOST_HEADS][BNF_KV_PAGE]; /* by place in slot[] */
    float p[MOST_HEADS][BNF_KV_PAGE];     /* exp(score - m) by slot number */
};

static void list_slots(uint64_t mask, struct page_work *work)
{
    int64_t n = 0;
    for (uint64_t rest = mask; rest; rest &= rest - 1)
        work->slot[n++] = (uint8_t)__builtin_ctzll(rest);
    work->n = n;
    for (; n % 4; n++)
        work->slot[n] = work->slot[n - 1];
}

/* Elements from i on of a slot's row, which all exist. Q8_0: they lie in one block. */
TEMPLATE float32x4_t load_kv(const void *page, int64_t slot, int64_t d, int64_t i, const enum bnf_kv_type type)
{
    const uint8_t *const row = (const uint8_t *)page + (uint64_t)slot * bnf_kv_row_size(type, d);
    if (type == BNF_KV_F16)
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16((const uint16_t *)(const void *)row + i)));
    if (type == BNF_KV_F32)
        return vld1q_f32((const float *)(const void *)row + i);
    uint16_t scale;
    uint32_t four; /* a load of eight bytes could leave the row */
    memcpy(&scale, row + d + i / BNF_KV_BLOCK * 2, sizeof scale);
    memcpy(&four, row + i, sizeof four);
    const int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
    return vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(scale))));
}

/* As load_kv where only `left` elements exist, 1 to 3 or more; the others read as +0. Q8_0 rows have no such end. */
static inline float32x4_t load_some_kv(const void *page, int64_t slot, int64_t d, int64_t i, int64_t left, const enum bnf_kv_type type)
{
    if (left >= 4 || type == BNF_KV_Q8_0)
        return load_kv(page, slot, d, i, type);
    const uint8_t *const row = (const uint8_t *)page + (uint64_t)slot * bnf_kv_row_size(type, d);
    if (type == BNF_KV_F32)
        return bnf_load_some_neon((const float *)(const void *)row + i, left);
    uint16_t half[4] = {0};
    memcpy(half, (const uint16_t *)(const void *)row + i, (size_t)left * sizeof *half);
    return load_kv(half, 0, 4, 0, BNF_KV_F16);
}

/* bnf_fold16_neon of four sums at once, each in 4 vectors.
 *    ab   a0+a2 a1+a3 b0+b2 b1+b3     of a's 4 sums and b's; cd the same; then neighbours added: a b c d */
TEMPLATE float32x4_t fold_four(const float32x4_t (*sum)[4])
{
    float32x4_t by4[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        by4[i] = bnf_fold16_to_4_neon(sum[i]);
    const float32x4_t ab = vaddq_f32(vcombine_f32(vget_low_f32(by4[0]), vget_low_f32(by4[1])),
                                     vcombine_f32(vget_high_f32(by4[0]), vget_high_f32(by4[1])));
    const float32x4_t cd = vaddq_f32(vcombine_f32(vget_low_f32(by4[2]), vget_low_f32(by4[3])),
                                     vcombine_f32(vget_high_f32(by4[2]), vget_high_f32(by4[3])));
    return vpaddq_f32(ab, cd);
}

/* `positions` K vectors times `heads` q vectors, 16 elements from i; all exist, or `left` (beyond, both factors are 0:
 * that can turn a lane's -0 into +0, which no result shows, as m is never -0 and exp(-0) = exp(0)). */
TEMPLATE void add_products(float32x4_t (*sum)[4], const float *q, int64_t dk, const void *k, const uint8_t *slot, int64_t i,
                           int64_t left, const int heads, const int positions, const enum bnf_kv_type type)
{
#pragma GCC unroll 4
    for (int part = 0; part < 4; part++) {
        const int64_t at = i + 4 * part, some = left - 4 * part;
        if (some <= 0)
            break;
        float32x4_t kj[4];
#pragma GCC unroll 4
        for (int j = 0; j < positions; j++)
            kj[j] = left >= 16 ? load_kv(k, slot[j], dk, at, type) : load_some_kv(k, slot[j], dk, at, some, type);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            const float *const qh = q + h * dk + at;
            const float32x4_t qi = left >= 16 ? vld1q_f32(qh) : bnf_load_some_neon(qh, some);
#pragma GCC unroll 4
            for (int j = 0; j < positions; j++)
                sum[h * positions + j][part] = vfmaq_f32(sum[h * positions + j][part], qi, kj[j]);
        }
    }
}

TEMPLATE void scores(struct page_work *work, const float *q, int64_t dk, const void *k, float scale, const int heads,
                     const enum bnf_kv_type type)
{
    const int positions = heads == 1 ? 4 : heads == 2 ? 2 : 1;
    for (int64_t t = 0; t < work->n; t += positions) {
        bnf_read_ahead(work->next_k, t, positions, dk, type);
        float32x4_t sum[4][4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[i][0] = sum[i][1] = sum[i][2] = sum[i][3] = vdupq_n_f32(0.0f);
        int64_t i = 0;
        for (; i + 16 <= dk; i += 16)
            add_products(sum, q, dk, k, work->slot + t, i, 16, heads, positions, type);
        if (i < dk)
            add_products(sum, q, dk, k, work->slot + t, i, dk - i, heads, positions, type);
        float total[4];
        vst1q_f32(total, vmulq_n_f32(fold_four(sum), scale));
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
            for (int j = 0; j < positions; j++)
                work->score[h][t + j] = total[h * positions + j];
    }
}

/* score -> p for one head. Scores are first put where their slots are, hidden ones as -inf: their weight is then 0, or, where
 * every visible score is -inf or NaN, l is NaN with them and without. A NaN score compares false and comes back through exp. */
static void softmax(struct page_work *work, int h, float *m, float *l)
{
    const float *score = work->score[h];
    float *const p = work->p[h];
    if (work->n == BNF_KV_PAGE) {
        memcpy(p, score, sizeof work->p[h]);
    } else {
        for (int j = 0; j < BNF_KV_PAGE; j += 4)
            vst1q_f32(p + j, vdupq_n_f32(-INFINITY));
        for (int64_t t = 0; t < work->n; t++)
            p[work->slot[t]] = score[t];
    }
    float32x4_t most = vdupq_n_f32(-INFINITY);
    for (int j = 0; j < BNF_KV_PAGE; j += 4) {
        const float32x4_t s = vld1q_f32(p + j);
        most = vbslq_f32(vcgtq_f32(s, most), s, most);
    }
    const float highest = vmaxvq_f32(most) + 0.0f; /* -0 becomes +0; there is no NaN in `most` */
    const float32x4_t all_highest = vdupq_n_f32(highest);
    float32x4_t sum[4];
    for (int part = 0; part < 4; part++)
        sum[part] = vdupq_n_f32(0.0f);
    for (int j = 0; j < BNF_KV_PAGE; j += 16)
        for (int part = 0; part < 4; part++) {
            const float32x4_t weight = bnf_exp_lanes_neon(vsubq_f32(vld1q_f32(p + j + 4 * part), all_highest));
            vst1q_f32(p + j + 4 * part, weight);
            sum[part] = vaddq_f32(sum[part], weight); /* p >= 0, so the +0 of a hidden slot changes no lane */
        }
    *m = highest;
    *l = bnf_fold16_neon(sum);
}

/* o[.., c .. c + 4 * width) for the heads at work; all columns exist, or width is 1 and `left` < 4 do. */
TEMPLATE void values(const struct page_work *work, const void *v, int64_t dv, int64_t c, int64_t left, float *o, const int heads,
                     const int width, const enum bnf_kv_type type)
{
    float32x4_t sum[MOST_HEADS][8];
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            sum[h][i] = vdupq_n_f32(0.0f);
    for (int64_t t = 0; t < work->n; t++) {
        const int64_t j = work->slot[t];
        if (c == 0)
            bnf_read_ahead(work->next_v, t, 1, dv, type);
        float32x4_t vj[8];
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            vj[i] = left >= 4 ? load_kv(v, j, dv, c + 4 * i, type) : load_some_kv(v, j, dv, c, left, type);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            const float32x4_t p = vdupq_n_f32(work->p[h][j]);
#pragma GCC unroll 8
            for (int i = 0; i < width; i++)
                sum[h][i] = vfmaq_f32(sum[h][i], p, vj[i]);
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            if (left >= 4)
                vst1q_f32(o + h * dv + c + 4 * i, sum[h][i]);
            else
                bnf_store_some_neon(o + h * dv + c, left, sum[h][i]);
}

TEMPLATE void heads_of_page(struct page_work *work, const float *q, int64_t dk, int64_t dv, const void *k, const void *v,
                            float scale, float *m, float *l, float *o, const int heads, const enum bnf_kv_type type)
{
    scores(work, q, dk, k, scale, heads, type);
    for (int h = 0; h < heads; h++)
        softmax(work, h, m + h, l + h);
    const int width = heads <= 2 ? 8 : 4;
    int64_t c = 0;
    for (; c + 4 * width <= dv; c += 4 * width)
        values(work, v, dv, c, 4, o, heads, width, type);
    for (; c + 4 <= dv; c += 4)
        values(work, v, dv, c, 4, o, heads, 1, type);
    if (c < dv)
        values(work, v, dv, c, dv - c, o, heads, 1, type);
}

TEMPLATE void page(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask, float scale,
                   const enum bnf_kv_type type, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    struct page_work work;
    list_slots(mask, &work);
    work.next_k = next_k;
    work.next_v = next_v;
    while (g > 0) {
        const int64_t heads = g < MOST_HEADS ? g : MOST_HEADS;
        switch (heads) {
        case 1: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 1, type); break;
        case 2: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 2, type); break;
        case 3: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 3, type); break;
        default: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 4, type); break;
        }
        g -= heads, q += heads * dk, m += heads, l += heads, o += heads * dv;
        work.next_k = work.next_v = NULL; /* once is enough */
    }
}

void bnf_attn_page_f16_neon(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                            float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F16, m, l, o, next_k, next_v);
}

void bnf_attn_page_f32_neon(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                            float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F32, m, l, o, next_k, next_v);
}

void bnf_attn_page_q8_0_neon(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                             float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_Q8_0, m, l, o, next_k, next_v);
}

void bnf_attn_merge_neon(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2, int64_t g, int64_t dv)
{
    for (int64_t h = 0; h < g; h++, o += dv, o2 += dv) {
        const float highest = m2[h] > m[h] ? m2[h] : m[h];
        const float32x4_t a = bnf_exp_lanes_neon(vdupq_n_f32(m[h] - highest));
        const float32x4_t b = bnf_exp_lanes_neon(vdupq_n_f32(m2[h] - highest));
        l[h] = bnf_fmaf(l2[h], vgetq_lane_f32(b, 0), l[h] * vgetq_lane_f32(a, 0));
        int64_t c = 0;
        for (; c + 4 <= dv; c += 4)
            vst1q_f32(o + c, vfmaq_f32(vmulq_f32(vld1q_f32(o + c), a), vld1q_f32(o2 + c), b));
        const float32x4_t kept = vmulq_f32(bnf_load_some_neon(o + c, dv - c), a);
        bnf_store_some_neon(o + c, dv - c, vfmaq_f32(kept, bnf_load_some_neon(o2 + c, dv - c), b));
        m[h] = highest;
    }
}

/* ---- the vectors of bnf_attention.h: a block of keys is 16 slots, 16 sums of 4 heads beside 4 keys and a query ---- */

#define BNF_VEC_LEN 4
#define BNF_TILE_ROWS 4
#define BNF_KEY_VECS 4
#define BNF_VALUE_VECS 4
typedef float32x4_t bnf_vec;
#include "bnf_attention.h"

BNF_TEMPLATE bnf_vec bnf_vec_load(const float *x) { return vld1q_f32(x); }
BNF_TEMPLATE void bnf_vec_store(float *x, bnf_vec v) { vst1q_f32(x, v); }
BNF_TEMPLATE void bnf_vec_store_some(float *x, int64_t left, bnf_vec v) { bnf_store_some_neon(x, left, v); }
BNF_TEMPLATE bnf_vec bnf_vec_set1(float x) { return vdupq_n_f32(x); }
BNF_TEMPLATE bnf_vec bnf_vec_fma(bnf_vec a, bnf_vec b, bnf_vec c) { return vfmaq_f32(c, a, b); }
BNF_TEMPLATE bnf_vec bnf_vec_max(bnf_vec a, bnf_vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
BNF_TEMPLATE float bnf_vec_highest(bnf_vec v) { return vmaxvq_f32(v); }
BNF_TEMPLATE bnf_vec bnf_vec_exp(bnf_vec v) { return bnf_exp_lanes_neon(v); }
BNF_TEMPLATE float bnf_vec_fold(const bnf_vec *lanes) { return bnf_fold16_neon(lanes); }
BNF_TEMPLATE bnf_vec bnf_vec_load_kv(const uint8_t *row, int64_t d, int64_t i, const enum bnf_kv_type type)
{
    return load_some_kv(row, 0, d, i, d - i, type);
}

BNF_TEMPLATE void bnf_vec_transpose(bnf_vec *x)
{
    const float32x4x2_t low = vtrnq_f32(x[0], x[1]), high = vtrnq_f32(x[2], x[3]); /* a0 b0 a2 b2, a1 b1 a3 b3; c and d the same */
    x[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    x[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    x[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    x[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

BNF_ATTN_TILE_FUNCTIONS(neon)
