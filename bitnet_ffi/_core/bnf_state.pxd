# csrc/bnf_state.h and bnf_stream.h for Cython, and what the rooms of the state call of each other (csrc/bnf_calls.h).

from libc.stdint cimport uint8_t, int32_t, uint32_t, uint64_t
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_public cimport bool
from bitnet_ffi._core.bnf_types cimport bnf_kv

cdef extern from "bnf_state.h" nogil:
    const char *BNF_STATE_MAGIC
    enum:
        BNF_STATE_CONTEXT, BNF_STATE_SEQUENCE
    uint32_t BNF_STATE_ORDER
    uint32_t BNF_STATE_VERSION
    ctypedef struct bnf_state_header "struct bnf_state_header":
        char magic[8]
        uint32_t order
        uint32_t version
        uint64_t size
        uint64_t model
        uint64_t rope
        uint32_t kind
        uint32_t type_k
        uint32_t type_v
        uint32_t n_layer
        uint32_t n_head_kv
        uint32_t dk
        uint32_t dv
        uint32_t n_vocab
        uint32_t n_embd
        uint32_t n_client
        uint32_t n_pages
        uint32_t n_tokens
        uint32_t n_tables
        uint32_t n_batch
        uint32_t n_rows
        uint32_t n_random
        uint64_t checksum
    ctypedef struct bnf_state_table "struct bnf_state_table":
        uint32_t seq
        uint32_t level
        uint32_t n_entries
    ctypedef struct bnf_state_entry "struct bnf_state_entry":
        uint32_t index
        uint32_t page
        uint64_t mask

cdef extern from "bnf_stream.h" nogil:
    enum:
        BNF_STREAM_COUNT, BNF_STREAM_FROM_MEMORY
    ctypedef struct bnf_checksum "struct bnf_checksum":
        pass
    bnf_checksum bnf_checksum_begin()
    void bnf_checksum_add(bnf_checksum *sum, const void *data, uint64_t n)
    uint64_t bnf_checksum_end(const bnf_checksum *sum)
    ctypedef struct bnf_stream "struct bnf_stream":
        int kind
        int code
        uint64_t at
        uint64_t size
        bool summed
        bnf_checksum sum
    void bnf_stream_count(bnf_stream *s)
    void bnf_stream_to_memory(bnf_stream *s, uint8_t *memory, uint64_t size)
    void bnf_stream_from_memory(bnf_stream *s, const uint8_t *memory, uint64_t size)
    int bnf_stream_to_file(bnf_stream *s, const char *path)
    int bnf_stream_from_file(bnf_stream *s, const char *path)
    int bnf_stream_close(bnf_stream *s, bool keep)
    void bnf_stream_put(bnf_stream *s, const void *data, uint64_t n)
    bool bnf_stream_get(bnf_stream *s, void *data, uint64_t n)
    bool bnf_stream_skim(bnf_stream *s, uint64_t n)
    void bnf_stream_rewind(bnf_stream *s, bool summed)

cdef extern from "bnf_calls.h" nogil:
    # Which pages and tokens a state has, by their numbers in the cache and in the state.
    ctypedef struct bnf_kv_image "struct bnf_kv_image":
        int32_t seq
        int32_t n_pages
        int32_t n_tokens
        int32_t n_tables
        int32_t *page
        uint64_t *mask
        int32_t *number
    int bnf_image_of(const bnf_kv *kv, int32_t seq, bnf_kv_image *image)
    int bnf_image_read(bnf_kv *kv, int32_t seq, const bnf_state_header *header, bnf_stream *s, bnf_kv_image *image)
    void bnf_image_write(const bnf_kv *kv, const bnf_kv_image *image, bnf_stream *s)
    void bnf_image_write_rows(const bnf_kv *kv, const bnf_kv_image *image, bnf_stream *s)
    void bnf_image_read_rows(bnf_kv *kv, const bnf_kv_image *image, bnf_stream *s)
    uint64_t bnf_image_rows_size(const bnf_kv *kv, const bnf_kv_image *image)
    void bnf_image_free(bnf_kv_image *image)
    int32_t bnf_kv_take_page(bnf_kv *kv)
    int32_t bnf_kv_fill(bnf_kv *kv, int32_t page, int32_t slot, int32_t token)
    bool bnf_kv_reach(bnf_kv *kv, int32_t table, int32_t index)
    uint64_t bnf_state_write(llama_context *ctx, int32_t seq, const int32_t *tokens, uint32_t n_tokens, bnf_stream *s)
    uint64_t bnf_state_read(llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, uint64_t *n_tokens, bnf_stream *s)
