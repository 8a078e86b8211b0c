# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The grammar sampler: takes the logit of every token that the grammar does not allow next to minus infinity, and follows what is
# accepted. A token that ends the text is allowed where the grammar may end. What does not fit is an error with a sentence, after
# which nothing is allowed: the client reads it and stops, nothing aborts.
# Next: grammar_tokens.pyx, which tokens; grammar.pyx, the machine; grammar_parse.pyx, the language.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.string cimport memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_grammar cimport (
    bnf_gr_partial, bnf_grammar, bnf_grammar_after, bnf_grammar_compile, bnf_grammar_free, bnf_grammar_mark, bnf_grammar_mask,
    bnf_grammar_parse, bnf_matcher, bnf_matcher_complete, bnf_matcher_copy, bnf_matcher_free, bnf_matcher_new, bnf_matcher_tidy,
    bnf_rules, bnf_rules_free, bnf_sampler_grammar, bnf_token_order_of, bnf_waiting_accept, bnf_waiting_copy, bnf_waiting_free,
    bnf_waiting_reset, llama_grammar_element, BNF_GRAMMAR_MASKS)
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler, llama_sampler_i, llama_token, llama_token_data_array, BITNET_ERROR
from bitnet_ffi._core.bnf_sampler cimport bnf_empty_i, bnf_sampler_new, bnf_sampler_plain, INFINITY
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_sampler.h" nogil:
    llama_sampler_i bnf_grammar_i

cdef extern from "bnf_grammar.h" nogil:
    pass

cdef extern from "bitnet_ffi.h" nogil:
    bool llama_vocab_is_eog(const llama_model *vocab, llama_token token)
    void llama_sampler_free(llama_sampler *smpl)

cdef enum:
    DEAD = 0
    FEW = 512             # up to here candidates are asked about one by one

ctypedef const llama_grammar_element *const_rule


cdef inline bint same_place(const bnf_grammar_mask *mask, const bnf_sampler_grammar *own) noexcept nogil:
    return (mask.bits != NULL and mask.state == own.state and mask.generation == own.matcher.generation
            and mask.partial.n_left == own.partial.n_left and (own.partial.n_left == 0 or mask.partial.value == own.partial.value))


# The tokens that may follow here, remembered for a few places; NULL: no memory.
cdef const uint64_t *mask_here(bnf_sampler_grammar *own) noexcept nogil:
    cdef size_t n_words = (<size_t>own.order.n_tokens + 63) // 64
    cdef bnf_grammar_mask *mask
    cdef int32_t i
    for i in range(BNF_GRAMMAR_MASKS):
        if same_place(&own.masks[i], own):
            return own.masks[i].bits
    mask = &own.masks[own.oldest]
    own.oldest = (own.oldest + 1) % BNF_GRAMMAR_MASKS
    if mask.bits == NULL:
        mask.bits = <uint64_t *>bnf_alloc_array(n_words, sizeof(uint64_t))
        if mask.bits == NULL:
            return NULL
    memset(mask.bits, 0, n_words * sizeof(uint64_t))
    mask.state = own.state
    mask.partial = own.partial
    mask.generation = own.matcher.generation
    if not bnf_grammar_mark(own.matcher, own.state, &own.partial, own.order, mask.bits):
        mask.state = -1
        return NULL
    return mask.bits


cdef bint allows(bnf_sampler_grammar *own, const uint64_t *mask, llama_token token) noexcept nogil:
    cdef bnf_gr_partial partial = own.partial
    if token < 0 or token >= own.order.n_tokens:
        return False
    if llama_vocab_is_eog(own.vocab, token):
        return own.partial.n_left == 0 and bnf_matcher_complete(own.matcher, own.state)
    if mask != NULL:
        return mask[token // 64] >> (token % 64) & 1
    return bnf_grammar_after(own.matcher, own.state, &partial, own.order, token, 0) != DEAD


cdef public void bnf_grammar_sampler_apply(llama_sampler *smpl, llama_token_data_array *cur) noexcept nogil:
    cdef bnf_sampler_grammar *own = <bnf_sampler_grammar *>smpl.ctx
    cdef const uint64_t *mask = NULL
    cdef size_t i
    if own.waiting.waits:
        return
    own.state = bnf_matcher_tidy(own.matcher, own.state)
    if cur.size > FEW:
        mask = mask_here(own)
    for i in range(cur.size):
        if not allows(own, mask, cur.data[i].id):
            cur.data[i].logit = -INFINITY


cdef public void bnf_grammar_sampler_accept(llama_sampler *smpl, llama_token token) noexcept nogil:
    cdef bnf_sampler_grammar *own = <bnf_sampler_grammar *>smpl.ctx
    if own.waiting.waits:
        bnf_waiting_accept(own, token)
    else:
        bnf_grammar_follow(own, token, 0)


cdef public void bnf_grammar_follow(bnf_sampler_grammar *own, llama_token token, uint32_t skip) noexcept nogil:
    if llama_vocab_is_eog(own.vocab, token):
        if own.partial.n_left > 0 or not bnf_matcher_complete(own.matcher, own.state):
            bnf_fail(BITNET_ERROR, "grammar: token %d ends the text where the grammar goes on", <int>token)
        return
    own.state = bnf_matcher_tidy(own.matcher, own.state)
    if own.state == DEAD:
        bnf_fail(BITNET_ERROR, "grammar: nothing may follow what was accepted before token %d", <int>token)
        return
    own.state = bnf_grammar_after(own.matcher, own.state, &own.partial, own.order, token, skip)
    if own.state == DEAD and not own.matcher.failed:
        bnf_fail(BITNET_ERROR, "grammar: token %d does not fit what the grammar expects", <int>token)


# ---- life ----

cdef void forget_place(bnf_sampler_grammar *own) noexcept nogil:
    cdef int32_t i
    own.partial.n_left = 0
    for i in range(BNF_GRAMMAR_MASKS):
        own.masks[i].state = -1


cdef public void bnf_grammar_sampler_reset(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_grammar *own = <bnf_sampler_grammar *>smpl.ctx
    cdef int32_t state = DEAD
    cdef bnf_matcher *fresh = bnf_matcher_new(own.matcher.grammar, &state)
    forget_place(own)
    bnf_waiting_reset(&own.waiting)
    own.state = state
    if fresh != NULL:      # without memory: the old machine in the dead state, and the last error says why
        bnf_matcher_free(own.matcher)
        own.matcher = fresh


cdef public void bnf_grammar_sampler_free(llama_sampler *smpl) noexcept nogil:
    cdef bnf_sampler_grammar *own = <bnf_sampler_grammar *>smpl.ctx
    cdef int32_t i
    for i in range(BNF_GRAMMAR_MASKS):
        bnf_release(own.masks[i].bits)
    bnf_matcher_free(own.matcher)
    bnf_waiting_free(&own.waiting)
    bnf_release(own)


cdef public llama_sampler *bnf_grammar_sampler_clone(const llama_sampler *smpl) noexcept nogil:
    cdef const bnf_sampler_grammar *own = <const bnf_sampler_grammar *>smpl.ctx
    cdef llama_sampler *copy = bnf_sampler_new(smpl.iface, own.name, sizeof(bnf_sampler_grammar))
    cdef bnf_sampler_grammar *new
    if copy == NULL:
        return NULL
    new = <bnf_sampler_grammar *>copy.ctx
    new.vocab = own.vocab
    new.order = own.order
    new.state = own.state
    new.partial = own.partial
    new.matcher = bnf_matcher_copy(own.matcher, &new.state)
    if new.matcher == NULL or not bnf_waiting_copy(&own.waiting, &new.waiting):
        llama_sampler_free(copy)
        return NULL
    return copy


# ---- constructors ----

# GBNF text to a grammar with one user; NULL with a sentence.
cdef bnf_grammar *grammar_of(const llama_model *vocab, const char *text, const char *root) noexcept nogil:
    cdef bnf_rules rules
    cdef bnf_grammar *grammar = NULL
    cdef const_rule *bodies
    cdef int32_t i, start
    memset(&rules, 0, sizeof(bnf_rules))
    start = bnf_grammar_parse(&rules, text, root, vocab)
    if start >= 0:
        bodies = <const_rule *>bnf_alloc_array(<size_t>rules.n_rules, sizeof(const_rule))
        if bodies != NULL:
            for i in range(rules.n_rules):
                bodies[i] = rules.elements + rules.start[i]
            grammar = bnf_grammar_compile(bodies, rules.n_rules, start)
            bnf_release(bodies)
    bnf_rules_free(&rules)
    return grammar


cdef bint fill(bnf_sampler_grammar *own, const llama_model *vocab, bnf_grammar *grammar) noexcept nogil:
    own.vocab = vocab
    own.matcher = bnf_matcher_new(grammar, &own.state)
    own.order = bnf_token_order_of(vocab)
    forget_place(own)
    return own.matcher != NULL and own.order != NULL


cdef public llama_sampler *bnf_grammar_sampler_new(const char *caller, const llama_model *vocab, const char *text,
                                                   const char *root) noexcept nogil:
    cdef llama_sampler *smpl
    cdef bnf_grammar *grammar
    if vocab == NULL or root == NULL:
        bnf_fail(BITNET_ERROR, "%s: %s is NULL", caller, "vocab" if vocab == NULL else "grammar_root")
        return NULL
    if text == NULL or text[0] == 0:      # as in llama.cpp: no grammar, everything is allowed
        return bnf_sampler_new(&bnf_empty_i, "?grammar", sizeof(bnf_sampler_plain))
    grammar = grammar_of(vocab, text, root)
    if grammar == NULL:
        return NULL
    smpl = bnf_sampler_new(&bnf_grammar_i, "grammar", sizeof(bnf_sampler_grammar))
    if smpl != NULL and not fill(<bnf_sampler_grammar *>smpl.ctx, vocab, grammar):
        llama_sampler_free(smpl)
        smpl = NULL
    bnf_grammar_free(grammar)      # the matcher holds it
    return smpl


cdef public llama_sampler *llama_sampler_init_grammar(const llama_model *vocab, const char *grammar_str,
                                                      const char *grammar_root) noexcept nogil:
    bnf_clear_error()
    return bnf_grammar_sampler_new("llama_sampler_init_grammar", vocab, grammar_str, grammar_root)
