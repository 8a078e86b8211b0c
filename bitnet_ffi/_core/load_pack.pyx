# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Weights into the layout that the kernel table multiplies fastest: once, at load, by all threads. The mapped pages they came
# from are let go of afterwards, so that the model is in memory once. Results do not change by a bit (csrc/bnf_ops.h).
# LLAMA_LOAD_MODE_MMAP keeps every weight where the file has it.

from libc.stdint cimport int64_t, uint64_t, uint8_t
from bitnet_ffi._core.bnf cimport (
    BITNET_ERROR_MEMORY, LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_MMAP_MLOCK,
    bnf_layer, bnf_matrix, bnf_ops_t, bnf_pool, bnf_alloc, bnf_map_forget, bnf_pool_free, bnf_pool_limit, bnf_pool_new,
    bnf_pool_range, bnf_pool_run, bnf_tensor_size, llama_model)
from bitnet_ffi._core.bnf_load cimport bnf_loader, bnf_load_own

cdef extern from "bnf_load.h":
    pass

cdef enum:
    PACK_GRAIN = 16       # rows that a packed layout keeps together

ctypedef struct job_t:
    const bnf_ops_t *ops
    const bnf_matrix *w
    uint8_t *packed

cdef void pack_rows(void *arg, int ith, int nth) noexcept nogil:
    cdef job_t *job = <job_t *>arg
    cdef long row0, row1
    bnf_pool_range(job.w.m, PACK_GRAIN, ith, nth, &row0, &row1)
    if row0 < row1:
        job.ops.pack(job.w, row0, row1, job.packed)

# The next of the matrices that may be packed, or NULL after the last: those of the layers, then the head. A head of float
# weights stays: choosing a token reads a smaller copy of it instead (load_head.pyx).
cdef bnf_matrix *next_matrix(llama_model *model, int64_t i) noexcept nogil:
    cdef bnf_layer *layer
    if i == <int64_t>model.hp.n_layer * 7:
        return &model.output
    if i > <int64_t>model.hp.n_layer * 7:
        return NULL
    layer = &model.layers[i // 7]
    i %= 7
    if i < 4:
        return &layer.q.w if i == 0 else &layer.k.w if i == 1 else &layer.v.w if i == 2 else &layer.out.w
    return &layer.gate.w if i == 4 else &layer.up.w if i == 5 else &layer.down.w

cdef inline uint64_t packed_size(const bnf_ops_t *ops, const bnf_matrix *w) noexcept nogil:
    return 0 if ops.packed_layout(w) == w.type else (ops.packed_size(w) + 63) // 64 * 64

cdef void pack_matrix(const bnf_ops_t *ops, bnf_pool *pool, bnf_matrix *w, uint8_t *packed) noexcept nogil:
    cdef job_t job
    job.ops = ops
    job.w = w
    job.packed = packed
    bnf_pool_run(pool, bnf_pool_limit(), pack_rows, &job)
    bnf_map_forget(w.data, <size_t>bnf_tensor_size(w.type, w.k, w.m))
    w.data = packed
    w.layout = ops.packed_layout(w)

# All packed weights lie in one block of memory, so that huge pages cover those of small models too.
cdef public int bnf_load_pack(bnf_loader *loader) noexcept nogil:
    cdef int mode = <int>loader.params.load_mode
    cdef llama_model *model = loader.model
    cdef const bnf_ops_t *ops = model.ops
    cdef bnf_pool *pool
    cdef bnf_matrix *w
    cdef uint8_t *packed
    cdef uint64_t size = 0
    cdef int64_t i = 0
    cdef int code
    if ops.packed_layout == NULL or mode == LLAMA_LOAD_MODE_MMAP or mode == LLAMA_LOAD_MODE_MMAP_MLOCK:
        return 0
    while next_matrix(model, i) != NULL:
        size += packed_size(ops, next_matrix(model, i))
        i += 1
    if size == 0:
        return 0
    packed = <uint8_t *>bnf_alloc(<size_t>size)
    code = bnf_load_own(loader, packed)
    if code != 0:
        return code
    pool = bnf_pool_new(bnf_pool_limit())
    if pool == NULL:
        return BITNET_ERROR_MEMORY
    i = 0
    while next_matrix(model, i) != NULL:
        w = next_matrix(model, i)
        size = packed_size(ops, w)
        if size > 0:
            pack_matrix(ops, pool, w, packed)
        packed += size
        i += 1
    bnf_pool_free(pool)
    return 0
