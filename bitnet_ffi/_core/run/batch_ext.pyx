# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# llama_batch_ext, the batch that grows as tokens are added: ids and embeddings mixed, some sequences each. It belongs to one
# context and copies what it is given. As in llama.h, adding answers -1 for no room, -2 for a wrong input, -3 for a wrong
# sequence; the last error says which.
# May not: look into the context after it was made. Next: batch.pyx, which checks what a client may have left out.

from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcpy
from bitnet_ffi._core.bnf_base cimport bnf_answer_no, bnf_clear_error, bnf_fail, bnf_is_null
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_batch, llama_embd, llama_pos, llama_seq_id, llama_token, BITNET_ERROR, BITNET_ERROR_MEMORY, LLAMA_TOKEN_NULL)
from bitnet_ffi._core.bnf_types cimport llama_batch_ext, BNF_BATCH_MAX_TOKENS, BNF_TOKEN_EMBD

cdef extern from "bnf_calls.h":
    pass

cdef enum:
    NO_ROOM = -1
    WRONG_INPUT = -2
    WRONG_SEQUENCE = -3

# ---- life ----

cdef public llama_batch_ext *llama_batch_ext_init(llama_context *ctx) noexcept nogil:
    cdef llama_batch_ext *batch
    if bnf_is_null(ctx, b"llama_batch_ext_init", b"ctx"):
        return NULL
    batch = <llama_batch_ext *>calloc(1, sizeof(llama_batch_ext))
    if batch == NULL:
        bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch")
        return NULL
    batch.n_embd = ctx.model.hp.n_embd
    batch.n_vocab = ctx.model.hp.n_vocab
    batch.n_seq_max = ctx.kv.n_seq_max
    batch.seq_stride = 1
    return batch

cdef public void llama_batch_ext_free(llama_batch_ext *batch) noexcept nogil:
    if batch == NULL:
        return
    free(batch.token)
    free(batch.embd)
    free(batch.pos)
    free(batch.n_seq)
    free(batch.seq)
    free(batch.seq_row)
    free(batch.logits)
    free(batch)

cdef public void llama_batch_ext_clear(llama_batch_ext *batch) noexcept nogil:
    bnf_clear_error()
    if not bnf_is_null(batch, b"llama_batch_ext_clear", b"batch"):
        batch.n_tokens = 0

# ---- room ----

cdef bint grow(void **array, int32_t cap, size_t size) noexcept nogil:
    cdef void *grown = realloc(array[0], <size_t>cap * size)
    if grown == NULL:
        return False
    array[0] = grown
    return True

cdef void point_rows(llama_batch_ext *batch) noexcept nogil:
    cdef int64_t i
    for i in range(batch.cap):
        batch.seq_row[i] = batch.seq + i * batch.seq_stride

# seq moves last: seq_row points into it, and must not be left pointing at where it was.
cdef bint grow_all(llama_batch_ext *batch, int32_t cap) noexcept nogil:
    if batch.embd != NULL and not grow(<void **>&batch.embd, cap, <size_t>batch.n_embd * sizeof(float)):
        return False
    if not (grow(<void **>&batch.token, cap, sizeof(llama_token)) and grow(<void **>&batch.pos, cap, sizeof(llama_pos))
            and grow(<void **>&batch.n_seq, cap, sizeof(int32_t)) and grow(<void **>&batch.logits, cap, 1)
            and grow(<void **>&batch.seq_row, cap, sizeof(llama_seq_id *))
            and grow(<void **>&batch.seq, cap, <size_t>batch.seq_stride * sizeof(llama_seq_id))):
        return False
    batch.cap = cap
    point_rows(batch)
    return True

# Rows of sequences twice as long; from the last one on, as they lie in the same memory.
cdef bint widen(llama_batch_ext *batch) noexcept nogil:
    cdef int64_t stride = min(2 * batch.seq_stride, batch.n_seq_max)
    cdef int64_t i, j
    if not grow(<void **>&batch.seq, batch.cap, <size_t>stride * sizeof(llama_seq_id)):
        return False
    i = batch.n_tokens - 1
    while i >= 0:
        j = batch.n_seq[i] - 1
        while j >= 0:
            batch.seq[i * stride + j] = batch.seq[i * batch.seq_stride + j]
            j -= 1
        i -= 1
    batch.seq_stride = <int32_t>stride
    point_rows(batch)
    return True

# ---- adding ----

# A token without input; its index.
cdef int32_t append(llama_batch_ext *batch, llama_seq_id seq_id) noexcept nogil:
    cdef int32_t i
    if seq_id < 0 or seq_id >= batch.n_seq_max:
        bnf_fail(BITNET_ERROR, b"sequence %d, expected 0 to %d (n_seq_max - 1)", seq_id, batch.n_seq_max - 1)
        return WRONG_SEQUENCE
    if batch.n_tokens == batch.cap:
        if 2 * batch.cap + 16 > BNF_BATCH_MAX_TOKENS:
            bnf_fail(BITNET_ERROR, b"a batch holds at most %d tokens", batch.cap)
            return NO_ROOM
        if not grow_all(batch, 2 * batch.cap + 16):
            bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch of %d tokens", 2 * batch.cap + 16)
            return NO_ROOM
    i = batch.n_tokens
    batch.token[i] = LLAMA_TOKEN_NULL
    batch.pos[i] = -1
    batch.n_seq[i] = 1
    batch.seq_row[i][0] = seq_id
    batch.logits[i] = 0
    batch.n_tokens += 1
    return i

cdef bint is_row(const llama_batch_ext *batch, const llama_embd *embd) noexcept nogil:
    if embd.data == NULL:
        bnf_fail(BITNET_ERROR, b"embd.data is NULL")
        return False
    if embd.n_rows != 1 or embd.n_embd != <size_t>batch.n_embd:
        bnf_fail(BITNET_ERROR, b"an embedding of %llu rows of %llu numbers, expected 1 row of %d", <unsigned long long>embd.n_rows,
                 <unsigned long long>embd.n_embd, batch.n_embd)
        return False
    return True

# The row of token i. False: no memory.
cdef bint put_row(llama_batch_ext *batch, int32_t i, const llama_embd *embd) noexcept nogil:
    if batch.embd == NULL and not grow(<void **>&batch.embd, batch.cap, <size_t>batch.n_embd * sizeof(float)):
        bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch of %d embeddings", batch.cap)
        return False
    memcpy(batch.embd + <int64_t>i * batch.n_embd, embd.data, <size_t>batch.n_embd * sizeof(float))
    batch.token[i] = BNF_TOKEN_EMBD
    return True

cdef public int32_t llama_batch_ext_add(llama_batch_ext *batch, llama_seq_id seq_id) noexcept nogil:
    return WRONG_INPUT if bnf_is_null(batch, b"llama_batch_ext_add", b"batch") else append(batch, seq_id)

cdef public int32_t llama_batch_ext_add_token(llama_batch_ext *batch, llama_seq_id seq_id, llama_token id) noexcept nogil:
    cdef int32_t i
    if bnf_is_null(batch, b"llama_batch_ext_add_token", b"batch"):
        return WRONG_INPUT
    if id < 0 or id >= batch.n_vocab:
        bnf_fail(BITNET_ERROR, b"token %d, expected 0 to %d", id, batch.n_vocab - 1)
        return WRONG_INPUT
    i = append(batch, seq_id)
    if i >= 0:
        batch.token[i] = id
    return i

cdef public int32_t llama_batch_ext_add_embd(llama_batch_ext *batch, llama_seq_id seq_id, llama_embd embd) noexcept nogil:
    cdef int32_t i
    if bnf_is_null(batch, b"llama_batch_ext_add_embd", b"batch") or not is_row(batch, &embd):
        return WRONG_INPUT
    i = append(batch, seq_id)
    if i >= 0 and not put_row(batch, i, &embd):
        batch.n_tokens -= 1
        return NO_ROOM
    return i

# ---- what a token has ----

cdef bint has_token(const llama_batch_ext *batch, int32_t idx) noexcept nogil:
    if bnf_is_null(batch, b"llama_batch_ext", b"batch"):
        return False
    if idx < 0 or idx >= batch.n_tokens:
        bnf_fail(BITNET_ERROR, b"token %d of a batch, expected 0 to %d", idx, batch.n_tokens - 1)
        return False
    return True

cdef public bool llama_batch_ext_add_seq(llama_batch_ext *batch, int32_t idx, llama_seq_id seq_id) noexcept nogil:
    cdef int32_t j
    if not has_token(batch, idx):
        return False
    if seq_id < 0 or seq_id >= batch.n_seq_max:
        bnf_fail(BITNET_ERROR, b"sequence %d, expected 0 to %d (n_seq_max - 1)", seq_id, batch.n_seq_max - 1)
        return False
    for j in range(batch.n_seq[idx]):
        if batch.seq_row[idx][j] == seq_id:
            return True
    if batch.n_seq[idx] == batch.seq_stride and not widen(batch):
        bnf_fail(BITNET_ERROR_MEMORY, b"no memory for a batch of %d tokens", batch.cap)
        return False
    batch.seq_row[idx][batch.n_seq[idx]] = seq_id
    batch.n_seq[idx] += 1
    return True

cdef public bool llama_batch_ext_set_embd_token(llama_batch_ext *batch, int32_t idx, llama_embd embd) noexcept nogil:
    return has_token(batch, idx) and is_row(batch, &embd) and put_row(batch, idx, &embd)

# Only models with layers of their own for it read such a state, and none of these has them. Programs ask with it, so no line of log.
cdef public bool llama_batch_ext_set_embd_state(llama_batch_ext *batch, int32_t idx, llama_embd embd) noexcept nogil:
    if has_token(batch, idx):
        bnf_answer_no(BITNET_ERROR, b"llama_batch_ext_set_embd_state: the model takes no states beside its tokens")
    return False

cdef public bool llama_batch_ext_set_output_logits(llama_batch_ext *batch, int32_t idx, bool value) noexcept nogil:
    if not has_token(batch, idx):
        return False
    batch.logits[idx] = 1 if value else 0
    return True

# One output serves both: a state, of which logits are made when they are read.
cdef public bool llama_batch_ext_set_output_embd(llama_batch_ext *batch, int32_t idx, bool value) noexcept nogil:
    return llama_batch_ext_set_output_logits(batch, idx, value)

# pos NULL takes a position back: the token then follows its sequence.
cdef public bool llama_batch_ext_set_pos(llama_batch_ext *batch, int32_t idx, const llama_pos *pos) noexcept nogil:
    if not has_token(batch, idx):
        return False
    if pos != NULL and pos[0] < 0:
        bnf_fail(BITNET_ERROR, b"position %d of token %d, expected 0 or more", pos[0], idx)
        return False
    batch.pos[idx] = pos[0] if pos != NULL else -1
    return True

# As struct llama_batch, for as long as nothing is added.
cdef public llama_batch bnf_batch_of_ext(const llama_batch_ext *batch) noexcept nogil:
    cdef llama_batch client
    client.n_tokens = batch.n_tokens
    client.token = batch.token
    client.embd = batch.embd
    client.pos = batch.pos
    client.n_seq_id = batch.n_seq
    client.seq_id = batch.seq_row
    client.logits = batch.logits
    return client
