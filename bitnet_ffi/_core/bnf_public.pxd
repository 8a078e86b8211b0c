# The engine's view of include/bitnet_ffi.h: its types, enums and structs. All extern; nothing is defined here. Calls of the API are
# declared in the .pyx that makes them. Here ctx_other has no type, because contexts come later (bnf_context.pxd).

from libc.stdint cimport int8_t, int32_t, uint32_t, int64_t

cdef extern from "<stdbool.h>" nogil:
    ctypedef bint bool

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef int32_t llama_token
    ctypedef int32_t llama_pos
    ctypedef int32_t llama_seq_id
    ctypedef void *llama_sampler_context_t
    ctypedef struct llama_memory_i "struct llama_memory_i":
        pass
    ctypedef llama_memory_i *llama_memory_t

    ctypedef enum ggml_type "enum ggml_type":
        GGML_TYPE_I32, GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0
        GGML_TYPE_Q2_K, GGML_TYPE_Q3_K, GGML_TYPE_Q4_K, GGML_TYPE_Q5_K, GGML_TYPE_Q6_K, GGML_TYPE_BF16
        GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0, GGML_TYPE_I2_S
    ctypedef enum ggml_log_level "enum ggml_log_level":
        GGML_LOG_LEVEL_NONE, GGML_LOG_LEVEL_DEBUG, GGML_LOG_LEVEL_INFO, GGML_LOG_LEVEL_WARN, GGML_LOG_LEVEL_ERROR
    ctypedef enum llama_vocab_type_t "enum llama_vocab_type":
        LLAMA_VOCAB_TYPE_NONE, LLAMA_VOCAB_TYPE_SPM, LLAMA_VOCAB_TYPE_BPE, LLAMA_VOCAB_TYPE_WPM, LLAMA_VOCAB_TYPE_UGM
        LLAMA_VOCAB_TYPE_RWKV, LLAMA_VOCAB_TYPE_PLAMO2
    ctypedef enum llama_rope_type_t "enum llama_rope_type":
        LLAMA_ROPE_TYPE_NONE, LLAMA_ROPE_TYPE_NORM, LLAMA_ROPE_TYPE_NEOX
    ctypedef enum llama_token_attr_t "enum llama_token_attr":
        LLAMA_TOKEN_ATTR_UNDEFINED, LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_UNUSED, LLAMA_TOKEN_ATTR_NORMAL
        LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_USER_DEFINED, LLAMA_TOKEN_ATTR_BYTE, LLAMA_TOKEN_ATTR_NORMALIZED
        LLAMA_TOKEN_ATTR_LSTRIP, LLAMA_TOKEN_ATTR_RSTRIP, LLAMA_TOKEN_ATTR_SINGLE_WORD
    ctypedef enum llama_rope_scaling_type_t "enum llama_rope_scaling_type":
        LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED, LLAMA_ROPE_SCALING_TYPE_NONE, LLAMA_ROPE_SCALING_TYPE_LINEAR
        LLAMA_ROPE_SCALING_TYPE_YARN, LLAMA_ROPE_SCALING_TYPE_LONGROPE
    ctypedef enum llama_pooling_type_t "enum llama_pooling_type":
        LLAMA_POOLING_TYPE_UNSPECIFIED, LLAMA_POOLING_TYPE_NONE, LLAMA_POOLING_TYPE_MEAN, LLAMA_POOLING_TYPE_CLS
        LLAMA_POOLING_TYPE_LAST, LLAMA_POOLING_TYPE_RANK
    ctypedef enum llama_attention_type_t "enum llama_attention_type":
        LLAMA_ATTENTION_TYPE_UNSPECIFIED, LLAMA_ATTENTION_TYPE_CAUSAL, LLAMA_ATTENTION_TYPE_NON_CAUSAL
    ctypedef enum llama_flash_attn_type_t "enum llama_flash_attn_type":
        LLAMA_FLASH_ATTN_TYPE_AUTO
    ctypedef enum llama_split_mode_t "enum llama_split_mode":
        LLAMA_SPLIT_MODE_LAYER
    ctypedef enum llama_load_mode_t "enum llama_load_mode":
        LLAMA_LOAD_MODE_AUTO, LLAMA_LOAD_MODE_NONE, LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_MLOCK
        LLAMA_LOAD_MODE_MMAP_MLOCK, LLAMA_LOAD_MODE_DIRECT_IO
    ctypedef enum llama_ftype_t "enum llama_ftype":
        LLAMA_FTYPE_ALL_F32, LLAMA_FTYPE_GUESSED, BITNET_FTYPE_MOSTLY_I2_S
    ctypedef enum llama_model_meta_key_t "enum llama_model_meta_key":
        pass
    ctypedef enum llama_lazy_mode_t "enum llama_lazy_mode":
        LLAMA_LAZY_MODE_OFF, LLAMA_LAZY_MODE_AUTO, LLAMA_LAZY_MODE_ON
    ctypedef enum llama_context_type_t "enum llama_context_type":
        LLAMA_CONTEXT_TYPE_DEFAULT, LLAMA_CONTEXT_TYPE_MTP
    ctypedef enum llama_process_type_t "enum llama_process_type":
        LLAMA_PROCESS_TYPE_ENCODE, LLAMA_PROCESS_TYPE_DECODE
    ctypedef enum llama_kv_override_type_t "enum llama_model_kv_override_type":
        LLAMA_KV_OVERRIDE_TYPE_INT, LLAMA_KV_OVERRIDE_TYPE_FLOAT, LLAMA_KV_OVERRIDE_TYPE_BOOL, LLAMA_KV_OVERRIDE_TYPE_STR

    ctypedef void (*ggml_log_callback)(ggml_log_level level, const char *text, void *user_data) noexcept nogil
    ctypedef bool (*ggml_abort_callback)(void *data) noexcept nogil
    ctypedef bool (*ggml_backend_sched_eval_callback)(void *t, bool ask, void *user_data) noexcept nogil
    ctypedef bool (*llama_progress_callback)(float progress, void *user_data) noexcept nogil

    ctypedef struct llama_token_data:
        llama_token id
        float logit
        float p
    ctypedef struct llama_token_data_array:
        llama_token_data *data
        size_t size
        int64_t selected
        bool sorted
    ctypedef struct llama_batch "struct llama_batch":
        int32_t n_tokens
        llama_token *token
        float *embd
        llama_pos *pos
        int32_t *n_seq_id
        llama_seq_id **seq_id
        int8_t *logits
    ctypedef struct llama_embd "struct llama_embd":
        const float *data
        size_t n_rows
        size_t n_embd
    ctypedef struct llama_model_kv_override "struct llama_model_kv_override":
        llama_kv_override_type_t tag
        char key[128]
        int64_t val_i64
        double val_f64
        bool val_bool
        char val_str[128]
    ctypedef struct llama_model_params "struct llama_model_params":
        void *devices
        void *tensor_buft_overrides
        int32_t n_gpu_layers
        llama_split_mode_t split_mode
        llama_load_mode_t load_mode
        llama_lazy_mode_t lazy_mode
        int32_t main_gpu
        const float *tensor_split
        llama_progress_callback progress_callback
        void *progress_callback_user_data
        const llama_model_kv_override *kv_overrides
        bool vocab_only
        bool check_tensors
        bool use_extra_bufts
        bool no_host
        bool no_alloc
        bool load_mtp
    ctypedef struct llama_sampler_seq_config "struct llama_sampler_seq_config":
        llama_seq_id seq_id
        llama_sampler *sampler
    ctypedef struct llama_context_params "struct llama_context_params":
        uint32_t n_ctx
        uint32_t n_batch
        uint32_t n_ubatch
        uint32_t n_seq_max
        uint32_t n_rs_seq
        uint32_t n_outputs_max
        uint32_t n_outputs_max_per_seq
        int32_t n_threads
        int32_t n_threads_batch
        llama_context_type_t ctx_type
        llama_rope_scaling_type_t rope_scaling_type
        llama_pooling_type_t pooling_type
        llama_attention_type_t attention_type
        llama_flash_attn_type_t flash_attn_type
        float rope_freq_base
        float rope_freq_scale
        float yarn_ext_factor
        float yarn_attn_factor
        float yarn_beta_fast
        float yarn_beta_slow
        uint32_t yarn_orig_ctx
        float defrag_thold
        ggml_backend_sched_eval_callback cb_eval
        void *cb_eval_user_data
        ggml_type type_k
        ggml_type type_v
        ggml_abort_callback abort_callback
        void *abort_callback_data
        bool embeddings
        bool offload_kqv
        bool no_perf
        bool op_offload
        bool swa_full
        bool kv_unified
        llama_sampler_seq_config *samplers
        size_t n_samplers
        void *ctx_other
    ctypedef struct llama_logit_bias:
        llama_token token
        float bias
    ctypedef struct llama_sampler_chain_params:
        bool no_perf
    ctypedef struct llama_chat_message:
        const char *role
        const char *content
    ctypedef struct llama_sampler_i "struct llama_sampler_i":
        const char *(*name)(const llama_sampler *smpl) noexcept nogil
        void (*accept)(llama_sampler *smpl, llama_token token) noexcept nogil
        void (*apply)(llama_sampler *smpl, llama_token_data_array *cur_p) noexcept nogil
        void (*reset)(llama_sampler *smpl) noexcept nogil
        llama_sampler *(*clone)(const llama_sampler *smpl) noexcept nogil
        void (*free)(llama_sampler *smpl) noexcept nogil
        void (*backend_apply)() noexcept nogil      # of a client's, with other arguments: never called
        void (*copy_state)(const llama_sampler *src, llama_sampler *dst) noexcept nogil
    ctypedef struct llama_sampler "struct llama_sampler":
        llama_sampler_i *iface
        llama_sampler_context_t ctx
    ctypedef struct llama_perf_context_data "struct llama_perf_context_data":
        double t_start_ms
        double t_load_ms
        double t_p_eval_ms
        double t_eval_ms
        int32_t n_p_eval
        int32_t n_eval
        int32_t n_reused
    ctypedef struct llama_perf_sampler_data "struct llama_perf_sampler_data":
        double t_sample_ms
        int32_t n_sample

    enum:
        BITNET_TOKENIZE_ADD_SPECIAL, BITNET_TOKENIZE_PARSE_SPECIAL, BITNET_TOKENIZE_NOT_FIRST, BITNET_TOKENIZE_NOT_LAST
        BITNET_OK, BITNET_EVAL_ERROR, BITNET_ERROR, BITNET_ERROR_UTF8, BITNET_ERROR_TOKENIZE, BITNET_ERROR_NOT_FOUND
        BITNET_ERROR_LOAD, BITNET_ERROR_INFERENCE, BITNET_ERROR_MEMORY, BITNET_ERROR_THREAD, BITNET_ERROR_MODEL
        BITNET_ERROR_CONTEXT
        LLAMA_DEFAULT_SEED
        LLAMA_TOKEN_NULL
