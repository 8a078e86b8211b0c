# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# Tokens and texts by the calls of 2023: the same questions as today's, asked of a context, without special tokens, or under
# other names. Control tokens have no text here, as then.
# Next: api_tokenize.pyx and api_vocab.pyx, which answer them.

from libc.stdint cimport int32_t, uint32_t, uint8_t
from libc.string cimport memcmp
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_token, llama_token_attr_t, BITNET_ERROR, LLAMA_TOKEN_ATTR_BYTE, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_NORMAL,
    LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_UNUSED, LLAMA_TOKEN_ATTR_USER_DEFINED)
from bitnet_ffi._core.bnf_types cimport llama_model
from bitnet_ffi._core.bnf_vocab cimport bnf_strings_get, bnf_vocab_t

cdef extern from "bitnet_ffi.h" nogil:
    ctypedef enum llama_token_type_t "enum llama_token_type":
        LLAMA_TOKEN_TYPE_UNDEFINED, LLAMA_TOKEN_TYPE_NORMAL, LLAMA_TOKEN_TYPE_UNKNOWN, LLAMA_TOKEN_TYPE_CONTROL
        LLAMA_TOKEN_TYPE_USER_DEFINED, LLAMA_TOKEN_TYPE_UNUSED, LLAMA_TOKEN_TYPE_BYTE
    const llama_model *llama_get_model(const llama_context *ctx)
    int32_t llama_tokenize(const llama_model *vocab, const char *text, int32_t text_len, llama_token *tokens, int32_t n_tokens_max,
                           bool add_special, bool parse_special)
    int32_t llama_token_to_piece(const llama_model *vocab, llama_token token, char *buf, int32_t length, int32_t lstrip, bool special)
    llama_token_attr_t llama_vocab_get_attr(const llama_model *vocab, llama_token token)
    float llama_vocab_get_score(const llama_model *vocab, llama_token token)
    int32_t llama_vocab_n_tokens(const llama_model *vocab)
    int32_t llama_model_n_ctx_train(const llama_model *model)
    int32_t llama_model_n_embd(const llama_model *model)


# ---- sizes of a model ----

cdef public int llama_n_vocab_from_model(const llama_model *model) noexcept nogil:
    return llama_vocab_n_tokens(model)


cdef public int llama_n_ctx_from_model(const llama_model *model) noexcept nogil:
    return llama_model_n_ctx_train(model)


cdef public int llama_n_embd_from_model(const llama_model *model) noexcept nogil:
    return llama_model_n_embd(model)


# ---- text to tokens ----

cdef public int llama_tokenize_with_model(const llama_model *model, const char *text, int text_len, llama_token *tokens,
                                          int n_max_tokens, bool add_bos) noexcept nogil:
    return llama_tokenize(model, text, text_len, tokens, n_max_tokens, add_bos, False)


cdef public int llama_tokenize_bpe(llama_context *ctx, const char *text, llama_token *tokens, int n_max_tokens,
                                   bool add_bos) noexcept nogil:
    return llama_tokenize(llama_get_model(ctx), text, -1, tokens, n_max_tokens, add_bos, False)


# ---- a token's text ----

cdef public int llama_token_to_piece_with_model(const llama_model *model, llama_token token, char *buf, int length) noexcept nogil:
    return llama_token_to_piece(model, token, buf, length, 0, False)


cdef public int llama_token_to_str_with_model(const llama_model *model, llama_token token, char *buf, int length) noexcept nogil:
    return llama_token_to_piece(model, token, buf, length, 0, False)


cdef public int llama_token_to_str(const llama_context *ctx, llama_token token, char *buf, int length) noexcept nogil:
    return llama_token_to_piece(llama_get_model(ctx), token, buf, length, 0, False)


cdef public int llama_token_to_str_bpe(const llama_context *ctx, llama_token token, char *buf, int length) noexcept nogil:
    return llama_token_to_piece(llama_get_model(ctx), token, buf, length, 0, False)


# The bytes of a token, or NULL: not a token of the vocabulary. Control tokens have bytes too.
cdef const uint8_t *bytes_of(const llama_model *model, llama_token token, uint32_t *length) noexcept nogil:
    cdef const bnf_vocab_t *v = <const bnf_vocab_t *>model.vocab
    if token < 0 or token >= v.n_tokens:
        bnf_fail(BITNET_ERROR, "token %d: expected one of 0 to %d", token, v.n_tokens - 1)
        return NULL
    return bnf_strings_get(&v.piece, <uint32_t>token, length)


cdef bint has_vocab(const llama_model *model, const char *function) noexcept nogil:
    bnf_clear_error()
    if model != NULL and model.vocab != NULL:
        return True
    bnf_fail(BITNET_ERROR, "%s: the model is NULL", function)
    return False


cdef public const char *bitnet_token_text(const llama_model *model, llama_token token) noexcept nogil:
    cdef uint32_t length = 0
    return <const char *>bytes_of(model, token, &length) if has_vocab(model, "bitnet_token_text") else NULL


cdef public bool llama_token_is_prefix(const llama_model *model, llama_token token0, llama_token token1) noexcept nogil:
    cdef uint32_t n0 = 0, n1 = 0
    cdef const uint8_t *text0
    cdef const uint8_t *text1
    if not has_vocab(model, "llama_token_is_prefix"):
        return False
    text0 = bytes_of(model, token0, &n0)
    text1 = bytes_of(model, token1, &n1)
    return text0 != NULL and text1 != NULL and 0 < n0 <= n1 and memcmp(text0, text1, n0) == 0


# ---- what a token is ----

cdef public llama_token_type_t llama_token_get_type(const llama_model *model, llama_token token) noexcept nogil:
    cdef int attr
    bnf_clear_error()
    attr = llama_vocab_get_attr(model, token)
    if attr & LLAMA_TOKEN_ATTR_BYTE:
        return LLAMA_TOKEN_TYPE_BYTE
    if attr & LLAMA_TOKEN_ATTR_UNKNOWN:
        return LLAMA_TOKEN_TYPE_UNKNOWN
    if attr & LLAMA_TOKEN_ATTR_UNUSED:
        return LLAMA_TOKEN_TYPE_UNUSED
    if attr & LLAMA_TOKEN_ATTR_CONTROL:
        return LLAMA_TOKEN_TYPE_CONTROL
    if attr & LLAMA_TOKEN_ATTR_USER_DEFINED:
        return LLAMA_TOKEN_TYPE_USER_DEFINED
    return LLAMA_TOKEN_TYPE_NORMAL if attr & LLAMA_TOKEN_ATTR_NORMAL else LLAMA_TOKEN_TYPE_UNDEFINED


cdef public int llama_get_vocab_from_model(const llama_model *model, const char **strings, float *scores, int capacity) noexcept nogil:
    cdef int i, n
    if not has_vocab(model, "llama_get_vocab_from_model"):
        return 0
    if strings == NULL or scores == NULL or capacity < 0:
        bnf_fail(BITNET_ERROR, "llama_get_vocab: strings or scores are NULL, or the capacity %d is negative", capacity)
        return 0
    n = (<const bnf_vocab_t *>model.vocab).n_tokens
    if n > capacity:
        n = capacity
    for i in range(n):
        strings[i] = bitnet_token_text(model, i)
        scores[i] = llama_vocab_get_score(model, i)
    return n


cdef public int llama_get_vocab(const llama_context *ctx, const char **strings, float *scores, int capacity) noexcept nogil:
    return llama_get_vocab_from_model(llama_get_model(ctx), strings, scores, capacity)
