# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# A state to and from where it is kept: header, the client's tokens, what sequences hold, the outputs of the last decode, the generator of
# llama_sample_token, keys and values. Reading takes tables over first, which can be undone; then rows are read for their sum, and again
# to be taken over, so that whatever is wrong is found while the context can be as it was. (A file that changes or fails between the two
# costs the sequences: said so.) Rows could go to pages that nothing holds, and be read once; a cache that is nearly full has none, and
# one that is not would touch twice the memory.
# May not: know where the bytes lie. Next: csrc/bnf_state.h draws the format, kv_image.pyx, kv_rows.pyx.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_kv_clear, bnf_kv_keep_tables, bnf_kv_seq_rm, bnf_kv_undo
from bitnet_ffi._core.bnf_context cimport bnf_mt19937, llama_context, BNF_MT_LEN
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_sampler cimport bnf_sampled_begin
from bitnet_ffi._core.bnf_state cimport (
    bnf_image_free, bnf_image_of, bnf_image_read, bnf_image_write, bnf_kv_image, bnf_rows, bnf_rows_begin, bnf_rows_end, bnf_rows_pass,
    bnf_rows_size, bnf_state_header, bnf_store, bnf_store_fail, bnf_store_pass, bnf_store_reserve, bnf_stream, bnf_stream_count,
    bnf_stream_from, bnf_stream_get, bnf_stream_next, bnf_stream_put, bnf_stream_to, bnf_sum, bnf_sum_placed, iovec, BNF_ROWS_CHECK,
    BNF_ROWS_READ, BNF_ROWS_WRITE, BNF_STATE_CONTEXT, BNF_STATE_MAGIC, BNF_STATE_ORDER, BNF_STATE_SEQUENCE, BNF_STATE_VERSION,
    BNF_STORE_FROM_FILE, BNF_STORE_FROM_MEMORY, BNF_STORE_NOWHERE, BNF_STORE_TO_MEMORY)
from bitnet_ffi._core.bnf_types cimport bnf_hparams, bnf_kv, llama_model

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    SUM_SIZE = 8

# ---- whose state it is ----

# Shapes, norms and a row of the embeddings: models of the same shape differ in these.
cdef uint64_t model_print(const llama_model *model) noexcept nogil:
    cdef const bnf_hparams *hp = &model.hp
    cdef uint64_t norm = <uint64_t>hp.n_embd * sizeof(float)
    cdef uint64_t print = bnf_sum_placed(bnf_sum(hp, sizeof(bnf_hparams)), 0)
    cdef int32_t i
    print += bnf_sum_placed(model.n_params, 1) + bnf_sum_placed(model.n_bytes, 2) + bnf_sum_placed(<uint64_t>model.token_embd.type, 3)
    print += bnf_sum_placed(bnf_sum(model.token_embd.data, min(model.token_embd.row_size, <uint64_t>hp.n_embd // 4)), 4)
    print += bnf_sum_placed(bnf_sum(model.output_norm, norm), 5)
    for i in range(hp.n_layer):
        if model.layers[i].attn_norm != NULL:
            print += bnf_sum_placed(bnf_sum(model.layers[i].attn_norm, norm), <uint64_t>(6 + 2 * i))
        if model.layers[i].ffn_norm != NULL:
            print += bnf_sum_placed(bnf_sum(model.layers[i].ffn_norm, norm), <uint64_t>(7 + 2 * i))
    return print

cdef uint64_t rope_print(const llama_context *ctx) noexcept nogil:
    return (bnf_sum(ctx.rope_freqs, <uint64_t>(ctx.model.hp.n_rot // 2) * sizeof(double)) +
            bnf_sum_placed(bnf_sum(&ctx.rope_length, sizeof(double)), 1))

cdef uint64_t header_sum(const bnf_state_header *header) noexcept nogil:
    return bnf_sum(header, sizeof(bnf_state_header) - SUM_SIZE)

# What the header of any state of this context says.
cdef void describe(llama_context *ctx, int32_t seq, bnf_state_header *header) noexcept nogil:
    if ctx.model_print == 0:      # as long as a small state takes
        ctx.model_print = model_print(ctx.model)
    memset(header, 0, sizeof(bnf_state_header))
    memcpy(header.magic, BNF_STATE_MAGIC, sizeof(header.magic))
    header.order = BNF_STATE_ORDER
    header.version = BNF_STATE_VERSION
    header.model = ctx.model_print
    header.rope = rope_print(ctx)
    header.kind = BNF_STATE_CONTEXT if seq < 0 else BNF_STATE_SEQUENCE
    header.type_k = <uint32_t>ctx.kv.type_k
    header.type_v = <uint32_t>ctx.kv.type_v
    header.n_layer = <uint32_t>ctx.model.hp.n_layer
    header.n_head_kv = <uint32_t>ctx.model.hp.n_head_kv
    header.dk = <uint32_t>ctx.model.hp.dk
    header.dv = <uint32_t>ctx.model.hp.dv
    header.n_vocab = <uint32_t>ctx.model.hp.n_vocab
    header.n_embd = <uint32_t>ctx.model.hp.n_embd

cdef int refuse_kind(const bnf_state_header *header) noexcept nogil:
    if header.kind == BNF_STATE_CONTEXT:
        return bnf_fail(BITNET_ERROR, b"this is the state of a context, expected that of one sequence")
    if header.kind == BNF_STATE_SEQUENCE:
        return bnf_fail(BITNET_ERROR, b"this is the state of one sequence, expected that of a context")
    return bnf_fail(BITNET_ERROR, b"the state is of an unknown kind: %u", header.kind)

# Is it a state for this context? 0 or a sentence.
cdef int check_header(llama_context *ctx, int32_t seq, const bnf_state_header *header, uint64_t n_available) noexcept nogil:
    cdef bnf_state_header own
    describe(ctx, seq, &own)
    if memcmp(header.magic, own.magic, sizeof(own.magic)) != 0:
        return bnf_fail(BITNET_ERROR, b"this is no state that bitnet_ffi wrote")
    if header.order != own.order:
        return bnf_fail(BITNET_ERROR, b"the state was written on a machine with another byte order")
    if header.version != own.version:
        return bnf_fail(BITNET_ERROR, b"the state is of version %u, which another version of this library wrote, expected %u",
                        header.version, own.version)
    if header.sum != header_sum(header):
        return bnf_fail(BITNET_ERROR, b"the state's header is damaged: its checksum is wrong")
    if header.kind != own.kind:
        return refuse_kind(header)
    if (header.n_layer != own.n_layer or header.n_head_kv != own.n_head_kv or header.dk != own.dk or header.dv != own.dv
            or header.n_vocab != own.n_vocab or header.n_embd != own.n_embd):
        return bnf_fail(BITNET_ERROR,
                        b"the state is of another model: %u layers, %u kv heads of width %u, %u tokens, expected %u, %u, %u, %u",
                        header.n_layer, header.n_head_kv, header.dk, header.n_vocab, own.n_layer, own.n_head_kv, own.dk, own.n_vocab)
    if header.model != own.model:
        return bnf_fail(BITNET_ERROR, b"the state is of another model: shapes are equal, weights or their types are not")
    if header.rope != own.rope:
        return bnf_fail(BITNET_ERROR, b"the state was made with other rope_freq_base, rope_freq_scale or rope_scaling_type")
    if header.type_k != own.type_k or header.type_v != own.type_v:
        return bnf_fail(BITNET_ERROR, b"the state's cache has another type (type_k) than the context's")
    if header.size > n_available:
        return bnf_fail(BITNET_ERROR, b"the state is cut off: %llu of %llu bytes", <unsigned long long>n_available,
                        <unsigned long long>header.size)
    if (header.size < sizeof(bnf_state_header) + 2 * SUM_SIZE or header.rows_at < sizeof(bnf_state_header) + SUM_SIZE
            or header.rows_at > header.size - SUM_SIZE):
        return bnf_fail(BITNET_ERROR, b"the state contradicts itself: a size of %llu", <unsigned long long>header.size)
    return 0

# ---- files ----

cdef int pass_part(const bnf_store *store, void *data, uint64_t n, uint64_t at) noexcept nogil:
    cdef iovec part
    cdef int reason
    part.iov_base = data
    part.iov_len = n
    reason = bnf_store_pass(store, &part, 1, at)
    return bnf_store_fail(store, reason) if reason != 0 else 0

# ---- writing ----

# All before the rows.
cdef void write_head(llama_context *ctx, const bnf_state_header *header, const bnf_kv_image *image, const int32_t *tokens,
                     bnf_stream *s) noexcept nogil:
    bnf_stream_put(s, header, sizeof(bnf_state_header))
    bnf_stream_put(s, tokens, header.n_client * sizeof(int32_t))
    bnf_image_write(&ctx.kv, image, s)
    bnf_stream_put(s, ctx.batch.out_row, header.n_batch * sizeof(int32_t))
    bnf_stream_put(s, ctx.hidden, <uint64_t>header.n_rows * header.n_embd * sizeof(float))
    bnf_stream_put(s, &ctx.older.random, header.n_random * sizeof(bnf_mt19937))

# The same with its sum, to memory.
cdef void write_head_to(llama_context *ctx, const bnf_state_header *header, const bnf_kv_image *image, const int32_t *tokens,
                        uint8_t *to) noexcept nogil:
    cdef bnf_stream s = bnf_stream_to(to, header.rows_at)
    cdef uint64_t sum
    write_head(ctx, header, image, tokens, &s)
    sum = bnf_sum(to, s.at)
    bnf_stream_put(&s, &sum, SUM_SIZE)

cdef int write_file(llama_context *ctx, const bnf_state_header *header, const bnf_kv_image *image, const int32_t *tokens,
                    bnf_store *store, bnf_rows *rows) noexcept nogil:
    cdef uint8_t *head = <uint8_t *>bnf_alloc(<size_t>header.rows_at)
    cdef int rc
    if head == NULL:
        return BITNET_ERROR_MEMORY
    write_head_to(ctx, header, image, tokens, head)
    rc = pass_part(store, head, header.rows_at, 0)
    bnf_release(head)
    if rc == 0:
        rc = bnf_rows_pass(rows, BNF_ROWS_WRITE)
    return pass_part(store, &rows.sum, SUM_SIZE, header.size - SUM_SIZE) if rc == 0 else rc

cdef int write_memory(llama_context *ctx, const bnf_state_header *header, const bnf_kv_image *image, const int32_t *tokens,
                      bnf_store *store, bnf_rows *rows) noexcept nogil:
    cdef int rc = bnf_rows_pass(rows, BNF_ROWS_WRITE)
    if rc == 0:
        write_head_to(ctx, header, image, tokens, store.to)
        memcpy(store.to + header.size - SUM_SIZE, &rows.sum, SUM_SIZE)
    return rc

cdef int write(llama_context *ctx, int32_t seq, const int32_t *tokens, uint32_t n_tokens, const bnf_kv_image *image,
               bnf_state_header *header, bnf_store *store) noexcept nogil:
    cdef bnf_stream counter = bnf_stream_count()
    cdef bnf_rows rows
    cdef int rc
    describe(ctx, seq, header)
    header.n_client = n_tokens
    header.n_pages = <uint32_t>image.n_pages
    header.n_tokens = <uint32_t>image.n_tokens
    header.n_tables = <uint32_t>image.n_tables
    if seq < 0 and ctx.n_outputs > 0:
        header.n_batch = <uint32_t>ctx.batch.n_tokens
        header.n_rows = <uint32_t>ctx.n_outputs
    if seq < 0 and ctx.older.seeded:
        header.n_random = 1
    write_head(ctx, header, image, tokens, &counter)
    header.rows_at = counter.at + SUM_SIZE
    header.size = header.rows_at + bnf_rows_size(&ctx.kv, image) + SUM_SIZE
    header.sum = header_sum(header)
    if store.kind == BNF_STORE_NOWHERE:
        return 0
    rc = bnf_store_reserve(store, header.size)
    if rc == 0:
        rc = bnf_rows_begin(ctx, image, store, header.rows_at, &rows)
        if rc == 0 and store.kind == BNF_STORE_TO_MEMORY:
            rc = write_memory(ctx, header, image, tokens, store, &rows)
        elif rc == 0:
            rc = write_file(ctx, header, image, tokens, store, &rows)
        bnf_rows_end(&rows)
    return rc

# Bytes of the state, which is where it is kept; 0: a last error says why not.
cdef public uint64_t bnf_state_write(llama_context *ctx, int32_t seq, const int32_t *tokens, uint32_t n_tokens,
                                     bnf_store *store) noexcept nogil:
    cdef bnf_state_header header
    cdef bnf_kv_image image
    cdef int rc = bnf_image_of(&ctx.kv, seq, &image)
    if rc != 0:
        return 0
    rc = write(ctx, seq, tokens, n_tokens, &image, &header, store)
    bnf_image_free(&image)
    return header.size if rc == 0 else 0

# ---- reading ----

# What a state brings beside the cache, until it is sure that all of it can be taken.
ctypedef struct rest_t:
    int32_t *out_row
    float *hidden
    bnf_mt19937 random

cdef int read_rest(const llama_context *ctx, const bnf_state_header *header, bnf_stream *s, rest_t *rest) noexcept nogil:
    cdef uint64_t n_bytes = <uint64_t>header.n_rows * header.n_embd * sizeof(float)
    cdef uint32_t i
    cdef int64_t n = 0
    if (header.n_rows > header.n_batch or header.n_batch > 0x7fffffff // 4
            or n_bytes + <uint64_t>header.n_batch * sizeof(int32_t) > header.size):
        return bnf_fail(BITNET_ERROR, b"the state contradicts itself: %u outputs of %u tokens", header.n_rows, header.n_batch)
    rest.out_row = <int32_t *>bnf_alloc_array(header.n_batch, sizeof(int32_t))
    rest.hidden = <float *>bnf_alloc(<size_t>n_bytes)
    if rest.out_row == NULL or rest.hidden == NULL:
        return BITNET_ERROR_MEMORY
    if not bnf_stream_get(s, rest.out_row, <uint64_t>header.n_batch * sizeof(int32_t)) or not bnf_stream_get(s, rest.hidden, n_bytes):
        return s.code
    for i in range(header.n_batch):
        if rest.out_row[i] != -1 and rest.out_row[i] != n:
            return bnf_fail(BITNET_ERROR, b"the state contradicts itself: row %d of token %u", rest.out_row[i], i)
        n += 1 if rest.out_row[i] >= 0 else 0
    if n != header.n_rows:
        return bnf_fail(BITNET_ERROR, b"the state contradicts itself: %u outputs, and rows for %lld", header.n_rows, <long long>n)
    if header.n_random == 0:
        return 0
    if header.n_random != 1 or not bnf_stream_get(s, &rest.random, sizeof(bnf_mt19937)):
        return bnf_fail(BITNET_ERROR, b"the state contradicts itself: %u generators", header.n_random) if s.code == 0 else s.code
    if rest.random.next < 0 or rest.random.next > BNF_MT_LEN:
        return bnf_fail(BITNET_ERROR, b"the state contradicts itself: word %d of a generator", rest.random.next)
    return 0

# The outputs of the decode before the state was written become the context's. out_row lies where the batch's arrays do.
cdef void take_rest(llama_context *ctx, const bnf_state_header *header, rest_t *rest) noexcept nogil:
    bnf_release(ctx.batch_memory)
    ctx.batch_memory = rest.out_row
    ctx.batch_memory_size = header.n_batch * sizeof(int32_t)
    memset(&ctx.batch, 0, sizeof(ctx.batch))
    ctx.batch.n_tokens = <int32_t>header.n_batch
    ctx.batch.n_outputs = <int32_t>header.n_rows
    ctx.batch.out_row = rest.out_row
    bnf_release(ctx.hidden)
    ctx.hidden = rest.hidden
    ctx.hidden_size = <uint64_t>header.n_rows * header.n_embd * sizeof(float)
    ctx.n_outputs = <int32_t>header.n_rows
    ctx.logits_ready = 0
    ctx.embeddings_ready = False      # pooling would want the batch's sequences too
    ctx.screened.n = 0
    bnf_sampled_begin(ctx)            # nothing was sampled for these rows
    if header.n_random > 0:           # without one, the context keeps its own
        ctx.older.random = rest.random
        ctx.older.seeded = True
    rest.out_row = NULL
    rest.hidden = NULL

# Everything but the rows, of which the sum is made: what the context's tables say is true when it succeeds, and undone when not.
cdef int read_tables(llama_context *ctx, int32_t seq, const bnf_state_header *header, bnf_stream *s, const bnf_store *store,
                     bnf_kv_image *image, rest_t *rest, bnf_rows *rows) noexcept nogil:
    cdef bnf_kv *before = bnf_kv_keep_tables(&ctx.kv)
    cdef uint64_t told = 0
    cdef int rc
    if before == NULL:
        return BITNET_ERROR_MEMORY
    rc = bnf_image_read(&ctx.kv, seq, header, s, image)
    if rc == 0:
        rc = read_rest(ctx, header, s, rest)
    if rc == 0 and (s.at != s.size or header.rows_at + bnf_rows_size(&ctx.kv, image) + SUM_SIZE != header.size):
        rc = bnf_fail(BITNET_ERROR, b"the state contradicts itself: a size of %llu", <unsigned long long>header.size)
    if rc == 0:
        rc = bnf_rows_begin(ctx, image, store, header.rows_at, rows)
    if rc == 0:
        rc = bnf_rows_pass(rows, BNF_ROWS_CHECK)
    if rc == 0:
        rc = read_part(store, &told, SUM_SIZE, header.size - SUM_SIZE)
    if rc == 0 and rows.sum != told:
        rc = bnf_fail(BITNET_ERROR, b"the state is damaged: the checksum of its rows is wrong")
    if rc != 0:
        bnf_kv_undo(&ctx.kv, before)
    bnf_release(before)
    return rc

# The rows: nothing but a file can fail now. A caller's memory stays what it was.
cdef int read_rows(llama_context *ctx, int32_t seq, const bnf_store *store, bnf_rows *rows) noexcept nogil:
    cdef uint64_t sum = rows.sum
    if bnf_rows_pass(rows, BNF_ROWS_READ) == 0 and (store.kind == BNF_STORE_FROM_MEMORY or rows.sum == sum):
        return 0
    if seq >= 0:
        bnf_kv_seq_rm(&ctx.kv, seq, 0, 0x7fffffff)
    else:
        bnf_kv_clear(&ctx.kv, False)
    return bnf_fail(BITNET_ERROR, b"the state changed while it was read: the sequences that it was for are empty now")

# Where the client's tokens lie.
cdef int read_client(const bnf_state_header *header, const int32_t *tokens, uint64_t n_tokens_max, bnf_stream *s,
                     const void **client) noexcept nogil:
    if header.n_client > n_tokens_max or (header.n_client > 0 and tokens == NULL):
        return bnf_fail(BITNET_ERROR, b"the state comes with %u tokens, and there is room for %llu", header.n_client,
                        <unsigned long long>(n_tokens_max if tokens != NULL else 0))
    client[0] = bnf_stream_next(s, header.n_client * sizeof(int32_t))
    return s.code

cdef int read_part(const bnf_store *store, void *data, uint64_t n, uint64_t at) noexcept nogil:
    if store.kind == BNF_STORE_FROM_FILE:
        return pass_part(store, data, n, at)
    memcpy(data, store.from_ + at, n)
    return 0

# `head`: all before the rows, as it is in memory.
cdef int read_body(llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, const bnf_state_header *header,
                   const uint8_t *head, const bnf_store *store, bnf_kv_image *image, rest_t *rest, bnf_rows *rows) noexcept nogil:
    cdef bnf_stream s = bnf_stream_from(head, header.rows_at - SUM_SIZE)
    cdef const void *client = NULL
    cdef uint64_t sum = 0
    cdef int rc
    memcpy(&sum, head + s.size, SUM_SIZE)
    if sum != bnf_sum(head, s.size):
        return bnf_fail(BITNET_ERROR, b"the state is damaged: its checksum is wrong")
    s.at = sizeof(bnf_state_header)
    rc = read_client(header, tokens, n_tokens_max, &s, &client)
    if rc == 0:
        rc = read_tables(ctx, seq, header, &s, store, image, rest, rows)
    if rc == 0:
        rc = read_rows(ctx, seq, store, rows)
    if rc == 0 and header.n_client > 0:
        memcpy(tokens, client, header.n_client * sizeof(int32_t))
    return rc

cdef int read(llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, bnf_state_header *header, const bnf_store *store,
              bnf_kv_image *image, rest_t *rest, bnf_rows *rows) noexcept nogil:
    cdef uint8_t *head
    cdef int rc
    if store.size < sizeof(bnf_state_header):
        return bnf_fail(BITNET_ERROR, b"the state is cut off: %llu bytes, less than a header", <unsigned long long>store.size)
    rc = read_part(store, header, sizeof(bnf_state_header), 0)
    if rc == 0:
        rc = check_header(ctx, seq, header, store.size)
    if rc != 0:
        return rc
    if store.kind == BNF_STORE_FROM_MEMORY:
        return read_body(ctx, seq, tokens, n_tokens_max, header, store.from_, store, image, rest, rows)
    head = <uint8_t *>bnf_alloc(<size_t>header.rows_at)
    if head == NULL:
        return BITNET_ERROR_MEMORY
    rc = read_part(store, head, header.rows_at, 0)
    if rc == 0 and memcmp(head, header, sizeof(bnf_state_header)) != 0:
        rc = bnf_fail(BITNET_ERROR, b"the state changed while it was read")
    if rc == 0:
        rc = read_body(ctx, seq, tokens, n_tokens_max, header, head, store, image, rest, rows)
    bnf_release(head)
    return rc

# Bytes of the state that the context, or its sequence, now has; 0: a last error says why not.
cdef public uint64_t bnf_state_read(llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, uint64_t *n_tokens,
                                    const bnf_store *store) noexcept nogil:
    cdef bnf_state_header header
    cdef bnf_kv_image image
    cdef bnf_rows rows
    cdef rest_t rest
    cdef int rc
    memset(&rows, 0, sizeof(rows))
    memset(&image, 0, sizeof(image))
    memset(&rest, 0, sizeof(rest))
    rc = read(ctx, seq, tokens, n_tokens_max, &header, store, &image, &rest, &rows)
    if rc == 0 and seq < 0:
        take_rest(ctx, &header, &rest)
    if rc == 0 and n_tokens != NULL:
        n_tokens[0] = header.n_client
    bnf_release(rest.out_row)
    bnf_release(rest.hidden)
    bnf_rows_end(&rows)
    bnf_image_free(&image)
    return header.size if rc == 0 else 0
