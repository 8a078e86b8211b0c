# The engine's view of csrc/bnf_context.h and what belongs to a context: bnf_older.h, bnf_adapter.h, bnf_forward.h.
# All extern; nothing is defined here.

from libc.stdint cimport int8_t, uint8_t, int16_t, int32_t, int64_t, uint64_t
from bitnet_ffi._core.bnf_observe cimport bnf_observer
from bitnet_ffi._core.bnf_ops cimport bnf_low_rank, bnf_matrix, bnf_screen_cols
from bitnet_ffi._core.bnf_pool cimport bnf_pace, bnf_pool, bnf_pool_clock_t, ggml_threadpool
from bitnet_ffi._core.bnf_public cimport bool, ggml_abort_callback, llama_context_params, llama_token
from bitnet_ffi._core.bnf_types cimport bnf_batch, bnf_gguf, bnf_kv, bnf_linear, bnf_perf, llama_model

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
        bnf_low_rank b
        float scale
    ctypedef struct llama_adapter_lora "struct llama_adapter_lora":
        void *next
        llama_model *model
        bnf_gguf *gguf
        int32_t refs
        int32_t is_freed
        int32_t is_base
        float base_scale
        float alpha
        bool is_ggla
        float ggla_scale
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
        bnf_pool *team
        ggml_threadpool *threadpool
        ggml_threadpool *threadpool_batch
        bnf_pool *pool
        bnf_pool_clock_t clock
        int32_t n_scratch_threads
        int32_t n_threads
        int32_t n_threads_batch
        bnf_pace pace
        double *rope_freqs
        double rope_length
        bnf_batch batch
        int32_t *batch_memory
        uint64_t batch_memory_size
        int32_t *spare_memory
        uint64_t spare_memory_size
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
        uint64_t model_print
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
        bnf_observer *observer
        bnf_perf perf
        bnf_older *older
        void *sampled
        int32_t *every_id
        int32_t busy
    bool bnf_context_enter(llama_context *ctx)
    int32_t bnf_peek_i32(const int32_t *number)
    int64_t bnf_peek_i64(const int64_t *number)
    bool bnf_peek_bool(const bool *number)
    void bnf_poke_i32(int32_t *number, int32_t value)
    void bnf_poke_i64(int64_t *number, int64_t value)
    void bnf_poke_bool(bool *number, bool value)
    void bnf_context_leave(llama_context *ctx)
    int32_t bnf_lowest64(uint64_t mask)
    int32_t bnf_count64(uint64_t mask)
    uint64_t bnf_page_range(int32_t index, int32_t p0, int32_t p1)
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

cdef extern from "bnf_threadpool.h" nogil:
    int bnf_threadpool_retain(ggml_threadpool *pool, const char *function)
    void bnf_threadpool_release(ggml_threadpool *pool)
    int32_t bnf_threadpool_size(const ggml_threadpool *pool)
    int32_t bnf_team_enter(llama_context *ctx, bool batched)
    void bnf_team_leave(llama_context *ctx)
