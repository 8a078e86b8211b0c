/* Attention over a tile of queries and one page of the KV cache, the same for every instruction set: bnf_ops.h, attn_tile.
 * kernels/<isa>/attention_<isa>.c defines the vectors named below and then says BNF_ATTN_TILE_FUNCTIONS(<isa>).
 *    keys     blocks of BNF_KEY_COLS slots, [dk][BNF_KEY_COLS]: a vector holds one element of many slots, so that each of the 16
 *             lanes of a sum is a vector too, and the tree is plain additions
 *    values   [64][dv rounded up to 16]
 *    scores   BNF_TILE_ROWS query heads x BNF_KEY_VECS vectors of slots; a block of keys stays in L1 while all rows pass
 *    outputs  BNF_TILE_ROWS query heads x BNF_VALUE_VECS vectors of columns, down the visible slots
 * Everything is static: the files that include this are compiled for different instruction sets.
 * May not change the order of a float operation stated in bnf_ops.h. Next: bnf_attention_page.h, attention_avx512vnni.c. */
#ifndef BNF_ATTENTION_H
#define BNF_ATTENTION_H

#include <math.h>
#include <string.h>

#include "bnf_math.h"
#include "bnf_ops.h"

#define BNF_TEMPLATE static inline __attribute__((always_inline))
#define BNF_KEY_COLS (BNF_KEY_VECS * BNF_VEC_LEN)
#define BNF_VALUE_STRIDE(dv) (((dv) + 15) / 16 * 16)

/* ---- what an instruction set provides: vectors of BNF_VEC_LEN floats, bnf_vec, on which the operators + - * work ---- */

BNF_TEMPLATE bnf_vec bnf_vec_load(const float *x);
BNF_TEMPLATE void bnf_vec_store(float *x, bnf_vec v);
/* The first `left` elements, at least 1; beyond them nothing is stored. */
BNF_TEMPLATE void bnf_vec_store_some(float *x, int64_t left, bnf_vec v);
BNF_TEMPLATE bnf_vec bnf_vec_set1(float x);
BNF_TEMPLATE bnf_vec bnf_vec_fma(bnf_vec a, bnf_vec b, bnf_vec c); /* a * b + c */
BNF_TEMPLATE bnf_vec bnf_vec_max(bnf_vec a, bnf_vec b);            /* a > b ? a : b, hence b where a is NaN */
BNF_TEMPLATE float bnf_vec_highest(bnf_vec v);                     /* there is no NaN */
BNF_TEMPLATE bnf_vec bnf_vec_exp(bnf_vec v);                       /* bnf_expf in each lane */
BNF_TEMPLATE float bnf_vec_fold(const bnf_vec *lanes);             /* the tree, of 16 / BNF_VEC_LEN vectors */
BNF_TEMPLATE void bnf_vec_transpose(bnf_vec *square);              /* of BNF_VEC_LEN vectors */
/* Elements from i on of a row of the cache, of which `left` exist, at least 1; those beyond read as +0. */
BNF_TEMPLATE bnf_vec bnf_vec_load_kv(const uint8_t *row, int64_t d, int64_t i, int64_t left, const enum bnf_kv_type type);

/* ---- a page as the tile wants it ---- */

BNF_TEMPLATE void bnf_unpack_keys(const uint8_t *k, int64_t dk, uint64_t mask, float *keys, const enum bnf_kv_type type)
{
    const uint64_t row_size = bnf_kv_row_size(type, dk), group = ~UINT64_C(0) >> (BNF_KV_PAGE - BNF_VEC_LEN);
    for (int slot = 0; slot < BNF_KV_PAGE; slot += BNF_VEC_LEN) {
        if (!(mask >> slot & group))
            continue;
        float *const block = keys + slot / BNF_KEY_COLS * BNF_KEY_COLS * dk + slot % BNF_KEY_COLS;
        for (int64_t i = 0; i < dk; i += BNF_VEC_LEN) {
            bnf_vec square[BNF_VEC_LEN];
#pragma GCC unroll 16
            for (int j = 0; j < BNF_VEC_LEN; j++)
                square[j] = bnf_vec_load_kv(k + (uint64_t)(slot + j) * row_size, dk, i, dk - i, type);
            bnf_vec_transpose(square);
#pragma GCC unroll 16
            for (int j = 0; j < BNF_VEC_LEN; j++)
                if (i + j < dk)
                    bnf_vec_store(block + (i + j) * BNF_KEY_COLS, square[j]);
        }
    }
}

BNF_TEMPLATE void bnf_unpack_values(const uint8_t *v, int64_t dv, uint64_t mask, float *values, const enum bnf_kv_type type)
{
    const uint64_t row_size = bnf_kv_row_size(type, dv);
    for (; mask; mask &= mask - 1) {
        const int64_t slot = __builtin_ctzll(mask);
        for (int64_t c = 0; c < dv; c += BNF_VEC_LEN)
            bnf_vec_store(values + slot * BNF_VALUE_STRIDE(dv) + c, bnf_vec_load_kv(v + (uint64_t)slot * row_size, dv, c, dv - c, type));
    }
}

/* ---- scores ---- */

/* sum[row][vector] of one lane of the sums: elements lane, lane + 16, ... */
BNF_TEMPLATE void bnf_tile_lane(bnf_vec sum[][BNF_KEY_VECS], const float *const *q, int64_t lane, int64_t dk, const float *keys,
                                const int rows)
{
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < BNF_KEY_VECS; i++)
            sum[r][i] = bnf_vec_set1(0.0f);
    for (int64_t e = lane; e < dk; e += 16) {
        bnf_vec k[BNF_KEY_VECS];
#pragma GCC unroll 4
        for (int i = 0; i < BNF_KEY_VECS; i++)
            k[i] = bnf_vec_load(keys + e * BNF_KEY_COLS + i * BNF_VEC_LEN);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const bnf_vec x = bnf_vec_set1(q[r][e]);
#pragma GCC unroll 4
            for (int i = 0; i < BNF_KEY_VECS; i++)
                sum[r][i] = bnf_vec_fma(x, k[i], sum[r][i]);
        }
    }
}

BNF_TEMPLATE void bnf_tile_add(bnf_vec sum[][BNF_KEY_VECS], bnf_vec more[][BNF_KEY_VECS], const int rows)
{
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < BNF_KEY_VECS; i++)
            sum[r][i] = sum[r][i] + more[r][i];
}

/* Scores of a few query heads and one block of keys, score[row][64]. Lanes come in the order 0 8 4 12 2 10 6 14 1 9 ... (bits
 * reversed): then the tree adds like a binary counter, and at most four sums per score wait at once. */
BNF_TEMPLATE void bnf_tile_scores(const float *const *q, int64_t dk, const float *keys, float scale, float *score, const int rows)
{
    bnf_vec sum[BNF_TILE_ROWS][BNF_KEY_VECS], waiting[3][BNF_TILE_ROWS][BNF_KEY_VECS];
    for (int turn = 0; turn < 8; turn++) {
        const int lane = (turn & 1) << 2 | (turn & 2) | (turn & 4) >> 2;
        bnf_vec high[BNF_TILE_ROWS][BNF_KEY_VECS];
        bnf_tile_lane(high, q, lane + 8, dk, keys, rows);
        bnf_tile_lane(sum, q, lane, dk, keys, rows);
        bnf_tile_add(sum, high, rows);
        int depth = 0;
        for (; turn >> depth & 1; depth++)
            bnf_tile_add(sum, waiting[depth], rows);
        if (turn < 7)
            for (int r = 0; r < rows; r++)
                for (int i = 0; i < BNF_KEY_VECS; i++)
                    waiting[depth][r][i] = sum[r][i];
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 4
        for (int i = 0; i < BNF_KEY_VECS; i++)
            bnf_vec_store(score + r * BNF_KV_PAGE + i * BNF_VEC_LEN, sum[r][i] * bnf_vec_set1(scale));
}

/* ---- softmax: score[64] -> weights in place. Hidden slots become -inf: their weight is then 0, or, where every visible score is
 * -inf or NaN, l is NaN with them and without. A NaN score loses every comparison and comes back through exp. ---- */
BNF_TEMPLATE void bnf_softmax(float *score, uint64_t mask, float *m, float *l)
{
    enum { LANES = 16 / BNF_VEC_LEN }; /* vectors of a sum */
    for (uint64_t hidden = ~mask; hidden; hidden &= hidden - 1)
        score[__builtin_ctzll(hidden)] = -INFINITY;
    bnf_vec most = bnf_vec_set1(-INFINITY);
#pragma GCC unroll 4
    for (int j = 0; j < BNF_KV_PAGE; j += BNF_VEC_LEN)
        most = bnf_vec_max(bnf_vec_load(score + j), most);
    const float highest = bnf_vec_highest(most) + 0.0f; /* -0 becomes +0 */
    bnf_vec sum[LANES];
    for (int i = 0; i < LANES; i++)
        sum[i] = bnf_vec_set1(0.0f);
#pragma GCC unroll 4
    for (int j = 0; j < BNF_KV_PAGE; j += BNF_VEC_LEN) {
        const bnf_vec p = bnf_vec_exp(bnf_vec_load(score + j) - bnf_vec_set1(highest));
        bnf_vec_store(score + j, p);
        sum[j / BNF_VEC_LEN % LANES] = sum[j / BNF_VEC_LEN % LANES] + p; /* p >= 0, so the +0 of a hidden slot changes no lane */
    }
    *m = highest;
    *l = bnf_vec_fold(sum);
}

/* ---- outputs ---- */

/* o[row][0 .. width vectors) of a few query heads that see the same slots; `left` columns exist. */
BNF_TEMPLATE void bnf_tile_outputs(const float *weight, uint64_t mask, const float *values, int64_t stride, int64_t left, float *const *o,
                                   const int rows, const int width)
{
    bnf_vec sum[BNF_TILE_ROWS][BNF_VALUE_VECS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            sum[r][i] = bnf_vec_set1(0.0f);
    for (; mask; mask &= mask - 1) {
        const int64_t j = __builtin_ctzll(mask);
        bnf_vec v[BNF_VALUE_VECS];
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            v[i] = bnf_vec_load(values + j * stride + i * BNF_VEC_LEN);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const bnf_vec p = bnf_vec_set1(weight[r * BNF_KV_PAGE + j]);
#pragma GCC unroll 8
            for (int i = 0; i < width; i++)
                sum[r][i] = bnf_vec_fma(p, v[i], sum[r][i]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int i = 0; i < width; i++)
            if ((i + 1) * BNF_VEC_LEN <= left)
                bnf_vec_store(o[r] + i * BNF_VEC_LEN, sum[r][i]);
            else
                bnf_vec_store_some(o[r] + i * BNF_VEC_LEN, left - i * BNF_VEC_LEN, sum[r][i]);
}

BNF_TEMPLATE void bnf_tile_columns(const float *weight, uint64_t mask, const float *values, int64_t stride, int64_t left, float *const *o,
                                   const int width, int rows)
{
    switch (rows) {
    case BNF_TILE_ROWS: bnf_tile_outputs(weight, mask, values, stride, left, o, BNF_TILE_ROWS, width); break;
    default:
        for (int r = 0; r < rows; r++)
            bnf_tile_outputs(weight + r * BNF_KV_PAGE, mask, values, stride, left, o + r, 1, width);
    }
}

/* ---- the tile ---- */

BNF_TEMPLATE void bnf_tile_page(const struct bnf_attn_tile *t)
{
    const int64_t n_rows = t->n * t->g, stride = BNF_VALUE_STRIDE(t->dv);
    uint64_t any = 0;
    for (int64_t i = 0; i < t->n; i++)
        any |= t->mask[i];
    for (int slot = 0; slot < BNF_KV_PAGE; slot += BNF_KEY_COLS) {
        const float *const keys = t->keys + slot * t->dk;
        if (!(any >> slot & ~UINT64_C(0) >> (BNF_KV_PAGE - BNF_KEY_COLS)))
            continue;
        for (int64_t row = 0; row < n_rows; row += BNF_TILE_ROWS) {
            const float *q[BNF_TILE_ROWS];
            for (int64_t r = row; r < row + BNF_TILE_ROWS; r++) /* past the last one, the last again */
            {
                const int64_t at = r < n_rows ? r : n_rows - 1;
                q[r - row] = t->q + at / t->g * t->q_stride + at % t->g * t->dk;
            }
            bnf_tile_scores(q, t->dk, keys, t->scale, t->weights + row * BNF_KV_PAGE + slot, BNF_TILE_ROWS);
        }
    }
    for (int64_t row = 0; row < n_rows; row++) {
        bnf_softmax(t->weights + row * BNF_KV_PAGE, t->mask[row / t->g], t->m + row, t->l + row);
        if (t->mask[row / t->g] == 0)
            t->l[row] = -1.0f;
    }
    for (int64_t c = 0; c < t->dv;) {
        const int64_t left = t->dv - c;
        const int64_t width = left > (BNF_VALUE_VECS - 1) * BNF_VEC_LEN ? BNF_VALUE_VECS : 1;
        for (int64_t row = 0; row < n_rows;) {
            const uint64_t mask = t->mask[row / t->g];
            float *o[BNF_TILE_ROWS];
            int rows = 0;
            for (; rows < BNF_TILE_ROWS && row + rows < n_rows && t->mask[(row + rows) / t->g] == mask; rows++)
                o[rows] = t->o + (row + rows) / t->g * t->o_stride + (row + rows) % t->g * t->dv + c;
            if (width == BNF_VALUE_VECS)
                bnf_tile_columns(t->weights + row * BNF_KV_PAGE, mask, t->values + c, stride, left, o, BNF_VALUE_VECS, rows);
            else
                bnf_tile_columns(t->weights + row * BNF_KV_PAGE, mask, t->values + c, stride, left, o, 1, rows);
            row += rows;
        }
        c += width * BNF_VEC_LEN;
    }
}

#define BNF_ATTN_UNPACK_FUNCTIONS(isa, name, type)                                                                       \
    void bnf_unpack_k_##name##_##isa(const void *k, int64_t dk, uint64_t mask, float *keys)                              \
    {                                                                                                                    \
        bnf_unpack_keys(k, dk, mask, keys, type);                                                                        \
    }                                                                                                                    \
    void bnf_unpack_v_##name##_##isa(const void *v, int64_t dv, uint64_t mask, float *values)                            \
    {                                                                                                                    \
        bnf_unpack_values(v, dv, mask, values, type);                                                                    \
    }
#define BNF_ATTN_TILE_FUNCTIONS(isa)                                                                                     \
    BNF_ATTN_UNPACK_FUNCTIONS(isa, f16, BNF_KV_F16)                                                                      \
    BNF_ATTN_UNPACK_FUNCTIONS(isa, f32, BNF_KV_F32)                                                                      \
    BNF_ATTN_UNPACK_FUNCTIONS(isa, q8_0, BNF_KV_Q8_0)                                                                    \
    BNF_STORE_KV_Q8_0_FUNCTION(isa)                                                                                      \
    void bnf_attn_tile_##isa(const struct bnf_attn_tile *tile) { bnf_tile_page(tile); }

#endif
