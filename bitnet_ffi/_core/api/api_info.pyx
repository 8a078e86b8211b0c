# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# What a model is, beyond its sizes: the type of its file, what its architecture has and has not, and words for the numbers
# of llama.h. NULL is safe everywhere, as in api_model.pyx. Next: csrc/bnf_names.c for the words.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memset, strcmp, strlen
from bitnet_ffi._core.bnf_base cimport (
    bnf_fail, bnf_flash_attn_name, bnf_ftype_name, bnf_ftype_of_type, bnf_is_null, bnf_load_mode_name, bnf_meta_key_name, bnf_sink,
    bnf_sink_end, bnf_sink_put, bnf_sink_str, bnf_sink_to)
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_u32
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_flash_attn_type_t, llama_ftype_t, llama_load_mode_t, llama_model_meta_key_t, llama_rope_type_t, BITNET_ERROR,
    BITNET_FTYPE_MOSTLY_I2_S, GGML_TYPE_I2_S, LLAMA_FTYPE_ALL_F32, LLAMA_FTYPE_GUESSED, LLAMA_LOAD_MODE_AUTO, LLAMA_LOAD_MODE_DIRECT_IO)
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_tensor, llama_model

cdef extern from "bitnet_ffi.h" nogil:
    int32_t llama_model_n_embd(const llama_model *model)
    int32_t llama_model_n_head(const llama_model *model)
    int32_t llama_model_n_layer(const llama_model *model)
    int32_t llama_model_n_ctx_train(const llama_model *model)
    int32_t llama_model_desc(const llama_model *model, char *buf, size_t buf_size)
    int32_t llama_vocab_n_tokens(const llama_model *vocab)
    llama_rope_type_t llama_model_rope_type(const llama_model *model)
    float llama_model_rope_freq_scale_train(const llama_model *model)

# ---- the type of the file ----

# The type that holds most weights of the body: 'blk.' tensors of two dimensions or more. -1 when there are none.
cdef public int32_t bnf_gguf_main_type(const bnf_gguf *gguf) noexcept nogil:
    cdef uint64_t n_by_type[512]
    cdef const bnf_tensor *t
    cdef int32_t best = -1
    cdef int64_t i
    memset(n_by_type, 0, sizeof(n_by_type))
    for i in range(gguf.n_tensors):
        t = &gguf.tensors[i]
        if t.n_dims < 2 or t.type < 0 or t.type >= 512 or (t.name.len > 4 and t.name.data[0] != c'b'):
            continue # norms, and the ends
        n_by_type[t.type] += <uint64_t>(t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3])
        if best < 0 or n_by_type[t.type] > n_by_type[best]:
            best = t.type
    return best

# The key is believed where it can be: bitnet.cpp's converters give its numbers other meanings, or write a tensor type there, so it
# is not asked of an I2_S file.
cdef public llama_ftype_t llama_model_ftype(const llama_model *model) noexcept nogil:
    cdef uint32_t said = 0
    cdef int32_t type
    cdef int guess
    if bnf_is_null(model, "llama_model_ftype", "model"):
        return LLAMA_FTYPE_ALL_F32
    type = bnf_gguf_main_type(model.gguf)
    if type == GGML_TYPE_I2_S:
        return BITNET_FTYPE_MOSTLY_I2_S
    if bnf_gguf_u32(model.gguf, "general.file_type", &said) == 1 and bnf_ftype_name(<int>(said & ~<uint32_t>LLAMA_FTYPE_GUESSED)) != NULL:
        return <llama_ftype_t>said
    guess = bnf_ftype_of_type(type)
    return <llama_ftype_t>(LLAMA_FTYPE_GUESSED | (guess if guess >= 0 else LLAMA_FTYPE_ALL_F32))

cdef public const char *llama_ftype_name(llama_ftype_t ftype) noexcept nogil:
    cdef const char *name = bnf_ftype_name(<int>ftype & ~LLAMA_FTYPE_GUESSED)
    if name == NULL:
        bnf_fail(BITNET_ERROR, "llama_ftype_name: %d is no type of file", <int>ftype)
        return "unknown, may not work"
    return name

# ---- what these architectures have, and have not ----

cdef public int32_t llama_model_n_embd_inp(const llama_model *model) noexcept nogil:
    return llama_model_n_embd(model)

cdef public int32_t llama_model_n_embd_out(const llama_model *model) noexcept nogil:
    return llama_model_n_embd(model)

cdef public int32_t llama_model_n_layer_nextn(const llama_model *model) noexcept nogil:
    bnf_is_null(model, "llama_model_n_layer_nextn", "model")
    return 0

cdef public int32_t llama_model_n_swa(const llama_model *model) noexcept nogil:
    bnf_is_null(model, "llama_model_n_swa", "model")
    return 0

# 1 also of a vocabulary alone.
cdef public uint32_t llama_model_n_cls_out(const llama_model *model) noexcept nogil:
    return 0 if bnf_is_null(model, "llama_model_n_cls_out", "model") else max(1, model.hp.n_cls_out)

cdef public const char *llama_model_cls_label(const llama_model *model, uint32_t i) noexcept nogil:
    if bnf_is_null(model, "llama_model_cls_label", "model"):
        return NULL
    return model.labels[i] if i < <uint32_t>model.n_labels else NULL

cdef public bool llama_model_has_decoder(const llama_model *model) noexcept nogil:
    return not bnf_is_null(model, "llama_model_has_decoder", "model")

cdef public bool llama_model_is_diffusion(const llama_model *model) noexcept nogil:
    bnf_is_null(model, "llama_model_is_diffusion", "model")
    return False

# ---- words ----

cdef public const char *llama_model_meta_key_str(llama_model_meta_key_t key) noexcept nogil:
    cdef const char *name = bnf_meta_key_name(<int>key)
    if name == NULL:
        bnf_fail(BITNET_ERROR, "llama_model_meta_key_str: %d is no key", <int>key)
    return name

cdef public const char *llama_load_mode_name(llama_load_mode_t load_mode) noexcept nogil:
    cdef const char *name = bnf_load_mode_name(<int>load_mode)
    if name == NULL:
        bnf_fail(BITNET_ERROR, "llama_load_mode_name: %d is no load mode", <int>load_mode)
    return name

cdef public llama_load_mode_t llama_load_mode_from_str(const char *text) noexcept nogil:
    cdef int mode
    if text == NULL:
        bnf_fail(BITNET_ERROR, "llama_load_mode_from_str: the text is NULL")
        return LLAMA_LOAD_MODE_AUTO
    for mode in range(LLAMA_LOAD_MODE_AUTO, LLAMA_LOAD_MODE_DIRECT_IO + 1):
        if strcmp(text, bnf_load_mode_name(mode)) == 0:
            return <llama_load_mode_t>mode
    bnf_fail(BITNET_ERROR, "load mode '%.40s': expected auto, none, mmap, mlock, mmap+mlock or dio", text)
    return LLAMA_LOAD_MODE_AUTO

cdef public const char *llama_flash_attn_type_name(llama_flash_attn_type_t flash_attn_type) noexcept nogil:
    cdef const char *name = bnf_flash_attn_name(<int>flash_attn_type)
    if name == NULL:
        bnf_fail(BITNET_ERROR, "llama_flash_attn_type_name: %d is no such type", <int>flash_attn_type)
    return name

# ---- names of the parts of a split model: llama.cpp's scheme ----

cdef enum:
    SUFFIX_SIZE = 40 # "-00001-of-00002.gguf", and room for ten digits each

cdef int split_suffix(char *out, int32_t split_no, int32_t split_count, const char *call) noexcept nogil:
    if split_no < 0 or split_no >= split_count:
        bnf_fail(BITNET_ERROR, "%s: part %d of %d", call, split_no, split_count)
        return 0
    return snprintf(out, SUFFIX_SIZE, "-%05d-of-%05d.gguf", split_no + 1, split_count)

cdef public int32_t llama_split_path(char *split_path, size_t maxlen, const char *path_prefix, int32_t split_no,
                                     int32_t split_count) noexcept nogil:
    cdef char suffix[SUFFIX_SIZE]
    cdef bnf_sink sink
    cdef int32_t n
    if path_prefix == NULL or (split_path == NULL and maxlen > 0):
        bnf_fail(BITNET_ERROR, "llama_split_path: a path is NULL")
        return 0
    if split_suffix(suffix, split_no, split_count, "llama_split_path") == 0:
        return 0
    sink = bnf_sink_to(split_path, maxlen)
    bnf_sink_str(&sink, path_prefix)
    bnf_sink_str(&sink, suffix)
    n = bnf_sink_end(&sink)
    if <size_t>n >= maxlen:      # as in llama.cpp of 2026: a client that looks for 0 must not open a part of a name
        bnf_fail(BITNET_ERROR, "llama_split_path: %zu bytes, the path and its NUL take %d", maxlen, n + 1)
        return 0
    return n

cdef public int32_t llama_split_prefix(char *split_prefix, size_t maxlen, const char *split_path, int32_t split_no,
                                       int32_t split_count) noexcept nogil:
    cdef char suffix[SUFFIX_SIZE]
    cdef bnf_sink sink
    cdef size_t len, n
    if split_path == NULL or (split_prefix == NULL and maxlen > 0):
        bnf_fail(BITNET_ERROR, "llama_split_prefix: a path is NULL")
        return 0
    n = <size_t>split_suffix(suffix, split_no, split_count, "llama_split_prefix")
    len = strlen(split_path)
    if n == 0 or len <= n or strcmp(split_path + (len - n), suffix) != 0:
        return 0
    sink = bnf_sink_to(split_prefix, maxlen)
    bnf_sink_put(&sink, split_path, len - n)
    return bnf_sink_end(&sink)

# ---- the same by older names ----

cdef public int32_t llama_n_layer(const llama_model *model) noexcept nogil:
    return llama_model_n_layer(model)

cdef public int32_t llama_n_head(const llama_model *model) noexcept nogil:
    return llama_model_n_head(model)

cdef public llama_rope_type_t llama_rope_type(const llama_model *model) noexcept nogil:
    return llama_model_rope_type(model)

cdef public float llama_rope_freq_scale_train(const llama_model *model) noexcept nogil:
    return llama_model_rope_freq_scale_train(model)

cdef public int llama_model_n_ctx(const llama_model *model) noexcept nogil:
    return llama_model_n_ctx_train(model)

cdef public int llama_model_n_vocab(const llama_model *model) noexcept nogil:
    return llama_vocab_n_tokens(model)

cdef public int llama_model_type(const llama_model *model, char *buf, size_t buf_size) noexcept nogil:
    return llama_model_desc(model, buf, buf_size)
