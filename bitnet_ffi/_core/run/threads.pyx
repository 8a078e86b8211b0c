# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The threads of a context: a team of its own, made with it, and pools of the program that are attached in its place. A context has
# scratch for as many threads as any of these may use at once, so that a pool that is freed leaves no gap.
# May not: run anything. Next: csrc/bnf_threadpool.c, which takes turns on a pool; csrc/bnf_pool.c, the threads.

from libc.stdint cimport int32_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail, bnf_is_null
from bitnet_ffi._core.bnf_calls cimport bnf_context_make_scratch, bnf_enter
from bitnet_ffi._core.bnf_context cimport (
    bnf_context_leave, bnf_peek_i32, bnf_poke_i32, bnf_threadpool_release, bnf_threadpool_retain, bnf_threadpool_size, llama_context)
from bitnet_ffi._core.bnf_pool cimport bnf_pool, bnf_pool_free, bnf_pool_limit, bnf_pool_new, bnf_pool_size, ggml_threadpool
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR, BITNET_ERROR_MEMORY

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef ggml_threadpool *ggml_threadpool_t

cdef extern from "bnf_calls.h":
    pass

cdef inline int32_t size_of(const ggml_threadpool *threadpool, const bnf_pool *team) noexcept nogil:
    return bnf_threadpool_size(threadpool) if threadpool != NULL else bnf_pool_size(team)

# Compute with these from now on, for which the caller lets go of what was there. On failure nothing changes.
cdef int settle(llama_context *ctx, bnf_pool *team, ggml_threadpool *threadpool, ggml_threadpool *threadpool_batch, int32_t n_threads,
                int32_t n_threads_batch) noexcept nogil:
    cdef int32_t n = min(n_threads, size_of(threadpool, team))
    cdef int32_t n_batch = min(n_threads_batch, size_of(threadpool_batch, team))
    cdef int32_t most = max(bnf_pool_size(team), max(n, n_batch))
    cdef int rc = bnf_context_make_scratch(ctx, most) if most > ctx.n_scratch_threads else 0
    if rc != 0:
        return rc
    ctx.team = team
    ctx.pool = team
    ctx.threadpool = threadpool
    ctx.threadpool_batch = threadpool_batch
    ctx.params.n_threads = n_threads
    ctx.params.n_threads_batch = n_threads_batch
    bnf_poke_i32(&ctx.n_threads, n)
    bnf_poke_i32(&ctx.n_threads_batch, n_batch)
    memset(&ctx.pace, 0, sizeof(ctx.pace))      # what it knows is of other threads
    return 0

# A team of the context's own for these numbers of threads, cut to the CPUs, where it has no such team yet.
cdef public int bnf_context_set_threads(llama_context *ctx, int32_t n_threads, int32_t n_threads_batch) noexcept nogil:
    cdef int32_t wanted = min(max(n_threads, n_threads_batch), bnf_pool_limit())
    cdef bnf_pool *before = ctx.team
    cdef bnf_pool *team = before
    cdef int rc
    if team == NULL or wanted > bnf_pool_size(team):
        team = bnf_pool_new(wanted)
        if team == NULL:
            return BITNET_ERROR_MEMORY
    rc = settle(ctx, team, ctx.threadpool, ctx.threadpool_batch, n_threads, n_threads_batch)
    if team != before:
        bnf_pool_free(before if rc == 0 else team)
    return rc

cdef public void bnf_context_free_threads(llama_context *ctx) noexcept nogil:
    bnf_threadpool_release(ctx.threadpool)
    bnf_threadpool_release(ctx.threadpool_batch)
    bnf_pool_free(ctx.team)

cdef public void llama_set_n_threads(llama_context *ctx, int32_t n_threads, int32_t n_threads_batch) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_set_n_threads") != 0:
        return
    if n_threads < 1 or n_threads_batch < 1:
        bnf_fail(BITNET_ERROR, b"n_threads is %d and n_threads_batch %d, expected 1 or more", n_threads, n_threads_batch)
    else:
        bnf_context_set_threads(ctx, n_threads, n_threads_batch)
    bnf_context_leave(ctx)

cdef public int32_t llama_n_threads(llama_context *ctx) noexcept nogil:
    return 0 if bnf_is_null(ctx, b"llama_n_threads", b"ctx") else bnf_peek_i32(&ctx.n_threads)

cdef public int32_t llama_n_threads_batch(llama_context *ctx) noexcept nogil:
    return 0 if bnf_is_null(ctx, b"llama_n_threads_batch", b"ctx") else bnf_peek_i32(&ctx.n_threads_batch)

# ---- pools of the program ----

cdef int retain(ggml_threadpool *threadpool) noexcept nogil:
    return bnf_threadpool_retain(threadpool, b"llama_attach_threadpool") if threadpool != NULL else 0

# Takes over the caller's hold on the pools, also when it fails.
cdef void attach(llama_context *ctx, ggml_threadpool *threadpool, ggml_threadpool *threadpool_batch) noexcept nogil:
    cdef ggml_threadpool *before = ctx.threadpool
    cdef ggml_threadpool *before_batch = ctx.threadpool_batch
    cdef int rc = settle(ctx, ctx.team, threadpool, threadpool_batch, ctx.params.n_threads, ctx.params.n_threads_batch)
    bnf_threadpool_release(before if rc == 0 else threadpool)
    bnf_threadpool_release(before_batch if rc == 0 else threadpool_batch)

cdef public void llama_attach_threadpool(llama_context *ctx, ggml_threadpool_t threadpool, ggml_threadpool_t threadpool_batch) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_attach_threadpool") != 0:
        return
    if threadpool_batch == NULL:
        threadpool_batch = threadpool
    if retain(threadpool) == 0:
        if retain(threadpool_batch) == 0:
            attach(ctx, threadpool, threadpool_batch)
        else:
            bnf_threadpool_release(threadpool)
    bnf_context_leave(ctx)

cdef public void llama_detach_threadpool(llama_context *ctx) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_detach_threadpool") != 0:
        return
    attach(ctx, NULL, NULL)
    bnf_context_leave(ctx)
