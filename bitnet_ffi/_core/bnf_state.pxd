# csrc/bnf_state.h, bnf_stream.h, bnf_store.h and bnf_sum.h for Cython, and what the rooms of the state call of each other (csrc/bnf_calls.h).

from libc.stdint cimport uint8_t, int32_t, int64_t, uint32_t, uint64_t
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
        uint64_t rows_at
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
        uint64_t sum
    ctypedef struct bnf_state_table "struct bnf_state_table":
        uint32_t seq
        uint32_t level
        uint32_t n_entries
    ctypedef struct bnf_state_entry "struct bnf_state_entry":
        uint32_t index
        uint32_t page
        uint64_t mask

cdef extern from "bnf_sum.h" nogil:
    uint64_t bnf_sum(const void *data, uint64_t n)
    uint64_t bnf_sum_copy(void *to, const void *from_, uint64_t n)
    uint64_t bnf_sum_placed(uint64_t sum, uint64_t number)

cdef extern from "bnf_stream.h" nogil:
    ctypedef struct bnf_stream "struct bnf_stream":
        int code
        uint64_t at
        uint64_t size
    bnf_stream bnf_stream_count()
    bnf_stream bnf_stream_to(uint8_t *memory, uint64_t size)
    bnf_stream bnf_stream_from(const uint8_t *memory, uint64_t size)
    void bnf_stream_put(bnf_stream *s, const void *data, uint64_t n)
    const void *bnf_stream_next(bnf_stream *s, uint64_t n)
    bool bnf_stream_get(bnf_stream *s, void *data, uint64_t n)

cdef extern from "bnf_store.h" nogil:
    enum:
        BNF_STORE_NOWHERE, BNF_STORE_TO_MEMORY, BNF_STORE_TO_FILE, BNF_STORE_FROM_MEMORY, BNF_STORE_FROM_FILE
    ctypedef struct iovec "struct iovec":
        void *iov_base
        size_t iov_len
    ctypedef struct bnf_store "struct bnf_store":
        int kind
        uint64_t size
        uint8_t *to
        const uint8_t *from_ "from"
    bnf_store bnf_store_nowhere()
    bnf_store bnf_store_to_memory(uint8_t *memory, uint64_t size)
    bnf_store bnf_store_from_memory(const uint8_t *memory, uint64_t size)
    int bnf_store_to_file(bnf_store *store, const char *path)
    int bnf_store_from_file(bnf_store *store, const char *path)
    int bnf_store_reserve(bnf_store *store, uint64_t size)
    int bnf_store_pass(const bnf_store *store, iovec *parts, int n, uint64_t at)
    int bnf_store_fail(const bnf_store *store, int reason)
    int bnf_store_close(bnf_store *store, bool keep)

cdef extern from "bnf_calls.h" nogil:
    ctypedef struct bnf_kv_image "struct bnf_kv_image":
        int32_t seq
        int32_t n_pages
        int32_t n_tokens
        int32_t n_tables
        uint64_t n_rows
        int32_t *page
        uint64_t *mask
        int32_t *place
        int32_t *number
    int bnf_image_of(const bnf_kv *kv, int32_t seq, bnf_kv_image *image)
    int bnf_image_read(bnf_kv *kv, int32_t seq, const bnf_state_header *header, bnf_stream *s, bnf_kv_image *image)
    void bnf_image_write(const bnf_kv *kv, const bnf_kv_image *image, bnf_stream *s)
    void bnf_image_free(bnf_kv_image *image)
    enum:
        BNF_ROWS_WRITE, BNF_ROWS_CHECK, BNF_ROWS_READ
    uint64_t bnf_rows_size(const bnf_kv *kv, const bnf_kv_image *image)
    ctypedef struct bnf_rows "struct bnf_rows":
        llama_context *ctx
        const bnf_kv_image *image
        const bnf_store *store
        int what
        int n_threads
        uint64_t at
        uint64_t *before
        int64_t n_pieces
        int64_t group
        uint8_t *buffer
        uint64_t buffer_size
        int64_t next
        uint64_t sum
        int32_t reason
    int bnf_rows_begin(llama_context *ctx, const bnf_kv_image *image, const bnf_store *store, uint64_t at, bnf_rows *rows)
    int bnf_rows_pass(bnf_rows *rows, int what)
    void bnf_rows_end(bnf_rows *rows)
    int32_t bnf_kv_take_page(bnf_kv *kv)
    int32_t bnf_kv_fill(bnf_kv *kv, int32_t page, int32_t slot, int32_t token)
    bool bnf_kv_reach(bnf_kv *kv, int32_t table, int32_t index)
    uint64_t bnf_state_write(llama_context *ctx, int32_t seq, const int32_t *tokens, uint32_t n_tokens, bnf_store *store)
    uint64_t bnf_state_read(llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, uint64_t *n_tokens,
                            const bnf_store *store)
