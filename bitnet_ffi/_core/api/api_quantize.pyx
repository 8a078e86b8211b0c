# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# llama_model_quantize and llama_model_save_to_file: models to files. Arguments are checked here; quantize_plan.pyx chooses
# types and gguf_write.pyx writes. Next: include/bitnet_ffi.h, "Writing models".

from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memset, strcmp
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_fail_within, bnf_path_tail, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_gguf_close, bnf_gguf_open
from bitnet_ffi._core.bnf_public cimport llama_ftype_t, BITNET_ERROR
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_source, llama_model
from bitnet_ffi._core.bnf_write cimport (
    bnf_gguf_write, bnf_planned, bnf_quantize_plan, bnf_writing, llama_model_quantize_params, GGML_TYPE_COUNT, LLAMA_FTYPE_MOSTLY_Q8_0)

cdef public llama_model_quantize_params llama_model_quantize_default_params() noexcept nogil:
    cdef llama_model_quantize_params params
    memset(&params, 0, sizeof(params))
    params.ftype = <llama_ftype_t>LLAMA_FTYPE_MOSTLY_Q8_0
    params.output_tensor_type = GGML_TYPE_COUNT
    params.token_embedding_type = GGML_TYPE_COUNT
    params.quantize_output_tensor = True
    params.max_buf_size = <size_t>8 << 30
    return params

cdef int quantize(const bnf_gguf *gguf, const char *path, const llama_model_quantize_params *params) noexcept nogil:
    cdef bnf_writing writing
    cdef bnf_planned *tensors = NULL
    cdef int code = bnf_quantize_plan(gguf, params, &writing, &tensors)
    if code == 0:
        if not params.dry_run:
            writing.path = path
        code = bnf_gguf_write(&writing)
    bnf_release(tensors)
    return code

cdef public uint32_t llama_model_quantize(const char *fname_inp, const char *fname_out,
                                          const llama_model_quantize_params *params) noexcept nogil:
    cdef llama_model_quantize_params chosen = llama_model_quantize_default_params()
    cdef bnf_gguf *gguf = NULL
    cdef bnf_source source
    cdef int code
    bnf_clear_error()
    if fname_inp == NULL or fname_out == NULL:
        bnf_fail(BITNET_ERROR, "llama_model_quantize: a path is NULL")
        return 1
    if strcmp(fname_inp, fname_out) == 0:
        bnf_fail(BITNET_ERROR, "llama_model_quantize: '%s' is both what to read and what to write", bnf_path_tail(fname_inp))
        return 1
    memset(&source, 0, sizeof(source))
    source.path = fname_inp
    if bnf_gguf_open(&source, NULL, &gguf) != 0:
        return 1
    if params != NULL:
        chosen = params[0]
    code = quantize(gguf, fname_out, &chosen)
    bnf_gguf_close(gguf)
    if code != 0:
        bnf_fail_within(bnf_path_tail(fname_inp))
    return 0 if code == 0 else 1

cdef public void llama_model_save_to_file(const llama_model *model, const char *path_model) noexcept nogil:
    cdef bnf_writing writing
    cdef bnf_planned *tensors
    cdef int64_t i
    bnf_clear_error()
    if model == NULL or path_model == NULL:
        bnf_fail(BITNET_ERROR, "llama_model_save_to_file: model or path_model is NULL")
        return
    tensors = <bnf_planned *>bnf_alloc_array(<size_t>model.gguf.n_tensors, sizeof(bnf_planned))
    if tensors == NULL:
        return
    for i in range(model.gguf.n_tensors):
        tensors[i].tensor = &model.gguf.tensors[i]
        tensors[i].type = model.gguf.tensors[i].type
        tensors[i].layer = -1
    memset(&writing, 0, sizeof(writing))
    writing.gguf = model.gguf
    writing.path = path_model
    writing.tensors = tensors
    writing.n_tensors = model.gguf.n_tensors
    writing.n_layers = -1
    writing.file_type = -1
    bnf_gguf_write(&writing)
    bnf_release(tensors)
