# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Contexts and decoding by the calls of 2023 and 2024: llama_init_from_file, batches that leave positions or sequences out,
# logits_all. include/bitnet_ffi_eras.h calls most of it.
# Next: context.pyx and api_decode.pyx, which do the work.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, int64_t, uint32_t, INT32_MAX
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_enter, bnf_model_release
from bitnet_ffi._core.bnf_context cimport bnf_context_leave, llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_batch, llama_context_params, llama_model_params, llama_pos, llama_seq_id, BITNET_ERROR, BITNET_ERROR_MEMORY)
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bitnet_ffi.h" nogil:
    llama_model_params llama_model_default_params()
    llama_model *llama_model_load_from_file(const char *path_model, llama_model_params params)
    llama_context *llama_init_from_model(llama_model *model, llama_context_params params)
    int32_t llama_decode(llama_context *ctx, llama_batch batch)
    uint32_t llama_n_seq_max(const llama_context *ctx)


cdef public llama_context *llama_init_from_file(const char *path_model, llama_context_params params) noexcept nogil:
    cdef llama_model *model = llama_model_load_from_file(path_model, llama_model_default_params())
    cdef llama_context *ctx
    if model == NULL:
        return NULL
    ctx = llama_init_from_model(model, params)
    bnf_model_release(model)      # the context holds it
    return ctx


# ---- batches without positions or sequences ----

# Their arrays; NULL: not needed.
cdef struct filling:
    llama_pos *pos
    int32_t *n_seq_id
    llama_seq_id **seq_id


cdef int fill_positions(llama_batch *batch, filling *fill, llama_pos pos_0, llama_pos pos_1) noexcept nogil:
    cdef int64_t last = <int64_t>pos_0 + <int64_t>(batch.n_tokens - 1) * pos_1
    cdef int32_t i
    if pos_0 < 0 or last < 0 or last > INT32_MAX:
        return bnf_fail(BITNET_ERROR, "positions from %d in steps of %d for %d tokens: they end at %lld", <int>pos_0, <int>pos_1,
                        batch.n_tokens, <long long>last)
    fill.pos = <llama_pos *>bnf_alloc_array(<size_t>batch.n_tokens, sizeof(llama_pos))
    if fill.pos == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(batch.n_tokens):
        fill.pos[i] = pos_0 + i * pos_1      # between pos_0 and last
    batch.pos = fill.pos
    return 0


cdef int fill_sequences(llama_batch *batch, filling *fill, llama_seq_id *seq_id) noexcept nogil:
    cdef int32_t i
    fill.n_seq_id = <int32_t *>bnf_alloc_array(<size_t>batch.n_tokens, sizeof(int32_t))
    fill.seq_id = <llama_seq_id **>bnf_alloc_array(<size_t>batch.n_tokens, sizeof(llama_seq_id *))
    if fill.n_seq_id == NULL or fill.seq_id == NULL:
        return BITNET_ERROR_MEMORY
    for i in range(batch.n_tokens):
        fill.n_seq_id[i] = 1
        fill.seq_id[i] = seq_id
    batch.n_seq_id = fill.n_seq_id
    batch.seq_id = fill.seq_id
    return 0


cdef public int32_t bitnet_decode_at(llama_context *ctx, llama_batch batch, llama_pos pos_0, llama_pos pos_1,
                                     llama_seq_id seq_id) noexcept nogil:
    cdef filling fill
    cdef int rc = 0
    fill.pos = NULL
    fill.n_seq_id = NULL
    fill.seq_id = NULL
    if batch.n_tokens > 0 and batch.pos == NULL:
        rc = fill_positions(&batch, &fill, pos_0, pos_1)
    if rc == 0 and batch.n_tokens > 0 and seq_id != 0 and batch.seq_id == NULL:
        rc = fill_sequences(&batch, &fill, &seq_id)
    if rc == 0:
        rc = llama_decode(ctx, batch)      # all else that can be wrong is checked there
    bnf_release(fill.pos)
    bnf_release(fill.n_seq_id)
    bnf_release(fill.seq_id)
    return rc


cdef public void bitnet_set_logits_all(llama_context *ctx, bool logits_all) noexcept nogil:
    bnf_clear_error()
    if bnf_enter(ctx, "bitnet_set_logits_all") == 0:
        ctx.older.logits_all = logits_all
        bnf_context_leave(ctx)


# ---- other names ----

cdef public uint32_t llama_n_max_seq(const llama_context *ctx) noexcept nogil:
    return llama_n_seq_max(ctx)


cdef public bool llama_mmap_supported() noexcept nogil:
    return True


cdef public bool llama_mlock_supported() noexcept nogil:
    return True
