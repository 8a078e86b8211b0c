# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Builds the trie of a vocabulary's texts. Every node owns a range of the list of tokens, those that begin with its bytes;
# its children are parts of that range, so each token is looked at once for each of its bytes, however the texts are made.
# Next: csrc/bnf_trie.h has the layout and the look-ups.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t
from libc.string cimport memcpy, memset
from bitnet_ffi._core.bnf_base cimport bnf_alloc_array, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_MEMORY
from bitnet_ffi._core.bnf_vocab cimport bnf_strings, bnf_strings_get, bnf_trie_t, bnf_vocab_t

cdef enum:
    SHORT = 24   # a range up to this is sorted by insertion: at most SHORT^2 / 4 moves, less than clearing 257 counters


cdef struct Build:
    const bnf_strings *texts
    int32_t *items    # tokens, each range in order of id
    int32_t *other    # as long, for sorting
    uint32_t *begin   # [cap] the node's range of items
    uint32_t *end
    uint32_t cap
    bool last         # of equal texts the last token counts, not the first


# What a token is sorted by at a depth: 0 when it ends there, else its next byte + 1.
cdef inline uint32_t key_of(const Build *b, int32_t item, uint32_t depth) noexcept nogil:
    cdef uint32_t length = 0
    cdef const uint8_t *text = bnf_strings_get(b.texts, <uint32_t>item, &length)
    return 0 if length == depth else <uint32_t>text[depth] + 1


cdef void sort_range(Build *b, uint32_t begin, uint32_t end, uint32_t depth) noexcept nogil:
    cdef uint32_t[258] at
    cdef uint32_t i, k, key
    cdef int32_t item
    if end - begin <= SHORT:
        for i in range(begin + 1, end):
            item = b.items[i]
            key = key_of(b, item, depth)
            k = i
            while k > begin and key_of(b, b.items[k - 1], depth) > key:
                b.items[k] = b.items[k - 1]
                k -= 1
            b.items[k] = item
        return
    memset(at, 0, sizeof(at))
    for i in range(begin, end):
        at[key_of(b, b.items[i], depth) + 1] += 1
    for i in range(1, 258):
        at[i] += at[i - 1]
    for i in range(begin, end):
        key = key_of(b, b.items[i], depth)
        b.other[at[key]] = b.items[i]
        at[key] += 1
    memcpy(b.items + begin, b.other, (end - begin) * sizeof(int32_t))


# One array of the trie at its new length. False: no memory, and the array is as it was.
cdef inline bool grow(void **array, size_t old, size_t new, size_t size) noexcept nogil:
    cdef void *resized = bnf_resize(array[0], old * size, new * size)
    if resized != NULL:
        array[0] = resized
    return resized != NULL


cdef int reserve(Build *b, bnf_trie_t *trie) noexcept nogil:
    cdef uint32_t cap = 2 * b.cap + 256   # a node for each byte of text at most, 1 GiB (vocab.pyx)
    if trie.n_nodes + 1 < b.cap:
        return 0
    if not grow(<void **>&trie.first, b.cap, cap, sizeof(uint32_t)) or not grow(<void **>&trie.token, b.cap, cap, sizeof(uint32_t)) \
            or not grow(<void **>&trie.label, b.cap, cap, 1) or not grow(<void **>&b.begin, b.cap, cap, sizeof(uint32_t)) \
            or not grow(<void **>&b.end, b.cap, cap, sizeof(uint32_t)):
        return BITNET_ERROR_MEMORY
    b.cap = cap
    return 0


cdef int add_node(Build *b, bnf_trie_t *trie, uint8_t label, uint32_t begin, uint32_t end) noexcept nogil:
    if reserve(b, trie) < 0:
        return BITNET_ERROR_MEMORY
    trie.label[trie.n_nodes] = label
    trie.token[trie.n_nodes] = 0
    b.begin[trie.n_nodes] = begin
    b.end[trie.n_nodes] = end
    trie.n_nodes += 1
    return 0


cdef int add_children(Build *b, bnf_trie_t *trie, uint32_t node, uint32_t depth) noexcept nogil:
    cdef uint32_t i = b.begin[node], end = b.end[node], first, key
    cdef int status = 0
    trie.first[node] = trie.n_nodes
    sort_range(b, i, end, depth)
    while i < end and key_of(b, b.items[i], depth) == 0:
        if b.last or trie.token[node] == 0:
            trie.token[node] = <uint32_t>b.items[i] + 1
        i += 1
    while i < end and status == 0:
        first = i
        key = key_of(b, b.items[i], depth)
        while i < end and key_of(b, b.items[i], depth) == key:
            i += 1
        status = add_node(b, trie, <uint8_t>(key - 1), first, i)
    return status


cdef int build(Build *b, bnf_trie_t *trie, uint32_t n) noexcept nogil:
    cdef uint32_t node = 0, depth = 0, level_end = 1, i
    cdef int status = add_node(b, trie, 0, 0, n)
    while status == 0 and node < trie.n_nodes:
        if node == level_end:
            depth += 1
            level_end = trie.n_nodes
        status = add_children(b, trie, node, depth)
        node += 1
    if status < 0:
        return status
    trie.first[trie.n_nodes] = trie.n_nodes   # reserve leaves room for it
    for i in range(trie.first[0], trie.first[1]):
        trie.root[trie.label[i]] = i
    return 0


# The texts of the wanted tokens (NULL: of all), each with its first token, or its last. An empty text gets into no look-up.
# The trie is zero before; bnf_trie_free frees it, also after an error.
cdef public int bnf_trie_build(const bnf_vocab_t *vocab, const bnf_strings *texts, const uint8_t *wanted, bool last,
                               bnf_trie_t *trie) noexcept nogil:
    cdef Build b
    cdef uint32_t n = 0
    cdef int32_t i
    cdef int status
    memset(&b, 0, sizeof(b))
    b.texts = texts
    b.last = last
    b.items = <int32_t *>bnf_alloc_array(<size_t>vocab.n_tokens, sizeof(int32_t))
    b.other = <int32_t *>bnf_alloc_array(<size_t>vocab.n_tokens, sizeof(int32_t))
    if b.items == NULL or b.other == NULL:
        status = BITNET_ERROR_MEMORY
    else:
        for i in range(vocab.n_tokens):
            if wanted == NULL or wanted[i]:
                b.items[n] = i
                n += 1
        status = build(&b, trie, n)
    bnf_release(b.items)
    bnf_release(b.other)
    bnf_release(b.begin)
    bnf_release(b.end)
    return status


cdef public void bnf_trie_free(bnf_trie_t *trie) noexcept nogil:
    bnf_release(trie.first)
    bnf_release(trie.token)
    bnf_release(trie.label)
