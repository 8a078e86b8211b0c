# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The LoRA files of 2023 (magic "ggla"), as a container with tensors and no metadata, so that adapter.pyx reads both kinds alike.
#     u32 magic 0x67676c61, u32 version 1, i32 r, i32 alpha; then until the file ends, for each tensor:
#     i32 n_dims (1 or 2), i32 length of the name, i32 type (0: F32, 1: F16), i32 ne[n_dims] inner first, the name, zeros to a multiple of
#     32 from the file's begin, the numbers.
# Names end in ".loraA" ({r, k}: the columns of A) and ".loraB" ({r, m}: the rows of B). Every length is checked before it is used.
# Source of the format: llama.cpp of June to December 2023, llama_apply_lora_from_file and convert-lora-to-ggml.py.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_fail, bnf_fail_within, bnf_map, bnf_map_file, bnf_map_stream, bnf_path_tail, bnf_resize, bnf_show,
    bnf_unmap, BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_close, bnf_source_name
from bitnet_ffi._core.bnf_ops cimport bnf_tensor_size
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, GGML_TYPE_F16, GGML_TYPE_F32
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_source, bnf_tensor
from bitnet_ffi._core.bnf_gguf cimport BNF_GGUF_MAX_NAME, BNF_GGUF_MAX_TENSORS, bnf_gguf_index_tensors

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    MAGIC = 0x67676c61
    HEAD_SIZE = 16
    ALIGNMENT = 32

cdef inline int32_t number_at(const bnf_map *map, uint64_t at) noexcept nogil:
    cdef int32_t value = 0
    memcpy(&value, map.data + at, 4)
    return value

cdef int cut_off(const bnf_map *map, int64_t no) noexcept nogil:
    return bnf_fail(BITNET_ERROR_MODEL, b"the file ends inside tensor %lld (%llu bytes); it is truncated or damaged", <long long>no,
                    <unsigned long long>map.size)

# The tensor at *at, which moves behind it. no: from 1.
cdef int read_tensor(const bnf_map *map, uint64_t *at, int64_t no, bnf_tensor *t) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef int32_t n_dims, len, type, i
    if map.size - at[0] < 12:
        return cut_off(map, no)
    n_dims = number_at(map, at[0])
    len = number_at(map, at[0] + 4)
    type = number_at(map, at[0] + 8)
    at[0] += 12
    if n_dims < 1 or n_dims > 2 or len < 1 or len > BNF_GGUF_MAX_NAME:
        return bnf_fail(BITNET_ERROR_MODEL, b"tensor %lld has %d dimensions and a name of %d bytes, expected 1 or 2 and 1 to %d",
                        <long long>no, n_dims, len, <int>BNF_GGUF_MAX_NAME)
    if map.size - at[0] < <uint64_t>(4 * n_dims + len):
        return cut_off(map, no)
    t.n_dims = n_dims
    for i in range(4):
        t.ne[i] = number_at(map, at[0] + 4 * <uint64_t>i) if i < n_dims else 1
    at[0] += 4 * <uint64_t>n_dims
    t.name.data = <const char *>map.data + at[0]
    t.name.len = <uint64_t>len
    at[0] = (at[0] + <uint64_t>len + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
    if type != 0 and type != 1:
        return bnf_fail(BITNET_ERROR_MODEL, b"tensor '%s' is of type %d, expected 0 (F32) or 1 (F16)",
                        bnf_show(t.name.data, t.name.len, shown), type)
    t.type = GGML_TYPE_F32 if type == 0 else GGML_TYPE_F16
    if t.ne[0] < 1 or t.ne[1] < 1:
        return bnf_fail(BITNET_ERROR_MODEL, b"tensor '%s' has shape {%lld, %lld}, expected positive numbers",
                        bnf_show(t.name.data, t.name.len, shown), <long long>t.ne[0], <long long>t.ne[1])
    t.size = bnf_tensor_size(t.type, t.ne[0], t.ne[1])
    if t.size == 0 or at[0] > map.size or t.size > map.size - at[0]:
        return cut_off(map, no)
    t.data = map.data + at[0]
    at[0] += t.size
    return 0

cdef int read_tensors(bnf_gguf *g) noexcept nogil:
    cdef uint64_t at = HEAD_SIZE
    cdef int64_t cap = 0
    cdef bnf_tensor *grown
    cdef int code
    while at < g.maps.size:
        if g.n_tensors == BNF_GGUF_MAX_TENSORS:
            return bnf_fail(BITNET_ERROR_MODEL, b"the file holds more than %d tensors", <int>BNF_GGUF_MAX_TENSORS)
        if g.n_tensors == cap:
            grown = <bnf_tensor *>bnf_resize(g.tensors, <size_t>cap * sizeof(bnf_tensor), <size_t>(2 * cap + 64) * sizeof(bnf_tensor))
            if grown == NULL:
                return BITNET_ERROR_MEMORY
            g.tensors = grown
            cap = 2 * cap + 64
        code = read_tensor(g.maps, &at, g.n_tensors + 1, &g.tensors[g.n_tensors])
        if code != 0:
            return code
        g.n_tensors += 1
    return 0

cdef int read_all(bnf_gguf *g, float *scale) noexcept nogil:
    cdef int32_t version, r, alpha
    if g.maps.size < HEAD_SIZE:
        return bnf_fail(BITNET_ERROR_MODEL, b"the file ends inside its header (%llu bytes); it is truncated or damaged",
                        <unsigned long long>g.maps.size)
    version = number_at(g.maps, 4)
    r = number_at(g.maps, 8)
    alpha = number_at(g.maps, 12)
    if version != 1:
        return bnf_fail(BITNET_ERROR_MODEL, b"a LoRA file of 2023 (ggla) of version %d, expected 1", version)
    if r < 1:
        return bnf_fail(BITNET_ERROR_MODEL, b"a LoRA file of 2023 (ggla) of rank %d, expected 1 or more", r)
    scale[0] = <float>alpha / <float>r
    return read_tensors(g)

# 1: *out is the file, *scale its alpha / r; 0: the file is none of that kind; negative.
cdef public int bnf_ggla_open(const bnf_source *source, bnf_gguf **out, float *scale) noexcept nogil:
    cdef bnf_map map
    cdef bnf_gguf *g
    cdef int code
    map.data = NULL
    map.size = 0
    code = bnf_map_file(source.path, &map) if source.stream == NULL else bnf_map_stream(source.stream, &map)
    if code != 0:
        return code
    if map.size < 4 or <uint32_t>number_at(&map, 0) != <uint32_t>MAGIC:
        bnf_unmap(&map)
        return 0
    g = <bnf_gguf *>bnf_alloc(sizeof(bnf_gguf))
    if g != NULL:
        g.maps = <bnf_map *>bnf_alloc_array(1, sizeof(bnf_map))
    if g == NULL or g.maps == NULL:
        bnf_gguf_close(g)
        bnf_unmap(&map)
        return BITNET_ERROR_MEMORY
    g.maps[0] = map
    g.n_maps = 1
    code = read_all(g, scale)
    if code != 0:
        bnf_fail_within(bnf_path_tail(bnf_source_name(source)))
    else:
        code = bnf_gguf_index_tensors(g, bnf_source_name(source))
    if code != 0:
        bnf_gguf_close(g)
        return code
    out[0] = g
    return 1
