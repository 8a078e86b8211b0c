# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# From a client's llama_batch to a bnf_batch: every field checked, missing ones filled in, rows of logits numbered.
# Positions of a sequence go on without a gap, as llama.cpp demands; a wrong batch is refused before anything changes.
# Also the client's side of it, llama_batch_*.
# May not: touch the KV cache. Next: batch_ext.pyx, the batch that grows; api_decode.pyx.

from libc.stdint cimport int8_t, int32_t, int64_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_fail, bnf_resize
from bitnet_ffi._core.bnf_calls cimport BNF_BATCH_EXT
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_batch, llama_pos, llama_seq_id, llama_token, BITNET_ERROR, BITNET_ERROR_MEMORY, LLAMA_TOKEN_NULL)
from bitnet_ffi._core.bnf_types cimport bnf_batch, BNF_BATCH_MAX_TOKENS, BNF_TOKEN_EMBD

cdef extern from "bnf_calls.h":
    pass

cdef extern from "<math.h>" nogil:
    bint isfinite(float x)

cdef enum:
    # Page tables grow with the position, so a hostile one must not ask for gigabytes: 16 M positions are 4 MiB of table.
    MAX_POS = 1 << 24

# ---- into the engine ----

# The context's spare arrays for n tokens of up to n_seq sequences each; they grow and stay. Spare, as those of the last batch say which
# rows it left, and a batch that is refused must not take them away.
cdef int make_room(llama_context *ctx, int32_t n, int32_t stride) noexcept nogil:
    cdef uint64_t need = <uint64_t>n * <uint64_t>(3 + stride) * sizeof(int32_t)
    cdef void *grown
    if need > ctx.spare_memory_size:
        grown = bnf_resize(ctx.spare_memory, ctx.spare_memory_size, need)
        if grown == NULL:
            return bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch of %d tokens", n)
        ctx.spare_memory = <int32_t *>grown
        ctx.spare_memory_size = need
    return 0

# One number that is not finite would become every state of its sequence.
cdef int check_embedding(const llama_context *ctx, const float *row, int32_t i) noexcept nogil:
    cdef int32_t c
    for c in range(ctx.model.hp.n_embd):
        if not isfinite(row[c]):
            return bnf_fail(BITNET_ERROR, b"batch.embd: number %d of token %d is %g, expected a finite one", c, i, <double>row[c])
    return 0

cdef int check_input(const llama_context *ctx, const llama_batch *client, int origin, int32_t i) noexcept nogil:
    if client.token == NULL or (origin == BNF_BATCH_EXT and client.token[i] == BNF_TOKEN_EMBD):
        return check_embedding(ctx, client.embd + <int64_t>i * ctx.model.hp.n_embd, i)
    if origin == BNF_BATCH_EXT and client.token[i] == LLAMA_TOKEN_NULL:
        return bnf_fail(BITNET_ERROR, b"token %d of the batch has neither an id nor an embedding", i)
    if client.token[i] < 0 or client.token[i] >= ctx.model.hp.n_vocab:
        return bnf_fail(BITNET_ERROR, b"batch.token[%d] is %d, expected 0 to %d", i, client.token[i], ctx.model.hp.n_vocab - 1)
    return 0

cdef public int bnf_batch_check(const llama_context *ctx, const llama_batch *client, int origin) noexcept nogil:
    cdef int32_t i
    cdef int rc
    if client.n_tokens <= 0 or client.n_tokens > BNF_BATCH_MAX_TOKENS:
        return bnf_fail(BITNET_ERROR, b"batch.n_tokens is %d, expected 1 to %d", client.n_tokens, <int>BNF_BATCH_MAX_TOKENS)
    if client.token == NULL and client.embd == NULL:
        return bnf_fail(BITNET_ERROR, b"batch.token is NULL, and batch.embd too")
    if origin != BNF_BATCH_EXT and client.token != NULL and client.embd != NULL:
        return bnf_fail(BITNET_ERROR, b"batch.token and batch.embd are both given, expected one of them")
    for i in range(client.n_tokens):
        rc = check_input(ctx, client, origin, i)
        if rc != 0:
            return rc
    return 0

# Sequences of token i into out.seq; 0 or an error.
cdef int fill_sequences(llama_context *ctx, const llama_batch *client, bnf_batch *out, int32_t i) noexcept nogil:
    cdef int32_t n_seq_max = ctx.kv.n_seq_max
    cdef int32_t *row = out.seq + <int64_t>i * out.seq_stride
    cdef int32_t n = 1
    cdef int32_t n_own = 0      # those that are named twice, once
    cdef int32_t j, h, seq
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
        seq = client.seq_id[i][j]
        if seq < 0 or seq >= n_seq_max:
            return bnf_fail(BITNET_ERROR, b"batch.seq_id[%d][%d] is %d, expected 0 to %d (n_seq_max - 1)", i, j, seq, n_seq_max - 1)
        h = 0
        while h < n_own and row[h] != seq:
            h += 1
        row[h] = seq
        n_own = max(n_own, h + 1)
    out.n_seq[i] = n_own
    return 0

# The position of token i: given, or the next one of its first sequence. Each of its sequences must stand just there.
cdef int fill_position(llama_context *ctx, const llama_batch *client, int origin, bnf_batch *out, int32_t i) noexcept nogil:
    cdef int32_t *row = out.seq + <int64_t>i * out.seq_stride
    cdef int32_t pos, next_pos, j
    if client.pos != NULL and not (origin == BNF_BATCH_EXT and client.pos[i] == -1):
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

cdef public int bnf_batch_prepare(llama_context *ctx, const llama_batch *client, int origin, bool all, bnf_batch *out) noexcept nogil:
    cdef int32_t i, n, rc
    rc = bnf_batch_check(ctx, client, origin)
    if rc != 0:
        return rc
    n = client.n_tokens
    out.seq_stride = ctx.kv.n_seq_max if client.seq_id != NULL and client.n_seq_id != NULL else 1
    rc = make_room(ctx, n, out.seq_stride)
    if rc != 0:
        return rc
    out.n_tokens = n
    out.token = client.token
    out.embd = client.embd
    out.pos = ctx.spare_memory
    out.n_seq = ctx.spare_memory + n
    out.out_row = ctx.spare_memory + 2 * <int64_t>n
    out.seq = ctx.spare_memory + 3 * <int64_t>n
    # -1: the sequence is empty and may start anywhere.
    for i in range(ctx.kv.n_seq_max):
        ctx.next_pos[i] = ctx.kv.seqs[i].pos_max + 1 if ctx.kv.seqs[i].pos_max >= 0 else -1
    out.n_outputs = 0
    for i in range(n):
        rc = fill_sequences(ctx, client, out, i)
        if rc == 0:
            rc = fill_position(ctx, client, origin, out, i)
        if rc != 0:
            return rc
        # Without a logits array only the last token's are wanted, but for contexts of older programs that said logits_all.
        if all or ((client.logits[i] != 0) if client.logits != NULL else (i == n - 1 or ctx.older.logits_all)):
            out.out_row[i] = out.n_outputs
            out.n_outputs += 1
        else:
            out.out_row[i] = -1
    return 0

# The batch that bnf_batch_prepare made last becomes the context's; the arrays of the one before are spare now.
cdef public void bnf_batch_take(llama_context *ctx, const bnf_batch *batch) noexcept nogil:
    cdef int32_t *memory = ctx.spare_memory
    cdef uint64_t size = ctx.spare_memory_size
    ctx.spare_memory = ctx.batch_memory
    ctx.spare_memory_size = ctx.batch_memory_size
    ctx.batch_memory = memory
    ctx.batch_memory_size = size
    ctx.batch = batch[0]

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
    if n_tokens < 0 or embd < 0 or n_seq_max < 0 or n_tokens > BNF_BATCH_MAX_TOKENS:
        bnf_fail(BITNET_ERROR, b"llama_batch_init(%d, %d, %d): expected sizes of 0 or more, and at most %d tokens",
                 n_tokens, embd, n_seq_max, <int>BNF_BATCH_MAX_TOKENS)
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
