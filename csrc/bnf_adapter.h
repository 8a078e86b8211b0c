/* LoRA adapters and control vectors: what they are, and what a context keeps of them.
 * An adapter belongs to its model, as llama.h says: who frees it, or nobody, the model frees the rest. Contexts that use it hold it
 * meanwhile. Next: bitnet_ffi/_core/load/adapter.pyx reads the file, lora.pyx computes, api_adapter.pyx sets. */
#ifndef BNF_ADAPTER_H
#define BNF_ADAPTER_H

#include "bnf_context.h"

/* y += scale * B (A x), in floats: A [rank][k], B [m][rank] in tiles. a.data NULL: none. */
struct bnf_lora_pair {
    struct bnf_matrix a;
    struct bnf_low_rank b;
    float scale;                 /* alpha / rank, or 1 */
};

#define BNF_LAYER_LINEARS 7 /* q, k, v, out, gate, up, down: the order of struct bnf_layer */

struct llama_adapter_lora {
    void *next;                  /* atomic list of the model's adapters: pushed to, and only the model's end takes them out */
    struct llama_model *model;
    struct bnf_gguf *gguf;       /* the metadata */
    int32_t refs;                /* atomic: the client, until it frees it, and contexts; at 0 this struct alone is left */
    int32_t is_freed;            /* atomic: by the client */
    int32_t is_base;             /* atomic: part of the model for every context, with base_scale (llama_model_apply_lora_from_file) */
    float base_scale;
    float alpha;                 /* as the file says it; 0: pairs have the scale 1 */
    bool is_ggla;                /* a file of 2023 (adapter_ggla.pyx): no metadata, other names, A by columns, */
    float ggla_scale;            /* and one scale for all pairs */
    int32_t rank;                /* the largest of all pairs */
    struct bnf_lora_pair *pairs; /* [n_pairs]: of the layers' products; of the head; of the embedding, A [n_vocab][rank]. A head
                                  * that is the embedding has the embedding's pair too, turned around: its A is that B, its B that A */
    int64_t n_pairs;
    llama_token *invocation;     /* of an activated LoRA; NULL: none */
    uint64_t n_invocation;
};

struct bnf_lora_use {
    struct llama_adapter_lora *adapter;
    float scale;
    int32_t first;               /* its numbers in a third of a row of u */
};

/* Number of a product among the pairs. */
static inline int64_t bnf_linear_number(const struct llama_model *model, const struct bnf_linear *linear)
{
    const int64_t layer = ((const char *)linear - (const char *)model->layers) / (int64_t)sizeof(struct bnf_layer);
    return layer * BNF_LAYER_LINEARS + (linear - &model->layers[layer].q);
}

static inline int64_t bnf_head_number(const struct llama_model *model)
{
    return (int64_t)model->hp.n_layer * BNF_LAYER_LINEARS;
}

static inline int64_t bnf_embd_number(const struct llama_model *model)
{
    return bnf_head_number(model) + 1;
}

/* Which third of a row of u a product has: products of the same x lie beside each other. */
static inline int64_t bnf_lora_third(int64_t number)
{
    static const int8_t third[BNF_LAYER_LINEARS] = {0, 1, 2, 0, 0, 1, 0};
    return third[number % BNF_LAYER_LINEARS]; /* the head: 0 */
}

/* What a control vector adds behind a layer; NULL: nothing. */
static inline const float *bnf_control_of(const struct llama_context *ctx, int64_t layer)
{
    return ctx->control && layer >= ctx->control_begin && layer <= ctx->control_end
        ? ctx->control + layer * ctx->model->hp.n_embd : NULL;
}

#endif
