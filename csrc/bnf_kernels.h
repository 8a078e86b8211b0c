/* The functions of one kernel table, by name: bnf_<op>_<isa>. BNF_KERNEL_PROTOTYPES declares them, BNF_KERNEL_TABLE
 * defines struct bnf_ops bnf_ops_<isa> from them, so that an operation is added in one place for all tables and a table
 * that lacks one does not link. What each function computes: bnf_ops.h.
 * Next: kernels/scalar/kernels_scalar.h. */
#ifndef BNF_KERNELS_H
#define BNF_KERNELS_H

#include "bitnet_ffi.h"
#include "bnf_ops.h"

#define BNF_MATMUL_PROTOTYPE(type, isa)                                                                                  \
    void bnf_matmul_##type##_##isa(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,      \
                                   int64_t row0, int64_t row1, void *scratch);
#define BNF_UNPACK_PROTOTYPE(type, isa)                                                                                  \
    void bnf_unpack_k_##type##_##isa(const void *k, int64_t dk, uint64_t mask, float *keys);                             \
    void bnf_unpack_v_##type##_##isa(const void *v, int64_t dv, uint64_t mask, float *values);

#define BNF_KERNEL_PROTOTYPES(isa)                                                                                       \
    void bnf_quantize_row_##isa(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16);           \
    void bnf_quantize_block_##isa(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16);                       \
    void bnf_fit_offset_##isa(struct bnf_fit *fit);                                                                      \
    void bnf_fit_symmetric_##isa(struct bnf_fit *fit);                                                                   \
    void bnf_fit_exchange_##isa(struct bnf_fit *fit);                                                                    \
    BNF_MATMUL_PROTOTYPE(f32, isa) BNF_MATMUL_PROTOTYPE(f16, isa) BNF_MATMUL_PROTOTYPE(bf16, isa)                        \
    BNF_MATMUL_PROTOTYPE(q4_0, isa) BNF_MATMUL_PROTOTYPE(q4_1, isa) BNF_MATMUL_PROTOTYPE(q5_0, isa)                      \
    BNF_MATMUL_PROTOTYPE(q5_1, isa) BNF_MATMUL_PROTOTYPE(q8_0, isa)                                                      \
    BNF_MATMUL_PROTOTYPE(q2_k, isa) BNF_MATMUL_PROTOTYPE(q3_k, isa) BNF_MATMUL_PROTOTYPE(q4_k, isa)                      \
    BNF_MATMUL_PROTOTYPE(q5_k, isa) BNF_MATMUL_PROTOTYPE(q6_k, isa)                                                      \
    BNF_MATMUL_PROTOTYPE(tq1_0, isa) BNF_MATMUL_PROTOTYPE(tq2_0, isa) BNF_MATMUL_PROTOTYPE(i2_s, isa)                    \
    void bnf_screen_pack_##isa(const struct bnf_matrix *w, int64_t row0, int64_t row1, const struct bnf_screen *screen); \
    void bnf_screen_bounds_##isa(const struct bnf_screen *screen, const struct bnf_screen_cols *x, float *upper,         \
                                 int64_t stride, int64_t row0, int64_t row1);                                            \
    void bnf_rmsnorm_##isa(const float *x, const float *w, int64_t n, float eps, float *y);                              \
    void bnf_add_##isa(float *x, const float *y, int64_t n);                                                             \
    void bnf_scale_##isa(float *x, float a, int64_t n);                                                                  \
    void bnf_add_low_rank_##isa(const struct bnf_low_rank *b, const float *u, int64_t u_stride, int64_t n, float s,      \
                                float *y, int64_t y_stride, int64_t row0, int64_t row1);                                 \
    void bnf_silu_mul_##isa(const float *g, const float *u, int64_t n, float *y);                                        \
    void bnf_relu2_mul_##isa(const float *g, const float *u, int64_t n, float *y);                                       \
    void bnf_exp_##isa(const float *x, int64_t n, float *y);                                                             \
    void bnf_gumbel_bounds_##isa(uint32_t seed, uint64_t step, int64_t begin, int64_t n, const float *x, float t,        \
                                 float *upper);                                                                          \
    void bnf_rope_##isa(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox);           \
    void bnf_store_kv_f16_##isa(const float *x, int64_t n, void *y);                                                     \
    void bnf_store_kv_f32_##isa(const float *x, int64_t n, void *y);                                                     \
    void bnf_store_kv_q8_0_##isa(const float *x, int64_t n, void *y);                                                    \
    void bnf_attn_page_##isa(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, enum bnf_kv_type type_k,  \
                             const void *v, enum bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l,     \
                             float *o, const void *next_k, const void *next_v);                                          \
    BNF_UNPACK_PROTOTYPE(f16, isa) BNF_UNPACK_PROTOTYPE(f32, isa) BNF_UNPACK_PROTOTYPE(q8_0, isa)                        \
    void bnf_attn_tile_##isa(const struct bnf_attn_tile *tile);                                                          \
    void bnf_attn_merge_##isa(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2,           \
                              int64_t g, int64_t dv);                                                                    \
    extern const struct bnf_ops bnf_ops_##isa;

/* The same in every table, whose quantize_block it calls: blocks one by one, as a head's end may fill half of 64. */
#define BNF_STORE_KV_Q8_0_FUNCTION(isa)                                                                                  \
    void bnf_store_kv_q8_0_##isa(const float *x, int64_t n, void *y)                                                     \
    {                                                                                                                    \
        uint8_t *const row = y;                                                                                          \
        for (int64_t i = 0; i < n; i += BNF_KV_BLOCK) {                                                                  \
            int8_t q[BNF_PAD64(BNF_KV_BLOCK)];                                                                           \
            int16_t sum16[BNF_PAD64(BNF_KV_BLOCK) / 16];                                                                 \
            float d;                                                                                                     \
            bnf_quantize_block_##isa(x + i, BNF_KV_BLOCK, q, &d, sum16);                                                 \
            const uint16_t half = bnf_f32_to_f16(d);                                                                     \
            memcpy(row + i, q, BNF_KV_BLOCK);                                                                            \
            memcpy(row + n + i / BNF_KV_BLOCK * 2, &half, sizeof half);                                                  \
        }                                                                                                                \
    }

/* Tables that pack weights declare these too, and give BNF_PACKED_MEMBERS to BNF_KERNEL_TABLE as its last argument. */
#define BNF_PACKED_PROTOTYPES(isa)                                                                                       \
    int32_t bnf_packed_layout_##isa(const struct bnf_matrix *w);                                                         \
    uint64_t bnf_packed_size_##isa(const struct bnf_matrix *w);                                                          \
    bool bnf_pack_##isa(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed);                        \
    void bnf_to_panel_##isa(const int8_t *q, int64_t k, int64_t lane, int8_t *panel);                                    \
    BNF_MATMUL_PROTOTYPE(i2_s_r16, isa) BNF_MATMUL_PROTOTYPE(tq_r16, isa)

/* Packed block formats (bnf_blocks.h), for tables that pack those: layout, size and pack as in struct bnf_ops; the layout of
 * everything else is its type, and the size 0. */
#define BNF_BLOCKS_PROTOTYPES(isa)                                                                                       \
    int32_t bnf_blocks_layout_##isa(const struct bnf_matrix *w);                                                         \
    uint64_t bnf_blocks_size_##isa(const struct bnf_matrix *w);                                                          \
    bool bnf_blocks_pack_##isa(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed);                 \
    BNF_MATMUL_PROTOTYPE(blocks_r16, isa)

#define BNF_PACKED_MEMBERS(isa, n_panel_cols)                                                                            \
    .matmul[BNF_TYPE_I2_S_R16] = bnf_matmul_i2_s_r16_##isa, .matmul[BNF_TYPE_TQ_R16] = bnf_matmul_tq_r16_##isa,          \
    .packed_layout = bnf_packed_layout_##isa, .packed_size = bnf_packed_size_##isa, .pack = bnf_pack_##isa,              \
    .panel_cols = n_panel_cols, .to_panel = bnf_to_panel_##isa

/* Tables that hold float heads in twelve bits. */
#define BNF_F12_PROTOTYPES(isa)                                                                                          \
    bool bnf_pack_f12_##isa(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed);                    \
    BNF_MATMUL_PROTOTYPE(f12_r4, isa)

#define BNF_F12_MEMBERS(isa) .matmul[BNF_TYPE_F12_R4] = bnf_matmul_f12_r4_##isa, .pack_f12 = bnf_pack_f12_##isa

#define BNF_BY_KV_TYPE(op, isa)                                                                                          \
    { [BNF_KV_F16] = bnf_##op##_f16_##isa, [BNF_KV_F32] = bnf_##op##_f32_##isa, [BNF_KV_Q8_0] = bnf_##op##_q8_0_##isa }
#define BNF_KERNEL_TABLE(isa, cpu_features, ...) BNF_KERNEL_TABLE_NAMED(isa, isa, cpu_features, __VA_ARGS__)

/* The table `table` with the functions of isa, but for what the last arguments name. */
#define BNF_KERNEL_TABLE_NAMED(table, isa, cpu_features, ...)                                                            \
    const struct bnf_ops bnf_ops_##table = {                                                                             \
        .name = #table,                                                                                                  \
        .needs = cpu_features,                                                                                           \
        .quantize_row = bnf_quantize_row_##isa,                                                                          \
        .quantize_block = bnf_quantize_block_##isa,                                                                      \
        .fit_offset = bnf_fit_offset_##isa,                                                                              \
        .fit_symmetric = bnf_fit_symmetric_##isa,                                                                        \
        .fit_exchange = bnf_fit_exchange_##isa,                                                                          \
        .matmul = {                                                                                                      \
            [GGML_TYPE_F32] = bnf_matmul_f32_##isa,     [GGML_TYPE_F16] = bnf_matmul_f16_##isa,                          \
            [GGML_TYPE_BF16] = bnf_matmul_bf16_##isa,                                                                    \
            [GGML_TYPE_Q4_0] = bnf_matmul_q4_0_##isa,   [GGML_TYPE_Q4_1] = bnf_matmul_q4_1_##isa,                        \
            [GGML_TYPE_Q5_0] = bnf_matmul_q5_0_##isa,   [GGML_TYPE_Q5_1] = bnf_matmul_q5_1_##isa,                        \
            [GGML_TYPE_Q8_0] = bnf_matmul_q8_0_##isa,                                                                    \
            [GGML_TYPE_Q2_K] = bnf_matmul_q2_k_##isa,   [GGML_TYPE_Q3_K] = bnf_matmul_q3_k_##isa,                        \
            [GGML_TYPE_Q4_K] = bnf_matmul_q4_k_##isa,   [GGML_TYPE_Q5_K] = bnf_matmul_q5_k_##isa,                        \
            [GGML_TYPE_Q6_K] = bnf_matmul_q6_k_##isa,                                                                    \
            [GGML_TYPE_TQ1_0] = bnf_matmul_tq1_0_##isa, [GGML_TYPE_TQ2_0] = bnf_matmul_tq2_0_##isa,                      \
            [GGML_TYPE_I2_S] = bnf_matmul_i2_s_##isa,                                                                    \
        },                                                                                                               \
        .screen_pack = bnf_screen_pack_##isa,                                                                            \
        .screen_bounds = bnf_screen_bounds_##isa,                                                                        \
        .rmsnorm = bnf_rmsnorm_##isa,                                                                                    \
        .add = bnf_add_##isa,                                                                                            \
        .scale = bnf_scale_##isa,                                                                                        \
        .add_low_rank = bnf_add_low_rank_##isa,                                                                          \
        .silu_mul = bnf_silu_mul_##isa,                                                                                  \
        .relu2_mul = bnf_relu2_mul_##isa,                                                                                \
        .exp = bnf_exp_##isa,                                                                                            \
        .gumbel_bounds = bnf_gumbel_bounds_##isa,                                                                        \
        .rope = bnf_rope_##isa,                                                                                          \
        .store_kv = BNF_BY_KV_TYPE(store_kv, isa),                                                                       \
        .attn_page = bnf_attn_page_##isa,                                                                                \
        .unpack_k = BNF_BY_KV_TYPE(unpack_k, isa),                                                                       \
        .unpack_v = BNF_BY_KV_TYPE(unpack_v, isa),                                                                       \
        .attn_tile = bnf_attn_tile_##isa,                                                                                \
        .attn_merge = bnf_attn_merge_##isa,                                                                              \
        __VA_ARGS__                                                                                                      \
    }

#endif
