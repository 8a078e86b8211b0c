/* Attention over one page of the KV cache, up to 5 query heads at once: each K and V vector is loaded and widened once for
 * the heads that share it. Same bits as ../scalar/attention_scalar.c, which says what is computed.
 *    scores   4 positions x heads: 4 to 20 lanes16 sums in registers, then a tree that folds 4 sums together
 *    softmax  64 slots of a head as 4 vectors
 *    values   4 vectors of columns x heads in registers, down the visible positions
 * The functions below are templates over `heads`, `type` and `width`: always inlined with constants, so that the loops over
 * them unroll and the arrays of sums become registers (5 heads: 20 sums + 4 + 1 of 32).
 * Next: vector_avx512vnni.c for the other operations, math_avx512vnni.h for exp. */
#include <string.h>

#include "kernels_avx512vnni.h"
#include "math_avx512vnni.h"

#define TEMPLATE static inline __attribute__((always_inline))
#define MOST_HEADS 5

/* A page's visible slots in ascending order, and what was computed of them for the heads at work. */
struct page_work {
    const void *next_k, *next_v;                   /* where to read ahead, or NULL */
    int64_t n;                                   /* visible slots, at least 1 */
    uint8_t slot[BNF_KV_PAGE];                   /* their numbers, the last one repeated up to a multiple of 4 */
    uint64_t mask;
    float score[MOST_HEADS][BNF_KV_PAGE];        /* by place in slot[] */
    _Alignas(64) float p[MOST_HEADS][BNF_KV_PAGE]; /* exp(score - m) by slot number; hidden slots are 0 */
};

static void list_slots(uint64_t mask, struct page_work *work)
{
    int64_t n = 0;
    work->mask = mask;
    for (uint64_t rest = mask; rest; rest &= rest - 1)
        work->slot[n++] = (uint8_t)__builtin_ctzll(rest);
    work->n = n;
    for (; n % 4; n++)
        work->slot[n] = work->slot[n - 1];
}

/* Elements from i on of a slot's row. Q8_0: all 16 exist, and lie in one block. */
TEMPLATE __m512 load_kv(const void *page, int64_t slot, int64_t d, int64_t i, __mmask16 live, const enum bnf_kv_type type)
{
    const uint8_t *const row = (const uint8_t *)page + (uint64_t)slot * bnf_kv_row_size(type, d);
    if (type == BNF_KV_F16)
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(live, row + 2 * i));
    if (type == BNF_KV_F32)
        return _mm512_maskz_loadu_ps(live, row + 4 * i);
    uint16_t scale;
    memcpy(&scale, row + d + i / BNF_KV_BLOCK * 2, sizeof scale);
    const __m512 q = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(const void *)(row + i))));
    return _mm512_mul_ps(q, _mm512_cvtph_ps(_mm256_set1_epi16((short)scale)));
}

/* Step 1 of the tree for two sums: x0+x8 .. x7+x15 in the low half, y's in the high half. */
TEMPLATE __m512 fold_pair(__m512 x, __m512 y)
{
    return _mm512_add_ps(_mm512_shuffle_f32x4(x, y, 0x44), _mm512_shuffle_f32x4(x, y, 0xee));
}

/* bnf_fold16_avx512vnni of four vectors at once.
 *    ab   a's 8 sums | b's 8 sums            and cd the same
 *    by4  a's 4 sums | b's | c's | d's      quarters 0 and 2 plus quarters 1 and 3
 *    by1  a . . . | b . . . | c . . . | d . . . */
TEMPLATE __m128 fold_four(const __m512 *sum)
{
    const __m512 ab = fold_pair(sum[0], sum[1]);
    const __m512 cd = fold_pair(sum[2], sum[3]);
    const __m512 by4 = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    const __m512 by2 = _mm512_add_ps(by4, _mm512_permute_ps(by4, 0x4e));
    const __m512 by1 = _mm512_add_ps(by2, _mm512_permute_ps(by2, 0xb1));
    return _mm512_castps512_ps128(_mm512_maskz_compress_ps(0x1111, by1));
}

/* Beyond dk both factors are 0. That can turn a lane's -0 into +0, which no result shows: m is never -0 and exp(-0) = exp(0). */
TEMPLATE void add_products(__m512 (*sum)[4], const float *q, int64_t dk, const void *k, const uint8_t *slot, int64_t i,
                           __mmask16 live, const int heads, const enum bnf_kv_type type)
{
    __m512 ki[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        ki[j] = load_kv(k, slot[j], dk, i, live, type);
#pragma GCC unroll 5
    for (int h = 0; h < heads; h++) {
        const __m512 qi = _mm512_maskz_loadu_ps(live, q + h * dk + i);
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++)
            sum[h][j] = _mm512_fmadd_ps(qi, ki[j], sum[h][j]);
    }
}

TEMPLATE void scores(struct page_work *work, const float *q, int64_t dk, const void *k, float scale, const int heads,
                     const enum bnf_kv_type type)
{
    for (int64_t t = 0; t < work->n; t += 4) {
        bnf_read_ahead(work->next_k, t, 4, dk, type);
        const uint8_t *const slot = work->slot + t;
        __m512 sum[MOST_HEADS][4];
#pragma GCC unroll 5
        for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
            for (int j = 0; j < 4; j++)
                sum[h][j] = _mm512_setzero_ps();
        int64_t i = 0;
        for (; i + 16 <= dk; i += 16)
            add_products(sum, q, dk, k, slot, i, 0xffff, heads, type);
        if (i < dk)
            add_products(sum, q, dk, k, slot, i, bnf_live16_avx512vnni(dk - i), heads, type);
#pragma GCC unroll 5
        for (int h = 0; h < heads; h++)
            _mm_storeu_ps(work->score[h] + t, _mm_mul_ps(fold_four(sum[h]), _mm_set1_ps(scale)));
    }
}

/* score -> p for one head. Scores are first put where their slots are: the expanding load hands the next ones out to the
 * visible lanes. A NaN score loses every comparison (maxps gives its second operand) and comes back through exp. */
static void softmax(struct page_work *work, int h, float *m, float *l)
{
    __m512 s[4];
    __m512 most = _mm512_set1_ps(-INFINITY);
    const float *next = work->score[h];
    for (int b = 0; b < 4; b++) {
        const __mmask16 seen = (__mmask16)(work->mask >> 16 * b);
        s[b] = _mm512_maskz_expandloadu_ps(seen, next);
        next += __builtin_popcount(seen);
        most = _mm512_mask_max_ps(most, seen, s[b], most);
    }
    const float highest = _mm512_reduce_max_ps(most) + 0.0f; /* -0 becomes +0 */
    __m512 sum = _mm512_setzero_ps();
    for (int b = 0; b < 4; b++) {
        const __mmask16 seen = (__mmask16)(work->mask >> 16 * b);
        const __m512 p = _mm512_maskz_mov_ps(seen, bnf_exp_lanes_avx512vnni(_mm512_sub_ps(s[b], _mm512_set1_ps(highest))));
        sum = _mm512_add_ps(sum, p); /* p >= 0, so the +0 of a hidden slot changes no lane */
        _mm512_store_ps(work->p[h] + 16 * b, p);
    }
    *m = highest;
    *l = bnf_fold16_avx512vnni(sum);
}

/* o[.., c .. c + 16 * width) for the heads at work; `live` speaks of the last vector. */
TEMPLATE void values(const struct page_work *work, const void *v, int64_t dv, int64_t c, __mmask16 live, float *o,
                     const int heads, const int width, const enum bnf_kv_type type)
{
    __m512 sum[MOST_HEADS][4];
#pragma GCC unroll 5
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
        for (int i = 0; i < width; i++)
            sum[h][i] = _mm512_setzero_ps();
    for (int64_t t = 0; t < work->n; t++) {
        const int64_t j = work->slot[t];
        if (c == 0)
            bnf_read_ahead(work->next_v, t, 1, dv, type);
        __m512 vj[4];
#pragma GCC unroll 4
        for (int i = 0; i < width; i++)
            vj[i] = load_kv(v, j, dv, c + 16 * i, i == width - 1 ? live : 0xffff, type);
#pragma GCC unroll 5
        for (int h = 0; h < heads; h++) {
            const __m512 p = _mm512_set1_ps(work->p[h][j]);
#pragma GCC unroll 4
            for (int i = 0; i < width; i++)
                sum[h][i] = _mm512_fmadd_ps(p, vj[i], sum[h][i]);
        }
    }
#pragma GCC unroll 5
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
        for (int i = 0; i < width; i++)
            _mm512_mask_storeu_ps(o + h * dv + c + 16 * i, i == width - 1 ? live : 0xffff, sum[h][i]);
}

TEMPLATE void heads_of_page(struct page_work *work, const float *q, int64_t dk, int64_t dv, const void *k, const void *v,
                            float scale, float *m, float *l, float *o, const int heads, const enum bnf_kv_type type)
{
    scores(work, q, dk, k, scale, heads, type);
    for (int h = 0; h < heads; h++)
        softmax(work, h, m + h, l + h);
    int64_t c = 0;
    for (; c + 64 <= dv; c += 64)
        values(work, v, dv, c, 0xffff, o, heads, 4, type);
    for (; c + 32 <= dv; c += 32)
        values(work, v, dv, c, 0xffff, o, heads, 2, type);
    for (; c < dv; c += 16)
        values(work, v, dv, c, bnf_live16_avx512vnni(dv - c), o, heads, 1, type);
}

TEMPLATE void page(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask, float scale,
                   const enum bnf_kv_type type, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    struct page_work work;
    list_slots(mask, &work);
    work.next_k = next_k;
    work.next_v = next_v;
    while (g > 0) {
        const int64_t heads = g <= MOST_HEADS ? g : 4; /* 8 is two times 4 */
        switch (heads) {
        case 1: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 1, type); break;
        case 2: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 2, type); break;
        case 3: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 3, type); break;
        case 4: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 4, type); break;
        default: heads_of_page(&work, q, dk, dv, k, v, scale, m, l, o, 5, type); break;
        }
        g -= heads, q += heads * dk, m += heads, l += heads, o += heads * dv;
        work.next_k = work.next_v = NULL; /* once is enough */
    }
}

void bnf_attn_page_f16_avx512vnni(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                                  float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F16, m, l, o, next_k, next_v);
}

void bnf_attn_page_f32_avx512vnni(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                                  float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F32, m, l, o, next_k, next_v);
}

void bnf_attn_page_q8_0_avx512vnni(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                                   float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_Q8_0, m, l, o, next_k, next_v);
}

void bnf_attn_merge_avx512vnni(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2, int64_t g,
                               int64_t dv)
{
    for (int64_t h = 0; h < g; h++, o += dv, o2 += dv) {
        const float highest = m2[h] > m[h] ? m2[h] : m[h];
        const __m512 a = bnf_exp_lanes_avx512vnni(_mm512_set1_ps(m[h] - highest));
        const __m512 b = bnf_exp_lanes_avx512vnni(_mm512_set1_ps(m2[h] - highest));
        l[h] = bnf_fmaf(l2[h], _mm512_cvtss_f32(b), l[h] * _mm512_cvtss_f32(a));
        for (int64_t c = 0; c < dv; c += 16) {
            const __mmask16 live = bnf_live16_avx512vnni(dv - c);
            const __m512 kept = _mm512_mul_ps(_mm512_maskz_loadu_ps(live, o + c), a);
            _mm512_mask_storeu_ps(o + c, live, _mm512_fmadd_ps(_mm512_maskz_loadu_ps(live, o2 + c), b, kept));
        }
        m[h] = highest;
    }
}

/* ---- the vectors of bnf_attention.h: a block of keys is 32 slots, 8 sums of 4 heads beside 2 keys and a query ---- */

#define BNF_VEC_LEN 16
#define BNF_TILE_ROWS 4
#define BNF_KEY_VECS 2
#define BNF_VALUE_VECS 4
typedef __m512 bnf_vec;
#include "bnf_attention.h"

BNF_TEMPLATE bnf_vec bnf_vec_load(const float *x) { return _mm512_loadu_ps(x); }
BNF_TEMPLATE void bnf_vec_store(float *x, bnf_vec v) { _mm512_storeu_ps(x, v); }
BNF_TEMPLATE void bnf_vec_store_some(float *x, int64_t left, bnf_vec v) { _mm512_mask_storeu_ps(x, bnf_live16_avx512vnni(left), v); }
BNF_TEMPLATE bnf_vec bnf_vec_set1(float x) { return _mm512_set1_ps(x); }
BNF_TEMPLATE bnf_vec bnf_vec_fma(bnf_vec a, bnf_vec b, bnf_vec c) { return _mm512_fmadd_ps(a, b, c); }
BNF_TEMPLATE bnf_vec bnf_vec_max(bnf_vec a, bnf_vec b) { return _mm512_max_ps(a, b); }
BNF_TEMPLATE float bnf_vec_highest(bnf_vec v) { return _mm512_reduce_max_ps(v); }
BNF_TEMPLATE bnf_vec bnf_vec_exp(bnf_vec v) { return bnf_exp_lanes_avx512vnni(v); }
BNF_TEMPLATE float bnf_vec_fold(const bnf_vec *lanes) { return bnf_fold16_avx512vnni(*lanes); }
BNF_TEMPLATE bnf_vec bnf_vec_load_kv(const uint8_t *row, int64_t d, int64_t i, const enum bnf_kv_type type)
{
    return load_kv(row, 0, d, i, bnf_live16_avx512vnni(d - i), type);
}

/* Pairs of rows, pairs of pairs, then quarters:
 *    a0 b0 a1 b1 | ...    rows 2i and 2i + 1 woven, low and high halves of each quarter
 *    a0 b0 c0 d0 | ...    column j of four rows in quarter j / 4
 *    then quarters of rows 0, 4, 8, 12 change places as a 4 x 4 square, twice by halves */
BNF_TEMPLATE void bnf_vec_transpose(bnf_vec *x)
{
    bnf_vec y[16];
#pragma GCC unroll 8
    for (int i = 0; i < 16; i += 2) {
        y[i] = _mm512_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm512_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 16; i += 4) { /* x[i + c]: columns c, c + 4, c + 8, c + 12 of rows i .. i + 3 */
        x[i] = _mm512_shuffle_ps(y[i], y[i + 2], 0x44);
        x[i + 1] = _mm512_shuffle_ps(y[i], y[i + 2], 0xee);
        x[i + 2] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0x44);
        x[i + 3] = _mm512_shuffle_ps(y[i + 1], y[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const bnf_vec even04 = _mm512_shuffle_f32x4(x[c], x[c + 4], 0x88), odd04 = _mm512_shuffle_f32x4(x[c], x[c + 4], 0xdd);
        const bnf_vec even8c = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0x88), odd8c = _mm512_shuffle_f32x4(x[c + 8], x[c + 12], 0xdd);
        y[c] = _mm512_shuffle_f32x4(even04, even8c, 0x88);
        y[c + 4] = _mm512_shuffle_f32x4(odd04, odd8c, 0x88);
        y[c + 8] = _mm512_shuffle_f32x4(even04, even8c, 0xdd);
        y[c + 12] = _mm512_shuffle_f32x4(odd04, odd8c, 0xdd);
    }
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++)
        x[i] = y[i];
}

BNF_ATTN_TILE_FUNCTIONS(avx512vnni)
