/* Attention over one page of the KV cache, and the merge of two pages' results, in plain C: the readable statement that
 * the attention_<isa>.c files repeat bit for bit. A page's result is (m, l, o): the highest score, the sum of
 * exp(score - m) and the values weighted by the same, so that results of pages fold together in page order whoever
 * computed them. Does not divide o by l: the caller does, after the last page.
 * Next: ../../bnf_ops.h for the contract. */
#include <math.h>

#include "kernels_scalar.h"
#include "lanes_scalar.h"

static float kv_at(const void *base, int64_t i, enum bnf_kv_type type)
{
    return type == BNF_KV_F16 ? bnf_f16_to_f32(((const uint16_t *)base)[i]) : ((const float *)base)[i];
}

static float dot(const float *q, const void *k, int64_t first, int64_t dk, enum bnf_kv_type type)
{
    float lane[16] = {0};
    for (int64_t i = 0; i < dk; i++)
        lane[i % 16] = bnf_fmaf(q[i], kv_at(k, first + i, type), lane[i % 16]);
    return bnf_fold16_scalar(lane);
}

static void page_of_head(const float *q, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask, float scale,
                         enum bnf_kv_type type, float *m, float *l, float *o)
{
    float s[BNF_KV_PAGE];
    float highest = -INFINITY;
    for (int64_t j = 0; j < BNF_KV_PAGE; j++)
        if (mask >> j & 1) {
            s[j] = dot(q, k, j * dk, dk, type) * scale;
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
                o[c] = bnf_fmaf(p, kv_at(v, j * dv + c, type), o[c]);
        }
    *m = highest;
    *l = bnf_fold16_scalar(lane);
}

static void page(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask, float scale,
                 enum bnf_kv_type type, float *m, float *l, float *o)
{
    for (int64_t h = 0; h < g; h++)
        page_of_head(q + h * dk, dk, dv, k, v, mask, scale, type, m + h, l + h, o + h * dv);
}

void bnf_attn_page_f16_scalar(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                              float scale, float *m, float *l, float *o)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F16, m, l, o);
}

void bnf_attn_page_f32_scalar(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, const void *v, uint64_t mask,
                              float scale, float *m, float *l, float *o)
{
    page(q, g, dk, dv, k, v, mask, scale, BNF_KV_F32, m, l, o);
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
