# The engine's view of csrc/bnf_types.h: files, models, the cache, batches. All extern; nothing is defined here.

from libc.stdint cimport int8_t, uint8_t, int32_t, uint32_t, int64_t, uint64_t
from libc.stdio cimport FILE
from bitnet_ffi._core.bnf_base cimport bnf_map
from bitnet_ffi._core.bnf_ops cimport bnf_matrix, bnf_ops_t, bnf_screen
from bitnet_ffi._core.bnf_public cimport bool, llama_model_kv_override, llama_pos, llama_seq_id, llama_token

cdef extern from "bnf_types.h" nogil:
    enum:
        BNF_GGUF_U8, BNF_GGUF_I8, BNF_GGUF_U16, BNF_GGUF_I16, BNF_GGUF_U32, BNF_GGUF_I32, BNF_GGUF_F32, BNF_GGUF_BOOL
        BNF_GGUF_STRING, BNF_GGUF_ARRAY, BNF_GGUF_U64, BNF_GGUF_I64, BNF_GGUF_F64, BNF_N_GGUF_TYPES
        BNF_MAX_LAYERS, BNF_MAX_SEQUENCES, BNF_TOKEN_EMBD, BNF_BATCH_MAX_TOKENS
        BNF_ARCH_LLAMA, BNF_ARCH_BITNET, BNF_ARCH_BITNET_B158
        BNF_FFN_SILU, BNF_FFN_RELU2
    ctypedef struct bnf_str "struct bnf_str":
        const char *data
        uint64_t len
    ctypedef struct bnf_gguf_kv "struct bnf_gguf_kv":
        bnf_str key
        int32_t type
        int32_t elem_type
        uint64_t count
        const uint8_t *value
        uint64_t size
    ctypedef struct bnf_tensor "struct bnf_tensor":
        bnf_str name
        int64_t ne[4]
        int32_t n_dims
        int32_t type
        const uint8_t *data
        uint64_t size
    ctypedef struct bnf_gguf "struct bnf_gguf":
        bnf_map *maps
        int32_t n_maps
        uint32_t version
        uint32_t alignment
        uint64_t data_start
        bnf_gguf_kv *kv
        int64_t n_kv
        bnf_tensor *tensors
        int64_t n_tensors
        uint32_t *name_slots
        uint32_t n_name_slots
        uint32_t *key_slots
        uint32_t n_key_slots
        const llama_model_kv_override *overrides
    ctypedef struct bnf_source "struct bnf_source":
        const char *path
        const char *const *paths
        size_t n_paths
        FILE *stream
        bool alone
    ctypedef struct bnf_hparams "struct bnf_hparams":
        int32_t arch
        int32_t ffn_act
        int32_t n_vocab
        int32_t n_ctx_train
        int32_t n_layer
        int32_t n_embd
        int32_t n_ff
        int32_t n_head
        int32_t n_head_kv
        int32_t dk
        int32_t dv
        int32_t n_rot
        int32_t rope_neox
        int32_t causal
        int32_t pooling
        int32_t n_cls_out
        float rope_base
        float rope_scale
        int32_t rope_scaling
        int32_t n_ctx_orig
        float rope_attn_factor
        float rms_eps
    ctypedef struct bnf_linear "struct bnf_linear":
        bnf_matrix w
        float post_scale
        const float *bias
    ctypedef struct bnf_layer "struct bnf_layer":
        const float *attn_norm
        const float *attn_sub_norm
        const float *ffn_norm
        const float *ffn_sub_norm
        bnf_linear q
        bnf_linear k
        bnf_linear v
        bnf_linear out
        bnf_linear gate
        bnf_linear up
        bnf_linear down
    ctypedef struct bnf_vocab "struct bnf_vocab":
        pass
    ctypedef struct bnf_template "struct bnf_template":
        const char *name
        const char *text
    ctypedef struct llama_model "struct llama_model":
        bnf_gguf *gguf
        bnf_vocab *vocab
        const bnf_ops_t *ops
        bnf_hparams hp
        bnf_layer *layers
        bnf_matrix token_embd
        bnf_matrix output
        bnf_screen screen
        const float *output_norm
        bnf_linear cls
        bnf_linear cls_out
        const char **labels
        int32_t n_labels
        const float *rope_factors
        const float *rope_long
        const float *rope_short
        bnf_template *templates
        int32_t n_templates
        void **owned
        int64_t n_owned
        int64_t load_us
        uint64_t n_params
        uint64_t n_bytes
        bool vocab_only
        int32_t refs
        void *adapters
        int32_t n_base_adapters
        void *token_order
        void *tensors
    ctypedef struct bnf_seq_page "struct bnf_seq_page":
        int32_t page
        uint64_t mask
    ctypedef struct bnf_seq "struct bnf_seq":
        bnf_seq_page *pages
        int32_t n_pages
        int32_t cap_pages
        int32_t pos_min
        int32_t pos_max
        int32_t above
    ctypedef struct bnf_kv "struct bnf_kv":
        int32_t n_layer
        int32_t n_head_kv
        int32_t dk
        int32_t dv
        int32_t type_k
        int32_t type_v
        int32_t n_ctx
        int32_t n_ctx_seq
        int32_t n_used
        int32_t n_pages
        int32_t n_seq_max
        uint64_t layer_stride_k
        uint64_t layer_stride_v
        uint64_t head_stride_k
        uint64_t head_stride_v
        uint8_t *k
        uint8_t *v
        bool *used
        int32_t *refs
        uint64_t *filled
        int32_t *token
        int32_t *copies
        int32_t *free_tokens
        int32_t *free_pages
        int32_t n_free
        bnf_seq *seqs
        int32_t n_tables
        int32_t cap_tables
        int32_t free_table
    ctypedef struct bnf_batch "struct bnf_batch":
        int32_t n_tokens
        int32_t n_outputs
        const int32_t *token
        const float *embd
        bool causal
        int32_t *pos
        int32_t *n_seq
        int32_t *seq
        int32_t *out_row
        int32_t seq_stride
    ctypedef struct llama_batch_ext "struct llama_batch_ext":
        int32_t n_tokens
        int32_t cap
        int32_t n_embd
        int32_t n_vocab
        int32_t n_seq_max
        llama_token *token
        float *embd
        llama_pos *pos
        int32_t *n_seq
        int32_t seq_stride
        llama_seq_id *seq
        llama_seq_id **seq_row
        int8_t *logits
    ctypedef struct bnf_perf "struct bnf_perf":
        int64_t t_start_us
        int64_t t_p_eval_us
        int64_t t_eval_us
        int32_t n_p_eval
        int32_t n_eval
        int32_t n_reused
