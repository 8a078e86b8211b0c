# cython: language_level=3, cdivision=True, boundscheck=False, wraparound=False, initializedcheck=False
# Pieces: a word of byte-level BPE with characters of several bytes, cut at the borders of characters that no merge can cross.
# Merges on both sides of such a border know nothing of each other, so the tokens are those of the whole word. Chinese and
# Japanese words are as long as their sentences and hardly ever come again; their pieces, two characters or three, do.
#
# A merge crosses a border when its first symbol ends there and its second begins there. If both characters are seeds
# (seed.pyx), they are whole from the beginning, so only merges of whole characters count. Where one is no seed, merges with a
# part of it count too; such a part is told by its byte at the border.
#
#     t h e 中 文 字        merges that make: the, 中文        borders e|中 and 文|字 are cut: "the", "中文", "字"
#
# May not look beyond the word. Next: merge.pyx merges the pieces, vocab_merges.pyx fills the table of borders.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from bitnet_ffi._core.bnf_public cimport bool
from bitnet_ffi._core.bnf_vocab cimport (
    bnf_border, bnf_crossing, bnf_ids, bnf_ids_add, bnf_key, bnf_key_ask, bnf_key_of, bnf_merge_key, bnf_merge_scratch, bnf_seed_get,
    bnf_utf8_char, bnf_vocab_t, BNF_NO_TOKEN, BNF_PART)

cdef struct Char:
    uint32_t code_point
    uint32_t token       # if it is whole
    uint32_t begin, end  # in the word
    bool whole           # from the beginning of merging


# The character at word[begin]; before: the lowest rank of merges with a part of it across its left border, BNF_NO_TOKEN: none;
# becomes that of the right border. Behind a space nothing is a seed.
cdef inline Char read_char(const bnf_vocab_t *v, const uint8_t *word, uint32_t begin, uint32_t length, uint32_t *before) noexcept nogil:
    cdef Char char
    cdef const uint8_t *next
    cdef uint32_t after = BNF_NO_TOKEN, worst
    cdef uint64_t seed
    char.begin = begin
    char.code_point = bnf_utf8_char(word + begin, &next)
    char.end = <uint32_t>(next - word)
    if char.end < length:
        after = bnf_crossing(v, word[char.end - 1], word[char.end])
    if char.code_point < 0x80:
        char.whole = True
        char.token = v.byte_token[char.code_point]
        before[0] = 0 if char.code_point == c' ' else after
        return char
    seed = bnf_seed_get(v, char.code_point, word + begin, char.end - begin)
    worst = <uint32_t>(seed >> 32)
    char.whole = worst < before[0] and worst < after
    char.token = <uint32_t>seed
    before[0] = after
    return char


# May a merge cross the border between two characters, of which one is not of ASCII?
cdef inline bool is_crossed(const bnf_vocab_t *v, const uint8_t *word, const Char *left, const Char *right) noexcept nogil:
    cdef uint32_t last, first
    if bnf_border(v, left.code_point, right.code_point):
        return True
    if left.whole and right.whole:
        return False
    last = BNF_PART | word[left.end - 1]
    first = BNF_PART | word[right.begin]
    return (not right.whole and bnf_border(v, left.code_point, first)) \
        or (not left.whole and (bnf_border(v, last, right.code_point) or bnf_border(v, last, first)))


cdef public int bnf_merge_pieces(const bnf_vocab_t *vocab, const uint8_t *word, size_t length, bnf_merge_scratch *scratch,
                                 bnf_ids *ids) noexcept nogil:
    cdef uint32_t n = <uint32_t>length, begin = 0, before = BNF_NO_TOKEN, token = BNF_NO_TOKEN
    cdef bnf_key[2] keys   # of a piece that waits while the next one is found, and of that
    cdef uint32_t waits = 0, now = 0
    cdef Char left, right
    cdef int status = 0
    left = read_char(vocab, word, 0, n, &before)
    while begin < n and status == 0:
        if left.end < n:
            right = read_char(vocab, word, left.end, n, &before)
            if (left.code_point < 0x80 and right.code_point < 0x80) or is_crossed(vocab, word, &left, &right):
                left = right
                continue
        if left.begin == begin and left.whole and left.token < <uint32_t>vocab.n_tokens:
            token = left.token
        else:
            token = BNF_NO_TOKEN
            keys[now] = bnf_key_of(vocab, word + begin, left.end - begin, scratch.end)
            bnf_key_ask(vocab, scratch, keys + now)
        if waits:
            status = bnf_merge_key(vocab, keys + (1 - now), True, scratch, ids)
        waits = token == BNF_NO_TOKEN
        if waits:
            now = 1 - now
        else:
            bnf_ids_add(ids, token, word + begin, left.end - begin)
        begin = left.end
        left = right
    if waits and status == 0:
        status = bnf_merge_key(vocab, keys + (1 - now), True, scratch, ids)
    return status
