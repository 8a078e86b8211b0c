# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Rules to the form that the machine runs: characters grouped into classes that no rule tells apart, alternatives listed, and
# left recursion refused, since it would have the machine go on without reading. The result is immutable and shared.
# Takes any element arrays, GBNF's or a client's of 2023, and checks every number in them. Next: grammar.pyx.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint64_t
from libc.stdlib cimport qsort
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release
from bitnet_ffi._core.bnf_grammar cimport (
    bnf_gr_element, bnf_grammar, llama_grammar_element, BNF_GRAMMAR_MAX_CLASSES, BNF_GRAMMAR_MAX_ELEMENTS, BNF_GR_CHARS, BNF_GR_END,
    BNF_GR_RULE, BNF_GR_TOKEN, BNF_GR_TOKEN_NOT, LLAMA_GRETYPE_ALT, LLAMA_GRETYPE_CHAR, LLAMA_GRETYPE_CHAR_ALT, LLAMA_GRETYPE_CHAR_ANY,
    LLAMA_GRETYPE_CHAR_NOT, LLAMA_GRETYPE_CHAR_RNG_UPPER, LLAMA_GRETYPE_END, LLAMA_GRETYPE_RULE_REF, LLAMA_GRETYPE_TOKEN,
    LLAMA_GRETYPE_TOKEN_NOT)
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR

cdef extern from "bnf_grammar.h" nogil:
    pass

cdef extern from "bnf_atomic.h" nogil:
    void bnf_ref_take(int32_t *refs)
    int32_t bnf_ref_drop(int32_t *refs)

cdef enum:
    LAST_CODE = 0x10ffff

ctypedef const llama_grammar_element *const_rule
ctypedef const const_rule rule_t

# ---- reading element arrays ----

cdef inline bint begins_chars(int type) noexcept nogil:
    return type == LLAMA_GRETYPE_CHAR or type == LLAMA_GRETYPE_CHAR_NOT or type == LLAMA_GRETYPE_CHAR_ANY

cdef inline bint continues_chars(int type) noexcept nogil:
    return type == LLAMA_GRETYPE_CHAR_ALT or type == LLAMA_GRETYPE_CHAR_RNG_UPPER

# The element behind the class that begins at e.
cdef const llama_grammar_element *after_chars(const llama_grammar_element *e) noexcept nogil:
    e += 1
    while continues_chars(e.type):
        e += 1
    return e

cdef bint bad_rule(int32_t rule, const char *what) noexcept nogil:
    bnf_fail(BITNET_ERROR, "grammar: rule %d %s", <int>rule, what)
    return False

# Kinds, references and codes of one rule; adds up its elements as compiled, its alternatives, its classes and their borders.
cdef bint measure(const rule_t *rules, int32_t n_rules, int32_t rule, int32_t *n) noexcept nogil:
    cdef const llama_grammar_element *e = rules[rule]
    cdef bint chars = False      # the element before belongs to a class
    if e == NULL:
        return bad_rule(rule, "is NULL")
    n[1] += 1
    while True:
        n[0] += 1
        n[3] += 2
        if n[0] > BNF_GRAMMAR_MAX_ELEMENTS:
            return bad_rule(rule, "does not end, or the rules together are too long")
        if begins_chars(e.type):
            n[2] += 1
        elif continues_chars(e.type):
            if not chars:
                return bad_rule(rule, "continues a class of characters that did not begin")
            if e.type == LLAMA_GRETYPE_CHAR_RNG_UPPER and (e - 1).type == LLAMA_GRETYPE_CHAR_RNG_UPPER:
                return bad_rule(rule, "has a range with two ends")
        elif e.type == LLAMA_GRETYPE_RULE_REF:
            if e.value >= <uint32_t>n_rules:
                return bad_rule(rule, "refers to a rule that is not there")
        elif e.type == LLAMA_GRETYPE_ALT or e.type == LLAMA_GRETYPE_END:
            if e.type == LLAMA_GRETYPE_END:
                return True
            n[1] += 1
        elif e.type != LLAMA_GRETYPE_TOKEN and e.type != LLAMA_GRETYPE_TOKEN_NOT:
            return bad_rule(rule, "has an element of an unknown kind")
        if e.value > LAST_CODE and (begins_chars(e.type) or continues_chars(e.type)):
            return bad_rule(rule, "has a character above 10FFFF")
        chars = begins_chars(e.type) or continues_chars(e.type)
        e += 1

# ---- classes ----

cdef int ascending(const void *a, const void *b) noexcept nogil:
    cdef uint32_t x = (<const uint32_t *>a)[0]
    cdef uint32_t y = (<const uint32_t *>b)[0]
    return (x > y) - (x < y)

# Where a class of characters begins and where it has ended.
cdef void collect_bounds(bnf_grammar *g, const rule_t *rules) noexcept nogil:
    cdef const llama_grammar_element *e
    cdef uint32_t last
    cdef int32_t rule, i, n = 0
    for rule in range(g.n_rules):
        e = rules[rule]
        while e.type != LLAMA_GRETYPE_END:
            if e.type == LLAMA_GRETYPE_CHAR or e.type == LLAMA_GRETYPE_CHAR_NOT or e.type == LLAMA_GRETYPE_CHAR_ALT:
                last = (e + 1).value if (e + 1).type == LLAMA_GRETYPE_CHAR_RNG_UPPER else e.value
                g.bounds[n] = e.value
                g.bounds[n + 1] = last + 1
                n += 2
            e += 1
    qsort(g.bounds, <size_t>n, sizeof(uint32_t), ascending)
    for i in range(n):
        if g.bounds[i] != 0 and (g.n_bounds == 0 or g.bounds[g.n_bounds - 1] != g.bounds[i]):
            g.bounds[g.n_bounds] = g.bounds[i]
            g.n_bounds += 1
    g.n_classes = g.n_bounds + 1
    g.class_words = (g.n_classes + 63) // 64

cdef int32_t find_class(const bnf_grammar *g, uint32_t c) noexcept nogil:
    cdef int32_t low = 0, high = g.n_bounds, middle
    while low < high:
        middle = low + (high - low) // 2
        if g.bounds[middle] <= c:
            low = middle + 1
        else:
            high = middle
    return low

cdef public int32_t bnf_grammar_class(const bnf_grammar *grammar, uint32_t c) noexcept nogil:
    return grammar.ascii_class[c] if c < 128 else find_class(grammar, c)

cdef void fill(uint64_t *set, int32_t first, int32_t last) noexcept nogil:
    cdef int32_t i
    for i in range(first, last + 1):
        set[i // 64] |= <uint64_t>1 << (i % 64)

# The class of characters that begins at e, as a bit set.
cdef void read_chars(const bnf_grammar *g, const llama_grammar_element *e, uint64_t *set) noexcept nogil:
    cdef const llama_grammar_element *end = after_chars(e)
    cdef bint negated = e.type == LLAMA_GRETYPE_CHAR_NOT
    cdef uint32_t last
    cdef int32_t i
    if e.type == LLAMA_GRETYPE_CHAR_ANY:
        fill(set, 0, g.n_classes - 1)
        return
    while e < end:
        if e.type != LLAMA_GRETYPE_CHAR_RNG_UPPER:
            last = (e + 1).value if e + 1 < end and (e + 1).type == LLAMA_GRETYPE_CHAR_RNG_UPPER else e.value
            if last >= e.value:
                fill(set, find_class(g, e.value), find_class(g, last))
        e += 1
    if negated:
        for i in range(g.n_classes):
            set[i // 64] ^= <uint64_t>1 << (i % 64)

# ---- rules ----

cdef inline void emit(bnf_grammar *g, int32_t op, int32_t value) noexcept nogil:
    g.elements[g.n_elements].op = op
    g.elements[g.n_elements].value = value
    g.n_elements += 1

cdef void compile_rules(bnf_grammar *g, const rule_t *rules) noexcept nogil:
    cdef const llama_grammar_element *e
    cdef int32_t rule, n_alternatives = 0
    for rule in range(g.n_rules):
        e = rules[rule]
        g.rule_begin[rule] = n_alternatives
        g.alternatives[n_alternatives] = g.n_elements
        n_alternatives += 1
        while e.type != LLAMA_GRETYPE_END:
            if begins_chars(e.type):
                read_chars(g, e, g.sets + <size_t>g.n_sets * <size_t>g.class_words)
                emit(g, BNF_GR_CHARS, g.n_sets)
                g.n_sets += 1
                e = after_chars(e)
                continue
            if e.type == LLAMA_GRETYPE_RULE_REF:
                emit(g, BNF_GR_RULE, <int32_t>e.value)
            elif e.type == LLAMA_GRETYPE_ALT:
                emit(g, BNF_GR_END, 0)
                g.alternatives[n_alternatives] = g.n_elements
                n_alternatives += 1
            else:
                emit(g, BNF_GR_TOKEN if e.type == LLAMA_GRETYPE_TOKEN else BNF_GR_TOKEN_NOT, <int32_t>e.value)
                g.has_tokens = True
            e += 1
        emit(g, BNF_GR_END, 0)
    g.rule_begin[g.n_rules] = n_alternatives

# ---- left recursion ----
# A rule that reaches itself before anything is read would push for ever. A call at the end of an alternative pushes nothing, so a
# cycle of such calls alone is harmless: (x*)* has one. So: rules that reach each other by "may be called first" are one component
# (Tarjan 1972), and no call within a component may push.

cdef struct walk_t:
    bint *nullable        # [n_rules]
    int32_t *index        # [n_rules] order of discovery, from 1; 0: not seen
    int32_t *low          # [n_rules] the earliest that is reachable
    int32_t *component    # [n_rules] 0: not known yet, else 1 + its first rule
    int32_t *path         # [n_rules] rules being walked through
    int32_t *at           # [n_rules] element at which the walk through path[i] stands
    int32_t *open         # [n_rules] rules seen, of no component yet
    int32_t n_seen
    int32_t n_open

# Which rules can match nothing, until nothing changes.
cdef void find_nullable(const bnf_grammar *g, bint *nullable) noexcept nogil:
    cdef bint changed = True
    cdef int32_t rule, a, e
    while changed:
        changed = False
        for rule in range(g.n_rules):
            for a in range(g.rule_begin[rule], g.rule_begin[rule + 1]):
                e = g.alternatives[a]
                while g.elements[e].op == BNF_GR_RULE and nullable[g.elements[e].value]:
                    e += 1
                if g.elements[e].op == BNF_GR_END and not nullable[rule]:
                    nullable[rule] = True
                    changed = True

# End of a rule's elements.
cdef inline int32_t rule_end(const bnf_grammar *g, int32_t rule) noexcept nogil:
    return g.n_elements if rule + 1 == g.n_rules else g.alternatives[g.rule_begin[rule + 1]]

# The next element from `at` on that the rule may call first: a reference with nothing but rules that may be empty before it in its
# alternative; the end when there is none.
cdef int32_t next_call(const bnf_grammar *g, int32_t rule, int32_t at) noexcept nogil:
    cdef int32_t end = rule_end(g, rule)
    while at < end:
        # `at` is the beginning of an alternative, or behind a call that may be empty.
        if g.elements[at].op == BNF_GR_RULE:
            return at
        while g.elements[at].op != BNF_GR_END:
            at += 1
        at += 1
    return end

# Where to go on after the call at `at` was looked into: behind it when the callee may be empty, else at the next alternative.
cdef int32_t behind(const bnf_grammar *g, const bint *nullable, int32_t at) noexcept nogil:
    if nullable[g.elements[at].value]:
        return at + 1
    while g.elements[at].op != BNF_GR_END:
        at += 1
    return at + 1

cdef void enter(const bnf_grammar *g, walk_t *w, int32_t depth, int32_t rule) noexcept nogil:
    w.n_seen += 1
    w.index[rule] = w.n_seen
    w.low[rule] = w.n_seen
    w.open[w.n_open] = rule
    w.n_open += 1
    w.path[depth] = rule
    w.at[depth] = g.alternatives[g.rule_begin[rule]]

cdef void leave(walk_t *w, int32_t rule) noexcept nogil:
    cdef int32_t member = -1
    if w.low[rule] == w.index[rule]:
        while member != rule:
            w.n_open -= 1
            member = w.open[w.n_open]
            w.component[member] = 1 + rule

cdef void find_components(const bnf_grammar *g, walk_t *w, int32_t first) noexcept nogil:
    cdef int32_t n = 1, rule, called, at
    enter(g, w, 0, first)
    while n > 0:
        rule = w.path[n - 1]
        at = next_call(g, rule, w.at[n - 1])
        if at < rule_end(g, rule):
            w.at[n - 1] = behind(g, w.nullable, at)
            called = g.elements[at].value
            if w.index[called] == 0:
                enter(g, w, n, called)
                n += 1
            elif w.component[called] == 0:
                w.low[rule] = min(w.low[rule], w.index[called])
        else:
            leave(w, rule)
            n -= 1
            if n > 0:
                w.low[w.path[n - 1]] = min(w.low[w.path[n - 1]], w.low[rule])

# A rule that calls one of its own component first, with something behind the call; -1: none.
cdef int32_t left_recursive(const bnf_grammar *g, const walk_t *w) noexcept nogil:
    cdef int32_t rule, at
    for rule in range(g.n_rules):
        at = next_call(g, rule, g.alternatives[g.rule_begin[rule]])
        while at < rule_end(g, rule):
            if w.component[g.elements[at].value] == w.component[rule] and g.elements[at + 1].op != BNF_GR_END:
                return rule
            at = next_call(g, rule, behind(g, w.nullable, at))
    return -1

# The number of a left-recursive rule, -1: none, -2: no memory.
cdef int32_t check_recursion(const bnf_grammar *g) noexcept nogil:
    cdef int32_t *memory = <int32_t *>bnf_alloc_array(<size_t>g.n_rules, 7 * sizeof(int32_t))
    cdef walk_t w
    cdef int32_t rule
    if memory == NULL:
        return -2
    w.nullable = <bint *>memory
    w.index = memory + g.n_rules
    w.low = memory + 2 * <size_t>g.n_rules
    w.component = memory + 3 * <size_t>g.n_rules
    w.path = memory + 4 * <size_t>g.n_rules
    w.at = memory + 5 * <size_t>g.n_rules
    w.open = memory + 6 * <size_t>g.n_rules
    w.n_seen = 0
    w.n_open = 0
    find_nullable(g, w.nullable)
    for rule in range(g.n_rules):
        if w.index[rule] == 0:
            find_components(g, &w, rule)
    rule = left_recursive(g, &w)
    bnf_release(memory)
    return rule

# ---- life ----

cdef public void bnf_grammar_free(bnf_grammar *grammar) noexcept nogil:
    if grammar == NULL or bnf_ref_drop(&grammar.n_users) > 0:
        return
    bnf_release(grammar.elements)
    bnf_release(grammar.alternatives)
    bnf_release(grammar.rule_begin)
    bnf_release(grammar.bounds)
    bnf_release(grammar.sets)
    bnf_release(grammar)

cdef public bnf_grammar *bnf_grammar_share(bnf_grammar *grammar) noexcept nogil:
    bnf_ref_take(&grammar.n_users)
    return grammar

cdef bint build(bnf_grammar *g, const rule_t *rules) noexcept nogil:
    cdef int32_t n[4]      # elements, alternatives, classes of characters, borders
    cdef int32_t rule, c
    n[0] = n[1] = n[2] = n[3] = 0
    for rule in range(g.n_rules):
        if not measure(rules, g.n_rules, rule, n):
            return False
    g.elements = <bnf_gr_element *>bnf_alloc_array(<size_t>n[0], sizeof(bnf_gr_element))
    g.alternatives = <int32_t *>bnf_alloc_array(<size_t>n[1], sizeof(int32_t))
    g.rule_begin = <int32_t *>bnf_alloc_array(<size_t>g.n_rules + 1, sizeof(int32_t))
    g.bounds = <uint32_t *>bnf_alloc_array(<size_t>n[3], sizeof(uint32_t))
    if g.elements == NULL or g.alternatives == NULL or g.rule_begin == NULL or g.bounds == NULL:
        return False
    collect_bounds(g, rules)
    if g.n_classes > BNF_GRAMMAR_MAX_CLASSES:
        bnf_fail(BITNET_ERROR, "grammar: %d classes of characters, at most %d are told apart", <int>g.n_classes,
                 <int>BNF_GRAMMAR_MAX_CLASSES)
        return False
    for c in range(128):
        g.ascii_class[c] = find_class(g, <uint32_t>c)
    g.sets = <uint64_t *>bnf_alloc_array(<size_t>n[2], <size_t>g.class_words * sizeof(uint64_t))
    if g.sets == NULL:
        return False
    compile_rules(g, rules)
    return True

cdef public bnf_grammar *bnf_grammar_compile(const llama_grammar_element *const *rules, int32_t n_rules, int32_t root) noexcept nogil:
    cdef bnf_grammar *g
    cdef int32_t rule
    if rules == NULL or n_rules <= 0 or root < 0 or root >= n_rules:
        bnf_fail(BITNET_ERROR, "grammar: rule %d of %d rules cannot be its start", <int>root, <int>n_rules)
        return NULL
    g = <bnf_grammar *>bnf_alloc(sizeof(bnf_grammar))
    if g == NULL:
        return NULL
    g.n_users = 1
    g.n_rules = n_rules
    g.root = root
    if not build(g, rules):
        bnf_grammar_free(g)
        return NULL
    rule = check_recursion(g)
    if rule >= 0:
        bnf_fail(BITNET_ERROR, "grammar: rule %d calls itself before it reads anything (left recursion)", <int>rule)
    if rule != -1:
        bnf_grammar_free(g)
        return NULL
    return g
