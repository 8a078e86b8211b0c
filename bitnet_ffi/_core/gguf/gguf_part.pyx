# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# One GGUF file over its mapping: header, metadata keys, tensor infos, and that every tensor lies inside the file.
# Every length is checked against the bytes that remain before it is used; nothing is allocated that the file's own size
# does not justify. Copies no value: keys, strings and tensors are views. Next: gguf.pyx puts parts together.
# Source of the format: ggml's docs/gguf.md and gguf.h.

from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t, uint64_t, INT64_MAX
from libc.stdlib cimport qsort
from libc.string cimport memcpy, memcmp
from bitnet_ffi._core.bnf_base cimport (
    bnf_alloc_array, bnf_fail, bnf_map_file, bnf_map_stream, bnf_model_repair, bnf_path_tail, bnf_release, bnf_show, bnf_unmap,
    BNF_SHOWN_SIZE)
from bitnet_ffi._core.bnf_gguf cimport (
    bnf_gguf_int, bnf_gguf_part, bnf_gguf_place, bnf_gguf_type_name, BNF_GGUF_ALIGNMENT, BNF_GGUF_MAX_ALIGNMENT, BNF_GGUF_MAX_KEY,
    BNF_GGUF_MAX_KV, BNF_GGUF_MAX_NAME, BNF_GGUF_MAX_STRING, BNF_GGUF_MAX_TENSORS, BNF_GGUF_MIN_KV_SIZE, BNF_GGUF_MIN_TENSOR_SIZE)
from bitnet_ffi._core.bnf_ops cimport bnf_tensor_size, bnf_type_name, bnf_type_traits, bnf_type_traits_t
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, GGML_TYPE_I2_S
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf_kv, bnf_str, bnf_tensor, BNF_GGUF_ARRAY, BNF_GGUF_BOOL, BNF_GGUF_F32, BNF_GGUF_I16, BNF_GGUF_I32, BNF_GGUF_I8,
    BNF_GGUF_STRING, BNF_GGUF_U16, BNF_GGUF_U32, BNF_GGUF_U8, BNF_N_GGUF_TYPES)

# ---- reading: every take_* follows a need() that covers it ----

cdef inline uint64_t left(const bnf_gguf_part *p) noexcept nogil:
    return p.map.size - p.pos

cdef inline uint32_t take_u32(bnf_gguf_part *p) noexcept nogil:
    cdef uint32_t value = 0
    memcpy(&value, p.map.data + p.pos, 4)
    p.pos += 4
    return value

cdef inline uint64_t take_u64(bnf_gguf_part *p) noexcept nogil:
    cdef uint64_t value = 0
    memcpy(&value, p.map.data + p.pos, 8)
    p.pos += 8
    return value

cdef const char *path_of(const bnf_gguf_part *p) noexcept nogil:
    return bnf_path_tail(p.path)

cdef int need(const bnf_gguf_part *p, uint64_t n) noexcept nogil:
    if n <= left(p):
        return 0
    if p.item_no == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the file ends inside its header (%llu bytes); it is truncated or damaged",
                        path_of(p), <unsigned long long>p.map.size)
    return bnf_fail(BITNET_ERROR_MODEL, "%s: the file ends inside %s %lld of %lld (%llu bytes); it is truncated or damaged",
                    path_of(p), p.item, <long long>p.item_no, <long long>p.n_items, <unsigned long long>p.map.size)

# A string; `what` names it in the sentence about a wrong length.
cdef int take_str(bnf_gguf_part *p, const char *what, uint64_t min_len, uint64_t max_len, bnf_str *out) noexcept nogil:
    cdef int code = need(p, 8)
    if code != 0:
        return code
    cdef uint64_t n = take_u64(p)
    if n < min_len or n > max_len:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: %s of %s %lld of %lld is %llu bytes long, expected %llu to %llu",
                        path_of(p), what, p.item, <long long>p.item_no, <long long>p.n_items,
                        <unsigned long long>n, <unsigned long long>min_len, <unsigned long long>max_len)
    code = need(p, n)
    if code != 0:
        return code
    out.data = <const char *>p.map.data + p.pos
    out.len = n
    p.pos += n
    return 0

# ---- header ----

cdef bint starts_with(const bnf_gguf_part *p, const char *text, uint64_t n) noexcept nogil:
    return p.map.size >= n and memcmp(p.map.data, text, n) == 0

# What the file is instead of a model, as far as its first bytes tell: downloads fail in a few well-known ways.
cdef int fail_magic(const bnf_gguf_part *p) noexcept nogil:
    cdef uint64_t i = 0
    while i < p.map.size and i < 256 and (p.map.data[i] == 32 or (p.map.data[i] >= 9 and p.map.data[i] <= 13)):
        i += 1
    if i < p.map.size and p.map.data[i] == c'<':
        return bnf_fail(BITNET_ERROR_MODEL, "%s: this is a web page (HTML), not a GGUF model; the download saved a log-in or error "
                        "page: open the file in a browser to see it, then download the model again", path_of(p))
    if i < p.map.size and p.map.data[i] == c'{':
        return bnf_fail(BITNET_ERROR_MODEL, "%s: this is JSON text, not a GGUF model; the download saved an error message or a "
                        "configuration file", path_of(p))
    if starts_with(p, "version https://git-lfs", 23):
        return bnf_fail(BITNET_ERROR_MODEL, "%s: this is a Git LFS pointer, not the GGUF model itself; run 'git lfs pull' where it "
                        "was cloned", path_of(p))
    if starts_with(p, "tjgg", 4) or starts_with(p, "fmgg", 4) or starts_with(p, "lmgg", 4):
        return bnf_fail(BITNET_ERROR_MODEL, "%s: this is a GGML file of before August 2023; convert the model to GGUF", path_of(p))
    if starts_with(p, "PK\3\4", 4):
        return bnf_fail(BITNET_ERROR_MODEL, "%s: this is a ZIP or PyTorch archive, not a GGUF model", path_of(p))
    if p.map.size < 4:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the file has %llu bytes, too few for a GGUF model", path_of(p),
                        <unsigned long long>p.map.size)
    return bnf_fail(BITNET_ERROR_MODEL, "%s: the file begins with bytes %02x %02x %02x %02x, expected 47 47 55 46 (\"GGUF\")",
                    path_of(p), <unsigned>p.map.data[0], <unsigned>p.map.data[1], <unsigned>p.map.data[2], <unsigned>p.map.data[3])

# Does a length and then a plausible key stand at `pos`? The first 20 bytes decide.
cdef bint key_stands_at(const bnf_gguf_part *p, uint64_t pos) noexcept nogil:
    cdef uint64_t n = 0
    cdef uint64_t i
    cdef uint8_t c
    if p.map.size < pos + 8:
        return False
    memcpy(&n, p.map.data + pos, 8)
    if n == 0 or n >= 256 or n > p.map.size - pos - 8:
        return False
    for i in range(n if n < 20 else 20):
        c = p.map.data[pos + 8 + i]
        if not (c >= c'a' and c <= c'z' or c >= c'A' and c <= c'Z' or c >= c'0' and c <= c'9' or c == c'.' or c == c'_' or c == c'-'):
            return False
    return True

# Some third-party writers put u32 alignment and u64 data offset after the counts (BitNet-rs does). No GGUF version has
# those; they are recognised by the first key, which stands at byte 36 instead of 24.
cdef int skip_extra_header(bnf_gguf_part *p) noexcept nogil:
    cdef int code
    if p.n_kv == 0 or key_stands_at(p, 24) or not key_stands_at(p, 36):
        return 0
    code = use_alignment(p, take_u32(p))
    p.data_start = take_u64(p)
    return code if code < 0 else bnf_model_repair(
        "%s: the header has 12 extra bytes (alignment and data offset) that no GGUF version defines", path_of(p))

cdef int read_header(bnf_gguf_part *p) noexcept nogil:
    cdef int code
    cdef uint64_t n_tensors, n_kv
    if not starts_with(p, "GGUF", 4):
        return fail_magic(p)
    p.pos = 4
    code = need(p, 4)
    if code != 0:
        return code
    p.version = take_u32(p)
    # Version 3 read in the wrong byte order is 0x03000000: the low half of a true version is never zero.
    if p.version != 0 and (p.version & 0xFFFF) == 0:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the file is big-endian (version bytes %08x); only little-endian GGUF is supported",
                        path_of(p), p.version)
    if p.version == 1:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: GGUF version 1 is not supported, expected 2 or 3; convert the model again", path_of(p))
    if p.version < 2 or p.version > 3:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: GGUF version is %u, expected 2 or 3", path_of(p), p.version)
    code = need(p, 16)
    if code != 0:
        return code
    n_tensors = take_u64(p)
    n_kv = take_u64(p)
    if n_tensors > BNF_GGUF_MAX_TENSORS or n_tensors > left(p) // BNF_GGUF_MIN_TENSOR_SIZE:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the header announces %llu tensors, expected at most %llu in a file of %llu bytes",
                        path_of(p), <unsigned long long>n_tensors,
                        <unsigned long long>most(BNF_GGUF_MAX_TENSORS, left(p) // BNF_GGUF_MIN_TENSOR_SIZE),
                        <unsigned long long>p.map.size)
    if n_kv > BNF_GGUF_MAX_KV or n_kv > left(p) // BNF_GGUF_MIN_KV_SIZE:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the header announces %llu metadata keys, expected at most %llu in a file of %llu bytes",
                        path_of(p), <unsigned long long>n_kv,
                        <unsigned long long>most(BNF_GGUF_MAX_KV, left(p) // BNF_GGUF_MIN_KV_SIZE),
                        <unsigned long long>p.map.size)
    p.n_tensors = <int64_t>n_tensors
    p.n_kv = <int64_t>n_kv
    return skip_extra_header(p)

cdef uint64_t most(uint64_t a, uint64_t b) noexcept nogil:
    return a if a < b else b

# ---- metadata ----

# Bytes of one value; of a string, the least: its length.
cdef uint64_t value_size(int32_t type) noexcept nogil:
    if type == BNF_GGUF_U8 or type == BNF_GGUF_I8 or type == BNF_GGUF_BOOL:
        return 1
    if type == BNF_GGUF_U16 or type == BNF_GGUF_I16:
        return 2
    if type == BNF_GGUF_U32 or type == BNF_GGUF_I32 or type == BNF_GGUF_F32:
        return 4
    return 8

cdef int use_alignment(bnf_gguf_part *p, int64_t found) noexcept nogil:
    if found > 0 and (found & (found - 1)) == 0 and found <= BNF_GGUF_MAX_ALIGNMENT:
        p.alignment = <uint32_t>found
        return 0
    p.alignment = BNF_GGUF_ALIGNMENT
    return bnf_model_repair("%s: general.alignment is %lld, expected a power of two; %d is used", path_of(p), <long long>found,
                            <int>BNF_GGUF_ALIGNMENT)

cdef int read_alignment(bnf_gguf_part *p, const bnf_gguf_kv *kv) noexcept nogil:
    cdef int64_t found = 0
    if not bnf_gguf_int(kv, &found):
        return bnf_fail(BITNET_ERROR_MODEL, "%s: key 'general.alignment' is of type %s, expected an integer",
                        path_of(p), bnf_gguf_type_name(kv.type))
    if found > BNF_GGUF_MAX_ALIGNMENT:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: key 'general.alignment' is %lld, expected a power of two of at most %d",
                        path_of(p), <long long>found, <int>BNF_GGUF_MAX_ALIGNMENT)
    return use_alignment(p, found)

# Step over at most n strings, up to the first that does not fit; returns how many. A vocabulary has half a million.
cdef uint64_t skip_strings(bnf_gguf_part *p, uint64_t n) noexcept nogil:
    cdef const uint8_t *at = p.map.data + p.pos
    cdef const uint8_t *end = p.map.data + p.map.size
    cdef uint64_t i = 0, length = 0
    while i < n and end - at >= 8:
        memcpy(&length, at, 8)
        if length > BNF_GGUF_MAX_STRING or length > <uint64_t>(end - at) - 8:
            break
        at += 8 + length
        i += 1
    p.pos = <uint64_t>(at - p.map.data)
    return i

cdef int read_array(bnf_gguf_part *p, bnf_gguf_kv *kv) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef uint64_t i
    cdef bnf_str text
    cdef int code = need(p, 12)
    if code != 0:
        return code
    kv.elem_type = <int32_t>take_u32(p)
    kv.count = take_u64(p)
    if kv.elem_type < 0 or kv.elem_type >= BNF_N_GGUF_TYPES or kv.elem_type == BNF_GGUF_ARRAY:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: key '%s' is an array of type %d (%s), expected scalars or strings",
                        path_of(p), bnf_show(kv.key.data, kv.key.len, shown), kv.elem_type, bnf_gguf_type_name(kv.elem_type))
    if kv.count > left(p) // value_size(kv.elem_type):
        return bnf_fail(BITNET_ERROR_MODEL, "%s: key '%s' announces an array of %llu elements of type %s, but only %llu bytes "
                        "remain in the file", path_of(p), bnf_show(kv.key.data, kv.key.len, shown),
                        <unsigned long long>kv.count, bnf_gguf_type_name(kv.elem_type), <unsigned long long>left(p))
    kv.value = p.map.data + p.pos
    if kv.elem_type == BNF_GGUF_STRING:
        for i in range(kv.count - skip_strings(p, kv.count)):   # none, or the first is refused
            code = take_str(p, "a string", 0, BNF_GGUF_MAX_STRING, &text)
            if code != 0:
                return code
    else:
        p.pos += kv.count * value_size(kv.elem_type)
    kv.size = <uint64_t>(p.map.data + p.pos - kv.value)
    return 0

cdef int read_value(bnf_gguf_part *p, bnf_gguf_kv *kv) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef bnf_str text
    cdef int code = need(p, 4)
    if code != 0:
        return code
    kv.type = <int32_t>take_u32(p)
    if kv.type < 0 or kv.type >= BNF_N_GGUF_TYPES:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: key '%s' has value type %d, expected 0 to %d",
                        path_of(p), bnf_show(kv.key.data, kv.key.len, shown), kv.type, <int>BNF_N_GGUF_TYPES - 1)
    if kv.type == BNF_GGUF_ARRAY:
        return read_array(p, kv)
    kv.elem_type = kv.type
    kv.count = 1
    kv.value = p.map.data + p.pos
    if kv.type == BNF_GGUF_STRING:
        code = take_str(p, "the string", 0, BNF_GGUF_MAX_STRING, &text)
    else:
        code = need(p, value_size(kv.type))
        if code == 0:
            p.pos += value_size(kv.type)
    kv.size = <uint64_t>(p.map.data + p.pos - kv.value)
    return code

cdef bint is_name(bnf_str s, const char *text, uint64_t n) noexcept nogil:
    return s.len == n and memcmp(s.data, text, n) == 0

cdef int read_keys(bnf_gguf_part *p) noexcept nogil:
    cdef int64_t i
    cdef int code
    p.kv = <bnf_gguf_kv *>bnf_alloc_array(<size_t>p.n_kv, sizeof(bnf_gguf_kv))
    if p.kv == NULL:
        return BITNET_ERROR_MEMORY
    p.item = "metadata key"
    p.n_items = p.n_kv
    for i in range(p.n_kv):
        p.item_no = i + 1
        code = take_str(p, "the name", 1, BNF_GGUF_MAX_KEY, &p.kv[i].key)
        if code == 0:
            code = read_value(p, &p.kv[i])
        if code == 0 and is_name(p.kv[i].key, "general.alignment", 17):
            code = read_alignment(p, &p.kv[i])
        if code != 0:
            return code
    return 0

# ---- tensors ----

cdef int read_tensor(bnf_gguf_part *p, bnf_tensor *t, bnf_gguf_place *place) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef uint32_t i, n_dims
    cdef uint64_t ne
    cdef int64_t n_elements = 1
    cdef int code = take_str(p, "the name", 1, BNF_GGUF_MAX_NAME, &t.name)
    if code != 0:
        return code
    code = need(p, 4)
    if code != 0:
        return code
    n_dims = take_u32(p)
    if n_dims < 1 or n_dims > 4:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' has %u dimensions, expected 1 to 4",
                        path_of(p), bnf_show(t.name.data, t.name.len, shown), n_dims)
    t.n_dims = <int32_t>n_dims
    code = need(p, 8 * n_dims + 12)
    if code != 0:
        return code
    for i in range(4):
        ne = take_u64(p) if i < n_dims else 1
        if ne < 1 or ne > (<uint64_t>1 << 32):
            return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s': dimension %u is %llu, expected 1 to 4294967296",
                            path_of(p), bnf_show(t.name.data, t.name.len, shown), i, <unsigned long long>ne)
        if n_elements > INT64_MAX // <int64_t>ne:
            return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' has more than 2^63 - 1 elements",
                            path_of(p), bnf_show(t.name.data, t.name.len, shown))
        n_elements *= <int64_t>ne
        t.ne[i] = <int64_t>ne
    t.type = <int32_t>take_u32(p)
    if bnf_type_name(t.type) == NULL:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' has type number %d, which is no known type",
                        path_of(p), bnf_show(t.name.data, t.name.len, shown), t.type)
    place.offset = take_u64(p)
    return 0

cdef int read_tensors(bnf_gguf_part *p) noexcept nogil:
    cdef int64_t i
    cdef int code
    p.tensors = <bnf_tensor *>bnf_alloc_array(<size_t>p.n_tensors, sizeof(bnf_tensor))
    p.places = <bnf_gguf_place *>bnf_alloc_array(<size_t>p.n_tensors, sizeof(bnf_gguf_place))
    if p.tensors == NULL or p.places == NULL:
        return BITNET_ERROR_MEMORY
    p.item = "tensor"
    p.n_items = p.n_tensors
    for i in range(p.n_tensors):
        p.item_no = i + 1
        p.places[i].tensor = i
        code = read_tensor(p, &p.tensors[i], &p.places[i])
        if code != 0:
            return code
    return 0

# Where the data section begins: after the infos, rounded up, unless a 36-byte header says something that can be true.
cdef int find_data(bnf_gguf_part *p) noexcept nogil:
    cdef uint64_t padded = (p.pos + p.alignment - 1) // p.alignment * p.alignment
    if p.data_start < p.pos or p.data_start > p.map.size:
        p.data_start = padded
    if p.n_tensors == 0:
        p.data_start = p.pos
    if p.data_start > p.map.size:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: the tensors' data should begin at byte %llu, but the file has only %llu bytes; it is "
                        "truncated", path_of(p), <unsigned long long>p.data_start, <unsigned long long>p.map.size)
    return 0

# The bytes of a tensor whose type has a known size; 0 in *size for types that are known by name only.
cdef int size_tensor(const bnf_gguf_part *p, const bnf_tensor *t, uint64_t *size) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_type_traits_t *traits = bnf_type_traits(t.type)
    cdef int64_t n_rows = t.ne[1] * t.ne[2] * t.ne[3]
    size[0] = 0
    if traits == NULL:
        return 0
    size[0] = bnf_tensor_size(t.type, t.ne[0], n_rows)
    if size[0] != 0:
        return 0
    if t.type == GGML_TYPE_I2_S and (t.ne[0] * n_rows) % traits.block_len != 0:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' of type i2_s has %lld elements, expected a multiple of %d", path_of(p),
                        bnf_show(t.name.data, t.name.len, shown), <long long>(t.ne[0] * n_rows), traits.block_len)
    if t.type != GGML_TYPE_I2_S and t.ne[0] % traits.block_len != 0:
        return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' of type %s has %lld columns, expected a multiple of %d", path_of(p),
                        bnf_show(t.name.data, t.name.len, shown), traits.name, <long long>t.ne[0], traits.block_len)
    return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' of type %s is larger than any memory", path_of(p),
                    bnf_show(t.name.data, t.name.len, shown), traits.name)

cdef int by_offset(const void *a, const void *b) noexcept nogil:
    cdef uint64_t x = (<const bnf_gguf_place *>a).offset
    cdef uint64_t y = (<const bnf_gguf_place *>b).offset
    return 1 if x > y else -1 if x < y else 0

# Give every tensor its data and size. Offsets are aligned, in range and disjoint, in any order; the last tensor need not
# be padded. A type without known size gets the bytes up to the next tensor: the container opens, a loader refuses the type.
cdef int place_tensors(bnf_gguf_part *p) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef char shown_next[BNF_SHOWN_SIZE]
    cdef uint64_t data_size = p.map.size - p.data_start
    cdef uint64_t offset, next_offset
    cdef uint64_t size = 0
    cdef int64_t i
    cdef int code
    cdef bnf_tensor *t
    cdef bnf_tensor *following
    qsort(p.places, <size_t>p.n_tensors, sizeof(bnf_gguf_place), by_offset)
    for i in range(p.n_tensors):
        t = &p.tensors[p.places[i].tensor]
        offset = p.places[i].offset
        code = size_tensor(p, t, &size)
        if code != 0:
            return code
        if offset % p.alignment != 0:
            return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' has offset %llu, expected a multiple of %u", path_of(p),
                            bnf_show(t.name.data, t.name.len, shown), <unsigned long long>offset, p.alignment)
        if offset > data_size or size > data_size - offset:
            return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' needs %llu bytes at offset %llu, but the file's data section has only "
                            "%llu; it is truncated or damaged", path_of(p), bnf_show(t.name.data, t.name.len, shown),
                            <unsigned long long>size, <unsigned long long>offset, <unsigned long long>data_size)
        next_offset = p.places[i + 1].offset if i + 1 < p.n_tensors else data_size
        if i + 1 < p.n_tensors and (next_offset < offset + size or next_offset == offset):
            following = &p.tensors[p.places[i + 1].tensor]
            return bnf_fail(BITNET_ERROR_MODEL, "%s: tensor '%s' (%llu bytes at offset %llu) overlaps tensor '%s' at offset %llu",
                            path_of(p), bnf_show(t.name.data, t.name.len, shown), <unsigned long long>size,
                            <unsigned long long>offset, bnf_show(following.name.data, following.name.len, shown_next),
                            <unsigned long long>next_offset)
        t.data = p.map.data + p.data_start + offset
        # An offset beyond the data of the tensor after this one is refused in the next round, before anything is read.
        t.size = size if size != 0 else next_offset - offset
    return 0

# ---- the whole ----

cdef public int bnf_gguf_read_part(bnf_gguf_part *part) noexcept nogil:
    cdef int code = bnf_map_file(part.path, &part.map) if part.stream == NULL else bnf_map_stream(part.stream, &part.map)
    part.pos = 0
    part.item_no = 0
    part.alignment = BNF_GGUF_ALIGNMENT
    if code == 0:
        code = read_header(part)
    if code == 0:
        code = read_keys(part)
    if code == 0:
        code = read_tensors(part)
    if code == 0:
        code = find_data(part)
    if code == 0:
        code = place_tensors(part)
    return code

cdef public void bnf_gguf_free_part(bnf_gguf_part *part) noexcept nogil:
    bnf_release(part.kv)
    bnf_release(part.tensors)
    bnf_release(part.places)
    bnf_unmap(&part.map)
    part.kv = NULL
    part.tensors = NULL
    part.places = NULL
