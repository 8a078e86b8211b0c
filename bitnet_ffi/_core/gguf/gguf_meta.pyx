# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Metadata of a file as llama.h hands it to clients, a model's and an adapter's: numbers and texts by index, in the order of the
# file, arrays left out; or by key. What cannot be had is "" and -1, with a sentence.
# Next: gguf_values.pyx, which writes the values; api_model.pyx and api_adapter.pyx, which have the calls.

from libc.stdint cimport int32_t, int64_t
from libc.string cimport strlen
from bitnet_ffi._core.bnf_base cimport (
    bnf_answer_no, bnf_fail, bnf_is_null, bnf_is_null_buffer, bnf_show, bnf_sink, bnf_sink_end, bnf_sink_nothing, bnf_sink_put, bnf_sink_to,
    BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_find, bnf_gguf_format
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_gguf_kv, BNF_GGUF_ARRAY

cdef extern from "bnf_calls.h":
    pass

cdef public int32_t bnf_meta_count(const bnf_gguf *gguf) noexcept nogil:
    cdef int32_t n = 0
    cdef int64_t i
    if gguf != NULL:
        for i in range(gguf.n_kv):
            n += gguf.kv[i].type != BNF_GGUF_ARRAY
    return n

cdef const bnf_gguf_kv *scalar_at(const bnf_gguf *gguf, int32_t i) noexcept nogil:
    cdef int64_t at
    cdef int32_t n = 0
    for at in range(gguf.n_kv):
        if gguf.kv[at].type == BNF_GGUF_ARRAY:
            continue
        if n == i:
            return &gguf.kv[at]
        n += 1
    bnf_fail(BITNET_ERROR, "metadata index is %d, expected 0 to %d", i, n - 1)
    return NULL

cdef public int32_t bnf_meta_key(const bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    cdef bnf_sink sink = bnf_sink_to(buf, size)
    if gguf != NULL and not bnf_is_null_buffer(buf, size, function):
        kv = scalar_at(gguf, i)
    if kv == NULL:
        return bnf_sink_nothing(buf, size)
    bnf_sink_put(&sink, kv.key.data, kv.key.len)
    return bnf_sink_end(&sink)

cdef public int32_t bnf_meta_value(const bnf_gguf *gguf, int32_t i, char *buf, size_t size, const char *function) noexcept nogil:
    cdef const bnf_gguf_kv *kv = NULL
    if gguf != NULL and not bnf_is_null_buffer(buf, size, function):
        kv = scalar_at(gguf, i)
    return bnf_sink_nothing(buf, size) if kv == NULL else bnf_gguf_format(kv, buf, size)

cdef public int32_t bnf_meta_value_of(const bnf_gguf *gguf, const char *key, bool arrays, char *buf, size_t size,
                                      const char *function) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_gguf_kv *kv
    if gguf == NULL or bnf_is_null_buffer(buf, size, function) or bnf_is_null(key, function, "key"):
        return bnf_sink_nothing(buf, size)
    kv = bnf_gguf_find(gguf, key)
    if kv != NULL and (arrays or kv.type != BNF_GGUF_ARRAY):
        return bnf_gguf_format(kv, buf, size)
    bnf_answer_no(BITNET_ERROR, "%s: the metadata has no %s '%s'", function, "key" if arrays else "number or text",
                  bnf_show(key, strlen(key), shown))
    return bnf_sink_nothing(buf, size)
