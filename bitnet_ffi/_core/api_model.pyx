# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The header's "Model" section: load and free, sizes, metadata, description, chat templates.
# NULL is safe everywhere: 0, NULL or -1 comes back and the last error says which call it was.
# Next: load.pyx does the work; include/bitnet_ffi.h is the manual.

from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdio cimport FILE, snprintf
from libc.string cimport memset, strcmp, strlen
from bitnet_ffi._core.bnf cimport (
    bool, BITNET_ERROR, LLAMA_SPLIT_MODE_LAYER, LLAMA_LOAD_MODE_AUTO, LLAMA_LAZY_MODE_AUTO, LLAMA_ROPE_TYPE_NONE, LLAMA_ROPE_TYPE_NORM,
    LLAMA_ROPE_TYPE_NEOX, LLAMA_TOKEN_NULL, GGML_TYPE_F32, GGML_TYPE_I2_S, GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0,
    BNF_GGUF_ARRAY,
    llama_model, llama_model_params, llama_token, llama_rope_type_t, bnf_gguf, bnf_gguf_kv, bnf_source, bnf_str, bnf_tensor, bnf_sink,
    BNF_SHOWN_SIZE, bnf_fail, bnf_show, bnf_type_name, bnf_sink_put, bnf_sink_str, bnf_sink_end,
    bnf_gguf_find, bnf_gguf_format, bnf_gguf_main_type, bnf_gguf_str, bnf_model_load, bnf_model_release)

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

cdef bint is_null(const llama_model *model, const char *call) noexcept nogil:
    if model != NULL:
        return False
    bnf_fail(BITNET_ERROR, "%s: model is NULL", call)
    return True

# The vocabulary and its model are one object here: see llama_vocab in the header.
cdef public const llama_model *llama_model_get_vocab(const llama_model *model) noexcept nogil:
    if is_null(model, "llama_model_get_vocab"):
        return NULL
    return model

cdef public int32_t llama_model_n_ctx_train(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_n_ctx_train") else model.hp.n_ctx_train

cdef public int32_t llama_model_n_embd(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_n_embd") else model.hp.n_embd

cdef public int32_t llama_model_n_layer(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_n_layer") else model.hp.n_layer

cdef public int32_t llama_model_n_head(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_n_head") else model.hp.n_head

cdef public int32_t llama_model_n_head_kv(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_n_head_kv") else model.hp.n_head_kv

cdef public int32_t llama_n_ctx_train(const llama_model *model) noexcept nogil:
    return llama_model_n_ctx_train(model)

cdef public int32_t llama_n_embd(const llama_model *model) noexcept nogil:
    return llama_model_n_embd(model)

cdef public llama_rope_type_t llama_model_rope_type(const llama_model *model) noexcept nogil:
    if is_null(model, "llama_model_rope_type") or model.vocab_only:
        return LLAMA_ROPE_TYPE_NONE
    return LLAMA_ROPE_TYPE_NEOX if model.hp.rope_neox else LLAMA_ROPE_TYPE_NORM

cdef public float llama_model_rope_freq_scale_train(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_rope_freq_scale_train") else model.hp.rope_scale

cdef public uint64_t llama_model_size(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_size") else model.n_bytes

cdef public uint64_t llama_model_n_params(const llama_model *model) noexcept nogil:
    return 0 if is_null(model, "llama_model_n_params") else model.n_params

# Every architecture here is a decoder with causal attention.

cdef public bool llama_model_has_encoder(const llama_model *model) noexcept nogil:
    is_null(model, "llama_model_has_encoder")
    return False

cdef public llama_token llama_model_decoder_start_token(const llama_model *model) noexcept nogil:
    is_null(model, "llama_model_decoder_start_token")
    return LLAMA_TOKEN_NULL

cdef public bool llama_model_is_recurrent(const llama_model *model) noexcept nogil:
    is_null(model, "llama_model_is_recurrent")
    return False

cdef public bool llama_model_is_hybrid(const llama_model *model) noexcept nogil:
    is_null(model, "llama_model_is_hybrid")
    return False

# ---- metadata: the file's own keys, arrays left out as llama.cpp leaves them out ----

cdef int32_t write_nothing(char *buf, size_t buf_size) noexcept nogil:
    if buf != NULL and buf_size > 0:
        buf[0] = 0
    return -1

cdef bint is_bad_buffer(const char *buf, size_t buf_size, const char *call) noexcept nogil:
    if buf != NULL or buf_size == 0:
        return False
    bnf_fail(BITNET_ERROR, "%s: buf is NULL but buf_size is %zu", call, buf_size)
    return True

cdef const bnf_gguf_kv *scalar_at(const llama_model *model, int32_t i) noexcept nogil:
    cdef int64_t at
    cdef int32_t n = 0
    for at in range(model.gguf.n_kv):
        if model.gguf.kv[at].type == BNF_GGUF_ARRAY:
            continue
        if n == i:
            return &model.gguf.kv[at]
        n += 1
    bnf_fail(BITNET_ERROR, "metadata index is %d, expected 0 to %d", i, n - 1)
    return NULL

cdef public int32_t llama_model_meta_count(const llama_model *model) noexcept nogil:
    cdef int32_t n = 0
    cdef int64_t i
    if is_null(model, "llama_model_meta_count"):
        return 0
    for i in range(model.gguf.n_kv):
        n += model.gguf.kv[i].type != BNF_GGUF_ARRAY
    return n

cdef public int32_t llama_model_meta_key_by_index(const llama_model *model, int32_t i, char *buf, size_t buf_size) noexcept nogil:
    cdef const bnf_gguf_kv *kv
    cdef bnf_sink sink
    if is_null(model, "llama_model_meta_key_by_index") or is_bad_buffer(buf, buf_size, "llama_model_meta_key_by_index"):
        return write_nothing(buf, buf_size)
    kv = scalar_at(model, i)
    if kv == NULL:
        return write_nothing(buf, buf_size)
    sink.buf = buf
    sink.size = buf_size
    sink.len = 0
    bnf_sink_put(&sink, kv.key.data, kv.key.len)
    return bnf_sink_end(&sink)

cdef public int32_t llama_model_meta_val_str_by_index(const llama_model *model, int32_t i, char *buf, size_t buf_size) noexcept nogil:
    cdef const bnf_gguf_kv *kv
    if is_null(model, "llama_model_meta_val_str_by_index") or is_bad_buffer(buf, buf_size, "llama_model_meta_val_str_by_index"):
        return write_nothing(buf, buf_size)
    kv = scalar_at(model, i)
    return write_nothing(buf, buf_size) if kv == NULL else bnf_gguf_format(kv, buf, buf_size)

# By name arrays can be had too, as "[a, b, ...]".
cdef public int32_t llama_model_meta_val_str(const llama_model *model, const char *key, char *buf, size_t buf_size) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_gguf_kv *kv
    if is_null(model, "llama_model_meta_val_str") or is_bad_buffer(buf, buf_size, "llama_model_meta_val_str"):
        return write_nothing(buf, buf_size)
    if key == NULL:
        bnf_fail(BITNET_ERROR, "llama_model_meta_val_str: key is NULL")
        return write_nothing(buf, buf_size)
    kv = bnf_gguf_find(model.gguf, key)
    if kv != NULL:
        return bnf_gguf_format(kv, buf, buf_size)
    bnf_fail(BITNET_ERROR, "the model's metadata has no key '%s'", bnf_show(key, strlen(key), shown))
    return write_nothing(buf, buf_size)

# name NULL or "": the default one. NULL when the file has no such template: no error.
cdef public const char *llama_model_chat_template(const llama_model *model, const char *name) noexcept nogil:
    cdef const char *wanted = ""
    cdef int32_t i
    if is_null(model, "llama_model_chat_template"):
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
    cdef bnf_sink sink
    cdef bnf_str arch
    cdef int32_t type
    if is_null(model, "llama_model_desc") or is_bad_buffer(buf, buf_size, "llama_model_desc"):
        return write_nothing(buf, buf_size)
    sink.buf = buf
    sink.size = buf_size
    sink.len = 0
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
