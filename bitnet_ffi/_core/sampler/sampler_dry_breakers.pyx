# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The constructor of the DRY sampler: which tokens, and which tokens after them, spell a sequence breaker. A breaker may begin
# inside a token and go on in the next ones, so each token of the vocabulary is held against each breaker.
# Source: as sampler_dry.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from libc.string cimport memcmp, memcpy, strlen
from bitnet_ffi._core.bnf_base cimport bnf_fail, bnf_resize
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler, llama_token, BITNET_ERROR
from bitnet_ffi._core.bnf_sampler cimport (
    bnf_dry_breaker, bnf_dry_i, bnf_empty_i, bnf_sampler_dry, bnf_sampler_new, bnf_sampler_plain, BNF_DRY_TAIL)
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bitnet_ffi.h" nogil:
    int32_t llama_vocab_n_tokens(const llama_model *vocab)
    int32_t llama_detokenize(const llama_model *vocab, const llama_token *tokens, int32_t n_tokens, char *text,
                             int32_t text_len_max, bool remove_special, bool unparse_special)
    int32_t llama_tokenize_text "llama_tokenize"(const llama_model *vocab, const char *text, int32_t text_len, llama_token *tokens,
                                                 int32_t n_tokens_max, bool add_special, bool parse_special)
    void llama_sampler_free(llama_sampler *smpl)

cdef enum:
    MOST_BYTES = 40       # of a breaker; what is longer is cut
    WORD_SIZE = 4096      # longest text of a token that is looked at: none is a tenth of it


# Room for one more; False: no memory.
cdef bint make_room(bnf_sampler_dry *own) noexcept nogil:
    cdef int32_t cap = 64 if own.breakers_cap == 0 else 2 * own.breakers_cap
    cdef void *breakers
    if own.n_breakers < own.breakers_cap:
        return True
    breakers = bnf_resize(own.breakers, <size_t>own.breakers_cap * sizeof(bnf_dry_breaker), <size_t>cap * sizeof(bnf_dry_breaker))
    if breakers == NULL:
        return False
    own.breakers = <bnf_dry_breaker *>breakers
    own.breakers_cap = cap
    return True


# Add (head, tail) unless it is there. Tokens are visited in ascending order, so the heads stay so.
cdef bint add(bnf_sampler_dry *own, llama_token head, const llama_token *tail, int32_t n_tail) noexcept nogil:
    cdef bnf_dry_breaker *new
    cdef int32_t i = own.n_breakers
    while i > 0 and own.breakers[i - 1].head == head:
        i -= 1
        if own.breakers[i].n_tail == n_tail and memcmp(own.breakers[i].tail, tail, <size_t>n_tail * sizeof(llama_token)) == 0:
            return True
    if not make_room(own):
        return False
    new = &own.breakers[own.n_breakers]
    own.n_breakers += 1
    new.head = head
    new.n_tail = n_tail
    memcpy(new.tail, tail, <size_t>n_tail * sizeof(llama_token))
    return True


# Where `word` ends with the beginning of `breaker`, the rest of the breaker is a tail.
cdef bint add_overlaps(bnf_sampler_dry *own, const llama_model *vocab, llama_token token, const char *word, int32_t word_len,
                       const char *breaker, int32_t len) noexcept nogil:
    cdef llama_token tail[MOST_BYTES + 8]      # at most a token a byte, and a space that some vocabularies add
    cdef int32_t at, n
    for at in range(word_len):
        if word_len - at >= len and memcmp(word + at, breaker, <size_t>len) == 0:
            return add(own, token, tail, 0)
    for at in range(word_len):
        n = word_len - at
        if n < len and memcmp(word + at, breaker, <size_t>n) == 0:
            n = llama_tokenize_text(vocab, breaker + n, len - n, tail, MOST_BYTES + 8, False, False)
            if n >= 0 and not add(own, token, tail, n if n < BNF_DRY_TAIL else BNF_DRY_TAIL):
                return False
    return True


cdef bint add_breakers(bnf_sampler_dry *own, const llama_model *vocab, const char **breakers, size_t n) noexcept nogil:
    cdef char word[WORD_SIZE]
    cdef llama_token token
    cdef int32_t word_len
    cdef size_t i, len
    for token in range(llama_vocab_n_tokens(vocab)):
        word_len = llama_detokenize(vocab, &token, 1, word, WORD_SIZE, False, True)
        for i in range(n):
            len = 0 if breakers[i] == NULL else strlen(breakers[i])
            if word_len <= 0 or len == 0:
                continue
            if not add_overlaps(own, vocab, token, word, word_len, breakers[i], MOST_BYTES if len > MOST_BYTES else <int32_t>len):
                return False
    return True


cdef public llama_sampler *llama_sampler_init_dry(const llama_model *vocab, float dry_multiplier, float dry_base,
        int32_t dry_allowed_length, int32_t dry_penalty_last_n, const char **seq_breakers, size_t num_breakers) noexcept nogil:
    cdef llama_sampler *smpl
    cdef bnf_sampler_dry *own
    if vocab == NULL or (num_breakers > 0 and seq_breakers == NULL):
        bnf_fail(BITNET_ERROR, "llama_sampler_init_dry: %s", "vocab is NULL" if vocab == NULL else "seq_breakers is NULL")
        return NULL
    if dry_multiplier == 0 or not dry_base >= 1 or dry_penalty_last_n <= 0:
        return bnf_sampler_new(&bnf_empty_i, "?dry", sizeof(bnf_sampler_plain))
    smpl = bnf_sampler_new(&bnf_dry_i, "dry", sizeof(bnf_sampler_dry))
    if smpl == NULL:
        return NULL
    own = <bnf_sampler_dry *>smpl.ctx
    own.multiplier = dry_multiplier
    own.base = dry_base
    own.allowed_len = dry_allowed_length
    own.last_n = dry_penalty_last_n
    if num_breakers > 0 and not add_breakers(own, vocab, seq_breakers, num_breakers):
        llama_sampler_free(smpl)
        return NULL
    return smpl
