# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# From a client's llama_batch to a bnf_batch: every field checked, missing ones filled in, rows of logits numbered.
# Positions of a sequence go on without a gap, as llama.cpp demands; a wrong batch is refused before anything changes.
# Also the client's side: llama_batch_* and llama_batch_ext_*.
# May not: touch the KV cache. Next: api_decode.pyx.

from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset
from bitnet_ffi._core.bnf cimport (
    bool, llama_batch, llama_context, llama_pos, llama_seq_id, llama_token, llama_batch_ext, bnf_batch, bnf_clear_error, bnf_fail, bnf_resize,
    BITNET_ERROR, BITNET_ERROR_MEMORY)

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    # Page tables grow with the position, so a hostile one must not ask for gigabytes: 16 M positions are 4 MiB of table.
    MAX_POS = 1 << 24
    # More tokens than this in one call is a mistake. Times n_seq_max that may be 2^32: such indexes are 64 bits wide.
    MAX_TOKENS = 1 << 24

# ---- into the engine ----

# The context's arrays for n tokens of up to n_seq sequences each; they grow and stay.
cdef int make_room(llama_context *ctx, int32_t n, int32_t stride) noexcept nogil:
    cdef uint64_t need = <uint64_t>n * <uint64_t>(3 + stride) * sizeof(int32_t)
    cdef void *grown
    if need > ctx.batch_memory_size:
        grown = bnf_resize(ctx.batch_memory, ctx.batch_memory_size, need)
        if grown == NULL:
            return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch of %d tokens", n)
        ctx.batch_memory = <int32_t *>grown
        ctx.batch_memory_size = need
    return 0

cdef public int bnf_batch_check(const llama_context *ctx, const llama_batch *client) noexcept nogil:
    cdef int32_t i
    if client.n_tokens <= 0 or client.n_tokens > MAX_TOKENS:
        return bnf_fail(BITNET_ERROR, b"batch.n_tokens is %d, expected 1 to %d", client.n_tokens, <int>MAX_TOKENS)
    if client.token == NULL:
        if client.embd != NULL:
            return bnf_fail(BITNET_ERROR, b"batch.embd: embeddings as input are not supported, give batch.token")
        return bnf_fail(BITNET_ERROR, b"batch.token is NULL")
    for i in range(client.n_tokens):
        if client.token[i] < 0 or client.token[i] >= ctx.model.hp.n_vocab:
            return bnf_fail(BITNET_ERROR, b"batch.token[%d] is %d, expected 0 to %d", i, client.token[i], ctx.model.hp.n_vocab - 1)
    return 0

# Sequences of token i into out.seq; 0 or an error.
cdef int fill_sequences(llama_context *ctx, const llama_batch *client, bnf_batch *out, int32_t i) noexcept nogil:
    cdef int32_t n_seq_max = ctx.kv.n_seq_max
    cdef int32_t *row = out.seq + <int64_t>i * out.seq_stride
    cdef int32_t n = 1
    cdef int32_t j, h
    if client.seq_id == NULL:
        out.n_seq[i] = 1
        row[0] = 0
        return 0
    if client.n_seq_id != NULL:
        n = client.n_seq_id[i]
    if n < 1 or n > n_seq_max:
        return bnf_fail(BITNET_ERROR, b"batch.n_seq_id[%d] is %d, expected 1 to n_seq_max = %d", i, n, n_seq_max)
    if client.seq_id[i] == NULL:
        return bnf_fail(BITNET_ERROR, b"batch.seq_id[%d] is NULL", i)
    for j in range(n):
        row[j] = client.seq_id[i][j]
        if row[j] < 0 or row[j] >= n_seq_max:
            return bnf_fail(BITNET_ERROR, b"batch.seq_id[%d][%d] is %d, expected 0 to %d (n_seq_max - 1)", i, j, row[j], n_seq_max - 1)
        for h in range(j):
            if row[h] == row[j]:
                return bnf_fail(BITNET_ERROR, b"batch.seq_id[%d] names sequence %d twice", i, row[j])
    out.n_seq[i] = n
    return 0

# The position of token i: given, or the next one of its first sequence. Each of its sequences must stand just there.
# follow: a position of -1 counts as not given.
cdef int fill_position(llama_context *ctx, const llama_batch *client, bool follow, bnf_batch *out, int32_t i) noexcept nogil:
    cdef int32_t *row = out.seq + <int64_t>i * out.seq_stride
    cdef int32_t pos, next_pos, j
    if client.pos != NULL and not (follow and client.pos[i] == -1):
        pos = client.pos[i]
    else:
        pos = ctx.next_pos[row[0]]
        if pos < 0:
            pos = 0
    if pos < 0 or pos >= MAX_POS:
        return bnf_fail(BITNET_ERROR, b"batch.pos[%d] is %d, expected 0 to %d", i, pos, <int>MAX_POS - 1)
    for j in range(out.n_seq[i]):
        next_pos = ctx.next_pos[row[j]]
        if next_pos >= 0 and pos != next_pos:
            return bnf_fail(BITNET_ERROR, b"batch.pos[%d] is %d, but sequence %d goes on at position %d", i, pos, row[j], next_pos)
        ctx.next_pos[row[j]] = pos + 1
    out.pos[i] = pos
    return 0

cdef public int bnf_batch_prepare(llama_context *ctx, const llama_batch *client, bool follow, bnf_batch *out) noexcept nogil:
    cdef int32_t i, n, rc
    rc = bnf_batch_check(ctx, client)
    if rc != 0:
        return rc
    n = client.n_tokens
    out.seq_stride = ctx.kv.n_seq_max if client.seq_id != NULL and client.n_seq_id != NULL else 1
    rc = make_room(ctx, n, out.seq_stride)
    if rc != 0:
        return rc
    out.n_tokens = n
    out.token = client.token
    out.pos = ctx.batch_memory
    out.n_seq = ctx.batch_memory + n
    out.out_row = ctx.batch_memory + 2 * <int64_t>n
    out.seq = ctx.batch_memory + 3 * <int64_t>n
    # -1: the sequence is empty and may start anywhere.
    for i in range(ctx.kv.n_seq_max):
        ctx.next_pos[i] = ctx.kv.seqs[i].pos_max + 1 if ctx.kv.seqs[i].pos_max >= 0 else -1
    out.n_outputs = 0
    for i in range(n):
        rc = fill_sequences(ctx, client, out, i)
        if rc == 0:
            rc = fill_position(ctx, client, follow, out, i)
        if rc != 0:
            return rc
        # Without a logits array only the last token's are wanted, but for contexts of older programs that said logits_all.
        if (client.logits[i] != 0) if client.logits != NULL else (i == n - 1 or ctx.older.logits_all):
            out.out_row[i] = out.n_outputs
            out.n_outputs += 1
        else:
            out.out_row[i] = -1
    return 0

# ---- the client's arrays ----

cdef public llama_batch llama_batch_get_one(llama_token *tokens, int32_t n_tokens) noexcept nogil:
    cdef llama_batch batch
    memset(&batch, 0, sizeof(batch))
    batch.n_tokens = n_tokens
    batch.token = tokens
    return batch

# llama.h gives this function no way to fail but NULL members, which llama_decode refuses with a sentence.
cdef public llama_batch llama_batch_init(int32_t n_tokens, int32_t embd, int32_t n_seq_max) noexcept nogil:
    cdef llama_batch batch
    cdef bint ok
    cdef int32_t i
    memset(&batch, 0, sizeof(batch))
    if n_tokens < 0 or embd < 0 or n_seq_max < 0 or n_tokens > MAX_TOKENS:
        bnf_fail(BITNET_ERROR, b"llama_batch_init(%d, %d, %d): expected sizes of 0 or more, and at most %d tokens",
                 n_tokens, embd, n_seq_max, <int>MAX_TOKENS)
        return batch
    if embd > 0:
        batch.embd = <float *>calloc(<size_t>n_tokens + 1, <size_t>embd * sizeof(float))
        ok = batch.embd != NULL
    else:
        batch.token = <llama_token *>calloc(<size_t>n_tokens + 1, sizeof(llama_token))
        ok = batch.token != NULL
    batch.pos = <llama_pos *>calloc(<size_t>n_tokens + 1, sizeof(llama_pos))
    batch.n_seq_id = <int32_t *>calloc(<size_t>n_tokens + 1, sizeof(int32_t))
    batch.logits = <int8_t *>calloc(<size_t>n_tokens + 1, 1)
    # One entry more, NULL: llama_batch_free finds the end by it.
    batch.seq_id = <llama_seq_id **>calloc(<size_t>n_tokens + 1, sizeof(llama_seq_id *))
    ok = ok and batch.pos != NULL and batch.n_seq_id != NULL and batch.logits != NULL and batch.seq_id != NULL
    if ok:
        for i in range(n_tokens):
            batch.seq_id[i] = <llama_seq_id *>calloc(<size_t>n_seq_max + 1, sizeof(llama_seq_id))
            ok = ok and batch.seq_id[i] != NULL
            if not ok:
                break
    if not ok:
        bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch of %d tokens", n_tokens)
        llama_batch_free(batch)
        memset(&batch, 0, sizeof(batch))
    return batch

cdef public void llama_batch_free(llama_batch batch) noexcept nogil:
    cdef llama_seq_id **row
    free(batch.token)
    free(batch.embd)
    free(batch.pos)
    free(batch.n_seq_id)
    free(batch.logits)
    if batch.seq_id != NULL:
        row = batch.seq_id
        while row[0] != NULL:
            free(row[0])
            row += 1
        free(batch.seq_id)

# ---- llama_batch_ext: grows as tokens are added; belongs to one context ----

cdef public llama_batch_ext *llama_batch_ext_init(llama_context *ctx) noexcept nogil:
    cdef llama_batch_ext *batch
    if ctx == NULL:
        bnf_fail(BITNET_ERROR, b"llama_batch_ext_init: ctx is NULL")
        return NULL
    batch = <llama_batch_ext *>calloc(1, sizeof(llama_batch_ext))
    if batch == NULL:
        bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch")
        return NULL
    batch.n_seq_max = ctx.kv.n_seq_max
    return batch

cdef public void llama_batch_ext_free(llama_batch_ext *batch) noexcept nogil:
    if batch == NULL:
        return
    free(batch.token)
    free(batch.pos)
    free(batch.seq)
    free(batch.seq_row)
    free(batch.logits)
    free(batch)

cdef public void llama_batch_ext_clear(llama_batch_ext *batch) noexcept nogil:
    bnf_clear_error()
    if batch == NULL:
        bnf_fail(BITNET_ERROR, b"llama_batch_ext_clear: batch is NULL")
        return
    batch.n_tokens = 0

cdef bint grow(void **array, int32_t cap, size_t size) noexcept nogil:
    cdef void *grown = realloc(array[0], <size_t>cap * size)
    if grown == NULL:
        return False
    array[0] = grown
    return True

# Returns the token's index, or a negative code.
cdef public int32_t llama_batch_ext_add_token(llama_batch_ext *batch, llama_seq_id seq_id, llama_token id) noexcept nogil:
    cdef int32_t cap, i
    if batch == NULL:
        return bnf_fail(BITNET_ERROR, b"llama_batch_ext_add_token: batch is NULL")
    if seq_id < 0 or seq_id >= batch.n_seq_max:
        return bnf_fail(BITNET_ERROR, b"sequence %d, expected 0 to %d (n_seq_max - 1)", seq_id, batch.n_seq_max - 1)
    if batch.n_tokens == batch.cap:
        cap = 2 * batch.cap + 16
        if cap > MAX_TOKENS:
            return bnf_fail(BITNET_ERROR, b"a batch holds at most %d tokens", <int>MAX_TOKENS)
        # seq moves last: seq_row points into it, and must not be left pointing at where it was.
        if not (grow(<void **>&batch.token, cap, sizeof(llama_token)) and grow(<void **>&batch.pos, cap, sizeof(llama_pos))
                and grow(<void **>&batch.logits, cap, 1) and grow(<void **>&batch.seq_row, cap, sizeof(llama_seq_id *))
                and grow(<void **>&batch.seq, cap, sizeof(llama_seq_id))):
            return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch of %d tokens", cap)
        batch.cap = cap
        for i in range(batch.n_tokens):
            batch.seq_row[i] = &batch.seq[i]
    i = batch.n_tokens
    batch.token[i] = id
    batch.pos[i] = -1
    batch.seq[i] = seq_id
    batch.seq_row[i] = &batch.seq[i]
    batch.logits[i] = 0
    batch.n_tokens += 1
    return i

cdef bint has_token(const llama_batch_ext *batch, int32_t idx) noexcept nogil:
    if batch == NULL:
        bnf_fail(BITNET_ERROR, b"llama_batch_ext: batch is NULL")
        return False
    if idx < 0 or idx >= batch.n_tokens:
        bnf_fail(BITNET_ERROR, b"token %d of a batch, expected 0 to %d", idx, batch.n_tokens - 1)
        return False
    return True

cdef public bool llama_batch_ext_set_output_logits(llama_batch_ext *batch, int32_t idx, bool value) noexcept nogil:
    if not has_token(batch, idx):
        return False
    batch.logits[idx] = 1 if value else 0
    return True

# pos NULL takes a position back: the token then follows its sequence.
cdef public bool llama_batch_ext_set_pos(llama_batch_ext *batch, int32_t idx, const llama_pos *pos) noexcept nogil:
    if not has_token(batch, idx):
        return False
    if pos != NULL and pos[0] < 0:
        bnf_fail(BITNET_ERROR, b"position %d of token %d, expected 0 or more", pos[0], idx)
        return False
    batch.pos[idx] = pos[0] if pos != NULL else -1
    return True
