# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Weights into the layout that the kernel table multiplies fastest: once, at load, by all threads. The mapped pages they came
# from are let go of afterwards, so that the model is in memory once. Results do not change by a bit (csrc/bnf_ops.h).
# LLAMA_LOAD_MODE_MMAP keeps every weight where the file has it.

from libc.stdint cimport int32_t, uint8_t
from bitnet_ffi._core.bnf cimport (
    BITNET_ERROR_MEMORY, LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_MMAP_MLOCK,
    bnf_layer, bnf_linear, bnf_matrix, bnf_ops_t, bnf_pool, bnf_alloc, bnf_map_forget, bnf_pool_free, bnf_pool_limit, bnf_pool_new,
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

cdef int pack_matrix(bnf_loader *loader, bnf_pool *pool, bnf_matrix *w) noexcept nogil:
    cdef const bnf_ops_t *ops = loader.model.ops
    cdef int32_t layout = ops.packed_layout(w)
    cdef job_t job
    cdef int code
    if layout == w.type:
        return 0
    job.ops = ops
    job.w = w
    job.packed = <uint8_t *>bnf_alloc(<size_t>ops.packed_size(w))
    code = bnf_load_own(loader, job.packed)
    if code != 0:
        return code
    bnf_pool_run(pool, bnf_pool_limit(), pack_rows, &job)
    bnf_map_forget(w.data, <size_t>bnf_tensor_size(w.type, w.k, w.m))
    w.data = job.packed
    w.layout = layout
    return 0

cdef int pack_layer(bnf_loader *loader, bnf_pool *pool, bnf_layer *layer) noexcept nogil:
    cdef bnf_linear *linears[7]
    cdef int code = 0
    cdef int i
    linears[0] = &layer.q
    linears[1] = &layer.k
    linears[2] = &layer.v
    linears[3] = &layer.out
    linears[4] = &layer.gate
    linears[5] = &layer.up
    linears[6] = &layer.down
    for i in range(7):
        if code == 0:
            code = pack_matrix(loader, pool, &linears[i].w)
    return code

cdef public int bnf_load_pack(bnf_loader *loader) noexcept nogil:
    cdef int mode = <int>loader.params.load_mode
    cdef llama_model *model = loader.model
    cdef bnf_pool *pool
    cdef int32_t i
    cdef int code = 0
    if model.ops.packed_layout == NULL or mode == LLAMA_LOAD_MODE_MMAP or mode == LLAMA_LOAD_MODE_MMAP_MLOCK:
        return 0
    pool = bnf_pool_new(bnf_pool_limit())
    if pool == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(model.hp.n_layer):
        if code == 0:
            code = pack_layer(loader, pool, &model.layers[i])
    bnf_pool_free(pool)
    return code
