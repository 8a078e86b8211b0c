# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Typed getters over an open container, a client's overrides first, and values as text.
# Every bound was checked when the container was opened (gguf_part.pyx); here only types and ranges can be wrong.
# Next: csrc/bnf_calls.h for what each function promises.

from libc.stdint cimport (
    uint8_t, int8_t, uint16_t, int16_t, uint32_t, int32_t, uint64_t, int64_t, UINT32_MAX, INT64_MAX)
from libc.string cimport memchr, memcpy, strncmp
from bitnet_ffi._core.bnf_base cimport (
    bnf_fail, bnf_sink, bnf_sink_end, bnf_sink_f64, bnf_sink_i64, bnf_sink_put, bnf_sink_str, bnf_sink_u64)
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_find
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_model_kv_override, BITNET_ERROR_MODEL, LLAMA_KV_OVERRIDE_TYPE_BOOL, LLAMA_KV_OVERRIDE_TYPE_FLOAT,
    LLAMA_KV_OVERRIDE_TYPE_INT, LLAMA_KV_OVERRIDE_TYPE_STR)
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf, bnf_gguf_kv, bnf_str, BNF_GGUF_ARRAY, BNF_GGUF_BOOL, BNF_GGUF_F32, BNF_GGUF_F64, BNF_GGUF_I16, BNF_GGUF_I32, BNF_GGUF_I64,
    BNF_GGUF_I8, BNF_GGUF_STRING, BNF_GGUF_U16, BNF_GGUF_U32, BNF_GGUF_U64, BNF_GGUF_U8)

cdef extern from "<string.h>" nogil:
    size_t strnlen(const char *text, size_t max_len)

cdef extern from "bnf_gguf.h": # so that the definitions below are checked against their prototypes
    pass

cdef public const char *bnf_gguf_type_name(int32_t type) noexcept nogil:
    if type == BNF_GGUF_U8: return "u8"
    if type == BNF_GGUF_I8: return "i8"
    if type == BNF_GGUF_U16: return "u16"
    if type == BNF_GGUF_I16: return "i16"
    if type == BNF_GGUF_U32: return "u32"
    if type == BNF_GGUF_I32: return "i32"
    if type == BNF_GGUF_F32: return "f32"
    if type == BNF_GGUF_BOOL: return "bool"
    if type == BNF_GGUF_STRING: return "string"
    if type == BNF_GGUF_ARRAY: return "array"
    if type == BNF_GGUF_U64: return "u64"
    if type == BNF_GGUF_I64: return "i64"
    if type == BNF_GGUF_F64: return "f64"
    return "unknown"

# ---- unaligned little-endian numbers; *at moves on ----

cdef uint64_t next_u64(const uint8_t **at) noexcept nogil:
    cdef uint64_t value = 0
    memcpy(&value, at[0], 8)
    at[0] += 8
    return value

cdef float next_f32(const uint8_t **at) noexcept nogil:
    cdef float value = 0
    memcpy(&value, at[0], 4)
    at[0] += 4
    return value

cdef double next_f64(const uint8_t **at) noexcept nogil:
    cdef double value = 0
    memcpy(&value, at[0], 8)
    at[0] += 8
    return value

# An integer type's next value; U64 comes back as the same 64 bits. Both sides of each choice are widened first: C would
# make the signed one unsigned.
cdef int64_t next_int(int32_t type, const uint8_t **at) noexcept nogil:
    cdef uint8_t u8
    cdef int16_t i16 = 0
    cdef uint16_t u16 = 0
    cdef int32_t i32 = 0
    cdef uint32_t u32 = 0
    if type == BNF_GGUF_U8 or type == BNF_GGUF_I8:
        u8 = at[0][0]
        at[0] += 1
        return <int64_t>u8 if type == BNF_GGUF_U8 else <int64_t><int8_t>u8
    if type == BNF_GGUF_U16 or type == BNF_GGUF_I16:
        memcpy(&u16, at[0], 2)
        memcpy(&i16, at[0], 2)
        at[0] += 2
        return <int64_t>u16 if type == BNF_GGUF_U16 else <int64_t>i16
    if type == BNF_GGUF_U32 or type == BNF_GGUF_I32:
        memcpy(&u32, at[0], 4)
        memcpy(&i32, at[0], 4)
        at[0] += 4
        return <int64_t>u32 if type == BNF_GGUF_U32 else <int64_t>i32
    return <int64_t>next_u64(at)

cdef bint is_int(int32_t type) noexcept nogil:
    return (BNF_GGUF_U8 <= type and type <= BNF_GGUF_I32) or type == BNF_GGUF_U64 or type == BNF_GGUF_I64

cdef public int bnf_gguf_int(const bnf_gguf_kv *kv, int64_t *out) noexcept nogil:
    cdef const uint8_t *at = kv.value
    if not is_int(kv.type):
        return 0
    out[0] = next_int(kv.type, &at)
    if kv.type == BNF_GGUF_U64 and out[0] < 0:
        out[0] = INT64_MAX
    return 1

cdef public bnf_str bnf_gguf_next_str(const uint8_t **cursor) noexcept nogil:
    cdef bnf_str s
    s.len = next_u64(cursor)
    s.data = <const char *>cursor[0]
    cursor[0] += s.len
    return s

# ---- overrides: a list that an empty key ends; keys and strings of at most 127 bytes, not trusted to end in NUL ----

cdef const llama_model_kv_override *override_of(const bnf_gguf *gguf, const char *key) noexcept nogil:
    cdef const llama_model_kv_override *o = gguf.overrides
    if o == NULL:
        return NULL
    while o.key[0] != 0:
        if strncmp(o.key, key, 128) == 0:
            return o
        o += 1
    return NULL

cdef const char *override_name(int tag) noexcept nogil:
    if tag == LLAMA_KV_OVERRIDE_TYPE_INT: return "int"
    if tag == LLAMA_KV_OVERRIDE_TYPE_FLOAT: return "float"
    if tag == LLAMA_KV_OVERRIDE_TYPE_BOOL: return "bool"
    if tag == LLAMA_KV_OVERRIDE_TYPE_STR: return "string"
    return "unknown"

cdef int fail_override(const llama_model_kv_override *o, const char *key, const char *expected) noexcept nogil:
    return bnf_fail(BITNET_ERROR_MODEL, "the override of key '%s' is of type %s, expected %s", key, override_name(<int>o.tag), expected)

cdef int fail_type(const bnf_gguf_kv *kv, const char *key, const char *expected) noexcept nogil:
    if kv.type == BNF_GGUF_ARRAY:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is an array of %llu %s, expected %s", key, <unsigned long long>kv.count,
                        bnf_gguf_type_name(kv.elem_type), expected)
    return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is of type %s, expected %s", key, bnf_gguf_type_name(kv.type), expected)

# ---- getters ----

cdef public int bnf_gguf_u32(const bnf_gguf *gguf, const char *key, uint32_t *out) noexcept nogil:
    cdef const llama_model_kv_override *o = override_of(gguf, key)
    cdef const bnf_gguf_kv *kv
    cdef int64_t value = 0
    if o != NULL:
        if o.tag != LLAMA_KV_OVERRIDE_TYPE_INT:
            return fail_override(o, key, "int")
        value = o.val_i64
    else:
        kv = bnf_gguf_find(gguf, key)
        if kv == NULL:
            return 0
        if not bnf_gguf_int(kv, &value):
            return fail_type(kv, key, "an integer")
    if value < 0 or value > UINT32_MAX:
        return bnf_fail(BITNET_ERROR_MODEL, "key '%s' is %lld, expected 0 to 4294967295", key, <long long>value)
    out[0] = <uint32_t>value
    return 1

cdef public int bnf_gguf_f32(const bnf_gguf *gguf, const char *key, float *out) noexcept nogil:
    cdef const llama_model_kv_override *o = override_of(gguf, key)
    cdef const bnf_gguf_kv *kv
    cdef const uint8_t *at
    if o != NULL:
        if o.tag != LLAMA_KV_OVERRIDE_TYPE_FLOAT:
            return fail_override(o, key, "float")
        out[0] = <float>o.val_f64
        return 1
    kv = bnf_gguf_find(gguf, key)
    if kv == NULL:
        return 0
    at = kv.value
    if kv.type == BNF_GGUF_F32:
        out[0] = next_f32(&at)
    elif kv.type == BNF_GGUF_F64:
        out[0] = <float>next_f64(&at)
    else:
        return fail_type(kv, key, "f32 or f64")
    return 1

cdef public int bnf_gguf_bool(const bnf_gguf *gguf, const char *key, bool *out) noexcept nogil:
    cdef const llama_model_kv_override *o = override_of(gguf, key)
    cdef const bnf_gguf_kv *kv
    if o != NULL:
        if o.tag != LLAMA_KV_OVERRIDE_TYPE_BOOL:
            return fail_override(o, key, "bool")
        out[0] = o.val_bool
        return 1
    kv = bnf_gguf_find(gguf, key)
    if kv == NULL:
        return 0
    if kv.type != BNF_GGUF_BOOL:
        return fail_type(kv, key, "bool")
    out[0] = kv.value[0] != 0
    return 1

cdef public int bnf_gguf_str(const bnf_gguf *gguf, const char *key, bnf_str *out) noexcept nogil:
    cdef const llama_model_kv_override *o = override_of(gguf, key)
    cdef const bnf_gguf_kv *kv
    cdef const uint8_t *at
    if o != NULL:
        if o.tag != LLAMA_KV_OVERRIDE_TYPE_STR:
            return fail_override(o, key, "string")
        out.data = <const char *>o.val_str
        out.len = strnlen(o.val_str, 128)
        return 1
    kv = bnf_gguf_find(gguf, key)
    if kv == NULL:
        return 0
    if kv.type != BNF_GGUF_STRING:
        return fail_type(kv, key, "a string")
    at = kv.value
    out[0] = bnf_gguf_next_str(&at)
    return 1

# ---- values as text ----

# Inside an array strings are quoted, with a backslash before quotes and backslashes.
cdef void put_quoted(bnf_sink *sink, bnf_str s) noexcept nogil:
    cdef uint64_t i
    bnf_sink_str(sink, "\"")
    for i in range(s.len):
        if s.data[i] == c'"' or s.data[i] == c'\\':
            bnf_sink_str(sink, "\\")
        bnf_sink_put(sink, s.data + i, 1)
    bnf_sink_str(sink, "\"")

cdef void put_number(bnf_sink *sink, int32_t type, const uint8_t **at) noexcept nogil:
    if type == BNF_GGUF_F32:
        bnf_sink_f64(sink, next_f32(at))
    elif type == BNF_GGUF_F64:
        bnf_sink_f64(sink, next_f64(at))
    elif type == BNF_GGUF_BOOL:
        bnf_sink_str(sink, "true" if at[0][0] != 0 else "false")
        at[0] += 1
    elif type == BNF_GGUF_U64:
        bnf_sink_u64(sink, next_u64(at))
    else:
        bnf_sink_i64(sink, next_int(type, at))

# A scalar string goes out as it is, up to its first NUL: the reader gets a C string.
cdef public int32_t bnf_gguf_format(const bnf_gguf_kv *kv, char *buf, size_t size) noexcept nogil:
    cdef bnf_sink sink
    cdef const uint8_t *at = kv.value
    cdef const void *nul
    cdef bnf_str s
    cdef uint64_t i
    sink.buf = buf
    sink.size = size
    sink.len = 0
    if kv.type == BNF_GGUF_STRING:
        s = bnf_gguf_next_str(&at)
        nul = memchr(s.data, 0, s.len)
        bnf_sink_put(&sink, s.data, s.len if nul == NULL else <uint64_t>(<const char *>nul - s.data))
        return bnf_sink_end(&sink)
    if kv.type != BNF_GGUF_ARRAY:
        put_number(&sink, kv.type, &at)
        return bnf_sink_end(&sink)
    bnf_sink_str(&sink, "[")
    for i in range(kv.count):
        if i > 0:
            bnf_sink_str(&sink, ", ")
        if kv.elem_type == BNF_GGUF_STRING:
            put_quoted(&sink, bnf_gguf_next_str(&at))
        else:
            put_number(&sink, kv.elem_type, &at)
    bnf_sink_str(&sink, "]")
    return bnf_sink_end(&sink)
