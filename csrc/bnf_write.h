/* What the modules that write models share.
 *   gguf_write.pyx     containers: keys, tensor infos, tensors; as they were or in other types
 *   quantize_plan.pyx  which tensors a quantized model has, in which order and type, and how important their columns are
 *   quantize_mix.pyx   the type of each tensor by the type of the file: llama.cpp's mixtures
 *   api_quantize.pyx   llama_model_quantize and llama_model_save_to_file */
#ifndef BNF_WRITE_H
#define BNF_WRITE_H

#include "bnf_types.h"

/* A tensor to write. */
struct bnf_planned {
    const struct bnf_tensor *tensor;
    int32_t type;
    int32_t layer;                 /* the number that its name gets where layers before it were left out; -1: its own */
    int32_t part;                  /* file of a split model; 0 where there is one file */
    const float *importance;       /* [ne[2]][ne[0]] of its columns; NULL: all the same */
};

/* A model to write. */
struct bnf_writing {
    const struct bnf_gguf *gguf;
    const char *path;              /* NULL: only say what would be written */
    const struct bnf_planned *tensors; /* [n_tensors], those of one part together */
    int64_t n_tensors;
    int32_t n_parts;               /* 0: one file of this path; else so many, which llama_split_path names */
    int32_t n_layers;              /* the block count; -1: as it is */
    int64_t file_type;             /* general.file_type, -1: as it is */
    const struct llama_model_kv_override *overrides; /* keys to replace or add; ends with an empty key; NULL: none */
    int32_t n_threads;
};

/* 0, or a negative code with a sentence; then no file is there. Progress goes to the log. */
int bnf_gguf_write(const struct bnf_writing *writing);

/* What writes gguf under these parameters: into writing, but for its path; the tensors are the caller's to release. 0, or a negative
 * code with a sentence that names the tensor or parameter, and what is supported. */
int bnf_quantize_plan(const struct bnf_gguf *gguf, const struct llama_model_quantize_params *params, struct bnf_writing *writing,
                      struct bnf_planned **tensors);

/* What the mixtures depend on. Tensors are asked about in the order of their layers: some rules count. */
struct bnf_mix {
    const struct llama_model_quantize_params *params;
    int32_t type;                  /* what most tensors become */
    bool tied;                     /* the embedding is the head too */
    bool falcon, huge;             /* Falcon; a model of 70 billion weights with grouped heads */
    int32_t n_layer, n_expert, n_gqa;
    int32_t n_attn_v;              /* tensors like attn_v in the model */
    int32_t i_attn_v, i_ffn_down;  /* those seen */
};

/* The type of this file type's most tensors; -1 + sentence: it cannot be written. */
int32_t bnf_mix_type(int ftype);
/* Every tensor of the model is counted before any is asked about. */
void bnf_mix_count(struct bnf_mix *mix, struct bnf_str name);
/* Is the tensor one that becomes smaller at all? */
bool bnf_mix_converts(const struct bnf_mix *mix, const struct bnf_tensor *tensor);
/* The type that it gets by the file's type, blocks that its rows do not fill not yet considered. */
int32_t bnf_mix_choose(struct bnf_mix *mix, const struct bnf_tensor *tensor);
/* 3 of "blk.3.attn_q.weight"; -1: the name has no layer. */
int32_t bnf_mix_layer(struct bnf_str name);
/* The embedding, or the head? */
bool bnf_mix_is_end(struct bnf_str name);

#endif
