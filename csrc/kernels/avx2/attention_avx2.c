/* Attention over one page of the KV cache, up to 4 query heads at once: each K and V vector is loaded and widened once for the
 * heads that share it. Same bits as ../scalar/attention_scalar.c, which says what is computed.
 *    scores   4 lanes16 sums in 8 registers (1 head x 4 positions, 2 x 2, 3 x 1 or 4 x 1), then a tree that folds all 4
 *    softmax  64 slots of a head as 8 vectors
 *    values   about 8 vectors of sums, heads x columns, down the visible positions
 * The functions below are templates over `heads`, `type` and `width`: always inlined with constants, so that the loops over
 * them unroll and the arrays of sums become registers.
 * Next: vector_avx2.c for the other operations, math_avx2.h for exp. */
#include <string.h>

#include "kernels_avx2.h"
#include "math_avx2.h"

#define TEMPLATE static inline __attribute__((always_inline))
#define MOST_HEADS 4

/* A page's visible slots in ascending order, and what was computed of them for the heads at work. */
struct page_work {
    const void *next_k, *next_v;                   /* where to read ahead, or NULL */
    int64_t n;                                     /* visible slots, at least 1 */
    uint8_t slot[BNF_KV_PAGE];                     /* their numbers, the last one repeated up to a multiple of 4 */
    float score[MOST_HEADS][BNF_KV_PAGE];          /* by place in slot[] */
    _Alignas(32) float p[MOST_HEADS][BNF_KV_PAGE]; /* exp(score - m) by slot number */
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
TEMPLATE __m256 load_kv(const void *page, int64_t slot, int64_t d, int64_t i, const enum bnf_kv_type type)
{
    const uint8_t *const row = (const uint8_t *)page + (uint64_t)slot * bnf_kv_row_size(type, d);
    if (type == BNF_KV_F16)
        return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(row + 2 * i)));
    if (type == BNF_KV_F32)
        return _mm256_loadu_ps((const float *)(const void *)(row + 4 * i));
    uint16_t scale;
    memcpy(&scale, row + d + i / BNF_KV_BLOCK * 2, sizeof scale);
    const __m256 q = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(row + i))));
    return _mm256_mul_ps(q, _mm256_cvtph_ps(_mm_set1_epi16((short)scale)));
}

/* As load_kv where only `left` elements exist, 1 to 7 or more; the others read as +0. Q8_0 rows have no such end. */
static inline __m256 load_some_kv(const void *page, int64_t slot, int64_t d, int64_t i, int64_t left, const enum bnf_kv_type type)
{
    if (left >= 8 || type == BNF_KV_Q8_0)
        return load_kv(page, slot, d, i, type);
    const uint8_t *const row = (const uint8_t *)page + (uint64_t)slot * bnf_kv_row_size(type, d);
    if (type == BNF_KV_F32)
        return bnf_load_some_avx2((const float *)(const void *)row + i, left);
    const uint16_t *const half = (const uint16_t *)(const void *)row + i;
    if (left % 2 == 0) { /* as in every model known; masks speak of 32 bits, so two halves */
        const __m128i live = _mm256_castsi256_si128(bnf_live8_avx2(left / 2));
        return _mm256_cvtph_ps(_mm_maskload_epi32((const int *)(const void *)half, live));
    }
    uint16_t part[8] = {0};
    memcpy(part, half, (size_t)left * sizeof *part);
    return load_kv(part, 0, 8, 0, BNF_KV_F16);
}

/* bnf_fold16_avx2 of four sums at once, each a low and a high vector.
 *    by8   a's 8 sums, b's, c's, d's
 *    ab    a0+a4 .. a3+a7 | b0+b4 .. b3+b7          and cd the same
 *    by2   a a c c | b b d d                        lanes i + (i + 2) */
TEMPLATE __m128 fold_four(const __m256 (*sum)[2])
{
    __m256 by8[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        by8[i] = _mm256_add_ps(sum[i][0], sum[i][1]);
    const __m256 ab = _mm256_add_ps(_mm256_permute2f128_ps(by8[0], by8[1], 0x20), _mm256_permute2f128_ps(by8[0], by8[1], 0x31));
    const __m256 cd = _mm256_add_ps(_mm256_permute2f128_ps(by8[2], by8[3], 0x20), _mm256_permute2f128_ps(by8[2], by8[3], 0x31));
    const __m256 by2 = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, 0x44), _mm256_shuffle_ps(ab, cd, 0xee));
    const __m256 by1 = _mm256_add_ps(by2, _mm256_movehdup_ps(by2)); /* a . c . | b . d . */
    const __m128 ac = _mm256_castps256_ps128(by1);
    const __m128 bd = _mm256_extractf128_ps(by1, 1);
    return _mm_blend_ps(ac, _mm_moveldup_ps(bd), 0xa); /* a b c d */
}

/* `positions` K vectors times `heads` q vectors, 16 elements from i; all exist, or `left` (beyond, both factors are 0:
 * that can turn a lane's -0 into +0, which no result shows, as m is never -0 and exp(-0) = exp(0)). */
TEMPLATE void add_products(__m256 (*sum)[2], const float *q, int64_t dk, const void *k, const uint8_t *slot, int64_t i,
                           int64_t left, const int heads, const int positions, const enum bnf_kv_type type)
{
#pragma GCC unroll 2
    for (int part = 0; part < 2; part++) {
        const int64_t at = i + 8 * part, some = left - 8 * part;
        if (some <= 0)
            break;
        __m256 kj[4];
#pragma GCC unroll 4
        for (int j = 0; j < positions; j++)
            kj[j] = left >= 16 ? load_kv(k, slot[j], dk, at, type) : load_some_kv(k, slot[j], dk, at, some, type);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            const float *const qh = q + h * dk + at;
            const __m256 qi = left >= 16 ? _mm256_loadu_ps(qh) : bnf_load_some_avx2(qh, some);
#pragma GCC unroll 4
            for (int j = 0; j < positions; j++)
                sum[h * positions + j][part] = _mm256_fmadd_ps(qi, kj[j], sum[h * positions + j][part]);
        }
    }
}

TEMPLATE void scores(struct page_work *work, const float *q, int64_t dk, const void *k, float scale, const int heads,
                     const enum bnf_kv_type type)
{
    const int positions = heads == 1 ? 4 : heads == 2 ? 2 : 1;
    for (int64_t t = 0; t < work->n; t += positions) {
        bnf_read_ahead(work->next_k, t, positions, dk, type);
        __m256 sum[4][2];
#pragma GCC unroll 4
        for (int i = 0; i < 4; i++)
            sum[i][0] = sum[i][1] = _mm256_setzero_ps();
        int64_t i = 0;
        for (; i + 16 <= dk; i += 16)
            add_products(sum, q, dk, k, work->slot + t, i, 16, heads, positions, type);
        if (i < dk)
            add_products(sum, q, dk, k, work->slot + t, i, dk - i, heads, positions, type);
        float total[4];
        _mm_storeu_ps(total, _mm_mul_ps(fold_four(sum), _mm_set1_ps(scale)));
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++)
#pragma GCC unroll 4
            for (int j = 0; j < positions; j++)
                work->score[h][t + j] = total[h * positions + j];
    }
}

/* score -> p for one head. Scores are first put where their slots are, hidden ones as -inf: their weight is then 0, or, where
 * every visible score is -inf or NaN, l is NaN with them and without. A NaN score loses every comparison (maxps gives its
 * second operand) and comes back through exp. */
static void softmax(struct page_work *work, int h, float *m, float *l)
{
    const float *score = work->score[h];
    float *const p = work->p[h];
    if (work->n == BNF_KV_PAGE) {
        memcpy(p, score, sizeof work->p[h]);
    } else {
        for (int j = 0; j < BNF_KV_PAGE; j += 8)
            _mm256_store_ps(p + j, _mm256_set1_ps(-INFINITY));
        for (int64_t t = 0; t < work->n; t++)
            p[work->slot[t]] = score[t];
    }
    __m256 most = _mm256_set1_ps(-INFINITY);
    for (int j = 0; j < BNF_KV_PAGE; j += 8)
        most = _mm256_max_ps(_mm256_load_ps(p + j), most);
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(most), _mm256_extractf128_ps(most, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    half = _mm_max_ps(half, _mm_movehdup_ps(half));
    const float highest = _mm_cvtss_f32(half) + 0.0f; /* -0 becomes +0 */
    const __m256 all_highest = _mm256_set1_ps(highest);
    __m256 low = _mm256_setzero_ps(), high = _mm256_setzero_ps();
    for (int j = 0; j < BNF_KV_PAGE; j += 16) {
        const __m256 p_low = bnf_exp_lanes_avx2(_mm256_sub_ps(_mm256_load_ps(p + j), all_highest));
        const __m256 p_high = bnf_exp_lanes_avx2(_mm256_sub_ps(_mm256_load_ps(p + j + 8), all_highest));
        _mm256_store_ps(p + j, p_low);
        _mm256_store_ps(p + j + 8, p_high);
        low = _mm256_add_ps(low, p_low); /* p >= 0, so the +0 of a hidden slot changes no lane */
        high = _mm256_add_ps(high, p_high);
    }
    *m = highest;
    *l = bnf_fold16_avx2(low, high);
}

/* o[.., c .. c + 8 * width) for the heads at work; all columns exist, or width is 1 and `left` < 8 do. */
TEMPLATE void values(const struct page_work *work, const void *v, int64_t dv, int64_t c, int64_t left, float *o, const int heads,
                     const int width, const enum bnf_kv_type type)
{
    __m256 sum[MOST_HEADS][8];
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            sum[h][i] = _mm256_setzero_ps();
    for (int64_t t = 0; t < work->n; t++) {
        const int64_t j = work->slot[t];
        if (c == 0)
            bnf_read_ahead(work->next_v, t, 1, dv, type);
        __m256 vj[8];
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            vj[i] = left >= 8 ? load_kv(v, j, dv, c + 8 * i, type) : load_some_kv(v, j, dv, c, left, type);
#pragma GCC unroll 4
        for (int h = 0; h < heads; h++) {
            const __m256 p = _mm256_broadcast_ss(&work->p[h][j]);
#pragma GCC unroll 8
            for (int i = 0; i < width; i++)
                sum[h][i] = _mm256_fmadd_ps(p, vj[i], sum[h][i]);
        }
    }
#pragma GCC unroll 4
    for (int h = 0; h < heads; h++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            if (left >= 8)
                _mm256_storeu_ps(o + h * dv + c + 8 * i, sum[h][i]);
            else
                bnf_store_some_avx2(o + h * dv + c, left, sum[h][i]);
}

TEMPLATE void heads_of_page(struct page_work *work, const float *q, int64_t dk, int64_t dv, const void *k, const void *v,
                            float scale, float *m, float *l, float *o, const int heads, const enum bnf_kv_type type)
{
    scores(work, q, dk, k, scale, heads, type);
    for (int h = 0; h < heads; h++)
        softmax(work, h, m + h, l + h);
    const int width = heads == 1 ? 8 : heads == 2 ? 4 : 2;
    int64_t c = 0;
    for (; c + 8 * width <= dv; c += 8 * width)
        values(work, v, dv, c, 8, o, heads, width, type);
    for (; c + 16 <= dv; c += 16)
        values(work, v, dv, c, 8, o, heads, 2, type);
    for (; c + 8 <= dv; c += 8)
        values(work, v, dv, c, 8, o, heads, 1, type);
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

void bnf_attn_page_f16_avx2(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                            float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F16, m, l, o, next_k, next_v);
}

void bnf_attn_page_f32_avx2(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                            float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F32, m, l, o, next_k, next_v);
}

void bnf_attn_page_q8_0_avx2(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                             float scale, float *m, float *l, float *o, const void *next_k, const void *next_v)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_Q8_0, m, l, o, next_k, next_v);
}

void bnf_attn_merge_avx2(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2, int64_t g, int64_t dv)
{
    for (int64_t h = 0; h < g; h++, o += dv, o2 += dv) {
        const float highest = m2[h] > m[h] ? m2[h] : m[h];
        const __m256 a = bnf_exp_lanes_avx2(_mm256_set1_ps(m[h] - highest));
        const __m256 b = bnf_exp_lanes_avx2(_mm256_set1_ps(m2[h] - highest));
        l[h] = bnf_fmaf(l2[h], _mm256_cvtss_f32(b), l[h] * _mm256_cvtss_f32(a));
        int64_t c = 0;
        for (; c + 8 <= dv; c += 8)
            _mm256_storeu_ps(o + c, _mm256_fmadd_ps(_mm256_loadu_ps(o2 + c), b, _mm256_mul_ps(_mm256_loadu_ps(o + c), a)));
        const __m256 kept = _mm256_mul_ps(bnf_load_some_avx2(o + c, dv - c), a);
        bnf_store_some_avx2(o + c, dv - c, _mm256_fmadd_ps(bnf_load_some_avx2(o2 + c, dv - c), b, kept));
        m[h] = highest;
    }
}

/* ---- the vectors of bnf_attention.h: a block of keys is 16 slots, 8 sums of 4 heads beside 2 keys and a query ---- */

#define BNF_VEC_LEN 8
#define BNF_TILE_ROWS 4
#define BNF_KEY_VECS 2
#define BNF_VALUE_VECS 2
typedef __m256 bnf_vec;
#include "bnf_attention.h"

BNF_TEMPLATE bnf_vec bnf_vec_load(const float *x) { return _mm256_loadu_ps(x); }
BNF_TEMPLATE void bnf_vec_store(float *x, bnf_vec v) { _mm256_storeu_ps(x, v); }
BNF_TEMPLATE void bnf_vec_store_some(float *x, int64_t left, bnf_vec v) { bnf_store_some_avx2(x, left, v); }
BNF_TEMPLATE bnf_vec bnf_vec_set1(float x) { return _mm256_set1_ps(x); }
BNF_TEMPLATE bnf_vec bnf_vec_fma(bnf_vec a, bnf_vec b, bnf_vec c) { return _mm256_fmadd_ps(a, b, c); }
BNF_TEMPLATE bnf_vec bnf_vec_max(bnf_vec a, bnf_vec b) { return _mm256_max_ps(a, b); }
BNF_TEMPLATE float bnf_vec_highest(bnf_vec v)
{
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}
BNF_TEMPLATE bnf_vec bnf_vec_exp(bnf_vec v) { return bnf_exp_lanes_avx2(v); }
BNF_TEMPLATE float bnf_vec_fold(const bnf_vec *lanes) { return bnf_fold16_avx2(lanes[0], lanes[1]); }
BNF_TEMPLATE bnf_vec bnf_vec_load_kv(const uint8_t *row, int64_t d, int64_t i, const enum bnf_kv_type type)
{
    return load_some_kv(row, 0, d, i, d - i, type);
}

/* As in ../avx512vnni: pairs of rows, pairs of pairs, halves. */
BNF_TEMPLATE void bnf_vec_transpose(bnf_vec *x)
{
    bnf_vec y[8];
#pragma GCC unroll 4
    for (int i = 0; i < 8; i += 2) {
        y[i] = _mm256_unpacklo_ps(x[i], x[i + 1]);
        y[i + 1] = _mm256_unpackhi_ps(x[i], x[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < 8; i += 4) { /* x[i + c]: columns c and c + 4 of rows i .. i + 3 */
        x[i] = _mm256_shuffle_ps(y[i], y[i + 2], 0x44);
        x[i + 1] = _mm256_shuffle_ps(y[i], y[i + 2], 0xee);
        x[i + 2] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0x44);
        x[i + 3] = _mm256_shuffle_ps(y[i + 1], y[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int c = 0; c < 4; c++) {
        const bnf_vec low = _mm256_permute2f128_ps(x[c], x[c + 4], 0x20);
        x[c + 4] = _mm256_permute2f128_ps(x[c], x[c + 4], 0x31);
        x[c] = low;
    }
}

BNF_ATTN_TILE_FUNCTIONS(avx2)
