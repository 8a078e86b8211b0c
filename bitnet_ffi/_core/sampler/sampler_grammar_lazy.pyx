# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Lazy grammars: everything is allowed until a trigger appears in the accepted text, a token or a pattern; from the trigger on the
# grammar holds, so a model may first think and then call a tool. Rules of what a trigger is as in llama.cpp (llama-grammar.cpp).
# Next: sampler_grammar.pyx, what happens then; csrc/bnf_regex.h, the patterns.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t
from libc.string cimport memcpy, strchr, strlen
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_clear_error, bnf_fail, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_grammar cimport (
    bnf_grammar_follow, bnf_grammar_sampler_new, bnf_heard, bnf_regex, bnf_regex_find, bnf_regex_free, bnf_regex_new,
    bnf_sampler_grammar, bnf_triggers, bnf_waiting, BNF_REGEX_YES)
from bitnet_ffi._core.bnf_public cimport bool, llama_sampler, llama_sampler_i, llama_token, BITNET_ERROR
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bnf_grammar.h" nogil:
    pass

cdef extern from "bnf_sampler.h" nogil:
    llama_sampler_i bnf_grammar_i

cdef extern from "bnf_atomic.h" nogil:
    void bnf_ref_take(int32_t *refs)
    int32_t bnf_ref_drop(int32_t *refs)

cdef extern from "bitnet_ffi.h" nogil:
    void llama_sampler_free(llama_sampler *smpl)

cdef enum:
    MOST_TRIGGERS = 4096


# ---- while it waits ----

# Room for n more bytes and one more token.
cdef bint make_room(bnf_waiting *w, size_t n) noexcept nogil:
    cdef size_t cap
    cdef void *memory
    if w.text_len + n > w.text_cap:
        cap = max(2 * w.text_cap, w.text_len + n, <size_t>1024)
        memory = bnf_resize(w.text, w.text_cap, cap)
        if memory == NULL:
            return False
        w.text = <char *>memory
        w.text_cap = cap
    if w.n_heard == w.heard_cap:
        cap = max(2 * w.heard_cap, <size_t>256)
        memory = bnf_resize(w.heard, w.heard_cap * sizeof(bnf_heard), cap * sizeof(bnf_heard))
        if memory == NULL:
            return False
        w.heard = <bnf_heard *>memory
        w.heard_cap = cap
    return True


cdef bint is_trigger(const bnf_triggers *triggers, llama_token token) noexcept nogil:
    cdef int32_t i
    for i in range(triggers.n_tokens):
        if triggers.tokens[i] == token:
            return True
    return False


# Where the text of a complete trigger begins; False: there is none.
cdef bint find_trigger(const bnf_waiting *w, size_t *start) noexcept nogil:
    cdef const bnf_triggers *triggers = w.triggers
    cdef int32_t i
    for i in range(triggers.n_patterns):
        if triggers.whole[i] and bnf_regex_find(triggers.patterns[i], w.text, w.text_len, True, start) == BNF_REGEX_YES:
            return True
        if bnf_regex_find(triggers.patterns[i], w.text, w.text_len, False, start) == BNF_REGEX_YES:
            return True
    return False


# The grammar follows what was heard from `start` on; the token that `start` cuts counts with its rest.
cdef void replay(bnf_sampler_grammar *own, size_t start) noexcept nogil:
    cdef bnf_waiting *w = &own.waiting
    cdef size_t i, begin, end
    w.waits = False
    for i in range(w.n_heard):
        begin = w.heard[i].begin
        end = w.heard[i + 1].begin if i + 1 < w.n_heard else w.text_len
        if end > start:
            bnf_grammar_follow(own, w.heard[i].token, <uint32_t>(start - begin) if start > begin else 0)
    w.text_len = 0
    w.n_heard = 0


cdef public void bnf_waiting_accept(bnf_sampler_grammar *own, llama_token token) noexcept nogil:
    cdef bnf_waiting *w = &own.waiting
    cdef size_t n = 0
    cdef size_t start = 0
    if is_trigger(w.triggers, token):
        w.waits = False
        bnf_grammar_follow(own, token, 0)
        return
    if token >= 0 and token < own.order.n_tokens:
        n = own.order.begin[token + 1] - own.order.begin[token]
    if not make_room(w, n):
        return
    if n > 0:
        memcpy(w.text + w.text_len, own.order.bytes + own.order.begin[token], n)
    w.heard[w.n_heard].token = token
    w.heard[w.n_heard].begin = <uint32_t>w.text_len
    w.n_heard += 1
    w.text_len += n
    if find_trigger(w, &start):
        replay(own, start)


# ---- life ----

cdef void free_triggers(bnf_triggers *triggers) noexcept nogil:
    cdef int32_t i
    if triggers == NULL or bnf_ref_drop(&triggers.n_users) > 0:
        return
    for i in range(triggers.n_patterns):
        bnf_regex_free(triggers.patterns[i])
    bnf_release(triggers.tokens)
    bnf_release(triggers.patterns)
    bnf_release(triggers.whole)
    bnf_release(triggers)


cdef public void bnf_waiting_reset(bnf_waiting *waiting) noexcept nogil:
    waiting.waits = waiting.triggers != NULL
    waiting.text_len = 0
    waiting.n_heard = 0


cdef public bool bnf_waiting_copy(const bnf_waiting *waiting, bnf_waiting *copy) noexcept nogil:
    if waiting.triggers == NULL:
        return True
    bnf_ref_take(&waiting.triggers.n_users)
    copy.triggers = waiting.triggers
    copy.waits = waiting.waits
    copy.text = <char *>bnf_alloc(waiting.text_cap)
    copy.heard = <bnf_heard *>bnf_alloc_array(waiting.heard_cap, sizeof(bnf_heard))
    if copy.text == NULL or copy.heard == NULL:
        return False
    copy.text_cap = waiting.text_cap
    copy.heard_cap = waiting.heard_cap
    copy.text_len = waiting.text_len
    copy.n_heard = waiting.n_heard
    if copy.n_heard > 0:
        memcpy(copy.text, waiting.text, copy.text_len)
        memcpy(copy.heard, waiting.heard, copy.n_heard * sizeof(bnf_heard))
    return True


cdef public void bnf_waiting_free(bnf_waiting *waiting) noexcept nogil:
    free_triggers(waiting.triggers)
    bnf_release(waiting.text)
    bnf_release(waiting.heard)


# ---- constructors ----

cdef bnf_triggers *new_triggers(size_t n_patterns, const llama_token *tokens, size_t n_tokens) noexcept nogil:
    cdef bnf_triggers *t = <bnf_triggers *>bnf_alloc(sizeof(bnf_triggers))
    if t == NULL:
        return NULL
    t.n_users = 1
    t.tokens = <llama_token *>bnf_alloc_array(n_tokens, sizeof(llama_token))
    t.patterns = <bnf_regex **>bnf_alloc_array(n_patterns, sizeof(bnf_regex *))
    t.whole = <bool *>bnf_alloc_array(n_patterns, sizeof(bool))
    if t.tokens == NULL or t.patterns == NULL or t.whole == NULL:
        free_triggers(t)
        return NULL
    if n_tokens > 0:
        memcpy(t.tokens, tokens, n_tokens * sizeof(llama_token))
    t.n_tokens = <int32_t>n_tokens
    return t


cdef bint add_pattern(bnf_triggers *t, const char *pattern) noexcept nogil:
    cdef size_t len = strlen(pattern)
    cdef bnf_regex *regex = bnf_regex_new(pattern)
    if regex == NULL:
        return False
    t.patterns[t.n_patterns] = regex
    t.whole[t.n_patterns] = len > 1 and pattern[0] == c'^' and pattern[len - 1] == c'$'
    t.n_patterns += 1
    return True


# The words as one pattern, "(one|two)", with a backslash before whatever means more than itself.
cdef bint add_words(bnf_triggers *t, const char **words, size_t n) noexcept nogil:
    cdef size_t size = 3
    cdef size_t at = 0
    cdef size_t i
    cdef const char *p
    cdef char *pattern
    cdef bint ok
    for i in range(n):
        size += 2 * strlen(words[i]) + 1
    pattern = <char *>bnf_alloc(size)
    if pattern == NULL:
        return False
    for i in range(n):
        pattern[at] = c'|' if i > 0 else c'('
        at += 1
        p = words[i]
        while p[0] != 0:
            if strchr(b".^$|()*+?[]{}\\", p[0]) != NULL:
                pattern[at] = c'\\'
                at += 1
            pattern[at] = p[0]
            at += 1
            p += 1
    pattern[at] = c')'
    ok = add_pattern(t, pattern)
    bnf_release(pattern)
    return ok


cdef bint texts_are_there(const char *caller, const char **texts, size_t n, const llama_token *tokens, size_t n_tokens) noexcept nogil:
    cdef size_t i
    cdef bint ok = (n == 0 or texts != NULL) and (n_tokens == 0 or tokens != NULL)
    if n > MOST_TRIGGERS or n_tokens > MOST_TRIGGERS:
        bnf_fail(BITNET_ERROR, "%s: %zu texts and %zu tokens as triggers, at most %d of each are taken", caller, n, n_tokens,
                 <int>MOST_TRIGGERS)
        return False
    if ok:
        for i in range(n):
            ok = ok and texts[i] != NULL
    if not ok:
        bnf_fail(BITNET_ERROR, "%s: a trigger is NULL", caller)
    return ok


cdef llama_sampler *new_lazy(const char *caller, const llama_model *vocab, const char *text, const char *root, const char **triggers,
                             size_t n, bint are_words, const llama_token *tokens, size_t n_tokens) noexcept nogil:
    cdef llama_sampler *smpl
    cdef bnf_sampler_grammar *own
    cdef size_t i
    cdef bint ok
    bnf_clear_error()
    if not texts_are_there(caller, triggers, n, tokens, n_tokens):
        return NULL
    smpl = bnf_grammar_sampler_new(caller, vocab, text, root)
    if smpl == NULL or smpl.iface != &bnf_grammar_i:      # an empty grammar makes an empty sampler
        return smpl
    own = <bnf_sampler_grammar *>smpl.ctx
    own.waiting.triggers = new_triggers(n, tokens, n_tokens)
    ok = own.waiting.triggers != NULL
    if ok and are_words and n > 0:
        ok = add_words(own.waiting.triggers, triggers, n)
    elif ok:
        for i in range(n):
            ok = ok and add_pattern(own.waiting.triggers, triggers[i])
    if not ok:
        llama_sampler_free(smpl)
        return NULL
    bnf_waiting_reset(&own.waiting)
    return smpl


cdef public llama_sampler *llama_sampler_init_grammar_lazy_patterns(const llama_model *vocab, const char *grammar_str,
        const char *grammar_root, const char **trigger_patterns, size_t num_trigger_patterns, const llama_token *trigger_tokens,
        size_t num_trigger_tokens) noexcept nogil:
    return new_lazy("llama_sampler_init_grammar_lazy_patterns", vocab, grammar_str, grammar_root, trigger_patterns,
                    num_trigger_patterns, False, trigger_tokens, num_trigger_tokens)


cdef public llama_sampler *llama_sampler_init_grammar_lazy(const llama_model *vocab, const char *grammar_str,
        const char *grammar_root, const char **trigger_words, size_t num_trigger_words, const llama_token *trigger_tokens,
        size_t num_trigger_tokens) noexcept nogil:
    return new_lazy("llama_sampler_init_grammar_lazy", vocab, grammar_str, grammar_root, trigger_words, num_trigger_words, True,
                    trigger_tokens, num_trigger_tokens)
