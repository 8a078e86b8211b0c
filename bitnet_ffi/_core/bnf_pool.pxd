# The engine's view of csrc/bnf_pool.h, bnf_pace.h and bnf_threadpool.h: threads, and how many are worth using. All extern; nothing is
# defined here.

from libc.stdint cimport int32_t, int64_t

cdef extern from "bnf_pace.h" nogil:
    ctypedef struct bnf_pool_clock_t "struct bnf_pool_clock":
        int64_t now
        int64_t run
        int64_t waited
    ctypedef struct bnf_pace "struct bnf_pace":
        int32_t size
    int32_t bnf_pace_begin(bnf_pace *pace, int32_t wanted, int64_t work, bnf_pool_clock_t clock)
    void bnf_pace_leave(bnf_pace *pace, bnf_pool_clock_t clock)
    int32_t bnf_pace_size(const bnf_pace *pace, int32_t wanted)

cdef extern from "bnf_threadpool.h" nogil:
    ctypedef struct ggml_threadpool "struct ggml_threadpool":
        pass

cdef extern from "bnf_pool.h" nogil:
    ctypedef struct bnf_pool "struct bnf_pool":
        pass
    ctypedef void (*bnf_task_fn)(void *arg, int ith, int nth) noexcept nogil
    int bnf_pool_limit()
    bnf_pool *bnf_pool_new(int n_threads)
    void bnf_pool_free(bnf_pool *pool)
    int bnf_pool_size(const bnf_pool *pool)
    void bnf_pool_run(bnf_pool *pool, int n_threads, bnf_task_fn fn, void *arg)
    void bnf_pool_barrier(bnf_pool *pool)
    void bnf_pool_range(long n, long grain, int ith, int nth, long *begin, long *end)
