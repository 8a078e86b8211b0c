/* See bnf_ggml.h. */
#include "bnf_ggml.h"

#include "bnf_layout.h"

#include <assert.h>
#include <string.h>

static_assert(sizeof(struct ggml_tensor) == 336, "struct ggml_tensor has the layout of ggml.h");
static_assert(offsetof(struct ggml_tensor, op) == 80 && offsetof(struct ggml_tensor, src) == 152, "and its fields their places");
static_assert(offsetof(struct ggml_tensor, data) == 248 && offsetof(struct ggml_tensor, name) == 256, "which clients were compiled with");

char bnf_ggml_kind, bnf_gguf_kind;

/* Rows of I2_S may end inside a group, of which a row's share is then its length / 4 bytes. */
void bnf_tensor_describe(struct ggml_tensor *tensor, int32_t type, const int64_t ne[4], const void *data, const char *name, size_t name_len)
{
    const struct bnf_block block = bnf_type_block(type);
    if (name_len > sizeof tensor->name - 1)
        name_len = sizeof tensor->name - 1;
    memset(tensor, 0, sizeof *tensor);
    tensor->type = (enum ggml_type)type;
    tensor->op = GGML_OP_NONE;
    tensor->data = (void *)(uintptr_t)data; /* the client is told not to write */
    tensor->buffer = data != NULL ? bnf_cpu_buffer() : NULL;
    memcpy(tensor->name, name, name_len);
    memcpy(tensor->ne, ne, sizeof tensor->ne);
    tensor->nb[0] = (size_t)block.size;
    tensor->nb[1] = block.len != 0 ? (size_t)ne[0] * tensor->nb[0] / (size_t)block.len : 0;
    tensor->nb[2] = tensor->nb[1] * (size_t)ne[1];
    tensor->nb[3] = tensor->nb[2] * (size_t)ne[2];
}

/* Of I2_S, whose groups know no rows. */
static size_t stream_bytes(const struct ggml_tensor *tensor)
{
    int64_t rows;
    if (__builtin_mul_overflow(tensor->ne[1], tensor->ne[2], &rows) || __builtin_mul_overflow(rows, tensor->ne[3], &rows))
        return 0;
    return (size_t)bnf_tensor_size((int32_t)tensor->type, tensor->ne[0], rows);
}

size_t bnf_tensor_bytes(const struct ggml_tensor *tensor)
{
    const struct bnf_block block = bnf_type_block((int32_t)tensor->type);
    size_t bytes = 0, axis;
    if (block.len == 0)
        return 0;
    for (int i = 0; i < 4; i++)
        if (tensor->ne[i] <= 0)
            return 0;
    if (block.trailer_size != 0)
        return stream_bytes(tensor);
    if (__builtin_mul_overflow((size_t)tensor->ne[0], tensor->nb[0], &bytes))
        return 0;
    bytes /= (size_t)block.len;
    if (block.len == 1) /* elements, which need not be neighbours */
        bytes = bytes - tensor->nb[0] + (size_t)block.size;
    for (int i = 1; i < 4; i++)
        if (__builtin_mul_overflow((size_t)tensor->ne[i] - 1, tensor->nb[i], &axis) || __builtin_add_overflow(bytes, axis, &bytes))
            return 0;
    return bytes;
}

/* ---- names of operations: those of the enums ---- */

#define OP(name) [GGML_OP_##name] = #name
static const char *const ops[] = {
    OP(NONE), OP(DUP), OP(ADD), OP(ADD_ID), OP(ADD1), OP(ACC), OP(SUB), OP(MUL), OP(DIV), OP(SQR), OP(SQRT), OP(LOG),
    OP(SIN), OP(COS), OP(SUM), OP(SUM_ROWS), OP(CUMSUM), OP(MEAN), OP(ARGMAX), OP(COUNT_EQUAL), OP(REPEAT),
    OP(REPEAT_BACK), OP(CONCAT), OP(SILU_BACK), OP(NORM), OP(RMS_NORM), OP(RMS_NORM_BACK), OP(GROUP_NORM), OP(L2_NORM),
    OP(MUL_MAT), OP(MUL_MAT_ID), OP(OUT_PROD), OP(SCALE), OP(SET), OP(CPY), OP(CONT), OP(RESHAPE), OP(VIEW),
    OP(PERMUTE), OP(TRANSPOSE), OP(GET_ROWS), OP(GET_ROWS_BACK), OP(SET_ROWS), OP(DIAG), OP(DIAG_MASK_INF),
    OP(DIAG_MASK_ZERO), OP(SOFT_MAX), OP(SOFT_MAX_BACK), OP(ROPE), OP(ROPE_BACK), OP(CLAMP), OP(CONV_TRANSPOSE_1D),
    OP(IM2COL), OP(IM2COL_BACK), OP(IM2COL_3D), OP(COL2IM_1D), OP(CONV_2D), OP(CONV_3D), OP(CONV_2D_DW),
    OP(CONV_TRANSPOSE_2D), OP(POOL_1D), OP(POOL_2D), OP(POOL_2D_BACK), OP(UPSCALE), OP(PAD), OP(PAD_REFLECT_1D),
    OP(ROLL), OP(ARANGE), OP(TIMESTEP_EMBEDDING), OP(ARGSORT), OP(TOP_K), OP(LEAKY_RELU), OP(TRI), OP(FILL),
    OP(FLASH_ATTN_EXT), OP(FLASH_ATTN_BACK), OP(SSM_CONV), OP(SSM_SCAN), OP(WIN_PART), OP(WIN_UNPART), OP(GET_REL_POS),
    OP(ADD_REL_POS), OP(RWKV_WKV6), OP(GATED_LINEAR_ATTN), OP(RWKV_WKV7), OP(SOLVE_TRI), OP(GATED_DELTA_NET),
    OP(LIGHTNING_INDEXER), OP(DSV4_HC_COMB), OP(DSV4_HC_PRE), OP(DSV4_HC_POST), OP(UNARY), OP(MAP_CUSTOM1),
    OP(MAP_CUSTOM2), OP(MAP_CUSTOM3), OP(CUSTOM), OP(CROSS_ENTROPY_LOSS), OP(CROSS_ENTROPY_LOSS_BACK),
    OP(OPT_STEP_ADAMW), OP(OPT_STEP_SGD), OP(GLU),
};
#undef OP

#define OP(name) [GGML_UNARY_OP_##name] = #name
static const char *const unary_ops[] = {
    OP(ABS), OP(SGN), OP(NEG), OP(STEP), OP(TANH), OP(ELU), OP(RELU), OP(SIGMOID), OP(GELU), OP(GELU_QUICK), OP(SILU),
    OP(HARDSWISH), OP(HARDSIGMOID), OP(EXP), OP(EXPM1), OP(SOFTPLUS), OP(GELU_ERF), OP(XIELU), OP(FLOOR), OP(CEIL),
    OP(ROUND), OP(TRUNC),
};
#undef OP

#define OP(name) [GGML_GLU_OP_##name] = #name
static const char *const glu_ops[] = {
    OP(REGLU), OP(GEGLU), OP(SWIGLU), OP(SWIGLU_OAI), OP(GEGLU_ERF), OP(GEGLU_QUICK), OP(SWIGLU_CLAMP),
};
#undef OP

#define LEN(array) ((int32_t)(sizeof(array) / sizeof(array)[0]))

static const char *name_at(const char *const *names, int32_t n, int32_t i)
{
    return i >= 0 && i < n ? names[i] : NULL;
}

const char *bnf_op_name(int32_t op)
{
    return name_at(ops, LEN(ops), op);
}

const char *bnf_op_desc(const struct ggml_tensor *tensor)
{
    switch (tensor->op) {
    case GGML_OP_UNARY: return name_at(unary_ops, LEN(unary_ops), tensor->op_params[0]);
    case GGML_OP_GLU: return name_at(glu_ops, LEN(glu_ops), tensor->op_params[0]);
    default: return bnf_op_name((int32_t)tensor->op);
    }
}
