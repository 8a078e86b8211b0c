# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
#
# llama_grammar_* and llama_sample_grammar, the grammars of 2023 and 2024: made from arrays of rules, and bound to a vocabulary
# only when they meet a context. Inside is the grammar sampler of today; the model it met is kept alive.
# Next: sampler_grammar.pyx; grammar_compile.pyx checks the rules.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_clear_error, bnf_fail, bnf_is_null, bnf_release
from bitnet_ffi._core.bnf_calls cimport bnf_model_release, bnf_model_retain
from bitnet_ffi._core.bnf_context cimport llama_context
from bitnet_ffi._core.bnf_grammar cimport (
    bnf_grammar, bnf_grammar_compile, bnf_grammar_free, bnf_matcher_new, bnf_sampler_grammar, bnf_token_order_of, llama_grammar_element,
    BNF_GRAMMAR_MASKS, BNF_GRAMMAR_MAX_ELEMENTS)
from bitnet_ffi._core.bnf_public cimport llama_sampler, llama_sampler_i, llama_token, llama_token_data_array, BITNET_ERROR
from bitnet_ffi._core.bnf_sampler cimport bnf_sampler_new
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_sampler.h" nogil:
    llama_sampler_i bnf_grammar_i

cdef extern from "bnf_grammar.h" nogil:
    ctypedef struct llama_grammar "struct llama_grammar":
        llama_sampler *smpl
        llama_model *model

cdef extern from "bitnet_ffi.h" nogil:
    llama_sampler *llama_sampler_clone(const llama_sampler *smpl)
    void llama_sampler_free(llama_sampler *smpl)


cdef llama_sampler *sampler_of(const llama_grammar_element **rules, int32_t n_rules, int32_t root) noexcept nogil:
    cdef bnf_grammar *compiled = bnf_grammar_compile(<const llama_grammar_element *const *>rules, n_rules, root)
    cdef llama_sampler *smpl
    cdef bnf_sampler_grammar *own
    if compiled == NULL:
        return NULL
    smpl = bnf_sampler_new(&bnf_grammar_i, "grammar", sizeof(bnf_sampler_grammar))
    if smpl != NULL:
        own = <bnf_sampler_grammar *>smpl.ctx
        own.matcher = bnf_matcher_new(compiled, &own.state)
        if own.matcher == NULL:
            llama_sampler_free(smpl)
            smpl = NULL
    bnf_grammar_free(compiled)      # the matcher holds it
    return smpl


cdef llama_grammar *wrap(llama_sampler *smpl, llama_model *model) noexcept nogil:
    cdef llama_grammar *grammar = NULL
    if smpl != NULL:
        grammar = <llama_grammar *>bnf_alloc(sizeof(llama_grammar))
        if grammar == NULL:
            llama_sampler_free(smpl)
            return NULL
        grammar.smpl = smpl
        grammar.model = model
        if model != NULL:
            bnf_model_retain(model)
    return grammar


cdef public llama_grammar *llama_grammar_init(const llama_grammar_element **rules, size_t n_rules, size_t start_rule_index) noexcept nogil:
    bnf_clear_error()
    if n_rules > BNF_GRAMMAR_MAX_ELEMENTS or start_rule_index >= n_rules:
        bnf_fail(BITNET_ERROR, "llama_grammar_init: rule %zu of %zu rules cannot be the start; at most %d rules are read", start_rule_index,
                 n_rules, <int>BNF_GRAMMAR_MAX_ELEMENTS)
        return NULL
    return wrap(sampler_of(rules, <int32_t>n_rules, <int32_t>start_rule_index), NULL)


cdef public void llama_grammar_free(llama_grammar *grammar) noexcept nogil:
    if grammar == NULL:
        return
    llama_sampler_free(grammar.smpl)
    bnf_model_release(grammar.model)
    bnf_release(grammar)


cdef public llama_grammar *llama_grammar_copy(const llama_grammar *grammar) noexcept nogil:
    bnf_clear_error()
    return NULL if bnf_is_null(grammar, "llama_grammar_copy", "grammar") else wrap(llama_sampler_clone(grammar.smpl), grammar.model)


# The vocabulary of ctx becomes that of the grammar. Masks of another model are of another length, so they go.
cdef bint bind(llama_grammar *grammar, const llama_context *ctx) noexcept nogil:
    cdef bnf_sampler_grammar *own = <bnf_sampler_grammar *>grammar.smpl.ctx
    cdef int32_t i
    if grammar.model == ctx.model:
        return True
    own.order = bnf_token_order_of(ctx.model)
    if own.order == NULL:
        bnf_model_release(grammar.model)
        grammar.model = NULL
        return False
    own.vocab = ctx.model
    for i in range(BNF_GRAMMAR_MASKS):
        bnf_release(own.masks[i].bits)
        own.masks[i].bits = NULL
    bnf_model_retain(ctx.model)
    bnf_model_release(grammar.model)
    grammar.model = ctx.model
    return True


cdef public void llama_grammar_sample(const llama_grammar *grammar, const llama_context *ctx,
                                      llama_token_data_array *candidates) noexcept nogil:
    bnf_clear_error()
    if (bnf_is_null(grammar, "llama_grammar_sample", "grammar") or bnf_is_null(ctx, "llama_grammar_sample", "ctx")
            or bnf_is_null(candidates, "llama_grammar_sample", "candidates")
            or (candidates.size > 0 and bnf_is_null(candidates.data, "llama_grammar_sample", "candidates->data"))):
        return
    # const to its callers: what the machine remembers is no state of theirs.
    if bind(<llama_grammar *>grammar, ctx):
        bnf_grammar_i.apply(grammar.smpl, candidates)


cdef public void llama_sample_grammar(llama_context *ctx, llama_token_data_array *candidates, const llama_grammar *grammar) noexcept nogil:
    llama_grammar_sample(grammar, ctx, candidates)


cdef public void llama_grammar_accept_token(llama_grammar *grammar, llama_context *ctx, llama_token token) noexcept nogil:
    bnf_clear_error()
    if bnf_is_null(grammar, "llama_grammar_accept_token", "grammar") or bnf_is_null(ctx, "llama_grammar_accept_token", "ctx"):
        return
    if bind(grammar, ctx):
        bnf_grammar_i.accept(grammar.smpl, token)
