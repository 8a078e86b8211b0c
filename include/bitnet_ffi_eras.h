/* bitnet_ffi_eras.h - structs and names of llama.h of 2023 and 2024, for bitnet_ffi.h, which includes this file when BITNET_FFI_API
 * says one of these years: never include it yourself. A struct of a year has every field that it ever had in it, in no particular
 * layout: it is converted here, at the call, to the struct of the library. docs/MIGRATING.md says what else there is to know. */
#ifndef BITNET_FFI_ERAS_H
#define BITNET_FFI_ERAS_H

#include <stdlib.h>

#ifdef __cplusplus
extern "C++" { /* said aloud, for programs that include this header inside an extern "C" of their own */
#define BITNET_CAST(type, value) static_cast<type>(value)
#define BITNET_NULL nullptr
#else
#define BITNET_CAST(type, value) ((type)(value))
#define BITNET_NULL NULL
#endif
/* ------------------------------------------------------------------------------------------------
 * Names that those years had
 * ---------------------------------------------------------------------------------------------- */

#define LLAMA_MAX_DEVICES 1
#define LLAMA_ROPE_SCALING_UNSPECIFIED LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED
#define LLAMA_ROPE_SCALING_NONE LLAMA_ROPE_SCALING_TYPE_NONE
#define LLAMA_ROPE_SCALING_LINEAR LLAMA_ROPE_SCALING_TYPE_LINEAR
#define LLAMA_ROPE_SCALING_YARN LLAMA_ROPE_SCALING_TYPE_YARN
#define LLAMA_ROPE_SCALING_MAX_VALUE LLAMA_ROPE_SCALING_TYPE_YARN
#define LLAMA_POOLING_NONE LLAMA_POOLING_TYPE_NONE
#define LLAMA_POOLING_MEAN LLAMA_POOLING_TYPE_MEAN
#define LLAMA_POOLING_CLS LLAMA_POOLING_TYPE_CLS
#define LLAMA_SPLIT_NONE LLAMA_SPLIT_MODE_NONE
#define LLAMA_SPLIT_LAYER LLAMA_SPLIT_MODE_LAYER
#define LLAMA_SPLIT_ROW LLAMA_SPLIT_MODE_ROW
#define LLAMA_KV_OVERRIDE_INT LLAMA_KV_OVERRIDE_TYPE_INT
#define LLAMA_KV_OVERRIDE_FLOAT LLAMA_KV_OVERRIDE_TYPE_FLOAT
#define LLAMA_KV_OVERRIDE_BOOL LLAMA_KV_OVERRIDE_TYPE_BOOL
#define LLAMA_FTYPE_MOSTLY_Q4_1_SOME_F16 ((enum llama_ftype)4) /* these numbers are of no format any more */
#define LLAMA_FTYPE_MOSTLY_Q4_0_4_4 ((enum llama_ftype)33)
#define LLAMA_FTYPE_MOSTLY_Q4_0_4_8 ((enum llama_ftype)34)
#define LLAMA_FTYPE_MOSTLY_Q4_0_8_8 ((enum llama_ftype)35)
#define LLAMA_FTYPE_MOSTLY_Q3_K_XS LLAMA_FTYPE_MOSTLY_IQ3_XS /* of this one, since March 2024 */
#define LLAMA_MAX_RNG_STATE (64 * 1024)
#define LLAMA_LOG_LEVEL_ERROR GGML_LOG_LEVEL_ERROR
#define LLAMA_LOG_LEVEL_WARN GGML_LOG_LEVEL_WARN
#define LLAMA_LOG_LEVEL_INFO GGML_LOG_LEVEL_INFO
#define llama_log_level ggml_log_level
#ifndef GGML_UNREACHABLE
#define GGML_UNREACHABLE() abort()
#endif
typedef ggml_log_callback llama_log_callback;

/* ------------------------------------------------------------------------------------------------
 * Batches
 * ---------------------------------------------------------------------------------------------- */

/* Where pos is NULL, token i stands at all_pos_0 + i * all_pos_1; where seq_id is NULL, all belong to all_seq_id. */
typedef struct llama_batch {
    int32_t n_tokens;
    llama_token *token;
    float *embd;
    llama_pos *pos;
    int32_t *n_seq_id;
    llama_seq_id **seq_id;
    int8_t *logits;
    llama_pos all_pos_0;
    llama_pos all_pos_1;
    llama_seq_id all_seq_id;
} llama_batch;

static inline struct bitnet_batch bitnet_era_to_batch(struct llama_batch old)
{
    struct bitnet_batch batch;
    batch.n_tokens = old.n_tokens;
    batch.token = old.token;
    batch.embd = old.embd;
    batch.pos = old.pos;
    batch.n_seq_id = old.n_seq_id;
    batch.seq_id = old.seq_id;
    batch.logits = old.logits;
    return batch;
}

static inline struct llama_batch bitnet_era_from_batch(struct bitnet_batch batch, llama_pos pos_0, llama_pos pos_1, llama_seq_id seq_id)
{
    struct llama_batch old;
    old.n_tokens = batch.n_tokens;
    old.token = batch.token;
    old.embd = batch.embd;
    old.pos = batch.pos;
    old.n_seq_id = batch.n_seq_id;
    old.seq_id = batch.seq_id;
    old.logits = batch.logits;
    old.all_pos_0 = pos_0;
    old.all_pos_1 = pos_1;
    old.all_seq_id = seq_id;
    return old;
}

/* A step of 0 is what a batch of today's kind has: its tokens follow their sequence. */
static inline int32_t bitnet_era_decode(struct llama_context *ctx, struct llama_batch batch)
{
    if (batch.all_pos_1 == 0)
        return llama_decode(ctx, bitnet_era_to_batch(batch));
    return bitnet_decode_at(ctx, bitnet_era_to_batch(batch), batch.all_pos_0, batch.all_pos_1, batch.all_seq_id);
}
/* For some days of September 2023: with the number of threads, which stays set (0 or less: as it is). */
static inline int32_t bitnet_era_decode_3(struct llama_context *ctx, struct llama_batch batch, int32_t n_threads)
{
    if (n_threads > 0)
        llama_set_n_threads(ctx, n_threads, n_threads);
    return bitnet_era_decode(ctx, batch);
}
static inline struct llama_batch bitnet_era_batch_get_one_4(llama_token *tokens, int32_t n_tokens, llama_pos pos_0, llama_seq_id seq_id)
{
    return bitnet_era_from_batch(llama_batch_get_one(tokens, n_tokens), pos_0, 1, seq_id);
}
static inline struct llama_batch bitnet_era_batch_get_one_2(llama_token *tokens, int32_t n_tokens)
{
    return bitnet_era_from_batch(llama_batch_get_one(tokens, n_tokens), 0, 0, 0);
}
static inline struct llama_batch bitnet_era_batch_init_3(int32_t n_tokens, int32_t embd, int32_t n_seq_max)
{
    return bitnet_era_from_batch(llama_batch_init(n_tokens, embd, n_seq_max), 0, 0, 0);
}
static inline void bitnet_era_batch_free(struct llama_batch batch) { llama_batch_free(bitnet_era_to_batch(batch)); }

static inline int32_t bitnet_era_encode(struct llama_context *ctx, struct llama_batch batch)
{
    return llama_encode(ctx, bitnet_era_to_batch(batch));
}

#define llama_batch_free bitnet_era_batch_free
#define llama_encode bitnet_era_encode
#ifdef __cplusplus
static inline struct llama_batch bitnet_era_batch_get_one(llama_token *tokens, int32_t n, llama_pos pos_0, llama_seq_id seq_id)
{
    return bitnet_era_batch_get_one_4(tokens, n, pos_0, seq_id);
}
static inline struct llama_batch bitnet_era_batch_get_one(llama_token *tokens, int32_t n) { return bitnet_era_batch_get_one_2(tokens, n); }
static inline struct llama_batch bitnet_era_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max = 1)
{
    return bitnet_era_batch_init_3(n_tokens, embd, n_seq_max);
}
static inline int32_t bitnet_era_decode(struct llama_context *ctx, struct llama_batch batch, int32_t n_threads)
{
    return bitnet_era_decode_3(ctx, batch, n_threads);
}
#else
/* Two steps: a call becomes a macro, which counts its arguments, and a name without a call the function of its year. */
#if BITNET_FFI_API == 2023
#define bitnet_era_decode_2(ctx, batch) (bitnet_era_decode)(ctx, batch)
#define bitnet_era_decode(...) BITNET_CALL(bitnet_era_decode_, __VA_ARGS__)
#endif
static inline struct llama_batch bitnet_era_batch_get_one(llama_token *tokens, int32_t n_tokens, llama_pos pos_0, llama_seq_id seq_id)
{
    return bitnet_era_batch_get_one_4(tokens, n_tokens, pos_0, seq_id);
}
static inline struct llama_batch bitnet_era_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max)
{
    return bitnet_era_batch_init_3(n_tokens, embd, n_seq_max);
}
#define bitnet_era_batch_init_2(n_tokens, embd) bitnet_era_batch_init_3(n_tokens, embd, 1)
#define bitnet_era_batch_get_one(...) BITNET_CALL(bitnet_era_batch_get_one_, __VA_ARGS__)
#define bitnet_era_batch_init(...) BITNET_CALL(bitnet_era_batch_init_, __VA_ARGS__)
#endif
#define llama_decode bitnet_era_decode
#define llama_batch_get_one bitnet_era_batch_get_one
#define llama_batch_init bitnet_era_batch_init

/* ------------------------------------------------------------------------------------------------
 * Parameters of models and contexts. What is not said to matter is ignored, as its successor is.
 * ---------------------------------------------------------------------------------------------- */

#if BITNET_FFI_API == 2023
typedef void (*llama_progress_callback)(float progress, void *ctx);
#else
typedef bool (*llama_progress_callback)(float progress, void *user_data);
#endif

struct llama_model_params {
    int32_t n_gpu_layers;
    enum llama_split_mode split_mode;
    int32_t main_gpu;
    const float *tensor_split;
    const char *rpc_servers;
    llama_progress_callback progress_callback;
    void *progress_callback_user_data;
    const struct llama_model_kv_override *kv_overrides;
    bool vocab_only; /* this one matters, and so do the next three, the callback and the overrides */
    bool use_mmap;
    bool use_mlock;
    bool check_tensors;
};

struct llama_context_params {
    uint32_t seed;               /* llama_set_rng_seed */
    uint32_t n_ctx;              /* these matter */
    uint32_t n_batch;
    uint32_t n_ubatch;
    uint32_t n_seq_max;          /* since March 2024, and no limit then: there are 64 or more */
    int32_t n_threads;
    int32_t n_threads_batch;
    int8_t rope_scaling_type;    /* an enum since February 2024, which fits; from here to yarn_orig_ctx: as today's */
    enum llama_pooling_type pooling_type;
    enum llama_attention_type attention_type;
    float rope_freq_base;
    float rope_freq_scale;
    float yarn_ext_factor;
    float yarn_attn_factor;
    float yarn_beta_fast;
    float yarn_beta_slow;
    uint32_t yarn_orig_ctx;
    float defrag_thold;
    ggml_backend_sched_eval_callback cb_eval;
    void *cb_eval_user_data;
    enum ggml_type type_k;
    enum ggml_type type_v;
    bool logits_all;             /* bitnet_set_logits_all */
    bool embeddings;
    bool embedding;              /* the same, until March 2024 */
    bool offload_kqv;
    bool flash_attn;
    bool no_perf;
    bool mul_mat_q;
    ggml_abort_callback abort_callback;
    void *abort_callback_data;
#if BITNET_FFI_API == 2023
    bool f16_kv;                 /* false: a cache of F32 */
    bool low_vram;
    int32_t n_parts;
    int32_t n_gqa;
    float rms_norm_eps;
    int32_t n_gpu_layers;        /* these were the model's, in one struct with the context's until September */
    int32_t main_gpu;
    const float *tensor_split;
    llama_progress_callback progress_callback;
    void *progress_callback_user_data;
    bool vocab_only;
    bool use_mmap;
    bool use_mlock;
#endif
};

static inline struct llama_model_params bitnet_era_model_default_params(void)
{
    const struct llama_model_params zeros = {0, LLAMA_SPLIT_MODE_LAYER, 0, BITNET_NULL, BITNET_NULL, BITNET_NULL, BITNET_NULL, BITNET_NULL,
                                             false, true, false, false};
    return zeros;
}

/* What llama_context_params has under the same name today and then. */
#define BITNET_ERA_SAME_FIELDS(to, from) \
    do { \
        (to).n_ctx = (from).n_ctx; (to).n_batch = (from).n_batch; (to).n_ubatch = (from).n_ubatch; \
        (to).n_seq_max = (from).n_seq_max; (to).n_threads = (from).n_threads; (to).n_threads_batch = (from).n_threads_batch; \
        (to).pooling_type = (from).pooling_type; (to).attention_type = (from).attention_type; \
        (to).rope_freq_base = (from).rope_freq_base; (to).rope_freq_scale = (from).rope_freq_scale; \
        (to).yarn_ext_factor = (from).yarn_ext_factor; (to).yarn_attn_factor = (from).yarn_attn_factor; \
        (to).yarn_beta_fast = (from).yarn_beta_fast; (to).yarn_beta_slow = (from).yarn_beta_slow; \
        (to).yarn_orig_ctx = (from).yarn_orig_ctx; (to).defrag_thold = (from).defrag_thold; (to).cb_eval = (from).cb_eval; \
        (to).cb_eval_user_data = (from).cb_eval_user_data; (to).type_k = (from).type_k; (to).type_v = (from).type_v; \
        (to).no_perf = (from).no_perf; (to).abort_callback = (from).abort_callback; \
        (to).abort_callback_data = (from).abort_callback_data; \
    } while (0)

static inline struct llama_context_params bitnet_era_context_default_params(void)
{
    const struct bitnet_context_params now = llama_context_default_params();
    struct llama_context_params old;
    BITNET_ERA_SAME_FIELDS(old, now);
    old.seed = LLAMA_DEFAULT_SEED;
    old.rope_scaling_type = LLAMA_ROPE_SCALING_TYPE_UNSPECIFIED;
    old.logits_all = false;
    old.embeddings = false;
    old.embedding = false;
    old.offload_kqv = true;
    old.flash_attn = false;
    old.mul_mat_q = true;
#if BITNET_FFI_API == 2023
    old.f16_kv = true;
    old.low_vram = false;
    old.n_parts = -1;
    old.n_gqa = 1;
    old.rms_norm_eps = 0;
    old.n_gpu_layers = 0;
    old.main_gpu = 0;
    old.tensor_split = BITNET_NULL;
    old.progress_callback = BITNET_NULL;
    old.progress_callback_user_data = BITNET_NULL;
    old.vocab_only = false;
    old.use_mmap = true;
    old.use_mlock = false;
#endif
    return old;
}

#if BITNET_FFI_API == 2023
/* Its callback had no way to stop a load. */
static inline bool bitnet_era_progress(float progress, void *user_data)
{
    const struct llama_model_params *params = BITNET_CAST(const struct llama_model_params *, user_data);
    params->progress_callback(progress, params->progress_callback_user_data);
    return true;
}
#endif

static inline struct llama_model *bitnet_era_load(const char *path_model, struct llama_model_params old)
{
    struct bitnet_model_params params = llama_model_default_params();
    params.split_mode = old.split_mode;
    params.load_mode = old.use_mlock ? (old.use_mmap ? LLAMA_LOAD_MODE_MMAP_MLOCK : LLAMA_LOAD_MODE_MLOCK)
                                     : (old.use_mmap ? LLAMA_LOAD_MODE_MMAP : LLAMA_LOAD_MODE_NONE);
    params.kv_overrides = old.kv_overrides;
    params.vocab_only = old.vocab_only;
    params.check_tensors = old.check_tensors;
#if BITNET_FFI_API == 2023
    if (old.progress_callback) {
        params.progress_callback = bitnet_era_progress;
        params.progress_callback_user_data = &old;
    }
#else
    params.progress_callback = old.progress_callback;
    params.progress_callback_user_data = old.progress_callback_user_data;
#endif
    return llama_model_load_from_file(path_model, params);
}

static inline struct llama_context *bitnet_era_new_context(struct llama_model *model, struct llama_context_params old)
{
    struct bitnet_context_params params = llama_context_default_params();
    struct llama_context *ctx;
    BITNET_ERA_SAME_FIELDS(params, old);
    if (params.n_seq_max < 64)
        params.n_seq_max = 64; /* sequences were not counted: more than programs of then used */
    params.kv_unified = true;
    params.rope_scaling_type = BITNET_CAST(enum llama_rope_scaling_type, old.rope_scaling_type);
    params.embeddings = old.embeddings || old.embedding;
#if BITNET_FFI_API == 2023
    if (!old.f16_kv)
        params.type_k = params.type_v = GGML_TYPE_F32;
#endif
    ctx = llama_init_from_model(model, params);
    if (ctx) {
        llama_set_rng_seed(ctx, old.seed);
        bitnet_set_logits_all(ctx, old.logits_all);
    }
    return ctx;
}
#undef BITNET_ERA_SAME_FIELDS

#define llama_model_default_params bitnet_era_model_default_params
#define llama_context_default_params bitnet_era_context_default_params
#define llama_model_load_from_file bitnet_era_load
#define llama_new_context_with_model bitnet_era_new_context
#define llama_init_from_model bitnet_era_new_context

#if BITNET_FFI_API == 2024
#define llama_load_model_from_file bitnet_era_load
#else
static inline struct llama_model *bitnet_era_load_by_context(const char *path_model, struct llama_context_params old)
{
    struct llama_model_params params = llama_model_default_params();
    params.n_gpu_layers = old.n_gpu_layers;
    params.main_gpu = old.main_gpu;
    params.tensor_split = old.tensor_split;
    params.progress_callback = old.progress_callback;
    params.progress_callback_user_data = old.progress_callback_user_data;
    params.vocab_only = old.vocab_only;
    params.use_mmap = old.use_mmap;
    params.use_mlock = old.use_mlock;
    return bitnet_era_load(path_model, params);
}
static inline struct llama_context *bitnet_era_init_from_file(const char *path_model, struct llama_context_params params)
{
    struct llama_model *model = bitnet_era_load_by_context(path_model, params);
    struct llama_context *ctx = model ? bitnet_era_new_context(model, params) : BITNET_NULL;
    llama_model_free(model); /* the context keeps it */
    return ctx;
}
#define llama_init_from_file bitnet_era_init_from_file
#ifdef __cplusplus
static inline struct llama_model *bitnet_era_load_any(const char *path_model, struct llama_model_params params)
{
    return bitnet_era_load(path_model, params);
}
static inline struct llama_model *bitnet_era_load_any(const char *path_model, struct llama_context_params params)
{
    return bitnet_era_load_by_context(path_model, params);
}
#else
static inline struct llama_model *bitnet_era_load_any(const char *path_model, struct llama_model_params params)
{
    return bitnet_era_load(path_model, params);
}
#define bitnet_era_load_any(path_model, params) \
    _Generic((params), struct llama_context_params: bitnet_era_load_by_context, default: bitnet_era_load)(path_model, params)
#endif
#define llama_load_model_from_file bitnet_era_load_any

/* There was one, of the last token. */
static inline float *bitnet_era_get_embeddings(struct llama_context *ctx) { return llama_get_embeddings_ith(ctx, -1); }
#define llama_get_embeddings bitnet_era_get_embeddings
#endif

/* Row 0 was there whoever had asked for it, until March 2024: after llama_batch_get_one it is the last token's. */
static inline float *bitnet_era_get_logits_ith(struct llama_context *ctx, int32_t i)
{
    return i == 0 ? llama_get_logits(ctx) : llama_get_logits_ith(ctx, i);
}
#define llama_get_logits_ith bitnet_era_get_logits_ith

#ifdef __cplusplus
}
#endif
#endif /* BITNET_FFI_ERAS_H */
