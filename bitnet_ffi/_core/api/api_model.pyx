# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The header's "Model" section: load and free, sizes, metadata, description, chat templates.
# NULL is safe everywhere: 0, NULL or -1 comes back and the last error says which call it was.
# Next: load.pyx does the work; include/bitnet_ffi.h is the manual.

from libc.stdint cimport int32_t, uint64_t
from libc.stdio cimport FILE, snprintf
from libc.string cimport memset, strcmp
from bitnet_ffi._core.bnf_base cimport (
    bnf_fail, bnf_is_null, bnf_is_null_buffer, bnf_sink, bnf_sink_end, bnf_sink_nothing, bnf_sink_put, bnf_sink_str, bnf_sink_to)
from bitnet_ffi._core.bnf_calls cimport (
    bnf_gguf_main_type, bnf_gguf_str, bnf_meta_count, bnf_meta_key, bnf_meta_value, bnf_meta_value_of, bnf_model_load,
    bnf_model_release)
from bitnet_ffi._core.bnf_ops cimport bnf_type_name
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_model_params, llama_rope_type_t, llama_token, BITNET_ERROR, GGML_TYPE_F32, GGML_TYPE_I2_S, GGML_TYPE_TQ1_0,
    GGML_TYPE_TQ2_0, LLAMA_LAZY_MODE_AUTO, LLAMA_LOAD_MODE_AUTO, LLAMA_ROPE_TYPE_NEOX, LLAMA_ROPE_TYPE_NONE, LLAMA_ROPE_TYPE_NORM,
    LLAMA_SPLIT_MODE_LAYER, LLAMA_TOKEN_NULL)
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_source, bnf_str, llama_model

# ---- load and free ----

cdef public llama_model_params llama_model_default_params() noexcept nogil:
    cdef llama_model_params params
    memset(&params, 0, sizeof(params))
    params.n_gpu_layers = -1
    params.split_mode = LLAMA_SPLIT_MODE_LAYER
    params.load_mode = LLAMA_LOAD_MODE_AUTO
    params.lazy_mode = LLAMA_LAZY_MODE_AUTO
    params.use_extra_bufts = True
    return params

cdef llama_model *load(const bnf_source *source, const llama_model_params *params) noexcept nogil:
    cdef llama_model *model = NULL
    bnf_model_load(source, params, &model)
    return model

cdef public llama_model *llama_model_load_from_file(const char *path_model, llama_model_params params) noexcept nogil:
    cdef bnf_source source
    memset(&source, 0, sizeof(source))
    source.path = path_model
    return load(&source, &params)

cdef public llama_model *llama_model_load_from_file_ptr(FILE *file, llama_model_params params) noexcept nogil:
    cdef bnf_source source
    if file == NULL:
        bnf_fail(BITNET_ERROR, "llama_model_load_from_file_ptr: file is NULL")
        return NULL
    memset(&source, 0, sizeof(source))
    source.stream = file
    return load(&source, &params)

cdef public llama_model *llama_model_load_from_splits(const char **paths, size_t n_paths, llama_model_params params) noexcept nogil:
    cdef bnf_source source
    cdef size_t i
    if paths == NULL or n_paths == 0:
        bnf_fail(BITNET_ERROR, "llama_model_load_from_splits: no paths")
        return NULL
    for i in range(n_paths):
        if paths[i] == NULL:
            bnf_fail(BITNET_ERROR, "llama_model_load_from_splits: path %zu of %zu is NULL", i + 1, n_paths)
            return NULL
    memset(&source, 0, sizeof(source))
    source.paths = paths
    source.n_paths = n_paths
    return load(&source, &params)

cdef public llama_model *llama_load_model_from_file(const char *path_model, llama_model_params params) noexcept nogil:
    return llama_model_load_from_file(path_model, params)

cdef public void llama_model_free(llama_model *model) noexcept nogil:
    bnf_model_release(model)

cdef public void llama_free_model(llama_model *model) noexcept nogil:
    bnf_model_release(model)

# ---- sizes ----

# The vocabulary and its model are one object here: see llama_vocab in the header.
cdef public const llama_model *llama_model_get_vocab(const llama_model *model) noexcept nogil:
    if bnf_is_null(model, "llama_model_get_vocab", "model"):
        return NULL
    return model

cdef public int32_t llama_model_n_ctx_train(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_n_ctx_train", "model") else model.hp.n_ctx_train

cdef public int32_t llama_model_n_embd(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_n_embd", "model") else model.hp.n_embd

cdef public int32_t llama_model_n_layer(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_n_layer", "model") else model.hp.n_layer

cdef public int32_t llama_model_n_head(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_n_head", "model") else model.hp.n_head

cdef public int32_t llama_model_n_head_kv(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_n_head_kv", "model") else model.hp.n_head_kv

cdef public int32_t llama_n_ctx_train(const llama_model *model) noexcept nogil:
    return llama_model_n_ctx_train(model)

cdef public int32_t llama_n_embd(const llama_model *model) noexcept nogil:
    return llama_model_n_embd(model)

cdef public llama_rope_type_t llama_model_rope_type(const llama_model *model) noexcept nogil:
    if bnf_is_null(model, "llama_model_rope_type", "model") or model.vocab_only:
        return LLAMA_ROPE_TYPE_NONE
    return LLAMA_ROPE_TYPE_NEOX if model.hp.rope_neox else LLAMA_ROPE_TYPE_NORM

cdef public float llama_model_rope_freq_scale_train(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_rope_freq_scale_train", "model") else model.hp.rope_scale

cdef public uint64_t llama_model_size(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_size", "model") else model.n_bytes

cdef public uint64_t llama_model_n_params(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_n_params", "model") else model.n_params

# Every architecture here is a decoder with causal attention.

cdef public bool llama_model_has_encoder(const llama_model *model) noexcept nogil:
    bnf_is_null(model, "llama_model_has_encoder", "model")
    return False

cdef public llama_token llama_model_decoder_start_token(const llama_model *model) noexcept nogil:
    bnf_is_null(model, "llama_model_decoder_start_token", "model")
    return LLAMA_TOKEN_NULL

cdef public bool llama_model_is_recurrent(const llama_model *model) noexcept nogil:
    bnf_is_null(model, "llama_model_is_recurrent", "model")
    return False

cdef public bool llama_model_is_hybrid(const llama_model *model) noexcept nogil:
    bnf_is_null(model, "llama_model_is_hybrid", "model")
    return False

# ---- metadata: the file's own keys ----

cdef const bnf_gguf *gguf_of(const llama_model *model, const char *function) noexcept nogil:
    return NULL if bnf_is_null(model, function, "model") else model.gguf

cdef public int32_t llama_model_meta_count(const llama_model *model) noexcept nogil:
    return bnf_meta_count(gguf_of(model, "llama_model_meta_count"))

cdef public int32_t llama_model_meta_key_by_index(const llama_model *model, int32_t i, char *buf, size_t buf_size) noexcept nogil:
    cdef const char *function = "llama_model_meta_key_by_index"
    return bnf_meta_key(gguf_of(model, function), i, buf, buf_size, function)

cdef public int32_t llama_model_meta_val_str_by_index(const llama_model *model, int32_t i, char *buf, size_t buf_size) noexcept nogil:
    cdef const char *function = "llama_model_meta_val_str_by_index"
    return bnf_meta_value(gguf_of(model, function), i, buf, buf_size, function)

# By name arrays can be had too, as "[a, b, ...]".
cdef public int32_t llama_model_meta_val_str(const llama_model *model, const char *key, char *buf, size_t buf_size) noexcept nogil:
    cdef const char *function = "llama_model_meta_val_str"
    return bnf_meta_value_of(gguf_of(model, function), key, True, buf, buf_size, function)

# name NULL or "": the default one. NULL when the file has no such template: no error.
cdef public const char *llama_model_chat_template(const llama_model *model, const char *name) noexcept nogil:
    cdef const char *wanted = ""
    cdef int32_t i
    if bnf_is_null(model, "llama_model_chat_template", "model"):
        return NULL
    if name != NULL:
        wanted = name
    for i in range(model.n_templates):
        if strcmp(model.templates[i].name, wanted) == 0:
            return model.templates[i].text
    return NULL

# ---- "bitnet-b1.58 2.4B I2_S - 2 bpw ternary": architecture, size, type of most weights ----

cdef void put_size(bnf_sink *sink, uint64_t n_params) noexcept nogil:
    cdef char text[32]
    cdef unsigned long long tenths # of a billion
    if n_params < 1000000:
        snprintf(text, sizeof(text), "%lluK", <unsigned long long>((n_params + 500) // 1000))
    elif n_params < 1000000000:
        snprintf(text, sizeof(text), "%lluM", <unsigned long long>((n_params + 500000) // 1000000))
    else:
        tenths = <unsigned long long>((n_params + 50000000) // 100000000)
        if tenths % 10 == 0 or tenths >= 100:
            snprintf(text, sizeof(text), "%lluB", (tenths + 5) // 10)
        else:
            snprintf(text, sizeof(text), "%llu.%lluB", tenths // 10, tenths % 10)
    bnf_sink_str(sink, text)

cdef void put_type(bnf_sink *sink, int32_t type) noexcept nogil:
    cdef const char *name = bnf_type_name(type)
    cdef char upper
    if type == GGML_TYPE_F32:
        bnf_sink_str(sink, "all ")
    while name[0] != 0:
        upper = name[0] - 32 if name[0] >= c'a' and name[0] <= c'z' else name[0]
        bnf_sink_put(sink, &upper, 1)
        name += 1
    if type == GGML_TYPE_I2_S:
        bnf_sink_str(sink, " - 2 bpw ternary")
    elif type == GGML_TYPE_TQ1_0:
        bnf_sink_str(sink, " - 1.69 bpw ternary")
    elif type == GGML_TYPE_TQ2_0:
        bnf_sink_str(sink, " - 2.06 bpw ternary")

cdef public int32_t llama_model_desc(const llama_model *model, char *buf, size_t buf_size) noexcept nogil:
    cdef bnf_sink sink = bnf_sink_to(buf, buf_size)
    cdef bnf_str arch
    cdef int32_t type
    if bnf_is_null(model, "llama_model_desc", "model") or bnf_is_null_buffer(buf, buf_size, "llama_model_desc"):
        return bnf_sink_nothing(buf, buf_size)
    if bnf_gguf_str(model.gguf, "general.architecture", &arch) == 1:
        bnf_sink_put(&sink, arch.data, arch.len)
    type = -1 if model.vocab_only else bnf_gguf_main_type(model.gguf)
    bnf_sink_str(&sink, " ")
    if type < 0:
        bnf_sink_str(&sink, "vocabulary only")
    else:
        put_size(&sink, model.n_params)
        bnf_sink_str(&sink, " ")
        put_type(&sink, type)
    return bnf_sink_end(&sink)
