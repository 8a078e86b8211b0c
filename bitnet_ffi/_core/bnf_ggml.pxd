# The engine's view of csrc/bnf_ggml.h: ggml's tensors, contexts of them and of files. All extern; nothing is defined here.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from bitnet_ffi._core.bnf_types cimport bnf_gguf, llama_model

cdef extern from "bnf_layout.h" nogil:
    ctypedef struct bnf_block "struct bnf_block":
        int32_t len
        int32_t size
        int32_t trailer_size
    bnf_block bnf_type_block(int32_t type)

cdef extern from "bnf_ggml.h" nogil:
    enum:
        GGML_MAX_NAME, GGML_MAX_SRC
        GGML_OP_NONE, GGML_OP_ADD, GGML_OP_MUL, GGML_OP_RMS_NORM, GGML_OP_MUL_MAT, GGML_OP_GET_ROWS, GGML_OP_SOFT_MAX, GGML_OP_ROPE
        GGML_OP_RESHAPE, GGML_OP_SQR, GGML_OP_FLASH_ATTN_EXT, GGML_OP_UNARY, GGML_OP_GLU
        GGML_UNARY_OP_RELU, GGML_UNARY_OP_SILU, GGML_GLU_OP_SWIGLU
    ctypedef struct ggml_backend_buffer "struct ggml_backend_buffer":
        pass
    ctypedef ggml_backend_buffer *ggml_backend_buffer_t
    ctypedef struct ggml_tensor "struct ggml_tensor":
        int32_t type
        ggml_backend_buffer_t buffer
        int64_t ne[4]
        size_t nb[4]
        int32_t op
        int32_t op_params[16]
        int32_t flags
        ggml_tensor *src[10]
        ggml_tensor *view_src
        size_t view_offs
        void *data
        char name[64]
        void *extra
    ctypedef struct ggml_context "struct ggml_context":
        const void *kind
        ggml_tensor *tensors
        int64_t n
        uint8_t *data
        size_t size
    ctypedef struct gguf_context "struct gguf_context":
        const void *kind
        bnf_gguf *gguf
        uint8_t *copies
        uint64_t *offsets
    char bnf_ggml_kind, bnf_gguf_kind
    void bnf_tensor_describe(ggml_tensor *tensor, int32_t type, const int64_t *ne, const void *data, const char *name, size_t name_len)
    size_t bnf_tensor_bytes(const ggml_tensor *tensor)
    ggml_backend_buffer_t bnf_cpu_buffer()
    const char *bnf_op_name(int32_t op)
    const char *bnf_op_desc(const ggml_tensor *tensor)

cdef extern from "bnf_calls.h" nogil:
    void bnf_ggml_context_free(ggml_context *ctx)
    void bnf_gguf_context_free(gguf_context *ctx)
    ggml_tensor *bnf_model_tensor(llama_model *model, const char *name)
