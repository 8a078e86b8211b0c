/* Attention over one page of the KV cache, and the merge of two pages' results, in plain C: the readable statement that
 * the attention_<isa>.c files repeat bit for bit. A page's result is (m, l, o): the highest score, the sum of
 * exp(score - m) and the values weighted by the same, so that results of pages fold together in page order whoever
 * computed them. Does not divide o by l: the caller does, after the last page.
 * Next: ../../bnf_ops.h for the contract. */
#include <math.h>
#include <string.h>

#include "kernels_scalar.h"
#include "lanes_scalar.h"

/* Element i of a slot's row. */
static float kv_at(const void *page, int64_t slot, int64_t d, int64_t i, enum bnf_kv_type type)
{
    const uint8_t *const row = (const uint8_t *)page + (uint64_t)slot * bnf_kv_row_size(type, d);
    switch (type) {
    case BNF_KV_F32: return ((const float *)(const void *)row)[i];
    case BNF_KV_Q8_0:
        return (float)((const int8_t *)row)[i] * bnf_f16_to_f32(((const uint16_t *)(const void *)(row + d))[i / BNF_KV_BLOCK]);
    default: return bnf_f16_to_f32(((const uint16_t *)(const void *)row)[i]);
    }
}

static float dot(const float *q, const void *k, int64_t slot, int64_t dk, enum bnf_kv_type type)
{
    float lane[16] = {0};
    for (int64_t i = 0; i < dk; i++)
        lane[i % 16] = bnf_fmaf(q[i], kv_at(k, slot, dk, i, type), lane[i % 16]);
    return bnf_fold16_scalar(lane);
}

static void page_of_head(const float *q, int64_t dk, int64_t dv, const void *k, enum bnf_kv_type type_k, const void *v,
                         enum bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l, float *o)
{
    float s[BNF_KV_PAGE];
    float highest = -INFINITY;
    for (int64_t j = 0; j < BNF_KV_PAGE; j++)
        if (mask >> j & 1) {
            s[j] = dot(q, k, j, dk, type_k) * scale;
            highest = s[j] > highest ? s[j] : highest; /* a NaN compares false; it reaches l and o through exp */
        }
    highest += 0.0f; /* -0 becomes +0: which zero won would depend on the order of comparing */

    float lane[16] = {0};
    for (int64_t c = 0; c < dv; c++)
        o[c] = 0.0f;
    for (int64_t j = 0; j < BNF_KV_PAGE; j++)
        if (mask >> j & 1) {
            const float p = bnf_expf(s[j] - highest);
            lane[j % 16] += p;
            for (int64_t c = 0; c < dv; c++)
                o[c] = bnf_fmaf(p, kv_at(v, j, dv, c, type_v), o[c]);
        }
    *m = highest;
    *l = bnf_fold16_scalar(lane);
}

void bnf_attn_page_scalar(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, enum bnf_kv_type type_k, const void *v,
                          enum bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l, float *o, const void *next_k,
                          const void *next_v)
{
    (void)next_k, (void)next_v;
    for (int64_t h = 0; h < g; h++)
        page_of_head(q + h * dk, dk, dv, k, type_k, v, type_v, mask, scale, m + h, l + h, o + h * dv);
}

void bnf_attn_merge_scalar(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2, int64_t g,
                           int64_t dv)
{
    for (int64_t h = 0; h < g; h++) {
        const float highest = m2[h] > m[h] ? m2[h] : m[h];
        const float a = bnf_expf(m[h] - highest);
        const float b = bnf_expf(m2[h] - highest);
        l[h] = bnf_fmaf(l2[h], b, l[h] * a);
        for (int64_t c = 0; c < dv; c++)
            o[h * dv + c] = bnf_fmaf(o2[h * dv + c], b, o[h * dv + c] * a);
        m[h] = highest;
    }
}

/* ---- tiles: keys [64][dk] and values [64][dv] ---- */

static void unpack(const void *x, int64_t d, uint64_t mask, float *y, enum bnf_kv_type type)
{
    for (int64_t j = 0; j < BNF_KV_PAGE; j++)
        for (int64_t i = 0; i < d && mask >> j & 1; i++)
            y[j * d + i] = kv_at(x, j, d, i, type);
}

#define UNPACK_FUNCTIONS(name, type)                                                                                     \
    void bnf_unpack_k_##name##_scalar(const void *k, int64_t dk, uint64_t mask, float *keys)                             \
    {                                                                                                                    \
        unpack(k, dk, mask, keys, type);                                                                                 \
    }                                                                                                                    \
    void bnf_unpack_v_##name##_scalar(const void *v, int64_t dv, uint64_t mask, float *values)                           \
    {                                                                                                                    \
        unpack(v, dv, mask, values, type);                                                                               \
    }
UNPACK_FUNCTIONS(f16, BNF_KV_F16)
UNPACK_FUNCTIONS(f32, BNF_KV_F32)
UNPACK_FUNCTIONS(q8_0, BNF_KV_Q8_0)
BNF_STORE_KV_Q8_0_FUNCTION(scalar)

void bnf_attn_tile_scalar(const struct bnf_attn_tile *t)
{
    for (int64_t i = 0; i < t->n; i++)
        if (t->mask[i])
            bnf_attn_page_scalar(t->q + i * t->q_stride, t->g, t->dk, t->dv, t->keys, BNF_KV_F32, t->values, BNF_KV_F32, t->mask[i], t->scale,
                                 t->m + i * t->g, t->l + i * t->g, t->o + i * t->o_stride, NULL, NULL);
        else
            t->l[i * t->g] = -1.0f;
}
