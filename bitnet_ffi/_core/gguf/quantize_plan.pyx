# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Which type each tensor of a model gets when the model is quantized: llama.cpp's rules where its types can be written here,
# and bitnet.cpp's for I2_S (the ends stay floats). What cannot be honoured is refused before anything is written.
# Next: gguf_write.pyx writes it; csrc/bnf_quantize_blocks.h lists the types.

from libc.stdint cimport int32_t, int64_t
from libc.string cimport memcmp, strlen
from bitnet_ffi._core.bnf_base cimport bnf_fail, bnf_log, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_tensor
from bitnet_ffi._core.bnf_ops cimport bnf_tensor_size, bnf_type_name, bnf_type_traits
from bitnet_ffi._core.bnf_public cimport (
    BITNET_ERROR, BITNET_ERROR_MODEL, BITNET_FTYPE_MOSTLY_I2_S, GGML_LOG_LEVEL_WARN, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32,
    GGML_TYPE_I2_S, GGML_TYPE_Q6_K, GGML_TYPE_Q8_0, GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0)
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_str, bnf_tensor
from bitnet_ffi._core.bnf_write cimport bnf_can_quantize, llama_model_quantize_params, GGML_TYPE_COUNT

cdef extern from "bnf_names.h" nogil:
    const char *bnf_ftype_name(int ftype)
    int bnf_ftype_of_type(int32_t type)

cdef extern from "bnf_write.h":
    pass

cdef bint is_name(bnf_str s, const char *text) noexcept nogil:
    return s.len == strlen(text) and memcmp(s.data, text, <size_t>s.len) == 0

cdef bint ends_with(bnf_str s, const char *text) noexcept nogil:
    cdef size_t n = strlen(text)
    return s.len >= n and memcmp(s.data + (s.len - n), text, n) == 0

cdef bint is_float(int32_t type) noexcept nogil:
    return type == GGML_TYPE_F32 or type == GGML_TYPE_F16 or type == GGML_TYPE_BF16

cdef bint is_ternary(int32_t type) noexcept nogil:
    return bnf_type_traits(type) != NULL and bnf_type_traits(type).ternary

cdef const char *or_unknown(const char *name) noexcept nogil:
    if name == NULL:
        return "unknown"
    return name

# The type that a type of file is named for; -1 + sentence: it cannot be written.
cdef int32_t default_type(int ftype) noexcept nogil:
    cdef int32_t type
    for type in range(<int32_t>GGML_TYPE_COUNT):
        if bnf_ftype_of_type(type) == ftype and bnf_can_quantize(type):
            return type
    bnf_fail(BITNET_ERROR, "file type %d (%s): what can be written is F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q6_K, and TQ1_0, "
             "TQ2_0 and I2_S (%d) from ternary weights", ftype, or_unknown(bnf_ftype_name(ftype)), <int>BITNET_FTYPE_MOSTLY_I2_S)
    return -1

cdef int check_type(int32_t type, const char *what) noexcept nogil:
    if type == GGML_TYPE_COUNT or bnf_can_quantize(type):
        return 0
    return bnf_fail(BITNET_ERROR, "%s is %d (%s), which cannot be written", what, type, or_unknown(bnf_type_name(type)))

cdef int check_params(const llama_model_quantize_params *p) noexcept nogil:
    cdef int code = check_type(<int32_t>p.output_tensor_type, "output_tensor_type")
    if code == 0:
        code = check_type(<int32_t>p.token_embedding_type, "token_embedding_type")
    if code == 0 and p.imatrix != NULL:
        code = bnf_fail(BITNET_ERROR, "imatrix: importance matrices are not supported")
    if code == 0 and p.tt_overrides != NULL:
        code = bnf_fail(BITNET_ERROR, "tt_overrides: types by pattern are not supported")
    if code == 0 and p.prune_layers != NULL:
        code = bnf_fail(BITNET_ERROR, "prune_layers: leaving out layers is not supported")
    if code == 0 and p.keep_split:
        code = bnf_fail(BITNET_ERROR, "keep_split: a model is written as one file")
    return code

# Matrices of weights are converted; norms, biases and scales stay.
cdef bint is_converted(const bnf_tensor *t, const llama_model_quantize_params *p) noexcept nogil:
    if not ends_with(t.name, "weight") or ends_with(t.name, "_norm.weight") or t.ne[1] * t.ne[2] * t.ne[3] == 1:
        return False
    return p.quantize_output_tensor or not is_name(t.name, "output.weight")

# The ends of the model, which want more bits than its layers.
cdef int32_t type_of_end(const bnf_tensor *t, const llama_model_quantize_params *p, int32_t type, bint is_head) noexcept nogil:
    cdef bint is_embedding = is_name(t.name, "token_embd.weight")
    if is_embedding and p.token_embedding_type != GGML_TYPE_COUNT:
        return <int32_t>p.token_embedding_type
    if is_head and p.output_tensor_type != GGML_TYPE_COUNT:
        return <int32_t>p.output_tensor_type
    if p.pure or is_float(type):
        return type
    if type == GGML_TYPE_I2_S:
        return GGML_TYPE_F16 if is_float(t.type) else t.type
    if is_head or type == GGML_TYPE_TQ1_0 or type == GGML_TYPE_TQ2_0:
        return type if type == GGML_TYPE_Q8_0 else GGML_TYPE_Q6_K
    return type

# A type whose blocks the rows do not fill gives way to one that they do.
cdef int32_t that_fits(const bnf_tensor *t, int32_t type) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef int64_t n_rows = t.ne[1] * t.ne[2] * t.ne[3]
    cdef int32_t other
    if bnf_tensor_size(type, t.ne[0], n_rows) != 0:
        return type
    other = GGML_TYPE_Q8_0 if type == GGML_TYPE_Q6_K and t.ne[0] % 32 == 0 else GGML_TYPE_F16
    bnf_log(GGML_LOG_LEVEL_WARN, "tensor '%s': %lld columns do not fill the blocks of %s; it becomes %s\n",
            bnf_show(t.name.data, t.name.len, shown), <long long>t.ne[0], bnf_type_name(type), bnf_type_name(other))
    return other

cdef int plan_tensor(const bnf_gguf *gguf, const bnf_tensor *t, const llama_model_quantize_params *p, int32_t type,
                     int32_t *out) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef bint is_head = is_name(t.name, "output.weight")
    out[0] = t.type
    if not is_converted(t, p):
        return 0
    bnf_show(t.name.data, t.name.len, shown)
    if is_name(t.name, "token_embd.weight"):
        is_head = bnf_gguf_tensor(gguf, "output.weight") == NULL
        type = type_of_end(t, p, type, is_head)
    elif is_head:
        type = type_of_end(t, p, type, True)
    type = that_fits(t, type)
    if type == t.type:
        return 0
    if bnf_type_traits(t.type) == NULL:
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' is of type %s, which cannot be read", shown, bnf_type_name(t.type))
    if not is_float(t.type) and not is_ternary(t.type) and not p.allow_requantize:
        return bnf_fail(BITNET_ERROR, "tensor '%s' is %s already; allow_requantize says that losing more is wanted", shown,
                        bnf_type_name(t.type))
    out[0] = type
    return 0

cdef public int bnf_quantize_plan(const bnf_gguf *gguf, const llama_model_quantize_params *params, int32_t *types) noexcept nogil:
    cdef int64_t i
    cdef int32_t type
    cdef int code = check_params(params)
    for i in range(gguf.n_tensors):
        types[i] = gguf.tensors[i].type
    if code != 0 or params.only_copy:
        return code
    type = default_type(<int>params.ftype)
    if type < 0:
        return BITNET_ERROR
    for i in range(gguf.n_tensors):
        if code == 0:
            code = plan_tensor(gguf, &gguf.tensors[i], params, type, &types[i])
    return code
