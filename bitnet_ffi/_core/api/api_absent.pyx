# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Calls of llama.h for what this library has not: devices, training, models made without a file, beam search. Each returns what the
# header says and leaves a sentence; none pretends.
# Next: include/bitnet_ffi.h, "What is not here".

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail, bnf_is_null, bnf_log
from bitnet_ffi._core.bnf_calls cimport bnf_enter, bnf_gguf_close, bnf_gguf_open
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, llama_context
from bitnet_ffi._core.bnf_public cimport bool, llama_model_params, BITNET_ERROR, BITNET_ERROR_LOAD, GGML_LOG_LEVEL_INFO
from bitnet_ffi._core.bnf_write cimport ggml_type
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_kv, bnf_source, llama_model

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef enum ggml_log_level "enum ggml_log_level":
        pass
    ctypedef enum fit_status "enum llama_params_fit_status":
        LLAMA_PARAMS_FIT_STATUS_SUCCESS, LLAMA_PARAMS_FIT_STATUS_ERROR
    ctypedef void *ggml_opt_dataset_t
    ctypedef void *ggml_opt_result_t
    ctypedef void *ggml_opt_context_t
    ctypedef enum optimizer_t "enum ggml_opt_optimizer_type":
        GGML_OPT_OPTIMIZER_TYPE_ADAMW, GGML_OPT_OPTIMIZER_TYPE_SGD
    ctypedef struct adamw_t:
        float alpha
        float beta1
        float beta2
        float eps
        float wd
    ctypedef struct sgd_t:
        float alpha
        float wd
    ctypedef struct optimizer_params "struct ggml_opt_optimizer_params":
        adamw_t adamw
        sgd_t sgd
    ctypedef void (*ggml_opt_epoch_callback)() noexcept nogil
    ctypedef void (*llama_model_set_tensor_data_t)(ggml_tensor *tensor, void *userdata) noexcept nogil
    ctypedef void (*llama_beam_search_callback_fn_t)() noexcept nogil
    ctypedef struct ggml_tensor "struct ggml_tensor":
        pass
    ctypedef struct gguf_context "struct gguf_context":
        pass
    ctypedef struct llama_context_params "struct llama_context_params":
        pass
    ctypedef struct buft_override "struct llama_model_tensor_buft_override":
        pass
    ctypedef struct llama_opt_params "struct llama_opt_params":
        pass

# Programs size arrays with it, as llama.cpp's do; the overrides themselves have no effect here.
cdef enum:
    MAX_TENSOR_BUFT_OVERRIDES = 4096

# ---- devices ----

cdef public bool llama_supports_rpc() noexcept nogil:
    return False

cdef public size_t llama_max_tensor_buft_overrides() noexcept nogil:
    return MAX_TENSOR_BUFT_OVERRIDES

# Memory of devices is what this fits parameters into, so with a CPU alone all fit as they are, if there is a model.
cdef public fit_status llama_params_fit(const char *path_model, llama_model_params *mparams, llama_context_params *cparams,
                                        float *tensor_split, buft_override *tensor_buft_overrides, size_t *margins, uint32_t n_ctx_min,
                                        ggml_log_level log_level) noexcept nogil:
    cdef bnf_gguf *gguf = NULL
    cdef bnf_source source
    if bnf_is_null(mparams, "llama_params_fit", "mparams") or bnf_is_null(cparams, "llama_params_fit", "cparams"):
        return LLAMA_PARAMS_FIT_STATUS_ERROR
    memset(&source, 0, sizeof(source))
    source.path = path_model
    if bnf_gguf_open(&source, NULL, &gguf) != 0:
        return LLAMA_PARAMS_FIT_STATUS_ERROR
    bnf_gguf_close(gguf)
    return LLAMA_PARAMS_FIT_STATUS_SUCCESS

cdef public void llama_memory_breakdown_print(const llama_context *const_ctx) noexcept nogil:
    cdef llama_context *ctx = <llama_context *>const_ctx     # entered, as the arrays grow while it decodes
    cdef const bnf_kv *kv
    cdef uint64_t cache
    bnf_clear_error()
    if bnf_enter(ctx, "llama_memory_breakdown_print") != 0:
        return
    kv = &ctx.kv
    cache = <uint64_t>kv.n_layer * (kv.layer_stride_k + kv.layer_stride_v)
    bnf_log(GGML_LOG_LEVEL_INFO, "memory: %.1f MB of weights, %.1f MB of KV cache for %d tokens, %.1f MB of logits and states\n",
            <double>ctx.model.n_bytes * 1e-6, <double>cache * 1e-6, kv.n_ctx, <double>(ctx.logits_size + ctx.hidden_size) * 1e-6)
    bnf_context_leave(ctx)

cdef public void llama_set_warmup(llama_context *ctx, bool warmup) noexcept nogil:
    bnf_clear_error()
    bnf_is_null(ctx, "llama_set_warmup", "ctx")

# ---- models without a file, graphs of ggml ----

cdef public llama_model *llama_model_init_from_user(gguf_context *metadata, llama_model_set_tensor_data_t set_tensor_data,
                                                    void *set_tensor_data_ud, llama_model_params params) noexcept nogil:
    if not bnf_is_null(metadata, "llama_model_init_from_user", "metadata"):
        bnf_fail(BITNET_ERROR_LOAD, "llama_model_init_from_user: a model is loaded from a file (llama_model_load_from_file)")
    return NULL

cdef public int llama_eval_export(llama_context *ctx, const char *fname) noexcept nogil:
    if not bnf_is_null(ctx, "llama_eval_export", "ctx"):
        bnf_fail(BITNET_ERROR, "llama_eval_export: there is no ggml graph to export")
    return 1

# ---- search ----

cdef public void llama_beam_search(llama_context *ctx, llama_beam_search_callback_fn_t callback, void *callback_data, size_t n_beams,
                                   int32_t n_past, int32_t n_predict) noexcept nogil:
    bnf_clear_error()
    if not bnf_is_null(ctx, "llama_beam_search", "ctx"):
        bnf_fail(BITNET_ERROR, "llama_beam_search: not supported since llama.cpp dropped it in 2024; decode several sequences instead")

# ---- training ----

# Every tensor could be trained: what llama.cpp's filter of this name says of any tensor.
cdef public bool llama_opt_param_filter_all(const ggml_tensor *tensor, void *userdata) noexcept nogil:
    return True

cdef public void llama_opt_init(llama_context *lctx, llama_model *model, llama_opt_params lopt_params) noexcept nogil:
    bnf_clear_error()
    if not bnf_is_null(lctx, "llama_opt_init", "lctx") and not bnf_is_null(model, "llama_opt_init", "model"):
        bnf_fail(BITNET_ERROR, "llama_opt_init: training is not supported")

cdef public void llama_opt_epoch(llama_context *lctx, ggml_opt_dataset_t dataset, ggml_opt_result_t result_train,
                                 ggml_opt_result_t result_eval, int64_t idata_split, ggml_opt_epoch_callback callback_train,
                                 ggml_opt_epoch_callback callback_eval) noexcept nogil:
    bnf_clear_error()
    if not bnf_is_null(lctx, "llama_opt_epoch", "lctx"):
        bnf_fail(BITNET_ERROR, "llama_opt_epoch: training is not supported")

# ---- training, the calls of ggml-opt.h ----

cdef void refuse_training(const char *function) noexcept nogil:
    bnf_fail(BITNET_ERROR, "%s: training is not supported", function)

cdef public ggml_opt_dataset_t ggml_opt_dataset_init(ggml_type type_data, ggml_type type_label, int64_t ne_datapoint, int64_t ne_label,
                                                     int64_t ndata, int64_t ndata_shard) noexcept nogil:
    refuse_training("ggml_opt_dataset_init")
    return NULL

# Nobody has a dataset or a result: freeing NULL, as of a failed init, is no fault.
cdef public void ggml_opt_dataset_free(ggml_opt_dataset_t dataset) noexcept nogil:
    bnf_clear_error()
    if dataset != NULL:
        refuse_training("ggml_opt_dataset_free")

cdef public int64_t ggml_opt_dataset_ndata(ggml_opt_dataset_t dataset) noexcept nogil:
    refuse_training("ggml_opt_dataset_ndata")
    return 0

cdef public ggml_tensor *ggml_opt_dataset_data(ggml_opt_dataset_t dataset) noexcept nogil:
    refuse_training("ggml_opt_dataset_data")
    return NULL

cdef public ggml_tensor *ggml_opt_dataset_labels(ggml_opt_dataset_t dataset) noexcept nogil:
    refuse_training("ggml_opt_dataset_labels")
    return NULL

cdef public ggml_opt_result_t ggml_opt_result_init() noexcept nogil:
    refuse_training("ggml_opt_result_init")
    return NULL

cdef public void ggml_opt_result_free(ggml_opt_result_t result) noexcept nogil:
    bnf_clear_error()
    if result != NULL:
        refuse_training("ggml_opt_result_free")

cdef public void ggml_opt_result_reset(ggml_opt_result_t result) noexcept nogil:
    refuse_training("ggml_opt_result_reset")

cdef public void ggml_opt_epoch_callback_progress_bar(bool train, ggml_opt_context_t opt_ctx, ggml_opt_dataset_t dataset,
                                                      ggml_opt_result_t result, int64_t ibatch, int64_t ibatch_max,
                                                      int64_t t_start_us) noexcept nogil:
    refuse_training("ggml_opt_epoch_callback_progress_bar")

cdef public const char *optimizer_name "ggml_opt_optimizer_name"(optimizer_t optimizer) noexcept nogil:
    if <int>optimizer == GGML_OPT_OPTIMIZER_TYPE_ADAMW:
        return "adamw"
    if <int>optimizer == GGML_OPT_OPTIMIZER_TYPE_SGD:
        return "sgd"
    return "undefined"

cdef public optimizer_params ggml_opt_get_default_optimizer_params(void *userdata) noexcept nogil:
    cdef optimizer_params params
    params.adamw.alpha = 0.001
    params.adamw.beta1 = 0.9
    params.adamw.beta2 = 0.999
    params.adamw.eps = 1e-8
    params.adamw.wd = 0
    params.sgd.alpha = 1e-3
    params.sgd.wd = 0
    return params
