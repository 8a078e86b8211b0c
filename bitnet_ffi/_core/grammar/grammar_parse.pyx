# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# GBNF text to rules: literals, classes, groups, repetitions, references, tokens, comments. Repetitions and groups become rules
# without a name. What is wrong is said with line and column. Limits (csrc/bnf_grammar.h) keep a hostile text small.
# Source of the language: llama.cpp, grammars/README.md. Next: grammar_compile.pyx, which takes rules of other origin too.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint32_t, uint8_t
from libc.string cimport memcmp, memcpy, strlen
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_fail, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_grammar cimport (
    bnf_rules, llama_grammar_element, BNF_GRAMMAR_MAX_DEPTH, BNF_GRAMMAR_MAX_ELEMENTS, BNF_GRAMMAR_MAX_REPEAT, LLAMA_GRETYPE_ALT,
    LLAMA_GRETYPE_CHAR, LLAMA_GRETYPE_CHAR_ALT, LLAMA_GRETYPE_CHAR_ANY, LLAMA_GRETYPE_CHAR_NOT, LLAMA_GRETYPE_CHAR_RNG_UPPER,
    LLAMA_GRETYPE_END, LLAMA_GRETYPE_RULE_REF, LLAMA_GRETYPE_TOKEN, LLAMA_GRETYPE_TOKEN_NOT)
from bitnet_ffi._core.bnf_public cimport bool, llama_token, BITNET_ERROR
from bitnet_ffi._core.bnf_types cimport llama_model

cdef extern from "bitnet_ffi.h" nogil:
    int32_t llama_tokenize_text "llama_tokenize"(const llama_model *vocab, const char *text, int32_t text_len, llama_token *tokens,
                                                 int32_t n_tokens_max, bool add_special, bool parse_special)

cdef enum:
    NO_LIMIT = -1
    MOST_TOKEN_BYTES = 256

ctypedef struct parser_t:
    bnf_rules *rules
    const llama_model *vocab
    const char *p                     # what comes next; the text ends with NUL
    llama_grammar_element *work       # sequences that are being read: the innermost last
    int32_t n_work
    int32_t work_cap
    int32_t *table                    # names: open addressing, -1 free
    uint32_t mask
    int depth

# ---- errors ----

cdef bint wrong(parser_t *ps, const char *at, const char *what) noexcept nogil:
    cdef const char *p = ps.rules.text
    cdef int line = 1, column = 1
    while p < at:
        if p[0] == b'\n':
            line += 1
            column = 1
        elif (<uint8_t>p[0] & 0xc0) != 0x80:
            column += 1
        p += 1
    bnf_fail(BITNET_ERROR, "grammar, line %d, column %d: %s", line, column, what)
    return False

cdef bint full(parser_t *ps) noexcept nogil:
    bnf_fail(BITNET_ERROR, "grammar: more than %d elements", <int>BNF_GRAMMAR_MAX_ELEMENTS)
    return False

# ---- growing arrays ----

cdef bint push(parser_t *ps, int type, uint32_t value) noexcept nogil:
    cdef int32_t cap
    cdef void *work
    if ps.n_work == ps.work_cap:
        if ps.n_work >= BNF_GRAMMAR_MAX_ELEMENTS:
            return full(ps)
        cap = 64 if ps.work_cap == 0 else 2 * ps.work_cap
        work = bnf_resize(ps.work, <size_t>ps.work_cap * sizeof(llama_grammar_element), <size_t>cap * sizeof(llama_grammar_element))
        if work == NULL:
            return False
        ps.work = <llama_grammar_element *>work
        ps.work_cap = cap
    ps.work[ps.n_work].type = type
    ps.work[ps.n_work].value = value
    ps.n_work += 1
    return True

cdef bint more_rules(bnf_rules *rules) noexcept nogil:
    cdef int32_t cap = 32 if rules.rules_cap == 0 else 2 * rules.rules_cap
    cdef size_t old_size = <size_t>rules.rules_cap * sizeof(int32_t)
    cdef size_t size = <size_t>cap * sizeof(int32_t)
    cdef void *start = bnf_resize(rules.start, old_size, size)
    cdef void *name
    cdef void *name_len
    if start != NULL:
        rules.start = <int32_t *>start
    name = bnf_resize(rules.name, old_size, size)
    if name != NULL:
        rules.name = <int32_t *>name
    name_len = bnf_resize(rules.name_len, old_size, size)
    if name_len != NULL:
        rules.name_len = <int32_t *>name_len
    if start == NULL or name == NULL or name_len == NULL:
        return False
    rules.rules_cap = cap
    return True

# A new rule without a body; -1: no memory, or too many.
cdef int32_t new_rule(parser_t *ps, int32_t name, int32_t name_len) noexcept nogil:
    cdef bnf_rules *rules = ps.rules
    if rules.n_rules >= BNF_GRAMMAR_MAX_ELEMENTS:
        full(ps)
        return -1
    if rules.n_rules == rules.rules_cap and not more_rules(rules):
        return -1
    rules.start[rules.n_rules] = -1
    rules.name[rules.n_rules] = name
    rules.name_len[rules.n_rules] = name_len
    rules.n_rules += 1
    return rules.n_rules - 1

# The sequence work[from..] and END become the body of the rule, and leave `work`.
cdef bint store(parser_t *ps, int32_t rule, int32_t first) noexcept nogil:
    cdef bnf_rules *rules = ps.rules
    cdef int32_t n, cap
    cdef void *elements
    if not push(ps, LLAMA_GRETYPE_END, 0):
        return False
    n = ps.n_work - first
    if n > BNF_GRAMMAR_MAX_ELEMENTS - rules.n_elements:
        return full(ps)
    if rules.n_elements + n > rules.elements_cap:
        cap = max(2 * rules.elements_cap, rules.n_elements + n, 64)
        elements = bnf_resize(rules.elements, <size_t>rules.elements_cap * sizeof(llama_grammar_element),
                              <size_t>cap * sizeof(llama_grammar_element))
        if elements == NULL:
            return False
        rules.elements = <llama_grammar_element *>elements
        rules.elements_cap = cap
    memcpy(rules.elements + rules.n_elements, ps.work + first, <size_t>n * sizeof(llama_grammar_element))
    rules.start[rule] = rules.n_elements
    rules.n_elements += n
    ps.n_work = first
    return True

# ---- names ----

cdef inline bint is_name(char c) noexcept nogil:
    return b'a' <= c <= b'z' or b'A' <= c <= b'Z' or b'0' <= c <= b'9' or c == b'-' or c == b'_'

cdef uint32_t slot_of(const parser_t *ps, const char *name, int32_t len) noexcept nogil:
    cdef const bnf_rules *rules = ps.rules
    cdef uint32_t h = 2166136261
    cdef int32_t i, rule
    for i in range(len):
        h = (h ^ <uint8_t>name[i]) * <uint32_t>16777619
    h &= ps.mask
    while ps.table[h] >= 0:
        rule = ps.table[h]
        if rules.name_len[rule] == len and memcmp(rules.text + rules.name[rule], name, <size_t>len) == 0:
            break
        h = (h + 1) & ps.mask
    return h

# The rule with the name that comes next, made if it is new; -1: no name there, or no memory.
cdef int32_t named_rule(parser_t *ps) noexcept nogil:
    cdef const char *name = ps.p
    cdef int32_t rule
    cdef uint32_t slot
    while is_name(ps.p[0]):
        ps.p += 1
    if ps.p == name:
        wrong(ps, name, "expected the name of a rule")
        return -1
    slot = slot_of(ps, name, <int32_t>(ps.p - name))
    if ps.table[slot] < 0:
        rule = new_rule(ps, <int32_t>(name - ps.rules.text), <int32_t>(ps.p - name))
        if rule < 0:
            return -1
        ps.table[slot] = rule
    return ps.table[slot]

# ---- characters ----

cdef void skip_space(parser_t *ps, bint newlines) noexcept nogil:
    while True:
        if ps.p[0] == b'#':
            while ps.p[0] != 0 and ps.p[0] != b'\r' and ps.p[0] != b'\n':
                ps.p += 1
        elif ps.p[0] == b' ' or ps.p[0] == b'\t' or (newlines and (ps.p[0] == b'\r' or ps.p[0] == b'\n')):
            ps.p += 1
        else:
            return

cdef bint read_hex(parser_t *ps, int n, uint32_t *c) noexcept nogil:
    cdef const char *at = ps.p
    cdef int i
    cdef char d
    c[0] = 0
    for i in range(n):
        d = ps.p[0]
        if b'0' <= d <= b'9':
            c[0] = c[0] << 4 | <uint32_t>(d - c'0')
        elif c'a' <= (d | 0x20) <= c'f':
            c[0] = c[0] << 4 | <uint32_t>((d | 0x20) - c'a' + 10)
        else:
            return wrong(ps, at, "expected hexadecimal digits: two after \\x, four after \\u, eight after \\U")
        ps.p += 1
    return True if c[0] <= 0x10ffff else wrong(ps, at, "no character has a code above 10FFFF")

cdef bint read_escape(parser_t *ps, uint32_t *c) noexcept nogil:
    cdef char e = ps.p[1]
    ps.p += 1 if e == 0 else 2
    if e == b'x':
        return read_hex(ps, 2, c)
    if e == b'u':
        return read_hex(ps, 4, c)
    if e == b'U':
        return read_hex(ps, 8, c)
    if e == b'n':
        c[0] = 10
    elif e == b'r':
        c[0] = 13
    elif e == b't':
        c[0] = 9
    elif e == b'\\' or e == b'"' or e == b'[' or e == b']':
        c[0] = <uint32_t>e
    else:
        return wrong(ps, ps.p - 1, "unknown escape; known are \\n \\r \\t \\\\ \\\" \\[ \\] \\xHH \\uHHHH \\UHHHHHHHH")
    return True

# One character of a literal or class; `what` is said when the text ends.
cdef bint read_char(parser_t *ps, uint32_t *c, const char *what) noexcept nogil:
    cdef const uint8_t *p = <const uint8_t *>ps.p
    cdef int i, n
    if p[0] == 0:
        return wrong(ps, ps.p, what)
    if p[0] == b'\\':
        return read_escape(ps, c)
    n = 1 if p[0] < 0x80 else 2 if 0xc2 <= p[0] < 0xe0 else 3 if 0xe0 <= p[0] < 0xf0 else 4 if 0xf0 <= p[0] < 0xf5 else 0
    if n == 0:
        return wrong(ps, ps.p, "not UTF-8")
    c[0] = p[0] if n == 1 else p[0] & (0x7f >> n)
    for i in range(1, n):
        if (p[i] & 0xc0) != 0x80:
            return wrong(ps, ps.p, "not UTF-8")
        c[0] = c[0] << 6 | (p[i] & 0x3f)
    ps.p += n
    return True

cdef bint read_literal(parser_t *ps) noexcept nogil:
    cdef uint32_t c
    ps.p += 1
    while ps.p[0] != b'"':
        if not read_char(ps, &c, "the text ends inside a literal: expected \"") or not push(ps, LLAMA_GRETYPE_CHAR, c):
            return False
    ps.p += 1
    return True

cdef bint read_class(parser_t *ps) noexcept nogil:
    cdef const char *at = ps.p
    cdef int type = LLAMA_GRETYPE_CHAR
    cdef uint32_t c, upper
    ps.p += 1
    if ps.p[0] == b'^':
        ps.p += 1
        type = LLAMA_GRETYPE_CHAR_NOT
    if ps.p[0] == b']':
        return wrong(ps, at, "a class without characters")
    while ps.p[0] != b']':
        if not read_char(ps, &c, "the text ends inside a class: expected ]") or not push(ps, type, c):
            return False
        type = LLAMA_GRETYPE_CHAR_ALT
        if ps.p[0] == b'-' and ps.p[1] != b']':
            at = ps.p
            ps.p += 1
            if not read_char(ps, &upper, "the text ends inside a class: expected ]"):
                return False
            if upper < c:
                return wrong(ps, at, "a range that ends before it begins")
            if not push(ps, LLAMA_GRETYPE_CHAR_RNG_UPPER, upper):
                return False
    ps.p += 1
    return True

# ---- tokens ----

# <[id]> or <text>, after an optional !.
cdef bint read_token(parser_t *ps) noexcept nogil:
    cdef const char *at = ps.p
    cdef const char *begin
    cdef int type = LLAMA_GRETYPE_TOKEN
    cdef llama_token tokens[2]
    cdef uint32_t id = 0
    if ps.p[0] == b'!':
        ps.p += 1
        type = LLAMA_GRETYPE_TOKEN_NOT
        if ps.p[0] != b'<':
            return wrong(ps, at, "expected a token after !: <[id]> or <text>")
    begin = ps.p
    if begin[1] == b'[':
        ps.p += 2
        while b'0' <= ps.p[0] <= b'9' and id < 0x7fffffff // 10:
            id = 10 * id + <uint32_t>(ps.p[0] - c'0')
            ps.p += 1
        if ps.p == begin + 2 or ps.p[0] != b']' or ps.p[1] != b'>':
            return wrong(ps, at, "expected the number of a token, as in <[1000]>")
        ps.p += 2
        return push(ps, type, id)
    while ps.p[0] != 0 and ps.p[0] != b'\n' and ps.p[0] != b'>' and ps.p - begin < MOST_TOKEN_BYTES:
        ps.p += 1
    if ps.p[0] != b'>':
        return wrong(ps, at, "expected > after a token's text")
    ps.p += 1
    if ps.vocab == NULL:
        return wrong(ps, at, "a token by its text, but there is no vocabulary to look in")
    if llama_tokenize_text(ps.vocab, begin, <int32_t>(ps.p - begin), tokens, 2, False, True) != 1:
        return wrong(ps, at, "this text is not one token of the vocabulary")
    return push(ps, type, <uint32_t>tokens[0])

# ---- repetition ----

# A nameless rule that holds work[first..], which becomes a reference to it: one element, cheap to repeat.
cdef bint wrap(parser_t *ps, int32_t first) noexcept nogil:
    cdef int32_t rule = new_rule(ps, 0, 0)
    return rule >= 0 and store(ps, rule, first) and push(ps, LLAMA_GRETYPE_RULE_REF, <uint32_t>rule)

# rule ::= item next | (nothing); next < 0: rule ::= item | (nothing).
cdef int32_t optional(parser_t *ps, llama_grammar_element item, int32_t rule, int32_t next) noexcept nogil:
    cdef int32_t first = ps.n_work
    if (not push(ps, item.type, item.value) or (next >= 0 and not push(ps, LLAMA_GRETYPE_RULE_REF, <uint32_t>next))
            or not push(ps, LLAMA_GRETYPE_ALT, 0) or not store(ps, rule, first)):
        return -1
    return rule

# The last item, work[first..], from `least` to `most` times:  x{2,} = x x S, S ::= x S |      x{2,4} = x x B, B ::= x A |, A ::= x |
cdef bint repeat(parser_t *ps, int32_t first, int32_t least, int32_t most) noexcept nogil:
    cdef llama_grammar_element item
    cdef int32_t i, rule = -1
    if ps.n_work - first > 1 and not wrap(ps, first):
        return False
    item = ps.work[first]
    ps.n_work = first
    for i in range(least):
        if not push(ps, item.type, item.value):
            return False
    if most == NO_LIMIT:
        rule = new_rule(ps, 0, 0)
        if rule < 0 or optional(ps, item, rule, rule) < 0:
            return False
    else:
        for i in range(most - least):
            rule = optional(ps, item, new_rule(ps, 0, 0), rule)
            if rule < 0:
                return False
    return rule < 0 or push(ps, LLAMA_GRETYPE_RULE_REF, <uint32_t>rule)

cdef bint read_count(parser_t *ps, int32_t *n) noexcept nogil:
    cdef const char *at = ps.p
    n[0] = 0
    while b'0' <= ps.p[0] <= b'9':
        n[0] = 10 * n[0] + (ps.p[0] - c'0')
        if n[0] > BNF_GRAMMAR_MAX_REPEAT:
            bnf_fail(BITNET_ERROR, "grammar: a repetition of more than %d times", <int>BNF_GRAMMAR_MAX_REPEAT)
            return False
        ps.p += 1
    return ps.p > at or wrong(ps, at, "expected a number of repetitions, as in {2}, {2,} or {2,4}")

cdef bint read_repetition(parser_t *ps, int32_t first) noexcept nogil:
    cdef const char *at = ps.p
    cdef int32_t least = 1 if at[0] == b'+' else 0
    cdef int32_t most = 1 if at[0] == b'?' else NO_LIMIT
    ps.p += 1
    if first == ps.n_work:
        return wrong(ps, at, "nothing before it to repeat")
    if at[0] == b'{':
        skip_space(ps, False)
        if not read_count(ps, &least):
            return False
        most = least
        skip_space(ps, False)
        if ps.p[0] == b',':
            ps.p += 1
            skip_space(ps, False)
            most = NO_LIMIT
            if ps.p[0] != b'}' and not read_count(ps, &most):
                return False
            skip_space(ps, False)
        if ps.p[0] != b'}':
            return wrong(ps, ps.p, "expected } after a number of repetitions")
        ps.p += 1
        if most != NO_LIMIT and most < least:
            return wrong(ps, at, "a repetition of at least more than at most")
    return repeat(ps, first, least, most)

# ---- rules ----

cdef bint read_group(parser_t *ps) noexcept nogil:
    cdef int32_t rule = new_rule(ps, 0, 0)
    if ps.depth == BNF_GRAMMAR_MAX_DEPTH:
        return wrong(ps, ps.p, "parentheses nested too deep")
    ps.p += 1
    ps.depth += 1
    skip_space(ps, True)
    if rule < 0 or not read_alternatives(ps, rule, True):
        return False
    ps.depth -= 1
    if ps.p[0] != b')':
        return wrong(ps, ps.p, "expected )")
    ps.p += 1
    return push(ps, LLAMA_GRETYPE_RULE_REF, <uint32_t>rule)

cdef bint read_sequence(parser_t *ps, bint nested) noexcept nogil:
    cdef int32_t first = ps.n_work      # where the last item begins
    cdef int32_t rule
    cdef char c
    cdef bint ok
    while True:
        c = ps.p[0]
        if c == b'*' or c == b'+' or c == b'?' or c == b'{':
            ok = read_repetition(ps, first)
        else:
            first = ps.n_work
            if c == b'"':
                ok = read_literal(ps)
            elif c == b'[':
                ok = read_class(ps)
            elif c == b'(':
                ok = read_group(ps)
            elif c == b'<' or c == b'!':
                ok = read_token(ps)
            elif c == b'.':
                ps.p += 1
                ok = push(ps, LLAMA_GRETYPE_CHAR_ANY, 0)
            elif is_name(c):
                rule = named_rule(ps)
                ok = rule >= 0 and push(ps, LLAMA_GRETYPE_RULE_REF, <uint32_t>rule)
            else:
                return True
        if not ok:
            return False
        skip_space(ps, nested)

cdef bint read_alternatives(parser_t *ps, int32_t rule, bint nested) noexcept nogil:
    cdef int32_t first = ps.n_work
    if not read_sequence(ps, nested):
        return False
    while ps.p[0] == b'|':
        ps.p += 1
        skip_space(ps, True)
        if not push(ps, LLAMA_GRETYPE_ALT, 0) or not read_sequence(ps, nested):
            return False
    return store(ps, rule, first)

cdef bint read_rule(parser_t *ps) noexcept nogil:
    cdef int32_t rule = named_rule(ps)
    if rule < 0:
        return False
    skip_space(ps, False)
    if ps.p[0] != b':' or ps.p[1] != b':' or ps.p[2] != b'=':
        return wrong(ps, ps.p, "expected ::= after the name of a rule")
    ps.p += 3
    skip_space(ps, True)
    if not read_alternatives(ps, rule, False):
        return False
    if ps.p[0] != 0 and ps.p[0] != b'\r' and ps.p[0] != b'\n':
        return wrong(ps, ps.p, "expected the end of the rule")
    skip_space(ps, True)
    return True

cdef bint all_defined(const bnf_rules *rules) noexcept nogil:
    cdef int32_t rule
    for rule in range(rules.n_rules):
        if rules.start[rule] < 0:
            bnf_fail(BITNET_ERROR, "grammar: rule '%.*s' is used but not defined", <int>rules.name_len[rule],
                     rules.text + rules.name[rule])
            return False
    return True

cdef int32_t parse(parser_t *ps, const char *root) noexcept nogil:
    cdef int32_t rule
    skip_space(ps, True)
    while ps.p[0] != 0:
        if not read_rule(ps):
            return -1
    if not all_defined(ps.rules):
        return -1
    rule = ps.table[slot_of(ps, root, <int32_t>strlen(root))]
    if rule < 0:
        bnf_fail(BITNET_ERROR, "grammar: no rule '%.64s'", root)
    return rule

cdef public int32_t bnf_grammar_parse(bnf_rules *rules, const char *text, const char *root, const llama_model *vocab) noexcept nogil:
    cdef parser_t ps
    cdef size_t len = strlen(text)
    cdef size_t i, n_slots = 64
    cdef int32_t rule = -1
    rules.text = text
    if len > BNF_GRAMMAR_MAX_ELEMENTS * <size_t>16:
        bnf_fail(BITNET_ERROR, "grammar: %zu bytes of text, at most %zu are read", len, BNF_GRAMMAR_MAX_ELEMENTS * <size_t>16)
        return -1
    while n_slots < len:      # a name takes a byte and something between: the table stays half empty
        n_slots *= 2
    ps.rules = rules
    ps.vocab = vocab
    ps.p = text
    ps.work = NULL
    ps.n_work = 0
    ps.work_cap = 0
    ps.depth = 0
    ps.mask = <uint32_t>(n_slots - 1)
    ps.table = <int32_t *>bnf_alloc_array(n_slots, sizeof(int32_t))
    if ps.table != NULL:
        for i in range(n_slots):
            ps.table[i] = -1
        rule = parse(&ps, root)
    bnf_release(ps.table)
    bnf_release(ps.work)
    return rule

cdef public void bnf_rules_free(bnf_rules *rules) noexcept nogil:
    bnf_release(rules.elements)
    bnf_release(rules.start)
    bnf_release(rules.name)
    bnf_release(rules.name_len)
