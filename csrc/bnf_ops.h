/* struct bnf_ops: one pointer per operation, one filled table per instruction set (kernels/<isa>/table_<isa>.c).
 *
 * Every table gives the same bits. Integer sums are exact; each float operation below states its one order:
 *   lanes16   element i is accumulated into lane i % 16 by fma, lanes start at +0, elements beyond the end touch no lane;
 *             then lane i += lane i + 8 (i < 8), i += i + 4 (i < 4), i += i + 2 (i < 2), lane 0 += lane 1.
 *   each      element by element, the written operations in the written order; "fma" is one rounding, everything else
 *             one rounding per operation. Kernels are compiled with -ffp-contract=off.
 * Kernels may not allocate, log, fail or start threads; sizes and pointers were checked where data entered. Pointers
 * need only natural alignment. n, k, d may be any positive number (odd sizes, tails) unless stated.
 * Next: kernels/scalar/ is the readable statement of each operation. */
#ifndef BNF_OPS_H
#define BNF_OPS_H

#include "bnf_fit.h"
#include "bnf_layout.h"
#include "bnf_screen.h"

/* Weights of one product: m rows of k elements in a GGUF layout. */
struct bnf_matrix {
    const uint8_t *data;
    int64_t k;        /* inner length */
    int64_t m;        /* output rows */
    uint64_t row_size; /* bytes from row to row; I2_S: k / 4, meaningful only when k % 128 == 0 */
    int32_t type;     /* ggml_type the weights came in: what the product means */
    int32_t layout;   /* how they lie: the type again, or a packed type; index into bnf_ops.matmul */
    float scale;      /* I2_S: the trailer's scale; else 1 */
};

/* Activations of n_cols tokens, prepared as `kind` says. Strides are in elements from token to token. */
struct bnf_act {
    enum bnf_act_kind kind;
    int64_t n_cols;
    int64_t k;
    const float *f;          /* F32: f[col * f_stride + i] */
    int64_t f_stride;
    const int8_t *q;         /* Q8_*: q[col * q_stride + i]; q_stride = k rounded up to 64; the pad is zero */
    int64_t q_stride;
    const float *scale;      /* Q8_ROW: s[col] = 127 / absmax.  Q8_BLOCK: d[col * (q_stride / 32) + b] = absmax_b / 127 */
    const int16_t *sum16;    /* Q8_*: sums of 16 consecutive q: sum16[col * (q_stride / 16) + i] */
    const int32_t *sum;      /* Q8_ROW: sum[col] of all q */
    const int8_t *panels;    /* Q8_ROW, more than one column, tables with panel_cols > 0: the same q, cut for products of packed weights:
                              * column col in panel col / P, P = panel_cols; a panel has P * q_stride bytes, in an order that the table's
                              * to_panel makes. Columns beyond the last hold anything. NULL for one column. */
};

#define BNF_PAD64(k) (((k) + 63) / 64 * 64)

/* y[col * y_stride + row] = product, for rows [row0, row1) and all columns. `scratch`: BNF_MATMUL_SCRATCH(k) bytes,
 * 64-aligned, owned by the calling thread (an unpacked row). Definitions, per row and column:
 *   F32, F16, BF16   lanes16 over i of fma(w_i, x_i), w converted to f32 exactly.
 *   I2_S             D = sum (code - 1) * q exact;   y = ((float)D / s) * scale.
 *   TQ1_0, TQ2_0     D_b = exact sum of block b (256); acc = 0; each b ascending: acc = fma((float)D_b, d_b, acc);
 *                    y = acc / s.
 *   block formats    per 32 elements b, ascending: I_b = exact integer sum of (sub-scale *) code * q, S_b = exact
 *                    integer sum of (sub-min *) q; acc = fma((float)I_b, dw_b * da_b, acc); and for formats with a minimum
 *                    acc = fma((float)S_b, mw_b * da_b, acc), where
 *       Q4_0  I = sum (nib - 8) q, dw = d          Q4_1  I = sum nib q, dw = d; S = sum q, mw = m
 *       Q5_0  I = sum (q5 - 16) q, dw = d          Q5_1  I = sum q5 q, dw = d; S = sum q, mw = m
 *       Q8_0  I = sum w q, dw = d
 *       Q2_K  I = sc0 D0 + sc1 D1 (two 16s), dw = d; S = m0 s0 + m1 s1, mw = -dmin
 *       Q3_K  I = (sc0-32) D0 + (sc1-32) D1, dw = d     Q6_K  I = sc0 D0 + sc1 D1, dw = d (D of q6 - 32)
 *       Q4_K, Q5_K  I = sc D, dw = d; S = m sum q, mw = -dmin
 * k is a multiple of the block length (I2_S: any k with k * m % 128 == 0, through the flat stream). */
typedef void (*bnf_matmul_fn)(const struct bnf_matrix *w, const struct bnf_act *x, float *y, int64_t y_stride,
                              int64_t row0, int64_t row1, void *scratch);
/* The most that is asked for: 32 columns of a packed block format, a byte an element and 20 bytes for 32 of them. */
#define BNF_MATMUL_SCRATCH(k) ((size_t)(BNF_PAD64(k) * 52 + 4096))

/* A tall matrix of few columns, m rows of `rank` floats: the B of a LoRA adapter. In tiles, so that one number of u meets sixteen rows at
 * once and a thread reads on and on: data[row / 16][rank][row % 16], rows beyond m zero, 64-aligned. */
#define BNF_LOW_RANK_ROWS 16
struct bnf_low_rank {
    const float *data;
    int64_t rank, m;
};

/* Numbers of the KV cache. Q8_0: blocks of 32 along a head, whose width is a multiple of 32; a position's row is its int8 q[d], then
 * the blocks' F16 scales d[d / 32]; w_i = (float)q_i * d_b, which is exact (8 by 11 bits), and every sum is the one of F32. */
enum bnf_kv_type { BNF_KV_F16 = 0, BNF_KV_F32, BNF_KV_Q8_0, BNF_N_KV_TYPES };
#define BNF_KV_BLOCK 32
#define BNF_KV_PAGE 64 /* positions in a page of the KV cache; also the attention chunk, aligned to absolute position */

/* Bytes of one position's d numbers. */
static inline uint64_t bnf_kv_row_size(enum bnf_kv_type type, int64_t d)
{
    switch (type) {
    case BNF_KV_F32: return (uint64_t)d * sizeof(float);
    case BNF_KV_Q8_0: return (uint64_t)(d + d / BNF_KV_BLOCK * (int64_t)sizeof(uint16_t));
    default: return (uint64_t)d * sizeof(uint16_t);
    }
}

/* Rows [row, row + n) of a page, to L2: what a page kernel does for the next page while it works through the rows of its own.
 * The hardware follows a page's lines, but not from one page to the next, and not as far ahead as DRAM is away. Always inlined: of a
 * function that only prefetches gcc finds that it does nothing, and takes out calls that it has not inlined. */
static inline __attribute__((always_inline)) void bnf_read_ahead(const void *page, int64_t row, int64_t n, int64_t d, enum bnf_kv_type type)
{
    const uint64_t row_size = bnf_kv_row_size(type, d), end = (uint64_t)(row + n) * row_size;
    if (page)
        for (uint64_t at = (uint64_t)row * row_size; at < end; at += 64)
            __builtin_prefetch((const char *)page + at, 0, 2);
}

/* One token's g query heads that share a kv head, over one page. q[g][dk], k[64][dk] of type_k, v[64][dv] of type_v,
 * o[g][dv]. Slots whose bit in `mask` (never 0) is clear are skipped. Per head:
 *   s_j = lanes16(q, k_j) * scale;
 *   m = max s_j, starting at -inf, NaN passed over; then m + 0, so never -0 (which zero wins would depend on the
 *       order);
 *   p_j = exp(s_j - m);   l = sum p_j with slot j in lane j % 16 (plain adds, then the lanes16 tree);
 *   o_c = 0; each visible j ascending: o_c = fma(p_j, v_jc, o_c).
 * next_k, next_v: the page that this thread will want next, to be read ahead of its time, or NULL. */
typedef void (*bnf_attn_page_fn)(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, enum bnf_kv_type type_k, const void *v,
                                 enum bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l, float *o, const void *next_k,
                                 const void *next_v);

/* Many tokens of one sequence over one page: attn_page for each of them, to the last bit, but the page is read once. Keys and
 * values come as floats in the table's own arrangement, from unpack_k and unpack_v. */
struct bnf_attn_tile {
    int64_t n, g, dk, dv;
    const float *q;       /* [n][g][dk], q_stride floats from token to token */
    int64_t q_stride;
    const uint64_t *mask; /* [n] visible slots of each token; 0: none, then l[token][0] = -1 and its m and o mean nothing */
    float scale;
    const float *keys;    /* [64 * dk], 64-aligned */
    const float *values;  /* [64 * dv rounded up to 16], 64-aligned */
    float *weights;       /* [n * g rounded up to 8][64], 64-aligned: work */
    float *m, *l;         /* [n][g] */
    float *o;             /* [n][g][dv], o_stride floats from token to token */
    int64_t o_stride;
};

struct bnf_ops {
    const char *name;          /* "avx512vnni" */
    unsigned needs;            /* bnf_cpu_feature bits, all of them */

    /* q: int8[BNF_PAD64(k)], sum16: int16[BNF_PAD64(k) / 16], pads written as zero.
     * row:   m = max(1e-5, max |x_i|) in double (NaN ignored); s = (float)(127.0 / m);
     *        q = clamp(rne(x * s), -127, 127), NaN -> -127.
     * block: per 32: d = absmax / 127 (f32); id = absmax > 0 ? 127 / absmax : 0;
     *        q = clamp(rne(x * id), -127, 127), NaN -> -127. */
    void (*quantize_row)(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16);
    void (*quantize_block)(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16);

    /* The quantizers' searches (bnf_fit.h), codes and scales of 16 groups of weights: a scale and a minimum, by weighted least squares; a
     * scale alone, by weight; a scale alone, weighted with the squares, by moving one code at a time. */
    void (*fit_offset)(struct bnf_fit *fit);
    void (*fit_symmetric)(struct bnf_fit *fit);
    void (*fit_exchange)(struct bnf_fit *fit);

    bnf_matmul_fn matmul[BNF_N_TYPES];                 /* by layout; NULL: not supported */

    /* Packed weights: the layout this table multiplies fastest, made once at load. The product is the one of the type it
     * was packed from, to the last bit; row0 is a multiple of 16, and so is row1 if it is not m.
     * packed_layout: the layout for this matrix (BNF_TYPE_*, bnf_layout.h), or w->type when it stays as it lies.
     * packed_size: bytes. pack: rows [row0, row1), multiples of 16 (row1 may be m), into `packed`, 64-aligned; rows are
     * independent, so threads may share the work. False: a code among them means nothing (3 in I2_S or TQ2_0) and has no place
     * in this layout; `packed` holds nothing then, and the matrix stays as it lies, where such a code counts as +2. */
    int32_t (*packed_layout)(const struct bnf_matrix *w);
    uint64_t (*packed_size)(const struct bnf_matrix *w);
    bool (*pack)(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed);
    int64_t panel_cols;                                /* columns of a panel (struct bnf_act), at most 16; 0: none */
    /* Column `lane` of a panel from one column of q: k elements and the pad up to 64. */
    void (*to_panel)(const int8_t *q, int64_t k, int64_t lane, int8_t *panel);

    /* Float weights in twelve bits (BNF_TYPE_F12_R4), k % 64 == 0: rows [row0, row1), multiples of 4 (row1 may be m), into
     * `packed`, bnf_f12_size bytes. False: a tile has too many exceptions, keep the floats. The product's rows are multiples
     * of 4 too. NULL: this table has none. */
    bool (*pack_f12)(const struct bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed);

    /* The screen (bnf_screen.h). pack: rows [row0, row1) of float weights, multiples of 16 (row1 may be m), into the screen's arrays.
     * bounds: upper[c * stride + row], at least the logit that matmul computes, or NaN, for rows [row0, row1), multiples of 16 (row1 may
     * be m; the rest of its tile is written too). The integers are exact; what they become is not the same in all tables. */
    void (*screen_pack)(const struct bnf_matrix *w, int64_t row0, int64_t row1, const struct bnf_screen *screen);
    void (*screen_bounds)(const struct bnf_screen *screen, const struct bnf_screen_cols *x, float *upper, int64_t stride,
                          int64_t row0, int64_t row1);

    /* y = (x * r) * w, each; r = 1 / sqrt(mean + eps), mean = lanes16(x, x) / (float)n. y may be x. */
    void (*rmsnorm)(const float *x, const float *w, int64_t n, float eps, float *y);
    /* each: x += y */
    void (*add)(float *x, const float *y, int64_t n);
    /* each: x *= a */
    void (*scale)(float *x, float a, int64_t n);
    /* y[t * y_stride + row] = fma(s, z, y), for rows [row0, row1) and tokens t < n, where z = 0, then z = fma(b_r, u[t * u_stride + r], z)
     * for each r ascending. Grows with y, so a bound of y before is one after. */
    void (*add_low_rank)(const struct bnf_low_rank *b, const float *u, int64_t u_stride, int64_t n, float s, float *y, int64_t y_stride,
                         int64_t row0, int64_t row1);
    /* each; y may be g or u: y = (g / (1 + exp(-g))) * u */
    void (*silu_mul)(const float *g, const float *u, int64_t n, float *y);
    /* each; y may be g or u: r = g > 0 ? g : 0 (NaN -> 0); y = (r * r) * u */
    void (*relu2_mul)(const float *g, const float *u, int64_t n, float *y);
    /* each; y may be x: y = exp(x), as bnf_expf */
    void (*exp)(const float *x, int64_t n, float *y);
    /* each: upper_i = x_i / t + bnf_gumbel_bound of token begin + i (bnf_gumbel.h); begin is a multiple of 64. */
    void (*gumbel_bounds)(uint32_t seed, uint64_t step, int64_t begin, int64_t n, const float *x, float t, float *upper);
    /* Rotate n_heads heads of width d in place; cos_sin[i] = {cos, sin} of pair i, i < n_rot / 2. Pairs: neox
     * (i, i + n_rot / 2), else (2i, 2i + 1); each pair: a' = a * c - b * s, b' = a * s + b * c, every product and sum
     * rounded. Elements from n_rot on stay. */
    void (*rope)(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox);

    void (*store_kv[BNF_N_KV_TYPES])(const float *x, int64_t n, void *y);   /* F16: rne; Q8_0: q as quantize_block, d to F16 by rne */
    bnf_attn_page_fn attn_page;
    /* The slots of `mask` of a page, [64][d] of the kv type, as floats for attn_tile. Slots beyond the mask may be read; what
     * they hold changes no result. */
    void (*unpack_k[BNF_N_KV_TYPES])(const void *k, int64_t dk, uint64_t mask, float *keys);
    void (*unpack_v[BNF_N_KV_TYPES])(const void *v, int64_t dv, uint64_t mask, float *values);
    void (*attn_tile)(const struct bnf_attn_tile *tile);
    /* Fold a later page's (m2, l2, o2) into (m, l, o): n = m2 > m ? m2 : m; a = exp(m - n); b = exp(m2 - n);
     * l = fma(l2, b, l * a); o_c = fma(o2_c, b, o_c * a); m = n. Per head of g; o[g][dv]. */
    void (*attn_merge)(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2, int64_t g,
                       int64_t dv);
};

/* BNF_TYPE_F12_R4 (bnf_layout.h): bytes of a tile, of all, and where a row's tile is described. */
static inline uint64_t bnf_f12_tile_size(const struct bnf_matrix *w)
{
    return (uint64_t)(w->k / 64) * (BNF_F12_ROWS * 96);
}

static inline uint64_t bnf_f12_n_tiles(const struct bnf_matrix *w)
{
    return (uint64_t)(w->m + BNF_F12_ROWS - 1) / BNF_F12_ROWS;
}

static inline uint64_t bnf_f12_size(const struct bnf_matrix *w)
{
    return bnf_f12_n_tiles(w) * (bnf_f12_tile_size(w) + sizeof(struct bnf_f12_tile));
}

static inline struct bnf_f12_tile *bnf_f12_tile(const struct bnf_matrix *w, uint8_t *packed, int64_t row)
{
    return (struct bnf_f12_tile *)(void *)(packed + bnf_f12_n_tiles(w) * bnf_f12_tile_size(w)) + row / BNF_F12_ROWS;
}

/* Row to float, any supported type: the statement of what the bits mean; elements [begin, begin + n) of the flat tensor,
 * begin a multiple of the block length (I2_S: any). Scalar only. */
void bnf_dequantize(int32_t type, const uint8_t *data, float scale, int64_t begin, int64_t n, float *y);
/* Floats to I2_S (data and trailer) or TQ2_0; n = k * m. 0 or an error code. Scalar only. */
int bnf_quantize(int32_t type, const float *x, int64_t k, int64_t m, uint8_t *data);

/* The table of this process: the best the CPU can run, or the one BITNET_FFI_KERNELS names; chosen once, thread-safe. A
 * name that is unknown or that this CPU cannot run gives NULL and a last error, and every load fails with that
 * sentence. */
const struct bnf_ops *bnf_ops(void);
/* All tables compiled in, best first, NULL-terminated: for tests. */
const struct bnf_ops *const *bnf_ops_all(void);

#endif
