# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The header's "Vocabulary" section: questions about single tokens. `vocab` is the model (the two are one type, see the
# header). NULL and tokens out of range are answered with 0, false, NULL or LLAMA_TOKEN_NULL and a last error.
# A model with more embedding rows than texts has tokens without text: attribute UNUSED, the text "".
# Next: api_tokenize.pyx for text to tokens and back; bnf_vocab.h for the struct.

from libc.stdint cimport int32_t
from bitnet_ffi._core.bnf_base cimport bnf_fail
from bitnet_ffi._core.bnf_public cimport (
    bool, llama_token, llama_token_attr_t, llama_vocab_type_t, BITNET_ERROR, LLAMA_TOKEN_ATTR_CONTROL, LLAMA_TOKEN_ATTR_UNDEFINED,
    LLAMA_TOKEN_ATTR_UNUSED, LLAMA_TOKEN_NULL, LLAMA_VOCAB_TYPE_NONE)
from bitnet_ffi._core.bnf_types cimport llama_model
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_vocab_t, BNF_BOS, BNF_EOS, BNF_EOT, BNF_FIM_MID, BNF_FIM_PAD, BNF_FIM_PRE, BNF_FIM_REP, BNF_FIM_SEP, BNF_FIM_SUF, BNF_MASK,
    BNF_NL, BNF_PAD, BNF_SEP)


# ---- what the calls share ----

cdef const bnf_vocab_t *opened(const llama_model *model) noexcept nogil:
    if model == NULL or model.vocab == NULL:
        bnf_fail(BITNET_ERROR, "vocab: NULL, expected a model")
        return NULL
    return <const bnf_vocab_t *>model.vocab


# 1: the token has a text; 0: it is a row without one; -1: there is no such token, and the sentence is set.
cdef int check(const llama_model *model, llama_token token) noexcept nogil:
    cdef const bnf_vocab_t *v = opened(model)
    if v == NULL:
        return -1
    if token >= 0 and token < v.n_tokens:
        return 1
    if token >= 0 and token < model.hp.n_vocab:
        return 0
    bnf_fail(BITNET_ERROR, "token %d: expected one of 0 to %d", token,
             (v.n_tokens if v.n_tokens > model.hp.n_vocab else model.hp.n_vocab) - 1)
    return -1


cdef inline const bnf_vocab_t *fields(const llama_model *model) noexcept nogil:
    return <const bnf_vocab_t *>model.vocab


cdef inline llama_token role(const llama_model *model, int32_t which) noexcept nogil:
    return LLAMA_TOKEN_NULL if opened(model) == NULL else fields(model).special[which]


cdef inline int32_t n_tokens(const llama_model *model) noexcept nogil:
    return 0 if opened(model) == NULL else model.hp.n_vocab


cdef inline const char *text_of(const llama_model *model, llama_token token) noexcept nogil:
    cdef int found = check(model, token)
    if found > 0:
        return fields(model).text.bytes + fields(model).text.at[token]
    if found == 0:
        return ""
    return NULL


cdef inline float score_of(const llama_model *model, llama_token token) noexcept nogil:
    return fields(model).score[token] if check(model, token) > 0 else <float>0.0


cdef inline llama_token_attr_t attr_of(const llama_model *model, llama_token token) noexcept nogil:
    cdef int found = check(model, token)
    if found > 0:
        return <llama_token_attr_t>fields(model).attr[token]
    return LLAMA_TOKEN_ATTR_UNUSED if found == 0 else LLAMA_TOKEN_ATTR_UNDEFINED


cdef inline bool is_eog(const llama_model *model, llama_token token) noexcept nogil:
    return check(model, token) > 0 and fields(model).eog[token] != 0


cdef inline bool is_control(const llama_model *model, llama_token token) noexcept nogil:
    return check(model, token) > 0 and fields(model).attr[token] & LLAMA_TOKEN_ATTR_CONTROL != 0


# ---- the calls ----

cdef public int32_t llama_vocab_n_tokens(const llama_model *vocab) noexcept nogil:
    return n_tokens(vocab)

cdef public int32_t llama_n_vocab(const llama_model *vocab) noexcept nogil:
    return n_tokens(vocab)

cdef public llama_vocab_type_t vocab_type_of "llama_vocab_type"(const llama_model *vocab) noexcept nogil:
    return LLAMA_VOCAB_TYPE_NONE if opened(vocab) == NULL else <llama_vocab_type_t>fields(vocab).type

cdef public const char *llama_vocab_get_text(const llama_model *vocab, llama_token token) noexcept nogil:
    return text_of(vocab, token)

cdef public float llama_vocab_get_score(const llama_model *vocab, llama_token token) noexcept nogil:
    return score_of(vocab, token)

cdef public llama_token_attr_t llama_vocab_get_attr(const llama_model *vocab, llama_token token) noexcept nogil:
    return attr_of(vocab, token)

cdef public bool llama_vocab_is_eog(const llama_model *vocab, llama_token token) noexcept nogil:
    return is_eog(vocab, token)

cdef public bool llama_vocab_is_control(const llama_model *vocab, llama_token token) noexcept nogil:
    return is_control(vocab, token)

cdef public llama_token llama_vocab_bos(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_BOS)

cdef public llama_token llama_vocab_eos(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_EOS)

cdef public llama_token llama_vocab_eot(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_EOT)

cdef public llama_token llama_vocab_sep(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_SEP)

cdef public llama_token llama_vocab_nl(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_NL)

cdef public llama_token llama_vocab_pad(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_PAD)

cdef public llama_token llama_vocab_mask(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_MASK)

cdef public bool llama_vocab_get_add_bos(const llama_model *vocab) noexcept nogil:
    return opened(vocab) != NULL and fields(vocab).add_bos

cdef public bool llama_vocab_get_add_eos(const llama_model *vocab) noexcept nogil:
    return opened(vocab) != NULL and fields(vocab).add_eos

cdef public bool llama_vocab_get_add_sep(const llama_model *vocab) noexcept nogil:
    return opened(vocab) != NULL and fields(vocab).add_sep

cdef public llama_token llama_vocab_fim_pre(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_PRE)

cdef public llama_token llama_vocab_fim_suf(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_SUF)

cdef public llama_token llama_vocab_fim_mid(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_MID)

cdef public llama_token llama_vocab_fim_pad(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_PAD)

cdef public llama_token llama_vocab_fim_rep(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_REP)

cdef public llama_token llama_vocab_fim_sep(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_SEP)

cdef public const llama_token *llama_vocab_get_suppress_tokens(const llama_model *vocab, int32_t *n_suppress_tokens) noexcept nogil:
    cdef const bnf_vocab_t *v = opened(vocab)
    if v != NULL and n_suppress_tokens == NULL:
        bnf_fail(BITNET_ERROR, "llama_vocab_get_suppress_tokens: n_suppress_tokens is NULL")
        return NULL
    if n_suppress_tokens != NULL:
        n_suppress_tokens[0] = 0 if v == NULL else v.n_suppress
    return NULL if v == NULL or v.n_suppress == 0 else v.suppress


# ---- the older names ----

cdef public llama_token llama_vocab_cls(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_BOS)

cdef public const char *llama_token_get_text(const llama_model *vocab, llama_token token) noexcept nogil:
    return text_of(vocab, token)

cdef public float llama_token_get_score(const llama_model *vocab, llama_token token) noexcept nogil:
    return score_of(vocab, token)

cdef public llama_token_attr_t llama_token_get_attr(const llama_model *vocab, llama_token token) noexcept nogil:
    return attr_of(vocab, token)

cdef public bool llama_token_is_eog(const llama_model *vocab, llama_token token) noexcept nogil:
    return is_eog(vocab, token)

cdef public bool llama_token_is_control(const llama_model *vocab, llama_token token) noexcept nogil:
    return is_control(vocab, token)

cdef public llama_token llama_token_bos(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_BOS)

cdef public llama_token llama_token_eos(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_EOS)

cdef public llama_token llama_token_eot(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_EOT)

# The classifier token was BERT's name for BOS; llama.cpp made them one.
cdef public llama_token llama_token_cls(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_BOS)

cdef public llama_token llama_token_sep(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_SEP)

cdef public llama_token llama_token_nl(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_NL)

cdef public llama_token llama_token_pad(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_PAD)

cdef public bool llama_add_bos_token(const llama_model *vocab) noexcept nogil:
    return opened(vocab) != NULL and fields(vocab).add_bos

cdef public bool llama_add_eos_token(const llama_model *vocab) noexcept nogil:
    return opened(vocab) != NULL and fields(vocab).add_eos

cdef public llama_token llama_token_fim_pre(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_PRE)

cdef public llama_token llama_token_fim_suf(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_SUF)

cdef public llama_token llama_token_fim_mid(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_MID)

cdef public llama_token llama_token_fim_pad(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_PAD)

cdef public llama_token llama_token_fim_rep(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_REP)

cdef public llama_token llama_token_fim_sep(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_SEP)

cdef public llama_token llama_token_prefix(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_PRE)

cdef public llama_token llama_token_middle(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_MID)

cdef public llama_token llama_token_suffix(const llama_model *vocab) noexcept nogil:
    return role(vocab, BNF_FIM_SUF)
