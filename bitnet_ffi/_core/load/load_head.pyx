# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# A head whose weights are floats, for reading it at every token: a copy in twelve bits where nothing is lost by it
# (bnf_layout.h, F12_R4), and the screen that chooses tokens (csrc/bnf_screen.h). Both are made in one pass, by all threads; the
# pages of the file are let go of afterwards, and embeddings are looked up there row by row.
# LLAMA_LOAD_MODE_MMAP makes none: memory stays what the file takes.

from libc.stdint cimport int32_t, int64_t, uint8_t
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_map_forget, bnf_release
from bitnet_ffi._core.bnf_load cimport bnf_load_own, bnf_loader
from bitnet_ffi._core.bnf_ops cimport (
    bnf_f12_size, bnf_matrix, bnf_ops_t, bnf_screen, bnf_tensor_size, BNF_SCREEN_MAX_K, BNF_SCREEN_ROWS, BNF_TYPE_F12_R4)
from bitnet_ffi._core.bnf_pool cimport bnf_pool, bnf_pool_free, bnf_pool_limit, bnf_pool_new, bnf_pool_range, bnf_pool_run
from bitnet_ffi._core.bnf_public cimport (
    BITNET_ERROR_MEMORY, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32, LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_MMAP_MLOCK)
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_load.h":
    pass

ctypedef struct job_t:
    const bnf_ops_t *ops
    const bnf_matrix *head
    const bnf_screen *screen
    uint8_t *packed       # NULL: no twelve bits
    int32_t *failed       # [threads] rows that do not fit twelve bits were found

cdef void copy_rows(void *arg, int ith, int nth) noexcept nogil:
    cdef job_t *job = <job_t *>arg
    cdef long row, end, row0, row1
    bnf_pool_range(job.head.m, BNF_SCREEN_ROWS, ith, nth, &row0, &row1)
    row = row0
    while row < row1:         # both copies while a tile's rows are in the cache
        end = min(row + BNF_SCREEN_ROWS, row1)
        job.ops.screen_pack(job.head, row, end, job.screen)
        if job.packed != NULL and not job.failed[ith]:
            job.failed[ith] = not job.ops.pack_f12(job.head, row, end, job.packed)
        row = end

# The parts of a screen, owned by the model.
cdef int take_memory(bnf_loader *loader, const bnf_matrix *head, bnf_screen *screen) noexcept nogil:
    cdef int64_t m = (head.m + BNF_SCREEN_ROWS - 1) // BNF_SCREEN_ROWS * BNF_SCREEN_ROWS
    cdef int code = 0
    screen.k = head.k
    screen.m = head.m
    screen.q = <uint8_t *>bnf_alloc_array(<size_t>m, <size_t>head.k)
    screen.scale = <float *>bnf_alloc_array(<size_t>m, sizeof(float))
    screen.residual = <float *>bnf_alloc_array(<size_t>m, sizeof(float))
    screen.norm = <float *>bnf_alloc_array(<size_t>m, sizeof(float))
    code = min(code, bnf_load_own(loader, screen.q))    # each part is owned or freed
    code = min(code, bnf_load_own(loader, screen.scale))
    code = min(code, bnf_load_own(loader, screen.residual))
    return min(code, bnf_load_own(loader, screen.norm))

cdef bint is_float(int32_t type) noexcept nogil:
    return type == GGML_TYPE_F16 or type == GGML_TYPE_BF16 or type == GGML_TYPE_F32

# Run the job with a team. The twelve bits belong to the model when they hold every weight.
cdef int make_copies(bnf_loader *loader, job_t *job) noexcept nogil:
    cdef int n = bnf_pool_limit()
    cdef bnf_pool *pool = bnf_pool_new(n)
    cdef bint fits = True
    cdef int i
    job.failed = <int32_t *>bnf_alloc_array(<size_t>n, sizeof(int32_t))
    if pool == NULL or job.failed == NULL:
        bnf_pool_free(pool)
        bnf_release(job.failed)
        bnf_release(job.packed)
        return BITNET_ERROR_MEMORY
    bnf_pool_run(pool, n, copy_rows, job)
    for i in range(n):
        fits = fits and not job.failed[i]
    bnf_pool_free(pool)
    bnf_release(job.failed)
    if fits or job.packed == NULL:
        return 0
    bnf_release(job.packed)
    job.packed = NULL
    return 0

cdef public int bnf_load_head(bnf_loader *loader) noexcept nogil:
    cdef int mode = <int>loader.params.load_mode
    cdef llama_model *model = loader.model
    cdef bnf_matrix *head = &model.output
    cdef bnf_screen screen
    cdef job_t job
    cdef int code
    if mode == LLAMA_LOAD_MODE_MMAP or mode == LLAMA_LOAD_MODE_MMAP_MLOCK:
        return 0
    if not is_float(head.type) or head.k % 64 != 0 or head.k > BNF_SCREEN_MAX_K:
        return 0
    code = take_memory(loader, head, &screen)
    if code != 0:
        return code
    job.ops = model.ops
    job.head = head
    job.screen = &screen
    job.packed = NULL
    if model.ops.pack_f12 != NULL:
        job.packed = <uint8_t *>bnf_alloc(<size_t>bnf_f12_size(head))
        if job.packed == NULL:
            return BITNET_ERROR_MEMORY
    code = make_copies(loader, &job)
    if code != 0:
        return code
    model.screen = screen
    bnf_map_forget(head.data, <size_t>bnf_tensor_size(head.type, head.k, head.m))
    if job.packed == NULL:
        return 0
    head.data = job.packed
    head.layout = BNF_TYPE_F12_R4
    return bnf_load_own(loader, job.packed)
