# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# A model's GGUF container: the parts of a split model put together, and names found by hash.
# Reads no bytes of a file itself (gguf_part.pyx does) and no typed values (gguf_values.pyx does).
# Next: csrc/bnf_calls.h for what each function promises, csrc/bnf_gguf.h for the limits.

from libc.stdint cimport uint8_t, uint32_t, int32_t, int64_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, memcmp, memset, strlen
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc, bnf_alloc_array, bnf_fail, bnf_map, bnf_path_tail, bnf_release, bnf_resize, bnf_show, bnf_unmap, BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_u32
from bitnet_ffi._core.bnf_gguf cimport bnf_gguf_free_part, bnf_gguf_int, bnf_gguf_part, bnf_gguf_read_part, BNF_GGUF_MAX_TENSORS
from bitnet_ffi._core.bnf_public cimport llama_model_kv_override, BITNET_ERROR_LOAD, BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_gguf_kv, bnf_source, bnf_str, bnf_tensor

# ---- names: open addressing over the key or tensor array ----
# Items are bnf_gguf_kv or bnf_tensor: both begin with their name. The hash starts from the table's own address, so a file
# cannot be made whose names all collide.

cdef uint32_t first_slot(const uint32_t *slots, uint32_t n_slots, const char *name, uint64_t n) noexcept nogil:
    cdef uint64_t h = 0xcbf29ce484222325ULL ^ <uint64_t><size_t>slots
    cdef uint64_t i
    for i in range(n): # FNV-1a, then folded so that the low bits hear of the high ones
        h = (h ^ <uint8_t>name[i]) * 0x100000001b3ULL
    h ^= h >> 32
    return <uint32_t>(h ^ (h >> 15)) & (n_slots - 1)

# The slot that holds the name, or the empty one where it belongs. The table is never full.
cdef uint32_t find_slot(const uint32_t *slots, uint32_t n_slots, const uint8_t *items, size_t stride,
                        const char *name, uint64_t n) noexcept nogil:
    cdef uint32_t at = first_slot(slots, n_slots, name, n)
    cdef const bnf_str *other
    while slots[at] != 0:
        other = <const bnf_str *>(items + <size_t>(slots[at] - 1) * stride)
        if other.len == n and memcmp(other.data, name, n) == 0:
            return at
        at = (at + 1) & (n_slots - 1)
    return at

# Index n items, n <= 65536. 0, a negative code, or 1 with *twin: this item's name stands twice.
cdef int build_index(const uint8_t *items, size_t stride, int64_t n, uint32_t **slots, uint32_t *n_slots, int64_t *twin) noexcept nogil:
    cdef const bnf_str *name
    cdef uint32_t at
    cdef int64_t i
    n_slots[0] = 8
    while n_slots[0] < 2 * n:
        n_slots[0] *= 2
    slots[0] = <uint32_t *>bnf_alloc_array(n_slots[0], sizeof(uint32_t))
    if slots[0] == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(n):
        name = <const bnf_str *>(items + <size_t>i * stride)
        at = find_slot(slots[0], n_slots[0], items, stride, name.data, name.len)
        if slots[0][at] != 0:
            twin[0] = i
            return 1
        slots[0][at] = <uint32_t>(i + 1)
    return 0

cdef int index_keys(bnf_gguf *g, const char *path) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef int64_t twin = 0
    cdef int code = build_index(<const uint8_t *>g.kv, sizeof(bnf_gguf_kv), g.n_kv, &g.key_slots, &g.n_key_slots, &twin)
    if code == 1:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: key '%s' stands twice in the metadata, expected once", bnf_path_tail(path),
                        bnf_show(g.kv[twin].key.data, g.kv[twin].key.len, shown))
    return code

cdef public int bnf_gguf_index_tensors(bnf_gguf *g, const char *path) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef int64_t twin = 0
    cdef int code = build_index(<const uint8_t *>g.tensors, sizeof(bnf_tensor), g.n_tensors, &g.name_slots, &g.n_name_slots, &twin)
    if code == 1:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' stands twice, expected once", bnf_path_tail(path),
                        bnf_show(g.tensors[twin].name.data, g.tensors[twin].name.len, shown))
    return code

cdef public const bnf_gguf_kv *bnf_gguf_find(const bnf_gguf *gguf, const char *key) noexcept nogil:
    cdef uint32_t at
    if gguf == NULL or key == NULL or gguf.key_slots == NULL:
        return NULL
    at = find_slot(gguf.key_slots, gguf.n_key_slots, <const uint8_t *>gguf.kv, sizeof(bnf_gguf_kv), key, strlen(key))
    return &gguf.kv[gguf.key_slots[at] - 1] if gguf.key_slots[at] != 0 else NULL

cdef public const bnf_tensor *bnf_gguf_tensor(const bnf_gguf *gguf, const char *name) noexcept nogil:
    cdef uint32_t at
    if gguf == NULL or name == NULL or gguf.name_slots == NULL:
        return NULL
    at = find_slot(gguf.name_slots, gguf.n_name_slots, <const uint8_t *>gguf.tensors, sizeof(bnf_tensor), name, strlen(name))
    return &gguf.tensors[gguf.name_slots[at] - 1] if gguf.name_slots[at] != 0 else NULL

# ---- parts ----

# Move what was read into the container; the part keeps nothing that freeing it would release twice.
cdef int add_part(bnf_gguf *g, bnf_gguf_part *part) noexcept nogil:
    cdef bnf_tensor *tensors
    if g.n_tensors + part.n_tensors > BNF_GGUF_MAX_TENSORS:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the parts together hold more than %d tensors", bnf_path_tail(part.path),
                        <int>BNF_GGUF_MAX_TENSORS)
    tensors = <bnf_tensor *>bnf_resize(g.tensors, <size_t>g.n_tensors * sizeof(bnf_tensor),
                                       <size_t>(g.n_tensors + part.n_tensors) * sizeof(bnf_tensor))
    if tensors == NULL:
        return BITNET_ERROR_MEMORY
    g.tensors = tensors
    memcpy(g.tensors + g.n_tensors, part.tensors, <size_t>part.n_tensors * sizeof(bnf_tensor))
    g.n_tensors += part.n_tensors
    g.maps[g.n_maps] = part.map
    g.n_maps += 1
    part.map.data = NULL
    part.map.size = 0
    return 0

cdef int add_first_part(bnf_gguf *g, bnf_gguf_part *part, uint32_t n_parts) noexcept nogil:
    g.maps = <bnf_map *>bnf_alloc_array(n_parts, sizeof(bnf_map))
    if g.maps == NULL:
        return BITNET_ERROR_MEMORY
    return add_part(g, part)

# An integer key of a part whose keys are not indexed; -1: absent or no integer.
cdef int64_t part_int(const bnf_gguf_part *part, const char *key) noexcept nogil:
    cdef int64_t i
    cdef int64_t value = -1
    for i in range(part.n_kv):
        if part.kv[i].key.len == strlen(key) and memcmp(part.kv[i].key.data, key, strlen(key)) == 0:
            return value if bnf_gguf_int(&part.kv[i], &value) else -1
    return -1

# "-00002-of-00005.gguf"; no and n_parts are below 65536. The format is llama.cpp's.
cdef int part_suffix(char *out, uint32_t no, uint32_t n_parts) noexcept nogil:
    return snprintf(out, 32, "-%05u-of-%05u.gguf", no + 1, n_parts)

cdef int open_part(bnf_gguf *g, const char *path, uint32_t no, uint32_t n_parts) noexcept nogil:
    cdef bnf_gguf_part part
    cdef int64_t said
    cdef int code
    memset(&part, 0, sizeof(part))
    part.path = path
    code = bnf_gguf_read_part(&part)
    if code == 0:
        said = part_int(&part, "split.no")
        if said != no:
            code = bnf_fail(BITNET_ERROR_MODEL, "%s: key 'split.no' is %lld, expected %u: this file is not part %u of %u",
                            bnf_path_tail(path), <long long>said, no, no + 1, n_parts)
    if code == 0:
        code = add_part(g, &part)
    bnf_gguf_free_part(&part)
    return code

# The parts beside the first one: its name with other numbers.
cdef int open_parts_beside(bnf_gguf *g, const char *path, uint32_t n_parts) noexcept nogil:
    cdef char suffix[32]
    cdef size_t len = strlen(path)
    cdef size_t suffix_len = <size_t>part_suffix(suffix, 0, n_parts)
    cdef uint32_t no
    cdef char *other
    cdef int code = 0
    if len < suffix_len or memcmp(path + (len - suffix_len), suffix, suffix_len) != 0:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: this is the first of %u parts, so its name must end in '%s' for the others to be found",
                        bnf_path_tail(path), n_parts, suffix)
    other = <char *>bnf_alloc(len + 32)
    if other == NULL:
        return BITNET_ERROR_MEMORY
    memcpy(other, path, len)
    for no in range(1, n_parts):
        part_suffix(other + (len - suffix_len), no, n_parts)
        code = open_part(g, other, no, n_parts)
        if code != 0:
            break
    bnf_release(other)
    return code

cdef int open_other_parts(bnf_gguf *g, const bnf_source *source, uint32_t n_parts) noexcept nogil:
    cdef uint32_t no
    cdef int code = 0
    if source.stream != NULL:
        return bnf_fail(BITNET_ERROR_LOAD, "the open file is the first of %u parts; give the paths of all (llama_model_load_from_splits)",
                        n_parts)
    if source.paths == NULL:
        return open_parts_beside(g, source.path, n_parts)
    for no in range(1, n_parts):
        code = open_part(g, source.paths[no], no, n_parts)
        if code != 0:
            break
    return code

cdef int check_split_total(const bnf_gguf *g, const char *path) noexcept nogil:
    cdef uint32_t total = 0
    cdef int code = bnf_gguf_u32(g, "split.tensors.count", &total)
    if code < 0:
        return code
    if code == 1 and total != g.n_tensors:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the parts hold %lld tensors, but key 'split.tensors.count' is %u",
                        bnf_path_tail(path), <long long>g.n_tensors, total)
    return 0

cdef int open_split(bnf_gguf *g, const bnf_source *source, bnf_gguf_part *first) noexcept nogil:
    cdef uint32_t n_parts = 1
    cdef uint32_t no = 0
    cdef int code = bnf_gguf_u32(g, "split.count", &n_parts)
    if code >= 0:
        code = bnf_gguf_u32(g, "split.no", &no)
    if code < 0:
        return code
    n_parts = max(n_parts, <uint32_t>1)
    if source.paths != NULL and source.n_paths != n_parts:
        return bnf_fail(BITNET_ERROR_LOAD, "%s: this model has %u parts, but %zu paths are given", bnf_path_tail(first.path), n_parts,
                        source.n_paths)
    if n_parts == 1:
        return add_first_part(g, first, 1)
    if n_parts > 65535:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: key 'split.count' is %u, expected at most 65535", bnf_path_tail(first.path), n_parts)
    if no != 0:
        return bnf_fail(BITNET_ERROR_LOAD, "%s: this is part %u of %u; give the first part, whose name ends in '-00001-of-%05u.gguf'",
                        bnf_path_tail(first.path), no + 1, n_parts, n_parts)
    code = add_first_part(g, first, n_parts)
    if code == 0:
        code = open_other_parts(g, source, n_parts)
    if code == 0:
        code = check_split_total(g, first.path)
    return code

cdef public const char *bnf_source_name(const bnf_source *source) noexcept nogil:
    if source.stream != NULL:
        return "the open file"
    return source.paths[0] if source.paths != NULL else source.path

cdef int open_all(bnf_gguf *g, const bnf_source *source) noexcept nogil:
    cdef const char *path = bnf_source_name(source)
    cdef bnf_gguf_part first
    cdef int code
    memset(&first, 0, sizeof(first))
    first.path = path
    first.stream = source.stream
    code = bnf_gguf_read_part(&first)
    if code == 0:
        g.version = first.version
        g.alignment = first.alignment
        g.data_start = first.data_start
        g.kv = first.kv
        g.n_kv = first.n_kv
        first.kv = NULL
        code = index_keys(g, path)
    if code == 0:
        code = add_first_part(g, &first, 1) if source.alone else open_split(g, source, &first)
    if code == 0:
        code = bnf_gguf_index_tensors(g, path)
    bnf_gguf_free_part(&first)
    return code

# The overrides are looked at only once the container is whole: they may not change what split.* and alignment mean.
cdef public int bnf_gguf_open(const bnf_source *source, const llama_model_kv_override *overrides, bnf_gguf **out) noexcept nogil:
    cdef bnf_gguf *g
    cdef int code
    out[0] = NULL
    if bnf_source_name(source) == NULL:
        return bnf_fail(BITNET_ERROR_LOAD, "the path of the model is NULL")
    g = <bnf_gguf *>bnf_alloc(sizeof(bnf_gguf))
    if g == NULL:
        return BITNET_ERROR_MEMORY
    code = open_all(g, source)
    if code != 0:
        bnf_gguf_close(g)
        return code
    g.overrides = overrides
    out[0] = g
    return 0

cdef public void bnf_gguf_close(bnf_gguf *gguf) noexcept nogil:
    cdef int32_t i
    if gguf == NULL:
        return
    for i in range(gguf.n_maps):
        bnf_unmap(&gguf.maps[i])
    bnf_release(gguf.maps)
    bnf_release(gguf.kv)
    bnf_release(gguf.tensors)
    bnf_release(gguf.key_slots)
    bnf_release(gguf.name_slots)
    bnf_release(gguf)
