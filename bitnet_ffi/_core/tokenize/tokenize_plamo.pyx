# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# PLaMo-2: of all ways to spell the text with tokens the one of the least cost, chosen from the end of the text to its beginning,
# the longest token where costs are equal. A character that no token spells costs UNKNOWN and becomes its bytes' tokens. A byte
# order mark that begins a stretch is left out. llama.cpp's rules; costs are whole numbers, so sums have no order.
# The text is chosen for in pieces that no token crosses the end of; a walk is at most as long as the longest token.
# Next: vocab_match.pyx makes the costs; csrc/bnf_trie.h.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, int64_t, INT64_MAX
from bitnet_ffi._core.bnf_base cimport bnf_fail, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_public cimport BITNET_ERROR_MEMORY, BITNET_ERROR_TOKENIZE
from bitnet_ffi._core.bnf_trie cimport bnf_trie_child
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_ids, bnf_ids_add, bnf_merge_reserve, bnf_merge_scratch, bnf_utf8_is_clean, bnf_utf8_len, bnf_utf8_repair, bnf_vocab_t,
    BNF_NO_TOKEN, BNF_UNK)

cdef extern from "<string.h>" nogil:
    int memcmp(const void *a, const void *b, size_t n)

cdef enum:
    LONGEST = 0x7FFFFFFF   # bytes of one stretch: a sum of as many costs of 32 bits fits 64
    UNKNOWN = 10000000


cdef struct Best:      # from a place on to the end of the piece
    int64_t cost
    uint32_t token     # the first; BNF_NO_TOKEN: a character that no token spells
    uint32_t length    # bytes of it


cdef struct Places:
    Best *best         # [cap]
    size_t cap


# Where the piece ends that begins at text: the first place behind it that no token from within reaches over.
cdef const uint8_t *find_end(const bnf_vocab_t *v, const uint8_t *text, const uint8_t *end) noexcept nogil:
    cdef const uint8_t *reach = text
    cdef const uint8_t *p
    cdef uint32_t node
    while True:
        node = 0
        p = text
        while p < end:
            node = bnf_trie_child(&v.match.tokens, node, p[0])
            if node == 0:
                break
            p += 1
            if v.match.tokens.token[node] and p > reach:
                reach = p
        text += bnf_utf8_len(text[0])
        if text >= reach:
            return text


# The best way on from `text`, where best[1:] have been chosen: best[i] is of text + i, and of text[end] the empty way.
cdef void choose(const bnf_vocab_t *v, const uint8_t *text, const uint8_t *end, Best *best) noexcept nogil:
    cdef const uint8_t *p = text
    cdef uint32_t node = 0, token
    cdef int64_t cost
    cdef size_t n
    best.cost = INT64_MAX
    while p < end:
        node = bnf_trie_child(&v.match.tokens, node, p[0])
        if node == 0:
            break
        p += 1
        if not v.match.tokens.token[node]:
            continue
        token = v.match.tokens.token[node] - 1
        cost = best[p - text].cost + v.match.cost[token]
        if cost <= best.cost:
            best.cost = cost
            best.token = token
            best.length = <uint32_t>(p - text)
    n = bnf_utf8_len(text[0])
    if best[n].cost + UNKNOWN < best.cost:
        best.cost = best[n].cost + UNKNOWN
        best.token = BNF_NO_TOKEN
        best.length = <uint32_t>n


cdef void write(const bnf_vocab_t *v, const uint8_t *text, const uint8_t *end, const Best *best, bnf_ids *ids) noexcept nogil:
    cdef const uint8_t *next
    cdef uint32_t token
    while text < end:
        next = text + best.length
        if best.token != BNF_NO_TOKEN:
            bnf_ids_add(ids, best.token, text, best.length)
            text = next
        while text < next:
            token = v.byte_token[text[0]]
            token = <uint32_t>v.special[<int>BNF_UNK] if token == BNF_NO_TOKEN else token
            if token != BNF_NO_TOKEN:
                bnf_ids_add(ids, token, text, 1)
            text += 1
        best += best.length


cdef int piece(const bnf_vocab_t *v, const uint8_t *text, const uint8_t *end, Places *places, bnf_ids *ids) noexcept nogil:
    cdef size_t n = <size_t>(end - text), cap
    cdef const uint8_t *p = end
    cdef Best *best
    if n >= places.cap:
        cap = 2 * n + 64
        best = <Best *>bnf_resize(places.best, places.cap * sizeof(Best), cap * sizeof(Best))
        if best == NULL:
            return BITNET_ERROR_MEMORY
        places.best = best
        places.cap = cap
    best = places.best
    best[n].cost = 0
    while p > text:
        p -= 1
        while p[0] & 0xC0 == 0x80:
            p -= 1
        choose(v, p, end, best + (p - text))
    write(v, text, end, best, ids)
    return 0


cdef public int bnf_tokenize_plamo(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_merge_scratch *scratch,
                                   bnf_ids *ids) noexcept nogil:
    cdef const uint8_t *end
    cdef const uint8_t *begin
    cdef Places places
    cdef int status = 0
    if not bnf_utf8_is_clean(text, length):
        status = bnf_merge_reserve(scratch, 3 * length)
        if status < 0:
            return status
        length = bnf_utf8_repair(text, length, scratch.bytes)
        text = scratch.bytes
    ids.base = text
    if length > LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes between special tokens, expected at most 2147483647", length)
    end = text + length
    if length >= 3 and memcmp(text, "\xef\xbb\xbf", 3) == 0:
        text += 3
    places.best = NULL
    places.cap = 0
    while text < end and status == 0:
        begin = text
        text = find_end(vocab, text, end)
        status = piece(vocab, begin, text, &places, ids)
    bnf_release(places.best)
    return status
