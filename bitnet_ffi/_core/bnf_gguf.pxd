# The engine's view of csrc/bnf_gguf.h: what the three gguf modules share. All extern; nothing is defined here.

from libc.stdint cimport int32_t, uint32_t, int64_t, uint64_t
from libc.stdio cimport FILE
from bitnet_ffi._core.bnf_base cimport bnf_map
from bitnet_ffi._core.bnf_types cimport bnf_gguf, bnf_gguf_kv, bnf_tensor

cdef extern from "bnf_gguf.h" nogil:
    enum:
        BNF_GGUF_MAX_KV, BNF_GGUF_MAX_TENSORS, BNF_GGUF_MAX_KEY, BNF_GGUF_MAX_NAME, BNF_GGUF_MAX_STRING
        BNF_GGUF_MAX_ALIGNMENT, BNF_GGUF_ALIGNMENT, BNF_GGUF_MIN_KV_SIZE, BNF_GGUF_MIN_TENSOR_SIZE
    ctypedef struct bnf_gguf_place "struct bnf_gguf_place":
        uint64_t offset
        int64_t tensor
    ctypedef struct bnf_gguf_part "struct bnf_gguf_part":
        const char *path
        FILE *stream
        bnf_map map
        uint64_t pos
        const char *item
        int64_t item_no
        int64_t n_items
        uint32_t version
        uint32_t alignment
        uint64_t data_start
        bnf_gguf_kv *kv
        int64_t n_kv
        bnf_tensor *tensors
        int64_t n_tensors
        bnf_gguf_place *places
    int bnf_gguf_read_part(bnf_gguf_part *part)
    void bnf_gguf_free_part(bnf_gguf_part *part)
    int bnf_gguf_index_tensors(bnf_gguf *gguf, const char *path)
    const char *bnf_gguf_type_name(int32_t type)
    int bnf_gguf_int(const bnf_gguf_kv *kv, int64_t *out)
