# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The questions of gguf.h: keys, their values and what a file says of its tensors. A number out of range, a value of another type and a
# context that is none get a neutral answer and a sentence, where llama.cpp ends the process. Reading only; from any thread.
# Next: gguf_context.pyx, which makes what is asked here.

from libc.stddef cimport size_t
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail, bnf_is_null
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_find, bnf_gguf_tensor
from bitnet_ffi._core.bnf_ggml cimport (
    bnf_gguf_context_free, bnf_gguf_kind, bnf_tensor_bytes, bnf_tensor_describe, ggml_tensor, gguf_context)
from bitnet_ffi._core.bnf_gguf cimport bnf_gguf_type_name
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf, bnf_gguf_kv, bnf_tensor, BNF_GGUF_ARRAY, BNF_GGUF_BOOL, BNF_GGUF_F32, BNF_GGUF_F64, BNF_GGUF_I16, BNF_GGUF_I32, BNF_GGUF_I64,
    BNF_GGUF_I8, BNF_GGUF_STRING, BNF_GGUF_U16, BNF_GGUF_U32, BNF_GGUF_U64, BNF_GGUF_U8)
from bitnet_ffi._core.bnf_write cimport ggml_type, GGML_TYPE_COUNT

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef enum type_t "enum gguf_type":
        GGUF_TYPE_COUNT

cdef extern from "bnf_beside.h":      # the prototypes of what is defined here
    pass

# ---- what may be asked ----

cdef const bnf_gguf *file_of(const gguf_context *ctx, const char *function) noexcept nogil:
    if bnf_is_null(ctx, function, "ctx"):
        return NULL
    if ctx.kind != &bnf_gguf_kind:
        bnf_fail(BITNET_ERROR, "%s: ctx is not of gguf_init_from_file", function)
        return NULL
    return ctx.gguf

cdef const bnf_gguf_kv *key_at(const gguf_context *ctx, int64_t key_id, const char *function) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, function)
    if g == NULL:
        return NULL
    if key_id < 0 or key_id >= g.n_kv:
        bnf_fail(BITNET_ERROR, "%s: key_id is %lld, expected 0 to %lld", function, <long long>key_id, <long long>g.n_kv - 1)
        return NULL
    return &g.kv[key_id]

cdef const bnf_tensor *tensor_at(const gguf_context *ctx, int64_t tensor_id, const char *function) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, function)
    if g == NULL:
        return NULL
    if tensor_id < 0 or tensor_id >= g.n_tensors:
        bnf_fail(BITNET_ERROR, "%s: tensor_id is %lld, expected 0 to %lld", function, <long long>tensor_id, <long long>g.n_tensors - 1)
        return NULL
    return &g.tensors[tensor_id]

cdef const bnf_gguf_kv *array_at(const gguf_context *ctx, int64_t key_id, const char *function) noexcept nogil:
    cdef const bnf_gguf_kv *kv = key_at(ctx, key_id, function)
    if kv != NULL and kv.type != BNF_GGUF_ARRAY:
        bnf_fail(BITNET_ERROR, "%s: key '%s' is of type %s, expected an array", function, kv.key.data, bnf_gguf_type_name(kv.type))
        return NULL
    return kv

cdef const uint8_t *value_of(const gguf_context *ctx, int64_t key_id, int32_t type, const char *function) noexcept nogil:
    cdef const bnf_gguf_kv *kv = key_at(ctx, key_id, function)
    if kv != NULL and kv.type != type:
        bnf_fail(BITNET_ERROR, "%s: key '%s' is of type %s, expected %s", function, kv.key.data, bnf_gguf_type_name(kv.type),
                 bnf_gguf_type_name(type))
        return NULL
    return kv.value if kv != NULL else NULL

# ---- the file ----

cdef public uint32_t bnf_gguf_get_version(const gguf_context *ctx) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, "gguf_get_version")
    return g.version if g != NULL else 0

cdef public size_t bnf_gguf_get_alignment(const gguf_context *ctx) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, "gguf_get_alignment")
    return g.alignment if g != NULL else 0

cdef public size_t bnf_gguf_get_data_offset(const gguf_context *ctx) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, "gguf_get_data_offset")
    return <size_t>g.data_start if g != NULL else 0

cdef public void bnf_gguf_free(gguf_context *ctx) noexcept nogil:
    bnf_clear_error()
    if ctx != NULL and file_of(ctx, "gguf_free") != NULL:
        ctx.kind = NULL
        bnf_gguf_context_free(ctx)

# ---- keys ----

# As ggml calls them, which is not as our sentences do: "str", "arr".
cdef public const char *type_name "gguf_type_name"(type_t type) noexcept nogil:
    if <int32_t>type == BNF_GGUF_STRING:
        return "str"
    if <int32_t>type == BNF_GGUF_ARRAY:
        return "arr"
    if <int32_t>type < 0 or <int32_t>type >= <int32_t>GGUF_TYPE_COUNT:
        return NULL
    return bnf_gguf_type_name(<int32_t>type)

cdef public int64_t bnf_gguf_get_n_kv(const gguf_context *ctx) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, "gguf_get_n_kv")
    return g.n_kv if g != NULL else 0

cdef public int64_t bnf_gguf_find_key(const gguf_context *ctx, const char *key) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, "gguf_find_key")
    cdef const bnf_gguf_kv *kv = NULL
    if g != NULL and not bnf_is_null(key, "gguf_find_key", "key"):
        kv = bnf_gguf_find(g, key)
    return kv - g.kv if kv != NULL else -1

cdef public const char *bnf_gguf_get_key(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const bnf_gguf_kv *kv = key_at(ctx, key_id, "gguf_get_key")
    return kv.key.data if kv != NULL else NULL

cdef public type_t bnf_gguf_get_kv_type(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const bnf_gguf_kv *kv = key_at(ctx, key_id, "gguf_get_kv_type")
    return <type_t>kv.type if kv != NULL else GGUF_TYPE_COUNT

cdef public type_t bnf_gguf_get_arr_type(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const bnf_gguf_kv *kv = array_at(ctx, key_id, "gguf_get_arr_type")
    return <type_t>kv.elem_type if kv != NULL else GGUF_TYPE_COUNT

# ---- values ----

cdef public uint8_t bnf_gguf_get_val_u8(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const uint8_t *value = <const uint8_t *>value_of(ctx, key_id, BNF_GGUF_U8, "gguf_get_val_u8")
    return value[0] if value != NULL else 0

cdef public int8_t bnf_gguf_get_val_i8(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const int8_t *value = <const int8_t *>value_of(ctx, key_id, BNF_GGUF_I8, "gguf_get_val_i8")
    return value[0] if value != NULL else 0

cdef public uint16_t bnf_gguf_get_val_u16(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const uint16_t *value = <const uint16_t *>value_of(ctx, key_id, BNF_GGUF_U16, "gguf_get_val_u16")
    return value[0] if value != NULL else 0

cdef public int16_t bnf_gguf_get_val_i16(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const int16_t *value = <const int16_t *>value_of(ctx, key_id, BNF_GGUF_I16, "gguf_get_val_i16")
    return value[0] if value != NULL else 0

cdef public uint32_t bnf_gguf_get_val_u32(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const uint32_t *value = <const uint32_t *>value_of(ctx, key_id, BNF_GGUF_U32, "gguf_get_val_u32")
    return value[0] if value != NULL else 0

cdef public int32_t bnf_gguf_get_val_i32(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const int32_t *value = <const int32_t *>value_of(ctx, key_id, BNF_GGUF_I32, "gguf_get_val_i32")
    return value[0] if value != NULL else 0

cdef public float bnf_gguf_get_val_f32(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const float *value = <const float *>value_of(ctx, key_id, BNF_GGUF_F32, "gguf_get_val_f32")
    return value[0] if value != NULL else 0

cdef public uint64_t bnf_gguf_get_val_u64(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const uint64_t *value = <const uint64_t *>value_of(ctx, key_id, BNF_GGUF_U64, "gguf_get_val_u64")
    return value[0] if value != NULL else 0

cdef public int64_t bnf_gguf_get_val_i64(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const int64_t *value = <const int64_t *>value_of(ctx, key_id, BNF_GGUF_I64, "gguf_get_val_i64")
    return value[0] if value != NULL else 0

cdef public double bnf_gguf_get_val_f64(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const double *value = <const double *>value_of(ctx, key_id, BNF_GGUF_F64, "gguf_get_val_f64")
    return value[0] if value != NULL else 0

cdef public bool bnf_gguf_get_val_bool(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const uint8_t *value = value_of(ctx, key_id, BNF_GGUF_BOOL, "gguf_get_val_bool")
    return value != NULL and value[0] != 0

# Behind its length.
cdef public const char *bnf_gguf_get_val_str(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const uint8_t *value = value_of(ctx, key_id, BNF_GGUF_STRING, "gguf_get_val_str")
    return <const char *>value + sizeof(uint64_t) if value != NULL else NULL

cdef public const void *bnf_gguf_get_val_data(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const bnf_gguf_kv *kv = key_at(ctx, key_id, "gguf_get_val_data")
    if kv != NULL and (kv.type == BNF_GGUF_STRING or kv.type == BNF_GGUF_ARRAY):
        bnf_fail(BITNET_ERROR, "gguf_get_val_data: key '%s' is of type %s, expected a number", kv.key.data, bnf_gguf_type_name(kv.type))
        return NULL
    return kv.value if kv != NULL else NULL

# ---- arrays ----

cdef public size_t bnf_gguf_get_arr_n(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const bnf_gguf_kv *kv = key_at(ctx, key_id, "gguf_get_arr_n")
    return <size_t>kv.count if kv != NULL else 0

cdef public const void *bnf_gguf_get_arr_data(const gguf_context *ctx, int64_t key_id) noexcept nogil:
    cdef const bnf_gguf_kv *kv = array_at(ctx, key_id, "gguf_get_arr_data")
    if kv != NULL and kv.elem_type == BNF_GGUF_STRING:
        bnf_fail(BITNET_ERROR, "gguf_get_arr_data: key '%s' is an array of strings, expected numbers (gguf_get_arr_str)", kv.key.data)
        return NULL
    return kv.value if kv != NULL else NULL

cdef public const char *bnf_gguf_get_arr_str(const gguf_context *ctx, int64_t key_id, size_t i) noexcept nogil:
    cdef const bnf_gguf_kv *kv = array_at(ctx, key_id, "gguf_get_arr_str")
    if kv == NULL:
        return NULL
    if kv.elem_type != BNF_GGUF_STRING:
        bnf_fail(BITNET_ERROR, "gguf_get_arr_str: key '%s' is an array of %s, expected strings", kv.key.data,
                 bnf_gguf_type_name(kv.elem_type))
        return NULL
    if i >= kv.count:
        bnf_fail(BITNET_ERROR, "gguf_get_arr_str: i is %zu, but key '%s' has %llu strings", i, kv.key.data, <unsigned long long>kv.count)
        return NULL
    return (<const char **>kv.value)[i]

# ---- tensors ----

cdef public int64_t bnf_gguf_get_n_tensors(const gguf_context *ctx) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, "gguf_get_n_tensors")
    return g.n_tensors if g != NULL else 0

cdef public int64_t bnf_gguf_find_tensor(const gguf_context *ctx, const char *name) noexcept nogil:
    cdef const bnf_gguf *g = file_of(ctx, "gguf_find_tensor")
    cdef const bnf_tensor *t = NULL
    if g != NULL and not bnf_is_null(name, "gguf_find_tensor", "name"):
        t = bnf_gguf_tensor(g, name)
    return t - g.tensors if t != NULL else -1

cdef public size_t bnf_gguf_get_tensor_offset(const gguf_context *ctx, int64_t tensor_id) noexcept nogil:
    return <size_t>ctx.offsets[tensor_id] if tensor_at(ctx, tensor_id, "gguf_get_tensor_offset") != NULL else 0

cdef public const char *bnf_gguf_get_tensor_name(const gguf_context *ctx, int64_t tensor_id) noexcept nogil:
    cdef const bnf_tensor *t = tensor_at(ctx, tensor_id, "gguf_get_tensor_name")
    return t.name.data if t != NULL else NULL

cdef public const int64_t *bnf_gguf_get_tensor_ne(const gguf_context *ctx, int64_t tensor_id) noexcept nogil:
    cdef const bnf_tensor *t = tensor_at(ctx, tensor_id, "gguf_get_tensor_ne")
    return <const int64_t *>t.ne if t != NULL else NULL

cdef public ggml_type bnf_gguf_get_tensor_type(const gguf_context *ctx, int64_t tensor_id) noexcept nogil:
    cdef const bnf_tensor *t = tensor_at(ctx, tensor_id, "gguf_get_tensor_type")
    return <ggml_type>t.type if t != NULL else GGML_TYPE_COUNT

# Of types with unknown blocks what lies up to the next tensor; of others ggml_nbytes.
cdef public size_t bnf_gguf_get_tensor_size(const gguf_context *ctx, int64_t tensor_id) noexcept nogil:
    cdef const bnf_tensor *t = tensor_at(ctx, tensor_id, "gguf_get_tensor_size")
    cdef ggml_tensor made
    cdef size_t size
    if t == NULL:
        return 0
    bnf_tensor_describe(&made, t.type, t.ne, NULL, "", 0)
    size = bnf_tensor_bytes(&made)
    return size if size != 0 else <size_t>t.size
