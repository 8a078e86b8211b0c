# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Counters by the calls of 2023 and 2024: llama_get_timings, llama_print_timings, llama_perf_dump_yaml and their kin. They add
# the times of llama_sample_*, which belong to the context there. What is printed goes to the log, or to a stream of the caller's.
# Next: api_perf.pyx, the counters of 2026.

from libc.stdint cimport int32_t
from libc.stdio cimport FILE, fprintf
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail, bnf_is_null, bnf_log, bnf_time_us
from bitnet_ffi._core.bnf_calls cimport bnf_enter
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, bnf_peek_i32, bnf_peek_i64, bnf_poke_i32, bnf_poke_i64, llama_context
from bitnet_ffi._core.bnf_public cimport llama_perf_context_data, llama_sampler, BITNET_ERROR, GGML_LOG_LEVEL_INFO

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef enum llama_perf_type_t "enum llama_perf_type":
        LLAMA_PERF_TYPE_CONTEXT, LLAMA_PERF_TYPE_SAMPLER_CHAIN
    ctypedef struct llama_timings "struct llama_timings":
        double t_start_ms
        double t_end_ms
        double t_load_ms
        double t_sample_ms
        double t_p_eval_ms
        double t_eval_ms
        int32_t n_sample
        int32_t n_p_eval
        int32_t n_eval
    llama_perf_context_data llama_perf_context(const llama_context *ctx)
    void llama_perf_context_print(const llama_context *ctx)
    void llama_perf_context_reset(llama_context *ctx)
    void llama_perf_sampler_print(const llama_sampler *chain)
    void llama_perf_sampler_reset(llama_sampler *chain)


cdef inline int32_t at_least_1(int32_t n) noexcept nogil:
    return n if n > 1 else 1


cdef llama_timings timings_of(const llama_context *ctx) noexcept nogil:
    cdef llama_perf_context_data d = llama_perf_context(ctx)
    cdef llama_timings t
    t.t_start_ms = d.t_start_ms
    t.t_end_ms = bnf_time_us() / 1000.0
    t.t_load_ms = d.t_load_ms
    t.t_sample_ms = bnf_peek_i64(&ctx.older.t_sample_us) / 1000.0
    t.t_p_eval_ms = d.t_p_eval_ms
    t.t_eval_ms = d.t_eval_ms
    t.n_sample = at_least_1(bnf_peek_i32(&ctx.older.n_sample))
    t.n_p_eval = at_least_1(d.n_p_eval)
    t.n_eval = at_least_1(d.n_eval)
    return t


cdef public llama_timings llama_get_timings(llama_context *ctx) noexcept nogil:
    cdef llama_timings t
    if bnf_is_null(ctx, "llama_get_timings", "ctx"):
        memset(&t, 0, sizeof(t))
        return t
    return timings_of(ctx)


cdef void print_timings(const llama_context *ctx) noexcept nogil:
    llama_perf_context_print(ctx)
    bnf_log(GGML_LOG_LEVEL_INFO, "sampling    = %10.2f ms / %5d tokens\n", bnf_peek_i64(&ctx.older.t_sample_us) / 1000.0,
            bnf_peek_i32(&ctx.older.n_sample))


cdef void reset_timings(llama_context *ctx, const char *function) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, function) == 0:
        bnf_poke_i64(&ctx.older.t_sample_us, 0)
        bnf_poke_i32(&ctx.older.n_sample, 0)
        bnf_context_leave(ctx)
        llama_perf_context_reset(ctx)


cdef public void llama_print_timings(llama_context *ctx) noexcept nogil:
    bnf_clear_error()
    if not bnf_is_null(ctx, "llama_print_timings", "ctx"):
        print_timings(ctx)


cdef public void llama_reset_timings(llama_context *ctx) noexcept nogil:
    reset_timings(ctx, "llama_reset_timings")


# ---- YAML, to a stream that the caller opened ----

# The one place where the engine writes to a FILE: whoever calls llama_perf_dump_yaml gives it for that.
cdef void dump(FILE *stream, const llama_context *ctx, const char *function) noexcept nogil:
    cdef llama_timings t
    bnf_clear_error()
    if bnf_is_null(ctx, function, "ctx") or bnf_is_null(stream, function, "stream"):
        return
    t = timings_of(ctx)
    if fprintf(stream, "mst_eval: %.2f  # ms a token\nmst_p_eval: %.2f  # ms a token of prompts\nmst_sample: %.2f  # ms a token\n"
               "n_eval: %d\nn_p_eval: %d\nn_sample: %d\n"
               "t_eval_us: %.0f\nt_load_us: %.0f\nt_p_eval_us: %.0f\nt_sample_us: %.0f\n"
               "ts_eval: %.2f  # tokens a second\nts_p_eval: %.2f\nts_sample: %.2f\n",
               t.t_eval_ms / t.n_eval, t.t_p_eval_ms / t.n_p_eval, t.t_sample_ms / t.n_sample, t.n_eval, t.n_p_eval, t.n_sample,
               1e3 * t.t_eval_ms, 1e3 * t.t_load_ms, 1e3 * t.t_p_eval_ms, 1e3 * t.t_sample_ms,
               rate(t.n_eval, t.t_eval_ms), rate(t.n_p_eval, t.t_p_eval_ms), rate(t.n_sample, t.t_sample_ms)) < 0:
        bnf_fail(BITNET_ERROR, "%s: the stream cannot be written", function)


cdef double rate(int32_t n, double ms) noexcept nogil:
    return 1e3 * n / ms if ms > 0 else 0.0


cdef public void llama_dump_timing_info_yaml(FILE *stream, const llama_context *ctx) noexcept nogil:
    dump(stream, ctx, "llama_dump_timing_info_yaml")


cdef public void llama_perf_dump_yaml(FILE *stream, const llama_context *ctx) noexcept nogil:
    dump(stream, ctx, "llama_perf_dump_yaml")


# ---- a context or a chain, told apart by a number ----

cdef bint known_type(const void *ctx, llama_perf_type_t type, const char *function) noexcept nogil:
    bnf_clear_error()
    if bnf_is_null(ctx, function, "ctx"):
        return False
    if type != LLAMA_PERF_TYPE_CONTEXT and type != LLAMA_PERF_TYPE_SAMPLER_CHAIN:
        bnf_fail(BITNET_ERROR, "%s: type %d, expected 0 (a context) or 1 (a chain)", function, <int>type)
        return False
    return True


cdef public void llama_perf_print(const void *ctx, llama_perf_type_t type) noexcept nogil:
    if not known_type(ctx, type, "llama_perf_print"):
        return
    if type == LLAMA_PERF_TYPE_CONTEXT:
        print_timings(<const llama_context *>ctx)
    else:
        llama_perf_sampler_print(<const llama_sampler *>ctx)


cdef public void llama_perf_reset(void *ctx, llama_perf_type_t type) noexcept nogil:
    if not known_type(ctx, type, "llama_perf_reset"):
        return
    if type == LLAMA_PERF_TYPE_CONTEXT:
        reset_timings(<llama_context *>ctx, "llama_perf_reset")
    else:
        llama_perf_sampler_reset(<llama_sampler *>ctx)
