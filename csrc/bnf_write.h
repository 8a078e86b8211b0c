/* What the modules that write models share.
 *   gguf_write.pyx     a container: keys, tensor infos, tensors; as they were or in other types
 *   quantize_plan.pyx  which type each tensor gets
 *   api_quantize.pyx   llama_model_quantize and llama_model_save_to_file */
#ifndef BNF_WRITE_H
#define BNF_WRITE_H

#include "bnf_types.h"

/* A model to write. */
struct bnf_writing {
    const struct bnf_gguf *gguf;
    const char *path;              /* NULL: only say what would be written */
    const int32_t *types;          /* [n_tensors] the type that each tensor gets */
    int64_t file_type;             /* general.file_type, -1: as it is */
    const struct llama_model_kv_override *overrides; /* keys to replace or add; ends with an empty key; NULL: none */
    int32_t n_threads;
};

/* 0, or a negative code with a sentence; then no file is there. Splits come out as one file. Progress goes to the log. */
int bnf_gguf_write(const struct bnf_writing *writing);

/* The type of every tensor of the model under these parameters, into types[n_tensors]. 0, or a negative code with a sentence
 * that names the tensor or parameter, and what is supported. */
int bnf_quantize_plan(const struct bnf_gguf *gguf, const struct llama_model_quantize_params *params, int32_t *types);

#endif
