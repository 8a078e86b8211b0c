/* Every struct that C and the Cython engine share. One definition, here; bitnet_ffi/_core/bnf_types.pxd mirrors it.
 * A model is immutable after load and shared by threads; a context owns everything that changes. */
#ifndef BNF_TYPES_H
#define BNF_TYPES_H

#include "bitnet_ffi.h"
#include "bnf_ops.h"
#include "bnf_platform.h"
#include "bnf_pool.h"
#include "bnf_screen.h"

/* ---- GGUF: views into the mapped files; nothing is copied, strings are not NUL-terminated ---- */

struct bnf_str {
    const char *data;
    uint64_t len;
};

enum bnf_gguf_type {
    BNF_GGUF_U8 = 0, BNF_GGUF_I8, BNF_GGUF_U16, BNF_GGUF_I16, BNF_GGUF_U32, BNF_GGUF_I32, BNF_GGUF_F32, BNF_GGUF_BOOL,
    BNF_GGUF_STRING, BNF_GGUF_ARRAY, BNF_GGUF_U64, BNF_GGUF_I64, BNF_GGUF_F64, BNF_N_GGUF_TYPES
};

struct bnf_gguf_kv {
    struct bnf_str key;
    int32_t type;           /* bnf_gguf_type */
    int32_t elem_type;      /* arrays: the elements' type; else the same as type */
    uint64_t count;         /* arrays: elements; else 1 */
    const uint8_t *value;   /* first byte of the value, unaligned: a string's or string array's first u64 length */
    uint64_t size;          /* bytes of the value */
};

struct bnf_tensor {
    struct bnf_str name;
    int64_t ne[4];          /* ne[0] inner; missing dimensions are 1 */
    int32_t n_dims;
    int32_t type;           /* ggml_type */
    const uint8_t *data;
    uint64_t size;          /* bytes */
};

struct bnf_gguf {
    struct bnf_map *maps;   /* one per part of a split model */
    int32_t n_maps;
    uint32_t version;
    uint32_t alignment;
    uint64_t data_start;    /* of the first part, from its first byte */
    struct bnf_gguf_kv *kv; /* of the first part */
    int64_t n_kv;
    struct bnf_tensor *tensors;
    int64_t n_tensors;
    uint32_t *name_slots;   /* open-addressing index of tensors by name: index + 1, 0 = empty */
    uint32_t n_name_slots;
    uint32_t *key_slots;
    uint32_t n_key_slots;
    const struct llama_model_kv_override *overrides; /* borrowed while loading, ends with an empty key; or NULL */
};

/* Where a model comes from: a file (path) and, if it is the first part of a split model, the parts beside it; exactly these
 * n_paths parts in order; or an open file (stream). One of the three; the others are NULL. Borrowed. alone: this file and no part beside it,
 * whichever part it is. */
struct bnf_source {
    const char *path;
    const char *const *paths;
    size_t n_paths;
    FILE *stream;
    bool alone;
};

/* ---- model ---- */

#define BNF_MAX_LAYERS 512

enum bnf_arch { BNF_ARCH_LLAMA = 0, BNF_ARCH_BITNET, BNF_ARCH_BITNET_B158 /* also bitnet-25 */ };
enum bnf_ffn_act { BNF_FFN_SILU = 0, BNF_FFN_RELU2 };

struct bnf_hparams {
    int32_t arch;             /* bnf_arch */
    int32_t ffn_act;          /* bnf_ffn_act */
    int32_t n_vocab, n_ctx_train, n_layer;
    int32_t n_embd;           /* E */
    int32_t n_ff;             /* F */
    int32_t n_head, n_head_kv;
    int32_t dk, dv;           /* head widths: key_length, value_length */
    int32_t n_rot;
    int32_t rope_neox;        /* 1: pairs (i, i + n_rot / 2); 0: (2i, 2i + 1) */
    int32_t causal;           /* a token sees those before it only, unless the context says otherwise */
    int32_t pooling;          /* llama_pooling_type, UNSPECIFIED: the file does not say */
    int32_t n_cls_out;        /* numbers that the classifier gives: as many as it has labels, 1 without */
    float rope_base;
    float rope_scale;         /* frequency factor: 1 / scaling factor */
    int32_t rope_scaling;     /* llama_rope_scaling_type of the file; LINEAR where it names none */
    int32_t n_ctx_orig;       /* tokens of context for which frequencies were trained before they were stretched */
    float rope_attn_factor;   /* queries and keys are so much longer after rotation */
    float rms_eps;
};

/* y = W x, then * post_scale (the .scale companion, 1 if none), then + bias (NULL if none). */
struct bnf_linear {
    struct bnf_matrix w;
    float post_scale;
    const float *bias;        /* float[m], owned by the model */
};

struct bnf_layer {
    const float *attn_norm;     /* [E] */
    const float *attn_sub_norm; /* [H * dv], NULL: none */
    const float *ffn_norm;      /* [E] */
    const float *ffn_sub_norm;  /* [F], NULL: none */
    struct bnf_linear q, k, v, out, gate, up, down;
};

struct bnf_vocab; /* private to the vocabulary rooms: csrc/bnf_vocab.h */

/* One of the file's chat templates, copied because llama_model_chat_template gives out C strings. */
struct bnf_template {
    const char *name;           /* "" for tokenizer.chat_template itself, else what follows its '.' */
    const char *text;
};

struct llama_model {
    struct bnf_gguf *gguf;
    struct bnf_vocab *vocab;
    const struct bnf_ops *ops;
    struct bnf_hparams hp;
    struct bnf_layer *layers;   /* [n_layer] */
    struct bnf_matrix token_embd;
    struct bnf_matrix output;   /* the head; tied: equal to token_embd */
    struct bnf_screen screen;   /* of output; q NULL: none */
    const float *output_norm;   /* [E] */
    struct bnf_linear cls, cls_out; /* the classifier (classify.pyx): either may be absent, w.data NULL */
    const char **labels;        /* [n_labels] of the classifier's numbers */
    int32_t n_labels;
    const float *rope_factors;  /* [n_rot / 2] by which frequencies are divided; NULL: none, or */
    const float *rope_long, *rope_short; /* these, for contexts longer than n_ctx_orig and others; NULL: none */
    struct bnf_template *templates;
    int32_t n_templates;
    void **owned;               /* memory to release with the model */
    int64_t n_owned;
    int64_t load_us;
    uint64_t n_params;
    uint64_t n_bytes;           /* tensor bytes */
    bool vocab_only;
    int32_t refs;               /* atomic: 1 + contexts alive */
    void *adapters;             /* atomic: list of struct llama_adapter_lora, freed with the model */
    int32_t n_base_adapters;    /* atomic: those that every context uses */
    void *token_order;          /* atomic: struct bnf_token_order, made when a grammar first asks for it */
    void *tensors;              /* atomic: struct ggml_tensor[gguf->n_tensors], made when a client first asks for one */
};

#define BNF_MAX_SEQUENCES 256 /* of a context: what llama_max_parallel_sequences says */

/* ---- KV cache: pages of 64 positions, aligned to absolute position; a sequence is a table of pages ----
 * Positions that were moved can meet: the further tokens of a position lie in tables above the sequence's own, of which each holds
 * a part of the positions that the one below it holds. */

struct bnf_seq_page {
    int32_t page;     /* physical page, -1: none */
    uint64_t mask;    /* which of the 64 positions this sequence holds there */
};

struct bnf_seq {
    struct bnf_seq_page *pages; /* by position / 64 */
    int32_t n_pages, cap_pages;
    int32_t pos_min, pos_max;   /* -1, -1 when empty */
    int32_t above;              /* number of the table above, -1: none */
};

struct bnf_kv {
    int32_t n_layer, n_head_kv, dk, dv;
    int32_t type_k, type_v;     /* bnf_kv_type */
    int32_t n_ctx;              /* most tokens held at once */
    int32_t n_ctx_seq;          /* most of one sequence; n_ctx where they share it */
    int32_t n_used;             /* tokens held, however many copies of each; n_ctx + 1 at most, and only inside a call */
    int32_t n_pages, n_seq_max;
    uint64_t layer_stride_k, layer_stride_v; /* bytes from layer to layer */
    uint64_t head_stride_k, head_stride_v;   /* bytes of [64][dk] and [64][dv] */
    uint8_t *k, *v;             /* [layer][page][kv head][64][d] */
    bool *used;                 /* [n_pages] pages that may hold something else than zero */
    int32_t *refs;              /* [n_pages] sequences that hold the page */
    uint64_t *filled;           /* [n_pages] slots that any sequence holds */
    int32_t *token;             /* [n_pages][64] number of the token in a filled slot: copies of one have one number */
    int32_t *copies;            /* [n_ctx + 1] by number: filled slots that hold it */
    int32_t *free_tokens;       /* stack of the numbers not in use, n_ctx + 1 - n_used */
    int32_t *free_pages;        /* stack */
    int32_t n_free;
    struct bnf_seq *seqs;       /* [n_tables]: n_seq_max sequences, then tables above them */
    int32_t n_tables, cap_tables;
    int32_t free_table;         /* the first table above nothing, its `above` is the next one; -1: none */
};

/* ---- batch: checked and completed, ready for the engine ---- */

struct bnf_batch {
    int32_t n_tokens;
    int32_t n_outputs;
    const int32_t *token;       /* [n_tokens], BNF_TOKEN_EMBD where the embedding is given; NULL: everywhere */
    const float *embd;          /* [n_tokens][E] where it is; NULL: nowhere */
    bool causal;                /* a token sees those before it only; false: all of its sequence */
    int32_t *pos;               /* [n_tokens] */
    int32_t *n_seq;             /* [n_tokens] */
    int32_t *seq;               /* [n_tokens][n_seq_max] */
    int32_t *out_row;           /* [n_tokens] row of logits, or -1 */
    int32_t seq_stride;
};

#define BNF_TOKEN_EMBD (-2) /* LLAMA_TOKEN_NULL is -1 */
/* More tokens than this in one call is a mistake. Times n_seq_max that may be 2^32: such indexes are 64 bits wide. */
#define BNF_BATCH_MAX_TOKENS (1 << 24)

/* What llama_batch_ext_* fill; pos -1 means "follows its sequence". */
struct llama_batch_ext {
    int32_t n_tokens, cap;
    int32_t n_embd, n_vocab, n_seq_max;
    llama_token *token;         /* LLAMA_TOKEN_NULL: no input yet; BNF_TOKEN_EMBD: a row of embd */
    float *embd;                /* [cap][n_embd], NULL until one is given */
    llama_pos *pos;
    int32_t *n_seq;
    int32_t seq_stride;         /* most sequences of a token so far */
    llama_seq_id *seq;          /* [cap][seq_stride] */
    llama_seq_id **seq_row;     /* [i] = seq + i * seq_stride, as struct llama_batch wants it */
    int8_t *logits;
};

struct bnf_perf {
    int64_t t_start_us, t_p_eval_us, t_eval_us;
    int32_t n_p_eval, n_eval, n_reused;
};

#endif
