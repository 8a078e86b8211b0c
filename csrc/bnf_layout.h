/* Weight formats: block sizes, bytes, which activations a product takes, and a bit diagram for each. The layout of a
 * format never depends on the machine that reads it. Source of every diagram: the GGUF files themselves as ggml
 * (ggml-common.h, ggml-quants.c) and microsoft/BitNet (ggml-bitnet-mad.cpp) write them. */
#ifndef BNF_LAYOUT_H
#define BNF_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BNF_N_TYPES 48 /* above every ggml_type number we know */

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
/* Bytes of m rows of k elements, trailer included. 0: type unknown, k not a multiple of the block, or overflow.
 * I2_S: k * m must be a multiple of 128, k alone need not be (bitnet_b1_58-3B has k = 8640). */
uint64_t bnf_tensor_size(int32_t type, int64_t k, int64_t m);

#endif
