/* Block-quantized weights packed by rows of 16 (BNF_TYPE_BLOCKS_R16, bnf_layout.h): what lies where, how it is made from the
 * file's blocks, and the activations as its products take them. The products are kernels/<isa>/blocks_<isa>.c, which include
 * this; everything is static, because those files are compiled for different instruction sets.
 * May not change the order of a float operation stated in bnf_ops.h. Next: kernels/avx512vnni/blocks_avx512vnni.c. */
#ifndef BNF_BLOCKS_H
#define BNF_BLOCKS_H

#include "bnf_ops.h"

#define BNF_BLOCKS_COLS 32    /* columns that meet a part in registers; see BNF_MATMUL_SCRATCH */
#define BNF_BLOCKS_AHEAD 4096 /* bytes; tiles lie one behind the other, so that this runs into the next one by itself */

#define BNF_TILE_ROWS 16
#define BNF_TILE_BIAS 128
#include "bnf_tile.h"

/* A tile is 16 rows. It is a sequence of blocks of block_len elements: scales, then parts of 32 elements. */
struct bnf_planes {
    int32_t low_bits;    /* of a code in the first planes: 2, 4 or 8 */
    int32_t high_bits;   /* of a code in the planes after them: 0, 1 or 2 */
    int32_t n_sub;       /* sub-scales of a part and row: 0, 1 or 2; a minimum likewise, where the format has minima */
    bool nibbles;        /* a sub-scale and its minimum share a byte: the low and the high half */
};

static const struct bnf_planes bnf_planes_q4_0 = { .low_bits = 4 };
static const struct bnf_planes bnf_planes_q4_1 = { .low_bits = 4 };
static const struct bnf_planes bnf_planes_q5_0 = { .low_bits = 4, .high_bits = 1 };
static const struct bnf_planes bnf_planes_q5_1 = { .low_bits = 4, .high_bits = 1 };
static const struct bnf_planes bnf_planes_q8_0 = { .low_bits = 8 };
static const struct bnf_planes bnf_planes_q2_k = { .low_bits = 2, .n_sub = 2, .nibbles = true };
static const struct bnf_planes bnf_planes_q3_k = { .low_bits = 2, .high_bits = 1, .n_sub = 2 };
static const struct bnf_planes bnf_planes_q4_k = { .low_bits = 4, .n_sub = 1 };
static const struct bnf_planes bnf_planes_q5_k = { .low_bits = 4, .high_bits = 1, .n_sub = 1 };
static const struct bnf_planes bnf_planes_q6_k = { .low_bits = 4, .high_bits = 2, .n_sub = 2 };

/* X(type, GGML_TYPE) for every block format */
#define BNF_BLOCKS_TYPES(X)                                                                                                 \
    X(q4_0, GGML_TYPE_Q4_0) X(q4_1, GGML_TYPE_Q4_1) X(q5_0, GGML_TYPE_Q5_0) X(q5_1, GGML_TYPE_Q5_1)                      \
    X(q8_0, GGML_TYPE_Q8_0) X(q2_k, GGML_TYPE_Q2_K) X(q3_k, GGML_TYPE_Q3_K) X(q4_k, GGML_TYPE_Q4_K)                      \
    X(q5_k, GGML_TYPE_Q5_K) X(q6_k, GGML_TYPE_Q6_K)

/* Bytes before the parts of a block; before the codes of a part; of a part; of a block. */
BNF_ALWAYS_INLINE int32_t bnf_blocks_head_size(struct bnf_tile_format f)
{
    return f.min == BNF_MIN_NONE ? 32 : 64;
}

BNF_ALWAYS_INLINE int32_t bnf_blocks_sub_size(struct bnf_tile_format f, struct bnf_planes p)
{
    return 16 * p.n_sub * (f.min == BNF_MIN_SUB && !p.nibbles ? 2 : 1);
}

BNF_ALWAYS_INLINE int32_t bnf_blocks_part_size(struct bnf_tile_format f, struct bnf_planes p)
{
    return bnf_blocks_sub_size(f, p) + 64 * (p.low_bits + p.high_bits);
}

BNF_ALWAYS_INLINE int32_t bnf_blocks_block_size(struct bnf_tile_format f, struct bnf_planes p)
{
    return bnf_blocks_head_size(f) + f.block_len / 32 * bnf_blocks_part_size(f, p);
}

/* ---- packing ---- */

/* The planes of a part. group[g] has a dword a row: codes 4 g .. 4 g + 3 of the part, a byte each. A plane of b bits holds
 * 8 / b groups in each of its dwords: of n_planes planes plane i holds group i + n_planes * f at bits b * f. */
BNF_ALWAYS_INLINE uint8_t *bnf_blocks_planes(uint8_t *restrict out, const uint32_t group[8][16], int shift, int bits)
{
    const uint32_t mask = 0x01010101u * ((1u << bits) - 1);
    for (int i = 0; i < bits; i++, out += 64) {
        uint32_t plane[16];
        for (int r = 0; r < 16; r++) {
            plane[r] = 0;
            for (int f = 0; f < 8 / bits; f++)
                plane[r] |= (group[i + bits * f][r] >> shift & mask) << (bits * f);
        }
        memcpy(out, plane, sizeof plane);
    }
    return out;
}

BNF_ALWAYS_INLINE void bnf_blocks_pack_part(const struct bnf_tile *restrict t, int part, struct bnf_tile_format f, struct bnf_planes p,
                                         uint8_t *restrict out)
{
    const int8_t *sub = t->sub[2 * part], *min = t->min[2 * part];
    if (p.nibbles)
        for (int i = 0; i < 32; i++)
            out[i] = (uint8_t)(sub[i] | min[i] << 4);
    else if (p.n_sub > 0) {
        memcpy(out, sub, (size_t)(16 * p.n_sub));
        if (f.min == BNF_MIN_SUB)
            memcpy(out + 16 * p.n_sub, min, (size_t)(16 * p.n_sub));
    }
    out += bnf_blocks_sub_size(f, p);

    uint32_t group[8][16];
    for (int r = 0; r < 16; r++)
        for (int g = 0; g < 8; g++)
            group[g][r] = bnf_load_u32(t->code[r] + 32 * part + 4 * g);
    out = bnf_blocks_planes(out, group, 0, p.low_bits);
    bnf_blocks_planes(out, group, p.low_bits, p.high_bits);
}

/* n_rows rows (at most 16) that begin at s, row_size bytes apart, as one tile; rows beyond the last are zero. */
BNF_ALWAYS_INLINE void bnf_blocks_pack_tile(const uint8_t *s, uint64_t row_size, int n_rows, int64_t k, struct bnf_tile_format f,
                                         bnf_unpack_fn unpack, struct bnf_planes p, uint8_t *out)
{
    struct bnf_tile t;
    if (n_rows < 16)
        memset(&t, 0, sizeof t);
    for (int64_t e = 0; e < k; e += BNF_TILE_LEN, s += BNF_TILE_LEN / f.block_len * f.block_size) {
        const int n_parts = (int)(k - e < BNF_TILE_LEN ? k - e : BNF_TILE_LEN) / 32;
        for (int r = 0; r < n_rows; r++)
            unpack(&t, r, s + (uint64_t)r * row_size, n_parts);
        for (int part = 0; part < n_parts; part++) {
            if (!f.super || part == 0) {
                memcpy(out, t.d[part], 32);
                if (f.min != BNF_MIN_NONE)
                    memcpy(out + 32, t.m[part], 32);
                out += bnf_blocks_head_size(f);
            }
            bnf_blocks_pack_part(&t, part, f, p, out);
            out += bnf_blocks_part_size(f, p);
        }
    }
}

/* Bytes of 16 packed rows; 0: not a block format. */
static inline uint64_t bnf_blocks_tile_size(int32_t type, int64_t k)
{
#define BNF_BLOCKS_SIZE(name, ggml)                                                                                         \
    case ggml: return (uint64_t)(k / bnf_tile_##name.block_len * bnf_blocks_block_size(bnf_tile_##name, bnf_planes_##name));
    switch (type) {
        BNF_BLOCKS_TYPES(BNF_BLOCKS_SIZE)
    default: return 0;
    }
#undef BNF_BLOCKS_SIZE
}

/* Rows [row, row + n_rows) of w as one tile. */
static inline void bnf_blocks_pack(const struct bnf_matrix *w, int64_t row, int n_rows, uint8_t *out)
{
    const uint8_t *s = w->data + (uint64_t)row * w->row_size;
#define BNF_BLOCKS_PACK(name, ggml)                                                                                         \
    case ggml:                                                                                                           \
        bnf_blocks_pack_tile(s, w->row_size, n_rows, w->k, bnf_tile_##name, bnf_unpack_##name, bnf_planes_##name, out);        \
        return;
    switch (w->type) {
        BNF_BLOCKS_TYPES(BNF_BLOCKS_PACK)
    }
#undef BNF_BLOCKS_PACK
}

/* ---- activations ---- */

/* Up to BNF_BLOCKS_COLS columns. Blocks of 32 elements one behind the other, in each the columns: a product reads them in
 * order, whatever the stride between columns was. (One column: q and da are the ones of bnf_act.) */
struct bnf_blocks_operand {
    int32_t n;            /* columns */
    const int8_t *q;      /* [k / 32][n][32] */
    const float *da;      /* [k / 32][n] */
    int32_t *minus;       /* [k / 32][n][sums]: minus the sums of q times the offset of the format's codes */
    float *sum;           /* [k / 32][n][sums]: the sums, where the format has minima; exact, at most 32 * 127 */
};

/* Sums of activations that a part needs: one of 32, or two of 16. */
BNF_ALWAYS_INLINE int bnf_blocks_n_sums(struct bnf_planes p)
{
    return p.n_sub == 2 ? 2 : 1;
}

/* Columns [c0, c0 + n) of x, in `scratch` where they are more than one. */
BNF_ALWAYS_INLINE struct bnf_blocks_operand bnf_blocks_prepare(const struct bnf_act *x, int64_t c0, int n, struct bnf_tile_format f,
                                                         struct bnf_planes p, uint8_t *scratch)
{
    const int64_t n_blocks = x->k / 32;
    const int n_sums = bnf_blocks_n_sums(p);
    struct bnf_blocks_operand out = { .n = n };
    out.minus = (int32_t *)(void *)scratch;
    out.sum = (float *)(void *)(out.minus + n_blocks * n * n_sums);
    float *da = out.sum + n_blocks * n * n_sums;
    int8_t *q = (int8_t *)(da + n_blocks * n);
    out.da = n == 1 ? x->scale + c0 * (x->q_stride / 32) : da;
    out.q = n == 1 ? x->q + c0 * x->q_stride : q;
    for (int c = 0; c < n; c++) {
        const int8_t *from = x->q + (c0 + c) * x->q_stride;
        const float *scale = x->scale + (c0 + c) * (x->q_stride / 32);
        const int16_t *sum16 = x->sum16 + (c0 + c) * (x->q_stride / 16);
        for (int64_t b = 0; b < n_blocks; b++) {
            const int64_t at = b * n + c;
            const int32_t s[2] = { n_sums == 2 ? sum16[2 * b] : sum16[2 * b] + sum16[2 * b + 1], sum16[2 * b + 1] };
            for (int i = 0; i < n_sums; i++) {
                out.minus[at * n_sums + i] = -f.offset * s[i];
                if (f.min != BNF_MIN_NONE)
                    out.sum[at * n_sums + i] = (float)s[i];
            }
            if (n > 1) {
                memcpy(q + at * 32, from + 32 * b, 32);
                da[at] = scale[b];
            }
        }
    }
    return out;
}

/* ---- what an instruction set provides ---- */

/* The columns of x times a tile: y[c * y_stride + r] for rows r of [first, end). n: x->n, or the constant 1. */
BNF_ALWAYS_INLINE void bnf_blocks_multiply_tile(const uint8_t *tile, const struct bnf_blocks_operand *x, int64_t k, const int n,
                                             struct bnf_tile_format f, struct bnf_planes p, float *y, int64_t y_stride, int first,
                                             int end);

/* ---- the loops around it ---- */

/* Rows [row0, row1), any, times all columns. */
BNF_ALWAYS_INLINE void bnf_blocks_multiply(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                                        int64_t row0, int64_t row1, uint8_t *scratch, struct bnf_tile_format f, struct bnf_planes p)
{
    const uint64_t tile_size = (uint64_t)(w->k / f.block_len * bnf_blocks_block_size(f, p));
    for (int64_t c = 0; c < x->n_cols; c += BNF_BLOCKS_COLS) {
        const int n = (int)(x->n_cols - c < BNF_BLOCKS_COLS ? x->n_cols - c : BNF_BLOCKS_COLS);
        const struct bnf_blocks_operand operand = bnf_blocks_prepare(x, c, n, f, p, scratch);
        for (int64_t t = row0 / 16; t * 16 < row1; t++) {
            const uint8_t *tile = w->data + (uint64_t)t * tile_size;
            float *out = y + c * y_stride + t * 16;
            const int first = row0 > t * 16 ? (int)(row0 - t * 16) : 0, end = row1 - t * 16 < 16 ? (int)(row1 - t * 16) : 16;
            if (n == 1)
                bnf_blocks_multiply_tile(tile, &operand, w->k, 1, f, p, out, y_stride, first, end);
            else
                bnf_blocks_multiply_tile(tile, &operand, w->k, n, f, p, out, y_stride, first, end);
        }
    }
}

#define BNF_BLOCKS_MULTIPLY(name, ggml)                                                                                     \
    static void multiply_##name(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,         \
                                int64_t row0, int64_t row1, void *scratch)                                               \
    {                                                                                                                    \
        bnf_blocks_multiply(w, x, y, y_stride, row0, row1, scratch, bnf_tile_##name, bnf_planes_##name);                       \
    }
#define BNF_BLOCKS_CALL(name, ggml)                                                                                         \
    case ggml: multiply_##name(w, x, y, y_stride, row0, row1, scratch); return;

/* What a table exports (bnf_kernels.h). */
#define BNF_BLOCKS_FUNCTIONS(isa)                                                                                           \
    BNF_BLOCKS_TYPES(BNF_BLOCKS_MULTIPLY)                                                                                      \
    void bnf_matmul_blocks_r16_##isa(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,    \
                                     int64_t row0, int64_t row1, void *scratch)                                          \
    {                                                                                                                    \
        switch (w->type) {                                                                                               \
            BNF_BLOCKS_TYPES(BNF_BLOCKS_CALL)                                                                                  \
        }                                                                                                                \
    }                                                                                                                    \
    int32_t bnf_blocks_layout_##isa(const struct bnf_matrix *w)                                                          \
    {                                                                                                                    \
        return bnf_blocks_tile_size(w->type, w->k) > 0 ? BNF_TYPE_BLOCKS_R16 : w->type;                                  \
    }                                                                                                                    \
    uint64_t bnf_blocks_size_##isa(const struct bnf_matrix *w)                                                           \
    {                                                                                                                    \
        return (uint64_t)((w->m + 15) / 16) * bnf_blocks_tile_size(w->type, w->k);                                          \
    }                                                                                                                    \
    bool bnf_blocks_pack_##isa(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed)                  \
    {                                                                                                                    \
        for (int64_t row = row0; row < row1; row += 16)                                                                  \
            bnf_blocks_pack(w, row, (int)(row1 - row < 16 ? row1 - row : 16),                                               \
                         packed + (uint64_t)(row / 16) * bnf_blocks_tile_size(w->type, w->k));                              \
        return true;                                                                                                     \
    }

#endif
