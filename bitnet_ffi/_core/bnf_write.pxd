# The engine's view of what writes models: csrc/bnf_write.h, bnf_output.h, bnf_quantize_blocks.h. All extern.

from libc.stdint cimport uint8_t, int32_t, int64_t, uint64_t
from bitnet_ffi._core.bnf_public cimport bool, llama_ftype_t, llama_model_kv_override
from bitnet_ffi._core.bnf_types cimport bnf_gguf

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef enum ggml_type "enum ggml_type":
        GGML_TYPE_COUNT
    enum:
        LLAMA_FTYPE_MOSTLY_Q8_0
    ctypedef struct tensor_override "struct llama_model_tensor_override":
        const char *pattern
        ggml_type type
    ctypedef struct imatrix_data "struct llama_model_imatrix_data":
        pass
    ctypedef struct llama_model_quantize_params "struct llama_model_quantize_params":
        int32_t nthread
        llama_ftype_t ftype
        ggml_type output_tensor_type
        ggml_type token_embedding_type
        bool allow_requantize
        bool quantize_output_tensor
        bool only_copy
        bool pure
        bool keep_split
        bool dry_run
        const imatrix_data *imatrix
        const llama_model_kv_override *kv_overrides
        const tensor_override *tt_overrides
        const int32_t *prune_layers
        size_t max_buf_size

cdef extern from "bnf_write.h" nogil:
    ctypedef struct bnf_writing "struct bnf_writing":
        const bnf_gguf *gguf
        const char *path
        const int32_t *types
        int64_t file_type
        const llama_model_kv_override *overrides
        int32_t n_threads
    int bnf_gguf_write(const bnf_writing *writing)
    int bnf_quantize_plan(const bnf_gguf *gguf, const llama_model_quantize_params *params, int32_t *types)

cdef extern from "bnf_output.h" nogil:
    ctypedef struct bnf_output "struct bnf_output":
        uint64_t size
    int bnf_output_begin(bnf_output *out, const char *path)
    int bnf_output_put(bnf_output *out, const void *data, size_t size)
    int bnf_output_pad(bnf_output *out, uint64_t alignment)
    int bnf_output_end(bnf_output *out, int code)

cdef extern from "bnf_quantize_blocks.h" nogil:
    ctypedef struct bnf_range "struct bnf_range":
        float max
        float least
        bool not_finite
    bool bnf_can_quantize(int32_t type)
    void bnf_quantize_blocks(int32_t type, const float *x, int64_t n, uint8_t *dst)
    void bnf_range_add(bnf_range *range, const float *x, int64_t n)
