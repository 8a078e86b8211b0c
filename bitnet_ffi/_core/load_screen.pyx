# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The screen of a head whose weights are floats: a Q8_0 copy with bounds, made by all threads at load (csrc/bnf_screen.h).
# Choosing a token then reads half the bytes of an F16 head; the pages of the head itself are let go of.
# LLAMA_LOAD_MODE_MMAP makes none: memory stays what the file takes.

from libc.stdint cimport int64_t, uint8_t
from bitnet_ffi._core.bnf cimport (
    BITNET_ERROR_MEMORY, GGML_TYPE_BF16, GGML_TYPE_F16, GGML_TYPE_F32, GGML_TYPE_Q8_0, LLAMA_LOAD_MODE_MMAP, LLAMA_LOAD_MODE_MMAP_MLOCK,
    bnf_matrix, bnf_pool, bnf_screen, bnf_alloc, bnf_alloc_array, bnf_map_forget, bnf_pool_free, bnf_pool_limit, bnf_pool_new,
    bnf_pool_range, bnf_pool_run, bnf_release, bnf_screen_rows, bnf_tensor_size, llama_model)
from bitnet_ffi._core.bnf_load cimport bnf_loader, bnf_load_own

cdef extern from "bnf_load.h":
    pass

ctypedef struct job_t:
    const bnf_matrix *head
    const bnf_screen *screen
    float *rows           # [threads][k]

cdef void screen_rows(void *arg, int ith, int nth) noexcept nogil:
    cdef job_t *job = <job_t *>arg
    cdef long row0, row1
    bnf_pool_range(job.head.m, 1, ith, nth, &row0, &row1)
    bnf_screen_rows(job.head, row0, row1, job.screen, job.rows + ith * job.head.k)

# The parts of a screen, owned by the model.
cdef int take_memory(bnf_loader *loader, const bnf_matrix *head, bnf_screen *screen) noexcept nogil:
    cdef void *parts[3]
    cdef int code = 0
    cdef int i
    parts[0] = bnf_alloc(<size_t>bnf_tensor_size(GGML_TYPE_Q8_0, head.k, head.m))
    parts[1] = bnf_alloc_array(<size_t>head.m, sizeof(float))
    parts[2] = bnf_alloc_array(<size_t>head.m, sizeof(float))
    for i in range(3):
        code = min(code, bnf_load_own(loader, parts[i]))    # each part is owned or freed
    screen.q8 = head[0]
    screen.q8.type = GGML_TYPE_Q8_0
    screen.q8.layout = GGML_TYPE_Q8_0
    screen.q8.row_size = <size_t>(head.k // 32 * 34)
    screen.q8.scale = 1
    screen.q8.data = <const uint8_t *>parts[0]
    screen.residual = <const float *>parts[1]
    screen.norm = <const float *>parts[2]
    return code

cdef public int bnf_load_screen(bnf_loader *loader) noexcept nogil:
    cdef int mode = <int>loader.params.load_mode
    cdef llama_model *model = loader.model
    cdef const bnf_matrix *head = &model.output
    cdef bnf_screen screen
    cdef bnf_pool *pool
    cdef job_t job
    cdef int code
    if mode == LLAMA_LOAD_MODE_MMAP or mode == LLAMA_LOAD_MODE_MMAP_MLOCK or head.k % 32 != 0:
        return 0
    if head.type != GGML_TYPE_F16 and head.type != GGML_TYPE_BF16 and head.type != GGML_TYPE_F32:
        return 0
    code = take_memory(loader, head, &screen)
    if code != 0:
        return code
    pool = bnf_pool_new(bnf_pool_limit())
    job.head = head
    job.screen = &screen
    job.rows = <float *>bnf_alloc_array(<size_t>bnf_pool_limit(), <size_t>head.k * sizeof(float))
    if pool == NULL or job.rows == NULL:
        code = BITNET_ERROR_MEMORY
    else:
        bnf_pool_run(pool, bnf_pool_limit(), screen_rows, &job)
        bnf_map_forget(head.data, <size_t>bnf_tensor_size(head.type, head.k, head.m))
        model.screen = screen
    bnf_pool_free(pool)
    bnf_release(job.rows)
    return code
