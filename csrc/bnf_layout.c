/* The numbers of every weight format. May not look at a tensor's bytes: kernels do. Next: bnf_layout.h for the pictures. */
#include "bnf_layout.h"

#include "bitnet_ffi.h"

/* Sizes are written as the sum of their fields in file order, so that each can be held against its picture. */
static const struct bnf_type_traits traits[BNF_N_TYPES] = {
    /*                   name     elements  bytes                trailer */
    [GGML_TYPE_F32]   = {"f32",   1,        4,                   0,  BNF_ACT_F32,      false},
    [GGML_TYPE_F16]   = {"f16",   1,        2,                   0,  BNF_ACT_F32,      false},
    [GGML_TYPE_BF16]  = {"bf16",  1,        2,                   0,  BNF_ACT_F32,      false},
    [GGML_TYPE_Q4_0]  = {"q4_0",  32,       2 + 16,              0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q4_1]  = {"q4_1",  32,       4 + 16,              0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q5_0]  = {"q5_0",  32,       2 + 4 + 16,          0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q5_1]  = {"q5_1",  32,       4 + 4 + 16,          0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q8_0]  = {"q8_0",  32,       2 + 32,              0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q2_K]  = {"q2_K",  256,      16 + 64 + 4,         0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q3_K]  = {"q3_K",  256,      32 + 64 + 12 + 2,    0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q4_K]  = {"q4_K",  256,      4 + 12 + 128,        0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q5_K]  = {"q5_K",  256,      4 + 12 + 32 + 128,   0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_Q6_K]  = {"q6_K",  256,      128 + 64 + 16 + 2,   0,  BNF_ACT_Q8_BLOCK, false},
    [GGML_TYPE_I2_S]  = {"i2_s",  128,      32,                  32, BNF_ACT_Q8_ROW,   true},
    [GGML_TYPE_TQ1_0] = {"tq1_0", 256,      48 + 4 + 2,          0,  BNF_ACT_Q8_ROW,   true},
    [GGML_TYPE_TQ2_0] = {"tq2_0", 256,      64 + 2,              0,  BNF_ACT_Q8_ROW,   true},
};

const struct bnf_type_traits *bnf_type_traits(int32_t type)
{
    return type >= 0 && type < BNF_N_TYPES && traits[type].name != NULL ? &traits[type] : NULL;
}

/* Numbers that a file may carry and that this library cannot compute with: ggml's, those it once used, bitnet.cpp's and
 * ik_llama.cpp's. 39 is ggml's name; bitnet.cpp wrote TL2 under the same number. Blocks are ggml's; 0: not ggml's today. */
static const struct other_type { int32_t type; const char *name; int32_t block_len, block_size; } others[] = {
    {4, "q4_2", 0, 0}, {5, "q4_3", 0, 0}, {GGML_TYPE_Q8_1, "q8_1", 32, 36}, {GGML_TYPE_Q8_K, "q8_K", 256, 292},
    {GGML_TYPE_IQ2_XXS, "iq2_xxs", 256, 66}, {GGML_TYPE_IQ2_XS, "iq2_xs", 256, 74}, {GGML_TYPE_IQ3_XXS, "iq3_xxs", 256, 98},
    {GGML_TYPE_IQ1_S, "iq1_s", 256, 50}, {GGML_TYPE_IQ4_NL, "iq4_nl", 32, 18}, {GGML_TYPE_IQ3_S, "iq3_s", 256, 110},
    {GGML_TYPE_IQ2_S, "iq2_s", 256, 82}, {GGML_TYPE_IQ4_XS, "iq4_xs", 256, 136}, {GGML_TYPE_I8, "i8", 1, 1},
    {GGML_TYPE_I16, "i16", 1, 2}, {GGML_TYPE_I32, "i32", 1, 4}, {GGML_TYPE_I64, "i64", 1, 8}, {GGML_TYPE_F64, "f64", 1, 8},
    {GGML_TYPE_IQ1_M, "iq1_m", 256, 56}, {31, "q4_0_4_4", 0, 0}, {32, "q4_0_4_8", 0, 0}, {33, "q4_0_8_8", 0, 0},
    {37, "i8_s", 0, 0}, {38, "tl1", 0, 0}, {GGML_TYPE_MXFP4, "mxfp4", 32, 17}, {GGML_TYPE_NVFP4, "nvfp4", 64, 36},
    {GGML_TYPE_Q1_0, "q1_0", 128, 18}, {GGML_TYPE_Q2_0, "q2_0", 64, 18},
    {134, "iq1_bn", 0, 0}, {135, "iq2_bn", 0, 0}, {335, "iq2_bn_r4", 0, 0},
};

static const struct other_type *other_type(int32_t type)
{
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        if (others[i].type == type)
            return &others[i];
    return NULL;
}

const char *bnf_type_name(int32_t type)
{
    const struct bnf_type_traits *known = bnf_type_traits(type);
    const struct other_type *other = other_type(type);
    return known != NULL ? known->name : other != NULL ? other->name : NULL;
}

struct bnf_block bnf_type_block(int32_t type)
{
    const struct bnf_type_traits *known = bnf_type_traits(type);
    const struct other_type *other = other_type(type);
    if (known != NULL)
        return (struct bnf_block){known->block_len, known->block_size, known->trailer_size};
    return other != NULL ? (struct bnf_block){other->block_len, other->block_size, 0} : (struct bnf_block){0, 0, 0};
}

uint64_t bnf_tensor_size(int32_t type, int64_t k, int64_t m)
{
    const struct bnf_type_traits *t = bnf_type_traits(type);
    int64_t n, size;
    if (t == NULL || k <= 0 || m <= 0 || __builtin_mul_overflow(k, m, &n))
        return 0;
    /* Blocks lie within rows, except I2_S's, which run through the whole tensor. */
    if ((type == GGML_TYPE_I2_S ? n : k) % t->block_len != 0)
        return 0;
    if (__builtin_mul_overflow(n / t->block_len, (int64_t)t->block_size, &size))
        return 0;
    if (__builtin_add_overflow(size, (int64_t)t->trailer_size, &size))
        return 0;
    return (uint64_t)size;
}
