# The engine's view of C: types and functions of include/bitnet_ffi.h and csrc/bnf_*.h, all extern.
# Nothing is defined here. Functions that a .pyx itself defines must not be cimported into that .pyx: cimport names, not *.
# Next: csrc/bnf_calls.h says what each function promises.

from libc.stdio cimport FILE
from libc.stdint cimport int8_t, uint8_t, int16_t, uint16_t, int32_t, uint32_t, int64_t, uint64_t

cdef extern from "<stdbool.h>" nogil:
    ctypedef bint bool

# ---- the public header: types ----

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef int32_t llama_token
    ctypedef int32_t llama_pos
    ctypedef int32_t llama_seq_id
    ctypedef void *llama_sampler_context_t
    ctypedef struct llama_memory_i "struct llama_memory_i":
        pass
    ctypedef llama_memory_i *llama_memory_t

    ctypedef enum ggml_type "enum ggml_type":
        GGML_TYPE_F32, GGML_TYPE_F16, GGML_TYPE_Q4_0, GGML_TYPE_Q4_1, GGML_TYPE_Q5_0, GGML_TYPE_Q5_1, GGML_TYPE_Q8_0
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
        llama_context *ctx_other
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

# ---- csrc: the base ----

cdef extern from "bnf_error.h" nogil:
    int bnf_fail(int code, const char *format, ...)
    int bnf_fail_within(const char *prefix)
    bool bnf_is_null(const void *argument, const char *function, const char *name)
    bool bnf_is_null_buffer(const void *buf, size_t buf_size, const char *function)
    void bnf_clear_error()
    int bnf_error_code()
    const char *bnf_error_text()

cdef extern from "bnf_repair.h" nogil:
    int bnf_model_repair(const char *format, ...)

cdef extern from "bnf_log.h" nogil:
    void bnf_log(ggml_log_level level, const char *format, ...)
    void bnf_log_set(ggml_log_callback callback, void *user_data)
    void bnf_log_get(ggml_log_callback *callback, void **user_data)

cdef extern from "bnf_text.h" nogil:
    enum:
        BNF_SHOWN_SIZE
    ctypedef struct bnf_sink "struct bnf_sink":
        char *buf
        size_t size
        uint64_t len
    const char *bnf_show(const char *data, uint64_t len, char *out)
    const char *bnf_path_tail(const char *path)
    bnf_sink bnf_sink_to(char *buf, size_t size)
    void bnf_sink_put(bnf_sink *sink, const char *data, uint64_t len)
    void bnf_sink_str(bnf_sink *sink, const char *text)
    void bnf_sink_i64(bnf_sink *sink, int64_t value)
    void bnf_sink_u64(bnf_sink *sink, uint64_t value)
    void bnf_sink_f64(bnf_sink *sink, double value)
    int32_t bnf_sink_end(bnf_sink *sink)
    int32_t bnf_sink_nothing(char *buf, size_t size)

cdef extern from "bnf_platform.h" nogil:
    ctypedef struct bnf_map "struct bnf_map":
        const uint8_t *data
        size_t size
    int bnf_map_file(const char *path, bnf_map *out)
    int bnf_map_stream(FILE *stream, bnf_map *out)
    void bnf_map_forget(const void *data, size_t size)
    void bnf_unmap(bnf_map *map)
    void *bnf_alloc(size_t size)
    void *bnf_alloc_array(size_t n, size_t size)
    void *bnf_resize(void *memory, size_t old_size, size_t new_size)
    void bnf_release(void *memory)
    int64_t bnf_time_us()

cdef extern from "bnf_pace.h" nogil:
    ctypedef struct bnf_pool_clock_t "struct bnf_pool_clock":
        int64_t now
        int64_t run
        int64_t waited
    ctypedef struct bnf_pace "struct bnf_pace":
        int32_t size
    int32_t bnf_pace_begin(bnf_pace *pace, int32_t wanted, int64_t work, bnf_pool_clock_t clock)
    void bnf_pace_leave(bnf_pace *pace, bnf_pool_clock_t clock)
    int32_t bnf_pace_size(const bnf_pace *pace, int32_t wanted)

cdef extern from "bnf_pool.h" nogil:
    ctypedef struct bnf_pool "struct bnf_pool":
        pass
    ctypedef void (*bnf_task_fn)(void *arg, int ith, int nth) noexcept nogil
    int bnf_pool_limit()
    bnf_pool *bnf_pool_new(int n_threads)
    void bnf_pool_free(bnf_pool *pool)
    int bnf_pool_size(const bnf_pool *pool)
    void bnf_pool_run(bnf_pool *pool, int n_threads, bnf_task_fn fn, void *arg)
    void bnf_pool_barrier(bnf_pool *pool)
    bnf_pool_clock_t bnf_pool_clock(const bnf_pool *pool)
    void bnf_pool_range(long n, long grain, int ith, int nth, long *begin, long *end)

cdef extern from "bnf_cpu.h" nogil:
    const char *bnf_cpu_features_text()

cdef extern from "bnf_math.h" nogil:
    float bnf_expf(float x)
    double bnf_ln(double x)
    double bnf_pow(double base, double exponent)
    void bnf_sincos(double angle, double *sin_out, double *cos_out)
    float bnf_f16_to_f32(uint16_t h)
    uint16_t bnf_f32_to_f16(float f)
    float bnf_bf16_to_f32(uint16_t h)

cdef extern from "bnf_gumbel.h" nogil:
    double bnf_gumbel(uint32_t seed, uint64_t step, int32_t id)
    float bnf_gumbel_bound_of(uint32_t seed, uint64_t step, int32_t id)
    double bnf_gumbel_reach(double most)

cdef extern from "bnf_layout.h" nogil:
    enum:
        BNF_N_TYPES
        BNF_ACT_F32, BNF_ACT_Q8_ROW, BNF_ACT_Q8_BLOCK, BNF_N_ACT_KINDS
    ctypedef int bnf_act_kind "enum bnf_act_kind"
    ctypedef struct bnf_type_traits_t "struct bnf_type_traits":
        const char *name
        int32_t block_len
        int32_t block_size
        int32_t trailer_size
        bnf_act_kind act
        bool ternary
    const bnf_type_traits_t *bnf_type_traits(int32_t type)
    const char *bnf_type_name(int32_t type)
    uint64_t bnf_tensor_size(int32_t type, int64_t k, int64_t m)

cdef extern from "bnf_screen.h" nogil:
    enum:
        BNF_SCREEN_ROWS, BNF_SCREEN_COLS, BNF_SCREEN_MAX_K
    ctypedef struct bnf_screen "struct bnf_screen":
        int64_t k
        int64_t m
        uint8_t *q
        float *scale
        float *residual
        float *norm
    ctypedef struct bnf_screen_cols "struct bnf_screen_cols":
        int64_t n
        int64_t k
    uint64_t bnf_screen_cols_size(int64_t n, int64_t k)
    void bnf_screen_cols_init(bnf_screen_cols *cols, int64_t n, int64_t k, void *memory)
    bool bnf_screen_operand(bnf_screen_cols *cols, int64_t c, const float *x)

cdef extern from "bnf_ops.h" nogil:
    enum:
        BNF_KV_F16, BNF_KV_F32, BNF_KV_Q8_0, BNF_KV_PAGE, BNF_KV_BLOCK
    ctypedef int bnf_kv_type "enum bnf_kv_type"
    uint64_t bnf_kv_row_size(bnf_kv_type type, int64_t d)
    ctypedef struct bnf_matrix "struct bnf_matrix":
        const uint8_t *data
        int64_t k
        int64_t m
        uint64_t row_size
        int32_t type
        int32_t layout
        float scale
    ctypedef struct bnf_act "struct bnf_act":
        bnf_act_kind kind
        int64_t n_cols
        int64_t k
        const float *f
        int64_t f_stride
        const int8_t *q
        int64_t q_stride
        const float *scale
        const int16_t *sum16
        const int32_t *sum
        const int8_t *panels
    int64_t BNF_PAD64(int64_t k)
    size_t BNF_MATMUL_SCRATCH(int64_t k)
    ctypedef void (*bnf_matmul_fn)(const bnf_matrix *w, const bnf_act *x, float *y, int64_t y_stride,
                                   int64_t row0, int64_t row1, void *scratch) noexcept nogil
    ctypedef void (*bnf_attn_page_fn)(const float *q, int64_t g, int64_t dk, int64_t dv, const void *k, bnf_kv_type type_k, const void *v,
                                      bnf_kv_type type_v, uint64_t mask, float scale, float *m, float *l, float *o, const void *next_k,
                                      const void *next_v) noexcept nogil
    ctypedef struct bnf_attn_tile "struct bnf_attn_tile":
        int64_t n
        int64_t g
        int64_t dk
        int64_t dv
        const float *q
        int64_t q_stride
        const uint64_t *mask
        float scale
        const float *keys
        const float *values
        float *weights
        float *m
        float *l
        float *o
        int64_t o_stride
    ctypedef struct bnf_ops_t "struct bnf_ops":
        const char *name
        unsigned needs
        void (*quantize_row)(const float *x, int64_t k, int8_t *q, float *s, int32_t *sum, int16_t *sum16) noexcept nogil
        void (*quantize_block)(const float *x, int64_t k, int8_t *q, float *d, int16_t *sum16) noexcept nogil
        bnf_matmul_fn *matmul
        int32_t (*packed_layout)(const bnf_matrix *w) noexcept nogil
        uint64_t (*packed_size)(const bnf_matrix *w) noexcept nogil
        bool (*pack)(const bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed) noexcept nogil
        int64_t panel_cols
        void (*to_panel)(const int8_t *q, int64_t k, int64_t lane, int8_t *panel) noexcept nogil
        bool (*pack_f12)(const bnf_matrix *w, int64_t row0, int64_t row1, uint8_t *packed) noexcept nogil
        void (*screen_pack)(const bnf_matrix *w, int64_t row0, int64_t row1, const bnf_screen *screen) noexcept nogil
        void (*screen_bounds)(const bnf_screen *screen, const bnf_screen_cols *x, float *upper, int64_t stride,
                              int64_t row0, int64_t row1) noexcept nogil
        void (*rmsnorm)(const float *x, const float *w, int64_t n, float eps, float *y) noexcept nogil
        void (*add)(float *x, const float *y, int64_t n) noexcept nogil
        void (*scale)(float *x, float a, int64_t n) noexcept nogil
        void (*silu_mul)(const float *g, const float *u, int64_t n, float *y) noexcept nogil
        void (*relu2_mul)(const float *g, const float *u, int64_t n, float *y) noexcept nogil
        void (*exp)(const float *x, int64_t n, float *y) noexcept nogil
        void (*gumbel_bounds)(uint32_t seed, uint64_t step, int64_t begin, int64_t n, const float *x, float t, float *upper) noexcept nogil
        void (*rope)(float *x, int64_t n_heads, int64_t d, int64_t n_rot, const float *cos_sin, bool neox) noexcept nogil
        void (**store_kv)(const float *x, int64_t n, void *y) noexcept nogil
        bnf_attn_page_fn attn_page
        void (**unpack_k)(const void *k, int64_t dk, uint64_t mask, float *keys) noexcept nogil
        void (**unpack_v)(const void *v, int64_t dv, uint64_t mask, float *values) noexcept nogil
        void (*attn_tile)(const bnf_attn_tile *tile) noexcept nogil
        void (*attn_merge)(float *m, float *l, float *o, const float *m2, const float *l2, const float *o2,
                           int64_t g, int64_t dv) noexcept nogil
    enum:
        BNF_F12_ROWS, BNF_TYPE_F12_R4
    uint64_t bnf_f12_size(const bnf_matrix *w)
    void bnf_dequantize(int32_t type, const uint8_t *data, float scale, int64_t begin, int64_t n, float *y)
    int bnf_quantize(int32_t type, const float *x, int64_t k, int64_t m, uint8_t *data)
    const bnf_ops_t *bnf_ops()
    const bnf_ops_t *const *bnf_ops_all()

cdef extern from "bnf_names.h" nogil:
    const char *bnf_ftype_name(int ftype)
    int bnf_ftype_of_type(int32_t type)
    const char *bnf_meta_key_name(int key)
    const char *bnf_load_mode_name(int mode)
    const char *bnf_flash_attn_name(int type)

# ---- csrc: shared structs ----

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
        float rope_base
        float rope_scale
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
        const double *rope_freqs
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

cdef extern from "bnf_older.h" nogil:
    enum:
        BNF_MT_LEN
    ctypedef struct bnf_mt19937 "struct bnf_mt19937":
        int32_t next
    ctypedef struct bnf_older "struct bnf_older":
        bnf_mt19937 random
        bool seeded
        bool logits_all
        int64_t t_sample_us
        int32_t n_sample

cdef extern from "bnf_adapter.h" nogil:
    enum:
        BNF_LAYER_LINEARS
    ctypedef struct bnf_lora_pair "struct bnf_lora_pair":
        bnf_matrix a
        bnf_matrix b
    ctypedef struct llama_adapter_lora "struct llama_adapter_lora":
        void *next
        llama_model *model
        bnf_gguf *gguf
        int32_t refs
        int32_t is_freed
        int32_t is_base
        float base_scale
        float alpha
        int32_t rank
        bnf_lora_pair *pairs
        int64_t n_pairs
        llama_token *invocation
        uint64_t n_invocation
    ctypedef struct bnf_lora_use "struct bnf_lora_use":
        llama_adapter_lora *adapter
        float scale
        int32_t first
    int64_t bnf_linear_number(const llama_model *model, const bnf_linear *linear)
    int64_t bnf_head_number(const llama_model *model)
    int64_t bnf_embd_number(const llama_model *model)
    int64_t bnf_lora_third(int64_t number)
    const float *bnf_control_of(const llama_context *ctx, int64_t layer)

cdef extern from "bnf_context.h" nogil:
    ctypedef struct bnf_scratch "struct bnf_scratch":
        uint8_t *memory
        float *x
        float *y
        float *h
        float *q
        float *k
        float *v
        float *attn
        float *u
        float *gate
        float *up
        float *cos_sin
        int8_t **act_q
        float **act_scale
        int16_t **act_sum16
        int32_t **act_sum
        int8_t *panels
        float *attn_m
        float *attn_l
        int64_t *first_pair
        float *partial_o
        float *partial_m
        float *partial_l
        int64_t n_partial
        uint8_t *thread
        uint64_t thread_size
        bnf_scratch *own
    ctypedef struct llama_context "struct llama_context":
        llama_model *model
        llama_context_params params
        bnf_kv kv
        bnf_pool *pool
        int32_t n_threads
        int32_t n_threads_batch
        bnf_pace pace
        const double *rope_freqs
        double *own_rope_freqs
        bnf_batch batch
        int32_t *batch_memory
        uint64_t batch_memory_size
        int32_t *next_pos
        bnf_scratch scratch
        float *hidden
        uint64_t hidden_size
        bnf_screen_cols screened
        int64_t first_screened
        void *screen_memory
        float *upper
        float *exact
        float *noisy
        int64_t vocab_stride
        int32_t logits_ready
        float *logits
        uint64_t logits_size
        float **outgrown
        int32_t n_outgrown
        int32_t n_outputs
        bool causal_attn
        bool embeddings_ready
        float *pooled
        bnf_lora_use *loras
        int32_t n_loras
        int32_t n_base_loras
        int32_t lora_rank
        float *control
        int32_t control_begin
        int32_t control_end
        uint8_t *kv_copy
        ggml_abort_callback abort_callback
        void *abort_data
        bnf_perf perf
        bnf_older *older
        int32_t busy
    bool bnf_context_enter(llama_context *ctx)
    void bnf_context_leave(llama_context *ctx)
    int32_t bnf_lowest64(uint64_t mask)
    int32_t bnf_highest64(uint64_t mask)

cdef extern from "bnf_forward.h" nogil:
    enum:
        BNF_ATTN_TILES, BNF_ATTN_PAGES, BNF_ATTN_PAGES_ALONE
    ctypedef struct bnf_step "struct bnf_step":
        llama_context *ctx
        const bnf_batch *batch
        int32_t begin
        int32_t n
        int32_t attention
        int32_t aborted
        int32_t n_indexes
    ctypedef struct bnf_tile_work "struct bnf_tile_work":
        float *keys
        float *values
        float *weights
        float *m
        float *l
        float *o
        uint64_t *mask
    int64_t BNF_TILE_TOKENS(int64_t g)
    size_t bnf_tile_cut(bnf_tile_work *work, uint8_t *memory, int64_t g, int64_t dk, int64_t dv)
    size_t bnf_attention_work(int64_t g, int64_t dk, int64_t dv)

# ---- functions that another engine module defines (csrc/bnf_calls.h) ----

cdef extern from "bnf_calls.h" nogil:
    const char *bnf_source_name(const bnf_source *source)
    int bnf_gguf_open(const bnf_source *source, const llama_model_kv_override *overrides, bnf_gguf **out)
    void bnf_gguf_close(bnf_gguf *gguf)
    const bnf_gguf_kv *bnf_gguf_find(const bnf_gguf *gguf, const char *key)
    const bnf_tensor *bnf_gguf_tensor(const bnf_gguf *gguf, const char *name)
    int bnf_gguf_u32(const bnf_gguf *gguf, const char *key, uint32_t *out)
    int bnf_gguf_f32(const bnf_gguf *gguf, const char *key, float *out)
    int bnf_gguf_bool(const bnf_gguf *gguf, const char *key, bool *out)
    int bnf_gguf_str(const bnf_gguf *gguf, const char *key, bnf_str *out)
    bnf_str bnf_gguf_next_str(const uint8_t **cursor)
    int32_t bnf_gguf_format(const bnf_gguf_kv *kv, char *buf, size_t size)
    int32_t bnf_gguf_main_type(const bnf_gguf *gguf)
    int32_t bnf_meta_count(const bnf_gguf *gguf)
    int32_t bnf_meta_key(const bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function)
    int32_t bnf_meta_value(const bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function)
    int32_t bnf_meta_value_of(const bnf_gguf *gguf, const char *key, bool arrays, char *buf, size_t size, const char *function)

    int bnf_vocab_load(const bnf_gguf *gguf, bnf_vocab **out)
    void bnf_vocab_free(bnf_vocab *vocab)
    int32_t bnf_vocab_n_tokens(const bnf_vocab *vocab)

    int bnf_model_load(const bnf_source *source, const llama_model_params *params, llama_model **out)
    void bnf_model_retain(llama_model *model)
    void bnf_model_release(llama_model *model)

    int bnf_kv_init(bnf_kv *kv, const bnf_hparams *hp, int32_t n_ctx, int32_t n_seq_max, int32_t type_k, int32_t type_v)
    void bnf_kv_free(bnf_kv *kv)
    void bnf_kv_clear(bnf_kv *kv, bool data)
    int bnf_kv_reserve(bnf_kv *kv, const bnf_batch *batch)
    void bnf_kv_rollback(bnf_kv *kv, const bnf_batch *batch)
    bool bnf_kv_holds(const bnf_kv *kv, int32_t seq, int32_t pos)
    bool bnf_kv_seq_rm(bnf_kv *kv, int32_t seq, int32_t p0, int32_t p1)
    int bnf_kv_seq_cp(bnf_kv *kv, int32_t src, int32_t dst, int32_t p0, int32_t p1)
    void bnf_kv_seq_keep(bnf_kv *kv, int32_t seq)
    int32_t bnf_kv_table_above(bnf_kv *kv, int32_t table)
    void bnf_kv_settle(bnf_kv *kv, int32_t seq)
    int64_t bnf_kv_put(bnf_kv *kv, int32_t table, int32_t pos, int32_t token, int32_t *left)
    bnf_kv *bnf_kv_keep_tables(const bnf_kv *kv)
    void bnf_kv_undo(bnf_kv *kv, const bnf_kv *tables)
    int bnf_kv_move(llama_context *ctx, int32_t seq, int32_t p0, int32_t p1, int32_t delta, int32_t divisor)

    int bnf_kv_set_aside(bnf_kv *kv, bnf_kv *kept)
    void bnf_kv_put_back(bnf_kv *kv, const bnf_kv *kept)

    enum:
        BNF_BATCH_CLIENT, BNF_BATCH_EXT
    int bnf_batch_check(const llama_context *ctx, const llama_batch *client, int origin)
    int bnf_batch_prepare(llama_context *ctx, const llama_batch *client, int origin, bool all, bnf_batch *out)
    llama_batch bnf_batch_of_ext(const llama_batch_ext *batch)
    void bnf_operand_row(const bnf_ops_t *ops, bnf_scratch *s, int kind, const float *x, int64_t k, int64_t t, int64_t n)
    bnf_act bnf_operand(const bnf_scratch *s, int kind, const float *x, int64_t k, int64_t n)
    int64_t bnf_output_row(const llama_context *ctx, int32_t i)
    int64_t bnf_need_output_row(const llama_context *ctx, int32_t i, const char *function)
    int bnf_head_logits(llama_context *ctx)
    int bnf_head_init(llama_context *ctx)
    int32_t bnf_head_greedy(llama_context *ctx, int32_t i)
    void bnf_attention_plan(bnf_step *step, int nth)
    void bnf_rope_and_store(const bnf_step *step, int64_t layer, int64_t t)
    void bnf_attention(const bnf_step *step, int64_t layer, int ith, int nth)
    void bnf_attention_output(const bnf_step *step, int64_t t, int nth, float *work, float *o)
    void bnf_token_order_free(void *order)
    llama_adapter_lora *bnf_adapter_load(llama_model *model, const bnf_source *source)
    void bnf_adapter_release(llama_adapter_lora *adapter)
    void bnf_adapters_free(llama_model *model)
    int bnf_lora_follow(llama_context *ctx)
    void bnf_lora_forget(llama_context *ctx)
    void bnf_lora_down(const llama_context *ctx, int64_t number, const float *x, float *u, void *scratch)
    void bnf_lora_up(const llama_context *ctx, int64_t number, const float *u, int64_t n, float *y, int64_t m, long row0, long row1,
                     void *scratch)
    void bnf_lora_embed(const llama_context *ctx, int32_t token, float *x, void *scratch)
    bool bnf_lora_on_head(const llama_context *ctx)
    int bnf_enter(llama_context *ctx, const char *function)
    int bnf_context_set_lora_rank(llama_context *ctx, int32_t rank)
    int bnf_forward(llama_context *ctx, const bnf_batch *batch, int32_t begin, int32_t end)
