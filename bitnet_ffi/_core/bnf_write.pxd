# The engine's view of what writes models: csrc/bnf_write.h, bnf_output.h, bnf_quantize_blocks.h. All extern.

from libc.stdint cimport uint8_t, int32_t, int64_t, uint64_t
from bitnet_ffi._core.bnf_public cimport bool, llama_ftype_t, llama_model_kv_override
from bitnet_ffi._core.bnf_ops cimport bnf_ops_t
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_str, bnf_tensor

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef enum ggml_type "enum ggml_type":
        GGML_TYPE_COUNT
    enum:
        LLAMA_FTYPE_MOSTLY_Q4_0, LLAMA_FTYPE_MOSTLY_Q5_0, LLAMA_FTYPE_MOSTLY_Q8_0
        LLAMA_FTYPE_MOSTLY_Q2_K, LLAMA_FTYPE_MOSTLY_Q2_K_S, LLAMA_FTYPE_MOSTLY_Q3_K_S, LLAMA_FTYPE_MOSTLY_Q3_K_M
        LLAMA_FTYPE_MOSTLY_Q3_K_L, LLAMA_FTYPE_MOSTLY_Q4_K_S, LLAMA_FTYPE_MOSTLY_Q4_K_M, LLAMA_FTYPE_MOSTLY_Q5_K_S
        LLAMA_FTYPE_MOSTLY_Q5_K_M
    ctypedef struct tensor_override "struct llama_model_tensor_override":
        const char *pattern
        ggml_type type
    ctypedef struct imatrix_data "struct llama_model_imatrix_data":
        const char *name
        const float *data
        size_t size
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
    ctypedef struct bnf_planned "struct bnf_planned":
        const bnf_tensor *tensor
        int32_t type
        int32_t layer
        int32_t part
        const float *importance
    ctypedef struct bnf_writing "struct bnf_writing":
        const bnf_gguf *gguf
        const char *path
        const bnf_planned *tensors
        int64_t n_tensors
        int32_t n_parts
        int32_t n_layers
        int64_t file_type
        const llama_model_kv_override *overrides
        int32_t n_threads
    int bnf_gguf_write(const bnf_writing *writing)
    int bnf_quantize_plan(const bnf_gguf *gguf, const llama_model_quantize_params *params, bnf_writing *writing, bnf_planned **tensors)
    ctypedef struct bnf_mix "struct bnf_mix":
        const llama_model_quantize_params *params
        int32_t type
        bool tied
        bool falcon
        bool huge
        int32_t n_layer
        int32_t n_expert
        int32_t n_gqa
        int32_t n_attn_v
        int32_t i_attn_v
        int32_t i_ffn_down
    int32_t bnf_mix_type(int ftype)
    void bnf_mix_count(bnf_mix *mix, bnf_str name)
    bool bnf_mix_converts(const bnf_mix *mix, const bnf_tensor *tensor)
    int32_t bnf_mix_choose(bnf_mix *mix, const bnf_tensor *tensor)
    int32_t bnf_mix_layer(bnf_str name)
    bool bnf_mix_is_end(bnf_str name)

cdef extern from "bnf_output.h" nogil:
    ctypedef struct bnf_output "struct bnf_output":
        uint64_t size
    int bnf_output_begin(bnf_output *out, const char *path)
    int bnf_output_put(bnf_output *out, const void *data, size_t size)
    int bnf_output_pad(bnf_output *out, uint64_t alignment)
    int bnf_output_settle(bnf_output *out)
    int bnf_output_end(bnf_output *out, int code)

cdef extern from "bnf_quantize_blocks.h" nogil:
    ctypedef struct bnf_range "struct bnf_range":
        float max
        float least
        bool not_finite
    bool bnf_can_quantize(int32_t type)
    bool bnf_quantize_weighs(int32_t type)
    void bnf_quantize_rows(const bnf_ops_t *ops, int32_t type, const float *x, int64_t k, int64_t m, const float *importance, uint8_t *dst)
    void bnf_quantize_blocks(const bnf_ops_t *ops, int32_t type, const float *x, int64_t n, uint8_t *dst)
    bool bnf_scales_finite(int32_t type, const uint8_t *blocks, int64_t n)
    void bnf_range_add(bnf_range *range, const float *x, int64_t n)
