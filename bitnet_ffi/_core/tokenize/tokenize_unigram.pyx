# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Unigram, as SentencePiece and T5 have it and llama.cpp reads it: the text is normalized by the file's charsmap, spaces become
# U+2581, then the tokens with the best sum of scores are chosen (Viterbi). A character that is no token is unknown and costs
# 10 more than the worst token; neighbouring unknown ones are one token. There are no byte tokens, as in llama.cpp.
# Time is linear: a walk is at most as long as the longest token, or LONGEST_KEY in the charsmap.
# Next: vocab_match.pyx loads the charsmap; bnf_trie.h has the struct.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, int32_t, uint32_t
from libc.string cimport strlen
from bitnet_ffi._core.bnf_base cimport bnf_fail, bnf_release, bnf_resize
from bitnet_ffi._core.bnf_public cimport bool, BITNET_ERROR_MEMORY, BITNET_ERROR_TOKENIZE, LLAMA_TOKEN_ATTR_USER_DEFINED
from bitnet_ffi._core.bnf_trie cimport bnf_trie_child, bnf_trie_longest
from bitnet_ffi._core.bnf_vocab cimport bnf_ids, bnf_ids_add, bnf_match_t, bnf_utf8_len, bnf_vocab_t, BNF_NO_TOKEN, BNF_UNK

cdef extern from *:
    """
    #include <float.h>
    #define WORST (-DBL_MAX) /* where sums begin */
    """
    const double WORST

cdef enum:
    LONGEST = 0x3FFFFFFF   # bytes of a normalized stretch, so that places fit 32 bits and sizes 64
    LONGEST_KEY = 256      # bytes that the charsmap replaces at once; a file whose array leads in a circle asks for more



# ---- normalizing ----

cdef struct Normal:
    uint8_t *bytes     # the text so far
    uint32_t *source   # where in the given text each byte begins; NULL when ranges are not wanted
    uint32_t *behind   # and ends
    size_t n
    size_t cap


cdef int grow(Normal *out, size_t more, bool ranges) noexcept nogil:
    cdef size_t cap = 2 * (out.n + more) + 64
    cdef void *p
    if out.n + more <= out.cap:
        return 0
    if cap > <size_t>2 * LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: more than %d bytes when normalized", <int>LONGEST)
    p = bnf_resize(out.bytes, out.cap, cap)
    if p == NULL:
        return BITNET_ERROR_MEMORY
    out.bytes = <uint8_t *>p
    if ranges:
        p = bnf_resize(out.source, 4 * out.cap, 4 * cap)
        if p == NULL:
            return BITNET_ERROR_MEMORY
        out.source = <uint32_t *>p
        p = bnf_resize(out.behind, 4 * out.cap, 4 * cap)
        if p == NULL:
            return BITNET_ERROR_MEMORY
        out.behind = <uint32_t *>p
    out.cap = cap
    return 0


# The charsmap is a double array. A unit that is a child holds the byte that leads to it in bits 0 to 7 and an offset in bits
# 10 and up, counted in 256 when bit 9 is set; children of the unit at i stand at (i ^ offset) ^ byte. Bit 8: the text so far is
# replaced, by the string whose place is in the unit at i ^ offset, which has bit 31 to be no child.
cdef inline uint32_t offset_of(uint32_t unit) noexcept nogil:
    return (unit >> 10) << ((unit & 512) >> 6)


# The replacement for what the text begins with, and how long that is; 0: there is none. Places outside the file's array end the
# walk (llama.cpp throws).
cdef size_t replaced(const bnf_match_t *m, const uint8_t *text, size_t left, const uint8_t **by) noexcept nogil:
    cdef uint32_t at, unit, value
    cdef size_t i, found = 0
    if m.n_units == 0:
        return 0
    at = offset_of(m.units[0])
    for i in range(left if left < LONGEST_KEY else LONGEST_KEY):
        if text[i] == 0:
            break
        at ^= text[i]
        if at >= m.n_units:
            break
        unit = m.units[at]
        if unit & 0x800000FFU != text[i]:
            break
        at ^= offset_of(unit)
        if unit & 256:
            if at >= m.n_units:
                break
            value = m.units[at] & 0x7FFFFFFF
            if value >= m.replacements_size:
                break
            found = i + 1
            by[0] = m.replacements + value
    return found


# Bytes of the character at text[0], 0: no UTF-8. Code points above 0x10FFFF pass, as in llama.cpp.
cdef inline size_t char_len(const uint8_t *text, size_t left) noexcept nogil:
    cdef size_t n = bnf_utf8_len(text[0]), i
    if text[0] < 0x80:
        return 1
    if n == 1 or n > left or text[0] >= 0xF8:
        return 0
    for i in range(1, n):
        if text[i] & 0xC0 != 0x80:
            return 0
    return n


cdef inline void put(Normal *out, const uint8_t *bytes, size_t n, size_t begin, size_t end) noexcept nogil:
    cdef size_t i
    for i in range(n):
        out.bytes[out.n + i] = bytes[i]
        if out.source != NULL:
            out.source[out.n + i] = <uint32_t>begin
            out.behind[out.n + i] = <uint32_t>end
    out.n += n


cdef int normalize(const bnf_vocab_t *v, const uint8_t *text, size_t length, bool ranges, Normal *out) noexcept nogil:
    cdef const uint8_t *bytes = NULL
    cdef const uint8_t *space = <const uint8_t *>"\xe2\x96\x81"
    cdef size_t at = 0, used = 0, n, i
    cdef bool lead = v.add_space_prefix, merge = v.match.merge_spaces, in_word = False
    cdef int status
    while at < length:
        bytes = text + at
        n = 0
        if v.match.user.n_nodes > 1 and bnf_trie_longest(&v.match.user, bytes, text + length, &used) != BNF_NO_TOKEN:
            n = used
        if n == 0:
            used = replaced(&v.match, text + at, length - at, &bytes)
            if used:
                n = strlen(<const char *>bytes)   # the block ends with NUL (vocab_match.pyx)
            else:
                used = char_len(text + at, length - at)
                n = used
                if used == 0:
                    bytes = <const uint8_t *>"\xef\xbf\xbd"
                    n = 3
                    used = 1
        status = grow(out, 3 * n + 3, ranges)
        if status < 0:
            return status
        for i in range(n):
            if bytes[i] != c' ':
                if not in_word:
                    in_word = True
                    if lead or merge:
                        put(out, space, 3, at, at)
                        lead = False
                put(out, bytes + i, 1, at, at + used)
            else:
                in_word = False
                if not merge:
                    put(out, space, 3, at, at + used)
        at += used
    return 0


# ---- the best tokens ----

cdef struct Best:         # of a place in the normalized text
    double score
    uint32_t token        # the last one before it; BNF_NO_TOKEN: unknown
    uint32_t begin        # of that token


cdef struct Lattice:
    Best *best            # [cap] places of the piece from `begin` on
    size_t cap
    size_t begin
    bool after_unknown    # the last token written was an unknown one


cdef int reserve(Lattice *l, size_t n) noexcept nogil:
    cdef Best *best
    cdef size_t i, cap = 2 * n + 64
    if n < l.cap:
        return 0
    best = <Best *>bnf_resize(l.best, l.cap * sizeof(Best), cap * sizeof(Best))
    if best == NULL:
        return BITNET_ERROR_MEMORY
    l.best = best
    for i in range(l.cap, cap):
        best[i].score = WORST
    l.cap = cap
    return 0


cdef inline void offer(Best *place, double score, uint32_t token, size_t begin) noexcept nogil:
    if score > place.score:
        place.score = score
        place.token = token
        place.begin = <uint32_t>begin


cdef void add(bnf_ids *ids, const Normal *text, uint32_t token, size_t begin, size_t end) noexcept nogil:
    if text.source == NULL:
        bnf_ids_add(ids, token, ids.base, 0)
    else:
        bnf_ids_add(ids, token, ids.base + text.source[begin], text.behind[end - 1] - text.source[begin])


# Every way through the text passes `end`: what comes before it is settled. Writes the tokens of the piece and begins the next.
cdef void settle(const bnf_vocab_t *v, const Normal *text, Lattice *l, size_t end, bnf_ids *ids) noexcept nogil:
    cdef size_t at = end, next = 0, begin, i
    cdef Best *best = l.best
    cdef Best *place
    cdef double score = best[end - l.begin].score
    cdef bool unknown
    while at > l.begin:   # turn the chain around: best[at].begin becomes the end of the token that follows
        place = best + (at - l.begin)
        if place.score <= WORST:   # scores in the file that are not finite
            place.begin = <uint32_t>l.begin
            place.token = BNF_NO_TOKEN
        begin = place.begin
        place.begin = <uint32_t>next
        next = at
        at = begin
    while at < end:
        begin = at
        at = next
        place = best + (at - l.begin)
        next = place.begin
        unknown = place.token == BNF_NO_TOKEN or place.token == <uint32_t>v.special[<int>BNF_UNK]
        if not unknown:
            add(ids, text, place.token, begin, at)
        elif v.special[<int>BNF_UNK] >= 0 and not l.after_unknown:
            add(ids, text, <uint32_t>v.special[<int>BNF_UNK], begin, at)
        elif ids.ranges != NULL and ids.n > 0 and ids.n <= ids.cap:   # the unknown token before goes on
            ids.ranges[2 * ids.n - 1] = <int32_t>text.behind[at - 1]
        l.after_unknown = unknown
    for i in range(end - l.begin + 1):
        best[i].score = WORST
    best[0].score = score   # sums go on: comparing them later must round as one sum over the whole text does
    l.begin = end


cdef int choose(const bnf_vocab_t *v, const Normal *text, Lattice *l, bnf_ids *ids) noexcept nogil:
    cdef size_t at = 0, p, width, reach = 0
    cdef uint32_t node, token
    cdef double score, here
    cdef bool whole
    cdef int status = reserve(l, 1)
    if status < 0:
        return status
    l.best[0].score = 0
    while at < text.n:
        if at == reach and at > l.begin:
            settle(v, text, l, at, ids)
        width = bnf_utf8_len(text.bytes[at])
        width = width if width < text.n - at else text.n - at
        p = v.max_key_len if v.max_key_len > width else width   # as far as a token of here can reach
        status = reserve(l, at - l.begin + (p if p < text.n - at else text.n - at))
        if status < 0:
            return status
        here = l.best[at - l.begin].score
        whole = False
        node = 0
        p = at
        while p < text.n:
            node = bnf_trie_child(&v.match.tokens, node, text.bytes[p])
            if node == 0:
                break
            p += 1
            if not v.match.tokens.token[node]:
                continue
            token = v.match.tokens.token[node] - 1
            whole = whole or p - at == width
            score = 0.0 if v.attr[token] & LLAMA_TOKEN_ATTR_USER_DEFINED else v.score[token]
            offer(l.best + (p - l.begin), here + score, token, at)
            reach = p if p > reach else reach
        if not whole:
            offer(l.best + (at + width - l.begin), here + v.match.unknown_score, BNF_NO_TOKEN, at)
        at += width
        reach = at if at > reach else reach
    if at > l.begin:
        settle(v, text, l, at, ids)
    return 0


cdef public int bnf_tokenize_unigram(const bnf_vocab_t *vocab, const uint8_t *text, size_t length, bnf_ids *ids) noexcept nogil:
    cdef Normal normal
    cdef Lattice lattice
    cdef int status
    normal.bytes = NULL
    normal.source = NULL
    normal.behind = NULL
    normal.n = 0
    normal.cap = 0
    lattice.best = NULL
    lattice.cap = 0
    lattice.begin = 0
    lattice.after_unknown = False
    ids.base = text
    if length > LONGEST:
        return bnf_fail(BITNET_ERROR_TOKENIZE, "text: %zu bytes between special tokens, expected at most %d", length, <int>LONGEST)
    status = normalize(vocab, text, length, ids.ranges != NULL, &normal)
    if status == 0:
        status = choose(vocab, &normal, &lattice, ids)
    bnf_release(normal.bytes)
    bnf_release(normal.source)
    bnf_release(normal.behind)
    bnf_release(lattice.best)
    return status
