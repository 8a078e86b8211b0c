# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The header's "Tokenization" section: text to tokens, a token to its bytes, tokens to text. `vocab` is the model.
# A negative result with last error code 0 is minus the room needed; with a code, an error (tokenize: INT32_MIN, the
# others 0, so that a caller who resizes by the result does no harm).
# Next: tokenize.pyx does the work; llama_chat_apply_template is in api_chat.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t, int64_t, INT32_MAX, INT32_MIN
from libc.string cimport memcpy, strlen
from bitnet_ffi._core.bnf_base cimport bnf_clear_error, bnf_fail
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_token, BITNET_ERROR, BITNET_ERROR_TOKENIZE, BITNET_TOKENIZE_ADD_SPECIAL, BITNET_TOKENIZE_PARSE_SPECIAL,
    LLAMA_TOKEN_ATTR_BYTE, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_NORMAL, LLAMA_TOKEN_ATTR_UNKNOWN, LLAMA_TOKEN_ATTR_USER_DEFINED,
    LLAMA_VOCAB_TYPE_PLAMO2, LLAMA_VOCAB_TYPE_RWKV)
from bitnet_ffi._core.bnf_types cimport llama_model
from bitnet_ffi._core.bnf_vocab cimport bnf_strings_get, bnf_tokenize, bnf_tokenize_cut, bnf_vocab_t, BNF_BOS, BNF_EOS

cdef enum:
    HIDDEN = LLAMA_TOKEN_ATTR_UNKNOWN | LLAMA_TOKEN_ATTR_CONTROL
    SPOKEN = HIDDEN | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_NORMAL | LLAMA_TOKEN_ATTR_BYTE


# The text that a call means, in *length bytes. text_len < 0: up to the NUL; llama.cpp takes a negative length as a huge one
# and throws, but -1 is what callers mean. False + last error: no vocabulary, or no text.
cdef bool find_text(const llama_model *vocab, const char *text, int32_t text_len, size_t *length) noexcept nogil:
    bnf_clear_error()
    if vocab == NULL or vocab.vocab == NULL:
        bnf_fail(BITNET_ERROR, "vocab: NULL, expected a model")
        return False
    if text == NULL and text_len != 0:
        bnf_fail(BITNET_ERROR, "text: NULL, expected %d bytes", text_len)
        return False
    length[0] = <size_t>text_len if text_len >= 0 else strlen(text)
    return True


cdef int32_t tokenize(const llama_model *vocab, const char *text, int32_t text_len, llama_token *tokens, int32_t *ranges,
                      int32_t n_tokens_max, uint32_t flags) noexcept nogil:
    cdef size_t length = 0
    cdef int64_t n
    if not find_text(vocab, text, text_len, &length):
        return INT32_MIN
    if ranges != NULL and length > INT32_MAX:
        bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes, expected at most %d where ranges are wanted", length, INT32_MAX)
        return INT32_MIN
    if tokens == NULL or n_tokens_max < 0:
        n_tokens_max = 0
    n = bnf_tokenize(<const bnf_vocab_t *>vocab.vocab, <const uint8_t *>text, length, flags, tokens, ranges, n_tokens_max)
    if n > INT32_MAX:
        n = bnf_fail(BITNET_ERROR_TOKENIZE, "text: %lld tokens, expected at most %d", <long long>n, INT32_MAX)
    if n < 0:
        return INT32_MIN
    return <int32_t>n if n <= n_tokens_max else -<int32_t>n


cdef public int32_t llama_tokenize(const llama_model *vocab, const char *text, int32_t text_len, llama_token *tokens,
                                   int32_t n_tokens_max, bool add_special, bool parse_special) noexcept nogil:
    cdef uint32_t flags = (BITNET_TOKENIZE_ADD_SPECIAL if add_special else 0) | (BITNET_TOKENIZE_PARSE_SPECIAL if parse_special else 0)
    return tokenize(vocab, text, text_len, tokens, NULL, n_tokens_max, flags)


cdef public int32_t bitnet_tokenize(const llama_model *vocab, const char *text, int32_t text_len, llama_token *tokens,
                                    int32_t *ranges, int32_t n_tokens_max, uint32_t flags) noexcept nogil:
    return tokenize(vocab, text, text_len, tokens, ranges, n_tokens_max, flags)


cdef public int32_t bitnet_tokenize_cut(const llama_model *vocab, const char *text, int32_t text_len,
                                        uint32_t flags) noexcept nogil:
    cdef size_t length = 0
    if not find_text(vocab, text, text_len, &length):
        return 0
    if length > INT32_MAX:
        bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes, expected at most %d", length, INT32_MAX)
        return 0
    return <int32_t>bnf_tokenize_cut(<const bnf_vocab_t *>vocab.vocab, <const uint8_t *>text, length,
                                     flags & BITNET_TOKENIZE_PARSE_SPECIAL != 0)


# The bytes of a token and their number; 0 bytes for a hidden token unless `special`. False: there is no such token.
cdef bool find_piece(const llama_model *model, llama_token token, bool special, const uint8_t **bytes, uint32_t *length) noexcept nogil:
    cdef const bnf_vocab_t *v = <const bnf_vocab_t *>model.vocab
    cdef bint spoken
    length[0] = 0
    bytes[0] = NULL
    if token < 0 or token >= v.n_tokens:
        return token >= 0 and token < model.hp.n_vocab   # a row without text
    spoken = v.attr[token] & SPOKEN or v.type == LLAMA_VOCAB_TYPE_RWKV or v.type == LLAMA_VOCAB_TYPE_PLAMO2
    if spoken and (special or not v.attr[token] & HIDDEN):
        bytes[0] = bnf_strings_get(&v.piece, <uint32_t>token, length)
    return True


cdef int no_token(const llama_model *model, llama_token token) noexcept nogil:
    return bnf_fail(BITNET_ERROR_TOKENIZE, "token %d: expected one of 0 to %d", token, model.hp.n_vocab - 1)


cdef public int32_t llama_token_to_piece(const llama_model *vocab, llama_token token, char *buf, int32_t length, int32_t lstrip,
                                         bool special) noexcept nogil:
    cdef const uint8_t *bytes = NULL
    cdef uint32_t n = 0
    bnf_clear_error()
    if vocab == NULL or vocab.vocab == NULL:
        bnf_fail(BITNET_ERROR, "vocab: NULL, expected a model")
        return 0
    if not find_piece(vocab, token, special, &bytes, &n):
        no_token(vocab, token)
        return 0
    while lstrip > 0 and n > 0 and bytes[0] == c' ':
        bytes += 1
        n -= 1
        lstrip -= 1
    if length < 0 or buf == NULL or n > <uint32_t>length:
        return -<int32_t>n   # pieces together are at most 1 GiB (vocab.pyx)
    if n > 0:
        memcpy(buf, bytes, n)
    return <int32_t>n


# ---- llama.cpp's clean-up of spaces, for vocabularies that ask for it: three passes over the text in place ----

cdef inline bool is_stop(char c) noexcept nogil:
    return c == c'?' or c == c'!' or c == c'.' or c == c','


# " ?" " !" " ." " ," lose their space.
cdef int32_t join_stops(char *text, int32_t n) noexcept nogil:
    cdef int32_t i, kept = 1
    for i in range(1, n):
        # The byte before text[i] is unchanged in place: kept never exceeds i.
        if is_stop(text[i]) and text[i - 1] == c' ':
            kept -= 1
        text[kept] = text[i]
        kept += 1
    return kept


# An apostrophe between two spaces loses both.
cdef int32_t join_apostrophes(char *text, int32_t n) noexcept nogil:
    cdef int32_t i = 1, kept = 1
    cdef char c
    while i < n:
        c = text[i]
        if c == c"'" and i + 1 < n and text[i - 1] == c' ' and text[i + 1] == c' ':
            kept -= 1
            i += 1
            text[i] = 0   # so that the next character does not see a space before it
        text[kept] = c
        kept += 1
        i += 1
    return kept


# " 's" " 'm" " 're" " 've" lose their space.
cdef int32_t join_contractions(char *text, int32_t n) noexcept nogil:
    cdef int32_t i, kept = 1
    cdef char c, a
    for i in range(1, n):
        c = text[i]
        if c == c"'" and text[i - 1] == c' ' and i + 1 < n:
            a = text[i + 1]
            if a == c's' or a == c'm':
                kept -= 1
            elif i + 2 < n and (a == c'r' or a == c'v') and text[i + 2] == c'e':
                kept -= 1
        text[kept] = c
        kept += 1
    return kept


cdef public int32_t llama_detokenize(const llama_model *vocab, const llama_token *tokens, int32_t n_tokens, char *text,
                                     int32_t text_len_max, bool remove_special, bool unparse_special) noexcept nogil:
    cdef const bnf_vocab_t *v
    cdef const uint8_t *bytes = NULL
    cdef uint32_t n = 0
    cdef int32_t i = 0, end
    cdef int64_t total = 0
    cdef bool strip_one
    bnf_clear_error()
    if vocab == NULL or vocab.vocab == NULL:
        bnf_fail(BITNET_ERROR, "vocab: NULL, expected a model")
        return 0
    if n_tokens < 0 or (tokens == NULL and n_tokens > 0):
        bnf_fail(BITNET_ERROR, "tokens: NULL or a negative number of them (%d)", n_tokens)
        return 0
    if text == NULL or text_len_max < 0:
        text_len_max = 0
    v = <const bnf_vocab_t *>vocab.vocab
    end = n_tokens
    strip_one = v.add_space_prefix   # the space that tokenizing put in front
    if remove_special and v.add_bos and i < end and tokens[i] == v.special[<int>BNF_BOS]:
        strip_one = False
        i += 1
    if remove_special and v.add_eos and i < end and tokens[end - 1] == v.special[<int>BNF_EOS]:
        end -= 1
    while i < end:
        if not find_piece(vocab, tokens[i], unparse_special, &bytes, &n):
            no_token(vocab, tokens[i])
            return 0
        if strip_one and n > 0 and bytes[0] == c' ':
            bytes += 1
            n -= 1
        strip_one = False
        if n > 0 and total + n <= text_len_max:
            memcpy(text + total, bytes, n)
        total += n
        i += 1
    if total > INT32_MAX:
        bnf_fail(BITNET_ERROR_TOKENIZE, "%d tokens: %lld bytes, expected at most %d", n_tokens, <long long>total, INT32_MAX)
        return 0
    if total > text_len_max:
        return -<int32_t>total
    if v.clean_spaces and total > 0:
        total = join_contractions(text, join_apostrophes(text, join_stops(text, <int32_t>total)))
    return <int32_t>total
