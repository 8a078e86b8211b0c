# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# The performance counters of a context (llama_perf_context*). Always counted: it costs two clock reads a decode. Printing
# goes to the log at level INFO, so nothing appears unless the host asked for a log.
# Next: api_decode.pyx counts.

from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_is_null, bnf_log, bnf_time_us
from bitnet_ffi._core.bnf_calls cimport bnf_enter
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, bnf_peek_i32, bnf_peek_i64, bnf_poke_i32, bnf_poke_i64, llama_context
from bitnet_ffi._core.bnf_public cimport llama_perf_context_data, GGML_LOG_LEVEL_INFO

cdef extern from "bnf_calls.h":
    pass

cdef public llama_perf_context_data perf_context "llama_perf_context"(const llama_context *ctx) noexcept nogil:
    cdef llama_perf_context_data data
    memset(&data, 0, sizeof(data))
    if bnf_is_null(ctx, b"llama_perf_context", b"ctx"):
        return data
    data.t_start_ms = bnf_peek_i64(&ctx.perf.t_start_us) / 1000.0
    data.t_load_ms = ctx.model.load_us / 1000.0
    data.t_p_eval_ms = bnf_peek_i64(&ctx.perf.t_p_eval_us) / 1000.0
    data.t_eval_ms = bnf_peek_i64(&ctx.perf.t_eval_us) / 1000.0
    data.n_p_eval = bnf_peek_i32(&ctx.perf.n_p_eval)
    data.n_eval = bnf_peek_i32(&ctx.perf.n_eval)
    data.n_reused = 0     # graphs are not rebuilt here, so none is reused
    return data

cdef double rate(int n, double ms) noexcept nogil:
    return 1000.0 * n / ms if ms > 0 else 0.0

cdef public void llama_perf_context_print(const llama_context *ctx) noexcept nogil:
    cdef llama_perf_context_data d
    bnf_clear_error()
    if bnf_is_null(ctx, b"llama_perf_context_print", b"ctx"):
        return
    d = perf_context(ctx)
    bnf_log(GGML_LOG_LEVEL_INFO, b"load time   = %10.2f ms\n", d.t_load_ms)
    bnf_log(GGML_LOG_LEVEL_INFO, b"prompt eval = %10.2f ms / %5d tokens (%8.2f tokens per second)\n", d.t_p_eval_ms,
            d.n_p_eval, rate(d.n_p_eval, d.t_p_eval_ms))
    bnf_log(GGML_LOG_LEVEL_INFO, b"eval        = %10.2f ms / %5d tokens (%8.2f tokens per second)\n", d.t_eval_ms, d.n_eval,
            rate(d.n_eval, d.t_eval_ms))
    bnf_log(GGML_LOG_LEVEL_INFO, b"total time  = %10.2f ms\n", bnf_time_us() / 1000.0 - d.t_start_ms)

cdef public void llama_perf_context_reset(llama_context *ctx) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, b"llama_perf_context_reset") != 0:
        return
    bnf_poke_i64(&ctx.perf.t_start_us, bnf_time_us())
    bnf_poke_i64(&ctx.perf.t_p_eval_us, 0)
    bnf_poke_i64(&ctx.perf.t_eval_us, 0)
    bnf_poke_i32(&ctx.perf.n_p_eval, 0)
    bnf_poke_i32(&ctx.perf.n_eval, 0)
    bnf_context_leave(ctx)
