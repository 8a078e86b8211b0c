# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Write a model as one GGUF file or as parts, tensors as they are or in other types. Weights stream through buffers of a fixed size,
# whatever their tensors measure, and all threads convert. Files appear whole or not at all (csrc/bnf_output.h).
# Next: csrc/bnf_quantize_blocks.c converts, quantize_plan.pyx chooses the types.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, UINT32_MAX
from libc.stdio cimport snprintf
from libc.string cimport memcmp, memcpy, memset, strlen
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail, bnf_log, bnf_release, bnf_show, BNF_SHOWN_SIZE
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_str
from bitnet_ffi._core.bnf_ops cimport bnf_dequantize, bnf_ops, bnf_ops_t, bnf_tensor_size, bnf_type_name, bnf_type_traits
from bitnet_ffi._core.bnf_pool cimport (
    bnf_pool, bnf_pool_free, bnf_pool_limit, bnf_pool_new, bnf_pool_range, bnf_pool_run, bnf_pool_size)
from bitnet_ffi._core.bnf_public cimport (
    llama_model_kv_override, BITNET_ERROR, BITNET_ERROR_LOAD, BITNET_ERROR_MEMORY, BITNET_ERROR_MODEL, GGML_LOG_LEVEL_INFO,
    GGML_TYPE_I2_S, GGML_TYPE_TQ1_0, GGML_TYPE_TQ2_0, LLAMA_KV_OVERRIDE_TYPE_BOOL, LLAMA_KV_OVERRIDE_TYPE_FLOAT,
    LLAMA_KV_OVERRIDE_TYPE_INT)
from bitnet_ffi._core.bnf_types cimport (
    bnf_gguf_kv, bnf_str, bnf_tensor, BNF_GGUF_ARRAY, BNF_GGUF_BOOL, BNF_GGUF_F32, BNF_GGUF_I32, BNF_GGUF_I64, BNF_GGUF_STRING,
    BNF_GGUF_U16, BNF_GGUF_U32)
from bitnet_ffi._core.bnf_write cimport (
    bnf_output, bnf_output_begin, bnf_output_end, bnf_output_pad, bnf_output_put, bnf_output_settle, bnf_planned, bnf_quantize_blocks,
    bnf_quantize_rows, bnf_range, bnf_range_add, bnf_scales_finite, bnf_writing)

cdef enum:
    PART = 1 << 18     # elements converted at once, a multiple of every block: 1 MB as floats; or a row that is longer
    GRAIN = 512        # of a thread's share: the lanes of the searches (csrc/bnf_fit.h) are full
    MAX_THREADS = 256
    PATH_SIZE = 4096
    MAGIC = 0x46554747 # "GGUF"
    VERSION = 3

cdef extern from "bnf_write.h":
    int32_t llama_split_path(char *split_path, size_t maxlen, const char *path_prefix, int32_t split_no, int32_t split_count) nogil

cdef extern from "unistd.h" nogil:
    int unlink(const char *path)

# ---- keys ----

cdef int put_u32(bnf_output *out, uint32_t value) noexcept nogil:
    return bnf_output_put(out, &value, sizeof(value))

cdef int put_u64(bnf_output *out, uint64_t value) noexcept nogil:
    return bnf_output_put(out, &value, sizeof(value))

cdef int put_str(bnf_output *out, const char *data, uint64_t len) noexcept nogil:
    cdef int code = put_u64(out, len)
    return code if code != 0 else bnf_output_put(out, data, <size_t>len)

cdef int put_key(bnf_output *out, const char *key, uint64_t len, int32_t type) noexcept nogil:
    cdef int code = put_str(out, key, len)
    return code if code != 0 else put_u32(out, <uint32_t>type)

cdef int put_u32_key(bnf_output *out, const char *key, uint32_t value) noexcept nogil:
    cdef int code = put_key(out, key, strlen(key), BNF_GGUF_U32)
    return code if code != 0 else put_u32(out, value)

# An integer becomes u32 where it fits: what a reader of sizes expects.
cdef int put_override(bnf_output *out, const llama_model_kv_override *o) noexcept nogil:
    cdef uint64_t len = strlen(o.key)
    cdef float narrow
    cdef uint8_t flag
    cdef int code
    if <int>o.tag == LLAMA_KV_OVERRIDE_TYPE_INT and o.val_i64 >= 0 and o.val_i64 <= <int64_t>UINT32_MAX:
        return put_u32_key(out, o.key, <uint32_t>o.val_i64)
    if <int>o.tag == LLAMA_KV_OVERRIDE_TYPE_INT:
        code = put_key(out, o.key, len, BNF_GGUF_I64)
        return code if code != 0 else bnf_output_put(out, &o.val_i64, 8)
    if <int>o.tag == LLAMA_KV_OVERRIDE_TYPE_FLOAT:
        narrow = <float>o.val_f64
        code = put_key(out, o.key, len, BNF_GGUF_F32)
        return code if code != 0 else bnf_output_put(out, &narrow, 4)
    if <int>o.tag == LLAMA_KV_OVERRIDE_TYPE_BOOL:
        flag = 1 if o.val_bool else 0
        code = put_key(out, o.key, len, BNF_GGUF_BOOL)
        return code if code != 0 else bnf_output_put(out, &flag, 1)
    code = put_key(out, o.key, len, BNF_GGUF_STRING)
    return code if code != 0 else put_str(out, o.val_str, strlen(o.val_str))

cdef int put_kv(bnf_output *out, const bnf_gguf_kv *kv) noexcept nogil:
    cdef int code = put_key(out, kv.key.data, kv.key.len, kv.type)
    if code == 0 and kv.type == BNF_GGUF_ARRAY:
        code = put_u32(out, <uint32_t>kv.elem_type)
        if code == 0:
            code = put_u64(out, kv.count)
    return code if code != 0 else bnf_output_put(out, kv.value, <size_t>kv.size)

cdef bint is_key(const bnf_gguf_kv *kv, const char *key) noexcept nogil:
    return kv.key.len == strlen(key) and memcmp(kv.key.data, key, <size_t>kv.key.len) == 0

# "<architecture>.block_count"
cdef bint is_block_count(const bnf_writing *w, const bnf_gguf_kv *kv) noexcept nogil:
    cdef bnf_str arch
    return (bnf_gguf_str(w.gguf, "general.architecture", &arch) == 1 and kv.key.len == arch.len + 12
            and memcmp(kv.key.data, arch.data, <size_t>arch.len) == 0 and memcmp(kv.key.data + arch.len, b".block_count", 12) == 0)

# The keys that a written file gets anew, and those that say which part of a split model a file is.
cdef bint is_replaced(const bnf_writing *w, const bnf_gguf_kv *kv) noexcept nogil:
    cdef const llama_model_kv_override *o = w.overrides
    if w.file_type >= 0 and (is_key(kv, "general.file_type") or is_key(kv, "general.quantization_version")):
        return True
    if is_key(kv, "split.no") or is_key(kv, "split.count") or is_key(kv, "split.tensors.count"):
        return True
    while o != NULL and o.key[0] != 0:
        if is_key(kv, o.key):
            return True
        o += 1
    return w.n_layers >= 0 and is_block_count(w, kv)

cdef int put_block_count(const bnf_writing *w, bnf_output *out) noexcept nogil:
    cdef int64_t i
    cdef int code = 0
    for i in range(w.gguf.n_kv):
        if is_block_count(w, &w.gguf.kv[i]):
            code = put_key(out, w.gguf.kv[i].key.data, w.gguf.kv[i].key.len, BNF_GGUF_U32)
            return code if code != 0 else put_u32(out, <uint32_t>w.n_layers)
    return 0

cdef uint64_t count_keys(const bnf_writing *w) noexcept nogil:
    cdef const llama_model_kv_override *o = w.overrides
    cdef uint64_t n = 2 if w.file_type >= 0 else 0
    cdef int64_t i
    while o != NULL and o.key[0] != 0:
        n += 1
        o += 1
    for i in range(w.gguf.n_kv):
        n += not is_replaced(w, &w.gguf.kv[i])
        n += w.n_layers >= 0 and is_block_count(w, &w.gguf.kv[i])
    return n

cdef int put_model_keys(const bnf_writing *w, bnf_output *out) noexcept nogil:
    cdef const llama_model_kv_override *o = w.overrides
    cdef int64_t i
    cdef int code = 0
    for i in range(w.gguf.n_kv):
        if code == 0 and not is_replaced(w, &w.gguf.kv[i]):
            code = put_kv(out, &w.gguf.kv[i])
    if code == 0 and w.file_type >= 0:
        code = put_u32_key(out, "general.quantization_version", 2)
        if code == 0:
            code = put_u32_key(out, "general.file_type", <uint32_t>w.file_type)
    while code == 0 and o != NULL and o.key[0] != 0:
        code = put_override(out, o)
        o += 1
    if code == 0 and w.n_layers >= 0:
        code = put_block_count(w, out)
    return code

cdef int put_split_keys(const bnf_writing *w, int32_t part, bnf_output *out) noexcept nogil:
    cdef uint16_t no = <uint16_t>part
    cdef uint16_t count = <uint16_t>w.n_parts
    cdef int32_t total = <int32_t>w.n_tensors
    cdef int code = put_key(out, "split.no", 8, BNF_GGUF_U16)
    if code == 0:
        code = bnf_output_put(out, &no, sizeof(no))
    if code == 0:
        code = put_key(out, "split.count", 11, BNF_GGUF_U16)
    if code == 0:
        code = bnf_output_put(out, &count, sizeof(count))
    if code == 0:
        code = put_key(out, "split.tensors.count", 19, BNF_GGUF_I32)
    return code if code != 0 else bnf_output_put(out, &total, sizeof(total))

# The first part has the model's keys.
cdef int put_keys(const bnf_writing *w, int32_t part, bnf_output *out) noexcept nogil:
    cdef uint64_t n = count_keys(w) if part == 0 else 0
    cdef uint64_t n_tensors = 0
    cdef int64_t i
    cdef int code = put_u32(out, MAGIC)
    for i in range(w.n_tensors):
        n_tensors += w.tensors[i].part == part
    if code == 0:
        code = put_u32(out, VERSION)
    if code == 0:
        code = put_u64(out, n_tensors)
    if code == 0:
        code = put_u64(out, n + (3 if w.n_parts > 1 else 0))
    if code == 0 and part == 0:
        code = put_model_keys(w, out)
    return put_split_keys(w, part, out) if code == 0 and w.n_parts > 1 else code

# ---- tensors ----

cdef inline int64_t n_elements(const bnf_tensor *t) noexcept nogil:
    return t.ne[0] * t.ne[1] * t.ne[2] * t.ne[3]

cdef uint64_t written_size(const bnf_planned *p) noexcept nogil:
    cdef const bnf_tensor *t = p.tensor
    return t.size if p.type == t.type else bnf_tensor_size(p.type, t.ne[0], t.ne[1] * t.ne[2] * t.ne[3])

# A part whose keys do not say otherwise is read with the default alignment.
cdef uint64_t alignment_of(const bnf_writing *w, int32_t part) noexcept nogil:
    return w.gguf.alignment if part == 0 else 32

cdef int put_name(bnf_output *out, const bnf_planned *p) noexcept nogil:
    cdef bnf_str rest = p.tensor.name
    cdef char start[32]
    cdef int code
    if p.layer < 0:
        return put_str(out, rest.data, rest.len)
    rest.data += 4
    rest.len -= 4
    while rest.data[0] != c'.':
        rest.data += 1
        rest.len -= 1
    snprintf(start, sizeof(start), b"blk.%d", p.layer)
    code = put_u64(out, strlen(start) + rest.len)
    if code == 0:
        code = bnf_output_put(out, start, strlen(start))
    return code if code != 0 else bnf_output_put(out, rest.data, <size_t>rest.len)

cdef int put_infos(const bnf_writing *w, int32_t part, bnf_output *out) noexcept nogil:
    cdef const bnf_tensor *t
    cdef uint64_t alignment = alignment_of(w, part)
    cdef uint64_t offset = 0
    cdef int64_t i
    cdef int32_t d
    cdef int code = 0
    for i in range(w.n_tensors):
        if w.tensors[i].part != part:
            continue
        t = w.tensors[i].tensor
        code = put_name(out, &w.tensors[i])
        if code == 0:
            code = put_u32(out, <uint32_t>t.n_dims)
        for d in range(t.n_dims):
            if code == 0:
                code = put_u64(out, <uint64_t>t.ne[d])
        if code == 0:
            code = put_u32(out, <uint32_t>w.tensors[i].type)
        if code == 0:
            code = put_u64(out, offset)
        if code != 0:
            return code
        offset += (written_size(&w.tensors[i]) + alignment - 1) // alignment * alignment
    return bnf_output_pad(out, alignment)

# Part [begin, begin + n) of a tensor on its way to another type.
cdef struct job_t:
    const bnf_ops_t *ops
    const bnf_planned *planned
    const bnf_tensor *tensor
    int32_t type
    float scale               # of an I2_S source
    int64_t begin, n
    float *floats             # [part_max]
    uint8_t *blocks           # as many in the new type
    int64_t part_max
    bnf_range *ranges         # [MAX_THREADS] what each thread saw
    bint *not_ternary         # [MAX_THREADS]
    bint *beyond              # [MAX_THREADS] a scale that no f16 holds

cdef inline bint is_ternary(const bnf_range *range) noexcept nogil:
    return range.least == 0 or range.least == range.max

# Rows of an importance matrix are columns' importances, each of the ne[2] matrices its own.
cdef void write_rows(const job_t *job, const float *x, int64_t begin, int64_t n, uint8_t *dst) noexcept nogil:
    cdef const bnf_tensor *t = job.tensor
    cdef int64_t k = t.ne[0]
    cdef int64_t row = begin // k
    cdef int64_t end = row + n // k
    cdef int64_t last
    while row < end:
        last = min(end, (row // t.ne[1] + 1) * t.ne[1])
        bnf_quantize_rows(job.ops, job.type, x, k, last - row, job.planned.importance + row // t.ne[1] * k, dst)
        x += (last - row) * k
        dst += bnf_tensor_size(job.type, k, last - row)
        row = last

# TQ1_0 and TQ2_0 have a scale for each block, so each block is ternary by itself; I2_S has one, and its range is looked at whole.
cdef void convert(void *arg, int ith, int nth) noexcept nogil:
    cdef job_t *job = <job_t *>arg
    cdef long begin = 0, end = 0
    cdef int64_t i
    cdef float *x
    cdef uint8_t *dst
    cdef bnf_range block
    bnf_pool_range(<long>job.n, <long>job.tensor.ne[0] if job.planned.importance != NULL else GRAIN, ith, nth, &begin, &end)
    if begin >= end:
        return
    x = job.floats + begin
    bnf_dequantize(job.tensor.type, job.tensor.data, job.scale, job.begin + begin, end - begin, x)
    bnf_range_add(&job.ranges[ith], x, end - begin)
    if job.ranges[ith].not_finite:
        return
    if job.type == GGML_TYPE_TQ1_0 or job.type == GGML_TYPE_TQ2_0:
        for i in range(0, end - begin, 256):
            memset(&block, 0, sizeof(block))
            bnf_range_add(&block, x + i, 256)
            job.not_ternary[ith] |= not is_ternary(&block)
    if job.blocks == NULL:
        return
    dst = job.blocks + begin // bnf_type_traits(job.type).block_len * bnf_type_traits(job.type).block_size
    if job.planned.importance != NULL:
        write_rows(job, x, job.begin + begin, end - begin, dst)
    else:
        bnf_quantize_blocks(job.ops, job.type, x, end - begin, dst)
    job.beyond[ith] = not bnf_scales_finite(job.type, dst, end - begin)

# What the threads saw together; the same sentence whoever of them saw it.
cdef int check_part(const job_t *job, bnf_range *whole) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_range *r
    cdef bint ternary = True
    cdef bint beyond = False
    cdef int i
    for i in range(MAX_THREADS):
        r = &job.ranges[i]
        whole.not_finite |= r.not_finite
        whole.max = max(whole.max, r.max)
        if r.least != 0:
            whole.least = r.least if whole.least == 0 else min(whole.least, r.least)
        ternary = ternary and not job.not_ternary[i]
        beyond = beyond or job.beyond[i]
    bnf_show(job.tensor.name.data, job.tensor.name.len, shown)
    if whole.not_finite:
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' has a weight that is not finite", shown)
    if beyond:
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' has weights to %g, beyond the scales of %s", shown, <double>whole.max,
                        bnf_type_name(job.type))
    if not ternary or (job.type == GGML_TYPE_I2_S and not is_ternary(whole)):
        return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s' is not ternary: %s holds -s, 0 and s of one scale; choose another type", shown,
                        bnf_type_name(job.type))
    return 0

# Run through the tensor part by part; out NULL: only look.
cdef int convert_tensor(job_t *job, bnf_pool *pool, bnf_output *out, bnf_range *whole) noexcept nogil:
    cdef int64_t total = n_elements(job.tensor)
    cdef int64_t block_len = bnf_type_traits(job.type).block_len
    cdef int64_t part = PART if job.planned.importance == NULL else max(PART // job.tensor.ne[0], <int64_t>1) * job.tensor.ne[0]
    cdef int code = 0
    job.begin = 0
    while code == 0 and job.begin < total:
        job.n = min(part, total - job.begin)
        memset(job.ranges, 0, MAX_THREADS * sizeof(bnf_range))
        memset(job.not_ternary, 0, MAX_THREADS * sizeof(bint))
        memset(job.beyond, 0, MAX_THREADS * sizeof(bint))
        bnf_pool_run(pool, bnf_pool_size(pool), convert, job)
        code = check_part(job, whole)
        if code == 0 and out != NULL:
            code = bnf_output_put(out, job.blocks, <size_t>(job.n // block_len * bnf_type_traits(job.type).block_size))
        job.begin += job.n
    return code

# I2_S ends in its scale, the largest weight, and so that it can be refused early is looked through first.
cdef int put_converted(job_t *job, bnf_pool *pool, bnf_output *out) noexcept nogil:
    cdef uint8_t *blocks = job.blocks
    cdef float trailer[8]
    cdef bnf_range whole
    cdef int code = 0
    memset(&whole, 0, sizeof(whole))
    if job.tensor.type == GGML_TYPE_I2_S:
        memcpy(&job.scale, job.tensor.data + n_elements(job.tensor) // 4, sizeof(float))
    if job.type != GGML_TYPE_I2_S:
        return convert_tensor(job, pool, out, &whole)
    job.blocks = NULL
    code = convert_tensor(job, pool, NULL, &whole)
    job.blocks = blocks
    if code == 0:
        code = convert_tensor(job, pool, out, &whole)
    if code == 0:
        memset(trailer, 0, sizeof(trailer))
        trailer[0] = whole.max
        code = bnf_output_put(out, trailer, sizeof(trailer))
    return code

cdef void log_tensor(const bnf_writing *w, int64_t i) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_planned *p = &w.tensors[i]
    cdef double before = <double>p.tensor.size * 1e-6
    cdef double after = <double>written_size(p) * 1e-6
    bnf_show(p.tensor.name.data, p.tensor.name.len, shown)
    if p.type == p.tensor.type:
        bnf_log(GGML_LOG_LEVEL_INFO, "[%4lld/%4lld] %-40s %s, %.2f MB\n", <long long>(i + 1), <long long>w.n_tensors, shown,
                bnf_type_name(p.type), after)
    else:
        bnf_log(GGML_LOG_LEVEL_INFO, "[%4lld/%4lld] %-40s %s -> %s, %.2f -> %.2f MB\n", <long long>(i + 1), <long long>w.n_tensors,
                shown, bnf_type_name(p.tensor.type), bnf_type_name(p.type), before, after)

cdef void log_total(const bnf_writing *w) noexcept nogil:
    cdef double before = 0
    cdef double after = 0
    cdef double n = 1e-9
    cdef int64_t i
    for i in range(w.n_tensors):
        before += <double>w.tensors[i].tensor.size
        after += <double>written_size(&w.tensors[i])
        n += <double>n_elements(w.tensors[i].tensor)
    bnf_log(GGML_LOG_LEVEL_INFO, "%.2f MB (%.2f bits a weight) -> %.2f MB (%.2f)\n", before * 1e-6, before * 8 / n, after * 1e-6,
            after * 8 / n)

cdef int put_tensors(const bnf_writing *w, int32_t part, job_t *job, bnf_pool *pool, bnf_output *out) noexcept nogil:
    cdef const bnf_planned *p
    cdef int64_t i
    cdef int code = 0
    for i in range(w.n_tensors):
        p = &w.tensors[i]
        if p.part != part:
            continue
        log_tensor(w, i)
        if p.type == p.tensor.type:
            code = bnf_output_put(out, p.tensor.data, <size_t>p.tensor.size)
        else:
            job.planned = p
            job.tensor = p.tensor
            job.type = p.type
            code = put_converted(job, pool, out)
        if code == 0:
            code = bnf_output_pad(out, alignment_of(w, part))
        if code != 0:
            return code
    return 0

# ---- the whole ----

cdef int write_part(const bnf_writing *w, int32_t part, job_t *job, bnf_pool *pool, bnf_output *out) noexcept nogil:
    cdef int code = put_keys(w, part, out)
    if code == 0:
        code = put_infos(w, part, out)
    if code == 0:
        code = put_tensors(w, part, job, pool, out)
    return bnf_output_settle(out) if code == 0 else code

# No part takes its name before all are on disk.
cdef int write_all(const bnf_writing *w, job_t *job, bnf_pool *pool) noexcept nogil:
    cdef int32_t n = max(w.n_parts, 1)
    cdef bnf_output *outs = <bnf_output *>bnf_alloc_array(<size_t>n, sizeof(bnf_output))
    cdef char *paths = <char *>bnf_alloc_array(<size_t>n, PATH_SIZE)
    cdef const char *path = w.path
    cdef int32_t n_begun = 0
    cdef int32_t n_named = 0
    cdef int32_t i
    cdef int code = 0 if outs != NULL and paths != NULL else BITNET_ERROR_MEMORY
    if code == 0 and w.n_parts > 0 and strlen(w.path) + 64 > PATH_SIZE:
        code = bnf_fail(BITNET_ERROR_LOAD, "the path to write is longer than %d bytes", <int>(PATH_SIZE - 64))
    for i in range(n if code == 0 else 0):
        if w.n_parts > 0:
            path = paths + i * PATH_SIZE
            llama_split_path(paths + i * PATH_SIZE, PATH_SIZE, w.path, i, n)
        if code == 0:
            code = bnf_output_begin(&outs[i], path)
            n_begun += code == 0
        if code == 0:
            code = write_part(w, i, job, pool, &outs[i])
    for i in range(n_begun):
        code = bnf_output_end(&outs[i], code)
        n_named += code == 0
    if code != 0:
        for i in range(n_named): # of several parts only: one that is named is the last that can fail
            unlink(paths + i * PATH_SIZE)
    bnf_release(outs)
    bnf_release(paths)
    return code

cdef int check_sizes(const bnf_writing *w) noexcept nogil:
    cdef char shown[BNF_SHOWN_SIZE]
    cdef const bnf_planned *p
    cdef int64_t i
    for i in range(w.n_tensors):
        p = &w.tensors[i]
        if written_size(p) == 0:
            return bnf_fail(BITNET_ERROR_MODEL, "tensor '%s': %lld columns do not fill the blocks of %s",
                            bnf_show(p.tensor.name.data, p.tensor.name.len, shown), <long long>p.tensor.ne[0], bnf_type_name(p.type))
    return 0

cdef int write_with(const bnf_writing *w, job_t *job, bnf_pool *pool) noexcept nogil:
    cdef int64_t i
    job.part_max = PART
    for i in range(w.n_tensors):
        if w.tensors[i].importance != NULL:
            job.part_max = max(job.part_max, w.tensors[i].tensor.ne[0])
    job.floats = <float *>bnf_alloc_array(<size_t>job.part_max, sizeof(float))
    job.blocks = <uint8_t *>bnf_alloc_array(<size_t>job.part_max, sizeof(float)) # no type takes more than a float
    job.ranges = <bnf_range *>bnf_alloc_array(MAX_THREADS, sizeof(bnf_range))
    job.not_ternary = <bint *>bnf_alloc_array(2 * MAX_THREADS, sizeof(bint))
    if pool == NULL or job.floats == NULL or job.blocks == NULL or job.ranges == NULL or job.not_ternary == NULL:
        return BITNET_ERROR_MEMORY
    job.beyond = job.not_ternary + MAX_THREADS
    return write_all(w, job, pool)

cdef public int bnf_gguf_write(const bnf_writing *w) noexcept nogil:
    cdef bnf_pool *pool
    cdef job_t job
    cdef int64_t i
    cdef int n_threads = w.n_threads if w.n_threads > 0 else bnf_pool_limit()
    cdef int code = check_sizes(w)
    memset(&job, 0, sizeof(job))
    job.ops = bnf_ops()
    if code != 0 or job.ops == NULL:
        return code if code != 0 else BITNET_ERROR
    if w.file_type >= 0:
        log_total(w)
    if w.path == NULL:
        for i in range(w.n_tensors):
            log_tensor(w, i)
        return 0
    pool = bnf_pool_new(min(n_threads, <int>MAX_THREADS))
    code = write_with(w, &job, pool)
    bnf_release(job.floats)
    bnf_release(job.blocks)
    bnf_release(job.ranges)
    bnf_release(job.not_ternary)
    bnf_pool_free(pool)
    return code
