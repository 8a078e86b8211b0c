# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# A state to and from a stream: header, the client's tokens, what sequences hold, the outputs of the last decode, the generator of
# llama_sample_token, keys and values, checksum. Reading goes twice over the bytes: once for the checksum, then to take them over,
# tables before rows, so that whatever is wrong is found while the context is as it was. (A file that changes or fails between the two
# costs the sequences: said so.)
# May not: know where the bytes lie. Next: csrc/bnf_state.h draws the format, kv_image.pyx.

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_kv_clear, bnf_kv_keep_tables, bnf_kv_seq_rm, bnf_kv_undo
from bitnet_ffi._core.bnf_context cimport bnf_mt19937, llama_context, BNF_MT_LEN
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_sampler cimport bnf_sampled_begin
from bitnet_ffi._core.bnf_state cimport (
    bnf_checksum, bnf_checksum_add, bnf_checksum_begin, bnf_checksum_end, bnf_image_free, bnf_image_of, bnf_image_read,
    bnf_image_read_rows, bnf_image_rows_size, bnf_image_write, bnf_image_write_rows, bnf_kv_image, bnf_state_header, bnf_stream,
    bnf_stream_count, bnf_stream_get, bnf_stream_put, bnf_stream_rewind, bnf_stream_skim, BNF_STATE_CONTEXT, BNF_STATE_MAGIC,
    BNF_STATE_ORDER, BNF_STATE_SEQUENCE, BNF_STATE_VERSION, BNF_STREAM_COUNT, BNF_STREAM_FROM_MEMORY)
from bitnet_ffi._core.bnf_types cimport bnf_hparams, bnf_kv, llama_model


cdef extern from "bnf_calls.h":
    pass

# ---- whose state it is ----

# Shapes, norms and a row of the embeddings: models of the same shape differ in these.
cdef uint64_t model_print(const llama_model *model) noexcept nogil:
    cdef const bnf_hparams *hp = &model.hp
    cdef bnf_checksum sum = bnf_checksum_begin()
    cdef uint64_t norm = <uint64_t>hp.n_embd * sizeof(float)
    cdef int32_t i
    bnf_checksum_add(&sum, hp, sizeof(bnf_hparams))
    bnf_checksum_add(&sum, &model.n_params, sizeof(uint64_t))
    bnf_checksum_add(&sum, &model.n_bytes, sizeof(uint64_t))
    bnf_checksum_add(&sum, &model.token_embd.type, sizeof(int32_t))
    bnf_checksum_add(&sum, model.token_embd.data, min(model.token_embd.row_size, <uint64_t>hp.n_embd // 4))
    bnf_checksum_add(&sum, model.output_norm, norm)
    for i in range(hp.n_layer):
        if model.layers[i].attn_norm != NULL:
            bnf_checksum_add(&sum, model.layers[i].attn_norm, norm)
        if model.layers[i].ffn_norm != NULL:
            bnf_checksum_add(&sum, model.layers[i].ffn_norm, norm)
    return bnf_checksum_end(&sum)

cdef uint64_t rope_print(const llama_context *ctx) noexcept nogil:
    cdef bnf_checksum sum = bnf_checksum_begin()
    bnf_checksum_add(&sum, ctx.rope_freqs, <uint64_t>(ctx.model.hp.n_rot // 2) * sizeof(double))
    return bnf_checksum_end(&sum)

cdef uint64_t header_sum(const bnf_state_header *header) noexcept nogil:
    cdef bnf_checksum sum = bnf_checksum_begin()
    bnf_checksum_add(&sum, header, sizeof(bnf_state_header) - sizeof(uint64_t))
    return bnf_checksum_end(&sum)

# What the header of any state of this context says.
cdef void describe(const llama_context *ctx, int32_t seq, bnf_state_header *header) noexcept nogil:
    memset(header, 0, sizeof(bnf_state_header))
    memcpy(header.magic, BNF_STATE_MAGIC, sizeof(header.magic))
    header.order = BNF_STATE_ORDER
    header.version = BNF_STATE_VERSION
    header.model = model_print(ctx.model)
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
cdef int check_header(const llama_context *ctx, int32_t seq, const bnf_state_header *header, uint64_t n_available) noexcept nogil:
    cdef bnf_state_header own
    describe(ctx, seq, &own)
    if memcmp(header.magic, own.magic, sizeof(own.magic)) != 0:
        return bnf_fail(BITNET_ERROR, b"this is no state that bitnet_ffi wrote")
    if header.order != own.order:
        return bnf_fail(BITNET_ERROR, b"the state was written on a machine with another byte order")
    if header.version < 1 or header.version > own.version:
        return bnf_fail(BITNET_ERROR, b"the state is of version %u, expected 1 to %u", header.version, own.version)
    if header.checksum != header_sum(header):
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
    if header.size < sizeof(bnf_state_header) + sizeof(uint64_t):
        return bnf_fail(BITNET_ERROR, b"the state contradicts itself: a size of %llu", <unsigned long long>header.size)
    return 0

# ---- writing ----

cdef void write_body(llama_context *ctx, const bnf_state_header *header, const bnf_kv_image *image, const int32_t *tokens,
                     bnf_stream *s) noexcept nogil:
    cdef uint64_t sum
    bnf_stream_put(s, header, sizeof(bnf_state_header))
    bnf_stream_put(s, tokens, header.n_client * sizeof(int32_t))
    bnf_image_write(&ctx.kv, image, s)
    bnf_stream_put(s, ctx.batch.out_row, header.n_batch * sizeof(int32_t))
    bnf_stream_put(s, ctx.hidden, <uint64_t>header.n_rows * header.n_embd * sizeof(float))
    bnf_stream_put(s, &ctx.older.random, header.n_random * sizeof(bnf_mt19937))
    bnf_image_write_rows(&ctx.kv, image, s)
    sum = bnf_checksum_end(&s.sum)
    bnf_stream_put(s, &sum, sizeof(sum))

# Bytes of the state, which went to the stream; 0: a last error says why not.
cdef public uint64_t bnf_state_write(llama_context *ctx, int32_t seq, const int32_t *tokens, uint32_t n_tokens,
                                     bnf_stream *s) noexcept nogil:
    cdef bnf_state_header header
    cdef bnf_kv_image image
    cdef bnf_stream counter
    if bnf_image_of(&ctx.kv, seq, &image) != 0:
        return 0
    describe(ctx, seq, &header)
    header.n_client = n_tokens
    header.n_pages = <uint32_t>image.n_pages
    header.n_tokens = <uint32_t>image.n_tokens
    header.n_tables = <uint32_t>image.n_tables
    if seq < 0 and ctx.n_outputs > 0:
        header.n_batch = <uint32_t>ctx.batch.n_tokens
        header.n_rows = <uint32_t>ctx.n_outputs
    if seq < 0 and ctx.older.seeded:
        header.n_random = 1
    bnf_stream_count(&counter)
    write_body(ctx, &header, &image, tokens, &counter)
    header.size = counter.at
    header.checksum = header_sum(&header)
    if s.kind != BNF_STREAM_COUNT:
        write_body(ctx, &header, &image, tokens, s)
    bnf_image_free(&image)
    return header.size if s.code == 0 else 0

# ---- reading ----

# What a state brings beside the cache, until it is sure that all of it can be taken.
ctypedef struct rest_t:
    int32_t *out_row
    float *hidden
    bnf_mt19937 random

# Reads all once: does the checksum agree?
cdef int check_sum(bnf_stream *s, uint64_t size) noexcept nogil:
    cdef uint64_t sum = 0
    cdef uint64_t told
    bnf_stream_rewind(s, True)
    if not bnf_stream_skim(s, size - sizeof(uint64_t)):
        return s.code
    told = bnf_checksum_end(&s.sum)
    if not bnf_stream_get(s, &sum, sizeof(sum)):
        return s.code
    if sum != told:
        return bnf_fail(BITNET_ERROR, b"the state is damaged: its checksum is wrong")
    return 0

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

# The tables, and the rest; the context's tables are changed when it succeeds, as they were when not.
cdef int read_tables(llama_context *ctx, int32_t seq, const bnf_state_header *header, bnf_stream *s, bnf_kv_image *image,
                     rest_t *rest) noexcept nogil:
    cdef bnf_kv *before = bnf_kv_keep_tables(&ctx.kv)
    cdef int rc
    if before == NULL:
        return BITNET_ERROR_MEMORY
    rc = bnf_image_read(&ctx.kv, seq, header, s, image)
    if rc == 0:
        rc = read_rest(ctx, header, s, rest)
    if rc == 0 and s.at + bnf_image_rows_size(&ctx.kv, image) + sizeof(uint64_t) != header.size:
        rc = bnf_fail(BITNET_ERROR, b"the state contradicts itself: a size of %llu", <unsigned long long>header.size)
    if rc != 0:
        bnf_kv_undo(&ctx.kv, before)
    bnf_release(before)
    return rc

# The rows: nothing but the reading itself can fail now.
cdef int read_rows(llama_context *ctx, int32_t seq, const bnf_state_header *header, bnf_stream *s,
                   const bnf_kv_image *image) noexcept nogil:
    cdef uint64_t sum = 0
    cdef uint64_t told
    bnf_image_read_rows(&ctx.kv, image, s)
    told = bnf_checksum_end(&s.sum)
    if bnf_stream_get(s, &sum, sizeof(sum)) and (sum == told or not s.summed):
        return 0
    if seq >= 0:
        bnf_kv_seq_rm(&ctx.kv, seq, 0, 0x7fffffff)
    else:
        bnf_kv_clear(&ctx.kv, False)
    return bnf_fail(BITNET_ERROR, b"the state changed while it was read: the sequences that it was for are empty now")

cdef int read_client(const bnf_state_header *header, int32_t *tokens, uint64_t n_tokens_max, bnf_stream *s) noexcept nogil:
    if header.n_client > n_tokens_max or (header.n_client > 0 and tokens == NULL):
        return bnf_fail(BITNET_ERROR, b"the state comes with %u tokens, and there is room for %llu", header.n_client,
                        <unsigned long long>(n_tokens_max if tokens != NULL else 0))
    return 0 if bnf_stream_get(s, tokens, header.n_client * sizeof(int32_t)) else s.code

cdef int read(llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, bnf_state_header *header, bnf_stream *s,
              bnf_kv_image *image, rest_t *rest) noexcept nogil:
    cdef int rc
    if s.size < sizeof(bnf_state_header):
        return bnf_fail(BITNET_ERROR, b"the state is cut off: %llu bytes, less than a header", <unsigned long long>s.size)
    if not bnf_stream_get(s, header, sizeof(bnf_state_header)):
        return s.code
    rc = check_header(ctx, seq, header, s.size)
    if rc == 0:
        rc = check_sum(s, header.size)
    if rc != 0:
        return rc
    bnf_stream_rewind(s, s.kind != BNF_STREAM_FROM_MEMORY)      # a caller's memory stays what it was; a file may not
    if not bnf_stream_get(s, header, sizeof(bnf_state_header)):
        return s.code
    if header.checksum != header_sum(header):
        return bnf_fail(BITNET_ERROR, b"the state changed while it was read")
    s.size = header.size      # no part may reach beyond it
    rc = read_client(header, tokens, n_tokens_max, s)
    if rc == 0:
        rc = read_tables(ctx, seq, header, s, image, rest)
    return read_rows(ctx, seq, header, s, image) if rc == 0 else rc

# Bytes of the state that the context, or its sequence, now has; 0: a last error says why not. `tokens` may be written in any case.
cdef public uint64_t bnf_state_read(llama_context *ctx, int32_t seq, int32_t *tokens, uint64_t n_tokens_max, uint64_t *n_tokens,
                                    bnf_stream *s) noexcept nogil:
    cdef bnf_state_header header
    cdef bnf_kv_image image
    cdef rest_t rest
    cdef int rc
    memset(&image, 0, sizeof(image))
    memset(&rest, 0, sizeof(rest))
    rc = read(ctx, seq, tokens, n_tokens_max, &header, s, &image, &rest)
    if rc == 0 and seq < 0:
        take_rest(ctx, &header, &rest)
    if rc == 0 and n_tokens != NULL:
        n_tokens[0] = header.n_client
    bnf_release(rest.out_row)
    bnf_release(rest.hidden)
    bnf_image_free(&image)
    return header.size if rc == 0 else 0
