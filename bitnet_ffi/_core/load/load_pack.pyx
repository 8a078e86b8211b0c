# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Weights into the layout that the kernel table multiplies fastest: once, at load, by all threads. Results do not change by a
# bit (csrc/bnf_ops.h). LLAMA_LOAD_MODE_MMAP keeps every weight where the file has it.
#
# All packed weights lie in one block, so that huge pages cover those of small models too, and in the order of their use: layer by
# layer, q | k | v, out, gate | up, down; then the head. Each thread packs its rows of all of them, and lets go of the mapped pages that
# it has read, so that the model is in memory once.

from libc.stdint cimport int64_t, uint8_t, uint64_t
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_log, bnf_map_forget, bnf_release
from bitnet_ffi._core.bnf_context cimport BNF_LAYER_LINEARS
from bitnet_ffi._core.bnf_load cimport bnf_load_own, bnf_loader, bnf_matrix_numbered
from bitnet_ffi._core.bnf_ops cimport bnf_matrix, bnf_ops_t, bnf_tensor_size
from bitnet_ffi._core.bnf_pool cimport (
    bnf_pool, bnf_pool_free, bnf_pool_limit, bnf_pool_new, bnf_pool_range, bnf_pool_run, bnf_pool_size)
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR_MEMORY, GGML_LOG_LEVEL_WARN, LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_MMAP_MLOCK
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_load.h":
    pass

cdef enum:
    PACK_GRAIN = 16       # rows that a packed layout keeps together

# A matrix and where it goes; no place where it stays as it lies.
ctypedef struct place_t:
    bnf_matrix *w
    uint8_t *packed

ctypedef struct job_t:
    const bnf_ops_t *ops
    place_t *places
    int64_t n
    uint8_t *refused      # [threads][n] 1: the rows of that thread have a code that the layout cannot hold

# Each matrix with its place as an offset; the bytes in all. A head of float weights stays: choosing a token reads a smaller copy of it
# instead (load_head.pyx).
cdef uint64_t lay_out(llama_model *model, place_t *places, int64_t n) noexcept nogil:
    cdef const bnf_ops_t *ops = model.ops
    cdef uint64_t size = 0
    cdef int64_t i
    cdef bnf_matrix *w
    for i in range(n):
        w = bnf_matrix_numbered(model, i)
        places[i].w = w
        places[i].packed = NULL
        if ops.packed_layout(w) != w.type:
            places[i].packed = <uint8_t *>size
            size += (ops.packed_size(w) + 63) // 64 * 64
    return size

cdef inline bint is_packed(const bnf_ops_t *ops, const place_t *place) noexcept nogil:
    return ops.packed_layout(place.w) != place.w.type

cdef void pack_rows(void *arg, int ith, int nth) noexcept nogil:
    cdef job_t *job = <job_t *>arg
    cdef const bnf_matrix *w
    cdef int64_t i
    cdef long row0, row1
    for i in range(job.n):
        w = job.places[i].w
        bnf_pool_range(w.m, PACK_GRAIN, ith, nth, &row0, &row1)
        if row0 < row1 and is_packed(job.ops, &job.places[i]):
            job.refused[ith * job.n + i] = not job.ops.pack(w, row0, row1, job.places[i].packed)
            bnf_map_forget(w.data + row0 * w.row_size, <size_t>((row1 - row0) * w.row_size))

# After packing: each matrix to its place, unless one of the threads refused it.
cdef void move_in(const job_t *job, int n_threads) noexcept nogil:
    cdef bnf_matrix *w
    cdef int64_t i
    cdef int ith
    cdef bint refused
    for i in range(job.n):
        w = job.places[i].w
        if not is_packed(job.ops, &job.places[i]):
            continue
        bnf_map_forget(w.data, <size_t>bnf_tensor_size(w.type, w.k, w.m))   # the pages that two threads shared
        refused = False
        for ith in range(n_threads):
            refused |= job.refused[ith * job.n + i]
        if refused:
            bnf_log(GGML_LOG_LEVEL_WARN, "layer %lld: a ternary matrix has codes that mean nothing; it is used as it lies, slowly\n",
                    <long long>(i // BNF_LAYER_LINEARS))
            continue
        w.layout = job.ops.packed_layout(w)
        w.data = job.places[i].packed

cdef int pack_all(bnf_loader *loader, job_t *job, uint64_t size) noexcept nogil:
    cdef uint8_t *arena = <uint8_t *>bnf_alloc(<size_t>size)
    cdef bnf_pool *pool
    cdef int n_threads
    cdef int64_t i
    cdef int code = bnf_load_own(loader, arena)
    if code != 0:
        return code
    for i in range(job.n):
        job.places[i].packed = arena + <uint64_t>job.places[i].packed
    pool = bnf_pool_new(bnf_pool_limit())
    if pool == NULL:
        return BITNET_ERROR_MEMORY
    n_threads = bnf_pool_size(pool)
    job.refused = <uint8_t *>bnf_alloc_array(<size_t>n_threads, <size_t>job.n)
    if job.refused == NULL:
        code = BITNET_ERROR_MEMORY
    else:
        bnf_pool_run(pool, n_threads, pack_rows, job)
        move_in(job, n_threads)
    bnf_release(job.refused)
    bnf_pool_free(pool)
    return code

cdef public int bnf_load_pack(bnf_loader *loader) noexcept nogil:
    cdef int mode = <int>loader.params.load_mode
    cdef llama_model *model = loader.model
    cdef job_t job
    cdef uint64_t size
    cdef int code = 0
    if model.ops.packed_layout == NULL or mode == LLAMA_LOAD_MODE_MMAP or mode == LLAMA_LOAD_MODE_MMAP_MLOCK:
        return 0
    job.ops = model.ops
    job.n = <int64_t>model.hp.n_layer * BNF_LAYER_LINEARS + 1
    job.places = <place_t *>bnf_alloc_array(<size_t>job.n, sizeof(place_t))
    if job.places == NULL:
        return BITNET_ERROR_MEMORY
    size = lay_out(model, job.places, job.n)
    if size > 0:
        code = pack_all(loader, &job, size)
    bnf_release(job.places)
    return code
