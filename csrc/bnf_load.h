/* What the modules that load a model share among themselves; everyone else uses bnf_calls.h.
 *   load.pyx          the order of loading, chat templates, the model's life
 *   load_hparams.pyx  architecture and hyper-parameters from the metadata, cross-checked
 *   load_tensors.pyx  weights by name, shape and type; norms and biases as floats; the RoPE table
 *   load_pack.pyx     weights into the layout that the kernels multiply fastest
 *   load_head.pyx     copies of a float head: twelve bits without loss, and bounds for choosing a token
 *   load_check.pyx    the contents of every tensor, when check_tensors asks */
#ifndef BNF_LOAD_H
#define BNF_LOAD_H

#include "bnf_adapter.h"
#include "bnf_atomic.h"

#define BNF_MAX_ARCH 64 /* bytes of an architecture's name, its NUL included */

/* Bounds that keep every size within int32, and every product of sizes that has a name of its own: heads times head width
 * is a width too. A sparse file of a few megabytes can hold tensors of any shape, so the file's size bounds nothing. */
#define BNF_MAX_EMBD (1 << 20)
#define BNF_MAX_FF (1 << 24)
#define BNF_MAX_HEADS (1 << 16)
#define BNF_MAX_HEAD_WIDTH (1 << 16)
#define BNF_MAX_WIDTH (1 << 24) /* of all heads together */
#define BNF_MAX_VOCAB (1 << 24)

/* A model being loaded. */
struct bnf_loader {
    struct llama_model *model;
    const struct llama_model_params *params;
    char arch[BNF_MAX_ARCH]; /* as the file names it: the prefix of its keys */
    uint8_t *used;           /* [n_tensors] 1: the model took this tensor */
    int64_t n_steps, n_done; /* for the progress callback */
};

int bnf_load_arch(struct bnf_loader *loader);
int bnf_load_hparams(struct bnf_loader *loader);
int bnf_load_tensors(struct bnf_loader *loader);
int bnf_load_check(struct bnf_loader *loader);
int bnf_load_pack(struct bnf_loader *loader);
int bnf_load_head(struct bnf_loader *loader);

/* Give memory to the model, which frees it at the end of its life. On failure it is freed at once. */
int bnf_load_own(struct bnf_loader *loader, void *memory);
/* One step done: tell the progress callback. An error when it asks to stop. */
int bnf_load_step(struct bnf_loader *loader);

/* The matrices of the layers in the order of their use, from 0 on; then the head. */
static inline struct bnf_matrix *bnf_matrix_numbered(struct llama_model *model, int64_t number)
{
    struct bnf_layer *layer = &model->layers[number / BNF_LAYER_LINEARS];
    return number == bnf_head_number(model) ? &model->output : &(&layer->q + number % BNF_LAYER_LINEARS)->w;
}

#endif
