/* What attention needs of this instruction set: rows of the cache as vectors of floats, trees of sums, squares turned. The loops are those of
 * ../../bnf_attention.h (tiles) and ../../bnf_attention_page.h (pages), the same everywhere. Same bits as
 * ../scalar/attention_scalar.c, which says what is computed. Next: vector_neon.c for the other operations, math_neon.h for exp. */
#include <string.h>

#include "kernels_neon.h"
#include "math_neon.h"

/* Tiles: a block of keys is 16 slots, 16 sums of 4 heads beside 4 keys and a query. Pages: 4 sums in 16 registers, and 8 to 16 of columns. */
#define BNF_VEC_LEN 4
#define BNF_TILE_ROWS 4
#define BNF_KEY_VECS 4
#define BNF_VALUE_VECS 4
#define BNF_PAGE_HEADS 4
#define BNF_PAGE_POSITIONS(heads) ((heads) == 1 ? 4 : (heads) == 2 ? 2 : 1)
#define BNF_PAGE_WIDTH(heads) ((heads) <= 2 ? 8 : 4)
typedef float32x4_t bnf_vec;
#include "bnf_attention_page.h"

BNF_TEMPLATE bnf_vec bnf_vec_load(const float *x) { return vld1q_f32(x); }
BNF_TEMPLATE void bnf_vec_store(float *x, bnf_vec v) { vst1q_f32(x, v); }
BNF_TEMPLATE void bnf_vec_store_some(float *x, int64_t left, bnf_vec v) { bnf_store_some_neon(x, left, v); }
BNF_TEMPLATE bnf_vec bnf_vec_set1(float x) { return vdupq_n_f32(x); }
BNF_TEMPLATE bnf_vec bnf_vec_fma(bnf_vec a, bnf_vec b, bnf_vec c) { return vfmaq_f32(c, a, b); }
BNF_TEMPLATE bnf_vec bnf_vec_max(bnf_vec a, bnf_vec b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
BNF_TEMPLATE float bnf_vec_highest(bnf_vec v) { return vmaxvq_f32(v); }
BNF_TEMPLATE bnf_vec bnf_vec_exp(bnf_vec v) { return bnf_exp_lanes_neon(v); }
BNF_TEMPLATE float bnf_vec_fold(const bnf_vec *lanes) { return bnf_fold16_neon(lanes); }
BNF_TEMPLATE bnf_vec bnf_vec_load_kv(const uint8_t *row, int64_t d, int64_t i, int64_t left, const enum bnf_kv_type type)
{
    if (type == BNF_KV_Q8_0) { /* rows have no end inside a block */
        uint16_t scale;
        uint32_t four; /* a load of eight bytes could leave the row */
        memcpy(&scale, row + d + i / BNF_KV_BLOCK * 2, sizeof scale);
        memcpy(&four, row + i, sizeof four);
        const int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four)));
        return vmulq_f32(vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide))), vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(scale))));
    }
    if (type == BNF_KV_F32) {
        const float *const x = (const float *)(const void *)row + i;
        return left >= 4 ? vld1q_f32(x) : bnf_load_some_neon(x, left);
    }
    const uint16_t *const half = (const uint16_t *)(const void *)row + i;
    if (left >= 4)
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(half)));
    uint16_t part[4] = {0};
    memcpy(part, half, (size_t)left * sizeof *part);
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(part)));
}

/* bnf_fold16_neon of four sums at once, each in 4 vectors.
 *    ab   a0+a2 a1+a3 b0+b2 b1+b3     of a's 4 sums and b's; cd the same; then neighbours added: a b c d */
BNF_TEMPLATE void bnf_vec_fold_four(const bnf_vec (*sum)[4], float scale, float *total)
{
    float32x4_t by4[4];
#pragma GCC unroll 4
    for (int i = 0; i < 4; i++)
        by4[i] = bnf_fold16_to_4_neon(sum[i]);
    const float32x4_t ab = vaddq_f32(vcombine_f32(vget_low_f32(by4[0]), vget_low_f32(by4[1])),
                                     vcombine_f32(vget_high_f32(by4[0]), vget_high_f32(by4[1])));
    const float32x4_t cd = vaddq_f32(vcombine_f32(vget_low_f32(by4[2]), vget_low_f32(by4[3])),
                                     vcombine_f32(vget_high_f32(by4[2]), vget_high_f32(by4[3])));
    vst1q_f32(total, vmulq_n_f32(vpaddq_f32(ab, cd), scale));
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
BNF_ATTN_PAGE_FUNCTIONS(neon)
