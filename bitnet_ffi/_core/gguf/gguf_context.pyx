# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# gguf_init_from_file: a file's keys and tensors for clients that read GGUF by themselves. All that is kept is copied, so that the file
# may change afterwards: values aligned and strings with their NUL, as clients of gguf.h take them. Reads no byte that gguf_part.pyx
# has not checked.
# Next: api_gguf.pyx, which answers questions; csrc/bnf_ggml.h for the two structs.

from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_fail, bnf_is_null, bnf_path_tail, bnf_release, bnf_show, bnf_unmap, BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_close, bnf_gguf_next_str, bnf_gguf_open
from bitnet_ffi._core.bnf_ggml cimport (
    bnf_block, bnf_ggml_kind, bnf_gguf_kind, bnf_tensor_bytes, bnf_tensor_describe, bnf_type_block, ggml_context, ggml_tensor, gguf_context)
from bitnet_ffi._core.bnf_ops cimport bnf_type_name
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_MODEL
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf, bnf_gguf_kv, bnf_source, bnf_str, bnf_tensor, BNF_GGUF_ARRAY, BNF_GGUF_STRING)

cdef extern from "bitnet_ffi.h" nogil:
    enum:
        GGML_TYPE_I8
    ctypedef struct gguf_init_params "struct gguf_init_params":
        bool no_alloc
        ggml_context **ctx

cdef extern from "bnf_beside.h":      # the prototypes of what is defined here
    pass

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    ALIGNMENT = 16        # of copied values

cdef inline uint64_t padded(uint64_t size, uint64_t alignment) noexcept nogil:
    return (size + alignment - 1) // alignment * alignment

cdef inline bint is_strings(const bnf_gguf_kv *kv) noexcept nogil:
    return kv.type == BNF_GGUF_ARRAY and kv.elem_type == BNF_GGUF_STRING

# ---- copies: first their size, then the same steps again ----

# Of an array of strings: a pointer in the place of each length, and a NUL behind each text. A NUL behind all else serves the strings.
cdef inline uint64_t value_size(const bnf_gguf_kv *kv) noexcept nogil:
    return padded(kv.size + (kv.count if is_strings(kv) else 1), ALIGNMENT)

cdef uint64_t copies_size(const bnf_gguf *g) noexcept nogil:
    cdef uint64_t size = 0
    cdef int64_t i
    for i in range(g.n_kv):
        size += value_size(&g.kv[i]) + padded(g.kv[i].key.len + 1, ALIGNMENT)
    for i in range(g.n_tensors):
        size += padded(g.tensors[i].name.len + 1, ALIGNMENT)
    return size

cdef void copy_text(bnf_str *text, uint8_t **to) noexcept nogil:
    memcpy(to[0], text.data, <size_t>text.len)
    text.data = <const char *>to[0]
    to[0] += padded(text.len + 1, ALIGNMENT)

cdef void copy_strings(const bnf_gguf_kv *kv, uint8_t *to) noexcept nogil:
    cdef const char **texts = <const char **>to
    cdef const uint8_t *at = kv.value
    cdef bnf_str text
    cdef uint64_t i
    to += kv.count * sizeof(char *)
    for i in range(kv.count):
        text = bnf_gguf_next_str(&at)
        memcpy(to, text.data, <size_t>text.len)
        texts[i] = <const char *>to
        to += text.len + 1

cdef void copy_value(bnf_gguf_kv *kv, uint8_t **to) noexcept nogil:
    if is_strings(kv):
        copy_strings(kv, to[0])
    else:
        memcpy(to[0], kv.value, <size_t>kv.size)
    kv.value = to[0]
    to[0] += value_size(kv)

# The block is zero: every text has its NUL.
cdef void copy_all(gguf_context *made) noexcept nogil:
    cdef bnf_gguf *g = made.gguf
    cdef uint8_t *to = made.copies
    cdef int64_t i
    for i in range(g.n_kv):
        copy_text(&g.kv[i].key, &to)
        copy_value(&g.kv[i], &to)
    for i in range(g.n_tensors):
        copy_text(&g.tensors[i].name, &to)
        made.offsets[i] = <uint64_t>(g.tensors[i].data - g.maps[0].data) - g.data_start

# ---- tensors ----

# The reader leaves types that it cannot compute with what lies up to the next tensor. Where their blocks are known, so is what they need.
cdef int check_size(const bnf_tensor *t, const char *path) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef ggml_tensor made
    cdef bnf_block block = bnf_type_block(t.type)
    cdef size_t size
    bnf_tensor_describe(&made, t.type, t.ne, NULL, t.name.data, <size_t>t.name.len)
    size = bnf_tensor_bytes(&made)
    if block.len == 0 or (size != 0 and size <= t.size and (t.ne[0] % block.len == 0 or block.trailer_size != 0)):
        return 0
    return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' of type %s has %lld columns and %llu bytes, expected a multiple of %d and %zu",
                    bnf_path_tail(path), bnf_show(t.name.data, t.name.len, shown), bnf_type_name(t.type), <long long>t.ne[0],
                    <unsigned long long>t.size, block.len, size)

cdef int check_sizes(const bnf_gguf *g, const char *path) noexcept nogil:
    cdef int64_t i
    cdef int code = 0
    for i in range(g.n_tensors):
        code = check_size(&g.tensors[i], path)
        if code != 0:
            break
    return code

# Bytes from the first tensor's place to the end of the last, in whole steps of the alignment: what a data section has that was padded.
cdef uint64_t data_size(const gguf_context *gguf) noexcept nogil:
    cdef uint64_t end = 0
    cdef int64_t i
    for i in range(gguf.gguf.n_tensors):
        end = max(end, gguf.offsets[i] + gguf.gguf.tensors[i].size)
    return padded(end, gguf.gguf.alignment)

cdef void copy_data(ggml_context *made, const gguf_context *gguf) noexcept nogil:
    cdef const bnf_tensor *t
    cdef int64_t i
    for i in range(gguf.gguf.n_tensors):
        t = &gguf.gguf.tensors[i]
        memcpy(made.data + gguf.offsets[i], t.data, <size_t>t.size)

cdef void describe_all(ggml_context *made, const gguf_context *gguf) noexcept nogil:
    cdef ggml_tensor *tensor = made.tensors
    cdef int64_t whole[4]
    cdef const bnf_tensor *t
    cdef int64_t i
    if made.data != NULL:
        memset(whole, 0, sizeof(whole))
        whole[0] = <int64_t>made.size
        whole[1] = whole[2] = whole[3] = 1
        bnf_tensor_describe(tensor, GGML_TYPE_I8, whole, made.data if made.size > 0 else NULL, "GGUF tensor data binary blob", 28)
        tensor += 1
    for i in range(gguf.gguf.n_tensors):
        t = &gguf.gguf.tensors[i]
        bnf_tensor_describe(tensor, t.type, t.ne, made.data + gguf.offsets[i] if made.data != NULL else NULL, t.name.data,
                            <size_t>t.name.len)
        tensor += 1

cdef ggml_context *tensors_of(const gguf_context *gguf, bint with_data) noexcept nogil:
    cdef ggml_context *made = <ggml_context *>bnf_alloc(sizeof(ggml_context))
    if made == NULL:
        return NULL
    made.kind = &bnf_ggml_kind
    made.n = gguf.gguf.n_tensors + with_data
    made.size = <size_t>data_size(gguf) if with_data else 0
    made.tensors = <ggml_tensor *>bnf_alloc_array(<size_t>made.n, sizeof(ggml_tensor))
    made.data = <uint8_t *>bnf_alloc(made.size) if with_data else NULL
    if made.tensors == NULL or (with_data and made.data == NULL):
        bnf_ggml_context_free(made)
        return NULL
    if with_data:
        copy_data(made, gguf)
    describe_all(made, gguf)
    return made

cdef public void bnf_ggml_context_free(ggml_context *ctx) noexcept nogil:
    if ctx != NULL:
        bnf_release(ctx.tensors)
        bnf_release(ctx.data)
        bnf_release(ctx)

# ---- the whole ----

cdef public void bnf_gguf_context_free(gguf_context *ctx) noexcept nogil:
    if ctx != NULL:
        bnf_gguf_close(ctx.gguf)
        bnf_release(ctx.copies)
        bnf_release(ctx.offsets)
        bnf_release(ctx)

cdef void forget_file(bnf_gguf *g) noexcept nogil:
    cdef int64_t i
    for i in range(g.n_tensors):
        g.tensors[i].data = NULL
    bnf_unmap(&g.maps[0])

cdef gguf_context *open_file(const char *fname) noexcept nogil:
    cdef gguf_context *made = <gguf_context *>bnf_alloc(sizeof(gguf_context))
    cdef bnf_source source
    if made == NULL:
        return NULL
    memset(&source, 0, sizeof(source))
    source.path = fname
    source.alone = True
    made.kind = &bnf_gguf_kind
    if bnf_gguf_open(&source, NULL, &made.gguf) != 0 or check_sizes(made.gguf, fname) != 0:
        bnf_gguf_context_free(made)
        return NULL
    made.copies = <uint8_t *>bnf_alloc(<size_t>copies_size(made.gguf))
    made.offsets = <uint64_t *>bnf_alloc_array(<size_t>made.gguf.n_tensors, sizeof(uint64_t))
    if made.copies == NULL or made.offsets == NULL:
        bnf_gguf_context_free(made)
        return NULL
    copy_all(made)
    return made

cdef public gguf_context *bnf_gguf_init_from_file(const char *fname, gguf_init_params params) noexcept nogil:
    cdef gguf_context *made
    cdef ggml_context *tensors
    if params.ctx != NULL:
        params.ctx[0] = NULL
    if bnf_is_null(fname, "gguf_init_from_file", "fname"):
        return NULL
    made = open_file(fname)
    if made == NULL:
        return NULL
    if params.ctx != NULL:
        tensors = tensors_of(made, not params.no_alloc)
        if tensors == NULL:
            bnf_gguf_context_free(made)
            return NULL
        params.ctx[0] = tensors
    forget_file(made.gguf)
    return made
