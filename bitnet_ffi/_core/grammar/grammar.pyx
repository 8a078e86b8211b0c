# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# The machine that runs a grammar: one state, all the ways the text so far can be read. Nodes and states are kept once each and
# the steps between states are remembered, so that most characters cost a lookup (csrc/bnf_grammar.h has the picture).
# May not: know tokens' texts. Next: sampler_grammar.pyx, who asks.

from libc.stddef cimport size_t
from libc.stdint cimport int32_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from bitnet_ffi._core.bnf_base cimport bnf_alloc, bnf_alloc_array, bnf_fail, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_grammar cimport (
    bnf_gr_element, bnf_gr_node, bnf_gr_partial, bnf_gr_state, bnf_grammar, bnf_grammar_class, bnf_grammar_free, bnf_grammar_share,
    bnf_matcher, BNF_GR_CHARS, BNF_GR_END, BNF_GR_TOKEN, BNF_MATCHER_MAX_HEADS, BNF_MATCHER_MAX_NODES, BNF_MATCHER_MAX_STATES)
from bitnet_ffi._core.bnf_public cimport bool, llama_token, BITNET_ERROR

cdef extern from "bnf_grammar.h" nogil:
    pass

cdef enum:
    END_NODE = 0          # below every stack: the text may end
    DEAD = 0              # the empty state
    NOT_ASKED = -1
    FIRST_NODES = 256     # powers of two
    FIRST_STATES = 64

# ---- failure ----

# From here on nothing is possible: better no text than one that the grammar forbids.
cdef int32_t give_up(bnf_matcher *m, const char *what) noexcept nogil:
    if not m.failed and what != NULL:
        bnf_fail(BITNET_ERROR, "grammar: %s", what)
    m.failed = True
    return DEAD

# ---- nodes ----

cdef inline uint32_t mix(uint32_t h, uint32_t x) noexcept nogil:
    h = (h ^ x) * <uint32_t>0x9e3779b1
    return h ^ (h >> 15)

cdef inline uint32_t node_hash(int32_t position, int32_t parent) noexcept nogil:
    return mix(mix(0, <uint32_t>position), <uint32_t>parent)

cdef void enter_node(bnf_matcher *m, int32_t node) noexcept nogil:
    cdef uint32_t slot = node_hash(m.nodes[node].position, m.nodes[node].parent) & m.node_mask
    while m.node_table[slot] >= 0:
        slot = (slot + 1) & m.node_mask
    m.node_table[slot] = node

cdef bint grow_nodes(bnf_matcher *m) noexcept nogil:
    cdef int32_t cap = FIRST_NODES if m.nodes_cap == 0 else 2 * m.nodes_cap
    cdef size_t old_cap = <size_t>m.nodes_cap
    cdef size_t new_cap = <size_t>cap
    cdef void *nodes = bnf_resize(m.nodes, old_cap * sizeof(bnf_gr_node), new_cap * sizeof(bnf_gr_node))
    cdef void *visited
    cdef void *work
    cdef int32_t *table
    cdef int32_t i
    if nodes != NULL:
        m.nodes = <bnf_gr_node *>nodes
    visited = bnf_resize(m.visited, old_cap * sizeof(int32_t), new_cap * sizeof(int32_t))
    if visited != NULL:
        m.visited = <int32_t *>visited
    work = bnf_resize(m.work, old_cap * sizeof(int32_t), new_cap * sizeof(int32_t))
    if work != NULL:
        m.work = <int32_t *>work
    table = <int32_t *>bnf_alloc_array(2 * new_cap, sizeof(int32_t))
    if nodes == NULL or visited == NULL or work == NULL or table == NULL:
        bnf_release(table)
        return False
    for i in range(m.nodes_cap, cap):
        m.visited[i] = 0
    bnf_release(m.node_table)
    m.node_table = table
    m.node_mask = 2 * <uint32_t>cap - 1
    m.nodes_cap = cap
    for i in range(2 * cap):
        table[i] = -1
    for i in range(m.n_nodes):
        enter_node(m, i)
    return True

# The node (position, parent), made if it is new; -1: no room.
cdef int32_t node_of(bnf_matcher *m, int32_t position, int32_t parent) noexcept nogil:
    cdef uint32_t slot = node_hash(position, parent) & m.node_mask
    cdef int32_t node = m.node_table[slot]
    while node >= 0:
        if m.nodes[node].position == position and m.nodes[node].parent == parent:
            return node
        slot = (slot + 1) & m.node_mask
        node = m.node_table[slot]
    if m.n_nodes == m.nodes_cap and (m.nodes_cap >= BNF_MATCHER_MAX_NODES or not grow_nodes(m)):
        return -1
    node = m.n_nodes
    m.nodes[node].position = position
    m.nodes[node].parent = parent
    m.n_nodes += 1
    enter_node(m, node)
    return node

# ---- expanding ----
# A node before a terminal is a head. One before a rule stands for its alternatives, one behind an alternative for its parent.
# Each node is expanded once a round, so cycles of empty rules end.

ctypedef struct round_t:
    int32_t n_work
    int32_t n_found

cdef void begin_round(bnf_matcher *m, round_t *r) noexcept nogil:
    m.round += 1
    r.n_work = 0
    r.n_found = 0

# False: no room.
cdef inline bint add(bnf_matcher *m, round_t *r, int32_t node) noexcept nogil:
    if node < 0:
        return False
    if m.visited[node] != m.round:
        m.visited[node] = m.round
        m.work[r.n_work] = node
        r.n_work += 1
    return True

# Take back what stands behind a finished alternative, and push where a rule's alternatives return to.
cdef bint expand(bnf_matcher *m, round_t *r) noexcept nogil:
    cdef const bnf_grammar *g = m.grammar
    cdef const bnf_gr_element *e
    cdef int32_t node, parent, a
    while r.n_work > 0:
        r.n_work -= 1
        node = m.work[r.n_work]
        e = NULL if node == END_NODE else &g.elements[m.nodes[node].position]
        if e == NULL or e.op >= BNF_GR_CHARS:
            if r.n_found == BNF_MATCHER_MAX_HEADS:
                return False
            m.found[r.n_found] = node
            r.n_found += 1
            continue
        parent = m.nodes[node].parent
        if e.op == BNF_GR_END:
            if not add(m, r, parent):
                return False
            continue
        if e[1].op != BNF_GR_END:      # a last call returns to where its caller returns to
            parent = node_of(m, m.nodes[node].position + 1, parent)
            if parent < 0:
                return False
        for a in range(g.rule_begin[e.value], g.rule_begin[e.value + 1]):
            if not add(m, r, node_of(m, g.alternatives[a], parent)):
                return False
    return True

# ---- states ----

cdef void sort_found(bnf_matcher *m, int32_t n) noexcept nogil:
    cdef int32_t i, j, x
    for i in range(1, n):      # mostly few, and mostly in order
        x = m.found[i]
        j = i
        while j > 0 and m.found[j - 1] > x:
            m.found[j] = m.found[j - 1]
            j -= 1
        m.found[j] = x

cdef uint32_t heads_hash(const int32_t *heads, int32_t n) noexcept nogil:
    cdef uint32_t h = <uint32_t>n
    cdef int32_t i
    for i in range(n):
        h = mix(h, <uint32_t>heads[i])
    return h

cdef void enter_state(bnf_matcher *m, int32_t state) noexcept nogil:
    cdef const bnf_gr_state *s = &m.states[state]
    cdef uint32_t slot = heads_hash(m.heads + s.first, s.n) & m.state_mask
    while m.state_table[slot] >= 0:
        slot = (slot + 1) & m.state_mask
    m.state_table[slot] = state

cdef bint grow_states(bnf_matcher *m) noexcept nogil:
    cdef int32_t cap = FIRST_STATES if m.states_cap == 0 else 2 * m.states_cap
    cdef void *states = bnf_resize(m.states, <size_t>m.states_cap * sizeof(bnf_gr_state), <size_t>cap * sizeof(bnf_gr_state))
    cdef int32_t *table = <int32_t *>bnf_alloc_array(2 * <size_t>cap, sizeof(int32_t))
    cdef int32_t i
    if states != NULL:
        m.states = <bnf_gr_state *>states
    if states == NULL or table == NULL:
        bnf_release(table)
        return False
    bnf_release(m.state_table)
    m.state_table = table
    m.state_mask = 2 * <uint32_t>cap - 1
    m.states_cap = cap
    for i in range(2 * cap):
        table[i] = -1
    for i in range(m.n_states):
        enter_state(m, i)
    return True

cdef bint room_for_heads(bnf_matcher *m, int32_t n) noexcept nogil:
    cdef int32_t cap = m.heads_cap
    cdef void *heads
    if m.n_heads + n <= cap:
        return True
    cap = max(2 * cap, m.n_heads + n, 1024)
    heads = bnf_resize(m.heads, <size_t>m.heads_cap * sizeof(int32_t), <size_t>cap * sizeof(int32_t))
    if heads == NULL:
        return False
    m.heads = <int32_t *>heads
    m.heads_cap = cap
    return True

# The state of the n nodes in `found`, made if it is new.
cdef int32_t state_of(bnf_matcher *m, int32_t n) noexcept nogil:
    cdef uint32_t slot
    cdef int32_t state
    sort_found(m, n)
    slot = heads_hash(m.found, n) & m.state_mask
    state = m.state_table[slot]
    while state >= 0:
        if m.states[state].n == n and memcmp(m.heads + m.states[state].first, m.found, <size_t>n * sizeof(int32_t)) == 0:
            return state
        slot = (slot + 1) & m.state_mask
        state = m.state_table[slot]
    if m.n_states == m.states_cap and not grow_states(m) or not room_for_heads(m, n):
        return give_up(m, NULL)
    state = m.n_states
    m.states[state].first = m.n_heads
    m.states[state].n = n
    m.states[state].next = NULL
    memcpy(m.heads + m.n_heads, m.found, <size_t>n * sizeof(int32_t))
    m.n_heads += n
    m.n_states += 1
    enter_state(m, state)
    return state

# The state of what the round has gathered.
cdef int32_t finish(bnf_matcher *m, round_t *r) noexcept nogil:
    if not expand(m, r):
        return give_up(m, "too ambiguous, or nested too deep: it can be read in more ways than are followed")
    return state_of(m, r.n_found)

# ---- steps ----

cdef inline bint has_class(const bnf_grammar *g, int32_t set, int32_t c) noexcept nogil:
    return g.sets[<size_t>set * <size_t>g.class_words + <size_t>(c // 64)] >> (c % 64) & 1

cdef int32_t step_over(bnf_matcher *m, int32_t state, int32_t c) noexcept nogil:
    cdef const bnf_grammar *g = m.grammar
    cdef round_t r
    cdef int32_t i, node
    cdef bint ok = True
    begin_round(m, &r)
    for i in range(m.states[state].first, m.states[state].first + m.states[state].n):
        node = m.heads[i]
        if node != END_NODE and g.elements[m.nodes[node].position].op == BNF_GR_CHARS:
            if has_class(g, g.elements[m.nodes[node].position].value, c):
                ok = ok and add(m, &r, node_of(m, m.nodes[node].position + 1, m.nodes[node].parent))
    if not ok:
        return give_up(m, "nested too deep")
    return finish(m, &r)

cdef public int32_t bnf_matcher_step(bnf_matcher *matcher, int32_t state, uint32_t c) noexcept nogil:
    cdef int32_t kind = bnf_grammar_class(matcher.grammar, c)
    cdef int32_t next, i
    cdef int32_t *row
    if state == DEAD or matcher.failed:
        return DEAD
    row = matcher.states[state].next
    if row == NULL:
        row = <int32_t *>bnf_alloc_array(<size_t>matcher.grammar.n_classes, sizeof(int32_t))
        if row == NULL:
            return give_up(matcher, NULL)
        for i in range(matcher.grammar.n_classes):
            row[i] = NOT_ASKED
        matcher.states[state].next = row
    if row[kind] == NOT_ASKED:
        next = step_over(matcher, state, kind)
        if matcher.failed:
            return DEAD
        row[kind] = next      # `states` may have moved, the row has not
    return row[kind]

cdef public int32_t bnf_matcher_token(bnf_matcher *matcher, int32_t state, llama_token token) noexcept nogil:
    cdef bnf_matcher *m = matcher
    cdef const bnf_gr_element *e
    cdef round_t r
    cdef int32_t i, node
    cdef bint ok = True
    if state == DEAD or m.failed or not m.grammar.has_tokens:
        return DEAD
    begin_round(m, &r)
    for i in range(m.states[state].first, m.states[state].first + m.states[state].n):
        node = m.heads[i]
        if node != END_NODE:
            e = &m.grammar.elements[m.nodes[node].position]
            if e.op > BNF_GR_CHARS and (e.value == token) == (e.op == BNF_GR_TOKEN):
                ok = ok and add(m, &r, node_of(m, m.nodes[node].position + 1, m.nodes[node].parent))
    if not ok:
        return give_up(m, "nested too deep")
    return finish(m, &r)

cdef public void bnf_matcher_mark_tokens(const bnf_matcher *matcher, int32_t state, uint64_t *bits, int32_t n_tokens) noexcept nogil:
    cdef const bnf_gr_element *e
    cdef int32_t i, node, token
    if state == DEAD or not matcher.grammar.has_tokens:
        return
    for i in range(matcher.states[state].first, matcher.states[state].first + matcher.states[state].n):
        node = matcher.heads[i]
        if node == END_NODE:
            continue
        e = &matcher.grammar.elements[matcher.nodes[node].position]
        if e.op <= BNF_GR_CHARS:
            continue
        if e.op == BNF_GR_TOKEN:
            if e.value >= 0 and e.value < n_tokens:
                bits[e.value // 64] |= <uint64_t>1 << (e.value % 64)
            continue
        for token in range(n_tokens):
            if token != e.value:
                bits[token // 64] |= <uint64_t>1 << (token % 64)

cdef public int32_t bnf_matcher_union(bnf_matcher *matcher, int32_t a, int32_t b) noexcept nogil:
    cdef bnf_matcher *m = matcher
    cdef round_t r
    cdef int32_t i
    if a == DEAD or b == DEAD or a == b:
        return a if b == DEAD else b
    begin_round(m, &r)
    for i in range(m.states[a].n):
        add(m, &r, m.heads[m.states[a].first + i])
    for i in range(m.states[b].n):
        add(m, &r, m.heads[m.states[b].first + i])
    return finish(m, &r)

cdef public bool bnf_matcher_complete(const bnf_matcher *matcher, int32_t state) noexcept nogil:
    cdef const bnf_gr_state *s = &matcher.states[state]
    return s.n > 0 and matcher.heads[s.first] == END_NODE      # ascending: the end comes first

cdef public bool bnf_matcher_could(const bnf_matcher *matcher, int32_t state, uint32_t low, uint32_t high) noexcept nogil:
    cdef const bnf_grammar *g = matcher.grammar
    cdef const bnf_gr_state *s = &matcher.states[state]
    cdef int32_t first = bnf_grammar_class(g, low)
    cdef int32_t last = bnf_grammar_class(g, high)
    cdef int32_t i, c, node
    for i in range(s.first, s.first + s.n):
        node = matcher.heads[i]
        if node != END_NODE and g.elements[matcher.nodes[node].position].op == BNF_GR_CHARS:
            for c in range(first, last + 1):
                if has_class(g, g.elements[matcher.nodes[node].position].value, c):
                    return True
    return False

# ---- bytes ----

cdef public int32_t bnf_matcher_byte(bnf_matcher *matcher, int32_t state, bnf_gr_partial *partial, uint8_t byte) noexcept nogil:
    if partial.n_left > 0:
        if (byte & 0xc0) != 0x80:
            return DEAD
        partial.value = partial.value << 6 | (byte & 0x3f)
        partial.n_left -= 1
        if partial.n_left > 0:
            return state
        if partial.value < partial.least or partial.value > 0x10ffff:
            return DEAD
        return bnf_matcher_step(matcher, state, partial.value)
    if byte < 0x80:
        return bnf_matcher_step(matcher, state, byte)
    if byte < 0xc2 or byte > 0xf4:
        return DEAD
    partial.n_left = 1 if byte < 0xe0 else 2 if byte < 0xf0 else 3
    partial.value = byte & (0x3f >> partial.n_left)
    partial.least = 0x80 if byte < 0xe0 else 0x800 if byte < 0xf0 else 0x10000
    return state

cdef public bool bnf_matcher_hopeful(const bnf_matcher *matcher, int32_t state, const bnf_gr_partial *partial) noexcept nogil:
    cdef uint32_t low, high
    if partial.n_left == 0:
        return True
    low = partial.value << (6 * partial.n_left)
    high = low | ((<uint32_t>1 << (6 * partial.n_left)) - 1)
    low = max(low, partial.least)
    high = min(high, <uint32_t>0x10ffff)
    return low <= high and bnf_matcher_could(matcher, state, low, high)

# ---- life ----

cdef public void bnf_matcher_free(bnf_matcher *matcher) noexcept nogil:
    cdef int32_t i
    if matcher == NULL:
        return
    for i in range(matcher.n_states):
        bnf_release(matcher.states[i].next)
    bnf_grammar_free(matcher.grammar)
    bnf_release(matcher.nodes)
    bnf_release(matcher.node_table)
    bnf_release(matcher.visited)
    bnf_release(matcher.states)
    bnf_release(matcher.state_table)
    bnf_release(matcher.heads)
    bnf_release(matcher.work)
    bnf_release(matcher.found)
    bnf_release(matcher)

# A matcher that knows the end node and the dead state.
cdef bnf_matcher *empty_matcher(bnf_grammar *grammar) noexcept nogil:
    cdef bnf_matcher *m = <bnf_matcher *>bnf_alloc(sizeof(bnf_matcher))
    if m == NULL:
        return NULL
    m.grammar = bnf_grammar_share(grammar)
    m.found = <int32_t *>bnf_alloc_array(BNF_MATCHER_MAX_HEADS, sizeof(int32_t))
    if m.found == NULL or not grow_nodes(m) or not grow_states(m):
        bnf_matcher_free(m)
        return NULL
    node_of(m, -1, 0)
    if state_of(m, 0) != DEAD or m.failed:
        bnf_matcher_free(m)
        return NULL
    return m

cdef public bnf_matcher *bnf_matcher_new(bnf_grammar *grammar, int32_t *state) noexcept nogil:
    cdef bnf_matcher *m = empty_matcher(grammar)
    cdef round_t r
    cdef int32_t a
    if m == NULL:
        return NULL
    begin_round(m, &r)
    for a in range(grammar.rule_begin[grammar.root], grammar.rule_begin[grammar.root + 1]):
        if not add(m, &r, node_of(m, grammar.alternatives[a], END_NODE)):
            give_up(m, "too many alternatives")
    state[0] = finish(m, &r)
    if m.failed:
        bnf_matcher_free(m)
        return NULL
    return m

# Parents come before children, so one pass from the back marks what a state needs and one from the front copies it.
cdef bint copy_state(const bnf_matcher *old, int32_t state, bnf_matcher *new, int32_t *number) noexcept nogil:
    cdef const bnf_gr_state *s = &old.states[state]
    cdef int32_t *moved = <int32_t *>bnf_alloc_array(<size_t>old.n_nodes, sizeof(int32_t))
    cdef int32_t i
    if moved == NULL:
        return False
    for i in range(s.n):
        moved[old.heads[s.first + i]] = 1
    i = old.n_nodes
    while i > 1:
        i -= 1
        if moved[i]:
            moved[old.nodes[i].parent] = 1
    moved[END_NODE] = END_NODE
    for i in range(1, old.n_nodes):
        if moved[i]:
            moved[i] = node_of(new, old.nodes[i].position, moved[old.nodes[i].parent])
            if moved[i] < 0:
                bnf_release(moved)
                return False
    for i in range(s.n):
        new.found[i] = moved[old.heads[s.first + i]]
    bnf_release(moved)
    number[0] = state_of(new, s.n)
    return not new.failed

cdef public bnf_matcher *bnf_matcher_copy(const bnf_matcher *matcher, int32_t *state) noexcept nogil:
    cdef bnf_matcher *m = empty_matcher(matcher.grammar)
    if m != NULL and not copy_state(matcher, state[0], m, state):
        bnf_matcher_free(m)
        return NULL
    if m != NULL:
        m.failed = matcher.failed
    return m

cdef public int32_t bnf_matcher_tidy(bnf_matcher *matcher, int32_t state) noexcept nogil:
    cdef bnf_matcher *fresh
    cdef bnf_matcher old
    if matcher.n_nodes < BNF_MATCHER_MAX_NODES // 2 and matcher.n_states < BNF_MATCHER_MAX_STATES:
        return state
    fresh = bnf_matcher_copy(matcher, &state)
    if fresh == NULL:
        return give_up(matcher, NULL)
    old = matcher[0]
    matcher[0] = fresh[0]
    matcher.generation = old.generation + 1
    fresh[0] = old
    bnf_matcher_free(fresh)
    return state
