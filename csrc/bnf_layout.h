/* Weight formats: block sizes, bytes, which activations a product takes, and a bit diagram for each. The layout of a
 * format never depends on the machine that reads it. Source of every diagram: the GGUF files themselves as ggml
 * (ggml-common.h, ggml-quants.c) and microsoft/BitNet (ggml-bitnet-mad.cpp) write them. */
#ifndef BNF_LAYOUT_H
#define BNF_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- Bit diagrams ----
 *
 * Elements are numbered along k. Bytes are drawn in file order, bits of a byte from 7 to 0; numbers of several bytes are
 * little-endian; d, m, dmin are f16. "e: byte[...]" gives the place of element e by arithmetic, / and % on integers.
 *
 * F32, F16, BF16   one element after the other. A BF16 is the upper half of a float.
 *
 * 32 elements a block. In the 4-bit part of each, byte b holds elements b (low) and b + 16 (high):
 *
 *                       7   6   5   4   3   2   1   0
 *          qs[b]      [  element b+16 | element b     ]      e: nibble = qs[e % 16] >> 4 * (e / 16) & 15
 *
 *   Q4_0  18 bytes   d, qs[16]               w = (nibble - 8) d
 *   Q4_1  20 bytes   d, m, qs[16]            w = nibble d + m
 *   Q5_0  22 bytes   d, qh u32, qs[16]       q5 = nibble + 16 * (qh >> e & 1);   w = (q5 - 16) d
 *   Q5_1  24 bytes   d, m, qh u32, qs[16]    q5 as above;                        w = q5 d + m
 *   Q8_0  34 bytes   d, int8 qs[32]          w = qs[e] d
 *
 * 256 elements a block, in sub-blocks of 16 or 32 that have their own scale. Two-bit fields lie as in TQ2_0: a half (128
 * elements) has 32 bytes, and each byte holds four elements that are 32 apart:
 *
 *                       7   6   5   4   3   2   1   0
 *          qs[m]      [ m+96  | m+64  | m+32  | m     ]      e: h = e / 128, l = e / 32 % 4, m = e % 32
 *          qs[32+m]   [ m+224 | m+192 | m+160 | m+128 ]         q2 = qs[32 h + m] >> 2 l & 3
 *
 *   Q2_K  84 bytes   scales[16], qs[64], d, dmin
 *         sub-block j = e / 16: sc = scales[j] & 15, mn = scales[j] >> 4;     w = d sc q2 - dmin mn
 *   Q3_K  110 bytes  hmask[32], qs[64], scales[12], d
 *         high bit of e: hmask[m] >> (4 h + l) & 1;  q = q2 - 4 + 4 * bit, so -4..3;   w = d (sc - 32) q
 *         16 six-bit scales: sc_j = (scales[j % 8] >> 4 * (j / 8) & 15) | (scales[8 + j % 4] >> 2 * (j / 4) & 3) << 4
 *
 *                       7   6   5   4   3   2   1   0
 *          scales[i]  [   sc i+8 low  |   sc i low    ]      i < 8
 *          scales[8+i][ i+12 hi| i+8 hi| i+4 hi| i hi ]      i < 4
 *
 *   Q4_K  144 bytes  d, dmin, scales[12], qs[128]
 *         64 elements share 32 bytes: nibble = qs[32 (e / 64) + m] >> 4 * (e / 32 % 2) & 15
 *         sub-block j = e / 32:  w = d sc_j nibble - dmin mn_j
 *   Q5_K  176 bytes  d, dmin, scales[12], qh[32], qs[128]
 *         q5 = nibble + 16 * (qh[m] >> (e / 32) & 1);           w = d sc_j q5 - dmin mn_j
 *         8 + 8 six-bit numbers in the 12 bytes of both:
 *
 *                       7   6   5   4   3   2   1   0
 *          scales[i]  [sc i+4 hi|       sc i          ]      i < 4:  sc_i = scales[i] & 63, mn_i = scales[i + 4] & 63
 *          scales[4+i][mn i+4 hi|       mn i          ]              sc_(i+4) = (scales[i + 8] & 15) | scales[i] >> 6 << 4
 *          scales[8+i][  mn i+4 low  |  sc i+4 low    ]              mn_(i+4) = scales[i + 8] >> 4 | scales[i + 4] >> 6 << 4
 *
 *   Q6_K  210 bytes  ql[128], qh[64], int8 scales[16], d
 *         per half h, l = e / 32 % 4:  low = ql[64 h + 32 (l % 2) + m] >> 4 * (l / 2) & 15;   high = qh[32 h + m] >> 2 l & 3
 *         w = d scales[e / 16] (low + 16 high - 32)
 *
 * Ternary. Code 0 is -1, 1 is 0, 2 is +1.
 *
 *   I2_S  the whole tensor is one stream of groups of 128 elements in 32 bytes, whatever k is, and then a trailer of 32
 *         bytes that begins with one f32 scale; the trailer's other bytes mean nothing. w = (code - 1) scale.
 *
 *                       7   6   5   4   3   2   1   0
 *          byte b     [ b     | b+32  | b+64  | b+96  ]      j = e % 128: code = byte[j % 32] >> (6 - 2 * (j / 32)) & 3
 *
 *         Note the order: the reverse of TQ2_0's. Code 3 is never written. Some builds of bitnet.cpp for ARM write groups
 *         of 64 under the same type number; nothing in a file tells them apart, and this is the layout of the published
 *         files and of the packers.
 *   TQ2_0 66 bytes, 256 elements: qs[64], d.    code = q2 of the picture above;   w = (code - 1) d
 *   TQ1_0 54 bytes, 256 elements: qs[48], qh[4], d. Five base-3 digits a byte (four in qh):
 *         e < 160:  byte qs[e % 32],            digit n = e / 32
 *         e < 240:  byte qs[32 + e % 16],       digit n = (e - 160) / 16
 *         else:     byte qh[e % 4],             digit n = (e - 240) / 4
 *         A byte is the fraction 0.t0 t1 t2 t3 t4 in base 3, in 256ths rounded up, so multiplying by 3 moves the next digit
 *         before the point: code = ((byte * 3^n) mod 256) * 3 >> 8;   w = (code - 1) d */

#define BNF_N_TYPES 48 /* above every ggml_type number we know */

/* Types of packed weights: never in a file, made at load by a kernel table (bnf_ops.h, pack). Activations: those of the type it came from.
 * R16: rows in groups of 16; a group is k / 16 blocks of 64 bytes, block b holding elements 16 b .. 16 b + 15 of the 16 rows.
 * Byte 4 r + j of a block is row r's elements 16 b + {0, 4, 8, 12} + j at bits 0, 2, 4, 6, as codes 0, 1, 2 for -1, 0, 1: a dword
 * lane is a row, and the four planes are multiplied with four broadcasts of four activations.
 *
 * T5: as R16, but a block holds 20 elements of each of the 16 rows, and byte 4 r + j of it five codes: t of element 20 b + 16 + j, and
 * a quad, n = t0 + 3 t1 + 9 t2 + 27 t3, of elements 20 b + {0, 4, 8, 12} + j. With p = 32 (n / 21) + 3 (n % 21 / 2) + n % 21 % 2,
 *          byte = 2 (p - t) - odd,    odd: t is the smallest of 0, 1, 2 that makes x = (p - t + it) % 32 one of 0, 1, 3, 4, 6, ... 30:
 *                                     x % 3 != 2 and x != 31
 * (modulo 256; why so: kernels/avx512vbmi/packed_avx512vbmi.c). Elements beyond the last have code 0 and are not multiplied.
 *
 * BLOCKS_R16: block formats, rows in groups of 16 (rows beyond the last are zero). A group is k / block_len blocks, each of
 * 16 d as f16, 16 m as f16 where the format has minima (K formats: -dmin), and a part for every 32 elements:
 *   sub-scales of the 16 rows as int8, then sub-minima: once (Q4_K, Q5_K), or for both 16s (Q2_K, Q3_K, Q6_K); in Q2_K a
 *   sub-scale and its minimum share a byte, low and high half. Then codes in planes of 64 bytes. Byte 4 r + j of a plane
 *   belongs to row r and to elements 4 g + j of several g = 0..7:
 *      Q8_0           8 planes   plane i: g = i (w + 128)
 *      4 low bits     4 planes   plane i: g = i at bits 0..3, g = i + 4 at bits 4..7
 *      2 low bits     2 planes   plane i: g = i, i + 2, i + 4, i + 6 from bit 0 up        (Q2_K, Q3_K)
 *      1 high bit     1 plane    g at bit g                                              (Q5_0, Q5_1, Q3_K, Q5_K)
 *      2 high bits    2 planes   as the 2 low bits                                       (Q6_K) */

/* F12_R4: float weights with eight significant bits, as every number that was once a bfloat16 has, without loss. The upper half of such a
 * float is s eeeeeeee mmmmmmm; its upper byte s eeeeeee becomes a nibble, s and the upper exponent less the tile's base, 1 to 7. Nibble 0: an
 * exception (zero, a number outside these 14 powers of two, or one with more bits), whose low byte is its place in the tile's list.
 * Rows in tiles of 4; a tile is k / 64 steps of 384 bytes:
 *   low     [4 rows][64]   byte 16 q + 8 h + 2 t + o of a row: element 16 (2 h + o) + 4 q + t  (what interleaving bytes, then words, undoes)
 *   nibble  [2][64]        rows 2 p (low four bits) and 2 p + 1 (high), in the order of the low bytes
 * and after the last tile, for each of them, a struct bnf_f12_tile. k % 64 == 0; rows beyond m repeat the last one. */
#define BNF_F12_ROWS 4
#define BNF_F12_EXCEPTIONS 127
struct bnf_f12_tile {
    int32_t base;
    float exceptions[BNF_F12_EXCEPTIONS];
};

enum bnf_packed_type {
    BNF_TYPE_F12_R4 = 42,   /* from F16, BF16, F32: csrc/bnf_ops.h, pack_f12 */
    BNF_TYPE_I2_S_R16 = 44, /* one scale, in struct bnf_matrix */
    BNF_TYPE_BLOCKS_R16 = 43, /* from the block formats, Q4_0 to Q6_K */
    BNF_TYPE_TQ_R16 = 45,   /* from TQ1_0 and TQ2_0: after each 16 blocks (256 elements) the 16 rows' scales as f32 */
    BNF_TYPE_I2_S_T5 = 46,
    BNF_TYPE_TQ_T5 = 47,    /* after each 13 blocks (256 elements; the last holds 16) the scales */
};

/* How the right operand of a product is prepared (bnf_ops.h, struct bnf_act). */
enum bnf_act_kind {
    BNF_ACT_F32 = 0,   /* float weights: activations as they are */
    BNF_ACT_Q8_ROW,    /* ternary weights: int8, one absmax scale per token (BitNet b1.58's W1.58A8) */
    BNF_ACT_Q8_BLOCK,  /* block formats: int8, one absmax scale per 32 elements */
    BNF_N_ACT_KINDS
};

struct bnf_type_traits {
    const char *name;          /* "q4_1"; NULL: type not supported */
    int32_t block_len;         /* elements per block along k */
    int32_t block_size;        /* bytes per block; I2_S: 32 bytes per 128, plus the trailer */
    int32_t trailer_size;      /* bytes after the last row: 32 for I2_S (f32 scale first), else 0 */
    enum bnf_act_kind act;
    bool ternary;
};

/* Traits of a ggml_type number, or NULL when it is out of range or not supported. */
const struct bnf_type_traits *bnf_type_traits(int32_t type);
/* Name of any known ggml type number ("mxfp4"), supported or not; NULL when unknown. For error sentences. */
const char *bnf_type_name(int32_t type);
/* The blocks of any type whose blocks are known, supported or not; of another zeros. */
struct bnf_block {
    int32_t len, size, trailer_size; /* as in struct bnf_type_traits */
};
struct bnf_block bnf_type_block(int32_t type);
/* Bytes of m rows of k elements, trailer included. 0: type unknown, k not a multiple of the block, or overflow.
 * I2_S: k * m must be a multiple of 128, k alone need not be (bitnet_b1_58-3B has k = 8640). */
uint64_t bnf_tensor_size(int32_t type, int64_t k, int64_t m);

#endif
